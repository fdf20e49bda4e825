"""From the lesson's network to the shipped one, one change at a time: python benchmarks/steps.py

Every row adds one change to the row above it and is trained with three seeds, all with the same
few images and epochs. What is measured is a small budget: a change that needs time to pay can
look useless here. A run that is in the result already is not repeated, so a benchmark that was
stopped goes on where it was.
"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, replace

import numpy as np
import report

from helpers import MODELS, SEED
from helpers.data import Split, clean_split, subset
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


def row(label: str, recipe: Recipe, runs: list[dict]) -> dict:
    figures = ("accuracy", "macro_f1", "recall_of_the_rarest", "processor_seconds")
    return {
        "change": label,
        **{figure: report.spread([run[figure] for run in runs]) for figure in figures},
        "seeds": len(runs),
        "runs": runs,
        "recipe": [asdict(recipe)],  # a list, so that it stays out of the table
    }


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    if options.quick:
        options.images, options.epochs, options.seeds = 60, 2, 1
    steps = STEPS[:2] if options.quick else STEPS
    data, to = report.dataset(options), report.folder(options)
    learn, validation = clean_split(data.train)
    learn = subset(learn, options.images)
    validation = subset(validation, 200 if options.quick else 100_000)
    budget = {"images": len(learn), "epochs": options.epochs, "kept_aside": len(validation)}
    teacher, info = load_model(MODELS / "emotion_cnn.keras")
    fits = info["classes"] == list(data.classes)
    wanted = fits and not options.quick  # its row is not among the quick ones
    soft = teacher_probabilities(teacher, learn.images) if wanted else None
    if not fits:
        print(
            "The shipped network knows other classes, so the row with a teacher is left out.",
            file=sys.stderr,
        )
    about = {
        "title": "From the lesson's network to the shipped one, one change at a time",
        "data": data,
        "budget": budget,
        "notes": [
            f"Every row: {len(learn):,} training images, {options.epochs} epochs, "
            f"{len(validation):,} training images kept aside and scored. Median of the seeds, in "
            "brackets the lowest and the highest. A row adds its change to the row above it, "
            "unless it says what it is added to. The processor's seconds are those of all cores "
            "together, so that other work beside it hardly counts; scoring after every epoch is "
            "included."
        ],
    }
    done = {row["change"]: row["runs"] for row in report.earlier("steps", about, to)}
    rows = {}
    made = recipes(options.epochs)
    for seed in range(SEED, SEED + options.seeds):
        for name, _, base in steps:
            recipe = made[name]
            if recipe.teacher and not fits:
                continue
            label = f"{base}, but {name}" if base else name
            runs = done.setdefault(label, [])
            if seed not in [run["seed"] for run in runs]:
                print(f"{label}, seed {seed}:", file=sys.stderr, flush=True)
                seeded = replace(recipe, seed=seed)
                runs.append(measure(seeded, learn, validation, data.classes, soft))
            rows[label] = row(label, recipe, runs)
            report.write("steps", list(rows.values()), about, to, show=False)
    report.write("steps", list(rows.values()), about, to)


if __name__ == "__main__":
    report.run(main)
