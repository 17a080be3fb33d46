"""Columns become features by the very equations that are printed, and come back from them."""

from __future__ import annotations

import datetime
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.preprocessing import OneHotEncoder, RobustScaler, StandardScaler

import glassnet as gn
from glassnet.columns import RECIPES, CategoryColumn, NumberColumn, Recipe
from glassnet.encoding import Encoding, task_of
from glassnet.equations import Map
from glassnet.errors import DataError, GlassnetError, UsageError
from glassnet.expressions import evaluate
from glassnet.tables import Table, as_table

RECIPES_TO_TEST = [*RECIPES, Recipe(pieces=3), Recipe(scaling="robust", missing="median"), Recipe(clip=True, rare=0.3)]


def fit(columns: dict[str, Any], features: list[str], target: str | None, **options: Any) -> Encoding:
    return Encoding.fit(Table.from_columns(columns), features, target, **options)[0]


# Equations

cells = {
    "number": st.floats(-1e6, 1e6, allow_subnormal=False).map(lambda x: round(x, 3)),
    "boolean": st.booleans(),
    "text": st.sampled_from(["red", "blue ", "green", "x1", "[a = b]"]),
    "date": st.dates(datetime.date(1700, 1, 1), datetime.date(2300, 1, 1)).map(str),
}


@st.composite
def tables(draw: st.DrawFn) -> Table:
    n = draw(st.integers(2, 12))
    columns = {}
    for j in range(draw(st.integers(1, 4))):
        cell = cells[draw(st.sampled_from(list(cells)))]
        if draw(st.booleans()):
            cell = st.none() | cell
        columns[f"c{j}"] = draw(st.lists(cell, min_size=n, max_size=n))
    return as_table(columns)


def by_equations(encoding: Encoding, table: Table, row: int) -> list[float]:
    """The features of a row as its printed equations give them, one after another."""
    values: dict[Any, float] = {key: float(value[row]) for key, value in encoding.values(table).items()}
    for equation in encoding.equations:
        if equation.target.kind != "y":
            assert isinstance(equation.body, Map)
            values[equation.target] = evaluate(equation.body.expression, values)
    return [value for key, value in values.items() if key.kind == "x"]


@given(tables(), st.sampled_from(RECIPES_TO_TEST))
@settings(max_examples=150, deadline=None)
def test_features_are_what_the_equations_say_and_can_be_undone(table: Table, recipe: Any) -> None:
    try:
        encoding = Encoding.fit(table, table.names, None, recipe=recipe)[0]
    except GlassnetError as error:  # nothing left to tell rows apart, or numbers too near one another to be scaled
        assert "none is left" in str(error) or "spread" in str(error)  # noqa: PT017
        return
    assert Encoding.from_json(json.loads(json.dumps(encoding.to_json()))) == encoding
    X = encoding.encode(table)
    assert X.shape == (table.n_rows, encoding.n_features)
    for row in range(table.n_rows):
        assert X[row].tolist() == by_equations(encoding, table, row)
    undone = encoding.undo(X)
    for column in encoding.columns:
        for row, (text, value) in enumerate(zip(table.texts(column.source), undone[column.source], strict=True)):
            if isinstance(column, CategoryColumn):
                expected = text.strip() or None
                assert value == (expected if expected in (*column.levels, None) else "other")
            elif text == "":
                assert value is None
            elif isinstance(column, NumberColumn):
                known = table.column(column.source).values
                found = float(value) if not column.date else Table.from_columns({"d": [value]}).numbers("d")[0]
                # What scaling rounds, relative to the column's spread: a few units in the last place. Bending divides
                # the slope by (1 + (u / 3)^2)^1.5, so undoing it multiplies the rounding of a number near 3 by as much.
                tolerance = 1e-12 * (np.nanmax(np.abs(known)) + column.scale)
                if column.clip:
                    u = (known[row] - column.center) / column.scale
                    tolerance += 8 * 2.2e-16 * (1 + (u / 3) ** 2) ** 1.5 * column.scale
                    if tolerance > abs(known[row]) / 10:
                        continue  # so far out that all digits are lost, and the number may come back infinite
                assert abs(found - known[row]) <= tolerance
            else:
                assert str(value).lower() == text


def test_the_comparison_by_equations_can_fail() -> None:
    table = as_table({"a": [1.0, 2.0, 4.0]})
    encoding = Encoding.fit(table, ["a"], None)[0]
    column = encoding.columns[0]
    assert isinstance(column, NumberColumn)
    other = Encoding((NumberColumn("a", column.center, np.nextafter(column.scale, 9), column.fill),), None)
    assert encoding.encode(table)[2].tolist() != by_equations(other, table, 2)


