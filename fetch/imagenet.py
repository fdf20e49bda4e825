"""Gets the weights that MobileNetV2 learnt from ImageNet."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import requests

from fetch.sources import STALL_SECONDS, reachable
from helpers import TutorialError

IMAGENET = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/"
WEIGHTS = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"  # as Keras has it


def imagenet_weights() -> Path:
    """Return the file of MobileNetV2's weights in Keras's own folder; download it if need be.

    Raises:
        TutorialError: if it is not there, and cannot be had within seconds.
    """
    home = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "models"
    path = home / WEIGHTS
    try:
        if not path.is_file():
            if not reachable(IMAGENET + WEIGHTS):
                raise OSError("their server cannot be reached")
            home.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=home) as private:
                _download(IMAGENET + WEIGHTS, Path(private, WEIGHTS)).replace(path)
    except Exception as error:  # whatever it was, there is a lesson without it
        raise TutorialError(
            f"No pretrained weights ({error}): run this again with a network, or put {WEIGHTS} "
            f"into {home}."
        ) from None
    return path


def _download(address: str, path: Path) -> Path:
    print(f"Downloading {path.name} ...")
    # Keras's own `get_file` would wait for a silent server for ever.
    with requests.get(address, stream=True, timeout=STALL_SECONDS) as answer:
        answer.raise_for_status()
        path.write_bytes(answer.content)
        if path.stat().st_size < int(answer.headers.get("Content-Length", 0)):
            raise OSError("the download was cut off")
    return path
