from __future__ import annotations

import contextlib
import csv
import io
import json
import math
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassnet.errors import DataError, GlassnetError, NoInputError, UsageError
from glassnet.tables import Encoder, Table, as_table, read_table, split, task_of


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables") / "t.csv"


def read(path: Path, content: bytes | str) -> Table:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_table(path)


def refusal(path: Path, content: bytes | str) -> str:
    with pytest.raises(DataError) as caught:
        read(path, content)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


def cell_refusal(path: Path, column: str) -> str:
    """What is said when a column called x, of these cells, is asked for its numbers."""
    table = read(path, "x\n" + column)
    with pytest.raises(DataError) as caught:
        table.numbers("x")
    return str(caught.value).removeprefix(f"{path}: ")


# Reading

names = st.lists(
    st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), min_size=1).filter(str.strip),
    min_size=2,
    max_size=5,
    unique=True,
)


@given(st.data())
@settings(max_examples=200)
def test_what_was_written_is_read(scratch: Path, data: st.DataObject) -> None:
    header = data.draw(names)
    cell = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=8)
    rows = data.draw(st.lists(st.tuples(*[cell] * len(header)).filter(any), min_size=1, max_size=6))
    buffer = io.StringIO()
    end = data.draw(st.sampled_from(["\n", "\r\n", "\r"]))
    csv.writer(buffer, lineterminator=end, quoting=csv.QUOTE_ALL).writerows([header, *rows])
    table = read(scratch, data.draw(st.sampled_from(["", "\ufeff"])) + buffer.getvalue())
    assert table.names == tuple(header)
    assert [table.texts(name) for name in header] == [list(column) for column in zip(*rows, strict=True)]
    assert table.line_numbers is not None
    # the line of every row, counted in another way: in the text before it
    before = io.StringIO()
    csv.writer(before, lineterminator=end, quoting=csv.QUOTE_ALL).writerows([header, *rows[:-1]])
    written = before.getvalue().replace("\r\n", "\n").replace("\r", "\n")
    assert table.line_numbers[-1] == written.count("\n") + 1


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_numbers_are_read_to_the_last_bit(scratch: Path, values: list[float]) -> None:
    numbers = read(scratch, "x\n" + "\n".join(map(repr, values))).numbers("x")
    assert numbers.tobytes() == np.array(values).tobytes()


def test_plain_variants(scratch: Path) -> None:
    for content in (
        "a,b\n1,x\n2,y\n",
        "a,b\n1,x\n2,y",
        "\ufeffa,b\r\n1,x\r\n2,y\r\n",
        "a,b\r1,x\r2,y",
        'a,b\n"1","x"\n2,y\n\n\n',
    ):
        table = read(scratch, content)
        assert (table.names, table.texts("a"), table.texts("b")) == (("a", "b"), ["1", "2"], ["x", "y"])
        assert table.notices == ()
        assert table.place(1) == "row 1 (line 3)"


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a\n1\nx\n")))
    table = read_table("-")
    with pytest.raises(DataError, match=r"^standard input: row 1 \(line 3\)|^standard input: column 'a'"):
        table.numbers("a")


def test_the_empty_last_column_is_dropped_and_said(scratch: Path) -> None:
    table = read(scratch, "a,b,\n1,2,\n3,4, \n")
    assert table.names == ("a", "b")
    assert table.notices == ("column 3 has no name and no value in it: left out",)


