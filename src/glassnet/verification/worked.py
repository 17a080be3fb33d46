"""The equations with numbers put in, for several rows at once: what a worked calculation says, without printing it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from glassnet.equations import Contract, Equation, Map, Reduce, Symbol
from glassnet.expressions import Expression, call, function, substitute, symbol, symbols
from glassnet.network import FloatArray, Network, Parameters
from glassnet.verification.quantities import Numbers, kind_of

MOST_LINES = 5_000
"""Parameters up to which every scalar line is worked out by itself, as it is printed; beyond, each indexed equation for
all its indices at once."""

Axes = tuple[str, ...]


def worked_numbers(
    network: Network,
    parameters: Parameters,
    X: FloatArray,
    y: FloatArray,
    row_weights: FloatArray,
    found: Sequence[Equation],
    raw: Mapping[Symbol, FloatArray] | None = None,
) -> Numbers:
    """Every quantity that the equations `found` give, each from those before it, in the canonical arithmetic.

    X (n, n_features), y (n, n_outputs) and row_weights (n,) are what they start from; where x and y are among what the
    equations give, it is the columns' own values `raw`, each (n,), instead.

    >>> from glassnet.equations import equations
    >>> net = Network((2, 1), loss="mean_squared_error")
    >>> parameters = Parameters(net, np.array([1.0, 2.0, 0.5]))
    >>> X, y = np.array([[3.0, 4.0]]), np.array([[10.5]])
    >>> worked = worked_numbers(net, parameters, X, y, np.ones(1), equations(net).items)
    >>> worked["loss"].tolist(), worked["dL/dw1"].ravel().tolist()
    ([1.0], [6.0, 8.0])
    """
    scope = _Scope(len(X))
    for layer, (W, b) in enumerate(zip(parameters.weights, parameters.biases, strict=True), start=1):
        scope.put(Symbol("w", layer, ("i", "j")), W)
        scope.put(Symbol("b", layer, ("j",)), b)
    one = network.n_outputs == 1
    # What an equation gives is not told beforehand.
    given = {"x": X, "y": y[:, 0] if one else y}
    given |= {kind: np.full_like(given[kind], np.nan) for kind in {kind_of(e.target) for e in found} & given.keys()}
    scope.put(Symbol("x", None, ("row", "i")), given["x"])
    scope.put(Symbol("y", None, ("row",) if one else ("row", "k")), given["y"])
    scope.put(Symbol("share", None, ("row",)), row_weights / row_weights.sum())
    for key, values in (raw or {}).items():
        scope.put(key, values)
    for equation in found:
        if network.n_parameters <= MOST_LINES:
            for line in equation.scalars():
                scope.write(equation, line)
        else:
            scope.write(equation, equation)
    numbers: Numbers = {}
    for key, array in scope.arrays.items():
        if key.kind not in _OF_TABLES:
            # One output has no index in the equations; here, as in a trace, it has a column of its own.
            numbers[kind_of(key)] = array[:, np.newaxis] if one and key.kind in ("o", "p", "y") else array
    for equation in found:
        if equation.stage == "decode":
            numbers["predicted"] = scope.arrays[_whole(equation.target)]
    return numbers


_OF_TABLES = ("raw", "is", "missing", "filled", "scaled")


def _whole(key: Symbol) -> Symbol:
    return replace(key, axes=())


class _Scope:
    """The numbers of all quantities so far: an array with an axis for rows, if it has them, and one for each index."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.arrays: dict[Symbol, FloatArray] = {}

    def put(self, key: Symbol, values: FloatArray) -> None:
        self.arrays[_whole(key)] = values

    def write(self, whole: Equation, line: Equation) -> None:
        """Work out `line`, which is `whole` or one of its scalars, into its place."""
        sizes = dict(whole.ranges)
        axes = [axis for axis in line.target.axes if isinstance(axis, str) and axis != "row"]
        by_row = _of_rows(whole)
        value = self._body(line, (*(("row",) if by_row else ()), *axes))
        kind = _whole(line.target)
        if kind not in self.arrays:
            shape = [sizes.get(str(axis), 1) for axis in whole.target.axes if axis != "row"]
            self.arrays[kind] = np.full(([self.n] if by_row else []) + shape, np.nan)
        # A bound index, from 1, says which part of the array it is; an open one means all.
        part = [axis - 1 if isinstance(axis, int) else slice(None) for axis in line.target.axes if axis != "row"]
        self.arrays[kind][(*([slice(None)] if by_row else []), *part)] = value

    def _body(self, line: Equation, axes: Axes) -> Any:
        match line.body:
            case Map(expression):
                return self._value(expression, axes)
            case Contract(terms, over, bias):
                every = self._value(call("mul", *map(symbol, terms)), (over, *axes))
                total = None if bias is None else self._value(symbol(bias), axes)
            case Reduce(operation, (over,), expression):
                every, total = self._value(expression, (over, *axes)), None
                if operation == "argmax":
                    return every.argmax(axis=0) + 1.0
                if operation == "max":
                    return every.max(axis=0)
                if operation == "mean":
                    return _added(every, total) / np.float64(len(every))
            case _:
                raise AssertionError(f"{line} is of no kind that a network has")
        return _added(every, total)

    def _value(self, expression: Expression, axes: Axes) -> Any:
        """The expression for all values of its indices, an axis of the array for each of `axes`."""
        keys = symbols(expression)
        names = tuple(f"v{number}" for number in range(len(keys)))
        renamed = substitute(expression, {key: symbol(name) for key, name in zip(keys, names, strict=True)})
        return function(renamed, names)(*(self._operand(key, axes) for key in keys))

    def _operand(self, key: Any, axes: Axes) -> Any:
        """A quantity's numbers with the axes `axes`, each of length 1 where it does not have that index."""
        array = self.arrays[_whole(key)]
        own = [axis for axis in key.axes if isinstance(axis, str)]
        array = array[tuple(axis - 1 if isinstance(axis, int) else slice(None) for axis in key.axes)]
        turned = np.transpose(array, sorted(range(len(own)), key=lambda at: axes.index(own[at])))
        return turned[tuple(slice(None) if axis in own else np.newaxis for axis in axes)]


def _added(every: FloatArray, total: FloatArray | None) -> FloatArray:
    """The canonical sum: the first term, or the bias, and then one term after the other."""
    terms = iter(every)
    total = next(terms) if total is None else total
    for term in terms:
        total = total + term
    return total


def _of_rows(equation: Equation) -> bool:
    """Whether the quantity has a number for every row: its target says so, or something of a row is in it."""
    if "row" in equation.target.axes:
        return True
    match equation.body:
        case Map(expression):
            return any("row" in key.axes for key in symbols(expression) if isinstance(key, Symbol))
        case Contract(over=over):
            return over != "row" and any("row" in term.axes for term in equation.body.terms)
        case Reduce(over=over, expression=expression):
            return over != ("row",) and any("row" in key.axes for key in symbols(expression) if isinstance(key, Symbol))
