"""The lines of a worked calculation as MathML: the formula, and the formula with the numbers, every quantity named.

Each quantity stands in an element whose `data-name` is its name in text, `w1_2_1`, so that a page can light up the same
quantity elsewhere. A number's `title` is the number in full.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from html import escape

import numpy as np

from glassnet.derivations import mathml
from glassnet.derivations.calculation import Worked
from glassnet.derivations.worked_lines import MOST_TERMS, digits_needed
from glassnet.equations import Equation, Map, Reduce, Symbol
from glassnet.expressions import Expression, significant, symbols


@dataclass(frozen=True)
class MarkedLine:
    """One quantity: its name, and its formula, the formula with the numbers and its value as the inside of `<math>`."""

    stage: str
    symbol: str
    markup: str
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
    >>> line.symbol, line.value, 'data-name="w1_1_1"' in line.markup
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
    parts = [_named(equation.target)]
    body = equation.body
    written = body.expression if isinstance(body, Map) and _size(body.expression) <= MOST_TERMS else None
    if written is not None:
        numbers = _numbers_of(written, worked.operands)
        parts.append(mathml.of_expression(written, _named))
        put_in = mathml.of_expression(written, lambda key: _number(numbers[key], enough, key, in_formula=True))
        # Nothing stands before the first number, so that its sign needs no brackets.
        first = _number(numbers[next(iter(numbers))], enough, next(iter(numbers)), in_formula=True) if numbers else None
        if first is not None and put_in.startswith(first):
            key = next(iter(numbers))
            put_in = _number(numbers[key], enough, key) + put_in.removeprefix(first)
        if numbers and not (written.op == "symbol" and enough == digits):
            parts.append(put_in)
    elif isinstance(body, Reduce):
        (key,) = (key for key in symbols(body.expression) if isinstance(key, Symbol))
        parts.append(mathml.of_right(replace(equation, body=body)).replace(mathml.PIECES, ""))
        shown = (f"<mn>{escape(significant(v, enough))}</mn>" for v in np.ravel(worked.operands[key]).tolist())
        parts.append(f"<mi>{body.operation}</mi><mo>(</mo>{'<mo>,</mo>'.join(shown)}<mo>)</mo>")
    parts.append(_number(value, digits, equation.target))
    return MarkedLine(equation.stage, str(equation.target), "<mo>=</mo>".join(parts), value, equation.note)


def _size(expression: Expression) -> int:
    return len(expression.args)


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


def _named(key: Symbol) -> str:
    return f'<mrow data-name="{escape(str(key))}">{mathml.of_symbol(key)}</mrow>'


def _number(value: float, digits: int, key: Symbol, *, in_formula: bool = False) -> str:
    """A number; one below zero stands in brackets where it follows a sign."""
    text = significant(abs(value), max(digits, 12) if key.kind == "raw" else digits)
    mantissa, e, exponent = text.partition("e")
    written = f"<mn>{mantissa}</mn>"
    if e:
        written += f"<mo>⋅</mo><msup><mn>10</mn><mn>{int(exponent)}</mn></msup>"
    if value < 0:
        written = f"<mo>−</mo>{written}"
        if in_formula:
            written = f"<mo>(</mo>{written}<mo>)</mo>"
    full = repr(value) if math.isfinite(value) else str(value)
    return f'<mrow data-name="{escape(str(key))}" title="{full}">{written}</mrow>'
