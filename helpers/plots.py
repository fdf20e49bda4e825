"""The figures of the lessons: every function draws into the `ax` it is given and returns it.

None creates or shows a figure, and none relies on colour alone: numbers, hatching, markers and
line styles say the same. `title` is a sentence that says what to see.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.patches import Patch, Polygon, Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter, StrMethodFormatter

from helpers.evaluation import Calibration, confusion_counts
from helpers.settings import TutorialError, class_colours

INK, GREY, PALE = "#222222", "#767676", "#E3E6EA"
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#222222", "#E69F00")
MARKERS = "os^Dv*"
HATCHES = ("", "////", "....")


def style() -> None:
    """Set the look of all figures; call it once, at the top of a notebook."""
    sns.set_theme(context="notebook", style="ticks", font_scale=0.85, palette=SERIES)
    layout = {"use": True, "h_pad": 0.08, "w_pad": 0.08}
    mpl.rc("figure", dpi=96)
    mpl.rc("figure.constrained_layout", **layout)
    mpl.rc("axes", titlelocation="left", titlesize=11.5, titleweight="bold", titlepad=10)
    mpl.rc("axes", edgecolor=GREY)
    mpl.rc("axes.spines", top=False, right=False)
    mpl.rc(("xtick", "ytick"), color=GREY, labelcolor=INK)
    mpl.rc("legend", frameon=False)


def image_grid(
    ax: Axes,
    images: np.ndarray,
    titles: Sequence[str] | None = None,
    columns: int = 8,
    title: str = "",
) -> Axes:
    """Draw images (n, h, w), (n, h, w, 1) or (n, h, w, 3) as one mosaic, captions below.

    Floats whose maximum is at most 1 are taken as 0..1, all else as 0..255.
    """
    images = np.asarray(images)
    images = images[..., None] if images.ndim == 3 else images
    if images.dtype.kind == "f" and images.size and images.max() <= 1:
        images = images * 255
    n, h, w = images.shape[:3]
    columns = max(1, min(columns, n))
    lines = [line for text in titles or () for line in str(text).split("\n")]
    point = w * columns / (72 * _inches(ax)[0])  # in pixels of the images
    size = float(np.clip(w / point / (0.58 * max(map(len, lines), default=1)), 5.5, 9))
    tallest = max((str(text).count("\n") + 1 for text in titles or ()), default=0)
    gap = max(1, round(0.06 * w))
    below = gap + round(1.4 * tallest * size * point)
    shape = (-(-n // columns) * (h + below) - gap, columns * (w + gap) - gap, 3)
    canvas = np.full(shape, 255, np.uint8)
    for index, image in enumerate(images):
        top, left = index // columns * (h + below), index % columns * (w + gap)
        canvas[top : top + h, left : left + w] = np.clip(image, 0, 255)
        if titles is not None:
            at = (left + w / 2, top + h + 0.2 * size * point)
            ax.text(*at, titles[index], ha="center", va="top", fontsize=size, color=INK)
    ax.imshow(canvas)
    ax.set_axis_off()
    ax.set_title(title)
    return ax


def class_balance(
    ax: Axes, parts: Mapping[str, np.ndarray], classes: Sequence[str], title: str = ""
) -> Axes:
    """Draw how many images each class has in each part, and their share of that part."""
    height, handles = 0.84 / len(parts), []
    for row, (name, labels) in enumerate(parts.items()):
        counts = np.bincount(labels, minlength=len(classes))
        y = np.arange(len(classes)) + (row - (len(parts) - 1) / 2) * height
        look = {"alpha": 0.6 if row else 1, "hatch": HATCHES[row % 3], "edgecolor": "white"}
        bars = ax.barh(y, counts, 0.9 * height, color=class_colours(classes), **look)
        texts = [f"{count:,}  ({count / max(counts.sum(), 1):.1%})" for count in counts]
        ax.bar_label(bars, texts, padding=4, fontsize=8, color=INK)
        handles.append(Patch(facecolor=GREY, label=f"{name}: {counts.sum():,} images", **look))
    ax.legend(handles=handles, loc="best")
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    ax.set_yticks(range(len(classes)), classes)
    ax.invert_yaxis()
    ax.margins(x=0.2)
    ax.set(xlabel="images (share of their part)", title=title)
    return ax


def learning_curves(
    ax: Axes,
    log: Mapping[str, Sequence[float]],
    metric: str = "loss",
    events: Sequence[tuple[int, str]] = (),
    label: str = "",
    colour: str | None = None,
    title: str = "",
) -> Axes:
    """Draw one run: training dashed, validation solid, epochs from 1, events as dotted lines.

    Call it again on the same ax to add a run: it gets a colour and a marker of its own.
    """
    run = sum(line.get_linestyle() == "--" for line in ax.lines)
    look = {"color": colour or SERIES[run % 6], "marker": MARKERS[run % 6], "markersize": 4}
    for key, name, dashes in ((metric, "training", "--"), (f"val_{metric}", "validation", "-")):
        values = log.get(key, ())
        every = max(1, len(values) // 8)
        name = f"{label}, {name}" if label else name
        look["markerfacecolor"] = "white" if dashes == "--" else look["color"]
        ax.plot(range(1, len(values) + 1), values, dashes, label=name, markevery=every, **look)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.set(xlabel="epoch", ylabel=metric)
    if title:
        ax.set_title(title)
    rising = metric.endswith("accuracy")
    if rising:
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    _mark(ax, events, low=rising)
    ax.legend(loc="best")
    return ax


def _mark(ax: Axes, events: Sequence[tuple[int, str]], low: bool, size: float = 7.5) -> None:
    """Draw events; each upright text takes the first free place beside its line."""
    (left, right), (width, height) = ax.get_xlim(), _inches(ax)
    thick, taken = 1.4 * size / 72, []
    for epoch, text in sorted(events):
        ax.axvline(epoch, color=GREY, linestyle=":", linewidth=1)
        at, long = (epoch - left) / (right - left) * width, 0.58 * size / 72 * len(text)
        ends = [0.02 * height, max(0.02, 0.96 - long / height) * height]
        sides = [0.02, -0.02 - thick], [step * thick for step in range(2, 40)]
        ends = ends if low else ends[::-1]
        places = [(at + side, end) for near in sides for end in ends for side in near]
        free = (p for p in places if not any(_overlap(p, q, thick, long) for q in taken))
        x, y = next(free, places[0])
        taken.append((x, y, long))
        where = {"transform": ax.transAxes, "rotation": 90, "ha": "left", "va": "bottom"}
        paper = {"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.75}
        ax.text(x / width, y / height, text, fontsize=size, color=INK, bbox=paper, **where)


def _overlap(place, other, thick: float, long: float) -> bool:
    (x, y), (left, bottom, length) = place, other
    return abs(x - left) < thick and bottom - long < y < bottom + length


def confusion_matrix(
    ax: Axes,
    labels: np.ndarray,
    predicted: np.ndarray,
    classes: Sequence[str],
    normalize: bool = False,
    title: str = "",
) -> Axes:
    """Draw true classes as rows and predicted ones as columns.

    `normalize` shows percent of each row, so that the diagonal is the recall.
    """
    counts = confusion_counts(labels, predicted, len(classes))
    support = counts.sum(axis=1, keepdims=True)
    shown = 100 * counts / np.maximum(support, 1) if normalize else counts
    options = {"fmt": ".0f", "vmax": 100} if normalize else {"fmt": ",d"}
    options |= {"annot_kws": {"fontsize": 9}, "linewidths": 1, "cbar": False, "square": True}
    rows = [f"{name} ({n:,})" for name, n in zip(classes, support[:, 0], strict=True)]
    names = {"xticklabels": list(classes), "yticklabels": rows}
    sns.heatmap(shown, ax=ax, cmap="Blues", vmin=0, annot=True, **names, **options)
    ax.tick_params(axis="x", length=0, rotation=35)
    ax.tick_params(axis="y", length=0, rotation=0)
    unit = "percent of the true class" if normalize else "images"
    ax.set(xlabel=f"predicted ({unit})", ylabel="true (images)", title=title)
    return ax


def per_class(
    ax: Axes,
    series: Mapping[str, np.ndarray],
    classes: Sequence[str],
    intervals: Mapping[str, np.ndarray] | None = None,
    xlabel: str = "",
    title: str = "",
) -> Axes:
    """Draw one dot per class and series, with the (2, k) ends of its interval where given."""
    for row, (name, values) in enumerate(series.items()):
        y = np.arange(len(classes)) + (row - (len(series) - 1) / 2) * 0.6 / len(series)
        colour, (low, high) = SERIES[row % 6], (intervals or {}).get(name, (values, values))
        ax.hlines(y, low, high, color=colour, linewidth=2.2, alpha=0.55)
        ax.plot(values, y, MARKERS[row % 6], label=name, color=colour, markersize=6.5)
        for value, at in zip(values, y, strict=True):
            if len(series) == 1 and np.isfinite(value):
                place = {"xytext": (0, 5), "textcoords": "offset points", "ha": "center"}
                ax.annotate(f"{value:.2f}", (value, at), fontsize=7.5, color=INK, **place)
    if ax.get_xlim()[0] < 0:
        ax.axvline(0, color=GREY, linewidth=1)
    if len(series) > 1:
        ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    ax.set_yticks(range(len(classes)), classes)
    ax.set_ylim(len(classes) - 0.5, -0.6)
    ax.grid(axis="y", color=PALE)
    ax.set_axisbelow(True)
    ax.set(xlabel=xlabel, title=title)
    return ax


def reliability(
    ax: Axes,
    calibration: Calibration,
    title: str = "",
    label: str = "",
    colour: str | None = None,
) -> Axes:
    """Draw accuracy against confidence, the larger the dot the more images in the bin.

    The thin lines to the diagonal are the gaps that the expected calibration error (ECE) sums.
    Call it again on the same ax to compare, say, before and after temperature scaling.
    """
    run, full = len(ax.collections) // 2, calibration.count > 0
    colour = colour or SERIES[run % 6]
    x, y, count = (
        v[full] for v in (calibration.confidence, calibration.accuracy, calibration.count)
    )
    if run == 0:
        ax.plot([0, 1], [0, 1], linestyle="--", color=GREY, linewidth=1)
        ax.text(0.03, 0.06, "as sure as right", rotation=45, fontsize=8, color=GREY)
    ax.vlines(x, x, y, color=colour, linewidth=1, alpha=0.7)
    name = f"{label}: ECE {calibration.ece:.1%}".lstrip(": ")
    look = {"color": colour, "marker": MARKERS[run % 6], "edgecolor": "white", "clip_on": False}
    ax.scatter(x, y, 15 + 500 * count / count.sum(), alpha=0.8, label=name, zorder=3, **look)
    for handle in ax.legend(loc="upper left").legend_handles:
        handle.set_sizes([40])
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="confidence", ylabel="accuracy", aspect="equal")
    if title:
        ax.set_title(title)
    return ax


def probabilities(ax: Axes, p: np.ndarray, classes: Sequence[str], title: str = "") -> Axes:
    """Draw one bar per class with its percentage, the highest in bold."""
    bars = ax.barh(range(len(classes)), p, 0.72, color=class_colours(classes))
    texts = ax.bar_label(bars, [f"{value:.1%}" for value in p], padding=4, fontsize=9, color=INK)
    ax.set_yticks(range(len(classes)), classes)
    for text in (texts[np.argmax(p)], ax.get_yticklabels()[np.argmax(p)]):
        text.set_fontweight("bold")
    ax.tick_params(axis="y", length=0)
    ax.invert_yaxis()
    ax.spines["bottom"].set_visible(False)
    ax.set(xlim=(0, 1.15), xticks=[], title=title)
    return ax


def faces_on_picture(
    ax: Axes, image, faces: Sequence, texts: Sequence[str], title: str = ""
) -> Axes:
    """Draw a picture (PIL or array) with a box per face (its `.box`) and a text at each."""
    picture = np.asarray(image)
    ax.imshow(picture, cmap="gray")
    for face, text in zip(faces, texts, strict=True):
        left, top, right, bottom = face.box
        for colour, width in (("white", 4), ("#D55E00", 2)):
            look = {"edgecolor": colour, "linewidth": width, "fill": False}
            ax.add_patch(Rectangle((left, top), right - left, bottom - top, **look))
        above = top > 0.08 * picture.shape[0]  # else there is no room: write it into the box
        place = {"xytext": (2, 3 if above else -3), "va": "bottom" if above else "top"}
        place |= {"textcoords": "offset points", "annotation_clip": False}
        paper = {"facecolor": INK, "edgecolor": "none", "pad": 2, "alpha": 0.85}
        ax.annotate(text, (left, top), fontsize=9, color="white", bbox=paper, **place)
    ax.set_axis_off()
    ax.set_title(title)
    return ax


def architecture(ax: Axes, model, title: str = "") -> Axes:
    """Draw a chain of layers as blocks, with what leaves each block and its parameters below.

    A slab is as high as its feature map is and as thick as it has channels, to scale; the
    hatched one beside it is what pooling leaves. A bar is a vector, its height the square root
    of its length. More than ten blocks are gathered by the size of their feature maps.

    Raises:
        TutorialError: if the network does not know the shape of its input yet.
    """
    if not getattr(model, "built", False) or None in model.input_shape[1:]:
        raise TutorialError("Begin the network with keras.Input((48, 48, 1)) to have it drawn.")
    blocks, (width, height) = _blocks(model), _inches(ax)
    column = width / len(blocks)
    size = float(np.clip(72 * column / 11, 5, 8.5))
    line = 1.45 * size / 72
    floor = line * (2.6 + max(len(names) for _, names, _ in blocks))
    room, middle = 0.94 * (height - floor), (height + floor) / 2
    maps, vectors = (
        [s for drawn, _, _ in blocks for s in drawn if (len(s) == 1) is flat]
        for flat in (False, True)
    )
    side = min(0.76 * room, 0.85 * column) / max((s[0] for s in maps), default=1)
    thick = 0.22 * min(column, 1.6) / max((s[-1] for s in maps), default=1)
    tall = room / max((s[0] for s in vectors), default=1) ** 0.5
    ends = []
    for index, (drawn, names, weights) in enumerate(blocks):
        boxes = [
            (max(0.04, thick * s[-1]), side * s[0], 0.3 * side * s[0])
            if len(s) > 1
            else (0.12, max(0.05, tall * s[0] ** 0.5), 0)
            for s in drawn
        ]
        centre = (index + 0.5) * column
        x = centre - sum(wide + lean for wide, _, lean in boxes) / 2
        ends.append(x)
        for number, (wide, high, lean) in enumerate(boxes):
            _slab(ax, x, middle - (high + lean) / 2, wide, high, lean, pooled=number > 0)
            x += wide + lean
        ends.append(x)
        shape = " × ".join(f"{n:,}" for n in drawn[-1])
        lines = [shape, *names, f"{weights:,} parameters" if weights else ""]
        for number, text in enumerate(lines):
            look = {"color": GREY if number > len(names) else INK, "fontsize": size}
            look |= {"fontweight": "normal" if number else "bold", "ha": "center", "va": "top"}
            ax.text(centre, floor - (0.6 + number) * line, text, **look)
    for start, end in list(pairwise(ends))[1::2]:
        arrow = {"arrowstyle": "-|>", "color": GREY, "shrinkA": 3, "shrinkB": 3}
        ax.annotate("", (end, middle), (start, middle), arrowprops=arrow)
    ax.set(xlim=(0, width), ylim=(0, height))
    ax.set_axis_off()
    ax.set_title(title or f"{model.name}: {model.count_params():,} parameters")
    return ax


def _slab(ax: Axes, x, y, wide, high, lean, pooled: bool) -> None:
    look = {"facecolor": "#F3C98B" if pooled else "#A9CBE8", "edgecolor": INK, "linewidth": 0.8}
    look["hatch"] = "/////" if pooled else ""
    far, top = x + wide, y + high
    if lean:
        above = [(x, top), (x + lean, top + lean), (far + lean, top + lean), (far, top)]
        beside = [(far, y), (far + lean, y + lean), (far + lean, top + lean), (far, top)]
        ax.add_patch(Polygon(beside, **look))
        ax.add_patch(Polygon(above, alpha=0.6, **look))
    ax.add_patch(Rectangle((x, y), wide, high, **look))


def _blocks(model, most: int = 10) -> list[tuple[list[tuple], list[str], int]]:
    """Return (shapes to draw, names of layers, parameters) per block.

    A convolution, a dense layer, or a change from map to vector begins a block.
    """
    blocks = [([tuple(model.input_shape[1:])], ["input"], 0)]
    for layer in _layers(model):
        kind, shape = type(layer).__name__, tuple(layer.output.shape[1:])
        shapes, names, weights = blocks[-1]
        if "Conv" in kind or kind == "Dense" or len(shape) != len(shapes[-1]):
            shapes, names, weights = [shape], [], 0
            blocks.append(None)
        elif shape != shapes[-1]:
            shapes = [shapes[0], shape]
        blocks[-1] = (shapes, [*names, _name(layer, kind, shape)], weights + layer.count_params())
    if len(blocks) <= most:
        return blocks
    gathered = []
    numbered = [
        (n if n == 0 or len(b[0][0]) == 1 else b[0][0][:-1], b) for n, b in enumerate(blocks)
    ]
    for _, same in groupby(numbered, key=lambda item: item[0]):
        group = [block for _, block in same]
        counted = Counter(name for _, names, _ in group for name in names).items()
        names = [name if count == 1 else f"{count}\u202f× {name}" for name, count in counted]
        shapes = group[-1][0]
        gathered.append((shapes, names, sum(weights for _, _, weights in group)))
    return gathered


def _layers(model) -> list:
    """Return the layers in order, those of models within the model too."""
    parts = [_layers(layer) if hasattr(layer, "layers") else [layer] for layer in model.layers]
    return [layer for part in parts for layer in part if type(layer).__name__ != "InputLayer"]


def _name(layer, kind: str, shape: tuple[int, ...]) -> str:
    config = layer.get_config()
    if "kernel_size" in config:
        return f"{kind} {shape[-1]}, {'×'.join(map(str, config['kernel_size']))}"
    if kind == "Dense":
        return f"Dense, {config['activation']}"
    short = kind.replace("Normalization", "Norm")
    return f"{short} {config['rate']:g}" if "rate" in config else short


def _inches(ax: Axes) -> tuple[float, float]:
    """Return the width and height of the ax, as far as they are known before the layout."""
    box, figure = ax.get_position(), ax.get_figure(root=True)
    return box.width * figure.get_figwidth(), box.height * figure.get_figheight()
