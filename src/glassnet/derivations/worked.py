"""The worked calculation: every number of one row as symbol = formula = formula with the numbers = result."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet import reference
from glassnet.checks import DIFFERENCE_STEP
from glassnet.equations import STAGES, Equation, Equations, Map, Reduce, Symbol, equations, raw_symbol
from glassnet.errors import UsageError
from glassnet.expressions import const, evaluate, significant, substitute, symbols, to_text
from glassnet.kernels import stacked
from glassnet.model import Model
from glassnet.network import FloatArray, Network, Parameters

_BLOCK_ELEMENTS = 2**20
"""Numbers in one stack of moved parameter vectors: 8 MiB."""


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
class WorkedCalculation:
    """All lines of one row, in order of computation; `title` says which row it is, `answer` what comes out.

    `remarks` say what the model had to do without: missing cells, texts it does not know.
    """

    title: str
    answer: str
    lines: tuple[Line, ...]
    digits: int = 4
    remarks: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.text()

    __repr__ = __str__

    def text(self, width: int = 100) -> str:
        """The lines under their stages' names, broken before `=` where they are longer than `width`."""
        written = [self.title]
        for remark in self.remarks:
            written += textwrap.wrap(remark, width, initial_indent="  ", subsequent_indent="    ")
        for stage in STAGES:
            found = [line for line in self.lines if line.stage == stage]
            written += ["", stage] if found else []
            for line in found:
                written += self._written(line, width)
        return "\n".join([*written, "", *textwrap.wrap(self.answer, width, subsequent_indent="  ")])

    def _written(self, line: Line, width: int) -> Iterator[str]:
        value = significant(line.value, self.digits)
        parts = [part for part in (line.formula, line.numbers) if part != value]
        if len(parts) == 2 and parts[0] == parts[1]:
            parts.pop()
        parts.append(value)
        after = f"   [{line.note}]" if line.note else ""
        if line.difference_quotient is not None:
            after = f"   difference quotient {significant(line.difference_quotient, self.digits)}"
        whole = f"  {line.symbol} = " + " = ".join(parts) + after
        if len(whole) <= width:
            yield whole
            return
        for number, part in enumerate([*parts[:-1], parts[-1] + after]):
            lead = f"  {line.symbol} = " if number == 0 else " " * (len(line.symbol) + 3) + "= "
            yield from textwrap.wrap(part, width, initial_indent=lead, subsequent_indent=" " * (len(lead) + 2))

    def to_json(self) -> dict[str, Any]:
        """The same as plain data: `title`, `answer`, `remarks`, and `lines` with every value in full."""
        lines = [asdict(line) for line in self.lines]
        return {"title": self.title, "answer": self.answer, "remarks": list(self.remarks), "lines": lines}


def explain(model: Model, data: Any, row: int = 0, *, digits: int = 4) -> WorkedCalculation:
    """The worked calculation of one row of a table for a trained model.

    `data`: a table, a mapping of columns or a data frame that has the model's columns; `row` counts from 0.
    Where the target is among the columns, the loss and every gradient are worked out too, each gradient beside its
    difference quotient.

    >>> import glassnet as gn
    >>> table = {"dose": [0.0, 1.0, 2.0, 3.0], "ill": ["no", "no", "yes", "yes"]}
    >>> model = gn.fit(table, "ill", hidden=(), epochs=20, starts=1, test_size=None).model
    >>> print(gn.explain(model, table, row=2).lines[0].formula)
    (dose - 1.5) / 1.118
    """
    table = model.table(data)
    if not 0 <= row < table.n_rows:
        raise UsageError(f"A row is a number from 0 to {table.n_rows - 1}; got {row}.")
    if len(model.members) > 1:
        raise UsageError(
            f"A worked calculation is of one network; this model averages {len(model.members)}. "
            "Explain a model of one of its members."
        )
    one, target = table.select([row]), model.target
    X = model.encoder.encode(one)
    # A target left blank, as for a new patient, is not known; anything else in its cell has to be a class or a number.
    known = target.source in table.names and not one.column(target.source).missing[0]
    y = model.encoder.encode_target(one)[0] if known else None
    raw = {key: float(value[0]) for key, value in model.encoder.values(one).items()}
    if known and target.kind == "number":
        raw[raw_symbol(target.source)] = float(one.numbers(target.source)[0])
    equations_around = model.encode_equations, model.decode_equations
    lines = worked_lines(model.network, model.members[0], X[0], y, *equations_around, raw, digits)
    outputs = model.outputs(X)
    decoded = model.encoder.decode(outputs)[0]
    if isinstance(decoded, str):
        chances = zip(model.classes, model.class_probabilities(outputs)[0], strict=True)
        parts = [f"P({label}) {significant(p, digits)}" for label, p in chances]
        answer = f"prediction: {target.source} = {decoded}; {', '.join(parts)}"
    else:
        answer = f"prediction: {target.source} = {significant(float(decoded), digits)}"
    said = f", {target.source} {one.texts(target.source)[0]}" if known else ""
    return WorkedCalculation(f"Row {row}{said}", answer, lines, digits, model.encoder.remarks(one))


