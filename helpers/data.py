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

from helpers.settings import FER_CLASSES, IMAGE_SIZE, SEED, TutorialError
from helpers.sources import DAMAGED, Source, locate, opened, prepare

MAX_PIXELS = 200_000_000  # larger pictures are refused before they are decoded
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "JPEG2000", "ICO", "TGA", "AVIF")

# Measured on the files that Kaggle sends; see dataset/README.md.
FER_COUNTS = {
    "train": (3995, 436, 4097, 7215, 4965, 4830, 3171),
    "test": (958, 111, 1024, 1774, 1233, 1247, 831),
}
FER_PIXELS = {  # of train and test together: value, tolerance
    "the mean": (129.38, 0.5),
    "the standard deviation": (65.08, 0.5),
    "the percentage at 255": (0.81, 0.2),
}
FER_FINGERPRINT = "59b5d382c26e13e7"
FER_NAME = re.compile(r"/(Training|PublicTest|PrivateTest)_\d+\.\w+$")


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


_KINDS = {
    "FER-2013": "fer2013",
    "an altered copy of FER-2013": "altered",
    "toy faces": "toy",
    "your own images": "own",
}
_EMPTY = Split(np.zeros((0, IMAGE_SIZE, IMAGE_SIZE), np.uint8), np.zeros(0, int), np.zeros(0, str))


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

    Transparency becomes white, 16 bits become 8, and of an animation the first frame counts.

    Raises:
        TutorialError: if it is no picture, is damaged, or has over 200 million pixels.
    """
    title, raw = "The picture", source
    if isinstance(source, str | Path):
        title = Path(source).name
        try:
            raw = Path(source).read_bytes()
        except OSError as error:
            raise TutorialError(f"{title} cannot be read: {error.strerror}.") from error
    elif hasattr(source, "read"):
        raw = source.read()
    return _decode(bytes(raw), title, max_side).convert("RGB")


def _decode(raw: bytes, title: str, max_side: int = 1600) -> Image.Image:
    """Do the work of `open_picture`, but leave gray pictures gray: the pixels are the same."""
    if not raw:
        raise TutorialError(f"{title} is empty (0 bytes).")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about size, which is checked here, and odd EXIF
            image = Image.open(io.BytesIO(raw), formats=FORMATS)
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            if max(image.size) > 2 * max_side:
                image.draft(None, (max_side, max_side))  # a JPEG decodes at 1/2, 1/4 or 1/8
            image.load()
            if max(image.size) > 4 * max_side:  # thin out, or each copy below would be huge
                scale = 4 * max_side / max(image.size)
                size = [max(1, round(side * scale)) for side in image.size]
                image = image.resize(size, Image.Resampling.NEAREST)
            with contextlib.suppress(Exception):  # damaged EXIF must not cost the picture
                ImageOps.exif_transpose(image, in_place=True)
            image = _eight_bits(image)
            if max(image.size) > max_side:
                image.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
            return image
    except Image.UnidentifiedImageError as error:
        hint = "; save it as JPEG or PNG" if raw[4:8] == b"ftyp" else ""  # HEIC, or a film
        raise TutorialError(f"{title} is not a picture that can be read here{hint}.") from error
    except Image.DecompressionBombError as error:
        raise TutorialError(f"{title} has too many pixels; make it smaller first.") from error
    except Exception as error:  # decoders raise nearly anything on damaged files
        raise TutorialError(f"{title} is damaged or cut off ({error}).") from error


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return a decoded picture of any mode as gray ("L") or "RGB", on white."""
    if image.mode.startswith("I"):  # 16 bits per pixel, perhaps stored in 32
        levels = np.clip(np.asarray(image), 0, 65535)
        return Image.fromarray((levels / 257).round().astype(np.uint8))
    if image.mode == "F":  # no range is prescribed, so it is stretched
        values = np.nan_to_num(np.asarray(image))
        values = (values - values.min()) / max(float(np.ptp(values)), 1e-9)
        return Image.fromarray((255 * values).round().astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "L" else image.convert("RGB")


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
    problems, sizes, parts = [], [], {"train": _EMPTY, "test": _EMPTY}
    with opened(source) as (tree, read):
        splits = {(split or bare_as): folders for split, folders in tree.splits.items()}
        names = tuple(classes or sorted(splits.get("train") or splits["test"]))
        unknown = sorted({name for folders in splits.values() for name in folders} - set(names))
        if unknown:
            raise TutorialError(f"{unknown[0]}/ is none of the classes {', '.join(names)}.")
        problems += [
            f"{file} is no image in a class folder and was skipped." for file in tree.strays
        ]
        todo = [
            (split, label, file)
            for split, folders in splits.items()
            for label, name in enumerate(names)
            for file in folders.get(name, ())
        ]
        images, kept = np.empty((len(todo), IMAGE_SIZE, IMAGE_SIZE), np.uint8), []
        bar = tqdm(todo, "Loading images", unit=" files", delay=2, mininterval=0.5, leave=False)
        for split, label, file in bar:
            try:
                picture = _decode(read(file), file)
            except TutorialError as error:
                problems.append(f"{error} It was skipped.")
                continue
            except (OSError, *DAMAGED) as error:
                problems.append(f"{file} cannot be read ({error}) and was skipped.")
                continue
            if picture.size != (IMAGE_SIZE, IMAGE_SIZE):
                sizes.append(f"{file} is not {IMAGE_SIZE}×{IMAGE_SIZE} pixels and was resized.")
            images[len(kept)] = to_input(picture)
            kept.append((split, label, "/".join(file.split("/")[-2:])))
    for split in splits:
        rows = [index for index, item in enumerate(kept) if item[0] == split]
        parts[split] = Split(
            images[rows],
            np.array([kept[index][1] for index in rows], np.int64),
            np.array([kept[index][2] for index in rows], str),
        )
        lacking = set(range(len(names))) - set(parts[split].labels.tolist())
        if not rows or (lacking and split == "train" and not classes):
            title = f"{split}/{names[min(lacking)]}/" if rows else f"the {split}ing images"
            raise TutorialError(f"No image of {title} can be used; {problems[-1]}")
    train, test = parts.values()
    if "" in tree.splits and bare_as == "train":
        train, test = grouped_split(train, 0.2)
    blank = [
        file
        for part in (train, test)
        for file, image in zip(part.files, part.images, strict=True)
        if image.min() == image.max()
    ]
    name, verdict = _judge(names, train, test, tree.is_toy, len(sizes))
    kind = _KINDS[name]
    if kind == "own" and len(sizes) > 3:
        sizes = [f"{len(sizes)} images are of other sizes and were resized, such as {sizes[0]}"]
    if blank:
        sizes.append(f"{len(blank)} images are blank, one shade all over, such as {blank[0]}.")
    fingerprint = _fingerprint(names, train, test)
    if kind == "fer2013" and fingerprint != FER_FINGERPRINT:
        verdict = (
            "This is FER-2013 by its counts and pixel statistics, but not pixel for pixel: "
            "perhaps it was saved again."
        )
    return Dataset(name, kind, names, train, test, (*problems, *sizes), verdict, fingerprint)


def _judge(
    classes: tuple[str, ...], train: Split, test: Split, is_toy: bool, resized: int
) -> tuple[str, str]:
    """Return the name of a data set and one sentence about what it is."""
    if is_toy:
        return "toy faces", "These are toy faces, drawn by this project, not photographs."
    if classes != FER_CLASSES:
        return "your own images", "These are your own images, with classes of their own."
    total, full = len(train) + len(test), sum(map(sum, FER_COUNTS.values()))
    named = sum(bool(FER_NAME.search(file)) for part in (train, test) for file in part.files)
    if 2 * resized > total or (2 * named < total and 2 * total < full):
        return "your own images", (
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
    share = np.add(_histogram(train.images), _histogram(test.images)) / (total * IMAGE_SIZE**2)
    levels = np.arange(256)
    mean = float(share @ levels)
    deviation = float(share @ (levels - mean) ** 2) ** 0.5
    for title, value in zip(FER_PIXELS, (mean, deviation, 100 * share[255]), strict=True):
        wanted, tolerance = FER_PIXELS[title]
        if abs(value - wanted) > tolerance:
            reasons.append(f"{title} of its pixels is {value:.1f} where {wanted:.1f} belongs")
    if not reasons:
        return "FER-2013", "This is the true FER-2013: its counts and all its pixels are right."
    return "an altered copy of FER-2013", (
        f"This is not the true FER-2013 but an altered copy: {'; '.join(reasons)}."
    )


def _histogram(images: np.ndarray) -> np.ndarray:
    """Count the levels of uint8 images: (256,). Pillow's is many times as fast as NumPy's."""
    if not images.size:
        return np.zeros(256)
    return np.array(Image.fromarray(images.reshape(-1, images.shape[-1])).histogram())


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
    kinds = [match and match[1] for match in map(FER_NAME.search, test.files)]
    if not len(test) or not set(kinds) <= {"PublicTest", "PrivateTest"}:
        raise TutorialError(
            "Only FER-2013 has a public and a private half, told by its file names; "
            "use the whole test set."
        )
    return {
        half: test.take(np.array([kind == title for kind in kinds]))
        for half, title in (("public", "PublicTest"), ("private", "PrivateTest"))
    }


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
