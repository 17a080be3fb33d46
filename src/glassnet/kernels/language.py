"""The language of kernels: a small part of Python, written down as LLVM's instructions line by line.

A kernel's source is Python, read by people as such. Its functions of signatures known become functions of LLVM's:

- A value has one type: a number (int64, uint64, float64, float32, or true and false), a pointer to numbers, or lanes.
  What is read of a pointer is `p[i]`, without any check; int32, int16 and uint8 are in memory alone, and int64 once
  read. A name keeps the type of what it was first given.
- There are assignments, `if`, `while`, `for` over a `range` of constant step, `break`, `continue`, and one `return`, at
  the end. int64 and float32 together are float64, as in NumPy; `/` is of floats, `//` rounds down, `and` and `or` give
  true or false. A condition that is a constant settles which lines are there.
- What a source calls of its own is written into the caller. All else that it calls is called, once, while it is
  translated: a plain function of `Value`s that leaves its instructions in the kernel (`lanes`, `mathematics`).

Nothing has to be found out about types, so this takes milliseconds; and nothing is reordered or left to guesses.
"""

from __future__ import annotations

import ast
import builtins
import operator
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir

_LLVM = {
    "int64": ir.IntType(64),
    "uint64": ir.IntType(64),
    "float64": ir.DoubleType(),
    "float32": ir.FloatType(),
    "bool": ir.IntType(1),
    "int32": ir.IntType(32),
    "int16": ir.IntType(16),
    "uint8": ir.IntType(8),
}
_NARROW = ("int32", "int16", "uint8")
"""Whole numbers that memory holds in few bits: read, they are int64."""

FUSED = ("contract",)
"""A product and a sum of lanes may be one instruction, rounded once. All else is as written."""


@dataclass(frozen=True)
class Kind:
    """The type of a value: a "number", a "pointer" to numbers, so many "lanes" of them, or as many "truths"."""

    number: str
    form: str = "number"
    count: int = 0

    @property
    def llvm(self) -> Any:
        """LLVM's type."""
        number = _LLVM["bool" if self.form == "truths" else self.number]
        if self.form == "pointer":
            return number.as_pointer()
        return ir.VectorType(number, self.count) if self.count else number


_TRUTH = Kind("bool")


