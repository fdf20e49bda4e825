"""Finds the images or gets them: a folder, a zip, Kaggle, or toy faces drawn on the spot."""

from __future__ import annotations

import functools
import io
import json
import os
import re
import shutil
import stat
import threading
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from unittest.mock import patch

from helpers import DATASET, FER_CLASSES, ROOT, TutorialError

HANDLE = "msambare/fer2013/versions/1"  # a fixed version: what a lesson measured stays true
MEMBER_LIMIT = 50_000_000  # bytes of one file in a zip
TOTAL_LIMIT = 4_000_000_000  # bytes of all files in a zip
PROBE_SECONDS = 5.0  # to find out whether Kaggle answers at all
STALL_SECONDS = 30.0  # a download that brings nothing new for so long is given up
IMAGE = re.compile(r"(?i)\.(jpe?g|jpe|png|gif|bmp|webp|tiff?|p[gp]m|jp2|avif)$")
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError)  # from reading a zip


@dataclass(frozen=True)
class Source:
    """Where images lie: `path` is a folder or a zip, `inside` a prefix in it ("" or "a/b/")."""

    path: Path
    inside: str
    kind: str  # "named", "folder", "zip", "kaggle" or "toy"
    message: str  # one line: what was taken


@dataclass(frozen=True)
class Tree:
    """The files of a source by split and class; the only split of bare class folders is ""."""

    splits: dict[str, dict[str, list[str]]]  # {"train": {"angry": ["train/angry/1.jpg"]}}
    strays: list[str]  # files in class folders that are no images by their names
    is_toy: bool


def locate(path: str | Path) -> Source:
    """Find the images in a zip or folder: `train/` and `test/`, also nested, or class folders.

    A zip is read where it is, not unpacked.

    Raises:
        TutorialError: if nothing is there, or the folders are not as they must be.
    """
    wanted = Path(path).expanduser()
    # Notebooks run in notebooks/, so a path typed at the project's root is tried there too.
    for found in (wanted, ROOT / wanted):
        if found.exists():
            return _checked(found.resolve(), "named", ", as you named it")
    raise TutorialError(f"There is no {path}; name a zip or a folder with train/ and test/.")


@contextmanager
def opened(source: Source) -> Iterator[tuple[Tree, Callable[[str], bytes]]]:
    """Give the files of a source and a function that reads one of them by its name there."""
    with _listed(source.path) as (names, read):
        yield _tree(names, source.inside), lambda name: read(source.inside + name)


def _checked(path: Path, kind: str, how: str = "", inside: str | None = None) -> Source:
    """Return the source at `path`, once its folders are found in order."""
    # Learners show messages to others, so no folder above this project is in them.
    title = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name
    title += "/" if path.is_dir() else ""
    with _listed(path) as (names, _):
        inside = _find_root(names) if inside is None else inside
        _check(_tree(names, inside), title)
    return Source(path, inside, kind, f"Data: {title}{how}.")


def _is_junk(name: str) -> bool:
    return name.startswith(".") or name in ("__MACOSX", "Thumbs.db", "desktop.ini")


@contextmanager
def _listed(path: Path) -> Iterator[tuple[list[str], Callable[[str], bytes]]]:
    """Give the names in a folder or zip, like "a/1.png" or, of a folder, "a/"; and a reader."""
    if path.is_dir():
        names = []
        for here, below, files in os.walk(path, followlinks=True):
            parts = Path(here).relative_to(path).parts
            # Four levels are enough for data/archive/train/angry, and end circles of links.
            below[:] = [name for name in below if not _is_junk(name) and len(parts) < 4]
            files = [name for name in files if not _is_junk(name)]
            names += ["/".join([*parts, name]) for name in ["", *files]]
        yield names, lambda name: (path / name).read_bytes()
    else:
        with _open_zip(path) as (archive, members):
            yield list(members), lambda name: archive.read(members[name])


