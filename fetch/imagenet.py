"""Gets the weights that MobileNetV2 learnt from ImageNet."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import keras

from fetch.kaggle import STALL_SECONDS, reachable
from helpers import TutorialError
from helpers.networks import WEIGHTS

IMAGENET = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/"


def imagenet_weights() -> Path:
    """Return the file of MobileNetV2's weights in Keras's own folder; download it if need be.

    Raises:
        TutorialError: if it is not there, and cannot be had within seconds.
    """
    home = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "models"
    if (home / WEIGHTS).is_file():
        return home / WEIGHTS
    limit = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALL_SECONDS)  # Keras would wait for a silent server for ever
    try:
        if not reachable(IMAGENET + WEIGHTS):
            raise OSError("their server cannot be reached")
        places = {"cache_dir": str(home.parent), "cache_subdir": home.name}
        return Path(keras.utils.get_file(WEIGHTS, IMAGENET + WEIGHTS, **places))
    except Exception as error:  # whatever it was, there is a lesson without it
        raise TutorialError(
            f"No pretrained weights ({error}): run this again with a network, or put {WEIGHTS} "
            f"into {home}."
        ) from None
    finally:
        socket.setdefaulttimeout(limit)
