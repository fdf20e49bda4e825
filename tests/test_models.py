"""Models on disk, and the choice of one."""

import functools
import time
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

import helpers
from helpers import TutorialError, choose, models, training
from helpers.data import Dataset, Split

CLASSES = ("blank", "dotted", "striped")


def patterns(n: int, seed: int = 0) -> Split:
    """Noise with a faint pattern: something to learn, and soon to overfit."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % 3)
    images = rng.normal(128, 40, (n, 48, 48))
    images[labels == 1, ::4, ::4] += 60
    images[labels == 2, ::4] += 20
    files = np.array([f"{CLASSES[label]}/{k}.png" for k, label in enumerate(labels)])
    return Split(images.clip(0, 255).astype(np.uint8), labels.astype(np.int64), files)


def tiny(width: int = 4) -> keras.Model:
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((48, 48, 1)),
            keras.layers.AveragePooling2D(2),
            keras.layers.Conv2D(width, 3, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.MaxPooling2D(4),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.3, seed=5),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    return training.compile_model(model)


# --- models on disk


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_the_plain_keras_snippet_works(tmp_path, suffix, capfd):
    from helpers.networks import build_cnn

    path = tmp_path / f"emotion_model{suffix}"
    model = training.compile_model(build_cnn(7))
    models.save_model(model, path, {"classes": list(helpers.FER_CLASSES)})
    assert model.compiled  # the model at hand is left as it was
    assert path.stat().st_size < 4.2 * model.count_params() + 200_000  # no optimiser in it

    image = np.arange(48 * 48, dtype=np.uint8).reshape(1, 48, 48, 1)
    plain = keras.models.load_model(path)
    p = plain.predict(image / 255, verbose=0)
    assert p.shape == (1, 7) and p.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(p, model(image / 255), rtol=1e-5)
    assert "legacy" not in capfd.readouterr().err

    loaded, info = models.load_model(path)
    assert info["classes"] == list(helpers.FER_CLASSES)
    np.testing.assert_allclose(loaded(image / 255), p, rtol=1e-5)


def test_an_earlier_model_is_kept(tmp_path):
    path = tmp_path / "m.keras"
    models = [tiny(), tiny(width=5), tiny(width=6)]
    for number, model in enumerate(models):
        models.save_model(model, path, {"classes": list(CLASSES), "number": number})
    current, info = models.load_model(path)
    previous, old = models.load_model(tmp_path / "m.previous.keras")
    assert (info["number"], old["number"]) == (2, 1)
    assert current.count_params() == models[2].count_params()
    assert previous.count_params() == models[1].count_params()
    assert len(list(tmp_path.iterdir())) == 4


def test_a_failed_save_leaves_the_earlier_model(tmp_path, monkeypatch):
    path = tmp_path / "m.keras"
    models.save_model(tiny(), path, {"classes": list(CLASSES)})
    before = path.read_bytes()

    def full(self, file):
        Path(file).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keras.Model, "save", full)
    with pytest.raises(TutorialError, match="No space left"):
        models.save_model(tiny(width=5), path, {"classes": list(CLASSES)})
    assert path.read_bytes() == before and helpers.sidecar_path(path).exists()
    assert not list(tmp_path.glob(".partial*"))


def test_what_is_not_a_model_is_one_sentence(tmp_path):
    with pytest.raises(TutorialError, match="There is no model"):
        models.load_model(tmp_path / "missing.keras")
    for name in ("text.keras", "text.h5", "model.txt", "empty.h5"):
        (tmp_path / name).write_text("" if name == "empty.h5" else "hello")
        with pytest.raises(TutorialError, match=f"{name} is not a .keras or .h5 model") as caught:
            models.load_model(tmp_path / name)
        assert "\n" not in str(caught.value)
    with zipfile.ZipFile(tmp_path / "zip.keras", "w") as file:
        file.writestr("config.json", "{}")
    with pytest.raises(TutorialError, match=r"zip.keras is not"):
        models.load_model(tmp_path / "zip.keras")


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_code_in_a_model_is_not_run(tmp_path, suffix):
    inputs = keras.Input((48, 48, 1))
    outputs = keras.layers.Lambda(lambda x: x[:, 0, :3, 0], output_shape=(3,))(inputs)
    keras.Model(inputs, outputs).save(tmp_path / f"code{suffix}")
    with pytest.raises(TutorialError, match="code of its own"):
        models.load_model(tmp_path / f"code{suffix}")


@pytest.mark.parametrize(("shape", "units"), [((64, 64, 1), 7), ((48, 48, 3), 7), ((48,), 7)])
def test_a_model_of_another_shape_is_refused(tmp_path, shape, units):
    inputs = keras.Input(shape)
    model = keras.Model(inputs, keras.layers.Dense(units)(keras.layers.Flatten()(inputs)))
    model.save(tmp_path / "m.keras")
    with pytest.raises(TutorialError, match="is a model from"):
        models.load_model(tmp_path / "m.keras")


def test_classes_where_no_sidecar_names_them(tmp_path, capsys):
    path = tmp_path / "m.keras"
    tiny().save(path)
    assert models.load_model(path)[1] == {}
    assert models.load_model(path, CLASSES)[1]["classes"] == list(CLASSES)
    shown = capsys.readouterr()
    assert "assuming the alphabetical blank, dotted, striped" in shown.err and not shown.out
    with pytest.raises(TutorialError, match="gives 3 probabilities, but there are 7 classes"):
        models.load_model(path, helpers.FER_CLASSES)
    helpers.sidecar_path(path).write_text("[not json")
    assert models.load_model(path)[1] == {}


# --- which model


def dataset(kind="own", classes=CLASSES, fingerprint="f", n=60) -> Dataset:
    return Dataset(kind, kind, classes, patterns(n), patterns(9, 2), (), "", fingerprint)


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """Empty folders for models, and a function that puts one there."""
    monkeypatch.setattr(helpers, "RUNS", tmp_path / "project" / "runs")
    monkeypatch.setattr(helpers, "MODELS", tmp_path / "models")
    model = tiny()

    def put(name, data, accuracy, folder="RUNS", **info):
        path = getattr(helpers, folder) / name
        info = models.describe(data) | {"validation": {"accuracy": accuracy}} | info
        models.save_model(model, path, info)
        return path

    return put


def names(files) -> list[str]:
    return [file.path.name for file in files]


def test_only_models_that_fit_are_candidates(shelf):
    fer = functools.partial(dataset, classes=helpers.FER_CLASSES[:3])
    shelf("real.keras", fer("fer2013", fingerprint="a"), 0.6)
    shelf("altered.h5", fer("altered", fingerprint="b"), 0.5)
    shelf("shipped.keras", fer("fer2013", fingerprint="a"), 0.7, "MODELS")
    shelf("toy.keras", fer("toy", fingerprint="c"), 0.9)
    shelf("other_classes.keras", dataset("fer2013", fingerprint="a"), 0.9)
    real = ["shipped.keras", "real.keras", "altered.h5"]
    assert names(choose.candidates(fer("fer2013", fingerprint="a"))) == real
    assert names(choose.candidates(fer("altered", fingerprint="x"))) == real
    assert names(choose.candidates(fer("toy", fingerprint="c"))) == ["toy.keras"]
    assert names(choose.candidates(fer("toy", fingerprint="d"))) == []
    assert names(choose.candidates(fer("own", fingerprint="e"))) == []
    everything = names(choose.model_for_photographs())
    assert everything == ["other_classes.keras", *real, "toy.keras"]
    origins = {file.path.name: file.origin for file in choose.model_for_photographs()}
    assert origins["shipped.keras"] == "shipped" and origins["real.keras"] == "yours"


def test_earlier_and_undescribed_models_are_left_out(shelf):
    shelf("m.keras", dataset(), 0.9)
    shelf("m.keras", dataset(), 0.5)
    helpers.sidecar_path(shelf("plain.keras", dataset(), 0.9)).unlink()
    assert names(choose.candidates(dataset())) == ["m.keras"]


def test_a_model_beside_runs_is_yours_too(shelf):
    path = shelf("a.keras", dataset(), 0.9)
    for file in (path, helpers.sidecar_path(path)):
        file.rename(helpers.RUNS.parent / file.name)
    assert [file.origin for file in choose.candidates(dataset())] == ["yours"]


def test_yours_comes_before_the_shipped_unless_asked(shelf, capsys):
    shelf("mine.keras", dataset(), 0.5)
    shelf("theirs.keras", dataset(), 0.7, "MODELS")
    model, file = choose.model_for(dataset())
    assert file.path.name == "mine.keras" and model.output_shape == (None, 3)
    assert "Using your own model, mine.keras (trained on own)" in capsys.readouterr().out
    assert choose.model_for(dataset(), prefer="shipped")[1].path.name == "theirs.keras"


def test_a_broken_model_is_passed_over(shelf, capsys):
    shelf("broken.keras", dataset(), 0.9).write_bytes(b"half")
    shelf("whole.keras", dataset(), 0.5)
    assert choose.model_for(dataset())[1].path.name == "whole.keras"
    assert "Left out: broken.keras is not" in capsys.readouterr().out


def test_a_stand_in_is_trained_once_per_profile(shelf, capsys, monkeypatch):
    monkeypatch.setenv("TUTORIAL_PROFILE", "quick")
    data = dataset("toy", n=60)
    model, file = choose.model_for(data)
    assert "There is no model of toy yet" in capsys.readouterr().out
    assert (file.path.name, file.origin) == ("stand_in-toy-f.keras", "stand-in")
    assert file.info["data"] == {"name": "toy", "kind": "toy", "fingerprint": "f"}
    assert model.output_shape == (None, 3)
    began = file.path.stat().st_mtime_ns
    assert choose.model_for(data)[1].path.stat().st_mtime_ns == began
    assert "Using a quickly trained model" in capsys.readouterr().out
    monkeypatch.setattr(training, "train", lambda *a, **k: time.sleep(0))
    monkeypatch.setenv("TUTORIAL_PROFILE", "standard")
    choose.model_for(data)
    assert "There is no model of toy yet" in capsys.readouterr().out
