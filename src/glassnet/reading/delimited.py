"""Delimited text, CSV above all, in one pass: blocks of whole rows are checked, parsed by pyarrow and judged.

pyarrow reads numbers faster than anything of ours would, and misreads some without a word: 1e400 becomes infinity,
1e-400 becomes 0, long whole numbers are rounded, codes lose their zeros. So a block's bytes and numbers are looked at
for any such thing, and a block that may hold one is read again as texts, which `cells` judges one by one.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from glassnet.cells import (
    AS_TEXT,
    CellRules,
    Fault,
    Kind,
    all_digits,
    all_plain_dates,
    dates_of,
    holds_codes,
    is_code,
    is_number,
    numbers_of,
    shown,
    tell_kind,
)
from glassnet.errors import DataError
from glassnet.reading.blocks import (
    MAX_ROW_BYTES,
    Block,
    MisreadError,
    Places,
    blocks,
    count_line_ends,
    line_ends,
    row_begins,
    row_ends,
    toggles,
)
from glassnet.reading.dialect import Dialect, told_dialect
from glassnet.tables import Column, Table, check_names, column_of_levels, require

MAX_COLUMNS = 20_000
SAMPLE_BYTES = 2**20  # what the dialect is told from
_EXACT = 2.0**53
_COMMA, _MINUS, _ZERO, _E, _X = 44, 45, 48, 101, 120
_SMALL = 32  # makes a letter a small one
_WINDOW = 2**18  # bytes that are looked at at once: their marks stay near, and threads seldom wait on each other
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Converted:
    """A block's columns as pyarrow arrays: numbers, or dictionaries of texts; and the line, from 0, of each row."""

    columns: list[Any]
    row_lines: Places
    n_lines: int


# Converting


Shape = Literal["levels", "real", "digits", "days"]
"""How a column's cells are parsed: as different texts, decimals, digits alone (as codes are), dates without a time."""


@dataclass
class Plan:
    """How blocks are parsed.

    `whole`: digits are parsed as whole numbers of 32 bits, which is quicker than as decimals and loses none, until a
    cell is no such number. `failures`: how often a block had to be read again because a cell was not of its shape.
    """

    dialect: Dialect
    rules: CellRules
    shapes: list[Shape]
    null_values: list[str]
    whole: bool = True
    failures: int = 0


def convert(block: Block, plan: Plan) -> Converted:
    """Check, parse and judge a block.

    Raises MisreadError: a NUL, bytes that are not UTF-8, a row of another width, a row without a value.
    """
    _check_bytes(block.data)
    columns = _parsed_by_shape(block, plan) or _parsed(block, plan, ["levels"] * len(plan.shapes))
    _refuse_blank_row(block, columns)
    n_rows = len(columns[0])
    if not block.quoted:
        return Converted(columns, np.arange(n_rows), n_rows)
    n_lines = count_line_ends(block.data) + (block.data[-1:] not in (b"\n", b"\r"))
    lines = np.arange(n_rows) if n_lines == n_rows else _lines(block)  # a row has a line, and more in quotes
    assert len(lines) == n_rows, "pyarrow reads as many rows as there are row ends"
    return Converted(columns, lines, n_lines)


def _lines(block: Block) -> Places:
    """The line, from 0, on which each row begins."""
    return np.searchsorted(line_ends(block.data), row_begins(block))


def _parsed_by_shape(block: Block, plan: Plan) -> list[Any] | None:
    """The columns, numbers and days as arrays; None where a cell is none, or may be one that pyarrow misreads."""
    if plan.failures > 1 or _may_hold_padded_words(block, plan):
        return None
    shapes = list(plan.shapes)  # as they are now: more may be told meanwhile
    if "digits" in shapes and _may_hold_codes(block.data, block.delimiter):
        shapes = ["levels" if shape == "digits" else shape for shape in shapes]
    whole = plan.whole and "digits" in shapes
    try:
        columns = _parsed(block, plan, shapes, whole)
    except _OtherShapeError:
        if whole:
            plan.whole = False
            return _parsed_by_shape(block, plan)
        plan.failures += 1
        return None
    zero = False
    for j, shape in enumerate(shapes):
        if shape == "real" or (shape == "digits" and not whole):
            sound = _sound(columns[j])
            if sound is None:
                return None
            columns[j], here = sound
            zero = zero or here
        elif shape != "levels":
            columns[j] = _whole(columns[j])
    return None if zero and _holds_tiny_numbers(block.data) else columns


