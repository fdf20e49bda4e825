"""Which network to score, and how good it is: predictions, scores, intervals, calibration."""

from __future__ import annotations

import functools
import hashlib
import re
import tempfile
import threading
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

import helpers
from helpers import IMAGE_SIZE, SEED, SUFFIXES, TutorialError, read_sidecar, replacing
from helpers.data import Dataset, grouped_split, subset

if TYPE_CHECKING:  # TensorFlow takes ten seconds to load: whoever needs none is spared it
    import keras


@dataclass(frozen=True)
class ModelFile:
    """A model on disk, its sidecar, and whether it is "shipped", "yours" or a "stand-in"."""

    path: Path
    info: dict
    origin: str


def model_for_photographs() -> list[ModelFile]:
    """Return all models that have a sidecar, by validation accuracy; those of toy faces last."""
    found = []
    # train_model.py saves beside RUNS if not told otherwise.
    for folder in (helpers.RUNS, helpers.RUNS.parent, helpers.MODELS):
        for path in sorted(folder.glob("*")):
            info = read_sidecar(path) if path.suffix in SUFFIXES else {}
            if info.get("classes") and info.get("data") and not path.stem.endswith(".previous"):
                origin = "shipped" if folder == helpers.MODELS else "yours"
                stand_in = path.name.startswith("stand_in-")
                found.append(ModelFile(path, info, "stand-in" if stand_in else origin))

    def rank(file: ModelFile) -> tuple[bool, float]:
        accuracy = file.info.get("validation", {}).get("accuracy", 0.0)
        return file.info["data"].get("kind") == "toy", -accuracy

    return sorted(found, key=rank)


def candidates(data: Dataset) -> list[ModelFile]:
    """Return the models that may be scored on this data, the best first.

    They have the same classes and were trained on the same data, or on another copy of FER-2013;
    a model of toy faces is never one for real faces, nor the other way round.
    """
    fer = {"fer2013", "altered"}
    return [
        file
        for file in model_for_photographs()
        if file.info["classes"] == list(data.classes)
        and (
            file.info["data"].get("fingerprint") == data.fingerprint
            or {file.info["data"].get("kind"), data.kind} <= fer
        )
    ]


def model_for(data: Dataset, prefer: str = "yours") -> tuple[keras.Model, ModelFile]:
    """Return a model to score on this data, and say which; train a stand-in if there is none.

    Args:
        data: its classes and kind decide what fits.
        prefer: "yours" or "shipped": which comes first where there are both.
    """
    from helpers.network import build_cnn
    from helpers.training import compile_model, describe, load_model, train

    order = [prefer, "yours", "shipped", "stand-in"]
    for file in sorted(candidates(data), key=lambda file: order.index(file.origin)):
        made_for = file.info.get("settings", {}).get("profile", helpers.profile())
        if file.origin == "stand-in" and made_for != helpers.profile():
            continue
        try:
            model, _ = load_model(file.path)
        except TutorialError as error:
            print(f"Left out: {error}")
            continue
        whose = {"yours": "your own", "shipped": "the shipped", "stand-in": "a quickly trained"}
        seen = file.info["data"].get("name")
        print(f"Using {whose[file.origin]} model, {file.path.name} (trained on {seen}).")
        return model, file

    n, epochs = helpers.pick(quick=(1500, 3), standard=(12_000, 4), full=(12_000, 4))
    learn, check = grouped_split(subset(data.train, n))
    print(
        f"There is no model of {data.name} yet: training a stand-in on {len(learn):,} images, "
        f"{helpers.pick(quick='seconds', standard='a minute or two', full='a minute or two')}. "
        "Notebook 04 trains a better one."
    )
    path = helpers.RUNS / f"stand_in-{data.kind}-{data.fingerprint}.keras"
    path.with_name(f"{path.name}.checkpoint.npz").unlink(missing_ok=True)
    # Neither class weights nor augmentation: both need far more steps before they pay.
    model = compile_model(build_cnn(len(data.classes)), 3e-4)
    info = describe(data) | {"settings": {"profile": helpers.profile()}}
    train(model, learn, check, epochs=epochs, output=path, info=info)
    return model, ModelFile(path, read_sidecar(path), "stand-in")


