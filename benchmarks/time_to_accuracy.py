"""Minutes of training to 50%, 60% and 65%: python benchmarks/time_to_accuracy.py

The recipe of the original tutorial, with and without its class weights, against ours, on the same
training and validation images. The result is written after each recipe; `--only` repeats one.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Sequence

import report

# ruff: isort: split
import keras
import tensorflow as tf
from input_pipeline import ORIGINAL

from helpers import SEED
from helpers.data import Split, class_weights, clean_split, subset
from helpers.networks import build_cnn
from training.batches import make_dataset
from training.recipe import Recipe
from training.train_by_recipe import train_recipe
from training.trainer import compile_model

AIMS = (0.5, 0.6, 0.65)
ROUNDS = 1000  # more than fit into any limit


class Curve(keras.callbacks.Callback):
    """Keeps [minutes of training, validation accuracy] per epoch; ends at the limit.

    The minutes begin with the first step, so they include building its graph; they do not run
    while the validation images are scored.
    """

    def __init__(self, minutes: float) -> None:
        super().__init__()
        self.limit, self.seconds, self.points = minutes * 60, 0.0, []
        self.log: dict[str, list[float]] = {}

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.began, self.running = time.perf_counter(), True

    def on_test_begin(self, logs: dict | None = None) -> None:
        if self.running:
            self.seconds += time.perf_counter() - self.began
            self.running = False

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        self.points.append([round(self.seconds / 60, 3), round(float(logs["val_accuracy"]), 4)])
        for name, value in logs.items():
            self.log.setdefault(name, []).append(round(float(value), 4))
        if self.seconds >= self.limit:
            self.model.stop_training = True


def first_reached(curve: Sequence[Sequence[float]], aim: float) -> float | None:
    """Return the minutes of the first point whose accuracy is at least `aim`, or None."""
    return next((minutes for minutes, accuracy in curve if accuracy >= aim), None)


def original(
    learn: Split, validation: Split, n: int, curve: Curve, quick: bool, weighted=True
) -> None:
    """Train as the tutorial did: Adam at 1e-3, ImageDataGenerator, balanced class weights."""
    keras.utils.set_random_seed(SEED)
    generator = tf.keras.preprocessing.image.ImageDataGenerator(**ORIGINAL)
    compile_model(model := build_cnn(n), 1e-3)
    model.fit(
        generator.flow(learn.images[..., None], learn.labels, 64, seed=SEED),
        validation_data=make_dataset(validation.images, validation.labels, shuffle=False),
        epochs=2 if quick else ROUNDS,
        class_weight=class_weights(learn.labels, n) if weighted else None,
        callbacks=[curve],
        verbose=0,
    )


def ours(learn: Split, validation: Split, n: int, curve: Curve, quick: bool) -> None:
    """Train by the recipe of lesson 8."""
    recipe = Recipe(epochs=2, small=1, warm_up=1, decay=1) if quick else Recipe()
    train_recipe(recipe, learn, validation, n, callbacks=[curve], progress=not quick)


RECIPES: dict[str, tuple[str, Callable]] = {
    "original": ("the original", original),
    "unweighted": (
        "the original, without class weights",
        functools.partial(original, weighted=False),
    ),
    "ours": ("ours", ours),
}


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--only", choices=RECIPES, help="run one recipe, keep the others' rows")
    parser.add_argument(
        "--minutes", type=float, default=20, help="of training, at most, per recipe (default: 20)"
    )
    options = parser.parse_args()
    data, folder = report.dataset(options), report.folder(options)
    learn, validation = clean_split(data.train)
    if options.quick:
        learn, validation = subset(learn, 384), subset(validation, 128)
    about = {
        "title": "Minutes of training to a validation accuracy",
        "data": data,
        "budget": {"minutes": options.minutes},
        "notes": [
            f"{len(learn):,} training and {len(validation):,} validation images, those of lesson "
            "8: no copies, none whose copies disagree. They are scored after every epoch; that "
            "time is not counted.",
            f"A recipe ends at its own end, or after {options.minutes:g} minutes; -: not reached.",
        ],
    }
    keys = {title: key for key, (title, _) in RECIPES.items()}
    kept = report.earlier("time_to_accuracy", about, folder) if options.only else []
    done = {keys[row["recipe"]]: row for row in kept}
    chosen = [options.only] if options.only else list(RECIPES)
    for key in chosen:
        title, train = RECIPES[key]
        print(f"Training: {title} ...", file=sys.stderr)
        curve = Curve(options.minutes)
        train(learn, validation, len(data.classes), curve, options.quick)
        done[key] = {
            "recipe": title,
            **{f"minutes_to_{aim:.0%}": first_reached(curve.points, aim) for aim in AIMS},
            "best_accuracy": max(accuracy for _, accuracy in curve.points),
            "minutes": curve.points[-1][0],
            "epochs": len(curve.points),
            "curve": curve.points,
            "log": [curve.log],  # a list, so that it stays out of the table
        }
        rows = [done[name] for name in RECIPES if name in done]
        report.write("time_to_accuracy", rows, about, folder, show=key == chosen[-1])


if __name__ == "__main__":
    report.run(main)
