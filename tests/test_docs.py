"""What the documentation states: each derivative of "The mathematics" proven by SymPy, under the page's own label."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sympy as sp

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "mathematics.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"```\{math\}\n:label: (\S+)\n(.*?)```", PAGE, flags=re.DOTALL))

PROOFS: dict[str, Callable[[], None]] = {}


def proves(*labels: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Enter a proof under the labels of the formulas that it proves."""

    def enter(proof: Callable[[], None]) -> Callable[[], None]:
        PROOFS.update(dict.fromkeys(labels, proof))
        return proof

    return enter


def equal(left: sp.Expr, right: sp.Expr) -> bool:
    """Whether two expressions are the same for all values of their symbols."""
    difference = left - right
    return sp.expand(difference) == 0 or sp.cancel(sp.together(difference)) == 0


def reals(names: str) -> tuple[sp.Symbol, ...]:
    return sp.symbols(names, real=True, seq=True)


class Graph:
    """Quantities defined by one another, so that any can be derived by any other, however deep it lies."""

    def __init__(self) -> None:
        self.definitions: dict[sp.Symbol, sp.Expr] = {}

    def define(self, name: str, expression: sp.Expr) -> sp.Symbol:
        (symbol,) = reals(name)
        self.definitions[symbol] = expression
        return symbol

    def full(self, expression: sp.Expr, keep: sp.Symbol | None = None) -> sp.Expr:
        """In terms of the inputs and parameters alone, and of `keep`."""
        put_in = {symbol: value for symbol, value in self.definitions.items() if symbol != keep}
        while expression.free_symbols & set(put_in):
            expression = expression.xreplace(put_in)
        return expression

    def derivative(self, target: sp.Expr, by: sp.Symbol) -> sp.Expr:
        return self.full(sp.diff(self.full(target, keep=by), by))

    def proven(self, target: sp.Expr, by: sp.Symbol, stated: sp.Expr) -> bool:
        return equal(self.derivative(target, by), self.full(stated))


def smooth(name: str, n: int = 1) -> list[type[sp.Function]]:
    """A function of n arguments of which nothing is known but that it has derivatives: [f, df/d1, ..., df/dn]."""
    slopes = [type(f"{name}_{k + 1}", (sp.Function,), {}) for k in range(n)]
    value = type(name, (sp.Function,), {"fdiff": lambda self, argindex=1: slopes[argindex - 1](*self.args)})
    return [value, *slopes]


# A network that stands for any: three layers, each of another size and with an activation of its own; two outputs; a
# loss of which nothing is known but that it depends on both logits.
SIZES = (2, 2, 3, 2)
LAYERS = range(1, len(SIZES))
ACTIVATION = {layer: smooth(f"f{layer}") for layer in LAYERS}
LOSS = smooth("loss", SIZES[-1])


def units(layer: int) -> range:
    return range(1, SIZES[layer] + 1)


def w(layer: int, i: int, j: int) -> sp.Symbol:
    return reals(f"w{layer}_{i}_{j}")[0]


def b(layer: int, j: int) -> sp.Symbol:
    return reals(f"b{layer}_{j}")[0]


