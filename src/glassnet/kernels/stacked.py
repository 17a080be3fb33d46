"""Many networks of one shape at once, as stacked NumPy arrays and matrix products: what training runs on.

Axis 0 counts networks (S), axis 1 units, axis 2 rows (n): rows last, so that sums over rows run along memory. Sums
are taken in whatever order BLAS takes them; exp, log and tanh are NumPy's. Held against `reference`, network by
network, in the tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.expressions import const, function, parse
from glassnet.losses import LINKS
from glassnet.network import FloatArray, Network, Parameters
from glassnet.sparse import SparseTable

_EXP_SHIFTED = parse("exp(o - m)")
_ONE = const(1)

# A pass frees all its arrays at once. glibc would hand that memory back to the system and fetch it anew, page by page,
# for the next pass, which took five times as long as the arithmetic. Having once freed a block of nearly 32 MiB (never
# touched, so never really taken) it keeps what is freed. Elsewhere this does nothing.
np.empty(31 << 20, np.uint8)


@dataclass(frozen=True)
class Pass:
    """A forward pass: per layer (S, units, n), and (S, n_outputs, n); `activations[0]` is X, transposed.

    `unmasked[l]` is f(z), which `masks[l]` (S, units, n) or (units, n), one per hidden layer where there are any,
    turns into `activations[l + 1]`; without a mask the two are the same array.
    """

    pre_activations: Sequence[FloatArray]
    unmasked: Sequence[FloatArray]
    masks: Sequence[FloatArray]
    activations: Sequence[FloatArray]
    logits: FloatArray
    probabilities: FloatArray
    largest: FloatArray
    exp_sum: FloatArray


def forward(
    network: Network, parameters: Parameters, X: FloatArray | SparseTable, masks: Sequence[FloatArray] | None = None
) -> Pass:
    """z = W^T a + b and a = f(z) for stacked parameters; X is (n, n_features) for all, or (S, n, n_features). A sparse
    one is for passes that go forward alone: there are no activations of it.

    With `masks` of X's dtype, (n, units) for all or (S, n, units) per hidden layer, a = mask * f(z) in hidden layers.

    >>> net = Network((1, 1), loss="mean_squared_error")
    >>> two = Parameters(net, np.array([[1.0, 0.0], [2.0, 5.0]]))
    >>> forward(net, two, np.array([[3.0]])).logits.ravel().tolist()
    [3.0, 11.0]
    """
    pre_activations, unmasked, activations = [], [], [] if isinstance(X, SparseTable) else [_turned(X)]
    turned_masks = [_turned(mask) for mask in masks or ()]
    for layer, (W, b) in enumerate(zip(parameters.weights, parameters.biases, strict=True), start=1):
        if layer == 1 and isinstance(X, SparseTable):
            z = np.stack([(X @ W_of_one).T for W_of_one in W])
        else:
            z = _turned(W) @ activations[-1]
        z += b[..., np.newaxis]
        pre_activations.append(z)
        h = function(network.activation_row(layer).value, ("z",), "library")(z)
        unmasked.append(h)
        activations.append(turned_masks[layer - 1] * h if layer <= len(turned_masks) else h)
    logits = activations[-1]
    link = LINKS[network.loss_row.link]
    m = s = logits[:, :1]  # only softmax reads them
    if link.over_classes:
        m = logits.max(axis=1, keepdims=True)
        s = function(_EXP_SHIFTED, ("o", "m"), "library")(logits, m).sum(axis=1, keepdims=True)
    p = function(link.value, ("o", "m", "s"), "library")(logits, m, s)
    return Pass(pre_activations, unmasked, turned_masks, activations, logits, p, m, s)


def _turned(array: FloatArray) -> FloatArray:
    return np.swapaxes(array, -1, -2)


def row_losses(network: Network, done: Pass, y: FloatArray) -> FloatArray:
    """The loss of every row (S, n); y is (n, n_outputs) for all, or (S, n, n_outputs)."""
    row = network.loss_row
    terms = function(row.value, ("o", "y", "p", "m", "s"), "library")(
        done.logits, _turned(y), done.probabilities, done.largest, done.exp_sum
    )
    total: FloatArray = terms[:, 0] if network.n_outputs == 1 else terms.sum(axis=1)
    return total if row.sums_over_outputs or network.n_outputs == 1 else total / network.n_outputs


def penalties(parameters: Parameters, l1: float, l2: float) -> FloatArray:
    """l1 sum|W| + l2 / 2 sum W^2 for every network (S,)."""
    total = np.zeros(parameters.vector.shape[0], parameters.vector.dtype)
    with np.errstate(over="ignore"):  # infinite where the weights are beyond all measure
        for W in parameters.weights:
            if l1:
                total += l1 * np.abs(W).sum(axis=(-2, -1))
            if l2:
                total += l2 / 2 * (W * W).sum(axis=(-2, -1))
    return total


def backward(
    network: Network, parameters: Parameters, done: Pass, y: FloatArray, share: FloatArray, l1: float, l2: float
) -> FloatArray:
    """The gradient of the objective (S, n_parameters); `share` (n,) or (S, n) are row weights that sum to 1.

    Where the pass had masks, the gradient of the loss with these masks.
    """
    row = network.loss_row
    upstream = function(row.derivative, ("o", "y", "p"), "library")(done.logits, _turned(y), done.probabilities)
    # Everything after this line is linear in it, so the rows' weights enter once, here.
    upstream = upstream * share[..., np.newaxis, :]
    if not row.sums_over_outputs and network.n_outputs > 1:
        upstream /= network.n_outputs
    gradient = Parameters(network, np.empty_like(parameters.vector))
    for layer in reversed(range(network.n_layers)):
        activation = network.activation_row(layer + 1)
        delta = done.masks[layer] * upstream if layer < len(done.masks) else upstream
        if activation.derivative != _ONE:
            z, h = done.pre_activations[layer], done.unmasked[layer]
            delta = delta * function(activation.derivative, ("z", "a"), "library")(z, h)
        W, dW = parameters.weights[layer], gradient.weights[layer]
        np.matmul(done.activations[layer], _turned(delta), out=dW)
        delta.sum(axis=-1, out=gradient.biases[layer])
        if l1:
            dW += l1 * np.sign(W)
        if l2:
            dW += l2 * W
        if layer:
            upstream = W @ delta
    return gradient.vector


@dataclass(frozen=True)
class Health:
    """What ails networks on a table: hidden units that are 0 on every row (S,), one class for every row (S,)."""

    n_dead_units: NDArray[np.intp]
    one_class: NDArray[np.bool_]


def health(network: Network, done: Pass) -> Health:
    """Dead hidden units and constant classification of a pass over all training rows.

    >>> net = Network((1, 1, 1))
    >>> done = forward(net, Parameters(net, np.array([[-1.0, 0.0, 1.0, 0.5]])), np.array([[1.0], [2.0]]))
    >>> health(net, done)
    Health(n_dead_units=array([1]), one_class=array([ True]))
    """
    size = len(done.logits)
    n_dead = np.zeros(size, dtype=np.intp)
    for h in done.unmasked[:-1]:  # a unit that happens to be dropped on every row is not dead
        n_dead += (~h.any(axis=-1)).sum(axis=-1)
    link = network.loss_row.link
    if link == "sigmoid" and network.n_outputs == 1:
        classes: NDArray[Any] = done.logits[:, 0] > 0
    elif link == "softmax":
        classes = done.logits.argmax(axis=1)
    else:
        return Health(n_dead, np.zeros(size, dtype=bool))
    return Health(n_dead, (classes == classes[:, :1]).all(axis=-1))
