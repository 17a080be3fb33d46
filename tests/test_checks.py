"""The gradient check: right where a gradient is right, and wrong, by name, where it is not."""

from __future__ import annotations

import numpy as np
import pytest

from glassnet import check_gradients, reference
from glassnet.activations import ACTIVATIONS
from glassnet.checks import difference_quotients
from glassnet.network import Network, Parameters, initialize

RNG = np.random.default_rng(3)
X, Y = RNG.normal(size=(7, 3)), (RNG.uniform(size=(7, 1)) > 0.5).astype(float)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_right_gradients_pass(activation: str) -> None:
    network = Network((3, 4, 1), activation)
    found = check_gradients(network, initialize(network, 5), X, Y, row_weights=np.arange(1.0, 8), l1=0.01, l2=0.1)
    assert found.ok, str(found)
    assert len(found.names) == network.n_parameters
    # Curvature and rounding leave about 1e-10 of a quotient of this step.
    assert found.largest_error < 1e-8


@pytest.mark.parametrize("at", [0, 7, 12, 20])
def test_one_wrong_gradient_is_named(at: int) -> None:
    network = Network((3, 4, 1), "tanh")
    parameters = initialize(network, 5)
    gradient = reference.backward(network, parameters, X, Y).gradient
    gradient[at] += 1e-5
    found = check_gradients(network, parameters, X, Y, gradient=gradient)
    assert not found.ok
    assert "DO NOT agree" in str(found)
    assert network.parameter_names()[at] in str(found)


def test_a_kink_is_told_from_a_mistake() -> None:
    network = Network((1, 1, 1), "relu", "mean_squared_error")
    # z = 0 for the only row: a step in w or b of the hidden unit crosses relu's kink.
    parameters = Parameters(network, np.array([1.0, -1.0, 2.0, 0.5]))
    found = check_gradients(network, parameters, [[1.0]], [3.0])
    assert found.at_kink.tolist() == [True, True, False, False]
    assert found.ok
    assert "2 at a kink left out" in str(found)
    wrong = reference.backward(network, parameters, [[1.0]], [3.0]).gradient + np.array([0, 0, 0, 0.1])
    assert not check_gradients(network, parameters, [[1.0]], [3.0], gradient=wrong).ok


def test_l1_has_a_kink_at_zero_weights() -> None:
    network = Network((1, 1), loss="mean_squared_error")
    found = check_gradients(network, Parameters(network, np.array([0.0, 0.0])), [[1.0]], [3.0], l1=0.5)
    assert found.at_kink.tolist() == [True, False]


def test_absolute_error_has_a_kink_at_the_target() -> None:
    network = Network((1, 1), loss="mean_absolute_error")
    found = check_gradients(network, Parameters(network, np.array([1.0, 0.0])), [[1.0]], [1.0])
    assert found.at_kink.all()


def test_float32_parameters_are_checked_in_float64() -> None:
    network = Network((3, 4, 1), "tanh")
    assert check_gradients(network, initialize(network, dtype=np.float32), X.astype(np.float32), Y).ok


def test_quotients_of_a_known_function() -> None:
    vector = np.array([0.3, -2.0, 1e3])
    quotients = difference_quotients(lambda v: float(np.sum(np.sin(v))), vector)
    # Rounding of v + h at 1e3 is 1e-13 / 6e-3 of the step; sin's third derivative adds h^2 / 6 = 6e-6.
    np.testing.assert_allclose(quotients, np.cos(vector), atol=1e-5)
