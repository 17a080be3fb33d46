r"""Equations as MathML in which places are left for indices and numbers: for a page that computes by itself.

`equation.js` shows a line's pieces; `worked.js` fills these templates in. In their markup stand

    \x02 and a digit    the value of the target's index of that number, of the sum's index the number behind the last
    \x01 SLOT \x01      a number, told by its slot, in the element of its quantity
    \x03 ... \x04       brackets around a number, where it is below zero

None of these signs can stand in a name from outside: what is not printed is escaped before it comes here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from html import escape
from typing import Any

from glassnet.derivations import mathml
from glassnet.derivations.worked_lines import rounded
from glassnet.derivations.worked_mathml import CLOSED, OPENED, named, without_needless_brackets
from glassnet.equations import Contract, Equation, Map, Reduce, Symbol
from glassnet.expressions import Expression, call, symbol, symbols

Slots = Callable[[Symbol], str]
"""What stands for a quantity's number."""

_FIRST = 10**9  # an index that stands for an open one, until it becomes a place
_EQUALS = '<mo form="infix">=</mo>'


def template(equation: Equation, slot_of: Slots, digits: int = 4) -> dict[str, Any]:
    r"""An equation for all values of its indices, as plain data; constants have so many significant digits.

    `axes`: how far each index runs. `name`, `slot`, `target`: the target's name, number and markup; `value`: the
    number's markup. `sides`: the formula, and the formula with the numbers, each in pieces that begin with their sign.
    A sum over units has `sum` in their place: `size`, and of both `bias` and `term` the formula and the numbers.

    >>> from glassnet.equations import equations
    >>> from glassnet.network import Network
    >>> found = template(equations(Network((2, 3, 1)))["z1"], str)
    >>> found["axes"], found["sum"]["size"], found["name"]
    ([3], 2, 'z1_\x020')
    """
    sizes = dict(equation.ranges)
    axes = [axis for axis in equation.target.open_axes if axis in sizes]
    index = {axis: _FIRST + n for n, axis in enumerate(axes)}
    found: dict[str, Any] = {"stage": equation.stage, "note": equation.note, "axes": [sizes[axis] for axis in axes]}
    body = equation.body
    if isinstance(body, Contract):
        assert body.bias is not None, "what a unit sums up begins with its bias"
        index |= {body.over: _FIRST + len(axes)}
        product = call("mul", *(symbol(term.bound(index)) for term in body.terms))
        term = ("<mo>+</mo>" + text for text in map("".join, _both(product, slot_of)))
        found["sum"] = {
            "size": sizes[body.over],
            "bias": [_tidy("".join(text)) for text in _both(symbol(body.bias.bound(index)), slot_of)],
            "term": [mathml.infix(_tidy(text)) for text in term],
        }
        target = equation.target.bound(index)
    else:
        largest = isinstance(body, Reduce) and body.operation in ("max", "argmax")
        bound = equation if largest else equation.bound(index)
        target = bound.target
        found["sides"] = [
            [_EQUALS + first, *map(mathml.infix, others)]
            for first, *others in (list(map(_tidy, side)) for side in _sides(bound, sizes, slot_of, digits))
        ]
    found |= {"name": str(target), "slot": slot_of(target), "target": named(target), "value": _number(target, slot_of)}
    return _with_places(found) if axes or "sum" in found else found


def _sides(equation: Equation, sizes: dict[str, int], slot_of: Slots, digits: int) -> list[list[str]]:
    body = equation.body
    if isinstance(body, Map):
        written = rounded(body.expression, digits)
        if written.op == "symbol" or not symbols(written):
            return [mathml.pieces_of(written, named)]
        return _both(written, slot_of)
    assert isinstance(body, Reduce)
    ((axis, size),) = sizes.items()
    (key,) = (key for key in symbols(body.expression) if isinstance(key, Symbol))
    numbers = [_number(key.bound({axis: n}), slot_of) for n in range(1, size + 1)]
    numbers[0] = f"<mi>{body.operation}</mi><mo>(</mo>{numbers[0]}"
    ends = ["<mo>,</mo>"] * (size - 1) + ["<mo>)</mo>"]
    formula = mathml.of_right(equation).replace(mathml.PIECES, "")
    return [[formula], [number + end for number, end in zip(numbers, ends, strict=True)]]


def _both(expression: Expression, slot_of: Slots) -> list[list[str]]:
    """A formula, and with numbers, in pieces."""
    numbers = mathml.pieces_of(expression, lambda key: f"{OPENED}{_number(key, slot_of)}{CLOSED}")
    return [mathml.pieces_of(expression, named), numbers]


def _number(key: Symbol, slot_of: Slots) -> str:
    return f'<mrow data-name="{escape(str(key))}">\x01{slot_of(key)}\x01</mrow>'


def _tidy(piece: str) -> str:
    return without_needless_brackets(piece, "\x03", "\x04")


def _with_places(value: Any) -> Any:
    """The same with a place for every index that stood for an open one. Only a network's own quantities have any."""
    if isinstance(value, str):
        return re.sub(str(_FIRST)[:-1] + r"(\d)", "\x02\\1", value)
    if isinstance(value, list):
        return [_with_places(item) for item in value]
    if isinstance(value, dict):
        return {key: _with_places(item) for key, item in value.items()}
    return value
