"""The checks of the exercises: `check.name(answer)` prints one sentence, and never raises.

A check is a function under `@exercise("what holds")`: it takes the learner's answer, and raises
`AnswerError` with what is wrong, in words that do not give the solution away. What follows the
answer in a page's call is an example, with which an answer that holds is called.
"""

from __future__ import annotations

import copy
import functools
import math
import warnings
from collections.abc import Callable

import numpy as np

from helpers import SEED

RAISED = (Exception, SystemExit)  # what an answer may do; Ctrl-C still stops it


class AnswerError(Exception):
    """Says what is wrong with an answer."""


def exercise(holds: str) -> Callable:
    """Make a function that raises `AnswerError` into a check, which prints; `holds` praises."""

    def decorate(check: Callable) -> Callable:
        @functools.wraps(check)
        def printed(answer=..., *example) -> None:
            try:
                if answer is ... or answer is None:
                    raise AnswerError(
                        "there is no answer here; put yours in place of the three dots."
                    )
                check(answer)
                said = f"It holds: {holds}"
                if example:
                    shown = np.asarray(_call(answer, *example, trial="the example"))
                    shown = shown if shown.dtype.kind == "U" else shown.round(3)
                    said += f"; for the example it gives {shown.tolist()}"
                said += "."
            except AnswerError as wrong:
                said = f"Not yet: {wrong}"
            except RAISED as error:  # such as an answer that cannot even be compared
                said = f"Not yet: what you gave cannot be checked ({type(error).__name__})."
            print(said)

        return printed

    return decorate


def _call(function: Callable, *inputs, trial: str = "a trial"):
    """Call a learner's function on copies, so that what it does to them can be seen."""
    if not callable(function):
        raise AnswerError(
            f"a function is wanted, and this is of the type {type(function).__name__}."
        )
    given = copy.deepcopy(inputs)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = function(*given)
    except RAISED as error:
        what = str(error).partition("\n")[0].rstrip(". ")
        raise AnswerError(
            f"in {trial} your function raised {type(error).__name__}: {what}."
        ) from None
    if result is None or result is ...:
        raise AnswerError("your function returns nothing yet.")
    if not all(np.array_equal(*pair) for pair in zip(given, inputs, strict=True)):
        raise AnswerError(
            "your function changes the arrays that it is given; let it leave them alone."
        )
    return result


def _numbers(value, shape: tuple[int, ...] = (), trial: str = "") -> np.ndarray:
    """Return finite numbers of this shape as float array; the shape () is a single number."""
    where = f"in {trial}, " if trial else ""
    try:
        array = np.asarray(value)
    except ValueError:  # lists of several lengths
        array = np.array(None)
    if array.dtype.kind not in "iuf":
        wanted = "numbers are" if shape else "a number is"
        raise AnswerError(
            f"{where}{wanted} wanted, and this is of the type {type(value).__name__}."
        )
    if array.shape != shape:
        wanted = f"an array of shape {shape}" if shape else "a single number"
        has = f"has the shape {array.shape}" if array.shape else "is a single number"
        raise AnswerError(f"{where}{wanted} is wanted, and yours {has}.")
    if not np.isfinite(array).all():
        raise AnswerError(f"{where}you get nan or infinity: is something divided by zero?")
    return array.astype(float)


def _shares(value, shape: tuple[int, ...] = (), trial: str = "") -> np.ndarray:
    array = _numbers(value, shape, trial)
    if array.min() < 0 or array.max() > 1 + 1e-9:
        far = array.min() if array.min() < 0 else array.max()
        raise AnswerError(f"a share lies between 0 and 1, and {far:.4g} does not.")
    return array


def _is_infinite(value) -> bool:
    """Return True for a single number that is nan or infinity."""
    value = np.asarray(value)
    return not value.ndim and value.dtype.kind == "f" and not np.isfinite(value)


def _same(a, b) -> bool:
    return np.allclose(a, b, rtol=1e-5, atol=1e-6)


def _how(value: float, expected: float) -> str:
    return "large" if value > expected else "small"


# Lesson 1


@exercise("every pixel has a number for each of its colours, and all of them go in")
def count_numbers(answer) -> None:
    value, expected = _numbers(answer), 96 * 96 * 3
    if value == 96 * 96:
        raise AnswerError("that would do for grey; a pixel in colour is more than one number.")
    if value == 48 * 48 * 3:
        raise AnswerError("these pictures have more rows and columns than those of the lesson.")
    if value != expected:
        raise AnswerError(f"your number is too {_how(value, expected)}: rows, columns, and then?")


@exercise("the shares stand in the order of the classes and add up to 1")
def class_shares(answer) -> None:
    for labels, k in (([2, 0, 0, 1, 2, 2, 2, 0], 3), ([1, 1, 3, 1], 6)):
        trial = f"a trial with {k} classes, of which {k - len(set(labels))} have no picture"
        shares = _shares(_call(answer, np.array(labels), k, trial=trial), (k,), trial)
        if not _same(shares.sum(), 1):
            raise AnswerError(
                f"the shares of all classes add up to 1, and yours to {shares.sum():.3g}."
            )
        if not _same(shares, np.bincount(labels, minlength=k) / len(labels)):
            raise AnswerError(
                "the shares are right in sum, but not each: in which order do they stand?"
            )


@exercise("the answer is chosen by the training labels alone, and scored on the others")
def most_common_accuracy(answer) -> None:
    trials = (
        ([0, 0, 0, 1, 2, 2], [2, 2, 2, 2, 0, 0, 1]),
        ([4, 4, 2, 4, 0], [0, 2, 2]),
        ([1], [1, 1]),
    )
    for train, labels in trials:
        common = np.bincount(train).argmax()
        value = _shares(_call(answer, np.array(train), np.array(labels)))
        if _same(value, np.mean(np.array(labels) == common)):
            continue
        if _same(value, np.bincount(labels).max() / len(labels)):
            raise AnswerError(
                "where the two sets have different favourites, you take that of the labels you "
                "are scored on; nobody may look at those."
            )
        if _same(value, np.mean(np.array(train) == common)):
            raise AnswerError(
                "you score on the training labels, and the other ones are to be scored."
            )
        raise AnswerError(
            f"in a trial your accuracy of {value:.3f} is wrong: which answers are right?"
        )