def test_quoted_line_ends_keep_the_lines_right(scratch: Path) -> None:
    table = read(scratch, '"a\nb",c\n1,"x\r\ny"\n2,z\n')
    assert table.names == ("a\nb", "c")
    assert (table.place(0), table.place(1)) == ("row 0 (line 3)", "row 1 (line 5)")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "this file is empty"),
        ("\ufeff\r\n\n", "this file is empty"),
        ("a,b", "a header and no rows"),
        ("a,b\n\n", "a header and no rows"),
        ("\na,b\n1,2\n", "line 1 must be the header"),
        ("a,b,a\n1,2,3\n", "'a' occurs more than once"),
        ("a,,b\n1,2,3\n", "column 2 has none"),
        (",a\n0,1\n", "column 1 has none"),
        ("a,\n1,\n2,3\n", "column 2 has none"),
        (",\n,\n", "has none"),
        ("a,b\n1,2\n1,2,3\n", "the header, 2; line 3 has 3 cells: '1,2,3'"),
        ("a,b\n1,2\n1\n3,4\n", "the header, 2; line 3 has 1 cell: '1'"),
        ('a,b\n"x\ny",2\n1\n', "line 4 has 1 cell"),
        ('"a\nq",b\n1,2\n1\n', "line 4 has 1 cell"),
        ("a,b\r\n1,2\r\n1\r\n", "line 3 has 1 cell"),
        ("a,b\n" + "1,2\n" * 400_000 + "1\n" + "1,2\n" * 400_000, "line 400002 has 1 cell"),
        ("a,b\n1,2\n\n3,4\n", "row 1 (line 3) is blank"),
        ('a,b\n1,"2\n3,4\n', "a quote opened in the row of line 2 is never closed"),
        ('a,b\n1,2\n"3,4\n5,6\n', "a quote opened in the row of line 3 is never closed"),
        ('a,b\n"x\ny",2\n1,"2\n3,4\n', "a quote opened in the row of line 4 is never closed"),
        ('"a,b\n1,2\n', "line 1 begins a header"),
        ("a,b\n1,2\n" + "x" * 3_000_000 + ",2\n", "line 3 begins a row of more than 1 MiB"),
        ('a,b\n1,2\n3,"\n' + "1,2\n" * 1_000_000, "line 3 begins a row of more than 1 MiB"),
        ("a,b\n1,2\n1\n" + "x" * 3_000_000 + ",2\n", "line 3 has 1 cell"),
        ("a,b\n1,\0\n", "line 2 holds a NUL byte (byte 6)"),
        ("a;b\n1,5;2,5\n", "semicolons"),
        ("a\tb\n1\t2\n", "tabs"),
        ("a|b\n1|2\n", "bars"),
        ("a,b\n1,é\n".encode("cp1252"), "line 2 is not UTF-8: byte 6 is 0xe9"),
        ("a,b\r1,é\r".encode("cp1252"), "line 2 is not UTF-8: byte 6 is 0xe9"),
        ("é,b\n1,2\n".encode("cp1252"), "line 1 is not UTF-8: byte 0"),
        ("a,b\n1,2\n".encode("utf-16"), "UTF-16"),
        ("a,b\n1,2\n".encode("utf-16-be"), "UTF-16"),
        (b"\x1f\x8b" + bytes(100), "gzip"),
        (b"PK\x03\x04" + bytes(100), "spreadsheet"),
        (b"PAR1" + bytes(100), "Parquet"),
    ],
)
def test_broken_files_are_refused_with_the_place(scratch: Path, content: bytes | str, message: str) -> None:
    said = refusal(scratch, content)
    assert message in said
    assert len(said) < 400


def test_the_refusal_helper_can_fail(scratch: Path) -> None:
    with pytest.raises(pytest.fail.Exception):
        refusal(scratch, "a\n1\n")


def test_no_such_file(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.csv", tmp_path, "nul\0byte"):
        with pytest.raises(NoInputError) as caught:
            read_table(path)
        assert caught.value.exit_status == 66


@given(st.data())
@settings(max_examples=200)
def test_a_row_of_another_width_is_found_wherever_it_is(scratch: Path, data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 20))
    width = data.draw(st.integers(2, 4))
    at = data.draw(st.integers(1, n))
    rows = [["1"] * width for _ in range(n + 1)]
    rows[0] = [f"c{j}" for j in range(width)]
    rows[at] = ["1"] * data.draw(st.integers(1, 6).filter(lambda k: k != width))
    end = data.draw(st.sampled_from(["\n", "\r\n", "\r"]))
    assert f"line {at + 1} has {len(rows[at])} cell" in refusal(scratch, end.join(map(",".join, rows)))


