"""The pictures: a network as SVG, and matplotlib figures of boundaries, learning curves and distributions.

One encoding everywhere: sign is hue (blue above zero, orange below, told apart by colour-blind eyes too), magnitude
is width, and the scale is printed. No number is drawn that was not handed in.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glassnet.cells import counted
from glassnet.drawing_regions import regions_svg as regions_svg
from glassnet.errors import UsageError
from glassnet.network import Network, Parameters
from glassnet.svg import BLUE, INK, MUTED, ORANGE, significant
from glassnet.svg import cleaned as _cleaned
from glassnet.svg import line as _line
from glassnet.svg import scope_of as _scope
from glassnet.svg import shortened as _shortened
from glassnet.svg import style as _style
from glassnet.svg import text as _text
from glassnet.svg import text_width as _text_width

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_UNITS = 12  # a layer with more shows its first ones, an ellipsis and its last
_MOST_PRINTED_WEIGHTS = 30
_MARGIN, _NAME_SIZE, _SMALL_SIZE = 16.0, 13.0, 11.0  # pixels
_PERCENTILES = (5.0, 50.0, 95.0)


# The network.


@dataclass(frozen=True)
class _Layer:
    """A column of units: where each drawn one lies."""

    x: float
    heights: dict[int, float]  # unit, from 0 -> y
    ellipsis: float | None  # y, where units are left out


@dataclass(frozen=True)
class _Edge:
    layer: int  # 1 to n_layers
    source: int  # from 0
    target: int
    start: tuple[float, float]
    end: tuple[float, float]

    @property
    def symbol(self) -> str:
        return f"w{self.layer}_{self.source + 1}_{self.target + 1}"

    def at(self, part: float) -> tuple[float, float]:
        (x0, y0), (x1, y1) = self.start, self.end
        return x0 + part * (x1 - x0), y0 + part * (y1 - y0)


@dataclass(frozen=True)
class _Box:
    """A rectangle by its centre and half its sides."""

    x: float
    y: float
    half_width: float
    half_height: float

    def meets(self, other: _Box) -> bool:
        return (
            abs(self.x - other.x) < self.half_width + other.half_width
            and abs(self.y - other.y) < self.half_height + other.half_height
        )

    def distance(self, edge: _Edge) -> float:
        """How far below or above the box the edge passes; zero where it runs through it."""
        (x0, y0), (x1, y1) = edge.start, edge.end
        slope = (y1 - y0) / (x1 - x0)
        away = abs(y0 + slope * (self.x - x0) - self.y) - self.half_height - abs(slope) * self.half_width
        return max(away, 0.0)


def _layers(sizes: Sequence[int], left: float, middle: float, gap: float, pitch: float) -> list[_Layer]:
    layers = []
    for position, size in enumerate(sizes):
        shown: list[int | None] = list(range(size))
        if size > _MOST_UNITS:
            shown = [*range(_MOST_UNITS - 2), None, size - 1]
        ys = [middle + (slot - (len(shown) - 1) / 2) * pitch for slot in range(len(shown))]
        layers.append(
            _Layer(
                x=left + position * gap,
                heights={unit: y for unit, y in zip(shown, ys, strict=True) if unit is not None},
                ellipsis=ys[-2] if None in shown else None,
            )
        )
    return layers


def _edges(layers: Sequence[_Layer], radius: float) -> list[_Edge]:
    return [
        _Edge(number, i, j, (before.x + radius, y0), (after.x - radius, y1))
        for number, (before, after) in enumerate(pairwise(layers), start=1)
        for i, y0 in before.heights.items()
        for j, y1 in after.heights.items()
    ]


def _placed_labels(
    edges: Sequence[_Edge], values: Sequence[float], taken: Sequence[_Box], size: float
) -> list[_Box] | None:
    """A place on its own edge for every label, apart from all others; None where there is no room.

    Of the free places the one is taken that the fewest other edges run through or come near, then the one nearest to
    0.4 of the way.
    """
    boxes: list[_Box] = []
    for edge, value in zip(edges, values, strict=True):
        others = [other for other in edges if other.layer == edge.layer and other is not edge]
        best: tuple[float, _Box] | None = None
        for percent in range(10, 91, 2):
            box = _Box(*edge.at(percent / 100), _text_width(significant(value), size) / 2 + 2, size * 0.66)
            if any(box.meets(other) for other in (*taken, *boxes)):
                continue
            cost = sum(max(1 - box.distance(other) / 14, 0) for other in others) + abs(percent / 100 - 0.4)
            if best is None or cost < best[0]:
                best = cost, box
        if best is None:
            return None
        boxes.append(best[1])
    return boxes


def _by_sign(value: float, above: str, below: str, neither: str = "") -> str:
    return above if value > 0 else below if value < 0 else neither


def _name(x: float, y: float, name: str, anchor: str) -> str:
    short = _shortened(name)
    return _text(x, y + 4.5, short, size=_NAME_SIZE, anchor=anchor, title=name if short != name else "")


def _round_scale(largest: float) -> tuple[float, float]:
    """A round number (1, 2 or 5 times a power of ten) up to `largest`, and half of it."""
    power = 10.0 ** math.floor(math.log10(largest))
    top = max(step * power for step in (1, 2, 5) if step * power <= largest or step == 1)
    return top / 2, top


def _checked_names(what: str, names: Sequence[str] | None, n: int, default: str) -> list[str]:
    if names is None:
        return [f"{default}{unit}" for unit in range(1, n + 1)]
    if isinstance(names, str) or len(names) != n:
        given = repr(names) if isinstance(names, str) else str(len(names))
        raise UsageError(f"{what} is a list with a name for every unit, {n} here; got {given}.")
    return [_cleaned(name) for name in names]


def _checked_lit(network: Network, lit: Collection[str]) -> frozenset[str]:
    units = {f"z{layer}_{unit}" for layer, size in enumerate(network.sizes) for unit in range(1, size + 1) if layer}
    for symbol in sorted(set(lit) - units - set(network.parameter_names() if lit else ())):
        raise UsageError(f"lit holds a network's weights w1_1_1, biases b1_1 and units z1_1; got {symbol!r}.")
    return frozenset(lit)


def _check_parameters(network: Network, parameters: Parameters | None) -> None:
    if parameters is None:
        return
    if parameters.network.sizes != network.sizes:
        raise UsageError(
            f"The parameters belong to a network of the same sizes, {network.sizes}; got {parameters.network.sizes}."
        )
    if parameters.vector.ndim != 1:
        raise UsageError(
            f"One network is drawn at a time; got a stack of shape {parameters.vector.shape[:-1]}. "
            "Hand in one of them, Parameters(network, vector[start])."
        )


@dataclass(frozen=True)
class _Plan:
    """A network ready to be drawn: its names, its measures in pixels, its edges and their weights."""

    network: Network
    parameters: Parameters | None
    inputs: list[str]
    outputs: list[str]
    computed: list[str]  # what is written below each column
    small: bool  # few enough weights to be printed
    radius: float
    text_size: float
    widest: float  # the widest edge
    bottom: float  # y of the lowest unit's centre
    layers: list[_Layer]
    edges: list[_Edge]
    values: list[float]  # of the edges, empty without parameters
    labels: list[_Box]  # where weights are printed, empty where they are not
    lit: frozenset[str]  # symbols of what stands out; where there are any, all else is quiet

    @property
    def names_away(self) -> float:
        return self.radius + 10

    @property
    def largest(self) -> float:
        return max((abs(value) for value in self.values if math.isfinite(value)), default=0.0)


def _plan(
    network: Network,
    parameters: Parameters | None,
    inputs: list[str],
    outputs: list[str],
    lit: frozenset[str],
) -> _Plan:
    sizes = network.sizes
    link = network.loss_row.link
    n_weights = sum(n_in * n_out for n_in, n_out in pairwise(sizes))
    small = n_weights <= _MOST_PRINTED_WEIGHTS and max(sizes) <= _MOST_UNITS
    rows = min(max(sizes), _MOST_UNITS)
    radius, text_size, widest = (18.0, 12.0, 7.0) if small else (13.0, 11.0, 4.0)
    pitch = 44.0 if not small else 88.0 if rows <= 6 else 60.0
    gap = 230.0 + 20 * max(rows - 4, 0) if small else 200.0
    top = _MARGIN + radius + (22 if small else 0)
    bottom = top + (rows - 1) * pitch
    shown = _layers(sizes, 0, 0, gap, pitch)[0].heights
    left = _MARGIN + radius + 10 + max(_text_width(_shortened(inputs[unit]), _NAME_SIZE) for unit in shown)
    while True:
        layers = _layers(sizes, left, (top + bottom) / 2, gap, pitch)
        edges = _edges(layers, radius)
        values: list[float] = []
        labels: list[_Box] | None = []
        if parameters is not None:
            values = [float(parameters.weights[edge.layer - 1][edge.source, edge.target]) for edge in edges]
            if small:
                labels = _placed_labels(edges, values, _taken(layers, parameters, radius, text_size), text_size)
        if labels is not None:
            break
        gap *= 1.25  # the longer the edges, the more room for labels: this ends
    return _Plan(
        network=network,
        parameters=parameters,
        inputs=inputs,
        outputs=outputs,
        computed=["inputs", *network.activations[:-1], network.activations[-1] if link == "identity" else link],
        small=small,
        radius=radius,
        text_size=text_size,
        widest=widest,
        bottom=bottom,
        layers=layers,
        edges=edges,
        values=values,
        labels=labels,
        lit=lit,
    )


def _taken(layers: Sequence[_Layer], parameters: Parameters, radius: float, size: float) -> list[_Box]:
    """Where no weight may be printed: the units and their biases."""
    boxes = []
    for number, layer in enumerate(layers):
        for unit, y in layer.heights.items():
            boxes.append(_Box(layer.x, y, radius + 6, radius + 6))
            if number:
                text = _bias_text(parameters.biases[number - 1][unit])
                boxes.append(_Box(layer.x, y - radius - 11, _text_width(text, size) / 2 + 4, size * 0.66))
    return boxes


def _bias_text(bias: float) -> str:
    return f"b = {significant(bias)}"


def _drawn_edges(plan: _Plan) -> Iterator[str]:
    """The lines, the strongest of each layer last, so that it lies on top; then the printed weights."""
    if plan.lit:
        yield from _quiet_edges(plan)
        return
    if plan.parameters is None:
        for edge in plan.edges:
            yield _line(edge.start, edge.end, 1, "gn-neutral", f' data-symbol="{edge.symbol}"') + "/>"
        return
    weakest_first = sorted(
        zip(plan.edges, plan.values, strict=True),
        key=lambda edge: (edge[0].layer, abs(edge[1]) if math.isfinite(edge[1]) else 0),
    )
    for edge, value in weakest_first:
        more = f' data-symbol="{edge.symbol}"'
        if value == 0 or not math.isfinite(value):  # no width to show: dashed, so that the connection is seen
            width, kind = 0.8, "gn-neutral"
            more += ' stroke-dasharray="2 4"'
        else:
            width, kind = (
                max(plan.widest * abs(value) / plan.largest, 0.35),
                _by_sign(value, "gn-positive", "gn-negative"),
            )
        in_full = plan.parameters.weights[edge.layer - 1][edge.source, edge.target]
        yield _line(edge.start, edge.end, width, kind, more) + f"><title>{edge.symbol} = {in_full!s}</title></line>"
    for value, box in zip(plan.values, plan.labels, strict=False):
        x, y, width, height = (
            box.x - box.half_width,
            box.y - box.half_height + 1,
            2 * box.half_width,
            2 * box.half_height - 2,
        )
        yield f'<rect class="gn-paper" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="4"/>'
        kind = _by_sign(value, "gn-above", "gn-below", "gn-muted")
        yield _text(box.x, box.y + 0.36 * plan.text_size, significant(value), size=plan.text_size, kind=kind)


def _quiet_edges(plan: _Plan) -> Iterator[str]:
    """All lines alike but the lit ones, which lie on top; a single one has its name printed."""
    values: Sequence[float | None] = plan.values or [None] * len(plan.edges)
    for edge in plan.edges:
        if edge.symbol not in plan.lit:
            yield _line(edge.start, edge.end, 1, "gn-neutral", f' data-symbol="{edge.symbol}"') + "/>"
    for edge, value in zip(plan.edges, values, strict=True):
        if edge.symbol in plan.lit:
            told = "" if value is None else f" = {value!s}"
            more = f' data-symbol="{edge.symbol}"><title>{edge.symbol}{told}</title></line>'
            yield _line(edge.start, edge.end, plan.widest * 0.7, "gn-lit", more)
    lit = [edge for edge in plan.edges if edge.symbol in plan.lit]
    if len(lit) == 1:
        (x, y), size = lit[0].at(0.5), plan.text_size + 1
        half = _text_width(lit[0].symbol, size) / 2
        yield f'<rect class="gn-paper" x="{x - half:.1f}" y="{y - 9:.1f}" width="{2 * half:.1f}" height="18" rx="4"/>'
        yield _text(x, y + 0.36 * size, lit[0].symbol, size=size, kind="gn-lit")


def _drawn_units(plan: _Plan) -> Iterator[str]:
    """The circles with their numbers, biases and names; below each column what it computes."""
    for number, layer in enumerate(plan.layers):
        for unit, y in layer.heights.items():
            tooltip = f"unit {unit + 1} of layer {number}" if number else f"input {unit + 1}"
            kind = "gn-unit gn-lit" if f"z{number}_{unit + 1}" in plan.lit else "gn-unit"
            if number and plan.parameters is not None:
                bias = plan.parameters.biases[number - 1][unit]
                tooltip += f": b{number}_{unit + 1} = {bias!s}"
                if f"b{number}_{unit + 1}" in plan.lit:
                    above = y - plan.radius - 7
                    yield _text(layer.x, above, f"b{number}_{unit + 1}", size=plan.text_size + 1, kind="gn-lit")
                elif plan.small and not plan.lit:
                    sign = _by_sign(bias, "gn-above", "gn-below", "gn-muted")
                    above = y - plan.radius - 7
                    yield _text(layer.x, above, _bias_text(bias), size=plan.text_size, kind=sign)
            label = str(unit + 1)
            circle = f'<circle cx="{layer.x:.1f}" cy="{y:.1f}" r="{plan.radius:g}" class="{kind}"/>'
            yield (
                f"<g><title>{tooltip}</title>{circle}"
                + _text(layer.x, y + 4, label, size=min(11.0, 2.3 * plan.radius / len(label)))
                + "</g>"
            )
            if number == 0:
                yield _name(layer.x - plan.names_away, y, plan.inputs[unit], "end")
            if number == plan.network.n_layers:
                yield _name(layer.x + plan.names_away, y, plan.outputs[unit], "start")
        if layer.ellipsis is not None:
            yield _text(layer.x, layer.ellipsis + 6, "⋮", size=20, kind="gn-muted")
        below = plan.bottom + plan.radius + 26
        yield _text(layer.x, below, plan.computed[number], size=_NAME_SIZE)
        yield _text(layer.x, below + 17, _layer_size(plan, number), size=_SMALL_SIZE, kind="gn-muted")


def _layer_size(plan: _Plan, number: int) -> str:
    size = plan.network.sizes[number]
    return f"layer {number} · {counted(size, 'unit')}" if number else counted(size, "feature")


def _legend(plan: _Plan, y: float) -> tuple[list[str], float, float]:
    """The scale and what is to be known, from y on: the elements, the rightmost x and the lowest y."""
    elements: list[str] = []
    right = _MARGIN
    n_weights = sum(n_in * n_out for n_in, n_out in pairwise(plan.network.sizes))
    if plan.lit:
        lines = [f"of {len(plan.edges):,} of {n_weights:,} weights"] if len(plan.edges) < n_weights else []
    elif plan.parameters is None:
        lines = [f"{counted(n_weights, 'weight')}, values not given: lines show connections only"]
    else:
        samples = [("gn-positive", 4.0, "weight above 0"), ("gn-negative", 4.0, "below 0")]
        if plan.largest > 0:
            samples += [
                ("gn-scale", plan.widest * value / plan.largest, f"|w| = {value:g}")
                for value in _round_scale(plan.largest)
            ]
        for kind, width, words in samples:
            elements.append(_line((right, y - 4), (right + 26, y - 4), width, kind) + "/>")
            elements.append(_text(right + 34, y, words, size=_SMALL_SIZE, anchor="start"))
            right += 34 + _text_width(words, _SMALL_SIZE) + 14
        y += 20
        lines = [f"largest |w| {significant(plan.largest)}, width in proportion"]
        if len(plan.edges) < n_weights:
            of_these = f"the largest |w| of these {significant(plan.largest)}, width in proportion"
            lines = [f"{len(plan.edges):,} of {n_weights:,} weights drawn; {of_these}"]
        n_broken = sum(not math.isfinite(value) for value in plan.values)
        if n_broken:
            lines.append(f"{counted(n_broken, 'weight')} not finite, dashed")
    for line in lines:
        elements.append(_text(_MARGIN, y, line, size=_SMALL_SIZE, anchor="start", kind="gn-muted"))
        right = max(right, _MARGIN + _text_width(line, _SMALL_SIZE))
        y += 20
    return elements, right, y - 20


def _description(plan: _Plan) -> str:
    """What is seen, for those who do not see it."""
    network = plan.network
    inputs, outputs = (
        ", ".join(names[unit] for unit in layer.heights)
        + (f" and more, {len(names):,} in all" if layer.ellipsis else "")
        for names, layer in ((plan.inputs, plan.layers[0]), (plan.outputs, plan.layers[-1]))
    )
    sentences = [f"Dense network with {counted(network.n_parameters, 'parameter')}, loss {network.loss}."]
    sentences.append(f"Inputs: {inputs}.")
    for number in range(1, network.n_layers + 1):
        sentences.append(f"Layer {number}: {counted(network.sizes[number], 'unit')}, {plan.computed[number]}.")
    sentences.append(f"Outputs: {outputs}.")
    if plan.small and plan.parameters is not None:
        pairs = zip(network.parameter_names(), plan.parameters.vector, strict=True)
        sentences.append(", ".join(f"{name} = {significant(value)}" for name, value in pairs) + ".")
    return " ".join(sentences)


def network_svg(
    network: Network,
    parameters: Parameters | None = None,
    *,
    feature_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    lit: Collection[str] = (),
) -> str:
    """The network as a standalone SVG: a column of units per layer, an edge per weight.

    An edge's hue is its weight's sign, its width proportional to the weight's magnitude, on one scale for the whole
    network; the scale is printed below. Up to 30 weights are printed on their edges and the biases above their
    units. A layer of more than 12 units shows the first 10 and the last. Every drawn edge carries its symbol in
    `data-symbol` (`w1_2_1` runs from input 2 to unit 1 of layer 1) and its weight at full precision as a tooltip.
    Without `parameters` all edges are alike and no value is drawn. The text can be a file of its own or be put
    into a page, twice even: it has no ids and its rules apply to itself alone; it follows light and dark mode.

    `feature_names` (n_features), `output_names` (n_outputs): any text; long names are shortened, whole as tooltip.
    `lit`: what shall stand out, weights `w1_2_1`, biases `b1_1`, units by their `z1_1`; all else is drawn quietly.
    Raises `UsageError` for the wrong number of names, for parameters of another network or of several, or for a
    symbol in `lit` that the network has not.

    >>> svg = network_svg(Network((2, 2, 1)), feature_names=["texture", "radius"], output_names=["P(malignant)"])
    >>> svg.count("data-symbol"), "<title>Network 2-2-1</title>" in svg
    (6, True)
    """
    _check_parameters(network, parameters)
    inputs = _checked_names("feature_names", feature_names, network.n_features, "x")
    outputs = _checked_names("output_names", output_names, network.n_outputs, "output ")
    plan = _plan(network, parameters, inputs, outputs, _checked_lit(network, lit))
    legend, right, bottom = _legend(plan, plan.bottom + plan.radius + 74)
    last = plan.layers[-1]
    names_end = max(_text_width(_shortened(plan.outputs[unit]), _NAME_SIZE) for unit in last.heights)
    captions = (plan.computed[-1], _NAME_SIZE), (_layer_size(plan, network.n_layers), _SMALL_SIZE)
    captions_end = max(_text_width(text, size) for text, size in captions) / 2
    width = math.ceil(max(right, last.x + plan.names_away + names_end, last.x + captions_end) + _MARGIN)
    height = math.ceil(bottom + _MARGIN)

    title = f"Network {'-'.join(map(str, network.sizes))}"
    if lit:
        title += f", {', '.join(sorted(lit))} lit" if len(lit) <= 4 else f", {len(lit)} of its parts lit"
    content = "\n".join(
        (
            f"<title>{title}</title><desc>{escape(_description(plan))}</desc>",
            f'<rect class="gn-paper" width="{width}" height="{height}" rx="8"/>',
            *_drawn_edges(plan),
            *_drawn_units(plan),
            *legend,
        )
    )
    scope = _scope(content)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{title}" class="{scope}" '
        f'viewBox="0 0 {width} {height}" width="{width}" height="{height}" style="max-width:100%;height:auto">'
        f"<style>{_style(scope, lit=bool(lit))}</style>{content}</svg>\n"
    )


# The figures. Matplotlib is imported when the first one is asked for, and pyplot, with its global state, never.


def _plain(name: object, longest: int = 40) -> str:
    """A name as matplotlib shall show it: dollar signs are dollar signs, not mathematics."""
    return _shortened(_cleaned(name), longest).replace("$", r"\$")


def _new_figure(description: str, width: float, height: float) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.set_label(description)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _checked_rows(X: ArrayLike, y: ArrayLike, what: str) -> tuple[NDArray[Any], NDArray[Any]]:
    table, target = np.asarray(X, dtype=float), np.asarray(y, dtype=float).reshape(-1)
    if table.ndim != 2 or table.shape[1] != 2 or len(table) != len(target) or not np.isfinite(table).all():
        raise UsageError(
            f"The {what} rows are finite numbers (n, 2) with a target each; got {table.shape} and {target.shape}."
        )
    if not np.isin(target, (0, 1)).all():
        raise UsageError(f"The {what} targets are 0 or 1; got {target[~np.isin(target, (0, 1))][0]:g}.")
    return table, target.astype(int)


def boundary_figure(
    probability: Callable[[NDArray[np.float64]], ArrayLike],
    X_train: ArrayLike,
    y_train: ArrayLike,
    X_test: ArrayLike,
    y_test: ArrayLike,
    *,
    feature_names: Sequence[str],
    class_names: Sequence[str],
    title: str | None = None,
) -> Figure:
    """What a classifier makes of two features: bands of its probability, p = 0.5, and the rows themselves.

    `probability`: (n, 2) in the user's units -> (n,) or (n, 1), P(positive). `X_train`, `X_test` (n, 2) in the user's
    units, `y_train`, `y_test` 0 or 1. `class_names`: the negative class, then the positive. Train rows are small
    dots, test rows diamonds, test rows on the wrong side (positive where p > 0.5) have a ring.
    Raises `UsageError` for other shapes, targets, or what is no probability.

    >>> def steps(X): return 1 / (1 + np.exp(-X[:, 0]))
    >>> rows, classes = np.array([[-1.0, 0.0], [2.0, 1.0]]), np.array([0, 1])
    >>> figure = boundary_figure(
    ...     steps, rows, classes, rows, classes, feature_names=["x1", "x2"], class_names=["no", "yes"])
    >>> figure.axes[0].get_xlabel()
    'x1'
    """
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.lines import Line2D

    if len(feature_names) != 2 or len(class_names) != 2:
        raise UsageError(f"Two features and two classes are named; got {len(feature_names)} and {len(class_names)}.")
    X_train, y_train = _checked_rows(X_train, y_train, "train")
    X_test, y_test = _checked_rows(X_test, y_test, "test")
    rows = np.concatenate([X_train, X_test])
    if len(rows) == 0:
        raise UsageError("A boundary is drawn over at least one row; got none.")

    def checked_probability(table: NDArray[np.float64]) -> NDArray[np.float64]:
        p = np.asarray(probability(table), dtype=float).reshape(-1)
        if p.shape != (len(table),) or not ((p >= 0) & (p <= 1)).all():
            raise UsageError(f"probability gives one number from 0 to 1 per row; got {p} for {len(table)} rows.")
        return p

    low, high = rows.min(axis=0), rows.max(axis=0)
    border = np.where(high > low, 0.05 * (high - low), np.maximum(0.05 * np.abs(low), 0.5))
    across, up = (np.linspace(a, b, 161) for a, b in zip(low - border, high + border, strict=True))
    mesh = np.stack(np.meshgrid(across, up), axis=-1)
    surface = checked_probability(mesh.reshape(-1, 2)).reshape(mesh.shape[:2])
    wrong = (checked_probability(X_test) > 0.5) != (y_test == 1) if len(X_test) else np.zeros(0, dtype=bool)

    negative, positive = (_plain(name, 30) for name in class_names)
    horizontal, vertical = (_plain(name) for name in feature_names)
    figure, axes = _new_figure(f"Decision boundary over {horizontal} and {vertical}", 7.0, 5.6)
    colours = LinearSegmentedColormap.from_list("probability", ["#f5c19d", "#fbe9dd", "#f7f7f7", "#dcebf5", "#9dcbe6"])
    bands = axes.contourf(across, up, surface, levels=np.linspace(0, 1, 11), cmap=colours, vmin=0, vmax=1)
    bar = figure.colorbar(bands, ax=axes, ticks=np.linspace(0, 1, 6), pad=0.02)
    bar.set_label(f"P({positive})")
    entries: list[tuple[Any, str]] = []

    def points(table: NDArray[Any], label: str, **look: Any) -> None:
        handle = axes.plot(table[:, 0], table[:, 1], linestyle="none", rasterized=len(table) > 2000, **look)[0]
        entries.append((handle, label))

    for value, name, colour in ((0, negative, ORANGE), (1, positive, BLUE)):
        dots = {"marker": "o", "markersize": 3.2, "color": colour, "alpha": 0.6, "markeredgewidth": 0}
        points(X_train[y_train == value], f"train: {name}", **dots)
        diamonds = {"marker": "D", "markersize": 6.2, "color": colour, "markeredgecolor": "white"}
        points(X_test[y_test == value], f"test: {name}", markeredgewidth=0.9, zorder=3, **diamonds)
    ring = {"marker": "o", "markersize": 12, "color": "none", "markeredgecolor": INK, "markeredgewidth": 1.3}
    points(X_test[wrong], f"test, misclassified: {int(wrong.sum())} of {len(X_test)}", zorder=4, **ring)
    if surface.min() < 0.5 < surface.max():
        axes.contour(across, up, surface, levels=[0.5], colors=[INK], linewidths=2)
        entries.append((Line2D([], [], color=INK, linewidth=2), f"P({positive}) = 0.5"))
    else:
        side = positive if surface.min() > 0.5 else negative
        entries.append((Line2D([], [], linestyle="none"), f"no boundary: {side} everywhere"))
    axes.set_xlim(across[0], across[-1])
    axes.set_ylim(up[0], up[-1])
    axes.set_xlabel(horizontal)
    axes.set_ylabel(vertical)
    if title is not None:
        axes.set_title(_plain(title, 90), loc="left", fontsize=11)
    handles, labels = zip(*entries, strict=True)
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def learning_curves_figure(
    losses: ArrayLike,
    kept: int,
    *,
    baseline: Mapping[str, ArrayLike] | None = None,
    labels: tuple[str, str] = ("epoch", "training loss"),
) -> Figure:
    """Every random start's learning curve, their 5 to 95 % band and median, and the start that was kept.

    `losses` (starts, epochs + 1), the first column before any update; `kept`: the row that was kept. `baseline`:
    further curves by name, each (any number of epochs + 1,), say the by-hand run's. `labels`: the axes'. A curve that
    is not finite is drawn until then and counted in the note; band and median are over the starts finite at that epoch.
    The y axis is logarithmic where the curves span more than a factor of 30. Where a few starts would flatten all
    others, they leave the frame at the top, and the note says how many. Raises `UsageError` for another shape.

    >>> figure = learning_curves_figure([[0.9, 0.5, 0.4], [0.8, 0.7, 0.65]], kept=0)
    >>> figure.axes[0].get_ylabel()
    'training loss'
    """
    from matplotlib.collections import LineCollection
    from matplotlib.ticker import MaxNLocator

    curves = np.array(losses, dtype=float)
    if curves.ndim != 2 or curves.size == 0:
        raise UsageError(f"losses has a row per start and a column per epoch, and one before; got {curves.shape}.")
    n_starts, n_epochs = curves.shape
    if not 0 <= kept < n_starts:
        raise UsageError(f"kept is a start from 0 to {n_starts - 1}; got {kept}.")
    finite = np.isfinite(curves)
    n_diverged = int((~finite.all(axis=1)).sum())
    curves[~finite] = np.nan
    epochs = np.arange(n_epochs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # an epoch at which no start is finite has no percentiles
        low, median, high = np.nanpercentile(curves, _PERCENTILES, axis=0)
    named = {_plain(name): np.asarray(curve, dtype=float).reshape(-1) for name, curve in (baseline or {}).items()}

    horizontal, vertical = (_plain(label) for label in labels)
    figure, axes = _new_figure(f"Learning curves of {counted(n_starts, 'random start')}", 7.0, 4.6)
    segments = np.stack(np.broadcast_arrays(epochs.astype(float), curves), axis=-1)
    faint = LineCollection(
        list(segments), colors=[MUTED], linewidths=0.7, alpha=min(0.6, max(0.05, 12 / n_starts)), rasterized=True
    )
    axes.add_collection(faint)  # rasterized: a thousand curves as paths are megabytes
    entries: list[tuple[Any, str]] = []
    if n_starts > 1:
        band = axes.fill_between(epochs, low, high, color=BLUE, alpha=0.16, linewidth=0)
        entries.append((band, "5 to 95 % of the starts"))
        entries.append((axes.plot(epochs, median, color=INK, linewidth=1.8, linestyle="--")[0], "median"))
    entries.append((axes.plot(epochs, curves[kept], color=BLUE, linewidth=2.6)[0], f"kept: start {kept}"))
    for (name, curve), dashes in zip(named.items(), ("-", "-.", ":", "--") * len(named), strict=False):
        shown = np.where(np.isfinite(curve), curve, np.nan)
        handle = axes.plot(np.arange(len(curve)), shown, color=ORANGE, linewidth=2.2, linestyle=dashes)[0]
        entries.append((handle, name))

    strong = np.concatenate([low, high, curves[kept], *named.values()])
    strong = strong[np.isfinite(strong)]
    note = [counted(n_starts, "random start")]
    if n_diverged:
        note.append(f"{n_diverged:,} diverged, drawn until then")
    if strong.size:
        everything = np.concatenate([strong, curves[finite]])
        top, bottom = float(strong.max()), float(everything.min())
        if bottom > 0 and top / float(strong.min()) > 30:
            axes.set_yscale("log")
            top, bottom = float(everything.max()) * 1.2, bottom / 1.2
        else:
            border = 0.04 * (top - bottom) or 0.5
            top, bottom = top + 2 * border, bottom - border
            n_above = int((np.nan_to_num(curves, nan=-np.inf) > top).any(axis=1).sum())
            if n_above:
                note.append(f"{n_above:,} leave the frame at the top")
        axes.set_ylim(bottom, top)
    axes.set_xlim(0, max([n_epochs - 1, 1, *(len(curve) - 1 for curve in named.values())]))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(horizontal)
    axes.set_ylabel(vertical)
    axes.set_title("; ".join(note), loc="left", fontsize=9, color=MUTED)
    handles, names = zip(*entries, strict=True)
    axes.legend(handles, names, frameon=True, framealpha=0.9, edgecolor="none", fontsize=9)
    return figure


def _bin_edges(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Edges of a histogram's bins. Scores of n rows lie on a grid of 1 / n: each bin spans as many of its points."""
    low, high = float(values.min()), float(values.max())
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # one value, rounding aside
        reach = 0.1 * abs(low) or 0.1
        return np.linspace(low - reach, high + reach, 42)
    places = np.unique(np.round((values - low) / (high - low), 9))
    steps = places / np.diff(places).min()
    n_steps = round(float(steps[-1]))
    if places.size >= 8 and n_steps < 10_000 and np.abs(steps - np.rint(steps)).max() < 1e-3:
        per_bin = math.ceil((n_steps + 1) / 45)
        marks = np.arange(0, n_steps + 1 + per_bin, per_bin, dtype=np.float64) - 0.5
        return low + marks * ((high - low) / n_steps)
    return np.linspace(low, high, 41)


