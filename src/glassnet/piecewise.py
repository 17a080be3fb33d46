"""Piecewise-linear networks as what they are: one linear function in each region of their inputs.

An activation whose derivative is constant between its kinks cuts the inputs by a hyperplane for every unit. Which side
of its kinks each unit is on, the pattern, says which linear function holds. Everything here follows from that by linear
algebra: the function of a pattern, the walk along a line through region after region, and the cutting of a plane into
polygons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from math import hypot, isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.activations import ActivationRow
from glassnet.errors import UsageError
from glassnet.expressions import Expression, evaluate, function
from glassnet.network import Network, Parameters

Floats = NDArray[np.float64]
Pattern = tuple[NDArray[np.intp], ...]
"""For every layer the piece (units,) that each unit is on, counted from 0, from below."""

_MOST_REGIONS = 20_000
_MOST_LOOKS = 2**27  # at units along a block of lines
_BLOCK = 2**21  # numbers of one array while many lines are walked at once: 16 MiB


@dataclass(frozen=True)
class Pieces:
    """A piecewise-linear function of one number: slopes[i] * z + intercepts[i] above i of its kinks.

    >>> from glassnet.activations import ACTIVATIONS
    >>> pieces_of(ACTIVATIONS["leaky_relu"])
    Pieces(kinks=(0.0,), slopes=(0.01, 1.0), intercepts=(0.0, 0.0))
    """

    kinks: tuple[float, ...]
    slopes: tuple[float, ...]
    intercepts: tuple[float, ...]


@cache
def pieces_of(row: ActivationRow) -> Pieces | None:
    """The pieces of an activation, read off its row; None where its derivative is not constant between kinks.

    >>> from glassnet.activations import ACTIVATIONS
    >>> [name for name, row in ACTIVATIONS.items() if pieces_of(row)]
    ['identity', 'relu', 'leaky_relu']
    """
    if not _constant_but_for_conditions(row.derivative):
        return None
    edges = [row.kinks[0] - 1, *row.kinks, row.kinks[-1] + 1] if row.kinks else [1.0, 1.0]
    within = [(low + high) / 2 for low, high in pairwise(edges)]
    values = [float(function(row.value, ("z",))(np.float64(z))) for z in within]
    slopes = [evaluate(row.derivative, {"z": z, "a": a}) for z, a in zip(within, values, strict=True)]
    intercepts = [a - slope * z for z, a, slope in zip(within, values, slopes, strict=True)]
    return Pieces(row.kinks, tuple(slopes), tuple(intercepts))


def _constant_but_for_conditions(expression: Expression) -> bool:
    if expression.op == "symbol":
        return False
    operands = expression.args[1:] if expression.op == "select" else expression.args
    return expression.op == "const" or all(map(_constant_but_for_conditions, operands))


@dataclass(frozen=True)
class Layer:
    """z = b + x W, then a piecewise-linear function of its own for every unit.

    weights (n_in, units), biases (units,); kinks (units, m), ascending, infinite where a unit has fewer; slopes and
    intercepts (units, m + 1).

    >>> layer = Layer.alike([[1.0, -1.0]], [0.0, 0.5], Pieces((0.0,), (0.0, 1.0), (0.0, 0.0)))
    >>> layer.value(np.array([2.0])).tolist()
    [2.0, 0.0]
    """

    weights: Floats
    biases: Floats
    kinks: Floats
    slopes: Floats
    intercepts: Floats

    @classmethod
    def alike(cls, weights: Any, biases: Any, pieces: Pieces) -> Layer:
        """A layer whose units all have the same function."""
        W, b = np.asarray(weights, dtype=np.float64), np.asarray(biases, dtype=np.float64)
        kinks, slopes, intercepts = (
            np.broadcast_to(np.array(part, dtype=np.float64), (len(b), len(part)))
            for part in (pieces.kinks, pieces.slopes, pieces.intercepts)
        )
        return cls(W, b, kinks, slopes, intercepts)

    @property
    def units(self) -> int:
        """How many units it has."""
        return len(self.biases)

    def pieces(self, z: Floats) -> NDArray[np.intp]:
        """The piece that each unit is on (..., units); on a kink, the one below it, as the tables' rows have it."""
        return np.asarray((self.kinks < z[..., np.newaxis]).sum(axis=-1), dtype=np.intp)

    def line(self, pieces: NDArray[np.intp]) -> tuple[Floats, Floats]:
        """Slope and intercept of each unit's piece (..., units)."""
        unit = np.arange(self.units)
        return self.slopes[unit, pieces], self.intercepts[unit, pieces]

    def ends(self, pieces: NDArray[np.intp]) -> tuple[Floats, Floats]:
        """Where each unit's piece begins and ends (..., units), perhaps at minus and plus infinity."""
        outer = np.full((self.units, 1), np.inf)
        ends, unit = np.hstack([-outer, self.kinks, outer]), np.arange(self.units)
        return ends[unit, pieces], ends[unit, pieces + 1]

    def apply(self, z: Floats) -> Floats:
        """What becomes of pre-activations (..., units)."""
        slope, intercept = self.line(self.pieces(z))
        applied: Floats = slope * z + intercept
        return applied

    def value(self, x: Floats) -> Floats:
        """(..., n_in) -> (..., units)."""
        return self.apply(x @ self.weights + self.biases)


