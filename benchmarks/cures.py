"""Overfitting and its cures, with several seeds: python benchmarks/cures.py

Lesson 4's network is trained bare, and then with one cure more in every row, always on the same
few images for as many epochs. What is scored is the network of the last epoch, on whole images
and without dropout: on those it has learnt from, and on others. A run that is in the result
already is not repeated, so a benchmark that was stopped goes on where it was.
"""

from __future__ import annotations

import math
import sys

import report

# ruff: isort: split
import keras
import numpy as np

from helpers import SEED
from helpers.augment import random_affine
from helpers.data import Split, grouped_split, subset
from helpers.networks import build_cnn
from training.batches import make_dataset
from training.trainer import compile_model

# name, what `build_cnn` is asked for, and the augmentation; each row adds one thing
ARMS = (
    ("bare", {"batch_norm": False, "dropout": False}, None),
    ("+ batch normalisation", {"dropout": False}, None),
    ("+ dropout", {}, None),
    ("+ augmentation", {}, random_affine),
)


def measure(arm: tuple, learn: Split, validation: Split, n: int, epochs: int, seed: int) -> dict:
    """Train once, as lesson 4 does; return the accuracies of the last epoch's network."""
    _, options, augment = arm
    keras.utils.set_random_seed(seed)
    model = build_cnn(n, **options, seed=seed)
    model.layers[-1].kernel.assign(np.zeros(model.layers[-1].kernel.shape))
    compile_model(model, 1e-3)
    log = model.fit(
        make_dataset(learn.images, learn.labels, augment=augment, seed=seed),
        steps_per_epoch=math.ceil(len(learn) / 64),
        epochs=epochs,
        shuffle=False,  # make_dataset has done it
        verbose=0,
    ).history
    accuracy = {
        name: model.evaluate(make_dataset(part.images, part.labels, shuffle=False), verbose=0)[1]
        for name, part in (("training", learn), ("validation", validation))
    }
    return {"seed": seed, **accuracy, "loss": log["loss"]}


def row(name: str, runs: list[dict]) -> dict:
    parts = {part: [run[part] for run in runs] for part in ("training", "validation")}
    gaps = np.subtract(parts["training"], parts["validation"]).tolist()
    return {
        "network": name,
        "training_accuracy": report.spread(parts["training"]),
        "validation_accuracy": report.spread(parts["validation"]),
        "gap": report.spread(gaps),
        "seeds": len(runs),
        "runs": runs,
    }


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--images", type=int, default=1500)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    if options.quick:
        options.images, options.epochs, options.seeds = 60, 2, 1
    data, to = report.dataset(options), report.folder(options)
    learn, validation = grouped_split(data.train, seed=SEED)
    learn = subset(learn, options.images)
    validation = subset(validation, 200 if options.quick else 100_000)
    budget = {"images": len(learn), "epochs": options.epochs, "kept_aside": len(validation)}
    about = {
        "title": "Overfitting, and what each cure does",
        "data": data,
        "budget": budget,
        "notes": [
            f"Every row adds one thing to the row above it: {len(learn):,} training images, "
            f"{options.epochs} epochs, Adam at 1e-3, no class weights, the last layer's weights "
            "at zero to begin with, as in lesson 4. The accuracies are those after the last "
            "epoch, not the best of all; the training images are scored unaltered and without "
            f"dropout, like the {len(validation):,} validation images. Median of the seeds, in "
            "brackets the lowest and the highest."
        ],
    }
    runs = {row["network"]: row["runs"] for row in report.earlier("cures", about, to)}
    for seed in range(SEED, SEED + options.seeds):
        for arm in ARMS:
            done = runs.setdefault(arm[0], [])
            if seed not in [run["seed"] for run in done]:
                print(f"{arm[0]}, seed {seed}:", file=sys.stderr, flush=True)
                done.append(
                    measure(arm, learn, validation, len(data.classes), options.epochs, seed)
                )
            rows = [row(name, found) for name, found in runs.items()]
            report.write("cures", rows, about, to, show=False)
    report.write("cures", rows, about, to)


if __name__ == "__main__":
    report.run(main)
