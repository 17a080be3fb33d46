"""Whether the numbers that a candidate gave are those of a computation, and where they first are not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from glassnet.checking.cases import Case
from glassnet.checking.computation import Change, Computation, Numbers, Quantity
from glassnet.checking.problems import Problem
from glassnet.network import FloatArray

TOLERANCE, LOSS_TOLERANCE, SINGLE_TOLERANCE = 1e-4, 2e-3, 2e-3
"""Of the largest number of an array. Wide enough for a small epsilon inside a logarithm or a fraction, and for
difference
quotients; no known mistake is so small. The last is for candidates that compute in float32."""


FORWARD_KINDS, BACKWARD_KINDS = frozenset(("z", "a", "p", "loss")), frozenset(("delta", "dW", "db", "W", "b"))


@dataclass(frozen=True, eq=False)
class Observed:
    """What a candidate gave for one case: numbers by quantity, in glassnet's orientation, rows in rows.

    `single`: some are float32. `layout`: how its arrays were found to lie, where it says so itself. `changed`: that it
    changed what it was given, and what the inputs of the layers, by layer, and y were afterwards. `failed`: what
    stopped its update, after gradients of all layers.
    """

    case: Case
    numbers: Mapping[Quantity, FloatArray]
    single: bool = False
    layout: Any = None
    changed: tuple[Problem, Mapping[int, FloatArray], FloatArray] | None = None
    failed: Problem | None = None

    def of(self, kinds: frozenset[str], case: Case) -> Observed:
        """Some of these numbers, as those of a case."""
        return replace(self, case=case, numbers={q: value for q, value in self.numbers.items() if q.kind in kinds})

    def tolerance(self, quantity: Quantity) -> float:
        """How far off a number may be, as a part of the largest."""
        tolerance = SINGLE_TOLERANCE if self.single else LOSS_TOLERANCE if quantity.kind == "loss" else TOLERANCE
        # After an update most of a number is what it was before: what is judged is the step.
        return tolerance / 20 if quantity.kind in ("W", "b") else tolerance


def meanings(observed: Sequence[Observed]) -> Iterator[list[Observed]]:
    """What numbers may be of, where the inputs of layers or y were changed: of the right arrays; of the changed ones
    in the backward pass, in both passes, or in a second forward pass with which the backward pass begins."""
    yield list(observed)
    each = [(one, one.case, *(one.changed or (None, {}, one.case.y))[1:]) for one in observed]
    yield [replace(one, case=replace(case, inputs_backward=inputs)) for one, case, inputs, _ in each]
    if any(layer > 1 for _, _, inputs, _ in each for layer in inputs):
        for before, held in ((True, ""), (True, "a"), (True, "za"), (False, "a"), (False, "za")):
            yield [
                replace(one, case=replace(case, inputs=inputs if before else {}, inputs_backward=inputs, held=held))
                for one, case, inputs, _ in each
            ]
        return
    anew = [(one, replace(case, X=inputs.get(1, case.X))) for one, case, inputs, _ in each]
    for targets in (False, True) if any(not np.array_equal(y, case.y) for _, case, _, y in each) else (False,):
        if targets:
            anew = [(one, replace(case, y=y)) for (one, case), (*_, y) in zip(anew, each, strict=True)]
        yield [one.of(*part) for one, case in anew for part in ((FORWARD_KINDS, one.case), (BACKWARD_KINDS, case))]
        yield [replace(one, case=case) for one, case in anew]


def wrong_places(seen: Any, right: Any, tolerance: float) -> Any:
    """Where two arrays differ; everywhere where their shapes do, one number for equal ones of all units excepted.

    >>> wrong_places(np.array([1.0, 2.0]), np.array([1.0, 2.1]), 1e-5).tolist()
    [False, True]
    """
    seen, right = np.asarray(seen, float), np.asarray(right, float)
    if seen.shape != right.shape:
        if seen.size == right.size == 1 or (seen.size == 1 and right.ndim == 1 and np.ptp(right) == 0):
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
        largest = max(np.abs(right).max(), 1e-3)
        if largest < np.inf:  # the common case, without a word about NaN
            if np.abs(seen - right).max() <= tolerance * largest:
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


Place = tuple[int, int, int]
"""Where in the order of computation, of networks of any depth: forward from below, backward from above."""
NOTHING_OFF: Place = (9, 0, 0)
NOT_POSSIBLE: Place = (-1, 0, 0)


def place(quantity: Quantity, L: int) -> Place:
    """The place of a quantity in a network of L layers.

    >>> place(Quantity("z", 2), 3) < place(Quantity("p"), 3) < place(Quantity("dW", 3), 3) < place(Quantity("db", 1), 3)
    True
    """
    kind, layer = quantity
    if kind in ("z", "a"):
        return 0, layer, int(kind == "a")
    if kind in ("p", "loss"):
        return 1 + (kind == "loss"), 0, 0
    return 3 + (kind in ("W", "b")), L - layer, ("delta", "dW", "db", "W", "b").index(kind)


def tells_nothing(observed: Observed, numbers: Numbers) -> bool:
    """A softmax of one output is 1 whatever goes in, and 0 or 1 is no one-hot row of one class."""
    return numbers.output == "softmax" and observed.case.sizes[-1] == 1


def agreeing_upto(
    observed: Observed,
    numbers: Numbers,
    changes: Iterable[Mapping[str, Change]] = (),
    among: Callable[[Quantity], bool] = lambda quantity: True,
) -> Place:
    """The place of the first number, `among` these, that is not the computed one; `NOTHING_OFF` where all are.

    `NOT_POSSIBLE` where shapes do not fit: such mistakes cannot be made in this network.
    """
    if tells_nothing(observed, numbers):
        return NOTHING_OFF
    left = sum(map(among, observed.numbers))
    try:
        with_loss = Quantity("loss") in observed.numbers
        for quantity, right in Computation(observed.case, numbers, changes).quantities(with_loss):
            seen = observed.numbers.get(quantity)
            if seen is None or not among(quantity):
                continue
            if not same(seen, right, quantity, observed):
                return place(quantity, len(observed.case.weights))
            left -= 1
            if not left:
                break
    except (ValueError, IndexError, TypeError):
        return NOT_POSSIBLE
    return NOTHING_OFF


def agrees(
    observed: Observed,
    numbers: Numbers,
    changes: Iterable[Mapping[str, Change]] = (),
    among: Callable[[Quantity], bool] = lambda quantity: True,
) -> bool:
    """Whether every number that the candidate gave, `among` these, is that of the computation with its changes."""
    return agreeing_upto(observed, numbers, changes, among) == NOTHING_OFF


def predicted(
    observed: Observed, numbers: Numbers, changes: Iterable[Mapping[str, Change]], at: Place
) -> tuple[Any, bool]:
    """What a candidate with these mistakes gives at a place, and whether all that it gave before agrees."""
    L = len(observed.case.weights)
    try:
        with_loss = Quantity("loss") in observed.numbers
        for quantity, right in Computation(observed.case, numbers, changes).quantities(with_loss):
            seen = observed.numbers.get(quantity)
            if seen is not None and place(quantity, L) == at:
                return right, True
            if seen is not None and not same(seen, right, quantity, observed):
                return None, False
    except (ValueError, IndexError, TypeError):
        pass
    return None, False


def n_agreeing(observed: Observed, numbers: Numbers) -> int:
    """How many quantities agree before the first that does not."""
    count = 0
    if tells_nothing(observed, numbers):
        return count
    for quantity, right in Computation(observed.case, numbers).quantities():
        seen = observed.numbers.get(quantity)
        if seen is not None:
            if not same(seen, right, quantity, observed):
                break
            count += 1
    return count
