"""The stacked passes against the reference, network by network; and what they see of a network's health."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassnet import reference
from glassnet.activations import ACTIVATIONS
from glassnet.kernels import stacked
from glassnet.losses import LOSSES
from glassnet.network import Network, Parameters, dropout_masks

LINKED = ("binary_cross_entropy", "cross_entropy", "poisson")  # behind these the output layer is identity
LOSS_NAMES = ("huber(0.7)", "quantile(0.9)", *(name for name in LOSSES if name not in ("huber", "quantile")))
# Norm-wise; a few dozen roundings of 1.1e-16 and 6e-8, in another order than the reference's.
RELATIVE = {np.float64: 1e-12, np.float32: 1e-5}
SIZE, N = 3, 7


def assert_close(found: np.ndarray, expected: np.ndarray, relative: float) -> None:
    """Same shape and type, and equal in the norm."""
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    assert np.linalg.norm(found - expected) <= relative * np.linalg.norm(expected)


def test_the_comparison_can_fail() -> None:
    right = np.array([1.0, -2.0, 0.0])
    assert_close(right * (1 + 0.9e-12), right, 1e-12)
    off = right + np.array([0, 0, 1e-11])
    for wrong in (right * (1 + 1.1e-12), off, right * np.nan, right[:2], right.astype(np.float32)):
        with pytest.raises(AssertionError):
            assert_close(wrong, right, 1e-12)


def targets_for(network: Network, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    drawn = rng.normal(size=(*shape, network.n_outputs))
    match network.loss_row.targets:
        case "unit":
            return rng.uniform(size=drawn.shape)
        case "classes":
            return np.exp(drawn) / np.exp(drawn).sum(axis=-1, keepdims=True)
        case "nonnegative":
            return np.abs(drawn)
    return drawn


def compare_with_reference(
    network: Network, dtype: Any, own_rows: bool, l1: float, l2: float, seed: int = 0, masked: str | None = None
) -> None:
    """Every number of a stack of networks against a reference pass of each; `masked`: own masks, or one for all."""
    rng = np.random.default_rng(seed)
    parameters = Parameters(network, rng.normal(0, 0.8, (SIZE, network.n_parameters)).astype(dtype))
    rows = (SIZE, N) if own_rows else (N,)
    X = rng.normal(size=(*rows, network.n_features)).astype(dtype)
    y = targets_for(network, rows, rng).astype(dtype)
    row_weights = rng.uniform(0.2, 2, rows).astype(dtype)
    masks: Any = None
    if masked is not None:
        rate, start = 0.4 if network.n_layers > 1 else 0, np.arange(SIZE) if masked == "own" else 0
        masks = dropout_masks(network, rate, N, random_state=seed, start=start, epoch=1, dtype=dtype)

    done = stacked.forward(network, parameters, X, masks)
    losses = stacked.row_losses(network, done, y)
    share = row_weights / row_weights.sum(axis=-1, keepdims=True)
    gradients = stacked.backward(network, parameters, done, y, share, l1, l2)
    penalties = stacked.penalties(parameters, l1, l2)
    assert losses.shape == (SIZE, N)
    assert gradients.shape == parameters.vector.shape
    relative = RELATIVE[dtype]
    for s in range(SIZE):
        own = s if own_rows else slice(None)
        one = Parameters(network, parameters.vector[s])
        own_masks = [mask[s] for mask in masks] if masked == "own" else masks
        trace = reference.backward(network, one, X[own], y[own], row_weights[own], l1, l2, own_masks)
        assert trace.row_losses is not None
        for layer, h in enumerate(trace.unmasked or ()):
            assert_close(done.unmasked[layer][s].T, h, relative)
        for layer in range(network.n_layers):
            assert_close(done.pre_activations[layer][s].T, trace.pre_activations[layer], relative)
            assert_close(done.activations[layer + 1][s].T, trace.activations[layer + 1], relative)
        assert_close(done.logits[s].T, trace.logits, relative)
        assert_close(done.probabilities[s].T, trace.probabilities, relative)
        assert_close(losses[s], trace.row_losses, relative)
        assert penalties[s] == pytest.approx(trace.penalty, rel=relative)
        assert_close(gradients[s], trace.gradient, relative)


MATRIX = [
    (activation, loss, n_outputs)
    for activation, loss, n_outputs in product(ACTIVATIONS, LOSS_NAMES, (1, 2, 3))
    if not (loss == "cross_entropy" and n_outputs == 1)
]


@pytest.mark.parametrize("dtype", RELATIVE)
@pytest.mark.parametrize(("activation", "loss", "n_outputs"), MATRIX)
def test_every_activation_loss_and_number_of_outputs(activation: str, loss: str, n_outputs: int, dtype: Any) -> None:
    network = Network((3, 4, 2, n_outputs), activation, loss)
    for own_rows in (False, True):
        compare_with_reference(network, dtype, own_rows, l1=0.03, l2=0.2, seed=n_outputs)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", [name for name in LOSS_NAMES if name not in LINKED])
def test_every_activation_of_the_output_layer(activation: str, loss: str) -> None:
    compare_with_reference(Network((2, 2, 2), ("tanh", activation), loss), np.float64, False, 0.0, 0.1)


@pytest.mark.parametrize("dtype", RELATIVE)
@pytest.mark.parametrize("masked", ["own", "for all"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_with_dropout(activation: str, masked: str, dtype: Any) -> None:
    for own_rows in (False, True):
        network = Network((3, 4, 2, 2), activation, "cross_entropy")
        compare_with_reference(network, dtype, own_rows, l1=0.03, l2=0.2, masked=masked)


@given(
    st.lists(st.integers(1, 5), min_size=2, max_size=5),
    st.sampled_from([name for name in LOSS_NAMES if name != "cross_entropy"]),
    st.data(),
    st.booleans(),
    st.sampled_from([0.0, 0.3]),
    st.sampled_from([0.0, 0.3]),
    st.integers(0, 2**32 - 1),
    st.sampled_from([None, "own", "for all"]),
)
@settings(max_examples=120, deadline=None)
def test_any_network(
    sizes: list[int],
    loss: str,
    data: st.DataObject,
    own_rows: bool,
    l1: float,
    l2: float,
    seed: int,
    masked: str | None,
) -> None:
    activations = data.draw(st.tuples(*[st.sampled_from(list(ACTIVATIONS))] * (len(sizes) - 2)))
    compare_with_reference(Network(sizes, activations, loss), np.float64, own_rows, l1, l2, seed, masked)


@pytest.mark.parametrize("rate", [None, 0.3])
def test_a_network_has_the_same_bits_alone_and_in_a_stack(rate: float | None) -> None:
    network = Network((5, 6, 3), "gelu", "cross_entropy")
    rng = np.random.default_rng(5)
    vectors, X = rng.normal(size=(4, network.n_parameters)), rng.normal(size=(33, 5))
    y, share = np.eye(3)[rng.integers(0, 3, 33)], np.full(33, 1 / 33)

    def bits(vector: np.ndarray, starts: np.ndarray) -> list[bytes]:
        parameters = Parameters(network, vector)
        masks = None if rate is None else dropout_masks(network, rate, 33, random_state=0, start=starts, epoch=1)
        done = stacked.forward(network, parameters, X, masks)
        gradients = stacked.backward(network, parameters, done, y, share, 0.1, 0.1)
        losses = stacked.row_losses(network, done, y)
        parts = zip(done.probabilities, losses, gradients, strict=True)
        return [b"".join(np.ascontiguousarray(part).tobytes() for part in one) for one in parts]

    starts = np.arange(4)
    together = bits(vectors, starts)
    assert len(set(together)) == 4
    assert together == [bits(vectors[s : s + 1], starts[s : s + 1])[0] for s in range(4)]


def test_logits_of_any_size() -> None:
    for loss in ("binary_cross_entropy", "cross_entropy", "huber"):
        network = Network((1, 2), loss=loss)
        parameters = Parameters(network, np.array([[1e4, -1e4, 0.0, 0.0]]))
        X, y = np.array([[1.0], [-1.0]]), np.array([[1.0, 0.0], [1.0, 0.0]])
        done = stacked.forward(network, parameters, X)
        expected = reference.backward(network, Parameters(network, parameters.vector[0]), X, y)
        assert expected.row_losses is not None
        assert_close(stacked.row_losses(network, done, y)[0], expected.row_losses, 1e-12)
        gradient = stacked.backward(network, parameters, done, y, np.array([0.5, 0.5]), 0.0, 0.0)
        assert_close(gradient[0], expected.gradient, 1e-12)


def test_penalties_beyond_all_measure_are_infinite() -> None:
    network = Network((1, 1))
    assert stacked.penalties(Parameters(network, np.array([[1e200, 0.0]])), 0.0, 1.0).tolist() == [np.inf]


# --- health -------------------------------------------------------------------------------------------------------


def _health(network: Network, layers: Any, X: Any) -> stacked.Health:
    """The health of networks given as a list of (weights, biases) each."""
    vectors = [Parameters.from_layers(network, *map(list, zip(*one, strict=True))).vector for one in layers]
    X = np.asarray(X, float)
    return stacked.health(network, stacked.forward(network, Parameters(network, np.array(vectors)), X))


TWO_UNITS = Network((1, 2, 1))
ROWS = [[-1.0], [0.5], [2.0]]


def test_dead_units_are_0_on_every_row() -> None:
    output = ([[1.0], [1.0]], [-0.75])
    found = _health(
        TWO_UNITS,
        [
            [([[1.0, -1.0]], [0.0, 0.0]), output],  # each is 0 on some rows only
            [([[1.0, 1.0]], [-2.0, 0.0]), output],  # unit 1 touches 0 on the last row, and never rises above it
            [([[1.0, 1.0]], [-1.999, 0.0]), output],  # here it does
            [([[-1.0, 0.0]], [-1.5, -1.0]), output],  # both
        ],
        ROWS,
    )
    assert found.n_dead_units.tolist() == [0, 1, 0, 2]


def test_a_unit_of_tanh_is_not_dead() -> None:
    network = Network((1, 2, 1), "tanh")
    layers = [[([[1.0, 1.0]], [-100.0, 0.0]), ([[1.0], [1.0]], [0.0])]]
    assert _health(network, layers, ROWS).n_dead_units.tolist() == [0]


def test_dead_units_are_counted_over_all_hidden_layers_and_the_output_is_none() -> None:
    network = Network((1, 1, 1, 1), ("relu", "relu", "relu"), "mean_squared_error")
    layers = [[([[0.0]], [-1.0]), ([[1.0]], [-1.0]), ([[1.0]], [-1.0])]]
    assert _health(network, layers, ROWS).n_dead_units.tolist() == [2]


def test_a_unit_dropped_on_every_row_is_not_dead() -> None:
    parameters = Parameters.from_layers(TWO_UNITS, [[[1.0, 1.0]], [[1.0], [1.0]]], [[-2.0, 0.0], [0.0]])
    stack = Parameters(TWO_UNITS, parameters.vector[np.newaxis])
    done = stacked.forward(TWO_UNITS, stack, np.array(ROWS), [np.array([[2.0, 0.0]] * 3)])
    assert not done.activations[1].any()
    assert stacked.health(TWO_UNITS, done).n_dead_units.tolist() == [1]


def test_one_class_for_every_row() -> None:
    network = Network((1, 1))
    found = _health(network, [[([[1.0]], [b])] for b in (0.0, 1.0, 1.001, -2.0, -1.999)], ROWS)
    # p = .5, a logit of 0, is class 0, as everywhere.
    assert found.one_class.tolist() == [False, False, True, True, False]


def test_one_class_of_several() -> None:
    network = Network((1, 3), loss="cross_entropy")
    weights = [[1.0, -1.0, 0.0]]
    found = _health(network, [[(weights, b)] for b in ([0.0, 0, 0], [0, 0, 3.0], [0, 0, 1.9])], ROWS)
    assert found.one_class.tolist() == [False, True, False]


def test_a_regression_is_never_stuck_in_a_class() -> None:
    for loss in ("mean_squared_error", "poisson"):
        network = Network((1, 1), loss=loss)
        assert _health(network, [[([[0.0]], [0.0])]], ROWS).one_class.tolist() == [False]
