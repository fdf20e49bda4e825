"""Checks of lesson 10, Ask ten people."""

from __future__ import annotations

import keras
import numpy as np

from helpers import SEED
from notebooks.exercises.checks import (
    call,
    exercise,
    function,
    need,
    need_kind,
    need_same,
    number,
    numbers,
)
from notebooks.exercises.checks.training import train

share_of_sad = number(
    "single votes and what is no class are left out, and the rest is the whole",
    6 / 8,
    {
        6 / 10: "that is the share of all ten; some of the ten do not count.",
        6 / 9: "one of two things is left out, and the other is not.",
        6: "that is how many say sad; a share lies between 0 and 1.",
        75: "that is a percentage; a share lies between 0 and 1.",
    },
    "how many votes remain, and how many of these say sad?",
)


def _terms(targets, logits):
    """Return what each class adds to the cross-entropy."""
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return -targets * np.log(np.maximum(odds / odds.sum(axis=1, keepdims=True), 1e-38))


def _wraps(targets, logits):
    odds = np.exp(logits)
    return -np.sum(targets * np.log(odds / odds.sum(axis=1, keepdims=True)), axis=1)


def _trains(answer) -> None:
    keras.utils.set_random_seed(SEED)
    rng = np.random.default_rng(SEED)
    network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
    network.compile(keras.optimizers.SGD(0.5), loss=answer)
    x, targets = rng.normal(size=(16, 3)), rng.dirichlet([0.5] * 4, 16)
    before = _terms(targets, np.asarray(network(x))).sum()
    after = _terms(targets, np.asarray(train(network, x, targets, steps=20)(x))).sum()
    need(after < before, "Keras trains with your loss, and it does not fall.")


_rng = np.random.default_rng(SEED)

soft_loss = function(
    "it is the cross-entropy of each picture, and a network learns with it",
    lambda targets, logits: _terms(targets, logits).sum(axis=1),
    {
        name: tuple(np.float32(each) for each in given)
        for name, given in {
            "with 3 pictures and 4 classes": (
                _rng.dirichlet([0.5] * 4, 3),
                _rng.normal(0, 2, (3, 4)),
            ),
            "with as many pictures as classes": (
                _rng.dirichlet([0.5] * 4, 4),
                _rng.normal(0, 2, (4, 4)),
            ),
            "with large logits": ([[0.5, 0.5], [0, 1]], [[900.0, 899], [-800, 200]]),
        }.items()
    },
    {
        "your loss falls below 0: the worse the answer, the lower it is.": (
            lambda targets, logits: -_terms(targets, logits).sum(axis=1)
        ),
        "your loss is in bits; the natural logarithm is wanted.": (
            lambda targets, logits: _terms(targets, logits).sum(axis=1) / np.log(2)
        ),
        "you take the mean over the classes; their sum is wanted.": (
            lambda targets, logits: _terms(targets, logits).mean(axis=1)
        ),
        "you use the largest share alone, as if it were a label.": (
            lambda targets, logits: _terms(
                np.eye(targets.shape[1])[targets.argmax(axis=1)], logits
            ).sum(axis=1)
        ),
        "you get one number; each picture has its loss.": (
            lambda targets, logits: _terms(targets, logits).sum(axis=1).mean()
        ),
        "the classes are apart; add them up.": _terms,
        "large logits give nan, since their exponential is infinite.": _wraps,
    },
    near=1e-3,
    also=_trains,
)


def _softmax(logits):
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


@exercise("the prior is in the last bias, and the network that you were given is as it was")
def without_prior(answer) -> None:
    rng, layers = np.random.default_rng(SEED), keras.layers
    for k, strength in ((3, 0.5), (4, 1.0)):
        trial, prior = f"a trial with {k} classes, strength {strength}", rng.dirichlet([2.0] * k)
        network = keras.Sequential(
            [keras.Input((4,)), layers.Dense(5, "relu"), layers.Dense(k, "softmax")]
        )
        weights = [rng.normal(size=w.shape).astype("float32") for w in network.get_weights()]
        network.set_weights(weights)
        faces = rng.normal(size=(6, 4)).astype("float32")
        logits = np.log(np.asarray(network(faces)))
        made = call(answer, network, prior, strength, trial=trial)
        need_kind(made, keras.Model, "a network")
        kept = all(map(np.array_equal, weights, network.get_weights()))
        need(kept, "your function changes the network it is given; work on a copy.")
        found, gone = numbers(made(faces), (6, k), trial), np.log(prior)
        logits_of = {
            "your network answers as the one that you were given.": logits,
            "rare classes become rarer.": logits + strength * gone,
            "you subtract the prior itself, not its logarithm.": logits - strength * prior,
            "the strength has no effect.": logits - gone,
        }
        mistakes = {sentence: _softmax(wrong) for sentence, wrong in logits_of.items()}
        otherwise = "its answers are others: are all weights the given ones, and the bias changed?"
        need_same(found, _softmax(logits - strength * gone), mistakes, otherwise, near=1e-4)


reported = function(
    "validation chooses the epoch, and the best test score is only the best luck",
    lambda validation, test: np.array([test[validation.argmax()], test.max()]),
    {
        name: (np.array(validation), np.array(test))
        for name, validation, test in (
            ("with 4 epochs", [0.50, 0.61, 0.66, 0.64], [0.52, 0.65, 0.60, 0.63]),
            ("with 3 epochs", [0.70, 0.60, 0.65], [0.58, 0.72, 0.66]),
            ("with one epoch", [0.40], [0.30]),
        )
    },
    {
        "both are right, in the wrong order: the honest one comes first.": (
            lambda validation, test: np.array([test.max(), test[validation.argmax()]])
        ),
        "the epoch is chosen by validation, and then scored on the test set.": (
            lambda validation, test: np.array([validation.max(), test.max()])
        ),
        "your honest score is that of the last epoch; another was chosen.": (
            lambda validation, test: np.array([test[-1], test.max()])
        ),
        "the test set chooses for both; for the honest score it may not.": (
            lambda validation, test: np.array([test.max(), test.max()])
        ),
    },
)
