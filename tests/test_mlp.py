"""The MLPs: scikit-learn's numbers step by step, and what they have besides, held against the reference."""

from __future__ import annotations

import inspect
import io
import math
import re
import signal
import threading
from itertools import pairwise
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import sklearn
import sklearn.neural_network as theirs
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, TunedThresholdClassifierCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

import glassnet as gn
from glassnet import reference
from glassnet.errors import UsageError
from glassnet.losses import LOSSES
from glassnet.network import Network, Parameters, dropout_masks

pd = pytest.importorskip("pandas")

# Few epochs are enough for most tests, and both libraries say that they are few.
pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:batch_size is at most:UserWarning"),  # ours
    pytest.mark.filterwarnings("ignore:Got `batch_size`:UserWarning"),  # theirs
]

RNG = np.random.default_rng(0)
N = 60
X = RNG.normal(size=(N, 3))
TARGETS: dict[str, Any] = {
    "binary": np.where(X[:, 0] * X[:, 1] > 0, "yes", "no"),
    "classes": np.digitize(X[:, 0] + X[:, 1] ** 2, [0.0, 1.0]),
    "labels": (X @ RNG.normal(size=(3, 4)) > 0).astype(int),
    "number": X[:, 0] - X[:, 1] * X[:, 2],
    "count": RNG.poisson(np.exp(X[:, 0])).astype(float),
}


def pair(task: str, **settings: Any) -> tuple[Any, Any]:
    """Ours and theirs, of the same settings."""
    name = "MLPRegressor" if task in ("number", "count") else "MLPClassifier"
    if task == "count":
        settings["loss"] = "poisson"
    return getattr(gn, name)(**settings), getattr(theirs, name)(**settings)


def vector(model: Any) -> Any:
    """All weights, then all biases."""
    return np.concatenate([part.ravel() for part in (*model.coefs_, *model.intercepts_)])


def assert_same(ours: Any, theirs: Any, rtol: float = 1e-9, atol: float = 1e-11) -> None:
    """What both learned. The default: roundings of 64 bits, made a thousand times larger by some dozen updates."""
    np.testing.assert_allclose(vector(ours), vector(theirs), rtol=rtol, atol=atol)
    np.testing.assert_allclose(ours.loss_, theirs.loss_, rtol=rtol)
    assert (ours.n_iter_, ours.n_layers_, ours.n_outputs_, ours.out_activation_, ours.t_) == (
        theirs.n_iter_, theirs.n_layers_, theirs.n_outputs_, theirs.out_activation_, theirs.t_
    )  # fmt: skip
    if theirs.solver != "lbfgs":
        np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=rtol)
        for name in ("best_loss_", "best_validation_score_", "validation_scores_"):
            value, expected = getattr(ours, name), getattr(theirs, name)
            assert (value is None) == (expected is None), name
            if expected is not None:
                np.testing.assert_allclose(value, expected, rtol=rtol, err_msg=name)


def test_a_difference_is_seen() -> None:
    ours, other = pair("binary", hidden_layer_sizes=(3,), max_iter=2, random_state=0)
    ours.fit(X, TARGETS["binary"])
    other.fit(X, TARGETS["binary"])
    assert_same(ours, other)
    other.coefs_[0][0, 0] *= 1 + 1e-6
    with pytest.raises(AssertionError):
        assert_same(ours, other)


COMMON = {
    "task": st.sampled_from(list(TARGETS)),
    "hidden_layer_sizes": st.sampled_from([(), (4,), (5, 2)]),
    "activation": st.sampled_from(["relu", "tanh", "logistic", "identity"]),
    "alpha": st.sampled_from([0.0, 1e-4, 0.5]),
    "random_state": st.integers(0, 3),
    "weighted": st.booleans(),
}


@given(
    st.fixed_dictionaries(
        COMMON
        | {
            "solver": st.sampled_from(["adam", "sgd"]),
            "batch_size": st.sampled_from(["auto", 7, 25, 60]),
            "learning_rate": st.sampled_from(["constant", "invscaling", "adaptive"]),
            "learning_rate_init": st.sampled_from([0.001, 0.03]),
            "power_t": st.sampled_from([0.5, 0.1]),
            "momentum": st.sampled_from([0.0, 0.9]),
            "nesterovs_momentum": st.booleans(),
            "shuffle": st.booleans(),
            "max_iter": st.integers(1, 6),
            "n_iter_no_change": st.sampled_from([1, 10]),
            "early_stopping": st.booleans(),
            "epsilon": st.sampled_from([1e-8, 1e-2]),
        }
    )
)
@settings(max_examples=60, deadline=None)
def test_gradient_descent_is_scikit_learns_step_by_step(settings: dict[str, Any]) -> None:
    task, weighted = settings.pop("task"), settings.pop("weighted")
    weights = np.linspace(0.5, 2, N) if weighted else None
    if weighted and task == "count":
        settings["batch_size"] = "auto"  # of counts in small batches the loss has a constant that depends on the order
    ours, expected = pair(task, **settings)
    try:
        expected.fit(X, TARGETS[task], weights)
    except RuntimeWarning:  # steps too large for counts: its exp overflows
        reject()
    assert_same(ours.fit(X, TARGETS[task], weights), expected)
    np.testing.assert_allclose(ours.predict(X[:9]), expected.predict(X[:9])) if task in ("number", "count") else (
        np.testing.assert_array_equal(ours.predict(X[:9]), expected.predict(X[:9]))
    )


