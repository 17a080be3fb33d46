"""Functions of lanes in plain Python, which run once while a kernel is compiled and leave their instructions in it.

Numba would compile each such function by itself, at a twentieth of a second apiece, before it wrote it into a kernel.
Here the function is called with a `Value` that stands for the lanes; what is done with it is written down as it goes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import lower_builtin

from glassnet.kernels.lanes import FUSED, Lanes, larger


class Value:
    """Lanes, or truths, that a compiled kernel will have: an instruction's result."""

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder, self.value = builder, value

    @property
    def is_double(self) -> bool:
        """Whether the lanes are float64."""
        return isinstance(self.value.type.element, ir.DoubleType)

    def _as_lanes(self, other: Any) -> Any:
        """Another value's lanes; a plain number stands in all of them."""
        if isinstance(other, Value):
            return other.value
        return ir.Constant(self.value.type, [float(other)] * self.value.type.count)

    def _of(self, instruction: str, left: Any, right: Any, flags: tuple[str, ...] = ()) -> Value:
        build = getattr(self.builder, instruction)
        return Value(self.builder, build(self._as_lanes(left), self._as_lanes(right), flags=flags))

    def __add__(self, other: Any) -> Value:
        return self._of("fadd", self, other, FUSED)

    def __sub__(self, other: Any) -> Value:
        return self._of("fsub", self, other, FUSED)

    def __rsub__(self, other: Any) -> Value:
        return self._of("fsub", other, self, FUSED)

    def __mul__(self, other: Any) -> Value:
        return self._of("fmul", self, other, FUSED)

    __radd__, __rmul__ = __add__, __mul__

    def __truediv__(self, other: Any) -> Value:
        return self._of("fdiv", self, other)

    def __rtruediv__(self, other: Any) -> Value:
        return self._of("fdiv", other, self)

    def __neg__(self) -> Value:
        return Value(self.builder, self.builder.fneg(self.value))

    def _compared(self, sign: str, other: Any) -> Value:
        return Value(self.builder, self.builder.fcmp_ordered(sign, self.value, self._as_lanes(other)))

    def __lt__(self, other: Any) -> Value:
        return self._compared("<", other)

    def __le__(self, other: Any) -> Value:
        return self._compared("<=", other)

    def __gt__(self, other: Any) -> Value:
        return self._compared(">", other)

    def __ge__(self, other: Any) -> Value:
        return self._compared(">=", other)

    def equals(self, other: Any) -> Value:
        """Where they are the same number."""
        return self._compared("==", other)

    def from_llvm(self, name: str) -> Value:
        """One of LLVM's own functions of one number, such as fabs."""
        vector = self.value.type
        bits = 64 if self.is_double else 32
        function = cgutils.get_or_insert_function(
            self.builder.module, ir.FunctionType(vector, [vector]), f"llvm.{name}.v{vector.count}f{bits}"
        )
        return Value(self.builder, self.builder.call(function, [self.value]))


def maximum(a: Value, b: float) -> Value:
    """The larger; a NaN on the left is kept."""
    return Value(a.builder, larger(a.builder, ">", a.value, a._as_lanes(b)))


def minimum(a: Value, b: float) -> Value:
    """The smaller; a NaN on the left is kept."""
    return Value(a.builder, larger(a.builder, "<", a.value, a._as_lanes(b)))


def absolute(x: Value) -> Value:
    """Without its sign."""
    return x.from_llvm("fabs")


def select(truths: Value, yes: Any, no: Any) -> Value:
    """`yes` where it is true, else `no`; one of the two may be a plain number."""
    like = yes if isinstance(yes, Value) else no
    return Value(like.builder, like.builder.select(truths.value, like._as_lanes(yes), like._as_lanes(no)))


def filled_like(x: Value, number: float) -> Value:
    """One number in all lanes."""
    return Value(x.builder, x._as_lanes(number))


def times_two_to(y: Value, t: Value) -> Value:
    """y 2**k, exactly, for the whole number k in the last bits of t: k is added to the exponent's bits of y.

    For normal y and results only.
    """
    builder, whole = y.builder, _whole(y)
    shifted_k = builder.shl(builder.bitcast(t.value, whole), _all(whole, 52 if y.is_double else 23))
    return Value(builder, builder.bitcast(builder.add(builder.bitcast(y.value, whole), shifted_k), y.value.type))


def exponent(x: Value) -> tuple[Value, Value, Value]:
    """e and f of x = 2**e f with sqrt(1/2) <= f < sqrt(2), and 2**-e, or 0 where that is subnormal.

    For normal, positive x.
    """
    builder, vector, whole = x.builder, x.value.type, _whole(x)
    root_half, fraction_bits, bias = (0x3FE6A09E667F3BCD, 52, 1023) if x.is_double else (0x3F3504F3, 23, 127)
    places = _all(whole, fraction_bits)
    bits = builder.bitcast(x.value, whole)
    e = builder.ashr(builder.sub(bits, _all(whole, root_half)), places)
    fraction = builder.sub(bits, builder.shl(e, places))
    field = builder.sub(_all(whole, bias), e)
    field = builder.select(builder.icmp_signed(">", field, _all(whole, 0)), field, _all(whole, 0))
    found = (
        builder.sitofp(e, vector),
        builder.bitcast(fraction, vector),
        builder.bitcast(builder.shl(field, places), vector),
    )
    e_, f, power = (Value(builder, part) for part in found)
    return e_, f, power


def _whole(x: Value) -> Any:
    """Integers of the width of the lanes."""
    return ir.VectorType(ir.IntType(64 if x.is_double else 32), x.value.type.count)


def _all(whole: Any, number: int) -> Any:
    return ir.Constant(whole, [number] * whole.count)


def hand_to_kernels(function: Callable[[Value], Value]) -> None:
    """Let kernels call a function of a `Value`, a global of its module, with lanes."""

    @infer_global(function)
    class _Typing(AbstractTemplate):
        def generic(self, args: tuple[Any, ...], kws: Any) -> Any:
            return signature(args[0], *args) if len(args) == 1 and isinstance(args[0], Lanes) else None

    @lower_builtin(function, Lanes)
    def _lowered(context: Any, builder: Any, sig: Any, args: tuple[Any, ...]) -> Any:
        return function(Value(builder, args[0])).value
