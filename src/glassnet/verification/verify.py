"""`verify`: is every number of a model what it should be, on rows of the user's own or on rows made up for it?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.cells import counted, date_text
from glassnet.columns import AnyColumn, BooleanColumn, NumberColumn
from glassnet.equations import raw_symbol
from glassnet.errors import UsageError
from glassnet.expressions import readable
from glassnet.model import BecomesModel, Model, as_model
from glassnet.network import FloatArray
from glassnet.randomness import Purpose, Stream
from glassnet.tables import Table
from glassnet.verification.comparing import OfTable, verify_network
from glassnet.verification.verdict import Verification

MOST_ROWS = 16
"""Rows that are verified, spread evenly over those that are given."""

MOST_NUMBERS = 4_000_000
"""Derivatives, of every row by every parameter, that there are at most, for memory: with more, fewer rows are taken."""


def verify(
    model: Model | BecomesModel, data: Any = None, *, progress: Callable[[int], None] | None = None
) -> Verification:
    """Hold the worked calculation, the reference, the compiled engine and differences of the loss against one another.

    Every number of a pass, from the columns to the prediction, every row's loss and its derivative by every parameter,
    on up to 16 rows of `data`: a table, a mapping of columns or a data frame with the model's columns, and with the
    target or without. Where `data` is left out, rows are made up within the ranges that the model's encoder knows. jax
    and SymPy take part where they are installed. `progress` is told how many per cent are done.

    Returns a `Verification`: its `ok`, `comparisons`, `first_wrong` and `remarks`; printed, it is a table.

    >>> import glassnet as gn
    >>> table = {"dose": [0.0, 1.0, 2.0, 3.0], "ill": ["no", "no", "yes", "yes"]}
    >>> model = gn.fit(table, "ill", hidden=(), epochs=20, starts=1, test_size=None).model
    >>> gn.verify(model, table).ok
    True
    """
    model = as_model(model)
    assert isinstance(model, Model)
    if len(model.members) > 1:
        raise UsageError(
            f"What is verified is one network; this model averages {len(model.members)}. "
            "Verify a model of one of its members."
        )
    rows = rows_of_model(model, data)
    return verify_network(
        model.network, model.members[0], rows.X, rows.y, of_table=rows.of_table, title=rows.title, progress=progress
    )


@dataclass(frozen=True)
class ModelRows:
    """Rows to verify a model on: X (n, n_features), y (n, n_outputs), where they come from, and a title saying so."""

    X: FloatArray
    y: FloatArray
    of_table: OfTable
    title: str


def rows_of_model(model: Model, data: Any = None) -> ModelRows:
    """Rows of `data`, or made up: see `verify`.

    >>> import glassnet as gn
    >>> table = {"dose": [0.0, 1.0, 2.0, 3.0], "ill": ["no", "no", "yes", "yes"]}
    >>> model = gn.fit(table, "ill", hidden=(), epochs=1, starts=1, test_size=None).model
    >>> rows_of_model(model, {"dose": [1.5]}).title
    '1-1, binary_cross_entropy, 2 parameters; on 1 row; targets of ill are made up: for a loss there has to be one'
    """
    network, target = model.network, model.target
    most = max(1, min(MOST_ROWS, MOST_NUMBERS // network.n_parameters))
    said: list[str] = []
    if data is None:
        table, rows = made_up(model, most), np.arange(most)
        title = f"{counted(most, 'row')} made up within the ranges that the model's encoder knows"
    else:
        whole = model.table(data)
        rows = _spread(np.arange(whole.n_rows), most)
        if target.source in whole.names and not (blank := whole.column(target.source).missing).all():
            rows = _spread(np.flatnonzero(~blank), most)
            if blank.any():
                said.append(f"rows without {readable(target.source)} are left out")
        table = whole.select(rows)
        title = counted(whole.n_rows, "row")
        if len(rows) < whole.n_rows:
            title = f"{len(rows)} of {whole.n_rows:,} rows, spread evenly"
    X = model.encoder.encode(table)
    raw = dict(model.encoder.values(table))
    known = target.source in table.names and not table.column(target.source).missing.any()
    y = model.encoder.encode_target(table) if known else made_up_targets(model, len(X))
    encode = list(model.encode_equations)
    if known and target.kind == "number":
        raw[raw_symbol(target.source)] = table.numbers(target.source)
    elif target.kind == "number":
        encode = [equation for equation in encode if equation.target.kind != "y"]
    if not known:
        said.append(f"targets of {readable(target.source)} are made up: for a loss there has to be one")
    outputs = model.outputs(X)
    decoded = model.encoder.decode(outputs)
    if target.kind == "number":
        predicted = np.asarray(decoded, dtype=np.float64)
        terms = abs(target.center) + abs(target.scale) * (1 + np.abs(outputs[:, 0]))
    else:
        first = 0 if target.kind == "binary" else 1  # as the equation's note counts them
        predicted = np.array([first + target.classes.index(label) for label in decoded], dtype=np.float64)
        terms = np.ones(len(predicted))
    sizes = "-".join(map(str, network.sizes))
    title = f"{sizes}, {network.loss}, {counted(network.n_parameters, 'parameter')}; on {title}" + "".join(
        f"; {remark}" for remark in said
    )
    of_table = OfTable(
        encode=tuple(encode),
        decode=tuple(model.decode_equations),
        raw=raw,
        predicted=predicted,
        predicted_size=terms,
        rows=tuple(rows.tolist()),
    )
    return ModelRows(X, y, of_table, title)


def _spread(rows: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    """At most so many of them, from the first to the last."""
    chosen = np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(np.intp)
    return rows[chosen]


def made_up(model: Model, n: int) -> Table:
    """A table of n rows with the model's columns: numbers around their center, every level in turn, and where training
    had missing cells, one.

    >>> import glassnet as gn
    >>> table = {"dose": [0.0, 1.0, 2.0, 3.0], "ill": ["no", "no", "yes", "yes"]}
    >>> model = gn.fit(table, "ill", hidden=(), epochs=1, starts=1, test_size=None).model
    >>> made_up(model, 3).names
    ('dose',)
    """
    columns = {column.source: _made_up(column, number, n) for number, column in enumerate(model.encoder.columns)}
    return model.table(columns)


def _made_up(column: AnyColumn, number: int, n: int) -> list[Any]:
    rng = Stream(0, Purpose.CHECK, network=number)
    cells: list[Any]
    if isinstance(column, NumberColumn):
        if column.edges:
            values = column.edges[0] + rng.uniform(n) * (column.edges[-1] - column.edges[0])
        else:
            values = column.center + column.scale * rng.normal(n)
        cells = [date_text(round(value)) for value in values] if column.date else values.tolist()
    elif isinstance(column, BooleanColumn):
        cells = [value < 0.5 for value in rng.uniform(n).tolist()]
    else:
        turn = rng.permutation(n)
        cells = [column.levels[at % len(column.levels)] for at in turn.tolist()]
    if column.missing:
        cells[int(rng.uniform(1)[0] * n)] = None
    return cells


def made_up_targets(model: Model, n: int) -> FloatArray:
    """Targets (n, n_outputs) as the network is to give them: every class in turn, or numbers around the mean."""
    target, rng = model.target, Stream(0, Purpose.CHECK, network=len(model.encoder.columns))
    if target.kind == "number":
        numbers = rng.normal(n)[:, np.newaxis]
        return np.abs(numbers) if model.network.loss_row.targets == "nonnegative" else numbers
    classes = np.arange(n) % len(target.classes)
    one_hot: FloatArray = (classes[:, np.newaxis] == np.arange(len(target.classes))).astype(np.float64)
    return one_hot[:, 1:] if target.kind == "binary" else one_hot
