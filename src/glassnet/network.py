"""`Network`, what a network is, and `Parameters`, its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.activations import ActivationRow, activation_row
from glassnet.errors import UsageError
from glassnet.initializers import initializer_row
from glassnet.losses import LossRow, loss_row
from glassnet.randomness import Purpose, Stream

FloatArray = NDArray[np.floating[Any]]

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
"""The types that numbers are computed in."""


@dataclass(frozen=True, init=False)
class Network:
    """A dense network: sizes, activations and a loss; frozen and hashable, without any parameters.

    `sizes`: the units of every layer, inputs first, outputs last.
    `activations`: one name for every hidden layer, or a tuple with one per hidden layer; one more sets the output
    layer's, which is identity otherwise. Kept as a tuple with one name per layer, the output's last.
    `loss`: a name of `losses.LOSSES`, perhaps with its parameter, `quantile(0.9)`; the link from logits to
    probabilities follows from it.

    Layer l (1 to L) computes z = b + x W and a = f(z). Raises `UsageError` for what is no network.

    >>> net = Network(sizes=(2, 2, 1), activations="relu", loss="binary_cross_entropy")
    >>> net.activations, net.n_parameters
    (('relu', 'identity'), 9)
    """

    sizes: tuple[int, ...]
    activations: tuple[str, ...]
    loss: str

    def __init__(
        self, sizes: Sequence[int], activations: str | Sequence[str] = "relu", loss: str = "binary_cross_entropy"
    ) -> None:
        sizes = tuple(sizes)
        if len(sizes) < 2 or any(isinstance(n, bool) or not hasattr(n, "__index__") or n < 1 for n in sizes):
            raise UsageError(
                f"sizes names the units of at least two layers, inputs first, each 1 or more; got {sizes}."
            )
        sizes = tuple(int(n) for n in sizes)
        n_hidden = len(sizes) - 2
        if isinstance(activations, str):
            activation_row(activations)  # refused also where there is no hidden layer to use it
            activations = (activations,) * n_hidden
        names = tuple(activations)
        if len(names) == n_hidden:
            names = (*names, "identity")
        if len(names) != n_hidden + 1:
            raise UsageError(
                f"activations is one name, or has one per hidden layer ({n_hidden} here), and one more for the output "
                f"if that is not to be identity; got {len(names)}: {names}."
            )
        rows = [activation_row(name) for name in names]
        row = loss_row(loss)
        if row.link != "identity" and rows[-1].name != "identity":
            raise UsageError(
                f"{loss} puts its own link, {row.link}, behind the output layer, which must be identity then; "
                f"got {rows[-1].name}. Leave the output's activation out."
            )
        if row.sums_over_outputs and sizes[-1] == 1:
            raise UsageError(
                f"{loss} chooses among two or more classes, one output each; got one output. "
                "For two classes with one output use binary_cross_entropy."
            )
        object.__setattr__(self, "sizes", sizes)
        object.__setattr__(self, "activations", tuple(row.name for row in rows))
        object.__setattr__(self, "loss", loss.replace(" ", ""))

    @property
    def n_layers(self) -> int:
        """Layers with parameters: hidden ones and the output."""
        return len(self.sizes) - 1

    @property
    def n_features(self) -> int:
        """Inputs."""
        return self.sizes[0]

    @property
    def n_outputs(self) -> int:
        """Outputs."""
        return self.sizes[-1]

    @cached_property
    def n_parameters(self) -> int:
        """Weights and biases together."""
        return sum((n_in + 1) * n_out for n_in, n_out in pairwise(self.sizes))

    @property
    def loss_row(self) -> LossRow:
        """The loss's row of the table, its parameter put in."""
        return loss_row(self.loss)

    def activation_row(self, layer: int) -> ActivationRow:
        """The activation of layer 1 to `n_layers`."""
        return activation_row(self.activations[layer - 1])

    def parameter_names(self) -> list[str]:
        """The name of every entry of the flat vector: `w1_2_1` runs from input 2 to unit 1 of layer 1.

        >>> Network((2, 1)).parameter_names()
        ['w1_1_1', 'w1_2_1', 'b1_1']
        """
        names = []
        for layer, (n_in, n_out) in enumerate(pairwise(self.sizes), start=1):
            names += [f"w{layer}_{i}_{j}" for i in range(1, n_in + 1) for j in range(1, n_out + 1)]
            names += [f"b{layer}_{j}" for j in range(1, n_out + 1)]
        return names


