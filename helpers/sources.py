"""Finds the images or gets them: a folder, a zip, Kaggle, or toy faces drawn on the spot."""

from __future__ import annotations

import difflib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from helpers.settings import DATASET, FER_CLASSES, ROOT, TutorialError

HANDLE = "msambare/fer2013/versions/1"  # a fixed version: what a lesson measured stays true
ARCHIVE_BYTES = 62_284_105  # its size, for the progress bar
MEMBER_LIMIT = 50_000_000  # bytes of one file in a zip
TOTAL_LIMIT = 4_000_000_000  # bytes of all files in a zip
PROBE_SECONDS = 5.0  # to find out whether Kaggle answers at all
STALL_SECONDS = 30.0  # a download that brings nothing new for so long is given up
IMAGE = re.compile(r"(?i)\.(jpe?g|jpe|png|gif|bmp|webp|tiff?|p[gp]m|jp2|avif)$")
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError)

# Folder -> names of the files in it; "" is the top, "/" stands between parts everywhere.
Listing = dict[str, list[str]]


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
    strays: tuple[str, ...]  # files in class folders that are no images by their names
    is_toy: bool


def locate(path: str | Path) -> Source:
    """Find the images in a zip or folder: `train/` and `test/`, also nested, or class folders.

    A zip is read where it is, not unpacked.

    Raises:
        TutorialError: if nothing is there, or the folders are not as they must be.
    """
    wanted = Path(path).expanduser()
    # Notebooks run in notebooks/, so a path typed at the project's root is tried there too.
    found = next((place for place in (wanted, ROOT / wanted) if place.exists()), None)
    if found is None:
        raise TutorialError(f"There is no {path}; name a zip or a folder with train/ and test/.")
    with _listed(found.resolve()) as (listing, _):
        inside = _find_root(listing)
        _check(_tree(listing, inside), str(path))
    return Source(found.resolve(), inside, "named", f"Data: {_shown(found)}, as you named it.")


@contextmanager
def opened(source: Source) -> Iterator[tuple[Tree, Callable[[str], bytes]]]:
    """Give the files of a source and a function that reads one of them by its name there."""
    with _listed(source.path) as (listing, read):
        yield _tree(listing, source.inside), lambda name: read(source.inside + name)


def _shown(path: Path) -> str:
    """Return a path as messages show it: without what lies above this project."""
    path = path.resolve()
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name


def _is_junk(name: str) -> bool:
    return name.startswith(".") or name in ("__MACOSX", "Thumbs.db", "desktop.ini")


@contextmanager
def _listed(path: Path) -> Iterator[tuple[Listing, Callable[[str], bytes]]]:
    """Give what lies in a folder or zip, without hidden and system files, and a reader."""
    listing: Listing = {}
    if path.is_dir():
        for here, below, names in os.walk(path, followlinks=True):
            parts = Path(here).relative_to(path).parts
            # Four levels are enough for data/archive/train/angry, and end circles of links.
            below[:] = [name for name in below if not _is_junk(name) and len(parts) < 4]
            if len(listing) > 10_000:
                raise TutorialError(f"{path.name} has over 10,000 folders; name the right one.")
            listing["/".join(parts)] = [name for name in names if not _is_junk(name)]
        yield listing, lambda name: (path / name).read_bytes()
    else:
        with _open_zip(path) as (archive, members):
            for name in members:
                folder, _, file = name.rpartition("/")  # of a folder, `file` is ""
                listing.setdefault(folder, []).extend([file] if file else [])
            yield listing, lambda name: archive.read(members[name])


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
            name = info.filename.replace("\\", "/")
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


def _find_root(listing: Listing) -> str:
    """Return the prefix under which train/ and test/, or else bare class folders, lie."""
    roots: dict[str, set[str]] = {"train": set(), "test": set()}
    for folder in listing:
        above, _, split = folder.rpartition("/")[0].rpartition("/")
        if split in roots:
            roots[split].add(above + "/" if above else "")
    halves = roots["train"] & roots["test"] or roots["train"] | roots["test"]
    if halves:
        return min(halves, key=lambda root: (root.count("/"), root))
    parents = [f.rpartition("/")[0] for f in listing if f and any(map(IMAGE.search, listing[f]))]
    best = max(sorted(set(parents)), key=parents.count, default="")
    return best + "/" if best else ""


