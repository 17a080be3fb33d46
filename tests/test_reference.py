"""The reference passes against JAX, SymPy, difference quotients and the field's worked example."""

from __future__ import annotations

from functools import partial
from itertools import pairwise, product
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import sympy
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from glassnet.activations import ACTIVATIONS
from glassnet.checks import difference_quotients
from glassnet.errors import DataError, UsageError
from glassnet.expressions import to_sympy
from glassnet.losses import LOSSES
from glassnet.network import Network, Parameters, dropout_masks
from glassnet.reference import (
    Trace,
    backward,
    checked_masks,
    checked_row_weights,
    checked_table,
    checked_targets,
    euclidean_norm,
    forward,
    is_finite,
)

jax.config.update("jax_enable_x64", True)

LINKED = ("binary_cross_entropy", "cross_entropy", "poisson")  # behind these the output layer is identity
LOSS_NAMES = ("huber(0.7)", "quantile(0.9)", *(name for name in LOSSES if name not in ("huber", "quantile")))
ROWS, WIDTH, LAYERS = 4, 3, 3  # of the largest network that the oracle takes


# --- the oracle: any network up to that size, padded with zeros, so that JAX compiles one function for all ---------

JAX_ACTIVATIONS = {
    "identity": lambda z: z,
    "relu": jax.nn.relu,
    "leaky_relu": jax.nn.leaky_relu,
    "elu": jax.nn.elu,
    "selu": jax.nn.selu,
    "gelu": lambda z: jax.nn.gelu(z, approximate=False),
    "silu": jax.nn.silu,
    "softplus": jax.nn.softplus,
    "softsign": jax.nn.soft_sign,
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
}


def _mean(terms: Any, real: Any) -> Any:
    return jnp.where(real, terms, 0).sum(axis=1) / real.sum()


def _cross_entropy(o: Any, y: Any, c: Any, real: Any) -> Any:
    return -jnp.where(real, y * jax.nn.log_softmax(jnp.where(real, o, -1e30)), 0).sum(axis=1)


JAX_LOSSES = {  # of logits o, targets y, a parameter c, and which of the outputs are real: (n,) row losses
    "binary_cross_entropy": lambda o, y, c, real: _mean(
        -y * jax.nn.log_sigmoid(o) - (1 - y) * jax.nn.log_sigmoid(-o), real
    ),
    "cross_entropy": _cross_entropy,
    "mean_squared_error": lambda o, y, c, real: _mean((y - o) ** 2, real),
    "mean_absolute_error": lambda o, y, c, real: _mean(abs(y - o), real),
    "huber": lambda o, y, c, real: _mean(jnp.where(abs(y - o) < c, (y - o) ** 2 / 2, c * abs(y - o) - c**2 / 2), real),
    "poisson": lambda o, y, c, real: _mean(jnp.exp(o) - y * o, real),
    "quantile": lambda o, y, c, real: _mean(jnp.where(y > o, c * (y - o), (1 - c) * (o - y)), real),
}


@partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})  # compiled sooner; each call is short
@jax.value_and_grad
def _padded_oracle(
    layers: Any, kinds: Any, used: Any, masks: Any, loss: Any, c: Any, real: Any, table: Any, l1: Any, l2: Any
) -> Any:
    X, y, row_weights = table
    a, penalty = X, 0.0
    for layer, (W, b) in enumerate(layers):
        out = masks[layer] * jax.lax.switch(kinds[layer], list(JAX_ACTIVATIONS.values()), a @ W + b)
        a = jnp.where(used[layer], out, a)
        penalty += l1 * abs(W).sum() + l2 * (W**2).sum() / 2
    row_losses = jax.lax.switch(loss, list(JAX_LOSSES.values()), a, y, c, real)
    return jnp.average(row_losses, weights=row_weights) + penalty


def _padded(array: Any, *shape: int) -> Any:
    array = np.asarray(array, float)
    return np.pad(array, [(0, n - m) for m, n in zip(array.shape, shape, strict=True)])


