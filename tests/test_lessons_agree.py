"""What lessons define in their cells and what helpers define are the same, number for number."""

from __future__ import annotations

import ast
import builtins
import re
from pathlib import Path
from types import SimpleNamespace

import keras
import nbformat
import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT
from lessons import cells, defined, run
from PIL import Image

from helpers.augment import affine
from helpers.data import class_weights
from helpers.faces import crop_face
from helpers.networks import build_cnn


def lesson_file(stem: str) -> Path:
    (path,) = (ROOT / "notebooks").glob(f"*{stem}.ipynb")
    return path


def prose(stem: str) -> str:
    found = nbformat.read(lesson_file(stem), as_version=4).cells
    return "\n".join(cell.source for cell in found if cell.cell_type == "markdown")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_lesson_2_s_matrix_is_the_helper_s_affine_map(rng):
    matrix = defined("preview_augmentation", "matrix")
    transform = defined("preview_augmentation", "transform", matrix=matrix)
    images = rng.random((6, 48, 48, 1), dtype=np.float32)
    angle, zoom = rng.uniform(-180, 180, 6), rng.uniform(0.5, 2, 6)
    right, down = rng.uniform(-20, 20, (2, 6))
    mirror = rng.random(6) < 0.5
    ours = affine(images, angle, zoom, zoom, right / 48, down / 48, mirror)
    for k in range(6):
        forward = matrix(angle[k], zoom[k], right[k], down[k], mirror[k])
        theirs = transform(images[k : k + 1], forward)
        np.testing.assert_allclose(ours[k : k + 1], theirs, atol=1e-4)


@pytest.fixture
def some(rng) -> SimpleNamespace:
    images = rng.integers(0, 256, (64, 48, 48), dtype=np.uint8)
    return SimpleNamespace(images=images, labels=rng.integers(0, 5, 64))


def test_lesson_3_s_operations_by_hand_are_keras_s(rng, some):
    by_hand = run(
        "build_the_cnn",
        "def convolve(",
        "kernels = {",
        "conv = layers.Conv2D(",
        "relu = np.maximum(",
        "by_keras = layers.BatchNormalization(",
        "powers = np.exp(",
        face=rng.random((48, 48), dtype=np.float32),
        data=SimpleNamespace(train=None),
        subset=lambda *given, **options: some,
    )
    assert np.abs(by_hand["difference"]).max() < 1e-5
    assert np.array_equal(by_hand["pooled"], by_hand["keras_pooled"])
    np.testing.assert_allclose(by_hand["by_hand"], by_hand["by_keras"], atol=1e-4)
    probabilities = by_hand["powers"] / by_hand["powers"].sum()
    np.testing.assert_allclose(probabilities, keras.ops.softmax(by_hand["logits"]), rtol=1e-6)


def test_lesson_3_s_network_is_the_helper_s_to_the_last_weight(some):
    pieces = ("FILTERS = (", "seeds = count(", "network.add(layers.Flatten())")
    data = SimpleNamespace(classes=tuple("abcde"))
    network, same = run("build_the_cnn", *pieces, data=data)["network"], build_cnn(5)
    for mine, theirs in zip(network.get_weights(), same.get_weights(), strict=True):
        assert np.array_equal(mine, theirs)
    faces = some.images[..., None] / np.float32(255)
    for training in (False, True):  # in training, dropout draws the same places
        seen = [model(faces, training=training) for model in (network, same)]
        np.testing.assert_allclose(*seen, atol=1e-6)
    for mine, theirs in zip(network.get_weights(), same.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-6)  # the running means moved alike


def test_lesson_3_s_slopes_are_those_of_calculus(rng):
    """The loss of one weight is a parabola, that of the nine is known; the picture's by hand."""
    face = rng.random((12, 12), dtype=np.float32)
    pieces = "def convolve(", "kernels = {", "def loss(", "LEARNING_RATE, ", "(wrong, nine)"
    found = run("build_the_cnn", *pieces, face=face)
    below = (face[2:, 1:-1].astype(float) ** 2).mean()
    assert found["loss"](4.5) == pytest.approx(2.5**2 * below, rel=1e-4)
    assert found["slopes"][2, 1] == pytest.approx(5 * below, rel=1e-4)
    left_above = (face[2:, 1:-1].astype(float) * face[:-2, :-2]).mean()
    assert found["slopes"][0, 0] == pytest.approx(5 * left_above, rel=1e-4)
    shrinks = 1 - 2 * found["LEARNING_RATE"] * below
    np.testing.assert_allclose(
        found["steps_down"], 2 + 2.5 * shrinks ** np.arange(len(found["steps_down"])), rtol=1e-3
    )


