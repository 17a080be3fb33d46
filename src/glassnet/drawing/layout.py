"""Where a drawn network lies: its units in columns, its edges, and room for every number on them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from glassnet.network import Network, Parameters
from glassnet.svg import shortened, significant, text_width

_MOST_UNITS = 12  # a layer with more shows its first ones, an ellipsis and its last
_MOST_PRINTED_WEIGHTS = 30
MARGIN, NAME_SIZE, SMALL_SIZE = 16.0, 13.0, 11.0  # pixels


@dataclass(frozen=True)
class Layer:
    """A column of units: where each drawn one lies."""

    x: float
    heights: dict[int, float]  # unit, from 0 -> y
    ellipsis: float | None  # y, where units are left out


@dataclass(frozen=True)
class Edge:
    """A weight between two units: where its line begins and ends."""

    layer: int  # 1 to n_layers
    source: int  # from 0
    target: int
    start: tuple[float, float]
    end: tuple[float, float]

    @property
    def symbol(self) -> str:
        """Of the weight: `w1_2_1` runs from input 2 to unit 1 of layer 1."""
        return f"w{self.layer}_{self.source + 1}_{self.target + 1}"

    def at(self, part: float) -> tuple[float, float]:
        """The point at a part of the way, 0 to 1."""
        (x0, y0), (x1, y1) = self.start, self.end
        return x0 + part * (x1 - x0), y0 + part * (y1 - y0)


@dataclass(frozen=True)
class Box:
    """A rectangle by its centre and half its sides."""

    x: float
    y: float
    half_width: float
    half_height: float

    def meets(self, other: Box) -> bool:
        """Whether the two overlap."""
        return (
            abs(self.x - other.x) < self.half_width + other.half_width
            and abs(self.y - other.y) < self.half_height + other.half_height
        )

    def distance(self, edge: Edge) -> float:
        """How far below or above the box the edge passes; zero where it runs through it."""
        (x0, y0), (x1, y1) = edge.start, edge.end
        slope = (y1 - y0) / (x1 - x0)
        away = abs(y0 + slope * (self.x - x0) - self.y) - self.half_height - abs(slope) * self.half_width
        return max(away, 0.0)


def _layers(sizes: Sequence[int], left: float, middle: float, gap: float, pitch: float) -> list[Layer]:
    layers = []
    for position, size in enumerate(sizes):
        shown: list[int | None] = list(range(size))
        if size > _MOST_UNITS:
            shown = [*range(_MOST_UNITS - 2), None, size - 1]
        ys = [middle + (slot - (len(shown) - 1) / 2) * pitch for slot in range(len(shown))]
        layers.append(
            Layer(
                x=left + position * gap,
                heights={unit: y for unit, y in zip(shown, ys, strict=True) if unit is not None},
                ellipsis=ys[-2] if None in shown else None,
            )
        )
    return layers


def _edges(layers: Sequence[Layer], radius: float) -> list[Edge]:
    return [
        Edge(number, i, j, (before.x + radius, y0), (after.x - radius, y1))
        for number, (before, after) in enumerate(pairwise(layers), start=1)
        for i, y0 in before.heights.items()
        for j, y1 in after.heights.items()
    ]


def _placed_labels(
    edges: Sequence[Edge], values: Sequence[float], taken: Sequence[Box], size: float
) -> list[Box] | None:
    """A place on its own edge for every label, apart from all others; None where there is no room.

    Of the free places the one is taken that the fewest other edges run through or come near, then the one nearest to
    0.4 of the way.
    """
    boxes: list[Box] = []
    for edge, value in zip(edges, values, strict=True):
        others = [other for other in edges if other.layer == edge.layer and other is not edge]
        best: tuple[float, Box] | None = None
        for percent in range(10, 91, 2):
            box = Box(*edge.at(percent / 100), text_width(significant(value), size) / 2 + 2, size * 0.66)
            if any(box.meets(other) for other in (*taken, *boxes)):
                continue
            cost = sum(max(1 - box.distance(other) / 14, 0) for other in others) + abs(percent / 100 - 0.4)
            if best is None or cost < best[0]:
                best = cost, box
        if best is None:
            return None
        boxes.append(best[1])
    return boxes


@dataclass(frozen=True)
class Plan:
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
    layers: list[Layer]
    edges: list[Edge]
    values: list[float]  # of the edges, empty without parameters
    labels: list[Box]  # where weights are printed, empty where they are not
    lit: frozenset[str]  # symbols of what stands out; where there are any, all else is quiet

    @property
    def names_away(self) -> float:
        """From a unit's centre to its name."""
        return self.radius + 10

    @property
    def largest(self) -> float:
        """The largest finite magnitude of a weight; 0 where there is none."""
        return max((abs(value) for value in self.values if math.isfinite(value)), default=0.0)


def planned(
    network: Network,
    parameters: Parameters | None,
    inputs: list[str],
    outputs: list[str],
    lit: frozenset[str],
) -> Plan:
    """The network laid out, with edges as long as its printed weights need."""
    sizes = network.sizes
    link = network.loss_row.link
    n_weights = sum(n_in * n_out for n_in, n_out in pairwise(sizes))
    small = n_weights <= _MOST_PRINTED_WEIGHTS and max(sizes) <= _MOST_UNITS
    rows = min(max(sizes), _MOST_UNITS)
    radius, text_size, widest = (18.0, 12.0, 7.0) if small else (13.0, 11.0, 4.0)
    pitch = 44.0 if not small else 88.0 if rows <= 6 else 60.0
    gap = 230.0 + 20 * max(rows - 4, 0) if small else 200.0
    top = MARGIN + radius + (22 if small else 0)
    bottom = top + (rows - 1) * pitch
    shown = _layers(sizes, 0, 0, gap, pitch)[0].heights
    left = MARGIN + radius + 10 + max(text_width(shortened(inputs[unit]), NAME_SIZE) for unit in shown)
    while True:
        layers = _layers(sizes, left, (top + bottom) / 2, gap, pitch)
        edges = _edges(layers, radius)
        values: list[float] = []
        labels: list[Box] | None = []
        if parameters is not None:
            values = [float(parameters.weights[edge.layer - 1][edge.source, edge.target]) for edge in edges]
            if small:
                labels = _placed_labels(edges, values, _taken(layers, parameters, radius, text_size), text_size)
        if labels is not None:
            break
        gap *= 1.25  # the longer the edges, the more room for labels: this ends
    return Plan(
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


def _taken(layers: Sequence[Layer], parameters: Parameters, radius: float, size: float) -> list[Box]:
    """Where no weight may be printed: the units and their biases."""
    boxes = []
    for number, layer in enumerate(layers):
        for unit, y in layer.heights.items():
            boxes.append(Box(layer.x, y, radius + 6, radius + 6))
            if number:
                text = bias_text(parameters.biases[number - 1][unit])
                boxes.append(Box(layer.x, y - radius - 11, text_width(text, size) / 2 + 4, size * 0.66))
    return boxes


def bias_text(bias: float) -> str:
    """A bias as it is printed above its unit."""
    return f"b = {significant(bias)}"
