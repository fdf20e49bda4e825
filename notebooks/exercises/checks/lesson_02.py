"""Checks of lesson 2, Preview augmentation."""

from __future__ import annotations

import keras
import numpy as np

from helpers import SEED
from notebooks.exercises.checks import (
    call,
    exercise,
    function,
    make,
    name,
    need,
    need_kind,
    numbers,
    same,
)

mirror_matrix = function(
    "first and last column change places, and a second time brings all back",
    lambda width: np.array([[-1, 0, width - 1], [0, 1, 0], [0, 0, 1]]),
    {"of 48 columns": (48,), "of 7 columns": (7,)},
    {
        "column 1 lands left of the picture: what brings it back?": (
            lambda width: np.diag([-1, 1, 1])
        ),
        "everything lands a pixel too far to the right: the last column has another number.": (
            lambda width: np.array([[-1, 0, width], [0, 1, 0], [0, 0, 1]])
        ),
        "rows change places; left and right should be swapped.": (
            lambda width: np.array([[1, 0, 0], [0, -1, width - 1], [0, 0, 1]])
        ),
        "nothing moves.": lambda width: np.eye(3),
        "the last row is missing, which leaves the added 1 as it is.": (
            lambda width: np.array([[-1, 0, width - 1], [0, 1, 0]])
        ),
    },
)

SWAP = {"left": "right", "right": "left"}
LABELS = ("right", "left", "straight", "down right", "up left", "closed", "upright", "leftover")

mirrored_label = function(
    "what the mirror swaps is swapped in the label too, and all else is left",
    lambda label: " ".join(SWAP.get(word, word) for word in label.split()),
    {f"with {label!r}": (label,) for label in LABELS},
    {
        "'up left' has two words, and a mirror changes one of them.": (
            lambda label: SWAP.get(label, label)
        ),
        "you change letters within a word; 'upright' is another word than 'right'.": (
            lambda label: label.replace("left", "*").replace("right", "left").replace("*", "right")
        ),
        "one replacement undoes the other: what the first has made, the second changes back.": (
            lambda label: label.replace("left", "right").replace("right", "left")
        ),
        "the label stays as it is; in a mirror, a gaze to the right goes to the left.": (
            lambda label: label
        ),
    },
)


@exercise("three layers, with the ranges that were asked for")
def augment(answer) -> None:
    need_kind(answer, keras.Sequential, "a keras.Sequential")
    names = ["RandomFlip", "RandomRotation", "RandomTranslation"]
    found = [name(layer) for layer in answer.layers]
    need(found == names, f"your layers are {', '.join(found) or 'none'}: which are wanted?")
    flip, turn, move = (layer.get_config() for layer in answer.layers[-3:])
    need(flip["mode"] == "horizontal", "your flip also turns faces upside down.")
    degrees = 360 * np.max(turn["factor"])
    need(same(degrees, 20), f"you turn by up to {degrees:g} degrees: the factor counts turns.")
    down, right = np.max(move["height_factor"]), np.max(move["width_factor"])
    need((down, right) != (0.05, 0.1), "height and width are the wrong way round.")
    part = f"you move by up to {right:g} of the width and {down:g} of the height."
    need(same([right, down], [0.05, 0.1]), part)
    modes = {turn["fill_mode"], move["fill_mode"]}
    need(modes == {"nearest"}, f"the gaps are filled in the way {modes - {'nearest'}}.")


@exercise("each picture has a light of its own in training, and in use nothing changes")
def random_light(answer) -> None:
    layer = make(answer, keras.layers.Layer, "a layer of Keras")
    dim = np.random.default_rng(SEED).uniform(0.2, 0.5, (64, 6, 6, 1)).astype("float32")
    used, lit, bright = (
        numbers(call(layer, x, trial=trial), x.shape, trial) if in_use else lighted(layer, x, trial)
        for x, in_use, trial in (
            (dim, True, "use"),
            (dim, False, "training"),
            (2 * dim, False, "training with bright pictures"),
        )
    )
    need(same(used, dim), "in use, without training=True, the pictures should stay as they are.")
    need(not same(lit, dim), "in training=True nothing changes.")
    light = (lit / dim).reshape(64, -1)
    even = np.ptp(light, axis=1).max() < 1e-3
    need(even, "within a picture the light differs from pixel to pixel; one number for each.")
    need(np.ptp(light) > 1e-3, "all pictures of the batch get the same light.")
    low, high = light.min(), light.max()
    fits = 0.599 < low < 0.7 and 1.3 < high < 1.401
    need(fits, f"the light goes from {low:.2f} to {high:.2f} times; 0.6 to 1.4 is wanted.")
    need(bright.max() <= 1, f"a bright picture reaches {bright.max():.2f}, and white is 1.")


def lighted(layer, images, trial):
    found = call(lambda x: layer(x, training=True), images, trial=trial)
    return numbers(found, images.shape, trial)
