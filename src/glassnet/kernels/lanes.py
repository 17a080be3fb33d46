"""The vector that kernels compute with: so many rows, or units, side by side as one number.

A kernel says `z1_1 = b1_1 + w1_1_1 * x1` and means it for 8 rows at once (16 in float32): `x1` is lanes, a value that
is one register of the processor. Left to itself a compiler has to find out that a loop may be turned into vectors, and
often does not; here every line is one vector instruction, and nothing is reordered, so that the bits follow from the
lines alone. `a * b + c` may become one fused instruction with one rounding, nothing else is altered.

Memory is read and written through pointers, at an element's index, without any check: kernels are generated, and their
indices with them.

Each function here runs while a kernel is translated, with a `language.Value` for each argument, or a constant, and
leaves its instructions in the kernel.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any

from llvmlite import ir

from glassnet.kernels.language import (
    Kind,
    Value,
    as_lanes,
    as_number,
    builder_of,
    declared,
    filled_vector,
    from_llvm,
    kind_of,
    lanes_among,
    slot,
    slot_of,
)
from glassnet.kernels.machine import BITS, ON_X86

_INDEX = ir.IntType(32)


def lanes_of(source: Value) -> Kind:
    """Lanes of the numbers that `source` is made of, or points to."""
    number = source.kind.number
    return Kind(number, "lanes", BITS // (32 if number == "float32" else 64))


# --- memory -------------------------------------------------------------------------------------------------------


def as_vector(builder: Any, pointer: Any, index: Any, vector: Any) -> Any:
    """The address of the lanes that begin at element `index`, all as LLVM has them."""
    return builder.bitcast(builder.gep(pointer, [index]), vector.as_pointer())


def align(vector: Any) -> int:
    """Lanes begin at any number."""
    return 4 if isinstance(vector.element, ir.FloatType) else 8


def _place(pointer: Value, index: Any) -> Any:
    index = as_number(pointer.builder, index, "int64")
    return as_vector(pointer.builder, pointer.llvm, index, lanes_of(pointer).llvm)


def shifted(pointer: Value, index: Any) -> Any:
    """A pointer to element `index` of what `pointer` points to."""
    return Value(pointer.builder, pointer.kind, pointer.at(index))


def as_pointer_to(number: str, place: Value) -> Value:
    """What a pointer points to, or what lies at an address, as numbers of a type."""
    kind, builder = Kind(number, "pointer"), place.builder
    as_pointer = builder.bitcast if place.kind.form == "pointer" else builder.inttoptr
    return Value(builder, kind, as_pointer(place.llvm, kind.llvm))


def lists_at(source: Value) -> Any:
    """Of a sparse table, whose three addresses lie at `source`: its numbers, their inputs, and where rows begin."""
    places = as_pointer_to("int64", source)
    kinds = (source.kind.number, "int32", "int64")
    return tuple(as_pointer_to(kind, places[number]) for number, kind in enumerate(kinds))


def load(source: Value, index: Any) -> Value:
    """The lanes that begin at element `index`."""
    lanes = lanes_of(source)
    return Value(source.builder, lanes, source.builder.load(_place(source, index), align=align(lanes.llvm)))


def store(goal: Value, index: Any, value: Any) -> None:
    """Write lanes, or one number to all of them, from element `index` on."""
    lanes = lanes_of(goal)
    goal.builder.store(as_lanes(value, lanes, goal.builder), _place(goal, index), align=align(lanes.llvm))


def fetch(source: Value, index: Any) -> None:
    """Have the processor bring element `index`, and what lies in its cache line, nearer while it does other things."""
    builder, number = source.builder, ir.IntType(32)
    place = builder.bitcast(source.at(index), ir.IntType(8).as_pointer())
    function = declared(builder, "llvm.prefetch.p0", ir.FunctionType(ir.VoidType(), [place.type, *[number] * 3]))
    reads, second_cache, data = (ir.Constant(number, which) for which in (0, 2, 1))
    builder.call(function, [place, reads, second_cache, data])


class masked:  # noqa: N801
    """LLVM's loads and stores of the first `count` lanes, a number of the program's."""

    def __init__(self, builder: Any, vector: Any, count: Any) -> None:
        self.builder, self.vector = builder, vector
        numbers = ir.VectorType(_INDEX, vector.count)
        along = ir.Constant(numbers, list(range(vector.count)))
        self.mask = builder.icmp_signed("<", along, filled_vector(builder, builder.trunc(count, _INDEX), numbers))
        self.align = ir.Constant(_INDEX, align(vector))

    def _function(self, operation: str, kind: Any) -> Any:
        letter, width = ("f", 32) if align(self.vector) == 4 else ("d", 64)
        count = self.vector.count
        return declared(self.builder, f"llvm.masked.{operation}.v{count}f{width}.p0v{count}{letter}", kind)

    def load(self, place: Any) -> Any:
        """Lanes, 0 beyond the first ones, which are not read."""
        zeros = ir.Constant(self.vector, [0.0] * self.vector.count)
        kind = ir.FunctionType(self.vector, [place.type, _INDEX, self.mask.type, self.vector])
        return self.builder.call(self._function("load", kind), [place, self.align, self.mask, zeros])

    def store(self, lanes: Any, place: Any) -> None:
        """Write the first ones."""
        kind = ir.FunctionType(ir.VoidType(), [self.vector, place.type, _INDEX, self.mask.type])
        self.builder.call(self._function("store", kind), [lanes, place, self.align, self.mask])


def load_some(source: Value, index: Any, count: Any) -> Value:
    """The first `count` lanes from element `index` on; the others are 0 and not read."""
    builder, lanes = source.builder, lanes_of(source)
    some = masked(builder, lanes.llvm, as_number(builder, count, "int64"))
    return Value(builder, lanes, some.load(_place(source, index)))


def store_some(goal: Value, index: Any, value: Any, count: Any) -> None:
    """Write the first `count` lanes from element `index` on."""
    builder, lanes = goal.builder, lanes_of(goal)
    some = masked(builder, lanes.llvm, as_number(builder, count, "int64"))
    some.store(as_lanes(value, lanes, builder), _place(goal, index))


# --- lanes from numbers and numbers from lanes --------------------------------------------------------------------


def filled(source: Value, number: Any) -> Value:
    """One number in all lanes, of the type of the pointer `source`."""
    return filled_like(source, number)


def filled_like(x: Value, number: Any) -> Value:
    """One number in all lanes."""
    lanes = lanes_of(x)
    return Value(x.builder, lanes, as_lanes(number, lanes, x.builder))


def _halved(lanes: Value, join: Callable[[Any, Any], Any]) -> Any:
    """One number from all lanes: the upper half joined to the lower, again and again."""
    builder, halves = lanes.builder, lanes.llvm
    count = halves.type.count
    while count > 1:
        count //= 2
        undefined = ir.Constant(halves.type, ir.Undefined)
        lower, upper = (
            builder.shuffle_vector(
                halves, undefined, ir.Constant(ir.VectorType(_INDEX, count), list(range(first, first + count)))
            )
            for first in (0, count)
        )
        halves = join(lower, upper)
    return builder.extract_element(halves, ir.Constant(_INDEX, 0))


def total(lanes: Value) -> Value:
    """The sum over the lanes: halves added to each other until one number is left."""
    return Value(lanes.builder, Kind(lanes.kind.number), _halved(lanes, lanes.builder.fadd))


def joined(builder: Any, vectors: list[Any], join: Callable[[Any, Any], Any]) -> Any:
    """All lanes of each of as many vectors as they have lanes, joined to one, in a lane for each."""
    lanes, step = len(vectors), 1
    while len(vectors) > 1:
        # Lanes in groups of `step`: of both vectors the even groups side by side, and the odd ones, are joined.
        even = [
            n for first in range(0, lanes, 2 * step) for v in (0, lanes) for n in range(first + v, first + v + step)
        ]
        masks = [ir.Constant(ir.VectorType(_INDEX, lanes), [n + skip for n in even]) for skip in (0, step)]
        vectors = [
            join(*(builder.shuffle_vector(a, b, mask) for mask in masks))
            for a, b in zip(vectors[::2], vectors[1::2], strict=True)
        ]
        step *= 2
    return vectors[0]


def _joined_with(few: tuple[Value, ...], join: Callable[[Any, Any], Any], nothing: float) -> Value:
    """The same of a few vectors, where what joins nothing stands in the lanes beyond."""
    lanes, builder = few[0].kind, few[0].builder
    others = [ir.Constant(lanes.llvm, [nothing] * lanes.count)] * (lanes.count - len(few))
    return Value(builder, lanes, joined(builder, [*(part.llvm for part in few), *others], join))


def totals(*few: Value) -> Value:
    """The sums over the lanes of some vectors, no more than each has lanes: in a lane for each, 0 beyond."""
    return _joined_with(few, few[0].builder.fadd, 0.0)


def largest(*few: Value) -> Value:
    """The largest lanes of some vectors, no more than each has lanes: in a lane for each, -inf beyond."""
    builder = few[0].builder
    return _joined_with(few, lambda a, b: _larger(builder, a, b), -math.inf)


def _larger(builder: Any, a: Any, b: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


def keep_larger(goal: Value, index: Any, lanes: Value) -> None:
    """Put lanes into the elements from `index` on, each where what stands there is not larger."""
    builder = goal.builder
    place, aligned = _place(goal, index), align(lanes.kind.llvm)
    builder.store(_larger(builder, lanes.llvm, builder.load(place, align=aligned)), place, align=aligned)


def keep_largest(goal: Value, index: Any, lanes: Value) -> None:
    """Put the largest lane into element `index`, where what stands there is not larger."""
    builder, place = goal.builder, goal.at(index)
    largest = _halved(lanes, lambda a, b: _larger(builder, a, b))
    builder.store(_larger(builder, largest, builder.load(place)), place)


def put_total(goal: Value, index: Any, start: Any, lanes: Value) -> None:
    """Write `start` plus the sum over the lanes to element `index`."""
    builder = goal.builder
    start = as_number(builder, start, goal.kind.number)
    builder.store(builder.fadd(start, _halved(lanes, builder.fadd)), goal.at(index))


def lane_count(source: Value) -> int:
    """How many lanes a vector of the numbers that `source` points to has."""
    return lanes_of(source).count


# --- element by element -------------------------------------------------------------------------------------------


def select(truths: Value, yes: Any, no: Any) -> Value:
    """`yes` where it is true, else `no`; either may be a plain number."""
    builder, lanes = truths.builder, lanes_of(truths)
    return Value(builder, lanes, builder.select(truths.llvm, *(as_lanes(part, lanes, builder) for part in (yes, no))))


def bits(truths: Value) -> Any:
    """Truths as the bits of an int64: the first lane's is the lowest."""
    builder = truths.builder
    few = builder.bitcast(truths.llvm, ir.IntType(truths.kind.count))
    return Value(builder, Kind("int64"), builder.zext(few, ir.IntType(64)))


