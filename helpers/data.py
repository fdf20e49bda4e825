"""Images and labels in memory: copies among them, honest ways to split them, class weights."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from helpers import IMAGE_SIZE, SEED, TutorialError

NEAR = 0.95  # the correlation above which two images count as near copies


@dataclass(frozen=True, eq=False)
class Split:
    """Images uint8 (n,48,48), labels int64 (n,), and files like "angry/Training_1.jpg" (n,).

    A folder between the two is the subject, who is the same in all files that name it.
    """

    images: np.ndarray
    labels: np.ndarray
    files: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, which: np.ndarray) -> Split:
        """Return the part that an array of indices or a mask names."""
        return Split(self.images[which], self.labels[which], self.files[which])


@dataclass(frozen=True, eq=False)
class Dataset:
    """Everything about the images at hand; `labels` index `classes`."""

    name: str  # "FER-2013", "an altered copy of FER-2013", "toy faces" or "your own images"
    kind: str  # "fer2013", "altered", "toy" or "own"
    classes: tuple[str, ...]
    train: Split
    test: Split
    problems: tuple[str, ...]  # one sentence per file that is not as it should be
    verdict: str  # one sentence: is this the true FER-2013, and why not
    fingerprint: str  # 16 hexadecimal digits; the same images and labels give the same
    validation: Split | None = None  # where a folder was made for it
    notes: tuple[str, ...] = ()  # at most five sentences: what was taken, and what left aside
    folder: str = ""  # where the class folders of the training images lie


def _digests(images: np.ndarray) -> list[bytes]:
    return [hashlib.sha256(image.tobytes()).digest() for image in images]


def fingerprint(classes: Sequence[str], *splits: Split) -> str:
    """Return 16 hexadecimal digits that classes, labels and pixels decide, not names or order."""
    total = hashlib.sha256("\0".join(classes).encode())
    for part in splits:
        total.update(b"\0\0")
        for label, digest in sorted(zip(part.labels.tolist(), _digests(part.images), strict=True)):
            total.update(label.to_bytes(4, "little") + digest)
    return total.hexdigest()[:16]


def duplicate_groups(images: np.ndarray) -> np.ndarray:
    """Number images (n, ...) so that the same number means the same pixels: int64 (n,)."""
    numbers: dict[bytes, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in _digests(images)], int)


def copies_of(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return a mask (n,): which images (n, ...) are, pixel for pixel, among `others` too."""
    known = set(_digests(others))
    return np.array([key in known for key in _digests(images)], bool)


def near_pairs(images: np.ndarray, others: np.ndarray | None = None) -> np.ndarray:
    """Return the indices (2, m) of all images (n,48,48) and others that are near copies.

    Without others, the pairs among the images themselves, each once.
    """
    mine = _standardised(images)
    theirs, found = mine if others is None else _standardised(others), []
    bounds = _bounds(theirs).T
    for start in range(0, max(len(images), 1), 512):
        likely = np.flatnonzero(_bounds(mine[start : start + 512]) @ bounds > NEAR)
        i, j = np.divmod(likely + start * len(theirs), len(theirs))
        if others is None:
            i, j = i[i < j], j[i < j]
        found.append(np.stack([i, j])[:, np.einsum("mp,mp->m", mine[i], theirs[j]) > NEAR])
    return np.hstack(found)


def _standardised(images: np.ndarray) -> np.ndarray:
    """Return (n, 2304) of mean 0 and length 1: products are correlations. Blank ones stay 0."""
    flat = images.reshape(len(images), IMAGE_SIZE**2).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-3)


def _bounds(flat: np.ndarray) -> np.ndarray:
    """Return (n, 37) whose products are no smaller than those of `flat`, and quick to compute.

    36 numbers say how bright blocks of 8 x 8 pixels are, the last one how much they leave out.
    """
    blocks = flat.reshape(len(flat), 6, 8, 6, 8).sum(axis=(2, 4)).reshape(len(flat), 36) / 8
    rest = 1 - (blocks**2).sum(axis=1, keepdims=True)
    return np.hstack([blocks, np.sqrt(np.maximum(rest, 0))])