@exercise("a picture counts once if its copies disagree, and not at all if they agree")
def count_contradictions(answer) -> None:
    rng = np.random.default_rng(SEED)
    for groups, labels in (
        ([0, 1, 1, 2, 2, 2, 2], [0, 1, 1, 0, 1, 2, 3]),
        (rng.integers(0, 40, 90), rng.integers(0, 3, 90)),
        ([0, 1, 2], [0, 0, 1]),
    ):
        groups, labels = np.array(groups), np.array(labels)
        value = _numbers(_call(answer, groups, labels))
        kinds = np.array([len(set(labels[groups == group])) for group in np.unique(groups)])
        sizes = np.unique(groups, return_counts=True)[1]
        expected = (kinds > 1).sum()
        if value == expected:
            continue
        if value == sizes[kinds > 1].sum():
            raise AnswerError(
                "you count every copy; a picture counts once, however many of its copies disagree."
            )
        if value == (sizes > 1).sum():
            raise AnswerError(
                "you also count pictures whose copies carry the same label; they agree."
            )
        raise AnswerError(
            f"in a trial with copies of copies your number is too {_how(value, expected)}."
        )


# Lesson 2


@exercise("down becomes right, and the middle stays where it is")
def turned_point(answer) -> None:
    x, y = _numbers(answer, (2,))
    if not (0 <= x <= 47 and 0 <= y <= 47):
        raise AnswerError(
            "this lies outside the picture: turn about its middle, not about its corner."
        )
    if abs(x - 38) <= 1 and abs(y - 23) <= 1:
        return
    if abs(x - 9) <= 1 and abs(y - 24) <= 1:
        raise AnswerError("the face is turned to the wrong side: remember that y grows downwards.")
    raise AnswerError("the mouth is not there: measure from the middle, turn, then measure back.")


@exercise("turns, stretches and shifts all arrive, for any number of points")
def move_points(answer) -> None:
    rng = np.random.default_rng(SEED)
    turn = np.array([[0.8, 0.6, 0], [-0.6, 0.8, 0], [0, 0, 1]])
    shift = np.array([[1.0, 0, 5], [0, 1, -2], [0, 0, 1]])
    for name, matrix, n in (
        ("a pure shift", shift, 5),
        ("a pure turn", turn, 4),
        ("turn, stretch and shift in one", shift @ turn @ np.diag([1.5, 0.5, 1]), 3),
    ):
        points = rng.uniform(0, 47, (n, 2))
        trial = f"a trial ({name}, {n} points)"
        moved = _numbers(_call(answer, matrix, points, trial=trial), (n, 2), trial)
        if _same(moved, points @ matrix[:2, :2].T + matrix[:2, 2]):
            continue
        if _same(moved, points @ matrix[:2, :2].T):
            raise AnswerError(f"in {trial} the shift is lost: what does the third column do?")
        if _same(moved, points @ matrix[:2, :2] + matrix[:2, 2]):
            raise AnswerError(f"in {trial} the turn goes the wrong way round: rows, or columns?")
        raise AnswerError(f"in {trial} the points do not arrive where they should.")


@exercise("first and last column change places, and a second time brings all back")
def mirror_matrix(answer) -> None:
    for width in (48, 7):
        matrix = _numbers(_call(answer, width), (3, 3))
        columns = np.array([0, width - 1, 2])
        x, y, one = matrix @ [columns, [3, 3, 3], [1, 1, 1]]
        if not _same(one, 1):
            raise AnswerError("the last row of such a matrix leaves the added 1 as it is.")
        if not _same(y, 3):
            raise AnswerError("a pixel changes its row; left and right should be swapped.")
        where = f"of {width} columns, from 0 to {width - 1}, column"
        for column, lands in zip(columns, x, strict=True):
            if not -1e-6 <= lands <= width - 1 + 1e-6:
                raise AnswerError(f"{where} {column} lands outside, in column {lands:g}.")
        for column, lands in zip(columns, x, strict=True):
            if not _same(lands, width - 1 - column):
                raise AnswerError(f"{where} {column} lands in column {lands:g}.")


@exercise("what the mirror swaps is swapped in the label too, and all else is left")
def mirrored_label(answer) -> None:
    for label, expected in (
        ("left", "right"),
        ("right", "left"),
        ("straight", "straight"),
        ("up left", "up right"),
        ("down right", "down left"),
        ("closed", "closed"),
    ):
        value = _call(answer, label, trial=f"a trial with {label!r}")
        if not isinstance(value, str):
            raise AnswerError(
                f"a label is a text, and yours is of the type {type(value).__name__}."
            )
        if value == label != expected:
            raise AnswerError(
                f"{label!r} stays {value!r}, but in a mirror that gaze goes elsewhere."
            )
        if value != expected and expected == label:
            raise AnswerError(
                f"{label!r} becomes {value!r}, and a mirror does nothing to that gaze."
            )
        if value != expected:
            raise AnswerError(f"{label!r} becomes {value!r}, which is not what a mirror shows.")


# Lesson 3


@exercise("every place that the poolings leave has one answer of each filter of the last block")
def flat_size(answer) -> None:
    value, expected = _numbers(answer), 12 * 12 * 64
    if value == 96 * 96 * 64:
        raise AnswerError("the picture has got smaller on the way: each block ends with a pooling.")
    if value == 12 * 12:
        raise AnswerError("these are the places; how many answers does each of them hold?")
    if value != expected:
        raise AnswerError(
            f"your number is too {_how(value, expected)}: follow one block after another."
        )


