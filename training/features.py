"""What a network makes of images, computed once: an interrupted run goes on where it was."""

import re
from pathlib import Path

import joblib
import keras
import numpy as np
from tqdm.auto import tqdm

import helpers
from helpers.evaluation import predict


def cached_features(
    model: keras.Model, images: np.ndarray, folder: Path | None = None, part: int = 512
) -> np.ndarray:
    """Return what `predict` does, float32 (n, k), and compute nothing twice.

    An interrupted run loses one part of the images at most.

    Args:
        model: gives features, for example; the files are named after it and its weights.
        images: uint8 (n, height, width).
        folder: of the files; `RUNS`/features if not given.
        part: how many images a file holds the features of.

    Raises:
        TutorialError: if the images do not fit the network.
    """
    about = re.sub(r'_\d+"', '"', model.to_json())  # Keras numbers layers anew in every kernel
    network = joblib.hash([about, model.get_weights()])
    memory = joblib.Memory((folder or helpers.RUNS / "features") / network, verbose=0)

    @memory.cache
    def features_of(some: np.ndarray) -> np.ndarray:
        return predict(model, some, batch_size=64)

    parts = [images[start : start + part] for start in range(0, len(images), part)] or [images]
    bar = tqdm(parts, unit_scale=part, unit=" images", delay=2, leave=False)
    return np.concatenate([features_of(some) for some in bar])
