"""The worked calculation: every printed line can be recomputed, and gives what is printed."""

from __future__ import annotations

import ast
import functools
import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import glassnet as gn
from glassnet import arithmetic
from glassnet.activations import ACTIVATIONS
from glassnet.derivations.calculation import Numbers, calculate
from glassnet.derivations.worked import WorkedCalculation, worked_lines
from glassnet.derivations.worked_lines import LATEX, TEXT, Line, lines
from glassnet.equations import Equations, Map, Symbol, equations
from glassnet.errors import DataError, UsageError
from glassnet.expressions import FUNCTIONS, const, significant, substitute, symbols, to_latex, to_text
from glassnet.losses import LOSSES
from glassnet.network import Network, Parameters, initialize

NOTHING = Equations(())
RNG = np.random.default_rng(8)
COLUMNS = {"a": RNG.normal(50, 9, 60), "b <script> & $_": RNG.normal(-3, 0.1, 60)}
LABELS = np.where(COLUMNS["a"] + 100 * COLUMNS["b <script> & $_"] > -250, "yes", "no")


class Floats:
    """What a person does with a line, in Python's floats, operation by operation; exp and log are the canonical ones.

    Every value is (number, bound): how far the same operations may come out elsewhere, 1 ulp for each.
    """

    def __init__(self, names: dict[str, tuple[float, float]] | None = None) -> None:
        self.names = names or {}

    def value(self, node: ast.expr) -> tuple[float, float]:
        match node:
            case ast.Constant(value):
                return float(value), 0.0
            case ast.Name(id=name):
                return self.names[name]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                x, e = self.value(operand)
                return -x, e
            case ast.BinOp(left=left, op=ast.Pow(), right=ast.Constant(n)) if n in (2, 3):
                x = self.value(left)
                square = self.product(x, x)
                return square if n == 2 else self.product(square, x)
            case ast.BinOp(left=left, op=ast.Pow(), right=right):
                return self.rounded(self.value(left)[0] ** self.value(right)[0], 0.0)
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                return self.product(self.value(left), self.value(right))
            case ast.BinOp(left=left, op=ast.Div(), right=right):
                (x, e), (y, f) = self.value(left), self.value(right)
                return self.rounded(x / y, (e + abs(x / y) * f) / abs(y))
            case ast.BinOp(left=left, op=op, right=right):
                (x, e), (y, f) = self.value(left), self.value(right)
                return self.rounded(x + y if isinstance(op, ast.Add) else x - y, e + f)
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                x, y = self.value(left)[0], self.value(right)[0]
                true = {ast.Gt: x > y, ast.GtE: x >= y, ast.Lt: x < y, ast.LtE: x <= y, ast.Eq: x == y}[type(op)]
                return float(true), 0.0
            case ast.Call(func=ast.Name(id=name), args=args):
                return self.called(name, [self.value(arg) for arg in args])
        raise AssertionError(ast.unparse(node))

    @staticmethod
    def rounded(x: float, bound: float) -> tuple[float, float]:
        return x, bound + math.ulp(x)

    def product(self, x: tuple[float, float], y: tuple[float, float]) -> tuple[float, float]:
        return self.rounded(x[0] * y[0], abs(x[0]) * y[1] + abs(y[0]) * x[1])

    def called(self, name: str, given: list[tuple[float, float]]) -> tuple[float, float]:
        x, bound = [number for number, _ in given], max(bound for _, bound in given)
        match name:
            case "max" | "min" | "abs":
                return float({"max": max, "min": min, "abs": lambda x: abs(x[0])}[name](x)), bound
            case "select":
                return given[1] if x[0] else given[2]
            case "sign":
                return float((x[0] > 0) - (x[0] < 0)), 0.0
            case "argmax":
                return x.index(max(x)) + 1.0, 0.0
            case "sqrt":
                return self.rounded(math.sqrt(x[0]), bound / math.sqrt(x[0]) if x[0] else 0.0)
            case "exp" | "log":
                f = {"exp": arithmetic.exp, "log": arithmetic.log}[name]
                slope = float(arithmetic.exp(x[0])) if name == "exp" else 1 / x[0] if x[0] else 0.0
                return self.rounded(float(f(x[0])), abs(slope) * bound)
            case _:
                lower = FUNCTIONS[name].lower
                assert lower is not None, name
                within = Floats(dict(zip(("x", "y"), given, strict=False)))
                return within.value(ast.parse(lower, mode="eval").body)


