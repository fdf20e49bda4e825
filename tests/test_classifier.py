"""The network with weights rounded to 8 bits: the same answers, kept, and without TensorFlow."""

import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
import tensorflow as tf

import helpers
from app import classifier
from fetch.toy_faces import draw_faces
from helpers import ROOT, TutorialError, evaluation
from helpers.models import load_model, save_model, sidecar_path
from helpers.networks import build_cnn


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
    return isinstance(answer, classifier.LiteRTModel)


@pytest.mark.parametrize("which", ["shipped", "lesson"])
def test_it_agrees_with_predict(which, runs, pictures):
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


def test_it_is_safe_on_threads(runs, pictures):
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


def test_a_file_is_converted_once_and_what_was_damaged_is_mended(
    runs, tmp_path, monkeypatch, capfd
):
    converted = []
    convert = tf.lite.TFLiteConverter.from_saved_model
    monkeypatch.setattr(
        tf.lite.TFLiteConverter, "from_saved_model", lambda p: converted.append(p) or convert(p)
    )
    path = tmp_path / "small.keras"
    save_model(small_network(), path, {"classes": ["a", "b", "c"]})
    for _ in range(2):
        assert is_fast(classifier.load_litert(path)[0])
    assert len(converted) == 1
    (kept,) = runs.iterdir()
    content = kept.read_bytes()
    flipped = bytes([*content[:-50], content[-50] ^ 1, *content[-49:]])
    for damaged in (b"", content[: len(content) // 2], flipped):
        kept.write_bytes(damaged)
        assert is_fast(classifier.load_litert(path)[0])
        assert kept.read_bytes()[-32:] == hashlib.sha256(kept.read_bytes()[:-32]).digest()
    assert len(converted) == 4
    assert capfd.readouterr().out == ""


def test_no_place_to_write_is_needed(runs, tmp_path):
    path = tmp_path / "small.keras"
    save_model(small_network(), path, {"classes": ["a", "b", "c"]})
    runs.write_text("a file where the folder should be")
    assert is_fast(classifier.load_litert(path)[0])


class Unknown(keras.layers.Layer):
    def call(self, x):
        return tf.math.lgamma(x)  # which LiteRT has not


def test_it_falls_back_to_predict(runs, monkeypatch, pictures, capfd):
    odd = small_network(layer=Unknown)
    fast = classifier.to_litert(odd)
    assert not is_fast(fast)
    np.testing.assert_array_equal(fast(pictures[:3]), evaluation.predict(odd, pictures[:3]))
    wrong = small_network()
    with monkeypatch.context() as patched:  # converted, but to something else
        answer = lambda self, batch: np.eye(3)[[0] * len(batch)]  # noqa: E731
        patched.setattr(classifier.LiteRTModel, "predict_on_batch", answer)
        assert not is_fast(classifier.to_litert(wrong))
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)  # no wheel here
    assert not is_fast(classifier.to_litert(wrong))
    assert capfd.readouterr().out == ""


def test_a_converted_file_answers_without_tensorflow(runs, pictures, tmp_path):
    path, info = tmp_path / "small.keras", {"classes": ["a", "b", "c"]}
    save_model(small_network(), path, info)
    fast, found = classifier.load_litert(path)
    assert is_fast(fast) and found == info
    np.save(tmp_path / "pictures.npy", pictures)
    code = (
        "import sys, numpy as np; from app import classifier, demo;"
        "fast, info = classifier.load_litert('small.keras');"
        "np.save('answers', fast(np.load('pictures.npy')));"
        "print(info, sys.modules.keys() & {'tensorflow', 'keras', 'seaborn'})"
    )
    variables = dict(os.environ, TUTORIAL_RUNS=str(runs), PYTHONPATH=str(ROOT))
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{info} set()"
    np.testing.assert_array_equal(np.load(tmp_path / "answers.npy"), fast(pictures))


@pytest.mark.parametrize("name", ["emotion_cnn", "emotion_cnn_votes"])
def test_the_shipped_networks_conversion_lies_beside_it(name, runs, pictures, monkeypatch):
    shipped = ROOT / "models" / f"{name}.keras"
    monkeypatch.setattr(classifier, "to_litert", lambda *_: pytest.fail("it was converted again"))
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


def test_it_has_the_shapes_of_the_network_it_was_made_of():
    fast = classifier.to_litert(small_network())
    assert fast.input_shape == (None, 48, 48, 1) and fast.output_shape == (None, 3)
    assert fast(np.zeros((0, 48, 48), np.uint8)).shape == (0, 3)
    with pytest.raises(TutorialError, match="uint8 images"):
        fast(np.zeros((1, 32, 32), np.uint8))