def _check_bytes(data: bytes) -> None:
    at = data.find(b"\0")
    if at >= 0:
        raise MisreadError.at(
            "line {line} holds a NUL byte (byte {byte}): remove it, or write the file again.", data, at
        )
    if not data.isascii():
        try:
            data.decode("utf-8")
        except UnicodeDecodeError as error:
            message = (
                "line {line} is not UTF-8: byte {byte} is "
                f"0x{data[error.start]:02x}. Save the file as UTF-8, or name its encoding (--encoding cp1252, say)."
            )
            raise MisreadError.at(message, data, error.start) from error


class _OtherShapeError(Exception):
    """A cell is no number, or no date, or has blanks around it."""


def _parsed(block: Block, plan: Plan, shapes: Sequence[Shape], whole: bool = False) -> list[Any]:
    import pyarrow
    from pyarrow import csv

    bad: list[Any] = []

    def note(row: Any) -> str:
        bad.append(row)
        return "error"

    names = [f"f{j}" for j in range(len(shapes))]
    type_of = {
        "levels": pyarrow.dictionary(pyarrow.int32(), pyarrow.string()),
        "real": pyarrow.float64(),
        "digits": pyarrow.uint32() if whole else pyarrow.float64(),
        "days": pyarrow.date32(),
    }
    try:
        table = csv.read_csv(
            pyarrow.BufferReader(block.data),
            csv.ReadOptions(use_threads=False, column_names=names, block_size=len(block.data) + 1),
            csv.ParseOptions(
                delimiter=plan.dialect.delimiter,
                quote_char='"' if block.quoted else False,
                newlines_in_values=block.quoted,
                ignore_empty_lines=False,
                invalid_row_handler=note,
            ),
            csv.ConvertOptions(
                column_types={name: type_of[shape] for name, shape in zip(names, shapes, strict=True)},
                null_values=plan.null_values,
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
                decimal_point=plan.dialect.decimal,
                check_utf8=False,
            ),
        )
    except pyarrow.ArrowInvalid as error:
        if bad:
            raise _wrong_width(block, bad[0], plan) from error
        raise _OtherShapeError from error
    return [column.chunk(0) if column.num_chunks == 1 else column.combine_chunks() for column in table.columns]


def _wrong_width(block: Block, row: Any, plan: Plan) -> MisreadError:
    cells = "cell" if row.actual_columns == 1 else "cells"
    sign = plan.dialect.delimiter
    text = shown(row.text).replace("{", "{{").replace("}", "}}")
    return MisreadError(
        f"every row needs as many cells as the header, {row.expected_columns}; line {{line}} has {row.actual_columns} "
        f"{cells}: {text}. Correct the row: a cell with {shown(sign)} in it must stand in quotes; or say with "
        "--delimiter what stands between cells.",
        lines=_line_of(block, row.number - 1),
    )


def _line_of(block: Block, row: int) -> int:
    return int(_lines(block)[row]) if block.quoted else row


def _sound(column: Any) -> tuple[NDArray[np.float64], bool] | None:
    """Parsed decimals, if all are finite and small enough to be exact, and whether one is 0; else None."""
    values: NDArray[np.float64] = column.to_numpy(zero_copy_only=False)
    if column.null_count == len(values):
        return values, False
    if column.null_count:
        if np.count_nonzero(np.isnan(values)) > column.null_count:
            return None  # NaN where nothing is missing
        least, greatest = np.fmin.reduce(values), np.fmax.reduce(values)
    else:
        least, greatest = values.min(), values.max()  # NaN if any is
    if not (least > -_EXACT and greatest < _EXACT):
        return None
    return values, bool(least <= 0 <= greatest) and not values.all()


def _whole(column: Any) -> NDArray[Any]:
    """Numbers of digits alone, or dates as days since 1970-01-01; as float64 with NaN only where cells are missing."""
    import pyarrow

    if pyarrow.types.is_date32(column.type):
        column = column.view(pyarrow.int32())
    values: NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return values


