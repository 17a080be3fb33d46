"""The compiled engine against the reference: every step from its own state, whole trainings, and all that can go wrong.

A step is held against `reference.backward` and, for what the optimiser makes of it, `Optimizer.update` in NumPy; both
start where the compiled training is at that moment, so that nothing adds up. What rows a batch has and what a mask
leaves out come from `randomness` and `network.dropout_masks`.
"""

from __future__ import annotations

import ctypes
import math
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace
from functools import cache
from itertools import cycle, islice, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

import glassnet as gn
from glassnet import reference
from glassnet.activations import ACTIVATIONS
from glassnet.dispatch import ENGINES, train_members
from glassnet.errors import GlassnetError, UsageError
from glassnet.kernels import chance, compiled, engines, machine, places, source, stacked_training
from glassnet.losses import LOSSES
from glassnet.network import Network, Parameters, dropout_masks, initialize, weight_mask
from glassnet.optimizers import LBFGS, Optimizer
from glassnet.randomness import Purpose, Stream
from glassnet.runs import COUNTS, FINALS, Data, Members, Outcome, Spec

# Norm-wise: a few dozen roundings of 1.1e-16 (6e-8), in another order than the reference's, and functions that are
# right to a few units.
RELATIVE = {"float64": 1e-12, "float32": 1e-5}
# A hundred updates at stable settings do not magnify what rounding makes of one of them by more than this.
AT_THE_END = 1e-9


