"""How fast faces are found, how surely, and how to frame them: python benchmarks/faces.py

The pictures are in the public domain and come inside scikit-image and matplotlib: two portraits,
of which groups are composed, and many pictures without a face. The framing is judged on training
images: are a crop's answers those of the image that it was cut from?
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from pathlib import Path

import report

# ruff: isort: split
import numpy as np
import skimage.data
from PIL import Image

from app import classifier
from helpers import MODELS, SEED, detector, faces
from helpers.data import Split, subset
from helpers.models import load_model

# Where the faces are: middle and side of the detector's box.
PORTRAITS = {"astronaut": (224, 124, 103), "Grace Hopper": (266, 240, 200)}
FACES = {"astronaut", "camera"}  # the others of scikit-image have none; camera is seen in profile
PHOTOGRAPH, FRAME = (640, 480), (320, 240)
SIZES = (40, 60, 80, 120, 160)
SCALES = (1.0, 1.1, 1.17, 1.25, 1.35)
LIFTS = (0.0, 0.05, 0.13, 0.18)
TILTS = (15, 30, 45)


def empty() -> list[Image.Image]:
    """Return the pictures without a face."""
    folder = Path(skimage.data.__file__).parent
    files = sorted(f for f in folder.iterdir() if f.suffix in (".png", ".jpg"))
    return [Image.open(f).convert("RGB") for f in files if f.stem not in FACES]


def compose(
    scene: Image.Image, side: int, tilt: float, most: int, rng: np.random.Generator
) -> tuple[Image.Image, np.ndarray]:
    """Put one to `most` faces into a scene, none over another.

    Args:
        scene: what they are put into.
        side: of a face, as the detector frames it, in pixels.
        tilt: the faces lean by up to so many degrees to either side.
        most: fewer, if no more of this size have room.

    Returns:
        The picture, and the middles of the faces (n, 2).
    """
    wide = min(round(2.2 * side), *scene.size)
    cells = np.array(
        [(x, y) for y in range(scene.height // wide) for x in range(scene.width // wide)]
    )
    number = rng.integers(1, min(most, len(cells)), endpoint=True)
    room = np.array(scene.size) // (scene.width // wide, scene.height // wide)
    y, x = np.mgrid[:wide, :wide] - (wide - 1) / 2
    disc = Image.fromarray((255 * np.clip(wide / 2 - np.hypot(x, y), 0, 4) / 4).astype(np.uint8))
    scene, middles, portraits = scene.copy(), [], faces.portraits()
    for cell in rng.permutation(cells)[:number]:
        name = rng.choice(list(PORTRAITS))
        x, y, size = PORTRAITS[name]
        reach = wide / side * size / 2
        face = portraits[name].rotate(
            rng.uniform(-tilt, tilt), Image.Resampling.BICUBIC, center=(x, y)
        )
        box = (x - reach, y - reach, x + reach, y + reach)
        face = face.crop([round(v) for v in box]).resize((wide, wide), Image.Resampling.LANCZOS)
        if rng.random() < 0.5:
            face = face.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        corner = cell * room + rng.integers(0, room - wide, endpoint=True)
        scene.paste(face, tuple(int(v) for v in corner), disc)
        middles.append(corner + wide / 2)
    return scene, np.array(middles)


def hits(found: list[faces.Face], middles: np.ndarray, side: int) -> int:
    """Return how many of the faces at these middles, of this side, are among those found."""
    boxes = np.array([face.box for face in found], float).reshape(-1, 4)
    near = np.abs((boxes[:, :2] + boxes[:, 2:]) / 2 - middles[:, None]).max(axis=2) < 0.35 * side
    right = np.abs(np.log(np.maximum(boxes[:, 2] - boxes[:, 0], 1) / side)) < np.log(1.7)
    return int((near & right).any(axis=1).sum())


def recall(side: int, tilt: float, pictures: int) -> dict:
    """Return the row of faces found in composed pictures, and of what else was."""
    row = {"what": f"faces of {side} pixels, leaning by up to {tilt:g} degrees"}
    for name, size, live in (("", PHOTOGRAPH, False), ("_live", FRAME, True)):
        rng, scenes = np.random.default_rng(SEED), empty()
        there = seen = wrong = 0
        for k in range(pictures):
            scene = scenes[k % len(scenes)].resize(size)
            picture, middles = compose(scene, side, tilt, 10, rng)
            found = faces.find_faces(picture, live)
            right = hits(found, middles, side)
            there, seen, wrong = there + len(middles), seen + right, wrong + len(found) - right
        row |= {f"faces{name}": there, f"found{name}": round(seen / there, 4)}
        row[f"false_alarms{name}"] = wrong
    return row


def alarms(what: str, pictures: list[Image.Image]) -> dict:
    """Return the row of pictures without a face."""
    frames = [picture.resize(FRAME) for picture in pictures]
    return {
        "what": f"{len(pictures)} {what}",
        "false_alarms": sum(len(faces.find_faces(picture)) for picture in pictures),
        "false_alarms_live": sum(len(faces.find_faces(frame, live=True)) for frame in frames),
    }


def parts(pictures: list[Image.Image], number: int) -> list[Image.Image]:
    """Return so many random parts of pictures, a third to all of their sides long."""
    rng, made = np.random.default_rng(SEED), []
    for k in range(number):
        whole = pictures[k % len(pictures)]
        size = np.maximum(np.array(whole.size) * rng.uniform(1 / 3, 1), 65).astype(int)
        x, y = rng.integers(0, np.maximum(np.array(whole.size) - size, 0), endpoint=True)
        made.append(whole.crop((x, y, *(np.array([x, y]) + size))))
    return made


def milliseconds(run: Callable[[], object], calls: int) -> dict[str, float]:
    """Return the spread of three rounds of calls, in milliseconds of the processor's time."""

    def mean() -> float:
        began = time.process_time()
        for _ in range(calls):
            run()
        return 1000 * (time.process_time() - began) / calls

    run()
    return report.spread([mean() for _ in range(3)])


