"""The table of losses: every row against its textbook form, against SymPy and against jax.grad, and in numbers."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

from glassnet.errors import UsageError
from glassnet.expressions import Expression, function, to_sympy
from glassnet.losses import LINKS, LOSSES, LossRow, loss_row

jax.config.update("jax_enable_x64", True)

NAMES = ["binary_cross_entropy", "cross_entropy", "mean_squared_error", "mean_absolute_error", "huber", "huber(0.3)",
         "poisson", "quantile", "quantile(0.9)"]  # fmt: skip
EVERY = pytest.mark.parametrize("name", NAMES)
ONE_OUTPUT = pytest.mark.parametrize("name", [name for name in NAMES if name != "cross_entropy"])
LOGIT, TARGET = sympy.symbols("o y", real=True)
LOGITS = [sympy.Rational(text) * side for text in ("1/100", "1/3", "1", "7/4", "5", "30") for side in (1, -1)]


def _targets(row: LossRow) -> list[Any]:
    texts = {"unit": "0 1/5 3/4 1", "nonnegative": "0 1/2 3 17"}.get(row.targets, "-5 -2/3 1/7 2 30")
    return [sympy.Rational(text) for text in texts.split()]


def _formula(expression: Expression, row: LossRow) -> Any:
    """A row's expression in o and y alone: p is the link's textbook form."""
    link = {"identity": LOGIT, "sigmoid": 1 / (1 + sympy.exp(-LOGIT)), "exp": sympy.exp(LOGIT)}[row.link]
    return to_sympy(expression, {"o": LOGIT, "y": TARGET, "p": link}.__getitem__)


def _assert_equal(left: Any, right: Any, at: dict[Any, Any], digits: int = 35) -> None:
    left, right = (sympy.sympify(side).subs(at).evalf(60) for side in (left, right))
    unit = sympy.Float(10, 60) ** -digits
    assert abs(left - right) <= unit * max(abs(right), 1), at


def test_the_comparison_can_fail() -> None:
    with pytest.raises(AssertionError):
        _assert_equal(sympy.exp(LOGIT), sympy.exp(LOGIT) + sympy.Rational(1, 10**34), {LOGIT: sympy.Rational(1, 3)})


# --- SymPy -------------------------------------------------------------------------------------------------------


@ONE_OUTPUT
def test_value_and_derivative_are_those_of_the_textbook_form(name: str) -> None:
    row = loss_row(name)
    value, textbook = _formula(row.value, row), _formula(row.textbook, row)
    derivative, expected = _formula(row.derivative, row), sympy.diff(textbook, LOGIT)
    for o in LOGITS:
        for y in _targets(row):
            at = {LOGIT: o, TARGET: y}
            _assert_equal(value, textbook, at)
            if o != y:  # mean absolute error and quantile have a kink there
                _assert_equal(derivative, expected, at)


def test_cross_entropy_with_its_cross_terms() -> None:
    """d/do_j of the sum of -y_k log p_k is p_j - y_j: every logit moves every probability; the targets sum to 1."""
    row = LOSSES["cross_entropy"]
    o, y = sympy.symbols("o1:4", real=True), sympy.symbols("y1:4", real=True)
    exponentials = [sympy.exp(k) for k in o]
    p = [each / sum(exponentials) for each in exponentials]
    m = sympy.Max(*o)
    s = sum(sympy.exp(k - m) for k in o)

    def formula(expression: Expression, k: int) -> Any:
        return to_sympy(expression, {"o": o[k], "y": y[k], "p": p[k], "m": m, "s": s}.__getitem__)

    textbook = sum(formula(row.textbook, k) for k in range(3))
    value = sum(formula(row.value, k) for k in range(3))
    points = [
        ("1/3", "-2", "5/7", "1/2", "1/3", "1/6"),
        ("30", "-30", "1", "0", "1", "0"),
        ("-4", "3", "2", "0", "0", "1"),
    ]
    for point in points:
        at = dict(zip((*o, *y), map(sympy.Rational, point), strict=True))
        _assert_equal(value, textbook, at)
        for k in range(3):
            _assert_equal(formula(row.derivative, k), sympy.diff(textbook, o[k]), at)
            _assert_equal(formula(LINKS["softmax"].value, k), p[k], at)


@ONE_OUTPUT
def test_the_derivative_jumps_at_the_target_or_nowhere(name: str) -> None:
    row = loss_row(name)
    slope, y, tiny = _formula(row.derivative, row), _targets(row)[1], sympy.Rational(1, 10**15)
    c = sympy.Rational(str(row.parameter or 1))
    # The places where a piece may end: at the target, and at huber's distance c from it.
    jumps = [
        at - y
        for at in (y - c, y, y + c)
        if abs((slope.subs({LOGIT: at - tiny, TARGET: y}) - slope.subs({LOGIT: at + tiny, TARGET: y})).evalf(40)) > 1e-9
    ]
    kinked = row.name in ("mean_absolute_error", "quantile")
    assert jumps == ([0] if kinked else [])
    if kinked:  # between the slopes of the two sides: 0
        assert slope.subs({LOGIT: y, TARGET: y}) == 0


# --- jax ---------------------------------------------------------------------------------------------------------

THEIRS: dict[str, Callable[[Any, Any, float], Any]] = {
    "binary_cross_entropy": lambda o, y, c: -(y * jax.nn.log_sigmoid(o) + (1 - y) * jax.nn.log_sigmoid(-o)).mean(),
    "cross_entropy": lambda o, y, c: -(y * jax.nn.log_softmax(o)).sum(),
    "mean_squared_error": lambda o, y, c: ((o - y) ** 2).mean(),
    "mean_absolute_error": lambda o, y, c: jnp.abs(o - y).mean(),
    "huber": lambda o, y, c: jnp.where(jnp.abs(o - y) < c, (o - y) ** 2 / 2, c * jnp.abs(o - y) - c**2 / 2).mean(),
    "poisson": lambda o, y, c: (jnp.exp(o) - y * o).mean(),
    "quantile": lambda o, y, c: jnp.where(y > o, c * (y - o), (1 - c) * (o - y)).mean(),
}


def _computed(name: str, o: np.ndarray, y: np.ndarray, arithmetic_used: Any = "canonical") -> tuple[Any, ...]:
    """Row losses (n,), deltas (n, k), probabilities (n, k) by the table's row, as the conventions have them."""
    row = loss_row(name)
    m = o.max(axis=1, keepdims=True)
    s = np.exp(o - m).sum(axis=1, keepdims=True)
    p = function(LINKS[row.link].value, ("o", "m", "s"), arithmetic_used)(o, m, s)
    terms = function(row.value, ("o", "y", "p", "m", "s"), arithmetic_used)(o, y, p, m, s)
    deltas = function(row.derivative, ("o", "y", "p"), arithmetic_used)(o, y, p)
    if row.sums_over_outputs:
        return terms.sum(axis=1), deltas, p
    return terms.mean(axis=1), deltas / o.dtype.type(o.shape[1]), p