@exercise("every filter has a kernel for each channel below it, and a bias")
def conv_parameters(answer) -> None:
    for kernel, channels, filters in ((3, 1, 32), (3, 32, 64), (5, 3, 7)):
        trial = f"a trial ({kernel} × {kernel}, channels in: {channels}, filters: {filters})"
        value = _numbers(_call(answer, kernel, channels, filters, trial=trial), (), trial)
        kernels = kernel * kernel * channels * filters
        if value == kernels + filters:
            continue
        if value == kernels:
            raise AnswerError("the kernels are counted; which other number does each filter have?")
        if value == (kernel * kernel + 1) * filters:
            raise AnswerError("a filter looks at every channel below it, and yours looks at one.")
        too = _how(value, kernels + filters)
        raise AnswerError(f"in {trial} your number, {value:.0f}, is too {too}.")


@exercise("you count the places where a kernel can be laid down")
def output_size(answer) -> None:
    for size, kernel, stride, padding in (
        (48, 3, 1, "valid"),
        (48, 3, 1, "same"),
        (9, 5, 2, "valid"),
        (10, 3, 2, "valid"),
        (7, 3, 2, "same"),
        (48, 5, 3, "same"),
    ):
        trial = f"a trial ({size} pixels, kernel {kernel}, stride {stride}, {padding!r})"
        value = _numbers(_call(answer, size, kernel, stride, padding, trial=trial), (), trial)
        same = padding == "same"
        expected = math.ceil(size / stride) if same else (size - kernel) // stride + 1
        if value != np.floor(value):
            raise AnswerError(f"in {trial} you get {value:g}: can there be a part of a place?")
        if value != expected:
            hint = "what do the zeros around it change?" if same else "count the places."
            raise AnswerError(f"in {trial} your {value:g} is too {_how(value, expected)}: {hint}")


@exercise("kernels of any height and width slide over pictures of any kind")
def convolve(answer) -> None:
    rng = np.random.default_rng(SEED)
    for name, picture, size in (
        ("a kernel of 3 × 3", rng.random((7, 6)), (3, 3)),
        ("a kernel of 2 × 4", rng.random((7, 6)), (2, 4)),
        ("whole numbers of 8 bits", rng.integers(0, 256, (6, 6), np.uint8), (3, 3)),
        ("a kernel of one number", rng.random((3, 2)), (1, 1)),
    ):
        kernel = rng.integers(1, 9, size).astype(picture.dtype)
        trial = f"a trial with {name}"
        windows = np.lib.stride_tricks.sliding_window_view(picture.astype(float), size)
        expected = (windows * kernel).sum(axis=(2, 3))
        result = _call(answer, picture, kernel, trial=trial)
        if np.shape(result) == picture.shape != expected.shape:
            raise AnswerError(
                "your result is as large as the picture: the kernel hangs over the edge."
            )
        result = _numbers(result, expected.shape, trial)
        if np.allclose(result, expected, rtol=1e-4):
            continue
        if np.allclose(result, (windows * kernel[::-1, ::-1]).sum(axis=(2, 3)), rtol=1e-4):
            raise AnswerError("your kernel is turned round; lay it on the picture as it stands.")
        if picture.dtype == np.uint8:
            raise AnswerError(f"in {trial} the sums run over, since 8 bits end at 255.")
        raise AnswerError(f"in {trial} the shape is right, but the numbers are not.")


# Lesson 4


@exercise("a lower loss begins the count anew, and what comes after the end is never seen")
def kept_and_last(answer) -> None:
    kept, last = _numbers(answer, (2,))
    if (kept, last) == (7, 10):
        return
    if (kept, last) == (6, 9):
        raise AnswerError("this counts the epochs from 0; call the first one 1.")
    if kept >= last:
        raise AnswerError("first the epoch whose weights you get, then the last one, some later.")
    if kept == 7:
        raise AnswerError(
            f"the weights are those; but a training that ends after epoch {last:g} has waited too "
            f"{'long' if last > 10 else 'little'} for something lower than the lowest."
        )
    if kept == 11:
        raise AnswerError("that is the lowest of all, but the training never got there.")
    raise AnswerError(
        f"epoch {kept:g} is not the lowest that was seen: walk from epoch to epoch, and count how "
        "many in a row bring nothing new."
    )


@exercise("each class pays for its share, and one without a picture pays nothing")
def guesser_loss(answer) -> None:
    for counts in ([30, 10], [60, 20, 0, 20]):
        counts = np.array(counts)
        trial = f"a trial with the counts {counts.tolist()}"
        value = _call(answer, counts, trial=trial)
        if 0 in counts and _is_infinite(value):
            raise AnswerError(
                "you get nan or infinity where a class has no picture: what is the logarithm of 0?"
            )
        value = float(_numbers(value, (), trial))
        shares = counts[counts > 0] / counts.sum()
        expected = -(shares @ np.log(shares))
        if _same(value, expected):
            continue
        if _same(value, -expected):
            raise AnswerError("a loss is not below 0: the logarithm of a share is negative.")
        if _same(value, expected / np.log(2)) or _same(value, expected / np.log(10)):
            raise AnswerError("the lesson's loss has the natural logarithm, and yours another.")
        if _same(value, expected * counts.sum()):
            raise AnswerError("that is the loss of all pictures together; the mean is wanted.")
        if _same(value, -np.log(shares).mean()):
            raise AnswerError(
                "that is the mean over the classes; more pictures pay for a common class."
            )
        if _same(value, np.log(len(counts))):
            raise AnswerError("that guesser gives all classes the same, and does not know counts.")
        too = _how(value, expected)
        raise AnswerError(f"in {trial} your loss, {value:.4g}, is too {too}.")


@exercise("the proportions follow the power, and all pictures together count as without weights")
def soft_weights(answer) -> None:
    for counts, power in (([30, 10], 1.0), ([400, 25, 75], 0.5), ([60, 5, 20, 15], 0.0)):
        counts = np.array(counts)
        trial = f"a trial with the counts {counts.tolist()} and the power {power:g}"
        weights = _numbers(_call(answer, counts, power, trial=trial), counts.shape, trial)
        if weights.min() <= 0:
            raise AnswerError(f"in {trial} a class gets the weight {weights.min():.3g}.")
        ratio = weights * counts**power
        if not _same(ratio / ratio[0], 1):
            if _same(weights / weights[0], (counts / counts[0]) ** power):
                raise AnswerError("the common classes get the heavy weights.")
            if _same(weights * counts, weights[0] * counts[0]):
                raise AnswerError(f"in {trial} the proportions are those of the power 1.")
            raise AnswerError(f"in {trial} the weights stand in other proportions.")
        mean = counts @ weights / counts.sum()
        if not _same(mean, 1):
            over = "; that over the classes is 1" if _same(weights.mean(), 1) else ""
            raise AnswerError(
                f"in {trial} the proportions are right, but the mean weight of all pictures is "
                f"{mean:.3f}{over}."
            )


