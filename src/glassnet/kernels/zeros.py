"""Sums over inputs and over rows that pass over the zeros of a block: for pixels, and for categories as 0 and 1.

A zero adds nothing, so these have the bits of `tiles.product` and `tiles.outer`. Compiled once for each dtype, and only
where a table is mostly zeros.

What is not 0 has a bit in `marks`, which has room for `mark_size` numbers: for every 64 inputs a word of each row, then
for every vector of inputs the lanes that are not 0, row after row. A sum goes from bit to bit.
"""

from __future__ import annotations

from typing import Any

from glassnet.kernels.lanes import as_pointer_to, bits, copy, fetch, lane_count, load, load_some, shifted
from glassnet.kernels.places import BLOCK_ROWS_AT_ONCE
from glassnet.kernels.registers import COLUMNS, MOST_VECTORS, column_bits, marked_columns, marked_tile

_INPUTS = 64  # that have their bits in one word
_FEW = 256  # inputs of rows that are short
_AHEAD = 3000  # inputs, so many rows, that are fetched before they are read


def _parts(marks: Any, n_inputs: Any) -> Any:
    """The number of words for a row; where they lie, and where the lanes of every vector."""
    n_words = (n_inputs + _INPUTS - 1) // _INPUTS
    words = as_pointer_to("int64", marks)
    return n_words, words, as_pointer_to("int16", shifted(words, BLOCK_ROWS_AT_ONCE * n_words))


def _fetch(numbers: Any, first: Any, n: Any) -> None:
    """Bring n numbers nearer."""
    for place in range(0, n, lane_count(numbers)):
        fetch(numbers, first + place)


def product(
    source: Any, index: Any, row_size: Any, n_inputs: Any, weights: Any, bias: Any, n_units: Any, goal: Any,
    goal_size: Any, n_rows: Any, n_real: Any, marks: Any,
) -> Any:  # fmt: skip
    """`tiles.product` of rows index[0] to index[n_rows - 1] of `source`, whose `marks` are left for `outer`.

    Behind these numbers stand those of as many rows that come next. From `n_real` on it is the last row once more: what
    came of that is copied, and it has no marks.

    What will be wanted is brought nearer: the next rows while short ones are summed, long ones while others are marked,
    for to sum these up waits for memory itself; and the weights of long ones, which other threads have changed.
    """
    lanes = lane_count(source)
    n_vectors = (n_units + lanes - 1) // lanes
    n_words, words, lanes_marked = _parts(marks, n_inputs)
    n_fetched = n_inputs if n_inputs > _FEW else 0
    rows_ahead = 1 + _AHEAD // n_inputs if n_fetched > 0 else 0
    for r in range(n_real):
        row, mark = shifted(source, index[r] * row_size), shifted(lanes_marked, r)
        later_row = shifted(source, index[r + rows_ahead] * row_size)
        if r < n_fetched:
            _fetch(weights, r * n_units, n_units)
        i = 0
        for word in range(n_words):
            found = 0
            for place in range(0, min(_INPUTS, n_inputs - i), lanes):
                fetch(later_row, i)
                x = load(row, i) if n_inputs - i >= lanes else load_some(row, i, n_inputs - i)
                some = bits(x != 0)
                mark[i * (BLOCK_ROWS_AT_ONCE // lanes)] = some
                found += some << place
                i += lanes
            words[word * BLOCK_ROWS_AT_ONCE + r] = found
    # The weights of a word's inputs stay in the nearest cache while all rows are gone through.
    for word in range(n_words):
        i = word * _INPUTS
        for r in range(n_real):
            if n_fetched == 0:
                _fetch(shifted(source, index[r + n_rows] * row_size), i, min(_INPUTS, n_inputs - i))
            elif i + _INPUTS + r < n_fetched:
                _fetch(weights, (i + _INPUTS + r) * n_units, n_units)
            marked = shifted(words, word * BLOCK_ROWS_AT_ONCE + r)
            if word > 0 and marked[0] == 0:
                continue
            inputs = shifted(source, index[r] * row_size + i)
            for v in range(0, n_vectors, MOST_VECTORS):
                at = v * lanes
                sums = shifted(goal, r * goal_size + at)
                start = shifted(bias, at) if word == 0 else sums
                marked_tile(n_vectors - v, marked, inputs, shifted(weights, i * n_units + at), n_units, start, sums)
    for r in range(n_real, n_rows):
        copy(shifted(goal, r * goal_size), shifted(goal, (n_real - 1) * goal_size), n_vectors * lanes)
    for r in range(n_real, BLOCK_ROWS_AT_ONCE):
        for i in range(0, n_inputs, lanes):
            lanes_marked[i * (BLOCK_ROWS_AT_ONCE // lanes) + r] = 0
    return 0.0


def outer(
    source: Any, index: Any, row_size: Any, n_inputs: Any, deltas: Any, deltas_size: Any, n_units: Any, start: Any,
    start_size: Any, goal: Any, marks: Any,
) -> Any:  # fmt: skip
    """`tiles.outer` of the rows that `product` has marked, without the bias; but a zero keeps its sign where columns
    that are 0 in all rows are added to it."""
    lanes = lane_count(source)
    n_vectors = (n_units + lanes - 1) // lanes
    _n_words, words, lanes_marked = _parts(marks, n_inputs)
    for first in range(0, n_inputs, lanes):
        some = shifted(lanes_marked, first * (BLOCK_ROWS_AT_ONCE // lanes))
        for lane in range(0, min(lanes, n_inputs - first), COLUMNS):
            i = first + lane
            words[0] = column_bits(some, lane, COLUMNS)
            if words[0] == 0 and start_size > 0:
                continue  # nothing is added to what stands there
            for v in range(0, n_vectors, MOST_VECTORS):
                old, at = shifted(start, i * start_size + v * lanes), shifted(goal, i * n_units + v * lanes)
                of_v, left = shifted(deltas, v * lanes), n_units - v * lanes
                if n_inputs - i >= COLUMNS:
                    marked_columns(
                        COLUMNS, n_vectors - v, words, shifted(source, i), index, row_size, of_v, deltas_size, old,
                        start_size, at, n_units, left,
                    )  # fmt: skip
                else:
                    marked_columns(
                        1, n_vectors - v, words, shifted(source, i), index, row_size, of_v, deltas_size, old,
                        start_size, at, n_units, left,
                    )  # fmt: skip
    return 0.0
