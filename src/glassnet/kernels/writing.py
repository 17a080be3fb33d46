"""What the writers of kernels share: expressions as lines of Python, and the little arithmetic of places in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from glassnet.expressions import Expression, call, const, parse, to_text
from glassnet.network import Network

HEADER = """\
from math import inf

from glassnet.kernels.lanes import (
    absolute as abs, either, fetch, filled, keep_larger, keep_largest, largest, load, maximum as max, minimum as min,
    over_root, select, shifted, sign, sqrt, store, total, totals,
)
from glassnet.kernels.mathematics import erf, erfc, exp, exp_of_size, expm1, log, log1p, sigmoid, softplus, tanh
"""


def text(expression: Expression, name: Callable[[Any], str] = str) -> str:
    """An expression as Python, for lanes: as `expressions.to_text` prints it, with what costs less for some parts.

    Squares and cubes are multiplied out, for lanes know no other power; to divide by a number is to multiply by 1 over
    it, which is cheaper; exp(-|x|) and x / (sqrt(v) + e) have functions of their own.

    >>> from glassnet.expressions import parse
    >>> text(parse("(o - y)**2 / 4")), text(parse("w - rate * m / (sqrt(v) + epsilon)"))
    ('(o - y) * (o - y) * 0.25', 'w - over_root(rate * m, v, epsilon)')
    """
    return to_text(_for_lanes(expression), name)


def _for_lanes(expression: Expression) -> Expression:
    if expression.op in ("const", "symbol"):
        return expression
    operands = [_for_lanes(operand) for operand in expression.args]
    if expression.op == "exp" and operands[0].op == "neg" and operands[0].args[0].op == "abs":
        return Expression("exp_of_size", operands[0].args[0].args)
    if expression.op == "div" and operands[1].op == "const" != operands[0].op and operands[1].args[0]:
        return call("mul", operands[0], const(1 / operands[1].args[0]))
    if expression.op == "div" and operands[1].op == "add" and operands[1].args[0].op == "sqrt":
        root, epsilon = operands[1].args
        return Expression("over_root", (operands[0], *root.args, epsilon))
    if expression.op == "pow" and operands[1] in (const(2), const(3)):
        return call("mul", *([operands[0]] * operands[1].args[0]))
    if expression.op == "pow":
        return call("exp", call("mul", operands[1], call("log", operands[0])))
    return call(expression.op, *operands)


def indented(lines: Iterable[str]) -> Iterator[str]:
    """Each line four spaces further in."""
    return ("    " + line if line else "" for line in lines)


def plus(*terms: int | str) -> str:
    """A sum as text; the numbers among its terms are added up, and a 0 is left out.

    >>> plus("row", 3, 4), plus("i", 0)
    ('row + 7', 'i')
    """
    number = sum(term for term in terms if isinstance(term, int))
    texts = [term for term in terms if isinstance(term, str)]
    return " + ".join([*texts, *([str(number)] if number or not texts else [])])


def times(term: str, factor: int) -> str:
    """A product as text.

    >>> times("row + 1", 8), times("row", 1)
    ('(row + 1) * 8', 'row')
    """
    if factor == 1:
        return term
    return f"({term}) * {factor}" if " " in term else f"{term} * {factor}"


def watched_outputs(network: Network, outputs: list[str]) -> list[str]:
    """What is watched of the logits, in the names `outputs`: the largest value over the rows tells whether all rows
    get one class.

    Of one output (sigmoid) the logit and its negative; of classes how far each is below the row's largest.

    >>> watched_outputs(Network((2, 1)), ["o"])
    ['o', '-o']
    """
    link = network.loss_row.link
    if link == "softmax":
        return [f"m - {o}" for o in outputs]
    if link == "sigmoid" and network.n_outputs == 1:
        return [outputs[0], f"-{outputs[0]}"]
    return []


def is_relu(network: Network, layer: int) -> bool:
    """Whether a layer's activation is max(z, 0), which is above 0 where z is: then the way back can do without z.

    >>> is_relu(Network((2, 3, 1), "relu"), 1), is_relu(Network((2, 3, 1), "leaky_relu"), 1)
    (True, False)
    """
    return network.activation_row(layer).value == parse("max(z, 0)")


def product(factors: Sequence[Expression]) -> Expression:
    """A product of factors; one that is 1 or 0 picks the others or 0, which costs less than to multiply with it.

    >>> from glassnet.expressions import parse
    >>> text(product([parse("arriving"), parse("select(z > 0, 1, 0)")]))
    'select(z > 0, arriving, 0)'
    """
    *others, last = factors
    if others and last.op == "select" and last.args[1:] == (const(1), const(0)):
        return call("select", last.args[0], call("mul", *others), const(0))
    return call("mul", *factors)
