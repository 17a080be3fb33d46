"""From observed numbers to the records of a report: the table, the first wrong number, the mistake's name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from glassnet import reference
from glassnet.checking.agreement import Observed, same, wrong_places
from glassnet.checking.cases import Case
from glassnet.checking.computation import FUSED, Computation, Numbers, Quantity
from glassnet.checking.layout import Layout
from glassnet.checking.mistakes import Variant
from glassnet.checking.report import Compared, Named, Wrong
from glassnet.network import Network, Parameters
from glassnet.reference import Trace

EQUATIONS = {
    "z": "z_l = a_(l-1) W_l + b_l",
    "a": "a_l = f(z_l)",
    "p": "p = g(z_L)",
    "loss": "loss = mean, or sum, over the rows of the row losses",
    "delta": "delta_L = dloss/dp g'(z_L);  delta_l = (delta_(l+1) W_(l+1)^T) * f'(z_l)",
    "dW": "dW_l = a_(l-1)^T delta_l, over the rows",
    "db": "db_l = sum over the rows of delta_l",
    "W": "W <- W - rate dW",
    "b": "b <- b - rate db",
}


def compared(observed: Sequence[Observed], numbers: Numbers, loss_known: bool = True) -> tuple[Compared, ...]:
    """Every quantity that the candidate gave, in order of computation, over all cases; only up to p without a known
    loss."""
    found: dict[Quantity, list[float]] = {}
    for one in observed:
        for quantity, right in Computation(one.case, numbers).quantities():
            seen = one.numbers.get(quantity)
            if seen is None or (not loss_known and quantity.kind not in ("z", "a", "p")):
                continue
            right = _scaled(one, quantity, seen, right)
            wrong = 0 if same(seen, right, quantity, one) else int(_places(one, quantity, seen, right).sum()) or 1
            row = found.setdefault(quantity, [0, 0, 0.0])
            row[0] += np.size(seen)
            row[1] += wrong
            if np.shape(seen) == np.shape(right):
                error = np.max(np.abs(np.asarray(seen) - right)) / max(float(np.max(np.abs(right))), 1e-3)
                row[2] = max(row[2], float(error))
    deepest = max(quantity.layer for quantity in found) if found else 0
    order = {quantity: at for at, quantity in enumerate(_order(deepest))}
    rows = sorted(found.items(), key=lambda item: order.get(item[0], 0))
    return tuple(
        Compared(str(quantity), quantity.layer or None, int(n), int(wrong), error)
        for quantity, (n, wrong, error) in rows
    )


def _order(L: int) -> list[Quantity]:
    forward = [Quantity(kind, layer) for layer in range(1, L + 1) for kind in "za"]
    backward = [Quantity(kind, layer) for layer in range(L, 0, -1) for kind in ("delta", "dW", "db")]
    update = [Quantity(kind, layer) for layer in range(L, 0, -1) for kind in "Wb"]
    return [*forward, Quantity("p"), Quantity("loss"), *backward, *update]


def _scaled(one: Observed, quantity: Quantity, seen: Any, right: Any) -> Any:
    """A delta in the scale of the candidate's: of the row alone, or its share of the mean."""
    if quantity.kind != "delta" or np.shape(seen) != np.shape(right):
        return right
    share = right / one.case.n
    tolerance = one.tolerance(quantity)
    return share if wrong_places(seen, share, tolerance).sum() < wrong_places(seen, right, tolerance).sum() else right


def _places(one: Observed, quantity: Quantity, seen: Any, right: Any) -> np.ndarray:
    return np.atleast_1d(wrong_places(seen, right, one.tolerance(quantity)))


def first_wrong(observed: Sequence[Observed], numbers: Numbers) -> tuple[Wrong | None, Case]:
    """The first number that is off, in the first case that has one."""
    for one in observed:
        for quantity, right in Computation(one.case, numbers).quantities():
            seen = one.numbers.get(quantity)
            if seen is None or same(seen, right, quantity, one):
                continue
            return _wrong(one, quantity, seen, _scaled(one, quantity, seen, right)), one.case
    return None, observed[0].case


