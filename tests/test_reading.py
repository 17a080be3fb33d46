"""Files: what was written is what is read, or an error that names the true place."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import glassnet as gn
from glassnet.errors import DataError, NoInputError, UsageError
from glassnet.reading import blocks, columnar, delimited, read_table, sources
from glassnet.tables import Table

OPTIONS: dict[str, Any] = {"suppress_health_check": [HealthCheck.function_scoped_fixture], "deadline": None}


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables") / "t.csv"


def read(path: Path, content: bytes | str, **options: Any) -> Table:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_table(path, **options)


def refusal(path: Path, content: bytes | str, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(path, content, **options)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) < 500
    return message.removeprefix(f"{path}: ")


@contextlib.contextmanager
def blocks_of(n_bytes: int) -> Iterator[None]:
    """Files are read and cut in pieces so small that every place of a table lies at some block's edge."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("BLOCK_BYTES", "FIRST_BLOCK_BYTES"):
            patch.setattr(blocks, name, n_bytes)
        patch.setattr(blocks, "_ROWS_A_BLOCK", 0)
        patch.setattr(delimited, "_WINDOW", n_bytes)
        patch.setattr(sources, "PIECE_BYTES", n_bytes)
        yield


# What was written is what is read

letters = st.characters(blacklist_categories=("Cs",), blacklist_characters="\0\ufeff")
words = st.text(letters, max_size=8)
names = st.lists(
    st.text(letters, min_size=1, max_size=6).filter(str.strip), min_size=2, max_size=5, unique=True
).filter(lambda some: not all(gn.cells.is_number(name) for name in some))
DELIMITERS = [",", ";", "\t", "|", "~"]


@st.composite
def written(draw: st.DrawFn) -> tuple[bytes, dict[str, Any], list[str], list[tuple[str, ...]], list[int]]:
    """A table of random texts as bytes, the options that say how to read it, and what is in it: names, rows, lines."""
    header = draw(names)
    rows = draw(st.lists(st.tuples(*[words] * len(header)).filter(any), min_size=1, max_size=12))
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    sign = draw(st.sampled_from(DELIMITERS))
    buffer = io.StringIO()
    # "minimal" leaves alone what is a line end to us but not the one it writes
    minimal = not re.search(r"[\r\n]", "".join([*header, *(cell for row in rows for cell in row)]))
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])) if minimal else csv.QUOTE_ALL
    writer = csv.writer(buffer, delimiter=sign, lineterminator=end, quoting=quoting)
    lines = []
    for row in (header, *rows):
        lines.append(1 + len(re.findall(r"\r\n|\n|\r", buffer.getvalue())))
        writer.writerow(row)
    text = buffer.getvalue()
    if draw(st.booleans()):
        text = text.removesuffix(end)
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
    options = {"delimiter": sign, "text": header, "missing": ["~none~"]}
    return text.encode(encoding), options, header, rows, lines[1:]


@given(written(), st.sampled_from([3, 20, 2**20]), st.sampled_from([1, 2]))
@settings(max_examples=120, **OPTIONS)
def test_what_was_written_is_read(scratch: Path, case: Any, block: int, threads: int) -> None:
    content, options, header, rows, lines = case
    with blocks_of(block):
        table = read(scratch, content, threads=threads, **options)
    assert table.names == tuple(header)
    assert [table.texts(name) for name in header] == [
        ["" if not cell.strip() else cell for cell in column] for column in zip(*rows, strict=True)
    ]
    assert table.line_numbers is not None
    assert table.line_numbers.tolist() == lines
    assert table.row_numbers.tolist() == list(range(len(rows)))


typed = {
    "number": st.floats(allow_nan=False, allow_infinity=False).map(repr) | st.sampled_from(["NA", "", "1e5", "-0.0"]),
    "digits": st.integers(0, 2**53).map(str) | st.just(""),
    "date": st.dates().map(str) | st.just("?"),
    "boolean": st.sampled_from(["true", "False", "TRUE", "null"]),
    "text": st.sampled_from(["red", "blue", "a,b", 'say "x"', "two\nlines", "NA"]),
}


