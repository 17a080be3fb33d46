"""Every equation of a model, derived: what is printed is right, complete, and printed as it should be."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import tracemalloc
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import glassnet as gn
from glassnet.activations import ACTIVATIONS
from glassnet.derivations.chains import PATHS_SPELLED_OUT, Chain, Form, forms
from glassnet.derivations.derived import Derivation, derive
from glassnet.derivations.latex import printable
from glassnet.derivations.lines import Line
from glassnet.derivations.text import broken, columns
from glassnet.equations import Map, Reduce, Symbol
from glassnet.errors import UsageError
from glassnet.expressions import FUNCTIONS, call, evaluate, parse, symbol, symbols, to_sympy
from glassnet.losses import LOSSES
from glassnet.network import Network, initialize
from glassnet.optimizers import LBFGS, SGD, SGDW, Adam, AdamW, Cosine, OneCycle, RMSprop, optimizer_of

RNG = np.random.default_rng(8)
COLUMNS = {"a": RNG.normal(50, 9, 60), "b <script> & $_": RNG.normal(-3, 0.1, 60)}
LABELS = np.where(COLUMNS["a"] + 100 * COLUMNS["b <script> & $_"] > -250, "yes", "no")
HOSTILE = [
    "a\\b{c}", "50%_of $x & #1 ^2 ~", "<script>alert(1)</script>", "</math>&amp;", "line\nbreak\ttab",
    "\x1b[31mred\x00", "--|``''", "גיל בשנים", "عمر", "年龄", "größe Ångström ą € þ",
    "\U0001f600\U0001f469\u200d\U0001f467",
    "e\u0301\u202eexe", "=cmd()", "x1", "\\end{document}", "n" * 200,
]  # fmt: skip
PLAIN = Network((2, 2, 1))


@pytest.fixture(scope="module")
def model() -> gn.Model:
    table = {**COLUMNS, "ill": LABELS.tolist()}
    return gn.fit(table, "ill", epochs=20, starts=2, hidden=(3,), activation="tanh").model


@pytest.fixture(scope="module")
def hostile() -> gn.Model:
    rng = np.random.default_rng(3)
    table: dict[str, Any] = {name: rng.normal(size=40) for name in HOSTILE}
    table["word |<i>\\"] = [f"w{i % 3} \\%_<b>|" for i in range(40)]
    table["y ﷺ <&\\"] = ["<no>" if i % 2 else "\\yes{" for i in range(40)]
    return gn.fit(table, "y ﷺ <&\\", epochs=1, starts=1).model


def lines_of(derivation: Derivation, form: str = "scalar") -> dict[str, dict[str, str]]:
    """The text of every form by its target and by what it is; of two chains the last."""
    return {line.target: dict(zip(line.whats, line.rights, strict=True)) for line in derivation.lines(form)}


# --- as the notebook writes them -------------------------------------------------------------------------------------

# The notebook's nine, in its order of factors and with its slips corrected: relu' and w belong to the unit at which the
# weight ends.
NINE = {
    "w2_1_1": "a1_1 * (p - y)",
    "w2_2_1": "a1_2 * (p - y)",
    "b2_1": "p - y",
    "w1_1_1": "x1 * relu'(z1_1) * w2_1_1 * (p - y)",
    "w1_2_1": "x2 * relu'(z1_1) * w2_1_1 * (p - y)",
    "b1_1": "relu'(z1_1) * w2_1_1 * (p - y)",
    "w1_1_2": "x1 * relu'(z1_2) * w2_2_1 * (p - y)",
    "w1_2_2": "x2 * relu'(z1_2) * w2_2_1 * (p - y)",
    "b1_2": "relu'(z1_2) * w2_2_1 * (p - y)",
}


class relu(sp.Function):  # noqa: N801  SymPy prints a function by its class
    """A function of which nothing is known but the name of its derivative."""

    def fdiff(self, argindex: int = 1) -> Any:
        return relu_slope(self.args[0])


class relu_slope(sp.Function):  # noqa: N801
    """relu'."""


def textbook_loss() -> tuple[Any, dict[str, Any]]:
    """The loss of the notebook's network by its nine parameters, its two inputs and y, written here by hand."""
    s = {name: sp.Symbol(name, real=True) for name in [*NINE, "x1", "x2", "y"]}
    for j in (1, 2):
        s[f"z1_{j}"] = s[f"b1_{j}"] + s[f"w1_1_{j}"] * s["x1"] + s[f"w1_2_{j}"] * s["x2"]
        s[f"a1_{j}"] = relu(s[f"z1_{j}"])
    s["p"] = 1 / (1 + sp.exp(-(s["b2_1"] + s["w2_1_1"] * s["a1_1"] + s["w2_2_1"] * s["a1_2"])))
    return -(s["y"] * sp.log(s["p"]) + (1 - s["y"]) * sp.log(1 - s["p"])), s


