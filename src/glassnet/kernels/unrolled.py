"""The unrolled kernel: one line per unit, rows side by side in the lanes, one stage after the other.

A block of rows goes forward to the logits, then from there to the deltas of the outputs, then back; what a later stage
reads is left in `work`. If each row went all the way by itself, the processor would wait: it looks some hundred
instructions ahead, and those of one row are all behind the quotient in its sigmoid. Of a stage there are so few that
the next rows are among them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from glassnet.equations import Equation, Equations, Map, Reduce
from glassnet.expressions import Expression, call, const, parse, symbol, symbols
from glassnet.kernels.writing import indented, is_relu, plus, product, text, watched_outputs
from glassnet.network import Network

# Vectors of rows in a block, and at most so many of all that is left of them: 16 KB, which stay in the nearest cache.
# 64 vectors of every quantity would lie 4096 bytes apart, where a store to one holds up the loads of all others.
_MOST_VECTORS, _MOST_LEFT = 32, 256
# Parameters that find registers together with the sums of their gradient.
_FEW = 12


@dataclass(frozen=True)
class _Line:
    """A line of the kernel: a variable, and what it is set to."""

    name: str
    expression: Expression
    note: str = ""

    def __str__(self) -> str:
        return f"{self.name} = {text(self.expression, _variable)}{self.note}"

    @cached_property
    def reads(self) -> set[str]:
        """The variables that it reads."""
        return set(map(_variable, symbols(self.expression)))


_Stage = list[_Line]


@dataclass(frozen=True)
class _Watched:
    """A vector for what is watched over all rows: what it begins with, a row's line, and what it has found."""

    begin: str
    line: _Line
    found: str


