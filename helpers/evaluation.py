"""How good a network is: predictions, scores, intervals."""

import warnings
from collections.abc import Callable, Sequence

import numpy as np

from helpers import IMAGE_SIZE, SEED, TutorialError


def predict(model, images: np.ndarray, batch_size: int = 256) -> np.ndarray:
    """Return the probabilities, float32 (n, k), of uint8 images (n, height, width).

    The network sees grey levels divided by 255. It is traced once, not once per call. What
    `app.classifier` makes of one will do as well.

    Raises:
        TutorialError: if the images are of another type or shape than the network takes.
    """
    h, w = (side or IMAGE_SIZE for side in model.input_shape[1:3])  # None: any size
    if images.dtype != np.uint8 or images.shape[1:] != (h, w):
        raise TutorialError(
            f"predict() takes uint8 images of shape (n, {h}, {w}), not {images.dtype} "
            f"{images.shape}: pass the grey levels, 0 to 255, as they are."
        )
    result = np.zeros((len(images), model.output_shape[-1]), np.float32)
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size, ..., None].astype(np.float32) / 255
        result[start : start + batch_size] = model.predict_on_batch(batch)
    return result


def scores(labels: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]) -> dict:
    """Return `{n, accuracy, macro_f1, per_class: {name: {precision, recall, f1, support}}}`.

    All are plain Python numbers. A class that is never predicted has precision 0. A class without
    images has no recall (None), and if it is never predicted either, no precision and no F1 that
    `macro_f1`, the mean over the classes, could count. Without any image all are None.

    Raises:
        TutorialError: if there is not one column of probabilities per class.
    """
    from sklearn.metrics import precision_recall_fscore_support

    k = len(classes)
    if probabilities.shape[1:] != (k,):
        raise TutorialError(
            f"The model gives {probabilities.shape[-1]} probabilities, but there are "
            f"{k} classes ({', '.join(classes)}): use one that was trained on these."
        )
    rates, support = np.full((3, k), np.nan), np.zeros(k, int)
    predicted, accuracy, macro_f1 = probabilities.argmax(axis=1), None, None
    if len(labels):
        *rates, support = precision_recall_fscore_support(
            labels, predicted, labels=range(k), zero_division=np.nan
        )
        rates[0] = np.where(support > 0, np.nan_to_num(rates[0]), rates[0])
        accuracy, macro_f1 = float(np.mean(predicted == labels)), float(np.nanmean(rates[2]))
    keys, rows = ("precision", "recall", "f1", "support"), np.where(np.isnan(rates), None, rates)
    per_class = {
        name: dict(zip(keys, (*row, n), strict=True))
        for name, row, n in zip(classes, rows.T.tolist(), support.tolist(), strict=True)
    }
    return {"n": len(labels), "accuracy": accuracy, "macro_f1": macro_f1, "per_class": per_class}


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


def paired_difference(
    labels: np.ndarray, one: np.ndarray, other: np.ndarray, rounds: int = 1000, seed: int = SEED
) -> tuple[float, float, float]:
    """Return how much more often `other` is right than `one`, and the ends of its 95% interval.

    Both are answers, (n,), to the same images. It covers other images, not another training.
    """
    gain = 1.0 * (other == labels) - (one == labels)
    low, high = bootstrap(labels, gain, lambda _, drawn: drawn.mean(), rounds, seed)
    return gain.mean(), low, high


def intervals(labels: np.ndarray, probabilities: np.ndarray, k: int) -> np.ndarray:
    """Return the 95% intervals of accuracy, macro F1 and each class's recall, (2 + k, 2)."""

    def figures(labels: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        # As scikit-learn counts, a hundred times as fast: that counts here, a thousand times over.
        counts = np.bincount(labels * k + predicted, minlength=k * k).reshape(k, k)
        hits, there, given = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
        f1 = np.nanmean(2 * hits / (there + given))
        return np.array([hits.sum() / len(labels), f1, *(hits / there)])

    with np.errstate(invalid="ignore"):  # a class without images: 0 / 0
        return bootstrap(labels, probabilities.argmax(axis=1), figures).T
