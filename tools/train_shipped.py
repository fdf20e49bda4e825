"""Train the two networks that the project ships, in two steps, from FER-2013 alone.

    python tools/train_shipped.py labels
    python tools/train_shipped.py votes --start runs/emotion_cnn.keras

*labels* is the recipe of lesson 8, for 114 epochs: some two and a half hours on two cores that
compute in bfloat16. A teacher comes first, a network of the same kind, trained for fewer epochs;
then the network itself learns from the labels and, in equal parts, from the teacher's answers.
*votes* goes on from there (without --start: from the shipped network) with what ten people said of
each image for a teacher, and then moves the last layer's bias: logit adjustment (Menon and others,
2021), as lesson 10 shows it.

Only training images are used, and a tenth of those is kept aside, for every choice. After every
epoch a checkpoint is written in runs/, and the same command goes on from there.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.metrics import accuracy_score, f1_score, log_loss

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # for an environment without the `-e .` of requirements.txt

from fetch.loading import load, load_dataset
from fetch.votes import count_votes, vote_shares
from helpers import MODELS, RUNS, TutorialError, evaluation
from helpers.data import Dataset, Split, clean_split
from helpers.models import describe, load_model, read_sidecar, save_model
from training.recipe import SHIPPED, VOTES, Recipe
from training.train_by_recipe import teacher_probabilities, train_recipe
from training.trainer import save_trained

TEACHER = replace(SHIPPED, epochs=46, small=28, decay=14, mixup=0.0, teacher=0.0)
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the adjustment


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


def by_labels(data: Dataset, options: argparse.Namespace) -> None:
    """Train a teacher, unless one is named, and the network by labels; save it."""
    learn, aside = clean_split(data.train)
    n_classes, epochs = len(data.classes), options.epochs or SHIPPED.epochs
    if options.start:
        teacher, _ = load_model(options.start)
    else:
        print("The teacher:")
        recipe = shortened(TEACHER, max(1, round(epochs * TEACHER.epochs / SHIPPED.epochs)))
        place = RUNS / "shipped_teacher.keras"
        teacher, _ = train_recipe(recipe, learn, aside, n_classes, output=place)
    soft = teacher_probabilities(teacher, learn.images)
    print("The network:")
    recipe, output = shortened(SHIPPED, epochs), options.output or RUNS / "emotion_cnn.keras"
    model, history = train_recipe(recipe, learn, aside, n_classes, output=output, teacher=soft)
    history = replace(history, settings={"script": Path(__file__).name} | history.settings)
    save_trained(model, output, describe(data), history, kept=-1)
    accuracy = history.log["val_accuracy"][-1]
    print(f"Saved {output}: {accuracy:.1%} of {len(aside):,} images kept aside, by label.")


def voted(data: Dataset, part: Split) -> tuple[Split, np.ndarray]:
    """Return the images with enough votes, and the votes' shares, float32 (n, classes)."""
    shares, enough = vote_shares(count_votes(data, part))
    return part.take(enough), shares[enough]


def adjusted(probabilities: np.ndarray, prior: np.ndarray, strength: float) -> np.ndarray:
    """Return probabilities (n, k) as if the classes were less unequal than in `prior` (k,)."""
    raised = probabilities / prior**strength
    return raised / raised.sum(axis=1, keepdims=True)


def choose_strength(probabilities: np.ndarray, truth: np.ndarray, prior: np.ndarray) -> float:
    """Return the strength with the highest macro F1 on images kept aside."""

    def score(strength: float) -> float:
        answers = adjusted(probabilities, prior, strength).argmax(axis=1)
        print(
            f"  adjusted by {strength}: accuracy {accuracy_score(truth, answers):.3f}, "
            f"macro F1 {f1_score(truth, answers, average='macro'):.3f}"
        )
        return f1_score(truth, answers, average="macro")

    return max(STRENGTHS, key=score)


def by_votes(data: Dataset, options: argparse.Namespace) -> None:
    """Train the network for photographs on from the other one, adjust it, and save it."""
    parts = clean_split(data.train)
    (learn, shares), (aside, aside_shares) = (voted(data, part) for part in parts)
    truth, prior = aside_shares.argmax(axis=1), shares.mean(axis=0)
    start, _ = load_model(options.start or MODELS / "emotion_cnn.keras", data.classes)
    recipe = shortened(VOTES, options.epochs or VOTES.epochs)
    output = options.output or RUNS / "emotion_cnn_votes.keras"
    model, history = train_recipe(
        recipe,
        learn,
        replace(aside, labels=truth),
        len(data.classes),
        output=output,
        teacher=shares,
        start=start,
    )
    given = evaluation.predict(model, aside.images)
    strength = choose_strength(given, truth, prior)
    last = model.layers[-1]
    last.bias.assign(last.bias - strength * np.log(prior))
    about = describe(data) | {"target": "votes", "adjusted_by": strength}
    history = replace(history, settings={"script": Path(__file__).name} | history.settings)
    save_trained(model, output, about, history, kept=-1)
    given = evaluation.predict(model, aside.images)
    scores = {
        "accuracy": float(accuracy_score(truth, given.argmax(axis=1))),
        "loss": float(log_loss(truth, given, labels=range(len(data.classes)))),
    }
    save_model(model, output, read_sidecar(output) | {"validation": scores})
    print(f"Saved {output}: {scores['accuracy']:.1%} of {len(aside):,} kept aside, by vote.")


STEPS = {"labels": by_labels, "votes": by_votes}


def main() -> None:
    about = {"description": __doc__, "formatter_class": argparse.RawDescriptionHelpFormatter}
    parser = argparse.ArgumentParser(**about)
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("--data", type=Path, help="FER-2013 (default: what dataset/ holds)")
    parser.add_argument("--epochs", type=int, help="default: the recipe's")
    parser.add_argument("--start", type=Path, help="labels: the teacher; votes: where to begin")
    parser.add_argument("--output", type=Path, help="default: runs/emotion_cnn[_votes].keras")
    options = parser.parse_args()
    if options.epochs is not None and options.epochs < 1:
        raise TutorialError("--epochs must be 1 or more.")
    STEPS[options.step](load(options.data) if options.data else load_dataset(), options)


if __name__ == "__main__":
    try:
        main()
    except TutorialError as error:
        sys.exit(str(error))
