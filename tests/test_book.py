"""The book: its pages, its links, what it keeps of the notebooks, and the site in Chromium."""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
from browser import FLAGS, SCREENSHOTS, watched
from conftest import ROOT
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from docs.book.build import (
    BARE,
    WIDGET,
    build,
    contents,
    files,
    for_the_book,
    linked,
    main,
    write_pages,
)
from helpers import TutorialError
from tools.navigation import CONTENTS, lessons

WORD = "zugzwang"  # is in no lesson
EXTRA = f"""The word {WORD}; the mean is $\\frac{{1}}{{n}}\\sum_i x_i$, in display

$$\\sqrt{{2}} \\approx 1.414$$

See [the package](../helpers/data.py), [the demo](../app/demo.ipynb) and `no [link](nowhere.md)`.
"""
# In Python itself, so that the programs which the build starts are watched too.
WATCH = """
import socket
from pathlib import Path

def refuse(*arguments, **options):
    Path({note!r}).write_text(str(arguments))
    raise OSError("there is no network")

socket.getaddrinfo = socket.socket.connect = refuse
"""


def cell(kind: str, source: str, name: str = "c", **more) -> dict:
    more |= {"outputs": [], "execution_count": None} if kind == "code" and not more else {}
    return {"cell_type": kind, "id": name, "metadata": {}, "source": source, **more}


def write_notebook(path: Path, *cells: dict, **metadata) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    notebook = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(notebook), "utf-8")


