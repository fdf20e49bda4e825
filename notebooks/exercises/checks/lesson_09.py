"""Checks of lesson 9, Transfer what another network has learnt."""

from __future__ import annotations

import keras
import numpy as np

from helpers import SEED
from notebooks.exercises.checks import call, exercise, function, need, need_kind, numbers
from notebooks.exercises.checks.training import loss, train


def _borrowed(groups: int):
    """A small network that makes features: groups of convolution, normalisation and ReLU."""
    keras.utils.set_random_seed(SEED)
    network = keras.Sequential([keras.Input((8, 8, 1))])
    for _ in range(groups):
        network.add(keras.layers.Conv2D(4, 3, padding="same"))
        network.add(keras.layers.BatchNormalization())
        network.add(keras.layers.ReLU())
    network.add(keras.layers.GlobalAveragePooling2D())
    return network


def _learning(network) -> int:
    return sum(weight.shape.num_elements() for weight in network.trainable_weights)


@exercise("the new layer learns, and what was borrowed stays as it was")
def new_head(answer) -> None:
    borrowed = _borrowed(1)
    known = [weight.copy() for weight in borrowed.get_weights()]
    whole = call(answer, borrowed, 3)
    need_kind(whole, keras.Model, "a network")
    labels = np.arange(12) % 3
    faces = np.random.default_rng(SEED).uniform(0, 1, (12, 8, 8, 1)).astype("float32")
    faces *= (1 + labels)[:, None, None, None]
    answers = numbers(call(whole, faces), (12, 3), "a trial with 12 faces and 3 classes")
    sums = "the answers do not add up to 1: which activation makes probabilities?"
    need(np.allclose(answers.sum(axis=1), 1, atol=1e-4), sums)
    learns, right, body = _learning(whole), 4 * 3 + 3, borrowed.count_params()
    need(learns != right + body - 8, "all of it learns: what was borrowed is not frozen.")
    need(learns, "nothing learns: freeze the borrowed network, not the new layer.")
    wrong = f"{learns:,} numbers learn, and {right} are right for 4 features and 3 classes."
    need(learns == right, wrong)
    copy = "this is a copy with new random weights: use the network itself."
    mine, theirs = whole.get_weights()[: len(known)], known
    need(all(map(np.array_equal, mine, theirs)) and borrowed.built, copy)
    drops = any(isinstance(layer, keras.layers.Dropout) for layer in whole.layers)
    need(drops, "there is no dropout in front of the new layer.")
    whole.compile(keras.optimizers.Adam(0.05), "sparse_categorical_crossentropy")
    before = loss(whole, faces, labels)
    after = loss(train(whole, faces, labels, steps=30), faces, labels)
    need(after < before, f"in 30 steps the loss does not fall: {before:.2f} becomes {after:.2f}.")
    moved = "a training changes the averages of the borrowed normalisation."
    need(all(map(np.array_equal, borrowed.get_weights(), known)), moved)


@exercise("the last layers learn, and every normalisation stays as it is")
def open_last(answer) -> None:
    for n, shut in ((4, False), (6, True)):
        network = _borrowed(3)
        network.trainable = not shut  # as it may come
        opened = call(answer, network, n, trial=f"a trial with {n} of 10 layers")
        need(opened is network, "return the network that you were given, changed.")
        normal = [isinstance(x, keras.layers.BatchNormalization) for x in network.layers]
        found = [layer.trainable for layer in network.layers]
        right = [k >= 10 - n and not normal[k] for k in range(10)]
        whole = "its layers are open, but the network as a whole is shut, so nothing learns."
        need(network.trainable, whole)
        moods = "a batch normalisation is open; it would take the mean of each batch."
        need(not any(a and b for a, b in zip(found, normal, strict=True)), moods)
        front = "the first layers are open and the last are shut: it should be the other way."
        need(found[0] <= found[-1], front)
        first = f"with n = {n}, {sum(found)} layers are open, beginning with number"
        wrong = f"{first} {found.index(True) + 1 if any(found) else 0} of 10."
        need(found == right, wrong)


def _coloured(faces, factor, repeat=np.repeat, low=-1, colours=3):
    """Do as for_the_network asks, but for what is changed."""
    larger = repeat(repeat(faces / 255, factor, axis=1), factor, axis=2)
    return np.stack([low + (1 - low) * larger] * colours, axis=-1)


