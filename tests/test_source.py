"""The source of kernels: it reads like the mathematics, is made from the tables, and all of it compiles."""

from __future__ import annotations

import ast
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest

import glassnet as gn
from glassnet import activations, losses, reference
from glassnet.activations import ACTIVATIONS
from glassnet.equations import equations
from glassnet.expressions import FUNCTIONS, Expression, parse, symbols
from glassnet.kernels import machine
from glassnet.kernels.source import MOST_UNROLLED, gradient_source, is_unrolled, room, update_scalars, update_source
from glassnet.kernels.unrolled import Unrolled
from glassnet.losses import LOSSES
from glassnet.network import Network, Parameters

LANES = machine.BITS // 64
LINKED = ("binary_cross_entropy", "cross_entropy", "poisson")

UNROLLED = """\
    for first in range(0, n, 256):
        last = first + 256 if first + 256 < n else n
        # forward
        for row in range(first, last, 8):
            x1 = load(table, row)
            x2 = load(table, row + 1 * stride)
            z1_1 = b1_1 + w1_1_1 * x1 + w1_2_1 * x2
            a1_1 = tanh(z1_1)
            seen0 = either(seen0, a1_1)
            store(work, row - first, a1_1)
        for row in range(first, last, 8):
            a1_1 = load(work, row - first)
            z2_1 = b2_1 + w2_1_1 * a1_1
            o = z2_1
            store(work, row - first + 256, o)
        # loss, and back to the outputs; every delta carries its row's weight
        if alike:  # all rows of the batch weigh the same: as if they weighed 1, until the end
            product = filled(parameters, 1)
            for row in range(first, last, 8):
                y = load(targets, row)
                u = load(weights, row)
                o = load(work, row - first + 256)
                p = sigmoid(o)
                loss = max(o, 0) - y * o  # without the logarithm of
                product = product * select(u > 0, 1 + exp_of_size(o), 1)
                L = L + select(u > 0, loss, 0)
                delta2_1 = select(u > 0, p - y, 0)
                seen1 = max(seen1, o)
                seen2 = min(seen2, o)
                store(work, row - first + 512, delta2_1)
            L = L + log(product)
        else:
            for row in range(first, last, 8):
                y = load(targets, row)
                u = load(weights, row)
                o = load(work, row - first + 256)
                p = sigmoid(o)
                loss = max(o, 0) - y * o + log1p(exp_of_size(o))
                L = L + u * loss
                delta2_1 = u * (p - y)
                seen1 = max(seen1, o)
                seen2 = min(seen2, o)
                store(work, row - first + 512, delta2_1)
        if derivatives:  # backward
            for row in range(first, last, 8):
                x1 = load(table, row)
                x2 = load(table, row + 1 * stride)
                a1_1 = load(work, row - first)
                delta2_1 = load(work, row - first + 512)
                dL_dw2_1_1 = dL_dw2_1_1 + a1_1 * delta2_1
                dL_db2_1 = dL_db2_1 + delta2_1
                dloss_da1_1 = w2_1_1 * delta2_1
                delta1_1 = dloss_da1_1 * (1 - a1_1 * a1_1)
                dL_dw1_1_1 = dL_dw1_1_1 + x1 * delta1_1
                dL_dw1_2_1 = dL_dw1_2_1 + x2 * delta1_1
                dL_db1_1 = dL_db1_1 + delta1_1
    # over all lanes
    weight = weights[0] if alike else 1
    store(gradient, 0, load(gradient, 0) + weight * totals(dL_dw1_1_1, dL_dw1_2_1, dL_db1_1, dL_dw2_1_1, dL_db2_1))
    keep_larger(seen, 0, largest(select(seen0 != 0, 1, 0), seen1, -seen2))
    return weight * total(L)
"""
TILED = (
    "# z1_j = b1_j + sum over i of w1_i_j * x_i",
    "# a1_j = tanh(z1_j)",
    "value = tanh(z)",
    "# p = sigmoid(o)",
    "p = sigmoid(o)",
    "loss = loss + (max(o, 0) - y * o + log1p(exp_of_size(o)))",
    "# dL/dw2_i_j = sum over rows of share * a1_i * delta2_j",
    "# delta1_j = dloss/da1_j * (1 - a1_j * a1_j)",
)
ADAM = """\
        # update
        m = c0 * m + c1 * g
        v = c2 * v + c3 * (g * g)
        m_hat = m * c4
        v_hat = v * c5
        w = w - over_root(learning_rate * m_hat, v_hat, c6)
"""


