"""The peers: Keras's curves beside ours, what Keras's accuracy is, logistic regression; none unless it is asked for."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose

from glassnet import datasets
from glassnet.activations import ACTIVATIONS
from glassnet.errors import MissingExtraError, UsageError
from glassnet.network import Network, initialize
from glassnet.optimizers import LBFGS, SGD, Adam, AdamW, Cosine, RMSprop
from glassnet.peers import PeerResult, scored
from glassnet.peers import keras as keras_peer
from glassnet.peers.sklearn import logistic_regression
from glassnet.training import train


@pytest.fixture(scope="module")
def tumors():
    """(X_train, y_train, X_test, y_test), in the columns' own units."""
    data = datasets.tumors()
    order = np.random.default_rng(0).permutation(len(data.X))
    test, rest = order[:114], order[114:]
    return data.X[rest], data.y[rest], data.X[test], data.y[test]


def scaled(X):
    return (X - X.mean(axis=0)) / np.where(X.std(axis=0) > 0, X.std(axis=0), 1)


# --- our parameters and batches put into Keras --------------------------------------------------------------------


def assert_same_curve(network, X, y, *, optimizer, epochs, rtol=1e-5, **settings):
    """Keras and `train`, from one start through the same batches: losses equal to relative `rtol` at every epoch."""
    start = initialize(network, 0)
    theirs = keras_peer.train_like(network, start, X, y, optimizer=optimizer, epochs=epochs, **settings)
    # Held out, the training rows are looked at after every epoch, whatever the batches.
    ours = train(network, X, y, optimizer=optimizer, epochs=epochs, parameters=start, held_out=(X, y), **settings)
    curve = ours.history.held_out_loss
    assert theirs.losses.shape == curve.shape == (epochs + 1,)
    assert_allclose(theirs.losses, curve, rtol=rtol)
    assert theirs.parameters.vector.dtype == ours.parameters.vector.dtype
    assert curve[-1] < 0.9 * curve[0]  # what stands still agrees with everything
    return theirs, ours


def test_notebook_network_on_tumors(tumors):
    X, y = scaled(tumors[0]), tumors[1]
    net = Network((2, 2, 1), "relu", "binary_cross_entropy")
    theirs, ours = assert_same_curve(net, X, y, optimizer=SGD(0.1), epochs=100, rtol=1e-6)
    # Keras's float32 mean leaves 1e-7 in every gradient.
    assert_allclose(theirs.parameters.vector, ours.parameters.vector, rtol=1e-5, atol=1e-5)


def test_softmax_on_digits():
    from sklearn.datasets import load_digits

    digits = load_digits()
    X, y = scaled(digits.data[:600]), np.eye(10)[digits.target[:600]]  # a third of them, for time
    net = Network((64, 16, 10), "tanh", "cross_entropy")
    # 3 batches an epoch, the last of 88 rows: its size and the order of the rows count.
    assert_same_curve(net, X, y, optimizer=SGD(0.1), epochs=100, batch_size=256, random_state=7)


def test_regression_by_adam():
    from sklearn.datasets import load_diabetes

    X, y = load_diabetes(return_X_y=True)
    net = Network((10, 8, 1), "softplus", "mean_squared_error")
    assert_same_curve(net, scaled(X), scaled(y), optimizer=Adam(0.01), epochs=100)


def test_float32_stays_float32(tumors):
    X, y = scaled(tumors[0]).astype(np.float32), tumors[1]
    net = Network((2, 2, 1), "relu", "binary_cross_entropy")
    theirs, _ = assert_same_curve(net, X, y, optimizer=SGD(0.1, momentum=0.9, nesterov=True), epochs=5, batch_size=128)
    assert theirs.parameters.vector.dtype == np.float32


@pytest.mark.parametrize(
    ("loss", "activations"), [("huber(0.5)", tuple(ACTIVATIONS)), ("mean_absolute_error", ("tanh",))]
)
def test_every_activation_and_two_outputs(loss, activations):
    draw = np.random.default_rng(1)
    X = draw.normal(size=(64, 3))
    y = X @ draw.normal(size=(3, 2))
    net = Network((3, *[6] * len(activations), 2), activations, loss)
    # Drawn biases, so that no z is 0 exactly: at its kink leaky_relu's derivative is 0.01 here and 1 in Keras.
    start = initialize(net, 0, "standard_normal")
    start.vector *= 0.5
    # Short, for the derivative of |o - y| jumps: one row on another side of its target and the two part.
    theirs = keras_peer.train_like(net, start, X, y, optimizer=SGD(0.05), epochs=3)
    ours = train(net, X, y, optimizer=SGD(0.05), epochs=3, parameters=start)
    assert_allclose(theirs.losses, ours.history.loss, rtol=1e-5)
    moved = np.abs(ours.parameters.vector - start.vector).max()
    assert_allclose(theirs.parameters.vector, ours.parameters.vector, atol=1e-5 * moved)


def test_another_batch_order_would_be_seen(tumors):
    X, y = scaled(tumors[0]), tumors[1]
    net, start = Network((2, 2, 1)), initialize(Network((2, 2, 1)), 0)
    settings = {"optimizer": SGD(0.1), "epochs": 2, "batch_size": 64}
    ours = train(net, X, y, parameters=start, random_state=0, **settings)
    theirs = keras_peer.train_like(net, start, X, y, random_state=1, **settings)
    with pytest.raises(AssertionError):
        assert_allclose(theirs.losses, ours.history.loss, rtol=1e-5)


