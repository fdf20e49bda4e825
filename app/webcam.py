"""Faces before the webcam, boxed and named live; the browser's half is webcam.js."""

from __future__ import annotations

from collections.abc import Callable

from app.answers import Answer, Answering, describe, script
from app.classifier import Known
from app.networks import Networks
from helpers import TutorialError, faces, pictures

MOST_FACES = 10  # of a frame, the largest


class Webcam(Answering):
    """Faces before the webcam. Frames are looked at and forgotten.

    The browser sends a frame, and the next when that is answered.

    Args:
        networks: answers with the one that is chosen there.

    Attributes:
        own: what answers in place of the network; None for the network.
        watch: is called with the faces of every frame, and with None when no more come.
        whole: True takes the whole frame for the face.
        on: True while frames come.
        let_go: is called when another wants to watch.
    """

    _esm = script("webcam.js")

    def __init__(self, networks: Networks):
        super().__init__()
        self.networks = networks
        self.own: Known | None = None
        self.watch: Callable[[list[faces.Face] | None], None] = lambda found: None
        self.let_go: Callable[[], None] = lambda: None
        self.whole = self.on = False

    def answer(self, message: dict, content: bytes) -> Answer:
        self.on = message.get("off") is not True
        if not self.on:
            self.watch(None)
            return {}, []
        if not content:
            raise TutorialError("This frame is empty or too large: stop the webcam, start again.")
        frame = pictures.open_picture(content, max_side=640)
        found = [faces.whole_image(frame)] if self.whole else faces.find_faces(frame, live=True)
        self.watch(found)
        if not self.own and not self.networks.ready:
            self.send({"wait": "The network is being prepared …"})
        by = self.own or self.networks.load()
        answer = describe(frame.size, found[:MOST_FACES], *by)
        return answer | {"by": id(by)}, []  # a change of it starts the averages anew
