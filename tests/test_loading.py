"""Loading all images into memory: what comes out, and what is said about it."""

import json
from dataclasses import replace

import numpy as np
import pytest
from drawn import encode, make, noise, pack, write, write_table
from PIL import Image

from fetch import load, load_dataset, sources
from fetch.loading import report
from helpers import FER_CLASSES, TutorialError, data, fer2013

CLASSES = ("cat", "dog")


@pytest.fixture(autouse=True)
def build(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "BUILD", tmp_path / "build")


def layout(classes=CLASSES, train=4, test=2) -> dict[str, bytes]:
    seeds = iter(range(10_000))
    return {
        f"{split}/{name}/{index}.png": encode(noise(next(seeds)))
        for split, number in (("train", train), ("test", test))
        for name in classes
        for index in range(number)
    }


def test_load_reads_classes_labels_and_pixels(tmp_path):
    loaded = load(write(tmp_path / "data", layout()))
    assert loaded.classes == ("cat", "dog")
    assert (loaded.kind, loaded.name) == ("own", "your own images")
    assert (loaded.problems, loaded.notes, loaded.validation) == ((), (), None)
    assert loaded.train.images.shape == (8, 48, 48) and loaded.train.images.dtype == np.uint8
    assert loaded.train.labels.tolist() == [0] * 4 + [1] * 4
    assert loaded.train.labels.dtype == np.int64
    assert loaded.train.files.tolist()[:2] == ["cat/0.png", "cat/1.png"]
    np.testing.assert_array_equal(loaded.train.images[5], noise(5))
    assert len(loaded.test) == 4


def test_a_zip_and_its_folder_are_the_same(tmp_path):
    packed = load(pack(tmp_path / "a.zip", {f"archive/{n}": c for n, c in layout().items()}))
    plain = load(write(tmp_path / "folder", layout()))
    assert packed.fingerprint == plain.fingerprint
    assert packed.train.files.tolist() == plain.train.files.tolist()


def test_fer2013_as_a_table_is_the_same_as_its_folders_and_has_its_halves(tmp_path):
    numbers = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
    usages = ("Training", "Training", "PublicTest", "PrivateTest")
    rows = [(e, noise(10 * e + k), use) for e in range(7) for k, use in enumerate(usages)]
    files = {}
    for index, (emotion, image, usage) in enumerate(rows):
        split = "train" if usage == "Training" else "test"
        files[f"{split}/{numbers[emotion]}/{usage}_{index}.jpg"] = encode(image)
    plain = load(write(tmp_path / "folder", files))
    header = ("emotion", " Usage", " pixels")
    table = write_table(tmp_path / "icml_face_data.csv", rows, header)
    for path in (table, pack(tmp_path / "challenge.zip", {table.name: table.read_bytes()})):
        read = load(path)
        assert (read.fingerprint, read.classes) == (plain.fingerprint, FER_CLASSES)
        for one, other in ((read.train, plain.train), (read.test, plain.test)):
            np.testing.assert_array_equal(one.labels, other.labels)
            assert np.array_equal(np.sort(one.images, axis=0), np.sort(other.images, axis=0))
        halves = fer2013.halves(read.test)
        assert {half: len(part) for half, part in halves.items()} == {"public": 7, "private": 7}
        wanted = {image.tobytes() for _, image, usage in rows if usage == "PublicTest"}
        assert {image.tobytes() for image in halves["public"].images} == wanted


def test_the_fingerprint_knows_pixels_labels_and_classes_but_not_names(tmp_path):
    files = layout()
    first = load(write(tmp_path / "a", files)).fingerprint
    assert len(first) == 16 and int(first, 16) >= 0
    renamed = {name.replace("/0.png", "/z.png"): content for name, content in files.items()}
    assert load(write(tmp_path / "b", renamed)).fingerprint == first
    changed = files | {"train/cat/0.png": encode(noise(777))}
    swapped = files | {
        "train/cat/0.png": files["train/dog/0.png"],
        "train/dog/0.png": files["train/cat/0.png"],
    }
    others = {name.replace("dog", "fox"): content for name, content in files.items()}
    more = files | {"val/cat/0.png": encode(noise(778))}
    prints = {
        load(write(tmp_path / str(index), variant)).fingerprint
        for index, variant in enumerate([changed, swapped, others, more])
    }
    assert len(prints | {first}) == 5


