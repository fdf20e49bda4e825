"""Checks of lesson 5, Evaluate."""

from __future__ import annotations

import functools

import keras
import numpy as np

from helpers import SEED
from notebooks.exercises.checks import (
    call,
    exercise,
    function,
    make,
    need,
    need_same,
    numbers,
    same,
)

_rng = np.random.default_rng(SEED)
_three, _five = (_rng.integers(1, 40, (k, k)) + np.diag(_rng.integers(20, 90, k)) for k in (3, 5))
_five[:, 2] = 0  # a class that is never given as an answer


def _f1(counts):
    return 2 * counts.diagonal() / (counts.sum(axis=0) + counts.sum(axis=1))


def _precision(counts):
    return counts.diagonal() / counts.sum(axis=0)


def _recall(counts):
    return counts.diagonal() / counts.sum(axis=1)


def _f1_of_means(counts):
    precision, recall = np.nan_to_num(_precision(counts)).mean(), _recall(counts).mean()
    return 2 * precision * recall / (precision + recall)


macro_f1 = function(
    "each class counts the same, also one that is never given as an answer",
    lambda counts: _f1(counts).mean(),
    {"with 3 classes": (_three,), "with 5 classes": (_five,)},
    {
        "you get nan where a class is never given as an answer; its F1 is 0.": (
            lambda c: np.mean(2 * _precision(c) * _recall(c) / (_precision(c) + _recall(c)))
        ),
        "that is the accuracy, in which common classes count for more.": (
            lambda counts: counts.trace() / counts.sum()
        ),
        "that is the weighted mean, in which common classes count for more.": (
            lambda counts: np.average(_f1(counts), weights=counts.sum(axis=1))
        ),
        "you leave out the class that is never given as an answer; it counts too.": (
            lambda counts: _f1(counts)[counts.any(axis=0)].mean()
        ),
        "you average before F1: take F1 of each class first, then the mean.": _f1_of_means,
        "this is F1 of each class; their mean is wanted.": _f1,
    },
)


@exercise("it comes from the rounds, holds the accuracy, and is as wide as it should be")
def interval(answer) -> None:
    for n, hits in ((900, 630), (100, 85)):
        right = np.random.default_rng(SEED).permutation(n) < hits
        low, high = numbers(call(answer, right, 2000), (2,))
        share = hits / n
        need(0 <= low <= 1 and 0 <= high <= 1, "both ends are shares, between 0 and 1.")
        need(low <= high, "the low end comes first, then the high one.")
        need(high - low > 1e-9, "all rounds give the same: can a face be drawn more than once?")
        need(low < share < high, "your interval does not hold the accuracy of the very faces.")
        wide = (high - low) / (2 * 1.96 * np.sqrt(share * (1 - share) / n))
        how = f"for {n} faces your interval is too {'wide' if wide > 1 else 'narrow'}: how many"
        need(0.88 < wide < 1.12, f"{how} faces does a round draw, and which part lies inside?")
    low, high = numbers(call(answer, right, 1), (2,))
    rounds = "with a single round both ends are its score, and yours differ: do you draw at all?"
    need(same(low, high), rounds)


@exercise("batch after batch adds up, and every class counts the same")
def macro_recall(answer) -> None:
    rng = np.random.default_rng(SEED)
    metric = make(answer, keras.metrics.Metric, "a metric of Keras", 3)
    batches = [
        (np.array(labels), rng.dirichlet([1, 1, 1], len(labels)).astype("float32"))
        for labels in ([0, 0, 1, 2, 0, 0, 1], [0, 1, 0], [1, 2, 1, 2, 0])
    ]

    def result(some):
        for labels, probabilities in some:
            metric.update_state(labels, probabilities)
        return metric.result()

    def recalls(some, axis=1):
        labels, p = (np.concatenate(part) for part in zip(*some, strict=True))
        table = np.zeros((3, 3))
        np.add.at(table, (labels, p.argmax(axis=1)), 1)
        return (table.diagonal() / np.maximum(table.sum(axis=axis), 1)).mean()

    found = numbers(call(result, batches, trial="three batches"), (), "three batches")
    labels, p = (np.concatenate(part) for part in zip(*batches, strict=True))
    right = recalls(batches)
    mistakes = {
        "nothing is counted: does `update_state` add to both variables?": 0,
        "that is the accuracy, in which common classes count more.": np.mean(
            p.argmax(axis=1) == labels
        ),
        "only the last batch counts: are the earlier ones kept?": recalls(batches[-1:]),
        "that is the mean of the batches; count faces, then divide once.": np.mean(
            [recalls([batch]) for batch in batches]
        ),
        "you divide by how often each class is answered; that is precision.": recalls(batches, 0),
    }
    otherwise = f"after three batches you get {found:.3f}, and {right:.3f} is right."
    need_same(found, right, mistakes, otherwise)
    metric.reset_state()
    again = call(result, batches[:1], trial="a new start")
    kept = "after reset_state() the faces of before still count: keep them in the two variables."
    need(same(again, recalls(batches[:1])), kept)


@functools.cache
def _network():
    """A small network with random weights that divides its pictures among the classes."""
    keras.utils.set_random_seed(SEED)
    layers = [keras.layers.Flatten(), keras.layers.BatchNormalization(), keras.layers.Dropout(0.5)]
    network = keras.Sequential([keras.Input((6, 6, 1)), *layers, keras.layers.Dense(3, "softmax")])
    mean, variance = np.full(36, 0.4, "float32"), np.full(36, 0.02, "float32")
    kernel = np.random.default_rng(SEED).normal(0, 0.3, (36, 3)).astype("float32")
    network.set_weights([np.ones(36), np.zeros(36), mean, variance, kernel, np.zeros(3)])
    return network


@exercise("all three mistakes are gone, and the score is that of the network in use")
def accuracy(answer) -> None:
    rng, network = np.random.default_rng(SEED), _network()
    images = rng.integers(0, 256, (60, 6, 6)).astype("uint8")
    scaled = images[..., None] / np.float32(255)
    labels = np.asarray(network(scaled)).argmax(axis=1)
    labels[rng.permutation(60)[:20]] = rng.integers(0, 3, 20)
    used, unscaled = (
        np.asarray(network(x)).argmax(axis=1) for x in (scaled, np.float32(images[..., None]))
    )
    scores = [numbers(call(answer, network, images, labels)) for _ in range(2)]
    need(same(*scores), "a second call gives another score: dropout is still at work.")
    right = np.mean(used == labels)
    mistakes = {
        "the network wants grey levels from 0 to 1.": np.mean(unscaled == labels),
        "compare each answer with the label of its own face.": np.mean(
            np.sort(used) == np.sort(labels)
        ),
        "that is a percentage; the score lies between 0 and 1.": 100 * right,
        "that is how many are right; the score is their share.": np.sum(used == labels),
    }
    need_same(scores[0], right, mistakes, f"you get {scores[0]:.3f}, and {right:.3f} is right.")