@given(st.data(), st.sampled_from([10, 60]), st.sampled_from([1, 2]))
@settings(max_examples=80, **OPTIONS)
def test_any_block_size_gives_the_same_table(scratch: Path, data: st.DataObject, block: int, threads: int) -> None:
    kinds = data.draw(st.lists(st.sampled_from(sorted(typed)), min_size=2, max_size=4))
    rows = data.draw(st.lists(st.tuples(*[typed[kind] for kind in kinds]), min_size=1, max_size=20))
    rows = [row for row in rows if any(cell not in ("", "NA", "?", "null") for cell in row)]
    assume(rows)
    buffer = io.StringIO()
    header = [f"{kind}{j}" for j, kind in enumerate(kinds)]
    csv.writer(buffer).writerows([header, *rows])
    # what each column holds is said, for the first block that has a value would tell it, and is another each time
    said = {name: "number" if kind == "digits" else kind for name, kind in zip(header, kinds, strict=True)}
    whole = read(scratch, buffer.getvalue(), kinds=said)
    with blocks_of(block):
        cut = read(scratch, buffer.getvalue(), kinds=said, threads=threads)
    assert cut.line_numbers is not None
    assert whole.line_numbers is not None
    assert cut.line_numbers.tolist() == whole.line_numbers.tolist()
    for name in header:
        assert cut.column(name).kind == whole.column(name).kind
        assert cut.texts(name) == whole.texts(name)
        if cut.column(name).kind != "text":
            assert cut.column(name).values.tobytes() == whole.column(name).values.tobytes()
    for j, kind in enumerate(kinds):
        if kind in ("number", "digits"):
            expected = [float(row[j]) if row[j] not in ("", "NA") else np.nan for row in rows]
            np.testing.assert_array_equal(whole.column(header[j]).values, expected)


@pytest.mark.parametrize("n_columns", [2, 30, 400, 3000])
@pytest.mark.parametrize("packed", [False, True])
def test_long_headers_and_many_blocks(scratch: Path, n_columns: int, packed: bool) -> None:
    """The header, the first block and the pieces that are read end at different places, whatever their sizes."""
    names = [f"a column with a long name {j}" for j in range(n_columns)]
    n_rows = 1 + 5 * 2**20 // (2 * n_columns)
    body = ("\n" + ",".join("12345678"[j % 8] for j in range(n_columns))) * n_rows
    content = (",".join(names) + body).encode()
    table = read(scratch, gzip.compress(content, 1) if packed else content)
    assert table.n_rows == n_rows
    for j in (0, n_columns - 1):
        assert set(table.numbers(names[j]).tolist()) == {float(j % 8 + 1)}