@given(st.binary(max_size=60))
@settings(max_examples=300)
def test_any_bytes_are_a_table_or_one_error(scratch: Path, content: bytes) -> None:
    try:
        table = read(scratch, content)
    except DataError:
        return
    for name in table.names:
        assert len(table.texts(name)) == table.n_rows
        with contextlib.suppress(DataError):
            assert np.isfinite(table.numbers(name)).all()


# Cells


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("1\n4O\n3\n4\n", "row 1 (line 3), column 'x': '4O' is not a number"),
        ("1.5\n" * 20_000 + "ten\n", "row 20000 (line 20002), column 'x': 'ten' is not a number"),
        ("red\nblue\n", "column 'x' holds text, not numbers: row 0 (line 2) has 'red'"),
        ("red\nblue\n1\n", "holds text"),
        ("NA\nred\nblue\n1\n", "row 1 (line 3) has 'red'"),
        ("true\n1\n2\n", "'true' is not a number"),
        ("true\n\nfalse\n", "1 of 3 cells is missing, the first in row 1 (line 3)"),
        ("1\n\n3\nNA\n", "2 of 4 cells are missing, the first in row 1 (line 3)"),
        ('""\n""\n', "2 of 2 cells are missing"),
        ("1\ninf\n", "row 1 (line 3), column 'x': 'inf' is not a finite number"),
        ("1\n-Infinity\n", "not a finite number"),
        ("1\n1e400\n", "'1e400' is not a finite number"),
        ("1\n1e-400\n", "'1e-400' is too small"),
        ("1\n9007199254740993\n", "row 1 (line 3), column 'x': '9007199254740993' has more digits"),
        ("123456789012345678901234567890\n1\n", "has more digits"),
        ("-9007199254740993.0\n1\n", "has more digits"),
        ("1\n 9007199254740993 \n", "has more digits"),
        ("0x10\n1\n2\n", "'0x10' is not a number"),
        ("1_000\n1\n2\n", "'1_000' is not a number"),
        ('"1,5"\n1\n2\n', "'1,5' is not a number"),
        ("١\n1\n2\n", "is not a number"),
        ("1e\n1\n2\n", "'1e' is not a number"),
        ("\x1b[31m\n1\n2\n", "'\\x1b[31m' is not a number"),
        ("1" * 500_000 + "x\n1\n2\n", "1111'... is not a number"),
        ("1" * 500_000 + "\n1\n", "1111'... is not a finite number"),
        ("0" * 500_000 + "x\n1\n2\n", "0000'... is not a number"),
    ],
)
def test_cells_that_are_no_numbers_are_named(scratch: Path, column: str, message: str) -> None:
    said = cell_refusal(scratch, column)
    assert message in said
    assert len(said) < 400


@pytest.mark.parametrize("word", ["", "NA", "N/A", "NaN", "nan", "null", "None", "?", " NA ", "na"])
def test_missing_words(scratch: Path, word: str) -> None:
    said = cell_refusal(scratch, f'1\n"{word}"\n')
    assert "1 of 2 cells is missing, the first in row 1 (line 3)" in said
    assert "--features" in said


def test_unusual_numbers_that_are_numbers(scratch: Path) -> None:
    cells = ["+1", " 2 ", "3.", ".5", "-.5E+1", "1e-5", "9007199254740992", "0", "-0.0", "1000000000000000000000"]
    numbers = read(scratch, "x\n" + "\n".join(cells)).numbers("x")
    assert numbers.tolist() == [float(cell) for cell in cells]


def test_booleans_are_numbers_when_asked(scratch: Path) -> None:
    assert read(scratch, "x\nTrue\nfalse\n").numbers("x").tolist() == [1.0, 0.0]
    assert Table.from_columns({"x": [True, False]}).numbers("x").tolist() == [1.0, 0.0]


