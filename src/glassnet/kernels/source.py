"""A network as the source of its kernel: plain Python, made from its equations, that becomes machine code.

Two kernels make a training step. `gradient_source` writes the pass over a batch: loss and gradient; `update_source`
what an optimiser does with them. Their lines are the equations as `glassnet.equations` prints them, and mean a vector
of rows (or units, or parameters) at a time.

A gradient has one of two forms, by the size of the network:

- `unrolled`: one line per unit, stage after stage; for networks so small that the sums of their gradient fit into the
  processor's registers, or nearly: up to `MOST_UNROLLED` parameters;
- `tiled`: sums over inputs and over rows go tile by tile, for layers of any size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from glassnet.equations import equations
from glassnet.errors import UsageError
from glassnet.expressions import Expression, call, const, parse, symbol, symbols
from glassnet.kernels import tiled
from glassnet.kernels.machine import BITS
from glassnet.kernels.tiled import Tiled
from glassnet.kernels.unrolled import Unrolled
from glassnet.kernels.writing import HEADER, indented, plus, text, times, watched_outputs
from glassnet.network import Network
from glassnet.optimizers import Optimizer

MOST_UNROLLED = 64
"""Parameters of the largest network whose kernel is unrolled: beyond, its sums would be moved to memory and back."""

GRADIENT_ARGUMENTS = (
    "parameters, table, targets, weights, masks, rows, n, n_real, stride, alike, derivatives, gradient, work, seen, "
    "tools"
)
UPDATE_ARGUMENTS = (
    "parameters, after, gradient, state, kinds, scalars, learning_rate, scale, l1, l2, n, size, parts, found"
)


def is_unrolled(network: Network) -> bool:
    """Whether the network's kernel is unrolled, else it is tiled.

    >>> is_unrolled(Network((2, 2, 1))), is_unrolled(Network((30, 16, 1)))
    (True, False)
    """
    return network.n_parameters <= MOST_UNROLLED


def gradient_source(network: Network, lanes: int, *, dropout: bool = False) -> str:
    """The kernel of one pass over a batch, `lanes` numbers to a vector.

    >>> source = gradient_source(Network((1, 1), loss="mean_squared_error"), 8)
    >>> print(source[source.index("        # loss") : source.index("    # over")])
            # loss, and back to the outputs; every delta carries its row's weight
            for row in range(first, last, 8):
                x1 = load(table, row)
                y = load(targets, row)
                u = load(weights, row)
                z1_1 = b1_1 + w1_1_1 * x1
                o = z1_1
                p = o
                loss = (o - y) * (o - y)
                L = L + u * loss
                delta1_1 = u * 2 * (o - y)
                dL_dw1_1_1 = dL_dw1_1_1 + x1 * delta1_1
                dL_db1_1 = dL_db1_1 + delta1_1
    <BLANKLINE>
    """
    return gradient_kernel(network, lanes, dropout=dropout)[0]


@dataclass(frozen=True)
class Room:
    """What a network's kernel needs room for, in numbers, and where it finds and leaves what belongs to hidden units.

    The size that hidden unit h was seen with is left in `seen` at begins[h] + units[h]; its dropout mask for row r is
    at stride * begins[h] + r * row_sizes[h] + units[h] of `masks`. What is watched of outputs is left in `seen` from
    `outputs` on.
    """

    work: int
    seen: int
    outputs: int
    masks_per_row: int
    begins: tuple[int, ...]
    row_sizes: tuple[int, ...]
    units: tuple[int, ...]


def room(network: Network, lanes: int, *, dropout: bool = False) -> Room:
    """The room that the kernel of `gradient_source` needs.

    >>> room(Network((2, 2, 1)), 8).begins
    (0, 1)
    """
    return gradient_kernel(network, lanes, dropout=dropout)[1]


def gradient_kernel(network: Network, lanes: int, *, dropout: bool = False) -> tuple[str, Room]:
    """`gradient_source` and `room` at once, in half the time."""
    every, hidden = equations(network, dropout=dropout), network.sizes[1:-1]
    kernel: Unrolled | Tiled
    if is_unrolled(network):
        kernel, header, n = Unrolled(network, every, lanes), "", sum(hidden)
        begins, row_sizes, units = tuple(range(n)), (1,) * n, (0,) * n
        outputs = masks_per_row = n
    else:
        kernel = Tiled(network, every, lanes)
        header = tiled.HEADER + (tiled.HEADER_FOR_ZEROS if kernel.may_skip else "")
        places = [(layer, j) for layer, size in enumerate(hidden, start=1) for j in range(size)]
        begins = tuple(kernel.begins(layer) for layer, _ in places)
        row_sizes = tuple(kernel.row_size(layer) for layer, _ in places)
        units = tuple(j for _, j in places)
        outputs = masks_per_row = kernel.begins(kernel.last)
    n_watched = len(watched_outputs(network, ["o"] * network.n_outputs))
    title = f"{'-'.join(map(str, network.sizes))}, {', '.join(network.activations)}, {network.loss}"
    text = "\n".join(
        [
            f'"""Loss and gradient of a batch: {title}{", dropout" if dropout else ""}."""\n',
            HEADER + header,
            "",
            f"def gradient({GRADIENT_ARGUMENTS}):",
            *indented(kernel.lines()),
            "",
        ]
    )
    return text, Room(kernel.size, outputs + n_watched, outputs, masks_per_row, begins, row_sizes, units)


def kernel_source(
    network: Network, optimizer: Optimizer | None = None, *, dtype: str = "float64", dropout: bool = False
) -> str:
    """The kernels that train `network`, as the Python that is compiled: of a pass, and of `optimizer`'s update.

    `dtype`: float64 or float32, of which twice as many stand in a vector. What a kernel imports is in
    `glassnet.kernels`: vectors in `lanes`, their functions in `mathematics`.

    >>> print(kernel_source(Network((1, 1))).splitlines()[0])
    \"\"\"Loss and gradient of a batch: 1-1, identity, binary_cross_entropy.\"\"\"
    """
    if dtype not in ("float64", "float32"):
        raise UsageError(f"dtype is float64 or float32; got {dtype!r}.")
    lanes = BITS // (64 if dtype == "float64" else 32)
    parts = [gradient_source(network, lanes, dropout=dropout)]
    if optimizer is not None:
        parts.append(update_source(optimizer, lanes, penalised=False))
    return "\n\n".join(parts)


# --- update -------------------------------------------------------------------------------------------------------


def update_source(optimizer: Optimizer, lanes: int, *, penalised: bool) -> str:
    """The kernel of one update: an optimiser's equations for all parameters, `lanes` at a time.

    >>> from glassnet.optimizers import SGD
    >>> source = update_source(SGD(), 8, penalised=False)
    >>> print(source[source.index("        # update") : source.index("        w = select")])
            # update
            w = w - learning_rate * g
    <BLANKLINE>
    """
    lines, scalars = _with_scalars(optimizer)
    return "\n".join(
        [
            f'"""One update by {type(optimizer).__name__}{", with a penalty" if penalised else ""}."""\n',
            HEADER,
            "",
            f"def update({UPDATE_ARGUMENTS}):",
            '    """kinds: 1 where a parameter is a weight, 0 for a bias, -1 where there is none, as beyond the last.',
            "",
            "    Gradients, one of each of so many parts of a batch, lie `size` numbers apart, and so do states.",
            '    """',
            *(f"    c{number} = scalars[{number}]  # {scalar}" for number, scalar in enumerate(scalars)),
            "    penalty = norm = bad_gradient = bad_parameters = filled(parameters, 0)",
            f"    for p in range(0, n, {lanes}):",
            *indented(indented(_update_lines(optimizer, lines, penalised, 8 * lanes))),
            "    store(found, 0, totals(penalty, norm, bad_gradient, bad_parameters))",
            "    return 0.0",
            "",
        ]
    )


