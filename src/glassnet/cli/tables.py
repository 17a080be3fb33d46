"""The table that a command works on: the options that say how it is read, its reading, its columns by name."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from glassnet.cli.output import say
from glassnet.errors import UsageError

if TYPE_CHECKING:
    from glassnet.model import Model
    from glassnet.tables import Table


def reads_a_table(command: Callable[..., None]) -> Callable[..., None]:
    """The options that overrule what a file's reading decides, handed to `command` as one `reading`."""

    @functools.wraps(command)
    def with_reading(
        *,
        delimiter: str | None,
        encoding: str | None,
        decimal: str | None,
        text: tuple[str, ...],
        number: tuple[str, ...],
        missing: str | None,
        **others: Any,
    ) -> None:
        if decimal not in (None, ".", ","):
            raise UsageError(f"--decimal is a point or a comma; got {decimal!r}.")
        words = None if missing is None else between_commas(missing)
        reading = {"delimiter": delimiter, "encoding": encoding, "decimal": decimal, "missing": words}
        command(reading={**reading, "text": text, "number": number}, **others)

    options = [
        click.option("--delimiter", metavar="SIGN", help="Between columns: , ; | tab ...; told where left out."),
        click.option(
            "--encoding", metavar="NAME", help="Of the text: utf-8, cp1252, utf-16, ...; told where left out."
        ),
        click.option("--decimal", metavar="SIGN", help="Before decimals: a point or a comma; told where left out."),
        click.option("--text", multiple=True, metavar="COLUMN", help="Read this column as text; may be given again."),
        click.option(
            "--number", multiple=True, metavar="COLUMN", help="Read this column as numbers; may be given again."
        ),
        click.option(
            "--missing", metavar="WORDS", help="Cells without a value, beside blanks, in place of NA,N/A,?,..."
        ),
    ]
    for option in reversed(options):
        with_reading = option(with_reading)
    return with_reading


def read(path: str, reading: dict[str, Any], model: Model | None = None, *, remarks: bool = True) -> Table:
    """The table, for a model read as the model knows its columns; what was decided is said."""
    from glassnet.reading import read_table

    if model is not None:
        words = model.missing_words if reading["missing"] is None else reading["missing"]
        reading = {**reading, "missing": words, "kinds": model.encoder.kinds}
    table = read_table(path, **reading)
    said = list(table.notices)
    if model is not None and remarks:
        said += model.encoder.remarks(table)
    for notice in said:
        say(notice)
    return table


def between_commas(text: str) -> list[str]:
    """The parts between commas; one that holds a comma stands in quotes."""
    import csv

    return next(csv.reader([text]), [])


def names_in(text: str, table: Table) -> list[str]:
    """The names between commas. Blanks count where the table has them."""
    names = [text] if text in table.names else between_commas(text)
    return [name if name in table.names else name.strip() for name in names if name.strip()]
