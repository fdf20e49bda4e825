"""Draws a network: its layers as blocks, to scale."""

from __future__ import annotations

from collections import Counter

from matplotlib.axes import Axes
from matplotlib.patches import Polygon, Rectangle

from helpers import TutorialError
from helpers.plots import GREY, INK, _inches


def draw_network(ax: Axes, model, title: str = "") -> Axes:
    """Draw a chain of layers as blocks, with what leaves each block and its parameters below.

    A slab is as high as its feature map is and as thick as it has channels, to scale; the
    hatched one beside it is what pooling leaves. A bar is a vector, its height the square root
    of its length. In a deep network, a block is all layers of one feature-map size.

    Raises:
        TutorialError: if the network does not know the shape of its input yet.
    """
    if not model.built or None in model.input_shape[1:]:
        raise TutorialError("Begin the network with keras.Input((48, 48, 1)) to have it drawn.")
    blocks, (width, height) = _blocks(model), _inches(ax)
    column, floor, middle = width / len(blocks), 0.4 * height, 0.7 * height
    size = min(72 * column / 11, 8.5)
    drawn = [shape for shapes, _, _ in blocks for shape in shapes]
    side = min(0.43 * height, 0.75 * column) / model.input_shape[1]
    thick = 0.2 * column / max((s[-1] for s in drawn if len(s) == 3), default=1)
    tall = 0.55 * height / max((s[0] for s in drawn if len(s) == 1), default=1) ** 0.5
    x = 0
    for index, (shapes, names, weights) in enumerate(blocks):
        left = index * column
        if index:
            arrow = {"arrowstyle": "-|>", "color": GREY, "shrinkA": 3, "shrinkB": 3}
            ax.annotate("", (left, middle), (x, middle), arrowprops=arrow)
        x = left
        for shape in shapes:
            wide, high, lean = 0.12, max(0.05, tall * shape[0] ** 0.5), 0
            if len(shape) == 3:
                wide, high = max(0.04, thick * shape[2]), side * shape[0]
                lean = 0.3 * high
            _slab(ax, x, middle - (high + lean) / 2, wide, high, lean, pooled=x > left)
            x += wide + lean
        named = [name if n == 1 else f"{n}\u202f× {name}" for name, n in names.items()]
        weighs = f"{weights:,} parameters" if weights else ""
        for row, text in enumerate([" × ".join(f"{n:,}" for n in shapes[-1]), *named, weighs]):
            look = {"color": GREY if text == weighs else INK, "weight": 400 if row else "bold"}
            ax.text(left, floor - row * 1.45 * size / 72, text, va="top", fontsize=size, **look)
    ax.set(xlim=(0, width), ylim=(0, height))
    ax.set_axis_off()
    ax.set_title(title)
    return ax


def _slab(ax: Axes, x, y, wide, high, lean, pooled: bool) -> None:
    look = {"facecolor": "#F3C98B" if pooled else "#A9CBE8", "edgecolor": INK, "linewidth": 0.8}
    look["hatch"] = "/////" if pooled else ""
    far, top = x + wide, y + high
    above = [(x, top), (x + lean, top + lean), (far + lean, top + lean), (far, top)]
    beside = [(far, y), (far + lean, y + lean), (far + lean, top + lean), (far, top)]
    ax.add_patch(Polygon(beside, **look))
    ax.add_patch(Polygon(above, alpha=0.6, **look))
    ax.add_patch(Rectangle((x, y), wide, high, **look))


def _blocks(model) -> list[tuple[list[tuple[int, ...]], Counter[str], int]]:
    """Return per block the shapes to draw, the names of its layers, and its parameters.

    A convolution, a dense layer, or a change from map to vector begins a block; with more than
    six convolutions, only one that meets a new size of feature map does.
    """
    layers = [layer for layer in model.layers if type(layer).__name__ != "InputLayer"]
    deep = sum("Conv" in type(layer).__name__ for layer in layers) > 6
    blocks, size = [([model.input_shape[1:]], Counter(["input"]), 0)], None
    for layer in layers:
        kind, shape, config = type(layer).__name__, layer.output.shape[1:], layer.get_config()
        shapes, names, weights = blocks[-1]
        begins = "Conv" in kind and not (deep and shape[:-1] == size)
        if begins or kind == "Dense" or len(shape) != len(shapes[0]):
            shapes, names, weights, size = [], Counter(), 0, shape[:-1]
            blocks.append(None)
        larger = [old for old in shapes[:1] if old[:-1] != shape[:-1]]
        name = kind.replace("Normalization", "Norm")
        if "kernel_size" in config:
            name += f" {shape[-1]}, {'×'.join(map(str, config['kernel_size']))}"
        elif kind == "Dense":
            name += f", {config['activation']}"
        elif "rate" in config:
            name += f" {config['rate']:g}"
        blocks[-1] = ([*larger, shape], names + Counter([name]), weights + layer.count_params())
    return blocks
