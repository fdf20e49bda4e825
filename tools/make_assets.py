"""Draw the pictures of the README: python tools/make_assets.py

They show charts, the two public-domain portraits and toy faces; no image of the data set.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # files only, also where there is no screen

import matplotlib.pyplot as plt
import numpy as np
from run_notebooks import ROOT  # beside this file; makes `helpers` importable

from helpers import plots
from helpers.data import load, load_dataset
from helpers.evaluation import predict
from helpers.faces import classify, find_faces, in_words, portraits
from helpers.settings import MODELS
from helpers.toy_faces import draw_face
from helpers.training import load_model

ASSETS = ROOT / "assets"


def confusion_matrix(model_file: Path, data) -> None:
    model, info = load_model(model_file, data.classes)
    predicted = predict(model, data.test.images).argmax(axis=1)
    right = np.mean(predicted == data.test.labels)
    title = f"{model_file.name} on the {len(predicted):,} test images of {data.name}: {right:.1%}"
    figure, ax = plt.subplots(figsize=(7.4, 6), layout="constrained")
    plots.confusion_matrix(
        ax, data.test.labels, predicted, info["classes"], normalize=True, title=title
    )
    figure.savefig(ASSETS / "confusion_matrix.png", dpi=110)


def sample_predictions(model_file: Path, toy_model_file: Path) -> None:
    """Draw portraits above, judged by one network, and toy faces below, judged by the other."""
    model, info = load_model(model_file)
    toy_model, toy_info = load_model(toy_model_file)
    figure, axes = plt.subplots(2, 6, figsize=(12, 4.6), layout="constrained")
    for pair, (name, picture) in zip(axes[0].reshape(3, 2), portraits().items(), strict=False):
        face = find_faces(picture)[0]
        given = classify(model, [face])[0]
        draw_pair(pair, face.crop, name, given, info["classes"])
    for ax in axes[0, 4:]:
        ax.axis("off")
    axes[0, 4].text(
        0,
        0.5,
        "Above: photographs in the public domain\n(NASA, US Navy), by the shipped network.\n\n"
        "Below: toy faces, drawn by the project,\nby a network trained on toy faces.",
        va="center",
        fontsize=10,
    )
    for pair, expression in zip(axes[1].reshape(3, 2), ("happy", "sad", "angry"), strict=True):
        crop = draw_face(expression, seed=3)
        given = predict(toy_model, crop[np.newaxis])[0]
        draw_pair(pair, crop, f"toy face drawn {expression}", given, toy_info["classes"])
    figure.savefig(ASSETS / "sample_predictions.png", dpi=110)


def draw_pair(pair, crop: np.ndarray, name: str, given: np.ndarray, classes) -> None:
    pair[0].imshow(crop, cmap="gray", vmin=0, vmax=255)
    pair[0].set(title=name, xticks=[], yticks=[])
    plots.probabilities(pair[1], given, classes, title=in_words(given, classes))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="FER-2013 (default: what dataset/ holds)")
    parser.add_argument("--model", type=Path, default=MODELS / "emotion_cnn.keras")
    parser.add_argument("--toy-model", type=Path, required=True, help="trained on toy faces")
    options = parser.parse_args()
    ASSETS.mkdir(exist_ok=True)
    plots.style()
    sample_predictions(options.model, options.toy_model)
    confusion_matrix(options.model, load(options.data) if options.data else load_dataset())
    print(f"Drawn into {ASSETS.name}/.")


if __name__ == "__main__":
    main()
