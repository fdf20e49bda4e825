"""Batches, class weights, and a training that can be interrupted."""

from __future__ import annotations

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
import tensorflow as tf
from sklearn.utils.class_weight import compute_class_weight
from tqdm.auto import tqdm

from helpers import (
    SEED,
    TutorialError,
)
from helpers.callbacks import (
    History,
    _beside,
    _history,
    _rate,
    _Watcher,
    load_history,
    must_match,
    read_checkpoint,
    restore,
)
from helpers.data import Split
from helpers.models import check_output, load_model, save_model


class TrainingInterrupted(TutorialError):  # noqa: N818
    """The learner has interrupted a training."""


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


def make_dataset(
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
            make_dataset(
                train, batch_size=batch_size, augment=augment, first_epoch=done, seed=seed
            ),
            validation_data=make_dataset(val, batch_size=256, shuffle=False),
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


def _digest(*parts: np.ndarray | str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else np.ascontiguousarray(part))
    return digest.hexdigest()[:16]


def _name(augment: Callable | None) -> str | None:
    if isinstance(augment, functools.partial):
        return f"{_name(augment.func)}{augment.args}{augment.keywords}"
    return augment and getattr(augment, "__name__", type(augment).__name__)
