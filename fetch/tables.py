"""Reads FER-2013 as a table, one picture a row: fer2013.csv or icml_face_data.csv."""

import csv
import io
import math
import re
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from PIL import Image

from helpers import TutorialError

EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")  # 0 to 6
USAGES = {"Training": "train", "PublicTest": "test", "PrivateTest": "test"}


def columns(head: bytes) -> list[str]:
    """Return the names in the first line of a table, as far as there is one."""
    lines = head.decode("utf-8-sig", "replace").lstrip().splitlines() or [""]
    return [name.strip(' \t"').lower() for name in re.split("[,;\t]", lines[0])]


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
    lines = iter(lambda: text.readline(1000), "")
    head = next((line for line in lines if line.strip()), "")
    if not is_table(head.encode()):
        return
    names, between = columns(head.encode()), re.findall("[,;\t]", head)[0]
    rows = (row for row in csv.reader(text, delimiter=between) if any(map(str.strip, row)))
    for number, row in enumerate(rows, 1):
        try:
            cells = dict(zip(names, map(str.strip, row), strict=True))
            levels = np.frombuffer(bytes(map(int, cells["pixels"].split())), np.uint8)
            side = math.isqrt(levels.size)
            image = Image.fromarray(levels.reshape(side, side))
            usage, emotion = cells["usage"], EMOTIONS[range(7).index(int(cells["emotion"]))]
            name = f"{USAGES[usage]}/{emotion}/{usage}_{number:05d}.png"
        except (ValueError, LookupError) as error:
            raise TutorialError(
                f"{title} is damaged or cut off in row {number}, which must have an emotion from 0 "
                f"to 6, the grey levels of a square, and {' or '.join(USAGES)}; get it again."
            ) from error
        png = io.BytesIO()
        image.save(png, "PNG")
        yield name, png.getvalue()
