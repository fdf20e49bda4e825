"""Toy faces: 48x48 pictures drawn from facial action units, for lessons without FER-2013.

A face is a height map (skull, nose, cheeks, lips) lit from one side, with hair, eyes and brows
painted on. An expression moves it by action units (AU) of Ekman and Friesen's Facial Action
Coding System (1978). Lengths are in half pictures: -1 is the left or upper edge, 1 the other.
"""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from PIL import Image

from fetch.toy_drawing import Amounts, render
from helpers import FER_CLASSES, IMAGE_SIZE, SEED, TutorialError
from helpers.fer2013 import FER_COUNTS

VERSION = 1  # raise it whenever a pixel changes: folders of another version are drawn anew
TRAIN, TEST = 3000, 750
PICTURE = f"t*/*/toy_{5 * '[0-9]'}.png"
LITTER = (".DS_Store", "Thumbs.db", "desktop.ini")  # what file managers leave in folders

ACTION_UNITS = {
    "angry": (4, 5, 7, 23),
    "disgust": (9, 15, 16),
    "fear": (1, 2, 4, 5, 20, 26),
    "happy": (6, 12),
    "neutral": (),
    "sad": (1, 4, 15),
    "surprise": (1, 2, 5, 26),
}
UNITS = tuple(sorted({unit for units in ACTION_UNITS.values() for unit in units}))

# What differs from face to face, with the lowest and the highest value.
TRAITS = {
    "strength": (0.65, 1.15), "stray": (0.0, 0.16), "lopsided": (-0.25, 0.25),
    "scale": (0.92, 1.25), "roll": (-0.14, 0.14), "yaw": (-0.25, 0.25), "pitch": (-0.08, 0.12),
    "dx": (-0.1, 0.1), "dy": (-0.13, 0.05), "width": (0.6, 0.71), "jaw": (0.1, 0.32),
    "chin": (0.9, 1.04), "skin": (0.48, 0.88), "shade": (0.02, 0.5), "hairline": (-0.86, -0.54),
    "part": (-0.6, 0.6), "volume": (0.04, 0.22), "style": (0, 1), "curl": (-1, 1),
    "eye_x": (0.27, 0.32), "eye_w": (0.11, 0.14), "eye_h": (0.05, 0.072), "tilt": (-0.08, 0.1),
    "iris": (0.03, 0.3), "gaze": (-0.03, 0.03), "brow_y": (-0.39, -0.33),
    "brow_t": (0.022, 0.055), "arch": (0.01, 0.045), "brow_ink": (0.55, 0.95),
    "nose_w": (0.09, 0.14), "nose_y": (0.15, 0.23), "nose_z": (0.18, 0.3),
    "mouth_y": (0.46, 0.53), "mouth_w": (0.24, 0.3), "upper_lip": (0.03, 0.06),
    "lower_lip": (0.04, 0.07), "lip_ink": (0.5, 0.8), "teeth": (-0.3, 1),
    "beard": (-2.0, 0.8), "moustache": (-2.4, 0.9), "glasses": (0, 1), "rim": (0.016, 0.04),
    "light_x": (-0.8, 0.8), "light_y": (-0.9, 0.1), "ambient": (0.2, 0.6), "wall": (0.05, 0.9),
    "wall_x": (-0.3, 0.3), "wall_f": (0.4, 1.6), "shirt": (0.05, 0.9), "contrast": (0.9, 1.35),
    "bright": (-0.03, 0.1), "blur": (0.0, 0.11), "grain": (0.002, 0.016),
}  # fmt: skip


def _people(faces: range, seed: int, size: int) -> SimpleNamespace:
    """The traits of some faces, (n,1,1) each. A generator per face: batches change nothing."""
    low, high = np.array(list(TRAITS.values())).T
    k = len(TRAITS)
    generators = [np.random.default_rng([seed, face]) for face in faces]
    draws = np.array([rng.random(k + 2 * len(UNITS)) for rng in generators])
    values = (low + (high - low) * draws[:, :k]).astype("f4")[..., None, None]
    p = SimpleNamespace(**{name: values[:, i] for i, name in enumerate(TRAITS)})
    p.uneven, p.strays = np.split(draws[:, k:], 2, axis=1)
    p.noise = np.array([rng.standard_normal((size, size), "f4") for rng in generators])
    return p


