"""Every notebook runs alone, from a fresh start, on toy faces and on FER-2013."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from browser import NOBODY, OPENED
from conftest import ROOT, find_chromium

from tools.navigation import lessons
from tools.run_notebooks import NotebookError, execute, kernel_environment, write_page
from tools.save_outputs import (
    LEFT_OUT,
    MACHINE,
    MOST_BYTES,
    VIEW,
    pictured,
    tags,
    written,
)

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LESSONS = lessons()
STDERR_LINES = 9  # TensorFlow says six as it is imported; more would be a wall of warnings
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
TAKEN_HOME = "_on_your_own"  # has neither data nor helpers: test_on_your_own.py runs it
WITH_HELPERS = [path for path in LESSONS if not path.stem.endswith(TAKEN_HOME)]
each_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
each_with_helpers = pytest.mark.parametrize("path", WITH_HELPERS, ids=lambda path: path.stem)


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if "__pycache__" not in path.parts}


def streams(notebook: nbformat.NotebookNode, name: str) -> str:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.text for output in outputs if output.get("name") == name)


def assert_is_tagged(cell: nbformat.NotebookNode) -> None:
    """A person has decided whether the cell's pictures may be published, and knows its widgets."""
    for data in (output.get("data", {}) for output in cell.outputs):
        if pictured(data):
            assert {"shareable", "private"} & set(tags(cell)), f"{cell.id}: {cell.source}"
        if VIEW in data and "%|" not in data["text/plain"]:  # a progress bar needs no still
            assert "widget" in tags(cell), f"{cell.id}: {cell.source}"


