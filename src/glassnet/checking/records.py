"""What a check finds, as plain records: `report` says them in words, `page` shows them."""

from __future__ import annotations

from dataclasses import dataclass, field

from glassnet.checking.problems import Problem
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

    @property
    def misshapen(self) -> bool:
        """Whether it is wrong by its shape alone."""
        return self.wrong > 0 and not self.largest_error


@dataclass(frozen=True)
class Wrong:
    """The first wrong number in order of computation: of `quantity` ("dW1"), by its own `name` ("dL/dw1_2_1").

    `layer`, `unit`, `source` (the unit or input that a weight comes from) count from 1, `row` from 0; None where there
    is none. `candidate` and `expected` are the two numbers; `note` says it where the shapes already differ. `case`: its
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
    """A mistake by name. `layer`, `unit`: the only one in which it is made; `numbers`: the candidate's and the right
    one."""

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
    unit: int | None = None

    @property
    def place(self) -> str:
        """In which layer, and for which unit; nothing where it is in all."""
        of_layer = f"layer {self.layer}" if self.layer else ""
        if self.unit is not None:
            return f"{of_layer}, unit {self.unit}"
        if self.units is None:
            return of_layer
        return f"{of_layer}, {self.units[0]} {self.joins} {self.units[1]}"


@dataclass(frozen=True)
class Found:
    """What a report holds.

    `verdict`: "right", "wrong", or "error" where it could not be compared; then `problem` says why. `alternatives`:
    keys of mistakes that predict the very same numbers. `trace`: the right numbers of the case in which `first` lies.
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
