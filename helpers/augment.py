"""What training images go through: one resampling for every move, light, noise, mixtures."""

from __future__ import annotations

import numpy as np
import tensorflow as tf


def affine(
    images,
    rotation=0.0,
    zoom_x=1.0,
    zoom_y=1.0,
    shift_x=0.0,
    shift_y=0.0,
    flip=False,
    size: int | None = None,
):
    """Rotate, zoom, shift, flip and shrink images in a single bilinear resampling.

    Every argument but the first and the last is one value for all images, or one per image (n,).

    Args:
        images: float32 (n, h, w, 1), 0 to 1; what comes from beyond the border is its reflection.
        rotation: degrees, counter-clockwise.
        zoom_x: above 1 makes the face wider; `zoom_y` higher.
        shift_x: to the right, as a part of the width; `shift_y`: down, as a part of the height.
        flip: True mirrors left and right, before all else.
        size: pixels of either side that come out; None leaves the shape as it is.

    Returns:
        A float32 tensor (n, size, size, 1), 0 to 1.
    """
    images = tf.convert_to_tensor(images, tf.float32)
    n, h, w = tf.unstack(tf.shape(images)[:3])
    high, wide = (h, w) if size is None else (tf.constant(size), tf.constant(size))
    height, width, new_height, new_width = (tf.cast(v, tf.float32) for v in (h, w, high, wide))

    def each(value):
        return tf.broadcast_to(tf.cast(value, tf.float32), [n])

    # The operation wants, for each output pixel, the input pixel it comes from: the inverse.
    angle = each(rotation) * (np.pi / 180)
    mirror = 1 - 2 * each(flip)
    a0, a1 = mirror * tf.cos(angle) / each(zoom_x), -mirror * tf.sin(angle) / each(zoom_x)
    b0, b1 = tf.sin(angle) / each(zoom_y), tf.cos(angle) / each(zoom_y)
    down, across = height / new_height, width / new_width
    a0, a1, b0, b1 = a0 * across, a1 * down, b0 * across, b1 * down
    x, y = (width - 1) / 2, (height - 1) / 2  # turn about the centre
    from_x = (new_width - 1) / 2 + each(shift_x) * new_width
    from_y = (new_height - 1) / 2 + each(shift_y) * new_height
    a2, b2 = x - a0 * from_x - a1 * from_y, y - b0 * from_x - b1 * from_y
    zero = tf.zeros_like(a0)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([a0, a1, a2, b0, b1, b2, zero, zero], axis=1),
        output_shape=tf.stack([high, wide]),
        interpolation="BILINEAR",
        fill_mode="REFLECT",
        fill_value=0.0,
    )


def random_affine(
    images, seed, rotation=15.0, zoom=0.15, shift=0.1, flip=True, size: int | None = None
):
    """Give each image its own random rotation, zoom, shift and flip.

    The ranges are those of the original tutorial's ImageDataGenerator.

    Args:
        images: float32 (n, h, w, 1), 0 to 1.
        seed: two integers, or a tensor of two; the same seed gives the same result.
        rotation: at most so many degrees, either way.
        zoom: at most this part wider or narrower, and at most this part higher or lower.
        shift: at most this part of the width or height, any way.
        flip: True mirrors every other image, on average.
        size: pixels of either side that come out; None leaves the shape as it is.

    Returns:
        A float32 tensor (n, size, size, 1), 0 to 1.
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
        size,
    )


def random_strong(images, seed, size: int | None = None):
    """Give each image its own random view, light and contrast, and erase a part of every other.

    The erased rectangle is filled with noise as light as the batch (Zhong and others, 2017).

    Args:
        images: float32 (n, h, w, 1), 0 to 1.
        seed: two integers, or a tensor of two; the same seed gives the same result.
        size: pixels of either side that come out; None leaves the shape as it is.

    Returns:
        A float32 tensor (n, size, size, 1), 0 to 1.
    """
    u = tf.random.stateless_uniform([13, tf.shape(images)[0]], seed, -1.0, 1.0)
    zoom = 1 + 0.15 * u[0]
    x = affine(
        images, 15 * u[1], zoom, zoom * (1 + 0.05 * u[2]), 0.1 * u[3], 0.1 * u[4], u[5] < 0, size
    )
    each, middle = [-1, 1, 1, 1], tf.reduce_mean(x, [1, 2, 3], keepdims=True)
    x = (x - middle) * tf.reshape(1 + 0.3 * u[6], each) + middle + tf.reshape(0.15 * u[7], each)

    def near(centre, half, pixels):
        place = (tf.cast(tf.range(pixels), tf.float32) + 0.5) / tf.cast(pixels, tf.float32)
        return tf.abs(place[None] - 0.5 - 0.5 * centre[:, None]) < half[:, None]

    _, high, wide, _ = tf.unstack(tf.shape(x))
    rows, columns = near(u[10], 0.14 + 0.06 * u[8], high), near(u[11], 0.14 + 0.06 * u[9], wide)
    erased = rows[:, :, None, None] & columns[:, None, :, None] & tf.reshape(u[12] < 0, each)
    noise = tf.reduce_mean(images) + 0.25 * tf.random.stateless_normal(tf.shape(x), tf.add(seed, 1))
    return tf.clip_by_value(tf.where(erased, noise, x), 0.0, 1.0)


def mixup(images, target, weight, seed, alpha: float):
    """Mix each image of a batch with another of it, and targets and weights likewise.

    This is mixup (Zhang and others, 2018). The larger part is drawn from Beta(alpha, alpha),
    folded to 0.5 and above; the other image is the one in its place from the end.

    Args:
        images: float32 (n, h, w, 1).
        target: float32 (n, classes), rows that sum to 1.
        weight: float32 (n,), how much each image counts.
        seed: two integers, or a tensor of two; the same seed gives the same result.
        alpha: above 0; the smaller, the less there is of the other image.

    Returns:
        Images, targets and weights, as they came in.
    """
    drawn = tf.random.stateless_gamma([2, tf.shape(images)[0]], seed, alpha=alpha) + 1e-9
    part = tf.reduce_max(drawn, axis=0) / tf.reduce_sum(drawn, axis=0)

    def mix(x):
        share = tf.reshape(part, [-1] + [1] * (len(x.shape) - 1))
        return share * x + (1 - share) * tf.reverse(x, [0])

    return mix(images), mix(target), mix(weight)