def assert_close(found: Any, expected: Any, relative: float) -> None:
    """Same shape, finite, and equal in the norm."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    assert np.isfinite(found).all()
    assert np.linalg.norm(found.astype(float) - expected) <= relative * np.linalg.norm(expected.astype(float))


def test_the_comparison_can_fail() -> None:
    right = np.array([1.0, -2.0, 0.0])
    assert_close(right * (1 + 0.9e-12), right, 1e-12)
    off = right + np.array([0, 0, 1e-11])
    for wrong in (right * (1 + 1.1e-12), off, right * np.nan, right + np.inf, right[:2]):
        with pytest.raises(AssertionError):
            assert_close(wrong, right, 1e-12)


def targets_for(network: Network, n: int, rng: np.random.Generator) -> np.ndarray:
    drawn = rng.normal(size=(n, network.n_outputs))
    match network.loss_row.targets:
        case "unit":
            return (drawn > 0) * 1.0
        case "classes":
            return np.eye(network.n_outputs)[drawn.argmax(axis=1)]
        case "nonnegative":
            return np.floor(np.abs(2 * drawn))
    return drawn


def table_for(network: Network, n: int, number: str = "float64", seed: int = 0) -> tuple[Any, Any, Any]:
    """X, y and row weights, some of them 0."""
    rng = np.random.default_rng([seed, n])
    X = rng.normal(size=(n, network.n_features)).astype(number)
    weights = rng.uniform(0.3, 2, n) * (rng.uniform(size=n) > 0.15) if n > 3 else np.ones(n)
    return X, targets_for(network, n, rng).astype(number), weights.astype(number)


def start_for(network: Network, number: str = "float64", seed: int = 0) -> Parameters:
    """Parameters of which no bias is 0."""
    vector = initialize(network, seed).vector + np.random.default_rng(seed).normal(0, 0.1, network.n_parameters)
    return Parameters(network, vector.astype(number))


def batches_of(spec: Spec, n: int, epoch: int) -> list[np.ndarray]:
    if spec.batch_size is None or spec.batch_size >= n:
        return [np.arange(n)]
    order = Stream(spec.random_state, Purpose.SHUFFLE, network=spec.start, epoch=epoch).permutation(n)
    return [order[at : at + spec.batch_size] for at in range(0, n, spec.batch_size)]


@dataclass(frozen=True)
class Expected:
    """What an update is to see and to make."""

    loss: float
    penalty: float
    gradient: Any
    after: Any
    state: dict[str, Any]


def expected_step(network: Network, spec: Spec, data: Data, before: Any, state: dict[str, Any], t: int) -> Expected:
    """Update t by the reference and by NumPy."""
    assert isinstance(spec.optimizer, Optimizer)
    n = len(data.X)
    per_epoch = len(batches_of(spec, n, 1))
    epoch, batch = (t - 1) // per_epoch + 1, (t - 1) % per_epoch
    rows = batches_of(spec, n, epoch)[batch]
    masks = None
    if spec.has_dropout:
        every = dropout_masks(
            network, spec.rates(network), n, random_state=spec.random_state, start=spec.start, epoch=epoch,
            dtype=data.X.dtype,
        )  # fmt: skip
        masks = [mask[rows] for mask in every]
    part = data.at(rows)
    weights = part.row_weights if part.row_weights.any() else None
    trace = reference.backward(
        network, Parameters(network, before), part.X, part.y, weights, spec.l1, spec.l2, masks
    )  # fmt: skip
    loss, gradient, is_weight = trace.loss, trace.gradient.astype(float), weight_mask(network).astype(float)
    if weights is None:
        # Rows that all weigh nothing have nothing to say; the penalty has.
        loss, gradient = 0.0, is_weight * (spec.l1 * np.sign(before) + spec.l2 * before)
    # In float64, whatever the parameters are: in float32 1 - 0.999 itself is wrong in the fifth digit.
    after, new_state = spec.optimizer.update(
        before.astype(float), gradient, {name: value.astype(float) for name, value in state.items()}, t=t,
        learning_rate=spec.optimizer.rate(t, per_epoch * spec.epochs), is_weight=is_weight,
    )  # fmt: skip
    return Expected(loss or 0.0, trace.penalty or 0.0, gradient, after, new_state)


def check_every_step(
    network: Network, spec: Spec, data: Data, start: Parameters, relative: float, every: int = 1
) -> Any:
    """Each step of a compiled training by itself; they end, bit for bit, where the training in one go does."""
    members = Members.of(spec, np.array([spec.start]))
    n_updates = len(batches_of(spec, len(data.X), 1)) * spec.epochs
    vectors, state = start.vector[np.newaxis].copy(), None
    assert isinstance(spec.optimizer, Optimizer)
    for t in range(1, n_updates + 1):
        outcome, records = compiled.train(
            network, spec, data, vectors, members, state=state, first_step=t - 1, last_step=t, recorded=True
        )
        if t % every == 0 or t == n_updates:
            before = {name: value[0] for name, value in (state or spec.optimizer.init(vectors)).items()}
            expected = expected_step(network, spec, data, vectors[0], before, t)
            assert_close(outcome.vectors[0], expected.after, relative)
            for name, value in expected.state.items():
                assert_close(outcome.optimizer_state[name][0], value, relative)
            loss, penalty, squared_norm, nothing = records[0, :4]
            assert_close(loss, expected.loss, relative)
            assert_close(penalty, expected.penalty, relative)
            assert_close(squared_norm, np.linalg.norm(expected.gradient) ** 2, 3 * relative)
            assert nothing == 0
        vectors, state = outcome.vectors.copy(), {name: v.copy() for name, v in outcome.optimizer_state.items()}
    whole, _ = compiled.train(network, spec, data, start.vector[np.newaxis], members)
    assert whole.vectors.tobytes() == vectors.tobytes()
    assert all(whole.optimizer_state[name].tobytes() == value.tobytes() for name, value in (state or {}).items())
    return vectors[0]


def data_of(network: Network, n: int, number: str = "float64", seed: int = 0) -> Data:
    X, y, weights = table_for(network, n, number, seed)
    return Data.checked(network, X, y, weights)


# --- activations, losses, outputs, both kinds of kernel, both types -------------------------------------------------

LOSS_NAMES = ("huber(0.7)", "quantile(0.9)", *(name for name in LOSSES if name not in ("huber", "quantile")))
LINKED = ("binary_cross_entropy", "cross_entropy", "poisson")  # behind these the output layer is identity
NAMES = list(ACTIVATIONS)
INNER = {"unrolled": (2, 2, 2, 2, 2), "tiled": (3, 5, 9, 4, 6)}


def _matrix() -> list[tuple[str, str, Network]]:
    """Every loss with one and with three outputs; its hidden layers take the next four of all activations, and its
    output layer, where it may have one, the next."""
    cases = []
    for kind, number in product(INNER, RELATIVE):
        hidden = cycle(NAMES)
        outputs = cycle(NAMES if number == "float64" else NAMES[8:] + NAMES[:8])
        for loss, n_outputs in product(LOSS_NAMES, (1, 3)):
            if loss == "cross_entropy" and n_outputs == 1:
                continue
            activations = tuple(islice(hidden, 4))
            if loss not in LINKED:
                activations += (next(outputs),)
            cases.append((kind, number, Network((*INNER[kind], n_outputs), activations, loss)))
    return cases


def _title(case: tuple[str, str, Network]) -> str:
    return f"{case[0]}-{case[1]}-{case[2].loss}-{case[2].n_outputs}"


def test_the_matrix_holds_every_combination_that_it_is_to_hold() -> None:
    for kind, number in product(INNER, RELATIVE):
        networks = [network for k, n, network in _matrix() if (k, n) == (kind, number)]
        assert {(network.loss, network.n_outputs) for network in networks} == {
            (loss, n_outputs)
            for loss, n_outputs in product(LOSS_NAMES, (1, 3))
            if (loss, n_outputs) != ("cross_entropy", 1)
        }
        hidden = {name for network in networks for name in network.activations[:-1]}
        assert hidden == set(NAMES)
        assert all(source.is_unrolled(network) == (kind == "unrolled") for network in networks)
    for kind in INNER:
        assert {network.activations[-1] for k, _, network in _matrix() if k == kind} == set(NAMES)


@pytest.mark.parametrize(("kind", "number", "network"), _matrix(), ids=map(_title, _matrix()))
def test_every_step_is_the_references(kind: str, number: str, network: Network) -> None:
    data, start = data_of(network, 17, number), start_for(network, number)
    spec = Spec(gn.SGD(0.05, momentum=0.9), epochs=2, batch_size=7, l1=0.01, l2=0.1, random_state=3, start=5)
    check_every_step(network, spec, data, start, RELATIVE[number])
    trained = check_every_step(network, replace(spec, batch_size=None, l1=0.0, l2=0.0), data, start, RELATIVE[number])
    run = gn.train(
        network, data.X, data.y, optimizer=spec.optimizer, epochs=2, parameters=start, row_weights=data.row_weights,
        engine="compiled", start=5, random_state=3,
    )  # fmt: skip
    assert run.engine_used == "compiled"
    assert run.parameters.vector.dtype == number
    assert run.parameters.vector.tobytes() == trained.tobytes()


@pytest.mark.parametrize("number", RELATIVE)
@pytest.mark.parametrize("sizes", [(40, 32, 1), (7, 40, 16, 1), (48, 1), (40, 17, 1)])
def test_every_step_with_one_output_whose_weights_fill_whole_vectors(sizes: tuple[int, ...], number: str) -> None:
    """Those are not turned; the last ones, which do not, are."""
    network = Network(sizes, "tanh", "binary_cross_entropy")
    data, start = data_of(network, 17, number), start_for(network, number)
    spec = Spec(gn.SGD(0.05, momentum=0.9), epochs=2, batch_size=7, random_state=3)
    check_every_step(network, spec, data, start, RELATIVE[number])


@pytest.mark.parametrize(("first", "number"), [(0, "float64"), (4, "float64"), (7, "float64"), (4, "float32")])
@pytest.mark.parametrize("kind", INNER)
def test_every_step_with_dropout(kind: str, first: int, number: str) -> None:
    """Each activation under dropout; every layer has a rate of its own, and one is left whole."""
    network = Network((*INNER[kind], 3), tuple(NAMES[first : first + 4]), "cross_entropy")
    data, start = data_of(network, 17, number), start_for(network, number)
    spec = Spec(
        gn.SGD(0.05, momentum=0.9), epochs=2, batch_size=7, dropout=(0.2, 0.5, 0.0, 0.1), random_state=2**63 + 1
    )
    check_every_step(network, spec, data, start, RELATIVE[number])
    check_every_step(network, replace(spec, batch_size=None, start=3, l2=0.1), data, start, RELATIVE[number])


# --- optimisers, schedules, penalties -------------------------------------------------------------------------------

OPTIMIZERS: list[Any] = [
    gn.SGD(0.1),
    gn.SGD(0.05, momentum=0.9),
    gn.SGD(gn.Cosine(0.05), momentum=0.9, nesterov=True),
    gn.Adam(0.01),
    gn.AdamW(gn.WarmUp(0.01, updates=7), weight_decay=0.1),
    gn.RMSprop(0.003),
    gn.RMSprop(gn.InverseScaling(0.01), rho=0.8),
    gn.Adam(gn.Exponential(0.01, decay=0.5, every=5), beta_1=0.8, beta_2=0.99, epsilon=1e-6),
    gn.SGD(gn.OneCycle(0.1)),
    gn.AdamW(0.01),
    gn.SGD(gn.Constant(0.1)),
    gn.SGD(0.0),
]
PENALTIES = [(0.0, 0.0), (0.01, 0.0), (0.0, 0.1), (0.01, 0.1)]
# Those of the matrix, so that their kernels are there.
SMALL = {
    (kind, number): network
    for kind, number, network in _matrix()
    if (network.loss, network.n_outputs) == ("binary_cross_entropy", 1)
}


@pytest.mark.parametrize("number", RELATIVE)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: repr(o)[:40])
def test_every_optimiser_with_every_penalty(optimizer: Any, number: str) -> None:
    for (kind, (l1, l2)), batch_size in zip(product(INNER, PENALTIES), cycle([None, 6]), strict=False):
        network = SMALL[kind, number]
        spec = Spec(
            optimizer, epochs=9 if batch_size is None else 3, batch_size=batch_size, l1=l1, l2=l2, random_state=8
        )
        check_every_step(network, spec, data_of(network, 17, number), start_for(network, number), RELATIVE[number])


@pytest.mark.skipif(not machine.ON_X86, reason="subnormal numbers are treated as any others here")
@pytest.mark.parametrize("epsilon", [1e-8, 1e-20])
def test_a_state_that_decays_ends_as_zero_where_that_changes_nothing(epsilon: float) -> None:
    """0.9**1000 is subnormal in float32, and stays so for ever: a hundred times as slow, on some processors, as 0."""
    network = SMALL["unrolled", "float32"]
    data, start = data_of(network, 17, "float32"), start_for(network, "float32")
    data.X[:, 0] = 0  # so its weights have no gradients
    spec = Spec(gn.Adam(0.001, epsilon=epsilon), epochs=1000)
    ones = np.ones((1, network.n_parameters), np.float32)
    outcome, _ = compiled.train(
        network, spec, data, start.vector[np.newaxis], Members.of(spec, np.array([0])), state={"m": ones, "v": ones}
    )
    m = Parameters(network, outcome.optimizer_state["m"][0]).weights[0][0]
    if epsilon == 1e-8:
        assert (m == 0).all()
    else:  # the root of a subnormal second moment is all that may stand below
        assert (m != 0).all()
        assert (np.abs(m) < np.finfo(np.float32).tiny).all()
    by_numpy = stacked_training.train_stack(
        network, spec, data, start.vector[np.newaxis], np.array([0]), state={"m": ones, "v": ones}
    )
    assert_close(outcome.vectors, by_numpy.vectors, 100 * RELATIVE["float32"])  # after 1,000 updates


@pytest.mark.skipif(not machine.ON_X86, reason="subnormal numbers are treated as any others here")
@pytest.mark.parametrize("sizes", [(1, 1), (30, 16, 1)], ids=["unrolled", "tiled"])
def test_a_pass_leaves_out_what_is_subnormal_and_nothing_else_does_after_it(sizes: tuple[int, ...]) -> None:
    """exp(-86) is no trouble, nor is a thousandth of it in float64."""
    network = gn.Network(sizes)
    for dtype in ("float32", "float64"):
        start = np.zeros(network.n_parameters, dtype)
        start[-1] = -86
        data = Data.checked(network, np.ones((1, sizes[0]), dtype), np.zeros((1, 1), dtype), [0.001])
        passes = compiled.Passes(network, data)
        passes.loss(start, derivatives=True)
        assert (passes.gradient[-1] == 0) == (dtype == "float32")
        smallest = np.finfo(dtype).tiny * np.ones(1, dtype)
        assert smallest[0] / 2 != 0
        gn.train(network, data.X, data.y, epochs=1, engine="compiled", threads=1)
        assert smallest[0] / 2 != 0


@pytest.mark.parametrize("number", RELATIVE)
@pytest.mark.parametrize("sizes", [(2, 4, 1), (2, 40, 1)], ids=["unrolled", "tiled"])
def test_row_weights_and_targets_may_be_as_small_as_numbers_are(sizes: tuple[int, ...], number: str) -> None:
    """Only where they are not is what is subnormal left out."""
    tiny = float(np.finfo(number).tiny)
    rng = np.random.default_rng(0)
    X, shape = rng.normal(size=(60, 2)).astype(number), rng.uniform(0.5, 2, 60)
    for scale in (1e3 * tiny, 10 * tiny, 0.1 * tiny):
        network, y = Network(sizes, "tanh"), (X[:, 0] * X[:, 1] > 0).astype(number)
        weights = (scale * shape).astype(number)
        given = {"row_weights": weights, "held_out": (X, y, weights), "optimizer": gn.SGD(0.5), "epochs": 100}
        run, expected = (gn.train(network, X, y, engine=engine, **given) for engine in ("compiled", "numpy"))
        assert expected.history.loss[-1] < 0.95 * expected.history.loss[0]
        for name in ("loss", "held_out_loss"):
            # Weights with a bit or two less than a digit fewer, and a hundred updates after one another.
            np.testing.assert_allclose(
                getattr(run.history, name), getattr(expected.history, name), rtol=1e3 * RELATIVE[number]
            )
        lbfgs = gn.train(network, X, y, row_weights=weights, optimizer=LBFGS(), epochs=5, engine="compiled")
        assert 0.1 < lbfgs.history.loss[-1] < lbfgs.history.loss[0]
    network = Network(sizes, "tanh", "mean_squared_error")
    y = (np.sqrt(tiny) / 10 * shape).astype(number)
    zeros = Parameters(network, np.zeros(network.n_parameters, number))
    for engine in ("compiled", "numpy"):
        run = gn.train(network, X, y, parameters=zeros, optimizer=gn.SGD(0.1), epochs=50, engine=engine)
        # Its square is subnormal: two digits are left.
        assert run.history.loss[0] == pytest.approx(float((y.astype(float) ** 2).mean()), rel=0.05)
        assert 0 < run.history.loss[-1] < 0.5 * run.history.loss[0]


def test_a_step_that_is_off_is_seen() -> None:
    network = SMALL["unrolled", "float64"]
    data, start = data_of(network, 17), start_for(network)
    spec = Spec(gn.SGD(0.1), epochs=1)
    after = expected_step(network, spec, data, start.vector, {}, 1).after
    outcome, _ = compiled.train(network, spec, data, start.vector[np.newaxis], Members.of(spec, np.array([0])))
    assert_close(outcome.vectors[0], after, 1e-12)
    for wrong in (replace(spec, optimizer=gn.SGD(0.1 + 1e-10)), replace(spec, l2=1e-9)):
        after = expected_step(network, wrong, data, start.vector, {}, 1).after
        with pytest.raises(AssertionError):
            assert_close(outcome.vectors[0], after, 1e-12)
    heavier = replace(data, row_weights=data.row_weights * np.linspace(1, 1 + 1e-9, 17))
    after = expected_step(network, spec, heavier, start.vector, {}, 1).after
    with pytest.raises(AssertionError):
        assert_close(outcome.vectors[0], after, 1e-12)


@pytest.mark.parametrize("batch_size", [None, 20])
@pytest.mark.parametrize("optimizer", OPTIMIZERS[:10], ids=lambda o: repr(o)[:40])
def test_the_end_of_a_hundred_epochs(optimizer: Any, batch_size: int | None) -> None:
    for kind in INNER:
        network = SMALL[kind, "float64"]
        data, start = data_of(network, 40), start_for(network)
        spec = Spec(optimizer, epochs=100, batch_size=batch_size, l2=0.01)
        vector, state = start.vector, optimizer.init(start.vector)
        n_updates = 100 * len(batches_of(spec, 40, 1))
        for t in range(1, n_updates + 1):
            step = expected_step(network, spec, data, vector, state, t)
            vector, state = step.after, step.state
        run = gn.train(
            network, data.X, data.y, optimizer=optimizer, epochs=100, batch_size=batch_size, l2=0.01, parameters=start,
            row_weights=data.row_weights, engine="compiled",
        )  # fmt: skip
        assert np.linalg.norm(vector - start.vector) > 0.1  # it went somewhere
        assert_close(run.parameters.vector, vector, AT_THE_END)
        for name, value in state.items():
            assert_close(run.optimizer_state[name], value, AT_THE_END)


# --- shapes ---------------------------------------------------------------------------------------------------------

SHAPES = [
    (Network((1, 1), loss="mean_squared_error"), 1, None),  # one row, one feature, no hidden layer
    (Network((1, 1, 1), "tanh"), 9, 4),
    (Network((40, 1), loss="poisson"), 9, 4),
    (Network((70, 1), loss="poisson"), 9, 4),  # tiled, without a hidden layer, narrow
    (Network((30, 12), loss="cross_entropy"), 70, 64),  # and wide
    (Network((5, 70, 40), "silu", "mean_squared_error"), 130, 100),
    (Network((5, 33, 20), "gelu", "cross_entropy"), 75, 67),
    (Network((9, 1, 17, 1, 2), "tanh", "cross_entropy"), 75, 70),  # layers of one unit
    (Network((3, 8, 16, 8, 1), "elu"), 200, 65),  # whole vectors
]


@pytest.mark.parametrize(("network", "n", "batch_size"), SHAPES, ids=lambda part: str(getattr(part, "sizes", part)))
def test_shapes(network: Network, n: int, batch_size: int | None) -> None:
    data, start = data_of(network, n), start_for(network)
    spec = Spec(gn.SGD(0.01, momentum=0.9), epochs=2, batch_size=batch_size, l2=0.1, l1=0.01)
    check_every_step(network, spec, data, start, 1e-12)
    check_every_step(network, replace(spec, batch_size=None), data, start, 1e-12)


@pytest.mark.parametrize("kind", INNER)
@pytest.mark.parametrize("n", [4095, 4096, 4097, 10_001])
def test_more_rows_than_the_buffers_hold(kind: str, n: int) -> None:
    network = SMALL[kind, "float64"]
    data, start = data_of(network, n), start_for(network)
    assert engines.CHUNK_ROWS == 4096  # else this is about nothing
    spec = Spec(gn.SGD(0.1, momentum=0.9), epochs=2, l2=0.1)
    check_every_step(network, spec, data, start, 1e-12)
    check_every_step(network, replace(spec, batch_size=n - 1), data, start, 1e-12)
    run = gn.train(
        network, data.X, data.y, optimizer=spec.optimizer, epochs=2, parameters=start, row_weights=data.row_weights,
        held_out=(data.X, data.y), engine="compiled",
    )  # fmt: skip
    many = Network((*INNER[kind], 3), tuple(NAMES[:4]), "cross_entropy")
    dropped = replace(spec, dropout=(0.2, 0.5, 0.0, 0.1), batch_size=None if n % 2 else n - 1)
    check_every_step(many, dropped, data_of(many, n), start_for(many), 1e-12)
    ends = [reference.forward(network, p, data.X, data.y).loss for p in (run.initial, run.parameters)]
    assert run.history.held_out_loss is not None
    assert_close(run.history.held_out_loss[[0, -1]], ends, 1e-12)


@pytest.mark.parametrize("number", RELATIVE)
@pytest.mark.parametrize("n", [255, 256, 257, 513, 1000, 4097])
def test_more_rows_than_a_block_holds(n: int, number: str) -> None:
    """Rows that all weigh the same, whose losses' logarithms are one for each block."""
    for network in (Network((2, 3, 2, 1), ("tanh", "relu")), Network((9, 5, 1), "gelu"), Network((3, 1))):
        assert source.is_unrolled(network)
        X, y, _ = table_for(network, n, number)
        spec = Spec(gn.SGD(0.1, momentum=0.9), epochs=2)
        data = Data.checked(network, X, y, None)
        check_every_step(network, spec, data, start_for(network, number), RELATIVE[number])
        passes = compiled.Passes(network, data)
        vector = start_for(network, number).vector
        expected = reference.forward(network, Parameters(network, vector), X, y).loss
        for derivatives in (False, True):
            assert_close(passes.loss(vector, derivatives=derivatives), expected, RELATIVE[number])