class Pass(Graph):
    """The forward pass of one row, and the deltas as the page's recursion states them."""

    def __init__(self, row: int = 1) -> None:
        super().__init__()
        self.a = {(0, i): reals(f"x{i}_row{row}")[0] for i in units(0)}
        self.z, self.h = {}, {}
        for layer in LAYERS:
            for j in units(layer):
                total = b(layer, j) + sum(w(layer, i, j) * self.a[layer - 1, i] for i in units(layer - 1))
                self.z[layer, j] = self.define(f"z{layer}_{j}_row{row}", total)
                self.h[layer, j] = self.define(f"h{layer}_{j}_row{row}", ACTIVATION[layer][0](self.z[layer, j]))
                self.a[layer, j] = self.define(f"a{layer}_{j}_row{row}", self.mask(layer, j) * self.h[layer, j])
        logits = [self.a[LAYERS[-1], k] for k in units(-1)]
        self.loss = self.define(f"loss_row{row}", LOSS[0](*logits))
        self.loss_by_logit = {k: LOSS[k](*logits) for k in units(-1)}
        self.delta = {}
        for layer in reversed(LAYERS):
            for j in units(layer):
                arriving = self.loss_by_logit[j] if layer == LAYERS[-1] else self.arriving(layer, j)
                stated = self.slope(layer, j) * self.mask(layer, j) * arriving
                self.delta[layer, j] = self.define(f"delta{layer}_{j}_row{row}", stated)

    def mask(self, layer: int, j: int) -> sp.Expr:
        return sp.S.One  # without dropout

    def slope(self, layer: int, j: int) -> sp.Expr:
        return ACTIVATION[layer][1](self.z[layer, j])

    def arriving(self, layer: int, j: int) -> sp.Expr:
        return sum(w(layer + 1, j, k) * self.delta[layer + 1, k] for k in units(layer + 1))


@proves("sigmoid-derivative")
def sigmoid() -> None:
    (z,) = reals("z")
    a = 1 / (1 + sp.exp(-z))
    assert equal(sp.diff(a, z), sp.exp(-z) / (1 + sp.exp(-z)) ** 2)
    assert equal(sp.diff(a, z), a * (1 - a))


@proves("tanh-derivative")
def tanh() -> None:
    (z,) = reals("z")
    assert equal(sp.diff(sp.tanh(z), z), 1 - sp.tanh(z) ** 2)


@proves("relu-derivative")
def relu() -> None:
    up, down = sp.Symbol("z", positive=True), sp.Symbol("z", negative=True)
    assert [sp.diff(sp.Max(z, 0), z) for z in (up, down)] == [1, 0]


@proves("local-derivatives")
def inside_one_unit() -> None:
    net = Pass()
    for layer in LAYERS:
        for j in units(layer):
            z = net.z[layer, j]
            assert net.proven(z, b(layer, j), sp.Integer(1))
            assert net.proven(net.a[layer, j], z, net.slope(layer, j))
            for i in units(layer - 1):
                assert net.proven(z, w(layer, i, j), net.a[layer - 1, i])
                assert net.proven(z, net.a[layer - 1, i], w(layer, i, j))
                assert all(net.proven(net.z[layer, k], w(layer, i, j), sp.S.Zero) for k in units(layer) if k != j)


@proves("delta-output")
def output_delta() -> None:
    net = Pass()
    for k in units(-1):
        assert net.proven(net.loss, net.a[LAYERS[-1], k], net.loss_by_logit[k])
        assert net.proven(net.loss, net.z[LAYERS[-1], k], net.loss_by_logit[k] * net.slope(LAYERS[-1], k))


@proves("loss-by-activation", "input-gradient")
def from_a_layer_to_the_one_before() -> None:
    net = Pass()
    for layer in range(LAYERS[-1]):
        for j in units(layer):
            by_chain = sum(
                net.derivative(net.z[layer + 1, k], net.a[layer, j]) * net.derivative(net.loss, net.z[layer + 1, k])
                for k in units(layer + 1)
            )
            assert net.proven(net.loss, net.a[layer, j], by_chain)
            assert net.proven(net.loss, net.a[layer, j], net.arriving(layer, j))


@proves("delta-hidden")
def recursion() -> None:
    net = Pass()
    for layer in LAYERS[:-1]:
        for j in units(layer):
            assert net.proven(net.loss, net.z[layer, j], net.slope(layer, j) * net.arriving(layer, j))


@proves("row-gradients")
def to_the_parameters(net: Pass | None = None) -> None:
    net = net or Pass()
    for layer in LAYERS:
        for j in units(layer):
            assert net.proven(net.loss, b(layer, j), net.delta[layer, j])
            for i in units(layer - 1):
                assert net.proven(net.loss, w(layer, i, j), net.a[layer - 1, i] * net.delta[layer, j])


