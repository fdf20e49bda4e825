"""Finding, unpacking and downloading the images; nothing half-done, and nothing lost."""

import errno
import http.server
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from drawn import encode, make, noise, pack, read, write, write_table

from fetch import kaggle as kaggle_module
from fetch import sources, toy_faces
from helpers import FER_CLASSES, ROOT, TutorialError


@pytest.fixture(autouse=True)
def no_settings(monkeypatch, tmp_path):
    for name in ("TUTORIAL_DATASET", "KAGGLE_API_ENVIRONMENT", "KAGGLEHUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sources, "BUILD", tmp_path / "build")


def layout(prefix: str = "", splits=("train", "test")) -> dict[str, bytes]:
    return {
        f"{prefix}{split}/{name}/{index}.png": encode(noise(index))
        for split in splits
        for name in FER_CLASSES
        for index in range(2)
    }


@pytest.fixture
def toy(monkeypatch):
    """Replace the drawing of toy faces by a quick stand-in."""
    drawn = []

    def write_toy_faces(folder):
        drawn.append(folder)
        write(folder, layout() | {"toy.json": b'{"version": 1}'})
        return folder

    monkeypatch.setattr(toy_faces, "write_toy_faces", write_toy_faces)
    return drawn


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    """The folder dataset/ of a project that lies in tmp_path."""
    monkeypatch.setattr(sources, "ROOT", tmp_path)
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "README.md").write_text("the page that comes along")
    return tmp_path / "dataset"


def count(source: sources.Source) -> dict[str, int]:
    return {
        split: sum(map(len, classes.values())) for split, classes in source.layout.splits.items()
    }


WHOLE = {"train": 14, "test": 14}

# ---------------------------------------------------------------- what is named


@pytest.mark.parametrize("make_it", [write, pack])
def test_a_folder_or_a_zip_is_found_by_its_name(tmp_path, make_it):
    source = sources.locate(make_it(tmp_path / "my data.zip", layout("archive/")))
    assert count(source) == WHOLE
    assert source.message.startswith("Data: my data.zip") and "as you named it" in source.message
    assert str(tmp_path) not in source.message  # learners show messages to others
    assert count(sources.locate(f' "{tmp_path / "my data.zip"}"')) == WHOLE


def test_a_relative_path_is_also_tried_from_the_root_of_the_project(dataset, monkeypatch):
    write(dataset / "mine", layout())
    (dataset / "notebooks").mkdir()
    monkeypatch.chdir(dataset / "notebooks")
    assert count(sources.locate("dataset/mine")) == WHOLE


def test_what_is_not_there(tmp_path):
    with pytest.raises(TutorialError, match="There is no nowhere; name a zip or a folder"):
        sources.locate("nowhere")
    with pytest.raises(TutorialError, match="is an address: download it first"):
        sources.locate("https://example.org/archive.zip")
    with pytest.raises(TutorialError, match="There is no ~nobody-of-this-name/a"):
        sources.locate("~nobody-of-this-name/a")


def test_a_folder_with_nothing_but_an_archive_or_a_table_stands_for_it(tmp_path):
    pack(tmp_path / "zip" / "a.zip", layout())
    assert count(sources.locate(tmp_path / "zip")) == WHOLE
    (tmp_path / "csv").mkdir()
    rows = [(e, noise(e), usage) for e in range(7) for usage in ("Training", "PublicTest")]
    write_table(tmp_path / "csv" / "fer2013.csv", rows)
    (tmp_path / "csv" / "about.csv").write_text("a,b")
    assert count(sources.locate(tmp_path / "csv")) == {"train": 7, "test": 7}
    pack(tmp_path / "zip" / "b.zip", layout())
    with pytest.raises(TutorialError, match=r"zip/ has several archives \(a.zip, b.zip\): name"):
        sources.locate(tmp_path / "zip")


def test_an_archive_is_unpacked_once_and_again_when_it_has_changed(tmp_path, monkeypatch):
    path = pack(tmp_path / "mine [1].zip", layout())
    before, unpack, unpacked = path.read_bytes(), sources.archives.unpack, []
    monkeypatch.setattr(
        sources.archives, "unpack", lambda *args: unpacked.append(args) or unpack(*args)
    )
    for _ in range(2):
        assert count(sources.locate(path)) == WHOLE
    assert len(unpacked) == 1 and path.read_bytes() == before
    pack(path, layout() | {"train/sad/new.png": encode(noise(9))})
    assert count(sources.locate(path)) == {"train": 15, "test": 14}
    assert len(list((tmp_path / "build" / "unpacked").glob("mine*"))) == 1  # no disk for nothing


# ---------------------------------------------------------------- prepare