class Value:
    """A value that a kernel will have once it runs: an instruction's result, with its kind."""

    __array_ufunc__ = None  # NumPy's constants leave an operator to this class
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, builder: Any, kind: Kind, llvm: Any) -> None:
        self.builder, self.kind, self.llvm = builder, kind, llvm

    @property
    def is_double(self) -> bool:
        """Whether it is made of float64."""
        return self.kind.number == "float64"

    def __bool__(self) -> bool:
        raise TypeError("a kernel's value is not known while it is translated")

    def __getitem__(self, index: Any) -> Value:
        assert self.kind.form == "pointer", "only pointers have elements"
        number, found = self.kind.number, self.builder.load(self.at(index))
        if number in _NARROW:
            widened = self.builder.zext if number == "uint8" else self.builder.sext
            return Value(self.builder, Kind("int64"), widened(found, _LLVM["int64"]))
        return Value(self.builder, Kind(number), found)

    def __setitem__(self, index: Any, value: Any) -> None:
        number = self.kind.number
        if number in _NARROW:
            whole = as_number(self.builder, value, "int64")
            self.builder.store(self.builder.trunc(whole, _LLVM[number]), self.at(index))
        else:
            self.builder.store(as_number(self.builder, value, number), self.at(index))

    def at(self, index: Any) -> Any:
        """Where element `index` of what it points to lies, as LLVM has it."""
        return self.builder.gep(self.llvm, [as_number(self.builder, index, "int64")])

    def __add__(self, other: Any) -> Value:
        return _operated("add", self, other)

    def __radd__(self, other: Any) -> Value:
        return _operated("add", other, self)

    def __sub__(self, other: Any) -> Value:
        return _operated("sub", self, other)

    def __rsub__(self, other: Any) -> Value:
        return _operated("sub", other, self)

    def __mul__(self, other: Any) -> Value:
        return _operated("mul", self, other)

    def __rmul__(self, other: Any) -> Value:
        return _operated("mul", other, self)

    def __truediv__(self, other: Any) -> Value:
        return _operated("div", self, other)

    def __rtruediv__(self, other: Any) -> Value:
        return _operated("div", other, self)

    def __floordiv__(self, other: Any) -> Value:
        return _divided_down(self, other)[0]

    def __rfloordiv__(self, other: Any) -> Value:
        return _divided_down(other, self)[0]

    def __mod__(self, other: Any) -> Value:
        return _divided_down(self, other)[1]

    def __and__(self, other: Any) -> Value:
        return _of_bits("and_", self, other)

    def __or__(self, other: Any) -> Value:
        return _of_bits("or_", self, other)

    def __xor__(self, other: Any) -> Value:
        return _of_bits("xor", self, other)

    def __lshift__(self, other: Any) -> Value:
        return _of_bits("shl", self, other)

    def __rlshift__(self, other: Any) -> Value:
        return _of_bits("shl", other, self)

    def __rshift__(self, other: Any) -> Value:
        return _of_bits("lshr" if self.kind.number == "uint64" else "ashr", self, other)

    def __neg__(self) -> Value:
        if _is_float(self.kind.number):
            return Value(self.builder, self.kind, self.builder.fneg(self.llvm))
        return 0 - self

    def __abs__(self) -> Value:
        return from_llvm("fabs", self)

    def __lt__(self, other: Any) -> Value:
        return _compared("<", self, other)

    def __le__(self, other: Any) -> Value:
        return _compared("<=", self, other)

    def __gt__(self, other: Any) -> Value:
        return _compared(">", self, other)

    def __ge__(self, other: Any) -> Value:
        return _compared(">=", self, other)

    def __eq__(self, other: Any) -> Value:  # type: ignore[override]
        return _compared("==", self, other)

    def __ne__(self, other: Any) -> Value:  # type: ignore[override]
        return _compared("!=", self, other)


# --- numbers ------------------------------------------------------------------------------------------------------


def kind_of(value: Any) -> Kind:
    """The kind of a value, or of a constant."""
    if isinstance(value, Value):
        return value.kind
    if isinstance(value, bool | int | float):
        return Kind({bool: "bool", int: "int64"}.get(type(value), "float64"))
    if isinstance(value, np.generic) and value.dtype.name in _LLVM:
        return Kind(value.dtype.name)
    raise TypeError(f"a kernel knows nothing of {value!r}")


def as_number(builder: Any, value: Any, number: str) -> Any:
    """A number, or a constant, as LLVM's value of a number's type: a float64 is rounded to a float32."""
    kind, goal = kind_of(value), _LLVM[number]
    if kind.form != "number" or (_is_float(kind.number) and not _is_float(number)):
        raise TypeError(f"{kind} is no {number}")
    if not isinstance(value, Value):
        return ir.Constant(goal, float(value) if _is_float(number) else int(value))
    given = kind.number
    if _LLVM[given] == goal:
        return value.llvm
    if _is_float(given):
        return (builder.fpext if number == "float64" else builder.fptrunc)(value.llvm, goal)
    if _is_float(number):
        return (builder.sitofp if given == "int64" else builder.uitofp)(value.llvm, goal)
    assert given == "bool", f"{given} is not a truth"
    return builder.zext(value.llvm, goal)


def as_lanes(value: Any, lanes: Kind, builder: Any) -> Any:
    """A value as LLVM's lanes of a kind: a plain number stands in all of them, rounded to their type."""
    if not isinstance(value, Value):
        return ir.Constant(lanes.llvm, [float(value)] * lanes.count)
    if value.kind.form == "lanes":
        assert value.kind == lanes, f"{value.kind} beside {lanes}"
        return value.llvm
    return filled_vector(builder, as_number(builder, value, lanes.number), lanes.llvm)


