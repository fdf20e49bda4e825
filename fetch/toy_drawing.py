"""Draws the parts of toy faces: where they lie, the light on them, the paint, and the picture.

In all functions p holds the traits of n people, au how strongly each action unit moves them.
"""

from collections import namedtuple
from types import SimpleNamespace

import numpy as np

LONG = 0.62  # a `style` above it is long hair
Amounts = dict[int, np.ndarray]  # of each action unit (n,1,1)

# Arrays (n,s,s): coordinates, and signed distances, which are positive inside. `soft` is half the
# width of an edge: one and a half pixels. `nose_y` grows downwards from the tip of the nose.
Face = namedtuple("Face", "p au head eyes brows mouth nose_y soft")
Head = namedtuple("Head", "u v hx hy chin inside depth x y ax side")
Eyes = namedtuple("Eyes", "x y lid upper lower")
Brows = namedtuple("Brows", "along inner y ink")
Mouth = namedtuple("Mouth", "x y gap above under lips")


def _step(distance: np.ndarray, soft: np.ndarray | float) -> np.ndarray:
    """0 to 1, smoothly, where a signed distance goes from -soft to soft."""
    t = np.clip(distance * (0.5 / soft) + 0.5, 0, 1)
    return t * t * (3 - 2 * t)


def _bump(x: np.ndarray, y: np.ndarray | float = 0.0) -> np.ndarray:
    """A smooth hill of height 1 and radius 1. No exp: its last bit differs between machines."""
    t = np.maximum(1 - x * x - y * y, 0)
    return t * t


def _wave(t: np.ndarray) -> np.ndarray:
    """Hills between 0 and 1, one per unit of t."""
    t = np.abs(2 * (t - np.floor(t)) - 1)
    return t * t * (3 - 2 * t)


def _over(base: np.ndarray, colour: np.ndarray | float, cover: np.ndarray) -> np.ndarray:
    """Paint a colour on a base where cover is 1."""
    return base + (colour - base) * cover


def _head(p: SimpleNamespace, au: Amounts) -> Head:
    """Roll, scale and shift the picture; turn the head by sliding what lies on its front."""
    size = p.noise.shape[-1]
    u = ((2 * np.arange(size, dtype="f4") + 1) / size - 1)[None, None, :]
    v = u.swapaxes(1, 2)
    sin, cos = p.roll, np.sqrt(1 - p.roll * p.roll)
    u0, v0 = (u - p.dx) / p.scale, (v - p.dy) / p.scale
    hx, hy = cos * u0 + sin * v0, cos * v0 - sin * u0
    chin = p.chin + 0.09 * au[26]
    below = np.maximum(hy, 0) / chin
    rx = hx / (p.width * (1 - p.jaw * below * below))
    ry = below * (0.6 + 0.4 * below) + np.minimum(hy, 0)
    inside = 1 - rx * rx - ry * ry
    depth = np.sqrt(np.maximum(inside, 0))
    x, y = hx - 0.5 * p.yaw * depth, hy - 0.5 * p.pitch * depth
    side = 1 + p.lopsided * np.clip(4 * x, -1, 1)
    return Head(u, v, hx, hy, chin, inside, depth, x, y, np.abs(x), side)


def _eyes(p: SimpleNamespace, au: Amounts, head: Head) -> Eyes:
    x, y = (head.ax - p.eye_x) / p.eye_w, head.y + 0.17 + p.tilt * (head.ax - p.eye_x)
    lid = np.maximum(1 - x * x, 0)
    squint = (0.4 * au[6] + 0.45 * au[7] + 0.35 * au[9]) * head.side
    upper = y + p.eye_h * (1 + 0.9 * au[5] * head.side - 0.6 * squint) * lid
    lower = p.eye_h * (0.62 + 0.1 * au[5] - 0.7 * squint) * lid - y
    return Eyes(x, y, lid, upper, lower)


def _brows(p: SimpleNamespace, au: Amounts, head: Head) -> Brows:
    """A brow goes from `along` 0, where `inner` is 1, to 1."""
    along = np.clip((head.ax - 0.1 + 0.05 * au[4] * head.side) / 0.42, -0.1, 1.1)
    inner = 1 - along
    lift = 0.15 * (au[1] * inner * inner + au[2] * (1 - 0.6 * au[4]) * along) * head.side
    drop = 0.13 * au[4] * (1 - 0.5 * au[1]) * (0.25 + 0.75 * inner) + 0.05 * au[9] * inner
    y = head.y - p.brow_y + (4 * p.arch * inner - 0.02) * along + lift - drop
    ink = p.brow_t * (1 - 0.6 * along * along) - np.abs(y)
    ink = np.minimum(ink, 0.5 * (0.23 - np.abs(head.ax - 0.31 + 0.02 * au[4])))
    return Brows(along, inner, y, ink)