def oracle(
    network: Network, parameters: Parameters, X: Any, y: Any, row_weights: Any, l1: float, l2: float, masks: Any = None
) -> tuple[float, np.ndarray]:
    """The objective and its gradient, by JAX."""
    name, _, c = network.loss.partition("(")
    missing = LAYERS - network.n_layers
    layers = [
        (_padded(W, WIDTH, WIDTH), _padded(b, WIDTH))
        for W, b in zip(parameters.weights, parameters.biases, strict=True)
    ]
    layers += [(np.zeros((WIDTH, WIDTH)), np.zeros(WIDTH))] * missing
    padded_masks = [_padded(mask, ROWS, WIDTH) for mask in masks or ()]
    padded_masks += [np.ones((ROWS, WIDTH))] * (LAYERS - len(padded_masks))
    value, gradients = _padded_oracle(
        layers,
        np.array([list(JAX_ACTIVATIONS).index(name) for name in network.activations] + [0] * missing),
        np.arange(LAYERS) < network.n_layers,
        padded_masks,
        list(JAX_LOSSES).index(name),
        float(c[:-1] or 0),
        np.arange(WIDTH) < network.n_outputs,
        (_padded(X, ROWS, WIDTH), _padded(y, ROWS, WIDTH), _padded(row_weights, ROWS)),
        l1,
        l2,
    )
    parts = [
        np.ravel(part)
        for (W, b), (n_in, n_out) in zip(gradients, pairwise(network.sizes), strict=False)
        for part in (W[:n_in, :n_out], b[:n_out])
    ]
    return float(value), np.concatenate(parts)


def targets_for(network: Network, n: int, rng: np.random.Generator) -> np.ndarray:
    """Targets of the kind that the network's loss takes."""
    drawn = rng.normal(size=(n, network.n_outputs))
    match network.loss_row.targets:
        case "unit":
            return rng.uniform(size=drawn.shape)
        case "classes":
            return np.exp(drawn) / np.exp(drawn).sum(axis=1, keepdims=True)
        case "nonnegative":
            return np.abs(drawn)
    return drawn


def job(network: Network, seed: int, n: int = ROWS) -> tuple[Parameters, np.ndarray, np.ndarray, np.ndarray]:
    """Parameters, X, y and row weights at random."""
    rng = np.random.default_rng(seed)
    parameters = Parameters(network, rng.normal(0, 0.8, network.n_parameters))
    X = rng.normal(size=(n, network.n_features))
    return parameters, X, targets_for(network, n, rng), rng.uniform(0.2, 2, n)


def masks_for(network: Network, n: int, rate: float | None, seed: int) -> Any:
    """Masks at random; None for no rate."""
    if rate is None:
        return None
    return dropout_masks(network, rate if network.n_layers > 1 else 0, n, random_state=seed, epoch=1)


def distance_to_kinks(trace: Trace) -> float:
    """How far the nearest number of a pass lies from a kink that it could fall off."""
    network, found = trace.network, [np.inf]
    for layer, z in enumerate(trace.pre_activations, start=1):
        found += [np.abs(z - kink).min() for kink in network.activation_row(layer).kinks]
    assert trace.y is not None
    if network.loss_row.kink_at_target:
        found.append(np.abs(trace.logits - trace.y).min())
    if network.loss.startswith("huber"):  # its derivative has a kink where the parabola becomes a line
        found.append(np.abs(np.abs(trace.logits - trace.y) - network.loss_row.parameter).min())
    return float(min(found))


def assert_gradient(found: np.ndarray, expected: np.ndarray, relative: float = 1e-10) -> None:
    """Equal in the norm: |found - expected| <= relative |expected|."""
    assert found.shape == expected.shape
    assert np.linalg.norm(found - expected) <= relative * np.linalg.norm(expected)


def test_the_comparison_can_fail() -> None:
    gradient = np.array([1.0, -2.0, 0.0])
    assert_gradient(gradient * (1 + 0.9e-10), gradient)
    with pytest.raises(AssertionError):
        assert_gradient(gradient * (1 + 1.1e-10), gradient)
    with pytest.raises(AssertionError):
        assert_gradient(gradient + np.array([0.0, 0.0, 1e-9]), gradient)
    with pytest.raises(AssertionError):
        assert_gradient(gradient * np.nan, gradient)


def compare_with_jax(network: Network, seed: int, n: int = ROWS, l1: float = 0.03, l2: float = 0.2) -> None:
    parameters, X, y, row_weights = job(network, seed, n)
    trace = backward(network, parameters, X, y, row_weights, l1, l2)
    value, gradient = oracle(network, parameters, X, y, row_weights, l1, l2)
    assert trace.objective == pytest.approx(value, rel=1e-12)
    assert_gradient(trace.gradient, gradient)


