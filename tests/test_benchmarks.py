"""The benchmarks run, and their tables and files hold what they should."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT

FOLDER = ROOT / "benchmarks"
SCRIPTS = (
    "input_pipeline",
    "scale",
    "prediction",
    "time_to_accuracy",
    "steps",
    "cures",
    "faces",
    "photographs",
    "transfer",
)
Result = Callable[[str], tuple[dict, str]]  # from a script's name to its JSON and output


@pytest.fixture(autouse=True)
def scripts_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)


@pytest.fixture(scope="module")
def result(toy_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """Start every script at once on toy faces; return what gives one's JSON and output."""
    to = tmp_path_factory.mktemp("results")
    options = ["--quick", f"--data={toy_folder}", f"--output={to}"]
    started = {
        name: subprocess.Popen(
            [sys.executable, FOLDER / f"{name}.py", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in SCRIPTS
    }
    done = {}

    def finish(name: str) -> tuple[dict, str]:
        if name not in done:
            out, err = started[name].communicate(timeout=600)
            assert started[name].returncode == 0, err
            done[name] = json.loads((to / f"{name}.json").read_text("utf-8")), out
        return done[name]

    yield finish
    for process in started.values():
        process.kill()
        process.communicate()


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_prints_the_table_that_its_files_hold(
    name: str, result: Result, toy_folder: Path
) -> None:
    import report

    found, out = result(name)
    assert {"command", "date", "machine", "title", "notes", "data", "rows"} <= set(found)
    assert found["command"] == f"python benchmarks/{name}.py --quick"
    assert found["data"]["name"] == "toy faces"
    assert len(found["data"]["fingerprint"]) == 16
    shown = report.table(found["rows"])
    assert out.startswith(found["title"]) and out.count(shown) == 1
    assert str(toy_folder) not in json.dumps(found) + out


def test_every_pipeline_gives_images(result: Result) -> None:
    rows = result("input_pipeline")[0]["rows"]
    assert len({row["pipeline"] for row in rows}) == 5
    for row in rows:
        rate = row["images_per_second"]
        assert 0 < rate["lowest"] <= rate["median"] <= rate["highest"]
    assert rows[0]["times_the_first"] == 1


def test_scale_repeats_the_data(result: Result) -> None:
    once, more = result("scale")[0]["rows"]
    assert more["images"] == 4 * once["images"] > 0
    assert once["against_once"] == 1 and more["images_per_second"]["median"] > 0
    if os.name != "nt":
        assert more["peak_MiB"]["median"] > more["MiB_of_images"] > 0


def test_our_ways_of_prediction_agree(result: Result) -> None:
    found = result("prediction")[0]
    keras, traced, fast = found["rows"]
    assert keras["same_answers"] == traced["same_answers"] == 1
    assert traced["largest_difference"] < 1e-4
    assert fast["same_answers"] >= 0.98 and fast["largest_difference"] < 0.1
    for row in found["rows"]:
        assert row["ms_for_one_face"]["median"] > 0
        assert row["faces_per_second_on_1_core"]["median"] > 0
        assert 0 <= row["accuracy"] <= 1
        assert 0 <= row["macro_F1_by_vote"] <= 1
    assert "A quick run leaves out the networks inside packages." in found["notes"]


def test_faces_are_timed_and_counted(result: Result) -> None:
    rows = result("faces")[0]["rows"]
    timed = [row for row in rows if "ms" in row]
    assert len(timed) == 7 and all(row["ms"]["median"] > 0 for row in timed)
    composed = [row for row in rows if "found_live" in row]
    assert len(composed) == 6
    for row in composed:
        assert row["found"] > 0.8 and row["found_live"] > 0.8
        assert row["faces"] > 0 and row["false_alarms"] <= 1
    alarms = [row for row in rows if "without" in row["what"] or "parts" in row["what"]]
    assert [(r["false_alarms"], r["false_alarms_live"]) for r in alarms] == [(0, 0)] * 2
    (enlarged,) = [row for row in rows if row["what"] == "enlarged training images"]
    assert 0 <= enlarged["found"] <= 1
    assert all(0 <= row["same_answers"] <= 1 for row in rows if "same_answers" in row)


def test_spoilt_photographs_are_found_and_scored(result: Result) -> None:
    *networks, found = result("photographs")[0]["rows"]
    assert networks
    assert 0 < found["as it is"] <= 1
    for row in networks:
        assert 0 <= row["accuracy"] <= 1 and 0 <= row["macro_F1"] <= 1


def test_a_crop_shows_what_lies_in_its_frame() -> None:
    from photographs import SCENE, SIDE, compose, crop
    from PIL import Image

    scene = compose(
        np.full((48, 48), 250, np.uint8), Image.new("RGB", SCENE), np.random.default_rng(1)
    )
    bright = np.argwhere(np.asarray(scene.convert("L")) > 200)
    (top, left), (bottom, right) = bright.min(axis=0), bright.max(axis=0) + 1
    assert SIDE - 20 <= right - left <= SIDE
    inside = crop(scene, (left + 10, top + 10, right - 10, bottom - 10), 1, 0)
    assert inside.shape == (bottom - top - 20, right - left - 20)
    assert inside.min() > 200
    assert crop(scene, (left, top, right, bottom), 1.5, 0.5)[0].max() < 50, "above lies the scene"


def test_composed_pictures_hold_faces_where_they_say() -> None:
    from faces import compose, hits
    from PIL import Image

    from helpers.faces import Face

    scene = Image.new("RGB", (640, 480), "grey")
    picture, middles = compose(scene, 60, 30, 10, np.random.default_rng(1))
    assert picture.size == scene.size and 1 <= len(middles) <= 10
    apart = np.abs(middles[:, None] - middles).max(axis=2) + 1000 * np.eye(len(middles))
    assert apart.min() >= 2.2 * 60 - 1
    for x, y in middles.astype(int):
        assert picture.getpixel((x, y)) != scene.getpixel((x, y))

    def face(x: float, y: float, side: float) -> Face:
        return Face((x - side / 2, y - side / 2, x + side / 2, y + side / 2), None)

    there = np.array([[100, 100], [300, 100]])
    assert hits([face(110, 95, 66), face(300, 130, 60)], there, 60) == 1  # one too far off
    assert hits([face(100, 100, 120), face(300, 100, 50)], there, 60) == 1  # one too large
    assert hits([], there, 60) == 0


def test_time_to_accuracy_keeps_whole_curves(result: Result) -> None:
    rows = result("time_to_accuracy")[0]["rows"]
    assert len({row["recipe"] for row in rows}) == 3
    for row in rows:
        minutes, accuracy = np.transpose(row["curve"])
        assert len(minutes) == row["epochs"] == 2
        assert (np.diff([0, *minutes]) > 0).all() and minutes[-1] == row["minutes"]
        assert row["best_accuracy"] == max(accuracy)


def test_steps_keep_every_run_and_its_recipe(result: Result) -> None:
    from training.recipe import Recipe

    found = result("steps")[0]
    assert found["budget"]["images"] == 60 and found["budget"]["epochs"] == 2
    first, second = found["rows"]
    assert (first["change"], second["change"]) == ("the lesson's network", "residual blocks")
    for row, network in ((first, "lesson"), (second, "residual")):
        (run,) = row["runs"]
        assert row["accuracy"]["median"] == pytest.approx(run["accuracy"], abs=1e-4)
        assert Recipe(**row["recipe"][0]).network == network


def test_cures_are_scored_on_whole_images_and_keep_every_run(result: Result) -> None:
    rows = result("cures")[0]["rows"]
    assert [row["network"] for row in rows][::3] == ["bare", "+ augmentation"]
    for row in rows:
        (run,) = row["runs"]
        assert len(run["loss"]) == 2
        assert row["gap"]["median"] == pytest.approx(run["training"] - run["validation"], abs=1e-4)


def test_every_step_adds_its_change_to_the_one_above() -> None:
    from dataclasses import asdict

    from steps import STEPS, recipes

    from training.recipe import LESSON

    made = recipes(12)
    assert asdict(made["the lesson's network"]) == asdict(LESSON) | {"epochs": 12}
    above = None
    for name, change, base in STEPS:
        before = made[base] if base else above
        if before:
            differs = {k for k, v in asdict(made[name]).items() if v != getattr(before, k)}
            assert differs == set(change), name
        above = made[name]
    last = made["a teacher, the shipped network"]
    assert (last.epochs, last.small, last.decay, last.warm_up) == (12, 6, 6, 1)
    assert made["no class weights"].augment == "affine"


def test_the_whole_recipe_less_one_change_differs_in_that_change_alone() -> None:
    from dataclasses import asdict

    from steps import STEPS, WHOLE, row, without

    from training.recipe import LESSON

    made = without(40)
    whole = asdict(made.pop(WHOLE))
    assert (whole["mixup"], whole["teacher"], whole["average"]) == (0.2, 0.5, 0.998)
    changes = {f"without: {name}": change for name, change, base in STEPS if not base}
    changes.pop("without: the lesson's network")
    changes["without: residual blocks"] = {"network": "lesson", "small": 0}
    for label, change in changes.items():
        less = asdict(made.pop(label))
        assert {key for key in less if less[key] != whole[key]} == set(change), label
        assert all(less[key] == getattr(LESSON, key) for key in change)
    assert list(made) == ["without: class weights"]

    def run(seed: int, accuracy: float) -> dict:
        figures = ("macro_f1", "recall_of_the_rarest", "processor_seconds")
        return {"seed": seed, "accuracy": accuracy} | dict.fromkeys(figures, 0.5)

    full, less = [run(1, 0.6), run(2, 0.7)], [run(2, 0.66), run(1, 0.58), run(3, 0.1)]
    found = row("without: mixup", LESSON, less, full)["accuracy_lost"]
    assert found == {"median": 0.03, "lowest": 0.02, "highest": 0.04}, "the same seeds, in pairs"
    assert "accuracy_lost" not in row("mixup", LESSON, less)


def test_transfer_scores_every_way(result: Result) -> None:
    found = result("transfer")[0]
    assert found["budget"]["weights"] == "random"
    pixels, frozen, tuned, own = found["rows"]
    assert pixels["parameters"] == (48 * 48 + 1) * 7 and pixels["epochs"] == 0
    assert frozen["ms_per_face"] == tuned["ms_per_face"], "one architecture is timed once"
    assert own["epochs"] == 2 and frozen["epochs"] == 0 < tuned["epochs"]
    assert frozen["parameters"] == tuned["parameters"] < own["parameters"]
    for row in found["rows"]:
        ends = row["accuracy"]
        assert 0 <= ends["lowest"] <= ends["median"] <= ends["highest"] <= 1
        assert row["images"] == found["budget"]["images"] and row["ms_per_face"] > 0


def test_only_the_last_blocks_learn_and_no_normalisation() -> None:
    from transfer import tune, unfreeze

    from helpers.data import Split
    from helpers.networks import build_residual

    model = build_residual(3, size=48)
    images = np.random.default_rng(1).integers(0, 256, (8, 48, 48), dtype=np.uint8)
    unfreeze(model, 0.25)
    before = {v.path: v.numpy() for v in model.weights}
    assert tune(model, Split(images, np.arange(8) % 3, np.arange(8)), 1e-2, seconds=0) == 2
    changed = {v.path for v in model.weights if not np.array_equal(before[v.path], v)}
    assert changed and not any("batch_normalization" in path for path in changed)
    count, named = len(model.layers), {layer.name for layer in model.layers if layer.trainable}
    assert {path.split("/")[0] for path in changed} <= named
    first = round(0.75 * count)
    assert not named & {layer.name for layer in model.layers[:first]}


def test_the_control_with_random_weights_is_no_constant() -> None:
    """Its features are tiny, about 1e-12; a last layer learns from them all the same."""
    from transfer import with_head

    from fetch.toy_faces import draw_faces
    from helpers.data import Split
    from helpers.evaluation import predict
    from helpers.networks import pretrained

    labels = np.arange(56) % 7
    toys = Split(draw_faces(labels), labels, np.full(56, "drawn"))
    base = pretrained(32)
    assert predict(base, toys.images).std() < 1e-6, "as small as the control's"
    model, _ = with_head(base, toys, 7, epochs=60)
    answers = predict(model, toys.images).argmax(axis=1)
    assert len(np.unique(answers)) == 7
    assert np.mean(answers == labels) > 0.5  # of what it has learnt from


def test_own_epochs_are_those_that_were_timed() -> None:
    import report
    from transfer import own_epochs

    known = json.loads((report.RESULTS / "time_to_accuracy.json").read_text("utf-8"))
    row = next(row for row in known["rows"] if row["recipe"] == "ours")
    assert own_epochs(row["minutes"]) == row["epochs"]
    assert own_epochs(0) == 2


def test_the_first_time_to_reach() -> None:
    from time_to_accuracy import first_reached

    curve = [[1.0, 0.4], [2.0, 0.55], [3.0, 0.5], [4.0, 0.6]]
    assert first_reached(curve, 0.5) == 2.0
    assert first_reached(curve, 0.6) == 4.0
    assert first_reached(curve, 0.65) is None


def test_agreement_of_known_answers() -> None:
    from prediction import agreement

    these = np.array([[0.9, 0.1], [0.4, 0.6], [0.5, 0.5], [0.2, 0.8]])
    those = np.array([[0.7, 0.3], [0.6, 0.4], [0.5, 0.5], [0.1, 0.9]])
    assert agreement(these, those) == (0.75, 0.2)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (12345, "12,345"),
        (1234.5, "1,234"),
        (45.67, "45.7"),
        (2.604, "2.60"),
        (0.6587, "0.659"),
        (0.00042, "0.0004"),
        (0.0, "0.000"),
        ("ours", "ours"),
        ({"median": 2.6, "lowest": 2.5, "highest": 2.75}, "2.60 (2.50 to 2.75)"),
        ({"median": 7.0, "lowest": 7.0, "highest": 7.0}, "7.00"),
    ],
)
def test_a_cell(value, shown: str) -> None:
    from report import cell

    assert cell(value) == shown


