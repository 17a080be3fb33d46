"""Candidates that are meant for one row at a time: their gradients are of one row's loss, and are averaged here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from glassnet.checking.agreement import Observed
from glassnet.checking.cases import Case
from glassnet.checking.computation import Quantity
from glassnet.checking.layout import Layout


class RowByRow:
    """Another candidate, handed one row after the other."""

    def __init__(self, candidate: Any) -> None:
        self.candidate, self.form = candidate, candidate.form
        self.described = f"{candidate.described}, one row at a time"

    def own_sizes(self) -> tuple[int, ...] | None:
        """The candidate's."""
        sizes: tuple[int, ...] | None = self.candidate.own_sizes()
        return sizes

    def layouts(self) -> Iterator[Layout]:
        """Every layout with a row as a table of one row, and as a vector."""
        for layout in self.candidate.layouts():
            for row in ("table", "vector"):
                if layout.targets != "labels" and not (row == "vector" and layout.columns):
                    yield replace(layout, row=row)

    def run(self, case: Case, layout: Layout) -> Observed:
        """All rows; raises `FailedError`."""
        rows = [
            self.candidate.run(replace(case, X=case.X[at : at + 1], y=case.y[at : at + 1]), layout)
            for at in range(case.n)
        ]
        numbers: dict[Quantity, Any] = {}
        for quantity in rows[0].numbers:
            each = [row.numbers[quantity] for row in rows if quantity in row.numbers]
            if quantity.kind in ("W", "b") or len({np.shape(one) for one in each}) > 1:
                continue
            of_rows = quantity.kind in ("z", "a", "p", "delta")
            numbers[quantity] = np.concatenate(each) if of_rows else np.mean(each, axis=0)
        return Observed(case, numbers, rows[0].single, rows[0].layout, failed=rows[0].failed)