@contextmanager
def _open_zip(path: Path) -> Iterator[tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]]:
    """Open a zip and list its members; refuse what is damaged, locked, huge or hostile."""
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # damaged zips raise nearly anything
        raise TutorialError(
            f"{path.name} is no zip file, or only partly downloaded; get it again."
        ) from error
    members, total = {}, 0
    with archive:
        for info in archive.infolist():
            name = info.filename = info.filename.replace("\\", "/")
            parts = name.split("/")
            total += info.file_size
            checks = {
                "a path that leads outside": ".." in parts or not parts[0] or ":" in parts[0],
                "a link in place of a file": stat.S_ISLNK(info.external_attr >> 16),
                "a password": info.flag_bits & 1,
                "a file of over 50 MB": info.file_size > MEMBER_LIMIT,
                "over 4 GB": total > TOTAL_LIMIT,
            }
            for trouble, is_so in checks.items():
                if is_so:
                    raise TutorialError(f"{path.name} has {trouble} ({name}); get a clean copy.")
            if not any(map(_is_junk, parts)):
                members[name] = info
        yield archive, members


def _find_root(names: list[str]) -> str:
    """Return the prefix under which train/ and test/, or else bare class folders, lie."""
    roots: dict[str, set[str]] = {"train": set(), "test": set()}
    for match in filter(None, (re.match(r"(|.*?/)(train|test)/[^/]+/", name) for name in names)):
        roots[match[2]].add(match[1])
    if found := roots["train"] & roots["test"] or roots["train"] | roots["test"]:
        return min(found, key=lambda root: (root.count("/"), root))
    places = (re.match(r"(|.*/)[^/]+/[^/]+$", name) for name in filter(IMAGE.search, names))
    most = Counter(place[1] for place in places if place).most_common(1)
    return most[0][0] if most else ""


def _tree(names: list[str], inside: str) -> Tree:
    names = sorted(name[len(inside) :] for name in names if name.startswith(inside))
    halved = any(re.match("(train|test)/[^/]+/", name) for name in names)
    pattern = re.compile(("(train|test)/" if halved else "()") + "([^/]+)/(.*)")
    splits: dict = {"train": {}, "test": {}} if halved else {"": {}}
    strays = []
    for match in filter(None, map(pattern.fullmatch, names)):
        images = splits[match[1]].setdefault(match[2], [])
        if IMAGE.search(match[3]) and "/" not in match[3]:
            images.append(match[0])
        elif not match[0].endswith("/"):
            strays.append(match[0])
    if not halved:  # then folders of other things may lie beside those of the classes
        splits[""] = {name: images for name, images in splits[""].items() if images}
    return Tree(splits, strays, "toy.json" in names)


def _check(tree: Tree, title: str) -> None:
    """Raise TutorialError where a folder is missing, empty or misspelt."""
    for split, folders in tree.splits.items():
        if not any(folders.values()):
            raise TutorialError(
                f"{title} has no images in {split or 'train'}/<class>/; train/ and test/ both "
                "need some."
            )
    if "" in tree.splits:
        return
    train, test = tree.splits["train"], tree.splits["test"]
    if len(train) < 2:
        raise TutorialError(f"{title}: train/ needs at least two class folders.")
    for name, images in train.items():
        if not images:
            raise TutorialError(f"{title}: train/{name}/ holds no images; fill it or remove it.")
    missing, own = list(set(FER_CLASSES) - set(train)), set(train) - set(FER_CLASSES)
    if len(missing) == 1:
        similar = get_close_matches(missing[0], own, 1)
        if similar or not own:
            hint = f"rename {similar[0]}/" if similar else "add it"
            raise TutorialError(f"{title}: train/ has no {missing[0]}/; {hint}.")
    for name in set(test) - set(train):
        hint = ", ".join(get_close_matches(name, train, 1) or train)
        raise TutorialError(f"{title}: test/{name}/ is no class of train/; should it be {hint}?")


def _unpack(path: Path, dataset: Path) -> None:
    """Unpack train/ and test/ of a zip into `dataset`, all or nothing."""
    from tqdm.auto import tqdm

    source, staging = locate(path), dataset / ".unpacking"
    halves = (source.inside + "train/", source.inside + "test/")
    with _open_zip(path) as (archive, members):
        wanted = [info for name, info in members.items() if name.startswith(halves)]
        if not wanted:
            raise TutorialError(f"{path.name} has no train/ and test/; move it out of dataset/.")
        try:
            for info in tqdm(wanted, f"Unpacking {path.name}", unit=" files", mininterval=0.5):
                archive.extract(info, staging)
        except DAMAGED as error:
            raise TutorialError(f"{path.name} is damaged ({error}); get it again.") from error
    _finish(dataset, staging / source.inside)


