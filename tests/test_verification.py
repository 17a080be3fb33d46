"""Every number accounted for: the tables against SymPy as formulas, whole gradients against SymPy's to 50 digits.

And `verify` itself: it agrees with what is right, names what is wrong, and tells a kink from a mistake.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache, reduce
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
import sympy
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import glassnet as gn
from glassnet import activations, losses, reference
from glassnet.activations import ACTIVATIONS, ActivationRow
from glassnet.cli import main
from glassnet.columns import Recipe
from glassnet.equations import Map, Reduce, Symbol, equations
from glassnet.errors import UsageError
from glassnet.expressions import Expression, call, parse, to_sympy
from glassnet.losses import LOSSES, LossRow, loss_row
from glassnet.model import Model
from glassnet.network import Network, Parameters, initialize
from glassnet.verification import by_differences, comparing, verify, worked
from glassnet.verification.by_sympy import MOST_TERMS, Formula, n_terms
from glassnet.verification.comparing import ROUNDINGS, verify_network
from glassnet.verification.quantities import numbers_of, order_of, sizes_of
from glassnet.verification.verdict import Comparison, Verification
from glassnet.verification.worked import worked_numbers

NAMES = ["binary_cross_entropy", "cross_entropy", "mean_squared_error", "mean_absolute_error", "huber", "huber(0.3)",
         "poisson", "quantile", "quantile(0.9)"]  # fmt: skip
ONE_OUTPUT = [name for name in NAMES if name != "cross_entropy"]
EVERY_ACTIVATION = pytest.mark.parametrize("activation", ACTIVATIONS)
# Numbers of the tables that stand for irrational ones, as test_activations shows.
ROOT_HALF, NORMAL_PEAK = 0.7071067811865476, 0.3989422804014327
IRRATIONAL = {
    sign * sympy.Rational(str(number)): sign * exact
    for number, exact in ((ROOT_HALF, 1 / sympy.sqrt(2)), (NORMAL_PEAK, 1 / sympy.sqrt(2 * sympy.pi)))
    for sign in (1, -1)
}


# --- the tables' rows, as formulas ---------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [1, -1], ids=["positive", "negative"])
@EVERY_ACTIVATION
def test_an_activation_s_derivative_is_sympy_s_formula(activation: str, side: int) -> None:
    row = ACTIVATIONS[activation]
    assert _of_activation(row, row.derivative, side) == 0


def _of_activation(row: ActivationRow, derivative: Expression, side: int) -> Any:
    """The derivative less SymPy's, as a formula in z > 0 or z < 0."""
    z, at = sympy.Symbol("z", real=True), side * sympy.Symbol("z", positive=True)
    textbook = to_sympy(row.textbook, lambda key: z)
    found = to_sympy(derivative, {"z": at, "a": textbook.subs(z, at)}.__getitem__).xreplace(IRRATIONAL)
    difference = (found - sympy.diff(textbook, z).subs(z, at)).rewrite(sympy.erf)
    # exp(-z^2 / 2) is one function for SymPy, and e^z another: they are told apart by what the formula holds.
    return sympy.simplify(sympy.expand(difference) if difference.has(sympy.erf) else difference.rewrite(sympy.exp))


@pytest.mark.parametrize("side", [1, -1], ids=["above", "below"])
@pytest.mark.parametrize("loss", ONE_OUTPUT)
def test_a_loss_s_derivative_is_sympy_s_formula(loss: str, side: int) -> None:
    row = loss_row(loss)
    assert _of_loss(row, row.derivative, side) == 0


def _of_loss(row: LossRow, derivative: Expression, side: int) -> Any:
    """The derivative less SymPy's, as a formula in y and a logit above or below it."""
    o, y = sympy.symbols("o y", real=True)
    link = {"identity": o, "sigmoid": 1 / (1 + sympy.exp(-o)), "exp": sympy.exp(o)}[row.link]
    found, textbook = (to_sympy(e, {"o": o, "y": y, "p": link}.__getitem__) for e in (derivative, row.textbook))
    difference = (found - sympy.diff(textbook, o)).subs(o, y + side * sympy.Symbol("d", positive=True))
    return sympy.simplify(sympy.piecewise_fold(difference.rewrite(sympy.Piecewise)))


