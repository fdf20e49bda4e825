"""Each switch of a recipe against a known answer, and trainings that stop and go on."""

import os
import subprocess
import sys
from dataclasses import replace
from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf

from helpers import ROOT, TutorialError
from helpers.augment import mixup
from helpers.data import Split
from training import train_by_recipe
from training.checkpoint import TrainingInterrupted
from training.recipe import LESSON, SHIPPED, Recipe
from training.train_by_recipe import (
    WarmUpHoldDecay,
    soft_targets,
    stream,
    teacher_probabilities,
    train_recipe,
)

QUICK = replace(
    SHIPPED, epochs=3, small=1, warm_up=1, decay=1, batch_size=16, fast=False, teacher=0.0
)


def noise(n: int, seed: int = 0) -> Split:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n, 48, 48), dtype=np.uint8)
    return Split(images, np.arange(n, dtype=np.int64) % 3, np.array([f"{k}.png" for k in range(n)]))


def halves(n: int, seed: int = 0) -> Split:
    """Bright above, bright below, or bright on both sides: easy to tell apart."""
    split = noise(n, seed)
    images = split.images // 4
    images[split.labels == 0, :24] += 150
    images[split.labels == 1, 24:] += 150
    images[split.labels == 2, :, 12:36] += 150
    return replace(split, images=images)


def test_learning_rate_rises_holds_and_falls():
    rate = WarmUpHoldDecay(0.1, warm_up=4, decay=10, steps=30)
    given = [float(rate(step)) for step in (0, 1, 3, 4, 20, 25, 29, 30, 99)]
    expected = [0.025, 0.05, 0.1, 0.1, 0.1, 0.05, 0.01, 0.0005, 0.0005]
    np.testing.assert_allclose(given, expected, rtol=1e-5)


def test_learning_rate_may_stay_constant():
    rate = WarmUpHoldDecay(0.1, warm_up=0, decay=0, steps=30)
    np.testing.assert_allclose([float(rate(step)) for step in (0, 15, 40)], 0.1, rtol=1e-6)


def test_aims_are_smoothed_labels_and_weights_of_mean_one():
    labels = np.array([0, 0, 0, 1])
    target, weight = soft_targets(Recipe(label_smoothing=0.2, class_weight=0.5), labels, 2)
    np.testing.assert_allclose(target, [[0.9, 0.1]] * 3 + [[0.1, 0.9]], rtol=1e-6)
    assert target.dtype == weight.dtype == np.float32
    # balanced weights 4/6 and 4/2, a ratio of 3; its square root
    assert weight[3] / weight[0] == pytest.approx(3**0.5)
    assert weight.mean() == pytest.approx(1)
    assert soft_targets(Recipe(class_weight=0.0), labels, 2)[1].tolist() == [1, 1, 1, 1]


def test_a_teacher_takes_its_part_of_the_labels():
    given = Recipe(label_smoothing=0.0, teacher=0.25)
    target, _ = soft_targets(given, np.array([0, 1]), 2, np.array([[0.2, 0.8], [0.6, 0.4]]))
    np.testing.assert_allclose(target, [[0.8, 0.2], [0.15, 0.85]], rtol=1e-6)


