"""The lesson's network, the shipped one, and a pretrained one."""

from collections.abc import Callable, Iterator
from functools import cache
from itertools import count
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from keras.initializers import GlorotUniform, HeNormal

from helpers import IMAGE_SIZE, SEED, TutorialError


@cache
def strategy() -> tf.distribute.Strategy:
    """Return Keras's way to train on all GPUs (or logical CPUs) at once, if there are several."""
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
    wanted = {layers.BatchNormalization: batch_norm, layers.Dropout: dropout}
    with strategy().scope():
        inputs = x = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 1), name="face")
        for layer in _lesson_layers(n_classes, count(1000 * seed)):
            if wanted.get(type(layer), True):
                x = layer(x)
        return keras.Model(inputs, x, name="lesson_cnn")


def _lesson_layers(n_classes: int, seeds: Iterator[int]) -> Iterator[keras.Layer]:
    """Yield the layers in order; each takes a seed of its own, so no two draw the same numbers."""
    for filters, rate in ((32, 0.2), (64, 0.25), (128, 0.25)):
        start, drop = GlorotUniform(next(seeds)), next(seeds)
        yield layers.Conv2D(filters, 3, padding="same", activation="relu", kernel_initializer=start)
        # Half the running mean is new after 7 steps, not 69: short trainings validate properly.
        yield layers.BatchNormalization(momentum=0.9)
        yield layers.MaxPooling2D()
        yield layers.Dropout(rate, seed=drop)
    yield layers.Flatten()
    for units, rate in ((512, 0.4), (256, 0.3)):
        drop, start = next(seeds), GlorotUniform(next(seeds))
        yield layers.Dense(units, activation="relu", kernel_initializer=start)
        yield layers.Dropout(rate, seed=drop)
    yield _probabilities(n_classes, next(seeds))


def _probabilities(n_classes: int, seed: int) -> keras.Layer:
    """Return the last layer: float32 even where the learner has switched on mixed precision."""
    start = GlorotUniform(seed)
    return layers.Dense(n_classes, activation="softmax", kernel_initializer=start, dtype="float32")


def build_residual(
    n_classes: int,
    *,
    mean: float = 0.0,
    std: float = 1.0,
    size: int | None = IMAGE_SIZE,
    normalise: type[keras.Layer] = layers.BatchNormalization,
    seed: int = SEED,
) -> keras.Model:
    """Return the shipped network, not yet compiled; the same seed gives the same weights.

    A first convolution, then four blocks, each of which adds what two convolutions find to its
    input (He and others, 2015), then the average over the picture: 2.4 million weights, and no
    large dense layer.

    Args:
        n_classes: how many probabilities come out.
        mean: of the training images, 0 to 1; subtracted inside the network.
        std: their standard deviation, by which the network divides.
        size: pixels of either side; None takes images of any size, with the same weights.
        normalise: the kind of layer that stands after each convolution.
        seed: of the initial weights and of dropout.

    Returns:
        A model from float32 (n, size, size, 1), 0 to 1, to float32 (n, n_classes), whose rows
        sum to 1.
    """
    seeds = count(1000 * seed)

    def convolve(x, filters: int, side: int = 3, **options):
        init = HeNormal(next(seeds))
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
        x = layers.Normalization(mean=mean, variance=std**2)(inputs)
        x = layers.ReLU()(convolve(x, 32))
        for filters in (64, 128, 256, 256):
            x = block(layers.MaxPooling2D()(x), filters)
        x = layers.Dropout(0.3, seed=next(seeds))(layers.GlobalAveragePooling2D()(x))
        return keras.Model(inputs, _probabilities(n_classes, next(seeds))(x), name="emotion_cnn")


def pretrained(side: int = 96, weights: Path | None = None) -> keras.Model:
    """Return MobileNetV2 (Sandler and others, 2018) without its last layer, for our faces.

    Args:
        side: pixels of either side; the network begins by enlarging the faces to it.
        weights: the file that `fetch.imagenet` gets; None leaves them random.

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


def features(model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """Cut a network off below its last dense layer.

    Returns:
        A function from crops, uint8 (n, 48, 48), to that layer's input, float32 (n, k).

    Raises:
        TutorialError: if the network has no dense layer.
    """
    dense = [layer for layer in model.layers if isinstance(layer, layers.Dense)]
    if not dense:
        raise TutorialError("This network does not end in a dense layer: choose another.")
    below = keras.Model(model.inputs, dense[-1].input)
    takes = [tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)]
    run = tf.function(lambda x: below(x, training=False), input_signature=takes)
    return lambda crops: run(crops[..., np.newaxis].astype(np.float32) / 255).numpy()