def test_prepare_takes_what_lies_in_the_folder(dataset, toy):
    write(dataset, layout() | {"toy/toy.json": b"{}", "toy/train/sad/1.png": encode(noise(1))})
    before = read(dataset)
    source = sources.prepare(dataset, download=True)
    assert count(source) == WHOLE and source.message == "Data: dataset/."
    assert read(dataset) == before and not toy


@pytest.mark.parametrize(
    ("prefix", "splits"), [("archive/", ("train", "test")), ("", ("Training", "TEST"))]
)
def test_prepare_finds_an_unpacked_archive_and_other_names(dataset, toy, prefix, splits):
    write(dataset, layout(prefix, splits))
    assert count(sources.prepare(dataset, download=False)) == WHOLE


def test_prepare_finds_bare_class_folders(dataset, toy):
    make(dataset, ["."], ["cat", "dog"], n=2)
    assert count(sources.prepare(dataset, download=False)) == {"": 4}


def test_empty_halves_are_not_mistaken_for_toy_faces(dataset, toy):
    write(dataset, layout("toy/") | {"toy/toy.json": b"{}"})
    (dataset / "train" / "sad").mkdir(parents=True)
    with pytest.raises(TutorialError, match=r"dataset/ has no images"):
        sources.prepare(dataset, download=False)


@pytest.mark.parametrize("prefix", ["", "archive/"])
def test_an_archive_in_the_folder_is_taken_and_stays(dataset, toy, prefix):
    pack(dataset / "archive.zip", layout(prefix) | {f"{prefix}fer.csv": b"1,2"})
    before = read(dataset)
    for _ in range(2):
        source = sources.prepare(dataset, download=False)
        assert count(source) == WHOLE and source.message == "Data: dataset/archive.zip."
    assert read(dataset) == before and not toy


def test_an_archive_that_cannot_be_used_is_not_passed_over(dataset, toy):
    pack(dataset / "archive.zip", {"notes.txt": b"", "1.csv": b"1,2"})
    with pytest.raises(TutorialError, match=r"dataset/archive\.zip has no images but 1 "):
        sources.prepare(dataset, download=False)
    (dataset / "archive.zip").write_bytes(b"PK half of it")
    with pytest.raises(TutorialError, match=r"archive\.zip is no zip file, or only partly"):
        sources.prepare(dataset, download=False)
    assert not toy


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left")])
def test_a_stop_or_a_full_disk_while_unpacking_leaves_nothing(dataset, toy, monkeypatch, error):
    pack(dataset / "archive.zip", layout())
    before, write_bytes = read(dataset.parent), Path.write_bytes

    def failing(self, content):
        if self.name == "1.png" and "sad" in self.parts:
            raise error
        return write_bytes(self, content)

    monkeypatch.setattr(Path, "write_bytes", failing)
    with pytest.raises((KeyboardInterrupt, TutorialError)):
        sources.prepare(dataset, download=False)
    assert read(dataset.parent) == before
    monkeypatch.undo()
    assert not list(dataset.parent.rglob(".part-*"))


def test_toy_faces_where_there_is_nothing_and_where_they_are_asked_for(dataset, toy, monkeypatch):
    source = sources.prepare(dataset, download=False)
    assert source.layout.is_toy and toy == [dataset / "toy"]
    assert source.message == "Data: dataset/toy/, toy faces drawn by this project, not photographs."
    write(dataset, layout())
    monkeypatch.setenv("TUTORIAL_DATASET", "toy")
    assert sources.prepare(dataset, download=True).layout.is_toy


def test_a_folder_that_cannot_be_written(tmp_path, toy):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TutorialError, match="cannot be read or written"):
        sources.prepare(tmp_path / "file", download=False)


# ---------------------------------------------------------------- Kaggle


class Kaggle(http.server.BaseHTTPRequestHandler):
    mode = "good"
    content = b""
    asked: list[str]
    released: threading.Event

    def do_HEAD(self):
        self.send_response(404)
        self.end_headers()

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        type(self).asked.append(self.path)
        if self.mode == "refuses" or (
            self.mode == "wants nobody" and self.headers["Authorization"]
        ):
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
        self.wfile.write(
            self.content[: None if self.mode != "breaks off" and self.mode != "stalls" else 5000]
        )
        if self.mode == "stalls":
            self.wfile.flush()
            self.stall()

    def stall(self):
        type(self).released.wait(60)

    def log_message(self, *_):
        pass


