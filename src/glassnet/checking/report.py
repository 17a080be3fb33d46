"""What came of a check: plain records, and how they are said."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from glassnet.checking.problems import Problem
from glassnet.errors import UsageError
from glassnet.expressions import significant
from glassnet.reference import Trace

HINTS = ("none", "where", "name", "full")
"""How much is said: right or wrong only; where the first wrong number is; the mistake's name; everything."""


@dataclass(frozen=True)
class Compared:
    """One quantity over all cases: how many numbers were compared, how many are wrong, the largest error relative to
    the largest number of its array."""

    name: str
    layer: int | None
    compared: int
    wrong: int
    largest_error: float

    @property
    def ok(self) -> bool:
        """Whether all agree."""
        return not self.wrong


@dataclass(frozen=True)
class Wrong:
    """The first wrong number in order of computation: of `quantity` ("dW1"), by its own `name` ("dL/dw1_2_1").

    `layer`, `unit`, `source` (the unit or input that a weight comes from) count from 1, `row` from 0; None where
    there is
    none. `candidate` and `expected` are the two numbers; `note` says it where the shapes already differ. `case`: its
    sizes.
    """

    quantity: str
    name: str
    layer: int | None
    unit: int | None
    source: int | None
    row: int | None
    candidate: float
    expected: float
    equation: str
    note: str
    case: tuple[int, ...]


@dataclass(frozen=True)
class Named:
    """A mistake by name. `layer`: the only one in which it is made; `numbers`: the candidate's and the right one."""

    key: str
    name: str
    sentence: str
    equation: str
    wrong_equation: str
    layer: int | None = None
    units: tuple[int, int] | None = None
    numbers: tuple[float, float] | None = None
    shown: str = ""
    joins: str = "computed as"

    @property
    def place(self) -> str:
        """In which layer, and for which unit; nothing where it is in all."""
        of_layer = f"layer {self.layer}" if self.layer else ""
        if self.units is None:
            return of_layer
        return f"{of_layer}, {self.units[0]} {self.joins} {self.units[1]}"


@dataclass(frozen=True)
class Report:
    """Whether a candidate is right, and if not, what is wrong with it. See `glassnet.checking.protocol` for what it
    may be.

    `verdict`: "right", "wrong", or "error" where it could not be compared; then `problem` says why. `alternatives`:
    keys of
    mistakes that predict the very same numbers. `trace`: the right numbers of the case in which `first` lies.
    """

    title: str
    verdict: str
    form: str | None = None
    conventions: dict[str, str] = field(default_factory=dict)
    quantities: tuple[Compared, ...] = ()
    first: Wrong | None = None
    mistakes: tuple[Named, ...] = ()
    alternatives: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    problem: Problem | None = None
    trace: Trace | None = field(default=None, repr=False)

    @property
    def ok(self) -> bool:
        """Whether all that was compared agrees."""
        return self.verdict == "right"

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        from glassnet.checking.page import fragment

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
        from glassnet.checking.page import page

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
