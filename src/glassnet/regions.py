"""A piecewise-linear network of two columns as a map: regions as polygons, each with its equation; the boundary.

Polygons are cut by every unit's kinks, layer by layer, so the map is exact: no grid, nothing sampled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from glassnet.cells import listed
from glassnet.columns import NumberColumn
from glassnet.encoding import Encoding
from glassnet.errors import UsageError
from glassnet.expressions import readable, significant
from glassnet.local import Mover, encoding_layer, placed
from glassnet.network import Network, Parameters
from glassnet.piecewise import Affine, Floats, Polygon, cut, heights_over, layers_of, pieces_of, zero_segment

_SPAN = 3.0  # scaled units to either side of the center, where no rectangle is given


@dataclass(frozen=True)
class Region:
    """Where one equation holds: outputs = intercepts + x A, in the columns' units.

    corners (k, 2) in order; intercepts (m,), coefficients (2, m); `pattern`: the side of every unit, by layer.
    """

    corners: Floats
    intercepts: Floats
    coefficients: Floats
    pattern: tuple[tuple[int, ...], ...]

    def outputs(self, x: Floats) -> Floats:
        """The equation's outputs at points (..., 2)."""
        return Affine(self.coefficients, self.intercepts).at(x)

    @property
    def area(self) -> float:
        """In the product of both units."""
        x, y = (self.corners - self.corners[0]).T  # the shoelace formula, from a corner: no digits are lost far out
        return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


@dataclass(frozen=True)
class Regions:
    """The map of a network over a rectangle, `low` to `high`, of its two columns.

    `boundary`: segments (2, 2) on which two classes are equally probable and the decision changes; none for a number.
    `sides`: convex polygons with the class that is decided there, which together fill the rectangle. `outputs` names
    the equations' outputs, as in a local equation.
    """

    columns: tuple[str, str]
    low: Floats
    high: Floats
    output_names: tuple[str, ...]
    classes: tuple[str, ...]
    regions: tuple[Region, ...]
    boundary: tuple[Floats, ...]
    sides: tuple[tuple[Floats, int], ...]

    def equation(self, region: Region, digits: int = 4, output: int = 0) -> str:
        """A region's equation as text."""
        text = f"{readable(self.output_names[output])} = {significant(region.intercepts[output], digits)}"
        for name, c in zip(self.columns, region.coefficients[:, output], strict=True):
            text += f" {'-' if c < 0 else '+'} {significant(abs(c), digits)} {readable(name)}" if c else ""
        return text


def regions_of(
    network: Network,
    members: Sequence[Parameters],
    encoding: Encoding,
    low: Sequence[float] | None = None,
    high: Sequence[float] | None = None,
) -> Regions:
    """The regions within a rectangle, from `low` to `high`, each a number for every column in its own unit.

    Left out, it reaches three scaled units to either side of the columns' centers. Raises `UsageError` for a model that
    is not of two columns of numbers, that averages several networks, that bends its columns or whose activations are
    smooth.

    >>> from glassnet.tables import Table
    >>> table = Table.from_columns({"a": [0.0, 2.0], "b": [0.0, 2.0], "kind": ["n", "y"]})
    >>> encoding, _, _ = Encoding.fit(table, ["a", "b"], "kind")
    >>> network = Network((2, 1, 1))
    >>> parameters = Parameters(network, np.array([1.0, 0.0, 0.0, 2.0, -1.0]))
    >>> found = regions_of(network, [parameters], encoding)
    >>> len(found.regions), found.equation(found.regions[0]), [segment.tolist() for segment in found.boundary]
    (2, 'log-odds of y = -3 + 2 a', [[[1.5, 4.0], [1.5, -2.0]]])
    """
    columns, centers, scales, from_, to = _rectangle(network, members, encoding, low, high)
    cut_up = _cut_up(network, members[0], encoding, (from_ - centers) / scales, (to - centers) / scales)
    target = encoding.target
    assert target is not None, "a model predicts something"
    number = target.kind == "number" and network.loss_row.link == "identity"
    scale, center = (target.scale, target.center) if number else (1.0, 0.0)
    regions, boundary, sides = [], [], []
    for polygon in cut_up:
        A, c = polygon.outputs.coefficients * scale, polygon.outputs.constants * scale + center
        coefficients = A / scales[:, np.newaxis]
        intercepts = c - (centers / scales) @ A
        corners = centers + scales * polygon.corners
        pattern = tuple(tuple(sides.tolist()) for sides in polygon.pattern)
        regions.append(Region(corners, intercepts, coefficients, pattern))
        if target.kind != "number":
            logits = _logits(polygon.outputs)
            parts = _sides(polygon.corners, *logits)
            segments = _segments(polygon.corners, *logits, {k for _, k in parts})
            boundary += [centers + scales * segment for segment in segments]
            sides += [(centers + scales * part, k) for part, k in parts]
    names = {
        "binary": (f"log-odds of {target.classes[-1] if target.classes else ''}",),
        "classes": tuple(f"logit of {label}" for label in target.classes),
        "number": (target.source if number else "logit",),
    }[target.kind]
    named = columns[0].source, columns[1].source
    return Regions(named, from_, to, names, target.classes, tuple(regions), tuple(boundary), tuple(sides))