def _sides(model: keras.Model) -> list[int]:
    return [side or IMAGE_SIZE for side in model.input_shape[1:3]]  # None: any size


def predict(
    model: keras.Model,
    images: np.ndarray,
    batch_size: int = 256,
    run: Callable[[np.ndarray], np.ndarray] | None = None,
) -> np.ndarray:
    """Return the probabilities, float32 (n, k), of uint8 images (n, height, width).

    The network sees grey levels divided by 255. It is traced once, not once per call.

    Args:
        model: says what comes in and goes out, and is asked if there is no `run`.
        images: any number of them.
        batch_size: how many are answered at a time.
        run: what answers in the model's place.

    Raises:
        TutorialError: if the images are of another type or shape than the network takes.
    """
    h, w = _sides(model)
    if images.dtype != np.uint8 or images.shape[1:] != (h, w):
        raise TutorialError(
            f"predict() takes uint8 images of shape (n, {h}, {w}), not {images.dtype} "
            f"{images.shape}: pass the grey levels, 0 to 255, as they are."
        )
    result = np.zeros((len(images), model.output_shape[-1]), np.float32)
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size, ..., None].astype(np.float32) / 255
        result[start : start + batch_size] = (run or model.predict_on_batch)(batch)
    return result


def kept_features(
    model: keras.Model, images: np.ndarray, folder: Path | None = None, part: int = 512
) -> np.ndarray:
    """Return what `predict` does, (n, k), at half precision, and compute nothing twice.

    Each part of the images has a file of its own, named after the network, its weights and
    these images. An interrupted run loses one part at most.

    Args:
        model: gives features, for example.
        images: uint8 (n, height, width).
        folder: of the files; `RUNS`/features if not given.
        part: how many images a file holds the features of.

    Raises:
        TutorialError: if the images do not fit the network, or a file cannot be written.
    """
    from tqdm.auto import tqdm

    folder = folder or helpers.RUNS / "features"
    about = re.sub(r'_\d+"', '"', model.to_json())  # Keras numbers layers anew in every kernel
    network = hashlib.sha256(about.encode())
    for weight in model.get_weights():
        network.update(np.ascontiguousarray(weight))
    result = np.zeros((len(images), model.output_shape[-1]), np.float16)
    bar = tqdm(total=len(images), unit=" images", delay=2, leave=False)
    for start in range(0, len(images), part):
        some, key = images[start : start + part], network.copy()
        key.update(np.ascontiguousarray(some))
        path, found = folder / f"{key.hexdigest()[:24]}.npy", None
        with suppress(OSError, ValueError, EOFError):  # not there yet, or damaged
            found = np.load(path)
        if found is None or found.shape != (len(some), result.shape[1]):
            found = predict(model, some, batch_size=64).astype(np.float16)
            with replacing(path) as partial:
                folder.mkdir(parents=True, exist_ok=True)
                with partial.open("wb") as file:
                    np.save(file, found)
        result[start : start + part] = found
        bar.update(len(some))
    bar.close()
    return result.astype(np.float32)