def test_equations_as_they_are_read() -> None:
    columns = {
        "age": [30.0, None, 50.0, 40.0],
        "sex": ["F", "M", "M", "F"],
        "smoker": [True, False, True, None],
        "x1": [1.0, 2.0, 3.0, 6.0],
        "seen": ["2020-01-01", "2020-01-03", "2020-01-05", "2020-01-07"],
    }
    text = fit(columns, list(columns), None).equations.text()
    assert text == (
        "encode\n"
        "  filled[age] = select([age missing] == 1, 40, age)\n"
        "  x1 = (filled[age] - 40) / 8.16496580927726\n"
        "  x2 = [age missing]\n"
        "  x3 = [sex = F]\n"
        "  x4 = [sex = M]\n"
        "  x5 = select([smoker missing] == 1, 0.6666666666666666, smoker)  true is 1\n"
        "  x6 = [smoker missing]\n"
        "  x7 = ('x1' - 3) / 1.8708286933869707\n"
        "  x8 = (seen - 18265) / 2.23606797749979  days since 1970-01-01"
    )
    text = fit(columns, ["x1", "sex"], None, recipe=Recipe(clip=True, rare=0.6)).equations.text()
    assert text == (
        "encode\n"
        "  scaled['x1'] = ('x1' - 3) / 1.8708286933869707\n"
        "  x1 = scaled['x1'] / sqrt(1 + (scaled['x1'] / 3)**2)\n"
        "  x2 = [sex = F]\n"
        "  x3 = 1 - [sex = F] - [sex missing]     any other text"
    )
    latex = fit({"b <script> & $_": ["%", "y"]}, ["b <script> & $_"], None).equations.latex()
    assert r"[b \textless{}script\textgreater{} \& \$\_ = \%]" in latex


# scikit-learn as the oracle


@given(st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_scaling_is_scikit_learns(seed: int) -> None:
    rng = np.random.default_rng(seed)
    X = rng.normal(rng.normal(0, 100, 3), rng.uniform(0.1, 10, 3), (40, 3))
    table = as_table(X)
    for recipe, scaler in ((Recipe(), StandardScaler()), (Recipe(scaling="robust"), RobustScaler())):
        encoding = Encoding.fit(table.select(np.arange(30)), table.names, None, recipe=recipe)[0]
        # the same formula; the sums may run in another order: a few units in the last place of 30 terms
        np.testing.assert_allclose(encoding.encode(table), scaler.fit(X[:30]).transform(X), rtol=1e-10, atol=1e-12)


@given(st.permutations("abcdefg"), st.sampled_from([0.0, 0.05, 0.2, 0.34]), st.integers(1, 8))
def test_one_hot_is_scikit_learns(letters: list[str], rare: float, max_levels: int) -> None:
    # no two levels are as frequent: which of such two is kept is nobody's business; h is seen in no training row
    texts = np.array([*np.repeat(letters, [18, 12, 8, 5, 4, 2, 1]), *"abcdefgh"])
    table = as_table({"x": texts})
    recipe = Recipe(rare=rare, max_levels=max_levels)
    encoding, _, _ = Encoding.fit(table.select(np.arange(50)), ["x"], None, recipe=recipe)
    oracle = OneHotEncoder(
        min_frequency=rare or None,
        max_categories=max_levels + 1,
        handle_unknown="infrequent_if_exist",
        sparse_output=False,
    )
    np.testing.assert_array_equal(encoding.encode(table), oracle.fit(texts[:50, None]).transform(texts[:, None]))


@pytest.mark.parametrize("how", ["mean", "median"])
def test_missing_numbers_are_filled_as_scikit_learn_does(how: Any) -> None:
    rng = np.random.default_rng(3)
    X = rng.normal(5, 2, (60, 1))
    X[rng.choice(60, 15, replace=False)] = np.nan
    filled = SimpleImputer(strategy=how).fit(X).transform(X)
    encoding = Encoding.fit(as_table(X), ["x1"], None, recipe=Recipe(missing=how))[0]
    scaler = StandardScaler().fit(X)  # which leaves missing values out of its mean
    expected = np.hstack([scaler.transform(filled), MissingIndicator().fit_transform(X)])
    np.testing.assert_allclose(encoding.encode(as_table(X)), expected, rtol=1e-12, atol=1e-14)


def test_pieces_rise_one_after_another() -> None:
    values = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])
    encoding = fit({"x": values}, ["x"], None, recipe=Recipe(pieces=4))
    assert encoding.feature_names == ("x 0 to 2", "x 2 to 4", "x 4 to 6", "x 6 to 8")
    # the first and the last go on beyond what was seen
    found = encoding.encode(as_table({"x": [-1.0, 0.0, 3.0, 8.0, 10.0]}))
    expected = [[-0.5, 0, 0, 0], [0, 0, 0, 0], [1, 0.5, 0, 0], [1, 1, 1, 1], [1, 1, 1, 2]]
    np.testing.assert_array_equal(found, expected)
    assert encoding.undo(found)["x"] == [-1.0, 0.0, 3.0, 8.0, 10.0]


