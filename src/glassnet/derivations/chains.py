"""The chain rule, factor by factor: how a parameter reaches the loss, over every path through the layers.

A line of backpropagation is one formula; a derivation shows where it comes from. `link_equations` and `unit_equations`
are the factors that the network's own equations do not name (dloss/dp, dp/do, da/dz); `forms` is one line written in
all the ways that lead to it: named factors, the cached delta, the sum over all paths.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from operator import methodcaller

from glassnet.equations import Contract, Equation, Map, Reduce, Symbol
from glassnet.expressions import Expression, call, const, parse, substitute, symbol, to_latex, to_text
from glassnet.losses import LINKS
from glassnet.network import Network

PATHS_SPELLED_OUT = 12
"""A sum over more paths than this is not spelled out: the recursion from layer to layer stands in its place."""
TERMS_SPELLED_OUT = 10_000
"""A sum of more terms than this keeps its sign of summation."""

LAYERS_MULTIPLIED_OUT = 3
"""A product of matrices back from the loss is written out where at most so many layers of weights are in it."""
MAXIMA_SPELLED_OUT = 100
"""Likewise of a largest value, which is written as one max in another."""

Index = Mapping[str, int]

LOSS = Symbol("loss", None, ("row",))
SHARE = Symbol("share", None, ("row",))


@dataclass(frozen=True)
class Form:
    """One way to write a quantity.

    `what`: textbook, chain, cached, paths, product, recursion, or definition, the one that is computed.
    """

    what: str
    equation: Equation
    note: str = ""


def derivative(of: Symbol, by: Symbol) -> Symbol:
    """The quantity `of` differentiated by `by`.

    >>> str(derivative(LOSS, Symbol("z", 1, ("row", 2))))
    'dloss/dz1_2'
    """
    return replace(of, by=by)


@dataclass(frozen=True)
class Chain:
    """The symbols of one network, by layer and unit; a unit is a number, or a letter that stands for any."""

    network: Network
    dropout: bool = False

    def output(self, kind: str, unit: int | str) -> Symbol:
        """o, p or y; a single output has no index."""
        return Symbol(kind, None, ("row",) if self.network.n_outputs == 1 else ("row", unit))

    def z(self, layer: int, unit: int | str) -> Symbol:
        """What a unit sums up."""
        return Symbol("z", layer, ("row", unit))

    def a(self, layer: int, unit: int | str) -> Symbol:
        """What a unit gives to the next layer; the input for layer 0, the logit for the last."""
        if layer == 0:
            return Symbol("x", None, ("row", unit))
        return self.output("o", unit) if layer == self.network.n_layers else Symbol("a", layer, ("row", unit))

    def slope(self, layer: int, unit: int | str) -> Symbol | None:
        """f'(z) of a unit; None where f is the identity and the slope 1."""
        name = self.network.activations[layer - 1]
        return None if name == "identity" else Symbol("slope", of=name, by=self.z(layer, unit))

    def upstream(self, unit: int | str) -> Expression:
        """dloss/do of an output, as its loss states it."""
        row, n = self.network.loss_row, self.network.n_outputs
        whole = substitute(row.derivative, {kind: symbol(self.output(kind, unit)) for kind in "oyp"})
        return whole if n == 1 or row.sums_over_outputs else call("div", whole, const(n))

    def by_probability(self, unit: int | str) -> Expression:
        """dloss/dp of an output."""
        row, n = self.network.loss_row, self.network.n_outputs
        whole = substitute(row.by_probability, {kind: symbol(self.output(kind, unit)) for kind in "yp"})
        return whole if n == 1 or row.sums_over_outputs else call("div", whole, const(n))

    def textbook(self, equation: Equation) -> Map | Reduce | None:
        """A book's form of what a probability or a loss is, where that is a formula; else None."""
        row, n = self.network.loss_row, self.network.n_outputs
        if equation.stage not in ("forward", "loss"):
            return None
        if equation.target.kind == "p" and not self.over_classes:
            return Map(substitute(parse(LINKS[row.link].textbook), {"o": symbol(self.output("o", "k"))}))
        if equation.target.kind == "loss":
            whole = substitute(row.textbook, {kind: symbol(self.output(kind, "k")) for kind in "yp"})
            return Map(whole) if n == 1 else Reduce("sum" if row.sums_over_outputs else "mean", ("k",), whole)
        return None

    @property
    def over_classes(self) -> bool:
        """Whether every logit moves every probability."""
        return LINKS[self.network.loss_row.link].over_classes

    def n_paths(self, layer: int) -> int:
        """How many ways lead from a unit's z to the loss: one unit of each later layer, chosen freely.

        >>> Chain(Network((2, 3, 4, 2))).n_paths(1)
        8
        """
        return math.prod(self.network.sizes[layer + 1 :])

    def paths(self, layer: int, unit: int | str) -> Iterator[tuple[list[Expression], list[Expression]]]:
        """Each path from z of a unit to the loss: its factors by name, and what they are, those that are 1 left out."""
        layers = range(layer + 1, self.network.n_layers + 1)
        for later in product(*(range(1, self.network.sizes[m] + 1) for m in layers)):
            names, values = [], []
            previous = unit
            for m, k in zip(range(layer, self.network.n_layers + 1), (unit, *later), strict=True):
                if m > layer:
                    names.append(symbol(derivative(self.z(m, k), self.a(m - 1, previous))))
                    values.append(symbol(Symbol("w", m, (previous, k))))
                names += [symbol(key) for key in self.through(m, k)]
                slope = self.slope(m, k)
                values += [symbol(slope)] if slope else []
                if self.dropout and m < self.network.n_layers:
                    values.append(symbol(Symbol("mask", m, ("row", k))))
                previous = k
            o = self.output("o", previous)
            if self.over_classes:
                names.append(symbol(derivative(LOSS, o)))
            else:
                p = self.output("p", previous)
                names += [symbol(derivative(p, o)), symbol(derivative(LOSS, p))]
            yield names, [*values, self.upstream(previous)]

    def through(self, layer: int, unit: int | str) -> Iterator[Symbol]:
        """The factors from z of a unit to what it gives on."""
        a = self.a(layer, unit)
        if self.dropout and layer < self.network.n_layers:
            h = replace(a, kind="h")
            yield derivative(h, self.z(layer, unit))
            yield derivative(a, h)
        else:
            yield derivative(a, self.z(layer, unit))