class MaskedPass(Pass):
    """With dropout of the hidden layers."""

    def mask(self, layer: int, j: int) -> sp.Expr:
        return reals(f"mask{layer}_{j}")[0] if layer < LAYERS[-1] else sp.S.One


@proves("dropout-forward", "dropout-delta")
def dropout() -> None:
    (q,) = reals("q")
    assert equal(q * 0 + (1 - q) * (1 / (1 - q)), sp.S.One)
    net = MaskedPass()
    for layer in LAYERS[:-1]:
        for j in units(layer):
            by_a, mask = net.derivative(net.loss, net.a[layer, j]), net.mask(layer, j)
            assert net.proven(net.loss, net.h[layer, j], mask * by_a)
            assert net.proven(net.loss, net.z[layer, j], net.slope(layer, j) * mask * net.arriving(layer, j))
    to_the_parameters(net)


class Batch(Graph):
    """Two rows with weights of their own, and both penalties."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = [Pass(1), Pass(2)]
        for row in self.rows:
            self.definitions |= row.definitions
        u = reals("u1 u2")
        self.share = [weight / sum(u) for weight in u]
        self.l1, self.l2 = reals("lambda1 lambda2")
        weights = [w(layer, i, j) for layer in LAYERS for i in units(layer - 1) for j in units(layer)]
        batch_loss = sum(s * row.loss for s, row in zip(self.share, self.rows, strict=True))
        penalty = self.l1 * sum(map(sp.Abs, weights)) + self.l2 / 2 * sum(weight**2 for weight in weights)
        self.objective = batch_loss + penalty


@proves("objective-gradients")
def over_the_rows() -> None:
    batch = Batch()
    pairs = list(zip(batch.share, batch.rows, strict=True))
    for layer in LAYERS:
        for j in units(layer):
            assert batch.proven(batch.objective, b(layer, j), sum(s * row.delta[layer, j] for s, row in pairs))
            for i in units(layer - 1):
                of_loss = sum(s * row.a[layer - 1, i] * row.delta[layer, j] for s, row in pairs)
                weight = w(layer, i, j)
                stated = of_loss + batch.l1 * sp.sign(weight) + batch.l2 * weight
                assert batch.proven(batch.objective, weight, stated)


@proves("matrix-gradients")
def as_matrices() -> None:
    batch = Batch()

    def stacked(quantity: str, layer: int) -> sp.Matrix:
        return sp.Matrix([[getattr(row, quantity)[layer, j] for j in units(layer)] for row in batch.rows])

    share = sp.Matrix(batch.share)
    delta = stacked("delta", LAYERS[-1])
    for layer in reversed(LAYERS):
        W = sp.Matrix(SIZES[layer - 1], SIZES[layer], lambda i, j, layer=layer: w(layer, i + 1, j + 1))
        if layer < LAYERS[-1]:
            after = sp.Matrix(SIZES[layer], SIZES[layer + 1], lambda j, k, layer=layer: w(layer + 1, j + 1, k + 1))
            slopes = stacked("z", layer).applyfunc(ACTIVATION[layer][1])
            delta = (delta * after.T).multiply_elementwise(slopes)
        by_W = stacked("a", layer - 1).T * sp.diag(*share) * delta + batch.l1 * W.applyfunc(sp.sign) + batch.l2 * W
        by_b = share.T * delta
        for j in units(layer):
            assert batch.proven(batch.objective, b(layer, j), by_b[0, j - 1])
            for i in units(layer - 1):
                assert batch.proven(batch.objective, w(layer, i, j), by_W[i - 1, j - 1])


def cross_entropy_of(p: sp.Expr, y: sp.Expr) -> sp.Expr:
    return -(y * sp.log(p) + (1 - y) * sp.log(1 - p))


@proves("binary-cross-entropy-by-p", "binary-cross-entropy-by-o")
def binary_cross_entropy() -> None:
    o, p, y = reals("o p y")
    by_p = sp.diff(cross_entropy_of(p, y), p)
    assert equal(by_p, -y / p + (1 - y) / (1 - p))
    assert equal(by_p, (p - y) / (p * (1 - p)))
    sigma = 1 / (1 + sp.exp(-o))
    assert equal(p * (1 - p) * by_p, p - y)
    assert equal(sp.diff(sigma, o) * by_p.subs(p, sigma), sigma - y)
    assert equal(sp.diff(cross_entropy_of(sigma, y), o), sigma - y)


@proves("binary-cross-entropy-logit")
def binary_cross_entropy_from_the_logit() -> None:
    e, (y,) = sp.Symbol("e", positive=True), reals("y")  # e is exp(o): every form is made of logarithms of it
    o, p = sp.log(e), e / (1 + e)
    assert equal(1 - p, (1 / e) / (1 + 1 / e))  # 1 - sigma(o) = sigma(-o)

    def parted(form: sp.Expr) -> sp.Expr:
        return sp.expand(sp.expand_log(form.replace(sp.log, lambda of: sp.log(sp.factor(of))), force=True))

    textbook = parted(cross_entropy_of(p, y))
    assert parted(y * sp.log(1 + 1 / e) + (1 - y) * sp.log(1 + e)) == textbook
    assert parted(sp.log(1 + e) - y * o) == textbook
    assert parted(o - y * o + sp.log(1 + 1 / e)) == textbook  # o > 0: max(o, 0) = o, exp(-|o|) = 1 / e
    assert parted(0 - y * o + sp.log(1 + e)) == textbook  # o <= 0: max(o, 0) = 0, exp(-|o|) = e


CLASSES = range(3)
O3 = reals("o1 o2 o3")
Y3 = reals("y1 y2 y3")
P3 = [sp.exp(o) / sum(map(sp.exp, O3)) for o in O3]


@proves("softmax-own", "softmax-cross", "softmax-jacobian")
def softmax() -> None:
    total = sum(map(sp.exp, O3))
    for k in CLASSES:
        for j in CLASSES:
            jacobian = sp.diff(P3[k], O3[j])
            by_quotient = (int(k == j) * sp.exp(O3[j]) * total - sp.exp(O3[k]) * sp.exp(O3[j])) / total**2
            assert equal(jacobian, by_quotient)
            assert equal(jacobian, P3[k] * (int(k == j) - P3[j]))
            assert equal(jacobian, P3[j] * (1 - P3[j]) if k == j else -P3[k] * P3[j])


@proves("cross-entropy-by-p", "cross-entropy-by-o")
def cross_entropy() -> None:
    p = reals("p1 p2 p3")
    loss = -sum(y * sp.log(q) for y, q in zip(Y3, p, strict=True))
    by_p = [sp.diff(loss, q) for q in p]
    assert by_p == [-y / q for y, q in zip(Y3, p, strict=True)]
    summing_to_one = {Y3[2]: 1 - Y3[0] - Y3[1]}
    for j in CLASSES:
        others = [k for k in CLASSES if k != j]
        direct = sp.diff(loss.subs(dict(zip(p, P3, strict=True))), O3[j])
        chain = sum(sp.diff(P3[k], O3[j]) * by_p[k].subs(p[k], P3[k]) for k in CLASSES)
        own = -Y3[j] / P3[j] * P3[j] * (1 - P3[j])
        cross = sum(Y3[k] / P3[k] * P3[k] * P3[j] for k in others)
        for line in (
            chain,
            own + cross,
            -Y3[j] + Y3[j] * P3[j] + P3[j] * sum(Y3[k] for k in others),
            P3[j] * sum(Y3) - Y3[j],
        ):
            assert equal(direct, line)
        assert equal(direct.subs(summing_to_one), (P3[j] - Y3[j]).subs(summing_to_one))
        assert not equal(direct, P3[j] - Y3[j])  # the last step does need it


@proves("cross-entropy-logit")
def cross_entropy_from_the_logits() -> None:
    (m,) = reals("m")  # true for any constant, so for the largest logit
    total = sum(sp.exp(o - m) for o in O3)
    for o, p in zip(O3, P3, strict=True):
        assert equal(sp.exp(o - m) / total, p)
        assert equal(sp.exp(-(sp.log(total) - (o - m))), p)  # so each term is -log p


@proves("mean-squared-error", "mean-absolute-error", "huber", "quantile")
def regression() -> None:
    (y,) = reals("y")
    d = sp.Symbol("d", positive=True)  # a distance: o lies d above the target, or d below
    c = sp.Symbol("c", positive=True)
    o = sp.Symbol("o", real=True)
    assert equal(sp.diff((o - y) ** 2, o), 2 * (o - y))
    for side in (1, -1):
        # With o = y + side * d the derivative by o is side times the derivative by d.
        assert side * sp.diff(sp.Abs(side * d), d) == sp.sign(side * d)
        inside, outside = d**2 / 2, c * (sp.Abs(side * d) - c / 2)
        assert side * sp.diff(inside, d) == side * d  # max(min(o - y, c), -c) within c of the target
        assert side * sp.diff(outside, d) == side * c  # and beyond
        assert equal(inside.subs(d, c), outside.subs(d, c))
        assert equal(sp.diff(inside, d).subs(d, c), sp.diff(outside, d))
    share = sp.Symbol("c", positive=True) / (1 + sp.Symbol("c", positive=True))  # any c between 0 and 1
    for side, slope in ((-1, -share), (1, 1 - share)):
        branches = [share * (-side * d), (share - 1) * (-side * d)]
        larger = branches[0] if side == -1 else branches[1]
        assert all(sp.simplify(larger - branch).is_nonnegative for branch in branches)
        assert equal(side * sp.diff(larger, d), slope)


@proves("poisson")
def counts() -> None:
    o, y = reals("o y")
    p = sp.exp(o)
    assert equal(p - y * sp.log(p), sp.exp(o) - y * o)
    assert equal(sp.diff(p - y * o, o), p - y)


@proves("adam-correction")
def adam() -> None:
    (beta,) = reals("beta")
    m = sp.S.Zero
    for t in range(1, 6):
        gradients = reals(" ".join(f"g{i}" for i in range(1, t + 1)))
        m = beta * m + (1 - beta) * gradients[-1]
        assert equal(m, (1 - beta) * sum(beta ** (t - i) * g for i, g in enumerate(gradients, start=1)))
        assert equal(m.subs(dict.fromkeys(gradients, 1)), 1 - beta**t)


@proves("difference-quotient")
def difference_quotient() -> None:
    h, *c = reals("h c0 c1 c2 c3 c4 c5")

    def objective(at: sp.Expr) -> sp.Expr:  # Taylor's series of any J around w, its derivatives c
        return sum(slope * at**k / math.factorial(k) for k, slope in enumerate(c))

    rest = sp.expand((objective(h) - objective(-h)) / (2 * h) - (c[1] + h**2 / 6 * c[3]))
    assert sp.Poly(rest, h).monoms()[-1] == (4,)


# The notebook's own network: its formulas are read from the page, in this page's names and in the notebook's.

RELU = smooth("relu")
NOTEBOOK_WEIGHTS = {"11": "w1_1_1", "21": "w1_2_1", "31": "w1_1_2", "41": "w1_2_2", "12": "w2_1_1", "22": "w2_2_1"}


def notebook() -> tuple[Graph, dict[str, object]]:
    """The 2-2-1 network and what its names mean."""
    net = Graph()
    names = "x_1 x_2 y w1_1_1 w1_2_1 w1_1_2 w1_2_2 b1_1 b1_2 w2_1_1 w2_2_1 b2_1"
    known: dict[str, object] = dict(zip(names.split(), reals(names), strict=True))
    x1, x2, y, w11, w12, w13, w14, b11, b12, w21, w22, b2 = known.values()
    z1 = known["z1_1"] = net.define("z1_1", w11 * x1 + w12 * x2 + b11)
    z2 = known["z1_2"] = net.define("z1_2", w13 * x1 + w14 * x2 + b12)
    a1 = known["a1_1"] = net.define("a1_1", RELU[0](z1))
    a2 = known["a1_2"] = net.define("a1_2", RELU[0](z2))
    z = known["z2_1"] = net.define("z2_1", w21 * a1 + w22 * a2 + b2)
    p = known["p"] = net.define("p", 1 / (1 + sp.exp(-z)))
    known["ell"] = net.define("ell", cross_entropy_of(p, y))
    known |= {"relu": RELU[0], "relu_prime": RELU[1], "sigma": lambda o: 1 / (1 + sp.exp(-o)), "D": net.derivative}
    return net, known


def read(tex: str, known: dict[str, object]) -> sp.Expr:
    """The value of a formula of the page, in the vocabulary of the sections on the notebook's network."""
    tex = re.sub(r"([wzab])\^\{\[(\d)\]\}_(\d|\{\d+\})", lambda m: f"{m[1]}{m[2]}_" + "_".join(m[3].strip("{}")), tex)
    tex = re.sub(r"w_(\d)\^\{\[(\d)\]\}", lambda m: NOTEBOOK_WEIGHTS[m[1] + m[2]], tex)
    tex = re.sub(r"([zab])_(\d)\^\{\[(\d)\]\}", r"\1\3_\2", tex)
    tex = tex.replace("a^{[2]}", "p").replace("z^{[2]}", "z2_1").replace("b^{[2]}", "b2_1").replace(r"\ell", "ell")
    tex = re.sub(r"\\frac\{\\partial (\w+)\}\{\\partial (\w+)\}", r"D(\1, \2)", tex)
    tex = re.sub(r"\\frac\{([^{}]*)\}\{([^{}]*)\}", r"((\1) / (\2))", tex)
    tex = tex.replace(r"\operatorname{relu}'", "relu_prime").replace(r"\operatorname{relu}", "relu")
    tex = tex.replace(r"\sigma", "sigma").replace(r"\times", "*").replace(r"\,", "*")
    return sp.sympify(eval(tex, {}, known))


