"""Batches, class weights, killed and resumed trainings."""

import functools
import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest

from helpers import ROOT, TutorialError, callbacks, models, runs, training
from helpers.augment import random_affine
from helpers.data import Split

CLASSES = ("blank", "dotted", "striped")
INFO = {"classes": list(CLASSES), "data": {"name": "patterns", "kind": "own", "fingerprint": "0"}}
EPOCHS = 12


def patterns(n: int, seed: int = 0) -> Split:
    """Noise with a faint pattern: something to learn, and soon to overfit."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % 3)
    images = rng.normal(128, 40, (n, 48, 48))
    images[labels == 1, ::4, ::4] += 60
    images[labels == 2, ::4] += 20
    files = np.array([f"{CLASSES[label]}/{k}.png" for k, label in enumerate(labels)])
    return Split(images.clip(0, 255).astype(np.uint8), labels.astype(np.int64), files)


def tiny(learning_rate: float = 0.01, width: int = 4) -> keras.Model:
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
    return training.compile_model(model, learning_rate)


def fit(output: Path, model: keras.Model | None = None, **options):
    """Train the tiny network as every test here does; both callbacks have cause to act."""
    model = model or tiny()
    options = {"epochs": EPOCHS, "info": INFO, "batch_size": 16, "patience": 4} | options
    options = {"augment": random_affine, "class_weight": {0: 1.0, 1: 2.0, 2: 0.5}} | options
    learn, check = options.pop("learn", patterns(90)), options.pop("check", patterns(40, seed=1))
    history = training.train(model, learn, check, output=output, progress=False, **options)
    return model, history


class Stop(keras.callbacks.Callback):
    """Send this process a signal in the middle of an epoch (counted from 1)."""

    def __init__(self, epoch: int, number: int) -> None:
        super().__init__()
        self.when, self.number = epoch - 1, number

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == (self.when, 3):
            signal.raise_signal(self.number)


class Counters(keras.callbacks.Callback):
    """Note the counters of the callbacks after every epoch, as the checkpoint has them."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self.seen = path, {}

    def on_epoch_begin(self, epoch, logs=None):
        if self.path.exists():
            with np.load(self.path) as file:
                state = json.loads(str(file["state"]))
            self.seen[epoch] = (state["counters"], state["learning_rate"])


# --- batches and weights


def test_class_weights_are_balanced():
    weights = training.class_weights(np.array([0] * 6 + [1] * 3 + [2] * 3), 3)
    assert weights == pytest.approx({0: 12 / 18, 1: 12 / 9, 2: 12 / 9})
    with pytest.raises(TutorialError, match="Class 1 has no training image"):
        training.class_weights(np.array([0, 0, 2]), 3)


def test_validation_batches_are_the_images_in_order():
    split = patterns(10)
    got = list(training.make_dataset(split, batch_size=4, shuffle=False))
    assert [len(x) for x, _ in got] == [4, 4, 2]
    x = np.concatenate([x for x, _ in got])
    assert x.dtype == np.float32 and x.shape == (10, 48, 48, 1)
    np.testing.assert_allclose(x[..., 0], split.images / 255, rtol=1e-6)
    assert np.array_equal(np.concatenate([y for _, y in got]), split.labels)


def test_every_epoch_sees_every_image_once_in_another_order():
    split = patterns(10)
    split.images[:, 0, 0] = np.arange(10)  # a number to know each image by
    stream = iter(training.make_dataset(split, batch_size=4))
    orders = []
    for _ in range(2):
        got = [next(stream) for _ in range(3)]
        assert [len(x) for x, _ in got] == [4, 4, 2]
        order = np.concatenate([np.rint(x[:, 0, 0, 0] * 255) for x, _ in got]).astype(int)
        assert sorted(order) == list(range(10))
        assert np.array_equal(np.concatenate([y for _, y in got]), split.labels[order])
        orders.append(order.tolist())
    assert orders[0] != orders[1]


