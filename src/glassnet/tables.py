"""`Table`: named columns of equal length, from a file, a data frame, a mapping or an array, all judged alike.

Rows are counted from 0, as data frames show them; lines of a file are counted from 1, as editors do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glassnet.cells import (
    MISSING_WORDS,
    PLAIN,
    CellRules,
    Fault,
    Kind,
    boolean_text,
    booleans_of,
    date_text,
    dates_of,
    is_number,
    listed,
    number_text,
    numbers_of,
    shown,
    tell_kind,
    too_exact,
)
from glassnet.errors import DataError, did_you_mean


class Column:
    """What one column holds.

    `values` of a number, boolean or date are (n,) float64, NaN where missing (1 for true; days since 1970-01-01); of
    a text (n,) int32, the number of each cell's text among `levels`, a pyarrow array, and -1 where missing. `fault`
    is the first cell that is not of the column's kind; it is raised when the column is asked for. The values may be
    given in parts, as a file's blocks have them; they become one array when they are first asked for.

    >>> Column("number", [np.array([1, 2]), np.array([np.nan])]).values.tolist()
    [1.0, 2.0, nan]
    """

    __slots__ = ("_values", "fault", "kind", "levels")

    def __init__(
        self, kind: Kind, values: NDArray[Any] | list[NDArray[Any]], levels: Any = None, fault: Fault | None = None
    ) -> None:
        self.kind: Kind = kind
        self._values = values
        self.levels = levels
        self.fault = fault

    @property
    def values(self) -> NDArray[Any]:
        """The cells, (n,)."""
        if isinstance(self._values, list):
            self._values = np.concatenate(self._values, dtype=np.float64)
        return self._values

    @property
    def missing(self) -> NDArray[np.bool_]:
        """Which cells have no value, (n,)."""
        return self.values < 0 if self.kind == "text" else np.isnan(self.values)

    def texts(self) -> list[str]:
        """Every cell as text: as it was written, or the shortest that gives the number back; "" where missing."""
        if self.kind == "text":
            words = [*self.levels.to_pylist(), ""]
            return [words[number] for number in self.values.tolist()]
        write = {"number": number_text, "date": date_text, "boolean": boolean_text}[self.kind]
        return ["" if value != value else write(value) for value in self.values.tolist()]


@dataclass(frozen=True, eq=False, repr=False)
class Table:
    """Named columns of equal length, as a file or a frame holds them.

    Made by `read_table`, `Table.from_columns` or `as_table`. `source` names the file for messages ("" for a
    frame), `notices` says what reading decided, `missing_words` which texts stood for no value. `row_numbers` and
    `line_numbers`, both (n_rows,), are each row's place in the source, and stay with the row when rows are selected; a
    frame has no lines.

    >>> table = Table.from_columns({"size": [1.5, 2.0], "color": ["red", "blue"]})
    >>> table.names, table.n_rows, table.numbers("size").tolist(), table.texts("color")
    (('size', 'color'), 2, [1.5, 2.0], ['red', 'blue'])
    """

    columns: Mapping[str, Column]
    n_rows: int
    row_numbers: NDArray[np.int64]
    line_numbers: NDArray[np.int64] | None = None
    source: str = ""
    notices: tuple[str, ...] = ()
    missing_words: tuple[str, ...] = MISSING_WORDS
    _places: Mapping[int, str] = field(default_factory=dict)  # of the rows that faults name, before any selection

    def __repr__(self) -> str:
        return f"<Table of {self.n_rows} rows: {listed(self.names)}>"

    @classmethod
    def from_columns(cls, columns: Mapping[Any, Any]) -> Table:
        """A table of arrays or lists of numbers, texts, booleans or dates; None, NaN and blank texts are missing.

        Raises DataError: no column, no row, columns of different lengths or of more than one dimension, a
        name that is empty or occurs twice.

        >>> Table.from_columns({"age": [39, None]}).numbers("age")
        Traceback (most recent call last):
            ...
        glassnet.errors.DataError: column 'age': 1 of 2 cells is missing, the first in row 1. Fill in the missing \
