"""Scores, intervals and calibration against answers known from elsewhere."""

import json
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from lessons import run
from matplotlib import pyplot as plt
from matplotlib.collections import PathCollection
from sklearn import metrics

from helpers import TutorialError, evaluation
from helpers.networks import build_residual
from tools import calibration
from training import features

CLASSES = ("cat", "dog", "owl")


def one_hot(answers, k=3):
    """Return probabilities that are sure of the given answers."""
    return np.eye(k, dtype=np.float32)[answers]


def soft(logits):
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def network():
    """A network whose answers can be computed by hand, and how often it was traced."""
    traced = []

    class Spy(keras.layers.Layer):
        def call(self, x):
            traced.append(x.shape)
            return x

    inputs = keras.Input((48, 48, 1))
    x = keras.layers.GlobalAveragePooling2D()(Spy()(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x))
    model.layers[-1].set_weights([np.array([[1.0, -2.0, 4.0]]), np.array([0.5, 0.0, -1.0])])
    return model, traced


def test_predict_divides_by_255_and_keeps_the_order(network):
    images = np.random.default_rng(0).integers(0, 256, (600, 48, 48), dtype=np.uint8)
    got = evaluation.predict(network[0], images, batch_size=256)
    mean = images.mean(axis=(1, 2), dtype=float)[:, None] / 255
    want = soft(mean * [1.0, -2.0, 4.0] + [0.5, 0.0, -1.0])
    assert got.dtype == np.float32 and got.shape == (600, 3)
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_predict_of_nothing_has_a_column_per_class(network):
    assert evaluation.predict(network[0], np.zeros((0, 48, 48), np.uint8)).shape == (0, 3)


def test_predict_traces_once_and_prints_nothing(network, capfd):
    model, traced = network
    for n in (1, 2, 3):  # Keras may trace for the first sizes, then for any size
        evaluation.predict(model, np.zeros((n, 48, 48), np.uint8))
    before = len(traced)
    for n in (1, 4, 7, 1, 300):
        evaluation.predict(model, np.zeros((n, 48, 48), np.uint8))
    assert len(traced) == before > 0
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 48, 48), np.float32),
        np.zeros((48, 48), np.uint8),
        np.zeros((2, 48, 48, 1), np.uint8),
        np.zeros((2, 32, 32), np.uint8),
    ],
    ids=["divided", "one image", "channels", "size"],
)
def test_predict_refuses_what_would_be_misread(network, images):
    with pytest.raises(TutorialError, match=r"uint8 images of shape \(n, 48, 48\)"):
        evaluation.predict(network[0], images)


def test_predict_takes_a_network_for_any_size():
    model = build_residual(3, size=None)
    assert evaluation.predict(model, np.zeros((2, 48, 48), np.uint8)).shape == (2, 3)


def test_scores_agree_with_scikit_learn():
    rng = np.random.default_rng(1)
    labels, p = rng.integers(0, 3, 500), soft(rng.normal(size=(500, 3)))
    answers, got = p.argmax(axis=1), evaluation.scores(labels, p, CLASSES)
    want = metrics.precision_recall_fscore_support(labels, answers)
    rows = np.array([list(got["per_class"][name].values()) for name in CLASSES])
    np.testing.assert_allclose(rows.T, want)
    assert got["n"] == 500
    assert got["accuracy"] == pytest.approx(metrics.accuracy_score(labels, answers))
    assert got["macro_f1"] == pytest.approx(metrics.f1_score(labels, answers, average="macro"))
    assert json.loads(json.dumps(got)) == got


NONE = {"precision": None, "recall": None, "f1": None, "support": 0}


