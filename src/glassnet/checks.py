"""Gradient checks: a backward pass held against differences of the loss itself.

`check_gradients` holds one gradient of the objective against plain central differences. `row_quotients` is the sharper
tool: a quotient for every row by itself, extrapolated, with an estimate of its own error, and none across a kink.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glassnet import reference
from glassnet.errors import UsageError
from glassnet.network import FloatArray, Network, Parameters, weight_mask

DIFFERENCE_STEP = 6e-6
"""About the cube root of float64's rounding, 2.2e-16: there the difference quotient's own two errors, of rounding
(eps / h) and of curvature (h^2), are equally small."""


def difference_quotients(objective: Callable[[FloatArray], float], vector: FloatArray) -> FloatArray:
    """Central differences of `objective` along every coordinate of `vector` (P,), in float64.

    (f(v + h) - f(v - h)) / 2h with h = `DIFFERENCE_STEP` * max(1, |v|).

    >>> difference_quotients(lambda v: float(v @ v), np.array([1.0, -2.0])).round(8).tolist()
    [2.0, -4.0]
    """
    quotients = np.empty_like(vector)
    for at in range(len(vector)):
        step = DIFFERENCE_STEP * max(1.0, abs(float(vector[at])))
        above, below = vector.copy(), vector.copy()
        above[at] += step
        below[at] -= step
        quotients[at] = (objective(above) - objective(below)) / (above[at] - below[at])
    return quotients


@dataclass(frozen=True)
class GradientCheck:
    """Two gradients side by side.

    `names` (P,) as `Network.parameter_names`; `gradient` (P,) from the backward pass; `quotients` (P,) from
    differences, central ones but where only a one-sided one agrees; `errors` (P,) =
    |gradient - quotient| / max(1, |gradient|, |quotient|, |objective| / 100), for the objective's own rounding, over
    the step, is in every quotient; `at_kink` (P,) marks parameters whose quotient steps over a kink (of relu, say),
    where the two need not agree.
    """

    names: tuple[str, ...]
    gradient: FloatArray
    quotients: FloatArray
    errors: FloatArray
    at_kink: NDArray[np.bool_]
    tolerance: float

    @property
    def largest_error(self) -> float:
        """Over the parameters that do not step over a kink."""
        away = self.errors[~self.at_kink]
        return float(away.max()) if len(away) else 0.0

    @property
    def ok(self) -> bool:
        """Whether every parameter away from a kink agrees to `tolerance`."""
        return bool(self.largest_error <= self.tolerance)

    def __str__(self) -> str:
        worst = int(np.argmax(np.where(self.at_kink, -1.0, self.errors)))
        verdict = "agree" if self.ok else "DO NOT agree"
        kinks = int(self.at_kink.sum())
        return (
            f"{len(self.names)} gradients {verdict} with difference quotients: largest error "
            f"{self.largest_error:.1e}, at {self.names[worst]}" + (f"; {kinks} at a kink left out" if kinks else "")
        )


def check_gradients(
    network: Network,
    parameters: Parameters,
    X: ArrayLike,
    y: ArrayLike,
    row_weights: ArrayLike | None = None,
    l1: float = 0.0,
    l2: float = 0.0,
    *,
    gradient: ArrayLike | None = None,
    tolerance: float = 1e-7,
) -> GradientCheck:
    """Hold a gradient of the objective against central differences of the objective, in float64.

    `gradient` (n_parameters,) is the one to check, in the order of `Parameters.vector`; the reference's own where it
    is left out. X, y, row_weights, l1, l2 as for `gn.backward`. The default tolerance is what curvature of order
    ten leaves of a quotient of step 6e-6.

    >>> net = Network((2, 2, 1), "tanh")
    >>> parameters = Parameters(net, np.linspace(-1, 1, 9))
    >>> check_gradients(net, parameters, [[0.5, -1.0], [2.0, 1.0]], [1, 0]).ok
    True
    """
    X = reference.checked_table(network, X).astype(np.float64)
    vector = reference.checked_parameters(network, parameters, np.float64).vector

    def trace(at: FloatArray) -> reference.Trace:
        return reference.forward(network, Parameters(network, at), X, y, row_weights, l1, l2)

    def objective(at: FloatArray) -> float:
        value = trace(at).objective
        assert value is not None
        return value

    if gradient is None:
        start = Parameters(network, vector)
        gradient = reference.backward(network, start, X, y, row_weights, l1, l2).gradient
    gradient = np.asarray(gradient, dtype=np.float64)
    if gradient.shape != vector.shape:
        raise UsageError(f"gradient has one number per parameter, {vector.shape}; got shape {gradient.shape}.")
    quotients = difference_quotients(objective, vector)
    least_scale = max(1.0, abs(objective(vector)) / 100)
    errors = _errors(gradient, quotients, least_scale)
    at_kink = np.zeros(len(vector), dtype=bool)
    penalised = weight_mask(network) & (l1 > 0)
    for at in range(len(vector)):
        step = DIFFERENCE_STEP * max(1.0, abs(vector[at]))
        above, below = vector.copy(), vector.copy()
        above[at] += step
        below[at] -= step
        at_kink[at] = (penalised[at] and above[at] * below[at] < 0) or _sides(trace(above)) != _sides(trace(below))
        if not at_kink[at] and not errors[at] <= tolerance:
            # Where the slope is steady but its own slope jumps (elu at 0, huber at c) a quotient across is off by a
            # multiple of h, and one that stays on one side is not. A wrong gradient is far from all three.
            for quotient in _one_sided_quotients(objective, vector, at):
                error = _errors(gradient[at], quotient, least_scale)
                if error < errors[at]:
                    quotients[at], errors[at] = quotient, error
    return GradientCheck(
        tuple(network.parameter_names()),
        gradient,
        quotients,
        errors,
        at_kink,
        tolerance,
    )


def _errors(gradient: Any, quotients: Any, least_scale: float) -> Any:
    with np.errstate(invalid="ignore"):  # a gradient may be infinite: its error is NaN then, and within no tolerance
        return np.abs(gradient - quotients) / np.maximum(least_scale, np.maximum(np.abs(gradient), np.abs(quotients)))


def _one_sided_quotients(objective: Callable[[FloatArray], float], vector: FloatArray, at: int) -> Iterator[float]:
    """(4 f(v + h) - 3 f(v) - f(v + 2h)) / 2h, for h to either side: off by h^2, as the central quotient is."""
    for side in (1, -1):
        step = side * DIFFERENCE_STEP * max(1.0, abs(float(vector[at])))
        near, far = vector.copy(), vector.copy()
        near[at] += step
        far[at] += 2 * step
        yield (4 * objective(near) - 3 * objective(vector) - objective(far)) / (2 * step)


def _sides(trace: reference.Trace) -> bytes:
    """On which side of every kink each number of a pass lies: two passes that differ have a kink between them."""
    network, found = trace.network, []
    for layer, z in enumerate(trace.pre_activations, start=1):
        found += [z > kink for kink in network.activation_row(layer).kinks]
    if network.loss_row.kink_at_target and trace.y is not None:
        found.append(trace.logits > trace.y)
    return b"".join(side.tobytes() for side in found)


FIRST_STEP, N_STEPS, STEP_RATIO = 2.0**-8, 5, 16.0
"""Of `row_quotients`. At 2^-8 a quotient extrapolated twice is off by about h^4 / 500, and by rounding, 2^10 eps: for
numbers of ordinary size equally little. The smaller steps are for kinks, for bends and for inputs of thousands."""


@dataclass(frozen=True)
class Kink:
    """A quotient that would have stepped over a kink: that of `parameter` (its place in the vector) in row `row`.

    `side` is the number, along the last axis of what `evaluate` says, that changes; `way` how it was judged instead:
    "from one side", "with a smaller step", or "" where neither was possible.
    """

    parameter: int
    row: int
    side: int
    way: str


@dataclass(frozen=True)
class RowQuotients:
    """`values` (k, n): the difference quotient of every row's loss along k coordinates; `errors` (k, n): how far each
    may be off, infinite where none could be had; `kinks`: those that met one."""

    values: FloatArray
    errors: FloatArray
    kinks: tuple[Kink, ...]


Evaluate = Callable[[FloatArray], tuple[FloatArray, NDArray[np.bool_]]]
"""Parameter vectors (S, P) to the loss of every row (S, n), and to the side of every kink that it lies on (S, n, m)."""


def row_quotients(
    evaluate: Evaluate, vector: FloatArray, of: NDArray[np.intp], noise: FloatArray, goal: ArrayLike = 1e-9
) -> RowQuotients:
    """Difference quotients of every row's loss along the coordinates `of` (k,) of `vector` (P,), in float64.

    Steps h, h/2 and h/4 are extrapolated to 0 (Richardson): central, and from either side alone; of the three the one
    counts whose last two extrapolations are closest, which is what its error is estimated by. A quotient whose points
    lie on different sides of a kink does not count. h begins at `FIRST_STEP` * max(1, |v|), and is made smaller for
    coordinates of which a row is not yet known to `goal`, a number or (k, n). `noise` (n,): by how much rounding may
    change a row's loss.

    >>> def square(vectors):
    ...     return vectors[:, :1] ** 2, np.zeros((len(vectors), 1, 0), bool)
    >>> found = row_quotients(square, np.array([3.0]), np.array([0]), np.array([1e-15]))
    >>> bool(abs(found.values[0, 0] - 6) < 1e-11), bool(found.errors[0, 0] < 1e-10)
    (True, True)
    """
    loss, sides = (part[0] for part in evaluate(vector[np.newaxis]))
    n, k = len(loss), len(of)
    values, errors = np.zeros((k, n)), np.full((k, n), np.inf)
    way = np.full((k, n), "", dtype=object)
    met = np.full((k, n), -1, dtype=np.intp)  # which side changed at the first step
    todo = np.arange(k)
    step = FIRST_STEP * np.maximum(1.0, np.abs(vector[of]))
    for level in range(N_STEPS):
        for part in np.array_split(todo, -(-len(todo) * 6 * len(vector) // _MOST_TOGETHER) or 1):
            if not len(part):
                continue
            h = step[part] / STEP_RATIO**level
            moved, passed = _moved(evaluate, vector, of[part], h)
            with np.errstate(invalid="ignore", over="ignore"):
                found = [(how, *_extrapolated(how, moved, loss, vector[of[part]], h, noise)) for how in _WAYS]
            crossed = passed != sides  # (6, k, n, m)
            if level == 0 and sides.shape[-1]:
                any_side = crossed.any(axis=0)
                met[part] = np.where(any_side.any(axis=-1), any_side.argmax(axis=-1), -1)
            for how, quotient, error in found:
                held = ~crossed[_POINTS[how]].any(axis=(0, -1)) & np.isfinite(quotient) & np.isfinite(error)
                better = held & (error < errors[part])
                values[part] = np.where(better, quotient, values[part])
                errors[part] = np.where(better, error, errors[part])
                said = "with a smaller step" if how == "central" else "from one side"
                way[part] = np.where(better, said, way[part])
        todo = np.flatnonzero((errors > np.asarray(goal)).any(axis=1))
    kinks = tuple(Kink(int(of[p]), int(row), int(met[p, row]), str(way[p, row])) for p, row in np.argwhere(met >= 0))
    return RowQuotients(values, errors, kinks)


_MOST_TOGETHER = 2**21  # numbers in one stack of moved vectors: 16 MiB
_SHIFTS = np.array([1.0, 0.5, 0.25, -1.0, -0.5, -0.25])
_POINTS = {"central": slice(0, 6), "above": slice(0, 3), "below": slice(3, 6)}
_WAYS = tuple(_POINTS)


def _moved(
    evaluate: Evaluate, vector: FloatArray, of: NDArray[np.intp], h: FloatArray
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Losses (6, k, n) and sides (6, k, n, m) with coordinate `of` (k,) moved by each of `_SHIFTS` times h (k,)."""
    vectors = np.repeat(vector[np.newaxis], 6 * len(of), axis=0)
    vectors[np.arange(len(vectors)), np.tile(of, 6)] += np.concatenate([shift * h for shift in _SHIFTS])
    losses, sides = evaluate(vectors)
    return losses.reshape(6, len(of), -1), sides.reshape(6, len(of), *sides.shape[1:])


def _extrapolated(
    way: str, moved: FloatArray, loss: FloatArray, at: FloatArray, h: FloatArray, noise: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """The quotients (k, n) for h to 0, and how far off they may be."""
    # What a float moves by is not quite what it was to move by.
    true = [((at + shift * h) - at)[:, np.newaxis] for shift in _SHIFTS]
    if way == "central":
        first, second, third = ((moved[i] - moved[i + 3]) / (true[i] - true[i + 3]) for i in range(3))
        once = ((4 * second - first) / 3, (4 * third - second) / 3)
        value = (16 * once[1] - once[0]) / 15
    else:
        begin = 0 if way == "above" else 3
        first, second, third = ((moved[i] - loss) / true[i] for i in range(begin, begin + 3))
        once = (2 * second - first, 2 * third - second)
        value = (4 * once[1] - once[0]) / 3
    # The last extrapolation mends most of what the one before is off by, so their distance is more than its error.
    return value, np.abs(value - once[1]) + 16 * noise / np.abs(h)[:, np.newaxis]
