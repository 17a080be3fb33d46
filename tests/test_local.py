"""The local equation: it is what predict computes, holds as far as it says, and its flip is a flip; any columns."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import glassnet as gn
from glassnet import reference
from glassnet.columns import AnyColumn, BooleanColumn, CategoryColumn, NumberColumn
from glassnet.encoding import Encoding, Target
from glassnet.errors import DataError, UsageError
from glassnet.local import term_values
from glassnet.local_equation import TOLERANCE, LocalEquation
from glassnet.model import Model
from glassnet.network import Network, Parameters
from glassnet.tables import Table

LEVELS = ("blue", "green", "red")
TARGETS = {
    "binary": Target("y", "binary", ("no", "yes")),
    "classes": Target("y", "classes", ("a", "b", "c")),
    "number": Target("y", "number", (), 40.0, 12.5),
}
LOSS = {"binary": "binary_cross_entropy", "classes": "cross_entropy", "number": "mean_squared_error"}
KINDS = ["plain", "plain", "bent", "pieces", "marked", "date", "boolean", "category"]


def column(kind: str, name: str, rng: np.random.Generator) -> tuple[AnyColumn, list[Any]]:
    """A column's record and five cells of it."""
    center, scale = rng.normal(0, 50), rng.lognormal(0, 2)
    cells: list[Any] = (center + scale * rng.normal(size=5)).tolist()
    if kind == "boolean":
        return BooleanColumn(name, 0.4), [True, False, True, False, True]
    if kind == "category":
        return CategoryColumn(name, LEVELS, other=bool(rng.random() < 0.5)), ["red", "blue", "green", "red", "blue"]
    if kind == "date":
        days = ["2019-01-31", "2020-05-06", "2018-02-03", "2019-11-30", "2019-04-15"]
        return NumberColumn(name, 18000.0, 200.0, 18000.0, date=True), days
    if kind == "marked":
        return NumberColumn(name, center, scale, center, missing=True), [cells[0], None, *cells[2:]]
    if kind == "pieces":
        edges = tuple((center + scale * np.array([-1.5, -0.2, 0.4, 2.0])).tolist())
        return NumberColumn(name, center, scale, center, edges=edges), cells
    return NumberColumn(name, center, scale, center, clip=kind == "bent"), cells