def lines_of(block: str) -> list[tuple[str, str, str]]:
    """(written, right or nothing; left side; right side) of every equation of an aligned block."""
    text = re.sub(r"\\(begin|end)\{aligned\}", "", block)
    found = []
    for line in re.split(r"\\\\|, &|,\n|\.\n", text):
        if "=" in line:
            kind = re.match(r"\s*\\text\{(\w+):\} \\quad", line)
            left, right = line[kind.end() if kind else 0 :].replace("&", "").rstrip(" .,\n").split("=")
            found.append((kind[1] if kind else "", left.strip(), right.strip()))
    return found


def holds(left: str, right: str) -> bool:
    net, known = notebook()
    return equal(net.full(read(left, known)), net.full(read(right, known)))


def differs(left: str, right: str) -> bool:
    """Differ at a point; so they differ."""
    net, known = notebook()
    difference = net.full(read(left, known)) - net.full(read(right, known))
    difference = difference.replace(RELU[1], lambda z: sp.Integer(1)).replace(RELU[0], lambda z: z)
    point = {
        symbol: sp.Rational((-1) ** n * n, 20)
        for n, symbol in enumerate(sorted(difference.free_symbols, key=str), start=1)
    }
    return abs(float(difference.subs(point))) > 1e-3


@proves("notebook-forward", "notebook-deltas", "notebook-gradients")
def the_notebooks_network() -> None:
    lines = [line for label in ("forward", "deltas", "gradients") for line in lines_of(BLOCKS[f"notebook-{label}"])]
    assert len(lines) == 6 + 3 + 9
    derived = [left for _, left, _ in lines if left.startswith(r"\frac{\partial \ell}")]
    assert len(set(derived)) == 3 + 9
    for _, left, right in lines:
        assert holds(left, right), left


