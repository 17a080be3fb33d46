"""How a table is written: what stands between columns, before decimals, and in the header. Told from its first rows."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from glassnet.cells import is_number, listed, shown
from glassnet.errors import DataError, UsageError
from glassnet.tables import check_names

DELIMITERS = {
    ",": "commas (,)",
    ";": "semicolons (;)",
    "\t": "tabs",
    "|": "bars (|)",
}
_SAMPLE_ROWS = 500
_SAMPLE_CELLS = 100_000
_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)
_POINT = re.compile(r"[+-]?\d*\.\d+(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_THOUSANDS = re.compile(r"[+-]?\d{1,3}((\.\d{3})+,\d+|(,\d{3})+\.\d+|(\.\d{3}){2,}|(,\d{3}){2,})", re.ASCII)


@dataclass(frozen=True)
class Dialect:
    """What stands between columns and before decimals, and how many columns the header has."""

    delimiter: str
    decimal: Literal[".", ","]
    names: tuple[str, ...]


def checked_delimiter(delimiter: str | None) -> str | None:
    """The delimiter, `tab` and its escape taken for the sign. Raises UsageError: what cannot stand between columns."""
    sign = {"\\t": "\t", "tab": "\t"}.get(str(delimiter), delimiter)
    if sign is not None and (len(sign) != 1 or not sign.isascii() or sign.isalnum() or sign in '"\r\n\0.+-'):
        raise UsageError(
            f"a delimiter is one ASCII sign that is no letter, digit, quote or line end, such as , ; | or tab; "
            f"got {delimiter!r}."
        )
    return sign


def told_dialect(
    source: str,
    text: str,
    whole: bool,
    delimiter: str | None,
    decimal: Literal[".", ","] | None,
    texts: Sequence[str],
    notices: list[str],
) -> Dialect:
    """The dialect of the table that begins with `text`; `whole` says whether the text is all of it.

    What is told and not plain goes to `notices`. `texts` names columns that hold text whatever they look like.

    Raises DataError: no header, or one that is blank or numbers; where more than one reading is possible, with the
    option that decides.
    """
    if text[:1] in "\r\n":
        raise DataError(f"{source}: line 1 must be the header; it is blank. Remove the blank lines before the header.")
    if line := re.match(r'("?)sep=([^\w\r\n"])\1[\r\n]', text, re.IGNORECASE):
        option = "tab" if line[2] == "\t" else f'"{line[2]}"'
        raise DataError(
            f"{source}: line 1 must be the header; it tells Excel what stands between columns: "
            f"{shown(line[0].strip())}. Remove the line, and say --delimiter {option}."
        )
    sign = delimiter if delimiter is not None else _told_delimiter(source, text, whole)
    if delimiter is None and sign != ",":
        notices.append(f"columns are separated by {DELIMITERS[sign]}")
    rows = _rows(text, sign, whole)
    if not rows:
        raise DataError(
            f"{source}: line 1 begins a header of more than 1 MiB, or one whose quote is never closed. "
            "Correct the header."
        )
    names = tuple(rows[0])
    _check_header(source, names, notices)
    if decimal is not None:
        _refuse_other_signs(source, names, rows[1:], texts, decimal)
    else:
        decimal = _told_decimal(source, names, rows[1:], texts)
        if decimal == ",":
            notices.append("decimals are written with a comma (1,5)")
    return Dialect(sign, decimal, names)


def _rows(text: str, delimiter: str, whole: bool) -> list[list[str]]:
    """The first rows as Python's csv module has them: near enough to compare widths. A cut last row is left off."""
    limit = csv.field_size_limit(len(text) + 1)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        rows = list(islice(reader, _SAMPLE_ROWS))
    except csv.Error:
        return []
    finally:
        csv.field_size_limit(limit)
    if not whole and len(rows) < _SAMPLE_ROWS:
        rows = rows[:-1]
    return rows