def either(a: Value, b: Value) -> Value:
    """All bits of either: a number that is not 0 where one of the two is not."""
    builder, whole = a.builder, _whole(a)
    bits = builder.or_(builder.bitcast(a.llvm, whole), builder.bitcast(b.llvm, whole))
    return Value(builder, a.kind, builder.bitcast(bits, a.kind.llvm))


def _chosen(comparison: str, a: Any, b: Any) -> Value:
    """One instruction."""
    builder, lanes = builder_of(a, b), lanes_among(a, b)
    assert lanes is not None
    left, right = (as_lanes(part, lanes, builder) for part in (a, b))
    # No comparison with a NaN is true.
    return Value(builder, lanes, builder.select(builder.fcmp_ordered(comparison, right, left), right, left))


def maximum(a: Any, b: Any) -> Value:
    """The larger of two, of which one may be a plain number; a NaN on the left is kept."""
    return _chosen(">", a, b)


def minimum(a: Any, b: Any) -> Value:
    """The smaller of two, of which one may be a plain number; a NaN on the left is kept."""
    return _chosen("<", a, b)


def absolute(x: Value) -> Value:
    """Without its sign."""
    return abs(x)


def sqrt(x: Any) -> Value:
    """The square root."""
    return from_llvm("sqrt", x)