def test_every_size_of_header_before_a_block(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in (("BLOCK_BYTES", 64), ("FIRST_BLOCK_BYTES", 64), ("_ROWS_A_BLOCK", 1)):
        monkeypatch.setattr(blocks, name, size)
    monkeypatch.setattr(delimited, "SAMPLE_BYTES", 256)
    monkeypatch.setattr(sources, "PIECE_BYTES", 64)
    for length in range(1, 150):
        assert read(scratch, "h" * length + ",y\n" + "1,2\n" * 99).n_rows == 99


def test_plain_variants(scratch: Path) -> None:
    for content in (
        "a,b\n1,x\n2,y\n",
        "a,b\n1,x\n2,y",
        "\ufeffa,b\r\n1,x\r\n2,y\r\n",
        "a,b\r1,x\r2,y",
        'a,b\n"1","x"\n2,y\n\n\n',
        gzip.compress(b"a,b\n1,x\n2,y\n", mtime=0),
        gzip.compress(b"a,b\n1,x\n", mtime=0) + gzip.compress(b"2,y\n", mtime=0) + bytes(512),
    ):
        table = read(scratch, content)
        assert (table.names, table.texts("a"), table.texts("b")) == (("a", "b"), ["1", "2"], ["x", "y"])
        assert table.notices == ()
        assert table.place(1) == "row 1 (line 3)"


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    for content in (b"a\n1\nx\n2\n", gzip.compress(b"a\n1\nx\n2\n")):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
        table = read_table("-")
        with pytest.raises(DataError, match=r"^standard input: row 1 \(line 3\), column 'a': 'x' is not a number"):
            table.numbers("a")


@pytest.mark.parametrize(
    ("content", "said", "column"),
    [
        ("a;b\n1;x\n2;y\n", "separated by semicolons (;)", "b"),
        ("a\tb\n1\tx\n2\ty\n", "separated by tabs", "b"),
        ("a|b\n1|x\n2|y\n", "separated by bars (|)", "b"),
        ('"a;1";b\n1;x\n2;y\n', "separated by semicolons (;)", "b"),
        ("a;b\n1,5;x\n2,25;y\n", "decimals are written with a comma", "b"),
        ('a,b\n"1,5",x\n"2,25",y\n', "decimals are written with a comma", "b"),
        ("a,b\n1,x\n2,y\n".encode("utf-16"), "read as UTF-16, as its byte order mark says", "b"),
        ("a,b\n1,x\n2,y\n".encode("utf-16-le"), "read as UTF-16-LE: every other byte", "b"),
        ("a,b\n1,x\n2,y\n".encode("utf-16-be"), "read as UTF-16-BE: every other byte", "b"),
        ("0,1\n1,x\n2,y\n", "line 1 numbers the columns from 0", "1"),
        ("zip,b\n01234,x\n94110,y\n", "column 'zip' is read as text: '01234' begins with a zero", "b"),
        ("a,b,\n1,x,\n2,y, \n", "column 3 has no name and no value in it: left out", "b"),
    ],
)
def test_what_is_decided_and_not_plain_is_said(scratch: Path, content: bytes | str, said: str, column: str) -> None:
    table = read(scratch, content)
    assert said in " / ".join(table.notices)
    assert table.texts(column) == ["x", "y"]
    if "comma" in said:
        assert table.numbers("a").tolist() == [1.5, 2.25]


def test_what_is_decided_is_overruled(scratch: Path) -> None:
    assert read(scratch, "a;b\n1;2\n", delimiter=",").names == ("a;b",)
    assert read(scratch, "a b\n1 2\n", delimiter=" ").names == ("a", "b")
    assert read(scratch, "a\tb\n1\t2\n", delimiter="\\t").names == ("a", "b")
    assert read(scratch, "a,b\n1,é\n".encode("cp1252"), encoding="cp1252").texts("b") == ["é"]
    assert read(scratch, "a;b\n1,234;x\n", decimal=",").numbers("a").tolist() == [1.234]
    assert read(scratch, "a;b\n1,234;x\n", decimal=".", text=["a"]).texts("a") == ["1,234"]
    assert read(scratch, "a,b\n1,2\n", text=["a"]).column("a").kind == "text"
    assert read(scratch, "a,b\n007,2\n", number=["a"]).numbers("a").tolist() == [7.0]
    assert read(scratch, "a,b\n-,2\nNA,3\n1,4\n", missing=["-"], text=["a"]).texts("a") == ["", "NA", "1"]
    assert read(scratch, "a,b\n1,x\n", kinds={"a": "text", "absent": "text"}).column("a").kind == "text"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"delimiter": "ab"}, UsageError, "one ASCII sign"),
        ({"delimiter": '"'}, UsageError, "one ASCII sign"),
        ({"delimiter": "é"}, UsageError, "one ASCII sign"),
        ({"delimiter": ""}, UsageError, "one ASCII sign"),
        ({"encoding": "utf-9"}, UsageError, "got 'utf-9'"),
        ({"encoding": "base64"}, UsageError, "got 'base64'"),
        ({"encoding": "\0"}, UsageError, "an encoding is one"),
        ({"decimal": ";"}, UsageError, "point or a comma"),
        ({"text": ["a"], "number": ["a"]}, UsageError, "'a' is named for both"),
        ({"text": ["c"]}, DataError, "no column 'c'"),
        ({"number": ["c"]}, DataError, "no column 'c'"),
    ],
)
def test_options_that_cannot_be_meant(scratch: Path, options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        read(scratch, "a,b\n1,2\n", **options)


def test_the_encodings_own_errors_are_named(scratch: Path) -> None:
    assert "byte 6 is not ASCII" in refusal(scratch, "a,b\n1,é\n", encoding="ascii")
    assert "is not UTF-16" in refusal(scratch, "a,b\n1,2\n".encode("utf-16")[:-1])


# Broken files


@pytest.mark.parametrize("block", [9, 2**20])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "this file is empty"),
        ("\ufeff\r\n\n", "this file is empty"),
        ("a,b", "a header and no rows"),
        ("a,b\n\n", "a header and no rows"),
        ("\na,b\n1,2\n", "line 1 must be the header"),
        (
            "sep=;\na;b\n1;2\n",
            "it tells Excel what stands between columns: 'sep=;'. Remove the line, and say --delimiter \";\"",
        ),
        ('\ufeff"sep=,"\r\na,b\r\n1,2\r\n', '--delimiter ","'),
        ("SEP=\t\na\tb\n1\t2\n", "--delimiter tab"),
        ("1.5,2\n1,2\n", "line 1 is the header, the columns' names; it holds numbers: '1.5', '2'"),
        ("a,b,a\n1,2,3\n", "'a' occurs more than once"),
        ("a,,b\n1,2,3\n", "column 2 (counted from 1) has none"),
        (",a\n0,1\n", "to_csv(index=False)"),
        ("a,\n1,\n2,3\n", "column 2 (counted from 1) has none"),
        (",\n,\n", "has none"),
        ("a,b\n1,2\n1,2,3\n", "the header, 2; line 3 has 3 cells: '1,2,3'"),
        ("a,b\n1,2\n1\n3,4\n", "the header, 2; line 3 has 1 cell: '1'"),
        ('a,b\n"x\ny",2\n1\n', "line 4 has 1 cell"),
        ('"a\nq",b\n1,2\n1\n', "line 4 has 1 cell"),
        ("a,b\r\n1,2\r\n1\r\n", "line 3 has 1 cell"),
        ("a,b\n1,2\n{0}\n", "line 3 has 1 cell: '{0}'"),
        ("a,b\n1,2\n\n3,4\n", "line 3 is blank"),
        ("a,b\r\n1,2\r\n\r\n\r\n3,4\r\n", "line 3 is blank"),
        ('a,b\n1,"2\n3,4\n', "a quote opened in line 2 is never closed"),
        ('a,b\n1,2\n"3,4\n5,6\n', "a quote opened in line 3 is never closed"),
        ('a,b\n"x\ny",2\n1,"2\n3,4\n', "a quote opened in line 4 is never closed"),
        ('"a,b\n1,2\n', "a quote opened in line 1 is never closed"),
        ('a,b\n1,"2\n3,4\n"5",6\n', "a quote opened in line 2 is closed within a cell"),
        ('a,b\n"1"2,3\n', "a quote opened in line 2 is closed within a cell"),
        ("a,b\n1,\0\n", "line 2 holds a NUL byte (byte 6)"),
        ("a\0,b\n1,2\n", "line 1 holds a NUL byte (byte 1)"),
        ("a,b\n1,é\n".encode("cp1252"), "line 2 is not UTF-8: byte 6 is 0xe9"),
        ("\ufeffa,b\n1,2\n1,".encode() + b"\xe9\n", "line 3 is not UTF-8: byte 13 is 0xe9"),
        ("a,b\r1,é\r".encode("cp1252"), "line 2 is not UTF-8: byte 6 is 0xe9"),
        ("é,b\n1,2\n".encode("cp1252"), "line 1 is not UTF-8: byte 0"),
        ("a;b\n1,5;2.5\n", "--decimal"),
        ("a;b\n1,234;x\n", "--decimal"),
        ("a;b\n1.234,5;x\n", "without marks between thousands; a cell of column 'a' is '1.234,5'. Write '1234.5'"),
        ("a,b;c\n1,2;3\n", "may be separated by commas (,) or by semicolons (;). Say which with --delimiter"),
        (b"\x1f\x8b" + bytes(100), "gzip"),
        (gzip.compress(b"a,b\n1,2\n" * 99, mtime=0)[:-9], "cut off"),
        (gzip.compress(b"a,b\n1,2\n" * 99, mtime=0)[:40] + b"x" * 40, "damaged gzip"),
        (b"PK\x03\x04" + bytes(100), "spreadsheet"),
        (b"%PDF-1.4", "a PDF file"),
        (b'{"a": 1}', "JSON"),
        (b"PAR1" + bytes(100), "damaged Parquet data"),
        (b"ARROW1" + bytes(100), "damaged Arrow data"),
    ],
)
def test_broken_files_are_refused_with_the_place(scratch: Path, content: bytes | str, message: str, block: int) -> None:
    with blocks_of(block):
        assert message in refusal(scratch, content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n" + "1,2\n" * 400_000 + "1\n" + "1,2\n" * 400_000, "line 400002 has 1 cell"),
        ("a,b\n1,2\n" + "x" * 3_000_000 + ",2\n", "line 3 begins a row of more than 1 MiB"),
        ("a,b\n1,2\n" + '"' + "x\n" * 1_000_000 + '",2\n', "line 3 begins a row of more than 1 MiB"),
        ('a,b\n1,2\n3,"\n' + "1,2\n" * 1_000_000, "line 3 begins a row of more than 1 MiB"),
        ("a,b\n1,2\n1\n" + "x" * 3_000_000 + ",2\n", "line 3 has 1 cell"),
        ("a" * 3_000_000 + ",b\n1,2\n", "line 1 begins a header of more than 1 MiB"),
        ("a,b\n" + "\n" * 3_000_000, "a header and no rows|line 2 begins"),
        (",".join(f"c{j}" for j in range(100_000)) + "\n", "at most 20,000 columns; line 1 has 100,000"),
    ],
)
def test_what_is_too_large_is_refused(scratch: Path, content: str, message: str) -> None:
    assert re.search(message, refusal(scratch, content))


