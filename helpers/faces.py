"""Cuts faces out the way FER-2013 is framed, and says what there is to say about each."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

from helpers import IMAGE_SIZE, evaluation, pictures
from helpers.detector import detect, look

CROP_SIDES = (24, 64)  # a picture no smaller and no larger than this is a face crop already
LONGEST_SIDE = 1600  # larger pictures are searched at this size
# Framed like this, 89% of crops from enlarged training images get the answers of the images
# themselves, as with any scale from 1.1 to 1.25 and any lift (benchmarks/faces.py).
CROP_SCALE = 1.17  # sides of the detector's box
CROP_LIFT = 0.09
LEANING = 10.0  # degrees that remain when a crop is turned upright; training images lean as much
SMALL = 24  # pixels of a crop's side: fewer cost over 5 points of accuracy
BLURRED = 0.1  # `sharpness`: no training image in 1,500 is below, 85% of blurred copies are
DARK = 50  # grey level of the brightest twentieth: no training image in 2,868 is below
# Below, fewer than a third of the answers to crops that were spoilt by darkness, noise or blur are
# right; of the answers to training images as they are, 5% are below.
LEAST_SURE = 0.35
FACE_LIKE = 0.65  # score: 98% of 400 training images have more, 2% of 240 parts without a face
CUT = 0.1  # share of a box: without a tenth of its chin a face costs as much as a small one


@dataclass(frozen=True, eq=False)
class Face:
    """One face: where it is, and what the network gets to see of it.

    Attributes:
        box: (left, top, right, bottom) in pixels of the picture it was found in.
        crop: uint8 array (48, 48), grey levels 0..255.
        score: how sure the detector is, 0..1; None if it was not asked.
        angle: degrees by which the face leans, clockwise as seen in the picture.
        cut: the share of the face, 0..1, that lies beyond the picture's edge.
    """

    box: tuple[int, int, int, int]
    crop: np.ndarray
    score: float | None = None
    angle: float = 0.0
    cut: float = 0.0


def portraits() -> dict[str, Image.Image]:
    """Return two public-domain portraits as RGB pictures, offline.

    Eileen Collins (NASA) comes inside scikit-image, Grace Hopper (US Navy) inside matplotlib.
    """
    from matplotlib import cbook
    from skimage.data import astronaut

    with cbook.get_sample_data("grace_hopper.jpg") as file:
        hopper = Image.open(file).convert("RGB")
    return {"astronaut": Image.fromarray(astronaut()), "Grace Hopper": hopper}


def _square(image: Image.Image, x: float, y: float, side: int) -> Image.Image:
    """Cut out the square around a point; beyond the picture, its edge is repeated."""
    left, top = round(x - side / 2), round(y - side / 2)
    columns = np.clip(np.arange(left, left + side), 0, image.width - 1)
    rows = np.clip(np.arange(top, top + side), 0, image.height - 1)
    part = image.crop((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
    return Image.fromarray(np.asarray(part)[rows[:, None] - rows[0], columns - columns[0]])


def crop_face(image: Image.Image, box: Sequence[float], angle: float = 0.0) -> np.ndarray:
    """Cut a square around a detector's box, framed as in FER-2013: uint8 array (48, 48).

    A face that leans by more than `LEANING` degrees is turned until it leans by so much: that
    raised the share of answers that stay the same from 78% to 87% at 30 degrees.
    """
    left, top, right, bottom = box
    size = max(right - left, bottom - top)
    side = max(1, round(CROP_SCALE * size))
    turn = math.copysign(max(abs(angle) - LEANING, 0), angle)
    x = (left + right) / 2 + math.sin(math.radians(turn)) * CROP_LIFT * size
    y = (top + bottom) / 2 - math.cos(math.radians(turn)) * CROP_LIFT * size
    if not turn:
        return pictures.to_input(_square(image, x, y, side))
    wide = _square(image, x, y, math.ceil(1.5 * side)).rotate(turn, Image.Resampling.BICUBIC)
    return pictures.to_input(_square(wide, wide.width / 2, wide.height / 2, side))


def whole_image(image: Image.Image) -> Face:
    """Take the whole picture (its central square) for the face."""
    return Face((0, 0, image.width, image.height), pictures.to_input(image))


def find_faces(image: Image.Image, live: bool = False) -> list[Face]:
    """Return the faces in a picture, the largest first; an empty list if there is none.

    A picture of 24 to 64 pixels is taken for a face crop, as the images of FER-2013 are.

    Args:
        image: at 640x480 pixels it takes a hundredth of a second or two on one core.
        live: look once, for a frame of a video: half the time, and faces of less than an eighth
            of the frame's width may be missed.
    """
    if CROP_SIDES[0] <= min(image.size) and max(image.size) <= CROP_SIDES[1]:
        return [whole_image(image)]
    image = image.convert("RGB")
    small = image.copy()
    small.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    scale = image.width / small.width
    faces = [_face(image, row * scale, float(row[4])) for row in detect(small, live)]
    return sorted(faces, key=lambda face: face.box[2] - face.box[0], reverse=True)


def _face(image: Image.Image, row: np.ndarray, score: float) -> Face:
    """Return what there is to know of one of the detector's rows, in pixels of the picture."""
    inside = np.concatenate([np.maximum(row[:2], 0), np.minimum(row[2:4], image.size)])
    seen = (inside[2:] - inside[:2]).prod() / (row[2:4] - row[:2]).prod()
    angle = math.degrees(math.atan2(row[8] - row[6], row[7] - row[5]))
    box = tuple(int(v) for v in np.round(inside))
    return Face(box, crop_face(image, row[:4], angle), score, angle, float(1 - seen))


