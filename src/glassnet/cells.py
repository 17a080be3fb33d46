"""What the text of a cell means: a number, a boolean, a date, a text, or nothing.

A cell is a number only if it is one to the last character; nothing is guessed, repaired or rounded in silence. Cells
come as pyarrow arrays of texts, null where a cell is known to be missing, and become arrays of numbers, or a `Fault`
that names the first cell which is not what its column holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from glassnet.errors import UsageError

Kind = Literal["number", "boolean", "date", "text"]
"""What a column holds. number, boolean (1 for true, 0 for false) and date (days since 1970-01-01) are float64 with NaN
where a cell is missing; text is told apart by level."""

MISSING_WORDS = ("", "NA", "N/A", "NaN", "null", "None", "?", "<NA>", "NaT")  # the last two are pandas's
DATE_ORIGIN = date(1970, 1, 1)

_BOOLEANS = {"true": 1.0, "false": 0.0}
# Neither form can match the same text in two ways, so a megabyte of digits is refused in linear time.
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?|[+-]?(inf|infinity)", re.ASCII | re.IGNORECASE)
_DATE = re.compile(
    r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)?)?",
    re.ASCII,
)
_CODE = r"^\s*[+-]?0[0-9]+\s*$"
_WHOLE_NUMBER = r"^\s*[+-]?[0-9]+(\.0*)?\s*$"
_NONZERO_NUMBER = r"^[^eE]*[1-9]"
_EXACT = 2.0**53  # a float holds every whole number up to here
_MICROSECONDS_A_DAY = 86_400_000_000


@dataclass(frozen=True)
class Fault:
    """The first cell of a column that is not what the column holds: its row, what is wrong, and the way out."""

    row: int
    problem: str
    way_out: str = "Correct the cell"


@dataclass(frozen=True)
class CellRules:
    """How cells are read: which words say that there is no value, in any case, and the sign before decimals.

    >>> CellRules(missing=("-",)).is_missing(" - "), CellRules().is_missing("n/a"), CellRules().is_missing("0")
    (True, True, False)
    """

    missing: tuple[str, ...] = MISSING_WORDS
    decimal: Literal[".", ","] = "."

    def __post_init__(self) -> None:
        if self.decimal not in (".", ","):
            raise UsageError(f"the decimal sign is a point or a comma; got {self.decimal!r}.")
        # blank cells are missing whatever other words are
        object.__setattr__(self, "missing", tuple(dict.fromkeys(["", *(word.strip() for word in self.missing)])))

    def is_missing(self, text: str) -> bool:
        """Whether a cell says that there is no value."""
        return text.strip().casefold() in {word.casefold() for word in self.missing}

    def without_missing(self, texts: Any) -> Any:
        """The texts with null for those that say that there is no value."""
        import pyarrow
        import pyarrow.compute as compute

        words = pyarrow.array(sorted({word.lower() for word in self.missing}), texts.type)
        missing = compute.is_in(compute.utf8_lower(compute.utf8_trim_whitespace(texts)), value_set=words)
        return compute.if_else(missing, pyarrow.scalar(None, texts.type), texts)


PLAIN = CellRules()


def shown(text: str) -> str:
    """A name or a cell for a message: quoted, control characters escaped, shortened where it is long.

    >>> print(shown("size"), shown("a" * 100))
    'size' 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'...
    """
    return repr(text) if len(text) <= 60 else repr(text[:57]) + "..."


def listed(names: Iterable[str], most: int = 10) -> str:
    """Names for a message, quoted, at most so many of them.

    >>> listed(["a", "b", "c"], most=2)
    "'a', 'b' and 1 more"
    """
    every = list(names)
    text = ", ".join(shown(name) for name in every[:most])
    return text if len(every) <= most else f"{text} and {len(every) - most} more"


def counted(n: int, noun: str) -> str:
    """So many of a thing, for a message.

    >>> counted(1, "row"), counted(1000, "row")
    ('1 row', '1,000 rows')
    """
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def not_a_formula(cell: str) -> str:
    """The text, behind an apostrophe where a spreadsheet would take it for a formula and run it.

    >>> not_a_formula("=cmd()"), not_a_formula("-1.5"), not_a_formula("-")
    ("'=cmd()", '-1.5', '-')
    """
    runs = len(cell) > 1 and cell.startswith(("=", "+", "-", "@", "\t", "\r"))  # a sign alone is a class's name
    return f"'{cell}" if runs and not is_number(cell) else cell


def is_number(text: str, rules: CellRules = PLAIN) -> bool:
    """Whether a text, blanks around it aside, is a number to the last character.

    >>> is_number(" 1.5e3 "), is_number("1,5"), is_number("1,5", CellRules(decimal=",")), is_number("0x10")
    (True, False, True, False)
    """
    return _NUMBER.fullmatch(_pointed(text.strip(), rules)) is not None


def is_code(text: str) -> bool:
    """Whether a text is a number that begins with a zero, as codes do: read as a number it would lose it.

    >>> is_code("007"), is_code("0.5"), is_code("70")
    (True, False, False)
    """
    return re.fullmatch(_CODE, text) is not None


def holds_codes(texts: Any) -> bool:
    """Whether any text of a pyarrow array is a code, as `is_code` has it.

    >>> import pyarrow
    >>> holds_codes(pyarrow.array(["7", "007"]))
    True
    """
    import pyarrow.compute as compute

    return bool(compute.any(compute.match_substring_regex(texts, _CODE)).as_py())


def all_digits(texts: Any, rules: CellRules = PLAIN) -> bool:
    """Whether all texts of a pyarrow array, words for a missing cell aside, are digits and nothing else.

    >>> import pyarrow
    >>> all_digits(pyarrow.array(["7", "NA", "007"])), all_digits(pyarrow.array(["7", "-7"]))
    (True, False)
    """
    first = texts[0].as_py() if len(texts) else ""
    if is_number(first, rules) and not first.isdigit():
        return False  # most columns of decimals show it at once
    return _all_match(texts, "^[0-9]+$") or _all_match(rules.without_missing(texts), "^[0-9]+$")


def _all_match(texts: Any, pattern: str) -> bool:
    """Whether all texts match; null ones do."""
    import pyarrow.compute as compute

    return bool(compute.all(compute.match_substring_regex(texts, pattern)).as_py())


def _pointed(text: str, rules: CellRules) -> str:
    """A number's text with a point for its decimal sign; a point where a comma is wanted makes it none."""
    return text if rules.decimal == "." else text.replace(".", "'").replace(",", ".")