def _told_delimiter(source: str, text: str, whole: bool) -> str:
    """The only sign in the header that cuts all rows into as many cells; else a comma where there is one."""
    head = re.split(r"[\r\n]", text, maxsplit=1)[0]
    if '"' in head:  # a quoted name may have line ends in it
        head = text
    possible = [sign for sign in DELIMITERS if sign in head]
    read = {sign: _rows(text, sign, whole) for sign in possible}
    widths = {sign: [len(row) for row in rows if row] for sign, rows in read.items() if rows}
    inside = {sign: of_rows for sign, of_rows in widths.items() if of_rows[0] > 1}
    if not inside:
        return ","
    even = [sign for sign, of_rows in inside.items() if len(set(of_rows)) == 1]
    if len(even) == 1:
        return even[0]
    if len(even) > 1:
        raise DataError(
            f"{source}: the columns may be separated by {' or by '.join(DELIMITERS[sign] for sign in even)}. "
            "Say which with --delimiter."
        )
    return "," if "," in inside else max(inside, key=lambda sign: inside[sign][0])


def _check_header(source: str, names: Sequence[str], notices: list[str]) -> None:
    """Refuse a header that is no header."""
    named = [name for name in names if name.strip()]
    if not named:
        check_names(names, source)
    if all(is_number(name) for name in named):
        counted = [str(j) for j in range(len(names))], [str(j + 1) for j in range(len(names))]
        if list(names) not in counted:
            raise DataError(
                f"{source}: line 1 is the header, the columns' names; it holds numbers: {listed(named, 3)}. "
                "Add a line with a name for each column."
            )
        notices.append(f"line 1 numbers the columns from {names[0]}: taken for their names")
    trailing = len(names) - next(j for j, name in enumerate(reversed(names)) if name.strip())
    if not names[0].strip():
        raise DataError(
            f"{source}: every column needs a name; the first (column 1) has none. Name it, or leave it out: a data "
            "frame's index stays behind with to_csv(index=False)."
        )
    check_names(names[:trailing], source)


def _told_decimal(
    source: str, names: Sequence[str], rows: Sequence[Sequence[str]], texts: Sequence[str]
) -> Literal[".", ","]:
    """The sign before decimals; a comma only where it cannot be anything else."""
    if not any("," in cell for row in rows for cell in row):
        return "."
    commas: dict[str, str] = {}  # each word, and the column that it was first found in
    points: dict[str, str] = {}
    left = _SAMPLE_CELLS
    for row in rows:
        for name, cell in zip(names, row, strict=False):
            word = cell.strip()
            if name in texts or not word or not ("," in word or "." in word):
                continue
            if _THOUSANDS.fullmatch(word):
                raise DataError(
                    f"{source}: a number is written without marks between thousands; a cell of column {shown(name)} "
                    f"is {shown(word)}. Write {shown(_without_thousands(word))}, or read the column with --text."
                )
            if _COMMA.fullmatch(word):
                commas.setdefault(word, name)
            elif _POINT.fullmatch(word):
                points.setdefault(word, name)
        left -= len(row)
        if left < 0:
            break
    if not commas:
        return "."
    certain = [word for word in commas if len(word.partition(",")[2]) != 3]
    if points or not certain:
        comma, name = next(iter(commas.items()))
        other = next((f"{shown(word)} in column {shown(of)}" for word, of in points.items()), "")
        both = f"beside {other}" if other else "where the comma may as well stand between thousands"
        raise DataError(
            f"{source}: the sign before decimals is not certain: column {shown(name)} has {shown(comma)}, {both}. Say "
            "which it is with --decimal , or --decimal . (or read such columns as text with --text)."
        )
    return ","


def _refuse_other_signs(
    source: str, names: Sequence[str], rows: Sequence[Sequence[str]], texts: Sequence[str], decimal: Literal[".", ","]
) -> None:
    """Refuse a column most of whose cells would be numbers if another sign stood before decimals than was said."""
    other = _COMMA if decimal == "." else _POINT
    for name, *cells in zip(names, *rows, strict=False):
        words = [cell.strip() for cell in cells if cell.strip()]
        odd = [word for word in words if other.fullmatch(word) or _THOUSANDS.fullmatch(word)]
        if name not in texts and 2 * len(odd) > len(words):
            raise DataError(
                f"{source}: with --decimal {decimal} a number has nothing but digits and one {shown(decimal)}; a cell "
                f"of column {shown(name)} is {shown(odd[0])}. Write it so, or read the column with --text."
            )


def _without_thousands(word: str) -> str:
    signs = [letter for letter in word if letter in ",."]
    if len(set(signs)) == 1:
        return word.replace(signs[0], "")
    return word.replace(signs[0], "").replace(",", ".")
