"""What is found in folders of all shapes, and what is said about it."""

import os
import shutil
from pathlib import Path

import pytest
from drawn import encode, make, noise, write

from fetch.folders import read_folder
from helpers import FER_CLASSES, TutorialError

CLASSES = ("cat", "dog")


def found(folder: Path) -> dict:
    """Return how many pictures there are by split and class."""
    splits = read_folder(folder, "here/").splits
    return {split: {n: len(files) for n, files in names.items()} for split, names in splits.items()}


def notes(folder: Path) -> str:
    return "\n".join(read_folder(folder, "here/").notes)


EIGHT = {"cat": 8, "dog": 8}


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("Train", "Test"),
        ("Training", "Testing"),
        ("TRAIN", "TESTING"),
        ("train/train", "test/test"),
        ("data/archive/train", "data/archive/test"),
        ("train/images", "test/images"),
        ("train ", " Test"),
        ("a/train", "b/deeper/test"),
    ],
)
def test_splits_are_known_by_their_usual_names_wherever_they_lie(tmp_path, train, test):
    make(tmp_path, [train, test], CLASSES)
    assert found(tmp_path) == {"train": EIGHT, "test": EIGHT}
    assert (
        notes(tmp_path) == f"Taken: 16 images in {train}/ as train, 16 images in {test}/ as test."
    )


@pytest.mark.parametrize("name", ["val", "Valid", "VALIDATION"])
def test_a_validation_folder_is_one(tmp_path, name):
    make(tmp_path, ["train", "test", name], CLASSES)
    assert found(tmp_path) == {"train": EIGHT, "validation": EIGHT, "test": EIGHT}
    assert f"16 images in {name}/ as validation" in notes(tmp_path)


def test_what_is_as_it_should_be_needs_no_words(tmp_path):
    assert notes(make(tmp_path / "split", ["train", "test"], CLASSES)) == ""
    assert notes(make(tmp_path / "bare", ["."], CLASSES)) == ""
    assert found(tmp_path / "bare") == {"": EIGHT}


def test_one_folder_around_bare_classes(tmp_path):
    make(tmp_path, ["a/b"], CLASSES)
    write(tmp_path, {"a/info/about.md": b"hello", "readme.txt": b""})
    assert found(tmp_path) == {"": EIGHT}
    assert notes(tmp_path) == "Taken: 16 images in a/b/ as classes."


@pytest.mark.parametrize("splits", [["train", "test"], ["."]])
def test_folders_below_a_class_are_persons_of_it(tmp_path, splits):
    make(tmp_path, splits, ["happy/S1", "happy/S2", "sad/S1"], n=2)
    assert next(iter(found(tmp_path).values())) == {"happy": 4, "sad": 2}
    assert "2 folders below their class" in notes(tmp_path) and "--by-subject" in notes(tmp_path)
    files = next(iter(read_folder(tmp_path, "").splits.values()))["happy"].values()
    assert sorted(files) == [f"happy/S{s}/{i}.png" for s in (1, 2) for i in (0, 1)]


def test_a_class_may_be_called_train_and_a_test_may_have_one_class_alone(tmp_path):
    make(tmp_path / "bare", ["."], ["bus", "train"])
    assert found(tmp_path / "bare") == {"": {"bus": 8, "train": 8}}
    make(tmp_path / "split", ["train", "test"], ["bus", "train"])
    assert found(tmp_path / "split")["train"] == {"bus": 8, "train": 8}
    make(tmp_path / "one", ["train"], CLASSES)
    make(tmp_path / "one", ["test"], ["cat/S1", "cat/S2"])
    assert found(tmp_path / "one")["test"] == {"cat": 16}


def test_what_is_left_aside_is_named_with_counts_in_few_lines(tmp_path):
    make(tmp_path, ["Train", "Test", "backup", "old/train", "x", "y"], CLASSES)
    write(tmp_path, {f"Train/cat/{i}.txt": b"" for i in range(3)})
    write(tmp_path, {"Train/dog/a.pdf": b"", "Train/dog/b.heic": b"", "Train/0.png": b""})
    assert found(tmp_path) == {"train": EIGHT, "test": EIGHT}
    lines = notes(tmp_path).splitlines()
    assert len(lines) <= 3
    assert "old/train/ 16, backup/cat/ 8, backup/dog/ 8 and 5 more folders" in lines[1]
    assert "(3 .txt, 1 .pdf, 1 .heic), such as Train/cat/0.txt" in lines[1]
    assert "HEIC pictures (1)" in lines[1]


def test_junk_is_never_a_picture_nor_left_aside(tmp_path):
    make(tmp_path, ["train", "test"], CLASSES)
    for name in ("._0.png", ".DS_Store", "Thumbs.db", ".ipynb_checkpoints/0.png"):
        write(tmp_path, {f"train/cat/{name}": b"junk", f"__MACOSX/train/cat/{name}": b"junk"})
    assert found(tmp_path) == {"train": EIGHT, "test": EIGHT} and notes(tmp_path) == ""


def test_links_in_circles_end(tmp_path):
    make(tmp_path, ["train", "test"], CLASSES)
    (tmp_path / "train" / "cat" / "again").symlink_to(tmp_path)
    assert found(tmp_path) == {"train": EIGHT, "test": EIGHT}


def test_a_link_to_another_folder_is_followed_each_time(tmp_path):
    make(tmp_path, ["train"], CLASSES)
    (tmp_path / "test").symlink_to(tmp_path / "train")
    make(tmp_path, ["elsewhere"], ["owls"])
    (tmp_path / "train" / "owl").symlink_to(tmp_path / "elsewhere" / "owls")
    assert found(tmp_path) == dict.fromkeys(("train", "test"), EIGHT | {"owl": 8})


