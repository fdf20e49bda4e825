"""Toy faces: the same for the same seed, moved by their action units, written all or not at all."""

import hashlib
import json

import numpy as np
import pytest
from PIL import Image

from fetch import toy_faces
from helpers import FER_CLASSES, TutorialError

ALL = np.arange(len(FER_CLASSES))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return toy_faces.write_toy_faces(tmp_path_factory.mktemp("toy") / "dataset" / "toy")


@pytest.fixture
def small(monkeypatch):
    """Make the set small, for what does not depend on its size."""
    monkeypatch.setattr(toy_faces, "TRAIN", 60)
    monkeypatch.setattr(toy_faces, "TEST", 30)


def contents(folder):
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def same_people(n):
    """n people with each of the expressions -> {name: float (n,48,48)}."""
    return {
        name: toy_faces.draw_faces(np.full(n, label), seed=7).astype(float)
        for label, name in enumerate(FER_CLASSES)
    }


def test_faces_are_distinct_grey_pictures():
    images = toy_faces.draw_faces(np.repeat(ALL, 10))
    assert images.shape == (70, 48, 48)
    assert images.dtype == np.uint8
    assert len(np.unique(images.reshape(70, -1), axis=0)) == 70
    assert images.reshape(70, -1).std(axis=1).min() > 10  # nobody is lost in the dark
    assert 80 < images.mean() < 170


def test_same_seed_same_bytes_whatever_the_batches():
    labels = np.tile(ALL, 10)
    images = toy_faces.draw_faces(labels, seed=3)
    assert np.array_equal(images, toy_faces.draw_faces(labels, seed=3))
    assert np.array_equal(images[:33], toy_faces.draw_faces(labels[:33], seed=3))
    assert not np.array_equal(images, toy_faces.draw_faces(labels, seed=4))


def test_not_one_pixel_has_changed_since_this_version_was_named():
    """A change of the drawing is right only with another VERSION, and then with other sums."""
    assert toy_faces.VERSION == 1
    many = toy_faces.draw_faces(np.tile(ALL, 100))
    large = np.stack([toy_faces.draw_face(name, seed=3, size=192) for name in FER_CLASSES])
    sums = [hashlib.sha256(images.tobytes()).hexdigest()[:16] for images in (many, large)]
    assert sums == ["e324ce8c8c6e1ae2", "2c7f2aa069058e56"]


def test_no_faces_are_an_empty_array():
    assert toy_faces.draw_faces(np.array([], dtype=int)).shape == (0, 48, 48)


@pytest.mark.parametrize("size", [24, 48, 256])
def test_one_face_at_any_size(size):
    face = toy_faces.draw_face("happy", seed=1, size=size)
    assert face.shape == (size, size)
    assert face.dtype == np.uint8
    assert np.array_equal(face, toy_faces.draw_face("happy", seed=1, size=size))
    assert not np.array_equal(face, toy_faces.draw_face("sad", seed=1, size=size))
    assert not np.array_equal(face, toy_faces.draw_face("happy", seed=2, size=size))


def test_one_large_face_is_the_small_one_drawn_sharply():
    small = toy_faces.draw_face("surprise", seed=2).astype(float)
    large = toy_faces.draw_face("surprise", seed=2, size=192).astype(float)
    shrunk = large.reshape(48, 4, 48, 4).mean(axis=(1, 3))
    assert np.corrcoef(small.ravel(), shrunk.ravel())[0, 1] > 0.95


def test_unknown_expression_names_the_known_ones():
    with pytest.raises(TutorialError, match=r"'bored'.*happy"):
        toy_faces.draw_face("bored")


def test_expressions_move_the_face_and_leave_the_wall():
    people = same_people(60)
    for name in set(FER_CLASSES) - {"neutral"}:
        change = np.abs(people[name] - people["neutral"]).mean(axis=0)
        assert change[12:44, 12:36].mean() > 2 * change[:12, :8].mean(), name
        assert change[12:44, 12:36].mean() > 2, name


