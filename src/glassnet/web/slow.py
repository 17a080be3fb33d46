"""One row in one update of a training, number by number: what the page's slow speed goes through.

The lines are those of `explain`: the row's cells become inputs, then forward, loss, backward, and the update of every
parameter. Each has its name and its value; formulas are made for a window of them at a time, for a large network has
thousands.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from typing import Any

import numpy as np

from glassnet.derivations.calculation import Worked
from glassnet.derivations.worked import explain
from glassnet.derivations.worked_mathml import marked_lines
from glassnet.errors import UsageError
from glassnet.model import Model
from glassnet.network import FloatArray, Parameters
from glassnet.optimizers import LBFGS
from glassnet.training import Run
from glassnet.web.ground import Ground

MOST_LINES = 30_000
"""Lines of a step; a network with more is not gone through."""

WINDOW = 24
"""Lines whose formulas are made at a time."""


@dataclass(frozen=True, eq=False)
class SlowStep:
    """The lines of one row in the update that follows `epoch` epochs of a run.

    `batch` counts from 1, 0 where no update follows: for a test row, after the last epoch, by L-BFGS. `before` and
    `after` are the parameters (n_parameters,) around the update.
    """

    said: str
    work: tuple[Worked, ...]
    epoch: int
    batch: int
    n_batches: int
    before: FloatArray
    after: FloatArray

    @classmethod
    def of(cls, ground: Ground, run: Run, vector: FloatArray, row: int, epoch: int) -> SlowStep:
        """The step of row `row` of the table after `epoch` epochs, at the end of which `vector` were the parameters.

        Raises UsageError: a row that is not there, a network of too many lines.
        """
        if row >= ground.source.table.n_rows:
            raise UsageError(f"A row is a number from 0 to {ground.source.table.n_rows - 1}; got {row}.")
        network, number = run.network, np.flatnonzero(ground.prepared.train_rows == row)
        before, batch = vector, 0
        work: tuple[Worked, ...] = ()
        if isinstance(run.spec.optimizer, LBFGS):
            said = "L-BFGS moves all weights at once, along a line that it searches: none of its updates is shown."
        elif not len(number):
            said = "A row that is not trained on is in no batch: it is worked out, and moves no weight."
        elif epoch >= run.counters["epochs"]:
            said = "After the last epoch no update follows."
        else:
            batch = run.batch_of(epoch + 1, int(number[0]))
            at = run.replay(epoch + 1, batch)
            worked = explain(run, int(number[0]), step=(epoch + 1, batch))
            before, work = at.parameters.vector, worked.work
            said = f"Update {at.t}: batch {batch} of {run.n_batches} in epoch {epoch + 1}. {' '.join(worked.remarks)}"
        model = Model(network, (Parameters(network, before.copy()),), ground.encoding)
        of_row = explain(model, ground.source.table.select([row]), 0).work
        cells = [one for one in of_row if one.equation.stage == "encode"]
        found = cls(said, (*cells, *work) if work else of_row, epoch, batch, run.n_batches, before, before)
        if found.total > MOST_LINES:
            raise UsageError(
                f"A step is gone through where it has at most {MOST_LINES:,} lines; this one has {found.total:,}. "
                "A smaller network has fewer."
            )
        return replace(found, after=found.updated(network)) if work else found

    @cached_property
    def total(self) -> int:
        """How many lines there are."""
        return sum(_size(one) for one in self.work)

    def updated(self, network: Any) -> FloatArray:
        """The parameters as the update's lines have them, (n_parameters,)."""
        after = Parameters(network, self.before.copy())
        for one in self.work:
            target = one.equation.target
            if one.equation.stage == "update" and target.kind in ("w", "b") and target.layer is not None:
                of_layer = (after.weights if target.kind == "w" else after.biases)[target.layer - 1]
                of_layer[...] = one.values
        return after.vector

    def plan(self) -> dict[str, Any]:
        """Every line's name and value, and where each stage begins."""
        names: list[str] = []
        values: list[FloatArray] = []
        stages: list[tuple[str, int]] = []
        for stage, of_stage in groupby(self.work, lambda one: one.equation.stage):
            stages.append((stage, len(names)))
            for one in of_stage:
                names += [str(one.equation.target.bound(index)) for index in _indices(one)]
                values.append(np.ravel(one.values))
        return {
            "said": self.said,
            "epoch": self.epoch,
            "batch": self.batch,
            "names": names,
            "values": np.concatenate(values).astype(np.float64),
            "stages": stages,
            "before": self.before,
            "after": self.after,
        }

    def window(self, number: int) -> dict[str, Any]:
        """The formulas of the lines from `number` * WINDOW on."""
        first, left = number * WINDOW, number * WINDOW
        lines: list[dict[str, Any]] = []
        for one in self.work:
            size = _size(one)
            if left < size and len(lines) < WINDOW:
                for index in _indices(one)[left : left + WINDOW - len(lines)]:
                    (line,) = marked_lines(replace(one, at=index) if index else one)
                    lines.append({"name": line.symbol, "pieces": line.pieces, "note": line.note})
            left = max(0, left - size)
        return {"first": first, "lines": lines}


def _size(one: Worked) -> int:
    return 1 if one.at else one.values.size


def _indices(one: Worked) -> list[dict[str, int]]:
    return [dict(one.at)] if one.at else list(one.equation.indices())
