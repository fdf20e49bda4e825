"""The shipped network's figures: right, logged, and put nowhere but between their markers."""

import json
import re
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from fetch.loading import load
from helpers import TutorialError
from helpers.models import describe, save_model, sidecar_path

sys.path.append(str(ROOT / "tools"))
import make_assets
import score_shipped

from tools import model_card

CLASSES = ("angry", "disgust", "happy")
PAGE = "Before.\n\n<!-- {0} -->\nold\n<!-- /{0} -->\n\nAfter.\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Thirty training images; ten test images, of which two are copies of training images."""
    path, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)

    def write(name: str, pixels: np.ndarray) -> np.ndarray:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path / name)
        return pixels

    def noise() -> np.ndarray:
        return rng.integers(0, 256, (48, 48), dtype=np.uint8)

    for label in CLASSES:
        for k in range(10):
            last = write(f"train/{label}/Training_{k}.png", noise())
    for label, count in zip(CLASSES, (3, 2, 3), strict=True):
        for k in range(count):
            write(f"test/{label}/{'Private' if k else 'Public'}Test_{k}.png", noise())
    write("test/happy/PublicTest_8.png", last)
    write("test/happy/PrivateTest_9.png", last)
    return path


@pytest.fixture
def always_happy(tmp_path: Path, folder: Path) -> Path:
    """A network that says "happy" with a probability of 0.82, whatever it sees."""
    inputs = keras.Input((48, 48, 1))
    x = keras.layers.GlobalAveragePooling2D()(inputs)
    outputs = keras.layers.Dense(3, activation="softmax", kernel_initializer="zeros")
    model = keras.Model(inputs, outputs(x))
    outputs.set_weights([np.zeros((1, 3)), np.log([0.09, 0.09, 0.82])])  # no edge of a bin
    log = {name: [0.5, 0.4] for name in ("loss", "accuracy", "val_loss", "val_accuracy")}
    about = {
        "settings": {"images": 27, "script": "none"},
        "epochs": 2,
        "temperature": 2.0,
        "history": {"log": log, "events": [], "seconds": 60.0},
    }
    path = tmp_path / "net.keras"
    save_model(model, path, describe(load(folder)) | about)
    return path


@pytest.fixture
def metrics_file(always_happy: Path) -> Path:
    return always_happy.with_name("net.metrics.json")


def test_the_figures_are_those_known_beforehand(always_happy, metrics_file, folder) -> None:
    metrics = score_shipped.score(always_happy, folder, metrics_file)
    assert metrics == json.loads(metrics_file.read_text("utf-8"))
    happy = {"private": (3, 6), "public": (2, 4), "test": (5, 10)}
    for name, (right, n) in happy.items():
        part = metrics["parts"][name]
        assert part["n"] == n
        assert part["copies_of_training_images"] == (2 if name == "test" else 1)
        for kind in ("single", "flip"):
            assert part[kind]["accuracy"] == pytest.approx(right / n)
            low, high = part[kind]["accuracy_interval"]
            assert 0 <= low < right / n < high <= 1
            assert part[kind]["per_class"]["angry"]["recall"] == 0
            assert part[kind]["per_class"]["happy"]["recall_interval"] == [1, 1]
    new = metrics["parts"]["test"]["single"]["without_train_copies"]
    assert (new["n"], new["accuracy"]) == (8, 3 / 8)
    assert metrics["confusion"] == [[0, 0, 3], [0, 0, 2], [0, 0, 5]]
    # 0.82 sure, 0.5 right; the square roots of 0.09, 0.09 and 0.82 make it 0.601 sure.
    error = metrics["parts"]["test"]["single"]["expected_calibration_error"]
    after = 0.82**0.5 / (0.82**0.5 + 0.6) - 0.5
    assert error == pytest.approx({"before": 0.32, "after": after}, abs=1e-4)
    assert sum(metrics["reliability"]["before"]["count"]) == 10


