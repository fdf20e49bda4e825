"""Models on disk: saved, loaded, described, told for what they are, and chosen."""

import functools
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras import layers

import helpers
from helpers import TutorialError, evaluation, models
from helpers.data import Dataset, Split
from training import choose_model, trainer

CLASSES = ("blank", "dotted", "striped")


def patterns(n: int, seed: int = 0) -> Split:
    """Noise with a faint pattern: something to learn."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    images = rng.normal(128, 40, (n, 48, 48))
    images[labels == 1, ::4, ::4] += 60
    images[labels == 2, ::4] += 20
    files = np.array([f"{CLASSES[label]}/{k}.png" for k, label in enumerate(labels)])
    return Split(images.clip(0, 255).astype(np.uint8), labels.astype(np.int64), files)


def network(shape=(48, 48, 1), units=3, activation="softmax", first=None, seed=3) -> keras.Model:
    keras.utils.set_random_seed(seed)
    inputs = keras.Input(shape)
    x = layers.AveragePooling2D(8)(first(inputs) if first else inputs)
    return keras.Model(inputs, layers.Dense(units, activation, name="last")(layers.Flatten()(x)))


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_the_plain_keras_snippet_works(tmp_path, suffix, capfd):
    from helpers.networks import build_cnn

    path = tmp_path / f"emotion_model{suffix}"
    model = trainer.compile_model(build_cnn(7))
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
    saved = [network(seed=seed) for seed in range(3)]
    for number, model in enumerate(saved):
        models.save_model(model, path, {"classes": list(CLASSES), "number": number})
    current, info = models.load_model(path)
    previous, old = models.load_model(tmp_path / "m.previous.keras")
    assert (info["number"], old["number"]) == (2, 1)
    for one, other in ((current, saved[2]), (previous, saved[1])):
        np.testing.assert_array_equal(one.get_weights()[0], other.get_weights()[0])
    assert len(list(tmp_path.iterdir())) == 4


def test_a_failed_save_leaves_the_earlier_model(tmp_path, monkeypatch):
    path = tmp_path / "m.keras"
    models.save_model(network(), path, {"classes": list(CLASSES)})
    before = path.read_bytes()

    def full(self, file):
        Path(file).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keras.Model, "save", full)
    with pytest.raises(TutorialError, match="No space left"):
        models.save_model(network(seed=5), path, {"classes": list(CLASSES)})
    assert path.read_bytes() == before and models.sidecar_path(path).exists()
    assert not list(tmp_path.glob(".partial*"))


def test_what_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(TutorialError, match=r"^There is no model .*missing.keras: check the name"):
        models.load_model(tmp_path / "missing.keras")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def of_newer_keras(path: Path) -> None:
    with zipfile.ZipFile(path) as file:
        inside = {name: file.read(name) for name in file.namelist()}
    inside["metadata.json"] = b'{"keras_version": "99.1.0"}'
    inside["config.json"] = inside["config.json"].replace(b'"Dense"', b'"Denser"')
    with zipfile.ZipFile(path, "w") as file:
        for name, content in inside.items():
            file.writestr(name, content)


def zipped(path: Path, name: str) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(name, "{}")


FILES = {  # what was saved, and how
    "weights.weights.h5": lambda path: network().save_weights(path),
    "renamed.keras": lambda path: network().save(path.with_suffix(".h5")),
    "renamed.h5": lambda path: network().save(path.with_suffix(".keras")),
    "weights.keras": lambda path: network().save_weights(path.with_suffix(".weights.h5")),
    "cut.keras": lambda path: network().save(path) or cut(path),
    "cut.h5": lambda path: network().save(path) or cut(path),
    "newer.keras": lambda path: network().save(path) or of_newer_keras(path),
    "architecture.json": lambda path: path.write_text(network().to_json()),
    "saved_model": lambda path: network().export(path, verbose=False),
    "folder.keras": lambda path: path.mkdir(),
    "empty.h5": lambda path: path.write_bytes(b""),
    "phone.tflite": lambda path: path.write_bytes(b"\x1c\0\0\0TFL3\x14\0"),
    "pointer.keras": lambda path: path.write_text("version https://git-lfs.github.com/spec/v1"),
    "page.h5": lambda path: path.write_text("\n<!DOCTYPE html><html>"),
    "pickle.h5": lambda path: path.write_bytes(b"\x80\x04\x95"),
    "torch.keras": lambda path: zipped(path, "archive/data.pkl"),
    "zip.keras": lambda path: zipped(path, "notes.txt"),
    "half.keras": lambda path: zipped(path, "config.json"),
    "text.keras": lambda path: path.write_text("hello"),
    "pictures.h5": lambda path: h5py.File(path, "w").close(),
}
SAID = {
    "weights.weights.h5": "it holds weights without a network: save the whole",
    "renamed.keras": "it is an .h5 file under another name: rename it to renamed.h5",
    "renamed.h5": "it is a .keras file under another name: rename it to renamed.keras",
    "weights.keras": "it holds weights without a network",
    "cut.keras": "it is damaged or cut off: copy or download it again",
    "cut.h5": "it is damaged or cut off: copy or download it again",
    "newer.keras": f"Keras 99.1.0 saved it, and this is {keras.__version__}: pip install -U keras",
    "architecture.json": "it is JSON, such as the architecture without its weights",
    "saved_model": "it is a folder, a SavedModel of TensorFlow",
    "folder.keras": "it is a folder: name the .keras or .h5 file itself",
    "empty.h5": "it is empty",
    "phone.tflite": "it is a network of TFLite",
    "pointer.keras": "it only points to the network: fetch that with `git lfs pull`",
    "page.h5": "it is a page of the web",
    "pickle.h5": "it is a pickle",
    "torch.keras": "it is a network of PyTorch",
    "zip.keras": "it is a zip file without a network in it",
    "half.keras": "it is damaged or cut off",
    "text.keras": "it is no network by its content: name the file that model.save wrote",
    "pictures.h5": "it is an HDF5 file without a network",
}


@pytest.mark.parametrize("name", FILES)
def test_what_is_no_model_is_told_for_what_it_is(tmp_path, name, capfd):
    path = tmp_path / name
    FILES[name](path)
    for written in tmp_path.glob("*"):  # saved under the name that Keras wants, then renamed
        if written.name != name:
            written.rename(path)
    with pytest.raises(TutorialError) as caught:
        models.load_model(path)
    said = str(caught.value)
    assert said.startswith(f"{name} is not a .keras or .h5 model that can be loaded: {SAID[name]}")
    assert said.endswith(".") and "\n" not in said and capfd.readouterr().out == ""


def test_what_keras_itself_says_is_passed_on(tmp_path):
    network().save(tmp_path / "odd.h5")
    with h5py.File(tmp_path / "odd.h5", "a") as file:
        file.attrs["model_config"] = file.attrs["model_config"].replace(
            '"units": 3', '"units": "a"'
        )
        file.attrs["keras_version"] = "2.4.0"
    with pytest.raises(
        TutorialError, match=rf"Keras 2\.4\.0 saved it, and {keras.__version__} says: ."
    ):
        models.load_model(tmp_path / "odd.h5")


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_code_in_a_model_is_not_run(tmp_path, suffix):
    inputs = keras.Input((48, 48, 1))
    outputs = layers.Lambda(lambda x: x[:, 0, :3, 0], output_shape=(3,))(inputs)
    keras.Model(inputs, outputs).save(tmp_path / f"code{suffix}")
    with pytest.raises(TutorialError, match="code of its own"):
        models.load_model(tmp_path / f"code{suffix}")


NOISE = np.random.default_rng(0).integers(0, 256, (9, 48, 48), np.uint8)


def loaded(path: Path, model: keras.Model, capsys) -> tuple[keras.Model, str]:
    """Save a network as its author would, and load it: what came, and what was said."""
    model.save(path)
    found, _ = models.load_model(path)
    assert found.input_shape == (None, 48, 48, 1)
    return found, capsys.readouterr().err


def soft(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_softmax_is_applied_to_logits_and_said(tmp_path, capsys, suffix):
    model = network(activation=None)
    found, said = loaded(tmp_path / f"logits{suffix}", model, capsys)
    assert (
        said
        == f"logits{suffix}: its answers are no probabilities, so softmax is applied to them.\n"
    )
    logits = evaluation.predict(model, NOISE)
    np.testing.assert_allclose(evaluation.predict(found, NOISE), soft(logits), atol=1e-5)


def test_sigmoids_are_divided_by_their_sum(tmp_path, capsys):
    model = network(activation="sigmoid")
    found, said = loaded(tmp_path / "m.keras", model, capsys)
    assert "its sigmoids are divided by their sum" in said
    p = evaluation.predict(model, NOISE)
    want = p / p.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(evaluation.predict(found, NOISE), want, atol=1e-5)


def test_another_size_and_three_colours_are_made_to_fit(tmp_path, capsys):
    model = network((64, 72, 3))
    found, said = loaded(tmp_path / "m.keras", model, capsys)
    assert "64 × 72 pixels; grey is repeated as its three colours." in said
    flat = np.full((2, 48, 48), [[[60]], [[200]]], np.uint8)
    want = model.predict(
        np.repeat(flat[:, :1, :1, None], 3, axis=3).repeat(64, 1).repeat(72, 2) / 255
    )
    np.testing.assert_allclose(evaluation.predict(found, flat), want, atol=1e-5)


def test_a_network_that_scales_grey_levels_itself_gets_them_whole(tmp_path, capsys):
    model = network(first=layers.Rescaling(1 / 255))
    found, said = loaded(tmp_path / "m.keras", model, capsys)
    assert "it gets grey levels from 0 to 255" in said
    want = model.predict(NOISE[..., None], verbose=0)
    np.testing.assert_allclose(evaluation.predict(found, NOISE), want, atol=1e-5)


def test_a_network_that_fits_is_left_as_it_is(tmp_path, capsys):
    found, said = loaded(tmp_path / "m.keras", network(), capsys)
    assert said == "" and found.get_layer("last").units == 3
    any_size = layers.Conv2D(3, 3), layers.GlobalAveragePooling2D(), layers.Softmax()
    keras.Sequential([keras.Input((None, None, 1)), *any_size]).save(tmp_path / "any.keras")
    found, _ = models.load_model(tmp_path / "any.keras")
    assert evaluation.predict(found, NOISE).shape == (9, 3) and capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("shape", "units"), [((48,), 7), ((48, 48, 2), 7), ((48, 48, 1), 1), ((1, 48, 48, 3), 7)]
)
def test_a_model_of_something_else_is_refused_with_its_shapes(tmp_path, shape, units):
    inputs = keras.Input(shape)
    outputs = layers.Dense(units, activation="sigmoid")(layers.Flatten()(inputs))
    keras.Model(inputs, outputs).save(tmp_path / "m.keras")
    shapes = re.escape(f"from {(None, *shape)} to {(None, units)}, not from pictures")
    with pytest.raises(TutorialError, match=f"m.keras is a model {shapes}"):
        models.load_model(tmp_path / "m.keras")


def test_two_inputs_and_maps_are_refused(tmp_path):
    first, second = keras.Input((48, 48, 1)), keras.Input((48, 48, 1))
    keras.Model([first, second], layers.Add()([first, second])).save(tmp_path / "two.keras")
    keras.Model(first, layers.Conv2D(2, 3)(first)).save(tmp_path / "map.keras")
    for name in ("two.keras", "map.keras"):
        with pytest.raises(TutorialError, match=f"{name} is a model from .* choose another"):
            models.load_model(tmp_path / name)


def test_a_network_whose_training_has_failed_is_refused(tmp_path):
    model = network()
    model.get_layer("last").set_weights([np.full((36, 3), np.nan), np.zeros(3)])
    model.save(tmp_path / "m.keras")
    with pytest.raises(TutorialError, match="what is no number: its training has failed"):
        models.load_model(tmp_path / "m.keras")


def test_classes_where_no_sidecar_names_them(tmp_path, capsys):
    path = tmp_path / "m.keras"
    network().save(path)
    assert models.load_model(path)[1] == {}
    assert models.load_model(path, CLASSES)[1]["classes"] == list(CLASSES)
    shown = capsys.readouterr()
    assert "taking them for blank, dotted, striped, in this order" in shown.err and not shown.out
    assert "--classes" in shown.err
    turned = ["striped", "blank", "dotted"]
    assert models.load_model(path, CLASSES, turned)[1]["classes"] == turned
    assert "striped, blank, dotted, in this order.\n" in capsys.readouterr().err
    with pytest.raises(TutorialError, match="gives 3 probabilities, but there are 7 classes"):
        models.load_model(path, helpers.FER_CLASSES)
    assert capsys.readouterr().err == ""  # nothing is taken that does not fit
    models.sidecar_path(path).write_text("[not json")
    assert models.load_model(path)[1] == {}
    for odd in ({"classes": None, "data": None}, {"classes": "abc", "data": {"x": 1}}, [1]):
        models.sidecar_path(path).write_text(json.dumps(odd))
        assert models.load_model(path)[1] == {}
    models.sidecar_path(path).write_text(json.dumps({"classes": CLASSES}))
    assert models.load_model(path, named=CLASSES)[1]["classes"] == list(CLASSES)
    with pytest.raises(TutorialError, match=r"m.keras names its classes, .*: leave --classes out"):
        models.load_model(path, named=turned)


def test_a_sidecar_is_read_without_tensorflow():
    code = "import sys, helpers.models; print('tensorflow' in sys.modules, 'keras' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=helpers.ROOT, capture_output=True, text=True
    )
    assert done.stdout.split() == ["False", "False"], done.stderr


# --- which model


def dataset(kind="own", classes=CLASSES, fingerprint="f", n=60) -> Dataset:
    return Dataset(kind, kind, classes, patterns(n), patterns(9, 2), (), "", fingerprint)


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """Empty folders for models, and a function that puts one there."""
    monkeypatch.setattr(helpers, "RUNS", tmp_path / "project" / "runs")
    monkeypatch.setattr(helpers, "MODELS", tmp_path / "models")
    model = network()

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
    assert names(choose_model.candidates(fer("fer2013", fingerprint="a"))) == real
    assert names(choose_model.candidates(fer("altered", fingerprint="x"))) == real
    assert names(choose_model.candidates(fer("toy", fingerprint="c"))) == ["toy.keras"]
    assert names(choose_model.candidates(fer("toy", fingerprint="d"))) == []
    assert names(choose_model.candidates(fer("own", fingerprint="e"))) == []
    everything = names(choose_model.model_for_photographs())
    assert everything == ["other_classes.keras", *real, "toy.keras"]
    origins = {file.path.name: file.origin for file in choose_model.model_for_photographs()}
    assert origins["shipped.keras"] == "shipped" and origins["real.keras"] == "yours"


def test_a_model_of_votes_answers_photographs_and_is_not_scored_by_labels(shelf):
    shelf("labels.keras", dataset("fer2013", fingerprint="a"), 0.9)
    shelf("votes.keras", dataset("fer2013", fingerprint="a"), 0.8, "MODELS", target="votes")
    shelf("toy.keras", dataset("toy", fingerprint="c"), 1.0, target="votes")
    files = choose_model.model_for_photographs()
    assert names(files) == ["votes.keras", "labels.keras", "toy.keras"]
    assert [file.by_votes for file in files] == [True, False, True]
    data = dataset("fer2013", fingerprint="a")
    assert names(choose_model.candidates(data)) == ["labels.keras"]


def test_earlier_and_undescribed_models_are_left_out(shelf):
    shelf("m.keras", dataset(), 0.9)
    shelf("m.keras", dataset(), 0.5)
    models.sidecar_path(shelf("plain.keras", dataset(), 0.9)).unlink()
    assert names(choose_model.candidates(dataset())) == ["m.keras"]


def test_a_model_beside_runs_is_yours_too(shelf):
    path = shelf("a.keras", dataset(), 0.9)
    for file in (path, models.sidecar_path(path)):
        file.rename(helpers.RUNS.parent / file.name)
    assert [file.origin for file in choose_model.candidates(dataset())] == ["yours"]


def test_yours_comes_before_the_shipped_unless_asked(shelf, capsys):
    shelf("mine.keras", dataset(), 0.5)
    shelf("theirs.keras", dataset(), 0.7, "MODELS")
    model, file = choose_model.model_for(dataset())
    assert file.path.name == "mine.keras" and model.output_shape == (None, 3)
    assert "Using your own model, mine.keras (trained on own)" in capsys.readouterr().out
    assert choose_model.model_for(dataset(), prefer="shipped")[1].path.name == "theirs.keras"


def test_a_broken_model_is_passed_over(shelf, capsys):
    shelf("broken.keras", dataset(), 0.9).write_bytes(b"half")
    shelf("whole.keras", dataset(), 0.5)
    assert choose_model.model_for(dataset())[1].path.name == "whole.keras"
    assert "Left out: broken.keras is not" in capsys.readouterr().out


def test_a_stand_in_is_trained_once_per_profile(shelf, capsys, monkeypatch):
    monkeypatch.setenv("TUTORIAL_PROFILE", "quick")
    data = dataset("toy", n=60)
    model, file = choose_model.model_for(data)
    assert "There is no model of toy yet" in capsys.readouterr().out
    assert (file.path.name, file.origin) == ("stand_in-toy-f.keras", "stand-in")
    assert file.info["data"] == {"name": "toy", "kind": "toy", "fingerprint": "f"}
    assert model.output_shape == (None, 3)
    began = file.path.stat().st_mtime_ns
    assert choose_model.model_for(data)[1].path.stat().st_mtime_ns == began
    assert "Using a quickly trained model" in capsys.readouterr().out
    monkeypatch.setattr(trainer, "train", lambda *a, **k: None)
    monkeypatch.setenv("TUTORIAL_PROFILE", "standard")
    choose_model.model_for(data)
    assert "There is no model of toy yet" in capsys.readouterr().out
