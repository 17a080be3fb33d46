"""The worked calculation: every number of one row as symbol = formula = formula with the numbers = result."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from glassnet import reference
from glassnet.cells import number_text
from glassnet.columns import NumberColumn, level_symbol
from glassnet.derivations import sheets
from glassnet.derivations.calculation import (
    MOST_QUOTIENTS,
    Numbers,
    Worked,
    calculate,
    difference_quotients,
    named,
)
from glassnet.derivations.steps import RowInStep, row_in_step
from glassnet.derivations.worked_lines import LATEX, TEXT, Line, Style, lines
from glassnet.equations import Equation, Map, Symbol, equations, raw_symbol
from glassnet.errors import UsageError
from glassnet.expressions import Expression, significant, symbol
from glassnet.model import BecomesModel, Model, as_model
from glassnet.network import FloatArray, Network, Parameters
from glassnet.runs import is_whole
from glassnet.training import Run


@dataclass(frozen=True)
class WorkedCalculation:
    """All lines of one row, in order of computation; `title` says which row it is, `answer` what comes out.

    `remarks` say what the model had to do without, missing cells and texts it does not know, and what a name stands
    for. A notebook shows it as a page does.
    """

    title: str
    answer: str
    work: tuple[Worked, ...]
    digits: int = 4
    remarks: tuple[str, ...] = ()

    @property
    def lines(self) -> Lines:
        """The lines as text, made while one goes through them."""
        return Lines(self.work, TEXT, self.digits)

    def __str__(self) -> str:
        return self.text()

    __repr__ = __str__

    def text(self, width: int = 100, *, blank: bool = False) -> str:
        """The lines under their stages' names, broken before `=` where they are longer than `width`.

        `blank`: a worksheet. Every result is left out, and stands on a page of its own behind.
        """
        return "\n".join(self.written(width, blank=blank))

    def written(self, width: int = 100, *, blank: bool = False) -> Iterator[str]:
        """The lines of `text`, one after the other: a large network's never stand in memory together."""
        return sheets.text(self._sheet(TEXT, blank), width)

    def latex(self, *, blank: bool = False) -> str:
        """A LaTeX document, for pdflatex; `blank` as for `text`."""
        return "\n".join(sheets.latex(self._sheet(LATEX, blank)))

    def html(self, *, blank: bool = False) -> str:
        """A page in one file that needs no other; `blank` as for `text`."""
        return "\n".join(sheets.html(self._sheet(TEXT, blank)))

    def _repr_html_(self) -> str:
        return sheets.notebook(self._sheet(TEXT, False))

    def _sheet(self, style: Style, blank: bool) -> sheets.Sheet:
        return sheets.Sheet(
            self.title,
            self.answer,
            self.remarks,
            Lines(self.work, style, self.digits, blank),
            style,
            self.digits,
            blank,
        )

    def to_json(self) -> dict[str, Any]:
        """The same as plain data: `title`, `answer`, `remarks`, and `lines` with every value in full."""
        full = [asdict(line) for line in self.lines]
        return {"title": self.title, "answer": self.answer, "remarks": list(self.remarks), "lines": full}


@dataclass(frozen=True)
class Lines(Sequence[Line]):
    """The lines of a calculation, made anew each time that one goes through them."""

    work: tuple[Worked, ...]
    style: Style = TEXT
    digits: int = 4
    blank: bool = False

    def __iter__(self) -> Iterator[Line]:
        for worked in self.work:
            yield from lines(worked, self.style, self.digits, self.blank)

    def __len__(self) -> int:
        return sum(worked.values.size if not worked.at else 1 for worked in self.work)

    def __getitem__(self, at: Any) -> Any:
        return tuple(self)[at]


