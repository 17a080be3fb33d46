"""A network as its equations: encode, forward, loss, backward, penalty, update, decode.

An `Equation` is indexed: `z1_j = b1_j + sum over i of w1_i_j x_i`. From it follow the scalar lines that a person can
recompute (`scalar`), the matrix form (`matrix`), and LaTeX for either. Nothing here computes; `reference` does, from
the same table rows but without walking these equations, so that one can be held against the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product

from glassnet.errors import UsageError
from glassnet.expressions import (
    Expression,
    call,
    const,
    parse,
    readable,
    substitute,
    symbol,
    symbols,
    to_latex,
    to_text,
)
from glassnet.losses import LINKS
from glassnet.network import Network
from glassnet.optimizers import Optimizer

STAGES = ("encode", "forward", "loss", "backward", "penalty", "update", "decode")

_GREEK = {
    "delta": r"\delta", "Delta": r"\Delta", "share": "s", "s": "S", "loss": r"\ell", "L": r"\mathcal{L}", "J": "J",
    "penalty": r"\mathcal{P}", "learning_rate": r"\eta", "m_hat": r"\hat{m}", "v_hat": r"\hat{v}", "alpha": r"\alpha",
    "rho": r"\rho", "pi": r"\pi", "others": r"\mathrm{others}",
}  # fmt: skip

_OF_A_COLUMN = {
    "raw": "{0}", "is": "[{0} = {1}]", "missing": "[{0} missing]", "filled": "filled[{0}]", "scaled": "scaled[{0}]",
}  # fmt: skip
# A column's name that would read as one of a network's own quantities: x1, w1_2_1, loss.
_LIKE_A_SYMBOL = re.compile(r"([a-zA-Z]|delta|mask|penalty)\d+(_\d+)*|[opymsuLJ]|loss|share|penalty|[0-9.]+", re.ASCII)


def _named(column: str) -> str:
    """A column's name, or a cell's text, in a line: in quotes where it would read as something else."""
    plain = readable(column)
    return repr(plain) if _LIKE_A_SYMBOL.fullmatch(plain) else plain


@dataclass(frozen=True)
class Symbol:
    """One quantity of a network.

    `kind`: x, w, b, z, a, o (logit), p (probability), y, delta (d loss / d z), m and s (of softmax), loss (of a row),
    h and mask (of dropout, a = mask * h: 0, or 1 / (1 - rate)), u (row weight), share (u over the sum of u), L (batch
    loss), penalty, J (objective), dloss, dL or dJ (a derivative by `of`), a state of the optimiser (of `of`), or a
    plain setting. slope is the derivative of the activation `of` at the quantity `by`; same is 1 where its two indices
    are equal, else 0; any other kind with a `by` is the derivative of that quantity by it. Of a table's column `of`:
    raw (its number as the user has it), is (1 where its text is `level`, else 0), missing (1 where the cell is),
    filled and scaled.
    `axes`: its indices, a letter where open and a number, from 1, where bound; the axis `row` is never printed.

    >>> str(Symbol("w", 1, ("i", "j")).bound({"i": 2, "j": 1}))
    'w1_2_1'
    >>> str(Symbol("z", 2, ("row", "k"), by=Symbol("a", 1, ("row", "j"))))
    'dz2_k/da1_j'
    """

    kind: str
    layer: int | None = None
    axes: tuple[str | int, ...] = ()
    of: str = ""
    level: str = ""
    by: Symbol | None = None

    def bound(self, index: Mapping[str, int]) -> Symbol:
        """The same symbol with numbers for the axes that `index` names."""
        axes = tuple(index.get(a, a) if isinstance(a, str) else a for a in self.axes)
        return replace(self, axes=axes, by=self.by and self.by.bound(index))

    @property
    def open_axes(self) -> tuple[str, ...]:
        """The letters among the indices, each once; rows are not counted.

        >>> Symbol("z", 2, ("row", "k"), by=Symbol("a", 1, ("row", "j"))).open_axes
        ('k', 'j')
        """
        axes = (*self.axes, *(self.by.open_axes if self.by else ()))
        return tuple(dict.fromkeys(axis for axis in axes if isinstance(axis, str) and axis != "row"))

    @property
    def _printed_axes(self) -> list[str]:
        return [str(axis) for axis in self.axes if axis != "row"]

    def _indexed(self, letter: str) -> str:
        if self.layer is None:
            # x2, but x_i: an open index would read as part of the name.
            glue = "_" if any(isinstance(axis, str) and axis != "row" for axis in self.axes) else ""
            return letter + glue + "_".join(self._printed_axes)
        return "_".join([f"{letter}{self.layer}", *self._printed_axes])

    def __str__(self) -> str:
        if self.kind in _OF_A_COLUMN:
            return _OF_A_COLUMN[self.kind].format(_named(self.of), _named(self.level))
        if self.kind == "slope":
            return f"{self.of}'({self.by})"
        if self.kind == "same":
            return f"[{' = '.join(self._printed_axes)}]"
        if self.by is not None:
            return f"d{replace(self, by=None)}/d{self.by}"
        if self.kind in ("dloss", "dL", "dJ"):
            return f"{self.kind}/d{self._indexed(self.of)}"
        if self.of:
            return f"{self.kind}[{self._indexed(self.of)}]"
        return self._indexed(self.kind)

    def latex(self) -> str:
        r"""LaTeX with the layer in brackets above, as the notebook writes it.

        >>> print(Symbol("w", 1, (2, 1)).latex())
        w^{[1]}_{2,1}
        """
        if self.kind in _OF_A_COLUMN:
            return r"\text{" + latex_escaped(str(self)) + "}"
        if self.kind == "slope" and self.by is not None:
            return rf"\mathrm{{{latex_escaped(self.of)}}}'({self.by.latex()})"
        if self.kind == "same":
            return rf"[{' = '.join(self._printed_axes)}]"
        if self.by is not None:
            return rf"\frac{{\partial {replace(self, by=None).latex()}}}{{\partial {self.by.latex()}}}"

        def indexed(kind: str) -> str:
            letter = _GREEK.get(kind, kind if len(kind) == 1 else r"\mathrm{" + latex_escaped(kind) + "}")
            upper = f"^{{[{self.layer}]}}" if self.layer is not None else ""
            lower = f"_{{{','.join(self._printed_axes)}}}" if self._printed_axes else ""
            return letter + upper + lower

        if self.kind in ("dloss", "dL", "dJ"):
            return rf"\frac{{\partial {_GREEK[self.kind[1:]]}}}{{\partial {indexed(self.of)}}}"
        if self.of:
            return rf"{_GREEK.get(self.kind, self.kind)}\left[{indexed(self.of)}\right]"
        return indexed(self.kind)

    def whole(self) -> Symbol:
        """What stands for all its numbers together: a matrix in capitals, a vector small.

        >>> str(Symbol("delta", 1, ("row", "j")).whole()), str(Symbol("b", 1, ("j",)).whole())
        ('Delta1', 'b1')
        """
        if self.by is not None:
            return replace(replace(self, by=None).whole(), by=self.by.whole())
        if self.kind == "x" and isinstance(self.axes[-1], int):
            return self  # one input, which has its own column and so its own equation
        whole = replace(self, axes=())
        if len(self.axes) != 2 and self.kind not in ("x", "o", "p", "y"):
            return whole
        # rows by units, or units by units
        return replace(whole, of=self.of.upper()) if self.of else replace(whole, kind=self.kind.capitalize())

    def matrix(self) -> str:
        """The name of `whole`.

        >>> Symbol("delta", 1, ("row", "j")).matrix()
        'Delta1'
        """
        return str(self.whole())

    def matrix_latex(self) -> str:
        """LaTeX of `whole`."""
        return self.whole().latex()


_LATEX_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}",
}  # fmt: skip


def latex_escaped(text: str) -> str:
    r"""Text, a column's name say, that LaTeX prints and never obeys.

    >>> print(latex_escaped("50%_of $x"))
    50\%\_of \$x
    """
    # A line break or a control character would end the paragraph, or worse; two hyphens would become one dash.
    plain = "".join(_LATEX_SPECIAL.get(letter, letter if letter.isprintable() else " ") for letter in text)
    return re.sub("-(?=-)", "-{}", plain)


@dataclass(frozen=True)
class Map:
    """The same expression for every value of the target's indices."""

    expression: Expression