class Unrolled:
    """The kernel of a network whose equations are `every`, for vectors of `lanes` numbers."""

    def __init__(self, network: Network, every: Equations, lanes: int) -> None:
        self.network, self.every, self.lanes = network, every, lanes
        self.with_dropout = any(equation.target.kind == "h" for equation in every)
        letter = "h" if self.with_dropout else "a"
        # What every hidden unit puts out, before dropout: 0 on all rows where it is dead.
        self.hidden = [
            f"{letter}{layer}_{j}" for layer in range(1, network.n_layers) for j in range(1, network.sizes[layer] + 1)
        ]
        self.logits = [str(line.target) for line in every["o"].scalars()]
        self.watched = list(self._watched())
        self.given = list(self._given())
        self.forward, self.from_logits, self.backward = self._stages()
        self.with_product = _with_product(self.from_logits, self.every)
        self.left = self._left()
        vectors = _MOST_VECTORS
        while vectors * len(self.left) > _MOST_LEFT:
            vectors //= 2
        self.rows = vectors * lanes  # of a block
        self.size = len(self.left) * self.rows
        """The numbers that `work` has room for."""

    def lines(self) -> Iterator[str]:
        """The body of the kernel, line by line."""
        yield '"""Rows stand side by side: row r of input i is number i * stride + r of `table`."""'
        names = self.network.parameter_names()
        for number, name in enumerate(names):
            yield f"{name} = parameters[{number}]"
        sums = [*(f"dL_d{name}" for name in names), "L"]
        for start in range(0, len(sums), 8):
            yield " = ".join(sums[start : start + 8]) + " = filled(parameters, 0)"
        for seen in self.watched:
            yield f"{seen.line.name} = filled(parameters, {seen.begin})"
        yield f"for first in range(0, n, {self.rows}):"
        yield f"    last = first + {self.rows} if first + {self.rows} < n else n"
        yield from indented(self._block())
        yield "# over all lanes"
        weighed = ""
        if self.with_product is not None:
            yield "weight = weights[0] if alike else 1"
            weighed = "weight * "
        for first, some in self._together(sums[:-1]):
            yield f"store(gradient, {first}, load(gradient, {first}) + {weighed}totals({some}))"
        for first, some in self._together([seen.found for seen in self.watched]):
            yield f"keep_larger(seen, {first}, largest({some}))"
        yield f"return {weighed}total(L)"

    def _together(self, many: list[str]) -> Iterator[tuple[int, str]]:
        """As many at a time as there are lanes, with the number of the first."""
        return ((first, ", ".join(many[first : first + self.lanes])) for first in range(0, len(many), self.lanes))

    def _block(self) -> Iterator[str]:
        """Every stage, over a loop of `lanes` rows at a time: rows row, row + 1, ..., one in a lane."""
        if self.forward:
            yield "# forward"
        for stage in self.forward:
            yield from self._loop(stage)
        yield "# loss, and back to the outputs; every delta carries its row's weight"
        if self.with_product is None:
            yield from self._loop(self.from_logits)
        else:
            # A sum of logarithms is the logarithm of a product, and takes one where every row would take its own.
            yield "if alike:  # all rows of the batch weigh the same: as if they weighed 1, until the end"
            yield "    product = filled(parameters, 1)"
            yield from indented(self._loop(self.with_product))
            yield "    L = L + log(product)"
            yield "else:"
            yield from indented(self._loop(self.from_logits))
        if self.backward:
            yield "if derivatives:  # backward"
            yield from indented(self._loop(self.backward))

    def _loop(self, stage: _Stage) -> Iterator[str]:
        """A stage of a block. What it reads is loaded before, and what others read of it is stored behind it."""
        sets = {line.name for line in stage}
        reads = {name for line in stage for name in line.reads}
        yield f"for row in range(first, last, {self.lanes}):"
        for name, place in self.given:
            if name in reads:
                yield f"    {name} = load({place})"
        places = {name: plus("row - first", number * self.rows) for number, name in enumerate(self.left)}
        for name, place in places.items():
            if name in reads - sets:
                yield f"    {name} = load(work, {place})"
        yield from (f"    {line}" for line in stage)
        for name, place in places.items():
            if name in sets:
                yield f"    store(work, {place}, {name})"

    def _given(self) -> Iterator[tuple[str, str]]:
        """What is given for every row, and the place that it is loaded from."""
        many = {
            "table": [f"x{i + 1}" for i in range(self.network.n_features)],
            "targets": [name.replace("o", "y") for name in self.logits],
            "weights": ["u"],
            "masks": [name.replace("h", "mask") for name in self.hidden] if self.with_dropout else [],
        }
        for array, names in many.items():
            for number, name in enumerate(names):
                yield name, f"{array}, row + {number} * stride" if number else f"{array}, row"

    def _watched(self) -> Iterator[_Watched]:
        """Of hidden units, then of outputs."""
        for number, unit in enumerate(self.hidden):
            line = _Line(f"seen{number}", Expression("either", (symbol(f"seen{number}"), symbol(unit))))
            yield _Watched("0", line, f"select(seen{number} != 0, 1, 0)")
        outputs = map(parse, watched_outputs(self.network, self.logits))
        for number, output in enumerate(outputs, start=len(self.hidden)):
            name = f"seen{number}"
            if output.op == "neg":  # its largest is the smallest without the sign
                yield _Watched("inf", _Line(name, call("min", symbol(name), output.args[0])), f"-{name}")
            else:
                yield _Watched("-inf", _Line(name, call("max", symbol(name), output)), name)

    def _stages(self) -> tuple[list[_Stage], _Stage, _Stage]:
        """The lines forward to the logits, from there to the deltas of the outputs, and back from there.

        On the way forward what reads a quotient, say, begins another stage. A derivative that has one shares it with
        its activation, and is left there for the way back.
        """
        forward: list[_Stage] = [[]]
        from_logits: _Stage = []
        backward: _Stage = []
        stage, waited_for = forward[0], set[str]()
        for equation in self.every:
            target = equation.target
            if target.kind == "dloss" and target.of in ("w", "b"):
                continue  # of one row; the sums over rows are made without it
            lines = [_line(self.network, line) for line in equation.scalars()]
            if stage is forward[-1]:
                if any(line.reads & waited_for for line in lines):
                    stage, waited_for = [], set()
                    forward.append(stage)
                waited_for |= {line.name for line in lines if _takes_long(line.expression)}
            elif stage is backward and target.kind == "delta":
                assert target.layer is not None
                if is_relu(self.network, target.layer) and not self.with_dropout:
                    lines = [_by_value(line) for line in lines]
                lines = [_with_slope(line, forward) for line in lines]
            stage += lines
            if target.kind == "o":
                stage = from_logits
            elif target.kind == "delta" and target.layer == self.network.n_layers:
                stage = backward
        for name, seen in zip(self.hidden, self.watched, strict=False):
            _stage_with(name, forward).append(seen.line)
        from_logits += [seen.line for seen in self.watched[len(self.hidden) :]]
        every = [line for stage in (*forward, from_logits, backward) for line in stage]
        if self.network.n_parameters <= _FEW and not any(_takes_long(line.expression) for line in every):
            return [], every, []  # nothing is waited for, and all of it is in registers
        return forward, from_logits, backward

    def _left(self) -> list[str]:
        """What one stage sets and a later one reads."""
        stages = [*self.forward, self.from_logits, self.backward]
        left: list[str] = []
        for number, stage in enumerate(stages, start=1):
            later = {name for after in stages[number:] for line in after for name in line.reads}
            left += [line.name for line in stage if line.name in later]
        return left


