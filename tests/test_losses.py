"""The table of losses: every row against its textbook form, jax and extreme logits."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

from glassnet.errors import UsageError
from glassnet.expressions import function, to_sympy
from glassnet.losses import LINKS, LOSSES, LossRow, loss_row

jax.config.update("jax_enable_x64", True)

NAMES = ["binary_cross_entropy", "mean_squared_error", "mean_absolute_error", "huber(0.7)", "poisson", "quantile(0.9)"]
LOGIT, TARGET = sympy.symbols("o y", real=True)
POINTS = [(sympy.Rational(a, 7), sympy.Rational(b, 5)) for a in (-40, -3, -1, 2, 5, 33) for b in (0, 1, 4, 5)]


def _formula(row: LossRow, expression: Any) -> Any:
    """In o and y: p is the link of o."""
    link = to_sympy(LINKS[row.link].value, lambda key: LOGIT)
    return to_sympy(expression, lambda key: {"o": LOGIT, "y": TARGET, "p": link}[key])


def assert_same(left: Any, right: Any, o: Any, y: Any) -> None:
    left, right = (part.subs({LOGIT: o, TARGET: y}).evalf(40) for part in (left, right))
    assert abs(left - right) < sympy.Float(10) ** -30 * (1 + abs(right)), (o, y)


def test_the_comparison_can_fail() -> None:
    with pytest.raises(AssertionError):
        assert_same(LOGIT + TARGET, LOGIT + TARGET + sympy.Rational(1, 10**25), sympy.Integer(1), sympy.Integer(2))


@pytest.mark.parametrize("name", NAMES)
def test_value_is_the_textbook_form_and_derivative_its_derivative(name: str) -> None:
    row = loss_row(name)
    value, textbook, derivative = (_formula(row, part) for part in (row.value, row.textbook, row.derivative))
    by_o = sympy.diff(textbook, LOGIT)
    for o, y in POINTS:
        if row.targets == "unit" and not 0 <= y <= 1:
            continue
        assert_same(value, textbook, o, y)
        if o != y:  # where absolute error and the quantile loss have their kink
            assert_same(derivative, by_o, o, y)


def test_softmax_cross_entropy_against_sympy_cross_terms_included() -> None:
    logits, ys = sympy.symbols("o1:4", real=True), sympy.symbols("y1:4", real=True)
    total = sum(sympy.exp(o) for o in logits)
    textbook = -sum(y * sympy.log(sympy.exp(o) / total) for o, y in zip(logits, ys, strict=True))
    row = loss_row("cross_entropy")
    o, y = np.array([[0.3, -1.2, 2.0]]), np.array([[0.2, 0.5, 0.3]])
    at = {**dict(zip(logits, o[0].tolist(), strict=True)), **dict(zip(ys, y[0].tolist(), strict=True))}
    m = o.max(axis=1, keepdims=True)
    s = np.exp(o - m).sum(axis=1, keepdims=True)
    p = function(LINKS["softmax"].value, ("o", "m", "s"))(o, m, s)
    value = function(row.value, ("o", "y", "m", "s"))(o, y, m, s).sum()
    assert value == pytest.approx(float(textbook.subs(at)), rel=1e-14)
    gradient = function(row.derivative, ("y", "p"))(y, p)[0]
    for k, logit in enumerate(logits):
        assert gradient[k] == pytest.approx(float(sympy.diff(textbook, logit).subs(at)), rel=1e-13)


JAX: dict[str, Any] = {
    "binary_cross_entropy": lambda o, y: jnp.logaddexp(0.0, o) - y * o,
    "mean_squared_error": lambda o, y: (o - y) ** 2,
    "mean_absolute_error": lambda o, y: jnp.abs(o - y),
    "huber(0.7)": lambda o, y: jnp.where(jnp.abs(o - y) < 0.7, (o - y) ** 2 / 2, 0.7 * (jnp.abs(o - y) - 0.35)),
    "poisson": lambda o, y: jnp.exp(o) - y * o,
    "quantile(0.9)": lambda o, y: jnp.where(y > o, 0.9 * (y - o), 0.1 * (o - y)),
}


@pytest.mark.parametrize("name", NAMES)
def test_against_jax(name: str) -> None:
    rng = np.random.default_rng(0)
    row, o = loss_row(name), rng.normal(0, 5, 200)
    y = (rng.uniform(size=200) > 0.5).astype(float)
    p = function(LINKS[row.link].value, ("o",))(o)
    np.testing.assert_allclose(function(row.value, ("o", "y"))(o, y), JAX[name](o, y), rtol=1e-13, atol=1e-15)
    slope = np.broadcast_to(function(row.derivative, ("o", "y", "p"))(o, y, p), o.shape)
    np.testing.assert_allclose(slope, jax.vmap(jax.grad(JAX[name]))(o, y), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("arithmetic_used", ["canonical", "library"])
@pytest.mark.parametrize("name", [*NAMES, "cross_entropy"])
def test_logits_of_ten_thousand(name: str, arithmetic_used: Any, dtype: Any) -> None:
    row, sizes = loss_row(name), (1e4, 800.0, 100.0, 0.0)
    o = np.array([[a, -a] for a in sizes], dtype)
    y = np.tile(np.array([1, 0], dtype), (len(sizes), 1))
    m = o.max(axis=1, keepdims=True)
    s = np.exp(o - m).sum(axis=1, keepdims=True)
    p = function(LINKS[row.link].value, ("o", "m", "s"), arithmetic_used)(o, m, s)
    value = function(row.value, ("o", "y", "p", "m", "s"), arithmetic_used)(o, y, p, m, s)
    slope = function(row.derivative, ("o", "y", "p"), arithmetic_used)(o, y, p)
    assert value.dtype == dtype
    assert not np.isnan(value).any()
    if row.link in ("sigmoid", "softmax"):
        assert ((p >= 0) & (p <= 1)).all()
    fits = o < (88 if dtype == np.float32 else 709) if name == "poisson" else np.full(o.shape, True)
    assert np.isfinite(value[fits]).all()  # Poisson's own value is larger than a float holds beyond
    assert np.isfinite(np.broadcast_to(slope, o.shape)[fits]).all()
    if name == "binary_cross_entropy":
        assert value[0].tolist() == [0.0, 0.0]
        flipped = function(row.value, ("o", "y"), arithmetic_used)(o, 1 - y)
        assert flipped[0].tolist() == [1e4, 1e4]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("binary_crossentropy", "Did you mean 'binary_cross_entropy'"),
        ("huber(-1)", "between 0 and inf"),
        ("quantile(1)", "between 0 and 1"),
        ("quantile(x)", "not of that form"),
        ("poisson(2)", "takes no parameter"),
        ("huber(1", "is not"),
        ("", "is not"),
    ],
)
def test_names_that_cannot_be_meant(name: str, said: str) -> None:
    with pytest.raises(UsageError) as problem:
        loss_row(name)
    assert said in str(problem.value)


def test_the_parameter_is_put_in() -> None:
    assert loss_row("huber").parameter == 1.0
    assert float(function(loss_row(" quantile( 0.9 )").value, ("o", "y"))(0.0, 1.0)) == pytest.approx(0.9)
    assert float(function(loss_row("huber(2)").derivative, ("o", "y"))(5.0, 0.0)) == 2.0


def test_every_row_has_its_source_and_link() -> None:
    for name, row in LOSSES.items():
        assert row.name == name
        assert row.source
        assert row.link in LINKS
