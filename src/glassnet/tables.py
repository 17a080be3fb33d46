"""Tables: read strictly, encoded honestly, split fairly.

A cell is a number only if it is one to the last character; nothing is guessed, repaired or rounded in silence.
Rows are counted from 0, as data frames show them; lines of a file are counted from 1, as editors do.
"""

from __future__ import annotations

import math
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal, NoReturn, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glassnet.errors import DataError, NoInputError, UsageError, did_you_mean
from glassnet.randomness import Purpose, permutation

MISSING_WORDS = ("", "NA", "N/A", "NaN", "null", "None", "?")

_MISSING = frozenset(word.casefold() for word in (*MISSING_WORDS, "<NA>", "NaT"))  # the last two are pandas's
_BOOLEANS = {"true": 1.0, "false": 0.0}
# Neither form can match the same text in two ways, so a megabyte of digits is refused in linear time.
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?|[+-]?(inf|infinity)", re.ASCII | re.IGNORECASE)
_WHOLE_NUMBER = r"^\s*[+-]?[0-9]+(\.0*)?\s*$"
_NONZERO_NUMBER = r"^[^eE]*[1-9]"
_MAX_ROW_BYTES = 2**20
_MAX_CLASSES = 1000
_MAX_CLASSIFIED_INTEGERS = 10

# What is left to do, beside mending a cell, where the column is the target, and where a trained model needs it.
_ANOTHER_TARGET = "name another target"
_TRAIN_WITHOUT = "train a model without the column"

# Files that are no text, by their first bytes.
_OTHER_FILES = {
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
    b"\x1f\x8b": "a gzip file",
    b"PK\x03\x04": "a zip archive or a spreadsheet",
    b"PAR1": "a Parquet file",
}


@dataclass(frozen=True, eq=False, repr=False)
class Table:
    """Named columns of equal length, as a file or a frame holds them; cells are judged when they are asked for.

    Made by `read_table`, `Table.from_columns` or `as_table`. `source` names the file for messages ("" for a
    frame), `notices` says what reading changed. `row_numbers` and `line_numbers`, both (n_rows,), are each
    row's place in the source, and stay with the row when rows are selected; a frame has no lines.

    >>> table = Table.from_columns({"size": [1.5, 2.0], "color": ["red", "blue"]})
    >>> table.names, table.n_rows, table.numbers("size").tolist(), table.texts("color")
    (('size', 'color'), 2, [1.5, 2.0], ['red', 'blue'])
    """

    columns: Mapping[str, Any]  # numbers are NumPy arrays, texts are pyarrow arrays
    n_rows: int
    row_numbers: NDArray[np.int64]
    line_numbers: NDArray[np.int64] | None = None
    source: str = ""
    notices: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Table of {self.n_rows} rows: {listed(self.names)}>"

    @classmethod
    def from_columns(cls, columns: Mapping[Any, Any]) -> Table:
        """A table of arrays or lists of numbers, texts or booleans; None and NaN are missing cells.

        Raises DataError: no column, no row, columns of different lengths or of more than one dimension, a
        name that is empty or occurs twice.

        >>> Table.from_columns({"age": [39, None]}).numbers("age")
        Traceback (most recent call last):
            ...
        glassnet.errors.DataError: column 'age': 1 of 2 cells is missing, the first in row 1. Fill in the \
missing cells, remove their rows, or leave the column out with --features.
        """
        return _from_pairs([(str(name), values) for name, values in columns.items()])

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names, in order."""
        return tuple(self.columns)

    def numbers(self, name: str, *, or_else: str = "leave the column out with --features") -> NDArray[np.float64]:
        """Column `name` as (n_rows,) float64, each the nearest to what is written; true and false are 1 and 0.

        Raises DataError: no such column, a text, missing or infinite cell, a number beyond the range of
        float64, a whole number of more digits than float64 holds. The message names the first such cell, and
        as the way out, beside mending the cell, `or_else`.

        >>> Table.from_columns({"age": ["39", "4O"]}).numbers("age")
        Traceback (most recent call last):
            ...
        glassnet.errors.DataError: row 1, column 'age': '4O' is not a number. Correct the cell, or leave the \