def over_root(x: Value, v: Value, epsilon: Any) -> Value:
    """x / (sqrt(v) + epsilon), of which optimisers make one for every parameter: within a unit in the last place.

    With AVX-512 a root and a quotient of eight numbers take some 40 cycles. Both are made of the processor's guesses of
    1 / sqrt(v) and 1 / d, right to 14 bits, and Newton's steps from there, in less than half of that; with the two
    instructions themselves where a number is so large or small that a step would leave the range of floats.
    """
    lanes = lanes_among(x, v)
    assert lanes is not None
    builder, count, double = x.builder, lanes.count, lanes.number == "float64"
    x_, v_, epsilon_ = (as_lanes(part, lanes, builder) for part in (x, v, epsilon))

    def exactly() -> Any:
        return (x / (sqrt(v) + epsilon)).llvm

    if BITS != 512:
        return Value(builder, lanes, exactly())

    mask = ir.IntType(count)

    def all_(number: float) -> Any:
        return ir.Constant(lanes.llvm, [number] * count)

    def guess(name: str, of: Any) -> Any:
        kind = ir.FunctionType(of.type, [of.type, of.type, mask])
        function = declared(builder, f"llvm.x86.avx512.{name}14.p{'d' if double else 's'}.512", kind)
        return builder.call(function, [of, all_(0), ir.Constant(mask, -1)])

    def fma(a: Any, b: Any, c: Any) -> Any:
        kind = ir.FunctionType(a.type, [a.type] * 3)
        return builder.call(declared(builder, f"llvm.fma.v{count}f{64 if double else 32}", kind), [a, b, c])

    def less(total: Any, a: Any, b: Any) -> Any:
        return fma(builder.fneg(a), b, total)

    # A root of what is below `least` is nothing beside the smallest epsilon, whatever is made of it.
    least, most, epsilons = (1e-290, 1e290, (1e-100, 1e100)) if double else (1e-36, 1e30, (1e-10, 1e15))
    # From 0 to `most`, by their bits as whole numbers: below 0 and NaN these are larger.
    wholes = ir.VectorType(ir.IntType(64 if double else 32), count)
    ordinary = builder.icmp_unsigned("<=", builder.bitcast(v_, wholes), builder.bitcast(all_(most), wholes))
    for comparison, bound in zip((">=", "<="), epsilons, strict=True):
        ordinary = builder.and_(ordinary, builder.fcmp_ordered(comparison, epsilon_, all_(bound)))
    every = builder.icmp_unsigned(
        "==", builder.bitcast(ordinary, ir.IntType(count)), ir.Constant(ir.IntType(count), -1)
    )
    found = slot(builder, lanes.llvm)
    with builder.if_else(every, likely=True) as (then, otherwise):
        with then:
            larger = builder.select(builder.fcmp_ordered(">", v_, all_(least)), v_, all_(least))
            inverse = guess("rsqrt", larger)
            if double:
                half = builder.fmul(builder.fmul(v_, all_(0.5)), inverse)
                inverse = fma(inverse, less(all_(0.5), half, inverse), inverse)
            root = builder.fmul(v_, inverse)
            root = fma(less(v_, root, root), builder.fmul(inverse, all_(0.5)), root)
            divisor = builder.fadd(root, epsilon_)
            inverse = guess("rcp", divisor)
            if double:
                inverse = fma(inverse, less(all_(1), divisor, inverse), inverse)
            quotient = builder.fmul(x_, inverse)
            builder.store(fma(less(x_, quotient, divisor), inverse, quotient), found)
        with otherwise:
            builder.store(exactly(), found)
    return Value(builder, lanes, builder.load(found))


