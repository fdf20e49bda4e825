"""Decodes, loads, checks and splits the images: one way for training and for prediction."""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from helpers import FER_CLASSES, IMAGE_SIZE, SEED, TutorialError
from helpers.sources import DAMAGED, Source, locate, opened, prepare

warnings.filterwarnings("ignore", module="PIL")  # about size and odd EXIF

# Measured on the files that Kaggle sends; see dataset/README.md.
FER_COUNTS = {
    "train": (3995, 436, 4097, 7215, 4965, 4830, 3171),
    "test": (958, 111, 1024, 1774, 1233, 1247, 831),
}
FER_FINGERPRINT = "59b5d382c26e13e7"
FER_NAME = re.compile("/(Training|PublicTest|PrivateTest)_")
NAMES = {
    "fer2013": "FER-2013",
    "altered": "an altered copy of FER-2013",
    "toy": "toy faces",
    "own": "your own images",
}


@dataclass(frozen=True, eq=False)
class Split:
    """Images uint8 (n,48,48), labels int64 (n,), and files like "angry/Training_1.jpg" (n,)."""

    images: np.ndarray
    labels: np.ndarray
    files: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, which: np.ndarray) -> Split:
        """Return the part that an array of indices or a mask names."""
        return Split(self.images[which], self.labels[which], self.files[which])


@dataclass(frozen=True, eq=False)
class Dataset:
    """Everything about the images at hand; `labels` index `classes`."""

    name: str  # "FER-2013", "an altered copy of FER-2013", "toy faces" or "your own images"
    kind: str  # "fer2013", "altered", "toy" or "own"
    classes: tuple[str, ...]
    train: Split
    test: Split
    problems: tuple[str, ...]  # one sentence per file that is not as it should be
    verdict: str  # one sentence: is this the true FER-2013, and why not
    fingerprint: str  # 16 hexadecimal digits; the same images and labels give the same


def open_picture(source: bytes | str | Path | BinaryIO, max_side: int = 1600) -> Image.Image:
    """Decode any picture: upright, mode RGB, its longer side at most `max_side` pixels.

    Transparency becomes white, 16 or 32 bits become 8; of an animation the first frame counts.

    Raises:
        TutorialError: if it is no picture, is damaged, or has over 178 million pixels.
    """
    title, raw = "This file", source
    if isinstance(source, str | Path):
        title = Path(source).name
        try:
            raw = Path(source).read_bytes()
        except OSError as error:
            raise TutorialError(f"{title} cannot be read: {error.strerror}.") from error
    elif hasattr(source, "read"):
        raw = source.read()
    if not raw:
        raise TutorialError(f"{title} is empty (0 bytes).")
    try:
        image = Image.open(io.BytesIO(raw))
        image.draft(None, (max_side, max_side))  # a large JPEG decodes at 1/2, 1/4 or 1/8
        image.load()
        with contextlib.suppress(Exception):  # damaged EXIF must not cost the picture
            ImageOps.exif_transpose(image, in_place=True)
        if image.mode[0] in "IF":  # 16 bits per pixel, or 32, whole numbers or not
            levels = np.nan_to_num(np.asarray(image, np.float32), posinf=0, neginf=0)
            white = 65535
            if not image.mode.startswith("I;16"):  # the file does not say what is white
                white = next((w for w in (1, 255, 65535) if levels.max() <= w), levels.max())
            image = Image.fromarray(np.rint(levels.clip(0, white) / white * 255).astype(np.uint8))
        image.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return image.convert("RGB")
    except Image.UnidentifiedImageError as error:
        raise TutorialError(
            f"{title} is not a picture that can be read here; save it as JPEG or PNG."
        ) from error
    except Exception as error:  # decoders raise nearly anything on damaged files
        raise TutorialError(f"{title} is damaged or cut off, or too large ({error}).") from error


def to_input(image: Image.Image) -> np.ndarray:
    """Return a picture as the network sees it: gray, its central square, uint8 (48,48)."""
    gray, side = image.convert("L"), min(image.size)
    if gray.width != gray.height:
        left, top = (gray.width - side) // 2, (gray.height - side) // 2
        gray = gray.crop((left, top, left + side, top + side))
    if side != IMAGE_SIZE:
        gray = gray.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.LANCZOS)
    return np.asarray(gray)


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


