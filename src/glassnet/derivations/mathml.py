"""A derivation as MathML, which browsers draw by themselves: a page of its own, or what a notebook shows.

A formula is written in pieces, a `<math>` for each term of a sum, so that the browser breaks a long one at the width of
the page as it breaks text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from html import escape

from glassnet.derivations.chains import MatrixProduct
from glassnet.derivations.lines import Line
from glassnet.equations import Contract, Equation, Map, Reduce, Symbol
from glassnet.expressions import Expression, call, symbol

PIECES = "\x1e"
"""Between the pieces of a formula."""

_LETTERS = {
    "delta": "δ", "Delta": "Δ", "share": "s", "s": "S", "loss": "ℓ", "L": "ℒ", "penalty": "𝒫", "learning_rate": "η",
    "m_hat": "m̂", "v_hat": "v̂", "alpha": "α", "rho": "ρ", "pi": "π",
}  # fmt: skip
_OF_A_COLUMN = ("raw", "is", "missing", "filled", "scaled")


def _operator(sign: str) -> str:
    return f"<mo>{sign}</mo>"


def _row(*parts: str) -> str:
    return f"<mrow>{''.join(parts)}</mrow>"


def _bracketed(inner: str, left: str = "(", right: str = ")") -> str:
    return _row(_operator(left), inner, _operator(right))


def _over(above: str, below: str) -> str:
    return f"<mfrac>{above}{below}</mfrac>"


def _name(text: str) -> str:
    return f"<mi>{escape(text)}</mi>"


# --- quantities -------------------------------------------------------------------------------------------------------


def of_symbol(key: Symbol | MatrixProduct) -> str:
    """One quantity.

    >>> of_symbol(Symbol("w", 1, (2, 1)))
    '<msubsup><mi>w</mi><mrow><mn>2</mn><mo>,</mo><mn>1</mn></mrow><mn>[1]</mn></msubsup>'
    """
    if isinstance(key, MatrixProduct):
        return _of_product(key)
    if key.kind in _OF_A_COLUMN:
        # A name may be written from right to left, in the midst of a formula that is not.
        return f"<mtext><bdi>{escape(str(key))}</bdi></mtext>"
    if key.kind == "same":
        left, right = (_axis(axis) for axis in key.axes)
        return _bracketed(_row(left, _operator("="), right), "[", "]")
    if key.by is not None:
        by = of_symbol(key.by)
        if key.kind == "slope":
            return _row(f"<msup>{_name(key.of)}{_operator('′')}</msup>", _operator("⁡"), _bracketed(by))
        top = of_symbol(Symbol(key.kind, key.layer, key.axes, key.of, key.level))
        return _over(_row(_operator("∂"), top), _row(_operator("∂"), by))
    if key.kind in ("dloss", "dL", "dJ"):
        top = _name(_LETTERS.get(key.kind[1:], key.kind[1:]))
        return _over(_row(_operator("∂"), top), _row(_operator("∂"), _indexed(key.of, key)))
    if key.of:
        return _row(_name(_LETTERS.get(key.kind, key.kind)), _bracketed(_indexed(key.of, key), "[", "]"))
    return _indexed(key.kind, key)


def of_whole(key: Symbol | MatrixProduct) -> str:
    """All numbers of a quantity together."""
    return of_symbol(key.whole() if isinstance(key, Symbol) else key)


def _indexed(kind: str, key: Symbol) -> str:
    letter = _name(_LETTERS.get(kind, kind))
    axes = [_axis(axis) for axis in key.axes if axis != "row"]
    lower = _row(_operator(",").join(axes))
    upper = f"<mn>[{key.layer}]</mn>"
    if key.layer is None:
        return f"<msub>{letter}{lower}</msub>" if axes else letter
    return f"<msubsup>{letter}{lower}{upper}</msubsup>" if axes else f"<msup>{letter}{upper}</msup>"


def _axis(axis: str | int) -> str:
    return f"<mn>{axis}</mn>" if isinstance(axis, int) else f"<mi>{axis}</mi>"


# --- expressions ------------------------------------------------------------------------------------------------------

_SIGNS = {"lt": "&lt;", "le": "≤", "gt": "&gt;", "ge": "≥", "eq": "="}
_LEVELS = {**dict.fromkeys(_SIGNS, 1), "add": 2, "sub": 2, "mul": 3, "neg": 3}


def of_expression(
    expression: Expression, name: Callable[[Symbol], str] = of_symbol, times: str = "⋅", outer: int = 0
) -> str:
    """A formula; `name` writes a symbol, `times` stands between factors."""
    return "".join(pieces_of(expression, name, times, outer))


def pieces_of(
    part: Expression, name: Callable[[Symbol], str] = of_symbol, times: str = "⋅", outer: int = 0
) -> list[str]:
    """The formula, a sum or a product in pieces that each begin with their sign."""

    def written(inner: Expression, level: int = 0) -> str:
        return of_expression(inner, name, times, level)

    level = _LEVELS.get(part.op)
    if level is not None and level < outer:
        return [_bracketed(written(part))]
    match part.op, part.args:
        case "symbol", (key,):
            return [name(key)]
        case "const", (value,):
            return [_bracketed(_number(value)) if value < 0 and outer > 2 else _number(value)]
        case "add", (first, *rest):
            pieces = pieces_of(first, name, times, 2)
            for term in rest:
                sign, term = ("−", term.args[0]) if term.op == "neg" else ("+", term)
                pieces.append(_operator(sign) + written(term, 3))
            return pieces
        case "sub", (left, right):
            return [*pieces_of(left, name, times, 2), _operator("−") + written(right, 4 if right.op == "neg" else 3)]
        case "mul", (first, *rest):
            # Element by element goes what has elements.
            sign = _operator("⋅" if times == "⊙" and any(factor.op == "const" for factor in part.args) else times)
            return [written(first, 3), *(sign + written(factor, 4) for factor in rest)]
        case "neg", (inner,):
            return [_row(_operator("−"), written(inner, 4))]
        case "div", (above, below):
            return [_over(_row(written(above)), _row(written(below)))]
        case "pow", (base, power):
            plain = base.op == "const" or (base.op == "symbol" and "<msub" not in name(base.args[0]))
            lower = written(base, 9) if plain else _bracketed(written(base))
            return [f"<msup>{lower}{_row(written(power))}</msup>"]
        case "exp", (inner,):
            return [f"<msup><mi>e</mi>{_row(written(inner))}</msup>"]
        case "expm1", (inner,):
            return [_bracketed(_row(written(call("exp", inner)), _operator("−"), "<mn>1</mn>"))]
        case "sqrt", (inner,):
            return [f"<msqrt>{written(inner)}</msqrt>"]
        case "abs", (inner,):
            return [_bracketed(written(inner), "|", "|")]
        case "log1p", (inner,):
            return [_called("log", _row("<mn>1</mn>", _operator("+"), written(inner, 3)))]
        case "select", (condition, one, other):
            rows = (
                _cells(written(one), "<mtext>if&nbsp;</mtext>" + written(condition)),
                _cells(written(other), "<mtext>otherwise</mtext>"),
            )
            return [_row(_operator("{"), f"<mtable>{''.join(rows)}</mtable>")]
        case op, (left, right) if op in _SIGNS:
            return [_row(written(left, 2), _operator(_SIGNS[op]), written(right, 2))]
        case op, operands:
            called = "σ" if op == "sigmoid" else op
            return [_called(called, _operator(",").join(written(operand) for operand in operands))]


def _called(function: str, inner: str) -> str:
    return _row(_name(function), _operator("⁡"), _bracketed(inner))


def _cells(*cells: str) -> str:
    return "<mtr>" + "".join(f"<mtd>{cell}</mtd>" for cell in cells) + "</mtr>"


def _number(value: float) -> str:
    text = repr(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(value)
    mantissa, e, exponent = text.lstrip("-").partition("e")
    written = f"<mn>{mantissa}</mn>"
    if e:
        written = _row(written, _operator("⋅"), f"<msup><mn>10</mn><mn>{escape(str(int(exponent)))}</mn></msup>")
    return _row(_operator("−"), written) if value < 0 else written


# --- equations --------------------------------------------------------------------------------------------------------


def of_right(equation: Equation, times: str = "⋅") -> str:
    """What stands behind the equals sign, in pieces."""
    match equation.body:
        case Map(expression):
            pieces = pieces_of(expression, of_symbol, times)
        case Contract(terms, over, bias):
            product = pieces_of(call("mul", *map(symbol, terms)), of_symbol, times, 3)
            sign = _sign("sum", (over,), dict(equation.ranges))
            pieces = [of_symbol(bias), _operator("+") + sign + "".join(product)] if bias else [sign, *product]
        case Reduce(operation, over, expression):
            bracket = 3 if operation in ("sum", "mean") else 0
            sign = _sign(operation, over, dict(equation.ranges))
            first, *rest = pieces_of(expression, of_symbol, times, bracket)
            pieces = [sign + first, *rest]
    return PIECES.join(pieces)


def of_right_whole(equation: Equation) -> str:
    """Likewise of the matrix form; ⊙ goes element by element."""
    match equation.body:
        case Map(expression):
            return PIECES.join(pieces_of(expression, of_whole, "⊙"))
        case Contract(bias=bias):
            factors = tuple((symbol(term), how) for term, how in equation.factors())
            product = of_symbol(MatrixProduct(factors))
            return product + (PIECES + _operator("+") + of_whole(bias) if bias else "")
        case Reduce():
            return of_right(equation)


def _of_product(product: MatrixProduct) -> str:
    parts = []
    for expression, how in product.factors:
        inner = of_expression(expression, of_whole, "⊙", 9)
        if how == "turned":
            inner = f"<msup>{_row(inner)}<mi>⊤</mi></msup>"
        elif how == "diagonal":
            inner = _called("diag", inner)
        parts.append(inner)
    text = _row('<mspace width="0.2em"></mspace>'.join(parts))
    return _bracketed(text) if product.bracketed else text


def _sign(operation: str, over: tuple[str, ...], sizes: dict[str, int]) -> str:
    if operation in ("max", "argmax"):
        return f"<munder>{_name(operation)}{_row(_operator(',').join(map(_axis, over)))}</munder>{_operator('⁡')}"
    if over == ("row",):
        return f"<munder>{_operator('∑')}<mtext>rows</mtext></munder>"
    mean = _over("<mn>1</mn>", f"<mn>{sizes[over[0]]}</mn>") if operation == "mean" else ""
    from_1 = [_row(_axis(axis), _operator("="), "<mn>1</mn>") for axis in over]
    up_to = [f"<mn>{sizes[axis]}</mn>" for axis in over]
    sums = zip(from_1, up_to, strict=True)
    return mean + "".join(f"<munderover>{_operator('∑')}{low}{high}</munderover>" for low, high in sums)


# --- pages ------------------------------------------------------------------------------------------------------------

_STYLE = """
.glassnet-derivation { font: 1rem/1.5 system-ui, sans-serif; }
.glassnet-derivation .equation { margin: .9rem 0; }
.glassnet-derivation .form { padding: .2rem 0 .2rem 4rem; text-indent: -2rem; overflow-x: auto;
                              overflow-y: hidden; }
