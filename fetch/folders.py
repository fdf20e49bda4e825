"""Finds splits and classes in a folder of pictures, and says what it took and what it did not."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path, PurePath

from fetch.archives import NOT_UNPACKED
from helpers import FER_CLASSES, TutorialError
from helpers.pictures import is_junk, is_picture

SPLITS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
Place = tuple[tuple[str, ...], int]  # a path in parts, and which of them is the class


@dataclass(frozen=True)
class Layout:
    """The pictures of a folder, by split and class."""

    # {"train": {"happy": {path: "happy/1.png"}}}; the only split of bare class folders is ""
    splits: dict[str, dict[str, dict[Path, str]]]
    strays: list[str]  # files in class folders that are no pictures by their names
    notes: list[str]  # sentences: what was taken, and what left aside
    is_toy: bool


def split_of(name: str) -> str:
    """Return "train", "validation" or "test" for a folder's usual names, in any case, or ""."""
    return next((split for split, names in SPLITS.items() if name.casefold() in names), "")


def walk(folder: Path) -> Iterator[tuple[str, ...]]:
    """Give the parts of all paths below a folder; those of a folder end with "".

    Left out are junk, toy faces within, and folders met again through a link.
    """
    seen = set()
    for here, below, files in os.walk(folder, followlinks=True):
        place, parts = Path(here), Path(here).relative_to(folder).parts
        if (real := place.resolve()) in seen:
            below.clear()
            continue
        seen.add(real)
        below[:] = sorted(name for name in below if not (place / name / "toy.json").exists())
        below[:] = [name for name in below if not is_junk(name)]
        yield from ((*parts, name) for name in ["", *sorted(files)] if not is_junk(name))
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
    splits, strays, taken = {}, [], {}
    for split, places in _splits(everything).items():
        places, classes = _unwrapped(places, set(splits.get("train", ()))), {}
        for parts, at in places:
            name = unicodedata.normalize("NFC", parts[at])  # macOS takes accents apart
            files = classes.setdefault(name, {})
            if is_picture(parts[-1]):
                label = "/".join((name, *parts[at + 1 :])).encode("utf-8", "replace").decode()
                files[folder.joinpath(*parts)] = label
                taken[parts] = split, "/".join(parts[:at])
            elif parts[-1]:
                strays.append("/".join(parts))
        if split == "train" and taken:
            _check_full(classes, places, title)
        splits[split] = {name: files for name, files in classes.items() if files}
    _check(splits, everything, title)
    notes = [_taken(taken), _left_aside(everything, taken, strays), _hints(splits)]
    toy = (folder / "toy.json").exists()
    return Layout(splits, strays, list(filter(None, notes)), toy)


def _splits(everything: Iterable[tuple[str, ...]]) -> dict[str, list[Place]]:
    """Sort paths by split; of several places with train/ and test/ the uppermost is taken."""
    roots: dict[tuple[str, ...], dict[str, list[Place]]] = {}
    bare = []
    for parts in everything:
        here = [at for at, name in enumerate(parts[:-2]) if split_of(name)]
        if not here:
            bare.append((parts, 0))
            continue
        last = here[0]
        while last + 1 in here or (not parts[-1] and split_of(parts[last + 1])):
            last += 1  # train/train/<class>
        root = roots.setdefault(parts[: here[0]], {})
        root.setdefault(split_of(parts[last]), []).append((parts, last + 1))
    if not roots:
        return {"": bare}

    def rank(root: tuple[str, ...]) -> tuple:
        return not {"train", "test"} <= set(roots[root]), len(root), root

    found = roots[min(roots, key=rank)]
    return {split: found[split] for split in SPLITS if split in found}


def _unwrapped(places: list[Place], classes: set[str]) -> list[Place]:
    """Step into a folder that lies around all class folders, unless it is itself a class."""
    while True:
        places = [(parts, at) for parts, at in places if len(parts) > at + 1]
        pictures = [(parts, at) for parts, at in places if is_picture(parts[-1])]
        around = {parts[at] for parts, at in pictures}
        if len(around) != 1 or around <= classes:
            return places
        if any(len(parts) == at + 2 for parts, at in pictures):
            return places
        places = [(parts, at + 1) for parts, at in places if parts[at] in around]


