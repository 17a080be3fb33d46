"""The lines of a worked calculation: symbol = formula = formula with the numbers = result, as text or LaTeX.

A line's two right sides come from the equation's expression, printed once with a mark in every symbol's place; the
marks are then filled in for one index after the other. So a hundred thousand lines take seconds, not minutes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from glassnet.derivations.calculation import Worked, aligned, result
from glassnet.equations import Contract, Equation, Map, Reduce, Symbol
from glassnet.expressions import (
    Expression,
    const,
    latex_number,
    significant,
    substitute,
    symbols,
    to_latex,
    to_text,
)
from glassnet.network import FloatArray

MOST_TERMS = 10_000
"""Terms up to which a sum is written out: that of a penalty runs over all weights."""

_BLOCK_LINES = 2**16


@dataclass(frozen=True)
class Line:
    """One quantity: its name, formula, the formula with the numbers put in, and its value.

    `difference_quotient` stands beside a gradient: the same derivative from two evaluations of the loss.
    """

    stage: str
    symbol: str
    formula: str
    numbers: str
    value: float
    note: str = ""
    difference_quotient: float | None = None


@dataclass(frozen=True)
class Style:
    """How lines are written: text for a terminal or a page, or LaTeX."""

    expression: Callable[..., str]
    name: Callable[[Symbol], str]
    number: Callable[[str], str]
    times: tuple[str, str]  # between names, between numbers
    call: Callable[[str, str], str]  # of a function's name and its operands
    blank: str

    @property
    def of_numbers(self) -> dict[str, str]:
        """What the printer is told where numbers are put in."""
        return {"times": self.times[1]} if self.expression is to_latex else {}


def _unbroken(text: str) -> str:
    """A number that a line of LaTeX does not break within."""
    return f"{{{latex_number(text)}}}" if "e" in text else text


TEXT = Style(to_text, str, str, (" * ", " * "), "{}({})".format, "______")
LATEX = Style(
    to_latex, Symbol.latex, latex_number, (r" \, ", r" \cdot "), r"\operatorname{{{}}}\left({}\right)".format, r"\blank"
)


def lines(worked: Worked, style: Style = TEXT, digits: int = 4, blank: bool = False) -> Iterator[Line]:
    """The lines of one equation, one for every value of the target's indices.

    A line whose rounded numbers would lead elsewhere, where they cancel say, has as many digits more as it needs. Where
    `blank`, numbers that are results of lines before are left out of the right side.

    >>> from glassnet.derivations.calculation import Numbers, calculate
    >>> from glassnet.equations import equations
    >>> from glassnet.network import Network
    >>> given = {Symbol("x"): [2.00001], Symbol("w", 1): [[0.5]], Symbol("b", 1): [-1.0]}
    >>> z, *_ = calculate(equations(Network((1, 1))).stage("forward"), Numbers(given))
    >>> print(next(lines(z)).numbers)
    -1 + 0.5 * 2.00001
    """
    needed = digits_needed(worked, digits)
    axes, shape = worked.equation.target.open_axes, worked.values.shape
    for n, line in enumerate(_written(worked, style, digits, blank)):
        place = n if not worked.at else int(np.ravel_multi_index([worked.at[axis] - 1 for axis in axes], shape))
        if needed is None or needed[place] == digits:
            yield line
        else:
            index = np.unravel_index(place, shape)
            at = {axis: int(i) + 1 for axis, i in zip(axes, index, strict=True)}
            yield from _written(replace(worked, at=at), style, int(needed[place]), blank)


def _written(worked: Worked, style: Style, digits: int, blank: bool) -> Iterator[Line]:
    match worked.equation.body:
        case Contract():
            yield from _contracted(worked, style, digits, blank)
        case Reduce(operation="max" | "argmax"):
            yield _largest(worked, style, digits, blank)
        case Reduce():
            yield _summed(worked, style, digits, blank)
        case Map(expression):
            yield from _mapped(worked, expression, style, digits, blank)


def digits_needed(worked: Worked, digits: int) -> NDArray[np.intp] | None:
    """So many digits that every line's numbers, as they are printed, lead to half of the result's digits or more.

    None where `digits` are enough throughout, as they are for products.
    """
    equation, body = worked.equation, worked.equation.body
    if digits >= 17 or (isinstance(body, Map) and _is_product(body.expression)):
        return None
    if isinstance(body, Reduce) and body.operation in ("max", "argmax"):
        return None
    needed = np.full(worked.values.size, digits)
    for more in [*range(digits, 17, 2), 17]:
        unclear = needed == more
        if not unclear.any():
            break
        shown = {
            key: _as_shown(array, more if key.kind != "raw" else max(more, 12))
            for key, array in worked.operands.items()
        }
        shortened = body if isinstance(body, Contract) else replace(body, expression=rounded(body.expression, more))
        with np.errstate(all="ignore"):
            off = np.abs(result(replace(equation, body=shortened), shown) - worked.values).ravel()
            unclear &= off > 10.0 ** (-digits / 2) * np.abs(worked.values).ravel()
        needed[unclear] = min(more + 2, 17)
    return None if (needed == digits).all() else needed


def _is_product(expression: Expression) -> bool:
    if expression.op == "mul":
        return all(_is_product(operand) for operand in expression.args)
    return expression.op in ("symbol", "const")


def _as_shown(array: FloatArray, digits: int) -> FloatArray:
    return np.array([float(significant(value, digits)) for value in array.ravel().tolist()]).reshape(array.shape)


def rounded(expression: Expression, digits: int) -> Expression:
    """The expression with its constants as they are shown."""
    if expression.op == "const" and isinstance(expression.args[0], float):
        return const(float(significant(expression.args[0], digits)))
    if expression.op in ("const", "symbol"):
        return expression
    return Expression(expression.op, tuple(rounded(operand, digits) for operand in expression.args))


# --- marks --------------------------------------------------------------------------------------------------------

_FIRST = 10**9  # an index that stands for an open one in a name


@dataclass(frozen=True)
class _Slot:
    """Where a symbol's number goes. The sign that it may have is written as `opening` and `closing` say; it has one
    where it is positive, if `when_positive` (of what is subtracted), else where it is negative."""

    key: Symbol
    opening: str
    closing: str
    when_positive: bool

    def filled(self, values: FloatArray, style: Style, digits: int, blank: bool) -> list[str]:
        """Every number as it stands in its place."""
        if blank:
            return [style.blank] * values.size
        opening, closing, when_positive, number = self.opening, self.closing, self.when_positive, style.number
        if self.key.kind == "raw":
            digits = max(digits, 12)  # a cell stands as the user has it
        return [
            opening + number(significant(abs(v), digits)) + closing
            if v and v == v and (v > 0) is when_positive
            else number(significant(abs(v), digits))
            for v in values.ravel().tolist()
        ]


def _name(key: Symbol, axes: Sequence[str], style: Style) -> str:
    """The symbol's name, with `{0}` in the place of the first of `axes`: for `str.format`."""
    if not key.open_axes:
        return _literal(style.name(key))
    text = _literal(style.name(key.bound({axis: _FIRST + n for n, axis in enumerate(axes)})))
    return re.sub(str(_FIRST)[:-1] + r"(\d)", r"{\1}", text)


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _formula(expression: Expression, axes: Sequence[str], style: Style, digits: int) -> str:
    """The expression as text, with `{0}` in the place of the first of `axes`."""
    keys = [key for key in symbols(expression) if isinstance(key, Symbol)]
    # The printers put brackets around names with these two signs, to a power.
    marks = {key: f"\0{n}\0" + "".join(sign for sign in "/^" if sign in style.name(key)) for n, key in enumerate(keys)}
    text = _literal(style.expression(expression, marks.get, number=lambda value: significant(value, digits)))
    for key, mark in marks.items():
        text = text.replace(mark, _name(key, axes, style))
    return text


