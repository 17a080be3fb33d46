"""What a network is, and the views of its parameters."""

from __future__ import annotations

import pickle
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassnet.errors import UsageError
from glassnet.network import Network, Parameters, weight_mask

SIZES = st.lists(st.integers(1, 5), min_size=2, max_size=5).map(tuple)


def test_one_activation_is_that_of_every_hidden_layer() -> None:
    assert Network((2, 3, 4, 1), "tanh").activations == ("tanh", "tanh", "identity")
    assert Network((2, 3, 4, 1), ("tanh", "relu")).activations == ("tanh", "relu", "identity")
    assert Network((2, 3, 1), ("tanh", "softplus"), "mean_squared_error").activations == ("tanh", "softplus")
    assert Network((2, 1)).activations == ("identity",)
    assert Network((2, 3, 1), "logistic").activations == ("sigmoid", "identity")


def test_equal_networks_are_equal_and_hash_alike() -> None:
    net = Network((2, 3, 1), "logistic", "quantile( 0.9 )")
    assert net == Network([np.int64(2), 3, 1], ["sigmoid"], "quantile(0.9)")
    assert hash(net) == hash(Network((2, 3, 1), "sigmoid", "quantile(0.9)"))
    assert all(type(n) is int for n in Network([np.int64(2), 1]).sizes)
    assert net != Network((2, 3, 1), "tanh", "quantile(0.9)")
    assert pickle.loads(pickle.dumps(net)) == net
    with pytest.raises(AttributeError):
        net.sizes = (1, 1)  # type: ignore[misc]


def test_counts_and_rows() -> None:
    net = Network((4, 3, 2), "silu", "huber(2)")
    assert (net.n_layers, net.n_features, net.n_outputs, net.n_parameters) == (2, 4, 2, 4 * 3 + 3 + 3 * 2 + 2)
    assert [net.activation_row(layer).name for layer in (1, 2)] == ["silu", "identity"]
    assert net.loss_row.parameter == 2.0


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (((2,),), "at least two layers"),
        (((),), "at least two layers"),
        (((2, 0, 1),), "each 1 or more"),
        (((2, -1),), "each 1 or more"),
        (((2, 1.5),), "each 1 or more"),
        (((2, True),), "each 1 or more"),
        (((2, "3"),), "each 1 or more"),
        (((2, 3, 1), "rely"), "Did you mean 'relu'?"),
        (((2, 1), "rely"), "Did you mean 'relu'?"),
        (((2, 3, 1), ("relu", "tanh", "relu")), "one per hidden layer (1 here)"),
        (((2, 3, 3, 1), ("relu",)), "one per hidden layer (2 here)"),
        (((2, 1), "relu", "mse"), "A loss is one of"),
        (((2, 3, 1), ("relu", "tanh")), "puts its own link, sigmoid"),
        (((2, 3, 2), ("relu", "tanh"), "cross_entropy"), "puts its own link, softmax"),
        (((2, 3, 1), ("relu", "softplus"), "poisson"), "puts its own link, exp"),
        (((2, 3, 1), "relu", "cross_entropy"), "use binary_cross_entropy"),
    ],
)
def test_what_is_no_network_is_refused(arguments: tuple[Any, ...], fragment: str) -> None:
    with pytest.raises(UsageError) as caught:
        Network(*arguments)
    assert fragment in str(caught.value)


@settings(deadline=None, max_examples=50)
@given(SIZES, st.sampled_from([(), (3,), (2, 4)]), st.sampled_from([np.float32, np.float64]))
def test_views_names_and_mask_agree_on_the_flat_order(sizes: Any, stack: Any, dtype: Any) -> None:
    net = Network(sizes, loss="mean_squared_error")
    vector = np.arange(np.prod([*stack, net.n_parameters]), dtype=dtype).reshape(*stack, -1)
    parameters = Parameters(net, vector)
    names = net.parameter_names()
    assert parameters.vector is vector
    assert len(names) == len(set(names)) == net.n_parameters
    for layer, (n_in, n_out) in enumerate(pairwise(sizes), start=1):
        weights, biases = parameters.weights[layer - 1], parameters.biases[layer - 1]
        assert weights.shape == (*stack, n_in, n_out)
        assert biases.shape == (*stack, n_out)
        assert weights.dtype == biases.dtype == dtype
        for j in range(n_out):
            at = names.index(f"b{layer}_{j + 1}")
            np.testing.assert_array_equal(biases[..., j], vector[..., at])
            assert not weight_mask(net)[at]
            for i in range(n_in):
                at = names.index(f"w{layer}_{i + 1}_{j + 1}")
                np.testing.assert_array_equal(weights[..., i, j], vector[..., at])
                assert weight_mask(net)[at]


@settings(deadline=None, max_examples=30)
@given(SIZES, st.sampled_from([(), (3,)]))
def test_views_write_to_the_vector(sizes: Any, stack: Any) -> None:
    net = Network(sizes, loss="mean_squared_error")
    parameters = Parameters(net, np.zeros((*stack, net.n_parameters)))
    copy = parameters.copy()
    for part in (*parameters.weights, *parameters.biases):
        part += 1
    assert (parameters.vector == 1).all()
    assert (copy.vector == 0).all()


@settings(deadline=None, max_examples=30)
@given(SIZES)
def test_from_layers_and_back(sizes: Any) -> None:
    net = Network(sizes, loss="mean_squared_error")
    parameters = Parameters(net, np.random.default_rng(0).normal(size=net.n_parameters))
    again = Parameters.from_layers(net, parameters.weights, parameters.biases)
    np.testing.assert_array_equal(again.vector, parameters.vector)
    assert again.vector is not parameters.vector
    assert Parameters.from_layers(net, parameters.weights, parameters.biases, np.float32).vector.dtype == np.float32


def test_dtypes_of_layers() -> None:
    net = Network((1, 1))
    single = [np.ones((1, 1), np.float32)], [np.ones(1, np.float32)]
    assert Parameters.from_layers(net, *single).vector.dtype == np.float32
    assert Parameters.from_layers(net, [[[1]]], [[1]]).vector.dtype == np.float64
    assert repr(Parameters.from_layers(net, *single)) == "Parameters(sizes=(1, 1), shape=(2,), dtype=float32)"


@pytest.mark.parametrize(
    "vector", [np.zeros(8), np.zeros((9, 2)), np.zeros(9, int), np.zeros(9, complex), np.array(0.0), ["a"] * 9]
)
def test_a_vector_that_does_not_fit_is_refused(vector: Any) -> None:
    with pytest.raises(UsageError, match="holds 9 floats; got shape"):
        Parameters(Network((2, 2, 1)), vector)


@pytest.mark.parametrize(
    ("weights", "biases"),
    [
        ([np.zeros((2, 2))], [np.zeros(2), np.zeros(1)]),
        ([np.zeros((2, 2)), np.zeros((1, 2))], [np.zeros(2), np.zeros(1)]),
        ([np.zeros((2, 2)), np.zeros((2, 1))], [np.zeros(2), np.zeros(2)]),
        ([np.zeros((2, 2)), np.zeros((2, 1)), np.zeros((1, 1))], [np.zeros(2), np.zeros(1), np.zeros(1)]),
        ([], []),
    ],
)
def test_layers_that_do_not_fit_are_refused(weights: Any, biases: Any) -> None:
    with pytest.raises(UsageError, match="each with biases"):
        Parameters.from_layers(Network((2, 2, 1)), weights, biases)
