"""Pictures that are chosen, dropped or pasted, and samples; the browser's half is pictures.js."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import traitlets
from PIL import Image

from app.answers import Answer, Answering, describe, script
from app.networks import Networks
from helpers import TutorialError, faces, pictures

NOT_SENT = "This picture came empty or is too large to send: save it as JPEG or PNG."
SHOWN = 960  # pixels of the longer side of the picture that is drawn
Samples = Mapping[str, Image.Image]  # by name


class Pictures(Answering):
    """A button, and an area to drop or paste pictures on, which hands them over one by one.

    What is large is shrunk in the browser, so that nothing comes near the 10 MiB that a message
    may have, and the next file leaves when the one before is answered. Python keeps none of them:
    the browser sends a picture again if another network is to answer.

    Args:
        look: is called with each picture (RGB) and the message that it came with; what it
            returns, the browser shows below the picture's name.
        samples: pictures to choose from, by name.
    """

    _esm = script("pictures.js")
    samples = traitlets.List().tag(sync=True)  # their names

    def __init__(self, look: Callable[[Image.Image, dict], Answer], samples: Samples):
        super().__init__(samples=list(samples))
        self._look, self._pictures = look, dict(samples)

    def answer(self, message: dict, content: bytes) -> Answer:
        picture = self._pictures.get(str(message.get("sample")))
        if picture is None:
            if not content:
                raise TutorialError(NOT_SENT)
            picture = pictures.open_picture(content)
        return self._look(picture, message)


def photographs(networks: Networks, samples: Samples) -> Pictures:
    """Name the expressions in pictures of one's own, and in samples, with the chosen network."""

    def look(picture: Image.Image, message: dict) -> Answer:
        whole = message.get("whole") is True
        found = [faces.whole_image(picture)] if whole else faces.find_faces(picture)
        answer = describe(picture.size, found, *networks.load())
        crops = b"".join(face.crop.tobytes() for face in found)
        return answer, [crops] if message.get("drawn") is True else [crops, _jpeg(picture)]

    widget = Pictures(look, samples)
    networks.chooser.observe(lambda _: widget.send({"again": True}), "value")
    return widget


def _jpeg(picture: Image.Image) -> bytes:
    small, file = picture.copy(), io.BytesIO()
    small.thumbnail((SHOWN, SHOWN))
    small.convert("RGB").save(file, "JPEG", quality=85)
    return file.getvalue()
