"""Finding, unpacking and downloading the images; nothing half-done, and nothing lost."""

import errno
import http.server
import io
import json
import os
import shutil
import stat
import subprocess
import sys
import threading
import time
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import helpers
from fetch import sources
from helpers import FER_CLASSES, ROOT, TutorialError


def picture(seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (48, 48), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def layout(prefix: str = "", classes=FER_CLASSES, splits=("train", "test")) -> dict[str, bytes]:
    return {
        f"{prefix}{split}/{name}/{index}.png": picture(index)
        for split in splits
        for name in classes
        for index in range(2)
    }


def write_folder(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def write_zip(path: Path, files: dict) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    for name in ("TUTORIAL_DATASET", "KAGGLE_API_ENVIRONMENT", "KAGGLEHUB_CACHE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def toy(monkeypatch):
    """Replace the drawing of toy faces by a quick stand-in."""
    drawn = []

    def write_toy_faces(folder, seed=42):
        drawn.append(folder)
        write_folder(folder, layout())
        (folder / "toy.json").write_text(json.dumps({"version": 1, "seed": seed}))
        return folder

    module = types.SimpleNamespace(VERSION=1, write_toy_faces=write_toy_faces)
    monkeypatch.setitem(sys.modules, "fetch.toy_faces", module)
    monkeypatch.setattr(helpers, "toy_faces", module, raising=False)
    return drawn


# ---------------------------------------------------------------- locate


@pytest.mark.parametrize("prefix", ["", "archive/", "a/b/"])
@pytest.mark.parametrize("make", [write_folder, write_zip])
def test_locate_finds_train_and_test_also_nested(tmp_path, make, prefix):
    files = layout(prefix) | {
        "__MACOSX/train/angry/._0.png": b"junk",
        f"{prefix}train/angry/.DS_Store": b"junk",
        f"{prefix}train/angry/Thumbs.db": b"junk",
        f"{prefix}train/angry/notes.txt": b"a stray file",
        f"{prefix}README.txt": b"beside the folders",
    }
    source = sources.locate(make(tmp_path / "data.zip", files))
    assert (source.inside, source.kind) == (prefix, "named")
    with sources.opened(source) as (tree, read):
        assert list(tree.splits) == ["train", "test"]
        assert tuple(tree.splits["train"]) == FER_CLASSES
        assert tree.splits["test"]["sad"] == ["test/sad/0.png", "test/sad/1.png"]
        assert tree.strays == ["train/angry/notes.txt"]
        assert not tree.is_toy
        assert read("test/sad/1.png") == picture(1)


@pytest.mark.parametrize("make", [write_folder, write_zip])
def test_locate_finds_bare_class_folders(tmp_path, make):
    files = {f"mine/{name}/{i}.PNG": picture(i) for name in ("cat", "dog") for i in range(3)}
    source = sources.locate(make(tmp_path / "data.zip", files | {"mine/info/about.md": b"hello"}))
    with sources.opened(source) as (tree, _):
        assert list(tree.splits) == [""]
        assert {name: len(inside) for name, inside in tree.splits[""].items()} == {
            "cat": 3,
            "dog": 3,
        }


def test_a_class_may_be_missing_from_test(tmp_path):
    files = {name: content for name, content in layout().items() if "test/fear" not in name}
    assert sources.locate(write_folder(tmp_path, files)).kind == "named"


def test_a_relative_path_is_also_tried_from_the_root_of_the_project(tmp_path, monkeypatch):
    folder = write_folder(tmp_path / "data", layout())
    monkeypatch.chdir(tmp_path)
    assert sources.locate("data").path == folder.resolve()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setattr(sources, "ROOT", tmp_path)
    assert sources.locate("data").path == folder.resolve()


def test_the_message_shows_no_folder_outside_the_project(tmp_path):
    source = sources.locate(write_folder(tmp_path / "data", layout()))
    assert "data" in source.message and str(tmp_path) not in source.message


def change(remove: str = "", add: dict | None = None, rename: tuple[str, str] = ("", "")):
    files = {n: c for n, c in layout().items() if not (remove and n.startswith(remove))}
    return {n.replace(*rename) if rename[0] else n: c for n, c in files.items()} | (add or {})


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (change(rename=("test/happy", "test/hapy")), ["test/hapy/", "happy"]),
        (change(rename=("test/happy", "test/Happy")), ["test/Happy/", "happy"]),
        (change(rename=("/surprise/", "/suprise/")), ["surprise/", "suprise/"]),
        (change(remove="train/fear"), ["no fear/"]),
        (change(add={"test/laughing/1.png": picture()}), ["test/laughing/"]),
        (change(remove="test/"), ["train/", "test/"]),
        (change(remove="train/"), ["train/", "test/"]),
        ({"notes.txt": b"nothing here"}, ["no images"]),
        ({"1.png": picture()}, ["no images"]),
        (layout(classes=["cat"]), ["at least two"]),
    ],
)
@pytest.mark.parametrize("make", [write_folder, write_zip])
def test_locate_names_the_folder_that_is_wrong(tmp_path, make, files, words):
    with pytest.raises(TutorialError) as error:
        sources.locate(make(tmp_path / "data", files))
    assert all(word in str(error.value) for word in words)


def test_locate_names_an_empty_class_folder(tmp_path):
    write_folder(tmp_path, change(remove="train/fear"))
    (tmp_path / "train" / "fear").mkdir()
    with pytest.raises(TutorialError, match=r"train/fear/ holds no images"):
        sources.locate(tmp_path)
    archive = write_zip(tmp_path / "a.zip", change(remove="train/fear") | {"train/fear/": b""})
    with pytest.raises(TutorialError, match=r"train/fear/ holds no images"):
        sources.locate(archive)


def test_other_classes_need_not_be_those_of_fer(tmp_path):
    six_and_another = [*FER_CLASSES[:-1], "contempt"]
    source = sources.locate(write_folder(tmp_path, layout(classes=six_and_another)))
    with sources.opened(source) as (tree, _):
        assert set(tree.splits["train"]) == set(six_and_another)


def test_what_is_not_there_or_no_zip(tmp_path):
    with pytest.raises(TutorialError, match="There is no"):
        sources.locate(tmp_path / "nowhere")
    (tmp_path / "half.zip").write_bytes(write_zip(tmp_path / "a.zip", layout()).read_bytes()[:900])
    (tmp_path / "text.zip").write_text("hello")
    (tmp_path / "empty.zip").write_bytes(b"")
    for name in ("half.zip", "text.zip", "empty.zip"):
        with pytest.raises(TutorialError, match=name):
            sources.locate(tmp_path / name)


def link_member(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.parametrize(
    "name", ["../evil.png", "/etc/evil.png", "train/../../evil.png", "C:/e.png"]
)
def test_a_path_that_leads_outside_is_refused(tmp_path, name):
    archive = write_zip(tmp_path / "dataset" / "archive.zip", layout() | {name: picture()})
    with pytest.raises(TutorialError, match="leads outside"):
        sources.prepare(tmp_path / "dataset", download=False)
    assert snapshot(tmp_path) == {"dataset/archive.zip": archive.read_bytes()}


def test_links_passwords_and_bombs_are_refused(tmp_path, monkeypatch):
    files: dict = dict(layout())
    files[link_member("train/angry/link.png")] = "/etc/passwd"
    with pytest.raises(TutorialError, match="a link"):
        sources.locate(write_zip(tmp_path / "link.zip", files))

    raw = bytearray(write_zip(tmp_path / "locked.zip", layout()).read_bytes())
    at = raw.rindex(b"PK\x01\x02")
    raw[at + 8] |= 1  # the flag of an encrypted member, in the central directory
    (tmp_path / "locked.zip").write_bytes(raw)
    with pytest.raises(TutorialError, match="a password"):
        sources.locate(tmp_path / "locked.zip")

    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in layout().items():
            archive.writestr(name, content)
        archive.writestr("train/angry/big.png", bytes(sources.MEMBER_LIMIT + 1))
    with pytest.raises(TutorialError, match="50 MB"):
        sources.locate(tmp_path / "bomb.zip")

    monkeypatch.setattr(sources, "TOTAL_LIMIT", 10_000)
    with pytest.raises(TutorialError, match="4 GB"):
        sources.locate(write_zip(tmp_path / "large.zip", layout()))


def test_a_zip_that_is_named_is_never_unpacked(tmp_path, monkeypatch, toy):
    archive = write_zip(tmp_path / "mine.zip", layout())
    monkeypatch.setenv("TUTORIAL_DATASET", str(archive))
    source = sources.prepare(tmp_path / "dataset")
    assert source.kind == "named" and source.path == archive.resolve()
    assert list(tmp_path.iterdir()) == [archive]


# ---------------------------------------------------------------- prepare


def test_prepare_takes_what_lies_in_the_folder(tmp_path, toy):
    write_folder(tmp_path, layout() | {"toy/toy.json": b'{"version": 1}'})
    before = snapshot(tmp_path)
    source = sources.prepare(tmp_path, download=False)
    assert (source.kind, source.path, source.inside) == ("folder", tmp_path, "")
    assert snapshot(tmp_path) == before and not toy


def test_prepare_finds_an_unpacked_archive(tmp_path, toy):
    write_folder(tmp_path, layout("archive/"))
    assert sources.prepare(tmp_path, download=False).path == tmp_path / "archive"


@pytest.mark.parametrize("split", ["train", "test"])
def test_prepare_asks_for_the_missing_half(tmp_path, toy, split):
    write_folder(tmp_path, layout(splits=[split]) | layout("toy/"))
    before = snapshot(tmp_path)
    with pytest.raises(TutorialError, match=r"train/.*test/|test/.*train/"):
        sources.prepare(tmp_path, download=False)
    assert snapshot(tmp_path) == before


def test_empty_halves_are_not_mistaken_for_toy_faces(tmp_path, toy):
    write_folder(tmp_path, layout("toy/"))
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    with pytest.raises(TutorialError, match="no images"):
        sources.prepare(tmp_path, download=False)


@pytest.mark.parametrize("prefix", ["", "archive/"])
def test_prepare_unpacks_an_archive_and_keeps_it(tmp_path, toy, prefix):
    write_zip(tmp_path / "archive.zip", layout(prefix) | {f"{prefix}fer2013.csv": b"1,2"})
    source = sources.prepare(tmp_path, download=False)
    assert source.kind == "zip" and "archive.zip" in source.message
    files = snapshot(tmp_path)
    assert files.pop("archive.zip")
    assert files == layout()
    assert sources.prepare(tmp_path, download=False).kind == "folder"


@pytest.mark.parametrize("files", [{"beach/1.png": picture()}, {"fer2013.csv": b"1,2"}])
def test_an_archive_that_cannot_be_used_is_not_passed_over(tmp_path, toy, files):
    write_zip(tmp_path / "archive.zip", files)
    with pytest.raises(TutorialError, match=r"archive\.zip has no"):
        sources.prepare(tmp_path, download=False)
    assert not toy
    assert list(snapshot(tmp_path)) == ["archive.zip"]


def test_toy_faces_of_which_half_are_gone_are_drawn_again(tmp_path, toy):
    sources.prepare(tmp_path, download=False)
    shutil.rmtree(tmp_path / "toy" / "train")
    assert sources.prepare(tmp_path, download=False).kind == "toy"
    assert len(toy) == 2


def test_a_damaged_archive_leaves_nothing_behind(tmp_path, toy):
    path = write_zip(tmp_path / "archive.zip", layout())
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"train/happy/0.png") + 60] ^= 255  # stored, so only the checksum tells
    path.write_bytes(raw)
    with pytest.raises(TutorialError, match=r"archive\.zip is damaged"):
        sources.prepare(tmp_path, download=False)
    assert list(snapshot(tmp_path)) == ["archive.zip"]


