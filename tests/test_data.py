"""Copies among images, honest ways to split them, and FER-2013 itself."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from drawn import noise
from PIL import Image, ImageOps

from fetch import load
from helpers import FER_CLASSES, TutorialError, data, fer2013
from helpers.data import Dataset, Split


def make_split(labels, images=None, files=None) -> Split:
    labels = np.array(labels, np.int64)
    images = np.stack([noise(seed) for seed in range(len(labels))]) if images is None else images
    return Split(images, labels, np.array(files or [f"c/{i}.png" for i in range(len(labels))]))


@pytest.fixture(scope="module")
def fer(fer2013_zip: Path) -> data.Dataset:
    return load(fer2013_zip)


def test_duplicate_groups_and_copies():
    images = np.stack([noise(seed) for seed in (1, 2, 1, 3, 2, 1)])
    assert data.duplicate_groups(images).tolist() == [0, 1, 0, 2, 1, 0]
    others = np.stack([noise(3), noise(9)])
    assert data.copies_of(images, others).tolist() == [False, False, False, True, False, False]
    assert data.copies_of(images[:0], others).shape == (0,)


def darker_and_shifted(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same picture with less contrast, and a little noise."""
    return np.clip(image * 0.6 + 20 + rng.normal(0, 5, image.shape), 0, 255).astype(np.uint8)


def test_near_copies_are_those_that_correlate():
    rng = np.random.default_rng(1)
    smooth = np.stack(
        [ImageOps.fit(Image.fromarray(noise(k, (6, 6))), (48, 48)) for k in range(90)]
    )
    images = np.concatenate([smooth, [np.full((48, 48), 7, np.uint8)] * 2])  # and two blank ones
    others = np.stack([darker_and_shifted(image, rng) for image in images[:40:2]])
    matrix = np.corrcoef(images[:90].reshape(90, -1), others.reshape(20, -1))[:90, 90:]
    i, j = data.near_pairs(images, others)
    assert np.array_equal(np.stack([i, j]), np.nonzero(matrix > 0.95))
    assert data.near_copies(images, others)[:40].tolist() == [True, False] * 20
    assert not data.near_copies(images, others)[90:].any(), "a blank picture correlates with none"
    both = np.concatenate([images, others])
    one, other = data.near_pairs(both)
    assert (one < other).all() and len(one) == len(i)
    nothing = np.zeros((0, 48, 48), np.uint8)
    assert data.near_copies(nothing, images).shape == (0,)
    assert not data.near_copies(images, nothing).any()


def test_the_quick_bound_never_misses_a_near_copy(fer):
    """Products of 37 numbers are never below the correlations that they stand for."""
    flat = data._standardised(fer.train.images[:1500])
    short = data._bounds(flat)
    assert (short @ short.T >= flat @ flat.T - 1e-5).all()


def test_halves_follow_the_file_names():
    split = make_split([0, 0, 1])
    names = np.array(["a/PublicTest_1.jpg", "a/PrivateTest_2.jpg", "b/PublicTest_3.png"])
    halves = fer2013.halves(Split(split.images, split.labels, names))
    assert halves["public"].files.tolist() == [names[0], names[2]]
    assert halves["private"].labels.tolist() == [0]
    with pytest.raises(TutorialError, match="FER-2013"):
        fer2013.halves(split)