def test_a_mirror_image_counts_half(tmp_path, always_happy, metrics_file, folder) -> None:
    data = load(folder)
    inputs = keras.Input((48, 48, 1))
    dense = keras.layers.Dense(3, activation="softmax")
    model = keras.Model(inputs, dense(keras.layers.Flatten()(inputs)))
    info = describe(data) | {"temperature": 1.0}
    flip = score_shipped.evaluate(model, info, data)["parts"]["test"]["flip"]
    pixels = data.test.images[..., None] / 255
    both = np.asarray(model(pixels)) + np.asarray(model(pixels[:, :, ::-1]))
    assert flip["accuracy"] == np.mean(both.argmax(axis=1) == data.test.labels)


def test_a_network_is_scored_twice_only_for_a_reason(always_happy, metrics_file, folder) -> None:
    earlier = {"date": "2020-01-01", "network": "0" * 16, "note": "another"}
    metrics_file.write_text(json.dumps({"evaluations": [earlier]}), "utf-8")
    score_shipped.score(always_happy, folder, metrics_file)
    once = metrics_file.read_text("utf-8")
    with pytest.raises(TutorialError, match="--again"):
        score_shipped.score(always_happy, folder, metrics_file)
    assert metrics_file.read_text("utf-8") == once
    log = score_shipped.score(always_happy, folder, metrics_file, "a bug")["evaluations"]
    assert log[0] == earlier
    assert [row["split"] for row in log[1:]] == ["private", "public", "test"] * 2
    assert ["a bug" in row["note"] for row in log] == [False] * 4 + [True] * 3
    assert {row["network"] for row in log[1:]} == {score_shipped.file_hash(always_happy)}


def test_other_images_and_a_damaged_log_are_refused(always_happy, metrics_file, folder) -> None:
    sidecar = sidecar_path(always_happy)
    info = json.loads(sidecar.read_text("utf-8"))
    info["data"]["fingerprint"] = "0" * 16
    sidecar.write_text(json.dumps(info), "utf-8")
    with pytest.raises(TutorialError, match="--data"):
        score_shipped.score(always_happy, folder, metrics_file)
    assert not metrics_file.exists()
    metrics_file.write_text('{"evaluations": [', "utf-8")
    with pytest.raises(TutorialError, match="damaged"):
        score_shipped.score(always_happy, folder, metrics_file)


def test_the_sidecars_temperature_wins(always_happy, folder) -> None:
    model, data = keras.models.load_model(always_happy), load(folder)
    info = json.loads(sidecar_path(always_happy).read_text("utf-8"))
    assert score_shipped.find_temperature(model, info, data)["value"] == 2.0
    del info["temperature"]
    # Of the three images kept aside one is happy: the most modest answer is the best one.
    found = score_shipped.find_temperature(model, info, data)
    assert found["value"] == pytest.approx(20, rel=0.01)
    assert "3 training images" in found["from"]
    info["validation"] = {"accuracy": 0.9}
    with pytest.raises(TutorialError, match="temperature"):
        score_shipped.find_temperature(model, info, data)


def test_both_pages_change_between_the_markers_only(always_happy, metrics_file, folder, tmp_path):
    pages = {name: tmp_path / f"{name}.md" for name in ("figures", "results")}
    for name, page in pages.items():
        page.write_text(PAGE.format(name), "utf-8")
    metrics = score_shipped.score(always_happy, folder, metrics_file)
    for _ in range(2):  # again changes nothing
        model_card.publish({"label": metrics}, *pages.values())
        texts = {name: page.read_text("utf-8") for name, page in pages.items()}
        for name, text in texts.items():
            first, inside, last = re.split(rf"<!-- /?{name} -->", text)
            assert (first, last) == ("Before.\n\n", "\n\nAfter.\n")
            assert "old" not in inside and "None" not in inside and "nan" not in inside
            rows = [line for line in inside.splitlines() if line.startswith("|")]
            tables = re.findall(r"(?:^\|.*\n?)+", inside, flags=re.MULTILINE)
            assert rows and all(len({x.count("|") for x in t.splitlines()}) == 1 for t in tables)
    assert "| whole test set | 10 | .500 (" in texts["figures"]
    assert "**angry**, taken for happy in 100% of its images" in texts["figures"]
    assert "| [the shipped network](models/README.md) | .500 | .500 |" in texts["results"]
    pages["results"].write_text("No markers.\n", "utf-8")
    with pytest.raises(TutorialError, match="<!-- results -->"):
        model_card.publish({"label": metrics}, *pages.values())
    assert pages["results"].read_text("utf-8") == "No markers.\n"


