"""Execute the notebooks from top to bottom and write each as a page: python start.py run.

The notebooks themselves are not changed. A page is written when its notebook has run to the
end, so build/ holds only pages of complete runs; the first cell that fails ends everything.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # for an environment without the `-e .` of requirements.txt

from helpers import BUILD, TutorialError, profile


class NotebookError(Exception):
    """A cell raised an error or ended the kernel; the text names notebook, cell and error."""


def kernel_environment(**changes: str) -> dict[str, str]:
    """Return the variables that kernels get: ours, with `helpers` importable, and `changes`."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    env = dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, paths)), **changes)
    env.pop("MPLBACKEND", None)  # else figures would not reach the page
    return env


def execute(
    path: Path,
    env: dict[str, str] | None = None,
    progress: Callable[[int, int], None] = lambda cell, of: None,
) -> NotebookNode:
    """Run a notebook in a fresh kernel, as JupyterLab's "Run all" does, and return it with outputs.

    Args:
        path: an .ipynb file; the kernel works in its folder.
        env: variables for the kernel, `kernel_environment()` if not given.
        progress: called before each code cell with its number, from 1, and how many there are.

    Raises:
        NotebookError: at the first cell with an error, or when the kernel dies. Cells have no time
            limit.
    """
    import nbformat  # here, because it takes seconds in which Ctrl-C must work
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, DeadKernelError

    notebook = nbformat.read(path, as_version=4)
    code = [index for index, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    number = 0  # of the cell that runs, counted over code cells from 1 as JupyterLab does
    running: list[asyncio.AbstractEventLoop] = []  # the client's loop, once the kernel is there

    def started(cell_index: int, **_) -> None:
        nonlocal number
        number = code.index(cell_index) + 1
        progress(number, len(code))

    # The kernel is to be this Python's own, not one of the same name in the user's folder.
    os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")
    client = NotebookClient(
        notebook,
        timeout=None,
        kernel_name="python3",
        extra_arguments=["--IPKernelApp.log_level=40"],  # else it advises to encrypt its sockets
        resources={"metadata": {"path": str(path.parent)}},
        on_notebook_start=lambda **_: running.append(asyncio.get_running_loop()),
        on_cell_execute=started,
    )

    def look_again() -> None:
        """Wake a client that has missed a reply, which nbclient may while it answers a widget.

        See github.com/jupyter/nbclient/issues/312: asking for a socket's events reads what waits.
        """
        with contextlib.suppress(Exception):  # it has just ended
            _ = client.kc.shell_channel.socket.EVENTS

    # In a thread of its own, because nbclient answers Ctrl-C in the main one with tracebacks.
    # What the kernel writes past its cells is kept back: when it ends it may complain of sockets.
    with tempfile.TemporaryFile() as stderr, ThreadPoolExecutor(1) as pool:
        done = pool.submit(client.execute, env=env or kernel_environment(), stderr=stderr)
        try:
            while not done.done():
                wait([done], timeout=0.5)  # in steps: Windows sees Ctrl-C between them only
                with contextlib.suppress(RuntimeError, IndexError):  # it ended, or is yet to begin
                    running[0].call_soon_threadsafe(look_again)
        except KeyboardInterrupt:
            while not (running or done.done()):
                time.sleep(0.1)
            if running:
                stop = client.km.shutdown_kernel(now=True)
                asyncio.run_coroutine_threadsafe(stop, running[0])
            raise
        error = done.exception()
        if error and not isinstance(error, CellExecutionError):  # then it may say why
            stderr.seek(0)
            print(stderr.read().decode("utf-8", "replace"), end="", file=sys.stderr)
    if error:
        reason = "the kernel died (out of memory, or ended from outside)"
        if isinstance(error, CellExecutionError):
            reason = f"{error.ename}: {error.evalue}"
        elif not isinstance(error, DeadKernelError):
            raise error
        line = notebook.cells[code[max(number, 1) - 1]].source.strip().split("\n")[0]
        where = f"{path.name}, code cell {number} of {len(code)} (`{line}`)"
        raise NotebookError(f"{where}: {reason}") from error
    return notebook


def write_page(notebook: NotebookNode, name: str, folder: Path, note: str = "") -> Path:
    """Write an executed notebook as folder/name.html, with `note` as its first line.

    The page is put in place whole, by a rename.
    """
    from nbconvert import HTMLExporter
    from nbformat.v4 import new_markdown_cell

    page = folder / f"{name}.html"
    copy = notebook.copy()
    if note:
        copy.cells = [new_markdown_cell(f"*{note}*"), *notebook.cells]
    exporter = HTMLExporter(embed_images=True)
    where = {"metadata": {"name": name, "path": str(ROOT / "notebooks")}}
    html, _ = exporter.from_notebook_node(copy, resources=where)
    html = re.sub(r'href="(\w+)\.ipynb"', r'href="\1.html"', html)  # the pages beside this one
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f".{name}.part"
    draft.write_text(html, encoding="utf-8")
    return draft.replace(page)


def show_progress(name: str) -> Callable[[int, int], None]:
    """Return a callback that keeps one line up to date, or writes lines where it cannot."""
    line = "\r{}: cell {} of {} \033[K" if sys.stdout.isatty() else "{}: cell {} of {}\n"
    return lambda cell, of: print(line.format(name, cell, of), end="", flush=True)


def run(paths: Sequence[Path], output: Path) -> None:
    """Execute notebooks in order, write their pages, and print the minutes each took.

    Raises:
        NotebookError: at the first failing cell; the pages of the notebooks before it stand.
    """
    taken: list[tuple[str, float]] = []
    try:
        for path in paths:
            (output / f"{path.stem}.html").unlink(missing_ok=True)  # it may not outlive a failure
            begin = time.perf_counter()
            notebook = execute(path, progress=show_progress(path.stem))
            minutes = (time.perf_counter() - begin) / 60
            note = f"Executed with TUTORIAL_PROFILE={profile()} in {minutes:.1f} minutes."
            page = write_page(notebook, path.stem, output, note)
            taken.append((path.stem, minutes))
            end = "\r\033[K" if sys.stdout.isatty() else ""
            print(f"{end}{path.stem}: {minutes:.1f} minutes, {page}", flush=True)
    finally:
        if taken:
            total = sum(minutes for _, minutes in taken)
            print("\nnotebook                          minutes")
            for name, minutes in [*taken, ("together", total)]:
                print(f"{name:32}  {minutes:7.1f}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="all, in order, if none is named")
    parser.add_argument("--output", type=Path, default=BUILD, help="folder for the pages")
    options = parser.parse_args(arguments)
    paths = options.notebooks or sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
    missing = [str(path) for path in paths if not path.is_file()]
    try:
        if missing or not paths:
            raise TutorialError(f"There is no notebook {', '.join(missing)}; name .ipynb files.")
        print(f"TUTORIAL_PROFILE is {profile()}; {len(paths)} notebooks", flush=True)
        run([path.resolve() for path in paths], options.output)
    except (NotebookError, TutorialError) as error:
        print(f"\nFailed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped; the pages of the notebooks before this one stand.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
