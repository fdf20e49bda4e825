"""Draws a network: its layers as blocks, to scale."""

from collections import Counter
from dataclasses import dataclass, field

from matplotlib.axes import Axes
from matplotlib.patches import Polygon, Rectangle

from helpers import TutorialError
from helpers.plots import GREY, INK, as_it_is, inches, new_ax


@dataclass
class Block:
    """What is drawn in one column: shapes, the layers' names and how often, and parameters."""

    shapes: list[tuple[int, ...]] = field(default_factory=list)  # (h, w, channels) or (units,)
    names: Counter[str] = field(default_factory=Counter)
    weights: int = 0


def draw_network(model, title: str = "", ax: Axes | None = None) -> Axes:
    """Draw a chain of layers as blocks, with what leaves each block and its parameters below.

    A slab is as high as its feature map is and as thick as it has channels, to scale; the
    hatched one beside it is what pooling leaves. A bar is a vector, its height the square root
    of its length. In a deep network, a block is all layers of one feature-map size.

    Raises:
        TutorialError: if the network does not know the shape of its input yet.
    """
    if not model.built or None in model.input_shape[1:]:
        raise TutorialError("Begin the network with keras.Input((48, 48, 1)) to have it drawn.")
    ax, blocks = ax or new_ax(12, 4), _blocks(model)
    width, height = inches(ax)
    column, middle, end = width / len(blocks), 0.7 * height, 0.0
    sizes = _sizes([shape for block in blocks for shape in block.shapes], column, height)
    for left, block in zip((column * k for k in range(len(blocks))), blocks, strict=True):
        if left:
            arrow = {"arrowstyle": "-|>", "color": GREY, "shrinkA": 3, "shrinkB": 3}
            ax.annotate("", (left, middle), (end, middle), arrowprops=arrow)
        end = left
        for shape in block.shapes:
            wide, high, lean = sizes[shape]
            _slab(ax, end, middle - (high + lean) / 2, *sizes[shape], pooled=end > left)
            end += wide + lean
        _caption(ax, block, left, 0.4 * height, min(72 * column / 11, 8.5))
    ax.set(xlim=(0, width), ylim=(0, height), title=as_it_is(title))
    ax.set_axis_off()
    return ax


def _sizes(shapes: list[tuple[int, ...]], column: float, height: float) -> dict:
    """Return by shape how wide and high it is drawn and how far its depth leans, in inches."""
    maps, vectors = ([s for s in shapes if len(s) == n] or [(1,) * n] for n in (3, 1))
    side = min(0.43 * height, 0.75 * column) / max(h for h, _, _ in maps)
    thick = 0.2 * column / max(channels for _, _, channels in maps)
    tall = 0.55 * height / max(vectors)[0] ** 0.5
    found = {s: (max(0.04, thick * s[2]), side * s[0], 0.3 * side * s[0]) for s in maps}
    return found | {s: (0.12, max(0.05, tall * s[0] ** 0.5), 0) for s in vectors}


def _slab(ax: Axes, x: float, y: float, wide: float, high: float, lean: float, pooled: bool):
    look = {"facecolor": "#F3C98B" if pooled else "#A9CBE8", "edgecolor": INK, "linewidth": 0.8}
    look["hatch"] = "/////" if pooled else ""
    far, top = x + wide, y + high
    above = [(x, top), (x + lean, top + lean), (far + lean, top + lean), (far, top)]
    beside = [(far, y), (far + lean, y + lean), (far + lean, top + lean), (far, top)]
    ax.add_patch(Polygon(beside, **look))
    ax.add_patch(Polygon(above, alpha=0.6, **look))
    ax.add_patch(Rectangle((x, y), wide, high, **look))


def _caption(ax: Axes, block: Block, left: float, top: float, size: float) -> None:
    lines = [" × ".join(f"{n:,}" for n in block.shapes[-1])]
    lines += [name if n == 1 else f"{n}\u202f× {name}" for name, n in block.names.items()]
    lines += [f"{block.weights:,} parameters"] if block.weights else []
    for row, text in enumerate(lines):
        colour = GREY if text.endswith(" parameters") else INK
        look = {"va": "top", "fontsize": size, "color": colour, "weight": 400 if row else "bold"}
        ax.text(left, top - row * 1.45 * size / 72, text, **look)


def _blocks(model) -> list[Block]:
    """Gather the layers in blocks.

    A convolution, a dense layer, or a change from map to vector begins a block; with more than
    six convolutions, only one that meets a new size of feature map does.
    """
    layers = [layer for layer in model.layers if type(layer).__name__ != "InputLayer"]
    deep = sum("Conv" in type(layer).__name__ for layer in layers) > 6
    blocks, size = [Block([model.input_shape[1:]], Counter(["input"]))], None
    for layer in layers:
        kind, shape = type(layer).__name__, layer.output.shape[1:]
        begins = "Conv" in kind and not (deep and shape[:-1] == size)
        if begins or kind == "Dense" or len(shape) != len(blocks[-1].shapes[0]):
            blocks.append(Block())
            size = shape[:-1]
        block = blocks[-1]
        block.shapes = [old for old in block.shapes[:1] if old[:-1] != shape[:-1]] + [shape]
        block.names[_name(kind, shape, layer.get_config())] += 1
        block.weights += layer.count_params()
    return blocks


def _name(kind: str, shape: tuple[int, ...], config: dict) -> str:
    if "kernel_size" in config:
        return f"{kind} {shape[-1]}, {'×'.join(map(str, config['kernel_size']))}"
    if kind == "Dense":
        return f"{kind}, {config['activation']}"
    name = kind.replace("Normalization", "Norm")
    return f"{name} {config['rate']:g}" if "rate" in config else name