@pytest.mark.parametrize("x", [1.5, -1.5])
def test_lesson_3_s_slopes_walk_back_as_the_tape_does(x):
    (cell,) = (cell for cell in cells("build_the_cnn") if "to_w1 = " in cell)
    names: dict = {}
    exec(cell.replace("x, w1, w2, target = 1.5,", f"x, w1, w2, target = {x},"), names)
    assert names["x"] == x
    w1, w2 = tf.Variable(names["w1"]), tf.Variable(names["w2"])
    with tf.GradientTape() as tape:
        wrong_by = (w2 * tf.nn.relu(w1 * x) - names["target"]) ** 2
    assert names["wrong_by"] == pytest.approx(float(wrong_by))
    by_tape = [float(slope) for slope in tape.gradient(wrong_by, [w1, w2])]
    assert [names["to_w1"], names["to_w2"]] == pytest.approx(by_tape)


def test_lesson_4_trains_the_network_of_lesson_3_as_try_next_says(tmp_path):
    pieces = "FILTERS = (", "seeds = count(", "network.add(layers.Flatten())", '"my_cnn.json"'
    data = SimpleNamespace(classes=tuple("abcde"))
    mine = run("build_the_cnn", *pieces, data=data, RUNS=tmp_path)["network"]
    ready = defined("train_with_class_weights", "ready", LEARNING_RATE=1e-3)
    (line,) = re.findall(r"`network = (ready\(keras[^`]+)`", prose("train_with_class_weights"))
    theirs = eval(line, {"ready": ready, "keras": keras, "RUNS": tmp_path})
    for a, b in zip(mine.get_weights()[:-2], theirs.get_weights()[:-2], strict=True):
        assert np.array_equal(a, b)
    assert not np.any(theirs.get_weights()[-2]) and theirs.compiled


def test_lesson_4_counts_dead_units():
    """Of four units one never answers, one is always 0, one answers a single picture."""
    dead_units = defined("train_with_class_weights", "dead_units")
    inputs = keras.Input((2,))
    hidden = keras.layers.Dense(4, activation="relu")
    later = keras.layers.Dense(3, activation="relu", kernel_initializer="zeros")
    network = keras.Model(inputs, later(hidden(inputs)))
    weights = np.array([[-1, 0, 1, 1], [-1, 0, -1, 1]], "float32")
    hidden.set_weights([weights, np.zeros(4, "float32")])
    pictures = np.array([[0, 1], [2, 1], [1, 3]], "float32")
    assert dead_units(network, pictures) == 2
    assert dead_units(network, pictures[:1]) == 3


def bound(tree: ast.AST) -> set[str]:
    """The names that code makes, wherever in it."""
    found = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.alias):
            found.add((node.asname or node.name).split(".")[0])
    return found


def used(tree: ast.AST) -> set[str]:
    return {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }


def test_each_section_of_lesson_4_needs_only_the_cells_above_its_line():
    """As the lesson promises to who has restarted the kernel."""
    sections = [""]
    for cell in nbformat.read(lesson_file("train_with_class_weights"), as_version=4).cells:
        if cell.cell_type == "code":
            sections[-1] += f"{cell.source}\n"
        elif cell.source.startswith("---") or (len(sections) > 1 and cell.source.startswith("## ")):
            sections.append("")
    first, *later = map(ast.parse, sections)
    assert len(later) > 4
    assert used(first) <= bound(first) | set(dir(builtins))
    for tree in later:
        missing = used(tree) - bound(tree) - bound(first) - set(dir(builtins))
        assert not missing


def test_lesson_4_s_class_weights_are_the_helper_s(rng):
    class Train:
        labels = rng.choice(4, 500, p=[0.5, 0.3, 0.15, 0.05])

        def __len__(self) -> int:
            return len(self.labels)

    found = run("train_with_class_weights", "by_hand = len(train)", train=Train(), classes=4)
    ours = class_weights(Train.labels, 4)
    assert found["by_hand"].tolist() == pytest.approx(list(ours.values()))


