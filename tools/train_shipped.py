"""Train the network that the project ships: python tools/train_shipped.py

A residual network of 1.2 million parameters, trained on FER-2013's training images alone. Smaller
images (32 pixels) in the first part, 48 in the last; a learning rate that is held and then falls
to almost nothing; an average of the weights over the last steps is what is kept. After every
epoch the state is saved, and the same command goes on from there.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from sklearn.model_selection import train_test_split

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # for an environment without the `-e .` of requirements.txt

import helpers  # noqa: E402, F401  (before Keras, whose start it keeps quiet)

# ruff: isort: split
import keras  # noqa: E402
import tensorflow as tf  # noqa: E402
from keras import layers  # noqa: E402

from helpers import MODELS, RUNS, SEED, TutorialError  # noqa: E402
from helpers.data import Split, duplicate_groups, load, load_dataset  # noqa: E402
from helpers.evaluation import predict  # noqa: E402
from helpers.network import affine  # noqa: E402
from helpers.training import describe, save_model  # noqa: E402

BATCH, PEAK, WARM_UP = 96, 1.5e-3, 2  # images, learning rate, epochs
SMOOTHING, WEIGHT_DECAY, EMA = 0.1, 0.05, 0.9985


def distinct(split: Split) -> Split:
    """Return one of each image; none that is blank, and none whose copies disagree."""
    groups = duplicate_groups(split.images)
    first = np.unique(groups, return_index=True)[1]
    agree = [len(set(split.labels[groups == g])) == 1 for g in range(len(first))]
    keep = np.sort(first[np.array(agree)])
    return split.take(keep[split.images[keep].std(axis=(1, 2)) >= 1])


def block(x, filters: int):
    """Two convolutions beside a shortcut (He and others, 2015)."""

    def convolve(x, **options):
        x = layers.Conv2D(
            filters, 3, padding="same", use_bias=False, kernel_initializer="he_normal"
        )(x)
        return layers.BatchNormalization(**options)(x)

    shortcut = layers.BatchNormalization()(layers.Conv2D(filters, 1, use_bias=False)(x))
    # A scale of zero at first: the block begins as its shortcut alone.
    x = convolve(layers.ReLU()(convolve(x)), gamma_initializer="zeros")
    return layers.ReLU()(layers.Add()([x, shortcut]))


def build(size: int, n_classes: int, mean: float, deviation: float) -> keras.Model:
    """Return the network for images (n, size, size, 1), 0 to 1; weights fit every size."""
    inputs = x = keras.Input((size, size, 1), name="face")
    x = layers.Normalization(mean=mean, variance=deviation**2)(x)
    x = layers.Conv2D(32, 3, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
    x = layers.MaxPooling2D()(layers.ReLU()(layers.BatchNormalization()(x)))
    for filters in (64, 128):
        x = layers.MaxPooling2D()(block(x, filters))
    x = layers.Dropout(0.3)(layers.GlobalAveragePooling2D()(block(x, 256)))
    outputs = layers.Dense(n_classes, activation="softmax", dtype="float32")(x)
    return keras.Model(inputs, outputs, name="emotion_cnn")


def augment(images, seed: tf.Tensor, size: int, mean: float, deviation: float):
    """Move, light and partly erase images uint8 (n, 48, 48); float32 (n, size, size, 1), 0 to 1."""
    n = tf.shape(images)[0]
    u = tf.random.stateless_uniform([13, n], [SEED, seed], -1.0, 1.0)
    zoom = 1 + 0.15 * u[0]
    x = tf.cast(images, tf.float32)[..., None] / 255
    x = affine(x, 15 * u[1], zoom, zoom * (1 + 0.05 * u[2]), 0.1 * u[3], 0.1 * u[4], u[5] < 0)
    if size != x.shape[1]:
        x = tf.image.resize(x, (size, size))
    middle, wide = tf.reduce_mean(x, [1, 2, 3], keepdims=True), [-1, 1, 1, 1]
    x = (x - middle) * tf.reshape(1 + 0.3 * u[6], wide) + middle + tf.reshape(0.15 * u[7], wide)
    place = (tf.cast(tf.range(size), tf.float32) + 0.5) / size
    half = 0.14 + 0.06 * u[8:10]  # erase a rectangle in half of them (Zhong and others, 2017)
    rows, columns = (
        tf.abs(place[None] - 0.5 - 0.5 * u[10 + k][:, None]) < half[k][:, None] for k in range(2)
    )
    hidden = rows[:, :, None] & columns[:, None, :] & (u[12] < 0)[:, None, None]
    noise = mean + deviation * tf.random.stateless_normal(tf.shape(x), [SEED + 1, seed])
    return tf.clip_by_value(tf.where(hidden[..., None], noise, x), 0.0, 1.0)


def learning_rate(epoch: float, epochs: int, decay: int) -> float:
    """Rise over the first epochs, hold, then fall in a straight line over the last `decay`."""
    return PEAK * min((epoch + 0.05) / WARM_UP, 1, max((epochs - epoch) / decay, 0.01))


def optimizer_for(network: keras.Model) -> keras.optimizers.Optimizer:
    """Return AdamW for a network; biases and the scales of normalisation do not decay."""
    optimizer = keras.optimizers.AdamW(PEAK, weight_decay=WEIGHT_DECAY, clipnorm=1.0)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    optimizer.build(network.trainable_variables)
    return optimizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="FER-2013 (default: what dataset/ holds)")
    parser.add_argument("--epochs", type=int, default=46)
    parser.add_argument("--small", type=int, default=28, help="epochs at 32 pixels")
    parser.add_argument("--decay", type=int, default=14, help="epochs of falling learning rate")
    parser.add_argument("--float32", action="store_true", help="for processors without bfloat16")
    parser.add_argument("--output", type=Path, default=MODELS / "emotion_cnn.keras")
    options = parser.parse_args()

    data = load(options.data) if options.data else load_dataset()
    n_classes, images = len(data.classes), distinct(data.train)
    keras.utils.set_random_seed(SEED)
    learn, check = (
        images.take(part)
        for part in train_test_split(
            np.arange(len(images)), test_size=0.1, stratify=images.labels, random_state=SEED
        )
    )
    mean, deviation = float(learn.images.mean() / 255), float(learn.images.std() / 255)
    # Square roots of the balanced class weights, 1 on average over the images.
    weight = np.bincount(learn.labels, minlength=n_classes).astype("float32") ** -0.5
    weight /= weight[learn.labels].mean()
    targets = np.eye(n_classes, dtype="float32")[learn.labels]
    targets = targets * (1 - SMOOTHING) + SMOOTHING / n_classes

    if not options.float32:
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
    networks = {size: build(size, n_classes, mean, deviation) for size in (32, 48)}
    average = [np.copy(weights) for weights in networks[48].get_weights()]
    steps, first = len(learn) // BATCH, 0
    state = RUNS / "emotion_cnn.state.npz"
    network = networks[32]
    optimizer = optimizer_for(network)
    faces, aims, heft = map(tf.constant, (learn.images, targets, weight[learn.labels]))
    if state.exists():
        with np.load(state) as file:
            first, count = int(file["epoch"]), len(average)
            network.set_weights([file[f"weights{k}"] for k in range(count)])
            average = [file[f"average{k}"] for k in range(count)]
            for k, variable in enumerate(optimizer.variables):
                variable.assign(file[f"optimizer{k}"])

    def compiled_step(network, optimizer):
        @tf.function
        def step(images, targets, weights):
            with tf.GradientTape() as tape:
                given = network(images, training=True)
                losses = keras.losses.categorical_crossentropy(targets, given)
                loss = tf.reduce_mean(losses * weights)
            optimizer.apply(
                tape.gradient(loss, network.trainable_variables), network.trainable_variables
            )
            return loss

        return step

    step, size = None, None
    for epoch in range(first, options.epochs):
        wanted = 32 if epoch < options.small else 48
        if wanted != size:
            if network is not networks[wanted]:
                networks[wanted].set_weights(network.get_weights())
                old = [variable.numpy() for variable in optimizer.variables]
                network = networks[wanted]
                optimizer = optimizer_for(network)
                for variable, value in zip(optimizer.variables, old, strict=True):
                    variable.assign(value)
            step, size = compiled_step(network, optimizer), wanted
        order = np.random.default_rng([SEED, epoch]).permutation(len(learn))[: steps * BATCH]
        batches = tf.data.Dataset.from_tensor_slices(order.reshape(steps, BATCH)).enumerate()
        batches = batches.map(
            lambda k, i, size=size, epoch=epoch: (
                augment(
                    tf.gather(faces, i), tf.cast(k, tf.int32) + epoch * steps, size, mean, deviation
                ),
                tf.gather(aims, i),
                tf.gather(heft, i),
            ),
            num_parallel_calls=tf.data.AUTOTUNE,
        ).prefetch(4)
        losses = []
        for k, batch in enumerate(batches):
            optimizer.learning_rate.assign(
                learning_rate(epoch + k / steps, options.epochs, options.decay)
            )
            losses.append(float(step(*batch)))
            if k % 4 == 0:
                done = epoch * steps + k
                keep = min(EMA**4, ((1 + done) / (10 + done)) ** 4)
                average = [
                    keep * a + (1 - keep) * w
                    for a, w in zip(average, network.get_weights(), strict=True)
                ]
        arrays = {
            **{f"weights{k}": w for k, w in enumerate(network.get_weights())},
            **{f"average{k}": a for k, a in enumerate(average)},
            **{f"optimizer{k}": v.numpy() for k, v in enumerate(optimizer.variables)},
        }
        RUNS.mkdir(parents=True, exist_ok=True)
        partial = state.with_name("partial.npz")
        np.savez(partial, epoch=epoch + 1, **arrays)
        partial.replace(state)
        print(json.dumps({"epoch": epoch + 1, "size": size, "loss": np.mean(losses).round(4)}))

    keras.mixed_precision.set_global_policy("float32")
    final = build(48, n_classes, mean, deviation)
    final.set_weights(average)
    given = predict(final, check.images)
    right = given[np.arange(len(check)), check.labels]
    validation = {
        "accuracy": float(np.mean(given.argmax(axis=1) == check.labels)),
        "loss": float(-np.log(right + 1e-7).mean()),
    }
    settings = {"script": Path(__file__).name, "images": len(learn), "batch_size": BATCH}
    about = {"settings": settings, "epochs": options.epochs, "validation": validation}
    save_model(final, options.output, describe(data) | about)
    state.unlink()
    print(
        f"Saved {options.output}: {validation['accuracy']:.1%} on {len(check):,} images kept aside."
    )


if __name__ == "__main__":
    try:
        main()
    except TutorialError as error:
        sys.exit(str(error))
