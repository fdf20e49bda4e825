"""The pages around the lessons keep their word: links, sentences, minutes and the examples."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from test_structure import ROOMS

import evaluate_model
import train_model

PAGES = [path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob("docs/*.md"))]
CARDS = ("CONTRIBUTING.md", "app/README.md", "dataset/README.md", "models/README.md")
README = (ROOT / "README.md").read_text("utf-8")


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(text: str) -> set[str]:
    """Return what GitHub calls the headings of a page in links."""
    titles = re.findall(r"^#+ (.+)$", without_code(text), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", ["README.md", *PAGES, *CARDS])
def test_every_link_leads_somewhere(page: str) -> None:
    text = without_code((ROOT / page).read_text("utf-8"))
    for place in re.findall(r"\]\(([^)\s]+)\)", text):
        if place.startswith("https://"):
            continue
        file, _, anchor = place.partition("#")
        target = (ROOT / page).parent / file if file else ROOT / page
        assert target.exists(), place
        if anchor:
            assert anchor in anchors(target.read_text("utf-8")), place


def test_the_readme_leads_to_every_page() -> None:
    for page in (*PAGES, *CARDS, "LICENSE", "CITATION.cff"):
        assert f"]({page}" in README


def said() -> list[str]:
    """Return every text in the code, with … for what is filled in when it is printed."""
    found = []
    for path in (path for room in (".", *ROOMS) for path in (ROOT / room).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (part.value for part in node.values)
                found.append("".join(part if isinstance(part, str) else "…" for part in parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    for path in ROOT.glob("app/*.js"):
        joined = re.sub(r'["`] \+\s*["`]', "", path.read_text("utf-8"))
        found.append(re.sub(r"\$\{.*?\}", "…", joined))
    return found


def test_the_headings_of_troubleshooting_are_what_the_code_says() -> None:
    text = (ROOT / "docs/troubleshooting.md").read_text("utf-8")
    headings = re.findall(r"^### (.+)$", text, flags=re.MULTILINE)
    assert len(headings) > 15
    known = said()
    longest = {
        line: max((part.strip(" .:;,()") for part in line.split("…")), key=len) for line in headings
    }
    missing = [line for line, part in longest.items() if not any(part in text for text in known)]
    assert missing == [], "not said like that any more"


ROW = re.compile(r"\([./]*notebooks/(\d\d_\w+)\.ipynb\)[^|]*\|(?:[^|]*\|)??\s*(\d+) \| ([^|]+?) \|")


def test_instructors_are_told_the_minutes_of_the_table() -> None:
    table = README.split("<!-- lessons -->")[1].split("<!-- /lessons -->")[0]
    minutes = {name: times for name, *times in ROW.findall(table)}
    rows = ROW.findall((ROOT / "docs/instructors.md").read_text("utf-8"))
    assert len(rows) > 6
    assert {name: times for name, *times in rows}.items() <= minutes.items()


def example(heading: str) -> tuple[str, list[str]]:
    """Return the Python of a section about the data, and its lines to be typed."""
    text = (ROOT / "docs" / "data.md").read_text("utf-8")
    section = re.split(rf"^##+ {heading}$", text, flags=re.MULTILINE)[1].split("\n## ")[0]
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL)
    (script,) = (text for language, text in blocks if language == "python")
    return script, [line for language, text in blocks if not language for line in text.splitlines()]


def test_classes_of_your_own_are_learnt_as_the_page_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    script, typed = example("Bring your own")
    monkeypatch.chdir(tmp_path)
    exec(compile(script, "draw_shapes.py", "exec"), {})
    draw, train, evaluate, lessons = (line.split() for line in typed)
    assert draw == [".venv/bin/python", "draw_shapes.py"]
    assert train[:2] == [".venv/bin/python", "train_model.py"]
    assert train_model.main([*train[2:], "--epochs", "1", "--images", "48"]) == 0
    assert "On the 120 test images of your own images" in capsys.readouterr().out
    assert evaluate[:2] == [".venv/bin/python", "evaluate_model.py"]
    assert evaluate_model.main([*evaluate[2:], "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert list(result["per_class"]) == ["circle", "square", "triangle"]
    assert result["n"] == 120

    from fetch.loading import load_dataset

    variable, _, folder = lessons[0].partition("=")
    monkeypatch.setenv(variable, folder)
    data = load_dataset()
    assert (data.kind, data.classes, len(data.train)) == ("own", tuple(result["per_class"]), 300)


def test_the_citation_agrees_with_what_it_cites() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    page = (ROOT / "docs" / "history.md").read_text("utf-8")
    (author,) = cited["authors"]
    bibtex = dict(re.findall(r"^  (\w+) += \{+(.*?)\}+,?$", page, flags=re.MULTILINE))
    assert cited["title"] == bibtex["title"] == README.splitlines()[0].removeprefix("# ")
    assert cited["version"] == bibtex["version"] == project["version"]
    assert author["name"] == bibtex["author"]
    holder = re.search(r"Copyright \(c\) (\d+) (.+)", (ROOT / "LICENSE").read_text("utf-8"))
    assert (holder[1], holder[2].lower()) == (bibtex["year"], author["name"].lower())
