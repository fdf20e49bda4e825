"""The lesson's network, the shipped one, a pretrained one; what training images go through."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from functools import cache
from itertools import count
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from helpers import IMAGE_SIZE, SEED, TutorialError
from helpers.sources import STALL_SECONDS, reachable

IMAGENET = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/"
WEIGHTS = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"  # as Keras has it


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


class FusedBatchNormalization(layers.BatchNormalization):
    """Keras's batch normalisation (Ioffe and Szegedy, 2015), in one operation while training.

    Keras computes mean, variance and the rest one after the other, and each of them reads the
    whole batch again. TensorFlow has one operation for all; the weights are the same.
    """

    def call(self, inputs, training=None, mask=None):
        if not training:
            return super().call(inputs, training=False)
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.convert_to_tensor(self.gamma, tf.float32),
            offset=tf.convert_to_tensor(self.beta, tf.float32),
            mean=tf.zeros([0]),
            variance=tf.zeros([0]),
            epsilon=self.epsilon,
            is_training=True,
        )
        for moving, seen in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + tf.stop_gradient(seen) * (1 - self.momentum))
        return outputs


def build_residual(
    n_classes: int,
    *,
    mean: float = 0.0,
    deviation: float = 1.0,
    size: int | None = IMAGE_SIZE,
    fused: bool = False,
    seed: int = SEED,
) -> keras.Model:
    """Return the shipped network, not yet compiled; the same seed gives the same weights.

    A first convolution, then four blocks, each of which adds what two convolutions find to its
    input (He and others, 2015), then the average over the picture: 2.4 million weights, and no
    large dense layer.

    Args:
        n_classes: how many probabilities come out.
        mean: of the training images, 0 to 1; subtracted inside the network.
        deviation: of the training images, by which the network divides.
        size: pixels of either side; None takes images of any size, with the same weights.
        fused: True trains faster, and must not be saved: it needs this module to be loaded.
        seed: of the initial weights and of dropout.

    Returns:
        A model from float32 (n, size, size, 1), 0 to 1, to float32 (n, n_classes), whose rows
        sum to 1.
    """
    seeds = count(1000 * seed)
    normalise = FusedBatchNormalization if fused else layers.BatchNormalization

    def convolve(x, filters: int, side: int = 3, **options):
        init = keras.initializers.HeNormal(seed=next(seeds))
        x = layers.Conv2D(filters, side, padding="same", use_bias=False, kernel_initializer=init)(x)
        return normalise(**options)(x)

    def block(x, filters: int):
        shortcut = x if x.shape[-1] == filters else convolve(x, filters, 1)
        x = layers.ReLU()(convolve(x, filters))
        # A scale of zero at first: each block begins as its shortcut alone (Goyal et al., 2017).
        x = convolve(x, filters, gamma_initializer="zeros")
        return layers.ReLU()(layers.Add()([x, shortcut]))

    with strategy().scope():
        inputs = keras.Input((size, size, 1), name="face")
        x = layers.Normalization(mean=mean, variance=deviation**2)(inputs)
        x = layers.ReLU()(convolve(x, 32))
        for filters in (64, 128, 256, 256):
            x = block(layers.MaxPooling2D()(x), filters)
        x = layers.Dropout(0.3, seed=next(seeds))(layers.GlobalAveragePooling2D()(x))
        init = keras.initializers.GlorotUniform(seed=next(seeds))
        outputs = layers.Dense(
            n_classes, activation="softmax", kernel_initializer=init, dtype="float32"
        )(x)
        return keras.Model(inputs, outputs, name="emotion_cnn")


def imagenet_weights() -> Path:
    """Return the file of MobileNetV2's weights in Keras's own folder; download it if need be.

    Raises:
        TutorialError: if it is not there, and cannot be had within seconds.
    """
    home = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "models"
    if (home / WEIGHTS).is_file():
        return home / WEIGHTS
    limit = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALL_SECONDS)  # Keras would wait for a silent server for ever
    try:
        if not reachable(IMAGENET + WEIGHTS):
            raise OSError("their server cannot be reached")
        places = {"cache_dir": str(home.parent), "cache_subdir": home.name}
        return Path(keras.utils.get_file(WEIGHTS, IMAGENET + WEIGHTS, **places))
    except Exception as error:  # whatever it was, there is a lesson without it
        raise TutorialError(
            f"No pretrained weights ({error}): run this again with a network, or put {WEIGHTS} "
            f"into {home}."
        ) from None
    finally:
        socket.setdefaulttimeout(limit)


def pretrained(side: int = 96, weights: Path | None = None) -> keras.Model:
    """Return MobileNetV2 (Sandler and others, 2018) without its last layer, for our faces.

    Args:
        side: pixels of either side; the network begins by enlarging the faces to it.
        weights: what `imagenet_weights` gives; None leaves them random.

    Returns:
        A model from float32 (n, 48, 48, 1), 0 to 1, to features, float32 (n, 1280).

    Raises:
        TutorialError: if the file is damaged.
    """
    with strategy().scope():
        face = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 1), name="face")
        x = layers.Resizing(side, side, name="enlarge")(face)
        x = layers.Concatenate(name="grey_to_rgb")([x, x, x])
        x = layers.Rescaling(2.0, -1.0, name="to_minus_one")(x)  # as ImageNet's were
        model = keras.applications.MobileNetV2(
            input_tensor=x, include_top=False, weights=None, pooling="avg"
        )
    try:
        if weights is not None:
            model.load_weights(weights)
    except Exception:  # h5py and Keras raise several kinds
        raise TutorialError(f"{weights} is damaged: delete it, and run this again.") from None
    return keras.Model(face, model.output, name="pretrained")


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


def random_strong(images, seed, size: int | None = None, level=0.5):
    """Give each image its own random view, light and contrast, and erase a part of every other.

    Args:
        images: float32 (n, h, w, 1), 0 to 1.
        seed: two integers, or a tensor of two; the same seed gives the same result.
        size: pixels of either side that come out; None leaves the shape as it is.
        level: the mean of the noise that an erased rectangle is filled with (Zhong and others,
            2017), 0 to 1.

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
    noise = level + 0.25 * tf.random.stateless_normal(tf.shape(x), tf.add(seed, 1))
    return tf.clip_by_value(tf.where(erased, noise, x), 0.0, 1.0)