def in_sympy(text: str, s: dict[str, Any]) -> Any:
    """A printed product; relu'(z) is the derivative that SymPy knows by another name."""
    plain = re.sub(r"relu'\((\w+)\)", r"slope_\1", text)
    named = {**s, **{f"slope_z1_{j}": relu_slope(s[f"z1_{j}"]) for j in (1, 2)}}
    return to_sympy(parse(plain), named.__getitem__)


def is_derivative(text: str, parameter: str) -> bool:
    loss, s = textbook_loss()
    return sp.simplify(sp.diff(loss, s[parameter]) - in_sympy(text, s)) == 0


@pytest.mark.parametrize("parameter", NINE)
def test_the_nine_gradients_as_the_notebook_writes_them(parameter: str) -> None:
    line = lines_of(derive(PLAIN))[f"dloss/d{parameter}"]
    assert line.get("product", line["cached"]) == NINE[parameter]
    assert is_derivative(NINE[parameter], parameter)


def test_the_notebooks_slips_are_none_of_the_nine() -> None:
    assert not is_derivative("x2 * relu'(z1_1) * w2_1_1 * (p - y)", "w1_2_2")
    assert not is_derivative("relu'(z1_1) * w2_1_1 * (p - y)", "b1_2")


def test_every_factor_has_its_name() -> None:
    lines = lines_of(derive(PLAIN))
    assert lines["dloss/dw1_1_2"] == {
        "chain": "dz1_2/dw1_1_2 * dloss/dz1_2",
        "cached": "x1 * delta1_2",
        "paths": "dz1_2/dw1_1_2 * da1_2/dz1_2 * dz2_1/da1_2 * do/dz2_1 * dp/do * dloss/dp",
        "product": NINE["w1_1_2"],
    }
    assert lines["delta2_1"] == {"chain": "do/dz2_1 * dloss/do", "definition": "p - y"}
    assert lines["dloss/do"]["product"] == "p * (1 - p) * ((p - y) / (p * (1 - p)))"
    assert lines["loss"]["textbook"] == "-(y * log(p) + (1 - y) * log(1 - p))"
    assert lines["p"]["textbook"] == "1 / (1 + exp(-o))"


# --- every form is the same number -----------------------------------------------------------------------------------


def values_of(derivation: Derivation, parameters: Any, x: Any, y: Any, masks: Any) -> dict[Symbol, float]:
    """All quantities of a row, by the definitions as they come; parameters, inputs, targets and masks are given."""
    network = derivation.network
    chain = Chain(network, derivation.dropout)
    values: dict[Symbol, float] = {Symbol("x", None, ("row", i)): float(v) for i, v in enumerate(x, start=1)}
    values |= {chain.output("y", k): float(v) for k, v in enumerate(y, start=1)}
    for layer in range(1, network.n_layers + 1):
        for index, v in np.ndenumerate(parameters.weights[layer - 1]):
            values[Symbol("w", layer, tuple(n + 1 for n in index))] = float(v)
        for j, v in enumerate(parameters.biases[layer - 1], start=1):
            values[Symbol("b", layer, (j,))] = float(v)
        if masks is not None and layer < network.n_layers:
            for j, v in enumerate(masks[layer - 1], start=1):
                values[Symbol("mask", layer, ("row", j))] = float(v)
    for equation in derivation:
        if equation.stage in ("forward", "loss", "backward") and equation.target.kind not in ("L", "U", "share", "dL"):
            for scalar in equation.scalars():
                if scalar.target.kind == "z" and scalar.target.by:
                    pass  # one line for all units, which `value_of` knows from the sum itself
                elif scalar.target.open_axes:  # softmax's dp_j/do_k, whose indices stay open
                    n = network.n_outputs
                    for j, k in np.ndindex(n, n):
                        p, q = (values[chain.output("p", index + 1)] for index in (j, k))
                        values[scalar.target.bound({"j": j + 1, "k": k + 1})] = p * ((j == k) - q)
                else:
                    assert isinstance(scalar.body, Map)
                    values[scalar.target] = evaluate(scalar.body.expression, {k: values[k] for k in keys(scalar.body)})
    return values


def keys(body: Any) -> list[Symbol]:
    return [key for key in symbols(body.expression) if isinstance(key, Symbol)]


