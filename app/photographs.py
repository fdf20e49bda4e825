"""Pictures that are chosen, dropped or pasted, and samples; the browser's half is pictures.js."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import traitlets
from PIL import Image

from app.answers import MOST_BYTES, NOT_SENT, Answer, Answering, describe, script
from app.networks import Networks
from helpers import TutorialError, faces, pictures

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

    def __init__(self, look: Callable[[Image.Image, dict], Answer], samples: Samples | None = None):
        super().__init__(samples=list(samples or ()))
        self._look, self._pictures = look, dict(samples or {})

    def answer(self, message: dict, content: bytes) -> Answer:
        picture = self._pictures.get(str(message.get("sample")))
        if picture is None:
            if not content or len(content) > MOST_BYTES:
                raise TutorialError(str(message.get("problem") or NOT_SENT)[:300])
            picture = pictures.open_picture(content)
        return self._look(picture, message)


def photographs(networks: Networks, samples: Samples | None = None) -> Pictures:
    """Name the expressions in pictures of one's own, and in samples.

    Args:
        networks: answers with the one that is chosen there.
        samples: by name; by default the two portraits.
    """

    def look(picture: Image.Image, message: dict) -> Answer:
        whole = message.get("whole") is True
        found = [faces.whole_image(picture)] if whole else faces.find_faces(picture)
        answer = describe(picture.size, found, *networks.classify(found))
        crops = b"".join(face.crop.tobytes() for face in found)
        return answer, [crops] if message.get("drawn") is True else [crops, _jpeg(picture)]

    widget = Pictures(look, faces.portraits() if samples is None else samples)
    networks.chooser.observe(lambda _: widget.send({"again": True}), "value")
    return widget


def _jpeg(picture: Image.Image) -> bytes:
    small, file = picture.copy(), io.BytesIO()
    small.thumbnail((SHOWN, SHOWN))
    small.convert("RGB").save(file, "JPEG", quality=85)
    return file.getvalue()