class Parameters:
    """All weights and biases of a network in one flat `vector`, seen as matrices through views.

    `vector` (..., n_parameters): W1 row by row, b1, W2, b2, ...; leading axes stack several networks.
    `weights[l]` (..., n_in, n_out) and `biases[l]` (..., n_out), l from 0: writing to them writes to the vector.

    >>> parameters = Parameters(Network((2, 1)), np.array([1.0, 2.0, 3.0]))
    >>> parameters.biases[0][0] = 7
    >>> parameters.weights[0].tolist(), parameters.vector.tolist()
    ([[1.0], [2.0]], [1.0, 2.0, 7.0])
    """

    def __init__(self, network: Network, vector: FloatArray) -> None:
        vector = np.asarray(vector)
        if vector.dtype not in FLOATS or vector.shape[-1:] != (network.n_parameters,):
            raise UsageError(
                f"The vector of a network of sizes {network.sizes} holds {network.n_parameters} floats; "
                f"got shape {vector.shape} of {vector.dtype}."
            )
        self.network = network
        self.vector = vector

    @cached_property
    def weights(self) -> tuple[FloatArray, ...]:
        """The matrices, layer by layer: views of `vector`."""
        stack, found, at = self.vector.shape[:-1], [], 0
        for n_in, n_out in pairwise(self.network.sizes):
            found.append(self.vector[..., at : at + n_in * n_out].reshape(*stack, n_in, n_out))
            at += (n_in + 1) * n_out
        return tuple(found)

    @cached_property
    def biases(self) -> tuple[FloatArray, ...]:
        """The biases, layer by layer: views of `vector`."""
        found, at = [], 0
        for n_in, n_out in pairwise(self.network.sizes):
            found.append(self.vector[..., at + n_in * n_out : at + (n_in + 1) * n_out])
            at += (n_in + 1) * n_out
        return tuple(found)

    @classmethod
    def from_layers(
        cls, network: Network, weights: Sequence[FloatArray], biases: Sequence[FloatArray], dtype: Any = None
    ) -> Parameters:
        """Parameters from a list of weight matrices (n_in, n_out) and one of bias vectors (n_out,).

        >>> Parameters.from_layers(Network((1, 1)), [[[2.0]]], [[3.0]]).vector.tolist()
        [2.0, 3.0]
        """
        shapes = list(pairwise(network.sizes))
        given = [(np.shape(w), np.shape(b)) for w, b in zip(weights, biases, strict=False)]
        if len(weights) != len(biases) or given != [((n_in, n_out), (n_out,)) for n_in, n_out in shapes]:
            raise UsageError(
                f"A network of sizes {network.sizes} has weights of shapes {shapes}, each with biases (n_out,); "
                f"got {given}."
            )
        parts = [np.ravel(part) for pair in zip(weights, biases, strict=True) for part in pair]
        return cls(network, np.concatenate(parts).astype(dtype or np.result_type(*parts, np.float32)))

    def copy(self) -> Parameters:
        """The same numbers in a vector of their own."""
        return Parameters(self.network, self.vector.copy())

    def __reduce__(self) -> tuple[Any, ...]:
        return Parameters, (self.network, self.vector)  # matrices that were pickled would be views of nothing

    def __repr__(self) -> str:
        return f"Parameters(sizes={self.network.sizes}, shape={self.vector.shape}, dtype={self.vector.dtype})"


def weight_mask(network: Network) -> NDArray[np.bool_]:
    """Which entries of the flat vector are weights; penalties and weight decay leave biases alone.

    >>> weight_mask(Network((2, 1))).tolist()
    [True, True, False]
    """
    mask = Parameters(network, np.ones(network.n_parameters))
    for bias in mask.biases:
        bias[:] = 0
    return mask.vector.astype(bool)


