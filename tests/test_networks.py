"""The network's shape and weights, and the affine transform against known answers."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import keras
import numpy as np
import pytest
import tensorflow as tf

from app.teach import own_classifier
from fetch import imagenet
from fetch.imagenet import WEIGHTS, imagenet_weights
from helpers import TutorialError
from helpers.augment import affine, random_affine, random_strong
from helpers.networks import (
    build_cnn,
    build_residual,
    features,
    pretrained,
)
from training.fused_normalisation import FusedBatchNormalization


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).random((5, 48, 48, 1), dtype=np.float32)


def test_layers_are_those_of_the_lesson():
    model = build_cnn(7)
    assert model.name == "lesson_cnn" and not model.compiled
    assert model.input_shape == (None, 48, 48, 1) and model.output_shape == (None, 7)
    block = ["Conv2D", "BatchNormalization", "MaxPooling2D", "Dropout"]
    tail = ["Flatten", "Dense", "Dropout", "Dense", "Dropout", "Dense"]
    assert [type(layer).__name__ for layer in model.layers] == ["InputLayer", *block * 3, *tail]
    dropouts = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert [layer.rate for layer in dropouts] == [0.2, 0.25, 0.25, 0.4, 0.3]
    assert len({layer.seed for layer in dropouts}) == 5
    # by hand: convolutions 320 + 18,496 + 73,856, normalisations 4 * 224, dense layers
    dense = (6 * 6 * 128 + 1) * 512 + 513 * 256 + 257 * 7
    assert model.count_params() == 320 + 18_496 + 73_856 + 4 * 224 + dense


def test_probabilities_for_any_number_of_classes(images):
    p = build_cnn(3)(images).numpy()
    assert p.shape == (5, 3) and p.dtype == np.float32
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)


def test_batch_norm_and_dropout_can_be_left_out():
    bare = {type(layer).__name__ for layer in build_cnn(7, batch_norm=False, dropout=False).layers}
    assert bare == {"InputLayer", "Conv2D", "MaxPooling2D", "Flatten", "Dense"}


def test_same_seed_same_weights_with_or_without_extras():
    first, second, other = build_cnn(4), build_cnn(4), build_cnn(4, seed=1)
    bare = build_cnn(4, batch_norm=False, dropout=False)
    for a, b in zip(first.weights, second.weights, strict=True):
        assert np.array_equal(a, b)
    kernels = [w for w in first.weights if w.name == "kernel"]
    assert all(
        np.array_equal(a, b)
        for a, b in zip(kernels, (w for w in bare.weights if w.name == "kernel"), strict=True)
    )
    assert not np.array_equal(kernels[0], other.weights[0])


@pytest.mark.parametrize(
    ("build", "expected"), [(build_cnn, "e1d99d3918d61cd1"), (build_residual, "4c56a39b382afb0b")]
)
def test_weights_of_a_seed_are_those_that_measured_figures_began_with(build, expected):
    weights = b"".join(np.ascontiguousarray(weight).tobytes() for weight in build(7).get_weights())
    assert hashlib.sha256(weights).hexdigest()[:16] == expected


def test_nothing_changes_without_a_transform(images):
    assert np.array_equal(affine(images), images)


def test_flip_is_numpys(images):
    assert np.array_equal(affine(images, flip=True), images[:, :, ::-1])
    one = affine(images, flip=np.array([True, False, False, False, False]))
    assert np.array_equal(one[0], images[0, :, ::-1]) and np.array_equal(one[1:], images[1:])


@pytest.mark.parametrize("quarters", [-1, 1, 2])
def test_rotation_is_numpys_counter_clockwise(images, quarters):
    turned = affine(images, rotation=90.0 * quarters)
    np.testing.assert_allclose(turned, np.rot90(images, quarters, axes=(1, 2)), atol=1e-4)


def test_shift_by_whole_pixels_goes_right_and_down(images):
    moved = affine(images, shift_x=3 / 48, shift_y=5 / 48).numpy()
    np.testing.assert_allclose(moved[:, 5:, 3:], images[:, :-5, :-3], atol=1e-5)
    # what comes in from beyond the border is the reflection of what is next to it
    np.testing.assert_allclose(moved[:, 5:, 2], images[:, :-5, 0], atol=1e-5)
    np.testing.assert_allclose(moved[:, 5:, 1], images[:, :-5, 1], atol=1e-5)


def test_zoom_above_one_magnifies_about_the_centre():
    x, y = np.meshgrid(np.linspace(-1, 1, 41), np.linspace(-1, 1, 31))
    ramp = (0.5 + 0.2 * x + 0.1 * y).astype(np.float32)[None, ..., None]  # linear: no blur
    wide = affine(ramp, zoom_x=2.0)[0, ..., 0]
    np.testing.assert_allclose(wide, 0.5 + 0.1 * x + 0.1 * y, atol=1e-5)
    high = affine(ramp, zoom_y=1.25)[0, ..., 0]
    np.testing.assert_allclose(high, 0.5 + 0.2 * x + 0.08 * y, atol=1e-5)


def test_flip_comes_before_rotation_and_shift(images):
    at_once = affine(images, rotation=90, shift_x=4 / 48, flip=True).numpy()
    in_turn = affine(np.rot90(images[:, :, ::-1], axes=(1, 2)), shift_x=4 / 48).numpy()
    np.testing.assert_allclose(at_once, in_turn, atol=1e-4)


def test_random_affine_depends_on_the_seed_alone(images):
    first = random_affine(images, (1, 2)).numpy()
    assert np.array_equal(first, random_affine(images, tf.constant([1, 2], tf.int64)))
    assert not np.array_equal(first, random_affine(images, (1, 3)))
    assert first.min() >= 0 and first.max() <= 1 + 1e-6


def test_every_image_is_transformed_differently(images):
    same = np.repeat(images[:1], 6, axis=0)
    moved = random_affine(same, (0, 0)).numpy().reshape(6, -1)
    assert len(np.unique(moved, axis=0)) == 6


def test_ranges_of_zero_leave_images_alone_and_flip_mirrors_about_half():
    images = np.random.default_rng(1).random((400, 9, 13, 1), dtype=np.float32)
    still = random_affine(images, (5, 6), rotation=0, zoom=0, shift=0, flip=False)
    np.testing.assert_allclose(still, images, atol=1e-5)
    flipped = random_affine(images, (5, 6), rotation=0, zoom=0, shift=0).numpy()
    mirrored = np.isclose(flipped, images[:, :, ::-1], atol=1e-5).all(axis=(1, 2, 3))
    alike = np.isclose(flipped, images, atol=1e-5).all(axis=(1, 2, 3))
    assert np.all(mirrored ^ alike)
    assert 140 < mirrored.sum() < 260  # six deviations either way


def test_random_shift_fills_its_range_and_no_more():
    # the position of a bright column tells how far each image was shifted
    images = np.zeros((300, 5, 101, 1), np.float32)
    images[:, :, 50] = 1
    moved = random_affine(images, (3, 4), rotation=0, zoom=0, shift=0.1, flip=False).numpy()
    columns = (moved[:, 2, :, 0] * np.arange(101)).sum(axis=1) - 50
    assert np.abs(columns).max() <= 10.1 + 1e-3
    assert columns.min() < -8 and columns.max() > 8


def test_random_affine_works_in_a_graph_of_unknown_size(images):
    signature = (tf.TensorSpec((None, None, None, 1)), tf.TensorSpec((2,), tf.int64))
    compiled = tf.function(random_affine, input_signature=signature)
    seed = tf.constant([1, 2], tf.int64)
    np.testing.assert_allclose(compiled(images, seed), random_affine(images, seed), atol=1e-5)
    assert compiled(images[:, :20, :31], seed).shape == (5, 20, 31, 1)


def test_affine_shrinks_in_the_same_step():
    x, y = np.meshgrid(np.linspace(0, 1, 48), np.linspace(0, 1, 48))
    ramp = (0.6 * x + 0.3 * y).astype(np.float32)[None, ..., None]
    small = affine(ramp, size=32)
    assert small.shape == (1, 32, 32, 1)
    # the centre of output pixel k lies at (k + 0.5) * 48 / 32 - 0.5 of the input
    place = ((np.arange(32) + 0.5) * 1.5 - 0.5) / 47
    expected = 0.6 * place[None, :] + 0.3 * place[:, None]
    np.testing.assert_allclose(small[0, ..., 0], expected, atol=1e-5)
    turned = affine(ramp, rotation=90, size=32)
    np.testing.assert_allclose(turned, np.rot90(small, axes=(1, 2)), atol=1e-4)
    moved = affine(ramp, shift_x=0.25, size=32)[0, 16, 8:, 0]
    np.testing.assert_allclose(moved, small[0, 16, :-8, 0], atol=1e-5)


def test_strong_augmentation_erases_half_of_the_images():
    flat = np.full((600, 48, 48, 1), 0.5, np.float32)
    seen = random_strong(flat, (1, 2)).numpy()
    assert seen.shape == flat.shape and seen.min() >= 0 and seen.max() <= 1
    # a flat image stays flat under every view and light, so what varies was erased
    varied = seen.std(axis=(1, 2, 3)) > 1e-3
    assert 240 < varied.sum() < 360
    flat_ones = seen[~varied].mean(axis=(1, 2, 3))
    assert flat_ones.min() < 0.4 and flat_ones.max() > 0.6  # darker and lighter, within 0.15
    assert flat_ones.min() >= 0.349 and flat_ones.max() <= 0.651
    hidden = np.abs(seen[varied] - np.median(seen[varied], axis=(1, 2, 3), keepdims=True)) > 1e-3
    assert hidden.mean(axis=(1, 2, 3)).max() <= 0.4**2 + 0.02


def test_strong_augmentation_depends_on_seed_and_size(images):
    first = random_strong(images, (1, 2), size=32).numpy()
    assert first.shape == (5, 32, 32, 1)
    assert np.array_equal(first, random_strong(images, (1, 2), size=32))
    assert not np.array_equal(first, random_strong(images, (1, 3), size=32))


def test_fused_normalisation_is_keras_normalisation(images):
    plain, fused = keras.layers.BatchNormalization(), FusedBatchNormalization()
    x = tf.constant(np.concatenate([images, 3 * images - 1], axis=-1))
    for training in (True, True, False):
        upstream = tf.random.stateless_normal(x.shape, (1, 2))
        results = []
        for layer in (plain, fused):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = layer(x, training=training)
                loss = tf.reduce_sum(y * upstream)
            results.append([y, *tape.gradient(loss, [x, layer.gamma.value, layer.beta.value])])
        for a, b in zip(*results, strict=True):
            np.testing.assert_allclose(a, b, atol=2e-3)
    # TensorFlow's operation takes the variance of the sample: n / (n - 1) of Keras's
    n = 5 * 48 * 48
    for a, b in zip(plain.weights, fused.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=2 / n, atol=1e-5)


def test_residual_network_is_small_and_of_plain_layers():
    model = build_residual(7, mean=0.5, std=0.25)
    kinds = {type(layer).__name__ for layer in model.layers}
    assert model.name == "emotion_cnn" and "FusedBatchNormalization" not in kinds
    assert sum("Dense" in kind for kind in kinds) == 1 and "Flatten" not in kinds
    assert model.count_params() == 2_393_511


def test_residual_network_takes_any_size_with_the_same_weights(images):
    fixed, free = (
        build_residual(3, seed=4),
        build_residual(3, size=None, normalise=FusedBatchNormalization, seed=4),
    )
    np.testing.assert_allclose(fixed(images), free(images), atol=1e-5)
    assert free(images[:, :32, :32]).shape == (5, 3)
    other = build_residual(3, seed=5)
    assert not np.allclose(fixed(images), other(images), atol=1e-3)


def test_residual_network_normalises_its_input(images):
    shifted = build_residual(3, mean=0.5, std=0.25)
    plain = build_residual(3)
    np.testing.assert_allclose(shifted(images), plain((images - 0.5) / 0.25), atol=1e-4)


def test_blocks_begin_as_their_shortcuts(images):
    """The last scale of every block is zero, so its second convolution changes nothing yet."""
    model = build_residual(3)
    before = model(images).numpy()
    names = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    last = names[-1]
    last.kernel.assign(last.kernel * 3)
    np.testing.assert_allclose(model(images), before, atol=1e-5)


def brightness_network() -> keras.Model:
    """Return a network whose one feature is the mean brightness, 0..1."""
    inputs = keras.Input((48, 48, 1))
    pooled = keras.layers.GlobalAveragePooling2D()(inputs)
    return keras.Model(inputs, keras.layers.Dense(7, activation="softmax")(pooled))


def flat(*levels: int) -> np.ndarray:
    return np.array(levels, np.uint8)[:, None, None].repeat(48, 1).repeat(48, 2)


def test_features_are_what_the_last_dense_layer_gets():
    found = features(brightness_network())(flat(0, 50, 100, 255))
    np.testing.assert_allclose(found[:, 0], np.array([0, 50, 100, 255]) / 255, rtol=1e-5)


def test_features_of_the_lesson_network_and_of_one_without_a_dense_layer():
    assert features(build_cnn(3))(flat(0, 0)).shape == (2, 256)
    inputs = keras.Input((48, 48, 1))
    without = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(inputs))
    with pytest.raises(TutorialError, match="does not end in a dense layer"):
        features(without)


def test_a_classifier_of_ones_own_tells_its_classes_apart():
    many_dark = flat(*range(0, 40, 4))
    classify = own_classifier(brightness_network(), [many_dark, flat(200, 250)])
    p = classify(flat(30, 190))
    assert p.argmax(axis=1).tolist() == [0, 1]
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)
    assert classify(flat()).shape == (0, 2)


@pytest.fixture
def keras_home(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    return tmp_path


def test_pretrained_weights_are_taken_from_keras_s_folder(keras_home, images):
    keras.utils.set_random_seed(1)
    taught = pretrained(32)
    assert taught.output_shape == (None, 1280)
    prepared = keras.Model(taught.input, taught.get_layer("to_minus_one").output)
    grey = np.full((1, 48, 48, 1), 0.25, np.float32)
    np.testing.assert_allclose(prepared(grey), np.full((1, 32, 32, 3), -0.5), atol=1e-6)

    path = keras_home / "models" / WEIGHTS
    path.parent.mkdir()
    taught.save(path)  # an .h5 file, as Keras's own is
    assert imagenet_weights() == path
    untaught = pretrained(32)
    assert not np.allclose(untaught(images), taught(images), atol=1e-6)
    np.testing.assert_allclose(pretrained(32, path)(images), taught(images), atol=1e-6)

    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(TutorialError, match=f"{WEIGHTS} is damaged: delete it"):
        pretrained(32, path)


def test_without_a_network_a_sentence_says_which_file_goes_where(keras_home):
    with pytest.raises(TutorialError) as caught:
        imagenet_weights()
    assert str(caught.value) == (
        "No pretrained weights (their server cannot be reached): run this again with a network, "
        f"or put {WEIGHTS} into {keras_home / 'models'}."
    )


@pytest.mark.parametrize("missing", [0, 90], ids=["whole", "cut off"])
def test_weights_are_downloaded_whole_or_not_at_all(keras_home, monkeypatch, missing):
    class Server(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()

        def do_GET(self):
            self.do_HEAD()
            self.wfile.write(b"w" * (100 - missing))

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(imagenet, "IMAGENET", f"http://127.0.0.1:{server.server_port}/")
    try:
        if missing:
            with pytest.raises(TutorialError, match="No pretrained weights"):
                imagenet_weights()
            assert not list(keras_home.rglob("*.h5"))
        else:
            assert imagenet_weights().read_bytes() == b"w" * 100
            assert imagenet_weights().parent == keras_home / "models"
    finally:
        server.shutdown()
