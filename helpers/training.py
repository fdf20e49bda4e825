"""Batches, class weights, a training that can be resumed and watched, and models on disk."""

from __future__ import annotations

import contextlib
import csv
import functools
import hashlib
import io
import itertools
import json
import logging
import math
import re
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from IPython import get_ipython
from IPython.display import HTML, Image, display
from matplotlib.figure import Figure
from sklearn.utils.class_weight import compute_class_weight
from tqdm.auto import tqdm

from helpers import (
    IMAGE_SIZE,
    ROOT,
    RUNS,
    SEED,
    SUFFIXES,
    TutorialError,
    read_sidecar,
    replacing,
    sidecar_path,
)
from helpers.data import Dataset, Split

# Keras would say of every .h5 file that its format is an old one, and TensorFlow of every second
# network or size of image that it had to make a graph for it.
for talkative in ("absl", "tensorflow"):
    logging.getLogger(talkative).setLevel(logging.ERROR)


class TrainingInterrupted(TutorialError):  # noqa: N818
    """The learner has interrupted a training."""


@dataclass
class History:
    """What a training went through: figures per epoch, and what happened when."""

    log: dict[str, list[float]] = field(default_factory=dict)  # loss, val_accuracy, ...
    events: list[tuple[int, str]] = field(default_factory=list)  # epochs counted from 1
    seconds: float = 0.0  # all sittings together


def class_weights(labels: np.ndarray, n_classes: int, power: float = 1.0) -> dict[int, float]:
    """Return n / (n_classes * count) for each class: scikit-learn's "balanced" weights.

    Args:
        labels: int (n,).
        n_classes: how many weights there must be.
        power: of each weight. 0.5 gives square roots, a compromise: rare classes count more,
            but a few of their images do not decide where the whole network goes.

    Raises:
        TutorialError: if a class has no image.
    """
    if missing := sorted(set(range(n_classes)) - set(labels.tolist())):
        raise TutorialError(
            f"Class {missing[0]} has no training image, so it can have no weight: add some images."
        )
    weights = compute_class_weight("balanced", classes=np.arange(n_classes), y=labels) ** power
    return dict(enumerate(weights.tolist()))