def shapes_said(observed: Sequence[Observed], numbers: Numbers) -> tuple[str, ...]:
    """A sentence for every quantity that is of another shape than it should be, in the first case that has some."""
    for one in observed:
        said = tuple(
            f"{quantity} has the shape {np.shape(one.numbers[quantity])}, and should have {np.shape(right)}, in a "
            f"network of sizes {'-'.join(map(str, one.case.sizes))}."
            for quantity, right in Computation(one.case, numbers).quantities()
            if quantity in one.numbers and np.shape(one.numbers[quantity]) != np.shape(right)
        )
        if said:
            return said
    return ()


def _wrong(one: Observed, quantity: Quantity, seen: Any, right: Any) -> Wrong:
    seen, right = np.asarray(seen), np.asarray(right)
    kind, layer = quantity
    note = ""
    if seen.shape != right.shape:
        at: tuple[int, ...] = (0,) * right.ndim
        note = f"it has the shape {seen.shape}, and should have {right.shape}"
        mine = float(seen.ravel()[0]) if seen.size else float("nan")
    else:
        at = (
            tuple(int(i) for i in np.argwhere(wrong_places(seen, right, one.tolerance(quantity)))[0])
            if seen.ndim
            else ()
        )
        mine = float(seen[at])
    row = unit = source = None
    if kind in ("z", "a", "p", "delta"):
        row, unit = at[0], at[1] + 1
    elif kind in ("dW", "W"):
        source, unit = at[0] + 1, at[1] + 1
    elif kind in ("db", "b"):
        unit = at[0] + 1
    name = _name(quantity, unit, source, one.case)
    return Wrong(
        str(quantity),
        name,
        layer or None,
        unit,
        source,
        row,
        mine,
        float(right[at]),
        EQUATIONS[kind],
        note,
        one.case.sizes,
    )


def _name(quantity: Quantity, unit: int | None, source: int | None, case: Case) -> str:
    kind, layer = quantity
    of = {"dW": f"dL/dw{layer}_{source}_{unit}", "db": f"dL/db{layer}_{unit}", "loss": "the loss"}
    of |= {"W": f"w{layer}_{source}_{unit} after the update", "b": f"b{layer}_{unit} after the update"}
    if kind == "p":
        return "p" if case.sizes[-1] == 1 else f"p_{unit}"
    return of.get(kind, f"{kind}{layer}_{unit}")


def named(variant: Variant, first: Wrong | None) -> Named:
    """A mistake with the two numbers that show it."""
    mistake, units = variant.mistake, variant.units
    numbers = None if first is None else (first.candidate, first.expected)
    pasted = None if units is None or min(units) < 0 else (units[0] + 1, units[1] + 1)
    return Named(
        mistake.key, mistake.name, mistake.sentence, mistake.equation, mistake.wrong_equation, variant.layer or None,
        pasted, numbers, "" if first is None else first.name,
        {"entries": "to", "inputs": "taken as"}.get(mistake.places, "computed as"),
        None if variant.unit is None else variant.unit + 1,
    )  # fmt: skip


def conventions_said(numbers: Numbers, layout: Any, loss_known: bool = True) -> dict[str, str]:
    """The conventions under the keys with which they may be declared."""
    said = {"hidden": numbers.hidden, "output": numbers.output}
    if loss_known:
        said |= {"loss": numbers.loss, "loss_rows": numbers.loss_rows, "gradient_rows": numbers.gradient_rows}
        if numbers.loss == "squared_error":
            said["half"] = "yes" if numbers.half else "no"
        said["outputs"] = numbers.outputs
        if numbers.l2 != "none":
            said["l2"] = numbers.l2
    if isinstance(layout, Layout):
        said |= {
            "orientation": "out_in" if layout.out_in else "in_out",
            "layout": "columns" if layout.columns else "rows",
        }
    return said


def trace_of(case: Case, numbers: Numbers) -> Trace | None:
    """The reference's record of a case, where the reference has such a network; in glassnet's own convention."""
    losses = {"squared_error": "mean_squared_error"}
    if numbers.output == "softmax" and case.sizes[-1] == 1:
        return None
    if (numbers.output, numbers.loss) in FUSED:
        activations = (numbers.hidden,) * (len(case.sizes) - 2)
    elif numbers.output == "softmax" or numbers.loss != "squared_error":
        return None
    else:
        activations = (*((numbers.hidden,) * (len(case.sizes) - 2)), numbers.output)
    network = Network(case.sizes, activations, losses.get(numbers.loss, numbers.loss))
    parameters = Parameters.from_layers(network, case.weights, case.biases)
    return reference.backward(network, parameters, case.X, case.y, l2=case.l2)
