"""Batches, class weights, and trainings that are stopped anywhere and go on to the same end."""

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

from helpers import ROOT, TutorialError, data
from helpers.augment import random_affine
from helpers.data import Split
from training import batches, live_curves, runs, trainer
from training.checkpoint import History, TrainingInterrupted

EPOCHS = 30  # EarlyStopping ends the training below before


def noise(n: int, seed: int = 0) -> Split:
    """Images of 4 x 4 pixels: something to learn, and soon to overfit."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % 3)
    images = rng.integers(0, 200, (n, 4, 4), dtype=np.uint8)
    images[labels == 1] += 30
    return Split(images, labels, labels.astype(str))


def tiny(learning_rate: float = 0.01, width: int = 8, seed: int = 3) -> keras.Model:
    keras.utils.set_random_seed(seed)
    layers = [
        keras.Input((4, 4, 1)),
        keras.layers.Flatten(),
        keras.layers.Dense(width, activation="relu"),
        keras.layers.BatchNormalization(),
        keras.layers.Dropout(0.3, seed=5),
        keras.layers.Dense(3, activation="softmax"),
    ]
    return trainer.compile_model(keras.Sequential(layers), learning_rate)


def lighter(images, seed, size=None):
    return images * 1.01


def fit(output: Path, model: keras.Model | None = None, **options):
    """Train the tiny network as every test here does; both callbacks have cause to act."""
    model, info = model or tiny(), {"classes": ["a", "b", "c"]}
    options = {"epochs": EPOCHS, "info": info, "batch_size": 16, "patience": 4} | options
    sets = options.pop("learn", noise(48)), options.pop("validation", noise(24, seed=1))
    history = trainer.train(model, *sets, output=output, progress=False, **options)
    return model, history


class Stop(keras.callbacks.Callback):
    """Send this process a signal in the middle of an epoch (counted from 1)."""

    def __init__(self, epoch: int, number: int = signal.SIGINT) -> None:
        super().__init__()
        self.when, self.number = epoch - 1, number

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == (self.when, 1):
            signal.raise_signal(self.number)


def checkpoint_file(output: Path) -> Path:
    return output.with_name(f"{output.name}.checkpoint.npz")


def epochs_on_disk(output: Path) -> int:
    with np.load(checkpoint_file(output)) as file:
        return len(json.loads(str(file["arr_0"]))["log"]["loss"])


# --- batches and weights


def test_class_weights_are_balanced():
    weights = data.class_weights(np.array([0] * 6 + [1] * 3 + [2] * 3), 3)
    assert weights == pytest.approx({0: 12 / 18, 1: 12 / 9, 2: 12 / 9})
    with pytest.raises(TutorialError, match="Class 1 has no training image"):
        data.class_weights(np.array([0, 0, 2]), 3)


def test_validation_batches_are_the_images_in_order():
    images, labels = noise(10).images, np.arange(10)
    got = list(batches.make_dataset(images, labels, batch_size=4, shuffle=False))
    assert [len(x) for x, _ in got] == [4, 4, 2]
    x = np.concatenate([x for x, _ in got])
    assert x.dtype == np.float32 and x.shape == (10, 4, 4, 1)
    np.testing.assert_allclose(x[..., 0], images / 255, rtol=1e-6)
    assert np.array_equal(np.concatenate([y for _, y in got]), labels)


def test_every_epoch_sees_every_image_once_in_another_order():
    images, soft = noise(10).images, np.random.default_rng(1).random((10, 3))
    weights = np.arange(10.0)  # a number to know each image by
    stream = iter(batches.make_dataset(images, soft, weights, batch_size=4))
    orders = []
    for _ in range(2):
        x, y, w = (
            np.concatenate(part) for part in zip(*(next(stream) for _ in "abc"), strict=True)
        )
        order = w.astype(int)
        assert sorted(order) == list(range(10))
        np.testing.assert_allclose(x[..., 0] * 255, images[order], atol=1e-3)
        np.testing.assert_allclose(y, soft[order])
        orders.append(order.tolist())
    assert orders[0] != orders[1]


def test_a_later_start_continues_the_same_stream():
    split = noise(10)
    make = functools.partial(batches.make_dataset, split.images, split.labels, batch_size=4)
    make = functools.partial(make, augment=random_affine)
    whole, late = list(make().take(9)), list(make(first_epoch=2).take(3))
    for (x, y), (u, v) in zip(whole[6:], late, strict=True):
        assert np.array_equal(x, u) and np.array_equal(y, v)
    assert not np.array_equal(whole[0][0], next(iter(make(seed=1)))[0])


# --- training


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """An uninterrupted training: (model, history, output)."""
    output = tmp_path_factory.mktemp("whole") / "model.keras"
    return *fit(output), output


def same_end(found, reference) -> None:
    (model, history), (whole, expected, _) = found, reference
    assert (history.log, history.stopped) == (expected.log, expected.stopped)
    for a, b in zip(model.weights, whole.weights, strict=True):
        assert np.array_equal(a, b), a.path


def test_what_a_training_leaves_behind(reference):
    model, history, output = reference
    endings = "", ".checkpoint.npz", ".csv", ".json"
    assert sorted(p.name for p in output.parent.iterdir()) == [f"model.keras{e}" for e in endings]
    assert set(history.log) == {"loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"}
    n, best = len(history.log["loss"]), int(np.argmin(history.log["val_loss"]))
    assert n == best + 1 + 4 < EPOCHS and history.stopped, "patience is 4"
    rates = history.log["learning_rate"]
    (cut,) = [k + 1 for k in range(n - 1) if rates[k + 1] < rates[k]]
    assert rates[cut] == pytest.approx(0.3 * rates[0])
    happened = [(best + 1, "best weights"), (cut, "learning rate cut to 0.003"), (n, "stopped")]
    assert history.events == sorted(happened)

    info = json.loads(output.with_name("model.keras.json").read_text())
    assert info["classes"] == ["a", "b", "c"] and info["epochs"] == n
    assert info["validation"]["loss"] == history.log["val_loss"][best]
    assert info["settings"] == history.settings and info["settings"]["batch_size"] == 16
    assert info["settings"]["learning_rate"] == 0.01
    rows = output.with_name("model.keras.csv").read_text().split()
    assert rows[0].split(",") == ["epoch", *history.log] and len(rows) == n + 1
    last = [n, *(values[-1] for values in history.log.values())]
    assert [float(value) for value in rows[-1].split(",")] == pytest.approx(last)
    # the best weights are in the model and in the file
    validation = noise(24, seed=1)
    scored = batches.make_dataset(validation.images, validation.labels, shuffle=False)
    loss = model.evaluate(scored, verbose=0)[0]
    assert loss == pytest.approx(min(history.log["val_loss"]), rel=1e-4)
    loaded, x = keras.models.load_model(output), validation.images[:5, ..., None] / 255
    np.testing.assert_allclose(loaded(x), model(x), rtol=1e-6)


def test_lesson_4_by_hand_is_what_train_does(tmp_path, reference):
    """`fit` with Keras's callbacks, as in the lesson's cell."""
    learn, validation, model = noise(48), noise(24, seed=1), tiny()
    stopping = keras.callbacks.EarlyStopping("val_loss", patience=4, restore_best_weights=True)
    plateau = keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.3, patience=2, min_lr=1e-6)
    model.fit(
        batches.make_dataset(learn.images, learn.labels, batch_size=16),
        validation_data=batches.make_dataset(validation.images, validation.labels, shuffle=False),
        steps_per_epoch=3,
        epochs=EPOCHS,
        callbacks=[stopping, plateau],
        shuffle=False,
        verbose=0,
    )
    for a, b in zip(model.weights, reference[0].weights, strict=True):
        assert np.array_equal(a, b), a.path


@pytest.mark.parametrize("epoch", [3, 10])  # before the best one, and after the rate was cut
def test_interrupted_in_an_epoch(tmp_path, reference, epoch, capsys):
    output, model = tmp_path / "m.keras", tiny()
    before = model.get_weights()
    sentence = rf"after epoch {epoch - 1}; nothing is lost: run it again with resume=True"
    with pytest.raises(TrainingInterrupted, match=sentence):
        fit(output, model, callbacks=[Stop(epoch)])
    assert not output.exists()
    for a, b in zip(before, model.get_weights(), strict=True):
        assert np.array_equal(a, b), "the model is as it was"
    same_end(fit(output, model, resume=True), reference)
    assert f"Going on with m.keras after epoch {epoch - 1}." in capsys.readouterr().out


def test_interrupted_between_any_two_steps_of_the_callbacks(tmp_path, reference, monkeypatch):
    """Epoch by epoch, after none, one, two ... of the callbacks, and within the checkpoint."""
    output, model, said = tmp_path / "m.keras", tiny(), 0
    whole, save = keras.callbacks.CallbackList.on_epoch_end, np.savez
    steps = iter(range(6))

    def some(self, epoch, logs=None):
        for callback in self.callbacks[: next(steps)]:
            callback.on_epoch_end(epoch, logs)
        raise KeyboardInterrupt

    def half(file, *arrays):
        save(file, *arrays)
        file.truncate(1000)
        raise KeyboardInterrupt

    def interrupted() -> None:
        nonlocal said
        with pytest.raises(TrainingInterrupted) as caught:
            fit(output, model, resume=True)
        now = int(re.search(r"after epoch (\d+)|$", str(caught.value))[1] or 0)
        exists = checkpoint_file(output).exists()
        assert said <= now == (epochs_on_disk(output) if exists else 0)
        said = now

    monkeypatch.setattr(keras.callbacks.CallbackList, "on_epoch_end", some)
    for _ in range(6):
        interrupted()
    assert said == 3, "after the checkpoint, the bar, and Keras's own history"
    monkeypatch.setattr(keras.callbacks.CallbackList, "on_epoch_end", whole)
    monkeypatch.setattr(np, "savez", half)
    interrupted()
    monkeypatch.setattr(np, "savez", save)
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "save_model", lambda *_: signal.raise_signal(signal.SIGINT))
        interrupted()
    same_end(fit(output, model, resume=True), reference)


CHILDREN = {
    "killed": """