def tell_kind(levels: Any, counts: NDArray[np.int64], rules: CellRules = PLAIN) -> Kind | None:
    """What a column holds, from its different texts and how often each occurs; None where every cell is missing.

    `levels` is a pyarrow array of texts, null where a cell is known to be missing. Numbers and dates are told by most
    cells, so that a stray text is an error to be named and not a column of texts; booleans by all. Digits alone of
    which some begin with a zero, as codes do (007), make a column of texts, for their zeros would be lost.

    >>> import pyarrow
    >>> tell_kind(pyarrow.array(["39", "4O", "50"]), np.array([3, 1, 2]))
    'number'
    >>> tell_kind(pyarrow.array(["01234", "94110"]), np.array([1, 1]))
    'text'
    """
    present = levels.drop_null() if levels.null_count else levels
    values = _cast(present, rules)
    if values is not None and len(values):  # the common case, in no time
        return "text" if all_digits(present, rules) and holds_codes(present) else "number"
    seen = {"number": 0, "boolean": 0, "date": 0, "text": 0}
    codes, digits = False, True
    for text, count in zip(rules.without_missing(levels).to_pylist(), counts.tolist(), strict=True):
        if text is None:
            continue
        word = text.strip()
        if is_number(word, rules):
            seen["number"] += count
            codes, digits = codes or is_code(word), digits and word.isdigit()
        elif word.casefold() in _BOOLEANS:
            seen["boolean"] += count
        else:
            seen["date" if _DATE.fullmatch(word) else "text"] += count
    total = sum(seen.values())
    if not total:
        return None
    if seen["boolean"] == total:
        return "boolean"
    if 2 * seen["number"] > total:
        return "text" if codes and digits else "number"
    return "date" if 2 * seen["date"] > total else "text"


