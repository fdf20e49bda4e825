"""Say which expression each face in a picture shows: python predict_image.py photo.jpg"""

from __future__ import annotations

import argparse
import contextlib
import glob
import json
import sys
from pathlib import Path

from PIL import Image

from app import arguments


def expand(names: list[Path]) -> list[Path]:
    """Return the files meant: a folder stands for its pictures, a pattern for what it matches.

    Windows hands patterns such as *.jpg over as they are; square brackets are none, as folders
    may be called so. What matches nothing is kept, so that it is reported by name.
    """
    from helpers import TutorialError
    from helpers.pictures import HEIC, is_junk, is_picture

    paths = []
    for path in names:
        if path.is_dir():
            try:
                files = sorted(file for file in path.iterdir() if not is_junk(file.name))
            except OSError as error:
                raise TutorialError(f"{path} cannot be read: {error.strerror}.") from error
            inside = [f for f in files if is_picture(f.name) or f.name.lower().endswith(HEIC)]
            paths += inside or [path]
            if others := len(files) - len(inside):
                print(f"Left aside in {path}: {others} that are no pictures, folders among them.")
        elif path.exists():
            paths.append(path)
        else:
            pattern = str(path).replace("[", "[[]")
            paths += [Path(match) for match in sorted(glob.glob(pattern))] or [path]  # noqa: PTH207
    return paths


def predict_file(path: Path, model, classes: list[str], whole: bool) -> dict:
    """Return `{file, faces: [{box, expression, probabilities, warnings}]}`, or `{file, error}`.

    A box is [left, top, right, bottom] in pixels of the file, seen upright.
    """
    from helpers import TutorialError, faces, pictures

    try:
        if path.is_dir():
            raise TutorialError(f"{path} is a folder without pictures; name a picture.")
        picture = pictures.open_picture(path)
        found = [faces.whole_image(picture)] if whole else faces.find_faces(picture)
        probabilities = faces.classify(model, found)
        with Image.open(path) as file:  # large pictures are shrunk when they are opened
            scale = max(file.size) / max(picture.size)
    except TutorialError as error:
        return {"file": str(path), "error": str(error)}
    except (OSError, MemoryError) as error:
        return {"file": str(path), "error": f"{path} could not be read: {error}"}
    return {
        "file": str(path),
        "faces": [
            {
                "box": [round(value * scale) for value in face.box],
                "expression": classes[p.argmax()],
                "probabilities": {c: round(float(v), 6) for c, v in zip(classes, p, strict=True)},
                "warnings": faces.warnings(face),
            }
            for face, p in zip(found, probabilities, strict=True)
        ],
    }


def describe(result: dict) -> str:
    """Return one file's result as text."""
    from helpers import faces

    if "error" in result:
        return f"{result['file']}: {result['error']}"
    if not result["faces"]:
        return f"{result['file']}: no face was found; if it is one, add --whole-image."
    lines = [f"{result['file']}:"]
    for number, face in enumerate(result["faces"], start=1):
        names, values = list(face["probabilities"]), list(face["probabilities"].values())
        lines.append(f"  face {number} at {face['box']} {faces.in_words(values, names)}")
        lines.append("    " + "  ".join(f"{n} {v:.1%}" for n, v in zip(names, values, strict=True)))
        lines += [f"    {sentence}" for sentence in face["warnings"]]
    return "\n".join(lines)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Return the options. TensorFlow is imported later, so that --help is there at once."""
    parser = argparse.ArgumentParser(
        description="Say which expression each face in a picture appears to show. A face shows an "
        "expression, not a feeling: for your own pictures, never to judge people.",
    )
    parser.add_argument(
        "images",
        nargs="+",
        type=arguments.path,
        metavar="IMAGE",
        help="a picture, folder or pattern",
    )
    parser.add_argument(
        "--model", type=arguments.path, help="a .keras or .h5 file (default: the best found)"
    )
    parser.add_argument(
        "--classes",
        type=arguments.class_names,
        metavar="A,B,...",
        help="what the model's outputs stand for, in their order, where no file beside it says so "
        "(default: FER-2013's, in alphabetical order; made from its CSV file, many models have "
        "angry,disgust,fear,happy,sad,surprise,neutral)",
    )
    parser.add_argument(
        "--whole-image", action="store_true", help="take the whole picture for the face"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON value, nothing else")
    return parser.parse_args(argv)


def load(options: argparse.Namespace) -> tuple:
    """Return the model and its classes, and say which it is.

    Raises:
        TutorialError: if there is none, or it is no model.
    """
    from helpers import FER_CLASSES, TutorialError, faces, models
    from training import choose_model

    if not (path := options.model):
        if not (found := choose_model.model_for_photographs()):
            raise TutorialError(
                "There is no trained network yet: run `python train_model.py` first."
            )
        path = found[0].path
    model, info = models.load_model(path, FER_CLASSES, options.classes)
    learnt = "It learnt from ten people's votes. " if info.get("target") == "votes" else ""
    print(f"Network: {path}. {learnt}{faces.caution(info)}".strip())
    return model, info["classes"]


def main(argv: list[str] | None = None) -> int:
    """Return 0, 1 if no file could be read, or 130 after Ctrl-C."""
    arguments.print_anything()
    options, out, results = parse(argv), sys.stdout, []
    with contextlib.redirect_stdout(sys.stderr):  # whatever Keras and others print
        from helpers import TutorialError

        try:
            model, classes = load(options)
            for file in expand(options.images):
                results.append(predict_file(file, model, classes, options.whole_image))
                if not options.json:
                    print(describe(results[-1]), file=out, flush=True)
        except TutorialError as error:
            print(error, file=sys.stderr)
            if options.json:
                print(json.dumps({"error": str(error)}), file=out)
            return 1
        except KeyboardInterrupt:
            print("Stopped.", file=sys.stderr)
            return 130
    if options.json:
        print(json.dumps(results, indent=2))
    return int(all("error" in result for result in results))


if __name__ == "__main__":
    sys.exit(main())
