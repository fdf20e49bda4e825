"""The training that lesson 7 arrives at: every improvement is a switch of a `Recipe`."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

from helpers import SEED, TutorialError
from helpers.augment import affine, mixup, random_affine, random_strong
from helpers.callbacks import History, Keeper, must_match, read_checkpoint, restore
from helpers.data import Split
from helpers.networks import build_cnn, build_residual
from helpers.training import TrainingInterrupted, class_weights, make_dataset

SMALL = 32  # pixels
AUGMENTATIONS = {
    "strong": random_strong,
    "affine": random_affine,
    "none": lambda images, seed, size: affine(images, size=size),
}


@dataclass(frozen=True)
class Recipe:
    """How to train a network. The defaults make the most of twenty minutes on two cores.

    Attributes:
        epochs: rounds through the training images.
        small: how many of them, at the beginning, see images of 32 x 32 pixels.
        warm_up: how many of them, at the beginning, see a rising learning rate.
        decay: how many of them, at the end, see a falling one; 0 keeps it constant.
        network: "residual", or "lesson" for the network of lesson 3.
        normalise: subtract the training images' mean, and divide by their deviation.
        batch_size: images per step.
        learning_rate: of AdamW (Loshchilov and Hutter, 2019), at its highest.
        weight_decay: of AdamW, and of kernels only.
        label_smoothing: the part of each label that is spread over all classes.
        class_weight: the power of the balanced class weights; 0 leaves them out.
        augment: "strong" (`random_strong`), "affine" (`random_affine`) or "none".
        mixup: alpha of the Beta distribution by which two images are mixed (Zhang and others,
            2018); 0 mixes none.
        average: how much of the running average of the weights stays at each step. That average
            is what is scored and kept. 0 takes the weights as they are.
        teacher: the part of each label that another network's answer replaces (Hinton and
            others, 2015).
        fast: compute in bfloat16; None does so where the processor can.
        seed: of the weights, the order and the augmentation.
    """

    epochs: int = 22
    small: int = 11
    warm_up: int = 1
    decay: int = 16
    network: str = "residual"
    normalise: bool = True
    batch_size: int = 64
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    class_weight: float = 0.0
    augment: str = "affine"
    mixup: float = 0.0
    average: float = 0.998
    teacher: float = 0.0
    fast: bool | None = None
    seed: int = SEED


# Lesson 4's training, said in the same words: where the road to the recipe begins.
LESSON = Recipe(
    small=0,
    warm_up=0,
    decay=0,
    network="lesson",
    normalise=False,
    learning_rate=3e-4,
    weight_decay=0.0,
    label_smoothing=0.0,
    class_weight=0.5,
    average=0.0,
    fast=False,
)
# The shipped network's: what makes learning by heart harder pays in a training this long.
SHIPPED = Recipe(
    epochs=114,
    small=62,
    warm_up=2,
    decay=36,
    batch_size=96,
    class_weight=0.5,
    augment="strong",
    mixup=0.2,
    average=0.9985,
    teacher=0.5,
)


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
def _arithmetic(recipe: Recipe) -> Iterator[None]:
    """Let what is built meanwhile compute in bfloat16, its weights staying float32."""
    fast = has_bfloat16() if recipe.fast is None else recipe.fast
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if fast else "float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)


def teacher_probabilities(teacher: keras.Model, images: np.ndarray, views: int = 4) -> np.ndarray:
    """Return a teacher's mean probabilities, float32 (n, k), over several views of each image.

    Args:
        images: uint8 (n, 48, 48).
        views: how many, beside the image and its mirror image, each a little rotated, zoomed,
            shifted, and perhaps mirrored.
    """
    total = np.zeros((len(images), teacher.output_shape[-1]), np.float32)
    for start in range(0, len(images), 256):
        part = slice(start, start + 256)
        x = images[part, ..., None].astype(np.float32) / 255
        seen = [x, x[:, :, ::-1]] + [
            random_affine(x, (SEED + view, start), rotation=12, zoom=0.1, shift=0.06)
            for view in range(views)
        ]
        total[part] = np.mean([teacher.predict_on_batch(pixels) for pixels in seen], axis=0)
    return total


def soft_targets(
    recipe: Recipe, labels: np.ndarray, n_classes: int, teacher: np.ndarray | None = None
):
    """Return what the network should answer, and how much each image counts.

    Returns:
        float32 (n, n_classes), rows that sum to 1; and float32 (n,), 1 on average.
    """
    target = np.eye(n_classes, dtype=np.float32)[labels]
    target += recipe.label_smoothing * (1 / n_classes - target)
    if teacher is not None:
        target += recipe.teacher * (teacher.astype(np.float32) - target)
    balanced = class_weights(labels, n_classes, recipe.class_weight)
    weight = np.array(list(balanced.values()), np.float32)[labels]
    return target, weight / weight.mean()


def stream(recipe: Recipe, learn: Split, target, weight, first_epoch: int = 0) -> tf.data.Dataset:
    """Return batches of images, targets and weights, first of small images, then of 48 pixels."""
    # In place of its label, each image carries its number: target and weight hang on that.
    numbered = replace(learn, labels=np.arange(len(learn)))
    steps = math.ceil(len(learn) / recipe.batch_size)
    augment = AUGMENTATIONS[recipe.augment]
    if recipe.augment == "strong":
        augment = functools.partial(augment, level=float(learn.images.mean() / 255))

    def part(size: int | None, first: int) -> tf.data.Dataset:
        found = make_dataset(
            numbered,
            batch_size=recipe.batch_size,
            augment=functools.partial(augment, size=size),
            first_epoch=first,
            seed=recipe.seed,
        )

        def finish(step, entry):
            images, index = entry
            rest = tf.gather(target, index), tf.gather(weight, index)
            if not augment.mixup:
                return images, *rest
            return mixup(images, *rest, tf.stack([recipe.seed + 2, step]), augment.mixup)

        return found.enumerate(first * steps).map(finish)

    large = part(None, max(first_epoch, recipe.small))
    if first_epoch >= recipe.small:
        return large
    return part(SMALL, first_epoch).take((recipe.small - first_epoch) * steps).concatenate(large)


def train_recipe(
    recipe: Recipe,
    learn: Split,
    check: Split,
    n_classes: int,
    *,
    state: Path | None = None,
    teacher: np.ndarray | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    progress: bool = True,
) -> tuple[keras.Model, History]:
    """Train a new network by a recipe. It is not saved; `save_model` does that.

    Args:
        recipe: what to do.
        learn: what to learn from.
        check: what is scored after every epoch; it decides nothing.
        n_classes: how many probabilities come out.
        state: an .npz file, written after every epoch. Where there is one already, the training
            goes on from it. Delete it to begin anew.
        teacher: float32 (len(learn), n_classes), for `recipe.teacher`.
        callbacks: more of Keras's callbacks.
        progress: show a progress bar.

    Returns:
        The network, float32 and of plain Keras layers, with its averaged weights; and what the
        training went through.

    Raises:
        TutorialError: if the recipe asks for what does not exist or does not fit together, a
            class has no image, or the state is that of another network.
        TrainingInterrupted: on Ctrl-C, or Interrupt in JupyterLab.
    """
    _check(recipe, learn, check, teacher)
    target, weight = soft_targets(recipe, learn.labels, n_classes, teacher)
    steps = math.ceil(len(learn) / recipe.batch_size)
    mean, deviation = 0.0, 1.0
    if recipe.normalise:
        mean, deviation = float(learn.images.mean() / 255), float(learn.images.std() / 255)

    def build(**options) -> keras.Model:
        if recipe.network == "lesson":
            return build_cnn(n_classes, seed=recipe.seed)
        return build_residual(
            n_classes, mean=mean, deviation=deviation, seed=recipe.seed, **options
        )

    keras.utils.set_random_seed(recipe.seed)
    with _arithmetic(recipe):
        model = build(size=None, fused=True)
    with model.distribute_strategy.scope():
        optimizer = keras.optimizers.AdamW(
            WarmUpHoldDecay(
                recipe.learning_rate,
                *(epochs * steps for epochs in (recipe.warm_up, recipe.decay, recipe.epochs)),
            ),
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
    # Lengths may still change; what else does would make a third training out of two.
    changeable = ("epochs", "small", "decay")
    info = {name: value for name, value in asdict(recipe).items() if name not in changeable}
    info["images"], history = len(learn), History()
    if state is not None and state.exists():
        saved = read_checkpoint(state)
        must_match(state, saved["info"], info, f"delete {state}")
        history = restore(model, saved)
    done = len(history.log.get("loss", ()))
    bar = tqdm(
        total=recipe.epochs * steps, initial=done * steps, unit="batch", disable=not progress
    )
    one_hot = tf.constant(np.eye(n_classes, dtype=np.float32))
    validation = make_dataset(check, batch_size=256, shuffle=False)
    try:
        model.fit(
            stream(recipe, learn, target, weight, done),
            validation_data=validation.map(lambda x, label: (x, tf.gather(one_hot, label))),
            steps_per_epoch=steps,
            initial_epoch=done,
            epochs=recipe.epochs,  # at their end Keras puts the averages in place
            callbacks=[
                *([keras.callbacks.SwapEMAWeights()] if recipe.average else []),
                *callbacks,
                Keeper(state, info, history, bar),
            ],
            shuffle=False,
            verbose=0,
        )
    except KeyboardInterrupt:
        kept = "nothing is lost: run it again" if state else "run it again, from the beginning"
        done = len(history.log.get("loss", ()))
        raise TrainingInterrupted(
            f"Training stopped after epoch {done} of {recipe.epochs}; {kept}."
        ) from None
    finally:
        bar.close()
    final = build()
    final.set_weights(model.get_weights())
    return final, history


def _check(recipe: Recipe, learn: Split, check: Split, teacher: np.ndarray | None) -> None:
    for name, choices in (("network", ("residual", "lesson")), ("augment", AUGMENTATIONS)):
        if getattr(recipe, name) not in choices:
            raise TutorialError(
                f"A recipe's {name} is {getattr(recipe, name)!r}: set it to one of "
                f"{', '.join(choices)}."
            )
    if recipe.epochs < 1 or not 0 <= recipe.small <= recipe.epochs:
        raise TutorialError(
            f"A recipe has at least one epoch and at most {recipe.epochs} small ones, not "
            f"{recipe.epochs} and {recipe.small}: change epochs or small."
        )
    if not len(learn) or not len(check):
        raise TutorialError("There are no images to train on, or none to score: add some.")
    if recipe.network == "lesson" and recipe.small:
        raise TutorialError(
            "The lesson's network has dense layers and takes 48 x 48 pixels only: set small=0."
        )
    if (teacher is not None) != (recipe.teacher > 0):
        raise TutorialError(
            "A recipe with a teacher needs the teacher's answers, and only such a recipe does: "
            "give both or neither."
        )