@st.composite
def models(
    draw: st.DrawFn,
    kinds: list[str] = KINDS,
    targets: tuple[str, ...] = tuple(TARGETS),
    activations: Any = ("relu", "leaky_relu"),
) -> tuple[Model, dict[str, list[Any]]]:
    """A model of any columns with random parameters, and a table for it."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    chosen = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=4))
    built = [column(kind, f"c{i} {kind}", rng) for i, kind in enumerate(chosen)]
    target = draw(st.sampled_from(targets))
    encoding = Encoding(tuple(record for record, _ in built), TARGETS[target])
    hidden = draw(st.lists(st.integers(1, 6), max_size=2))
    n_outputs = 3 if target == "classes" else 1
    network = Network((encoding.n_features, *hidden, n_outputs), draw(st.sampled_from(activations)), LOSS[target])
    parameters = Parameters(network, rng.normal(size=network.n_parameters))
    return Model(network, (parameters,), encoding), {record.source: cells for record, cells in built}


def logits(model: Model, table: Table) -> Any:
    """What predict computes, in the unit of the equation."""
    found = reference.forward(model.network, model.members[0], model.encoder.encode(table)).logits
    return model.target.center + model.target.scale * found if model.task == "regression" else found


def pattern(model: Model, table: Table) -> list[tuple[Any, ...]]:
    """For every row the sides of all units, and between which edges a column in pieces is."""
    X = model.encoder.encode(table)
    trace = reference.forward(model.network, model.members[0], X)
    sides = [z > 0 for z in trace.pre_activations[:-1]]
    for record in model.encoder.columns:
        if isinstance(record, NumberColumn) and record.edges:
            inner = record.edges[1:-1]
            sides.append(np.searchsorted(inner, table.numbers(record.source))[:, None])
    return [tuple(row) for row in np.hstack([np.zeros((len(X), 1)), *sides]).tolist()]


def moved(cells: dict[str, list[Any]], row: int, **values: Any) -> dict[str, list[Any]]:
    """The row alone, some of its cells replaced: each by a list of the same length."""
    n = max((len(v) for v in values.values()), default=1)
    return {name: values.get(name, [column[row]] * n) for name, column in cells.items()}


def lead(model: Model, table: Table) -> Any:
    """How far the class that is chosen is ahead: at the boundary itself rounding decides."""
    found = logits(model, table)
    ahead = np.sort(np.hstack([np.zeros((len(found), 2 - min(found.shape[1], 2))), found]), axis=1)
    return ahead[:, -1] - ahead[:, -2]


def assert_is_predict(model: Model, found: LocalEquation, table: Table) -> None:
    """Within what rounding allows: some ulps of the largest sum of sizes of the terms."""
    difference = np.abs(found.evaluate(term_values(model.encoder, table)) - logits(model, table))
    assert difference.max() <= found.error_bound, "the equation is not what predict computes"


@given(models(), st.integers(0, 4))
@settings(max_examples=60)
def test_at_the_row_it_is_what_predict_computes(case: tuple[Model, dict[str, Any]], row: int) -> None:
    model, cells = case
    found = model.local(cells, row)
    table = model.table(moved(cells, row))
    assert found.exact
    assert found.error <= found.error_bound
    assert found.error_bound < 1e-8 * max(1.0, np.abs(found.logits).max(), *(abs(v) for v in found.intercepts))
    assert_is_predict(model, found, table)
    assert found.logits == tuple(logits(model, table)[0].tolist())
    assert [found.prediction] == list(model.predict(table))
    json.dumps(found.to_json(), allow_nan=False)
    assert all(len(line) <= 90 for line in found.text(90).splitlines() if "  " not in line.strip())


def in_unit(model: Model, name: str, values: Any) -> list[Any]:
    """Numbers as cells of the column."""
    record = next(record for record in model.encoder.columns if record.source == name)
    values = np.atleast_1d(values)
    if isinstance(record, NumberColumn) and record.date:
        return (np.datetime64("1970-01-01", "us") + np.round(values * 86_400e6).astype("timedelta64[us]")).tolist()
    return values.tolist()


@given(models(), st.integers(0, 4), st.integers(0, 2**32 - 1))
@settings(max_examples=50)
def test_within_the_region_it_is_what_predict_computes(case: tuple[Model, Any], row: int, seed: int) -> None:
    """Points between the row and points within each column's ends: a region is convex, so they are in it."""
    model, cells = case
    found, rng = model.local(cells, row), np.random.default_rng(seed)
    assume(found.ranges)
    shares = rng.dirichlet(np.ones(len(found.ranges)), 20)
    values = {}
    bent = {record.source for record in model.encoder.columns if isinstance(record, NumberColumn) and record.clip}
    for r, share in zip(found.ranges, shares.T, strict=True):
        if r.column in bent:  # a mean of bent numbers is not the bent mean
            continue
        low, high = max(r.falls_to, r.value - 5 * r.scale), min(r.rises_to, r.value + 5 * r.scale)
        to = np.where(rng.random(20) < 0.5, low, high)
        values[r.column] = in_unit(model, r.column, r.value + 0.999 * share * (to - r.value))
    assume(values)
    table = model.table(moved(cells, row, **values))
    assert_is_predict(model, replace(found, error_bound=found.error_bound * 50), table)  # values are larger out there


@given(models(kinds=[kind for kind in KINDS if kind != "date"]), st.integers(0, 4))
@settings(max_examples=50)
def test_just_beyond_an_end_another_pattern_holds(case: tuple[Model, Any], row: int) -> None:
    model, cells = case
    found = model.local(cells, row)
    here = pattern(model, model.table(moved(cells, row)))[0]
    for r in found.ranges:
        for end, outward in ((r.falls_to, -1), (r.rises_to, 1)):
            if abs(end - r.value) > 1e4 * r.scale:
                continue
            step = 1e-6 * (r.scale + abs(end - r.value))
            before, beyond = end - outward * step, end + outward * step
            table = model.table(moved(cells, row, **{r.column: [before, beyond]}))
            first, second = pattern(model, table)
            assert second != here
            if (before - r.value) * outward > 0:
                assert first == here


