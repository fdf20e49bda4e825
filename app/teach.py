"""Expressions or gestures of your own, learnt in seconds, for the webcam to tell apart."""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import ipywidgets
import numpy as np
from PIL import Image

from app.answers import GUARD, Answer, describe, explain
from app.classifier import Classifier
from app.photographs import Pictures
from app.webcam import Webcam
from helpers import FER_CLASSES, TutorialError, faces
from helpers.models import load_model

if TYPE_CHECKING:
    import keras

RECORDED, EVERY, SECONDS = 20, 2, 15  # of so many frames every other one, in so many seconds
TEACH = (
    "Name two to four expressions, start the webcam, and record each of them. What you record or "
    "upload here is kept in memory until you forget it, and is not stored."
)
_ROW = {"flex_flow": "row wrap", "align_items": "center"}
_AUTO = {"width": "auto"}


def own_classifier(model: keras.Model, crops: Sequence[Sequence[np.ndarray]]) -> Classifier:
    """Exchange a network's last layer for a logistic regression, in seconds.

    Args:
        model: gives the features.
        crops: uint8 (48, 48), those of each class in a list.

    Returns:
        What turns uint8 crops (n, 48, 48) into probabilities, float (n, classes).
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from helpers.networks import features

    below = features(model)
    labels = np.repeat(range(len(crops)), [len(of_one) for of_one in crops])
    # With 20 images of FER-2013 per class, 78% of others were right and the mean confidence was
    # 74%; a hundred times the C was right in 74%, and sure by 88%.
    regression = LogisticRegression(C=0.01, class_weight="balanced", max_iter=1000)
    fitted = make_pipeline(StandardScaler(), regression)
    fitted.fit(below(np.concatenate(crops)), labels)

    def answer(seen: np.ndarray) -> np.ndarray:
        return fitted.predict_proba(below(seen)) if len(seen) else np.zeros((0, len(crops)))

    return answer


class _Own:
    """One class of the learner's own: its name, its pictures, and a button to record some."""

    def __init__(self, number: int, name: str, record: Callable[[_Own], None]):
        self.number = number
        self.text = ipywidgets.Text(name, description=f"Name {number}")
        self.button = ipywidgets.Button(description=f"Record {number}")
        self.button.on_click(lambda _: record(self))
        self.count = ipywidgets.Label()
        self.row = ipywidgets.HBox([self.text, self.button, self.count], layout=_ROW)
        self.keep([])

    @property
    def name(self) -> str:
        return self.text.value.strip()[:40]

    def keep(self, crops: list[np.ndarray]) -> None:
        """Have these pictures, and no others: uint8 (48, 48)."""
        self.crops, self.count.value = crops, f"{len(crops)} pictures"


