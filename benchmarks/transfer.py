"""A network from ImageNet beside ours: python benchmarks/transfer.py

MobileNetV2 with a new last layer: its features as they are, at two sizes, then with its last
blocks or all of them trained further. Two controls know nothing: the same layers with random
weights, and plain pixels. A row that is in the result already is not repeated, so a benchmark
that was stopped goes on where it was.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import report

# ruff: isort: split
import keras
import tensorflow as tf
from time_to_accuracy import Curve

from fetch.imagenet import imagenet_weights
from helpers import IMAGE_SIZE, SEED
from helpers.augment import random_affine
from helpers.data import Split, clean_split, subset
from helpers.evaluation import intervals, predict, scores
from helpers.networks import pretrained
from training.batches import make_dataset
from training.recipe import Recipe
from training.train_by_recipe import WarmUpHoldDecay, train_recipe

BATCH = 64
PROBE = 20  # steps by which the speed of a training is measured
LAST = 0.25  # the part of the layers that "last blocks" means


@dataclass
class Made:
    """A trained network, the seconds that took, and on what."""

    model: keras.Model
    seconds: float
    images: int
    epochs: float
    side: int = IMAGE_SIZE  # pixels that the network sees


def with_head(
    base: keras.Model, learn: Split, n_classes: int, epochs: int = 30
) -> tuple[keras.Model, float]:
    """Train a new last layer on the features of all images; return the whole, and the seconds.

    Each feature is brought to mean 0 and deviation 1, however small it is: those of a network
    with random weights are about 1e-12, where keras.layers.Normalization would leave zeros.

    Args:
        base: from images to features (n, k).
        learn: what to learn from.
        n_classes: how many probabilities come out.
        epochs: of the last layer's training, which are short.
    """
    began = time.perf_counter()
    features = predict(base, learn.images, batch_size=BATCH)
    keras.utils.set_random_seed(SEED)
    mean, std = features.mean(axis=0), features.std(axis=0)
    scale = 1 / np.where(std > 0, std, 1)
    normalise = keras.layers.Rescaling(scale, offset=-mean * scale)
    dropout, dense = keras.layers.Dropout(0.3), keras.layers.Dense(n_classes, "softmax")
    inputs = keras.Input(features.shape[1:])
    head = keras.Model(inputs, dense(dropout(normalise(inputs))))
    steps = epochs * math.ceil(len(learn) / 256)
    optimizer = keras.optimizers.Adam(WarmUpHoldDecay(1e-3, 0, steps, steps))
    head.compile(optimizer, "sparse_categorical_crossentropy", jit_compile=False)
    head.fit(features, learn.labels, batch_size=256, epochs=epochs, verbose=0)
    whole = keras.Model(base.input, dense(dropout(normalise(base.output))))
    return whole, time.perf_counter() - began


def unfreeze(model: keras.Model, part: float) -> None:
    """Let the last part of the layers learn, but keep batch normalisation as it is."""
    first = round((1 - part) * len(model.layers))
    for index, layer in enumerate(model.layers):
        normalises = isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = index >= first and not normalises


def tune(model: keras.Model, learn: Split, rate: float, seconds: float) -> int:
    """Train the layers that may learn, for about so many seconds; return the number of steps.

    The rate rises for a tenth of the steps and then falls to nothing, so their number is fixed
    beforehand, by the speed of the first ones. Those change no weight.
    """
    slightly = functools.partial(random_affine, rotation=5, zoom=0.05, shift=0.04)
    stream = make_dataset(learn.images, learn.labels, batch_size=BATCH, augment=slightly)

    def fit(schedule, steps: int) -> float:
        loss = "sparse_categorical_crossentropy"
        model.compile(keras.optimizers.Adam(schedule), loss, jit_compile=False)
        once = functools.partial(model.fit, stream, shuffle=False, verbose=0)
        once(steps_per_epoch=min(2, steps))  # builds the graph
        began = time.perf_counter()
        once(steps_per_epoch=steps)
        return (time.perf_counter() - began) / steps

    probed = min(PROBE, math.ceil(len(learn) / BATCH))
    steps = max(2, round(seconds / fit(0.0, probed)))
    fit(WarmUpHoldDecay(rate, steps // 10, steps, steps), steps)
    return steps


def frozen(side: int, limit: int, random: bool = False) -> Callable[..., Made]:
    """Return what trains only a new last layer, on at most `limit` images."""

    def make(learn: Split, validation: Split, n: int, weights: Path | None, minutes: float) -> Made:
        part = subset(learn, limit)
        keras.utils.set_random_seed(SEED)
        base = pretrained(side, None if random else weights)
        model, seconds = with_head(base, part, n)
        return Made(model, seconds, len(part), 0, side)

    return make


def pixels(learn: Split, validation: Split, n: int, weights: Path | None, minutes: float) -> Made:
    """Train a last layer on the grey levels themselves."""
    face = keras.Input((*learn.images.shape[1:], 1))
    model, seconds = with_head(keras.Model(face, keras.layers.Flatten()(face)), learn, n)
    return Made(model, seconds, len(learn), 0)


def tuned(side: int, part: float, rate: float) -> Callable[..., Made]:
    """Return what trains a new last layer, and then the last part of all layers."""

    def make(learn: Split, validation: Split, n: int, weights: Path | None, minutes: float) -> Made:
        began = time.perf_counter()
        model, spent = with_head(pretrained(side, weights), learn, n)
        unfreeze(model, part)
        steps = tune(model, learn, rate, 60 * minutes - spent)
        seconds = time.perf_counter() - began
        return Made(model, seconds, len(learn), steps * BATCH / len(learn), side)

    return make


def own_epochs(minutes: float) -> int:
    """Return how many epochs, two at least, time_to_accuracy.py had in so many minutes."""
    known = json.loads((report.RESULTS / "time_to_accuracy.json").read_text("utf-8"))
    row = next(row for row in known["rows"] if row["recipe"] == "ours")
    return max(2, round(minutes * row["epochs"] / row["minutes"]))


def ours(learn: Split, validation: Split, n: int, weights: Path | None, minutes: float) -> Made:
    """Train by the recipe of lesson 8."""
    epochs = own_epochs(minutes)
    recipe = Recipe(epochs=epochs, small=epochs // 2, decay=max(1, epochs * 3 // 4))
    curve = Curve(math.inf)
    model, _ = train_recipe(recipe, learn, validation, n, callbacks=[curve], progress=False)
    return Made(model, curve.seconds, len(learn), epochs)


def ways(quick: bool) -> dict[str, Callable[..., Made]]:
    """Return what makes the network of each row."""
    low, high, few = (32, 64, 48) if quick else (96, 224, 8000)
    every = 10**9
    found = {
        "plain pixels": pixels,
        f"random weights, frozen, {low} pixels": frozen(low, every, random=True),
        f"ImageNet's weights, frozen, {low} pixels": frozen(low, every),
        f"the same, {high} pixels, fewer faces": frozen(high, few),
        f"the last blocks trained too, {low} pixels": tuned(low, LAST, 1e-4),
        f"all blocks trained too, {low} pixels": tuned(low, 1.0, 1e-4),
        "our own network, lesson 8's recipe": ours,
    }
    if quick:  # the others are made in the same ways
        for name in list(found):
            if any(word in name for word in ("random", "the same", "all blocks")):
                del found[name]
    return found


def milliseconds(model: keras.Model, rounds: int = 100) -> float:
    """Return the median time for one face."""
    takes = [tf.TensorSpec((1, *model.input_shape[1:]), tf.float32)]
    run = tf.function(lambda x: model(x, training=False), input_signature=takes)
    face, times = np.zeros((1, *model.input_shape[1:]), np.float32), []
    for _ in range(rounds + 3):
        began = time.perf_counter()
        run(face).numpy()
        times.append(1000 * (time.perf_counter() - began))
    return float(np.median(times[3:]))


def row(
    name: str, made: Made, validation: Split, classes: tuple[str, ...], known: Sequence[dict] = ()
) -> dict:
    """Score a network on the images kept aside; `known` rows say which are timed already."""
    answers = predict(made.model, validation.images, batch_size=BATCH)
    found = scores(validation.labels, answers, classes)
    low_high = intervals(validation.labels, answers, len(classes))
    ends = {
        key: {"median": found[key], "lowest": low, "highest": high}
        for key, (low, high) in zip(("accuracy", "macro_f1"), low_high.tolist(), strict=False)
    }
    return {
        "network": name,
        **{key: {k: round(v, 4) for k, v in end.items()} for key, end in ends.items()},
        "minutes": round(made.seconds / 60, 2),
        "images": made.images,
        "epochs": round(made.epochs, 1),
        **once_timed(made, known),
    }


def once_timed(made: Made, known: Sequence[dict]) -> dict:
    """Return size and time of a network; that of an earlier row with the same layers."""
    size = {"parameters": made.model.count_params(), "pixels": made.side}
    same = [row["ms_per_face"] for row in known if size.items() <= row.items()]
    return size | {"ms_per_face": same[0] if same else round(milliseconds(made.model), 2)}


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument(
        "--minutes",
        type=float,
        default=8,
        help="of training the trained blocks, about (default: 8)",
    )
    options = parser.parse_args()
    if options.quick:
        options.minutes = 0.0
    data, folder = report.dataset(options), report.folder(options)
    learn, validation = clean_split(data.train)
    weights = None if options.quick else imagenet_weights()
    if options.quick:
        learn, validation = subset(learn, 96), subset(validation, 64)
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()[:16] if weights else "random"
    budget = {"minutes": options.minutes, "images": len(learn), "kept_aside": len(validation)}
    about = {
        "title": "A network from ImageNet beside ours",
        "data": data,
        "budget": budget | {"weights": digest},
        "notes": [
            f"{len(learn):,} training images, or as many as a row says, and {len(validation):,} "
            "kept aside, which are scored: those of lesson 8. In brackets the 95% interval of "
            "1,000 bootstrap rounds. One training each: no interval covers another one.",
            "Minutes: features, last layer and training together; scoring is not counted. Plain "
            "pixels, random weights, frozen: only the last layer learns, on features of mean 0 and "
            f"deviation 1. The others were planned for about {options.minutes:g} minutes and took "
            "what the table says, so they had not the same time. Nor the same arithmetic: ours "
            "computes in bfloat16 where the processor can, MobileNetV2 in float32.",
            "Epochs are those of the training after the last layer's. One face at a time for its "
            "time, once for rows with the same layers and pixels.",
            f"MobileNetV2's weights: learnt from ImageNet at 224 pixels, a file with the digest "
            f"{digest}; another file of such weights gives somewhat other figures.",
        ],
    }
    rows = {row["network"]: row for row in report.earlier("transfer", about, folder)}
    for name, make in ways(options.quick).items():
        if name in rows:
            print(f"{name}: measured before.", file=sys.stderr)
            continue
        print(f"{name} ...", file=sys.stderr, flush=True)
        made = make(learn, validation, len(data.classes), weights, options.minutes)
        rows[name] = row(name, made, validation, data.classes, list(rows.values()))
        print(f"  {made.seconds:.0f} s, {rows[name]['accuracy']}", file=sys.stderr, flush=True)
        report.write("transfer", list(rows.values()), about, folder, show=False)
        keras.backend.clear_session()
    report.write("transfer", list(rows.values()), about, folder)


if __name__ == "__main__":
    report.run(main)