@given(models(kinds=["plain", "bent", "pieces"], targets=("binary", "classes")), st.integers(0, 4))
@settings(max_examples=30)
def test_the_nearest_flip_flips_and_nothing_nearer_does(case: tuple[Model, Any], row: int) -> None:
    model, cells = case
    found = model.local(cells, row)
    flip = found.flip
    assert flip is not None
    scaled = {r.column: r.scale for r in found.ranges}
    bent = {record.source for record in model.encoder.columns if isinstance(record, NumberColumn) and record.clip}
    if flip.prediction is not None:
        there = moved(cells, row, **{name: [value] for name, value in flip.values.items()})
        assert model.predict(there) == [flip.prediction] != [found.prediction]
        if not bent:
            away = [(flip.values[r.column] - r.value) / r.scale for r in found.ranges if r.column in flip.values]
            assert np.linalg.norm(away) == pytest.approx(flip.upper, rel=1e-6, abs=1e-9)
    rng = np.random.default_rng(1)
    y = rng.normal(size=(200, len(found.ranges)))
    y *= min(flip.lower, 20) * 0.9999 * rng.random((200, 1)) ** 0.3 / np.linalg.norm(y, axis=1, keepdims=True)
    if not bent:
        near = {r.column: (r.value + scaled[r.column] * y[:, j]).tolist() for j, r in enumerate(found.ranges)}
        assert set(model.predict(moved(cells, row, **near))) == {found.prediction}


@given(
    models(kinds=["plain", "bent", "pieces", "marked", "category"], targets=("binary", "classes")), st.integers(0, 4)
)
@settings(max_examples=30)
def test_a_column_alone_flips_where_it_says(case: tuple[Model, Any], row: int) -> None:
    model, cells = case
    found = model.local(cells, row)
    for r in found.ranges:
        for at, outward in ((r.flips_below, -1), (r.flips_above, 1)):
            end = r.value + outward * 30 * r.scale if at is None or np.isinf(at) else at
            between = r.value + np.linspace(0, 1, 200) * (end - r.value)
            table = model.table(moved(cells, row, **{r.column: between.tolist()}))
            decided = np.array(model.predict(table)) == found.prediction
            assert (decided | (lead(model, table) < 1e-6)).all()
            if at is not None and np.isfinite(at):
                beyond = at + outward * 1e-7 * (r.scale + abs(at - r.value))
                assert model.predict(moved(cells, row, **{r.column: [beyond]})) != [found.prediction]


@given(models(kinds=["plain", "boolean", "category"]), st.integers(0, 4))
@settings(max_examples=30)
def test_a_switch_is_computed_anew(case: tuple[Model, Any], row: int) -> None:
    model, cells = case
    found = model.local(cells, row)
    for switch in found.switches:
        to = {"true": True, "false": False, "any other text": "purple"}.get(switch.to, switch.to)
        changed = moved(cells, row, **{switch.column: [to]})
        np.testing.assert_allclose(switch.outputs, logits(model, model.table(changed))[0], rtol=1e-12, atol=1e-12)
        assert [switch.prediction] == list(model.predict(changed))
        assert switch.flips == (model.task == "classification" and switch.prediction != found.prediction)
        same = pattern(model, model.table(changed)) == pattern(model, model.table(moved(cells, row)))
        assert switch.same_region == same


# Smooth networks.


@given(models(kinds=["plain", "category", "bent"], activations=("tanh", "gelu", "softplus", "selu")), st.integers(0, 4))
@settings(max_examples=30)
def test_of_a_smooth_network_it_is_the_gradient(case: tuple[Model, Any], row: int) -> None:
    model, cells = case
    assume(model.network.n_layers > 1)
    found = model.local(cells, row)
    assert not found.exact
    assert found.flip is None
    assert_is_predict(model, found, model.table(moved(cells, row)))
    for r in found.ranges:
        h = 1e-5 * r.scale
        table = model.table(moved(cells, row, **{r.column: [r.value - h, r.value + h]}))
        low, high = logits(model, table)
        values = term_values(model.encoder, table)
        near = found.evaluate(values)
        np.testing.assert_allclose(high - low, near[1] - near[0], rtol=1e-3, atol=2e-8 * (1 + np.abs(high).max()))


