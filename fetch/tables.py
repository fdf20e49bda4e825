"""Reads FER-2013 as a table, one picture a row: fer2013.csv or icml_face_data.csv."""

import csv
import io
import math
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from PIL import Image

from helpers import TutorialError

EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")  # 0 to 6
USAGES = {"Training": "train", "PublicTest": "test", "PrivateTest": "test"}


def columns(head: bytes) -> list[str]:
    """Return the names in the first line of a table, as far as there is one."""
    lines = head.decode("utf-8-sig", "replace").splitlines() or [""]
    return [name.strip(' \t"').lower() for name in lines[0].split(",")]


def is_table(head: bytes) -> bool:
    """Whether a file is FER-2013 as a table, by its first line."""
    return {"emotion", "pixels", "usage"} <= set(columns(head))


def pictures(file: BinaryIO, title: str) -> Iterator[tuple[str, bytes]]:
    """Give each picture as a PNG, under the name that it has in the folders of FER-2013.

    Another table has none.

    Raises:
        TutorialError: if a row is not as it must be.
    """
    text = io.TextIOWrapper(file, "utf-8-sig", errors="replace", newline="")
    head = text.readline(1000).encode()
    if not is_table(head):
        return
    names = columns(head)
    for number, row in enumerate(csv.reader(text), 1):
        try:
            cells = dict(zip(names, map(str.strip, row), strict=True))
            levels = np.array(cells["pixels"].split(), np.int64)
            side = math.isqrt(levels.size)
            image = Image.fromarray(np.array(levels.reshape(side, side), np.uint8))
            usage, emotion = cells["usage"], EMOTIONS[int(cells["emotion"])]
            name = f"{USAGES[usage]}/{emotion}/{usage}_{number:05d}.png"
        except (ValueError, LookupError, OverflowError) as error:
            raise TutorialError(
                f"{title} is damaged or cut off in row {number} ({error}); get it again."
            ) from error
        png = io.BytesIO()
        image.save(png, "PNG")
        yield name, png.getvalue()