# --- against JAX --------------------------------------------------------------------------------------------------

MATRIX = [
    (activation, loss, n_outputs)
    for activation, loss, n_outputs in product(ACTIVATIONS, LOSS_NAMES, (1, 2, 3))
    if not (loss == "cross_entropy" and n_outputs == 1)  # refused: see test_network
]


@pytest.mark.parametrize(("activation", "loss", "n_outputs"), MATRIX)
def test_every_activation_loss_and_number_of_outputs(activation: str, loss: str, n_outputs: int) -> None:
    compare_with_jax(Network((2, 2, n_outputs), activation, loss), seed=n_outputs)


def test_the_matrix_is_whole() -> None:
    assert set(JAX_ACTIVATIONS) == set(ACTIVATIONS)
    assert set(JAX_LOSSES) == set(LOSSES)
    assert len(MATRIX) == 11 * 7 * 3 - 11


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", [name for name in LOSS_NAMES if name not in LINKED])
def test_every_activation_of_the_output_layer(activation: str, loss: str) -> None:
    compare_with_jax(Network((2, 2, 2), ("tanh", activation), loss), seed=5)


@st.composite
def networks(draw: st.DrawFn) -> Network:
    sizes = draw(st.lists(st.integers(1, WIDTH), min_size=2, max_size=LAYERS + 1))
    loss = draw(st.sampled_from([name for name in LOSS_NAMES if name != "cross_entropy" or sizes[-1] > 1]))
    name = st.sampled_from(list(ACTIVATIONS))
    n_named = len(sizes) - 2 if loss in LINKED else draw(st.integers(len(sizes) - 2, len(sizes) - 1))
    return Network(sizes, draw(st.tuples(*[name] * n_named)), loss)


PENALTIES = st.sampled_from([0.0, 0.01, 0.5])
RATES = st.sampled_from([None, 0.2, 0.7])  # of dropout


@given(networks(), st.integers(0, 2**32 - 1), st.integers(1, ROWS), st.booleans(), PENALTIES, PENALTIES, RATES)
@settings(max_examples=300, deadline=None)
def test_any_network_against_jax(
    network: Network, seed: int, n: int, weighted: bool, l1: float, l2: float, rate: float | None
) -> None:
    parameters, X, y, row_weights = job(network, seed, n)
    if not weighted:
        row_weights = np.ones(n)
    masks = masks_for(network, n, rate, seed)
    trace = backward(network, parameters, X, y, row_weights if weighted else None, l1, l2, masks)
    # At the kink itself the two may state different derivatives, and 1e-12 from it they may see different sides.
    assume(distance_to_kinks(trace) > 1e-12)
    value, gradient = oracle(network, parameters, X, y, row_weights, l1, l2, masks)
    assert trace.loss is not None
    assert trace.penalty is not None
    assert trace.objective == trace.loss + trace.penalty == pytest.approx(value, rel=1e-12, abs=1e-15)
    assert_gradient(trace.gradient, gradient)


# --- against SymPy: the derivative of the textbook forms, to 30 digits ---------------------------------------------


def sympy_gradient(
    network: Network,
    parameters: Parameters,
    X: np.ndarray,
    y: np.ndarray,
    row_weights: np.ndarray,
    l1: float,
    l2: float,
) -> np.ndarray:
    """The whole objective written down as one formula of the parameters, and differentiated by each."""
    symbols = sympy.symbols(network.parameter_names(), real=True)
    named = iter(symbols)
    weights, biases = [], []
    for n_in, n_out in pairwise(network.sizes):
        weights.append([[next(named) for _ in range(n_out)] for _ in range(n_in)])
        biases.append([next(named) for _ in range(n_out)])
    exact = np.vectorize(sympy.Rational, otypes=[object])  # the very float64, as a fraction
    row_losses = []
    for x, target in zip(exact(X), exact(y), strict=True):
        a = list(x)
        for layer, (W, b) in enumerate(zip(weights, biases, strict=True), start=1):
            z = [b[j] + sum(a[i] * W[i][j] for i in range(len(a))) for j in range(len(b))]
            a = [to_sympy(network.activation_row(layer).textbook, lambda _, z=z, j=j: z[j]) for j in range(len(z))]
        p = {
            "identity": lambda a: a,
            "sigmoid": lambda a: [1 / (1 + sympy.exp(-o)) for o in a],
            "softmax": lambda a: [sympy.exp(o) / sum(sympy.exp(other) for other in a) for o in a],
            "exp": lambda a: [sympy.exp(o) for o in a],
        }[network.loss_row.link](a)
        terms = [to_sympy(network.loss_row.textbook, {"p": p[k], "y": target[k]}.get) for k in range(len(a))]
        row_losses.append(sum(terms) / (1 if network.loss_row.sums_over_outputs else len(terms)))
    shares = exact(row_weights) / sum(exact(row_weights))
    flat = [w for W in weights for row in W for w in row]
    objective = sum(shares * np.array(row_losses))
    objective += sympy.Rational(l1) * sum(map(abs, flat)) + sympy.Rational(l2) / 2 * sum(w**2 for w in flat)
    modules = ["mpmath", {"Heaviside": lambda x, *_: mpmath.mpf(x > 0)}]
    gradient = sympy.lambdify(symbols, [sympy.diff(objective, s) for s in symbols], modules, cse=True)
    with mpmath.workdps(30):
        return np.array([float(g) for g in gradient(*map(mpmath.mpf, parameters.vector.tolist()))])


