"""Lesson 4's training in one call: it can be interrupted, goes on, and is saved."""

import contextlib
import functools
import hashlib
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import keras
import numpy as np

from helpers import SEED, TutorialError
from helpers.data import Split
from helpers.models import check_output, read_sidecar, save_model
from training.batches import make_dataset
from training.checkpoint import Checkpoint, History, interruptible


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
    validation: Split,
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

    Args:
        model: with an output per class; `compile_model` compiles it if need be.
        train: what to learn from.
        validation: what stops the training and chooses the best epoch, so never the test set.
        epochs: at most so many; fewer once val_loss has not improved for `patience` epochs.
            After half as many, the learning rate is cut to 0.3 of itself.
        output: a .keras or .h5 file. Beside it come `<output>.json`, which describes it, the log
            `<output>.csv`, and `<output>.checkpoint.npz`, from which the training can go on.
        info: what `describe` gives, and "settings" of your own.
        class_weight: weight of each class in the training loss.
        augment: as for `make_dataset`, like batch_size and seed.
        resume: go on from the checkpoint, if there is one, to the very same end: after an
            interruption, or with more epochs than before. A finished training is loaded.
        callbacks: more of Keras's callbacks.
        progress: show a progress bar.

    Raises:
        TutorialError: if the output cannot be written, images or outputs are missing, the loss is
            no number, or what is to be resumed was a different training.
        TrainingInterrupted: on Ctrl-C, or ■ in JupyterLab.
    """
    output, n_classes = check_output(output), len(info.get("classes", ()))
    if n_classes not in (0, model.output_shape[-1]):
        raise TutorialError(
            f"The network has {model.output_shape[-1]} outputs, but there are {n_classes} "
            "classes: build it with as many."
        )
    if not model.compiled:
        compile_model(model)
    options = {"batch_size": batch_size, "augment": augment, "seed": seed}
    settings = info.get("settings", {}) | options | fingerprints(model, train, validation)
    settings |= {"augment": _name(augment), "class_weight": class_weight, "patience": patience}
    watching = _watching(patience)
    checkpoint = Checkpoint(output, settings, watching, resume)
    with interruptible(checkpoint, progress) as bar:
        model.fit(
            make_dataset(train.images, train.labels, first_epoch=checkpoint.done, **options),
            steps_per_epoch=math.ceil(len(train) / batch_size),
            validation_data=make_dataset(validation.images, validation.labels, shuffle=False),
            initial_epoch=checkpoint.done,
            epochs=checkpoint.until(epochs),
            class_weight=class_weight,
            callbacks=[*watching, *callbacks, checkpoint, bar],
            shuffle=False,  # `make_dataset` has done it
            verbose=0,
        )
        save_trained(model, output, info, checkpoint.history)
    return checkpoint.history


def _watching(patience: int) -> list[keras.callbacks.Callback]:
    """Return the two callbacks of lesson 4 that act on the validation loss."""
    slower = {"factor": 0.3, "patience": max(1, patience // 2), "min_lr": 1e-6}
    return [
        keras.callbacks.EarlyStopping("val_loss", patience=patience, restore_best_weights=True),
        keras.callbacks.ReduceLROnPlateau("val_loss", **slower),
    ]


def save_trained(
    model: keras.Model, path: Path, info: dict, history: History, kept: int | None = None
) -> None:
    """Save a model, a sidecar that says how it was trained and what it scored, and its log as CSV.

    Args:
        model: with the weights that are to stay.
        path: a .keras or .h5 file.
        info: what `describe` gives, and anything else for the sidecar.
        history: of its training.
        kept: the epoch, from 0, that the weights are of; None means the best one.

    Raises:
        TutorialError: if it cannot be written, or the validation loss is not a number. What was
            there before still is, then.
    """
    kept = history.best if kept is None else kept
    scores = {name[4:]: values[kept] for name, values in history.log.items() if "val_" in name}
    if not math.isfinite(scores["loss"]):
        raise TutorialError(
            f"The loss of this training is not a number, so {path.name} is not saved: train anew "
            "with a lower learning rate."
        )
    rest = asdict(history)
    if path.exists() and read_sidecar(path).get("history", {}).get("log") == history.log:
        return  # it was loaded
    about = {"settings": rest.pop("settings"), "epochs": history.epochs, "validation": scores}
    save_model(model, path, {**info, **about, "history": rest})
    table = np.column_stack([range(1, history.epochs + 1), *history.log.values()])
    names = ",".join(["epoch", *history.log])
    with contextlib.suppress(OSError):  # open in Excel? Never mind
        np.savetxt(f"{path}.csv", table, "%.8g", ",", header=names, comments="")


def fingerprints(model: keras.Model, train: Split, validation: Split) -> dict:
    """Return, by name, what a training begins with: the learning rate, and digests of the rest."""
    optimizer = model.optimizer.get_config()
    rate = optimizer.pop("learning_rate")

    def text(config: dict) -> str:  # Keras numbers layers anew in every kernel: conv2d_7
        return re.sub(r'_\d+"', '"', json.dumps(config, default=str))

    return {
        "learning_rate": float(f"{rate:.6g}") if isinstance(rate, float) else text(rate),
        "optimiser": digest(model.optimizer.__class__.__name__, text(optimizer)),
        "layers": digest(text(model.get_config())),
        "first weights": digest(*model.get_weights()),
        "images and labels": digest(
            train.images, train.labels, validation.images, validation.labels
        ),
    }


def digest(*parts: np.ndarray | str) -> str:
    """Return 16 hexadecimal digits that are the same for the same arrays and texts."""
    found = hashlib.sha256()
    for part in parts:
        found.update(part.encode() if isinstance(part, str) else np.ascontiguousarray(part))
    return found.hexdigest()[:16]


def _name(augment: Callable | None) -> str | None:
    if isinstance(augment, functools.partial):
        return f"{_name(augment.func)}{augment.args}{augment.keywords}"
    return augment and getattr(augment, "__name__", type(augment).__name__)
