"""The nearest inputs at which a piecewise-linear network decides otherwise: branch and bound over its units' pieces.

Within a ball around the start most units keep to one piece. Those that may not are bounded by lines above and below
their function, which makes the whole network bounded by a linear function; the nearest point at which that bound allows
a flip is found exactly (a least-distance problem), and is as near as any flip can be. Where it does not flip in truth,
a unit is split at a kink into two smaller problems. The problem with the least bound is always taken next, so the
search can be stopped at any time with lower <= distance <= upper; when both meet, the flip found is the nearest.

Sources: least-distance programming, Lawson & Hanson, "Solving Least Squares Problems" (1974), chapter 23; linear bounds
of networks, Zhang et al., "Efficient neural network robustness certification with general activation functions" (2018).
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count

import numpy as np

from glassnet.piecewise import Floats, Layer, affine_of, first_positive, folded, pattern_at, value

FARTHEST = 1000.0
"""Nothing is searched for beyond this distance: of a column in standard units it is out of all sense."""
_FIRST_RADIUS, _GROWTH = 0.1, 1.5
_TIGHTENED = 6  # times that a part's bound is drawn tighter at most
_DRAWN = 10  # times that a flip is drawn nearer at most
_CLOSE = 1e-9  # bounds that differ by less, relatively, have met
_LEVEL = 1e-10  # what a margin must exceed to count, relative to the sizes of the terms it is the sum of


@dataclass(frozen=True)
class Flip:
    """lower <= distance to the nearest flip <= upper.

    `point` (n,): inputs at distance `upper` that flip, a rounding beyond the boundary; None where no flip is known, and
    then `upper` is infinite. `which`: the output that becomes positive there. `parts`: problems that were solved.
    """

    lower: float
    upper: float
    point: Floats | None
    which: int | None
    parts: int

    @property
    def exact(self) -> bool:
        """Whether the bounds met: nothing nearer flips."""
        return self.point is not None and self.lower >= self.upper * (1 - 2 * _CLOSE)


def most_parts(layers: Sequence[Layer]) -> int:
    """How many problems are solved by default: some seconds' worth, and the same on every machine."""
    effort = sum(layer.weights.size * (number + 1) for number, layer in enumerate(layers))
    return int(np.clip(5e7 / (effort + 2e4), 20, 2500))


def nearest_flip(
    layers: Sequence[Layer], start: Floats, low: Floats, high: Floats, parts: int | None = None, most: float = FARTHEST
) -> Flip:
    """The point nearest to `start` (n,), in the Euclidean distance, at which an output of `layers` becomes positive.

    At `start` no output is. `low`, `high` (n,) bound the inputs, infinite where nothing does. Nothing farther than
    `most` is searched for. `parts`: the most problems to solve, `most_parts` where left out.

    >>> from glassnet.activations import ACTIVATIONS
    >>> from glassnet.piecewise import LINEAR, pieces_of
    >>> relu = Layer.alike([[1.0], [1.0]], [0.0], pieces_of(ACTIVATIONS["relu"]))
    >>> last = Layer.alike([[1.0]], [-1.0], LINEAR)
    >>> free = np.full(2, np.inf)
    >>> flip = nearest_flip([relu, last], np.array([-1.0, -1.0]), -free, free)
    >>> round(flip.upper, 6), flip.exact
    (2.12132, True)
    """
    return _Search(layers, start, low, high, most_parts(layers) if parts is None else parts).run(most)


@dataclass(frozen=True)
class _Split:
    """A unit held on one side of a number: z >= at, or z <= at."""

    layer: int
    unit: int
    at: float
    above: bool


@dataclass(frozen=True)
class _Part:
    """A smaller problem: bounds of every unit's z by layer, the splits, the nearest point that its bound allows."""

    which: int
    bounds: tuple[tuple[Floats, Floats], ...]
    splits: tuple[_Split, ...]
    distance: float = 0.0
    worst: tuple[int, int, float] | None = None  # the unit to split next and where; None where nothing is left to split


