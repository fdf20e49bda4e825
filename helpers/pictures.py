"""Opens any picture, and makes of it what the network sees: one way for training and for use."""

from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from helpers import IMAGE_SIZE, TutorialError

warnings.filterwarnings("ignore", module="PIL")  # about size and odd EXIF


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
