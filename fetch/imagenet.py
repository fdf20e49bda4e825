"""Gets the weights that MobileNetV2 learnt from ImageNet."""

import os
from pathlib import Path

import requests

from fetch.kaggle import STALL_SECONDS, reachable
from helpers import TutorialError, replacing

IMAGENET = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/"
WEIGHTS = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"  # as Keras has it


def imagenet_weights() -> Path:
    """Return the file of MobileNetV2's weights in Keras's own folder; download it if need be.

    Raises:
        TutorialError: if it is not there, and cannot be had within seconds.
    """
    home = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "models"
    path = home / WEIGHTS
    if path.is_file():
        return path
    try:
        if not reachable(IMAGENET):
            raise OSError("their server cannot be reached")
        print(f"Downloading {WEIGHTS} ...")
        # Keras's own `get_file` would wait for a silent server for ever.
        answer = requests.get(IMAGENET + WEIGHTS, timeout=STALL_SECONDS)
        answer.raise_for_status()
        if len(answer.content) < int(answer.headers.get("Content-Length", 0)):
            raise OSError("the download was cut off")
        home.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            partial.write_bytes(answer.content)
    except Exception as error:  # whatever it was, there is a lesson without it
        raise TutorialError(
            f"No pretrained weights ({error}): run this again with a network, or put {WEIGHTS} "
            f"into {home}."
        ) from None
    return path
