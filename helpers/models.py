"""Networks on disk, each with a note beside it that says what it is."""

from __future__ import annotations

import json
import logging
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import keras

from helpers import (
    IMAGE_SIZE,
    SUFFIXES,
    TutorialError,
    read_sidecar,
    replacing,
    sidecar_path,
)
from helpers.data import Dataset

# Keras would say of every .h5 file that its format is an old one, and TensorFlow of every second
# network or size of image that it had to make a graph for it.
for talkative in ("absl", "tensorflow"):
    logging.getLogger(talkative).setLevel(logging.ERROR)


def check_output(path: Path) -> Path:
    """Return the path if a model can be saved there; make its folder if need be.

    Raises:
        TutorialError: if it ends in neither .keras nor .h5, or cannot be written to.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES or path.is_dir():
        raise TutorialError(f"{path} must be the name of a file that ends in .keras or .h5.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            return path
    except OSError as error:
        raise TutorialError(
            f"{path.parent} cannot be written to ({error.strerror}): choose another folder."
        ) from None


def indented(value) -> str:
    """Return a value as indented JSON, each innermost list on one line."""
    text = json.dumps(value, indent=2)
    return re.sub(r"\[[^][{}]*\]", lambda found: " ".join(found[0].split()), text) + "\n"


def save_model(model: keras.Model, path: Path, info: dict) -> None:
    """Save a model without its optimiser, and a sidecar; an earlier one becomes .previous.

    Raises:
        TutorialError: if it cannot be written; the earlier one is still there then.
    """
    path = check_output(path)
    previous, sidecar = path.with_name(f"{path.stem}.previous{path.suffix}"), sidecar_path(path)
    if path.exists():
        sidecar_path(previous).unlink(missing_ok=True)
        for old, kept in ((path, previous), (sidecar, sidecar_path(previous))):
            if old.exists():
                with replacing(kept) as partial:
                    shutil.copy2(old, partial)
    with replacing(path) as partial:
        # The same layers in a model that was never compiled: a third of the size.
        keras.Model(model.inputs[0], model.outputs[0], name=model.name).save(partial)
        sidecar.unlink(missing_ok=True)  # never an old description beside a new model
    with replacing(sidecar) as partial:
        partial.write_text(indented(info), encoding="utf-8")


def load_model(path: Path, classes: Sequence[str] = ()) -> tuple[keras.Model, dict]:
    """Return a model and what its sidecar says of it: {} without one.

    Args:
        path: a .keras or .h5 file; code in it is not run.
        classes: which to assume where no sidecar names them (a line on stderr says so).

    Raises:
        TutorialError: if it is not a model from (n, 48, 48, 1) to one probability per class.
    """
    path = Path(path)
    if not path.is_file():
        raise TutorialError(f"There is no model {path}: check the name, or train one first.")
    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
        takes, gives = tuple(model.input_shape), tuple(model.output_shape)
    except Exception as error:  # Keras raises a dozen kinds
        own = any(word in str(error) for word in ("safe_mode", "locate class", "Unknown layer"))
        why = "it holds code of its own" if own else "perhaps damaged"
        raise TutorialError(
            f"{path.name} is not a .keras or .h5 model that can be loaded ({why}): choose another."
        ) from None
    fixed = [(a, b) for a, b in zip(takes[1:], (IMAGE_SIZE, IMAGE_SIZE, 1), strict=False) if a]
    if len(takes) != 4 or len(gives) != 2 or any(a != b for a, b in fixed):
        raise TutorialError(
            f"{path.name} is a model from {takes} to {gives}, not from "
            f"(None, {IMAGE_SIZE}, {IMAGE_SIZE}, 1) to one probability per class: choose another."
        )
    info = read_sidecar(path)
    if classes and not info.get("classes"):
        info["classes"] = list(classes)
        assumed = f"assuming the alphabetical {', '.join(classes)}."
        print(f"{path.name} does not name its classes: {assumed}", file=sys.stderr)
    if info.get("classes") and len(info["classes"]) != gives[1]:
        raise TutorialError(
            f"{path.name} gives {gives[1]} probabilities, but there are {len(info['classes'])} "
            f"classes ({', '.join(info['classes'])}): choose a model that fits."
        )
    return model, info


def describe(data: Dataset) -> dict:
    """Return what a sidecar says of the data that its model was trained on."""
    about = {name: getattr(data, name) for name in ("name", "kind", "fingerprint")}
    return {"classes": list(data.classes), "data": about}