column out with --features.
        """
        column = self._column(name)
        if isinstance(column, np.ndarray):
            values = column.astype(np.float64)
            self._refuse_missing(name, np.isnan(values), or_else)
            # a float holds every whole number up to 2**53; beyond, each is compared
            if column.dtype.kind in "iu":
                for large in np.flatnonzero(np.abs(values) >= 2.0**53).tolist():
                    if int(column[large]) != int(values[large]):
                        self._refuse_inexact(name, large, str(column[large]), or_else)
        else:
            values = self._parse(name, column, or_else)
        infinite = np.flatnonzero(~np.isfinite(values))
        if infinite.size:
            row = int(infinite[0])
            raise DataError(
                f"{self._cell(row, name)}: {_shown(self._text(column, row))} is not a finite number in 64 bits. "
                f"Correct the cell, or {or_else}."
            )
        return values

    def texts(self, name: str) -> list[str]:
        """Column `name` as it is written; of a frame's numbers the shortest text that gives the number back.

        A missing cell of a frame is the empty text. Raises DataError: no such column.

        >>> Table.from_columns({"x": [1.0, 0.1, None]}).texts("x")
        ['1', '0.1', '']
        """
        column = self._column(name)
        if isinstance(column, np.ndarray):
            return [_number_text(value) for value in column.tolist()]
        return column.to_pylist()  # type: ignore[no-any-return]

    def labels(self, name: str) -> list[str]:
        """Column `name` as class labels: its texts without blanks around them, and `1` for `1.0`.

        Raises DataError: no such column, a missing cell.

        >>> Table.from_columns({"grade": ["1.0", "2 "]}).labels("grade")
        ['1', '2']
        """
        labels = [text.strip() for text in self.texts(name)]
        self._refuse_missing(name, _is_missing(labels))
        if all(_NUMBER.fullmatch(label) for label in set(labels)):
            # the same labels, whether a file or a frame of integers or floats brought them
            return [re.sub(r"\.0*$", "", label) for label in labels]
        return labels

    def is_numeric(self, name: str) -> bool:
        """Whether most cells of column `name`, missing ones aside, are numbers.

        A stray text in a column of numbers does not make it a column of texts: `numbers` then names the cell.

        >>> table = Table.from_columns({"age": ["39", "50", "4O", "?"], "sex": ["M", "F", "F", "1"]})
        >>> table.is_numeric("age"), table.is_numeric("sex")
        (True, False)
        """
        column = self._column(name)
        if isinstance(column, np.ndarray) or _cast(column) is not None:
            return True
        counts = _cell_kinds(column)
        return counts["number"] > counts["text"]

    def select(self, rows: ArrayLike) -> Table:
        """The table of these rows, numbers from 0; messages go on naming each row's place in the source.

        >>> Table.from_columns({"x": [5, 6, 7]}).select([2, 0]).texts("x")
        ['7', '5']
        """
        chosen = np.asarray(rows, dtype=np.int64)
        return Table(
            {name: column.take(chosen) for name, column in self.columns.items()},
            len(chosen),
            self.row_numbers[chosen],
            None if self.line_numbers is None else self.line_numbers[chosen],
            self.source,
            self.notices,
        )

    def place(self, row: int) -> str:
        """Where `row` of this table stands in its source, for messages: `row 17 (line 19)`.

        >>> Table.from_columns({"x": [5, 6, 7]}).select([2]).place(0)
        'row 2'
        """
        line = "" if self.line_numbers is None else f" (line {self.line_numbers[row]})"
        return f"row {self.row_numbers[row]}{line}"

    def require(self, names: Sequence[str]) -> None:
        """Raise DataError, naming every absentee, unless all columns `names` are here.

        >>> Table.from_columns({"age": [39]}).require(["aeg"])
        Traceback (most recent call last):
            ...
        glassnet.errors.DataError: no column 'aeg'. Did you mean 'age'? The columns are 'age'.
        """
        absent = [name for name in names if name not in self.columns]
        if absent:
            nearest = did_you_mean(absent[0], self.names) if len(absent) == 1 else ""
            noun = "column" if len(absent) == 1 else "columns"
            raise DataError(
                f"{self._of_source()}no {noun} {listed(absent)}.{nearest} The columns are {listed(self.names)}."
            )

    def _column(self, name: str) -> Any:
        self.require([name])
        return self.columns[name]

    def _of_source(self) -> str:
        return f"{self.source}: " if self.source else ""

    def _cell(self, row: int, name: str) -> str:
        return f"{self._of_source()}{self.place(row)}, column {_shown(name)}"

    def _text(self, column: Any, row: int) -> str:
        return str(column[row]) if isinstance(column, np.ndarray) else column[row].as_py()

    def _parse(self, name: str, column: Any, or_else: str) -> NDArray[np.float64]:
        """The numbers of a column of texts; some may be infinite."""
        import pyarrow.compute as compute

        values = _cast(column)
        if values is None:
            counts = _cell_kinds(column)
            if counts["text"]:
                if counts["text"] == counts["boolean"] and not counts["number"]:
                    self._refuse_missing(name, _is_missing(column.to_pylist()), or_else)
                    return np.array([_BOOLEANS[text.strip().casefold()] for text in column.to_pylist()])
                row = next(row for row, text in _cells(column) if _kind_of(text) in ("text", "boolean"))
                value = _shown(self._text(column, row))
                if counts["text"] > counts["number"]:
                    raise DataError(
                        f"{self._of_source()}column {_shown(name)} holds text, not numbers: {self.place(row)} has "
                        f"{value}. Give numbers in its place, or {or_else}."
                    )
                raise DataError(f"{self._cell(row, name)}: {value} is not a number. Correct the cell, or {or_else}.")
            self._refuse_missing(name, _is_missing(column.to_pylist()), or_else)
            column = compute.ascii_trim_whitespace(column)
            values = _cast(column)
            assert values is not None  # every cell has the form of a number
        elif np.isnan(values).any():
            self._refuse_missing(name, np.isnan(values), or_else)
        # Only a long whole number can be more than float64 holds, and only a zero can hide a number too small.
        long = np.flatnonzero(compute.greater(compute.binary_length(column), 15))
        for row, text in _matching(column, long, _WHOLE_NUMBER):
            if np.isfinite(values[row]) and Decimal(text.strip()) != Decimal(float(values[row])):
                self._refuse_inexact(name, row, text, or_else)
        for row, text in _matching(column, np.flatnonzero(values == 0), _NONZERO_NUMBER):
            raise DataError(
                f"{self._cell(row, name)}: {_shown(text)} is too small for a number in 64 bits. "
                f"Give the column in another unit, or {or_else}."
            )
        return values

    def _refuse_missing(self, name: str, missing: NDArray[np.bool_], or_else: str = "") -> None:
        rows = np.flatnonzero(missing)
        if rows.size:
            verb = "is" if rows.size == 1 else "are"
            last_way = f", remove their rows, or {or_else}" if or_else else ", or remove their rows"
            raise DataError(
                f"{self._of_source()}column {_shown(name)}: {rows.size} of {self.n_rows} cells {verb} missing, the "
                f"first in {self.place(int(rows[0]))}. Fill in the missing cells{last_way}."
            )

    def _refuse_inexact(self, name: str, row: int, text: str, or_else: str) -> NoReturn:
        raise DataError(
            f"{self._cell(row, name)}: {_shown(text)} has more digits than a number in 64 bits holds. "
            f"If it is an identifier, {or_else}; else give it with fewer digits."
        )


def listed(names: Iterable[str], most: int = 10) -> str:
    """Names for a message, quoted, at most so many of them.

    >>> listed(["a", "b", "c"], most=2)
    "'a', 'b' and 1 more"
    """
    every = list(names)
    text = ", ".join(_shown(name) for name in every[:most])
    return text if len(every) <= most else f"{text} and {len(every) - most} more"


def _shown(text: str) -> str:
    """A name or a cell for a message: quoted, control characters escaped, shortened where it is long."""
    return repr(text) if len(text) <= 60 else repr(text[:57]) + "..."


# Columns


def _from_pairs(pairs: list[tuple[str, Any]]) -> Table:
    columns: dict[str, Any] = {}
    for name, values in pairs:
        if not name.strip():
            raise DataError(f"every column needs a name; column {len(columns)} has none.")
        if name in columns:
            raise DataError(f"every column needs a name of its own; {_shown(name)} occurs twice.")
        columns[name] = _column_of(name, values)
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        (shortest, fewest), (longest, most) = (pick(lengths.items(), key=lambda item: item[1]) for pick in (min, max))
        raise DataError(
            f"all columns must have the same number of rows; {_shown(shortest)} has {fewest}, {_shown(longest)} {most}."
        )
    n_rows = next(iter(lengths.values()), 0)
    if n_rows == 0:
        raise DataError(f"a table needs a column and a row; this one has {len(columns)} columns and no rows.")
    return Table(columns, n_rows, np.arange(n_rows))


def _column_of(name: str, values: Any) -> Any:
    if isinstance(values, np.ma.MaskedArray):
        values = np.ma.MaskedArray(values, dtype=object).filled(None)
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise DataError(f"column {_shown(name)} must be one list of cells: {error}.") from error
    if array.ndim != 1:
        raise DataError(f"column {_shown(name)} must have one dimension; it has shape {array.shape}.")
    if array.dtype.kind in "iuf":
        return array
    import pyarrow

    if array.dtype.kind in "mM":  # dates: their own text, not the count of nanoseconds that tolist() gives
        array = array.astype(str)
    try:
        return pyarrow.array([_cell_text(value) for value in array.tolist()], pyarrow.string())
    except UnicodeEncodeError as error:
        raise DataError(f"column {_shown(name)} holds text that is not Unicode: {error}.") from error


def _cell_text(value: Any) -> str:
    if value is None:
        return ""
    return _number_text(value.item() if isinstance(value, np.generic) else value)


def _number_text(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    if math.isnan(value):
        return ""
    return str(int(value)) if value.is_integer() else repr(value)


def _cast(column: Any) -> NDArray[np.float64] | None:
    """Texts to numbers, each the nearest float64; None where some cell is not a bare number."""
    import pyarrow

    try:
        return np.array(column.cast(pyarrow.float64()))
    except pyarrow.ArrowInvalid:
        return None


def _kind_of(text: str) -> Literal["missing", "number", "boolean", "text"]:
    word = text.strip()
    if _NUMBER.fullmatch(word):
        return "number"
    folded = word.casefold()
    if folded in _MISSING:
        return "missing"
    return "boolean" if folded in _BOOLEANS else "text"


def _cell_kinds(column: Any) -> dict[str, int]:
    """How many cells are missing, numbers and texts, and how many of the texts are true or false."""
    counts = {"missing": 0, "number": 0, "text": 0, "boolean": 0}
    for pair in column.value_counts():
        text, count = pair["values"].as_py(), pair["counts"].as_py()
        kind = _kind_of(text)
        counts[kind] += count
        if kind == "boolean":
            counts["text"] += count
    return counts


def _cells(column: Any) -> Iterator[tuple[int, str]]:
    return ((row, cell.as_py()) for row, cell in enumerate(column))


def _is_missing(texts: Iterable[str]) -> NDArray[np.bool_]:
    return np.array([is_missing(text) for text in texts], dtype=bool)


def _matching(column: Any, rows: NDArray[np.intp], pattern: str) -> Iterator[tuple[int, str]]:
    """Those of `rows` whose text matches, with the text."""
    import pyarrow.compute as compute

    if rows.size:
        for row in rows[np.asarray(compute.match_substring_regex(column.take(rows), pattern))]:
            yield int(row), column[int(row)].as_py()


def is_missing(text: str) -> bool:
    """Whether a cell says that there is no value: blank, NA, None, ...

    >>> is_missing(" n/a "), is_missing("0")
    (True, False)
    """
    return text.strip().casefold() in _MISSING


def as_table(data: Any) -> Table:
    """`data` as a Table: a Table, a mapping of columns, a data frame, or an (n, d) NumPy array.

    An array's columns are named x1, x2, ... A data frame is anything with `columns` (or `column_names`) that
    gives a column for a name in brackets: pandas, polars, pyarrow. Raises DataError as `Table.from_columns`.

    >>> import numpy as np
    >>> as_table(np.array([[1.0, 2.0]])).names
    ('x1', 'x2')
    """
    if isinstance(data, Table):
        return data
    if isinstance(data, Mapping):
        return Table.from_columns(data)
    if isinstance(data, np.ndarray):
        if data.ndim != 2:
            raise DataError(f"an array of rows must have shape (n, d); this one has {data.shape}.")
        return _from_pairs([(f"x{j}", data[:, j - 1]) for j in range(1, data.shape[1] + 1)])
    names = getattr(data, "column_names", None)
    if names is None:
        names = getattr(data, "columns", None)
    if names is None or not hasattr(data, "__getitem__"):
        raise DataError(
            f"a table is a mapping of columns, a data frame or an (n, d) NumPy array; got {type(data).__name__}."
        )
    return _from_pairs([(str(name), data[name]) for name in names])


# Reading


def read_table(path: str | os.PathLike[str]) -> Table:
    """Read a CSV file, or standard input for "-": commas, a header, UTF-8 with or without a byte order mark.

    Every cell is kept as it is written; what is a number is decided by who asks (`Table.numbers`). Line ends
    may be LF, CR LF or CR, and stand in quoted cells too. A last column without a name and without a value
    is dropped, which `notices` says.

    Raises NoInputError: no such file, or a folder. Raises DataError, with the place: an empty file, no rows, a
    column without a name or with another's, a row that is blank or has more or fewer cells than the header, a
    row over 1 MiB, a quote that is never closed, NUL bytes, bytes that are not UTF-8, another delimiter.

    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "people.csv")
    ...     with open(path, "w") as file:
    ...         _ = file.write("age,sex\\n39,M\\n50,F\\n")
    ...     read_table(path)
    <Table of 2 rows: 'age', 'sex'>
    """
    source = "standard input" if path == "-" else str(path)
    data = _read_bytes(path)
    _check_text(source, data)
    columns, line_numbers = _parse_csv(source, data.removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n"))
    names, notices = _header(source, columns)
    n_rows = len(line_numbers)
    cells = {name: column.slice(1) for name, column in zip(names, columns, strict=False)}
    table = Table(cells, n_rows, np.arange(n_rows), line_numbers, source, tuple(notices))
    _refuse_blank_row(table)
    return table


def _read_bytes(path: str | os.PathLike[str]) -> bytes:
    if path == "-":
        return sys.stdin.buffer.read()
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError as error:
        raise NoInputError(f"{path}: no such file. Name a CSV file, or - for standard input.") from error
    except IsADirectoryError as error:
        raise NoInputError(f"{path}: a folder. Name a CSV file in it.") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise NoInputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}.") from error


def _check_text(source: str, data: bytes) -> None:
    if not data.removeprefix(b"\xef\xbb\xbf").strip():
        raise DataError(f"{source}: a table needs a header and a row; this file is empty.")
    for magic, kind in _OTHER_FILES.items():
        if data.startswith(magic):
            raise DataError(f"{source}: a table is a CSV file in UTF-8; this is {kind}. Save it as CSV in UTF-8.")
    at = data.find(b"\0")
    if at >= 0:
        # text of two bytes a letter has a NUL in nearly every pair
        wide = data[:200].count(b"\0") >= len(data[:200]) // 3
        hint = "it looks like UTF-16; save it as UTF-8" if wide else "remove it, or write the file again"
        raise DataError(f"{source}: line {_line_at(data, at)} holds a NUL byte (byte {at}): {hint}.")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{source}: line {_line_at(data, error.start)} is not UTF-8: byte {error.start} is "
            f"0x{data[error.start]:02x}. Save the file as UTF-8."
        ) from error


def _line_at(data: bytes, offset: int) -> int:
    """The line of a byte offset, line ends being LF, CR LF or CR."""
    return 1 + _line_ends(data[:offset])


def _line_ends(data: bytes) -> int:
    return data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n")


def _parse_csv(source: str, data: bytes) -> tuple[list[Any], NDArray[np.int64]]:
    """The columns as texts, the header their first cell, and the line on which each further row begins."""
    import pyarrow
    from pyarrow import csv

    quoted = b'"' in data

    def open_file(types: dict[str, Any], on_bad_row: Callable[[Any], str], payload: bytes) -> Any:
        return csv.open_csv(
            pyarrow.BufferReader(payload),
            csv.ReadOptions(use_threads=False, autogenerate_column_names=True, block_size=_MAX_ROW_BYTES),
            csv.ParseOptions(newlines_in_values=quoted, ignore_empty_lines=False, invalid_row_handler=on_bad_row),
            csv.ConvertOptions(column_types=types, strings_can_be_null=False),
        )

    try:
        n_columns = len(open_file({}, lambda row: "skip", data + b"\n").schema)
    except pyarrow.ArrowInvalid as error:
        raise DataError(
            f"{source}: line 1 begins a header of more than 1 MiB, or one whose quote is never closed. "
            "Correct the header."
        ) from error
    header = data[: min(end for end in (data.find(b"\n"), data.find(b"\r"), len(data)) if end >= 0)]
    if not header:
        raise DataError(f"{source}: line 1 must be the header; it is blank. Remove the blank lines before the header.")
    if n_columns == 1 and b'"' not in header:
        for sign, name in ((b";", "semicolons (;)"), (b"\t", "tabs"), (b"|", "bars (|)")):
            if sign in header:
                raise DataError(
                    f"{source}: columns are separated by commas; line 1 has none, but {name}. "
                    "Save the file with commas for now."
                )
    types = {f"f{j}": pyarrow.string() for j in range(n_columns)}

    # An end mark, which the file cannot hold itself, as a last row: pyarrow closes an open quote at the end of
    # the file without a word, and then the mark is not a row of its own.
    mark = b"\n" + b",".join([b"\0"] * n_columns) + b"\n"
    bad: list[Any] = []

    def note(row: Any) -> str:
        bad.append(row)
        return "skip"

    batches = []
    n_rows = 0
    too_long = False
    try:
        for batch in open_file(types, note, data + mark):
            batches.append(batch)
            n_rows += batch.num_rows
            if bad and n_rows >= bad[0].number - 1:
                break
    except pyarrow.ArrowInvalid:
        too_long = True
    table = pyarrow.Table.from_batches(batches, pyarrow.schema(types.items()))
    columns = table.columns
    begins = _first_lines(columns) if quoted else np.arange(1, table.num_rows + 2)
    if bad:
        # rows count from 1 for pyarrow; those before the bad one are whole
        _refuse_row(source, bad[0], int(begins[bad[0].number - 1]), n_columns)
    if too_long:
        raise DataError(
            f"{source}: line {begins[-1]} begins a row of more than 1 MiB. Correct the row; a quote that is never "
            "closed is the usual cause."
        )
    last = columns[-1][-1].as_py()
    if last != "\0":
        raise DataError(_open_quote(source, int(begins[-1]) - _line_ends(last.encode()) - 1))
    columns = [column.slice(0, table.num_rows - 1) for column in columns]
    return columns, begins[1:-2]


def _first_lines(columns: Sequence[Any]) -> NDArray[np.int64]:
    """The line on which each row begins, and at the end the line after the last row."""
    import pyarrow.compute as compute

    lines = np.ones(len(columns[0]) + 1, dtype=np.int64)
    for column in columns:
        for text, sign in (("\n", 1), ("\r", 1), ("\r\n", -1)):
            lines[1:] += sign * np.asarray(compute.count_substring(column, text), dtype=np.int64)
    return np.cumsum(lines)


def _refuse_row(source: str, row: Any, line: int, n_columns: int) -> NoReturn:
    if "\0" in row.text:
        raise DataError(_open_quote(source, line))
    cells = "cell" if row.actual_columns == 1 else "cells"
    raise DataError(
        f"{source}: every row needs as many cells as the header, {n_columns}; line {line} has {row.actual_columns} "
        f"{cells}: {_shown(row.text)}. Correct the row; a cell with a comma in it must stand in quotes."
    )


def _open_quote(source: str, line: int) -> str:
    return f"{source}: a quote opened in the row of line {line} is never closed. Close it, or remove it."


def _header(source: str, columns: Sequence[Any]) -> tuple[list[str], list[str]]:
    """The columns' names, trailing columns without name and value left off, and the notices about these."""
    if len(columns[0]) == 1:
        raise DataError(f"{source}: a table needs a header and a row; this file has a header and no rows.")
    names = [column[0].as_py() for column in columns]
    notices = []
    while names and not any(text.strip() for text in columns[len(names) - 1].unique().to_pylist()):
        notices.append(f"column {len(names)} has no name and no value in it: left out")
        names.pop()
    unnamed = [str(j) for j, name in enumerate(names, start=1) if not name.strip()]
    if unnamed or not names:
        raise DataError(
            f"{source}: every column needs a name in line 1; column {', '.join(unnamed[:10])} has none. "
            "Name it, or remove the column."
        )
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(
            f"{source}: every column needs a name of its own; {listed(twice)} occurs more than once. Rename."
        )
    return names, notices


