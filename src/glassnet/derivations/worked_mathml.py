"""The lines of a worked calculation as MathML: the formula, and the formula with the numbers, every quantity named.

Each quantity stands in an element whose `data-name` is its name in text, `w1_2_1`, so that a page can light up the same
quantity elsewhere. A number's `title` is the number in full.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from html import escape

import numpy as np

from glassnet.derivations import mathml
from glassnet.derivations.calculation import Worked
from glassnet.derivations.worked_lines import MOST_TERMS, digits_needed, rounded
from glassnet.equations import Equation, Map, Reduce, Symbol
from glassnet.expressions import Expression, significant, symbols


@dataclass(frozen=True)
class MarkedLine:
    """One quantity: its name, and its formula, the formula with the numbers and its value, each term in a `<math>`.

    `pieces` are the insides of these, between which a long line may be broken.
    """

    stage: str
    symbol: str
    pieces: tuple[str, ...]
    value: float
    note: str = ""


def marked_lines(worked: Worked, digits: int = 4) -> Iterator[MarkedLine]:
    """The lines of one equation, one for every value of the target's indices, with so many significant digits.

    >>> from glassnet.derivations.calculation import Numbers, calculate
    >>> from glassnet.equations import equations
    >>> from glassnet.network import Network
    >>> given = {Symbol("x"): [2.0], Symbol("w", 1): [[0.5]], Symbol("b", 1): [-1.0]}
    >>> z, *_ = calculate(equations(Network((1, 1))).stage("forward"), Numbers(given))
    >>> line = next(marked_lines(z))
    >>> line.symbol, line.value, 'data-name="w1_1_1"' in line.pieces[2]
    ('z1_1', 0.0, True)
    """
    equation, shape = worked.equation, worked.values.shape
    axes = equation.target.open_axes
    needed = digits_needed(worked, digits)
    for index in [dict(worked.at)] if worked.at else equation.indices():
        at = tuple(index[axis] - 1 for axis in axes)
        place = int(np.ravel_multi_index(at, shape)) if at else 0
        enough = digits if needed is None else int(needed[place])
        value = float(worked.values[at])
        yield _line(equation.bound(index), worked, value, digits, enough)


def _line(equation: Equation, worked: Worked, value: float, digits: int, enough: int) -> MarkedLine:
    """A line of the scalar equation `equation`, whose numbers are those of `worked`."""
    sides = []
    body = equation.body
    if isinstance(body, Map) and len(body.expression.args) <= MOST_TERMS:
        written = rounded(body.expression, enough)
        numbers = _numbers_of(written, worked.operands)
        sides.append(mathml.pieces_of(written, named))
        if numbers and not (written.op == "symbol" and enough == digits):
            put_in = mathml.pieces_of(written, lambda key: _number(numbers[key], enough, key, in_formula=True))
            sides.append(list(map(without_needless_brackets, put_in)))
    elif isinstance(body, Reduce):
        (key,) = (key for key in symbols(body.expression) if isinstance(key, Symbol))
        sides.append([mathml.of_right(equation).replace(mathml.PIECES, "")])
        shown = [_number(v, enough, key) for v in np.ravel(worked.operands[key]).tolist()]
        sides.append([f"<mi>{body.operation}</mi><mo>(</mo>{'<mo>,</mo>'.join(shown)}<mo>)</mo>"])
    sides.append([_number(value, digits, equation.target)])
    pieces = [named(equation.target)]
    for first, *others in sides:
        pieces += [f'<mo form="infix">=</mo>{first}', *map(mathml.infix, others)]
    return MarkedLine(equation.stage, str(equation.target), tuple(pieces), value, equation.note)


def _numbers_of(expression: Expression, operands: Mapping[Symbol, np.ndarray]) -> dict[Symbol, float]:
    """The number of every symbol of a scalar expression."""
    whole = {replace(key, axes=()): key for key in operands}
    found = {}
    for key in symbols(expression):
        assert isinstance(key, Symbol)
        of = whole[replace(key, axes=())]
        pairs = zip(of.axes, key.axes, strict=True)
        at = tuple(int(n) - 1 for axis, n in pairs if isinstance(axis, str) and axis != "row")
        found[key] = float(operands[of][at])
    return found


def named(key: Symbol) -> str:
    """One quantity, in an element that bears its name."""
    return f'<mrow data-name="{escape(str(key))}">{mathml.of_symbol(key)}</mrow>'


OPENED, CLOSED = "<mo >(</mo>", "<mo >)</mo>"
"""Brackets around a number below zero, which are told from all others by the blank."""
_AFTER_A_SIGN = re.compile(r"(<mo[^>]*>[+−⋅]</mo>|<msup>)(<m(row|frac)[^>]*>)*$")


def without_needless_brackets(markup: str, left: str = "<mo>(</mo>", right: str = "<mo>)</mo>") -> str:
    """Only a number that follows a sign, or is raised to a power, keeps its brackets, written as `left` and `right`."""
    kept = ""
    while OPENED in markup:
        before, _, rest = markup.partition(OPENED)
        inner, _, markup = rest.partition(CLOSED)
        kept += before
        kept += f"{left}{inner}{right}" if _AFTER_A_SIGN.search(kept) else inner
    return kept + markup


def _number(value: float, digits: int, key: Symbol, *, in_formula: bool = False) -> str:
    """A number; one below zero stands in brackets where it follows a sign."""
    as_it_is = key.kind == "raw" and in_formula  # a cell stands as the user has it
    text = significant(abs(value), max(digits, 12) if as_it_is else digits)
    mantissa, e, exponent = text.partition("e")
    written = f"<mn>{mantissa}</mn>"
    if e:
        written += f"<mo>⋅</mo><msup><mn>10</mn><mn>{int(exponent)}</mn></msup>"
    if value < 0:
        written = f"<mo>−</mo>{written}"
        if in_formula:
            written = f"{OPENED}{written}{CLOSED}"
    full = repr(value) if math.isfinite(value) else str(value)
    return f'<mrow data-name="{escape(str(key))}" title="{full}">{written}</mrow>'
