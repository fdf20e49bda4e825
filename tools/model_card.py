"""Writes the figures of the shipped networks into models/README.md and README.md.

`python tools/score_shipped.py` calls it; with --pages it scores nothing and only writes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # for an environment without the `-e .` of requirements.txt

from helpers import TutorialError, replacing

# Settings that tell trainings apart, and tell a reader nothing.
DIGESTS = {"optimiser", "layers", "first weights", "images and labels", "targets"}
NETWORKS = {"label": "emotion_cnn", "vote": "emotion_cnn_votes"}  # what each learnt from
PARTS = {
    "private": "private half of the test set",
    "public": "public half of the test set",
    "test": "whole test set",
}
# Set beforehand for a single pass over the private half: by label for the one, by vote for the
# other. "Eight classes": FER+'s own test, in which each face of contempt counts as a miss.
BARS = {
    "label": {"accuracy": 0.725, "macro F1": 0.71, "recall of disgust": 0.70},
    "vote": {
        "accuracy": 0.85,
        "macro F1": 0.77,
        "recall of disgust": 0.60,
        "recall of fear": 0.60,
        "eight classes": 0.845,
    },
}
# Private accuracy; whole test set: accuracy, macro F1, recall of disgust, accuracy without copies.
OTHERS = {
    "the tutorial this grew from, as reported": (None, 0.50, 0.37, 0.01, None),
    "the network inside the package `fer` 25.10.3": (0.659, 0.656, 0.631, 0.56, 0.639),
    "big-Xception .54": (0.668, 0.661, 0.654, 0.65, 0.640),
}


def figure(value: float | None, interval: list | None = None, digits: int = 3) -> str:
    """Return ".671 (.660 to .682)"."""
    if value is None:
        return ""
    text = f"{value:.{digits}f}".removeprefix("0")
    if interval:
        low, high = (figure(end, digits=digits) for end in interval)
        text += f" ({low} to {high})"
    return text


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "|" + "".join(f" {cell} |" if cell else " |" for cell in line) for line in lines
    )


def rarest(metrics: dict) -> str:
    """Return the class with the fewest test images: in FER-2013, disgust."""
    rows = metrics["parts"]["test"]["single"]["per_class"]
    return min(rows, key=lambda name: rows[name]["support"])


def weakest(metrics: dict, part: str = "test") -> list[str]:
    """Return the two classes with the least recall, the least first."""
    rows = metrics["parts"][part]["single"]["per_class"]
    return sorted(
        (name for name in rows if rows[name]["support"]), key=lambda n: rows[n]["recall"]
    )[:2]


def mistaken_for(metrics: dict, name: str) -> tuple[str, float]:
    """Return what a class is most often mistaken for, and in which share of its images."""
    row = np.array(metrics["confusion"][metrics["classes"].index(name)], float)
    share = row / row.sum()
    share[metrics["classes"].index(name)] = -1
    return metrics["classes"][share.argmax()], float(share.max())


def results(metrics: dict) -> str:
    """Return the part of README.md between its markers."""
    test, private, rare = metrics["parts"]["test"], metrics["parts"]["private"], rarest(metrics)
    columns = ["private", "whole test set", "macro F1", f"recall of {rare}", "without the copies"]
    digits = (3, 3, 3, 2, 3)
    rows = []
    for name, (first, *rest) in OTHERS.items():
        shown = digits if first else (2,) * 5  # the tutorial reports two digits
        rows.append([name, *map(figure, (first, *rest), [None] * 5, shown)])
    whole = test["single"]
    values = [private["single"]["accuracy"], whole["accuracy"], whole["macro_f1"]]
    values += [whole["per_class"][rare]["recall"], whole["without_train_copies"]["accuracy"]]
    ours = "[the shipped network](models/README.md)"
    rows.append([ours, *map(figure, values, [None] * 5, digits)])
    rows.append(["people, roughly", ".65", "", "", "", ""])
    best = max(values[1] for values in OTHERS.values())
    low, high = test["single"]["accuracy_interval"]
    lead = "lies above" if low > best else "does not lie above"
    a, b = weakest(metrics)
    return "\n\n".join(
        [
            table(["network", *columns], rows),
            "The first three chose their checkpoint by the test images; the shipped network by "
            "training images alone ([log](models/README.md#log)). Its 95% interval on the whole "
            f"test set, {figure(low)} to {figure(high)}, {lead} the best of the others there, "
            f"{figure(best)}. [Photographs](benchmarks/results/photographs.md) are measured apart.",
            f"![The confusion matrix of the shipped network: {a} and {b} are found least often]"
            "(docs/assets/confusion_matrix.png)",
        ]
    )


def facts(metrics: dict) -> list[list[str]]:
    """Return the rows that say what the network is and how it was trained."""
    trained = metrics["trained"]
    settings = {k: v for k, v in (trained["settings"] or {}).items() if v is not None}
    validation = trained["validation"] or {}
    how = f"{trained['epochs']} epochs"
    if images := settings.pop("images", None):
        how += f" over {images:,} images"
    if trained["seconds"]:
        how += f", {trained['seconds'] / 60:,.0f} minutes"
    if machine := settings.pop("machine", trained["machine"]):
        how += f", {machine}"
    rows = [
        ["file", f"`{metrics['file']}`, {metrics['bytes'] / 1e6:.1f} MB, `{metrics['network']}`"],
        ["parameters", f"{metrics['parameters']:,}"],
        ["trained", how],
        ["settings", ", ".join(f"{k} {v}" for k, v in settings.items() if k not in DIGESTS)],
    ]
    if "accuracy" in validation:
        rows.append(["accuracy on training images kept aside", figure(validation["accuracy"])])
    return rows


def card(metrics: dict) -> str:
    """Return the part of models/README.md between its markers."""
    parts, rows = metrics["parts"], []
    for name, title in PARTS.items():
        part, copies = parts[name], parts[name]["copies_of_training_images"]
        for n, fresh in ((part["n"], False), (part["n"] - copies, True)):
            rows.append([title + ", new" * fresh, f"{n:,}"])
            for kind in ("single", "flip"):
                shown = part[kind]["without_train_copies"] if fresh else part[kind]
                for key in ("accuracy", "macro_f1"):
                    rows[-1].append(figure(shown[key], shown[f"{key}_interval"]))

    whole, private = parts["test"]["single"], parts["private"]["single"]
    per_class = []
    for name, row in whole["per_class"].items():
        values = (
            figure(row["recall"], row["recall_interval"]),
            *map(figure, (row["precision"], row["f1"])),
        )
        per_class.append([name, f"{row['support']:,}", *values])
    confused = []
    for name in weakest(metrics):
        other, share = mistaken_for(metrics, name)
        confused.append(f"**{name}**, taken for {other} in {share:.0%} of its images")

    error, temperature = whole["expected_calibration_error"], metrics["temperature"]
    passes = ["accuracy", "macro F1", "accuracy, flip", "macro F1, flip"]
    return "\n\n".join(
        [
            table(["", ""], facts(metrics)),
            'In brackets: the 95% interval of 1,000 bootstrap rounds. "New" leaves out the test '
            'images that are exact copies of a training image. "Flip" is the mean of the '
            "probabilities of each image and its mirror image; all else is a single pass.",
            table(["", "images", *passes], rows),
            bars(private, BARS["label"]),
            "### Class by class",
            table(["whole test set", "images", "recall", "precision", "F1"], per_class),
            f"Found least often: {'; '.join(confused)}.",
            "### How sure it is",
            f"The expected calibration error on the whole test set is {figure(error['before'])}, "
            f"and {figure(error['after'])} once the logits are divided by the temperature "
            f"{temperature['value']:.2f}, which comes from {temperature['from']}.",
            "### Log",
            log(metrics),
        ]
    )


def bars(measured: dict, wanted: dict[str, float]) -> str:
    """Return the sentence that says which bars were reached."""
    found = {"accuracy": measured["accuracy"], "macro F1": measured["macro_f1"]}
    found |= {f"recall of {name}": row["recall"] for name, row in measured["per_class"].items()}
    found["eight classes"] = measured.get("eight_classes", {}).get("accuracy")
    said = [
        f"{name} {figure(bar)} ({'reached' if found[name] >= bar else 'missed'}: "
        f"{figure(found[name])})"
        for name, bar in wanted.items()
        if found.get(name) is not None
    ]
    return f"The bars, set beforehand for a single pass over the private half: {', '.join(said)}."


def log(metrics: dict) -> str:
    """Return the table of all evaluations."""
    rows = []
    for row in metrics["evaluations"]:
        values = (
            f"{row['parameters']:,}",
            row["split"],
            *map(figure, (row["accuracy"], row["macro_f1"])),
        )
        rows.append([row["date"], f"`{row['network']}`", *values, row["note"]])
    head = ["date", "network", "parameters", "images", "accuracy", "macro F1", "note"]
    return f"Every evaluation of a frozen network on test images, by label:\n\n{table(head, rows)}"


def compared(both: dict[str, dict]) -> str:
    """Return the table of both networks by vote and by label: private half, single pass."""
    parts = [metrics["parts"]["private"] for metrics in both.values()]
    voted = [part["by_vote"] for part in parts]
    rows = []
    for what, found in (("vote", voted), ("label", [part["single"] for part in parts])):
        for title, key in (("accuracy", "accuracy"), ("macro F1", "macro_f1")):
            values = [figure(x[key], x[f"{key}_interval"]) for x in found]
            rows.append([f"{title} by {what}", f"{found[0]['n']:,}", *values])
    eight = [x["eight_classes"] for x in voted]
    values = [figure(x["accuracy"]) for x in eight]
    rows.append(["FER+'s eight classes, contempt always missed", f"{eight[0]['n']:,}", *values])
    for name, of in voted[0]["per_class"].items():
        values = [figure(x["per_class"][name]["recall"]) for x in voted]
        rows.append([f"{name}: recall by vote", f"{of['support']:,}", *values])
    names = [f"`{NETWORKS[what]}`, learnt from {what}s" for what in both]
    return table(["private half, single pass", "images", *names], rows)


def in_short(both: dict[str, dict]) -> str:
    """Return what README.md says of the network for photographs."""
    label, vote = (metrics["parts"]["private"] for metrics in both.values())
    met, score = zip(
        *((p["by_vote"]["accuracy"], p["by_vote"]["macro_f1"]) for p in (vote, label)), strict=True
    )
    return (
        "For photographs and the webcam [a second network](models/README.md"
        "#the-network-for-photographs) learnt from ten people's votes. By their majority it is "
        f"right in {figure(met[0])} of the private half (macro F1 {figure(score[0])}), the other "
        f"in {figure(met[1])} ({figure(score[1])}); by label, in "
        f"{figure(vote['single']['accuracy'])}."
    )


def votes_card(both: dict[str, dict]) -> str:
    """Return the part of models/README.md about the network for photographs."""
    metrics = both["vote"]
    strength = metrics["adjusted_by"]
    return "\n\n".join(
        [
            table(["", ""], [*facts(metrics), ["adjusted by", f"{strength:g} of the log prior"]]),
            compared(both),
            bars(metrics["parts"]["private"]["by_vote"], BARS["vote"]),
            log(metrics),
        ]
    )


def fill(path: Path, marker: str, text: str) -> None:
    """Replace what stands between `<!-- marker -->` and `<!-- /marker -->`, and nothing else.

    Raises:
        TutorialError: if the page has not exactly one such pair.
    """
    first, last = f"<!-- {marker} -->", f"<!-- /{marker} -->"
    page = path.read_text("utf-8")
    if page.count(first) != 1 or page.count(last) != 1 or page.index(last) < page.index(first):
        raise TutorialError(f"{path.name} needs one {first} and, after it, one {last}: add them.")
    before, rest = page.split(first)
    with replacing(path) as partial:
        partial.write_text(
            f"{before}{first}\n\n{text}\n\n{last}{rest.split(last)[1]}",
            encoding="utf-8",
            newline="\n",
        )


def publish(both: dict[str, dict], model_card: Path, readme: Path) -> None:
    """Write the figures of the network by labels, and of the one by votes, into both pages."""
    if not all("parts" in metrics for metrics in both.values()):
        raise TutorialError("The metrics hold no figures yet: score the network first.")
    fill(model_card, "figures", card(both["label"]))
    fill(readme, "results", results(both["label"]))
    if "vote" in both:
        fill(model_card, "votes", votes_card(both))
        fill(readme, "votes", in_short(both))
