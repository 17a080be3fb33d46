"""The network by hand: against the reference, against jax, against the notebook's own formulas, against `train`."""

from __future__ import annotations

import ast
import inspect
import math
import re
import textwrap

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassnet import by_hand, datasets, reference
from glassnet.by_hand import NETWORK, NeuralNetwork
from glassnet.errors import DataError, UsageError
from glassnet.network import Network, Parameters, initialize
from glassnet.optimizers import SGD
from glassnet.training import train

NOTEBOOK_NAMES = {
    "w11": "w1_1_1",
    "w12": "w1_2_1",
    "b11": "b1_1",
    "w13": "w1_1_2",
    "w14": "w1_2_2",
    "b12": "b1_2",
    "w21": "w2_1_1",
    "w22": "w2_2_1",
    "b2": "b2_1",
}

numbers = st.floats(-5, 5)
nine = st.lists(numbers, min_size=9, max_size=9).map(lambda values: Parameters(NETWORK, np.array(values)))


def holding(parameters: Parameters) -> NeuralNetwork:
    network = NeuralNetwork()
    network.set_parameters(parameters)
    return network


def gradient_by_hand(parameters: Parameters, x1: float, x2: float, y: float) -> dict[str, float]:
    """The nine derivatives of one row, by glassnet's names."""
    network = holding(parameters)
    derivatives = network.back_prop(x1, x2, y, network.forward_prop(x1, x2))
    return {NOTEBOOK_NAMES[key.removeprefix("dloss_d")]: value for key, value in derivatives.items()}


@pytest.fixture(scope="module")
def tumors():
    data = datasets.tumors()
    return (data.X - data.X.mean(axis=0)) / data.X.std(axis=0), data.y


# --- which name is which ------------------------------------------------------------------------------------------


def test_the_table_of_names_is_true():
    table = dict(re.findall(r"^    ([wb]\d+) +([wb]\d_\w+) ", by_hand.__doc__, flags=re.MULTILINE))
    assert table == NOTEBOOK_NAMES
    parameters = Parameters(NETWORK, np.arange(1.0, 10.0))
    network = holding(parameters)
    ours = dict(zip(NETWORK.parameter_names(), parameters.vector, strict=True))
    assert {theirs: getattr(network, theirs) for theirs in table} == {theirs: ours[o] for theirs, o in table.items()}
    assert np.array_equal(network.parameters().vector, parameters.vector)


def test_the_start_is_glassnets_own():
    network = NeuralNetwork()
    network.initialize(random_state=3)
    assert np.array_equal(network.parameters().vector, initialize(NETWORK, 3, "standard_normal").vector)


def test_nothing_loops_and_nothing_is_a_vector():
    # The rows are looped over in fit and _accuracy_cost; what computes a row is scalar, line by line.
    for method in ("relu", "derivative_relu", "sigmoid", "binary_cross_entropy", "forward_prop", "back_prop"):
        tree = ast.parse(textwrap.dedent(inspect.getsource(getattr(NeuralNetwork, method))))
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        assert not names & {"np", "reference"}
        assert not any(isinstance(node, ast.For | ast.While | ast.ListComp | ast.DictComp) for node in ast.walk(tree))


# --- the mathematics ----------------------------------------------------------------------------------------------


@given(parameters=nine, x1=numbers, x2=numbers, y=st.sampled_from([0.0, 1.0]))
def test_forward_and_backward_are_the_references(parameters, x1, x2, y):
    trace = reference.backward(NETWORK, parameters, [[x1, x2]], [y])
    network = holding(parameters)
    forward = network.forward_prop(x1, x2)
    # The same operations in the same order: the same bits, up to the sigmoid, whose exp is another.
    assert [forward["z11"], forward["z12"]] == trace.pre_activations[0][0].tolist()
    assert [forward["a11"], forward["a12"]] == trace.activations[1][0].tolist()
    assert forward["z2"] == trace.logits[0, 0]
    # Two roundings of exp apart, at most.
    assert forward["a2"] == pytest.approx(trace.probabilities[0, 0], rel=1e-15)
    found = gradient_by_hand(parameters, x1, x2, y)
    expected = dict(zip(NETWORK.parameter_names(), trace.gradient, strict=True))
    assert sorted(found) == sorted(expected)
    # p - y near 0 keeps of p's rounding, 1e-16, what is left of it; the factors x, a, w are at most 130.
    assert found == pytest.approx(expected, rel=1e-12, abs=1e-13)


