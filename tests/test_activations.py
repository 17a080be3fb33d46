"""The table of activations: every row against its textbook form, symbolically and in numbers."""

from __future__ import annotations

from typing import Any

import jax
import mpmath
import numpy as np
import pytest
import sympy

from glassnet.activations import ACTIVATIONS, ActivationRow, activation_row
from glassnet.errors import UsageError
from glassnet.expressions import Expression, function, parse, to_sympy

jax.config.update("jax_enable_x64", True)

Z = sympy.Symbol("z", real=True)
ROWS = pytest.mark.parametrize("row", ACTIVATIONS.values(), ids=list(ACTIVATIONS))
POSITIVE = ["1/1000", "1/7", "1/3", "5/8", "1", "2", "17/5", "23/3", "40"]
POINTS = [sympy.Rational(text) * side for text in POSITIVE for side in (1, -1)]

# Numbers of the table that stand for irrational ones; each is the nearest float64, as a test below checks.
IRRATIONAL = {
    sympy.Rational("0.7071067811865476"): 1 / sympy.sqrt(2),
    sympy.Rational("0.3989422804014327"): 1 / sympy.sqrt(2 * sympy.pi),
}


def _formula(expression: Expression, row: ActivationRow) -> Any:
    """The SymPy object of a row's expression in z, with a for f(z), every irrational number in its place."""
    formula = to_sympy(expression, lambda key: Z if key == "z" else sympy.Symbol(key, real=True))
    formula = formula.subs(sympy.Symbol("a", real=True), to_sympy(row.textbook, lambda key: Z))
    return formula.xreplace(IRRATIONAL)


def _assert_equal(formula: Any, expected: Any, at: Any, digits: int = 35) -> None:
    """Equal at the rational point `at` to `digits` digits, relative."""
    left, right = formula.subs(Z, at).evalf(60), expected.subs(Z, at).evalf(60)
    assert abs(left - right) <= sympy.Float(10, 60) ** -digits * max(abs(right), sympy.Float(10, 60) ** -digits), at


def test_the_comparison_can_fail() -> None:
    with pytest.raises(AssertionError):
        _assert_equal(sympy.exp(Z), sympy.exp(Z) * (1 + sympy.Rational(10) ** -34), sympy.Rational(1, 3))


def test_the_numbers_for_irrational_ones_are_the_nearest() -> None:
    for rational, irrational in IRRATIONAL.items():
        assert float(rational) == float(irrational.evalf(40))


@ROWS
def test_the_value_is_the_textbook_form(row: ActivationRow) -> None:
    value, textbook = _formula(row.value, row), _formula(row.textbook, row)
    for at in [*POINTS, sympy.Integer(0)]:
        _assert_equal(value, textbook, at)


@ROWS
def test_the_derivative_is_that_of_the_textbook_form(row: ActivationRow) -> None:
    derivative, expected = _formula(row.derivative, row), sympy.diff(_formula(row.textbook, row), Z)
    for at in POINTS:
        _assert_equal(derivative, expected, at)


@ROWS
def test_kinks_are_where_the_derivative_jumps(row: ActivationRow) -> None:
    textbook = _formula(row.textbook, row)
    slopes = [float(sympy.diff(textbook, Z).subs(Z, sympy.Rational(side, 10**12)).evalf(30)) for side in (-1, 1)]
    jumps = abs(slopes[0] - slopes[1]) > 1e-6
    assert (row.kinks == (0.0,)) == jumps, slopes
    at_kink = float(function(row.derivative, ("z", "a"))(0.0, float(function(row.value, ("z",))(0.0))))
    assert min(abs(at_kink - slope) for slope in slopes) < 1e-6  # the one of the left or of the right


def _truth(row: ActivationRow) -> tuple[Any, Any]:
    textbook = _formula(row.textbook, row)
    modules = ["mpmath", {"Heaviside": lambda x, *_: mpmath.mpf(x > 0)}]
    return sympy.lambdify(Z, textbook, modules), sympy.lambdify(Z, sympy.diff(textbook, Z), modules)


def _numbers(dtype: type[np.floating]) -> np.ndarray:
    sizes = np.concatenate([np.geomspace(1e-30, 30, 60), [36.5, 37.5, 40.0, 88.0, 100.0, 708.0, 800.0, 1e4]])
    return np.concatenate([-sizes[::-1], sizes]).astype(dtype)


