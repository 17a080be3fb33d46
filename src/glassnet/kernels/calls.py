"""The functions of `tiles` by name, for kernels that are told where they are: `tools` holds their addresses."""

from __future__ import annotations

from typing import Any

from glassnet.kernels.lanes import call


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
    goal: Any, bias_goal: Any, n_rows: Any,
) -> None:  # fmt: skip
    """`tiles.outer`."""
    call(
        tools[1],
        (source, index, row_size, n_inputs, deltas, deltas_size, n_units, goal, bias_goal, n_rows),
    )


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
