"""Many starts at once: each as if alone, the same for any number of threads, and what ails them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

import glassnet as gn
from glassnet import populations, reference
from glassnet.errors import UsageError
from glassnet.kernels import compiled, stacked_training
from glassnet.kernels.stacked_training import train_stack
from glassnet.network import Network, Parameters, initialize
from glassnet.runs import Data, Spec

DATA = gn.datasets.tumors()
X = ((DATA.X - DATA.X.mean(axis=0)) / DATA.X.std(axis=0))[::5]
Y = DATA.y[::5]
NETWORK = Network((2, 2, 1))
SEED_LIKE: dict[str, Any] = {"optimizer": gn.SGD(0.1), "initializer": "standard_normal"}


@pytest.mark.parametrize("batch_size", [None, 32])
def test_a_start_in_a_population_is_that_start_alone(batch_size: int | None) -> None:
    many = gn.train_population(NETWORK, X, Y, size=5, epochs=20, batch_size=batch_size, **SEED_LIKE)
    alone = gn.train(NETWORK, X, Y, epochs=20, batch_size=batch_size, **SEED_LIKE)
    # Matrix products of a stack may add in another order than those of one network; the setting is stable.
    np.testing.assert_allclose(many.start(0).vector, alone.parameters.vector, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(many.losses[0], alone.history.loss, rtol=1e-11)
    for k in range(5):
        assert (many.initial.vector[k] == initialize(NETWORK, 0, "standard_normal", start=k).vector).all()
        if batch_size is None:
            begun = initialize(NETWORK, 0, "standard_normal", start=k)
            one = gn.train(NETWORK, X, Y, epochs=20, optimizer=gn.SGD(0.1), parameters=begun)
            np.testing.assert_allclose(many.start(k).vector, one.parameters.vector, rtol=1e-11, atol=1e-13)


def test_threads_do_not_change_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "A_SHARE", 1e4)  # several chunks, though the job is small
    vectors = {
        threads: gn.train_population(
            NETWORK, X, Y, size=13, epochs=10, batch_size=16, threads=threads, engine="compiled"
        ).parameters
        for threads in (1, 2, 4)
    }
    assert vectors[1].vector.tobytes() == vectors[2].vector.tobytes() == vectors[4].vector.tobytes()


def test_the_kept_start_has_the_lowest_objective_of_those_that_stayed_finite() -> None:
    many = gn.train_population(NETWORK, X, Y, size=30, epochs=30, l2=0.01, **SEED_LIKE)
    objectives = [reference.forward(NETWORK, many.start(k), X, Y, None, 0.0, 0.01).objective for k in range(30)]
    np.testing.assert_allclose(many.objectives, objectives, rtol=1e-11)
    assert many.kept == int(np.argmin(objectives))


def test_a_start_that_diverges_is_not_kept() -> None:
    network = Network((1, 1), loss="mean_squared_error")
    begun = Parameters(network, np.array([[0.9, 0.0], [1e300, 0.0], [5.0, 0.0]]))
    table, y = [[1.0], [2.0]], [1.0, 2.0]
    many = gn.train_population(network, table, y, size=3, epochs=2, optimizer=gn.SGD(0.01), parameters=begun)
    assert many.diverged_at.tolist() == [-1, 1, -1]
    assert many.kept == 0
    assert np.isnan(many.losses[1, 1:]).all()


def test_dead_and_stuck_since_are_what_a_replay_finds() -> None:
    epochs, size = 40, 60
    many = gn.train_population(NETWORK, X, Y, size=size, epochs=epochs, **SEED_LIKE)
    assert (many.stuck_since >= 0).any()
    assert (many.dead_since >= 0).any()
    for k in range(size):
        parameters, dead, stuck = Parameters(NETWORK, many.initial.vector[k]), [], []
        for _ in range(epochs + 1):
            trace = reference.backward(NETWORK, parameters, X, Y)
            dead.append(bool((trace.activations[1] == 0).all(axis=0).any()))
            stuck.append(len(set((trace.logits[:, 0] > 0).tolist())) == 1)
            parameters = Parameters(NETWORK, parameters.vector - 0.1 * trace.gradient)
        assert many.dead_since[k] == since(dead), k
        assert many.stuck_since[k] == since(stuck), k


def since(states: list[bool]) -> int:
    """The epoch from which on, to the end, it was so; -1 where it is not so at the end."""
    found = -1
    for epoch, state in enumerate(states):
        found = (epoch if found < 0 else found) if state else -1
    return found


def test_since() -> None:
    assert [since([True, True]), since([True, False, True]), since([True, False])] == [0, 2, -1]


def test_scores_are_scikit_learns() -> None:
    many = gn.train_population(NETWORK, X, Y, size=6, epochs=30, **SEED_LIKE)
    scores = many.scores(X, Y)
    for k, p in enumerate(many.probabilities(X)[:, :, 0]):
        truth, predicted = Y.ravel(), (p > 0.5).astype(float)
        assert scores["accuracy"][k] == pytest.approx(sk.accuracy_score(truth, predicted))
        assert scores["f1"][k] == pytest.approx(sk.f1_score(truth, predicted, zero_division=0))
        assert scores["auc"][k] == pytest.approx(sk.roc_auc_score(truth, p))
        assert scores["log_loss"][k] == pytest.approx(sk.log_loss(truth, p))


def test_scores_of_classes_and_of_numbers() -> None:
    rng = np.random.default_rng(0)
    table, labels = rng.normal(size=(30, 2)), rng.integers(3, size=30)
    classes = gn.train_population(Network((2, 3), loss="cross_entropy"), table, np.eye(3)[labels], size=2, epochs=5)
    found = classes.scores(table, np.eye(3)[labels])
    p = classes.probabilities(table)[1]
    assert found["f1"][1] == pytest.approx(sk.f1_score(labels, p.argmax(1), average="macro", zero_division=0))
    assert found["auc"][1] == pytest.approx(sk.roc_auc_score(labels, p, multi_class="ovr"))
    numbers = gn.train_population(Network((2, 1), loss="huber"), table, table[:, 0], size=2, epochs=5)
    of_numbers = numbers.scores(table, table[:, 0])
    predicted = numbers.probabilities(table)[0, :, 0]
    assert of_numbers["r2"][0] == pytest.approx(sk.r2_score(table[:, 0], predicted))


def test_progress_counts_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "A_SHARE", 1e4)
    told: list[int] = []
    gn.train_population(NETWORK, X, Y, size=9, epochs=1, progress=told.append, engine="compiled")
    assert told == sorted(told)
    assert told[-1] == 9
    assert len(told) > 1


def test_lbfgs_trains_every_start() -> None:
    many = gn.train_population(Network((2, 2, 1), "tanh"), X, Y, size=3, epochs=60, optimizer=gn.LBFGS(), l2=1e-3)
    one = gn.train(Network((2, 2, 1), "tanh"), X, Y, epochs=60, optimizer=gn.LBFGS(), l2=1e-3)
    assert (many.losses[:, -1] < many.losses[:, 0]).all()
    assert many.start(0).vector.tobytes() == one.parameters.vector.tobytes()


def test_every_start_has_the_bits_that_it_has_alone() -> None:
    """Each network of a stack has products of its own, of its own shapes: nothing of the others enters."""
    data = Data.checked(NETWORK, X, Y, None)
    for batch_size in (None, 32):
        spec = Spec(optimizer=gn.Adam(0.01), epochs=10, batch_size=batch_size, random_state=3, l1=1e-3, l2=1e-2)
        many = gn.train_population(
            NETWORK, X, Y, size=9, optimizer=gn.Adam(0.01), epochs=10, batch_size=batch_size, random_state=3,
            l1=1e-3, l2=1e-2,
        )  # fmt: skip
        for k in range(9):
            begun = initialize(NETWORK, 3, start=k)
            alone = train_stack(NETWORK, spec, data, begun.vector[np.newaxis], np.array([k]))
            assert alone.vectors[0].tobytes() == many.start(k).vector.tobytes()
            assert alone.losses[0].tobytes() == many.losses[k].tobytes()
            if k and batch_size:
                # With the shuffles of start 0 it comes out otherwise.
                other = train_stack(NETWORK, spec, data, begun.vector[np.newaxis], np.array([0]))
                assert other.vectors[0].tobytes() != many.start(k).vector.tobytes()


def test_threads_do_not_change_a_bit_of_wide_networks() -> None:
    """Products large enough for a BLAS with threads of its own."""
    rng = np.random.default_rng(2)
    network = Network((30, 64, 64, 3), "tanh", "cross_entropy")
    table, classes = rng.normal(size=(400, 30)), np.eye(3)[rng.integers(3, size=400)]
    one, other = (
        gn.train_population(network, table, classes, size=6, epochs=3, batch_size=200, threads=threads)
        for threads in (1, 3)
    )
    assert one.parameters.vector.tobytes() == other.parameters.vector.tobytes()
    assert one.losses.tobytes() == other.losses.tobytes()
    assert one.objectives.tobytes() == other.objectives.tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_objective_of_a_start_is_that_of_its_run(dtype: Any) -> None:
    network, rng = Network((2, 2, 1)), np.random.default_rng(0)
    table, y = rng.normal(size=(50, 2)).astype(dtype), rng.integers(0, 2, 50).astype(dtype)
    settings: dict[str, Any] = {"epochs": 2, "l2": 0.01, "engine": "numpy"}
    many = gn.train_population(network, table, y, size=6, **settings)
    for k in range(6):
        assert gn.train(network, table, y, start=k, **settings).objective == many.objectives[k]


@pytest.mark.parametrize("batch_size", [None, 2])
def test_a_start_that_diverges_is_the_same_among_others(batch_size: int | None) -> None:
    network = Network((1, 2, 1), "relu", "mean_squared_error")
    rng = np.random.default_rng(4)
    table, y = rng.normal(size=(6, 1)), rng.normal(size=(6, 1))
    vectors = rng.normal(size=(8, 7)) * np.geomspace(0.1, 1e3, 8)[:, np.newaxis]
    settings: dict[str, Any] = {"optimizer": gn.SGD(0.05), "epochs": 12, "batch_size": batch_size}
    many = gn.train_population(network, table, y, size=8, parameters=Parameters(network, vectors), **settings)
    assert 0 < (many.diverged_at >= 0).sum() < 8
    assert len(set(many.diverged_at.tolist())) > 2  # not all at the same step
    spec, data = Spec(**settings), Data.checked(network, table, y, None)
    for k in range(8):
        alone = train_stack(network, spec, data, vectors[k : k + 1], np.array([k]))
        for name in ("losses", "diverged_at", "n_dead_units", "dead_since", "stuck_since"):
            np.testing.assert_array_equal(getattr(alone, name)[0], getattr(many, name)[k], err_msg=f"{name} of {k}")
        np.testing.assert_array_equal(alone.vectors[0], many.start(k).vector)
        assert np.isfinite(many.start(k).vector).all()
        reached = np.isfinite(many.losses[k])
        assert reached[0]
        assert (np.diff(reached.astype(int)) <= 0).all()  # numbers until it diverged, NaN from then on
        assert reached.all() == (many.diverged_at[k] < 0)
        if batch_size is None:
            run = gn.train(network, table, y, parameters=Parameters(network, vectors[k]), **settings)
            np.testing.assert_array_equal(run.history.loss, many.losses[k][reached])
            assert run.objective == many.objectives[k]
    steady = np.flatnonzero(many.diverged_at < 0)
    assert many.kept == steady[np.argmin(many.objectives[steady])]
    assert np.isfinite(many.objectives).all()


def test_a_lower_objective_of_a_start_that_diverged_is_not_kept() -> None:
    """A step too long: start 0 stood nearer to the answer than start 1 ends, but left it."""
    network = Network((1, 1), loss="mean_squared_error")
    begun = Parameters(network, np.array([[1e120, 0.0], [1e125, 0.0]]))
    far = gn.train_population(network, [[1.0]], [0.0], size=2, epochs=400, optimizer=gn.SGD(3.0), parameters=begun)
    assert (far.diverged_at >= 0).all()
    assert far.kept == int(np.argmin(far.objectives))  # of none that is steady, the lowest
    mixed = Parameters(network, np.array([[0.1, 0.0], [7.0, 0.0]]))
    still = gn.train_population(network, [[1.0]], [0.0], size=2, epochs=5, optimizer=gn.SGD(0.0), parameters=mixed)
    assert still.kept == 0
    object.__setattr__(still, "diverged_at", np.array([3, -1]))
    assert still.kept == 1


def test_a_unit_that_dies_at_a_known_epoch() -> None:
    """One unit, one row: each step lowers the bias by a known amount until z is below 0; then nothing moves."""
    network = Network((1, 1, 1), loss="mean_squared_error")
    # z = b, o = z, y = 0 and w2 held at 1 by hand: b falls by 2 * 0.1 * b w2, w2 by 2 * 0.1 * b^2 w2.
    table = [[0.0]]
    begun = np.array([[0.0, 1.0, 1.0, 9.0], [0.0, 1.0, 1.0, -1.0], [0.0, -1.0, 1.0, 9.0], [0.0, 1.0, 1.0, 0.2]])
    many = gn.train_population(
        network, table, [0.0], size=4, epochs=8, optimizer=gn.SGD(0.1), parameters=Parameters(network, begun)
    )
    expected = []
    for _, b, w, c in begun:
        alive = []
        for _ in range(9):
            alive.append(b > 0)
            z = max(b, 0.0)
            o = c + w * z
            b, w, c = b - 0.1 * 2 * o * w * (b > 0), w - 0.1 * 2 * o * z, c - 0.1 * 2 * o
        expected.append(-1 if alive[-1] else max(i for i in range(9) if i == 0 or alive[i - 1]))
    assert expected == [1, -1, 0, -1]
    assert many.dead_since.tolist() == expected
    assert many.n_dead_units.tolist() == [1, 0, 1, 0]
    assert many.stuck_since.tolist() == [-1] * 4  # a regression has no classes


@pytest.mark.parametrize("batch_size", [None, 100])
def test_dead_and_stuck_since_on_all_tumor_rows_with_batches_and_adam(batch_size: int | None) -> None:
    """Replayed update for update: after an epoch over all rows, or in the batches of an epoch as they were trained."""
    table, y, epochs = (DATA.X - DATA.X.mean(axis=0)) / DATA.X.std(axis=0), DATA.y, 10
    settings: dict[str, Any] = {"optimizer": gn.Adam(0.1), "epochs": epochs, "batch_size": batch_size}
    starts = [Parameters(NETWORK, initialize(NETWORK, 8, "standard_normal", start=k).vector) for k in range(40)]
    stack = Parameters(NETWORK, np.array([start.vector for start in starts]))
    many = gn.train_population(NETWORK, table, y, size=40, parameters=stack, random_state=8, **settings)
    assert len(set(many.dead_since.tolist())) > 2
    assert len(set(many.stuck_since.tolist())) > 1
    data, spec = Data.checked(NETWORK, table, y, None), Spec(random_state=8, **settings)
    for k in range(0, 40, 4 if batch_size else 1):
        dead, stuck = [], []
        for made in range(epochs + 1):
            short = replace(spec, epochs=made)
            vector = train_stack(NETWORK, short, data, stack.vector[k : k + 1], np.array([k])).vectors[0]
            traces = [reference.forward(NETWORK, Parameters(NETWORK, vector), table)]
            if batch_size and 0 < made < epochs:
                updates = stacked_training.updates(
                    NETWORK, spec, data, stack.vector[k : k + 1], np.array([k]), first_step=0
                )
                traces = [
                    reference.forward(NETWORK, Parameters(NETWORK, update.before[0]), table[update.rows[0]])
                    for update in updates
                    if update.epoch == made and update.rows is not None
                ]
            elif batch_size and made == 0:
                continue  # before an epoch nothing is known of its batches
            (trace,) = traces[-1:]
            dead.append(bool(np.all([(t.activations[1] == 0).all(axis=0) for t in traces], axis=0).any()))
            stuck.append(len({bool(p > 0.5) for t in traces for p in t.probabilities[:, 0]}) == 1)
        offset = 1 if batch_size else 0
        assert many.dead_since[k] == (since(dead) + offset if since(dead) >= 0 else -1), k
        assert many.stuck_since[k] == (since(stuck) + offset if since(stuck) >= 0 else -1), k
        assert many.n_dead_units[k] == (trace.activations[1] == 0).all(axis=0).sum()


def test_parameters_handed_in_are_where_it_begins() -> None:
    begun = initialize(NETWORK, 5, start=np.arange(3))
    kept = begun.vector.copy()
    many = gn.train_population(NETWORK, X, Y, size=3, epochs=4, parameters=begun, optimizer=gn.SGD(0.1))
    np.testing.assert_array_equal(begun.vector, kept)
    np.testing.assert_array_equal(many.initial.vector, kept)
    drawn = gn.train_population(NETWORK, X, Y, size=3, epochs=4, random_state=5, optimizer=gn.SGD(0.1))
    np.testing.assert_array_equal(many.parameters.vector, drawn.parameters.vector)
    assert (many.parameters.vector != kept).any()


def test_more_starts_leave_the_first_as_they_are() -> None:
    few, many = (gn.train_population(NETWORK, X, Y, size=size, epochs=3, batch_size=32) for size in (3, 7))
    np.testing.assert_array_equal(few.parameters.vector, many.parameters.vector[:3])
    np.testing.assert_array_equal(few.losses, many.losses[:3])


def test_row_weights_and_penalties_count() -> None:
    weights = np.linspace(0, 2, len(X))
    many = gn.train_population(NETWORK, X, Y, size=3, epochs=2, row_weights=weights, l1=0.1, l2=0.2)
    for k in range(3):
        trace = reference.forward(NETWORK, many.start(k), X, Y, weights, 0.1, 0.2)
        np.testing.assert_allclose([many.losses[k, -1], many.objectives[k]], [trace.loss, trace.objective], rtol=1e-12)
        np.testing.assert_allclose(many.probabilities(X)[k], trace.probabilities, rtol=1e-12)


def test_float32_stays() -> None:
    many = gn.train_population(NETWORK, X.astype(np.float32), Y, size=2, epochs=2, batch_size=32)
    assert many.parameters.vector.dtype == many.probabilities(X.astype(np.float32)).dtype == np.float32


def test_an_error_in_progress_stops_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(populations, "_STACK_ELEMENTS", 500)

    def progress(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gn.train_population(NETWORK, X, Y, size=9, epochs=2, threads=2, progress=progress)


def test_what_ails_a_population_is_counted() -> None:
    network = Network((1, 1, 1))
    vectors = np.array([[1.0, 0, 1, -0.5], [1.0, -9, 1, 0], [1.0, -9, 1, 0], [1e300, 0, 1e300, 0]])
    many = gn.train_population(
        network, [[0.0], [1.0]], [0, 1], size=4, epochs=0, parameters=Parameters(network, vectors)
    )
    found = many.ailing()
    assert (found["dead"], found["first_dead_epoch"]) == (2, 0)
    assert (found["stuck"], found["first_stuck_epoch"]) == (2, 0)
    assert found["diverged"] == int((many.diverged_at >= 0).sum())
    well = gn.train_population(
        network, [[0.0], [1.0]], [0, 1], size=1, epochs=0, parameters=Parameters(network, vectors[:1])
    )
    assert set(well.ailing().values()) == {0, None}


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"size": 0}, "size is the number"),
        ({"size": 2.5}, "size is the number of networks, 1 or more; got 2.5"),
        ({"size": True}, "size is the number of networks, 1 or more; got True"),
        ({"size": 2, "threads": 1.5}, "threads is a whole number, 1 or more; got 1.5"),
        ({"size": 2, "epochs": -1}, "epochs is a whole number"),
        ({"size": 2, "random_state": -1}, "The random seed"),
        ({"size": 2, "threads": 0}, "threads is"),
        ({"size": 2, "parameters": Parameters(NETWORK, np.zeros((3, 9)))}, r"\(2, 9\)"),
    ],
)
def test_settings_that_cannot_be_meant(settings: dict[str, Any], rule: str) -> None:
    with pytest.raises(UsageError, match=rule):
        gn.train_population(NETWORK, X, Y, **settings)


def test_spread_leaves_out_what_is_not_finite() -> None:
    assert populations.spread([1.0, 2.0, 3.0, float("nan")])["median"] == 2.0
    assert np.isnan(populations.spread([float("nan")])["p5"])


@pytest.mark.parametrize("engine", ["compiled", "numpy"])
@pytest.mark.parametrize("optimizer", [gn.Adam(0.05), gn.LBFGS()])
def test_each_start_waits_for_held_out_rows_as_if_alone(engine: str, optimizer: Any) -> None:
    apart = np.arange(len(X)) % 4 == 0
    weights = np.linspace(0.5, 2, len(X[~apart]))
    settings: dict[str, Any] = {
        "optimizer": optimizer, "epochs": 60, "batch_size": None if isinstance(optimizer, gn.LBFGS) else 16,
        "row_weights": weights, "held_out": (X[apart], Y[apart]), "patience": 4, "min_improvement": 1e-4,
        "engine": engine,
    }  # fmt: skip
    penalties = [0.0, 0.01, 0.0, 0.02, 0.0]  # those with and those without are trained by different kernels
    many = gn.train_population(NETWORK, X[~apart], Y[~apart], size=5, l2=penalties, threads=2, **settings)
    kept = []
    for k, l2 in enumerate(penalties):
        alone = gn.train(NETWORK, X[~apart], Y[~apart], start=k, l2=l2, **settings)
        assert many.start(k).vector.tobytes() == alone.parameters.vector.tobytes()
        history = many.history(k)
        np.testing.assert_array_equal(history.loss, alone.history.loss)
        np.testing.assert_array_equal(history.held_out_loss, alone.history.held_out_loss)
        assert (many.n_epochs[k], many.best_epochs[k]) == (alone.counters["epochs"], alone.counters["best_epoch"])
        trace = reference.forward(NETWORK, alone.parameters, X[apart], Y[apart])
        kept.append(trace.loss)
        np.testing.assert_allclose(many.judged_by[k], trace.loss, rtol=1e-12)  # the same sum, in another order
    assert (many.n_epochs < 60).any()
    assert many.kept == int(np.argmin(kept))


def test_held_out_rows_have_no_say_without_patience() -> None:
    many = gn.train_population(NETWORK, X, Y, size=6, epochs=10, held_out=(X[:20], Y[:20]), **SEED_LIKE)
    alone = gn.train_population(NETWORK, X, Y, size=6, epochs=10, **SEED_LIKE)
    assert many.parameters.vector.tobytes() == alone.parameters.vector.tobytes()
    assert many.kept == alone.kept == int(np.argmin(many.objectives))
    assert many.held_out_losses is not None
    assert many.held_out_losses.shape == (6, 11)
    assert alone.held_out_losses is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"patience": 3}, "give held_out"),
        ({"patience": 0, "held_out": (X, Y)}, "1 or more"),
    ],
)
def test_held_out_rows_that_cannot_be_meant(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        gn.train_population(NETWORK, X, Y, size=2, epochs=1, **settings)
