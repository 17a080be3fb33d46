"""What is a network and what is none; the views of the flat vector; how starts are drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from glassnet.errors import UsageError
from glassnet.network import Network, Parameters, initialize, weight_mask


def test_one_name_for_every_hidden_layer() -> None:
    assert Network((3, 4, 5, 1), "tanh").activations == ("tanh", "tanh", "identity")
    assert Network((3, 4, 5, 1), ("relu", "logistic")).activations == ("relu", "sigmoid", "identity")
    two = Network([3, 4, 1], ["relu", "sigmoid"], "mean_squared_error")
    assert two.activations == ("relu", "sigmoid")
    assert (two.n_layers, two.n_features, two.n_outputs, two.n_parameters) == (2, 3, 1, 21)


def test_equal_networks_are_one_key() -> None:
    assert (
        len({Network((2, 2, 1)), Network([2, 2, 1], ("relu",)), Network((2, 2, 1), loss="binary_cross_entropy")}) == 1
    )
    with pytest.raises(AttributeError):
        Network((2, 1)).loss = "huber"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (((2,),), "at least two layers"),
        (((2, 0, 1),), "1 or more"),
        (((2, 1.5, 1),), "1 or more"),
        (((2, True, 1),), "1 or more"),
        (((2, 2, 1), "rleu"), "Did you mean 'relu'"),
        (((2, 1), "nonsense"), "An activation is one of"),
        (((2, 2, 1), ("relu", "relu", "relu")), "one per hidden layer (1 here)"),
        (((2, 2, 1), "relu", "hubr"), "Did you mean 'huber'"),
        (((2, 2, 1), ("relu", "sigmoid"), "binary_cross_entropy"), "must be identity"),
        (((2, 2, 1), ("relu", "tanh"), "poisson"), "must be identity"),
        (((2, 2, 2), ("relu", "tanh"), "cross_entropy"), "must be identity"),
        (((2, 2, 1), "relu", "cross_entropy"), "use binary_cross_entropy"),
    ],
)
def test_what_is_no_network(arguments: Any, said: str) -> None:
    with pytest.raises(UsageError) as problem:
        Network(*arguments)
    assert said in str(problem.value)


@pytest.mark.parametrize("stack", [(), (4,), (2, 3)])
def test_views_write_through(stack: tuple[int, ...]) -> None:
    network = Network((3, 4, 2), loss="mean_squared_error")
    vector = np.arange(np.prod(stack, dtype=int) * network.n_parameters, dtype=float).reshape(*stack, -1)
    parameters = Parameters(network, vector)
    assert [w.shape[-2:] for w in parameters.weights] == [(3, 4), (4, 2)]
    parameters.weights[1][..., 0, 0] = -1
    parameters.biases[0][..., 3] = -2
    assert (vector == -1).sum() == (vector == -2).sum() == np.prod(stack, dtype=int)
    assert parameters.copy().vector is not vector


def test_names_follow_the_vector() -> None:
    network = Network((2, 2, 1))
    parameters = Parameters(network, np.arange(9.0))
    at = {name: n for n, name in enumerate(network.parameter_names())}
    assert parameters.weights[0][1, 0] == at["w1_2_1"]
    assert parameters.weights[1][1, 0] == at["w2_2_1"]
    assert parameters.biases[0][1] == at["b1_2"]
    assert weight_mask(network).tolist() == [name.startswith("w") for name in network.parameter_names()]


def test_parameters_of_another_shape() -> None:
    network = Network((2, 1))
    with pytest.raises(UsageError, match="holds 3 floats"):
        Parameters(network, np.zeros(4))
    with pytest.raises(UsageError, match="int64"):
        Parameters(network, np.zeros(3, dtype=np.int64))
    with pytest.raises(UsageError, match="shapes"):
        Parameters.from_layers(network, [np.zeros((1, 2))], [np.zeros(1)])


@pytest.mark.parametrize("initializer", [None, "standard_normal", "orthogonal", "glorot_uniform"])
def test_a_stack_of_starts_is_its_starts(initializer: str | None) -> None:
    network = Network((4, 5, 3, 2), ("selu", "relu"), "mean_squared_error")
    stack = initialize(network, 3, initializer, start=np.arange(6)).vector
    for k in range(6):
        assert (stack[k] == initialize(network, 3, initializer, start=k).vector).all()
    assert len({row.tobytes() for row in stack}) == 6
    assert (stack[0] != initialize(network, 4, initializer).vector).any()


def test_a_layer_gets_what_suits_its_activation() -> None:
    network = Network((200, 300, 300, 300, 1), ("relu", "selu", "tanh"), "mean_squared_error")
    spreads = [float(w.std()) for w in initialize(network).weights]
    expected = [np.sqrt(2 / 200), np.sqrt(1 / 300), np.sqrt(2 / 600), np.sqrt(2 / 301)]
    # The spread of 300 numbers and more is known to within a few per cent.
    np.testing.assert_allclose(spreads, expected, rtol=0.1)
    assert all((b == 0).all() for b in initialize(network).biases)
    assert initialize(network, dtype=np.float32).vector.dtype == np.float32
