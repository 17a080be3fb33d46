"""The tiny expression language in which the tables of activations, losses and optimisers are written.

One `Expression` is read by everything: `function` turns it into a NumPy function, `to_text` and `to_latex` print
it, `to_sympy` hands it to the symbolic oracle. So a formula is written once, in one table row, as text:

>>> z = parse("max(z, 0) + log1p(exp(-abs(z)))")
>>> to_text(z)
'max(z, 0) + log1p(exp(-abs(z)))'
>>> float(function(z, ("z",))(0.0))
0.6931471805599453
"""

from __future__ import annotations

import ast
import keyword
import math
import re
import sys
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from glassnet import arithmetic
from glassnet.errors import UsageError, did_you_mean

Arithmetic = Literal["canonical", "library"]
"""`canonical`: every operation rounded in the order written, our own exp and log, the same bits everywhere.
`library`: NumPy's exp, log and tanh, faster; what training uses."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A tree: `op` is `const`, `symbol` or the name of a row of `FUNCTIONS`; `args` its value, key or operands.

    `add` and `mul` take any number of operands and work from left to right.

    >>> parse("b + w * x").op
    'add'
    """

    op: str
    args: tuple[Any, ...]
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Kept, because trees share branches: hashing one afresh would visit a branch once for each of its uses.
        object.__setattr__(self, "_hash", hash((self.op, self.args)))

    def __hash__(self) -> int:
        return self._hash

    def __str__(self) -> str:
        return to_text(self)


def const(value: float) -> Expression:
    """A number.

    >>> to_text(const(0.5))
    '0.5'
    """
    # -0.0 becomes 0.0: the two are equal, so a cache would take one for the other. neg makes the negative one.
    return Expression("const", (value if isinstance(value, int) else float(value) + 0.0,))


def symbol(key: Hashable) -> Expression:
    """A quantity, named by any hashable key; `str(key)` is its printed name.

    >>> to_text(symbol("z"))
    'z'
    """
    return Expression("symbol", (key,))


def call(name: str, *operands: Expression) -> Expression:
    """The function `name` of `FUNCTIONS` applied to `operands`.

    >>> to_text(call("exp", symbol("z")))
    'exp(z)'
    """
    if name in ("add", "mul"):
        # a + b + c is one sum of three, added from left to right; nested on the left means just that.
        first, *rest = operands
        if first.op == name:
            return Expression(name, (*first.args, *rest))
        if not rest:
            return first
    if name == "neg" and operands[0].op == "const":
        return const(-operands[0].args[0])  # -1 is a number, as `parse` reads it
    return Expression(name, operands)


def _horner(x: str, coefficients: Sequence[float]) -> str:
    """The polynomial's text, highest power first, as it is evaluated."""
    text = repr(coefficients[0])
    for coefficient in coefficients[1:]:
        text = f"({text}) * {x} + {coefficient!r}"
    return f"({text})"


# Cody & Waite, "Software Manual for the Elementary Functions" (1980), chapter 13.
_TANH_P = (-0.96437492777225469787, -99.225929672236083313, -1613.4119023996228053)
_TANH_Q = (1.0, 112.74474380534949335, 2233.7720718962312926, 4840.2357071988688686)
# W. J. Cody, "Rational Chebyshev Approximations for the Error Function", Math. Comp. 23 (1969) 631-637.
_ERF_P = (1.85777706184603153e-1, 3.16112374387056560, 1.13864154151050156e2, 3.77485237685302021e2,
          3.20937758913846947e3)  # fmt: skip
_ERF_Q = (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3)
_ERFC_P = (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594, 6.61191906371416295e1,
           2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3,
           1.23033935479799725e3)  # fmt: skip
_ERFC_Q = (1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
           3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3)  # fmt: skip
_TAIL_P = (1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1,
           1.60837851487422766e-2, 6.58749161529837803e-4)  # fmt: skip
_TAIL_Q = (1.0, 2.56852019228982242, 1.87295284992346725, 5.27905102951428412e-1, 6.05183413124413191e-2,
           2.33520497626869185e-3)  # fmt: skip
ERF_COEFFICIENTS = (_ERF_P, _ERF_Q, _ERFC_P, _ERFC_Q, _TAIL_P, _TAIL_Q)
"""Numerator and denominator, highest power first: of erf near 0, erfc up to 4, erfc beyond in 1 / x**2."""

