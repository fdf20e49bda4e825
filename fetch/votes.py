"""Looks up what ten people said of each picture of FER-2013, as counted for FER+."""

import csv
import gzip
import hashlib

import numpy as np

from helpers import FER_CLASSES, ROOT, TutorialError
from helpers.data import Dataset, Split

VOTES = ROOT / "dataset" / "ferplus_votes.csv.gz"  # how it was made: dataset/README.md
OTHERS = ("contempt", "unknown", "no_face")  # what a voter could say beside the seven
# Whom simulated raters take each class of FER_CLASSES for, when they are in doubt.
NEIGHBOURS = ("disgust", "angry", "surprise", "neutral", "sad", "neutral", "fear")


def count_votes(data: Dataset, part: Split) -> np.ndarray:
    """Count the votes for each picture of a part of the data -> int64 (n, classes + 3).

    The columns are the data's classes, then OTHERS. A row is all zeros where nobody voted; of
    pictures that are there more than once the votes are added up. Toy faces get the votes of ten
    simulated raters, which are the same each time.

    Raises:
        TutorialError: if these are other pictures than those people voted on.
    """
    columns = (*data.classes, *OTHERS)
    keys = [hashlib.sha256(image.tobytes()).hexdigest()[:16] for image in part.images]
    if data.kind == "toy":
        return np.stack([_raters(k, columns, n) for k, n in zip(keys, part.labels, strict=True)])
    with gzip.open(VOTES, "rt", encoding="ascii") as file:
        table = csv.DictReader(file)
        votes = {row["pixels"]: row for row in table}
    found = [votes.get(key, {}) for key in keys]
    if not set(columns) <= set(table.fieldnames) or 2 * sum(map(bool, found)) < len(found):
        raise TutorialError(
            f"Nobody has voted on these pictures ({data.name}): FER+ asked about FER-2013 alone. "
            "Get it as dataset/README.md says, or set TUTORIAL_DATASET=toy."
        )
    return np.array([[int(row.get(name, 0)) for name in columns] for row in found])


def vote_shares(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn counts into shares of the data's classes -> float32 (n,k) and bool (n,).

    What a single voter said is left out, as FER+'s authors do (Barsoum and others 2016), and so
    are OTHERS. Where fewer than three votes remain, the mask is False and the shares are zeros;
    elsewhere they add up to 1.
    """
    kept = np.where(counts > 1, counts, 0)[:, : -len(OTHERS)]
    total = kept.sum(axis=1, keepdims=True)
    enough = total >= 3
    return np.where(enough, kept / np.maximum(total, 1), 0).astype(np.float32), enough[:, 0]


def winners(votes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which rows (n,k) have one largest number, bool (n,), and its column in those, (m,)."""
    clear = np.sum(votes == votes.max(axis=1, keepdims=True), axis=1) == 1
    return clear, votes[clear].argmax(axis=1)


def _raters(key: str, columns: tuple[str, ...], label: int) -> np.ndarray:
    """Count what ten simulated people say of one toy face; some faces leave them in doubt."""
    rng = np.random.default_rng([int(key, 16), label])
    doubt = rng.beta(0.7, 1.3)
    chances = np.full(len(columns), 0.1 * doubt / len(columns))
    chances[label] += 1 - doubt
    chances[columns.index(NEIGHBOURS[FER_CLASSES.index(columns[label])])] += 0.9 * doubt
    return rng.multinomial(10, chances)