def an_output() -> list[dict]:
    """Return what a cell that prints, draws, shows a table and a widget has below it."""
    picture = io.BytesIO()
    Image.new("L", (600, 300), 128).save(picture, "PNG")
    shown = [
        {"image/png": base64.b64encode(picture.getvalue()).decode(), "text/plain": "<Figure>"},
        {"text/html": "<table><tr><td>a table's cell</td></tr></table>", "text/plain": "a table"},
        {WIDGET: {"model_id": "abc"}, "text/plain": "HBox(children=(IntSlider(value=1),))"},
    ]
    display = [{"output_type": "display_data", "metadata": {}, "data": data} for data in shown]
    return [{"output_type": "stream", "name": "stdout", "text": "printed by the cell\n"}, *display]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The smallest project of which there can be a book."""
    root = tmp_path.resolve() / "project"
    write_notebook(root / "notebooks" / CONTENTS, cell("markdown", "# Contents"))
    write_notebook(
        root / "notebooks" / "01_look.ipynb",
        cell("markdown", "# 1 · Look\n\nBack to the [contents](00_contents.ipynb).", "a"),
        cell("code", "1 + 1", "b"),
        cell("markdown", "[Contents](00_contents.ipynb)", "nav"),
    )
    return root


def test_all_lessons_are_in_it_each_with_its_exercises() -> None:
    toc = contents()
    names = files(toc)
    assert len(names) == len(set(names))
    assert [name for name in names if not (ROOT / name).is_file()] == []
    notebooks = [path.relative_to(ROOT).as_posix() for path in ROOT.glob("notebooks/**/*.ipynb")]
    assert set(notebooks) <= set(names)
    assert {"README.md", "dataset/README.md", "models/README.md"} <= set(names)
    course = [name for name in names if re.fullmatch(r"notebooks/\d\d_\w+\.ipynb", name)]
    assert course == [f"notebooks/{CONTENTS}", *(f"notebooks/{p.name}" for p in lessons())]
    for name in names:
        if name.startswith("notebooks/exercises/"):
            lesson = name.replace("exercises/", "")
            assert names.index(name) == names.index(lesson) + 1


def test_pages_around_the_lessons_are_taken_up_where_there_are_some(project: Path) -> None:
    around = ["README.md", "docs/data.md", "docs/instructors.md", "app/README.md"]
    for name in around:
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text("# A page\n", "utf-8")
    names = files(contents(project))
    assert names == [f"notebooks/{CONTENTS}", "notebooks/01_look.ipynb", *around]


def test_links_lead_to_pages_and_files_and_nowhere_else(project: Path) -> None:
    (project / "helpers").mkdir()
    (project / "helpers" / "data.py").touch()
    (project / "notes.md").touch()
    page = project / "notebooks" / "01_look.ipynb"
    text = (
        "[up](00_contents.ipynb#here) [far](https://example.org/x) [code](../helpers/data.py)"
        " [folder](../helpers) [not a page](../notes.md) [here](#look)\n"
        "`[no](link.md)`\n```\n[nor](this.md)\n```\n"
    )
    done, needed = linked(text, page, project, files(contents(project)))
    assert done == text.replace("[folder](../helpers)", "folder").replace(
        "[not a page](../notes.md)", "not a page"
    )
    assert needed == {project / "helpers" / "data.py"}


@pytest.mark.parametrize("to", ["gone.ipynb", "../models/none.md", "../../outside.txt"])
def test_a_link_that_leads_nowhere_ends_it_in_one_sentence(project: Path, to: str, capsys) -> None:
    (project.parent / "outside.txt").touch()
    path = project / "notebooks" / "01_look.ipynb"
    write_notebook(path, cell("markdown", f"# 1 · Look\n\n[There]({to}) it is."))
    output = project / "build" / "book"
    assert main(["--output", str(output)], project) == 1
    (said,) = capsys.readouterr().err.strip().splitlines()
    assert said == (
        f"Failed: notebooks/01_look.ipynb: the link to {to} leads nowhere. Correct it there."
    )
    assert list(output.parent.iterdir()) == []


def test_a_notebook_loses_its_links_and_widgets_and_begins_with_its_title() -> None:
    notebook = {
        "cells": [
            cell("markdown", ["[← Lesson](x)\n", "\n", "# 1 · Look\n", "\n", "Four tasks."]),
            cell("code", "draw()", outputs=an_output()),
            cell("markdown", "[Contents](00_contents.ipynb)", "nav"),
        ],
        "metadata": {"widgets": {"state": {}}, "kernelspec": {"name": "python3"}},
    }
    made = for_the_book(notebook)
    assert [c["cell_type"] for c in made["cells"]] == ["markdown", "code"]
    assert made["cells"][0]["source"] == "# 1 · Look\n\n[← Lesson](x)\n\nFour tasks."
    assert made["cells"][1]["outputs"] == an_output()[:-1]
    assert set(made["metadata"]) == {"kernelspec", "language_info"}


def test_a_picture_keeps_its_alternative_text() -> None:
    picture = an_output()[1]
    data = picture["data"]["image/png"]
    picture["metadata"] = {"image/png": {"alt": 'Who is "in"?'}}
    made = for_the_book({"cells": [cell("code", "draw()", outputs=[picture])], "metadata": {}})
    (output,) = made["cells"][0]["outputs"]
    assert output["data"] == {
        "text/html": f'<img alt="Who is &quot;in&quot;?" src="data:image/png;base64,{data}">'
    }


def test_the_first_page_says_when_there_are_no_outputs(project: Path, tmp_path: Path) -> None:
    for outputs in ([], an_output()):
        page = project / "notebooks" / "01_look.ipynb"
        write_notebook(page, cell("markdown", "# 1 · Look"), cell("code", "1", outputs=outputs))
        write_pages(tmp_path / "pages", contents(project), project)
        cells = json.loads((tmp_path / "pages/notebooks" / CONTENTS).read_text("utf-8"))["cells"]
        assert "`python start.py` opens them all" in cells[1]["source"]
        assert (BARE in cells[1]["source"]) == (not outputs)


def test_what_jupyter_book_complains_of_ends_it_and_the_book_of_before_stands(
    project: Path, capsys
) -> None:
    write_notebook(
        project / "notebooks" / "01_look.ipynb",
        cell("markdown", "# 1 · Look\n\n[There](00_contents.ipynb#no-such-heading): $\\bogus{x}$."),
    )
    output = project / "build" / "book"
    output.mkdir(parents=True)
    (output / "searchindex.js").touch()
    assert main(["--output", str(output)], project) == 1
    said = capsys.readouterr().err.removeprefix("\nFailed: ").splitlines()
    assert all(line.startswith("notebooks/01_look.ipynb: ") for line in said), said
    assert any("no-such-heading" in line for line in said)
    assert any(r"the formula '\\bogus{x}' cannot be drawn" in line for line in said)
    assert len(said) == 2
    assert [path.name for path in output.parent.rglob("*")] == ["book", "searchindex.js"]


def test_a_folder_of_the_learners_is_not_replaced(project: Path, capsys) -> None:
    assert main(["--output", str(project)], project) == 1
    assert "is there and no book: name another folder" in capsys.readouterr().err
    assert (project / "notebooks" / CONTENTS).is_file()


def test_without_jupyter_book_it_says_how_to_get_it(project: Path, monkeypatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TutorialError, match=r"`python start\.py book` installs it"):
        build(project / "build", project)


@pytest.mark.skipif(os.name == "nt", reason="Windows sends Ctrl-C to a console, not to a process")
def test_ctrl_c_ends_it_in_one_line(tmp_path: Path) -> None:
    script = str(ROOT / "docs" / "book" / "build.py")
    command = [sys.executable, script, "--output", str(tmp_path / "book")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as child:
        assert child.stdout.readline().startswith("Building the book")
        os.killpg(child.pid, signal.SIGINT)
        _, errors = child.communicate(timeout=60)
    assert child.returncode == 130
    assert errors == "\nStopped; what was in its place before is still there.\n"
    assert list(tmp_path.iterdir()) == []


def ours(folder: str, names: list[str]) -> set[str]:
    """Return what of a folder of the project is not copied: the learner's, and what is made."""
    if Path(folder) == ROOT / "dataset":
        return {name for name in names if name != "README.md" and "ferplus" not in name}
    made = {"build", "runs", "wheels", "__pycache__"}
    return {name for name in names if name in made or name.startswith(".") or "model.h5" in name}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the book of a copy of this project, in which one lesson has outputs."""
    folder = tmp_path_factory.mktemp("book").resolve()
    copy = shutil.copytree(ROOT, folder / "a copy", ignore=ours)
    lesson = copy / "notebooks" / lessons()[1].name
    notebook = json.loads(lesson.read_text("utf-8"))
    first = next(c for c in notebook["cells"] if c["cell_type"] == "code")
    first |= {"outputs": an_output(), "execution_count": 1}
    notebook["cells"].insert(1, cell("markdown", EXTRA, "extra"))
    state = {"version_major": 2, "version_minor": 0, "state": {}}
    notebook["metadata"]["widgets"] = {"application/vnd.jupyter.widget-state+json": state}
    lesson.write_text(json.dumps(notebook), "utf-8")
    watch = folder / "watch"
    watch.mkdir()
    note = watch / "asked.txt"
    (watch / "sitecustomize.py").write_text(WATCH.format(note=str(note)), "utf-8")
    done = subprocess.run(
        [sys.executable, "docs/book/build.py"],
        cwd=copy,
        env=dict(os.environ, PYTHONPATH=str(watch), PYTHONUTF8="1"),
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    page = copy / "build" / "book" / "index.html"
    assert done.stdout.splitlines()[-1].endswith(page.as_uri())
    assert done.stderr == ""
    assert not note.exists(), note.read_text("utf-8")
    assert [path.name for path in (copy / "build").iterdir()] == ["book"]
    return page.parent


@pytest.mark.browser
def test_no_link_on_any_page_is_dead_and_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    paths = [path for path in site.rglob("*.html") if "_static" not in path.parts]
    pages = {path: path.read_text("utf-8") for path in paths}
    assert len(pages) > 15
    ids = {path: set(re.findall(r'\bid="([^"]+)"', text)) for path, text in pages.items()}
    dead = []
    for path, text in pages.items():
        for to in re.findall(r'\b(?:href|src)="([^"]+)"', text):
            if to.startswith(("https:", "mailto:", "data:")):
                continue
            file, _, anchor = unquote(to).partition("#")
            target = (path.parent / file.partition("?")[0]).resolve() if file else path
            if not target.is_file() or (anchor and anchor not in ids.get(target, {anchor})):
                dead.append(f"{path.name}: {to}")
        loaded = re.findall(r'(?:src=|<link[^>]*href=)"(?:https?:)?//[^"]*"', text)
        assert loaded == [], path.name
        assert not re.search(r"unpkg|jsdelivr|cdnjs|mybinder", text), path.name
    assert dead == []


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page; whatever is opened in it makes no complaint and asks for files only."""
    missing = []
    with watched(browser, ("file:", "data:", "blob:"), color_scheme="light") as page:
        page.on("requestfailed", lambda r: missing.append(r.url))
        yield page
    assert missing == []


