"""Gradients by SymPy: the whole network as one formula, in the textbook's forms, and its derivatives as formulas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from glassnet import reference
from glassnet.errors import MissingExtraError
from glassnet.expressions import Expression, parse, symbols, to_sympy
from glassnet.losses import LINKS
from glassnet.network import FloatArray, Network, Parameters
from glassnet.verification.quantities import Numbers, numbers_of_gradients

MOST_TERMS = 40_000
"""Terms that all derivatives together may have: some seconds. 2-2-1 with relu has 234, 5-8-1 with tanh 41,154."""


def n_terms(network: Network) -> int:
    """About how many terms the derivatives of the whole formula have together, for every parameter one.

    >>> n_terms(Network((2, 2, 1))), n_terms(Network((784, 128, 10), loss="cross_entropy")) > MOST_TERMS
    (234, True)
    """
    term = 1
    for layer, n_in in enumerate(network.sizes[:-1], start=1):
        term = (1 + n_in * (1 + term)) * _uses(network.activation_row(layer).textbook, "z")
    link = LINKS[network.loss_row.link]
    if link.over_classes:
        term *= 1 + network.n_outputs
    term *= network.n_outputs * (_uses(network.loss_row.textbook, "p") + _uses(network.loss_row.textbook, "o"))
    return term * network.n_parameters


def _uses(expression: Expression, name: str) -> int:
    """How often a symbol is written in an expression."""
    if expression.op == "symbol":
        return int(expression.args[0] == name)
    return sum(_uses(operand, name) for operand in expression.args if isinstance(operand, Expression))


@dataclass(frozen=True)
class Formula:
    """A row's loss as one SymPy expression in `x`, `y` and `parameters` (in the order of the flat vector)."""

    loss: Any
    x: tuple[Any, ...]
    y: tuple[Any, ...]
    parameters: tuple[Any, ...]

    @classmethod
    def of(cls, network: Network) -> Formula:
        """The whole forward pass in the textbook's forms: neither a stable form nor a derivative of the tables is read.

        >>> Formula.of(Network((1, 1), loss="mean_squared_error")).loss
        (-b1_1 - w1_1_1*x1 + y1)**2
        """
        sympy = _sympy()
        x = sympy.symbols(f"x1:{network.n_features + 1}", real=True)
        y = sympy.symbols(f"y1:{network.n_outputs + 1}", real=True)
        named = {name: sympy.Symbol(name, real=True) for name in network.parameter_names()}
        a = list(x)
        for layer, n_out in enumerate(network.sizes[1:], start=1):
            textbook = network.activation_row(layer).textbook
            z = [
                named[f"b{layer}_{j}"] + sum(named[f"w{layer}_{i}_{j}"] * value for i, value in enumerate(a, start=1))
                for j in range(1, n_out + 1)
            ]
            a = [_put_in(textbook, z=unit) for unit in z]
        row = network.loss_row
        if LINKS[row.link].over_classes:
            powers = [sympy.exp(o) for o in a]
            p = [power / sum(powers) for power in powers]
        else:
            p = [_put_in(parse(LINKS[row.link].textbook), o=o) for o in a]
        terms = [_put_in(row.textbook, o=o, y=t, p=q) for o, t, q in zip(a, y, p, strict=True)]
        loss = sum(terms) if row.sums_over_outputs else sum(terms) / len(terms)
        return cls(loss, tuple(x), tuple(y), tuple(named.values()))

    def gradient(self) -> list[Any]:
        """Its derivative by every parameter, as SymPy takes it."""
        sympy = _sympy()
        return [sympy.diff(self.loss, parameter) for parameter in self.parameters]


def _put_in(expression: Expression, **named: Any) -> Any:
    assert set(symbols(expression)) <= named.keys()
    return to_sympy(expression, named.__getitem__)


def sympy_numbers(network: Network, parameters: Parameters, X: FloatArray, y: FloatArray, share: FloatArray) -> Numbers:
    """Every row's loss and gradient, worked out to 50 digits and more, then rounded; and the mean weighted by `share`.

    Raises `MissingExtraError` where SymPy is not installed.

    >>> net = Network((2, 1), loss="mean_squared_error")
    >>> parameters = Parameters(net, np.array([1.0, 2.0, 0.5]))
    >>> found = sympy_numbers(net, parameters, np.array([[3.0, 4.0]]), np.array([[10.5]]), np.ones(1))
    >>> found["loss"].tolist(), found["dloss/dw1"].tolist()
    ([1.0], [[[6.0], [8.0]]])
    """
    sympy = _sympy()
    import mpmath

    formula = Formula.of(network)
    arguments = [*formula.x, *formula.y, *formula.parameters]
    # At a kink itself a derivative is the table's to choose; such rows are not judged.
    names = {"Heaviside": lambda z, *_: mpmath.mpf(z > 0)}
    computed = sympy.lambdify(arguments, [formula.loss, *formula.gradient()], [names, "mpmath"], cse=True)
    found = np.empty((len(X), 1 + network.n_parameters))
    # A textbook's 1 - p, of a p that is 1 - e^-o, needs as many more bits as e^o has.
    largest = max(float(np.abs(z).max()) for z in reference.forward(network, parameters, X).pre_activations)
    with mpmath.workprec(200 + int(min(20_000, 3 * largest))):
        for row, (x, target) in enumerate(zip(X.tolist(), y.tolist(), strict=True)):
            given = [mpmath.mpf(value) for value in (*x, *target, *parameters.vector.tolist())]
            found[row] = [float(sympy.re(value)) for value in computed(*given)]
    return numbers_of_gradients(network, found[:, 0], found[:, 1:], share @ found[:, 1:])


def _sympy() -> Any:
    try:
        import sympy
    except ImportError as problem:
        raise MissingExtraError(
            "A gradient by SymPy needs sympy, which is not installed. Install it with pip install sympy."
        ) from problem
    return sympy
