"""What training images go through: one resampling for every move, light, noise, mixtures.

An augmentation is a function f(images, seed, size=None):

- images: float32 (n, h, w, 1), 0 to 1;
- seed: two integers, or a tensor of two; the same seed gives the same result;
- size: pixels of either side that come out; None leaves the shape as it is;
- returned: a float32 tensor (n, size, size, 1), 0 to 1.
"""

import numpy as np
import tensorflow as tf


def affine(
    images, rotation=0.0, zoom_x=1.0, zoom_y=1.0, shift_x=0.0, shift_y=0.0, flip=False, size=None
):
    """Flip, zoom, rotate, shift and resize images in a single bilinear resampling.

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
    n, *old_shape = tf.unstack(tf.shape(images)[:3])
    new_shape = old_shape if size is None else [size, size]
    h, w, new_h, new_w = (tf.cast(pixels, tf.float32) for pixels in (*old_shape, *new_shape))

    def matrix(*numbers):  # (n, 3, 3), from the first two rows; the third is always 0, 0, 1
        each = [tf.broadcast_to(tf.cast(x, tf.float32), [n]) for x in (*numbers, 0, 0, 1)]
        return tf.reshape(tf.stack(each, axis=1), [n, 3, 3])

    turn = tf.cast(rotation, tf.float32) * (np.pi / 180)
    mirror = 1 - 2 * tf.cast(flip, tf.float32)
    scale = matrix(mirror * zoom_x, 0, 0, 0, zoom_y, 0)
    rotate = matrix(tf.cos(turn), tf.sin(turn), 0, -tf.sin(turn), tf.cos(turn), 0)
    shift = matrix(1, 0, shift_x * w, 0, 1, shift_y * h)
    resize = matrix(new_w / w, 0, 0, 0, new_h / h, 0)
    from_middle = matrix(1, 0, (w - 1) / 2, 0, 1, (h - 1) / 2)
    to_middle = matrix(1, 0, (new_w - 1) / 2, 0, 1, (new_h - 1) / 2)
    forward = to_middle @ resize @ shift @ rotate @ scale @ tf.linalg.inv(from_middle)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        # The operation wants, for each new pixel, the old one it comes from: the inverse.
        transforms=tf.reshape(tf.linalg.inv(forward), [n, 9])[:, :8],
        output_shape=tf.stack(new_shape),
        interpolation="BILINEAR",
        fill_mode="REFLECT",
        fill_value=0.0,
    )


def random_affine(
    images, seed, size: int | None = None, *, rotation=15.0, zoom=0.15, shift=0.1, flip=True
):
    """Give each image its own random rotation, zoom, shift and flip.

    An augmentation, as this module describes them. The ranges are those of the original
    tutorial's ImageDataGenerator.

    Args:
        rotation: at most so many degrees, either way.
        zoom: at most this part wider or narrower, and at most this part higher or lower.
        shift: at most this part of the width or height, any way.
        flip: True mirrors every other image, on average.
    """
    u = tf.random.stateless_uniform([6, tf.shape(images)[0]], seed, -1.0, 1.0)
    zoom_x, zoom_y, shift_x, shift_y = 1 + zoom * u[1], 1 + zoom * u[2], shift * u[3], shift * u[4]
    mirrored = tf.logical_and(flip, u[5] < 0)
    return affine(images, rotation * u[0], zoom_x, zoom_y, shift_x, shift_y, mirrored, size)


def random_strong(images, seed, size: int | None = None):
    """Give each image its own random view, light and contrast, and erase a part of every other.

    An augmentation, as this module describes them. The erased rectangle is filled with noise as
    light as the batch (Zhong and others, 2017).
    """
    u = tf.random.stateless_uniform([13, tf.shape(images)[0]], seed, -1.0, 1.0)
    zoom = 1 + 0.15 * u[0]
    zoom_y = zoom * (1 + 0.05 * u[2])
    x = affine(images, 15 * u[1], zoom, zoom_y, 0.1 * u[3], 0.1 * u[4], u[5] < 0, size)
    each, mean = [-1, 1, 1, 1], tf.reduce_mean(x, [1, 2, 3], keepdims=True)
    x = (x - mean) * tf.reshape(1 + 0.3 * u[6], each) + mean + tf.reshape(0.15 * u[7], each)
    erased = _rectangles(tf.shape(x), u[8:12]) & tf.reshape(u[12] < 0, each)
    noise = tf.reduce_mean(images) + 0.25 * tf.random.stateless_normal(tf.shape(x), tf.add(seed, 1))
    return tf.clip_by_value(tf.where(erased, noise, x), 0.0, 1.0)


def _rectangles(shape, u):
    """Return a random rectangle for each image, bool (n, h, w, 1), True inside."""

    def near(centre, half, pixels):
        place = (tf.cast(tf.range(pixels), tf.float32) + 0.5) / tf.cast(pixels, tf.float32)
        return tf.abs(place[None] - 0.5 - 0.5 * centre[:, None]) < half[:, None]

    rows = near(u[2], 0.14 + 0.06 * u[0], shape[1])
    columns = near(u[3], 0.14 + 0.06 * u[1], shape[2])
    return rows[:, :, None, None] & columns[:, None, :, None]


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