_ERF_SMALL = f"x * {_horner('(x * x)', _ERF_P)} / {_horner('(x * x)', _ERF_Q)}"
# erfc(|x|): three ranges. |x| is kept at 1 or more where 1/x^2 is taken, so that the branch not chosen stays finite.
_INVERSE_SQUARE = "(1 / (max(abs(x), 1) * max(abs(x), 1)))"
_ERFC_OF_ABS = (
    "exp(-(x * x)) * select(abs(x) <= 4, "
    f"{_horner('min(abs(x), 4)', _ERFC_P)} / {_horner('min(abs(x), 4)', _ERFC_Q)}, "
    f"(0.5641895835477563 - {_INVERSE_SQUARE} * {_horner(_INVERSE_SQUARE, _TAIL_P)}"
    f" / {_horner(_INVERSE_SQUARE, _TAIL_Q)}) / max(abs(x), 1))"
)


@dataclass(frozen=True)
class FunctionRow:
    """One function of the language: how each reader of an expression writes it.

    `numpy` is a template over its operands. Where there is none, the canonical arithmetic uses `lower`, the function
    in terms of simpler ones; `library` is NumPy's own version where that is faster.
    """

    name: str
    arity: int | None  # None: two or more
    latex: str
    sympy: Callable[..., Any]  # (the sympy module, *operands)
    numpy: str | None = None
    library: str | None = None
    lower: str | None = None  # in x (and y)


def _rows(*rows: FunctionRow) -> dict[str, FunctionRow]:
    return {row.name: row for row in rows}