def _may_hold_codes(data: bytes, delimiter: bytes) -> bool:
    """Whether a cell begins with a zero and goes on with a digit, as 007 does, or with an x, as 0xff does.

    No whole number is written so, and pyarrow reads both as one.
    """
    if re.match(rb"0[0-9xX]", data):
        return True
    view = np.frombuffer(data, np.uint8)
    for start in range(0, len(view) - 2, _WINDOW):
        window = view[start : start + _WINDOW + 2]
        before = window[:-2]
        found = before <= _COMMA  # a line end, a blank, a quote, a comma
        if delimiter[0] > _COMMA:
            found |= before == delimiter[0]
        found &= window[1:-1] == _ZERO
        behind = window[np.flatnonzero(found) + 2]
        if ((behind - np.uint8(_ZERO) < 10) | (behind | _SMALL == _X)).any():
            return True
    return False


def _may_hold_padded_words(block: Block, plan: Plan) -> bool:
    """Whether a word for a missing cell that may be read as a number or a date has a blank beside it.

    pyarrow knows such words bare, and takes blanks off numbers and dates.
    """
    words = [word.encode() for word in plan.null_values if any(letter.isdigit() for letter in word)]
    blanks = [blank for blank in (b" ", b"\t") if blank != block.delimiter and words and blank in block.data]
    return any(blank + word in block.data or word + blank in block.data for blank in blanks for word in words)


def _holds_tiny_numbers(data: bytes) -> bool:
    """Whether the bytes may hold a number that becomes 0: an exponent of -100 and less, or many zeros."""
    if data.find(b"0" * 64) >= 0:
        return True
    view = np.frombuffer(data, np.uint8)
    for start in range(0, len(view) - 1, _WINDOW):
        window = view[start : start + _WINDOW + 1]
        found = window[1:] == _MINUS
        found &= window[:-1] | _SMALL == _E
        for at in (np.flatnonzero(found) + start).tolist():
            if re.match(rb"[0-9]{3}", data[at + 2 : at + 5]):
                return True
    return False


def _refuse_blank_row(block: Block, columns: Sequence[Any]) -> None:
    """A blank line is a row of no cells, which pyarrow reads as missing ones; in one column alone that is the same.

    A row of missing cells, with delimiters between them, is a row.
    """
    if len(columns) == 1:
        return
    blank: NDArray[np.bool_] | None = None
    for column in columns:
        here = np.isnan(column) if isinstance(column, np.ndarray) else np.asarray(column.is_null())
        blank = here if blank is None else blank & here
        if not blank.any():
            return
    assert blank is not None, "a table has a column"
    begins = np.append(row_begins(block), len(block.data))
    for row in np.flatnonzero(blank).tolist():
        if not block.data[begins[row] : begins[row + 1]].strip(b"\r\n"):
            raise MisreadError("line {line} is blank: it has no value in it. Remove it.", lines=_line_of(block, row))


# Gathering