def test_the_refusal_helper_can_fail(scratch: Path) -> None:
    with pytest.raises(pytest.fail.Exception):
        refusal(scratch, "a\n1\n")


def test_no_such_file(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.csv", tmp_path, "nul\0byte"):
        with pytest.raises(NoInputError) as caught:
            read_table(path)
        assert caught.value.exit_status == 66


@given(st.data())
@settings(max_examples=150, **OPTIONS)
def test_a_breach_is_found_wherever_it_is(scratch: Path, data: st.DataObject) -> None:
    """A row of another width, a blank line, a NUL, an open quote, a byte that is no UTF-8: at the line where it is."""
    n = data.draw(st.integers(1, 20))
    width = data.draw(st.integers(2, 4))
    at = data.draw(st.integers(1, n))
    quoted = data.draw(st.booleans())
    rows = [['"1\n2"' if quoted else "1"] * width for _ in range(n + 2)]  # one behind the breach
    rows[0] = [f"c{j}" for j in range(width)]
    breach, message = data.draw(
        st.sampled_from(
            [
                (["1"] * (width + 1), f"has {width + 1} cells"),
                (["1"] * (width - 1), f"has {width - 1} cell"),
                (["\0"] * width, "holds a NUL byte"),
                ([*["1"] * (width - 1), '"x'], "quote opened in"),
                ([*["1"] * (width - 1), '"x"y'], "quote opened in"),
                (["\udce9"] * width, "is not UTF-8"),
                ([], "is blank"),
            ]
        )
    )
    rows[at] = breach
    end = data.draw(st.sampled_from(["\n", "\r\n", "\r"]))
    text = end.join(map(",".join, rows)) + end
    line = 1 + len(re.findall(r"\r\n|\n|\r", end.join(map(",".join, rows[:at])))) + 1
    with blocks_of(data.draw(st.sampled_from([9, 2**20]))):
        said = refusal(scratch, text.encode("utf-8", "surrogateescape"), delimiter=",")
    assert message in said
    assert f"line {line}" in said


@given(st.binary(max_size=60))
@settings(max_examples=300, **OPTIONS)
def test_any_bytes_are_a_table_or_one_error(scratch: Path, content: bytes) -> None:
    try:
        table = read(scratch, content)
    except DataError:
        return
    for name in table.names:
        with contextlib.suppress(DataError):
            column = table.column(name)
            assert len(column.texts()) == table.n_rows
            assert column.kind == "text" or not np.isinf(column.values).any()


# Cells


@pytest.mark.parametrize("block", [9, 2**20])
@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("1.5\n2\n" * 9 + "4O\n3\n4\n", "row 18 (line 20), column 'x': '4O' is not a number"),
        ("1\n" * 9 + "red\n", "row 9 (line 11), column 'x': 'red' is not a number"),
        ("1\n" * 9 + "1e400\n", "row 9 (line 11), column 'x': '1e400' is not a finite number"),
        ("1\n" * 9 + "0x1F\n", "row 9 (line 11), column 'x': '0x1F' is not a number"),
        ("1\n" * 9 + "0XA\n2.5\n", "row 9 (line 11), column 'x': '0XA' is not a number"),
        ("1\n" * 9 + "inf\n", "row 9 (line 11), column 'x': 'inf' is not a finite number"),
        ("1\n" * 9 + "-nan\n", "row 9 (line 11), column 'x': '-nan' is not a number"),
        ("1.5\n" * 9 + "1e-400\n", "row 9 (line 11), column 'x': '1e-400' is too small"),
        ("1\n" * 9 + "1e-400\n", "row 9 (line 11), column 'x': '1e-400' is too small"),
        ("1.5\n" * 9 + "-3.5E-401\n", "row 9 (line 11), column 'x': '-3.5E-401' is too small"),
        ("1.5\n" * 9 + "0." + "0" * 330 + "1\n", "row 9 (line 11), column 'x': '0.0"),
        ("1\n" * 9 + "9007199254740993\n", "row 9 (line 11), column 'x': '9007199254740993' has more digits"),
        ("1\n" * 9 + "123456789012345678901234567890\n", "row 9 (line 11)"),
        (
            "1\n" * 9 + "1,5\n",
            "row 9 (line 11), column 'x': '1,5' is not a number. Correct the cell, say with --missing if it stands",
        ),
        ("2020-01-31\n" * 9 + "soon\n", "row 9 (line 11), column 'x': 'soon' is not a date"),
        ("true\n" * 9 + "maybe\n2\n", "row 9 (line 11), column 'x': 'maybe' is neither true nor false"),
    ],
)
def test_cells_that_are_not_what_their_column_holds(scratch: Path, column: str, message: str, block: int) -> None:
    kinds: Any = {"x": "boolean"} if "true" in column else {}
    with blocks_of(block):
        table = read(scratch, "x;y\n" + column.replace("\n", ";a\n"), delimiter=";", decimal=".", kinds=kinds)
    assert table.texts("y")[0] == "a"
    with pytest.raises(DataError) as caught:
        table.column("x")
    assert message in str(caught.value)
    assert len(str(caught.value)) < 400


