"""Folders of pictures that tests draw."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterable
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image


def noise(seed: int, shape: tuple[int, int] = (48, 48)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def encode(image: Image.Image | np.ndarray, kind: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(stream, kind, **options)
    return stream.getvalue()


def make(root: Path, splits: Iterable[str], classes: Iterable[str], ending="png", n=8) -> Path:
    """Write n pictures of noise into root/<split>/<class>/ for each split and class."""
    random = Random(1)
    for folder in [Path(root, split, name) for split in splits for name in classes]:
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(n):
            picture = Image.frombytes("L", (48, 48), random.randbytes(48 * 48))
            picture.save(folder / f"{number}.{ending}", "JPEG" if ending == "jfif" else None)
    return root


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def pack(path: Path, files: dict) -> Path:
    """Write a zip of names (or ZipInfo) and contents."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def read(folder: Path) -> dict[str, bytes]:
    """Return all files below a folder but hidden ones."""
    paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*"))}
    return {
        name: path.read_bytes()
        for name, path in paths.items()
        if path.is_file() and not any(part.startswith(".") for part in name.split("/"))
    }


def write_table(path: Path, rows: Iterable[tuple], header=("emotion", "pixels", "Usage")) -> Path:
    """Write FER-2013's table: rows of an emotion's number, an image (48,48), and the usage."""
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(header)
        for emotion, image, usage in rows:
            cells = {"emotion": emotion, "pixels": " ".join(map(str, image.ravel()))}
            cells["Usage"] = usage
            table.writerow([cells[name.strip()] for name in header])
    return path
