"""The equations: every printed form against the numbers, and against the table rows they are made from."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassnet import activations
from glassnet.activations import ACTIVATIONS, ActivationRow
from glassnet.equations import (
    STAGES,
    Contract,
    Equation,
    Equations,
    Map,
    Reduce,
    Symbol,
    decoding,
    equations,
    latex_escaped,
    raw_symbol,
)
from glassnet.errors import UsageError
from glassnet.expressions import FUNCTIONS, Expression, call, function, parse, substitute, symbol, symbols
from glassnet.network import Network, Parameters, dropout_masks, weight_mask
from glassnet.optimizers import SGD, Adam, AdamW, Optimizer, RMSprop
from glassnet.reference import Trace, backward, forward

HIDDEN = [name for name in ACTIVATIONS if name != "identity"]
LOSSES = ["binary_cross_entropy", "cross_entropy", "mean_squared_error", "mean_absolute_error", "huber(0.7)", "poisson",
          "quantile(0.9)"]  # fmt: skip
OPTIMIZERS = [SGD(0.1), SGD(0.1, momentum=0.9), SGD(0.1, momentum=0.9, nesterov=True), Adam(), AdamW(), RMSprop()]


@st.composite
def networks(draw: st.DrawFn) -> Network:
    loss = draw(st.sampled_from(LOSSES))
    outputs = draw(st.integers(2 if loss == "cross_entropy" else 1, 3))
    hidden = draw(st.lists(st.integers(1, 3), max_size=2))
    names = draw(st.lists(st.sampled_from(HIDDEN), min_size=len(hidden), max_size=len(hidden)))
    linked = loss in ("binary_cross_entropy", "cross_entropy", "poisson")
    last = "identity" if linked else draw(st.sampled_from(["identity", "identity", "tanh", "softplus"]))
    return Network((draw(st.integers(1, 3)), *hidden, outputs), (*names, last), loss)


def _job(net: Network, n: int = 4, seed: int = 0, dropout: bool = False) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    kind = net.loss_row.targets
    y = rng.normal(size=(n, net.n_outputs))
    if kind == "classes":
        y = np.eye(net.n_outputs)[rng.integers(net.n_outputs, size=n)]
    elif kind in ("unit", "nonnegative"):
        y = rng.random(y.shape)
    return {
        "network": net,
        "parameters": Parameters(net, rng.normal(size=net.n_parameters)),
        "X": rng.normal(size=(n, net.n_features)),
        "y": y,
        "row_weights": rng.uniform(0.5, 2, n),
        "masks": dropout_masks(net, 0.4 if net.n_layers > 1 else 0, n, random_state=seed, epoch=1) if dropout else None,
    }


# --- numbers put in ------------------------------------------------------------------------------------------------


def _value(expression: Expression, numbers: dict[str, Any], arithmetic_used: Any = "canonical") -> Any:
    """The expression with the number of every symbol, by the symbol's printed name."""
    keys = symbols(expression)
    plain = substitute(expression, {key: symbol(f"v{i}") for i, key in enumerate(keys)})
    names = tuple(f"v{i}" for i in range(len(keys)))
    return function(plain, names, arithmetic_used)(*(numbers[str(key)] for key in keys))


def _worked(found: Equations, rows: list[dict[str, Any]], whole: dict[str, Any]) -> None:
    """Carry out every scalar line, in order: what is of a row into that row's numbers, what is of all into `whole`."""
    for equation in found:
        for line in equation.scalars():
            name = str(line.target)
            if isinstance(line.body, Reduce) and line.body.over == ("row",):
                assert line.body.operation == "sum"
                whole[name] = sum(_value(line.body.expression, whole | row) for row in rows)
                continue
            assert isinstance(line.body, Map), line
            keys = {str(key) for key in symbols(line.body.expression)}
            if keys <= set(whole):
                whole[name] = float(_value(line.body.expression, whole))
            else:
                for row in rows:
                    row[name] = float(_value(line.body.expression, whole | row))


