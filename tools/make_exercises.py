"""Make the pages of exercises from their solutions: python tools/make_exercises.py

notebooks/solutions/NN_name.ipynb becomes notebooks/exercises/NN_name.ipynb. What stands between
`# <solution>` and `# </solution>` is replaced by its last statement, an assignment or a `return`,
with `...` for the value, or by `...` alone. A text cell with **Hint 1.**, **Hint 2.** and
**Solution.** is folded: each part opens at a click, the solution with its code.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
PART = re.compile(r"^([ \t]*)# <solution>\n(.*?)^[ \t]*# </solution>$", re.DOTALL | re.MULTILINE)
MARKER = re.compile(r"^ *# </?solution>\n?", re.MULTILINE)
YOUR_TURN = "# Your turn: as many lines as you like"
FOLDS = re.compile(
    r"^\*\*(Hint \d|Solution)\.\*\* (.*?)\s*(?=^\*\*(?:Hint|Sol)|\Z)", re.DOTALL | re.M
)


def unsolved(code: str) -> str:
    """Return the code of a cell without its solutions.

    Raises:
        ValueError: if a marker stands alone, or a solution ends in anything but an assignment
            to names, a `return` or an expression.
    """

    def dots(part: re.Match) -> str:
        last = (ast.parse(textwrap.dedent(part[2])).body or [None])[-1]
        if not isinstance(last, ast.Assign | ast.Return | ast.Expr):
            raise ValueError("a solution ends with neither `name = value` nor `return value`")
        last.value = ast.Constant(...)
        like = "" if isinstance(last, ast.Expr) else ", the last of them like this one"
        return textwrap.indent(f"{YOUR_TURN}{like}.\n{ast.unparse(last)}", part[1])

    code = PART.sub(dots, code)
    if "solution>" in code:
        raise ValueError("a marker has no partner")
    return code


def folded(text: str, code: str) -> str:
    """Return hints and solution, each of which opens at a click; the solution has its code."""

    def fold(part: re.Match) -> str:
        code_first = f"```python\n{code}\n```\n\n" if part[1] == "Solution" else ""
        return f"<details>\n<summary>{part[1]}</summary>\n\n{code_first}{part[2]}\n\n</details>\n\n"

    return FOLDS.sub(fold, text).strip()


def page(solution: Path) -> str:
    """Return the text of the page of exercises that belongs to a notebook of solutions."""
    notebook = json.loads(solution.read_text("utf-8"))
    cells, solved = [], ""
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None, "metadata": {}}
            if MARKER.search(text):
                solved = MARKER.sub("", text)
            try:
                text = unsolved(text)
            except (ValueError, SyntaxError) as error:
                raise ValueError(f"{solution.name}, cell {cell['id']}: {error}") from error
        elif FOLDS.match(text):
            text = folded(text, solved.strip())
        elif not cells:
            text = text.replace(": solutions", ": exercises")
            text = text.replace("[Exercises](../exercises/", "[Solutions](../solutions/")
        cells.append(cell | {"source": text.splitlines(keepends=True)})
    if not solved:
        raise ValueError(f"{solution.name} has no part between # <solution> and # </solution>")
    notebook["cells"] = cells
    notebook["metadata"].pop("widgets", None)
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def main(arguments: Sequence[str] | None = None, notebooks: Path = NOTEBOOKS) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if stale")
    check = parser.parse_args(arguments).check
    stale = 0
    pages = notebooks / "exercises"
    try:
        made = {path.name: page(path) for path in sorted((notebooks / "solutions").glob("*.ipynb"))}
    except ValueError as error:
        sys.exit(f"Failed: {error}.")
    for path in sorted({*pages.glob("*.ipynb"), *(pages / name for name in made)}):
        if path.name not in made:
            print(f"{path.name} has no solution it is made from: write one, or delete the page.")
        elif path.is_file() and path.read_text("utf-8") == made[path.name]:
            continue
        elif check:
            print(f"{path.name} is stale: run python tools/make_exercises.py.")
        else:
            pages.mkdir(exist_ok=True)
            path.write_text(made[path.name], encoding="utf-8", newline="\n")
            print(f"{path.name} written.")
            continue
        stale += 1
    return int(stale > 0)


if __name__ == "__main__":
    sys.exit(main())