def faster(model: keras.Model, kept: Path | None = None) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that answers as `predict` does, in a sixth of the time, on any thread.

    LiteRT runs the network with weights rounded to 8 bits: of the shipped network's answers to
    3,589 test images of FER-2013, 99.8% were the same, and no probability moved by more than 0.03
    (benchmarks/prediction.py). The first conversion takes seconds and is kept: in `RUNS`, if not
    said otherwise. What cannot be converted is answered by `predict`.
    """
    import tensorflow as tf

    slow = functools.partial(predict, model)
    try:
        weights = (weight.tobytes() for weight in model.get_weights())
        kept = kept or _place(model.to_json().encode(), *weights)
        with helpers.quiet_stderr():
            if run := _kept(kept):
                return functools.partial(slow, batch_size=64, run=run)
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                model.export(folder, verbose=False)
                converter = tf.lite.TFLiteConverter.from_saved_model(folder)
                converter.optimizations = [tf.lite.Optimize.DEFAULT]
                content = converter.convert()
            fast = functools.partial(slow, batch_size=64, run=_litert(content))
        noise = np.random.default_rng(SEED).integers(0, 256, (8, *_sides(model)), np.uint8)
        if not np.allclose(fast(noise), slow(noise), rtol=0, atol=0.1):
            return slow
        with suppress(OSError, TutorialError):  # a folder that is read-only
            kept.parent.mkdir(parents=True, exist_ok=True)
            with replacing(kept) as partial:
                partial.write_bytes(content + hashlib.sha256(content).digest())
        return fast
    except Exception:  # TensorFlow raises any kind, and LiteRT may be missing
        return slow


def load_faster(path: Path, classes: Sequence[str] = ()) -> tuple[Callable, dict]:
    """Return what `faster` makes of a model file, and its sidecar, as `training.load_model` does.

    From the second time on this loads no TensorFlow, which saves ten seconds and much memory. The
    shipped network's conversion lies beside it, so that it has no first time.
    """
    info, kept = read_sidecar(path), None
    if names := info.get("classes"):
        with suppress(Exception), helpers.quiet_stderr():
            kept = _place(Path(path).read_bytes(), repr(names).encode())
            for place in (kept, Path(path).parent / kept.name):
                if run := _kept(place):
                    network = SimpleNamespace(
                        input_shape=[None] * 4, output_shape=[None, len(names)]
                    )
                    return functools.partial(predict, network, batch_size=64, run=run), info
    from helpers.training import load_model

    model, info = load_model(path, classes)
    return faster(model, kept), info


def _place(*parts: bytes) -> Path:
    return helpers.RUNS / f"faster-{hashlib.sha256(b''.join(parts)).hexdigest()[:16]}.tflite"


def _kept(path: Path) -> Callable[[np.ndarray], np.ndarray] | None:
    kept = path.read_bytes() if path.is_file() else b""
    content, checksum = kept[:-32], kept[-32:]
    return _litert(content) if hashlib.sha256(content).digest() == checksum else None


def _litert(content: bytes) -> Callable[[np.ndarray], np.ndarray]:
    """Return what turns float32 (n, height, width, 1) into probabilities, on any thread."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter, lock = Interpreter(model_content=content), threading.Lock()
    interpreter.allocate_tensors()
    (takes,), (gives,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(batch: np.ndarray) -> np.ndarray:
        with lock:
            interpreter.resize_tensor_input(takes["index"], batch.shape)
            interpreter.allocate_tensors()
            interpreter.set_tensor(takes["index"], batch)
            interpreter.invoke()
            return interpreter.get_tensor(gives["index"])

    return run


def confusion_counts(labels: np.ndarray, predicted: np.ndarray, k: int) -> np.ndarray:
    """Return int (k, k): how many images of each true class (row) got each answer (column)."""
    return np.bincount(np.asarray(labels) * k + predicted, minlength=k * k).reshape(k, k)


def class_rates(labels: np.ndarray, predicted: np.ndarray, k: int) -> np.ndarray:
    """Return precision, recall and F1 per class, float (3, k).

    A class that is never predicted has precision 0. A class without images has recall NaN, and
    if it is never predicted either, all NaN.
    """
    counts = confusion_counts(labels, predicted, k)
    hits, support, claimed = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
    with np.errstate(invalid="ignore"):
        precision = np.where(claimed + support > 0, hits / np.maximum(claimed, 1), np.nan)
        return np.stack([precision, hits / support, 2 * hits / (support + claimed)])


def scores(labels: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]) -> dict:
    """Return `{n, accuracy, macro_f1, per_class: {name: {precision, recall, f1, support}}}`.

    All are plain Python numbers, or None where `class_rates` has NaN, which `macro_f1` leaves
    out, and where there are no images.

    Raises:
        TutorialError: if there is not one column of probabilities per class.
    """
    if probabilities.shape[1:] != (len(classes),):
        raise TutorialError(
            f"The model gives {probabilities.shape[-1]} probabilities, but there are "
            f"{len(classes)} classes ({', '.join(classes)}): use one that was trained on these."
        )
    predicted = probabilities.argmax(axis=1)
    rates = class_rates(labels, predicted, len(classes))
    known = rates[2][np.isfinite(rates[2])]
    support = np.bincount(labels, minlength=len(classes)).tolist()
    rows = [[float(v) if np.isfinite(v) else None for v in column] for column in rates.T]
    return {
        "n": len(labels),
        "accuracy": float(np.mean(predicted == labels)) if len(labels) else None,
        "macro_f1": float(known.mean()) if len(known) else None,
        "per_class": {
            name: dict(zip(("precision", "recall", "f1", "support"), (*row, n), strict=True))
            for name, row, n in zip(classes, rows, support, strict=True)
        },
    }