def _judge(
    classes: tuple[str, ...], train: Split, test: Split, is_toy: bool, fingerprint: str
) -> tuple[str, str]:
    """Return the kind of a data set and one sentence about what it is."""
    if is_toy:
        return "toy", "These are toy faces, drawn by this project, not photographs."
    if fingerprint == FER_FINGERPRINT:
        return "fer2013", "This is the true FER-2013: its counts and all its pixels are right."
    if classes != FER_CLASSES:
        return "own", "These are your own images, with classes of their own."
    total, full = len(train) + len(test), sum(map(sum, FER_COUNTS.values()))
    named = sum(bool(FER_NAME.search(file)) for part in (train, test) for file in part.files)
    if 2 * named < total and 2 * total < full:
        return "own", (
            "These are not FER-2013 but your own images, though the classes have the same names."
        )
    reasons = []
    for split, part in (("train", train), ("test", test)):
        counts = np.bincount(part.labels, minlength=len(classes))
        for name, count, wanted in zip(classes, counts, FER_COUNTS[split], strict=True):
            if count != wanted:
                reasons.append(f"{split}/{name}/ has {count:,} images where {wanted:,} belong")
    if len(reasons) > 3:
        reasons[3:] = [f"{len(reasons) - 3} more classes have wrong counts"]
    # Pillow counts shades many times as fast as NumPy.
    pixels = np.concatenate([train.images, test.images]).reshape(-1, IMAGE_SIZE)
    share, shades = np.array(Image.fromarray(pixels).histogram()) / pixels.size, np.arange(256)
    mean = share @ shades
    deviation = (share @ (shades - mean) ** 2) ** 0.5
    for title, value, wanted, tolerance in (
        ("the mean", mean, 129.38, 0.5),
        ("the standard deviation", deviation, 65.08, 0.5),
        ("the percentage at 255", 100 * share[255], 0.81, 0.2),
    ):
        if abs(value - wanted) > tolerance:
            reasons.append(f"{title} of its pixels is {value:.1f} where {wanted:.1f} belongs")
    if reasons:
        return "altered", (
            f"This is not the true FER-2013 but an altered copy: {'; '.join(reasons)}."
        )
    return "fer2013", (
        "This is FER-2013 by its counts and pixel statistics, but not pixel for pixel: "
        "perhaps it was saved again."
    )


def _digests(images: np.ndarray) -> list[bytes]:
    return [hashlib.sha256(image.tobytes()).digest() for image in images]


def _fingerprint(classes: Sequence[str], train: Split, test: Split) -> str:
    """Return a hash that depends on classes, labels and pixels, not on names or order."""
    total = hashlib.sha256("\0".join(classes).encode())
    for part in (train, test):
        total.update(b"\0\0")
        for label, digest in sorted(zip(part.labels.tolist(), _digests(part.images), strict=True)):
            total.update(label.to_bytes(4, "little") + digest)
    return total.hexdigest()[:16]


def load_dataset(download: bool | None = None) -> Dataset:
    """Get the images ready, load them, and print what they are in up to three lines."""
    source = prepare(download=download)
    print(source.message)
    data = load(source)
    print(data.verdict)
    if data.problems:
        print(f"Notes on files: {len(data.problems)} (data.problems); {data.problems[0]}")
    return data


def halves(test: Split) -> dict[str, Split]:
    """Return the halves "public" and "private" of FER-2013's test images, by file name.

    Raises:
        TutorialError: if the files are not named as FER-2013's are.
    """
    public, private = (
        np.array([f"/{half}Test_" in file for file in test.files], bool)
        for half in ("Public", "Private")
    )
    if not len(test) or not (public | private).all():
        raise TutorialError(
            "Only FER-2013 has a public and a private half, told by its file names; "
            "use the whole test set."
        )
    return {"public": test.take(public), "private": test.take(private)}


def duplicate_groups(images: np.ndarray) -> np.ndarray:
    """Number images (n, ...) so that the same number means the same pixels: int64 (n,)."""
    numbers: dict[bytes, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in _digests(images)], int)


def copies_of(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return a mask (n,): which images (n, ...) are, pixel for pixel, among `others` too."""
    known = set(_digests(others))
    return np.array([key in known for key in _digests(images)], bool)


def grouped_split(split: Split, fraction: float = 0.1, seed: int = SEED) -> tuple[Split, Split]:
    """Cut off about `fraction` of every class; identical images stay together.

    Returns:
        The larger part and the part cut off. A class with two different images is in both.
    """
    groups = duplicate_groups(split.images)
    _, first, sizes = np.unique(groups, return_index=True, return_counts=True)
    rng, held = np.random.default_rng(seed), np.zeros(len(first), bool)
    for label in np.unique(split.labels):
        # A group whose copies carry different labels counts for the first one's class.
        members = rng.permutation(np.flatnonzero(split.labels[first] == label))
        wanted = fraction * sizes[members].sum()
        number = int(np.searchsorted(np.cumsum(sizes[members]), wanted, side="right"))
        held[members[: min(max(number, 1), len(members) - 1)]] = True
    mask = held[groups]
    return split.take(~mask), split.take(mask)


def subset(split: Split, n: int, seed: int = SEED) -> Split:
    """Return at most `n` images at random, classes in proportion, but one of each at least."""
    if n >= len(split):
        return split
    rng, chosen = np.random.default_rng(seed), []
    present, counts = np.unique(split.labels, return_counts=True)
    shares = counts * max(n, len(present)) / len(split)
    numbers = np.maximum(np.floor(shares).astype(int), 1)
    for index in np.argsort(np.floor(shares) - shares, kind="stable"):
        numbers[index] += numbers.sum() < n and numbers[index] < counts[index]
    while numbers.sum() > max(n, len(present)):  # where the rarest classes were given one
        numbers[np.argmax(numbers)] -= 1
    for label, number in zip(present, numbers, strict=True):
        chosen.append(rng.choice(np.flatnonzero(split.labels == label), number, replace=False))
    return split.take(np.sort(np.concatenate(chosen)))