def _tiled(faces, factor, axis):
    return np.concatenate([faces] * factor, axis=axis)


def _stretched(faces, factor):
    return _coloured(255.0 * (faces - faces.min()) / np.ptp(faces), factor)


_rng = np.random.default_rng(SEED)

for_the_network = function(
    "large enough, from -1 to 1, and grey in three colours",
    _coloured,
    {
        f"with faces of the shape {shape} and factor {factor}": (
            _rng.integers(60, 200, shape, dtype=np.uint8),
            factor,
        )
        for shape, factor in (((2, 3, 3), 2), ((1, 2, 4), 3), ((3, 4, 4), 1))
    },
    {
        "black is 0 with you; it should become -1.": lambda f, k: _coloured(f, k, low=0),
        "the grey levels still go up to 255.": lambda f, k: 255 * _coloured(f, k, low=0),
        "there is one colour; the network asks for three.": (
            lambda f, k: _coloured(f, k, colours=1)
        ),
        "the last axis is missing: three colours, which are all alike.": (
            lambda f, k: _coloured(f, k)[..., 0]
        ),
        "there are several small faces in place of a large one.": (
            lambda f, k: _coloured(f, k, _tiled)
        ),
        "whole numbers of 8 bits have wrapped round: divide first.": (
            lambda f, k: np.stack(
                [(f.repeat(k, axis=1).repeat(k, axis=2) - np.uint8(128)) / 127.5] * 3, axis=-1
            )
        ),
        "the darkest pixel need not be black, nor the lightest white: use 0 and 255.": _stretched,
        "the faces are as small as they were.": lambda f, k: _coloured(f, 1),
    },
    near=5e-3,
)


def _nearest(features, labels, new, size=np.linalg.norm, choose=np.argmin):
    """Do as nearest_mean asks, or take another one of the means than the nearest."""
    classes = np.unique(labels)
    means = [features[labels == k].mean(axis=0) for k in classes]
    return np.array([classes[choose([size(row - mean) for mean in means])] for row in new])


# The mean of class 2 lies far out, so that it has the largest product with nearly everything; a
# single face of class 0 lies among those of class 5; and nearest is another class by the sum of
# the absolute differences, or by a single feature.
_features = np.array([[9, 9], [0, 0], [5, 0], [0, 2], [11, 9], [7, 0], [6, 1.2], [10, 12]], float)
_labels = np.array([2, 0, 5, 0, 2, 5, 0, 2])
_new = np.array([[6, 1.5], [9, 10], [-0.5, -1], [3.5, 0.5], [5.5, 5], [6, 6.1]])

nearest_mean = function(
    "each new face gets the class whose mean is nearest",
    _nearest,
    {
        "with the classes 0, 1 and 2": (_features, np.array([1, 0, 2, 0, 1, 2, 0, 1]), _new),
        "with the classes 0, 2 and 5": (_features, _labels, _new[::-1]),
        "with one new face": (_features, _labels + (_labels == 5), _new[1:2]),
    },
    {
        "you answer with places in the list of means; which class stands there?": (
            lambda x, y, new: np.searchsorted(np.unique(y), _nearest(x, y, new))
        ),
        "you answer with a class of which there is no face to learn from.": (
            lambda x, y, new: np.argmin(
                [
                    [np.linalg.norm(row - x[y == k].mean(axis=0)) for k in range(y.max() + 1)]
                    for row in new
                ],
                axis=1,
            )
        ),
        "you take the class of the nearest face, not of the nearest mean.": (
            lambda x, y, new: y[[np.linalg.norm(x - row, axis=1).argmin() for row in new]]
        ),
        "you take the largest product; a mean that lies far out wins it.": (
            lambda x, y, new: np.unique(y)[
                (new @ np.array([x[y == k].mean(axis=0) for k in np.unique(y)]).T).argmax(axis=1)
            ]
        ),
        "you take the mean that is farthest away.": (
            lambda x, y, new: _nearest(x, y, new, choose=np.argmax)
        ),
        "you add up the differences as they are; square them first.": (
            lambda x, y, new: _nearest(x, y, new, size=lambda v: abs(v).sum())
        ),
    },
)