def filled_vector(builder: Any, number: Any, vector: Any) -> Any:
    """One number of LLVM's in all lanes."""
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, number, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
    return builder.shuffle_vector(first, undefined, zeros)


def builder_of(*values: Any) -> Any:
    """Where the next instruction goes."""
    return next(value.builder for value in values if isinstance(value, Value))


def lanes_among(*values: Any) -> Kind | None:
    """The kind of those among values that are lanes."""
    return next((v.kind for v in values if isinstance(v, Value) and v.kind.form == "lanes"), None)


def _is_float(number: str) -> bool:
    return number in ("float64", "float32")


def common(a: Any, b: Any) -> str:
    """The type of number that two have in common."""
    left, right = kind_of(a).number, kind_of(b).number
    if left == right:
        return left
    if _is_float(left) or _is_float(right):
        return "float64"
    if "uint64" in (left, right):
        if type(b if left == "uint64" else a) is not int:
            raise TypeError(f"{left} and {right} have no type in common")
        return "uint64"
    return "int64"


def _operated(operation: str, a: Any, b: Any) -> Value:
    builder, lanes = builder_of(a, b), lanes_among(a, b)
    if lanes is not None:
        left, right = (as_lanes(value, lanes, builder) for value in (a, b))
        flags = () if operation == "div" else FUSED
        return Value(builder, lanes, getattr(builder, f"f{operation}")(left, right, flags=flags))
    number = common(a, b)
    if not _is_float(number):
        number = "float64" if operation == "div" else "int64" if number == "bool" else number
    build = getattr(builder, f"f{operation}" if _is_float(number) else operation)
    return Value(builder, Kind(number), build(*(as_number(builder, value, number) for value in (a, b))))


def _divided_down(a: Any, b: Any) -> tuple[Value, Value]:
    """Quotient, rounded down, and remainder, which has the divisor's sign."""
    builder = builder_of(a, b)
    assert common(a, b) == "int64", "// and % are of int64"
    left, right = (as_number(builder, value, "int64") for value in (a, b))
    zero = ir.Constant(_LLVM["int64"], 0)
    quotient, remainder = builder.sdiv(left, right), builder.srem(left, right)
    other_sign = builder.icmp_signed("<", builder.xor(remainder, right), zero)
    above = builder.and_(builder.icmp_signed("!=", remainder, zero), other_sign)
    down = builder.sub(quotient, builder.zext(above, _LLVM["int64"]))
    rest = builder.select(above, builder.add(remainder, right), remainder)
    return Value(builder, Kind("int64"), down), Value(builder, Kind("int64"), rest)


def _of_bits(operation: str, a: Any, b: Any) -> Value:
    builder = builder_of(a, b)
    if kind_of(a).form == "truths":
        assert kind_of(a) == kind_of(b), f"{kind_of(a)} beside {kind_of(b)}"
        return Value(builder, a.kind, getattr(builder, operation)(a.llvm, b.llvm))
    number = common(a, b)
    left, right = (as_number(builder, value, number) for value in (a, b))
    assert not _is_float(number), "floats have no bits here"
    return Value(builder, Kind(number), getattr(builder, operation)(left, right))


def _compared(sign: str, a: Any, b: Any) -> Value:
    """No comparison with a NaN is true, but that it is another number."""
    builder, lanes = builder_of(a, b), lanes_among(a, b)
    if lanes is not None:
        left, right = (as_lanes(value, lanes, builder) for value in (a, b))
        kind, number = Kind(lanes.number, "truths", lanes.count), lanes.number
    else:
        kind, number = _TRUTH, common(a, b)
        number = "int64" if number == "bool" else number
        left, right = (as_number(builder, value, number) for value in (a, b))
    if _is_float(number):
        compare = builder.fcmp_unordered if sign == "!=" else builder.fcmp_ordered
    else:
        compare = builder.icmp_unsigned if number == "uint64" else builder.icmp_signed
    return Value(builder, kind, compare(sign, left, right))