def _tree(listing: Listing, inside: str) -> Tree:
    folders = {f[len(inside) :]: names for f, names in listing.items() if f.startswith(inside)}
    found = {folder.split("/")[0] for folder in folders if "/" in folder}
    splits: dict[str, dict[str, list[str]]] = {
        split: {} for split in ("train", "test") if split in found or split in folders
    }
    if not found & splits.keys():
        splits = {"": {}}
    strays = []
    for folder, names in sorted(folders.items()):
        split, _, name = folder.rpartition("/")
        is_class = bool(name) and split in splits
        images = sorted(filter(IMAGE.search, names)) if is_class else []
        if images or (is_class and split):
            splits[split][name] = [f"{folder}/{file}" for file in images]
        top = folder.split("/")[0]
        if is_class or ("/" in folder and (top in splits or top in splits.get("", ()))):
            strays += [f"{folder}/{file}" for file in sorted(set(names) - set(images))]
    toy = "toy.json" in folders.get("", listing.get(inside.rstrip("/"), ()))
    return Tree(splits, tuple(strays), toy)


def _check(tree: Tree, title: str) -> None:
    """Raise TutorialError where a folder is missing, empty or misspelt."""
    if "" in tree.splits:
        if not tree.splits[""]:
            raise TutorialError(f"{title} has no images in train/<class>/ and test/<class>/.")
        return
    for split, other in (("train", "test"), ("test", "train")):
        if not any(tree.splits.get(split, {}).values()):
            raise TutorialError(
                f"{title} has {other}/ but no images in {split}/<class>/; add them, or move "
                f"{other}/ away."
            )
    train, test = (set(tree.splits[split]) for split in ("train", "test"))
    if len(train) < 2:
        raise TutorialError(f"{title}: train/ needs at least two class folders.")
    for name, files in tree.splits["train"].items():
        if not files:
            raise TutorialError(f"{title}: train/{name}/ holds no images; fill it or remove it.")
    missing, own = set(FER_CLASSES) - train, train - set(FER_CLASSES)
    for name in missing if len(missing) == 1 else ():
        similar = _similar(name, own)
        if similar or not own:
            hint = f"rename {similar}/" if similar else "add it"
            raise TutorialError(f"{title}: train/ has six expressions but no {name}/; {hint}.")
    for name in sorted(test - train):
        hint = _similar(name, train) or "one of " + ", ".join(sorted(train))
        raise TutorialError(f"{title}: test/{name}/ is no class of train/; should it be {hint}?")


def _similar(name: str, others: set[str]) -> str:
    lower = {other.lower(): other for other in others}
    return lower.get("".join(difflib.get_close_matches(name.lower(), lower, 1)), "")


def _safe_name(name: str) -> str:
    """Return a file name that Windows can store too."""
    name = re.sub(r'[<>:"|?*\x00-\x1f]', "_", name).rstrip(". ") or "_"
    return "_" + name if re.match(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)", name) else name


def _unpack(source: Source, dataset: Path) -> None:
    """Unpack train/ and test/ of a zip into `dataset`, all or nothing."""
    from tqdm.auto import tqdm

    staging, title = dataset / ".unpacking", source.path.name
    with _open_zip(source.path) as (archive, members):
        roots = tuple(source.inside + split for split in ("train/", "test/"))
        wanted = [n for n in members if n.startswith(roots) and not n.endswith("/")]
        # Small files fill whole blocks of the disk, 4 KB each.
        size = sum(members[name].file_size + 4096 for name in wanted)
        if shutil.disk_usage(dataset).free < size + 100_000_000:
            raise TutorialError(f"{title} needs {size / 1e6:.0f} MB; free some disk space first.")
        try:
            for name in tqdm(wanted, f"Unpacking {title}", unit=" files", mininterval=0.5):
                target = staging.joinpath(*map(_safe_name, name[len(source.inside) :].split("/")))
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(members[name]) as packed, target.open("xb") as plain:
                    shutil.copyfileobj(packed, plain)
        except (*DAMAGED, FileExistsError) as error:
            raise TutorialError(f"{title} is damaged ({error}); get it again.") from error
        (staging / "done").touch()
    _finish(dataset)


def _finish(dataset: Path) -> None:
    """Move what is wholly there into place, even after an interruption; clear the rest away."""
    staging = dataset / ".unpacking"
    if (staging / "done").exists():
        for split in ("test", "train"):
            if (staging / split).exists() and not (dataset / split).exists():
                (staging / split).rename(dataset / split)
    for leftover in (staging, dataset / ".kaggle"):
        shutil.rmtree(leftover, ignore_errors=True)


def _kaggle_answers() -> bool:
    """Ask Kaggle for anything at all; never takes longer than PROBE_SECONDS."""
    test = os.environ.get("KAGGLE_API_ENVIRONMENT") == "TEST"
    address, answers = "http://localhost:7777" if test else "https://api.kaggle.com", []

    def ask() -> None:
        with suppress(Exception):  # whatever it is, there is no Kaggle then
            import requests  # comes with kagglehub; knows proxies and certificates as it does

            requests.head(address, timeout=PROBE_SECONDS, allow_redirects=False)
            answers.append(True)

    # A name look-up cannot be interrupted, so it hangs in a thread that nobody waits for.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return bool(answers)


