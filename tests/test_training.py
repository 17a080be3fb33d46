"""Training against plain loops over the reference, its records, and what happens when it goes wrong."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

import glassnet as gn
from glassnet import reference, training
from glassnet.errors import DataError, GlassnetError, UsageError
from glassnet.network import Network, Parameters, initialize, weight_mask
from glassnet.randomness import Purpose, Stream

RNG = np.random.default_rng(11)
X = RNG.normal(size=(40, 3))
Y = (X[:, :1] * X[:, 1:2] + 0.3 * RNG.normal(size=(40, 1)) > 0).astype(float)
WEIGHTS = RNG.uniform(0.5, 2, 40)
NETWORK = Network((3, 4, 1), "tanh")
OPTIMIZERS = [
    gn.SGD(0.1),
    gn.SGD(0.05, momentum=0.9),
    gn.SGD(gn.Cosine(0.05), momentum=0.9, nesterov=True),
    gn.Adam(0.01),
    gn.AdamW(gn.WarmUp(0.01, updates=20), weight_decay=0.1),
    gn.RMSprop(0.003),
    gn.RMSprop(gn.InverseScaling(0.01), rho=0.8),
    gn.Adam(gn.Exponential(0.01, decay=0.5, every=5), beta_1=0.8, beta_2=0.99, epsilon=1e-6),
    gn.SGD(gn.OneCycle(0.1)),
]


def rate(optimizer: Any, t: int, n_updates: int) -> float:
    """The learning rate of update t, each schedule written anew."""
    schedule, done = optimizer.learning_rate, (t - 1) / n_updates
    match schedule:
        case gn.Cosine(initial=initial):
            return initial * (1 + math.cos(math.pi * done)) / 2
        case gn.WarmUp(peak=peak, updates=updates):
            return peak * min(1, t / updates)
        case gn.InverseScaling(initial=initial):
            return initial / math.sqrt(t)
        case gn.Exponential(initial=initial, decay=decay, every=every):
            return initial * decay ** ((t - 1) / every)
        case gn.OneCycle(peak=peak):
            low, high, share = (peak / 25, peak, done / 0.3) if done < 0.3 else (peak, peak / 1e4, (done - 0.3) / 0.7)
            return high + (low - high) * (1 + math.cos(math.pi * share)) / 2
    return schedule


def updated(optimizer: Any, w: Any, g: Any, memory: dict[str, Any], t: int, rate: float, is_weight: Any) -> Any:
    """The parameters after update t, each optimiser written anew; `memory` keeps what it keeps, from zeros."""
    match optimizer:
        case gn.SGD(momentum=momentum, nesterov=nesterov):
            v = memory["v"] = momentum * memory.get("v", 0) - rate * g
            return w + (momentum * v - rate * g if nesterov else v)
        case gn.RMSprop(rho=rho, epsilon=epsilon):
            v = memory["v"] = rho * memory.get("v", 0) + (1 - rho) * g * g
            return w - rate * g / (v**0.5 + epsilon)
    m = memory["m"] = optimizer.beta_1 * memory.get("m", 0) + (1 - optimizer.beta_1) * g
    v = memory["v"] = optimizer.beta_2 * memory.get("v", 0) + (1 - optimizer.beta_2) * g * g
    step = m / (1 - optimizer.beta_1**t) / ((v / (1 - optimizer.beta_2**t)) ** 0.5 + optimizer.epsilon)
    decay = getattr(optimizer, "weight_decay", 0) * is_weight * w
    return w - rate * (step + decay)


def by_the_reference(optimizer: Any, epochs: int, batch_size: int | None, l1: float, l2: float) -> tuple[Any, list]:
    """A plain loop: the reference's gradients, one update after another; parameters at the end, losses before each."""
    vector = initialize(NETWORK, 4).vector
    is_weight = weight_mask(NETWORK).astype(float)
    memory: dict[str, Any] = {}
    losses, t = [], 0
    n_batches = 1 if batch_size is None else -(-len(X) // batch_size)
    for epoch in range(1, epochs + 1):
        order = Stream(4, Purpose.SHUFFLE, network=0, epoch=epoch).permutation(len(X))
        for batch in range(n_batches):
            rows = slice(None) if batch_size is None else order[batch * batch_size : (batch + 1) * batch_size]
            t += 1
            trace = reference.backward(NETWORK, Parameters(NETWORK, vector), X[rows], Y[rows], WEIGHTS[rows], l1, l2)
            losses.append(trace.loss)
            now = rate(optimizer, t, epochs * n_batches)
            vector = updated(optimizer, vector, trace.gradient, memory, t, now, is_weight)
    return vector, losses


@pytest.mark.parametrize("batch_size", [None, 7])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: repr(o)[:30])
def test_train_is_the_plain_loop(optimizer: Any, batch_size: int | None) -> None:
    settings: dict[str, Any] = {"optimizer": optimizer, "epochs": 12, "batch_size": batch_size, "l1": 0.001, "l2": 0.01}
    vector, losses = by_the_reference(optimizer, 12, batch_size, 0.001, 0.01)
    run = gn.train(NETWORK, X, Y, random_state=4, row_weights=WEIGHTS, **settings)
    # Stable settings: what rounding differs in one step is not magnified in the next.
    np.testing.assert_allclose(run.parameters.vector, vector, rtol=1e-10, atol=1e-12)
    assert np.abs(vector - run.initial.vector).max() > 0.01  # it went somewhere
    steps = list(gn.steps(NETWORK, X, Y, random_state=4, row_weights=WEIGHTS, **settings))
    np.testing.assert_allclose([step.loss for step in steps], losses, rtol=1e-10)
    assert run.counters == {"epochs": 12, "steps": len(losses)}
    assert (run.stop_reason, run.engine_used) == ("epochs", "numpy")
    assert len(run.history.loss) == 13
    begin = reference.forward(NETWORK, run.initial, X, Y, WEIGHTS)
    np.testing.assert_allclose(run.history.loss[0], begin.loss, rtol=1e-12)
    end = reference.forward(NETWORK, run.parameters, X, Y, WEIGHTS, 0.001, 0.01)
    last = end.loss
    if batch_size is not None:
        # The mean of the last epoch's batches, each by what its rows weigh.
        order = Stream(4, Purpose.SHUFFLE, network=0, epoch=12).permutation(len(X))
        weights = [WEIGHTS[order[at : at + batch_size]].sum() for at in range(0, len(X), batch_size)]
        last = np.average(losses[-len(weights) :], weights=weights)
    np.testing.assert_allclose((run.history.loss[-1], run.objective), (last, end.objective), rtol=1e-10)