SLIPS = ("slip-output-layer", "slip-sigmoid", "slip-unit-2", "slip-w3", "slip-w4", "slip-b2")


@proves(*SLIPS)
def the_slips() -> None:
    lines = [line for label in SLIPS for line in lines_of(BLOCKS[label])]
    assert [kind for kind, _, _ in lines] == ["written", "right"] * 8
    for kind, left, right in lines:
        assert holds(left, right) if kind == "right" else differs(left, right), (kind, left)


@proves("slip-bracket")
def the_missing_bracket() -> None:
    y, a = reals("y1 y2"), reals("a1 a2")
    mean = sum(cross_entropy_of(p, t) for p, t in zip(a, y, strict=True)) / 2
    first = sum(t * sp.log(p) for p, t in zip(a, y, strict=True))
    second = sum((1 - t) * sp.log(1 - p) for p, t in zip(a, y, strict=True))
    assert equal(mean, -(first + second) / 2)
    assert not equal(mean, -first / 2 + second)


@proves("slip-average")
def the_average() -> None:
    (weight,) = reals("w")
    losses = [smooth(f"loss{i}") for i in range(3)]
    cost = sum(value(weight) for value, _ in losses) / 3
    assert equal(sp.diff(cost, weight), sum(slope(weight) for _, slope in losses) / 3)