@pytest.mark.parametrize(
    ("loss", "optimizer", "message"),
    [
        ("quantile(0.9)", SGD(0.1), r"quantile\(0.9\) it has not"),
        ("poisson", SGD(0.1), "poisson it has not"),
        ("mean_squared_error", RMSprop(), "SGD and Adam are compared; got RMSprop"),
        ("mean_squared_error", AdamW(), "SGD and Adam are compared; got AdamW"),
        ("mean_squared_error", LBFGS(), "SGD and Adam are compared; got LBFGS"),
        ("mean_squared_error", SGD(Cosine(0.1)), "fixed learning rate"),
    ],
)
def test_what_keras_has_otherwise_is_refused(loss, optimizer, message):
    net = Network((1, 1), loss=loss)
    with pytest.raises(UsageError, match=message):
        keras_peer.train_like(net, initialize(net), [[1.0]], [1.0], optimizer=optimizer)


# --- the notebook's model -----------------------------------------------------------------------------------------


def test_keras_accuracy_puts_its_threshold_on_the_logit():
    keras = keras_peer._keras()
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, activation="linear")])
    model.compile(loss=keras.losses.BinaryCrossentropy(from_logits=True), metrics=["accuracy"])
    model.set_weights([np.ones((1, 1)), np.zeros(1)])
    logits = np.array([[-1.0], [0.1], [0.49], [0.51], [2.0]])  # p = .27 .52 .62 .62 .88, all but one above .5
    accuracy = model.evaluate(logits, np.ones((5, 1)), verbose=0)[1]
    assert accuracy == pytest.approx(2 / 5)  # float32


def test_the_notebooks_model_as_written_and_to_convergence(tumors):
    random.seed(5)
    np.random.seed(5)
    as_written, again = (keras_peer.as_in_the_notebook(*tumors) for _ in range(2))
    converged = keras_peer.to_convergence(*tumors)
    drawn = random.random(), np.random.random()
    random.seed(5)
    np.random.seed(5)
    assert drawn == (random.random(), np.random.random())  # seeding Keras took nobody else's numbers
    assert as_written.log_loss == again.log_loss
    for result in (as_written, converged):
        assert isinstance(result, PeerResult)
        assert "p > 0.622" in result.note
        assert result.own_accuracy is not None
        # A share of the 114 test rows, as Keras's float32 gives it.
        assert result.own_accuracy * 114 == pytest.approx(round(result.own_accuracy * 114), abs=1e-4)
        assert 0 < result.seconds < 60
    # Thirty epochs of Adam(0.001) leave it far from done, wherever it began; at rest it is about as good as this gets.
    assert converged.log_loss < as_written.log_loss
    assert converged.accuracy > 0.85
    assert converged.auc > 0.92


# --- no peer where none is asked for ------------------------------------------------------------------------------


def test_a_missing_keras_names_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(MissingExtraError, match=r"keras is not installed.*pip install 'glassnet\[peers\]'"):
        keras_peer.as_in_the_notebook([[1.0, 2.0]], [1], [[1.0, 2.0]], [1])


def test_keras_on_another_backend_is_refused(monkeypatch):
    keras = keras_peer._keras()
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(UsageError, match="already loaded on torch"):
        keras_peer._keras()


@pytest.mark.parametrize("chosen", [None, "torch"])
def test_the_environment_is_left_as_it_was(monkeypatch, chosen):
    if chosen is None:
        monkeypatch.delenv("KERAS_BACKEND", raising=False)
    else:
        monkeypatch.setenv("KERAS_BACKEND", chosen)
    assert keras_peer._keras().backend.backend() == "jax"
    assert os.environ.get("KERAS_BACKEND") == chosen


def test_importing_the_rooms_imports_no_peer():
    program = "import glassnet.peers.keras, glassnet.peers.sklearn, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"keras", "jax", "sklearn"} & set(loaded)


# --- the baseline -------------------------------------------------------------------------------------------------


def test_logistic_regression_is_scikit_learns(tumors):
    from sklearn import metrics
    from sklearn.linear_model import LogisticRegression

    X_train, y_train, X_test, y_test = tumors
    center, scale = X_train.mean(axis=0), X_train.std(axis=0)
    model = LogisticRegression().fit((X_train - center) / scale, y_train[:, 0])
    p = model.predict_proba((X_test - center) / scale)[:, 1]
    result = logistic_regression(*tumors)
    # The same computation, but for the rounding of the scaler's mean.
    assert result.auc == pytest.approx(metrics.roc_auc_score(y_test[:, 0], p), rel=1e-12)
    assert result.log_loss == pytest.approx(metrics.log_loss(y_test[:, 0], p), rel=1e-7)
    assert result.accuracy == pytest.approx(metrics.accuracy_score(y_test[:, 0], p > 0.5), rel=1e-12)
    assert result.f1 == pytest.approx(metrics.f1_score(y_test[:, 0], p > 0.5), rel=1e-12)
    assert result.own_accuracy is None


def test_a_score_is_taken_above_one_half():
    result = scored("x", [[1], [0], [1], [0]], [[0.51], [0.5], [0.6], [0.2]], seconds=1.5)
    assert (result.accuracy, result.f1, result.auc, result.seconds) == (1.0, 1.0, 1.0, 1.5)
