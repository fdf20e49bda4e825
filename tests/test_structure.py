"""The rooms of the project: who may import whom, how large each may be, and how it is written."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

# Each room imports from itself and from those named here; everything else comes after them.
ROOMS = {
    "helpers": set(),
    "fetch": {"helpers"},
    "training": {"helpers"},
    "app": {"helpers", "fetch", "training"},
}
# What was reached, and is not to be passed again. Lines of a file are all its lines.
ROOM_LINES = {"helpers": 1999, "fetch": 1396, "training": 1112, "app": 868}
MODULE_LINES = 250
BODY_LINES = 30  # of a function: from its first statement to its last, the docstring left out
README_WORDS = 1200


def modules(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def length(path: Path) -> int:
    return len(path.read_text("utf-8").splitlines())


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def imported(path: Path) -> Iterator[str]:
    """Yield every module that a file imports, wherever it does, as `room.module` or `package`.

    Of `from helpers import data, ROOT`, that is helpers.data and helpers.ROOT.
    """
    package = path.relative_to(ROOT).parts[:-1]
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            start = ".".join([*above, *filter(None, [node.module])])
            yield from (f"{start}.{alias.name}" for alias in node.names)


def order(room: str) -> list[str]:
    """Return the modules of a room as its docstring lists them, from the bottom to the top."""
    text = ast.get_docstring(tree(ROOT / room / "__init__.py"))
    return re.findall(r"^(\w+)  +\S", text, flags=re.MULTILINE)


def bodies(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the name of every function, methods and inner ones too, and the lines of its body."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            yield node.name, body[-1].end_lineno - body[0].lineno + 1 if body else 0


@pytest.mark.parametrize("arguments", [["check"], ["format", "--check"]], ids=" ".join)
def test_ruff_finds_nothing(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "ruff", *arguments, "--no-cache", str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_from_those_before_it(room: str) -> None:
    project = {path.stem for path in ROOT.glob("*.py")}
    project |= {path.name for path in ROOT.iterdir() if path.is_dir()}
    for path in modules(room):
        rooms = {name.split(".")[0] for name in imported(path)} & project
        assert rooms <= {room, *ROOMS[room]}, f"{path.relative_to(ROOT)} imports from {rooms}"


@pytest.mark.parametrize("room", ["helpers", "training"])
def test_modules_are_listed_from_the_bottom_to_the_top(room: str) -> None:
    listed = order(room)
    assert sorted(["__init__", *listed]) == [path.stem for path in modules(room)]
    for path in modules(room):
        before = listed[: listed.index(path.stem)] if path.stem in listed else []
        used = {name.split(".")[1] for name in imported(path) if name.startswith(f"{room}.")}
        later = used & set(listed) - set(before)
        assert not later, f"{room}/{path.name} imports {later}, which stand above it"


def test_plots_are_of_arrays_and_need_nothing_of_ours_but_colours() -> None:
    names = set(imported(ROOT / "helpers" / "plots.py"))
    assert {name for name in names if name.startswith("helpers")} <= {"helpers.class_colours"}
    assert not {name.split(".")[0] for name in names} & {"keras", "tensorflow"}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_fits_in_the_head(room: str) -> None:
    lines = {path.relative_to(ROOT).as_posix(): length(path) for path in modules(room)}
    assert 0 < sum(lines.values()) <= ROOM_LINES[room], f"{sum(lines.values())} lines in {room}/"
    long = {name: count for name, count in lines.items() if count > MODULE_LINES}
    assert not long, "a module is about one thing: part it"


@pytest.mark.parametrize("room", ROOMS)
def test_a_function_fits_on_a_screen(room: str) -> None:
    long = {
        f"{path.relative_to(ROOT).as_posix()}: {name}": lines
        for path in modules(room)
        for name, lines in bodies(path)
        if lines > BODY_LINES
    }
    assert not long


def test_the_readme_is_read_to_its_end() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").split()) <= README_WORDS


def test_what_is_measured_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An import in a function is one, relative ones too; a docstring is no body."""
    path = tmp_path / "helpers" / "example.py"
    path.parent.mkdir()
    code = '''
        import keras
        from . import data

        def outer():
            """Say nothing."""
            from helpers.plots import bars

            def inner():
                # a comment
                import fetch.sources
                return bars
            return inner
        '''
    path.write_text(re.sub("^ {8}", "", code, flags=re.MULTILINE), "utf-8")
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    found = {"keras", "helpers.data", "helpers.plots.bars", "fetch.sources"}
    assert set(imported(path)) == found
    assert dict(bodies(path)) == {"outer": 7, "inner": 2}


def test_git_holds_nothing_that_may_not_be_published() -> None:
    done = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        pytest.skip("this is not a git checkout")
    files = done.stdout.splitlines()
    made = (".venv/", "build/", "runs/", "wheels/")
    assert not [name for name in files if name.startswith(made)]
    published = {
        f"dataset/{name}" for name in ("README.md", "LICENSE-ferplus", "ferplus_votes.csv.gz")
    }
    assert {name for name in files if name.startswith("dataset/")} <= published
    heavy = [
        name for name in files if (ROOT / name).exists() and (ROOT / name).stat().st_size > 12e6
    ]
    assert not heavy