def batches(
    split: Split,
    *,
    batch_size: int = 64,
    augment: Callable | None = None,
    first_epoch: int = 0,
    shuffle: bool = True,
    seed: int = SEED,
) -> tf.data.Dataset:
    """Return batches of images, float32 (b, 48, 48, 1), 0 to 1, and int64 labels (b,).

    Args:
        split: stays in memory as uint8.
        batch_size: of all but the last batch of an epoch, which may be shorter.
        augment: called with a batch and a seed of two integers, as `random_affine` is.
        first_epoch: where to begin. Order and augmentation depend on `seed`, epoch and step
            alone, so a resumed training sees what it would have seen.
        shuffle: True gives an endless stream, shuffled every epoch; False one pass, in order.
        seed: of order and augmentation.
    """
    n = len(split)
    with tf.device("CPU"):  # where tf.data runs, whatever trains the network
        images, labels = tf.constant(split.images), tf.constant(split.labels)

    def shuffled(epoch: tf.Tensor) -> tf.data.Dataset:
        order = tf.random.experimental.stateless_shuffle(tf.range(n), tf.stack([seed, epoch]))
        return tf.data.Dataset.from_tensor_slices(order).batch(batch_size)

    def decode(step: tf.Tensor, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pixels = tf.cast(tf.gather(images, index), tf.float32)[..., None] / 255
        if augment is not None:
            pixels = augment(pixels, tf.stack([seed, step]))
        return tf.ensure_shape(pixels, (None, None, None, 1)), tf.gather(labels, index)

    if shuffle:
        order = tf.data.Dataset.counter(first_epoch).flat_map(shuffled)
    else:
        order = tf.data.Dataset.range(n).batch(batch_size)
    steps = order.enumerate(first_epoch * math.ceil(n / batch_size))
    return steps.map(decode, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def compile_model(model: keras.Model, learning_rate: float = 3e-4) -> keras.Model:
    """Compile with Adam and cross-entropy over integer labels, and return the same model.

    Adam's usual 1e-3 is too bold here: each of its steps moves all of the 4,608 inputs of the
    first dense layer, and with class weights the network may never get away from guessing.
    """
    with model.distribute_strategy.scope():
        model.compile(
            optimizer=keras.optimizers.Adam(learning_rate),
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )
    return model


def train(
    model: keras.Model,
    train: Split,
    val: Split,
    *,
    epochs: int,
    output: Path,
    info: dict,
    class_weight: dict[int, float] | None = None,
    augment: Callable | None = None,
    batch_size: int = 64,
    resume: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    patience: int = 6,
    seed: int = SEED,
    progress: bool = True,
) -> History:
    """Train a model in place, leave it with its best weights, and save it.

    A checkpoint, `<output>.checkpoint.npz`, is written after every epoch; `resume=True` goes on
    from it to the very same end. It goes when the training is finished, or when another one
    into the same output has its own first epoch behind it.

    Args:
        model: with an output per class; `compile_model` compiles it if need be.
        train: what to learn from.
        val: what stops the training and chooses the best epoch, so never the test set.
        epochs: at most so many; fewer once val_loss has not improved for `patience` epochs.
            After half as many, the learning rate is cut to 0.3 of itself.
        output: a .keras or .h5 file, with `<output>.json` about it and the log `<output>.csv`.
        info: what `describe` gives, and "settings" of your own.
        class_weight: weight of each class in the training loss.
        augment: as for `batches`, like batch_size and seed.
        resume: go on with an interrupted training, or load a finished one.
        callbacks: more of Keras's callbacks.
        progress: show a progress bar.

    Raises:
        TutorialError: if the output cannot be written, images or outputs are missing, or what
            is to be resumed was a different training.
        TrainingInterrupted: on Ctrl-C, or Interrupt in JupyterLab.
    """
    output, classes = check_output(output), info.get("classes")
    if not len(train) or not len(val):
        raise TutorialError("There are no images to train on, or none to validate on: add some.")
    if classes and model.output_shape[-1] != len(classes):
        raise TutorialError(
            f"The network has {model.output_shape[-1]} outputs, but there are {len(classes)} "
            "classes: build it with as many."
        )
    if not model.compiled:
        compile_model(model)
    options = {
        "batch_size": batch_size,
        "patience": patience,
        "seed": seed,
        "class_weight": class_weight and {str(k): round(v, 4) for k, v in class_weight.items()},
        "augment": _name(augment),
    }
    info = {**info, "settings": {**info.get("settings", {}), **options}}
    info["training"] = {
        "set of images": _digest(train.images, train.labels, val.images, val.labels),
        # Keras numbers layers anew in every kernel: conv2d_7
        "network": _digest(re.sub(r'_\d+"', '"', json.dumps(model.get_config(), default=str))),
    }
    info = json.loads(json.dumps(info))  # as it will be read back, to compare

    checkpoint, state = _beside(output, ".checkpoint.npz"), None
    if resume and checkpoint.exists():
        state = _resume(checkpoint, model, info)
        print(f"Going on with {output.name} after epoch {len(state['log']['loss'])}.")
    elif resume and (history := load_history(output)):
        finished, then = load_model(output)
        must_match(output, then, info)
        model.set_weights(finished.get_weights())
        print(f"{output.name} is finished ({len(history.log['loss'])} epochs): loaded it.")
        return history
    elif resume:
        print(f"There is no unfinished training of {output.name}: starting from the beginning.")
    elif checkpoint.exists():
        print(
            f"The unfinished training of {output.name} is given up when the first epoch is over; "
            "to go on with it, interrupt now and use resume=True (--resume)."
        )

    stop = keras.callbacks.EarlyStopping("val_loss", patience=patience, restore_best_weights=True)
    plateau = keras.callbacks.ReduceLROnPlateau(
        "val_loss", factor=0.3, patience=max(1, patience // 2), min_lr=1e-6
    )
    history = _history(state) if state else History()
    done, steps = len(history.log.get("loss", ())), math.ceil(len(train) / batch_size)
    bar = tqdm(total=epochs * steps, initial=done * steps, unit="batch", disable=not progress)
    keeper = _Watcher(output, stop, plateau, info, state, history, bar)
    try:
        model.fit(
            batches(train, batch_size=batch_size, augment=augment, first_epoch=done, seed=seed),
            validation_data=batches(val, batch_size=256, shuffle=False),
            steps_per_epoch=steps,
            initial_epoch=done,
            epochs=done if state and state["stopped"] else epochs,
            class_weight=class_weight,
            callbacks=[stop, plateau, *callbacks, keeper],
            shuffle=False,  # `batches` has done it
            verbose=0,
        )
        best = stop.best_epoch
        history.events = sorted([*history.events, (best + 1, "best weights")])
        info["epochs"] = len(history.log["loss"])
        info["validation"] = {
            name.removeprefix("val_"): values[best]
            for name, values in history.log.items()
            if name.startswith("val_")
        }
        info["history"] = asdict(history)
        save_model(model, output, info)
        checkpoint.unlink(missing_ok=True)
    except KeyboardInterrupt:
        done = len(history.log.get("loss", ()))
        raise TrainingInterrupted(
            f"Training stopped after epoch {done} of {epochs}; nothing is lost: run it again "
            "with resume=True (--resume)."
            if done
            else "Training stopped before the first epoch was over: run it again."
        ) from None
    finally:
        bar.close()
    return history


class Keeper(keras.callbacks.Callback):
    """Moves the bar, keeps the history, and after every epoch all that is needed to go on.

    One file holds it, replaced in one step: as arrays the variables of network and optimiser
    (the states of dropout are among them) and those of `extra`, and as JSON the rest.
    """

    def __init__(self, path: Path | None, info: dict, history: History, bar: tqdm) -> None:
        super().__init__()
        self.path, self.info, self.history, self.bar = path, info, history, bar
        self.figures, self.began = {}, time.monotonic() - history.seconds

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.bar.set_description(f"epoch {epoch + 1}/{self.params['epochs']}")

    def on_train_batch_end(self, batch: int, logs: dict) -> None:
        self.show(logs)
        self.bar.update()

    def show(self, logs: dict) -> None:
        shown = ("loss", "accuracy", "val_accuracy")
        self.figures |= {name: f"{logs[name]:.3f}" for name in shown if name in logs}
        self.bar.set_postfix(self.figures, refresh=False)

    def extra(self, epoch: int, logs: dict) -> tuple[dict, dict[str, list[np.ndarray]]]:
        """Return what else to keep: as JSON, and lists of arrays by name."""
        return {}, {}

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        self.show(logs)
        for name, value in logs.items():
            self.history.log.setdefault(name, []).append(float(value))
        self.history.seconds = time.monotonic() - self.began
        rest, groups = self.extra(epoch, logs)
        if self.path is None:
            return
        for name, owner in (("network", self.model), ("optimizer", self.model.optimizer)):
            groups[name] = [variable.numpy() for variable in owner.variables]
        sizes = {group: len(arrays) for group, arrays in groups.items()}
        state = {"info": self.info, "sizes": sizes, **rest, **asdict(self.history)}
        flat = {f"{group}{k}": a for group, arrays in groups.items() for k, a in enumerate(arrays)}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.path) as partial, partial.open("wb") as file:
            np.savez(file, state=json.dumps(state), **flat)


class _Watcher(Keeper):
    """Keeps the callbacks' counters and the best weights as well, and writes the log as CSV."""

    COUNTERS = (("wait", "best", "best_epoch"), ("wait", "best", "cooldown_counter"))

    def __init__(self, output: Path, stop, plateau, info, state, history: History, bar) -> None:
        super().__init__(_beside(output, ".checkpoint.npz"), info, history, bar)
        self.output, self.others, self.state = output, (stop, plateau), state

    def on_train_begin(self, logs: dict | None = None) -> None:
        if self.state:  # only now, because here the others have just set theirs to zero
            for callback, counters in zip(self.others, self.state["counters"], strict=True):
                vars(callback).update(counters)
            self.others[0].best_weights = self.state["best"]

    def extra(self, epoch: int, logs: dict) -> tuple[dict, dict[str, list[np.ndarray]]]:
        rate = _rate(self.model)
        if rate != logs["learning_rate"]:
            self.history.events.append((epoch + 1, f"learning rate cut to {rate:.2g}"))
        if self.model.stop_training:
            self.history.events.append((epoch + 1, "stopped"))
        counters = [
            {name: vars(callback)[name] for name in names}
            for callback, names in zip(self.others, self.COUNTERS, strict=True)
        ]
        rest = {"learning_rate": rate, "stopped": self.model.stop_training, "counters": counters}
        return rest, {"best": self.others[0].best_weights}

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        super().on_epoch_end(epoch, logs)
        with (
            contextlib.suppress(TutorialError),  # open in Excel? No reason to stop training
            replacing(_beside(self.output, ".csv")) as partial,
            partial.open("w", newline="") as file,
        ):
            rows = zip(itertools.count(1), *self.history.log.values(), strict=False)
            csv.writer(file).writerows([["epoch", *self.history.log], *rows])


def read_checkpoint(path: Path) -> dict:
    """Return what a `Keeper` has written, the lists of arrays under their names.

    Raises:
        TutorialError: if it is damaged.
    """
    try:
        with np.load(path) as file:
            state = json.loads(str(file["state"]))
            for group, size in state["sizes"].items():
                state[group] = [file[f"{group}{k}"] for k in range(size)]
    except Exception as error:  # NumPy and zipfile raise several kinds on damaged files
        raise TutorialError(
            f"{path} is damaged ({error}): delete it, and train from the beginning."
        ) from None
    return state


class LiveCurves(keras.callbacks.Callback):
    """Redraw loss and accuracy below the cell after every epoch, in place.

    The last drawing stays as a plain picture. Outside a notebook nothing is shown.

    Args:
        title: what is being trained.
        reference: the `History.log` of another training, drawn in grey.
    """

    def __init__(self, title: str = "", reference: Mapping[str, Sequence[float]] | None = None):
        super().__init__()
        self.title, self.reference = title, reference
        self.log: dict[str, list[float]] = {}
        shell = get_ipython()
        self._shell = shell if hasattr(shell, "kernel") else None
        self._open()

    def _open(self) -> None:
        # An empty place in the cell, claimed before training starts: a training on a thread
        # would otherwise draw into whichever cell runs at that moment.
        if self._shell is not None:
            self._cell = self._shell.execution_count
            self._place = display(HTML(""), display_id=True)

    def on_train_begin(self, logs=None) -> None:
        self.log = {}
        in_main = threading.current_thread() is threading.main_thread()
        if self._shell is not None and in_main and self._shell.execution_count != self._cell:
            self._open()  # made in one cell, used in another

    def on_epoch_end(self, epoch: int, logs=None) -> None:
        for name, value in (logs or {}).items():
            values = self.log.setdefault(name, [])
            values += [np.nan] * (epoch - len(values))  # a resumed training starts later
            values.append(float(value))
        if self._shell is not None:
            drawn = io.BytesIO()
            self.figure().savefig(drawn, format="png", dpi=92)
            self._place.update(Image(data=drawn.getvalue(), alt=self.describe()))

    def figure(self) -> Figure:
        """Draw what was logged so far; not registered with pyplot, so nothing piles up."""
        from helpers import plots

        figure = Figure(figsize=(10, 3.4), layout="constrained")
        for ax, metric in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
            if self.reference:
                plots.learning_curves(ax, self.reference, metric, label="reference", colour="0.7")
            plots.learning_curves(ax, self.log, metric, title=f"{self.title} {metric}".strip())
        return figure

    def describe(self) -> str:
        """Say the last epoch in words, for those who cannot see the curves."""
        last = ", ".join(f"{name} {values[-1]:.3g}" for name, values in self.log.items())
        return f"Learning curves after epoch {len(self.log.get('loss', ()))}: {last}"


def restore(model: keras.Model, state: dict) -> History:
    """Set the variables of a compiled model as they were; return what it went through."""
    with model.distribute_strategy.scope():
        model.optimizer.build(model.trainable_variables)
        for variable, value in zip(
            [*model.variables, *model.optimizer.variables],
            [*state["network"], *state["optimizer"]],
            strict=True,
        ):
            variable.assign(value)
    return _history(state)


def _resume(path: Path, model: keras.Model, info: dict) -> dict:
    """Set the model as it was, and return the rest of the state."""
    state, output = read_checkpoint(path), path.with_name(path.name.removesuffix(".checkpoint.npz"))
    must_match(output, state["info"], info)
    # A model that was interrupted in this same kernel may have any of its earlier rates.
    rate, rates = _rate(model), state["log"]["learning_rate"]
    if rate not in (*rates, state["learning_rate"]):
        must_match(output, {"learning_rate": rates[0]}, {"learning_rate": rate})
    restore(model, state)
    return state


def must_match(output: Path, then: dict, now: dict, anew: str = "train without resume") -> None:
    """Refuse to resume where the end would be neither the old training's nor the new one's."""
    for key in sorted({*then, *now} - {"epochs", "validation", "history"}):
        before, after = then.get(key), now.get(key)
        if key in ("settings", "training") and before and after:
            must_match(output, before, after, anew)
        elif before != after:
            raise TutorialError(
                f"{output.name} was begun with another {key} ({before}, now {after}), so it cannot "
                f"be resumed: go back to that, or {anew} to begin anew."
            )


def _digest(*parts: np.ndarray | str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else np.ascontiguousarray(part))
    return digest.hexdigest()[:16]


def _rate(model: keras.Model) -> float:
    return float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))