def test_smooth_clipping_keeps_what_is_far_out_within_three() -> None:
    encoding = fit({"x": [0.0, 1.0, 2.0, 3.0, 4.0]}, ["x"], None, recipe=Recipe(scaling="robust", clip=True))
    x = encoding.encode(as_table({"x": [2.0, 2.1, 1e9, -1e9]}))[:, 0]
    assert x[0] == 0.0
    assert x[1] == pytest.approx(0.05, rel=1e-3)
    assert x[2:].tolist() == pytest.approx([3, -3])


def test_where_the_quartiles_coincide_half_the_range_scales() -> None:
    column = fit({"x": [0.0] * 9 + [8.0]}, ["x"], None, recipe="accurate").columns[0]
    assert isinstance(column, NumberColumn)
    assert (column.center, column.scale) == (0.0, 4.0)


# Columns


def test_what_can_tell_nothing_is_left_out_and_said() -> None:
    table = Table.from_columns(
        {
            "same": [3, 3, 3],
            "tenth": [0.1, 0.1, 0.1],
            "empty": [None, None, None],
            "text": ["a", "a ", "a"],
            "yes": [True, True, True],
            "day": ["2020-01-31"] * 3,
            "size": [1.0, 2.0, 3.0],
        }
    )
    encoding, left_out, notices = Encoding.fit(table, table.names, None)
    assert encoding.feature_names == ("size",)
    assert notices == ()
    assert left_out == {
        "same": "it is 3 in every training row",
        "tenth": "it is 0.1 in every training row",
        "empty": "it has no value in any training row",
        "text": "it is 'a' in every training row",
        "yes": "it is true in every training row",
        "day": "it is 2020-01-31 in every training row",
    }
    for name in left_out:
        with pytest.raises(DataError, match=f"column '{name}' cannot be used: it"):
            Encoding.fit(table, [name, "size"], None, strict=True)
        with pytest.raises(UsageError, match=f"at least one feature; none is left.*'{name}'"):
            Encoding.fit(table, [name], None)


def test_missing_cells_are_said_and_marked() -> None:
    table = Table.from_columns(
        {"age": [1.0, None, 3.0], "ok": [True, None, True], "color": ["a", None, "b"], "only": [7, None, 7]}
    )
    encoding, left_out, notices = Encoding.fit(table, table.names, None)
    assert left_out == {}
    assert encoding.feature_names == (
        "age", "age missing", "ok = true", "ok missing", "color = a", "color = b", "color missing",
        "only = 7", "only missing",
    )  # fmt: skip
    assert notices[0] == (
        "column 'age': 1 of 3 training cells are missing: filled with 2 and marked in a feature of their own"
    )
    assert notices[2].endswith("a feature of their own")
    assert encoding.encode(table)[1].tolist() == [0, 1, 0, 1, 0, 0, 1, 0, 1]
    assert encoding.remarks(table) == ()


def test_new_rows_with_what_training_had_not() -> None:
    encoding = fit({"age": [1.0, 3.0], "ok": [True, False], "color": ["a", "b"]}, ["age", "ok", "color"], None)
    new = as_table({"age": [None, 5.0], "ok": [None, True], "color": ["c", None]}, kinds=encoding.kinds)
    assert encoding.encode(new)[0].tolist() == [0.0, 0.5, 0.0, 0.0]
    assert encoding.encode(new)[1, 2:].tolist() == [0.0, 0.0]
    gap = "which no feature marks: taken as 0 in every feature"
    color = f"1 unknown cell in column 'color' ('c'): 0 in every feature; 1 missing cell in column 'color', {gap}"
    assert encoding.remarks(new) == (
        "1 missing cell in column 'age', which no feature marks: taken as 2",
        "1 missing cell in column 'ok', which no feature marks: taken as 0.5, the share of true",
        color,
    )