@given(st.data(), st.sampled_from(list(INNER)), st.integers(1, 90), st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_any_data_and_settings(data: st.DataObject, kind: str, n: int, seed: int) -> None:
    network = SMALL[kind, "float64"]
    rows, start = data_of(network, n, seed=seed), start_for(network, seed=seed)
    spec = Spec(
        data.draw(st.sampled_from(OPTIMIZERS[:6])),
        epochs=data.draw(st.integers(1, 3)),
        batch_size=data.draw(st.one_of(st.none(), st.integers(max(1, n // 4), n + 3))),
        l1=data.draw(st.sampled_from([0.0, 0.02])),
        l2=data.draw(st.sampled_from([0.0, 0.3])),
        random_state=seed,
        start=data.draw(st.integers(0, 2**32 - 1)),
    )
    # A gradient of few rows may all but cancel, and Adam's first updates divide by it: a hundred times the usual.
    check_every_step(network, spec, rows, start, 1e-10)


# --- rows -----------------------------------------------------------------------------------------------------------


def test_shuffles_are_the_permutations_of_randomness() -> None:
    """Row i has the loss i**2 while the learning rate is 0, so the records tell the order."""
    network = Network((1, 1), loss="mean_squared_error")
    begin = Parameters(network, np.array([1.0, 0.0]))
    for n in [*range(2, 71), 255, 256, 257, 1000, 4097, 20_011]:
        seed, start, epochs = 2**64 - n, n * 977, 2
        records = gn.steps(
            network, np.arange(float(n))[:, np.newaxis], np.zeros(n), parameters=begin, optimizer=gn.SGD(0.0),
            epochs=epochs, batch_size=1, random_state=seed, start=start, engine="compiled",
        )  # fmt: skip
        order = np.sqrt([record.loss for record in records]).round().astype(int).reshape(epochs, n)
        for epoch in range(epochs):
            expected = Stream(seed, Purpose.SHUFFLE, network=start, epoch=epoch + 1).permutation(n)
            np.testing.assert_array_equal(order[epoch], expected)


@given(st.lists(st.sampled_from([0, 1, 2**63, 2**64 - 1]) | st.integers(0, 2**64 - 1), min_size=1, max_size=40))
@settings(max_examples=300)
@example([2**40 + 1, 2**40, 5, 2**40, 2**63])  # alike in all bits but the last, and alike
def test_keys_are_put_in_order_whatever_they_are(given_keys: list[int]) -> None:
    """Compiled by themselves, for a training's keys are random: never are they as near to one another as these."""
    text = Path(chance.__file__).read_text("utf-8")
    told = "n, order, keys, found, counts"
    text += f"\n\ndef ordered({told}):\n    in_order({told})\n    return 0.0\n"
    signature = "float64(int64, int64*, int64*, int64*, int64*)"
    address = machine.code(text, {"ordered": signature})["ordered"]
    ordered = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int64, *[ctypes.c_void_p] * 4)(address)
    keys, n = np.array(given_keys, np.uint64), len(given_keys)
    order, found, counts = np.empty(n, np.int64), np.empty(n, np.int64), np.empty(2 * n, np.int64)
    ordered(n, *(array.ctypes.data for array in (order, keys, found, counts)))
    np.testing.assert_array_equal(order, np.argsort(keys, kind="stable"))


@pytest.mark.parametrize("batch_size", [50, 40, None])
def test_a_batch_as_large_as_the_data_or_larger_is_the_data(batch_size: int | None) -> None:
    network = SMALL["tiled", "float64"]
    X, y, weights = table_for(network, 40)
    run = gn.train(network, X, y, row_weights=weights, epochs=3, batch_size=batch_size, engine="compiled")
    same = gn.train(network, X, y, row_weights=weights, epochs=3, engine="compiled")
    assert run.parameters.vector.tobytes() == same.parameters.vector.tobytes()
    np.testing.assert_array_equal(run.history.loss, same.history.loss)


@pytest.mark.parametrize("kind", INNER)
def test_rows_that_weigh_nothing_are_not_there(kind: str) -> None:
    network = SMALL[kind, "float64"]
    X, y, _ = table_for(network, 40)
    weights = np.where(np.arange(40) % 3 == 0, 0.0, 2.5)
    heavy = weights > 0
    run = gn.train(network, X, y, row_weights=weights, epochs=20, engine="compiled", optimizer=gn.SGD(0.1), l2=0.1)
    fewer = gn.train(network, X[heavy], y[heavy], epochs=20, engine="compiled", optimizer=gn.SGD(0.1), l2=0.1)
    assert_close(run.parameters.vector, fewer.parameters.vector, 1e-12)
    assert_close(run.history.loss, fewer.history.loss, 1e-12)


@pytest.mark.parametrize("kind", INNER)
def test_batches_that_weigh_nothing_say_nothing(kind: str) -> None:
    network = SMALL[kind, "float64"]
    X, y, _ = table_for(network, 40)
    weights = np.where(np.arange(40) == 3, 1.0, 0.0)
    settings: dict[str, Any] = {"epochs": 2, "batch_size": 1, "row_weights": weights, "engine": "compiled"}
    run = gn.train(network, X, y, optimizer=gn.SGD(0.1), **settings)
    vector = run.initial.vector
    for _ in range(2):
        vector = vector - 0.1 * reference.backward(network, Parameters(network, vector), X[3:4], y[3:4]).gradient
    assert_close(run.parameters.vector, vector, 1e-12)
    every = list(gn.steps(network, X, y, optimizer=gn.SGD(0.1), **settings))
    assert sum(record.loss != 0 for record in every) == sum(record.gradient_norm != 0 for record in every) == 2
    # Their penalty is there all the same.
    shrunk = gn.train(network, X, y, optimizer=gn.SGD(0.1), l2=0.1, **settings)
    by_numpy = gn.train(network, X, y, optimizer=gn.SGD(0.1), l2=0.1, **(settings | {"engine": "numpy"}))
    assert_close(shrunk.parameters.vector, by_numpy.parameters.vector, 1e-12)
    assert_close(shrunk.history.loss, by_numpy.history.loss, 1e-12)


@pytest.mark.parametrize("kind", INNER)
def test_any_layout_of_the_data_is_the_same_data(kind: str) -> None:
    network = SMALL[kind, "float64"]
    X, y, weights = table_for(network, 40)
    wide = np.zeros((80, 2 * X.shape[1]))
    wide[::2, 1::2] = X
    bits = {
        gn.train(
            network, table, y, row_weights=weights, epochs=3, batch_size=7, engine="compiled"
        ).parameters.vector.tobytes()
        for table in (X, np.asfortranarray(X), wide[::2, 1::2], X.tolist(), X[::-1][::-1])
    }
    assert len(bits) == 1


@pytest.mark.parametrize(("first", "second"), [("float32", "float64"), ("float64", "float32")])
def test_held_out_rows_may_be_of_another_type(first: str, second: str) -> None:
    network = SMALL["unrolled", "float64"]
    X, y, _ = table_for(network, 40)
    held = (X[:9].astype(second), y[:9])
    run = gn.train(network, X.astype(first), y, held_out=held, epochs=2, engine="compiled")
    expected = reference.forward(network, run.parameters, X[:9].astype(first), y[:9]).loss
    assert run.history.held_out_loss is not None
    assert_close(run.history.held_out_loss[-1], expected, 1e-6)
    assert run.parameters.vector.dtype == first
    for record in gn.steps(network, X.astype(first), y, held_out=held, epochs=2, engine="compiled"):
        assert_close(record.held_out_loss, run.history.held_out_loss[record.epoch], 1e-6)
    minimised = gn.train(network, X.astype(first), y, held_out=held, epochs=2, engine="compiled", optimizer=LBFGS())
    expected = reference.forward(network, minimised.parameters, X[:9].astype(first), y[:9]).loss
    assert minimised.history.held_out_loss is not None
    assert_close(minimised.history.held_out_loss[-1], expected, 1e-6)


NARROW = """
import sys
from glassnet.kernels import machine
machine.BITS = 256  # before anything is made with it
sys.path.insert(0, sys.argv[1])
import glassnet as gn
import test_compiled as t
for sizes, number in (((2, 2, 2, 1), "float64"), ((3, 5, 9, 3), "float64")):
    network = t.Network(sizes, ("tanh", "gelu")[: len(sizes) - 2], "cross_entropy" if sizes[-1] > 1 else "huber")
    spec = t.Spec(gn.SGD(0.05, momentum=0.9), epochs=2, batch_size=7, l1=0.01, l2=0.1)
    start = t.start_for(network, number)
    for n, other in ((17, spec), (70, t.replace(spec, batch_size=None)), (13, t.replace(spec, batch_size=12))):
        t.check_every_step(network, other, t.data_of(network, n, number), start, t.RELATIVE[number])
import test_lanes
for number in test_lanes.NUMBERS:
    test_lanes.test_sums_that_pass_over_zeros_have_the_bits_of_those_that_do_not(number)
    test_lanes.test_sums_along_lists_are_those_of_the_dense_table(number)
import test_mathematics
for name in ("exp", "sigmoid", "softplus"):
    for number in test_lanes.NUMBERS:
        test_mathematics.test_the_largest_error_is_the_stated_one(name, number)
print(gn.kernels.source.gradient_source(network, machine.BITS // 64).count("range(0, n, 4)"), "right")
"""


def test_processors_with_narrower_vectors(tmp_path: Path) -> None:
    """Vectors of four numbers are those of most processors; this one can do them, too."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "GLASSNET_CACHE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", NARROW, str(Path(__file__).parent)], env=environment, capture_output=True, text=True
    )
    assert (done.stderr, done.stdout.split()[-1:]) == ("", ["right"])


# --- records ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [None, 16])
@pytest.mark.parametrize("kind", INNER)
def test_the_two_engines_record_the_same(kind: str, batch_size: int | None) -> None:
    network = SMALL[kind, "float64"]
    X, y, weights = table_for(network, 40)
    settings: dict[str, Any] = {"epochs": 5, "batch_size": batch_size, "l1": 0.01, "l2": 0.1, "row_weights": weights}
    settings["held_out"] = table_for(network, 11, seed=1)[:2]
    runs = [gn.train(network, X, y, engine=engine, **settings) for engine in ("compiled", "numpy")]
    for found, expected in zip(runs[0].history.__dict__.values(), runs[1].history.__dict__.values(), strict=True):
        assert_close(found, expected, 1e-11)
    assert runs[0].counters == runs[1].counters
    assert runs[0].stop_reason == runs[1].stop_reason == "epochs"
    assert [run.engine_used for run in runs] == ["compiled", "numpy"]
    assert_close(runs[0].objective, runs[1].objective, 1e-11)
    steps = [list(gn.steps(network, X, y, engine=engine, **settings)) for engine in ("compiled", "numpy")]
    for one, other in zip(*steps, strict=True):
        assert (one.epoch, one.step, one.first_nonfinite) == (other.epoch, other.step, other.first_nonfinite)
        assert (one.held_out_loss is None) == (other.held_out_loss is None)
        for name in ("loss", "penalty", "gradient_norm", "held_out_loss"):
            if getattr(one, name) is not None:
                assert_close(getattr(one, name), getattr(other, name), 1e-11)


@pytest.mark.parametrize(("batch_size", "dropout"), [(None, 0.0), (16, 0.0), (16, (0.2, 0.5, 0.0, 0.1))])
def test_any_step_can_be_had_again(batch_size: int | None, dropout: Any) -> None:
    """With its masks; from any run, the bits of its parameters being those that the records speak of."""
    network = Network((*INNER["tiled"], 3), tuple(NAMES[:4]), "cross_entropy")
    X, y, weights = table_for(network, 40)
    settings: dict[str, Any] = {"epochs": 3, "batch_size": batch_size, "row_weights": weights, "l2": 0.1}
    settings |= {"optimizer": gn.Adam(0.01), "engine": "compiled", "dropout": dropout, "start": 2}
    run, records = gn.train(network, X, y, **settings), list(gn.steps(network, X, y, **settings))
    n_batches = 1 if batch_size is None else 3
    assert len(records) == 3 * n_batches
    for i, record in enumerate(records):
        trace = run.trace(record.epoch, 1 + i % n_batches)
        assert_close(record.loss, trace.loss, 1e-12)
        assert_close(record.gradient_norm, np.linalg.norm(trace.gradient), 1e-12)
        assert (trace.masks is not None) == bool(dropout)
    shorter = gn.train(network, X, y, **(settings | {"epochs": 2}))
    assert run.trace(3).parameters.vector.tobytes() == shorter.parameters.vector.tobytes()
    for wrong in ((4, 1), (0, 1), (1, n_batches + 1), (1, 0)):
        with pytest.raises(UsageError, match="was never trained"):
            run.trace(*wrong)


def test_no_epochs_change_nothing() -> None:
    network = SMALL["unrolled", "float64"]
    X, y, _ = table_for(network, 40)
    for batch_size in (None, 7):
        run = gn.train(network, X, y, epochs=0, batch_size=batch_size, engine="compiled", held_out=(X, y))
        assert run.parameters.vector.tobytes() == run.initial.vector.tobytes()
        begin = reference.forward(network, run.initial, X, y).loss
        assert_close(run.history.loss, [begin], 1e-12)
        assert_close(run.history.held_out_loss, [begin], 1e-12)
        assert (run.stop_reason, run.counters) == ("epochs", {"epochs": 0, "steps": 0})
    assert list(gn.steps(network, X, y, epochs=0, engine="compiled")) == []


# --- held-out rows ----------------------------------------------------------------------------------------------------

# Few rows, a wide network and a large rate: the held-out loss falls, and rises again.
OVERFITTING: dict[str, Any] = {"optimizer": gn.Adam(0.05), "epochs": 300, "engine": "compiled"}


@pytest.mark.parametrize(("batch_size", "min_improvement"), [(None, 0.0), (None, 0.01), (5, 0.0)])
@pytest.mark.parametrize("kind", INNER)
def test_patience_keeps_the_best_and_stops_when_it_is_at_its_end(
    kind: str, batch_size: int | None, min_improvement: float
) -> None:
    network = SMALL[kind, "float64"]
    rng = np.random.default_rng(5)
    X, held_X = rng.normal(size=(20, network.n_features)), rng.normal(size=(30, network.n_features))
    y, held_y = (rng.uniform(size=(20, 1)) < 0.5) * 1.0, (rng.uniform(size=(30, 1)) < 0.5) * 1.0
    settings: dict[str, Any] = OVERFITTING | {"batch_size": batch_size, "held_out": (held_X, held_y)}
    waiting = gn.train(network, X, y, patience=6, min_improvement=min_improvement, **settings)
    free = gn.train(network, X, y, **settings)
    assert free.history.held_out_loss is not None
    assert waiting.history.held_out_loss is not None
    best, best_epoch, stop = math.inf, 0, 300
    for epoch, loss in enumerate(free.history.held_out_loss):
        if loss < best - (min_improvement if epoch else 0):
            best, best_epoch = loss, epoch
        elif epoch - best_epoch >= 6:
            stop = epoch
            break
    assert stop < 300
    assert waiting.stop_reason == "held-out loss"
    per_epoch = 1 if batch_size is None else 4
    assert waiting.counters == {"epochs": stop, "steps": stop * per_epoch, "best_epoch": best_epoch}
    np.testing.assert_array_equal(waiting.history.held_out_loss, free.history.held_out_loss[: stop + 1])
    np.testing.assert_array_equal(waiting.history.loss[:stop], free.history.loss[:stop])
    shorter = gn.train(network, X, y, **(settings | {"epochs": best_epoch}))
    assert waiting.parameters.vector.tobytes() == shorter.parameters.vector.tobytes()
    assert_close(reference.forward(network, waiting.parameters, held_X, held_y).loss, best, 1e-12)
    end = reference.forward(network, waiting.parameters, X, y).objective
    assert_close(waiting.objective, end, 1e-12)


def test_what_is_no_improvement_to_speak_of_is_waited_through() -> None:
    """A loss that falls a little every epoch: with a demand on each improvement only every few epochs count."""
    network = SMALL["unrolled", "float64"]
    X, y, _ = table_for(network, 40)
    given: dict[str, Any] = {"optimizer": gn.SGD(0.1), "epochs": 60, "held_out": (X, y), "engine": "compiled"}
    free = gn.train(network, X, y, **given).history.held_out_loss
    assert free is not None
    assert (np.diff(free) < 0).all()
    gain = 3.5 * (free[0] - free[1])
    run = gn.train(network, X, y, patience=4, min_improvement=gain, **given)
    best = 0
    for epoch in range(1, 61):
        if free[epoch] < free[best] - gain:
            best = epoch
        elif epoch - best >= 4:
            break
    assert run.stop_reason == "held-out loss"
    assert 4 <= best < epoch < 60
    assert run.counters == {"epochs": epoch, "steps": epoch, "best_epoch": best}
    by_numpy = gn.train(network, X, y, patience=4, min_improvement=gain, **(given | {"engine": "numpy"}))
    assert by_numpy.counters == run.counters


def test_patience_that_is_never_at_its_end_still_keeps_the_best() -> None:
    network = SMALL["unrolled", "float64"]
    rng = np.random.default_rng(5)
    X, y = rng.normal(size=(20, 2)), (rng.uniform(size=(20, 1)) < 0.5) * 1.0
    held = (rng.normal(size=(30, 2)), (rng.uniform(size=(30, 1)) < 0.5) * 1.0)
    run = gn.train(network, X, y, held_out=held, patience=1000, **OVERFITTING)
    assert run.stop_reason == "epochs"
    assert run.history.held_out_loss is not None
    assert run.counters["best_epoch"] == int(np.argmin(run.history.held_out_loss)) < 300
    lowest = run.history.held_out_loss.min()
    assert_close(reference.forward(network, run.parameters, *held).loss, lowest, 1e-12)


@pytest.mark.parametrize("engine", ["compiled", "numpy"])
def test_the_curve_of_a_run_with_patience_has_no_holes(engine: str) -> None:
    network = SMALL["unrolled", "float64"]
    X, y, _ = table_for(network, 40)
    for batch_size, epochs in product((None, 7), (0, 1, 4)):
        run = gn.train(
            network, X, y, epochs=epochs, held_out=(X[:9], y[:9]), patience=3, batch_size=batch_size, engine=engine
        )
        free = gn.train(network, X, y, epochs=epochs, batch_size=batch_size, engine=engine)
        assert_close(run.history.loss, free.history.loss, 1e-12)


@pytest.mark.parametrize("engine", ["compiled", "numpy"])
def test_a_held_out_loss_that_is_not_finite_at_first_may_become_so(engine: str) -> None:
    """Held-out rows far out: a loss beyond all measure until the weight is small."""
    network = Network((1, 1), loss="mean_squared_error")
    begin = Parameters(network, np.array([1.0, 0.0]))
    X, y = np.array([[1.0], [-1.0]]), np.zeros(2)
    held = (np.array([[1e155], [-1e155], [1e155]]), np.zeros(3))
    run = gn.train(
        network, X, y, parameters=begin, optimizer=gn.SGD(0.25), epochs=20, held_out=held, patience=15, engine=engine
    )
    assert run.history.held_out_loss is not None
    assert not np.isfinite(run.history.held_out_loss[0])
    assert np.isfinite(run.history.held_out_loss[-1])
    assert run.counters["best_epoch"] == 20


# --- divergence -------------------------------------------------------------------------------------------------------

WILD = [
    (loss, activation, optimizer, batch_size, l2)
    for loss, activation, optimizer, batch_size, l2 in product(
        ("mean_squared_error", "poisson"),
        ("relu", "tanh"),
        (gn.SGD(1e6), gn.SGD(1e200, momentum=0.9), gn.Adam(1e300), gn.AdamW(1e160), gn.RMSprop(1e300)),
        (None, 7),
        (0.0, 0.1),
    )
]


@pytest.mark.parametrize("kind", INNER)
@pytest.mark.parametrize(("loss", "activation"), [("mean_squared_error", "relu"), ("poisson", "tanh")])
def test_whatever_diverges_keeps_what_is_finite(loss: str, activation: str, kind: str) -> None:
    network = Network((3, 4, 1) if kind == "unrolled" else (3, 17, 1), activation, loss)
    X = np.random.default_rng(11).normal(size=(40, 3))
    y, diverged = np.abs(X[:, :1]), 0
    for optimizer, batch_size, l2 in [case[2:] for case in WILD if case[:2] == (loss, activation)]:
        settings: dict[str, Any] = {"optimizer": optimizer, "batch_size": batch_size, "l2": l2, "engine": "compiled"}
        run = gn.train(network, X, y, epochs=6, held_out=(X[:5], y[:5]), **settings)
        last = list(gn.steps(network, X, y, epochs=6, **settings))[-1]
        if last.first_nonfinite is not None:
            assert run.first_nonfinite == last.first_nonfinite
            assert run.stop_reason == f"diverged at step {last.step}"
            assert run.counters["steps"] < last.step
            diverged += 1
            epochs, batches = divmod(last.step - 1, 1 if batch_size is None else 6)
            wild = run.trace(epochs + 1, batches + 1)
            match run.first_nonfinite:
                case "loss":
                    assert not np.isfinite(wild.loss or np.nan)
                case "penalty":
                    assert np.isfinite(wild.loss or np.nan)
                    assert not np.isfinite(wild.penalty or np.nan)
        elif run.stop_reason != "epochs":
            assert run.stop_reason == f"diverged at step {last.step}"  # by the loss after the last update
            assert run.counters["steps"] < last.step
            diverged += 1
        trace = reference.forward(network, run.parameters, X, y, None, 0.0, l2)
        assert np.isfinite([trace.objective or np.nan, run.objective]).all()
        assert np.isfinite(run.parameters.vector).all()
        made = run.counters["epochs"]
        assert run.history.held_out_loss is not None
        assert len(run.history.loss) == len(run.history.held_out_loss) == made + 1
        assert np.isfinite(run.history.loss).all()
        if batch_size is None:
            kept = gn.train(network, X, y, epochs=made, **settings)
            assert kept.parameters.vector.tobytes() == run.parameters.vector.tobytes()
            np.testing.assert_array_equal(kept.history.loss, run.history.loss)
            assert kept.stop_reason == "epochs"
        by_numpy = gn.train(network, X, y, epochs=6, **(settings | {"engine": "numpy"}))
        assert (by_numpy.stop_reason, by_numpy.counters) == (run.stop_reason, run.counters)
    assert diverged >= 5  # so that this is about something


def test_infinite_only_in_the_penalty() -> None:
    network = Network((1, 1))
    begin = Parameters(network, np.array([1.0, 0.0]))
    settings: dict[str, Any] = {"parameters": begin, "optimizer": gn.SGD(1e250), "epochs": 5, "l2": 1e-9}
    run = gn.train(network, [[1.0]], [1], engine="compiled", **settings)
    assert (run.stop_reason, run.first_nonfinite) == ("diverged at step 2", "penalty")
    assert [step.first_nonfinite for step in gn.steps(network, [[1.0]], [1], engine="compiled", **settings)] == [
        None,
        "penalty",
    ]
    np.testing.assert_array_equal(run.parameters.vector, begin.vector)
    assert run.counters == {"epochs": 0, "steps": 0}


def test_a_gradient_or_parameters_that_are_not_finite_are_said_to_be() -> None:
    network = Network((1, 1), loss="mean_squared_error")
    # The loss, 1e300 and about, is finite; its derivative by the weight is not.
    begin = Parameters(network, np.array([0.0, 1e150]))
    run = gn.train(network, [[1e200]], [0.0], parameters=begin, engine="compiled", optimizer=gn.SGD(0.1), epochs=3)
    assert (run.stop_reason, run.first_nonfinite) == ("diverged at step 1", "gradient")
    np.testing.assert_array_equal(run.parameters.vector, begin.vector)
    begin = Parameters(network, np.array([1.0, 1.0]))
    run = gn.train(network, [[1e5]], [0.0], parameters=begin, engine="compiled", optimizer=gn.SGD(1e300), epochs=3)
    assert (run.stop_reason, run.first_nonfinite) == ("diverged at step 1", "parameters")
    np.testing.assert_array_equal(run.parameters.vector, begin.vector)


@pytest.mark.parametrize("kind", INNER)
def test_a_start_without_a_finite_loss(kind: str) -> None:
    network = Network((1, 1) if kind == "unrolled" else (70, 1), loss="mean_squared_error")
    begin = Parameters(network, np.full(network.n_parameters, 1e300))
    X = np.ones((5, network.n_features))
    for optimizer, batch_size, reason in (
        (gn.SGD(), None, "diverged at step 1"),
        (gn.SGD(), 2, "diverged at step 1"),
        (gn.LBFGS(), None, "diverged at step 0"),
    ):
        run = gn.train(
            network,
            X,
            np.ones(5),
            parameters=begin,
            optimizer=optimizer,
            epochs=3,
            batch_size=batch_size,
            engine="compiled",
        )
        assert (run.stop_reason, run.first_nonfinite) == (reason, "loss")
        assert run.counters == {"epochs": 0, "steps": 0}
        np.testing.assert_array_equal(run.parameters.vector, begin.vector)


@pytest.mark.parametrize("engine", ["compiled", "numpy"])
def test_a_loss_that_only_rows_outside_the_batch_make_infinite(engine: str) -> None:
    network = Network((1, 1), loss="poisson")
    table, y = [[-1.0], [900.0]], [5.0, 0.0]
    begin, reasons = Parameters(network, np.zeros(2)), set()
    for seed in range(6):
        settings: dict[str, Any] = {"epochs": 1, "batch_size": 1, "optimizer": gn.SGD(0.01), "random_state": seed}
        run = gn.train(network, table, y, parameters=begin, engine=engine, **settings)
        reasons.add(run.stop_reason)
        diverged = run.stop_reason != "epochs"
        assert run.counters == ({"epochs": 0, "steps": 0} if diverged else {"epochs": 1, "steps": 2})
        assert (run.parameters.vector == begin.vector).all() == diverged
        assert run.objective == pytest.approx(reference.forward(network, run.parameters, table, y).loss)
    assert reasons == {"epochs", "diverged at step 2"}


@pytest.mark.parametrize("engine", ["compiled", "numpy"])
def test_what_is_left_of_an_epoch_that_diverged_has_a_finite_loss_over_all_rows(engine: str) -> None:
    """Batches of one row: the first update is fine for its own row, and puts another one, which comes last, out of
    range. Only the update after next shows it, in the middle of an epoch."""
    network = Network((1, 1), loss="poisson")
    table, y = [[-1.0], [-1.5], [900.0]], [5.0, 5.0, 0.0]
    begin = Parameters(network, np.zeros(2))
    found = []
    for seed in range(12):
        run = gn.train(
            network, table, y, parameters=begin, engine=engine, epochs=2, batch_size=1, optimizer=gn.SGD(0.01),
            random_state=seed,
        )  # fmt: skip
        found.append(run.stop_reason)
        loss = reference.forward(network, run.parameters, table, y).loss
        assert np.isfinite(loss or np.nan), (seed, run.stop_reason)
    assert len(set(found)) > 1


@settings(max_examples=60, deadline=None)
@given(
    activation=st.sampled_from(sorted(ACTIVATIONS)),
    hidden=st.sampled_from([(3,), (17,), (9, 20), (4, 4, 4)]),
    n_classes=st.sampled_from([1, 3]),
    number=st.sampled_from(sorted(RELATIVE)),
    exponent=st.integers(-2, 36),
    row_size=st.sampled_from([1.0, 1e3, 1e15]),
    seed=st.integers(0, 9),
)
@example("relu", (9, 20), 1, "float32", 19, 1.0, 0)
def test_a_pass_that_is_not_made_at_the_end_would_have_seen_nothing(
    activation: str, hidden: tuple[int, ...], n_classes: int, number: str, exponent: int, row_size: float, seed: int
) -> None:
    """With batches a training goes over all rows once more only where the loss could be infinite: what it keeps is what
    one that always looks back keeps."""
    loss = "binary_cross_entropy" if n_classes == 1 else "cross_entropy"
    network = Network((2, *hidden, n_classes), activation, loss)
    X, y, _ = table_for(network, 40, number, seed)
    data = Data.checked(network, X * np.asarray(row_size, number), y, None)
    spec = Spec(gn.SGD(10.0**exponent), epochs=1, batch_size=20, random_state=seed)
    start = initialize(network, seed).vector.astype(number)[np.newaxis]
    looked_back, at_once = (
        train_members(network, spec, data, start, spec.alone, engine="compiled", whole_losses=whole)
        for whole in (True, False)
    )
    assert at_once.vectors.tobytes() == looked_back.vectors.tobytes()
    for name in ("n_epochs", "n_steps", "diverged_at", "first_nonfinite"):
        assert getattr(at_once, name) == getattr(looked_back, name), name
    assert np.isnan(at_once.final_losses[0]) or at_once.final_losses[0] == looked_back.final_losses[0]


@pytest.mark.parametrize("number", RELATIVE)
def test_when_a_training_in_batches_looks_back_over_all_rows(number: str) -> None:
    network = Network((3, 17, 1))
    X, y, weights = table_for(network, 40, number)

    def looks_back(X: Any, y: Any, weights: Any = None, network: Network = network, **more: Any) -> bool:
        data, start = Data.checked(network, X, y, weights, number), initialize(network, 0).vector.astype(number)
        more = {"batch_size": 8, "epochs": 2, "optimizer": gn.SGD(0.1)} | more
        spec = Spec(**more)
        outcome = train_members(
            network, spec, data, start[np.newaxis], spec.alone, engine="compiled", whole_losses=False
        )  # fmt: skip
        return bool(np.isfinite(outcome.final_losses[0]))

    assert not looks_back(X, y)
    assert not looks_back((X * 50 + 100).astype(np.uint8), y)
    assert not looks_back(csr_array(X), y)
    assert looks_back(X, y, batch_size=None)  # the loss after the last update is one of its history
    assert looks_back(X, y, weights)
    assert looks_back(X * np.asarray(1e13, number), y, optimizer=gn.SGD(1e-16))
    assert looks_back(X, y, optimizer=gn.SGD(1e14))
    assert looks_back(X, y, l2=1e13, optimizer=gn.SGD(1e-16))
    assert looks_back(X, y, network=Network((3, 17, 1), loss="mean_squared_error"))


# --- L-BFGS -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", RELATIVE)
@pytest.mark.parametrize("kind", INNER)
def test_every_evaluation_of_lbfgs_is_the_references(kind: str, number: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = SMALL[kind, number]
    X, y, weights = table_for(network, 60, number)
    seen: list[tuple[Any, float, Any]] = []
    loss_of = compiled.Passes.loss

    def watched(self: Any, vector: Any, *, derivatives: bool = False) -> float:
        loss = loss_of(self, vector, derivatives=derivatives)
        seen.append((vector.copy(), loss, self.gradient.copy() if derivatives else None))
        return loss

    monkeypatch.setattr(compiled.Passes, "loss", watched)
    run = gn.train(
        network, X, y, row_weights=weights, optimizer=LBFGS(), epochs=60, l2=0.01, l1=0.001, engine="compiled",
        parameters=start_for(network, number),
    )  # fmt: skip
    assert run.engine_used == "compiled"
    assert len(seen) > 20
    assert sum(gradient is not None for _, _, gradient in seen) > 10
    for vector, loss, gradient in seen:
        trace = reference.backward(network, Parameters(network, vector), X, y, weights)
        assert_close(loss, trace.loss, RELATIVE[number])
        if gradient is not None:
            # Towards the minimum the gradient is what is left of terms that cancel: these set the scale.
            scale = np.linalg.norm(trace.gradient) + 0.1
            assert np.linalg.norm(gradient - trace.gradient) <= RELATIVE[number] * scale
    end = reference.forward(network, run.parameters, X, y, weights, 0.001, 0.01)
    assert_close(run.history.loss[-1], end.loss, RELATIVE[number])
    assert_close(run.objective, end.objective, RELATIVE[number])


def test_lbfgs_of_the_two_engines_begins_alike_and_ends_alike() -> None:
    network = Network((3, 1))  # convex: one minimum
    X, y, weights = table_for(network, 4200)
    settings: dict[str, Any] = {"optimizer": LBFGS(gradient_tolerance=1e-9, change_tolerance=0.0), "l2": 0.1}
    runs = [
        gn.train(network, X, y, row_weights=weights, engine=e, epochs=100, **settings) for e in ("compiled", "numpy")
    ]
    assert_close(runs[0].history.loss[:4], runs[1].history.loss[:4], 1e-9)
    assert_close(runs[0].parameters.vector, runs[1].parameters.vector, 1e-7)
    assert runs[0].stop_reason == runs[1].stop_reason == "converged"


def test_lbfgs_waits_for_held_out_rows() -> None:
    network = SMALL["unrolled", "float64"]
    rng = np.random.default_rng(6)
    X, y = rng.normal(size=(15, 2)), (rng.uniform(size=(15, 1)) < 0.5) * 1.0
    held = (rng.normal(size=(30, 2)), (rng.uniform(size=(30, 1)) < 0.5) * 1.0)
    run = gn.train(network, X, y, optimizer=LBFGS(), epochs=200, held_out=held, patience=4, engine="compiled")
    assert run.stop_reason == "held-out loss"
    assert run.history.held_out_loss is not None
    best = run.counters["best_epoch"]
    assert run.counters["epochs"] == best + 4
    assert_close(reference.forward(network, run.parameters, *held).loss, run.history.held_out_loss[best], 1e-12)
    assert best == int(np.argmin(run.history.held_out_loss))


# --- health -----------------------------------------------------------------------------------------------------------


def since(states: list[bool]) -> int:
    found = -1
    for epoch, state in enumerate(states):
        found = (epoch if found < 0 else found) if state else -1
    return found


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize(("sizes", "loss"), [((2, 2, 1), "binary_cross_entropy"), ((2, 24, 3), "cross_entropy")])
def test_dead_and_stuck_since_are_what_a_replay_finds(sizes: tuple[int, ...], loss: str, dropout: float) -> None:
    network, epochs = Network(sizes, "relu", loss), 25
    rng = np.random.default_rng(8)
    X = rng.normal(size=(30, 2))
    y = np.eye(3)[rng.integers(0, 3, 30)] if loss == "cross_entropy" else (X[:, :1] + 0.4 > 0) * 1.0
    many = gn.train_population(
        network, X, y, size=25, optimizer=gn.SGD(1.5), epochs=epochs, engine="compiled", dropout=dropout
    )
    dead_ones = stuck_ones = 0
    for k in range(25):
        dead, stuck = [], []
        for epoch in range(epochs + 1):
            one = gn.train(
                network, X, y, optimizer=gn.SGD(1.5), epochs=epoch, engine="compiled", dropout=dropout, start=k
            )
            trace = reference.forward(network, one.parameters, X, y)
            dead.append(bool((trace.activations[1] == 0).all(axis=0).any()))
            classes = trace.logits[:, 0] > 0 if loss.startswith("binary") else trace.logits.argmax(axis=1)
            stuck.append(len(set(classes.tolist())) == 1)
        if many.diverged_at[k] < 0:
            assert many.dead_since[k] == since(dead), k
            if not dropout:  # what a pass with masks sees of the classes is not what one without sees
                assert many.stuck_since[k] == since(stuck), k
            n_dead = int((trace.activations[1] == 0).all(axis=0).sum())
            assert many.n_dead_units[k] == n_dead
            dead_ones, stuck_ones = dead_ones + (n_dead > 0), stuck_ones + stuck[-1]
    assert dead_ones


@pytest.mark.parametrize(("sizes", "n"), [((2, 3, 3, 1), 9), ((2, 17, 3, 3), 3)])
def test_the_engines_see_the_same_health_under_dropout(sizes: tuple[int, ...], n: int) -> None:
    """Rows that fill up the lanes are the last row once more, with its masks: nothing is seen of them."""
    network = Network(sizes, "relu", "binary_cross_entropy" if sizes[-1] == 1 else "cross_entropy")
    X, y, _ = table_for(network, n)
    given: dict[str, Any] = {"size": 60, "optimizer": gn.SGD(0.2), "epochs": 7, "dropout": 0.5}
    for batch_size in (None, n - 1):
        many, by_numpy = (
            gn.train_population(network, X, y, engine=engine, batch_size=batch_size, **given)
            for engine in ("compiled", "numpy")
        )
        for name in ("dead_since", "stuck_since", "n_dead_units"):
            np.testing.assert_array_equal(getattr(many, name), getattr(by_numpy, name), name)
        assert len({*zip(many.dead_since.tolist(), many.stuck_since.tolist(), strict=True)}) > 3


# --- what cannot be meant ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["compiled", "numpy"])
@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"random_state": -1}, "The random seed is an integer"),
        ({"random_state": 1.5}, "The random seed is an integer"),
        ({"random_state": 2**64}, "The random seed is an integer"),
        ({"start": -1}, "The network's number is an integer"),
        ({"start": 2**32}, "The network's number is an integer"),
        ({"start": "x"}, "The network's number is an integer"),
        ({"engine": "gpu"}, "engine is one of"),
        ({"batch_size": -3}, "batch_size is a whole number"),
        ({"epochs": -3}, "epochs is a whole number"),
        ({"dropout": 1.0}, "dropout is a number from 0 to less than 1"),
        ({"patience": 3}, "patience waits"),
        ({"patience": 0, "held_out": ([[0.0, 0.0]], [0])}, "patience is a whole number"),
        ({"row_weights": np.zeros(40)}, "row_weights"),
        ({"row_weights": np.full(40, np.nan)}, "row_weights"),
        ({"held_out": (np.zeros((3, 5)), np.zeros(3))}, "X has"),
    ],
)
def test_settings_that_cannot_be_meant(settings: dict[str, Any], rule: str, engine: str) -> None:
    network = Network((2, 2, 1))
    X, y, _ = table_for(network, 40)
    settings = {"epochs": 2, "engine": engine, "parameters": initialize(network, 0)} | settings
    with pytest.raises(GlassnetError, match=rule):
        gn.train(network, X, y, **settings)


@pytest.mark.parametrize("engine", ["compiled", "numpy"])
def test_data_that_cannot_be_meant(engine: str) -> None:
    network = Network((2, 2, 1))
    X, y, _ = table_for(network, 40)
    for table, targets in ((X[:, :1], y), (X, y[:-1]), (X[:0], y[:0]), (X * np.nan, y), (X, y + 2), (X[0], y[0])):
        with pytest.raises(GlassnetError):
            gn.train(network, table, targets, epochs=1, engine=engine)
        with pytest.raises(GlassnetError):
            gn.train_population(network, table, targets, size=2, epochs=1, engine=engine)


# --- what is handed over as an address ------------------------------------------------------------------------------


def test_counts_are_called_the_same_in_both_places() -> None:
    names = {
        "EPOCHS": "n_epochs", "STEPS": "n_steps", "DIVERGED_AT": "diverged_at", "FIRST_NONFINITE": "first_nonfinite",
        "STOPPED_EARLY": "stopped_early", "N_DEAD": "n_dead_units", "DEAD_SINCE": "dead_since",
        "STUCK_SINCE": "stuck_since", "BEST_EPOCH": "best_epochs", "CONVERGED": "converged",
    }  # fmt: skip
    assert {place: COUNTS[getattr(places, place)] for place in names} == names
    assert len(COUNTS) == places.N_COUNTS
    assert (FINALS[places.FINAL_LOSS], FINALS[places.BEST_HELD_LOSS]) == ("final_losses", "best_losses")
    assert len(FINALS) == places.N_FINALS
    network = Network((1, 1), loss="mean_squared_error")
    outcome = Outcome.begun(np.zeros((2, 2)), epochs=1)
    for at, name in enumerate(COUNTS):
        setattr(outcome, name, 7 + at)
        assert (outcome.counts[:, at] == 7 + at).all(), name
    data = Data.checked(network, [[0.0], [1.0]], [1.0, 3.0], None)
    spec = Spec(gn.SGD(1e200), epochs=9)
    members = Members.of(spec, np.arange(2))
    compiled_one, numpy_one = (
        train_members(network, spec, data, np.zeros((2, 2)), members, engine=engine) for engine in ENGINES
    )
    np.testing.assert_array_equal(compiled_one.counts, numpy_one.counts)
    assert (numpy_one.diverged_at > 0).all()


def test_two_threads_are_told_of_the_same_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address keeps nothing alive: of two arrays made at once one would be freed."""
    engine = engines.Engine.of(Network((2, 2, 1)), np.float64, gn.SGD(), penalised=False, dropout=False)
    addresses = engines.loop_addresses(engine.number)

    def slow(number: str) -> dict[str, int]:
        time.sleep(0.05)
        return addresses

    monkeypatch.setattr(engines, "loop_addresses", slow)
    kept = engines._tools
    monkeypatch.setattr(engines, "_tools", cache(kept.__wrapped__))
    found: list[int] = []
    reading = engine.reading(np.zeros((3, 2)))
    threads = [threading.Thread(target=lambda: found.append(engine.tools_at(reading, shuffle=False))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    assert len(set(found)) == 1


@pytest.mark.parametrize(("sizes", "batch_size", "held"), [((30, 16, 1), 8, 0), ((5, 20, 1), None, 7)])
def test_what_layers_leave_lies_at_whole_vectors(
    sizes: tuple[int, ...], batch_size: int | None, held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else every vector of it would lie in two cache lines. A kernel of Python's looks where its room is."""
    network, rng = Network(sizes), np.random.default_rng(0)
    kinds: dict[str, Any] = {"int64": ctypes.c_int64}
    given = engines._GRADIENT.split("(")[1].rstrip(")").split(", ")
    seen = set()

    @ctypes.CFUNCTYPE(ctypes.c_double, *(kinds.get(kind, ctypes.c_void_p) for kind in given))
    def looks(*arguments: Any) -> float:
        *_, derivatives, gradient, work, _seen, _tools = arguments
        if derivatives:
            ctypes.memset(gradient, 0, 4 * network.n_parameters)
        seen.add(work % 64)
        return 1.0

    address = ctypes.cast(looks, ctypes.c_void_p).value
    engine = engines.Engine.of(network, np.float32, gn.SGD(), penalised=False, dropout=False)
    assert not engine.is_unrolled
    other = replace(engine, gradient=address)
    monkeypatch.setattr(engines.Engine, "of", lambda *given, **more: other)
    X, y = rng.normal(size=(24, sizes[0])).astype("f"), rng.integers(0, 2, (24, 1)).astype("f")
    held_out = (X[:held], y[:held]) if held else None
    gn.train(network, X, y, epochs=2, batch_size=batch_size, engine="compiled", threads=1, held_out=held_out)
    assert seen == {0}
