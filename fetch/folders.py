"""Finds splits and classes in a folder of pictures, and says what it took and what it did not."""

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import takewhile
from pathlib import Path, PurePath

from fetch.archives import NOT_UNPACKED
from helpers import FER_CLASSES, TutorialError
from helpers.pictures import is_junk, is_picture

SPLITS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
Parts = tuple[str, ...]  # of a path: ("train", "happy", "1.png")
Place = tuple[Parts, Parts]  # above the class and from it on: (("train",), ("happy", "1.png"))


@dataclass(frozen=True)
class Layout:
    """The pictures of a folder: {"train": {"happy": {path: "happy/1.png"}}}.

    Bare class folders have "" for their split. `strays` are files beside pictures that are none;
    `notes` say what was taken and what left aside.
    """

    splits: dict[str, dict[str, dict[Path, str]]]
    strays: list[str]
    notes: list[str]
    is_toy: bool


def split_of(name: str) -> str:
    """Return "train", "validation" or "test" for a folder's usual names, in any case, or ""."""
    return next((split for split, names in SPLITS.items() if name.casefold() in names), "")


def walk(folder: Path) -> Iterator[Parts]:
    """Give the parts of all paths below a folder; those of a folder end with "".

    Left out are junk, toy faces within, and folders met again through a link.
    """
    seen = set()
    for here, below, files in os.walk(folder, followlinks=True):
        place = Path(here)
        if place.resolve() in seen or (place != folder and "toy.json" in files):
            below.clear()
            continue
        seen.add(place.resolve())
        below[:] = sorted(name for name in below if not is_junk(name))
        names = sorted(name for name in files if not is_junk(name))
        yield from ((*place.relative_to(folder).parts, name) for name in ["", *names])
    if (folder / NOT_UNPACKED).exists():
        for line in (folder / NOT_UNPACKED).read_text("utf-8").splitlines():
            yield tuple(line.split("/"))


def read_folder(folder: Path, title: str) -> Layout:
    """Find the pictures: in train/ and test/ by their usual names, or in bare class folders.

    Raises:
        TutorialError: if there are none, or the folders are not as they must be; `title` names
            the folder in the sentence.
    """
    everything = list(walk(folder))
    splits: dict[str, dict[str, dict[Path, str]]] = {}
    strays: list[str] = []
    taken: list[tuple[str, Place]] = []  # pictures, each with its split
    for split, places in _splits(everything).items():
        classes = splits[split] = {}
        for above, below in _unwrapped(places, set(splits.get("train", ()))):
            name = unicodedata.normalize("NFC", below[0])  # macOS takes accents apart
            files = classes.setdefault(name, {})
            if is_picture(below[-1]):
                label = "/".join((name, *below[1:])).encode("utf-8", "replace").decode()
                files[folder.joinpath(*above, *below)] = label
                taken.append((split, (above, below)))
            elif below[-1]:
                strays.append("/".join(above + below))
    _check(splits, everything, title)
    for split, classes in splits.items():
        splits[split] = {name: files for name, files in classes.items() if files}
    notes = [_places(taken), _left_aside(everything, taken, strays), _hints(splits, taken)]
    return Layout(splits, strays, list(filter(None, notes)), (folder / "toy.json").exists())


def _splits(everything: list[Parts]) -> dict[str, list[Place]]:
    """Sort paths by split; of several places with train/ and test/ the uppermost is taken."""
    bare, roots = [], {}  # {("archive",): {"train": [...], "test": [...]}}
    for parts in everything:
        top = next((at for at, name in enumerate(parts[:-2]) if split_of(name)), None)
        if top is None:
            bare.append(((), parts))
            continue
        names = list(takewhile(split_of, parts[top : -2 if parts[-1] else -1]))  # train/train/
        end = top + len(names)
        root = roots.setdefault(parts[:top], {})
        root.setdefault(split_of(names[-1]), []).append((parts[:end], parts[end:]))

    def rank(root: Parts) -> tuple:
        return not {"train", "test"} <= set(roots[root]), len(root), root

    found = roots[min(roots, key=rank)] if roots else {"": bare}
    return {split: found[split] for split in ("", *SPLITS) if split in found}


def _unwrapped(places: list[Place], classes: set[str]) -> list[Place]:
    """Step into a folder that lies around all class folders, unless it is itself a class."""
    while True:
        places = [(above, below) for above, below in places if len(below) > 1]
        pictures = [below for _, below in places if is_picture(below[-1])]
        around = {below[0] for below in pictures}
        if len(around) != 1 or around <= classes or min(map(len, pictures)) == 2:
            return places
        places = [((*up, low[0]), low[1:]) for up, low in places if low[0] in around]


