"""What only shows when a candidate is called more than once: state that is kept, and differences of its own loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from glassnet.checking.agreement import Observed, wrong_places
from glassnet.checking.computation import Quantity
from glassnet.checking.problems import FailedError
from glassnet.checking.report import Named
from glassnet.expressions import significant

ACCUMULATE = Named(
    "gradients-accumulate",
    "gradients accumulate between calls",
    "The second call with the same arguments gives the first one's gradients added to its own. Set them "
    "to zero where a "
    "backward pass begins.",
    "dW = 1/n a^T delta",
    "dW = dW of the call before + 1/n a^T delta",
)
KEEPS_STATE = Named(
    "state-kept",
    "something is kept between calls, or drawn at random",
    "The same arguments give other numbers the second time: a global or an attribute is changed by the call, or random "
    "numbers are drawn in it.",
    "the same arguments, the same gradients",
    "the same arguments, other gradients",
)


def accumulated(candidate: Any, observed: Observed, layout: Any) -> tuple[Observed, Named] | None:
    """What two more calls add, where calls with the same arguments differ; None where they do not."""
    try:
        calls = [candidate.again(observed.case, layout, times) for times in (1, 2, 3)]
    except (AttributeError, FailedError):
        return None
    first, second, third = calls
    if not any(quantity.kind in ("dW", "db") for quantity in first.numbers):
        return None
    if all(np.array_equal(first.numbers[q], second.numbers.get(q), equal_nan=True) for q in first.numbers):
        return None
    gradients = [quantity for quantity in first.numbers if quantity.kind in ("dW", "db")]
    numbers = dict(third.numbers)
    # What an object keeps begins anew with it; what its class keeps has seen one, three and six passes. The output's
    # gradients tell: those of lower layers may also depend on weights that an earlier call has changed.
    steady = {1.0: True, 1.5: True}
    from_zero, last = True, max(quantity.layer for quantity in gradients)
    for quantity in gradients:
        one = np.asarray(second.numbers[quantity]) - first.numbers[quantity]
        two = np.asarray(third.numbers[quantity]) - second.numbers[quantity]
        if quantity.layer == last:
            for share in steady:
                steady[share] &= one.shape == two.shape and bool(np.allclose(share * one, two, rtol=1e-6, atol=1e-9))
            from_zero &= steady[1.0] and bool(np.allclose(one, first.numbers[quantity], rtol=1e-6, atol=1e-9))
        numbers[quantity] = two if steady[1.0] else two / 3
    if from_zero:
        numbers = dict(first.numbers)
    kept = {q: v for q, v in numbers.items() if q.kind in ("z", "a", "p", "loss", "dW", "db")}
    return replace(third, numbers=kept), ACCUMULATE if any(steady.values()) else KEEPS_STATE


VERY_SURE = 60.0
"""By how much the last layer's weights are multiplied, so that an output is rounded to 0 or to 1."""


def log_of_zero(candidate: Any, observed: Observed, layout: Any) -> str | None:
    """That the loss is not finite for a network that is very sure; no mistake, for on ordinary rows it is."""
    case = observed.case
    sure = replace(case, weights=(*case.weights[:-1], VERY_SURE * case.weights[-1]))
    try:
        found = candidate.run(sure, layout).numbers.get(Quantity("loss"))
    except FailedError as failed:
        return f"For a network that is very sure it fails: {failed.problem.message}"
    if found is None or np.isfinite(found):
        return None
    return (
        f"log of zero: where a network is very sure, p is rounded to 0 or 1 and the loss is {float(found)}. Keep p "
        "a little away from both, np.clip(p, 1e-12, 1 - 1e-12), or take the loss from z."
    )


def updates_follow(observed: Sequence[Observed]) -> bool:
    """Whether the parameters after an update are those before, less the rate times the candidate's own gradient."""
    for one in observed:
        for quantity, after in one.numbers.items():
            if quantity.kind not in ("W", "b"):
                continue
            before = (one.case.weights if quantity.kind == "W" else one.case.biases)[quantity.layer - 1]
            gradient = one.numbers.get(Quantity(f"d{quantity.kind}", quantity.layer))
            if gradient is None or np.shape(gradient) != before.shape:
                return False
            if wrong_places(after, before - one.case.learning_rate * gradient, one.tolerance(quantity)).any():
                return False
    return True


@dataclass(frozen=True)
class OwnDifferences:
    """Whether a candidate's gradient is the derivative of its own loss, and what is to be said of that."""

    consistent: bool = False
    sentences: tuple[str, ...] = ()


STEP = 1e-5


def own_differences(candidate: Any, observed: Observed, layout: Any) -> OwnDifferences:
    """Hold its gradient against central differences of its own loss, every parameter of one case."""
    case = observed.case
    gradients = [quantity for quantity in observed.numbers if quantity.kind in ("dW", "db")]
    if Quantity("loss") not in observed.numbers or not gradients or observed.single:
        return OwnDifferences()
    worst, worst_said = 0.0, ""
    for quantity in gradients:
        kind = "weights" if quantity.kind == "dW" else "biases"
        arrays = getattr(case, kind)
        own = np.asarray(observed.numbers[quantity])
        if own.shape != arrays[quantity.layer - 1].shape:
            return OwnDifferences()
        differences = np.empty_like(own)
        for at in np.ndindex(own.shape):
            losses = []
            for side in (STEP, -STEP):
                moved = arrays[quantity.layer - 1].copy()
                moved[at] += side
                parts = tuple(moved if one == quantity.layer - 1 else part for one, part in enumerate(arrays))
                near = replace(case, weights=parts) if kind == "weights" else replace(case, biases=parts)
                try:
                    found = candidate.run(near, layout)
                except FailedError:
                    return OwnDifferences()
                losses.append(float(found.numbers[Quantity("loss")]))
            differences[at] = (losses[0] - losses[1]) / (2 * STEP)
        off = np.abs(differences - own)
        size = float(np.max(np.abs(differences))) + 1e-6
        at = tuple(int(i) for i in np.unravel_index(int(np.nan_to_num(off, nan=np.inf).argmax()), off.shape))
        share = float(off[at]) / size
        if not share <= max(worst, 1e-5):
            worst = share
            place = "_".join(str(i + 1) for i in at)
            name = f"dL/d{'w' if quantity.kind == 'dW' else 'b'}{quantity.layer}_{place}"
            worst_said = (
                f"Differences of your own loss give {significant(float(differences[at]), 7)} for {name}, your "
                "gradient is "
                f"{significant(float(own[at]), 7)}: the two are not of the same loss."
            )
    if worst_said:
        return OwnDifferences(False, (worst_said,))
    return OwnDifferences(True, ("The gradient is the derivative of your own loss, as differences of it show.",))
