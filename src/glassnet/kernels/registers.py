"""Products in registers: sums over inputs, and over rows, of a tile that fits into the processor's vector registers.

Written out as a kernel's lines a tile is a hundred of them, one for every sum; here it is one instruction of the
language, which LLVM gets as the loop that it is.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from glassnet.kernels.lanes import align, as_vector, lanes_of, masked
from glassnet.kernels.language import FUSED, Value, as_number, counted, filled_vector, slot, slot_of

_WHOLE = ir.IntType(64)


def _number(value: int) -> Any:
    return ir.Constant(_WHOLE, value)


def _wholes(builder: Any, *given: Any) -> list[Any]:
    """Whole numbers as LLVM's."""
    return [as_number(builder, number, "int64") for number in given]


def _add_product(builder: Any, total: Any, a: Any, b: Any) -> Any:
    return builder.fadd(total, builder.fmul(a, b, flags=FUSED), flags=FUSED)


def _lanes_at(builder: Any, pointer: Any, place: Any, vector: Any) -> Any:
    return builder.load(as_vector(builder, pointer, place, vector), align=align(vector))


def product_tile(
    n_rows: int, n_vectors: int, source: Value, index: Value, row_size: Any, step: Any, n_inputs: Any, weights: Value,
    weights_size: Any, bias: Value, with_bias: Any, goal: Value, goal_size: Any,
) -> None:  # fmt: skip
    """goal[r * goal_size + v] = bias[v] + sum over i of source[index[r] * row_size + i * step] * weights[i, v].

    r: `n_rows` rows; v: units, `n_vectors` vectors of them; weights[i, v] = weights[i * weights_size + v]. All sums are
    kept in registers while i goes from 0 to `n_inputs`, in this order.
    """
    R, V, builder, vector = n_rows, n_vectors, source.builder, lanes_of(source).llvm
    source_, index_, weights_, bias_, goal_ = (pointer.llvm for pointer in (source, index, weights, bias, goal))
    row_size_, step_, n_inputs_, weights_size_, with_bias_, size_ = _wholes(
        builder, row_size, step, n_inputs, weights_size, with_bias, goal_size
    )
    lanes = vector.count
    zero = ir.Constant(vector, [0.0] * lanes)
    rows = [
        builder.gep(source_, [builder.mul(builder.load(builder.gep(index_, [_number(r)])), row_size_)])
        for r in range(R)
    ]
    sums = [[slot(builder, vector) for _ in range(V)] for _ in range(R)]
    for v in range(V):
        start = slot_of(builder, zero)
        with builder.if_then(builder.icmp_signed("!=", with_bias_, _number(0))):
            builder.store(_lanes_at(builder, bias_, _number(v * lanes), vector), start)
        for r in range(R):
            builder.store(builder.load(start), sums[r][v])
    with counted(builder, n_inputs_) as at_index:
        first = builder.mul(at_index, weights_size_)
        w = [_lanes_at(builder, weights_, builder.add(first, _number(v * lanes)), vector) for v in range(V)]
        offset = builder.mul(at_index, step_)
        for r in range(R):
            x = filled_vector(builder, builder.load(builder.gep(rows[r], [offset])), vector)
            for v in range(V):
                builder.store(_add_product(builder, builder.load(sums[r][v]), w[v], x), sums[r][v])
    for r in range(R):
        for v in range(V):
            place = builder.add(builder.mul(_number(r), size_), _number(v * lanes))
            builder.store(builder.load(sums[r][v]), as_vector(builder, goal_, place, vector), align=align(vector))