@dataclass(frozen=True)
class Contract:
    """`bias` + the sum over the index `over` of the product of `terms`, in ascending order."""

    terms: tuple[Symbol, ...]
    over: str
    bias: Symbol | None = None


@dataclass(frozen=True)
class Reduce:
    """The sum, mean or max of an expression over indices, or argmax, the index where it is largest."""

    operation: str
    over: tuple[str, ...]
    expression: Expression


@dataclass(frozen=True)
class Equation:
    """`target` = `body`, for every value of the target's open indices; `ranges` says how far each index runs.

    `note` names what the expression is (relu, its derivative, ...).

    >>> z1 = equations(Network((2, 2, 1)))["z1"]
    >>> print(z1)
    z1_j = b1_j + sum over i of w1_i_j * x_i
    >>> print(z1.scalar(j=2))
    z1_2 = b1_2 + w1_1_2 * x1 + w1_2_2 * x2
    >>> print(z1.matrix())
    Z1 = X @ W1 + b1
    """

    target: Symbol
    body: Map | Contract | Reduce
    stage: str
    ranges: tuple[tuple[str, int], ...] = ()
    note: str = ""

    def scalars(self) -> Iterator[Equation]:
        """The equation once for every value of the target's indices, sums written out."""
        for index in self.indices():
            yield self.scalar(**index)

    def indices(self) -> Iterator[dict[str, int]]:
        """Every value of the target's indices, the last running fastest; one without a range stays open."""
        sizes = dict(self.ranges)
        axes = [axis for axis in self.target.open_axes if axis in sizes]
        for values in product(*(range(1, sizes[axis] + 1) for axis in axes)):
            yield dict(zip(axes, values, strict=True))

    def scalar(self, **index: int) -> Equation:
        """The equation for one value of its indices (from 1), sums over units written out; rows stay open."""
        sizes = dict(self.ranges)
        for axis, value in index.items():
            if not 1 <= value <= sizes.get(axis, 0):
                raise UsageError(f"{axis} of {self.target} runs from 1 to {sizes.get(axis, 0)}; got {value}.")
        return self.bound(index)

    def bound(self, index: Mapping[str, int]) -> Equation:
        """`scalar` without looking whether the numbers are in range."""
        return replace(self, target=self.target.bound(index), body=self._expanded(index, dict(self.ranges)))

    def _expanded(self, index: Mapping[str, int], sizes: Mapping[str, int]) -> Map | Reduce:
        match self.body:
            case Map(expression):
                return Map(_bind(expression, index))
            case Contract(terms, over, bias):
                if over == "row":
                    return Reduce("sum", ("row",), _bind(_product(terms), index))
                operands = [_bind(_product(terms), {**index, over: n}) for n in range(1, sizes[over] + 1)]
                return Map(call("add", *([symbol(bias.bound(index))] if bias else []), *operands))
            case Reduce(operation, over, expression):
                if over == ("row",) or operation == "argmax":
                    return Reduce(operation, over, _bind(expression, index))
                values = product(*(range(1, sizes[axis] + 1) for axis in over))
                operands = [_bind(expression, {**index, **dict(zip(over, v, strict=True))}) for v in values]
                if operation == "max":
                    largest = operands[0]
                    for operand in operands[1:]:
                        largest = call("max", largest, operand)
                    return Map(largest)
                total = call("add", *operands)
                return Map(call("div", total, const(len(operands))) if operation == "mean" else total)

    @property
    def _arrow(self) -> str:
        return "<-" if self.stage == "update" else "="

    def __str__(self) -> str:
        return f"{self.target} {self._arrow} {self.right()}"

    def right(self) -> str:
        """What stands behind the equals sign, as text."""
        match self.body:
            case Map(expression):
                return to_text(expression)
            case Contract(terms, over, bias):
                return (f"{bias} + " if bias else "") + _over("sum", (over,)) + to_text(_product(terms))
            case Reduce(operation, over, expression):
                return _over(operation, over) + to_text(expression)

    def latex(self) -> str:
        r"""LaTeX of the indexed (or scalar) form.

        >>> print(equations(Network((2, 2, 1)))["z1"].latex())
        z^{[1]}_{j} = b^{[1]}_{j} + \sum_{i=1}^{2} w^{[1]}_{i,j} \, x_{i}
        """
        return f"{self.target.latex()} {self._latex_arrow} {self.right_latex()}"

    @property
    def _latex_arrow(self) -> str:
        return r"\leftarrow" if self.stage == "update" else "="

    def right_latex(self, times: str = r" \, ") -> str:
        """What stands behind the equals sign, as LaTeX; `times` stands between factors."""
        sizes = dict(self.ranges)

        def over_latex(operation: str, over: tuple[str, ...]) -> str:
            if over == ("row",):
                return r"\sum_{\text{rows}} "
            if operation in ("max", "argmax"):
                return rf"\operatorname*{{{operation}}}_{{{','.join(over)}}} "
            mean = rf"\frac{{1}}{{{sizes[over[0]]}}} " if operation == "mean" else ""
            return mean + "".join(rf"\sum_{{{axis}=1}}^{{{sizes[axis]}}} " for axis in over)

        match self.body:
            case Map(expression):
                return to_latex(expression, _latex, times)
            case Contract(terms, over, bias):
                start = f"{bias.latex()} + " if bias else ""
                return start + over_latex("sum", (over,)) + to_latex(_product(terms), _latex, times)
            case Reduce(operation, over, expression):
                inner = to_latex(expression, _latex, times)
                if expression.op in ("add", "sub"):
                    inner = rf"\left({inner}\right)"
                return over_latex(operation, over) + inner

    def matrix(self) -> str:
        """The equation for all indices and rows at once: `@` is the matrix product, `*` goes element by element."""
        return f"{self.target.matrix()} {self._arrow} {self.right_matrix()}"

    def right_matrix(self) -> str:
        """What stands behind the equals sign of the matrix form, as text."""
        match self.body:
            case Map(expression):
                return to_text(expression, _matrix)
            case Contract(bias=bias):
                written = {"": "{}", "turned": "{}.T", "diagonal": "diag({})"}
                factors = [written[how].format(term.matrix()) for term, how in self.factors()]
                return " @ ".join(factors) + (f" + {bias.matrix()}" if bias else "")
            case Reduce(operation, over, expression):
                return _over(operation, over) + to_text(expression, _matrix)

    def matrix_latex(self) -> str:
        r"""LaTeX of the matrix form; the circled dot goes element by element.

        >>> print(equations(Network((2, 2, 1)))["z1"].matrix_latex())
        Z^{[1]} = X \, W^{[1]} + b^{[1]}
        """
        return f"{self.target.matrix_latex()} {self._latex_arrow} {self.right_matrix_latex()}"

    def right_matrix_latex(self) -> str:
        """What stands behind the equals sign of the matrix form, as LaTeX."""
        match self.body:
            case Map(expression):
                return to_latex(expression, _matrix_latex, times=r" \odot ")
            case Contract(bias=bias):
                written = {"": "{}", "turned": r"{{{}}}^{{\top}}", "diagonal": r"\operatorname{{diag}}({})"}
                factors = [written[how].format(term.matrix_latex()) for term, how in self.factors()]
                return r" \, ".join(factors) + (f" + {bias.matrix_latex()}" if bias else "")
            case Reduce():
                return self.right_latex()

    def factors(self) -> list[tuple[Symbol, str]]:
        """The factors of a `Contract` in the order of their matrix product, and how each enters it."""
        assert isinstance(self.body, Contract)
        terms, over, target = self.body.terms, self.body.over, self.target.axes
        vectors = [term for term in terms if term.axes == (over,)]
        matrices = [term for term in terms if term.axes != (over,)]
        if len(target) < 2:  # a row of numbers: the vector comes first
            return [(vector, "") for vector in vectors] + [(matrix, "") for matrix in matrices]
        # The first factor brings the target's first index, the last its last; what has `over` alone scales between.
        first, last = sorted(matrices, key=lambda term: target[0] not in term.axes)
        return [
            (first, "" if first.axes[-1] == over else "turned"),
            *((vector, "diagonal") for vector in vectors),
            (last, "" if last.axes[0] == over else "turned"),
        ]