@ROWS
def test_none_grows_faster_than_twice_its_argument(row: ActivationRow) -> None:
    """On which `kernels.loop` relies, where it leaves a pass over all rows out because no loss can be infinite."""
    z = np.concatenate([_numbers(np.float64), [-1e12, 1e12]])
    assert (np.abs(function(row.value, ("z",), "canonical")(z)) <= 2 * np.abs(z) + 2).all()


@ROWS
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("arithmetic_used", ["canonical", "library"])
def test_numbers_from_minus_to_plus_ten_thousand(row: ActivationRow, dtype: Any, arithmetic_used: Any) -> None:
    z = _numbers(dtype)
    a = np.broadcast_to(function(row.value, ("z",), arithmetic_used)(z), z.shape)
    slope = np.broadcast_to(function(row.derivative, ("z", "a"), arithmetic_used)(z, a), z.shape)
    assert a.dtype == dtype
    assert np.isfinite(a).all()
    assert np.isfinite(slope).all()
    exact, exact_slope = np.empty((2, z.size))
    value, derivative = _truth(row)
    for i, x in enumerate(z.tolist()):
        # log(1 + exp(-1e4)) wants a great many bits; the others cancel at most 1e-30 beside 1.
        with mpmath.workprec(400 + (int(1.5 * abs(x)) if row.name == "softplus" else 0)):
            exact[i], exact_slope[i] = value(mpmath.mpf(x)), derivative(mpmath.mpf(x))
    # A few units in the last place of the result; of 1 for gelu's tail (x**2 units of its own, see test_expressions)
    # and for a derivative that is a difference, 1 - a * a, of numbers near 1.
    unit = float(np.finfo(dtype).eps)
    np.testing.assert_allclose(a, exact, rtol=4 * unit, atol=4 * unit if row.name == "gelu" else 4e-38)
    np.testing.assert_allclose(slope, exact_slope, rtol=6 * unit, atol=6 * unit)


@ROWS
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_same_bits_alone_and_in_a_batch(row: ActivationRow, dtype: Any) -> None:
    z = np.random.default_rng(1).normal(0, 5, 97).astype(dtype)
    computed = function(row.value, ("z",))
    assert np.array([computed(one) for one in z], dtype).tobytes() == computed(z).tobytes()


@ROWS
def test_against_jax(row: ActivationRow) -> None:
    theirs = {
        "identity": lambda z: z,
        "gelu": lambda z: jax.nn.gelu(z, approximate=False),
        "softsign": jax.nn.soft_sign,
        "tanh": jax.numpy.tanh,
    }.get(row.name) or getattr(jax.nn, row.name)
    z = np.random.default_rng(2).normal(0, 4, 200)
    a = function(row.value, ("z",))(z)
    # Each side is a few units off, SELU's and GELU's constants included.
    np.testing.assert_allclose(a, theirs(z), rtol=1e-14, atol=1e-15)
    slope = np.broadcast_to(function(row.derivative, ("z", "a"))(z, a), z.shape)
    np.testing.assert_allclose(slope, jax.vmap(jax.grad(theirs))(z), rtol=1e-13, atol=2e-15)


def test_saturation_stays_inside_its_range() -> None:
    z = np.array([-1e4, -50.0, -20.0, 20.0, 50.0, 1e4])
    for dtype in (np.float32, np.float64):
        for arithmetic_used in ("canonical", "library"):
            for name, low, high in (("sigmoid", 0, 1), ("tanh", -1, 1), ("softsign", -1, 1), ("elu", -1, np.inf)):
                a = function(ACTIVATIONS[name].value, ("z",), arithmetic_used)(z.astype(dtype))
                assert ((a >= low) & (a <= high)).all(), name


def test_the_issue_s_eleven_are_there() -> None:
    named = "identity relu leaky_relu elu selu gelu silu softplus softsign tanh sigmoid"
    assert list(ACTIVATIONS) == named.split()
    for name, row in ACTIVATIONS.items():
        assert row.name == name
        assert row.source


def test_names() -> None:
    assert activation_row("logistic") is ACTIVATIONS["sigmoid"]
    with pytest.raises(UsageError, match=r"'rely' is not\. Did you mean 'relu'\?"):
        activation_row("rely")
    with pytest.raises(UsageError, match=r"one of identity, relu, .*; 'Zebra' is not\.$"):
        activation_row("Zebra")


def test_an_activation_is_written_in_z_alone() -> None:
    for row in ACTIVATIONS.values():
        function(row.value, ("z",))
        function(row.textbook, ("z",))
        function(row.derivative, ("z", "a"))
    with pytest.raises(UsageError, match="have none"):
        function(parse("alpha * z"), ("z",))