@given(st.fixed_dictionaries(COMMON | {"max_iter": st.integers(1, 8), "tol": st.sampled_from([1e-4, 1e-2])}))
@settings(max_examples=30, deadline=None)
def test_lbfgs_is_scikit_learns_iteration_by_iteration(settings: dict[str, Any]) -> None:
    task, weighted = settings.pop("task"), settings.pop("weighted")
    weights = np.linspace(0.5, 2, N) if weighted else None
    ours, expected = pair(task, solver="lbfgs", **settings)
    ours.fit(X, TARGETS[task], weights)
    expected.fit(X, TARGETS[task], weights)
    # A line search makes roundings larger, more so with every iteration.
    assert_same(ours, expected, rtol=1e-6, atol=1e-7)
    assert len(ours.loss_curve_) == ours.n_iter_
    assert ours.best_loss_ == min(ours.loss_curve_)


@pytest.mark.parametrize("task", TARGETS)
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_partial_fits_and_warm_starts_go_on_as_theirs(task: str, solver: str) -> None:
    both = pair(task, solver=solver, hidden_layer_sizes=(4,), batch_size=16, random_state=1, learning_rate="invscaling")
    classes = {"classes": np.unique(TARGETS[task])} if task in ("binary", "classes") else {}
    if task == "labels":
        classes = {"classes": np.arange(4)}
    for model in both:
        for rows in (slice(0, 40), slice(20, 60), slice(0, 13)):
            model.partial_fit(X[rows], TARGETS[task][rows], **classes)
    assert_same(*both)
    both = pair(
        task, solver=solver, hidden_layer_sizes=(4,), batch_size=16, random_state=1, warm_start=True, max_iter=3
    )
    for model in both:
        model.fit(X, TARGETS[task]).set_params(max_iter=2).fit(X, TARGETS[task])
    assert_same(*both)
    assert len(both[0].loss_curve_) == 5


@pytest.mark.parametrize("batch_size", [60, 16])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_random_numbers_that_are_given_are_used_as_theirs(batch_size: int, early_stopping: bool) -> None:
    rngs = [np.random.RandomState(5), np.random.RandomState(5)]
    for _ in range(2):
        both = []
        for make, rng in zip((gn.MLPClassifier, theirs.MLPClassifier), rngs, strict=True):
            model = make((4,), batch_size=batch_size, random_state=rng, max_iter=4, early_stopping=early_stopping)
            with np.errstate(all="ignore"):
                both.append(model.fit(X[:60], TARGETS["binary"][:60]))
        assert_same(*both)
    assert rngs[0].randint(2**31) == rngs[1].randint(2**31)
    np.random.seed(3)
    ours = gn.MLPClassifier((4,), max_iter=2).fit(X, TARGETS["binary"])
    np.random.seed(3)
    assert_same(ours, theirs.MLPClassifier((4,), max_iter=2).fit(X, TARGETS["binary"]))


def test_sparse_rows_and_float32_learn_as_theirs() -> None:
    from scipy.sparse import csc_array, csr_array, csr_matrix

    dense = np.where(np.abs(X) > 0.7, X, 0)
    for kind in (csr_array, csc_array, csr_matrix):
        ours, expected = pair("classes", hidden_layer_sizes=(5,), random_state=2, max_iter=5, batch_size=16)
        assert_same(ours.fit(kind(dense), TARGETS["classes"]), expected.fit(kind(dense), TARGETS["classes"]))
        np.testing.assert_allclose(ours.predict_proba(kind(dense)), ours.predict_proba(dense), rtol=1e-12)
    for solver in ("adam", "sgd", "lbfgs"):
        for task in TARGETS:
            ours, expected = pair(task, solver=solver, hidden_layer_sizes=(5,), random_state=2, max_iter=5)
            rows = X.astype(np.float32)
            ours.fit(rows, TARGETS[task])
            # float32 has 7 digits, which five updates halve
            assert_same(ours, expected.fit(rows, TARGETS[task]), rtol=2e-3, atol=1e-4)
            assert {part.dtype for part in (*ours.coefs_, *ours.intercepts_)} == {np.dtype(np.float32)}
            outputs = ours.predict(rows) if task in ("number", "count") else ours.predict_proba(rows)
            assert outputs.dtype == np.float32


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_nothing_of_theirs_is_missing(name: str) -> None:
    ours, other = getattr(gn, name), getattr(theirs, name)
    of_ours, of_theirs = (inspect.signature(kind).parameters for kind in (ours, other))
    for place, (key, expected) in enumerate(of_theirs.items()):
        assert list(of_ours)[place] == key
        assert (of_ours[key].default, of_ours[key].kind) == (expected.default, expected.kind)
    for method in ("fit", "partial_fit", "predict", "score"):
        given = list(inspect.signature(getattr(ours, method)).parameters)
        wanted = list(inspect.signature(getattr(other, method)).parameters)
        assert given[: len(wanted)] == wanted
    public = {key for key in dir(other) if not key.startswith("_")}
    assert public <= set(dir(ours))
    y = TARGETS["binary"] if name == "MLPClassifier" else TARGETS["number"]
    frame = pd.DataFrame(X, columns=["radius", "texture", "area"])
    for solver in ("adam", "sgd", "lbfgs"):
        for early_stopping in (False, True):
            settings = {"solver": solver, "early_stopping": early_stopping, "max_iter": 3, "random_state": 0}
            fitted = [kind(**settings).fit(frame, y) for kind in (ours, other)]
            has, wanted = ({key for key in vars(model) if key.endswith("_")} for model in fitted)
            assert wanted <= has
            for key in wanted - {"coefs_", "intercepts_"}:
                assert isinstance(getattr(fitted[1], key), type(getattr(fitted[0], key))), key  # np.float64 is a float