def _mouth(p: SimpleNamespace, au: Amounts, head: Head) -> Mouth:
    """The opening lies between `above` and `under`, its edges; the lips lie around it."""
    half = p.mouth_w * (1 + 0.42 * au[12] + 0.42 * au[20] - 0.22 * au[26] - 0.24 * au[23])
    x = head.x / half
    arc = np.maximum(1 - x * x, 0)
    bend = (0.21 * au[12] - 0.18 * au[15]) * head.side - 0.02 * au[20]
    y = head.y - p.mouth_y + bend * (np.minimum(x * x, 2) - 0.35) + 0.03 * (au[9] - au[26])
    gap = 0.27 * au[26] + 0.1 * au[16] + 0.075 * au[20] + 0.12 * au[12]
    gap = gap * (1 - 0.9 * au[23]) * (0.9 + 0.2 * p.teeth) * arc
    above, under = y + 0.15 * gap, 0.85 * gap - y
    thin = (1 - 0.75 * au[23]) * arc
    top = p.upper_lip * thin * (1.1 - 0.35 * _bump(head.x / 0.07))
    lips = np.minimum(above + top, under + p.lower_lip * thin * (1 + 0.2 * au[16]))
    return Mouth(x, y, gap, above, under, np.minimum(lips, half * (0.97 - np.abs(x))))


def _height(f: Face) -> np.ndarray:
    """Build the height map of the face: the skull, and what rises from it -> (n,s,s)."""
    p, au, x, y, ax, down = f.p, f.au, f.head.x, f.head.y, f.head.ax, f.nose_y
    z = 0.6 * f.head.depth
    ridge = np.clip(1 + down / (p.nose_y + 0.3), 0, 1)
    nose = ridge * (0.25 + 0.75 * ridge) * _step(0.05 - down, 0.07)
    z += p.nose_z * nose * _bump(x / (1.1 * p.nose_w * (1 + ridge)))
    z += (0.055 + 0.03 * au[9]) * _bump((ax - 0.85 * p.nose_w) / 0.09, down / 0.09)
    z += 0.05 * _bump((ax - 0.3) / 0.36, (y + 0.37 - 0.05 * au[4]) / 0.16)  # the bone of the brow
    socket = 0.12 * _bump((ax - 0.3) / 0.26, f.eyes.y / 0.2)
    z += 0.035 * _bump(0.8 * f.eyes.x, f.eyes.y / 0.11) - socket
    cheek = 0.05 + 0.06 * au[6] + 0.03 * au[12] + 0.03 * au[9]
    z += cheek * _bump((ax - 0.4) / 0.29, (y - 0.14 + 0.04 * au[6]) / 0.3)
    crease = ax - 0.16 - (0.62 + 0.2 * au[12]) * down * (1 - 0.5 * down)  # from nose to mouth
    fold = (0.02 + 0.06 * au[12] + 0.06 * au[9] + 0.02 * au[15]) * _step(crease, 0.06)
    z += fold * _bump((down - 0.13) / 0.3) * _bump(crease / 0.3)
    z += (0.06 + 0.03 * au[15]) * _bump(x / 0.24, (y - f.head.chin + 0.18) / 0.17)
    mx, my = f.mouth.x, f.mouth.y
    z += 0.045 * _bump(mx / 1.15, my / 0.17) - 0.008 * _bump(x / 0.05, (my + 0.12) / 0.09)
    z -= 0.03 * (1 + au[15]) * _bump(0.8 * mx, (my - f.mouth.gap - 0.14) / 0.08)
    # What an expression folds on the forehead, between the brows and on the nose.
    raised = au[1] * f.brows.inner + au[2] * f.brows.along
    wrinkle = 0.016 * raised * _wave(y / 0.11 + 0.8 * x * x)
    z += wrinkle * _bump((y + 0.58) / 0.2) * _bump(x / 0.55)
    z -= 0.022 * (au[4] + au[9]) * _bump((ax - 0.055) / 0.06, (f.brows.y + 0.02) / 0.15)
    z += 0.025 * au[9] * _wave(y / 0.08 + ax) * _bump(x / 0.16, (y + 0.1) / 0.14)
    return z