# --- the factors ------------------------------------------------------------------------------------------------------


def link_equations(chain: Chain) -> Iterator[Equation]:
    """dloss/dp, dp/do and dloss/do of the outputs.

    >>> for equation in link_equations(Chain(Network((2, 1)))):
    ...     print(equation)
    dloss/dp = (p - y) / (p * (1 - p))
    dp/do = p * (1 - p)
    dloss/do = p - y
    """
    network, ranges = chain.network, (("k", chain.network.n_outputs),)
    link, loss = LINKS[network.loss_row.link], network.loss
    o, p = chain.output("o", "k"), chain.output("p", "k")
    by_p = Map(chain.by_probability("k"))
    yield Equation(derivative(LOSS, p), by_p, "backward", ranges, f"derivative of {loss} by p")
    if chain.over_classes:
        other = chain.output("p", "j")
        named = {"p": symbol(other), "q": symbol(p), "same": symbol(Symbol("same", axes=("j", "k")))}
        note = "derivative of softmax; [j = k] is 1 where j is k, else 0"
        yield Equation(derivative(other, o), Map(substitute(link.derivative, named)), "backward", (), note)
    else:
        slope = substitute(link.derivative, {"p": symbol(p)})
        yield Equation(derivative(p, o), Map(slope), "backward", ranges, f"derivative of {link.name}")
    note = f"derivative of {loss}" + ("; the y of a row sum to 1" if chain.over_classes else "")
    yield Equation(derivative(LOSS, o), Map(chain.upstream("k")), "backward", ranges, note)


def sum_equations(chain: Chain, layer: int) -> Iterator[Equation]:
    """The derivatives of a unit's sum z by what enters it: one line for all units, for they are all alike.

    >>> for equation in sum_equations(Chain(Network((2, 2, 1))), 2):
    ...     print(equation)
    dz2_j/da1_i = w2_i_j
    dz2_j/dw2_i_j = a1_i
    dz2_j/db2_j = 1
    """
    z, a, w, b = (
        chain.z(layer, "j"),
        chain.a(layer - 1, "i"),
        Symbol("w", layer, ("i", "j")),
        Symbol("b", layer, ("j",)),
    )
    if layer > 1:
        yield Equation(derivative(z, a), Map(symbol(w)), "backward")
    yield Equation(derivative(z, w), Map(symbol(a)), "backward")
    yield Equation(derivative(z, b), Map(const(1)), "backward")