def _finish(dataset: Path, whole: Path | None = None) -> None:
    """Move train/ and test/ out of `whole` into place; clear away what is left.

    An interruption between the two moves is made good by the next call.
    """
    ready = dataset / ".ready"
    if whole:
        whole.rename(ready)
    for split in ("test", "train"):
        if (ready / split).exists() and not (dataset / split).exists():
            (ready / split).rename(dataset / split)
    for leftover in (".unpacking", ".kaggle", ".ready"):
        shutil.rmtree(dataset / leftover, ignore_errors=True)


def reachable(address: str) -> bool:
    """Whether a server answers anything at all within PROBE_SECONDS."""
    import requests

    answers = []

    def ask() -> None:
        with suppress(requests.RequestException):
            answers.append(requests.head(address, timeout=PROBE_SECONDS, allow_redirects=False))

    # A name look-up cannot be interrupted, so it hangs in a thread that nobody waits for.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return len(answers) > 0


def _download(dataset: Path) -> str:
    """Fetch FER-2013 from Kaggle into `dataset`; return "" or, in words, why that failed."""
    cache = dataset / ".kaggle"
    try:
        from requests import Session

        test = os.environ.get("KAGGLE_API_ENVIRONMENT") == "TEST"  # as kagglehub has it
        if not reachable("http://localhost:7777" if test else "https://api.kaggle.com"):
            return "Kaggle cannot be reached"
        print("Downloading FER-2013 from Kaggle ...")
        # kagglehub sets no limit of its own, and would wait for a silent server for ever.
        limited = functools.partialmethod(Session.send, timeout=STALL_SECONDS)
        # What it prints is about folders and its own version; the progress bar is not printed.
        with patch.object(Session, "send", limited), redirect_stdout(io.StringIO()):
            import kagglehub

            kagglehub.dataset_download(HANDLE, output_dir=str(cache))
        source = _checked(cache, "kaggle")
        _finish(dataset, cache / source.inside)
    except Exception as error:  # there is a fallback, whatever it was
        return "the download failed (" + " ".join(str(error).split())[:150] + ")"
    return ""


def prepare(dataset: Path = DATASET, download: bool | None = None) -> Source:
    """Get images ready: the named ones, those in `dataset`, a zip there, Kaggle's, or toy faces.

    Args:
        dataset: the folder for data; toy faces go into its folder `toy`.
        download: whether to ask Kaggle; None asks only while there are no toy faces yet.

    Raises:
        TutorialError: if the data that you named or put there is not as it must be.
    """
    named = os.environ.get("TUTORIAL_DATASET", "").strip()
    if named and named.lower() != "toy":
        return locate(named)
    try:
        dataset.mkdir(parents=True, exist_ok=True)
        _finish(dataset)
        return (None if named else _real_images(dataset, download)) or _toy_faces(dataset / "toy")
    except OSError as error:
        raise TutorialError(f"{dataset.name} cannot be read or written: {error}.") from error
    finally:
        _finish(dataset)


def _real_images(dataset: Path, download: bool | None) -> Source | None:
    for folder in (dataset, *sorted(dataset.iterdir())):
        if folder.name != "toy" and any((folder / half).is_dir() for half in ("train", "test")):
            return _checked(folder, "folder", inside="")
    for path in sorted(dataset.glob("*.zip")):
        _unpack(path, dataset)
        return _checked(dataset, "zip", f", unpacked from {path.name}", inside="")
    if download or (download is None and not (dataset / "toy" / "toy.json").exists()):
        trouble = _download(dataset)
        if not trouble:
            return _checked(dataset, "kaggle", ", FER-2013 downloaded from Kaggle", inside="")
        print(
            f"No FER-2013: {trouble}. For the real data run `python start.py` again with a "
            "network, or put archive.zip from kaggle.com/datasets/msambare/fer2013 into dataset/."
        )
    return None


def _toy_faces(folder: Path) -> Source:
    from fetch import toy_faces

    note = ", toy faces drawn by this project, not photographs"
    with suppress(OSError, ValueError, KeyError, TutorialError):  # then they are drawn again
        if json.loads((folder / "toy.json").read_text("utf-8"))["version"] == toy_faces.VERSION:
            return _checked(folder, "toy", note)
    toy_faces.write_toy_faces(folder)
    return _checked(folder, "toy", note)