def numbers_of(
    texts: Any, rules: CellRules = PLAIN, *, codes_allowed: bool = True
) -> tuple[NDArray[np.float64], Fault | None]:
    """Texts to numbers, each the nearest float64, NaN where missing; and the first cell that is not to be one.

    A whole number of more digits than float64 holds, an infinite one, one too small and, unless `codes_allowed`, one
    that begins with a zero as codes do, are faults: nothing is rounded or lost in silence.

    >>> import pyarrow
    >>> numbers_of(pyarrow.array(["1", " 2.5", "NA"]))[0].tolist()
    [1.0, 2.5, nan]
    >>> numbers_of(pyarrow.array(["1", "4O"]))[1].problem
    "'4O' is not a number"
    """
    values = _cast(texts, rules)
    if values is None:
        import pyarrow.compute as compute

        texts = compute.utf8_trim_whitespace(rules.without_missing(texts))
        values = _cast(texts, rules)
        if values is None:
            return _named(texts, rules)
    # Only a large number can be a rounded whole one, and only a zero can hide a number too small.
    faults = []
    with np.errstate(invalid="ignore"):
        large = np.flatnonzero(np.abs(values) >= _EXACT)
    for row in large[np.isinf(values[large])][:1].tolist():
        faults.append(Fault(row, f"{shown(texts[row].as_py())} is not a finite number in 64 bits"))
    for row, text in _matching(texts, large, _WHOLE_NUMBER, rules):
        if np.isfinite(values[row]) and Decimal(text.strip()) != Decimal(float(values[row])):
            faults.append(too_exact(row, text))
            break
    for row, text in _matching(texts, np.flatnonzero(values == 0), _NONZERO_NUMBER, rules):
        faults.append(
            Fault(row, f"{shown(text)} is too small for a number in 64 bits", "Give the column in another unit")
        )
        break
    if not codes_allowed:
        for row, text in _matching(texts, np.arange(len(texts)), _CODE, rules):
            faults.append(
                Fault(
                    row,
                    f"{shown(text)} begins with a zero, as codes do and numbers do not",
                    "Say what the column holds with --text or --number",
                )
            )
            break
    return values, min(faults, key=lambda fault: fault.row, default=None)


def too_exact(row: int, text: str) -> Fault:
    """The fault of a whole number that float64 would round."""
    return Fault(
        row,
        f"{shown(text)} has more digits than a number in 64 bits holds",
        "If it is an identifier, read it as text with --text; else give it with fewer digits",
    )


def _named(texts: Any, rules: CellRules) -> tuple[NDArray[np.float64], Fault]:
    """The fault of the first text that is no number."""
    for row, text in enumerate(texts.to_pylist()):
        if text is not None and not is_number(text, rules):
            hint = "Correct the cell, say with --missing if it stands for no value"
            other = CellRules(rules.missing, "," if rules.decimal == "." else ".")
            if is_number(text, other):
                hint += f", say how decimals are written with --decimal {other.decimal}"
            return np.full(len(texts), np.nan), Fault(row, f"{shown(text)} is not a number", hint + AS_TEXT)
    raise AssertionError("pyarrow reads every text that has the form of a number")


AS_TEXT = ", or read the column as text with --text"


def _cast(texts: Any, rules: CellRules) -> NDArray[np.float64] | None:
    """Texts to numbers, NaN for null; None where some cell is not a bare number."""
    import pyarrow
    import pyarrow.compute as compute

    if rules.decimal == ",":
        if compute.any(compute.match_substring(texts, ".")).as_py():
            return None
        texts = compute.replace_substring(texts, ",", ".")
    try:
        numbers = texts.cast(pyarrow.float64())
    except pyarrow.ArrowInvalid:
        return None
    values = np.array(numbers.to_numpy(zero_copy_only=False), dtype=np.float64)
    # what pyarrow takes for NaN, a person may have meant as a word for a missing cell, or not
    return None if np.count_nonzero(np.isnan(values)) > texts.null_count else values


def _matching(texts: Any, rows: NDArray[np.intp], pattern: str, rules: CellRules) -> Iterable[tuple[int, str]]:
    """Those of `rows` whose text matches, with the text."""
    import pyarrow.compute as compute

    if rows.size:
        some = texts if len(rows) == len(texts) else texts.take(rows)
        found = compute.fill_null(compute.match_substring_regex(some, pattern), False)
        for row in rows[np.asarray(found)]:
            yield int(row), _pointed(texts[int(row)].as_py(), rules)


