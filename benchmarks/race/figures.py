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


_UPDATE = {"sgd": 3, "adam": 14}  # operations per parameter and step, as the optimisers' equations count


def work(sizes: Sequence[int], n: int, batch_size: int | None, epochs: int, optimizer: str, curve: bool = True) -> Work:
    """The work of training a relu network with sigmoid outputs on `n` rows.

    With `curve` the loss over all rows before the first and after every epoch is part of it. Where a batch is all
    rows, the pass before an update gives the loss too, and only the logarithm and the last pass are left to pay.
    """
    products = sum(n_in * n_out for n_in, n_out in pairwise(sizes))
    hidden, outputs = sum(sizes[1:-1]), sizes[-1]
    forward = 2 * products + hidden + 2 * outputs  # biases are where the sums begin; relu; 1 / (1 + exp)
    # Weight gradients, deltas of all layers but the first, bias gradients, relu', p - y.
    backward = 2 * products + 2 * (products - sizes[0] * sizes[1]) + 2 * hidden + 2 * outputs
    steps = epochs * (1 if batch_size is None else -(-n // batch_size))
    flops = epochs * n * (forward + backward) + steps * (products + hidden + outputs) * _UPDATE[optimizer]
    transcendentals = epochs * n * outputs
    if curve:
        passes = 1 if batch_size is None else epochs + 1
        flops += passes * n * forward + (epochs + 1) * n * 4 * outputs  # max(o, 0) - y o + log(...), and its sum
        transcendentals += passes * n * outputs + (epochs + 1) * n * outputs
    return Work(float(flops), float(transcendentals))


def losses(vectors: np.ndarray, sizes: Sequence[int], X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Mean binary cross-entropy over all rows of every relu network: vectors (S, n_parameters) to (S,), in float64.

    Apart from everything that races, so that all are judged by the same few lines.
    """
    activations = np.asarray(X, np.float64)[np.newaxis]
    for layer, (W, b) in enumerate(layers(np.asarray(vectors, np.float64), sizes)):
        if layer:
            activations = np.maximum(activations, 0)
        activations = activations @ W + b[:, np.newaxis]
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
