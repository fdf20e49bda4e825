"""Paths, the seed, the profile, colours, and the one kind of error a learner may see."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

ROOT = Path(__file__).resolve().parent.parent
DATASET = ROOT / "dataset"
MODELS = ROOT / "models"  # what the project ships
RUNS = Path(os.environ.get("TUTORIAL_RUNS") or ROOT / "runs")  # what you train; ignored by git
BUILD = ROOT / "build"  # pages made from the notebooks; ignored by git

SEED = 42
IMAGE_SIZE = 48  # pixels, both sides
FER_CLASSES = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")

# Okabe and Ito's palette, which the colour-blind can tell apart (jfly.uni-koeln.de/color).
_COLOURS = ("#D55E00", "#009E73", "#CC79A7", "#E69F00", "#7F7F7F", "#0072B2", "#56B4E9")

PROFILES = ("quick", "standard", "full")


class TutorialError(Exception):
    """Something a learner can put right. Its text says what is wrong and what to do."""

    def _render_traceback_(self) -> list[str]:
        """Let Jupyter show the sentence alone, without the stack behind it."""
        return [f"{type(self).__name__}: {self}"]


def profile() -> str:
    """Return `quick`, `standard` (the default) or `full`, as TUTORIAL_PROFILE says.

    Raises:
        TutorialError: if the variable holds anything else.
    """
    name = os.environ.get("TUTORIAL_PROFILE", "").strip().lower() or "standard"
    if name not in PROFILES:
        raise TutorialError(
            f"TUTORIAL_PROFILE is {name!r}; set it to one of {', '.join(PROFILES)}, or unset it."
        )
    return name


def pick(*, quick: T, standard: T, full: T) -> T:
    """Return the value that belongs to the current profile."""
    return {"quick": quick, "standard": standard, "full": full}[profile()]


def class_colours(classes: Sequence[str]) -> list[str]:
    """Return one hex colour per class; the seven expressions keep theirs in every figure."""
    known = dict(zip(FER_CLASSES, _COLOURS, strict=True))
    return [known.get(name, _COLOURS[index % len(_COLOURS)]) for index, name in enumerate(classes)]