def test_a_table_is_aligned_and_leaves_out_lists() -> None:
    from report import table

    rows = [{"what": "ours", "per_second": 1200, "curve": [1]}, {"what": "theirs", "best": 0.5}]
    assert table(rows).splitlines() == [
        "| what   | per second |  best |",
        "| ------ | ---------: | ----: |",
        "| ours   |      1,200 |     - |",
        "| theirs |          - | 0.500 |",
    ]


def test_rounds_are_interleaved_and_summed_up() -> None:
    from report import interleave, spread

    order = []
    found = interleave({k: lambda k=k: order.append(k) or len(order) for k in "ab"}, 3)
    assert order == list("ababab")
    assert found == {"a": [1, 3, 5], "b": [2, 4, 6]}
    assert spread([3.00004, 1, 2]) == {"median": 2, "lowest": 1, "highest": 3}


def test_paths_stay_out_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    import report

    words = "/home/me/x.py --data /home/me/faces --quick --output=/home/me/out --only ours"
    monkeypatch.setattr(sys, "argv", words.split())
    assert report.command() == "python benchmarks/x.py --quick --only ours"


def test_results_go_nowhere_from_a_quick_run(tmp_path: Path) -> None:
    import report

    parse = report.parser("What it does.").parse_args
    assert report.folder(parse(["--quick"])) is None
    assert report.folder(parse([])) == FOLDER / "results"
    assert report.folder(parse(["--quick", f"--output={tmp_path}"])) == tmp_path


