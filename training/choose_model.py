"""Which network to score, or to ask about a photograph."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import helpers
from helpers import TutorialError
from helpers.data import Dataset, grouped_split, subset
from helpers.models import SUFFIXES, describe, load_model, read_sidecar

if TYPE_CHECKING:  # TensorFlow takes ten seconds to load: whoever needs none is spared it
    import keras


@dataclass(frozen=True)
class ModelFile:
    """A model on disk, its sidecar, and whether it is "shipped", "yours" or a "stand-in"."""

    path: Path
    info: dict
    origin: str

    @property
    def by_votes(self) -> bool:
        """True where it learnt what ten people said, not the label: labels do not score it."""
        return self.info.get("target") == "votes"


def model_for_photographs() -> list[ModelFile]:
    """Return all models that have a sidecar, the best for photographs first.

    Those that learnt from votes come before those that learnt from labels, and those of toy faces
    last; among equals, validation accuracy decides.
    """
    found = []
    # train_model.py saves beside RUNS if not told otherwise.
    for folder in (helpers.RUNS, helpers.RUNS.parent, helpers.MODELS):
        for path in sorted(folder.glob("*")):
            info = read_sidecar(path) if path.suffix in SUFFIXES else {}
            if info.get("classes") and info.get("data") and not path.stem.endswith(".previous"):
                origin = "shipped" if folder == helpers.MODELS else "yours"
                stand_in = path.name.startswith("stand_in-")
                found.append(ModelFile(path, info, "stand-in" if stand_in else origin))

    def rank(file: ModelFile) -> tuple[bool, bool, float]:
        accuracy = file.info.get("validation", {}).get("accuracy", 0.0)
        return file.info["data"].get("kind") == "toy", not file.by_votes, -accuracy

    return sorted(found, key=rank)


def candidates(data: Dataset) -> list[ModelFile]:
    """Return the models that may be scored by the labels of this data, the best first.

    They learnt from labels, have the same classes and were trained on the same data, or on another
    copy of FER-2013; a model of toy faces is never one for real faces, nor the other way round.
    """

    def fits(file: ModelFile) -> bool:
        seen = file.info["data"]
        same = seen.get("fingerprint") == data.fingerprint
        fer = {seen.get("kind"), data.kind} <= {"fer2013", "altered"}
        fits = file.info["classes"] == list(data.classes) and (same or fer)
        return fits and not file.by_votes

    return list(filter(fits, model_for_photographs()))


def model_for(data: Dataset, prefer: str = "yours") -> tuple[keras.Model, ModelFile]:
    """Return a model to score on this data, and say which; train a stand-in if there is none.

    Args:
        data: its classes and kind decide what fits.
        prefer: "yours" or "shipped": which comes first where there are both.
    """
    order = [prefer, "yours", "shipped", "stand-in"]
    whose = {"yours": "your own", "shipped": "the shipped", "stand-in": "a quickly trained"}
    for file in sorted(candidates(data), key=lambda file: order.index(file.origin)):
        made_for = file.info.get("settings", {}).get("profile", helpers.profile())
        if file.origin == "stand-in" and made_for != helpers.profile():
            continue
        try:
            model, _ = load_model(file.path)
        except TutorialError as error:
            print(f"Left out: {error}")
            continue
        seen = file.info["data"].get("name")
        print(f"Using {whose[file.origin]} model, {file.path.name} (trained on {seen}).")
        return model, file
    return _stand_in(data)


def _stand_in(data: Dataset) -> tuple[keras.Model, ModelFile]:
    """Train a small network for a few epochs, and say so."""
    from helpers.networks import build_cnn
    from training.trainer import compile_model, train

    n, epochs = helpers.pick(quick=(1500, 3), standard=(12_000, 4), full=(12_000, 4))
    learn, validation = grouped_split(subset(data.train, n))
    print(
        f"There is no model of {data.name} yet: training a stand-in on {len(learn):,} images, "
        f"{helpers.pick(quick='seconds', standard='a minute or two', full='a minute or two')}. "
        "Notebook 04 trains a better one."
    )
    path = helpers.RUNS / f"stand_in-{data.kind}-{data.fingerprint}.keras"
    path.with_name(f"{path.name}.checkpoint.npz").unlink(missing_ok=True)
    # Neither class weights nor augmentation: both need far more steps before they pay.
    model = compile_model(build_cnn(len(data.classes)), 3e-4)
    info = describe(data) | {"settings": {"profile": helpers.profile()}}
    train(model, learn, validation, epochs=epochs, output=path, info=info)
    return model, ModelFile(path, read_sidecar(path), "stand-in")
