"""Candidates like the notebook's class: a 2-2-1 network whose nine numbers are attributes, one row at a time."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from glassnet.checking.agreement import Observed
from glassnet.checking.calling import called, signature
from glassnet.checking.cases import Case
from glassnet.checking.computation import Quantity
from glassnet.checking.functions import name_of, roles
from glassnet.checking.layout import is_number
from glassnet.checking.names import argument
from glassnet.checking.problems import FailedError, Problem, not_numbers
from glassnet.checking.protocol import Declared

SIZES = (2, 2, 1)
NAMES = ("w11", "w12", "w13", "w14", "w21", "w22", "b11", "b12", "b2")


@dataclass(frozen=True)
class RowLayout:
    """What the notebook's names leave open. `over_rows`: what `fit` does with the rows' gradients; `loss_of`: p or z;
    `crossed`: w12 runs from input 1 to unit 2."""

    over_rows: str = "mean"
    loss_of: str = "p"
    crossed: bool = False


def places(crossed: bool) -> dict[str, tuple[str, int, tuple[int, ...]]]:
    """Which entry of which array each of the nine names is."""
    one, two = ((0, 1), (1, 0)) if crossed else ((1, 0), (0, 1))
    return {
        "w11": ("W", 1, (0, 0)), "w12": ("W", 1, one), "w13": ("W", 1, two), "w14": ("W", 1, (1, 1)),
        "w21": ("W", 2, (0, 0)), "w22": ("W", 2, (1, 0)),
        "b11": ("b", 1, (0,)), "b12": ("b", 1, (1,)), "b2": ("b", 2, (0,)),
    }  # fmt: skip


_FORWARD = {
    "z11": ("z", 1, 0), "z12": ("z", 1, 1), "a11": ("a", 1, 0), "a12": ("a", 1, 1), "z2": ("z", 2, 0), "a2": ("p", 0,
    0),
}  # fmt: skip


class NotebookCandidate:
    """The notebook's form."""

    form = "notebook"

    def __init__(self, candidate: Any, declared: Declared) -> None:
        self.candidate, self.declared = candidate, declared
        kind = candidate if inspect.isclass(candidate) else type(candidate)
        self.described = f"{kind.__name__}: forward_prop, back_prop"

    def own_sizes(self) -> tuple[int, ...]:
        """The notebook's."""
        return SIZES

    def layouts(self) -> Iterator[RowLayout]:
        """Common ones first."""
        for crossed, loss_of, rows in product((False, True), "pz", ("mean", "sum")):
            if self.declared.allows("gradient_rows", rows):
                yield RowLayout(rows, loss_of, crossed)

    def instance(self, case: Case, layout: RowLayout) -> Any:
        """An object that holds the case's nine numbers."""
        kind = self.candidate
        object_ = called(kind.__name__, kind) if inspect.isclass(kind) else kind
        self._put(object_, case, layout)
        return object_

    def _put(self, object_: Any, case: Case, layout: RowLayout) -> None:
        arrays = {"W": case.weights, "b": case.biases}
        for name, (kind, layer, at) in places(layout.crossed).items():
            setattr(object_, name, float(arrays[kind][layer - 1][at]))

    def again(self, case: Case, layout: RowLayout, times: int) -> Observed:
        """The last of so many passes of one object, over one row."""
        return self.run(_first_row(case), layout, times)

    def run(self, case: Case, layout: RowLayout, times: int = 0) -> Observed:
        """Every row forward and backward, then one epoch of `fit` where there is one; raises `FailedError`.

        Where `back_prop` changes the parameters, it is that of one row; the learning rate is then its own. `times`: so
        many passes instead, and no `fit`.
        """
        if case.sizes != SIZES:
            raise FailedError(Problem("shape", "The notebook's class is a network of sizes 2-2-1."))
        object_ = self.instance(case, layout)
        names = {name: getattr(object_, name) for name in dir(object_) if not name.startswith("__")}
        functions = roles(names)
        numbers: dict[Quantity, Any] = {Quantity("dW", 1): np.zeros((2, 2)), Quantity("dW", 2): np.zeros((2, 1))}
        numbers |= {Quantity("db", 1): np.zeros(2), Quantity("db", 2): np.zeros(1)}
        rows: dict[Quantity, list[list[Any]]] = {}
        losses, moved = [], {}
        loss = _loss_of_a_row(functions)
        pairs = list(zip(case.X.tolist(), case.y.tolist(), strict=True))
        for (x1, x2), (y,) in pairs[:1] * (times - 1):
            passed = _dict("forward_prop", called("forward_prop", functions["forward"], x1, x2, case=case))
            called("back_prop", functions["backward"], x1, x2, int(y), passed, case=case)
            self._put(object_, case, layout)
        for (x1, x2), (y,) in pairs:
            passed = _dict("forward_prop", called("forward_prop", functions["forward"], x1, x2, case=case))
            for key, (kind, layer, unit) in _FORWARD.items():
                if key in passed:
                    quantity = Quantity(kind, layer)
                    rows.setdefault(quantity, [[] for _ in range(2 if layer == 1 else 1)])
                    rows[quantity][unit].append(_number(f"{key} of forward_prop", passed[key]))
            gradients = _dict(
                "back_prop", called("back_prop", functions["backward"], x1, x2, int(y), passed, case=case)
            )
            found = 0
            for key, value in gradients.items():
                name = re.search(r"(w1[1-4]|w2[12]|b1[12]|b2)$", str(key).lower().replace("_", ""))
                if name is None:
                    continue
                kind, layer, at = places(layout.crossed)[name[1]]
                share = case.n if layout.over_rows == "mean" else 1
                numbers[Quantity(f"d{kind}", layer)][at] += _number(f"{key} of back_prop", value) / share
                found += 1
            if found != len(NAMES):
                raise FailedError(
                    Problem(
                        "shape",
                        f"back_prop gives nine gradients, of {', '.join(NAMES)}; got {', '.join(map(str, gradients))}.",
                    )
                )
            if loss is not None:
                of = passed.get("a2") if layout.loss_of == "p" else passed.get("z2")
                losses.append(called(name_of(loss), loss, of, y, case=case))
            if (moved := self._moved(object_, case, layout)) and case.n > 1:
                return self.run(_first_row(case), layout, times)
        for quantity, units in rows.items():
            if all(len(unit) == case.n for unit in units):
                numbers[quantity] = np.array(units, float).T
        if losses:
            numbers[Quantity("loss")] = np.mean([_number("the loss", one) for one in losses])
        if moved:
            rates = [
                step / numbers[Quantity(f"d{kind}", layer)][at]
                for name, step in moved.items()
                for kind, layer, at in [places(layout.crossed)[name]]
                if numbers[Quantity(f"d{kind}", layer)][at]
            ]
            case = replace(case, learning_rate=abs(float(np.median(rates or [case.learning_rate]))))
        elif "train" in functions and not times:
            numbers |= self._after_fit(object_, functions["train"], case, layout)
        return Observed(case, numbers)

    def _moved(self, object_: Any, case: Case, layout: RowLayout) -> dict[str, float]:
        """By how much each parameter is less than it was."""
        arrays = {"W": case.weights, "b": case.biases}
        found = {}
        for name, (kind, layer, at) in places(layout.crossed).items():
            found[name] = float(arrays[kind][layer - 1][at]) - _number(name, getattr(object_, name))
        return {name: step for name, step in found.items() if step}

    def _after_fit(self, object_: Any, fit: Callable[..., Any], case: Case, layout: RowLayout) -> dict[Quantity, Any]:
        """The parameters after one epoch of `fit` that begins at the case's."""
        object_.initialize = lambda *given, **named: self._put(object_, case, layout)
        self._put(object_, case, layout)
        X, y = case.X.copy(), case.y.copy()
        called("fit", fit, X, y, case.learning_rate, 1, case=case)
        if not (np.array_equal(X, case.X) and np.array_equal(y, case.y)):
            raise FailedError(
                Problem("changed-arguments", "fit changes X or y, which it was given. Take a copy first.")
            )
        after: dict[Quantity, Any] = {
            Quantity("W", 1): np.zeros((2, 2)), Quantity("W", 2): np.zeros((2, 1)),
            Quantity("b", 1): np.zeros(2), Quantity("b", 2): np.zeros(1),
        }  # fmt: skip
        for name, (kind, layer, at) in places(layout.crossed).items():
            after[Quantity(kind, layer)][at] = _number(name, getattr(object_, name))
        return after


