"""What the scripts' options have in common: each kind of value is read, and refused, in one way."""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path


def path(text: str) -> Path:
    """Return the file or folder meant: quotes around it are left out, ~ is your own folder.

    Raises:
        ArgumentTypeError: if it is empty, or an address of the web.
    """
    try:
        there = Path(text).exists()
    except OSError as error:  # such as a name of more than 255 bytes
        raise argparse.ArgumentTypeError(f"{text[:40]}… is no path ({error.strerror})") from error
    if not there:
        text = text.strip().strip("\"'“”„«»")
    if not text:
        raise argparse.ArgumentTypeError("a file or folder must be named")
    if re.match(r"\w{2,}://|www\.", text):
        raise argparse.ArgumentTypeError(f"{text} is an address of the web: download it first")
    with contextlib.suppress(RuntimeError):  # ~name, and there is nobody of this name
        return Path(text).expanduser()
    return Path(text)


def whole_number(least: int, most: float = float("inf")) -> Callable[[str], int]:
    """Return what reads a whole number from `least` to `most`, and refuses anything else."""
    allowed = f"from {least} up" if most == float("inf") else f"from {least} to {most}"

    def read(text: str) -> int:
        if not re.fullmatch(r"\s*[+-]?\d{1,20}\s*", text) or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text} is not a whole number {allowed}")
        return int(text)

    return read


seed = whole_number(0, 2**32 - 1)  # what Keras and NumPy take


def class_names(text: str) -> list[str]:
    """Return the names in "angry,disgust,fear", in this order.

    Raises:
        ArgumentTypeError: if there are fewer than two, or one is empty or comes twice.
    """
    names = [unicodedata.normalize("NFC", name.strip()) for name in text.split(",")]
    if len(names) < 2 or "" in names or len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not two or more different names with commas between them"
        )
    return names


def print_anything() -> None:
    """Let a character that a console or file cannot hold be printed as a code, not end the run."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):  # not a file: a notebook's, or a test's
            stream.reconfigure(errors="backslashreplace")
