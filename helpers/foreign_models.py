"""Networks from elsewhere: what a file is that cannot be loaded, and what makes others fit."""

from __future__ import annotations

import json
import re
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from helpers import IMAGE_SIZE, SEED, TutorialError

if TYPE_CHECKING:  # TensorFlow takes ten seconds to load: whoever needs none is spared it
    import keras

WHOLE = 'save the whole network with model.save("name.keras")'
# How files begin that are taken for a model, and what they are.
BEGINNINGS = {
    rb"\s*$": "it is empty",
    rb"PK\x03\x04|\x89HDF": "it is damaged or cut off: copy or download it again",
    rb".{4}TFL3": "it is a network of TFLite, which Keras cannot read: take what it was made from",
    rb"version https://git-lfs": "it only points to the network: fetch that with `git lfs pull`",
    rb"\s*<": "it is a page of the web: download the file itself",
    rb"\s*[{\[]": f"it is JSON, such as the architecture without its weights: {WHOLE}",
    rb"\x80": "it is a pickle, which PyTorch and others write and which could run code of its own: "
    + WHOLE,
    rb"": "it is no network by its content: name the file that model.save wrote",
}


def why_not(path: Path, error: Exception) -> str:
    """Say what a file or folder is that Keras could not load, and what to do: half a sentence."""
    if path.is_dir():
        if (path / "saved_model.pb").exists():
            return f"it is a folder, a SavedModel of TensorFlow: {WHOLE}"
        return "it is a folder: name the .keras or .h5 file itself"
    try:
        with path.open("rb") as file:
            begins = file.read(64)
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    try:
        if begins.startswith(b"PK\x03\x04"):
            return _zipped(path, error)
        if begins.startswith(b"\x89HDF"):
            return _hdf5(path, error)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        pass
    return next(what for start, what in BEGINNINGS.items() if re.match(start, begins, re.DOTALL))


def _zipped(path: Path, error: Exception) -> str:
    with zipfile.ZipFile(path) as file:
        names = file.namelist()
        if any(name.endswith("data.pkl") for name in names):
            return f"it is a network of PyTorch: {WHOLE}"
        if "config.json" not in names:
            return "it is a zip file without a network in it"
        saved_by = json.loads(file.read("metadata.json"))["keras_version"]
    if path.suffix != ".keras":
        return f"it is a .keras file under another name: rename it to {path.stem}.keras"
    return _keras_says(saved_by, error)


def _hdf5(path: Path, error: Exception) -> str:
    import h5py

    with h5py.File(path) as file:
        whole, saved_by = "model_config" in file.attrs, file.attrs.get("keras_version", "?")
        weights = "layers" in file or "layer_names" in file.attrs
    if not whole and not weights:
        return f"it is an HDF5 file without a network: {WHOLE}"
    if not whole:
        return f"it holds weights without a network: {WHOLE}"
    if path.suffix not in (".h5", ".hdf5"):
        return f"it is an .h5 file under another name: rename it to {path.stem}.h5"
    return _keras_says(saved_by, error)


def _keras_says(saved_by: str, error: Exception) -> str:
    import keras

    def version(text: str) -> list[int]:
        return [int(number) for number in re.findall(r"\d+", text)[:3]]

    if version(saved_by) > version(keras.__version__):
        return f"Keras {saved_by} saved it, and this is {keras.__version__}: pip install -U keras"
    if any(word in str(error) for word in ("safe_mode", "locate class", "Unknown layer")):
        return "it holds code of its own, which is not run"
    said = " ".join(str(error).split())[:200]
    return f"Keras {saved_by} saved it, and {keras.__version__} says: {said}"


def fitted(model: keras.Model, name: str) -> keras.Model:
    """Return a network as one from grey levels (n, 48, 48, 1), 0..1, to probabilities (n, k).

    Another size, three colours, grey levels up to 255 and answers that are no probabilities are
    provided for by further layers, and a line on stderr says so.

    Raises:
        TutorialError: if it takes no picture, or gives not one number per class.
    """
    import keras

    takes, gives = (getattr(model, end, None) for end in ("input_shape", "output_shape"))
    pictures = isinstance(takes, tuple) and len(takes) == 4 and takes[3] in (1, 3, None)
    if not pictures or not isinstance(gives, tuple) or len(gives) != 2 or gives[1] < 2:
        raise TutorialError(
            f"{name} is a model from {takes} to {gives}, not from pictures (None, height, width, "
            "1 or 3) to one probability per class: choose another."
        )
    inputs = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 1))
    given, before = _as_it_takes(inputs, model)
    answers, after = _as_probabilities(model(given), inputs, model.layers[-1], name)
    if not before and not after:
        return model
    print(f"{name}: {'; '.join(before + after)}.", file=sys.stderr)
    return keras.Model(inputs, answers)


def _as_it_takes(x: keras.KerasTensor, model: keras.Model) -> tuple[keras.KerasTensor, list[str]]:
    """Return pictures as a network takes them, and what was done, in words."""
    from keras import layers

    height, width, channels = model.input_shape[1:]
    said = []
    scales = [layer.scale for layer in model.layers[:2] if isinstance(layer, layers.Rescaling)]
    if scales and np.max(scales) < 0.1:
        x = layers.Rescaling(255)(x)
        said.append("it gets grey levels from 0 to 255, which it scales itself")
    if {height, width} - {IMAGE_SIZE, None}:
        x = layers.Resizing(height or IMAGE_SIZE, width or IMAGE_SIZE)(x)
        said.append(f"faces are resized to its {height} × {width} pixels")
    if channels == 3:
        x = layers.Concatenate()([x, x, x])
        said.append("grey is repeated as its three colours")
    return x, said


def _as_probabilities(
    x: keras.KerasTensor, inputs: keras.KerasTensor, last: keras.Layer, name: str
) -> tuple[keras.KerasTensor, list[str]]:
    """Return a network's answers as probabilities, and what was done, in words.

    Whether they are some already is found out by asking it about noise, dark and bright.
    """
    import keras
    from keras import ops

    noise = np.random.default_rng(SEED).random((8, *inputs.shape[1:]), np.float32)
    noise *= np.linspace(0, 1, 8, dtype=np.float32)[:, None, None, None]
    p = ops.convert_to_numpy(ops.cast(keras.Model(inputs, x)(noise), "float32"))
    if not np.isfinite(p).all():
        raise TutorialError(f"{name} answers with what is no number: its training has failed.")
    if p.min() >= 0 and np.allclose(p.sum(axis=1), 1, atol=0.02):
        return x, []
    if getattr(last, "activation", None) is keras.activations.sigmoid:
        return x / ops.sum(x, axis=1, keepdims=True), ["its sigmoids are divided by their sum"]
    return ops.softmax(x), ["its answers are no probabilities, so softmax is applied to them"]