@dataclass
class Gathered:
    """One column's parts so far, in order: arrays of numbers, or the dictionaries of each block."""

    kind: Kind | None
    said: bool
    parts: list[Any] = field(default_factory=list)
    fault: Fault | None = None
    n_rows: int = 0
    example_of_code: str = ""
    shape: Shape = "levels"

    def add(self, part: Any, rules: CellRules) -> None:
        """Take in the next block's part."""
        self.tell(part, rules)
        as_it_is = self.shape == "levels" or isinstance(part, np.ndarray)
        self.parts.append(part if as_it_is else self._values(part, rules))
        self.n_rows += len(part)

    def tell(self, part: Any, rules: CellRules) -> None:
        """Tell the column's kind from this part, unless it is known, or no cell of it has a value."""
        if self.kind is not None or part.null_count == len(part):
            return
        levels, indices = part.dictionary, part.indices
        present = indices.drop_null() if part.null_count else indices
        self.kind = tell_kind(levels, np.bincount(present.to_numpy(), minlength=len(levels)), rules)
        if self.kind == "number":
            self.shape = "digits" if all_digits(levels, rules) else "real"
        elif self.kind == "date" and all_plain_dates(rules.without_missing(levels)):
            self.shape = "days"
        if self.shape != "levels":
            self.parts = [np.full(self.n_rows, np.nan)]  # so far there were missing cells alone
        elif self.kind == "text" and holds_codes(levels):
            words = rules.without_missing(levels).drop_null().to_pylist()
            codes = [word for word in words if is_code(word)]
            if codes and 2 * sum(is_number(word, rules) for word in words) > len(words):
                self.example_of_code = codes[0]

    def _values(self, part: Any, rules: CellRules) -> NDArray[np.float64]:
        """The numbers, or days, of a dictionary; the first fault is kept."""
        import pyarrow.compute as compute

        if self.kind == "date":
            values, fault = dates_of(part.dictionary, rules)
        else:
            values, fault = numbers_of(part.dictionary, rules, codes_allowed=self.said or self.shape != "digits")
        indices = compute.fill_null(part.indices, len(values)).to_numpy()
        if fault is not None and self.fault is None:
            # levels come in order of use, so the first at fault is that of the first cell
            row = self.n_rows + int(np.argmax(indices == fault.row))
            way_out = fault.way_out
            if self.said:
                way_out = way_out.removesuffix(AS_TEXT)  # it is a number, a date, for a model or for the user
            self.fault = Fault(row, fault.problem, way_out)
        found: NDArray[np.float64] = np.append(values, np.nan)[indices]
        return found

    def column(self, name: str, rules: CellRules) -> Column:
        """All parts as one column; they are let go of."""
        import pyarrow

        parts, self.parts = self.parts, []
        if self.kind is None:
            return Column("number", np.full(self.n_rows, np.nan))
        if self.shape != "levels":
            return Column(self.kind, parts, None, self.fault)
        try:
            whole = pyarrow.chunked_array(parts).unify_dictionaries().combine_chunks()
        except pyarrow.ArrowException as error:
            raise DataError(
                f"column {shown(name)} has more different texts than fit into 2 GiB. Leave it out of the file."
            ) from error
        if isinstance(whole, pyarrow.ChunkedArray):
            whole = whole.chunk(0)
        return column_of_levels(whole.indices, whole.dictionary, rules, self.kind)


@dataclass
class _Place:
    """Where in the file the next block begins."""

    source: str
    line: int
    byte: int

    def explained(self, error: MisreadError) -> DataError:
        """The error with its place in the file."""
        said = str(error).format(line=f"{self.line + error.lines}", byte=f"{self.byte + error.byte}")
        return DataError(f"{self.source}: {said}")


def read_delimited(
    source: str,
    pieces: Iterator[bytes],
    notices: list[str],
    rules: CellRules,
    *,
    delimiter: str | None,
    decimal: Literal[".", ","] | None,
    texts: Sequence[str],
    numbers: Sequence[str],
    kinds: Mapping[str, Kind],
    threads: int | None,
) -> Table:
    """The table that these pieces of UTF-8 hold; what was decided and is not plain goes to `notices`.

    Raises DataError, with the place, for all that is not right.
    """
    buffer, ended = b"", False
    while len(buffer) < SAMPLE_BYTES and not ended:
        piece = next(pieces, None)
        buffer, ended = buffer + (piece or b""), piece is None
    bom = len(buffer) - len(buffer.removeprefix(_BOM))
    buffer = buffer[bom:]
    if ended and not buffer.strip():
        raise DataError(f"{source}: a table needs a header and a row; this file is empty.")
    place = _Place(source, 1, bom)
    workers = threads or os.cpu_count() or 1
    try:
        dialect, header = _header(source, buffer, ended, notices, delimiter, decimal, [*texts, *numbers], texts)
        rules = CellRules(rules.missing, dialect.decimal)
        said: dict[str, Kind] = {**kinds, **dict.fromkeys(texts, "text"), **dict.fromkeys(numbers, "number")}
        columns = [Gathered(said.get(name), name in said) for name in dialect.names]
        for column in columns:
            column.shape = "real" if column.kind == "number" else "levels"
        words = {form for word in rules.missing for form in (word, word.lower(), word.upper(), word.capitalize())}
        plan = Plan(dialect, rules, [column.shape for column in columns], sorted(words))
        place.line += count_line_ends(header)
        place.byte += len(header)
        sign, narrow = dialect.delimiter.encode(), len(dialect.names) == 1
        every = blocks(buffer[len(header) :], pieces, sign, len(header), narrow)
        row_lines = _gather(every, plan, columns, place, workers)
    except MisreadError as error:
        raise place.explained(error) from error
    if not row_lines:
        raise DataError(f"{source}: a table needs a header and a row; this file has a header and no rows.")
    return _table(source, dialect.names, columns, rules, np.concatenate(row_lines), notices, workers)