@pytest.mark.parametrize(
    "network",
    [
        Network((2, 2, 1), "relu", "binary_cross_entropy"),
        Network((1, 2, 3), "sigmoid", "cross_entropy"),
        Network((2, 1, 2, 1), ("tanh", "selu"), "poisson"),
        Network((1, 2, 2), ("gelu", "softsign"), "mean_squared_error"),
        Network((1, 1, 1, 1), ("leaky_relu", "silu"), "quantile(0.9)"),
        Network((2, 1, 1), ("elu", "softplus"), "mean_absolute_error"),
    ],
    ids=lambda network: network.loss,
)
def test_against_sympy(network: Network) -> None:
    parameters, X, y, row_weights = job(network, seed=11, n=2)
    trace = backward(network, parameters, X, y, row_weights, 0.25, 0.5)
    assert distance_to_kinks(trace) > 1e-3
    # SymPy's numbers are right to the last digit of float64; ours have a few dozen roundings behind them.
    assert_gradient(trace.gradient, sympy_gradient(network, parameters, X, y, row_weights, 0.25, 0.5), 1e-14)


# --- against differences ------------------------------------------------------------------------------------------


@given(networks(), st.integers(0, 2**32 - 1), PENALTIES, PENALTIES, RATES)
@settings(max_examples=90, deadline=None)
def test_any_network_against_central_differences(
    network: Network, seed: int, l1: float, l2: float, rate: float | None
) -> None:
    parameters, X, y, row_weights = job(network, seed)
    masks = masks_for(network, len(X), rate, seed)
    trace = backward(network, parameters, X, y, row_weights, l1, l2, masks)
    # A step of 6e-6 in one parameter moves no z or logit of these networks by a thousandth.
    assume(distance_to_kinks(trace) > 1e-3)
    assume(np.abs(parameters.vector).min() > 1e-4)  # that of |w|

    def objective(vector: np.ndarray) -> float:
        value = forward(network, Parameters(network, vector), X, y, row_weights, l1, l2, masks).objective
        assert value is not None
        return value

    quotients = difference_quotients(objective, parameters.vector)
    # The quotient's own error: h^2 times a third derivative (here up to some hundred), and the value's rounding / h.
    tolerance = 1e-7 * max(1.0, abs(trace.objective or 0), np.abs(quotients).max())
    np.testing.assert_allclose(trace.gradient, quotients, rtol=0, atol=tolerance)


# --- the same bits alone and in a batch ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", ["binary_cross_entropy", "cross_entropy", "poisson", "huber"])
def test_a_row_has_the_same_bits_alone_and_in_a_batch(activation: str, loss: str, dtype: Any) -> None:
    network = Network((5, 7, 4, 3), activation, loss)
    rng = np.random.default_rng(3)
    n = 37  # no multiple of a vector register's width
    parameters = Parameters(network, rng.normal(size=network.n_parameters).astype(dtype))
    X = rng.normal(0, 2, (n, 5)).astype(dtype)
    y = targets_for(network, n, rng).astype(dtype)
    batch = forward(network, parameters, X, y)
    for row in range(n):
        alone = forward(network, parameters, X[row : row + 1], y[row : row + 1])
        assert _bits_of_row(alone, 0) == _bits_of_row(batch, row)