def distribution_figure(values: ArrayLike, *, label: str, marks: Mapping[str, float] | None = None) -> Figure:
    """How a result is distributed over random starts: a histogram, its median and its 5 to 95 % interval.

    `values` (starts,), say each start's test accuracy; `label`: what they are. `marks`: further values by name, each a
    labelled line, say the notebook's figure. Values that are not finite are left out and counted in the note.
    Raises `UsageError` where no value is finite, or a mark is not.

    >>> figure = distribution_figure([0.6, 0.7, 0.9], label="test accuracy", marks={"the notebook": 0.64})
    >>> figure.axes[0].get_xlabel()
    'test accuracy'
    """
    from matplotlib.ticker import MaxNLocator

    everything = np.asarray(values, dtype=float).reshape(-1)
    kept = everything[np.isfinite(everything)]
    if kept.size == 0:
        raise UsageError(f"A distribution needs a finite value; got {everything.size} values, none finite.")
    named = [(_plain(name, 30), float(value)) for name, value in (marks or {}).items()]
    for name, value in named:
        if not math.isfinite(value):
            raise UsageError(f"A mark is a finite value; got {value} for {name!r}.")
    low, median, high = np.percentile(kept, _PERCENTILES)

    shown = _plain(label)
    figure, axes = _new_figure(f"Distribution of {shown} over {counted(kept.size, 'random start')}", 7.0, 4.2)
    edges = _bin_edges(kept)
    heights, _, bars = axes.hist(kept, bins=edges, color="#a9bccb", edgecolor="white", linewidth=0.6)
    tallest = float(heights.max())
    for bar, left, right in zip(bars, edges[:-1], edges[1:], strict=True):
        if low <= (left + right) / 2 <= high:
            bar.set_facecolor("#5f93bd")

    # Every line has a flag at its own height, so no two labels meet. Flags point towards the middle, the outermost is
    # the highest, so that it passes above the other lines.
    ends = [*(value for _, value in named), float(edges[0]), float(edges[-1])]
    start, stop = min(ends), max(ends)
    border, middle = 0.03 * (stop - start), (start + stop) / 2
    pitch = 0.085 * tallest
    flags = [(f"median {significant(median)}", float(median), INK, INK, "-")]
    flags += [(f"{name} {significant(value)}", value, ORANGE, "#a84a00", "--") for name, value in named]
    flags.sort(key=lambda flag: abs(flag[1] - middle))
    for row, (text, value, line_colour, text_colour, dashes) in enumerate(flags):
        height, side = tallest + pitch * (row + 0.9), 1 if value < middle else -1
        axes.plot([value, value], [0, height], color=line_colour, linewidth=1.6, linestyle=dashes)
        axes.annotate(
            text,
            (value, height),
            xytext=(4 * side, 0),
            textcoords="offset points",
            ha="left" if side > 0 else "right",
            va="center",
            fontsize=9,
            color=text_colour,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
        )
    axes.set_xlim(start - border, stop + border)
    axes.set_yticks(
        [tick for tick in MaxNLocator(integer=True, steps=[1, 2, 5, 10]).tick_values(0, tallest) if tick <= tallest]
    )
    axes.set_ylim(0, tallest + pitch * (len(flags) + 1))
    axes.set_xlabel(shown)
    axes.set_ylabel("random starts")
    note = f"{counted(kept.size, 'random start')}; 5 to 95 %: {significant(low)} to {significant(high)} (darker)"
    if everything.size > kept.size:
        note += f"; {everything.size - kept.size:,} not finite, left out"
    axes.set_title(note, loc="left", fontsize=9, color=MUTED)
    return figure