def recomputed(line: Line) -> float:
    """What the printed numbers give, in Python's floats."""
    return Floats().value(ast.parse(line.numbers, mode="eval").body)[0]


def assert_recomputes(line: Line) -> None:
    """Forward, and backward, lines give the printed value bit for bit; in an update each operation may be off by 1 ulp,
    for a power is NumPy's."""
    number, bound = Floats().value(ast.parse(line.numbers, mode="eval").body)
    assert abs(number - line.value) <= (bound if line.stage == "update" else 0), (line, number)


def printed(worked: WorkedCalculation) -> list[tuple[str, str, float]]:
    """Symbol, numbers (or a name that stands for one) and result of every line, read back from the text itself."""
    found = []
    for text in worked.text(10**9).splitlines():
        if text.startswith("  ") and (" = " in text or " <- " in text):
            text = re.sub(r"   (\[.*\]|difference quotient .*)$", "", text).strip()
            symbol, *sides = re.split(" = | <- ", text)
            found.append((symbol, sides[-2] if len(sides) > 1 else sides[-1], float(sides[-1])))
    return found


def targets(network: Network) -> Any:
    kind = network.loss_row.targets
    if kind == "classes":
        return np.eye(network.n_outputs)[1]
    return {"unit": np.ones(network.n_outputs), "nonnegative": np.arange(1.0, 1 + network.n_outputs)}.get(
        kind, np.linspace(-1, 2, network.n_outputs)
    )


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("mask", [None, np.array([0.0, 1.25])], ids=["", "dropout"])
def test_every_line_recomputes(activation: str, loss: str, mask: Any) -> None:
    network = Network((2, 2, 3), activation, loss)
    parameters = initialize(network, 2, "standard_normal")
    x, y = np.array([0.7, -1.3]), targets(network)
    lines = worked_lines(network, parameters, x, y, NOTHING, NOTHING, {}, 17, None if mask is None else [mask])
    for line in lines:
        assert_recomputes(line)
    trace = gn.backward(network, parameters, [x], [y], masks=None if mask is None else [[mask]])
    found = {line.symbol: line.value for line in lines}
    assert found["loss"] == trace.row_losses[0]  # type: ignore[index]
    for name, value in zip(network.parameter_names(), trace.gradient, strict=True):
        assert found[f"dloss/d{name}"] == pytest.approx(value, rel=1e-13, abs=1e-15)  # NumPy adds in another order
    for line in lines:
        if line.difference_quotient is not None:
            # The quotient's own error, of rounding and curvature, is about 1e-9 here.
            assert line.difference_quotient == pytest.approx(line.value, rel=1e-6, abs=1e-8)
    assert sum(line.difference_quotient is not None for line in lines) == network.n_parameters


def test_a_row_as_in_training_shows_its_masks() -> None:
    network = Network((2, 2, 1), "tanh")
    x, masks = np.array([0.7, -1.3]), [np.array([2.0, 0.0])]
    for y in (None, np.ones(1)):
        lines = worked_lines(network, initialize(network), x, y, NOTHING, NOTHING, {}, 4, masks)
        by_name = {line.symbol: line for line in lines}
        for unit, factor in enumerate(("2", "0"), start=1):
            a, h = by_name[f"a1_{unit}"], by_name[f"h1_{unit}"]
            assert a.formula == f"mask1_{unit} * h1_{unit}"
            assert a.numbers.partition(" * ")[0] == factor
            assert a.value == float(factor) * h.value
    assert by_name["dloss/dh1_2"].value == by_name["dloss/dw1_1_2"].value == 0
    with pytest.raises(DataError, match="masks has one array per hidden layer"):
        worked_lines(network, initialize(network), x, None, NOTHING, NOTHING, {}, 4, [np.ones(3)])


