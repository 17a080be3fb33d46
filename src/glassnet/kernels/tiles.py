"""Sums over inputs and over rows for a block of rows and any number of units, tile by tile: what tiled kernels call.

Compiled once for each dtype, whatever the network.
"""

from __future__ import annotations

from typing import Any

from glassnet.kernels.lanes import (
    filled,
    lane_count,
    load,
    load_some,
    put_total,
    shifted,
    store,
    store_some,
)  # fmt: skip
from glassnet.kernels.registers import (
    FEWEST_FOR_3,
    INPUTS_OF_1,
    INPUTS_OF_2,
    INPUTS_OF_3,
    ROWS,
    dot_tile,
    outer_tile,
    product_tile,
)


def product(
    source: Any, index: Any, row_size: Any, step: Any, n_inputs: Any, weights: Any, weights_size: Any, bias: Any,
    with_bias: Any, n_units: Any, goal: Any, goal_size: Any, n_rows: Any,
) -> Any:  # fmt: skip
    """For every row r and unit j: goal[r, j] = bias[j] + sum over i of source[index[r], i] weights[i, j]."""
    lanes = lane_count(source)
    n_vectors = (n_units + lanes - 1) // lanes
    r = 0
    while r < n_rows:
        size = 2 * ROWS if n_vectors == 1 and n_rows - r >= 2 * ROWS else ROWS
        v = 0
        while v < n_vectors:
            place, at = r * goal_size + v * lanes, v * lanes
            if n_vectors - v == 3 or n_vectors - v > 4:
                product_tile(
                    ROWS, 3, source, shifted(index, r), row_size, step, n_inputs, shifted(weights, at), weights_size,
                    shifted(bias, at), with_bias, shifted(goal, place), goal_size,
                )  # fmt: skip
                v += 3
            elif n_vectors - v >= 2:
                product_tile(
                    ROWS, 2, source, shifted(index, r), row_size, step, n_inputs, shifted(weights, at), weights_size,
                    shifted(bias, at), with_bias, shifted(goal, place), goal_size,
                )  # fmt: skip
                v += 2
            elif size == ROWS:
                product_tile(
                    ROWS, 1, source, shifted(index, r), row_size, step, n_inputs, shifted(weights, at), weights_size,
                    shifted(bias, at), with_bias, shifted(goal, place), goal_size,
                )  # fmt: skip
                v += 1
            else:
                product_tile(
                    2 * ROWS, 1, source, shifted(index, r), row_size, step, n_inputs, shifted(weights, at),
                    weights_size, shifted(bias, at), with_bias, shifted(goal, place), goal_size,
                )  # fmt: skip
                v += 1
        r += size
    return 0.0


