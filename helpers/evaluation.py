"""How good a network is: predictions, scores, intervals, calibration."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import helpers
from helpers import IMAGE_SIZE, SEED, TutorialError, replacing

if TYPE_CHECKING:  # TensorFlow takes ten seconds to load: whoever needs none is spared it
    import keras


def _sides(model: keras.Model) -> list[int]:
    return [side or IMAGE_SIZE for side in model.input_shape[1:3]]  # None: any size


def predict(
    model: keras.Model,
    images: np.ndarray,
    batch_size: int = 256,
    run: Callable[[np.ndarray], np.ndarray] | None = None,
) -> np.ndarray:
    """Return the probabilities, float32 (n, k), of uint8 images (n, height, width).

    The network sees grey levels divided by 255. It is traced once, not once per call.

    Args:
        model: says what comes in and goes out, and is asked if there is no `run`.
        images: any number of them.
        batch_size: how many are answered at a time.
        run: what answers in the model's place.

    Raises:
        TutorialError: if the images are of another type or shape than the network takes.
    """
    h, w = _sides(model)
    if images.dtype != np.uint8 or images.shape[1:] != (h, w):
        raise TutorialError(
            f"predict() takes uint8 images of shape (n, {h}, {w}), not {images.dtype} "
            f"{images.shape}: pass the grey levels, 0 to 255, as they are."
        )
    result = np.zeros((len(images), model.output_shape[-1]), np.float32)
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size, ..., None].astype(np.float32) / 255
        result[start : start + batch_size] = (run or model.predict_on_batch)(batch)
    return result


def cached_features(
    model: keras.Model, images: np.ndarray, folder: Path | None = None, part: int = 512
) -> np.ndarray:
    """Return what `predict` does, (n, k), at half precision, and compute nothing twice.

    Each part of the images has a file of its own, named after the network, its weights and
    these images. An interrupted run loses one part at most.

    Args:
        model: gives features, for example.
        images: uint8 (n, height, width).
        folder: of the files; `RUNS`/features if not given.
        part: how many images a file holds the features of.

    Raises:
        TutorialError: if the images do not fit the network, or a file cannot be written.
    """
    from tqdm.auto import tqdm

    folder = folder or helpers.RUNS / "features"
    about = re.sub(r'_\d+"', '"', model.to_json())  # Keras numbers layers anew in every kernel
    network = hashlib.sha256(about.encode())
    for weight in model.get_weights():
        network.update(np.ascontiguousarray(weight))
    result = np.zeros((len(images), model.output_shape[-1]), np.float16)
    bar = tqdm(total=len(images), unit=" images", delay=2, leave=False)
    for start in range(0, len(images), part):
        some, key = images[start : start + part], network.copy()
        key.update(np.ascontiguousarray(some))
        path, found = folder / f"{key.hexdigest()[:24]}.npy", None
        with suppress(OSError, ValueError, EOFError):  # not there yet, or damaged
            found = np.load(path)
        if found is None or found.shape != (len(some), result.shape[1]):
            found = predict(model, some, batch_size=64).astype(np.float16)
            with replacing(path) as partial:
                folder.mkdir(parents=True, exist_ok=True)
                with partial.open("wb") as file:
                    np.save(file, found)
        result[start : start + part] = found
        bar.update(len(some))
    bar.close()
    return result.astype(np.float32)


def confusion_counts(labels: np.ndarray, predicted: np.ndarray, k: int) -> np.ndarray:
    """Return int (k, k): how many images of each true class (row) got each answer (column)."""
    return np.bincount(np.asarray(labels) * k + predicted, minlength=k * k).reshape(k, k)


def class_rates(labels: np.ndarray, predicted: np.ndarray, k: int) -> np.ndarray:
    """Return precision, recall and F1 per class, float (3, k).

    A class that is never predicted has precision 0. A class without images has recall NaN, and
    if it is never predicted either, all NaN.
    """
    counts = confusion_counts(labels, predicted, k)
    hits, support, claimed = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
    with np.errstate(invalid="ignore"):
        precision = np.where(claimed + support > 0, hits / np.maximum(claimed, 1), np.nan)
        return np.stack([precision, hits / support, 2 * hits / (support + claimed)])


def scores(labels: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]) -> dict:
    """Return `{n, accuracy, macro_f1, per_class: {name: {precision, recall, f1, support}}}`.

    All are plain Python numbers, or None where `class_rates` has NaN, which `macro_f1` leaves
    out, and where there are no images.

    Raises:
        TutorialError: if there is not one column of probabilities per class.
    """
    if probabilities.shape[1:] != (len(classes),):
        raise TutorialError(
            f"The model gives {probabilities.shape[-1]} probabilities, but there are "
            f"{len(classes)} classes ({', '.join(classes)}): use one that was trained on these."
        )
    predicted = probabilities.argmax(axis=1)
    rates = class_rates(labels, predicted, len(classes))
    known = rates[2][np.isfinite(rates[2])]
    support = np.bincount(labels, minlength=len(classes)).tolist()
    rows = [[float(v) if np.isfinite(v) else None for v in column] for column in rates.T]
    return {
        "n": len(labels),
        "accuracy": float(np.mean(predicted == labels)) if len(labels) else None,
        "macro_f1": float(known.mean()) if len(known) else None,
        "per_class": {
            name: dict(zip(("precision", "recall", "f1", "support"), (*row, n), strict=True))
            for name, row, n in zip(classes, rows, support, strict=True)
        },
    }


def bootstrap(
    labels: np.ndarray,
    predicted: np.ndarray,
    metric: Callable[[np.ndarray, np.ndarray], float | np.ndarray],
    rounds: int = 1000,
    seed: int = SEED,
) -> np.ndarray:
    """Return the low and the high end, (2, ...), of the 95% interval of a metric.

    The percentile bootstrap (Efron 1979), which draws images anew with replacement. It covers
    the luck of which images were tested, not that of the training. Rounds with NaN do not count.
    """
    rng, n = np.random.default_rng(seed), len(labels)
    draws = (rng.integers(0, n, n) for _ in range(rounds))
    values = np.array([metric(labels[draw], predicted[draw]) for draw in draws], float)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a class without images: NaN
        return np.nanpercentile(values, [2.5, 97.5], axis=0)


def intervals(labels: np.ndarray, probabilities: np.ndarray, k: int) -> np.ndarray:
    """Return the 95% intervals of accuracy, macro F1 and each class's recall, (2 + k, 2)."""

    def metric(labels: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        rates = class_rates(labels, predicted, k)
        return np.array([np.mean(labels == predicted), np.nanmean(rates[2]), *rates[1]])

    return bootstrap(labels, probabilities.argmax(axis=1), metric).T


@dataclass(frozen=True, eq=False)
class Calibration:
    """Per bin of confidence, (bins,): mean confidence and accuracy (NaN if empty), and count."""

    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray
    ece: float  # expected calibration error, 0 to 1


def calibration(labels: np.ndarray, probabilities: np.ndarray, bins: int = 15) -> Calibration:
    """Compare confidence with accuracy in bins of equal width.

    The expected calibration error is the mean gap between the two, each bin weighted by its
    images (Naeini et al. 2015; Guo et al. 2017).
    """
    top = probabilities.max(axis=1).astype(float)
    right = probabilities.argmax(axis=1) == labels
    where = np.digitize(top, np.linspace(0, 1, bins + 1)[1:-1], right=True)
    count = np.bincount(where, minlength=bins)
    sure, correct = np.bincount(where, top, bins), np.bincount(where, right, bins)
    with np.errstate(invalid="ignore"):
        ece = float(np.abs(sure - correct).sum() / len(labels))
        return Calibration(sure / count, correct / count, count, ece)


def temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the T, 0.05 to 20, for which softmax(log(p) / T) has the least log loss.

    Above 1, the network was too sure of itself (Guo et al. 2017). The right answers stay the
    same. Fit it on validation data, never on the test set.
    """
    from scipy.optimize import minimize_scalar

    # A float32 softmax can be exactly 0, whose logarithm no T could mend.
    logits = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny), dtype=float)
    own = logits[np.arange(len(labels)), labels]

    def log_loss(log_t: float) -> float:
        t = np.exp(log_t)
        return float((np.logaddexp.reduce(logits / t, axis=1) - own / t).mean())

    return float(np.exp(minimize_scalar(log_loss, bounds=np.log([0.05, 20]), method="bounded").x))


def most_confident_mistakes(labels: np.ndarray, probabilities: np.ndarray, n: int) -> np.ndarray:
    """Return the indices of at most `n` wrong answers, the most confident first."""
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    return wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")[:n]]