class _Search:
    """Coordinates are those of y = x - start, so that distances are norms."""

    def __init__(self, layers: Sequence[Layer], start: Floats, low: Floats, high: Floats, parts: int) -> None:
        first = layers[0]
        shifted = replace(first, biases=first.biases + start @ first.weights)
        self.layers = folded((shifted, *layers[1:]))
        self.start, self.low, self.high = start, low - start, high - start
        self.most_parts, self.solved = parts, 0
        self.farthest = FARTHEST
        self.doubtful = np.inf  # nothing is claimed beyond a distance at which rounding left a question open
        self.level = rounding_level(layers, start)
        self.upper, self.point, self.which = np.inf, None, None  # type: tuple[float, Floats | None, int | None]

    def run(self, most: float) -> Flip:
        n, self.farthest = len(self.start), most
        zero = np.zeros(n)
        outputs = value(self.layers, zero)
        if (outputs >= self.level).any():
            return Flip(0.0, 0.0, self.start.copy(), int(outputs.argmax()), 0)
        uphill = affine_of(self.layers, pattern_at(self.layers, zero))[1].coefficients.T
        steep = np.linalg.norm(uphill, axis=1, keepdims=True)
        self._try((uphill / np.where(steep, steep, 1))[steep[:, 0] > 0], most)
        if self.point is None:
            self._try(np.vstack([np.eye(n), -np.eye(n)]), most)
        lower, radius = 0.0, _FIRST_RADIUS
        while True:
            # a small ball first: in it few units have more than one piece, and if it holds a flip no more is needed
            radius = min(radius, most, self.upper)
            proven = min(self._within(radius), self.doubtful)
            lower = max(lower, proven)
            stopped = proven < radius or self.solved >= self.most_parts
            if self.upper <= radius or radius == most or stopped:
                break
            radius *= _GROWTH
        lower = min(lower, self.upper)
        point = None if self.point is None else self.start + self.point
        return Flip(lower, self.upper, point, self.which, self.solved)

    def _try(self, directions: Floats, most: float) -> None:
        """Walk along lines (d, n) of length 1; the nearest flip on any of them may be the best so far."""
        if not len(directions):
            return
        with np.errstate(all="ignore"):
            ends = np.where(directions > 0, self.high / directions, self.low / directions)
        ends = np.where(directions == 0, np.inf, ends).min(axis=1)
        zero = np.zeros(len(self.start))
        far = np.minimum(ends, min(most, self.upper))
        found = first_positive(self.layers, zero, pattern_at(self.layers, zero), directions, far, self.level)
        best = int(np.nan_to_num(found, nan=np.inf).argmin())
        if found[best] < self.upper:
            self._take(found[best] * directions[best])
            self._draw_near()

    def _draw_near(self) -> None:
        """From the best flip to the nearest one of its region, and from there along the line to the start; again."""
        zero = np.zeros(len(self.start))
        at_zero = pattern_at(self.layers, zero)
        for _ in range(_DRAWN):
            before = self.upper
            assert self.point is not None, "there is a flip to begin with"
            pattern = pattern_at(self.layers, self.point)
            inside, outputs = affine_of(self.layers, pattern)
            G, h = [outputs.coefficients[:, self.which]], [float(self.level - outputs.constants[self.which])]
            for layer, pieces, z in zip(self.layers, pattern, inside, strict=True):
                for ends, sign in zip(layer.ends(pieces), (1.0, -1.0), strict=True):
                    for unit in np.flatnonzero(np.isfinite(ends)):
                        G.append(sign * z.coefficients[:, unit])
                        h.append(sign * (ends[unit] - z.constants[unit]))
            y = self._least_distance(G, h, self.upper)
            if y is None or not y.any():
                return
            direction = (y / np.linalg.norm(y))[np.newaxis]
            far = np.array([self.upper])
            t = float(first_positive(self.layers, zero, at_zero, direction, far, self.level)[0])
            if t < self.upper:  # no: NaN, the walk was too long
                self._take(t * direction[0])
            if self.upper > before * (1 - 1e-3):
                return

    def _least_distance(self, G: list[Floats], h: list[float], radius: float) -> Floats | None:
        """The least y with G y >= h within the inputs' bounds."""
        G, h = list(G), list(h)
        for bound, sign in ((self.low, 1.0), (-self.high, -1.0)):
            for i in np.flatnonzero(np.isfinite(bound)):
                G.append(sign * np.eye(len(bound))[i])
                h.append(bound[i])
        return least_distance(np.array(G), np.array(h), radius)

    def _take(self, y: Floats) -> None:
        distance = float(np.linalg.norm(y))
        if distance < self.upper:
            self.upper, self.point = distance, y
            self.which = int(value(self.layers, y).argmax())

    def _within(self, radius: float) -> float:
        """Search the ball; a lower bound of the distance, of `radius` at most."""
        queue: list[tuple[float, int, _Part]] = []
        ticket = count()
        free = tuple((np.full(layer.units, -np.inf), np.full(layer.units, np.inf)) for layer in self.layers)
        # the likeliest output first: what it finds bounds the search of the others
        for which in np.argsort(-value(self.layers, np.zeros(len(self.start)))).tolist():
            self._add(queue, ticket, _Part(which, free, ()), min(radius, self.upper))
        while queue:
            distance, _, part = heapq.heappop(queue)
            reach = min(radius, self.upper)
            if distance >= reach * (1 - _CLOSE):
                return distance
            assert part.worst is not None, "a part with nothing left to split is settled at once"
            if self.solved >= self.most_parts:
                return distance
            layer, unit, at = part.worst
            for above in (False, True):
                bounds = list(part.bounds)
                low, high = (ends.copy() for ends in bounds[layer])
                (low if above else high)[unit] = at
                bounds[layer] = low, high
                split = (*part.splits, _Split(layer, unit, at, above))
                self._add(queue, ticket, _Part(part.which, tuple(bounds), split, distance), min(radius, self.upper))
        return min(radius, self.upper)

    def _add(self, queue: list[tuple[float, int, _Part]], ticket: count[int], part: _Part, radius: float) -> None:
        solved = self._solved(part, radius)
        if solved is not None:
            heapq.heappush(queue, (solved.distance, next(ticket), solved))

    def _solved(self, part: _Part, radius: float) -> _Part | None:
        """The part with its distance and what to split next; None where it holds no flip within the ball."""
        self.solved += 1
        bounds: list[tuple[Floats, Floats]] = []
        choices: list[_Choices] = []
        lines: list[_Lines] = []
        forms: list[tuple[_Form, _Form]] = []
        for number, layer in enumerate(self.layers):
            above = self._bound(number, lines, True)
            below = self._bound(number, lines, False)
            low = np.maximum(part.bounds[number][0], below.least(radius))
            high = np.minimum(part.bounds[number][1], above.greatest(radius))
            if (low > high + 1e-9 * (1 + np.abs(high))).any():
                return None
            low = np.minimum(low, high)
            bounds.append((low, high))
            forms.append((below, above))
            choices.append(_choices(layer, low, high))
            lines.append(choices[-1].nearest((low + high) / 2))
        margin = np.zeros((1, self.layers[-1].units))
        margin[0, part.which] = 1.0
        used: list[Floats] = []
        goal = self._bound_after(len(self.layers) - 1, margin, lines, True, used)
        G, h = [goal.A[0]], [self.level - goal.c[0]]
        for split in part.splits:
            below, above = forms[split.layer]
            if split.above:
                G.append(above.A[split.unit])
                h.append(split.at - above.c[split.unit])
            else:
                G.append(-below.A[split.unit])
                h.append(below.c[split.unit] - split.at)
        y = self._least_distance(G, h, radius)
        for _ in range(_TIGHTENED):
            # lines that are nearest to the function at this y bound the margin more tightly there: a further condition
            if y is None:
                return None
            lines, x = [], y
            for layer, of in zip(self.layers, choices, strict=True):
                z = x @ layer.weights + layer.biases
                lines.append(of.nearest(z))
                x = layer.apply(z)
            used = []
            goal = self._bound_after(len(self.layers) - 1, margin, lines, True, used)
            if goal.A[0] @ y + goal.c[0] >= self.level * (1 - 1e-6):
                break
            G.append(goal.A[0])
            h.append(self.level - goal.c[0])
            y = self._least_distance(G, h, radius)
        if y is None:
            return None
        distance = max(part.distance, float(np.linalg.norm(y)))
        worst = self._worst(y, bounds, lines, used)
        if value(self.layers, y)[part.which] >= self.level / 2:
            self._take(y)
            return None
        if y.any() and (self.solved < 50 or self.solved % 10 == 0):  # a walk costs as much as two parts
            self._try(y[np.newaxis] / np.linalg.norm(y), self.farthest)
        if worst is None:  # linear here, so only rounding can have kept y on the near side
            if self.upper > distance * (1 + _CLOSE):
                self.doubtful = min(self.doubtful, distance)
            return None
        return replace(part, bounds=tuple(bounds), distance=distance, worst=worst)

    def _bound(self, number: int, lines: Sequence[_Lines], upper: bool) -> _Form:
        """Every z of layer `number` bounded from above (or below) by a linear function of y."""
        layer = self.layers[number]
        if number == 0:
            return _Form(layer.weights.T, layer.biases)
        form = self._bound_after(number - 1, layer.weights.T, lines, upper)
        return _Form(form.A, form.c + layer.biases)

    def _bound_after(
        self, number: int, C: Floats, lines: Sequence[_Lines], upper: bool, used: list[Floats] | None = None
    ) -> _Form:
        """C a of layer `number` likewise, C (k, units); `used` collects the coefficients of each a, the last first."""
        c = np.zeros(len(C))
        for layer, of in zip(reversed(self.layers[: number + 1]), reversed(lines[: number + 1]), strict=True):
            if used is not None:
                used.append(C[0])
            plus, minus = np.maximum(C, 0), np.minimum(C, 0)
            if not upper:
                plus, minus = minus, plus
            c = c + plus @ of.above_c + minus @ of.below_c
            C = plus * of.above + minus * of.below
            c, C = c + C @ layer.biases, C @ layer.weights.T
        return _Form(C, c)

    def _worst(
        self, y: Floats, bounds: Sequence[tuple[Floats, Floats]], lines: Sequence[_Lines], used: Sequence[Floats]
    ) -> tuple[int, int, float] | None:
        """The unit whose bounding line errs most at y, as the margin feels it, and the kink to split it at."""
        best, found = 0.0, None
        fallback = None
        x = y
        for number, layer in enumerate(self.layers):
            z = x @ layer.weights + layer.biases
            x = layer.apply(z)
            low, high = bounds[number]
            splittable = (layer.kinks > low[:, None]) & (layer.kinks < high[:, None])
            loose = splittable.any(axis=1)
            if not loose.any():
                continue
            C, of = used[len(self.layers) - 1 - number], lines[number]
            line = np.where(C > 0, of.above * z + of.above_c, of.below * z + of.below_c)
            error = np.where(loose, np.abs(C * (line - x)), -1.0)
            unit = int(error.argmax())
            kinks = layer.kinks[unit][splittable[unit]]
            at = float(kinks[np.abs(kinks - z[unit]).argmin()])
            fallback = fallback or (number, unit, at)
            if error[unit] > best:
                best, found = float(error[unit]), (number, unit, at)
        return found or fallback


