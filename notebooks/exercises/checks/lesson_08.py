"""Checks of lesson 8, Go further."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from helpers import SEED
from notebooks.exercises.checks import call, exercise, function, make, need, numbers, same


@exercise("few parameters, and a block that has learnt nothing lets its input through")
def block(answer) -> None:
    for channels, filters in ((8, 8), (8, 16)):
        trial = f"a trial with {channels} channels and {filters} filters"
        inputs = keras.Input((12, 12, channels))
        outputs = call(answer, inputs, filters, trial=trial)
        need(isinstance(outputs, keras.KerasTensor), "return what comes out of the last layer.")
        shape = f"in {trial} {outputs.shape[1:]} comes out, not {(12, 12, filters)}."
        need(outputs.shape[1:] == (12, 12, filters), shape)
        network = keras.Model(inputs, outputs)
        found, shortcut = network.count_params(), channels * filters * (channels != filters)
        right = 9 * channels + channels * filters + 4 * filters + shortcut
        usual = right - 9 * channels - channels * filters + 9 * channels * filters
        named = {
            usual: f"in {trial} the convolution is a usual one: it has {usual:,} parameters.",
            right + filters: "one of the convolutions has a bias, which the normalisation undoes.",
            right - shortcut: "the shortcut has no convolution of 1 × 1, and cannot be added.",
            right + channels * filters: "the shortcut has a convolution where it needs none.",
        }
        need(found == right, named.get(found, f"in {trial} there are {found:,}, not {right:,}."))
        network.set_weights([np.zeros_like(w) if w.ndim == 4 else w for w in network.get_weights()])
        x = np.random.default_rng(SEED).normal(size=(2, 12, 12, channels)).astype("float32")
        through = np.asarray(network(x))
        if channels == filters:
            need(np.any(through), "with all kernels at 0 nothing comes out: is the input added?")
            need(through.min() >= 0, "what comes out may be below 0: ReLU is to come last.")
            need(same(through, x.clip(0), 1e-3), "the input is changed on its way to the end.")


@exercise("it rises to its peak, or begins there, and falls along the curve to 0")
def warm_up_cosine(answer) -> None:
    for steps, warm_up, peak in ((100, 20, 0.5), (60, 0, 2.0)):
        kind = keras.optimizers.schedules.LearningRateSchedule
        schedule = make(answer, kind, "a schedule", peak, warm_up, steps)
        fall = steps - warm_up
        for step, hint in (
            (warm_up, "here the rate is at its peak."),
            (0, "where along the rise is that?"),
            (warm_up // 2, "where along the rise is that?"),
            (steps, "here the rate has come down to 0."),
            (warm_up + fall // 2, "here half of the peak is left."),
            (warm_up + fall // 4, "does it fall in a curve?"),
        ):
            trial = f"a trial (step {step}, {steps} in all, warm-up {warm_up}, peak {peak:g})"
            value = float(numbers(call(schedule, step, trial=trial), (), trial))
            right = peak * (1 + np.cos(np.pi * max(step - warm_up, 0) / fall)) / 2
            right = peak * step / warm_up if step < warm_up else right
            too = "large" if value > right else "small"
            need(same(value, right), f"in {trial} your {value:.4g} is too {too}: {hint}")
    trial = "TensorFlow, where the step is a tensor and neither `if` nor NumPy will do,"
    call(tf.function(schedule, autograph=False), tf.constant(3), trial=trial)


def _mixed(images, targets, shares, order=slice(None, None, -1)):
    """Mix by np.einsum, with the pictures of the batch in another order."""
    return tuple(
        np.einsum("n,n...->n...", shares, x) + np.einsum("n,n...->n...", 1 - shares, x[order])
        for x in (images, targets)
    )


_rng = np.random.default_rng(SEED)

mixup = function(
    "each picture keeps its share, and so does its label",
    _mixed,
    {
        "with 4 pictures of 3 × 6 pixels": (
            _rng.random((4, 3, 6)),
            np.eye(3)[[2, 0, 1, 1]],
            _rng.uniform(0.1, 0.9, 4),
        ),
        "with as many pictures as each has rows and columns": (
            _rng.random((5, 5, 5)),
            np.eye(5)[[2, 0, 4, 1, 3]],
            _rng.uniform(0.1, 0.9, 5),
        ),
    },
    {
        "the pictures are mixed, and the targets are not.": (
            lambda x, y, shares: (_mixed(x, y, shares)[0], y)
        ),
        "the shares are the wrong way round.": lambda x, y, shares: _mixed(x, y, 1 - shares),
        "each picture is mixed with its neighbour; the first goes with the last.": (
            lambda x, y, shares: _mixed(x, y, shares, np.arange(len(x)) - 1)
        ),
        "the columns have the shares, not the pictures.": (
            lambda x, y, shares: (
                (
                    shares * x + (1 - shares) * x[::-1],
                    shares * y + (1 - shares) * y[::-1],
                )
                if x.shape[2] == len(x)
                else _mixed(x, y, shares)
            )
        ),
        "all pictures have the same share; each has its own.": (
            lambda x, y, shares: _mixed(x, y, np.full(len(x), shares[0]))
        ),
        "the targets are those of the larger part; they are to be mixed too.": (
            lambda x, y, shares: (
                _mixed(x, y, shares)[0],
                np.where(shares[:, None] > 0.5, y, y[::-1]),
            )
        ),
    },
)


def _forgetting(weights, keep):
    return np.average(weights, axis=0, weights=[keep**age for age in range(len(weights))][::-1])


def _decayed(weights, keep, first):
    """Return a running average that begins with `first`."""
    for row in weights:
        first = keep * first + (1 - keep) * row
    return first


averaged = function(
    "the newest counts most, the first is forgotten, and nothing gets lost",
    _forgetting,
    {
        "with 6 rows": (_rng.random((6, 3)), 0.7),
        "with keep = 0": (_rng.random((4, 2)), 0.0),
        "with one row": (_rng.random((1, 4)), 0.9),
    },
    {
        "it begins at 0, and so it comes out too small: divide by the sum of the shares.": (
            lambda weights, keep: _decayed(weights, keep, 0)
        ),
        "it begins with the first row, as the lesson's does; that counts too much.": (
            lambda weights, keep: _decayed(weights[1:], keep, weights[0])
        ),
        "all rows count the same.": lambda weights, keep: weights.mean(axis=0),
        "the oldest row counts most; the newest is to.": (
            lambda weights, keep: _forgetting(weights[::-1], keep)
        ),
        "the rows are added up; divide by the sum of their shares.": (
            lambda weights, keep: keep ** np.arange(len(weights))[::-1] @ weights
        ),
        "each row is averaged; one row is wanted, with a mean for each column.": (
            lambda weights, keep: weights.mean(axis=1)
        ),
        "all older rows count the same; the older a row is, the less it is to count.": (
            lambda w, keep: np.average(w, axis=0, weights=[keep] * (len(w) - 1) + [1])
        ),
    },
)