def test_messages_name_the_place_in_the_source_after_selection(scratch: Path) -> None:
    table = read(scratch, "x\n1\n2\nred\n4\n").select([3, 2])
    with pytest.raises(DataError, match=r"row 2 \(line 4\)"):
        table.numbers("x")


def test_no_such_column(scratch: Path) -> None:
    table = read(scratch, ",".join(f"feature_{j}" for j in range(30)) + "\n" + ",".join("1" * 30))
    with pytest.raises(DataError, match=r"Did you mean 'feature_7'\?.*and 20 more") as caught:
        table.numbers("Feature_7")
    assert caught.value.exit_status == 65


# Frames


class Frame:
    """What pandas and polars have in common."""

    def __init__(self, columns: dict[Any, Any]) -> None:
        self.columns = list(columns)
        self._columns = columns

    def __getitem__(self, name: Any) -> Any:
        return self._columns[name]


def test_the_same_values_from_anywhere(scratch: Path) -> None:
    import pyarrow

    values = {"age": [39.0, 50.5, 38.0], "sex": ["M", "F", "M"]}
    arrays = {"age": np.array(values["age"]), "sex": np.array(values["sex"], dtype=object)}
    tables = [
        Table.from_columns(values),
        as_table(arrays),
        as_table(Frame(arrays)),
        as_table(pyarrow.table(values)),
        as_table(read(scratch, "age,sex\n39,M\n50.5,F\n38,M\n")),
    ]
    for table in tables:
        assert table.names == ("age", "sex")
        assert table.numbers("age").tolist() == values["age"]
        assert table.texts("sex") == table.labels("sex") == values["sex"]
        assert table.select([1]).texts("age") == ["50.5"]
        assert table.place(0).startswith("row 0")