def times(calls: int) -> list[dict]:
    """Return the rows of milliseconds by size of the picture and number of faces."""
    rows, rng = [], np.random.default_rng(SEED)
    scene = Image.fromarray(skimage.data.coffee())
    for size, number in (
        *((FRAME, n) for n in (0, 1)),
        *((PHOTOGRAPH, n) for n in (0, 1, 10)),
        *(((w, w * 3 // 4), 1) for w in (1280, 1600)),
    ):
        picture = scene.resize(size)
        while number:
            side = 60 if number > 1 else size[1] // 4
            picture, middles = compose(scene.resize(size), side, 0, number, rng)
            if len(middles) == number:
                break
        row = {"what": f"{size[0]}x{size[1]} pixels, {number or 'no'} face{'s' * (number != 1)}"}
        row["ms"] = milliseconds(functools.partial(faces.find_faces, picture), calls)
        if size in (FRAME, PHOTOGRAPH) and number < 2:
            row["ms_live"] = milliseconds(functools.partial(faces.find_faces, picture, True), calls)
        rows.append(row)
    return rows


def crops_from(images: Split, tilt: float) -> tuple[list, np.ndarray]:
    """Find the faces in enlarged images on a grey canvas, turned by `tilt` to either side.

    Returns:
        For each image with one find, the image as it lies there, box and angle; and a mask (n,)
        of these images.
    """
    side, found, seen = 192, [], np.zeros(len(images), bool)
    for k, image in enumerate(images.images):
        face = Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC).convert("RGB")
        turn, corner = tilt * (-1) ** k, side // 2
        # Beyond the image its edge is repeated, but not for the detector.
        margins = ((corner, corner), (corner, corner), (0, 0))
        large = Image.fromarray(np.pad(np.asarray(face), margins, "edge"))
        large = large.rotate(-turn, Image.Resampling.BICUBIC)
        part = Image.new("L", large.size)
        part.paste(255, (corner, corner, corner + side, corner + side))
        canvas = Image.new("RGB", large.size, "grey")
        canvas.paste(large, (0, 0), part.rotate(-turn))
        rows = detector.detect(canvas)
        seen[k] = len(rows) == 1
        if seen[k]:
            eyes = rows[0, 7:] - rows[0, 5:7]
            found.append((large, rows[0, :4], np.degrees(np.arctan2(eyes[1], eyes[0]))))
    return found, seen


def framing(images: Split, model) -> list[dict]:
    """Return the rows of crops from enlarged images: how many answers are the images' own?"""
    network = classifier.to_litert(model)
    own = network(images.images).argmax(axis=1)

    def row(what: str, found: list, seen: np.ndarray, upright: bool = False) -> dict:
        crops = [faces.crop_face(face, box, angle * upright) for face, box, angle in found]
        same = network(np.array(crops)).argmax(axis=1) == own[seen]
        return {"what": what, "same_answers": round(float(np.mean(same)), 4)}

    rows, usual = [], (faces.CROP_SCALE, faces.CROP_LIFT)
    found, seen = crops_from(images, 0)
    share = round(float(seen.mean()), 4)
    rows.append({"what": "enlarged training images", "faces": len(images), "found": share})
    if not found:
        return rows
    for scale, lift in [*((s, usual[1]) for s in SCALES), *((usual[0], v) for v in LIFTS)]:
        faces.CROP_SCALE, faces.CROP_LIFT = scale, lift
        rows.append(row(f"crops of {scale:.2f} boxes, lifted by {lift:.2f}", found, seen))
    faces.CROP_SCALE, faces.CROP_LIFT = usual
    for tilt in TILTS:
        found, seen = crops_from(images, tilt)
        share = {"faces": len(images), "found": round(float(seen.mean()), 4)}
        if found:
            left = row(f"leaning by {tilt} degrees, left so", found, seen)
            turned = row(f"leaning by {tilt} degrees, turned upright", found, seen, upright=True)
            rows += [left | share, turned]
    return rows


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument(
        "--model", type=Path, default=MODELS / "emotion_cnn.keras", help="default: the shipped one"
    )
    options = parser.parse_args()
    data = report.dataset(options)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    pictures, number, n, calls = (4, 12, 40, 2) if options.quick else (60, 300, 1000, 30)
    rows = times(calls)
    rows += [recall(side, 30, pictures) for side in SIZES]
    rows.append(recall(80, 45, pictures))
    whole = empty()
    rows.append(alarms("pictures without a face", whole))
    rows.append(alarms("random parts of them", parts(whole, number)))
    rows += framing(subset(data.train, n), load_model(options.model)[0])
    notes = [
        "On one core. Groups of one to ten faces, composed of two portraits, at "
        f"{PHOTOGRAPH[0]}x{PHOTOGRAPH[1]} pixels, and live at {FRAME[0]}x{FRAME[1]}.",
        "Same answers: the network's for a crop and for the training image it was cut from, "
        "enlarged and put into a grey canvas.",
        f"Times: of the processor; median (lowest to highest) of three rounds of {calls} calls.",
    ]
    about = {"title": "Faces found", "data": data, "model": options.model.name, "notes": notes}
    report.write("faces", rows, about, report.folder(options))


if __name__ == "__main__":
    report.run(main)
