"""Many starts at once: each as if alone, the same for any number of threads, and what ails them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

import glassnet as gn
from glassnet import populations, reference
from glassnet.errors import UsageError
from glassnet.network import Network, Parameters, initialize

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
    monkeypatch.setattr(populations, "_STACK_ELEMENTS", 1000)  # several stacks, though the job is small
    vectors = {
        threads: gn.train_population(NETWORK, X, Y, size=13, epochs=10, batch_size=16, threads=threads).parameters
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
    monkeypatch.setattr(populations, "_STACK_ELEMENTS", 500)
    told: list[int] = []
    gn.train_population(NETWORK, X, Y, size=9, epochs=1, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 9
    assert len(told) > 1


def test_lbfgs_trains_every_start() -> None:
    many = gn.train_population(Network((2, 2, 1), "tanh"), X, Y, size=3, epochs=60, optimizer=gn.LBFGS(), l2=1e-3)
    one = gn.train(Network((2, 2, 1), "tanh"), X, Y, epochs=60, optimizer=gn.LBFGS(), l2=1e-3)
    assert (many.losses[:, -1] < many.losses[:, 0]).all()
    assert many.start(0).vector.tobytes() == one.parameters.vector.tobytes()


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"size": 0}, "size is the number"),
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
