"""`glassnet evaluate` and `predict`: what a model answers on the rows of a table."""

from __future__ import annotations

import sys
from typing import Any

import click

from glassnet.cli.options import JSON
from glassnet.cli.output import figure, json_text
from glassnet.cli.tables import read, reads_a_table


@click.command()
@click.argument("model")
@click.argument("data")
@click.option("--weights", metavar="COLUMN", help="How much each row counts, 0 or more.")
@reads_a_table
@JSON
def evaluate(model: str, data: str, weights: str | None, reading: dict[str, Any], as_json: bool) -> None:
    """How good a model is on a table that has the target.

    \b
    glassnet evaluate tumor.safetensors new-tumors.csv
    glassnet evaluate tumor.safetensors - --json < new-tumors.csv
    """
    from glassnet.cells import counted
    from glassnet.expressions import readable
    from glassnet.model import load
    from glassnet.preparation import row_weights

    loaded = load(model)
    table = read(data, reading, loaded)
    found = loaded.evaluate(table, None if weights is None else row_weights(table, weights))
    if as_json:
        click.echo(json_text({"model": model, "task": loaded.task, "rows": table.n_rows, **found}))
        return
    click.echo(f"{counted(table.n_rows, 'row')}, {loaded.task} of {readable(loaded.target.source)}")
    for name, value in found.items():
        click.echo(f"  {name:<9} {figure(value)}")


@click.command()
@click.argument("model")
@click.argument("data")
@reads_a_table
@JSON
def predict(model: str, data: str, reading: dict[str, Any], as_json: bool) -> None:
    """Predict every row of a table: CSV on stdout, in row order.

    \b
    glassnet predict tumor.safetensors new-tumors.csv > predictions.csv
    cat new-tumors.csv | glassnet predict tumor.safetensors -

    The first column is the prediction; for classes, one probability column per class follows. A text that a
    spreadsheet would run as a formula stands behind an apostrophe; --json has it as it is.
    """
    import csv

    from glassnet.cells import not_a_formula
    from glassnet.model import load

    loaded = load(model)
    table = read(data, reading, loaded)
    names = [loaded.target.source]
    columns: list[list[Any]] = [list(loaded.predict(table))]
    if loaded.task == "classification":
        names += [f"probability_{label}" for label in loaded.classes]
        columns += loaded.predict_proba(table).T.tolist()
    rows = zip(*columns, strict=True)
    if as_json:
        click.echo(json_text([dict(zip(names, row, strict=True)) for row in rows]))
        return
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(map(not_a_formula, names))
    for label, *chances in rows:
        said = not_a_formula(label) if isinstance(label, str) else repr(float(label))
        writer.writerow([said, *map(repr, chances)])
