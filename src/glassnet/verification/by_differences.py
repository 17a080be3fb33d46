"""Gradients by differences of the loss alone: no derivative of any table is read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glassnet.checks import row_quotients
from glassnet.expressions import Expression, call, function
from glassnet.kernels import stacked
from glassnet.network import FloatArray, Network, Parameters
from glassnet.randomness import Purpose, Stream
from glassnet.reference import Trace
from glassnet.verification.quantities import Numbers, name_of

MOST_WORK = 2e9
"""Multiplications, about, that differences may take, a second or two: for each parameter 12 x rows x parameters."""


@dataclass(frozen=True)
class Differences:
    """`gradients` and `errors` (n, n_parameters): the quotients and how far off each may be, NaN and infinite
    where none was taken. `of` (k,): the parameters along which they were. `kinks`: for each quotient that would have
    stepped over one the parameter, the row, the quantity that has it, and how the quotient was taken instead."""

    gradients: FloatArray
    errors: FloatArray
    of: NDArray[np.intp]
    kinks: tuple[tuple[str, int, str, str], ...]


def differences(trace: Trace, sizes: Numbers, rounding: float = 2.0**-52) -> Differences:
    """Difference quotients of every row's loss along every parameter, or along a sample where that is too many.

    >>> from glassnet.reference import backward
    >>> from glassnet.verification.quantities import sizes_of
    >>> net = Network((1, 1), loss="mean_squared_error")
    >>> trace = backward(net, Parameters(net, np.array([2.0, 1.0])), [[3.0]], [5.0])
    >>> differences(trace, sizes_of(trace)).gradients.round(6).tolist()
    [[12.0, 4.0]]
    """
    network, n = trace.network, len(trace.X)
    of = sampled(network, int(MOST_WORK / (12 * n * network.n_parameters)))

    def evaluate(vectors: FloatArray) -> tuple[FloatArray, NDArray[np.bool_]]:
        with np.errstate(all="ignore"):
            done = stacked.forward(network, Parameters(network, vectors), trace.X)
            assert trace.y is not None
            return stacked.row_losses(network, done, trace.y), _sides(network, done, trace.y)

    noise = 4 * rounding * sizes["loss"]
    gradients = np.full((n, network.n_parameters), np.nan)
    errors = np.full((n, network.n_parameters), np.inf)
    found = row_quotients(evaluate, trace.parameters.vector, of, noise, 1e-9 * _flat(network, sizes)[of])
    gradients[:, of], errors[:, of] = found.values.T, found.errors.T
    names, sides = network.parameter_names(), _names_of_sides(network)
    kinks = [(names[kink.parameter], kink.row, sides[kink.side], kink.way) for kink in found.kinks]
    return Differences(gradients, errors, of, tuple(kinks))


def sampled(network: Network, most: int) -> NDArray[np.intp]:
    """All parameters where there are at most so many; else some of every layer's weights and biases, drawn with seed 0.

    >>> len(sampled(Network((784, 128, 10)), 200)), len(sampled(Network((2, 2, 1)), 200))
    (200, 9)
    """
    if network.n_parameters <= most:
        return np.arange(network.n_parameters)
    order = Stream(0, Purpose.CHECK).permutation(network.n_parameters)
    blocks = Parameters(network, np.zeros(network.n_parameters))
    for number, block in enumerate(part for pair in zip(blocks.weights, blocks.biases, strict=True) for part in pair):
        block[...] = number
    turn = np.empty(network.n_parameters, np.intp)  # how many of its own block come before a parameter in `order`
    for number in range(2 * network.n_layers):
        mine = order[blocks.vector[order] == number]
        turn[mine] = np.arange(len(mine))
    # One of each block, then another of each, until there are enough: small blocks are taken whole.
    ranked = np.lexsort((blocks.vector, turn))
    return np.sort(ranked[: max(most, 2 * network.n_layers)])


def _flat(network: Network, sizes: Numbers) -> FloatArray:
    """The sizes of a row's derivatives (n_parameters, n)."""
    n = len(sizes["loss"])
    parts = [
        sizes[f"dloss/d{of}{layer}"].reshape(n, -1) for layer in range(1, network.n_layers + 1) for of in ("w", "b")
    ]
    return np.concatenate(parts, axis=1).T


def seams(expression: Expression) -> list[Expression]:
    """What changes its sign where a function goes over from one formula to the next: at a kink, or a mere bend.

    >>> from glassnet.activations import ACTIVATIONS
    >>> [[str(seam) for seam in seams(ACTIVATIONS[name].textbook)] for name in ("relu", "elu", "softsign", "tanh")]
    [['z - 0'], ['z - 0'], ['z'], []]
    """
    if expression.op in ("const", "symbol"):
        return []
    found = [seam for operand in expression.args for seam in seams(operand)]
    if expression.op in ("lt", "le", "gt", "ge", "max", "min"):
        found.append(call("sub", *expression.args))
    elif expression.op in ("abs", "sign"):
        found.append(expression.args[0])
    return list(dict.fromkeys(found))


def _sides(network: Network, done: stacked.Pass, y: FloatArray) -> NDArray[np.bool_]:
    """On which side of every seam each row is (S, n, m)."""
    found = [
        function(seam, ("z",))(z) > 0
        for layer, z in enumerate(done.pre_activations, start=1)
        for seam in seams(network.activation_row(layer).textbook)
    ]
    numbers = (done.logits, y.T, done.probabilities)
    found += [function(seam, ("o", "y", "p"))(*numbers) > 0 for seam in seams(network.loss_row.textbook)]
    size, n = done.logits.shape[0], done.logits.shape[-1]
    return np.concatenate([np.empty((size, 0, n), bool), *found], axis=1).swapaxes(1, 2)


def _names_of_sides(network: Network) -> list[str]:
    names = []
    for layer in range(1, network.n_layers + 1):
        for _ in seams(network.activation_row(layer).textbook):
            names += [name_of(network, f"z{layer}", (j,)) for j in range(network.sizes[layer])]
    for _ in seams(network.loss_row.textbook):
        names += [name_of(network, "o", (k,)) for k in range(network.n_outputs)]
    return names
