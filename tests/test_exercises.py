"""The exercises: what the checks say of right, wrong and absurd answers, and the pages' making."""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import nbformat
import numpy as np
import pytest
from conftest import ROOT

from notebooks.exercises import checks
from tools.make_exercises import NOTEBOOKS, PART, main, page, unsolved

SOLUTIONS = sorted((NOTEBOOKS / "solutions").glob("*.ipynb"))
PAGES = [NOTEBOOKS / "exercises" / path.name for path in SOLUTIONS]
CHECKS = {name: made for name, made in vars(checks).items() if hasattr(made, "__wrapped__")}
each_solution = pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
each_page = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
each_check = pytest.mark.parametrize("name", CHECKS)


def code(path: Path) -> list[str]:
    cells = nbformat.read(path, as_version=4).cells
    return [cell.source for cell in cells if cell.cell_type == "code"]


def asked(path: Path) -> list[str]:
    """Return the names of the checks that a page calls, in order."""
    return re.findall(r"^check\.(\w+)\(", "\n".join(code(path)), flags=re.MULTILINE)


def verdict(capsys: pytest.CaptureFixture, name: str, *answer) -> str:
    """Return the one sentence that a check prints."""
    capsys.readouterr()
    assert CHECKS[name](*answer) is None
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.count("\n") == 1
    assert said.out.rstrip("\n")[-1] in ".?"
    return said.out.strip()


def said_by(path: Path, dataset: Path, patch: pytest.MonkeyPatch, capsys) -> str:
    """Run the cells of a page as they stand, and return what they print."""
    patch.setenv("TUTORIAL_DATASET", str(dataset))
    names: dict = {}
    for cell in code(path):
        exec(cell, names)
    said = capsys.readouterr()
    assert "Warning" not in said.err  # a bar of progress is none
    return said.out


# A learner would see these warnings.
@pytest.mark.filterwarnings("error::UserWarning", "error::RuntimeWarning", "error::FutureWarning")
@each_solution
def test_every_solution_holds_on_toy_faces(path: Path, toy_folder: Path, monkeypatch, capsys):
    said = said_by(path, toy_folder, monkeypatch, capsys)
    assert "Not yet" not in said
    assert said.count("It holds: ") == len(asked(path))


@pytest.mark.parametrize(
    "path",
    [path for path in SOLUTIONS if "load_dataset" in path.read_text("utf-8")],
    ids=lambda path: path.stem,
)
def test_every_solution_with_data_holds_on_fer2013(
    path: Path, fer2013_zip: Path, monkeypatch, capsys
) -> None:
    assert "FER-2013" in (said := said_by(path, fer2013_zip, monkeypatch, capsys))
    assert said.count("It holds: ") == len(asked(path))


@each_page
def test_an_unsolved_page_runs_to_its_end_and_nothing_holds(
    path: Path, toy_folder: Path, monkeypatch, capsys
) -> None:
    said = said_by(path, toy_folder, monkeypatch, capsys)
    assert "It holds" not in said
    assert said.count("Not yet: ") == len(asked(path))


def raises(*inputs):
    raise KeyError("of the learner's making")


def leaves(*inputs):
    sys.exit(1)


class Absurd:
    """Can be neither compared nor turned into an array."""

    def __array__(self, *args, **kwargs):
        raise RuntimeError("no array")

    def __eq__(self, other):
        raise RuntimeError("no comparison")

    __hash__ = None


NONSENSE = {
    "the three dots": ...,
    "None": None,
    "a text": "happy",
    "a number": -3.5,
    "nan": float("nan"),
    "a truth": True,
    "a list": [1, [2, 3]],
    "an empty array": np.zeros(0),
    "a huge number": 10**400,
    "an object": Absurd(),
    "a function that raises": raises,
    "a function that ends Python": leaves,
    "a function without arguments": lambda: 1,
    "a function that returns nothing": lambda *inputs: None,
    "a function that returns the dots": lambda *inputs: ...,
    "a function that returns a text": lambda *inputs: "7",
    "a function that returns nan": lambda *inputs: np.nan,
    "a function that returns itself": lambda *inputs: raises,
    "a function that returns an object": lambda *inputs: Absurd(),
    "a function that returns its first input": lambda *inputs: inputs[0],
}


@each_check
def test_nonsense_gets_a_sentence_and_never_a_traceback(name: str, capsys) -> None:
    assert verdict(capsys, name).startswith("Not yet: ")
    for what, answer in NONSENSE.items():
        assert verdict(capsys, name, answer).startswith("Not yet: "), what


@each_check
def test_the_dots_and_the_wrong_kind_are_named(name: str, capsys) -> None:
    assert "the three dots" in verdict(capsys, name, ...)
    assert "type str" in verdict(capsys, name, "happy")


def test_a_function_that_changes_its_input_is_told_so(capsys) -> None:
    def sorts_in_place(groups, labels):
        labels.sort()
        return 1

    assert "leave them alone" in verdict(capsys, "count_contradictions", sorts_in_place)


def test_the_error_of_a_function_is_quoted(capsys) -> None:
    said = verdict(capsys, "conv_parameters", raises)
    assert "3 × 3, channels in: 1, filters: 32" in said
    assert 'KeyError: "of the learner\'s making"' in said or "of the learner's making" in said


GAZES = "left", "straight", "right", "up left", "up right", "down left", "down right", "closed"
MIRRORED = dict(zip(GAZES, (GAZES[i] for i in (2, 1, 0, 4, 3, 6, 5, 7)), strict=True))