@pytest.mark.parametrize("batch_size", [None, 16])
def test_any_step_can_be_had_again(batch_size: int | None) -> None:
    optimizer = gn.SGD(0.1)
    run = gn.train(NETWORK, X, Y, optimizer=optimizer, epochs=3, batch_size=batch_size, random_state=4)
    n_batches = 1 if batch_size is None else 3
    vector = run.initial.vector
    for epoch in range(1, 4):
        for batch in range(1, n_batches + 1):
            trace = run.trace(epoch, batch)
            np.testing.assert_allclose(trace.parameters.vector, vector, rtol=1e-12, atol=1e-14)
            vector = trace.parameters.vector - 0.1 * trace.gradient
    np.testing.assert_allclose(run.parameters.vector, vector, rtol=1e-12, atol=1e-14)
    with pytest.raises(UsageError, match="epoch 4"):
        run.trace(4)


def test_the_same_seed_gives_the_same_bits() -> None:
    def vector(seed: int) -> bytes:
        return gn.train(NETWORK, X, Y, epochs=5, batch_size=8, random_state=seed).parameters.vector.tobytes()

    assert vector(1) == vector(1) != vector(2)


@pytest.mark.parametrize("optimizer", [gn.SGD(0.1), gn.LBFGS()])
@pytest.mark.parametrize("engine", ["compiled", "numpy"])
@pytest.mark.parametrize("hidden", [2, 20])
def test_a_held_out_row_that_weighs_two_is_two_rows(hidden: int, engine: str, optimizer: Any) -> None:
    network = gn.Network((3, hidden, 1), "tanh")
    times = np.arange(len(X) - 30) % 3
    settings: dict[str, Any] = {"optimizer": optimizer, "epochs": 5, "patience": 5, "engine": engine}
    settings["row_weights"] = np.linspace(0.5, 2, 30) if hidden == 2 else None
    losses = [
        gn.train(network, X[:30], Y[:30], held_out=held_out, **settings).history.held_out_loss
        for held_out in (
            (X[30:], Y[30:], times),
            (np.repeat(X[30:], times, axis=0), np.repeat(Y[30:], times, axis=0)),
            (X[30:], Y[30:]),
        )
    ]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-13)
    assert abs(losses[0] / losses[2] - 1).max() > 1e-3