cells or remove their rows.
        """
        return _from_pairs([(str(name), values) for name, values in columns.items()], PLAIN, {})

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names, in order."""
        return tuple(self.columns)

    def column(self, name: str) -> Column:
        """Column `name`. Raises DataError: no such column, or a cell in it that is not what the column holds.

        >>> Table.from_columns({"age": ["39", "4O", "50"]}).column("age")
        Traceback (most recent call last):
            ...
        glassnet.errors.DataError: row 1, column 'age': '4O' is not a number. Correct the cell, say with \
--missing if it stands for no value, or read the column as text with --text.
        """
        self.require([name])
        column = self.columns[name]
        if column.fault is not None:
            fault = column.fault
            place = self._places.get(fault.row) or self.place(fault.row)
            raise DataError(f"{self._of_source()}{place}, column {shown(name)}: {fault.problem}. {fault.way_out}.")
        return column

    def numbers(self, name: str, *, or_else: str = "") -> NDArray[np.float64]:
        """Column `name` as (n_rows,) float64; true and false are 1 and 0, dates are days since 1970-01-01.

        `or_else` is a further way out for a column that holds texts.
        Raises DataError: as `column`, a column of texts, a missing cell.

        >>> Table.from_columns({"age": ["red", "blue"]}).numbers("age")
        Traceback (most recent call last):
            ...
        glassnet.errors.DataError: column 'age' holds text, not numbers: row 0 has 'red'. Give numbers in its place.
        """
        column = self.column(name)
        if column.kind == "text":
            row = int(np.flatnonzero(~column.missing)[0]) if len(column.levels) else 0
            raise DataError(
                f"{self._of_source()}column {shown(name)} holds text, not numbers: {self.place(row)} has "
                f"{shown(self.select([row]).texts(name)[0])}. Give numbers in its place{or_else}."
            )
        self.refuse_missing(name)
        return column.values

    def texts(self, name: str) -> list[str]:
        """Column `name` as it is written; of numbers the shortest text that gives the number back.

        A missing cell is the empty text. Raises DataError: as `column`.

        >>> Table.from_columns({"x": [1.0, 0.1, None]}).texts("x")
        ['1', '0.1', '']
        """
        return self.column(name).texts()

    def labels(self, name: str) -> list[str]:
        """Column `name` as class labels: its texts without blanks around them, and `1` for `1.0`.

        Raises DataError: as `column`, a missing cell.

        >>> Table.from_columns({"grade": ["1.0", "2 "]}).labels("grade")
        ['1', '2']
        """
        self.refuse_missing(name)
        labels = [text.strip() for text in self.texts(name)]
        if self.columns[name].kind == "text" and all(is_number(label) for label in set(labels)):
            # the same labels, whether integers or floats were written as text
            return [re.sub(r"\.0*$", "", label) for label in labels]
        return labels

    def select(self, rows: ArrayLike) -> Table:
        """The table of these rows, numbers from 0; messages go on naming each row's place in the source.

        >>> Table.from_columns({"x": [5, 6, 7]}).select([2, 0]).texts("x")
        ['7', '5']
        """
        chosen = np.asarray(rows, dtype=np.int64)
        faults = [column.fault for column in self.columns.values() if column.fault is not None]
        places = {fault.row: self._places.get(fault.row) or self.place(fault.row) for fault in faults}
        return Table(
            {name: Column(c.kind, c.values[chosen], c.levels, c.fault) for name, c in self.columns.items()},
            len(chosen),
            self.row_numbers[chosen],
            None if self.line_numbers is None else self.line_numbers[chosen],
            self.source,
            self.notices,
            self.missing_words,
            places,
        )

    def place(self, row: int) -> str:
        """Where `row` of this table stands in its source, for messages: `row 17 (line 19)`.

        >>> Table.from_columns({"x": [5, 6, 7]}).select([2]).place(0)
        'row 2'
        """
        line = "" if self.line_numbers is None else f" (line {self.line_numbers[row]})"
        return f"row {self.row_numbers[row]}{line}"

    def cell(self, row: int, name: str) -> str:
        """Where a cell stands, for messages: its source, row and column."""
        return f"{self._of_source()}{self.place(row)}, column {shown(name)}"

    def require(self, names: Sequence[str]) -> None:
        """Raise DataError, naming every absentee, unless all columns `names` are here.

        >>> Table.from_columns({"age": [39]}).require(["aeg"])
        Traceback (most recent call last):
            ...
        glassnet.errors.DataError: no column 'aeg'. Did you mean 'age'? The columns are 'age'.
        """
        require(names, self.names, self.source)

    def refuse_missing(self, name: str) -> None:
        """Raise DataError, with count and place, if a cell of column `name` is missing."""
        rows = np.flatnonzero(self.column(name).missing)
        if rows.size:
            verb = "is" if rows.size == 1 else "are"
            raise DataError(
                f"{self._of_source()}column {shown(name)}: {rows.size} of {self.n_rows} cells {verb} missing, the "
                f"first in {self.place(int(rows[0]))}. Fill in the missing cells or remove their rows."
            )

    def _of_source(self) -> str:
        return f"{self.source}: " if self.source else ""