def _rows_of(job: dict[str, Any]) -> list[dict[str, Any]]:
    shares = job["row_weights"] / job["row_weights"].sum()
    rows = []
    for x, y, share in zip(job["X"].tolist(), job["y"].tolist(), shares.tolist(), strict=True):
        row = {f"x{i}": value for i, value in enumerate(x, start=1)} | {"share": share}
        rows.append(row | ({"y": y[0]} if len(y) == 1 else {f"y{k}": value for k, value in enumerate(y, start=1)}))
    for layer, mask in enumerate(job["masks"] or (), start=1):
        for row, factors in zip(rows, mask.tolist(), strict=True):
            row.update({f"mask{layer}_{j}": factor for j, factor in enumerate(factors, start=1)})
    return rows


def _named(job: dict[str, Any]) -> dict[str, Any]:
    return dict(zip(job["network"].parameter_names(), job["parameters"].vector.tolist(), strict=True))


def _of_rows(rows: list[dict[str, Any]], names: list[str]) -> np.ndarray:
    return np.array([[row[name] for name in names] for row in rows])


@settings(deadline=None, max_examples=80)
@given(networks(), st.sampled_from([(0.0, 0.0), (0.1, 0.0), (0.0, 0.3), (0.1, 0.3)]), st.booleans())
def test_scalar_lines_worked_one_by_one_give_the_reference_s_numbers(
    net: Network, penalty: tuple[float, float], dropout: bool
) -> None:
    job, (l1, l2) = _job(net, dropout=dropout), penalty
    rows, whole = _rows_of(job), _named(job)
    _worked(equations(net, l1=l1, l2=l2, dropout=dropout), rows, whole)
    trace = backward(**job, l1=l1, l2=l2)

    def units(letter: str, size: int) -> list[str]:
        return [letter] if letter in "op" and size == 1 else [
            f"{letter}{'' if letter in 'op' else '_'}{j}" for j in range(1, size + 1)]  # fmt: skip

    # The forward pass and the row's loss agree bit for bit: the same order, every operation rounded.
    for layer, size in enumerate(net.sizes[1:], start=1):
        np.testing.assert_array_equal(_of_rows(rows, units(f"z{layer}", size)), trace.pre_activations[layer - 1])
        if layer < net.n_layers:
            np.testing.assert_array_equal(_of_rows(rows, units(f"a{layer}", size)), trace.activations[layer])
    for layer, h in enumerate(trace.unmasked or (), start=1):
        np.testing.assert_array_equal(_of_rows(rows, units(f"h{layer}", h.shape[1])), h)
    np.testing.assert_array_equal(_of_rows(rows, units("o", net.n_outputs)), trace.logits)
    np.testing.assert_array_equal(_of_rows(rows, units("p", net.n_outputs)), trace.probabilities)
    np.testing.assert_array_equal([row["loss"] for row in rows], trace.row_losses)
    # Sums over rows and through matrix products are taken in another order: a few roundings apart.
    close = {"rtol": 1e-12, "atol": 1e-12}
    assert trace.deltas is not None
    for layer, size in enumerate(net.sizes[1:], start=1):
        np.testing.assert_allclose(_of_rows(rows, units(f"delta{layer}", size)), trace.deltas[layer - 1], **close)
    assert whole["L"] == pytest.approx(trace.loss, rel=1e-12)
    if l1 or l2:
        assert whole["penalty"] == pytest.approx(trace.penalty, rel=1e-12)
        assert whole["J"] == pytest.approx(trace.objective, rel=1e-12)
    of_weights = "dJ" if l1 or l2 else "dL"
    gradient = [whole[f"{of_weights if name[0] == 'w' else 'dL'}/d{name}"] for name in net.parameter_names()]
    np.testing.assert_allclose(gradient, trace.gradient, **close)
    # A row's own derivatives, weighted, are the batch's.
    shares = np.array([row["share"] for row in rows])
    for name in net.parameter_names():
        summed = shares @ [row[f"dloss/d{name}"] for row in rows]
        np.testing.assert_allclose(summed, whole[f"dL/d{name}"], **close)