def explain(
    what: Model | Run | BecomesModel,
    data: Any = None,
    row: int | None = None,
    *,
    step: int | tuple[int, int] | None = None,
    only: str | None = None,
    digits: int = 4,
) -> WorkedCalculation:
    """The worked calculation of one row for a trained model or a run; with `step`, of one step of its training.

    A fitted estimator is taken by its `to_model`.

    `data`: for a model a table, a mapping of columns or a data frame that has the model's columns; a run has its rows
    with it, and is given the row alone: `explain(run, 3)`. `row` counts from 0, the first where it is left out.
    Where the target is among the columns, the loss and every gradient are worked out too, each gradient beside its
    difference quotient (in networks of up to ten thousand parameters, or with `only`).
    `step`: (epoch, batch), both counted from 1, or an epoch, for the batch that the row was in. The training is
    replayed up to there, with the model's own table; then come the batch's gradient, of which this row is a part, and
    the update of every parameter. Of the batch's other rows no more is shown than their sum.
    `only`: the name of one quantity, `delta1_5`, or of a parameter, `w1_2_1`, with all that is by it.
    `digits`: significant digits; 17 are all.

    Raises `UsageError` for a row, a step or a quantity that is not there, `DataError` for a table that does not fit.

    >>> import glassnet as gn
    >>> table = {"dose": [0.0, 1.0, 2.0, 3.0], "ill": ["no", "no", "yes", "yes"]}
    >>> model = gn.fit(table, "ill", hidden=(), epochs=20, starts=1, test_size=None).model
    >>> print(gn.explain(model, table, row=2).lines[0].formula)
    (dose - 1.5) / 1.118
    >>> print(gn.explain(model, table, row=2, step=(3, 1), only="b1_1").lines[-1].formula)
    b1_1 - learning_rate * m_hat[b1_1] / (sqrt(v_hat[b1_1]) + 1e-08)
    """
    if not is_whole(digits) or not 1 <= digits <= 17:
        raise UsageError(f"Significant digits are a number from 1 to 17; got {digits!r}.")
    what = as_model(what)
    if isinstance(what, Run):
        if data is not None and (row is not None or not is_whole(data)):
            raise UsageError("A run has its rows with it: explain(run, row), without a table.")
        return _of_run(what, data if row is None else row, step, only, digits)
    if data is None:
        raise UsageError("A model's calculation is of a row of a table; give one: explain(model, table, row).")
    assert isinstance(what, Model)
    return _of_model(what, data, row, step, only, digits)


def _of_model(
    model: Model, data: Any, row: int | None, step: int | tuple[int, int] | None, only: str | None, digits: int
) -> WorkedCalculation:
    table = model.table(data)
    row = _checked_row(row, table.n_rows)
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
    encode = list(model.encode_equations)
    if known and target.kind == "number":
        raw[raw_symbol(target.source)] = float(one.numbers(target.source)[0])
    elif y is not None:
        of_class = y if target.kind == "classes" else np.array([1 - y[0], y[0]])
        raw |= {level_symbol(target.source, c): float(v) for c, v in zip(target.classes, of_class, strict=True)}
        encode += _class_equations(model)
    dates = {
        raw_symbol(column.source): one.texts(column.source)[0] or "missing"
        for column in model.encoder.columns
        if isinstance(column, NumberColumn) and column.date
    }
    encode = [_with_date(equation, dates) for equation in encode]
    said = f", {target.source} {one.texts(target.source)[0]}" if known else ""
    title, remarks, decode = f"Row {row}{said}", list(model.encoder.remarks(one)), list(model.decode_equations)
    parameters, in_step, when = model.members[0], None, ""
    if step is not None:
        run, train_rows = model.retrained(data)
        remarks += _end_of(run, model)
        number = int(np.searchsorted(train_rows, row))
        held_back = number == len(train_rows) or train_rows[number] != row
        in_step = row_in_step(run, None if held_back else number, step, f"row {row}")
        parameters, decode = in_step.at.parameters, []
        title, remarks, when = f"{title}, {in_step.said}", [*remarks, *in_step.remarks], "before this update, "
    work, more = _worked(model.network, parameters, X[0], y, encode, decode, raw, in_step, only)
    outputs = replace(model, members=(parameters,)).outputs(X)
    return WorkedCalculation(title, when + _decoded(model, outputs, digits), work, digits, (*remarks, *more))


