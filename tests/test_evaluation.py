"""Scores, intervals and calibration against answers known from elsewhere."""

import hashlib
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn import metrics

import helpers
from app import classifier
from fetch.toy_faces import draw_faces
from helpers import ROOT, TutorialError, evaluation
from helpers.models import load_model, save_model, sidecar_path
from helpers.networks import build_cnn, build_residual

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


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.setattr(helpers, "RUNS", tmp_path / "runs")
    return helpers.RUNS


@pytest.fixture(scope="module")
def pictures():
    """Toy faces, half of them below noise, and noise alone: uint8 (300, 48, 48)."""
    rng = np.random.default_rng(2)
    drawn = draw_faces(np.arange(200) % 7).astype(float)
    drawn[100:] += rng.normal(0, 30, drawn[100:].shape)
    noise = rng.integers(0, 256, (100, 48, 48))
    return np.concatenate([drawn, noise]).clip(0, 255).astype(np.uint8)


def is_fast(answer):
    return "run" in answer.keywords


@pytest.mark.parametrize("which", ["shipped", "lesson"])
def test_faster_agrees_with_predict(which, runs, pictures):
    if which == "shipped":
        model, _ = load_model(helpers.MODELS / "emotion_cnn.keras")
    else:
        model = build_cnn(7)
        # As drawn, the weights answer all alike: make the last layer tell the pictures apart.
        kernel, bias = model.layers[-1].get_weights()
        model.layers[-1].set_weights([30 * kernel, bias])
    fast = classifier.to_litert(model)
    assert is_fast(fast)
    want, got = evaluation.predict(model, pictures), fast(pictures)
    assert got.dtype == np.float32 and got.shape == want.shape
    assert len(np.unique(want.argmax(axis=1))) > 1, "the pictures must be worth asking about"
    difference = np.abs(got - want)
    assert difference.mean() < 0.005 and difference.max() < 0.1
    second, first = np.sort(want, axis=1)[:, -2:].T
    clear = first - second > 0.05
    assert clear.sum() > 30
    assert np.mean((got.argmax(axis=1) == want.argmax(axis=1))[clear]) >= 0.99
    for n in (1, 0, 65, 2, 1):  # the number may change with every call
        np.testing.assert_allclose(fast(pictures[:n]), got[:n], atol=1e-4)
    with pytest.raises(TutorialError, match="uint8 images"):
        fast(pictures / 255)


def test_faster_is_safe_on_threads(runs, pictures):
    fast = classifier.to_litert(small_network())
    want = fast(pictures)
    parts = [slice(start, start + 1 + start % 7) for start in range(0, 280, 3)]
    with ThreadPoolExecutor(8) as pool:
        for part, got in zip(
            parts, pool.map(lambda part: fast(pictures[part]), parts), strict=True
        ):
            np.testing.assert_allclose(got, want[part], atol=1e-6)


def small_network(seed=1, layer=keras.layers.ReLU):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((48, 48, 1))
    x = layer()(keras.layers.Conv2D(8, 3, strides=8)(inputs))
    x = keras.layers.Flatten()(x)
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x))