def unit_equations(chain: Chain, layer: int, delta: Equation) -> Iterator[Equation]:
    """da/dz of a layer, and of its mask with dropout; before its delta."""
    (unit,) = delta.target.open_axes or (1,)
    row = chain.network.activation_row(layer)
    for key in chain.through(layer, unit):
        if key.by is not None and key.by.kind == "h":
            body, note = symbol(Symbol("mask", layer, ("row", unit))), "dropout"
        else:
            named = {"z": symbol(chain.z(layer, unit)), "a": symbol(replace(key, by=None))}
            body, note = substitute(row.derivative, named), f"derivative of {row.name}"
        yield Equation(key, Map(body), "backward", delta.ranges, note)


# --- one line in all its forms ----------------------------------------------------------------------------------------


def forms(chain: Chain, equation: Equation, index: Index | None) -> Iterator[Form]:
    """An equation derived: from the chain rule to what is computed, and over all paths.

    At `index`, with its sums written out; or with None as it is, for all indices at once, without the paths.

    >>> from glassnet.equations import equations
    >>> chain, every = Chain(Network((1, 1))), equations(Network((1, 1)))
    >>> for form in forms(chain, every["dloss/dw1"], {"i": 1, "j": 1}):
    ...     print(f"{form.what:<8}", form.equation.right())
    chain    dz1_1/dw1_1_1 * dloss/dz1_1
    cached   x1 * delta1_1
    paths    dz1_1/dw1_1_1 * do/dz1_1 * dp/do * dloss/dp
    product  x1 * (p - y)
    """
    scalar = equation if index is None else shortened(equation, index)
    target, layer = scalar.target, scalar.target.layer or 0
    definition = Form("definition", scalar, scalar.note)

    def written(what: str, expression: Expression) -> Form:
        return Form(what, replace(scalar, body=Map(expression)))

    book = chain.textbook(equation)
    if book is not None and book != equation.body:
        every = replace(equation, body=book)
        yield Form("textbook", every if index is None else shortened(every, index))
    elif equation.stage == "backward" and target.by is not None:
        yield from _of_factor(chain, scalar, index)
    elif target.kind == "dL":
        by_row = Reduce("sum", ("row",), _times(SHARE, replace(target, kind="dloss")))
        yield Form("chain", replace(scalar, body=by_row))
    elif target.kind == "dloss" and target.of == "h":
        a = replace(_by(target), kind="a")
        yield written("chain", _times(derivative(a, _by(target)), derivative(LOSS, a)))
    elif target.kind == "dloss" and target.of == "a":
        z = chain.z(layer + 1, "k")
        terms = (derivative(z, _by(equation.target)), derivative(LOSS, z))
        every = replace(equation, body=Contract(terms, "k"))
        yield Form("chain", every if index is None else shortened(every, index))
    elif target.kind == "delta":
        unit = target.axes[-1]
        yield written("chain", symbol(derivative(LOSS, chain.z(layer, unit))))
        first, *_ = chain.through(layer, unit)
        yield written("chain", _times(first, derivative(LOSS, replace(first, by=None))))
        yield definition
        if layer < chain.network.n_layers and index is not None:
            yield from _over_paths(chain, scalar, unit, [], [])
        return
    elif target.kind == "dloss":
        z = chain.z(layer, target.axes[-1])
        first = derivative(z, _by(target))
        yield written("chain", _times(first, derivative(LOSS, z)))
        yield Form("cached", scalar, "cached delta")
        if index is not None:
            entering = [symbol(chain.a(layer - 1, target.axes[0]))] if target.of == "w" else []
            yield from _over_paths(chain, scalar, target.axes[-1], [symbol(first)], entering)
        return
    yield definition


