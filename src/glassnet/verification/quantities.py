"""The numbers of a pass in order of computation, and how far rounding can move each of them.

A `Numbers` holds, under the name of a kind of quantity, one array for all its units: `z1` (n, units), `loss` (n,),
`dloss/dw1` (n, n_in, n_out), `dL/dw1` (n_in, n_out). Whoever computes a pass, or a part of it, fills one.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from glassnet.equations import Symbol, equations
from glassnet.expressions import function
from glassnet.network import FloatArray, Network, Parameters
from glassnet.reference import Trace

Numbers = dict[str, FloatArray]


def order_of(network: Network) -> list[str]:
    """The kinds of quantities in the order in which they are computed.

    >>> order_of(Network((2, 1), loss="mean_squared_error"))
    ['x', 'y', 'z1', 'o', 'p', 'loss', 'L', 'delta1', 'dloss/dw1', 'dL/dw1', 'dloss/db1', 'dL/db1', 'predicted']
    """
    kinds = (kind_of(equation.target) for equation in equations(network))
    return ["x", "y", *dict.fromkeys(kind for kind in kinds if kind not in ("m", "s")), "predicted"]


def kind_of(quantity: Symbol) -> str:
    """The kind of a quantity: its name without indices."""
    return str(replace(quantity, axes=()))


def name_of(network: Network, kind: str, index: tuple[int, ...]) -> str:
    """One quantity's name as the equations print it; `index` counts from 0, without the row.

    >>> name_of(Network((2, 2, 1)), "dloss/dw1", (1, 0)), name_of(Network((2, 2, 1)), "o", (0,))
    ('dloss/dw1_2_1', 'o')
    """
    if kind in ("o", "p", "y") and network.n_outputs == 1:
        return kind
    numbers = [str(n + 1) for n in index]
    return "_".join([kind, *numbers]) if kind[-1].isdigit() else kind + "_".join(numbers)


def numbers_of(trace: Trace) -> Numbers:
    """What the reference says of every quantity; a row's own derivatives are products of its activations and deltas."""
    assert trace.deltas is not None
    assert trace.row_losses is not None
    assert trace.weight_gradients is not None
    assert trace.bias_gradients is not None
    found: Numbers = {"x": trace.X, "o": trace.logits, "p": trace.probabilities, "loss": trace.row_losses}
    found["L"] = np.array(trace.loss)
    for layer, delta in enumerate(trace.deltas, start=1):
        found[f"z{layer}"] = trace.pre_activations[layer - 1]
        if layer < trace.network.n_layers:
            found[f"a{layer}"] = trace.activations[layer]
        found[f"delta{layer}"] = found[f"dloss/db{layer}"] = delta
        found[f"dloss/dw{layer}"] = trace.activations[layer - 1][:, :, np.newaxis] * delta[:, np.newaxis, :]
        found[f"dL/dw{layer}"] = trace.weight_gradients[layer - 1]
        found[f"dL/db{layer}"] = trace.bias_gradients[layer - 1]
    return found


def numbers_of_gradients(
    network: Network, losses: FloatArray | None, gradients: FloatArray, gradient: FloatArray | None = None
) -> Numbers:
    """Row losses (n,), gradients of each (n, n_parameters) and that of them all (n_parameters,), taken apart.

    As z = b + ..., the derivative by a unit's bias is its delta.
    """
    found: Numbers = {} if losses is None else {"loss": losses}
    apart = Parameters(network, gradients)
    for layer, (dW, db) in enumerate(zip(apart.weights, apart.biases, strict=True), start=1):
        found[f"dloss/dw{layer}"] = dW
        found[f"dloss/db{layer}"] = found[f"delta{layer}"] = db
    if gradient is not None:
        together = Parameters(network, gradient)
        for layer, (dW, db) in enumerate(zip(together.weights, together.biases, strict=True), start=1):
            found[f"dL/dw{layer}"], found[f"dL/db{layer}"] = dW, db
    return found