def test_a_later_start_continues_the_same_stream():
    split = patterns(10)
    options = {"batch_size": 4, "augment": random_affine}
    whole = list(training.make_dataset(split, **options).take(9))
    late = list(training.make_dataset(split, first_epoch=2, **options).take(3))
    for (x, y), (u, v) in zip(whole[6:], late, strict=True):
        assert np.array_equal(x, u) and np.array_equal(y, v)
    other = next(iter(training.make_dataset(split, seed=1, **options)))
    assert not np.array_equal(whole[0][0], other[0])


# --- training


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """An uninterrupted training: (model, history, output, counters after each epoch)."""
    output = tmp_path_factory.mktemp("whole") / "model.keras"
    counters = Counters(output.with_name("model.keras.checkpoint.npz"))
    model, history = fit(output, callbacks=[counters])
    return model, history, output, counters.seen


def test_what_a_training_leaves_behind(reference):
    model, history, output, _ = reference
    assert sorted(file.name for file in output.parent.iterdir()) == [
        "model.keras",
        "model.keras.csv",
        "model.keras.json",
    ]
    assert set(history.log) == {"loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"}
    n = len(history.log["loss"])
    best = int(np.argmin(history.log["val_loss"]))
    info = json.loads(output.with_name("model.keras.json").read_text())
    assert info["classes"] == list(CLASSES) and info["epochs"] == n
    assert info["validation"]["loss"] == history.log["val_loss"][best]
    assert info["settings"]["augment"] == "random_affine" and info["settings"]["batch_size"] == 16
    assert callbacks.load_history(output) == history
    rows = output.with_name("model.keras.csv").read_text().split()
    assert rows[0].split(",")[:2] == ["epoch", *history.log][:2] and len(rows) == n + 1
    assert float(rows[-1].split(",")[1]) == next(iter(history.log.values()))[-1]
    # the events are those that the log tells of
    assert (best + 1, "best weights") in history.events
    rates = history.log["learning_rate"]
    cuts = [epoch for epoch, what in history.events if what.startswith("learning rate cut")]
    assert cuts and [k + 1 for k in range(n - 1) if rates[k + 1] < rates[k]] == [
        epoch for epoch in cuts if epoch < n
    ]
    assert rates[cuts[0]] == pytest.approx(0.3 * rates[0])
    # the best weights are in the model and in the file
    check = patterns(40, seed=1)
    loss = model.evaluate(training.make_dataset(check, shuffle=False), verbose=0)[0]
    assert loss == pytest.approx(min(history.log["val_loss"]), rel=1e-4)
    loaded, _ = models.load_model(output)
    assert not loaded.compiled
    x = check.images[:5, ..., None] / 255
    np.testing.assert_allclose(loaded(x), model(x), rtol=1e-6)


def test_early_stopping_acts_after_patience(tmp_path):
    _, history = fit(tmp_path / "m.h5", tiny(0.02), epochs=30, patience=2)
    n = len(history.log["loss"])
    best = int(np.argmin(history.log["val_loss"]))
    assert n == best + 1 + 2 < 30
    assert (n, "stopped") in history.events and (best + 1, "best weights") in history.events


def same_end(model, history, reference, tolerance: float = 0.0) -> None:
    whole, expected, _, _ = reference
    assert history.events == expected.events
    for name, values in expected.log.items():
        np.testing.assert_allclose(history.log[name], values, rtol=tolerance, err_msg=name)
    for a, b in zip(model.weights, whole.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance, err_msg=a.path)