def initialize(
    network: Network,
    random_state: int = 0,
    initializer: str | None = None,
    *,
    start: int | NDArray[np.integer[Any]] = 0,
    dtype: Any = np.float64,
) -> Parameters:
    """Initial parameters, drawn by `initializers.INITIALIZERS[initializer]`.

    Where it is left out every layer gets what suits its activation: he_normal for relu, leaky_relu, elu, silu and gelu;
    lecun_normal for selu; glorot_uniform for the rest.
    `start` numbers random starts under one `random_state`: start 7 of a population is this start 7, alone. An array of
    numbers (S,) gives a stack of starts, the vector (S, n_parameters).

    >>> net = Network((2, 2, 1))
    >>> initialize(net, random_state=0).vector.shape
    (9,)
    >>> bool((initialize(net, 0).vector == initialize(net, 0, start=1).vector).all())
    False
    """
    parameters = Parameters(network, np.zeros((*np.shape(start), network.n_parameters), dtype))
    at = 0
    for layer, (W, b) in enumerate(zip(parameters.weights, parameters.biases, strict=True), start=1):
        row = initializer_row(initializer or _SUITED.get(network.activations[layer - 1], "glorot_uniform"))
        rng = Stream(random_state, Purpose.INITIALIZE, network=start, first=at)
        n_weights, n_biases = W.shape[-2] * W.shape[-1], b.shape[-1]
        W[:] = row.draw(rng, (W.shape[-2], W.shape[-1]))
        if row.biases == "drawn":
            rng = Stream(random_state, Purpose.INITIALIZE, network=start, first=at + n_weights)
            b[:] = row.draw(rng, (1, n_biases))[..., 0, :]
        at += n_weights + n_biases
    return parameters


def checked_dropout(network: Network, dropout: float | Sequence[float]) -> tuple[float, ...]:
    """The rate at which units are dropped, one per hidden layer; one number is that of every hidden layer.

    Raises `UsageError` for what is no rate, 0 <= rate < 1, and for a network that has nothing to drop.

    >>> checked_dropout(Network((2, 3, 3, 1)), 0.5)
    (0.5, 0.5)
    """
    n_hidden = network.n_layers - 1
    rates = tuple(dropout) if isinstance(dropout, Sequence) else (dropout,)
    if any(not isinstance(rate, Real) or not 0 <= float(rate) < 1 for rate in rates):
        raise UsageError(
            f"dropout is a number from 0 to less than 1, or has one per hidden layer; got {dropout!r}. "
            "Half of the units is 0.5, none is 0."
        )
    if not n_hidden and any(rates):
        raise UsageError(
            f"dropout is of hidden units, and a network of sizes {network.sizes} has none; got {dropout!r}. "
            "Leave it out, or give the network a hidden layer."
        )
    if not isinstance(dropout, Sequence):
        return (float(dropout),) * n_hidden
    if len(rates) != n_hidden:
        raise UsageError(
            f"dropout is one number, or has one per hidden layer ({n_hidden} here); got {len(rates)}: {dropout!r}. "
            "A layer that is to be left whole has 0."
        )
    return tuple(map(float, rates))


def dropout_masks(
    network: Network,
    rates: float | Sequence[float],
    n: int,
    *,
    random_state: int,
    start: int | NDArray[np.integer[Any]] = 0,
    epoch: int,
    dtype: Any = np.float64,
) -> tuple[FloatArray, ...]:
    """What the units of every hidden layer are multiplied by in an epoch: 0, or 1 / (1 - rate), which keeps the mean.

    `rates` as `checked_dropout` takes them; `n` rows, numbered as in the training table; `start` as for `initialize`.
    With H hidden units in all, unit h of them (from 0, through all hidden layers) and row i (from 0) have the uniform
    number u of element i H + h of `Stream(random_state, Purpose.DROPOUT, start, epoch)`: the mask is 0 where
    u < rate. So it depends neither on `n` nor on the order in which rows are visited.

    Returns an array (n, units) per hidden layer; (S, n, units) where `start` is an array (S,). Both u and mask are
    float64, the mask at last rounded to `dtype`.
    Raises `UsageError` where the rates or a number are out of range.

    >>> dropout_masks(Network((2, 3, 1)), 0.5, 2, random_state=0, epoch=3)[0].tolist()
    [[0.0, 2.0, 2.0], [0.0, 0.0, 2.0]]
    """
    rates, hidden = checked_dropout(network, rates), network.sizes[1:-1]
    u = Stream(random_state, Purpose.DROPOUT, network=start, epoch=epoch).uniform(n * sum(hidden))
    of_layers = np.split(u.reshape(*np.shape(start), n, sum(hidden)), np.cumsum(hidden), axis=-1)[:-1]
    pairs = zip(of_layers, rates, strict=True)
    return tuple(np.where(of_layer < rate, 0.0, 1 / (1 - rate)).astype(dtype) for of_layer, rate in pairs)


_RELU_LIKE = ("relu", "leaky_relu", "elu", "silu", "gelu")
_SUITED = dict.fromkeys(_RELU_LIKE, "he_normal") | {"selu": "lecun_normal"}
