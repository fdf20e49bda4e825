"""What is kept after every epoch, so that a training can be interrupted and go on."""

import contextlib
import itertools
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import keras
import numpy as np
from tqdm.keras import TqdmCallback

from helpers import TutorialError, replacing


class TrainingInterrupted(TutorialError):  # noqa: N818
    """The learner has interrupted a training."""


@dataclass(frozen=True)
class History:
    """What a training went through.

    Attributes:
        settings: all that decided its result, by name.
        log: figures per epoch, by name: loss, accuracy, val_loss and others.
        seconds: all sittings together.
        stopped: True where a callback has ended it, as EarlyStopping does.
    """

    settings: dict = field(default_factory=dict)
    log: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0
    stopped: bool = False

    @property
    def epochs(self) -> int:
        return len(self.log.get("loss", ()))

    @property
    def best(self) -> int:
        """The epoch, from 0, with the lowest validation loss."""
        return int(np.argmin(np.nan_to_num(self.log["val_loss"], nan=np.inf)))

    @property
    def events(self) -> list[tuple[int, str]]:
        """What the callbacks did after which epoch, counted from 1."""
        rates = enumerate(itertools.pairwise(self.log.get("learning_rate", ())), start=1)
        found = [(k, f"learning rate cut to {new:.2g}") for k, (old, new) in rates if new < old]
        end = [(self.epochs, "stopped")] if self.stopped else []
        return sorted([*found, (self.best + 1, "best weights"), *end])


class Checkpoint(keras.callbacks.Callback):
    """After every epoch, keeps in one file all that a training needs to go on.

    These are the history, the variables of network and optimiser (the states of dropout are among
    them), and the best weights that EarlyStopping has seen. An epoch counts once it is on disk.
    Of the callbacks that change something this must be the last.

    Args:
        output: the file that the model will be saved in. The checkpoint lies beside it, as
            `<output>.checkpoint.npz`, and is replaced in one step. None keeps nothing.
        settings: all that decides the result, by name.
        replay: callbacks that count epochs, as EarlyStopping does. Where a training goes on, they
            are shown the figures of its first epochs again, and count on from there.
        resume: go on with the training in the file, where there is one. False begins anew; what
            the file holds is lost when the first epoch is over.

    Raises:
        TutorialError: if the file is damaged, or is that of a training with other settings.
    """

    def __init__(self, output: Path | None, settings: dict, replay=(), resume=True) -> None:
        super().__init__()
        self.name = output.name if output else ""
        self.path = output.with_name(f"{self.name}.checkpoint.npz") if output else None
        self.replay, self.resume = replay, resume
        self.history, self.start = History(json.loads(json.dumps(settings))), []
        if output and self.path.exists() and resume:
            now, self.history = self.history.settings, _read(self.path)[0]
            _must_match(self.path, self.history.settings, now)
        elif output and self.path.exists():
            print(f"{self.name} is trained anew: its checkpoint goes after the first epoch.")

    @property
    def done(self) -> int:
        """How many epochs are over."""
        return self.history.epochs

    def until(self, epochs: int) -> int:
        """Return the last epoch: `epochs`, or the one after which EarlyStopping has ended it."""
        done, stopped = self.done, self.history.stopped
        if stopped or done >= epochs:
            how = "; EarlyStopping ended it, so more would change nothing" * stopped
            print(f"{self.name} is finished ({done} epochs{how}): loaded it.")
        elif done:
            print(f"Going on with {self.name} after epoch {done}.")
        return done if stopped else epochs

    def variables(self) -> list[keras.Variable]:
        return [*self.model.variables, *self.model.optimizer.variables]

    def assign(self, values: Sequence[np.ndarray]) -> None:
        with self.model.distribute_strategy.scope():
            for variable, value in zip(self.variables(), values, strict=True):
                variable.assign(value)

    def on_train_begin(self, logs: dict | None = None) -> None:
        self.began = time.monotonic() - self.history.seconds
        with self.model.distribute_strategy.scope():
            self.model.optimizer.build(self.model.trainable_variables)
        self.start = [variable.numpy() for variable in self.variables()]
        if not (self.path and self.done):
            return
        arrays = _read(self.path)[1]
        for callback in self.replay:
            for epoch in range(self.done):
                figures = {name: values[epoch] for name, values in self.history.log.items()}
                callback.on_epoch_end(epoch, figures)
            if isinstance(callback, keras.callbacks.EarlyStopping):
                callback.best_weights = arrays[: -len(self.start)]
        self.assign(arrays[-len(self.start) :])

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        log = self.history.log
        log = log | {name: [*log.get(name, ()), float(value)] for name, value in logs.items()}
        seconds, stopped = time.monotonic() - self.began, self.model.stop_training
        history = replace(self.history, log=log, seconds=seconds, stopped=stopped)
        if self.path:
            arrays = [w for c in self.replay for w in getattr(c, "best_weights", None) or ()]
            arrays += [variable.numpy() for variable in self.variables()]
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self.path) as partial, partial.open("wb") as file:
                np.savez(file, json.dumps(asdict(history)), *arrays)
        self.history = history


def _read(path: Path) -> tuple[History, list[np.ndarray]]:
    try:
        with np.load(path) as file:
            history, *arrays = (file[name] for name in file.files)
        return History(**json.loads(str(history))), arrays
    except Exception as error:  # NumPy and zipfile raise several kinds on damaged files
        raise TutorialError(
            f"{path} is damaged ({error}): delete it, and train from the beginning."
        ) from None


def _must_match(path: Path, then: dict, now: dict) -> None:
    for key in sorted({*then, *now}):
        if then.get(key) != now.get(key):
            raise TutorialError(
                f"The training in {path.name} was begun with another {key} ({then.get(key)}, now "
                f"{now.get(key)}), so it cannot go on: go back to that, give this one another "
                f"output, or delete {path} to begin anew."
            )


@contextlib.contextmanager
def interruptible(checkpoint: Checkpoint, progress: bool = True) -> Iterator[TqdmCallback]:
    """Give a training a progress bar, one more callback, and a word if it is interrupted.

    Raises:
        TrainingInterrupted: on Ctrl-C, or ■ in JupyterLab. The network is as it was before.
    """
    # `fit` puts the true numbers in place of these, without which it would first be no bar.
    bar = TqdmCallback(epochs=1, data_size=1, batch_size=1, disable=not progress)
    try:
        yield bar
    except KeyboardInterrupt:
        done = checkpoint.done
        if checkpoint.start:
            checkpoint.assign(checkpoint.start)
        how = "" if checkpoint.resume else " with resume=True (--resume)"
        raise TrainingInterrupted(
            f"Training stopped after epoch {done}; nothing is lost: run it again{how}."
            if done and checkpoint.path
            else "Training stopped, and nothing is kept: run it again."
        ) from None
    finally:
        bar.on_train_end()