def booleans_of(texts: Any, rules: CellRules = PLAIN) -> tuple[NDArray[np.float64], Fault | None]:
    """Texts to 1 for true and 0 for false, NaN where missing; and the first cell that is neither.

    >>> import pyarrow
    >>> booleans_of(pyarrow.array(["True", "false", None]))[0].tolist()
    [1.0, 0.0, nan]
    """
    values = np.full(len(texts), np.nan)
    for row, text in enumerate(rules.without_missing(texts).to_pylist()):
        if text is not None:
            value = _BOOLEANS.get(text.strip().casefold())
            if value is None:
                return values, Fault(row, f"{shown(text)} is neither true nor false", "Correct the cell" + AS_TEXT)
            values[row] = value
    return values, None


def dates_of(texts: Any, rules: CellRules = PLAIN) -> tuple[NDArray[np.float64], Fault | None]:
    """ISO dates (2020-01-31, 2020-01-31T12:30, ...) to days since 1970-01-01, NaN where missing; and the first fault.

    A time is a part of its day; one with an offset is taken to UTC, and then all have to have one.

    >>> import pyarrow
    >>> dates_of(pyarrow.array(["1970-01-02", "1970-01-01 12:00", ""]))[0].tolist()
    [1.0, 0.5, nan]
    """
    quick = _plain_days(texts)
    if quick is not None:
        return quick, None
    values = np.full(len(texts), np.nan)
    zoned: bool | None = None
    epoch = datetime(1970, 1, 1)
    for row, text in enumerate(rules.without_missing(texts).to_pylist()):
        if text is None:
            continue
        word = text.strip()
        try:
            if not _DATE.fullmatch(word):
                raise ValueError
            moment = datetime.fromisoformat(word)
        except ValueError:
            return values, Fault(row, f"{shown(text)} is not a date as 2020-01-31", "Correct the cell" + AS_TEXT)
        if zoned is not None and zoned != (moment.tzinfo is not None):
            return values, Fault(
                row, f"{shown(text)} has {'no' if zoned else 'an'} offset from UTC, unlike the dates before it"
            )
        zoned = moment.tzinfo is not None
        if zoned:
            moment = moment.astimezone(UTC).replace(tzinfo=None)
        values[row] = (moment - epoch) / timedelta(microseconds=1) / _MICROSECONDS_A_DAY
    return values, None


def all_plain_dates(texts: Any) -> bool:
    """Whether all texts of a pyarrow array are dates without a time and nothing else.

    >>> import pyarrow
    >>> all_plain_dates(pyarrow.array(["2020-01-31"])), all_plain_dates(pyarrow.array(["2020-01-31T10:00"]))
    (True, False)
    """
    return _all_match(texts, r"^\d{4}-\d\d-\d\d$")


def _plain_days(texts: Any) -> NDArray[np.float64] | None:
    """Days of dates without a time, a thousand times faster than one by one; None where any cell is something else."""
    import pyarrow

    if not all_plain_dates(texts):
        return None
    try:
        days = texts.cast(pyarrow.date32()).cast(pyarrow.int32())
    except pyarrow.ArrowInvalid:
        return None
    return np.array(days.cast(pyarrow.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def date_text(days: float) -> str:
    """The date so many days after 1970-01-01: what `dates_of` reads back, from 1881 to 2059 to the microsecond.

    >>> date_text(18292.0), date_text(0.5)
    ('2020-01-31', '1970-01-01T12:00:00')
    """
    try:
        moment = datetime(1970, 1, 1) + timedelta(microseconds=round(days * _MICROSECONDS_A_DAY))
    except OverflowError:
        return f"{days:g} days after {DATE_ORIGIN}"
    return str(moment.date()) if moment.time() == time() else moment.isoformat()


def boolean_text(value: float) -> str:
    """`true` or `false`.

    >>> boolean_text(1.0)
    'true'
    """
    return "true" if value else "false"


def number_text(value: float) -> str:
    """The shortest text that gives the number back, whole ones without a point.

    >>> number_text(1.0), number_text(0.1)
    ('1', '0.1')
    """
    return str(int(value)) if float(value).is_integer() else repr(float(value))