def _amounts(p: SimpleNamespace, labels: Sequence[int] | np.ndarray) -> Amounts:
    """How strongly each action unit acts, 0 to 1.3: uneven, some missing, some strays."""
    wanted = np.array([[unit in ACTION_UNITS[name] for unit in UNITS] for name in FER_CLASSES])
    strong = p.strength[:, 0] * np.where(p.uneven < 0.05, 0.1, 0.65 + 0.45 * p.uneven)
    faint = p.stray[:, 0] * np.where(p.strays > 0.7, p.strays, 0)
    amount = np.where(wanted[labels], strong, faint).astype("f4")[..., None, None]
    return {unit: amount[:, i] for i, unit in enumerate(UNITS)}


def draw_faces(labels: np.ndarray, seed: int = SEED) -> np.ndarray:
    """Draw one face for each label, an index into FER_CLASSES -> uint8 (n,48,48).

    Face i depends on the seed, on i and on its label alone: with another label the same person
    in the same picture shows another expression.
    """
    labels = np.asarray(labels, dtype=np.int64)
    images = np.empty((len(labels), IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    for i in range(0, len(labels), 32):  # small batches stay in the processor's cache
        batch = labels[i : i + 32]
        people = _people(range(i, i + len(batch)), seed, IMAGE_SIZE)
        images[i : i + 32] = render(people, _amounts(people, batch))
    return images


def draw_face(expression: str, seed: int = 0, size: int = IMAGE_SIZE) -> np.ndarray:
    """Draw one clear face at full strength -> uint8 (size,size); sharp at any size.

    Raises:
        TutorialError: if there is no such expression.
    """
    if expression not in ACTION_UNITS:
        known = ", ".join(ACTION_UNITS)
        raise TutorialError(f"There is no toy face for {expression!r}; choose one of {known}.")
    p = _people(range(1), seed, size)
    for name in ("roll", "yaw", "pitch", "dx", "lopsided"):
        setattr(p, name, 0.4 * getattr(p, name))
    p.hairline = np.minimum(p.hairline, -0.68)  # brows in sight
    p.stray = p.glasses = p.blur = p.grain = 0 * p.strength
    p.strength, p.uneven = 0 * p.strength + 1, 0 * p.uneven + 0.8
    return render(p, _amounts(p, [FER_CLASSES.index(expression)]))[0]


def write_toy_faces(folder: Path, seed: int = SEED) -> Path:
    """Write train/<class>/*.png and test/<class>/*.png in FER-2013's proportions; return folder.

    All or nothing: the faces are written beside the folder and moved there when complete, with
    toy.json to say so. A complete folder is left as it is; an older or damaged one is replaced.

    Raises:
        TutorialError: if the folder holds other files, or cannot be written.
    """
    try:
        if _is_complete(folder, seed):
            return folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(".part", f".{folder.name}-", folder.parent) as private:
            new, old = Path(private, "new"), Path(private, "old")
            _write(new, seed)
            if not _is_complete(folder, seed):  # another process may have been faster
                if folder.exists():
                    _refuse_files_of_others(folder)
                    folder.rename(old)
                new.rename(folder)
    except OSError as error:
        raise TutorialError(f"Cannot write toy faces to {folder}: {error.strerror}.") from error
    return folder


def _write(folder: Path, seed: int) -> None:
    both = np.sum(list(FER_COUNTS.values()), axis=0)
    shares = both / both.sum()
    counts = [np.round(n * shares).astype(int) for n in (TRAIN, TEST)]
    labels = np.concatenate([np.repeat(np.arange(len(shares)), n) for n in counts])
    parts = np.repeat(["train", "test"], [n.sum() for n in counts])
    faces = zip(draw_faces(labels, seed), labels, parts, strict=True)
    for number, (image, label, part) in enumerate(faces, 1):
        file = folder / part / FER_CLASSES[label] / f"toy_{number:05d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
    (folder / "toy.json").write_bytes(_note(folder, seed))


def _note(folder: Path, seed: int) -> bytes:
    """What toy.json says of a complete folder; anything lost or damaged changes it."""
    sizes = [file.stat().st_size for file in folder.glob(PICTURE)]
    about = "Toy faces drawn by this project; no photographs."
    note = {"about": about, "version": VERSION, "seed": seed}
    return json.dumps(note | {"files": len(sizes), "bytes": sum(sizes)}, indent=1).encode()


def _is_complete(folder: Path, seed: int) -> bool:
    note = folder / "toy.json"
    return note.is_file() and note.read_bytes() == _note(folder, seed)


def _refuse_files_of_others(folder: Path) -> None:
    """Raise TutorialError if someone put other files among the toy faces."""
    for path in sorted((folder, *folder.rglob("*"))):
        ours = path.match(PICTURE) or path.name in ("toy.json", *LITTER)
        if path.is_symlink() or not (path.is_dir() or ours):
            raise TutorialError(f"{path} is no toy face; move it out of {folder} and run again.")
