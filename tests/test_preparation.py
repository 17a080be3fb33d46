"""Roles, splits and warnings: what is decided before a network is trained, and that it is said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import glassnet as gn
from glassnet.errors import DataError, GlassnetError, UsageError
from glassnet.preparation import prepare
from glassnet.survey import sparkline, survey

N = 120
RNG = np.random.default_rng(5)
COLUMNS: dict[str, Any] = {
    "id": np.arange(N) + 842302,
    "name": [f"patient {i}" for i in range(N)],
    "size": RNG.normal(20, 3, N).round(3),
    "age": RNG.integers(20, 80, N),
    "color": RNG.choice(["red", "blue", "green"], N),
    "patient": [f"p{i // 4}" for i in range(N)],
    "weight": RNG.uniform(0, 2, N).round(2),
    "part": ["train", "test ", "Train"] * (N // 3),
    "same": [1] * N,
    "ill": RNG.choice(["no", "yes"], N),
}
OTHERS = ("patient", "weight", "part")


def test_every_column_has_a_role_and_what_is_left_out_is_said() -> None:
    prepared = prepare(COLUMNS, "ill", weights="weight", group="patient", ignore=["part"])
    assert prepared.roles == {
        "id": "left out", "name": "left out", "size": "feature", "age": "feature", "color": "feature",
        "patient": "group", "weight": "weights", "part": "ignored", "same": "left out", "ill": "target",
    }  # fmt: skip
    assert list(prepared.left_out) == ["id", "name", "same"]
    assert prepared.notices[0].startswith("column 'id' left out: every value in it is different")
    assert prepared.notices[2] == "column 'same' left out: it is 1 in every training row"
    assert prepared.warnings == ()
    assert prepared.X.shape == (len(prepared.train_rows), 5)
    chosen = prepare(COLUMNS, "ill", features=["id", "size"])
    assert chosen.roles["id"] == "feature"
    assert chosen.roles["age"] == "ignored"


def test_few_whole_numbers_are_no_identifier() -> None:
    few = {"dose": [1, 2, 3, 4], "ill": ["no", "no", "yes", "yes"]}
    assert prepare(few, "ill", test_size=None).left_out == {}
    with pytest.raises(UsageError, match="at least one feature"):
        prepare({"note": ["a", "b", "c", "d"], "ill": few["ill"]}, "ill", test_size=None)


def test_row_weights_reach_the_training_and_the_metrics() -> None:
    columns = {name: values for name, values in COLUMNS.items() if name not in ("part", "patient")}
    prepared = prepare(columns, "ill", weights="weight")
    weights = np.asarray(COLUMNS["weight"])
    assert prepared.row_weights is not None
    assert prepared.row_weights.tolist() == weights[prepared.train_rows].tolist()
    weighted = gn.fit(columns, "ill", weights="weight", starts=2, epochs=5, hidden=())
    plain = gn.fit(columns, "ill", ignore=["weight"], starts=2, epochs=5, hidden=())
    assert weighted.test != plain.test
    assert (weighted.population.parameters.vector != plain.population.parameters.vector).any()
    ones = gn.fit({**columns, "weight": [1.0] * N}, "ill", weights="weight", starts=2, epochs=5, hidden=())
    assert ones.test == plain.test
    test_rows = gn.tables.as_table(columns).select(weighted.test_rows)
    assert weighted.model.evaluate(test_rows, test_rows.numbers("weight")) == weighted.test


def test_a_group_stays_on_one_side() -> None:
    columns = {name: values for name, values in COLUMNS.items() if name not in ("part", "weight")}
    patient = np.asarray(COLUMNS["patient"])
    for seed in range(5):
        prepared = prepare(columns, "ill", group="patient", random_state=seed)
        assert not set(patient[prepared.train_rows]) & set(patient[prepared.test_rows])
        assert 0.1 < len(prepared.test_rows) / N < 0.3


def test_marks_of_ones_own() -> None:
    prepared = prepare(COLUMNS, "ill", split_column="part", ignore=["patient", "weight"])
    assert prepared.test_rows.tolist() == list(range(1, N, 3))
    with pytest.raises(DataError, match=r"one group stay on one side.*'p0'"):
        prepare(COLUMNS, "ill", split_column="part", group="patient")


def test_the_encoding_is_learned_on_training_rows_alone() -> None:
    columns = {"x": [1.0, 2.0, 3.0, 100.0], "part": ["train"] * 3 + ["test"], "y": ["a", "b", "a", "b"]}
    column = prepare(columns, "y", split_column="part").encoding.columns[0]
    assert column.center == 2.0  # type: ignore[union-attr]


def test_the_same_row_on_both_sides_is_counted() -> None:
    columns = {"x": [1.0, 2.0, 1.0, 5.0], "z": ["a", None, "a", "b"], "part": ["train", "train", "test", "test"]}
    prepared = prepare({**columns, "y": ["a", "b", "a", "b"]}, "y", split_column="part")
    assert prepared.warnings[-1].startswith("1 test row equals training rows")
    assert "in every column used" in prepared.warnings[-1]
    other = prepare({**columns, "y": ["a", "b", "b", "b"]}, "y", split_column="part")
    assert not any("in every column used" in warning for warning in other.warnings)


def test_a_column_that_gives_the_target_away_is_named() -> None:
    columns = {name: COLUMNS[name] for name in ("size", "age", "color", "ill")}
    told = {**columns, "treatment": np.where(np.asarray(COLUMNS["ill"]) == "yes", "B7", "none")}
    (warning,) = prepare(told, "ill").warnings
    assert "column 'treatment' gives the target away" in warning
    assert "--ignore" in warning
    assert prepare(columns, "ill").warnings == ()


def test_new_texts_in_test_rows_are_said() -> None:
    columns = {"x": ["a", "b", "a", "c"], "part": ["train"] * 3 + ["test"], "y": ["a", "b", "a", "b"]}
    assert prepare(columns, "y", split_column="part").warnings == (
        "1 unknown cell in column 'x' ('c'): 0 in every feature",
    )


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"features": ["size", "ill"]}, UsageError, "never a feature; 'ill' is both"),
        ({"features": ["size", "weight"], "weights": "weight"}, UsageError, "'weight' is weights and feature"),
        ({"group": "patient", "weights": "patient"}, UsageError, "one role; 'patient' is weights and group"),
        ({"ignore": ["ill"]}, UsageError, "'ill' is target and ignored"),
        ({"ignore": ["siz"]}, DataError, "Did you mean 'size'"),
        ({"weights": "color"}, DataError, "'color' holds text"),
        ({"split_column": "color"}, DataError, "color"),
        ({"features": ["same"]}, UsageError, "none is left"),
        ({"strict": True, "ignore": OTHERS}, DataError, "'same' cannot be used"),
        ({"recipe": "plian"}, UsageError, "Did you mean 'plain'"),
        ({"test_size": 1.5}, UsageError, "between 0 and 1"),
    ],
)
def test_roles_that_cannot_be(options: dict[str, Any], error: type[GlassnetError], message: str) -> None:
    with pytest.raises(error, match=message):
        prepare(COLUMNS, "ill", **options)


def test_a_negative_weight_is_named() -> None:
    with pytest.raises(DataError, match=r"row 1, column 'w': a row's weight is 0 or more; got -2"):
        prepare({"x": [1.0, 2.0, 3.0], "w": [1, -2, 1], "y": ["a", "b", "a"]}, "y", weights="w", test_size=None)


def test_a_missing_target_is_counted_over_the_whole_table() -> None:
    for values in (["a", None, "b", None], [1.5, None, 2.5, None]):
        with pytest.raises(DataError, match="2 of 4 cells are missing, the first in row 1"):
            prepare({"x": [1, 2, 3, 5], "y": values}, "y")


def test_the_survey_shows_every_column() -> None:
    seen = survey(
        prepare({**COLUMNS, "gap": [None, 1.0] * (N // 2)}, "ill", ignore=["weight", "part"], group="patient")
    )
    by_name = {column.name: column for column in seen.columns}
    assert list(by_name) == [*COLUMNS, "gap"]
    size = by_name["size"]
    assert (size.role, size.kind, size.missing, sum(size.histogram)) == ("feature", "number", 0, N)
    assert size.range == tuple(f"{f(COLUMNS['size']):.4g}" for f in (np.min, np.median, np.max))
    assert by_name["color"].levels == 3
    assert sum(by_name["color"].histogram) == N
    assert by_name["color"].features == ("color = blue", "color = green", "color = red")
    assert by_name["gap"].missing == N // 2
    assert "every value in it is different" in by_name["id"].reason
    assert seen.to_json()["columns"][2]["name"] == "size"


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_the_survey_fits_a_terminal(width: int) -> None:
    columns = {**COLUMNS, "a" * 200: [1.0, 2.0] * (N // 2), "[red]b\x1b[31m": [1.0, 2.0] * (N // 2)}
    text = survey(prepare(columns, "ill", ignore=OTHERS)).text(width)
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text
    assert "[red]b" in text or width < 80


def test_a_column_that_is_not_used_may_be_at_fault() -> None:
    columns = {"x": [1.0, 2.0, 3.0, 5.0], "bad": ["1", "2", "3", "oops"], "y": ["a", "b", "a", "b"]}
    seen = survey(prepare(columns, "y", ignore=["bad"]))
    assert seen.columns[1].reason == "row 3: 'oops' is not a number"
    with pytest.raises(DataError, match="row 3, column 'bad': 'oops' is not a number"):
        prepare(columns, "y")


def test_bars() -> None:
    assert sparkline([0, 1, 50, 100]) == " ▁▄█"
    assert sparkline([]) == ""