def _first_row(case: Case) -> Case:
    return replace(case, X=case.X[:1], y=case.y[:1])


def _loss_of_a_row(functions: Mapping[str, Callable[..., Any]]) -> Callable[..., Any] | None:
    """A loss of p and y; one of X and y is that of a batch, and says nothing of a row."""
    loss = functions.get("loss")
    names = [argument(one.name) for one in signature(loss)] if loss is not None else []
    return loss if len(names) == 2 and names[0] != "X" else None


def is_notebook(candidate: Any) -> bool:
    """Whether a class or an object has the notebook's form."""
    if any(isinstance(getattr(candidate, name, None), float) for name in ("w11", "w13")):
        return True
    functions = roles({name: getattr(candidate, name) for name in dir(candidate) if not name.startswith("__")})
    if not {"forward", "backward"} <= functions.keys():
        return False
    code = [
        name
        for function in vars(candidate if inspect.isclass(candidate) else type(candidate)).values()
        for name in getattr(getattr(function, "__code__", None), "co_names", ())
    ]
    return "w11" in code and "w21" in code


def _dict(what: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise FailedError(Problem("list", f"{what} gives a dict of numbers by name; got a {type(value).__name__}."))
    return value


def _number(what: str, value: Any) -> float:
    problem = not_numbers(what, value)
    if problem is not None or not (is_number(value) or np.size(value) == 1):
        raise FailedError(problem or Problem("shape", f"{what} is one number; it has the shape {np.shape(value)}."))
    return float(np.asarray(value).ravel()[0])