def figure_svg(figure: Figure) -> str:
    """A figure as SVG text, the same for the same figure, that may be a file or be put into a page.

    Text stays text. There is no date in it, its ids are its own, and its rules apply to itself alone, so that several
    may share a page.

    >>> svg = figure_svg(distribution_figure([0.6, 0.7, 0.9], label="test accuracy"))
    >>> svg.startswith("<svg "), svg == figure_svg(distribution_figure([0.6, 0.7, 0.9], label="test accuracy"))
    (True, True)
    """
    import matplotlib

    written = io.StringIO()
    title = str(figure.get_label()).replace(r"\$", "$")
    with warnings.catch_warnings(), matplotlib.rc_context({"svg.hashsalt": "glassnet", "svg.fonttype": "none"}):
        # The text is set by the viewer's fonts, which have the glyphs that matplotlib's may lack.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(written, format="svg", dpi=144, metadata={"Date": None, "Creator": None, "Title": title})
    svg = written.getvalue()
    svg = svg[svg.index("<svg ") :]
    scope = _scope(svg)
    # Inside tags only: a column may be called id="x".
    svg = re.sub("<[^<>]+>", lambda tag: re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{scope}-", tag[0]), svg)
    svg = svg.replace(
        "*{stroke-linejoin: round; stroke-linecap: butt}", f".{scope} *{{stroke-linejoin:round;stroke-linecap:butt}}"
    )
    name = escape(title, {'"': "&quot;"})
    root = f'<svg role="img" aria-label="{name}" class="{scope}" style="max-width:100%;height:auto" '
    return svg.replace("<svg ", root, 1)
