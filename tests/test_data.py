"""Decoding, loading, checking and splitting, against answers that are known beforehand."""

import io
import json
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from fetch import loading
from helpers import FER_CLASSES, TutorialError, data, fer2013, pictures
from helpers.data import Split


def encode(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def noise(seed: int, shape=(48, 48)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def gray(seed: int) -> bytes:
    return encode(Image.fromarray(noise(seed)))


def make_split(labels, images=None) -> Split:
    labels = np.array(labels, np.int64)
    images = np.stack([noise(seed) for seed in range(len(labels))]) if images is None else images
    return Split(images, labels, np.array([f"c/{index}.png" for index in range(len(labels))]))


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def layout(classes=("cat", "dog"), train=4, test=2) -> dict[str, bytes]:
    seeds = iter(range(10_000))
    return {
        f"{split}/{name}/{index}.png": gray(next(seeds))
        for split, number in (("train", train), ("test", test))
        for name in classes
        for index in range(number)
    }


@pytest.fixture(scope="module")
def fer(fer2013_zip: Path) -> data.Dataset:
    return loading.load(fer2013_zip)


# ---------------------------------------------------------------- open_picture


def test_a_gray_jpeg_of_the_right_size_is_decoded_untouched():
    raw = encode(Image.fromarray(noise(1)), "JPEG", quality=90)
    expected = np.asarray(Image.open(io.BytesIO(raw)))
    picture = pictures.open_picture(raw)
    assert picture.mode == "RGB"
    np.testing.assert_array_equal(pictures.to_input(picture), expected)


def test_pictures_come_from_bytes_paths_and_open_files(tmp_path):
    raw = gray(2)
    (tmp_path / "a.png").write_bytes(raw)
    sources = [raw, memoryview(raw), tmp_path / "a.png", str(tmp_path / "a.png"), io.BytesIO(raw)]
    for source in sources:
        np.testing.assert_array_equal(pictures.to_input(pictures.open_picture(source)), noise(2))


def test_transparency_becomes_white():
    clear = np.zeros((8, 8, 4), np.uint8)  # black, and wholly transparent
    clear[:4] = (10, 20, 30, 255)
    pixels = np.asarray(pictures.open_picture(encode(Image.fromarray(clear))))
    assert (pixels[:4] == (10, 20, 30)).all() and (pixels[4:] == 255).all()

    palette = Image.fromarray(np.repeat([0, 1], 32).reshape(8, 8).astype(np.uint8), "P")
    palette.putpalette([200, 0, 0, 0, 0, 200])
    pixels = np.asarray(pictures.open_picture(encode(palette, transparency=1)))
    assert (pixels[:4] == (200, 0, 0)).all() and (pixels[4:] == 255).all()

    half = Image.new("LA", (4, 4), (0, 128))
    assert np.asarray(pictures.open_picture(encode(half)))[0, 0, 0] == pytest.approx(127, abs=1)


def test_sixteen_bits_are_scaled_not_clipped():
    levels = np.array([[0, 257, 32896, 65535]], np.uint16).repeat(4, 0)
    for kind in ("PNG", "TIFF"):
        pixels = np.asarray(pictures.open_picture(encode(Image.fromarray(levels), kind)))
        assert pixels[0, :, 0].tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize("white", [1, 255, 65535, 1e6])
def test_thirty_two_bits_are_scaled_by_what_must_be_white(white):
    levels = np.array([[0, 0.2, 1, -1, np.nan, np.inf]], np.float32) * np.float32(white)
    pixels = np.asarray(pictures.open_picture(encode(Image.fromarray(levels), "TIFF")))
    assert pixels[0, :, 0].tolist() == [0, 51, 255, 0, 0, 0]
    if white > 1:
        whole = Image.fromarray(np.nan_to_num(levels[:, :4]).astype(np.int32))
        pixels = np.asarray(pictures.open_picture(encode(whole, "TIFF")))
        assert pixels[0, :, 0].tolist() == [0, 51, 255, 0]


def test_other_modes():
    cmyk = Image.new("CMYK", (8, 8), (0, 255, 255, 0))  # red, as printers mix it
    red, green, blue = np.asarray(pictures.open_picture(encode(cmyk, "JPEG", quality=100)))[4, 4]
    assert red > 200 and green < 60 and blue < 60

    for mode in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "YCbCr", "F", "I", "I;16"):
        white = Image.new("RGB", (8, 8), "white").convert("L" if mode[0] in "FI" else mode)
        if mode[0] in "FI":
            kinds = {"F": (np.float32, 1), "I": (np.int32, 257), "I;16": (np.uint16, 257)}
            white = Image.fromarray(np.asarray(white).astype(kinds[mode][0]) * kinds[mode][1])
        picture = pictures.open_picture(encode(white, "TIFF"))
        assert picture.mode == "RGB" and (np.asarray(picture) == 255).all()


def test_the_first_frame_of_an_animation_counts():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    raw = encode(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=50)
    assert np.asarray(pictures.open_picture(raw))[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_pictures_are_turned_upright(orientation, kind):
    upright = Image.new("RGB", (64, 32), "black")
    upright.paste((255, 255, 255), (0, 0, 16, 16))  # a mark at the top left
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the inverse transpositions
    stored = upright.transpose(undo[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = pictures.open_picture(encode(stored, kind, exif=exif))
    assert picture.size == (64, 32)
    pixels = np.asarray(picture.convert("L"))
    assert pixels[4, 4] > 200
    assert pixels[4, 60] < 50 and pixels[28, 4] < 50 and pixels[28, 60] < 50


def test_a_transparent_picture_is_turned_too():
    exif = Image.Exif()
    exif[0x0112] = 6
    raw = encode(Image.new("RGBA", (20, 10), (1, 2, 3, 255)), "PNG", exif=exif)
    assert pictures.open_picture(raw).size == (10, 20)


def test_damaged_exif_does_not_cost_the_picture():
    raw = encode(Image.new("RGB", (32, 16), "gray"), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert pictures.open_picture(raw).size == (32, 16)


def test_one_pixel():
    image = pictures.to_input(pictures.open_picture(encode(Image.new("RGB", (1, 1), (50, 50, 50)))))
    assert image.shape == (48, 48) and (image == 50).all()


@pytest.mark.parametrize(("kind", "mode"), [("JPEG", "RGB"), ("PNG", "L")])
def test_a_huge_picture_is_made_smaller(kind, mode):
    image = Image.new(mode, (12_000, 9_000), "white")
    image.paste("black", (0, 0, 6_000, 9_000))
    picture = pictures.open_picture(encode(image, kind))
    assert picture.size == (1600, 1200)
    pixels = np.asarray(picture.convert("L"))
    assert pixels[:, :790].max() < 30 and pixels[:, 810:].min() > 225


def test_a_huge_jpeg_is_never_decoded_in_full(monkeypatch):
    raw = encode(Image.new("RGB", (8_000, 6_000), "gray"), "JPEG")
    sizes = []
    real = Image.Image.resize
    monkeypatch.setattr(
        Image.Image, "resize", lambda self, *a, **k: sizes.append(self.size) or real(self, *a, **k)
    )
    assert pictures.open_picture(raw).size == (1600, 1200)
    assert max(max(size) for size in sizes) <= 4_000


def test_too_many_pixels_are_refused_before_decoding(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 49)  # Pillow refuses twice as many
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(TutorialError, match="too large"):
        pictures.open_picture(png_header())


def png_header() -> bytes:
    """Return a PNG of 10×10 pixels by its header, with nothing behind it."""
    body = b"IHDR" + struct.pack(">IIBBBBB", 10, 10, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    end = b"IDAT"
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk
        + struct.pack(">I", 0)
        + end
        + struct.pack(">I", zlib.crc32(end))
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"just some text", "not a picture"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "save it as JPEG"),
        (encode(Image.fromarray(noise(3)), "JPEG")[:-400], "damaged or cut off"),
        (gray(4)[:200], "damaged or cut off"),
    ],
)
def test_what_is_no_picture_gets_one_sentence(tmp_path, content, words):
    (tmp_path / "me.jpg").write_bytes(content)
    with pytest.raises(TutorialError, match=words) as error:
        pictures.open_picture(tmp_path / "me.jpg")
    assert str(error.value).startswith("me.jpg")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(TutorialError, match=r"me\.jpg cannot be read"):
        pictures.open_picture(tmp_path / "me.jpg")


def test_to_input_takes_the_central_square():
    wide = np.zeros((96, 192), np.uint8)
    wide[:, 48:144] = 255
    assert pictures.to_input(Image.fromarray(wide)).min() == 255
    assert pictures.to_input(Image.fromarray(wide.T.copy())).min() == 255


def test_to_input_averages_when_it_makes_smaller():
    checks = (np.indices((480, 480)).sum(0) % 2 * 255).astype(np.uint8)
    assert np.abs(pictures.to_input(Image.fromarray(checks)).astype(int) - 127).max() <= 2


# ---------------------------------------------------------------- load


def test_load_reads_classes_labels_and_pixels(tmp_path):
    files = layout()
    loaded = loading.load(write(tmp_path, files))
    assert loaded.classes == ("cat", "dog")
    assert (loaded.kind, loaded.name, loaded.problems) == ("own", "your own images", ())
    assert loaded.train.images.shape == (8, 48, 48) and loaded.train.images.dtype == np.uint8
    assert loaded.train.labels.tolist() == [0] * 4 + [1] * 4
    assert loaded.train.labels.dtype == np.int64
    assert loaded.train.files.tolist()[:2] == ["cat/0.png", "cat/1.png"]
    np.testing.assert_array_equal(loaded.train.images[5], noise(5))
    assert len(loaded.test) == 4


def test_a_zip_and_its_folder_are_the_same(tmp_path):
    files = layout()
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr("archive/" + name, content)
    packed = loading.load(tmp_path / "data.zip")
    plain = loading.load(write(tmp_path / "folder", files))
    assert packed.fingerprint == plain.fingerprint
    assert packed.train.files.tolist() == plain.train.files.tolist()


def test_the_fingerprint_knows_pixels_labels_and_classes_but_not_names(tmp_path):
    files = layout()
    first = loading.load(write(tmp_path / "a", files)).fingerprint
    assert len(first) == 16 and int(first, 16) >= 0
    renamed = {name.replace("/0.png", "/z.png"): content for name, content in files.items()}
    assert loading.load(write(tmp_path / "b", renamed)).fingerprint == first
    changed = files | {"train/cat/0.png": gray(777)}
    swapped = files | {
        "train/cat/0.png": files["train/dog/0.png"],
        "train/dog/0.png": files["train/cat/0.png"],
    }
    others = {name.replace("dog", "fox"): content for name, content in files.items()}
    prints = {
        loading.load(write(tmp_path / str(index), variant)).fingerprint
        for index, variant in enumerate([changed, swapped, others])
    }
    assert len(prints | {first}) == 4


def test_bad_files_are_named_and_skipped(tmp_path):
    bad = {
        "train/cat/broken.jpg": encode(Image.fromarray(noise(3)), "JPEG")[:-400],
        "train/cat/empty.jpg": b"",
        "train/dog/text.jpg": b"not a picture",
        "train/dog/notes.txt": b"not even by name",
        "test/dog/deep/1.png": gray(1),
    }
    loaded = loading.load(write(tmp_path, layout() | bad))
    assert len(loaded.train) == 8
    assert len(loaded.problems) == len(bad)
    for name in bad:
        assert sum(name in problem for problem in loaded.problems) == 1


def test_a_damaged_member_of_a_zip_is_skipped(tmp_path):
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in layout().items():
            archive.writestr(name, content)
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"train/cat/1.png") + 100] ^= 255
    path.write_bytes(raw)
    loaded = loading.load(path)
    assert len(loaded.train) == 7 and "train/cat/1.png" in loaded.problems[0]


def test_other_sizes_are_used_and_reported_in_one_line(tmp_path):
    extra = {f"train/cat/big{i}.png": encode(Image.new("L", (90, 60), i)) for i in range(12)}
    loaded = loading.load(write(tmp_path, layout() | extra))
    assert len(loaded.train) == 20
    sizes = [problem for problem in loaded.problems if "sizes" in problem]
    assert len(sizes) == 1 and "12 images" in sizes[0] and "big0.png" in sizes[0]


def test_a_class_without_a_usable_image(tmp_path):
    files = {n: b"" if n.startswith("train/dog") else c for n, c in layout().items()}
    with pytest.raises(TutorialError, match=r"train/dog/"):
        loading.load(write(tmp_path / "a", files))
    files = {n: b"" if n.startswith("test/") else c for n, c in layout().items()}
    with pytest.raises(TutorialError, match="test"):
        loading.load(write(tmp_path / "b", files))


def test_bare_class_folders_give_a_grouped_fifth_for_testing(tmp_path):
    files = {f"{name}/{i}.png": gray(i) for name in ("a", "b") for i in range(20)}
    files |= {f"a/copy{i}.png": gray(i) for i in range(20)}
    loaded = loading.load(write(tmp_path, files))
    assert len(loaded.train) + len(loaded.test) == 60
    assert 8 <= len(loaded.test) <= 14
    assert not data.copies_of(loaded.test.images, loaded.train.images).any()
    assert set(loaded.test.labels.tolist()) == {0, 1}


def test_bare_class_folders_for_testing_follow_the_classes_of_a_model(tmp_path):
    folder = write(
        tmp_path, {f"{name}/{i}.png": gray(i) for name in ("sad", "happy") for i in (1, 2)}
    )
    alone = loading.load(folder, bare_as="test")
    assert alone.classes == ("happy", "sad") and len(alone.train) == 0 and len(alone.test) == 4
    assert alone.train.images.shape == (0, 48, 48)
    loaded = loading.load(folder, bare_as="test", classes=FER_CLASSES)
    assert loaded.classes == FER_CLASSES
    assert [FER_CLASSES[label] for label in loaded.test.labels] == ["happy"] * 2 + ["sad"] * 2
    with pytest.raises(TutorialError, match="happy/ is none of"):
        loading.load(folder, bare_as="test", classes=("glad", "sad"))


def test_a_class_may_be_missing_from_test(tmp_path):
    files = {n: c for n, c in layout().items() if not n.startswith("test/dog")}
    loaded = loading.load(write(tmp_path, files))
    assert loaded.classes == ("cat", "dog") and set(loaded.test.labels.tolist()) == {0}


def test_toy_faces_are_called_so(tmp_path):
    files = layout(FER_CLASSES) | {"toy.json": json.dumps({"version": 1}).encode()}
    loaded = loading.load(write(tmp_path, files))
    assert (loaded.kind, loaded.name) == ("toy", "toy faces")
    assert "toy faces" in loaded.verdict


def test_a_few_pictures_in_folders_named_as_those_of_fer_are_ones_own(tmp_path):
    loaded = loading.load(write(tmp_path, layout(FER_CLASSES)))
    assert loaded.kind == "own" and "not FER-2013" in loaded.verdict


def test_load_dataset_says_what_it_took(tmp_path, monkeypatch, capsys):
    write(tmp_path, layout() | {"train/cat/empty.png": b"", "train/cat/x.png": b""})
    monkeypatch.setenv("TUTORIAL_DATASET", str(tmp_path))
    loaded = loading.load_dataset()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and lines[1] == loaded.verdict
    assert ": 2 " in lines[2] and "empty.png" in lines[2]


# ---------------------------------------------------------------- splitting


def test_duplicate_groups_and_copies():
    images = np.stack([noise(seed) for seed in (1, 2, 1, 3, 2, 1)])
    assert data.duplicate_groups(images).tolist() == [0, 1, 0, 2, 1, 0]
    others = np.stack([noise(3), noise(9)])
    assert data.copies_of(images, others).tolist() == [False, False, False, True, False, False]
    assert data.copies_of(images[:0], others).shape == (0,)


def test_halves_follow_the_file_names():
    split = make_split([0, 0, 1])
    names = np.array(["a/PublicTest_1.jpg", "a/PrivateTest_2.jpg", "b/PublicTest_3.png"])
    halves = fer2013.halves(Split(split.images, split.labels, names))
    assert halves["public"].files.tolist() == [names[0], names[2]]
    assert halves["private"].labels.tolist() == [0]
    with pytest.raises(TutorialError, match="FER-2013"):
        fer2013.halves(split)


def test_grouped_split_keeps_copies_together_and_classes_in_proportion():
    labels = [0] * 200 + [1] * 100 + [2] * 20
    images = np.stack([noise(index // 2) for index in range(320)])  # pairs
    split = make_split(labels, images)
    large, small = data.grouped_split(split, 0.1, seed=3)
    assert np.bincount(small.labels).tolist() == [20, 10, 2]
    assert not data.copies_of(small.images, large.images).any()
    assert sorted([*large.files, *small.files]) == sorted(split.files)
    again = data.grouped_split(split, 0.1, seed=3)[1]
    other = data.grouped_split(split, 0.1, seed=4)[1]
    assert again.files.tolist() == small.files.tolist() != other.files.tolist()


def test_grouped_split_gives_each_class_to_both_sides():
    large, small = data.grouped_split(make_split([0, 0, 1, 1, 2]), 0.1)
    assert set(large.labels.tolist()) == {0, 1, 2} and set(small.labels.tolist()) == {0, 1}


@pytest.mark.parametrize("n", [3, 4, 10, 57, 100, 999])
def test_subset_keeps_proportions_and_every_class(n):
    split = make_split([0] * 70 + [1] * 28 + [2] * 2)
    part = data.subset(split, n, seed=1)
    counts = np.bincount(part.labels, minlength=3)
    assert len(part) == min(n, 100) and counts.min() >= 1
    assert np.abs(counts - min(n, 100) * np.array([0.7, 0.28, 0.02])).max() <= 1.5
    assert len(set(part.files)) == len(part)
    assert part.files.tolist() == data.subset(split, n, seed=1).files.tolist()


def test_subset_smaller_than_the_classes_still_has_one_of_each():
    part = data.subset(make_split([0] * 5 + [1] * 5 + [2] * 5), 1)
    assert sorted(part.labels.tolist()) == [0, 1, 2]


# ---------------------------------------------------------------- FER-2013 itself


def test_fer_is_recognised(fer):
    assert (fer.kind, fer.name, fer.classes) == ("fer2013", "FER-2013", FER_CLASSES)
    assert fer.fingerprint == fer2013.FER_FINGERPRINT
    assert "true FER-2013" in fer.verdict
    assert np.bincount(fer.train.labels).tolist() == [3995, 436, 4097, 7215, 4965, 4830, 3171]
    assert np.bincount(fer.test.labels).tolist() == [958, 111, 1024, 1774, 1233, 1247, 831]
    assert fer.problems == ()


def test_facts_about_the_duplicates_of_fer(fer):
    images = np.concatenate([fer.train.images, fer.test.images])
    labels = np.concatenate([fer.train.labels, fer.test.labels])
    groups = data.duplicate_groups(images)
    sizes = np.bincount(groups)
    assert (len(sizes), (sizes > 1).sum(), len(images) - len(sizes)) == (34034, 1516, 1853)
    pairs = np.unique(np.stack([groups, labels]), axis=1)
    conflicting = np.bincount(pairs[0]) > 1
    assert (conflicting.sum(), sizes[conflicting].sum()) == (57, 160)

    halves = fer2013.halves(fer.test)
    assert {name: len(half) for name, half in halves.items()} == {"public": 3589, "private": 3589}
    assert data.copies_of(fer.test.images, fer.train.images).sum() == 568
    copies = {k: data.copies_of(h.images, fer.train.images).sum() for k, h in halves.items()}
    assert copies == {"public": 280, "private": 288}
    assert data.copies_of(halves["private"].images, halves["public"].images).sum() == 44


def test_a_grouped_split_of_fer(fer):
    train, validation = data.grouped_split(fer.train)
    assert not data.copies_of(validation.images, train.images).any()
    wanted = 0.1 * np.bincount(fer.train.labels)
    assert np.abs(np.bincount(validation.labels) - wanted).max() < 12


def altered(split: Split, change) -> Split:
    images = np.stack([np.asarray(change(Image.fromarray(image))) for image in split.images])
    return Split(images, split.labels, split.files)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (ImageOps.equalize, ["standard deviation", "255"]),
        (ImageOps.autocontrast, ["mean", "standard deviation"]),
    ],
)
def test_changed_pixels_are_noticed(fer, change, words):
    kind, verdict = fer2013._judge(fer.classes, altered(fer.train, change), fer.test, False, "")
    assert kind == "altered"
    assert "not the true FER-2013" in verdict and all(word in verdict for word in words)


def test_changed_counts_are_noticed(fer):
    fewer = fer.train.take(np.arange(1, len(fer.train)))
    kind, verdict = fer2013._judge(fer.classes, fewer, fer.test, False, "")
    assert kind == "altered" and "train/angry/ has 3,994" in verdict
    assert "deviation" not in verdict

    disgust = np.flatnonzero(fer.train.labels == 1)
    padded = fer.train.take(np.concatenate([np.arange(len(fer.train)), disgust]))
    _, verdict = fer2013._judge(fer.classes, padded, fer.test, False, "")
    assert "train/disgust/ has 872 images where 436 belong" in verdict

    balanced = fer.train.take(
        np.concatenate([np.flatnonzero(fer.train.labels == i)[:436] for i in range(7)])
    )
    _, verdict = fer2013._judge(fer.classes, balanced, fer.test, False, "")
    assert verdict.count("where") <= 6 and "more classes have wrong counts" in verdict