def test_held_out_rows_are_watched_and_have_no_say() -> None:
    alone = gn.train(NETWORK, X[:30], Y[:30], epochs=4, batch_size=8)
    watched = gn.train(NETWORK, X[:30], Y[:30], epochs=4, batch_size=8, held_out=(X[30:], Y[30:]))
    assert (alone.parameters.vector == watched.parameters.vector).all()
    assert alone.history.held_out_loss is None
    assert watched.history.held_out_loss is not None
    end = reference.forward(NETWORK, watched.parameters, X[30:], Y[30:]).loss
    np.testing.assert_allclose(watched.history.held_out_loss[-1], end, rtol=1e-12)
    found = list(gn.steps(NETWORK, X[:30], Y[:30], epochs=4, batch_size=8, held_out=(X[30:], Y[30:])))
    last = [step.held_out_loss for step in found if step.held_out_loss is not None]
    np.testing.assert_array_equal(last, watched.history.held_out_loss[1:])


def test_settings_are_those_that_were_given_whatever_was_trained_before() -> None:
    """Equal ones among them: a checkpoint tells them apart."""
    network, X, y = gn.Network((1, 2, 1)), [[0.0], [1.0]], [0, 1]
    for optimizer in (gn.SGD(1), gn.SGD(1.0), gn.SGD(1), gn.Adam(), None):
        for l1 in (0, 0.0, -0.0, np.float64(0.0)):
            spec = gn.train(network, X, y, optimizer=optimizer, epochs=1, l1=l1).spec
            assert (repr(spec.optimizer), repr(spec.l1)) == (repr(optimizer or gn.Adam()), repr(l1))
    gn.train(network, X, y, epochs=1, start=1)
    for settings in ({"epochs": True}, {"epochs": 1.0}, {"epochs": 1, "batch_size": True}):
        with pytest.raises(UsageError):
            gn.train(network, X, y, **{"start": 1, **settings})
    rates = [0.5]
    run = gn.train(network, X, y, epochs=1, dropout=rates)
    rates[0] = 0.1
    assert run.spec.dropout == gn.train(network, X, y, epochs=1, dropout=[0.5]).spec.dropout == (0.5,)


def test_float32_stays() -> None:
    run = gn.train(NETWORK, X.astype(np.float32), Y, epochs=3, batch_size=8)
    assert run.parameters.vector.dtype == np.float32


def test_a_batch_larger_than_the_table_is_the_table() -> None:
    whole = gn.train(NETWORK, X, Y, epochs=3)
    assert (gn.train(NETWORK, X, Y, epochs=3, batch_size=1000).parameters.vector == whole.parameters.vector).all()


def test_no_epochs_change_nothing() -> None:
    run = gn.train(NETWORK, X, Y, epochs=0)
    assert (run.parameters.vector == run.initial.vector).all()
    assert len(run.history.loss) == 1


@pytest.mark.parametrize(
    ("loss", "optimizer"),
    [("mean_squared_error", gn.SGD(1e6)), ("poisson", gn.SGD(1e3)), ("mean_squared_error", gn.SGD(1e200))],
)
def test_a_training_that_diverges_stops_and_keeps_what_is_finite(loss: str, optimizer: Any) -> None:
    network = Network((3, 4, 1), "identity", loss)
    run = gn.train(network, X, Y, optimizer=optimizer, epochs=200)
    assert run.stop_reason.startswith("diverged at step ")
    assert np.isfinite(run.parameters.vector).all()
    assert np.isfinite(reference.forward(network, run.parameters, X, Y).loss or np.nan)
    assert np.isfinite(run.history.loss).all()
    last = list(gn.steps(network, X, Y, optimizer=optimizer, epochs=200))[-1]
    assert last.first_nonfinite is not None
    assert run.stop_reason == f"diverged at step {last.step}"