def body_of(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines()]


def test_an_unrolled_kernel_reads_like_the_equations() -> None:
    assert UNROLLED in gradient_source(Network((2, 1, 1), "tanh"), 8)


def test_behind_a_relu_its_z_is_not_kept() -> None:
    """a = max(z, 0) is above 0 where z is. Behind a dropout mask, which may be 0, and leaky ones z is needed."""
    assert "delta1_1 = select(a1_1 > 0, dloss_da1_1, 0)" in body_of(gradient_source(Network((2, 1, 1)), 8))
    masked = gradient_source(Network((2, 1, 1)), 8, dropout=True)
    assert "delta1_1 = select(z1_1 > 0, dloss_dh1_1, 0)" in body_of(masked)
    leaky = gradient_source(Network((2, 1, 1), "leaky_relu"), 8)
    assert "delta1_1 = dloss_da1_1 * select(z1_1 > 0, 1, 0.01)" in body_of(leaky)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_what_is_left_of_a_block_fits_into_the_nearest_cache_and_is_left_once(activation: str) -> None:
    """Derivatives that take long are made where their activations are."""
    for sizes, dropout in product(((2, 1), (2, 2, 1), (2, 4, 4, 1), (3, 4, 4, 3), (2, 15, 1), (9, 1)), (False, True)):
        network = Network(sizes, activation, "mean_squared_error")
        kernel = Unrolled(network, equations(network, dropout=dropout), 8)
        assert kernel.size == len(set(kernel.left)) * kernel.rows <= 2048
        assert not any(str(line).count("exp(") + str(line).count(" / ") for line in kernel.backward)


def test_a_tiled_kernel_says_which_equation_it_computes() -> None:
    lines = body_of(gradient_source(Network((20, 8, 1), "tanh"), 8))
    for line in TILED:
        assert any(found.startswith(line) for found in lines), line


def test_an_update_reads_like_the_optimisers_equations() -> None:
    text = update_source(gn.Adam(), 8, penalised=True)
    assert ADAM in text
    assert "g = g + is_weight * (l1 * sign(w) + l2 * w)" in text
    assert "penalty" not in "".join(body_of(update_source(gn.Adam(), 8, penalised=False))[20:-6]).replace(
        "penalty =", ""
    )


def test_the_learning_rate_and_what_follows_from_the_step_are_no_part_of_a_source() -> None:
    """A setting of another value is the same kernel."""
    for one, other in (
        (gn.Adam(0.1), gn.Adam(gn.Cosine(0.2), beta_1=0.5, beta_2=0.6, epsilon=1.0)),
        (gn.SGD(0.1, momentum=0.5), gn.SGD(0.2, momentum=0.9)),
        (gn.AdamW(weight_decay=0.1), gn.AdamW(weight_decay=0.2)),
    ):
        for penalised in (False, True):
            assert update_source(one, 8, penalised=penalised) == update_source(other, 8, penalised=penalised)
    for optimizer in (gn.SGD(), gn.SGD(momentum=0.5), gn.SGD(momentum=0.5, nesterov=True), gn.AdamW(), gn.RMSprop()):
        for scalar in update_scalars(optimizer):
            assert set(map(str, symbols(scalar))) <= {"t", *optimizer.settings}


NETWORKS = [
    Network((*inner, n_outputs), activation, loss)
    for inner, activation, loss, n_outputs in product(((2, 2), (3, 17)), ACTIVATIONS, LOSSES, (1, 3, 9))
    if not (loss == "cross_entropy" and n_outputs == 1)
]


@pytest.mark.parametrize("loss", LOSSES)
def test_every_source_is_python_and_reads_nothing_that_is_not_there(loss: str) -> None:
    for network, (lanes, dropout) in product([n for n in NETWORKS if n.loss == loss], ((8, False), (16, True))):
        check_names(gradient_source(network, lanes, dropout=dropout))
        needed = room(network, lanes, dropout=dropout)
        assert len(needed.begins) == len(needed.units) == len(needed.row_sizes) == sum(network.sizes[1:-1])
        assert needed.seen >= needed.outputs


