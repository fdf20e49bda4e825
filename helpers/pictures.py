"""What a picture is, how any is opened, and what the network sees of it, in training and in use."""

import contextlib
import errno
import io
import warnings
from pathlib import Path, PurePath
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from helpers import IMAGE_SIZE, TutorialError

# What undoes each EXIF orientation.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

warnings.filterwarnings("ignore", module="PIL")  # about size and odd EXIF

# Only these are opened, whatever a file is called: Pillow would start Ghostscript for an EPS.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "DIB", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF")
ENDINGS = {ending for ending, kind in Image.registered_extensions().items() if kind in FORMATS}
HEIC = (".heic", ".heif")  # pictures of iPhones, which cannot be read here
WHITES = (1, 255, 1023, 4095, 16383, 65535)  # of 1, 8, 10, 12, 14 and 16 bits


def is_junk(name: str) -> bool:
    """Whether a file or folder is one that systems leave lying about, like `.DS_Store`."""
    return name.startswith(".") or name.lower() in ("__macosx", "thumbs.db", "desktop.ini")


def is_picture(name: str) -> bool:
    """Whether a file is listed as a picture, by its ending; opening it tells the truth."""
    return not is_junk(name) and PurePath(name).suffix.lower() in ENDINGS


def open_picture(source: bytes | str | Path | BinaryIO, max_side: int = 1600) -> Image.Image:
    """Decode any picture: upright, mode RGB, its longer side at most `max_side` pixels.

    Transparency becomes white; more than 8 bits a pixel become 8, where the smallest usual white
    (of 10, 12, 14 or 16 bits) that no pixel exceeds is white; of an animation the first frame
    counts.

    Raises:
        TutorialError: if it is no picture, is damaged, or has over 178 million pixels.
    """
    title, raw = "This file", source
    if isinstance(source, str | Path):
        title = Path(source).name
        try:
            if Path(source).exists() and not Path(source).is_file():
                raise OSError(errno.EINVAL, "it is no file")  # a pipe, say, might never end
            raw = Path(source).read_bytes()
        except OSError as error:
            raise TutorialError(f"{title} cannot be read: {error.strerror}.") from error
    elif hasattr(source, "read"):
        raw = source.read()
    if not raw:
        raise TutorialError(f"{title} is empty (0 bytes).")
    try:
        return _decode(raw, max_side)
    except Image.UnidentifiedImageError as error:
        heic = bytes(raw[4:10]) in (b"ftyphe", b"ftypmi", b"ftypms")
        what = "a HEIC picture, which cannot" if heic else "not a picture that can"
        raise TutorialError(f"{title} is {what} be read here; save it as JPEG or PNG.") from error
    except Exception as error:  # decoders raise nearly anything on damaged files
        raise TutorialError(f"{title} is damaged or cut off, or too large ({error}).") from error


def _upright(image: Image.Image) -> Image.Image:
    """Turn a picture as its EXIF says.

    XMP is not asked, as Pillow would: programs that turn a picture often leave a stale word there,
    and browsers do not heed it either.
    """
    exif = Image.Exif()
    with contextlib.suppress(Exception):  # damaged EXIF must not cost the picture
        exif.load(image.info.get("exif", b""))
    turn = TURNS.get(exif.get(0x0112))
    return image if turn is None else image.transpose(turn)


def _decode(raw: bytes, max_side: int) -> Image.Image:
    image = Image.open(io.BytesIO(raw), formats=FORMATS)
    image.draft(None, (max_side, max_side))  # a large JPEG decodes at 1/2, 1/4 or 1/8
    image.load()
    image = _upright(image)
    if image.mode[0] in "IF":  # more than 8 bits per pixel, whole numbers or not
        levels = np.nan_to_num(np.asarray(image, np.float32), posinf=0, neginf=0)
        white = next((white for white in WHITES if levels.max() <= white), levels.max())
        image = Image.fromarray(np.rint(levels.clip(0, white) / white * 255).astype(np.uint8))
    image.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def to_input(image: Image.Image, pad: bool = False) -> np.ndarray:
    """Return a picture as the network sees it: gray, square, uint8 (48,48), values 0 to 255.

    Of a picture that is not square the middle is taken; with `pad` it is kept whole, between
    bars of its mean gray.
    """
    gray = image.convert("L")
    if pad and gray.width != gray.height:
        mean = round(np.asarray(gray).mean())
        gray = ImageOps.pad(gray, (max(gray.size), max(gray.size)), color=mean)
    side = min(gray.size)
    left, top = (gray.width - side) // 2, (gray.height - side) // 2
    gray = gray.crop((left, top, left + side, top + side))
    if side != IMAGE_SIZE:
        gray = gray.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.LANCZOS)
    return np.asarray(gray)
