"""Draw the pictures of the README: python tools/make_assets.py

They show charts, the two public-domain portraits and toy faces; no image of the data set.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from helpers import FER_CLASSES, MODELS, ROOT, SEED, plots
from helpers.data import load, load_dataset
from helpers.evaluation import predict
from helpers.faces import classify, find_faces, portraits
from helpers.toy_faces import draw_faces
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
    """Draw portraits judged by one network, then toy faces judged by the other."""
    model, info = load_model(model_file)
    toy_model, toy_info = load_model(toy_model_file)
    rows = []
    for name, picture in portraits().items():
        face = find_faces(picture)[0]
        rows.append((face.crop, f"photograph: {name}", classify(model, [face])[0], info))
    wanted = ("happy", "sad", "angry")
    drawn = draw_faces(np.array([FER_CLASSES.index(name) for name in wanted]), seed=SEED)
    for crop, name, given in zip(drawn, wanted, predict(toy_model, drawn), strict=True):
        rows.append((crop, f"toy face drawn {name}", given, toy_info))
    figure, axes = plt.subplots(2, 5, figsize=(12, 4.6), height_ratios=(5, 4), layout="constrained")
    for (crop, name, given, about), (above, below) in zip(rows, axes.T, strict=True):
        above.imshow(crop, cmap="gray", vmin=0, vmax=255)
        above.spines[:].set_visible(False)
        above.set(xticks=[], yticks=[])
        above.set_title(name, fontsize=10)
        plots.probabilities(below, given, about["classes"], title=" ")
        best = given.argmax()
        below.set_title(f"looks {about['classes'][best]} ({given[best]:.0%})", fontsize=10)
        below.tick_params(labelsize=8)
    figure.savefig(ASSETS / "sample_predictions.png", dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="FER-2013 (default: what dataset/ holds)")
    parser.add_argument("--model", type=Path, default=MODELS / "emotion_cnn.keras")
    parser.add_argument("--toy-model", type=Path, required=True, help="trained on toy faces")
    options = parser.parse_args()
    plt.switch_backend("Agg")  # files only, also where there is no screen
    ASSETS.mkdir(exist_ok=True)
    plots.style()
    sample_predictions(options.model, options.toy_model)
    confusion_matrix(options.model, load(options.data) if options.data else load_dataset())
    print(f"Drawn into {ASSETS.name}/.")


if __name__ == "__main__":
    main()
