"""Piecewise-linear networks: pieces, the functions of patterns, walks along lines, polygons."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassnet import piecewise, reference
from glassnet.activations import ACTIVATIONS
from glassnet.errors import UsageError
from glassnet.expressions import function
from glassnet.network import Network, Parameters
from glassnet.piecewise import (
    LINEAR,
    Floats,
    Layer,
    Layers,
    affine_of,
    cut,
    first_crossings,
    first_positive,
    folded,
    layers_of,
    pattern_at,
    pieces_of,
    value,
    zero_segment,
)

PIECEWISE = [name for name, row in ACTIVATIONS.items() if pieces_of(row)]


@pytest.mark.parametrize("name", PIECEWISE)
def test_pieces_are_the_activation(name: str) -> None:
    """Bit for bit, kinks included: so the pieces of a row were read off rightly."""
    row = ACTIVATIONS[name]
    z = np.concatenate([np.random.default_rng(0).normal(0, 10, 1000), row.kinks])
    layer = Layer.alike(np.eye(len(z)), np.zeros(len(z)), pieces_of(row))
    slopes, _ = layer.line(layer.pieces(z))
    a = function(row.value, ("z",))(z)
    np.testing.assert_array_equal(layer.apply(z), a)
    np.testing.assert_array_equal(slopes, np.broadcast_to(function(row.derivative, ("z", "a"))(z, a), z.shape))


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name not in PIECEWISE])
def test_what_is_smooth_has_no_pieces(name: str) -> None:
    """Its slope differs between two points on the same side of every kink."""
    row = ACTIVATIONS[name]
    z = np.array([-2.0, -1.0])
    a = function(row.value, ("z",))(z)
    assert len(set(function(row.derivative, ("z", "a"))(z, a).tolist())) == 2
    assert layers_of(Network((1, 1, 1), name), Parameters(Network((1, 1, 1)), np.ones(4))) is None


def hard_tanh(weights: Floats, biases: Floats) -> Layer:
    """Two kinks a unit, as an activation of the future may have."""
    n = len(biases)
    kinks, slopes, intercepts = [-1.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 1.0]
    return Layer(weights, biases, np.tile(kinks, (n, 1)), np.tile(slopes, (n, 1)), np.tile(intercepts, (n, 1)))


@st.composite
def functions(draw: st.DrawFn, n_inputs: int | None = None, widest: int = 5) -> tuple[Layers, Floats]:
    """Layers with random numbers, some of two kinks, and a point."""
    sizes = draw(st.lists(st.integers(1, widest), min_size=2, max_size=4))
    sizes = [n_inputs or draw(st.integers(1, 4)), *sizes]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    layers = []
    for n_in, n_out in pairwise(sizes[:-1]):
        W, b = rng.normal(size=(n_in, n_out)), rng.normal(size=n_out)
        name = draw(st.sampled_from([*PIECEWISE, "hard"]))
        row = None if name == "hard" else pieces_of(ACTIVATIONS[name])
        layers.append(hard_tanh(W, b) if row is None else Layer.alike(W, b, row))
    layers.append(Layer.alike(rng.normal(size=(sizes[-2], sizes[-1])), rng.normal(size=sizes[-1]), LINEAR))
    return tuple(layers), rng.normal(size=sizes[0])


def same(first: tuple[Floats, ...], second: tuple[Floats, ...]) -> bool:
    return all((a == b).all() for a, b in zip(first, second, strict=True))


@given(functions())
def test_the_function_of_a_pattern_is_the_layers(case: tuple[Layers, Floats]) -> None:
    layers, x = case
    pattern = pattern_at(layers, x)
    inside, outputs = affine_of(layers, pattern)
    np.testing.assert_allclose(outputs.at(x), value(layers, x), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(value(folded(layers), x), value(layers, x), rtol=1e-10, atol=1e-10)
    for layer, pieces, z in zip(layers, pattern, inside, strict=True):
        low, high = layer.ends(pieces)
        assert ((low <= z.at(x) + 1e-9) & (z.at(x) <= high + 1e-9)).all()


def test_layers_are_the_reference() -> None:
    network = Network((3, 4, 4, 2), ("relu", "leaky_relu", "identity"), "mean_squared_error")
    rng = np.random.default_rng(1)
    parameters = Parameters(network, rng.normal(size=network.n_parameters))
    X = rng.normal(size=(50, 3))
    layers = layers_of(network, parameters)
    assert layers is not None
    np.testing.assert_allclose(
        value(layers, X), reference.forward(network, parameters, X).logits, rtol=1e-12, atol=1e-12
    )


@given(functions())
def test_a_line_leaves_its_region_where_it_says(case: tuple[Layers, Floats]) -> None:
    layers, x = case
    directions = np.vstack([np.eye(len(x)), -np.eye(len(x))])
    pattern = pattern_at(layers, x)
    for direction, t in zip(directions, first_crossings(layers, x, pattern, directions), strict=True):
        near = x + min(t, 1e6) * (1 - 1e-9) * direction
        assert same(pattern_at(layers, near), pattern)
        if t < 1e4:
            assert not same(pattern_at(layers, x + (t + 1e-6 * (1 + t)) * direction), pattern)


@given(functions(), st.floats(-3, 3))
@settings(max_examples=50)
def test_the_first_point_above_a_level_is_the_first(case: tuple[Layers, Floats], level: float) -> None:
    layers, x = case
    directions = np.vstack([np.eye(len(x)), -np.eye(len(x))])
    t = first_positive(layers, x, pattern_at(layers, x), directions, np.full(len(directions), 20.0), level)
    for direction, first in zip(directions, t.tolist(), strict=True):
        ts = np.linspace(0, min(first * (1 - 1e-9), 20), 500)
        before = value(layers, x + ts[:, None] * direction).max(axis=1)
        assert first == 0 or (before < level + 1e-9).all()
        if np.isfinite(first):
            there = value(layers, x + first * direction).max()
            assert there >= level - 1e-7


def square(side: float) -> Floats:
    return side * np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])


def area(corners: Floats) -> float:
    x, y = corners.T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


@given(functions(n_inputs=2, widest=6))
@settings(max_examples=50)
def test_polygons_fill_the_rectangle_and_know_their_function(case: tuple[Layers, Floats]) -> None:
    layers, _ = case
    polygons = cut(layers, square(2.0))
    assert sum(area(polygon.corners) for polygon in polygons) == pytest.approx(16, rel=1e-9)
    for polygon in polygons:
        assert area(polygon.corners) > 0  # in order, and no slivers
        weights = np.random.default_rng(0).dirichlet(np.ones(len(polygon.corners)), 5)
        inside = weights @ polygon.corners
        np.testing.assert_allclose(polygon.outputs.at(inside), value(layers, inside), rtol=1e-7, atol=1e-7)


def every_pattern(layers: Layers) -> set[tuple[int, ...]]:
    """What a fine grid of points comes upon."""
    points = np.array(list(product(np.linspace(-2, 2, 150), repeat=2)))
    return {tuple(row) for row in np.hstack(pattern_at(layers, points)).tolist()}


@given(functions(n_inputs=2, widest=3))
@settings(max_examples=20)
def test_no_region_is_missed(case: tuple[Layers, Floats]) -> None:
    layers, _ = case
    known = {tuple(int(piece) for layer in polygon.pattern for piece in layer) for polygon in cut(layers, square(2.0))}
    assert every_pattern(layers) <= known


def test_too_many_regions_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(piecewise, "_MOST_REGIONS", 300)
    rng = np.random.default_rng(0)
    row = pieces_of(ACTIVATIONS["relu"])
    assert row is not None
    layer = Layer.alike(rng.normal(size=(2, 40)), rng.normal(size=40), row)
    with pytest.raises(UsageError, match="At most 300 regions"):
        cut([layer], square(9.0))
    monkeypatch.setattr(piecewise, "_MOST_REGIONS", 1_000)  # more than 40 lines can make
    assert 300 < len(cut([layer], square(9.0))) <= 1 + 40 + 40 * 39 // 2


@pytest.mark.parametrize(
    ("normal", "constant", "expected"),
    [
        ([1.0, 0.0], 0.0, [[0.0, -1.0], [0.0, 1.0]]),
        ([1.0, 1.0], 0.0, [[-1.0, 1.0], [1.0, -1.0]]),  # through two corners
        ([1.0, 1.0], -2.0, None),  # through one: it only touches
        ([1.0, 0.0], -1.0, [[1.0, -1.0], [1.0, 1.0]]),  # along an edge
        ([1.0, 0.0], 5.0, None),
        ([0.0, 0.0], 0.0, None),
    ],
)
def test_a_line_within_a_polygon(normal: list[float], constant: float, expected: list[list[float]] | None) -> None:
    found = zero_segment(square(1.0), np.array(normal), constant)
    assert (found is None) == (expected is None)
    if found is not None:
        assert sorted(found.tolist()) == expected


def test_the_comparisons_can_fail() -> None:
    """What these tests hold patterns and functions against tells a changed one."""
    layers = (Layer.alike([[1.0]], [0.0], pieces_of(ACTIVATIONS["relu"])), Layer.alike([[1.0]], [0.0], LINEAR))
    at = pattern_at(layers, np.array([1.0]))
    assert not same(at, pattern_at(layers, np.array([-1.0])))
    changed: Callable[[Floats], Floats] = affine_of(layers, at)[1].at
    assert changed(np.array([-1.0])) != value(layers, np.array([-1.0]))
