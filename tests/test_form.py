"""The form of the lessons: what each opens and closes with, and how prose and code alternate.

Run with -s, it prints the table. The limits are generous: a guide, not a straitjacket.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median

import pytest

from tools.navigation import lessons, opening

VERBS = {
    "Ask",
    "Build",
    "Classify",
    "Evaluate",
    "Explore",
    "Go",
    "Preview",
    "Train",
    "Transfer",
    "Use",
    "Work",
}
DRAWS = re.compile(r"plt\.subplots\(|\bFigure\(|LiveCurves\(|^plots\.(?!style)\w+\(", re.MULTILINE)
ASKS = re.compile(r"\*\*(?:predict|before you (?:run|look)|decide|for each, decide)", re.IGNORECASE)
IMPORTS_OURS = re.compile(r"^from (app|fetch|helpers|training)\b", re.MULTILINE)
LINK = re.compile(r"\[(\d+ · [^\]]+)\]\((\d\d_\w+\.ipynb)\)")


@dataclass
class Form:
    """What is counted in one lesson; the links and tables that a script writes are left out."""

    promises: int  # bullets of the opening
    recap: int  # bullets of the closing
    code_cells: int
    words: float  # of prose, per code cell
    lines: float  # of code, the median of the cells
    longest: int  # lines of the longest code cell
    in_a_row: int  # code cells with no word between them, at most
    figures: int  # cells that draw, and live curves
    questions: int  # to be answered before a cell is run


LIMITS = {  # better: 45 to 80 words, 4 lines or fewer, 4 to 8 figures
    "promises": (3, 6),
    "code_cells": (12, 45),
    "words": (45, 85),
    "lines": (1, 8),
    "longest": (1, 35),
    "in_a_row": (1, 2),
    "figures": (4, 14),
    "questions": (2, 12),
}


def cells(path: Path) -> list[tuple[str, str]]:
    """Return kind and text of each cell, without those that a script writes."""
    found = json.loads(path.read_text("utf-8"))["cells"]
    return [
        (cell["cell_type"], "".join(cell["source"]))
        for cell in found
        if "generated" not in cell["metadata"].get("tags", [])
    ]


def prose(path: Path) -> list[str]:
    return [text for kind, text in cells(path) if kind == "markdown"]


def bullets(text: str) -> int:
    return len(re.findall(r"^- ", text, re.MULTILINE))


def closing(path: Path) -> str:
    """Return the recap and what follows it in its cell."""
    (recap,) = (text for text in prose(path) if "## What you have " in text)
    return recap[recap.index("## What you have ") :]


def form(path: Path) -> Form:
    code = [text for kind, text in cells(path) if kind == "code"]
    lines = [sum(bool(line.strip()) for line in text.splitlines()) for text in code]
    kinds = "".join(kind[0] for kind, _ in cells(path))
    return Form(
        promises=bullets(prose(path)[0]),
        recap=bullets(closing(path)),
        code_cells=len(code),
        # Questions with answers to unfold lead up to no cell.
        words=sum(len(text.split()) for text in prose(path) if "<details>" not in text) / len(code),
        lines=median(lines),
        longest=max(lines),
        in_a_row=max(map(len, kinds.split("m"))),
        figures=sum(bool(DRAWS.search(text)) for text in code),
        questions=sum(len(ASKS.findall(text)) for text in prose(path)),
    )


each_lesson = pytest.mark.parametrize("path", lessons(), ids=lambda path: path.stem)


def test_the_table() -> None:
    names = [field.name for field in fields(Form)]
    print("\n\n" + " ".join([f"{'lesson':26}", *names]))
    for path in lessons():
        values = zip(names, asdict(form(path)).values(), strict=True)
        print(" ".join([f"{path.stem:26}", *(f"{value:{len(name)}.0f}" for name, value in values)]))
    limits = [f"{name} {low} to {high}" for name, (low, high) in LIMITS.items()]
    print("limits: " + ", ".join(limits))
    assert set(LIMITS) < set(names)


@each_lesson
def test_it_opens_with_what_why_and_how_long(path: Path) -> None:
    title, _ = opening(path)
    number, _, name = title.partition(" · ")
    assert int(number) == int(path.name[:2])
    assert name.split()[0] in VERBS, "a title begins with a verb (a new one is added to VERBS)"
    text = prose(path)[0]
    parts = ("**In this lesson you will**", "**You need**", "**Time:**")
    places = [text.find(part) for part in parts]
    assert -1 not in places
    assert places == sorted(places)


@each_lesson
def test_who_opened_it_alone_is_told_how_to_get_the_rest(path: Path) -> None:
    first = next(text for kind, text in cells(path) if kind == "code")
    if not IMPORTS_OURS.search("\n".join(text for kind, text in cells(path) if kind == "code")):
        # There is no rest to get: the lesson to take home says which packages it needs.
        assert "# No such module? First run: %pip install tensorflow " in first
        return
    line = "# No such module? First run: %pip install ADDRESS (the project's zip or clone)\n"
    before, here, after = first.partition(line)
    alone = IMPORTS_OURS.match(after) and not IMPORTS_OURS.search(before)
    assert here and alone, "right above our first import"


@each_lesson
def test_it_closes_with_what_it_promised_and_what_to_try(path: Path) -> None:
    counted = form(path)
    assert counted.recap == counted.promises
    assert "**Try next" in closing(path)
    assert cells(path)[-1][1].endswith(closing(path)), "nothing follows but the links"


@each_lesson
@pytest.mark.parametrize("measure", LIMITS)
def test_it_keeps_within_the_limits(path: Path, measure: str) -> None:
    low, high = LIMITS[measure]
    assert low <= getattr(form(path), measure) <= high


@each_lesson
def test_knobs_are_marked_and_say_what_to_watch(path: Path) -> None:
    found = json.loads(path.read_text("utf-8"))["cells"]
    marked = [k for k, cell in enumerate(found) if "knobs" in cell["metadata"].get("tags", [])]
    assert marked
    for k in marked:
        assert found[k]["cell_type"] == "code"
        before = "".join(found[k - 1]["source"])
        assert "**Knobs.**" in before
        assert re.search(r"[Ww]atch|side by side", before)


@each_lesson
def test_every_figure_says_what_to_see(path: Path) -> None:
    for kind, text in cells(path):
        if kind == "code" and "plt.subplots(" in text:
            # The title is an argument by position in the one function named here.
            assert "title" in text, text


@each_lesson
def test_lessons_are_called_by_their_titles(path: Path) -> None:
    titles = {lesson.name: opening(lesson)[0] for lesson in lessons()}
    for text in prose(path):
        for title, name in LINK.findall(text):
            assert title == titles[name]
