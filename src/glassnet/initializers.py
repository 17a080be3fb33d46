"""The initialisers: how the parameters of a layer are drawn before training, one row each.

An equation is in the expression language: `n_in` and `n_out` are the layer's inputs and outputs, `u` stands for numbers
evenly spread over [0, 1) and `n` for standard normal numbers, a new one for every weight. What is printed is what is
drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from glassnet.errors import UsageError, did_you_mean
from glassnet.expressions import function, parse, symbols
from glassnet.randomness import Stream

Floats = NDArray[np.float64]
Shape = tuple[int, int]


@dataclass(frozen=True)
class InitializerRow:
    """An initialiser of a layer's weights.

    `draw(rng, (n_in, n_out))` gives the weights, (n_in, n_out) float64, of the numbers of `rng` from its element
    `first` on, row by row; where `rng.network` is an array of shape (...), it gives (..., n_in, n_out). `biases` says
    whether biases are drawn in the same way, as a row of shape (1, n_out), or are zeros. `equation` is in words where
    the language has none.

    >>> INITIALIZERS["he_normal"].equation
    'sqrt(2 / n_in) * n'
    """

    name: str
    equation: str
    source: str
    draw: Callable[[Stream, Shape], Floats]
    biases: Literal["zeros", "drawn"] = "zeros"


def initializer_row(name: str) -> InitializerRow:
    """The row of that name.

    Raises:
        UsageError: there is none; the message has the nearest name.

    >>> from glassnet.randomness import Purpose
    >>> initializer_row("glorot_uniform").draw(Stream(0, Purpose.INITIALIZE), (2, 2))
    array([[-0.78645407,  1.19577374],
           [ 1.00778917, -0.27443593]])
    """
    row = INITIALIZERS.get(name)
    if row is None:
        raise UsageError(
            f"An initializer is one of {', '.join(INITIALIZERS)}; {name!r} is not.{did_you_mean(name, INITIALIZERS)}"
        )
    return row


def _row(name: str, equation: str, source: str, biases: Literal["zeros", "drawn"] = "zeros") -> InitializerRow:
    """A row whose numbers are drawn by evaluating its equation, each apart from the others."""
    expression = parse(equation)
    weight = function(expression, ("u", "n", "n_in", "n_out"))
    random = set(symbols(expression)) & {"u", "n"}

    def draw(rng: Stream, shape: Shape) -> Floats:
        size = shape[0] * shape[1]
        drawn = rng.uniform(size) if "u" in random else rng.normal(size)
        numbers = drawn.reshape(*drawn.shape[:-1], *shape)
        result: Floats = weight(numbers, numbers, float(shape[0]), float(shape[1]))
        return result

    return InitializerRow(name, equation, source, draw, biases)


def _zeros(rng: Stream, shape: Shape) -> Floats:
    return np.zeros((*np.shape(rng.network), *shape))


def _orthogonal(rng: Stream, shape: Shape) -> Floats:
    """Orthonormal columns (rows where there are more columns than rows), every direction equally likely.

    Gram and Schmidt's way, once more over its own result to take off what rounding left. Written out, for a library's
    QR has other bits on other processors: sums run over the rows one after the other.
    """
    size = shape[0] * shape[1]
    drawn = rng.normal(size)
    columns = drawn.reshape(*drawn.shape[:-1], *shape)
    wide = shape[0] < shape[1]
    if wide:
        columns = np.swapaxes(columns, -1, -2).copy()
    for _ in range(2):
        for j in range(columns.shape[-1]):
            column = columns[..., j : j + 1]
            column /= np.sqrt(_sum_of_rows(column * column))
            rest = columns[..., j + 1 :]
            rest -= column * _sum_of_rows(column * rest)
    return np.swapaxes(columns, -1, -2).copy() if wide else columns


def _sum_of_rows(array: Floats) -> Floats:
    """(..., m, n) to (..., 1, n), added in order, whatever the processor's vectors are."""
    total: Floats = np.cumsum(array, axis=-2)[..., -1:, :]
    return total


_GLOROT = "Glorot & Bengio, Understanding the difficulty of training deep feedforward neural networks (2010)"
_HE = "He, Zhang, Ren & Sun, Delving deep into rectifiers (2015); not truncated, as in the paper"
_LECUN = "LeCun, Bottou, Orr & Müller, Efficient backprop (1998)"

INITIALIZERS: dict[str, InitializerRow] = {
    row.name: row
    for row in (
        _row("standard_normal", "n", "the notebook that glassnet grew from: every parameter, biases too", "drawn"),
        _row("glorot_uniform", "sqrt(6 / (n_in + n_out)) * (2 * u - 1)", _GLOROT),
        _row("glorot_normal", "sqrt(2 / (n_in + n_out)) * n", _GLOROT),
        _row("he_uniform", "sqrt(6 / n_in) * (2 * u - 1)", _HE),
        _row("he_normal", "sqrt(2 / n_in) * n", _HE),
        _row("lecun_uniform", "sqrt(3 / n_in) * (2 * u - 1)", _LECUN),
        _row("lecun_normal", "sqrt(1 / n_in) * n", _LECUN),
        InitializerRow(
            "orthogonal",
            "columns of n, each made orthogonal to those before it and of length 1",
            "Saxe, McClelland & Ganguli, Exact solutions to the nonlinear dynamics of learning (2013)",
            _orthogonal,
        ),
        InitializerRow("zeros", "0", "the start of a convex problem, such as a network without hidden layers", _zeros),
    )
}
"""Every initialiser by its name."""
