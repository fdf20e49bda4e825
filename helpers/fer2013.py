"""What is known about FER-2013: is this the true one, and which half is a test image of?"""

import re

import numpy as np
from PIL import Image

from helpers import FER_CLASSES, IMAGE_SIZE, TutorialError
from helpers.data import Split

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


def judge(
    classes: tuple[str, ...], train: Split, test: Split, is_toy: bool, fingerprint: str
) -> tuple[str, str]:
    """Return the kind of a data set, a key of NAMES, and one sentence about what it is."""
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
    reasons = [*_other_counts(train, test), *_other_pixels(train, test)]
    if reasons:
        return "altered", (
            f"This is not the true FER-2013 but an altered copy: {'; '.join(reasons)}."
        )
    return "fer2013", (
        "This is FER-2013 by its counts and pixel statistics, but not pixel for pixel: "
        "perhaps it was saved again."
    )


def _other_counts(train: Split, test: Split) -> list[str]:
    reasons = []
    for split, part in (("train", train), ("test", test)):
        counts = np.bincount(part.labels, minlength=len(FER_CLASSES))
        for name, count, wanted in zip(FER_CLASSES, counts, FER_COUNTS[split], strict=True):
            if count != wanted:
                reasons.append(f"{split}/{name}/ has {count:,} images where {wanted:,} belong")
    if len(reasons) > 3:
        reasons[3:] = [f"{len(reasons) - 3} more classes have wrong counts"]
    return reasons


def _other_pixels(train: Split, test: Split) -> list[str]:
    # Pillow counts shades many times as fast as NumPy.
    pixels = np.concatenate([train.images, test.images]).reshape(-1, IMAGE_SIZE)
    share, shades = np.array(Image.fromarray(pixels).histogram()) / pixels.size, np.arange(256)
    mean = share @ shades
    measured = (
        ("the mean", mean, 129.38, 0.5),
        ("the standard deviation", (share @ (shades - mean) ** 2) ** 0.5, 65.08, 0.5),
        ("the percentage at 255", 100 * share[255], 0.81, 0.2),
    )
    return [
        f"{title} of its pixels is {value:.1f} where {wanted:.1f} belongs"
        for title, value, wanted, tolerance in measured
        if abs(value - wanted) > tolerance
    ]


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