def test_cross_entropy_s_derivative_is_sympy_s_formula() -> None:
    row, o, y = LOSSES["cross_entropy"], sympy.symbols("o1:4", real=True), sympy.symbols("y1:3", real=True)
    y = (*y, 1 - y[0] - y[1])  # the targets of a row sum to 1
    p = [sympy.exp(k) / sum(map(sympy.exp, o)) for k in o]
    loss = sum(to_sympy(row.textbook, {"y": y[k], "p": p[k]}.__getitem__) for k in range(3))
    for k in range(3):
        found = to_sympy(row.derivative, {"y": y[k], "p": p[k]}.__getitem__)
        assert sympy.simplify(sympy.expand_log(found - sympy.diff(loss, o[k]), force=True)) == 0


def test_a_wrong_derivative_is_no_formula_of_sympy_s() -> None:
    assert _of_activation(ACTIVATIONS["tanh"], parse("1 - a"), 1) != 0
    assert _of_activation(ACTIVATIONS["relu"], parse("select(z > 0, 1, 0.001)"), -1) != 0
    assert _of_loss(loss_row("huber"), parse("o - y"), 1) != 0
    assert _of_loss(loss_row("mean_squared_error"), parse("o - y"), 1) != 0


# --- whole gradients, to 50 digits ---------------------------------------------------------------------------------

DIGITS = 50
OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": lambda *a: reduce(lambda x, y: x + y, a),
    "mul": lambda *a: reduce(lambda x, y: x * y, a),
    "sub": lambda a, b: a - b,
    "div": lambda a, b: a / b,
    "neg": lambda a: -a,
    "pow": lambda a, b: a**b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "eq": lambda a, b: a == b,
    "select": lambda c, a, b: a if c else b,
    "abs": abs,
    "sign": mpmath.sign,
    "max": max,
    "min": min,
    "sqrt": mpmath.sqrt,
    "exp": mpmath.exp,
    "log": mpmath.log,
    "log1p": mpmath.log1p,
    "expm1": mpmath.expm1,
    "tanh": mpmath.tanh,
    "sigmoid": lambda a: 1 / (1 + mpmath.exp(-a)),
    "softplus": lambda a: mpmath.log1p(mpmath.exp(a)),
    "erf": mpmath.erf,
    "erfc": mpmath.erfc,
}


def exact(expression: Expression, numbers: dict[str, Any]) -> Any:
    """The expression's value in mpmath's arithmetic; `numbers` by the symbols' printed names."""
    if expression.op == "symbol":
        return numbers[str(expression.args[0])]
    if expression.op == "const":
        value = expression.args[0]
        irrational = {
            ROOT_HALF: lambda: mpmath.sqrt(mpmath.mpf(1) / 2),
            NORMAL_PEAK: lambda: 1 / mpmath.sqrt(2 * mpmath.pi),
        }
        return irrational[value]() if value in irrational else mpmath.mpf(str(value))
    return OPERATIONS[expression.op](*(exact(operand, numbers) for operand in expression.args))


def derived(network: Network, numbers: dict[str, Any]) -> dict[str, Any]:
    """Every equation of the network carried out for one row, line by line, at mpmath's precision."""
    found = dict(numbers)
    for equation in equations(network):
        for line in equation.scalars():
            match line.body:
                case Map(expression):
                    found[str(line.target)] = exact(expression, found)
                case Reduce("sum", ("row",), expression):  # of a single row
                    found[str(line.target)] = exact(expression, found)
                case _:
                    raise AssertionError(line)
    return found


@cache
def by_sympy(network: Network) -> Callable[..., list[Any]]:
    """SymPy's derivative of the whole forward expression by every parameter, as a function of x, y, parameters."""
    formula = Formula.of(network)
    names = {"Heaviside": lambda z, *_: mpmath.mpf(z > 0)}
    arguments = [*formula.x, *formula.y, *formula.parameters]
    return sympy.lambdify(arguments, [formula.loss, *formula.gradient()], [names, "mpmath"], cse=True)  # type: ignore[no-any-return]