import signal, sys
from pathlib import Path
from tests.test_training import Stop, fit
fit(Path(sys.argv[1]), callbacks=[Stop(5, getattr(signal, "SIGKILL", signal.SIGTERM))])
""",
    "two_devices": """
import sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu[0], [tf.config.LogicalDeviceConfiguration()] * 2)
from pathlib import Path
from helpers import TutorialError
from helpers.networks import strategy
from tests.test_training import Stop, fit, tiny
def model():
    with strategy().scope():
        return tiny()
assert model().distribute_strategy.num_replicas_in_sync == 2
output = Path(sys.argv[1])
try:
    fit(output, model(), epochs=2, callbacks=[Stop(2)])
except TutorialError as error:
    print(error)
_, history = fit(output, model(), epochs=2, resume=True)
print("epochs:", history.epochs)
""",
}


@pytest.fixture(scope="module")
def children(tmp_path_factory):
    """Trainings in processes of their own: the folder; output, errors and exit code of each."""
    folder = tmp_path_factory.mktemp("children")
    started = {
        name: subprocess.Popen(
            [sys.executable, "-c", code, str(folder / f"{name}.keras")],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name, code in CHILDREN.items()
    }
    return folder, {k: (*child.communicate(), child.returncode) for k, child in started.items()}


def test_a_killed_training_resumes_to_the_same_end(children, reference):
    folder, ends = children
    output, (_, errors, code) = folder / "killed.keras", ends["killed"]
    assert code != 0 and not output.exists() and epochs_on_disk(output) == 4, errors
    same_end(fit(output, resume=True), reference)


def test_two_devices_share_the_work(children):
    shown, errors, code = children[1]["two_devices"]
    assert code == 0, errors
    assert "after epoch 1;" in shown and "Going on with two_devices" in shown
    assert "epochs: 2" in shown


def test_interrupted_in_the_first_epoch(tmp_path):
    with pytest.raises(TrainingInterrupted, match="nothing is kept: run it again"):
        fit(tmp_path / "m.keras", callbacks=[Stop(1)])
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def unfinished(tmp_path, reference):
    """An output with a checkpoint of three epochs."""
    with pytest.raises(TrainingInterrupted):
        fit(tmp_path / "m.keras", callbacks=[Stop(4)])
    return tmp_path / "m.keras"


def test_a_full_disk_is_one_sentence_and_loses_nothing(unfinished, reference, monkeypatch):
    def full(*arguments, **arrays):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", full)
        with pytest.raises(TutorialError, match="could not be written"):
            fit(unfinished, resume=True)
    same_end(fit(unfinished, resume=True), reference)


CHANGES = [
    ({"learn": noise(49)}, "images and labels"),
    ({"validation": noise(25)}, "images and labels"),
    ({"batch_size": 8}, r"batch_size \(16, now 8\)"),
    ({"patience": 5}, r"patience \(4, now 5\)"),
    ({"augment": functools.partial(lighter, size=None)}, r"augment \(None, now lighter"),
    ({"class_weight": {0: 2.0, 1: 1.0, 2: 1.0}}, "class_weight"),
    ({"info": {"settings": {"note": 1}}}, r"note \(None, now 1\)"),
    ({"model": lambda: tiny(width=5)}, "first weights"),
    ({"model": lambda: tiny(seed=4)}, "first weights"),
    ({"model": lambda: tiny(0.5)}, r"learning_rate \(0.01, now 0.5\)"),
]


@pytest.mark.parametrize("which", ["checkpoint", "finished"])
def test_nothing_is_resumed_that_was_another_training(which, unfinished, reference, monkeypatch):
    """A training with other settings is refused, whether the old one is finished or not."""
    output = unfinished if which == "checkpoint" else reference[2]
    before = checkpoint_file(output).read_bytes()
    monkeypatch.setattr(keras.Model, "fit", None)  # would raise TypeError
    for change, sentence in CHANGES:
        options = dict(change)
        model = options.pop("model", tiny)()
        with pytest.raises(TutorialError, match=f"was begun with another {sentence}"):
            fit(output, model, resume=True, **options)
    assert checkpoint_file(output).read_bytes() == before


def test_a_finished_training_is_loaded(reference, capsys):
    output = reference[2]
    files = {path: path.read_bytes() for path in output.parent.iterdir()}
    same_end(fit(output, resume=True), reference)
    same_end(fit(output, resume=True, epochs=EPOCHS + 5), reference)
    shown = capsys.readouterr().out
    assert shown.count("is finished (11 epochs; EarlyStopping ended it, so more would change") == 2
    assert files == {path: path.read_bytes() for path in output.parent.iterdir()}


def test_more_epochs_go_on_from_a_finished_training(tmp_path, reference, capsys):
    output = tmp_path / "m.keras"
    _, history = fit(output, epochs=5)
    assert history.epochs == 5 and not history.stopped
    fit(output, epochs=4, resume=True)
    assert "m.keras is finished (5 epochs): loaded it." in capsys.readouterr().out
    same_end(fit(output, resume=True), reference)
    assert "Going on with m.keras after epoch 5." in capsys.readouterr().out
    assert json.loads(output.with_name("m.keras.json").read_text())["epochs"] == 11


def test_a_damaged_checkpoint_is_one_sentence(tmp_path):
    checkpoint_file(tmp_path / "m.keras").write_bytes(b"half")
    with pytest.raises(TutorialError, match=r"is damaged .*: delete it"):
        fit(tmp_path / "m.keras", resume=True)


def test_training_anew_keeps_the_checkpoint_for_an_epoch(unfinished, capsys):
    before = checkpoint_file(unfinished).read_bytes()
    with pytest.raises(TrainingInterrupted):
        fit(unfinished, callbacks=[Stop(1)])
    assert "is trained anew: its checkpoint goes after the first epoch" in capsys.readouterr().out
    assert checkpoint_file(unfinished).read_bytes() == before
    with pytest.raises(TrainingInterrupted):
        fit(unfinished, callbacks=[Stop(2)])
    assert epochs_on_disk(unfinished) == 1


def test_a_loss_that_is_no_number_replaces_nothing(tmp_path):
    output = tmp_path / "m.keras"
    fit(output, epochs=1)
    before = output.read_bytes()
    for _ in range(2):
        with pytest.raises(TutorialError, match=r"not a number, so m\.keras is not saved"):
            fit(output, tiny(1e30), epochs=2)
    assert output.read_bytes() == before and not output.with_name("m.previous.keras").exists()


def test_what_cannot_end_well_does_not_begin(tmp_path, monkeypatch):
    monkeypatch.setattr(keras.Model, "fit", None)  # would raise TypeError
    (tmp_path / "file").write_text("")
    for name in ("model.txt", "model", "file/model.keras"):
        with pytest.raises(TutorialError, match=r"must be the name|cannot be written to"):
            fit(tmp_path / name)
    with pytest.raises(TutorialError, match="no images"):
        fit(tmp_path / "m.keras", validation=noise(0))
    with pytest.raises(TutorialError, match="3 outputs, but there are 2 classes"):
        fit(tmp_path / "m.keras", info={"classes": ["a", "b"]})


def test_works_in_another_thread_and_with_a_bar(tmp_path, capsys):
    options = {"epochs": 1, "output": tmp_path / "m.keras", "info": {}}
    arguments = tiny(), noise(20), noise(9)
    thread = threading.Thread(target=trainer.train, args=arguments, kwargs=options)
    thread.start()
    thread.join()
    assert (tmp_path / "m.keras").exists()
    shown = capsys.readouterr().err
    assert "1/1 [" in shown and "val_accuracy=" in shown


# --- curves and runs


def log_epochs(curves, epochs, start=0):
    curves.on_train_begin()
    for epoch in range(start, epochs):
        logs = {"loss": 2 - epoch, "accuracy": 0.1 * epoch, "val_loss": 2.5, "val_accuracy": 0.2}
        curves.on_epoch_end(epoch, logs)


def test_live_curves_log_every_epoch_and_start_anew_with_each_training():
    curves = live_curves.LiveCurves("small network")
    log_epochs(curves, 3)
    assert curves.log["loss"] == [2, 1, 0] and len(curves.log["val_accuracy"]) == 3
    log_epochs(curves, 2)
    assert curves.log["loss"] == [2, 1]


def test_live_curves_of_a_resumed_training_keep_the_number_of_the_epoch():
    curves = live_curves.LiveCurves()
    log_epochs(curves, 5, start=3)
    np.testing.assert_array_equal(curves.log["loss"], [np.nan] * 3 + [-1, -2])
    assert "after epoch 5" in curves.describe()


def test_live_curves_draw_training_dashed_validation_solid_and_the_reference():
    curves = live_curves.LiveCurves("small", reference={"loss": [3, 2], "val_loss": [3, 3]})
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

    monkeypatch.setattr(live_curves, "get_ipython", Shell)
    monkeypatch.setattr(live_curves, "display", display)
    before = plt.get_fignums()
    curves = live_curves.LiveCurves()
    log_epochs(curves, 3)
    assert [len(place.updates) for place in places] == [3]
    assert all(update.data.startswith(b"\x89PNG") for update in places[0].updates)
    assert plt.get_fignums() == before
    Shell.execution_count = 8
    log_epochs(curves, 1)  # used again in another cell: it draws there
    assert [len(place.updates) for place in places] == [3, 1]


def test_live_curves_say_nothing_without_a_notebook(capsys):
    log_epochs(live_curves.LiveCurves(), 2)
    assert capsys.readouterr() == ("", "")


def log(experiment: str, settings: dict, most: int = 6, epochs: int = 3, **scores) -> str:
    history = History(settings, {"loss": [1.0] * epochs}, seconds=30)
    return runs.log_run(experiment, history, most, **scores)


def rows(table: str) -> list[list[str]]:
    return [re.split(r" {2,}", line.strip()) for line in table.splitlines()]


def test_runs_are_logged_beside_the_reference_with_what_differs(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(runs, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(runs, "REFERENCE_RUNS", tmp_path / "reference.jsonl")
    first = log("a", {"images": 1200, "seed": 1}, accuracy=0.123456)
    known = [["accuracy", "minutes"], ["run 1", "0.1235", "0.5"]]
    assert rows(first) == known, "nothing differs yet"
    assert log("a", {"images": 1200, "seed": 1}, accuracy=0.123456) == first
    log("b", {}, accuracy=1)
    weights = {"class_weight": {"0": 2.0}}
    second = log("a", {"images": 1200, "seed": 2} | weights, epochs=4, accuracy=0.5)
    assert rows(second) == [
        ["epochs", "seed", "accuracy", "minutes"],
        ["run 1", "3", "1", "0.1235", "0.5"],
        ["run 2", "4", "2", "0.5", "0.5"],
    ]
    file = tmp_path / "runs" / "log.jsonl"
    file.write_text(file.read_text().replace('"b"', '"b') + "damaged\n[]\n1\n")
    known = {"experiment": "a", "settings": {"images": 25000}, "scores": {"accuracy": 0.6}}
    (tmp_path / "reference.jsonl").write_text(json.dumps(known))
    third = rows(log("a", {"images": 1300}, most=1, accuracy=0.7))
    assert third[0] == ["images", "accuracy", "minutes"]
    assert third[1:] == [["reference", "25,000", "0.6"], ["run 3", "1,300", "0.7", "0.5"]]
    # two runs that differ in class weights alone do not look the same
    log("c", {"class_weight": {"0": 1.0}}, accuracy=0.5)
    assert rows(log("c", weights, accuracy=0.5))[0][0] == "class_weight"


def test_a_log_that_cannot_be_written_costs_nothing(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(runs, "RUNS", tmp_path / "file" / "runs")
    (tmp_path / "file").write_text("in the way")
    assert "run 1" in log("a", {}, accuracy=0.5)


def test_other_settings_have_another_file():
    first = runs.run_file("cnn", {"rate": 0.1, "seed": 1})
    assert first == runs.run_file("cnn", {"seed": 1, "rate": 0.1})
    assert first.parent == runs.RUNS and first.name.startswith("cnn-")
    assert first != runs.run_file("cnn", {"rate": 0.2, "seed": 1})


def test_a_relative_place_for_runs_is_one_folder_wherever_one_stands(tmp_path):
    code = "import helpers; print(helpers.RUNS)"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TUTORIAL_RUNS": "mine"}
    for folder in (tmp_path, ROOT):
        shown = subprocess.check_output(
            [sys.executable, "-c", code], cwd=folder, env=environment, text=True
        )
        assert Path(shown.strip()) == ROOT / "mine"
