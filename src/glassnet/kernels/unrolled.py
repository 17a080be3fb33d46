"""The unrolled kernel: one line per unit, all quantities of a row in registers, rows side by side in the lanes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from glassnet.equations import Equation, Equations, Map, Reduce
from glassnet.expressions import Expression, call, const, symbol
from glassnet.kernels.writing import indented, product, text, watched_outputs
from glassnet.network import Network


def lines(network: Network, every: Equations, lanes: int) -> Iterator[str]:
    """The body of the kernel, line by line: every scalar equation, over a loop of `lanes` rows at a time."""
    yield '"""Rows stand side by side: row r of input i is number i * stride + r of `table`."""'
    names = network.parameter_names()
    for number, name in enumerate(names):
        yield f"{name} = parameters[{number}]"
    sums = [*(f"dL_d{name}" for name in names), "L"]
    hidden = _hidden(network, every)
    outputs = watched_outputs(network, [str(line.target) for line in every["o"].scalars()])
    for start in range(0, len(sums), 8):
        yield " = ".join(sums[start : start + 8]) + " = filled(parameters, 0)"
    for number in range(len(hidden) + len(outputs)):
        yield f"seen{number} = filled(parameters, {'0' if number < len(hidden) else '-inf'})"
    rest, factor = _loss_and_factor(every)
    if factor is None:
        yield f"for row in range(0, n, {lanes}):"
        yield from indented(_row(network, every, hidden, outputs))
    else:
        # A sum of logarithms is the logarithm of a product, and takes one logarithm where every row would take its own.
        yield "if alike:  # all rows of the batch weigh the same"
        yield f"    for first in range(0, n, {_ROWS_OF_A_PRODUCT * lanes}):"
        yield "        product = filled(parameters, 1)"
        yield f"        last = first + {_ROWS_OF_A_PRODUCT * lanes} if first + {_ROWS_OF_A_PRODUCT * lanes} < n else n"
        yield f"        for row in range(first, last, {lanes}):"
        yield from indented(indented(indented(_row(network, every, hidden, outputs, (rest, factor)))))
        yield "        L = L + weights[0] * log(product)"
        yield "else:"
        yield f"    for row in range(0, n, {lanes}):"
        yield from indented(indented(_row(network, every, hidden, outputs)))
    yield "# over all lanes"
    for number, name in enumerate(sums[:-1]):
        yield f"gradient[{number}] += total({name})"
    for number in range(len(hidden) + len(outputs)):
        found = f"select(seen{number} != 0, 1, 0)" if number < len(hidden) else f"seen{number}"
        yield f"keep_largest(seen, {number}, {found})"
    yield "return total(L)"


# Vectors of rows whose factors are multiplied before the logarithm is taken: 2**64 is no trouble for either dtype.
_ROWS_OF_A_PRODUCT = 64


def _loss_and_factor(every: Equations) -> tuple[Expression, Expression | None]:
    """A row's loss as a sum of something and log(factor), with a factor from 1 to 2; None where it is no such sum."""
    body = every["loss"].body
    assert isinstance(body, Map | Reduce)
    loss = body.expression
    if isinstance(body, Map) and loss.op == "add":
        *others, last = loss.args
        if last.op == "log1p" and last.args[0].op == "exp" and _is_size_negated(last.args[0].args[0]):
            return call("add", *others), call("add", const(1), last.args[0])
    return loss, None


def _is_size_negated(expression: Expression) -> bool:
    return expression.op == "neg" and expression.args[0].op == "abs"


def _row(
    network: Network,
    every: Equations,
    hidden: list[str],
    outputs: list[str],
    split: tuple[Expression, Expression] | None = None,
) -> Iterator[str]:
    """What is done with the rows of one vector; `split` is the loss where its logarithm is taken of a product."""
    yield "# rows row, row + 1, ..., one in a lane"
    for i in range(network.n_features):
        yield f"x{i + 1} = {_loaded('table', i)}"
    for k, line in enumerate(every["o"].scalars()):
        yield f"{str(line.target).replace('o', 'y')} = {_loaded('targets', k)}"
    yield "u = load(weights, row)"
    masked = [line for equation in every if equation.target.kind == "h" for line in equation.scalars()]
    for number, line in enumerate(masked):
        yield f"{str(line.target).replace('h', 'mask')} = {_loaded('masks', number)}"
    stage = ""
    for equation in every:
        if equation.target.kind == "dloss" and equation.target.of in ("w", "b"):
            continue  # of one row; the sums over rows are made without it
        if equation.stage != stage:
            stage = equation.stage
            yield f"# {stage}" + ("; every delta carries its row's weight" if stage == "backward" else "")
        if equation.target.kind == "loss" and split is not None:
            yield f"loss = {text(split[0], _variable)}  # without the logarithm of"
            yield f"product = product * select(u > 0, {text(split[1], _variable)}, 1)"
        else:
            yield from (_line(network, line) for line in equation.scalars())
    for number, name in enumerate(hidden):
        yield f"seen{number} = either(seen{number}, {name})"
    for number, watched in enumerate(outputs, start=len(hidden)):
        yield f"seen{number} = max(seen{number}, {watched})"


def _loaded(array: str, number: int) -> str:
    return f"load({array}, row + {number} * stride)" if number else f"load({array}, row)"


def _line(network: Network, equation: Equation) -> str:
    """One scalar equation as one line of Python."""
    target = _variable(equation.target)
    assert isinstance(equation.body, Map | Reduce)
    expression = equation.body.expression
    if isinstance(equation.body, Reduce):
        # A sum over rows, which is divided by the sum of their weights outside.
        factors = [factor for factor in _factors(expression) if str(factor) != "share"]
        if equation.target.kind == "L":
            factors.insert(0, symbol("u"))
        return f"{target} = {target} + {text(call('mul', *factors), _variable)}"
    if equation.target.kind == "delta":
        factors = list(_factors(expression))
        if equation.target.layer == network.n_layers:
            factors.insert(0, symbol("u"))
        expression = product(factors)
    return f"{target} = {text(expression, _variable)}"


def _variable(key: Any) -> str:
    """A symbol as the name of a variable: dL/dw1_1_2 is dL_dw1_1_2."""
    return str(key).replace("/", "_")


def _factors(expression: Expression) -> tuple[Expression, ...]:
    return expression.args if expression.op == "mul" else (expression,)


def _hidden(network: Network, every: Equations) -> list[str]:
    """What every hidden unit puts out, before dropout: 0 on all rows where it is dead."""
    letter = "h" if any(equation.target.kind == "h" for equation in every) else "a"
    return [f"{letter}{layer}_{j}" for layer in range(1, network.n_layers) for j in range(1, network.sizes[layer] + 1)]
