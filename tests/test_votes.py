"""What ten people said: the join by pixels, the rule, the stand-in, and lesson 10's arithmetic."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from fetch import load, votes
from fetch.toy_faces import draw_faces
from fetch.votes import count_votes, vote_shares
from helpers import FER_CLASSES, TutorialError
from helpers.data import Dataset, Split
from helpers.fer2013 import halves


def split(images: np.ndarray, labels=None) -> Split:
    labels = np.zeros(len(images), int) if labels is None else np.asarray(labels)
    return Split(images, labels, np.array([f"a/{i}.png" for i in range(len(images))]))


def dataset(part: Split, kind: str = "fer2013", classes=FER_CLASSES) -> Dataset:
    return Dataset(f"data of kind {kind}", kind, classes, part, part, (), "", "")


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (4, 48, 48), dtype=np.uint8)


@pytest.fixture
def three_rows(noise: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Votes on the first three of four pictures, in a file of its own."""
    names = "pixels,neutral,happy,surprise,sad,angry,disgust,fear,contempt,unknown,no_face"
    keys = [hashlib.sha256(image.tobytes()).hexdigest()[:16] for image in noise]
    rows = ["1,2,3,4,5,6,7,8,9,10", "0,9,1,0,0,0,0,0,0,0", "2,0,0,0,0,0,0,0,0,8"]
    lines = [names, *(f"{key},{row}" for key, row in zip(keys, rows, strict=False))]
    file = tmp_path / "votes.csv.gz"
    file.write_bytes(gzip.compress("\n".join(lines).encode()))
    monkeypatch.setattr(votes, "VOTES", file)


def test_the_votes_of_a_picture_are_found_by_its_pixels(noise, three_rows) -> None:
    found = count_votes(dataset(split(noise)), split(noise[[1, 0, 3, 0]]))
    first = [5, 6, 7, 2, 1, 4, 3, 8, 9, 10]  # angry disgust fear happy neutral sad surprise
    assert found.tolist() == [[0, 0, 0, 9, 0, 0, 1, 0, 0, 0], first, [0] * 10, first]


def test_some_of_the_classes_will_do(noise, three_rows) -> None:
    part = split(noise)
    found = count_votes(dataset(part, classes=("happy", "sad")), part)
    assert found[0].tolist() == [2, 4, 8, 9, 10]