def assert_that_it_ran(notebook: nbformat.NotebookNode, number: str, shown: str) -> None:
    """All cells ran, say which images they were shown, and complain of nothing."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    assert code
    assert all(cell.execution_count for cell in code), "a cell was left out"
    for cell in code:
        assert_is_tagged(cell)
    errors = streams(notebook, "stderr")
    assert len(errors.splitlines()) <= STDERR_LINES, errors
    if number not in ("02", "06", "07"):  # they show portraits, and need no data set
        assert shown in streams(notebook, "stdout"), "it does not say what it was shown"


def run_alone(path: Path, dataset: Path, shown: str, **variables: str) -> None:
    """Execute a notebook as a learner would who opens it first of all."""
    before = path.read_bytes()
    variables |= {"TUTORIAL_PROFILE": "quick", "HTTPS_PROXY": NOBODY}
    env = kernel_environment(TUTORIAL_DATASET=str(dataset)) | variables
    assert_that_it_ran(execute(path, env), path.stem[:2], shown)
    assert path.read_bytes() == before


@pytest.mark.notebook
@each_with_helpers
def test_runs_alone_on_fer2013(path: Path, tmp_path: Path, fer2013_zip: Path) -> None:
    run_alone(path, fer2013_zip, "FER-2013", TUTORIAL_RUNS=str(tmp_path))


@pytest.mark.notebook
@each_with_helpers
def test_runs_alone_on_toy_faces_beside_an_installed_project(
    path: Path, tmp_path: Path, toy_folder: Path, installed: Path
) -> None:
    """As in a hosted notebook: what it trains goes to a folder of the user's."""
    if path.stem in OPENED and find_chromium():
        pytest.skip("test_browser.py runs it on them, and sees the same")
    copy = Path(shutil.copy(path, tmp_path))
    before = files(installed)
    places = {"PYTHONPATH": str(installed), "HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    run_alone(copy, toy_folder, "toy faces", TUTORIAL_RUNS="", **places)
    assert files(installed) == before
    made = {found.name for found in tmp_path.iterdir() if not found.name.startswith(".")}
    assert made <= {path.name, "emotion-detection"}


@each_notebook
def test_committed_outputs_are_whole_and_ours_to_share(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert "widgets" not in notebook.metadata
    assert not any(cell.get("attachments") for cell in notebook.cells)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    counts = [cell.execution_count for cell in code if cell.execution_count]
    assert counts == list(range(1, len(counts) + 1))  # one that was added later has none
    assert path.stat().st_size <= MOST_BYTES
    for cell in code:
        assert not cell.outputs or cell.execution_count, "an output of another run"
        if "private" in tags(cell):
            assert [output.text for output in cell.outputs] in ([], [LEFT_OUT])
        for output in cell.outputs:
            assert output.output_type in ("stream", "display_data", "execute_result")
            data = output.get("data", {})
            assert set(data) <= {"text/plain", "text/html", "image/png", "image/jpeg"}
            assert not pictured(data) or "shareable" in tags(cell)
            assert not MACHINE.search(written(output))


@each_lesson
def test_a_picture_stands_below_each_widget(path: Path) -> None:
    """A reader without a running Python sees it too, in one of the next five cells."""
    cells = nbformat.read(path, as_version=4).cells
    for number, widget in enumerate(cells):
        if "widget" in tags(widget) and "private" not in tags(widget):
            below = cells[number + 1 : number + 6]
            still = "](../docs/assets/"
            shown = ["shareable" in tags(cell) or still in cell.source for cell in below]
            assert any(shown), f"none below {widget.id}"


@each_notebook
def test_needs_no_path_tricks_and_names_no_machine(path: Path) -> None:
    text = path.read_text("utf-8")
    for trick in ("sys.path", "PYTHONPATH", "%cd", "os.chdir", "/home/", "/Users/", "C:\\\\"):
        assert trick not in text


def test_they_are_numbered_without_a_gap() -> None:
    numbers = [int(path.name[:2]) for path in LESSONS]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= 6


def write_notebook(path: Path, *cells: str) -> Path:
    new = nbformat.v4
    body = [new.new_markdown_cell("# A lesson"), *map(new.new_code_cell, cells)]
    nbformat.write(new.new_notebook(cells=body), path)
    return path


def test_a_failing_cell_is_named(tmp_path: Path) -> None:
    path = write_notebook(tmp_path / "07_bad.ipynb", "a = 1", "b = 0\na / b", "never = 1")
    with pytest.raises(NotebookError) as caught:
        execute(path)
    assert str(caught.value) == (
        "07_bad.ipynb, code cell 2 of 3 (`b = 0`): ZeroDivisionError: division by zero"
    )


def test_a_kernel_that_dies_is_noticed(tmp_path: Path) -> None:
    path = write_notebook(tmp_path / "07_dead.ipynb", "import os\nos._exit(3)")
    with pytest.raises(NotebookError, match=r"code cell 1 of 1 .*the kernel died"):
        execute(path)


def test_no_reply_is_missed_while_a_widget_is_answered(tmp_path: Path) -> None:
    cell = (
        "import ipywidgets\n"
        "for number in range(3):\n"
        "    slider = ipywidgets.IntSlider(number)\n"
        "    display(ipywidgets.interactive_output(print, {'end': slider}))"
    )
    notebook = execute(write_notebook(tmp_path / "07_sliders.ipynb", *[cell] * 40))
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")


def test_the_kernel_is_this_python_beside_the_notebook_with_helpers(tmp_path: Path) -> None:
    path = write_notebook(
        tmp_path / "07_where.ipynb",
        "import os, sys, helpers\nprint(sys.executable, os.getcwd(), helpers.__file__, sep='|')",
    )
    seen = []
    notebook = execute(path, progress=lambda cell, of: seen.append((cell, of)))
    executable, folder, helpers = streams(notebook, "stdout").strip().split("|")
    assert Path(executable) == Path(sys.executable)
    assert Path(folder).resolve() == tmp_path.resolve()
    assert Path(helpers).resolve() == (ROOT / "helpers" / "__init__.py").resolve()
    assert seen == [(1, 1)]


def test_pages_are_whole_and_end_at_the_first_failure(tmp_path: Path) -> None:
    good = write_notebook(tmp_path / "01_good.ipynb", "print('six times', 7)")
    linked = nbformat.read(good, as_version=4)
    linked.cells[0].source = "[next](02_bad.ipynb) and [a task](exercises/01.ipynb)"
    nbformat.write(linked, good)
    bad = write_notebook(tmp_path / "02_bad.ipynb", "raise ValueError('no such thing')")
    last = write_notebook(tmp_path / "03_last.ipynb", "1")
    pages = tmp_path / "pages"
    pages.mkdir()
    (pages / "02_bad.html").write_text("of an earlier run")
    tool = str(ROOT / "tools" / "run_notebooks.py")
    command = [sys.executable, tool, "--output", str(pages), str(good), str(bad), str(last)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert "02_bad.ipynb, code cell 1 of 1" in done.stderr
    assert "ValueError: no such thing" in done.stderr
    assert "Traceback" not in done.stderr
    assert "01_good: cell 1 of 1" in done.stdout
    assert "together" in done.stdout
    assert [page.name for page in pages.iterdir()] == ["01_good.html"]
    html = (pages / "01_good.html").read_text("utf-8")
    assert "six times 7" in html
    assert 'href="02_bad.html"' in html, "pages link to pages, which lie beside them"
    assert 'href="exercises/01.ipynb"' in html
    assert "TUTORIAL_PROFILE=standard" in html
    assert html.rstrip().endswith("</html>")


@pytest.mark.parametrize(("end", "shown"), [("raise ValueError", False), ("os._exit(1)", True)])
def test_what_a_kernel_writes_past_its_cells_is_shown_if_it_died(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], end: str, shown: bool
) -> None:
    # Under pytest a kernel leaves descriptor 2 as it is, so this passes its cell by.
    source = f"import os\nos.write(2, b'Traceback: no such socket')\n{end}"
    with pytest.raises(NotebookError):
        execute(write_notebook(tmp_path / "chatty.ipynb", source))
    assert ("no such socket" in capfd.readouterr().err) == shown


def test_a_notebook_that_is_not_there_gets_a_sentence(tmp_path: Path) -> None:
    tool = str(ROOT / "tools" / "run_notebooks.py")
    done = subprocess.run([sys.executable, tool, "99.ipynb"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip() == "Failed: There is no notebook 99.ipynb; name .ipynb files."


def test_a_page_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch) -> None:
    page = tmp_path / "01.html"
    page.write_text("the old page")

    def full_disk(*args, **kwargs):
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_text", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_page(nbformat.v4.new_notebook(), "01", tmp_path)
    assert page.read_text() == "the old page"
