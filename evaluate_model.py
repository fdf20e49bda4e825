"""Score a saved model on test images: python evaluate_model.py --model emotion_model.h5"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys

from app import arguments


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Return the options. TensorFlow is imported later, so that --help is there at once."""
    parser = argparse.ArgumentParser(
        description="Score a saved model on test images: accuracy and, per class, precision, "
        "recall and F1; with and without the test images that are also in the training set.",
    )
    parser.add_argument(
        "--model",
        type=arguments.path,
        help="a .keras or .h5 file (default: the best that fits the images)",
    )
    parser.add_argument(
        "--classes",
        type=arguments.class_names,
        metavar="A,B,...",
        help="what the model's outputs stand for, in their order, where no file beside it says so "
        "(default: the classes of the images, in alphabetical order)",
    )
    parser.add_argument(
        "--data",
        type=arguments.path,
        help="a zip, a folder with train/ and test/, or a folder of class folders, which are then "
        "all test images (default: what TUTORIAL_DATASET or dataset/ holds)",
    )
    parser.add_argument(
        "--pad", action="store_true", help="keep pictures that are not square whole, between bars"
    )
    parser.add_argument(
        "--by-subject",
        action="store_true",
        help="where the model was trained so on the same folder, without test/",
    )
    parser.add_argument(
        "--split",
        choices=("test", "private", "public"),
        default="test",
        help="all test images, or one half of FER-2013's (default: test)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON value, nothing else")
    return parser.parse_args(argv)


def relabel(dataset, classes: tuple[str, ...], model_name: str):
    """Return the data set with labels that index the model's classes instead of its own.

    Only where there are no training images may it lack some of the classes.
    """
    from dataclasses import replace

    import numpy as np

    from helpers import TutorialError

    own = set(dataset.classes)
    if own != set(classes) and (len(dataset.train) or not own <= set(classes)):
        raise TutorialError(
            f"{model_name} was trained on the classes {', '.join(classes)}, but the images have "
            f"{', '.join(dataset.classes)}: name a model or images that fit."
        )
    index = np.array([classes.index(name) for name in dataset.classes], np.int64)
    train, test = (replace(s, labels=index[s.labels]) for s in (dataset.train, dataset.test))
    return replace(dataset, classes=classes, train=train, test=test)


def best_model(dataset):
    """Return the path of the best model for these images. Raises TutorialError if there is none."""
    from helpers import TutorialError
    from training import choose_model

    if not (found := choose_model.candidates(dataset)):
        raise TutorialError(
            f"There is no model of {dataset.name} yet: train one with train_model.py, or name one "
            "with --model."
        )
    return found[0].path


def classes_of(info: dict, name: str, outputs: int, dataset) -> tuple[str, ...]:
    """Return a model's classes, and say so where they are a guess or not those of the images."""
    from helpers import FER_CLASSES, TutorialError

    seen = info.get("data", {})
    if seen and "toy" in (seen["kind"], dataset.kind) and seen["kind"] != dataset.kind:
        print(f"Mind that {name} was trained on {seen['name']}, and this is {dataset.name}.")
    if info.get("classes"):
        return tuple(info["classes"])
    if outputs not in (len(dataset.classes), len(FER_CLASSES)):
        raise TutorialError(
            f"{name} gives {outputs} probabilities and does not name its classes, and the images "
            f"have {len(dataset.classes)}: choose images that fit, or name its own with --classes."
        )
    classes = dataset.classes if len(dataset.classes) == outputs else FER_CLASSES
    print(
        f"{name} does not name its classes: taking them for {', '.join(classes)}, in this order; "
        "name another with --classes."
    )
    return classes


def unseen(dataset, info: dict, by_subject: bool):
    """Return the data set without what the model has learnt from, where that can be told.

    Bare class folders are all test images, unless a model was trained on these very folders: it
    did not see a fifth of them, the same one each time.
    """
    from dataclasses import replace

    from helpers.data import fingerprint, grouped_split

    if not len(dataset.train):
        train, test = grouped_split(dataset.test, 0.2, by_subject=by_subject)
        if info.get("data", {}).get("fingerprint") == fingerprint(dataset.classes, train, test):
            print(
                f"The model learnt from these folders: only the {len(test):,} images that were "
                "kept aside are scored."
            )
            return replace(dataset, train=train, test=test)
    return dataset