def _light(f: Face) -> np.ndarray:
    """Light the height map -> brightness (n,s,s), about 1 at most."""
    p, z = f.p, _height(f)
    zx, zy, apart = np.zeros_like(z), np.zeros_like(z), 4 / z.shape[-1]
    zx[:, :, 1:-1] = np.clip((z[:, :, 2:] - z[:, :, :-2]) / apart, -2.5, 2.5)
    zy[:, 1:-1] = np.clip((z[:, 2:] - z[:, :-2]) / apart, -2.5, 2.5)
    lengths = (1 + p.light_x * p.light_x + p.light_y * p.light_y) * (1 + zx * zx + zy * zy)
    facing = np.maximum(1 - zx * p.light_x - zy * p.light_y, 0) / np.sqrt(lengths)
    gloss = facing * facing * facing * facing
    light = p.ambient + (1 - p.ambient) * facing + 0.16 * gloss * gloss
    return light * (0.75 + 0.25 * _step(f.head.inside - 0.1, 0.25))


def _skin(f: Face) -> np.ndarray:
    """Paint the skin with its beard, the mouth and the nostrils -> (n,s,s)."""
    p, head, mouth, soft = f.p, f.head, f.mouth, f.soft
    ax, x, y = head.ax, head.x, head.y
    skin = p.skin * (1 - 0.32 * _bump((ax - p.eye_x) / 0.2, (f.eyes.y + 0.02) / 0.17))
    jaw = _step(y - 0.24 - 0.25 * _bump(x / 0.4), 0.14) * _step(0.8 + 0.2 * y - head.depth, 0.4)
    jaw = np.maximum(p.beard, 0) * np.maximum(jaw, _bump(x / 0.3, (y - head.chin + 0.1) / 0.22))
    lip = np.maximum(p.moustache, 0) * _bump(x / 0.33, (mouth.y + 0.11 + 0.3 * ax * ax) / 0.11)
    skin = _over(skin, 0.6 * p.shade, np.maximum(jaw, lip))
    skin = _over(skin, p.skin * p.lip_ink, _step(mouth.lips + 0.3 * soft, soft))
    teeth = 0.8 * _step(p.teeth + 0.1, 0.4) * _bump((mouth.above - 0.06) / 0.06)
    teeth = np.maximum(teeth, 0.4 * f.au[16] * _step(0.05 - mouth.under, soft))
    hole = _step(np.minimum(mouth.above, mouth.under), soft) * _step(mouth.gap - 0.02, 0.015)
    skin = _over(skin, 0.08 + teeth * _bump(0.75 * mouth.x), hole)
    closed = _bump(0.9 * mouth.x, mouth.y / 0.035) * _step(0.04 - mouth.gap, 0.03)
    skin *= 1 - 0.5 * closed
    return skin * (1 - 0.6 * _bump((ax - 0.5 * p.nose_w) / 0.055, (f.nose_y - 0.045) / 0.035))


def _paint_eyes(skin: np.ndarray, f: Face) -> np.ndarray:
    """Paint iris, pupil, a glint, lashes, the fold of the lid and the brows -> (n,s,s)."""
    p, eyes, soft, turn = f.p, f.eyes, f.soft, np.sign(f.head.x)
    gx, gy = f.head.ax - p.eye_x - p.gaze * turn, eyes.y + 0.012
    radius = 0.98 * p.eye_h
    iris = 1 - (gx * gx + gy * gy) / (radius * radius)
    ball = _over(0.4 + 0.4 * p.skin, p.iris, _step(iris, 0.4))
    ball = _over(ball, 0.02, _step(iris - 0.8, 0.2))
    ball = _over(ball, 1, 0.8 * _bump((gx - 0.02 * turn) / 0.028, (gy + 0.028) / 0.028))
    ball *= 1 - 0.45 * _step(0.03 - eyes.upper, 0.03)  # the shadow of the lid
    skin = _over(skin, ball, _step(np.minimum(eyes.upper, eyes.lower), soft) * (eyes.lid > 0))
    skin = _over(skin, 0.08, 0.75 * _bump(0.9 * eyes.x) * _bump(eyes.upper / (0.03 + soft)))
    fold = (eyes.upper + 0.05 - 0.03 * f.au[5]) / 0.035
    skin *= 1 - 0.3 * _bump(0.8 * eyes.x) * _bump(fold)
    return _over(skin, 0.5 * p.shade, p.brow_ink * _step(f.brows.ink, 1.6 * soft))


def _hair(f: Face) -> tuple[np.ndarray, np.ndarray]:
    """The hair's colour, and the signed distance from the edge of all that it could cover."""
    p, hx, hy = f.p, f.head.hx, f.head.hy
    wide, tall = p.width + 0.04 + 0.6 * p.volume, 1 + p.volume
    cap = 1 - hx * hx / (wide * wide) - (hy + 0.05) * (hy + 0.05) / (tall * tall)
    comb = hx / (0.6 + 0.45 * np.clip(hy + 1, 0, 1.3))
    strands = _wave(5 * comb + 3 * p.part + p.curl * hy) + _wave(11 * comb - 2 * p.curl * hy)
    gloss = 0.1 * _bump(comb - 0.5 * p.light_x, (hy + 0.78) / 0.2)
    shine = 0.55 + 0.5 * np.sqrt(np.maximum(cap, 0)) - 0.25 * (p.light_x * hx)
    return p.shade * (0.85 + 0.16 * strands) * shine + gloss, cap