def sign(x: Value) -> Value:
    """1, -1, or the number itself where it is 0 (or NaN)."""
    return select(x > 0, 1, select(x < 0, -1, x))


# --- an exponent's bits -------------------------------------------------------------------------------------------


def times_two_to(y: Value, t: Value) -> Value:
    """y 2**k, exactly, for the whole number k in the last bits of t: k is added to the exponent's bits of y.

    For normal y and results only.
    """
    builder, whole = y.builder, _whole(y)
    shifted_k = builder.shl(builder.bitcast(t.llvm, whole), _all(whole, 52 if y.is_double else 23))
    return Value(builder, y.kind, builder.bitcast(builder.add(builder.bitcast(y.llvm, whole), shifted_k), y.kind.llvm))


def two_to_sixteenths(t: Value) -> Value:
    """2**(k / 16) for the whole number k in the last bits of t, where that is normal. With AVX-512 alone.

    The fraction's bits are looked up by the last four bits of k among sixteen, in registers. The other bits of k are
    added to the exponent; that the four come with them, into the fraction's first bits, is taken off beforehand.
    """
    builder, whole = t.builder, _whole(t)
    number, bits = ("d", "q") if t.is_double else ("f", "i")
    places = (52 if t.is_double else 23) - 4
    fractions = [struct.unpack(bits, struct.pack(number, 2 ** (j / 16)))[0] - (j << places) for j in range(16)]
    tables = [ir.Constant(whole, fractions[first : first + whole.count]) for first in range(0, 16, whole.count)]
    k = builder.bitcast(t.llvm, whole)
    name = "vpermi2var.q" if t.is_double else "permvar.si"
    given = [tables[0], k, tables[1]] if t.is_double else [tables[0], k]
    lookup = declared(builder, f"llvm.x86.avx512.{name}.512", ir.FunctionType(whole, [whole] * len(given)))
    found = builder.add(builder.call(lookup, given), builder.shl(k, _all(whole, places)))
    return Value(builder, t.kind, builder.bitcast(found, t.kind.llvm))


