"""Train the lesson's network and save it: python train_model.py --output emotion_model.h5"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from app import arguments


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Return the options. TensorFlow is imported later, so that --help is there at once."""
    parser = argparse.ArgumentParser(
        description="Train the lesson's network with augmentation, class weights, early stopping "
        "and a falling learning rate, then report on the test images.",
        epilog="Interrupted with Ctrl-C or switched off? The same command with --resume goes on.",
    )
    parser.add_argument(
        "--data",
        type=arguments.path,
        help="a zip, a folder with train/ and test/, or a folder of class folders "
        "(default: what TUTORIAL_DATASET or dataset/ holds)",
    )
    parser.add_argument(
        "--pad", action="store_true", help="keep pictures that are not square whole, between bars"
    )
    parser.add_argument(
        "--by-subject",
        action="store_true",
        help="never split the pictures of one folder below a class, such as those of one person",
    )
    parser.add_argument(
        "--epochs",
        type=arguments.whole_number(1),
        default=40,
        help="at most so many rounds through the images; it stops when it no longer gets better "
        "(default: 40)",
    )
    parser.add_argument(
        "--output",
        type=arguments.path,
        default=Path("emotion_model.h5"),
        help="where the model goes, as .keras or .h5 by its ending; an earlier one is kept as "
        ".previous (default: emotion_model.h5)",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with a training that was interrupted, or with more --epochs than before",
    )
    parser.add_argument(
        "--images",
        type=arguments.whole_number(1),
        help="train on so many images only, to try things out",
    )
    parser.add_argument(
        "--batch-size",
        type=arguments.whole_number(1),
        default=64,
        help="images per step (default: 64)",
    )
    parser.add_argument(
        "--seed",
        type=arguments.seed,
        default=42,
        help="another number, another training (default: 42)",
    )
    return parser.parse_args(argv)


def run(options: argparse.Namespace) -> None:
    """Train, save, report. Raises TutorialError with a sentence for the user."""
    from sklearn.metrics import classification_report, confusion_matrix

    from fetch import loading, sources
    from helpers import augment, data, evaluation, models, networks
    from training import trainer

    output = models.check_output(options.output)
    reading = {"pad": options.pad, "by_subject": options.by_subject}
    if options.data:
        source = sources.locate(options.data)
        print(source.message)
        dataset = loading.load(source, **reading)
        print(*loading.report(dataset), sep="\n")
    else:
        dataset = loading.load_dataset(**reading)
    n_classes = len(dataset.classes)
    learn, validation = data.learning_split(
        dataset, seed=options.seed, by_subject=options.by_subject
    )
    if options.images:
        learn = data.subset(learn, options.images, seed=options.seed)
    others = f"{len(validation):,} others"
    print(f"Training on {len(learn):,} images, choosing the best epoch on {others}.")

    model = networks.build_cnn(n_classes, seed=options.seed)
    history = trainer.train(
        model,
        learn,
        validation,
        epochs=options.epochs,
        output=output,
        info=models.describe(dataset),
        class_weight=data.class_weights(learn.labels, n_classes, power=0.5),
        augment=augment.random_affine,
        batch_size=options.batch_size,
        resume=options.resume,
        seed=options.seed,
    )
    for epoch, what in history.events:
        print(f"epoch {epoch}: {what}")

    predicted = evaluation.predict(model, dataset.test.images).argmax(axis=1)
    print(f"\nOn the {len(dataset.test):,} test images of {dataset.name}:\n")
    print(
        classification_report(
            dataset.test.labels,
            predicted,
            labels=range(n_classes),
            target_names=dataset.classes,
            digits=3,
            zero_division=0,
        )
    )
    title = f"{output.name} on the test images of {dataset.name}"
    counts = confusion_matrix(dataset.test.labels, predicted, labels=range(n_classes))
    picture = output.with_name(f"{output.stem}_confusion_matrix.png")
    draw(counts, dataset.classes, title, picture)
    print(f"Saved {output}, {models.sidecar_path(output).name} and {picture.name}.")
    if not history.stopped:
        print("To train longer: the same command with --resume and more --epochs.")


def draw(counts, classes: tuple[str, ...], title: str, picture: Path) -> None:
    """Save the confusion matrix, and say so where no font has all the letters of its names."""
    import warnings

    from helpers import plots

    plots.style()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        plots.confusion_matrix(counts, classes, title=title).figure.savefig(picture, dpi=120)
    if any("missing from font" in str(warning.message) for warning in caught):
        print(f"Boxes in {picture.name} are letters that no font here has: install one, as Noto.")


def main(argv: list[str] | None = None) -> int:
    """Return 0, 1 after an error that the user can put right, or 130 after Ctrl-C."""
    arguments.print_anything()
    options = parse(argv)
    from helpers import TutorialError

    try:
        run(options)
    except TutorialError as error:
        print(error, file=sys.stderr)
        return 130 if type(error).__name__ == "TrainingInterrupted" else 1
    except KeyboardInterrupt:
        print("Stopped before anything was trained.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
