"""Every sentence that a widget can say stands in docs/troubleshooting.md."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from conftest import ROOT

PAGE = re.sub(r"\s+", " ", (ROOT / "docs" / "troubleshooting.md").read_text("utf-8"))
# What is there to be read before anything happens, and what the server and the scripts print.
STANDING = {"PURPOSE", "TEACH"}
PYTHON = [
    path for path in (ROOT / "app").glob("*.py") if path.name not in ("serve.py", "arguments.py")
]
PYTHON += [ROOT / "helpers" / "faces.py"]
SENTENCE = re.compile(r"^[A-Z…].*[a-z].*[.?…]$", re.DOTALL)


def docstrings(tree: ast.Module) -> set[ast.AST]:
    bodies = [node.body for node in ast.walk(tree) if hasattr(node, "body")]
    firsts = [body[0] for body in bodies if isinstance(body, list) and body]
    return {first.value for first in firsts if isinstance(first, ast.Expr)}


def said_in_python(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text("utf-8"))
    left_out = docstrings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in STANDING:
            left_out.add(node.value)
        if isinstance(node, ast.JoinedStr):
            left_out.update(node.values)
            parts = (getattr(part, "value", "…") for part in node.values)
            yield "".join(part if isinstance(part, str) else "…" for part in parts)
        elif isinstance(getattr(node, "value", None), str) and node not in left_out:
            yield node.value


def said_in_javascript(path: Path) -> Iterator[str]:
    text = re.sub(r"^ *//.*|(?<=[;,{]) +//.*", "", path.read_text("utf-8"), flags=re.MULTILINE)
    text = re.sub(r"([`\"])\s*\+\s*\1", "", text)  # joined over lines
    for quoted in re.finditer(r"\"((?:[^\"\\\n]|\\.)*)\"|`((?:[^`])*)`", text):
        yield re.sub(r"\$\{[^}]*\}", "…", quoted[1] or quoted[2] or "")


def test_every_sentence_of_a_widget_is_on_the_page() -> None:
    said = [text for path in PYTHON for text in said_in_python(path)]
    said += [text for path in (ROOT / "app").glob("*.js") for text in said_in_javascript(path)]
    sentences = {re.sub(r"\s+", " ", text) for text in said if SENTENCE.match(text)}
    sentences = {text for text in sentences if len(text.split()) > 2}
    assert len(sentences) > 40, "they are no longer found"
    assert sorted(text for text in sentences if text not in PAGE) == []
