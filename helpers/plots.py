"""The figures of the lessons, from arrays: every function returns the `ax` that it drew into.

That is the one given, or one in a new figure. None shows it, and none relies on colour alone:
numbers, hatching, markers and line styles say the same. `title` is a sentence that says what to
see. Names are shown as they are, a dollar sign included.
"""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from textwrap import shorten

import matplotlib as mpl
import numpy as np
from IPython import get_ipython
from IPython.core.pylabtools import print_figure
from matplotlib import font_manager
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from matplotlib.ticker import MaxNLocator, PercentFormatter

from helpers import class_colours

Array, Names = np.ndarray, Sequence[str]
INK, GREY, PALE = "#222222", "#767676", "#E3E6EA"
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#222222", "#E69F00")
MARKERS = "os^Dv*"
NUMBERS = 25  # classes: a confusion matrix of more has no room for its numbers
# The first that is installed and has the letter: the others are for Chinese, emoji and so on.
FONTS = ("Arial", "DejaVu Sans", "Microsoft YaHei", "Hiragino Sans", "Noto Sans CJK JP")
FONTS += ("Malgun Gothic", "Nirmala UI", "Arial Unicode MS", "Segoe UI Emoji", "Noto Emoji")


def style() -> None:
    """Set fonts and colours of all figures, and give them alternative text in a notebook."""
    plt.style.use(Path(__file__).with_name("plots.mplstyle"))
    installed = {font.name for font in font_manager.fontManager.ttflist}
    mpl.rc("font", family=[name for name in FONTS if name in installed])
    if shell := get_ipython():
        shell.config.InlineBackend.figure_formats = set()  # not a second time, as PNG
        shell.display_formatter.formatters["text/html"].for_type(FigureBase, as_html)


def as_html(figure: Figure) -> str | None:
    """Return a figure as an HTML image, since JupyterLab gives no other one alternative text."""
    png = print_figure(figure, base64=True)  # None if there is nothing in it
    return png and f'<img alt="{escape(in_words(figure))}" src="data:image/png;base64,{png}">'


def in_words(figure: Figure) -> str:
    """Return what is written in a figure: label, titles, axes, names, numbers at bars and dots."""
    said = [figure.get_label(), figure.get_suptitle()]
    for ax in figure.axes:
        said += [*map(ax.get_title, ("left", "center", "right")), ax.get_xlabel(), ax.get_ylabel()]
        ticks = ax.get_xticklabels() + ax.get_yticklabels()
        ids = [t for t in ticks if t.get_text()[:1] not in "0123456789$.−"]  # no numbers
        legend = ax.get_legend().get_texts() if ax.get_legend() else []
        said.append(", ".join(t.get_text() for t in [*ids, *legend, *ax.texts]))
    text = ". ".join(part.replace(r"\$", "$").strip(" .") for part in said if part)
    return shorten(text or "A figure without words", 600, placeholder=" …")


def new_ax(width: float, height: float) -> Axes:
    """Return the ax of a new figure, so many inches wide and high."""
    return plt.subplots(figsize=(width, height), layout="constrained")[1]


def as_it_is(name: str) -> str:
    """Return a name in such a way that matplotlib does not read $...$ in it as mathematics."""
    return str(name).replace("$", r"\$")


def inches(ax: Axes) -> tuple[float, float]:
    """Return the width and height of the ax, as far as they are known before the layout."""
    box, figure = ax.get_position(), ax.get_figure(root=True)
    return box.width * figure.get_figwidth(), box.height * figure.get_figheight()