def check_names(text: str) -> None:
    """Valid Python in which every name is set before it is read."""
    tree = ast.parse(text)
    (function,) = (node for node in tree.body if isinstance(node, ast.FunctionDef))
    known = {name.asname or name.name for node in tree.body if isinstance(node, ast.ImportFrom) for name in node.names}
    known |= {argument.arg for argument in function.args.args} | {"range"}
    for node in ast.walk(function):  # breadth first: not the order of lines, so reads are checked after
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            known.add(node.id)
    read = {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    assert read <= known, read - known
    assert all(len(line) < 8000 for line in text.splitlines())


def test_the_check_of_names_can_fail() -> None:
    text = gradient_source(Network((2, 1, 1), "tanh"), 8)
    check_names(text)
    with pytest.raises(AssertionError, match="sinh"):
        check_names(text.replace("tanh(z1_1)", "sinh(z1_1)"))
    with pytest.raises(SyntaxError):
        check_names(text.replace("tanh(z1_1)", "tanh(z1_1"))


def test_what_is_unrolled_follows_from_the_size() -> None:
    assert Network((62, 1)).n_parameters == 63
    assert is_unrolled(Network((62, 1)))
    assert is_unrolled(Network((63, 1))) == (MOST_UNROLLED >= 64)
    assert not is_unrolled(Network((64, 1)))


# --- altered rows -----------------------------------------------------------------------------------------------------

ROWS = np.random.default_rng(0).normal(size=(30, 3))
TARGETS = np.random.default_rng(1).normal(size=(30, 1))
SIZES = {"unrolled": (3, 2, 1), "tiled": (3, 23, 1)}


def trained(network: Network, engine: str = "compiled") -> gn.Run:
    return gn.train(network, ROWS, TARGETS, optimizer=gn.SGD(0.1), epochs=3, engine=engine)


def by_the_reference(network: Network, run: gn.Run) -> Any:
    vector = run.initial.vector
    for _ in range(3):
        vector = vector - 0.1 * reference.backward(network, Parameters(network, vector), ROWS, TARGETS).gradient
    return vector


def printed(network: Network) -> str:
    return "\n".join(map(str, equations(network)))


@pytest.mark.parametrize("kind", SIZES)
def test_an_altered_activation_changes_kernel_text_and_numbers_alike(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Network(SIZES[kind], "softsign", "mean_squared_error")
    text, lines, before = gradient_source(network, LANES), printed(network), trained(network)
    np.testing.assert_allclose(before.parameters.vector, by_the_reference(network, before), rtol=1e-12)
    altered = replace(
        ACTIVATIONS["softsign"], value=parse("2 * z / (3 + abs(z))"), derivative=parse("6 / (3 + abs(z))**2")
    )
    monkeypatch.setitem(activations.ACTIVATIONS, "softsign", altered)
    after = trained(network)
    assert gradient_source(network, LANES) != text
    assert "2 * z" in gradient_source(network, LANES)
    assert printed(network) != lines
    assert np.abs(after.parameters.vector - before.parameters.vector).max() > 1e-3
    np.testing.assert_array_equal(after.initial.vector, before.initial.vector)
    np.testing.assert_allclose(after.parameters.vector, by_the_reference(network, after), rtol=1e-12)
    minimised = gn.train(network, ROWS, TARGETS, optimizer=gn.LBFGS(), epochs=2, engine="compiled")
    assert minimised.history.loss[0] == pytest.approx(after.history.loss[0], rel=1e-12)
    monkeypatch.undo()
    again = trained(network)
    assert again.parameters.vector.tobytes() == before.parameters.vector.tobytes()
    assert gradient_source(network, LANES) == text


@pytest.mark.parametrize(
    ("value", "derivative"),
    [
        ("z / 2", "1 / 2"),
        ("exp(-(z * z))", "-2 * z * exp(-(z * z))"),
        ("3 * tanh(z)", "3 * (1 - tanh(z) * tanh(z))"),
        ("select(exp(min(z, 1)) > 1, z, 0)", "select(exp(min(z, 1)) > 1, 1, 0)"),
        ("1 + 0 * z", "0"),
    ],
)
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_row_of_ones_own_is_trained_with(
    value: str, derivative: str, dropout: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = replace(ACTIVATIONS["softsign"], value=parse(value), derivative=parse(derivative))
    monkeypatch.setitem(activations.ACTIVATIONS, "softsign", own)
    network = Network((3, 3, 2, 1), "softsign", "mean_squared_error")
    compiled, expected = (
        gn.train(network, ROWS, TARGETS, epochs=3, optimizer=gn.SGD(0.1), dropout=dropout, engine=engine)
        for engine in ("compiled", "numpy")
    )
    np.testing.assert_allclose(compiled.parameters.vector, expected.parameters.vector, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("part", ["value", "derivative"])
def test_a_row_altered_in_one_part_alone_is_altered_there(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong derivative is trained with, as the reference does."""
    network = Network(SIZES["unrolled"], "softsign", "mean_squared_error")
    altered = replace(ACTIVATIONS["softsign"], **{part: parse("z / (2 + abs(z))")})
    monkeypatch.setitem(activations.ACTIVATIONS, "softsign", altered)
    run = trained(network)
    np.testing.assert_allclose(run.parameters.vector, by_the_reference(network, run), rtol=1e-12)
    np.testing.assert_allclose(run.parameters.vector, trained(network, "numpy").parameters.vector, rtol=1e-12)


@pytest.mark.parametrize("kind", SIZES)
def test_an_altered_loss_changes_kernel_text_and_numbers_alike(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network(SIZES[kind], "softsign", "mean_squared_error")
    text, lines, before = gradient_source(network, LANES), printed(network), trained(network)
    altered = replace(
        LOSSES["mean_squared_error"], value=parse("(o - y)**2 * 3 + exp(o)"), derivative=parse("6 * (o - y) + exp(o)")
    )
    monkeypatch.setitem(losses.LOSSES, "mean_squared_error", altered)
    after = trained(network)
    assert gradient_source(network, LANES) != text
    assert printed(network) != lines
    np.testing.assert_allclose(after.parameters.vector, by_the_reference(network, after), rtol=1e-12)
    expected = reference.forward(network, after.initial, ROWS, TARGETS).loss
    assert after.history.loss[0] == pytest.approx(expected, rel=1e-12)
    assert after.history.loss[0] != pytest.approx(before.history.loss[0], rel=1e-3)


# Everything that a row may be written in, in one function: each part is finite for all z.
EVERYTHING = (
    "select(z > 1, sqrt(z), select(z < -1, min(z, 0) / 4, max(z, -0.5))) + log1p(abs(z)) + log(2 + z * z)"
    " + expm1(-abs(z)) + erf(z) + erfc(z) + softplus(z) + sigmoid(z) + tanh(z) + exp(-z * z) + sign(z) + z**3 / 9"
    " + z**2 + (1 + z * z)**0.5 + (2 + z * z)**(-1.5) + select(z >= 2, 1, 0) - select(z <= -2, 1, select(z == 1, 2, 0))"
)


def functions_in(expression: Expression) -> set[str]:
    return {expression.op}.union(*(functions_in(part) for part in expression.args if isinstance(part, Expression)))


@pytest.mark.parametrize("kind", SIZES)
def test_a_row_may_be_written_in_all_functions_of_the_tables(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network(SIZES[kind], "softsign", "mean_squared_error")
    altered = replace(ACTIVATIONS["softsign"], value=parse(EVERYTHING), derivative=parse("1 + a / 100"))
    # A cosine is for schedules.
    assert functions_in(altered.value) == (set(FUNCTIONS) - {"cos"}) | {"const", "symbol"}
    monkeypatch.setitem(activations.ACTIVATIONS, "softsign", altered)
    run = gn.train(network, ROWS, TARGETS, optimizer=gn.SGD(0.001), epochs=1, engine="compiled")
    trace = reference.backward(network, run.initial, ROWS, TARGETS)
    np.testing.assert_allclose(run.parameters.vector, run.initial.vector - 0.001 * trace.gradient, rtol=1e-12)
    assert run.history.loss[0] == pytest.approx(trace.loss, rel=1e-12)
