"""A network with weights rounded to 8 bits: the same answers in a sixth of the time."""

from __future__ import annotations

import hashlib
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import helpers
from helpers import IMAGE_SIZE, SEED, TutorialError, replacing
from helpers.evaluation import predict
from helpers.models import load_model, read_sidecar

if TYPE_CHECKING:  # TensorFlow takes ten seconds to load: whoever needs none is spared it
    import keras

Classifier = Callable[[np.ndarray], np.ndarray]  # uint8 (n, 48, 48) to probabilities (n, classes)
Known = tuple[Classifier, dict]  # and what its sidecar says of it, its "classes" above all


class LiteRTModel:
    """A converted network; call it with uint8 images (n, height, width), on any thread.

    Attributes:
        content: of a .tflite file.
        input_shape, output_shape: as a Keras model has them, None for the number of images.
    """

    def __init__(self, content: bytes):
        from ai_edge_litert.interpreter import Interpreter

        self.content, self._lock = content, threading.Lock()
        self._interpreter = Interpreter(model_content=content)
        self._interpreter.allocate_tensors()
        (takes,) = self._interpreter.get_input_details()
        (gives,) = self._interpreter.get_output_details()
        self._takes, self._gives = takes["index"], gives["index"]
        self.input_shape, self.output_shape = (
            (None, *tensor["shape"][1:].tolist()) for tensor in (takes, gives)
        )

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return the probabilities, float32 (n, classes)."""
        return predict(self, images, batch_size=64)

    def predict_on_batch(self, batch: np.ndarray) -> np.ndarray:
        """Return the probabilities of float32 (n, height, width, 1), 0 to 1."""
        with self._lock:
            self._interpreter.resize_tensor_input(self._takes, batch.shape)
            self._interpreter.allocate_tensors()
            self._interpreter.set_tensor(self._takes, batch)
            self._interpreter.invoke()
            return self._interpreter.get_tensor(self._gives)


def to_litert(model: keras.Model) -> Classifier:
    """Convert a network, in seconds: it then answers as `predict` does, in a sixth of the time.

    Of the shipped network's answers to 3,589 test images of FER-2013, 99.8% stayed the same, and
    no probability moved by more than 0.03 (benchmarks/prediction.py). What cannot be converted,
    or answers otherwise then, is answered by `predict`.
    """
    import tensorflow as tf

    slow = partial(predict, model)
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            model.export(folder, verbose=False)
            converter = tf.lite.TFLiteConverter.from_saved_model(folder)
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            fast = LiteRTModel(converter.convert())
        noise = np.random.default_rng(SEED).integers(0, 256, (8, IMAGE_SIZE, IMAGE_SIZE), np.uint8)
        return fast if np.allclose(fast(noise), slow(noise), rtol=0, atol=0.1) else slow
    except Exception:  # TensorFlow raises any kind, and LiteRT may be missing
        return slow


def load_litert(path: Path, classes: Sequence[str] = ()) -> Known:
    """Return what `to_litert` makes of a model file, and its sidecar, as `load_model` does.

    The conversion is kept in `RUNS`: from the second time on this loads no TensorFlow, which saves
    ten seconds and much memory. That of the shipped network lies beside it.
    """
    info, kept = read_sidecar(path), None
    if names := info.get("classes"):
        with suppress(Exception):
            made_from = hashlib.sha256(Path(path).read_bytes() + repr(names).encode())
            kept = helpers.RUNS / f"faster-{made_from.hexdigest()[:16]}.tflite"
            if fast := _read(kept) or _read(Path(path).parent / kept.name):
                return fast, info
    model, info = load_model(path, classes)
    fast = to_litert(model)
    if kept and isinstance(fast, LiteRTModel):
        with suppress(OSError, TutorialError):  # a folder that is read-only
            kept.parent.mkdir(parents=True, exist_ok=True)
            with replacing(kept) as unfinished:
                unfinished.write_bytes(fast.content + hashlib.sha256(fast.content).digest())
    return fast, info


def _read(path: Path) -> LiteRTModel | None:
    kept = path.read_bytes() if path.is_file() else b""
    content, checksum = kept[:-32], kept[-32:]
    return LiteRTModel(content) if hashlib.sha256(content).digest() == checksum else None
