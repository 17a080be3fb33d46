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


# --- what is not 0 ------------------------------------------------------------------------------------------------

_NUMBER = ir.IntType(32)


@intrinsic
def as_whole(typingctx: Any, pointer: Any) -> Any:
    """The same memory as whole numbers of 32 bits."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.bitcast(args[0], _NUMBER.as_pointer())

    return types.CPointer(types.int32)(pointer), build  # type: ignore[attr-defined]


@intrinsic
def fetch(typingctx: Any, source: Any, index: Any) -> Any:
    """Have the processor bring element `index`, and what lies in one line with it, while it does other things."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        place = builder.bitcast(builder.gep(args[0], [args[1]]), ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [place.type, *[_NUMBER] * 3])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        reads, keeps, data = (ir.Constant(_NUMBER, number) for number in (0, 3, 1))
        builder.call(function, [place, reads, keeps, data])
        return context.get_dummy_value()

    return types.void(source, types.int64), build


@intrinsic
def append_nonzero(typingctx: Any, source: Any, first: Any, count: Any, values: Any, numbers: Any, at: Any) -> Any:
    """Write what is not 0 among source[first] to source[first + count - 1] to values[at], values[at + 1], ..., and the
    numbers of their elements to numbers[at], ...; returns how many there are. A vector is written in any case.
    """
    sig = types.int64(source, types.int64, types.int64, values, numbers, types.int64)

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        source_, first_, count_, values_, numbers_, at_ = args
        vector = vector_of(source.dtype)
        lanes = vector.count
        whole = ir.VectorType(_NUMBER, lanes)
        x = masked(builder, vector, count_).load(_as_vector(builder, source_, first_, vector))
        there = builder.fcmp_unordered("!=", x, ir.Constant(vector, [0.0] * lanes))
        along = ir.Constant(whole, list(range(lanes)))
        of = builder.add(along, filled_vector(builder, builder.trunc(first_, _NUMBER), whole))
        for part, goal, kind in ((x, values_, vector), (of, numbers_, whole)):
            letter = "i" if kind is whole else "f"
            width = 32 if kind is whole or _align(vector) == 4 else 64
            compress = cgutils.get_or_insert_function(
                builder.module,
                ir.FunctionType(kind, [kind, there.type, kind]),
                f"llvm.experimental.vector.compress.v{lanes}{letter}{width}",
            )
            packed = builder.call(compress, [part, there, ir.Constant(kind, ir.Undefined)])
            builder.store(packed, _as_vector(builder, goal, at_, kind), align=4 if kind is whole else _align(vector))
        bits = ir.IntType(lanes)
        count = cgutils.get_or_insert_function(builder.module, ir.FunctionType(bits, [bits]), f"llvm.ctpop.i{lanes}")
        return builder.zext(builder.call(count, [builder.bitcast(there, bits)]), _WHOLE)

    return sig, build


@intrinsic(prefer_literal=True)
def gathered_tile(
    typingctx: Any, n_vectors: Any, adds: Any, factors: Any, numbers: Any, n: Any, source: Any, row_size: Any,
    start: Any, goal: Any, kept: Any,
) -> Any:  # fmt: skip
    """goal[v] = start[v] + sum over k < n of factors[k] * source[numbers[k] * row_size + v], k in this order.

    v: units, `n_vectors` vectors of them. Where `adds` is 1 the sum begins at 0 and is added to start[v] at the end,
    and of the last vector `kept` lanes are read and written.
    """
    if not _literal(n_vectors, adds):
        return None
    V, at_end = n_vectors.literal_value, adds.literal_value == 1
    sig = types.void(
        n_vectors, adds, factors, numbers, types.int64, source, types.int64, start, goal, types.int64,
    )  # fmt: skip

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        _, _, factors_, numbers_, n_, source_, row_size_, start_, goal_, kept_ = args
        vector = vector_of(source.dtype)
        lanes = vector.count
        zero = ir.Constant(vector, [0.0] * lanes)
        places = [_number(v * lanes) for v in range(V)]
        sums = [
            cgutils.alloca_once_value(builder, zero if at_end else _lanes_at(builder, start_, place, vector))
            for place in places
        ]
        with cgutils.for_range(builder, n_) as loop:
            x = filled_vector(builder, builder.load(builder.gep(factors_, [loop.index])), vector)
            number = builder.zext(builder.load(builder.gep(numbers_, [loop.index])), _WHOLE)
            row = builder.gep(source_, [builder.mul(number, row_size_)])
            for total, place in zip(sums, places, strict=True):
                term = _lanes_at(builder, row, place, vector)
                builder.store(_add_product(builder, builder.load(total), term, x), total)
        for v, (total, place) in enumerate(zip(sums, places, strict=True)):
            goal_at, lanes_of_sum = _as_vector(builder, goal_, place, vector), builder.load(total)
            if not at_end:
                builder.store(lanes_of_sum, goal_at, align=_align(vector))
            elif v < V - 1:
                before = _lanes_at(builder, start_, place, vector)
                builder.store(builder.fadd(before, lanes_of_sum), goal_at, align=_align(vector))
            else:
                some = masked(builder, vector, kept_)
                before = some.load(_as_vector(builder, start_, place, vector))
                some.store(builder.fadd(before, lanes_of_sum), goal_at)
        return context.get_dummy_value()

    return sig, build
