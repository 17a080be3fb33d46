"""Parquet and Arrow files: typed already, and checked before memory is taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from glassnet.cells import CellRules, Kind
from glassnet.errors import DataError
from glassnet.reading.delimited import MAX_COLUMNS
from glassnet.tables import Table, check_names, column_of_arrow

MAX_BYTES = 2**34
_MAX_PIPE_BYTES = 2**32
PARQUET, ARROW_FILE, ARROW_STREAM = b"PAR1", b"ARROW1", b"\xff\xff\xff\xff"


def read_columnar(source: str, file: BinaryIO, first: bytes, rules: CellRules, kinds: Mapping[str, Kind]) -> Table:
    """The table of a Parquet file, an Arrow file (Feather too) or an Arrow stream; `first` was read from it already.

    Raises DataError: damaged, too large (16 GiB in memory, 20,000 columns), a column that holds no plain cells.
    """
    import pyarrow
    from pyarrow import ipc, parquet

    kind = "Parquet" if first.startswith(PARQUET) else "Arrow"
    try:
        if file.seekable():
            file.seek(0)
            handle: Any = pyarrow.PythonFile(file, mode="r")
        else:
            rest = file.read(_MAX_PIPE_BYTES)
            if len(rest) == _MAX_PIPE_BYTES:
                raise DataError(f"{source}: a pipe carries up to 4 GiB of a {kind} file. Name the file itself.")
            handle = pyarrow.BufferReader(first + rest)
        if kind == "Parquet":
            opened = parquet.ParquetFile(handle)
            metadata = opened.metadata
            groups = [metadata.row_group(j).total_byte_size for j in range(metadata.num_row_groups)]
            _check_size(source, max(sum(groups), 8 * metadata.num_rows * metadata.num_columns), metadata.num_columns)
            read = opened.read()
        else:
            reader = ipc.open_file(handle) if first.startswith(ARROW_FILE) else ipc.open_stream(handle)
            _check_size(source, 0, len(reader.schema))
            read = reader.read_all()
            read.validate(full=True)
    except (pyarrow.ArrowException, OSError, ValueError, EOFError, TypeError) as error:
        if isinstance(error, DataError):
            raise
        said = " ".join(str(error).split())[:200].rstrip(".")
        raise DataError(f"{source}: damaged {kind} data: {said}. Get the file again.") from error
    check_names(read.column_names, source)
    if not read.num_rows:
        raise DataError(f"{source}: a table needs a column and a row; this file has no rows.")
    try:
        columns = {name: column_of_arrow(name, read.column(name), rules, kinds.get(name)) for name in read.column_names}
    except DataError as error:
        raise DataError(f"{source}: {error}") from error
    except pyarrow.ArrowException as error:
        raise DataError(f"{source}: damaged {kind} data: {' '.join(str(error).split())[:200]}.") from error
    return Table(columns, read.num_rows, np.arange(read.num_rows), None, source, (), rules.missing)


def _check_size(source: str, n_bytes: int, n_columns: int) -> None:
    if n_columns > MAX_COLUMNS:
        raise DataError(f"{source}: a table has at most {MAX_COLUMNS:,} columns; this one has {n_columns:,}.")
    if n_bytes > MAX_BYTES:
        raise DataError(
            f"{source}: a table has at most {MAX_BYTES // 2**30} GiB in memory; this one says that it has "
            f"{n_bytes / 2**30:.0f}. Take a part of it."
        )
