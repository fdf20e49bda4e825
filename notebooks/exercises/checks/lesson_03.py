"""Checks of lesson 3, Build the CNN."""

from __future__ import annotations

import keras
import numpy as np

from fetch.toy_faces import draw_faces
from helpers import SEED
from notebooks.exercises.checks import call, exercise, function, name, need, need_kind, numbers
from notebooks.exercises.checks.training import loss, train

conv_parameters = function(
    "every filter has a kernel for each channel below it, and a bias",
    lambda kernel, channels, filters: (kernel**2 * channels + 1) * filters,
    {
        "(3 × 3, channels in: 1, filters: 32)": (3, 1, 32),
        "(3 × 3, channels in: 32, filters: 64)": (3, 32, 64),
        "(5 × 5, channels in: 3, filters: 7)": (5, 3, 7),
    },
    {
        "the kernels are counted; which other number does each filter have?": (
            lambda kernel, channels, filters: kernel**2 * channels * filters
        ),
        "a filter looks at every channel below it, and yours looks at one.": (
            lambda kernel, channels, filters: (kernel**2 + 1) * filters
        ),
        "each filter has a bias of its own, and you count one for all.": (
            lambda kernel, channels, filters: kernel**2 * channels * filters + 1
        ),
    },
)


@exercise("half the size, as many parameters as there should be, and nothing is missing")
def block(answer) -> None:
    for size, channels, filters in ((48, 1, 16), (12, 16, 8)):
        trial = f"a trial with {size} × {size} × {channels} and {filters} filters"
        built = call(answer, filters, 0.25, trial=trial)
        need_kind(built, keras.Sequential, "a keras.Sequential")
        pictures = np.random.default_rng(SEED).normal(size=(2, size, size, channels))
        result = call(built, pictures.astype("float32"), trial=trial)
        wanted = (2, size // 2, size // 2, filters)
        need(result.shape != (2, size, size, filters), "the size stays: is there a pooling?")
        padding = f"in {trial} the result has the shape {tuple(result.shape)}, not {wanted}."
        need(result.shape == wanted, f"{padding} What does each layer make of the edges?")
        found, kernels = built.count_params(), 9 * filters * (channels + filters)
        biases = "each convolution has a bias; the normalisation behind it makes it useless."
        need(found != kernels + 10 * filters, biases)
        count = f"in {trial} there are {found:,} parameters; {kernels + 8 * filters:,} are right."
        need(found == kernels + 8 * filters, count)
        names = [name(layer) for layer in built.layers]
        need(names.count("Dropout") == 1, "the block has no dropout at its end.")
        need(np.min(result) >= 0, "a result is below 0: where is the ReLU?")


@exercise("both mistakes are gone, and the loss on one batch falls")
def mended(answer) -> None:
    keras.utils.set_random_seed(SEED)
    network = call(answer)
    need_kind(network, keras.Model, "a network")
    need(network.compiled, "your network is not compiled.")
    labels = np.arange(14) % 7
    faces = draw_faces(labels, SEED)[..., None] / np.float32(255)
    answers = numbers(network(faces), (14, 7))
    sums = "an answer does not add up to 1: what does the last layer do to its sums?"
    need(np.allclose(answers.sum(axis=1), 1, atol=1e-3), sums)
    before = loss(network, faces, labels)
    after = loss(train(network, faces, labels, steps=40), faces, labels)
    fell = f"in 40 steps the loss went from {before:.2f} to {after:.2f}: how large are the steps?"
    need(after < 0.8 * np.log(7), fell)


def _windows(picture, kernel, dtype=float):
    """Slide a kernel over a picture, in numbers of some type."""
    windows = np.lib.stride_tricks.sliding_window_view(picture.astype(dtype), kernel.shape)
    return (windows * kernel.astype(dtype)).sum(axis=(2, 3), dtype=dtype)


_rng = np.random.default_rng(SEED)

convolve = function(
    "kernels of any height and width slide over pictures of any kind",
    _windows,
    {
        "with a kernel of 3 × 3": (_rng.random((7, 6)), _rng.random((3, 3))),
        "with a kernel of 2 × 4": (_rng.random((7, 6)), _rng.random((2, 4))),
        "with whole numbers of 8 bits": (
            _rng.integers(0, 256, (6, 6), np.uint8),
            _rng.integers(1, 9, (3, 3), np.uint8),
        ),
        "with a kernel of one number": (_rng.random((3, 2)), np.array([[2.0]])),
    },
    {
        "your kernel is turned round; lay it on the picture as it stands.": (
            lambda picture, kernel: _windows(picture, kernel[::-1, ::-1])
        ),
        "your result is as large as the picture: the kernel hangs over the edge.": (
            lambda picture, kernel: _windows(
                np.pad(picture, [(k // 2, (k - 1) // 2) for k in kernel.shape]), kernel
            )
        ),
        "the sums run over, since 8 bits end at 255.": (
            lambda picture, kernel: _windows(picture, kernel, picture.dtype)
        ),
    },
    near=1e-4,
)
