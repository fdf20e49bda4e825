"""Curves of loss and accuracy that are drawn while a network trains."""

import io
from collections.abc import Mapping, Sequence

import keras
import numpy as np
from IPython import get_ipython
from IPython.display import HTML, Image, display
from matplotlib.figure import Figure

from helpers import plots


class LiveCurves(keras.callbacks.Callback):
    """Redraw loss and accuracy below the cell after every epoch, in place.

    The last drawing stays as a plain picture. Outside a notebook nothing is shown.

    Args:
        title: what is being trained.
        reference: the log of another training, drawn in grey.
    """

    def __init__(self, title: str = "", reference: Mapping[str, Sequence[float]] | None = None):
        super().__init__()
        self.title, self.reference = title, reference

    def on_train_begin(self, logs: dict | None = None) -> None:
        self.log: dict[str, list[float]] = {}
        notebook = hasattr(get_ipython(), "kernel")
        self.place = display(HTML(""), display_id=True) if notebook else None

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        for name, value in logs.items():  # a training that goes on has no first epochs here
            self.log.setdefault(name, [np.nan] * epoch).append(float(value))
        if self.place is not None:
            drawn = io.BytesIO()
            self.figure().savefig(drawn, format="png", dpi=92)
            self.place.update(Image(data=drawn.getvalue(), alt=self.describe()))

    def figure(self) -> Figure:
        """Draw what was logged so far; not registered with pyplot, so nothing piles up."""
        figure = Figure(figsize=(10, 3.4), layout="constrained")
        for ax, metric in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
            if self.reference:
                past = {"label": "reference", "colour": "0.7"}
                plots.learning_curves(self.reference, metric, **past, ax=ax)
            plots.learning_curves(self.log, metric, title=f"{self.title} {metric}".strip(), ax=ax)
        return figure

    def describe(self) -> str:
        """Say the last epoch in words, for those who cannot see the curves."""
        last = ", ".join(f"{name} {values[-1]:.3g}" for name, values in self.log.items())
        return f"Learning curves after epoch {len(self.log.get('loss', ()))}: {last}"