def image_grid(
    images: Array, captions: Names = (), columns: int = 8, title: str = "", ax: Axes | None = None
) -> Axes:
    """Draw grey images (n, h, w) as one mosaic, each with its caption below.

    Floats whose maximum is at most 1 are taken as 0..1, all else as 0..255.
    """
    images = np.asarray(images)
    if images.dtype.kind == "f" and images.max() <= 1:
        images = images * 255
    n, h, w = images.shape
    columns = min(columns, n)
    rows = -(-n // columns)
    ax = ax or new_ax(min(1.3 * columns, 11), min(1.5 * rows, 12) + 0.5)
    gap = below = max(1, round(0.06 * w))
    if len(captions):
        point = w * columns / (72 * inches(ax)[0])  # in pixels of the images
        size = float(np.clip(w / point / (0.58 * max(map(len, captions))), 5.5, 9))
        below += round(1.4 * size * point)
    canvas = np.full((rows * (h + below) - gap, columns * (w + gap) - gap), 255, np.uint8)
    for index, image in enumerate(images):
        top, left = index // columns * (h + below), index % columns * (w + gap)
        canvas[top : top + h, left : left + w] = image
        if len(captions):
            place = (left + w / 2, top + h + 0.2 * size * point, as_it_is(captions[index]))
            ax.text(*place, ha="center", va="top", fontsize=size, color=INK)
    ax.imshow(canvas, cmap="gray", vmin=0, vmax=255)
    ax.set_axis_off()
    ax.set_title(as_it_is(title))
    return ax


def learning_curves(
    log: Mapping[str, Sequence[float]],
    metric: str = "loss",
    events: Sequence[tuple[int, str]] = (),
    label: str = "",
    colour: str | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw one run: training dashed, validation solid, epochs from 1, events as dotted lines.

    Call it again on the same ax to add a run: it gets a colour and a marker of its own.
    """
    ax = ax or new_ax(6, 4)
    run = sum(line.get_linestyle() == "--" for line in ax.lines)
    look = {"color": colour or SERIES[run % 6], "marker": MARKERS[run % 6], "markersize": 4}
    for key, name, dashes in ((metric, "training", "--"), (f"val_{metric}", "validation", "-")):
        values = log.get(key, ())
        look["markerfacecolor"] = "white" if dashes == "--" else look["color"]
        look["label"] = f"{as_it_is(label)} {name}".strip()
        look["markevery"] = max(1, len(values) // 8)
        ax.plot(range(1, len(values) + 1), values, dashes, **look)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.set(xlabel="epoch", ylabel=metric)
    if title:
        ax.set_title(as_it_is(title))
    if metric.endswith("accuracy"):
        ax.yaxis.set_major_formatter(PercentFormatter(1))
    _mark_events(ax, events, low=metric.endswith("accuracy"))
    ax.legend(loc="best")
    return ax


def _mark_events(ax: Axes, events: Sequence[tuple[int, str]], low: bool) -> None:
    """Draw a dotted line at each event's epoch, its text upright and left of it."""
    line = 11 / 72 / inches(ax)[0] * np.ptp(ax.get_xlim())  # the height of a text line, in epochs
    y, side = (0.02, "bottom") if low else (0.98, "top")
    look = {"rotation": 90, "fontsize": 7.5, "transform": ax.get_xaxis_transform()}
    look["bbox"] = {"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.75}
    x = np.inf
    for epoch, text in sorted(events, reverse=True):
        ax.axvline(epoch, color=GREY, linestyle=":", linewidth=1, zorder=4)
        x = min(epoch, x - line)  # left of its line, and of the text before
        ax.text(x, y, text, ha="right", va=side, **look)


def confusion_matrix(
    counts: Array, classes: Names, normalize: bool = False, title: str = "", ax: Axes | None = None
) -> Axes:
    """Draw counts (k, k), as scikit-learn's `confusion_matrix` gives them: true classes as rows.

    `normalize` shows percent of each row, so that the diagonal is the recall. More than `NUMBERS`
    classes are drawn without numbers, on a larger figure.
    """
    import seaborn as sns

    few = len(classes) <= NUMBERS
    side = np.clip(0.62 * len(classes) + 1.4, 3.6, 20)
    ax = ax or new_ax(max(side + 1.2, 8), side)
    support = np.sum(counts, axis=1, keepdims=True)
    shown = 100 * counts / np.maximum(support, 1) if normalize else counts
    names = [as_it_is(name if len(name) <= 30 else f"{name[:29]}…") for name in classes]
    rows = [f"{name} ({n:,})" for name, n in zip(names, support[:, 0], strict=True)]
    look = {"fmt": ".0f", "vmax": 100} if normalize else {"fmt": ",d"}
    look |= {"annot": few, "cbar": not few, "linewidths": int(few), "annot_kws": {"fontsize": 9}}
    look |= {"xticklabels": names, "yticklabels": rows, "square": True}
    sns.heatmap(shown, ax=ax, cmap="Blues", vmin=0, cbar_kws={"shrink": 0.6}, **look)
    ax.tick_params(axis="x", length=0, rotation=35 if few else 90)
    ax.tick_params(axis="y", length=0, rotation=0)
    unit = "percent of the true class" if normalize else "images"
    ax.set(xlabel=f"predicted ({unit})", ylabel="true (images)", title=as_it_is(title))
    return ax


def per_class(
    series: Mapping[str, Array],
    classes: Names,
    intervals: Mapping[str, Array] | None = None,
    xlabel: str = "",
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw one dot per class and series, with the (2, k) ends of its interval where given."""
    ax = ax or new_ax(8, max(4, 0.3 * len(classes)))
    for row, (name, values) in enumerate(series.items()):
        y = np.arange(len(classes)) + (row - (len(series) - 1) / 2) * 0.6 / len(series)
        colour, (low, high) = SERIES[row % 6], (intervals or {}).get(name, (values, values))
        ax.hlines(y, low, high, color=colour, linewidth=2.2, alpha=0.55)
        ax.plot(values, y, MARKERS[row % 6], label=as_it_is(name), color=colour, markersize=6.5)
    if len(series) > 1:
        ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    else:
        for value, at in zip(values, y, strict=True):
            place = {"xytext": (0, 5), "textcoords": "offset points", "ha": "center"}
            ax.annotate(f"{value:.2f}", (value, at), fontsize=7.5, color=INK, **place)
    ax.set_yticks(range(len(classes)), map(as_it_is, classes))
    ax.set_ylim(len(classes) - 0.5, -0.6)
    ax.grid(axis="y", color=PALE)
    ax.set(xlabel=xlabel, title=as_it_is(title))
    return ax


def probabilities(p: Array, classes: Names, title: str = "", ax: Axes | None = None) -> Axes:
    """Draw one bar per class with its percentage, the highest in bold; `p` is (k,), 0 to 1."""
    ax = ax or new_ax(6, max(3, 0.3 * len(classes)))
    bars = ax.barh(range(len(classes)), p, 0.72, color=class_colours(classes))
    texts = ax.bar_label(bars, [f"{value:.1%}" for value in p], padding=4, fontsize=9, color=INK)
    ax.set_yticks(range(len(classes)), map(as_it_is, classes))
    # The tick, not get_yticklabels(), which is empty where axes share their labels.
    for text in (texts[np.argmax(p)], ax.yaxis.get_major_ticks()[np.argmax(p)].label1):
        text.set_fontweight("bold")
    ax.tick_params(axis="y", length=0)
    ax.spines["bottom"].set_visible(False)
    ax.set(xlim=(0, 1.15), ylim=(len(classes) - 0.5, -0.5), xticks=[], title=as_it_is(title))
    return ax