def largest_difference(network: Network, seed: int) -> Any:
    """Between the derived loss and gradient and SymPy's, relative to the larger of 1 and the number itself."""
    rng = np.random.default_rng(seed)
    x, vector = rng.normal(0, 1.5, network.n_features), rng.normal(0, 1, network.n_parameters)
    y = target_of(network, rng, 1)[0]
    with mpmath.workdps(2 * DIGITS):
        names = ["y"] if network.n_outputs == 1 else [f"y{k}" for k in range(1, network.n_outputs + 1)]
        names = [*(f"x{i}" for i in range(1, network.n_features + 1)), *names, *network.parameter_names()]
        given_numbers = [mpmath.mpf(float(value)) for value in (*x, *y, *vector)]
        if network.loss_row.targets == "classes":
            given_numbers[network.n_features + network.n_outputs - 1] += 1 - sum(
                given_numbers[network.n_features : network.n_features + network.n_outputs]
            )
        found = derived(network, dict(zip(names, given_numbers, strict=True)) | {"share": mpmath.mpf(1)})
        mine = [found["loss"], *(found[f"dL/d{name}"] for name in network.parameter_names())]
        theirs = by_sympy(network)(*given_numbers)
        assert len(mine) == len(theirs) == 1 + network.n_parameters
        return max(abs(a - b) / max(1, abs(b)) for a, b in zip(mine, theirs, strict=True))


def target_of(network: Network, rng: np.random.Generator, n: int) -> np.ndarray:
    kind, shape = network.loss_row.targets, (n, network.n_outputs)
    if kind == "classes":
        return rng.dirichlet(np.ones(network.n_outputs), n)
    return {"unit": rng.random(shape), "nonnegative": rng.poisson(3, shape) * 1.0}.get(kind, rng.normal(0, 2, shape))


@pytest.mark.parametrize("loss", NAMES)
@EVERY_ACTIVATION
def test_every_activation_with_every_loss_to_fifty_digits(activation: str, loss: str) -> None:
    network = Network((1, 1, 2 if loss == "cross_entropy" else 1), activation, loss)
    for seed in range(3):
        assert largest_difference(network, seed) < mpmath.mpf(10) ** -DIGITS


@st.composite
def networks(draw: st.DrawFn) -> Network:
    loss = draw(st.sampled_from(NAMES))
    outputs = draw(st.integers(2 if loss == "cross_entropy" else 1, 3))
    hidden = draw(st.lists(st.integers(1, 3), max_size=3))
    names = draw(st.lists(st.sampled_from(list(ACTIVATIONS)), min_size=len(hidden), max_size=len(hidden)))
    last = draw(st.sampled_from(list(ACTIVATIONS))) if loss_row(loss).link == "identity" else "identity"
    return Network((draw(st.integers(1, 3)), *hidden, outputs), (*names, last), loss)


@settings(max_examples=40)
@given(networks(), st.integers(0, 2**32))
def test_the_whole_gradient_of_generated_shapes_to_fifty_digits(network: Network, seed: int) -> None:
    assume(n_terms(network) < 4_000)
    assert largest_difference(network, seed) < mpmath.mpf(10) ** -DIGITS


def test_one_part_in_1e40_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network((2, 2, 1), "sigmoid")
    row = ACTIVATIONS["sigmoid"]
    assert largest_difference(network, 0) < mpmath.mpf(10) ** -DIGITS
    tiny = call("mul", row.derivative, call("add", *map(parse, ("1", "1e-40"))))
    monkeypatch.setitem(activations.ACTIVATIONS, "sigmoid", replace(row, derivative=tiny))
    assert largest_difference(network, 0) > mpmath.mpf(10) ** -45


# --- the equations with numbers put in ------------------------------------------------------------------------------


def job(network: Network, n: int = 7, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "network": network,
        "parameters": Parameters(network, rng.normal(0, 0.8, network.n_parameters)),
        "X": rng.normal(size=(n, network.n_features)),
        "y": target_of(network, rng, n),
        "row_weights": rng.uniform(0.5, 2, n),
    }


@settings(max_examples=30)
@given(networks(), st.integers(0, 1000))
def test_all_indices_at_once_give_what_the_lines_give(network: Network, seed: int) -> None:
    made = job(network, seed=seed)
    found = equations(network).items
    by_lines = worked_numbers(**made, found=found)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worked, "MOST_LINES", 0)
        at_once = worked_numbers(**made, found=found)
    assert by_lines.keys() == at_once.keys()
    truth = numbers_of(reference.backward(**made))
    for kind, numbers in by_lines.items():
        np.testing.assert_array_equal(numbers, at_once[kind], err_msg=kind)
        assert np.isfinite(numbers).all()
        if kind in truth:
            assert numbers.shape == np.shape(truth[kind]), kind
            if not kind.startswith(("L", "delta", "d")):
                np.testing.assert_array_equal(numbers, truth[kind], err_msg=kind)
    assert set(order_of(network)) - {"x", "predicted"} <= by_lines.keys()