FUNCTIONS: dict[str, FunctionRow] = _rows(
    FunctionRow("add", None, "", lambda sp, *a: sp.Add(*a), " + "),
    FunctionRow("mul", None, "", lambda sp, *a: sp.Mul(*a), " * "),
    FunctionRow("sub", 2, "", lambda sp, a, b: a - b, "{0} - {1}"),
    FunctionRow("div", 2, r"\frac{{{0}}}{{{1}}}", lambda sp, a, b: a / b, "{0} / {1}"),
    FunctionRow("neg", 1, "", lambda sp, a: -a, "-{0}"),
    FunctionRow("pow", 2, "", lambda sp, a, b: a**b, None, "np.power({0}, {1})", "exp(y * log(x))"),
    FunctionRow("lt", 2, "{0} < {1}", lambda sp, a, b: sp.Lt(a, b), "{0} < {1}"),
    FunctionRow("le", 2, r"{0} \le {1}", lambda sp, a, b: sp.Le(a, b), "{0} <= {1}"),
    FunctionRow("gt", 2, "{0} > {1}", lambda sp, a, b: sp.Gt(a, b), "{0} > {1}"),
    FunctionRow("ge", 2, r"{0} \ge {1}", lambda sp, a, b: sp.Ge(a, b), "{0} >= {1}"),
    FunctionRow(
        "select",
        3,
        r"\begin{{cases}} {1} & \text{{if }} {0} \\ {2} & \text{{otherwise}} \end{{cases}}",
        lambda sp, c, a, b: sp.Piecewise((a, c), (b, True)),
        "np.where({0}, {1}, {2})",
    ),
    FunctionRow("abs", 1, r"\left|{0}\right|", lambda sp, a: sp.Abs(a), "np.abs({0})"),
    FunctionRow("sign", 1, r"\operatorname{{sign}}({0})", lambda sp, a: sp.sign(a), "np.sign({0})"),
    FunctionRow("max", 2, r"\max({0}, {1})", lambda sp, a, b: sp.Max(a, b), "np.maximum({0}, {1})"),
    FunctionRow("min", 2, r"\min({0}, {1})", lambda sp, a, b: sp.Min(a, b), "np.minimum({0}, {1})"),
    FunctionRow("cos", 1, r"\cos({0})", lambda sp, a: sp.cos(a), "np.cos({0})"),  # of schedules alone
    FunctionRow("sqrt", 1, r"\sqrt{{{0}}}", lambda sp, a: sp.sqrt(a), "np.sqrt({0})"),
    FunctionRow("exp", 1, "e^{{{0}}}", lambda sp, a: sp.exp(a), "exp({0})", "np.exp({0})"),
    FunctionRow("log", 1, r"\log({0})", lambda sp, a: sp.log(a), "log({0})", "np.log({0})"),
    FunctionRow(
        "log1p",
        1,
        r"\log(1 + {0})",
        lambda sp, a: sp.log(1 + a),
        library="np.log1p({0})",
        # What rounding took from 1 + x is put back as a factor (Goldberg 1991, theorem 4), which is 1 long before 1e30.
        lower="select(1 + x == 1, x, log(1 + x) * (min(x, 1e30) / select(1 + x == 1, 1, (1 + min(x, 1e30)) - 1)))",
    ),
    FunctionRow(
        "expm1",
        1,
        r"\left(e^{{{0}}} - 1\right)",
        lambda sp, a: sp.exp(a) - 1,
        library="np.expm1({0})",
        # Likewise (Higham, "Accuracy and Stability of Numerical Algorithms", 1.14.1); past -38 the answer is -1.
        lower="select(exp(x) == 1, x, select(x > 38, exp(x), (exp(max(x, -38)) - 1)"
        " * (min(max(x, -38), 38) / select(exp(x) == 1, 1, log(exp(min(max(x, -38), 38)))))))",
    ),
    FunctionRow(
        "tanh",
        1,
        r"\tanh({0})",
        lambda sp, a: sp.tanh(a),
        library="np.tanh({0})",
        lower=f"select(abs(x) < 0.625, x + x * ((x * x) * {_horner('(x * x)', _TANH_P)}"
        f" / {_horner('(x * x)', _TANH_Q)}), sign(x) * (1 - 2 / (exp(2 * min(abs(x), 40)) + 1)))",
    ),
    FunctionRow(
        "sigmoid",
        1,
        r"\sigma({0})",
        lambda sp, a: 1 / (1 + sp.exp(-a)),
        # exp is only ever taken of what is at most 0, so it cannot overflow.
        lower="select(x >= 0, 1, exp(-abs(x))) / (1 + exp(-abs(x)))",
    ),
    FunctionRow(
        "softplus",
        1,
        r"\operatorname{{softplus}}({0})",
        lambda sp, a: sp.log(1 + sp.exp(a)),
        lower="max(x, 0) + log1p(exp(-abs(x)))",
    ),
    FunctionRow(
        "erf",
        1,
        r"\operatorname{{erf}}({0})",
        lambda sp, a: sp.erf(a),
        lower=f"select(abs(x) <= 0.46875, {_ERF_SMALL}, sign(x) * (1 - {_ERFC_OF_ABS}))",
    ),
    FunctionRow(
        "erfc",
        1,
        r"\operatorname{{erfc}}({0})",
        lambda sp, a: sp.erfc(a),
        lower=f"select(abs(x) <= 0.46875, 1 - {_ERF_SMALL}, select(x > 0, {_ERFC_OF_ABS}, 2 - {_ERFC_OF_ABS}))",
    ),
    FunctionRow("eq", 2, "{0} = {1}", lambda sp, a, b: sp.Eq(a, b), "{0} == {1}"),
)

_BINARY = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.Pow: "pow"}
_COMPARE = {ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge", ast.Eq: "eq"}
# What is written as a call; the others have a sign of their own.
_CALLED = [name for name in FUNCTIONS if name not in {"add", "neg", *_BINARY.values(), *_COMPARE.values()}]
_LARGEST = sys.float_info.max


@lru_cache(maxsize=1024)
def parse(text: str) -> Expression:
    """Read an expression: numbers, names, `+ - * / **`, comparisons and calls of `FUNCTIONS`.

    Raises `UsageError` for anything else; nothing of the text is ever executed.

    >>> to_text(parse("select(z > 0, z, 0.01 * z)"))
    'select(z > 0, z, 0.01 * z)'
    """
    try:
        return _from_ast(ast.parse(text, mode="eval").body, text)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as problem:
        # Past some thousand levels Python's own reader runs out of room.
        if isinstance(problem, UsageError):
            raise
        shown = text if len(text) <= 200 else text[:200] + "..."
        raise UsageError(f"An expression is written like Python's arithmetic; {shown!r} is not.") from problem


def _from_ast(node: ast.expr, text: str) -> Expression:
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool) and value <= _LARGEST:
            return const(value)
        case ast.Name(id=name):
            return symbol(name)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return call(_BINARY[type(op)], _from_ast(left, text), _from_ast(right, text))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            negated = _from_ast(operand, text)
            if isinstance(operand, ast.Constant) and negated.args[0]:
                return const(-negated.args[0])
            return call("neg", negated)
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARE:
            return call(_COMPARE[type(op)], _from_ast(left, text), _from_ast(right, text))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _CALLED:
            if len(args) != FUNCTIONS[name].arity:
                raise UsageError(f"{name} takes {FUNCTIONS[name].arity} operands; {text!r} gives {len(args)}.")
            return call(name, *(_from_ast(arg, text) for arg in args))
        case ast.Call(func=ast.Name(id=name)) if name not in _CALLED:
            raise UsageError(f"There is no function {name!r} in {text!r}.{did_you_mean(name, _CALLED)}")
    raise UsageError(f"An expression holds numbers, names and functions; {ast.unparse(node)!r} is none of these.")


