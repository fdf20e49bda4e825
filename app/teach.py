"""A new last layer for a task of your own, learnt in seconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import numpy as np

from helpers.networks import features


def own_classifier(model: keras.Model, crops: Sequence[Sequence[np.ndarray]]) -> Callable:
    """Exchange a network's last layer for a logistic regression, in seconds.

    Args:
        model: gives the features.
        crops: uint8 (48, 48), those of each class in a list.

    Returns:
        What turns uint8 crops (n, 48, 48) into probabilities, float (n, classes).
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    below = features(model)
    labels = np.repeat(range(len(crops)), [len(of_one) for of_one in crops])
    # With 20 images of FER-2013 per class, 78% of others were right and the mean confidence was
    # 74%; a hundred times the C was right in 74%, and sure by 88%.
    fitted = make_pipeline(
        StandardScaler(),
        LogisticRegression(C=0.01, class_weight="balanced", max_iter=1000),
    )
    fitted.fit(below(np.concatenate(crops)), labels)

    def answer(seen: np.ndarray) -> np.ndarray:
        return fitted.predict_proba(below(seen)) if len(seen) else np.zeros((0, len(crops)))

    return answer