# --- verify: what is right -------------------------------------------------------------------------------------------


def said(result: Verification) -> str:
    """The remarks, not broken into lines."""
    return " ".join(result.remarks)


def every_pair(result: Verification) -> dict[tuple[str, str], Comparison]:
    return {(pair.first, pair.second): pair for pair in result.comparisons}


@EVERY_ACTIVATION
def test_what_is_right_agrees(activation: str) -> None:
    network = Network((3, 3, 2), activation, "cross_entropy")
    result = verify_network(**job(network), others=["jax"])
    assert result.ok, result
    pairs = every_pair(result)
    assert len(pairs) == 10
    for pair in result.comparisons:
        assert pair.compared >= 7 * network.n_parameters
        assert pair.wrong == pair.not_judged == 0
        # Really another computation: errors there are, though the worked calculation may give the reference's bits.
        assert pair.largest_error > 0 or "worked calculation" in (pair.first, pair.second)
        assert pair.largest_error < (1e-9 if "differences" in (pair.first, pair.second) else 1e-14), pair
    assert pairs["worked calculation", "reference"].largest_share < 0.2
    assert pairs["reference", "differences"].at.startswith(("dloss", "delta"))
    assert "All agree" in str(result)


@pytest.mark.parametrize("loss", NAMES)
def test_every_loss_agrees_with_jax_and_sympy_too(loss: str) -> None:
    network = Network((2, 2, 2), "tanh", loss)
    result = verify_network(**job(network, n=4))
    assert result.ok, result
    assert {pair.second for pair in result.comparisons} == {
        "reference",
        "compiled engine",
        "differences",
        "jax",
        "SymPy",
    }
    assert every_pair(result)["differences", "SymPy"].compared == 4 * (network.n_parameters + 4)  # and every delta


def test_float32_is_held_to_float32_s_rounding() -> None:
    made = job(Network((3, 4, 1), "gelu"))
    made["parameters"] = Parameters(made["network"], made["parameters"].vector.astype(np.float32))
    result = verify_network(**made, others=[])
    pairs = every_pair(result)
    assert result.ok, result
    assert pairs["reference", "compiled engine"].largest_error > 1e-9
    assert pairs["worked calculation", "reference"].largest_error < 1e-14


def test_wide_networks_are_sampled_and_it_is_said() -> None:
    network = Network((784, 128, 10), "relu", "cross_entropy")
    made = job(network, n=2)
    made["parameters"] = initialize(network)
    result = verify_network(**made, others=[])
    assert result.ok, result
    pairs = every_pair(result)
    assert pairs["worked calculation", "compiled engine"].compared > 2 * network.n_parameters
    assert 2 * 500 < pairs["reference", "differences"].compared < 2 * 2000
    said = " ".join(result.remarks)
    assert "of the 101,770 parameters, some of every layer's weights and biases, drawn with seed 0" in said
    assert "goes by the indexed equations" in said
    of = by_differences.sampled(network, 100)
    blocks = [{name.split("_")[0] for name in np.array(network.parameter_names())[of]}]
    assert blocks == [{"w1", "b1", "w2", "b2"}]
    assert len(np.unique(of)) == len(of) == 100


def test_what_overflows_is_not_judged_and_it_is_said() -> None:
    network = Network((1, 1), loss="poisson")
    result = verify_network(network, Parameters(network, np.array([1.0, 0.0])), [[1.0], [800.0]], [1.0, 2.0])
    assert result.ok, result
    assert "Not judged: up to" in str(result)
    assert "All that were judged agree" in str(result)


# --- verify: kinks ---------------------------------------------------------------------------------------------------


def near_a_kink(z: float, activation: str = "relu") -> dict[str, Any]:
    """z1_1 of row 1 is `z`; everything else lies far from a kink."""
    network = Network((1, 2, 1), activation, "mean_squared_error")
    parameters = Parameters.from_layers(
        network, [np.array([[1.0, 1.0]]), np.array([[2.0], [1.0]])], [np.array([-1.0, 1.0]), np.array([0.5])]
    )
    return {"network": network, "parameters": parameters, "X": [[3.0], [1.0 + z]], "y": [1.0, 0.0]}