def _over(operation: str, over: tuple[str, ...]) -> str:
    return f"{operation} over {' and '.join('rows' if axis == 'row' else axis for axis in over)} of "


def _latex(key: Symbol) -> str:
    return key.latex()


def _matrix(key: Symbol) -> str:
    return key.matrix()


def _matrix_latex(key: Symbol) -> str:
    return key.matrix_latex()


def _bind(expression: Expression, index: Mapping[str, int]) -> Expression:
    found = [key for key in symbols(expression) if isinstance(key, Symbol)]
    return substitute(expression, {key: symbol(key.bound(index)) for key in found})


def _product(terms: tuple[Symbol, ...]) -> Expression:
    return call("mul", *map(symbol, terms))


@dataclass(frozen=True)
class Equations:
    """All equations of a network, in order of computation.

    >>> print(equations(Network((1, 1, 1), "tanh", "mean_squared_error")).text())
    forward
      z1_1 = b1_1 + w1_1_1 * x1
      a1_1 = tanh(z1_1)                      tanh
      z2_1 = b2_1 + w2_1_1 * a1_1
      o = z2_1                               identity
      p = o                                  identity
    loss
      loss = (o - y)**2                      mean_squared_error
      L = sum over rows of share * loss      batch loss
    backward
      delta2_1 = 2 * (o - y)                 derivative of mean_squared_error
      dloss/dw2_1_1 = a1_1 * delta2_1
      dL/dw2_1_1 = sum over rows of share * a1_1 * delta2_1
      dloss/db2_1 = delta2_1
      dL/db2_1 = sum over rows of share * delta2_1
      dloss/da1_1 = w2_1_1 * delta2_1
      delta1_1 = dloss/da1_1 * (1 - a1_1 * a1_1)  derivative of tanh
      dloss/dw1_1_1 = x1 * delta1_1
      dL/dw1_1_1 = sum over rows of share * x1 * delta1_1
      dloss/db1_1 = delta1_1
      dL/db1_1 = sum over rows of share * delta1_1
    """

    items: tuple[Equation, ...]

    def __iter__(self) -> Iterator[Equation]:
        return iter(self.items)

    def __getitem__(self, name: str) -> Equation:
        """The equation of `z1`, `delta2`, `dL/dw1`, `loss`: a target's name without its indices."""
        for equation in self.items:
            if _lookup_name(equation) == name:
                return equation
        raise UsageError(f"There is no equation for {name!r}; there are {', '.join(self.names())}.")

    def names(self) -> list[str]:
        """What `[]` takes."""
        return [_lookup_name(equation) for equation in self.items]

    def stage(self, name: str) -> Equations:
        """The equations of one of `STAGES`."""
        if name not in STAGES:
            raise UsageError(f"A stage is one of {', '.join(STAGES)}; got {name!r}.")
        return Equations(tuple(equation for equation in self.items if equation.stage == name))

    def _shown(self, form: str) -> Iterator[tuple[Equation, Equation]]:
        """Each equation with the lines it becomes. A row's own derivatives are no matrices: they are left out there."""
        for equation in self.items:
            if form == "scalar":
                yield from ((equation, scalar) for scalar in equation.scalars())
            elif form == "indexed" or (equation.target.kind, equation.target.of) not in (
                ("dloss", "w"),
                ("dloss", "b"),
            ):
                yield equation, equation

    def text(self, form: str = "scalar") -> str:
        """Every equation as text under its stage's name; `form` is scalar, indexed or matrix."""
        lines = []
        for stage in STAGES:
            shown = [
                f"  {line.matrix() if form == 'matrix' else line!s:<37}  {equation.note}".rstrip()
                for equation, line in self.stage(stage)._shown(form)
            ]
            lines += [stage, *shown] if shown else []
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.text()

    def _repr_latex_(self) -> str:
        """How a notebook shows the equations."""
        return f"$${self.latex()}$$"

    def latex(self, form: str = "scalar") -> str:
        """An `aligned` block for mathematics mode; `form` is scalar, indexed or matrix."""
        aligned = []
        for _, line in self._shown(form):
            text, target = (line.matrix_latex() if form == "matrix" else line.latex()), line.target
            # The mark goes behind the whole target, whose name, a column's, may hold an = of its own.
            left = next(part for part in (target.latex(), target.matrix_latex()) if text.startswith(f"{part} "))
            aligned.append(f"{left} &{text[len(left) + 1 :]}")
        return "\\begin{aligned}\n" + " \\\\\n".join(aligned) + "\n\\end{aligned}"