def _of_factor(chain: Chain, scalar: Equation, index: Index | None) -> Iterator[Form]:
    """How a factor of its own comes about: f'(z) by name, dloss/do from dloss/dp."""
    target = scalar.target
    assert target.by is not None

    def written(what: str, *terms: Expression) -> Form:
        return Form(what, replace(scalar, body=Map(call("add", *terms))))

    if target.by.kind == "z":
        slope = chain.slope(target.by.layer or 0, target.by.axes[-1])
        if slope is not None:
            yield written("chain", symbol(slope))
    if target.kind != "loss" or target.by.kind != "o":
        return
    n, unit, o = chain.network.n_outputs, target.by.axes[-1], target.by
    if not chain.over_classes:
        p = chain.output("p", unit)
        yield written("chain", _times(derivative(p, o), derivative(LOSS, p)))
        slope_of_link = substitute(LINKS[chain.network.loss_row.link].derivative, {"p": symbol(p)})
        if slope_of_link != const(1):
            yield written("product", call("mul", slope_of_link, chain.by_probability(unit)))
    elif index is None or n > PATHS_SPELLED_OUT:
        p = chain.output("p", "j")
        body = Reduce("sum", ("j",), _times(derivative(p, o), derivative(LOSS, p)))
        yield Form("chain", replace(scalar, body=body, ranges=(("j", n),)))
    else:
        every, own = [chain.output("p", j) for j in range(1, n + 1)], symbol(chain.output("p", unit))
        yield written("chain", *(_times(derivative(p, o), derivative(LOSS, p)) for p in every))
        # The formula of dp_j/do_k, with its [j = k] known.
        moved = [call("mul", symbol(p), call("sub", const(int(j == unit)), own)) for j, p in enumerate(every, start=1)]
        slopes = [chain.by_probability(j) for j in range(1, n + 1)]
        yield written("product", *(call("mul", *pair) for pair in zip(moved, slopes, strict=True)))


def _over_paths(
    chain: Chain, scalar: Equation, unit: int | str, names: list[Expression], values: list[Expression]
) -> Iterator[Form]:
    """The product of all factors over every path, by name and by value; the recursion where there are too many."""
    layer = scalar.target.layer or 0
    n = chain.n_paths(layer)
    if n <= PATHS_SPELLED_OUT:
        every = list(chain.paths(layer, unit))
        named = call("add", *(call("mul", *names, *more) for more, _ in every))
        said = "over its one path" if n == 1 else f"over all {n} paths"
        yield Form("paths", replace(scalar, body=Map(named)), said)
        products = Map(call("add", *(call("mul", *values, *more) for _, more in every)))
        if products != scalar.body:
            yield Form("product", replace(scalar, body=products))
        return
    slope = chain.slope(layer, unit)
    factors = [*values, *([symbol(slope)] if slope else [])]
    if chain.dropout:
        factors.append(symbol(Symbol("mask", layer, ("row", unit))))

    def term(k: int | str) -> Expression:
        later = Symbol("w", layer + 1, (unit, k)), Symbol("delta", layer + 1, ("row", k))
        return call("mul", *factors, *map(symbol, later))

    said = f"recursion: its {n:,} paths are more than the {PATHS_SPELLED_OUT} that are spelled out"
    units = chain.network.sizes[layer + 1]
    if units <= PATHS_SPELLED_OUT:
        yield Form("recursion", replace(scalar, body=Map(call("add", *map(term, range(1, units + 1))))), said)
    else:
        yield Form("recursion", replace(scalar, body=Reduce("sum", ("k",), term("k")), ranges=(("k", units),)), said)


def shortened(equation: Equation, index: Index) -> Equation:
    """The equation at these indices, its sums written out unless they have more than `TERMS_SPELLED_OUT` terms."""
    sizes, body = dict(equation.ranges), equation.body
    over = (body.over,) if isinstance(body, Contract) else body.over if isinstance(body, Reduce) else ()
    most = MAXIMA_SPELLED_OUT if isinstance(body, Reduce) and body.operation == "max" else TERMS_SPELLED_OUT
    if over in ((), ("row",)) or math.prod(sizes[axis] for axis in over) <= most:
        return equation.bound(index)
    if isinstance(body, Contract):
        terms = tuple(term.bound(index) for term in body.terms)
        body = replace(body, terms=terms, bias=body.bias and body.bias.bound(index))
    return replace(equation, target=equation.target.bound(index), body=body)


