"""Checks of lesson 7, Ask why, and go live."""

from __future__ import annotations

import functools

import keras
import numpy as np

from helpers import SEED
from notebooks.exercises.checks import call, exercise, function, need_same, number, numbers


@functools.cache
def _network(averages: bool = False):
    """A small network with random weights for pictures of 6 x 6, which ends in a softmax."""
    layers = keras.layers
    flat = [layers.Conv2D(4, 3, activation="relu"), layers.GlobalAveragePooling2D()]
    before = flat if averages else [layers.Flatten()]
    network = keras.Sequential([keras.Input((6, 6, 1)), *before, layers.Dense(3, "softmax")])
    rng = np.random.default_rng(SEED)
    network.set_weights([rng.normal(0, 0.5, w.shape) for w in network.get_weights()])
    return network, rng.random((2, 6, 6, 1)).astype("float32")


@exercise("this is how much each pixel of each picture would change the probability")
def saliency(answer) -> None:
    network, pictures = _network()
    p, kernel = np.asarray(network(pictures)), network.get_weights()[0]
    for k in (0, 2):
        trial = f"a trial with 2 pictures and class {k}"
        found = call(answer, network, pictures, k, trial=trial)
        found = numbers(found, pictures.shape, trial).reshape(2, -1)
        logarithm = kernel[:, k] - p @ kernel.T
        right = p[:, [k]] * logarithm
        mistakes = {
            "all is 0: the sum of all probabilities is 1, whatever the pixels are.": 0 * right,
            "that is for the logarithm of the probability.": logarithm,
            "that is the size of the change; its sign is wanted too.": np.abs(right),
            "what speaks against the class is cut off; here it is wanted too.": right.clip(0),
            "that is for another class.": p[:, [1]] * (kernel[:, 1] - p @ kernel.T),
        }
        need_same(found, right, mistakes, f"in {trial} the gradient has other numbers.")


@exercise("the mean over the places, and the bias, make the logit of the class")
def class_activation(answer) -> None:
    network, pictures = _network(averages=True)
    maps = np.asarray(network.layers[0](pictures))
    kernel, bias = np.random.default_rng(0).normal(size=(4, 3)), np.arange(3) / 2
    network.layers[-1].set_weights([kernel, bias])
    for k in (0, 2):
        trial = f"a trial with 2 pictures and class {k}"
        found = call(answer, network, pictures, k, trial=trial)
        found, right = numbers(found, (2, 4, 4), trial), maps @ kernel[:, k]
        mistakes = {
            "all maps count the same; each has a weight for the class.": maps.sum(axis=-1),
            "the mean of the maps is no answer yet; each has a weight for the class.": (
                maps.mean(axis=-1)
            ),
            "the bias belongs to no place; leave it out.": right + bias[k],
            "what speaks against the class is cut off; here it is wanted too.": right.clip(0),
            "the weights are those of another class.": maps @ kernel[:, 1],
        }
        need_same(found, right, mistakes, f"in {trial} the places have other numbers.")


age_of_answer = number(
    "what is answered now has waited all the while that the queue has grown",
    36,
    {
        24: "that is when its frame was taken; how long ago is it now?",
        1080: "that is how many frames are waiting, and seconds are asked for.",
        90: "so long will the newest frame have to wait; asked is about the one answered now.",
    },
    "how many are answered by now, and when was the last of these taken?",
)


def _mean(p, first, last):
    """Return the mean of the frames from `first` to before `last`, of those that there are."""
    return p[max(first, 0) : max(last, 1)].mean(axis=0)


def _smoothed(p, n):
    return np.array([_mean(p, t - n + 1, t + 1) for t in range(len(p))])


_rng = np.random.default_rng(SEED)

smoothed = function(
    "each frame is averaged with those before it that there are, and with none that follow",
    _smoothed,
    {
        f"with {frames} frames, {k} classes and n = {n}": (_rng.dirichlet(np.ones(k), frames), n)
        for frames, k, n in ((6, 3, 3), (4, 2, 9), (5, 4, 1))
    },
    {
        "the missing frames count as 0; average over those that there are.": (
            lambda p, n: np.array(
                [p[max(0, t - n + 1) : t + 1].sum(axis=0) / n for t in range(len(p))]
            )
        ),
        "you also look at frames that come later; a camera has not seen them yet.": (
            lambda p, n: np.array([_mean(p, t - n // 2, t + n // 2 + 1) for t in range(len(p))])
        ),
        "all rows are the mean of all frames; a row knows only those before it.": (
            lambda p, n: np.tile(p.mean(axis=0), (len(p), 1))
        ),
        "the first frames have no row; there are as many rows as frames.": (
            lambda p, n: _smoothed(p, n)[n - 1 :]
        ),
        "you get nan: a negative place counts from the end in Python.": (
            lambda p, n: np.array([p[t - n + 1 : t + 1].mean(axis=0) for t in range(len(p))])
        ),
        "the frame itself is left out.": (
            lambda p, n: np.array([_mean(p, t - n, t) for t in range(len(p))])
        ),
    },
)