def _cases(name: str, n_outputs: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    o = rng.normal(0, 6, (300, n_outputs))
    kind = loss_row(name).targets
    if kind == "classes":
        y = rng.dirichlet(np.ones(n_outputs), 300)
        y[:150] = np.eye(n_outputs)[rng.integers(n_outputs, size=150)]
    elif kind == "unit":
        y = np.where(rng.random(o.shape) < 0.5, rng.integers(2, size=o.shape), rng.random(o.shape))
    else:
        y = rng.poisson(3, o.shape) * 1.0 if kind == "nonnegative" else rng.normal(0, 6, o.shape)
    return o, y


@pytest.mark.parametrize("n_outputs", [1, 2, 3])
@EVERY
def test_against_jax_grad(name: str, n_outputs: int) -> None:
    row = loss_row(name)
    if row.sums_over_outputs and n_outputs == 1:
        n_outputs = 5
    o, y = _cases(name, n_outputs)
    theirs = jax.vmap(jax.value_and_grad(THEIRS[row.name]), (0, 0, None))
    losses, deltas = theirs(o, y, row.parameter or 0.0)
    for arithmetic_used in ("canonical", "library"):
        mine = _computed(name, o, y, arithmetic_used)
        # Logits up to 20 and y of the same size: a few roundings of numbers of at most 400.
        np.testing.assert_allclose(mine[0], losses, rtol=1e-13, atol=1e-13)
        np.testing.assert_allclose(mine[1], deltas, rtol=1e-13, atol=1e-13)


# --- numbers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("arithmetic_used", ["canonical", "library"])
@EVERY
def test_finite_and_silent_from_minus_to_plus_ten_thousand(name: str, arithmetic_used: Any, dtype: Any) -> None:
    row = loss_row(name)
    o = np.array([[-1e4, 1e4], [1e4, -1e4], [1e4, 1e4], [-1e4, -1e4], [0, 1e4], [-88, 88], [-710, 710], [0, 0]], dtype)
    targets = {"unit": [[0, 1], [1, 0], [0, 0], [1, 1], [0.5, 0.5]], "classes": [[0, 1], [1, 0], [0.5, 0.5]]}
    for target in targets.get(row.targets, [[0, 0], [3, 7], [1e4, 1e4]]):
        y = np.broadcast_to(np.array(target, dtype), o.shape)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            losses, deltas, p = _computed(name, o, y, arithmetic_used)
        assert {losses.dtype, deltas.dtype, p.dtype} == {np.dtype(dtype)}
        if row.link in ("sigmoid", "softmax"):
            assert ((p >= 0) & (p <= 1)).all()
        if row.link == "softmax":
            np.testing.assert_allclose(p.sum(axis=1), 1, rtol=2 * np.finfo(dtype).eps)
        if row.name == "poisson":
            # The loss itself passes every float where exp(o) does; it is infinite there, never nan.
            fits = o < np.log(np.finfo(dtype).max) - 1e-4
            assert np.isfinite(losses[fits.all(axis=1)]).all()
            assert (losses[~fits.all(axis=1)] == np.inf).all()
            assert not np.isnan(deltas).any()
            continue
        assert np.isfinite(losses).all()
        assert np.isfinite(deltas).all()


def test_extreme_logits_give_the_values_of_a_book() -> None:
    o, y = np.array([[1e4], [-1e4], [1e4]]), np.array([[1.0], [1.0], [0.25]])
    losses, deltas, p = _computed("binary_cross_entropy", o, y)
    assert losses.tolist() == [0, 1e4, 7500]
    assert deltas.ravel().tolist() == [0, -1, 0.75]
    assert p.ravel().tolist() == [1, 0, 1]
    losses, deltas, p = _computed("cross_entropy", np.array([[1e4, 0, -1e4]]), np.array([[0.0, 0, 1]]))
    assert losses.tolist() == [2e4]
    assert deltas.tolist() == [[1, 0, -1]]
    assert p.tolist() == [[1, 0, 0]]


def test_every_loss_is_least_where_the_prediction_is_the_target() -> None:
    """And quantile(c) where a share c of the targets lies below: the loss's own meaning."""
    y = np.linspace(0, 1, 101)[:, np.newaxis]
    for c in (0.1, 0.5, 0.9):
        best = min(np.linspace(0, 1, 101), key=lambda o: _computed(f"quantile({c})", np.full_like(y, o), y)[0].sum())
        assert best == pytest.approx(c, abs=0.011)
    for name in ("mean_squared_error", "mean_absolute_error", "huber"):
        losses, deltas, _ = _computed(name, y, y)
        assert not losses.any()
        assert not deltas.any()


# --- names and parameters ------------------------------------------------------------------------------------------


def test_the_issue_s_seven_are_there() -> None:
    assert {name.split("(")[0] for name in NAMES} == set(LOSSES)
    for name, row in LOSSES.items():
        assert row.name == name
        assert row.source
        assert row.link in LINKS
        assert row.targets in ("any", "unit", "classes", "nonnegative")


def test_a_parameter_takes_the_place_of_c() -> None:
    assert loss_row("quantile(0.9)").parameter == 0.9
    assert "0.9" in str(loss_row("quantile(0.9)").value)
    assert loss_row(" huber ( 2 ) ").parameter == 2.0
    for name in NAMES:
        row = loss_row(name)
        for expression in (row.value, row.derivative):
            function(expression, ("o", "y", "p", "m", "s"))  # no symbol is left without a value


@pytest.mark.parametrize(
    ("name", "fragment"),
    [
        ("binary_crossentropy", "Did you mean 'binary_cross_entropy'?"),
        ("mse", "A loss is one of binary_cross_entropy, cross_entropy"),
        ("hubber(2)", "'hubber(2)' is not. Did you mean 'huber'?"),
        ("", "A loss is one of"),
        ("huber(2", "A loss is one of"),
        ("huber(2)(3)", "A loss is one of"),
        ("mean_squared_error(2)", "mean_squared_error takes no parameter; 'mean_squared_error(2)' gives one."),
        ("mean_squared_error()", "takes no parameter"),
        ("huber(0)", "lies between 0 and inf"),
        ("huber(-1)", "lies between 0 and inf"),
        ("huber(inf)", "lies between 0 and inf"),
        ("huber(nan)", "lies between 0 and inf"),
        ("huber()", "lies between 0 and inf"),
        ("huber(two)", "lies between 0 and inf"),
        ("quantile(0)", "lies between 0 and 1"),
        ("quantile(1)", "lies between 0 and 1"),
        ("quantile(0.5, 0.6)", "lies between 0 and 1"),
        ("quantile(__import__('os'))", "A loss is one of"),
    ],
)
def test_what_is_no_loss_is_refused(name: str, fragment: str) -> None:
    with pytest.raises(UsageError) as caught:
        loss_row(name)
    assert fragment in str(caught.value)