@pytest.mark.parametrize(
    ("kind", "classes", "known"),
    [("own", ("cat", "dog"), 4), ("own", FER_CLASSES, 1), ("altered", FER_CLASSES, 0)],
)
def test_other_pictures_get_a_sentence(noise, three_rows, kind, classes, known) -> None:
    part = split(np.concatenate([noise[:known], noise[known:] // 2]))
    with pytest.raises(TutorialError, match=f"Nobody has voted .*data of kind {kind}"):
        count_votes(dataset(part, kind, classes), part)


def test_shares_leave_out_single_votes_other_words_and_what_too_few_said() -> None:
    counts = [
        [6, 3, 1, 0, 0],  # two classes, then contempt, unknown, no face
        [4, 1, 5, 0, 0],
        [1, 1, 8, 0, 0],
        [2, 0, 0, 8, 0],
        [0, 3, 0, 7, 0],
        [0, 0, 0, 0, 0],
    ]
    shares, voted = vote_shares(np.array(counts))
    assert shares.dtype == np.float32
    expected = [[2 / 3, 1 / 3], [1, 0], [0, 0], [0, 0], [0, 1], [0, 0]]
    np.testing.assert_allclose(shares, expected, rtol=1e-6)
    assert voted.tolist() == [True, True, False, False, True, False]


def test_simulated_raters_are_steady_and_take_neighbours() -> None:
    labels = np.repeat(np.arange(7), 200)
    part = split(draw_faces(labels), labels)
    data = dataset(part, "toy")
    counts = count_votes(data, part)
    assert np.array_equal(counts, count_votes(data, part))
    assert np.array_equal(counts[::-1][:5], count_votes(data, part.take(np.arange(1399, 1394, -1))))
    assert (counts.sum(axis=1) == 10).all()
    for label, neighbour in enumerate(votes.NEIGHBOURS):
        said = counts[labels == label].sum(axis=0)
        order = np.argsort(-said)[:2]
        assert order.tolist() == [label, FER_CLASSES.index(neighbour)]
    shares, voted = vote_shares(counts)
    assert voted.all()
    assert 0.6 < np.mean(shares.argmax(axis=1) == labels) < 0.8


def test_they_come_with_their_licence_and_are_small() -> None:
    assert votes.VOTES.stat().st_size < 500_000
    notice = (votes.VOTES.parent / "LICENSE-ferplus").read_text("utf-8")
    assert "Copyright (c) Microsoft Corporation" in notice
    assert "MIT License" in notice


def test_fer2013s_votes_are_as_the_data_card_says(fer2013_zip: Path) -> None:
    data = load(fer2013_zip)
    card = (ROOT / "dataset" / "README.md").read_text("utf-8")
    counts = count_votes(data, data.train)
    assert np.count_nonzero(counts.any(axis=1)) == 28_558
    assert f"{vote_shares(counts)[1].sum():,} of the {len(data.train):,} training" in card
    private = halves(data.test)["private"]
    shares, voted = vote_shares(count_votes(data, private))
    assert f"{voted.sum():,} of PrivateTest's {len(private):,}" in card
    won = lesson("winner")(shares)
    agreed = won == private.labels
    assert f"for {agreed[won >= 0].mean():.0%} of the PrivateTest" in card
    order = ("happy", "neutral", "surprise", "angry", "sad", "disgust", "fear")
    rates = [agreed[(won >= 0) & (private.labels == data.classes.index(k))].mean() for k in order]
    assert f"| {' | '.join(f'{rate:.2f}'.lstrip('0') for rate in rates)} |" in card


def lesson(name: str):
    """Return a function as a cell of lesson 10 defines it."""
    cells = json.loads((ROOT / "notebooks/10_ask_ten_people.ipynb").read_text("utf-8"))["cells"]
    (source,) = ("".join(c["source"]) for c in cells if f"def {name}(" in "".join(c["source"]))
    start = source.index(f"def {name}(")
    names = {"np": np, "every": range(7), "prior": np.array([0.5, 0.3, 0.2])}
    exec(source[start:].split("\n\n\n")[0], names)
    return names[name]


def test_a_tie_has_no_winner() -> None:
    shares = np.array([[0.2, 0.8, 0], [0.5, 0.5, 0], [0, 0, 0], [0.4, 0.2, 0.4]])
    assert lesson("winner")(shares).tolist() == [1, -1, -1, -1]


def test_entropy_is_that_of_coins_and_dice() -> None:
    entropy = lesson("entropy")
    assert entropy(np.array([1.0, 0, 0])) == 0
    np.testing.assert_allclose(entropy(np.full((1, 8), 1 / 8)), [3])


def test_a_voter_is_held_against_the_others() -> None:
    """Every voter is taken out in turn; among the others, words that tie share the first place."""
    agreement, rng = lesson("agreement"), np.random.default_rng(1)
    cases = [[2, 1, 0, 0, 0, 0, 0], *rng.multinomial(10, [0.4, 0.3, 0.2, 0.1, 0, 0, 0], 20)]
    answers = rng.integers(0, 4, len(cases))
    expected = []
    for counts, answer in zip(cases, answers, strict=True):
        voters, agreed = np.repeat(np.arange(7), counts), []
        for out, word in enumerate(voters):
            others = np.bincount(np.delete(voters, out), minlength=7)
            first = np.flatnonzero(others == others.max())
            agreed.append([(said in first) / len(first) for said in (word, answer)])
        expected.append(np.mean(agreed, axis=0))
    found = np.stack([agreement(np.array(cases)), agreement(np.array(cases), answers)], axis=1)
    np.testing.assert_allclose(found, expected)
    assert found[0, 0] == pytest.approx(1 / 3)


def test_adjusting_takes_the_prior_out() -> None:
    adjust, p = lesson("adjust"), np.array([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1]])
    np.testing.assert_allclose(adjust(p, 0), p, rtol=1e-6)
    np.testing.assert_allclose(adjust(p, 1)[0], [1 / 3] * 3, rtol=1e-6)
    for a, b in itertools.pairwise(np.linspace(0, 2, 5)):
        assert (adjust(p, b)[:, 2] > adjust(p, a)[:, 2]).all(), "the rarest gains"