def test_a_wrong_gradient_would_be_seen():
    parameters = Parameters(NETWORK, np.linspace(0.1, 0.9, 9))  # both units at work
    found = gradient_by_hand(parameters, 0.3, 0.7, 1.0)
    gradient = reference.backward(NETWORK, parameters, [[0.3, 0.7]], [1.0]).gradient
    expected = dict(zip(NETWORK.parameter_names(), gradient, strict=True))
    assert found == pytest.approx(expected, rel=1e-12, abs=1e-13)
    wrong = found | {"w1_2_1": found["w1_1_2"], "w1_1_2": found["w1_2_1"]}  # the two that are easily taken for another
    assert wrong != pytest.approx(expected, rel=1e-12, abs=1e-13)


def test_gradients_are_those_of_jax():
    import jax
    import jax.numpy as jnp

    def loss(v, x, y):  # the notebook's formulas, in the order of glassnet's vector
        a1 = jnp.maximum(v[0] * x[0] + v[2] * x[1] + v[4], 0)
        a2 = jnp.maximum(v[1] * x[0] + v[3] * x[1] + v[5], 0)
        p = 1 / (1 + jnp.exp(-(v[6] * a1 + v[7] * a2 + v[8])))
        return -(y * jnp.log(p) + (1 - y) * jnp.log(1 - p))

    draw = np.random.default_rng(0)
    vectors, X, y = draw.normal(size=(50, 9)), draw.normal(size=(50, 2)), draw.integers(0, 2, 50).astype(float)
    with jax.enable_x64(True):
        expected = np.asarray(jax.jit(jax.vmap(jax.grad(loss)))(jnp.array(vectors), jnp.array(X), jnp.array(y)))
    for row in range(50):
        found = gradient_by_hand(Parameters(NETWORK, vectors[row]), *X[row].tolist(), y[row])
        # The notebook's formula divides by p and 1 - p, which costs it some digits.
        assert [found[name] for name in NETWORK.parameter_names()] == pytest.approx(expected[row], rel=1e-10, abs=1e-12)


@given(z=st.floats(-10, 10), y=st.sampled_from([0.0, 1.0]))
def test_the_loss_is_the_notebooks_where_that_is_finite(z, y):
    p = 1 / (1 + math.exp(-z))
    # At |z| = 10 the notebook's 1 - p has lost four of its sixteen digits.
    notebook = -(y * math.log(p) + (1 - y) * math.log(1 - p))
    assert NeuralNetwork().binary_cross_entropy(z, y) == pytest.approx(notebook, rel=1e-10)
    assert NeuralNetwork().sigmoid(z) == pytest.approx(p, rel=1e-15)


@pytest.mark.parametrize("z", [-1e300, -1e4, -745.0, -37.0, 37.0, 745.0, 1e4, 1e300])
def test_the_loss_outlives_saturation(z):
    network = NeuralNetwork()
    assert network.binary_cross_entropy(z, 0.0) == pytest.approx(max(z, 0.0), abs=1e-15)
    assert network.binary_cross_entropy(z, 1.0) == pytest.approx(max(-z, 0.0), abs=1e-15)
    assert network.sigmoid(z) == pytest.approx(float(z > 0), abs=1e-15)


def test_a_sure_network_has_a_finite_cost():
    network = holding(Parameters(NETWORK, np.full(9, 100.0)))
    accuracy, cost = network.get_accuracy_cost([[1.0, 1.0], [1.0, 1.0]], [0, 1])
    assert accuracy == 0.5
    # z1 = 300, o = 100 + 2 * 100 * 300; the row that is wrong costs its logit.
    assert cost == 60_100.0


# --- training -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("random_state", range(5))
def test_train_follows_its_parameters(tumors, random_state):
    X, y = tumors
    network = NeuralNetwork().fit(X, y, 0.1, 100, random_state=random_state, verbose=False)
    start = initialize(NETWORK, random_state, "standard_normal")
    run = train(NETWORK, X, y, optimizer=SGD(learning_rate=0.1), epochs=100, parameters=start)
    assert np.abs(network.parameters().vector - run.parameters.vector).max() < 1e-10
    # The notebook's cost is the sum of what glassnet's loss is the mean of.
    assert np.array(network.costs) / len(X) == pytest.approx(run.history.loss[1:], rel=1e-10)
    again = NeuralNetwork().fit(X, y, 0.1, 100, parameters=start, verbose=False)
    assert again.costs == network.costs


def test_another_rate_would_be_seen(tumors):
    X, y = tumors
    start = initialize(NETWORK, 0, "standard_normal")
    network = NeuralNetwork().fit(X, y, 0.1, 5, parameters=start, verbose=False)
    run = train(NETWORK, X, y, optimizer=SGD(learning_rate=0.1001), epochs=5, parameters=start)
    assert np.abs(network.parameters().vector - run.parameters.vector).max() > 1e-6


