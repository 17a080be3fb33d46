"""The unrolled kernel: one line per unit, all quantities of a row in registers, rows side by side in the lanes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from glassnet.equations import Equation, Equations, Map, Reduce
from glassnet.expressions import Expression, call, symbol
from glassnet.kernels.writing import indented, text, watched_outputs
from glassnet.network import Network


def lines(network: Network, every: Equations, lanes: int) -> Iterator[str]:
    """The body of the kernel, line by line: every scalar equation, over a loop of `lanes` rows at a time."""
    yield '"""Rows stand side by side: row r of input i is number i * stride + r of `table`."""'
    names = network.parameter_names()
    for number, name in enumerate(names):
        yield f"{name} = parameters[{number}]"
    sums = [*(f"dL_d{name}" for name in names), "L"]
    hidden = _watched_hidden(network, every)
    outputs = watched_outputs(network, [str(line.target) for line in every["o"].scalars()])
    for start in range(0, len(sums), 8):
        yield " = ".join(sums[start : start + 8]) + " = filled(parameters, 0)"
    for number in range(len(hidden) + len(outputs)):
        yield f"most{number} = filled(parameters, {'0' if number < len(hidden) else '-inf'})"
    yield f"for row in range(0, n, {lanes}):"
    yield from indented(_row(network, every))
    for number, watched in enumerate(hidden + outputs):
        yield f"    most{number} = max(most{number}, {watched})"
    yield "# over all lanes"
    for number, name in enumerate(sums[:-1]):
        yield f"gradient[{number}] += total({name})"
    for number in range(len(hidden) + len(outputs)):
        yield f"keep_largest(seen, {number}, most{number})"
    yield "return total(L)"


def _row(network: Network, every: Equations) -> Iterator[str]:
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
        yield from (_line(network, line) for line in equation.scalars())


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
    if equation.target.kind == "delta" and equation.target.layer == network.n_layers:
        expression = call("mul", symbol("u"), expression)
    return f"{target} = {text(expression, _variable)}"


def _variable(key: Any) -> str:
    """A symbol as the name of a variable: dL/dw1_1_2 is dL_dw1_1_2."""
    return str(key).replace("/", "_")


def _factors(expression: Expression) -> tuple[Expression, ...]:
    return expression.args if expression.op == "mul" else (expression,)


def _watched_hidden(network: Network, every: Equations) -> list[str]:
    """The size of what every hidden unit puts out, before dropout; that of a dead one is never above 0."""
    kinds = {equation.target.kind for equation in every}
    letter = "h" if "h" in kinds else "a"
    return [
        f"abs({letter}{layer}_{j})" for layer in range(1, network.n_layers) for j in range(1, network.sizes[layer] + 1)
    ]
