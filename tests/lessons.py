"""Takes the definitions out of the lessons' cells, for tests that hold them against the helpers."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

import nbformat
from conftest import ROOT
from IPython.core.inputtransformer2 import TransformerManager


def cells(stem: str) -> list[str]:
    """Return the code of each code cell of a lesson, whose file name holds `stem`."""
    (path,) = (ROOT / "notebooks").glob(f"*{stem}*.ipynb")
    found = nbformat.read(path, as_version=4).cells
    plain = TransformerManager().transform_cell  # `%pip` and the like become Python
    return [plain(cell.source) for cell in found if cell.cell_type == "code"]


def run(stem: str, *pieces: str, **given: Any) -> dict[str, Any]:
    """Run those cells of a lesson that hold a piece of code each -> all names that they define.

    Whatever the lesson imports is there; what its other cells define is in `given`.
    """
    wanted = [
        _only(stem, piece, [cell for cell in cells(stem) if piece in cell]) for piece in pieces
    ]
    return _executed(stem, wanted, given)


def defined(stem: str, name: str, **given: Any) -> Any:
    """Run the one cell of a lesson that defines a function, a class or a value, and return that.

    Whatever the lesson imports is there; what its other cells define is in `given`.
    """
    having = [cell for cell in cells(stem) if name in _names(ast.parse(cell))]
    return _executed(stem, [_only(stem, name, having)], given)[name]


def _only(stem: str, what: str, found: list[str]) -> str:
    assert len(found) == 1, f"{what!r} stands in {len(found)} cells of lesson {stem}, not in one"
    return found[0]


def _names(cell: ast.Module) -> Iterator[str]:
    """The names that a cell defines outside its functions and loops."""
    for node in cell.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (name for target in node.targets for name in _named_in(target))


def _named_in(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def _executed(stem: str, wanted: list[str], given: dict[str, Any]) -> dict[str, Any]:
    used = {name for cell in wanted for name in _named_in(ast.parse(cell))}
    names: dict[str, Any] = {}
    for node in (node for cell in cells(stem) for node in ast.parse(cell).body):
        bound = {(alias.asname or alias.name).split(".")[0] for alias in getattr(node, "names", [])}
        if isinstance(node, ast.Import | ast.ImportFrom) and bound & used:
            exec(ast.unparse(node), names)
    names |= given
    for cell in wanted:
        exec(cell, names)
    return names
