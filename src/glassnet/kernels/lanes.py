"""The vector that kernels compute with: so many rows, or units, side by side as one number.

A kernel says `z1_1 = b1_1 + w1_1_1 * x1` and means it for 8 rows at once (16 in float32): `x1` is a `Lanes`, a type of
Numba's that is one register of the processor. Left to itself a compiler has to find out that a loop may be turned
into vectors, and often does not; here every line is one vector instruction, and nothing is reordered, so that the bits
follow from the lines alone. `a * b + c` may become one fused instruction with one rounding, nothing else is altered.

Memory is read and written through pointers, at an element's index, without any check: kernels are generated, and their
indices with them.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

from glassnet.kernels.machine import BITS

_INDEX = ir.IntType(32)


class Lanes(types.Type):
    """Numbers of one dtype, `count` of them, in one vector."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        self.count = BITS // dtype.bitwidth
        super().__init__(name=f"Lanes({dtype})")


class Truths(types.Type):
    """What a comparison of `Lanes` gives: true or false in every lane."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(name=f"Truths({dtype})")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Lanes) -> None:
        super().__init__(dmm, fe_type, vector_of(fe_type.dtype))


@register_model(Truths)
class _TruthsModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Truths) -> None:
        super().__init__(dmm, fe_type, ir.VectorType(ir.IntType(1), BITS // fe_type.dtype.bitwidth))


def vector_of(dtype: Any) -> ir.VectorType:
    """LLVM's type of the lanes of a dtype."""
    number = ir.FloatType() if dtype == types.float32 else ir.DoubleType()
    return ir.VectorType(number, BITS // dtype.bitwidth)


def _whole(dtype: Any) -> ir.VectorType:
    """Integers of the same width."""
    return ir.VectorType(ir.IntType(dtype.bitwidth), BITS // dtype.bitwidth)


def filled_vector(builder: Any, number: Any, vector: ir.VectorType) -> Any:
    """One number in all lanes."""
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, number, ir.Constant(_INDEX, 0))
    zeros = ir.Constant(ir.VectorType(_INDEX, vector.count), [0] * vector.count)
    return builder.shuffle_vector(first, undefined, zeros)


def _as_lanes(context: Any, builder: Any, value: Any, given: Any, wanted: Lanes) -> Any:
    """A value as lanes: a plain number stands in all of them, rounded to their dtype."""
    if isinstance(given, Lanes):
        return value
    return filled_vector(builder, context.cast(builder, value, given, wanted.dtype), vector_of(wanted.dtype))


def _lanes_among(given: tuple[Any, ...]) -> Lanes | None:
    return next((part for part in given if isinstance(part, Lanes)), None)


FUSED = ("contract",)
"""A product and a sum may be one instruction, rounded once. All else is as written."""


def _operator(function: Any, build: Callable[[Any, Any, Any], Any], *, compares: bool = False) -> None:
    """Give an operator a meaning for lanes, and for lanes and a plain number."""

    @infer_global(function)
    class _Typing(AbstractTemplate):
        def generic(self, args: tuple[Any, ...], kws: Any) -> Any:
            lanes = _lanes_among(args)
            if lanes is None or len(args) != 2:
                return None
            return signature(Truths(lanes.dtype) if compares else lanes, *args)

    def lowered(context: Any, builder: Any, sig: Any, args: tuple[Any, ...]) -> Any:
        lanes = _lanes_among(sig.args)
        assert lanes is not None
        left, right = (_as_lanes(context, builder, a, t, lanes) for a, t in zip(args, sig.args, strict=True))
        return build(builder, left, right)

    for pair in ((Lanes, Lanes), (Lanes, types.Number), (types.Number, Lanes)):
        lower_builtin(function, *pair)(lowered)


_operator(operator.add, lambda builder, a, b: builder.fadd(a, b, flags=FUSED))
_operator(operator.sub, lambda builder, a, b: builder.fsub(a, b, flags=FUSED))
_operator(operator.mul, lambda builder, a, b: builder.fmul(a, b, flags=FUSED))
_operator(operator.truediv, lambda builder, a, b: builder.fdiv(a, b))
_operator(operator.lt, lambda builder, a, b: builder.fcmp_ordered("<", a, b), compares=True)
_operator(operator.le, lambda builder, a, b: builder.fcmp_ordered("<=", a, b), compares=True)
_operator(operator.gt, lambda builder, a, b: builder.fcmp_ordered(">", a, b), compares=True)
_operator(operator.ge, lambda builder, a, b: builder.fcmp_ordered(">=", a, b), compares=True)
_operator(operator.eq, lambda builder, a, b: builder.fcmp_ordered("==", a, b), compares=True)
_operator(operator.ne, lambda builder, a, b: builder.fcmp_unordered("!=", a, b), compares=True)


@infer_global(operator.neg)
class _Negation(AbstractTemplate):
    def generic(self, args: tuple[Any, ...], kws: Any) -> Any:
        return signature(args[0], *args) if isinstance(args[0], Lanes) else None


@lower_builtin(operator.neg, Lanes)
def _negated(context: Any, builder: Any, sig: Any, args: tuple[Any, ...]) -> Any:
    return builder.fneg(args[0])


@infer_global(operator.or_)
class _Either(AbstractTemplate):
    def generic(self, args: tuple[Any, ...], kws: Any) -> Any:
        return signature(args[0], *args) if all(isinstance(part, Truths) for part in args) else None


@lower_builtin(operator.or_, Truths, Truths)
def _either(context: Any, builder: Any, sig: Any, args: tuple[Any, ...]) -> Any:
    return builder.or_(*args)


# --- memory -------------------------------------------------------------------------------------------------------


def _lanes_at(builder: Any, pointer: Any, index: Any, vector: Any) -> Any:
    """The address of the lanes that begin at element `index`."""
    return builder.bitcast(builder.gep(pointer, [index]), vector.as_pointer())


def _align(vector: Any) -> int:
    return 4 if isinstance(vector.element, ir.FloatType) else 8


@intrinsic
def shifted(typingctx: Any, pointer: Any, index: Any) -> Any:
    """A pointer to element `index` of what `pointer` points to."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.gep(args[0], [args[1]])

    return pointer(pointer, types.intp), build


@intrinsic
def as_bytes(typingctx: Any, pointer: Any) -> Any:
    """The same memory as whole numbers of 8 bits, from 0 to 255."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.IntType(8).as_pointer())

    return types.CPointer(types.uint8)(pointer), build  # type: ignore[attr-defined]


@intrinsic
def load(typingctx: Any, source: Any, index: Any) -> Any:
    """The lanes that begin at element `index`."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = vector_of(source.dtype)
        return builder.load(_lanes_at(builder, args[0], args[1], vector), align=_align(vector))

    return Lanes(source.dtype)(source, types.intp), build


@intrinsic
def store(typingctx: Any, goal: Any, index: Any, value: Any) -> Any:
    """Write lanes, or one number to all of them, from element `index` on."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        lanes = _as_lanes(context, builder, args[2], sig.args[2], Lanes(goal.dtype))
        builder.store(lanes, _lanes_at(builder, args[0], args[1], lanes.type), align=_align(lanes.type))
        return context.get_dummy_value()

    return types.void(goal, types.intp, value), build


class masked:  # noqa: N801
    """LLVM's loads and stores of the first `count` lanes, a number of the program's."""

    def __init__(self, builder: Any, vector: Any, count: Any) -> None:
        self.builder, self.vector = builder, vector
        numbers = ir.VectorType(_INDEX, vector.count)
        along = ir.Constant(numbers, list(range(vector.count)))
        self.mask = builder.icmp_signed("<", along, filled_vector(builder, builder.trunc(count, _INDEX), numbers))
        self.align = ir.Constant(_INDEX, _align(vector))

    def _function(self, operation: str, kind: Any) -> Any:
        letter, width = ("f", 32) if _align(self.vector) == 4 else ("d", 64)
        count = self.vector.count
        name = f"llvm.masked.{operation}.v{count}f{width}.p0v{count}{letter}"
        return cgutils.get_or_insert_function(self.builder.module, kind, name)

    def load(self, place: Any) -> Any:
        """Lanes, 0 beyond the first ones, which are not read."""
        zeros = ir.Constant(self.vector, [0.0] * self.vector.count)
        kind = ir.FunctionType(self.vector, [place.type, _INDEX, self.mask.type, self.vector])
        return self.builder.call(self._function("load", kind), [place, self.align, self.mask, zeros])

    def store(self, lanes: Any, place: Any) -> None:
        """Write the first ones."""
        kind = ir.FunctionType(ir.VoidType(), [self.vector, place.type, _INDEX, self.mask.type])
        self.builder.call(self._function("store", kind), [lanes, place, self.align, self.mask])


@intrinsic
def load_some(typingctx: Any, source: Any, index: Any, count: Any) -> Any:
    """The first `count` lanes from element `index` on; the others are 0 and not read."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = vector_of(source.dtype)
        return masked(builder, vector, args[2]).load(_lanes_at(builder, args[0], args[1], vector))

    return Lanes(source.dtype)(source, types.intp, types.int64), build


@intrinsic
def store_some(typingctx: Any, goal: Any, index: Any, lanes: Any, count: Any) -> Any:
    """Write the first `count` lanes from element `index` on."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = vector_of(goal.dtype)
        masked(builder, vector, args[3]).store(args[2], _lanes_at(builder, args[0], args[1], vector))
        return context.get_dummy_value()

    return types.void(goal, types.intp, lanes, types.int64), build


# --- lanes from numbers and numbers from lanes --------------------------------------------------------------------


@intrinsic
def filled(typingctx: Any, source: Any, number: Any) -> Any:
    """One number in all lanes, in the dtype of the array or pointer `source`."""
    lanes = Lanes(source.dtype)

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _as_lanes(context, builder, args[1], sig.args[1], lanes)

    return lanes(source, number), build


def _halved(builder: Any, lanes: Any, join: Callable[[Any, Any], Any]) -> Any:
    """One number from all lanes: the upper half joined to the lower, again and again."""
    count = lanes.type.count
    while count > 1:
        count //= 2
        undefined = ir.Constant(lanes.type, ir.Undefined)
        lower, upper = (
            builder.shuffle_vector(
                lanes, undefined, ir.Constant(ir.VectorType(_INDEX, count), list(range(first, first + count)))
            )
            for first in (0, count)
        )
        lanes = join(lower, upper)
    return builder.extract_element(lanes, ir.Constant(_INDEX, 0))


@intrinsic
def total(typingctx: Any, lanes: Any) -> Any:
    """The sum over the lanes: halves added to each other until one number is left."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _halved(builder, args[0], builder.fadd)

    return lanes.dtype(lanes), build


def _larger(builder: Any, a: Any, b: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


@intrinsic
def keep_larger(typingctx: Any, goal: Any, index: Any, lanes: Any) -> Any:
    """Put lanes into the elements from `index` on, each where what stands there is not larger."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        place = _lanes_at(builder, args[0], args[1], args[2].type)
        align = _align(args[2].type)
        builder.store(_larger(builder, args[2], builder.load(place, align=align)), place, align=align)
        return context.get_dummy_value()

    return types.void(goal, types.intp, lanes), build


@intrinsic
def keep_largest(typingctx: Any, goal: Any, index: Any, lanes: Any) -> Any:
    """Put the largest lane into element `index`, where what stands there is not larger."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        place = builder.gep(args[0], [args[1]])
        largest = _halved(builder, args[2], lambda a, b: _larger(builder, a, b))
        builder.store(_larger(builder, largest, builder.load(place)), place)
        return context.get_dummy_value()

    return types.void(goal, types.intp, lanes), build


@intrinsic
def put_total(typingctx: Any, goal: Any, index: Any, start: Any, lanes: Any) -> Any:
    """Write `start` plus the sum over the lanes to element `index`."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        total = builder.fadd(args[2], _halved(builder, args[3], builder.fadd))
        builder.store(total, builder.gep(args[0], [args[1]]))
        return context.get_dummy_value()

    return types.void(goal, types.intp, goal.dtype, lanes), build


@intrinsic
def lane_count(typingctx: Any, source: Any) -> Any:
    """How many lanes a vector of the numbers that `source` points to has."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return ir.Constant(ir.IntType(64), BITS // source.dtype.bitwidth)

    return types.int64(source), build


# --- element by element -------------------------------------------------------------------------------------------


@intrinsic
def select(typingctx: Any, truths: Any, yes: Any, no: Any) -> Any:
    """`yes` where it is true, else `no`; either may be a plain number."""
    lanes = Lanes(truths.dtype)

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        chosen = (_as_lanes(context, builder, args[n], sig.args[n], lanes) for n in (1, 2))
        return builder.select(args[0], *chosen)

    return lanes(truths, yes, no), build


@intrinsic
def either(typingctx: Any, a: Any, b: Any) -> Any:
    """All bits of either: a number that is not 0 where one of the two is not."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        whole = _whole(a.dtype)
        return builder.bitcast(
            builder.or_(builder.bitcast(args[0], whole), builder.bitcast(args[1], whole)), args[0].type
        )

    return a(a, b), build


def larger(builder: Any, comparison: str, left: Any, right: Any) -> Any:
    """The larger of two (the smaller, with <): one instruction, and a NaN on the left is kept."""
    # No comparison with a NaN is true.
    return builder.select(builder.fcmp_ordered(comparison, right, left), right, left)


def _choice(comparison: str) -> Callable[..., Any]:
    def typed(typingctx: Any, a: Any, b: Any) -> Any:
        lanes = _lanes_among((a, b))
        assert lanes is not None

        def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            left, right = (_as_lanes(context, builder, x, t, lanes) for x, t in zip(args, sig.args, strict=True))
            return larger(builder, comparison, left, right)

        return lanes(a, b), build

    return typed


maximum = intrinsic(_choice(">"))
minimum = intrinsic(_choice("<"))


def _from_llvm(name: str) -> Callable[..., Any]:
    def typed(typingctx: Any, x: Any) -> Any:
        def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            vector = args[0].type
            function = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(vector, [vector]), f"llvm.{name}.v{vector.count}f{x.dtype.bitwidth}"
            )
            return builder.call(function, args)

        return x(x), build

    return typed


