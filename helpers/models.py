"""Networks on disk, each with a note beside it, its sidecar, that says what it is."""

from __future__ import annotations

import json
import logging
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from helpers import TutorialError, replacing

if TYPE_CHECKING:  # TensorFlow takes ten seconds to load: whoever needs none is spared it
    import keras

    from helpers.data import Dataset

SUFFIXES = (".keras", ".h5")  # of a saved model

# Keras would say of every .h5 file that its format is an old one, and TensorFlow of every second
# network or size of image that it had to make a graph for it.
for talkative in ("absl", "tensorflow"):
    logging.getLogger(talkative).setLevel(logging.ERROR)


def sidecar_path(path: Path) -> Path:
    """Return the path of a model's description: model.keras.json for model.keras."""
    return Path(f"{path}.json")


def read_sidecar(path: Path) -> dict:
    """Return what is written beside a model file, as far as it is legible; {} if nothing is."""
    try:
        info = json.loads(sidecar_path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(info, dict):
        return {}
    classes, about = info.get("classes"), info.get("data")
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        info.pop("classes", None)
    if not isinstance(about, dict) or not {"name", "kind"} <= about.keys():
        info.pop("data", None)
    return info


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
    import keras

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


def load_model(
    path: Path, classes: Sequence[str] = (), named: Sequence[str] | None = None
) -> tuple[keras.Model, dict]:
    """Return a model from (n, 48, 48, 1) to probabilities, and what its sidecar says of it.

    One made elsewhere may take another size or three colours, or give no probabilities: it is
    made to fit (`foreign_models.fitted`). Without a sidecar, {} is what there is to say.

    Args:
        path: a .keras or .h5 file; code in it is not run.
        classes: which to assume where no sidecar names them (a line on stderr says so).
        named: those that the user names, in place of `classes`.

    Raises:
        TutorialError: if it is no such model, or its classes are others.
    """
    import keras

    from helpers import foreign_models

    path = Path(path)
    if not path.exists():
        raise TutorialError(f"There is no model {path}: check the name, or train one first.")
    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises a dozen kinds
        raise TutorialError(
            f"{path.name} is not a .keras or .h5 model that can be loaded: "
            f"{foreign_models.why_not(path, error)}."
        ) from None
    model = foreign_models.fitted(model, path.name)
    return model, _with_classes(
        read_sidecar(path), path.name, model.output_shape[1], classes, named
    )


def _with_classes(info: dict, name: str, k: int, classes: Sequence[str], named) -> dict:
    """Return what a sidecar says, with the classes that it, the user or the caller names."""
    own = info.get("classes")
    if own and named and list(named) != own:
        raise TutorialError(f"{name} names its classes, {', '.join(own)}: leave --classes out.")
    taken = own or list(named or classes)
    if taken and len(taken) != k:
        raise TutorialError(
            f"{name} gives {k} probabilities, but there are {len(taken)} classes "
            f"({', '.join(taken)}): choose a model that fits, or name its own with --classes."
        )
    if taken and not own:
        info["classes"] = taken
        print(
            f"{name} does not name its classes: taking them for {', '.join(taken)}, in this order"
            + ("." if named else "; the scripts take another with --classes."),
            file=sys.stderr,
        )
    return info


def describe(data: Dataset) -> dict:
    """Return what a sidecar says of the data that its model was trained on."""
    about = {name: getattr(data, name) for name in ("name", "kind", "fingerprint")}
    return {"classes": list(data.classes), "data": about}