def test_faster_converts_once_and_mends_what_was_damaged(runs, monkeypatch, capfd):
    converted = []
    convert = tf.lite.TFLiteConverter.from_saved_model
    monkeypatch.setattr(
        tf.lite.TFLiteConverter, "from_saved_model", lambda p: converted.append(p) or convert(p)
    )
    model = small_network()
    assert is_fast(classifier.to_litert(model)) and is_fast(classifier.to_litert(model))
    assert len(converted) == 1
    (kept,) = runs.iterdir()
    content = kept.read_bytes()
    flipped = bytes([*content[:-50], content[-50] ^ 1, *content[-49:]])
    for damaged in (b"", content[: len(content) // 2], flipped):
        kept.write_bytes(damaged)
        assert is_fast(classifier.to_litert(model))
        assert kept.read_bytes()[-32:] == hashlib.sha256(kept.read_bytes()[:-32]).digest()
    assert len(converted) == 4
    model.layers[-1].set_weights([-w for w in model.layers[-1].get_weights()])  # trained on
    got = classifier.to_litert(model)(np.full((1, 48, 48), 99, np.uint8))
    want = evaluation.predict(model, np.full((1, 48, 48), 99, np.uint8))
    np.testing.assert_allclose(got, want, atol=0.02)
    assert len(converted) == 5 and len(list(runs.iterdir())) == 2
    assert capfd.readouterr() == ("", "")


def test_faster_needs_no_place_to_write(runs):
    runs.write_text("a file where the folder should be")
    assert is_fast(classifier.to_litert(small_network()))


class Unknown(keras.layers.Layer):
    def call(self, x):
        return tf.math.lgamma(x)  # which LiteRT has not


def test_faster_falls_back_to_predict(runs, monkeypatch, pictures, capfd):
    odd = small_network(layer=Unknown)
    fast = classifier.to_litert(odd)
    assert not is_fast(fast)
    np.testing.assert_array_equal(fast(pictures[:3]), evaluation.predict(odd, pictures[:3]))
    wrong = small_network()
    with monkeypatch.context() as patched:  # converted, but to something else
        patched.setattr(evaluation, "_litert", lambda _: lambda batch: np.eye(3)[[0] * len(batch)])
        assert not is_fast(classifier.to_litert(wrong))
    assert not runs.exists(), "nothing wrong is kept"
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)  # no wheel here
    assert not is_fast(classifier.to_litert(wrong))
    assert capfd.readouterr() == ("", "")


def test_a_converted_file_answers_without_tensorflow(runs, pictures, tmp_path):
    path, info = tmp_path / "small.keras", {"classes": ["a", "b", "c"]}
    save_model(small_network(), path, info)
    fast, found = classifier.load_litert(path)
    assert is_fast(fast) and found == info
    np.save(tmp_path / "pictures.npy", pictures)
    code = (
        "import sys, numpy as np; from helpers import evaluation, widgets;"
        "fast, info = classifier.load_litert('small.keras');"
        "np.save('answers', fast(np.load('pictures.npy')));"
        "print(info, sys.modules.keys() & {'tensorflow', 'keras', 'seaborn', 'sklearn'})"
    )
    variables = dict(os.environ, TUTORIAL_RUNS=str(runs), PYTHONPATH=str(ROOT))
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == (f"{info} set()", "")
    np.testing.assert_array_equal(np.load(tmp_path / "answers.npy"), fast(pictures))


def test_the_shipped_networks_conversion_lies_beside_it(runs, pictures, monkeypatch):
    shipped = ROOT / "models" / "emotion_cnn.keras"
    monkeypatch.setattr(evaluation, "faster", lambda *_: pytest.fail("it was converted again"))
    fast, info = classifier.load_litert(shipped)
    assert is_fast(fast) and len(info["classes"]) == 7
    model, _ = load_model(shipped)
    np.testing.assert_allclose(fast(pictures), evaluation.predict(model, pictures), atol=0.05)
    assert not list(runs.glob("*"))


def test_a_file_that_changed_is_converted_anew(runs, pictures, tmp_path):
    path, info = tmp_path / "small.keras", {"classes": ["a", "b", "c"]}
    for seed in (1, 2):
        save_model(small_network(seed), path, info)
        want = evaluation.predict(small_network(seed), pictures)
        for _ in range(2):
            np.testing.assert_allclose(classifier.load_litert(path)[0](pictures), want, atol=0.02)
    assert len(list(runs.iterdir())) == 2
    sidecar_path(path).write_text('{"classes": ["a", "b"]}')
    with pytest.raises(TutorialError, match="3 probabilities, but there are 2"):
        classifier.load_litert(path)
    path.write_bytes(b"")
    with pytest.raises(TutorialError, match="model that can be loaded"):
        classifier.load_litert(path)
    sidecar_path(path).unlink()
    save_model(small_network(), path, {})
    assert classifier.load_litert(path, ("x", "y", "z"))[1] == {"classes": ["x", "y", "z"]}
    path.unlink()
    with pytest.raises(TutorialError, match="There is no model"):
        classifier.load_litert(path)


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
    np.testing.assert_array_equal(
        evaluation.confusion_counts(labels, answers, 3), metrics.confusion_matrix(labels, answers)
    )


def test_scores_of_a_class_that_is_never_predicted():
    got = evaluation.scores(np.array([0, 0, 1, 2]), one_hot([0, 0, 1, 1]), CLASSES)
    assert got["per_class"]["owl"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}
    assert got["per_class"]["dog"] == pytest.approx(
        {"precision": 0.5, "recall": 1.0, "f1": 2 / 3, "support": 1}
    )
    assert got["macro_f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_scores_of_a_class_without_images():
    labels = np.array([0, 0, 0])
    claimed = evaluation.scores(labels, one_hot([0, 0, 1]), CLASSES)
    assert claimed["per_class"]["dog"] == {
        "precision": 0.0,
        "recall": None,
        "f1": 0.0,
        "support": 0,
    }
    assert claimed["per_class"]["owl"] == {
        "precision": None,
        "recall": None,
        "f1": None,
        "support": 0,
    }
    assert claimed["macro_f1"] == pytest.approx((0.8 + 0.0) / 2)
    assert claimed["macro_f1"] == pytest.approx(
        metrics.f1_score(labels, [0, 0, 1], average="macro", zero_division=0)
    )


def test_scores_of_no_images_are_none():
    got = evaluation.scores(np.zeros(0, int), np.zeros((0, 3)), CLASSES)
    assert (got["n"], got["accuracy"], got["macro_f1"]) == (0, None, None)


def test_scores_refuse_other_classes():
    with pytest.raises(TutorialError, match=r"7 probabilities.*3 classes \(cat, dog, owl\)"):
        evaluation.scores(np.array([0]), np.ones((1, 7)) / 7, CLASSES)


def accuracy(labels, predicted):
    return np.mean(labels == predicted)


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

    def recall(a, b):
        return evaluation.class_rates(a, b, 3)[1]

    ends = evaluation.bootstrap(labels, predicted, recall, rounds=300)
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


def test_calibration_against_a_sum_by_hand():
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.55, 0.45]])
    got = evaluation.calibration(np.array([0, 1, 1, 0]), p, bins=5)
    # (0.4, 0.6]: .55 right.  (0.6, 0.8]: .8 wrong, .7 right.  (0.8, 1]: .9 right.
    assert got.count.tolist() == [0, 0, 1, 2, 1]
    np.testing.assert_allclose(got.confidence, [np.nan, np.nan, 0.55, 0.75, 0.9])
    np.testing.assert_allclose(got.accuracy, [np.nan, np.nan, 1, 0.5, 1])
    assert got.ece == pytest.approx((0.45 + 2 * 0.25 + 0.1) / 4)