def exponent(x: Value) -> tuple[Value, Value, Value]:
    """e and f of x = 2**e f with sqrt(1/2) <= f < sqrt(2), and 2**-e, or 0 where that is subnormal.

    For normal, positive x.
    """
    builder, vector, whole = x.builder, x.kind.llvm, _whole(x)
    root_half, fraction_bits, bias = (0x3FE6A09E667F3BCD, 52, 1023) if x.is_double else (0x3F3504F3, 23, 127)
    places = _all(whole, fraction_bits)
    bits = builder.bitcast(x.llvm, whole)
    # Not e but e + bias, which has no sign: AVX2 neither shifts int64 with their sign nor turns them into numbers.
    biased = builder.lshr(builder.add(bits, _all(whole, (bias << fraction_bits) - root_half)), places)
    fraction = builder.sub(bits, builder.shl(builder.sub(biased, _all(whole, bias)), places))
    field = builder.sub(_all(whole, 2 * bias), biased)
    field = builder.select(builder.icmp_signed(">", field, _all(whole, 0)), field, _all(whole, 0))
    # Put where the last bits of 2**fraction_bits are, a whole number is added to it.
    start = _all(whole, (bias + fraction_bits) << fraction_bits)
    number = builder.bitcast(builder.or_(biased, start), vector)
    shift = ir.Constant(vector, [-(2.0**fraction_bits) - bias] * vector.count)
    found = (
        builder.fadd(number, shift),
        builder.bitcast(fraction, vector),
        builder.bitcast(builder.shl(field, places), vector),
    )
    e_, f, power = (Value(builder, x.kind, part) for part in found)
    return e_, f, power


def _whole(x: Value) -> Any:
    """Integers of the width of the lanes."""
    return ir.VectorType(ir.IntType(64 if x.is_double else 32), x.kind.count)


def _all(whole: Any, number: int) -> Any:
    return ir.Constant(whole, [number] * whole.count)


# --- plain numbers ------------------------------------------------------------------------------------------------


def copy(goal: Value, source: Value, count: Any) -> None:
    """Copy `count` numbers."""
    builder = goal.builder
    size = ir.Constant(ir.IntType(64), 4 if goal.kind.number == "float32" else 8)
    byte = ir.IntType(8).as_pointer()
    function = builder.module.declare_intrinsic("llvm.memcpy", [byte, byte, size.type])
    places = (builder.bitcast(pointer.llvm, byte) for pointer in (goal, source))
    size = builder.mul(as_number(builder, count, "int64"), size)
    builder.call(function, [*places, size, ir.Constant(ir.IntType(1), 0)])


