"""What came of a verification: records, and how they are printed."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from glassnet.expressions import significant


@dataclass(frozen=True)
class Comparison:
    """Two ways held against each other.

    `compared` numbers were judged; `not_judged` were not: at a kink, infinite, or not known to two digits. The
    `largest_error`, |u - v| / max(1, |u|, |v|), is that of quantity `at` in row `row`, or of all rows together where
    that is None. `largest_share`: how much of what it may be an error is at most; above 1 it is `wrong`, so many are.
    """

    first: str
    second: str
    compared: int
    not_judged: int
    largest_error: float
    at: str
    row: int | None
    largest_share: float
    wrong: int


@dataclass(frozen=True)
class Wrong:
    """The first quantity, in order of computation, on which two ways do not agree: what each of them says of it."""

    quantity: str
    row: int | None
    equation: str
    note: str
    values: dict[str, float]


@dataclass(frozen=True)
class Verification:
    """Every pair of ways, and what is wrong, if anything is; `title`: of what; `remarks`: what was and was not done."""

    title: str
    comparisons: tuple[Comparison, ...]
    first_wrong: Wrong | None
    remarks: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether all agree."""
        return self.first_wrong is None

    def __str__(self) -> str:
        return self.text()

    __repr__ = __str__

    def text(self, width: int = 100) -> str:
        """A table of the pairs, what was done, and the verdict."""
        lines = [*textwrap.wrap(self.title, width), ""]
        pairs = [f"{pair.first} - {pair.second}" for pair in self.comparisons]
        wide = max(map(len, [*pairs, "held against each other"]))
        lines.append(f"{'held against each other':<{wide}}{'numbers':>11}{'largest error':>15}  where")
        for name, pair in zip(pairs, self.comparisons, strict=True):
            row = "" if pair.row is None else f", row {pair.row}"
            where = f"{pair.at}{row}" if pair.largest_error else ("nowhere" if pair.compared else "nothing to compare")
            wrong = f"   WRONG: {pair.wrong:,}" if pair.wrong else ""
            lines.append(f"{name:<{wide}}{pair.compared:>11,}{significant(pair.largest_error, 2):>15}  {where}{wrong}")
        for remark in self.remarks:
            lines += ["", *textwrap.wrap(remark, width)]
        return "\n".join([*lines, "", *self._verdict(width)])

    def _verdict(self, width: int) -> Iterator[str]:
        wrong = self.first_wrong
        if wrong is None:
            all_of_them = "All" if not any(pair.not_judged for pair in self.comparisons) else "All that were judged"
            said = f"{all_of_them} agree, as closely as rounding and the differences' own errors let them."
            yield from textwrap.wrap(said, width)
            return
        of_row = "" if wrong.row is None else f" of row {wrong.row}"
        yield from textwrap.wrap(f"WRONG. The first in order of computation: {wrong.quantity}{of_row}.", width)
        if wrong.equation:
            yield from textwrap.wrap(wrong.equation, width, initial_indent="  ", subsequent_indent="      ")
        if wrong.note:
            yield f"  [{wrong.note}]"
        wide = max(map(len, wrong.values))
        yield from (f"  {name:<{wide}}  {significant(value, 17)}" for name, value in wrong.values.items())

    def to_json(self) -> dict[str, Any]:
        """The same as plain data: `ok`, `title`, `comparisons`, `first_wrong` (or None), `remarks`."""
        return {
            "ok": self.ok,
            "title": self.title,
            "comparisons": [asdict(pair) for pair in self.comparisons],
            "first_wrong": None if self.first_wrong is None else asdict(self.first_wrong),
            "remarks": list(self.remarks),
        }