def test_rare_and_unseen_texts_share_a_place() -> None:
    texts = ["a"] * 5 + ["b"] * 4 + ["c"]
    table = as_table({"x": texts})
    encoding, _, notices = Encoding.fit(table, ["x"], None, recipe=Recipe(rare=0.2))
    assert encoding.feature_names == ("x = a", "x = b", "x other")
    assert notices == ("column 'x': 1 of 3 different texts are rare and share one feature",)
    new = as_table({"x": ["c", "never seen", "b"]})
    assert encoding.encode(new).tolist() == [[0, 0, 1], [0, 0, 1], [0, 1, 0]]
    assert encoding.remarks(new) == ()
    assert encoding.undo(encoding.encode(new))["x"] == ["other", "other", "b"]


def test_columns_go_by_name() -> None:
    table = Table.from_columns({"a": [1.0, 2.0], "b": [3.5, 4.0], "y": ["M", "B"]})
    encoding = Encoding.fit(table, ["b", "a"], "y")[0]
    assert encoding.feature_names == ("b", "a")
    shuffled = Table.from_columns({"y": ["M", "B"], "z": [0, 0], "b": [3.5, 4.0], "a": [1.0, 2.0]})
    np.testing.assert_array_equal(encoding.encode(table), encoding.encode(shuffled))
    with pytest.raises(DataError, match="no columns 'b', 'a'"):
        encoding.encode(Table.from_columns({"y": ["M"]}))


@pytest.mark.parametrize(
    ("name", "cell", "message"),
    [
        ("age", "red", "holds text, not numbers"),
        ("ok", 2, "'2' is neither true nor false"),
        ("far", 1e308, "too far from the training rows"),
    ],
)
def test_new_cells_that_cannot_be_used(name: str, cell: Any, message: str) -> None:
    columns = {"age": [1.0, 3.0], "ok": [True, False], "far": [0, 1e-10]}
    encoding = fit(columns, list(columns), None)
    with pytest.raises(DataError, match=message):
        encoding.encode(as_table({**{key: values[:1] for key, values in columns.items()}, name: [cell]}))


def test_features_of_another_shape_are_not_undone() -> None:
    with pytest.raises(UsageError, match=r"shape \(n, 1\)"):
        fit({"a": [1.0, 2.0]}, ["a"], None).undo([[1.0, 2.0]])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scaling": "Standard"}, "scaling is one of"),
        ({"missing": "drop"}, "missing is one of"),
        ({"pieces": 1}, "pieces"),
        ({"pieces": 4, "clip": True}, "nothing is left to clip"),
        ({"rare": 1.0}, "rare"),
        ({"max_levels": 0}, "max_levels"),
    ],
)
def test_recipes_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Recipe(**settings)


def test_no_such_recipe() -> None:
    with pytest.raises(UsageError, match="Did you mean 'plain'"):
        fit({"a": [1.0, 2.0]}, ["a"], None, recipe="plian")


# Targets


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (["M", "B"], "classification"),
        ([True, False], "classification"),
        ([0, 1], "classification"),
        ([0.0, 1.0], "classification"),
        (list(range(10)), "classification"),
        (list(range(11)), "regression"),
        ([0.5, 1.0], "regression"),
        (["1", "2", "2.5"], "regression"),
        (["2020-01-31", "2020-02-03"], "regression"),
    ],
)
def test_the_task_is_told_from_the_target(values: list[Any], task: str) -> None:
    table = Table.from_columns({"y": values})
    assert task_of(table, "y") == task
    assert task_of(table, "y", "regression") == "regression"


def test_no_such_task() -> None:
    with pytest.raises(UsageError, match="Did you mean 'regression'"):
        task_of(Table.from_columns({"y": [1]}), "y", "regresion")


def test_a_stray_text_does_not_turn_a_number_into_classes() -> None:
    with pytest.raises(DataError, match="row 2, column 'y': 'x' is not a number"):
        task_of(Table.from_columns({"y": ["1.5", "2.5", "x"]}), "y")


def classes(columns: dict[str, Any], **options: Any) -> Any:
    target = fit(columns, ["x"], "y", **options).target
    assert target is not None
    return target.classes