_LONG = frozenset({"div", "pow", "sqrt", "exp", "expm1", "log", "log1p", "tanh", "sigmoid", "softplus", "erf", "erfc"})


def _takes_long(expression: Expression) -> bool:
    """Whether it is more than a few instructions, of which each waits for the one before; no constant is."""
    if not symbols(expression) or expression.op == "symbol":
        return False
    # `writing.text` makes products of these.
    is_quotient = expression.op == "div" and expression.args[1].op == "const"
    is_power = expression.op == "pow" and expression.args[1] in (const(2), const(3))
    takes_long = expression.op in _LONG and not is_quotient and not is_power
    return takes_long or any(map(_takes_long, expression.args))


def _stage_with(name: str, stages: list[_Stage]) -> _Stage:
    """The stage that sets a variable."""
    return next(stage for stage in stages if any(line.name == name for line in stage))


def _by_value(line: _Line) -> _Line:
    """The delta of a relu, told by a in place of z: a is left for the gradients anyway."""
    z = line.name.replace("delta", "z")

    def told(part: Expression) -> Expression:
        if part.op == "symbol":
            return symbol(z.replace("z", "a")) if _variable(part.args[0]) == z else part
        return part if part.op == "const" else Expression(part.op, tuple(map(told, part.args)))

    return replace(line, expression=told(line.expression))


def _with_slope(line: _Line, forward: list[_Stage]) -> _Line:
    """A delta as it was; where its derivative takes long, as a product with a slope that the way forward leaves."""
    arriving, *others = _factors(line.expression)
    if not any(map(_takes_long, others)):
        return line
    slope = _Line(line.name.replace("delta", "slope"), call("mul", *others))
    _stage_with(line.name.replace("delta", "z"), forward).append(slope)
    return _Line(line.name, call("mul", arriving, symbol(slope.name)))


def _with_product(stage: _Stage, every: Equations) -> _Stage | None:
    """The stage with a loss that lacks its logarithm, whose argument is multiplied into `product`.

    None where a row's loss is no sum of something and log(factor), with a factor from 1 to 2: as many of these as a
    block has vectors have a product that either dtype holds.
    """
    body = every["loss"].body
    assert isinstance(body, Map | Reduce)
    loss = body.expression
    if not isinstance(body, Map) or loss.op != "add":
        return None
    *others, last = loss.args
    if last.op != "log1p" or last.args[0].op != "exp" or not _is_size_negated(last.args[0].args[0]):
        return None
    factor = call("select", parse("u > 0"), call("add", const(1), last.args[0]), const(1))
    split = [
        _Line("loss", call("add", *others), "  # without the logarithm of"),
        _Line("product", call("mul", symbol("product"), factor)),
    ]
    return [new for line in stage for new in (split if line.name == "loss" else [_unweighed(line)])]


def _unweighed(line: _Line) -> _Line:
    """A line with 1 for the row's weight, or 0 where that is 0, as it is of what only fills a vector up."""
    if "u" not in line.reads:
        return line
    before, weighed = line.expression.args if line.expression.op == "add" else (None, line.expression)
    factors = [factor for factor in _factors(weighed) if factor != symbol("u")]
    chosen = call("select", parse("u > 0"), product(factors), const(0))
    return replace(line, expression=chosen if before is None else call("add", before, chosen))


def _is_size_negated(expression: Expression) -> bool:
    return expression.op == "neg" and expression.args[0].op == "abs"


def _line(network: Network, equation: Equation) -> _Line:
    """One scalar equation as one line of Python."""
    target = equation.target
    assert isinstance(equation.body, Map | Reduce)
    expression = equation.body.expression
    if isinstance(equation.body, Reduce):
        # A sum over rows, which is divided by the sum of their weights outside.
        factors = [factor for factor in _factors(expression) if str(factor) != "share"]
        if target.kind == "L":
            factors.insert(0, symbol("u"))
        expression = call("add", symbol(target), call("mul", *factors))
    elif target.kind == "delta":
        factors = list(_factors(expression))
        if target.layer == network.n_layers:
            factors.insert(0, symbol("u"))
        expression = product(factors)
    return _Line(_variable(target), expression)


def _variable(key: Any) -> str:
    """A symbol as the name of a variable: dL/dw1_1_2 is dL_dw1_1_2."""
    return str(key).replace("/", "_")


def _factors(expression: Expression) -> tuple[Expression, ...]:
    return expression.args if expression.op == "mul" else (expression,)