def test_mixup_mixes_images_targets_and_weights_alike():
    n = 400
    images = tf.reshape(tf.range(n, dtype=tf.float32), (n, 1, 1, 1)) * tf.ones((1, 2, 2, 1))
    target, weight = tf.one_hot(tf.range(n), n), tf.range(n, dtype=tf.float32)
    mixed, aim, heft = (x.numpy() for x in mixup(images, target, weight, (1, 2), 0.2))
    own = aim[np.arange(n), np.arange(n)]
    other = aim[np.arange(n), np.arange(n)[::-1]]
    np.testing.assert_allclose(own + other, 1, rtol=1e-5)
    assert own.min() >= 0.5 and 0.55 < own.mean() < 0.98
    expected = own * np.arange(n) + other * np.arange(n)[::-1]
    np.testing.assert_allclose(mixed[:, 1, 0, 0], expected, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(heft, expected, rtol=1e-4, atol=1e-3)
    again = mixup(images, target, weight, (1, 2), 0.2)[0].numpy()
    assert np.array_equal(mixed, again)


@pytest.mark.parametrize("augment", ["strong", "affine", "none"])
def test_small_images_come_first_and_a_later_start_sees_the_same(augment):
    given, learn = replace(QUICK, augment=augment, epochs=3, small=2), noise(40)
    target, weight = soft_targets(given, learn.labels, 3)
    every = [x.numpy() for x, *_ in stream(given, learn.images, target, weight).take(9)]
    assert [x.shape[1] for x in every] == [32] * 6 + [48] * 3
    assert [len(x) for x in every] == [16, 16, 8] * 3
    assert all(x.min() >= 0 and x.max() <= 1 for x in every)
    for epoch in (1, 2):
        later = stream(given, learn.images, target, weight, epoch).take(9 - 3 * epoch)
        for a, (b, *_) in zip(every[3 * epoch :], later, strict=True):
            np.testing.assert_array_equal(a, b)


def test_targets_and_weights_belong_to_their_images():
    learn = noise(30)
    given = replace(QUICK, augment="none", mixup=0.0, small=0, label_smoothing=0.0)
    target, _ = soft_targets(given, learn.labels, 3)
    weight = np.arange(30, dtype=np.float32)
    seen = []
    for x, y, w in stream(given, learn.images, target, weight).take(2):
        index = w.numpy().astype(int)
        np.testing.assert_allclose(x[..., 0] * 255, learn.images[index], atol=1e-3)
        assert np.array_equal(y.numpy().argmax(axis=1), learn.labels[index])
        seen += index.tolist()
    assert sorted(seen) == list(range(30))


def test_a_recipe_learns_and_gives_a_plain_network():
    given = replace(QUICK, epochs=6, small=2, decay=3, learning_rate=3e-3, augment="none")
    model, history = train_recipe(given, halves(120), halves(30, 1), 3, progress=False)
    assert history.log["val_accuracy"][-1] > 0.9 and len(history.log["loss"]) == 6
    assert model.input_shape == (None, 48, 48, 1) and model.output_shape == (None, 3)
    assert {layer.dtype_policy.name for layer in model.layers} == {"float32"}
    assert model.count_params() <= 2_500_000
    kinds = {type(layer) for layer in model.layers}
    assert all(kind.__module__.startswith("keras.") for kind in kinds), "plain Keras can load it"
    # what was scored at the end is what was given back
    given = model(halves(30, 1).images[..., None] / np.float32(255)).numpy()
    right = np.mean(given.argmax(axis=1) == halves(30, 1).labels)
    assert right == pytest.approx(history.log["val_accuracy"][-1])


def test_the_lesson_is_a_recipe_too():
    given = replace(LESSON, epochs=1)
    model, history = train_recipe(given, noise(64), noise(20, 1), 3, progress=False)
    assert model.name == "lesson_cnn" and len(history.log["val_loss"]) == 1


@pytest.fixture
def small_network(monkeypatch):
    """In place of the residual network, one that is quick to train and takes any size too."""

    def build(n_classes, *, mean=0.0, std=1.0, size=48, normalise=None, seed=0):
        keras.utils.set_random_seed(seed)
        layers = [
            keras.Input((size, size, 1)),
            keras.layers.Normalization(mean=mean, variance=std**2),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(6, activation="tanh"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.3, seed=seed),
            keras.layers.Dense(n_classes, activation="softmax", dtype="float32"),
        ]
        return keras.Sequential(layers)

    monkeypatch.setattr(train_by_recipe, "build_residual", build)
    return build


def test_the_average_is_what_is_scored_and_kept(small_network):
    """A training of one step may remember nothing of its start."""
    learn, validation = noise(16), noise(6, 1)
    given = replace(QUICK, epochs=1, small=0, warm_up=0, decay=0, mixup=0.0, average=0.0)
    step = train_recipe(given, learn, validation, 3, progress=False)[0].get_weights()
    mean = train_recipe(replace(given, average=0.75), learn, validation, 3, progress=False)[0]
    for a, b in zip(step, mean.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    before = small_network(3, seed=given.seed).get_weights()
    assert any(not np.allclose(a, b, atol=1e-4) for a, b in zip(before, step, strict=True))


class StopIn(keras.callbacks.Callback):
    def __init__(self, epoch: int) -> None:
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch + 1 == self.epoch:
            raise KeyboardInterrupt


def test_an_interrupted_training_ends_as_if_it_had_not_been(tmp_path, small_network, capsys):
    """Stopped while the images are small, and when they are large; finished, it is loaded."""
    output = tmp_path / "runs" / "recipe.keras"
    train = partial(train_recipe, QUICK, noise(48), noise(12, 1), 3, progress=False)
    whole, log = train()
    for epoch in (2, 3):
        with pytest.raises(TrainingInterrupted, match=f"after epoch {epoch - 1}; nothing is lost"):
            train(output=output, callbacks=[StopIn(epoch)])
    for _ in range(2):
        again, history = train(output=output)
        assert history.log == log.log
        for a, b in zip(again.get_weights(), whole.get_weights(), strict=True):
            assert np.array_equal(a, b)
    shown = capsys.readouterr().out
    assert "Going on with recipe.keras after epoch 2" in shown
    assert "recipe.keras is finished (3 epochs): loaded it." in shown


def test_another_training_is_not_gone_on_with(tmp_path, small_network):
    output, learn, validation = tmp_path / "m.keras", noise(16), noise(3, 1)
    given = replace(QUICK, epochs=1, decay=0, teacher=0.5)
    answers = np.full((16, 3), 1 / 3, np.float32)
    train = partial(train_recipe, given, learn, validation, 3, output=output, progress=False)
    train(teacher=answers)
    with pytest.raises(TutorialError, match="another targets"):
        train(teacher=answers[:, ::-1] * [1.2, 1, 0.8])
    train = partial(train_recipe, output=output, progress=False, teacher=answers)
    with pytest.raises(TutorialError, match=r"another mixup \(0\.2, now 0\.4\)"):
        train(replace(given, mixup=0.4), learn, validation, 3)
    with pytest.raises(TutorialError, match=r"another epochs \(1, now 2\)"):
        train(replace(given, epochs=2), learn, validation, 3)
    with pytest.raises(TutorialError, match="another images and labels"):
        train(given, learn, noise(4, 1), 3)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"network": "vgg"}, "network is 'vgg': set it to one of residual, lesson"),
        ({"augment": "all"}, "augment is 'all': set it to one of camera, strong, affine, none"),
        ({"network": "lesson"}, "48 x 48 pixels only: set small=0"),
        ({"epochs": 0}, "at least one epoch"),
        ({"small": 4}, "at most 3"),
    ],
)
def test_what_does_not_fit_together_is_one_sentence(change, sentence):
    with pytest.raises(TutorialError, match=sentence):
        replace(QUICK, **change)