Layers = tuple[Layer, ...]

LINEAR = Pieces((), (1.0,), (0.0,))


def layers_of(network: Network, parameters: Parameters) -> Layers | None:
    """A network whose activations are all piecewise linear, as layers; None for any other.

    >>> from glassnet.network import initialize
    >>> net = Network((2, 3, 1), "relu")
    >>> len(layers_of(net, initialize(net))), layers_of(Network((2, 3, 1), "tanh"), initialize(net))
    (2, None)
    """
    found = []
    for layer in range(network.n_layers):
        pieces = pieces_of(network.activation_row(layer + 1))
        if pieces is None:
            return None
        found.append(Layer.alike(parameters.weights[layer], parameters.biases[layer], pieces))
    return tuple(found)


def folded(layers: Sequence[Layer]) -> Layers:
    """The same function in fewer layers: those without any kink become part of the next.

    >>> linear = Layer.alike([[2.0]], [1.0], LINEAR)
    >>> relu = Layer.alike([[3.0]], [0.0], Pieces((0.0,), (0.0, 1.0), (0.0, 0.0)))
    >>> (once,) = folded([linear, relu])
    >>> once.weights.tolist(), once.biases.tolist()
    ([[6.0]], [3.0])
    """
    left: list[Layer] = []
    for layer in layers:
        if left and not np.isfinite(left[-1].kinks).any():
            before = left.pop()
            slope, intercept = before.line(np.zeros(before.units, dtype=np.intp))
            layer = replace(
                layer,
                weights=(before.weights * slope) @ layer.weights,
                biases=(before.biases * slope + intercept) @ layer.weights + layer.biases,
            )
        left.append(layer)
    return tuple(left)


def value(layers: Sequence[Layer], x: Floats) -> Floats:
    """What the layers make of inputs (..., n): outputs (..., n_outputs)."""
    for layer in layers:
        x = layer.value(x)
    return x


def pattern_at(layers: Sequence[Layer], x: Floats) -> Pattern:
    """On which piece every unit is for inputs (..., n)."""
    pattern = []
    for layer in layers:
        z = x @ layer.weights + layer.biases
        pattern.append(layer.pieces(z))
        x = layer.apply(z)
    return tuple(pattern)


@dataclass(frozen=True)
class Affine:
    """x -> x A + c, with A (n, m) and c (m,)."""

    coefficients: Floats
    constants: Floats

    def at(self, x: Floats) -> Floats:
        """(..., n) -> (..., m)."""
        return np.asarray(x @ self.coefficients + self.constants, dtype=np.float64)


def affine_of(layers: Sequence[Layer], pattern: Pattern) -> tuple[list[Affine], Affine]:
    """What the pre-activations of every layer are, and what the outputs are, in the region of this pattern.

    >>> from glassnet.activations import ACTIVATIONS
    >>> relu = Layer.alike([[2.0]], [1.0], pieces_of(ACTIVATIONS["relu"]))
    >>> affine_of([relu], (np.array([1]),))[1]
    Affine(coefficients=array([[2.]]), constants=array([1.]))
    """
    n = len(layers[0].weights)
    A, c = np.eye(n), np.zeros(n)
    inside = []
    for layer, pieces in zip(layers, pattern, strict=True):
        A, c = A @ layer.weights, c @ layer.weights + layer.biases
        inside.append(Affine(A, c))
        slope, intercept = layer.line(pieces)
        A, c = A * slope, c * slope + intercept
    return inside, Affine(A, c)


