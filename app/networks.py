"""The list of networks to choose from, each loaded once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import ipywidgets

from app.classifier import Known, load_litert
from helpers import FER_CLASSES, TutorialError
from training.choose_model import ModelFile

NO_MODEL = "There is no trained network yet: run notebook 04, or `python train_model.py`, first."


class Networks:
    """The networks to choose from; load them while you hold `answers.GUARD`.

    Args:
        models: in the order to show.

    Attributes:
        chooser: the list to choose with; its value is a `ModelFile`, or None.
    """

    def __init__(self, models: Sequence[ModelFile]):
        options = [(_describe(file), file) for file in models] or [("none found", None)]
        look = {"style": {"description_width": "initial"}, "layout": {"width": "auto"}}
        self.chooser = ipywidgets.Dropdown(options=options, description="Network", **look)
        self._loaded: dict[Path, Known] = {}

    @property
    def path(self) -> Path:
        """The file of the chosen network; a `TutorialError` if there is none."""
        if self.chooser.value is None:
            raise TutorialError(NO_MODEL)
        return self.chooser.value.path

    @property
    def ready(self) -> bool:
        """False if to load the chosen network will take its time."""
        return self.path in self._loaded

    def load(self) -> Known:
        """Return what answers for the chosen network; a `TutorialError` if its file is useless."""
        if not self.ready:
            self._loaded[self.path] = load_litert(self.path, FER_CLASSES)
        return self._loaded[self.path]


def _describe(file: ModelFile) -> str:
    words = [file.origin]
    if "data" in file.info:
        whose = ", ten people's votes" if file.by_votes else ""
        words.append(f"trained on {file.info['data']['name']}{whose}")
    if "accuracy" in file.info.get("validation", {}):
        truth = " by the majority" if file.by_votes else ""
        words.append(f"{file.info['validation']['accuracy']:.0%} right{truth} on validation images")
    return f"{file.path.name} ({', '.join(words)})"
