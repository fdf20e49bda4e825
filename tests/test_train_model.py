"""train_model.py as a user runs it, on a small folder of pictures."""

import json
import os
import shutil
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
from drawn import encode, make, noise, write
from PIL import Image

import train_model
from helpers import ROOT
from helpers.models import sidecar_path

CLASSES = ("calm", "loud", "mild")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """train/ and test/ with three classes of noisy pictures; "mild" has no test image."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for split, n in (("train", 30), ("test", 8)):
        for number, name in enumerate(CLASSES):
            if (split, name) == ("test", "mild"):
                continue
            place = folder / split / name
            place.mkdir(parents=True)
            for k in range(n):
                image = rng.normal(70 + 50 * number, 30, (48, 48)).clip(0, 255)
                Image.fromarray(image.astype(np.uint8)).save(place / f"{k}.png")
    (folder / "train" / "calm" / "broken.png").write_bytes(b"")
    return folder


def test_help_is_there_without_tensorflow():
    code = "import sys, train_model\ntry: train_model.main(['--help'])\nexcept SystemExit: pass\n"
    code += "assert not {'tensorflow', 'numpy', 'keras'} & set(sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for option in (
        "--data",
        "--pad",
        "--by-subject",
        "--epochs",
        "--output",
        "--resume",
        "--images",
        "--batch-size",
    ):
        assert option in done.stdout


def test_trains_reports_and_saves(pictures, tmp_path, capsys):
    output = tmp_path / "new" / "emotion_model.h5"
    arguments = ["--data", str(pictures), "--epochs", "2", "--output", str(output)]
    assert train_model.main([*arguments, "--batch-size", "32"]) == 0
    shown = capsys.readouterr()
    assert "calm/broken.png" in shown.out
    for word in (*CLASSES, "precision", "recall", "f1-score", "On the 16 test images"):
        assert word in shown.out
    assert "2/2" in shown.err and "Traceback" not in shown.err
    with Image.open(output.with_name("emotion_model_confusion_matrix.png")) as picture:
        assert min(picture.size) > 400
    info = json.loads(sidecar_path(output).read_text())
    assert info["classes"] == list(CLASSES) and info["epochs"] == 2
    p = keras.models.load_model(output).predict(np.zeros((1, 48, 48, 1)), verbose=0)
    assert p.shape == (1, 3)

    assert train_model.main([*arguments, "--batch-size", "32", "--resume"]) == 0
    again = capsys.readouterr().out
    assert "is finished (2 epochs): loaded it" in again
    assert again.split("precision")[1].split("Saved")[0] in shown.out
    assert train_model.main([*arguments, "--resume"]) == 1
    assert "another batch_size (32, now 64)" in capsys.readouterr().err


def test_a_small_part_of_the_images(pictures, tmp_path, capsys):
    arguments = ["--data", str(pictures), "--epochs", "1", "--images", "20"]
    assert train_model.main([*arguments, "--output", str(tmp_path / "m.keras")]) == 0
    assert "Training on 20 images, choosing the best epoch on 9 others" in capsys.readouterr().out


def test_a_validation_folder_chooses_and_persons_are_not_divided(tmp_path, capsys):
    make(
        tmp_path / "data",
        ["Train", "Val"],
        [f"{c}/S{k}" for c in ("cat", "dog") for k in range(5)],
        n=2,
    )
    write(tmp_path / "data", {"Train/cat/S2/wide.png": encode(noise(1, (48, 60)))})
    arguments = ["--data", str(tmp_path / "data"), "--epochs", "1"]
    assert train_model.main([*arguments, "--output", str(tmp_path / "m.keras")]) == 0
    shown = capsys.readouterr().out
    assert "Training on 21 images, choosing the best epoch on 20 others" in shown
    assert "figures are those of the 20 validation images" in shown
    assert "not square, so that they lost their sides: 1 (" in shown
    shutil.rmtree(tmp_path / "data" / "Val")
    arguments += ["--by-subject", "--pad"]
    assert train_model.main([*arguments, "--output", str(tmp_path / "n.keras")]) == 0
    shown = capsys.readouterr().out
    assert "not square, so that they got bars: 1." in shown


def test_a_folder_is_named_and_letters_without_a_font_are_announced(tmp_path, capsys):
    make(tmp_path / "data", ["train", "test"], ["cat", "\U000f0000"], n=4)
    arguments = ["--data", str(tmp_path / "data"), "--epochs", "1"]
    assert train_model.main([*arguments, "--output", str(tmp_path / "m.keras")]) == 0
    shown = capsys.readouterr()
    assert "Data: data/, as you named it." in shown.out and "UserWarning" not in shown.err
    assert "Boxes in m_confusion_matrix.png are letters that no font here has" in shown.out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--output", "model.pkl"], "must be the name of a file that ends in .keras or .h5"),
        (["--data", "nowhere", "--output", "m.keras"], "nowhere"),
    ],
)
def test_errors_are_one_sentence(arguments, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert train_model.main(arguments) == 1
    shown = capsys.readouterr().err
    assert sentence in shown and shown.count("\n") == 1 and "Traceback" not in shown


@pytest.mark.parametrize("arguments", [["--epochs", "0"], ["--images", "-3"], ["--epochs", "x"]])
def test_impossible_numbers_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        train_model.main(arguments)
    assert caught.value.code == 2 and arguments[0] in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C reaches a whole console on Windows")
def test_ctrl_c_leaves_a_checkpoint_to_resume(pictures, tmp_path):
    output = tmp_path / "m.keras"
    command = [sys.executable, "train_model.py", "--data", str(pictures), "--output", str(output)]
    running = subprocess.Popen(
        [*command, "--epochs", "500"], cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    shown = b""
    while b" 1/500 " not in shown and (more := running.stderr.read1()):
        shown += more
    running.send_signal(signal.SIGINT)
    shown += running.communicate()[0] or b""
    assert running.returncode == 130, shown.decode()
    with np.load(tmp_path / "m.keras.checkpoint.npz") as file:
        epochs = len(json.loads(str(file["arr_0"]))["log"]["loss"])
    assert epochs >= 1
    done = subprocess.run(
        [*command, "--epochs", str(epochs + 1), "--resume"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert f"after epoch {epochs}." in done.stdout and output.exists()