@np.errstate(all="ignore")  # what overflows has an infinite size, and is not judged
def sizes_of(trace: Trace) -> Numbers:
    """How large what was added up to a number is: times the rounding of the arithmetic, about how far off it may be.

    A sum is as large as itself and its terms, squared, summed, and the root taken: 1 - 1 + 1e-9 has the size of 1. An
    error of z goes on as f'(z) times that, one of f'(z) is f''(z) times that; and back through the layers likewise.
    """
    network = trace.network
    assert trace.y is not None
    assert trace.row_losses is not None
    assert trace.deltas is not None
    a: list[FloatArray] = [np.abs(trace.X)]
    slopes: list[FloatArray] = []
    bends: list[FloatArray] = []
    found: Numbers = {"x": a[0], "y": np.abs(trace.y)}
    for layer in range(1, network.n_layers + 1):
        W, b, z = trace.parameters.weights[layer - 1], trace.parameters.biases[layer - 1], trace.pre_activations
        of_z = np.sqrt(a[-1] ** 2 @ W**2 + b**2 + z[layer - 1] ** 2)
        slope, bend = _slope_and_bend(trace, layer)
        slopes.append(slope)
        bends.append(bend * of_z)
        a.append(np.hypot(trace.activations[layer], slope * of_z))
        found[f"z{layer}"], found[f"a{layer}"] = of_z, a[-1]
    found["o"] = o = found.pop(f"a{network.n_layers}")
    p, y, widest = np.abs(trace.probabilities), np.abs(trace.y), o.max(axis=1, keepdims=True)
    found["p"] = o if network.loss_row.link == "identity" else p * (1 + widest)
    loss = np.sum((1 + p + y) * (1 + widest), axis=1) + np.abs(trace.row_losses)
    delta = 2 * (found["p"] + y)  # what p - y and 2 (o - y) are made of
    if not network.loss_row.sums_over_outputs:
        loss, delta = loss / network.n_outputs, delta / network.n_outputs
    found["loss"], found["L"] = loss, np.average(loss, weights=trace.row_weights)
    arriving = delta
    for layer in range(network.n_layers, 0, -1):
        if layer < network.n_layers:
            W, after = trace.parameters.weights[layer], trace.deltas[layer]
            arrived = np.sqrt(after**2 @ W.T**2 + (after @ W.T) ** 2)
            arriving = np.sqrt(delta**2 @ W.T**2 + arrived**2)
        else:
            arrived = arriving
        delta = np.hypot(slopes[layer - 1] * arriving, arrived * np.hypot(1, bends[layer - 1]))
        found[f"delta{layer}"] = found[f"dloss/db{layer}"] = delta
        found[f"dloss/dw{layer}"] = dW = a[layer - 1][:, :, np.newaxis] * delta[:, np.newaxis, :]
        found[f"dL/dw{layer}"] = np.average(dW, axis=0, weights=trace.row_weights)
        found[f"dL/db{layer}"] = np.average(delta, axis=0, weights=trace.row_weights)
    return found


def _slope_and_bend(trace: Trace, layer: int) -> tuple[FloatArray, FloatArray]:
    """|f'(z)| and, by a difference, |f''(z)|."""
    row, z = trace.network.activation_row(layer), trace.pre_activations[layer - 1]
    value, derivative = function(row.value, ("z",)), function(row.derivative, ("z", "a"))
    slope, above, below = (np.broadcast_to(derivative(x, value(x)), z.shape) for x in (z, z + 1e-3, z - 1e-3))
    return np.abs(slope), np.abs(above - below) / 2e-3


def rows_at_a_kink(trace: Trace, sizes: Numbers, rounding: float) -> list[tuple[int, str]]:
    """Rows in which a number lies on a kink as far as this rounding can tell, each with the quantity.

    There the derivative is either side's, and it is a matter of the order of a sum which.
    """
    network, found = trace.network, []
    for layer in range(1, network.n_layers + 1):
        z = trace.pre_activations[layer - 1]
        for kink in network.activation_row(layer).kinks:
            near = np.abs(z - kink) <= rounding * (sizes[f"z{layer}"] + abs(kink))
            found += [(int(row), name_of(network, f"z{layer}", (int(j),))) for row, j in np.argwhere(near)]
    if network.loss_row.kink_at_target:
        assert trace.y is not None
        near = np.abs(trace.logits - trace.y) <= rounding * (sizes["o"] + np.abs(trace.y))
        found += [(int(row), name_of(network, "o", (int(k),))) for row, k in np.argwhere(near)]
    return found
