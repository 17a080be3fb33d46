"""The worked calculation: every printed line can be recomputed, and gives what is printed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import glassnet as gn
from glassnet.activations import ACTIVATIONS
from glassnet.derivations.worked import Line, WorkedCalculation, worked_lines
from glassnet.equations import Equations
from glassnet.errors import DataError, UsageError
from glassnet.expressions import evaluate, parse
from glassnet.losses import LOSSES
from glassnet.network import Network, Parameters, initialize

NOTHING = Equations(())
RNG = np.random.default_rng(8)
COLUMNS = {"a": RNG.normal(50, 9, 60), "b <script> & $_": RNG.normal(-3, 0.1, 60)}
LABELS = np.where(COLUMNS["a"] + 100 * COLUMNS["b <script> & $_"] > -250, "yes", "no")


def recomputed(line: Line) -> float:
    """What the printed numbers give."""
    return evaluate(parse(line.numbers), {})


def assert_recomputes(line: Line) -> None:
    """Forward lines give the printed value bit for bit; in backward ones NumPy may add in another order."""
    if line.stage == "backward":
        assert recomputed(line) == pytest.approx(line.value, rel=1e-13, abs=1e-300)
    else:
        assert recomputed(line) == line.value, line


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
        assert found[f"dloss/d{name}"] == value
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
        assert_recomputes(Line("backward", "delta", "p - y", "0.5 - 1", -0.500001))


@pytest.fixture(scope="module")
def model() -> gn.Model:
    table = {**COLUMNS, "ill": LABELS.tolist()}
    return gn.fit(table, "ill", epochs=20, starts=2, hidden=(3,), activation="tanh").model


def test_from_the_columns_to_the_answer(model: gn.Model) -> None:
    table = {**COLUMNS, "ill": LABELS.tolist()}
    worked = gn.explain(model, table, row=5, digits=17)
    by_name = {line.symbol: line for line in worked.lines}
    encode = [line for line in worked.lines if line.stage == "encode"]
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


def test_no_number_is_a_false_zero() -> None:
    network = Network((1, 1), loss="mean_squared_error")
    parameters = Parameters(network, np.array([1e-12, 3e-9]))
    lines = worked_lines(network, parameters, np.array([2.0]), np.array([1.0]), NOTHING, NOTHING, {}, 4)
    assert "3e-09 + 1e-12 * 2 = 3.002e-09" in WorkedCalculation("t", "a", lines).text()


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