def test_an_array_of_rows() -> None:
    X = np.array([[1, 2], [3, 4]], dtype=np.int32)
    table = as_table(X)
    assert table.names == ("x1", "x2")
    np.testing.assert_array_equal(np.column_stack([table.numbers(name) for name in table.names]), X)
    with pytest.raises(DataError, match=r"\(n, d\)"):
        as_table(X[0])
    with pytest.raises(DataError, match="got list"):
        as_table([[1, 2]])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, None], "1 of 2 cells is missing"),
        ([1.0, math.nan], "1 of 2 cells is missing"),
        (np.ma.masked_array([1.0, 2.0], [False, True]), "1 of 2 cells is missing"),
        ([1.0, math.inf], "row 1, column 'x': 'inf' is not a finite number"),
        ([2**53 + 1, 1], "row 0, column 'x': '9007199254740993' has more digits"),
        (np.array([2**64 - 1, 1], dtype=np.uint64), "has more digits"),
        ([2**70 + 1, 1], "has more digits"),
        (["a", 1], "is not a number|holds text"),
        ([1j, 2j], "holds text"),
        (np.array(["2020-01-01", "2020-01-02"], dtype="datetime64[ns]"), "holds text"),
        ([[1, 2], [3, 4]], "one dimension"),
        ([[1, 2], [3]], "one list of cells"),
        (["\ud800", "x"], "not Unicode"),
    ],
)
def test_columns_of_a_frame_that_are_no_numbers(values: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Table.from_columns({"x": values}).numbers("x")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "0 columns"),
        ({"a": []}, "no rows"),
        ({"a": [1, 2], "b": [1]}, "'b' has 1, 'a' 2"),
        ({"": [1]}, "needs a name"),
        ({"1": [1], 1: [2]}, "'1' occurs twice"),
    ],
)
def test_tables_that_are_none(columns: dict[Any, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Table.from_columns(columns)


def test_labels_are_the_same_from_files_and_frames(scratch: Path) -> None:
    for table in (
        read(scratch, "y\n0\n1\n"),
        read(scratch, "y\n0.0\n 1\n"),
        Table.from_columns({"y": [0, 1]}),
        Table.from_columns({"y": [0.0, 1.0]}),
        Table.from_columns({"y": np.array([0, 1], dtype=np.uint8)}),
    ):
        assert table.labels("y") == ["0", "1"]
    assert read(scratch, "y\n01\nv1.0\n").labels("y") == ["01", "v1.0"]
    with pytest.raises(DataError, match="1 of 2 cells is missing"):
        read(scratch, "y,z\nNA,1\nM,1\n").labels("y")


# Tasks and targets


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


def fit(columns: dict[str, Any], features: list[str] | None, target: str, **options: Any) -> Encoder:
    return Encoder.fit(Table.from_columns(columns), features, target, **options)[0]


def test_classes_in_order() -> None:
    X = [0.0, 1.0, 2.0]
    assert fit({"x": X[:2], "y": ["M", "B"]}, ["x"], "y").target.classes == ("B", "M")
    assert fit({"x": X[:2], "y": ["M", "B"]}, ["x"], "y", positive="B").target.classes == ("M", "B")
    assert fit({"x": X[:2], "y": [0, 1]}, ["x"], "y", positive=0).target.classes == ("1", "0")
    assert fit({"x": X, "y": ["10", "9", "8"]}, ["x"], "y").target.classes == ("8", "9", "10")
    assert fit({"x": X, "y": ["c", "a", "b"]}, ["x"], "y").target.kind == "classes"


def test_scaling_is_that_of_the_rows_handed_in() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(5, 3, (50, 2)) * [1, 1e6]
    table = as_table(np.column_stack([X, rng.normal(size=50)]))
    train = table.select(np.arange(40))
    encoder, notices = Encoder.fit(train, None, "x3")
    assert notices == ()
    from sklearn.preprocessing import StandardScaler

    # the same formula; the sums may run in another order: a few units in the last place of 40 terms
    np.testing.assert_allclose(encoder.encode(table), StandardScaler().fit(X[:40]).transform(X), rtol=1e-12, atol=1e-13)
    y = encoder.encode_target(table)
    assert y.shape == (50, 1)
    np.testing.assert_allclose(encoder.decode(y), table.numbers("x3"), rtol=1e-13, atol=1e-14)


def test_columns_go_by_name() -> None:
    table = Table.from_columns({"a": [1.0, 2.0], "b": [3.5, 4.0], "y": ["M", "B"]})
    encoder, _ = Encoder.fit(table, ["b", "a"], "y")
    assert encoder.feature_names == ("b", "a")
    shuffled = Table.from_columns({"y": ["M", "B"], "z": [0, 0], "b": [3.5, 4.0], "a": [1.0, 2.0]})
    np.testing.assert_array_equal(encoder.encode(table), encoder.encode(shuffled))
    with pytest.raises(DataError, match="no columns 'b', 'a'"):
        encoder.encode(Table.from_columns({"y": ["M"]}))


def test_targets_round_trip() -> None:
    for labels in (["M", "B", "B"], ["a", "b", "c"], ["3", "1", "2"]):
        table = Table.from_columns({"x": [1, 2, 4], "y": labels})
        encoder, _ = Encoder.fit(table, ["x"], "y")
        encoded = encoder.encode_target(table)
        assert encoded.shape == (3, 1 if len(set(labels)) == 2 else 3)
        assert encoder.decode(encoded) == labels


def test_half_is_negative_as_in_the_notebook() -> None:
    encoder = fit({"x": [1, 2], "y": ["M", "B"]}, ["x"], "y")
    assert encoder.decode([[0.5], [np.nextafter(0.5, 1)]]) == ["B", "M"]


def test_what_is_left_out_is_said() -> None:
    table = Table.from_columns(
        {
            "id": ["842302", "842517", "84300903"],
            "name": ["Ann", "Bob", "Cy"],
            "number": np.array([7, 8, 9]),
            "same": [3, 3, 3],
            "size": [1.0, 2.0, 3.0],
            "y": ["M", "B", "B"],
        }
    )
    encoder, notices = Encoder.fit(table, None, "y")
    assert encoder.feature_names == ("size",)
    assert [notice.split("'")[1] for notice in notices] == ["id", "name", "number", "same"]
    encoder, notices = Encoder.fit(table, ["id", "same"], "y")
    assert encoder.feature_names == ("id",)
    assert notices == ("column 'same' left out: it is 3 in every training row",)


def test_a_constant_that_no_float_holds_is_constant() -> None:
    # the mean of ten 0.1 is not 0.1, so a standard deviation alone would not tell
    encoder, notices = Encoder.fit(
        Table.from_columns({"a": [0.1] * 10, "b": np.arange(10) / 2, "y": [0, 1] * 5}), ["a", "b"], "y"
    )
    assert encoder.feature_names == ("b",)
    assert len(notices) == 1


@pytest.mark.parametrize(
    ("features", "target", "options", "error", "message"),
    [
        (["size", "kind"], "kind", {}, UsageError, "'kind' is"),
        (["size", "size"], "kind", {}, UsageError, "named twice"),
        (["same"], "kind", {}, UsageError, "none is left.*'same'"),
        ([], "kind", {}, UsageError, "at least one feature"),
        (["siz"], "kind", {}, DataError, "Did you mean 'size'"),
        (["size"], "knd", {}, DataError, "Did you mean 'kind'"),
        (["color"], "kind", {}, DataError, "holds text"),
        (["size"], "kind", {"positive": "b"}, UsageError, "Did you mean 'B'"),
        (["size"], "color", {"positive": "red"}, UsageError, "one of two"),
        (["size"], "kind", {"task": "regression"}, DataError, "holds text"),
        (["size"], "price", {"positive": "1"}, UsageError, "is a number"),
        (["size"], "same", {}, DataError, "every row of 'same' is '3'"),
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
    encoder = fit({"x": [1, 2], "y": ["M", "B"]}, ["x"], "y")
    with pytest.raises(DataError, match=r"row 1, column 'y'.*holds 'X', 'Y', and the model knows 'B', 'M'"):
        encoder.encode_target(Table.from_columns({"y": ["M", "X", "Y", "X"]}))


def test_a_value_too_far_off_to_be_scaled() -> None:
    encoder = fit({"x": [0, 1e-10], "y": ["M", "B"]}, ["x"], "y")
    with pytest.raises(DataError, match=r"row 1, column 'x': .* too far"):
        encoder.encode(Table.from_columns({"x": [0.0, 1e308]}))


# JSON

encoders = [
    fit({"x": [1, 2], "y": ["M", "B"]}, ["x"], "y"),
    fit({"x": [1, 2, 4], "半径": [0.1, 0.2, 0.4], "y": ["a", "b", "c"]}, ["x", "半径"], "y"),
    fit({"x": [1, 2, 4], "y": [0.1, 0.2, 0.3]}, ["x"], "y"),
]


@pytest.mark.parametrize("encoder", encoders)
def test_an_encoder_comes_back_from_json(encoder: Encoder) -> None:
    assert Encoder.from_json(json.loads(json.dumps(encoder.to_json()))) == encoder


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
    else:
        versions += [1, None]
    return versions


@pytest.mark.parametrize("encoder", encoders)
def test_a_damaged_encoder_is_refused(encoder: Encoder) -> None:
    versions = damaged(encoder.to_json())
    assert len(versions) > 40
    for version in versions:
        with pytest.raises(DataError):
            Encoder.from_json(version)


def changed(number: int, *path: Any, value: Any) -> Any:
    result = encoders[number].to_json()
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
        changed(0, "target", "kind", value="classes"),
        changed(0, "target", "kind", value="number"),
        changed(0, "target", "kind", value="more"),
        changed(0, "target", "classes", value=["M", "M"]),
        changed(1, "target", "classes", value=["a", "b", "a"]),
        changed(2, "target", "classes", value=["a", "b"]),
        changed(2, "target", "scale", value=0.0),
    ],
)
def test_an_encoder_that_contradicts_itself_is_refused(value: Any) -> None:
    with pytest.raises(DataError):
        Encoder.from_json(value)


# Splits


@given(st.data())
@settings(max_examples=200)
def test_splits(data: st.DataObject) -> None:
    labels = data.draw(st.lists(st.sampled_from("abcd"), min_size=2, max_size=80))
    test_size = data.draw(st.floats(0.01, 0.99))
    seed = data.draw(st.integers(0, 2**64 - 1))
    n = len(labels)
    counts = Counter(labels)
    if max(counts.values()) == 1:
        with pytest.raises(DataError, match="two rows or more"):
            split(n, test_size=test_size, seed=seed, stratify=labels)
        return
    train, test = split(n, test_size=test_size, seed=seed, stratify=labels)
    assert sorted([*train, *test]) == list(range(n))
    assert (np.diff(train) > 0).all()
    assert (np.diff(test) > 0).all()
    in_train = Counter(labels[row] for row in train)
    assert in_train.keys() == counts.keys()
    wanted = math.ceil(Fraction(repr(test_size)) * n)
    assert len(test) == min(wanted, n - len(counts))
    if all(counts[label] - wanted * counts[label] / n >= 2 for label in counts):  # nobody had to be spared
        for label, count in counts.items():
            assert abs((count - in_train[label]) - wanted * count / n) < 1
    again = split(n, test_size=test_size, seed=seed, stratify=labels)
    assert (again[0].tolist(), again[1].tolist()) == (train.tolist(), test.tolist())


def test_every_row_is_as_likely_in_the_test_part() -> None:
    counts = np.zeros(20)
    for seed in range(1000):
        counts[split(20, test_size=0.2, seed=seed)[1]] += 1
    # 1,000 draws of probability .2: 200 with standard deviation 12.6; five of them, for 20 rows and one fixed outcome
    assert np.abs(counts - 200).max() < 64


def test_a_fifth_is_a_fifth() -> None:
    assert [len(split(n, test_size=0.2)[1]) for n in (5, 10, 455, 569, 10_000)] == [1, 2, 91, 114, 2000]
    assert len(split(30, test_size=0.1)[1]) == 3  # 0.1 * 30 as floats is 3.0000000000000004 on some ways


def test_splits_that_cannot_be() -> None:
    for test_size in (0, 1, -0.1, 1.5, math.nan, 20):
        with pytest.raises(UsageError, match="between 0 and 1"):
            split(10, test_size=test_size)
    with pytest.raises(UsageError, match="one label per row"):
        split(10, stratify=["a"])
    with pytest.raises(UsageError):
        split(10, seed=-1)
    for n in (0, 1):
        with pytest.raises(DataError, match="two rows"):
            split(n)


# Real files


def test_housing(shared_data: Path) -> None:
    table = read_table(shared_data / "housing.csv")
    assert task_of(table, "median_house_value") == "regression"
    with pytest.raises(DataError, match=r"'total_bedrooms': 207 of 20640 cells are missing, the first in row 290"):
        Encoder.fit(table, None, "median_house_value")
    encoder, _ = Encoder.fit(table, ["median_income", "housing_median_age"], "median_house_value")
    assert encoder.encode(table).shape == (20640, 2)


def test_census(shared_data: Path) -> None:
    table = read_table(shared_data / "census_income.csv")
    encoder, _ = Encoder.fit(table, ["age", "hours-per-week"], "income-over-50k")
    assert (encoder.target.kind, encoder.target.classes) == ("binary", ("0", "1"))
    with pytest.raises(DataError, match="column 'employment' holds text"):
        table.numbers("employment")