def test_no_room_on_the_disk(tmp_path, toy, monkeypatch):
    write_zip(tmp_path / "archive.zip", layout())

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(TutorialError, match="No space left"):
        sources.prepare(tmp_path, download=False)
    assert list(snapshot(tmp_path)) == ["archive.zip"]


@pytest.mark.parametrize("after", [0, 5])
def test_ctrl_c_while_unpacking(tmp_path, toy, monkeypatch, after):
    write_zip(tmp_path / "archive.zip", layout())
    real, calls = sources.shutil.copyfileobj, []

    def interrupted(*args):
        calls.append(args)
        if len(calls) > after:
            raise KeyboardInterrupt
        real(*args)

    monkeypatch.setattr(sources.shutil, "copyfileobj", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sources.prepare(tmp_path, download=False)
    assert list(snapshot(tmp_path)) == ["archive.zip"]
    monkeypatch.setattr(sources.shutil, "copyfileobj", real)
    assert sources.prepare(tmp_path, download=False).kind == "zip"


def test_a_kill_while_unpacking_is_cleared_away(tmp_path, toy):
    write_folder(tmp_path / ".unpacking", layout(splits=["train"]))
    write_folder(tmp_path / ".kaggle", {"datasets/1.archive": b"half"})
    assert sources.prepare(tmp_path, download=False).kind == "toy"
    assert [path.name for path in tmp_path.iterdir()] == ["toy"]


def test_an_interruption_between_the_two_renames_is_made_good(tmp_path, toy, monkeypatch):
    write_zip(tmp_path / "archive.zip", layout())
    real = Path.rename

    def interrupted(self, target):
        if Path(target).name == "train":
            raise KeyboardInterrupt
        return real(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sources.prepare(tmp_path, download=False)
    assert (tmp_path / "test").is_dir() and not (tmp_path / "train").exists()
    monkeypatch.undo()
    (tmp_path / "archive.zip").unlink()
    assert sources.prepare(tmp_path, download=False).kind == "folder"
    assert snapshot(tmp_path) == layout()


def test_prepare_draws_toy_faces_once_and_again_when_they_have_changed(tmp_path, toy):
    source = sources.prepare(tmp_path, download=False)
    assert (source.kind, source.path) == ("toy", tmp_path / "toy")
    assert "toy faces" in source.message
    sources.prepare(tmp_path, download=False)
    assert len(toy) == 1
    (tmp_path / "toy" / "toy.json").write_text('{"version": 0}')
    sources.prepare(tmp_path, download=False)
    assert len(toy) == 2


def test_toy_can_be_asked_for(tmp_path, toy, monkeypatch):
    write_folder(tmp_path, layout())
    monkeypatch.setenv("TUTORIAL_DATASET", "toy")
    assert sources.prepare(tmp_path, download=True).kind == "toy"


def test_a_folder_that_cannot_be_written(tmp_path, toy):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TutorialError, match="cannot be read or written"):
        sources.prepare(tmp_path / "file", download=False)


# ---------------------------------------------------------------- Kaggle


class Kaggle(http.server.BaseHTTPRequestHandler):
    mode = "good"
    content = b""
    asked: list[str]

    def do_HEAD(self):
        self.send_response(404)
        self.end_headers()

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        type(self).asked.append(self.path)
        if self.mode == "refuses":
            self.send_error(403)
        elif self.mode == "hangs":
            self.stall()
        else:
            self.send_response(302)
            self.send_header("Location", "http://localhost:7777/files/archive.zip")
            self.end_headers()

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "application/zip")
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content[: None if self.mode == "good" else 5000])
        if self.mode == "stalls":
            self.wfile.flush()
            self.stall()

    def stall(self):
        time.sleep(20)

    def log_message(self, *_):
        pass


