"""Pack a folder for computers without a network: python start.py pack FOLDER

FOLDER becomes a copy of the project with its packages in wheels/ and its images in dataset/.
Copied to a computer with the same system and the same Python, `python start.py` in it sets up
without a network. For rooms with several kinds of computers, run it on one of each kind with the
same FOLDER: the wheels add up.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # for an environment without the `-e .` of requirements.txt

from fetch.sources import Source, prepare
from helpers import TutorialError, replacing

# Not copied: what a computer makes for itself, and .git, whose settings may hold a password.
OWN = {".git", ".venv", "build", "runs", "dataset", "wheels"}
MARK = ".packed_room"  # says that a folder was made here, and may be written over
LITTER = shutil.ignore_patterns("__pycache__", ".*_cache", ".ipynb_checkpoints", "*.egg-info")


def check_folder(folder: Path) -> Path:
    """Return the folder, resolved, if the project can be packed into it.

    Raises:
        TutorialError: if it lies in the project, or holds something that is no earlier pack.
    """
    folder = folder.expanduser().resolve()
    if folder.is_relative_to(ROOT):
        raise TutorialError(f"{folder} is inside the project: choose a folder outside it.")
    if folder.exists() and not folder.is_dir():
        raise TutorialError(f"{folder} is a file: choose a folder.")
    if folder.exists() and any(folder.iterdir()) and not (folder / MARK).is_file():
        raise TutorialError(f"{folder} holds other things: choose a new or an empty folder.")
    return folder


def copy_project(folder: Path) -> None:
    """Copy the files of the project, but not what was made or downloaded here."""

    def ignored(place: str, names: list[str]) -> set[str]:
        return LITTER(place, names) | (OWN if Path(place) == ROOT else set())

    shutil.copytree(ROOT, folder, ignore=ignored, dirs_exist_ok=True)
    (folder / "dataset").mkdir(exist_ok=True)
    shutil.copy(ROOT / "dataset" / "README.md", folder / "dataset")


def copy_images(source: Source, folder: Path) -> str:
    """Write the images as one zip into the folder's dataset/ and return what was done.

    One file of 60 MB is copied to a stick in seconds, 35,887 small ones are not.
    """
    target = folder / "dataset" / "images.zip"
    if source.layout.is_toy:
        target.unlink(missing_ok=True)
        return "No images: each computer draws its own toy faces."
    with replacing(target) as partial, zipfile.ZipFile(partial, "w") as archive:
        for split, classes in source.layout.splits.items():
            for path, file in itertools.chain(*(files.items() for files in classes.values())):
                archive.write(path, f"{split}/{file}".lstrip("/"))
    return f"The images are in {target.parent.name}/{target.name}."


def wanted() -> str:
    """Return the packages to download: those of requirements.txt, and what builds `-e .`."""
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    build = project.get("build-system", {}).get("requires", [])
    return "\n".join([line for line in lines if not line.startswith("-e")] + build)


def download(folder: Path) -> None:
    """Fetch the wheels for this Python and system, the newest that requirements.txt allows.

    Raises:
        TutorialError: if there is no pip, or it ends with an error.
    """
    if not importlib.util.find_spec("pip"):  # then uv made this environment; it cannot download
        uv = ["uv", "pip", "install", "--python", sys.executable, "pip"]
        if not shutil.which("uv") or subprocess.run(uv).returncode:
            raise TutorialError("Packages are fetched by pip, which is not here: install it first.")
    pip = [sys.executable, "-m", "pip", "download", "--only-binary=:all:"]
    with tempfile.TemporaryDirectory() as scratch:
        packages = Path(scratch) / "packages.txt"
        packages.write_text(wanted(), "utf-8")
        if subprocess.run([*pip, "-r", packages, "-d", folder / "wheels"]).returncode:
            raise TutorialError(
                "The packages could not be downloaded (see above): check the network and the free "
                "space, then pack again; what is there is not fetched twice."
            )


def main(arguments: list[str] | None = None) -> int:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("folder", type=Path, help="a new folder, or one that was packed before")
    options = parser.parse_args(arguments)
    try:
        folder = check_folder(options.folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARK).touch()
        copy_project(folder)
        print(copy_images(prepare(), folder), "Fetching the packages ...", flush=True)
        download(folder)
    except (TutorialError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped; the same command goes on from here.", file=sys.stderr)
        return 130
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e9
    python = "{}.{}".format(*sys.version_info)
    print(
        f"{folder} is ready ({size:.1f} GB). Copy it to computers with this system and Python "
        f"{python}, and run `python start.py` in it: no network is needed."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
