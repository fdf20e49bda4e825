"""Zips, tars and FER-2013's table become folders of pictures, whoever made them."""

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from drawn import encode, noise, pack, read, write_table

from fetch import archives, sources
from helpers import TutorialError
from helpers.pictures import open_picture, to_input

FILES = {f"train/{name}/{i}.png": encode(noise(i)) for name in ("cat", "dog") for i in (0, 1)}


def unpacked(path: Path) -> dict[str, bytes]:
    assert archives.other_than_archive(path) == ""
    archives.unpack(path, path.parent / "out")
    return read(path.parent / "out")


def others(path: Path) -> list[str]:
    return (path.parent / "out" / archives.NOT_UNPACKED).read_text("utf-8").splitlines()


def test_pictures_are_unpacked_and_the_rest_is_listed(tmp_path):
    more = {"a.txt": b"text", "train/owl/": b"", "__MACOSX/._0.png": b"", ".DS_Store": b""}
    path = pack(tmp_path / "a.zip", FILES | more)
    assert unpacked(path) == FILES
    assert others(path) == ["a.txt", "train/owl/"]


@pytest.mark.parametrize("before", ["./", "/", "./a/../a/"[:4], "\\"])
def test_what_begins_a_member_means_nothing(tmp_path, before):
    files = {zipfile.ZipInfo(before + name): content for name, content in FILES.items()}
    found = unpacked(pack(tmp_path / "a.zip", files))
    assert {name.removeprefix("a/"): content for name, content in found.items()} == FILES


@pytest.mark.parametrize("kind", ["", "gz", "bz2", "xz"])
def test_a_tar_is_as_good(tmp_path, kind):
    path = tmp_path / "a.tar"
    with tarfile.open(path, f"w:{kind}") as archive:
        for name, content in FILES.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("train/cat/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    assert unpacked(path) == FILES


def test_names_without_a_word_on_their_encoding(tmp_path):
    path = pack(tmp_path / "a.zip", {f"радость/{i}.png": encode(noise(i)) for i in (0, 1)})
    raw = bytearray(path.read_bytes())
    for mark, at in ((b"PK\x03\x04", 7), (b"PK\x01\x02", 9)):
        place = -1
        while (place := raw.find(mark, place + 1)) >= 0:
            raw[place + at] &= ~8  # the flag that says UTF-8
    path.write_bytes(raw)
    assert zipfile.ZipFile(path).namelist()[0] != "радость/0.png"
    assert sorted(unpacked(path)) == ["радость/0.png", "радость/1.png"]


@pytest.mark.parametrize("name", ["../evil.png", "train/../../evil.png", "C:/e.png", "..\\e.png"])
def test_a_path_that_leads_outside_is_refused(tmp_path, name):
    path = pack(tmp_path / "a.zip", FILES | {zipfile.ZipInfo(name): b"evil"})
    with pytest.raises(TutorialError, match=r"a\.zip has a path that leads outside"):
        unpacked(path)
    assert not list(tmp_path.parent.rglob("*e*l.png"))


def test_only_what_is_read_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "PICTURE_LIMIT", 10_000)
    monkeypatch.setattr(archives, "TOTAL_LIMIT", 20_000)
    large = {"model.h5": bytes(50_000), "train/cat/video.mp4": bytes(50_000)}
    assert unpacked(pack(tmp_path / "a.zip", FILES | large)) == FILES
    with pytest.raises(TutorialError, match=r"a picture of over 50 MB \(train/cat/big\.png\)"):
        unpacked(pack(tmp_path / "b.zip", FILES | {"train/cat/big.png": bytes(10_001)}))
    many = {f"train/cat/{i}.png": bytes(9_000) for i in range(3)}
    with pytest.raises(TutorialError, match="over 4 GB"):
        unpacked(pack(tmp_path / "c.zip", many))


def changed(path: Path, mark: bytes, at: int, value: int) -> Path:
    raw = bytearray(path.read_bytes())
    raw[raw.rindex(mark) + at] = value
    path.write_bytes(raw)
    return path