# Along lines.


class Lines:
    """Straight lines from one point, walked through region after region, all of them at once.

    `start` (n,), `pattern` its own, `directions` (d, n): points are start + t * direction, t from 0.
    """

    def __init__(self, layers: Sequence[Layer], start: Floats, pattern: Pattern, directions: Floats) -> None:
        # up to the first kinks everything is one linear function of t, which is worked out once
        x, dx, first = start, directions, 0
        while first < len(layers) - 1 and not np.isfinite(layers[first].kinks).any():
            slope, intercept = layers[first].line(pattern[first])
            x, dx = (
                slope * (x @ layers[first].weights + layers[first].biases) + intercept,
                slope * (dx @ layers[first].weights),
            )
            first += 1
        self.layers = layers[first:]
        self.z, self.dz = x @ self.layers[0].weights + self.layers[0].biases, dx @ self.layers[0].weights
        self.t = np.zeros(len(directions))
        self.pieces = [np.broadcast_to(pieces, (len(directions), len(pieces))).copy() for pieces in pattern[first:]]
        self.outputs, self.slopes, self.crossing = np.empty(0), np.empty(0), np.empty(0)
        self._crossing_of: list[Floats] = []
        self._look()

    def _look(self) -> None:
        """Outputs (d, m) where the lines are now, their slopes along them, and the t of the next crossing (d,)."""
        z, dz = self.z + self.t[:, np.newaxis] * self.dz, self.dz
        x, dx = z, dz
        self._crossing_of = []
        self.crossing = np.full(len(self.t), np.inf)
        for number, (layer, pieces) in enumerate(zip(self.layers, self.pieces, strict=True)):
            if number:
                z, dz = x @ layer.weights + layer.biases, dx @ layer.weights
            low, high = layer.ends(pieces)
            end = np.where(dz > 0, high, low)
            with np.errstate(all="ignore"):
                ahead = np.where((dz != 0) & np.isfinite(end), np.maximum((end - z) / dz, 0.0), np.inf)
            at = self.t[:, np.newaxis] + ahead
            self._crossing_of.append(np.where(dz > 0, at, -at))  # the sign keeps the way it crosses
            self.crossing = np.minimum(self.crossing, at.min(axis=1, initial=np.inf))
            slope, intercept = layer.line(pieces)
            x, dx = slope * z + intercept, slope * dz
        self.outputs, self.slopes = x, dx

    def cross(self) -> None:
        """On to the next region of every line: the units that reach the end of their piece get the next one."""
        for pieces, at in zip(self.pieces, self._crossing_of, strict=True):
            there = np.abs(at) == self.crossing[:, np.newaxis]
            there &= np.isfinite(self.crossing)[:, np.newaxis]
            pieces += np.where(there, np.where(np.signbit(at), -1, 1), 0)
        self.t = np.where(np.isfinite(self.crossing), self.crossing, self.t)
        self._look()

    def keep(self, which: NDArray[np.bool_]) -> None:
        """Go on with some of the lines alone."""
        self.dz, self.t = self.dz[which], self.t[which]
        self.pieces = [pieces[which] for pieces in self.pieces]
        self.outputs, self.slopes, self.crossing = self.outputs[which], self.slopes[which], self.crossing[which]
        self._crossing_of = [at[which] for at in self._crossing_of]


def first_crossings(layers: Sequence[Layer], start: Floats, pattern: Pattern, directions: Floats) -> Floats:
    """For every direction (d, n) the t (d,) at which a line from `start` leaves the region; infinite if never.

    >>> from glassnet.activations import ACTIVATIONS
    >>> relu = Layer.alike([[2.0]], [1.0], pieces_of(ACTIVATIONS["relu"]))
    >>> first_crossings([relu], np.zeros(1), (np.array([1]),), np.array([[1.0], [-1.0]])).tolist()
    [inf, 0.5]
    """
    return np.concatenate([Lines(layers, start, pattern, some).crossing for some in _blocks(layers, directions)])


