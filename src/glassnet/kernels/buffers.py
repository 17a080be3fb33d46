"""Rows of tables that no kernel reads as they are, into buffers of floats: those of bytes, and sparse ones.

Compiled once for each dtype, and only where there is such a table. `rows` are the numbers of the rows to take. An
unrolled kernel finds input i of row r at `table[i * stride + r]`; a tiled one reads whole rows, whose numbers are then
those in the buffer.
"""

from __future__ import annotations

from typing import Any

from glassnet.kernels.lanes import as_pointer_to, lists_at, shifted
from glassnet.kernels.places import ROWS_AHEAD


def take_bytes(X: Any, rows: Any, table: Any, n: Any, n_in: Any, unrolled: Any, stride: Any) -> Any:
    """n rows of bytes; behind their numbers stand those of rows that are there, for whoever looks ahead."""
    bytes_of_X = as_pointer_to("uint8", X)
    if unrolled:
        for i in range(n_in):
            for r in range(n):
                table[i * stride + r] = bytes_of_X[rows[r] * n_in + i]
    else:
        for r in range(n):
            goal, row = shifted(table, r * n_in), shifted(bytes_of_X, rows[r] * n_in)
            for i in range(n_in):
                goal[i] = row[i]
            rows[r] = r
        for r in range(n, n + ROWS_AHEAD):
            rows[r] = n - 1
    return 0.0


def take_lists(X: Any, rows: Any, table: Any, n: Any, n_in: Any, unrolled: Any, stride: Any) -> Any:
    """n rows of a sparse table: zeros, and what its lists hold."""
    values, inputs, begins = lists_at(X)
    for r in range(n):
        if unrolled:
            for i in range(n_in):
                table[i * stride + r] = 0
            for k in range(begins[rows[r]], begins[rows[r] + 1]):
                table[inputs[k] * stride + r] = values[k]
        else:
            row = shifted(table, r * n_in)
            for i in range(n_in):
                row[i] = 0
            for k in range(begins[rows[r]], begins[rows[r] + 1]):
                row[inputs[k]] = values[k]
            rows[r] = r
    return 0.0
