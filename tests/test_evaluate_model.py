"""The script evaluate_model.py, from the command line's side."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

import evaluate_model
import helpers
from fetch import loading
from helpers import models

CLASSES = ("cat", "dog", "owl")
GREYS = (40, 120, 210)  # the classes are told apart by their brightness


def picture(grey, seed):
    noise = np.random.default_rng(seed).integers(-20, 21, (48, 48))
    return Image.fromarray((grey + noise).astype(np.uint8))


def write(folder, counts, first=0, names=CLASSES):
    for name, grey, n in zip(names, GREYS, counts, strict=False):
        (folder / name).mkdir(parents=True)
        for index in range(n):
            picture(grey, first + index).save(folder / name / f"{first + index}.png")
    return folder


def make_model(path, classes=CLASSES, kind="own", fingerprint="0", accuracy=0.9, sidecar=True):
    """Save a network that names the class whose grey is nearest, but never the last one."""
    import keras

    inputs = keras.Input((48, 48, 1))
    mean = keras.layers.GlobalAveragePooling2D()(inputs)
    outputs = keras.layers.Dense(len(classes), activation="softmax")(mean)
    model = keras.Model(inputs, outputs)
    weights = np.zeros((1, len(classes)))
    weights[0, :2] = -50, 50
    model.layers[-1].set_weights([weights, np.array([16.0, -16.0] + [-99.0] * (len(classes) - 2))])
    info = {
        "classes": list(classes),
        "data": {"name": "toy faces" if kind == "toy" else "others", "kind": kind}
        | {"fingerprint": fingerprint},
        "validation": {"accuracy": accuracy},
    }
    models.save_model(model, path, info)
    if not sidecar:
        models.sidecar_path(path).unlink()
    return path


@pytest.fixture(scope="module")
def animals(tmp_path_factory):
    """Train and test images; of the test images, 3 cats and the owl are also in train."""
    folder = tmp_path_factory.mktemp("animals")
    write(folder / "train", (5, 5, 5))
    write(folder / "test", (8, 4, 0), first=2)
    picture(GREYS[2], 4).save(folder / "test" / "owl" / "copy.png")
    for index in (2, 3, 4):  # as dogs they are not copies any more
        picture(GREYS[1], 100 + index).save(folder / "test" / "dog" / f"{index}.png")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("model") / "animals.keras")


@pytest.fixture
def runs(tmp_path, monkeypatch):
    for name in ("runs/RUNS", "models/MODELS"):
        folder, _, setting = name.partition("/")
        (tmp_path / "project" / folder).mkdir(parents=True)
        monkeypatch.setattr(helpers, setting, tmp_path / "project" / folder)
    return helpers.RUNS


def run(capsys, *arguments):
    code = evaluate_model.main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_json_is_one_value_with_the_figures_known_beforehand(capsys, animals, model):
    code, out, err = run(capsys, "--data", animals, "--model", model, "--json")
    result = json.loads(out)
    assert code == 0 and "animals.keras" in err
    keys = ["split", "n", "accuracy", "macro_f1", "per_class", "without_train_copies"]
    assert list(result) == keys
    assert (result["split"], result["n"]) == ("test", 13)
    assert result["accuracy"] == pytest.approx(12 / 13)  # all but the owl, which is called a dog
    assert result["per_class"] == {
        "cat": {"precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 8},
        "dog": {
            "precision": 0.8,
            "recall": 1.0,
            "f1": pytest.approx(8 / 9),
            "support": 4,
        },
        "owl": {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1},
    }
    assert result["macro_f1"] == pytest.approx((1 + 8 / 9 + 0) / 3)


def test_copies_of_training_images_are_left_out(capsys, animals, model):
    _, out, _ = run(capsys, "--data", animals, "--model", model, "--json")
    fresh = json.loads(out)["without_train_copies"]
    assert list(fresh) == ["n", "accuracy", "macro_f1", "per_class"]
    support = {name: row["support"] for name, row in fresh["per_class"].items()}
    assert support == {"cat": 5, "dog": 4, "owl": 0}
    assert (fresh["n"], fresh["accuracy"], fresh["macro_f1"]) == (9, 1.0, 1.0)
    assert fresh["per_class"]["owl"]["recall"] is None


def test_text_holds_the_same_figures_and_intervals(capsys, animals, model):
    code, out, _ = run(capsys, "--data", animals, "--model", model)
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.startswith("  ")}
    assert code == 0
    assert out.startswith("animals.keras on your own images, test: 13 images")
    assert rows["cat"] == ["1.000", "(1.000", "to", "1.000)", "1.000", "1.000", "8"]
    assert rows["dog"][-3:] == ["0.800", "0.889", "4"]
    overall = next(line for line in out.splitlines() if "accuracy" in line)
    low, high = (float(text.strip("()")) for text in overall.split()[2::2])
    assert 0.6 < low < 12 / 13 < high <= 1
    assert "Without the 4 that are also training images: 9 images" in out


def test_bare_class_folders_are_all_tested_and_may_lack_classes(capsys, tmp_path, model):
    write(tmp_path / "few", (3, 2), names=CLASSES[:2])
    code, out, _ = run(capsys, "--data", tmp_path / "few", "--model", model, "--json")
    result = json.loads(out)
    assert (code, result["n"], result["accuracy"]) == (0, 5, 1.0)
    assert result["without_train_copies"] is None
    assert list(result["per_class"]) == list(CLASSES)
    assert result["per_class"]["owl"]["recall"] is None


def test_labels_follow_the_order_of_the_models_classes(capsys, tmp_path):
    folder = tmp_path / "turned"
    for name, grey in (("owl", GREYS[0]), ("cat", GREYS[1]), ("dog", GREYS[2])):
        (folder / name).mkdir(parents=True)
        picture(grey, 1).save(folder / name / "1.png")
    path = make_model(tmp_path / "turned.keras", ("owl", "cat", "dog"))
    _, out, _ = run(capsys, "--data", folder, "--model", path, "--json")
    rows = json.loads(out)["per_class"]
    assert [rows[name]["recall"] for name in ("owl", "cat", "dog")] == [1, 1, 0]


def test_other_classes_are_refused_with_both_sides_named(capsys, animals, tmp_path):
    path = make_model(tmp_path / "birds.keras", ("emu", "owl"))
    code, out, err = run(capsys, "--data", animals, "--model", path, "--json")
    assert (code, out) == (1, "")
    assert "birds.keras was trained on the classes emu, owl, but" in err
    assert "the images have cat, dog, owl" in err


def test_a_model_with_more_classes_than_the_training_images_is_refused(capsys, animals, tmp_path):
    path = make_model(tmp_path / "more.keras", (*CLASSES, "yak"))
    code, _, err = run(capsys, "--data", animals, "--model", path)
    assert code == 1 and "cat, dog, owl, yak, but the images have cat, dog, owl:" in err


def test_a_model_that_names_no_classes_gets_those_of_the_images(capsys, animals, tmp_path):
    path = make_model(tmp_path / "bare.h5", sidecar=False)
    code, out, err = run(capsys, "--data", animals, "--model", path, "--json")
    assert code == 0 and json.loads(out)["accuracy"] == pytest.approx(12 / 13)
    assert (
        "bare.h5 does not name its classes: taking them for cat, dog, owl, in this order; name"
        in err
    )


def test_the_user_names_the_order_of_a_models_classes(capsys, animals, tmp_path):
    path = make_model(tmp_path / "bare.keras", sidecar=False)
    arguments = ("--data", animals, "--model", path, "--json", "--classes")
    code, out, err = run(capsys, *arguments, "dog,cat,owl")  # the model's first is the dark cat
    rows = json.loads(out)["per_class"]
    assert code == 0 and list(rows) == ["dog", "cat", "owl"]
    assert (rows["dog"]["recall"], rows["cat"]["recall"]) == (0, 0)
    assert "bare.keras does not name its classes: taking them for dog, cat, owl" in err
    code, _, err = run(capsys, *arguments, "cat,dog")
    assert code == 1 and "gives 3 probabilities, but there are 2 classes (cat, dog)" in err
    code, _, err = run(capsys, *arguments, "cat,dog,yak")
    assert code == 1 and "cat, dog, yak, but the images have cat, dog, owl" in err


def test_a_model_that_names_no_classes_and_fits_none_is_refused(capsys, animals, tmp_path):
    path = make_model(tmp_path / "bare.keras", ("a", "b", "c", "d"), sidecar=False)
    code, _, err = run(capsys, "--data", animals, "--model", path)
    assert code == 1 and "taking them" not in err
    assert "bare.keras gives 4 probabilities and does not name its classes, and the" in err


@pytest.mark.parametrize("encoding", ["cp1251", "cp1252"])
def test_names_that_the_output_lacks_do_not_end_the_report(tmp_path, encoding):
    names = ("été", "улыбка", "笑")
    folder = write(tmp_path / "images", (2, 2, 2), names=names)
    path = make_model(tmp_path / "world.keras", names)
    command = [sys.executable, str(ROOT / "evaluate_model.py"), "--data", folder, "--model", path]
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.decode(encoding).splitlines()]
    shown = [name.encode(encoding, "backslashreplace").decode(encoding) for name in names]
    assert [words[0] for words in lines[4:]] == shown


def test_the_best_model_that_fits_is_taken(capsys, animals, runs):
    mark = loading.load(animals).fingerprint
    make_model(runs / "good.keras", fingerprint=mark, accuracy=0.8)
    make_model(runs / "poor.keras", fingerprint=mark, accuracy=0.3)
    make_model(runs / "toy.keras", kind="toy", accuracy=0.99)
    code, out, _ = run(capsys, "--data", animals)
    assert code == 0 and out.startswith("good.keras on")


def test_toy_and_photographs_meet_only_when_named_and_are_announced(capsys, animals, runs):
    path = make_model(runs / "toy.keras", kind="toy")
    code, out, err = run(capsys, "--data", animals, "--json")
    assert (code, out) == (1, "")
    assert "There is no model of your own images yet: train one with train_model.py" in err
    code, out, err = run(capsys, "--data", animals, "--json", "--model", path)
    assert code == 0 and json.loads(out)["n"] == 13
    assert "Mind that toy.keras was trained on toy faces, and this is your own images." in err


def test_a_photograph_model_on_toy_faces_is_announced(capsys, toy_folder, tmp_path):
    path = make_model(tmp_path / "photos.keras", helpers.FER_CLASSES, kind="fer2013")
    code, out, err = run(capsys, "--data", toy_folder, "--model", path, "--json")
    assert code == 0 and json.loads(out)["n"] > 100
    assert "Mind that photos.keras was trained on others, and this is toy faces." in err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--data", "nowhere"], "There is no nowhere"),
        (["--model", "nowhere.keras"], "There is no model nowhere.keras"),
        (["--split", "private"], "Only FER-2013 has a public and a private half"),
    ],
    ids=["data", "model", "split"],
)
def test_errors_are_one_sentence_on_stderr(capsys, animals, model, arguments, sentence):
    code, out, err = run(capsys, "--data", animals, "--model", model, "--json", *arguments)
    assert (code, out) == (1, "")
    assert err.splitlines()[-1].startswith(sentence) and "Traceback" not in err


def test_a_file_that_is_no_model_is_refused(capsys, animals, tmp_path):
    (tmp_path / "notes.keras").write_text("text")
    code, out, err = run(capsys, "--data", animals, "--model", tmp_path / "notes.keras", "--json")
    assert (code, out) == (1, "") and "notes.keras is not a" in err.splitlines()[-1]


def test_halves_of_fer2013_by_file_name(capsys, tmp_path, model):
    folder = write(tmp_path / "named", (0, 0, 0))
    for name, grey, file in (
        ("cat", GREYS[0], "PrivateTest_1"),
        ("cat", GREYS[0], "PublicTest_2"),
        ("dog", GREYS[0], "PrivateTest_3"),
        ("owl", GREYS[0], "PublicTest_4"),
    ):
        picture(grey, len(file)).save(folder / name / f"{file}.png")
    for split, support in (("private", [1, 1, 0]), ("public", [1, 0, 1])):
        arguments = ("--data", folder, "--model", model, "--json", "--split", split)
        code, out, _ = run(capsys, *arguments)
        result = json.loads(out)
        assert (code, result["split"], result["n"]) == (0, split, 2)
        assert [row["support"] for row in result["per_class"].values()] == support


def test_as_a_program_its_output_is_json_and_nothing_else(animals, model, tmp_path):
    command = [sys.executable, str(ROOT / "evaluate_model.py"), "--json"]
    command += ["--data", str(animals), "--model", str(model)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["n"] == 13
    assert "Traceback" not in done.stderr
    assert list(Path(tmp_path).iterdir()) == []  # it leaves nothing behind


def test_help_does_not_load_tensorflow(tmp_path):
    (tmp_path / "tensorflow.py").write_text("raise SystemExit('tensorflow was imported')")
    (tmp_path / "numpy.py").write_text("raise SystemExit('numpy was imported')")
    done = subprocess.run(
        [sys.executable, str(ROOT / "evaluate_model.py"), "--help"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert all(f"--{name}" in done.stdout for name in ("model", "data", "split", "json"))


def test_folders_with_capitals_are_scored_on_their_test_images(capsys, tmp_path, model):
    write(tmp_path / "Training", (6, 6, 6))
    write(tmp_path / "Testing", (2, 1, 1), first=20)
    _, out, err = run(capsys, "--data", tmp_path, "--model", model, "--json")
    assert json.loads(out)["n"] == 4
    assert "Taken: 18 images in Training/ as train, 4 images in Testing/ as test." in err


@pytest.mark.parametrize("split", [".", "train"])
def test_what_a_model_has_learnt_from_is_not_scored(capsys, tmp_path, split):
    write(tmp_path / "data" / split, (10, 10, 10))
    learnt = loading.load(tmp_path / "data")
    path = make_model(tmp_path / "mine.keras", fingerprint=learnt.fingerprint)
    _, out, err = run(capsys, "--data", tmp_path / "data", "--model", path, "--json")
    assert json.loads(out)["n"] == len(learnt.test) == 6
    assert ("only the 6 images that were kept aside are scored" in err) == (split == ".")


def test_ctrl_c_is_no_traceback(capsys, animals, model, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(loading, "load", interrupted)
    code, out, err = run(capsys, "--data", animals, "--model", model, "--json")
    assert (code, out) == (130, "") and err.splitlines()[-1] == "Stopped."


def test_fer2013_halves_and_copies_are_as_measured(capsys, fer2013_zip, tmp_path):
    path = make_model(tmp_path / "fer.keras", helpers.FER_CLASSES, kind="fer2013")
    arguments = ("--data", fer2013_zip, "--model", path, "--split", "private", "--json")
    code, out, _ = run(capsys, *arguments)
    result = json.loads(out)
    assert (code, result["n"]) == (0, 3589)
    assert result["without_train_copies"]["n"] == 3589 - 288
    assert result["per_class"]["disgust"]["support"] == 55