def _refuse_blank_row(table: Table) -> None:
    # A blank line is a row of no cells, and pyarrow reads it as a row of empty ones. With a single column the
    # two are the same: a missing cell.
    import pyarrow.compute as compute

    blank = np.full(table.n_rows, len(table.columns) > 1)
    for column in table.columns.values():
        if not blank.any():
            return
        blank &= np.asarray(compute.equal(column, ""))
    for row in np.flatnonzero(blank):
        raise DataError(f"{table.source}: {table.place(int(row))} is blank. Remove it.")


# Encoding

Task = Literal["classification", "regression"]


@dataclass(frozen=True)
class NumberColumn:
    """A column of numbers and its scaling: feature = (number - center) / scale, both in the column's unit.

    `center` is the mean and `scale` the population standard deviation (divisor n) of the rows learned from.
    """

    source: str
    center: float
    scale: float

    @property
    def name(self) -> str:
        """The name of the feature made of the column."""
        return self.source


@dataclass(frozen=True)
class Target:
    """The column to be predicted, and how its values and the network's outputs stand for each other.

    kind `binary`: one output, the probability of `classes[1]`, the positive class. kind `classes`: one output
    per class, in the order of `classes`. kind `number`: value = center + scale * output, in the column's unit.
    """

    source: str
    kind: Literal["binary", "classes", "number"]
    classes: tuple[str, ...] = ()
    center: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True)