def test_the_worked_lines_can_fail() -> None:
    job = _job(Network((2, 2, 1), "tanh"))
    rows, whole = _rows_of(job), _named(job)
    whole["w1_1_1"] += 1e-6
    _worked(equations(job["network"]), rows, whole)
    assert abs(whole["L"] - (forward(**job).loss or 0)) > 1e-9


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
@pytest.mark.parametrize("l2", [0.0, 0.2])
def test_updates_worked_one_by_one_follow_the_optimiser(optimizer: Optimizer, l2: float) -> None:
    job = _job(Network((2, 2, 2), "tanh", "cross_entropy"))
    net: Network = job["network"]
    found = equations(net, optimizer, l2=l2)
    whole = _named(job) | {"learning_rate": 0.05}
    whole |= {f"{state}[{name}]": 0.0 for state in optimizer.state_names for name in net.parameter_names()}
    vector, state = job["parameters"].vector, optimizer.init(job["parameters"].vector)
    for t in (1, 2, 3):
        whole["t"] = float(t)
        _worked(found, _rows_of(job), whole)
        trace = backward(**job | {"parameters": Parameters(net, vector)}, l2=l2)
        vector, state = optimizer.update(
            vector, trace.gradient, state, t=t, learning_rate=0.05, is_weight=weight_mask(net)
        )
        np.testing.assert_allclose([whole[name] for name in net.parameter_names()], vector, rtol=1e-10)
        for name, values in state.items():
            worked = [whole[f"{name}[{parameter}]"] for parameter in net.parameter_names()]
            np.testing.assert_allclose(worked, values, rtol=1e-9, atol=1e-12)


# --- the matrix form -----------------------------------------------------------------------------------------------


def _matrices(trace: Trace) -> dict[str, Any]:
    """The trace's arrays under the names that the matrix form prints; a slash of a derivative becomes `_by_`."""
    net = trace.network
    assert trace.deltas is not None
    arrays = {"X": trace.X, "Y": trace.y, "O": trace.logits, "P": trace.probabilities, "loss": trace.row_losses}
    arrays |= {"share": trace.row_weights / trace.row_weights.sum(), "diag": np.diag}
    for layer in range(1, net.n_layers + 1):
        W, b = trace.parameters.weights[layer - 1], trace.parameters.biases[layer - 1]
        arrays |= {f"W{layer}": W, f"b{layer}": b, f"Z{layer}": trace.pre_activations[layer - 1]}
        arrays |= {f"A{layer}": trace.activations[layer], f"Delta{layer}": trace.deltas[layer - 1]}
        if layer < net.n_layers:
            arrays[f"dloss_by_dA{layer}"] = trace.deltas[layer] @ trace.parameters.weights[layer].T
    for layer, (mask, h) in enumerate(zip(trace.masks or (), trace.unmasked or (), strict=True), start=1):
        arrays |= {f"Mask{layer}": mask, f"H{layer}": h, f"dloss_by_dH{layer}": mask * arrays[f"dloss_by_dA{layer}"]}
    m = trace.logits.max(axis=1, keepdims=True)
    arrays |= {"m": m, "s": np.exp(trace.logits - m).sum(axis=1, keepdims=True), "L": trace.loss}
    return arrays


def _truth_of(trace: Trace, target: str) -> Any:
    assert trace.weight_gradients is not None
    assert trace.bias_gradients is not None
    if by := re.fullmatch(r"dL_by_d([Wb])(\d+)", target):
        return {"W": trace.weight_gradients, "b": trace.bias_gradients}[by[1]][int(by[2]) - 1]
    return _matrices(trace)[target]


FUNCTIONS_OF_PYTHON = {
    name: function(parse(f"{name}(x)"), ("x",)) for name, row in FUNCTIONS.items() if row.arity == 1 and name != "neg"
} | {"max": np.maximum, "min": np.minimum, "select": np.where}