def value_of(key: Symbol, values: dict[Symbol, float]) -> float:
    """A factor's number: z is linear in what enters it; dloss/dz is delta, and so on."""
    if key in values or key.by is None:
        return values[key]
    if key.kind == "slope":
        of = [known for known in values if known.by == key.by and known.kind in "aho"]
        return values[of[0]]
    if key.kind == "loss":
        if key.by.kind == "z":
            return values[Symbol("delta", key.by.layer, key.by.axes)]
        return values[Symbol("dloss", key.by.layer, key.by.axes, key.by.kind)]
    assert key.kind == "z"
    unit = key.axes[-1]
    match key.by.kind:
        case "b":
            return float(key.by.axes[-1] == unit)
        case "w":
            kind, layer = ("x", None) if key.layer == 1 else ("a", (key.layer or 0) - 1)
            return values[Symbol(kind, layer, ("row", key.by.axes[0]))] * (key.by.axes[-1] == unit)
        case _:
            return values[Symbol("w", key.layer, (key.by.axes[-1], unit))]


def assert_same_number(form: Form, expected: float, values: dict[Symbol, float]) -> None:
    body = form.equation.body
    if isinstance(body, Reduce):
        (axis,) = body.over
        sizes = dict(form.equation.ranges)
        index: list[dict[str, int]] = [{axis: n} for n in range(1, sizes[axis] + 1)]
    else:
        index = [{}]
    found = 0.0
    for at in index:
        named = {key: value_of(key.bound(at), values) for key in keys(body)}
        found += evaluate(body.expression, named)  # type: ignore[union-attr]
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12), (form.what, str(form.equation))


def targets(network: Network, rng: np.random.Generator) -> Any:
    kind, n = network.loss_row.targets, network.n_outputs
    if kind == "classes":
        return np.eye(n)[rng.integers(n)]
    return rng.uniform(0, 1, n) if kind in ("unit", "nonnegative") else rng.normal(size=n)


def check_all_forms(network: Network, seed: int, dropout: bool) -> int:
    rng = np.random.default_rng(seed)
    parameters = initialize(network, seed, "standard_normal")
    x, y = rng.normal(size=network.n_features), targets(network, rng)
    masks = [rng.choice([0.0, 2.0], size=n) for n in network.sizes[1:-1]] if dropout else None
    derivation = derive(network, dropout=0.5 if dropout else None)
    values = values_of(derivation, parameters, x, y, masks)
    chain, n_forms = Chain(network, dropout), 0
    for equation in derivation:
        if equation.stage != "backward" or equation.target.kind == "dL":
            continue
        for at in equation.indices():
            for form in forms(chain, equation, at):
                if not form.equation.target.open_axes:
                    assert_same_number(form, values[form.equation.target], values)
                    n_forms += 1
    trace = gn.backward(network, parameters, [x], [y], masks=None if masks is None else [m[np.newaxis] for m in masks])
    for name, expected in zip(network.parameter_names(), trace.gradient, strict=True):
        kind, layer, *index = re.findall(r"[wb]|\d+", name)
        found = values[Symbol("dloss", int(layer), tuple(map(int, index)), kind)]
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-12), name
    return n_forms


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", LOSSES)
def test_all_forms_are_the_same_number(activation: str, loss: str) -> None:
    for dropout in (False, True):
        assert check_all_forms(Network((2, 2, 3), activation, loss), 5, dropout) > 50


@settings(max_examples=25)
@given(
    st.lists(st.integers(1, 4), min_size=2, max_size=5),
    st.sampled_from(["tanh", "relu", "softplus", "selu"]),
    st.sampled_from(sorted(LOSSES)),
    st.booleans(),
    st.integers(0, 10_000),
)
def test_all_forms_for_any_shape(sizes: list[int], activation: str, loss: str, dropout: bool, seed: int) -> None:
    if LOSSES[loss].sums_over_outputs:
        sizes = [*sizes[:-1], sizes[-1] + 1]
    check_all_forms(Network(tuple(sizes), activation, loss), seed, dropout and len(sizes) > 2)


def test_an_output_with_an_activation_of_its_own() -> None:
    check_all_forms(Network((2, 3, 2), ("tanh", "sigmoid"), "mean_squared_error"), 1, False)
    line = lines_of(derive(Network((1, 1), ("tanh",), "mean_squared_error")))["dloss/dw1_1_1"]
    assert line["product"] == "x1 * tanh'(z1_1) * (2 * (o - y))"


def test_the_comparison_of_forms_can_fail() -> None:
    equation = derive(PLAIN)["delta1"].scalar(j=1)
    key = Symbol("w", 1, (1, 1))
    form = Form("product", type(equation)(equation.target, Map(symbol(key)), "backward"))
    assert_same_number(form, 0.5, {key: 0.5})
    with pytest.raises(AssertionError):
        assert_same_number(form, 0.5, {key: 0.5 + 1e-8})