def require(wanted: Sequence[str], names: Sequence[str], source: str = "") -> None:
    """Raise DataError, naming every absentee, unless all columns `wanted` are among `names`."""
    there = set(names)
    absent = [name for name in wanted if name not in there]
    if absent:
        lead = f"{source}: " if source else ""
        nearest = did_you_mean(absent[0], names) if len(absent) == 1 else ""
        noun = "column" if len(absent) == 1 else "columns"
        raise DataError(f"{lead}no {noun} {listed(absent)}.{nearest} The columns are {listed(names)}.")


def check_names(names: Sequence[str], source: str = "") -> None:
    """Raise DataError unless every column has a name, and one of its own."""
    lead = f"{source}: " if source else ""
    unnamed = [str(j) for j, name in enumerate(names, start=1) if not name.strip()]
    if unnamed:
        noun = "column" if len(unnamed) == 1 else "columns"
        raise DataError(
            f"{lead}every column needs a name; {noun} {listed_numbers(unnamed)} (counted from 1) has none. Name it, "
            "or remove the column."
        )
    if len(set(names)) < len(names):
        seen: set[str] = set()
        twice = [name for name in names if name in seen or seen.add(name)]  # type: ignore[func-returns-value]
        raise DataError(
            f"{lead}every column needs a name of its own; {listed(dict.fromkeys(twice))} occurs more than once. Rename."
        )


def listed_numbers(numbers: Sequence[str], most: int = 10) -> str:
    """Numbers for a message, at most so many of them."""
    return ", ".join(numbers[:most]) + (f" and {len(numbers) - most} more" if len(numbers) > most else "")


def column_of_texts(texts: Any, rules: CellRules = PLAIN, kind: Kind | None = None) -> Column:
    """A column of texts, a pyarrow array with null for what is missing, as what it holds: told, or `kind`.

    >>> import pyarrow
    >>> column_of_texts(pyarrow.array(["2", "NA", "3.5"])).values.tolist()
    [2.0, nan, 3.5]
    """
    import pyarrow
    import pyarrow.compute as compute

    encoded = compute.dictionary_encode(texts)
    if isinstance(encoded, pyarrow.ChunkedArray):
        encoded = encoded.combine_chunks()
    return column_of_levels(encoded.indices, encoded.dictionary, rules, kind)


def column_of_levels(indices: Any, levels: Any, rules: CellRules = PLAIN, kind: Kind | None = None) -> Column:
    """The column whose cell i has the text `levels[indices[i]]`; both are pyarrow arrays, null where missing."""
    import pyarrow
    import pyarrow.compute as compute

    indices = indices.cast(pyarrow.int32())
    numbers: NDArray[np.int32] = (compute.fill_null(indices, -1) if indices.null_count else indices).to_numpy()
    told = rules.without_missing(levels.cast(pyarrow.string()))
    if kind is None:
        counts = np.bincount(numbers[numbers >= 0], minlength=len(levels))
        kind = tell_kind(levels, counts, rules) or "number"
    if kind == "text":
        # only the levels that are no word for a missing cell, numbered anew; -1 picks the last place
        if not told.null_count:
            return Column("text", numbers, told)
        kept = np.asarray(told.is_valid())
        renumbered = np.append(np.where(kept, np.cumsum(kept) - 1, -1), -1).astype(np.int32)
        return Column("text", renumbered[numbers], told.drop_null())
    if kind == "number":
        values, fault = numbers_of(told, rules)
    else:
        values, fault = (booleans_of if kind == "boolean" else dates_of)(told, rules)
    if fault is not None:
        # the first cell with a level that is at fault: that of the level named, for levels come in order of use
        fault = Fault(int(np.argmax(numbers == fault.row)), fault.problem, fault.way_out)
    return Column(kind, np.append(values, np.nan)[numbers], None, fault)


# Frames


