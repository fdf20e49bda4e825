"""Reads all images into memory, and says what it took."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fetch.sources import Source, locate, prepare
from helpers import IMAGE_SIZE, TutorialError
from helpers.data import Dataset, Split, fingerprint, grouped_split
from helpers.fer2013 import NAMES, judge
from helpers.pictures import open_picture, to_input


def load(
    path: str | Path | Source,
    bare_as: str = "train",
    pad: bool = False,
    by_subject: bool = False,
) -> Dataset:
    """Load all images into memory; files that cannot be used are listed in `problems`.

    Args:
        path: what `locate` takes, or what `prepare` gave.
        bare_as: what bare class folders are: "test" makes all of them test images, "train"
            cuts off a fifth as test images. With "test" there need be no training images.
        pad: whether images that are not square are kept whole, between bars.
        by_subject: whether that fifth is cut between the folders below the classes.

    Raises:
        TutorialError: if a class of the training images, or the test set, has no usable image.
    """
    layout = (path if isinstance(path, Source) else locate(path)).layout
    splits = {(split or bare_as): folders for split, folders in layout.splits.items()}
    folders = splits.get("train") or next(iter(splits.values()))
    names = tuple(sorted(folders))
    if bare_as == "train" and "train" not in splits:
        raise TutorialError(
            f"There are images in {', '.join(splits)}/, but none in train/ to learn from."
        )
    if bare_as == "train" and len(names) < 2:
        raise TutorialError(f"There must be two class folders at least, and is only {names[0]}/.")
    problems = [f"{file} is no picture and was skipped." for file in layout.strays]
    sizes: list[tuple[int, int]] = []
    parts = {split: _read(split, splits[split], names, pad, problems, sizes) for split in splits}
    notes = [*layout.notes, _completed(parts, by_subject), _resized(sizes, pad)]
    given = [parts[split] for split in ("train", "test", "validation") if split in parts]
    mark = fingerprint(names, *given)
    kind, verdict = judge(names, *given[:2], layout.is_toy, mark)
    about = {"problems": tuple(problems), "verdict": verdict, "fingerprint": mark}
    path, file = next(iter(folders[names[0]].items()))
    about |= {"notes": tuple(filter(None, notes)), "folder": str(path.parents[file.count("/")])}
    return Dataset(NAMES[kind], kind, names, **parts, **about)


def report(data: Dataset) -> list[str]:
    """Return what there is to say of a data set, in few lines: of many files only the first."""
    room = max(5 - len(data.notes), 2)
    files = list(data.problems[:room])
    if (more := len(data.problems) - len(files)) > 0:
        files[-1] = f"... and {more + 1:,} more files like these."
    return [data.verdict, *data.notes, *files]


def load_dataset(
    download: bool | None = None, pad: bool = False, by_subject: bool = False
) -> Dataset:
    """Get the images ready, load them, and print what they are in a few lines."""
    source = prepare(download=download)
    print(source.message)
    data = load(source, pad=pad, by_subject=by_subject)
    print(data.verdict, *data.notes, sep="\n")
    if data.problems:
        print(f"Notes on files: {len(data.problems)} (data.problems); {data.problems[0]}")
    return data


def _read(
    split: str, folders: dict, names: Sequence[str], pad: bool, problems: list, sizes: list
) -> Split:
    """Return the images of a split; append to `problems`, and to `sizes` those not 48×48."""
    from tqdm.auto import tqdm

    files = [
        (label, path, file)
        for label, name in enumerate(names)
        for path, file in sorted(folders.get(name, {}).items(), key=lambda item: item[1])
    ]
    images, labels, kept, trouble = [], [], [], {}
    for label, path, file in tqdm(files, f"Loading {split}", unit=" files", delay=2, leave=False):
        try:
            picture = open_picture(path)
        except (TutorialError, OSError) as error:
            why = getattr(error, "strerror", None) or error  # without the path on this machine
            trouble[label] = f"{split}/{file} was skipped: {why}"
            problems.append(trouble[label])
            continue
        if picture.size != (IMAGE_SIZE, IMAGE_SIZE):
            sizes.append(picture.size)
        images.append(to_input(picture, pad))
        labels.append(label)
        kept.append(file)
    for label in sorted(trouble.keys() - set(labels)):
        if split == "train" or not labels:
            raise TutorialError(f"{names[label]} has no {split} image: {trouble[label]}")
    pixels = np.array(images, np.uint8).reshape(-1, IMAGE_SIZE, IMAGE_SIZE)
    return Split(pixels, np.array(labels, np.int64), np.array(kept, str))


def _completed(parts: dict[str, Split], by_subject: bool) -> str:
    """Give `parts` training and test images where folders are missing; say what was done."""
    parts.setdefault("train", next(iter(parts.values())).take(np.arange(0)))
    if "test" in parts:
        return ""
    if "validation" in parts:
        parts["test"] = parts["validation"]
        return (
            f"There is no test/: figures are those of the {len(parts['test']):,} validation "
            "images, which also choose the best epoch, so they are a little too good."
        )
    parts["train"], parts["test"] = grouped_split(parts["train"], 0.2, by_subject=by_subject)
    if not len(parts["test"]):
        raise TutorialError(
            "No test images can be kept aside: a class needs two different images at least"
            f"{', of two persons' * by_subject}."
        )
    return (
        f"There is no test/: a fifth, {len(parts['test']):,} images, is kept aside as test "
        "images, the same ones each time."
    )


def _resized(sizes: list[tuple[int, int]], pad: bool) -> str:
    if not sizes:
        return ""
    text = f"Images that were made {IMAGE_SIZE}×{IMAGE_SIZE}: {len(sizes):,}"
    if oblong := sum(width != height for width, height in sizes):
        what = "got bars" if pad else "lost their sides"
        text += f"; not square, so that they {what}: {oblong:,}"
        text += "" if pad else " (--pad or `pad=True` keeps the sides)"
    return text + "."