# --- what others do not have ----------------------------------------------------------------------------------------


def one_step(model: Any, y: Any, *, network: Network, targets: Any, masks: Any = None, rows: Any = None) -> Any:
    """The gradient of the loss alone at the start of a model whose fit made one full-batch step, by the reference."""
    start = theirs.MLPRegressor(network.sizes[1:-1], activation="tanh", random_state=model.random_state, max_iter=1)
    rng = np.random.RandomState(model.random_state)
    parts = []
    for n_in, n_out in pairwise(network.sizes):
        bound = math.sqrt(6 / (n_in + n_out))
        parts += [rng.uniform(-bound, bound, (n_in, n_out)).ravel(), rng.uniform(-bound, bound, n_out)]
    del start
    begun = Parameters(network, np.concatenate(parts))
    return begun, reference.backward(network, begun, X, targets, rows, masks=masks), rng


def after(model: Any) -> Any:
    """Its parameters in the order of a network's vector."""
    return Parameters.from_layers(model.network_, model.coefs_, model.intercepts_).vector


STEP: dict[str, Any] = {
    "hidden_layer_sizes": (4, 3), "activation": "tanh", "solver": "sgd", "learning_rate_init": 0.1, "momentum": 0,
    "alpha": 0, "max_iter": 1, "random_state": 3,
}  # fmt: skip
BINARY = Network((3, 4, 3, 1), "tanh", "binary_cross_entropy")
Y01 = (TARGETS["binary"] == "yes").astype(float)


def test_activations_differ_by_layer_and_all_of_ours_are_there() -> None:
    for name in gn.ACTIVATIONS:
        model = gn.MLPClassifier((4, 3), ("tanh", name), max_iter=2, random_state=3).fit(X, TARGETS["classes"])
        assert model.network_.activations == ("tanh", name, "identity")
        trace = gn.forward(model.network_, Parameters(model.network_, after(model)), X)
        # Sums in another order, exp of another library.
        np.testing.assert_allclose(model.predict_proba(X), trace.probabilities, rtol=1e-12)
    network = Network((3, 4, 3, 1), ("tanh", "softplus"), "binary_cross_entropy")
    model = gn.MLPClassifier(**(STEP | {"activation": ("tanh", "softplus")})).fit(X, TARGETS["binary"])
    begun, trace, _ = one_step(model, None, network=network, targets=Y01)
    np.testing.assert_allclose(after(model), begun.vector - 0.1 * trace.gradient, rtol=1e-12)


def test_dropout_leaves_out_units_and_none_where_it_predicts() -> None:
    model = gn.MLPClassifier(**STEP, dropout=(0.5, 0.2)).fit(X, TARGETS["binary"])
    _, _, rng = one_step(model, None, network=BINARY, targets=Y01)
    masks = dropout_masks(BINARY, (0.5, 0.2), N, random_state=int(rng.randint(2**31 - 1)), epoch=1)
    begun, trace, _ = one_step(model, None, network=BINARY, targets=Y01, masks=masks)
    np.testing.assert_allclose(after(model), begun.vector - 0.1 * trace.gradient, rtol=1e-12)
    whole = gn.forward(BINARY, Parameters(BINARY, after(model)), X).probabilities
    np.testing.assert_allclose(model.predict_proba(X)[:, 1], whole[:, 0], rtol=1e-12)
    # a partial_fit's masks are not those of the one before
    first = gn.MLPClassifier((40,), dropout=0.5, random_state=1, learning_rate_init=1e-9)
    first.partial_fit(X, Y01, classes=[0, 1])
    loss = first.loss_
    assert first.partial_fit(X, Y01).loss_ != pytest.approx(loss, rel=1e-6)


def test_classes_have_weights() -> None:
    y = TARGETS["classes"]
    for weight in ("balanced", {0: 1.0, 1: 3.0, 2: 0.5}):
        model = gn.MLPClassifier((4,), class_weight=weight, random_state=1, max_iter=5, batch_size=16)
        own = np.linspace(1, 2, N)
        expected = gn.MLPClassifier((4,), random_state=1, max_iter=5, batch_size=16)
        expected.fit(X, y, own * compute_sample_weight(weight, y))
        assert np.array_equal(after(model.fit(X, y, own)), after(expected))
    with pytest.raises(UsageError, match="balanced' needs all rows"):
        gn.MLPClassifier(class_weight="balanced").partial_fit(X, y, classes=[0, 1, 2])


def test_weight_decay_is_beside_the_step_and_l1_in_the_gradient() -> None:
    for how in ({"solver": "adam"}, {"solver": "sgd"}, {"solver": "sgd", "momentum": 0.0}):
        given = STEP | how | {"learning_rate_init": 0.01}
        plain = gn.MLPClassifier(**given).fit(X, TARGETS["binary"])
        decayed = gn.MLPClassifier(**given, weight_decay=0.3).fit(X, TARGETS["binary"])
        begun, trace, _ = one_step(plain, None, network=BINARY, targets=Y01)
        expected = Parameters(BINARY, after(plain).copy())
        for W, W_begun in zip(expected.weights, begun.weights, strict=True):
            W -= 0.01 * 0.3 * W_begun
        np.testing.assert_allclose(after(decayed), expected.vector, rtol=1e-12)
    lean = gn.MLPClassifier(**STEP, l1=0.6, penalty_scale="none").fit(X, TARGETS["binary"])
    expected = Parameters(BINARY, begun.vector - 0.1 * trace.gradient)
    for W, W_begun in zip(expected.weights, begun.weights, strict=True):
        W -= 0.1 * 0.6 * np.sign(W_begun)
    np.testing.assert_allclose(after(lean), expected.vector, rtol=1e-11)
    assert lean.loss_ == pytest.approx(trace.loss + 0.6 * sum(np.abs(W).sum() for W in begun.weights), rel=1e-12)