@pytest.mark.parametrize("proof", dict.fromkeys(PROOFS.values()), ids=lambda proof: proof.__name__)
def test_the_formula_is_proven(proof):
    proof()


def test_no_derivative_goes_unproven():
    assert "$$" not in PAGE, "a display without a label"
    assert PAGE.count("```{math}") == len(BLOCKS), "a display without a label, or two with one"
    stated = {label for label, block in BLOCKS.items() if r"\partial" in block or "'(" in block}
    assert stated <= set(PROOFS)
    assert set(PROOFS) <= set(BLOCKS), "a proof of no formula"


def test_the_provers_can_fail():
    net = Pass()
    assert not net.proven(net.loss, w(1, 1, 1), net.a[0, 2] * net.delta[1, 1])
    assert not net.proven(net.loss, b(1, 1), net.delta[1, 2])
    left, right = lines_of(BLOCKS["notebook-gradients"])[1][1:]
    assert holds(left, right)
    for wrong in (right.replace("x_2", "x_1"), right.replace("_{11}", "_{21}"), right.replace("p - y", "y - p")):
        assert not holds(left, wrong)
        assert differs(left, wrong)
    assert not differs(left, right)


def test_the_figures_of_the_page():
    def sigmoid(o: float) -> float:
        return float(1 / (1 + np.exp(np.float64(-o))))

    assert sigmoid(36.735) < 1 == sigmoid(36.74)
    assert f"{sigmoid(0.5):.3f}" == "0.622"
    assert f"{1538.06 / 455:.2f}" == "3.38"
    assert f"{35.2690970777859 / 114:.3f}" == "0.309"
    assert (f"{74 / 114:.3f}", f"{357 / 569:.3f}") == ("0.649", "0.627")


# The reference

NOT_IN_THE_REFERENCE = {
    "glassnet": "its names are documented in the modules that they come from",
    "glassnet.__main__": "one line that calls the command",
    "glassnet.cli": "`glassnet --help` is its reference",
}


def test_the_reference_lists_every_module():
    listed = re.findall(r"^   (glassnet[\w.]*)$", (ROOT / "docs" / "reference.md").read_text("utf-8"), flags=re.M)
    source = ROOT / "src"
    modules = {
        ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__")
        for path in source.glob("glassnet/**/*.py")
        if path.stat().st_size
    }
    assert len(listed) == len(set(listed))
    assert set(listed) == {name for name in modules if not name.startswith("glassnet.cli.")} - set(NOT_IN_THE_REFERENCE)
