"""`Table`: the same values are the same table, whatever they came in."""

from __future__ import annotations

import datetime
import math
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import glassnet as gn
from glassnet.encoding import Encoding
from glassnet.errors import DataError
from glassnet.tables import Table, as_table

VALUES: dict[str, list[Any]] = {
    "age": [39.0, 50.5, None, 38.0],
    "children": [0, 2, 1, 3],
    "sex": ["M", "F", None, "F"],
    "smoker": [True, False, None, True],
    "born": ["1980-02-29", "1969-12-31", None, "2001-01-01"],
    "kind": ["a", "b", "b", "a"],
}
_DATES = [None if text is None else datetime.date.fromisoformat(text) for text in VALUES["born"]]
_CSV = (
    "age,children,sex,smoker,born,kind\n39,0,M,true,1980-02-29,a\n50.5,2,F,false,1969-12-31,b\n"
    ",1,,,,b\n38,3,F,true,2001-01-01,a\n"
)


def frames() -> dict[str, Any]:
    dated = {**VALUES, "born": _DATES}
    arrow = pa.table(dated)
    return {
        "lists": VALUES,
        "lists with dates": dated,
        "pandas": pd.DataFrame(dated),
        "pandas, texts as objects": pd.DataFrame({**VALUES, "sex": pd.Series(VALUES["sex"], dtype=object)}),
        "pandas, categories": pd.DataFrame(dated).astype({"sex": "category", "kind": "category"}),
        "pandas, timestamps": pd.DataFrame({**dated, "born": pd.to_datetime(pd.Series(_DATES))}),
        "pandas, nullable": pd.DataFrame(dated).convert_dtypes(),
        "pandas, another index": pd.DataFrame(dated, index=[9, 9, 3, 1]),
        "polars": pl.DataFrame(dated),
        "polars, categories": pl.DataFrame(dated).with_columns(pl.col("sex", "kind").cast(pl.Categorical)),
        "polars, NaN": pl.DataFrame({**dated, "age": [39.0, 50.5, math.nan, 38.0]}),
        "polars, datetimes": pl.DataFrame(dated).with_columns(pl.col("born").cast(pl.Datetime("ns"))),
        "pyarrow": arrow,
        "pyarrow, in chunks": pa.concat_tables([arrow.slice(0, 1), arrow.slice(1)]),
        "pyarrow, small types": arrow.set_column(0, "age", arrow["age"].cast(pa.float32())).set_column(
            1, "children", arrow["children"].cast(pa.int8())
        ),
        "pyarrow, dictionaries": arrow.set_column(2, "sex", arrow["sex"].dictionary_encode()),
        "pyarrow, decimals": arrow.set_column(
            0, "age", pa.array([None if v is None else Decimal(str(v)) for v in VALUES["age"]])
        ),
    }


@pytest.mark.parametrize("name", frames())
def test_the_same_values_from_anywhere(name: str, tmp_path: Any) -> None:
    (tmp_path / "t.csv").write_text(_CSV)
    expected = gn.read_table(tmp_path / "t.csv")
    table = as_table(frames()[name])
    assert table.names == expected.names
    for column in expected.names:
        assert table.column(column).kind == expected.column(column).kind
        assert table.texts(column) == expected.texts(column)
        assert table.column(column).missing.tolist() == expected.column(column).missing.tolist()
    features = [column for column in VALUES if column != "kind"]
    encodings = [Encoding.fit(each, features, "kind") for each in (table, expected)]
    assert encodings[0] == encodings[1]
    X = [encoding.encode(each) for (encoding, _, _), each in zip(encodings, (table, expected), strict=True)]
    assert X[0].tobytes() == X[1].tobytes()
    assert table.select([3, 1]).texts("age") == ["38", "50.5"]
    assert table.place(0).startswith("row 0")


@given(st.lists(st.tuples(st.floats(allow_nan=False, width=32), st.integers(-9, 9)), min_size=2, max_size=9))
def test_arrays_of_any_dtype(rows: list[tuple[float, int]]) -> None:
    rows = [(x if math.isfinite(x) else 0.0, k) for x, k in rows]
    X = np.array(rows)
    tables = [as_table(X), as_table(X.astype(np.float32)), as_table(np.array(rows, dtype=object))]
    for table in tables:
        assert table.names == ("x1", "x2")
        np.testing.assert_array_equal(np.column_stack([table.numbers(name) for name in table.names]), X)


def test_arrays_that_are_no_rows() -> None:
    with pytest.raises(DataError, match=r"\(n, d\)"):
        as_table(np.zeros(3))
    for nothing in ([[1, 2]], "t.csv", 7, None, pl.LazyFrame({"a": [1]})):
        with pytest.raises(DataError, match="a table is"):
            as_table(nothing)