@pytest.mark.parametrize("name", LOSSES)
def test_a_losss_derivative_by_the_probability_is_sympys(name: str) -> None:
    row = LOSSES[name]
    p, y, c = sp.symbols("p y c", real=True)
    named = {"p": p, "y": y, "c": c}.__getitem__
    stated, textbook = to_sympy(row.by_probability, named), to_sympy(row.textbook, named)
    derivative = sp.diff(textbook, p)
    for at in ((0.3, 0.8, 0.9), (0.9, 0.2, 0.9), (0.5, 7, 0.25), (6, 0.5, 0.25)):
        if row.targets in ("unit", "classes") and max(at[:2]) > 1:
            continue
        put_in = dict(zip((p, y, c), map(sp.Rational, map(str, at)), strict=True))
        assert abs((stated - derivative).subs(put_in).doit().evalf(30)) < 1e-25, at


# --- how many paths ---------------------------------------------------------------------------------------------------


def test_as_many_terms_as_paths() -> None:
    for sizes in ((2, 3, 1), (2, 2, 3, 2), (2, 3, 2, 2)):
        network = Network(sizes, "tanh", "mean_squared_error")
        n = Chain(network).n_paths(1)
        text = lines_of(derive(network))["dloss/dw1_1_1"]["paths"]
        assert n == math.prod(sizes[2:]) == text.count(" + ") + 1


def test_too_many_paths_are_counted_and_the_recursion_stands_for_them() -> None:
    network = Network((2, 2, 7, 2), "tanh", "mean_squared_error")
    assert Chain(network).n_paths(1) == 14 > PATHS_SPELLED_OUT
    (line,) = [line for line in derive(network).lines() if line.target == "dloss/dw1_2_1"]
    assert "product" not in line.whats
    at = line.whats.index("recursion")
    assert line.rights[at].startswith("x2 * tanh'(z1_1) * w2_1_1 * delta2_1 + x2 * tanh'(z1_1) * w2_1_2 * delta2_2 + ")
    assert line.notes[at] == "recursion: its 14 paths are more than the 12 that are spelled out"
    wide = lines_of(derive(Network((2, 2, 20, 1), "relu")))["delta1_2"]["recursion"]
    assert wide == "sum over k of relu'(z1_2) * w2_2_k * delta2_k"


def test_thousands_of_units_take_no_memory() -> None:
    derivation = derive(Network((3000, 2000, 1000, 10), loss="cross_entropy"), Adam())
    assert derivation.n_lines > 50_000_000
    tracemalloc.start()
    try:
        seen = sum(len(line) for line in islice(derivation.text_lines(), 6000))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert seen > 3000 * 100
    assert peak < 30e6


def test_sums_without_end_keep_their_sign() -> None:
    lines = lines_of(derive(Network((20_000, 1))).stage("forward"))
    assert lines["z1_1"]["definition"] == "b1_1 + sum over i of w1_i_1 * x_i"
    wide = lines_of(derive(Network((1, 2000), loss="cross_entropy")).stage("forward"))
    assert wide["m"]["definition"] == "max over k of o_k"


# --- as it was trained -----------------------------------------------------------------------------------------------


