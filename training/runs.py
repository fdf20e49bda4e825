"""Files of what was trained, the log of it, and a table of that."""

import contextlib
import json
from pathlib import Path

from helpers import ROOT, RUNS
from training.checkpoint import History
from training.trainer import digest

REFERENCE_RUNS = ROOT / "benchmarks" / "results" / "reference_runs.jsonl"


def run_file(name: str, settings: dict) -> Path:
    """Return where a training with these settings is kept: other settings, another file."""
    return RUNS / f"{name}-{digest(json.dumps(settings, sort_keys=True, default=str))[:8]}.keras"


def logged_runs(path: Path, experiment: str = "") -> list[dict]:
    """Return the runs in a log, of one experiment or of all; a damaged line is left out."""
    found = []
    with contextlib.suppress(OSError):
        for line in path.read_text("utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                run = json.loads(line)
                whole = isinstance(run["settings"], dict) and isinstance(run["scores"], dict)
                if whole and experiment in ("", run["experiment"]):
                    found.append(run)
    return found


def log_run(experiment: str, history: History, most: int = 6, **scores: float) -> str:
    """Note a run in runs/log.jsonl, and return a table of it, earlier ones and the reference.

    Args:
        experiment: runs of the same experiment stand in one table.
        history: of the training. The table has those of its settings in which the runs differ.
        most: how many of the last runs it has, besides the reference.
        scores: what came out.
    """
    settings = {"epochs": history.epochs} | history.settings
    scores = {name: round(float(value), 4) for name, value in scores.items()}
    scores["minutes"] = round(history.seconds / 60, 2)
    run = {"experiment": experiment, "settings": settings, "scores": scores}
    run, path = json.loads(json.dumps(run, default=str)), RUNS / "log.jsonl"
    runs = logged_runs(path, experiment)
    if str(run) != str(*runs[-1:]):  # the same cell, run again without a change
        runs.append(run)
        with contextlib.suppress(OSError):  # no reason to lose what the cell has computed
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(f"\n{json.dumps(run)}\n")  # also below a line that was cut off
    rows = dict(zip(["reference"], logged_runs(REFERENCE_RUNS, experiment)[-1:], strict=False))
    titles = [f"run {n}" for n in range(1, len(runs) + 1)]
    rows |= dict(zip(titles[-most:], runs[-most:], strict=True))
    return _table(rows, list(scores))


def _table(rows: dict[str, dict], scores: list[str]) -> str:
    names = dict.fromkeys(name for row in rows.values() for name in row["settings"])
    given = {n: [r["settings"][n] for r in rows.values() if n in r["settings"]] for n in names}
    varied = [name for name, values in given.items() if len(set(map(str, values))) > 1]
    table = [["", *varied, *scores]]
    for title, row in rows.items():
        table.append([title, *((row["settings"] | row["scores"]).get(n, "") for n in table[0][1:])])
    cells = [[f"{v:,}" if type(v) is int else f"{v}"[:24] for v in row] for row in table]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = (zip(row, widths, strict=True) for row in cells)
    return "\n".join("  ".join(f"{v:>{w}}" for v, w in line) for line in lines)
