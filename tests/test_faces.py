"""Faces in pictures: what is found, how it is framed, and what is said of it."""

import numpy as np
import pytest
from PIL import Image

from helpers import data, faces


@pytest.fixture(scope="module")
def portraits():
    return faces.portraits()


# Where the face is, by eye: a box around eyes, nose and mouth, in pixels of the portrait.
FEATURES = {"astronaut": (185, 95, 258, 160), "Grace Hopper": (200, 165, 345, 320)}


@pytest.mark.parametrize("name", FEATURES)
def test_the_one_face_of_a_portrait_is_found_where_it_is(portraits, name):
    (face,) = faces.find_faces(portraits[name])
    left, top, right, bottom = FEATURES[name]
    assert face.box[0] <= left and face.box[1] <= top
    assert face.box[2] >= right and face.box[3] >= bottom
    assert face.box[2] - face.box[0] < 1.7 * (right - left)
    assert face.crop.shape == (48, 48) and face.crop.dtype == np.uint8
    assert face.score > 0


@pytest.mark.parametrize("side", [256, 512, 2000, 4000])
def test_the_box_is_in_pixels_of_the_picture_given(portraits, side):
    faces_found = faces.find_faces(portraits["astronaut"].resize((side, side)))
    middle = np.array(faces_found[0].box).reshape(2, 2).mean(axis=0) / side
    np.testing.assert_allclose(middle, np.array([220, 122]) / 512, atol=0.02)
    assert len(faces_found) == 1


def test_several_faces_come_largest_first(portraits):
    both = Image.new("RGB", (1100, 600), "grey")
    both.paste(portraits["astronaut"], (0, 0))
    both.paste(portraits["Grace Hopper"], (550, 0))
    first, second = faces.find_faces(both)
    assert first.box[0] > 550 > second.box[2]


def test_a_face_that_fills_the_picture_is_found(portraits):
    tight = portraits["astronaut"].crop((175, 70, 270, 175))
    (face,) = faces.find_faces(tight)
    assert face.box[0] >= 0 and face.box[2] <= tight.width


@pytest.mark.parametrize("name", ["coffee", "chelsea", "rocket", "coins", "page", "brick"])
def test_no_face_is_seen_where_there_is_none(name):
    from skimage import data as pictures

    assert faces.find_faces(Image.fromarray(getattr(pictures, name)()).convert("RGB")) == []


@pytest.mark.parametrize("size", [(1, 1), (1000, 2), (2, 1000), (64, 8), (300, 200)])
def test_empty_and_odd_pictures_have_no_faces(size):
    assert faces.find_faces(Image.new("RGB", size, "white")) == []


@pytest.mark.parametrize("size", [(48, 48), (24, 24), (64, 60)])
def test_a_small_picture_is_taken_for_the_face_as_it_is(size):
    pixels = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), np.uint8)
    image = Image.fromarray(pixels)
    (face,) = faces.find_faces(image)
    assert face.box == (0, 0, *size) and face.score is None
    np.testing.assert_array_equal(face.crop, data.to_input(image))


def test_a_crop_of_the_training_size_is_not_changed():
    grey = np.random.default_rng(0).integers(0, 256, (48, 48), np.uint8)
    image = Image.fromarray(grey).convert("RGB")
    np.testing.assert_array_equal(faces.find_faces(image)[0].crop, grey)


def test_the_framing_of_a_crop():
    # A white square on black, and a box on that square: the crop is 1.2 boxes wide, and the
    # white stands a little below its middle, because the frame is moved up.
    pixels = np.zeros((400, 400, 3), np.uint8)
    pixels[150:250, 150:250] = 255
    crop = faces.crop_face(Image.fromarray(pixels), (150, 150, 250, 250)) > 127
    rows, columns = np.flatnonzero(crop.any(1)), np.flatnonzero(crop.any(0))
    assert len(rows) == len(columns) == round(48 / faces.CROP_SCALE)
    assert abs(columns[0] - (47 - columns[-1])) <= 1
    above, below = rows[0], 47 - rows[-1]
    assert above - below == pytest.approx(2 * faces.CROP_LIFT * 40, abs=1.5)


def test_beyond_the_edge_the_edge_is_repeated():
    pixels = np.full((100, 100, 3), 90, np.uint8)
    pixels[:, :50] = 200
    crop = faces.crop_face(Image.fromarray(pixels), (-50, 0, 50, 100))
    assert crop.shape == (48, 48)
    assert crop[:, :40].min() >= 198  # no black bar on the left


def test_a_box_that_lies_outside_is_dropped(monkeypatch):
    boxes = [(-90, 10, 10, 110, 3.0), (40, 40, 140, 140, 1.0)]
    monkeypatch.setattr(faces, "detect", lambda grey, upsample=0: boxes)
    (face,) = faces.find_faces(Image.new("RGB", (200, 200)))
    assert face.box == (40, 40, 140, 140)


def test_a_weak_find_counts_only_where_there_is_no_better_one(monkeypatch):
    boxes = [(10, 10, 90, 90, 0.1), (100, 100, 180, 180, 1.0)]
    monkeypatch.setattr(faces, "detect", lambda grey, upsample=0: boxes)
    assert [face.score for face in faces.find_faces(Image.new("RGB", (200, 200)))] == [1.0]
    boxes.pop()
    assert [face.score for face in faces.find_faces(Image.new("RGB", (200, 200)))] == [0.1]


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
    from helpers.evaluation import faster
    from helpers.network import build_cnn

    model, some = build_cnn(4), [faces.whole_image(Image.effect_noise((60, 60), 80))] * 2
    got = faces.classify(model, some)
    assert got.shape == (2, 4)
    np.testing.assert_allclose(faces.classify(faster(model), some), got, atol=0.02)


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