def test_the_comparison_can_fail() -> None:
    with pytest.raises(AssertionError):
        assert_recomputes(Line("forward", "z", "b + x", "1 + 2", float(np.nextafter(3, 4))))
    with pytest.raises(AssertionError):
        assert_recomputes(Line("backward", "delta", "p - y", "0.5 - 1", float(np.nextafter(-0.5, 0))))
    with pytest.raises(AssertionError):
        assert_recomputes(Line("update", "w", "w - g", "0.5 - 1", -0.5000000000000005))


@pytest.fixture(scope="module")
def model() -> gn.Model:
    table = {**COLUMNS, "ill": LABELS.tolist()}
    return gn.fit(table, "ill", epochs=20, starts=2, hidden=(3,), activation="tanh").model


def test_from_the_columns_to_the_answer(model: gn.Model) -> None:
    table = {**COLUMNS, "ill": LABELS.tolist()}
    worked = gn.explain(model, table, row=5, digits=17)
    by_name = {line.symbol: line for line in worked.lines}
    *encode, y = [line for line in worked.lines if line.stage == "encode"]
    assert (y.symbol, y.formula, y.value) == ("y", "[ill = yes]", float(LABELS[5] == "yes"))
    assert [line.value for line in encode] == model.encoder.encode(gn.tables.as_table(table))[5].tolist()
    assert all(recomputed(line) == line.value for line in encode)
    assert by_name["p"].value == model.predict_proba(table)[5, 1]
    assert by_name["predicted ill"].value == (model.predict(table)[5] == "yes")
    assert by_name["predicted ill"].note == "1 is 'yes', 0 is 'no'"
    assert worked.title == f"Row 5, ill {LABELS[5]}"
    assert f"prediction: ill = {model.predict(table)[5]}" in worked.answer


def test_without_the_target_there_is_no_loss(model: gn.Model) -> None:
    stages = {line.stage for line in gn.explain(model, COLUMNS, row=5).lines}
    assert stages == {"encode", "forward", "decode"}


def test_regression_ends_in_the_targets_unit() -> None:
    table = {"size": [1.0, 2.0, 3.0, 4.0, 5.0], "price": [110.0, 190.0, 310.0, 390.0, 510.0]}
    model = gn.fit(table, "price", features=["size"], task="regression", test_size=None, starts=1, hidden=()).model
    worked = gn.explain(model, table, row=1, digits=17)
    assert worked.lines[-1].symbol == "predicted price"
    assert worked.lines[-1].value == recomputed(worked.lines[-1]) == model.predict(table)[1]
    y = next(line for line in worked.lines if line.symbol == "y")
    assert (y.stage, y.value) == ("encode", recomputed(y))
    assert y.value == (190 - model.encoder.target.center) / model.encoder.target.scale
    assert "y" not in [line.symbol for line in gn.explain(model, {"size": [2.5]}).lines]


def test_several_classes_end_in_the_largest() -> None:
    rng = np.random.default_rng(1)
    table = {"a": rng.normal(size=30), "b": rng.normal(size=30), "kind": [f"k{i % 3}" for i in range(30)]}
    model = gn.fit(table, "kind", epochs=5, starts=1).model
    worked = gn.explain(model, table, row=4)
    assert worked.lines[-1].value == 1 + model.classes.index(model.predict(table)[4])
    assert "argmax over k of p_k" in worked.text()
    assert worked.lines[-1].note == "1, 2, ... are 'k0', 'k1', 'k2'"


def trained(network: Network, vector: list[float], x: list[float], y: list[float]) -> gn.Run:
    """A run of no epochs: these parameters, this row."""
    return gn.train(network, [x], [y], parameters=Parameters(network, np.array(vector)), epochs=0)


def test_no_number_is_a_false_zero_or_a_false_one() -> None:
    run = trained(Network((1, 1), loss="mean_squared_error"), [1e-12, 3e-9], [2.0], [1.0])
    assert "3e-09 + 1e-12 * 2 = 3.002e-09" in gn.explain(run).text()
    text = gn.explain(trained(Network((1, 1)), [1.0, 0.0], [13.0], [1.0])).text()
    assert "p = sigmoid(o) = sigmoid(13) = 0.999998" in text
    assert re.search(r"delta1_1 = p - y = 0.9999977\d* - 1 = -2.26e-06", text)
    assert not re.search(r"= -?(0|1)\.0*( |$)", text)


