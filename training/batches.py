"""Batches of images, targets and weights, made while a network trains on the last ones."""

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from helpers import SEED, TutorialError
from helpers.augment import mixup as mix


def make_dataset(
    images: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray | None = None,
    *,
    batch_size: int = 64,
    augment: Callable | None = None,
    mixup: float = 0.0,
    shuffle: bool = True,
    first_epoch: int = 0,
    seed: int = SEED,
) -> tf.data.Dataset:
    """Return batches of images, float32 (b, 48, 48, 1), 0 to 1, of targets, and of weights.

    Args:
        images: uint8 (n, 48, 48), and so they stay in memory.
        targets: int (n,), or float (n, classes): what the network should answer.
        weights: float (n,): how much each image counts. None leaves them out.
        batch_size: of all but the last batch of an epoch, which may be shorter.
        augment: from a batch of images and a seed of two integers to a batch of images, as
            `random_affine` is.
        mixup: alpha of `helpers.augment.mixup`, for float targets with weights; 0 mixes none.
        shuffle: True gives an endless stream, shuffled every epoch; False one pass, in order.
        first_epoch: where to begin. Order and augmentation depend on `seed`, epoch and step
            alone, so a resumed training sees what it would have seen.
        seed: of order and augmentation.

    Raises:
        TutorialError: if there is no image.
    """
    n = len(images)
    if not n:
        raise TutorialError("There are no images to train on, or none to validate on: add some.")
    with tf.device("CPU"):  # where tf.data runs, whatever trains the network
        parts = [tf.constant(part) for part in (images, targets, weights) if part is not None]

    def shuffled(epoch: tf.Tensor) -> tf.data.Dataset:
        order = tf.random.experimental.stateless_shuffle(tf.range(n), tf.stack([seed, epoch]))
        return tf.data.Dataset.from_tensor_slices(order).batch(batch_size)

    def batch(step: tf.Tensor, index: tf.Tensor) -> tuple[tf.Tensor, ...]:
        pixels, *rest = (tf.gather(part, index) for part in parts)
        pixels = tf.cast(pixels, tf.float32)[..., None] / 255
        if augment is not None:
            pixels = augment(pixels, tf.stack([seed, step]))
        if mixup:
            pixels, *rest = mix(pixels, *rest, tf.stack([seed + 2, step]), mixup)
        return tf.ensure_shape(pixels, (None, None, None, 1)), *rest

    if shuffle:
        order = tf.data.Dataset.counter(first_epoch).flat_map(shuffled)
    else:
        order = tf.data.Dataset.range(n).batch(batch_size)
    steps = order.enumerate(first_epoch * math.ceil(n / batch_size))
    return steps.map(batch, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
