"""Products in registers: sums over inputs, and over rows, of a tile that fits into the processor's vector registers.

Written out in Numba's Python a tile is a hundred lines, one for every sum, and takes Numba seconds; here it is one
instruction of the language, which LLVM gets as the loop that it is.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from glassnet.kernels.lanes import FUSED, filled_vector, masked, vector_of

_WHOLE = ir.IntType(64)


def _number(value: int) -> Any:
    return ir.Constant(_WHOLE, value)


def _literal(*given: Any) -> bool:
    return all(isinstance(part, types.IntegerLiteral) for part in given)


def _add_product(builder: Any, total: Any, a: Any, b: Any) -> Any:
    return builder.fadd(total, builder.fmul(a, b, flags=FUSED), flags=FUSED)


def _lanes_at(builder: Any, pointer: Any, place: Any, vector: Any) -> Any:
    return builder.load(_as_vector(builder, pointer, place, vector), align=_align(vector))


def _as_vector(builder: Any, pointer: Any, place: Any, vector: Any) -> Any:
    return builder.bitcast(builder.gep(pointer, [place]), vector.as_pointer())


def _align(vector: Any) -> int:
    return 4 if isinstance(vector.element, ir.FloatType) else 8


@intrinsic(prefer_literal=True)
def product_tile(
    typingctx: Any, n_rows: Any, n_vectors: Any, source: Any, index: Any, row_size: Any, step: Any, n_inputs: Any,
    weights: Any, weights_size: Any, bias: Any, with_bias: Any, goal: Any, goal_size: Any,
) -> Any:  # fmt: skip
    """goal[r * goal_size + v] = bias[v] + sum over i of source[index[r] * row_size + i * step] * weights[i, v].

    r: `n_rows` rows; v: units, `n_vectors` vectors of them; weights[i, v] = weights[i * weights_size + v]. All sums are
    kept in registers while i goes from 0 to `n_inputs`, in this order.
    """
    if not _literal(n_rows, n_vectors):
        return None
    R, V = n_rows.literal_value, n_vectors.literal_value
    sig = types.void(
        n_rows, n_vectors, source, index, types.int64, types.int64, types.int64, weights, types.int64, bias,
        types.int64, goal, types.int64,
    )  # fmt: skip

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        _, _, source_, index_, row_size_, step_, n_inputs_, weights_, weights_size_, bias_, with_bias_, goal_, size_ = (
            args
        )
        vector = vector_of(source.dtype)
        lanes = vector.count
        zero = ir.Constant(vector, [0.0] * lanes)
        rows = [
            builder.gep(source_, [builder.mul(builder.load(builder.gep(index_, [_number(r)])), row_size_)])
            for r in range(R)
        ]
        sums = [[cgutils.alloca_once(builder, vector) for _ in range(V)] for _ in range(R)]
        for v in range(V):
            start = cgutils.alloca_once_value(builder, zero)
            with builder.if_then(builder.icmp_signed("!=", with_bias_, _number(0))):
                builder.store(_lanes_at(builder, bias_, _number(v * lanes), vector), start)
            for r in range(R):
                builder.store(builder.load(start), sums[r][v])
        with cgutils.for_range(builder, n_inputs_) as loop:
            first = builder.mul(loop.index, weights_size_)
            w = [_lanes_at(builder, weights_, builder.add(first, _number(v * lanes)), vector) for v in range(V)]
            offset = builder.mul(loop.index, step_)
            for r in range(R):
                x = filled_vector(builder, builder.load(builder.gep(rows[r], [offset])), vector)
                for v in range(V):
                    builder.store(_add_product(builder, builder.load(sums[r][v]), w[v], x), sums[r][v])
        for r in range(R):
            for v in range(V):
                place = builder.add(builder.mul(_number(r), size_), _number(v * lanes))
                builder.store(builder.load(sums[r][v]), _as_vector(builder, goal_, place, vector), align=_align(vector))
        return context.get_dummy_value()

    return sig, build


@intrinsic(prefer_literal=True)
def outer_tile(
    typingctx: Any, most_inputs: Any, n_vectors: Any, whole: Any, source: Any, index: Any, row_size: Any,
    n_inputs: Any, deltas: Any, deltas_size: Any, goal: Any, goal_size: Any, n_rows: Any, kept: Any,
) -> Any:  # fmt: skip
    """goal[i * goal_size + v] += sum over rows r of source[index[r] * row_size + i] * deltas[r * deltas_size + v].

    i: `most_inputs` inputs where `whole` is 1, else `n_inputs`, which are fewer; v: units, `n_vectors` vectors of
    them, of the last of which `kept` lanes are written.
    """
    if not _literal(most_inputs, n_vectors, whole):
        return None
    T, V, is_whole = most_inputs.literal_value, n_vectors.literal_value, whole.literal_value == 1
    sig = types.void(
        most_inputs, n_vectors, whole, source, index, types.int64, types.int64, deltas, types.int64, goal, types.int64,
        types.int64, types.int64,
    )  # fmt: skip

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        _, _, _, source_, index_, row_size_, n_inputs_, deltas_, deltas_size_, goal_, goal_size_, n_rows_, kept_ = args
        vector = vector_of(source.dtype)
        lanes = vector.count
        zero = ir.Constant(vector, [0.0] * lanes)
        if is_whole:
            inputs = [_number(t) for t in range(T)]
        else:
            # Beyond the last input the last one is taken once more, for nothing.
            last = builder.sub(n_inputs_, _number(1))
            inputs = [
                builder.select(builder.icmp_signed("<", _number(t), n_inputs_), _number(t), last) for t in range(T)
            ]
        sums = [[cgutils.alloca_once_value(builder, zero) for _ in range(V)] for _ in range(T)]
        with cgutils.for_range(builder, n_rows_) as loop:
            row = builder.gep(source_, [builder.mul(builder.load(builder.gep(index_, [loop.index])), row_size_)])
            first = builder.mul(loop.index, deltas_size_)
            delta = [_lanes_at(builder, deltas_, builder.add(first, _number(v * lanes)), vector) for v in range(V)]
            for t in range(T):
                x = filled_vector(builder, builder.load(builder.gep(row, [inputs[t]])), vector)
                for v in range(V):
                    builder.store(_add_product(builder, builder.load(sums[t][v]), delta[v], x), sums[t][v])
        some = masked(builder, vector, kept_)

        def add(t: int) -> None:
            for v in range(V):
                place = builder.add(builder.mul(_number(t), goal_size_), _number(v * lanes))
                goal_at = _as_vector(builder, goal_, place, vector)
                if v < V - 1:
                    before = builder.load(goal_at, align=_align(vector))
                    builder.store(builder.fadd(before, builder.load(sums[t][v])), goal_at, align=_align(vector))
                else:
                    some.store(builder.fadd(some.load(goal_at), builder.load(sums[t][v])), goal_at)

        for t in range(T):
            if is_whole:
                add(t)
            else:
                with builder.if_then(builder.icmp_signed("<", _number(t), n_inputs_)):
                    add(t)
        return context.get_dummy_value()

    return sig, build


@intrinsic
def dot_tile(
    typingctx: Any, source: Any, index: Any, row_size: Any, n_inputs: Any, turned: Any, bias: Any, goal: Any
) -> Any:
    """goal[r] = bias + sum over i of source[index[r] * row_size + i] * turned[i], for as many rows as there are lanes.

    Inputs stand in the lanes; the lanes of all rows are added up together, halves to halves.
    """
    sig = types.void(source, index, types.int64, types.int64, turned, source.dtype, goal)

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        source_, index_, row_size_, n_inputs_, turned_, bias_, goal_ = args
        vector = vector_of(source.dtype)
        lanes = vector.count
        zero = ir.Constant(vector, [0.0] * lanes)
        rows = [
            builder.gep(source_, [builder.mul(builder.load(builder.gep(index_, [_number(r)])), row_size_)])
            for r in range(lanes)
        ]
        sums = [cgutils.alloca_once_value(builder, zero) for _ in rows]
        n_vectors = builder.sdiv(n_inputs_, _number(lanes))
        rest = builder.srem(n_inputs_, _number(lanes))
        with cgutils.for_range(builder, n_vectors) as loop:
            at = builder.mul(loop.index, _number(lanes))
            w = _lanes_at(builder, turned_, at, vector)
            for row, total in zip(rows, sums, strict=True):
                x = _lanes_at(builder, row, at, vector)
                builder.store(_add_product(builder, builder.load(total), x, w), total)
        with builder.if_then(builder.icmp_signed(">", rest, _number(0))):
            at = builder.mul(n_vectors, _number(lanes))
            some = masked(builder, vector, rest)
            w = some.load(_as_vector(builder, turned_, at, vector))
            for row, total in zip(rows, sums, strict=True):
                x = some.load(_as_vector(builder, row, at, vector))
                builder.store(_add_product(builder, builder.load(total), x, w), total)
        totals = _totals(builder, [builder.load(total) for total in sums])
        totals = builder.fadd(totals, filled_vector(builder, bias_, vector))
        builder.store(totals, _as_vector(builder, goal_, _number(0), vector), align=_align(vector))
        return context.get_dummy_value()

    return sig, build


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