@pytest.fixture
def kaggle(tmp_path, monkeypatch):
    """Serve a small data set where kagglehub looks for its test server."""
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "TEST")
    monkeypatch.setenv("NO_PROXY", "localhost")
    monkeypatch.setenv("no_proxy", "localhost")
    handler = type("Handler", (Kaggle,), {"asked": []})
    handler.content = write_zip(tmp_path / "served.zip", layout()).read_bytes()
    http.server.ThreadingHTTPServer.allow_reuse_address = True
    try:
        server = http.server.ThreadingHTTPServer(("localhost", 7777), handler)
    except OSError:
        pytest.skip("port 7777, which kagglehub uses for tests, is taken")
    server.daemon_threads = True
    server.block_on_close = False
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield handler
    server.shutdown()
    server.server_close()


def test_download_from_kaggle(tmp_path, toy, kaggle):
    pytest.importorskip("kagglehub")
    dataset = tmp_path / "dataset"
    source = sources.prepare(dataset)
    assert source.kind == "kaggle" and kaggle.asked
    assert snapshot(dataset) == layout()
    assert sorted(path.name for path in dataset.iterdir()) == ["test", "train"]
    assert not toy


@pytest.mark.parametrize("mode", ["refuses", "breaks off", "hangs", "stalls"])
def test_kaggle_fails_in_the_middle(tmp_path, toy, kaggle, monkeypatch, capsys, mode):
    pytest.importorskip("kagglehub")
    kaggle.mode = mode
    monkeypatch.setattr(sources, "STALL_SECONDS", 1.0)
    dataset = tmp_path / "dataset"
    assert sources.prepare(dataset, download=True).kind == "toy"
    _, line = capsys.readouterr().out.splitlines()
    assert "archive.zip" in line and "python start.py" in line
    assert [path.name for path in dataset.iterdir()] == ["toy"]
    assert kaggle.asked


