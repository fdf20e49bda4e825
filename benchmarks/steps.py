"""From the lesson's network to the shipped one, one change at a time: python benchmarks/steps.py

Every row adds one change to the row above it and is trained with three seeds, all with the same
few images and epochs. What is measured is a small budget: a change that needs time to pay can
look useless here. With --without, the whole recipe is trained on all images, and then again less
one change at a time: hours, into a table of its own. A run that is in the result already is not
repeated, so a benchmark that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict, replace

import numpy as np
import report

from helpers import MODELS, SEED
from helpers.data import Dataset, Split, clean_split, subset
from helpers.evaluation import predict, scores
from helpers.models import load_model
from training.recipe import LESSON, Recipe
from training.train_by_recipe import teacher_probabilities, train_recipe

# name, what changes, and which row it is added to: the one above, or the one named
STEPS = (
    ("the lesson's network", {}, None),
    ("residual blocks", {"network": "residual"}, None),
    ("bfloat16", {"fast": None}, None),
    ("normalised input", {"normalise": True}, None),
    (
        "AdamW, a higher rate that rises and falls",
        {
            "learning_rate": 1.5e-3,
            "weight_decay": 0.05,
            "warm_up": 1 / 12,
            "decay": 1 / 2,
        },
        None,
    ),
    ("averaged weights", {"average": 0.99}, None),
    ("smoothed labels", {"label_smoothing": 0.1}, None),
    ("small images first", {"small": 1 / 2}, None),
    ("stronger augmentation", {"augment": "strong"}, None),
    ("mixup", {"mixup": 0.2}, None),
    ("a teacher, the shipped network", {"teacher": 0.5}, None),
    ("no augmentation", {"augment": "none"}, "small images first"),
    ("no class weights", {"class_weight": 0.0}, "small images first"),
    ("full class weights", {"class_weight": 1.0}, "small images first"),
)

WHOLE = "the whole recipe"


def recipes(epochs: int) -> dict[str, Recipe]:
    """Return the recipe of each row; lengths in `STEPS` are parts of all epochs."""
    found: dict[str, Recipe] = {}
    last = replace(LESSON, epochs=epochs)
    for name, change, base in STEPS:
        lengths = {
            key: max(1, round(change[key] * epochs))
            for key in ("warm_up", "decay", "small")
            if key in change
        }
        last = replace(found[base] if base else last, **change | lengths)
        found[name] = last
    return found


def without(epochs: int) -> dict[str, Recipe]:
    """Return the whole recipe, and the same less one change at a time: that is as in lesson 4."""
    last = [name for name, _, base in STEPS if not base][-1]
    whole = replace(recipes(epochs)[last], average=Recipe().average)  # of thousands of steps
    found = {WHOLE: whole}
    for name, change, base in STEPS[1:]:
        if not base:
            back = {key: getattr(LESSON, key) for key in change}
            if "network" in back:
                back["small"] = 0  # all that the lesson's network can do
            found[f"without: {name}"] = replace(whole, **back)
    return found | {"without: class weights": replace(whole, class_weight=0.0)}


def measure(
    recipe: Recipe, learn: Split, validation: Split, classes: tuple[str, ...], teacher
) -> dict:
    """Train once; return the scores on the images kept aside, and the processor's seconds."""
    began = time.process_time()
    model, _ = train_recipe(
        recipe, learn, validation, len(classes), teacher=teacher if recipe.teacher else None
    )
    seconds = time.process_time() - began
    found = scores(validation.labels, predict(model, validation.images), classes)
    rarest = classes[np.bincount(learn.labels, minlength=len(classes)).argmin()]
    return {
        "seed": recipe.seed,
        "accuracy": found["accuracy"],
        "macro_f1": found["macro_f1"],
        "recall_of_the_rarest": found["per_class"][rarest]["recall"],
        "processor_seconds": seconds,
    }