OPTIMIZERS = [
    SGD(0.2),
    SGD(Cosine(0.3), 0.9, True),
    Adam(),
    AdamW(OneCycle(0.1)),
    RMSprop(),
    LBFGS(history=7),
    SGDW(0.2),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_model_has_the_updates_that_trained_it(optimizer: Any) -> None:
    table = {"dose": [0.0, 1.0, 2.0, 3.0], "ill": ["no", "no", "yes", "yes"]}
    batch = None if isinstance(optimizer, LBFGS) else 3
    fitted = gn.fit(
        table, "ill", hidden=(), epochs=5, starts=1, test_size=None, optimizer=optimizer, l2=0.25, batch_size=batch
    )
    derivation = derive(fitted.model)
    assert derivation.optimizer == optimizer
    assert derivation.l2 == 0.25
    text = derivation.stage("update").text()
    if isinstance(optimizer, LBFGS):
        assert "w1_1_1 <- w1_1_1 + alpha * d[w1_1_1]" in text
        assert "for each of the last 7 pairs" in text
    else:
        assert "dJ/dw1_1_1" in text
        state = [line for line in derivation.lines() if "starts at 0" in line.notes]
        assert {line.target.partition("[")[0] for line in state} == set(optimizer.state_names)
    if isinstance(optimizer, SGD) and not optimizer.momentum:
        assert "learning_rate <- 0.2" in text
        assert not re.search(r"\bt <-", text)
    if not isinstance(optimizer, LBFGS) and not isinstance(optimizer.learning_rate, float):
        assert "t <- t + 1" in text
        assert " / 10" in text  # 5 epochs of 2 batches
        assert "n_updates" not in text
    assert derive(fitted.model, Adam(0.5), l2=0).optimizer == Adam(0.5)
    assert not derive(fitted.model, l2=0).stage("penalty").items


def test_a_run_is_derived_as_it_was_trained() -> None:
    X, y = RNG.normal(size=(8, 2)), np.arange(8) % 2
    run = gn.train(Network((2, 3, 1)), X, y, optimizer=SGD(0.1), epochs=1, l1=0.5, dropout=0.5)
    derivation = derive(run)
    assert (derivation.l1, derivation.dropout, derivation.optimizer) == (0.5, True, SGD(0.1))
    assert "a1_1 = mask1_1 * h1_1" in derivation.text()
    product = lines_of(derivation)["dloss/dw1_1_1"]["product"]
    assert product == "x1 * relu'(z1_1) * mask1_1 * w2_1_1 * (p - y)"


@pytest.mark.parametrize(
    "text", ["Adam(", "Adam(0.1)", "open('x')", "Adam(learning_rate=-1)", "Adam(x=1)", "Constant(initial=1.0)", "1"]
)
def test_a_provenance_that_names_no_optimiser(model: gn.Model, text: str) -> None:
    with pytest.raises(UsageError, match="An optimiser is written like"):
        derive(gn.Model(model.network, model.members, model.encoder, {"optimizer": text}))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_optimiser_is_read_from_what_it_prints(optimizer: Any) -> None:
    assert optimizer_of(repr(optimizer)) == optimizer


def test_several_networks_are_averaged(model: gn.Model) -> None:
    two = gn.Model(model.network, model.members * 2, model.encoder, model.provenance)
    assert "sigmoid; of each of 2 networks, whose p are averaged" in derive(two).text()
    assert "averaged" not in derive(model).text()


def test_an_unknown_provenance_has_no_update(model: gn.Model) -> None:
    derivation = derive(gn.Model(model.network, model.members, model.encoder))
    assert derivation.optimizer is None
    assert not derivation.stage("update").items


# --- one quantity ----------------------------------------------------------------------------------------------------


def reachable(lines: dict[str, list[str]], name: str) -> set[str]:
    waiting, seen = [name], set()
    while waiting:
        here = waiting.pop()
        if here in lines and here not in seen:
            seen.add(here)
            # A parameter is given to all but its own update.
            waiting += [read for read in lines[here] if not re.fullmatch(r"[wb]\d+(_\d+)+", read)]
    return seen


@pytest.mark.parametrize("what", ["plain", "softmax", "dropout", "model"])
def test_one_quantity_and_all_it_depends_on(model: gn.Model, what: str) -> None:
    derivation = {
        "plain": derive(PLAIN, Adam(), l2=0.1),
        "softmax": derive(Network((2, 2, 3), "tanh", "cross_entropy"), SGD(0.1, 0.9)),
        "dropout": derive(Network((1, 2, 2, 1)), dropout=0.5),
        "model": derive(model),
    }[what]
    every = {line.target: line for line in derivation.lines()}
    reads = {name: [one for read in line.reads for one in meant(read, every)] for name, line in every.items()}
    for name in reads:
        shown = {line.target: line for line in derivation.only(name).lines()}
        needed = reachable(reads, name)
        assert needed <= set(shown), name
        # What else is there is a factor of the chain rule, named in a line that is needed, and what that depends on.
        justified, before = set(needed), set()
        while justified != before:
            before = set(justified)
            justified |= {more for more in shown for line in before if more in reads[line] or names(shown[line], more)}
        assert justified == set(shown), name
        assert list(shown) == [target for target in every if target in shown], "in order of computation"


def meant(read: str, every: dict[str, Line]) -> list[str]:
    """A name; in one line for all units, whose indices are open, all names that it stands for."""
    if not re.search("_[ijk]", read):
        return [read]
    return [name for name in every if re.fullmatch(re.sub("_[ijk]", r"_?\\d+", read), name)]


def names(line: Line, factor: str) -> bool:
    """Whether a factor stands in a line: delta as dloss/dz, one line for all units, dz1_j/dw1_i_j, with any numbers."""
    written = re.sub("_[ijk]", r"_?\\d+", re.escape(re.sub("^delta", "dloss/dz", factor)))
    return any(re.search(rf"(?<![\w/]){written}(?!\w)", right) for right in line.rights)


def test_a_units_line_needs_no_other_unit() -> None:
    derivation = derive(PLAIN, SGD(0.1))
    assert lines_of(derivation.only("z1_2")) == {"z1_2": {"definition": "b1_2 + w1_1_2 * x1 + w1_2_2 * x2"}}
    shown = lines_of(derivation.only("w2_1_1"))
    assert "a1_1" in shown  # dloss/dw2_1_1 = a1_1 * delta2_1
    assert "delta1_1" not in shown
    assert "loss" not in shown  # its derivative is, it is not
    assert list(shown)[-1] == "w2_1_1"


def test_a_factor_by_its_name() -> None:
    derivation = derive(Network((2, 2, 3), "tanh", "cross_entropy"))
    assert list(lines_of(derivation.only("da1_2/dz1_2"))) == ["z1_2", "a1_2", "da1_2/dz1_2"]
    assert lines_of(derivation.only("dz1_2/dw1_1_2")) == {"dz1_j/dw1_i_j": {"definition": "x_i"}}
    assert {"p1", "p2", "p3"} <= set(lines_of(derivation.only("dp1/do2")))
    assert derivation.only("dloss/dz1_2").chosen == derivation.only("delta1_2").chosen


def test_a_parameter_without_an_update_is_its_gradient() -> None:
    assert list(lines_of(derive(PLAIN).only("w1_1_2")))[-1] == "dL/dw1_1_2"
    assert list(lines_of(derive(PLAIN, l2=0.1).only("w1_1_2")))[-1] == "dJ/dw1_1_2"
    assert list(lines_of(derive(PLAIN, l2=0.1).only("b1_2")))[-1] == "dL/db1_2"
    lbfgs = lines_of(derive(PLAIN, LBFGS(), l2=0.1).only("w1_1_2"))
    assert {"dJ/dw2_2_1", "dL/db1_1", "d", "w1_1_2"} <= set(lbfgs)
    assert "w1_1_1" not in lbfgs


def test_a_whole_layer_by_its_name() -> None:
    derivation = derive(PLAIN)
    assert list(lines_of(derivation.only("a1"))) == ["z1_1", "z1_2", "a1_1", "a1_2"]
    assert derivation.only("A1").text("matrix").splitlines() == [
        "forward", "  Z1 = X @ W1 + b1", "  A1 = max(Z1, 0)                        relu",
    ]  # fmt: skip
    assert derivation.only("W2").chosen == derivation.only("dL/dW2").chosen


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("w1_1_3", "j of w1_i_j runs from 1 to 2"),
        ("w1_0_1", "i of w1_i_j runs from 1 to 2"),
        ("delta3_1", "Did you mean 'delta2_1'"),
        ("dl/dw1_1_1", "Did you mean 'dL/dw1_1_1'"),
        ("x1", "x1 is given, not computed, so it depends on nothing; z1_1 is computed from it"),
        ("", "the name that the equations print"),
        ("w3_1_1", "there is no 'w3_1_1'"),
        ("z1_1; rm", "Did you mean 'z1_1'"),
        ("da1_1/dz1_2", "there is no 'da1_1/dz1_2'"),
        ("w1_" + "9" * 5000 + "_1", "there is no"),
        ("w1_1_999999999", "j of w1_i_j runs from 1 to 2"),
    ],
)
def test_a_name_that_is_none(name: str, said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        derive(PLAIN, SGD(0.1)).only(name)


def test_a_column_is_found_by_its_name(model: gn.Model) -> None:
    assert list(lines_of(derive(model).only("predicted ill")))[-1] == "predicted ill"
    with pytest.raises(UsageError, match="a is given, not computed"):
        derive(model).only("a")


@settings(max_examples=60)
@given(st.text(max_size=12))
def test_no_name_is_more_than_one_message(name: str) -> None:
    try:
        found = derive(PLAIN).only(name)
    except UsageError as problem:
        assert "\n" not in str(problem)  # noqa: PT017
    else:
        assert found.n_lines


# --- as text ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [40, 57, 80, 120])
@pytest.mark.parametrize("form", ["scalar", "indexed", "matrix"])
def test_no_line_is_wider_than_the_terminal(hostile: gn.Model, width: int, form: str) -> None:
    text = derive(hostile).text(form, width)
    assert max(map(columns, text.splitlines())) <= width
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e]", text)


