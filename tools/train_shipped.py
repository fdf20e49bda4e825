"""Train the network that the project ships: python tools/train_shipped.py

The recipe of lesson 8, for 114 epochs: some two and a half hours on two cores, reckoned from its
parts. A teacher comes first, a network of the same kind, trained for fewer epochs; then the
network itself learns from the labels and, in equal parts, from the teacher's answers. Only
training images are used, and a tenth of those is kept aside. After every epoch a checkpoint is
written in runs/, and the same command goes on from there.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # for an environment without the `-e .` of requirements.txt

from fetch.loading import load, load_dataset
from helpers import RUNS, TutorialError
from helpers.data import clean_split
from helpers.models import describe, load_model
from training.recipe import SHIPPED, Recipe
from training.train_by_recipe import teacher_probabilities, train_recipe
from training.trainer import save_trained

TEACHER = replace(SHIPPED, epochs=46, small=28, decay=14, mixup=0.0, teacher=0.0)


def shortened(recipe: Recipe, epochs: int) -> Recipe:
    """Return the recipe for another number of epochs, its parts in proportion."""
    part = epochs / recipe.epochs
    return replace(
        recipe,
        epochs=epochs,
        small=round(recipe.small * part),
        decay=max(1, round(recipe.decay * part)),
        warm_up=min(recipe.warm_up, epochs // 2),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="FER-2013 (default: what dataset/ holds)")
    parser.add_argument("--epochs", type=int, default=SHIPPED.epochs)
    parser.add_argument("--teacher", type=Path, help="a model file (default: train one first)")
    parser.add_argument("--output", type=Path, default=RUNS / "emotion_cnn.keras")
    options = parser.parse_args()
    if options.epochs < 1:
        raise TutorialError("--epochs must be 1 or more.")

    data = load(options.data) if options.data else load_dataset()
    learn, validation = clean_split(data.train)
    n_classes = len(data.classes)
    if options.teacher:
        teacher, _ = load_model(options.teacher)
    else:
        print("The teacher:")
        recipe = shortened(TEACHER, max(1, round(options.epochs * TEACHER.epochs / SHIPPED.epochs)))
        place = RUNS / "shipped_teacher.keras"
        teacher, _ = train_recipe(recipe, learn, validation, n_classes, output=place)
    soft = teacher_probabilities(teacher, learn.images)
    print("The network:")
    model, history = train_recipe(
        shortened(SHIPPED, options.epochs),
        learn,
        validation,
        n_classes,
        output=options.output,
        teacher=soft,
    )
    history = replace(history, settings={"script": Path(__file__).name} | history.settings)
    save_trained(model, options.output, describe(data), history, kept=-1)
    accuracy = history.log["val_accuracy"][-1]
    print(f"Saved {options.output}: {accuracy:.1%} on {len(validation):,} images kept aside.")


if __name__ == "__main__":
    try:
        main()
    except TutorialError as error:
        sys.exit(str(error))