def picture(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"book_{name}.png")


def fits(page: Page) -> bool:
    """Say whether the page need not be scrolled sideways."""
    root = "document.documentElement"
    return page.evaluate(f"{root}.scrollWidth <= {root}.clientWidth")


def title(path: Path) -> str:
    """Return the title of a notebook, without what tells an exercise from its lesson."""
    text = "".join(json.loads(path.read_text("utf-8"))["cells"][0]["source"])
    return re.search(r"^# (.+)", text, re.MULTILINE)[1]


@pytest.mark.browser
def test_from_the_contents_to_a_lesson_its_exercises_and_their_solutions(
    site: Path, page: Page
) -> None:
    first, second = lessons()[:2]
    page.goto((site / "index.html").as_uri())
    heading = page.locator("article h1")
    expect(heading).to_contain_text("Contents")
    article = page.locator("article.bd-article")
    expect(article).to_contain_text("python start.py")
    expect(article).not_to_contain_text(BARE)
    picture(page, "contents")

    article.get_by_role("link", name=title(first), exact=True).click()
    expect(heading).to_contain_text(title(first))
    expect(article.get_by_role("link", name="Contents", exact=True)).to_have_count(0)
    expect(
        article.locator(".cell_input .highlight-ipython3 .k, .cell_input .kn").first
    ).to_be_visible()
    picture(page, "lesson")
    page.locator(".prev-next-footer .right-next").click()
    expect(heading).to_contain_text(f"{title(first)}: exercises")
    article.get_by_role("link", name="Solutions").first.click()
    expect(heading).to_contain_text(f"{title(first)}: solutions")
    page.go_back()
    page.locator(".prev-next-footer .right-next").click()
    expect(heading).to_contain_text(title(second))


