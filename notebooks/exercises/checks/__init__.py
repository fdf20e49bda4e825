"""The checks of the exercises: `check.name(answer)` prints one of three outcomes, and never raises.

These are: right, and what holds; not right yet, and in which way; not attempted yet. A lesson's
checks are in a module of their own. `number` and `function` make most of them: they hold an answer
against the right one, then against the usual mistakes, each of which has its sentence. Where more
is asked for, such as a network, a function under `@exercise` says what it needs, in words that do
not give the solution away.
"""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

RAISED = (Exception, SystemExit)  # what an answer may do; Ctrl-C still stops it


class AnswerError(Exception):
    """Says what is wrong with an answer."""


class UnattemptedError(Exception):
    """The three dots are still there."""


def exercise(holds: str) -> Callable:
    """Make a function that raises `AnswerError` into a check, which prints; `holds` praises.

    What follows the answer in a page's call is an example, with which a right answer is called.
    """

    def decorate(check: Callable) -> Callable:
        @functools.wraps(check)
        def printed(answer=..., *example) -> None:
            try:
                if answer is ... or answer is None:
                    raise UnattemptedError
                check(answer)
                said = f"Right: {holds}"
                if example:
                    shown = np.asarray(call(answer, *example, trial="the example"))
                    shown = shown if shown.dtype.kind == "U" else shown.round(3)
                    said += f"; for the example it gives {shown.tolist()}"
                print(f"{said}.")
            except UnattemptedError:
                print("Not attempted yet: put your answer in place of the three dots.")
            except AnswerError as wrong:
                print(f"Not right yet: {wrong}")
            except RAISED as error:  # such as an answer that cannot even be compared
                print(f"Not right yet: what you gave cannot be checked ({name(error)}).")

        return printed

    return decorate


def number(holds: str, right: float, mistakes: dict[float, str], hint: str) -> Callable:
    """Return the check of a number, with a sentence for each usual mistake."""

    @exercise(holds)
    def check(answer) -> None:
        value = float(numbers(answer))
        for wrong, sentence in mistakes.items():
            need(not same(value, wrong), sentence)
        too = "large" if value > right else "small"
        need(same(value, right), f"your number is too {too}: {hint}")

    check.mistakes = {sentence: wrong for wrong, sentence in mistakes.items()}
    return check


def function(
    holds: str,
    right: Callable,
    trials: dict[str, tuple],
    mistakes: dict[str, Callable],
    near: float = 1e-5,
    also: Callable = lambda answer: None,
) -> Callable:
    """Return the check of a function, which has to give in each trial what `right` gives.

    `mistakes` has a sentence for each function that is wrong in a usual way; `also` checks more.
    """

    @exercise(holds)
    def check(answer) -> None:
        for which, inputs in trials.items():
            trial = f"a trial {which}"
            found, expected = call(answer, *inputs, trial=trial), right(*inputs)
            if same(found, expected, near):
                continue
            for sentence, mistake in mistakes.items():
                with contextlib.suppress(ArithmeticError, LookupError, ValueError), quiet():
                    need(not same(found, mistake(*inputs), near), sentence)
            refuse(found, expected, near, trial)
        also(answer)

    check.mistakes = mistakes
    return check


def need(condition: Any, otherwise: str) -> None:
    """Say what is wrong, unless a condition holds."""
    if not condition:
        raise AnswerError(otherwise)


@contextlib.contextmanager
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def call(function: Callable, *inputs, trial: str = "a trial") -> Any:
    """Call what a learner wrote, on copies, so that what it does to them can be seen."""
    need(callable(function), f"a function is wanted, and this is {kind(function)}.")
    given = [x.copy() if isinstance(x, np.ndarray) else x for x in inputs]
    try:
        with quiet():
            result = function(*given)
    except RAISED as error:
        what = str(error).strip().partition("\n")[0].rstrip(". ")
        raise AnswerError(f"in {trial} your code raised {name(error)}: {what}.") from None
    if result is ...:
        raise UnattemptedError
    need(result is not None, f"in {trial} your code returns None: is there a `return`?")
    for mine, theirs in zip(inputs, given, strict=True):
        unchanged = not isinstance(mine, np.ndarray) or np.array_equal(mine, theirs)
        need(unchanged, "your function changes the arrays that it is given; leave them alone.")
    return result