def _check_full(classes: dict, places: list[Place], title: str) -> None:
    for name in sorted(name for name, files in classes.items() if not files):
        inside = [parts for parts, at in places if parts[at] == name]
        raise TutorialError(
            f"{title}: train/{name}/ holds no images but {_endings(inside)}; fill it or remove it."
            + _heic(inside)
        )


def _check(splits: dict, everything: list, title: str) -> None:
    """Raise TutorialError where there are no pictures, or a class is not named as it must be."""
    if not any(splits.values()):
        loose = sum(is_picture(parts[-1]) for parts in everything)
        raise TutorialError(
            f"{title} has images ({loose:,}), but none in a class folder: make a folder for each "
            "class, in train/ and test/ or side by side."
            if loose
            else f"{title} has no images but {_endings(everything)}.{_heic(everything)}"
        )
    if all(map(split_of, splits.get("", ("-",)))):
        raise TutorialError(
            f"{title}: images lie directly in {'/, '.join(sorted(splits['']))}/; sort them into a "
            "folder for each class there."
        )
    known = splits.get("train") or next(iter(splits.values()))
    for split, classes in splits.items():
        for name in sorted(classes):
            if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
                raise TutorialError(f"{title}: rename the folder {name!a}, which is no text.")
            if name not in known:
                hint = ", ".join(get_close_matches(name, known, 1) or sorted(known)[:10])
                raise TutorialError(
                    f"{title}: {split}/{name}/ is no class of train/; should it be {hint}?"
                )


def _taken(taken: dict[tuple[str, ...], tuple[str, str]]) -> str:
    """Say where the splits were found, if that is not where they are looked for first."""
    places = Counter(taken.values())
    if all(split == place for split, place in places):
        return ""
    named = (
        f"{count:,} images in {place or 'class folders'}{'/' * bool(place)}"
        + f" as {split}" * bool(split)
        for (split, place), count in places.items()
    )
    return f"Taken: {', '.join(named)}."


def _left_aside(everything: list, taken: dict, strays: list[str]) -> str:
    """Say which pictures were not taken, and which files beside pictures are none."""
    left = [parts for parts in everything if is_picture(parts[-1]) and parts not in taken]
    said = []
    if left:
        places = Counter("/".join((*parts[:-1][:2], "")) for parts in left).most_common()
        named = ", ".join(f"{place or 'beside them'} {count:,}" for place, count in places[:3])
        more = f" and {len(places) - 3:,} more folders" * (len(places) > 3)
        said.append(f"images outside the class folders ({named}{more})")
    if strays:
        kinds = _endings([stray.split("/") for stray in strays])
        said.append(f"files that are no pictures ({kinds}), such as {strays[0]}")
    return (f"Left aside: {'; '.join(said)}." * bool(said) + _heic(everything)).strip()


def _endings(paths: Iterable[Sequence[str]]) -> str:
    """Count files by their endings: "8 .txt, 2 .pdf"."""
    names = [parts[-1] for parts in paths if parts[-1]]
    kinds = Counter(PurePath(name).suffix.lower() or "without ending" for name in names)
    return ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common(4)) or "nothing"


def _heic(paths: Iterable[Sequence[str]]) -> str:
    number = sum(parts[-1].lower().endswith((".heic", ".heif")) for parts in paths)
    sentence = f" HEIC pictures ({number:,}), as iPhones make them, cannot be read: save as JPEG."
    return sentence * bool(number)


def _hints(splits: dict) -> str:
    """Say what may be meant: persons below the classes, an expression under another name."""
    said = []
    classes = set().union(*splits.values())
    missing = sorted(set(FER_CLASSES) - classes)
    if 1 <= len(missing) <= 3:
        said.append(f"Unlike FER-2013 there is no {'/, '.join(missing)}/.")
        for name in sorted(classes - set(FER_CLASSES)):
            if close := get_close_matches(name, missing, 1, 0.7):
                said.append(f"If {name}/ is meant to be {close[0]}, rename it.")
    labels = [
        label for names in splits.values() for files in names.values() for label in files.values()
    ]
    if folders := {tuple(label.split("/")[1:-1]) for label in labels} - {()}:
        said.append(
            f"Images lie in {len(folders):,} folders below their class, as those of persons do: "
            "to keep each on one side of a split, use --by-subject or `by_subject=True`."
        )
    return " ".join(said)