def _lookup_name(equation: Equation) -> str:
    """A target's name without its indices; each column of the table has an equation, and a name, of its own."""
    target = equation.target
    return str(target if target.kind == "x" else replace(target, axes=()))


def equations(
    network: Network,
    optimizer: Optimizer | None = None,
    *,
    l1: float = 0.0,
    l2: float = 0.0,
    dropout: bool = False,
) -> Equations:
    """The equations of `network`: forward, loss and backward; penalty where l1 or l2 is not 0; update of `optimizer`.

    With `dropout` every hidden layer has a mask, all ones where its rate is 0: a = mask * h with h = f(z).
    `encode` and `decode` belong to a table and come from its `Encoder`.

    >>> print(equations(Network((2, 1)))["p"].latex())
    p = \\sigma(o)
    >>> print(equations(Network((2, 2, 1)), dropout=True)["a1"])
    a1_j = mask1_j * h1_j
    """
    return Equations(
        (
            *_forward(network, dropout),
            *_loss(network),
            *_backward(network, dropout),
            *(_penalty(network, l1, l2) if l1 or l2 else ()),
            *(_update(network, optimizer, penalised=bool(l1 or l2)) if optimizer is not None else ()),
        )
    )


def raw_symbol(source: str) -> Symbol:
    """A column of the table as the user has it.

    >>> str(raw_symbol("radius_mean")), str(raw_symbol("x1"))
    ('radius_mean', "'x1'")
    """
    return Symbol("raw", None, ("row",), of=source)