def test_broken_lines_hold_what_the_whole_line_holds() -> None:
    network = Network((9, 9, 2), "gelu", "mean_squared_error")

    def words(width: int) -> str:
        return re.sub(r"[\s\[\]]+", "", derive(network, Adam()).text(width=width))

    assert words(40) == words(100) == words(10_000)


def test_a_sum_is_broken_before_its_signs() -> None:
    assert list(broken("a * b + c * d", "x = ", "    ", 12)) == ["x = a * b", "    + c * d"]
    assert list(broken("abcdefghij", "x = ", "  ", 6)) == ["x = ab", "  cdef", "  ghij"]


def test_letters_from_right_to_left_do_not_move_what_follows(hostile: gn.Model) -> None:
    assert "(גיל\u200e בשנים\u200e - " in derive(hostile).text(width=200)


# --- as LaTeX --------------------------------------------------------------------------------------------------------


def test_a_document_is_in_ascii(hostile: gn.Model) -> None:
    document = "".join(derive(hostile).latex_document())
    assert document.isascii()
    assert r"\texttt{U+5E74}" in document
    assert r"gr\"{o}{\ss}e \r{A}ngstr\"{o}m" in document
    assert document.count(r"\end{document}") == 1
    assert printable("ï") == r"\"{\i}"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@pytest.mark.parametrize("form", ["scalar", "indexed", "matrix"])