def _with_slots(expression: Expression, style: Style, digits: int) -> tuple[str, list[_Slot]]:
    """The expression as text, with `{0}` in the place of the first number that is put in, and what goes there.

    It is printed with a positive number for every symbol, and with a negative one: where the two differ there is a
    sign, perhaps in brackets.
    """
    keys = [key for key in symbols(expression) if isinstance(key, Symbol)]
    power = "^" if style is LATEX else ""  # 2.5 10^-9 to a power stands in brackets
    marks = {math.ldexp(1 + n * 2.0**-40, 900): n for n in range(len(keys))}

    def number(value: float) -> str:
        n = marks.get(abs(value))
        return significant(value, digits) if n is None else ("-" if value < 0 else "") + f"\0{n}{power}\0"

    pieces = []
    for sign in (1, -1):
        put_in = substitute(expression, {keys[n]: const(sign * mark) for mark, n in marks.items()})
        pieces.append(re.split(r"\0([0-9]+)\^?\0", style.expression(put_in, number=number, **style.of_numbers)))
    positive, negative = pieces
    slots: list[_Slot] = []
    text, closing = "", ("", "")
    for n in range(0, len(positive), 2):
        plus, minus = positive[n].removeprefix(closing[0]), negative[n].removeprefix(closing[1])
        shorter = min(plus, minus, key=len)
        text += _literal(shorter)
        if n + 1 < len(positive):
            opening = max(plus, minus, key=len)[len(shorter) :]
            close = ")" if opening.startswith("(") else ""
            when_positive = len(plus) > len(minus)
            closing = (close, "") if when_positive else ("", close)
            if close and text.endswith(r"\left("):
                opening, close = "-", ""  # brackets enough
            text += f"{{{len(slots)}}}"
            slots.append(_Slot(keys[int(positive[n + 1])], opening, close, when_positive))
    return text, slots


