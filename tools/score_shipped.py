"""Score a shipped network on FER-2013's test images, once: python tools/score_shipped.py

Writes the metrics beside the model (--model names the other one) and, from those of both, the
figures in models/README.md and README.md. A network is told by the hash of its file. Every
evaluation stays in the log inside its metrics; a network that is in it already is scored again
only for a reason (--again).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
from scipy.special import softmax
from sklearn.metrics import confusion_matrix

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # for an environment without the `-e .` of requirements.txt

import calibration

from fetch.loading import load, load_dataset
from fetch.votes import count_votes, vote_shares, winners
from helpers import MODELS, TutorialError, evaluation, replacing
from helpers.data import Dataset, Split, clean_split, copies_of
from helpers.fer2013 import halves
from helpers.models import indented, load_model
from tools.model_card import NETWORKS, PARTS, figure, publish


def file_hash(path: Path) -> str:
    """Return the first 16 hexadecimal digits of a file's SHA-256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def read_metrics(path: Path) -> dict:
    """Return what the metrics file holds; an empty log where there is none.

    Raises:
        TutorialError: if it is damaged, because a new one would lose the log.
    """
    try:
        return json.loads(path.read_text("utf-8")) if path.exists() else {"evaluations": []}
    except ValueError as error:
        raise TutorialError(f"{path} is damaged ({error}): restore it, it holds the log.") from None