@pytest.mark.browser
def test_a_word_is_found_and_its_lesson_has_outputs_and_formulas(site: Path, page: Page) -> None:
    lesson = lessons()[1]
    page.goto((site / "notebooks" / f"{lessons()[0].stem}.html").as_uri())
    page.keyboard.press("Control+k")
    page.keyboard.type(WORD)
    page.keyboard.press("Enter")
    found = page.locator("#search-results li a")
    expect(found).to_have_count(1)
    picture(page, "search")
    found.click()
    expect(page.locator("article h1")).to_contain_text(title(lesson))

    output = page.locator(".cell_output").first
    expect(output).to_contain_text("printed by the cell")
    expect(output.get_by_role("cell", name="a table's cell")).to_be_visible()
    drawn = page.locator(".cell_output img").first
    assert drawn.evaluate("image => image.naturalWidth") == 600
    assert "HBox(" not in page.content()
    formulas = page.locator("article math")
    expect(formulas).to_have_count(2)
    for formula in formulas.all():
        box = formula.bounding_box()
        assert box["height"] > 15, "it is not drawn as a formula"
    expect(formulas.first.locator("mfrac")).to_have_count(1)
    page.get_by_role("link", name="the package").click()
    expect(page).to_have_url(re.compile(r"/_downloads/\w+/data\.py$"))


@pytest.mark.browser
def test_it_fits_a_telephone_and_a_dark_room(site: Path, page: Page) -> None:
    address = (site / "notebooks" / f"{lessons()[1].stem}.html").as_uri()
    page.goto(address)
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.emulate_media(color_scheme="dark")
    page.reload()
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert [sum(map(int, re.findall(r"\d+", c)[:3])) > 384 for c in (light, dark)] == [True, False]
    picture(page, "dark")
    page.set_viewport_size({"width": 390, "height": 844})
    for name in (address, (site / "models" / "README.html").as_uri()):
        page.goto(name)
        assert fits(page), name
    picture(page, "narrow")