@pytest.mark.parametrize("l2", [0.0, 0.01])
def test_lbfgs_reaches_what_scipy_reaches(l2: float) -> None:
    start = initialize(NETWORK, 4)

    def objective(vector: Any) -> tuple[float, Any]:
        trace = reference.backward(NETWORK, Parameters(NETWORK, vector), X, Y, None, 0.0, l2)
        return float(trace.objective or 0), trace.gradient

    run = gn.train(NETWORK, X, Y, optimizer=gn.LBFGS(), epochs=500, parameters=start, l2=l2)
    theirs = minimize(objective, start.vector, jac=True, method="L-BFGS-B", options={"maxiter": 500, "maxfun": 10_000})
    assert run.stop_reason == "converged"
    # The way differs in every step, and a network has several minima; both end in one of about the same depth.
    assert run.objective <= theirs.fun + 0.02
    falling = run.history.loss if l2 == 0 else np.array([run.history.loss[0], run.history.loss[-1]])
    assert (np.diff(falling) <= 0).all()


def test_lbfgs_stops_where_it_is_told() -> None:
    run = gn.train(NETWORK, X, Y, optimizer=gn.LBFGS(), epochs=3)
    assert (run.counters["epochs"], run.stop_reason) == (3, "epochs")


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"epochs": -1}, "epochs is a whole number"),
        ({"epochs": 1.5}, "epochs is a whole number"),
        ({"batch_size": 0}, "batch_size is a whole number"),
        ({"threads": 0}, "threads is a whole number, 1 or more; got 0"),
        ({"threads": "two"}, "threads is a whole number, 1 or more; got 'two'"),
        ({"l2": -1.0}, "l2 is a number"),
        ({"l1": float("nan")}, "l1 is a number"),
        ({"optimizer": "adam"}, "optimizer is one of"),
        ({"optimizer": gn.LBFGS(), "batch_size": 5}, "all rows at once"),
        ({"initializer": "glorot"}, "initiali"),
        ({"parameters": Parameters(Network((3, 1)), np.zeros(4))}, "sizes"),
        ({"row_weights": np.zeros(40)}, "row_weights"),
        ({"held_out": (X[:, :2], Y)}, "X has"),
        ({"held_out": (X, Y, np.ones(3))}, "row_weights has one number per row"),
    ],
)
def test_settings_that_cannot_be_meant(settings: dict[str, Any], rule: str) -> None:
    with pytest.raises(GlassnetError, match=rule):
        gn.train(NETWORK, X, Y, **settings)


def test_data_that_cannot_be_meant() -> None:
    with pytest.raises(DataError, match="numbers from 0 to 1"):
        gn.train(NETWORK, X, Y * 2)
    with pytest.raises(UsageError, match="L-BFGS"):
        gn.steps(NETWORK, X, Y, optimizer=gn.LBFGS())  # type: ignore[arg-type]


# --- records ------------------------------------------------------------------------------------------------------


def test_the_comparison_with_the_loop_can_fail() -> None:
    """A rate that is off by a billionth is seen after twelve updates."""
    vector, _ = by_the_reference(gn.SGD(0.1 * (1 + 1e-8)), 12, None, 0.0, 0.0)
    run = gn.train(NETWORK, X, Y, random_state=4, row_weights=WEIGHTS, optimizer=gn.SGD(0.1), epochs=12)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(run.parameters.vector, vector, rtol=1e-10, atol=1e-12)