def notebook_lines(vector, X, y, alpha, epochs):
    """What the notebook prints: its formulas over all rows at once, its sums, its line."""
    w11, w13, w12, w14, b11, b12, w21, w22, b2 = vector
    x1, x2, y = X[:, 0], X[:, 1], y[:, 0]

    def passed():
        z1, z2 = w11 * x1 + w12 * x2 + b11, w13 * x1 + w14 * x2 + b12
        return z1, z2, 1 / (1 + np.exp(-(w21 * np.maximum(z1, 0) + w22 * np.maximum(z2, 0) + b2)))

    for epoch in range(1, epochs + 1):
        z1, z2, p = passed()
        error = p - y
        e1, e2 = (z1 > 0) * w21 * error, (z2 > 0) * w22 * error
        w21 -= alpha * np.mean(np.maximum(z1, 0) * error)
        w22 -= alpha * np.mean(np.maximum(z2, 0) * error)
        b2 -= alpha * np.mean(error)
        w11, w12, b11 = w11 - alpha * np.mean(x1 * e1), w12 - alpha * np.mean(x2 * e1), b11 - alpha * np.mean(e1)
        w13, w14, b12 = w13 - alpha * np.mean(x1 * e2), w14 - alpha * np.mean(x2 * e2), b12 - alpha * np.mean(e2)
        p = passed()[2]
        cost = -np.sum(y * np.log(p) + (1 - y) * np.log(1 - p))
        accuracy = np.mean((p > 0.5) == y)
        yield f"epoch: {epoch}, cost: {cost:.2f}, accuracy: {accuracy * 100:.2f}%"


def test_it_prints_the_notebooks_lines(tumors, capsys):
    X, y = tumors
    network = NeuralNetwork().fit(X, y, 0.1, 20, random_state=1)
    printed = capsys.readouterr().out.splitlines()
    assert printed == list(notebook_lines(initialize(NETWORK, 1, "standard_normal").vector, X, y, 0.1, 20))
    assert all(re.fullmatch(r"epoch: \d+, cost: \d+\.\d\d, accuracy: \d+\.\d\d%", line) for line in printed)
    assert [network.training_line(1), network.training_line(20)] == [printed[0], printed[-1]]
    assert network.get_accuracy_cost(X, y) == (network.accuracies[-1], network.costs[-1])


def test_the_notebooks_own_line_has_this_form():
    network = NeuralNetwork()
    network.costs, network.accuracies = [1538.0601], [0.3758241]
    assert network.training_line(1) == "epoch: 1, cost: 1538.06, accuracy: 37.58%"


def test_printing_can_be_turned_off(capsys):
    NeuralNetwork().fit([[0.0, 1.0]], [1], 0.1, 3, verbose=False)
    assert capsys.readouterr().out == ""


@settings(max_examples=20)
@given(parameters=nine, x1=numbers, x2=numbers)
def test_the_class_is_that_of_the_probability(parameters, x1, x2):
    prob, class_ = holding(parameters).get_prob_class(x1, x2)
    assert 0 <= prob <= 1
    assert class_ == (1 if prob > 0.5 else 0)


def test_no_class_is_a_tie():
    assert NeuralNetwork().encode_class(0.5) == 0


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda n: n.fit([[1.0, 2.0]], [1], 0.0, 5), UsageError, "alpha is the learning rate, above 0; got 0.0"),
        (lambda n: n.fit([[1.0, 2.0]], [1], math.nan, 5), UsageError, "got nan"),
        (lambda n: n.fit([[1.0, 2.0]], [1], 0.1, 0), UsageError, "epochs is a whole number, 1 or more; got 0"),
        (lambda n: n.fit([[1.0, 2.0]], [1], 0.1, 2.5), UsageError, "got 2.5"),
        (lambda n: n.fit([[1.0, 2.0, 3.0]], [1], 0.1, 5), DataError, r"got shape \(1, 3\)"),
        (lambda n: n.fit([[1.0, 2.0]], [2], 0.1, 5), DataError, "numbers from 0 to 1"),
        (lambda n: n.get_accuracy_cost([[1.0, math.inf]], [1]), DataError, "finite"),
        (
            lambda n: n.set_parameters(initialize(Network((2, 3, 1)))),
            UsageError,
            r"has sizes \(2, 2, 1\) and 9 parameters; got sizes \(2, 3, 1\)",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(NeuralNetwork())