def symbols(expression: Expression) -> tuple[Hashable, ...]:
    """The keys of all symbols, each once, in the order in which they are first read.

    >>> symbols(parse("b + w * x + w"))
    ('b', 'w', 'x')
    """
    if expression.op == "const":
        return ()
    if expression.op == "symbol":
        return (expression.args[0],)
    return tuple(dict.fromkeys(key for operand in expression.args for key in symbols(operand)))


def substitute(expression: Expression, replacements: Mapping[Any, Expression]) -> Expression:
    """The expression with symbols replaced, all at once.

    >>> to_text(substitute(parse("z * z"), {"z": parse("x + 1")}))
    '(x + 1) * (x + 1)'
    """
    if expression.op == "const":
        return expression
    if expression.op == "symbol":
        return replacements.get(expression.args[0], expression)
    return call(expression.op, *(substitute(operand, replacements) for operand in expression.args))


# --- numbers -----------------------------------------------------------------------------------------------------


def lowered(expression: Expression, arithmetic_used: Arithmetic = "canonical") -> Expression:
    """The expression in terms of functions that NumPy or `arithmetic` offers directly.

    >>> to_text(lowered(parse("x**2 + sigmoid(x)")))
    'x * x + select(x >= 0, 1, exp(-abs(x))) / (1 + exp(-abs(x)))'
    """
    if expression.op in ("const", "symbol"):
        return expression
    row = FUNCTIONS[expression.op]
    operands = [lowered(operand, arithmetic_used) for operand in expression.args]
    if row.name == "pow" and operands[1].op == "const" and operands[1].args[0] in (2, 3):
        return call("mul", *([operands[0]] * operands[1].args[0]))
    if row.numpy is not None or (arithmetic_used == "library" and row.library is not None):
        return call(row.name, *operands)
    assert row.lower is not None, f"{row.name} has neither a NumPy form nor a lower one"
    named = dict(zip(("x", "y"), operands, strict=False))
    return substitute(lowered(parse(row.lower), arithmetic_used), named)


def numpy_source(expression: Expression, names: Sequence[str], arithmetic_used: Arithmetic = "canonical") -> str:
    """Python source of a function of `names`, one line per operation, each common part computed once.

    >>> print(numpy_source(parse("a * (1 - a)"), ("a",)))
    def computed(a):
        dtype = np.result_type(a, 0.0)
        c0 = dtype.type(1)
        t0 = c0 - a
        t1 = a * t0
        return t1
    """
    constants: dict[float, str] = {}
    lines: list[str] = []
    done: dict[Expression, str] = {}

    def written(part: Expression) -> str:
        if part.op == "symbol":
            return str(part.args[0])
        if part.op == "const":
            return constants.setdefault(part.args[0], f"c{len(constants)}")
        if part not in done:
            operands = [written(operand) for operand in part.args]
            row = FUNCTIONS[part.op]
            template = row.library if arithmetic_used == "library" and row.library else row.numpy
            assert template is not None
            right = template.join(operands) if row.arity is None else template.format(*operands)
            done[part] = f"t{len(done)}"
            lines.append(f"{done[part]} = {right}")
        return done[part]

    result = written(lowered(expression, arithmetic_used))
    # A Python number takes the arrays' dtype, and is float64 where there is no array.
    head = [f"dtype = np.result_type({', '.join([*names, '0.0'])})"]
    head += [f"{name} = dtype.type({value!r})" for value, name in constants.items()]
    return "\n    ".join([f"def computed({', '.join(names)}):", *head, *lines, f"return {result}"])