def _end_of(run: Run, model: Model) -> list[str]:
    """What is to be said where the training, gone through again, ends elsewhere than the model's did."""
    apart = float(np.max(np.abs(run.parameters.vector - model.members[0].vector)))
    if not apart:
        return []
    made = model.provenance.get("versions", {})
    said = (
        f"Gone through again here, the training ends up to {number_text(apart)} from the model's parameters, not at "
        f"the same bits: it was made by other versions ({made}) or on another kind of processor."
    )
    return [said]


def _decoded(model: Model, outputs: FloatArray, digits: int) -> str:
    target, decoded = model.target, model.encoder.decode(outputs)[0]
    if not isinstance(decoded, str):
        return f"prediction: {target.source} = {significant(float(decoded), digits)}"
    chances = zip(model.classes, model.class_probabilities(outputs)[0], strict=True)
    parts = [f"P({label}) {significant(p, digits)}" for label, p in chances]
    return f"prediction: {target.source} = {decoded}; {', '.join(parts)}"


def _class_equations(model: Model) -> list[Equation]:
    """How a class becomes y: 1 for the positive one of two, or for the output that is its own."""
    target = model.target
    axes = [("row",)] if target.kind == "binary" else [("row", k) for k in range(1, len(target.classes) + 1)]
    classes = target.classes[1:] if target.kind == "binary" else target.classes
    return [
        Equation(Symbol("y", None, axis), Map(symbol(level_symbol(target.source, label))), "encode")
        for axis, label in zip(axes, classes, strict=True)
    ]


def _with_date(equation: Equation, dates: dict[Symbol, str]) -> Equation:
    """The equation, with the cell in its note where it begins with a date's days."""
    assert isinstance(equation.body, Map)
    found = [text for key, text in dates.items() if symbol(key) in _leaves(equation.body.expression)]
    return replace(equation, note=f"{equation.note}; here {found[0]}") if found and equation.note else equation


def _leaves(expression: Expression) -> Iterator[Expression]:
    if expression.op in ("symbol", "const"):
        yield expression
    else:
        for operand in expression.args:
            yield from _leaves(operand)


def _of_run(
    run: Run, row: int | None, step: int | tuple[int, int] | None, only: str | None, digits: int
) -> WorkedCalculation:
    row = _checked_row(row, len(run.data.X))
    title, remarks, parameters, in_step, when = f"Row {row}", [], run.parameters, None, ""
    if run.data.dtype != np.float64:
        remarks.append(f"The run computes in {run.data.dtype}; here every operation is rounded to 64 bits.")
    if step is not None:
        in_step = row_in_step(run, row, step, f"row {row}")
        parameters, when = in_step.at.parameters, "before this update, "
        title, remarks = f"{title}, {in_step.said}", [*remarks, *in_step.remarks]
    x, y = run.data.X[row].astype(np.float64), run.data.y[row].astype(np.float64)
    work, more = _worked(run.network, parameters, x, y, [], [], {}, in_step, only)
    whole = Parameters(run.network, parameters.vector.astype(np.float64))
    p = reference.forward(run.network, whole, x[np.newaxis]).probabilities[0]
    names = ["p"] if len(p) == 1 else [f"p{k}" for k in range(1, len(p) + 1)]
    parts = [f"{name} {significant(float(v), digits)}" for name, v in zip(names, p, strict=True)]
    answer = f"{when}prediction: {', '.join(parts[:10])}{', ...' if len(parts) > 10 else ''}"
    return WorkedCalculation(title, answer, work, digits, (*remarks, *more))


def _checked_row(row: int | None, n: int) -> int:
    row = 0 if row is None else row
    if not is_whole(row) or not 0 <= row < n:
        raise UsageError(f"A row is a number from 0 to {n - 1}; got {row}.")
    return int(row)