class Encoder:
    """How a table's columns become a network's inputs, and its outputs the target's values.

    >>> table = Table.from_columns({"size": [1.0, 3.0, 5.0], "kind": ["B", "M", "M"]})
    >>> encoder, notices = Encoder.fit(table, ["size"], "kind")
    >>> encoder.encode(table).round(3).tolist(), encoder.encode_target(table).tolist()
    ([[-1.225], [0.0], [1.225]], [[0.0], [1.0], [1.0]])
    >>> encoder.decode([[0.2], [0.9]])
    ['B', 'M']
    """

    columns: tuple[NumberColumn, ...]
    target: Target

    @classmethod
    def fit(
        cls,
        table: Table,
        features: Sequence[str] | None,
        target: str,
        *,
        task: Task | None = None,
        positive: object = None,
    ) -> tuple[Encoder, tuple[str, ...]]:
        """Learn the encoding from the rows of `table`, which are to be training rows alone.

        `features` None takes every column but the target and those whose values are all different texts or
        integers (identifiers). A column with one value only is dropped. `task` None is told by `task_of`.
        `positive` is the class of two whose probability is predicted, else the last in sorted order.

        Returns the encoder and what was left out, as sentences for the user.

        Raises UsageError: the target among the features, a feature twice, none left, no such class as
        `positive`. Raises DataError: no such column, a cell that cannot be used, one class or value only.
        """
        table.require([target])
        notices: list[str] = []
        if features is None:
            names = []
            for name in table.names:
                if name != target and _is_identifier(table, name):
                    notices.append(
                        f"column {_shown(name)} left out: every value in it is different, as in an identifier; "
                        "name it among the features to use it"
                    )
                elif name != target:
                    names.append(name)
        else:
            names = list(features)
            if target in names:
                raise UsageError(
                    f"the target cannot be among the features; {_shown(target)} is. Take it out of the features."
                )
            twice = [name for name, count in Counter(names).items() if count > 1]
            if twice:
                raise UsageError(f"a feature is named once; {listed(twice)} is named twice.")
            table.require(names)
        encoded_target = _fit_target(table, target, task_of(table, target, task), positive)
        columns = []
        for name in names:
            values = table.numbers(name)
            if values.min() == values.max():
                notices.append(
                    f"column {_shown(name)} left out: it is {_number_text(float(values[0]))} in every training row"
                )
            else:
                columns.append(NumberColumn(name, *_center_and_scale(table, name, values)))
        if not columns:
            said = "; ".join(notices)
            raise UsageError(f"a network needs at least one feature; none is left. {said}".strip())
        return cls(tuple(columns), encoded_target), tuple(notices)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The features' names, in the order of `encode`'s columns."""
        return tuple(column.name for column in self.columns)

    def encode(self, table: Table) -> NDArray[np.float64]:
        """The features of `table`, (n_rows, n_features), in units of each column's scale.

        Columns are found by name; their order and further columns do not matter.

        Raises DataError: columns missing (all are named), a cell that cannot be used.
        """
        table.require([column.source for column in self.columns])
        X = np.empty((table.n_rows, len(self.columns)))
        for j, column in enumerate(self.columns):
            with np.errstate(over="ignore"):
                X[:, j] = (table.numbers(column.source, or_else=_TRAIN_WITHOUT) - column.center) / column.scale
            for row in np.flatnonzero(~np.isfinite(X[:, j])).tolist():
                value = _shown(table.texts(column.source)[row])
                raise DataError(
                    f"{table._cell(row, column.source)}: {value} is too far from the training rows' mean "
                    f"{column.center:g} to be scaled by {column.scale:g} in 64 bits. Correct the cell."
                )
        return X

    def encode_target(self, table: Table) -> NDArray[np.float64]:
        """The target of `table` as the network is to give it.

        binary: (n_rows, 1), 1 for the positive class; classes: (n_rows, n_classes), 1 in the class's column;
        number: (n_rows, 1), in units of the target's scale.

        Raises DataError: no such column, a missing cell, a class that was not learned.
        """
        target = self.target
        if target.kind == "number":
            numbers = table.numbers(target.source, or_else=_ANOTHER_TARGET)
            scaled: NDArray[np.float64] = (numbers[:, None] - target.center) / target.scale
            return scaled
        labels = table.labels(target.source)
        index = {label: j for j, label in enumerate(target.classes)}
        unseen = list(dict.fromkeys(label for label in labels if label not in index))
        if unseen:
            raise DataError(
                f"{table._cell(labels.index(unseen[0]), target.source)}: a class must be one that was learned; this "
                f"target holds {listed(unseen)}, and the model knows {listed(target.classes)}. "
                "Correct these rows, or train with such rows."
            )
        numbers = np.array([index[label] for label in labels])
        one_hot: NDArray[np.float64] = (numbers[:, None] == np.arange(len(index))).astype(np.float64)
        return one_hot[:, 1:] if target.kind == "binary" else one_hot

    def decode(self, outputs: ArrayLike) -> list[str] | NDArray[np.float64]:
        """What a network's outputs say of each row, in the user's words and units.

        binary, (n, 1) probabilities: the positive class above .5, as the notebook has it; classes,
        (n, n_classes): the most probable one, the first of equals; number, (n, 1): (n,) center + scale * output.
        """
        values = np.asarray(outputs, dtype=np.float64)
        target = self.target
        if target.kind == "number":
            return target.center + target.scale * values[:, 0]
        chosen = values[:, 0] > 0.5 if target.kind == "binary" else values.argmax(axis=1)
        return [target.classes[int(j)] for j in chosen]

    def to_json(self) -> dict[str, Any]:
        """The encoder as a plain dictionary, which `from_json` turns back into its equal."""
        return {
            "columns": [{"kind": "number", **asdict(column)} for column in self.columns],
            "target": {**asdict(self.target), "classes": list(self.target.classes)},
        }

    @classmethod
    def from_json(cls, value: object) -> Encoder:
        """The encoder that `to_json` wrote. Raises DataError: anything missing, unknown, or of another type."""
        record = _record(value, "an encoder", columns=list, target=dict)
        columns = []
        for item in record["columns"]:
            column = _record(item, "an encoder's column", kind=str, source=str, center=float, scale=float)
            if column.pop("kind") != "number":
                raise DataError("an encoder's column is of kind 'number'; this one is of another.")
            columns.append(NumberColumn(**column))
        target = _record(
            record["target"], "an encoder's target", source=str, kind=str, classes=list, center=float, scale=float
        )
        classes = tuple(target.pop("classes"))
        n_classes = len(set(classes)) if all(type(label) is str for label in classes) else -1
        counts = {"binary": n_classes == 2, "classes": n_classes > 2, "number": n_classes == 0}
        if not counts.get(target["kind"], False) or n_classes != len(classes):
            raise DataError(f"an encoder's target of kind {_shown(target['kind'])} cannot have these classes.")
        sources = [column.source for column in columns]
        if not sources or len({target["source"], *sources}) != len(sources) + 1:
            raise DataError("an encoder needs columns, each of its own name, and the target apart from them.")
        return cls(tuple(columns), Target(classes=classes, **target))


def task_of(table: Table, target: str, task: str | None = None) -> Task:
    """Whether `target` is to be classified or predicted as a number; `task`, where given, overrules.

    Texts, booleans and at most ten different integers are classes; all else is a number. To be told from the
    whole table: a part of its rows may hold fewer integers.

    Raises UsageError: no such task. Raises DataError: no such column, or cells of a number that are none.

    >>> task_of(Table.from_columns({"kind": ["M", "B"], "price": [1.5, 2.0]}), "price")
    'regression'
    """
    tasks: tuple[Task, ...] = get_args(Task)
    if task is not None:
        if task not in tasks:
            raise UsageError(f"a task is 'classification' or 'regression'; got {task!r}.{did_you_mean(task, tasks)}")
        return tasks[tasks.index(task)]
    if not table.is_numeric(target):
        return "classification"
    values = np.unique(table.numbers(target, or_else=_ANOTHER_TARGET))
    whole = len(values) <= _MAX_CLASSIFIED_INTEGERS and bool(np.all(values == np.rint(values)))
    return "classification" if whole else "regression"


def _is_identifier(table: Table, name: str) -> bool:
    column = table.columns[name]
    if isinstance(column, np.ndarray):
        return column.dtype.kind in "iu" and len(np.unique(column)) == table.n_rows > 1
    if table.n_rows < 2 or len(column.unique()) < table.n_rows:
        return False

    def is_integer(text: str) -> bool:
        return re.fullmatch(r"\s*[+-]?[0-9]+\s*", text) is not None

    def is_text(text: str) -> bool:
        return _kind_of(text) == "text"

    return any(all(is_one(text) for _, text in _cells(column)) for is_one in (is_integer, is_text))


def _fit_target(table: Table, name: str, task: Task, positive: object) -> Target:
    if task == "regression":
        if positive is not None:
            raise UsageError(f"a positive class belongs to classification; target {_shown(name)} is a number.")
        values = table.numbers(name, or_else=_ANOTHER_TARGET)
        if values.min() == values.max():
            raise DataError(
                f"a target needs different values; {_shown(name)} is {_number_text(float(values[0]))} in every row."
            )
        center, scale = _center_and_scale(table, name, values)
        return Target(name, "number", (), center, scale)
    labels = set(table.labels(name))
    if len(labels) == 1:
        raise DataError(
            f"a target needs two classes; every row of {_shown(name)} is {listed(labels)}. "
            "Add rows of another class, or name another target."
        )
    if len(labels) > _MAX_CLASSES:
        raise DataError(
            f"a target has at most {_MAX_CLASSES:,} classes; {_shown(name)} has {len(labels):,} different values. "
            "Name another target, or ask for regression."
        )
    numeric = all(_NUMBER.fullmatch(label) for label in labels)
    classes = sorted(labels, key=lambda label: (float(label), label) if numeric else (0.0, label))
    if positive is not None:
        chosen = str(positive).strip()
        if len(classes) > 2:
            raise UsageError(f"a positive class is one of two; target {_shown(name)} has {len(classes)} classes.")
        if chosen not in labels:
            raise UsageError(
                f"the positive class is one of {listed(classes)}; got {_shown(chosen)}.{did_you_mean(chosen, classes)}"
            )
        classes.sort(key=lambda label: label == chosen)
    return Target(name, "binary" if len(classes) == 2 else "classes", tuple(classes))


def _center_and_scale(table: Table, name: str, values: NDArray[np.float64]) -> tuple[float, float]:
    with np.errstate(over="ignore", invalid="ignore"):
        center = float(values.mean())
        scale = float(values.std())
    if not (math.isfinite(center) and math.isfinite(scale) and scale > 0):
        raise DataError(
            f"column {_shown(name)}: the spread of its values, {values.min():g} to {values.max():g}, cannot be "
            "computed in 64 bits. Give the column in another unit."
        )
    return center, scale


def _record(value: Any, what: str, **fields: type) -> dict[str, Any]:
    """`value`, known to be a dictionary of exactly these fields and types; floats finite, a scale above zero."""
    if not isinstance(value, dict) or value.keys() != fields.keys():
        raise DataError(f"{what} has the fields {listed(fields)}, and no others.")
    for name, kind in fields.items():
        item = value[name]
        right = type(item) is kind
        if right and kind is float:
            right = math.isfinite(item) and (name != "scale" or item > 0)
        if not right:
            raise DataError(f"{what} has a {name} that cannot be: {_shown(str(item))}.")
    return dict(value)


# Splitting


def split(
    n: int, *, test_size: float = 0.2, seed: int = 0, stratify: Sequence[str] | None = None
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Choose test rows at random: (train_rows, test_rows), numbers from 0 in ascending order.

    ceil(test_size * n) rows are for testing. `stratify`, the (n,) class labels, gives each class its share of
    them by largest remainder, and leaves every class a training row. The same seed gives the same rows.

    Raises UsageError: `test_size` is not between 0 and 1. Raises DataError: too few rows to split.

    >>> train_rows, test_rows = split(10, stratify=["M", "B", "B", "B", "B", "M", "M", "M", "B", "B"])
    >>> len(train_rows), len(test_rows)
    (8, 2)
    """
    if not 0 < test_size < 1:
        raise UsageError(f"the test rows are a part of all rows, between 0 and 1; got test_size {test_size}.")
    if stratify is not None and len(stratify) != n:
        raise UsageError(f"stratify needs one label per row: {n}; got {len(stratify)}.")
    # exactly the fraction that is written: 0.2 as a float is a little more than a fifth
    wanted = math.ceil(Fraction(repr(float(test_size))) * n)
    labels = ["all"] * n if stratify is None else list(stratify)
    counts = Counter(labels)
    shares = {label: wanted * count // n for label, count in counts.items()}
    by_remainder = sorted(counts, key=lambda label: (-(wanted * counts[label] % n), -counts[label], label))
    for label in by_remainder[: wanted - sum(shares.values())]:
        shares[label] += 1
    # a class keeps a training row, and what it cannot give others give as far as they can
    shares = {label: min(share, counts[label] - 1) for label, share in shares.items()}
    for label in by_remainder:
        spare = wanted - sum(shares.values())
        shares[label] += min(spare, counts[label] - 1 - shares[label])
    if not any(shares.values()):
        raise DataError(
            f"a split needs a class with two rows or more; there are {n} rows in {len(counts)} classes. Give more rows."
        )
    test = np.zeros(n, dtype=bool)
    for row in permutation(n, seed=seed, purpose=Purpose.SPLIT):
        if shares[labels[row]] > 0:
            shares[labels[row]] -= 1
            test[row] = True
    return np.flatnonzero(~test), np.flatnonzero(test)