.glassnet-derivation .first { padding-left: 2rem; }
.glassnet-derivation math { text-indent: 0; font-size: 1.1rem; }
.glassnet-derivation mtd { text-align: left; }
.glassnet-derivation .note { color: #5d6670; font-size: .85rem; margin-left: .8rem; display: inline-block;
                             text-indent: 0; line-height: 1.3; }
.glassnet-derivation h2 { font-size: 1.2rem; margin: 1.6rem 0 .3rem; }
@media (prefers-color-scheme: dark) { .glassnet-derivation .note { color: #9aa4af; } }
"""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }}
h1 {{ font: 600 1.6rem/1.3 system-ui, sans-serif; }}
</style>
</head>
<body>
<h1>{title}</h1>
"""


def page(title: str, lines: Iterable[Line]) -> Iterator[str]:
    """A page of its own, piece by piece: no script, nothing fetched from anywhere."""
    yield _PAGE.format(title=escape(title))
    yield from fragment(lines)
    yield "</body>\n</html>\n"


def fragment(lines: Iterable[Line]) -> Iterator[str]:
    """A part of a page, with its style, piece by piece."""
    yield f'<div class="glassnet-derivation">\n<style>{_STYLE}</style>\n'
    stage = ""
    for line in lines:
        if line.stage != stage:
            stage = line.stage
            yield f"<h2>{stage.capitalize()}</h2>\n"
        yield _written(line)
    yield "</div>\n"


def _written(line: Line) -> str:
    arrow = _operator("←" if line.arrow == "<-" else "=")
    parts = []
    for number, (right, note) in enumerate(zip(line.rights, line.notes, strict=True)):
        pieces = right.split(PIECES)
        start = line.target + arrow if number == 0 else arrow
        every = "<wbr>".join(_math(piece) for piece in [start + pieces[0], *pieces[1:]])
        said = f' <span class="note">{escape(note)}</span>' if note else ""
        parts.append(f'<div class="form{"" if number else " first"}">{every}{said}</div>\n')
    return f'<div class="equation">{"".join(parts)}</div>\n'


def infix(piece: str) -> str:
    """A piece whose first sign stands between two terms, not before one."""
    return '<mo form="infix">' + piece.removeprefix("<mo>") if piece.startswith("<mo>") else piece


def _math(piece: str) -> str:
    return f'<math displaystyle="true">{infix(piece)}</math>'
