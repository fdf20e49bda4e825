"""How fast augmented training images come: python benchmarks/input_pipeline.py

`ImageDataGenerator`, as the original tutorial used it, against Keras's layers and ours.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import report

# ruff: isort: split
import keras
import tensorflow as tf
from PIL import Image

from helpers import IMAGE_SIZE, SEED
from helpers.augment import random_affine, random_strong
from helpers.data import Split, subset
from training.batches import make_dataset

BATCH = 64
ORIGINAL = {
    "rescale": 1 / 255,
    "rotation_range": 15,
    "width_shift_range": 0.1,
    "height_shift_range": 0.1,
    "zoom_range": 0.15,
    "horizontal_flip": True,
}


def write_folders(images: Split, folder: Path) -> None:
    """Write a JPEG file per image, in a folder per class."""
    for number, (image, label) in enumerate(zip(images.images, images.labels, strict=True)):
        file = folder / str(label) / f"{number}.jpg"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(file, quality=95)


def keras_layers(images: Split) -> tf.data.Dataset:
    """Return batches that four of Keras's layers have augmented, each with a seed of its own.

    With one seed for all, angle, zoom and shift of an image would rise and fall together.
    """
    augment = keras.Sequential(
        [
            keras.layers.RandomFlip("horizontal", seed=SEED),
            keras.layers.RandomRotation(15 / 360, seed=SEED + 1),
            keras.layers.RandomZoom(0.15, 0.15, seed=SEED + 2),
            keras.layers.RandomTranslation(0.1, 0.1, seed=SEED + 3),
        ]
    )
    found = tf.data.Dataset.from_tensor_slices((images.images[..., None], images.labels))
    found = found.shuffle(len(images), seed=SEED).repeat().batch(BATCH)
    return found.map(
        lambda x, label: (augment(tf.cast(x, tf.float32) / 255, training=True), label),
        num_parallel_calls=tf.data.AUTOTUNE,
    ).prefetch(tf.data.AUTOTUNE)


def rate(stream: Iterator, n: int) -> Callable[[], float]:
    """Return what draws `n` batches and gives images per second.

    A quarter as many are drawn first, as they may have been made while another was measured.
    """

    def measure() -> float:
        for _ in itertools.islice(stream, n // 4):
            pass
        began = time.perf_counter()
        drawn = sum(len(labels) for _, labels in itertools.islice(stream, n))
        return drawn / (time.perf_counter() - began)

    return measure


def main() -> None:
    options = report.parser(__doc__).parse_args()
    data = report.dataset(options)
    images = subset(data.train, 640) if options.quick else data.train
    n, rounds = (8, 2) if options.quick else (200, 5)
    generator = tf.keras.preprocessing.image.ImageDataGenerator(**ORIGINAL)
    quiet = contextlib.redirect_stdout(sys.stderr)  # the generator says what it found
    with tempfile.TemporaryDirectory() as folder, quiet:
        write_folders(images, Path(folder))
        streams = {
            "ImageDataGenerator, flow_from_directory": generator.flow_from_directory(
                folder,
                (IMAGE_SIZE, IMAGE_SIZE),
                color_mode="grayscale",
                batch_size=BATCH,
                class_mode="sparse",
                seed=SEED,
            ),
            "ImageDataGenerator, flow": generator.flow(
                images.images[..., None], images.labels, BATCH, seed=SEED
            ),
            "Keras layers in tf.data": iter(keras_layers(images)),
            "ours, random_affine": iter(
                make_dataset(images.images, images.labels, augment=random_affine)
            ),
            "ours, random_strong": iter(
                make_dataset(images.images, images.labels, augment=random_strong)
            ),
        }
        found = report.interleave({k: rate(v, n) for k, v in streams.items()}, rounds)
    slowest = report.spread(next(iter(found.values())))["median"]
    rows = []
    for name, values in found.items():
        middle = report.spread(values)
        times = round(middle["median"] / slowest, 2)
        rows.append({"pipeline": name, "images_per_second": middle, "times_the_first": times})
    notes = [
        f"Batches of {BATCH}, the same ranges of rotation, shift, zoom and flip; random_strong "
        "changes light and contrast and erases a part as well.",
        f"Median (lowest to highest) of {rounds} interleaved rounds of {n} batches.",
    ]
    about = {"title": "Augmented images per second", "data": data, "notes": notes}
    report.write("input_pipeline", rows, about, report.folder(options))


if __name__ == "__main__":
    report.run(main)