def _name(augment: Callable | None) -> str | None:
    if isinstance(augment, functools.partial):
        return f"{_name(augment.func)}{augment.args}{augment.keywords}"
    return augment and getattr(augment, "__name__", type(augment).__name__)


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def check_output(path: Path) -> Path:
    """Return the path if a model can be saved there; make its folder if need be.

    Raises:
        TutorialError: if it ends in neither .keras nor .h5, or cannot be written to.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES or path.is_dir():
        raise TutorialError(f"{path} must be the name of a file that ends in .keras or .h5.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            return path
    except OSError as error:
        raise TutorialError(
            f"{path.parent} cannot be written to ({error.strerror}): choose another folder."
        ) from None


def indented(value) -> str:
    """Return a value as indented JSON, each innermost list on one line."""
    text = json.dumps(value, indent=2)
    return re.sub(r"\[[^][{}]*\]", lambda found: " ".join(found[0].split()), text) + "\n"


def save_model(model: keras.Model, path: Path, info: dict) -> None:
    """Save a model without its optimiser, and a sidecar; an earlier one becomes .previous.

    Raises:
        TutorialError: if it cannot be written; the earlier one is still there then.
    """
    path = check_output(path)
    previous, sidecar = path.with_name(f"{path.stem}.previous{path.suffix}"), sidecar_path(path)
    if path.exists():
        sidecar_path(previous).unlink(missing_ok=True)
        for old, kept in ((path, previous), (sidecar, sidecar_path(previous))):
            if old.exists():
                with replacing(kept) as partial:
                    shutil.copy2(old, partial)
    with replacing(path) as partial:
        # The same layers in a model that was never compiled: a third of the size.
        keras.Model(model.inputs[0], model.outputs[0], name=model.name).save(partial)
        sidecar.unlink(missing_ok=True)  # never an old description beside a new model
    with replacing(sidecar) as partial:
        partial.write_text(indented(info), encoding="utf-8")


def load_model(path: Path, classes: Sequence[str] = ()) -> tuple[keras.Model, dict]:
    """Return a model and what its sidecar says of it: {} without one.

    Args:
        path: a .keras or .h5 file; code in it is not run.
        classes: which to assume where no sidecar names them (a line on stderr says so).

    Raises:
        TutorialError: if it is not a model from (n, 48, 48, 1) to one probability per class.
    """
    path = Path(path)
    if not path.is_file():
        raise TutorialError(f"There is no model {path}: check the name, or train one first.")
    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
        takes, gives = tuple(model.input_shape), tuple(model.output_shape)
    except Exception as error:  # Keras raises a dozen kinds
        own = any(word in str(error) for word in ("safe_mode", "locate class", "Unknown layer"))
        why = "it holds code of its own" if own else "perhaps damaged"
        raise TutorialError(
            f"{path.name} is not a .keras or .h5 model that can be loaded ({why}): choose another."
        ) from None
    fixed = [(a, b) for a, b in zip(takes[1:], (IMAGE_SIZE, IMAGE_SIZE, 1), strict=False) if a]
    if len(takes) != 4 or len(gives) != 2 or any(a != b for a, b in fixed):
        raise TutorialError(
            f"{path.name} is a model from {takes} to {gives}, not from "
            f"(None, {IMAGE_SIZE}, {IMAGE_SIZE}, 1) to one probability per class: choose another."
        )
    info = read_sidecar(path)
    if classes and not info.get("classes"):
        info["classes"] = list(classes)
        assumed = f"assuming the alphabetical {', '.join(classes)}."
        print(f"{path.name} does not name its classes: {assumed}", file=sys.stderr)
    if info.get("classes") and len(info["classes"]) != gives[1]:
        raise TutorialError(
            f"{path.name} gives {gives[1]} probabilities, but there are {len(info['classes'])} "
            f"classes ({', '.join(info['classes'])}): choose a model that fits."
        )
    return model, info


def _history(saved: dict) -> History:
    events = [tuple(event) for event in saved["events"]]
    return History(saved["log"], events, saved["seconds"])


def load_history(path: Path) -> History | None:
    """Return what the training of a saved model went through, if its sidecar tells."""
    saved = read_sidecar(Path(path)).get("history")
    return _history(saved) if saved else None


def describe(data: Dataset) -> dict:
    """Return what a sidecar says of the data that its model was trained on."""
    about = {name: getattr(data, name) for name in ("name", "kind", "fingerprint")}
    return {"classes": list(data.classes), "data": about}


REFERENCE_RUNS = ROOT / "benchmarks" / "results" / "reference_runs.jsonl"


def logged_runs(path: Path, experiment: str = "") -> list[dict]:
    """Return the runs in a log, of one experiment or of all; a damaged line is left out."""
    found = []
    with contextlib.suppress(OSError):
        for line in path.read_text("utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                run = json.loads(line)
                whole = isinstance(run["settings"], dict) and isinstance(run["scores"], dict)
                if whole and experiment in ("", run["experiment"]):
                    found.append(run)
    return found


def log_run(experiment: str, settings: Mapping, most: int = 6, **scores: float) -> str:
    """Note a run in runs/log.jsonl, and return a table of it, earlier ones and the reference.

    Args:
        experiment: runs of the same experiment stand in one table.
        settings: by name; the table has those in which its runs differ.
        most: how many of the last runs it has, besides the reference.
        scores: what came out.
    """
    scores = {name: round(float(value), 4) for name, value in scores.items()}
    run = {"experiment": experiment, "settings": dict(settings), "scores": scores}
    run, path = json.loads(json.dumps(run, default=str)), RUNS / "log.jsonl"
    runs = logged_runs(path, experiment)
    if str(run) != str(*runs[-1:]):  # the same cell, run again without a change
        runs.append(run)
        with contextlib.suppress(OSError):  # no reason to lose what the cell has computed
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(f"\n{json.dumps(run)}\n")  # also below a line that was cut off
    titles = [f"run {n}" for n in range(1, len(runs) + 1)]
    rows = dict(zip(["reference"], logged_runs(REFERENCE_RUNS, experiment)[-1:], strict=False))
    rows |= dict(zip(titles[-most:], runs[-most:], strict=True))
    names = dict.fromkeys(name for row in rows.values() for name in row["settings"])
    varied = [n for n in names if len({str(row["settings"].get(n)) for row in rows.values()}) > 1]
    table = [["", *varied, *scores]]
    for title, row in rows.items():
        values = [row["settings"].get(name, "") for name in varied]
        table.append([title, *values, *(row["scores"].get(name, "") for name in scores)])
    cells = [[f"{v:,}" if type(v) is int else f"{v}" for v in row] for row in table]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = (zip(row, widths, strict=True) for row in cells)
    return "\n".join("  ".join(f"{v:>{w}}" for v, w in line) for line in lines)