CHILD = """
import signal, sys
from pathlib import Path
from tests.test_training import Stop, fit
output, number = Path(sys.argv[1]), int(sys.argv[2])
fit(output, callbacks=[Stop(5, number)])
"""


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """Two trainings in processes of their own, one killed and one interrupted, in epoch 5."""
    numbers = {"killed": getattr(signal, "SIGKILL", signal.SIGTERM), "interrupted": signal.SIGINT}
    folder = tmp_path_factory.mktemp("stopped")
    children = {
        name: subprocess.Popen(
            [sys.executable, "-c", CHILD, str(folder / f"{name}.keras"), str(int(number))],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name, number in numbers.items()
    }
    return folder, {
        name: (child.communicate()[1], child.returncode) for name, child in children.items()
    }


@pytest.mark.parametrize("how", ["killed", "interrupted"])
def test_a_stopped_training_resumes_to_the_same_end(how, stopped, reference, capsys):
    folder, children = stopped
    message, code = children[how]
    output = folder / f"{how}.keras"
    checkpoint = folder / f"{how}.keras.checkpoint.npz"
    assert code != 0 and checkpoint.exists() and not output.exists(), message
    if how == "interrupted":
        assert "TrainingInterrupted: Training stopped after epoch 4 of 12; nothing" in message
    assert "KeyboardInterrupt" not in message

    counters = Counters(checkpoint)
    model, history = fit(output, resume=True, callbacks=[counters])
    assert f"Going on with {output.name} after epoch 4" in capsys.readouterr().out
    assert not checkpoint.exists()
    seen = {epoch: values for epoch, values in reference[3].items() if epoch >= 4}
    assert counters.seen == seen and len(seen) >= 3
    same_end(model, history, reference)


def test_interrupted_and_resumed_with_the_same_model(tmp_path, reference):
    model = tiny()
    with pytest.raises(training.TrainingInterrupted, match="after epoch 8 of 12"):
        fit(tmp_path / "m.keras", model, callbacks=[Stop(9, signal.SIGINT)])
    same_end(*fit(tmp_path / "m.keras", model, resume=True), reference)


def test_interrupted_in_the_first_epoch(tmp_path, capsys):
    with pytest.raises(training.TrainingInterrupted, match="before the first epoch was over"):
        fit(tmp_path / "m.keras", callbacks=[Stop(1, signal.SIGINT)])
    assert list(tmp_path.iterdir()) == []
    fit(tmp_path / "m.keras", epochs=1, resume=True)
    assert "no unfinished training of m.keras: starting from the beg" in capsys.readouterr().out


@pytest.fixture
def unfinished(tmp_path):
    """An output with a checkpoint of three epochs."""
    with pytest.raises(training.TrainingInterrupted):
        fit(tmp_path / "m.keras", callbacks=[Stop(4, signal.SIGINT)])
    return tmp_path / "m.keras"


def test_an_interruption_while_the_checkpoint_is_written(unfinished, reference, monkeypatch):
    whole = np.savez

    def half(file, **arrays):
        whole(file, **arrays)
        file.truncate(1000)
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", half)
    with pytest.raises(training.TrainingInterrupted):
        fit(unfinished, resume=True)
    monkeypatch.setattr(np, "savez", whole)
    same_end(*fit(unfinished, resume=True), reference)


def test_an_interruption_after_the_last_epoch(tmp_path, reference, monkeypatch):
    def full(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(training.TrainingInterrupted):
        patch.setattr(training, "save_model", full)
        fit(tmp_path / "m.keras")
    same_end(*fit(tmp_path / "m.keras", resume=True), reference)


def test_a_full_disk_is_one_sentence_and_loses_nothing(unfinished, reference, monkeypatch):
    def full(*arguments, **arrays):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", full)
        with pytest.raises(TutorialError, match="could not be written"):
            fit(unfinished, resume=True)
    same_end(*fit(unfinished, resume=True), reference)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"learn": patterns(91)}, "another set of images"),
        ({"check": patterns(41)}, "another set of images"),
        ({"batch_size": 32}, r"another batch_size \(16, now 32\)"),
        ({"augment": functools.partial(random_affine, zoom=0.3)}, "another augment"),
        ({"class_weight": None}, "another class_weight"),
        ({"info": INFO | {"settings": {"note": 1}}}, "another note"),
        ({"info": INFO | {"classes": ["a", "b", "c"]}}, "another classes"),
        ({"model": lambda: tiny(width=5)}, "another network"),
        ({"model": lambda: tiny(0.5)}, "another learning_rate"),
    ],
)
def test_nothing_is_resumed_that_was_another_training(unfinished, change, sentence):
    model = change.pop("model", tiny)()
    before = unfinished.with_name("m.keras.checkpoint.npz").read_bytes()
    with pytest.raises(TutorialError, match=f"m.keras was begun with {sentence}"):
        fit(unfinished, model, resume=True, **change)
    assert unfinished.with_name("m.keras.checkpoint.npz").read_bytes() == before