def test_a_learner_s_error_is_one_sentence() -> None:
    words = [sys.executable, FOLDER / "scale.py", "--quick", "--data=/nowhere/at/all"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "/nowhere/at/all" in done.stderr.replace("\\", "/")


def test_packages_that_cannot_be_had_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import packages

    def no_network(words, **options):
        raise subprocess.CalledProcessError(1, words)

    monkeypatch.setattr(packages, "WHEELS", tmp_path / "wheels")
    monkeypatch.setattr(packages, "TARBALL", tmp_path / "tarball")
    monkeypatch.setattr(packages.subprocess, "run", no_network)
    notes: list[str] = []
    assert packages.available(notes) == []
    assert len(notes) == 2 and all("left out" in note for note in notes)


def test_weights_of_eight_bits_are_read_by_their_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import packages

    entries = [
        {"name": "a", "shape": [2, 1], "dtype": "float32"},
        {"name": "b", "shape": [3], "dtype": "float32"},
    ]
    entries[1]["quantization"] = {"dtype": "uint8", "scale": 0.5, "min": -1.0}
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps([{"weights": entries, "paths": ["a.bin"]}]))
    data = np.float32([2.5, -1]).tobytes() + bytes([0, 2, 255])
    (tmp_path / "a.bin").write_bytes(data)
    monkeypatch.setattr(packages, "tarball", lambda: manifest)
    found = packages.face_api_weights()
    assert found["a"].tolist() == [[2.5], [-1]]
    assert found["b"].tolist() == [-1, 0, 126.5]


