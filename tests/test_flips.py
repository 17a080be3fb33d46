"""The nearest flip: what trying every pattern gives, never farther than a sampled one, bounds that hold."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassnet.activations import ACTIVATIONS
from glassnet.flips import FARTHEST, Flip, least_distance, most_parts, nearest_flip, rounding_level
from glassnet.piecewise import LINEAR, Floats, Layer, Layers, affine_of, pieces_of, value

RELU, LEAKY = pieces_of(ACTIVATIONS["relu"]), pieces_of(ACTIVATIONS["leaky_relu"])
assert RELU is not None and LEAKY is not None  # noqa: PT018  for the type checker


@st.composite
def margins(draw: st.DrawFn, widest: int = 4, deepest: int = 2) -> tuple[Layers, Floats]:
    """A small network of margins, none of them above 0 at the point that comes with it."""
    hidden = draw(st.lists(st.integers(1, widest), min_size=0, max_size=deepest))
    sizes = [draw(st.integers(1, 3)), *hidden, draw(st.integers(1, 3))]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    pieces = draw(st.sampled_from([RELU, LEAKY]))
    layers = [
        Layer.alike(rng.normal(size=(n_in, n_out)), rng.normal(size=n_out), pieces if k < len(sizes) - 2 else LINEAR)
        for k, (n_in, n_out) in enumerate(pairwise(sizes))
    ]
    start = rng.normal(size=sizes[0])
    last = layers[-1]
    below = value(layers, start) + rng.exponential(size=sizes[-1])
    layers[-1] = Layer.alike(last.weights, last.biases - below, LINEAR)
    return tuple(layers), start


def brute_force(layers: Layers, start: Floats) -> float:
    """The least distance over every pattern that could be, each solved alone."""
    best, level = np.inf, rounding_level(layers, start)
    for combination in product(*(range(layer.kinks.shape[1] + 1) for layer in layers for _ in range(layer.units))):
        split = np.cumsum([layer.units for layer in layers])[:-1]
        pattern = tuple(np.split(np.array(combination, dtype=np.intp), split))
        inside, outputs = affine_of(layers, pattern)
        G, h = [], []
        for layer, pieces, z in zip(layers, pattern, inside, strict=True):
            for ends, sign in zip(layer.ends(pieces), (1, -1), strict=True):
                for unit in np.flatnonzero(np.isfinite(ends)):
                    G.append(sign * z.coefficients[:, unit])
                    h.append(sign * (ends[unit] - z.at(start)[unit]))
        for k in range(len(outputs.constants)):
            goal = outputs.coefficients[:, k], level - outputs.at(start)[k]
            y = least_distance(np.array([*G, goal[0]]), np.array([*h, goal[1]]), FARTHEST)
            best = best if y is None else min(best, float(np.linalg.norm(y)))
    return best


def free(start: Floats) -> tuple[Floats, Floats]:
    return np.full(len(start), -np.inf), np.full(len(start), np.inf)


def assert_sound(flip: Flip, layers: Layers, start: Floats) -> None:
    """The flip flips, lies as far away as it says, and nothing sampled within the lower bound does."""
    if flip.point is not None:
        assert value(layers, flip.point).max() > 0
        assert np.linalg.norm(flip.point - start) == pytest.approx(flip.upper, rel=1e-9, abs=1e-12)
    rng = np.random.default_rng(0)
    y = rng.normal(size=(300, len(start)))
    y *= (min(flip.lower, 50) * (1 - 1e-6) * rng.random((300, 1)) ** 0.3) / np.linalg.norm(y, axis=1, keepdims=True)
    assert (value(layers, start + y) <= rounding_level(layers, start)).all(), "nearer points flip"


@given(margins())
@settings(max_examples=60)
def test_it_is_the_nearest_of_all_patterns(case: tuple[Layers, Floats]) -> None:
    layers, start = case
    flip = nearest_flip(layers, start, *free(start))
    assert_sound(flip, layers, start)
    expected = brute_force(layers, start)
    if np.isfinite(expected):
        assert flip.exact
        assert flip.upper == pytest.approx(expected, rel=1e-6, abs=1e-7)
    else:
        assert (flip.point, flip.lower) == (None, FARTHEST)


@given(margins(widest=10, deepest=3), st.integers(1, 30))
@settings(max_examples=30)
def test_stopped_early_its_bounds_hold(case: tuple[Layers, Floats], parts: int) -> None:
    layers, start = case
    flip = nearest_flip(layers, start, *free(start), parts)
    assert flip.lower <= flip.upper
    assert flip.parts <= parts + 4  # the smaller problems of one split, or one for every output
    assert_sound(flip, layers, start)


@given(margins())
@settings(max_examples=30)
def test_bounds_of_the_inputs_are_kept(case: tuple[Layers, Floats]) -> None:
    layers, start = case
    low, high = start - 0.3, start + 0.5
    flip = nearest_flip(layers, start, low, high)
    if flip.point is not None:
        assert ((flip.point >= low - 1e-9) & (flip.point <= high + 1e-9)).all()
        assert value(layers, flip.point).max() > 0
    anywhere = nearest_flip(layers, start, *free(start))
    assert flip.upper >= anywhere.upper * (1 - 1e-8)


def test_what_only_touches_is_no_flip() -> None:
    """-relu(x) reaches 0 and stays there: never above."""
    layers = (Layer.alike([[1.0]], [0.0], RELU), Layer.alike([[-1.0]], [0.0], LINEAR))
    flip = nearest_flip(layers, np.array([2.0]), *free(np.zeros(1)))
    assert (flip.point, flip.upper, flip.lower, flip.exact) == (None, np.inf, FARTHEST, False)


def test_on_the_boundary_the_distance_is_nothing() -> None:
    layers = (Layer.alike([[1.0], [1.0]], [0.0], LINEAR),)
    flip = nearest_flip(layers, np.array([3.0, -3.0]), *free(np.zeros(2)))
    assert flip.exact
    assert flip.upper < 1e-8


def test_a_flip_behind_a_valley_is_found() -> None:
    """The gradient at the start leads away from the only flip."""
    first = Layer.alike([[1.0, -1.0, -1.0]], [-4.0, -1.0, -2.0], RELU)
    layers = (first, Layer.alike([[1.0], [0.2], [-0.2]], [-1.0], LINEAR))
    flip = nearest_flip(layers, np.array([-1.5]), *free(np.zeros(1)))
    assert flip.point == pytest.approx([5.0])
    assert flip.exact


def test_a_larger_network_has_more_to_search() -> None:
    rng = np.random.default_rng(0)
    small = (Layer.alike(rng.normal(size=(2, 2)), np.zeros(2), RELU),)
    large = (Layer.alike(rng.normal(size=(900, 900)), np.zeros(900), RELU),)
    assert most_parts(small) > most_parts(large) >= 20


def test_least_distance_meets_its_constraints_and_nothing_is_nearer() -> None:
    from scipy.optimize import minimize

    rng = np.random.default_rng(3)
    for _ in range(20):
        G, h = rng.normal(size=(4, 3)), rng.normal(size=4)
        y = least_distance(G, h, 100.0)
        best = minimize(
            lambda v: v @ v, np.zeros(3), constraints={"type": "ineq", "fun": lambda v, G=G, h=h: G @ v - h}
        )
        if y is None:
            assert not best.success
        else:
            assert (G @ y >= h - 1e-9).all()
            assert float(y @ y) == pytest.approx(best.fun, rel=1e-5, abs=1e-9)


def test_the_check_of_soundness_can_fail() -> None:
    layers = (Layer.alike([[1.0]], [-1.0], LINEAR),)
    start = np.zeros(1)
    good = nearest_flip(layers, start, *free(start))
    assert_sound(good, layers, start)
    with pytest.raises(AssertionError, match="nearer points"):
        assert_sound(Flip(2.0, 2.0, np.array([2.0]), 0, 1), layers, start)
    with pytest.raises(AssertionError):
        assert_sound(Flip(0.1, 0.5, np.array([0.5]), 0, 1), layers, start)