def bootstrap(
    labels: np.ndarray,
    predicted: np.ndarray,
    metric: Callable[[np.ndarray, np.ndarray], float | np.ndarray],
    rounds: int = 1000,
    seed: int = SEED,
) -> np.ndarray:
    """Return the low and the high end, (2, ...), of the 95% interval of a metric.

    The percentile bootstrap (Efron 1979), which draws images anew with replacement. It covers
    the luck of which images were tested, not that of the training. Rounds with NaN do not count.
    """
    rng, n = np.random.default_rng(seed), len(labels)
    draws = (rng.integers(0, n, n) for _ in range(rounds))
    values = np.array([metric(labels[draw], predicted[draw]) for draw in draws], float)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a class without images: NaN
        return np.nanpercentile(values, [2.5, 97.5], axis=0)


def intervals(labels: np.ndarray, probabilities: np.ndarray, k: int) -> np.ndarray:
    """Return the 95% intervals of accuracy, macro F1 and each class's recall, (2 + k, 2)."""

    def metric(labels: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        rates = class_rates(labels, predicted, k)
        return np.array([np.mean(labels == predicted), np.nanmean(rates[2]), *rates[1]])

    return bootstrap(labels, probabilities.argmax(axis=1), metric).T


@dataclass(frozen=True, eq=False)
class Calibration:
    """Per bin of confidence, (bins,): mean confidence and accuracy (NaN if empty), and count."""

    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray
    ece: float  # expected calibration error, 0 to 1


def calibration(labels: np.ndarray, probabilities: np.ndarray, bins: int = 15) -> Calibration:
    """Compare confidence with accuracy in bins of equal width.

    The expected calibration error is the mean gap between the two, each bin weighted by its
    images (Naeini et al. 2015; Guo et al. 2017).
    """
    top = probabilities.max(axis=1).astype(float)
    right = probabilities.argmax(axis=1) == labels
    where = np.digitize(top, np.linspace(0, 1, bins + 1)[1:-1], right=True)
    count = np.bincount(where, minlength=bins)
    sure, correct = np.bincount(where, top, bins), np.bincount(where, right, bins)
    with np.errstate(invalid="ignore"):
        ece = float(np.abs(sure - correct).sum() / len(labels))
        return Calibration(sure / count, correct / count, count, ece)


def temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the T, 0.05 to 20, for which softmax(log(p) / T) has the least log loss.

    Above 1, the network was too sure of itself (Guo et al. 2017). The right answers stay the
    same. Fit it on validation data, never on the test set.
    """
    from scipy.optimize import minimize_scalar

    # A float32 softmax can be exactly 0, whose logarithm no T could mend.
    logits = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny), dtype=float)
    own = logits[np.arange(len(labels)), labels]

    def log_loss(log_t: float) -> float:
        t = np.exp(log_t)
        return float((np.logaddexp.reduce(logits / t, axis=1) - own / t).mean())

    return float(np.exp(minimize_scalar(log_loss, bounds=np.log([0.05, 20]), method="bounded").x))


def most_confident_mistakes(labels: np.ndarray, probabilities: np.ndarray, n: int) -> np.ndarray:
    """Return the indices of at most `n` wrong answers, the most confident first."""
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    return wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")[:n]]
