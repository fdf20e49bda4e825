"""The widgets that classify pictures and the webcam, and learn what you teach them."""

from __future__ import annotations

import base64
import html
import io
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import anywidget
import ipywidgets
import numpy as np
import traitlets
from matplotlib.figure import Figure
from PIL import Image as Pillow

from app import classifier
from helpers import (
    FER_CLASSES,
    TutorialError,
    choose,
    class_colours,
    faces,
    pictures,
    plots,
)

MOST_PICTURES, MOST_FACES = 20, 10  # shown at once
MOST_BYTES = 8_000_000  # of a file or a frame: a message to the kernel holds 10 MiB
LONGEST_SIDE = 1600  # pixels; the browser shrinks what is larger
RECORDED, EVERY, SECONDS = 20, 2, 15  # of so many frames every other one, in so many seconds
_WIDE = {"description_width": "initial"}
_ROW = {"flex_flow": "row wrap", "align_items": "center"}
_HERE = Path(__file__).parent

Samples = Mapping[str, Pillow.Image]  # by name
Models = Sequence[choose.ModelFile]

PURPOSE = (
    "For your own face or those of volunteers, never to judge people: a face shows an "
    "expression, not a feeling. Not for use on pupils or staff, which is prohibited in the EU "
    "(AI Act, Article 5(1)(f))."
)
TEACH = (
    "Name two to four expressions, start the webcam, and record each of them. What you record or "
    "upload here is kept in memory until you forget it, and is not stored."
)
NOT_SENT = "The browser cannot open this, and it is too large to send: save it as JPEG or PNG."
NO_MODEL = "There is no trained network yet: run notebook 04, or `python train_model.py`, first."