@pytest.mark.parametrize(
    ("labels", "answers", "dog", "owl", "macro_f1"),
    [
        (  # an owl that is never found
            [0, 0, 1, 2],
            [0, 0, 1, 1],
            {"precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3), "support": 1},
            {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1},
            (1 + 2 / 3 + 0) / 3,
        ),
        (  # no dog, but one is claimed; no owl at all
            [0, 0, 0],
            [0, 0, 1],
            {"precision": 0.0, "recall": None, "f1": 0.0, "support": 0},
            NONE,
            (0.8 + 0.0) / 2,
        ),
        ([], [], NONE, NONE, None),
    ],
    ids=["never found", "no images of it", "no images"],
)
def test_scores_of_absent_classes(labels, answers, dog, owl, macro_f1):
    labels, p = np.array(labels, int), one_hot(np.array(answers, int))
    got = evaluation.scores(labels, p, CLASSES)
    assert (got["per_class"]["dog"], got["per_class"]["owl"]) == (dog, owl)
    assert got["macro_f1"] == (macro_f1 and pytest.approx(macro_f1))
    assert got["n"] == len(labels) and (got["accuracy"] is None) == (not len(labels))
    assert json.loads(json.dumps(got)) == got


def test_scores_refuse_other_classes():
    with pytest.raises(TutorialError, match=r"7 probabilities.*3 classes \(cat, dog, owl\)"):
        evaluation.scores(np.array([0]), np.ones((1, 7)) / 7, CLASSES)


def accuracy(labels, predicted):
    return np.mean(labels == predicted)


def recalls(labels, predicted):
    hits = np.bincount(labels[labels == predicted], minlength=3)
    with np.errstate(invalid="ignore"):
        return hits / np.bincount(labels, minlength=3)


def test_bootstrap_matches_the_binomial_interval():
    labels = np.zeros(400, int)
    predicted = (np.arange(400) >= 300).astype(int)  # 75% right
    low, high = evaluation.bootstrap(labels, predicted, accuracy, rounds=4000)
    deviation = 1.96 * np.sqrt(0.75 * 0.25 / 400)
    assert (low, high) == pytest.approx((0.75 - deviation, 0.75 + deviation), abs=0.006)


def test_bootstrap_intervals_cover_the_truth_about_95_times_in_100():
    rng, covered = np.random.default_rng(5), 0
    for seed in range(200):
        predicted = (rng.random(150) > 0.7).astype(int)
        low, high = evaluation.bootstrap(np.zeros(150, int), predicted, accuracy, 300, seed)
        covered += low <= 0.7 <= high
    assert 180 <= covered <= 198  # 190 expected, with a deviation of 3


def test_bootstrap_of_vectors_skips_rounds_without_the_class():
    labels, predicted = np.array([0] * 30 + [1]), np.array([0] * 20 + [1] * 11)

    ends = evaluation.bootstrap(labels, predicted, recalls, rounds=300)
    assert ends.shape == (2, 3)
    assert ends[0, 0] < 20 / 30 < ends[1, 0]
    assert ends[:, 1].tolist() == [1, 1]  # in a third of the rounds, its only image is missing
    assert np.isnan(ends[:, 2]).all()


def test_bootstrap_repeats_itself_and_follows_its_seed():
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, 3, (2, 200))
    first = evaluation.bootstrap(labels, predicted, accuracy, 100)
    np.testing.assert_array_equal(first, evaluation.bootstrap(labels, predicted, accuracy, 100))
    other = evaluation.bootstrap(labels, predicted, accuracy, 100, seed=1)
    assert not np.array_equal(first, other)


def test_intervals_are_the_bootstrap_of_scikit_learn_s_figures():
    rng = np.random.default_rng(2)
    labels, p = rng.integers(0, 2, 60), soft(rng.normal(size=(60, 3)))  # no owl

    def figures(labels, predicted):
        f1 = metrics.f1_score(
            labels, predicted, labels=range(3), average="macro", zero_division=np.nan
        )
        return [accuracy(labels, predicted), f1, *recalls(labels, predicted)]

    got = evaluation.intervals(labels, p, 3)
    want = evaluation.bootstrap(labels, p.argmax(axis=1), figures)
    np.testing.assert_allclose(got, want.T)
    assert np.isnan(got[-1]).all() and not np.isnan(got[:-1]).any()


def test_calibration_against_a_sum_by_hand():
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.55, 0.45]])
    labels = np.array([0, 1, 1, 0])
    confidence, right, count = calibration.calibration(labels, p, bins=5)
    # (0.4, 0.6]: .55 right.  (0.6, 0.8]: .8 wrong, .7 right.  (0.8, 1]: .9 right.
    assert count.tolist() == [0, 0, 1, 2, 1]
    np.testing.assert_allclose(confidence, [np.nan, np.nan, 0.55, 0.75, 0.9])
    np.testing.assert_allclose(right, [np.nan, np.nan, 1, 0.5, 1])
    error = calibration.calibration_error(labels, p, bins=5)
    assert error == pytest.approx((0.45 + 2 * 0.25 + 0.1) / 4)


def test_calibration_error_of_an_honest_and_of_a_boastful_network():
    rng = np.random.default_rng(3)
    top = rng.uniform(0.5, 1, 20_000)
    labels = (rng.random(20_000) > top).astype(int)
    assert calibration.calibration_error(labels, np.stack([top, 1 - top], axis=1)) < 0.02
    boastful = calibration.calibration_error(labels, one_hot(np.zeros(20_000, int), 2))
    assert boastful == pytest.approx(np.mean(labels), abs=1e-9)


def test_reliability_dots_are_the_bins_that_hold_something():
    confidence, accuracy = np.array([np.nan, 0.5, 0.9]), np.array([np.nan, 0.7, 0.8])
    ax = calibration.reliability(confidence, accuracy, np.array([0, 1, 3]))
    (dots,) = (c for c in ax.collections if isinstance(c, PathCollection))
    np.testing.assert_allclose(dots.get_offsets(), [[0.5, 0.7], [0.9, 0.8]])
    assert np.argmax(dots.get_sizes()) == 1
    assert "ECE 12.5%" in [
        text.get_text() for text in ax.texts
    ]  # a quarter of 0.2 and three quarters of 0.1
    assert [list(line.get_xdata()) for line in ax.lines] == [[0, 1]]  # the diagonal


