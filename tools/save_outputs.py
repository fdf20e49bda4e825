"""Execute the lessons on FER-2013 at the `full` profile, and keep in them what may be shared.

    python tools/save_outputs.py                all lessons
    python tools/save_outputs.py notebooks/05_evaluate.ipynb

A reader on GitHub then sees real results. In `full` the long trainings are resumed, or loaded if
they are finished, so a second run takes about an hour on two cores. A picture stays only in a
cell tagged `shareable`: portraits, toy faces, charts, means over many faces. Of a cell tagged
`private` nothing stays.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # for an environment without the `-e .` of requirements.txt

from helpers import RUNS, TutorialError, replacing
from tools.navigation import lessons
from tools.run_notebooks import (
    NotebookError,
    execute,
    kernel_environment,
    show_progress,
)

LEFT_OUT = (
    "What belongs here shows faces of the data set, which are not ours to share: run the cell to "
    "see it.\n"
)
WIDGET = "Here stands a widget. It needs a running Python: open this lesson in JupyterLab.\n"
VIEW = "application/vnd.jupyter.widget-view+json"
KEPT = {"text/plain", "text/html", "image/png"}  # of an output; anything else is dropped
MOST_BYTES = 600_000  # of a notebook
# These take the best network there is. They are to show what a reader has by then, and that is none
# of those that lessons 8 and 9 train.
EARLY, LATER = ("01", "05", "06", "07"), ("recipe-*", "transfer-*")
# Folders of this machine, in whatever form they are printed.
MACHINE = re.compile(
    r"(?<![\w./])(?:/(?:home|Users|root|tmp|work|mnt|var|opt|srv|usr|Volumes)/|[A-Z]:\\)[^\s'\"<]*"
)
PICTURE = re.compile(
    r"<\s*(?:img|svg|canvas|picture|video|object|embed|iframe|script)|data:\w+/|background", re.I
)
FIGURE = re.compile(r'<img alt="(?P<alt>[^"]*)" src="data:image/png;base64,(?P<png>[^"]+)">')
PIXELS = re.compile(r"\[(?:\s*\d{1,3}\b[,\s]){7}")  # the beginning of a row of whole numbers


def tags(cell: NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def pictured(data: Mapping) -> bool:
    """Return whether an output's data, by kind, may show a picture."""
    kinds = any(kind.split("/")[0] in ("image", "video") for kind in data)
    return kinds or bool(PICTURE.search(str(data.get("text/html", ""))))


def smaller(png: bytes) -> tuple[str, str]:
    """Return the kind and the base64 of a picture in fewer bytes, in all its colours.

    A chart is smallest as PNG, a photograph as JPEG, where it loses nothing that is seen.
    """
    files = {"image/png": io.BytesIO(), "image/jpeg": io.BytesIO()}
    with Image.open(io.BytesIO(png)) as picture:
        picture = picture.convert("RGBA")
    picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    picture = picture.convert("RGB")
    picture.save(files["image/png"], "PNG", optimize=True)
    picture.save(files["image/jpeg"], "JPEG", quality=80, subsampling=0, optimize=True)
    sizes = {kind: file.tell() for kind, file in files.items()}
    kind = "image/jpeg" if sizes["image/jpeg"] < 0.8 * sizes["image/png"] else "image/png"
    return kind, base64.b64encode(files[kind].getvalue()).decode()


def with_small_picture(output: NotebookNode) -> NotebookNode:
    """Return an output with its picture, if it has one, as an image with alternative text.

    `plots.style()` lets JupyterLab show figures as HTML, since it knows no alternative text of an
    image. GitHub may drop such HTML, so what is committed has the image, and the text in its
    metadata, where nbconvert and our book look for it.
    """
    data, about = output.data, output.metadata.get("image/png", {})
    if figure := FIGURE.fullmatch(data.get("text/html", "")):
        del data["text/html"]
        about, data["image/png"] = {"alt": unescape(figure["alt"])}, figure["png"]
    output.metadata = {}
    if "image/png" in data:
        kind, data[kind] = smaller(base64.b64decode(data.pop("image/png")))
        output.metadata = {kind: {"alt": about.get("alt", "")}}
    return output


def as_text(text: str) -> NotebookNode:
    from nbformat.v4 import new_output

    return new_output("stream", name="stdout", text=text)


def shared(outputs: list[NotebookNode], marks: Sequence[str]) -> list[NotebookNode]:
    """Return what of a cell's outputs may be committed.

    Args:
        outputs: as the cell left them.
        marks: the cell's tags. `shareable` lets pictures stay, `private` lets nothing stay.
    """
    if "private" in marks:
        return [as_text(LEFT_OUT)] * bool(outputs)
    kept: list[NotebookNode] = []
    for output in outputs:
        if output.output_type == "stream":
            if kept and kept[-1].get("name") == output.name:
                kept[-1].text += output.text
            else:
                kept.append(output)
            continue
        data = output.get("data", {})
        if VIEW in data:
            bar = re.search(r"\d+%\|", str(data.get("text/plain")))  # tqdm's: it is over now
            kept += [as_text(WIDGET)] * (not bar)
            continue
        if pictured(data) and "shareable" not in marks:
            kept.append(as_text(LEFT_OUT))
            continue
        output.data = {kind: value for kind, value in data.items() if kind in KEPT}
        if "text/plain" in data:  # an object's place in memory is another one in every run
            output.data["text/plain"] = re.sub(r" at 0x[0-9a-fA-F]+", "", data["text/plain"])
        if output.data.get("text/html") or output.data.keys() - {"text/html"}:
            output.pop("transient", None)
            kept.append(with_small_picture(output))
    for output in kept:
        if output.output_type == "stream":  # of what was written over, the last state
            lines = output.text.split("\n")
            output.text = "\n".join(line.rstrip("\r").split("\r")[-1] for line in lines)
    return [output for output in kept if output.get("text") != ""]


