"""The list of networks to choose from, each loaded once."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import ipywidgets
import numpy as np

from app.classifier import Classifier, load_litert
from helpers import FER_CLASSES, TutorialError, faces
from training import choose

NO_MODEL = "There is no trained network yet: run notebook 04, or `python train_model.py`, first."


class Networks:
    """The networks to choose from, each loaded once, whichever thread asks.

    Args:
        models: in the order to show; by default all that fit photographs, the best first.

    Attributes:
        chooser: the list to choose with; its value is a `ModelFile`, or None.
    """

    def __init__(self, models: Sequence[choose.ModelFile] | None = None):
        models = choose.model_for_photographs() if models is None else models
        options = [(_describe(file), file) for file in models] or [("none found", None)]
        look = {"style": {"description_width": "initial"}, "layout": {"width": "auto"}}
        self.chooser = ipywidgets.Dropdown(options=options, description="Network", **look)
        self._lock, self._loaded = threading.Lock(), {}

    @property
    def path(self) -> Path:
        """The file of the chosen network; a `TutorialError` if there is none."""
        if self.chooser.value is None:
            raise TutorialError(NO_MODEL)
        return self.chooser.value.path

    @property
    def ready(self) -> bool:
        """False if the next answer will take its time."""
        return self.chooser.value is None or self.path in self._loaded

    def load(self) -> tuple[Classifier, dict]:
        """Return what answers for the chosen network, and what is known about it.

        Raises:
            TutorialError: if there is none, or its file cannot be used.
        """
        path = self.path
        with self._lock:
            if path not in self._loaded:
                self._loaded[path] = load_litert(path, FER_CLASSES)
            return self._loaded[path]

    def classify(self, found: Sequence[faces.Face]) -> tuple[np.ndarray, Sequence[str], str]:
        """Return the faces' probabilities (faces, classes), the classes, and a word of caution."""
        answer, info = self.load()
        return faces.classify(answer, found), info["classes"], faces.caution(info)


def _describe(file: choose.ModelFile) -> str:
    words = [file.origin]
    if "data" in file.info:
        words.append(f"trained on {file.info['data']['name']}")
    if "accuracy" in file.info.get("validation", {}):
        words.append(f"{file.info['validation']['accuracy']:.0%} right on validation images")
    return f"{file.path.name} ({', '.join(words)})"