@intrinsic
def sign(typingctx: Any, x: Any) -> Any:
    """1, -1, or the number itself where it is 0 (or NaN)."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        zero, one, minus = (ir.Constant(args[0].type, [v] * args[0].type.count) for v in (0.0, 1.0, -1.0))
        negative = builder.select(builder.fcmp_ordered("<", args[0], zero), minus, args[0])
        return builder.select(builder.fcmp_ordered(">", args[0], zero), one, negative)

    return x(x), build


absolute = intrinsic(_from_llvm("fabs"))
sqrt = intrinsic(_from_llvm("sqrt"))


# --- plain numbers ------------------------------------------------------------------------------------------------


@intrinsic
def copy(typingctx: Any, goal: Any, source: Any, count: Any) -> Any:
    """Copy `count` numbers."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        cgutils.raw_memcpy(builder, args[0], args[1], args[2], goal.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(goal, source, types.int64), build


@intrinsic
def quotient(typingctx: Any, sum_: Any, total: Any) -> Any:
    """A mean over rows that weigh something; rows that all weigh nothing have nothing to say: 0."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        zero = ir.Constant(ir.DoubleType(), 0.0)
        return builder.select(builder.fcmp_ordered(">", args[1], zero), builder.fdiv(*args), zero)

    return types.float64(types.float64, types.float64), build


@intrinsic
def is_finite(typingctx: Any, x: Any) -> Any:
    """Whether a number is neither infinite nor NaN."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.fcmp_ordered("==", builder.fsub(args[0], args[0]), ir.Constant(args[0].type, 0.0))

    return types.boolean(x), build


