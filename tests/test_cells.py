"""What the text of a cell means, judged one by one and by columns."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassnet.cells import (
    CellRules,
    booleans_of,
    date_text,
    dates_of,
    is_number,
    number_text,
    numbers_of,
    tell_kind,
)
from glassnet.errors import UsageError


def column(*cells: str | None) -> Any:
    return pa.array(cells, pa.string())


def told(*cells: str | None, rules: CellRules = CellRules()) -> str | None:  # noqa: B008  frozen
    return tell_kind(rules.without_missing(column(*cells)), np.ones(len(cells), dtype=np.int64), rules)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_numbers_are_read_to_the_last_bit(values: list[float]) -> None:
    numbers, fault = numbers_of(column(*map(repr, values)))
    assert fault is None
    assert numbers.tobytes() == np.array(values).tobytes()


@given(st.lists(st.integers(-(2**70), 2**70), min_size=1))
def test_whole_numbers_are_exact_or_refused(values: list[int]) -> None:
    numbers, fault = numbers_of(column(*map(str, values)))
    exact = [Decimal(value) == Decimal(float(value)) for value in values]
    assert (fault is None) == all(exact)
    if fault is None:
        assert [int(number) for number in numbers] == values
    else:
        assert fault.row == exact.index(False)
        assert "has more digits" in fault.problem


@pytest.mark.parametrize(
    ("cells", "row", "problem"),
    [
        (["1", "4O", "3"], 1, "'4O' is not a number"),
        (["1", "inf"], 1, "'inf' is not a finite number"),
        (["1", "-Infinity"], 1, "not a finite number"),
        (["1e400"], 0, "'1e400' is not a finite number"),
        (["1", "1e-400"], 1, "'1e-400' is too small"),
        (["0." + "0" * 400 + "1"], 0, "is too small"),
        (["1", "9007199254740993"], 1, "'9007199254740993' has more digits"),
        (["123456789012345678901234567890"], 0, "has more digits"),
        (["-9007199254740993.0"], 0, "has more digits"),
        ([" 9007199254740993 "], 0, "has more digits"),
        (["0x10", "1"], 0, "'0x10' is not a number"),
        (["1_000"], 0, "'1_000' is not a number"),
        (["1,5"], 0, "'1,5' is not a number"),
        (["١"], 0, "is not a number"),
        (["1e"], 0, "'1e' is not a number"),
        (["nan(1)"], 0, "is not a number"),
        (["-nan"], 0, "is not a number"),
        (["\x1b[31m"], 0, "'\\x1b[31m' is not a number"),
        (["1", "007"], 1, "'007' begins with a zero"),
        (["1" * 500_000 + "x"], 0, "1111'... is not a number"),
        (["1" * 500_000], 0, "1111'... is not a finite number"),
    ],
)
def test_cells_that_are_no_numbers_are_named(cells: list[str], row: int, problem: str) -> None:
    fault = numbers_of(column(*cells), codes_allowed=False)[1]
    assert fault is not None
    assert fault.row == row
    assert problem in fault.problem
    assert len(fault.problem) < 200


def test_the_first_fault_is_named_whatever_it_is() -> None:
    fault = numbers_of(column("1", "007", "inf", "1e-400", "9007199254740993"), codes_allowed=False)[1]
    assert fault is not None
    assert fault.row == 1


def test_unusual_numbers_that_are_numbers() -> None:
    cells = ["+1", " 2 ", "3.", ".5", "-.5E+1", "1e-5", "9007199254740992", "0", "-0.0", "1000000000000000000000"]
    numbers, fault = numbers_of(column(*cells))
    assert fault is None
    assert numbers.tolist() == [float(cell) for cell in cells]
    assert numbers_of(column("007"))[0].tolist() == [7.0]


@pytest.mark.parametrize("word", ["", "  ", "NA", "N/A", "NaN", "nan", "null", "None", "?", " NA ", "na", "<NA>"])
def test_missing_words(word: str) -> None:
    for read, cell, value in ((numbers_of, "2", 2.0), (booleans_of, "true", 1.0), (dates_of, "1970-01-03", 2.0)):
        values, fault = read(column(cell, word))
        assert fault is None
        assert values[0] == value
        assert math.isnan(values[1])


def test_missing_words_of_ones_own() -> None:
    rules = CellRules(missing=("-", "unknown"))
    values, fault = numbers_of(column("1", "-", "UNKNOWN", ""), rules)
    assert fault is None
    assert np.isnan(values).tolist() == [False, True, True, True]
    fault = numbers_of(column("1", "NA"), rules)[1]
    assert fault is not None
    assert fault.row == 1


def test_decimal_commas() -> None:
    comma = CellRules(decimal=",")
    values, fault = numbers_of(column("1,5", "-2", " ,25 ", "1e3"), comma)
    assert fault is None
    assert values.tolist() == [1.5, -2.0, 0.25, 1000.0]
    for cell in ("1.5", "1.234,5"):
        fault = numbers_of(column("1,5", cell), comma)[1]
        assert fault is not None
        assert fault.row == 1
        assert repr(cell) in fault.problem
    assert is_number("1,5", comma)
    assert not is_number("1.5", comma)
    with pytest.raises(UsageError, match="point or a comma"):
        CellRules(decimal="'")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "2"], "number"),
        (["1", "2", "x"], "number"),
        (["1", "x"], "text"),
        (["1", "x", "y"], "text"),
        (["true", "False"], "boolean"),
        (["true", "False", "maybe"], "text"),
        (["true", "1"], "text"),
        (["2020-01-31", "2020-02-01T12:30"], "date"),
        (["2020-01-31", "2020-02-01", "soon"], "date"),
        (["31.01.2020"], "text"),
        (["01234", "94110"], "text"),
        (["0", "0.5", "-0"], "number"),
        (["007", "1.5"], "number"),
        (["007", "15", "x"], "text"),
        (["1", "NA", "?"], "number"),
        (["NA", ""], None),
    ],
)
def test_what_a_column_holds_is_told(cells: list[str], kind: str | None) -> None:
    assert told(*cells) == kind


@given(st.lists(st.datetimes(min_value=datetime(1, 1, 1)), min_size=1, max_size=5))
def test_dates_are_read_to_the_microsecond(moments: list[datetime]) -> None:
    values, fault = dates_of(column(*(moment.isoformat() for moment in moments)))
    assert fault is None
    # up to 2**15 days from the origin float64 are less than 0.4 microseconds apart: two roundings stay under half
    for value, moment in zip(values, moments, strict=True):
        if 1881 < moment.year < 2059:
            assert datetime.fromisoformat(date_text(value)) == moment
        assert abs(value - (moment - datetime(1970, 1, 1)) / timedelta(days=1)) < 1e-9


def test_dates_with_offsets_are_taken_to_utc() -> None:
    values, fault = dates_of(column("1970-01-01T12:00Z", "1970-01-01T12:00+12:00"))
    assert fault is None
    assert values.tolist() == [0.5, 0.0]


@pytest.mark.parametrize(
    ("cells", "row", "problem"),
    [
        (["2020-02-30"], 0, "is not a date"),
        (["2020-01-31", "31/01/2020"], 1, "is not a date"),
        (["2020-01-31", "20200131"], 1, "is not a date"),
        (["2020-01-31T10:00", "2020-01-31T10:00Z"], 1, "has an offset"),
        (["2020-01-31T10:00Z", "2020-01-31T10:00"], 1, "has no offset"),
    ],
)
def test_cells_that_are_no_dates_are_named(cells: list[str], row: int, problem: str) -> None:
    fault = dates_of(column(*cells))[1]
    assert fault is not None
    assert fault.row == row
    assert problem in fault.problem


def test_a_boolean_is_true_or_false() -> None:
    fault = booleans_of(column("true", "yes"))[1]
    assert fault is not None
    assert (fault.row, "'yes' is neither" in fault.problem) == (1, True)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_numbers_text_gives_the_number_back(value: float) -> None:
    assert float(number_text(value)) == value


def test_days_that_no_calendar_has() -> None:
    assert date_text(1e12) == "1e+12 days after 1970-01-01"
