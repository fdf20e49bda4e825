"""Checks of lesson 6, Classify faces, with widgets."""

from __future__ import annotations

import functools

import keras
import numpy as np

from helpers import SEED
from notebooks.exercises.checks import call, exercise, function, need, need_kind, need_same, numbers


def _square(box, scale, width, height, fit=True, move=True, longer=max):
    """Return the square that is asked for, with what is switched off left out."""
    left, top, right, bottom = box
    side = scale * longer(right - left, bottom - top)
    side = min(side, width, height) if fit else side
    x, y = (left + right - side) / 2, (top + bottom - side) / 2
    if move:
        x, y = min(max(x, 0), width - side), min(max(y, 0), height - side)
    return np.array([x, y, x + side, y + side])


def _unlike(**switched):
    return functools.partial(_square, **switched)


square_inside = function(
    "it is a square, it lies inside, and it is moved only where it must be",
    _square,
    {
        "with a box in the middle": ((40, 40, 80, 90), 1.4, 200, 160),
        "with a box at the left": ((0, 60, 40, 100), 1.5, 200, 160),
        "with a box in the lower right corner": ((150, 106, 196, 156), 2, 200, 160),
        "with a square larger than the picture is high": ((90, 20, 190, 140), 2, 300, 160),
        "with a square larger than the picture is wide": ((10, 150, 80, 230), 2, 90, 240),
    },
    {
        "its side follows the shorter side of the box, not the longer one.": _unlike(longer=min),
        "it reaches beyond the picture: move it.": _unlike(fit=False, move=False),
        "all four numbers lie inside, but it is no square any more.": (
            lambda box, scale, width, height: np.clip(
                _square(box, scale, width, height, fit=False, move=False), 0, [width, height] * 2
            )
        ),
        "it is larger than the picture: its side must be no longer than width and height.": (
            _unlike(fit=False)
        ),
        "the margin is added on both sides: the whole side is `scale` times as long.": (
            lambda box, scale, *size: _square(box, 2 * scale - 1, *size)
        ),
        "it begins at the corner of the box; its middle is to be the middle of the box.": (
            lambda box, scale, *size: _square(
                np.array(box) + (scale - 1) * max(box[2] - box[0], box[3] - box[1]) / 2,
                scale,
                *size,
            )
        ),
    },
    near=1.01,
)


@functools.cache
def _network():
    """A small network with random weights, which takes what the lessons' networks take."""
    keras.utils.set_random_seed(SEED)
    flat = [keras.layers.AveragePooling2D(8), keras.layers.Flatten()]
    dense = keras.layers.Dense(7, "softmax", kernel_initializer=keras.initializers.RandomNormal())
    network = keras.Sequential([keras.Input((48, 48, 1)), *flat, dense])
    network.layers[-1].set_weights([3 * w for w in np.random.randn(1, 36, 7)] + [np.zeros(7)])
    return network


def _built(answer, shape, dtype):
    """Have a network built on a small one; return its answers to some pictures, and these."""
    given = _network()
    pictures = np.random.default_rng(SEED).integers(0, 256, shape).astype("uint8")
    pictures = pictures if dtype == "uint8" else (pictures / 255).astype("float32")
    made = call(answer, given)
    need_kind(made, keras.Model, "a network")
    need(made is not given, "this is the network that you were given, as it was.")
    more = f"yours has {made.count_params():,} weights, and the given one {given.count_params():,}"
    need(made.count_params() == given.count_params(), f"{more}: use the same one each time.")
    found = call(made, pictures, trial="a trial with three pictures")
    return given, pictures, numbers(found, (len(pictures), 7), "a trial with three pictures")


@exercise("pixels from a file go in, and the answers are those of the given network")
def from_pixels(answer) -> None:
    given, pixels, found = _built(answer, (3, 48, 48), "uint8")
    whole = pixels[..., None].astype("float32")
    inputs = {
        "the network gets grey levels up to 255; it wants 0 to 1.": whole,
        "the network gets grey levels from -1 to 1; it wants 0 to 1.": whole / 127.5 - 1,
        "the pictures are mirrored along their diagonal: rows became columns.": (
            whole.swapaxes(1, 2) / 255
        ),
    }
    mistakes = {sentence: given(wrong) for sentence, wrong in inputs.items()}
    otherwise = "its answers are not those of the given network."
    need_same(found, given(whole / 255), mistakes, otherwise, near=1e-4)


@exercise("a face and its mirror image get the same answer, with no weight more")
def both_ways(answer) -> None:
    given, faces, found = _built(answer, (3, 48, 48, 1), "float32")
    plain, mirrored = np.asarray(given(faces)), np.asarray(given(faces[:, :, ::-1]))
    mistakes = {
        "it answers as the given network: where is the mirror image?": plain,
        "only the mirror image is asked.": mirrored,
        "the picture is turned upside down, not mirrored: which axis are the columns?": (
            (plain + given(faces[:, ::-1])) / 2
        ),
        "the answers are added up; their mean is wanted.": plain + mirrored,
        "the pictures are averaged; the answers should be.": given((faces + faces[:, :, ::-1]) / 2),
        "the better of the two is taken; their mean is wanted.": np.maximum(plain, mirrored),
    }
    otherwise = "its answers are not the mean of the two."
    need_same(found, (plain + mirrored) / 2, mistakes, otherwise, near=1e-4)


SURE = np.array([0.99, 0.97, 0.95, 0.9, 0.85, 0.7, 0.65, 0.6, 0.5, 0.4, 0.3, 0.2])


def _hits(text: str, wanted: float) -> tuple:
    order = np.random.default_rng(5).permutation(len(SURE))
    return SURE[order], np.array([hit == "1" for hit in text])[order], wanted


def _accuracies(sure, right):
    return np.cumsum(right[np.argsort(-sure)]) / np.arange(1, len(sure) + 1)


def _coverage(sure, right, wanted):
    return max(np.append(np.flatnonzero(_accuracies(sure, right) >= wanted) + 1, 0)) / len(sure)


coverage = function(
    "as many are answered as can be, the surest of them, and enough are right",
    _coverage,
    {
        "where the surest is right": _hits("110111010010", 0.75),
        "where the surest is wrong": _hits("011111110000", 0.75),
        "where nothing is right": _hits("000000000000", 0.5),
        "where all can be answered": _hits("111011110111", 0.8),
    },
    {
        "you believe how sure it says it is; see how often it is right.": (
            lambda sure, right, wanted: np.mean(sure >= wanted)
        ),
        "that is how often it is right if all are answered.": (
            lambda sure, right, wanted: right.mean()
        ),
        "you take the faces in the order in which they came; the surest come first.": (
            lambda sure, right, wanted: _coverage(-np.arange(len(sure)), right, wanted)
        ),
        "you stop too early: what happens to the accuracy further on?": (
            lambda sure, right, wanted: (
                np.append(_accuracies(sure, right) >= wanted, False).argmin() / len(sure)
            )
        ),
        "that is how many can be answered; their share of all is wanted.": (
            lambda sure, right, wanted: len(sure) * _coverage(sure, right, wanted)
        ),
    },
)