def test_action_units_move_what_they_should():
    people = same_people(60)
    mouth, brows, eyes = np.s_[:, 30:45, 16:32], np.s_[:, 8:18, 10:38], np.s_[:, 16:24, 12:36]

    def change(a, b, where):
        return np.abs(people[a][where] - people[b][where]).mean()

    # A smile (6+12) is in the mouth; fear and surprise (both 1+2+5+26) share most of theirs.
    assert change("happy", "neutral", mouth) > 3 * change("happy", "neutral", brows)
    assert change("fear", "surprise", mouth) < change("fear", "angry", mouth)
    assert change("surprise", "neutral", brows) > change("happy", "neutral", brows)
    # A dropped jaw (26) darkens the middle of the mouth; a smile shows teeth.
    middle = np.s_[:, 34:42, 21:27]
    darkest = {name: images[middle].min(axis=(1, 2)).mean() for name, images in people.items()}
    assert min(darkest, key=darkest.get) in ("fear", "surprise")
    # Raised lids (5) move the eyes more than brows and mouth do without them (1+4+15).
    assert change("surprise", "neutral", eyes) > 1.2 * change("sad", "neutral", eyes)


def test_expressions_that_share_units_look_alike():
    mean = {name: images.mean(axis=0) for name, images in same_people(100).items()}
    distance = {
        (a, b): np.abs(mean[a] - mean[b]).mean() for a in mean for b in mean if a < b
    }  # of mean faces
    assert distance["fear", "surprise"] < distance["fear", "neutral"]
    assert distance["fear", "surprise"] < distance["angry", "surprise"]
    assert distance["angry", "neutral"] < distance["angry", "surprise"]


def test_folder_has_fers_layout_and_proportions(written):
    shares = np.array([4953, 547, 5121, 8989, 6198, 6077, 4002]) / 35_887
    for part, total in (("train", 3000), ("test", 750)):
        counts = [len(list((written / part / name).glob("*.png"))) for name in FER_CLASSES]
        assert abs(sum(counts) - total) <= 3
        assert np.abs(np.array(counts) - shares * total).max() <= 0.5
        assert sorted(f.name for f in (written / part).iterdir()) == sorted(FER_CLASSES)


def test_files_are_distinct_grey_pngs_with_distinct_names(written):
    files = sorted(written.rglob("*.png"))
    assert len({f.name for f in files}) == len({f.read_bytes() for f in files}) == len(files)
    with Image.open(written / "train" / "angry" / "toy_00001.png") as image:
        assert (image.format, image.mode, image.size) == ("PNG", "L", (48, 48))


def test_note_and_nothing_else_is_beside_the_pictures(written):
    note = json.loads((written / "toy.json").read_text("utf-8"))
    assert note["version"] == toy_faces.VERSION
    assert note["seed"] == 42
    assert note["files"] == len(list(written.rglob("*.png")))
    assert [f.name for f in written.parent.iterdir()] == ["toy"]


def test_complete_folder_is_left_alone(small, tmp_path, monkeypatch):
    folder = toy_faces.write_toy_faces(tmp_path / "toy")
    before = contents(folder)
    monkeypatch.setattr(toy_faces, "draw_faces", lambda *_: pytest.fail("drawn again"))
    assert toy_faces.write_toy_faces(tmp_path / "toy") == folder
    assert contents(folder) == before


def test_same_seed_writes_the_same_files(small, tmp_path):
    one = contents(toy_faces.write_toy_faces(tmp_path / "one"))
    assert one == contents(toy_faces.write_toy_faces(tmp_path / "two"))
    other = contents(toy_faces.write_toy_faces(tmp_path / "three", seed=5))
    assert one.keys() == other.keys()
    assert one != other


