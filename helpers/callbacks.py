"""What happens after every epoch: a checkpoint, a bar, and curves that are drawn live."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import keras
import numpy as np
from IPython import get_ipython
from IPython.display import HTML, Image, display
from matplotlib.figure import Figure
from tqdm.auto import tqdm

from helpers import TutorialError, replacing
from helpers.models import read_sidecar


@dataclass
class History:
    """What a training went through: figures per epoch, and what happened when."""

    log: dict[str, list[float]] = field(default_factory=dict)  # loss, val_accuracy, ...
    events: list[tuple[int, str]] = field(default_factory=list)  # epochs counted from 1
    seconds: float = 0.0  # all sittings together


class Keeper(keras.callbacks.Callback):
    """Moves the bar, keeps the history, and after every epoch all that is needed to go on.

    One file holds it, replaced in one step: as arrays the variables of network and optimiser
    (the states of dropout are among them) and those of `extra`, and as JSON the rest.
    """

    def __init__(self, path: Path | None, info: dict, history: History, bar: tqdm) -> None:
        super().__init__()
        self.path, self.info, self.history, self.bar = path, info, history, bar
        self.figures, self.began = {}, time.monotonic() - history.seconds

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.bar.set_description(f"epoch {epoch + 1}/{self.params['epochs']}")

    def on_train_batch_end(self, batch: int, logs: dict) -> None:
        self.show(logs)
        self.bar.update()

    def show(self, logs: dict) -> None:
        shown = ("loss", "accuracy", "val_accuracy")
        self.figures |= {name: f"{logs[name]:.3f}" for name in shown if name in logs}
        self.bar.set_postfix(self.figures, refresh=False)

    def extra(self, epoch: int, logs: dict) -> tuple[dict, dict[str, list[np.ndarray]]]:
        """Return what else to keep: as JSON, and lists of arrays by name."""
        return {}, {}

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        self.show(logs)
        for name, value in logs.items():
            self.history.log.setdefault(name, []).append(float(value))
        self.history.seconds = time.monotonic() - self.began
        rest, groups = self.extra(epoch, logs)
        if self.path is None:
            return
        for name, owner in (("network", self.model), ("optimizer", self.model.optimizer)):
            groups[name] = [variable.numpy() for variable in owner.variables]
        sizes = {group: len(arrays) for group, arrays in groups.items()}
        state = {"info": self.info, "sizes": sizes, **rest, **asdict(self.history)}
        flat = {f"{group}{k}": a for group, arrays in groups.items() for k, a in enumerate(arrays)}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.path) as partial, partial.open("wb") as file:
            np.savez(file, state=json.dumps(state), **flat)


class _Watcher(Keeper):
    """Keeps the callbacks' counters and the best weights as well, and writes the log as CSV."""

    COUNTERS = (("wait", "best", "best_epoch"), ("wait", "best", "cooldown_counter"))

    def __init__(self, output: Path, stop, plateau, info, state, history: History, bar) -> None:
        super().__init__(_beside(output, ".checkpoint.npz"), info, history, bar)
        self.output, self.others, self.state = output, (stop, plateau), state

    def on_train_begin(self, logs: dict | None = None) -> None:
        if self.state:  # only now, because here the others have just set theirs to zero
            for callback, counters in zip(self.others, self.state["counters"], strict=True):
                vars(callback).update(counters)
            self.others[0].best_weights = self.state["best"]

    def extra(self, epoch: int, logs: dict) -> tuple[dict, dict[str, list[np.ndarray]]]:
        rate = _rate(self.model)
        if rate != logs["learning_rate"]:
            self.history.events.append((epoch + 1, f"learning rate cut to {rate:.2g}"))
        if self.model.stop_training:
            self.history.events.append((epoch + 1, "stopped"))
        counters = [
            {name: vars(callback)[name] for name in names}
            for callback, names in zip(self.others, self.COUNTERS, strict=True)
        ]
        rest = {"learning_rate": rate, "stopped": self.model.stop_training, "counters": counters}
        return rest, {"best": self.others[0].best_weights}

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        super().on_epoch_end(epoch, logs)
        with (
            contextlib.suppress(TutorialError),  # open in Excel? No reason to stop training
            replacing(_beside(self.output, ".csv")) as partial,
            partial.open("w", newline="") as file,
        ):
            rows = zip(itertools.count(1), *self.history.log.values(), strict=False)
            csv.writer(file).writerows([["epoch", *self.history.log], *rows])