def png(figure: Figure, dpi: int = 92) -> bytes:
    """Return a figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def result_figure(picture, found: Sequence[faces.Face], probabilities, classes) -> Figure:
    """Draw the picture with its faces boxed; per face the 48x48 crop and the probabilities.

    Args:
        picture: RGB picture (PIL).
        found: its faces; the first `MOST_FACES` get a row each.
        probabilities: array (faces, classes).
        classes: the names, in the order of the columns.
    """
    rows = max(1, min(len(found), MOST_FACES))
    figure = Figure(figsize=(10, max(3.4, 2.3 * rows)), layout="constrained")
    grid = figure.add_gridspec(rows, 3, width_ratios=(5, 2, 4))
    texts = [f"{number}: {classes[p.argmax()]}" for number, p in enumerate(probabilities, start=1)]
    boxes = [face.box for face in found]
    plots.faces_on_picture(picture, boxes, texts, ax=figure.add_subplot(grid[:, 0]))
    for row, (face, p) in enumerate(zip(found[:rows], probabilities, strict=False)):
        ax = figure.add_subplot(grid[row, 1])
        ax.imshow(face.crop, cmap="gray", vmin=0, vmax=255)
        ax.set(title=f"{row + 1}: at 48×48", xticks=(), yticks=())
        ax.spines[:].set_visible(False)
        plots.probabilities(p, classes, title=texts[row], ax=figure.add_subplot(grid[row, 2]))
    return figure


def result_html(name: str, source, model, classes: Sequence[str], whole: bool = False) -> str:
    """Classify one picture and return the result as HTML: sentences first, then the figure.

    Whatever goes wrong becomes a sentence too, because an error raised in a widget's callback
    would be seen by nobody.

    Args:
        name: what to call the picture.
        source: an RGB picture (PIL), the bytes of a file in any format, or why there are none.
        model, classes: a network, or `classifier.to_litert` of it, and its outputs' names.
        whole: take the whole picture for the face instead of searching.
    """
    try:
        picture = _open(source)
        found = [faces.whole_image(picture)] if whole else faces.find_faces(picture)
        probabilities = faces.classify(model, found)
        sentences = [
            " ".join([f"Face {number} {faces.in_words(p, classes)}.", *faces.warnings(face)])
            for number, (face, p) in enumerate(zip(found, probabilities, strict=True), start=1)
        ] or ["No face was found. If it is one, tick “the whole picture is the face”."]
        if len(found) > MOST_FACES:
            sentences.append(f"Only the {MOST_FACES} largest are drawn with their probabilities.")
        code = base64.b64encode(png(result_figure(picture, found, probabilities, classes)))
        drawing = (
            f'<img style="max-width:100%" alt="{html.escape(" ".join(sentences))}" '
            f'src="data:image/png;base64,{code.decode()}">'
        )
    except Exception as error:
        sentences, drawing = [explain(error)], ""
    return f"<p><b>{html.escape(name)}</b>: {html.escape(' '.join(sentences))}</p>{drawing}"


def _open(source: Pillow.Image | bytes | TutorialError) -> Pillow.Image:
    if isinstance(source, Exception):
        raise source
    return source if isinstance(source, Pillow.Image) else pictures.open_picture(source)


def explain(error: Exception) -> str:
    """Return the sentence that a widget shows for an error."""
    if isinstance(error, TutorialError):
        return str(error)
    return f"Something went wrong: {type(error).__name__}: {error}"


def spoken(*parts: str) -> str:
    """Return pieces of HTML as a place that a screen reader reads aloud when it changes."""
    return f'<div role="status" aria-live="polite" style="line-height:1.3">{"".join(parts)}</div>'


class Networks:
    """The networks to choose from, each loaded once, whichever thread asks.

    Args:
        models: in the order to show; by default all that fit photographs, the best first.

    Attributes:
        chooser: the list to choose with; its value is a `ModelFile`, or None.
    """

    def __init__(self, models: Models | None = None):
        models = choose.model_for_photographs() if models is None else models
        options = [(_describe(file), file) for file in models] or [("none found", None)]
        self.chooser = ipywidgets.Dropdown(
            options=options, description="Network", style=_WIDE, layout={"width": "auto"}
        )
        self._lock, self._loaded = threading.Lock(), {}

    def load(self) -> tuple[Callable[[np.ndarray], np.ndarray], dict]:
        """Return what answers for the chosen network, and what is known about it.

        Raises:
            TutorialError: if there is none, or its file cannot be used.
        """
        path = self.path
        with self._lock:
            if path not in self._loaded:
                self._loaded[path] = classifier.load_litert(path, FER_CLASSES)
            return self._loaded[path]

    @property
    def path(self) -> Path:
        """The file of the chosen network; a `TutorialError` if there is none."""
        if self.chooser.value is None:
            raise TutorialError(NO_MODEL)
        return self.chooser.value.path

    @property
    def ready(self) -> bool:
        """False if `load` will take its time."""
        return self.chooser.value is None or self.path in self._loaded


def _describe(file: choose.ModelFile) -> str:
    words = [file.origin]
    if "data" in file.info:
        words.append(f"trained on {file.info['data']['name']}")
    if "accuracy" in file.info.get("validation", {}):
        words.append(f"{file.info['validation']['accuracy']:.0%} right on validation images")
    return f"{file.path.name} ({', '.join(words)})"


def _tag(content) -> float | None:
    """Return what a message from the browser is known by there; its answer carries it too."""
    tag = content.get("tag") if isinstance(content, dict) else None
    return tag if isinstance(tag, int | float) and 0 <= tag < 1 else None


class Pictures(anywidget.AnyWidget):
    """A button, and an area to drop files on, that hands pictures over one by one.

    What is large is shrunk in the browser, so that nothing comes near the 10 MiB that a message
    may have. The next file leaves when `take` is done with the one before.

    Args:
        take: is called with a file's name, its bytes (or the `TutorialError` that says why there
            are none), its place among those chosen together, and their number; must not raise.
    """

    _esm, _css = _HERE / "upload.js", _HERE / "widgets.css"
    side = traitlets.Int(LONGEST_SIDE).tag(sync=True)
    most = traitlets.Int(MOST_PICTURES).tag(sync=True)
    most_bytes = traitlets.Int(MOST_BYTES).tag(sync=True)

    def __init__(self, take: Callable[[str, object, int, int], None]):
        super().__init__()
        self._take = take
        self.on_msg(self._receive)

    def _receive(self, _, content, buffers) -> None:
        fields = content if isinstance(content, dict) else {}
        name = str(fields.get("name") or "A file")[:200]
        place, of = (n if type(n) is int else 0 for n in (fields.get("place"), fields.get("of")))
        fits = buffers and len(buffers[0]) <= MOST_BYTES
        self._take(name, bytes(buffers[0]) if fits else TutorialError(NOT_SENT), place, of)
        self.send({"tag": _tag(content)})


class Webcam(anywidget.AnyWidget):
    """Faces before the webcam, boxed and named live; the browser's half is webcam.js.

    The browser sends a frame, and the next when that is answered. Frames are looked at and
    forgotten.

    Args:
        networks: answers with the one that is chosen there; by default the best.

    Attributes:
        own: names, and a function from crops to probabilities, that answer in place of the
            network; None for the network.
        watch: is called with the faces of every frame, and with None when no more come.
        whole: True takes the whole frame for the face.
        on: True while frames come.
        guard: the lock around all of this.
    """

    _esm, _css = _HERE / "webcam.js", _HERE / "widgets.css"

    def __init__(self, networks: Networks | None = None):
        super().__init__()
        self.networks = networks or Networks()
        self.guard = threading.RLock()  # newer kernels answer widgets on several threads
        self.own: tuple[Sequence[str], Callable[[np.ndarray], np.ndarray]] | None = None
        self.watch: Callable[[list[faces.Face] | None], None] = lambda found: None
        self.whole = self.on = False
        self._by, self._changes = None, 0  # what answers, and how often that has changed
        self.on_msg(self._receive)

    def wait(self, sentence: str) -> None:
        """Say why the next answer takes long."""
        self.send({"wait": sentence})

    def _receive(self, _, content, buffers) -> None:
        try:
            with self.guard:
                if isinstance(content, dict) and content.get("off") is True:
                    self.on = False
                    return self.watch(None)
                answer = self._answer(buffers)
        except Exception as error:
            answer = {"say": explain(error)}
        self.send({"tag": _tag(content), **answer})

    def _answer(self, buffers) -> dict:
        if not buffers or len(buffers[0]) > MOST_BYTES:
            raise TutorialError("This frame is empty or too large: stop the webcam, start again.")
        frame = pictures.open_picture(bytes(buffers[0]), max_side=640)
        found = [faces.whole_image(frame)] if self.whole else faces.find_faces(frame, live=True)
        found = found[:MOST_FACES]
        self.on = True
        self.watch(found)
        by = self.own or self.networks.chooser.value
        self._by, self._changes = by, self._changes + (by is not self._by)
        if self.own:
            (names, answer), note = self.own, ""
        else:
            if not self.networks.ready:
                self.wait("The network is being prepared …")
            answer, info = self.networks.load()
            names, note = info["classes"], faces.caution(info)
        probabilities = faces.classify(answer, found).astype(float).round(4).tolist()
        rows = zip(found, probabilities, strict=True)
        answer = {"size": frame.size, "faces": [{"box": face.box, "p": p} for face, p in rows]}
        answer["by"] = self._changes
        return answer | {"classes": list(names), "colours": class_colours(names), "note": note}


class _Own:
    """One class of the learner's own: its name, its pictures, and a button to record some."""

    def __init__(self, number: int, name: str, record: Callable[[_Own], None]):
        self.number, self.crops = number, []
        self.text = ipywidgets.Text(name, description=f"Name {number}")
        self.button = ipywidgets.Button(description=f"Record {number}")
        self.button.on_click(lambda _: record(self))
        self.count = ipywidgets.Label("0 pictures")
        self.row = ipywidgets.HBox([self.text, self.button, self.count], layout=_ROW)

    @property
    def name(self) -> str:
        return self.text.value.strip()[:40]

    def keep(self, found: Sequence[faces.Face]) -> None:
        self.crops.append(found[0].crop)
        self.count.value = f"{len(self.crops)} pictures"