def test_what_cannot_be_trained_is_one_sentence(tmp_path):
    with pytest.raises(TutorialError, match="give both or neither"):
        train_recipe(replace(QUICK, teacher=0.5), noise(6), noise(3), 3)
    with pytest.raises(TutorialError, match="There are no images"):
        train_recipe(QUICK, noise(6), noise(0), 3)
    with pytest.raises(TutorialError, match="has no training image"):
        train_recipe(QUICK, noise(0), noise(3), 3)


def test_two_devices_share_the_work():
    code = """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu[0], [tf.config.LogicalDeviceConfiguration()] * 2)
from dataclasses import replace
from helpers.networks import strategy
from training.train_by_recipe import train_recipe
from tests.test_recipe import QUICK, noise
assert strategy().num_replicas_in_sync == 2
given = replace(QUICK, epochs=1, small=0)
model, history = train_recipe(given, noise(24), noise(12, 1), 3, progress=False)
print(model.output_shape, len(history.log["val_loss"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[-2] == "(None, 3) 1"


def test_a_teacher_s_answers_are_means_over_views():
    """A network that gives how light the left half is: mirrored, it is the right half."""
    left = keras.layers.Cropping2D(((0, 0), (0, 24)))
    pool = keras.layers.GlobalAveragePooling2D()
    model = keras.Sequential([keras.Input((48, 48, 1)), left, pool])
    images = noise(300).images
    images[:, :, :24] //= 2
    halves = images.reshape(300, 48, 2, 24).mean(axis=(1, 3)) / 255
    found = teacher_probabilities(model, images, views=0)
    assert found.dtype == np.float32 and found.shape == (300, 1)
    np.testing.assert_allclose(found[:, 0], halves.mean(axis=1), rtol=1e-4)
    more = teacher_probabilities(model, images, views=2)
    assert np.array_equal(more, teacher_probabilities(model, images, views=2))
    assert 0 < np.abs(more - found).max() < 0.1