def quotient(sum_: Any, total: Any) -> Any:
    """A mean over rows that weigh something; rows that all weigh nothing have nothing to say: 0."""
    builder, zero = builder_of(sum_, total), ir.Constant(ir.DoubleType(), 0.0)
    given = [as_number(builder, part, "float64") for part in (sum_, total)]
    found = builder.select(builder.fcmp_ordered(">", given[1], zero), builder.fdiv(*given), zero)
    return Value(builder, Kind("float64"), found)


def is_finite(x: Any) -> Any:
    """Whether a number is neither infinite nor NaN."""
    return (x - x) == 0.0


# --- other threads ------------------------------------------------------------------------------------------------


def arrive(counter: Value) -> Value:
    """Count one more, and tell how many were counted before; what was written until now is written for all."""
    one = ir.Constant(ir.IntType(64), 1)
    return Value(counter.builder, Kind("int64"), counter.builder.atomic_rmw("add", counter.llvm, one, "acq_rel"))


def arrived(counter: Value) -> Value:
    """How many are counted; what those wrote can be read from now on."""
    return Value(counter.builder, Kind("int64"), counter.builder.load_atomic(counter.llvm, "acquire", 8))


def give_way(address: Value) -> None:
    """Call the system's function at an address that lets other threads run."""
    function = ir.FunctionType(ir.IntType(32), [])
    address.builder.call(address.builder.inttoptr(address.llvm, function.as_pointer()), [])


# --- subnormal numbers ----------------------------------------------------------------------------------------------


def float_mode(place: Value) -> Value:
    """How the processor treats floats at present, for `set_float_mode`; `place` is any pointer."""
    builder, word = place.builder, ir.IntType(32)
    found = slot(builder, word)
    builder.store(ir.Constant(word, 0), found)
    if ON_X86:
        _call_with_mode(builder, "stmxcsr", found)
    return Value(builder, Kind("int64"), builder.zext(builder.load(found), ir.IntType(64)))


def set_float_mode(mode: Value, flags: Any) -> None:
    """Treat floats as `mode` says, with flags more: `FLUSHED` for 0 in place of all that is subnormal."""
    if ON_X86:
        builder = mode.builder
        changed = builder.or_(mode.llvm, as_number(builder, flags, "int64"))
        _call_with_mode(builder, "ldmxcsr", slot_of(builder, builder.trunc(changed, ir.IntType(32))))


def _call_with_mode(builder: Any, name: str, place: Any) -> None:
    byte = ir.IntType(8).as_pointer()
    function = declared(builder, f"llvm.x86.sse.{name}", ir.FunctionType(ir.VoidType(), [byte]))
    builder.call(function, [builder.bitcast(place, byte)])


# --- random bits of NumPy's -----------------------------------------------------------------------------------------


def random_word(address: Value, state: Value) -> Any:
    """32 bits of a bit generator of NumPy's, whose `next_uint32` and whose state lie at these addresses."""
    word, place = ir.IntType(32), ir.IntType(8).as_pointer()
    builder, function = address.builder, ir.FunctionType(word, [place])
    called = builder.inttoptr(address.llvm, function.as_pointer())
    found = builder.call(called, [builder.inttoptr(state.llvm, place)])
    return Value(builder, Kind("uint64"), builder.zext(found, ir.IntType(64)))


# --- calls --------------------------------------------------------------------------------------------------------


def several(source: Value, first: int, last: int) -> tuple[Any, ...]:
    """The numbers `first` to `last` - 1 that a pointer points to."""
    return tuple(source[place] for place in range(first, last))


def call(address: Value, arguments: tuple[Any, ...]) -> Any:
    """Call the compiled function at an address, with a tuple of arguments, or of tuples; it returns a float64.

    An address among the arguments may come as an int64: C has both in the same registers.
    """
    builder = address.builder
    flat = [part for group in arguments for part in (group if isinstance(group, tuple) else (group,))]
    kinds = [kind_of(argument) for argument in flat]
    given = [
        argument.llvm if isinstance(argument, Value) else as_number(builder, argument, kind.number)
        for argument, kind in zip(flat, kinds, strict=True)
    ]
    function = ir.FunctionType(ir.DoubleType(), [kind.llvm for kind in kinds])
    return Value(builder, Kind("float64"), builder.call(builder.inttoptr(address.llvm, function.as_pointer()), given))
