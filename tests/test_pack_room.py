"""tools/pack_room.py with a project of a few files and a package index that is a folder."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fetch import load, sources
from fetch.sources import locate
from tools import pack_room


def write_wheel(folder: Path, name: str = "tiny_package") -> Path:
    """Write a package of one module, as an index would give it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    texts = {
        f"{name}.py": "answer = 42\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: a test\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in texts.items():
            wheel.writestr(file, text)
        wheel.writestr(f"{info}/RECORD", "".join(f"{file},,\n" for file in texts))
    return path


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of a few files, with what a computer makes for itself beside them."""
    root = tmp_path / "project"
    for name in (
        "start.py",
        "notebooks/01.ipynb",
        "notebooks/.ipynb_checkpoints/01-checkpoint.ipynb",
        "helpers/__pycache__/data.pyc",
        "dataset/README.md",
        "dataset/train/angry/1.jpg",
        "runs/mine.keras",
        ".git/config",
        ".venv/bin/python",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / "requirements.txt").write_text("tiny-package>=1,<2  # a reason\n\n-e .  # why\n")
    (root / "pyproject.toml").write_text('[build-system]\nrequires = ["tiny_builder>=1"]\n')
    monkeypatch.setattr(pack_room, "ROOT", root)
    return root


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "images"
    for part in ("train/dog", "train/cat", "test/cat"):
        (folder / part).mkdir(parents=True)
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(folder / part / "1.png")
    (folder / "train" / "dog" / "notes.txt").write_text("no image")
    monkeypatch.setenv("TUTORIAL_DATASET", str(folder))
    monkeypatch.setattr(sources, "BUILD", tmp_path / "build")
    return folder


def test_the_folder_holds_project_images_and_wheels(
    project: Path, images: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    pytest.importorskip("pip")  # uv makes environments without it
    for name in ("tiny_package", "tiny_builder"):
        write_wheel(tmp_path / "index", name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    room = tmp_path / "a room"
    room.mkdir()
    (room / pack_room.MARK).touch()
    (room / "start.py").write_text("of an earlier pack")
    assert pack_room.main([str(room)]) == 0, capsys.readouterr().err
    assert (room / "start.py").read_text() == "start.py"
    assert f"{room} is ready" in capsys.readouterr().out
    assert {path.relative_to(room).as_posix() for path in room.rglob("*") if path.is_file()} == {
        pack_room.MARK,
        "start.py",
        "notebooks/01.ipynb",
        "requirements.txt",
        "pyproject.toml",
        "dataset/README.md",
        "dataset/images.zip",
        "wheels/tiny_package-1.0-py3-none-any.whl",
        "wheels/tiny_builder-1.0-py3-none-any.whl",
    }
    packed, own = load(room / "dataset" / "images.zip"), load(images)
    assert packed.fingerprint == own.fingerprint and len(packed.train) == 2
    assert packed.train.files.tolist() == ["cat/1.png", "dog/1.png"]


def test_a_pack_that_was_stopped_goes_on(project: Path, images, tmp_path, monkeypatch) -> None:
    def stopped() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pack_room, "prepare", stopped)
        assert pack_room.main([str(tmp_path / "room")]) == 130
    monkeypatch.setattr(pack_room, "download", lambda folder: None)
    assert pack_room.main([str(tmp_path / "room")]) == 0


def test_a_package_that_cannot_be_had_gets_a_sentence(
    project: Path, images: Path, tmp_path: Path, monkeypatch, capfd
) -> None:
    pytest.importorskip("pip")  # uv makes environments without it
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    assert pack_room.main([str(tmp_path / "room")]) == 1
    assert capfd.readouterr().err.splitlines()[-1].startswith("The packages could not be down")


def test_an_environment_made_by_uv_is_given_pip_first(project: Path, tmp_path, monkeypatch) -> None:
    called = []

    def run(command: list, **options) -> subprocess.CompletedProcess:
        called.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(pack_room.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(pack_room.subprocess, "run", run)
    monkeypatch.setattr(pack_room.shutil, "which", lambda name: None)
    with pytest.raises(pack_room.TutorialError, match="install it first"):
        pack_room.download(tmp_path / "room")
    assert called == []
    monkeypatch.setattr(pack_room.shutil, "which", lambda name: f"/bin/{name}")
    pack_room.download(tmp_path / "room")
    assert [command[0] for command in called] == ["uv", pack_room.sys.executable]
    assert called[0][-1] == "pip"


def test_toy_faces_are_not_packed_and_bare_class_folders_stay_bare(toy_folder, images, tmp_path):
    (tmp_path / "dataset").mkdir()
    assert "its own toy faces" in pack_room.copy_images(locate(toy_folder), tmp_path)
    assert list((tmp_path / "dataset").iterdir()) == []
    pack_room.copy_images(locate(images / "train"), tmp_path)
    layout = locate(tmp_path / "dataset").layout
    assert {name: len(files) for name, files in layout.splits[""].items()} == {"cat": 1, "dog": 1}


def test_a_folder_that_is_not_for_this_is_refused(project: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a letter.txt").touch()
    for folder, said in (
        (project / "room", "is inside the project"),
        (tmp_path / "full", "holds other things"),
        (tmp_path / "full" / "a letter.txt", "is a file"),
    ):
        assert pack_room.main([str(folder)]) == 1
        assert said in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["a letter.txt"]