def decoding(network: Network, target: str, center: float = 0.0, scale: float = 1.0) -> Equations:
    """How the network's answer is read: the class, or the number in the target's own units.

    >>> print(decoding(Network((2, 1)), "diagnosis").text())
    decode
      predicted diagnosis = select(p > 0.5, 1, 0)
    """
    raw, p = raw_symbol(f"predicted {target}"), _output(network, "p")
    link = network.loss_row.link
    if link == "softmax":
        body: Map | Reduce = Reduce("argmax", ("k",), symbol(p))
    elif link == "sigmoid":
        body = Map(substitute(parse("select(p > 0.5, 1, 0)"), {"p": symbol(p)}))
    else:
        named = {"center": const(center), "scale": const(scale), "p": symbol(p)}
        # What is predicted in its own unit already is p itself.
        body = Map(substitute(parse("p" if (center, scale) == (0, 1) else "center + scale * p"), named))
    return Equations((Equation(raw, body, "decode", (("k", network.n_outputs),)),))


def _input(network: Network, layer: int, axis: str) -> Symbol:
    """What layer `layer` reads: a of the layer before, x for the first."""
    return Symbol("x", None, ("row", axis)) if layer == 1 else Symbol("a", layer - 1, ("row", axis))


def _output(network: Network, kind: str) -> Symbol:
    """o, p or y, with an index only where there are several outputs."""
    return Symbol(kind, None, ("row",) if network.n_outputs == 1 else ("row", "k"))