def read_checkpoint(path: Path) -> dict:
    """Return what a `Keeper` has written, the lists of arrays under their names.

    Raises:
        TutorialError: if it is damaged.
    """
    try:
        with np.load(path) as file:
            state = json.loads(str(file["state"]))
            for group, size in state["sizes"].items():
                state[group] = [file[f"{group}{k}"] for k in range(size)]
    except Exception as error:  # NumPy and zipfile raise several kinds on damaged files
        raise TutorialError(
            f"{path} is damaged ({error}): delete it, and train from the beginning."
        ) from None
    return state


class LiveCurves(keras.callbacks.Callback):
    """Redraw loss and accuracy below the cell after every epoch, in place.

    The last drawing stays as a plain picture. Outside a notebook nothing is shown.

    Args:
        title: what is being trained.
        reference: the `History.log` of another training, drawn in grey.
    """

    def __init__(self, title: str = "", reference: Mapping[str, Sequence[float]] | None = None):
        super().__init__()
        self.title, self.reference = title, reference
        self.log: dict[str, list[float]] = {}
        shell = get_ipython()
        self._shell = shell if hasattr(shell, "kernel") else None
        self._open()

    def _open(self) -> None:
        # An empty place in the cell, claimed before training starts: a training on a thread
        # would otherwise draw into whichever cell runs at that moment.
        if self._shell is not None:
            self._cell = self._shell.execution_count
            self._place = display(HTML(""), display_id=True)

    def on_train_begin(self, logs=None) -> None:
        self.log = {}
        in_main = threading.current_thread() is threading.main_thread()
        if self._shell is not None and in_main and self._shell.execution_count != self._cell:
            self._open()  # made in one cell, used in another

    def on_epoch_end(self, epoch: int, logs=None) -> None:
        for name, value in (logs or {}).items():
            values = self.log.setdefault(name, [])
            values += [np.nan] * (epoch - len(values))  # a resumed training starts later
            values.append(float(value))
        if self._shell is not None:
            drawn = io.BytesIO()
            self.figure().savefig(drawn, format="png", dpi=92)
            self._place.update(Image(data=drawn.getvalue(), alt=self.describe()))

    def figure(self) -> Figure:
        """Draw what was logged so far; not registered with pyplot, so nothing piles up."""
        from helpers import plots

        figure = Figure(figsize=(10, 3.4), layout="constrained")
        for ax, metric in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
            if self.reference:
                plots.learning_curves(
                    self.reference, metric, label="reference", colour="0.7", ax=ax
                )
            plots.learning_curves(self.log, metric, title=f"{self.title} {metric}".strip(), ax=ax)
        return figure

    def describe(self) -> str:
        """Say the last epoch in words, for those who cannot see the curves."""
        last = ", ".join(f"{name} {values[-1]:.3g}" for name, values in self.log.items())
        return f"Learning curves after epoch {len(self.log.get('loss', ()))}: {last}"


def restore(model: keras.Model, state: dict) -> History:
    """Set the variables of a compiled model as they were; return what it went through."""
    with model.distribute_strategy.scope():
        model.optimizer.build(model.trainable_variables)
        for variable, value in zip(
            [*model.variables, *model.optimizer.variables],
            [*state["network"], *state["optimizer"]],
            strict=True,
        ):
            variable.assign(value)
    return _history(state)


def must_match(output: Path, then: dict, now: dict, anew: str = "train without resume") -> None:
    """Refuse to resume where the end would be neither the old training's nor the new one's."""
    for key in sorted({*then, *now} - {"epochs", "validation", "history"}):
        before, after = then.get(key), now.get(key)
        if key in ("settings", "training") and before and after:
            must_match(output, before, after, anew)
        elif before != after:
            raise TutorialError(
                f"{output.name} was begun with another {key} ({before}, now {after}), so it cannot "
                f"be resumed: go back to that, or {anew} to begin anew."
            )


def _rate(model: keras.Model) -> float:
    return float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _history(saved: dict) -> History:
    events = [tuple(event) for event in saved["events"]]
    return History(saved["log"], events, saved["seconds"])


def load_history(path: Path) -> History | None:
    """Return what the training of a saved model went through, if its sidecar tells."""
    saved = read_sidecar(Path(path)).get("history")
    return _history(saved) if saved else None
