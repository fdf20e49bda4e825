"""Build the lessons as a site to read and to search: python start.py book

Jupyter Book gets copies of the pages, in the folders where they lie here, so that the links
between them hold. It runs no cell and needs no network: what a notebook carries in outputs is
shown. The site is put in place whole, so a build that fails or is stopped changes nothing.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))  # for an environment without the `-e .` of requirements.txt

from helpers import BUILD, TutorialError
from tools.navigation import CONTENTS, lessons

CONFIG = ROOT / "docs" / "book" / "_config.yml"
JUPYTER_BOOK = "from jupyter_book.cli.main import main; main()"
WIDGET = "application/vnd.jupyter.widget-view+json"  # an output that shows nothing without a kernel
# A link or a picture; code comes first, because what looks like a link in it is none.
LINK = re.compile(
    r"(?P<code>```.*?```|`[^`\n]*`)|!?\[(?P<text>[^\[\]]*)\]\((?P<to>[^()#\s]+)[^()]*\)", re.DOTALL
)
WARNING = re.compile(
    r"^(?:(.*?)(?::\d+)?: )?(?:WARNING|ERROR|CRITICAL|SEVERE): (.*)$", re.MULTILINE
)
NOTE = """\
```{note}
This is the book of the lessons, to read and to search; nothing runs in it. Where a page speaks of
cells to run, it means the notebook of the same name: `python start.py` opens them all.
```"""
BARE = "The notebooks had no outputs when the book was built, so figures and tables are missing."


def contents(root: Path = ROOT) -> dict:
    """Return the book's table of contents, in the form of Jupyter Book's _toc.yml.

    A lesson is followed by its exercises; the solutions come after all lessons. Further pages that
    are not there are left out.
    """
    notebooks = root / "notebooks"

    def entry(path: Path, title: str = "") -> dict:
        name = path.relative_to(root).as_posix()
        return {"file": name, "title": title} if title else {"file": name}

    course = []
    for path in lessons(root):
        exercises = notebooks / "exercises" / path.name
        below = {"sections": [entry(exercises, "Exercises")]} if exercises.is_file() else {}
        course.append(entry(path) | below)
    solutions = sorted((notebooks / "solutions").glob("*.ipynb"))
    around = [root / "README.md", *sorted(root.glob("docs/*.md")), root / "CONTRIBUTING.md"]
    around += [root / folder / "README.md" for folder in ("app", "dataset", "models")]
    titles = {root / "README.md": "The project"}
    measured = sorted(root.glob("benchmarks/results/*.md"))
    parts = {
        "Lessons": course,
        "Solutions": [entry(path) for path in solutions],
        "Around the lessons": [entry(p, titles.get(p, "")) for p in around if p.is_file()],
        "Measured": [entry(path) for path in measured],
    }
    return {
        "format": "jb-book",
        "root": entry(notebooks / CONTENTS)["file"],
        "parts": [{"caption": name, "chapters": part} for name, part in parts.items() if part],
    }


def files(toc: dict) -> list[str]:
    """Return the files that a table of contents names, in its order."""
    chapters = [chapter for part in toc["parts"] for chapter in part["chapters"]]
    return [
        toc["root"],
        *(e["file"] for chapter in chapters for e in [chapter, *chapter.get("sections", [])]),
    ]


def linked(text: str, page: Path, root: Path, pages: Sequence[str]) -> tuple[str, set[Path]]:
    """Return Markdown whose links work in the book, and the files that they need beside it.

    A link to a page or a picture stays as it is; one to another file becomes a download; of one to
    a folder, or to a page that the book has not, the text remains.

    Raises:
        TutorialError: if a link leads nowhere.
    """
    needed = set()

    def checked(link: re.Match) -> str:
        to = link["to"] or ""
        if link["code"] or "://" in to or to.startswith("mailto:"):
            return link[0]
        target = (page.parent / to).resolve()
        if not (target.exists() and target.is_relative_to(root)):
            name = page.relative_to(root).as_posix()
            raise TutorialError(f"{name}: the link to {to} leads nowhere. Correct it there.")
        if target.relative_to(root).as_posix() in pages:
            return link[0]
        if target.is_dir() or target.suffix in (".ipynb", ".md"):
            return link["text"]
        needed.add(target)
        return link[0]

    return LINK.sub(checked, text), needed


def with_alt(output: dict) -> dict:
    """Return an output whose picture, if it has alternative text, is an HTML image with it."""
    for kind, about in output.get("metadata", {}).items():
        if kind in output.get("data", {}) and about.get("alt"):
            picture = "".join(output["data"][kind]).replace("\n", "")
            image = f'<img alt="{escape(about["alt"])}" src="data:{kind};base64,{picture}">'
            return output | {"data": {"text/html": image}, "metadata": {}}
    return output


def for_the_book(notebook: dict) -> dict:
    """Return a notebook without what only makes sense in JupyterLab.

    That is the links at its end, since the book has its own, and its widgets. Links that stand
    before its title go below it, so that it is the page's title here too. Pictures become HTML,
    since only there the book shows the alternative text in their metadata.
    """
    cells = [cell for cell in notebook["cells"] if cell.get("id") != "nav"]
    for cell in cells:
        kept = [out for out in cell.get("outputs", []) if WIDGET not in out.get("data", {})]
        cell |= {"outputs": [with_alt(out) for out in kept]} if cell["cell_type"] == "code" else {}
    first = "".join(cells[0]["source"])
    cells[0]["source"] = re.sub(r"\A(?!#)(.*?)\n\n(# [^\n]+)", r"\2\n\n\1", first, flags=re.DOTALL)
    metadata = {key: value for key, value in notebook["metadata"].items() if key != "widgets"}
    metadata["language_info"] = {"name": "python", "pygments_lexer": "ipython3"}  # knows %magic
    return notebook | {"cells": cells, "metadata": metadata}


def write_pages(folder: Path, toc: dict, root: Path = ROOT) -> None:
    """Write the pages that a table of contents names into a folder, and all that they link to."""
    pages, needed, has_outputs = files(toc), set(), False
    for name in pages:
        path, copy = root / name, folder / name
        text = path.read_text("utf-8")
        if path.suffix == ".ipynb":
            notebook = for_the_book(json.loads(text))
            for cell in notebook["cells"]:
                has_outputs |= bool(cell.get("outputs"))
                if cell["cell_type"] == "markdown":
                    source = "".join(cell["source"])
                    cell["source"], found = linked(source, path, root, pages)
                    needed |= found
            text = json.dumps(notebook)
        else:
            text, found = linked(text, path, root, pages)
            needed |= found
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(text, "utf-8")
    for file in needed:
        copy = folder / file.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    front = folder / toc["root"]
    notebook = json.loads(front.read_text("utf-8"))
    note = NOTE if has_outputs else NOTE.replace("\n```", f" {BARE}\n```")
    cell = {"cell_type": "markdown", "id": "book", "metadata": {}, "source": note}
    notebook["cells"].insert(1, cell)
    front.write_text(json.dumps(notebook), "utf-8")


def build(output: Path, root: Path = ROOT) -> Path:
    """Build the book of a project and return its first page; `output` is replaced at the end.

    Raises:
        TutorialError: if Jupyter Book is missing, or complains of anything, or if `output` holds
            something else than an earlier book.
    """
    if importlib.util.find_spec("jupyter_book") is None:
        raise TutorialError(
            "Jupyter Book is not installed here: `python start.py book` installs it, or "
            "`pip install -r requirements-dev.txt`."
        )
    if output.exists() and not (output / "searchindex.js").is_file():
        raise TutorialError(f"{output} is there and no book: name another folder, or remove it.")
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".book-", dir=output.parent) as scratch:
        pages = Path(scratch).resolve() / "pages"
        toc = contents(root)
        write_pages(pages, toc, root)
        (pages / "_toc.yml").write_text(json.dumps(toc), "utf-8")  # JSON is YAML too
        command = [sys.executable, "-c", JUPYTER_BOOK, "build", pages, "--config", CONFIG]
        command += ["--path-output", scratch, "--quiet", "--warningiserror", "--keep-going"]
        env = dict(os.environ, PYTHONUTF8="1")
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=env)
        if done.returncode:
            said = WARNING.findall(re.sub(r"\x1b\[[\d;]*m", "", done.stderr))
            here = f"{pages.as_posix()}/"
            lines = [f"{Path(place).as_posix().removeprefix(here)}: {what}" for place, what in said]
            raise TutorialError("\n".join(lines) or done.stderr[-2000:])
        if output.exists():
            output.replace(Path(scratch) / "before")  # all of it, or nothing if a page is in use
        (Path(scratch) / "_build" / "html").replace(output)
    return output / "index.html"


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=BUILD / "book", help="folder for the site")
    options = parser.parse_args(arguments)
    try:
        print("Building the book: about half a minute ...", flush=True)
        page = build(options.output.resolve(), root)
    except (TutorialError, OSError) as error:
        print(f"\nFailed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped; what was in its place before is still there.", file=sys.stderr)
        return 130
    print(f"{page}\nOpen it in a browser: {page.as_uri()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
