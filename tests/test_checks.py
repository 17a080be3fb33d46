"""The gradient check itself: it agrees with what is right, names what is wrong, and tells a kink from a mistake."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassnet.activations import ACTIVATIONS
from glassnet.checks import GradientCheck, check_gradients, difference_quotients, row_quotients
from glassnet.errors import DataError, UsageError
from glassnet.losses import LOSSES
from glassnet.network import Network, Parameters
from glassnet.reference import backward, forward


def job(network: Network, seed: int = 0) -> tuple[Parameters, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    parameters = Parameters(network, rng.normal(0, 0.8, network.n_parameters))
    X = rng.normal(size=(6, network.n_features))
    y = rng.integers(0, 2, (6, network.n_outputs)).astype(float)
    if network.loss_row.targets == "classes":
        y = np.eye(network.n_outputs)[rng.integers(0, network.n_outputs, 6)]
    return parameters, X, y


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_right_gradients_agree(activation: str) -> None:
    network = Network((3, 3, 2, 1), activation)
    check = check_gradients(network, *job(network, seed=3), [1, 2, 0.5, 1, 1, 3], l1=0.1, l2=0.3)
    assert check.ok, check
    assert not check.at_kink.any()
    # The quotients are really taken, and of the right thing: all differ from 0, none is the gradient itself.
    assert (check.gradient != check.quotients).any()
    assert np.abs(check.quotients).max() > 0.1


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_agrees(loss: str) -> None:
    network = Network((2, 3, 2), "tanh", loss)
    check = check_gradients(network, *job(network))
    assert check.ok, check


@given(st.integers(0, 10), st.floats(2e-7, 1e3), st.sampled_from([-1, 1]))
@settings(max_examples=40, deadline=None)
def test_one_wrong_gradient_is_found_and_named(at: int, error: float, side: int) -> None:
    network = Network((2, 2, 1, 1), ("tanh", "sigmoid"))
    assert network.n_parameters == 11
    parameters, X, y = job(network, seed=1)
    gradient = backward(network, parameters, X, y).gradient.copy()
    gradient[at] += side * error * max(1.0, abs(gradient[at]))
    check = check_gradients(network, parameters, X, y, gradient=gradient)
    assert not check.ok
    assert f"DO NOT agree with difference quotients: largest error {check.largest_error:.1e}" in str(check)
    assert str(check).endswith(f"at {network.parameter_names()[at]}")


@pytest.mark.parametrize(
    "mistake",
    [
        lambda g: g * 2,  # the factor of the squared error forgotten or doubled
        lambda g: -g,
        lambda g: np.zeros_like(g),
        lambda g: g[::-1],
        lambda g: g * len(g),  # a sum where a mean is meant
        lambda g: g * np.nan,
        lambda g: np.where(np.arange(len(g)) == 4, np.inf, g),
    ],
)
def test_gross_mistakes_are_found(mistake: object) -> None:
    network = Network((2, 2, 1), "tanh", "mean_squared_error")
    parameters, X, y = job(network)
    gradient = backward(network, parameters, X, y).gradient
    assert callable(mistake)
    check = check_gradients(network, parameters, X, y, gradient=mistake(gradient))
    assert not check.ok
    assert "DO NOT" in str(check)


def _on_the_kink(activation: str) -> tuple[Network, Parameters, list[list[float]], list[float]]:
    """z of hidden unit 1 is exactly 0 on row 0; unit 2 lies far from it."""
    network = Network((1, 2, 1), activation, "mean_squared_error")
    parameters = Parameters.from_layers(
        network, [np.array([[1.0, 1.0]]), np.array([[2.0], [1.0]])], [np.array([-1.0, 1.0]), np.array([0.5])]
    )
    return network, parameters, [[1.0], [3.0]], [0.0, 1.0]


@pytest.mark.parametrize("activation", [name for name, row in ACTIVATIONS.items() if row.kinks])
def test_a_kink_is_told_from_a_mistake(activation: str) -> None:
    network, parameters, X, y = _on_the_kink(activation)
    check = check_gradients(network, parameters, X, y)
    names = network.parameter_names()
    # The two that move z of unit 1 step over the kink, where the quotient is neither one-sided derivative.
    assert [name for name, kink in zip(names, check.at_kink, strict=True) if kink] == ["w1_1_1", "b1_1"]
    assert check.errors[check.at_kink].min() > 1e-3
    assert check.ok, check
    assert str(check).endswith("; 2 at a kink left out")
    # A mistake in another parameter is still seen, and so is one in the same place with the kink moved away.
    for at, moved in ((names.index("w1_1_2"), 0.0), (names.index("w1_1_1"), 0.1)):
        elsewhere = parameters.copy()
        elsewhere.biases[0][0] += moved
        gradient = backward(network, elsewhere, X, y).gradient.copy()
        gradient[at] += 1e-3 * abs(gradient[at])
        wrong = check_gradients(network, elsewhere, X, y, gradient=gradient)
        assert not wrong.ok
        assert names[at] in str(wrong)


@pytest.mark.parametrize("activation", [name for name, row in ACTIVATIONS.items() if not row.kinks])
def test_a_bend_is_no_kink_and_no_mistake(activation: str) -> None:
    """At 0 the second derivatives of elu and softsign jump: the central quotient there is off by a multiple of h."""
    network, parameters, X, y = _on_the_kink(activation)
    check = check_gradients(network, parameters, X, y)
    assert check.ok, check
    assert not check.at_kink.any()
    gradient = check.gradient.copy()
    gradient[0] *= 1 + 1e-6
    assert not check_gradients(network, parameters, X, y, gradient=gradient).ok


def test_huber_bends_where_its_two_pieces_meet() -> None:
    network = Network((1, 1), loss="huber")
    parameters = Parameters(network, np.zeros(2))
    check = check_gradients(network, parameters, [[2.0], [1.0]], [1.0, -1.0])
    assert check.ok, check
    assert not check.at_kink.any()
    assert not check_gradients(network, parameters, [[2.0], [1.0]], [1.0, -1.0], gradient=check.gradient + 1e-6).ok


def test_the_tolerance_is_that_of_the_gradient_s_size() -> None:
    network = Network((1, 1), loss="mean_squared_error")
    parameters = Parameters(network, np.array([1.0, 1.0]))
    gradient = backward(network, parameters, [[300.0]], [297.0]).gradient
    assert check_gradients(network, parameters, [[300.0]], [297.0], gradient=gradient * (1 + 0.9e-7)).ok
    assert not check_gradients(network, parameters, [[300.0]], [297.0], gradient=gradient * (1 + 1.1e-7)).ok


def test_a_large_objective_s_rounding_is_no_mistake() -> None:
    """Prices as they are: an objective of 1e10 is rounded to 1e-6, which a step of 6e-6 makes a quotient's 0.3."""
    network = Network((1, 2, 1), "tanh", "mean_squared_error")
    parameters, X, y = job(network)
    y = 1e5 * (1 + y)
    check = check_gradients(network, parameters, X, y)
    assert check.ok, check
    assert not check_gradients(network, parameters, X, y, gradient=check.gradient * 1.001).ok