def features(model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """Return what gives, for uint8 crops (n, 48, 48), the last dense layer's input, (n, k) floats.

    Raises:
        TutorialError: if the network has no dense layer.
    """
    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    if not dense:
        raise TutorialError("This network does not end in a dense layer: choose another.")
    below = keras.Model(model.inputs, dense[-1].input)
    takes = [tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)]
    run = tf.function(lambda x: below(x, training=False), input_signature=takes)
    return lambda crops: run(crops[..., np.newaxis].astype(np.float32) / 255).numpy()


def own_classifier(model: keras.Model, crops: Sequence[Sequence[np.ndarray]]) -> Callable:
    """Exchange a network's last layer for a logistic regression, in seconds.

    Args:
        model: gives the features.
        crops: uint8 (48, 48), those of each class in a list.

    Returns:
        What turns uint8 crops (n, 48, 48) into probabilities, float (n, classes).
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    below = features(model)
    labels = np.repeat(range(len(crops)), [len(of_one) for of_one in crops])
    # With 20 images of FER-2013 per class, 78% of others were right and the mean confidence was
    # 74%; a hundred times the C was right in 74%, and sure by 88%.
    fitted = make_pipeline(
        StandardScaler(),
        LogisticRegression(C=0.01, class_weight="balanced", max_iter=1000),
    )
    fitted.fit(below(np.concatenate(crops)), labels)

    def answer(seen: np.ndarray) -> np.ndarray:
        return fitted.predict_proba(below(seen)) if len(seen) else np.zeros((0, len(crops)))

    return answer