@exercise("the rate falls where the waiting is over, and only there")
def learning_rates(answer) -> None:
    for losses, patience, hint in (
        ([1.9, 1.6, 1.5], 2, "there is always something lower."),
        ([1.9, 1.6, 1.7, 1.8, 1.5], 2, "how many epochs have waited by then?"),
        ([1.9, 1.6, 1.7, 1.8, 1.9, 2.0, 2.1], 2, "what begins anew at a cut, and what does not?"),
        ([1.0, 0.8, 0.9, 0.85, 0.84, 0.83], 3, "lower than which epoch must a loss be?"),
        ([1.0, 0.8, 0.8, 0.8, 0.8], 2, "is a loss that stays the same lower?"),
    ):
        trial = f"a trial with the losses {losses} and a patience of {patience}"
        rates = _call(answer, losses, 1.0, 0.1, patience, trial=trial)
        rates = _numbers(rates, (len(losses),), trial)
        lowest, waited, expected = math.inf, 0, 1.0
        for epoch, (loss, rate) in enumerate(zip(losses, rates, strict=True), start=1):
            waited = 0 if loss < lowest else waited + 1
            lowest = min(loss, lowest)
            if waited == patience:
                waited, expected = 0, expected * 0.1
            if not math.isclose(rate, expected, rel_tol=1e-5):
                raise AnswerError(
                    f"in {trial} your rate after epoch {epoch} is too {_how(rate, expected)}: "
                    f"{hint}"
                )


# Lesson 5


def _confusions() -> list[np.ndarray]:
    """Return matrices of 3 and of 5 classes; of the second's, one is never given as an answer."""
    rng = np.random.default_rng(SEED)
    matrices = [rng.integers(1, 40, (k, k)) + np.diag(rng.integers(20, 90, k)) for k in (3, 5)]
    matrices[1][:, 2] = 0
    return matrices


def _f1(counts: np.ndarray) -> np.ndarray:
    return 2 * counts.diagonal() / (counts.sum(axis=0) + counts.sum(axis=1))


@exercise("of the faces with a label, these shares are found")
def recalls(answer) -> None:
    for counts in _confusions():
        trial = f"a trial with {len(counts)} classes"
        values = _numbers(_call(answer, counts, trial=trial), (len(counts),), trial)
        hits = counts.diagonal()
        if _same(values, hits / counts.sum(axis=1)):
            continue
        if _same(values, hits / np.maximum(counts.sum(axis=0), 1)):
            raise AnswerError("you divide by how often the answer was given; that is precision.")
        _shares(values, values.shape)
        raise AnswerError(f"in {trial} the recalls are wrong: by what is each hit to be divided?")


@exercise("each class counts the same, also one that is never given as an answer")
def macro_f1(answer) -> None:
    for counts in _confusions():
        value = _call(answer, counts)
        f1, support = _f1(counts), counts.sum(axis=1)
        precision = counts.diagonal() / np.maximum(counts.sum(axis=0), 1)
        recall = counts.diagonal() / support
        if _is_infinite(value):
            raise AnswerError("you get nan where a class is never given as an answer; its F1 is 0.")
        value = _shares(value)
        if _same(value, f1.mean()):
            continue
        if _same(value, counts.trace() / counts.sum()):
            raise AnswerError("that is the accuracy, in which common classes count for more.")
        if _same(value, f1 @ support / support.sum()):
            raise AnswerError("that is the weighted mean, in which common classes count for more.")
        if f1.min() == 0 and _same(value, f1[f1 > 0].mean()):
            raise AnswerError(
                "you leave out the class that is never given as an answer; it counts too."
            )
        both = precision.mean(), recall.mean()
        if _same(value, 2 * both[0] * both[1] / sum(both)):
            raise AnswerError("you average before F1: take F1 of each class first, then the mean.")
        raise AnswerError(
            f"in a trial with {len(counts)} classes your F1 is too {_how(value, f1.mean())}."
        )


@exercise("the interval holds the accuracy, and is as wide as it should be for few and many faces")
def interval(answer) -> None:
    for n, hits in ((900, 630), (100, 85)):
        right = np.random.default_rng(SEED).permutation(n) < hits
        low, high = _shares(_call(answer, right, 2000), (2,))
        share = hits / n
        expected = 2 * 1.96 * math.sqrt(share * (1 - share) / n)
        if low > high:
            raise AnswerError("the low end comes first, then the high one.")
        if high - low < 1e-9:
            raise AnswerError("all rounds give the same score: can a face be drawn more than once?")
        if not low < share < high:
            raise AnswerError(
                "the interval does not hold the accuracy of the very faces you were given."
            )
        if not 0.88 < (high - low) / expected < 1.12:
            wide = "wide" if high - low > expected else "narrow"
            raise AnswerError(
                f"for {n} faces your interval is too {wide}: how many faces does a round draw, "
                "and which part of the rounds lies inside?"
            )


@exercise("the same recalls give another accuracy wherever the classes are mixed differently")
def mixed_accuracy(answer) -> None:
    rng = np.random.default_rng(SEED)
    for k in (3, 7):
        found, counts = rng.uniform(0.2, 0.9, k), rng.integers(5, 400, k)
        value = _numbers(_call(answer, found, counts))
        if _same(value, found.mean()):
            raise AnswerError(
                "another mix of classes leaves your accuracy as it is; it should move it."
            )
        if value > 1:
            raise AnswerError(
                f"an accuracy lies between 0 and 1, and {value:.4g} is something else."
            )
        if not _same(value, found @ counts / counts.sum()):
            raise AnswerError(
                f"in a trial with {k} classes it is wrong: how many are right in each?"
            )


# Lesson 6