class Teacher(ipywidgets.VBox):
    """Two to four expressions or gestures of the learner's own, for the webcam to tell apart.

    Args:
        webcam: where frames come from, and where the answer is shown.
    """

    def __init__(self, webcam: Webcam):
        def button(name: str, step: Callable[[], str]) -> ipywidgets.Button:
            made = ipywidgets.Button(description=name, layout={"width": "auto"})
            made.on_click(lambda _: self._safely(step))
            return made

        self.webcam = webcam
        webcam.own, webcam.whole = None, False
        self._recording: tuple[_Own, int, float] | None = None  # of, pictures before, deadline
        self._frames, self._into, self._said, self._added = 0, None, [], 0
        record = partial(self._safely, self._record)
        names = ("wink", "tongue out", "neither", "")
        self.own = [_Own(number, name, record) for number, name in enumerate(names, start=1)]
        numbers = [(f"number {own.number}", own) for own in self.own]
        numbers += [("asking, not learning", None)]
        self.target = ipywidgets.Dropdown(
            options=numbers, description="Uploads are for", style=_WIDE
        )
        self.upload = Pictures(partial(self._safely, self._take))
        self.train = button("Train", self._train)
        self.back = button("Back to the network's classes", self._go_back)
        self.forget = button("Forget all pictures", self._forget)
        self.whole = ipywidgets.Checkbox(
            description="gestures: look at the whole picture (starts anew)",
            indent=False,
            layout={"width": "auto"},
        )
        self.whole.observe(lambda _: self._safely(self._forget), "value")
        webcam.networks.chooser.observe(lambda _: self._safely(self._go_back), "value")
        webcam.watch = partial(self._safely, self._watch)
        self.status = ipywidgets.HTML(spoken("<p>Nothing is recorded yet.</p>"))
        rows = [own.row for own in self.own]
        upload = ipywidgets.HBox([self.target, self.upload, self.whole], layout=_ROW)
        buttons = ipywidgets.HBox([self.train, self.back, self.forget], layout=_ROW)
        teach = ipywidgets.HTML(f'<p style="line-height:1.3">{TEACH}</p>')
        super().__init__([teach, self.status, *rows, upload, buttons])

    def _safely(self, step: Callable[..., str], *arguments) -> None:
        """Take a step while no other thread does, and show the sentence it returns or raises."""
        with self.webcam.guard:
            try:
                sentence = step(*arguments)
            except Exception as error:
                sentence = explain(error)
            self.webcam.whole = self.whole.value and bool(self.webcam.own or self._recording)
            self._say(sentence)

    def _say(self, sentence: str) -> None:
        if sentence:
            self.status.value = spoken(f"<p>{html.escape(sentence)}</p>")

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
            own.keep(found)
        new = len(own.crops) - before
        if not over and new < RECORDED:
            return ""
        self._recording = None
        if not new:
            raise TutorialError(f"No face was seen, so “{own.name}” has nothing new: try again.")
        return f"Recorded {new} pictures of “{own.name}”."

    def _take(self, name: str, source, place: int, of: int) -> str:
        if not place:  # of those chosen together, all go where the first one goes
            self._into, self._said, self._added = self.target.value, [], 0
        try:
            picture = _open(source)
            found = [faces.whole_image(picture)] if self.whole.value else faces.find_faces(picture)
            if not found:
                raise TutorialError("no face was found.")
            if self._into:
                self._into.keep(found)
                self._added += 1
            elif self.webcam.own:
                names, answer = self.webcam.own
                p = faces.classify(answer, found[:1])[0]
                self._said.append(f"{name} {faces.in_words(p, names)}.")
            else:
                raise TutorialError("press Train before you ask.")
        except Exception as error:
            self._said.append(f"{name}: {explain(error)}")
        added = [f"Added {self._added} of {max(of, place + 1)} pictures."] * bool(self._into)
        most = [f"At most {MOST_PICTURES} can be uploaded at once."] * (of > MOST_PICTURES)
        return " ".join([*added, *most, *self._said])

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
        self.webcam.wait("Training …")
        from app.teach import own_classifier  # TensorFlow comes with these two
        from helpers.models import load_model

        start, crops = time.perf_counter(), [own.crops for own in used]
        model, _ = load_model(self.webcam.networks.path, FER_CLASSES)
        self.webcam.own = names, own_classifier(model, crops)
        seconds, n = time.perf_counter() - start, sum(map(len, crops))
        learnt = f"Learnt from {n} pictures in {seconds:.1f} seconds"
        return f"{learnt}; the webcam now looks for: {', '.join(names)}."

    def _go_back(self) -> str:
        self.webcam.own = None
        return "The webcam answers with the network's own classes."

    def _forget(self) -> str:
        for own in self.own:
            own.crops.clear()
            own.count.value = "0 pictures"
        self.webcam.own = self._recording = None
        return "All pictures are forgotten, and what was learnt from them."