def test_the_range_of_a_gradient_is_where_it_begins_to_err() -> None:
    rng = np.random.default_rng(0)
    table = {"a": rng.normal(5, 2, 80), "b": rng.normal(size=80)}
    labels = np.where(table["a"] * 2 + table["b"] ** 2 > 10.5, "y", "n")
    model = gn.fit(table | {"k": labels}, "k", hidden=(4,), activation="tanh", starts=2, epochs=200).model
    found = model.local(table, 3)
    ends = [(r, end) for r in found.ranges for end in (r.falls_to, r.rises_to) if np.isfinite(end)]
    assert ends
    for r, end in ends:
        values = r.value + np.array([0.5, 0.999, 1.0, 1.001]) * (end - r.value)
        changed = model.table(moved({k: v.tolist() for k, v in table.items()}, 3, **{r.column: values.tolist()}))
        near = 1 / (1 + np.exp(-found.evaluate(term_values(model.encoder, changed))[:, 0]))
        errors = np.abs(near - model.predict_proba(changed)[:, 1])
        assert errors[0] < TOLERANCE
        assert errors[1] < TOLERANCE < errors[3]
        assert errors[2] == pytest.approx(TOLERANCE, rel=1e-6)
    text = found.text()
    assert "Local approximation: the gradient at this row." in text
    assert "measured" in text
    assert "Nearest flip: not searched" in text
    assert found.to_json()["range_tolerance"] == TOLERANCE


# What is said, and what is refused.


@pytest.fixture(scope="module")
def tumor() -> tuple[Model, Table]:
    table = gn.read_table(gn.datasets.__file__.replace("datasets.py", "bdiag.csv"))
    two = ["texture_mean", "radius_mean"]
    model = gn.fit(table, "diagnosis", features=two, positive="M", starts=20, epochs=30).model
    return model, model.table(table)


def test_the_text_says_it_all(tumor: tuple[Model, Table]) -> None:
    model, table = tumor
    text = str(model.local(table, 17))
    assert text.startswith("Row 17, diagnosis M\n")
    for part in (
        "exactly, in the region",
        "log-odds of M = ",
        "sigmoid of it: P(M) = ",
        "may fall to",
        "Nearest flip, to B:",
    ):
        assert part in text
    assert "nothing nearer flips" in text


def test_one_row_as_a_mapping(tumor: tuple[Model, Table]) -> None:
    model, _ = tumor
    row = {"texture_mean": 20.0, "radius_mean": 14.0}
    assert model.local(row).to_json() == model.local({name: [value] for name, value in row.items()}).to_json()


def test_a_number_is_an_equation_in_its_unit_and_flips_nothing() -> None:
    size = np.linspace(1, 9, 40)
    model = gn.fit(
        {"size": size, "price": 3000 + 200 * size}, "price", hidden=(), optimizer=gn.LBFGS(), batch_size=None, starts=1
    ).model
    found = model.local({"size": 4.0})
    assert found.intercepts == pytest.approx([3000], rel=1e-3)
    assert found.terms[0].coefficients == pytest.approx([200], rel=1e-3)
    assert found.output_names == ("price",)
    assert found.logits[0] == pytest.approx(float(model.predict({"size": [4.0]})[0]), rel=1e-14)
    assert found.flip is None
    assert "a regression makes no decision" in str(found)


def test_what_cannot_flip_is_said() -> None:
    encoding = Encoding((NumberColumn("a", 0.0, 1.0, 0.0),), TARGETS["binary"])
    network = Network((1, 1, 1))
    never = Model(network, (Parameters(network, np.array([1.0, 0.0, -1.0, -0.5])),), encoding)
    text = str(never.local({"a": 3.0}))
    assert "Nearest flip: none; no numbers within 1000 scaled units change the decision" in text
    categories = Encoding((CategoryColumn("k", LEVELS),), TARGETS["binary"])
    network = Network((3, 1))
    by_level = Model(network, (Parameters(network, np.array([1.0, -1.0, 2.0, 0.0])),), categories)
    text = str(by_level.local({"k": "red"}))
    assert "no column is a number that could move" in text
    assert "k: red -> green, then no" in text
    assert "A single switch that flips (1 of 2 choices)" in text