def truth(value: Any) -> Any:
    """Whether a number is not 0: a value, or for a constant True or False."""
    if not isinstance(value, Value):
        return bool(value)
    return value if value.kind == _TRUTH else value != 0


def _chosen(sign: str) -> Callable[[Any, Any], Value]:
    """The smaller or the larger number."""

    def choose(a: Any, b: Any) -> Value:
        builder, number = builder_of(a, b), common(a, b)
        right_is = _compared(sign, b, a)
        left, right = (as_number(builder, value, number) for value in (a, b))
        return Value(builder, Kind(number), builder.select(right_is.llvm, right, left))

    return choose


def _cast(number: str) -> Callable[[Any], Value]:
    return lambda value: Value(value.builder, Kind(number), as_number(value.builder, value, number))


# What Python's own functions and NumPy's types mean for values; constants get what Python gives.
_MEANINGS: dict[Any, Callable[..., Any]] = {
    min: _chosen("<"),
    max: _chosen(">"),
    np.float64: _cast("float64"),
    np.int64: _cast("int64"),
    np.uint64: _cast("uint64"),
}


# --- functions, memory and loops of LLVM's ---------------------------------------------------------------------------


def declared(builder: Any, name: str, kind: Any) -> Any:
    """One of LLVM's own functions."""
    found = builder.module.globals.get(name)
    return ir.Function(builder.module, kind, name) if found is None else found


def from_llvm(name: str, x: Value) -> Value:
    """One of LLVM's functions of one float, or of lanes, such as fabs."""
    assert _is_float(x.kind.number), f"{name} is of floats"
    lanes = f"v{x.kind.count}" if x.kind.count else ""
    function = declared(
        x.builder, f"llvm.{name}.{lanes}f{64 if x.is_double else 32}", ir.FunctionType(x.llvm.type, [x.llvm.type])
    )
    return Value(x.builder, x.kind, x.builder.call(function, [x.llvm]))


def slot(builder: Any, kind: Any) -> Any:
    """Room for one value of a type of LLVM's, for the whole function; LLVM keeps it in a register where it can."""
    with builder.goto_entry_block():
        return builder.alloca(kind)


def slot_of(builder: Any, value: Any) -> Any:
    """Room that holds a value of LLVM's."""
    place = slot(builder, value.type)
    builder.store(value, place)
    return place


@contextmanager
def counted(builder: Any, count: Any) -> Iterator[Any]:
    """A loop over 0, 1, ..., count - 1, around the instructions that are written within."""
    with _loop(builder, ir.Constant(_LLVM["int64"], 0), count, 1) as (index, _, _):
        yield index


@contextmanager
def repeated(builder: Any, condition: Callable[[], Any]) -> Iterator[None]:
    """A loop that goes on while a condition holds, around the instructions that are written within."""
    head, body, end = (builder.append_basic_block(name) for name in ("while", "do", "end"))
    builder.branch(head)
    builder.position_at_end(head)
    builder.cbranch(condition(), body, end)
    builder.position_at_end(body)
    yield
    builder.branch(head)
    builder.position_at_end(end)


@contextmanager
def _loop(builder: Any, start: Any, stop: Any, step: int) -> Iterator[tuple[Any, Any, Any]]:
    """A loop: its index, where its next turn begins, where it ends."""
    before = builder.block
    head, body, turn, end = (builder.append_basic_block(name) for name in ("for", "do", "next", "end"))
    builder.branch(head)
    builder.position_at_end(head)
    index = builder.phi(_LLVM["int64"])
    builder.cbranch(builder.icmp_signed("<", index, stop), body, end)
    builder.position_at_end(body)
    yield index, turn, end
    if not builder.block.is_terminated:
        builder.branch(turn)
    builder.position_at_end(turn)
    index.add_incoming(start, before)
    index.add_incoming(builder.add(index, ir.Constant(_LLVM["int64"], step), flags=("nsw",)), turn)
    builder.branch(head)
    builder.position_at_end(end)


