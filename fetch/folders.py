"""Finds splits and classes in a folder of pictures, and says what it took and what it did not."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import takewhile
from pathlib import Path, PurePath

from fetch.archives import ENDINGS, NOT_UNPACKED
from helpers import FER_CLASSES, TutorialError
from helpers.pictures import HEIC, is_junk, is_picture

SPLITS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
LIKE_A_SPLIT = re.compile(r"(?i)^(train|test|val)\w*?[ _.-]|[ _.-](train|test|val)[a-z]*$")
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
    return next((split for split, names in SPLITS.items() if name.strip().casefold() in names), "")


def walk(folder: Path) -> Iterator[Parts]:
    """Give the parts of all paths below a folder; those of a folder end with "".

    Left out are junk, toy faces within, and links to a folder that they lie in.

    Raises:
        TutorialError: if a folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise TutorialError(f"{Path(error.filename).name}/ cannot be read: {error.strerror}.")

    for here, below, files in os.walk(folder, onerror=refuse, followlinks=True):
        place = Path(here)
        circle = place.is_symlink() and place.resolve() in map(Path.resolve, place.parents)
        if circle or (place != folder and "toy.json" in files):
            below.clear()
            continue
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
            name = unicodedata.normalize("NFC", below[0].strip())  # macOS takes accents apart
            files = classes.setdefault(name, {})
            if is_picture(below[-1]):
                label = "/".join((name, *below[1:])).encode("utf-8", "replace").decode()
                files[folder.joinpath(*above, *below)] = label
                taken.append((split, (above, below)))
            elif below[-1]:
                strays.append("/".join(above + below))
    _check(splits, everything, title)
    hollow = [f"{s}/{c}".lstrip("/") for s in splits for c in splits[s] if not splits[s][c]]
    for split, classes in splits.items():
        splits[split] = {name: files for name, files in classes.items() if files}
    aside = _left_aside(everything, taken, strays, hollow)
    notes = [_places(taken), aside, _hints(splits, taken)]
    return Layout(splits, strays, list(filter(None, notes)), (folder / "toy.json").exists())


def _splits(everything: list[Parts]) -> dict[str, list[Place]]:
    """Sort paths by split; of several places the uppermost with both train/ and test/."""
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

    found = {} if roots else {"": bare}
    for root in sorted(roots, key=rank):
        if not {"train", "test"} <= set(found):  # else they may lie apart: a/train/, b/test/
            found = roots[root] | found
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
        what = _no_images(everything)
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
        empty = sorted(name for name, files in classes.items() if not files)
        if split and empty and (split == "train" or len(empty) == len(classes)):
            within = (parts for parts in everything if split in map(split_of, parts))
            inside = [parts for parts in within if empty[0] in parts[1:-1]]
            raise TutorialError(
                f"{title}: {split}/{empty[0]}/ holds {_no_images(inside)} Fill it or remove it."
            )
        for name, files in sorted(classes.items()):
            if not name or any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
                raise TutorialError(f"{title}: rename the folder {name!a}, which is no text.")
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


def _left_aside(everything: list[Parts], taken: list, strays: list[str], hollow: list[str]) -> str:
    """Say which pictures were not taken, which files beside them are none, and what is empty."""
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
    packed = ["/".join(parts) for parts in everything if parts[-1].lower().endswith(ENDINGS)]
    for kind, names in (("archives", set(packed) - {*strays}), ("folders without images", hollow)):
        if names:
            more = ", ..." if len(names) > 5 else ""
            said.append(f"{kind} ({', '.join(sorted(names)[:5])}{more})")
    sentence = f"Left aside: {'; '.join(said)}." if said else ""
    return (sentence + _heic(everything)).strip()


def _endings(paths: Iterable[Sequence[str]]) -> str:
    """Count files by their endings: "8 .txt, 2 .pdf"."""
    names = [parts[-1] for parts in paths if parts[-1]]
    kinds = Counter(PurePath(name).suffix.lower() or "without ending" for name in names)
    return ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common(4))


def _no_images(paths: Sequence[Sequence[str]]) -> str:
    """Say what there is instead of images: "no images but 8 .txt."."""
    packed = any(parts[-1].lower().endswith((*ENDINGS, ".gz", ".bz2", ".zst")) for parts in paths)
    what = f"no images but {kinds}" if (kinds := _endings(paths)) else "no images and nothing else"
    return f"{what}{': unpack what is packed in there' * packed}.{_heic(paths)}"


def _heic(paths: Iterable[Sequence[str]]) -> str:
    """Return a sentence on HEIC pictures, with a space before it, or ""."""
    number = sum(parts[-1].lower().endswith(HEIC) for parts in paths)
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
    if alike := [name for name in splits.get("", ()) if re.search(LIKE_A_SPLIT, name)]:
        said.append(f"Taken for classes: {', '.join(alike[:5])}; splits are called train and test.")
    folders = {below[1:-1] for _, (_, below) in taken} - {()}
    if any(split_of(name) for names in folders for name in names):
        said.append("In the class folders are train or test; as splits they belong around them.")
    elif folders:
        said.append(
            f"Images lie in {len(folders):,} folders below their class, as those of persons do: "
            "to keep each on one side of a split, use --by-subject or `by_subject=True`."
        )
    return " ".join(said)