def near_copies(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return a mask (n,): which images (n,48,48) are near copies of one of `others`."""
    return np.isin(np.arange(len(images)), near_pairs(images, others)[0])


def near_groups(split: Split, by_subject: bool = False) -> np.ndarray:
    """Like `duplicate_groups`; near copies (and images of a subject) share a number too: (n,)."""
    from scipy.sparse import coo_array, csgraph  # takes a second, which most need not spend

    copies = duplicate_groups(split.images)
    first = np.unique(copies, return_index=True)[1]
    one, other = near_pairs(split.images[first])
    size = len(first)
    if by_subject:
        folders = ["/".join(file.split("/")[1:-1]) or file for file in split.files]
        subjects = len(first) + np.unique(folders, return_inverse=True)[1]
        one, other, size = np.append(one, copies), np.append(other, subjects), subjects.max() + 1
    links = coo_array((np.ones(len(one)), (one, other)), shape=(size, size))
    return csgraph.connected_components(links, directed=False)[1][copies]


def grouped_split(
    split: Split, fraction: float = 0.1, seed: int = SEED, by_subject: bool = False
) -> tuple[Split, Split]:
    """Cut off about `fraction` of every class; identical images and near copies stay together.

    With `by_subject` all images of one subject stay together too; then of all images together
    about `fraction` is cut off.

    Returns:
        The larger part and the part cut off. A class with two different images is in both.
    """
    groups = near_groups(split, by_subject)
    _, first, sizes = np.unique(groups, return_index=True, return_counts=True)
    rng, held = np.random.default_rng(seed), np.zeros(len(first), bool)
    for label in np.unique(split.labels):
        # A group whose copies carry different labels counts for the first one's class.
        members = rng.permutation(np.flatnonzero(split.labels[first] == label))
        wanted = fraction * sizes[members].sum()
        number = int(np.searchsorted(np.cumsum(sizes[members]), wanted, side="right"))
        held[members[: min(max(number, 1), len(members) - 1)]] = True
    mask = held[groups]
    return split.take(~mask), split.take(mask)


def learning_split(
    data: Dataset, fraction: float = 0.1, seed: int = SEED, by_subject: bool = False
) -> tuple[Split, Split]:
    """Return training and validation images: as the folders have it, or else cut off."""
    if data.validation is not None:
        return data.train, data.validation
    return grouped_split(data.train, fraction, seed, by_subject)


def subset(split: Split, n: int, seed: int = SEED) -> Split:
    """Return at most `n` images at random, classes in proportion, but one of each at least."""
    if n >= len(split):
        return split
    rng, chosen = np.random.default_rng(seed), []
    present, counts = np.unique(split.labels, return_counts=True)
    shares = counts * max(n, len(present)) / len(split)
    numbers = np.maximum(np.floor(shares).astype(int), 1)
    for index in np.argsort(np.floor(shares) - shares, kind="stable"):
        numbers[index] += numbers.sum() < n and numbers[index] < counts[index]
    while numbers.sum() > max(n, len(present)):  # where the rarest classes were given one
        numbers[np.argmax(numbers)] -= 1
    for label, number in zip(present, numbers, strict=True):
        chosen.append(rng.choice(np.flatnonzero(split.labels == label), number, replace=False))
    return split.take(np.sort(np.concatenate(chosen)))


def clean_split(train: Split) -> tuple[Split, Split]:
    """Return the training images that the shipped network learnt from, and the tenth kept aside.

    Of identical images there is one; blank ones, and those whose copies disagree, are in neither.
    """
    from sklearn.model_selection import train_test_split  # brings half a dozen packages along

    groups = duplicate_groups(train.images)
    first = np.unique(groups, return_index=True)[1]
    low, high = train.labels[first], train.labels[first]
    np.minimum.at(low, groups, train.labels)
    np.maximum.at(high, groups, train.labels)
    keep = np.sort(first[low == high])
    keep = keep[train.images[keep].std(axis=(1, 2)) >= 1]
    parts = train_test_split(keep, test_size=0.1, stratify=train.labels[keep], random_state=SEED)
    return train.take(parts[0]), train.take(parts[1])


def class_weights(labels: np.ndarray, n_classes: int, power: float = 1.0) -> dict[int, float]:
    """Return n / (n_classes * count) for each class: scikit-learn's "balanced" weights.

    Args:
        labels: int (n,).
        n_classes: how many weights there must be.
        power: of each weight. 0.5 gives square roots, a compromise: rare classes count more,
            but a few of their images do not decide where the whole network goes.

    Raises:
        TutorialError: if a class has no image.
    """
    from sklearn.utils.class_weight import compute_class_weight

    if missing := sorted(set(range(n_classes)) - set(labels.tolist())):
        raise TutorialError(
            f"Class {missing[0]} has no training image, so it can have no weight: add some images."
        )
    weights = compute_class_weight("balanced", classes=np.arange(n_classes), y=labels) ** power
    return dict(enumerate(weights.tolist()))