@pytest.fixture
def kaggle(tmp_path, monkeypatch):
    """Serve a small data set where kagglehub looks for its test server."""
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "TEST")
    monkeypatch.setenv("NO_PROXY", "localhost")
    monkeypatch.setenv("no_proxy", "localhost")
    handler = type("Handler", (Kaggle,), {"asked": [], "released": threading.Event()})
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    handler.content = pack(tmp_path / "served.zip", layout()).read_bytes()
    http.server.ThreadingHTTPServer.allow_reuse_address = True
    try:
        server = http.server.ThreadingHTTPServer(("localhost", 7777), handler)
    except OSError:
        pytest.skip("port 7777, which kagglehub uses for tests, is taken")
    server.daemon_threads = True
    server.block_on_close = False
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield handler
    handler.released.set()
    server.shutdown()
    server.server_close()


def test_download_from_kaggle(dataset, toy, kaggle):
    pytest.importorskip("kagglehub")
    source = sources.prepare(dataset)
    assert count(source) == WHOLE and kaggle.asked and not toy
    assert source.message == "Data: dataset/, FER-2013 downloaded from Kaggle."
    assert set(read(dataset)) == {"README.md", *layout("fer2013/")}
    assert count(sources.prepare(dataset)) == WHOLE and len(kaggle.asked) == 1


def test_old_credentials_are_left_out_where_they_are_refused(
    dataset, toy, kaggle, monkeypatch, tmp_path, capfd
):
    pytest.importorskip("kagglehub")
    kaggle.mode = "wants nobody"
    write(tmp_path / "home", {".kaggle/kaggle.json": b'{"username": "me", "key": "old"}'})
    monkeypatch.setenv("KAGGLE_USERNAME", "me")
    monkeypatch.setenv("KAGGLE_KEY", "old")
    assert count(sources.prepare(dataset)) == WHOLE and len(kaggle.asked) == 2
    assert "trying without the credentials of this computer" in capfd.readouterr().out
    assert os.environ["KAGGLE_KEY"] == "old"


@pytest.mark.parametrize("mode", ["refuses", "breaks off", "hangs", "stalls"])
def test_kaggle_fails_in_the_middle(dataset, toy, kaggle, monkeypatch, capfd, mode):
    pytest.importorskip("kagglehub")
    kaggle.mode = mode
    monkeypatch.setattr(kaggle_module, "STALL_SECONDS", 1.0)
    assert sources.prepare(dataset, download=True).layout.is_toy
    line = capfd.readouterr().out.splitlines()[-1]
    assert line.startswith("No FER-2013: the download failed (")
    assert "archive.zip" in line and "python start.py" in line
    assert kaggle.asked and sorted(os.listdir(dataset)) == [".lock", "README.md", "toy"]  # noqa: PTH208


def test_kaggle_sends_something_else(dataset, toy, kaggle, tmp_path, capfd):
    pytest.importorskip("kagglehub")
    kaggle.content = pack(tmp_path / "other.zip", {"readme.txt": b"moved"}).read_bytes()
    assert sources.prepare(dataset, download=True).layout.is_toy
    assert "what Kaggle sent has no images but 1 .txt" in capfd.readouterr().out
    assert set(read(dataset)) == {"README.md", *layout("toy/"), "toy/toy.json"}


def test_ctrl_c_in_the_middle_of_a_download(dataset, toy, kaggle, monkeypatch):
    def interrupted(folder, environment):
        write(folder, layout(splits=["train"]))
        raise KeyboardInterrupt

    monkeypatch.setattr(kaggle_module, "_attempt", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sources.prepare(dataset, download=True)
    assert set(read(dataset)) == {"README.md"}


def test_without_a_network(dataset, toy, monkeypatch, capsys):
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "TEST")  # where nobody listens now
    assert sources.prepare(dataset, download=True).layout.is_toy
    assert "No FER-2013: Kaggle cannot be reached. For the real data" in capsys.readouterr().out


def test_a_look_up_that_hangs_is_given_up(monkeypatch):
    requests = pytest.importorskip("requests")
    monkeypatch.setattr(kaggle_module, "PROBE_SECONDS", 0.2)
    released = threading.Event()
    monkeypatch.setattr(requests, "head", lambda *_, **__: released.wait(30))
    assert not kaggle_module.reachable("http://localhost:7777")
    assert not released.is_set()
    released.set()


def test_kaggle_is_asked_only_when_it_should_be(dataset, toy, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(sources, "_downloaded", lambda folder: asked.append(folder))
    sources.prepare(dataset, download=False)
    assert len(asked) == 0
    sources.prepare(dataset)  # there are toy faces by now
    assert len(asked) == 0
    sources.prepare(dataset, download=True)
    assert len(asked) == 1
    sources.prepare(tmp_path / "new")
    assert len(asked) == 2


def test_importing_is_light():
    code = (
        "import sys, fetch; "
        "print([m for m in ('tensorflow', 'kagglehub', 'requests', 'pandas') if m in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.strip() == "[]"
