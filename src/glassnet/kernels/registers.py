"""Products in registers: sums over inputs, and over rows, of a tile that fits into the processor's vector registers.

Written out as a kernel's lines a tile is a hundred of them, one for every sum; here it is one instruction of the
language, which LLVM gets as the loop that it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from glassnet.kernels.lanes import align, as_vector, joined, lanes_of, masked
from glassnet.kernels.language import (
    FUSED,
    Kind,
    Value,
    as_number,
    counted,
    declared,
    filled_vector,
    repeated,
    slot,
    slot_of,
)
from glassnet.kernels.machine import BITS, PROCESSOR
from glassnet.kernels.places import BLOCK_ROWS_AT_ONCE

# Sums that are kept at once, by the vectors of units that each stands over: two or three registers are needed besides.
# With AVX-512 there are 32 of them, else 16: what does not fit goes to memory and back at every step. A power of two.
ROWS = 8 if BITS == 512 else 4
"""Rows of a `product_tile` of two or three vectors of units; of a single one, twice as many."""
INPUTS_OF_1, INPUTS_OF_2, INPUTS_OF_3 = (16, 12, 8) if BITS == 512 else (8, 6, 4)
"""Inputs of an `outer_tile` of one vector of units, of two and of three."""
FEWEST_FOR_3 = 3 if BITS == 512 else 1 << 30
"""Vectors of units from which on they are taken three at a time: with 16 registers never."""

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

    def add_inputs(before: Any, times: Any, together: int, apart: Any) -> None:
        """So many times the products of `together` inputs, which lie `apart` in a row, from input `before` on."""
        with counted(builder, times) as at_index:
            first = builder.add(before, builder.mul(at_index, _number(together)))
            inputs = [builder.add(first, _number(k)) for k in range(together)]
            w = [
                [_lanes_at(builder, weights_, builder.add(begin, _number(v * lanes)), vector) for v in range(V)]
                for begin in (builder.mul(i, weights_size_) for i in inputs)
            ]
            offsets = [builder.mul(i, apart) for i in inputs]
            for r in range(R):
                for k in range(together):
                    x = filled_vector(builder, builder.load(builder.gep(rows[r], [offsets[k]])), vector)
                    for v in range(V):
                        builder.store(_add_product(builder, builder.load(sums[r][v]), w[k][v], x), sums[r][v])

    done = _number(0)
    if V == 1:
        # Addresses of so many rows find no registers: two inputs that lie side by side share what is fetched of them.
        pairs = builder.select(builder.icmp_signed("==", step_, _number(1)), builder.sdiv(n_inputs_, _number(2)), done)
        add_inputs(done, pairs, 2, _number(1))
        done = builder.mul(pairs, _number(2))
    add_inputs(done, builder.sub(n_inputs_, done), 1, step_)
    for r in range(R):
        for v in range(V):
            place = builder.add(builder.mul(_number(r), size_), _number(v * lanes))
            builder.store(builder.load(sums[r][v]), as_vector(builder, goal_, place, vector), align=align(vector))


def outer_tile(
    most_inputs: int, n_vectors: int, whole: int, source: Value, index: Value, row_size: Any, n_inputs: Any,
    deltas: Value, deltas_size: Any, start: Value, start_size: Any, goal: Value, goal_size: Any, n_rows: Any, kept: Any,
) -> None:  # fmt: skip
    """goal[i * goal_size + v] = start[i * start_size + v] + the sum over rows r of source[index[r] * row_size + i] *
    deltas[r * deltas_size + v].

    i: `most_inputs` inputs where `whole` is 1, else `n_inputs`, which are fewer; v: units, `n_vectors` vectors of
    them, of the last of which `kept` lanes are written.
    """
    T, V, is_whole, builder, vector = most_inputs, n_vectors, whole == 1, source.builder, lanes_of(source).llvm
    source_, index_, deltas_, start_, goal_ = (pointer.llvm for pointer in (source, index, deltas, start, goal))
    row_size_, n_inputs_, deltas_size_, start_size_, goal_size_, n_rows_, kept_ = _wholes(
        builder, row_size, n_inputs, deltas_size, start_size, goal_size, n_rows, kept
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
    is_full = builder.icmp_signed("==", kept_, _number(lanes))

    def add(t: int) -> None:
        for v in range(V):
            start_at, goal_at = (
                as_vector(builder, array, builder.add(builder.mul(_number(t), size), _number(v * lanes)), vector)
                for array, size in ((start_, start_size_), (goal_, goal_size_))
            )

            def add_all(start_at: Any = start_at, goal_at: Any = goal_at, v: int = v) -> None:
                before = builder.load(start_at, align=align(vector))
                builder.store(builder.fadd(before, builder.load(sums[t][v])), goal_at, align=align(vector))

            if v < V - 1:
                add_all()
                continue
            with builder.if_else(is_full) as (full, partly):
                with full:  # a store under a mask may take twenty times as long
                    add_all()
                with partly:
                    some.store(builder.fadd(some.load(start_at), builder.load(sums[t][v])), goal_at)

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
    totals = joined(builder, [builder.load(total) for total in sums], builder.fadd)
    totals = builder.fadd(totals, filled_vector(builder, bias_, vector))
    builder.store(totals, as_vector(builder, goal_, _number(0), vector), align=align(vector))


# --- what is not 0 ------------------------------------------------------------------------------------------------


def column_bits(marks: Value, lane: Any, n_lanes: int) -> Value:
    """Whether of each of 64 numbers of 16 bits one of the `n_lanes` from `lane` on is set: the first is the lowest."""
    builder = marks.builder
    short = ir.IntType(16)
    all_rows = ir.VectorType(short, BLOCK_ROWS_AT_ONCE)
    numbers = builder.load(builder.bitcast(marks.llvm, all_rows.as_pointer()), align=2)
    some = ir.Constant(short, (1 << n_lanes) - 1)
    looked_at = builder.shl(some, builder.trunc(as_number(builder, lane, "int64"), short))
    found = builder.and_(numbers, filled_vector(builder, looked_at, all_rows))
    truths = builder.icmp_unsigned("!=", found, ir.Constant(all_rows, [0] * BLOCK_ROWS_AT_ONCE))
    return Value(builder, Kind("int64"), builder.bitcast(truths, _WHOLE))


MOST_VECTORS = 8
"""Vectors that what follows sums up at most."""


COLUMNS = 2 if BITS == 512 and PROCESSOR != "znver4" else 1
"""Columns of a table whose sums over rows are made together: neighbours are 0 in the same rows often. It takes more
products, and twice the registers, so it is not done where these are few or 512 bits take two steps."""


def marked_tile(
    n_vectors: Any, word: Value, factors: Value, source: Value, row_size: Any, start: Value, goal: Value
) -> None:
    """goal[v] = start[v] + sum over the bits k that are set in word[0] of factors[k] * source[k * row_size + v].

    v: `n_vectors` vectors, but no more than `MOST_VECTORS`. k: from the lowest bit on.
    """
    builder = source.builder
    (row_size_,) = _wholes(builder, row_size)

    def terms(add: _Add) -> None:
        left = slot_of(builder, builder.load(word.llvm))
        with repeated(builder, lambda: builder.icmp_unsigned("!=", builder.load(left), _number(0))):
            k = _taken_bit(builder, left)
            add(builder.gep(factors.llvm, [k]), builder.mul(k, row_size_))

    _summed(n_vectors, terms, source, start, goal)


def marked_columns(
    n_columns: int, n_vectors: Any, word: Value, factors: Value, index: Value, step: Any, source: Value,
    row_size: Any, start: Value, start_size: Any, goal: Value, goal_size: Any, n_units: Any,
) -> None:  # fmt: skip
    """goal[c, v] = start[c, v] + sum over the bits k that are set in word[0] of factors[index[k] * step + c] *
    source[k * row_size + v], for columns c of a table, `n_columns` of them.

    v: `n_vectors` vectors, but no more than `MOST_VECTORS`; of the last no more is read and written than belongs to
    `n_units` units. The sum begins at 0 and is added to what is at start[c * start_size + v] at the end.
    """
    builder = source.builder
    step_, row_size_ = _wholes(builder, step, row_size)

    def terms(add: _Add) -> None:
        left = slot_of(builder, builder.load(word.llvm))
        with repeated(builder, lambda: builder.icmp_unsigned("!=", builder.load(left), _number(0))):
            k = _taken_bit(builder, left)
            number = builder.load(builder.gep(index.llvm, [k]))
            add(builder.gep(factors.llvm, [builder.mul(number, step_)]), builder.mul(k, row_size_))

    vector = lanes_of(source).llvm
    start_size_, goal_size_, n_units_ = _wholes(builder, start_size, goal_size, n_units)
    zero = ir.Constant(vector, [0.0] * vector.count)

    def tile(places: list[Any]) -> None:
        sums = _sums(source, places, [[zero] * len(places)] * n_columns, terms)
        olds = [builder.gep(start.llvm, [builder.mul(_number(c), start_size_)]) for c in range(n_columns)]
        news = [builder.gep(goal.llvm, [builder.mul(_number(c), goal_size_)]) for c in range(n_columns)]

        def add_all(v: int) -> None:
            for total, old, new in zip(sums, olds, news, strict=True):
                found = builder.fadd(_lanes_at(builder, old, places[v], vector), builder.load(total[v]))
                builder.store(found, as_vector(builder, new, places[v], vector), align=align(vector))

        for v in range(len(places) - 1):
            add_all(v)
        left = builder.sub(n_units_, places[-1])
        with builder.if_else(builder.icmp_signed(">=", left, _number(vector.count))) as (full, partly):
            with full:
                add_all(-1)
            with partly:
                some = masked(builder, vector, left)
                for total, old, new in zip(sums, olds, news, strict=True):
                    before = some.load(as_vector(builder, old, places[-1], vector))
                    found = builder.fadd(before, builder.load(total[-1]))
                    some.store(found, as_vector(builder, new, places[-1], vector))

    _by_vectors(source, n_vectors, tile)


def listed_tile(
    n_vectors: Any, first: Any, last: Any, factors: Value, index: Value, source: Value, row_size: Any, start: Value,
    goal: Value,
) -> None:  # fmt: skip
    """goal[v] = start[v] + sum over k from `first` to `last` - 1 of factors[k] * source[index[k] * row_size + v].

    v: `n_vectors` vectors, but no more than `MOST_VECTORS`. `index` holds int32.
    """
    builder = source.builder
    first_, last_, row_size_ = _wholes(builder, first, last, row_size)
    count = builder.sub(last_, first_)

    def terms(add: _Add) -> None:
        with counted(builder, count) as at_index:
            k = builder.add(first_, at_index)
            row = builder.sext(builder.load(builder.gep(index.llvm, [k])), _WHOLE)
            add(builder.gep(factors.llvm, [k]), builder.mul(row, row_size_))

    _summed(n_vectors, terms, source, start, goal)


def gathered(goal: Value, word: Value, values: Value, cursors: Value) -> None:
    """For the bits k that are set in word[0], from the lowest on: goal[k] = values[cursors[k]], and cursors[k] += 1."""
    builder = goal.builder
    left = slot_of(builder, builder.load(word.llvm))
    with repeated(builder, lambda: builder.icmp_unsigned("!=", builder.load(left), _number(0))):
        k = _taken_bit(builder, left)
        at = builder.gep(cursors.llvm, [k])
        place = builder.load(at)
        builder.store(builder.load(builder.gep(values.llvm, [place])), builder.gep(goal.llvm, [k]))
        builder.store(builder.add(place, _number(1)), at)


def _taken_bit(builder: Any, left: Any) -> Any:
    """The number of the lowest bit that is set in a slot, which is cleared."""
    cttz = declared(builder, "llvm.cttz.i64", ir.FunctionType(_WHOLE, [_WHOLE, ir.IntType(1)]))
    bits = builder.load(left)
    k = builder.call(cttz, [bits, ir.Constant(ir.IntType(1), 1)])
    builder.store(builder.and_(bits, builder.sub(bits, _number(1))), left)
    return k


_Add = Callable[[Any, Any], None]
"""Adds a term: where its factors lie, one for each column, and the first place of what they multiply, in the source."""


def _summed(n_vectors: Any, terms: Callable[[_Add], None], source: Value, start: Value, goal: Value) -> None:
    """The sums of a tile over the terms that `terms` writes down, begun with what is at `start`."""
    builder, vector = source.builder, lanes_of(source).llvm

    def tile(places: list[Any]) -> None:
        begun = [_lanes_at(builder, start.llvm, place, vector) for place in places]
        for total, place in zip(*_sums(source, places, [begun], terms), places, strict=True):
            builder.store(builder.load(total), as_vector(builder, goal.llvm, place, vector), align=align(vector))

    _by_vectors(source, n_vectors, tile)


def _sums(source: Value, places: list[Any], begun: list[list[Any]], terms: Callable[[_Add], None]) -> list[list[Any]]:
    """Slots with the sums over the terms that `terms` writes down: of every column, of the vectors at these places."""
    builder, vector = source.builder, lanes_of(source).llvm
    sums = [[slot_of(builder, one) for one in of_column] for of_column in begun]

    def add(factors_at: Any, row_at: Any) -> None:
        factors = []
        for c in range(len(sums)):
            factor = builder.load(builder.gep(factors_at, [_number(c)]))
            factors.append(filled_vector(builder, factor, vector))
        row = builder.gep(source.llvm, [row_at])
        for v, place in enumerate(places):
            term = _lanes_at(builder, row, place, vector)
            for of_column, x in zip(sums, factors, strict=True):
                builder.store(_add_product(builder, builder.load(of_column[v]), term, x), of_column[v])

    terms(add)
    return sums


def _by_vectors(source: Value, n_vectors: Any, tile: Callable[[list[Any]], None]) -> None:
    """The tile for so many vectors of units, `MOST_VECTORS` at most, which is told where each begins."""
    builder, lanes = source.builder, lanes_of(source).count
    (n_vectors_,) = _wholes(builder, n_vectors)
    blocks = [builder.append_basic_block("vectors") for _ in range(MOST_VECTORS)]
    end = builder.append_basic_block("summed")
    which = builder.switch(n_vectors_, blocks[-1])
    for V, block in enumerate(blocks, start=1):
        if V < MOST_VECTORS:
            which.add_case(_number(V), block)
        builder.position_at_end(block)
        tile([_number(v * lanes) for v in range(V)])
        builder.branch(end)
    builder.position_at_end(end)
