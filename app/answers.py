"""What a picture's faces look like, as the browser draws it, in photographs and live."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import anywidget

from app.classifier import Classifier
from helpers import TutorialError, class_colours, faces

HERE = Path(__file__).parent
MOST_BYTES = 8_000_000  # of a file or a frame: a message to the kernel holds 10 MiB
GUARD = threading.RLock()  # newer kernels answer widgets on several threads: here one at a time

Answer = tuple[dict, list[bytes]]  # a message to the browser


def describe(
    size: Sequence[int], found: Sequence[faces.Face], classify: Classifier, info: dict
) -> dict:
    """Return what the browser draws and says of a picture's faces.

    Args:
        size: width and height of the picture that the faces' boxes are measured in.
        found: its faces.
        classify: names their expressions.
        info: what is known about it, its "classes" above all.
    """
    classes, probabilities = info["classes"], faces.classify(classify, found)
    told = [
        {
            "box": face.box,
            "p": p.tolist(),
            "words": faces.in_words(p, classes),
            "warnings": faces.warnings(face),
        }
        for face, p in zip(found, probabilities.astype(float).round(4), strict=True)
    ]
    named = {"classes": classes, "colours": class_colours(classes), "least": faces.LEAST_SURE}
    return {"size": size, "faces": told, "note": faces.caution(info), **named}


def explain(error: Exception) -> str:
    """Return the sentence that a widget shows for an error."""
    if isinstance(error, TutorialError):
        return str(error)
    return f"Something went wrong: {type(error).__name__}: {error}"


def script(name: str) -> str:
    """Return a widget's JavaScript, with what all of ours share before it."""
    return "\n".join((HERE / file).read_text("utf-8") for file in ("faces.js", name))


class Answering(anywidget.AnyWidget):
    """A widget whose every message from the browser gets one back, with the same tag.

    An error raised in a widget's callback would be seen by nobody: its sentence is the answer.
    """

    _css = (HERE / "widgets.css").read_text("utf-8")  # as a path, anywidget would hold us for good

    def __init__(self, **traits):
        super().__init__(**traits)
        self.on_msg(self._receive)

    def answer(self, message: dict, content: bytes) -> Answer:
        """Return what to send back for a message and its file, b"" if none came or a too large one.

        `GUARD` is held meanwhile.
        """
        raise NotImplementedError

    def _receive(self, _, message, buffers) -> None:
        message = message if isinstance(message, dict) else {}
        content = bytes(buffers[0]) if buffers and len(buffers[0]) <= MOST_BYTES else b""
        try:
            with GUARD:
                answer, files = self.answer(message, content)
        except Exception as error:
            answer, files = {"say": explain(error)}, []
        tag = message.get("tag")
        tag = tag if isinstance(tag, int | float) and 0 <= tag < 1 else None
        self.send({"tag": tag, **answer}, files)
