"""What a training stands on: a table prepared for a target, the rows that are drawn, and the plane they lie in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.cells import listed, shown
from glassnet.columns import CategoryColumn, Floats, NumberColumn
from glassnet.encoding import Encoding, Target
from glassnet.errors import DataError, UsageError
from glassnet.model import network_for
from glassnet.network import FloatArray
from glassnet.preparation import Prepared, prepare
from glassnet.tables import Column, Table
from glassnet.web.state import LOSSES, Settings, View

MOST_DRAWN = 2000
"""Rows that are drawn; of more, as many at equal distances."""

GRID = 64
"""Points along each side of the plane."""

LINE = 4 * GRID
"""Points along the line of one column."""

_MARGIN = 0.06  # of the rows' range, to either side


@dataclass(frozen=True, eq=False)
class Source:
    """A table that is played with: its name for people, and what is predicted from what where nobody says."""

    table: Table
    name: str
    target: str
    features: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Plane:
    """Two columns of numbers and a grid over them, or one (`y` is "" then) and a line, with all other features held.

    `X` (GRID * GRID, n_features): the grid encoded, from the lowest `y` up, `x` running fastest; or (LINE, n_features).
    `low`, `high` (2,), or (1,).
    """

    x: str
    y: str
    low: Floats
    high: Floats
    X: Floats


@dataclass(frozen=True, eq=False)
class Ground:
    """A table prepared, and what of it is drawn.

    `X`, `y`: all rows as the network has them, training rows before test rows. `some`: which of these are drawn.
    Where rows were altered by hand or by noise (`edits.altered`), `base` is the table as it was; `by_hand` and
    `deleted` are numbers of rows.
    """

    source: Source
    prepared: Prepared
    X: Floats
    y: Floats
    some: NDArray[np.intp]
    base: Ground | None = None
    by_hand: NDArray[np.intp] = field(default_factory=lambda: np.zeros(0, np.intp))
    deleted: NDArray[np.intp] = field(default_factory=lambda: np.zeros(0, np.intp))
    noisy: bool = False

    @classmethod
    def of(cls, source: Source, settings: Settings) -> Ground:
        """Prepare the table; as `glassnet train` does. Raises what `prepare` raises."""
        target = settings.target or source.target
        features = settings.features or (source.features if target == source.target else ()) or None
        prepared = prepare(
            source.table, target, features=features, test_size=settings.test or None, random_state=settings.seed
        )
        return cls.of_rows(source, prepared)

    @classmethod
    def of_rows(cls, source: Source, prepared: Prepared, **more: Any) -> Ground:
        """What is drawn of rows that are prepared; `more` are further fields."""
        X = np.concatenate([prepared.X, prepared.X_test])
        y = np.concatenate([prepared.y, prepared.y_test])
        some = np.unique(np.linspace(0, len(X) - 1, min(len(X), MOST_DRAWN)).astype(np.intp))
        return cls(source, prepared, X, y, some, **more)

    @property
    def origin(self) -> Ground:
        """The table as it was before anything was done to its rows; by it the plane lies, and features are held."""
        return self.base or self

    @property
    def drawn(self) -> NDArray[np.intp]:
        """The numbers, in the table, of the rows that are drawn."""
        every: NDArray[np.intp] = np.concatenate([self.prepared.train_rows, self.prepared.test_rows])
        return every[self.some]

    @property
    def encoding(self) -> Encoding:
        """How columns become inputs."""
        return self.prepared.encoding

    @property
    def target(self) -> Target:
        """What is predicted."""
        target = self.prepared.encoding.target
        assert target is not None, "a table is prepared for a target"
        return target

    @cached_property
    def numeric(self) -> tuple[str, ...]:
        """The features that are numbers or dates: what can be an axis."""
        return tuple(column.source for column in self.encoding.columns if isinstance(column, NumberColumn))

    def described(self) -> dict[str, Any]:
        """For the page: the table, its columns, and what was decided."""
        table, target, prepared = self.origin.source.table, self.target, self.prepared
        return {
            "name": self.source.name,
            "rows": table.n_rows,
            "columns": [{"name": name, "role": prepared.roles[name]} for name in table.names],
            "target": {"name": target.source, "kind": target.kind, "classes": list(target.classes)},
            "losses": [loss for loss in LOSSES if loss and self._suits(loss)],
            "features": [column.source for column in self.encoding.columns],
            "inputs": list(self.encoding.feature_names),
            "axes": list(self.numeric),
            "train": len(prepared.train_rows),
            "test": len(prepared.test_rows),
            "drawn": len(self.some),
            "held": list(self.origin._middles.values()),
            "notices": [*prepared.notices, *prepared.warnings],
        }

    def _suits(self, loss: str) -> bool:
        try:
            network_for(self.encoding, (), loss=loss)
        except UsageError:
            return False
        return True

    @cached_property
    def _middles(self) -> dict[str, dict[str, Any]]:
        return {column.source: self._middle(column) for column in self.encoding.columns}

    def _middle(self, column: Any) -> dict[str, Any]:
        """Where a feature is held where nobody says, and between what it can be moved."""
        if isinstance(column, CategoryColumn):
            texts = self.source.table.select(self.prepared.train_rows).texts(column.source)
            counts = Counter(text.strip() for text in texts)
            most = max(column.levels, key=lambda level: counts[level])
            return {"name": column.source, "kind": "text", "value": most, "levels": list(column.levels)}
        values = self.source.table.column(column.source).values
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        middle = round(column.fill) if column.kind == "boolean" else column.center
        return {"name": column.source, "kind": column.kind, "value": float(middle), "low": low, "high": high}

    def middle(self, name: str) -> float | str:
        """Where a feature is held where nobody says."""
        value: float | str = self.origin._middles[name]["value"]
        return value

    def axes(self, view: View) -> tuple[str, ...] | None:
        """The two columns that the plane lies over, or the one of numbers that there is; None where there is none."""
        if len(self.numeric) < 2:
            return self.numeric or None
        x = view.x if view.x in self.numeric else next(name for name in self.numeric if name != view.y)
        y = view.y if view.y in self.numeric and view.y != x else next(name for name in self.numeric if name != x)
        return x, y

    def plane(self, view: View) -> Plane | None:
        """The plane of a view. Raises UsageError: a feature is held where it cannot be."""
        axes = self.axes(view)
        if axes is None:
            return None
        low, high = np.empty(len(axes)), np.empty(len(axes))
        for n, name in enumerate(axes):
            values = self.origin.source.table.column(name).values
            bottom, top = float(np.nanmin(values)), float(np.nanmax(values))
            margin = _MARGIN * (top - bottom or 1.0)
            low[n], high[n] = bottom - margin, top + margin
        side = GRID if len(axes) == 2 else LINE
        steps = (np.arange(side) + 0.5) / side  # the middle of every cell
        points = low[:, np.newaxis] + steps * (high - low)[:, np.newaxis]
        placed = {axes[0]: np.tile(points[0], GRID) if len(axes) == 2 else points[0]}
        if len(axes) == 2:
            placed[axes[1]] = np.repeat(points[1], GRID)
        n_points, held = side ** len(axes), dict(view.held)
        columns = {c.source: self._held(c, held, placed.get(c.source), n_points) for c in self.encoding.columns}
        grid = Table(columns, n_points, np.arange(n_points))
        return Plane(axes[0], axes[1] if len(axes) == 2 else "", low, high, self.encoding.encode(grid))

    def _held(self, column: Any, held: Mapping[str, float | str], values: Floats | None, n: int) -> Column:
        if values is None:
            value = held.get(column.source, self.middle(column.source))
            if isinstance(column, CategoryColumn):
                if value not in column.levels:
                    raise UsageError(
                        f"{shown(column.source)} is held at one of {listed(column.levels)}; got {shown(str(value))}."
                    )
                import pyarrow

                return Column("text", np.zeros(n, np.int32), pyarrow.array([value]))
            if isinstance(value, str):
                raise UsageError(f"{shown(column.source)} is held at a number; got {shown(value)}.")
            if column.kind == "boolean":
                value = float(value >= 0.5)
            values = np.full(n, value)
        return Column(column.kind, values)

    def points(self, plane: Plane) -> dict[str, Any]:
        """The drawn rows in the plane, for the page; a missing cell has no place."""
        table, drawn, y = self.source.table, self.drawn, self.y[self.some]
        tested = self.some >= len(self.prepared.train_rows)
        found: dict[str, Any] = {"row": drawn.astype(np.int32), "tested": tested.astype(np.uint8)}
        axes = {"x": plane.x, "y": plane.y} if plane.y else {"x": plane.x}
        for axis, name in axes.items():
            found[axis] = table.column(name).values[drawn].astype(np.float32)
        if len(self.by_hand):
            found["by_hand"] = np.isin(drawn, self.by_hand).astype(np.uint8)
        if self.target.kind == "number":
            found["value"] = (self.target.center + self.target.scale * y[:, 0]).astype(np.float32)
        else:
            found["value"] = self.classes_of(y).astype(np.float32)
        return {
            **found,
            "axes": [
                {"name": name, "low": float(plane.low[n]), "high": float(plane.high[n]), "kind": self._kind(name)}
                for n, name in enumerate(axes.values())
            ],
        }

    def _kind(self, name: str) -> str:
        return self.source.table.column(name).kind

    def classes_of(self, outputs: FloatArray) -> NDArray[np.intp]:
        """The number of the class that outputs, or targets, (..., n_outputs) stand for."""
        if self.target.kind == "binary":
            return (outputs[..., 0] > 0.5).astype(np.intp)
        return np.asarray(outputs.argmax(axis=-1))

    def row_said(self, row: int) -> str:
        """A row in a few words. Raises UsageError: there is no such row."""
        table = self.source.table
        if row >= table.n_rows:
            raise UsageError(f"A row is a number from 0 to {table.n_rows - 1}; got {row}.")
        one = table.select([row])
        said = f"row {row}, {self.target.source} {one.texts(self.target.source)[0] or 'unknown'}"
        if row in self.deleted:
            return f"{said} (deleted by hand)"
        if row in self.by_hand:
            return f"{said} ({'added' if row >= self.origin.source.table.n_rows else 'moved'} by hand)"
        return f"{said} (with noise)" if self.noisy and row in self.prepared.train_rows else said


def first_source(table: Table, name: str, target: str | None = None, features: Sequence[str] = ()) -> Source:
    """A table to play with; its last column is the target where none is named.

    Raises DataError: there is no such column.
    """
    chosen = target if target is not None else table.names[-1]
    table.require([chosen])
    if len(table.names) < 2:
        raise DataError(f"a target needs a column to be predicted from; the table has {listed(table.names)} alone.")
    table.require(features)
    return Source(replace(table, source=""), name, chosen, tuple(features))  # no path is shown on the page
