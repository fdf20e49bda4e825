"""What the figures show: the artists that were drawn, not merely that something was."""

import io
import re
import subprocess
import sys
from collections import Counter

import matplotlib as mpl
import numpy as np
import pytest
from conftest import ROOT
from lessons import defined
from matplotlib import pyplot as plt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Annotation
from PIL import Image

from helpers import FER_CLASSES, TutorialError, architecture, class_colours, plots

CLASSES = ("angry", "happy", "owl")


@pytest.fixture
def ax():
    """An ax of a figure that pyplot knows nothing of, and that draws without complaint."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    FigureCanvasAgg(figure)
    yield figure.subplots()
    figure.canvas.draw()
    assert plt.get_fignums() == []


def texts(ax):
    return [text.get_text() for text in ax.texts]


def boxes(artists, ax):
    renderer = ax.figure.canvas.get_renderer()
    return [artist.get_window_extent(renderer) for artist in artists]


def overlapping(found):
    return [
        (a, b)
        for i, a in enumerate(found)
        for b in found[:i]
        if min(a.x1, b.x1) - max(a.x0, b.x0) > 0.5 and min(a.y1, b.y1) - max(a.y0, b.y0) > 0.5
    ]


def test_every_class_has_a_colour_of_its_own():
    for classes in (FER_CLASSES, ["tongue out", "angry"], ["sad", "wink", "neither", "angry"]):
        assert len(set(class_colours(classes))) == len(classes)
    assert class_colours(["wink", "sad"])[1] == class_colours(FER_CLASSES)[5]
    assert len(class_colours([str(n) for n in range(20)])) == 20


CURVE = {"loss": [1.0], "val_loss": [2.0]}
CALLS = {
    "image_grid": (np.zeros((1, 8, 8), np.uint8),),
    "learning_curves": (CURVE,),
    "confusion_matrix": (np.eye(3, dtype=int), CLASSES),
    "per_class": ({"recall": np.array([0.1, 0.7, 0.2])}, CLASSES),
    "probabilities": (np.array([0.1, 0.7, 0.2]), CLASSES),
}


def test_every_function_is_tried_here():
    public = {n for n, f in vars(plots).items() if getattr(f, "__module__", "") == plots.__name__}
    tools = {"style", "as_html", "in_words", "new_ax", "as_it_is", "inches"}
    assert {name for name in public if not name.startswith("_")} == {*CALLS} | tools


@pytest.mark.parametrize("name", CALLS)
def test_every_function_returns_the_ax_given_or_a_new_one_with_its_title(ax, name):
    draw = getattr(plots, name)
    assert draw(*CALLS[name], title="See $a$ & 5%", ax=ax) is ax
    try:
        made = draw(*CALLS[name], title="See $a$ & 5%")
        assert plt.get_fignums() and made.figure is plt.gcf()
    finally:
        plt.close("all")
    for one in (ax, made):
        assert one.get_title("left") + one.get_title() == r"See \$a\$ & 5%"


NAMES = ["$x_1$", "$$", "100%", "[0]", "улыбка", "été", "笑", "😀"]


def test_names_of_any_kind_are_shown_as_they_are(ax, monkeypatch, recwarn):
    one, counts = np.eye(len(NAMES))[0], np.eye(len(NAMES), dtype=int)
    for draw in (
        lambda: plots.confusion_matrix(counts, NAMES, ax=ax),
        lambda: plots.per_class({"$y$": one, "z": one}, NAMES, ax=ax),
        lambda: plots.probabilities(one, NAMES, ax=ax),
        lambda: plots.image_grid(np.zeros((len(NAMES), 8, 8)), NAMES, ax=ax),
        lambda: plots.learning_curves(CURVE, label="$y$", ax=ax),
    ):
        ax.clear()
        draw()
        ax.figure.canvas.draw()  # would raise for $$ as mathematics
        shown = [*ax.texts, *ax.get_yticklabels(), *ax.get_xticklabels()]
        shown += ax.get_legend().get_texts() if ax.get_legend() else []
        for text in shown:
            said, mathematics = text._preprocess_math(text.get_text())
            assert not mathematics
            assert "\\" not in said
    assert all("Glyph" in str(warning.message) for warning in recwarn)


def test_a_name_of_a_hundred_letters_leaves_room_for_the_matrix(recwarn):
    ax = plots.confusion_matrix(np.eye(2, dtype=int), ["x" * 120, "y"])
    ax.figure.canvas.draw()
    assert not [w for w in recwarn if "constrained_layout" in str(w.message)]
    assert ax.get_xticklabels()[0].get_text() == "x" * 29 + "…"


def test_the_fonts_are_those_that_are_installed():
    with mpl.rc_context():
        plots.style()
        assert (
            mpl.rcParams["font.family"][-1:] != [] and "DejaVu Sans" in mpl.rcParams["font.family"]
        )
        ax = plots.new_ax(3, 3)
        ax.set_title("fine")
        ax.figure.canvas.draw()
        plt.close("all")


def test_importing_the_plots_makes_no_figure_and_loads_no_tensorflow():
    code = (
        "import sys, helpers.plots, matplotlib.pyplot as p;"
        "print(p.get_fignums(), 'tensorflow' in sys.modules)"
    )
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "False"]


def test_style_sets_the_look_once_for_all():
    with mpl.rc_context():
        plots.style()
        assert mpl.rcParams["axes.spines.top"] is False
        first = dict(mpl.rcParams)
        plots.style()
        assert dict(mpl.rcParams) == first


def test_style_leaves_the_layout_of_a_learner_s_figures_alone(recwarn):
    with mpl.rc_context():
        plots.style()
        figure, ax = plt.subplots(1, 2)
        figure.colorbar(ax[0].imshow(np.eye(2)))
        plt.tight_layout()
        plt.subplots_adjust(left=0.3)
        figure.canvas.draw()
        assert figure.subplotpars.left == 0.3
        plt.close("all")
    assert not recwarn.list


@pytest.mark.parametrize("before", ["dark_background", "default"])
def test_figures_are_dark_on_opaque_white_whatever_was_set_before(before):
    with mpl.rc_context():
        plt.style.use(before)
        mpl.rcParams["savefig.transparent"] = True
        plots.style()
        ax = plots.probabilities(np.array([0.1, 0.7, 0.2]), CLASSES, title="Bars")
        ax.plot([0, 1], label="a line")
        ax.legend()
        file = io.BytesIO()
        ax.figure.savefig(file, format="png")
        words = [*ax.texts, *ax.get_legend().get_texts(), *ax.get_yticklabels(), ax.xaxis.label]
        words += [ax.title, ax._left_title]
        assert {to_hex(word.get_color()) for word in words} <= {"#222222", "#262626"}
        plt.close("all")
    drawn = np.asarray(Image.open(file).convert("RGBA"))
    assert (drawn[..., 3] == 255).all()
    assert (drawn[[0, 0, -1, -1], [0, -1, 0, -1]] == 255).all()


def test_the_words_of_a_figure_are_its_titles_axes_names_and_numbers(ax):
    p = np.array([0.25, 0.7, 0.05])
    plots.probabilities(p, CLASSES, title="This face looks $happy$", ax=ax)
    assert plots.in_words(ax.figure) == (
        "This face looks $happy$. angry, happy, owl, 25.0%, 70.0%, 5.0%"
    )
    ax.clear()
    plots.learning_curves(log(6), "loss", title="Watch the gap", ax=ax)
    ax.figure.set_label("Two lines that part")
    assert plots.in_words(ax.figure) == (
        "Two lines that part. Watch the gap. epoch. loss. training, validation"
    )
    assert plots.in_words(Figure()) == "A figure without words"


def test_accuracies_are_labelled_with_what_they_are(ax):
    plots.learning_curves({"accuracy": [0.32, 0.4]}, "accuracy", ax=ax)
    ax.figure.canvas.draw()
    low, high = ax.get_ylim()
    ticks = zip(ax.get_yticks(), ax.get_yticklabels(), strict=True)
    inside = [(at, label.get_text()) for at, label in ticks if low <= at <= high]
    assert len(inside) > 2
    for at, label in inside:
        assert float(label.rstrip("%")) == pytest.approx(100 * at)


def test_image_grid_puts_every_picture_in_its_tile(ax):
    images = np.stack([np.full((10, 10), 20 * n, np.uint8) for n in range(5)])
    plots.image_grid(images, columns=3, ax=ax)
    (mosaic,) = ax.get_images()
    canvas = np.asarray(mosaic.get_array())
    assert canvas.shape == (21, 32)  # two rows and three columns of 10, gaps of 1
    for n in range(5):
        top, left = n // 3 * 11, n % 3 * 11
        assert (canvas[top : top + 10, left : left + 10] == 20 * n).all()
    assert (canvas[11:, 22:] == 255).all()  # the sixth tile is empty
    assert not ax.axison


def test_image_grid_takes_both_ranges(ax):
    grey = np.random.default_rng(0).integers(0, 255, (1, 4, 6)).astype(np.uint8)
    canvases = []
    for images in (grey, grey / np.float32(255), grey.astype(np.float32)):
        ax.clear()
        plots.image_grid(images, ax=ax)
        canvases.append(np.asarray(ax.get_images()[0].get_array(), int))
    assert (canvases[0] == grey[0]).all()
    assert ax.get_images()[0].get_clim() == (0, 255)  # not stretched to the picture's own range
    assert abs(canvases[1] - canvases[0]).max() <= 1
    assert (canvases[2] == canvases[0]).all()


def test_image_grid_captions_stand_under_their_tiles_and_apart(ax):
    captions = [f"{name} → surprise" for name in (*FER_CLASSES, *FER_CLASSES)]
    plots.image_grid(np.zeros((14, 48, 48), np.uint8), captions, columns=7, ax=ax)
    assert texts(ax) == captions
    ax.figure.canvas.draw()
    assert overlapping(boxes(ax.texts, ax)) == []
    xs = [text.get_position()[0] for text in ax.texts]
    ys = [text.get_position()[1] for text in ax.texts]
    assert xs[:7] == xs[7:] == sorted(xs[:7])
    assert 48 <= ys[0] < ys[7]


def log(epochs):
    e = np.arange(epochs)
    return {
        "loss": list(2 * np.exp(-e / 4)),
        "val_loss": list(2 * np.exp(-e / 4) + 0.03 * e),
        "accuracy": list(0.6 - 0.4 * np.exp(-e / 4)),
        "val_accuracy": list(0.5 - 0.3 * np.exp(-e / 4)),
    }


def test_learning_curves_start_at_epoch_1_and_differ_in_dashes(ax):
    plots.learning_curves(log(6), "accuracy", ax=ax)
    training, validation = ax.lines
    assert training.get_xdata().tolist() == validation.get_xdata().tolist() == [1, 2, 3, 4, 5, 6]
    assert training.get_ydata().tolist() == log(6)["accuracy"]
    assert validation.get_ydata().tolist() == log(6)["val_accuracy"]
    assert (training.get_linestyle(), validation.get_linestyle()) == ("--", "-")
    assert ax.get_xlabel() == "epoch" and ax.get_ylabel() == "accuracy"
    ax.figure.canvas.draw()
    assert any(label.get_text().endswith("%") for label in ax.get_yticklabels())


def test_learning_curves_of_two_runs_differ_in_marker_and_name(ax):
    plots.learning_curves(log(6), label="bare", title="Watch the gap", ax=ax)
    plots.learning_curves(log(9), label="dropout", colour="0.7", ax=ax)
    markers = [line.get_marker() for line in ax.lines]
    assert markers[0] == markers[1] != markers[2] == markers[3]
    assert [line.get_color() for line in ax.lines][2:] == ["0.7", "0.7"]
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    runs, parts = ("bare", "dropout"), ("training", "validation")
    assert names == [f"{run} {part}" for run in runs for part in parts]
    assert "Watch the gap" in (ax.get_title("left"), ax.get_title())


def test_learning_curves_without_validation_or_epochs(ax):
    plots.learning_curves({"loss": [1.0, np.nan, 0.5]}, ax=ax)
    assert [len(line.get_xdata()) for line in ax.lines] == [3, 0]
    ax.clear()
    plots.learning_curves({}, ax=ax)
    assert [len(line.get_xdata()) for line in ax.lines] == [0, 0]


@pytest.mark.parametrize("metric", ["loss", "accuracy"])
def test_event_texts_stand_at_their_epochs_without_overlap(ax, metric):
    events = [
        (8, "learning rate cut to 0.0003"),
        (8, "best weights"),
        (9, "best weights"),
        (9, "learning rate cut to 9e-05"),
        (14, "stopped"),
        (14, "best weights"),
    ]
    plots.learning_curves(log(14), metric, events, ax=ax)
    lines = [line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == ":"]
    assert sorted(lines) == sorted(epoch for epoch, _ in events)
    assert Counter(texts(ax)) == Counter(text for _, text in events)
    ax.figure.canvas.draw()
    assert overlapping(boxes(ax.texts, ax)) == []
    width = ax.get_window_extent().width
    for line, text in zip(lines, boxes(ax.texts, ax), strict=True):
        at = ax.transData.transform((line, 0))[0]
        assert min(abs(text.x0 - at), abs(text.x1 - at)) < 0.05 * width


COUNTS = np.array([[2, 1, 0], [0, 1, 1], [0, 0, 1]])


def test_confusion_matrix_has_true_classes_in_rows(ax):
    plots.confusion_matrix(COUNTS, CLASSES, ax=ax)
    assert texts(ax) == ["2", "1", "0", "0", "1", "1", "0", "0", "1"]
    assert [t.get_text() for t in ax.get_xticklabels()] == list(CLASSES)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["angry (3)", "happy (2)", "owl (1)"]
    assert ax.get_ylabel().startswith("true") and ax.get_xlabel().startswith("predicted")
    assert ax.yaxis_inverted()


def test_confusion_matrix_in_percent_of_each_row(ax):
    plots.confusion_matrix(np.pad(COUNTS, (0, 1)), (*CLASSES, "none"), normalize=True, ax=ax)
    rows = [texts(ax)[i : i + 4] for i in range(0, 16, 4)]
    assert rows[0] == ["67", "33", "0", "0"] and rows[1] == ["0", "50", "50", "0"]
    assert rows[3] == ["0"] * 4
    assert ax.collections[0].get_clim() == (0, 100)


def test_confusion_matrix_writes_large_counts_with_a_comma(ax):
    plots.confusion_matrix(1234 * np.eye(3, dtype=int), CLASSES, ax=ax)
    assert texts(ax)[0] == "1,234"


@pytest.mark.parametrize("k", [2, 7, 25, 100])
def test_confusion_matrix_of_few_and_many_classes_is_legible(k):
    names = [f"class {n}" for n in range(k)]
    with mpl.rc_context():
        plots.style()
        ax = plots.confusion_matrix(np.eye(k, dtype=int) * 50, names, title="A title of 26 letters")
        try:
            ax.figure.canvas.draw()
            assert len(ax.texts) == (k * k if k <= plots.NUMBERS else 0)
            assert overlapping(boxes(ax.texts, ax)[:60]) == []
            rows = ax.get_yticklabels()
            assert [t.get_text() for t in rows] == [f"{name} (50)" for name in names]
            assert overlapping(boxes(rows, ax)) == []
            limits, drawn = ax.figure.bbox, boxes([*rows, ax.title, ax._left_title], ax)
            assert all(b.x0 >= 0 and b.x1 <= limits.x1 and b.y1 <= limits.y1 for b in drawn)
        finally:
            plt.close("all")


def test_per_class_dots_and_intervals(ax):
    recall, ends = np.array([0.2, 0.8, np.nan]), np.array([[0.1, 0.7, 0.0], [0.3, 0.9, 0.0]])
    plots.per_class({"recall": recall}, CLASSES, {"recall": ends}, "recall", ax=ax)
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), recall)
    assert ax.lines[0].get_ydata().tolist() == [0, 1, 2]
    (bars,) = (c for c in ax.collections if isinstance(c, LineCollection))
    spans = [segment[:, 0].tolist() for segment in bars.get_segments()]
    assert spans[:2] == [[0.1, 0.3], [0.7, 0.9]]
    assert texts(ax)[:2] == ["0.20", "0.80"]
    assert ax.get_xlabel() == "recall" and ax.yaxis_inverted()
    assert ax.get_legend() is None


def test_per_class_series_differ_in_marker_and_place(ax):
    plots.per_class({"a": np.full(3, 0.5), "b": np.array([0.2, 0, 0.1])}, CLASSES, ax=ax)
    one, two = ax.lines[:2]
    assert one.get_marker() != two.get_marker()
    assert (one.get_ydata() < two.get_ydata()).all()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]


def test_probabilities_are_bars_with_the_highest_in_bold(ax):
    plots.probabilities(np.array([0.25, 0.7, 0.05]), CLASSES, ax=ax)
    assert [bar.get_width() for bar in ax.patches] == [0.25, 0.7, 0.05]
    assert texts(ax) == ["25.0%", "70.0%", "5.0%"]
    assert [t.get_fontweight() == "bold" for t in ax.texts] == [False, True, False]
    assert [t.get_fontweight() == "bold" for t in ax.get_yticklabels()] == [False, True, False]
    assert ax.get_xlim() == (0, 1.15)


def test_probabilities_on_axes_that_share_their_labels(ax):
    figure = ax.figure
    ax.remove()
    axes = figure.subplots(1, 2, sharey=True)
    for one, p in zip(axes, ([0.1, 0.2, 0.7], [0.8, 0.1, 0.1]), strict=True):
        plots.probabilities(np.array(p), CLASSES, ax=one)
    assert all(one.yaxis_inverted() for one in axes)
    assert [[t.get_fontweight() == "bold" for t in one.texts].index(True) for one in axes] == [2, 0]


def test_lesson_6_draws_a_box_and_a_text_for_each_face(ax):
    found = np.array([(40, 30, 70, 80), (0, 2, 20, 22)])
    picture = Image.new("RGB", (120, 100), "grey")
    draw = defined("classify_with_widgets", "draw_boxes")
    draw(ax, picture, found, ["happy", "sad"])
    drawn = {(p.get_x(), p.get_y(), p.get_width(), p.get_height()) for p in ax.patches}
    assert drawn == {(40, 30, 30, 50), (0, 2, 20, 20)}
    assert texts(ax) == ["happy", "sad"]
    assert [t.get_position() for t in ax.texts] == [(40, 30), (0, 8)]  # no room above the second


def test_architecture_of_the_lesson_is_drawn_to_scale_and_legible():
    from helpers.networks import build_cnn

    figure = Figure(figsize=(12, 4), layout="constrained")
    FigureCanvasAgg(figure)
    ax = architecture.draw_network(build_cnn(5), ax=figure.subplots())
    figure.canvas.draw()
    bold = [text.get_text() for text in ax.texts if text.get_fontweight() == "bold"]
    assert bold == [
        *("48 × 48 × 1", "24 × 24 × 32", "12 × 12 × 64", "6 × 6 × 128"),
        *("4,608", "512", "256", "5"),
    ]
    captions = texts(ax)
    for words in ("Conv2D 64, 3×3", "Dropout 0.2", "BatchNorm", "MaxPooling2D", "Dense, softmax"):
        assert words in captions
    weights = [int(t.split()[0].replace(",", "")) for t in captions if t.endswith(" parameters")]
    assert sum(weights) == build_cnn(5).count_params()
    slabs = [p for p in ax.patches if isinstance(p, Rectangle)]
    high = [slab.get_height() for slab in slabs[:7]]  # input, then conv and pool three times
    np.testing.assert_allclose(np.array(high) / high[0], np.array([48, 48, 24, 24, 12, 12, 6]) / 48)
    thick = [slab.get_width() for slab in slabs[1:6:2]]
    np.testing.assert_allclose(np.array(thick) / thick[0], [1, 2, 4], rtol=0.01)
    assert [bool(slab.get_hatch()) for slab in slabs[:7]] == [False] + [False, True] * 3
    assert all(text.get_fontsize() >= 7.5 for text in ax.texts if text.get_text())
    shown = [t for t in ax.texts if t.get_text() and not isinstance(t, Annotation)]
    assert overlapping(boxes(shown, ax)) == []
    arrows = [t for t in ax.texts if isinstance(t, Annotation)]
    assert len(arrows) == 7
    limits = figure.bbox
    assert all(b.x0 >= 0 and b.x1 <= limits.x1 and b.y0 >= 0 for b in boxes(shown, ax))


def test_architecture_gathers_a_deep_network_by_size(ax):
    import keras
    from keras import layers

    x = inputs = keras.Input((48, 48, 1))
    for filters in (8, 16, 32):
        for _ in range(4):
            y = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
            x = layers.Add()([x, y]) if x.shape[-1] == filters else y
        x = layers.MaxPooling2D()(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(3)(x))
    architecture.draw_network(model, ax=ax)
    bold = [text.get_text() for text in ax.texts if text.get_fontweight() == "bold"]
    assert bold == ["48 × 48 × 1", "24 × 24 × 8", "12 × 12 × 16", "6 × 6 × 32", "32", "3"]
    assert any(re.fullmatch(r"4\s× Conv2D 16, 3×3", text) for text in texts(ax))
    weights = [int(t.split()[0].replace(",", "")) for t in texts(ax) if t.endswith(" parameters")]
    assert sum(weights) == model.count_params()


@pytest.mark.parametrize("shape", [None, (None, None, 1)], ids=["none", "open"])
def test_architecture_needs_the_input_shape(ax, shape):
    import keras
    from keras import layers

    start = [keras.Input(shape)] if shape else []
    with pytest.raises(TutorialError, match=r"keras\.Input"):
        architecture.draw_network(keras.Sequential([*start, layers.Conv2D(2, 3)]), ax=ax)