def boundary_of(
    network: Network, parameters: Parameters, encoding: Encoding, low: Sequence[float], high: Sequence[float]
) -> tuple[Floats, ...]:
    """The `boundary` of the `regions_of` one network, without the regions. Raises as that does."""
    _, centers, scales, from_, to = _rectangle(network, [parameters], encoding, low, high)
    found: list[Floats] = []
    for polygon in _cut_up(network, parameters, encoding, (from_ - centers) / scales, (to - centers) / scales):
        corners, outputs = polygon.corners, polygon.outputs
        if len(outputs.constants) == 1:
            heights = heights_over(corners, outputs.coefficients[:, 0], outputs.constants[0]).tolist()
            lowest, highest = min(heights), max(heights)
            if lowest > 0 or highest < 0:
                continue
            A, c = _logits(outputs)
            present = {k for k, there in enumerate((lowest < 0, highest > 0)) if there}
        else:
            A, c = _logits(outputs)
            present = {k for _, k in _sides(corners, A, c)}
        found += [centers + scales * segment for segment in _segments(corners, A, c, present)]
    return tuple(found)


def _rectangle(
    network: Network,
    members: Sequence[Parameters],
    encoding: Encoding,
    low: Sequence[float] | None,
    high: Sequence[float] | None,
) -> tuple[tuple[NumberColumn, NumberColumn], Floats, Floats, Floats, Floats]:
    """The two columns, their centers and scales, and the rectangle's corners; or what is raised."""
    columns = _two_columns(encoding)
    rows = map(network.activation_row, range(1, network.n_layers + 1))
    if len(members) > 1 or any(pieces_of(row) is None for row in rows):
        why = (
            f"this model averages {len(members)}" if len(members) > 1 else f"this one has {listed(network.activations)}"
        )
        raise UsageError(
            f"Regions are those of one network with piecewise-linear activations, relu, leaky_relu or identity; {why}. "
            "A boundary of any other is drawn by gn.drawing.boundary_figure."
        )
    centers, scales = np.array([c.center for c in columns]), np.array([c.scale for c in columns])
    from_, to = (
        np.asarray(centers + sign * _SPAN * scales if given is None else given, dtype=np.float64)
        for given, sign in ((low, -1), (high, 1))
    )
    if from_.shape != (2,) or to.shape != (2,) or not (np.isfinite(from_) & np.isfinite(to) & (from_ < to)).all():
        raise UsageError(
            f"A rectangle is given by low and high, two finite numbers each, the lower less than the higher; "
            f"got {from_.tolist()} and {to.tolist()}."
        )
    return columns, centers, scales, from_, to


