"""Trainings a few epochs at a time, and the rules by which what they show ends them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils import shuffle

import glassnet as gn
from glassnet import reference
from glassnet.courses import Epoch, Patience, follow, minimise
from glassnet.kernels import compiled, engines
from glassnet.kernels.course import Course
from glassnet.network import Network, Parameters, dropout_masks, initialize
from glassnet.optimizers import SGD, Adam, FoldedAdam, Optimizer
from glassnet.runs import Data

NETWORK = Network((3, 5, 2), ("tanh",), "cross_entropy")
RNG = np.random.default_rng(1)
X = RNG.normal(size=(70, 3))
Y = np.eye(2)[(X[:, 0] * X[:, 1] > 0).astype(int)]


def data(weights: Any = None, dtype: Any = np.float64) -> Data:
    return Data.checked(NETWORK, X.astype(dtype), Y.astype(dtype), weights, dtype)


def rate(value: float) -> Any:
    return lambda first, last: np.full(last - first + 1, value)


def course(optimizer: Optimizer | None = None, given_data: Data | None = None, **more: Any) -> Course:
    given_data = given_data or data()
    start = initialize(NETWORK, 3, dtype=given_data.dtype).vector
    settings = {"rates": rate(0.05), "epochs": 12} | more
    return Course(NETWORK, optimizer or FoldedAdam(1.0), given_data, start, **settings)


# --- the engine ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 31, 32, 33, 64, 100, 1000])
def test_shuffles_are_scikit_learns(n: int) -> None:
    ours, theirs = np.random.RandomState(n), np.random.RandomState(n)
    orders = np.empty((6, n), np.int64)
    orders[0] = np.arange(n)
    interface = ours._bit_generator.ctypes
    import ctypes

    word_at = ctypes.cast(interface.next_uint32, ctypes.c_void_p).value
    engines.shuffles()(n, 5, word_at, interface.state_address, orders.ctypes.data)
    expected = np.arange(n)
    for row in orders[1:]:
        expected = shuffle(expected, random_state=theirs)
        assert row.tolist() == expected.tolist()
    assert ours.randint(2**31) == theirs.randint(2**31)  # as many random bits were drawn


WAYS: dict[str, dict[str, Any]] = {
    "full batch": {},
    "batches as they stand": {"batch_size": 16},
    "shuffled": {"batch_size": 16, "shuffled": 7},
    "penalties": {"batch_size": 16, "shuffled": 7, "l1": 0.01, "l2": 0.1, "penalty_per_weight": True},
    "dropout": {"batch_size": 30, "shuffled": 7, "dropout": 0.4, "seed": 5},
    "sgd": {"optimizer": SGD(1.0, momentum=0.9, nesterov=True), "batch_size": 9, "shuffled": 2, "loss_scale": 0.5},
    "rates": {"batch_size": 16, "rates": lambda first, last: 0.1 / np.arange(first, last + 1)},
}


def made(name: str, parts: list[int], dtype: Any = np.float64, threads: int = 1) -> tuple[Any, Any, Any]:
    ways = dict(WAYS[name])
    if "shuffled" in ways:
        ways["shuffled"] = np.random.RandomState(ways["shuffled"])
    it = course(given_data=data(dtype=dtype), threads=threads, **ways)
    stretches = []
    for n in parts:
        while n:  # a stretch may be shorter than was asked for
            stretch = it.go_on(n)
            stretches.append((stretch.objectives, stretch.vectors.copy()))
            n -= len(stretch.objectives)
    objectives, vectors = (np.concatenate(part) for part in zip(*stretches, strict=True))
    return objectives, vectors, {key: value.copy() for key, value in it.state.items()}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", WAYS)
def test_how_epochs_are_divided_into_calls_changes_no_bit(name: str, dtype: Any) -> None:
    objectives, vectors, state = made(name, [12], dtype)
    for parts in ([1] * 12, [5, 6, 1]):
        again = made(name, parts, dtype)
        assert np.array_equal(again[0], objectives)
        assert np.array_equal(again[1], vectors)
        assert all(np.array_equal(again[2][key], state[key]) for key in state)
    assert len(vectors) == 12
    assert (np.diff(vectors, axis=0) != 0).any(axis=1).all()


def test_epochs_beyond_a_job_go_on_with_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = made("penalties", [12])
    monkeypatch.setattr("glassnet.kernels.course._MOST_NUMBERS", 2 * 70)  # two epochs in a call, and in a job
    for part, same in zip(made("penalties", [12])[:2], whole[:2], strict=True):
        assert np.array_equal(part, same)


@pytest.mark.parametrize("quick", [True, False])
def test_threads_change_no_bit(monkeypatch: pytest.MonkeyPatch, quick: bool) -> None:
    if not quick:  # as a job that takes long: by threads of its own, in parts
        monkeypatch.setattr(compiled, "A_MOMENT", 0)
    monkeypatch.setattr(compiled, "A_SHARE", 0)
    monkeypatch.setattr(engines, "PART_WORK", 1)
    engines._engine.cache_clear()
    one, two = (made("penalties", [12], threads=threads) for threads in (1, 2))
    engines._engine.cache_clear()
    assert np.array_equal(one[0], two[0])
    assert np.array_equal(one[1], two[1])


def test_a_full_batch_is_that_of_train() -> None:
    start = initialize(NETWORK, 3)
    run = gn.train(NETWORK, X, Y, optimizer=Adam(0.05), epochs=12, parameters=start, engine="compiled")
    it = course(Adam(1.0))
    stretch = it.go_on(12)
    assert np.array_equal(it.vector, run.parameters.vector)
    assert np.array_equal(stretch.objectives, run.history.loss[:-1])


@given(
    st.integers(1, 3), st.sampled_from([None, 7, 32]), st.sampled_from([1.0, 0.5, 3.0]), st.booleans(), st.booleans(),
    st.booleans(),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_every_step_is_the_references(
    seed: int, batch_size: int | None, scale: float, per_weight: bool, weighted: bool, with_dropout: bool
) -> None:
    weights = np.random.default_rng(seed).integers(0, 4, 70) + 0.5 if weighted else None
    optimizer, l1, l2, dropout = FoldedAdam(1.0, weight_decay=0.1), 0.02, 0.3, 0.3 if with_dropout else 0.0
    given_data = data(weights)
    rng, same = np.random.RandomState(seed), np.random.RandomState(seed)
    it = course(
        optimizer, given_data, batch_size=batch_size, shuffled=rng, l1=l1, l2=l2, penalty_per_weight=per_weight,
        loss_scale=scale, dropout=dropout, seed=9, steps_before=4, recorded=True, epochs=2,
    )  # fmt: skip
    vector = it.vector.copy()
    objectives = np.empty(2)
    stretch = it.go_on(2)
    records = iter(stretch.records)
    order, state, t = np.arange(70), optimizer.init(vector), 4
    for epoch in (1, 2):
        if batch_size is not None:
            order = shuffle(order, random_state=same)
        masks = dropout_masks(NETWORK, dropout, 70, random_state=9, epoch=epoch)
        sums = 0.0
        for at in range(0, 70, batch_size or 70):
            rows = order[at : at + (batch_size or 70)]
            part = given_data.at(rows)
            total = part.row_weights.sum()
            divisor = total if per_weight else 1.0
            trace = reference.backward(
                NETWORK, Parameters(NETWORK, vector), part.X, part.y, part.row_weights,
                l1 / divisor / scale, l2 / divisor / scale, tuple(mask[rows] for mask in masks) if dropout else None,
            )  # fmt: skip
            t += 1
            gradient = scale * trace.gradient
            vector, state = optimizer.update(
                vector, gradient, state, t=t, learning_rate=0.05, is_weight=_weights_of(NETWORK)
            )
            record = next(records)
            assert math.isclose(record[0], scale * trace.loss, rel_tol=1e-12)
            sums += len(rows) * scale * (trace.loss + trace.penalty)
        objectives[epoch - 1] = sums / 70
        # Sums in another order, and exp and tanh of another library: some roundings of 64 bits a step.
        np.testing.assert_allclose(stretch.vectors[epoch - 1], vector, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(stretch.objectives, objectives, rtol=1e-11)


def _weights_of(network: Network) -> Any:
    from glassnet.network import weight_mask

    return weight_mask(network).astype(float)


def test_an_epoch_that_is_not_finite_is_the_last() -> None:
    network = Network((3, 4, 1), "relu", "mean_squared_error")
    given_data = Data.checked(network, X, Y[:, 0], None)
    it = Course(network, SGD(1.0), given_data, initialize(network, 0).vector, rates=rate(1e200), epochs=5)
    stretch = it.go_on(5)
    assert math.isnan(stretch.objectives[-1])
    assert np.isfinite(stretch.objectives[:-1]).all()
    assert len(stretch.objectives) == len(stretch.vectors) <= 3
    assert stretch.first_nonfinite
    assert np.isfinite(it.vector).all()


# --- the rules ----------------------------------------------------------------------------------------------------


@given(
    st.lists(st.floats(-5, 5) | st.just(math.nan) | st.just(math.inf), min_size=1, max_size=40),
    st.floats(0, 1),
    st.integers(1, 4),
)
def test_patience_counts_as_scikit_learn_does(values: list[float], tolerance: float, epochs: int) -> None:
    patience, best, count = Patience(tolerance, epochs), math.inf, 0
    for value in values:
        left = patience.left
        patience.takes(value)
        if value > best - tolerance:
            count += 1
        else:
            count = 0
        if value < best:
            best = value
        assert (patience.count, patience.best) == (count, best)
        if left > 1 and count <= epochs + 1:
            assert not patience.is_over  # so that epochs may be made together
        if patience.is_over:
            break


def test_it_ends_with_the_epoch_that_ends_patience() -> None:
    it = course(SGD(1.0), rates=rate(0.01), epochs=500)
    result = follow(it, Patience(1e-3, 5), epochs=500)
    assert result.ended == "no improvement"
    patience = Patience(1e-3, 5)
    over = [patience.is_over for loss in result.losses if patience.takes(loss) or True]
    assert over == [False] * (result.n_epochs - 1) + [True]
    assert np.array_equal(result.vector, it.vector)
    assert it.made == result.n_epochs


def test_rates_adapt() -> None:
    told: list[Epoch] = []
    it = course(SGD(1.0), rates=rate(0.01), epochs=3000)
    result = follow(it, Patience(1.0, 2), epochs=3000, adaptive_rate=0.01, told=told.append)
    assert result.ended == "no improvement"
    new = [epoch.new_rate for epoch in told if epoch.new_rate is not None]
    np.testing.assert_allclose(new, 0.01 / 5.0 ** np.arange(1, len(new) + 1), rtol=1e-12)  # divided again and again
    assert result.rate == new[-1] <= 1e-6 < new[-2]
    together = course(SGD(1.0), rates=rate(0.01), epochs=3000)
    again = follow(together, Patience(1.0, 2), epochs=3000, adaptive_rate=0.01)
    assert again.losses == result.losses
    assert np.array_equal(again.vector, result.vector)


@pytest.mark.parametrize("watched", ["held-out loss", "score"])
def test_the_best_is_kept_of_what_is_watched(watched: str) -> None:
    seen: list[Any] = []
    values = iter([5.0, 4.0, 3.0, 6.0, 6.0, 6.0, 6.0])

    def judge(vectors: Any) -> tuple[list[float], list[float]]:
        seen.extend(vectors.copy())
        found, other = [next(values) for _ in vectors], [1.0] * len(vectors)
        return (found, other) if watched == "held-out loss" else (other, [-value for value in found])

    result = follow(course(epochs=50), Patience(0.0, 2), epochs=50, judge=judge, watched=watched)
    assert result.n_epochs == 6
    assert np.array_equal(result.best_vector, seen[2])
    assert np.array_equal(result.vector, seen[5])


def test_an_interrupt_leaves_what_there_is() -> None:
    def told(epoch: Epoch) -> None:
        if epoch.number == 3:
            raise KeyboardInterrupt

    it = course()
    result = follow(it, Patience(0.0, math.inf), epochs=12, told=told)
    assert (result.ended, result.n_epochs) == ("interrupted", 3)
    assert np.array_equal(result.vector, it.vector)


def test_steps_are_told_with_their_epoch() -> None:
    told: list[Epoch] = []
    it = course(batch_size=30, recorded=True, epochs=2)
    follow(it, Patience(0.0, math.inf), epochs=2, told=told.append, judge=lambda vectors: ([0.25], [0.5]))
    steps = [step for epoch in told for step in epoch.steps]
    assert [(step.epoch, step.step, step.held_out_loss) for step in steps] == [
        (1, 1, None), (1, 2, None), (1, 3, 0.25), (2, 4, None), (2, 5, None), (2, 6, 0.25),
    ]  # fmt: skip
    weights = [30, 30, 10]
    assert math.isclose(told[0].loss, sum(w * s.loss for w, s in zip(weights, steps[:3], strict=True)) / 70)


# --- L-BFGS -------------------------------------------------------------------------------------------------------


def test_minimise_is_scipys_way_down_the_references_objective() -> None:
    from scipy.optimize import minimize

    start, given_data = initialize(NETWORK, 3).vector, data()

    def objective(vector: Any) -> tuple[float, Any]:
        trace = reference.backward(NETWORK, Parameters(NETWORK, vector), X, Y, None, 0.0, 0.02 / 2)
        return 2 * trace.objective, 2 * trace.gradient

    losses: list[float] = []

    def note(intermediate_result: Any) -> None:
        losses.append(intermediate_result.fun)

    expected = minimize(objective, start, method="L-BFGS-B", jac=True, callback=note, options={"maxiter": 15})
    found = minimise(NETWORK, given_data, start, l2=0.02, loss_scale=2.0, iterations=15, gradient_tolerance=1e-5)
    # Roundings grow from line search to line search.
    np.testing.assert_allclose(found.losses, losses, rtol=1e-8)
    np.testing.assert_allclose(found.vector, expected.x, rtol=1e-6, atol=1e-8)
    assert found.ended == "not converged"


def test_minimise_stops_for_held_out_rows() -> None:
    values = iter([3.0, 2.0, 4.0, 4.0, 4.0, 4.0])
    found = minimise(
        NETWORK, data(), initialize(NETWORK, 3).vector, judge=lambda vectors: ([next(values)], [0.0]),
        patience=Patience(0.0, 1), watched="held-out loss",
    )  # fmt: skip
    assert (found.ended, found.n_epochs) == ("no improvement", 4)
    assert not np.array_equal(found.vector, found.best_vector)
