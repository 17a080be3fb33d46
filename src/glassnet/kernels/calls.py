"""The functions of `tiles` and `zeros` by name, for kernels, whose `tools` hold the addresses."""

from __future__ import annotations

from typing import Any

from glassnet.kernels.lanes import call
from glassnet.kernels.places import MOSTLY_ZEROS, OUTER_AT, PRODUCT_AT


def product(
    tools: Any, source: Any, index: Any, row_size: Any, step: Any, n_inputs: Any, weights: Any, weights_size: Any,
    bias: Any, with_bias: Any, n_units: Any, goal: Any, goal_size: Any, n_rows: Any,
) -> None:  # fmt: skip
    """`tiles.product`."""
    call(
        tools[0],
        (
            source, index, row_size, step, n_inputs, weights, weights_size, bias, with_bias, n_units, goal, goal_size,
            n_rows,
        ),
    )  # fmt: skip


def outer(
    tools: Any, source: Any, index: Any, row_size: Any, n_inputs: Any, deltas: Any, deltas_size: Any, n_units: Any,
    start: Any, start_size: Any, goal: Any, bias_goal: Any, n_rows: Any,
) -> None:  # fmt: skip
    """`tiles.outer`."""
    call(
        tools[1],
        (
            source, index, row_size, n_inputs, deltas, deltas_size, n_units, start, start_size, goal, bias_goal, n_rows,
        ),
    )  # fmt: skip


def dots(
    tools: Any, source: Any, index: Any, row_size: Any, n_inputs: Any, turned: Any, turned_size: Any, bias: Any,
    n_units: Any, goal: Any, goal_size: Any, n_rows: Any,
) -> None:  # fmt: skip
    """`tiles.dots`."""
    call(
        tools[2],
        (source, index, row_size, n_inputs, turned, turned_size, bias, n_units, goal, goal_size, n_rows),
    )


def narrow_outer(
    tools: Any, source: Any, index: Any, row_size: Any, n_inputs: Any, deltas: Any, deltas_size: Any, n_units: Any,
    goal: Any, bias_goal: Any, n_rows: Any, scratch: Any,
) -> None:  # fmt: skip
    """`tiles.narrow_outer`."""
    call(
        tools[3],
        (source, index, row_size, n_inputs, deltas, deltas_size, n_units, goal, bias_goal, n_rows, scratch),
    )


def turn(tools: Any, weights: Any, n_inputs: Any, n_units: Any, goal: Any, goal_size: Any) -> None:
    """`tiles.turn`."""
    call(tools[4], (weights, n_inputs, n_units, goal, goal_size))


def mostly_zeros(tools: Any) -> Any:
    """Whether zeros of the table are to be passed over."""
    return tools[MOSTLY_ZEROS] != 0


def product_of_nonzero(
    tools: Any, source: Any, index: Any, row_size: Any, n_inputs: Any, weights: Any, bias: Any, n_units: Any,
    goal: Any, goal_size: Any, n_rows: Any, n_real: Any, marks: Any,
) -> None:  # fmt: skip
    """`zeros.product`."""
    call(
        tools[PRODUCT_AT],
        (source, index, row_size, n_inputs, weights, bias, n_units, goal, goal_size, n_rows, n_real, marks),
    )


def outer_of_nonzero(
    tools: Any, source: Any, index: Any, row_size: Any, n_inputs: Any, deltas: Any, deltas_size: Any, n_units: Any,
    start: Any, start_size: Any, goal: Any, marks: Any,
) -> None:  # fmt: skip
    """`zeros.outer`."""
    call(
        tools[OUTER_AT],
        (source, index, row_size, n_inputs, deltas, deltas_size, n_units, start, start_size, goal, marks),
    )
