"""What a training would see: every column with its kind, gaps, range, shape and encoding."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from glassnet.cells import counted, date_text
from glassnet.columns import level_counts
from glassnet.expressions import readable, significant
from glassnet.preparation import Prepared
from glassnet.tables import Column

_BARS = " ▁▂▃▄▅▆▇█"
_BINS = 12
_NARROW = 80
_EXAMPLES = 3


@dataclass(frozen=True)
class ColumnSurvey:
    """One column over all rows.

    `role`: target, feature, weights, group, split, ignored or left out, and then `reason` says why. `levels`: how many
    different texts; `range`: least, median and greatest number or date, () for texts. `histogram`: how many rows in
    each of 12 equal parts of the range, or with each of the 12 most frequent texts. `features` are what it becomes.
    """

    name: str
    role: str
    kind: str
    missing: int
    levels: int | None
    range: tuple[str, ...]
    examples: tuple[str, ...]
    histogram: tuple[int, ...]
    encoding: str
    features: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Survey:
    """All columns, and what was decided and warned of. `print` shows it; `to_json` gives plain data.

    >>> from glassnet.preparation import prepare
    >>> table = {"size": [1.5, 2.0, 3.5, 4.0], "kind": ["B", "M", "M", "B"]}
    >>> survey(prepare(table, "kind", test_size=0.5)).columns[0].range
    ('1.5', '2.75', '4')
    """

    rows: dict[str, int]
    target: str
    task: str
    n_features: int
    columns: tuple[ColumnSurvey, ...]
    notices: tuple[str, ...]
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        return self.text()

    def to_json(self) -> dict[str, Any]:
        """The same as plain data."""
        return asdict(self)

    def text(self, width: int = 100) -> str:
        """A table for a terminal of this width; under 80 letters three lines a column."""
        from rich.console import Console
        from rich.padding import Padding
        from rich.table import Table as Grid
        from rich.text import Text

        console = Console(file=io.StringIO(), width=width, color_system=None)
        grid = Grid(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
        for heading in ("column", "kind", "missing", "values", "", "becomes"):
            grid.add_column(heading, overflow="fold", justify="right" if heading == "missing" else "left")
        for column in self.columns:
            name, bars = readable(column.name, 40), sparkline(column.histogram)
            missing = f"{column.missing:,}" if column.missing else "-"
            values = " | ".join(column.range) or (
                f"{column.levels:,}: {', '.join(readable(e, 20) for e in column.examples)}"
            )
            becomes = column.encoding if column.role == "feature" else column.role
            becomes += f": {column.reason}" if column.reason else ""
            if width < _NARROW:
                head = f"{name}: {column.kind}" + (f", {missing} missing" if column.missing else "")
                body = "\n".join(filter(None, (f"{values}  {bars}", becomes)))
                console.print(Text(head, overflow="fold"), Padding(Text(body, overflow="fold"), (0, 0, 0, 2)))
            else:
                grid.add_row(*map(Text, (name, column.kind, missing, values, bars, becomes)))
        if width >= _NARROW:
            console.print(grid)
        assert isinstance(console.file, io.StringIO)
        train, test = self.rows["train"], self.rows["test"]
        lines = [
            f"{counted(train + test, 'row')}: {train:,} to train, {test:,} to test",
            f"Target {readable(self.target)}, {self.task}; {counted(self.n_features, 'feature')}",
            "",
            *(line.rstrip() for line in console.file.getvalue().splitlines()),
        ]
        return "\n".join(lines)


def survey(prepared: Prepared) -> Survey:
    """What `prepared` found in every column of its table."""
    table, encoding = prepared.table, prepared.encoding
    encoded = {column.source: column for column in encoding.columns}
    found = []
    for name in table.names:
        column = table.columns[name]
        record = encoded.get(name)
        features = () if record is None else tuple(s.target for s in record.steps() if isinstance(s.target, str))
        reason = prepared.left_out.get(name, "")
        if column.fault is not None:
            reason = f"{table.place(column.fault.row)}: {column.fault.problem}"
        found.append(
            ColumnSurvey(
                name=name,
                role=prepared.roles[name],
                kind=column.kind,
                missing=int(column.missing.sum()),
                encoding="" if record is None else record.described(),
                features=features,
                reason=reason,
                **_values(column),
            )
        )
    return Survey(
        rows={"train": len(prepared.train_rows), "test": len(prepared.test_rows)},
        target="" if encoding.target is None else encoding.target.source,
        task=prepared.task,
        n_features=encoding.n_features,
        columns=tuple(found),
        notices=(*table.notices, *prepared.notices),
        warnings=prepared.warnings,
    )


def _values(column: Column) -> dict[str, Any]:
    """Range, different texts, examples and histogram of a column."""
    present = np.flatnonzero(~column.missing)
    if column.kind == "text":
        counts = sorted(level_counts(column).items(), key=lambda item: (-item[1], item[0]))
        return {
            "levels": len(counts),
            "range": (),
            "examples": tuple(text for text, _ in counts[:_EXAMPLES]),
            "histogram": tuple(count for _, count in counts[:_BINS]),
        }
    values = column.values[present]
    values = values[np.isfinite(values)]
    if not len(values):
        return {"levels": None, "range": ("no value",), "examples": (), "histogram": ()}
    write = date_text if column.kind == "date" else lambda value: significant(value, 4 if value % 1 else 9)
    of_range = (values.min(), np.median(values), values.max())
    _, first = np.unique(values, return_index=True)
    some = Column(column.kind, values[np.sort(first)[:_EXAMPLES]])
    with np.errstate(over="ignore", invalid="ignore"):
        spread = np.isfinite(values.max() - values.min())
    return {
        "levels": None,
        "range": tuple(dict.fromkeys(write(float(value)) for value in of_range)),
        "examples": tuple(some.texts()),
        "histogram": tuple(np.histogram(values, bins=_BINS)[0].tolist()) if spread else (),
    }


def sparkline(counts: Sequence[int]) -> str:
    """A histogram in one line of text; a bin with anything in it is never blank.

    >>> sparkline([0, 1, 100])
    ' ▁█'
    """
    top = max([1, *counts])
    return "".join(_BARS[0 if not n else max(1, round(8 * n / top))] for n in counts)