def test_a_table_is_itself() -> None:
    table = Table.from_columns({"a": [1]})
    assert as_table(table) is table


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, None], "1 of 2 cells is missing"),
        ([1.0, math.nan], "1 of 2 cells is missing"),
        ([None, None], "2 of 2 cells are missing"),
        (np.ma.masked_array([1.0, 2.0], [False, True]), "1 of 2 cells is missing"),
        ([1.0, math.inf], "row 1, column 'x': 'inf' is not a finite number"),
        ([2**53 + 1, 1], "row 0, column 'x': '9007199254740993' has more digits"),
        (np.array([2**64 - 1, 1], dtype=np.uint64), "has more digits"),
        (pa.array([Decimal(2**60 + 1)]), "has more digits"),
        ([2**70 + 1, 1], "has more digits"),
        (["a", 1], "is not a number|holds text"),
        ([1j, 2j], "holds text"),
        ([[1, 2], [3, 4]], "one dimension"),
        ([[1, 2], [3]], "one list of cells"),
        (["\ud800", "x"], "not Unicode"),
        (pa.array([[1], [2]]), "must hold numbers"),
        (pa.array([b"1"]), "must hold numbers"),
        (pa.array([datetime.time(1)]), "must hold numbers"),
    ],
)
def test_columns_that_are_no_numbers(values: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Table.from_columns({"x": values}).numbers("x")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "0 columns"),
        ({"a": []}, "no rows"),
        ({"a": [1, 2], "b": [1]}, "'b' has 1, 'a' 2"),
        ({"": [1]}, "needs a name"),
        ({"1": [1], 1: [2]}, "'1' occurs more than once"),
    ],
)
def test_tables_that_are_none(columns: dict[Any, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Table.from_columns(columns)


def test_a_frame_with_a_name_twice() -> None:
    with pytest.raises(DataError, match="name of its own"):
        as_table(pd.DataFrame([[1, 2]], columns=["a", "a"]))
    with pytest.raises(DataError, match="name of its own"):
        as_table(pa.table([[1], [2]], names=["a", "a"]))


def test_labels_are_the_same_from_texts_and_numbers() -> None:
    for values in ([0, 1], [0.0, 1.0], ["0", "1"], ["0.0", " 1"], np.array([0, 1], dtype=np.uint8)):
        assert Table.from_columns({"y": values}).labels("y") == ["0", "1"]
    assert Table.from_columns({"y": ["01", "v1.0", "v2"]}).labels("y") == ["01", "v1.0", "v2"]
    assert Table.from_columns({"y": [True, False]}).labels("y") == ["true", "false"]
    with pytest.raises(DataError, match="1 of 2 cells is missing"):
        Table.from_columns({"y": ["NA", "M"]}).labels("y")


def test_a_kind_that_is_said_is_not_told() -> None:
    assert as_table({"zip": ["10115", "94110"]}, kinds={"zip": "text"}).texts("zip") == ["10115", "94110"]
    assert as_table({"zip": [10115, 94110]}, kinds={"zip": "text"}).column("zip").kind == "text"
    assert as_table({"x": ["007", "2"]}, kinds={"x": "number"}).numbers("x").tolist() == [7.0, 2.0]
    with pytest.raises(DataError, match="row 1, column 'x': 'red' is not a number"):
        as_table({"x": ["1", "red", "blue"]}, kinds={"x": "number"}).numbers("x")
    assert as_table({"x": ["1", "-"]}, missing=["-"]).column("x").missing.tolist() == [False, True]


def test_a_fault_is_raised_when_its_column_is_asked_for() -> None:
    table = Table.from_columns({"x": [1, 2, 3], "y": ["1", "2", "red"]})
    assert table.numbers("x").tolist() == [1.0, 2.0, 3.0]
    for some in (table, table.select([2, 0]), table.select([0]).select([0])):
        with pytest.raises(DataError, match="row 2, column 'y': 'red' is not a number"):
            some.texts("y")


def test_no_such_column() -> None:
    table = Table.from_columns({f"feature_{j}": [1] for j in range(30)})
    with pytest.raises(DataError, match=r"Did you mean 'feature_7'\?.*and 20 more") as caught:
        table.numbers("Feature_7")
    assert caught.value.exit_status == 65


def test_columns_without_a_value_may_be_text() -> None:
    for nothing in (pa.nulls(2), [None, None], np.array([None, None], dtype=object)):
        column = as_table({"c": nothing}, kinds={"c": "text"}).column("c")
        assert (column.kind, column.texts()) == ("text", ["", ""])


def test_levels_that_are_no_texts_are_judged_cell_by_cell() -> None:
    large = pa.array([2**60 + 1, 2**60 + 2, 2**60 + 1]).dictionary_encode()
    with pytest.raises(DataError, match="row 0, column 'c': '1152921504606846977' has more digits"):
        as_table({"c": large}).column("c")
    views = pa.DictionaryArray.from_arrays([0, 1, 2], pa.array(["1", "2", "x"], pa.string_view()))
    assert as_table({"c": views}).texts("c") == ["1", "2", "x"]


def test_numbers_beyond_64_bits() -> None:
    exact = pa.array([Decimal(10) ** 30, Decimal(10) ** 30 + 1], pa.decimal128(38, 0))
    with pytest.raises(DataError, match="has more digits than a number in 64 bits holds"):
        as_table({"c": exact}).column("c")
    assert as_table(pd.DataFrame({"c": [2**70, 1]})).numbers("c").tolist() == [2.0**70, 1.0]


def test_cells_of_bytes_and_of_moments() -> None:
    with pytest.raises(DataError, match="it holds bytes"):
        as_table({"c": np.array([b"a", b"b"])})
    moments = np.array([np.datetime64("2020-01-31T00:00:00", "ns"), None], dtype=object)
    assert as_table({"c": moments}).texts("c") == ["2020-01-31", ""]