VOTES = [  # angry, disgust, happy, contempt, unknown, no face
    [0, 0, 10, 0, 0, 0],  # said happy: met
    [9, 1, 0, 0, 0, 0],  # missed
    [0, 0, 5, 5, 0, 0],  # seven classes: met; eight: no winner
    [0, 0, 4, 6, 0, 0],  # seven classes: met; eight: contempt, missed
    [4, 0, 4, 0, 2, 0],  # no winner
    [0, 0, 1, 0, 9, 0],  # nobody names one of the classes
]


def test_the_majority_of_the_votes_is_met_as_counted_by_hand(monkeypatch, folder) -> None:
    monkeypatch.setattr(score_shipped, "count_votes", lambda data, part: np.array(VOTES))
    data, always = load(folder), np.tile([0.1, 0.1, 0.8], (6, 1))
    found = score_shipped.by_vote(data.test.take(np.arange(6)), data, always)
    assert (found["n"], found["accuracy"]) == (4, 0.75)
    assert found["per_class"]["angry"]["recall"] == 0
    assert found["eight_classes"] == {"n": 3, "accuracy": pytest.approx(1 / 3)}


def test_data_without_votes_has_no_figures_by_vote(folder) -> None:
    data = load(folder)
    assert score_shipped.by_vote(data.test, data, np.ones((len(data.test), 3)) / 3) is None


def test_the_two_networks_stand_side_by_side(monkeypatch, always_happy, metrics_file, folder):
    votes = np.tile([0, 0, 10, 0, 0, 0], (10, 1))
    monkeypatch.setattr(score_shipped, "count_votes", lambda data, part: votes[: len(part)])
    metrics = score_shipped.score(always_happy, folder, metrics_file)
    both = {"label": metrics, "vote": metrics | {"adjusted_by": 0.25}}
    text = model_card.votes_card(both)
    assert "| accuracy by vote | 6 | 1.000 (1.000 to 1.000) | 1.000 (1.000 to 1.000) |" in text
    assert "| accuracy by label | 6 | .500 (" in text
    assert "| adjusted by | 0.25 of the log prior |" in text
    assert "accuracy .850 (reached: 1.000)" in text and "nan" not in text


def test_the_projects_pages_have_their_markers() -> None:
    for page, marker in (
        ("models/README.md", "figures"),
        ("models/README.md", "votes"),
        ("README.md", "results"),
        ("README.md", "votes"),
    ):
        text = (ROOT / page).read_text("utf-8")
        assert text.count(f"<!-- {marker} -->") == text.count(f"<!-- /{marker} -->") == 1


def test_charts_need_metrics_of_the_same_network(always_happy, metrics_file, folder, tmp_path):
    assets = tmp_path / "assets"
    with pytest.raises(TutorialError, match="score_shipped"):
        make_assets.draw(always_happy, metrics_file, assets, None)
    score_shipped.score(always_happy, folder, metrics_file)
    make_assets.draw(always_happy, metrics_file, assets, None)
    drawn = {path.stem for path in assets.glob("*.png")}
    assert drawn == {
        "confusion_matrix", "learning_curves", "reliability", "per_class", "sample_predictions"
    }  # fmt: skip
