"""The small package behind the notebooks: each module is about one thing.

This file holds what all share: paths, the seed, the profile, the classes' colours, and the one
kind of error that a learner may see. The rest, each importing only from those above it:

toy_faces   draws the offline data set
sources     finds, unpacks or downloads the images
data        decodes, loads, checks and splits them
network     the lesson's network, the shipped one, a pretrained one, a new last layer; augmentation
training    batches, class weights, resuming, live curves; saving and loading models
recipe      the training that lesson 7 arrives at, with all its switches
evaluation  which model to score; predictions, scores, intervals, calibration
plots       every chart that appears more than once
faces       finds and crops faces in photographs
widgets     the interactive parts
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import sys
import threading
from collections.abc import Iterator, Sequence
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


# TensorFlow reads these when it is first imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


_QUIET = threading.RLock()  # two at once could leave it closed for good


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Send what C++ code writes to standard error to nowhere."""
    with _QUIET:
        sys.stderr.flush()
        kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(nowhere)


class _QuietTensorFlow:
    """Let `import tensorflow` start without a page of notices, whoever imports it first.

    They are printed before the log level above applies, so standard error is closed to them
    for the length of the import. An exception still reaches whoever imports.
    """

    @staticmethod
    def find_spec(name: str, path=None, target=None):
        if name != "tensorflow":
            return None
        sys.meta_path.remove(_QuietTensorFlow)
        spec = importlib.util.find_spec(name)
        if spec is not None:
            load = spec.loader.exec_module

            def load_quietly(module) -> None:
                with quiet_stderr():
                    load(module)

            spec.loader.exec_module = load_quietly
        return spec


if "tensorflow" not in sys.modules and _QuietTensorFlow not in sys.meta_path:
    sys.meta_path.insert(0, _QuietTensorFlow)