def run(options: argparse.Namespace) -> tuple[dict, str]:
    """Return the result for --json, and the same as text with intervals.

    Raises:
        TutorialError: with a sentence for the user.
    """
    from fetch import loading, sources
    from helpers import data, evaluation, fer2013, models

    path, loaded = options.model, None
    if path:  # before many images are loaded for nothing
        loaded = models.load_model(path, named=options.classes)
    source = sources.locate(options.data) if options.data else sources.prepare()
    print(source.message)
    reading = {"pad": options.pad, "by_subject": options.by_subject}
    dataset = loading.load(source, bare_as="test", **reading)
    print(*loading.report(dataset), sep="\n")
    path = path or best_model(dataset)
    model, info = loaded or models.load_model(path, named=options.classes)
    classes = classes_of(info, path.name, model.output_shape[-1], dataset)
    dataset = unseen(dataset, info, options.by_subject)
    dataset = relabel(dataset, classes, path.name)
    part = dataset.test if options.split == "test" else fer2013.halves(dataset.test)[options.split]
    if info.get("target") == "votes":
        print(
            f"{path.name} learnt from ten people's votes, so labels that lose the vote count "
            "against it here; models/README.md has its figures by vote."
        )
    print(f"Predicting {len(part):,} images with {path} ...")
    probabilities = evaluation.predict(model, part.images)
    figures = evaluation.scores(part.labels, probabilities, dataset.classes)
    result = {"split": options.split, **figures, "without_train_copies": None}
    title = f"{path.name} on {dataset.name}, {options.split}"
    text = table(title, part.labels, probabilities, classes)
    if len(dataset.train):
        fresh = ~data.copies_of(part.images, dataset.train.images)
        rest = part.labels[fresh], probabilities[fresh], classes
        result["without_train_copies"] = evaluation.scores(*rest)
        copies = f"Without the {(~fresh).sum():,} that are also training images"
        text += "\n\n" + "\n".join(table(copies, *rest).splitlines()[:3])
    return result, text


def table(title: str, labels, probabilities, classes: tuple[str, ...]) -> str:
    """Return the scores as text, with 95% bootstrap intervals."""
    import numpy as np

    from helpers import evaluation

    if not len(labels):
        return f"{title}: no images."
    result = evaluation.scores(labels, probabilities, classes)
    ends = evaluation.intervals(labels, probabilities, len(classes))
    spans = [f"({low:.3f} to {high:.3f})" if np.isfinite(low) else "" for low, high in ends]
    wide = max(8, *map(len, classes))
    lines = [
        f"{title}: {result['n']:,} images (in brackets: 95% bootstrap interval)",
        f"  {'accuracy':{wide}} {result['accuracy']:.3f} {spans[0]}",
        f"  {'macro F1':{wide}} {result['macro_f1']:.3f} {spans[1]}",
        f"  {'':{wide}} {'recall':22} precision     F1  images",
    ]
    for (name, row), span in zip(result["per_class"].items(), spans[2:], strict=True):
        keys = ("recall", "precision", "f1")
        recall, precision, f1 = ("-" if row[k] is None else f"{row[k]:.3f}" for k in keys)
        found = f"{recall} {span}"
        lines.append(f"  {name:{wide}} {found:22} {precision:>9} {f1:>6} {row['support']:>7,}")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Return 0, 1 after an error that the user can put right, or 130 after Ctrl-C."""
    arguments.print_anything()
    options, out = parse(argv), sys.stdout
    try:
        with contextlib.redirect_stdout(sys.stderr):  # whatever Keras and others print
            from helpers import TutorialError

            try:
                result, text = run(options)
            except TutorialError as error:
                print(error, file=sys.stderr)
                return 1
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
    print(json.dumps(result, indent=2) if options.json else text, file=out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
