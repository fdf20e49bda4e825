"""Makes a folder all at once: whoever is killed in the middle leaves nothing that counts."""

import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path


def make_folder(target: Path, fill: Callable[[Path], None]) -> Path:
    """Let `fill` write a new folder and put it at `target` in one step; return `target`.

    Of several processes one does the work, the others wait for it. What `fill` raises is raised,
    and then nothing is left.
    """
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with _alone(target.parent):
        for left in target.parent.glob(".part-*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        if not target.exists():  # else another process has made it meanwhile
            with tempfile.TemporaryDirectory(prefix=".part-", dir=target.parent) as private:
                new = Path(private, target.name)
                fill(new)
                new.rename(target)
    return target


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other process is in here with this folder.

    SQLite's lock on a file works on every system, and ends with its process, however that ends.
    """
    with closing(sqlite3.connect(folder / ".lock", timeout=0.5, isolation_level=None)) as lock:
        said = False
        while not lock.in_transaction:
            try:
                lock.execute("PRAGMA journal_mode = OFF")  # nothing is ever written into it
                lock.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                    raise OSError(f"{folder.name} cannot be written to") from error
                if not said:
                    print(
                        "Another program is getting the images ready; waiting for it ...",
                        flush=True,
                    )
                said = True
        yield
