"""Sums over inputs and over rows that pass over the zeros of a block: for pixels, and for categories as 0 and 1.

A zero adds nothing, so these have the bits of `tiles.product` and `tiles.outer`. Compiled once for each dtype, and only
where a table is mostly zeros.

What is not 0 in a block of rows is listed row by row, values and numbers of inputs, and once more input by input,
values and numbers of rows: `lists` has room for that, `list_size` numbers.
"""

from __future__ import annotations

from typing import Any

from glassnet.kernels.lanes import as_pointer_to, lane_count, shifted
from glassnet.kernels.places import BLOCK_ROWS_AT_ONCE
from glassnet.kernels.registers import append_nonzero, fetch, gathered_tile


def _parts(lists: Any, n_inputs: Any) -> Any:
    """Where the lists lie: ends of rows, lengths of columns, values and numbers by row, and by column."""
    lanes, size = lane_count(lists), BLOCK_ROWS_AT_ONCE * n_inputs
    ends = lists
    lengths = shifted(ends, BLOCK_ROWS_AT_ONCE + 1)
    values = shifted(lengths, n_inputs)
    numbers = shifted(values, size + lanes)
    column_values = shifted(numbers, size + lanes)
    column_rows = shifted(column_values, size)
    return (
        as_pointer_to("int32", ends), as_pointer_to("int32", lengths), values, as_pointer_to("int32", numbers),
        column_values, as_pointer_to("int32", column_rows),
    )  # fmt: skip


def find(source: Any, index: Any, row_size: Any, n_inputs: Any, n_rows: Any, by_column: Any, lists: Any) -> Any:
    """List what is not 0 in rows index[0] to index[n_rows - 1] of `source`; input by input only where asked for."""
    lanes = lane_count(source)
    ends, lengths, values, numbers, column_values, column_rows = _parts(lists, n_inputs)
    for i in range(n_inputs):
        lengths[i] = 0
    begin = 0
    for r in range(n_rows):
        row, next_row = shifted(source, index[r] * row_size), shifted(source, index[min(r + 1, n_rows - 1)] * row_size)
        end = begin
        for i in range(0, n_inputs, lanes):
            fetch(next_row, i)
            end += append_nonzero(row, i, min(lanes, n_inputs - i), values, numbers, end)
        ends[r] = end
        if by_column:
            for at in range(begin, end):
                i = numbers[at]
                place = BLOCK_ROWS_AT_ONCE * i + lengths[i]
                column_values[place] = values[at]
                column_rows[place] = r
                lengths[i] += 1
        begin = end
    return 0.0


def product(
    lists: Any, n_inputs: Any, weights: Any, weights_size: Any, bias: Any, n_units: Any, goal: Any, goal_size: Any,
    n_rows: Any,
) -> Any:  # fmt: skip
    """`tiles.product` of the rows that are listed."""
    lanes = lane_count(weights)
    n_vectors = (n_units + lanes - 1) // lanes
    ends, _lengths, values, numbers, _column_values, _column_rows = _parts(lists, n_inputs)
    begin = 0
    for r in range(n_rows):
        x, of, n = shifted(values, begin), shifted(numbers, begin), ends[r] - begin
        v = 0
        while v < n_vectors:
            w, start, at = (
                shifted(weights, v * lanes),
                shifted(bias, v * lanes),
                shifted(goal, r * goal_size + v * lanes),
            )
            if n_vectors - v >= 8:
                gathered_tile(8, 0, x, of, n, w, weights_size, start, at, lanes)
                v += 8
            elif n_vectors - v >= 4:
                gathered_tile(4, 0, x, of, n, w, weights_size, start, at, lanes)
                v += 4
            elif n_vectors - v >= 2:
                gathered_tile(2, 0, x, of, n, w, weights_size, start, at, lanes)
                v += 2
            else:
                gathered_tile(1, 0, x, of, n, w, weights_size, start, at, lanes)
                v += 1
        begin = ends[r]
    return 0.0


def outer(lists: Any, n_inputs: Any, deltas: Any, deltas_size: Any, n_units: Any, goal: Any) -> Any:
    """`tiles.outer` of the inputs that are listed, without the bias."""
    lanes = lane_count(deltas)
    n_vectors = (n_units + lanes - 1) // lanes
    _ends, lengths, _values, _numbers, column_values, column_rows = _parts(lists, n_inputs)
    for i in range(n_inputs):
        n = lengths[i]
        if n == 0:
            continue
        x, of = shifted(column_values, BLOCK_ROWS_AT_ONCE * i), shifted(column_rows, BLOCK_ROWS_AT_ONCE * i)
        v = 0
        while v < n_vectors:
            delta, at = shifted(deltas, v * lanes), shifted(goal, i * n_units + v * lanes)
            if n_vectors - v >= 8:
                gathered_tile(8, 1, x, of, n, delta, deltas_size, at, at, min(lanes, n_units - (v + 7) * lanes))
                v += 8
            elif n_vectors - v >= 4:
                gathered_tile(4, 1, x, of, n, delta, deltas_size, at, at, min(lanes, n_units - (v + 3) * lanes))
                v += 4
            elif n_vectors - v >= 2:
                gathered_tile(2, 1, x, of, n, delta, deltas_size, at, at, min(lanes, n_units - (v + 1) * lanes))
                v += 2
            else:
                gathered_tile(1, 1, x, of, n, delta, deltas_size, at, at, min(lanes, n_units - v * lanes))
                v += 1
    return 0.0