def outer_tile(
    most_inputs: int, n_vectors: int, whole: int, source: Value, index: Value, row_size: Any, n_inputs: Any,
    deltas: Value, deltas_size: Any, goal: Value, goal_size: Any, n_rows: Any, kept: Any,
) -> None:  # fmt: skip
    """goal[i * goal_size + v] += sum over rows r of source[index[r] * row_size + i] * deltas[r * deltas_size + v].

    i: `most_inputs` inputs where `whole` is 1, else `n_inputs`, which are fewer; v: units, `n_vectors` vectors of
    them, of the last of which `kept` lanes are written.
    """
    T, V, is_whole, builder, vector = most_inputs, n_vectors, whole == 1, source.builder, lanes_of(source).llvm
    source_, index_, deltas_, goal_ = (pointer.llvm for pointer in (source, index, deltas, goal))
    row_size_, n_inputs_, deltas_size_, goal_size_, n_rows_, kept_ = _wholes(
        builder, row_size, n_inputs, deltas_size, goal_size, n_rows, kept
    )
    lanes = vector.count
    zero = ir.Constant(vector, [0.0] * lanes)
    if is_whole:
        inputs = [_number(t) for t in range(T)]
    else:
        # Beyond the last input the last one is taken once more, for nothing.
        last = builder.sub(n_inputs_, _number(1))
        inputs = [builder.select(builder.icmp_signed("<", _number(t), n_inputs_), _number(t), last) for t in range(T)]
    sums = [[slot_of(builder, zero) for _ in range(V)] for _ in range(T)]
    with counted(builder, n_rows_) as at_index:
        row = builder.gep(source_, [builder.mul(builder.load(builder.gep(index_, [at_index])), row_size_)])
        first = builder.mul(at_index, deltas_size_)
        delta = [_lanes_at(builder, deltas_, builder.add(first, _number(v * lanes)), vector) for v in range(V)]
        for t in range(T):
            x = filled_vector(builder, builder.load(builder.gep(row, [inputs[t]])), vector)
            for v in range(V):
                builder.store(_add_product(builder, builder.load(sums[t][v]), delta[v], x), sums[t][v])
    some = masked(builder, vector, kept_)

    def add(t: int) -> None:
        for v in range(V):
            place = builder.add(builder.mul(_number(t), goal_size_), _number(v * lanes))
            goal_at = as_vector(builder, goal_, place, vector)
            if v < V - 1:
                before = builder.load(goal_at, align=align(vector))
                builder.store(builder.fadd(before, builder.load(sums[t][v])), goal_at, align=align(vector))
            else:
                some.store(builder.fadd(some.load(goal_at), builder.load(sums[t][v])), goal_at)

    for t in range(T):
        if is_whole:
            add(t)
        else:
            with builder.if_then(builder.icmp_signed("<", _number(t), n_inputs_)):
                add(t)


def dot_tile(source: Value, index: Value, row_size: Any, n_inputs: Any, turned: Value, bias: Any, goal: Value) -> None:
    """goal[r] = bias + sum over i of source[index[r] * row_size + i] * turned[i], for as many rows as there are lanes.

    Inputs stand in the lanes; the lanes of all rows are added up together, halves to halves.
    """
    builder, vector = source.builder, lanes_of(source).llvm
    source_, index_, turned_, goal_ = (pointer.llvm for pointer in (source, index, turned, goal))
    row_size_, n_inputs_ = _wholes(builder, row_size, n_inputs)
    bias_ = as_number(builder, bias, source.kind.number)
    lanes = vector.count
    zero = ir.Constant(vector, [0.0] * lanes)
    rows = [
        builder.gep(source_, [builder.mul(builder.load(builder.gep(index_, [_number(r)])), row_size_)])
        for r in range(lanes)
    ]
    sums = [slot_of(builder, zero) for _ in rows]
    n_vectors = builder.sdiv(n_inputs_, _number(lanes))
    rest = builder.srem(n_inputs_, _number(lanes))
    with counted(builder, n_vectors) as at_index:
        at = builder.mul(at_index, _number(lanes))
        w = _lanes_at(builder, turned_, at, vector)
        for row, total in zip(rows, sums, strict=True):
            x = _lanes_at(builder, row, at, vector)
            builder.store(_add_product(builder, builder.load(total), x, w), total)
    with builder.if_then(builder.icmp_signed(">", rest, _number(0))):
        at = builder.mul(n_vectors, _number(lanes))
        some = masked(builder, vector, rest)
        w = some.load(as_vector(builder, turned_, at, vector))
        for row, total in zip(rows, sums, strict=True):
            x = some.load(as_vector(builder, row, at, vector))
            builder.store(_add_product(builder, builder.load(total), x, w), total)
    totals = _totals(builder, [builder.load(total) for total in sums])
    totals = builder.fadd(totals, filled_vector(builder, bias_, vector))
    builder.store(totals, as_vector(builder, goal_, _number(0), vector), align=align(vector))


def _totals(builder: Any, vectors: list[Any]) -> Any:
    """The sum over the lanes of each of as many vectors as they have lanes, one in each lane."""
    lanes, step = len(vectors), 1
    while len(vectors) > 1:
        # Lanes in groups of `step`: of both vectors the even groups side by side, and the odd ones, added up.
        even = [
            n for first in range(0, lanes, 2 * step) for v in (0, lanes) for n in range(first + v, first + v + step)
        ]
        masks = [ir.Constant(ir.VectorType(ir.IntType(32), lanes), [n + skip for n in even]) for skip in (0, step)]
        vectors = [
            builder.fadd(*(builder.shuffle_vector(a, b, mask) for mask in masks))
            for a, b in zip(vectors[::2], vectors[1::2], strict=True)
        ]
        step *= 2
    return vectors[0]