@settings(deadline=None, max_examples=120)
@given(networks(), st.booleans())
def test_matrix_text_run_by_python_gives_the_sums(net: Network, dropout: bool) -> None:
    trace = backward(**_job(net, dropout=dropout))
    scope = {"__builtins__": {}} | FUNCTIONS_OF_PYTHON | _matrices(trace)
    checked = []
    for line in equations(net, dropout=dropout).text("matrix").splitlines():
        if not line.startswith("  "):
            continue
        text = line.strip().split("  ")[0].replace("/d", "_by_d")
        target, right = text.split(" = ", 1)
        if " over " in right or target == "loss":  # reductions over outputs say in words what they add up
            continue
        np.testing.assert_allclose(eval(right, scope), _truth_of(trace, target), rtol=1e-11, atol=1e-12, err_msg=text)
        assert np.shape(eval(right, scope)) in (np.shape(_truth_of(trace, target)), ())
        checked.append(target)
    found = equations(net, dropout=dropout)
    of_masks = [e for e in found if e.note == "dropout"]
    assert len(of_masks) == (2 * (net.n_layers - 1) if dropout else 0)
    contracts = [e for e in found if isinstance(e.body, Contract)]
    assert {e.target.matrix().replace("/d", "_by_d") for e in [*contracts, *of_masks]} <= set(checked)


# --- a row of the table, altered -----------------------------------------------------------------------------------


def test_altering_one_row_alters_text_latex_and_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    net = Network((2, 2, 1), "tanh", "mean_squared_error")
    job = _job(net)
    before, text, latex = backward(**job), equations(net).text(), equations(net).latex()
    assert "tanh(z1_1)" in text
    bent = ActivationRow("tanh", parse("z * z / 2"), parse("z"), parse("z**2 / 2"), "of this test")
    monkeypatch.setitem(activations.ACTIVATIONS, "tanh", bent)
    after = backward(**job)
    text, latex = equations(net).text(), equations(net).latex()
    assert "tanh(" not in text
    assert "a1_1 = z1_1 * z1_1 / 2" in text
    assert "delta1_2 = dloss/da1_2 * z1_2" in text
    assert r"\tanh" not in latex
    assert r"a^{[1]}_{1} &= \frac{z^{[1]}_{1} \, z^{[1]}_{1}}{2}" in latex
    assert equations(net)["a1"].matrix() == "A1 = Z1 * Z1 / 2"
    z = after.pre_activations[0]
    np.testing.assert_array_equal(z, before.pre_activations[0])
    np.testing.assert_array_equal(after.activations[1], z * z / 2)
    assert after.deltas is not None
    np.testing.assert_allclose(after.deltas[0], after.deltas[1] @ job["parameters"].weights[1].T * z, rtol=1e-15)
    rows, whole = _rows_of(job), _named(job)
    _worked(equations(net), rows, whole)
    assert whole["L"] == pytest.approx(after.loss, rel=1e-12)
    monkeypatch.undo()
    assert backward(**job).loss == before.loss


def test_every_activation_and_loss_shows_its_row() -> None:
    for name in HIDDEN:
        text = equations(Network((1, 1, 1), name)).text()
        assert f"  {name}\n" in text
        assert f"derivative of {name}\n" in text
    for loss in LOSSES:
        assert f"  {loss}\n" in equations(Network((1, 2), loss=loss)).text()


# --- printed forms -------------------------------------------------------------------------------------------------


def _all_latex(found: Equations) -> list[str]:
    return [found.latex(form) for form in ("scalar", "indexed", "matrix")] + [e.latex() for e in found]


def _assert_well_formed(latex: str) -> None:
    """Groups, brackets and environments close in order; no group has two exponents on one base; one & a line."""
    bare = re.sub(r"\\[{}&%$#_\\]", "", latex)
    depth = 0
    for letter in bare:
        depth += {"{": 1, "}": -1}.get(letter, 0)
        assert depth >= 0, latex
    assert depth == 0, latex
    assert len(re.findall(r"\\left(?!arrow)", latex)) == len(re.findall(r"\\right(?!arrow)", latex))
    assert re.findall(r"\\begin\{(\w+)\}", latex).count("cases") == re.findall(r"\\end\{(\w+)\}", latex).count("cases")
    flat = bare
    while (inner := re.sub(r"\{[^{}]*\}", "0", flat)) != flat:  # innermost groups first
        flat = inner
        assert not re.search(r"\^0(_0|_\w)?\^", flat), latex
    for line in latex.removeprefix("\\begin{aligned}\n").removesuffix("\n\\end{aligned}").split(" \\\\\n"):
        outside, cases = line.replace(r"\&", ""), r"\\begin\{cases\}((?!\\begin\{cases\}).)*?\\end\{cases\}"
        while re.search(cases, outside):  # innermost first
            outside = re.sub(cases, "", outside)
        assert outside.count("&") == (1 if latex.startswith(r"\begin{aligned}") else 0), line