def worked_lines(
    network: Network,
    parameters: Parameters,
    x: FloatArray,
    y: FloatArray | None,
    encode: Equations,
    decode: Equations,
    raw: dict[Symbol, float],
    digits: int,
    masks: Sequence[FloatArray] | None = None,
) -> tuple[Line, ...]:
    """Every line for one row: x (n_features,) as encoded, y (n_outputs,) or None, `raw` what `encode` starts from.

    `masks`: the row's dropout mask (units,) of every hidden layer, where the row is worked out as in training.
    """
    X = x[np.newaxis, :].astype(np.float64)
    parameters = Parameters(network, parameters.vector.astype(np.float64))
    of_row = None if masks is None else [mask[np.newaxis, :] for mask in masks]
    if y is None:
        trace = reference.forward(network, parameters, X, masks=of_row)
    else:
        trace = reference.backward(network, parameters, X, y[np.newaxis, :], masks=of_row)
    values = raw | _values(trace)
    quotients = _quotients(trace)
    every = [*encode, *equations(network, dropout=masks is not None), *decode]
    wanted = ("encode", "forward", "decode") if y is None else STAGES
    lines = []
    for equation in every:
        if equation.stage not in wanted or equation.target.kind in ("L", "dL"):
            continue  # of one row, the batch's loss and gradients are the row's own
        if equation.target.kind == "y" and y is None:
            continue
        for scalar in equation.scalars():
            lines.append(_line(scalar, values, quotients, digits))
            values[scalar.target] = lines[-1].value
    return tuple(lines)


def _line(scalar: Equation, values: dict[Symbol, float], quotients: dict[Symbol, float], digits: int) -> Line:
    def number(value: float) -> str:
        return significant(value, digits)

    if not isinstance(scalar.body, Map):
        assert isinstance(scalar.body, Reduce), "sums over units are written out by scalar()"
        candidates = {key: value for key, value in values.items() if key.kind == "p"}
        largest = max(candidates, key=lambda key: candidates[key])
        where = ", ".join(f"{key} {number(value)}" for key, value in candidates.items())
        formula = str(scalar).partition(" = ")[2]
        return Line(scalar.stage, str(scalar.target), formula, where, float(largest.axes[-1]), scalar.note)
    expression = scalar.body.expression
    keys = [key for key in symbols(expression) if isinstance(key, Symbol)]
    put_in = substitute(expression, {key: const(values[key]) for key in keys})
    known = values.get(scalar.target)
    return Line(
        stage=scalar.stage,
        symbol=str(scalar.target),
        formula=to_text(expression, number=number),
        numbers=to_text(put_in, number=number),
        value=evaluate(expression, values) if known is None else known,
        note=scalar.note,
        difference_quotient=quotients.get(scalar.target),
    )


def _values(trace: reference.Trace) -> dict[Symbol, float]:
    """What a trace of one row holds, by symbol."""
    network = trace.network
    values: dict[Symbol, float] = {}

    def put(kind: str, layer: int | None, numbers: FloatArray, of: str = "", *, rows: bool = True) -> None:
        for index, value in np.ndenumerate(numbers):
            axes = tuple(n + 1 for n in index)
            values[Symbol(kind, layer, ("row", *axes) if rows else axes, of)] = float(value)

    def put_output(kind: str, numbers: FloatArray) -> None:
        if network.n_outputs == 1:
            values[Symbol(kind, None, ("row",))] = float(numbers[0])
        else:
            put(kind, None, numbers)

    put("x", None, trace.X[0])
    put_output("o", trace.logits[0])
    put_output("p", trace.probabilities[0])
    for layer in range(1, network.n_layers + 1):
        put("w", layer, trace.parameters.weights[layer - 1], rows=False)
        put("b", layer, trace.parameters.biases[layer - 1], rows=False)
        put("z", layer, trace.pre_activations[layer - 1][0])
        if layer < network.n_layers:
            put("a", layer, trace.activations[layer][0])
            if trace.masks is not None and trace.unmasked is not None:
                put("mask", layer, trace.masks[layer - 1][0])
                put("h", layer, trace.unmasked[layer - 1][0])
        if trace.deltas is not None:
            assert trace.weight_gradients is not None
            assert trace.bias_gradients is not None
            put("delta", layer, trace.deltas[layer - 1][0])
            put("dloss", layer, trace.weight_gradients[layer - 1], of="w", rows=False)
            put("dloss", layer, trace.bias_gradients[layer - 1], of="b", rows=False)
    if trace.y is not None and trace.row_losses is not None:
        put_output("y", trace.y[0])
        values[Symbol("loss", None, ("row",))] = float(trace.row_losses[0])
    return values


def _quotients(trace: reference.Trace) -> dict[Symbol, float]:
    """The central difference quotient of the row's loss by every parameter; none without a target.

    The moved parameter vectors are networks of one stack: far faster than a pass for each, and other code than what
    computed the gradient.
    """
    if trace.y is None:
        return {}
    network, vector, y = trace.network, trace.parameters.vector, trace.y
    steps = DIFFERENCE_STEP * np.maximum(1.0, np.abs(vector))
    slopes = np.empty_like(vector)

    def moved(at: NDArray[np.intp], sign: int) -> tuple[FloatArray, FloatArray]:
        vectors = np.repeat(vector[np.newaxis], len(at), axis=0)
        vectors[np.arange(len(at)), at] += sign * steps[at]
        with np.errstate(all="ignore"):
            done = stacked.forward(network, Parameters(network, vectors), trace.X, trace.masks)
            return stacked.row_losses(network, done, y)[:, 0], vectors[np.arange(len(at)), at]

    for at in np.array_split(np.arange(len(vector)), -(-(len(vector) ** 2) // _BLOCK_ELEMENTS)):
        (loss_above, above), (loss_below, below) = moved(at, 1), moved(at, -1)
        slopes[at] = (loss_above - loss_below) / (above - below)
    quotients = Parameters(network, slopes)
    found: dict[Symbol, float] = {}
    for layer in range(network.n_layers):
        for of, numbers in (("w", quotients.weights[layer]), ("b", quotients.biases[layer])):
            for index, value in np.ndenumerate(numbers):
                found[Symbol("dloss", layer + 1, tuple(n + 1 for n in index), of)] = float(value)
    return found
