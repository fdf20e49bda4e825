"""Find the faces in a picture and cut them out the way FER-2013 is framed."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from helpers import IMAGE_SIZE, data, evaluation

LONGEST_SIDE = 1000  # the detector looks at the picture shrunk to this many pixels
CROP_SIDES = (24, 64)  # a picture no smaller and no larger than this is a face crop already
WEAK = 0.2  # a detector's score
# On 543 images of FER-2013 where dlib finds one face, the median image is 1.1 times the box
# wide (mean 1.2) and its centre lies 0.06 of a box above that of the box.
CROP_SCALE = 1.2
CROP_LIFT = 0.06


@dataclass(frozen=True, eq=False)
class Face:
    """One face: where it is, and what the network gets to see of it.

    Attributes:
        box: (left, top, right, bottom) in pixels of the picture it was found in.
        crop: uint8 array (48, 48), grey levels 0..255.
        score: how far the detector was above its threshold; None if it was not asked.
    """

    box: tuple[int, int, int, int]
    crop: np.ndarray
    score: float | None = None


def portraits() -> dict[str, Image.Image]:
    """Return two public-domain portraits as RGB pictures, offline.

    Eileen Collins (NASA) comes inside scikit-image, Grace Hopper (US Navy) inside matplotlib.
    """
    from matplotlib import cbook
    from skimage.data import astronaut

    with cbook.get_sample_data("grace_hopper.jpg") as file:
        hopper = Image.open(file).convert("RGB")
    return {"astronaut": Image.fromarray(astronaut()), "Grace Hopper": hopper}


@functools.cache
def _dlib_detector():  # loading takes a moment, so it is done once and only when needed
    import dlib

    return dlib.get_frontal_face_detector()


def detect(grey: np.ndarray, upsample: int = 0) -> list[tuple[float, float, float, float, float]]:
    """Return (left, top, right, bottom, score) of every frontal face of at least 80 pixels.

    This is the one function to exchange for another detector. dlib's is the histogram of
    oriented gradients of Dalal and Triggs (2005): its weights are inside the wheel, so it works
    offline, and on our trial pictures it missed no frontal face and saw none where there was none.

    Args:
        grey: uint8 array (height, width).
        upsample: how often to double the picture first; 1 finds faces of 40 pixels.
    """
    boxes, scores, _ = _dlib_detector().run(np.ascontiguousarray(grey), upsample, 0.0)
    return [
        (box.left(), box.top(), box.right() + 1, box.bottom() + 1, score)
        for box, score in zip(boxes, scores, strict=True)
    ]


def crop_face(image: Image.Image, box: Sequence[float]) -> np.ndarray:
    """Cut a square around a detector's box, framed as in FER-2013: uint8 array (48, 48).

    Where the square reaches beyond the picture, the picture's edge is repeated.
    """
    left, top, right, bottom = box
    size = max(right - left, bottom - top)
    side = max(1, round(CROP_SCALE * size))
    x = round((left + right) / 2 - side / 2)
    y = round((top + bottom) / 2 - CROP_LIFT * size - side / 2)
    columns = np.clip(np.arange(x, x + side), 0, image.width - 1)
    rows = np.clip(np.arange(y, y + side), 0, image.height - 1)
    return data.to_input(Image.fromarray(np.asarray(image)[rows[:, None], columns]))


def whole_image(image: Image.Image) -> Face:
    """Take the whole picture (its central square) for the face."""
    return Face((0, 0, image.width, image.height), data.to_input(image))


def find_faces(image: Image.Image) -> list[Face]:
    """Return the frontal faces in an RGB picture, the largest first; an empty list if none.

    A picture of 24 to 64 pixels is taken for a face crop, as the images of FER-2013 are.
    """
    if CROP_SIDES[0] <= min(image.size) and max(image.size) <= CROP_SIDES[1]:
        return [whole_image(image)]
    small = image.convert("L")
    small.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    scale = image.width / small.width
    grey, edge = np.asarray(small), 0
    found = detect(grey, upsample=int(max(small.size) <= LONGEST_SIDE * 2 // 3))
    if not found:  # look again: for small faces, and for a face that fills the picture
        edge = max(small.size) // 6
        found = detect(np.pad(grey, edge, mode="edge"), upsample=1)
    faces = []
    # A weak find beside a strong one is more often a fold in a sleeve than a second face.
    floor = min(WEAK, max((score for *_, score in found), default=0))
    for *corners, score in found:
        if score < floor:
            continue
        box = [(value - edge) * scale for value in corners]
        inside = [np.clip(v, 0, s) for v, s in zip(box, image.size * 2, strict=True)]
        area = (inside[2] - inside[0]) * (inside[3] - inside[1])
        if area > 0.5 * (box[2] - box[0]) * (box[3] - box[1]):  # else mostly repeated edge
            faces.append(
                Face(tuple(round(float(v)) for v in inside), crop_face(image, box), float(score))
            )
    return sorted(faces, key=lambda face: face.box[2] - face.box[0], reverse=True)


def classify(model, faces: Sequence[Face]) -> np.ndarray:
    """Return the probabilities of each face, float32 array (faces, classes), in one batch.

    Args:
        model: a network, or what `evaluation.faster` made of it: for more than a few pictures.
        faces: any number of them.
    """
    crops = np.array([face.crop for face in faces], np.uint8)
    crops = crops.reshape(-1, IMAGE_SIZE, IMAGE_SIZE)  # also where there is none
    return evaluation.predict(model, crops) if hasattr(model, "predict") else model(crops)


def in_words(probabilities: np.ndarray, classes: Sequence[str]) -> str:
    """Say one face's probabilities in words: "looks happy (81%), fairly sure"."""
    first, second = np.argsort(probabilities)[::-1][:2]
    top = float(probabilities[first])
    sure = "sure" if top >= 0.85 else "fairly sure"
    if top < 0.6:
        sure = f"unsure, {classes[second]} comes next ({probabilities[second]:.0%})"
    return f"looks {classes[first]} ({top:.0%}), {sure}"


def caution(info: Mapping) -> str:
    """Return a warning if this model never saw a photograph of a face, else an empty string."""
    if info.get("data", {}).get("kind") != "toy":
        return ""
    return "This network was trained on toy faces only: on photographs its answers mean little."