@dataclass(frozen=True)
class _Form:
    """Linear functions A y + c, A (k, n), c (k,)."""

    A: Floats
    c: Floats

    def greatest(self, radius: float) -> Floats:
        return np.asarray(self.c + radius * np.linalg.norm(self.A, axis=1))

    def least(self, radius: float) -> Floats:
        return np.asarray(self.c - radius * np.linalg.norm(self.A, axis=1))


@dataclass(frozen=True)
class _Lines:
    """For every unit a line above and one below its function between the bounds of its z: slopes and constants."""

    above: Floats
    above_c: Floats
    below: Floats
    below_c: Floats


@dataclass(frozen=True)
class _Choices:
    """Several such lines for every unit, all good between the bounds of its z: slopes and constants (k, units)."""

    slopes: Floats
    above: Floats
    below: Floats

    def nearest(self, z: Floats) -> _Lines:
        """Of each unit's lines the two that lie nearest to its function at z (units,)."""
        unit, at = np.arange(len(z)), self.slopes * z
        high, low = (at + self.above).argmin(axis=0), (at + self.below).argmax(axis=0)
        return _Lines(self.slopes[high, unit], self.above[high, unit], self.slopes[low, unit], self.below[low, unit])


def _choices(layer: Layer, low: Floats, high: Floats) -> _Choices:
    """Lines on low <= z <= high (units,): the function itself where it is linear there.

    Else with the slopes of the chord and of the first and last piece. Any slope is good once its line is shifted to lie
    on one side of the function at both ends and at all kinks between.
    """
    first, last = layer.pieces(np.nextafter(low, np.inf)), layer.pieces(high)
    one = first >= last
    slope_first, intercept_first = layer.line(np.minimum(first, last))
    if one.all():
        return _Choices(slope_first[np.newaxis], intercept_first[np.newaxis], intercept_first[np.newaxis])
    slope_last, _ = layer.line(last)
    between = np.clip(layer.kinks, low[:, np.newaxis], high[:, np.newaxis])
    points = np.hstack([low[:, np.newaxis], high[:, np.newaxis], between])
    values = np.stack([layer.apply(points[:, j]) for j in range(points.shape[1])], axis=1)
    with np.errstate(all="ignore"):
        chord = np.where(one, slope_first, (values[:, 1] - values[:, 0]) / (high - low))
    slopes = np.stack([chord, slope_first, np.where(one, slope_first, slope_last)])
    gaps = values - slopes[:, :, np.newaxis] * points
    return _Choices(
        slopes, np.where(one, intercept_first, gaps.max(axis=2)), np.where(one, intercept_first, gaps.min(axis=2))
    )