def _bits_of_row(trace: Trace, row: int) -> list[bytes]:
    assert trace.row_losses is not None
    parts = [*trace.pre_activations, *trace.activations, trace.logits, trace.probabilities, trace.row_losses]
    return [np.ascontiguousarray(part[row]).tobytes() for part in parts]


def test_the_comparison_of_bits_can_fail() -> None:
    network = Network((1, 1), loss="mean_squared_error")
    one, other = (
        forward(network, Parameters(network, np.array([w, 0.0])), [[1.0]], [0.0]) for w in (1.0, np.nextafter(1.0, 2))
    )
    assert _bits_of_row(one, 0) == _bits_of_row(one, 0)
    assert _bits_of_row(one, 0) != _bits_of_row(other, 0)


# --- Mazur's example ----------------------------------------------------------------------------------------------

MAZUR = Network((2, 2, 2), ("sigmoid", "sigmoid"), "mean_squared_error")
MAZUR_X, MAZUR_Y = [[0.05, 0.10]], [[0.01, 0.99]]  # the mean over two outputs is his sum of halves


def mazur_start() -> Parameters:
    return Parameters.from_layers(
        MAZUR, [np.array([[0.15, 0.25], [0.20, 0.30]]), np.array([[0.40, 0.50], [0.45, 0.55]])],
        [np.array([0.35, 0.35]), np.array([0.60, 0.60])],
    )  # fmt: skip


def mazur_step(parameters: Parameters) -> Trace:
    """One step of rate 0.5, in place, the biases held fixed; the pass before it."""
    trace = backward(MAZUR, parameters, MAZUR_X, MAZUR_Y)
    assert trace.weight_gradients is not None
    for W, dW in zip(parameters.weights, trace.weight_gradients, strict=True):
        W -= 0.5 * dW
    return trace


def mazur_loss(parameters: Parameters) -> float:
    loss = forward(MAZUR, parameters, MAZUR_X, MAZUR_Y).loss
    assert loss is not None
    return loss


def test_mazurs_example_to_every_digit() -> None:
    parameters = mazur_start()
    assert f"{mazur_step(parameters).loss:.9f}" == "0.298371109"
    assert f"{mazur_loss(parameters):.9f}" == "0.291027774"
    hidden, output = (" ".join(f"{w:.8f}" for w in W.T.ravel()) for W in parameters.weights)  # by receiving unit
    assert hidden == "0.14978072 0.19956143 0.24975114 0.29950229"
    assert output == "0.35891648 0.40866619 0.51130127 0.56137012"
    assert parameters.biases[0].tolist() + parameters.biases[1].tolist() == [0.35, 0.35, 0.60, 0.60]


def test_the_page_s_error_has_the_output_weights_updated_too_early() -> None:
    parameters = mazur_start()
    mazur_step(parameters)
    early = parameters.copy()
    early.weights[0][:] = mazur_start().weights[0]
    trace = mazur_step(early)  # of which only the hidden layer's part counts
    assert trace.weight_gradients is not None
    early.weights[1][:] = parameters.weights[1]
    delta = backward(MAZUR, mazur_start(), MAZUR_X, MAZUR_Y).deltas
    assert delta is not None
    a = trace.activations[1]
    wrong = np.transpose(MAZUR_X) @ ((delta[1] @ parameters.weights[1].T) * a * (1 - a))
    early.weights[0][:] = mazur_start().weights[0] - 0.5 * wrong
    assert f"{mazur_loss(early):.9f}" == "0.291027924"


def test_mazurs_example_after_ten_thousand_steps() -> None:
    parameters = mazur_start()
    for _ in range(10_000):
        mazur_step(parameters)
    assert f"{mazur_loss(parameters):.10f}" == "0.0000351019"


# --- the record ---------------------------------------------------------------------------------------------------


