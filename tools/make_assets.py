"""Draw the pictures of the README and the model card: python tools/make_assets.py

All come from the shipped network, its sidecar and its metrics (tools/score_shipped.py); no data
set is needed, and no image of one is shown: only charts, two public-domain portraits and, with
--toy-model, toy faces.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # for an environment without the `-e .` of requirements.txt

import calibration
from score_shipped import file_hash, read_metrics

from fetch.toy_faces import draw_faces
from helpers import FER_CLASSES, MODELS, SEED, TutorialError, plots
from helpers.evaluation import predict
from helpers.faces import classify, find_faces, portraits
from helpers.models import load_model, read_sidecar
from tools.model_card import weakest

PREDICTION = ROOT / "benchmarks" / "results" / "prediction.json"


def head(figure: plt.Figure, title: str) -> None:
    figure.suptitle(title, x=0.01, ha="left", fontsize=11.5, fontweight="bold")


def confusion_matrix(metrics: dict) -> plt.Figure:
    counts, classes = np.array(metrics["confusion"]), metrics["classes"]
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    np.fill_diagonal(share, 0)
    true, given = np.unravel_index(share.argmax(), share.shape)
    title = (
        f"{counts.trace() / counts.sum():.1%} of {counts.sum():,} test images right; "
        f"{share.max():.0%} of {classes[true]} taken for {classes[given]}"
    )
    figure, ax = plt.subplots(figsize=(6.7, 6))
    plots.confusion_matrix(counts, classes, normalize=True, ax=ax)
    head(figure, title)  # over the matrix alone it would be too long
    return figure


def learning_curves(model_file: Path) -> plt.Figure:
    recorded = read_sidecar(model_file).get("history", {}).get("log")
    if not recorded:
        raise TutorialError(f"The sidecar of {model_file.name} holds no history: train it again.")
    epochs, log = np.arange(len(recorded["loss"])), {}
    for name, values in recorded.items():  # None where an epoch was not scored: a line across
        values = np.array(values, float)
        known = np.isfinite(values)
        log[name] = np.interp(epochs, epochs[known], values[known], left=np.nan)
    figure, axes = plt.subplots(1, 2, figsize=(11, 4))
    best = int(np.nanargmin(log["val_loss"])) + 1
    titles = {
        "loss": f"Validation loss is least after epoch {best} of {len(epochs)}",
        "accuracy": f"{log['val_accuracy'][-1]:.1%} of the images kept aside right at the end",
    }
    for ax, (metric, title) in zip(axes, titles.items(), strict=True):
        plots.learning_curves(log, metric, title=title, ax=ax)
    return figure


def reliability(metrics: dict) -> plt.Figure:
    figure, axes = plt.subplots(1, 2, figsize=(10.4, 5.2))
    names = {"before": "As trained", "after": f"Temperature {metrics['temperature']['value']:.2f}"}
    for ax, (when, name) in zip(axes, names.items(), strict=True):
        found = {k: np.array(v, float) for k, v in metrics["reliability"][when].items()}
        weights = found["count"] / found["count"].sum()
        sure, right = (np.nansum(weights * found[k]) for k in ("confidence", "accuracy"))
        title = f"{name}: {sure:.0%} sure, {right:.0%} right"
        calibration.reliability(**found, title=title, ax=ax)
    return figure


def per_class(metrics: dict) -> plt.Figure:
    """Draw the recall of each class; on the private half where the package `fer` has one too."""
    others = {}
    if PREDICTION.exists():
        rows = json.loads(PREDICTION.read_text("utf-8"))["rows"]
        others = {
            f"package {row['classifier']}": row["recall"][0]
            for row in rows
            if row["classifier"].startswith("fer ") and "recall" in row
        }
    part = "private" if others else "test"
    classes, rows = metrics["classes"], metrics["parts"][part]["single"]["per_class"]
    ours = "the shipped network"
    series = {ours: [rows[name]["recall"] for name in classes]}
    series |= {name: [recall[c] for c in classes] for name, recall in others.items()}
    spans = {ours: np.array([rows[name]["recall_interval"] or [np.nan] * 2 for name in classes]).T}
    a, b = weakest(metrics, part)
    size = metrics["parts"][part]["n"]
    figure, ax = plt.subplots(figsize=(9.2 if others else 7.4, 4.2))
    plots.per_class(
        {name: np.array(values, float) for name, values in series.items()},
        classes,
        spans,
        xlabel=f"recall, with its 95% interval ({size:,} images of the "
        f"{'private half of the ' if others else ''}test set)",
        title=f"Found least often: {a} ({rows[a]['recall']:.0%}) and {b} ({rows[b]['recall']:.0%})",
        ax=ax,
    )
    ax.set_xlim(0, 1)
    return figure


def sample_predictions(model_file: Path, toy_model_file: Path | None) -> plt.Figure:
    """Draw portraits judged by the network, and toy faces judged by one of their own, if any."""
    model, info = load_model(model_file)
    columns = []
    for name, picture in portraits().items():
        face = find_faces(picture)[0]
        columns.append((face.crop, f"photograph: {name}", classify(model, [face])[0], info))
    title = f"{len(columns)} portraits judged by the shipped network"
    if toy_model_file:
        toy_model, toy_info = load_model(toy_model_file)
        wanted = ("happy", "sad", "angry")
        drawn = draw_faces(np.array([FER_CLASSES.index(name) for name in wanted]), seed=SEED)
        for crop, name, given in zip(drawn, wanted, predict(toy_model, drawn), strict=True):
            columns.append((crop, f"toy face drawn {name}", given, toy_info))
        title += ", toy faces by one trained on toy faces"
    n = len(columns)
    figure, axes = plt.subplots(2, n, figsize=(max(2.4 * n, 6.4), 4.9), height_ratios=(5, 4))
    head(figure, title)
    for (crop, name, given, about), (above, below) in zip(columns, axes.T, strict=True):
        above.imshow(crop, cmap="gray", vmin=0, vmax=255)
        above.spines[:].set_visible(False)
        above.set(xticks=[], yticks=[])
        above.set_title(name, fontsize=10, loc="center", fontweight="normal")
        plots.probabilities(given, about["classes"], title=" ", ax=below)
        best = given.argmax()
        below.set_title(f"looks {about['classes'][best]} ({given[best]:.0%})", fontsize=10)
        below.tick_params(labelsize=8)
    return figure


def draw(
    model_file: Path,
    metrics_file: Path,
    assets: Path,
    toy_model: Path | None,
    judge: Path | None = None,
) -> None:
    """Draw all pictures into a folder.

    Args:
        model_file: of the network whose figures are drawn.
        metrics_file: its figures.
        assets: the folder.
        toy_model: a network trained on toy faces; None leaves those out.
        judge: the network for photographs; None takes `model_file`.

    Raises:
        TutorialError: if the metrics are not this network's.
    """
    metrics = read_metrics(metrics_file)
    if metrics.get("network") != file_hash(model_file):
        raise TutorialError(
            f"{metrics_file.name} holds no figures of this {model_file.name}: run "
            "tools/score_shipped.py first."
        )
    plots.style()
    plt.rc("figure.constrained_layout", use=True)
    assets.mkdir(exist_ok=True)
    for name, make in {
        "confusion_matrix": lambda: confusion_matrix(metrics),
        "learning_curves": lambda: learning_curves(model_file),
        "reliability": lambda: reliability(metrics),
        "per_class": lambda: per_class(metrics),
        "sample_predictions": lambda: sample_predictions(judge or model_file, toy_model),
    }.items():
        figure = make()
        figure.savefig(assets / f"{name}.png", dpi=110)
        plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--toy-model", type=Path, help="trained on toy faces; adds three of them")
    options = parser.parse_args()
    plt.switch_backend("Agg")  # files only, also where there is no screen
    assets = ROOT / "docs" / "assets"
    model_file, metrics_file = MODELS / "emotion_cnn.keras", MODELS / "emotion_cnn.metrics.json"
    judge = MODELS / "emotion_cnn_votes.keras"
    draw(model_file, metrics_file, assets, options.toy_model, judge)
    print(f"Drawn into {assets.name}/.")


if __name__ == "__main__":
    try:
        main()
    except TutorialError as error:
        sys.exit(str(error))