def least_distance(G: Floats, h: Floats, radius: float) -> Floats | None:
    """The y of least norm with G y >= h, G (m, n), h (m,); None where there is none of norm below `radius`.

    Lawson & Hanson's LDP: with u >= 0 minimising |E u - f|, E = [G^T; h^T], f = (0, ..., 0, 1), and r = E u - f,
    y = -r[:n] / r[n]. Lengths are in units of `radius`, where |r|^2 = 1 / (1 + |y|^2) is well away from 0.

    >>> least_distance(np.array([[1.0, 1.0]]), np.array([1.0]), 10.0).round(6).tolist()
    [0.5, 0.5]
    >>> least_distance(np.array([[1.0, 1.0]]), np.array([1.0]), 0.5) is None
    True
    """
    from scipy.optimize import nnls

    norms = np.linalg.norm(G, axis=1)
    flat = norms <= 1e-14 * max(float(norms.max()), 1e-300)
    if (h[flat] > 0).any():
        return None  # 0 >= h, which no y can help
    G, h = G[~flat] / norms[~flat, None], h[~flat] / norms[~flat] / radius
    n = G.shape[1]
    if not (h > 0).any():
        return np.zeros(n)
    if h.max() > 1:
        return None
    E = np.vstack([G.T, h])
    f = np.zeros(n + 1)
    f[n] = 1.0
    u, _ = nnls(E, f, maxiter=30 * len(h) + 100)
    r = E @ u - f
    if -r[n] <= 0.4:  # 1 / (1 + |y|^2), for a y within the radius at least a half
        return None
    y = np.asarray(-r[:n] / r[n] * radius, dtype=np.float64)
    return y if np.linalg.norm(y) < radius else None


def rounding_level(layers: Sequence[Layer], x: Floats) -> float:
    """What an output must exceed to be surely above 0: 1e-10 of the sizes of the terms it is the sum of.

    Rounding errors are some 1e-15 of those, so what reaches the level has truly flipped, and lies within 1e-10 of those
    sizes of the boundary itself.

    >>> from glassnet.piecewise import LINEAR
    >>> rounding_level([Layer.alike([[2.0]], [4.0], LINEAR)], np.array([-1.0]))
    8e-10
    """
    sizes = np.abs(x) + 1  # scaled inputs are of that size, whatever this one is
    for layer in layers:
        sizes = sizes @ np.abs(layer.weights) + np.abs(layer.biases)
        sizes = np.abs(layer.slopes).max(axis=1) * sizes + np.abs(layer.intercepts).max(axis=1)
    return _LEVEL * max(float(sizes.max()), 1e-290)
