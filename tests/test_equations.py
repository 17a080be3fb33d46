"""The equations: computed number by number they are the reference; altered in one row they follow everywhere."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassnet import reference
from glassnet.activations import ACTIVATIONS
from glassnet.equations import Equations, Map, Reduce, Symbol, decoding, encoding, equations, latex_escaped
from glassnet.errors import UsageError
from glassnet.expressions import evaluate, parse
from glassnet.losses import LOSSES
from glassnet.network import Network, Parameters, initialize
from glassnet.optimizers import SGD, Adam, AdamW

ROW = ("row",)


def targets(network: Network, n: int, rng: np.random.Generator) -> Any:
    kind = network.loss_row.targets
    if kind == "classes":
        return np.eye(network.n_outputs)[rng.integers(network.n_outputs, size=n)]
    drawn = rng.normal(size=(n, network.n_outputs))
    return {"unit": (drawn > 0) * 1.0, "nonnegative": np.abs(drawn).round(), "any": drawn}[kind]


def computed(network: Network, parameters: Parameters, x: Any, y: Any) -> dict[str, float]:
    """Every scalar equation of one row, evaluated in order from inputs, targets and parameters alone."""
    values: dict[Any, float] = {}
    for i, value in enumerate(x, start=1):
        values[Symbol("x", None, ("row", i))] = float(value)
    for k, value in enumerate(y, start=1):
        values[Symbol("y", None, ROW if len(y) == 1 else ("row", k))] = float(value)
    for layer in range(network.n_layers):
        for index, value in np.ndenumerate(parameters.weights[layer]):
            values[Symbol("w", layer + 1, (index[0] + 1, index[1] + 1))] = float(value)
        for index, value in np.ndenumerate(parameters.biases[layer]):
            values[Symbol("b", layer + 1, (index[0] + 1,))] = float(value)
    for equation in equations(network):
        if equation.target.kind in ("L", "dL"):
            continue  # sums over rows
        for scalar in equation.scalars():
            assert isinstance(scalar.body, Map)
            values[scalar.target] = evaluate(scalar.body.expression, values)
    return {str(key): value for key, value in values.items()}


def assert_is_the_trace(found: dict[str, float], trace: reference.Trace) -> None:
    """The forward numbers bit for bit; the gradients, whose sums NumPy may take in another order, to rounding."""
    network = trace.network
    for layer in range(1, network.n_layers + 1):
        for j in range(network.sizes[layer]):
            assert found[f"z{layer}_{j + 1}"] == trace.pre_activations[layer - 1][0, j]
            assert trace.deltas is not None
            assert found[f"delta{layer}_{j + 1}"] == pytest.approx(trace.deltas[layer - 1][0, j], rel=1e-12, abs=1e-14)
    for k in range(network.n_outputs):
        name = "" if network.n_outputs == 1 else str(k + 1)
        assert found[f"p{name}"] == trace.probabilities[0, k]
    assert found["loss"] == pytest.approx(trace.loss, rel=1e-15)
    for name, value in zip(network.parameter_names(), trace.gradient, strict=True):
        assert found[f"dloss/d{name}"] == pytest.approx(value, rel=1e-12, abs=1e-14)


def network_of(sizes: list[int], activation: str, loss: str, n_outputs: int) -> Network:
    return Network((*sizes, max(2, n_outputs) if loss == "cross_entropy" else n_outputs), activation, loss)


NETWORKS = st.builds(
    network_of,
    st.lists(st.integers(1, 3), min_size=1, max_size=3),
    st.sampled_from(list(ACTIVATIONS)),
    st.sampled_from(list(LOSSES)),
    st.integers(1, 3),
)


@settings(deadline=None, max_examples=40)
@given(NETWORKS, st.integers(0, 1000))
def test_number_by_number_they_are_the_reference(network: Network, seed: int) -> None:
    rng = np.random.default_rng(seed)
    parameters = initialize(network, seed, "standard_normal")
    X, y = rng.normal(size=(1, network.n_features)), targets(network, 1, rng)
    assert_is_the_trace(computed(network, parameters, X[0], y[0]), reference.backward(network, parameters, X, y))


def test_the_comparison_can_fail() -> None:
    network = Network((2, 2, 1), "tanh")
    parameters = initialize(network, 1, "standard_normal")
    trace = reference.backward(network, parameters, [[1.0, 2.0]], [1.0])
    found = computed(network, parameters, [1.0, 2.0], [1.0])
    assert_is_the_trace(found, trace)
    for name in ("z1_2", "p", "loss", "dloss/dw1_2_1"):
        with pytest.raises(AssertionError):
            assert_is_the_trace({**found, name: found[name] * (1 + 1e-9)}, trace)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_matrix_forms_are_numpy(loss: str) -> None:
    """The printed matrix products, run by Python itself, give the reference's numbers for many rows."""
    network = Network((3, 4, 3), "tanh", loss)
    rng = np.random.default_rng(2)
    parameters = initialize(network, 2, "standard_normal")
    X, y = rng.normal(size=(6, 3)), targets(network, 6, rng)
    weights = rng.uniform(1, 2, 6)
    trace = reference.backward(network, parameters, X, y, weights)
    assert trace.deltas is not None
    assert trace.weight_gradients is not None
    assert trace.bias_gradients is not None
    names: dict[str, Any] = {"X": X, "share": weights / weights.sum(), "diag": np.diag, "loss": trace.row_losses}
    for layer in (1, 2):
        names |= {f"W{layer}": parameters.weights[layer - 1], f"b{layer}": parameters.biases[layer - 1]}
        names |= {f"A{layer}": trace.activations[layer], f"Delta{layer}": trace.deltas[layer - 1]}
    expected = {"L": trace.loss, "Z1": trace.pre_activations[0], "Z2": trace.pre_activations[1]}
    for layer in (1, 2):
        expected[f"dL/dW{layer}"] = trace.weight_gradients[layer - 1]
        expected[f"dL/db{layer}"] = trace.bias_gradients[layer - 1]
    printed = equations(network).text("matrix").splitlines()
    lines = dict(line.strip().split("  ")[0].split(" = ", 1) for line in printed if " = " in line)
    for name, value in expected.items():
        np.testing.assert_allclose(eval(lines[name], names), value, rtol=1e-12)


