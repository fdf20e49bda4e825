"""What a camera does to a face before a network sees it: for networks that answer photographs."""

import tensorflow as tf

from helpers.augment import random_strong


def random_camera(images, seed, size: int | None = None):
    """Give each image `random_strong`'s changes, and some of them what cheap cameras do.

    An augmentation, as `helpers.augment` describes them. Of all images a fifth is blurred, as if
    enlarged from fewer pixels or out of focus; a fifth is lighter or darker in its middle tones;
    and a fifth carries noise.
    """
    x = random_strong(images, seed, size)
    u = tf.random.stateless_uniform([6, tf.shape(images)[0], 1, 1, 1], tf.add(seed, 3))
    once = tf.nn.avg_pool2d(x, 3, 1, "SAME")
    twice = tf.nn.avg_pool2d(once, 3, 1, "SAME")
    x = tf.where(u[0] < 0.1, once, tf.where(u[0] < 0.2, twice, x))
    x = tf.where(u[1] < 0.2, (x + 1e-3) ** tf.exp(1.6 * u[2] - 0.8), x)
    noise = tf.random.stateless_normal(tf.shape(x), tf.add(seed, 4))
    return tf.clip_by_value(tf.where(u[3] < 0.2, x + 0.1 * u[4] * noise, x), 0.0, 1.0)
