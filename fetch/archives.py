"""Unpacks what pictures come in: a zip, a tar, or FER-2013's table."""

import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from gzip import BadGzipFile
from pathlib import Path, PureWindowsPath
from typing import BinaryIO

from fetch import tables
from helpers import TutorialError
from helpers.pictures import is_junk, is_picture

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".rar", ".7z")
PICTURE_LIMIT = 50_000_000  # bytes of one picture
TOTAL_LIMIT = 4_000_000_000  # bytes of all pictures
NOT_UNPACKED = ".not_unpacked"  # lists the files of an archive that are no pictures
DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, tarfile.TarError, BadGzipFile, EOFError)
KNOWN = {  # how files begin that are not read here
    b"Rar!": "RAR archive",
    b"7z\xbc\xaf": "7z archive",
    b"PAR1": "Parquet table",
    b"\x89HDF": "HDF5 file",
    b"\x93NUMPY": "NumPy array",
    b"<": "web page",
}
PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")  # gzip, bzip2, xz, zstd


def other_than_archive(path: Path) -> str:
    """Return "" for a zip, a tar and a table of FER-2013; for any other file, what it is."""
    with path.open("rb") as file:
        head = file.read(1000)
    with suppress(*DAMAGED):  # what is_tarfile raises where a tar.gz is cut off early
        if zipfile.is_zipfile(path) or tarfile.is_tarfile(path) or tables.is_table(head):
            return ""
    for start, kind in KNOWN.items():
        if head.lstrip().startswith(start):
            return (
                f"a {kind}, not read here: unpack it, or make folders of its pictures, "
                "one for each class"
            )
    if path.name.lower().endswith(ENDINGS) or not head:
        return "no zip file, or only partly downloaded; get it again"
    if head.startswith(PACKED):
        return "a single file that is packed: unpack it, and name what comes out"
    if is_picture(path.name):
        return "a single picture: name the folder around its class folder"
    found = ", ".join(tables.columns(head)[:6])[:80]
    if not found.isprintable() or "\ufffd" in found:
        found = "bytes that are no text"
    return f"no folder, zip, tar, or table with emotion, pixels and Usage, but has {found!r}"


def unpack(path: Path, folder: Path) -> None:
    """Write all pictures of a zip, tar or table into a new folder.

    Nothing else is read, so large files beside them do no harm.

    Raises:
        TutorialError: if it is something else, or damaged, locked, huge or hostile.
    """
    from tqdm.auto import tqdm

    if other := other_than_archive(path):
        raise TutorialError(f"{path.name} is {other}.")
    others: list[str] = []
    bar = tqdm(_pictures(path, others), f"Unpacking {path.name}", unit=" files", mininterval=0.5)
    try:
        for name, content in bar:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
    except NotImplementedError as error:
        raise TutorialError(
            f"{path.name} is packed in a way that Python cannot read ({error}): unpack it with "
            "another program and name the folder, or zip it again."
        ) from error
    except DAMAGED as error:
        raise TutorialError(f"{path.name} is damaged ({error}); get it again.") from error
    except RuntimeError as error:  # what zipfile raises for it
        raise TutorialError(f"{path.name} has a password; get a copy without one.") from error
    folder.mkdir(exist_ok=True)
    (folder / NOT_UNPACKED).write_text("\n".join(others), "utf-8", "replace")


def _pictures(path: Path, others: list[str]) -> Iterator[tuple[str, bytes]]:
    """Give the pictures of an archive, each with its name; add the other names to `others`."""
    total = 0
    for member, size, opened in _members(path):
        parts = [part for part in member.replace("\\", "/").split("/") if part not in ("", ".")]
        if ".." in parts or PureWindowsPath(member).drive:
            raise TutorialError(f"{path.name} has a path that leads outside ({member}).")
        if not parts or any(map(is_junk, parts)):
            continue
        name = "/".join(parts)
        if member.endswith("/"):
            others.append(name + "/")
        elif is_picture(name):
            total += size
            if size > PICTURE_LIMIT or total > TOTAL_LIMIT:
                limit = "a picture of over 50 MB" if size > PICTURE_LIMIT else "over 4 GB"
                raise TutorialError(f"{path.name} has {limit} ({name}); get a clean copy.")
            with opened() as file:
                yield name, file.read()
        else:
            others.append(name)
            if name.lower().endswith(".csv"):
                with opened() as file:
                    for row, content in tables.pictures(file, parts[-1]):
                        yield f"{name[:-4]}/{row}", content


def _members(path: Path) -> Iterator[tuple[str, int, Callable[[], BinaryIO]]]:
    """Give name, size in bytes, and a function that opens it, of each file in an archive."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                name = info.filename
                if not info.flag_bits & 0x800:  # encoding unsaid: UTF-8, or an old code page
                    with suppress(UnicodeError):
                        name = name.encode("cp437").decode("utf-8")
                yield name, info.file_size, partial(archive.open, info)
    elif tarfile.is_tarfile(path):
        with tarfile.open(path) as archive:
            for info in archive:
                if info.isfile():
                    yield info.name, info.size, partial(archive.extractfile, info)
    else:
        yield path.name, path.stat().st_size, partial(path.open, "rb")
