"""The tiled kernel: units side by side in the lanes, sums over inputs and rows by `tiles`, a block of rows at a time.

Rows are taken from the table by their number; nothing of it is copied.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from glassnet.equations import Equations, Map, Reduce
from glassnet.expressions import symbols
from glassnet.kernels.layout import Layout
from glassnet.kernels.places import BLOCK_ROWS_AT_ONCE as BLOCK_ROWS
from glassnet.kernels.places import N_TOOLS
from glassnet.kernels.writing import indented, is_relu, plus, product, text, times, watched_outputs
from glassnet.network import Network

HEADER = """\
from glassnet.kernels.calls import dots, narrow_outer, outer, product, turn
from glassnet.kernels.places import DERIVATIVES_ANEW
"""
HEADER_FOR_ZEROS = "from glassnet.kernels.calls import mostly_zeros, outer_of_nonzero, product_of_nonzero\n"

FEWEST_INPUTS_TO_SKIP = 32
"""Features from which on a kernel is able to pass over the zeros among them; see `zeros`."""


def may_skip_zeros(network: Network, lanes: int) -> bool:
    """Whether the kernel of the network can pass over zeros of the table.

    >>> may_skip_zeros(Network((784, 128, 1)), 16), may_skip_zeros(Network((30, 128, 1)), 16)
    (True, False)
    """
    return network.n_features >= FEWEST_INPUTS_TO_SKIP and not (network.n_layers == 1 and _is_narrow(network, lanes))


def _is_narrow(network: Network, lanes: int) -> bool:
    """With so few outputs lanes of units would be mostly empty: sums over inputs then run along the lanes."""
    return network.n_outputs <= lanes // 4


class Tiled:
    """The lines of a tiled kernel, and where its numbers lie.

    What belongs to a hidden layer is put row by row in `work`, a row rounded up to whole vectors (`row_size`); what is
    in a vector beyond the last unit is computed with, for nothing. What belongs to outputs is put
    output by output, rows side by side.
    """

    def __init__(self, network: Network, every: Equations, lanes: int) -> None:
        self.network, self.every, self.lanes = network, every, lanes
        self.last = network.n_layers
        self.with_dropout = any(equation.target.kind == "h" for equation in every)
        self.is_narrow = _is_narrow(network, lanes)
        self.may_skip = may_skip_zeros(network, lanes)
        self.watched = watched_outputs(network, ["o"] * network.n_outputs)
        self.layout = Layout.of(network, lanes)
        self.arrays: dict[str, int] = {}  # where each begins in `work`
        self.size = 0
        for layer in range(1, self.last):
            value, z = self._value(layer), f"z{layer}"
            needed = {value, f"a{layer}", f"delta{layer}"} | ({z} if self._keeps_z(layer) else set())
            for name in sorted(needed):
                self._reserve(name, BLOCK_ROWS * self.row_size(layer))
            self.arrays.setdefault(z, self.arrays[value])  # where nothing wants z again, its value takes its place
        for layer in range(1, self.last + 1):
            if (layer > 1 or (self.last == 1 and self.is_narrow)) and not self._is_turned(layer):
                self._reserve(f"turned{layer}", self._units(layer) * self.row_size(layer - 1))
        self._reserve("rows_of_outputs", BLOCK_ROWS * self.row_size(self.last))
        for name in (f"z{self.last}", f"delta{self.last}"):
            self._reserve(name, BLOCK_ROWS * network.n_outputs)
        self._reserve("highest", len(self.watched) * lanes)
        self._reserve("nothing", max(map(self.row_size, range(1, self.last + 1))))
        if self.may_skip:
            self._reserve("marks", mark_size(network.n_features))

    def _reserve(self, name: str, size: int) -> None:
        self.arrays[name] = self.size
        self.size += -(-size // self.lanes) * self.lanes

    def _units(self, layer: int) -> int:
        """Units of a layer, with those that fill its rows of weights up."""
        return self.layout.units[layer - 1]

    def row_size(self, layer: int) -> int:
        """Numbers that a row of a layer takes: its units, rounded up to whole vectors."""
        return -(-self.network.sizes[layer] // self.lanes) * self.lanes

    def begins(self, layer: int) -> int:
        """Where a layer's units begin, among those of all hidden layers; of the output layer, where they end."""
        return sum(self.row_size(below) for below in range(1, layer))

    def _is_turned(self, layer: int) -> bool:
        """Whether a layer's weights, turned, are what they are: those of one unit that fill whole vectors."""
        n_in, n_out = self.network.sizes[layer - 1 : layer + 1]
        return n_out == 1 and n_in % self.lanes == 0

    def _turned(self, layer: int) -> str:
        return f"w{layer}" if self._is_turned(layer) else f"turned{layer}"

    def _value(self, layer: int) -> str:
        """What a layer's activation function gives: a, or h where dropout comes between."""
        return f"h{layer}" if self.with_dropout else f"a{layer}"

    def _keeps_z(self, layer: int) -> bool:
        """Whether the way back wants a layer's z."""
        reads = symbols(self.network.activation_row(layer).derivative)
        return "z" in map(str, reads) and not is_relu(self.network, layer)

    def lines(self) -> Iterator[str]:
        """The body of the kernel, line by line."""
        yield '"""Row r of the batch is row rows[r] of `table`; `targets` and `weights` are in the batch\'s order.'
        yield ""
        yield "From `n_real` on the last row comes again, up to n, and weighs nothing."
        yield '"""'
        for name, begin in self.arrays.items():
            yield f"{name} = {_shifted('work', begin)}"
        for layer, (w, b) in enumerate(zip(self.layout.weights, self.layout.biases, strict=True), start=1):
            yield f"w{layer}, b{layer} = {_shifted('parameters', w)}, {_shifted('parameters', b)}"
            yield f"dw{layer}, db{layer} = {_shifted('gradient', w)}, {_shifted('gradient', b)}"
        yield from self._gradient_anew()
        yield f"every = shifted(tools, {N_TOOLS})  # 0, 1, 2, ...: rows in the order of the block"
        for layer in range(1, self.last + 1):
            if f"turned{layer}" in self.arrays:
                n_in, units = self.network.sizes[layer - 1], self._units(layer)
                yield f"turn(tools, w{layer}, {n_in}, {units}, turned{layer}, {self.row_size(layer - 1)})"
        for number in range(len(self.watched)):
            yield f"store(highest, {number * self.lanes}, -inf)"
        yield "L = filled(parameters, 0)"
        yield f"for first in range(0, n, {BLOCK_ROWS}):"
        yield f"    block = n - first if n - first < {BLOCK_ROWS} else {BLOCK_ROWS}"
        if self.may_skip:
            yield "    real = n_real - first if n_real - first < block else block"
        yield "    anew = derivatives == DERIVATIVES_ANEW and first == 0"
        for layer in range(1, self.last):
            yield from indented(self._forward(layer))
        yield from indented(self._logits())
        yield from indented(self._outputs())
        yield "    if derivatives:"
        for layer in range(self.last, 0, -1):
            yield from indented(indented(self._gradient(layer)))
            if layer > 1:
                yield from indented(indented(self._delta(layer - 1)))
        for number in range(len(self.watched)):
            yield f"keep_largest(seen, {self.begins(self.last) + number}, load(highest, {number * self.lanes}))"
        yield "return total(L)"

    def _gradient_anew(self) -> Iterator[str]:
        """Zeros where sums are added up; a layer's weights have theirs put in place by the first block, but few do."""
        yield "if derivatives == DERIVATIVES_ANEW:"
        yield f"    for unit in range(0, {max(map(self.row_size, range(1, self.last + 1)))}, {self.lanes}):"
        yield "        store(nothing, unit, 0)"
        for layer, (n_in, n_out) in enumerate(pairwise(self.network.sizes), start=1):
            if layer == self.last and self.is_narrow:
                yield f"    for place in range({n_in * n_out}):"
                yield f"        dw{layer}[place] = 0"
            yield f"    for unit in range({self._units(layer)}):"
            yield f"        db{layer}[unit] = 0"

    # --- the equations

    def _equation(self, name: str, **names: str) -> str:
        """The right side of an equation, with the kernel's variables for its symbols, by their kind."""
        body = self.every[name].body
        assert isinstance(body, Map | Reduce)
        return text(body.expression, lambda key: names.get(key.kind, key.kind))

    def _inputs(self, layer: int) -> str:
        """What a sum over a layer's inputs is told of them: array, numbers of the rows, size of a row."""
        if layer == 1:
            return f"table, shifted(rows, first), {self.network.n_features}"
        return f"a{layer - 1}, every, {self.row_size(layer - 1)}"

    def _mask(self, layer: int) -> str:
        return f"load(masks, stride * {self.begins(layer)} + first * {self.row_size(layer)} + at)"

    def _product(self, layer: int, goal: str) -> Iterator[str]:
        """Sums over a layer's inputs, for all rows of the block."""
        n_in, n_out = self.network.sizes[layer - 1], self._units(layer)
        size, inputs = self.row_size(layer), self._inputs(layer)
        line = f"product(tools, {inputs}, 1, {n_in}, w{layer}, {n_out}, b{layer}, 1, {n_out}, {goal}, {size}, block)"
        if layer > 1 or not self.may_skip:
            yield line
            return
        yield "if mostly_zeros(tools):"
        yield f"    product_of_nonzero(tools, {inputs}, {n_in}, w1, b1, {n_out}, {goal}, {size}, block, real, marks)"
        yield "else:"
        yield f"    {line}"

    def _outer(self, layer: int, deltas: str) -> Iterator[str]:
        """Sums over the rows of the block, for a layer's weights and biases."""
        n_in, n_out = self.network.sizes[layer - 1], self._units(layer)
        size, inputs = self.row_size(layer), self._inputs(layer)
        start = f"nothing if anew else dw{layer}, 0 if anew else {n_out}, dw{layer}"

        def line(n_inputs: int) -> str:
            return f"outer(tools, {inputs}, {n_inputs}, {deltas}, {size}, {n_out}, {start}, db{layer}, block)"

        if layer > 1 or not self.may_skip:
            yield line(n_in)
            return
        yield "if mostly_zeros(tools):"
        yield f"    outer_of_nonzero(tools, {inputs}, {n_in}, {deltas}, {size}, {n_out}, {start}, marks)"
        yield f"    {line(0)}  # the bias alone"
        yield "else:"
        yield f"    {line(n_in)}"

    def _forward(self, layer: int) -> Iterator[str]:
        size, value = self.row_size(layer), self._value(layer)
        yield f"# {self.every[f'z{layer}']}"
        yield from self._product(layer, f"z{layer}")
        yield f"# {self.every[value]}"
        yield f"for unit in range(0, {size}, {self.lanes}):"
        yield "    most = filled(parameters, 0)"
        yield f"    for at in range(unit, block * {size}, {size}):"
        yield f"        z = load(z{layer}, at)"
        yield f"        value = {self._equation(value)}"
        yield f"        store({value}, at, value)"
        if self.with_dropout:
            yield f"        store(a{layer}, at, value * {self._mask(layer)})"
        yield "        most = max(most, abs(value))"
        yield f"    keep_larger(seen, {plus('unit', self.begins(layer))}, most)"

    def _logits(self) -> Iterator[str]:
        layer = self.last
        n_in, n_out = self.network.sizes[-2:]
        yield f"# {self.every[f'z{layer}']}"
        if self.is_narrow:
            turned = f"{self._turned(layer)}, {self.row_size(layer - 1)}"
            yield (
                f"dots(tools, {self._inputs(layer)}, {n_in}, {turned}, b{layer}, {n_out}, z{layer}, {BLOCK_ROWS}, "
                "block)"
            )
            return
        size = self.row_size(layer)
        yield from self._product(layer, "rows_of_outputs")
        yield "for row in range(block):"
        yield f"    for k in range({n_out}):"
        yield f"        z{layer}[k * {BLOCK_ROWS} + row] = rows_of_outputs[row * {size} + k]"

    def _outputs(self) -> Iterator[str]:
        """From the logits to losses and deltas, rows side by side."""
        K, z, delta = self.network.n_outputs, f"z{self.last}", f"delta{self.last}"
        is_softmax = self.network.loss_row.link == "softmax"
        here = f"{times('k', BLOCK_ROWS)} + row"
        for name in ("o", *(["m", "s"] if is_softmax else []), "p", "loss", delta):
            yield f"# {self.every[name]}"
        yield f"for row in range(0, block, {self.lanes}):"
        yield "    u = load(weights, first + row)"
        if is_softmax:
            yield f"    m = load({z}, row)"
            yield f"    for k in range(1, {K}):"
            yield f"        m = max(m, load({z}, {here}))"
            yield "    s = filled(parameters, 0)"
            yield f"    for k in range({K}):"
            yield f"        o = load({z}, {here})"
            yield f"        e = {self._equation('s')}"
            yield f"        store({delta}, {here}, e)  # for p"
            yield "        s = s + e"
        yield "    loss = filled(parameters, 0)"
        yield f"    for k in range({K}):"
        yield f"        z = load({z}, {here})"
        yield f"        o = {self._equation('o')}"
        yield "        y = load(targets, k * stride + first + row)"
        p = self._equation("p")
        if is_softmax:
            yield f"        e = load({delta}, {here})"
            p = p.replace(self._equation("s"), "e")
        yield f"        p = {p}"
        yield f"        loss = loss + ({self._equation('loss')})"
        yield f"        store({delta}, {here}, u * ({self._equation(delta)}))"
        # Classes are watched one by one, a single output twice.
        for number, watched in enumerate(self.watched[:1] if is_softmax else self.watched):
            yield f"        keep_larger(highest, {plus(times('k', self.lanes), number * self.lanes)}, {watched})"
        mean = "" if K == 1 or self.network.loss_row.sums_over_outputs else f" / {K}"
        yield f"    L = L + u * loss{mean}"

    def _gradient(self, layer: int) -> Iterator[str]:
        n_in, n_out = self.network.sizes[layer - 1 : layer + 1]
        delta = f"delta{layer}"
        yield f"# {self.every[f'dL/dw{layer}']}"
        if layer < self.last:
            yield from self._outer(layer, delta)
        elif self.is_narrow:
            yield (
                f"narrow_outer(tools, {self._inputs(layer)}, {n_in}, {delta}, {BLOCK_ROWS}, {n_out}, dw{layer}, "
                f"db{layer}, block, rows_of_outputs)"
            )
        else:
            size = self.row_size(layer)
            yield "for row in range(block):"
            yield f"    for k in range({n_out}):"
            yield f"        rows_of_outputs[row * {size} + k] = {delta}[k * {BLOCK_ROWS} + row]"
            yield from self._outer(layer, "rows_of_outputs")

    def _delta(self, layer: int) -> Iterator[str]:
        """The deltas of a hidden layer, from those of the layer above."""
        above = layer + 1
        n_units, n_above = self.network.sizes[layer : above + 1]
        size, delta = self.row_size(layer), f"delta{layer}"
        read = set(map(str, symbols(self.network.activation_row(layer).derivative)))
        z = "z" if self._keeps_z(layer) else "a"

        def from_arriving() -> Iterator[str]:
            if self.with_dropout:
                yield f"arriving = arriving * {self._mask(layer)}"
            if z == "z":
                yield f"z = load(z{layer}, at)"
            if "a" in read or (z == "a" and "z" in read):
                yield f"a = load({self._value(layer)}, at)"
            body = self.every[delta].body
            assert isinstance(body, Map)
            factors = body.expression.args if body.expression.op == "mul" else (body.expression,)
            names = {"dloss": "arriving", "h": "a", "z": z}
            yield f"store({delta}, at, {text(product(factors), lambda key: names.get(key.kind, key.kind))})"

        yield f"# {self.every[f'dloss/da{layer}']}"
        yield f"# {self.every[delta]}"
        if above == self.last and self.is_narrow:
            terms = [f"delta{above}_{k} * load({self._turned(above)}, unit + {k * size})" for k in range(n_above)]
            yield "for row in range(block):"
            for k in range(n_above):
                yield f"    delta{above}_{k} = delta{above}[{plus('row', k * BLOCK_ROWS)}]"
            yield f"    for unit in range(0, {size}, {self.lanes}):"
            yield f"        at = {times('row', size)} + unit"
            yield f"        arriving = {' + '.join(terms)}"
            yield from indented(indented(from_arriving()))
            return
        if above == self.last:
            rows, step = f"delta{above}, every, 1", BLOCK_ROWS
        else:
            rows, step = f"delta{above}, every, {self.row_size(above)}", 1
        yield (
            f"product(tools, {rows}, {step}, {n_above}, {self._turned(above)}, {size}, b{layer}, 0, {n_units}, "
            f"{delta}, {size}, block)"
        )
        yield f"for at in range(0, block * {size}, {self.lanes}):"
        yield f"    arriving = load({delta}, at)"
        yield from indented(from_arriving())


def mark_size(n_inputs: int) -> int:
    """Numbers that `zeros` needs room for."""
    return 2 * BLOCK_ROWS * -(-n_inputs // 64) + BLOCK_ROWS * -(-n_inputs // 2)


def _shifted(array: str, begin: int) -> str:
    return f"shifted({array}, {begin})" if begin else array