def test_lesson_6_s_cut_is_the_helper_s(rng):
    given = {"picture": Image.new("RGB", (9, 9)), "found": SimpleNamespace(box=(2, 2, 6, 6))}
    cut = defined("classify_with_widgets", "cut", MARGINS=(1,), **given)
    picture = Image.fromarray(rng.integers(0, 256, (240, 320, 3), dtype=np.uint8))
    for _ in range(20):
        left, top = rng.uniform(-30, 280), rng.uniform(-30, 200)
        box = (left, top, left + rng.uniform(20, 150), top + rng.uniform(20, 150))
        assert np.array_equal(cut(picture, box), crop_face(picture, box))


@pytest.mark.parametrize("average", [True, False])
def test_lesson_7_s_class_map_follows_the_gradient_of_the_score_before_softmax(rng, average):
    class_map = defined("ask_why", "class_map")
    keras.utils.set_random_seed(1)
    inputs = keras.Input((12, 12, 1))
    maps = keras.layers.Conv2D(4, 3, strides=2, activation="relu")(inputs)
    outputs = keras.layers.Dense(3, activation="softmax")(keras.layers.Flatten()(maps))
    model = keras.Model(inputs, outputs)
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel + 0.1, bias])  # so that most places speak for a class
    crop = rng.integers(0, 256, (12, 12), dtype=np.uint8)
    found = class_map(model, crop, 1, side=5, average=average)

    features = keras.Model(inputs, maps)(crop[None, ..., None] / np.float32(255)).numpy()[0]
    weights, bias = (value.astype(float) for value in model.layers[-1].get_weights())

    def logit(features: np.ndarray) -> float:
        return features.ravel() @ weights[:, 1] + bias[1]

    gradient = np.zeros(features.shape)
    for place in np.ndindex(features.shape):
        step = np.zeros(features.shape)
        step[place] = 1e-2
        gradient[place] = (logit(features + step) - logit(features - step)) / 2e-2
    if average:
        gradient = gradient.mean(axis=(0, 1), keepdims=True)
    expected = np.maximum((features * gradient).sum(axis=-1), 0)
    assert expected.max() > 0
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_lesson_8_s_residual_network_is_the_helper_s(some):
    built = run(
        "go_further",
        "def block(",
        "by_hand = keras.Model(",
        learn=some,
        classes=3,
        lesson=SimpleNamespace(count_params=lambda: 0),  # of another cell; only printed
    )
    by_hand, helpers_own = built["by_hand"], built["helpers_own"]
    assert by_hand.count_params() == helpers_own.count_params()
    np.testing.assert_allclose(by_hand(built["faces"]), helpers_own(built["faces"]), atol=1e-5)


def test_lesson_8_s_learning_rates_are_the_helper_s():
    drawn = run("go_further", "rate = WarmUpHoldDecay(", SEED=1)
    rates = [float(drawn["rate"](step)) for step in drawn["when"]]
    np.testing.assert_allclose(drawn["rates"], rates, rtol=1e-5)


def test_lesson_8_s_mixup_is_the_helper_s():
    shown = run("go_further", "mixup(toys")
    np.testing.assert_allclose(shown["blend"], shown["mixed"], atol=1e-6)
    assert 0.5 <= shown["first"].min() < shown["first"].max() < 1


def test_lesson_9_s_last_layer_learns_from_features_of_any_size(rng):
    """Those of a network with random weights are about 1e-12; they must not count as zeros."""
    labels = rng.integers(0, 3, 3000)
    features = rng.normal(5, 1, (3000, 20)).astype(np.float32)
    features[np.arange(3000), labels] += 3
    features[:, 19] = 7  # one that never changes
    train_head = defined("transfer_learning", "train_head", classes=tuple("abc"))
    usual, tiny = (
        train_head(seen, labels).predict_on_batch(seen)
        for seen in (features, features * np.float32(2.0**-40))
    )
    assert np.mean(usual.argmax(axis=1) == labels) > 0.8
    np.testing.assert_allclose(tiny, usual, atol=0.05)


def test_lesson_2_s_four_layers_draw_numbers_of_their_own():
    """Their angles, zooms and shifts have nothing to do with each other."""
    layers = defined("preview_augmentation", "augmentation")(15, 0.15, 0.1, True, seed=42).layers
    images = np.zeros((1000, 48, 48, 1), np.float32)
    drawn = [layer.get_random_transformation(images) for layer in layers]
    kinds = ("flips", "angle", "height_zoom", "translations")
    numbers = [np.asarray(d[k]).reshape(1000, -1).T for d, k in zip(drawn, kinds, strict=True)]
    found = np.corrcoef(np.concatenate(numbers).astype(float))
    assert found.shape == (5, 5)
    assert np.abs(found - np.eye(5)).max() < 0.15
