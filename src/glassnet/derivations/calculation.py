"""Every number of one row, equation by equation: what a worked calculation prints.

Forward the numbers are a `Trace`'s. Backward and in an update they are computed here, by the very expressions that are
printed and in their order, so that whoever recomputes a line comes to the printed bits: a trace's backward sums are in
NumPy's order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet import reference
from glassnet.cells import listed
from glassnet.checks import DIFFERENCE_STEP
from glassnet.equations import Contract, Equation, Map, Reduce, Symbol
from glassnet.errors import UsageError, did_you_mean
from glassnet.expressions import Arithmetic, Expression, call, function, substitute, symbol, symbols
from glassnet.kernels import stacked
from glassnet.network import FloatArray, Parameters

_BLOCK_ELEMENTS = 2**20
"""Numbers in one stack of moved parameter vectors: 8 MiB."""

MOST_QUOTIENTS = 10_000
"""Parameters up to which every gradient has its difference quotient: each takes two passes of the whole network."""


@dataclass(frozen=True)
class Worked:
    """One equation with its numbers.

    `operands`: for every symbol on the right, its numbers over the symbol's own open indices; `computed` are those of
    them that an equation before gave. `values`: the result over the target's open indices. `quotients`: beside a
    gradient, the same derivatives from differences, NaN where there is none. `at`: the one index that is asked for.
    """

    equation: Equation
    operands: Mapping[Symbol, FloatArray]
    computed: frozenset[Symbol]
    values: FloatArray
    quotients: FloatArray | None = None
    at: Mapping[str, int] = field(default_factory=dict)


def aligned(array: NDArray[Any], axes: Sequence[str], wanted: Sequence[str]) -> NDArray[Any]:
    """An array over `axes` as one over `wanted`, of length 1 along those that it has not.

    >>> aligned(np.zeros((2, 3)), ("j", "i"), ("i", "j", "k")).shape
    (3, 2, 1)
    """
    order: list[int] = sorted(range(len(axes)), key=lambda n: wanted.index(axes[n]))
    turned = array.transpose(order)
    sizes = iter(turned.shape)
    return turned.reshape([next(sizes) if axis in axes else 1 for axis in wanted])


class Numbers:
    """The numbers of a calculation by symbol, each kind in one array over its indices, from which rows are left out."""

    def __init__(self, given: Mapping[Symbol, float] | None = None) -> None:
        self._arrays: dict[Symbol, FloatArray] = {}
        self.computed: set[Symbol] = set()
        for key, value in (given or {}).items():
            self.put(key, value)

    def put(self, key: Symbol, numbers: FloatArray | float) -> None:
        """The numbers of a symbol, over its indices in their order; an index that is bound, to 1, is the only one."""
        array = np.asarray(numbers, np.float64)
        for place, axis in enumerate(axis for axis in key.axes if axis != "row"):
            if isinstance(axis, int):
                array = np.expand_dims(array, place)
        self._arrays[replace(key, axes=())] = array

    def put_by_parameter(self, parameters: Parameters, kind: str = "") -> None:
        """A number for every parameter: `kind` of w and b by layer; the parameters themselves where there is none."""
        for layer, (W, b) in enumerate(zip(parameters.weights, parameters.biases, strict=True), start=1):
            for of, array in (("w", W), ("b", b)):
                self.put(Symbol(kind, layer, of=of) if kind else Symbol(of, layer), array)

    def __contains__(self, key: Symbol) -> bool:
        return replace(key, axes=()) in self._arrays

    def __getitem__(self, key: Symbol) -> FloatArray:
        """The numbers over the symbol's open indices."""
        at = tuple(slice(None) if isinstance(axis, str) else axis - 1 for axis in key.axes if axis != "row")
        return np.asarray(self._arrays[replace(key, axes=())][at])

    def is_computed(self, key: Symbol) -> bool:
        """Whether an equation gave it."""
        return replace(key, axes=()) in self.computed

    def put_trace(self, trace: reference.Trace) -> None:
        """What a trace of one row holds, forward."""
        network = trace.network

        def put_output(kind: str, numbers: FloatArray) -> None:
            self.put(Symbol(kind), numbers[0] if network.n_outputs == 1 else numbers)

        self.put(Symbol("x"), trace.X[0])
        put_output("o", trace.logits[0])
        put_output("p", trace.probabilities[0])
        self.put_by_parameter(trace.parameters)
        for layer in range(1, network.n_layers + 1):
            self.put(Symbol("z", layer), trace.pre_activations[layer - 1][0])
            if layer < network.n_layers:
                self.put(Symbol("a", layer), trace.activations[layer][0])
                if trace.masks is not None and trace.unmasked is not None:
                    self.put(Symbol("mask", layer), trace.masks[layer - 1][0])
                    self.put(Symbol("h", layer), trace.unmasked[layer - 1][0])
        if trace.y is not None and trace.row_losses is not None:
            put_output("y", trace.y[0])
            self.put(Symbol("loss"), float(trace.row_losses[0]))


def calculate(every: Iterable[Equation], numbers: Numbers, quotients: Parameters | None = None) -> tuple[Worked, ...]:
    """The equations in their order, each with its numbers. What `numbers` does not hold yet, and every update, is
    computed, and put there for the equations behind."""
    done = []
    for equation in every:
        target = equation.target
        operands = {key: numbers[key] for key in _operands(equation)}
        computed = frozenset(key for key in operands if numbers.is_computed(key))
        if equation.stage in ("backward", "update") or target not in numbers:
            numbers.put(target, result(equation, operands))
        numbers.computed.add(replace(target, axes=()))
        beside = None
        if quotients is not None and target.kind == "dloss" and target.of in ("w", "b"):
            assert target.layer is not None
            beside = (quotients.weights if target.of == "w" else quotients.biases)[target.layer - 1]
        done.append(Worked(equation, operands, computed, numbers[target], beside))
    return tuple(done)