def test_a_folder_that_cannot_be_read_is_not_passed_over(tmp_path, monkeypatch):
    make(tmp_path, ["train"], CLASSES)

    def scandir(place, real=os.scandir):
        if Path(place).name == "dog":
            raise PermissionError(13, "Permission denied", str(place))
        return real(place)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(TutorialError, match="dog/ cannot be read: Permission denied"):
        read_folder(tmp_path, "here/")


def test_empty_folders_and_archives_beside_the_classes_are_left_aside(tmp_path):
    make(tmp_path / "bare", ["."], CLASSES)
    (tmp_path / "bare" / "owl").mkdir()
    assert notes(tmp_path / "bare") == "Left aside: folders without images (owl)."
    make(tmp_path / "split", ["train", "test"], CLASSES)
    (tmp_path / "split" / "test" / "owl").mkdir()
    write(tmp_path / "split", {"test.zip": b"PK", "a/b.tar.gz": b""})
    said = "Left aside: archives (a/b.tar.gz, test.zip); folders without images (test/owl)."
    assert notes(tmp_path / "split") == said


def test_splits_that_are_not_taken_for_some_are_hinted_at(tmp_path):
    make(tmp_path / "names", ["."], ["train_set", "my test"], n=1)
    hint = "Taken for classes: my test, train_set; splits are called train and test."
    assert hint in notes(tmp_path / "names")
    make(tmp_path / "below", CLASSES, ["train", "test"], n=1)
    assert notes(tmp_path / "below").startswith("In the class folders are train or test; as spl")


def test_any_name_is_a_class(tmp_path):
    names = ["радость", "very happy", "😀", "👨‍👩‍👧", "$x$", "100%", "[a]", "\u00e9", "0", "喜び"]
    make(tmp_path, ["train", "test"], names)
    assert set(found(tmp_path)["train"]) == set(names)


def test_composed_and_decomposed_accents_are_one_class(tmp_path):
    make(tmp_path, ["train"], ["\u00e9", "dog"])
    make(tmp_path, ["train", "test"], ["e\u0301 "], n=2)  # nor does a blank make two
    assert found(tmp_path) == {"train": {"\u00e9": 10, "dog": 8}, "test": {"\u00e9": 2}}


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no such names")
@pytest.mark.parametrize(("raw", "shown"), [(b"caf\xe9", "udce9"), (b"a\nb", r"a\\nb")])
def test_a_class_whose_name_is_no_text_is_refused_by_name(tmp_path, raw, shown):
    make(tmp_path, ["train", "test"], [os.fsdecode(raw), "dog"], n=1)
    with pytest.raises(TutorialError, match=rf"here/: rename the folder .*{shown}"):
        read_folder(tmp_path, "here/")


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no such names")
def test_a_file_whose_name_is_no_text_can_be_printed(tmp_path):
    make(tmp_path, ["train", "test"], CLASSES, n=1)
    (tmp_path / "train/cat" / os.fsdecode(b"\xe9.png")).write_bytes(encode(noise(1)))
    assert "cat/?.png" in read_folder(tmp_path, "").splits["train"]["cat"].values()


def test_the_seven_expressions_are_a_hint_and_no_condition(tmp_path):
    make(tmp_path / "six", ["train", "test"], sorted({*FER_CLASSES} - {"disgust"}), n=1)
    assert notes(tmp_path / "six") == "Unlike in FER-2013 there is no disgust."
    names = [name.replace("disgust", "disgusted") for name in FER_CLASSES]
    make(tmp_path / "other", ["train", "test"], names, n=1)
    assert found(tmp_path / "other")["train"] == dict.fromkeys(names, 1)
    assert notes(tmp_path / "other") == "Unlike in FER-2013 there is no disgust, but disgusted."


@pytest.mark.parametrize(
    ("remove", "add", "words"),
    [
        ([], ["test/doge/1.png"], "test/doge/ is no class of train/; should it be dog"),
        ([], ["test/Dog/1.png"], "test/Dog/ is no class of train/; should it be dog"),
        ([], ["test/owl/1.png"], "test/owl/ is no class of train/; should it be cat, dog"),
        (["train/cat"], ["train/cat/1.txt"], "train/cat/ holds no images but 1 .txt. Fill it"),
        (["train/cat"], ["train/cat/1.heic"], "1 .heic.*HEIC pictures .1., as iPhones make them"),
        (["train", "test"], ["train/1.png", "test/1.png"], "images lie directly in test/, train/"),
        (["train", "test"], ["1.png", "2.png"], "has images .2., but none in a class folder"),
        (["train", "test"], ["1.txt", "2.pdf"], "has no images but 1 .txt, 1 .pdf"),
        (["train", "test"], ["a/1.heic"], "has no images but 1 .heic.*save as JPEG"),
        (["train", "test"], ["b/c.zip"], "has no images but 1 .zip: unpack what is packed"),
        (["train", "test"], ["b.csv.gz"], "has no images but 1 .gz: unpack what is packed"),
        (["train", "test"], [], "has no images and nothing else"),
        (["test"], ["test/cat/1.txt"], "test/cat/ holds no images but 1 .txt. Fill it"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, remove, add, words):
    make(tmp_path, ["train", "test"], CLASSES, n=1)
    for name in remove:
        shutil.rmtree(tmp_path / name)
    write(tmp_path, dict.fromkeys(add, encode(noise(1))))
    with pytest.raises(TutorialError, match=f"here/:? .*{words}"):
        read_folder(tmp_path, "here/")


def test_an_empty_class_folder_is_named(tmp_path):
    make(tmp_path, ["train", "test"], CLASSES)
    (tmp_path / "train" / "owl").mkdir()
    with pytest.raises(TutorialError, match=r"train/owl/ holds no images and nothing else\. Fill"):
        read_folder(tmp_path, "here/")