def kind(value: Any) -> str:
    return (
        f"the class {value.__name__}" if isinstance(value, type) else f"of the type {name(value)}"
    )


def name(value: Any) -> str:
    return type(value).__name__


def make(answer: Callable, wanted: type, what: str, *inputs) -> Any:
    """Make an object of the class that a learner wrote."""
    need(not isinstance(answer, wanted), f"give the class itself, not {what} that it makes.")
    made = call(answer, *inputs, trial="making it")
    need_kind(made, wanted, what)
    return made


def need_kind(value: Any, wanted: type, what: str) -> None:
    need(isinstance(value, wanted), f"{what} is wanted, and this is {kind(value)}.")


def same(found, expected, near: float = 1e-5) -> bool:
    """Say whether two results are alike: numbers nearly, a tuple part by part."""
    if isinstance(expected, tuple):
        fits = isinstance(found, tuple | list) and len(found) == len(expected)
        return fits and all(same(*pair, near) for pair in zip(found, expected, strict=True))
    if isinstance(expected, str) or isinstance(found, str):
        return isinstance(found, str) and found == expected
    found, expected = array(found), array(expected)
    fits = found.dtype.kind in "iuf" and found.shape == expected.shape
    return fits and np.allclose(found, expected, 1e-5, near, equal_nan=True)


def need_same(found, right, mistakes: dict[str, Any], otherwise: str, near: float = 1e-5) -> None:
    """Say which of the usual mistakes a result shows, or something else, unless it is right."""
    if same(found, right, near):
        return
    for sentence, wrong in mistakes.items():
        need(not same(found, wrong, near), sentence)
    raise AnswerError(otherwise)


def array(value) -> np.ndarray:
    try:
        return np.asarray(value)
    except ValueError:  # lists of several lengths
        return np.array(None)


def refuse(found, expected, near: float, trial: str) -> None:
    """Say in which way a result differs from the expected one."""
    if isinstance(expected, tuple):
        many = isinstance(found, tuple | list) and len(found) == len(expected)
        need(many, f"in {trial} {len(expected)} things are wanted, one after the other.")
        parts = [pair for pair in zip(found, expected, strict=True) if not same(*pair, near)]
        refuse(*parts[0], near, trial)
    if isinstance(expected, str):
        need(isinstance(found, str), f"a text is wanted, and this is {kind(found)}.")
        raise AnswerError(f"in {trial} you get {found!r}, and {expected!r} is right.")
    expected = np.asarray(expected)
    values = numbers(found, expected.shape, trial)
    place = np.abs(values - expected).argmax()
    where = f" at place {place + 1}" if values.size > 1 else ""
    got, right = values.flat[place], expected.flat[place]
    raise AnswerError(f"in {trial} you get {got:.4g}{where}, and {right:.4g} is right.")


def numbers(value, shape: tuple[int, ...] = (), trial: str = "your answer") -> np.ndarray:
    """Return finite numbers of this shape as float array; the shape () is a single number."""
    found = array(value)
    wanted = f"numbers of the shape {shape} are" if shape else "a single number is"
    fits = found.dtype.kind in "iuf"
    need(fits, f"in {trial} {wanted} wanted, and this is {kind(value)}.")
    has = f"has the shape {found.shape}" if found.shape else "is a single number"
    need(found.shape == shape, f"in {trial} {wanted} wanted, and yours {has}.")
    need(np.isfinite(found).all(), f"in {trial} you get nan or infinity.")
    return found.astype(float)