def test_codes_are_text_or_named(scratch: Path) -> None:
    content = "x,y\n" + "1,a\n" * 9 + "007,a\n"
    assert read(scratch, content).texts("x")[-1] == "007"
    with blocks_of(20), pytest.raises(DataError, match=r"row 9 \(line 11\), column 'x': '007' begins with a zero"):
        read(scratch, content).column("x")
    with blocks_of(20):
        assert read(scratch, content, number=["x"]).numbers("x")[-1] == 7.0
        assert read(scratch, content.replace("1", "1.5"), kinds={}).numbers("x")[-1] == 7.0


@pytest.mark.parametrize("sign", [",", ";", "|", "\t"])
def test_hexadecimal_digits_are_no_number_whatever_stands_before_them(scratch: Path, sign: str) -> None:
    for cell in ("0x10", " 0x10", '"0X10"'):
        for row in (f"{cell}{sign}2", f"2{sign}{cell}"):
            with blocks_of(9):
                table = read(scratch, f"x{sign}y\n" + f"1{sign}1\n" * 9 + row, delimiter=sign)
            with pytest.raises(DataError, match="is not a number"):
                [table.column(name) for name in "xy"]


def test_whole_numbers_may_be_followed_by_any_others(scratch: Path) -> None:
    """Digits are parsed as whole numbers of 32 bits, until some are none."""
    later = ["4294967295", "4294967296", "-5", "+5", "-0", " 7 ", "0", "1.5", "", "9007199254740992", "1e300", "0.25"]
    for block in (9, 30, 2**20):
        for cells in (later, later[::-1], ["", *later, "NA"]):
            with blocks_of(block):
                table = read(scratch, "x,y\n" + "1,2\n" * 9 + "".join(f"{cell},3\n" for cell in cells))
            expected = [1.0] * 9 + [float(cell) if cell.strip("NA") else np.nan for cell in cells]
            assert table.column("x").values.tobytes() == np.array(expected).tobytes()
            assert table.numbers("y").tolist() == [2.0] * 9 + [3.0] * len(cells)


