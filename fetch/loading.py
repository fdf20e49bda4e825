"""Reads all images into memory, and says what it took."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fetch.sources import DAMAGED, Source, locate, opened, prepare
from helpers import IMAGE_SIZE, TutorialError
from helpers.data import Dataset, Split, _fingerprint, grouped_split
from helpers.fer2013 import NAMES, _judge
from helpers.pictures import open_picture, to_input


def load(
    path: str | Path | Source, bare_as: str = "train", classes: Sequence[str] | None = None
) -> Dataset:
    """Load all images into memory; files that cannot be used are listed in `problems`.

    Args:
        path: what `locate` takes, or what `prepare` gave.
        bare_as: what bare class folders are: "test" makes all of them test images, "train"
            cuts off a fifth as test images.
        classes: the classes that labels number, where the folders do not define them.

    Raises:
        TutorialError: if a class of the training images, or the test set, has no usable image.
    """
    from tqdm.auto import tqdm

    source = path if isinstance(path, Source) else locate(path)
    sizes, rows = [], {"train": [], "test": []}
    with opened(source) as (tree, read):
        splits = {(split or bare_as): folders for split, folders in tree.splits.items()}
        names = tuple(classes or sorted(splits.get("train") or splits["test"]))
        if unknown := sorted(set().union(*splits.values()) - set(names)):
            raise TutorialError(f"{unknown[0]}/ is none of the classes {', '.join(names)}.")
        problems = [
            f"{file} is no image in a class folder and was skipped." for file in tree.strays
        ]
        todo = [
            (split, label, file)
            for split, folders in splits.items()
            for label, name in enumerate(names)
            for file in folders.get(name, ())
        ]
        bar = tqdm(todo, "Loading images", unit=" files", delay=2, mininterval=0.5, leave=False)
        for split, label, file in bar:
            try:
                picture = open_picture(read(file))
            except (TutorialError, OSError, *DAMAGED) as error:
                problems.append(f"{file} was skipped: {error}")
                continue
            if picture.size != (IMAGE_SIZE, IMAGE_SIZE):
                sizes.append(f"{file} is not {IMAGE_SIZE}×{IMAGE_SIZE} pixels and was resized.")
            rows[split].append((to_input(picture), label, "/".join(file.split("/")[-2:])))
    for split in splits:
        empty = set(range(len(names))) - {label for _, label, _ in rows[split]}
        if len(empty) == len(names) or (empty and split == "train" and not classes):
            raise TutorialError(f"{names[min(empty)]} has no {split} image: {problems[-1]}")
    train, test = map(_stack, rows.values())
    if "" in tree.splits and bare_as == "train":
        train, test = grouped_split(train, 0.2)
    if len(sizes) > 10:
        sizes = [f"{len(sizes)} images are of other sizes and were resized, such as {sizes[0]}"]
    fingerprint = _fingerprint(names, train, test)
    kind, verdict = _judge(names, train, test, tree.is_toy, fingerprint)
    problems = (*problems, *sizes)
    return Dataset(NAMES[kind], kind, names, train, test, problems, verdict, fingerprint)


def _stack(rows: list[tuple[np.ndarray, int, str]]) -> Split:
    return Split(
        np.array([image for image, _, _ in rows], np.uint8).reshape(-1, IMAGE_SIZE, IMAGE_SIZE),
        np.array([label for _, label, _ in rows], np.int64),
        np.array([file for _, _, file in rows], str),
    )


def load_dataset(download: bool | None = None) -> Dataset:
    """Get the images ready, load them, and print what they are in up to three lines."""
    source = prepare(download=download)
    print(source.message)
    data = load(source)
    print(data.verdict)
    if data.problems:
        print(f"Notes on files: {len(data.problems)} (data.problems); {data.problems[0]}")
    return data