# --- from Python to LLVM ------------------------------------------------------------------------------------------


def translated(tree: ast.Module, names: Mapping[str, Any], name: str, signature: str, symbol: str) -> str:
    """A function of a source as a module of LLVM's, where it has the name `symbol`.

    `tree` is the source, `names` what it has defined; a signature is as in `machine.code`.
    """
    functions = {part.name: part for part in tree.body if isinstance(part, ast.FunctionDef)}
    result, given = signature.rstrip(")").split("(")
    kinds = [Kind(part.strip(" *"), "pointer" if part.endswith("*") else "number") for part in given.split(",")]
    module = ir.Module(symbol)
    function = ir.Function(module, ir.FunctionType(_LLVM[result], [kind.llvm for kind in kinds]), symbol)
    # Vectors for which there is no register are kept at the boundary of a cache line. LLVM would put them across two.
    function.attributes.alignstack = 64
    function.attributes.add("nounwind")  # llvmlite writes down no alignment where it stands alone
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    body = function.append_basic_block("body")  # the entry is left to slots
    builder.position_at_end(body)
    values = [Value(builder, kind, argument) for kind, argument in zip(kinds, function.args, strict=True)]
    returned = _Body(builder, names, functions).of(functions[name], values)
    builder.ret(as_number(builder, returned, result))
    builder.position_at_end(function.entry_basic_block)
    builder.branch(body)
    return str(module)


@dataclass
class _Slot:
    """A variable: its kind, and where LLVM keeps it."""

    kind: Kind
    place: Any


_OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