def first_positive(
    layers: Sequence[Layer], start: Floats, pattern: Pattern, directions: Floats, most: Floats, level: float = 0.0
) -> Floats:
    """For every direction (d, n) the first t (d,), up to `most` (d,), at which an output reaches `level` from below.

    Infinite where none does. Every region on the way is walked through, so nothing is missed; NaN where there are more
    of them than can be walked through in some seconds. An output that is above `level` at the start is there at 0.

    >>> from glassnet.activations import ACTIVATIONS
    >>> relu = Layer.alike([[2.0]], [1.0], pieces_of(ACTIVATIONS["relu"]))
    >>> last = Layer.alike([[1.0]], [-3.0], LINEAR)
    >>> ahead_and_back = np.array([[1.0], [-1.0]])
    >>> pattern, most = (np.array([1]), np.array([0])), np.full(2, 9.0)
    >>> first_positive([relu, last], np.zeros(1), pattern, ahead_and_back, most).tolist()
    [1.0, inf]
    """
    found, begun = [], 0
    for some in _blocks(layers, directions):
        found.append(_first_positive(layers, start, pattern, some, most[begun : begun + len(some)], level))
        begun += len(some)
    return np.concatenate(found)


def _blocks(layers: Sequence[Layer], directions: Floats) -> list[Floats]:
    widest = max(layer.units for layer in layers)
    return np.array_split(directions, -(-len(directions) * widest // _BLOCK)) if len(directions) else [directions]


def _first_positive(
    layers: Sequence[Layer], start: Floats, pattern: Pattern, directions: Floats, most: Floats, level: float
) -> Floats:
    lines = Lines(layers, start, pattern, directions)
    found = np.full(len(directions), np.inf)
    alive = np.arange(len(directions))
    # Every crossing moves one unit by one piece, and looks at all of them.
    units = sum(layer.units for layer in lines.layers)
    for _ in range(max(50, _MOST_LOOKS // (len(directions) * units))):
        below = level - lines.outputs
        with np.errstate(all="ignore"):
            ahead = np.where(below <= 0, 0.0, np.where(lines.slopes > 0, below / lines.slopes, np.inf))
        reached = lines.t + ahead.min(axis=1, initial=np.inf)
        there = reached <= np.minimum(lines.crossing, most)
        found[alive[there]] = reached[there]
        on = ~there & (lines.crossing < most)
        if not on.any():
            break
        alive, most = alive[on], most[on]
        lines.keep(on)
        lines.cross()
    else:
        found[alive] = np.nan
    return found


# Over a plane.


@dataclass(frozen=True)
class Polygon:
    """A convex part of a plane, corners (k, 2) in order, where one pattern, and so one linear function, holds."""

    corners: Floats
    pattern: Pattern
    outputs: Affine


def cut(layers: Sequence[Layer], corners: Floats) -> list[Polygon]:
    """The regions of a function of two inputs within a convex polygon, corners (k, 2) in order.

    They are cut layer by layer, unit by unit: where all earlier layers are linear, a unit's kink is a straight line,
    and cuts a region in two.
    Raises `UsageError` where the regions become more than can be shown.

    >>> from glassnet.activations import ACTIVATIONS
    >>> relu = Layer.alike([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0], pieces_of(ACTIVATIONS["relu"]))
    >>> square = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    >>> len(cut([relu], square))
    4
    """
    size = float(np.ptp(corners, axis=0).max())
    whole: _Corners = [(x, y) for x, y in corners.tolist()]
    parts: list[tuple[_Corners, Pattern, Affine]] = [(whole, (), Affine(np.eye(2), np.zeros(2)))]
    for layer in layers:
        after: list[tuple[_Corners, Pattern, Affine]] = []
        kinks = [[kink for kink in row if isfinite(kink)] for row in layer.kinks.tolist()]
        bends = any(kinks)
        sides = np.zeros(layer.units, dtype=np.intp)
        slope, intercept = layer.line(sides)
        for polygon, pattern, inputs in parts:
            z = Affine(inputs.coefficients @ layer.weights, inputs.constants @ layer.weights + layer.biases)
            pieces = [polygon]
            normals = z.coefficients.T.tolist() if bends else []
            for normal, constant, kinks_of in zip(normals, z.constants.tolist(), kinks, strict=False):
                for kink in kinks_of:
                    pieces = [half for piece in pieces for half in _halves(piece, normal, constant - kink, size)]
                if len(pieces) + len(after) > _MOST_REGIONS:
                    raise UsageError(
                        f"At most {_MOST_REGIONS:,} regions are listed; this network has more in the rectangle. "
                        "Take a smaller rectangle or a smaller network."
                    )
            for piece in pieces:
                if bends:
                    center = np.array([sum(along) / len(piece) for along in zip(*piece, strict=True)])
                    sides = layer.pieces(z.at(center))
                    slope, intercept = layer.line(sides)
                outputs = Affine(z.coefficients * slope, z.constants * slope + intercept)
                after.append((piece, (*pattern, sides), outputs))
        parts = after
    return [Polygon(np.array(polygon), pattern, outputs) for polygon, pattern, outputs in parts]


# Of a handful of corners: NumPy takes longer to be called than Python to count.
_Corners = list[tuple[float, float]]


def _halves(corners: _Corners, normal: Sequence[float], constant: float, size: float) -> list[_Corners]:
    """The polygon's parts on both sides of the line normal . x + constant = 0; one where the line does not cut it.

    What is nearer to the line than a billionth of the rectangle is on it: no slivers of rounding.
    """
    heights = [x * normal[0] + y * normal[1] + constant for x, y in corners]
    near = 1e-9 * size * hypot(*normal)
    if not min(heights) < -near or not max(heights) > near:  # neither is so of a NaN
        return [corners]
    heights = [0.0 if abs(height) <= near else height for height in heights]
    above: _Corners = []
    below: _Corners = []
    for i, (corner, here) in enumerate(zip(corners, heights, strict=True)):
        if here >= 0:
            above.append(corner)
        if here <= 0:
            below.append(corner)
        following = (i + 1) % len(corners)
        if here * heights[following] < 0:
            meeting = _meeting(corner, here, corners[following], heights[following])
            above.append(meeting)
            below.append(meeting)
    return [above, below]


def _meeting(a: tuple[float, float], here: float, b: tuple[float, float], there: float) -> tuple[float, float]:
    """Where it is 0 between two points, above which it is `here` and `there`."""
    part = here / (here - there)
    return a[0] + part * (b[0] - a[0]), a[1] + part * (b[1] - a[1])


def zero_segment(corners: Floats, normal: Floats, constant: float) -> Floats | None:
    """The segment (2, 2) of the line normal . x + constant = 0 within a convex polygon; None where it only touches.

    >>> square = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    >>> zero_segment(square, np.array([1.0, 0.0]), -0.5).tolist()
    [[0.5, 0.0], [0.5, 1.0]]
    """
    heights, places = heights_over(corners, normal, constant).tolist(), corners.tolist()
    ends: _Corners = []
    for i, (here, place) in enumerate(zip(heights, places, strict=True)):
        following = (i + 1) % len(places)
        if here == 0:
            ends.append(tuple(place))
        elif here * heights[following] < 0:
            ends.append(_meeting(place, here, places[following], heights[following]))
    a, b = normal.tolist()
    if len(ends) < 2 or (a == 0 and b == 0):
        return None
    along = [a * y - b * x for x, y in ends]
    first, last = ends[along.index(min(along))], ends[along.index(max(along))]
    return np.array([first, last]) if first != last else None


def heights_over(corners: Floats, normal: Floats, constant: float) -> Floats:
    """normal . x + constant at every corner (k,), 0 where it is nothing but rounding.

    >>> heights_over(np.array([[0.1, 0.2], [1.0, 0.0]]), np.array([1.0, 1.0]), -0.3).tolist()
    [0.0, 0.7]
    """
    (a, b), constant, places = normal.tolist(), float(constant), corners.tolist()
    heights = [x * a + y * b + constant for x, y in places]
    near = 1e-12 * (abs(constant) + max(abs(along) for place in places for along in place) * hypot(a, b))
    return np.array([0.0 if abs(height) <= near else height for height in heights])
