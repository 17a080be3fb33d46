"""What came of a check, and how it is said."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from glassnet.checking.page import fragment, page
from glassnet.checking.records import HINTS, Compared, Found, Named, Wrong
from glassnet.errors import UsageError
from glassnet.expressions import significant

__all__ = ["HINTS", "Compared", "Named", "Report", "Wrong"]


@dataclass(frozen=True)
class Report(Found):
    """Whether a candidate is right, and if not, what is wrong with it.

    See `glassnet.checking.protocol` for what a candidate may be, and `Found` for the fields.
    """

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return fragment(self, "full")

    def text(self, hint: str = "full", width: int = 100) -> str:
        """What is said of it, as far as `hint` lets."""
        paragraphs = [self.title, *self.said(hint)]
        wrapped = [
            text if text.startswith("  ") else "\n".join(textwrap.wrap(text, width)) for text in paragraphs if text
        ]
        return "\n\n".join(wrapped)

    def said(self, hint: str = "full") -> Iterator[str]:
        """The paragraphs; those that begin with two spaces are set as they are."""
        if hint not in HINTS:
            raise UsageError(f"A hint is one of {', '.join(HINTS)}; got {hint!r}.")
        level = HINTS.index(hint)
        if self.problem is not None:
            yield "This could not be checked." if self.verdict == "error" else "WRONG."
            yield self.problem.message
            if self.problem.line:
                yield f"  line {self.problem.line}: {self.problem.source_line or ''}".rstrip()
            if self.mistakes and level >= HINTS.index("name"):
                yield "That put right, there is still this:"
                yield from self._names(level)
            return
        if self.ok:
            yield f"Right: {sum(one.compared for one in self.quantities):,} numbers agree with the reference."
            yield from self._details(level)
            return
        yield "WRONG." if level == 0 else f"WRONG. {self._where()}"
        if level == 0:
            return
        if self.first is not None and not self.first.note:
            yield (
                f"  yours         {significant(self.first.candidate, 10)}\n"
                f"  should be     {significant(self.first.expected, 10)}"
            )
        if level >= HINTS.index("name"):
            yield from self._names(level)
        yield from self._details(level)

    def _where(self) -> str:
        first = self.first
        if first is None:
            return "See below."
        of_row = "" if first.row is None else f" of row {first.row}"
        note = f": {first.note}" if first.note else ""
        case = "-".join(map(str, first.case))
        return (
            f"The first in order of computation that is off: {first.name}{of_row}, in a network of sizes {case}{note}."
        )

    def _names(self, level: int) -> Iterator[str]:
        if not self.mistakes:
            yield "It is none of the mistakes that the checker knows, nor two of them together."
        for named in self.mistakes:
            place = f" ({named.place})" if named.place else ""
            yield f"Mistake: {named.name}{place}."
            if level == HINTS.index("full"):
                yield named.sentence
                yield f"  right   {named.equation}\n  yours   {named.wrong_equation}"

    def _details(self, level: int) -> Iterator[str]:
        if level < HINTS.index("full"):
            return
        if self.quantities:
            wide = max(len(one.name) for one in self.quantities)
            yield "\n".join(
                f"  {one.name:<{wide}}  {one.compared:>5} numbers   "
                + (
                    "agree"
                    if one.ok
                    else "WRONG: of another shape"
                    if one.misshapen
                    else f"WRONG: {one.wrong}, off by {significant(one.largest_error, 2)} of the largest"
                )
                for one in self.quantities
            )
        if self.conventions:
            yield "Conventions: " + ", ".join(f"{key} {value}" for key, value in self.conventions.items()) + "."
        yield from self.evidence
        yield from self.remarks

    def html(self, hint: str = "full") -> str:
        """The same as one page that needs nothing else."""
        return page(self, hint)

    def to_json(self, hint: str = "full") -> dict[str, Any]:
        """The same as plain data, as far as `hint` lets."""
        if hint not in HINTS:
            raise UsageError(f"A hint is one of {', '.join(HINTS)}; got {hint!r}.")
        level = HINTS.index(hint)
        found: dict[str, Any] = {"ok": self.ok, "verdict": self.verdict, "title": self.title}
        found["problem"] = None if self.problem is None else asdict(self.problem)
        if level >= HINTS.index("where"):
            found["first"] = None if self.first is None else asdict(self.first)
        if level >= HINTS.index("name"):
            found["mistakes"] = [asdict(named) for named in self.mistakes]
            if level < HINTS.index("full"):
                found["mistakes"] = [{"key": n.key, "name": n.name, "layer": n.layer} for n in self.mistakes]
        if level == HINTS.index("full"):
            found |= {
                "form": self.form,
                "conventions": dict(self.conventions),
                "quantities": [{**asdict(one), "ok": one.ok} for one in self.quantities],
                "alternatives": list(self.alternatives),
                "evidence": list(self.evidence),
                "remarks": list(self.remarks),
            }
        return found