@pytest.mark.parametrize("true", [0.6, 1.0, 2.5])
def test_temperature_recovers_the_one_that_made_the_labels(true):
    rng = np.random.default_rng(7)
    logits = rng.normal(0, 3, (20_000, 5))
    labels = (soft(logits / true).cumsum(axis=1) < rng.random((20_000, 1))).sum(axis=1)
    got = calibration.temperature(labels, soft(logits).astype(np.float32))
    assert got == pytest.approx(true, rel=0.05)


def test_temperature_survives_probabilities_of_zero():
    p = one_hot([0, 1, 2, 0])
    got = calibration.temperature(np.array([0, 1, 2, 1]), p)  # sure, and once wrong
    assert np.isfinite(got) and got > 5


def test_lesson_5_builds_the_same_by_hand():
    rng = np.random.default_rng(4)
    labels, p = rng.integers(0, 3, 400), soft(rng.normal(0, 2, (400, 3))).astype(np.float32)
    answers, other = p.argmax(axis=1), rng.integers(0, 3, 400)
    split = SimpleNamespace(labels=labels, images=np.zeros((400, 2, 2)))
    built = run(
        "evaluate",
        *("def bootstrap(", "def recalls(", "def paired_difference("),
        *("def calibration(", "def temperature("),
        data=SimpleNamespace(classes=CLASSES, name="noise"),
        test=split,
        validation=split,
        predicted=answers,
        probabilities=p,
        once=p,
        every=np.arange(3),
        accuracy=1.0,
        BOOTSTRAP_ROUNDS=50,
    )
    plt.close("all")
    pairs = [
        (built["bootstrap"], evaluation.bootstrap, (labels, answers, recalls, 50)),
        (built["paired_difference"], evaluation.paired_difference, (labels, answers, other, 50)),
        (built["calibration"], calibration.calibration, (labels, p)),
        (built["calibration_error"], calibration.calibration_error, (labels, p)),
        (built["temperature"], calibration.temperature, (labels, p)),
    ]
    for by_hand, ours, given in pairs:
        np.testing.assert_allclose(by_hand(*given), ours(*given))
    np.testing.assert_allclose(built["recalls"](labels, answers), recalls(labels, answers))


def test_a_paired_difference_is_decided_where_single_intervals_overlap():
    """What both networks share, easy and hard faces, widens their intervals and not its own."""
    labels = np.zeros(1000, int)
    one = (np.arange(1000) >= 600).astype(int)  # 60% right
    other = (np.arange(1000) >= 620).astype(int)  # the same ones, and 20 more
    low, high = (evaluation.bootstrap(labels, said, accuracy) for said in (one, other))
    assert high[0] < low[1], "they overlap"
    gain, least, most = evaluation.paired_difference(labels, one, other)
    assert gain == pytest.approx(0.02)
    spread = 1.96 * np.sqrt(0.02 * 0.98 / 1000)
    assert (least, most) == pytest.approx((0.02 - spread, 0.02 + spread), abs=0.002)
    assert evaluation.paired_difference(labels, other, one)[0] == pytest.approx(-0.02)
    assert evaluation.paired_difference(labels, one, one) == (0, 0, 0)


def test_a_paired_difference_of_equals_covers_zero_about_95_times_in_100():
    rng, covered = np.random.default_rng(6), 0
    for seed in range(200):
        one, other = (rng.random((2, 200)) > 0.7).astype(int)
        _, low, high = evaluation.paired_difference(np.zeros(200, int), one, other, 300, seed)
        covered += low <= 0 <= high
    assert 180 <= covered <= 198


def test_features_are_kept_part_by_part(tmp_path, monkeypatch):
    inputs = keras.Input((48, 48, 1))
    pooled = keras.layers.GlobalAveragePooling2D()(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2)(pooled))
    images = np.random.default_rng(1).integers(0, 256, (10, 48, 48), dtype=np.uint8)
    real, asked = evaluation.predict, []

    def counting(model, images, **options):
        if len(asked) == 2:
            asked.append("interrupted")
            raise KeyboardInterrupt
        asked.append(len(images))
        return real(model, images, **options)

    monkeypatch.setattr(features, "predict", counting)
    with pytest.raises(KeyboardInterrupt):
        features.cached_features(model, images, tmp_path, part=4)
    found = features.cached_features(model, images, tmp_path, part=4)
    assert asked == [4, 4, "interrupted", 2]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, real(model, images, batch_size=4))

    again = features.cached_features(model, images, tmp_path, part=4)
    assert len(asked) == 4 and (again == found).all()
    next(tmp_path.rglob("output.pkl")).write_bytes(b"damaged")
    assert (features.cached_features(model, images, tmp_path, part=4) == found).all()
    assert len(asked) == 5

    model.layers[-1].set_weights([np.ones((1, 2)), np.zeros(2)])
    other = features.cached_features(model, images, tmp_path, part=4)
    np.testing.assert_allclose(other, real(model, images), rtol=1e-3)
    assert len(asked) == 8
    features.cached_features(model, images[::-1], tmp_path, part=4)
    assert len(asked) == 11