def test_the_penalty_need_not_depend_on_the_batch() -> None:
    for scale, divisor in (("batch", 20), ("samples", N), ("none", 1)):
        settings = STEP | {"alpha": 6.0, "shuffle": False, "batch_size": 20, "penalty_scale": scale, "max_iter": 1}
        model = gn.MLPClassifier(**settings).fit(X, TARGETS["binary"])
        at, _, _ = one_step(model, None, network=BINARY, targets=Y01)
        now = at.vector
        for first in (0, 20, 40):
            part = slice(first, first + 20)
            trace = reference.backward(BINARY, Parameters(BINARY, now), X[part], Y01[part], None, 0.0, 6.0 / divisor)
            now = now - 0.1 * trace.gradient
        np.testing.assert_allclose(after(model), now, rtol=1e-11)
    # so descent and L-BFGS go for the same objective
    settings = {"activation": "tanh", "hidden_layer_sizes": (3,), "random_state": 0, "alpha": 5.0}
    minimum = gn.MLPClassifier(solver="lbfgs", tol=1e-8, max_iter=1000, **settings).fit(X, TARGETS["binary"])
    walked = gn.MLPClassifier(
        penalty_scale="samples", batch_size=20, learning_rate=gn.Cosine(0.02), max_iter=1500, n_iter_no_change=math.inf,
        **settings,
    ).fit(X, TARGETS["binary"])  # fmt: skip
    np.testing.assert_allclose(walked.predict_proba(X), minimum.predict_proba(X), atol=0.02)


@pytest.mark.parametrize("loss", [*LOSSES, "quantile(0.9)", "huber(0.3)", "squared_error", "absolute_error"])
def test_all_losses_are_there(loss: str) -> None:
    targets = {"binary_cross_entropy": Y01, "cross_entropy": np.eye(3)[TARGETS["classes"]], "poisson": TARGETS["count"]}
    y = targets.get(loss, TARGETS["number"])
    model = gn.MLPRegressor(loss, **STEP).fit(X, y)
    targets_2d = y.reshape(N, -1)
    network = Network((3, 4, 3, targets_2d.shape[1]), "tanh", model.network_.loss)
    begun, trace, _ = one_step(model, None, network=network, targets=targets_2d)
    scale = 0.5 if loss == "squared_error" else 1.0
    np.testing.assert_allclose(after(model), begun.vector - 0.1 * scale * trace.gradient, rtol=1e-11)
    if loss != "poisson":  # whose loss has scikit-learn's constant besides
        assert model.loss_ == pytest.approx(scale * trace.loss, rel=1e-12)
    assert model.predict(X).shape == y.shape


def test_smoothed_labels_are_the_targets_of_a_regression() -> None:
    model = gn.MLPClassifier(**STEP, label_smoothing=0.2).fit(X, TARGETS["binary"])
    shares = gn.MLPRegressor("binary_cross_entropy", **STEP).fit(X, Y01 * 0.8 + 0.1)
    assert np.array_equal(after(model), after(shares))
    model = gn.MLPClassifier(**STEP, label_smoothing=0.3).fit(X, TARGETS["classes"])
    shares = gn.MLPRegressor("cross_entropy", **STEP).fit(X, np.eye(3)[TARGETS["classes"]] * 0.7 + 0.1)
    np.testing.assert_allclose(after(model), after(shares), rtol=1e-13)


