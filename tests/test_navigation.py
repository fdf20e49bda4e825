"""The links and tables of the lessons are fresh, and what is stale or leads nowhere is noticed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from conftest import ROOT

import start
from tools.navigation import CONTENTS, lessons, main


def test_the_project_is_fresh() -> None:
    assert main(["--check"]) == 0


def test_lab_opens_on_the_contents() -> None:
    (opened,) = re.findall(r"default_url=/lab/tree/(\S+)", start.LAB)
    assert (ROOT / opened).is_file()
    assert opened == f"notebooks/{CONTENTS}"


def write_notebook(path: Path, *sources: str) -> None:
    cells = [
        {"cell_type": "markdown", "id": f"c{k}", "metadata": {}, "source": [source]}
        for k, source in enumerate(sources)
    ]
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(notebook), "utf-8")


def row(lesson: Path) -> str:
    return f"| [old](notebooks/{lesson.name}) | out of {lesson.stem[:2]} | 7.5 |"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Three lessons, a contents page and a README, none of which knows of the others yet."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    write_notebook(folder / CONTENTS, "# Contents")
    for name, minutes in (("01_look", "20 minutes"), ("02_think", "an hour"), ("03_go", "5")):
        number, _, verb = name.partition("_")
        head = f"# {int(number)} · {verb.title()} well\n\n**Time:** about {minutes} to read."
        write_notebook(folder / f"{name}.ipynb", head, "The end.")
    table = "\n".join(["| lesson |", "|---|", *map(row, lessons(tmp_path))])
    text = f"Before\n\n<!-- lessons -->\n\n{table}\n\n<!-- /lessons -->\n\nAfter\n"
    (tmp_path / "README.md").write_text(text, "utf-8")
    return tmp_path


def last_cell(path: Path) -> str:
    return "".join(json.loads(path.read_text("utf-8"))["cells"][-1]["source"])


def test_every_lesson_gets_its_neighbours_and_both_tables_the_same_rows(project: Path) -> None:
    assert main(["--check"], project) == 1
    assert main([], project) == 0
    assert main(["--check"], project) == 0
    first, second, third = lessons(project)
    contents = f"[Contents]({CONTENTS})"
    assert last_cell(first) == f"{contents} | [2 · Think well](02_think.ipynb) →"
    assert last_cell(second) == (
        f"← [1 · Look well](01_look.ipynb) | {contents} | [3 · Go well](03_go.ipynb) →"
    )
    assert last_cell(third) == f"← [2 · Think well](02_think.ipynb) | {contents}"
    readme = (project / "README.md").read_text("utf-8")
    assert "| [2 · Think well](notebooks/02_think.ipynb) | out of 02 | 60 | 7.5 |" in readme
    assert (readme[:9], readme[-8:]) == ("Before\n\n<", "\n\nAfter\n")
    table = last_cell(project / "notebooks" / CONTENTS)
    assert "| [3 · Go well](03_go.ipynb) | out of 03 | 5 | 7.5 |" in table


@pytest.mark.parametrize(
    ("old", "new"),
    [("(03_go.ipynb)", "(03_gone.ipynb)"), ("# 2 · Think", "# 2 · Doubt"), ("hour", "age")],
)
def test_a_broken_link_a_new_title_and_lost_minutes_are_noticed(
    project: Path, old: str, new: str, capsys: pytest.CaptureFixture
) -> None:
    main([], project)
    path = project / "notebooks" / "02_think.ipynb"
    path.write_text(path.read_text("utf-8").replace(old, new, 1), "utf-8")
    capsys.readouterr()
    if new == "age":
        with pytest.raises(SystemExit, match=r"02_think.ipynb must open with .*Time"):
            main(["--check"], project)
        return
    before = {file: file.read_bytes() for file in project.rglob("*.*")}
    assert main(["--check"], project) == 1
    assert "is stale" in capsys.readouterr().out
    assert {file: file.read_bytes() for file in before} == before, "--check writes nothing"
    assert main([], project) == 0


def test_a_link_in_the_text_that_leads_nowhere_is_named(project: Path, capsys) -> None:
    page = project / "notebooks" / "01_look.ipynb"
    write_notebook(
        page,
        "# 1 · Look well\n\n**Time:** about 3 minutes.",
        "[up](../README.md#lessons), [far](https://example.org/x), [gone](../models/none.md)",
    )
    assert main([], project) == 1
    assert "01_look.ipynb: ../models/none.md is not there" in capsys.readouterr().out
    assert main(["--check"], project) == 1


def test_links_stay_the_last_cell(project: Path) -> None:
    main([], project)
    path = lessons(project)[0]
    notebook = json.loads(path.read_text("utf-8"))
    notebook["cells"].append(notebook["cells"][1] | {"id": "exercise"})
    path.write_text(json.dumps(notebook), "utf-8")
    main([], project)
    assert last_cell(path).endswith("→")
    ids = [cell["id"] for cell in json.loads(path.read_text("utf-8"))["cells"]]
    assert ids == ["c0", "c1", "exercise", "nav"]


def test_a_new_lesson_without_a_row_gets_a_sentence(project: Path) -> None:
    head = "# 4 · Rest well\n\n**Time:** about 1 minute."
    write_notebook(project / "notebooks" / "04_rest.ipynb", head)
    with pytest.raises(SystemExit, match=r"needs a row .*04_rest.ipynb"):
        main([], project)
