"""Checks of lesson 1, Explore the data."""

from __future__ import annotations

import numpy as np

from helpers import SEED
from notebooks.exercises.checks import function, number

count_numbers = number(
    "every pixel has a number for each of its colours, and all of them go in",
    96 * 96 * 3,
    {
        96 * 96: "that would do for grey; a pixel in colour is more than one number.",
        48 * 48 * 3: "these pictures have more rows and columns than those of the lesson.",
    },
    "rows, columns, and then?",
)


def _shares(labels, n_classes):
    return np.bincount(labels, minlength=n_classes) / len(labels)


class_shares = function(
    "the shares stand in the order of the classes and add up to 1",
    _shares,
    {
        "with 3 classes": (np.array([2, 0, 0, 1, 2, 2, 2, 0]), 3),
        "with 6 classes, of which 4 have no picture": (np.array([1, 1, 3, 1]), 6),
    },
    {
        "these are counts; a share is a part of all labels, between 0 and 1.": (
            lambda labels, k: np.bincount(labels, minlength=k)
        ),
        "your array ends at the last class that occurs; those behind it have a share too.": (
            lambda labels, k: np.bincount(labels) / len(labels)
        ),
        "these are percentages; a share lies between 0 and 1.": (
            lambda labels, k: 100 * _shares(labels, k)
        ),
        "the shares are right in sum, but not each: in which order do they stand?": (
            lambda labels, k: np.sort(_shares(labels, k))
        ),
        "yours do not add up to 1: by what are the counts to be divided?": (
            lambda labels, k: np.bincount(labels, minlength=k) / k
        ),
    },
)

most_common_accuracy = function(
    "the answer is chosen by the training labels alone, and scored on the others",
    lambda train, labels: np.mean(labels == np.bincount(train).argmax()),
    {
        "with two favourites": (np.array([0, 0, 0, 1, 2, 2]), np.array([2, 2, 2, 2, 0, 0, 1])),
        "in which the favourite does not occur": (np.array([4, 4, 2, 4, 0]), np.array([0, 2, 2])),
        "with one training label": (np.array([1]), np.array([1, 1])),
    },
    {
        "you take the favourite of the labels you are scored on; nobody may look at those.": (
            lambda train, labels: np.bincount(labels).max() / len(labels)
        ),
        "you score on the training labels, and the other ones are to be scored.": (
            lambda train, labels: np.bincount(train).max() / len(train)
        ),
        "this is a percentage; the accuracy lies between 0 and 1.": (
            lambda train, labels: 100 * np.mean(labels == np.bincount(train).argmax())
        ),
        "this is how many are right; the accuracy is their share.": (
            lambda train, labels: np.sum(labels == np.bincount(train).argmax())
        ),
    },
)

_groups, _labels = np.random.default_rng(SEED).integers(0, (40, 3), (90, 2)).T

count_contradictions = function(
    "a picture counts once if its copies disagree, and not at all if they agree",
    lambda groups, labels: sum(len(set(labels[groups == k])) > 1 for k in set(groups)),
    {
        "with copies of copies": (
            np.array([0, 1, 1, 2, 2, 2, 2]),
            np.array([0, 1, 1, 0, 1, 2, 3]),
        ),
        "with 90 pictures": (_groups, _labels),
        "without copies": (np.array([0, 1, 2]), np.array([0, 0, 1])),
    },
    {
        "you count every copy; a picture counts once, however many of its copies disagree.": (
            lambda groups, labels: sum(len(set(labels[groups == k])) > 1 for k in groups)
        ),
        "you also count pictures whose copies carry the same label; they agree.": (
            lambda groups, labels: (np.unique(groups, return_counts=True)[1] > 1).sum()
        ),
        "you compare each picture with the next in the list; see all its copies at once.": (
            lambda groups, labels: np.sum((groups[1:] == groups[:-1]) & (labels[1:] != labels[:-1]))
        ),
    },
)
