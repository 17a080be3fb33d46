"""Gradient checks: a backward pass held against differences of the loss itself."""

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