def test_a_trace_has_every_number() -> None:
    network = Network((2, 3, 2), ("tanh",), "cross_entropy")
    parameters, X, y, row_weights = job(network, seed=1)
    trace = backward(network, parameters, X, y, row_weights, l1=0.5, l2=0.25)
    n = len(X)
    assert trace.network is network
    assert trace.parameters is parameters
    assert [z.shape for z in trace.pre_activations] == [(n, 3), (n, 2)]
    assert [a.shape for a in trace.activations] == [(n, 2), (n, 3), (n, 2)]
    np.testing.assert_array_equal(trace.activations[0], X)
    np.testing.assert_array_equal(trace.activations[-1], trace.logits)
    np.testing.assert_array_equal(trace.row_weights, row_weights)
    assert trace.deltas is not None
    assert [d.shape for d in trace.deltas] == [(n, 3), (n, 2)]
    assert trace.weight_gradients is not None
    assert trace.bias_gradients is not None
    assert [g.shape for g in trace.weight_gradients] == [(2, 3), (3, 2)]
    assert [g.shape for g in trace.bias_gradients] == [(3,), (2,)]
    assert trace.gradient.shape == (network.n_parameters,)
    weights = np.concatenate([W.ravel() for W in parameters.weights])
    assert trace.penalty == pytest.approx(0.5 * np.abs(weights).sum() + 0.125 * (weights**2).sum(), rel=1e-14)
    assert trace.loss == pytest.approx(np.average(trace.row_losses, weights=row_weights), rel=1e-14)
    assert trace.objective == trace.loss + (trace.penalty or 0)
    # Softmax: probabilities sum to 1, and the output's deltas are p - y.
    np.testing.assert_allclose(trace.probabilities.sum(axis=1), 1, rtol=1e-15)
    np.testing.assert_array_equal(trace.deltas[-1], trace.probabilities - y)


def test_deltas_are_of_the_row_and_gradients_their_weighted_mean() -> None:
    network = Network((2, 2, 1), "tanh")
    parameters, X, y, row_weights = job(network, seed=2)
    trace = backward(network, parameters, X, y, row_weights)
    assert trace.deltas is not None
    assert trace.bias_gradients is not None
    for layer, delta in enumerate(trace.deltas):
        np.testing.assert_allclose(
            trace.bias_gradients[layer], np.average(delta, axis=0, weights=row_weights), rtol=1e-13
        )
        for row in range(len(X)):
            alone = backward(network, parameters, X[row : row + 1], y[row : row + 1]).deltas
            assert alone is not None
            np.testing.assert_allclose(alone[layer][0], delta[row], rtol=1e-14)


def test_a_forward_pass_without_targets() -> None:
    network = Network((2, 1))
    trace = forward(network, Parameters(network, np.ones(3)), [[1, 2]])
    assert trace.y is trace.row_losses is trace.loss is trace.penalty is trace.objective is trace.deltas is None
    with pytest.raises(UsageError, match="needs targets and a backward pass"):
        _ = trace.gradient


def test_a_trace_with_masks_has_both_what_a_unit_makes_and_what_is_passed_on() -> None:
    network = Network((2, 3, 2, 1), ("tanh", "sigmoid"), "mean_squared_error")
    parameters, X, y, _ = job(network, seed=3)
    masks = masks_for(network, len(X), 0.5, seed=3)
    trace, plain = backward(network, parameters, X, y, masks=masks), backward(network, parameters, X, y)
    assert plain.masks is plain.unmasked is None
    assert trace.masks is not None
    assert trace.unmasked is not None
    assert trace.deltas is not None
    assert len(trace.masks) == len(trace.unmasked) == 2
    for layer, (mask, h) in enumerate(zip(trace.masks, trace.unmasked, strict=True), start=1):
        np.testing.assert_array_equal(mask, masks[layer - 1])
        np.testing.assert_array_equal(trace.activations[layer], mask * h)
        arriving = trace.deltas[layer] @ parameters.weights[layer].T
        slope = 1 - h * h if layer == 1 else h * (1 - h)
        np.testing.assert_allclose(trace.deltas[layer - 1], mask * arriving * slope, rtol=1e-14)
    np.testing.assert_array_equal(trace.unmasked[0], plain.activations[1])
    np.testing.assert_array_equal(trace.activations[-1], trace.logits)


def test_masks_of_ones_change_no_bit() -> None:
    network = Network((3, 3, 2, 2), ("gelu", "tanh"), "cross_entropy")
    parameters, X, y, row_weights = job(network, seed=6)
    ones = masks_for(network, len(X), 0, seed=6)
    masked, plain = (backward(network, parameters, X, y, row_weights, 0.1, 0.2, masks) for masks in (ones, None))
    assert [_bits_of_row(masked, row) for row in range(ROWS)] == [_bits_of_row(plain, row) for row in range(ROWS)]
    assert masked.gradient.tobytes() == plain.gradient.tobytes()