def test_a_loss_s_kink_at_the_target() -> None:
    network = Network((1, 1), loss="mean_absolute_error")
    check = check_gradients(network, Parameters(network, np.array([1.0, 1.0])), [[2.0], [1.0]], [3.0, 0.0])
    assert check.at_kink.tolist() == [True, True]
    assert check.ok  # nothing is left to compare, and the text says so
    assert "2 at a kink left out" in str(check)


def test_l1_has_a_kink_where_a_weight_is_0() -> None:
    network = Network((2, 1), loss="mean_squared_error")
    parameters = Parameters(network, np.array([0.0, 1.0, 0.0]))
    without = check_gradients(network, parameters, [[1.0, 2.0]], [1.0])
    assert not without.at_kink.any()
    assert check_gradients(network, parameters, [[1.0, 2.0]], [1.0], l1=0.5).at_kink[0]


def test_float32_is_checked_in_float64() -> None:
    network = Network((2, 2, 1), "tanh")
    parameters, X, y = job(network)
    small = Parameters(network, parameters.vector.astype(np.float32))
    check = check_gradients(network, small, X.astype(np.float32), y)
    assert check.quotients.dtype == check.gradient.dtype == np.float64
    assert check.ok


def test_difference_quotients_of_a_cubic() -> None:
    quotients = difference_quotients(lambda v: float((v**3).sum()), np.array([0.0, 1.0, -2.0, 5.0]))
    # The quotient of x^3 is off by h^2 exactly, 9e-10 at 5; and by the value's rounding, 133 * 2e-16 / h.
    np.testing.assert_allclose(quotients, [0.0, 3.0, 12.0, 75.0], rtol=0, atol=1e-8)
    vector = np.array([1.0, 2.0])
    difference_quotients(lambda v: float(v.sum()), vector)
    assert vector.tolist() == [1.0, 2.0]


# --- a quotient for every row, with its error ------------------------------------------------------------------------

ROWS = np.array([0.3, -1.2, 2.0])