def outer(
    source: Any, index: Any, row_size: Any, n_inputs: Any, deltas: Any, deltas_size: Any, n_units: Any, start: Any,
    start_size: Any, goal: Any, bias_goal: Any, n_rows: Any,
) -> Any:  # fmt: skip
    """For every input i and unit j: goal[i, j] = start[i, j] + sum over r of source[index[r], i] deltas[r, j].

    `start` has `start_size` numbers an input: it is the goal itself, or with a size of 0 the same for all inputs. To
    the bias its sum is added.
    """
    lanes = lane_count(source)
    n_vectors = (n_units + lanes - 1) // lanes
    v = 0
    while v < n_vectors:
        n_left = n_vectors - v
        size = 3 if n_left >= FEWEST_FOR_3 and n_left != 4 else min(n_left, 2)
        kept = min(lanes, n_units - (v + size - 1) * lanes)
        i = 0
        while i < n_inputs:
            x, delta = shifted(source, i), shifted(deltas, v * lanes)
            at, left = shifted(goal, i * n_units + v * lanes), n_inputs - i
            old = shifted(start, i * start_size + v * lanes)
            if size == 3 and left >= INPUTS_OF_3:
                outer_tile(
                    INPUTS_OF_3, 3, 1, x, index, row_size, left, delta, deltas_size, old, start_size, at, n_units,
                    n_rows, kept,
                )  # fmt: skip
                i += INPUTS_OF_3
            elif size == 3:
                outer_tile(
                    INPUTS_OF_3, 3, 0, x, index, row_size, left, delta, deltas_size, old, start_size, at, n_units,
                    n_rows, kept,
                )  # fmt: skip
                i += INPUTS_OF_3
            elif size == 2 and left >= INPUTS_OF_2:
                outer_tile(
                    INPUTS_OF_2, 2, 1, x, index, row_size, left, delta, deltas_size, old, start_size, at, n_units,
                    n_rows, kept,
                )  # fmt: skip
                i += INPUTS_OF_2
            elif size == 2 and left > INPUTS_OF_2 // 2:
                outer_tile(
                    INPUTS_OF_2, 2, 0, x, index, row_size, left, delta, deltas_size, old, start_size, at, n_units,
                    n_rows, kept,
                )  # fmt: skip
                i += INPUTS_OF_2
            elif size == 2:
                outer_tile(
                    INPUTS_OF_2 // 2, 2, 0, x, index, row_size, left, delta, deltas_size, old, start_size, at,
                    n_units, n_rows, kept,
                )  # fmt: skip
                i += INPUTS_OF_2 // 2
            elif left >= INPUTS_OF_1:
                outer_tile(
                    INPUTS_OF_1, 1, 1, x, index, row_size, left, delta, deltas_size, old, start_size, at, n_units,
                    n_rows, kept,
                )  # fmt: skip
                i += INPUTS_OF_1
            elif left > INPUTS_OF_1 // 2:
                outer_tile(
                    INPUTS_OF_1, 1, 0, x, index, row_size, left, delta, deltas_size, old, start_size, at, n_units,
                    n_rows, kept,
                )  # fmt: skip
                i += INPUTS_OF_1
            else:
                outer_tile(
                    INPUTS_OF_1 // 2, 1, 0, x, index, row_size, left, delta, deltas_size, old, start_size, at,
                    n_units, n_rows, kept
                )  # fmt: skip
                i += INPUTS_OF_1 // 2
        for u in range(v, v + size):
            sum_0 = sum_1 = sum_2 = sum_3 = filled(source, 0)
            for r in range(0, n_rows, 4):
                sum_0 = sum_0 + load(deltas, r * deltas_size + u * lanes)
                sum_1 = sum_1 + load(deltas, (r + 1) * deltas_size + u * lanes)
                sum_2 = sum_2 + load(deltas, (r + 2) * deltas_size + u * lanes)
                sum_3 = sum_3 + load(deltas, (r + 3) * deltas_size + u * lanes)
            count = min(lanes, n_units - u * lanes)
            at = shifted(bias_goal, u * lanes)
            store_some(at, 0, load_some(at, 0, count) + ((sum_0 + sum_1) + (sum_2 + sum_3)), count)
        v += size
    return 0.0


def dots(
    source: Any, index: Any, row_size: Any, n_inputs: Any, turned: Any, turned_size: Any, bias: Any, n_units: Any,
    goal: Any, goal_size: Any, n_rows: Any,
) -> Any:  # fmt: skip
    """`product` of a few units, with inputs in the lanes: goal[j, r], weights unit by unit."""
    lanes = lane_count(source)
    for r in range(0, n_rows, lanes):
        for j in range(n_units):
            dot_tile(
                source, shifted(index, r), row_size, n_inputs, shifted(turned, j * turned_size), bias[j],
                shifted(goal, j * goal_size + r),
            )  # fmt: skip
    return 0.0


def narrow_outer(
    source: Any, index: Any, row_size: Any, n_inputs: Any, deltas: Any, deltas_size: Any, n_units: Any, goal: Any,
    bias_goal: Any, n_rows: Any, scratch: Any,
) -> Any:  # fmt: skip
    """`outer` of a few units, with inputs in the lanes: deltas[j, r]."""
    lanes = lane_count(source)
    for j in range(n_units):
        for i in range(0, n_inputs, lanes):
            count = min(lanes, n_inputs - i)
            sum_0 = sum_1 = filled(source, 0)
            for r in range(0, n_rows, 2):
                x = load_some(source, index[r] * row_size + i, count)
                sum_0 = sum_0 + x * filled(source, deltas[j * deltas_size + r])
                x = load_some(source, index[r + 1] * row_size + i, count)
                sum_1 = sum_1 + x * filled(source, deltas[j * deltas_size + r + 1])
            store(scratch, 0, sum_0 + sum_1)
            for t in range(count):
                goal[(i + t) * n_units + j] += scratch[t]
        total = filled(source, 0)
        for r in range(0, n_rows, lanes):
            total = total + load(deltas, j * deltas_size + r)
        put_total(bias_goal, j, bias_goal[j], total)
    return 0.0


def turn(weights: Any, n_inputs: Any, n_units: Any, goal: Any, goal_size: Any) -> Any:
    """goal[j, i] = weights[i, j]: read input by input, they are no vectors for sums over units."""
    for i in range(n_inputs):
        for j in range(n_units):
            goal[j * goal_size + i] = weights[i * n_units + j]
    return 0.0
