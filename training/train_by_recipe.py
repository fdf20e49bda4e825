"""The training that lesson 8 arrives at, with whatever a `Recipe` switches on."""

import contextlib
import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from helpers import SEED, TutorialError
from helpers.augment import random_affine
from helpers.data import Split, class_weights
from helpers.networks import build_cnn, build_residual
from training.batches import make_dataset
from training.checkpoint import Checkpoint, History, interruptible
from training.fused_normalisation import FusedBatchNormalization
from training.recipe import AUGMENTATIONS, SMALL, Recipe
from training.trainer import digest, fingerprints


class WarmUpHoldDecay(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises, holds, and falls in a straight line; lengths in steps."""

    def __init__(self, peak: float, warm_up: int, decay: int, steps: int) -> None:
        self.peak, self.warm_up, self.decay, self.steps = peak, warm_up, decay, steps

    def __call__(self, step) -> tf.Tensor:
        step = tf.cast(step, tf.float32)
        rise = (step + 1) / max(self.warm_up, 1)
        fall = tf.maximum((self.steps - step) / self.decay, 0.005) if self.decay else 1.0
        return self.peak * tf.minimum(tf.minimum(rise, fall), 1.0)

    def get_config(self) -> dict:
        return vars(self)


def has_bfloat16() -> bool:
    """Return True where the processor multiplies bfloat16 faster than float32."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:  # not Linux
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


@contextlib.contextmanager
def _arithmetic(fast: bool | None) -> Iterator[None]:
    """Let what is built meanwhile compute in bfloat16, its weights staying float32."""
    policy, fast = keras.config.dtype_policy(), has_bfloat16() if fast is None else fast
    keras.config.set_dtype_policy("mixed_bfloat16" if fast else "float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)


def teacher_probabilities(teacher: keras.Model, images: np.ndarray, views: int = 4) -> np.ndarray:
    """Return a teacher's mean probabilities, float32 (n, k), over several views of each image.

    Args:
        teacher: from float32 (n, 48, 48, 1), 0 to 1, to one probability per class.
        images: uint8 (n, 48, 48).
        views: how many, beside the image and its mirror image, each a little rotated, zoomed,
            shifted, and perhaps mirrored.
    """
    slightly = functools.partial(random_affine, rotation=12, zoom=0.1, shift=0.06)
    looks = [(images, None), (images[:, :, ::-1], None)] + [(images, slightly)] * views
    total = np.zeros((len(images), teacher.output_shape[-1]), np.float32)
    for view, (pixels, augment) in enumerate(looks):
        batches = make_dataset(
            pixels,
            pixels[:, 0, 0],
            batch_size=256,
            augment=augment,
            shuffle=False,
            seed=SEED + view,
        )
        total += teacher.predict(batches, verbose=0) / len(looks)
    return total


def soft_targets(
    recipe: Recipe, labels: np.ndarray, n_classes: int, teacher: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return what the network should answer, and how much each image counts.

    Args:
        recipe: its label smoothing, its teacher's part and its class weights count here.
        labels: int (n,).
        n_classes: how many probabilities come out.
        teacher: the answers of another network, float (n, n_classes), or None.

    Returns:
        float32 (n, n_classes), rows that sum to 1; and float32 (n,), 1 on average.

    Raises:
        TutorialError: if a class has no image; if the teacher's answers are missing, or not wanted.
    """
    if (teacher is not None) != (recipe.teacher > 0):
        raise TutorialError(
            "A recipe with a teacher needs the teacher's answers, and only such a recipe does: "
            "give both or neither."
        )
    target = np.eye(n_classes, dtype=np.float32)[labels]
    target += recipe.label_smoothing * (1 / n_classes - target)
    if teacher is not None:
        target += recipe.teacher * (teacher.astype(np.float32) - target)
    balanced = class_weights(labels, n_classes, recipe.class_weight)
    weight = np.array(list(balanced.values()), np.float32)[labels]
    return target, weight / weight.mean()


def stream(
    recipe: Recipe, images: np.ndarray, target: np.ndarray, weight: np.ndarray, first_epoch: int = 0
) -> tf.data.Dataset:
    """Return batches of images, targets and weights, first of small images, then of 48 pixels."""
    small_epochs = max(0, recipe.small - first_epoch)

    def part(size: int | None, first_epoch: int) -> tf.data.Dataset:
        return make_dataset(
            images,
            target,
            weight,
            batch_size=recipe.batch_size,
            augment=functools.partial(AUGMENTATIONS[recipe.augment], size=size),
            mixup=recipe.mixup,
            first_epoch=first_epoch,
            seed=recipe.seed,
        )

    steps = math.ceil(len(images) / recipe.batch_size)
    small = part(SMALL, first_epoch).take(small_epochs * steps)
    return small.concatenate(part(None, first_epoch + small_epochs))


def _build(recipe: Recipe, images: np.ndarray, n_classes: int, **options) -> keras.Model:
    """Return the recipe's network; `options` are those of `build_residual`."""
    if recipe.network == "lesson":
        return build_cnn(n_classes, seed=recipe.seed)
    if recipe.normalise:
        options |= {"mean": float(images.mean() / 255), "std": float(images.std() / 255)}
    return build_residual(n_classes, seed=recipe.seed, **options)


def _compile(model: keras.Model, recipe: Recipe, steps: int) -> None:
    """Compile for so many steps an epoch."""
    lengths = (epochs * steps for epochs in (recipe.warm_up, recipe.decay, recipe.epochs))
    with model.distribute_strategy.scope():
        optimizer = keras.optimizers.AdamW(
            WarmUpHoldDecay(recipe.learning_rate, *lengths),
            weight_decay=recipe.weight_decay,
            clipnorm=1.0,
            use_ema=recipe.average > 0,
            # In a short training the average must not remember the first, random weights.
            ema_momentum=max(0.0, min(recipe.average, 1 - 10 / (recipe.epochs * steps))),
        )
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        # Where it may, Keras compiles with XLA, which takes twice as long on a CPU.
        model.compile(
            optimizer, "categorical_crossentropy", metrics=["accuracy"], jit_compile=False
        )


def train_recipe(
    recipe: Recipe,
    train: Split,
    validation: Split,
    n_classes: int,
    *,
    output: Path | None = None,
    teacher: np.ndarray | None = None,
    start: keras.Model | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    progress: bool = True,
) -> tuple[keras.Model, History]:
    """Train a new network by a recipe. It is not saved; `save_trained` does that.

    Args:
        recipe: what to do.
        train: what to learn from.
        validation: what is scored after every epoch; it decides nothing.
        n_classes: how many probabilities come out.
        output: where the network will be saved. Beside it, after every epoch, a checkpoint is
            written, and where there is one already, the training goes on from it.
        teacher: float32 (len(train), n_classes), for `recipe.teacher`.
        start: a network of the same kind, whose weights are the first ones; None draws them.
        callbacks: more of Keras's callbacks.
        progress: show a progress bar.

    Returns:
        The network, float32 and of plain Keras layers, with its averaged weights; and what the
        training went through.

    Raises:
        TutorialError: if the teacher's answers are missing, or not wanted; if there are no images,
            or none of a class; if the checkpoint is that of another training.
        TrainingInterrupted: on Ctrl-C, or ■ in JupyterLab.
    """
    one_hot = np.eye(n_classes, dtype=np.float32)[validation.labels]
    scored = make_dataset(validation.images, one_hot, batch_size=256, shuffle=False)
    target, weight = soft_targets(recipe, train.labels, n_classes, teacher)
    steps = math.ceil(len(train) / recipe.batch_size)
    keras.utils.set_random_seed(recipe.seed)
    with _arithmetic(recipe.fast):
        model = _build(
            recipe, train.images, n_classes, size=None, normalise=FusedBatchNormalization
        )
    if start is not None:
        model.set_weights(start.get_weights())
    _compile(model, recipe, steps)
    settings = {"images": len(train), **fingerprints(model, train, validation), **asdict(recipe)}
    checkpoint = Checkpoint(output, settings | {"targets": digest(target)})
    averages = [keras.callbacks.SwapEMAWeights()] if recipe.average else []
    with interruptible(checkpoint, progress) as bar:
        model.fit(
            stream(recipe, train.images, target, weight, checkpoint.done),
            steps_per_epoch=steps,
            validation_data=scored,
            initial_epoch=checkpoint.done,
            epochs=checkpoint.until(recipe.epochs),  # at their end Keras puts the averages in place
            callbacks=[*averages, *callbacks, checkpoint, bar],
            shuffle=False,  # `stream` has done it
            verbose=0,
        )
    final = _build(recipe, train.images, n_classes)
    final.set_weights(model.get_weights())
    return final, checkpoint.history