def _header(
    source: str,
    buffer: bytes,
    ended: bool,
    notices: list[str],
    delimiter: str | None,
    decimal: Literal[".", ","] | None,
    named: Sequence[str],
    texts: Sequence[str],
) -> tuple[Dialect, bytes]:
    """The dialect, and the bytes of line 1 (of several lines, where a name has line ends in it)."""
    start = buffer[:MAX_ROW_BYTES]
    _check_bytes(re.split(rb"[\r\n]", start, maxsplit=1)[0])
    whole = ended and len(start) == len(buffer)
    dialect = told_dialect(source, start.decode("utf-8", "replace"), whole, delimiter, decimal, texts, notices)
    if len(dialect.names) > MAX_COLUMNS:
        raise DataError(f"{source}: a table has at most {MAX_COLUMNS:,} columns; line 1 has {len(dialect.names):,}.")
    require(named, dialect.names, source)
    marks = toggles(start, dialect.delimiter.encode())
    ends = row_ends(start, marks)
    if not ends.size and len(marks) % 2:
        raise MisreadError("a quote opened in line {line} is never closed. Close it, or remove it.", lines=0)
    header = start[: int(ends[0]) + 1] if ends.size else start
    _check_bytes(header)
    return dialect, header


def _gather(
    every: Iterator[Block | MisreadError],
    plan: Plan,
    columns: Sequence[Gathered],
    place: _Place,
    workers: int,
) -> list[NDArray[np.int64]]:
    """Convert blocks side by side and take them in in order; returns the line of every row, block by block.

    Raises MisreadError, `place` being then that of the block that is at fault.
    """
    row_lines: list[NDArray[np.int64]] = []

    def take(block: Block, converted: Converted) -> None:
        row_lines.append(converted.row_lines + place.line)
        for j, (column, part) in enumerate(zip(columns, converted.columns, strict=True)):
            column.add(part, plan.rules)
            plan.shapes[j] = column.shape
        place.line += converted.n_lines
        place.byte += len(block.data)

    waiting: deque[tuple[Block, Future[Converted]]] = deque()

    def take_next() -> None:
        block, future = waiting.popleft()
        take(block, future.result())

    with ThreadPoolExecutor(workers) as pool:
        try:
            for block in every:
                if isinstance(block, MisreadError):
                    while waiting:  # what comes before is at fault first
                        take_next()
                    raise block
                if not row_lines:  # the first block tells the kinds, for itself as for all others
                    for column, part in zip(columns, convert(block, plan).columns, strict=True):
                        column.tell(part, plan.rules)
                    plan.shapes = [column.shape for column in columns]
                    take(block, convert(block, plan))
                    continue
                waiting.append((block, pool.submit(convert, block, plan)))
                if len(waiting) > 2 * workers:
                    take_next()
            while waiting:
                take_next()
        finally:
            for _, future in waiting:
                future.cancel()
    return row_lines


def _table(
    source: str,
    names: tuple[str, ...],
    columns: list[Gathered],
    rules: CellRules,
    line_numbers: NDArray[np.int64],
    notices: list[str],
    workers: int,
) -> Table:
    while names and not names[-1].strip() and columns[-1].kind is None:
        notices.append(f"column {len(names)} has no name and no value in it: left out")
        names = names[:-1]
        columns.pop()
    check_names(names, source)
    for name, column in zip(names, columns, strict=True):
        if column.example_of_code:
            code = shown(column.example_of_code)
            notices.append(f"column {shown(name)} is read as text: {code} begins with a zero, as codes do")
    n = len(line_numbers)
    pairs = dict(zip(names, columns, strict=True))
    with ThreadPoolExecutor(workers) as pool:  # texts take time: their dictionaries become one
        texts = {name: pool.submit(c.column, name, rules) for name, c in pairs.items() if c.kind != "number"}
        read = {name: texts[name].result() if name in texts else c.column(name, rules) for name, c in pairs.items()}
    return Table(read, n, np.arange(n), line_numbers, source, tuple(notices), rules.missing)