def _from_pairs(pairs: list[tuple[str, Any]], rules: CellRules, kinds: Mapping[str, Kind]) -> Table:
    check_names([name for name, _ in pairs])
    columns = {name: _column_of(name, values, rules, kinds.get(name)) for name, values in pairs}
    lengths = {name: len(column.values) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        (shortest, fewest), (longest, most) = (pick(lengths.items(), key=lambda item: item[1]) for pick in (min, max))
        raise DataError(
            f"all columns must have the same number of rows; {shown(shortest)} has {fewest}, {shown(longest)} {most}."
        )
    n_rows = next(iter(lengths.values()), 0)
    if n_rows == 0:
        raise DataError(f"a table needs a column and a row; this one has {len(columns)} columns and no rows.")
    return Table(columns, n_rows, np.arange(n_rows), missing_words=rules.missing)


def _column_of(name: str, values: Any, rules: CellRules, kind: Kind | None) -> Column:
    import pyarrow

    if isinstance(values, pyarrow.Array | pyarrow.ChunkedArray):
        return column_of_arrow(name, values, rules, kind)
    if isinstance(values, np.ma.MaskedArray):
        values = np.ma.MaskedArray(values, dtype=object).filled(None)
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise DataError(f"column {shown(name)} must be one list of cells: {error}.") from error
    if array.ndim != 1:
        raise DataError(f"column {shown(name)} must have one dimension; it has shape {array.shape}.")
    if array.dtype.kind in "biufM":
        try:
            return column_of_arrow(name, pyarrow.array(array, from_pandas=True), rules, kind)
        except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError):
            pass  # float128, dates without a unit
    cells = list(values) if array.dtype.kind in "OU" and not isinstance(values, np.ndarray) else array.tolist()
    plain = [value for value in cells if not _is_absent(value)]
    if any(isinstance(value, bytes) for value in plain):
        raise DataError(
            f"column {shown(name)} must hold numbers, texts, booleans or dates; it holds bytes. Decode them."
        )
    if plain and all(isinstance(value, bool | np.bool_) for value in plain):
        held = [None if _is_absent(value) else bool(value) for value in cells]
        return column_of_arrow(name, pyarrow.array(held, pyarrow.bool_()), rules, kind)
    try:
        texts = pyarrow.array([_cell_text(value) for value in cells], pyarrow.string())
    except UnicodeEncodeError as error:
        raise DataError(f"column {shown(name)} holds text that is not Unicode: {error}.") from error
    return column_of_texts(texts, rules, kind)


def _is_absent(value: Any) -> bool:
    """Whether a cell is None, NaN or NaT; or pandas's NA, which cannot say whether it equals itself."""
    try:
        return value is None or bool(value != value)
    except TypeError:
        return True


def _cell_text(value: Any) -> str | None:
    if isinstance(value, np.datetime64):
        value = value.astype("datetime64[us]")  # nanoseconds have no datetime, and would come as a number
    if isinstance(value, np.generic):
        value = value.item()
    if _is_absent(value):
        return None
    return number_text(value) if isinstance(value, float) and abs(value) != np.inf else str(value)