class Teacher(ipywidgets.VBox):
    """Two to four expressions or gestures of the learner's own.

    Args:
        webcam: where frames come from, and where the answer is shown. An earlier teacher of it
            is closed, and forgets its pictures.
    """

    def __init__(self, webcam: Webcam):
        self.webcam = webcam
        with GUARD:
            webcam.let_go()
            webcam.let_go = self._leave
            webcam.watch = partial(self._safely, self._watch)
        self._recording: tuple[_Own, int, float] | None = None  # of, pictures before, deadline
        self._frames = 0
        self._batch, self._into = None, None  # what was uploaded last, and for whom
        names = ("wink", "tongue out", "neither", "")
        record = partial(self._safely, self._record)
        self.own = [_Own(number, name, record) for number, name in enumerate(names, start=1)]
        numbers = [(f"number {own.number}", own) for own in self.own]
        self.target = ipywidgets.Dropdown(
            options=[*numbers, ("asking, not learning", None)],
            description="Uploads are for",
            style={"description_width": "initial"},
        )
        self.upload = Pictures(self._take, samples={})
        self.train = self._button("Train", self._train)
        self.back = self._button("Back to the network's classes", self._go_back)
        self.forget = self._button("Forget all pictures", self._forget)
        gestures = "gestures: look at the whole picture (starts anew)"
        self.whole = ipywidgets.Checkbox(description=gestures, indent=False, layout=_AUTO)
        self.whole.observe(lambda _: self._safely(self._forget), "value")
        webcam.networks.chooser.observe(self._other_network, "value")
        self.status = ipywidgets.HTML()
        self._say("Nothing is recorded yet.")
        super().__init__(self._parts())

    def _parts(self) -> list[ipywidgets.Widget]:
        upload = ipywidgets.HBox([self.target, self.upload, self.whole], layout=_ROW)
        buttons = ipywidgets.HBox([self.train, self.back, self.forget], layout=_ROW)
        teach = ipywidgets.HTML(f'<p style="line-height:1.3">{TEACH}</p>')
        return [teach, self.status, *(own.row for own in self.own), upload, buttons]

    def _button(self, name: str, step: Callable[[], str]) -> ipywidgets.Button:
        button = ipywidgets.Button(description=name, layout=_AUTO)
        button.on_click(lambda _: self._safely(step))
        return button

    def _safely(self, step: Callable[..., str], *arguments) -> None:
        """Take a step while no other thread does, and show the sentence it returns or raises."""
        with GUARD:
            try:
                sentence = step(*arguments)
            except Exception as error:
                sentence = explain(error)
            self.webcam.whole = self.whole.value and bool(self.webcam.own or self._recording)
            if sentence:
                self._say(sentence)

    def _say(self, sentence: str) -> None:
        place = '<p role="status" aria-live="polite" style="line-height:1.3">{}</p>'
        self.status.value = place.format(html.escape(sentence))

    def _record(self, own: _Own) -> str:
        if not own.name:
            raise TutorialError(f"Give number {own.number} a name first.")
        if not self.webcam.on:
            raise TutorialError("The webcam shows nothing new: press Start, or Freeze once more.")
        self._frames, self._recording = 0, (own, len(own.crops), time.monotonic() + SECONDS)
        return f"Recording “{own.name}”: hold it, and turn your head a little …"

    def _watch(self, found: Sequence[faces.Face] | None) -> str:
        if not self._recording:
            return ""
        own, before, deadline = self._recording
        over = found is None or time.monotonic() > deadline
        self._frames += 1
        if found and not over and self._frames % EVERY == 0:
            own.keep([*own.crops, found[0].crop])
        new = len(own.crops) - before
        if not over and new < RECORDED:
            return ""
        self._recording = None
        if not new:
            raise TutorialError(f"No face was seen, so “{own.name}” has nothing new: try again.")
        return f"Recorded {new} pictures of “{own.name}”."

    def _take(self, picture: Image.Image, message: dict) -> Answer:
        """Keep an uploaded picture, or say what was learnt of it."""
        if self._batch != message.get("batch"):  # those chosen together all go to the same place
            self._batch, self._into = message.get("batch"), self.target.value
        found = [faces.whole_image(picture)] if self.whole.value else faces.find_faces(picture)
        if not found:
            raise TutorialError("No face was found, so nothing was added.")
        if self._into:
            self._into.keep([*self._into.crops, found[0].crop])
            return {"say": f"Added to number {self._into.number}."}, []
        if not self.webcam.own:
            raise TutorialError("Press Train before you ask.")
        (largest,) = describe(picture.size, found[:1], *self.webcam.own)["faces"]
        return {"say": f"It {largest['words']}."}, []

    def _train(self) -> str:
        used = [own for own in self.own if own.crops]
        names = [own.name for own in used]
        if len(used) < 2:
            raise TutorialError("At least two need pictures: one alone cannot be told apart.")
        for own in used:
            if not own.name:
                raise TutorialError(f"Number {own.number} has pictures but no name: give it one.")
            if names.count(own.name) > 1:
                raise TutorialError(f"Two are named “{own.name}”: change one of them.")
        self._say("Training …")
        self.webcam.send({"wait": "Training …"})
        start, crops = time.perf_counter(), [own.crops for own in used]
        model, _ = load_model(self.webcam.networks.path, FER_CLASSES)
        self.webcam.own = own_classifier(model, crops), {"classes": names}
        seconds, n = time.perf_counter() - start, sum(map(len, crops))
        learnt = f"Learnt from {n} pictures in {seconds:.1f} seconds"
        return f"{learnt}; the webcam now looks for: {', '.join(names)}."

    def _go_back(self) -> str:
        self.webcam.own = None
        return "The webcam answers with the network's own classes."

    def _other_network(self, _) -> None:
        self._safely(self._go_back)

    def _forget(self) -> str:
        for own in self.own:
            own.keep([])
        self.webcam.own = self._recording = None
        return "All pictures are forgotten, and what was learnt from them."

    def _leave(self) -> None:
        """Close, and leave nothing behind, as when the cell that made this is run again."""
        self._forget()
        self.webcam.whole = False
        self.webcam.networks.chooser.unobserve(self._other_network, "value")
        todo = [self]
        while todo:
            widget = todo.pop()
            todo += getattr(widget, "children", ())
            widget.close()
