"""Sums over inputs and over rows of a table of which what is not 0 is listed row by row: for words, mostly.

`product` and `outer` have the bits of `tiles` and `zeros`, in whose place kernels call them; `dots` and `narrow_outer`,
for a few outputs of a network without hidden layers, add the same terms in the order of the lists. Compiled once for
each dtype, and only where a table is sparse.

At `source` lie three addresses: of the numbers, of their inputs (int32, rising within a row), and of where each row
begins (int64), the end of the last one behind them.
"""

from __future__ import annotations

from typing import Any

from glassnet.kernels.lanes import as_pointer_to, copy, filled, lane_count, lists_at, load, put_total, shifted
from glassnet.kernels.places import BLOCK_ROWS_AT_ONCE
from glassnet.kernels.registers import MOST_VECTORS, gathered, listed_tile, marked_columns


def _n_rows(marks: Any) -> Any:
    """Where the number of rows stands: behind the numbers that an input has in the rows of a block."""
    return as_pointer_to("int64", shifted(marks, BLOCK_ROWS_AT_ONCE))


def product(
    source: Any, index: Any, row_size: Any, n_inputs: Any, weights: Any, bias: Any, n_units: Any, goal: Any,
    goal_size: Any, n_rows: Any, n_real: Any, marks: Any,
) -> Any:  # fmt: skip
    """`tiles.product` of rows index[0] to index[n_rows - 1], as in `zeros`; `outer` finds `n_real` in `marks`."""
    values, inputs, begins = lists_at(source)
    lanes = lane_count(source)
    n_vectors = (n_units + lanes - 1) // lanes
    _n_rows(marks)[0] = n_real
    for r in range(n_real):
        first, last = begins[index[r]], begins[index[r] + 1]
        for v in range(0, n_vectors, MOST_VECTORS):
            at = v * lanes
            listed_tile(
                n_vectors - v, first, last, values, inputs, shifted(weights, at), n_units, shifted(bias, at),
                shifted(goal, r * goal_size + at),
            )  # fmt: skip
    for r in range(n_real, n_rows):
        copy(shifted(goal, r * goal_size), shifted(goal, (n_real - 1) * goal_size), n_vectors * lanes)
    return 0.0


def outer(
    source: Any, index: Any, row_size: Any, n_inputs: Any, deltas: Any, deltas_size: Any, n_units: Any, start: Any,
    start_size: Any, goal: Any, marks: Any,
) -> Any:  # fmt: skip
    """`tiles.outer` of the rows that `product` went over, without the bias.

    In `marks` every input gets a word, in which a row that lists it has a bit; the inputs are then gone through once,
    and with each row a cursor over its list.
    """
    values, inputs, begins = lists_at(source)
    lanes = lane_count(source)
    n_vectors = (n_units + lanes - 1) // lanes
    count = _n_rows(marks)
    cursors, every = shifted(count, 1), shifted(count, 1 + BLOCK_ROWS_AT_ONCE)
    factors, words, n_rows = marks, shifted(count, 1 + 2 * BLOCK_ROWS_AT_ONCE), count[0]
    for i in range(n_inputs):
        words[i] = 0
    for r in range(n_rows):
        every[r], cursors[r] = r, begins[index[r]]
        for k in range(begins[index[r]], begins[index[r] + 1]):
            words[inputs[k]] = words[inputs[k]] | (1 << r)
    for i in range(n_inputs):
        if words[i] == 0 and start_size > 0:
            continue  # nothing is added to what stands there
        gathered(factors, shifted(words, i), values, cursors)
        for v in range(0, n_vectors, MOST_VECTORS):
            marked_columns(
                1, n_vectors - v, shifted(words, i), factors, every, 1, shifted(deltas, v * lanes), deltas_size,
                shifted(start, i * start_size + v * lanes), start_size, shifted(goal, i * n_units + v * lanes), n_units,
                n_units - v * lanes,
            )  # fmt: skip
    return 0.0


def dots(
    source: Any, index: Any, row_size: Any, n_inputs: Any, turned: Any, turned_size: Any, bias: Any, n_units: Any,
    goal: Any, goal_size: Any, n_rows: Any,
) -> Any:  # fmt: skip
    """`tiles.dots`, but for the order of the sums."""
    values, inputs, begins = lists_at(source)
    for r in range(n_rows):
        for j in range(n_units):
            total, weights = bias[j], shifted(turned, j * turned_size)
            for k in range(begins[index[r]], begins[index[r] + 1]):
                total = total + values[k] * weights[inputs[k]]
            goal[j * goal_size + r] = total
    return 0.0


def narrow_outer(
    source: Any, index: Any, row_size: Any, n_inputs: Any, deltas: Any, deltas_size: Any, n_units: Any, goal: Any,
    bias_goal: Any, n_rows: Any, scratch: Any,
) -> Any:  # fmt: skip
    """`tiles.narrow_outer`, but for the order of the sums."""
    values, inputs, begins = lists_at(source)
    for r in range(n_rows):
        for k in range(begins[index[r]], begins[index[r] + 1]):
            for j in range(n_units):
                goal[inputs[k] * n_units + j] += values[k] * deltas[j * deltas_size + r]
    lanes = lane_count(source)
    for j in range(n_units):
        total = filled(source, 0)
        for r in range(0, n_rows, lanes):
            total = total + load(deltas, j * deltas_size + r)
        put_total(bias_goal, j, bias_goal[j], total)
    return 0.0
