"""The small package behind the notebooks: each module is about one thing.

settings    paths, the seed, the profile, colours, and the error a learner may see
toy_faces   draws the offline data set
sources     finds, unpacks or downloads the images
data        decodes, loads, checks and splits them
network     the lesson's network and its augmentation
training    batches, class weights, callbacks, resuming; saving and loading models
evaluation  predictions, scores, intervals, calibration
plots       every chart that appears more than once
faces       finds and crops faces in photographs
widgets     the interactive parts
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import Iterator

# TensorFlow reads these when it is first imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Send what C++ code writes to standard error to nowhere."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


class _QuietTensorFlow:
    """Let `import tensorflow` start without a page of notices, whoever imports it first.

    They are printed before the log level above applies, so standard error is closed to them
    for the length of the import. An exception still reaches whoever imports.
    """

    @staticmethod
    def find_spec(name: str, path=None, target=None):
        if name != "tensorflow":
            return None
        sys.meta_path.remove(_QuietTensorFlow)
        spec = importlib.util.find_spec(name)
        if spec is not None:
            load = spec.loader.exec_module

            def load_quietly(module) -> None:
                with _quiet_stderr():
                    load(module)

            spec.loader.exec_module = load_quietly
        return spec


if "tensorflow" not in sys.modules and _QuietTensorFlow not in sys.meta_path:
    sys.meta_path.insert(0, _QuietTensorFlow)
