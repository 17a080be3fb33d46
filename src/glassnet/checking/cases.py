"""The networks and data on which a candidate is checked: small, generated, and away from kinks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from glassnet.network import FloatArray

SHAPES = ((3, 4, 1), (3, 4, 2), (4, 3, 5, 2), (4, 3, 5, 1), (3, 3, 3), (2, 2, 2, 2), (2, 2, 1))
"""What is tried, in this order. Units of all layers differ first, so that a shape tells what an array is; square ones
follow, in which a transposed matrix does not raise."""

ONE_LAYER = ((3, 1), (4, 2))
"""For a candidate without hidden layers."""

CLEAR_OF_KINKS = 0.02
"""No pre-activation is closer to zero than this, so that no row lies at a kink."""


@dataclass(frozen=True, eq=False)
class Case:
    """One network and its data: weights[l] (n_in, n_out), biases[l] (n_out,), X (n, n_features), y (n, n_outputs).

    y is 0 or 1 with one output and one-hot with several, which every loss can mean. `inputs`, `inputs_backward`: what a
    layer finds in the place of what goes into it, by layer, where a candidate has changed that before its forward pass,
    or its backward pass. `held`: "", "a" or "za": what of the layer below is that changed array too.
    """

    sizes: tuple[int, ...]
    weights: tuple[FloatArray, ...]
    biases: tuple[FloatArray, ...]
    X: FloatArray
    y: FloatArray
    learning_rate: float = 0.3
    l2: float = 0.0
    inputs: Mapping[int, FloatArray] = field(default_factory=dict)
    inputs_backward: Mapping[int, FloatArray] = field(default_factory=dict)
    held: str = ""

    @property
    def n(self) -> int:
        """Rows."""
        return len(self.X)


def generated(sizes: tuple[int, ...], seed: int, n: int = 7, l2: float = 0.0) -> Case:
    """A case of these sizes: no row at a kink, and every hidden unit on both sides of zero in some row.

    >>> case = generated((3, 4, 2), seed=0)
    >>> case.X.shape, case.y.sum(axis=0).tolist()
    ((7, 3), [4.0, 3.0])
    """
    rng = np.random.Generator(np.random.Philox(key=[seed, sum(units * 31**at for at, units in enumerate(sizes))]))
    while True:
        weights = tuple(rng.normal(0, 0.8, pair) for pair in pairwise(sizes))
        biases = tuple(rng.normal(0, 0.5, units) for units in sizes[1:])
        X = rng.normal(0, 1.2, (n, sizes[0]))
        labels = rng.permutation(np.arange(n) % max(2, sizes[-1]))
        y = labels[:, np.newaxis].astype(float) if sizes[-1] == 1 else np.eye(sizes[-1])[labels]
        if _clear(weights, biases, X):
            return Case(sizes, weights, biases, X, y, l2=l2)


def _clear(weights: tuple[FloatArray, ...], biases: tuple[FloatArray, ...], X: FloatArray) -> bool:
    """Whether the case is one for relu as well as for smooth activations."""
    a = X
    for W, b in zip(weights[:-1], biases[:-1], strict=True):
        z = a @ W + b
        if np.abs(z).min() < CLEAR_OF_KINKS or not ((z > 0).any(axis=0) & (z < 0).any(axis=0)).all():
            return False
        a = np.maximum(z, 0)
    z = a @ weights[-1] + biases[-1]
    return bool(np.abs(z).min() > CLEAR_OF_KINKS and np.abs(z).max() < 4 and (z > 0).any() and (z < 0).any())
