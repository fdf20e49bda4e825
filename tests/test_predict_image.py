"""The script predict_image.py, from the command line's side."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import helpers
import predict_image
from helpers import FER_CLASSES, faces, models


def make_model(path, kind="fer2013", k=7, sidecar=True):
    """Save a network that finds everything happy (or whatever its fourth class is)."""
    import keras

    inputs = keras.Input((48, 48, 1))
    outputs = keras.layers.Dense(k, activation="softmax")(keras.layers.Flatten()(inputs))
    model = keras.Model(inputs, outputs)
    model.layers[-1].set_weights([np.zeros((48 * 48, k)), np.eye(k)[min(3, k - 1)] * 3])
    data = {"name": kind, "kind": kind, "fingerprint": "0"}
    info = {"classes": list(FER_CLASSES[:k]), "data": data, "validation": {"accuracy": 0.5}}
    models.save_model(model, path, info)
    if not sidecar:
        models.sidecar_path(path).unlink()
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("model") / "emotion_model.h5")


@pytest.fixture
def photos(tmp_path):
    astronaut = faces.portraits()["astronaut"]
    astronaut.save(tmp_path / "astronaut.jpg")
    Image.new("RGB", (320, 200), "white").save(tmp_path / "wall.png")
    (tmp_path / "notes.jpg").write_text("text")
    for name in ("readme.md", "model.h5", "paper.pdf", "._astronaut.jpg", "Thumbs.db"):
        (tmp_path / name).write_text("not looked at in a folder")
    return tmp_path


def run(capsys, *arguments):
    code = predict_image.main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_json_of_a_folder_is_the_documented_shape(capsys, photos, model):
    code, out, _ = run(capsys, photos, "--model", model, "--json")
    results = {item["file"].replace("\\", "/").split("/")[-1]: item for item in json.loads(out)}
    assert code == 0 and list(results) == ["astronaut.jpg", "notes.jpg", "wall.png"]
    (face,) = results["astronaut.jpg"]["faces"]
    assert set(face) == {"box", "expression", "probabilities", "warnings"}
    assert face["warnings"] == []
    assert face["expression"] == "happy" and list(face["probabilities"]) == list(FER_CLASSES)
    assert sum(face["probabilities"].values()) == pytest.approx(1, abs=1e-4)
    left, top, right, bottom = face["box"]
    assert left < 220 < right and top < 122 < bottom
    assert (
        set(results["notes.jpg"]) == {"file", "error"}
        and "picture" in results["notes.jpg"]["error"]
    )
    assert results["wall.png"]["faces"] == []


def test_boxes_are_in_pixels_of_the_file_even_of_a_large_one(capsys, tmp_path, model):
    portrait = faces.portraits()["astronaut"].resize((4096, 4096))
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side
    portrait.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "big.jpg", exif=exif)
    _, out, _ = run(capsys, tmp_path / "big.jpg", "--model", model, "--json")
    left, top, right, bottom = json.loads(out)[0]["faces"][0]["box"]
    assert (left + right) / 2 / 8 == pytest.approx(220, abs=12)
    assert (top + bottom) / 2 / 8 == pytest.approx(122, abs=12)


def test_text_names_the_expression_and_offers_the_whole_image(capsys, photos, model):
    code, out, err = run(capsys, photos / "astronaut.jpg", photos / "wall.png", "--model", model)
    assert code == 0 and "looks happy" in out and "angry" in out
    assert "no face was found; if it is one, add --whole-image" in out
    assert "emotion_model.h5" in err
    code, out, _ = run(capsys, photos / "wall.png", "--model", model, "--whole-image")
    assert "face 1 at [0, 0, 320, 200] looks happy" in out


def test_patterns_are_expanded_and_brackets_in_a_name_are_not(photos):
    odd = photos / "me [1].png"
    Image.new("RGB", (48, 48)).save(odd)
    assert predict_image.expand([odd]) == [odd]
    assert predict_image.expand([photos / "*.jpg"]) == [
        photos / "astronaut.jpg",
        photos / "notes.jpg",
    ]
    assert predict_image.expand([photos / "*.gif"]) == [photos / "*.gif"]


def test_what_is_no_picture_in_a_folder_is_counted_and_heic_is_named(capsys, photos, model):
    (photos / "phone.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    code, out, err = run(capsys, photos, "--model", model)
    assert code == 0 and "phone.HEIC is a HEIC picture, which cannot be read here" in out
    assert f"Left aside in {photos}: 3 that are no pictures, folders among them." in err


def test_a_folder_that_cannot_be_read_gets_a_sentence(capsys, photos, model, monkeypatch):
    def iterdir(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(type(photos), "iterdir", iterdir)
    code, _, err = run(capsys, photos, "--model", model)
    assert code == 1 and err.endswith(f"{photos} cannot be read: Permission denied.\n")


def test_it_fails_only_if_every_file_fails(capsys, photos, model):
    (photos / "empty").mkdir()
    bad = [photos / "nowhere.jpg", photos / "notes.jpg", photos / "empty"]
    code, out, _ = run(capsys, *bad, "--model", model)
    assert code == 1 and len(out.strip().splitlines()) == 3
    code, _, _ = run(capsys, *bad, photos / "wall.png", "--model", model)
    assert code == 0


@pytest.mark.parametrize("as_json", [False, True])
def test_a_file_that_is_no_model_gets_one_sentence(capsys, photos, as_json):
    (photos / "m.keras").write_text("no model")
    arguments = [photos / "wall.png", "--model", photos / "m.keras"] + ["--json"] * as_json
    code, out, err = run(capsys, *arguments)
    assert code == 1 and "m.keras is not a" in err and "Traceback" not in err
    assert ("error" in json.loads(out)) if as_json else out == ""


def test_without_a_model_it_says_how_to_get_one(capsys, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(helpers, "RUNS", tmp_path / "project" / "runs")
    monkeypatch.setattr(helpers, "MODELS", tmp_path / "project" / "models")
    code, _, err = run(capsys, photos / "wall.png")
    assert code == 1 and "python train_model.py" in err


def test_the_default_is_the_best_for_photographs_and_toys_are_announced(
    capsys, photos, tmp_path, monkeypatch
):
    project = tmp_path / "project"
    (project / "runs").mkdir(parents=True)
    monkeypatch.setattr(helpers, "RUNS", project / "runs")
    monkeypatch.setattr(helpers, "MODELS", project / "models")
    make_model(project / "runs" / "toys.keras", kind="toy")
    _, _, err = run(capsys, photos / "wall.png")
    assert "toys.keras" in err and "trained on toy faces only" in err
    make_model(project / "runs" / "real.keras", k=4)
    _, out, err = run(capsys, photos / "astronaut.jpg", "--json")
    assert "real.keras" in err and "toy faces" not in err
    assert list(json.loads(out)[0]["faces"][0]["probabilities"]) == list(FER_CLASSES[:4])


def test_a_model_without_a_sidecar_is_taken_for_one_of_fer(capsys, photos, tmp_path):
    path = make_model(tmp_path / "plain.keras", sidecar=False)
    _, out, err = run(capsys, photos / "astronaut.jpg", "--model", path, "--json")
    assert json.loads(out)[0]["faces"][0]["expression"] == "happy" and "in this order" in err


def test_the_user_names_the_order_of_a_models_classes(capsys, photos, tmp_path):
    path, turned = make_model(tmp_path / "plain.keras", sidecar=False), FER_CLASSES[::-1]
    arguments = [photos / "astronaut.jpg", "--model", path, "--json"]
    _, out, err = run(capsys, *arguments, "--classes", ",".join(turned[1:] + turned[:1]))
    face = json.loads(out)[0]["faces"][0]
    assert list(face["probabilities"]) == [*turned[1:], turned[0]]
    assert face["expression"] == turned[4] and "taking them for sad, neutral, happy" in err
    code, _, err = run(capsys, *arguments, "--classes", "smile, frown")
    assert code == 1 and "gives 7 probabilities, but there are 2 classes (smile, frown)" in err


def test_folders_with_square_brackets_and_typed_paths(capsys, photos, model, monkeypatch):
    folder = photos / "my [old] pictures"
    folder.mkdir()
    (photos / "wall.png").rename(folder / "wall.png")
    assert predict_image.expand([folder / "*.png"]) == [folder / "wall.png"]
    monkeypatch.setenv("HOME", str(photos))
    monkeypatch.setenv("USERPROFILE", str(photos))
    for typed in (f'"{folder / "wall.png"}"', "~/my [old] pictures/wall.png"):
        code, out, _ = run(capsys, typed, "--model", f"'{model}'")
        assert code == 0 and "no face was found" in out
    with pytest.raises(SystemExit):
        run(capsys, "https://example.org/me.jpg")
    assert "is an address of the web: download it first" in capsys.readouterr().err


def test_help_does_not_load_tensorflow():
    code = (
        "import sys, predict_image\n"
        "try: predict_image.main(['--help'])\n"
        "except SystemExit: print('tensorflow' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=helpers.ROOT, check=True
    )
    assert "False" in done.stderr and "--whole-image" in done.stdout


def test_a_name_that_the_console_lacks_does_not_end_the_report(photos, model):
    (photos / "wall.png").rename(photos / "стена 🙂.png")
    command = [sys.executable, "predict_image.py", photos / "стена 🙂.png", "--model", model]
    environment = os.environ | {"PYTHONIOENCODING": "cp1252"}
    done = subprocess.run(command, capture_output=True, cwd=helpers.ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    assert rb"\u0441\u0442\u0435\u043d\u0430 \U0001f642.png: no face was found" in done.stdout


def test_the_script_as_a_process_prints_json_and_nothing_else(photos, model):
    command = [sys.executable, "predict_image.py", photos / "wall.png", "--model", model, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=helpers.ROOT, check=True)
    assert json.loads(done.stdout) == [{"file": str(photos / "wall.png"), "faces": []}]