def sharpness(crop: np.ndarray) -> float:
    """Return the variance of a crop's Laplacian (Pech-Pacheco and others, 2000) over its own.

    The Laplacian, a pixel against its four neighbours, is large at edges; dividing makes the
    value independent of contrast.
    """
    grey = crop.astype(np.float32)
    return float(ndimage.laplace(grey)[1:-1, 1:-1].var() / max(grey.var(), 1))


def _looks_like_a_face(crop: np.ndarray) -> bool:
    """Ask one of the detector's networks, which looks at a crop with room around it."""
    side = 4 * IMAGE_SIZE
    wide = Image.new("RGB", (2 * side, 2 * side), "grey")
    wide.paste(Image.fromarray(crop).resize((side, side)), (side // 2, side // 2))
    return look(wide, (0, 0, *wide.size), "confirm")[:, 4].max(initial=0) >= FACE_LIKE


def warnings(face: Face) -> list[str]:
    """Return a sentence for each reason to doubt what a network says about this face."""
    left, top, right, bottom = face.box
    side, found = min(right - left, bottom - top), []
    if face.score is not None:
        side = round(CROP_SCALE * max(right - left, bottom - top))
    elif max(right, bottom) <= CROP_SIDES[1] and not _looks_like_a_face(face.crop):
        found.append("No face was found in it, so the whole picture was taken for one.")
    if np.percentile(face.crop, 95) < DARK:
        found.append("The face is too dark: turn to the light, or use a brighter picture.")
    if side < SMALL:
        found.append(f"The face is small ({side} pixels): come closer or use a larger picture.")
    elif not found and sharpness(face.crop) < BLURRED:
        found.append("The face is blurred or without contrast: use a sharper picture.")
    if face.cut > CUT:
        found.append("The face is cut by the picture's edge: bring all of it into the picture.")
    return found


def classify(model, faces: Sequence[Face]) -> np.ndarray:
    """Return the probabilities of each face, float32 array (faces, classes), in one batch.

    Args:
        model: a network, or what `classifier.to_litert` made of it: for more than a few pictures.
        faces: any number of them.
    """
    crops = np.array([face.crop for face in faces], np.uint8)
    crops = crops.reshape(-1, IMAGE_SIZE, IMAGE_SIZE)  # also where there is none
    return evaluation.predict(model, crops) if hasattr(model, "predict") else model(crops)


def in_words(probabilities: np.ndarray, classes: Sequence[str]) -> str:
    """Say one face's probabilities in words: "looks happy (81%), fairly sure".

    Below `LEAST_SURE` nothing is named.
    """
    first, second = np.argsort(probabilities)[::-1][:2]
    top = float(probabilities[first])
    if top < LEAST_SURE:
        return "is too dark or unclear to say"
    sure = "sure" if top >= 0.85 else "fairly sure"
    if top < 0.6:
        sure = f"unsure, {classes[second]} comes next ({probabilities[second]:.0%})"
    return f"looks {classes[first]} ({top:.0%}), {sure}"


def caution(info: Mapping) -> str:
    """Return a warning if this model never saw a photograph of a face, else an empty string."""
    if info.get("data", {}).get("kind") != "toy":
        return ""
    return "This network was trained on toy faces only: on photographs its answers mean little."