def test_an_example_shows_what_the_answer_gives(capsys) -> None:
    def right(kernel, channels, filters):
        return (kernel**2 * channels + 1) * filters

    said = verdict(capsys, "conv_parameters", right, 3, 64, 128)
    assert said.endswith("; for the example it gives 73856.")
    assert said.startswith("It holds: ")
    said = verdict(capsys, "conv_parameters", right, "an example that does not fit", 1, 1)
    assert "in the example your function raised TypeError" in said
    said = verdict(capsys, "mirrored_label", MIRRORED.get, "up left")
    assert said.endswith("; for the example it gives up right.")


def padded_convolution(picture, kernel):
    result = np.zeros(picture.shape)
    padded = np.pad(picture.astype(float), 4)
    for (row, column), weight in np.ndenumerate(kernel):
        result += float(weight) * padded[row:, column:][: len(result), : result.shape[1]]
    return result


def valid_convolution(picture, kernel, dtype=float):
    windows = np.lib.stride_tricks.sliding_window_view(picture.astype(dtype), kernel.shape)
    return (windows * kernel.astype(dtype)).sum(axis=(2, 3), dtype=dtype)


def plateau(forgets="nothing", strict: bool = True, late: int = 0) -> Callable:
    """Return a learning rate that falls where the loss does not, with one mistake in it."""

    def rates(losses, rate, factor, patience):
        lowest, waited, found = np.inf, 0, []
        for loss in losses:
            waited = 0 if loss < lowest or (loss == lowest and not strict) else waited + 1
            lowest = loss if forgets == "the lowest" else min(lowest, loss)
            if waited >= patience + late:
                rate *= factor
                waited = waited if forgets == "to begin anew" else 0
                lowest = np.inf if forgets == "all" else lowest
            found.append(rate)
        return found

    return rates


def rates_by_slices(losses, rate, factor, patience):
    """Keep the epochs that improve or cut; the next cut is `patience` after the last of these."""
    from_here, found = 0, []
    for epoch in range(len(losses)):
        if epoch == 0 or losses[epoch] < min(losses[:epoch]):
            from_here = epoch
        elif epoch - from_here == patience:
            rate, from_here = factor * rate, epoch
        found.append(rate)
    return np.array(found)


def scaled(weights, counts):
    """Scale weights so that their mean over the pictures is 1."""
    return weights * counts.sum() / (counts @ weights)


def f1_of_means(counts):
    precision = (counts.diagonal() / np.maximum(counts.sum(axis=0), 1)).mean()
    recall = (counts.diagonal() / counts.sum(axis=1)).mean()
    return 2 * precision * recall / (precision + recall)


def f1_by_division(counts):
    precision, recall = (counts.diagonal() / counts.sum(axis=axis) for axis in (0, 1))
    return (2 * precision * recall / (precision + recall)).mean()


def ends(low: float, high: float, draw: float = 1, replace: bool = True) -> Callable:
    """Return a bootstrap between two percentiles that draws so many times the faces there are."""

    def interval(right, rounds):
        rng, n = np.random.default_rng(1), int(draw * len(right))
        scores = [rng.choice(right, n, replace=replace).mean() for _ in range(rounds)]
        return np.percentile(scores, [low, high])

    return interval


def square(box, scale, width, height, fit=True, move=True, longer=max):
    """Return the square of lesson 6, with what is switched off left out."""
    left, top, right, bottom = box
    side = scale * longer(right - left, bottom - top)
    side = min(side, width, height) if fit else side
    x, y = (left + right - side) / 2, (top + bottom - side) / 2
    if move:
        x, y = min(max(x, 0), width - side), min(max(y, 0), height - side)
    return x, y, x + side, y + side


def clipped_square(box, scale, width, height):
    corners = square(box, scale, width, height, fit=False, move=False)
    return np.clip(corners, 0, [width, height] * 2)


def shrunk_square(box, scale, width, height):
    """Shrink about the middle, until nothing is beyond the picture."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    half = scale * max(box[2] - box[0], box[3] - box[1]) / 2
    half = min(half, x, y, width - x, height - y)
    return [x - half, y - half, x + half, y + half]


def moving(mode: str) -> Callable:
    """Return a moving average by NumPy's convolution, which has three ways to end."""

    def average(p, n):
        return np.stack([np.convolve(row, np.ones(n) / n, mode)[: len(p)] for row in p.T], axis=1)

    return average