def test_grouped_split_keeps_copies_together_and_classes_in_proportion():
    labels = [0] * 200 + [1] * 100 + [2] * 20
    images = np.stack([noise(index // 2) for index in range(320)])  # pairs
    split = make_split(labels, images)
    large, small = data.grouped_split(split, 0.1, seed=3)
    assert np.bincount(small.labels).tolist() == [20, 10, 2]
    assert not data.copies_of(small.images, large.images).any()
    assert sorted([*large.files, *small.files]) == sorted(split.files)
    again = data.grouped_split(split, 0.1, seed=3)[1]
    other = data.grouped_split(split, 0.1, seed=4)[1]
    assert again.files.tolist() == small.files.tolist() != other.files.tolist()


def test_grouped_split_gives_each_class_to_both_sides():
    large, small = data.grouped_split(make_split([0, 0, 1, 1, 2]), 0.1)
    assert set(large.labels.tolist()) == {0, 1, 2} and set(small.labels.tolist()) == {0, 1}


def test_a_split_by_subject_keeps_each_person_and_each_copy_on_one_side():
    files = [f"{name}/S{k % 10}/{k}.png" for name in ("happy", "sad") for k in range(40)]
    images = np.stack([noise(seed) for seed in range(80)])
    images[1] = images[44]  # a picture of person 1 is also among those of person 4
    split = make_split([0] * 40 + [1] * 40, images, files)
    train, aside = data.grouped_split(split, 0.2, by_subject=True)
    people = [{file.split("/")[1] for file in part.files} for part in (train, aside)]
    assert not people[0] & people[1] and people[0] | people[1] == {f"S{k}" for k in range(10)}
    assert ("S1" in people[0]) == ("S4" in people[0])
    assert 8 <= len(aside) <= 16 and set(aside.labels.tolist()) == {0, 1}
    loose = make_split([0] * 10, None, [f"c/{k}.png" for k in range(10)])  # nobody is named
    assert len(data.grouped_split(loose, 0.2, by_subject=True)[1]) == 2


@pytest.mark.parametrize("by_subject", [False, True])
def test_a_grouped_split_keeps_near_copies_together(by_subject):
    rng = np.random.default_rng(2)
    images = np.stack([noise(index // 2) for index in range(200)])  # pairs
    images[1::2] = [darker_and_shifted(image, rng) for image in images[1::2]]
    large, small = data.grouped_split(make_split([0, 0, 1, 1] * 50, images), by_subject=by_subject)
    assert not data.copies_of(images[1::2], images[::2]).any()
    assert not data.near_copies(small.images, large.images).any()
    assert 16 <= len(small) <= 24


def test_learning_takes_the_validation_folder_where_there_is_one():
    train, other = make_split([0, 1] * 20), make_split([0, 1])
    parts = ("", "own", ("a", "b"), train, other, (), "", "0")
    assert data.learning_split(Dataset(*parts, validation=other)) == (train, other)
    cut = data.learning_split(Dataset(*parts), 0.25, seed=3)
    assert [part.files.tolist() for part in cut] == [
        part.files.tolist() for part in data.grouped_split(train, 0.25, seed=3)
    ]


@pytest.mark.parametrize("n", [3, 4, 10, 57, 100, 999])
def test_subset_keeps_proportions_and_every_class(n):
    split = make_split([0] * 70 + [1] * 28 + [2] * 2)
    part = data.subset(split, n, seed=1)
    counts = np.bincount(part.labels, minlength=3)
    assert len(part) == min(n, 100) and counts.min() >= 1
    assert np.abs(counts - min(n, 100) * np.array([0.7, 0.28, 0.02])).max() <= 1.5
    assert len(set(part.files)) == len(part)
    assert part.files.tolist() == data.subset(split, n, seed=1).files.tolist()


def test_subset_smaller_than_the_classes_still_has_one_of_each():
    part = data.subset(make_split([0] * 5 + [1] * 5 + [2] * 5), 1)
    assert sorted(part.labels.tolist()) == [0, 1, 2]


# ---------------------------------------------------------------- FER-2013 itself


def test_fer_is_recognised(fer):
    assert (fer.kind, fer.name, fer.classes) == ("fer2013", "FER-2013", FER_CLASSES)
    assert fer.fingerprint == fer2013.FER_FINGERPRINT
    assert "true FER-2013" in fer.verdict
    assert np.bincount(fer.train.labels).tolist() == [3995, 436, 4097, 7215, 4965, 4830, 3171]
    assert np.bincount(fer.test.labels).tolist() == [958, 111, 1024, 1774, 1233, 1247, 831]
    assert fer.problems == ()


def test_facts_about_the_duplicates_of_fer(fer):
    images = np.concatenate([fer.train.images, fer.test.images])
    labels = np.concatenate([fer.train.labels, fer.test.labels])
    groups = data.duplicate_groups(images)
    sizes = np.bincount(groups)
    assert (len(sizes), (sizes > 1).sum(), len(images) - len(sizes)) == (34034, 1516, 1853)
    pairs = np.unique(np.stack([groups, labels]), axis=1)
    conflicting = np.bincount(pairs[0]) > 1
    assert (conflicting.sum(), sizes[conflicting].sum()) == (57, 160)

    halves = fer2013.halves(fer.test)
    assert {name: len(half) for name, half in halves.items()} == {"public": 3589, "private": 3589}
    assert data.copies_of(fer.test.images, fer.train.images).sum() == 568
    copies = {k: data.copies_of(h.images, fer.train.images).sum() for k, h in halves.items()}
    assert copies == {"public": 280, "private": 288}
    assert data.copies_of(halves["private"].images, halves["public"].images).sum() == 44
    exact, near = (f(fer.test.images, fer.train.images) for f in (data.copies_of, data.near_copies))
    assert ((near & ~exact).sum(), (exact & ~near).sum()) == (197, 1)  # a black one is not near


def test_the_cut_of_the_shipped_networks_stays_as_it_was(fer):
    """They were trained and scored with it, near copies and all."""
    learn, kept = data.clean_split(fer.train)
    assert (len(learn), len(kept)) == (24689, 2744)
    digest = hashlib.sha256("".join([*learn.files, *kept.files]).encode()).hexdigest()
    assert digest[:16] == "ac738ee7787407e8"


def test_a_grouped_split_of_fer(fer):
    train, validation = data.grouped_split(fer.train)
    assert not data.copies_of(validation.images, train.images).any()
    assert not data.near_copies(validation.images, train.images).any()
    wanted = 0.1 * np.bincount(fer.train.labels)
    assert np.abs(np.bincount(validation.labels) - wanted).max() < 12


def altered(split: Split, change) -> Split:
    images = np.stack([np.asarray(change(Image.fromarray(image))) for image in split.images])
    return Split(images, split.labels, split.files)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (ImageOps.equalize, ["standard deviation", "255"]),
        (ImageOps.autocontrast, ["mean", "standard deviation"]),
    ],
)
def test_changed_pixels_are_noticed(fer, change, words):
    kind, verdict = fer2013.judge(fer.classes, altered(fer.train, change), fer.test, False, "")
    assert kind == "altered"
    assert "not the true FER-2013" in verdict and all(word in verdict for word in words)


def test_changed_counts_are_noticed(fer):
    fewer = fer.train.take(np.arange(1, len(fer.train)))
    kind, verdict = fer2013.judge(fer.classes, fewer, fer.test, False, "")
    assert kind == "altered" and "train/angry/ has 3,994" in verdict
    assert "deviation" not in verdict

    disgust = np.flatnonzero(fer.train.labels == 1)
    padded = fer.train.take(np.concatenate([np.arange(len(fer.train)), disgust]))
    _, verdict = fer2013.judge(fer.classes, padded, fer.test, False, "")
    assert "train/disgust/ has 872 images where 436 belong" in verdict

    balanced = fer.train.take(
        np.concatenate([np.flatnonzero(fer.train.labels == i)[:436] for i in range(7)])
    )
    _, verdict = fer2013.judge(fer.classes, balanced, fer.test, False, "")
    assert verdict.count("where") <= 6 and "more classes have wrong counts" in verdict