def test_kaggle_sends_something_else(tmp_path, toy, kaggle, capsys):
    pytest.importorskip("kagglehub")
    kaggle.content = write_zip(tmp_path / "other.zip", {"readme.txt": b"moved"}).read_bytes()
    assert sources.prepare(tmp_path / "dataset", download=True).kind == "toy"
    assert "has no images" in capsys.readouterr().out


def test_ctrl_c_in_the_middle_of_a_download(tmp_path, toy, kaggle, monkeypatch):
    kagglehub = pytest.importorskip("kagglehub")
    dataset = tmp_path / "dataset"

    def interrupted(handle, output_dir):
        write_folder(Path(output_dir), layout(splits=["train"]))
        raise KeyboardInterrupt

    monkeypatch.setattr(kagglehub, "dataset_download", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sources.prepare(dataset, download=True)
    assert list(dataset.iterdir()) == []


def test_without_a_network(tmp_path, toy, monkeypatch, capsys):
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "TEST")  # where nobody listens now
    assert sources.prepare(tmp_path, download=True).kind == "toy"
    assert "Kaggle cannot be reached" in capsys.readouterr().out


def test_a_look_up_that_hangs_is_given_up(tmp_path, toy, monkeypatch, capsys):
    requests = pytest.importorskip("requests")
    monkeypatch.setattr(sources, "PROBE_SECONDS", 0.2)
    released = threading.Event()
    monkeypatch.setattr(requests, "head", lambda *_, **__: released.wait(30))
    assert sources.prepare(tmp_path, download=True).kind == "toy"
    assert not released.is_set()
    assert "Kaggle cannot be reached" in capsys.readouterr().out
    released.set()


def test_kaggle_is_asked_only_when_it_should_be(tmp_path, toy, monkeypatch):
    asked = []
    monkeypatch.setattr(sources, "_download", lambda folder: asked.append(folder) or "no")
    sources.prepare(tmp_path, download=False)
    assert len(asked) == 0
    sources.prepare(tmp_path)  # there are toy faces by now
    assert len(asked) == 0
    sources.prepare(tmp_path, download=True)
    assert len(asked) == 1
    sources.prepare(tmp_path / "new")
    assert len(asked) == 2


def test_importing_is_light():
    code = (
        "import sys, helpers.data; "
        "print([m for m in ('tensorflow', 'kagglehub', 'requests', 'pandas') if m in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.strip() == "[]"
