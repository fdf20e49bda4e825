"""The widgets that classify a picture."""

from __future__ import annotations

import base64
import functools
import html
import io
import threading
from collections.abc import Mapping, Sequence

import ipywidgets
from matplotlib.figure import Figure
from PIL import Image as Pillow

from helpers import FER_CLASSES, TutorialError, data, evaluation, faces, plots

# A message to the kernel holds 10 MiB, and all files chosen at once travel in one message.
# start.py has JupyterLab take ten times as much.
LIMIT = "Together up to 8 MB, or 95 MB if start.py opened JupyterLab."
MOST_PICTURES, MOST_FACES = 20, 10  # shown at once
_WIDE = {"description_width": "initial"}

PURPOSE = (
    "For your own face or those of volunteers, never to judge people: a face shows an "
    "expression, not a feeling. Not for use on pupils or staff, which is prohibited in the EU "
    "(AI Act, Article 5(1)(f))."
)
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
    plots.faces_on_picture(figure.add_subplot(grid[:, 0]), picture, found, texts)
    for row, (face, p) in enumerate(zip(found[:rows], probabilities, strict=False)):
        ax = figure.add_subplot(grid[row, 1])
        ax.imshow(face.crop, cmap="gray", vmin=0, vmax=255)
        ax.set(title=f"{row + 1}: at 48×48", xticks=(), yticks=())
        ax.spines[:].set_visible(False)
        plots.probabilities(figure.add_subplot(grid[row, 2]), p, classes, title=texts[row])
    return figure


def result_html(name: str, source, model, classes: Sequence[str], whole: bool = False) -> str:
    """Classify one picture and return the result as HTML: sentences first, then the figure.

    Whatever goes wrong becomes a sentence too, because an error raised in a widget's callback
    would be seen by nobody.

    Args:
        name: what to call the picture.
        source: an RGB picture (PIL), or the bytes of a file in any format.
        model, classes: the network, or `evaluation.faster` of it, and its outputs' names.
        whole: take the whole picture for the face instead of searching.
    """
    try:
        picture = source if isinstance(source, Pillow.Image) else data.open_picture(source)
        found = [faces.whole_image(picture)] if whole else faces.find_faces(picture)
        probabilities = faces.classify(model, found)
        sentences = [
            f"Face {number} {faces.in_words(p, classes)}."
            for number, p in enumerate(probabilities, start=1)
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


def explain(error: Exception) -> str:
    """Return the sentence that a widget shows for an error."""
    if isinstance(error, TutorialError):
        return str(error)
    return f"Something went wrong: {type(error).__name__}: {error}"


def sample_picker(pictures: Mapping[str, Pillow.Image]) -> ipywidgets.Dropdown:
    """Return a list to pick a sample by name; its value is "" until something is picked."""
    options = [("choose one", ""), *((name, name) for name in pictures)]
    return ipywidgets.Dropdown(options=options, description="Sample", style=_WIDE)


def upload_button() -> ipywidgets.FileUpload:
    """Return a button to choose pictures; its value is a tuple of dicts with name and content."""
    return ipywidgets.FileUpload(
        accept="image/*",
        multiple=True,
        description="Upload pictures",
        tooltip=LIMIT,
        layout=ipywidgets.Layout(width="14em"),
    )


def model_chooser(models: Sequence[evaluation.ModelFile]) -> ipywidgets.Dropdown:
    """Return a list of networks in the order given; its value is a `ModelFile`, or None."""
    options = [(_describe(file), file) for file in models] or [("none found", None)]
    return ipywidgets.Dropdown(
        options=options, description="Network", style=_WIDE, layout={"width": "auto"}
    )


def _describe(file: evaluation.ModelFile) -> str:
    words = [file.origin]
    if "data" in file.info:
        words.append(f"trained on {file.info['data']['name']}")
    if "accuracy" in file.info.get("validation", {}):
        words.append(f"{file.info['validation']['accuracy']:.0%} right on validation images")
    return f"{file.path.name} ({', '.join(words)})"


def classifier_box(
    pictures: Mapping[str, Pillow.Image] | None = None,
    models: Sequence[evaluation.ModelFile] | None = None,
) -> ipywidgets.VBox:
    """Assemble sample picker, upload, choice of network and result in one box.

    Args:
        pictures: the samples by name; by default the two portraits.
        models: the networks to choose from; by default all that fit photographs, best first.
    """
    pictures = faces.portraits() if pictures is None else pictures
    picker, upload = sample_picker(pictures), upload_button()
    chooser = model_chooser(evaluation.model_for_photographs() if models is None else models)
    whole = ipywidgets.Checkbox(
        description="the whole picture is the face", indent=False, value=False
    )
    result = ipywidgets.HTML("<p>Pick a sample or upload a picture.</p>")
    shown: list[tuple[str, object]] = []
    lock = threading.RLock()  # newer kernels answer widgets on several threads

    load = functools.cache(lambda path: evaluation.load_faster(path, FER_CLASSES))

    def say(*parts: str) -> None:
        result.value = f'<div role="status" aria-live="polite">{"".join(parts)}</div>'

    def show(pictures: Sequence[tuple[str, object]] = ()) -> None:
        with lock:
            shown[:] = pictures or shown
            if not shown:
                return
            say("<p>Looking …</p>")
            try:
                if chooser.value is None:
                    raise TutorialError(NO_MODEL)
                model, info = load(chooser.value.path)
                parts = [
                    result_html(name, source, model, info["classes"], whole.value)
                    for name, source in shown[:MOST_PICTURES]
                ]
                if left := len(shown) - len(parts):
                    parts.append(f"<p>{left} more were left out: upload fewer at once.</p>")
                say(f"<p>{html.escape(faces.caution(info))}</p>", *parts)
            except Exception as error:
                say(f"<p>{html.escape(explain(error))}</p>")

    def pick_sample(change) -> None:
        if change.new:
            show([(change.new, pictures[change.new])])

    def take_upload(change) -> None:
        if change.new:
            show([(file["name"], bytes(file["content"])) for file in change.new])
            upload.value, picker.value = (), ""  # so that the same can be chosen again

    picker.observe(pick_sample, "value")
    upload.observe(take_upload, "value")
    for control in (chooser, whole):
        control.observe(lambda _: show(), "value")
    limit = ipywidgets.Label(LIMIT)
    small = "line-height:1.3; font-size:90%"
    purpose = ipywidgets.HTML(f'<p style="{small}">{html.escape(PURPOSE)}</p>')
    row = ipywidgets.HBox([picker, upload, limit], layout={"flex_flow": "row wrap"})
    return ipywidgets.VBox([chooser, row, whole, result, purpose])