def _by(gradient: Symbol) -> Symbol:
    """The quantity by which dloss/d... is taken."""
    return Symbol(gradient.of, gradient.layer, gradient.axes)


def _times(*keys: Symbol) -> Expression:
    return call("mul", *map(symbol, keys))


# --- whole layers -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MatrixProduct:
    """A product of matrices as one quantity among others. Each factor: an expression, and "", "turned" or "diagonal".

    `bracketed` where it stands inside another expression.
    """

    factors: tuple[tuple[Expression, str], ...]
    bracketed: bool = False

    def __str__(self) -> str:
        written = {"": "{}", "turned": "{}.T", "diagonal": "diag({})"}
        every = [written[how].format(_atom(e, to_text(e, methodcaller("matrix")), "()")) for e, how in self.factors]
        text = " @ ".join(every)
        return f"({text})" if self.bracketed else text

    matrix = __str__

    def latex(self) -> str:
        r"""The same as LaTeX.

        >>> print(MatrixProduct(((symbol(Symbol("w", 1, ("i", "j"))), "turned"),)).latex())
        {W^{[1]}}^{\top}
        """
        written = {"": "{}", "turned": r"{{{}}}^{{\top}}", "diagonal": r"\operatorname{{diag}}({})"}
        brackets = (r"\bigl(", r"\bigr)")  # within which TeX may break a line, as it may not within \left( and \right)
        every = [
            written[how].format(_atom(e, to_latex(e, methodcaller("matrix_latex"), r" \odot "), brackets))
            for e, how in self.factors
        ]
        text = r" \, ".join(every)
        return rf"\bigl({text}\bigr)" if self.bracketed else text

    matrix_latex = latex


def _atom(expression: Expression, text: str, brackets: Sequence[str]) -> str:
    return text if expression.op == "symbol" else f"{brackets[0]}{text}{brackets[1]}"


def matrix_forms(chain: Chain, equation: Equation) -> Iterator[Form]:
    """An equation for whole layers: what is computed, and the product through every layer that it comes to."""
    target, layer = equation.target, equation.target.layer or 0
    definition = Form("definition", equation, equation.note)

    def written(what: str, expression: Expression, note: str = "") -> Form:
        return Form(what, replace(equation, body=Map(expression)), note)

    if target.kind == "delta":
        z = chain.z(layer, "j")
        yield written("chain", symbol(derivative(LOSS, z)))
        yield definition
        if 0 < chain.network.n_layers - layer <= LAYERS_MULTIPLIED_OUT:
            yield written("product", _whole_delta(chain, layer), "back from the loss")
    elif target.kind == "dL":
        yield definition
        if chain.network.n_layers - layer <= LAYERS_MULTIPLIED_OUT:
            share, delta = symbol(SHARE), _whole_delta(chain, layer)
            factors = ((share, ""), (delta, ""))
            if target.of == "w":
                entering = symbol(chain.a(layer - 1, "i"))
                factors = ((entering, "turned"), (share, "diagonal"), (delta, ""))  # type: ignore[assignment]
            yield written("product", symbol(MatrixProduct(factors)), "back from the loss")
    elif target.by is not None and target.by.kind == "o" and target.kind == "loss" and not chain.over_classes:
        p = chain.output("p", "k")
        yield written("chain", _times(derivative(p, target.by), derivative(LOSS, p)))
        yield definition
    elif target.by is not None and target.by.kind == "z":
        slope = chain.slope(target.by.layer or 0, "j")
        if slope is not None:
            yield written("chain", symbol(slope))
        yield definition
    else:
        book = chain.textbook(equation)
        if book is not None and book != equation.body:
            yield Form("textbook", replace(equation, body=book))
        yield definition


def _whole_delta(chain: Chain, layer: int) -> Expression:
    """The deltas of a layer, back from the loss without any name in between."""
    factors = [chain.upstream("k")]
    if layer < chain.network.n_layers:
        later = symbol(Symbol("w", layer + 1, ("j", "k")))
        product_ = MatrixProduct(((_whole_delta(chain, layer + 1), ""), (later, "turned")), bracketed=True)
        factors = [symbol(product_)]
        if chain.dropout:
            factors.append(symbol(Symbol("mask", layer, ("row", "j"))))
    slope = chain.slope(layer, "j")
    return call("mul", *factors, *([symbol(slope)] if slope else []))