@settings(deadline=None, max_examples=40)
@given(networks(), st.sampled_from([None, *OPTIMIZERS]), st.sampled_from([(0.0, 0.0), (1e-4, 0.3)]), st.booleans())
def test_latex_is_well_formed(
    net: Network, optimizer: Optimizer | None, penalty: tuple[float, float], dropout: bool
) -> None:
    for latex in _all_latex(equations(net, optimizer, l1=penalty[0], l2=penalty[1], dropout=dropout)):
        _assert_well_formed(latex)


@pytest.mark.parametrize(
    "wrong", ["{", "}{", r"x^{2}^{3}", r"w^{[1]}_{1,2}^{2}", r"\left(x", "\\begin{aligned}\na &= b & c\n\\end{aligned}"]
)
def test_the_latex_check_can_fail(wrong: str) -> None:
    with pytest.raises(AssertionError):
        _assert_well_formed(wrong)


def test_sums_of_differences_stand_in_brackets() -> None:
    latex = equations(Network((1, 2), loss="poisson"))["loss"].latex()
    assert latex == r"\ell = \frac{1}{2} \sum_{k=1}^{2} \left(e^{o_{k}} - y_{k} \, o_{k}\right)"


def test_a_squared_derivative_stands_in_brackets() -> None:
    line = equations(Network((1, 1)), RMSprop())["v[w1]"].scalar(i=1, j=1)
    assert str(line) == "v[w1_1_1] <- 0.9 * v[w1_1_1] + (1 - 0.9) * (dL/dw1_1_1)**2"
    assert r"\left(\frac{\partial \mathcal{L}}{\partial w^{[1]}_{1,1}}\right)^{2}" in line.latex()


def test_penalties_take_numbers_of_numpy() -> None:
    net = Network((1, 1))
    assert equations(net, l2=np.float64(0.5)).text() == equations(net, l2=0.5).text()


@settings(deadline=None, max_examples=40)
@given(networks(), st.booleans())
def test_each_scalar_target_appears_once_and_what_is_read_was_written(net: Network, dropout: bool) -> None:
    known = {f"mask{layer}_{j}" for layer, n in enumerate(net.sizes[1:-1], start=1) for j in range(1, n + 1)}
    known |= set(net.parameter_names()) | {f"x{i}" for i in range(1, net.n_features + 1)} | {"share"}
    known |= {"y"} if net.n_outputs == 1 else {f"y{k}" for k in range(1, net.n_outputs + 1)}
    for equation in equations(net, Adam(), l2=0.1, dropout=dropout):
        if equation.stage == "update":
            break
        for line in equation.scalars():
            assert not isinstance(line.body, Contract)
            assert {str(key) for key in symbols(line.body.expression)} <= known
            assert str(line.target) not in known
            known.add(str(line.target))
    for layer, (n_in, n_out) in enumerate(pairwise(net.sizes), start=1):
        assert {f"dJ/dw{layer}_{i}_{j}" for i in range(1, n_in + 1) for j in range(1, n_out + 1)} <= known


def test_equations_of_dropout() -> None:
    net = Network((1, 2, 1), "tanh")
    found = equations(net, dropout=True)
    assert found.names()[:3] == ["z1", "h1", "a1"]
    masked, back, delta = found["a1"], found["dloss/dh1"], found["delta1"]
    assert str(found["h1"].scalar(j=2)) == "h1_2 = tanh(z1_2)"
    assert str(masked.scalar(j=2)) == "a1_2 = mask1_2 * h1_2"
    assert str(back.scalar(j=2)) == "dloss/dh1_2 = mask1_2 * dloss/da1_2"
    assert str(delta.scalar(j=2)) == "delta1_2 = dloss/dh1_2 * (1 - h1_2 * h1_2)"
    assert masked.latex() == r"a^{[1]}_{j} = \mathrm{mask}^{[1]}_{j} \, h^{[1]}_{j}"
    assert masked.matrix_latex() == r"A^{[1]} = \mathrm{Mask}^{[1]} \odot H^{[1]}"
    assert (masked.matrix(), back.matrix()) == ("A1 = Mask1 * H1", "dloss/dH1 = Mask1 * dloss/dA1")
    # The output layer has none, so without a hidden layer nothing changes.
    assert equations(Network((2, 2)), dropout=True) == equations(Network((2, 2)))


