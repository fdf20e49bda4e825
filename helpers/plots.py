"""The figures of the lessons: every function draws into the `ax` it is given and returns it.

None creates or shows a figure, and none relies on colour alone: numbers, hatching, markers and
line styles say the same. `title` is a sentence that says what to see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter, StrMethodFormatter

from helpers import class_colours
from helpers.evaluation import Calibration, confusion_counts

INK, GREY, PALE = "#222222", "#767676", "#E3E6EA"
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#222222", "#E69F00")
MARKERS = "os^Dv*"
HATCHES = ("", "////", "....")


def style() -> None:
    """Set the look of all figures; call it once, before the first."""
    # seaborn's theme "ticks" at a font scale of .85, without the seconds that seaborn takes.
    mpl.rc("font", size=10.2, **{"sans-serif": ["Arial", "DejaVu Sans", "Liberation Sans"]})
    mpl.rc("axes", labelsize=10.2, labelcolor=".15", linewidth=1.25, axisbelow=True)
    mpl.rc("axes", edgecolor=GREY, prop_cycle=mpl.cycler(color=SERIES))
    mpl.rc(("xtick.major", "ytick.major"), size=6, width=1.25)
    mpl.rc("grid", linewidth=1)
    mpl.rc("patch", edgecolor="w", force_edgecolor=True)
    mpl.rc("text", color=".15")
    mpl.rc("figure", dpi=96)
    mpl.rc("figure.constrained_layout", use=True, h_pad=0.08, w_pad=0.08)
    mpl.rc("axes", titlelocation="left", titlesize=11.5, titleweight="bold", titlepad=10)
    mpl.rc("axes.spines", top=False, right=False)
    mpl.rc(("xtick", "ytick"), color=GREY, labelcolor=INK, labelsize=9.35)
    mpl.rc("legend", frameon=False, fontsize=9.35, title_fontsize=10.2)


def image_grid(
    ax: Axes,
    images: np.ndarray,
    titles: Sequence[str] | None = None,
    columns: int = 8,
    title: str = "",
) -> Axes:
    """Draw grey images (n, h, w) as one mosaic, with `titles` as captions below them.

    Floats whose maximum is at most 1 are taken as 0..1, all else as 0..255.
    """
    images = np.asarray(images)
    if images.dtype.kind == "f" and images.max() <= 1:
        images = images * 255
    n, h, w = images.shape
    columns = min(columns, n)
    gap = below = max(1, round(0.06 * w))
    if titles is not None:
        point = w * columns / (72 * _inches(ax)[0])  # in pixels of the images
        size = float(np.clip(w / point / (0.58 * max(map(len, titles))), 5.5, 9))
        below += round(1.4 * size * point)
    shape = (-(-n // columns) * (h + below) - gap, columns * (w + gap) - gap)
    canvas = np.full(shape, 255, np.uint8)
    for index, image in enumerate(images):
        top, left = index // columns * (h + below), index % columns * (w + gap)
        canvas[top : top + h, left : left + w] = image
        if titles is not None:
            at = (left + w / 2, top + h + 0.2 * size * point)
            ax.text(*at, titles[index], ha="center", va="top", fontsize=size, color=INK)
    ax.imshow(canvas, cmap="gray", vmin=0, vmax=255)
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
        look |= {"markerfacecolor": "white" if dashes == "--" else look["color"]}
        look |= {"label": f"{label} {name}".strip(), "markevery": every}
        ax.plot(range(1, len(values) + 1), values, dashes, **look)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.set(xlabel="epoch", ylabel=metric)
    if title:
        ax.set_title(title)
    rising = metric.endswith("accuracy")
    if rising:
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    line = 11 / 72 / _inches(ax)[0] * np.ptp(ax.get_xlim())  # the height of a text line, in epochs
    x = np.inf
    for epoch, text in sorted(events, reverse=True):
        ax.axvline(epoch, color=GREY, linestyle=":", linewidth=1, zorder=4)
        x = min(epoch, x - line)  # left of its line, and of the text before
        y, side = (0.02, "bottom") if rising else (0.98, "top")
        look = {"rotation": 90, "fontsize": 7.5, "transform": ax.get_xaxis_transform()}
        look["bbox"] = {"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.75}
        ax.text(x, y, text, ha="right", va=side, **look)
    ax.legend(loc="best")
    return ax


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
    import seaborn as sns

    counts = confusion_counts(labels, predicted, len(classes))
    support = counts.sum(axis=1, keepdims=True)
    shown = 100 * counts / np.maximum(support, 1) if normalize else counts
    rows = [f"{name} ({n:,})" for name, n in zip(classes, support[:, 0], strict=True)]
    look = {"fmt": ".0f", "vmax": 100} if normalize else {"fmt": ",d"}
    look |= {"annot_kws": {"fontsize": 9}, "linewidths": 1, "cbar": False, "square": True}
    look |= {"xticklabels": list(classes), "yticklabels": rows}
    sns.heatmap(shown, ax=ax, cmap="Blues", vmin=0, annot=True, **look)
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
    if len(series) > 1:
        ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    else:
        for value, at in zip(values, y, strict=True):
            place = {"xytext": (0, 5), "textcoords": "offset points", "ha": "center"}
            ax.annotate(f"{value:.2f}", (value, at), fontsize=7.5, color=INK, **place)
    ax.set_yticks(range(len(classes)), classes)
    ax.set_ylim(len(classes) - 0.5, -0.6)
    ax.grid(axis="y", color=PALE)
    ax.set_axisbelow(True)
    ax.set(xlabel=xlabel, title=title)
    return ax


def reliability(ax: Axes, calibration: Calibration, title: str = "") -> Axes:
    """Draw accuracy against confidence, the larger the dot the more images in the bin.

    The thin lines to the diagonal are the gaps that the expected calibration error (ECE) sums.
    """
    full = calibration.count > 0
    x, y, count = calibration.confidence[full], calibration.accuracy[full], calibration.count[full]
    ax.plot([0, 1], [0, 1], linestyle="--", color=GREY, linewidth=1)
    ax.text(0.03, 0.06, "as sure as right", rotation=45, fontsize=8, color=GREY)
    ax.vlines(x, x, y, color=SERIES[0], linewidth=1, alpha=0.7)
    look = {"color": SERIES[0], "edgecolor": "white", "alpha": 0.8, "zorder": 3, "clip_on": False}
    ax.scatter(x, y, 15 + 500 * count / count.sum(), **look)
    ax.text(0.03, 0.94, f"ECE {calibration.ece:.1%}", color=INK)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="confidence", ylabel="accuracy", aspect="equal")
    ax.set_title(title)
    return ax


def probabilities(ax: Axes, p: np.ndarray, classes: Sequence[str], title: str = "") -> Axes:
    """Draw one bar per class with its percentage, the highest in bold; `p` is (k,), 0 to 1."""
    bars = ax.barh(range(len(classes)), p, 0.72, color=class_colours(classes))
    texts = ax.bar_label(bars, [f"{value:.1%}" for value in p], padding=4, fontsize=9, color=INK)
    ax.set_yticks(range(len(classes)), classes)
    # The tick, not get_yticklabels(), which is empty where axes share their labels.
    for text in (texts[np.argmax(p)], ax.yaxis.get_major_ticks()[np.argmax(p)].label1):
        text.set_fontweight("bold")
    ax.tick_params(axis="y", length=0)
    ax.spines["bottom"].set_visible(False)
    ax.set(xlim=(0, 1.15), ylim=(len(classes) - 0.5, -0.5), xticks=[], title=title)
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
        base = max(top, 0.08 * picture.shape[0])  # no room above the box: write it into the box
        paper = {"facecolor": INK, "edgecolor": "none", "pad": 2, "alpha": 0.85}
        place = {"xytext": (2, 3), "textcoords": "offset points", "annotation_clip": False}
        ax.annotate(text, (left, base), fontsize=9, color="white", bbox=paper, **place)
    ax.set_axis_off()
    ax.set_title(title)
    return ax


def _inches(ax: Axes) -> tuple[float, float]:
    """Return the width and height of the ax, as far as they are known before the layout."""
    box, figure = ax.get_position(), ax.get_figure(root=True)
    return box.width * figure.get_figwidth(), box.height * figure.get_figheight()