def test_classes_in_order() -> None:
    X = [0.0, 1.0, 2.0]
    assert classes({"x": X[:2], "y": ["M", "B"]}) == ("B", "M")
    assert classes({"x": X[:2], "y": ["M", "B"]}, positive="B") == ("M", "B")
    assert classes({"x": X[:2], "y": [0, 1]}, positive=0) == ("1", "0")
    assert classes({"x": X, "y": ["10", "9", "8"]}) == ("8", "9", "10")
    assert classes({"x": X, "y": ["c", "a", "b"]}) == ("a", "b", "c")
    assert classes({"x": X[:2], "y": [True, False]}) == ("false", "true")


def test_targets_round_trip() -> None:
    for labels in (["M", "B", "B"], ["a", "b", "c"], ["3", "1", "2"]):
        table = Table.from_columns({"x": [1, 2, 4], "y": labels})
        encoding = Encoding.fit(table, ["x"], "y")[0]
        encoded = encoding.encode_target(table)
        assert encoded.shape == (3, 1 if len(set(labels)) == 2 else 3)
        assert encoding.decode(encoded) == labels
    table = Table.from_columns({"x": [1, 2, 4], "y": [0.25, 10.0, -3.5]})
    encoding = Encoding.fit(table, ["x"], "y")[0]
    np.testing.assert_allclose(encoding.decode(encoding.encode_target(table)), table.numbers("y"), rtol=1e-14)


def test_a_target_is_read_again_as_it_was_learned() -> None:
    for values, again in (([True, False], ["TRUE", "False"]), ([1, 0], ["1.0", "0"]), (["01", "2"], ["01", "2"])):
        encoding = fit({"x": [1, 2], "y": values}, ["x"], "y")
        new = as_table({"y": again}, kinds=encoding.kinds)
        assert encoding.encode_target(new).tolist() == encoding.encode_target(as_table({"y": values})).tolist()


def test_half_is_negative_as_in_the_notebook() -> None:
    encoding = fit({"x": [1, 2], "y": ["M", "B"]}, ["x"], "y")
    assert encoding.decode([[0.5], [np.nextafter(0.5, 1)]]) == ["B", "M"]


@pytest.mark.parametrize(
    ("features", "target", "options", "error", "message"),
    [
        (["size", "size"], "kind", {}, UsageError, "named twice"),
        ([], "kind", {}, UsageError, "at least one feature"),
        (["siz"], "kind", {}, DataError, "Did you mean 'size'"),
        (["size"], "knd", {}, DataError, "Did you mean 'kind'"),
        (["size"], "kind", {"positive": "b"}, UsageError, "Did you mean 'B'"),
        (["size"], "color", {"positive": "red"}, UsageError, "one of two"),
        (["size"], "kind", {"task": "regression"}, DataError, "holds text"),
        (["size"], "price", {"positive": "1"}, UsageError, "is a number"),
        (["size"], "same", {}, DataError, "every training row of 'same' is '3'"),
        (["size"], "same", {"task": "regression"}, DataError, "'same' is 3 in every row"),
        (["huge"], "kind", {}, DataError, "another unit"),
        (["tiny"], "kind", {}, DataError, "another unit"),
        (["size"], "holes", {}, DataError, "1 of 3 cells is missing"),
    ],
)
def test_fits_that_cannot_be(
    features: list[str], target: str, options: dict[str, Any], error: type[GlassnetError], message: str
) -> None:
    columns = {
        "size": [1.0, 2.0, 3.5],
        "same": [3, 3, 3],
        "kind": ["M", "B", "B"],
        "color": ["red", "blue", "green"],
        "price": [1.5, 2.5, 3.5],
        "huge": [1e308, -1e308, 1e308],
        "tiny": [1e-300, 2e-300, 3e-300],
        "holes": ["M", "", "B"],
    }
    with pytest.raises(error, match=message):
        fit(columns, features, target, **options)


def test_too_many_classes_are_refused_before_memory_is_taken() -> None:
    with pytest.raises(DataError, match="at most 1,000 classes"):
        fit({"x": np.arange(2000) / 7, "y": [f"name {j}" for j in range(2000)]}, ["x"], "y")


def test_an_unseen_label_is_listed() -> None:
    encoding = fit({"x": [1, 2], "y": ["M", "B"]}, ["x"], "y")
    with pytest.raises(DataError, match=r"row 1, column 'y'.*holds 'X', 'Y', and the model knows 'B', 'M'"):
        encoding.encode_target(Table.from_columns({"y": ["M", "X", "Y", "X"]}))


def test_without_a_target_there_is_nothing_to_decode() -> None:
    encoding = fit({"x": [1, 2]}, ["x"], None)
    with pytest.raises(UsageError, match="no target"):
        encoding.decode([[1.0]])