def test_text_after_20_000_numbers(scratch: Path) -> None:
    table = read(scratch, "x\n" + "12345678901.5\n" * 200_000 + "ten\n" + "eleven\n")
    with pytest.raises(DataError, match=r"row 200000 \(line 200002\), column 'x': 'ten' is not a number.*--text"):
        table.numbers("x")
    assert read(scratch, "x\n" + "1.5\n" * 20_000 + "ten\n", text=["x"]).texts("x")[-2:] == ["1.5", "ten"]


def test_a_zero_beside_words_with_dashes(scratch: Path) -> None:
    """Where a decimal is 0, numbers too small are looked for, and found only where there are some."""
    rows = "0.0,a-100,2020-01-31\n1.5,Rue-123,2020-02-01\n" * 9
    assert read(scratch, "x,y,z\n" + rows).numbers("x").tolist() == [0.0, 1.5] * 9
    with blocks_of(60), pytest.raises(DataError, match=r"row 18 .*'1E-1000' is too small"):
        read(scratch, "x,y,z\n" + rows + "1E-1000,b,2020-02-01\n").numbers("x")


def test_numbers_are_those_that_python_reads(scratch: Path) -> None:
    cells = ["+1", " 2 ", "3.", ".5", "-.5E+1", "1e-5", "9007199254740992", "0", "-0.0", "1000000000000000000000"]
    cells += ["2.2250738585072014e-308", "5e-324", "1.7976931348623157e308", "0.1", "1e-100", "-1e-99"]
    for some in (cells, [*cells, "1"] * 50):
        numbers = read(scratch, "x\n" + "\n".join(some)).numbers("x")
        assert numbers.tobytes() == np.array([float(cell) for cell in some]).tobytes()


def test_a_kind_is_told_by_the_first_block_that_has_a_value(scratch: Path) -> None:
    lines = ["a,b,c,d"] + [",x,,"] * 40 + ["1.5,y,true,2020-01-31"] * 3 + ["2,z,false,2020-02-01"] * 40
    with blocks_of(50):
        table = read(scratch, "\n".join(lines))
    assert [table.column(name).kind for name in table.names] == ["number", "text", "boolean", "date"]
    assert table.column("a").missing.sum() == 40
    assert table.column("a").values[-1] == 2.0
    assert table.texts("d")[40] == "2020-01-31"


def test_missing_words_in_any_case_and_with_blanks(scratch: Path) -> None:
    cells = ["NA", "na", " NA ", "N/A", "NaN", "nan", "null", "NULL", "None", "none", "?", '""', '" "', '"NA"', "<NA>"]
    table = read(scratch, "x,y\n" + "".join(f"{cell},a\n" for cell in cells) + "1,b\n2,b\n")
    assert table.column("x").missing.sum() == len(cells)
    assert table.column("x").kind == "number"