def test_one_altered_row_changes_text_latex_and_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network((1, 1, 1), "relu", "mean_squared_error")
    parameters = Parameters(network, np.array([2.0, 0.5, 3.0, 1.0]))

    def seen() -> tuple[str, str, float, float]:
        derived = equations(network)
        trace = reference.backward(network, parameters, [[1.5]], [2.0])
        return derived.text(), derived.latex(), float(trace.activations[1][0, 0]), float(trace.gradient[0])

    before = seen()
    row = replace(ACTIVATIONS["relu"], value=parse("z * z * z"), derivative=parse("3 * z * z"))
    monkeypatch.setitem(ACTIVATIONS, "relu", row)
    after = seen()
    assert "a1_1 = max(z1_1, 0)" in before[0]
    assert "a1_1 = z1_1 * z1_1 * z1_1" in after[0]
    assert r"\max" in before[1]
    assert r"\max" not in after[1]
    assert (before[2], after[2]) == (3.5, 3.5**3)
    o = 1 + 3 * 3.5**3
    assert after[3] == 2 * (o - 2) * 3 * (3 * 3.5**2) * 1.5
    assert before[3] == 2 * (11.5 - 2) * 3 * 1.5


def test_penalty_and_update_are_written_out() -> None:
    network = Network((2, 1), loss="mean_squared_error")
    text = equations(network, SGD(0.1), l1=0.1, l2=0.5).text()
    assert "dJ/dw1_2_1 = dL/dw1_2_1 + (0.1 * sign(w1_2_1) + 0.5 * w1_2_1)" in text
    assert "w1_2_1 <- w1_2_1 - learning_rate * dJ/dw1_2_1" in text
    assert "b1_1 <- b1_1 - learning_rate * dL/db1_1" in text
    assert "J = L + penalty" in text
    assert "penalty" not in equations(network, SGD(0.1)).text()
    decay = equations(network, AdamW(weight_decay=0.5)).text()
    assert "0.5 * 1 * w1_1_1" in decay
    assert "0.5 * 0 * b1_1" in decay


@settings(deadline=None, max_examples=25)
@given(NETWORKS, st.sampled_from(["scalar", "indexed", "matrix"]))
def test_latex_is_balanced_and_names_every_layer(network: Network, form: str) -> None:
    latex = equations(network, Adam(), l1=0.1, l2=0.2).latex(form)
    assert latex.count("{") == latex.count("}")
    assert latex.replace(r"\leftarrow", "").count(r"\left") == latex.count(r"\right")
    assert latex.count(r"\begin{cases}") == latex.count(r"\end{cases}")
    for layer in range(1, network.n_layers + 1):
        assert f"^{{[{layer}]}}" in latex


def test_lookup_by_name_and_stage() -> None:
    derived = equations(Network((2, 2, 1)))
    assert str(derived["z1"].scalar(j=2)) == "z1_2 = b1_2 + w1_1_2 * x1 + w1_2_2 * x2"
    assert {equation.stage for equation in derived.stage("backward")} == {"backward"}
    for wrong in (lambda: derived["z9"], lambda: derived.stage("sideways"), lambda: derived["z1"].scalar(j=3)):
        with pytest.raises(UsageError):
            wrong()


def test_encoding_and_decoding() -> None:
    assert str(next(iter(encoding([("a column", 2.0, 0.5)])))) == "x1 = (a column - 2) / 0.5"
    price = decoding(Network((2, 1), loss="huber"), "price", 100.0, 20.0)
    assert "price = 100 + 20 * p" in price.text()
    kind = decoding(Network((2, 3), loss="cross_entropy"), "kind")
    assert isinstance(next(iter(kind)).body, Reduce)
    assert "kind = argmax over k of p_k" in kind.text()
    assert r"\operatorname*{argmax}_{k} p_{k}" in kind.latex()


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=30))
def test_hostile_column_names_are_only_text_in_latex(name: str) -> None:
    latex = latex_escaped(name)
    bare = re.sub(r"\\text(backslash|asciicircum|asciitilde|less|greater)\{\}|\\[{}$&#%_]", "", latex)
    assert not set(bare) & set("\\{}$&#%_^~<>")
    assert isinstance(encoding([(name, 1.0, 2.0)]), Equations)