@lru_cache(maxsize=1024)
def function(
    expression: Expression, names: tuple[str, ...], arithmetic_used: Arithmetic = "canonical"
) -> Callable[..., Any]:
    """A NumPy function of the arrays `names`, in their dtype; infinities and NaN pass without a warning.

    >>> function(parse("w * x + b"), ("w", "x", "b"))(2.0, np.array([1.0, 3.0]), 0.5)
    array([2.5, 6.5])
    """
    missing = set(symbols(expression)) - set(names)
    if missing:
        raise UsageError(f"Every symbol needs a value; {sorted(map(str, missing))} have none.")
    for name in names:
        # The names become those of Python variables, beside the ones that the source has of its own.
        if not name.isidentifier() or keyword.iskeyword(name) or re.fullmatch("np|dtype|exp|log|[ct][0-9]+", name):
            raise UsageError(
                f"A symbol of a function is a plain name, not np, dtype, exp, log, c0, t0 ...; got {name!r}."
            )
    scope: dict[str, Any] = {"np": np, "exp": arithmetic.exp, "log": arithmetic.log}
    # The source is made above from parsed trees: names of our own and numbers, never text from outside.
    exec(numpy_source(expression, names, arithmetic_used), scope)
    computed = scope["computed"]

    def quiet(*values: Any) -> Any:
        with np.errstate(all="ignore"):
            return computed(*values)

    return quiet


def evaluate(expression: Expression, values: Mapping[Any, float]) -> float:
    """The expression's value for given symbols, in the canonical arithmetic of float64.

    >>> evaluate(parse("b + w * x"), {"b": 0.5, "w": 2.0, "x": 3.0})
    6.5
    """
    keys = symbols(expression)
    names = tuple(f"v{number}" for number in range(len(keys)))
    renamed = substitute(expression, {key: symbol(name) for key, name in zip(keys, names, strict=True)})
    return float(function(renamed, names)(*(np.float64(values[key]) for key in keys)))


# --- print -------------------------------------------------------------------------------------------------------

_PRECEDENCE = {
    "lt": 1,
    "le": 1,
    "gt": 1,
    "ge": 1,
    "eq": 1,
    "add": 2,
    "sub": 2,
    "mul": 3,
    "div": 3,
    "neg": 3,
    "pow": 5,
}
_INFIX = {
    "sub": " - ",
    "div": " / ",
    "pow": "**",
    "lt": " < ",
    "le": " <= ",
    "gt": " > ",
    "ge": " >= ",
    "eq": " == ",
}


def _number(value: float) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return repr(value)


def _signed_terms(operands: Sequence[Expression], written: Callable[[Expression, int], str]) -> str:
    """A sum, with what is negated subtracted."""
    text = written(operands[0], 2)
    for operand in operands[1:]:
        if operand.op == "neg":
            text += " - " + written(operand.args[0], 3)
        else:
            text += " + " + written(operand, 3)
    return text


def significant(value: float, digits: int = 4) -> str:
    """A number to so many significant digits; 17 give every bit.

    It has more where it would look whole without being so, and all before the point up to a thousand million.

    >>> significant(0.00012345), significant(1538.06), significant(2.5e-9), significant(-0.1, 17)
    ('0.0001234', '1538', '2.5e-09', '-0.10000000000000001')
    >>> significant(0.999998), significant(1.0), significant(18704.6)
    ('0.999998', '1', '18705')
    """
    size = abs(value)
    if 10.0**digits <= size < 1e9 and digits < 9:
        return f"{value:.0f}"
    text = f"{value + 0.0:.{digits}g}"  # + 0.0 takes the sign off a zero
    if digits < 17 and size < 10.0 ** (digits - 1) and "." not in text and "e" not in text and float(text) != value:
        return significant(value, digits + 1)
    return text


def readable(name: str, most: int = 60) -> str:
    r"""A name from outside, a column's say, for a line of text: no control characters, and not too long.

    >>> print(readable("size"), readable("a\x1b[31m"), readable("x" * 100, most=10))
    size a\x1b[31m xxxxxxx...
    """
    plain = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in name[: most + 1])
    return plain if len(plain) <= most else plain[: most - 3] + "..."