def test_what_cannot_be_read_is_told_apart(tmp_path):
    locked = changed(pack(tmp_path / "a.zip", FILES), b"PK\x01\x02", 8, 1)
    with pytest.raises(TutorialError, match=r"a\.zip has a password"):
        unpacked(locked)
    deflate64 = changed(pack(tmp_path / "b.zip", FILES), b"PK\x01\x02", 10, 9)
    with pytest.raises(TutorialError, match=r"b\.zip is packed in a way .* zip it again"):
        unpacked(deflate64)
    damaged = changed(pack(tmp_path / "c.zip", FILES), b"train/dog/1.png", -30, 77)  # its CRC
    with pytest.raises(TutorialError, match=r"c\.zip is damaged"):
        unpacked(damaged)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (
            "a.rar",
            b"Rar!\x1a\x07\x00",
            "is a RAR archive, not read here: unpack it, or make folders of its pictures",
        ),
        ("a.zip", b"Rar!\x1a\x07\x00", "is a RAR archive"),
        ("a.7z", b"7z\xbc\xaf\x27\x1c", "is a 7z archive"),
        ("a.parquet", b"PAR1\x15", "is a Parquet table, not read"),
        ("a.npy", b"\x93NUMPY\x01", "is a NumPy array"),
        ("a.zip", b"\n<!DOCTYPE html>", "is a web page, not read"),
        ("a.zip", b"PK\x03\x04 half of it", "is no zip file, or only partly downloaded"),
        ("a.zip", b"", "is no zip file, or only partly downloaded"),
        (
            "a.csv",
            b"path,label\n1.png,3\n",
            "is no folder, zip, tar, or table with emotion, pixels and Usage, but has .path, label",
        ),
        ("a.docx", b"text", "is no folder, zip, tar, or table with emotion"),
        ("a.bin", bytes(range(256)), "is no .* but has 'bytes that are no text'"),
        ("fer2013.csv.gz", b"\x1f\x8b\x08", "is a single file that is packed: unpack it, and name"),
        ("a.tar.gz", b"\x1f\x8b\x08", "is no zip file, or only partly downloaded"),
        ("1.png", encode(noise(1)), "is a single picture: name the folder around its class"),
    ],
)
def test_other_files_are_called_by_their_name(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TutorialError, match=f"^{name} {words}"):
        sources.locate(tmp_path / name)


ROWS = [
    (emotion, noise(10 * emotion + k), usage)
    for emotion in range(7)
    for k, usage in enumerate(("Training", "PublicTest", "PrivateTest"))
]


@pytest.mark.parametrize(
    "header", [("emotion", "pixels", "Usage"), ("emotion", " Usage", " pixels")]
)
@pytest.mark.parametrize("zipped", [False, True])
def test_the_table_of_fer2013(tmp_path, header, zipped):
    path = write_table(tmp_path / "fer.csv", ROWS, header)
    if zipped:
        path = pack(tmp_path / "a.zip", {"x/fer.csv": path.read_bytes(), "train.csv": b"a,b\n1,2"})
    found = unpacked(path)
    base = "x/fer/" if zipped else "fer/"
    names = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
    for number, (emotion, image, usage) in enumerate(ROWS, 1):
        split = "train" if usage == "Training" else "test"
        raw = found.pop(f"{base}{split}/{names[emotion]}/{usage}_{number:05d}.png")
        np.testing.assert_array_equal(to_input(open_picture(raw)), image)
    assert set(found) <= {"train.csv"}


@pytest.mark.parametrize("between", [";", "\t"])
def test_a_table_as_other_programs_save_it(tmp_path, between):
    text = "emotion,pixels,Usage\n1,0 0 0 0,Training\n".replace(",", between)
    (tmp_path / "fer.csv").write_text(text)
    assert set(unpacked(tmp_path / "fer.csv")) == {"fer/train/disgust/Training_00001.png"}


def test_blank_lines_in_a_table_mean_nothing(tmp_path):
    lines = ["", "emotion,pixels,Usage", "", "1,0 0 0 0,Training", " ", "2,0 0 0 0,PublicTest", ""]
    (tmp_path / "fer.csv").write_text("\n".join(lines))
    assert archives.other_than_archive(tmp_path / "fer.csv") == ""
    names = set(unpacked(tmp_path / "fer.csv"))
    assert names == {"fer/train/disgust/Training_00001.png", "fer/test/fear/PublicTest_00002.png"}


@pytest.mark.parametrize("zipped", [False, True])
def test_lines_of_a_table_may_end_as_on_an_old_mac(tmp_path, zipped):
    raw = b"emotion,pixels,Usage\r0,1 2 3 4,Training\r6,5 6 7 8,PublicTest\r"
    path = tmp_path / "fer.csv"
    path.write_bytes(raw)
    if zipped:
        path = pack(tmp_path / "a.zip", {"fer.csv": raw})
    names = ["fer/test/neutral/PublicTest_00002.png", "fer/train/angry/Training_00001.png"]
    assert sorted(unpacked(path)) == names


@pytest.mark.parametrize(
    "row",
    [
        "-1,1 2 3 4,Training",
        "0,1 2 3 -4,Training",
        "0,1 2 3 256,Training",
        "0,1 2 3,Training",
        "7,1 2 3 4,Training",
        "0,1 2 3 x,Training",
        "0,1 2 3 4",
        "0,1 2 3 4,Fun",
    ],
)
def test_a_row_that_is_not_as_it_must_be_is_named(tmp_path, row):
    path = tmp_path / "fer2013.csv"
    path.write_text(f"emotion,pixels,Usage\n1,0 0 0 0,Training\n{row}\n")
    with pytest.raises(TutorialError, match=r"fer2013\.csv is damaged or cut off in row 2"):
        unpacked(path)
