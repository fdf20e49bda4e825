"""Write the links at the end of every lesson, and the table of lessons into both places it has.

    python tools/navigation.py           after a lesson was added, renamed or retimed
    python tools/navigation.py --check   only say what is stale or leads nowhere

A lesson's title and its minutes to read stand in its first cell; what comes out of it and its
minutes of computing stand in the table of README.md. Everything else here is made from these.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONTENTS = "00_contents.ipynb"
HEAD = "| lesson | what comes out | minutes to read | minutes of computing |\n|---|---|---|---|"
TABLE = re.compile(r"(?<=<!-- lessons -->\n\n).*?(?=\n\n<!-- /lessons -->)", re.DOTALL)


def lessons(root: Path = ROOT) -> list[Path]:
    """Return the numbered notebooks in order, without the contents page."""
    paths = sorted((root / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    return [path for path in paths if path.name != CONTENTS]


def opening(path: Path) -> tuple[str, str]:
    """Return a lesson's title and its minutes to read, as its first cell has them."""
    text = "".join(json.loads(path.read_text("utf-8"))["cells"][0]["source"])
    title = re.match(r"# (\d+ · .+)", text)
    time = re.search(r"\*\*Time:\*\* about (an hour|\d+)", text)
    if not (title and time):
        sys.exit(f"{path.name} must open with '# 1 · Title' and '**Time:** about 20 minutes'.")
    return title[1], time[1].replace("an hour", "60")


def with_cell(text: str, name: str, source: str) -> str:
    """Return a notebook with this source in the markdown cell `name`, made at the end if absent."""
    notebook = json.loads(text)
    if not any(cell["id"] == name for cell in notebook["cells"]):
        fields = {"cell_type": "markdown", "id": name, "metadata": {"tags": ["generated"]}}
        notebook["cells"].append(fields)
    if name == "nav":  # stays the last one, whatever was added
        notebook["cells"].sort(key=lambda cell: cell["id"] == name)
    cell = next(cell for cell in notebook["cells"] if cell["id"] == name)
    cell["source"] = source.splitlines(keepends=True)
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def made(root: Path = ROOT) -> dict[Path, str]:
    """Return every file with links or a table, and the text that it should have."""
    readme, contents = root / "README.md", root / "notebooks" / CONTENTS
    page, paths = readme.read_text("utf-8"), lessons(root)
    if len(TABLE.findall(page)) != 1:
        sys.exit("README.md needs one table between <!-- lessons --> and <!-- /lessons -->.")
    found, rows = {path: opening(path) for path in paths}, [HEAD]
    for path, (title, minutes) in found.items():
        row = re.search(rf"^\|[^|]*/{path.name}\)\s*\|(.*)\|$", page, re.MULTILINE)
        if row is None:
            new = f"| [](notebooks/{path.name}) | what comes out | | minutes of computing |"
            sys.exit(f"README.md: its table of lessons needs a row `{new}`; then run this again.")
        cells = [cell.strip() for cell in row[1].split("|")]
        rows.append(f"| [{title}](notebooks/{path.name}) | {cells[0]} | {minutes} | {cells[-1]} |")
    table = "\n".join(rows)
    texts = {readme: TABLE.sub(lambda _: table, page)}
    near = table.replace("(notebooks/", "(")
    texts[contents] = with_cell(contents.read_text("utf-8"), "lessons", near)
    for before, path, after in zip([None, *paths], paths, [*paths[1:], None], strict=False):
        links = [f"← [{found[before][0]}]({before.name})"] if before else []
        links.append(f"[Contents]({CONTENTS})")
        exercises = f"exercises/{path.name}"
        links += [f"[Exercises]({exercises})"] * (path.parent / exercises).is_file()
        links += [f"[{found[after][0]}]({after.name}) →"] if after else []
        texts[path] = with_cell(path.read_text("utf-8"), "nav", " | ".join(links))
    return texts


def dead_links(path: Path, text: str) -> list[str]:
    """Return the links to files that are not there."""
    if path.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    targets = re.findall(r"\]\(([^()#\s]+)[^()]*\)", text)
    return [t for t in targets if "://" not in t and not (path.parent / t).exists()]


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args(arguments)
    texts = made(root)
    stale = [path for path, text in texts.items() if path.read_text("utf-8") != text]
    for path in stale:
        print(f"{path.name} is stale: run tools/navigation.py" if options.check else path.name)
        if not options.check:
            path.write_text(texts[path], encoding="utf-8", newline="\n")
    dead = [f"{path.name}: {to}" for path in texts for to in dead_links(path, texts[path])]
    for line in dead:
        print(f"{line} is not there")
    return int(bool(dead or (options.check and stale)))


if __name__ == "__main__":
    sys.exit(main())