@exercise("what is answered now has waited all the while that the queue has grown")
def age_of_answer(answer) -> None:
    value = _numbers(answer)
    if abs(value - 36) < 0.5:
        return
    if abs(value - 24) < 0.5:
        raise AnswerError("that is when its frame was taken; how long ago is it now?")
    if abs(value - 1080) < 13:
        raise AnswerError("that is how many frames are waiting, and seconds are asked for.")
    if abs(value - 90) < 0.5:
        raise AnswerError(
            "so long will the newest frame have to wait; asked is how long ago the one was taken "
            "that is answered now."
        )
    raise AnswerError(
        f"your number is too {_how(value, 36)}: how many are answered by now, and when was the "
        "last of these taken?"
    )


@exercise("it is a square, it lies inside, and it is moved only where it must be")
def square_inside(answer) -> None:
    for name, box, scale, size, expected in (
        ("a box in the middle", (40, 40, 80, 90), 1.4, (200, 160), (25, 30, 95, 100)),
        ("a box at the left", (0, 60, 40, 100), 1.5, (200, 160), (0, 50, 60, 110)),
        (
            "a box in the lower right corner",
            (150, 106, 196, 156),
            2,
            (200, 160),
            (100, 60, 200, 160),
        ),
        (
            "a square larger than the picture is high",
            (90, 20, 190, 140),
            2,
            (300, 160),
            (60, 0, 220, 160),
        ),
        (
            "a square larger than the picture is wide",
            (10, 150, 80, 230),
            2,
            (90, 240),
            (0, 145, 90, 235),
        ),
    ):
        trial = f"a trial with {name} (box {box}, scale {scale}, picture {size[0]} × {size[1]})"
        found = _numbers(_call(answer, box, scale, *size, trial=trial), (4,), trial)
        wide, high = found[2:] - found[:2]
        if abs(wide - high) > 1.01:
            raise AnswerError(f"in {trial} yours is {wide:g} wide and {high:g} high: no square.")
        if found.min() < -1.01 or (found[2:] > np.array(size) + 1.01).any():
            raise AnswerError(f"in {trial} yours reaches beyond the picture: {found.tolist()}.")
        side = expected[2] - expected[0]
        if abs(wide - side) > 1.01:
            raise AnswerError(f"in {trial} the side, {wide:g}, is too {_how(wide, side)}.")
        if np.abs(found - expected).max() > 1.01:
            raise AnswerError(f"in {trial} it lies elsewhere: where is the middle of the box?")


@exercise("each frame is averaged with those before it that there are, and with none that follow")
def smoothed(answer) -> None:
    rng = np.random.default_rng(SEED)
    for frames, k, n in ((6, 3, 3), (4, 2, 9), (5, 4, 1)):
        p = rng.dirichlet(np.ones(k), frames)
        trial = f"a trial with {frames} frames, {k} classes and n = {n}"
        found = _numbers(_call(answer, p, n, trial=trial), p.shape, trial)
        sums = found.sum(axis=1)
        if not _same(sums, 1):
            t = int(np.abs(sums - 1).argmax())
            raise AnswerError(
                f"in {trial} the probabilities of frame {t + 1} add up to {sums[t]:.3g}, not to 1."
            )
        later = p.copy()
        later[-1] = rng.dirichlet(np.ones(k))
        if not _same(_numbers(_call(answer, later, n, trial=trial), p.shape)[:-1], found[:-1]):
            raise AnswerError(
                f"in {trial} an earlier row changes with the last frame; a camera has not seen it "
                "by then."
            )
        for t, row in enumerate(found):
            if not _same(row, p[max(0, t + 1 - n) : t + 1].mean(axis=0)):
                raise AnswerError(f"in {trial} frame {t + 1} is the mean of other frames.")


@exercise("as many are answered as can be, the surest of them, and enough are right")
def coverage(answer) -> None:
    sure = np.array([0.99, 0.97, 0.95, 0.9, 0.85, 0.7, 0.65, 0.6, 0.5, 0.4, 0.3, 0.2])
    for name, hits, wanted in (
        ("where the surest is right", "110111010010", 0.75),
        ("where the surest is wrong", "011111110000", 0.75),
        ("where nothing is right", "000000000000", 0.5),
        ("where all can be answered", "111011110111", 0.8),
    ):
        order = np.random.default_rng(SEED).permutation(len(sure))
        right = np.array([hit == "1" for hit in hits])
        trial = f"a trial {name}, with wanted = {wanted}"
        value = _shares(_call(answer, sure[order], right[order], wanted, trial=trial), (), trial)
        accuracy = np.cumsum(right) / np.arange(1, len(right) + 1)
        enough = accuracy >= wanted
        expected = np.append(np.flatnonzero(enough) + 1, 0).max() / len(right)
        if _same(value, expected):
            continue
        if _same(value, np.mean(sure >= wanted)):
            raise AnswerError(
                f"in {trial} you believe how sure it says it is; see how often it is right."
            )
        if _same(value, right.mean()):
            raise AnswerError(f"in {trial} that is how often it is right if all are answered.")
        if _same(value, np.append(enough, False).argmin() / len(right)):
            raise AnswerError(
                f"in {trial} you stop too early: what happens to the accuracy further on?"
            )
        raise AnswerError(f"in {trial} your share, {value:.3f}, is too {_how(value, expected)}.")


# Lesson 8


@exercise("the tenth is as likely as any other to be the highest, or the lowest")
def share_outside(answer) -> None:
    value = float(_shares(answer))
    if _same(value, 0.2):
        return
    if _same(value, 0.1):
        raise AnswerError("a range has two ends, and you count one of them.")
    if _same(value, 0.5):
        raise AnswerError("nine leave less room outside than three do.")
    if _same(value, 0.8):
        raise AnswerError("that is how often it falls inside.")
    raise AnswerError(
        f"your share is too {_how(value, 0.2)}: put all ten in order, and ask for each place how "
        "likely it is that the tenth stands there."
    )