def test_a_benchmark_goes_on_only_from_a_run_of_the_same_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import report

    data = SimpleNamespace(name="a data set", fingerprint="f")
    about = {"title": "A table", "data": data, "budget": {"minutes": 8, "weights": "a"}}
    assert report.earlier("x", about, tmp_path) == report.earlier("x", about, None) == []
    report.write("x", rows := [{"network": "n", "minutes": 1.5}], about, tmp_path, show=False)
    assert report.earlier("x", about, tmp_path) == rows
    other = about | {"budget": {"minutes": 8, "weights": "b"}}
    assert report.earlier("x", other, tmp_path) == []
    with monkeypatch.context() as patch:
        patch.setattr(report, "machine", lambda: {"processor": "another"})
        assert report.earlier("x", about, tmp_path) == []
    data.fingerprint = "g"
    assert report.earlier("x", about, tmp_path) == []
    (tmp_path / "x.json").write_text("not JSON")
    assert report.earlier("x", about, tmp_path) == []


def test_letters_that_a_code_page_lacks_cost_no_report() -> None:
    code = "import report; report.parser('A benchmark.'); print('48 × 48')"
    env = dict(os.environ, PYTHONIOENCODING="cp1251")
    done = subprocess.run([sys.executable, "-c", code], cwd=FOLDER, env=env, capture_output=True)
    assert done.stdout.split() == [b"48", rb"\xd7", b"48"], done.stderr
