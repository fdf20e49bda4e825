"""What the lessons teach with: each module is about one thing, and imports from those above it.

This file holds what all share; the others are:

plots           every chart that appears more than once; it takes arrays
architecture    the picture of a network, layer by layer
pictures        opens any picture, and makes 48 x 48 grey levels of it
data            images and labels in memory; copies, honest splits, class weights
fer2013         what is known of FER-2013, and whether a copy is the true one
augment         what training images go through
networks        the lesson's network, the shipped one, a pretrained one
evaluation      predictions, scores, intervals
foreign_models  networks from elsewhere: told for what they are, made to fit
models          networks on disk, each with a note of what it is
detector        finds faces
faces           cuts them out, and has portraits to try
"""

import contextlib
import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

# TensorFlow reads these when it is first imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # of its notes, only errors
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / "models"  # what the project ships
# What pip has installed has no project around it; what you make then goes to a folder of yours.
HOME = ROOT if (ROOT / "start.py").exists() else Path.home() / "emotion-detection"
DATASET = HOME / "dataset"
# What you train; ignored by git. A relative path counts from the project's folder.
RUNS = HOME / Path(os.environ.get("TUTORIAL_RUNS") or "runs").expanduser()
BUILD = HOME / "build"  # what can be made again, pages and unpacked archives; ignored by git

SEED = 42
IMAGE_SIZE = 48  # pixels, both sides
PROFILES = ("quick", "standard", "full")
FER_CLASSES = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
# Okabe and Ito's palette, which the colour-blind can tell apart (jfly.uni-koeln.de/color).
_COLOURS = ("#D55E00", "#009E73", "#CC79A7", "#E69F00", "#7F7F7F", "#0072B2", "#56B4E9")


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
    free = [colour for name, colour in known.items() if name not in classes] or _COLOURS
    others = itertools.cycle(free)
    return [known.get(name) or next(others) for name in classes]


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Let the caller write a file beside `path`, then put it in its place in one step."""
    partial = path.with_name(f".partial_{path.name}")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        raise TutorialError(
            f"{path} could not be written ({error.strerror or error}): make room, or choose "
            "another place; what was there before still is."
        ) from error
    finally:
        partial.unlink(missing_ok=True)
