"""Finds the images or gets them: a folder, an archive, Kaggle, or toy faces drawn on the spot."""

import hashlib
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fetch import archives, kaggle, toy_faces
from fetch.folders import Layout, read_folder, split_of, walk
from fetch.staging import make_folder
from helpers import BUILD, DATASET, ROOT, TutorialError
from helpers.pictures import is_picture


@dataclass(frozen=True)
class Source:
    """The images that were found, and one line that says where."""

    layout: Layout
    message: str


def prepare(dataset: Path = DATASET, download: bool | None = None) -> Source:
    """Get images ready: the named ones, those in `dataset`, an archive there, Kaggle's, or toys.

    Args:
        dataset: the folder for data; toy faces go into its folder `toy`.
        download: whether to ask Kaggle; None asks only while there are no toy faces yet.

    Raises:
        TutorialError: if the data that you named or put there is not as it must be.
    """
    named, toy = os.environ.get("TUTORIAL_DATASET", "").strip(), dataset / "toy"
    if named and named.lower() != "toy":
        return locate(named)
    try:
        dataset.mkdir(parents=True, exist_ok=True)
        if not named:
            if content := _content(dataset):
                return _opened(content)
            ask = not (toy / "toy.json").exists() if download is None else download
            if ask and _downloaded(dataset / "fer2013"):
                return _opened(dataset, ", FER-2013 downloaded from Kaggle")
        toy_faces.write_toy_faces(toy)
        return _opened(toy, ", toy faces drawn by this project, not photographs")
    except OSError as error:
        raise TutorialError(f"{dataset.name} cannot be read or written: {error}.") from error


def locate(path: str | Path) -> Source:
    """Find the images in a folder, an archive or a table: in train/ and test/, or class folders.

    Raises:
        TutorialError: if nothing is there, or it is not as it must be.
    """
    name = str(path).strip(" '\"")
    if name.startswith(("http:", "https:")):
        raise TutorialError(f"{name} is an address: download it first, then name the file.")
    # Notebooks run in notebooks/, so a path typed at the project's root is tried there too.
    given = Path(name)
    with suppress(RuntimeError):  # ~name, and there is nobody of this name
        given = given.expanduser()
    for found in (given, ROOT / given):
        if found.exists():
            found = found.resolve()
            content = _content(found) if found.is_dir() else found
            return _opened(content or found, ", as you named it")
    raise TutorialError(f"There is no {name}; name a zip or a folder with train/ and test/.")


def _content(folder: Path) -> Path | None:
    """Return the folder if there are images in its folders, or else an archive that lies in it.

    Raises:
        TutorialError: if there are several.
    """
    for *above, name in walk(folder):
        if above and (is_picture(name) or any(map(split_of, above))):
            return folder
    found = []
    for file in sorted(folder.iterdir()):
        table = file.suffix.lower() == ".csv" and not archives.other_than_archive(file)
        if table or file.name.lower().endswith(archives.ENDINGS):
            found.append(file)
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise TutorialError(f"{folder.name}/ has several archives ({names}): name or unpack one.")
    return found[0] if found else None


def _opened(path: Path, how: str = "") -> Source:
    """Return the images of a folder, or of an archive, which is unpacked."""
    # Learners show messages to others, so no folder above this project is in them.
    title = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name
    folder, title = (path, title + "/") if path.is_dir() else (_unpacked(path), title)
    return Source(read_folder(folder, title), f"Data: {title}{how}.")


def _unpacked(path: Path) -> Path:
    """Return the folder that an archive was unpacked into, which is done anew if it changes.

    It lies in build/, where everything may be deleted: dataset/ holds what is yours.
    """
    state = path.stat()
    mark = hashlib.sha256(f"{path} {state.st_size} {state.st_mtime_ns}".encode()).hexdigest()[:10]
    folder = BUILD / "unpacked" / f"{path.name}-{mark}"
    if not folder.exists():
        make_folder(folder, lambda new: archives.unpack(path, new))
        for old in folder.parent.iterdir():
            if old.name.startswith(f"{path.name}-") and old != folder:
                shutil.rmtree(old, ignore_errors=True)
    return folder


def _downloaded(folder: Path) -> bool:
    """Whether FER-2013 could be fetched into a folder; if not, print why and what to do."""
    try:
        make_folder(folder, kaggle.download)
    except (TutorialError, OSError) as error:
        print(
            f"No FER-2013: {str(error).rstrip('.')}. For the real data run `python start.py` again "
            "with a network, or put archive.zip from kaggle.com/datasets/msambare/fer2013 into "
            "dataset/."
        )
        return False
    return True