def to_text(expression: Expression, name: Callable[[Any], str] = str, number: Callable[[float], str] = _number) -> str:
    """Plain text, which `parse` reads back; `name` prints a symbol's key, `number` a constant.

    >>> to_text(parse("(a - y) * (1 - a) / -z"))
    '(a - y) * (1 - a) / (-z)'
    """

    def written(part: Expression, outer: int) -> str:
        if part.op == "symbol":
            text = name(part.args[0])
            return f"({text})" if "/" in text and outer > 5 else text  # a derivative, dL/dw, to a power
        if part.op == "const":
            text = number(part.args[0])
            return f"({text})" if text.startswith("-") and outer > 2 else text
        level = _PRECEDENCE.get(part.op)
        if level is None:
            return f"{part.op}({', '.join(written(operand, 0) for operand in part.args)})"
        if part.op == "add":
            text = _signed_terms(part.args, written)
        elif part.op == "mul":
            text = " * ".join(written(operand, level + (i > 0)) for i, operand in enumerate(part.args))
        elif part.op == "neg":
            text = "-" + written(part.args[0], 4)
        else:
            left, right = part.args
            text = written(left, level + (part.op == "pow")) + _INFIX[part.op] + written(right, level + 1)
        return f"({text})" if level < outer else text

    return written(expression, 0)


def latex_number(text: str) -> str:
    r"""A number's text for mathematics mode.

    >>> print(latex_number("2.5e-09"), latex_number("0.5"))
    2.5 \cdot 10^{-9} 0.5
    """
    mantissa, e, exponent = text.partition("e")
    return rf"{mantissa} \cdot 10^{{{int(exponent)}}}" if e else mantissa


def to_latex(
    expression: Expression,
    name: Callable[[Any], str] = str,
    times: str = r" \, ",
    number: Callable[[float], str] = _number,
) -> str:
    r"""LaTeX for mathematics mode; `name` prints a symbol's key, `times` stands between factors.

    `number` prints a constant. A dot of `times` stands between all factors, for numbers that are put in.

    >>> print(to_latex(parse("1 / (1 + exp(-z))")))
    \frac{1}{1 + e^{-z}}
    """

    def written(part: Expression, outer: int) -> str:
        if part.op == "symbol":
            return name(part.args[0])
        if part.op == "const":
            text = latex_number(number(part.args[0]))
            return f"({text})" if text.startswith("-") and outer > 2 else text
        level = _PRECEDENCE.get(part.op)
        if part.op == "add":
            text = _signed_terms(part.args, written)
        elif part.op == "mul":
            factors = [written(operand, 3 + (i > 0)) for i, operand in enumerate(part.args)]
            has_number = any(operand.op == "const" for operand in part.args)
            text = (r" \, " if has_number and times != r" \cdot " else times).join(factors)
            # Two numbers side by side would read as one.
            if any(left[-1:].isdigit() and right[:1].isdigit() for left, right in pairwise(factors)):
                text = r" \cdot ".join(factors)
        elif part.op == "neg":
            text = "-" + written(part.args[0], 4)
        elif part.op == "sub":
            text = written(part.args[0], 2) + " - " + written(part.args[1], 4 if part.args[1].op == "neg" else 3)
        elif part.op == "pow":
            inner, base = part.args[0], written(part.args[0], 6)
            # LaTeX takes one superscript: what has one already, a layer's number say, stands in brackets.
            bracketed = inner.op in _PRECEDENCE and inner.op not in ("div", "pow")
            if inner.op in ("div", "select") or ("^" in base and not bracketed):
                base = rf"\left({base}\right)"
            return base + "^{" + written(part.args[1], 0) + "}"
        else:
            text = FUNCTIONS[part.op].latex.format(*(written(operand, 0) for operand in part.args))
            if part.op not in _COMPARE.values():
                return text  # a fraction and a function carry their own brackets
        assert level is not None
        return rf"\left({text}\right)" if level < outer else text

    return written(expression, 0)


def to_sympy(expression: Expression, symbol_of: Callable[[Any], Any]) -> Any:
    """The same expression as a SymPy object, every decimal number exact; `symbol_of` gives a key's symbol.

    >>> import sympy
    >>> to_sympy(parse("sigmoid(z)"), sympy.Symbol).diff("z").subs("z", 0)
    1/4
    """
    import sympy

    if expression.op == "const":
        value = expression.args[0]
        return sympy.Rational(str(value)) if math.isfinite(value) else sympy.Float(value)
    if expression.op == "symbol":
        return symbol_of(expression.args[0])
    return FUNCTIONS[expression.op].sympy(sympy, *(to_sympy(operand, symbol_of) for operand in expression.args))