def test_without_a_hidden_layer_there_is_nothing_to_mask() -> None:
    parameters, X, y, _ = job(NET, seed=8)
    trace = backward(NET, parameters, X, y, masks=())
    assert trace.masks == trace.unmasked == ()
    assert trace.gradient.tobytes() == backward(NET, parameters, X, y).gradient.tobytes()


def test_float32_stays() -> None:
    network = Network((2, 3, 2), "gelu", "huber")
    parameters, X, y, row_weights = job(network, seed=4)
    small = Parameters(network, parameters.vector.astype(np.float32))
    for masks in (None, masks_for(network, len(X), 0.3, seed=4)):
        trace = backward(network, small, X.astype(np.float32), y, row_weights, 0.1, 0.1, masks)
        assert trace.deltas is not None
        assert trace.row_losses is not None
        parts = [*trace.pre_activations, *trace.activations, *trace.deltas, *(trace.masks or ())]
        for part in (*parts, trace.row_losses, trace.gradient):
            assert part.dtype == np.float32
        expected = backward(network, parameters, X, y, row_weights, 0.1, 0.1, masks).gradient
        assert_gradient(trace.gradient.astype(float), expected, 1e-5)  # some dozen roundings of 6e-8


# --- what cannot be meant -----------------------------------------------------------------------------------------