# JSON

encodings = [
    fit({"x": [1, 2], "y": ["M", "B"]}, ["x"], "y"),
    fit({"x": [1, 2, 4], "半径": [0.1, None, 0.4], "y": ["a", "b", "c"]}, ["x", "半径"], "y"),
    fit({"x": [1, 2, 4], "b": [True, False, True], "y": [0.1, 0.2, 0.3]}, ["x", "b"], "y", recipe=Recipe(pieces=2)),
    fit({"t": ["a", "b", None], "d": ["2020-01-31", "2020-02-03", None]}, ["t", "d"], None, recipe="accurate"),
]


def damaged(value: Any) -> list[Any]:
    """Every version of a JSON value in which one thing is wrong."""
    versions: list[Any] = [object()]
    if isinstance(value, dict):
        versions += [{**value, "more": 1}]
        for key, item in value.items():
            versions += [{other: value[other] for other in value if other != key}]
            versions += [{**value, key: worse} for worse in damaged(item)]
    elif isinstance(value, list):
        versions += [[*value[:i], worse, *value[i + 1 :]] for i, item in enumerate(value) for worse in damaged(item)]
    elif isinstance(value, float):
        versions += [str(value), math.nan, math.inf, True]
    elif value is not None:
        versions += [1, None]
    return versions


@pytest.mark.parametrize("encoding", encodings)
def test_a_damaged_encoding_is_refused(encoding: Encoding) -> None:
    versions = [version for version in damaged(encoding.to_json()) if version != {**encoding.to_json(), "target": None}]
    assert len(versions) > 40
    for version in versions:
        with pytest.raises(DataError):
            Encoding.from_json(version)


def changed(number: int, *path: Any, value: Any) -> Any:
    result = encodings[number].to_json()
    inner: Any = result
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return result


@pytest.mark.parametrize(
    "value",
    [
        changed(0, "columns", value=[]),
        changed(0, "columns", 0, "scale", value=0.0),
        changed(0, "columns", 0, "scale", value=-1.0),
        changed(0, "columns", 0, "kind", value="text"),
        changed(0, "columns", 0, "source", value="y"),
        changed(1, "columns", 0, "source", value="半径"),
        changed(2, "columns", 0, "edges", value=[2.0, 1.0]),
        changed(2, "columns", 0, "edges", value=[1.0]),
        changed(2, "columns", 0, "edges", value=[1.0, math.nan]),
        changed(2, "columns", 0, "edges", value=[1, 2]),
        changed(2, "columns", 0, "clip", value=True),
        changed(3, "columns", 0, "levels", value=["b", "a"]),
        changed(3, "columns", 0, "levels", value=["a", "a"]),
        changed(3, "columns", 0, "levels", value="ab"),
        changed(1, "target", "classes", value=["a"]),
        changed(0, "target", "kind", value="number"),
        changed(0, "target", "kind", value="more"),
        changed(0, "target", "classes", value=["M", "M"]),
        changed(1, "target", "classes", value=["a", "b", "a"]),
        changed(2, "target", "classes", value=["a", "b"]),
        changed(2, "target", "scale", value=0.0),
    ],
)
def test_an_encoding_that_contradicts_itself_is_refused(value: Any) -> None:
    with pytest.raises(DataError):
        Encoding.from_json(value)


@pytest.mark.parametrize(
    ("value", "written"), [(1.0, "1.0"), (True, "True"), (datetime.date(2020, 1, 1), "2020-01-01T00:00:00")]
)
def test_one_value_and_gaps_are_read_alike_from_files_and_frames(tmp_path: Path, value: object, written: str) -> None:
    table = Table.from_columns({"c": [value, None] * 10})
    encoding, _, _ = Encoding.fit(table, ["c"], None)
    again = Encoding.from_json(json.loads(json.dumps(encoding.to_json())))
    assert again == encoding
    (tmp_path / "t.csv").write_text(f"c,d\n{written},1\n,2\n")
    read = gn.read_table(tmp_path / "t.csv", kinds=again.kinds)
    assert np.array_equal(again.encode(read), encoding.encode(table.select([0, 1])))


def test_names_of_narrow_pieces_differ() -> None:
    table = Table.from_columns({"x": np.arange(100_001.0, 100_101.0)})
    names = Encoding.fit(table, ["x"], None, recipe=Recipe(pieces=8))[0].feature_names
    assert len(set(names)) == 8