def _update_lines(
    optimizer: Optimizer, lines: list[tuple[str, Expression]], penalised: bool, ahead: int
) -> Iterator[str]:
    # A processor fetches ahead by itself, but begins anew with every page of memory.
    yield "# early, for another thread may have written it"
    yield f"fetch(parameters, p + {ahead})"
    yield f"fetch(gradient, p + {ahead})"
    yield "w = load(parameters, p)"
    yield "g = load(gradient, p)"
    yield "for part in range(1, parts):"
    yield f"    fetch(gradient, part * size + p + {ahead})"
    yield "    g = g + load(gradient, part * size + p)"
    yield "kind = load(kinds, p)"
    yield "g = select(kind < 0, 0, g * scale)"
    if penalised or "is_weight" in {str(key) for _, line in lines for key in symbols(line)}:
        yield "is_weight = max(kind, 0)"
    if penalised:
        yield "# penalty"
        yield "penalty = penalty + is_weight * (l1 * abs(w) + l2 * w * w / 2)"
        yield "g = g + is_weight * (l1 * sign(w) + l2 * w)"
    yield "norm = norm + g * g"
    yield "bad_gradient = bad_gradient + g * 0  # NaN where g is not finite"
    places = {
        name: plus("p", times("size", number)) if number else "p" for number, name in enumerate(optimizer.state_names)
    }
    for name, place in places.items():
        yield f"{name} = load(state, {place})"
    yield "# update"
    for target, line in lines:
        yield f"{target} = {text(line)}"
    for name, place in places.items():
        yield f"store(state, {place}, {name})"
    yield "w = select(kind < 0, 0, w)"
    yield "store(after, p, w)"
    yield "bad_parameters = bad_parameters + w * 0"


def update_scalars(optimizer: Optimizer) -> list[Expression]:
    """What an update's equations hold that is the same for all parameters, in t and the optimiser's settings.

    A kernel is told their values in `scalars`, in this order; the learning rate comes by itself.

    >>> from glassnet.optimizers import Adam
    >>> [str(scalar) for scalar in update_scalars(Adam())]
    ['beta_1', '1 - beta_1', 'beta_2', '1 - beta_2', '1 / (1 - beta_1**t)', '1 / (1 - beta_2**t)', 'epsilon']
    """
    return _with_scalars(optimizer)[1]


def _with_scalars(optimizer: Optimizer) -> tuple[list[tuple[str, Expression]], list[Expression]]:
    """The equations with c0, c1, ... for what is the same for all parameters, and what those are."""
    same = {"t", *optimizer.settings}
    found: dict[Expression, Expression] = {}

    def named(expression: Expression) -> Expression:
        return found.setdefault(expression, symbol(f"c{len(found)}"))

    def taken_out(expression: Expression) -> Expression:
        read = set(map(str, symbols(expression)))
        if read <= same:
            return named(expression) if read else expression
        if expression.op == "symbol":
            return expression
        if expression.op == "div" and set(map(str, symbols(expression.args[1]))) <= same:
            # A product is cheaper than a quotient.
            return call("mul", taken_out(expression.args[0]), named(call("div", const(1), expression.args[1])))
        return call(expression.op, *map(taken_out, expression.args))

    lines = [(target, taken_out(parse(line))) for target, line in optimizer.equations]
    return lines, list(found)
