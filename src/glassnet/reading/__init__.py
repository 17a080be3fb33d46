"""Files read strictly: a `Table` of what the file says, or an error that names the place and the way out.

`sources` hands on bytes as UTF-8, `dialect` tells how the text is written, `blocks` cuts it, `delimited` reads it,
`columnar` reads Parquet and Arrow.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Literal

from glassnet.cells import PLAIN, CellRules, Kind, listed
from glassnet.errors import DataError, UsageError
from glassnet.reading import columnar, delimited, dialect, sources
from glassnet.tables import Table, require

__all__ = ["read_table"]


def read_table(
    path: str | os.PathLike[str],
    *,
    delimiter: str | None = None,
    encoding: str | None = None,
    decimal: Literal[".", ","] | None = None,
    text: Sequence[str] = (),
    number: Sequence[str] = (),
    missing: Sequence[str] | None = None,
    kinds: Mapping[str, Kind] | None = None,
    threads: int | None = None,
) -> Table:
    """Read a CSV file, plain or packed with gzip, a Parquet or an Arrow file; "-" is standard input.

    What stands between columns and before decimals, the encoding, and what each column holds are told from the file;
    `notices` of the table says what was not plain, and the arguments overrule it. `text` and `number` name columns to
    be read as such; `kinds` says more of them, and names columns that may be absent. `missing` are the words, beside
    blank cells, that say that there is no value. Line ends may be LF, CR LF or CR, and stand in quoted cells too.
    A last column without a name and without a value is dropped, which `notices` says.

    A column's kind is told from the first part of the file, 256 KiB or 1,000 rows, that has a value in it. A later cell
    of another kind is raised when the column is asked for, for it may not be needed.

    Limits: a row of 1 MiB, 20,000 columns, a gzip file of 100 times its own size. A file is read block by block, in
    memory for its columns and a few blocks more.

    Raises NoInputError: no such file, or a folder. Raises UsageError: an option that cannot be meant. Raises DataError,
    with the place: an empty file, no rows, a column without a name or with another's, a row that is blank or of
    another width, a quote that is never closed, NUL bytes, bytes that are not UTF-8, damage; and what can be read in
    two ways, with the option that decides.

    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "people.csv")
    ...     with open(path, "w") as file:
    ...         _ = file.write("age;weight;sex\\n39;71,5;M\\n50;80,25;F\\n")
    ...     table = read_table(path)
    >>> table, table.numbers("weight").tolist()
    (<Table of 2 rows: 'age', 'weight', 'sex'>, [71.5, 80.25])
    >>> table.notices
    ('columns are separated by semicolons (;)', 'decimals are written with a comma (1,5)')
    """
    delimiter = dialect.checked_delimiter(delimiter)
    sources.check_encoding(encoding)
    rules = PLAIN if missing is None else CellRules(tuple(missing))
    if decimal is not None:
        CellRules(decimal=decimal)
    both = sorted(set(text) & set(number))
    if both:
        raise UsageError(f"a column is read as text or as numbers; {listed(both)} is named for both.")
    source = "standard input" if path == "-" else str(path)
    notices: list[str] = []
    with sources.opened(path) as file:
        first = next(sources.pieces_of(source, file, b""), b"")
        if first.startswith((columnar.PARQUET, columnar.ARROW_FILE, columnar.ARROW_STREAM)):
            said: dict[str, Kind] = {**(kinds or {}), **dict.fromkeys(text, "text"), **dict.fromkeys(number, "number")}
            table = columnar.read_columnar(source, file, first, rules, said)
            require([*text, *number], table.names, source)
            return table
        pieces: Iterator[bytes] = sources.pieces_of(source, file, first)
        if first.startswith(sources.GZIP):
            pieces = sources.unpacked(source, pieces)
            first = next(pieces, b"")
            if first.startswith((columnar.PARQUET, columnar.ARROW_FILE)):
                raise DataError(f"{source}: Parquet and Arrow files are packed inside; this one is in gzip. Unpack it.")
            pieces = chain([first], pieces)
        sources.refuse_other_files(source, first)
        pieces = sources.decoded(source, pieces, first, encoding, notices)
        return delimited.read_delimited(
            source,
            pieces,
            notices,
            rules,
            delimiter=delimiter,
            decimal=decimal,
            texts=text,
            numbers=number,
            kinds=kinds or {},
            threads=threads,
        )