def column_of_arrow(name: str, values: Any, rules: CellRules = PLAIN, kind: Kind | None = None) -> Column:
    """A pyarrow array or chunked array as a column: numbers, booleans, dates as they are, texts judged as in a file.

    Raises DataError: cells that are lists, records or bytes.
    """
    import pyarrow
    from pyarrow import types

    if isinstance(values, pyarrow.ChunkedArray):
        values = values.combine_chunks() if values.num_chunks != 1 else values.chunk(0)
    if isinstance(values, pyarrow.ChunkedArray):  # one array would be too long for its offsets
        values = pyarrow.concat_arrays([chunk.cast(pyarrow.large_string()) for chunk in values.chunks])
    kind_of_type = values.type
    if types.is_dictionary(kind_of_type):
        levels = values.dictionary
        if types.is_string_view(levels.type):
            levels = levels.cast(pyarrow.large_string())
        if not (types.is_string(levels.type) or types.is_large_string(levels.type)):
            return column_of_arrow(name, values.dictionary_decode(), rules, kind or "text")
        return column_of_levels(values.indices, levels, rules, kind or "text")
    if types.is_string(kind_of_type) or types.is_large_string(kind_of_type) or types.is_string_view(kind_of_type):
        return column_of_texts(values.cast(pyarrow.large_string()), rules, kind)
    if types.is_null(kind_of_type):
        if kind == "text":
            return column_of_texts(values.cast(pyarrow.string()), rules, kind)
        return Column(kind or "number", np.full(len(values), np.nan))
    if types.is_boolean(kind_of_type):
        column = Column("boolean", _floats(values.cast(pyarrow.uint8())))
    elif types.is_temporal(kind_of_type) and not (types.is_time(kind_of_type) or types.is_duration(kind_of_type)):
        moments = values.cast(pyarrow.timestamp("us", tz=getattr(kind_of_type, "tz", None)), safe=False)
        column = Column("date", _floats(moments.cast(pyarrow.int64())) / 86_400_000_000)
    elif types.is_floating(kind_of_type) or types.is_integer(kind_of_type) or types.is_decimal(kind_of_type):
        column = _number_column(values)
    else:
        raise DataError(
            f"column {shown(name)} must hold numbers, texts, booleans or dates; its type is {kind_of_type}. "
            "Leave it out."
        )
    if kind == "number" and column.kind == "boolean":
        return Column("number", column.values)
    if kind is not None and kind != column.kind and column.fault is None:
        texts = [text or None for text in column.texts()]
        return column_of_texts(pyarrow.array(texts, pyarrow.string()), rules, kind)
    return column


def _number_column(values: Any) -> Column:
    numbers = _floats(values)
    fault = None
    for row in np.flatnonzero(np.isinf(numbers)).tolist()[:1]:
        fault = Fault(row, f"{shown(str(values[row].as_py()))} is not a finite number in 64 bits")
    if not str(values.type).startswith(("float", "half", "double")):
        for row in np.flatnonzero(np.abs(numbers) >= 2.0**53).tolist():
            exact = values[row].as_py()
            if int(exact) == exact and int(exact) != int(numbers[row]):
                fault = too_exact(row, str(exact))
                break
    return Column("number", numbers, None, fault)


def _floats(values: Any) -> NDArray[np.float64]:
    """An array of any numbers as float64, NaN for null."""
    import pyarrow

    floats = values.cast(pyarrow.float64(), safe=False)
    return np.array(floats.to_numpy(zero_copy_only=False), dtype=np.float64)


def as_table(data: Any, *, missing: Iterable[str] | None = None, kinds: Mapping[str, Kind] | None = None) -> Table:
    """`data` as a Table: a Table, a mapping of columns, a data frame, or an (n, d) NumPy array.

    An array's columns are named x1, x2, ... A data frame is what narwhals knows as one: pandas, polars, pyarrow and
    others. The same values give the same table, whatever they came in; texts are judged as a file's cells are.
    `kinds` says what a column holds where it is not to be told, `missing` which texts say that there is no value.
    Raises DataError as `Table.from_columns`.

    >>> import numpy as np
    >>> as_table(np.array([[1.0, 2.0]])).names
    ('x1', 'x2')
    """
    if isinstance(data, Table):
        return data
    rules = PLAIN if missing is None else CellRules(tuple(missing))
    if isinstance(data, Mapping):
        pairs = [(str(name), values) for name, values in data.items()]
    elif isinstance(data, np.ndarray):
        if data.ndim != 2:
            raise DataError(f"an array of rows must have shape (n, d); this one has {data.shape}.")
        pairs = [(f"x{j}", data[:, j - 1]) for j in range(1, data.shape[1] + 1)]
    else:
        pairs = _pairs_of_frame(data)
    return _from_pairs(pairs, rules, kinds or {})


def _pairs_of_frame(data: Any) -> list[tuple[str, Any]]:
    import narwhals
    import pyarrow

    try:
        frame = narwhals.from_native(data, eager_only=True)
    except TypeError as error:
        raise DataError(
            f"a table is a mapping of columns, a data frame or an (n, d) NumPy array; got {type(data).__name__}."
        ) from error
    except narwhals.exceptions.DuplicateError as error:
        raise DataError("every column needs a name of its own; a name occurs twice in this frame. Rename.") from error
    pairs = []
    for name in frame.columns:
        series = frame.get_column(name)
        try:
            pairs.append((str(name), series.to_arrow()))
        except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError, pyarrow.ArrowNotImplementedError, OverflowError):
            pairs.append((str(name), series.to_list()))  # objects of several types
    return pairs
