"""Folders that are made all at once, by real processes, of which some are killed."""

import subprocess
import sys
from pathlib import Path

import pytest

from fetch.staging import make_folder
from helpers import ROOT

WRITER = """
import sys
from pathlib import Path
from fetch.staging import make_folder

def fill(new):
    new.mkdir()
    for number in range(200):
        if number == 100:
            print("halfway", flush=True)
            sys.stdin.readline()
        (new / str(number)).write_text("x")

make_folder(Path(sys.argv[1]), fill)
print("done", len(list(Path(sys.argv[1]).iterdir())), flush=True)
"""


def start(target: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(target)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def fill(new: Path) -> None:
    new.mkdir()
    (new / "whole").touch()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def test_of_two_at_once_one_works_and_the_other_waits(tmp_path):
    with start(tmp_path / "new") as first:
        assert first.stdout.readline() == "halfway\n"
        with start(tmp_path / "new") as second:
            assert "waiting for it" in second.stdout.readline()
            assert not (tmp_path / "new").exists()
            first.stdin.write("\n")
            first.stdin.flush()
            assert first.stdout.readline() == second.stdout.readline() == "done 200\n"
    assert names(tmp_path) == ["new"]


def test_one_that_is_killed_halfway_leaves_nothing_that_counts(tmp_path):
    with start(tmp_path / "new") as process:
        assert process.stdout.readline() == "halfway\n"
        process.kill()
    assert not (tmp_path / "new").exists() and names(tmp_path)[0].startswith(".part-")
    make_folder(tmp_path / "new", fill)
    assert names(tmp_path) == ["new"] and names(tmp_path / "new") == ["whole"]


def test_what_goes_wrong_is_raised_and_what_is_there_is_kept(tmp_path):
    def failing(new: Path) -> None:
        fill(new)
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        make_folder(tmp_path / "a" / "new", failing)
    assert names(tmp_path / "a") == []
    make_folder(tmp_path / "a" / "new", fill)
    assert make_folder(tmp_path / "a" / "new", failing) == tmp_path / "a" / "new"
    assert names(tmp_path / "a" / "new") == ["whole"]