@pytest.mark.parametrize("z", [1e-3, -1e-3, 1e-6, 1e-10, -1e-10, 1e-13])
@pytest.mark.parametrize("activation", [*(name for name, row in ACTIVATIONS.items() if row.kinks), "elu", "softsign"])
def test_a_kink_is_told_from_a_mistake(activation: str, z: float, monkeypatch: pytest.MonkeyPatch) -> None:
    made = near_a_kink(z, activation)
    result = verify_network(**made, others=[])
    assert result.ok, result
    assert (
        "2 difference quotients would have stepped over a kink or a bend: of z1_1 in row 1 (w1_1_1, b1_1). Taken"
        in said(result)
    )
    pair = every_pair(result)["reference", "differences"]
    assert pair.not_judged == 0
    assert pair.largest_error < 1e-7
    # With the kink there, a mistake in the very same place is still seen.
    wrong = made["parameters"].vector.copy()
    row = ACTIVATIONS[activation]
    bent = call("add", row.derivative, parse(f"select(abs(z) < {2 * abs(z)}, 0.001, 0)"))
    monkeypatch.setitem(activations.ACTIVATIONS, activation, replace(row, derivative=bent))
    result = verify_network(**made | {"parameters": Parameters(made["network"], wrong)}, others=[])
    assert not result.ok
    assert result.first_wrong is not None
    assert (result.first_wrong.quantity, result.first_wrong.row) == ("delta1_1", 1)


def test_on_a_kink_itself_nothing_is_judged_and_it_is_said() -> None:
    result = verify_network(**near_a_kink(0.0), others=[])
    assert result.ok, result
    assert "In 1 row a number lies on a kink as far as rounding can tell, the first z1_1 in row 1" in said(result)
    assert every_pair(result)["reference", "differences"].not_judged > 0
    away = verify_network(**near_a_kink(0.1), others=[])
    assert "on a kink" not in said(away)


def test_a_loss_s_own_kink() -> None:
    network = Network((1, 1), loss="mean_absolute_error")
    parameters = Parameters(network, np.array([1.0, 1.0]))
    near = verify_network(network, parameters, [[2.0], [1.0]], [3.0001, 0.0], others=[])
    assert near.ok, near
    assert "stepped over a kink or a bend: of o in row 0 (w1_1_1, b1_1)" in said(near)
    at = verify_network(network, parameters, [[2.0], [1.0]], [3.0, 0.0], others=[])
    assert at.ok, at
    assert "the first o in row 0" in said(at)


