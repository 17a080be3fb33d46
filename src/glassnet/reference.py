"""The truth: forward and backward pass in plain NumPy that reads like the mathematics, recorded in a `Trace`.

It shares the table rows of activations and losses with everything else, but does not walk the equations and knows no
kernel; every faster or derived path is held against it. Sums over inputs are taken in the canonical order, bias
first, inputs in order, every operation rounded: a row gives the same bits alone or in a batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glassnet.errors import DataError, UsageError
from glassnet.expressions import function, parse
from glassnet.losses import LINKS
from glassnet.network import FLOATS, FloatArray, Network, Parameters

_EXP_SHIFTED = parse("exp(o - m)")


@dataclass(frozen=True)
class Trace:
    """Every number of one pass, n rows. Without targets, what needs them is None; after `forward`, the derivatives are.

    pre_activations[l] (n, units), l from 0 for layer 1: z.   activations[l] (n, units): a; [0] is X.
    logits, probabilities (n, n_outputs): o and p.            row_losses (n,): one loss a row.
    loss: sum(row_weights * row_losses) / sum(row_weights).   penalty: l1 sum|W| + l2 / 2 sum W^2.
    objective: loss + penalty.                                deltas[l] (n, units): d row loss / d z.
    weight_gradients[l] (n_in, n_out), bias_gradients[l] (n_out,): of the objective.
    masks[l], unmasked[l] (n, units) of the hidden layers: a = mask * h with h = f(z); None without masks, where a = h.
    """

    network: Network
    parameters: Parameters
    X: FloatArray
    y: FloatArray | None
    row_weights: FloatArray
    pre_activations: tuple[FloatArray, ...]
    activations: tuple[FloatArray, ...]
    logits: FloatArray
    probabilities: FloatArray
    masks: tuple[FloatArray, ...] | None = None
    unmasked: tuple[FloatArray, ...] | None = None
    row_losses: FloatArray | None = None
    loss: float | None = None
    penalty: float | None = None
    objective: float | None = None
    deltas: tuple[FloatArray, ...] | None = None
    weight_gradients: tuple[FloatArray, ...] | None = None
    bias_gradients: tuple[FloatArray, ...] | None = None

    @property
    def gradient(self) -> FloatArray:
        """The gradient of the objective in the order of `Parameters.vector` (n_parameters,)."""
        if self.weight_gradients is None or self.bias_gradients is None:
            raise UsageError("A gradient needs targets and a backward pass; this trace is of a forward pass.")
        pairs = zip(self.weight_gradients, self.bias_gradients, strict=True)
        return np.concatenate([np.ravel(part) for pair in pairs for part in pair])


def _numbers(what: str, values: ArrayLike) -> FloatArray:
    """float32 and float64 arrays as they are, all else as float64, or an error that begins with `what`."""
    try:
        array = np.asarray(values)
    except ValueError as problem:
        raise DataError(f"{what} numbers; its rows have different lengths.") from problem
    if array.dtype in FLOATS:
        return array
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError) as problem:
        raise DataError(f"{what} numbers; got an array of {array.dtype}.") from problem


_FEW, _TOGETHER = 8192, 1 << 20
"""Numbers whose product BLAS makes without the help of other threads, which would have to be waited for; numbers that
are looked at together otherwise, so many that what a call takes by itself is little beside."""


def euclidean_norm(table: FloatArray, threads: int = 1) -> float:
    """The root of the sum of all squares of an array of floats; infinite or NaN where one is, or where they are large.

    But for roundings, and squares too small for the dtype, no row has a larger one. `threads` share a large array; the
    bits do not depend on them.

    >>> [euclidean_norm(np.array(numbers)) for numbers in ([[3.0, 4.0]], [1.0, np.inf], [1e200])]
    [5.0, inf, inf]
    """
    if table.size <= _FEW and table.flags.c_contiguous:
        return math.sqrt(np.vdot(table, table))
    pieces = _pieces(table)
    if threads == 1 or table.size < 4 * _TOGETHER:
        return math.sqrt(sum(map(_sum_of_squares, pieces)))
    with ThreadPoolExecutor(threads) as pool:
        return math.sqrt(sum(pool.map(_sum_of_squares, pieces)))


def _sum_of_squares(some: FloatArray) -> float:
    numbers = some.ravel()
    return float(np.einsum("i,i->", numbers, numbers))


def is_finite(table: FloatArray, threads: int = 1) -> bool:
    """Whether all numbers of an array of floats are finite.

    >>> is_finite(np.array([[1.0, 1e300]])), is_finite(np.array([1.0, np.inf])), is_finite(np.array([np.nan]))
    (True, False, False)
    """
    return _is_finite(table, euclidean_norm(table, threads))


def _is_finite(table: FloatArray, norm: float) -> bool:
    """The same where the norm is known: it is finite only where all numbers are; of large ones it is not."""
    return math.isfinite(norm) or all(_all(np.isfinite(some)) for some in _pieces(table))


def _pieces(table: FloatArray) -> Iterator[FloatArray]:
    """All of its numbers, some at a time, as they lie in memory where they lie together."""
    numbers = table.ravel("K") if table.flags.forc else table
    together = max(1, _TOGETHER // numbers[0].size)
    return (numbers[start : start + together] for start in range(0, len(numbers), together))


def _all(truths: NDArray[np.bool_]) -> bool:
    """`truths.all()`, which takes twice as long where they are some hundred."""
    return bool(np.count_nonzero(truths) == truths.size)


def checked_table(network: Network, X: ArrayLike) -> FloatArray:
    """X as an (n, n_features) float array: float32 stays, all else becomes float64; or an error that says why not.

    >>> checked_table(Network((2, 1)), [[1, 2]]).dtype
    dtype('float64')
    """
    return checked_table_and_norm(network, X)[0]


def checked_table_and_norm(network: Network, X: ArrayLike, threads: int = 1) -> tuple[FloatArray, float]:
    """The checked table, and its `euclidean_norm`, which the check has made.

    >>> checked_table_and_norm(Network((2, 1)), [[3, 4]])
    (array([[3., 4.]]), 5.0)
    """
    table = _numbers("X holds", X)
    if table.ndim != 2 or table.shape[1] != network.n_features or not len(table):
        raise DataError(
            f"X has one row per sample and one column per feature, (n, {network.n_features}) with n of 1 or more; "
            f"got shape {table.shape}."
        )
    norm = euclidean_norm(table, threads)
    if _is_finite(table, norm):
        return table, norm
    row = next(row for row, numbers in enumerate(table) if not np.isfinite(numbers).all())
    column = int(np.argmin(np.isfinite(table[row])))
    raise DataError(f"X holds finite numbers; row {row}, column {column} is {table[row, column]}.")


def checked_parameters(network: Network, parameters: Parameters, dtype: Any) -> Parameters:
    """Parameters of one network of these sizes, in the type of X; the very same where they are that already.

    >>> checked_parameters(Network((1, 1)), Parameters(Network((1, 1)), np.ones(2)), np.float32).vector.dtype
    dtype('float32')
    """
    if not isinstance(parameters, Parameters):
        raise UsageError(f"parameters are a gn.Parameters; got {type(parameters).__name__}. See gn.initialize.")
    if parameters.network.sizes != network.sizes or parameters.vector.ndim != 1:
        raise UsageError(
            f"parameters are those of one network of sizes {network.sizes}; got sizes {parameters.network.sizes} and "
            f"a vector of shape {parameters.vector.shape}."
        )
    if parameters.vector.dtype == dtype:
        return parameters
    return Parameters(network, parameters.vector.astype(dtype))


def checked_targets(network: Network, y: ArrayLike, n: int, dtype: Any) -> FloatArray:
    """y as an (n, n_outputs) array that the loss can mean; a flat y is one output.

    >>> checked_targets(Network((2, 1)), [0, 1], 2, np.float64).shape
    (2, 1)
    """
    targets = _numbers("y holds", y).astype(dtype, copy=False)
    if targets.ndim == 1 and network.n_outputs == 1:
        targets = targets[:, np.newaxis]
    row_of_loss = network.loss_row
    if targets.shape != (n, network.n_outputs):
        hint = " Classes are given one-hot, a column each." if row_of_loss.sums_over_outputs else ""
        raise DataError(
            f"y has one row per row of X and one column per output, ({n}, {network.n_outputs}); "
            f"got shape {targets.shape}.{hint}"
        )
    kind = row_of_loss.targets
    if kind in ("unit", "classes"):
        rule, good = "numbers from 0 to 1", (targets >= 0) & (targets <= 1)  # NaN is neither
    elif kind == "nonnegative":
        rule, good = "numbers of 0 or more", np.isfinite(targets) & (targets >= 0)
    else:
        rule, good = "finite numbers", np.isfinite(targets)
    if kind == "classes" and _all(good):
        # Rounded to seven digits in float32, a share per class sums to 1 only that closely.
        rule, good = "rows that sum to 1", np.abs(np.einsum("ij->i", targets) - 1) < 1e-5
    if not _all(good):
        row = np.argwhere(~good)[0][0]
        raise DataError(f"{network.loss} takes targets that are {rule}; row {row} is {targets[row].tolist()}.")
    return targets


def checked_row_weights(row_weights: ArrayLike | None, n: int, dtype: Any) -> FloatArray:
    """Row weights (n,), of 0 or more and not all 0; ones where none are given.

    >>> checked_row_weights(None, 2, np.float64)
    array([1., 1.])
    """
    if row_weights is None:
        return np.ones(n, dtype)
    weights = _numbers("row_weights are", row_weights).astype(dtype, copy=False)
    if weights.shape != (n,):
        raise DataError(f"row_weights has one number per row, ({n},); got shape {weights.shape}.")
    good = np.isfinite(weights) & (weights >= 0)
    if not good.all():
        row = int(np.argmin(good))
        raise DataError(f"row_weights are finite and 0 or more; row {row} has {weights[row]}.")
    if not weights.any():
        raise DataError("row_weights are not all 0; all of these are.")
    return weights


def checked_masks(network: Network, masks: Sequence[ArrayLike], n: int, dtype: Any) -> tuple[FloatArray, ...]:
    """Dropout masks as arrays (n, units), one per hidden layer.

    >>> [mask.shape for mask in checked_masks(Network((2, 3, 1)), [np.ones((4, 3))], 4, np.float32)]
    [(4, 3)]
    """
    arrays = tuple(_numbers("A mask holds", mask).astype(dtype, copy=False) for mask in masks)
    shapes, expected = [mask.shape for mask in arrays], [(n, units) for units in network.sizes[1:-1]]
    if shapes != expected:
        raise DataError(
            f"masks has one array per hidden layer, a row per row of X and a column per unit, {expected}; "
            f"got {len(shapes)}: {shapes[: len(expected) + 1]}. See network.dropout_masks."
        )
    return arrays


@np.errstate(all="ignore")  # what overflows is infinite, and the trace shows it
def forward(
    network: Network,
    parameters: Parameters,
    X: ArrayLike,
    y: ArrayLike | None = None,
    row_weights: ArrayLike | None = None,
    l1: float = 0.0,
    l2: float = 0.0,
    masks: Sequence[ArrayLike] | None = None,
) -> Trace:
    """One forward pass, recorded; with `y` also the losses.

    X (n, n_features), y (n, n_outputs) or (n,) for one output, row_weights (n,), masks (n, units) per hidden layer.
    z = b + x1 w1 + x2 w2 + ...,  a = f(z), or with dropout a = mask * f(z) in hidden layers,  p = link(logits).
    All in the type of X.  Raises `DataError` where X, y or masks do not fit, `UsageError` where the parameters do not.

    >>> net = Network((2, 1), loss="mean_squared_error")
    >>> parameters = Parameters(net, np.array([1.0, 2.0, 0.5]))
    >>> trace = forward(net, parameters, [[3.0, 4.0]], [10.5])
    >>> trace.logits.tolist(), trace.loss
    ([[11.5]], 1.0)
    """
    X = checked_table(network, X)
    weights = checked_row_weights(row_weights, len(X), X.dtype)
    parameters = checked_parameters(network, parameters, X.dtype)
    dropped = () if masks is None else checked_masks(network, masks, len(X), X.dtype)
    pre_activations: list[FloatArray] = []
    unmasked: list[FloatArray] = []
    activations: list[FloatArray] = [X]
    for layer in range(network.n_layers):
        W, b, a = parameters.weights[layer], parameters.biases[layer], activations[-1]
        z = np.broadcast_to(b, (len(X), len(b)))
        for i in range(len(W)):
            z = z + a[:, i, np.newaxis] * W[i]
        pre_activations.append(z)
        h = function(network.activation_row(layer + 1).value, ("z",))(z)
        unmasked.append(h)
        activations.append(dropped[layer] * h if layer < len(dropped) else h)
    logits = activations[-1]

    loss_row, names = network.loss_row, ("o", "y", "p", "m", "s")
    link = LINKS[loss_row.link]
    m = logits.max(axis=1, keepdims=True)
    s = np.zeros_like(m)
    if link.over_classes:
        exponential = function(_EXP_SHIFTED, ("o", "m"))
        for k in range(network.n_outputs):
            s = s + exponential(logits[:, k, np.newaxis], m)
    p = function(link.value, ("o", "m", "s"))(logits, m, s)
    trace = Trace(network, parameters, X, None, weights, tuple(pre_activations), tuple(activations), logits, p)
    if masks is not None:
        trace = replace(trace, masks=dropped, unmasked=tuple(unmasked[:-1]))
    if y is None:
        return trace

    targets = checked_targets(network, y, len(X), X.dtype)
    terms = function(loss_row.value, names)(logits, targets, p, m, s)
    row_losses = np.zeros(len(X), X.dtype)
    for k in range(network.n_outputs):
        row_losses = row_losses + terms[:, k]
    if not loss_row.sums_over_outputs:
        row_losses = row_losses / X.dtype.type(network.n_outputs)
    loss = float(np.sum(weights * row_losses) / np.sum(weights))
    # What is not asked for is 0, however large the weights: 0 times an infinite sum would be NaN.
    absolute = sum(float(np.sum(np.abs(W))) for W in parameters.weights) if l1 else 0.0
    squared = sum(float(np.sum(W**2)) for W in parameters.weights) if l2 else 0.0
    penalty = l1 * absolute + l2 / 2 * squared
    return replace(trace, y=targets, row_losses=row_losses, loss=loss, penalty=penalty, objective=loss + penalty)


@np.errstate(all="ignore")  # what overflows is infinite, and the trace shows it
def backward(
    network: Network,
    parameters: Parameters,
    X: ArrayLike,
    y: ArrayLike,
    row_weights: ArrayLike | None = None,
    l1: float = 0.0,
    l2: float = 0.0,
    masks: Sequence[ArrayLike] | None = None,
) -> Trace:
    """A forward and a backward pass, recorded.

    delta_L = d row loss / d z_L;  delta_l = (delta_(l+1) W_(l+1)^T) * f'(z_l), with dropout mask_l * that;
    dW_l = a_(l-1)^T (share * delta_l) + l1 sign(W_l) + l2 W_l;  db_l = sum of share * delta_l,
    with share = row_weights / sum(row_weights). Shapes and errors as `forward`.

    >>> net = Network((2, 1), loss="mean_squared_error")
    >>> parameters = Parameters(net, np.array([1.0, 2.0, 0.5]))
    >>> backward(net, parameters, [[3.0, 4.0]], [10.5]).gradient.tolist()
    [6.0, 8.0, 2.0]
    """
    trace = forward(network, parameters, X, y, row_weights, l1, l2, masks)
    assert trace.y is not None
    parameters = trace.parameters
    loss_row = network.loss_row
    upstream = function(loss_row.derivative, ("o", "y", "p"))(trace.logits, trace.y, trace.probabilities)
    if not loss_row.sums_over_outputs:
        upstream = upstream / trace.X.dtype.type(network.n_outputs)
    share = (trace.row_weights / np.sum(trace.row_weights))[:, np.newaxis]
    deltas: list[FloatArray] = []
    weight_gradients: list[FloatArray] = []
    bias_gradients: list[FloatArray] = []
    # f' is stated in z and f(z), which a mask leaves as they are.
    values = trace.activations[1:] if trace.unmasked is None else (*trace.unmasked, trace.logits)
    for layer in reversed(range(network.n_layers)):
        derivative = function(network.activation_row(layer + 1).derivative, ("z", "a"))
        W, z = parameters.weights[layer], trace.pre_activations[layer]
        if trace.masks is not None and layer < len(trace.masks):
            upstream = trace.masks[layer] * upstream
        delta = upstream * derivative(z, values[layer])
        deltas.insert(0, delta)
        dW = trace.activations[layer].T @ (share * delta)
        weight_gradients.insert(0, dW + W.dtype.type(l1) * np.sign(W) + W.dtype.type(l2) * W)
        bias_gradients.insert(0, np.sum(share * delta, axis=0))
        upstream = delta @ W.T
    return replace(
        trace,
        deltas=tuple(deltas),
        weight_gradients=tuple(weight_gradients),
        bias_gradients=tuple(bias_gradients),
    )