@given(st.floats(-1e300, 1e300), st.integers(1, 17))
def test_a_number_keeps_its_size_and_never_looks_like_another(value: float, digits: int) -> None:
    text = significant(value, digits)
    assert float(text) == pytest.approx(value, rel=0.5 * 10.0 ** (1 - digits) * 1.000001, abs=0)
    assert (float(text) == 0) == (value == 0)
    if abs(value) < 10.0 ** (digits - 1) and value != float(text):
        assert "." in text or "e" in text
    if digits == 17:
        assert float(text) == value


SHAPES = st.lists(st.integers(1, 4), min_size=2, max_size=5).map(tuple)
NUMBERS = st.floats(-30, 30, allow_nan=False)


@st.composite
def rows(draw: st.DrawFn) -> tuple[Network, list[float], list[float], list[float]]:
    sizes, loss = draw(SHAPES), draw(st.sampled_from(sorted(LOSSES)))
    if loss == "cross_entropy":
        sizes = (*sizes[:-1], max(2, sizes[-1]))
    names = draw(st.lists(st.sampled_from(sorted(ACTIVATIONS)), min_size=len(sizes) - 2, max_size=len(sizes) - 2))
    network = Network(sizes, tuple(names), loss)
    vector = draw(st.lists(st.floats(-3, 3), min_size=network.n_parameters, max_size=network.n_parameters))
    x = draw(st.lists(NUMBERS, min_size=sizes[0], max_size=sizes[0]))
    return network, vector, x, np.ravel(targets(network)).tolist()


def test_numbers_that_cancel_have_the_digits_they_need() -> None:
    run = trained(Network((1, 1), loss="mean_squared_error"), [1.0, 0.0], [0.3000012], [0.3])
    text = gn.explain(run).text()
    assert "loss = (o - y)**2 = (0.3000012 - 0.3)**2 = 1.44e-12" in text
    run = trained(
        Network((3, 1), loss="mean_squared_error"), [1.0, 1.0, 1.0, 0.0], [123456.789, -123456.0, 1 / 3], [0.3]
    )
    assert "z1_1 = b1_1 + w1_1_1 * x1 + w1_2_1 * x2 + w1_3_1 * x3 = 0 + 1 * 123456.79" in gn.explain(run).text(200)


@settings(deadline=None, max_examples=100)
@given(rows(), st.integers(2, 6))
def test_printed_numbers_lead_to_the_printed_result(row: Any, digits: int) -> None:
    """Whatever the digits, whoever recomputes a line from them comes to half of the result's digits or more."""
    worked = gn.explain(trained(*row), 0, digits=digits)
    for line in worked.lines:
        if "max(" not in line.formula or line.symbol != "m":
            assert recomputed(line) == pytest.approx(line.value, rel=10.0 ** (-digits / 2) * 1.001, abs=0)


def test_a_cell_is_shown_as_the_user_has_it() -> None:
    table = {"year": [1987.0, 2001.0, 2024.0, 1999.0], "size": [103.125, 99.0625, 1e-7, 7.0], "y": [1.5, 2.0, 3.5, 4.0]}
    text = gn.explain(gn.fit(table, "y", features=["year", "size"], test_size=None, starts=1).model, table, 0).text()
    assert "(1987 - 2002.75) / 13.3861 = -1.177" in text
    assert "(103.125 - 52.3) / " in text


def test_dates_and_classes_are_in_the_users_words() -> None:
    days = ["2020-01-31", "2020-02-03", "2021-07-01", "2022-12-24"]
    table = {"day": days, "kind": ["a", "b", "c", "a"]}
    text = gn.explain(gn.fit(table, "kind", features=["day"], test_size=None, starts=1).model, table, 2).text()
    assert "(18809 - " in text
    assert "[days since 1970-01-01; here 2021-07-01]" in text
    for line in ("y_1 = [kind = a] = 0", "y_2 = [kind = b] = 0", "y_3 = [kind = c] = 1"):
        assert f"  {line.replace('y_', 'y')}\n" in text