def _download(dataset: Path) -> str:
    """Fetch FER-2013 from Kaggle into `dataset`; return "" or, in words, why that failed."""
    from tqdm.auto import tqdm

    if not _kaggle_answers():
        return "Kaggle cannot be reached"
    cache = dataset / ".kaggle"
    cache.mkdir()
    # kagglehub would wait for a silent server for ever; a process of its own can be stopped.
    command = [sys.executable, "-c", f"import kagglehub; kagglehub.dataset_download({HANDLE!r})"]
    environment = {**os.environ, "KAGGLEHUB_CACHE": str(cache), "KAGGLEHUB_VERBOSITY": "error"}
    with (
        (cache / "log.txt").open("w+b") as log,
        tqdm(None, "FER-2013 from Kaggle", ARCHIVE_BYTES, unit="B", unit_scale=True) as bar,
        subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=log
        ) as process,
    ):
        try:
            state, changed = (0, 0), time.monotonic()
            while process.poll() is None and time.monotonic() - changed < STALL_SECONDS:
                time.sleep(0.3)
                files = [Path(here, name) for here, _, names in os.walk(cache) for name in names]
                if len(files) < 100:  # while it unpacks, counting them is enough
                    bar.update(
                        sum(f.stat().st_size for f in files if f.suffix == ".archive") - bar.n
                    )
                if (len(files), bar.n) != state:
                    state, changed = (len(files), bar.n), time.monotonic()
            if process.poll() is None:
                return "Kaggle stopped sending"
        finally:
            process.kill()
            process.wait()
        log.seek(0)
        reason = log.read().decode("utf-8", "replace").strip().splitlines()[-1:]
    if process.returncode:
        return f"the download broke off ({''.join(reason)[:150]})"
    folder = next((train.parent for train in cache.rglob("train")), cache)
    try:
        _taken(folder, "kaggle")
    except TutorialError:
        return "what Kaggle sent is something else"
    folder.rename(dataset / ".unpacking")
    (dataset / ".unpacking" / "done").touch()
    _finish(dataset)
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
        found = None if named else _own_data(dataset) or _zip_or_kaggle(dataset, download)
        return found or _toy_faces(dataset / "toy")
    except OSError as error:
        raise TutorialError(f"{_shown(dataset)}/ cannot be read or written: {error}.") from error
    finally:
        if not (dataset / ".unpacking" / "done").exists():
            _finish(dataset)


def _taken(folder: Path, kind: str, how: str = "") -> Source:
    """Return a folder with train/ and test/ in it as the source, once it is found in order."""
    source = Source(folder, "", kind, f"Data: {_shown(folder)}/{how}.")
    with opened(source) as (tree, _):
        _check(tree, f"{_shown(folder)}/")
    return source


def _own_data(dataset: Path) -> Source | None:
    """Return train/ and test/ of `dataset`, or of a folder in it, if they are there."""
    if any((dataset / split).is_dir() for split in ("train", "test")):
        return _taken(dataset, "folder")
    for folder in sorted(dataset.iterdir()):
        if folder.name not in ("toy", ".unpacking") and all(
            (folder / split).is_dir() for split in ("train", "test")
        ):
            return _taken(folder, "folder")
    return None


def _zip_or_kaggle(dataset: Path, download: bool | None) -> Source | None:
    for path in sorted(dataset.glob("*.zip")):
        try:
            source = locate(path)
            with opened(source) as (tree, _):
                if "train" not in tree.splits:
                    raise TutorialError(f"{path.name} has no train/ and test/.")
        except TutorialError as error:
            if re.match("(?i)archive|fer", path.name):  # toy faces would hide the trouble
                raise
            print(f"{error} It is left alone.")
            continue
        _unpack(source, dataset)
        return _taken(dataset, "zip", f", unpacked from {path.name}")
    if download or (download is None and not (dataset / "toy" / "toy.json").exists()):
        trouble = _download(dataset)
        if not trouble:
            return _taken(dataset, "kaggle", ", FER-2013 downloaded from Kaggle")
        print(
            f"No FER-2013: {trouble}. For the real data run `python start.py` again with a "
            "network, or put archive.zip from kaggle.com/datasets/msambare/fer2013 into dataset/."
        )
    return None


def _toy_faces(folder: Path) -> Source:
    from helpers import toy_faces

    try:
        current = json.loads((folder / "toy.json").read_text("utf-8"))["version"]
    except (OSError, ValueError, KeyError, TypeError):
        current = None
    note = ", toy faces drawn by this project, not photographs"
    if current == toy_faces.VERSION:
        with suppress(TutorialError):  # where somebody deleted half of them
            return _taken(folder, "toy", note)
    toy_faces.write_toy_faces(folder)
    return _taken(folder, "toy", note)


if __name__ == "__main__":
    from helpers.data import load_dataset

    try:
        load_dataset(download=True)
    except TutorialError as error:
        sys.exit(str(error))
