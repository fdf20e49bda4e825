"""The lesson's network, and the augmentation that its training images go through."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import count

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from helpers.settings import IMAGE_SIZE, SEED


@cache
def strategy() -> tf.distribute.Strategy:
    """Return what spreads a training over all GPUs (or logical CPUs), if there are several."""
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(devices) == 1:
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def build_cnn(
    n_classes: int, *, batch_norm: bool = True, dropout: bool = True, seed: int = SEED
) -> keras.Model:
    """Return the lesson's network, not yet compiled; the same seed gives the same weights.

    Three blocks of convolution, batch normalisation, pooling and dropout, then two dense
    layers: the network of Siddhesh Todi's tutorial *Emotion Detection using CNN*.

    Args:
        n_classes: how many probabilities come out.
        batch_norm: with False, the network without batch normalisation.
        dropout: with False, the network without dropout.
        seed: of the initial weights and of dropout.

    Returns:
        A model from float32 (n, 48, 48, 1), 0 to 1, to float32 (n, n_classes), rows that sum to 1.
    """
    seeds = count(1000 * seed)  # no two layers draw the same numbers

    def init() -> keras.initializers.Initializer:
        return keras.initializers.GlorotUniform(seed=next(seeds))  # as Keras does by default

    def drop(rate: float) -> Callable:
        layer = layers.Dropout(rate, seed=next(seeds))
        return layer if dropout else lambda x: x

    with strategy().scope():
        inputs = x = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 1), name="face")
        for filters, rate in ((32, 0.2), (64, 0.25), (128, 0.25)):
            x = layers.Conv2D(
                filters, 3, padding="same", activation="relu", kernel_initializer=init()
            )(x)
            # Half the running mean is new after 7 steps, not 69: short trainings validate properly.
            x = layers.BatchNormalization(momentum=0.9)(x) if batch_norm else x
            x = drop(rate)(layers.MaxPooling2D()(x))
        x = layers.Flatten()(x)
        for units, rate in ((512, 0.4), (256, 0.3)):
            x = drop(rate)(layers.Dense(units, activation="relu", kernel_initializer=init())(x))
        # float32 even where the learner has switched on mixed precision
        outputs = layers.Dense(
            n_classes, activation="softmax", kernel_initializer=init(), dtype="float32"
        )(x)
        return keras.Model(inputs, outputs, name="lesson_cnn")


def affine(images, rotation=0.0, zoom_x=1.0, zoom_y=1.0, shift_x=0.0, shift_y=0.0, flip=False):
    """Rotate, zoom, shift and flip images in a single bilinear resampling.

    Every argument after the first is one value for all images, or one per image (n,).

    Args:
        images: float32 (n, h, w, 1), 0 to 1; what comes from beyond the border is its reflection.
        rotation: degrees, counter-clockwise.
        zoom_x: above 1 makes the face wider; `zoom_y` higher.
        shift_x: to the right, as a part of the width; `shift_y`: down, as a part of the height.
        flip: True mirrors left and right, before all else.

    Returns:
        A float32 tensor of the same shape, 0 to 1.
    """
    images = tf.convert_to_tensor(images, tf.float32)
    n, h, w = tf.unstack(tf.shape(images)[:3])
    height, width = tf.cast(h, tf.float32), tf.cast(w, tf.float32)

    def each(value):
        return tf.broadcast_to(tf.cast(value, tf.float32), [n])

    # The operation wants, for each output pixel, the input pixel it comes from: the inverse.
    angle = each(rotation) * (np.pi / 180)
    mirror = 1 - 2 * each(flip)
    a0, a1 = mirror * tf.cos(angle) / each(zoom_x), -mirror * tf.sin(angle) / each(zoom_x)
    b0, b1 = tf.sin(angle) / each(zoom_y), tf.cos(angle) / each(zoom_y)
    x, y = (width - 1) / 2, (height - 1) / 2  # turn about the centre
    from_x, from_y = x + each(shift_x) * width, y + each(shift_y) * height
    a2, b2 = x - a0 * from_x - a1 * from_y, y - b0 * from_x - b1 * from_y
    zero = tf.zeros_like(a0)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([a0, a1, a2, b0, b1, b2, zero, zero], axis=1),
        output_shape=tf.stack([h, w]),
        interpolation="BILINEAR",
        fill_mode="REFLECT",
        fill_value=0.0,
    )


def random_affine(images, seed, rotation=15.0, zoom=0.15, shift=0.1, flip=True):
    """Give each image its own random rotation, zoom, shift and flip.

    The ranges are those of the original tutorial's ImageDataGenerator.

    Args:
        images: float32 (n, h, w, 1), 0 to 1.
        seed: two integers, or a tensor of two; the same seed gives the same result.
        rotation: at most so many degrees, either way.
        zoom: at most this part wider or narrower, and at most this part higher or lower.
        shift: at most this part of the width or height, any way.
        flip: True mirrors every other image, on average.

    Returns:
        A float32 tensor of the same shape, 0 to 1.
    """
    u = tf.random.stateless_uniform([6, tf.shape(images)[0]], seed, -1.0, 1.0)
    return affine(
        images,
        rotation * u[0],
        1 + zoom * u[1],
        1 + zoom * u[2],
        shift * u[3],
        shift * u[4],
        tf.logical_and(flip, u[5] < 0),
    )