def _forward(network: Network, dropout: bool) -> Iterator[Equation]:
    for layer in range(1, network.n_layers + 1):
        n_in, n_out = network.sizes[layer - 1 : layer + 1]
        last = layer == network.n_layers
        unit = "k" if last and n_out > 1 else "j"
        z = Symbol("z", layer, ("row", unit))
        yield Equation(
            z,
            Contract((Symbol("w", layer, ("i", unit)), _input(network, layer, "i")), "i", Symbol("b", layer, (unit,))),
            "forward",
            (("i", n_in), (unit, n_out)),
        )
        row = network.activation_row(layer)
        if last and n_out == 1:
            z = z.bound({"j": 1})
        dropped = dropout and not last
        a = _output(network, "o") if last else Symbol("h" if dropped else "a", layer, ("row", unit))
        ranges = (("k", n_out),) if last else (("j", n_out),)
        yield Equation(a, Map(substitute(row.value, {"z": symbol(z)})), "forward", ranges, row.name)
        if dropped:
            masked = Map(_product((replace(a, kind="mask"), a)))
            yield Equation(replace(a, kind="a"), masked, "forward", ranges, "dropout")
    o, ranges = _output(network, "o"), (("k", network.n_outputs),)
    link = LINKS[network.loss_row.link]
    if link.over_classes:
        m, s = Symbol("m", None, ("row",)), Symbol("s", None, ("row",))
        yield Equation(m, Reduce("max", ("k",), symbol(o)), "forward", ranges, "largest logit")
        terms = call("exp", call("sub", symbol(o), symbol(m)))
        yield Equation(s, Reduce("sum", ("k",), terms), "forward", ranges, "")
    yield Equation(_output(network, "p"), Map(_in_symbols(network, link.value)), "forward", ranges, link.name)