def test_more_epochs_are_no_other_training(unfinished):
    _, history = fit(unfinished, epochs=4, resume=True)
    assert len(history.log["loss"]) == 4


def test_a_damaged_checkpoint_is_one_sentence(unfinished):
    checkpoint = unfinished.with_name("m.keras.checkpoint.npz")
    checkpoint.write_bytes(checkpoint.read_bytes()[:5000])
    with pytest.raises(TutorialError, match="is damaged"):
        fit(unfinished, resume=True)


def test_training_anew_keeps_the_checkpoint_for_an_epoch(unfinished, capsys):
    checkpoint = unfinished.with_name("m.keras.checkpoint.npz")
    before = checkpoint.read_bytes()
    with pytest.raises(training.TrainingInterrupted):
        fit(unfinished, callbacks=[Stop(1, signal.SIGINT)])
    assert "given up when the first epoch is over" in capsys.readouterr().out
    assert checkpoint.read_bytes() == before
    with pytest.raises(training.TrainingInterrupted):
        fit(unfinished, callbacks=[Stop(2, signal.SIGINT)])
    assert checkpoint.read_bytes() != before


def test_a_finished_training_is_loaded(reference, capsys):
    whole, expected, output, _ = reference
    before = output.read_bytes()
    model, history = fit(output, resume=True)
    assert "is finished" in capsys.readouterr().out and output.read_bytes() == before
    assert history == expected
    for a, b in zip(model.weights, whole.weights, strict=True):
        assert np.array_equal(a, b)
    with pytest.raises(TutorialError, match="another batch_size"):
        fit(output, resume=True, batch_size=8)


def test_what_cannot_end_well_does_not_begin(tmp_path, monkeypatch):
    monkeypatch.setattr(keras.Model, "fit", None)  # would raise TypeError
    (tmp_path / "file").write_text("")
    for name in ("model.txt", "model", "file/model.keras"):
        with pytest.raises(TutorialError, match=r"must be the name|cannot be written to"):
            fit(tmp_path / name)
    with pytest.raises(TutorialError, match="no images"):
        fit(tmp_path / "m.keras", check=patterns(0))
    with pytest.raises(TutorialError, match="3 outputs, but there are 2 classes"):
        fit(tmp_path / "m.keras", info={"classes": ["a", "b"]})


def test_works_in_another_thread_and_with_a_bar(tmp_path, capsys):
    options = {"epochs": 1, "output": tmp_path / "m.keras", "info": INFO}
    thread = threading.Thread(
        target=training.train, args=(tiny(), patterns(20), patterns(9)), kwargs=options
    )
    thread.start()
    thread.join()
    assert (tmp_path / "m.keras").exists()
    shown = capsys.readouterr().err
    assert "epoch 1/1" in shown and "1/1 [" in shown and "val_accuracy" in shown