def _behind(f: Face, hair: np.ndarray) -> np.ndarray:
    """Paint what lies behind the head: the wall, long hair, neck, shirt, ears -> (n,s,s)."""
    p, soft, u, v, hx, hy = f.p, f.soft, f.head.u, f.head.v, f.head.hx, f.head.hy
    blobs = _wave((p.wall_f * u + p.part + 0.4 * v) / 2) + _wave(p.wall_f * v / 3 - p.curl)
    out = p.wall + p.wall_x * u / 2 + 0.13 * (blobs - 1)
    ahx, wide = np.abs(hx), p.width + 0.04 + 0.6 * p.volume
    fall = np.minimum(wide * (1 + 0.12 * hy) - ahx, hy)
    out = _over(out, 0.75 * hair, _step(fall, 2 * soft) * (p.style > LONG))
    shadow = p.skin * (0.5 + 0.35 * p.ambient + 0.15 * (p.light_x * hx))
    neck = np.minimum(p.width * (0.68 + 0.9 * np.maximum(hy - 1, 0)) - ahx, hy - 0.4)
    out = _over(out, shadow * (0.75 + 0.25 * _step(hy - 1.05, 0.2)), _step(neck, 3 * soft))
    out = _over(out, p.shirt, _step(hy - 1.15 + 0.2 * ahx, 3 * soft))
    ear_x, ear_y = (ahx - p.width) / 0.09, (hy + 0.02) / 0.19
    ear = _step(1 - ear_x * ear_x - ear_y * ear_y, 0.3)
    return _over(out, shadow, ear * ~(p.style > LONG))


def _in_front(out: np.ndarray, f: Face, hair: np.ndarray, cap: np.ndarray) -> np.ndarray:
    """Paint hair around an opening for the face, above the ears unless long; and glasses."""
    p, soft, x, y, ax = f.p, f.soft, f.head.x, f.head.y, f.head.ax
    fringe = p.hairline + 0.5 * p.part * x + 0.04 * p.style * _wave(2.3 * x + p.curl)
    ox, oy = x / (0.94 * p.width), np.minimum(y - 0.3, 0) / (fringe - 0.3)
    oy = oy * oy
    cap = np.minimum(cap, 0.5 * (ox * ox + _over(oy, oy * oy, 5 * p.volume) - 1))
    cap = np.where(p.style > LONG, cap, np.minimum(cap, -0.08 - f.head.hy))
    out = _over(out, hair, _step(cap, 5 * soft) * (p.style > 0.07))
    gx, gy, bar = (ax - p.eye_x) / 0.215, f.eyes.y / 0.17, 0.8 * p.rim - np.abs(f.eyes.y + 0.03)
    ring = p.rim - 0.19 * np.abs(np.sqrt(gx * gx + gy * gy) - 1)
    bar = np.minimum(bar, np.maximum(0.12 - ax, np.minimum(ax - 0.5, 0.7 - ax)))
    return _over(out, 0.1, 0.85 * _step(np.maximum(ring, bar), soft) * (p.glasses > 0.82))


def _camera(out: np.ndarray, p: SimpleNamespace) -> np.ndarray:
    """Blur along y, x, y, x; contrast, brightness and grain -> uint8 (n,s,s)."""
    for _ in range(4):
        padded = np.pad(out, [(0, 0), (1, 1), (0, 0)], "edge")
        out = _over(out, (padded[:, 2:] + padded[:, :-2]) / 2, 2 * p.blur).swapaxes(1, 2)
    out = (out - 0.45) * p.contrast + 0.45 + p.bright + p.grain * p.noise
    return np.clip(255 * out + 0.5, 0, 255).astype(np.uint8)


def render(people: SimpleNamespace, amounts: Amounts) -> np.ndarray:
    """Draw people, moved by so much of each action unit, from back to front -> uint8 (n,s,s)."""
    head = _head(people, amounts)
    parts = (part(people, amounts, head) for part in (_eyes, _brows, _mouth))
    nose_y = head.y - people.nose_y + 0.03 * amounts[9]
    f = Face(people, amounts, head, *parts, nose_y, 1.5 / people.noise.shape[-1])
    hair, cap = _hair(f)
    front = _paint_eyes(_skin(f), f) * _light(f)
    out = _over(_behind(f, hair), front, _step(head.inside, 2.5 * f.soft))
    return _camera(_in_front(out, f, hair, cap), people)