def worked_lines(
    network: Network,
    parameters: Parameters,
    x: FloatArray,
    y: FloatArray | None,
    encode: Iterable[Equation],
    decode: Iterable[Equation],
    raw: dict[Symbol, float],
    digits: int,
    masks: Sequence[FloatArray] | None = None,
) -> tuple[Line, ...]:
    """Every line for one row: x (n_features,) as encoded, y (n_outputs,) or None, `raw` what `encode` starts from.

    `masks`: the row's dropout mask (units,) of every hidden layer, where the row is worked out as in training.
    """
    trace = _trace(network, parameters, x, y, masks)
    numbers = Numbers(raw)
    numbers.put_trace(trace)
    every = _of_one_row([*encode, *equations(network, dropout=masks is not None), *decode], y)
    quotients = None if y is None else difference_quotients(trace)
    return tuple(Lines(calculate(every, numbers, quotients), TEXT, digits))


def _trace(
    network: Network,
    parameters: Parameters,
    x: FloatArray,
    y: FloatArray | None,
    masks: Sequence[FloatArray] | None,
) -> reference.Trace:
    X = x[np.newaxis, :].astype(np.float64)
    parameters = Parameters(network, parameters.vector.astype(np.float64))
    of_row = None if masks is None else [mask[np.newaxis, :].astype(np.float64) for mask in masks]
    return reference.forward(network, parameters, X, None if y is None else y[np.newaxis, :], masks=of_row)


def _of_one_row(every: Iterable[Equation], y: FloatArray | None) -> list[Equation]:
    """Without what needs a target that is not known; of one row, the batch's loss and gradients are the row's own."""
    without = ("loss", "backward") if y is None else ()
    kept = [e for e in every if e.stage not in without and e.target.kind not in ("L", "dL")]
    return [e for e in kept if y is not None or e.target.kind != "y"]


def _worked(
    network: Network,
    parameters: Parameters,
    x: FloatArray,
    y: FloatArray | None,
    encode: Sequence[Equation],
    decode: Sequence[Equation],
    raw: dict[Symbol, float],
    in_step: RowInStep | None,
    only: str | None,
) -> tuple[tuple[Worked, ...], list[str]]:
    """The calculation of one row, in a step or by itself, and what is to be said of it."""
    masks = None if in_step is None else in_step.masks
    if in_step is not None and y is None:
        raise UsageError("A step's gradient needs the row's target, which is blank here. Name a row that has it.")
    trace = _trace(network, parameters, x, y, masks)
    numbers = Numbers(raw)
    numbers.put_trace(trace)
    if in_step is None:
        every = _of_one_row([*encode, *equations(network), *decode], y)
    else:
        every = [*encode, *in_step.equations(network), *decode]
        in_step.put(numbers)
    chosen = None if only is None else named(every, only)
    quotients, remarks = None, []
    if y is not None:
        at = None
        if chosen is not None:
            at = np.array(sorted({_place(network, e.target, i) for e, i in chosen if e.target.kind == "dloss"} - {-1}))
            at = at.astype(np.intp)
        if at is not None or network.n_parameters <= MOST_QUOTIENTS:
            quotients = difference_quotients(trace, at)
        else:
            remarks.append(
                f"Difference quotients are left out for more than {MOST_QUOTIENTS:,} parameters; that of one stands "
                "beside it alone."
            )
    work = calculate(every, numbers, quotients)
    if chosen is not None:
        wanted = dict(chosen)
        work = tuple(replace(one, at=wanted[one.equation]) for one in work if one.equation in wanted)
    return work, remarks


def _place(network: Network, target: Symbol, index: dict[str, int]) -> int:
    """Where in the flat vector the parameter is that the loss is derived by; -1 where it is by an activation."""
    if target.of not in ("w", "b"):
        return -1
    numbered = Parameters(network, np.arange(float(network.n_parameters)))
    assert target.layer is not None
    of_layer = (numbered.weights if target.of == "w" else numbered.biases)[target.layer - 1]
    return int(of_layer[tuple(n - 1 for n in index.values())])