@pytest.mark.parametrize("sign", [",", "\t", " "])
@pytest.mark.parametrize("block", [9, 2**20])
def test_a_number_or_a_date_that_stands_for_no_value_may_have_blanks_around_it(
    scratch: Path, block: int, sign: str
) -> None:
    words = {"x": "-999", "y": "7", "z": "1900-01-01"}
    header, row, gap = "x,y,z\n", "1.5,3,2020-01-31\n", ",".join(words.values()) + "\n"
    for left, right in (("", ""), (" ", ""), ("", "\t"), ("\t", " ")):
        if sign in left + right:
            continue
        padded = ",".join(f"{left}{word}{right}" for word in words.values()) + "\n"
        with blocks_of(block):
            content = (header + row * 9 + gap + row * 2 + padded + row).replace(",", sign)
            table = read(scratch, content, delimiter=sign, missing=list(words.values()))
        for name in words:
            assert np.flatnonzero(table.column(name).missing).tolist() == [9, 12]


@pytest.mark.parametrize("block", [2, 9, 2**20])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_blank_line_of_one_column_is_a_missing_cell(scratch: Path, block: int, end: str) -> None:
    with blocks_of(block):
        table = read(scratch, end.join(["x", "1.5", "", "2.5", "", ""]))
    assert np.array_equal(table.column("x").missing, [False, True, False, True])


def test_blanks_between_lines_ends_are_cells_where_they_delimit(scratch: Path) -> None:
    assert read(scratch, "a\tb\n1\t2\n\t\n3\t1\n").n_rows == 3
    assert read(scratch, "a b\n1 2\n \n3 1\n", delimiter=" ").n_rows == 3


def test_a_row_of_missing_cells_is_a_row_and_a_blank_line_is_none(scratch: Path) -> None:
    assert read(scratch, "a,b\n1,2\n,\n3,4\n").n_rows == 3
    assert refusal(scratch, "a,b\n1,2\n,\n\n3,4\n").startswith("line 4 is blank")


@pytest.mark.parametrize(
    "content", ["a;b\n1,5;x\n2,25;y\n", "a;b\n1.366,62;x\n2.000,25;y\n", "a;b\n6,191;x\n7,000;y\n"]
)
def test_decimals_that_contradict_the_option(scratch: Path, content: str) -> None:
    said = refusal(scratch, content, decimal=".")
    assert "with --decimal . a number" in said
    assert "of column 'a'" in said
    assert read(scratch, content, decimal=".", text=["a"]).columns["a"].kind == "text"


def test_points_where_commas_were_said(scratch: Path) -> None:
    assert "'1.5'" in refusal(scratch, "a;b\n1.5;x\n2.25;y\n", decimal=",")
    assert read(scratch, "a;b\n1,5;31.01.2020\n2;01.02.2020\n", decimal=",").columns["b"].kind == "text"


def test_utf_32_is_told_by_its_mark(scratch: Path) -> None:
    table = read(scratch, "a,b\n1,2\n".encode("utf-32"))
    assert (table.names, table.notices) == (("a", "b"), ("read as UTF-32, as its byte order mark says",))


def test_a_way_out_that_was_taken_is_not_named_again(scratch: Path) -> None:
    with pytest.raises(DataError) as caught:
        read(scratch, "a,b\n1,2\nx,3\n", number=["a"]).column("a")
    assert "--missing" in str(caught.value)
    assert "--text" not in str(caught.value)


def test_bare_quotes_are_letters(scratch: Path) -> None:
    table = read(scratch, 'x,y\n5" pipe,"a ""b"""\n6",c"d\n')
    assert table.texts("x") == ['5" pipe', '6"']
    assert table.texts("y") == ['a "b"', 'c"d']


# Other formats


def test_parquet_and_arrow_hold_what_csv_holds(tmp_path: Path) -> None:
    import datetime

    (tmp_path / "t.csv").write_text("n,t,d,b\n1,x,2020-01-31,true\n,z,,\n2.5,y,2020-02-03,false\n")
    days = [datetime.date(2020, 1, 31), None, datetime.date(2020, 2, 3)]
    table = pa.table({"n": [1.0, None, 2.5], "t": ["x", "z", "y"], "d": days, "b": [True, None, False]})
    pa.parquet.write_table(table, tmp_path / "t.parquet")
    pa.feather.write_feather(table, tmp_path / "t.feather")
    with pa.ipc.new_file(tmp_path / "t.arrow", table.schema) as file:
        file.write_table(table)
    with pa.ipc.new_stream(tmp_path / "t.arrows", table.schema) as stream:
        stream.write_table(table)
    expected = read_table(tmp_path / "t.csv")
    for name in ("t.parquet", "t.feather", "t.arrow", "t.arrows"):
        found = read_table(tmp_path / name)
        assert found.names == expected.names
        for column in expected.names:
            assert found.texts(column) == expected.texts(column)
            assert found.column(column).kind == expected.column(column).kind
        assert read_table(tmp_path / name, text=["n"]).texts("n") == ["1", "", "2.5"]
        with pytest.raises(DataError, match="no column 'm'"):
            read_table(tmp_path / name, text=["m"])