@pytest.mark.parametrize("damage", ["version", "seed", "lost", "cut", "no note", "bad note"])
def test_stale_or_damaged_folder_is_replaced(small, tmp_path, monkeypatch, damage):
    folder = toy_faces.write_toy_faces(tmp_path / "toy")
    good, picture = contents(folder), next(folder.rglob("toy_*.png"))
    (folder / ".DS_Store").write_bytes(b"left by a file manager")
    if damage == "version":
        monkeypatch.setattr(toy_faces, "VERSION", toy_faces.VERSION + 1)
    elif damage == "lost":
        picture.unlink()
    elif damage == "cut":
        picture.write_bytes(picture.read_bytes()[:100])
    elif damage == "no note":
        (folder / "toy.json").unlink()
    elif damage == "bad note":
        (folder / "toy.json").write_bytes(b"\xff{")
    toy_faces.write_toy_faces(folder, seed=9 if damage == "seed" else 42)
    now = contents(folder)
    assert now.keys() == good.keys()
    if damage not in ("version", "seed"):
        assert now == good
    assert (now["toy.json"] != good["toy.json"]) == (damage in ("version", "seed"))


def test_files_of_the_user_are_never_deleted(small, tmp_path, monkeypatch):
    folder = toy_faces.write_toy_faces(tmp_path / "toy")
    (folder / "train" / "happy" / "me.png").write_bytes(b"precious")
    before = contents(folder)
    assert toy_faces.write_toy_faces(folder) == folder  # still complete
    monkeypatch.setattr(toy_faces, "VERSION", toy_faces.VERSION + 1)
    with pytest.raises(TutorialError, match=r"me\.png.*move it"):
        toy_faces.write_toy_faces(folder)
    assert contents(folder) == before
    assert [f.name for f in tmp_path.iterdir()] == ["toy"]


def test_of_two_processes_the_slower_one_takes_what_the_other_wrote(small, tmp_path, monkeypatch):
    folder, write = tmp_path / "toy", toy_faces._write

    def overtaken(new, seed):
        write(new, seed)
        monkeypatch.setattr(toy_faces, "_write", write)
        toy_faces.write_toy_faces(folder)  # as another process would meanwhile
        first.append((folder / "toy.json").stat().st_mtime_ns)

    first = []
    monkeypatch.setattr(toy_faces, "_write", overtaken)
    assert toy_faces.write_toy_faces(folder) == folder
    assert [(folder / "toy.json").stat().st_mtime_ns] == first
    assert [f.name for f in tmp_path.iterdir()] == ["toy"]


@pytest.mark.parametrize("name", ["me.png", "toy_story.png", "toy"])
def test_a_file_in_the_folder_s_place_or_beside_its_pictures_is_kept(small, tmp_path, name):
    place = tmp_path / "toy" / "train" / "happy" / name if name != "toy" else tmp_path / "toy"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(b"precious")
    with pytest.raises(TutorialError, match="move it"):
        toy_faces.write_toy_faces(tmp_path / "toy")
    assert place.read_bytes() == b"precious"


def test_interrupted_run_leaves_nothing_and_the_next_one_finishes(small, tmp_path, monkeypatch):
    save, saved = Image.Image.save, []

    def interrupted(image, file):
        if len(saved) == 40:
            raise KeyboardInterrupt
        saved.append(file)
        save(image, file)

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            toy_faces.write_toy_faces(tmp_path / "toy")
    assert len(saved) == 40
    assert list(tmp_path.iterdir()) == []
    folder = toy_faces.write_toy_faces(tmp_path / "toy")
    assert (
        len(list(folder.rglob("*.png"))) == json.loads((folder / "toy.json").read_text())["files"]
    )


def test_interrupted_replacement_keeps_the_old_faces(small, tmp_path, monkeypatch):
    folder = toy_faces.write_toy_faces(tmp_path / "toy")
    before = contents(folder)
    monkeypatch.setattr(Image.Image, "save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        toy_faces.write_toy_faces(folder, seed=1)
    assert contents(folder) == before


def test_place_that_cannot_be_written_is_one_sentence(small, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(TutorialError, match="Cannot write toy faces"):
        toy_faces.write_toy_faces(tmp_path / "file" / "toy")
