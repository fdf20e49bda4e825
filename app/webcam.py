"""Faces before the webcam, boxed and named live; the browser's half is webcam.js."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from app.answers import MOST_BYTES, Answer, Answering, describe, script
from app.classifier import Classifier
from app.networks import Networks
from helpers import TutorialError, faces, pictures

MOST_FACES = 10  # of a frame, the largest


class Webcam(Answering):
    """Faces before the webcam. Frames are looked at and forgotten.

    The browser sends a frame, and the next when that is answered.

    Args:
        networks: answers with the one that is chosen there; by default the best.

    Attributes:
        own: names, and what turns crops into their probabilities, to answer in place of the
            network; None for the network.
        watch: is called with the faces of every frame, and with None when no more come.
        whole: True takes the whole frame for the face.
        on: True while frames come.
        let_go: is called when another wants to watch.
    """

    _esm = script("webcam.js")

    def __init__(self, networks: Networks | None = None):
        super().__init__()
        self.networks = networks or Networks()
        self.own: tuple[Sequence[str], Classifier] | None = None
        self.watch: Callable[[list[faces.Face] | None], None] = lambda found: None
        self.let_go: Callable[[], None] = lambda: None
        self.whole = self.on = False

    def wait(self, sentence: str) -> None:
        """Say why the next answer takes long."""
        self.send({"wait": sentence})

    def answer(self, message: dict, content: bytes) -> Answer:
        self.on = message.get("off") is not True
        if not self.on:
            self.watch(None)
            return {}, []
        if not content or len(content) > MOST_BYTES:
            raise TutorialError("This frame is empty or too large: stop the webcam, start again.")
        frame = pictures.open_picture(content, max_side=640)
        found = [faces.whole_image(frame)] if self.whole else faces.find_faces(frame, live=True)
        found = found[:MOST_FACES]
        self.watch(found)
        by = self.own or self.networks.chooser.value
        if self.own:
            names, classify = self.own
            answer = describe(frame.size, found, faces.classify(classify, found), names)
        else:
            if not self.networks.ready:
                self.wait("The network is being prepared …")
            answer = describe(frame.size, found, *self.networks.classify(found))
        return answer | {"by": id(by)}, []  # a change of it starts the averages anew