def test_looking_things_up() -> None:
    found = equations(Network((2, 2, 1)), l2=0.1)
    assert found.names()[:2] == ["z1", "a1"]
    assert [e.stage for e in found] == sorted((e.stage for e in found), key=STAGES.index)
    assert str(found["dL/dw1"].scalar(i=2, j=1)) == "dL/dw1_2_1 = sum over rows of share * x2 * delta1_1"
    assert len(list(found["dL/dw1"].scalars())) == 4
    for wrong in ("z9", "", "z1_1"):
        with pytest.raises(UsageError, match="There is no equation"):
            found[wrong]
    with pytest.raises(UsageError, match="A stage is one of"):
        found.stage("middle")
    for index in ({"j": 0}, {"j": 3}, {"q": 1}):
        with pytest.raises(UsageError, match="of z1_j runs from 1 to"):
            found["z1"].scalar(**index)


def test_names_of_sizes_beyond_nine_stay_apart() -> None:
    names = [str(line.target) for line in equations(Network((1, 12, 1)))["dloss/dw1"].scalars()]
    assert len(set(names)) == 12
    assert names[10:] == ["dloss/dw1_1_11", "dloss/dw1_1_12"]


# --- a table's columns -----------------------------------------------------------------------------------------------

HOSTILE = ["<script>", "=cmd()", "$(rm)", "'; DROP", "纹理", "a_b", "50%", "a & b", "x = y", r"\input{/etc/passwd}"]
HOSTILE += ["}{", "a^2", "~", "#1", "a\n\nb", "\\", "a \\\\ b", "\\leftarrow", "\x00\x1b[31m"]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_printed_and_never_obeyed(name: str) -> None:
    tests = [replace(raw_symbol(name), kind=kind, level=name) for kind in ("raw", "is", "missing", "filled", "scaled")]
    sums = Equation(raw_symbol(name), Map(call("add", *map(symbol, tests))), "encode")
    for found in (Equations((sums,)), decoding(Network((2, 1)), name)):
        for latex in _all_latex(found):
            _assert_well_formed(latex)
            # Outside our own commands no backslash, and inside \text nothing unescaped.
            commands = set(re.findall(r"\\([a-zA-Z]+)", latex))
            ours = "begin end text frac left right textbackslash textasciicircum textasciitilde textless textgreater"
            assert commands <= set(ours.split()), commands
            assert "\n\n" not in latex
            assert "\x1b" not in latex
    assert latex_escaped(latex_escaped("plain words 1")) == "plain words 1"


def test_decoding_computes() -> None:
    back = decoding(Network((2, 1), loss="mean_squared_error"), "price", 100.0, 20.0).items[0]
    assert isinstance(back.body, Map)
    assert float(_value(back.body.expression, {"p": 1.5})) == 130.0
    classes = decoding(Network((2, 1)), "diagnosis").items[0]
    assert isinstance(classes.body, Map)
    assert [float(_value(classes.body.expression, {"p": p})) for p in (0.2, 0.5, 0.8)] == [0, 0, 1]
    chosen = decoding(Network((2, 3), loss="cross_entropy"), "digit").items[0]
    assert isinstance(chosen.body, Reduce)
    assert chosen.body.operation == "argmax"


def test_symbols_bind_only_what_is_named() -> None:
    w = Symbol("w", 1, ("i", "j"))
    assert str(w.bound({"j": 2})) == "w1_i_2"
    assert str(w.bound({"k": 2})) == "w1_i_j"
    assert replace(w, axes=(1, 2)) == w.bound({"i": 1, "j": 2})
    assert isinstance(equations(Network((1, 1)))["z1"], Equation)