def test_a_row_on_a_kink_and_on_the_boundary() -> None:
    """z is 0 in the only unit, and so is the logit: both are said."""
    encoding = Encoding((NumberColumn("a", 0.0, 1.0, 0.0),), TARGETS["binary"])
    network = Network((1, 1, 1))
    found = Model(network, (Parameters(network, np.array([1.0, 0.0, 1.0, 0.0])),), encoding).local({"a": 0.0})
    assert "unit 1 is exactly at its kink" in found.remarks[0]
    (r,) = found.ranges
    assert (r.falls_to, r.rises_to) == (-np.inf, 0.0)
    assert found.prediction == "no"
    assert found.flip is not None
    assert found.flip.exact
    assert found.flip.upper < 1e-8


def test_a_missing_number_is_held() -> None:
    encoding = Encoding(
        (NumberColumn("a", 0.0, 1.0, 0.3), NumberColumn("b", 5.0, 2.0, 5.0, missing=True)), TARGETS["binary"]
    )
    network = Network((3, 1))
    model = Model(network, (Parameters(network, np.array([1.0, -1.0, 2.0, 0.0])),), encoding)
    found = model.local({"a": 0.5, "b": None})
    assert [r.column for r in found.ranges] == ["a"]
    assert "missing" in found.text()
    assert found.terms[2].name == "[b missing]"
    assert found.terms[2].value == 1.0


def test_a_date_moves_in_days_and_is_written_as_a_date() -> None:
    encoding = Encoding((NumberColumn("visit", 18000.0, 200.0, 18000.0, date=True),), TARGETS["binary"])
    network = Network((1, 1, 1))
    model = Model(network, (Parameters(network, np.array([1.0, -0.5, 2.0, -0.5])),), encoding)
    found = model.local({"visit": "2020-01-31"})
    (r,) = found.ranges
    assert (r.kind, r.value, r.rises_to) == ("date", 18292.0, np.inf)
    assert r.falls_to == pytest.approx(18100)
    assert r.flips_below == pytest.approx(18150)
    text = str(found)
    assert "days of visit  2020-01-31" in text
    assert "2019-07-23" in text
    assert "(-142 days)" in text


def test_thousands_of_units_and_hostile_names() -> None:
    names = ["<script>", "a\x1b[31m", "$x^{", "名前"]
    rng = np.random.default_rng(0)
    encoding = Encoding(tuple(NumberColumn(name, 0.0, 1.0, 0.0) for name in names), TARGETS["binary"])
    network = Network((4, 3000, 1))
    parameters = gn.initialize(network, 3)
    model = Model(network, (parameters,), encoding)
    found = model.local({name: [value] for name, value in zip(names, rng.normal(size=4), strict=True)}, parts=20)
    assert found.flip is not None
    assert found.flip.lower <= found.flip.upper
    assert found.error <= found.error_bound
    text = str(found)
    assert "of 3000 units" in text
    assert "\x1b" not in text
    json.dumps(found.to_json(), allow_nan=False)


def test_what_is_refused(tumor: tuple[Model, Table]) -> None:
    model, table = tumor
    with pytest.raises(UsageError, match="A row is a number from 0 to 568; got 569"):
        model.local(table, 569)
    with pytest.raises(UsageError, match="this model averages 2"):
        replace(model, members=model.members * 2).local(table, 0)
    with pytest.raises(DataError, match="radius_mean"):
        model.local({"texture_mean": [1.0]})


def test_the_check_against_predict_can_fail(tumor: tuple[Model, Table]) -> None:
    model, table = tumor
    found = model.local(table, 5)
    one = table.select([5])
    assert_is_predict(model, found, one)
    term = found.terms[0]
    wrong = replace(term, coefficients=(term.coefficients[0] * (1 + 1e-9),))
    with pytest.raises(AssertionError, match="is not what predict computes"):
        assert_is_predict(model, replace(found, terms=(wrong, *found.terms[1:])), one)