# --- other threads ------------------------------------------------------------------------------------------------


@intrinsic
def arrive(typingctx: Any, counter: Any) -> Any:
    """Count one more, and tell how many were counted before; what was written until now is written for all."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.atomic_rmw("add", args[0], ir.Constant(ir.IntType(64), 1), "acq_rel")

    return types.int64(counter), build


@intrinsic
def arrived(typingctx: Any, counter: Any) -> Any:
    """How many are counted; what those wrote can be read from now on."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.load_atomic(args[0], "acquire", 8)

    return types.int64(counter), build


@intrinsic
def give_way(typingctx: Any, address: Any) -> Any:
    """Call the system's function at an address that lets other threads run."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        function = ir.FunctionType(ir.IntType(32), [])
        builder.call(builder.inttoptr(args[0], function.as_pointer()), [])
        return context.get_dummy_value()

    return types.void(types.intp), build


# --- calls --------------------------------------------------------------------------------------------------------


@intrinsic
def call(typingctx: Any, address: Any, arguments: Any) -> Any:
    """Call the compiled function at an address, with a tuple of arguments; it returns a float64."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        given = cgutils.unpack_tuple(builder, args[1])
        kinds = [context.get_value_type(kind) for kind in arguments]
        function = ir.FunctionType(ir.DoubleType(), kinds)
        return builder.call(builder.inttoptr(args[0], function.as_pointer()), given)

    return types.float64(types.intp, arguments), build