def test_two_devices_share_the_work(tmp_path):
    code = """
import sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu[0], [tf.config.LogicalDeviceConfiguration()] * 2)
from pathlib import Path
from helpers.networks import build_cnn
from tests.test_training import Stop, fit
import signal
from helpers import TutorialError
model = build_cnn(3)
assert model.distribute_strategy.num_replicas_in_sync == 2
output = Path(sys.argv[1])
try:
    fit(output, model, epochs=2, callbacks=[Stop(2, signal.SIGINT)])
except TutorialError as error:
    print(error)
fit(output, build_cnn(3), epochs=2, resume=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "m.keras")],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "after epoch 1 of 2" in done.stdout and "Going on with m.keras" in done.stdout
    assert len(callbacks.load_history(tmp_path / "m.keras").log["loss"]) == 2


def log_epochs(curves, epochs, start=0):
    curves.on_train_begin()
    for epoch in range(start, epochs):
        logs = {"loss": 2 - epoch, "accuracy": 0.1 * epoch, "val_loss": 2.5, "val_accuracy": 0.2}
        curves.on_epoch_end(epoch, logs)


def test_live_curves_log_every_epoch_and_start_anew_with_each_training():
    curves = callbacks.LiveCurves("small network")
    log_epochs(curves, 3)
    assert curves.log["loss"] == [2, 1, 0] and len(curves.log["val_accuracy"]) == 3
    log_epochs(curves, 2)
    assert curves.log["loss"] == [2, 1]


def test_live_curves_of_a_resumed_training_keep_the_number_of_the_epoch():
    curves = callbacks.LiveCurves()
    log_epochs(curves, 5, start=3)
    np.testing.assert_array_equal(curves.log["loss"], [np.nan] * 3 + [-1, -2])
    assert "after epoch 5" in curves.describe()


def test_live_curves_draw_training_dashed_validation_solid_and_the_reference():
    curves = callbacks.LiveCurves("small", reference={"loss": [3, 2], "val_loss": [3, 3]})
    log_epochs(curves, 4)
    loss, accuracy = curves.figure().axes
    assert (loss.get_ylabel(), accuracy.get_ylabel()) == ("loss", "accuracy")
    drawn = {(line.get_linestyle(), len(line.get_xdata())) for line in loss.lines}
    assert drawn == {("--", 2), ("-", 2), ("--", 4), ("-", 4)}


def test_live_curves_redraw_one_place_and_pile_up_no_figures(monkeypatch):
    class Place:
        updates = ()

        def update(self, content):
            self.updates += (content,)

    class Shell:
        kernel, execution_count = True, 7

    places = []

    def display(content, display_id):
        places.append(Place())
        return places[-1]

    monkeypatch.setattr(training, "get_ipython", Shell)
    monkeypatch.setattr(training, "display", display)
    before = plt.get_fignums()
    curves = callbacks.LiveCurves()
    log_epochs(curves, 3)
    assert [len(place.updates) for place in places] == [3]
    assert all(update.data.startswith(b"\x89PNG") for update in places[0].updates)
    assert plt.get_fignums() == before
    Shell.execution_count = 8
    log_epochs(curves, 1)  # used again in another cell: it draws there
    assert [len(place.updates) for place in places] == [3, 1]


def test_live_curves_say_nothing_without_a_notebook(capsys):
    log_epochs(callbacks.LiveCurves(), 2)
    assert capsys.readouterr() == ("", "")


def test_runs_are_logged_beside_the_reference_with_what_differs(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(training, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(training, "REFERENCE_RUNS", tmp_path / "reference.jsonl")

    def rows(table: str) -> list[list[str]]:
        return [re.split(r" {2,}", line.strip()) for line in table.splitlines()]

    first = runs.log_run("a", {"epochs": 3, "images": 1200, "seed": 1}, accuracy=0.123456)
    assert rows(first) == [["accuracy"], ["run 1", "0.1235"]], "nothing differs yet"
    assert runs.log_run("a", {"epochs": 3, "images": 1200, "seed": 1}, accuracy=0.123456) == first
    runs.log_run("b", {"epochs": 99}, accuracy=1)
    second = runs.log_run("a", {"epochs": 4, "images": 1200, "new": "x"}, accuracy=0.5)
    assert rows(second) == [
        ["epochs", "seed", "new", "accuracy"],
        ["run 1", "3", "1", "0.1235"],
        ["run 2", "4", "x", "0.5"],
    ]
    log = tmp_path / "runs" / "log.jsonl"
    log.write_text(log.read_text().replace("99}", "99") + "damaged\n[]\n1\n")
    reference = {"experiment": "a", "settings": {"images": 25000}, "scores": {"accuracy": 0.6}}
    (tmp_path / "reference.jsonl").write_text(json.dumps(reference))
    third = rows(runs.log_run("a", {"images": 1300}, most=1, accuracy=0.7))
    assert third[0] == ["images", "accuracy"]
    assert third[1:] == [["reference", "25,000", "0.6"], ["run 3", "1,300", "0.7"]]


def test_a_log_that_cannot_be_written_costs_nothing(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(training, "RUNS", tmp_path / "file" / "runs")
    (tmp_path / "file").write_text("in the way")
    assert "run 1" in runs.log_run("a", {}, accuracy=0.5)
