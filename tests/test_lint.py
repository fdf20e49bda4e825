"""The tree is formatted, free of the linter's complaints, and as small as it set out to be."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT


@pytest.mark.parametrize("arguments", [["check"], ["format", "--check"]], ids=" ".join)
def test_ruff_finds_nothing(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "ruff", *arguments, "--no-cache", str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def modules() -> list[Path]:
    return [path for path in (ROOT / "helpers").glob("*.py") if path.name != "__init__.py"]


def test_the_helpers_fit_in_the_head() -> None:
    lines = sum(len(path.read_text("utf-8").splitlines()) for path in modules())
    assert 0 < len(modules()) <= 10
    assert lines <= 4020, f"helpers/ has grown to {lines} lines; it should shrink"


def test_helpers_import_only_from_the_ones_before_them() -> None:
    """Top to bottom as helpers/__init__.py lists them; what a function imports late is its own."""
    contents = ast.get_docstring(ast.parse((ROOT / "helpers" / "__init__.py").read_text("utf-8")))
    order = re.findall(r"^(\w+)  +\S", contents, flags=re.MULTILINE)
    assert sorted(order) == sorted(path.stem for path in modules())
    for path in modules():
        for node in ast.parse(path.read_text("utf-8")).body:
            parts = (getattr(node, "module", None) or "").split(".")
            if isinstance(node, ast.ImportFrom) and parts[0] == "helpers":
                used = {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
                later = used & set(order) - set(order[: order.index(path.stem)])
                assert not later, f"{path.name} imports {later}, which come after it"


def test_git_holds_nothing_that_may_not_be_published() -> None:
    done = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        pytest.skip("this is not a git checkout")
    files = done.stdout.splitlines()
    published = {
        f"dataset/{name}" for name in ("README.md", "LICENSE-ferplus", "ferplus_votes.csv.gz")
    }
    assert {name for name in files if name.startswith("dataset/")} <= published
    assert not [name for name in files if name.startswith((".venv/", "build/", "runs/"))]
    heavy = [
        name for name in files if (ROOT / name).exists() and (ROOT / name).stat().st_size > 12e6
    ]
    assert not heavy