def centred(p, n):
    return np.array([p[max(0, t - n // 2) : t + n // 2 + 1].mean(axis=0) for t in range(len(p))])


def by_thresholds(sure, right, wanted):
    good = [np.mean(sure >= least) for least in sure if right[sure >= least].mean() >= wanted]
    return max(good, default=0)


def first_fall(sure, right, wanted):
    hits = right[np.argsort(-sure)]
    return next((n for n in range(len(hits)) if hits[: n + 1].mean() < wanted), len(hits)) / len(
        hits
    )


def cosine(step, steps, warm_up, peak):
    if step < warm_up:
        return peak * step / warm_up
    return peak * np.cos(np.pi / 2 * (step - warm_up) / (steps - warm_up)) ** 2


def wave(step, steps, warm_up, peak):
    """Fall along the cosine over all steps, the warm-up's too; then rise in a straight line."""
    value = peak * (1 + np.cos(np.pi * step / steps)) / 2
    return value * min(step / warm_up, 1) if warm_up else value


def trapezium(step, steps, warm_up, peak):
    rise = step / warm_up if warm_up else 1
    return peak * min(rise, (steps - step) / (steps - warm_up))


def mixed(images, targets, shares, order=slice(None, None, -1)):
    """Mix by np.einsum, with the pictures of the batch in another order."""
    return tuple(
        np.einsum("n,n...->n...", shares, x) + np.einsum("n,n...->n...", 1 - shares, x[order])
        for x in (images, targets)
    )


def by_columns(images, targets, shares):
    """Mix the columns where they are as many as the pictures, which no error tells."""
    if images.shape[2] != len(images):
        return mixed(images, targets, shares)
    return shares * images + (1 - shares) * images[::-1], targets


def forgetting(weights, keep):
    return np.average(weights, axis=0, weights=[keep**age for age in range(len(weights))][::-1])


def decayed(weights, keep, first=0.0):
    """Return a running average that begins with `first`, or with the first row if that is None."""
    average = weights[0] if first is None else np.full(weights.shape[1], first)
    for row in weights[1:] if first is None else weights:
        average = keep * average + (1 - keep) * row
    return average


def coloured(faces, factor, repeat=np.repeat, low=-1, colours=3):
    """Do as for_the_network asks, but for what is changed."""
    larger = repeat(repeat(faces / 255, factor, axis=1), factor, axis=2)
    return np.stack([low + (1 - low) * larger] * colours, axis=-1)


def stretched(faces, factor):
    low, high = faces.min(), faces.max()
    return coloured(255 * ((faces - low) / (high - low)), factor)


def tiled(faces, factor, axis):
    return np.concatenate([faces] * factor, axis=axis)


def only_red(faces, factor):
    red = coloured(faces, factor)
    red[..., 1:] = -1
    return red


def wrapped(faces, factor):
    larger = faces.repeat(factor, axis=1).repeat(factor, axis=2)
    return np.stack([(larger - np.uint8(128)) / 127.5] * 3, axis=-1)


def normal(features, mean, variance, training, axis=0, root=np.sqrt):
    """Do as normalise asks, but for what is changed."""
    if training:
        mean = features.mean(axis=axis, keepdims=True)
        variance = features.var(axis=axis, keepdims=True)
    return (features - mean) / root(variance)


def class_means(features, labels, classes):
    return np.stack([features[labels == k].mean(axis=0) for k in classes])


def by_means(features, labels, new, choose=np.argmin, size=np.linalg.norm):
    """Do as nearest_mean asks, by loops; or take another one of the means than the nearest."""
    classes = sorted(set(labels.tolist()))
    means = class_means(features, labels, classes)
    return [classes[choose([size(row - mean) for mean in means])] for row in new]


def by_blocks(features, labels, new):
    first = np.sort(np.unique(labels, return_index=True)[1])[1:]
    means = [block.mean(axis=0) for block in np.split(features, first)]
    return [labels[[0, *first][by_means(np.array(means), np.arange(3), [row])[0]]] for row in new]


def by_places(features, labels, new):
    classes = np.unique(labels).tolist()
    return [classes.index(k) for k in by_means(features, labels, new)]


def by_products(features, labels, new):
    classes = np.unique(labels)
    means = class_means(features, labels, classes)
    return classes[(new @ means.T).argmax(axis=1)]


def by_all_numbers(features, labels, new):
    means = class_means(features, labels, range(labels.max() + 1))
    return np.linalg.norm(new[:, None] - means, axis=-1).argmin(axis=1)


def by_nearest_face(features, labels, new):
    return [labels[np.linalg.norm(features - row, axis=1).argmin()] for row in new]


def soft(change: Callable) -> Callable:
    """Return a loss for shares in Keras, whose terms are put together in some way."""

    def loss(targets, logits):
        return change(-targets * keras.ops.log_softmax(logits))

    return loss


def naive_soft_loss(targets, logits):
    odds = keras.ops.exp(logits)
    total = keras.ops.sum(odds, axis=-1, keepdims=True)
    return -keras.ops.sum(targets * keras.ops.log(odds / total), axis=-1)


def soft_by_numpy(targets, logits):
    logs = logits - logits.max(axis=1, keepdims=True)
    return -(targets * (logs - np.log(np.exp(logs).sum(axis=1, keepdims=True)))).sum(axis=1)


def hard_loss(targets, logits):
    hard = keras.ops.one_hot(keras.ops.argmax(targets, axis=-1), logits.shape[-1])
    return soft(lambda terms: keras.ops.sum(terms, axis=-1))(hard, logits)


def rebiased(change: Callable) -> Callable:
    """Return a copy of a network with another last bias."""

    def answer(network, prior, strength):
        copy = keras.models.clone_model(network)
        *others, bias = network.get_weights()
        copy.set_weights([*others, change(bias, prior, strength)])
        return copy

    return answer


def rebiased_in_place(network, prior, strength):
    *others, bias = network.get_weights()
    network.set_weights([*others, bias - strength * np.log(prior)])
    return network


# For each check: what somebody typically does wrong, the answer, and what the sentence names.
WRONG: dict[str, dict[str, tuple[object, str]]] = {
    "count_numbers": {
        "forgets the colours": (96 * 96, "colour"),
        "takes the lesson's size": (48 * 48 * 3, "rows and columns"),
        "takes twice the grey picture": (2 * 48 * 48, "too small"),
    },
    "class_shares": {
        "returns counts": (lambda y, k: np.bincount(y, minlength=k), "between 0 and 1"),
        "stops at the last class there is": (lambda y, k: np.bincount(y) / len(y), "shape"),
        "returns percentages": (lambda y, k: 100 * np.bincount(y, minlength=k) / len(y), "0 and 1"),
        "sorts them": (lambda y, k: np.sort(np.bincount(y, minlength=k) / len(y)), "order"),
        "divides by the classes": (lambda y, k: np.bincount(y, minlength=k) / 9, "add up to 1"),
    },
    "most_common_accuracy": {
        "peeks at the labels": (lambda a, b: np.bincount(b).max() / len(b), "nobody may look"),
        "scores the training labels": (
            lambda a, b: np.bincount(a).max() / len(a),
            "the training labels",
        ),
        "returns percent": (lambda a, b: 100 * np.mean(b == np.bincount(a).argmax()), "0 and 1"),
        "takes the rarest": (lambda a, b: np.mean(b == np.bincount(a).argmin()), "wrong"),
    },
    "count_contradictions": {
        "counts copies": (
            lambda g, y: sum(len(set(y[g == i])) > 1 for i in g),
            "every copy",
        ),
        "counts all that are there twice": (
            lambda g, y: (np.unique(g, return_counts=True)[1] > 1).sum(),
            "the same label",
        ),
        "compares with the next only": (
            lambda g, y: sum((g[1:] == g[:-1]) & (y[1:] != y[:-1])),
            "too",
        ),
    },
    "turned_point": {
        "turns to the right": ((9, 24), "downwards"),
        "turns about the corner": ((38, -24), "outside"),
        "leaves it": ((24, 38), "middle"),
        "gives one number": (38, "shape"),
    },
    "move_points": {
        "loses the shift": (lambda m, p: p @ m[:2, :2].T, "shift is lost"),
        "takes rows for columns": (lambda m, p: p @ m[:2, :2] + m[:2, 2], "wrong way round"),
        "keeps the third number": (
            lambda m, p: np.hstack([p, np.ones((len(p), 1))]) @ m.T,
            "shape",
        ),
    },
    "mirror_matrix": {
        "has no shift": (lambda width: np.diag([-1, 1, 1]), "outside"),
        "is a pixel off": (lambda width: [[-1, 0, width], [0, 1, 0], [0, 0, 1]], "column 48"),
        "turns it upside down": (lambda width: [[1, 0, 0], [0, -1, width], [0, 0, 1]], "row"),
        "does nothing": (lambda width: np.eye(3), "column 0 lands in column 0"),
        "has two rows": (lambda width: [[-1, 0, width - 1], [0, 1, 0]], "shape"),
    },
    "mirrored_label": {
        "keeps the label": (lambda label: label, "stays 'left'"),
        "swaps twice": (
            lambda label: label.replace("left", "right").replace("right", "left"),
            "stays 'left'",
        ),
        "knows two names": ({"left": "right", "right": "left"}.__getitem__, "'straight'"),
        "swaps all": (
            lambda label: {"left": "right", "right": "left"}.get(label, "straight"),
            "'up left' becomes 'straight'",
        ),
    },
    "flat_size": {
        "forgets the poolings": (96 * 96 * 64, "smaller"),
        "forgets the filters": (12 * 12, "answers"),
        "takes the lesson's network": (6 * 6 * 128, "too small"),
    },
    "conv_parameters": {
        "forgets the bias": (lambda k, c, f: k * k * c * f, "which other number"),
        "forgets the channels": (lambda k, c, f: (k * k + 1) * f, "channel"),
        "has one bias for all": (lambda k, c, f: k * k * c * f + 1, "too small"),
    },
    "output_size": {
        "forgets the first place": (lambda n, k, s, p: (n - k) // s, "too small"),
        "ignores the padding": (lambda n, k, s, p: (n - k) // s + 1, "'same'"),
        "takes a part of a step": (
            lambda n, k, s, p: (n - (k if p == "valid" else 1)) / s + 1,
            "part of a place",
        ),
        "drops the last step": (
            lambda n, k, s, p: n // s if p == "same" else (n - k) // s + 1,
            "zeros",
        ),
    },
    "convolve": {
        "turns the kernel": (
            lambda picture, kernel: valid_convolution(picture, kernel[::-1, ::-1]),
            "turned round",
        ),
        "pads": (padded_convolution, "hangs over"),
        "knows 3 × 3 only": (
            lambda picture, kernel: valid_convolution(picture, kernel.reshape(3, 3)),
            "2 × 4",
        ),
        "runs over": (
            lambda picture, kernel: valid_convolution(picture, kernel, picture.dtype),
            "255",
        ),
    },
    "kept_and_last": {
        "waits to the end": ((11, 12), "never got there"),
        "counts from 0": ((6, 9), "from 0"),
        "ends at the first two that are worse": ((4, 7), "not the lowest"),
        "asks whether it is lower than the one before": ((7, 12), "too long"),
        "ends too early": ((7, 9), "too little"),
        "swaps them": ((10, 7), "first the epoch"),
        "gives one": (7, "shape"),
    },
    "guesser_loss": {
        "gives all classes the same": (lambda c: np.log(len(c)), "all classes the same"),
        "stumbles over 0": (lambda c: -np.sum(c / c.sum() * np.log(c / c.sum())), "logarithm of 0"),
        "averages over the classes": (lambda c: -np.log(c / c.sum()).mean(), "common class"),
        "forgets the minus": (lambda c: np.sum(c / c.sum() * np.log(c / c.sum())), "below 0"),
        "takes bits": (lambda c: -np.sum(c / c.sum() * np.log2(c / c.sum())), "natural"),
        "adds up": (lambda c: -np.sum(c * np.log(c / c.sum())), "the mean is wanted"),
        "bets on the most common": (lambda c: -np.log(c.max() / c.sum()), "too small"),
    },
    "soft_weights": {
        "scales the classes": (
            lambda c, power: c**-power / np.mean(c**-power),
            "that over the classes is 1",
        ),
        "leaves the balanced weights' scale": (
            lambda c, power: (c.sum() / (len(c) * c)) ** power,
            "the mean weight of all pictures is 0.8",
        ),
        "ignores the power": (lambda c, power: c.sum() / (len(c) * c), "the power 1"),
        "weighs the common": (lambda c, power: scaled(c**power, c), "common classes"),
        "multiplies by the power": (lambda c, power: scaled(1 + power / c, c), "other proportions"),
        "gives nothing": (lambda c, power: 0 * c, "the weight 0"),
    },
    "learning_rates": {
        "compares with the one before": (plateau("the lowest"), "lower than which"),
        "cuts in every epoch after": (plateau("to begin anew"), "begins anew"),
        "forgets the lowest at a cut": (plateau("all"), "begins anew"),
        "takes the same for lower": (plateau(strict=False), "stays the same"),
        "waits one longer": (plateau(late=1), "waited"),
        "returns the last rate": (lambda *given: plateau()(*given)[-1], "shape"),
        "never cuts": (lambda losses, rate, *_: [rate] * len(losses), "too large"),
    },
    "recalls": {
        "computes precision": (lambda c: c.diagonal() / c.sum(axis=0), "precision"),
        "computes accuracy": (lambda c: c.trace() / c.sum(), "shape"),
        "returns the hits": (lambda c: c.diagonal(), "between 0 and 1"),
        "divides by all faces": (lambda c: c.diagonal() / c.sum(), "divided"),
    },
    "macro_f1": {
        "computes accuracy": (lambda c: c.trace() / c.sum(), "accuracy"),
        "divides nothing by nothing": (f1_by_division, "nan"),
        "averages first": (f1_of_means, "average before"),
        "weighs by the faces": (
            lambda c: np.average(2 * c.diagonal() / (c.sum(0) + c.sum(1)), weights=c.sum(axis=1)),
            "weighted",
        ),
        "leaves a class out": (
            lambda c: np.mean(
                [2 * c[k, k] / (c[k].sum() + c[:, k].sum()) for k in c.any(0).nonzero()[0]]
            ),
            "leave out",
        ),
    },
    "interval": {
        "draws without replacement": (ends(2.5, 97.5, replace=False), "more than once"),
        "takes 90%": (ends(5, 95), "too narrow"),
        "takes the extremes": (ends(0, 100), "too wide"),
        "draws half": (ends(2.5, 97.5, draw=0.5), "too wide"),
        "draws ten times as many": (ends(2.5, 97.5, draw=10), "too narrow"),
        "swaps the ends": (ends(97.5, 2.5), "first"),
        "returns the mean": (lambda right, rounds: right.mean(), "shape"),
    },
    "mixed_accuracy": {
        "takes the plain mean": (lambda found, counts: found.mean(), "mix"),
        "adds up the hits": (lambda found, counts: found @ counts, "between 0 and 1"),
        "divides by the classes": (lambda found, counts: (found / counts).mean(), "trial"),
    },
    "age_of_answer": {
        "counts the frames that wait": (1080, "frames are waiting"),
        "says when it was taken": (24, "how long ago"),
        "thinks of the newest": (90, "newest"),
        "believes in no delay": (1 / 12, "too small"),
    },
    "square_inside": {
        "leaves it outside": (functools.partial(square, fit=False, move=False), "beyond"),
        "clips the corners": (clipped_square, "no square"),
        "lets it be too large": (functools.partial(square, fit=False), "beyond"),
        "takes the shorter side": (functools.partial(square, longer=min), "too small"),
        "shrinks it": (shrunk_square, "too small"),
        "adds the margin on both sides": (
            lambda box, scale, *size: square(box, 2 * scale - 1, *size),
            "too large",
        ),
        "begins at the corner of the box": (
            lambda box, scale, *size: square(
                np.array(box) + (scale - 1) * max(box[2] - box[0], box[3] - box[1]) / 2,
                scale,
                *size,
            ),
            "elsewhere",
        ),
    },
    "smoothed": {
        "takes the missing frames for 0": (moving("full"), "add up to"),
        "centres it, with 0 at the ends": (moving("same"), "add up to"),
        "centres it": (centred, "last frame"),
        "has no row for the first frames": (moving("valid"), "shape"),
        "averages over all": (lambda p, n: np.tile(p.mean(axis=0), (len(p), 1)), "last frame"),
        "counts from the end": (
            lambda p, n: np.array([p[t - n + 1 : t + 1].mean(axis=0) for t in range(len(p))]),
            "nan",
        ),
        "leaves out the frame itself": (
            lambda p, n: np.array(
                [p[max(0, t - n) : max(t, 1)].mean(axis=0) for t in range(len(p))]
            ),
            "other frames",
        ),
    },
    "coverage": {
        "believes the network": (
            lambda sure, right, wanted: np.mean(sure >= wanted),
            "you believe",
        ),
        "answers all": (lambda sure, right, wanted: right.mean(), "all are answered"),
        "stops at the first fall": (first_fall, "too early"),
        "forgets to sort": (
            lambda sure, right, wanted: by_thresholds(-np.arange(len(sure)), right, wanted),
            "too",
        ),
        "wants more": (lambda *given: by_thresholds(*given[:2], given[2] + 1e-9), "too small"),
        "counts faces": (lambda *given: 12 * by_thresholds(*given), "between 0 and 1"),
    },
    "share_outside": {
        "counts one end": (1 / 10, "two ends"),
        "keeps the lesson's half": (0.5, "nine leave less room"),
        "says how often it is inside": (0.8, "inside"),
        "divides by the nine": (2 / 9, "too large"),
        "says it in percent": (20, "between 0 and 1"),
    },
    "warm_up_cosine": {
        "falls from the first step on": (wave, "at its peak"),
        "falls in a straight line": (trapezium, "straight line"),
        "goes up again": (
            lambda step, steps, warm_up, peak: (
                peak * step / warm_up
                if step < warm_up
                else peak * (1 + np.cos(2 * np.pi * (step - warm_up) / (steps - warm_up))) / 2
            ),
            "come down to 0",
        ),
        "divides by no warm-up": (
            lambda step, steps, warm_up, peak: (
                min(step / warm_up, 1) * cosine(max(step, warm_up), steps, warm_up, peak)
            ),
            "ZeroDivisionError",
        ),
        "does not rise": (
            lambda step, steps, warm_up, peak: cosine(max(step, warm_up), steps, warm_up, peak),
            "along the rise",
        ),
        "forgets the peak": (lambda *given: cosine(*given[:3], 1.0), "at its peak"),
    },
    "mixup": {
        "leaves the labels": (lambda x, y, shares: (mixed(x, y, shares)[0], y), "not mixed at all"),
        "swaps the shares": (
            lambda x, y, shares: mixed(x, y, 1 - shares),
            "wrong way round",
        ),
        "takes the neighbour": (
            lambda x, y, shares: mixed(x, y, shares, np.arange(len(x)) - 1),
            "neighbours",
        ),
        "lines up the columns": (by_columns, "for each column"),
        "runs into the shapes": (
            lambda x, y, shares: (shares * x + (1 - shares) * x[::-1], y),
            "ValueError",
        ),
        "returns the pictures only": (lambda *given: mixed(*given)[0], "two things"),
        "takes one share for all": (
            lambda x, y, shares: mixed(x, y, np.full(len(x), shares[0])),
            "in another way",
        ),
        "gives the label of the larger part": (
            lambda x, y, shares: (
                mixed(x, y, shares)[0],
                np.where(shares[:, None] > 0.5, y, y[::-1]),
            ),
            "your targets",
        ),
    },
    "averaged": {
        "begins with nothing": (decayed, "namely 4"),
        "begins with the first": (functools.partial(decayed, first=None), "begins with the first"),
        "takes the plain mean": (lambda weights, keep: weights.mean(axis=0), "the same"),
        "turns time round": (lambda weights, keep: forgetting(weights[::-1], keep), "oldest"),
        "adds up": (lambda w, keep: keep ** np.arange(len(w))[::-1] @ w, "namely 4"),
        "averages each row": (lambda weights, keep: weights.mean(axis=1), "shape"),
        "forgets the squares": (
            lambda w, keep: np.average(w, axis=0, weights=[keep] * (len(w) - 1) + [1]),
            "other shares",
        ),
    },
    "learning_numbers": {
        "forgets the biases": (3 * 1280, "no feature is multiplied"),
        "takes the lesson's classes": (7 * 1280 + 7, "three"),
        "counts the network": (2_266_951, "frozen"),
        "counts the scaling": (3843 + 2 * 1280, "nothing to learn"),
        "takes dropout off": (2691, "all are learnt"),
        "counts the features": (1280, "weights of its own"),
        "guesses": (5000, "too large"),
    },
    "for_the_network": {
        "begins at 0": (lambda *given: coloured(*given, low=0), "0 stands where a black pixel"),
        "does not scale": (lambda f, k: 255 * coloured(f, k, low=0), "white one"),
        "stays in one colour": (lambda *given: coloured(*given, colours=1), "shape"),
        "colours only red": (only_red, "three colours differ"),
        "sets faces beside each other": (lambda *given: coloured(*given, tiled), "several small"),
        "lets uint8 wrap": (wrapped, "1 stands where a black pixel"),
        "stretches to the ends": (stretched, "must not become so"),
        "mirrors": (lambda f, k: coloured(f[..., ::-1], k), "where the white one"),
        "does not enlarge": (lambda f, k: coloured(f, 1), "shape"),
        "turns dark to black": (lambda f, k: coloured(255 * (f > 127), k), "not of their grey"),
    },
    "normalise": {
        "always takes the batch": (lambda x, m, v, t: normal(x, m, v, True), "not the averages"),
        "always takes the averages": (
            lambda x, m, v, t: normal(x, m, v, False),
            "not the figures of the batch",
        ),
        "takes one mean": (lambda *given: normal(*given, axis=None), "one mean for all features"),
        "takes each face's mean": (lambda *given: normal(*given, axis=1), "mean of each face"),
        "divides by the variance": (lambda *given: normal(*given, root=np.asarray), "its root"),
        "adds Keras's number": (
            lambda *given: normal(*given, root=lambda v: np.sqrt(v + 1e-3)),
            "small number",
        ),
        "divides by one less": (
            lambda x, m, v, t: normal(x, m, v, t) * (((len(x) - 1) / len(x)) ** 0.5 if t else 1),
            "one less",
        ),
        "moves the mean only": (
            lambda x, m, v, t: normal(x, x.mean(axis=0) if t else m, v, False),
            "mix a figure",
        ),
        "forgets the variance": (lambda *given: normal(*given, root=np.ones_like), "other numbers"),
    },
    "nearest_mean": {
        "adds up the differences": (
            lambda *given: by_means(*given, size=lambda v: abs(v).sum()),
            "new face",
        ),
        "looks at one feature": (
            lambda *given: by_means(*given, size=lambda v: abs(v[0])),
            "new face",
        ),
        "lets signs cancel": (lambda *given: by_means(*given, size=np.sum), "new face"),
        "takes blocks of rows": (by_blocks, "new face"),
        "gives places": (by_places, "place in a list"),
        "counts all numbers as classes": (by_all_numbers, "place in a list"),
        "takes the nearest face": (by_nearest_face, "nearest face"),
        "takes the largest product": (by_products, "largest product"),
        "takes the farthest": (lambda *given: by_means(*given, np.argmax), "farthest"),
        "always says the same": (lambda x, y, new: np.full(len(new), y[0]), "new face 1"),
        "names the first only": (lambda *given: by_means(*given)[0], "shape"),
    },
    "share_of_sad": {
        "counts all ten": (0.6, "all ten"),
        "keeps the single vote": (6 / 9, "the other is not"),
        "counts sad alone": (1.0, "too large"),
        "gives the number": (6, "between 0 and 1"),
    },
    "soft_loss": {
        "returns one mean": (soft(keras.ops.mean), "shape (3,)"),
        "keeps the classes apart": (soft(lambda terms: terms), "shape (3,)"),
        "forgets the minus": (soft(lambda terms: -keras.ops.sum(terms, axis=-1)), "below 0"),
        "takes the mean of the classes": (soft(lambda t: keras.ops.mean(t, axis=-1)), "their sum"),
        "counts bits": (soft(lambda t: keras.ops.sum(t, axis=-1) / np.log(2)), "in bits"),
        "makes a label of the shares": (hard_loss, "as if it were a label"),
        "divides huge numbers": (naive_soft_loss, "nan or infinity"),
        "takes the logits for probabilities": (lambda t, p: (t * p).sum(axis=1), "other numbers"),
        "leaves Keras": (soft_by_numpy, "a training by Keras"),
    },
    "without_prior": {
        "changes the given one": (rebiased_in_place, "work on a copy"),
        "returns the given one": (lambda n, p, s: n, "as the one that you were given"),
        "adds": (rebiased(lambda b, p, s: b + s * np.log(p)), "become rarer"),
        "forgets the logarithm": (rebiased(lambda b, p, s: b - s * p), "not its logarithm"),
        "forgets the strength": (rebiased(lambda b, p, s: b - np.log(p)), "no effect"),
        "replaces the bias": (rebiased(lambda b, p, s: -s * np.log(p)), "not replaced"),
        "forgets the weights": (lambda n, p, s: keras.models.clone_model(n), "all weights"),
        "returns the bias": (lambda n, p, s: n.get_weights()[-1], "a network is wanted"),
    },
    "reported": {
        "swaps them": (lambda v, t: (t.max(), t[v.argmax()]), "order"),
        "reports validation": (lambda v, t: (v.max(), t.max()), "then scored"),
        "takes the last epoch": (lambda v, t: (t[-1], t.max()), "the last epoch"),
        "takes the test set for both": (lambda v, t: (t.max(), t.max()), "the honest score"),
        "takes the epoch's number": (lambda v, t: (t[v.argmax()], t.argmax()), "flattering"),
    },
}


# Right in another way than the solution, with other types.
RIGHT: dict[str, object] = {
    "count_numbers": 27648.0,
    "class_shares": lambda y, k: [sum(y == i) / len(y) for i in range(k)],
    "most_common_accuracy": lambda a, b: float((b == max(set(a), key=list(a).count)).mean()),
    "count_contradictions": lambda g, y: (
        np.bincount(np.unique(np.stack([g, y]), axis=1)[0]) > 1
    ).sum(),
    "turned_point": [37.5, 23.5],
    "move_points": lambda m, p: [(m @ (x, y, 1))[:2] for x, y in p],
    "mirror_matrix": lambda width: [[-1.0, 0.0, width - 1.0], [0, 1, 0], [0, 0, 1]],
    "mirrored_label": MIRRORED.get,
    "flat_size": np.float32(9216),
    "conv_parameters": lambda k, c, f: np.zeros((k, k, c, f)).size + np.zeros(f).size,
    "output_size": lambda n, k, s, p: (
        len(range(0, n, s)) if p == "same" else len(range(0, n - k + 1, s))
    ),
    "convolve": lambda picture, kernel: valid_convolution(picture, kernel, np.float32),
    "kept_and_last": np.array([7.0, 10.0]),
    "guesser_loss": lambda c: np.float32(-np.log(np.repeat(c, c) / c.sum()).mean()),
    "soft_weights": lambda c, power: [scaled(c**-power, c)[k] for k in range(len(c))],
    "learning_rates": rates_by_slices,
    "recalls": lambda c: [c[k, k] / sum(c[k]) for k in range(len(c))],
    "macro_f1": lambda c: np.float32(
        np.mean([c[k, k] / (c[k].sum() + c[:, k].sum()) * 2 for k in range(len(c))])
    ),
    "interval": lambda right, rounds: tuple(
        np.quantile(
            np.random.default_rng(1).binomial(len(right), right.mean(), rounds), (0.025, 0.975)
        )
        / len(right)
    ),
    "mixed_accuracy": lambda found, counts: np.average(found, weights=counts),
    "age_of_answer": np.float32(36),
    "square_inside": lambda *given: tuple(int(v) for v in square(*given)),
    "smoothed": lambda p, n: [
        [np.mean(p[:, k][: t + 1][-n:]) for k in range(p.shape[1])] for t in range(len(p))
    ],
    "coverage": by_thresholds,
    "share_outside": np.float32(0.2),
    "warm_up_cosine": cosine,
    "mixup": lambda *given: list(mixed(*given)),
    "averaged": forgetting,
    "learning_numbers": np.float32(3843),
    "for_the_network": coloured,
    "normalise": normal,
    "nearest_mean": by_means,
    "share_of_sad": 3 / 4,
    "soft_loss": lambda targets, logits: keras.losses.categorical_crossentropy(
        targets, logits, from_logits=True
    ),
    "without_prior": rebiased(lambda b, p, s: b - np.log(p**s)),
    "reported": lambda v, t: [t[np.argsort(v)[-1]], sorted(t)[-1]],
}


@each_check
def test_every_right_way_holds(name: str, capsys) -> None:
    assert verdict(capsys, name, RIGHT[name]).startswith("It holds: ")


@pytest.mark.parametrize(
    ("name", "mistake"), [(name, mistake) for name, row in WRONG.items() for mistake in row]
)
def test_a_typical_mistake_is_named(name: str, mistake: str, capsys) -> None:
    answer, word = WRONG[name][mistake]
    said = verdict(capsys, name, answer)
    assert said.startswith("Not yet: ")
    assert word in said


def test_every_check_stands_on_one_page_and_two_mistakes_are_tried() -> None:
    called = [name for path in SOLUTIONS for name in asked(path)]
    assert sorted(called) == sorted(CHECKS) == sorted(WRONG)
    assert all(len(row) >= 2 for row in WRONG.values())


@each_page
def test_a_page_is_whole_and_shows_no_solution(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    lesson = (path.parent / ".." / path.name).resolve()
    assert lesson.is_file()
    assert notebook.cells[0].source.startswith(f"[← Lesson {int(path.name[:2])} · ")
    for link in re.findall(r"\]\(([^)]+\.ipynb)\)", path.read_text("utf-8")):
        assert (path.parent / link).is_file(), link
    assert 2 <= len(asked(path)) <= 4
    text = "\n".join(cell.source for cell in notebook.cells)
    assert "olution>" not in text
    assert "**Solution" not in text
    assert text.count("= ...") + text.count("return ...") == len(asked(path))
    solved = "\n".join(code(NOTEBOOKS / "solutions" / path.name))
    lines = [line.strip() for part in PART.findall(solved) for line in part[1].splitlines()]
    assert len(lines) >= len(asked(path))
    assert not [line for line in lines if line in text]


@pytest.mark.parametrize("path", [*SOLUTIONS, *PAGES], ids=lambda path: "/".join(path.parts[-2:]))
def test_a_page_is_committed_clean(path: Path) -> None:
    text = path.read_text("utf-8")
    for trick in ("sys.path", "PYTHONPATH", "%cd", "os.chdir", "/home/", "/Users/", "C:\\\\"):
        assert trick not in text
    for cell in json.loads(text)["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_stale_missing_and_orphaned_pages_are_noticed(tmp_path: Path, capsys) -> None:
    for folder in ("solutions", "exercises"):
        shutil.copytree(NOTEBOOKS / folder, tmp_path / folder)
    first, second = (tmp_path / "exercises" / path.name for path in PAGES[:2])
    first.write_text(first.read_text("utf-8").replace("Your turn", "My turn"), "utf-8")
    second.unlink()
    assert main(["--check"], tmp_path) == 1
    said = capsys.readouterr().out
    assert f"{first.name} is stale" in said
    assert f"{second.name} is stale" in said
    assert len(said.splitlines()) == 2
    assert main([], tmp_path) == 0
    assert main(["--check"], tmp_path) == 0
    (tmp_path / "solutions" / PAGES[2].name).unlink()
    capsys.readouterr()
    assert main(["--check"], tmp_path) == 1
    assert f"{PAGES[2].name} has no solution" in capsys.readouterr().out


def test_the_tool_says_so_in_its_exit_code() -> None:
    tool = str(ROOT / "tools" / "make_exercises.py")
    done = subprocess.run([sys.executable, tool, "--check"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_stands_between_the_markers_becomes_dots() -> None:
    code = "a = 1\n# <solution>\nb = 2\nc = (\n    b\n)\n# </solution>\nprint(c)"
    turn = "# Your turn: as many lines as you like, the last of them like this one."
    assert unsolved(code) == f"a = 1\n{turn}\nc = ...\nprint(c)"
    code = 'def f(x):\n    """Double."""\n    # <solution>\n    return 2 * x\n    # </solution>'
    assert unsolved(code) == f'def f(x):\n    """Double."""\n    {turn}\n    return ...'
    assert unsolved("print(1)") == "print(1)"


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("# <solution>\na = 1", "partner"),
        ("a = 1\n# </solution>", "partner"),
        ("# <solution>\nprint(1)\n# </solution>", "neither"),
        ("# <solution>\n# </solution>", "neither"),
    ],
)
def test_a_solution_that_cannot_be_taken_out_is_refused(code: str, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        unsolved(code)


def test_outputs_and_explanations_stay_with_the_solution(tmp_path: Path) -> None:
    new = nbformat.v4
    output = new.new_output("stream", name="stdout", text="forty-two")
    cells = [
        new.new_markdown_cell("# 9 · Count: solutions"),
        new.new_code_cell("# <solution>\na = 6 * 7\n# </solution>", outputs=[output]),
        new.new_markdown_cell("**Solution.** It is forty-two."),
        new.new_markdown_cell("## 2 · Next"),
    ]
    cells[1].execution_count = 1
    path = tmp_path / "09_count.ipynb"
    nbformat.write(new.new_notebook(cells=cells), path)
    made = page(path)
    assert "forty-two" not in made
    assert "6 * 7" not in made
    kept = json.loads(made)["cells"]
    assert ["".join(cell["source"]) for cell in kept[::2]] == [
        "# 9 · Count: exercises",
        "## 2 · Next",
    ]
    path.write_text(path.read_text("utf-8").replace("# <solution>", "#"), "utf-8")
    with pytest.raises(ValueError, match="partner"):
        page(path)