# --- one kind of equation after the other -------------------------------------------------------------------------


def _blocks(equation: Equation, at: Mapping[str, int]) -> Iterator[dict[str, range]]:
    """The indices of the target in parts, each of some ten thousand lines, or those that are asked for alone."""
    sizes = dict(equation.ranges)
    every = {axis: range(sizes[axis]) for axis in equation.target.open_axes}
    for axis, index in at.items():
        every[axis] = range(index - 1, index)
    if not every:
        yield every
        return
    first, *others = every
    together = max(1, _BLOCK_LINES // math.prod(len(every[axis]) for axis in others))
    for start in range(0, len(every[first]), together):
        yield {**every, first: every[first][start : start + together]}


def _part(array: FloatArray, key: Symbol, ranges: Mapping[str, range]) -> FloatArray:
    return array[tuple(slice(ranges[axis].start, ranges[axis].stop) for axis in key.open_axes)]


def _spread(cells: list[str], shape: tuple[int, ...], key: Symbol, ranges: Mapping[str, range]) -> list[str]:
    """The cells of a symbol, one for every index of the target."""
    flat = np.empty(len(cells), object)
    flat[:] = cells
    axes, wanted = key.open_axes, tuple(ranges)
    whole: NDArray[np.object_] = np.broadcast_to(
        aligned(flat.reshape(shape), axes, wanted), [len(ranges[axis]) for axis in wanted]
    )
    found: list[str] = whole.ravel().tolist()
    return found


def _lines_of(
    worked: Worked, ranges: Mapping[str, range], formulas: Iterator[str], numbers: Iterator[str], style: Style
) -> Iterator[Line]:
    """Lines in the order of the indices in `ranges`, from what stands on their right sides."""
    equation, target = worked.equation, worked.equation.target
    symbol, axes = _name(target, tuple(ranges), style), tuple(ranges)
    values = _part(worked.values, target, ranges)
    quotients: Iterator[float] = repeat(math.nan)
    if worked.quotients is not None:
        quotients = iter(_part(worked.quotients, target, ranges).ravel().tolist())
    flat, stage, note = values.ravel().tolist(), equation.stage, equation.note
    parts = zip(_indices(ranges, axes), formulas, numbers, flat, quotients, strict=False)
    for index, formula, put_in, value, quotient in parts:
        beside = quotient if quotient == quotient else None
        yield Line(stage, symbol.format(*index), formula, put_in, value, note, beside)


def _indices(ranges: Mapping[str, range], axes: Sequence[str]) -> Iterator[tuple[str, ...]]:
    if not axes:
        return iter([()])
    grid = np.indices([len(ranges[axis]) for axis in axes]).reshape(len(axes), -1)
    texts = [np.array([str(n + 1) for n in ranges[axis]], object)[grid[k]].tolist() for k, axis in enumerate(axes)]
    return zip(*texts, strict=True)


def _mapped(worked: Worked, expression: Expression, style: Style, digits: int, blank: bool) -> Iterator[Line]:
    axes = worked.equation.target.open_axes
    formula = _formula(expression, axes, style, digits)
    put_in, slots = _with_slots(expression, style, digits)
    for ranges in _blocks(worked.equation, worked.at):
        columns = []
        for slot in slots:
            part = _part(worked.operands[slot.key], slot.key, ranges)
            cells = slot.filled(part, style, digits, blank and slot.key in worked.computed)
            columns.append(_spread(cells, part.shape, slot.key, ranges))
        formulas = (formula.format(*index) for index in _indices(ranges, axes))
        filled = map(put_in.format, *columns) if columns else repeat(put_in.format())
        yield from _lines_of(worked, ranges, formulas, filled, style)


def _contracted(worked: Worked, style: Style, digits: int, blank: bool) -> Iterator[Line]:
    """bias + the products of the terms over an index, in its order."""
    body, target = worked.equation.body, worked.equation.target
    assert isinstance(body, Contract)
    axes, size = target.open_axes, dict(worked.equation.ranges)[body.over]
    names = style.times[0].join(_name(term, (*axes, body.over), style) for term in body.terms)
    bias = None if body.bias is None else _name(body.bias, axes, style)
    over = [str(n + 1) for n in range(size)]

    def cells(key: Symbol, ranges: Mapping[str, range], slot: _Slot) -> list[str]:
        part = _part(worked.operands[key], key, ranges)
        return slot.filled(part, style, digits, blank and key in worked.computed)

    fixed = {
        term: cells(term, {body.over: range(size)}, _Slot(term, "(-", ")", False))
        for term in body.terms
        if term.open_axes == (body.over,)
    }
    for block in _blocks(worked.equation, worked.at):
        for index in _indices(block, axes):
            ranges = {axis: range(int(n) - 1, int(n)) for axis, n in zip(axes, index, strict=True)}
            products = [names.format(*index, n) for n in over]
            factors = [
                fixed.get(term) or cells(term, {**ranges, body.over: range(size)}, _Slot(term, "(-", ")", False))
                for term in body.terms
            ]
            filled = list(map(style.times[1].join, zip(*factors, strict=True)))
            if body.bias is not None and bias is not None:
                products.insert(0, bias.format(*index))
                filled[:0] = cells(body.bias, ranges, _Slot(body.bias, "-", "", False))
            yield from _lines_of(worked, ranges, iter([" + ".join(products)]), iter([" + ".join(filled)]), style)


def _largest(worked: Worked, style: Style, digits: int, blank: bool) -> Line:
    """max or argmax of a symbol over an index."""
    equation, body = worked.equation, worked.equation.body
    assert isinstance(body, Reduce)
    (key,) = worked.operands
    every = {axis: range(n) for axis, n in equation.ranges}
    over = tuple(every)
    name = _name(key, over, style)
    formula = style.call(body.operation, ", ".join(name.format(*index) for index in _indices(every, over)))
    slot = _Slot(key, "-", "", False)
    numbers = ", ".join(slot.filled(worked.operands[key], style, digits, blank and key in worked.computed))
    if body.operation == "argmax":
        formula = str(equation).partition(" = ")[2] if style is TEXT else formula
    return next(_lines_of(worked, {}, iter([formula]), iter([style.call(body.operation, numbers)]), style))


def _summed(worked: Worked, style: Style, digits: int, blank: bool) -> Line:
    """A sum or mean over indices, written out."""
    equation, body = worked.equation, worked.equation.body
    assert isinstance(body, Reduce)
    n_terms = math.prod(dict(equation.ranges)[axis] for axis in body.over)
    if n_terms > MOST_TERMS:
        whole = equation.latex() if style is LATEX else str(equation)
        formula = whole.partition(" = ")[2]
        note = f"{n_terms:,} terms, not written out"
        one = replace(worked, equation=replace(equation, note=note))
        return next(_lines_of(one, {}, iter([formula]), iter([formula]), style))
    open_of = {replace(key, axes=()): key for key in worked.operands}
    written = equation.scalar()
    assert isinstance(written.body, Map)
    operands, computed = {}, set()
    for key in symbols(written.body.expression):
        assert isinstance(key, Symbol)
        whole_of = open_of[replace(key, axes=())]
        pairs = zip(whole_of.axes, key.axes, strict=True)
        at = tuple(int(n) - 1 for axis, n in pairs if isinstance(axis, str) and axis != "row")
        operands[key] = np.asarray(worked.operands[whole_of][at])
        if whole_of in worked.computed:
            computed.add(key)
    one = replace(worked, equation=written, operands=operands, computed=frozenset(computed))
    return next(lines(one, style, digits, blank))