def _in_symbols(network: Network, expression: Expression) -> Expression:
    """A loss's expression with the network's symbols for o, y, p, m, s."""
    named = {kind: symbol(_output(network, kind)) for kind in ("o", "y", "p")}
    named |= {kind: symbol(Symbol(kind, None, ("row",))) for kind in ("m", "s")}
    return substitute(expression, named)


def _loss(network: Network) -> Iterator[Equation]:
    row, n = network.loss_row, network.n_outputs
    value = _in_symbols(network, row.value)
    loss = Symbol("loss", None, ("row",))
    body = Map(value) if n == 1 else Reduce("sum" if row.sums_over_outputs else "mean", ("k",), value)
    yield Equation(loss, body, "loss", (("k", n),), network.loss)
    share = Symbol("share", None, ("row",))
    yield Equation(Symbol("L"), Contract((share, loss), "row"), "loss", (), "batch loss")


def _backward(network: Network, dropout: bool) -> Iterator[Equation]:
    share = Symbol("share", None, ("row",))
    for layer in range(network.n_layers, 0, -1):
        n_in, n_out = network.sizes[layer - 1 : layer + 1]
        last = layer == network.n_layers
        unit = "k" if last and n_out > 1 else "j"
        row = network.activation_row(layer)
        slope = substitute(
            row.derivative,
            {
                "z": symbol(Symbol("z", layer, ("row", 1 if last and n_out == 1 else unit))),
                "a": symbol(_output(network, "o") if last else Symbol("h" if dropout else "a", layer, ("row", unit))),
            },
        )
        ranges: tuple[tuple[str, int], ...] = ((unit, n_out),)
        note = f"derivative of {row.name}"
        if last:
            upstream = _in_symbols(network, network.loss_row.derivative)
            if n_out > 1 and not network.loss_row.sums_over_outputs:
                upstream = call("div", upstream, const(n_out))
            note = f"derivative of {network.loss}" + ("" if row.name == "identity" else f", of {row.name}")
        else:
            arriving = Symbol("dloss", layer, ("row", unit), of="a")
            yield Equation(
                arriving,
                Contract((Symbol("w", layer + 1, (unit, "k")), Symbol("delta", layer + 1, ("row", "k"))), "k"),
                "backward",
                (*ranges, ("k", network.sizes[layer + 1])),
            )
            if dropout:
                unmasked = replace(arriving, of="h")
                masked = Map(_product((Symbol("mask", layer, ("row", unit)), arriving)))
                yield Equation(unmasked, masked, "backward", ranges, "dropout")
                arriving = unmasked
            upstream = symbol(arriving)
        delta = Symbol("delta", layer, ("row", 1 if last and n_out == 1 else unit))
        identity = slope == const(1)
        yield Equation(delta, Map(upstream if identity else call("mul", upstream, slope)), "backward", ranges, note)
        delta = replace(delta, axes=("row", unit))
        a = _input(network, layer, "i")
        ranges = (("i", n_in), (unit, n_out))
        yield Equation(Symbol("dloss", layer, ("i", unit), of="w"), Map(_product((a, delta))), "backward", ranges)
        yield Equation(Symbol("dL", layer, ("i", unit), of="w"), Contract((share, a, delta), "row"), "backward", ranges)
        yield Equation(Symbol("dloss", layer, (unit,), of="b"), Map(symbol(delta)), "backward", ranges[1:])
        yield Equation(Symbol("dL", layer, (unit,), of="b"), Contract((share, delta), "row"), "backward", ranges[1:])