NET = Network((2, 1))
CLASSES = Network((2, 3), loss="cross_entropy")


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([1.0, 2.0], r"\(n, 2\) with n of 1 or more; got shape \(2,\)"),
        ([[1.0, 2.0, 3.0]], r"\(n, 2\) with n of 1 or more; got shape \(1, 3\)"),
        (np.zeros((0, 2)), r"got shape \(0, 2\)"),
        ([[0.0, 1.0], [0.0, np.nan]], "finite numbers; row 1, column 1 is nan"),
        ([[-np.inf, 1.0]], "finite numbers; row 0, column 0 is -inf"),
        ([["a", "b"]], "X holds numbers; got an array of <U1"),
        ([[{}, 1.0]], "X holds numbers; got an array of object"),
        ([[None, 1.0]], "finite numbers; row 0, column 0 is nan"),
        ([[1.0, 2.0], [1.0]], "X holds numbers; its rows have different lengths"),
    ],
)
def test_tables_that_do_not_fit(X: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        checked_table(NET, X)


def test_what_becomes_of_a_table() -> None:
    for given_as, kept in ((np.float32, np.float32), (np.float64, np.float64), (int, np.float64), (bool, np.float64)):
        assert checked_table(NET, np.ones((3, 2), given_as)).dtype == kept


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(5,), (7, 3), (3, 9001), (9001, 3), (1, 200_000), (700, 400), (2, 3, 4)])
def test_one_number_that_is_not_finite_is_seen_wherever_it_lies(dtype: Any, shape: tuple[int, ...]) -> None:
    """Tables of all layouts, looked at whole or in pieces; large numbers, whose squares are infinite, are finite."""
    whole = np.random.default_rng(0).normal(size=shape).astype(dtype)
    whole.flat[1] = np.finfo(dtype).max
    layouts = [whole, np.asfortranarray(whole), whole[::-1], np.repeat(whole, 2, axis=-1)[..., ::2]]
    for table in layouts:
        assert is_finite(table)
        for at in (0, table.size // 2, table.size - 1):
            for bad in (np.nan, np.inf, -np.inf):
                place = np.unravel_index(at, table.shape)
                kept, table[place] = table[place], bad
                assert not is_finite(table), (place, bad, table.strides)
                table[place] = kept
    assert is_finite(np.zeros((0, 3)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_norm_of_a_large_table_has_the_same_bits_for_any_number_of_threads(dtype: Any) -> None:
    table = np.random.default_rng(0).normal(size=(50_000, 90)).astype(dtype)
    norm = euclidean_norm(table)
    assert norm == euclidean_norm(table, 2) == euclidean_norm(table, 3)
    # A million squares are added up at a time, in a few sums side by side: some thousand roundings in a row, at worst.
    assert norm == pytest.approx(np.linalg.norm(table.astype(np.float64)), rel=2e4 * float(np.finfo(dtype).eps))
    table[-1, -1] = np.nan
    assert not is_finite(table, 2)


@pytest.mark.parametrize(
    ("network", "y", "message"),
    [
        (NET, [0, 1, 1], r"\(2, 1\); got shape \(3, 1\)\.$"),
        (NET, [[0, 1], [1, 0]], r"\(2, 1\); got shape \(2, 2\)\.$"),
        (NET, ["M", "B"], "y holds numbers; got an array of <U1"),
        (NET, [[0], [1, 2]], "y holds numbers; its rows have different lengths"),
        (NET, [0, 2], r"binary_cross_entropy takes targets that are numbers from 0 to 1; row 1 is \[2.0\]"),
        (NET, [np.nan, 2], r"numbers from 0 to 1; row 0 is \[nan\]"),
        (CLASSES, [0, 2], r"\(2, 3\); got shape \(2,\)\. Classes are given one-hot, a column each\."),
        (CLASSES, [[0, 1, 0], [0, 1, 1]], r"rows that sum to 1; row 1 is \[0.0, 1.0, 1.0\]"),
        (CLASSES, [[0, -1, 2], [0, 1, 0]], r"numbers from 0 to 1; row 0 is \[0.0, -1.0, 2.0\]"),
        (Network((2, 1), loss="poisson"), [1, -1], r"poisson takes targets that are numbers of 0 or more; row 1 is"),
        (Network((2, 1), loss="huber(2)"), [1, np.inf], r"huber\(2\) takes targets that are finite numbers; row 1 is"),
    ],
)
def test_targets_that_do_not_fit(network: Network, y: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        checked_targets(network, y, 2, np.float64)


@pytest.mark.parametrize(
    ("row_weights", "message"),
    [
        ([1.0], r"one number per row, \(2,\); got shape \(1,\)"),
        ([[1.0], [1.0]], r"got shape \(2, 1\)"),
        ([1.0, -1.0], r"finite and 0 or more; row 1 has -1\.0"),
        ([np.nan, 1.0], r"finite and 0 or more; row 0 has nan"),
        ([0.0, 0.0], "not all 0; all of these are"),
        (["a", "b"], "row_weights are numbers; got an array of <U1"),
    ],
)
def test_row_weights_that_do_not_fit(row_weights: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        checked_row_weights(row_weights, 2, np.float64)


TWO_HIDDEN = Network((2, 3, 2, 1))


@pytest.mark.parametrize(
    ("network", "masks", "message"),
    [
        (TWO_HIDDEN, [np.ones((4, 3))], r"\[\(4, 3\), \(4, 2\)\]; got 1: \[\(4, 3\)\]\. See network\.dropout_masks"),
        (TWO_HIDDEN, [np.ones((4, 3)), np.ones((1, 2))], r"got 2: \[\(4, 3\), \(1, 2\)\]"),
        (TWO_HIDDEN, [np.ones((4, 2)), np.ones((4, 3))], r"got 2: \[\(4, 2\), \(4, 3\)\]"),
        (TWO_HIDDEN, [np.ones((1, 4, 3)), np.ones((1, 4, 2))], r"got 2: \[\(1, 4, 3\), \(1, 4, 2\)\]"),
        (TWO_HIDDEN, [np.ones((4, 3)), 1.0], r"got 2: \[\(4, 3\), \(\)\]"),
        (TWO_HIDDEN, np.ones((400, 3)), r"got 400: \[\(3,\), \(3,\), \(3,\)\]"),
        (TWO_HIDDEN, (), r"got 0: \[\]"),
        (NET, [np.ones((4, 1))], r"per unit, \[\]; got 1"),
        (TWO_HIDDEN, [np.ones((4, 3)), [["a", "b"]] * 4], "A mask holds numbers; got an array of <U1"),
    ],
)
def test_masks_that_do_not_fit(network: Network, masks: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        checked_masks(network, masks, 4, np.float64)


def test_forward_and_backward_check_what_they_are_given() -> None:
    parameters = Parameters(NET, np.ones(3))
    row = [[1.0, 2.0]]
    for given_wrong in (([[1.0]], [0]), (row, [3]), (row, [1], [-1.0]), (row, [1], None, 0, 0, [np.ones((1, 1))])):
        for a_pass in (forward, backward):
            with pytest.raises(DataError):
                a_pass(NET, parameters, *given_wrong)


def test_a_flat_y_is_one_column() -> None:
    parameters, X, y, _ = job(NET, seed=7)
    assert backward(NET, parameters, X, y[:, 0]).gradient.tolist() == backward(NET, parameters, X, y).gradient.tolist()