def photographs(networks: Networks, pictures: Samples | None = None) -> ipywidgets.VBox:
    """Assemble sample picker, upload and result.

    Args:
        networks: answers with the one that is chosen there.
        pictures: the samples by name; by default the two portraits.
    """
    pictures = faces.portraits() if pictures is None else pictures
    samples = [("choose one", ""), *((name, name) for name in pictures)]
    picker = ipywidgets.Dropdown(options=samples, description="Sample", style=_WIDE)
    whole = ipywidgets.Checkbox(description="the whole picture is the face", indent=False)
    result = ipywidgets.HTML(spoken("<p>Pick a sample or upload a picture.</p>"))
    shown: list[tuple[str, object]] = []
    parts: list[str] = []  # one per picture
    lock = threading.RLock()  # newer kernels answer widgets on several threads

    def add(name: str, source, left_out: int = 0) -> None:
        shown.append((name, source))
        result.value = spoken(*parts, "<p>Looking …</p>")
        try:
            answer, info = networks.load()
            parts.append(result_html(name, source, answer, info["classes"], whole.value))
            rest = f"<p>{left_out} more were left out: upload fewer at once.</p>" * bool(left_out)
            result.value = spoken(f"<p>{html.escape(faces.caution(info))}</p>", *parts, rest)
        except Exception as error:
            result.value = spoken(f"<p>{html.escape(explain(error))}</p>")

    def show(pictures: Sequence[tuple[str, object]]) -> None:
        with lock:
            pictures = list(pictures)
            shown.clear()
            parts.clear()
            for name, source in pictures:
                add(name, source)

    def pick_sample(change) -> None:
        if change.new:
            show([(change.new, pictures[change.new])])

    def take(name: str, source, place: int, of: int) -> None:
        with lock:
            if place == 0:
                show([])
                picker.value = ""  # so that the same can be chosen again
            if len(shown) < MOST_PICTURES:
                add(name, source, max(0, of - MOST_PICTURES))

    picker.observe(pick_sample, "value")
    for control in (networks.chooser, whole):
        control.observe(lambda _: show(shown), "value")
    return ipywidgets.VBox([ipywidgets.HBox([picker, Pictures(take)], layout=_ROW), whole, result])


def demo(pictures: Samples | None = None, models: Models | None = None) -> ipywidgets.VBox:
    """Classify photographs, the webcam, and what you teach it, in three tabs.

    Above them the choice of `Networks(models)`, below them the line that says what they are for.
    """
    networks = Networks(models)
    webcam = Webcam(networks)  # in two tabs, with one camera
    teach = ipywidgets.VBox([webcam, Teacher(webcam)]).add_class("emotion-teach")
    tabs = [photographs(networks, pictures), webcam, teach]
    tabs = ipywidgets.Tab(tabs, titles=("Photographs", "Webcam", "Teach it"))
    small = "line-height:1.3; font-size:90%"
    purpose = ipywidgets.HTML(f'<p style="{small}">{html.escape(PURPOSE)}</p>')
    return ipywidgets.VBox([networks.chooser, tabs, purpose])