def test_steps_say_what_train_does() -> None:
    settings: dict[str, Any] = {"epochs": 3, "batch_size": 16, "l1": 0.01, "l2": 0.1, "row_weights": WEIGHTS}
    run, records = gn.train(NETWORK, X, Y, **settings), list(gn.steps(NETWORK, X, Y, **settings))
    assert [(step.epoch, step.step) for step in records] == [(1 + i // 3, 1 + i) for i in range(9)]
    for i, step in enumerate(records):
        trace = run.trace(step.epoch, 1 + i % 3)
        assert len(trace.X) == (16, 16, 8)[i % 3]
        np.testing.assert_allclose(
            [step.loss, step.penalty, step.gradient_norm],
            [trace.loss, trace.penalty, np.linalg.norm(trace.gradient)],
            rtol=1e-12,
        )
        assert step.held_out_loss is step.first_nonfinite is None
    rows = [run.trace(2, batch).X for batch in (1, 2, 3)]
    assert sorted(np.concatenate(rows).tolist()) == sorted(X.tolist())  # each row once an epoch
    assert np.concatenate(rows).tolist() != X.tolist()


def test_what_a_run_records() -> None:
    begin = initialize(NETWORK, 9)
    before = begin.vector.copy()
    run = gn.train(NETWORK, X, Y, epochs=2, parameters=begin, optimizer=gn.SGD(0.1, momentum=0.9))
    np.testing.assert_array_equal(begin.vector, before)  # what is handed in stays as it was
    np.testing.assert_array_equal(run.initial.vector, before)
    assert set(run.optimizer_state) == {"v"}
    assert run.optimizer_state["v"].shape == before.shape
    assert run.data_hash == gn.train(NETWORK, X.copy(), Y.ravel(), epochs=1).data_hash
    other = X.copy()
    other[7, 1] = np.nextafter(other[7, 1], 2)
    assert run.data_hash != gn.train(NETWORK, other, Y, epochs=1).data_hash
    assert run.data_hash != gn.train(NETWORK, X, Y, epochs=1, row_weights=WEIGHTS).data_hash
    np.testing.assert_array_equal(gn.train(NETWORK, X, Y, epochs=0, random_state=9).parameters.vector, before)


def test_no_epochs_have_no_steps() -> None:
    for optimizer in (gn.Adam(), gn.LBFGS()):
        run = gn.train(NETWORK, X, Y, epochs=0, optimizer=optimizer)
        assert run.counters == {"epochs": 0, "steps": 0}
        assert run.stop_reason == "epochs"
        assert run.history.loss[0] == pytest.approx(reference.forward(NETWORK, run.initial, X, Y).loss)
    assert list(gn.steps(NETWORK, X, Y, epochs=0)) == []


def test_float32_is_trained_in_float32_and_near_float64() -> None:
    small = gn.train(NETWORK, X.astype(np.float32), Y, epochs=20, batch_size=8, optimizer=gn.AdamW(0.01), l2=0.01)
    whole = gn.train(NETWORK, X, Y, epochs=20, batch_size=8, optimizer=gn.AdamW(0.01), l2=0.01)
    assert small.optimizer_state["m"].dtype == small.trace(3).gradient.dtype == np.float32
    # 100 updates, each with some dozen roundings of 6e-8.
    np.testing.assert_allclose(small.parameters.vector, whole.parameters.vector, atol=1e-4)
    assert (small.parameters.vector != whole.parameters.vector.astype(np.float32)).any()


def test_a_batch_that_weighs_nothing_says_nothing() -> None:
    weights = np.where(np.arange(40) == 3, 1.0, 0.0)
    run = gn.train(NETWORK, X, Y, epochs=2, batch_size=1, row_weights=weights, optimizer=gn.SGD(0.1))
    vector = run.initial.vector
    for _ in range(2):
        vector = vector - 0.1 * reference.backward(NETWORK, Parameters(NETWORK, vector), X[3:4], Y[3:4]).gradient
    np.testing.assert_allclose(run.parameters.vector, vector, rtol=1e-12)


def test_a_convex_problem_has_one_answer() -> None:
    """Logistic regression: L-BFGS, SciPy and Adam with a falling rate all end in the one minimum."""
    network = Network((3, 1))

    def objective(vector: Any) -> tuple[float, Any]:
        trace = reference.backward(network, Parameters(network, vector), X, Y, WEIGHTS, 0.0, 0.1)
        return float(trace.objective or 0), trace.gradient

    theirs = minimize(objective, np.zeros(4), jac=True, method="BFGS", options={"gtol": 1e-10})
    settings: dict[str, Any] = {"row_weights": WEIGHTS, "l2": 0.1}
    exact = gn.LBFGS(gradient_tolerance=1e-10, change_tolerance=0.0)
    run = gn.train(network, X, Y, epochs=200, optimizer=exact, **settings)
    assert run.stop_reason == "converged"
    np.testing.assert_allclose(run.parameters.vector, theirs.x, atol=1e-9)  # gradient / curvature (0.1 and more)
    assert run.objective <= theirs.fun + 1e-15
    run = gn.train(network, X, Y, epochs=1000, optimizer=gn.Adam(gn.Cosine(0.05)), **settings)
    np.testing.assert_allclose(run.parameters.vector, theirs.x, atol=1e-5)


def test_lbfgs_records_its_iterations() -> None:
    held_out = (X[30:], Y[30:])
    run = gn.train(NETWORK, X[:30], Y[:30], optimizer=gn.LBFGS(), epochs=400, l2=0.01, held_out=held_out)
    made = run.counters["epochs"]
    assert run.stop_reason == "converged"
    assert 1 < made < 400
    assert run.history.held_out_loss is not None
    assert len(run.history.loss) == len(run.history.held_out_loss) == made + 1
    ends = [
        reference.forward(NETWORK, run.parameters, X[:30], Y[:30]).loss,
        reference.forward(NETWORK, run.parameters, *held_out).loss,
    ]
    np.testing.assert_allclose([run.history.loss[-1], run.history.held_out_loss[-1]], ends, rtol=1e-12)
    gradient = reference.backward(NETWORK, run.parameters, X[:30], Y[:30], None, 0.0, 0.01).gradient
    # Where the slope is small, or the value falls by no more than 2.2e-9: the slope is about its root then.
    assert np.abs(gradient).max() < 1e-3
    shorter = gn.train(NETWORK, X[:30], Y[:30], optimizer=gn.LBFGS(), epochs=made // 2, l2=0.01)
    np.testing.assert_array_equal(shorter.history.loss, run.history.loss[: made // 2 + 1])
    with pytest.raises(UsageError, match="line search of several passes"):
        run.trace(1)


# --- divergence ---------------------------------------------------------------------------------------------------


WILD = [
    (loss, activation, optimizer, batch_size, l2)
    for loss, activation, optimizer, batch_size, l2 in product(
        ("mean_squared_error", "poisson", "huber"),
        ("relu", "tanh"),
        (gn.SGD(1e6), gn.SGD(1e200, momentum=0.9), gn.Adam(1e300), gn.AdamW(1e160), gn.RMSprop(1e300)),
        (None, 7),
        (0.0, 0.1),
    )
]


@pytest.mark.parametrize(("loss", "activation", "optimizer", "batch_size", "l2"), WILD)
def test_whatever_diverges_keeps_what_is_finite(
    loss: str, activation: str, optimizer: Any, batch_size: int | None, l2: float
) -> None:
    network, y = Network((3, 4, 1), activation, loss), np.abs(X[:, :1])
    settings: dict[str, Any] = {"optimizer": optimizer, "batch_size": batch_size, "l2": l2}
    run = gn.train(network, X, y, epochs=6, held_out=(X[:5], y[:5]), **settings)
    last = list(gn.steps(network, X, y, epochs=6, **settings))[-1]
    if last.first_nonfinite is not None:
        assert run.stop_reason == f"diverged at step {last.step}"
        assert run.counters["steps"] < last.step
    elif run.stop_reason != "epochs":
        assert run.stop_reason == f"diverged at step {last.step}"  # by the loss after the last update
        assert run.counters["steps"] < last.step
    trace = reference.forward(network, run.parameters, X, y, None, 0.0, l2)
    assert np.isfinite([trace.objective or np.nan, run.objective]).all()
    assert np.isfinite(run.parameters.vector).all()
    made = run.counters["epochs"]
    assert run.history.held_out_loss is not None
    assert len(run.history.loss) == len(run.history.held_out_loss) == made + 1
    assert np.isfinite(run.history.loss).all()
    if batch_size is None:
        # What is kept is where the steps that count led, and its loss is the curve's end.
        kept = gn.train(network, X, y, epochs=made, **settings)
        np.testing.assert_array_equal(kept.parameters.vector, run.parameters.vector)
        np.testing.assert_array_equal(kept.history.loss, run.history.loss)
        assert kept.stop_reason == "epochs"
        if last.first_nonfinite in ("loss", "penalty") and made:
            # Had it ended with the update that led out of range, that would have been found at the end.
            ended = gn.train(network, X, y, epochs=last.step - 1, **settings)
            assert ended.stop_reason == f"diverged at step {last.step - 1}"
            assert ended.counters == run.counters
            np.testing.assert_array_equal(ended.parameters.vector, run.parameters.vector)
            np.testing.assert_array_equal(ended.history.loss, run.history.loss)


def test_what_is_kept_of_an_epoch_that_was_not_finished() -> None:
    """A linear network whose weights grow a thousandfold with every row: out of range in the middle of an epoch."""
    network = Network((1, 1), loss="mean_squared_error")
    table, y = [[1.0], [1.1], [1.2], [1.3], [1.4], [1.5], [1.6]], np.zeros(7)
    settings: dict[str, Any] = {"epochs": 50, "batch_size": 1, "optimizer": gn.SGD(500.0)}
    run, *_, last = gn.train(network, table, y, **settings), *gn.steps(network, table, y, **settings)
    assert last.first_nonfinite == "loss"
    assert run.stop_reason == f"diverged at step {last.step}"
    epochs, batches = divmod(last.step - 2, 7)
    assert batches  # in the middle
    assert run.counters == {"epochs": epochs, "steps": last.step - 2}
    np.testing.assert_array_equal(run.parameters.vector, run.trace(epochs + 1, batches + 1).parameters.vector)
    assert len(run.history.loss) == epochs + 1
    assert run.history.loss[0] == pytest.approx(reference.forward(network, run.initial, table, y).loss)
    assert run.objective == pytest.approx(reference.forward(network, run.parameters, table, y).loss)


def test_many_of_the_wild_ones_do_diverge() -> None:
    """So that the test above is about something."""
    network, y = Network((3, 4, 1), "relu", "mean_squared_error"), np.abs(X[:, :1])
    for _, _, optimizer, batch_size, l2 in WILD[:20]:
        run = gn.train(network, X, y, epochs=30, optimizer=optimizer, batch_size=batch_size, l2=l2)
        assert run.stop_reason.startswith("diverged"), optimizer


def test_a_loss_that_only_rows_outside_the_batch_make_infinite() -> None:
    """Each batch's own loss is finite, but where the far row comes first the near one then throws it out of range."""
    network = Network((1, 1), loss="poisson")
    table, y = [[-1.0], [900.0]], [5.0, 0.0]
    begin, reasons = Parameters(network, np.zeros(2)), set()
    for seed in range(6):
        settings: dict[str, Any] = {"epochs": 1, "batch_size": 1, "optimizer": gn.SGD(0.01), "random_state": seed}
        run = gn.train(network, table, y, parameters=begin, **settings)
        assert all(step.first_nonfinite is None for step in gn.steps(network, table, y, parameters=begin, **settings))
        reasons.add(run.stop_reason)
        diverged = run.stop_reason != "epochs"
        # The last that are known to be right for all rows are those before the epoch.
        assert run.counters == ({"epochs": 0, "steps": 0} if diverged else {"epochs": 1, "steps": 2})
        assert (run.parameters.vector == begin.vector).all() == diverged
        assert len(run.history.loss) == 1 + run.counters["epochs"]
        assert run.objective == pytest.approx(reference.forward(network, run.parameters, table, y).loss)
        assert np.isfinite(run.history.loss).all()
    assert reasons == {"epochs", "diverged at step 2"}


def test_infinite_only_in_the_penalty() -> None:
    network = Network((1, 1))
    begin = Parameters(network, np.array([1.0, 0.0]))
    run = gn.train(network, [[1.0]], [1], parameters=begin, optimizer=gn.SGD(1e250), epochs=5, l2=1e-9)
    assert run.stop_reason == "diverged at step 2"
    assert [step.first_nonfinite for step in gn.steps(
        network, [[1.0]], [1], parameters=begin, optimizer=gn.SGD(1e250), epochs=5, l2=1e-9
    )] == [None, "penalty"]  # fmt: skip
    np.testing.assert_array_equal(run.parameters.vector, begin.vector)
    assert run.counters == {"epochs": 0, "steps": 0}
    assert np.isfinite(run.objective)


def test_a_start_without_a_finite_loss() -> None:
    network = Network((1, 1), loss="mean_squared_error")
    begin = Parameters(network, np.array([1e300, 0.0]))
    for optimizer, reason in ((gn.SGD(), "diverged at step 1"), (gn.LBFGS(), "diverged at step 0")):
        run = gn.train(network, [[1.0]], [1.0], parameters=begin, optimizer=optimizer, epochs=3)
        assert run.stop_reason == reason
        assert run.counters == {"epochs": 0, "steps": 0}
        np.testing.assert_array_equal(run.parameters.vector, begin.vector)


# --- more that cannot be meant ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"epochs": True}, "epochs is a whole number, 0 or more; got True"),
        ({"batch_size": 2.0}, r"batch_size is a whole number, 1 or more, or None .*; got 2\.0"),
        ({"l1": np.inf}, "l1 is a number, 0 or more; got inf"),
        ({"l2": "0.1"}, "l2 is a number, 0 or more; got '0.1'"),
        ({"random_state": -1}, "The random seed is an integer"),
        ({"random_state": 1.5}, "The random seed is an integer"),
        ({"parameters": np.zeros(21)}, r"parameters are a gn\.Parameters; got ndarray\. See gn\.initialize"),
        ({"parameters": Parameters(Network((4, 4, 1)), np.zeros(25))}, r"sizes \(3, 4, 1\); got sizes \(4, 4, 1\)"),
        ({"parameters": Parameters(NETWORK, np.zeros((2, 21)))}, r"a vector of shape \(2, 21\)"),
        ({"row_weights": np.ones(39)}, r"one number per row, \(40,\)"),
        ({"held_out": (X, Y[:-1])}, r"\(40, 1\); got shape \(39, 1\)"),
        ({"initializer": "he_norml"}, "Did you mean 'he_normal'"),
    ],
)
def test_settings_are_refused_by_train_and_at_once_by_steps(settings: dict[str, Any], rule: str) -> None:
    for run in (gn.train, gn.steps):
        with pytest.raises(GlassnetError, match=rule):
            run(NETWORK, X, Y, **settings)


@pytest.mark.parametrize("number", [np.int64(3), np.int32(3)])
def test_numpys_whole_numbers_are_whole(number: Any) -> None:
    run = gn.train(NETWORK, X, Y, epochs=number, batch_size=number, random_state=number)
    same = gn.train(NETWORK, X, Y, epochs=3, batch_size=3, random_state=3)
    np.testing.assert_array_equal(run.parameters.vector, same.parameters.vector)


def test_losses_whose_sum_is_too_large_are_no_error_of_numpy() -> None:
    """10 times 1e308 is infinite: so is the epoch's loss, and no warning is raised."""
    network = Network((1, 1), loss="mean_squared_error")
    rows: dict[str, Any] = {"row_weights": [10.0, 10.0], "engine": "numpy", "epochs": 1, "batch_size": 1}
    run = gn.train(network, [[0.0], [0.0]], [1e154, 1e154], **rows)
    assert run.stop_reason == "epochs"


@pytest.mark.parametrize("threads", [1, 2])
def test_the_loss_before_any_update_is_made_when_it_is_asked_for(threads: int) -> None:
    network, rng = gn.Network((40, 30, 1)), np.random.default_rng(3)
    X, y = rng.normal(size=(700, 40)), rng.integers(0, 2, 700)
    settings = {"epochs": 3, "batch_size": 256, "engine": "compiled", "threads": threads}
    run = gn.train(network, X, y, **settings)
    many = gn.train_population(network, X, y, size=1, **settings)
    asked, unasked = pickle.loads(pickle.dumps(run)), run.recorded.loss.copy()
    assert np.isnan(unasked[0])
    assert run.history.loss[0] == pytest.approx(reference.forward(network, run.initial, X, y).loss, rel=1e-12)
    np.testing.assert_array_equal(run.history.loss, many.losses[0])  # to the bit
    np.testing.assert_array_equal(run.history.loss[1:], unasked[1:])
    assert run.history is run.history
    for again in (asked, pickle.loads(pickle.dumps(run))):
        np.testing.assert_array_equal(again.history.loss, run.history.loss)
    longer = gn.train(network, X, y, **settings | {"epochs": 5}, resume=asked)
    whole = gn.train(network, X, y, **settings | {"epochs": 5})
    np.testing.assert_array_equal(longer.history.loss, whole.history.loss)


def test_a_run_that_diverged_at_once_has_a_first_loss() -> None:
    X, y = np.ones((40, 2)), np.full(40, 1e200)
    network = gn.Network((2, 3, 1), loss="mean_squared_error")
    run = gn.train(network, X, y, epochs=3, batch_size=8, engine="compiled")
    assert run.stop_reason == "diverged at step 1"
    assert run.history.loss[0] == np.inf


def test_an_interrupted_look_at_the_first_loss_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = np.ones((40, 2)), np.ones(40)
    run = gn.train(gn.Network((2, 3, 1)), X, y, epochs=3, batch_size=8, engine="compiled")
    whole = training.train_members
    monkeypatch.setattr(training, "train_members", lambda *a, **k: replace(whole(*a, **k), n_finished=0))
    with pytest.raises(KeyboardInterrupt):
        _ = run.history
    monkeypatch.undo()
    assert np.isfinite(run.history.loss).all()