@settings(deadline=None, max_examples=150)
@given(rows())
def test_every_printed_line_recomputes_in_pythons_floats(row: Any) -> None:
    network, vector, x, y = row
    run = trained(network, vector, x, y)
    worked = gn.explain(run, 0, digits=17)
    values: dict[str, float] = {}
    for (symbol, numbers, result), line in zip(printed(worked), worked.lines, strict=True):
        number = values.get(numbers)
        if number is None:
            number, _ = Floats().value(ast.parse(numbers, mode="eval").body)
        assert symbol == line.symbol
        assert number == result == line.value or (number != number and result != result), (symbol, numbers)
        values[symbol] = result
    trace = gn.backward(network, run.parameters, [x], [y])
    p = ["p"] if network.n_outputs == 1 else [f"p{k}" for k in range(1, network.n_outputs + 1)]
    assert [values[name] for name in p] == trace.probabilities[0].tolist()
    assert values["loss"] == trace.loss
    scale = np.max(np.abs(trace.gradient), initial=1e-300)
    for name, value in zip(network.parameter_names(), trace.gradient, strict=True):
        assert values[f"dloss/d{name}"] == pytest.approx(value, rel=1e-9, abs=1e-12 * scale)


@settings(deadline=None, max_examples=60)
@given(rows(), st.sampled_from([TEXT, LATEX]), st.booleans())
def test_lines_are_what_the_expression_prints(row: Any, style: Any, dropout: bool) -> None:
    """The marks that are filled in come to the same as an expression in which every symbol is replaced."""
    network, vector, x, y = row
    run = trained(network, vector, x, y)
    given = Numbers()
    masks = [np.full((1, n), 2.0) for n in network.sizes[1:-1]] if dropout else None
    given.put_trace(gn.forward(network, run.parameters, [x], [y], masks=masks))
    every = [e for e in equations(network, dropout=dropout) if e.target.kind not in ("L", "dL")]
    for one in calculate(every, given):
        if getattr(one.equation.body, "operation", "") == "max":
            continue  # written as one maximum of all, not as nested ones
        for line, scalar in zip(lines(one, style, 5), one.equation.scalars(), strict=True):
            assert isinstance(scalar.body, Map)
            expression = scalar.body.expression
            at = {key: const(float(given[key])) for key in symbols(expression) if isinstance(key, Symbol)}
            assert line.symbol == style.name(scalar.target)
            direct = []
            for digits in (5, 7, 9, 11, 13, 15, 17):  # where numbers cancel a line has more
                number = functools.partial(significant, digits=digits)
                if style is TEXT:
                    put_in = to_text(substitute(expression, at), number=number)
                    direct.append((to_text(expression, number=number), put_in))
                else:
                    put_in = to_latex(substitute(expression, at), times=r" \cdot ", number=number)
                    direct.append((to_latex(expression, Symbol.latex, number=number), put_in))
            if style is TEXT:
                assert (line.formula, line.numbers) in direct
            else:  # a number to a power stands in brackets always, there where it needs them
                found = [tuple(re.sub(r"\\left|\\right|[(){}\\, ]", "", side) for side in pair) for pair in direct]
                assert tuple(re.sub(r"\\left|\\right|[(){}\\, ]", "", s) for s in (line.formula, line.numbers)) in found


@pytest.mark.parametrize("width", [40, 60, 100])
def test_lines_are_broken_at_the_width(model: gn.Model, width: int) -> None:
    text = gn.explain(model, {**COLUMNS, "ill": LABELS.tolist()}, digits=17).text(width)
    assert max(map(len, text.splitlines())) <= width


def test_rows_and_columns_that_are_not_there(model: gn.Model) -> None:
    for row in (60, -1):
        with pytest.raises(UsageError, match="0 to 59"):
            gn.explain(model, COLUMNS, row=row)
    with pytest.raises(DataError, match="script"):
        gn.explain(model, {"a": [1.0]})


def test_a_blank_target_is_not_known(model: gn.Model) -> None:
    one = {name: values[:1] for name, values in COLUMNS.items()}
    worked = gn.explain(model, {**one, "ill": [""]})
    assert {line.stage for line in worked.lines} == {"encode", "forward", "decode"}
    assert worked.title == "Row 0"


def test_an_average_of_networks_is_not_one_calculation(model: gn.Model) -> None:
    two = gn.Model(model.network, model.members * 2, model.encoder)
    with pytest.raises(UsageError, match="one network"):
        gn.explain(two, COLUMNS)