def test_bad_files_are_named_and_skipped(tmp_path):
    bad = {
        "train/cat/broken.jpg": encode(noise(3), "JPEG")[:-400],
        "train/cat/empty.jpg": b"",
        "train/dog/text.jpg": b"not a picture",
        "train/dog/notes.txt": b"not even by name",
    }
    loaded = load(write(tmp_path, layout() | bad))
    assert len(loaded.train) == 8
    assert len(loaded.problems) == len(bad)
    for name in bad:
        assert sum(name in problem for problem in loaded.problems) == 1


@pytest.mark.parametrize("pad", [False, True])
def test_other_sizes_are_used_and_sides_are_lost_or_not_as_you_like(tmp_path, pad):
    extra = {f"train/cat/{i}0.png": encode(Image.new("L", (90, 60), i)) for i in range(12)}
    extra["train/cat/square.png"] = encode(Image.new("L", (90, 90)))
    loaded = load(write(tmp_path, layout() | extra), pad=pad)
    assert len(loaded.train) == 21
    (note,) = loaded.notes
    end = "got bars: 12." if pad else "lost their sides: 12 (--pad or `pad=True` keeps the sides)."
    assert note == f"Images that were made 48×48: 13; not square, so that they {end}"


def test_the_wide_one_keeps_its_sides_when_padded(tmp_path):
    wide = np.zeros((48, 96), np.uint8)
    wide[:, :20] = 255
    files = layout() | {"train/cat/wide.png": encode(wide)}
    for pad, brightest in ((False, 0), (True, 255)):
        train = load(write(tmp_path, files), pad=pad).train
        (image,) = train.images[train.files == "cat/wide.png"]
        assert image.max() == brightest


def test_a_class_without_a_usable_image_and_the_right_file_is_blamed(tmp_path):
    bad = {name: b"" if name.startswith("train/cat") else c for name, c in layout().items()}
    bad["test/dog/9.png"] = b""
    with pytest.raises(TutorialError, match=r"cat has no train image: train/cat/3\.png was skipp"):
        load(write(tmp_path / "a", bad))
    bad = {name: b"" if name.startswith("test/") else c for name, c in layout().items()}
    with pytest.raises(TutorialError, match=r"cat has no test image: test/cat/1\.png was skipped"):
        load(write(tmp_path / "b", bad))


def test_one_picture_of_a_class_cannot_be_parted(tmp_path):
    make(tmp_path / "one", ["."], CLASSES, n=1)
    with pytest.raises(TutorialError, match="a class needs two different images at least"):
        load(tmp_path / "one")
    make(tmp_path / "person", ["."], [f"{name}/S1" for name in CLASSES], n=3)
    with pytest.raises(TutorialError, match="two different images at least, of two persons"):
        load(tmp_path / "person", by_subject=True)


def test_a_report_is_short_and_counts_what_it_leaves_out(tmp_path):
    bad = {f"train/cat/x{k}.png": b"" for k in range(7)}
    loaded = load(write(tmp_path, layout() | bad))
    assert len(loaded.problems) == 7 and not loaded.notes
    lines = report(loaded)
    assert lines[0] == loaded.verdict and lines[1:5] == list(loaded.problems[:4])
    assert lines[5:] == ["... and 3 more files like these."]
    few = replace(loaded, problems=loaded.problems[:5])
    assert report(few)[1:] == list(few.problems)
    assert len(report(replace(loaded, notes=("a", "b", "c", "d", "e")))) == 8


def test_a_link_that_leads_nowhere_is_named_without_this_machines_path(tmp_path):
    write(tmp_path, layout())
    (tmp_path / "train/cat/9.png").symlink_to(tmp_path / "nowhere.png")
    (said,) = load(tmp_path).problems
    assert said.startswith("train/cat/9.png was skipped: ") and str(tmp_path) not in said


