"""Rows added, moved and deleted by hand, and noise on the training rows: another table, encoded and split as before.

How columns are scaled and which rows are held back stays as it was prepared, so that one point that is moved moves
nothing else. Added rows are training rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from glassnet.cells import listed, shown
from glassnet.columns import BooleanColumn, CategoryColumn, NumberColumn
from glassnet.errors import UsageError
from glassnet.randomness import Purpose, normal
from glassnet.tables import Column, Table
from glassnet.web.ground import Ground
from glassnet.web.state import Edits

_FARTHEST = 1000


def altered(ground: Ground, edits: Edits, noise: float, seed: int) -> Ground:
    """The ground after the edits, with noise of so many standard deviations on the numbers of its training rows.

    Raises UsageError: a row or a column that is not there, a value that it cannot have, no training row left.
    """
    table, prepared = ground.source.table, ground.prepared
    n, n_added = table.n_rows, len(edits.added)
    for row in (*edits.deleted, *(row for row, _ in edits.moved)):
        if row >= n:
            raise UsageError(f"A row that is moved or deleted is a number from 0 to {n - 1}; got {row}.")
    columns = {
        name: Column(column.kind, np.concatenate([column.values, _nothing(column, n_added)]), column.levels)
        for name, column in table.columns.items()
        if name in _used(ground)
    }
    training = np.setdiff1d(prepared.train_rows, edits.deleted)
    if noise:
        _add_noise(ground, columns, training, noise, seed)
    for row, cells in edits.moved:
        _put(ground, columns, row, dict(cells))
    for k, (cells, target) in enumerate(edits.added):
        usual = {column.source: ground.middle(column.source) for column in ground.encoding.columns}
        _put(ground, columns, n + k, usual | dict(cells))
        columns[ground.target.source].values[n + k] = _target_cell(ground, target)
    edited = Table(columns, n + n_added, np.arange(n + n_added))
    train_rows = np.concatenate([prepared.train_rows[np.isin(prepared.train_rows, training)], n + np.arange(n_added)])
    test_rows = prepared.test_rows[~np.isin(prepared.test_rows, edits.deleted)]
    if not len(train_rows):
        raise UsageError("A network learns from one row at least; take a deletion back.")
    changed = np.array([row for row, _ in edits.moved] + list(range(n, n + n_added)), np.intp)
    weights = prepared.row_weights
    if weights is not None:
        kept = np.isin(prepared.train_rows, train_rows)
        weights = np.concatenate([weights[kept], np.full(n_added, weights.mean())])
    test_weights = prepared.test_weights
    if test_weights is not None:
        test_weights = test_weights[np.isin(prepared.test_rows, test_rows)]
    every = np.concatenate([train_rows, test_rows]).astype(np.intp)
    known = np.full(n + n_added, -1)
    known[np.concatenate([prepared.train_rows, prepared.test_rows])] = np.arange(len(ground.X))
    X, y = ground.X[known[every]], ground.y[known[every]]  # of the rows that are new, anything
    renewed = np.flatnonzero(np.isin(every, changed) | (np.isin(every, training) & bool(noise)))
    if len(renewed):
        rows = edited.select(every[renewed])
        X[renewed], y[renewed] = ground.encoding.encode(rows), ground.encoding.encode_target(rows)
    at = len(train_rows)
    return Ground.of_rows(
        replace(ground.source, table=edited),
        replace(
            prepared, table=edited, train_rows=every[:at], test_rows=every[at:], X=X[:at], y=y[:at], X_test=X[at:],
            y_test=y[at:], row_weights=weights, test_weights=test_weights,
        ),
        base=ground,
        by_hand=changed,
        deleted=np.array(edits.deleted, np.intp),
        noisy=bool(noise),
    )  # fmt: skip


def _used(ground: Ground) -> set[str]:
    """The columns that are read after a table is prepared; the others keep no cell of a row that is added."""
    return {ground.target.source, *(column.source for column in ground.encoding.columns)}


def _nothing(column: Column, count: int) -> NDArray[np.generic]:
    return np.full(count, -1, column.values.dtype) if column.kind == "text" else np.full(count, np.nan)


def _add_noise(ground: Ground, columns: dict[str, Column], rows: NDArray[np.intp], noise: float, seed: int) -> None:
    """noise * scale * a standard normal number onto every number of these rows.

    The number of row i in the column of place j is element i of the stream of network j: of each row and column its
    own, whatever else is deleted or added.
    """
    for place, column in enumerate(ground.encoding.columns):
        if not isinstance(column, NumberColumn):
            continue
        of_column = columns[column.source]
        drawn = normal(ground.source.table.n_rows, seed=seed, purpose=Purpose.NOISE, network=place)
        of_column.values[rows] += noise * column.scale * drawn[rows]


def _put(ground: Ground, columns: dict[str, Column], row: int, cells: Mapping[str, float | str]) -> None:
    """Write a row's cells, each as its column holds them."""
    encoded = {column.source: column for column in ground.encoding.columns}
    for name, value in cells.items():
        column = encoded.get(name)
        if column is None:
            raise UsageError(f"A row is moved along the features {listed(list(encoded))}; got {shown(name)}.")
        if isinstance(column, CategoryColumn):
            columns[name].values[row] = _level(ground, column, value)
        elif isinstance(column, BooleanColumn):
            columns[name].values[row] = float(_number(name, value, 0.5, 0.5) >= 0.5)
        else:
            columns[name].values[row] = _number(name, value, column.center, column.scale)


def _number(name: str, value: float | str, center: float, scale: float) -> float:
    """A number in sight of the column's own."""
    if isinstance(value, str):
        raise UsageError(f"{shown(name)} is a number; got {shown(value)}.")
    if abs(value - center) > _FARTHEST * scale:
        raise UsageError(
            f"{shown(name)} set by hand is at most {_FARTHEST} standard deviations from the mean; got {value:g}."
        )
    return value


def _level(ground: Ground, column: CategoryColumn, value: float | str) -> int:
    """The number of a text among the column's, as some row has it."""
    texts = ground.source.table.column(column.source).levels.to_pylist()
    found = next((number for number, text in enumerate(texts) if text.strip() == value), None)
    if value not in column.levels or found is None:
        raise UsageError(f"{shown(column.source)} is one of {listed(column.levels)}; got {shown(str(value))}.")
    return found


def _target_cell(ground: Ground, value: float | str) -> float:
    """What stands in the target's column for a number, or for a class: what the first row of this class has."""
    target, table = ground.target, ground.source.table
    if target.kind == "number":
        return _number(target.source, value, target.center, target.scale)
    if value not in target.classes:
        raise UsageError(f"{shown(target.source)} is one of {listed(target.classes)}; got {shown(str(value))}.")
    of_class = ground.classes_of(ground.prepared.y) == target.classes.index(str(value))
    return float(table.column(target.source).values[ground.prepared.train_rows[of_class.argmax()]])