@pytest.mark.parametrize("what", ["hostile", "softmax", "deep", "wide"])
def test_pdflatex_compiles_it(hostile: gn.Model, tmp_path: Path, what: str, form: str) -> None:
    if what == "wide" and form == "scalar":
        derivation = derive(Network((300, 2, 10), "selu", "cross_entropy")).only("delta1_2")
    else:
        derivation = {
            "hostile": lambda: derive(hostile),
            "softmax": lambda: derive(Network((3, 4, 3), "gelu", "cross_entropy"), SGD(OneCycle(0.1), 0.9), l1=1e-9),
            "deep": lambda: derive(Network((2, 2, 3, 2, 1), "elu", "quantile(0.9)"), LBFGS(), dropout=0.1),
            "wide": lambda: derive(Network((300, 200, 10), "selu", "cross_entropy"), Adam()),
        }[what]()
    compiles(derivation.latex_document(form), tmp_path)


def compiles(document: Iterator[str], folder: Path) -> None:
    """Without an error, and nothing runs over the margin that is more than a name without a blank."""
    (folder / "derived.tex").write_text("".join(document), encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "derived.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (folder / "derived.pdf").stat().st_size > 1000
    over = [float(points) for points in re.findall(r"Overfull \\hbox \(([\d.]+)pt", done.stdout)]
    assert not [points for points in over if points > 60], over


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_what_does_not_compile_is_seen(tmp_path: Path) -> None:
    pieces = list(derive(PLAIN).latex_document())
    with pytest.raises(AssertionError):
        compiles(iter([*pieces[:-1], r"\undefined", pieces[-1]]), tmp_path)


def test_a_block_for_a_paper() -> None:
    block = derive(PLAIN).stage("forward").latex("matrix")
    assert block.startswith("\\begin{aligned}\nZ^{[1]} &= X \\, W^{[1]} + b^{[1]} \\\\\n")
    assert block.count(r"\begin{cases}") == block.count(r"\end{cases}")


# --- as MathML -------------------------------------------------------------------------------------------------------

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

MEASURE = """<script>
const KNOWN = ("mrow mi mn mo mtext mspace mfrac msqrt msub msup msubsup munder munderover " +
  "mtable mtr mtd bdi").split(" ");
addEventListener("load", () => {
  const boxes = [...document.querySelectorAll("math")].map((m) => m.getBoundingClientRect());
  document.title = JSON.stringify({
    formulas: boxes.length,
    empty: boxes.filter((b) => b.width < 3 || b.height < 3).length,
    page: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    scripts: document.scripts.length,
    unknown: [...document.querySelectorAll("math *")].filter((e) => !KNOWN.includes(e.localName)).length,
  });
});
</script>"""


def drawn(page: str, folder: Path, width: int = 800) -> dict[str, int]:
    """What Chromium makes of a page."""
    file = folder / "page.html"
    file.write_text(page.replace("</body>", f"{MEASURE}</body>"), encoding="utf-8")
    assert CHROMIUM is not None
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}",
        f"--window-size={width},600", "--virtual-time-budget=5000", "--dump-dom", file.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120)
    told = re.search(r"<title>(\{.*?\})</title>", done.stdout)
    assert told, done.stderr[-1000:]
    measured: dict[str, int] = json.loads(told[1])
    return measured


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.parametrize("what", ["hostile", "softmax", "matrix", "lbfgs"])
def test_chromium_draws_it(hostile: gn.Model, tmp_path: Path, what: str) -> None:
    derivation = {
        "hostile": lambda: derive(hostile),
        "softmax": lambda: derive(Network((3, 4, 3), "gelu", "cross_entropy"), SGD(OneCycle(0.1), 0.9), l1=1e-9),
        "matrix": lambda: derive(Network((2, 2, 3, 2), "elu", "huber"), RMSprop(), dropout=0.1),
        "lbfgs": lambda: derive(Network((2, 1)), LBFGS()),
    }[what]()
    page = "".join(derivation.html("matrix" if what == "matrix" else "scalar"))
    assert "<script" not in page
    assert "http" not in page
    updates = sum(line.arrow == "<-" for line in derivation.lines("matrix" if what == "matrix" else "scalar"))
    assert page.count("<mo>←</mo>") == updates > 0
    found = drawn(page, tmp_path, width=400 if what == "softmax" else 800)
    assert found["formulas"] == page.count("<math ")
    assert (found["empty"], found["unknown"], found["page"]) == (0, 0, 0)
    assert found["scripts"] == 1  # the one that measures


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_what_is_not_drawn_is_seen(tmp_path: Path) -> None:
    page = "".join(derive(Network((1, 1))).html())
    found = drawn(page.replace("</h1>", "</h1><math></math><math><mx>1</mx></math>", 1), tmp_path)
    assert found["empty"]
    assert found["unknown"]


