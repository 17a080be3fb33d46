"""Training against plain loops over the reference, its records, and what happens when it goes wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

import glassnet as gn
from glassnet import reference
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
]


def by_the_reference(optimizer: Any, epochs: int, batch_size: int | None, l1: float, l2: float) -> tuple[Any, list]:
    """A plain loop: the reference's gradients, one update after another; parameters at the end, losses before each."""
    vector = initialize(NETWORK, 4).vector
    is_weight = weight_mask(NETWORK).astype(float)
    state, losses, t = optimizer.init(vector), [], 0
    n_batches = 1 if batch_size is None else -(-len(X) // batch_size)
    for epoch in range(1, epochs + 1):
        order = Stream(4, Purpose.SHUFFLE, network=0, epoch=epoch).permutation(len(X))
        for batch in range(n_batches):
            rows = slice(None) if batch_size is None else order[batch * batch_size : (batch + 1) * batch_size]
            t += 1
            trace = reference.backward(NETWORK, Parameters(NETWORK, vector), X[rows], Y[rows], WEIGHTS[rows], l1, l2)
            losses.append(trace.loss)
            rate = optimizer.rate(t, epochs * n_batches)
            vector, state = optimizer.update(
                vector, trace.gradient, state, t=t, learning_rate=rate, is_weight=is_weight
            )
    return vector, losses


@pytest.mark.parametrize("batch_size", [None, 7])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: repr(o)[:30])
def test_train_is_the_plain_loop(optimizer: Any, batch_size: int | None) -> None:
    settings: dict[str, Any] = {"optimizer": optimizer, "epochs": 12, "batch_size": batch_size, "l1": 0.001, "l2": 0.01}
    vector, losses = by_the_reference(optimizer, 12, batch_size, 0.001, 0.01)
    run = gn.train(NETWORK, X, Y, random_state=4, row_weights=WEIGHTS, **settings)
    # Stable settings: what rounding differs in one step is not magnified in the next.
    np.testing.assert_allclose(run.parameters.vector, vector, rtol=1e-10, atol=1e-12)
    steps = list(gn.steps(NETWORK, X, Y, random_state=4, row_weights=WEIGHTS, **settings))
    np.testing.assert_allclose([step.loss for step in steps], losses, rtol=1e-10)
    assert run.counters == {"epochs": 12, "steps": len(losses)}
    assert (run.stop_reason, run.engine_used) == ("epochs", "numpy")
    assert len(run.history.loss) == 13
    end = reference.forward(NETWORK, run.parameters, X, Y, WEIGHTS, 0.001, 0.01)
    np.testing.assert_allclose((run.history.loss[-1], run.objective), (end.loss, end.objective), rtol=1e-12)


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
        ({"l2": -1.0}, "l2 is a number"),
        ({"l1": float("nan")}, "l1 is a number"),
        ({"optimizer": "adam"}, "optimizer is one of"),
        ({"optimizer": gn.LBFGS(), "batch_size": 5}, "all rows at once"),
        ({"initializer": "glorot"}, "initiali"),
        ({"parameters": Parameters(Network((3, 1)), np.zeros(4))}, "sizes"),
        ({"row_weights": np.zeros(40)}, "row_weights"),
        ({"held_out": (X[:, :2], Y)}, "X has"),
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
