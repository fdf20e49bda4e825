"""The exercises: what the checks say of right, wrong and absurd answers, and the pages' making."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from conftest import ROOT
from wrong_answers import RIGHT, WRONG

from notebooks.exercises.checks import quiet
from tools.make_exercises import NOTEBOOKS, PART, main, page, unsolved

SOLUTIONS = sorted((NOTEBOOKS / "solutions").glob("*.ipynb"))
PAGES = [NOTEBOOKS / "exercises" / path.name for path in SOLUTIONS]
MODULES = sorted(path.stem for path in (NOTEBOOKS / "exercises/checks").glob("lesson_*.py"))
CHECKS = {
    f"{stem}.{name}": made
    for stem in MODULES
    for name, made in vars(importlib.import_module(f"notebooks.exercises.checks.{stem}")).items()
    if hasattr(made, "__wrapped__") and not name.startswith("_")
}
# The usual mistakes that a check lists, and what the tests add to them.
MISTAKES = [
    (name, sentence, wrong)
    for name, check in CHECKS.items()
    for sentence, wrong in [*getattr(check, "mistakes", {}).items(), *WRONG.get(name, {}).items()]
]
WANTED = re.compile(r"\*\*What you should see\*\* in the end:\n\n```text\n(.+?)\n```", re.DOTALL)
each_solution = pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
each_page = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
each_check = pytest.mark.parametrize("name", CHECKS)


def cells(path: Path, kind: str) -> list[str]:
    found = nbformat.read(path, as_version=4).cells
    return [cell.source for cell in found if cell.cell_type == kind]


def asked(path: Path) -> list[str]:
    """Return the names of the checks that a page calls, in order."""
    text = "\n".join(cells(path, "code"))
    return re.findall(r"^check\.(\w+)\(", text, flags=re.MULTILINE)


def verdict(capsys: pytest.CaptureFixture, name: str, *answer) -> str:
    """Return the one line that a check prints."""
    capsys.readouterr()
    assert CHECKS[name](*answer) is None
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.count("\n") == 1
    assert said.out.rstrip("\n")[-1] in ".?"
    return said.out.strip()


def said_by(path: Path, dataset: Path, patch: pytest.MonkeyPatch, capsys) -> str:
    """Run the cells of a page as they stand, and return what they print."""
    patch.setenv("TUTORIAL_DATASET", str(dataset))
    names: dict = {"__name__": "page"}
    for cell in cells(path, "code"):
        exec(cell, names)
    said = capsys.readouterr()
    assert "Warning" not in said.err  # a bar of progress is none
    return said.out


# A learner would see these warnings.
@pytest.mark.filterwarnings("error::UserWarning", "error::RuntimeWarning", "error::FutureWarning")
@each_solution
def test_every_solution_is_right_and_prints_what_was_shown_before(
    path: Path, toy_folder: Path, monkeypatch, capsys
) -> None:
    said = said_by(path, toy_folder, monkeypatch, capsys)
    verdicts = [line for line in said.splitlines() if re.match("Right|Not ", line)]
    shown = WANTED.findall("\n".join(cells(path, "markdown")))
    assert len(verdicts) == len(shown) == len(asked(path))
    for line, wanted in zip(verdicts, shown, strict=True):
        assert re.fullmatch(re.escape(wanted).replace("…", ".+"), line), f"{line}\n{wanted}"


@pytest.mark.parametrize(
    "path",
    [path for path in SOLUTIONS if "load_dataset" in path.read_text("utf-8")],
    ids=lambda path: path.stem,
)
def test_every_solution_with_data_is_right_on_fer2013(
    path: Path, fer2013_zip: Path, monkeypatch, capsys
) -> None:
    assert "FER-2013" in (said := said_by(path, fer2013_zip, monkeypatch, capsys))
    assert said.count("Right: ") == len(asked(path))


@each_page
def test_every_stub_is_called_not_attempted(
    path: Path, toy_folder: Path, monkeypatch, capsys
) -> None:
    said = said_by(path, toy_folder, monkeypatch, capsys)
    assert said.count("Not attempted yet: ") == len(asked(path))
    assert "Right" not in said and "Not right" not in said


def raises(*inputs):
    raise KeyError("of the learner's making")


def leaves(*inputs):
    sys.exit(1)


class Absurd:
    """Can be neither compared nor turned into an array."""

    def __array__(self, *args, **kwargs):
        raise RuntimeError("no array")

    def __eq__(self, other):
        raise RuntimeError("no comparison")

    __hash__ = None


NONSENSE = {
    "a text": "happy",
    "a number": -3.5,
    "nan": float("nan"),
    "a truth": True,
    "a list": [1, [2, 3]],
    "an empty array": np.zeros(0),
    "a huge number": 10**400,
    "an object": Absurd(),
    "a function that raises": raises,
    "a function that ends Python": leaves,
    "a function without arguments": lambda: 1,
    "a function that returns nothing": lambda *inputs: None,
    "a function that returns a text": lambda *inputs: "7",
    "a function that returns nan": lambda *inputs: np.nan,
    "a function that returns itself": lambda *inputs: raises,
    "a function that returns an object": lambda *inputs: Absurd(),
}


@each_check
def test_nonsense_gets_a_sentence_and_never_a_traceback(name: str, capsys) -> None:
    for what, answer in NONSENSE.items():
        assert verdict(capsys, name, answer).startswith("Not right yet: "), what
    assert "type str" in verdict(capsys, name, "happy")


@each_check
def test_dots_and_nothing_are_not_attempted(name: str, capsys) -> None:
    for answer in ([], [...], [None]):
        assert verdict(capsys, name, *answer).startswith("Not attempted yet: ")


@pytest.mark.parametrize(("name", "sentence", "wrong"), MISTAKES)
def test_a_usual_mistake_gets_its_own_sentence(name: str, sentence: str, wrong, capsys) -> None:
    with quiet():
        said = verdict(capsys, name, wrong)
    assert said.startswith("Not right yet: ")
    assert sentence in said


def test_every_check_stands_on_one_page_and_knows_two_mistakes() -> None:
    called = [f"lesson_{path.name[:2]}.{name}" for path in SOLUTIONS for name in asked(path)]
    assert sorted(called) == sorted(CHECKS)
    assert {*WRONG, *RIGHT} <= {*CHECKS}
    for name in CHECKS:
        assert sum(row[0] == name for row in MISTAKES) >= 2, name


@pytest.mark.parametrize("name", RIGHT)
def test_other_ways_to_be_right_are_right(name: str, capsys) -> None:
    assert verdict(capsys, name, RIGHT[name]).startswith("Right: ")


def test_a_function_that_changes_its_input_is_told_so(capsys) -> None:
    def sorts_in_place(groups, labels):
        labels.sort()
        return 1

    said = verdict(capsys, "lesson_01.count_contradictions", sorts_in_place)
    assert "leave them alone" in said


def test_the_trial_and_the_error_of_a_function_are_quoted(capsys) -> None:
    said = verdict(capsys, "lesson_01.class_shares", raises)
    assert "in a trial with 3 classes" in said
    assert "KeyError: " in said and "of the learner's making" in said


def test_an_example_that_does_not_fit_is_told_so(capsys) -> None:
    said = verdict(capsys, "lesson_01.class_shares", RIGHT["lesson_01.class_shares"], "text", 2)
    assert "in the example your code raised" in said


@each_page
def test_a_page_is_whole_and_shows_no_solution(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    lesson = (path.parent / ".." / path.name).resolve()
    assert lesson.is_file()
    assert notebook.cells[0].source.startswith(f"[← Lesson {int(path.name[:2])} · ")
    for link in re.findall(r"\]\(([^)]+\.ipynb)\)", path.read_text("utf-8")):
        assert (path.parent / link).is_file(), link
    assert 2 <= len(asked(path)) <= 4
    text = "\n".join(cell.source for cell in notebook.cells)
    assert "<solution>" not in text
    solved = cells(NOTEBOOKS / "solutions" / path.name, "code")
    assert text.count("# Your turn") == len(PART.findall("\n".join(solved))) >= len(asked(path))
    for with_solution, without in zip(solved, cells(path, "code"), strict=True):
        for _, lines in PART.findall(with_solution):
            assert not set(lines.splitlines()) & set(without.splitlines())
            assert lines.strip() in text, "folded up, the solution is on the page"
    folds = re.findall(
        r"<details>\n<summary>([^<]+)</summary>\n\n(.+?)\n\n</details>", text, re.DOTALL
    )
    assert [title for title, _ in folds] == ["Hint 1", "Hint 2", "Solution"] * len(asked(path))


@pytest.mark.parametrize("path", [*SOLUTIONS, *PAGES], ids=lambda path: "/".join(path.parts[-2:]))
def test_a_page_is_committed_clean(path: Path) -> None:
    text = path.read_text("utf-8")
    for trick in ("sys.path", "PYTHONPATH", "%cd", "os.chdir", "/home/", "/Users/", "C:\\\\"):
        assert trick not in text
    for cell in json.loads(text)["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_stale_missing_and_orphaned_pages_are_noticed(tmp_path: Path, capsys) -> None:
    for folder in ("solutions", "exercises"):
        shutil.copytree(NOTEBOOKS / folder, tmp_path / folder)
    first, second = (tmp_path / "exercises" / path.name for path in PAGES[:2])
    first.write_text(first.read_text("utf-8").replace("Your turn", "My turn"), "utf-8")
    second.unlink()
    assert main(["--check"], tmp_path) == 1
    said = capsys.readouterr().out
    assert f"{first.name} is stale" in said
    assert f"{second.name} is stale" in said
    assert len(said.splitlines()) == 2
    assert main([], tmp_path) == 0
    assert main(["--check"], tmp_path) == 0
    (tmp_path / "solutions" / PAGES[2].name).unlink()
    capsys.readouterr()
    assert main(["--check"], tmp_path) == 1
    assert f"{PAGES[2].name} has no solution" in capsys.readouterr().out


def test_the_tool_says_so_in_its_exit_code() -> None:
    tool = str(ROOT / "tools" / "make_exercises.py")
    done = subprocess.run([sys.executable, tool, "--check"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_stands_between_the_markers_becomes_dots() -> None:
    code = "a = 1\n# <solution>\nb = 2\nc = (\n    b\n)\n# </solution>\nprint(c)"
    turn = "# Your turn: as many lines as you like, the last of them like this one."
    assert unsolved(code) == f"a = 1\n{turn}\nc = ...\nprint(c)"
    code = 'def f(x):\n    """Double."""\n    # <solution>\n    return 2 * x\n    # </solution>'
    assert unsolved(code) == f'def f(x):\n    """Double."""\n    {turn}\n    return ...'
    code = "a = []\n# <solution>\nb = 2\na.append(b)\n# </solution>"
    assert unsolved(code) == "a = []\n# Your turn: as many lines as you like.\n..."
    assert unsolved("print(1)") == "print(1)"


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("# <solution>\na = 1", "partner"),
        ("a = 1\n# </solution>", "partner"),
        ("# <solution>\nimport a\n# </solution>", "neither"),
        ("# <solution>\n# </solution>", "neither"),
    ],
)
def test_a_solution_that_cannot_be_taken_out_is_refused(code: str, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        unsolved(code)


def test_outputs_stay_with_the_solution_and_explanations_are_folded(tmp_path: Path) -> None:
    new = nbformat.v4
    output = new.new_output("stream", name="stdout", text="forty-two")
    folds = "**Hint 1.** Six.\n\n**Hint 2.** Six times?\n\n**Solution.** It is *so*.\n\nReally."
    cells = [
        new.new_markdown_cell("# 9 · Count: solutions"),
        new.new_code_cell("# <solution>\na = 6 * 7\n# </solution>", outputs=[output]),
        new.new_markdown_cell(folds),
        new.new_markdown_cell("## 2 · Next"),
    ]
    cells[1].execution_count = 1
    path = tmp_path / "09_count.ipynb"
    nbformat.write(new.new_notebook(cells=cells), path)
    made = page(path)
    assert "forty-two" not in made
    title, code, folded, text = ("".join(cell["source"]) for cell in json.loads(made)["cells"])
    assert (title, text) == ("# 9 · Count: exercises", "## 2 · Next")
    assert "6 * 7" not in code
    assert folded == (
        "<details>\n<summary>Hint 1</summary>\n\nSix.\n\n</details>\n\n"
        "<details>\n<summary>Hint 2</summary>\n\nSix times?\n\n</details>\n\n"
        "<details>\n<summary>Solution</summary>\n\n```python\na = 6 * 7\n```\n\n"
        "It is *so*.\n\nReally.\n\n</details>"
    )
    path.write_text(path.read_text("utf-8").replace("# <solution>", "#"), "utf-8")
    with pytest.raises(ValueError, match="partner"):
        page(path)
