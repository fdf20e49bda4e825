"""Lesson 5's calibration, for the shipped network: its error, the temperature, the chart."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import PercentFormatter
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from helpers import plots


def calibration(
    labels: np.ndarray, probabilities: np.ndarray, bins: int = 15
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean confidence, accuracy (both NaN where a bin is empty) and count, (bins,) each.

    The bins of confidence, the largest probability, are equally wide.
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    which = np.digitize(confidence, np.linspace(0, 1, bins + 1)[1:-1], right=True)
    count = np.bincount(which, minlength=bins)
    with np.errstate(invalid="ignore"):  # an empty bin: 0 / 0
        sure, correct = (np.bincount(which, x, bins) / count for x in (confidence, right))
    return sure, correct, count


def calibration_error(labels: np.ndarray, probabilities: np.ndarray, bins: int = 15) -> float:
    """Return the expected calibration error, 0..1 (Naeini et al. 2015; Guo et al. 2017).

    It is the mean gap between confidence and accuracy, each bin weighted by its images.
    """
    sure, correct, count = calibration(labels, probabilities, bins)
    return float(np.nansum(count * np.abs(sure - correct)) / len(labels))


def temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the T, 0.05 to 20, for which softmax(log(p) / T) has the least log loss.

    Above 1, the network was too sure of itself (Guo et al. 2017). The right answers stay the
    same. Fit it on validation data, never on the test set.
    """
    # A float32 softmax can be exactly 0, whose logarithm no T could mend.
    logits = np.log(np.maximum(probabilities, 1e-37), dtype=float)

    def log_loss(log_t: float) -> float:
        return -log_softmax(logits / np.exp(log_t), axis=1)[np.arange(len(labels)), labels].mean()

    return float(np.exp(minimize_scalar(log_loss, bounds=np.log([0.05, 20]), method="bounded").x))


def reliability(
    confidence: np.ndarray,
    accuracy: np.ndarray,
    count: np.ndarray,
    title: str = "",
    ax: plt.Axes | None = None,
) -> plt.Axes:
    """Draw accuracy against confidence, (bins,) each, a dot as large as its bin has images.

    The thin lines to the diagonal are the gaps of which the expected calibration error (ECE) is
    the mean, each weighted by the images of its bin.
    """
    ax, full = ax or plots.new_ax(5, 4.6), count > 0
    x, y, weight = confidence[full], accuracy[full], count[full] / count.sum()
    ax.plot([0, 1], [0, 1], linestyle="--", color=plots.GREY, linewidth=1)
    ax.text(0.03, 0.06, "as sure as right", rotation=45, fontsize=8, color=plots.GREY)
    ax.vlines(x, x, y, color=plots.SERIES[0], linewidth=1, alpha=0.7)
    look = {
        "color": plots.SERIES[0],
        "edgecolor": "white",
        "alpha": 0.8,
        "zorder": 3,
        "clip_on": False,
    }
    ax.scatter(x, y, 15 + 500 * weight, **look)
    ax.text(0.03, 0.94, f"ECE {weight @ np.abs(x - y):.1%}", color=plots.INK)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="confidence", ylabel="accuracy", aspect="equal")
    ax.set_title(plots.as_it_is(title))
    return ax
