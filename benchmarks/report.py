"""What the benchmarks share: options, interleaved rounds, one table, one result file each."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # for an environment without the `-e .` of requirements.txt

from app.arguments import print_anything
from fetch.loading import load, load_dataset
from fetch.toy_faces import write_toy_faces
from helpers import BUILD, TutorialError, replacing
from helpers.data import Dataset

T = TypeVar("T")
RESULTS = Path(__file__).resolve().parent / "results"


def parser(doc: str) -> argparse.ArgumentParser:
    """Return a parser of the options that every benchmark takes; print can write any letter."""
    print_anything()
    made = argparse.ArgumentParser(description=doc.splitlines()[0])
    made.add_argument("--data", type=Path, help="a zip or folder (default: what dataset/ holds)")
    made.add_argument("--quick", action="store_true", help="seconds, to see that it works")
    made.add_argument(
        "--output",
        type=Path,
        help="folder of the result (default: benchmarks/results; none if quick)",
    )
    return made


def dataset(options: argparse.Namespace) -> Dataset:
    """Return the data that the options name; with --quick, toy faces if they name none."""
    if options.data is None and options.quick:
        options.data = write_toy_faces(BUILD / "toy")
    return load(options.data) if options.data else load_dataset()


def folder(options: argparse.Namespace) -> Path | None:
    """Return where the result goes; None for a quick run that names no place."""
    return options.output or (None if options.quick else RESULTS)


def interleave(variants: dict[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Call all variants in turn, so many rounds, so that none has the machine's best minutes."""
    found: dict[str, list[T]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, measure in variants.items():
            found[name].append(measure())
    return found


def in_process(words: Sequence, failure: str, **options) -> dict:
    """Run the benchmark that is running in a process of its own; return the JSON it ends with.

    Args:
        words: its options.
        failure: a sentence, `{}` in it stands for what the process said last.
        options: of `subprocess.run`.

    Raises:
        TutorialError: if it fails.
    """
    command = [sys.executable, sys.argv[0], *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode:
        raise TutorialError(failure.format(done.stderr[-300:].strip()))
    return json.loads(done.stdout.splitlines()[-1])


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return the median, the lowest and the highest value, to 4 significant digits.

    A table shows it as "2.60 (2.55 to 2.71)".
    """
    ends = {"median": np.median(values), "lowest": min(values), "highest": max(values)}
    return {name: float(f"{value:.4g}") for name, value in ends.items()}


def machine() -> dict:
    """Return what the timings hang on, and nothing that names the machine."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, StopIteration):  # not Linux, or an ARM processor
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(x.split(":", 1)[1].strip() for x in lines if x.startswith("model name"))
    able = getattr(os, "sched_getaffinity", None)
    return {
        "processor": model,
        "cores": len(able(0)) if able else os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "tensorflow": version("tensorflow"),
        "keras": version("keras"),
    }


def command() -> str:
    """Return the command that is running, without the options that hold paths of this machine."""
    words, kept = iter(sys.argv[1:]), []
    for word in words:
        if word in ("--data", "--output"):
            next(words, None)
        elif not word.startswith(("--data=", "--output=")):
            kept.append(word)
    return " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *kept])


def cell(value) -> str:
    """Return a value as the tables show it: three digits or so, a dash for None."""
    if value is None:
        return "-"
    if isinstance(value, dict):
        middle, low, high = (cell(value[key]) for key in ("median", "lowest", "highest"))
        return middle if low == high else f"{middle} ({low} to {high})"
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    if 0 < abs(value) < 0.001:
        return f"{value:.1g}"
    return f"{value:.{3 if abs(value) < 1 else 2 if abs(value) < 10 else 1}f}"


def table(rows: Sequence[dict]) -> str:
    """Return rows as an aligned Markdown table, with a column per key, `_` as a space.

    Columns that hold a list, such as a curve, stay out of it.
    """
    keys = list(dict.fromkeys(key for row in rows for key in row))
    keys = [key for key in keys if not any(isinstance(row.get(key), list) for row in rows)]
    columns = []
    for key in keys:
        words = [key.replace("_", " "), *(cell(row.get(key)) for row in rows)]
        wide, text = max(map(len, words)), all(isinstance(row.get(key), str) for row in rows)
        align = str.ljust if text else str.rjust
        rule = "-" * wide if text else "-" * (wide - 1) + ":"
        columns.append([align(word, wide) for word in words])
        columns[-1].insert(1, rule)
    return "\n".join(f"| {' | '.join(line)} |" for line in zip(*columns, strict=True))


def write(
    name: str, rows: list[dict], about: dict, to: Path | None = RESULTS, show: bool = True
) -> None:
    """Print the rows as one table, and write them as <name>.json and, to be read, <name>.md.

    Args:
        name: of the files.
        rows: by column, plain numbers and words, None, what `spread` gives, or a list, which
            only the JSON file holds.
        about: "title", a `Dataset` or None as "data", "notes" (sentences), and what else the
            JSON file shall hold.
        to: the folder of both files; None writes none.
        show: False writes without printing.
    """
    data = about.get("data")
    result = {
        "command": command(),
        "date": date.today().isoformat(),
        "machine": machine(),
        **about,
        "data": data and {"name": data.name, "fingerprint": data.fingerprint},
        "rows": rows,
    }
    shown, notes = table(rows), "\n".join(about.get("notes", ()))
    if show:
        print(about["title"], shown, notes, sep="\n\n")
    if to is None:
        return
    to.mkdir(parents=True, exist_ok=True)
    at = result["machine"]
    where = f"{at['processor']}, {at['cores']} cores, TensorFlow {at['tensorflow']}"
    small = f"`{result['command']}`, {result['date']}, {where}"
    small += f", {data.name} ({data.fingerprint})." if data else "."
    text = "\n\n".join(filter(None, (f"# {about['title']}", shown, notes, small)))
    for ending, content in (("json", json.dumps(result, indent=1)), ("md", text)):
        with replacing(to / f"{name}.{ending}") as partial:
            partial.write_text(content + "\n", encoding="utf-8")


def earlier(name: str, about: dict, to: Path | None) -> list[dict]:
    """Return the rows of an earlier run that this one may go on from; none is an empty list.

    It may if data, machine and "budget" (what a row was measured with) are the same.

    Args:
        name: as in `write`.
        about: as in `write`, with "budget".
        to: as in `write`.
    """
    try:
        result = json.loads((to / f"{name}.json").read_text("utf-8"))
        same = result["budget"] == about["budget"] and result["machine"] == machine()
        same = same and result["data"]["fingerprint"] == about["data"].fingerprint
        return result["rows"] if same else []
    except (OSError, ValueError, KeyError, TypeError):
        return []


def run(main: Callable[[], None]) -> None:
    """Run a benchmark; what its user can put right is one sentence."""
    try:
        main()
    except TutorialError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("Stopped.")
