"""The stacked kernel against the reference, network by network."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from glassnet import reference
from glassnet.activations import ACTIVATIONS
from glassnet.kernels import stacked
from glassnet.losses import LOSSES
from glassnet.network import Network, Parameters, initialize

CASES = [
    (activation, loss, n_outputs)
    for activation, loss, n_outputs in product(ACTIVATIONS, LOSSES, (1, 2, 3))
    if not (loss == "cross_entropy" and n_outputs == 1)
]
# Sums in another order and NumPy's exp in place of ours: some units in the last place of some hundred operations.
TOLERANCE = {np.float64: 1e-12, np.float32: 1e-5}


def targets(network: Network, n: int, rng: np.random.Generator) -> np.ndarray:
    """Targets that the loss can mean."""
    kind = network.loss_row.targets
    if kind == "classes":
        return np.eye(network.n_outputs)[rng.integers(network.n_outputs, size=n)]
    drawn = rng.normal(size=(n, network.n_outputs))
    return {"unit": drawn > 0, "nonnegative": np.abs(drawn).round(), "any": drawn}[kind].astype(float)


def assert_close(found: Any, expected: Any, tolerance: float) -> None:
    """Equal norm-wise, relative to the larger of 1 and what is expected."""
    found, expected = np.asarray(found, float), np.asarray(expected, float)
    assert found.shape == expected.shape
    assert np.linalg.norm(found - expected) <= tolerance * max(1.0, float(np.linalg.norm(expected)))


def test_the_comparison_can_fail() -> None:
    with pytest.raises(AssertionError):
        assert_close([1.0, 2.0], [1.0, 2.0 + 1e-11], 1e-12)
    with pytest.raises(AssertionError):
        assert_close([1.0], [[1.0]], 1.0)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("activation", "loss", "n_outputs"), CASES)
def test_a_stack_is_its_networks(activation: str, loss: str, n_outputs: int, dtype: Any) -> None:
    rng = np.random.default_rng(len(activation) + 7 * n_outputs)
    network = Network((3, 4, n_outputs), activation, loss)
    stack = initialize(network, 1, "standard_normal", start=np.arange(3), dtype=dtype)
    n, l1, l2 = 5, 0.01, 0.1
    # Each network has rows of its own, as in a shuffled batch.
    X = rng.normal(size=(3, n, 3)).astype(dtype)
    y = np.stack([targets(network, n, rng) for _ in range(3)]).astype(dtype)
    weights = rng.uniform(0.5, 2, (3, n)).astype(dtype)
    share = weights / weights.sum(axis=-1, keepdims=True)
    done = stacked.forward(network, stack, X)
    losses = stacked.row_losses(network, done, y)
    gradients = stacked.backward(network, stack, done, y, share, l1, l2)
    penalties = stacked.penalties(stack, l1, l2)
    assert gradients.dtype == losses.dtype == dtype
    for s in range(3):
        trace = reference.backward(network, Parameters(network, stack.vector[s]), X[s], y[s], weights[s], l1, l2)
        tolerance = TOLERANCE[dtype]
        assert_close(done.probabilities[s].T, trace.probabilities, tolerance)
        assert_close(losses[s], trace.row_losses, tolerance)
        assert_close(penalties[s], trace.penalty, tolerance)
        assert_close(gradients[s], trace.gradient, tolerance)


def test_rows_that_all_share() -> None:
    network = Network((2, 3, 1), "tanh")
    stack = initialize(network, start=np.arange(4))
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(6, 2)), targets(network, 6, rng)
    done = stacked.forward(network, stack, X)
    gradients = stacked.backward(network, stack, done, y, np.full(6, 1 / 6), 0.0, 0.0)
    for s in range(4):
        trace = reference.backward(network, Parameters(network, stack.vector[s]), X, y)
        assert_close(gradients[s], trace.gradient, 1e-12)


def test_health_counts_dead_units_and_constant_answers() -> None:
    network = Network((1, 2, 1))
    # W1, b1, W2, b2: both units at work; one dead; both dead, so one answer for all.
    vectors = np.array(
        [
            [1.0, -1.0, 0.5, 0.5, 1.0, -1.0, 0.1],
            [1.0, -1.0, 0.5, -9.0, 1.0, 1.0, -1.0],
            [1.0, 1.0, -9.0, -9.0, 1, 1, 0.5],
        ]
    )
    done = stacked.forward(network, Parameters(network, vectors), np.array([[-2.0], [0.0], [2.0]]))
    found = stacked.health(network, done)
    assert found.n_dead_units.tolist() == [0, 1, 2]
    assert found.one_class.tolist() == [False, False, True]


def test_health_of_several_classes_and_of_numbers() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 2))
    of_classes = Network((2, 3), loss="cross_entropy")
    vectors = np.zeros((2, of_classes.n_parameters))
    vectors[0] = rng.normal(size=of_classes.n_parameters)
    found = stacked.health(of_classes, stacked.forward(of_classes, Parameters(of_classes, vectors), X))
    assert found.one_class.tolist() == [False, True]
    of_numbers = Network((2, 1), loss="mean_squared_error")
    still = Parameters(of_numbers, np.zeros((1, 3)))
    assert not stacked.health(of_numbers, stacked.forward(of_numbers, still, X)).one_class.any()