class _Body(ast.NodeVisitor):
    """Writes a function's lines down; one for each function, and for each call that is written into another.

    Visited, a line leaves its instructions, and an expression gives a value, a constant, a tuple or a function.
    """

    def __init__(self, builder: Any, names: Mapping[str, Any], functions: Mapping[str, ast.FunctionDef]) -> None:
        self.builder, self.names, self.functions = builder, names, functions
        self.local: dict[str, Any] = {}  # variables, and what stays as it is
        self.assigned: Counter[str] = Counter()  # how many lines give a name something
        self.loops: list[tuple[Any, Any]] = []  # where the next turn begins, and where the loop ends

    def of(self, function: ast.FunctionDef, given: Sequence[Any]) -> Any:
        """Write the function's lines; what it returns."""
        names = (node for node in ast.walk(function) if isinstance(node, ast.Name))
        self.assigned = Counter(name.id for name in names if isinstance(name.ctx, ast.Store))
        for argument, value in zip(function.args.args, given, strict=True):
            if argument.arg in self.assigned:
                self.assigned[argument.arg] += 1
                self.assign_name(argument.arg, value)
            else:
                self.local[argument.arg] = value
        *lines, last = function.body
        self.run(lines)
        if not isinstance(last, ast.Return):
            self.run([last])
            return None
        return None if last.value is None else self.visit(last.value)

    def run(self, lines: Sequence[ast.stmt]) -> None:
        """Write lines down, up to one that leads away."""
        for line in lines:
            try:
                self.visit(line)
            except Exception as problem:
                problem.add_note(f"in line {line.lineno} of a kernel: {ast.unparse(line).splitlines()[0]}")
                raise
            if self.builder.block.is_terminated:
                return

    def generic_visit(self, node: ast.AST) -> Any:
        raise TypeError(f"kernels know no {type(node).__name__}")

    def visit_Expr(self, line: ast.Expr) -> None:
        if not isinstance(line.value, ast.Constant):  # a docstring
            self.visit(line.value)

    def visit_Pass(self, line: ast.Pass) -> None:
        pass

    def visit_Assign(self, line: ast.Assign) -> None:
        value = self.visit(line.value)
        for target in line.targets:
            self.assign(target, value)

    def visit_AugAssign(self, line: ast.AugAssign) -> None:
        operate = _OPERATORS[type(line.op)]
        if isinstance(line.target, ast.Subscript):
            array, index = self.visit(line.target.value), self.visit(line.target.slice)
            array[index] = operate(array[index], self.visit(line.value))
        else:
            assert isinstance(line.target, ast.Name)
            self.assign(line.target, operate(self.named(line.target.id), self.visit(line.value)))

    def assign(self, target: ast.expr, value: Any) -> None:
        if isinstance(target, ast.Name):
            self.assign_name(target.id, value)
        elif isinstance(target, ast.Tuple):
            for part, one in zip(target.elts, value, strict=True):
                self.assign(part, one)
        else:
            assert isinstance(target, ast.Subscript)
            self.visit(target.value)[self.visit(target.slice)] = value

    def assign_name(self, name: str, value: Any) -> None:
        if not isinstance(value, Value) and self.assigned[name] == 1:
            self.local[name] = value  # a constant, or a tuple
            return
        if name not in self.local:
            kind = kind_of(value)
            self.local[name] = _Slot(kind, slot(self.builder, kind.llvm))
        variable = self.local[name]
        self.builder.store(self.as_kind(value, variable.kind), variable.place)

    def as_kind(self, value: Any, kind: Kind) -> Any:
        """What a name of a kind may be given, as LLVM has it: the same kind, or any number where it is a float64."""
        given = kind_of(value)
        if given == kind and isinstance(value, Value):
            return value.llvm
        if given != kind and kind != Kind("float64"):
            raise TypeError(f"what is {kind} cannot become {given}")
        return as_number(self.builder, value, kind.number)

    def visit_If(self, line: ast.If) -> None:
        test = truth(self.visit(line.test))
        if not isinstance(test, Value):
            self.run(line.body if test else line.orelse)
            return
        suites = [line.body, line.orelse] if line.orelse else [line.body]
        blocks = [self.builder.append_basic_block("if") for _ in suites]
        end = self.builder.append_basic_block("then")
        self.builder.cbranch(test.llvm, blocks[0], blocks[1] if line.orelse else end)
        for suite, block in zip(suites, blocks, strict=True):
            self.builder.position_at_end(block)
            self.run(suite)
            if not self.builder.block.is_terminated:
                self.builder.branch(end)
        self.builder.position_at_end(end)

    def visit_While(self, line: ast.While) -> None:
        head, body, end = (self.builder.append_basic_block(name) for name in ("while", "do", "end"))
        self.builder.branch(head)
        self.builder.position_at_end(head)
        self.builder.cbranch(truth(self.visit(line.test)).llvm, body, end)
        self.builder.position_at_end(body)
        self.loops.append((head, end))
        self.run(line.body)
        self.loops.pop()
        if not self.builder.block.is_terminated:
            self.builder.branch(head)
        self.builder.position_at_end(end)

    def visit_For(self, line: ast.For) -> None:
        call = line.iter
        assert isinstance(call, ast.Call)
        assert self.visit(call.func) is range
        given = [self.visit(part) for part in call.args]
        start, stop, step = (0, given[0], 1) if len(given) == 1 else (*given, 1)[:3]
        assert isinstance(step, int) and step > 0, "a step is a constant"  # noqa: PT018
        start, stop = (as_number(self.builder, bound, "int64") for bound in (start, stop))
        with _loop(self.builder, start, stop, step) as (index, turn, end):
            self.assign(line.target, Value(self.builder, Kind("int64"), index))
            self.loops.append((turn, end))
            self.run(line.body)
            self.loops.pop()

    def visit_Break(self, line: ast.Break) -> None:
        self.builder.branch(self.loops[-1][1])

    def visit_Continue(self, line: ast.Continue) -> None:
        self.builder.branch(self.loops[-1][0])

    # --- expressions

    def visit_Constant(self, node: ast.Constant) -> Any:
        return node.value

    def visit_Name(self, node: ast.Name) -> Any:
        return self.named(node.id)

    def named(self, name: str) -> Any:
        if name in self.local:
            found = self.local[name]
            if isinstance(found, _Slot):
                return Value(self.builder, found.kind, self.builder.load(found.place))
            return found
        return self.names[name] if name in self.names else vars(builtins)[name]

    def visit_Attribute(self, node: ast.Attribute) -> Any:
        return getattr(self.visit(node.value), node.attr)

    def visit_Tuple(self, node: ast.Tuple) -> Any:
        return tuple(self.visit(part) for part in node.elts)

    def visit_Subscript(self, node: ast.Subscript) -> Any:
        return self.visit(node.value)[self.visit(node.slice)]

    def visit_BinOp(self, node: ast.BinOp) -> Any:
        return _OPERATORS[type(node.op)](self.visit(node.left), self.visit(node.right))

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Any:
        value = self.visit(node.operand)
        if isinstance(node.op, ast.USub):
            return -value
        assert isinstance(node.op, ast.Not)
        value = truth(value)
        return Value(self.builder, _TRUTH, self.builder.not_(value.llvm)) if isinstance(value, Value) else not value

    def visit_Compare(self, node: ast.Compare) -> Any:
        (sign,), (right,) = node.ops, node.comparators
        return _OPERATORS[type(sign)](self.visit(node.left), self.visit(right))

    def visit_BoolOp(self, node: ast.BoolOp) -> Any:
        """`and`, `or`: what stands on the right is looked at only where the left does not settle it."""
        settles = isinstance(node.op, ast.Or)
        found: list[tuple[Any, Any]] = []  # truths, and the blocks that they come from
        end = self.builder.append_basic_block("settled")
        for number, part in enumerate(node.values):
            value = truth(self.visit(part))
            if not isinstance(value, Value):
                assert not found
                assert number < len(node.values) - 1
                assert value != settles, "a constant settles it"
                continue
            found.append((value.llvm, self.builder.block))
            if number == len(node.values) - 1:
                self.builder.branch(end)
            else:
                more = self.builder.append_basic_block("more")
                self.builder.cbranch(value.llvm, *((end, more) if settles else (more, end)))
                self.builder.position_at_end(more)
        self.builder.position_at_end(end)
        joined = self.builder.phi(_LLVM["bool"])
        for one, block in found:
            joined.add_incoming(one, block)
        return Value(self.builder, _TRUTH, joined)

    def visit_IfExp(self, node: ast.IfExp) -> Any:
        test = truth(self.visit(node.test))
        if not isinstance(test, Value):
            return self.visit(node.body if test else node.orelse)
        builder = self.builder
        yes, no, end = (builder.append_basic_block(name) for name in ("yes", "no", "chosen"))
        builder.cbranch(test.llvm, yes, no)
        found = []
        for block, part in ((yes, node.body), (no, node.orelse)):
            builder.position_at_end(block)
            value = self.visit(part)
            found.append((value, builder.block))
        kinds = [kind_of(value) for value, _ in found]
        kind = kinds[0] if kinds[0] == kinds[1] else Kind(common(*(value for value, _ in found)))
        incoming = []
        for value, block in found:
            builder.position_at_end(block)
            incoming.append((self.as_kind(value, kind), block))
            builder.branch(end)
        builder.position_at_end(end)
        joined = builder.phi(kind.llvm)
        for one, block in incoming:
            joined.add_incoming(one, block)
        return Value(builder, kind, joined)

    def visit_Call(self, node: ast.Call) -> Any:
        assert not node.keywords
        function, given = self.visit(node.func), [self.visit(part) for part in node.args]
        if getattr(function, "__globals__", None) is self.names and function.__name__ in self.functions:
            return _Body(self.builder, self.names, self.functions).of(self.functions[function.__name__], given)
        if function in _MEANINGS and any(isinstance(value, Value) for value in given):
            function = _MEANINGS[function]
        return function(*given)