def _penalty(network: Network, l1: float, l2: float) -> Iterator[Equation]:
    """Written with the numbers l1 and l2; a part whose factor is 0 is left out."""

    def parts(first: str, second: str) -> Expression:
        kept = [parse(f"{float(factor)!r} * {text}") for factor, text in ((l1, first), (l2, second)) if factor]
        return call("add", *kept)

    for layer in range(1, network.n_layers + 1):
        n_in, n_out = network.sizes[layer - 1 : layer + 1]
        ranges = (("i", n_in), ("j", n_out))
        w = symbol(Symbol("w", layer, ("i", "j")))
        yield Equation(
            Symbol("penalty", layer),
            Reduce("sum", ("i", "j"), substitute(parts("abs(w)", "w**2 / 2"), {"w": w})),
            "penalty",
            ranges,
            "of the weights; biases carry none",
        )
        slope = substitute(parts("sign(w)", "w"), {"w": w})
        of_loss = symbol(Symbol("dL", layer, ("i", "j"), of="w"))
        yield Equation(Symbol("dJ", layer, ("i", "j"), of="w"), Map(call("add", of_loss, slope)), "penalty", ranges)
    total = call("add", *(symbol(Symbol("penalty", layer)) for layer in range(1, network.n_layers + 1)))
    yield Equation(Symbol("penalty"), Map(total), "penalty")
    yield Equation(
        Symbol("J"), Map(call("add", symbol(Symbol("L")), symbol(Symbol("penalty")))), "penalty", (), "objective"
    )


def _update(network: Network, optimizer: Optimizer, *, penalised: bool) -> Iterator[Equation]:
    for layer in range(1, network.n_layers + 1):
        n_in, n_out = network.sizes[layer - 1 : layer + 1]
        for of, axes in (("w", ("i", "j")), ("b", ("j",))):
            ranges = tuple((axis, {"i": n_in, "j": n_out}[axis]) for axis in axes)
            gradient = Symbol("dJ" if penalised and of == "w" else "dL", layer, axes, of=of)
            named = {
                "w": symbol(Symbol(of, layer, axes)),
                "g": symbol(gradient),
                "is_weight": const(int(of == "w")),
            }
            targets = [target for target, _ in optimizer.equations]
            named |= {name: symbol(Symbol(name, layer, axes, of=of)) for name in targets if name != "w"}
            settings = {name: const(value) for name, value in optimizer.settings.items()}
            settings |= {name: symbol(Symbol(name)) for name in ("learning_rate", "t")}
            for target, text in optimizer.equations:
                key = named[target].args[0]
                yield Equation(key, Map(substitute(parse(text), {**settings, **named})), "update", ranges)