def _check(splits: dict, everything: list[Parts], title: str) -> None:
    """Raise TutorialError where there are no pictures, or a folder is not as it must be."""
    if not any(files for classes in splits.values() for files in classes.values()):
        what = f"no images but {_endings(everything)}.{_heic(everything)}"
        if loose := sum(is_picture(parts[-1]) for parts in everything):
            what = f"images ({loose:,}), but none in a class folder: make a folder for each "
            what += "class, in train/ and test/ or side by side."
        raise TutorialError(f"{title} has {what}")
    if "" in splits and all(map(split_of, splits[""])):
        raise TutorialError(
            f"{title}: images lie directly in {'/, '.join(sorted(splits['']))}/; sort them into a "
            "folder for each class there."
        )
    known = splits.get("train") or next(iter(splits.values()))
    for split, classes in splits.items():
        for name, files in sorted(classes.items()):
            if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
                raise TutorialError(f"{title}: rename the folder {name!a}, which is no text.")
            if split == "train" and not files:
                inside = [p for p in everything if name in p[1:-1] and "train" in map(split_of, p)]
                raise TutorialError(
                    f"{title}: train/{name}/ holds no images but {_endings(inside)}; fill it or "
                    f"remove it.{_heic(inside)}"
                )
            if files and name not in known:
                hint = ", ".join(get_close_matches(name, known, 1) or sorted(known)[:10])
                raise TutorialError(
                    f"{title}: {split}/{name}/ is no class of train/; should it be {hint}?"
                )


def _places(taken: list[tuple[str, Place]]) -> str:
    """Say where the splits were found, if that is not where they are looked for first."""
    places = Counter((split, "/".join(above)) for split, (above, _) in taken)
    if all(split == place for split, place in places):
        return ""
    said = (f"{n:,} images in {at}/ as {split or 'classes'}" for (split, at), n in places.items())
    return f"Taken: {', '.join(said)}."


def _left_aside(everything: list[Parts], taken: list, strays: list[str]) -> str:
    """Say which pictures were not taken, and which files beside pictures are none."""
    known = {above + below for _, (above, below) in taken}
    left = [parts for parts in everything if is_picture(parts[-1]) and parts not in known]
    places = Counter("/".join((*parts[:-1][:2], "")) for parts in left).most_common()
    said = []
    if left:
        named = ", ".join(f"{place or 'beside them'} {count:,}" for place, count in places[:3])
        more = f" and {len(places) - 3:,} more folders" if len(places) > 3 else ""
        said.append(f"images outside the class folders ({named}{more})")
    if strays:
        kinds = _endings(stray.split("/") for stray in strays)
        said.append(f"files that are no pictures ({kinds}), such as {strays[0]}")
    sentence = f"Left aside: {'; '.join(said)}." if said else ""
    return (sentence + _heic(everything)).strip()


def _endings(paths: Iterable[Sequence[str]]) -> str:
    """Count files by their endings: "8 .txt, 2 .pdf"."""
    names = [parts[-1] for parts in paths if parts[-1]]
    kinds = Counter(PurePath(name).suffix.lower() or "without ending" for name in names)
    return ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common(4)) or "nothing"


def _heic(paths: Iterable[Sequence[str]]) -> str:
    """Return a sentence on HEIC pictures, with a space before it, or ""."""
    number = sum(parts[-1].lower().endswith((".heic", ".heif")) for parts in paths)
    if number == 0:
        return ""
    return f" HEIC pictures ({number:,}), as iPhones make them, cannot be read: save as JPEG."


def _hints(splits: dict, taken: list[tuple[str, Place]]) -> str:
    """Say what may be meant: an expression under another name, persons below the classes."""
    said, classes = [], set().union(*splits.values())
    missing, own = sorted(set(FER_CLASSES) - classes), sorted(classes - set(FER_CLASSES))
    if 1 <= len(missing) <= 3:
        but = f", but {', '.join(own[:3])}" if own else ""
        said.append(f"Unlike in FER-2013 there is no {', '.join(missing)}{but}.")
    if folders := {below[1:-1] for _, (_, below) in taken} - {()}:
        said.append(
            f"Images lie in {len(folders):,} folders below their class, as those of persons do: "
            "to keep each on one side of a split, use --by-subject or `by_subject=True`."
        )
    return " ".join(said)
