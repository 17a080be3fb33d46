"""The initialisers: what is drawn is what the equation says, for a network alone and among others."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from glassnet.errors import UsageError
from glassnet.initializers import INITIALIZERS, initializer_row
from glassnet.randomness import Purpose, Stream

NAMES = (
    "standard_normal",
    "glorot_uniform",
    "glorot_normal",
    "he_uniform",
    "he_normal",
    "lecun_uniform",
    "lecun_normal",
    "orthogonal",
    "zeros",
)
# Standard deviation of the weights of a layer with n_in inputs and n_out outputs, as the sources have it.
DEVIATIONS = {
    "standard_normal": lambda n_in, n_out: 1.0,
    "glorot_uniform": lambda n_in, n_out: math.sqrt(2 / (n_in + n_out)),
    "glorot_normal": lambda n_in, n_out: math.sqrt(2 / (n_in + n_out)),
    "he_uniform": lambda n_in, n_out: math.sqrt(2 / n_in),
    "he_normal": lambda n_in, n_out: math.sqrt(2 / n_in),
    "lecun_uniform": lambda n_in, n_out: math.sqrt(1 / n_in),
    "lecun_normal": lambda n_in, n_out: math.sqrt(1 / n_in),
}
shapes = st.tuples(st.integers(1, 7), st.integers(1, 7))


def stream(**fields: object) -> Stream:
    return Stream(**{"seed": 0, "purpose": Purpose.INITIALIZE, **fields})


def test_the_table() -> None:
    assert tuple(INITIALIZERS) == NAMES
    assert {name for name, row in INITIALIZERS.items() if row.biases == "drawn"} == {"standard_normal"}
    for name, row in INITIALIZERS.items():
        assert row.name == name
        assert initializer_row(name) is row
        assert row.source


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"'glorot_unifrom' is not\. Did you mean 'glorot_uniform'"):
        initializer_row("glorot_unifrom")


@pytest.mark.parametrize("name", DEVIATIONS)
def test_the_distribution(name: str) -> None:
    n_in, n_out = 250, 400
    weights = INITIALIZERS[name].draw(stream(), (n_in, n_out))
    deviation = DEVIATIONS[name](n_in, n_out)
    if name.endswith("uniform"):
        reach = math.sqrt(3) * deviation  # an even spread over +-r has deviation r / sqrt(3)
        expected = stats.uniform(-reach, 2 * reach)
        assert np.abs(weights).max() <= reach
    else:
        expected = stats.norm(0, deviation)
    # One fixed draw of 100,000 numbers, so the answer never varies; a wrong scale by 1 % would give p under 1e-3.
    assert stats.kstest(weights.ravel(), expected.cdf).pvalue > 0.01


@cache
def by_sympy(equation: str) -> Callable[..., float]:
    """The equation read by SymPy's parser instead of ours."""
    return sympy.lambdify(sympy.symbols("u n n_in n_out"), sympy.sympify(equation), "math")


@pytest.mark.parametrize("name", DEVIATIONS)
@given(shape=shapes, seed=st.integers(0, 2**64 - 1), first=st.integers(0, 30))
@settings(max_examples=50, deadline=None)
def test_what_is_drawn_is_the_equation(name: str, shape: tuple[int, int], seed: int, first: int) -> None:
    rng = stream(seed=seed, first=first)
    n_in, n_out = shape
    u, n = rng.uniform(n_in * n_out), rng.normal(n_in * n_out)
    evaluated = by_sympy(INITIALIZERS[name].equation)
    expected = [evaluated(*numbers, n_in, n_out) for numbers in zip(u, n, strict=True)]
    # Row by row; four roundings at most on either side, each of 1.1e-16, and 2 u - 1 is exact.
    np.testing.assert_allclose(INITIALIZERS[name].draw(rng, shape).ravel(), expected, rtol=1e-15, atol=0)


@pytest.mark.parametrize("name", NAMES)
@given(shape=shapes, networks=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=4))
@settings(max_examples=30, deadline=None)
def test_a_network_is_the_same_alone_and_among_others(name: str, shape: tuple[int, int], networks: list[int]) -> None:
    draw = INITIALIZERS[name].draw
    together = draw(stream(network=np.array(networks), first=3), shape)
    assert together.dtype == np.float64
    assert together.shape == (len(networks), *shape)
    for weights, network in zip(together, networks, strict=True):
        np.testing.assert_array_equal(weights, draw(stream(network=network, first=3), shape))


def distance_from_orthonormal(weights: np.ndarray) -> float:
    """The largest deviation of the shorter side's products with each other from those of unit vectors."""
    tall = weights if weights.shape[0] >= weights.shape[1] else weights.T
    return float(np.abs(tall.T @ tall - np.eye(tall.shape[1])).max())


def test_distance_from_orthonormal_sees_a_slightly_longer_column() -> None:
    weights = np.eye(3)[:, :2].copy()
    assert distance_from_orthonormal(weights) == 0
    weights[0, 0] += 1e-12
    assert distance_from_orthonormal(weights) > 1e-12


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (6, 6), (40, 7), (7, 40), (120, 120)])
def test_orthogonal_is_orthonormal(shape: tuple[int, int]) -> None:
    weights = INITIALIZERS["orthogonal"].draw(stream(seed=4), shape)
    assert weights.shape == shape
    # Sums of up to 120 products, each rounded to 1.1e-16.
    assert distance_from_orthonormal(weights) < 1e-14


@pytest.mark.parametrize("shape", [(5, 3), (4, 4), (3, 6)])
def test_orthogonal_is_the_qr_factorisation_of_normal_numbers(shape: tuple[int, int]) -> None:
    """With a positive diagonal in R there is one such factorisation: NumPy's, but for signs."""
    numbers = stream(seed=8).normal(shape[0] * shape[1]).reshape(shape)
    tall = numbers if shape[0] >= shape[1] else numbers.T
    q, r = np.linalg.qr(tall)
    q = q * np.sign(np.diag(r))
    expected = q if shape[0] >= shape[1] else q.T
    # Well-conditioned (checked below), so both factorisations lie within a few hundred roundings.
    assert np.linalg.cond(tall) < 100
    np.testing.assert_allclose(INITIALIZERS["orthogonal"].draw(stream(seed=8), shape), expected, atol=1e-13)


def test_zeros() -> None:
    np.testing.assert_array_equal(INITIALIZERS["zeros"].draw(stream(), (2, 3)), np.zeros((2, 3)))