def written(output: NotebookNode) -> str:
    """Return all text of an output."""
    data = output.get("data", {})
    return "\n".join(
        [output.get("text", ""), *(data.get(f"text/{k}", "") for k in ("plain", "html"))]
    )


def clean(notebook: NotebookNode, name: str) -> NotebookNode:
    """Leave in an executed notebook only what may be committed, and return it.

    Raises:
        TutorialError: if an output has rows of pixels, names a folder of this machine, or shows a
            picture without alternative text, or if all are too large.
    """
    import nbformat

    notebook.metadata.pop("widgets", None)
    notebook.metadata.language_info = {"name": "python"}
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        cell.metadata.pop("execution", None)
        cell.outputs = shared(cell.outputs, tags(cell))
        text = "".join(written(output) for output in cell.outputs)
        alternatives = [output.get("metadata", {}).values() for output in cell.outputs]
        if any(len(about.get("alt", "").split()) < 3 for found in alternatives for about in found):
            raise TutorialError(
                f"{name}, cell {cell.id}: its picture has no alternative text: give the figure a "
                "title that says what it shows, or the image an `alt`."
            )
        if "shareable" not in tags(cell) and PIXELS.search(text):
            raise TutorialError(
                f"{name}, cell {cell.id}: its output has a row of pixels, it seems: tag it "
                "`private`, or `shareable` if they are of no face of the data set."
            )
        if found := MACHINE.search(text):
            raise TutorialError(
                f"{name}, cell {cell.id}: its output names {found[0]}, a place on this machine: "
                "let the cell print something else."
            )
    size = len(nbformat.writes(notebook).encode())
    if size > MOST_BYTES:
        raise TutorialError(
            f"{name} would have {size:,} bytes, more than {MOST_BYTES:,}: make its pictures "
            "smaller or fewer."
        )
    return notebook


def keep_reference_runs(log: Path, reference: Path) -> None:
    """Make the last run of each experiment the reference that learners see beside theirs."""
    from training.runs import logged_runs

    last = {run["experiment"]: run for path in (reference, log) for run in logged_runs(path)}
    if last:
        reference.write_text("".join(json.dumps(run) + "\n" for run in last.values()), "utf-8")


@contextmanager
def set_aside(runs: Path) -> Iterator[None]:
    """Keep what the last lessons trained out of the way, and put it back."""
    place = runs / ".later"
    place.mkdir(parents=True, exist_ok=True)  # it may hold files of a save that was killed
    for path in [path for pattern in LATER for path in runs.glob(pattern)]:
        path.replace(place / path.name)
    try:
        yield
    finally:
        for path in place.iterdir():
            path.replace(runs / path.name)
        place.rmdir()


def main(arguments: Sequence[str] | None = None) -> int:
    import nbformat

    from fetch.loading import load_dataset
    from training.runs import REFERENCE_RUNS

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="all lessons, if none is named")
    options = parser.parse_args(arguments)
    os.environ["TUTORIAL_PROFILE"] = "full"
    log, own = RUNS / "log.jsonl", RUNS / "log.before_saving.jsonl"
    paths = options.notebooks or lessons()
    try:
        if missing := [str(path) for path in paths if not path.is_file()]:
            raise TutorialError(f"There is no notebook {', '.join(missing)}; name .ipynb files.")
        kind = load_dataset(download=False).kind
        if kind != "fer2013":
            raise TutorialError(
                f"The outputs are to be of the true FER-2013, and this is {kind}: put Kaggle's "
                "archive.zip into dataset/, or name it in TUTORIAL_DATASET."
            )
        if log.exists() and not own.exists():  # the saved tables are to have no others
            log.replace(own)
        log.unlink(missing_ok=True)  # of a save that was stopped
        for path in paths:
            begin = time.perf_counter()
            early = path.name.startswith(EARLY)
            with set_aside(RUNS) if early else nullcontext():
                notebook = execute(path.resolve(), kernel_environment(), show_progress(path.stem))
            notebook = clean(notebook, path.name)
            with replacing(path) as partial:
                partial.write_text(nbformat.writes(notebook) + "\n", "utf-8", newline="\n")
            keep_reference_runs(log, REFERENCE_RUNS)
            print(f"{path.stem}: {(time.perf_counter() - begin) / 60:.1f} minutes", flush=True)
    except (NotebookError, TutorialError) as error:
        print(f"\nFailed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped; the notebooks before this one are saved.", file=sys.stderr)
        return 130
    finally:
        if own.exists():
            own.replace(log)
    return 0


if __name__ == "__main__":
    sys.exit(main())