def _cut_up(network: Network, parameters: Parameters, encoding: Encoding, low: Floats, high: Floats) -> list[Polygon]:
    """The regions within a rectangle, which is given, as they are, in scaled units."""
    layers = layers_of(network, _in_double(parameters))
    assert layers is not None, "a rectangle is of piecewise-linear networks"
    movers = [Mover(column, at, 0.0) for column, at, _ in placed(encoding) if isinstance(column, NumberColumn)]
    held = np.zeros(encoding.n_features)  # a missing cell's own feature: nothing is missing here
    every = (encoding_layer(encoding, movers, held), *layers)
    (x0, y0), (x1, y1) = low, high
    return cut(every, np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]))


def _in_double(parameters: Parameters) -> Parameters:
    return Parameters(parameters.network, parameters.vector.astype(np.float64))


def _two_columns(encoding: Encoding) -> tuple[NumberColumn, NumberColumn]:
    numbers = [c for c in encoding.columns if isinstance(c, NumberColumn) and not c.date and not c.clip]
    if len(encoding.columns) != 2 or len(numbers) != 2:
        said = ", ".join(f"{readable(c.source)} ({c.described()})" for c in encoding.columns[:5])
        raise UsageError(
            f"Regions are drawn over two columns of numbers that are not bent; this model has {len(encoding.columns)}: "
            f"{said}. model.local(row) gives the region of one row for any columns."
        )
    return numbers[0], numbers[1]


def _logits(outputs: Affine) -> tuple[Floats, Floats]:
    """The coefficients (2, m) and constants (m,) of every class's logit."""
    A, c = outputs.coefficients, outputs.constants
    if A.shape[1] == 1:  # the first class is 0 ahead where the log-odds are not above 0
        return np.hstack([np.zeros((2, 1)), A]), np.array([0.0, c[0]])
    return A, c


def _sides(corners: Floats, A: Floats, c: Floats) -> list[tuple[Floats, int]]:
    """Within one region: the convex parts of each class."""
    parts = []
    for k in range(len(c)):
        part: Floats | None = corners
        for other in range(len(c)):
            if other != k and part is not None:
                part = _clipped(part, A[:, k] - A[:, other], c[k] - c[other])
        if part is not None:
            parts.append((part, k))
    return parts


def _segments(corners: Floats, A: Floats, c: Floats, present: set[int]) -> list[Floats]:
    """Within one region: the segments where the decision changes; `present` are the classes that are decided in it."""
    segments = []
    for k, other in combinations(range(len(c)), 2):
        # an edge that the higher class only touches is no boundary: the region beyond it draws it, if there is one
        if other not in present and (k not in present or len(c) == 2):
            continue
        segment = zero_segment(corners, A[:, k] - A[:, other], c[k] - c[other])
        for third in set(range(len(c))) - {k, other}:
            if segment is not None:
                segment = _clipped_segment(segment, A[:, k] - A[:, third], c[k] - c[third])
        if segment is not None:
            segments.append(segment)
    return segments


def _clipped_segment(segment: Floats, normal: Floats, constant: float) -> Floats | None:
    """The part of a segment where normal . x + constant >= 0; None where that is a point or nothing."""
    here, there = segment @ normal + constant
    if here <= 0 and there <= 0:
        return None
    if here >= 0 and there >= 0:
        return segment
    meeting = segment[0] + here / (here - there) * (segment[1] - segment[0])
    return np.array([segment[0], meeting] if here > 0 else [meeting, segment[1]])


def _clipped(corners: Floats, normal: Floats, constant: float) -> Floats | None:
    """The part of a convex polygon where normal . x + constant >= 0; None where there is none with an area."""
    heights = heights_over(corners, normal, constant)
    if not (heights > 0).any():
        return None
    kept = []
    for i, (here, there) in enumerate(zip(heights, np.roll(heights, -1), strict=True)):
        if here >= 0:
            kept.append(corners[i])
        if here * there < 0:
            kept.append(corners[i] + here / (here - there) * (corners[(i + 1) % len(corners)] - corners[i]))
    return np.array(kept)