def test_several_outputs_have_the_gradient_of_their_loss() -> None:
    y = np.stack([TARGETS["number"], X[:, 2], X[:, 0] ** 2], axis=1)
    model = gn.MLPRegressor(**STEP).fit(X, y)
    network = Network((3, 4, 3, 3), "tanh", "mean_squared_error")
    begun, trace, _ = one_step(model, None, network=network, targets=y)
    assert model.loss_ == pytest.approx(trace.loss / 2, rel=1e-12)
    np.testing.assert_allclose(after(model), begun.vector - 0.1 * trace.gradient / 2, rtol=1e-12)
    expected = theirs.MLPRegressor(**STEP).fit(X, y)
    assert model.loss_ == pytest.approx(expected.loss_, rel=1e-12)
    # theirs moves three times as far as their own loss falls
    theirs_vector = Parameters.from_layers(network, expected.coefs_, expected.intercepts_).vector
    np.testing.assert_allclose(theirs_vector - begun.vector, 3 * (after(model) - begun.vector), rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("optimizer", [gn.SGD(0.05, momentum=0.5), gn.RMSprop(), gn.AdamW(gn.OneCycle(0.1)), gn.Adam()])
def test_our_optimisers_and_schedules(optimizer: Any) -> None:
    settings = STEP | {"solver": optimizer, "max_iter": 12, "n_iter_no_change": math.inf}
    model = gn.MLPClassifier(**settings).fit(X, TARGETS["binary"])
    begun, _, _ = one_step(model, None, network=BINARY, targets=Y01)
    run = gn.train(BINARY, X, Y01, optimizer=optimizer, epochs=12, parameters=begun)
    np.testing.assert_allclose(after(model), run.parameters.vector, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(model.loss_curve_, run.history.loss[:-1], rtol=1e-9)
    scheduled = gn.MLPClassifier(**(settings | {"solver": "sgd", "momentum": 0.5, "nesterovs_momentum": False}))
    scheduled.set_params(learning_rate=gn.Cosine(0.2)).fit(X, TARGETS["binary"])
    run = gn.train(BINARY, X, Y01, optimizer=gn.SGD(gn.Cosine(0.2), momentum=0.5), epochs=12, parameters=begun)
    np.testing.assert_allclose(after(scheduled), run.parameters.vector, rtol=1e-8, atol=1e-10)


# --- validation -----------------------------------------------------------------------------------------------------

HELD = RNG.normal(size=(30, 3))
HELD_Y = {
    "binary": np.where(HELD[:, 0] * HELD[:, 1] > 0, "yes", "no"),
    "classes": np.digitize(HELD[:, 0] + HELD[:, 1] ** 2, [0.0, 1.0]),
    "labels": (HELD > 0)[:, [0, 1, 2, 0]].astype(int),
    "number": HELD[:, 0],
    "count": np.round(np.exp(HELD[:, 0])),
}


@pytest.mark.parametrize("task", TARGETS)
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_rows_of_ones_own_are_judged_after_every_epoch(task: str, solver: str) -> None:
    weights = np.linspace(1, 3, 30)
    own, _ = pair(task, solver=solver, hidden_layer_sizes=(4,), max_iter=6, random_state=1)
    own.fit(X, TARGETS[task], X_val=HELD, y_val=HELD_Y[task], sample_weight_val=weights)
    alone, _ = pair(task, solver=solver, hidden_layer_sizes=(4,), max_iter=6, random_state=1)
    alone.fit(X, TARGETS[task])
    assert np.array_equal(after(own), after(alone))  # to be judged changes nothing
    assert alone.validation_scores_ is None
    assert alone.validation_loss_curve_ is None
    assert len(own.validation_scores_) == len(own.validation_loss_curve_) == len(own.loss_curve_) == own.n_iter_
    score = own.score(HELD, HELD_Y[task], sample_weight=weights)
    assert own.validation_scores_[-1] == pytest.approx(score, rel=1e-9)
    assert own.best_validation_score_ == max(own.validation_scores_)
    for epochs in (1, 3):  # and so after fewer epochs
        short, _ = pair(task, solver=solver, hidden_layer_sizes=(4,), max_iter=epochs, random_state=1)
        score = short.fit(X, TARGETS[task]).score(HELD, HELD_Y[task], sample_weight=weights)
        assert own.validation_scores_[epochs - 1] == pytest.approx(score, rel=1e-9)
    if task == "classes":
        p = own.predict_proba(HELD)[np.arange(30), HELD_Y[task]]
        assert own.validation_loss_curve_[-1] == pytest.approx(np.average(-np.log(p), weights=weights), rel=1e-9)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("monitor", ["score", "loss"])
def test_the_best_weights_are_put_back(solver: str, monitor: str) -> None:
    model = gn.MLPClassifier(
        (20,), solver=solver, early_stopping=True, monitor=monitor, n_iter_no_change=4, max_iter=400, random_state=0,
        learning_rate_init=0.02, alpha=0, tol=0,
    ).fit(X, TARGETS["classes"], X_val=HELD, y_val=HELD_Y["classes"])  # fmt: skip
    curve = model.validation_loss_curve_ if monitor == "loss" else [-score for score in model.validation_scores_]
    best = int(np.argmin(curve))
    assert model.n_iter_ < 400
    p = model.predict_proba(HELD)[np.arange(30), HELD_Y["classes"]]
    assert -np.log(p).mean() == pytest.approx(model.validation_loss_curve_[best], rel=1e-9)
    assert model.score(HELD, HELD_Y["classes"]) == pytest.approx(model.validation_scores_[best])
    assert model.best_loss_ is None


def test_validation_rows_are_stratified_for_any_number_of_classes() -> None:
    y = np.repeat([0, 1, 2], [80, 14, 6])
    rows = np.random.default_rng(0).normal(size=(100, 2))
    for seed in range(20):
        model = gn.MLPClassifier((2,), early_stopping=True, stratify=True, validation_fraction=0.34, random_state=seed)
        held: list[Any] = []
        judge = model._judge
        model._judge = lambda network, part, scale, judge=judge, held=held: (
            held.append(part),
            judge(network, part, scale),
        )[1]
        model.set_params(max_iter=1).fit(rows, y)
        assert held[0].targets.sum(axis=0).tolist() == [27, 5, 2]


# --- callbacks, several starts --------------------------------------------------------------------------------------


def test_callbacks_see_every_step() -> None:
    steps: list[gn.Step] = []
    settings = {"hidden_layer_sizes": (4,), "batch_size": 25, "max_iter": 4, "random_state": 1}
    model = gn.MLPClassifier(**settings, callbacks=[steps.append], alpha=0.3).fit(
        X, TARGETS["binary"], X_val=HELD, y_val=HELD_Y["binary"]
    )
    assert [(step.epoch, step.step) for step in steps] == [(1 + k // 3, 1 + k) for k in range(12)]
    for epoch in range(4):
        part = steps[3 * epoch : 3 * epoch + 3]
        mean = sum(n * (step.loss + step.penalty) for n, step in zip((25, 25, 10), part, strict=True)) / N
        assert mean == pytest.approx(model.loss_curve_[epoch], rel=1e-12)
        assert [step.held_out_loss for step in part] == [None, None, model.validation_loss_curve_[epoch]]
    silent = gn.MLPClassifier(**settings, alpha=0.3).fit(X, TARGETS["binary"])
    assert np.array_equal(after(silent), after(model))


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_the_best_of_several_starts_is_kept_or_all_are_averaged(solver: str) -> None:
    settings = {"hidden_layer_sizes": (3,), "solver": solver, "max_iter": 20, "random_state": 4}
    one = gn.MLPClassifier(**settings).fit(X, TARGETS["classes"])
    best = gn.MLPClassifier(**settings, n_starts=5).fit(X, TARGETS["classes"])
    assert len(best.starts_) == 5
    assert all(np.array_equal(a, b) for a, b in zip(best.starts_[0].coefs, one.coefs_, strict=True))
    assert best.loss_ == min(start.loss for start in best.starts_) < one.loss_
    assert len({start.loss for start in best.starts_}) == 5
    again = gn.MLPClassifier(**settings, n_starts=5).fit(X, TARGETS["classes"])
    assert np.array_equal(after(again), after(best))
    average = gn.MLPClassifier(**settings, n_starts=5, combine="average").fit(X, TARGETS["classes"])
    mean = np.zeros((N, 3))
    for start in average.starts_:
        parameters = Parameters.from_layers(average.network_, start.coefs, start.intercepts)
        mean += gn.forward(average.network_, parameters, X).probabilities / 5
    np.testing.assert_allclose(average.predict_proba(X), mean, rtol=1e-12)
    # what goes on afterwards goes on from the start that was kept
    lazy = gn.MLPClassifier((3,), n_starts=3, max_iter=3, random_state=4, batch_size=16).fit(X, TARGETS["classes"])
    assert lazy.t_ == 3 * N
    # as a model it has all five
    model = average.to_model(features=["a", "b", "c"])
    assert len(model.members) == 5
    table = dict(zip("abc", X.T, strict=True))
    np.testing.assert_allclose(model.predict_proba(table), mean, rtol=1e-12)


def test_with_early_stopping_the_best_judged_start_is_kept() -> None:
    model = gn.MLPRegressor(
        hidden_layer_sizes=(5,), early_stopping=True, n_starts=4, random_state=0, learning_rate_init=0.01, max_iter=100
    ).fit(X, TARGETS["number"])
    scores = [start.validation_score for start in model.starts_]
    assert model.best_validation_score_ == max(scores) > min(scores)


# --- within scikit-learn, and within glassnet -----------------------------------------------------------------------


def test_within_scikit_learns_own_machinery() -> None:
    frame = pd.DataFrame(X, columns=["radius", "texture", "area"])
    y = TARGETS["binary"]
    model = gn.MLPClassifier((4,), solver="lbfgs", max_iter=30, random_state=0, dropout=0.0, class_weight="balanced")
    assert clone(model).get_params() == model.get_params()
    fitted = clone(model).fit(frame, y)
    assert fitted.feature_names_in_.tolist() == list(frame)
    with pytest.raises(ValueError, match="feature names"):
        fitted.predict(frame[["texture", "radius", "area"]])
    with pytest.raises(NotFittedError):
        clone(fitted).predict(frame)

    joblib.dump(fitted, file := io.BytesIO())
    file.seek(0)
    np.testing.assert_array_equal(joblib.load(file).predict_proba(frame), fitted.predict_proba(frame))

    pipeline = make_pipeline(StandardScaler(), model)
    grid = {"mlpclassifier__hidden_layer_sizes": [(2,), (3, 2)], "mlpclassifier__alpha": [1e-4, 0.1]}
    search = GridSearchCV(pipeline, grid, cv=3, n_jobs=2, error_score="raise").fit(frame, y)
    alone = GridSearchCV(pipeline, grid, cv=3, error_score="raise").fit(frame, y)
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"])
    assert len(cross_val_score(pipeline, frame, y, cv=3)) == 3

    calibrated = CalibratedClassifierCV(pipeline, cv=3).fit(frame, y)
    assert calibrated.predict_proba(frame).shape == (N, 2)
    tuned = TunedThresholdClassifierCV(pipeline, scoring="balanced_accuracy", cv=3).fit(frame, y)
    assert set(tuned.predict(frame)) == {"no", "yes"}

    with sklearn.config_context(enable_metadata_routing=True):
        stopping = gn.MLPClassifier((4,), max_iter=3, random_state=0)
        stopping.set_fit_request(sample_weight=True, X_val=True, y_val=True)
        weights = np.linspace(1, 2, N)
        held = pd.DataFrame(HELD, columns=list(frame))
        routed = make_pipeline(
            StandardScaler().set_fit_request(sample_weight=False), stopping, transform_input=["X_val"]
        )
        routed.fit(frame, y, sample_weight=weights, X_val=held, y_val=HELD_Y["binary"])
        scaler = StandardScaler().fit(frame)
        direct = clone(stopping).fit(
            scaler.transform(frame), y, weights, X_val=scaler.transform(held), y_val=HELD_Y["binary"]
        )
        assert routed[-1].validation_scores_ == direct.validation_scores_
        assert np.array_equal(after(routed[-1]), after(direct))


def test_it_is_a_model_that_is_derived_explained_and_saved(tmp_path: Path) -> None:
    frame = pd.DataFrame(X, columns=["radius", "texture", "area"])
    for task in ("binary", "classes", "number"):
        estimator, _ = pair(task, hidden_layer_sizes=(3, 2), max_iter=5, random_state=0)
        estimator.set_params(activation=("softplus", "tanh")).fit(frame, TARGETS[task])
        model = estimator.to_model(target="what")
        predicted = model.predict(frame) if task == "number" else model.predict_proba(frame)
        expected = estimator.predict(frame) if task == "number" else estimator.predict_proba(frame)
        np.testing.assert_allclose(predicted, expected, rtol=1e-12)
        assert "radius" in str(gn.derive(estimator))
        assert "radius" in str(gn.explain(estimator, frame, row=3))
        gn.save(estimator, tmp_path / f"{task}.safetensors")
        loaded = gn.load(tmp_path / f"{task}.safetensors")
        assert loaded.network == estimator.network_
        assert np.array_equal(loaded.members[0].vector, after(estimator))
    scaled = make_pipeline(StandardScaler(), gn.MLPRegressor("huber", (3,), max_iter=5, random_state=0))
    scaled.fit(frame, TARGETS["number"])
    model = gn.from_sklearn(scaled)
    assert model.network.loss == "huber"
    np.testing.assert_allclose(model.predict(frame), scaled.predict(frame), rtol=1e-10)
    with pytest.raises(UsageError, match="has been fitted; MLPClassifier has not"):
        gn.derive(gn.MLPClassifier())


def test_a_notebook_shows_the_network() -> None:
    model = gn.MLPClassifier((3,), max_iter=2, random_state=0)
    assert "data-symbol" not in model._repr_html_()
    frame = pd.DataFrame(X, columns=["radius", "texture", "area"])
    model.fit(frame, TARGETS["binary"])
    for html in (model._repr_html_(), model._repr_mimebundle_()["text/html"]):
        assert html.count("data-symbol") == 3 * 3 + 3
        assert all(name in html for name in ("radius", "P(yes)", "MLPClassifier"))
    for task in ("classes", "labels", "number"):
        other, _ = pair(task, hidden_layer_sizes=(2,), max_iter=2)
        assert other.fit(X, TARGETS[task])._repr_html_().count("data-symbol") == 3 * 2 + 2 * other.n_outputs_


# --- what cannot be meant -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"solver": "newton"}, "as solver one of lbfgs, sgd, adam, or an optimiser such as gn.AdamW(); got 'newton'"),
        ({"solver": gn.LBFGS()}, "takes as solver one of"),
        ({"activation": 3}, "takes as activation a name, or one for each hidden layer; got 3"),
        ({"activation": ["relu", 3]}, "takes as activation a name, or one for each hidden layer; got ['relu', 3]"),
        ({"alpha": -1}, "takes as alpha a number, 0 or more; got -1"),
        ({"batch_size": 0}, "takes as batch_size 'auto', or a whole number, 1 or more; got 0"),
        ({"learning_rate": "fast"}, "takes as learning_rate one of constant, invscaling, adaptive, or a schedule"),
        ({"learning_rate_init": 0}, "takes as learning_rate_init a number above 0; got 0"),
        ({"max_iter": 2.5}, "takes as max_iter a whole number, 1 or more; got 2.5"),
        ({"hidden_layer_sizes": (3, -1)}, "hidden_layer_sizes must be > 0, got [3, -1]"),
        ({"hidden_layer_sizes": (2.5,)}, "hidden_layer_sizes are whole numbers"),
        ({"activation": "rely"}, "Did you mean 'relu'?"),
        ({"activation": ("tanh", "relu")}, "activation has one name for each of the 1 hidden layers; got 2"),
        ({"dropout": 1.0}, "dropout is a number from 0 to less than 1"),
        ({"dropout": 0.5, "solver": "lbfgs"}, "no use for dropout"),
        ({"callbacks": [print], "solver": "lbfgs"}, "no use for callbacks"),
        ({"callbacks": print}, "takes as callbacks a list of functions, each of one Step; got <built-in"),
        ({"callbacks": [print], "n_starts": 2}, "callbacks follow one training"),
        ({"weight_decay": 0.1, "solver": "lbfgs"}, "got it with 'lbfgs'. Penalise by alpha"),
        ({"weight_decay": 0.1, "solver": gn.SGD()}, "Give gn.AdamW or gn.SGDW their own"),
        ({"penalty_scale": "rows"}, "takes as penalty_scale one of batch, samples, none; got 'rows'"),
        ({"monitor": "auc"}, "takes as monitor score or loss; got 'auc'"),
        ({"combine": "vote"}, "takes as combine best or average"),
        ({"n_iter_no_change": 0}, "or infinity; got 0"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_meant(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        gn.MLPClassifier(**({"hidden_layer_sizes": (3,)} | settings)).fit(X, TARGETS["binary"])


def test_data_that_cannot_be_meant() -> None:
    y = TARGETS["binary"]
    with pytest.raises(
        UsageError, match=r"as loss a name \(hidden_layer_sizes is the parameter after it\); got \(5,\)"
    ):
        gn.MLPRegressor((5,)).fit(X, Y01)
    with pytest.raises(UsageError, match=r"y has one class only, np.str_\('no'\)"):
        gn.MLPClassifier(one_class="refuse").fit(X, ["no"] * N)
    with pytest.warns(RuntimeWarning, match="y has one class only") as said:
        model = gn.MLPClassifier((2,), max_iter=2).fit(X, ["no"] * N)
    assert said[0].filename == __file__
    assert set(model.predict(X)) == {"no"}
    with pytest.raises(ValueError, match="zero"):
        gn.MLPClassifier((2,)).fit(X, y, np.zeros(N))
    with pytest.raises(UsageError, match="add up to more than 0; these to 0"):
        gn.MLPClassifier((2,), class_weight={"yes": 0, "no": 0}).fit(X, y)
    with pytest.raises(UsageError, match="X_val and y_val, both of them"):
        gn.MLPClassifier().fit(X, y, X_val=HELD)
    with pytest.raises(UsageError, match=r"y_val has classes that y has.*got .*other.* as well"):
        gn.MLPClassifier((2,)).fit(X, y, X_val=HELD, y_val=["other"] * 30)
    with pytest.raises(UsageError, match="a row each for every row; got 30 and 3"):
        gn.MLPClassifier((2,)).fit(X, y, X_val=HELD, y_val=["no"] * 3)
    with pytest.raises(UsageError, match="partial_fit goes on with one network; n_starts=3"):
        gn.MLPClassifier((2,), n_starts=3).partial_fit(X, y, classes=["no", "yes"])
    with pytest.raises(UsageError, match="classes must be passed on the first call"):
        gn.MLPClassifier((2,)).partial_fit(X, y)
    with pytest.raises(ValueError, match=r"binary_cross_entropy takes targets that are numbers from 0 to 1; row"):
        gn.MLPRegressor("binary_cross_entropy", (2,)).fit(X, TARGETS["count"])
    with pytest.warns(RuntimeWarning, match="poisson takes targets of 0 or more; one is -"):
        gn.MLPRegressor("poisson", (2,), max_iter=2).fit(X, TARGETS["number"])
    with pytest.raises(ValueError, match=r"non-finite parameter weights.*Not finite in epoch"):
        gn.MLPRegressor(hidden_layer_sizes=(5,), solver="sgd", learning_rate_init=1e9).fit(X, TARGETS["number"])
    with pytest.warns(UserWarning, match="batch_size is at most the number of rows, 60; got 100"):
        gn.MLPClassifier((2,), batch_size=100, max_iter=2).fit(X, y)


def test_an_interrupted_training_keeps_what_it_has(capsys: pytest.CaptureFixture[str]) -> None:
    def stop(step: gn.Step) -> None:
        if step.epoch == 3:
            raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="Training interrupted by user"):
        model = gn.MLPClassifier((3,), callbacks=[stop], random_state=0, verbose=True).fit(X, TARGETS["binary"])
    assert model.n_iter_ == 3
    short = gn.MLPClassifier((3,), max_iter=3, random_state=0).fit(X, TARGETS["binary"])
    assert np.array_equal(after(model), after(short))
    assert capsys.readouterr().out.count("Iteration") == 3


@pytest.mark.parametrize("case", ["alone", "long calls", "several starts", "lbfgs"])
def test_ctrl_c_keeps_the_epochs_that_were_made(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from glassnet.kernels import compiled

    if case == "long calls":  # in a thread of their own, from which an interrupt calls the kernel back
        monkeypatch.setattr(compiled, "A_MOMENT", 0)
    rows = np.random.default_rng(0).normal(size=(2000, 20))
    y = (rows[:, 0] * rows[:, 1] > 0).astype(int)
    settings = {"hidden_layer_sizes": (60,), "random_state": 0, "n_iter_no_change": math.inf, "batch_size": 500}
    if case == "several starts":
        settings |= {"n_starts": 3, "combine": "average"}
    if case == "lbfgs":
        settings |= {"solver": "lbfgs", "tol": 0.0, "max_fun": 10**9, "alpha": 0.01}
        # It ends by itself after some hundred iterations, where rounding has it: with ten times the rows, in seconds.
        rows, y = np.tile(rows, (10, 1)), np.tile(y, 10)
    model = gn.MLPClassifier(**settings, max_iter=10**7)
    gn.MLPClassifier(**settings, max_iter=2).fit(rows, y)  # compiled
    timer = threading.Timer(0.5, lambda: signal.pthread_kill(threading.get_ident(), signal.SIGINT))  # wakes nobody
    timer.start()
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        model.fit(rows, y)
    timer.join()
    assert np.isfinite(vector(model)).all()
    made = len(model.loss_curve_)
    assert made == model.n_iter_ < 10**7
    if made and case != "several starts":  # of which any may have been kept
        short = gn.MLPClassifier(**settings, max_iter=made).fit(rows, y)
        assert short.loss_curve_[: made - 1] == model.loss_curve_[: made - 1]


def test_what_is_not_finite_during_early_stopping_is_said() -> None:
    model = gn.MLPRegressor(
        hidden_layer_sizes=(100,), activation="identity", solver="sgd", learning_rate_init=1, early_stopping=True,
        random_state=0, max_iter=20,
    )  # fmt: skip
    with pytest.warns(ConvergenceWarning, match=r"diverged in epoch \d+, \w+ being not finite first"):
        model.fit(X * 50, TARGETS["number"])
    assert math.isnan(model.validation_scores_[-1])
    assert np.isfinite(vector(model)).all()


def test_it_takes_no_more_threads_than_it_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    from glassnet.estimators.multilayer import allowed_threads

    monkeypatch.setattr("glassnet.estimators.multilayer.all_threads", lambda: 4)
    for asked, allowed in (("1", 1), ("3", 3), ("9", 4), ("", 4), ("0", 4), ("two", 4)):
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
        assert allowed_threads() == allowed