def of_rows(f: object, kink: float | None = None) -> object:
    """Row losses f(v0 + row) + v1^3, and on which side of `kink` v0 + row lies."""

    def evaluate(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        z = vectors[:, :1] + ROWS
        assert callable(f)
        sides = np.empty((*z.shape, 0), bool) if kink is None else (z > kink)[..., np.newaxis]
        return f(z) + vectors[:, 1:] ** 3, sides

    return evaluate


NOISE = np.full(3, 2e-16)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0, 1e3])
def test_row_quotients_know_their_error(scale: float) -> None:
    """sin(scale z): its fifth derivative is scale^5, so that the first step is far too large for the last two."""
    vector = np.array([0.4, 2.0])
    found = row_quotients(of_rows(lambda z: np.sin(scale * z)), vector, np.arange(2), NOISE)  # type: ignore[arg-type]
    truth = np.stack([scale * np.cos(scale * (0.4 + ROWS)), np.full(3, 12.0)])
    off = np.abs(found.values - truth)
    assert (off <= found.errors).all(), (off, found.errors)
    assert found.errors.max() < 1e-8 * max(1, scale)
    assert not found.kinks


def test_row_quotients_can_be_wrong() -> None:
    """The comparison above fails for another function's derivative; and what is noisy is said to be uncertain."""
    found = row_quotients(of_rows(np.sin), np.array([0.4, 2.0]), np.array([0]), NOISE)  # type: ignore[arg-type]
    assert (np.abs(found.values[0] - np.cos(0.41 + ROWS)) > found.errors[0]).all()

    def noisy(z: np.ndarray) -> np.ndarray:
        return np.sin(z) + 1e-7 * np.sin(1e9 * z)

    found = row_quotients(of_rows(noisy), np.array([0.4, 2.0]), np.array([0]), NOISE)  # type: ignore[arg-type]
    assert found.errors.min() > 1e-9


@pytest.mark.parametrize("at", [1e-3, -1e-3, 1e-5, -1e-7, 1e-12, 0.0])
def test_row_quotients_do_not_step_over_a_kink(at: float) -> None:
    """Row 1 lies `at` from the kink of |z|; at 0 the quotient is that of the side on which z > 0 is false."""
    vector = np.array([1.2 + at, 2.0])
    found = row_quotients(of_rows(np.abs, kink=0.0), vector, np.arange(2), NOISE)  # type: ignore[arg-type]
    np.testing.assert_allclose(found.values[0], [1, 1 if vector[0] - 1.2 > 0 else -1, 1], rtol=0, atol=1e-7)
    (kink,) = found.kinks
    assert (kink.parameter, kink.row, kink.side) == (0, 1, 0)
    assert kink.way == "from one side"


def test_row_quotients_step_less_far_where_that_is_better() -> None:
    def curved(z: np.ndarray) -> np.ndarray:
        return np.abs(np.expm1(40 * z))

    found = row_quotients(of_rows(curved, kink=0.0), np.array([1.201, 2.0]), np.array([0]), NOISE)  # type: ignore[arg-type]
    assert [(kink.row, kink.way) for kink in found.kinks] == [(1, "with a smaller step")]
    assert found.values[0, 1] == pytest.approx(40 * np.exp(0.04), abs=1e-8)


def test_row_quotients_that_cannot_be_had_are_infinitely_uncertain() -> None:
    found = row_quotients(
        of_rows(lambda z: np.where(z > 1, np.nan, z)),
        np.array([0.4, 2.0]),
        np.array([0]),
        NOISE,  # type: ignore[arg-type]
    )
    assert np.isfinite(found.errors).tolist() == [[True, True, False]]


def test_the_record() -> None:
    network = Network((2, 1))
    parameters, X, y = job(network)
    check = check_gradients(network, parameters, X, y, tolerance=1e-20)
    assert isinstance(check, GradientCheck)
    assert check.names == tuple(network.parameter_names())
    assert not check.ok  # the tolerance asked for is the one applied
    objective = forward(network, parameters, X, y).objective
    assert objective is not None
    assert objective < 100
    scale = np.maximum(1, np.maximum(np.abs(check.gradient), np.abs(check.quotients)))
    np.testing.assert_array_equal(check.errors, np.abs(check.gradient - check.quotients) / scale)
    assert check.largest_error == check.errors.max()


def test_what_cannot_be_checked() -> None:
    network = Network((2, 1))
    parameters, X, y = job(network)
    for gradient in (1.0, np.ones(2), np.ones((3, 1))):
        with pytest.raises(UsageError, match=r"one number per parameter, \(3,\); got shape"):
            check_gradients(network, parameters, X, y, gradient=gradient)
    with pytest.raises(UsageError, match=r"one network of sizes \(2, 1\); got sizes \(1, 1\)"):
        check_gradients(network, Parameters(Network((1, 1)), np.ones(2)), X, y)
    with pytest.raises(DataError, match="row 0, column 1 is nan"):
        check_gradients(network, parameters, [[1.0, np.nan]], [1])
    with pytest.raises(DataError, match="X holds numbers"):
        check_gradients(network, parameters, [["a", "b"]], [1])