def soften(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return softmax(log(p) / T)."""
    logits = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny), dtype=float)
    return softmax(logits / temperature, axis=1)


def measure(labels: np.ndarray, probabilities: np.ndarray, classes, temperature: float) -> dict:
    """Return `evaluation.scores` with 95% intervals, and the calibration error before and after."""
    result = evaluation.scores(labels, probabilities, classes)
    ends = evaluation.intervals(labels, probabilities, len(classes))
    spans = [[float(x) for x in pair] if np.isfinite(pair).all() else None for pair in ends]
    result |= {"accuracy_interval": spans[0], "macro_f1_interval": spans[1]}
    for row, span in zip(result["per_class"].values(), spans[2:], strict=True):
        row["recall_interval"] = span
    result["expected_calibration_error"] = {
        "before": calibration.calibration_error(labels, probabilities),
        "after": calibration.calibration_error(labels, soften(probabilities, temperature)),
    }
    return result


def find_temperature(model, info: dict, data: Dataset) -> dict:
    """Return the temperature and where it comes from: the sidecar, or images kept aside.

    Raises:
        TutorialError: if the images kept aside are not those that the sidecar has scored.
    """
    if "temperature" in info:
        return {"value": float(info["temperature"]), "from": "the model's sidecar"}
    check = clean_split(data.train)[1]
    if info.get("target") == "votes":
        shares, enough = vote_shares(count_votes(data, check))
        check = replace(check.take(enough), labels=shares[enough].argmax(axis=1))
    given = evaluation.predict(model, check.images)
    accuracy = float(np.mean(given.argmax(axis=1) == check.labels))
    stated = info.get("validation", {}).get("accuracy", accuracy)
    if abs(accuracy - stated) > 0.01:
        raise TutorialError(
            f"The images kept aside give {accuracy:.3f} where the sidecar says {stated:.3f}, so "
            'they are others: write the "temperature" into the sidecar.'
        )
    return {
        "value": calibration.temperature(check.labels, given),
        "from": f"{len(check):,} training images kept aside",
        "accuracy_there": accuracy,
    }


def by_vote(part: Split, data: Dataset, probabilities: np.ndarray) -> dict | None:
    """Return how well the majority of ten people is met, or None for data without votes.

    Seven classes: of the images with three votes that count and one winner. Eight: of those
    where one of FER+'s eight expressions, contempt among them, has more votes than all else.
    """
    try:
        counts = count_votes(data, part)
    except TutorialError:
        return None
    clear, truth = winners(vote_shares(counts)[0])
    given = probabilities[clear]
    result = evaluation.scores(truth, given, data.classes)
    ends = evaluation.intervals(truth, given, len(data.classes))[:2]
    result |= {"accuracy_interval": ends[0].tolist(), "macro_f1_interval": ends[1].tolist()}
    clear, most = winners(np.where(counts > 1, counts, 0))
    eight = most <= len(data.classes)  # contempt is the first of OTHERS
    met = (most == probabilities[clear].argmax(axis=1))[eight]
    return result | {"eight_classes": {"n": int(eight.sum()), "accuracy": float(met.mean())}}


def bins(labels: np.ndarray, probabilities: np.ndarray) -> dict:
    """Return the bins of the reliability diagram as plain lists; None where one is empty."""
    found = calibration.calibration(labels, probabilities)
    return {
        name: [None if np.isnan(x) else x for x in values.tolist()]
        for name, values in zip(("confidence", "accuracy", "count"), found, strict=True)
    }


def evaluate(model, info: dict, data: Dataset) -> dict:
    """Return all figures of a network on the test images, single pass and flip average."""
    temperature = find_temperature(model, info, data)  # before any test image is looked at
    test, classes, value = data.test, data.classes, temperature["value"]
    everything = np.arange(len(test))
    # In place of its label, each image carries its number.
    numbered = halves(replace(test, labels=everything))
    which = {name: part.labels for name, part in numbered.items()} | {"test": everything}
    new = ~copies_of(test.images, data.train.images)
    single = evaluation.predict(model, test.images)
    mirrored = evaluation.predict(model, test.images[:, :, ::-1])
    passes, parts = {"single": single, "flip": (single + mirrored) / 2}, {}
    for name in PARTS:
        here = which[name]
        fresh = here[new[here]]
        parts[name] = {"n": len(here), "copies_of_training_images": len(here) - len(fresh)}
        for kind, given in passes.items():
            parts[name][kind] = measure(test.labels[here], given[here], classes, value) | {
                "without_train_copies": measure(test.labels[fresh], given[fresh], classes, value)
            }
        parts[name]["by_vote"] = by_vote(test.take(here), data, single[here])
    return {
        "classes": list(classes),
        "parameters": model.count_params(),
        "data": info.get("data"),
        "target": info.get("target", "labels"),
        "adjusted_by": info.get("adjusted_by"),
        "trained": {k: info.get(k) for k in ("settings", "epochs", "validation", "held_out")}
        | {"seconds": info.get("history", {}).get("seconds"), "machine": info.get("machine")},
        "temperature": temperature,
        "parts": parts,
        "confusion": confusion_matrix(
            test.labels, single.argmax(axis=1), labels=range(len(classes))
        ).tolist(),
        "reliability": {
            "before": bins(test.labels, single),
            "after": bins(test.labels, soften(single, value)),
        },
    }


def score(model_file: Path, data: Path | None, metrics_file: Path, again: str = "") -> dict:
    """Evaluate a frozen network, and write metrics and log.

    Args:
        model_file: with its sidecar.
        data: a zip or folder; None takes what dataset/ holds.
        metrics_file: its log is kept, all else is replaced.
        again: the reason to score a network that is in the log already.

    Returns:
        What was written.

    Raises:
        TutorialError: if the network is in the log and there is no reason, or the images are
            not those that it was made for.
    """
    model, info = load_model(model_file)
    network, log = file_hash(model_file), read_metrics(metrics_file)["evaluations"]
    earlier = [row["date"] for row in log if row["network"] == network]
    if earlier and not again:
        raise TutorialError(
            f"{model_file.name} ({network}) was scored on {earlier[-1]} already: to score it once "
            'more, say why with --again "reason"; the log will show it.'
        )
    dataset = load(data) if data else load_dataset()
    made_for = info.get("data", {}).get("fingerprint")
    if made_for != dataset.fingerprint:
        raise TutorialError(
            f"{model_file.name} was trained on data {made_for}, and this is {dataset.fingerprint} "
            f"({dataset.name}): name the same with --data."
        )
    today = date.today().isoformat()
    result = {"file": model_file.name, "network": network, "date": today}
    result |= {"bytes": model_file.stat().st_size, **evaluate(model, info, dataset)}
    rows = [
        {
            "date": today,
            "network": network,
            "parameters": result["parameters"],
            "split": name,
            **{key: part["single"][key] for key in ("accuracy", "macro_f1")},
            "note": f"again: {again}" if earlier else "frozen, scored once",
        }
        for name, part in result["parts"].items()
    ]
    result["evaluations"] = log + rows
    with replacing(metrics_file) as partial:
        partial.write_text(as_json(result), encoding="utf-8")
    return json.loads(as_json(result))


def as_json(value) -> str:
    """Return indented JSON, floats to five decimals, and each innermost list on one line."""

    def shorter(x):
        if isinstance(x, dict):
            return {k: shorter(v) for k, v in x.items()}
        if isinstance(x, list):
            return [shorter(v) for v in x]
        return round(x, 5) if isinstance(x, float) else x

    return indented(shorter(value))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="FER-2013 (default: what dataset/ holds)")
    parser.add_argument("--model", type=Path, default=MODELS / "emotion_cnn.keras")
    parser.add_argument("--again", metavar="REASON", default="", help="score it once more")
    parser.add_argument("--pages", action="store_true", help="score nothing, only fill the pages")
    options = parser.parse_args()
    if not options.pages:
        metrics_file = MODELS / f"{options.model.stem}.metrics.json"
        metrics = score(options.model, options.data, metrics_file, options.again)
        for name, part in metrics["parts"].items():
            single, flip = (figure(part[k]["accuracy"]) for k in ("single", "flip"))
            print(f"{name}: {single}, with the mirror image {flip}")
    both = {what: MODELS / f"{name}.metrics.json" for what, name in NETWORKS.items()}
    both = {what: read_metrics(file) for what, file in both.items() if file.exists()}
    publish(both, MODELS / "README.md", ROOT / "README.md")


if __name__ == "__main__":
    try:
        main()
    except TutorialError as error:
        sys.exit(str(error))
