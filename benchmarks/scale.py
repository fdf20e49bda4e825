"""Training as the data grows: python benchmarks/scale.py

The lesson's network on the training images once, 4 and 16 times over, each in a process of its
own, so that the memory of one is not that of another.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import report

# ruff: isort: split
import keras
import numpy as np

from helpers.augment import random_affine
from helpers.data import subset
from helpers.networks import build_cnn
from training.batches import make_dataset
from training.trainer import compile_model

BATCH = 64
TIMES = (1, 4, 16)


class Clock(keras.callbacks.Callback):
    """Notes when each step of a training was over."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.times.append(time.perf_counter())


def peak_memory() -> float | None:
    """Return the most MiB that this process ever held, or None on Windows."""
    try:
        import resource
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)


def work(options: argparse.Namespace) -> dict:
    """Train for some steps and return images per second and the peak of memory."""
    with np.load(options.images) as file:
        images = np.tile(file["images"], (options.times, 1, 1))
        labels = np.tile(file["labels"], options.times)
    model, clock = compile_model(build_cnn(int(labels.max()) + 1)), Clock()
    steps = options.steps + options.steps // 4  # the first of them warm up
    model.fit(
        make_dataset(images, labels, batch_size=BATCH, augment=random_affine),
        steps_per_epoch=steps,
        callbacks=[clock],
        shuffle=False,
        verbose=0,
    )
    seconds = clock.times[-1] - clock.times[-1 - options.steps]
    return {"rate": options.steps * BATCH / seconds, "memory": peak_memory(), "images": len(images)}


def ask(images: Path, times: int, steps: int) -> dict:
    """Return what `work` finds in a process of its own."""
    words = ["--images", images, "--times", times, "--steps", steps]
    failure = f"The training on {times} times the images failed ({{}}): "
    return report.in_process(
        words, failure + "perhaps there is too little memory; close other programs."
    )


def main() -> None:
    parser = report.parser(__doc__)
    for name, kind in (("--images", Path), ("--times", int), ("--steps", int)):
        parser.add_argument(name, type=kind, help=argparse.SUPPRESS)  # for `work`
    options = parser.parse_args()
    if options.images:
        print(json.dumps(work(options)))
        return
    data = report.dataset(options)
    images = subset(data.train, 640) if options.quick else data.train
    steps, rounds = (8, 1) if options.quick else (200, 3)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "images.npz"
        np.savez(file, images=images.images, labels=images.labels)
        scales = TIMES[:2] if options.quick else TIMES
        found = report.interleave({k: lambda k=k: ask(file, k, steps) for k in scales}, rounds)
    rows, base = [], None
    for times, runs in found.items():
        rate = report.spread([run["rate"] for run in runs])
        base = base or rate["median"]
        memory = [run["memory"] for run in runs if run["memory"]]
        rows.append(
            {
                "images": runs[0]["images"],
                "times_the_data": times,
                "images_per_second": rate,
                "against_once": round(rate["median"] / base, 3),
                "MiB_of_images": round(runs[0]["images"] * images.images[0].nbytes / 2**20, 1),
                "peak_MiB": report.spread(memory) if memory else None,
            }
        )
    notes = [
        f"The lesson's network, batches of {BATCH}, random_affine; {steps} steps after a quarter "
        "as many to warm up.",
        f"Median (lowest to highest) of {rounds} interleaved rounds, each a process of its own; "
        "its peak of memory includes TensorFlow and loading the images.",
    ]
    about = {"title": "Training as the data grows", "data": data, "notes": notes}
    report.write("scale", rows, about, report.folder(options))


if __name__ == "__main__":
    report.run(main)