@exercise("it rises to its peak, or begins there, and falls along the curve to 0")
def warm_up_cosine(answer) -> None:
    for steps, warm_up, peak in ((100, 20, 0.5), (60, 0, 2.0)):
        fall = steps - warm_up
        for step in (warm_up, 0, warm_up // 2, steps, warm_up + fall // 2, warm_up + fall // 4):
            trial = f"a trial (step {step}, {steps} in all, warm-up {warm_up}, peak {peak:g})"
            value = _numbers(_call(answer, step, steps, warm_up, peak, trial=trial), (), trial)
            fallen = max(step - warm_up, 0) / fall
            expected = peak * (1 + math.cos(math.pi * fallen)) / 2
            if step < warm_up:
                expected = peak * step / warm_up
            if _same(value, expected):
                continue
            hint = "where along the rise is that?"
            if step == warm_up:
                hint = "here the rate is at its peak."
            elif step == steps:
                hint = "here the rate has come down to 0."
            elif step > warm_up:
                hint = "how much of the fall is done?"
                if _same(value, peak * (1 - fallen)):
                    hint = "your rate falls in a straight line."
            raise AnswerError(f"in {trial} your {value:.4g} is too {_how(value, expected)}: {hint}")


@exercise("each picture keeps its share, and so does its label")
def mixup(answer) -> None:
    rng = np.random.default_rng(SEED)
    for name, shape, k in (
        ("4 pictures of 3 × 6 pixels", (4, 3, 6), 3),
        ("as many pictures as each has rows and columns", (5, 5, 5), 5),
    ):
        trial = f"a trial with {name}"
        given = {"images": rng.random(shape), "targets": np.eye(k)[rng.permutation(shape[0]) % k]}
        shares = rng.uniform(0.1, 0.9, shape[0])
        found = _call(answer, *given.values(), shares, trial=trial)
        if not isinstance(found, tuple | list) or len(found) != len(given):
            raise AnswerError("two things are wanted: the mixed images, and the mixed targets.")
        for (what, x), mixed in zip(given.items(), found, strict=True):
            mixed = _numbers(mixed, x.shape, f"{trial}, for the {what}")
            own = shares.reshape(-1, *[1] * (x.ndim - 1))
            if _same(mixed, own * x + (1 - own) * x[::-1]):
                continue
            if _same(mixed, x):
                raise AnswerError(f"your {what} are not mixed at all.")
            if _same(mixed, (1 - own) * x + own * x[::-1]):
                raise AnswerError(f"in your {what} the shares are the wrong way round.")
            columns = x.shape[-1] == len(shares)
            if columns and _same(mixed, shares * x + (1 - shares) * x[::-1]):
                raise AnswerError(
                    f"in {trial} your {what} have a share for each column, not for each picture."
                )
            if any(_same(mixed, own * x + (1 - own) * np.roll(x, by, axis=0)) for by in (1, -1)):
                raise AnswerError(f"your {what} are mixed with their neighbours in the batch.")
            raise AnswerError(f"in {trial} your {what} are mixed in another way.")


@exercise("the newest counts most, the first is forgotten, and nothing gets lost")
def averaged(answer) -> None:
    rng = np.random.default_rng(SEED)
    for name, weights, keep in (
        ("3 rows that are all the same", np.full((3, 2), 4.0), 0.5),
        ("6 rows", rng.random((6, 3)), 0.7),
        ("keep = 0", rng.random((4, 2)), 0.0),
        ("one row", rng.random((1, 4)), 0.9),
    ):
        trial = f"a trial with {name}"
        found = _call(answer, weights, keep, trial=trial)
        found = _numbers(found, weights.shape[1:], trial)
        shares = keep ** np.arange(len(weights))[::-1]
        if _same(found, shares @ weights / shares.sum()):
            continue
        if name.endswith("the same"):
            raise AnswerError(
                f"in {trial}, namely {weights[0, 0]:g}, the average is {found[0]:.4g}."
            )
        if _same(found, weights.mean(axis=0)):
            raise AnswerError("in your average all rows count the same.")
        if _same(found, shares[::-1] @ weights / shares.sum()):
            raise AnswerError("in your average the oldest row counts most.")
        lessons = (1 - keep) * shares
        lessons[0] = shares[0]
        if _same(found, lessons @ weights):
            raise AnswerError("your average begins with the first row, as the lesson's does.")
        raise AnswerError(f"in {trial} the rows have other shares in your average.")


# Lesson 9


@exercise("one weight for each feature and class, and a bias for each class")
def learning_numbers(answer) -> None:
    value, expected = float(_numbers(answer)), 3 * 1280 + 3
    if value == expected:
        return
    if value == expected - 3:
        raise AnswerError("each class also has a number that no feature is multiplied with.")
    if value in (1280, 1281, 1283):
        raise AnswerError("each class has weights of its own.")
    if value in (7 * 1280, 7 * 1280 + 7):
        raise AnswerError("that would be for the lesson's seven classes; here there are three.")
    if value > 2_000_000:
        raise AnswerError("the network itself is frozen: what is in it does not change.")
    if value in (expected + 2, expected + 1280, expected + 2 * 1280):
        raise AnswerError("you count numbers of a layer that has nothing to learn.")
    if value in (2688, 2691):  # 70% of the weights
        raise AnswerError("dropout leaves out others each time, so in the end all are learnt.")
    raise AnswerError(
        f"your {value:,.0f} is too {_how(value, expected)}: what does each class have?"
    )


@exercise("large enough, from -1 to 1, and grey in three colours")
def for_the_network(answer) -> None:
    rng = np.random.default_rng(SEED)
    for shape, factor in (((2, 3, 3), 2), ((1, 2, 4), 3), ((3, 4, 4), 1), ((2, 2, 3), 2)):
        faces = rng.integers(60, 200, shape, dtype=np.uint8)
        pale = shape == (2, 2, 3)  # no pixel is black or white
        if not pale:
            faces[0, 0, 0], faces[0, 0, 1] = 0, 255
        trial = f"a trial with faces of the shape {shape} and factor {factor}"
        n, height, width = shape
        wanted = (n, height * factor, width * factor, 3)
        found = _numbers(_call(answer, faces, factor, trial=trial), wanted, trial)
        if not _same(found, found[..., :1]):
            raise AnswerError(f"in {trial} the three colours differ, so the face is not grey.")
        black, white = found[0, 0, 0, 0], found[0, 0, factor, 0]
        larger = np.kron(faces / 127.5 - 1, np.ones((1, factor, factor)))
        if np.allclose(found[..., 0], larger, atol=2e-3):  # a grey level is four times that
            continue
        if _same(found[..., 0], np.tile(faces / 127.5 - 1, (1, factor, factor))):
            raise AnswerError(f"in {trial} there are several small faces in place of a large one.")
        if pale:
            raise AnswerError(
                f"in {trial} no pixel is quite black or white, and the darkest and the lightest "
                "must not become so."
            )
        if not np.allclose([black, white], [-1, 1], atol=2e-3):
            raise AnswerError(
                f"in {trial} {black:.3g} stands where a black pixel belongs, and {white:.3g} where "
                "the white one to the right of it belongs."
            )
        raise AnswerError(
            f"in {trial} black and white are right, and other pixels are not in their place or "
            "not of their grey."
        )


@exercise("the batch's own figures in training, the averages while it answers")
def normalise(answer) -> None:
    rng = np.random.default_rng(SEED)
    for name, n, training in (
        ("while it answers, with 5 faces", 5, False),
        ("in training, with 6 faces", 6, True),
        ("while it answers, with one face", 1, False),
        ("in training, with as many faces as features", 3, True),
    ):
        trial = f"a trial {name}"
        x, mean, variance = rng.normal(2, 3, (n, 3)), rng.normal(1, 1, 3), rng.uniform(2, 5, 3)
        found = _numbers(_call(answer, x, mean, variance, training, trial=trial), x.shape, trial)
        right, wrong = (x.mean(axis=0), np.maximum(x.var(axis=0), 1e-18)), (mean, variance)
        names = "the averages", "the figures of the batch"
        if not training:
            right, wrong, names = wrong, right, names[::-1]
        (centre, spread), (other_centre, other_spread) = right, wrong
        if _same(found, (x - centre) / np.sqrt(spread)):
            continue
        if _same(found, (x - other_centre) / np.sqrt(other_spread)):
            raise AnswerError(f"in {trial} you take {names[0]}, not {names[1]}.")
        if _same(found, (x - centre) / spread):
            raise AnswerError("you divide by the variance; its root is wanted.")
        if any(_same(found, (x - centre) / np.sqrt(spread + more)) for more in (1e-3, 1e-5)):
            raise AnswerError("you add a small number to the variance; leave it out here.")
        if training and _same(found, (x - centre) / x.std(axis=0, ddof=1)):
            raise AnswerError("divide the sum of squares by how many there are, not by one less.")
        mixed = ((centre, other_spread), (other_centre, spread))
        if any(_same(found, (x - a) / np.sqrt(b)) for a, b in mixed):
            raise AnswerError(f"in {trial} you mix a figure of the batch with an average.")
        if _same(found, (x - x.mean()) / x.std()):
            raise AnswerError("you take one mean for all features; each has its own.")
        rows = x.std(axis=1, keepdims=True)
        if _same(found, (x - x.mean(axis=1, keepdims=True)) / np.maximum(rows, 1e-9)):
            raise AnswerError("you take the mean of each face; the mean of each feature is wanted.")
        raise AnswerError(f"in {trial} the features come out as other numbers.")


@exercise("each new face gets the class whose mean is nearest")
def nearest_mean(answer) -> None:
    # The mean of class 2 lies far out, so that it has the largest product with nearly everything;
    # a single face of class 0 lies among those of class 5; no class stands in one block; and
    # nearest is another class by the sum of the absolute differences, or by a single feature.
    features = np.array(
        [[9, 9], [0, 0], [5, 0], [0, 2], [11, 9], [7, 0], [6, 1.2], [10, 12]], dtype=float
    )
    labels = np.array([2, 0, 5, 0, 2, 5, 0, 2])
    new = np.array([[6, 1.5], [9, 10], [-0.5, -1], [3.5, 0.5], [5.5, 5], [6, 6.1]], dtype=float)
    for name, names, some in (
        ("with the classes 0, 1 and 2", np.array([0, 1, 2]), new),
        ("with the classes 0, 2 and 5", np.array([0, 2, 5]), new[::-1]),
        ("with one new face", np.array([1, 3, 4]), new[1:2]),
    ):
        trial, own = f"a trial {name}", names[np.searchsorted([0, 2, 5], labels)]
        found = _numbers(_call(answer, features, own, some, trial=trial), (len(some),), trial)
        means = np.stack([features[own == k].mean(axis=0) for k in names])
        distances = ((some[:, None] - means) ** 2).sum(axis=-1)
        expected = names[distances.argmin(axis=1)]
        if np.array_equal(found, expected):
            continue
        if strange := set(found.tolist()) - set(names.tolist()):
            raise AnswerError(
                f"in {trial} you answer {min(strange):g}, and no face to learn from is of that "
                "class: is it a place in a list, or the mean of no faces at all?"
            )
        nearest = ((some[:, None] - features) ** 2).sum(axis=-1).argmin(axis=1)
        if np.array_equal(found, own[nearest]):
            raise AnswerError("you take the class of the nearest face, not of the nearest mean.")
        if np.array_equal(found, names[(some @ means.T).argmax(axis=1)]):
            raise AnswerError("you take the largest product; a mean that lies far out wins it.")
        if np.array_equal(found, names[distances.argmax(axis=1)]):
            raise AnswerError("you take the mean that is farthest away.")
        wrong = int((found != expected).argmax())
        raise AnswerError(
            f"in {trial} new face {wrong + 1} is nearer to the mean of another class."
        )


# Lesson 10


@exercise("single votes and what is no class are left out, and the rest is the whole")
def share_of_sad(answer) -> None:
    value = float(_shares(answer))
    if _same(value, 6 / 8):
        return
    if _same(value, 6 / 10):
        raise AnswerError("that is the share of all ten; some of the ten do not count.")
    if _same(value, 6 / 9):
        raise AnswerError("one of two things is left out, and the other is not.")
    raise AnswerError(
        f"your share is too {_how(value, 6 / 8)}: how many votes remain, and how many say sad?"
    )


@exercise("it is the cross-entropy of each picture, and a network learns with it")
def soft_loss(answer) -> None:
    rng = np.random.default_rng(SEED)
    for name, targets, logits in (
        ("3 pictures and 4 classes", rng.dirichlet([0.5] * 4, 3), rng.normal(0, 2, (3, 4))),
        ("as many pictures as classes", rng.dirichlet([0.5] * 4, 4), rng.normal(0, 2, (4, 4))),
        ("large logits", np.array([[0.5, 0.5], [0, 1]]), np.array([[900.0, 899], [-800, 200]])),
    ):
        trial = f"a trial with {name}"
        given = targets.astype("float32"), logits.astype("float32")
        found = _call(answer, *given, trial=trial)
        found = _numbers(found, (len(targets),), trial)
        logs = logits - logits.max(axis=1, keepdims=True)
        logs = logs - np.log(np.exp(logs).sum(axis=1, keepdims=True))
        expected = -(targets * logs).sum(axis=1)
        if np.allclose(found, expected, rtol=1e-3, atol=1e-4):
            continue
        if np.allclose(found, -expected, rtol=1e-3, atol=1e-4):
            raise AnswerError("your loss falls below 0, and the worse the answer, the lower it is.")
        if np.allclose(found, expected / np.log(2), rtol=1e-3):
            raise AnswerError("your loss is in bits; the natural logarithm is wanted.")
        if np.allclose(found, expected / logits.shape[1], rtol=1e-3, atol=1e-4):
            raise AnswerError("you take the mean over the classes; their sum is wanted.")
        hard = -logs[np.arange(len(logs)), targets.argmax(axis=1)]
        if np.allclose(found, hard, rtol=1e-3, atol=1e-4):
            raise AnswerError("you use the largest share alone, as if it were a label.")
        raise AnswerError(f"in {trial} the loss of each picture comes out as other numbers.")
    before, after = _loss_before_and_after(answer, rng)
    if not after < before:
        raise AnswerError("Keras trains with your loss, and it does not fall.")


def _loss_before_and_after(loss: Callable, rng: np.random.Generator) -> list[float]:
    """Train one layer with a learner's loss, as Keras does; return its first and last value."""
    import keras

    keras.utils.set_random_seed(SEED)
    network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
    network.compile(keras.optimizers.SGD(0.5), loss=loss)
    x, targets = rng.normal(size=(16, 3)), rng.dirichlet([0.5] * 4, 16)
    run = _call(lambda: network.fit(x, targets, epochs=10, verbose=0), trial="a training by Keras")
    return [run.history["loss"][epoch] for epoch in (0, -1)]


@exercise("the prior is in the last bias, and the network that you were given is as it was")
def without_prior(answer) -> None:
    if not callable(answer):
        _call(answer)  # says so
    import keras

    rng, layers = np.random.default_rng(SEED), keras.layers
    for k, strength in ((3, 0.5), (4, 1.0)):
        trial, prior = f"a trial with {k} classes, strength {strength}", rng.dirichlet([2.0] * k)
        network = keras.Sequential(
            [keras.Input((4,)), layers.Dense(5, "relu"), layers.Dense(k, "softmax")]
        )
        weights = [rng.normal(size=w.shape).astype("float32") for w in network.get_weights()]
        network.set_weights(weights)
        faces = rng.normal(size=(6, 4)).astype("float32")
        given, as_given = prior.copy(), np.log(np.array(network(faces)))
        found = _call(lambda n=network, p=given, s=strength: answer(n, p, s), trial=trial)
        if not isinstance(found, keras.Model):
            raise AnswerError(f"a network is wanted, and yours is of type {type(found).__name__}.")
        if not all(map(np.array_equal, weights, network.get_weights())):
            raise AnswerError("your function changes the network it is given; work on a copy.")
        _compare_adjusted(np.array(found(faces)), as_given, prior, strength, trial)


def _compare_adjusted(found, logs, prior, strength, trial: str) -> None:
    """Hold probabilities against those that logit adjustment gives."""

    def softmax(logits):
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)

    found = _numbers(found, logs.shape, trial)
    if np.allclose(found, softmax(logs - strength * np.log(prior)), atol=1e-4):
        return
    for what, wrong in (
        ("your network answers as the one that you were given", logs),
        ("rare classes become rarer", logs + strength * np.log(prior)),
        ("you subtract the prior itself, not its logarithm", logs - strength * prior),
        ("the strength has no effect", logs - np.log(prior)),
    ):
        if np.allclose(found, softmax(wrong), atol=1e-4):
            raise AnswerError(f"in {trial} {what}.")
    raise AnswerError(
        f"in {trial} its answers are others: does it have all weights of the given one, and a "
        "bias that is changed, not replaced?"
    )


@exercise("validation chooses the epoch, and the best test score is only the best luck")
def reported(answer) -> None:
    for name, validation, test in (
        ("4 epochs", [0.50, 0.61, 0.66, 0.64], [0.52, 0.65, 0.60, 0.63]),
        ("3 epochs", [0.70, 0.60, 0.65], [0.58, 0.72, 0.66]),
        ("one epoch", [0.40], [0.30]),
    ):
        trial = f"a trial with {name}"
        validation, test = np.array(validation), np.array(test)
        found = _call(answer, validation, test, trial=trial)
        found = _numbers(found, (2,), trial)
        honest, flattering = test[validation.argmax()], test.max()
        if _same(found, [honest, flattering]):
            continue
        if _same(found, [flattering, honest]):
            raise AnswerError("both are right, in the wrong order: the honest one comes first.")
        if _same(found[0], validation.max()):
            raise AnswerError("the epoch is chosen by validation, and then scored on the test set.")
        if _same(found[0], test[-1]) and len(test) > 1:
            raise AnswerError("your honest score is that of the last epoch; another was chosen.")
        which = "honest" if not _same(found[0], honest) else "flattering"
        raise AnswerError(f"in {trial} the {which} score is another one.")