def test_parquet_through_a_pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pa.parquet.write_table(pa.table({"a": [1, 2]}), tmp_path / "t.parquet")

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(Pipe((tmp_path / "t.parquet").read_bytes())))
    assert read_table("-").numbers("a").tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pa.table({"a": [[1], [2]]}), "column 'a' must hold numbers, texts, booleans or dates; its type is list"),
        (pa.table({"a": pa.array([], pa.int64())}), "no rows"),
        (pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]), "'a' occurs more than once"),
    ],
)
def test_parquet_that_is_no_table(scratch: Path, table: Any, message: str) -> None:
    pa.parquet.write_table(table, scratch)
    assert message in refusal(scratch, scratch.read_bytes())


def test_parquet_that_says_it_is_too_large(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columnar, "MAX_BYTES", 100)
    pa.parquet.write_table(pa.table({"a": np.arange(1000)}), scratch)
    assert "GiB in memory" in refusal(scratch, scratch.read_bytes())


# Files that lie on purpose


def test_a_gzip_bomb_is_refused_before_it_fills_the_memory(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "FREE_UNPACKING", 2**22)
    assert "may hold 100 times its own size" in refusal(scratch, gzip.compress(b"a,b\n" + b"1,2\n" * 2**22, 9))
    assert read(scratch, gzip.compress(b"a,b\n" + b"1,2\n" * 2**18, 9)).n_rows == 2**18


def test_a_file_that_changes_while_it_is_read(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch.write_text("a,b\n1,2\n")
    original = delimited.read_delimited

    def meddled(*arguments: Any, **options: Any) -> Table:
        with scratch.open("a") as file:
            file.write("3,4\n")
        return original(*arguments, **options)

    monkeypatch.setattr(delimited, "read_delimited", meddled)
    with pytest.raises(DataError, match="changed while it was read"):
        read_table(scratch)


HOSTILE = ["<script>", "=cmd()", "$(rm)", "'; DROP", "🦆", "x" * 10_000, "\x1b[31m", "{0}", "%s"]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names(scratch: Path, name: str) -> None:
    table = read(scratch, f"{name},b\n1,2\nx,3\n2,4\n")
    assert table.names == (name, "b")
    with pytest.raises(DataError) as caught:
        table.numbers(name)
    assert len(str(caught.value)) < 400
    assert "\x1b" not in str(caught.value)


def test_many_columns(scratch: Path) -> None:
    n = 2_000
    row = ",".join(["1.5"] * n)
    table = read(scratch, ",".join(f"c{j}" for j in range(n)) + "\n" + f"{row}\n" * 3)
    assert len(table.names) == n
    assert table.numbers("c1999").tolist() == [1.5] * 3


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="asks Linux for the memory that was used")
def test_a_line_of_gigabytes_takes_no_memory() -> None:
    code = (
        "import glassnet as gn, re\n"
        "def used(): return int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
        "import pyarrow.csv, pyarrow.compute\n"
        "before = used()\n"
        "try: gn.read_table('-')\n"
        "except gn.GlassnetError as error: print(error)\n"
        "print(used() - before)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin is not None

    def feed() -> None:
        with contextlib.suppress(BrokenPipeError), process.stdin:  # type: ignore[union-attr]
            process.stdin.write(b"a,b\n1,2\n")  # type: ignore[union-attr]
            for _ in range(2048):
                process.stdin.write(b"x" * 2**20)  # type: ignore[union-attr]

    thread = threading.Thread(target=feed)
    thread.start()
    assert process.stdout is not None
    out = process.stdout.read().decode()
    process.wait(timeout=60)
    process.stdout.close()
    assert process.stderr is not None
    process.stderr.close()
    thread.join(timeout=60)
    message, kib = out.strip().split("\n")
    assert "line 3 begins a row of more than 1 MiB" in message
    assert int(kib) < 100_000  # some copies of a block of 1 MiB, and what is imported late; the line has 2 GiB


# Real files


def test_housing(shared_data: Path) -> None:
    table = read_table(shared_data / "housing.csv")
    assert table.column("ocean_proximity").kind == "text"
    assert int(table.column("total_bedrooms").missing.sum()) == 207
    with pytest.raises(DataError, match=r"'total_bedrooms': 207 of 20640 cells are missing, the first in row 290"):
        table.numbers("total_bedrooms")


def test_census(shared_data: Path) -> None:
    table = read_table(shared_data / "census_income.csv")
    assert table.n_rows == 32_561
    with pytest.raises(DataError, match="column 'education' holds text"):
        table.numbers("education")
    missing = {name: int(table.column(name).missing.sum()) for name in table.names}
    with_gaps = {name: n for name, n in missing.items() if n}
    assert with_gaps == {"employment": 1836, "occupation": 1843, "native-country": 583}