def row(label: str, recipe: Recipe, runs: list[dict], whole: list[dict] = ()) -> dict:
    """Return a row; with runs of the whole recipe, how much more accurate those were, in pairs."""
    figures = ("accuracy", "macro_f1", "recall_of_the_rarest", "processor_seconds")
    pairs = [(w, run) for w in whole for run in runs if w["seed"] == run["seed"]]
    lost = [w["accuracy"] - run["accuracy"] for w, run in pairs]
    return {
        "change": label,
        **{figure: report.spread([run[figure] for run in runs]) for figure in figures},
        **({"accuracy_lost": report.spread(lost)} if lost else {}),
        "seeds": len(runs),
        "runs": runs,
        "recipe": [asdict(recipe)],  # a list, so that it stays out of the table
    }


def arguments() -> argparse.Namespace:
    parser = report.parser(__doc__)
    parser.add_argument("--without", action="store_true", help="the whole recipe less one change")
    parser.add_argument("--images", type=int, help="at most (default: 4000; all with --without)")
    parser.add_argument("--epochs", type=int, help="of each (default: 12; 40 with --without)")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    images, epochs = (10**6, 40) if options.without else (4000, 12)
    options.images, options.epochs = options.images or images, options.epochs or epochs
    if options.quick:
        options.images, options.epochs, options.seeds = 60, 2, 1
    return options


def main() -> None:
    options = arguments()
    data, to = report.dataset(options), report.folder(options)
    learn, validation = clean_split(data.train)
    learn = subset(learn, options.images)
    validation = subset(validation, 200 if options.quick else 100_000)
    if options.without:
        name, made = "steps_without", without(options.epochs)
    else:
        name, made = "steps", recipes(options.epochs)
        labels = {name: f"{base}, but {name}" if base else name for name, _, base in STEPS}
        made = {labels[step]: recipe for step, recipe in made.items()}
    teacher, info = load_model(MODELS / "emotion_cnn.keras")
    fits = info["classes"] == list(data.classes)
    if not fits:
        made = {label: replace(recipe, teacher=0.0) for label, recipe in made.items()}
        made = {label: recipe for label, recipe in made.items() if "a teacher" not in label}
        print("The shipped network knows other classes: nothing is taught by it.", file=sys.stderr)
    if options.quick:
        made = dict(list(made.items())[:2])
    taught = any(recipe.teacher for recipe in made.values())
    soft = teacher_probabilities(teacher, learn.images) if taught else None
    about = description(options, data, learn, validation)
    done = {row["change"]: row["runs"] for row in report.earlier(name, about, to)}
    rows = {}
    for seed in range(SEED, SEED + options.seeds):
        for label, recipe in made.items():
            runs = done.setdefault(label, [])
            if seed not in [run["seed"] for run in runs]:
                print(f"{label}, seed {seed}:", file=sys.stderr, flush=True)
                seeded = replace(recipe, seed=seed)
                runs.append(measure(seeded, learn, validation, data.classes, soft))
            rows[label] = row(label, recipe, runs, done.get(WHOLE, ()))
            report.write(name, list(rows.values()), about, to, show=False)
    report.write(name, list(rows.values()), about, to)


def description(options, data: Dataset, learn: Split, validation: Split) -> dict:
    """Return what `report.write` is told about the table."""
    reads, title = (
        (
            "A row takes one change back to what lesson 4 does; accuracy lost: how much better the "
            "whole recipe was with the same seed. (The teacher was trained by all of the recipe.)",
            "The whole recipe less one change at a time",
        )
        if options.without
        else (
            "A row adds its change to the row above it, unless it says what it is added to.",
            "From the lesson's network to the shipped one, one change at a time",
        )
    )
    return {
        "title": title,
        "data": data,
        "budget": {
            "images": len(learn),
            "epochs": options.epochs,
            "kept_aside": len(validation),
        },
        "notes": [
            f"Every row: {len(learn):,} training images, {options.epochs} epochs, "
            f"{len(validation):,} training images kept aside and scored. Median of the seeds, in "
            f"brackets the lowest and the highest. {reads} The processor's seconds are those of "
            "all cores together, so that other work beside it hardly counts; scoring after every "
            "epoch is included."
        ],
    }


if __name__ == "__main__":
    report.run(main)