@pytest.mark.parametrize("split", [".", "train"])
def test_without_test_images_a_grouped_fifth_is_kept_aside(tmp_path, split):
    files = {f"{split}/{name}/{i}.png": encode(noise(i)) for name in ("a", "b") for i in range(20)}
    files |= {f"{split}/a/copy{i}.png": encode(noise(i)) for i in range(20)}
    loaded = load(write(tmp_path, files), bare_as="train")
    assert len(loaded.train) + len(loaded.test) == 60
    assert 8 <= len(loaded.test) <= 14
    assert not data.copies_of(loaded.test.images, loaded.train.images).any()
    assert set(loaded.test.labels.tolist()) == {0, 1}
    assert f"There is no test/: a fifth, {len(loaded.test)} images, is kept" in loaded.notes[-1]
    again = load(tmp_path, bare_as="train" if split == "." else "test")  # as evaluate_model has it
    assert again.test.files.tolist() == loaded.test.files.tolist()


def test_that_fifth_can_be_cut_between_persons(tmp_path):
    make(tmp_path, ["."], [f"{name}/S{k}" for name in ("happy", "sad") for k in range(10)], n=2)
    loaded = load(tmp_path, by_subject=True)
    people = [{file.split("/")[1] for file in part.files} for part in (loaded.train, loaded.test)]
    assert not people[0] & people[1] and len(people[1]) == 2


def test_a_validation_folder_is_the_validation_set(tmp_path):
    make(tmp_path / "all", ["train", "valid", "test"], CLASSES, n=3)
    loaded = load(tmp_path / "all")
    assert [len(part) for part in (loaded.train, loaded.validation, loaded.test)] == [6, 6, 6]
    assert data.learning_split(loaded) == (loaded.train, loaded.validation)
    make(tmp_path / "two", ["train", "val"], CLASSES, n=3)
    loaded = load(tmp_path / "two")
    assert loaded.test is loaded.validation and len(loaded.train) == 6
    assert "figures are those of the 6 validation images" in loaded.notes[-1]


def test_bare_class_folders_may_all_be_for_testing(tmp_path):
    files = {f"{name}/{i}.png": encode(noise(i)) for name in ("sad", "happy") for i in (1, 2)}
    alone = load(write(tmp_path, files), bare_as="test")
    assert alone.classes == ("happy", "sad") and len(alone.train) == 0 and len(alone.test) == 4
    assert alone.train.images.shape == (0, 48, 48) and alone.notes == ()


def test_what_training_needs(tmp_path):
    make(tmp_path / "a", ["test"], CLASSES, n=1)
    assert len(load(tmp_path / "a", bare_as="test").test) == 2
    with pytest.raises(TutorialError, match=r"images in test/, but none in train/"):
        load(tmp_path / "a")
    make(tmp_path / "b", ["train", "test"], ["cat"], n=1)
    with pytest.raises(TutorialError, match=r"two class folders at least, and is only cat/"):
        load(tmp_path / "b")


def test_a_class_may_be_missing_from_test(tmp_path):
    files = {n: c for n, c in layout().items() if not n.startswith("test/dog")}
    loaded = load(write(tmp_path, files))
    assert loaded.classes == ("cat", "dog") and set(loaded.test.labels.tolist()) == {0}


def test_toy_faces_are_called_so(tmp_path):
    files = layout(FER_CLASSES) | {"toy.json": json.dumps({"version": 1}).encode()}
    loaded = load(write(tmp_path, files))
    assert (loaded.kind, loaded.name) == ("toy", "toy faces")
    assert "toy faces" in loaded.verdict


def test_a_few_pictures_in_folders_named_as_those_of_fer_are_ones_own(tmp_path):
    loaded = load(write(tmp_path, layout(FER_CLASSES)))
    assert loaded.kind == "own" and "not FER-2013" in loaded.verdict


def test_load_dataset_says_what_it_took(tmp_path, monkeypatch, capsys):
    files = {name.replace("test", "Testing"): content for name, content in layout().items()}
    write(tmp_path, files | {"train/cat/empty.png": b"", "train/cat/x.png": b""})
    monkeypatch.setenv("TUTORIAL_DATASET", str(tmp_path))
    loaded = load_dataset()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and lines[1:3] == [loaded.verdict, loaded.notes[0]]
    assert ": 2 " in lines[3] and "empty.png" in lines[3]


def test_all_that_can_be_said_is_said_in_five_lines(tmp_path):
    names = [name.replace("disgust", "disgusted") for name in FER_CLASSES]
    make(tmp_path, ["Train", "old"], [f"{name}/S1" for name in names], n=2)
    more = {"Train/sad/S2/w.png": encode(Image.new("L", (60, 50))), "Train/sad/a.heic": b""}
    assert len(load(write(tmp_path, more)).notes) == 5