def test_every_function_of_the_language_is_written_in_mathml() -> None:
    from glassnet.derivations.mathml import of_expression

    z, one = symbol(Symbol("z", 1, ("row", 1))), parse("1.5e-09")
    for name, row in FUNCTIONS.items():
        written = of_expression(call(name, *[z, one, z][: row.arity or 3]))
        assert_balanced(written)
        if row.latex[:1].isalpha() or "operatorname" in row.latex:
            assert f"<mi>{name}</mi>" in written or name in ("exp", "sigmoid")


def assert_balanced(markup: str) -> None:
    import xml.etree.ElementTree as ElementTree

    ElementTree.fromstring(f"<math>{markup.replace('&nbsp;', ' ')}</math>")


def test_what_is_not_balanced_is_seen() -> None:
    with pytest.raises(SyntaxError):
        assert_balanced("<mi>x")


# --- in a notebook, as JSON ------------------------------------------------------------------------------------------


def test_a_notebook_shows_the_first_lines_of_many(hostile: gn.Model) -> None:
    assert "more lines" not in derive(PLAIN)._repr_html_()
    many = derive(Network((100, 20, 1)), Adam())
    assert f"... and {many.n_lines - 300:,} more lines" in many._repr_html_()
    assert many._repr_html_().count('<div class="equation">') == 300
    assert f"and {many.n_lines - 300:,} more lines" in repr(many)
    assert derive(PLAIN)._repr_latex_().startswith("$$\\begin{aligned}")
    assert "<script" not in derive(hostile)._repr_html_()
    assert many.n_lines == sum(1 for _ in many.lines())


@pytest.mark.parametrize("form", ["scalar", "indexed", "matrix"])
def test_json_says_all_that_text_says(hostile: gn.Model, form: str) -> None:
    derivation = derive(hostile)
    told = derivation.to_json(form)
    assert list(told) == ["network", "optimizer", "l1", "l2", "dropout", "form", "equations"]
    lines = list(derivation.lines(form))
    assert [one["target"] for one in told["equations"]] == [line.target for line in lines]
    for one, line in zip(told["equations"], lines, strict=True):
        assert list(one) == ["stage", "target", "target_latex", "forms", "reads"]
        assert [form["text"] for form in one["forms"]] == list(line.rights)
        assert [form["what"] for form in one["forms"]][-1:] != ["chain"]


def test_forms_and_notations_are_known_by_name() -> None:
    for wrong in (lambda d: d.text("scalars"), lambda d: list(d.lines("scalar", "tex")), lambda d: d.stage("forwards")):
        with pytest.raises(UsageError, match="is one of"):
            wrong(derive(PLAIN))
    with pytest.raises(UsageError, match=r"no equation for 'delta3'.*Did you mean 'delta2'"):
        derive(PLAIN)["delta3"]


# --- from the columns to the answer ----------------------------------------------------------------------------------


def test_every_column_has_its_own_equation_as_a_matrix_too(model: gn.Model) -> None:
    derived = derive(model)
    assert [line.strip()[:4] for line in derived.stage("encode").text("matrix").splitlines()[1:]] == ["x1 =", "x2 ="]
    assert str(derived["x2"].target) == "x2"


def test_derive_goes_from_encode_to_decode(model: gn.Model) -> None:
    stages = list(dict.fromkeys(equation.stage for equation in derive(model, gn.SGD(0.1), l2=0.1)))
    assert stages == ["encode", "forward", "loss", "backward", "penalty", "update", "decode"]
    assert r"b \textless{}script\textgreater{} \& \$\_" in derive(model).latex()
