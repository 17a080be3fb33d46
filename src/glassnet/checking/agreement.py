"""Whether the numbers that a candidate gave are those of a computation, and where they first are not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from glassnet.checking.cases import Case
from glassnet.checking.computation import Change, Computation, Numbers, Quantity
from glassnet.network import FloatArray

TOLERANCE, LOSS_TOLERANCE, SINGLE_TOLERANCE = 1e-4, 2e-3, 2e-3
"""Of the largest number of an array. Wide enough for a small epsilon inside a logarithm or a fraction, and for
difference
quotients; no known mistake is so small. The last is for candidates that compute in float32."""


@dataclass(frozen=True)
class Observed:
    """What a candidate gave for one case: numbers by quantity, in glassnet's orientation, rows in rows.

    `single`: some are float32. `layout`: how its arrays were found to lie, where it says so itself.
    """

    case: Case
    numbers: Mapping[Quantity, FloatArray]
    single: bool = False
    layout: Any = None

    def tolerance(self, quantity: Quantity) -> float:
        """How far off a number may be, as a part of the largest."""
        tolerance = SINGLE_TOLERANCE if self.single else LOSS_TOLERANCE if quantity.kind == "loss" else TOLERANCE
        # After an update most of a number is what it was before: what is judged is the step.
        return tolerance / 20 if quantity.kind in ("W", "b") else tolerance


def wrong_places(seen: Any, right: Any, tolerance: float) -> Any:
    """Where two arrays differ; everywhere where their shapes do, a scalar for an array of equal numbers excepted.

    >>> wrong_places(np.array([1.0, 2.0]), np.array([1.0, 2.1]), 1e-5).tolist()
    [False, True]
    """
    seen, right = np.asarray(seen, float), np.asarray(right, float)
    if seen.shape != right.shape:
        if seen.size == right.size == 1 or (seen.size == 1 and np.ptp(right) == 0):
            seen = np.broadcast_to(seen.ravel()[0], right.shape)
        else:
            return np.ones(seen.shape, bool)
    with np.errstate(invalid="ignore"):
        finite = np.abs(right)[np.isfinite(right)]
        bound = tolerance * max(float(np.max(finite, initial=0.0)), 1e-3)
        return ~((np.abs(seen - right) <= bound) | (np.isnan(seen) & np.isnan(right)) | (seen == right))


def same(seen: Any, right: Any, quantity: Quantity, observed: Observed) -> bool:
    """Whether a candidate's quantity is the computed one. A delta may be a row's own or its share of the mean."""
    tolerance = observed.tolerance(quantity)
    if np.shape(seen) == np.shape(right):
        largest = float(np.max(np.abs(right), initial=1e-3))
        if largest < np.inf:  # the common case, without a word about NaN
            if np.max(np.abs(seen - right), initial=0.0) <= tolerance * largest:
                return True
            if quantity.kind != "delta":
                return False
    if not np.all(np.isfinite(right)) and quantity.kind != "loss":
        return False
    if not wrong_places(seen, right, tolerance).any():
        return True
    if quantity.kind != "delta":
        return False
    return not wrong_places(seen, np.asarray(right) / observed.case.n, tolerance).any()


def agrees(
    observed: Observed,
    numbers: Numbers,
    changes: Iterable[Mapping[str, Change]] = (),
    among: Callable[[Quantity], bool] = lambda quantity: True,
) -> bool:
    """Whether every number that the candidate gave, `among` these, is that of the computation with its changes."""
    left = sum(map(among, observed.numbers))
    try:
        with_loss = Quantity("loss") in observed.numbers
        for quantity, right in Computation(observed.case, numbers, changes).quantities(with_loss):
            seen = observed.numbers.get(quantity)
            if seen is None or not among(quantity):
                continue
            if not same(seen, right, quantity, observed):
                return False
            left -= 1
            if not left:
                break
    except (ValueError, IndexError, TypeError):  # shapes that do not fit: such a mistake cannot be made in this network
        return False
    return True


def first_off(observed: Observed, numbers: Numbers, changes: Iterable[Mapping[str, Change]] = ()) -> Quantity | None:
    """The first quantity, in order of computation, that is not the computed one."""
    for quantity, right in Computation(observed.case, numbers, changes).quantities():
        seen = observed.numbers.get(quantity)
        if seen is not None and not same(seen, right, quantity, observed):
            return quantity
    return None


def n_agreeing(observed: Observed, numbers: Numbers) -> int:
    """How many quantities agree before the first that does not."""
    count = 0
    for quantity, right in Computation(observed.case, numbers).quantities():
        seen = observed.numbers.get(quantity)
        if seen is not None:
            if not same(seen, right, quantity, observed):
                break
            count += 1
    return count