def test_calibration_of_an_honest_and_of_a_boastful_network():
    rng = np.random.default_rng(3)
    top = rng.uniform(0.5, 1, 20_000)
    labels = (rng.random(20_000) > top).astype(int)
    honest = evaluation.calibration(labels, np.stack([top, 1 - top], axis=1))
    boastful = evaluation.calibration(labels, one_hot(np.zeros(20_000, int), 2))
    assert honest.ece < 0.02
    assert boastful.ece == pytest.approx(np.mean(labels), abs=1e-9)


@pytest.mark.parametrize("true", [0.6, 1.0, 2.5])
def test_temperature_recovers_the_one_that_made_the_labels(true):
    rng = np.random.default_rng(7)
    logits = rng.normal(0, 3, (20_000, 5))
    labels = (soft(logits / true).cumsum(axis=1) < rng.random((20_000, 1))).sum(axis=1)
    got = evaluation.temperature(labels, soft(logits).astype(np.float32))
    assert got == pytest.approx(true, rel=0.05)


def test_temperature_survives_probabilities_of_zero():
    p = one_hot([0, 1, 2, 0])
    got = evaluation.temperature(np.array([0, 1, 2, 1]), p)  # sure, and once wrong
    assert np.isfinite(got) and got > 5


def test_most_confident_mistakes_come_in_order():
    p = np.array([[0.6, 0.4], [0.1, 0.9], [0.3, 0.7], [0.8, 0.2], [0.05, 0.95]])
    labels = np.array([1, 0, 0, 0, 1])
    assert evaluation.most_confident_mistakes(labels, p, 2).tolist() == [1, 2]
    assert evaluation.most_confident_mistakes(labels, p, 99).tolist() == [1, 2, 0]
    assert evaluation.most_confident_mistakes(p.argmax(axis=1), p, 3).size == 0


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

    monkeypatch.setattr(evaluation, "predict", counting)
    with pytest.raises(KeyboardInterrupt):
        evaluation.cached_features(model, images, tmp_path, part=4)
    found = evaluation.cached_features(model, images, tmp_path, part=4)
    assert asked == [4, 4, "interrupted", 2]
    assert found.dtype == np.float32 and len(list(tmp_path.iterdir())) == 3
    np.testing.assert_allclose(found, real(model, images), rtol=1e-3)

    again = evaluation.cached_features(model, images, tmp_path, part=4)
    assert len(asked) == 4 and (again == found).all()
    next(tmp_path.glob("*.npy")).write_bytes(b"damaged")
    assert (evaluation.cached_features(model, images, tmp_path, part=4) == found).all()
    assert len(asked) == 5

    model.layers[-1].set_weights([np.ones((1, 2)), np.zeros(2)])
    other = evaluation.cached_features(model, images, tmp_path, part=4)
    np.testing.assert_allclose(other, real(model, images), rtol=1e-3)
    assert len(asked) == 8
    evaluation.cached_features(model, images[::-1], tmp_path, part=4)
    assert len(asked) == 11