# --- verify: what is wrong -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", [name for name in ACTIVATIONS if name != "identity"])  # the output's too
def test_a_wrong_derivative_of_an_activation_is_named(activation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network((2, 3, 2, 1), ("tanh" if activation != "tanh" else "sigmoid", activation))
    made, row = job(network), ACTIVATIONS[activation]
    made["parameters"].biases[1][:] = 1.5  # a relu that is 0 in every row has no derivative to be wrong
    assert verify_network(**made, others=[]).ok
    slightly = call("mul", row.derivative, parse("1.0001"))
    monkeypatch.setitem(activations.ACTIVATIONS, activation, replace(row, derivative=slightly))
    result = verify_network(**made, others=[])
    assert not result.ok
    assert result.first_wrong is not None
    # delta3 comes before it, and is right; dloss/dw3 too.
    assert result.first_wrong.quantity == "delta2_1"
    assert result.first_wrong.note == f"derivative of {activation}"
    assert result.first_wrong.equation.startswith("delta2_1 = dloss/da2_1 * ")
    values = result.first_wrong.values
    assert values["worked calculation"] == pytest.approx(values["compiled engine"], rel=1e-12)
    assert values["reference"] == pytest.approx(1.0001 * values["differences"], rel=1e-6)
    pairs = every_pair(result)
    assert pairs["worked calculation", "compiled engine"].wrong == 0  # they share the table's row
    for one in ("worked calculation", "reference", "compiled engine"):
        assert pairs[one, "differences"].wrong > 0


@pytest.mark.parametrize("loss", LOSSES)
def test_a_wrong_derivative_of_a_loss_is_named(loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network, row = Network((2, 2, 2), "tanh", loss), LOSSES[loss]
    monkeypatch.setitem(losses.LOSSES, loss, replace(row, derivative=call("mul", row.derivative, parse("1.0001"))))
    result = verify_network(**job(network), others=[])
    assert result.first_wrong is not None
    assert result.first_wrong.quantity == "delta2_1"
    assert result.first_wrong.note == f"derivative of {loss}"
    assert "WRONG. The first in order of computation: delta2_1 of row" in str(result)


def test_a_wrong_value_is_named_where_it_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """All our own ways read the table; jax does not."""
    monkeypatch.setitem(activations.ACTIVATIONS, "tanh", replace(ACTIVATIONS["tanh"], value=parse("z / (1 + abs(z))")))
    result = verify_network(**job(Network((2, 2, 1), "tanh")), others=["jax"])
    assert result.first_wrong is not None
    assert (result.first_wrong.quantity, result.first_wrong.note) == ("a1_1", "tanh")
    assert set(result.first_wrong.values) == {"worked calculation", "reference", "jax"}


@pytest.mark.parametrize(
    ("way", "kind", "named"),
    [
        ("put_in", "z2", "z2_1"),
        ("put_in", "p", "p"),
        ("put_in", "dL/db1", "dL/db1_2"),
        ("engine", "loss", "loss"),
        ("engine", "dloss/dw1", "dloss/dw1_1_2"),
        ("engine", "dL/dw2", "dL/dw2_2_1"),
    ],
)
def test_one_wrong_number_of_one_way_is_found(way: str, kind: str, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = {"put_in": "worked_numbers", "engine": "_by_engine"}[way]
    computed = getattr(comparing, name)

    def spoiled(*given: Any) -> Any:
        numbers = {key: np.array(value) for key, value in computed(*given).items()}
        index = [int(part) - 1 for part in named.removeprefix(kind).split("_") if part]
        at = tuple(index) if kind.startswith("dL") else (3, *(index or [0] * (numbers[kind].ndim - 1)))
        numbers[kind][at] += 1e-11
        return numbers

    monkeypatch.setattr(comparing, name, spoiled)
    result = verify_network(**job(Network((2, 2, 1), "tanh")), others=[])
    assert result.first_wrong is not None
    assert result.first_wrong.quantity == named
    assert result.first_wrong.row == (None if kind.startswith("dL") else 3)
    wrong = [pair for pair in result.comparisons if pair.wrong]
    who = {"put_in": "worked calculation", "engine": "compiled engine"}[way]
    assert wrong
    assert all(who in (pair.first, pair.second) for pair in wrong)


def test_the_worked_calculation_has_the_reference_s_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    computed = comparing.worked_numbers

    def spoiled(*given: Any) -> Any:
        numbers = computed(*given)
        return numbers | {"a1": np.nextafter(numbers["a1"], 9)}

    monkeypatch.setattr(comparing, "worked_numbers", spoiled)
    result = verify_network(**job(Network((2, 2, 1), "tanh")), others=[])
    assert result.first_wrong is not None
    assert result.first_wrong.quantity == "a1_1"


def test_sizes_are_those_of_what_is_added_up() -> None:
    """1e6 - 1e6 + 1e-3 may be off by what 1e6 is rounded by, and 1e-3 may not."""
    network = Network((2, 1), loss="mean_squared_error")
    for weight in (1e6, 1e-3):
        parameters = Parameters(network, np.array([weight, -weight, 1e-3]))
        trace = reference.backward(network, parameters, [[1.0, 1.0]], [0.0])
        z = sizes_of(trace)["z1"][0, 0]
        assert weight <= z < 3 * max(weight, 1e-3)
    assert ROUNDINGS * 2.0**-52 < 1e-13


# --- verify: models --------------------------------------------------------------------------------------------------

RNG = np.random.default_rng(3)
TABLE: dict[str, list[Any]] = {
    "size": [None if i == 5 else float(v) for i, v in enumerate(RNG.normal(100, 20, 40))],
    "kind": [None if i == 7 else str(v) for i, v in enumerate(RNG.choice(["a", "b", "c"], 40))],
    "sold": [bool(v) for v in RNG.integers(2, size=40)],
    "day": [f"2020-01-{i % 28 + 1:02d}" for i in range(40)],
}
TARGETS: dict[str, list[Any]] = {
    "two": ["yes" if i % 3 else "no" for i in range(40)],
    "three": ["xyz"[i % 3] for i in range(40)],
    "cost": [float(i % 7) * 3.1 for i in range(40)],
}
RECIPES: dict[str, Any] = {"plain": "plain", "accurate": "accurate", "pieces": Recipe(pieces=3)}


def fitted(target: str, recipe: Any = "plain", **more: Any) -> Model:
    table = TABLE | {target: TARGETS[target]}
    return gn.fit(table, target, recipe=recipe, hidden=(2,), epochs=5, starts=1, activation="tanh", **more).model


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
@pytest.mark.parametrize("target", TARGETS)
def test_a_model_from_its_columns_to_its_prediction(target: str, recipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "verify_network", lambda *given, **more: verify_network(*given, **more, others=[]))
    model = fitted(target, recipe)
    with_target = TABLE | {target: TARGETS[target]}
    for data, said in (
        (None, "16 rows made up within the ranges that the model's encoder knows; targets of"),
        (TABLE, "16 of 40 rows, spread evenly; targets of"),
        (with_target, "16 of 40 rows, spread evenly"),
        ({name: cells[:3] for name, cells in with_target.items()}, "3 rows"),
    ):
        result = gn.verify(model, data)
        assert result.ok, result
        assert said in result.title
        pair = every_pair(result)["worked calculation", "reference"]
        assert pair.compared > 3 * (model.network.n_features + model.network.n_parameters)


def test_rows_are_named_as_the_table_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    model = fitted("cost")
    table = TABLE | {"cost": [None if i < 35 else value for i, value in enumerate(TARGETS["cost"])]}
    monkeypatch.setitem(activations.ACTIVATIONS, "tanh", replace(ACTIVATIONS["tanh"], derivative=parse("1 - a")))
    result = gn.verify(model, table)
    assert "5 of 40 rows, spread evenly; rows without cost are left out" in result.title
    assert result.first_wrong is not None
    assert result.first_wrong.row in range(35, 40)


def test_a_wrong_encoding_or_decoding_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    model = fitted("cost")
    rows = verify.rows_of_model(model)
    spoiled = rows.X.copy()
    spoiled[2, 1] += 1e-9
    result = verify_network(model.network, model.members[0], spoiled, rows.y, of_table=rows.of_table, others=[])
    assert result.first_wrong is not None
    assert (result.first_wrong.quantity, result.first_wrong.row) == ("x2", 2)
    assert "kind = a" in result.first_wrong.equation or "size" in result.first_wrong.equation
    predicted = rows.of_table.predicted.copy()
    predicted[4] *= 1 + 1e-9
    of_table = replace(rows.of_table, predicted=predicted)
    result = verify_network(model.network, model.members[0], rows.X, rows.y, of_table=of_table, others=[])
    assert result.first_wrong is not None
    assert (result.first_wrong.quantity, result.first_wrong.row) == ("predicted", 4)
    assert result.first_wrong.equation.startswith("predicted cost = ")
    table = TABLE | {"cost": TARGETS["cost"]}
    rows = verify.rows_of_model(model, table)
    y = rows.y.copy()
    y[1] += 1e-9
    result = verify_network(model.network, model.members[0], rows.X, y, of_table=rows.of_table, others=[])
    assert result.first_wrong is not None
    assert (result.first_wrong.quantity, result.first_wrong.row) == ("y", rows.of_table.rows[1])
    assert result.first_wrong.equation.startswith("y = (cost - ")


def test_several_members_are_refused() -> None:
    model = fitted("two")
    with pytest.raises(UsageError, match="this model averages 2"):
        gn.verify(replace(model, members=model.members * 2))


def test_progress_goes_from_0_to_100() -> None:
    seen: list[int] = []
    gn.verify(fitted("two"), progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 100
    assert len(seen) > 10


def test_formulas_too_long_are_said_to_be() -> None:
    network = Network((5, 6, 6, 1), "tanh")
    assert n_terms(network) > MOST_TERMS
    result = verify_network(**job(network), others=["SymPy"])
    assert "SymPy is asked where all derivatives, written out, have at most 40,000 terms" in str(result)
    assert not any("SymPy" in pair.second for pair in result.comparisons)


@pytest.mark.parametrize(("name", "module"), [("jax", "jax"), ("SymPy", "sympy")])
def test_what_is_not_installed_is_not_asked(name: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = comparing.importlib.util.find_spec
    monkeypatch.setattr(
        comparing.importlib.util, "find_spec", lambda wanted: None if wanted == module else found(wanted)
    )
    result = verify_network(**job(Network((1, 1))), others=[name])
    assert result.ok
    assert any(f"{name} is not installed, and so not compared; pip install" in said for said in result.remarks)


def test_an_activation_of_one_s_own_is_not_jax_s(monkeypatch: pytest.MonkeyPatch) -> None:
    row = ActivationRow("square", parse("z * z"), parse("2 * z"), parse("z * z"), "of this test")
    monkeypatch.setitem(activations.ACTIVATIONS, "square", row)
    result = verify_network(**job(Network((2, 2, 1), "square")), others=["jax", "SymPy"])
    assert result.ok, result
    assert "jax has no 'square', and so is not compared." in result.remarks
    assert every_pair(result)["reference", "SymPy"].compared


def test_names_are_those_of_the_equations() -> None:
    network = Network((2, 3, 2), loss="cross_entropy")
    printed = {str(line.target) for equation in equations(network) for line in equation.scalars()}
    numbers = worked_numbers(**job(network), found=equations(network).items)
    for kind in order_of(network):
        if kind in ("x", "y", "predicted"):
            continue
        shape = numbers[kind].shape[0 if kind == "L" or kind.startswith("dL") else 1 :]
        for index in np.ndindex(*shape):
            assert comparing.name_of(network, kind, index) in printed
    assert str(Symbol("w", 1, (2, 1))) == "w1_2_1"


# --- the thousand models ---------------------------------------------------------------------------------------------


@pytest.fixture
def accounted(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The benchmark: not installed, so found by path."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    import accounted

    return accounted


def test_some_of_the_thousand_models(accounted: Any) -> None:
    # In 195 gelu gives subnormal numbers of float32, in 197 quotients lie across elu's bend.
    every = [accounted.judged(number) for number in (2, 10, 195, 197)]
    assert not any(found.wrong for found in every)
    assert [found.float32 for found in every] == [False, False, True, True]
    head, rule, *rows = accounted.lines(every)
    assert head.count("|") == rule.count("|") == 8
    names = [row.split(" | ")[0].removeprefix("| ") for row in rows]
    assert names[:5] == [
        "worked calculation", "compiled engine, float64", "compiled engine, float32", "differences", "jax"
    ]  # fmt: skip
    assert all(row.count("|") == 8 for row in rows)


def test_a_wrong_one_of_the_thousand_is_told(accounted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, row in ACTIVATIONS.items():
        bent = replace(row, derivative=call("mul", row.derivative, parse("1.01")))
        monkeypatch.setitem(activations.ACTIVATIONS, name, bent)
    assert "WRONG. The first in order of computation: delta" in accounted.judged(2).wrong


# --- the command line ------------------------------------------------------------------------------------------------


@pytest.fixture
def model_file(tmp_path: Any) -> Any:
    path = tmp_path / "two.safetensors"
    gn.save(fitted("two"), path)
    return path


def called(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_the_command(model_file: Any, tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert called("verify", model_file) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert "worked calculation - compiled engine" in said.out
    assert max(map(len, said.out.splitlines())) <= 100
    data = tmp_path / "table.csv"
    rows = [",".join([*TABLE, "two"])]
    rows += [
        ",".join("" if cell is None else str(cell) for cell in row)
        for row in zip(*TABLE.values(), TARGETS["two"], strict=True)
    ]
    data.write_text("\n".join(rows))
    assert called("verify", model_file, data, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told) == ["ok", "title", "comparisons", "first_wrong", "remarks"]
    assert (told["ok"], told["first_wrong"]) == (True, None)
    assert list(told["comparisons"][0]) == [
        "first", "second", "compared", "not_judged", "largest_error", "at", "row", "largest_share", "wrong"
    ]  # fmt: skip
    assert "16 of 40 rows" in told["title"]


def test_a_planted_mistake_ends_with_status_1(
    model_file: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(activations.ACTIVATIONS, "tanh", replace(ACTIVATIONS["tanh"], derivative=parse("1 - a")))
    assert called("verify", model_file) == 1
    said = capsys.readouterr()
    assert said.err == ""
    assert "WRONG. The first in order of computation: delta1_1 of row" in said.out
    assert "delta1_1 = dloss/da1_1 * (1 - a1_1)\n  [derivative of tanh]" in said.out
    assert called("verify", model_file, "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["first_wrong"]["quantity"]) == (False, "delta1_1")


def test_mistakes_of_the_user_s(model_file: Any, tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert called("verify", tmp_path / "none.safetensors") == 66
    assert called("verify", model_file, tmp_path / "none.csv") == 66
    broken = tmp_path / "broken.csv"
    broken.write_text("size,kind\n1,a\n")
    assert called("verify", model_file, broken) == 65
    assert "sold" in capsys.readouterr().err