def _operands(equation: Equation) -> list[Symbol]:
    match equation.body:
        case Contract(terms, _, bias):
            return [*([bias] if bias else []), *terms]
        case Map(expression) | Reduce(_, _, expression):
            return [key for key in symbols(expression) if isinstance(key, Symbol)]


def result(equation: Equation, operands: Mapping[Symbol, FloatArray]) -> FloatArray:
    """The right side over the target's open indices; sums in the order of their index, the bias first."""
    axes, sizes = equation.target.open_axes, dict(equation.ranges)
    # The optimisers' own arithmetic is NumPy's, powers included.
    used: Arithmetic = "library" if equation.stage == "update" else "canonical"
    body = equation.body
    if isinstance(body, Map):
        found = _evaluated(body.expression, operands, axes, used)
        return np.broadcast_to(found, [sizes[axis] for axis in axes])
    over = (body.over,) if isinstance(body, Contract) else body.over
    inner = call("mul", *map(symbol, body.terms)) if isinstance(body, Contract) else body.expression
    terms = _evaluated(inner, operands, (*over, *axes), used)
    terms = np.broadcast_to(terms, [sizes[axis] for axis in (*over, *axes)])
    terms = terms.reshape(-1, *(sizes[axis] for axis in axes))
    if isinstance(body, Reduce) and body.operation in ("max", "argmax"):
        largest: FloatArray = terms.max(axis=0) if body.operation == "max" else terms.argmax(axis=0) + 1.0
        return largest
    first = terms[0]
    if isinstance(body, Contract) and body.bias is not None:
        first = aligned(operands[body.bias], body.bias.open_axes, axes) + first
    total: FloatArray = np.array(first)
    with np.errstate(all="ignore"):
        for term in terms[1:]:
            total = total + term
        return total / len(terms) if isinstance(body, Reduce) and body.operation == "mean" else total


def _evaluated(
    expression: Expression, operands: Mapping[Symbol, FloatArray], axes: Sequence[str], used: Arithmetic
) -> FloatArray:
    keys = [key for key in symbols(expression) if isinstance(key, Symbol)]
    names = tuple(f"v{number}" for number in range(len(keys)))
    renamed = substitute(expression, {key: symbol(name) for key, name in zip(keys, names, strict=True)})
    arrays = [aligned(operands[key], key.open_axes, axes) for key in keys]
    return np.asarray(function(renamed, names, used)(*arrays), np.float64)


def difference_quotients(trace: reference.Trace, at: NDArray[np.intp] | None = None) -> Parameters:
    """The central difference quotient of one row's loss by the parameters `at`, all where left out; NaN by others.

    The moved parameter vectors are networks of one stack: far faster than a pass for each, and other code than what
    computed the gradient.
    """
    network, vector, y = trace.network, trace.parameters.vector, trace.y
    assert y is not None, "a derivative of the loss needs a target"
    steps = DIFFERENCE_STEP * np.maximum(1.0, np.abs(vector))
    slopes = np.full_like(vector, np.nan)
    wanted = np.arange(len(vector)) if at is None else at

    def moved(part: NDArray[np.intp], sign: int) -> tuple[FloatArray, FloatArray]:
        vectors = np.repeat(vector[np.newaxis], len(part), axis=0)
        vectors[np.arange(len(part)), part] += sign * steps[part]
        with np.errstate(all="ignore"):
            done = stacked.forward(network, Parameters(network, vectors), trace.X, trace.masks)
            return stacked.row_losses(network, done, y)[:, 0], vectors[np.arange(len(part)), part]

    for part in np.array_split(wanted, max(1, -(-(len(wanted) * len(vector)) // _BLOCK_ELEMENTS))):
        (loss_above, above), (loss_below, below) = moved(part, 1), moved(part, -1)
        with np.errstate(all="ignore"):
            slopes[part] = (loss_above - loss_below) / (above - below)
    return Parameters(network, slopes)


# --- one quantity -------------------------------------------------------------------------------------------------

_FIRST = 10**9  # stands in a name for an index, so that the name becomes a pattern


def named(every: Iterable[Equation], name: str) -> list[tuple[Equation, dict[str, int]]]:
    """The equations of the quantity `name`, each with the values of its indices; of a parameter, all that are by it.

    >>> from glassnet.equations import equations
    >>> from glassnet.network import Network
    >>> [(str(e.target), at) for e, at in named(equations(Network((2, 2, 1))), "w1_2_1")]
    [('dloss/dw1_i_j', {'i': 2, 'j': 1}), ('dL/dw1_i_j', {'i': 2, 'j': 1})]
    """
    found, known = [], []
    for equation in every:
        target, sizes = equation.target, dict(equation.ranges)
        axes = target.open_axes
        bound = target.bound({axis: _FIRST + n for n, axis in enumerate(axes)})
        written = [bound]
        if target.of and (target.layer is not None or target.of == "loss"):
            written.append(replace(bound, kind=target.of, of=""))
        known.append(str(target))
        for form in written:
            pattern = re.sub(str(_FIRST)[:-1] + r"(\d)", r"(?P<n\1>[0-9]{1,9})", re.escape(str(form)))
            match = re.fullmatch(pattern, name)
            if match is None:
                continue
            at = {axis: int(match[f"n{n}"]) for n, axis in enumerate(axes)}
            if all(1 <= value <= sizes[axis] for axis, value in at.items()):
                found.append((equation, at))
                break
    if not found:
        raise UsageError(
            f"A quantity is one of {listed(known, 20)}, with numbers from 1 for i, j and k; got {name!r}."
            f"{did_you_mean(name, known)}"
        )
    return found
