"""The arithmetic of the race: ratios with intervals, growth, and the least time that a training can take. No clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

RESAMPLES = 4000


@dataclass(frozen=True)
class Interval:
    """A median, and between which bounds it lies in 95 of 100 bootstrap samples."""

    median: float
    low: float
    high: float


def ratio(theirs: ArrayLike, ours: ArrayLike, seed: int = 0) -> Interval:
    """How many times longer theirs took: the median over the rounds of the ratio within a round.

    Both were timed in the same rounds, one soon after the other, so what slows the machine for a while is in both.
    """
    ratios = np.asarray(theirs, float) / np.asarray(ours, float)
    drawn = np.random.default_rng(seed).integers(0, len(ratios), (RESAMPLES, len(ratios)))
    low, high = np.percentile(np.median(ratios[drawn], axis=1), [2.5, 97.5])
    return Interval(float(np.median(ratios)), float(low), float(high))


def growth(values: Sequence[float]) -> float:
    """By how much a later value is above an earlier one, at most: 1 where nothing grows, whatever falls."""
    lowest = np.minimum.accumulate(values)
    return float((np.asarray(values) / lowest).max())


@dataclass(frozen=True)
class Work:
    """What a training has to compute: floating-point operations (a fused one counts as two), and each exp and log."""

    flops: float
    transcendentals: float

    def seconds(self, flops_per_second: float, transcendentals_per_second: float) -> float:
        """The roofline: all of it at the machine's measured peak, nothing waited for."""
        return self.flops / flops_per_second + self.transcendentals / transcendentals_per_second


_UPDATE = {"sgd": 3, "adam": 14, "adamw": 16}  # operations per parameter and step, as the optimisers' equations count
# Of a hidden unit: operations forward, those of its derivative and of multiplying by it, exps.
_HIDDEN = {"relu": (1, 1, 0), "tanh": (4, 3, 1)}  # max(z, 0); 1 - 2 / (1 + exp(2 z)), 1 - a^2
# Of an output: operations from o to p, of the derivative by o, of the loss from there; exps from o to p.
_OUTPUT = {
    "binary_cross_entropy": (2, 1, 4, 1),  # 1 / (1 + exp(-o)), p - y; max(o, 0) - y o + log(...), and its sum
    "cross_entropy": (4, 1, 3, 1),  # exp(o - max) / sum; y (log(sum) - (o - max)), and its sum
    "mean_squared_error": (0, 2, 3, 0),  # 2 (o - y); (o - y)^2, and its sum
}


def work(
    sizes: Sequence[int],
    n: int,
    batch_size: int | None,
    epochs: int,
    optimizer: str,
    more_passes: int | None = None,
    activation: str = "relu",
    loss: str = "binary_cross_entropy",
) -> Work:
    """The work of training a network on `n` rows.

    With a number of `more_passes` losses are part of it: that of every batch, which its own pass leaves but for the
    logarithm, and those of so many passes more over all rows.
    """
    products = sum(n_in * n_out for n_in, n_out in pairwise(sizes))
    hidden, outputs = sum(sizes[1:-1]), sizes[-1]
    of_hidden, of_hidden_derivative, hidden_exps = _HIDDEN[activation]
    of_link, of_derivative, of_loss, exps = _OUTPUT[loss]
    logs = {"binary_cross_entropy": outputs, "cross_entropy": 1, "mean_squared_error": 0}[loss]  # of a row
    forward = 2 * products + of_hidden * hidden + of_link * outputs  # biases are where the sums begin
    # Weight gradients, deltas of all layers but the first, bias gradients, derivatives.
    backward = 2 * products + 2 * (products - sizes[0] * sizes[1]) + hidden + outputs
    backward += of_hidden_derivative * hidden + of_derivative * outputs
    exps_forward = hidden_exps * hidden + exps * outputs
    steps = epochs * (1 if batch_size is None else -(-n // batch_size))
    flops = epochs * n * (forward + backward) + steps * (products + hidden + outputs) * _UPDATE[optimizer]
    transcendentals = epochs * n * exps_forward
    if more_passes is not None:
        flops += more_passes * n * forward + (epochs + more_passes) * n * of_loss * outputs
        transcendentals += more_passes * n * exps_forward + (epochs + more_passes) * n * logs
    return Work(float(flops), float(transcendentals))


def losses(
    vectors: np.ndarray,
    sizes: Sequence[int],
    X: np.ndarray,
    y: np.ndarray,
    activation: str = "relu",
    loss: str = "binary_cross_entropy",
) -> np.ndarray:
    """Mean loss over all rows of every network: vectors (S, n_parameters) to (S,), in float64.

    Apart from everything that races, so that all are judged by the same few lines.
    """
    activations = np.asarray(X, np.float64)[np.newaxis]
    for layer, (W, b) in enumerate(layers(np.asarray(vectors, np.float64), sizes)):
        if layer:
            activations = np.tanh(activations) if activation == "tanh" else np.maximum(activations, 0)
        activations = activations @ W + b[:, np.newaxis]
    if loss == "cross_entropy":
        return (np.logaddexp.reduce(activations, axis=2) - (y * activations).sum(axis=2)).mean(axis=1)
    if loss == "mean_squared_error":
        return ((activations - y) ** 2).mean(axis=(1, 2))
    return (np.logaddexp(activations, 0) - y * activations).mean(axis=(1, 2))


def layers(vectors: np.ndarray, sizes: Sequence[int]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights (..., n_in, n_out) and biases (..., n_out) of flat vectors (..., n_parameters) in glassnet's order."""
    found, at = [], 0
    for n_in, n_out in pairwise(sizes):
        end = at + n_in * n_out
        W = vectors[..., at:end].reshape(*vectors.shape[:-1], n_in, n_out)
        at = end + n_out
        found.append((W, vectors[..., end:at]))
    return found
