"""Toy faces: 48x48 pictures drawn from facial action units, for lessons without FER-2013.

A face is a height map (skull, nose, cheeks, lips) lit from one side, with hair, eyes and brows
painted on. An expression moves it by action units (AU) of Ekman and Friesen's Facial Action
Coding System (1978). Lengths are in half pictures: -1 is the left or upper edge, 1 the other.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from PIL import Image

from helpers import FER_CLASSES, IMAGE_SIZE, SEED, TutorialError

VERSION = 1  # raise it whenever a pixel changes: folders of another version are drawn anew
TRAIN, TEST = 3000, 750
FER_COUNTS = (4953, 547, 5121, 8989, 6198, 6077, 4002)  # of FER_CLASSES, train and test together

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


def _step(distance, soft):
    """0 to 1, smoothly, where a signed distance goes from -soft to soft."""
    t = np.clip(distance * (0.5 / soft) + 0.5, 0, 1)
    return t * t * (3 - 2 * t)


def _bump(x, y=0.0):
    """A smooth hill of height 1 and radius 1. No exp: its last bit differs between machines."""
    t = np.maximum(1 - x * x - y * y, 0)
    return t * t


def _wave(t):
    """Hills between 0 and 1, one per unit of t."""
    t = np.abs(2 * (t - np.floor(t)) - 1)
    return t * t * (3 - 2 * t)


def _over(base, colour, cover):
    """Paint a colour on a base where cover is 1."""
    return base + (colour - base) * cover


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


def _amounts(p, labels) -> dict[int, np.ndarray]:
    """How strongly each action unit acts, 0 to 1.3: uneven, some missing, some strays."""
    wanted = np.array([[unit in ACTION_UNITS[name] for unit in UNITS] for name in FER_CLASSES])
    strong = p.strength[:, 0] * np.where(p.uneven < 0.05, 0.1, 0.65 + 0.45 * p.uneven)
    faint = p.stray[:, 0] * np.where(p.strays > 0.7, p.strays, 0)
    amount = np.where(wanted[labels], strong, faint).astype("f4")[..., None, None]
    return {unit: amount[:, i] for i, unit in enumerate(UNITS)}


def _shapes(p, au) -> SimpleNamespace:
    """Where everything lies: coordinates and signed distances (positive inside), (n,s,s)."""
    size = p.noise.shape[-1]
    u = ((2 * np.arange(size, dtype="f4") + 1) / size - 1)[None, None, :]
    v = u.swapaxes(1, 2)
    # Roll, scale and shift the picture; turn the head by sliding what lies on its front.
    sin, cos = p.roll, np.sqrt(1 - p.roll * p.roll)
    u0, v0 = (u - p.dx) / p.scale, (v - p.dy) / p.scale
    hx, hy = cos * u0 + sin * v0, cos * v0 - sin * u0
    chin = p.chin + 0.09 * au[26]
    below = np.maximum(hy, 0) / chin
    rx = hx / (p.width * (1 - p.jaw * below * below))
    ry = below * (0.6 + 0.4 * below) + np.minimum(hy, 0)
    head = 1 - rx * rx - ry * ry
    depth = np.sqrt(np.maximum(head, 0))
    x, y = hx - 0.5 * p.yaw * depth, hy - 0.5 * p.pitch * depth
    ax, side = np.abs(x), 1 + p.lopsided * np.clip(4 * x, -1, 1)

    ex, ey = (ax - p.eye_x) / p.eye_w, y + 0.17 + p.tilt * (ax - p.eye_x)
    lid = np.maximum(1 - ex * ex, 0)
    squint = (0.4 * au[6] + 0.45 * au[7] + 0.35 * au[9]) * side
    upper = ey + p.eye_h * (1 + 0.9 * au[5] * side - 0.6 * squint) * lid
    lower = p.eye_h * (0.62 + 0.1 * au[5] - 0.7 * squint) * lid - ey

    along = np.clip((ax - 0.1 + 0.05 * au[4] * side) / 0.42, -0.1, 1.1)  # the brow: 0 to 1
    inner = 1 - along
    lift = 0.15 * (au[1] * inner * inner + au[2] * (1 - 0.6 * au[4]) * along) * side
    drop = 0.13 * au[4] * (1 - 0.5 * au[1]) * (0.25 + 0.75 * inner) + 0.05 * au[9] * inner
    brow_y = y - p.brow_y + (4 * p.arch * inner - 0.02) * along + lift - drop
    brow = p.brow_t * (1 - 0.6 * along * along) - np.abs(brow_y)
    brow = np.minimum(brow, 0.5 * (0.23 - np.abs(ax - 0.31 + 0.02 * au[4])))

    half = p.mouth_w * (1 + 0.42 * au[12] + 0.42 * au[20] - 0.22 * au[26] - 0.24 * au[23])
    mx = x / half
    arc = np.maximum(1 - mx * mx, 0)
    bend = (0.21 * au[12] - 0.18 * au[15]) * side - 0.02 * au[20]
    my = y - p.mouth_y + bend * (np.minimum(mx * mx, 2) - 0.35) + 0.03 * (au[9] - au[26])
    gap = 0.27 * au[26] + 0.1 * au[16] + 0.075 * au[20] + 0.12 * au[12]
    gap = gap * (1 - 0.9 * au[23]) * (0.9 + 0.2 * p.teeth) * arc
    above, under = my + 0.15 * gap, 0.85 * gap - my  # from the edges of the opening
    thin = (1 - 0.75 * au[23]) * arc
    top = p.upper_lip * thin * (1.1 - 0.35 * _bump(x / 0.07))
    lips = np.minimum(above + top, under + p.lower_lip * thin * (1 + 0.2 * au[16]))
    lips = np.minimum(lips, half * (0.97 - np.abs(mx)))
    nose_y = y - p.nose_y + 0.03 * au[9]
    return SimpleNamespace(**locals())


def _light(p, au, s) -> np.ndarray:
    """Build the height map z of the face and light it -> brightness (n,s,s), about 1 at most."""
    ax, x, y, down = s.ax, s.x, s.y, s.nose_y
    ridge = np.clip(1 + down / (p.nose_y + 0.3), 0, 1)
    nose = ridge * (0.25 + 0.75 * ridge) * _step(0.05 - down, 0.07)
    z = 0.6 * s.depth + p.nose_z * nose * _bump(x / (1.1 * p.nose_w * (1 + ridge)))
    z += (0.055 + 0.03 * au[9]) * _bump((ax - 0.85 * p.nose_w) / 0.09, down / 0.09)
    z += 0.05 * _bump((ax - 0.3) / 0.36, (y + 0.37 - 0.05 * au[4]) / 0.16)  # the bone of the brow
    z += 0.035 * _bump(0.8 * s.ex, s.ey / 0.11) - 0.12 * _bump((ax - 0.3) / 0.26, s.ey / 0.2)
    cheek = 0.05 + 0.06 * au[6] + 0.03 * au[12] + 0.03 * au[9]
    z += cheek * _bump((ax - 0.4) / 0.29, (y - 0.14 + 0.04 * au[6]) / 0.3)
    crease = ax - 0.16 - (0.62 + 0.2 * au[12]) * down * (1 - 0.5 * down)  # from nose to mouth
    fold = (0.02 + 0.06 * au[12] + 0.06 * au[9] + 0.02 * au[15]) * _step(crease, 0.06)
    z += fold * _bump((down - 0.13) / 0.3) * _bump(crease / 0.3)
    z += (0.06 + 0.03 * au[15]) * _bump(x / 0.24, (y - s.chin + 0.18) / 0.17)
    z += 0.045 * _bump(s.mx / 1.15, s.my / 0.17) - 0.008 * _bump(x / 0.05, (s.my + 0.12) / 0.09)
    z -= 0.03 * (1 + au[15]) * _bump(0.8 * s.mx, (s.my - s.gap - 0.14) / 0.08)
    wrinkle = 0.016 * (au[1] * s.inner + au[2] * s.along) * _wave(y / 0.11 + 0.8 * x * x)
    z += wrinkle * _bump((y + 0.58) / 0.2) * _bump(x / 0.55)
    z -= 0.022 * (au[4] + au[9]) * _bump((ax - 0.055) / 0.06, (s.brow_y + 0.02) / 0.15)
    z += 0.025 * au[9] * _wave(y / 0.08 + ax) * _bump(x / 0.16, (y + 0.1) / 0.14)

    zx, zy, step = np.zeros_like(z), np.zeros_like(z), 4 / s.size
    zx[:, :, 1:-1] = np.clip((z[:, :, 2:] - z[:, :, :-2]) / step, -2.5, 2.5)
    zy[:, 1:-1] = np.clip((z[:, 2:] - z[:, :-2]) / step, -2.5, 2.5)
    lengths = (1 + p.light_x * p.light_x + p.light_y * p.light_y) * (1 + zx * zx + zy * zy)
    facing = np.maximum(1 - zx * p.light_x - zy * p.light_y, 0) / np.sqrt(lengths)
    gloss = facing * facing * facing * facing
    light = p.ambient + (1 - p.ambient) * facing + 0.16 * gloss * gloss
    return light * (0.75 + 0.25 * _step(s.head - 0.1, 0.25))


def _skin(p, au, s, soft) -> np.ndarray:
    """Paint what lies on the face: beard, mouth, nostrils, eyes, brows -> (n,s,s)."""
    ax, x, y, ey, my = s.ax, s.x, s.y, s.ey, s.my
    skin = p.skin * (1 - 0.32 * _bump((ax - p.eye_x) / 0.2, (ey + 0.02) / 0.17))
    jaw = _step(y - 0.24 - 0.25 * _bump(x / 0.4), 0.14) * _step(0.8 + 0.2 * y - s.depth, 0.4)
    jaw = np.maximum(p.beard, 0) * np.maximum(jaw, _bump(x / 0.3, (y - s.chin + 0.1) / 0.22))
    lip = np.maximum(p.moustache, 0) * _bump(x / 0.33, (my + 0.11 + 0.3 * ax * ax) / 0.11)
    skin = _over(skin, 0.6 * p.shade, np.maximum(jaw, lip))
    skin = _over(skin, p.skin * p.lip_ink, _step(s.lips + 0.3 * soft, soft))
    teeth = 0.8 * _step(p.teeth + 0.1, 0.4) * _bump((s.above - 0.06) / 0.06)
    teeth = np.maximum(teeth, 0.4 * au[16] * _step(0.05 - s.under, soft)) * _bump(0.75 * s.mx)
    hole = _step(np.minimum(s.above, s.under), soft) * _step(s.gap - 0.02, 0.015)
    skin = _over(skin, 0.08 + teeth, hole)
    skin *= 1 - 0.5 * _bump(0.9 * s.mx, my / 0.035) * _step(0.04 - s.gap, 0.03)  # closed lips
    skin *= 1 - 0.6 * _bump((ax - 0.5 * p.nose_w) / 0.055, (s.nose_y - 0.045) / 0.035)

    turn = np.sign(x)
    gx, gy, radius = ax - p.eye_x - p.gaze * turn, ey + 0.012, 0.98 * p.eye_h
    iris = 1 - (gx * gx + gy * gy) / (radius * radius)
    ball = _over(0.4 + 0.4 * p.skin, p.iris, _step(iris, 0.4))
    ball = _over(ball, 0.02, _step(iris - 0.8, 0.2))
    ball = _over(ball, 1, 0.8 * _bump((gx - 0.02 * turn) / 0.028, (gy + 0.028) / 0.028))
    ball *= 1 - 0.45 * _step(0.03 - s.upper, 0.03)  # the shadow of the lid
    skin = _over(skin, ball, _step(np.minimum(s.upper, s.lower), soft) * (s.lid > 0))
    skin = _over(skin, 0.08, 0.75 * _bump(0.9 * s.ex) * _bump(s.upper / (0.03 + soft)))
    skin *= 1 - 0.3 * _bump(0.8 * s.ex) * _bump((s.upper + 0.05 - 0.03 * au[5]) / 0.035)
    return _over(skin, 0.5 * p.shade, p.brow_ink * _step(s.brow, 1.6 * soft))


def _render(p, labels) -> np.ndarray:
    """Draw people with the expressions of some labels -> uint8 (n,s,s)."""
    au = _amounts(p, labels)
    s = _shapes(p, au)
    soft = 1.5 / s.size  # an edge is one and a half pixels wide
    hx, hy, ahx, lamp = s.hx, s.hy, np.abs(s.hx), p.light_x * s.hx
    # From back to front: the wall, long hair, neck, shirt, ears, the head, hair, glasses.
    blobs = _wave((p.wall_f * s.u + p.part + 0.4 * s.v) / 2) + _wave(p.wall_f * s.v / 3 - p.curl)
    out = p.wall + p.wall_x * s.u / 2 + 0.13 * (blobs - 1)
    long, wide, tall = p.style > 0.62, p.width + 0.04 + 0.6 * p.volume, 1 + p.volume
    cap = 1 - hx * hx / (wide * wide) - (hy + 0.05) * (hy + 0.05) / (tall * tall)
    comb = hx / (0.6 + 0.45 * np.clip(hy + 1, 0, 1.3))
    strands = _wave(5 * comb + 3 * p.part + p.curl * hy) + _wave(11 * comb - 2 * p.curl * hy)
    gloss = 0.1 * _bump(comb - 0.5 * p.light_x, (hy + 0.78) / 0.2)
    shine = 0.55 + 0.5 * np.sqrt(np.maximum(cap, 0)) - 0.25 * lamp
    hair = p.shade * (0.85 + 0.16 * strands) * shine + gloss
    fall = np.minimum(wide * (1 + 0.12 * hy) - ahx, hy)
    out = _over(out, 0.75 * hair, _step(fall, 2 * soft) * long)
    shadow = p.skin * (0.5 + 0.35 * p.ambient + 0.15 * lamp)
    neck = np.minimum(p.width * (0.68 + 0.9 * np.maximum(hy - 1, 0)) - ahx, hy - 0.4)
    out = _over(out, shadow * (0.75 + 0.25 * _step(hy - 1.05, 0.2)), _step(neck, 3 * soft))
    out = _over(out, p.shirt, _step(hy - 1.15 + 0.2 * ahx, 3 * soft))
    ear_x, ear_y = (ahx - p.width) / 0.09, (hy + 0.02) / 0.19
    out = _over(out, shadow, _step(1 - ear_x * ear_x - ear_y * ear_y, 0.3) * ~long)
    out = _over(out, _skin(p, au, s, soft) * _light(p, au, s), _step(s.head, 2.5 * soft))
    # Hair lies outside an opening for the face, and ends above the ears unless it is long.
    fringe = p.hairline + 0.5 * p.part * s.x + 0.04 * p.style * _wave(2.3 * s.x + p.curl)
    ox, oy = s.x / (0.94 * p.width), np.minimum(s.y - 0.3, 0) / (fringe - 0.3)
    oy = oy * oy
    cap = np.minimum(cap, 0.5 * (ox * ox + _over(oy, oy * oy, 5 * p.volume) - 1))
    cap = np.where(long, cap, np.minimum(cap, -0.08 - hy))
    out = _over(out, hair, _step(cap, 5 * soft) * (p.style > 0.07))
    gx, gy, bar = (s.ax - p.eye_x) / 0.215, s.ey / 0.17, 0.8 * p.rim - np.abs(s.ey + 0.03)
    ring = p.rim - 0.19 * np.abs(np.sqrt(gx * gx + gy * gy) - 1)
    bar = np.minimum(bar, np.maximum(0.12 - s.ax, np.minimum(s.ax - 0.5, 0.7 - s.ax)))
    out = _over(out, 0.1, 0.85 * _step(np.maximum(ring, bar), soft) * (p.glasses > 0.82))
    for _ in range(4):  # the camera: a blur along y, x, y, x
        padded = np.concatenate([out[:, :1], out, out[:, -1:]], 1)
        out = _over(out, (padded[:, 2:] + padded[:, :-2]) / 2, 2 * p.blur).swapaxes(1, 2)
    out = (out - 0.45) * p.contrast + 0.45 + p.bright + p.grain * p.noise
    return np.clip(255 * out + 0.5, 0, 255).astype(np.uint8)


def draw_faces(labels: np.ndarray, seed: int = SEED) -> np.ndarray:
    """Draw one face for each label, an index into FER_CLASSES -> uint8 (n,48,48).

    Face i depends on the seed, on i and on its label alone: with another label the same person
    in the same picture shows another expression.
    """
    labels = np.asarray(labels, dtype=np.int64)
    images = np.empty((len(labels), IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    for i in range(0, len(labels), 32):  # small batches stay in the processor's cache
        batch = labels[i : i + 32]
        images[i : i + 32] = _render(_people(range(i, i + len(batch)), seed, IMAGE_SIZE), batch)
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
    return _render(p, [FER_CLASSES.index(expression)])[0]


def _pictures(folder: Path) -> list[Path]:
    """The files that write_toy_faces could have written."""
    return [f for part in ("train", "test") for f in folder.glob(f"{part}/*/toy_{'[0-9]' * 5}.png")]


def _note(folder: Path, seed: int) -> str:
    """What toy.json says of a complete folder; anything lost or damaged changes it."""
    sizes = [file.stat().st_size for file in _pictures(folder)]
    about = "Toy faces drawn by helpers/toy_faces.py; no photographs."
    count = {"files": len(sizes), "bytes": sum(sizes)}
    return json.dumps({"about": about, "version": VERSION, "seed": seed, **count}, indent=1)


def _complete(folder: Path, seed: int) -> bool:
    note = folder / "toy.json"
    return note.is_file() and note.read_bytes() == _note(folder, seed).encode()


def _clear(folder: Path) -> None:
    """Delete toy faces of another version, but nothing else that someone put there."""
    ours = {*_pictures(folder), folder / "toy.json"}
    found = sorted((folder, *folder.rglob("*")), reverse=True)  # a folder after what it holds
    for path in found:
        litter = path.name in (".DS_Store", "Thumbs.db", "desktop.ini")
        if path.is_symlink() or not (path.is_dir() or path in ours or litter):
            raise TutorialError(f"{path} is no toy face; move it out of {folder} and run again.")
    for path in found:
        path.rmdir() if path.is_dir() else path.unlink()


def write_toy_faces(folder: Path, seed: int = SEED) -> Path:
    """Write train/<class>/*.png and test/<class>/*.png in FER-2013's proportions; return folder.

    All or nothing: the faces are written beside the folder and moved there when complete, with
    toy.json to say so. A complete folder is left as it is; an older or damaged one is replaced.

    Raises:
        TutorialError: if the folder holds other files, or cannot be written.
    """
    folder = Path(folder)
    shares = np.array(FER_COUNTS) / sum(FER_COUNTS)
    counts = [np.round(n * shares).astype(int) for n in (TRAIN, TEST)]
    labels = np.concatenate([np.repeat(np.arange(len(shares)), n) for n in counts])
    try:
        if _complete(folder, seed):
            return folder
        images = draw_faces(labels, seed)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(".part", f".{folder.name}-", folder.parent) as private:
            new = Path(private) / folder.name
            for i, (image, label) in enumerate(zip(images, labels, strict=True)):
                part = "train" if i < sum(counts[0]) else "test"
                file = new / part / FER_CLASSES[label] / f"toy_{i + 1:05d}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image).save(file)
            (new / "toy.json").write_bytes(_note(new, seed).encode())
            if not _complete(folder, seed):  # another process may have been faster
                if folder.exists():
                    _clear(folder)
                new.rename(folder)
    except OSError as error:
        raise TutorialError(f"Cannot write toy faces to {folder}: {error.strerror}.") from error
    return folder
