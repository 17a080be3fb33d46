"""`LocalEquation`, the linear function that a network is around one row: what it holds, and how it is written.

`local` works it out.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from glassnet.cells import counted, date_text
from glassnet.expressions import readable, significant
from glassnet.flips import FARTHEST
from glassnet.piecewise import Affine, Floats

TOLERANCE = 0.01
"""Of a smooth network: the error of a probability (or of a number, in the target's scale) at which a range ends."""
SCAN_STEP, SCANNED = 0.1, 10.0  # in scaled units, to either side
_MOST_TERMS, _MOST_COLUMNS, _MOST_SWITCHES = 12, 40, 10  # printed; JSON has all


@dataclass(frozen=True)
class Term:
    """One term of the equation, coefficient * quantity: `name` is the quantity, `value` what it is at the row.

    `kind`: `number` (a date's are days since 1970-01-01), `bent` for a number that the encoding bends, or `switch`, 1
    or 0, of which a category gives one a level. `column`: where it comes from. `coefficients` (n_outputs,): one an
    output.
    """

    name: str
    kind: str
    column: str
    value: float
    coefficients: tuple[float, ...]


@dataclass(frozen=True)
class Range:
    """How far one column may move alone before another equation holds, in its own unit; infinite where it has no end.

    `scale`: what one scaled unit, in which distances are measured, is of the column's own.
    `flips_below`, `flips_above`: the nearest values at which the decision changes while all other columns stay; None
    where there is none within `flips.FARTHEST` scaled units or where, not `flips_known`, not all of the way was looked
    at. Dates are days since 1970-01-01.
    """

    column: str
    kind: str  # number or date
    value: float
    scale: float
    falls_to: float
    rises_to: float
    flips_below: float | None = None
    flips_above: float | None = None
    flips_known: bool = False


@dataclass(frozen=True)
class Switch:
    """What would be if one category, or one true or false, were another and all else stayed: computed anew."""

    column: str
    value: str
    to: str
    outputs: tuple[float, ...]
    prediction: str | float
    flips: bool
    same_region: bool


@dataclass(frozen=True)
class NearestFlip:
    """The nearest change of all numbers together that changes the decision; categories stay as they are.

    `lower` <= distance <= `upper`, Euclidean, each column in units of its scale; `exact` where every part of the inputs
    that could hold a nearer flip was searched. `values`: the columns that change, at the flip, in their own units;
    empty where no flip is known. `prediction`: the class there. `parts`: linear problems that were solved.
    """

    lower: float
    upper: float
    exact: bool
    values: dict[str, float]
    prediction: str | None
    parts: int


@dataclass(frozen=True)
class LocalEquation:
    """outputs = intercepts + sum of coefficients * values of `terms`.

    `outputs`: log-odds of the positive class, a logit a class, or the number itself in its unit. `logits` (n_outputs,):
    what `predict` computes at the row, in the same unit. `error`: the largest difference of the equation from them, and
    `error_bound` what rounding alone can make of it. `exact`: whether the equation is exact within the region, or the
    gradient's. `region`: for every hidden layer its units' sides. `flip` is None where `flip_said` says why.
    """

    title: str
    exact: bool
    output_names: tuple[str, ...]
    intercepts: tuple[float, ...]
    terms: tuple[Term, ...]
    logits: tuple[float, ...]
    error: float
    error_bound: float
    probabilities: tuple[float, ...]
    classes: tuple[str, ...]
    prediction: str | float
    link: str
    region: tuple[str, ...]
    pattern: tuple[tuple[int, ...], ...]
    ranges: tuple[Range, ...]
    switches: tuple[Switch, ...]
    flip: NearestFlip | None
    flip_said: str
    remarks: tuple[str, ...]
    digits: int = 4

    def evaluate(self, values: Floats) -> Floats:
        """The equation at values (n, n_terms) of its terms: outputs (n, n_outputs). See `term_values`."""
        coefficients = np.array([term.coefficients for term in self.terms]).reshape(-1, len(self.intercepts))
        return Affine(coefficients, np.array(self.intercepts)).at(np.asarray(values, dtype=np.float64))

    def __str__(self) -> str:
        return self.text()

    __repr__ = __str__

    def text(self, width: int = 100) -> str:
        """The equation, its region, the columns as a table, and the nearest flip, for a terminal."""
        return "\n".join(_written(self, width))

    def to_json(self) -> dict[str, Any]:
        """The same as plain data, every number in full; an end at infinity is None."""

        def end(value: float) -> float | None:
            return None if math.isinf(value) else value

        return {
            "title": self.title,
            "exact": self.exact,
            "outputs": [
                {
                    "name": name,
                    "intercept": self.intercepts[k],
                    "terms": [
                        {
                            "name": t.name,
                            "kind": t.kind,
                            "column": t.column,
                            "value": t.value,
                            "coefficient": t.coefficients[k],
                        }
                        for t in self.terms
                    ],
                    "value": self.logits[k],
                }
                for k, name in enumerate(self.output_names)
            ],
            "error": self.error,
            "error_bound": self.error_bound,
            "prediction": self.prediction,
            "probabilities": dict(zip(self.classes, self.probabilities, strict=True)) if self.classes else None,
            "region": list(self.region),
            "pattern": [list(layer) for layer in self.pattern],
            "ranges": [
                {key: end(part) if isinstance(part, float) else part for key, part in vars(r).items()}
                for r in self.ranges
            ],
            "range_tolerance": None if self.exact else TOLERANCE,
            "switches": [{**vars(s), "outputs": list(s.outputs)} for s in self.switches],
            "nearest_flip": None if self.flip is None else {**vars(self.flip), "upper": end(self.flip.upper)},
            "nearest_flip_said": self.flip_said,
            "remarks": list(self.remarks),
        }


# --- text ---------------------------------------------------------------------------------------------------------


def _written(local: LocalEquation, width: int) -> Iterator[str]:
    digits = local.digits

    def number(value: float) -> str:
        return significant(value, digits)

    yield local.title
    for remark in local.remarks:
        yield from textwrap.wrap(remark, width, initial_indent="  ", subsequent_indent="    ")
    yield ""
    if local.exact:
        yield "Local equation: what the network is, exactly, in the region of this row"
        for line in local.region:
            yield from textwrap.wrap(f"  {line}", width, subsequent_indent="    ")
    else:
        yield from textwrap.wrap(
            "Local approximation: the gradient at this row. The network is smooth, so this equation touches it here "
            "and errs elsewhere",
            width,
        )
    yield ""
    chosen = _shown_outputs(local)
    for k in chosen:
        yield from textwrap.wrap(_equation_text(local, k), width, initial_indent="  ", subsequent_indent="      ")
    if len(chosen) < len(local.output_names):
        yield f"  and {counted(len(local.output_names) - len(chosen), 'class')}; --json has all"
    yield ""
    for k in chosen:
        yield f"  {readable(local.output_names[k])} = {number(local.logits[k])} here{_answer(local, k)}"
    yield from textwrap.wrap(
        f"checked: the equation differs from what predict computes by {local.error:.1g}; rounding allows "
        f"{local.error_bound:.1g}",
        width,
        initial_indent="  ",
        subsequent_indent="    ",
    )
    yield ""
    yield from _table(local, chosen[0], width)
    yield from _flip_text(local, width)


def _shown_outputs(local: LocalEquation) -> list[int]:
    """The one output; of several classes the most probable and the runner-up."""
    return sorted(range(len(local.logits)), key=lambda k: -local.logits[k])[:2]


def _answer(local: LocalEquation, k: int) -> str:
    if not local.classes:
        return ""
    which = k if len(local.classes) > 2 else 1
    answer = f"P({readable(local.classes[which])}) = {significant(local.probabilities[which], local.digits)}"
    return f"; {answer}" if len(local.classes) > 2 else f"; {local.link} of it: {answer}"


def _equation_text(local: LocalEquation, k: int) -> str:
    terms = [term for term in local.terms if term.coefficients[k]]
    some = _largest(terms, k, _MOST_TERMS) if len(terms) > _MOST_COLUMNS else terms
    text = f"{readable(local.output_names[k])} = {significant(local.intercepts[k], local.digits)}"
    for term in some:
        c = term.coefficients[k]
        text += f" {'-' if c < 0 else '+'} {significant(abs(c), local.digits)} {readable(term.name)}"
    return text + (f" + {len(terms) - len(some)} more terms" if len(some) < len(terms) else "")


def _largest(terms: Sequence[Term], k: int, most: int) -> list[Term]:
    """Those that contribute most to an output, in their own order."""
    by_size = sorted(terms, key=lambda term: -abs(term.coefficients[k] * term.value))[:most]
    return [term for term in terms if term in by_size]


def _table(local: LocalEquation, k: int, width: int) -> Iterator[str]:
    """A line for every term, the largest where there are many: what it contributes, and how far its column may move."""
    digits = local.digits
    ranges = {r.column: r for r in local.ranges}
    terms = _largest(local.terms, k, _MOST_COLUMNS)
    flips_shown = any(r.flips_below is not None or r.flips_above is not None for r in local.ranges)
    heads = ["column", "value", "coefficient", "contribution", "may fall to", "may rise to"]
    heads += ["alone flips at"] if flips_shown else []
    rows = []
    for term in terms:
        r = None if term.kind == "switch" else ranges.get(term.column)
        c = term.coefficients[k]
        cells = [readable(term.name, 30), significant(term.value, digits), significant(c, digits)]
        cells.append(significant(term.value * c, digits))
        if r is None:
            cells += ["switch" if term.kind == "switch" else "missing", *[""] * (len(heads) - 5)]
        else:
            cells[1] = _in_unit(r, r.value, digits)
            cells += [_in_unit(r, r.falls_to, digits), _in_unit(r, r.rises_to, digits)]
            where = [v for v in (r.flips_below, r.flips_above) if v is not None]
            if flips_shown:
                said = " and ".join(_in_unit(r, v, digits) for v in where)
                cells.append(said or ("never" if r.flips_known else "unknown"))
        rows.append(cells)
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    for row in [heads, *rows]:
        padded = [
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  " + "  ".join(padded).rstrip()
    if len(terms) < len(local.terms):
        yield f"  and {len(local.terms) - len(terms)} more with smaller contributions; --json has all"
    if any(term.kind == "bent" for term in local.terms):
        yield from textwrap.wrap(
            "bent(x) is u / sqrt(1 + (u / 3)^2) of the scaled column u; values and ends are in the column's own unit.",
            width, initial_indent="  ", subsequent_indent="    ",
        )  # fmt: skip
    if local.exact:
        how = "Each column moves alone; at either end a unit crosses its kink, and another equation holds."
    else:
        what = f"{TOLERANCE:g} in a probability" if local.classes else f"{TOLERANCE:g} of the target's scale"
        how = (
            f"Each column moves alone; measured, in steps of {SCAN_STEP:g} scaled units up to {SCANNED:g} and "
            f"then by bisection: at either end the approximation errs by {what}. any: it does not within that."
        )
    yield from textwrap.wrap(how, width, initial_indent="  ", subsequent_indent="    ")


def _in_unit(r: Range, value: float, digits: int) -> str:
    if math.isinf(value):
        return "any"
    if r.kind == "date":
        return date_text(round(value * 1440) / 1440)[:16]  # to the minute
    return significant(value, digits)


def _flip_text(local: LocalEquation, width: int) -> Iterator[str]:
    flip, digits = local.flip, max(local.digits, 6)

    def wrapped(text: str) -> list[str]:
        return textwrap.wrap(text, width, initial_indent="  ", subsequent_indent="    ")

    yield ""
    if flip is None:
        yield from textwrap.wrap(f"Nearest flip: {local.flip_said}", width, subsequent_indent="  ")
    else:
        lower, upper = significant(flip.lower, digits), significant(flip.upper, digits)
        searched = f"{counted(flip.parts, 'linear problem')} solved"
        to = readable(flip.prediction or "")
        if flip.prediction is None and flip.lower >= FARTHEST:
            head = f"Nearest flip: none; no numbers within {lower} scaled units change the decision ({searched})"
        elif flip.prediction is None:
            head = f"Nearest flip: none found; none is nearer than {lower} scaled units ({searched})"
        elif flip.exact:
            head = f"Nearest flip, to {to}: {upper} scaled units away; exact, nothing nearer flips ({searched})"
        else:
            head = f"Nearest flip known, to {to}: {upper} scaled units away; none is nearer than {lower} ({searched})"
        yield from textwrap.wrap(head, width, subsequent_indent="  ")
        ranges = [r for r in local.ranges if r.column in flip.values]
        if ranges:
            largest = sorted(ranges, key=lambda r: -abs(flip.values[r.column] - r.value) / r.scale)[:_MOST_COLUMNS]
            name = max(len(readable(r.column, 30)) for r in largest)
            for r in [r for r in ranges if r in largest]:
                there = flip.values[r.column]
                change = float(f"{there - r.value:.{local.digits}g}")  # it ends a rounding beyond the boundary
                moved = f"{'+' if change > 0 else ''}{significant(change, local.digits)}"
                moved += " days" if r.kind == "date" else ""
                yield (
                    f"  {readable(r.column, 30):<{name}}  {_in_unit(r, r.value, local.digits)} -> "
                    f"{_in_unit(r, there, digits)}  ({moved})"
                )
            if len(largest) < len(ranges):
                yield f"  and {len(ranges) - len(largest)} more that change less; --json has all"
            bent = ", bent ones as they are bent" if any(term.kind == "bent" for term in local.terms) else ""
            yield from wrapped(
                "Numbers move together, categories stay. The distance is Euclidean, each column in units of its "
                f"scale{bent}."
            )
    flipping = [s for s in local.switches if s.flips]
    if local.switches and local.classes:
        if not flipping:
            yield from textwrap.wrap(
                f"No single switch of a category flips the decision ({counted(len(local.switches), 'choice')} tried).",
                width, subsequent_indent="  ",
            )  # fmt: skip
        else:
            yield f"A single switch that flips ({len(flipping)} of {counted(len(local.switches), 'choice')}):"
            for s in flipping[:_MOST_SWITCHES]:
                names = (readable(name, 30) for name in (s.column, s.value, s.to, str(s.prediction)))
                yield "  {}: {} -> {}, then {}".format(*names)
            if len(flipping) > _MOST_SWITCHES:
                yield f"  and {len(flipping) - _MOST_SWITCHES} more; --json has all"
