"""The easy way: Keras 3 on jax. The notebook's very model, the same trained to the end, and ours put into Keras.

Keras's "accuracy" needs explaining. Of a model with one output it makes `BinaryAccuracy(threshold=0.5)`, and applies
the threshold to whatever the model puts out. The notebook's model puts out the logit o, so a row counts as class 1
where o > 0.5, that is where p = sigmoid(o) > 0.622; rows from p = 0.5 to 0.622 are counted as class 0. A model that
is sure of nothing yet is so scored at the share of class 0. `PeerResult.own_accuracy` is what Keras says, and
`PeerResult.accuracy` what the same model does at p > 0.5. (The notebook wrote `metrics="accuracy"`; Keras 3 wants a
list, `metrics=["accuracy"]`, and means the same by it.)
"""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from glassnet.errors import MissingExtraError, UsageError
from glassnet.expressions import function
from glassnet.losses import LINKS
from glassnet.network import FloatArray, Network, Parameters
from glassnet.optimizers import SGD, Adam, Optimizer, Schedule
from glassnet.peers import PeerResult, PeerRun, scored
from glassnet.randomness import Purpose, Stream
from glassnet.reference import checked_table, checked_targets

# [epoch][batch]: what picks the rows of a batch, an array of their numbers or a slice.
Orders = Sequence[Sequence[Any]]

# Trained to convergence: all rows at once, so that the loss falls evenly and its end can be told. A pass costs Keras
# most of its time in getting to the next; 20 handed over together cost little more than one.
_PASSES_TOGETHER = 20
_MOST_PASSES = 4000
_LEARNING_RATE = 0.1
_SMALLEST_GAIN = 1e-5  # in training loss per 20 passes; below it for 3 times 20 passes the training is at its end

_NAMES_IN_KERAS = {
    "identity": "linear",
    **{name: name for name in ("relu", "elu", "selu", "gelu", "silu", "softplus", "softsign", "tanh", "sigmoid")},
}


def as_in_the_notebook(
    X_train: ArrayLike, y_train: ArrayLike, X_test: ArrayLike, y_test: ArrayLike, *, random_state: int = 0
) -> PeerResult:
    """The notebook's model as written: 30 epochs of Adam(0.001) in batches of 32, scored on the test rows.

    `Normalization(axis=1)` adapted on the training rows, `Dense(2, relu)`, `Dense(1, linear)`,
    `BinaryCrossentropy(from_logits=True)`; X (n, 2) in any units, y (n, 1) or (n,) of 0 and 1. Keras draws start and
    shuffles, from `random_state`. `own_accuracy` is its own, see above.

    Raises `MissingExtraError` where Keras or jax is not installed.
    """
    keras = _keras()
    data = _rows(X_train, y_train, X_test, y_test)
    with _seeded(keras, random_state):
        begun = time.perf_counter()
        normalise, model = _notebook_model(keras, data[0], learning_rate=0.001)
        model.fit(np.asarray(normalise(data[0])), data[1], epochs=30, verbose=0)
        seconds = time.perf_counter() - begun
    return _scored("Keras, as in the notebook", normalise, model, data[2], data[3], seconds)


def to_convergence(
    X_train: ArrayLike, y_train: ArrayLike, X_test: ArrayLike, y_test: ArrayLike, *, random_state: int = 0
) -> PeerResult:
    """The notebook's model from the same start, trained until its training loss stands still; arguments as above.

    Adam(0.1) on all rows at once, until 60 passes have lowered the training loss by less than 1e-5. Where that is
    depends on the start: 2-2-1 networks have several resting places.
    """
    keras = _keras()
    data = _rows(X_train, y_train, X_test, y_test)
    with _seeded(keras, random_state):
        begun = time.perf_counter()
        normalise, model = _notebook_model(keras, data[0], _LEARNING_RATE, steps_per_execution=_PASSES_TOGETHER)
        at_rest = keras.callbacks.EarlyStopping(monitor="loss", min_delta=_SMALLEST_GAIN, patience=3)
        _fit_in_order(
            keras,
            model,
            np.asarray(normalise(data[0])),
            data[1],
            [[slice(None)] * _PASSES_TOGETHER],
            epochs=_MOST_PASSES // _PASSES_TOGETHER,
            callbacks=[at_rest],
        )
        seconds = time.perf_counter() - begun
    return _scored("Keras, to convergence", normalise, model, data[2], data[3], seconds)


def train_like(
    network: Network,
    parameters: Parameters,
    X: ArrayLike,
    y: ArrayLike,
    *,
    optimizer: Optimizer,
    epochs: int = 100,
    batch_size: int | None = None,
    random_state: int = 0,
) -> PeerRun:
    """Train the same network in Keras: our `parameters` put in, our batches in our order; arguments as `gn.train`.

    Keras computes in the dtype of X. With float64 its loss still has seven digits, because its mean over a row's
    outputs is taken in float32; with float32 the rounding of the parameters comes on top.

    Keras's SGD takes our steps, with momentum and Nesterov's too. Its Adam adds epsilon to the root of v before v is
    corrected for its start at zero, ours (and the paper's algorithm 1) after: at step t Keras's epsilon counts as
    epsilon / sqrt(1 - beta_2^t), 32 times ours at the first. Gradients of 0.01 make that a difference of 3e-5 in the
    first step, and of less in those that follow. Keras's own default, 1e-7, is replaced by `optimizer.epsilon`. At
    z = 0 exactly the derivative of leaky_relu is 0.01 here and 1 in Keras.

    Raises `UsageError` for what Keras has not, or has otherwise: optimisers but SGD and Adam, schedules, the losses
    poisson and quantile; `MissingExtraError` where Keras or jax is not installed.
    """
    keras = _keras()
    X = checked_table(network, X)
    y = checked_targets(network, y, len(X), X.dtype)
    n = len(X)
    orders = _orders(n, epochs, batch_size, random_state)
    with _precision(keras, X.dtype):
        layers = [keras.Input((network.n_features,))]
        for units, activation in zip(network.sizes[1:], network.activations, strict=True):
            layers.append(keras.layers.Dense(units, activation=_activation(keras, activation)))
        model = keras.Sequential(layers)
        model.compile(loss=_loss(keras, network), optimizer=_optimizer(keras, optimizer))
        model.set_weights([part for pair in zip(parameters.weights, parameters.biases, strict=True) for part in pair])
        before = model.evaluate(X, y, batch_size=n, verbose=0)
        # A loss of Keras's own history is the mean over the batches of an epoch, each before its update. The loss over
        # all rows after the epoch, which says more, it takes of validation data, and these may be the training rows.
        fitted = _fit_in_order(
            keras, model, X, y, orders, epochs=epochs, validation_data=(X, y), validation_batch_size=n
        )
        numbers = [np.asarray(variable.value) for variable in model.weights]
    trained = Parameters.from_layers(network, numbers[0::2], numbers[1::2], X.dtype)
    return PeerRun(np.array([before, *fitted.history.get("val_loss", ())]), trained)


# --- Keras itself -------------------------------------------------------------------------------------------------


def _keras() -> Any:
    """Keras on jax, imported when first asked for."""
    chosen = os.environ.get("KERAS_BACKEND")
    os.environ["KERAS_BACKEND"] = "jax"  # read once, while Keras is imported
    try:
        import jax  # noqa: F401  # Keras would name it less clearly
        import keras
    except ImportError as problem:
        raise MissingExtraError(
            f"Comparing with Keras needs keras and jax; {problem.name} is not installed. "
            "Install both with: pip install 'glassnet[peers]'"
        ) from problem
    finally:
        if chosen is None:
            del os.environ["KERAS_BACKEND"]
        else:
            os.environ["KERAS_BACKEND"] = chosen
    if keras.backend.backend() != "jax":
        raise UsageError(
            f"glassnet compares with Keras on jax; here Keras is already loaded on {keras.backend.backend()}. "
            "Compare in a Python that has not imported it, or set KERAS_BACKEND=jax before it does."
        )
    return keras


@contextmanager
def _seeded(keras: Any, seed: int) -> Iterator[None]:
    """Keras's random numbers from `seed`; Python's and NumPy's, which Keras seeds too, are put back after."""
    of_python, of_numpy = random.getstate(), np.random.get_state()
    keras.utils.set_random_seed(seed)
    try:
        yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)


@contextmanager
def _precision(keras: Any, dtype: Any) -> Iterator[None]:
    """Layers, optimiser and metrics in `dtype`: jax knows no float64 unless told, and Keras's default is float32."""
    import jax

    # The policy is made of floatx when first asked for, and then no longer follows it.
    usual, usual_policy = keras.config.floatx(), keras.config.dtype_policy()
    name = np.dtype(dtype).name
    keras.config.set_floatx(name)
    keras.config.set_dtype_policy(name)
    try:
        with jax.enable_x64(True):
            yield
    finally:
        keras.config.set_floatx(usual)
        keras.config.set_dtype_policy(usual_policy)


def _fit_in_order(keras: Any, model: Any, X: FloatArray, y: FloatArray, orders: Orders, **settings: Any) -> Any:
    """`model.fit` on batches in a given order; `orders` begins anew where Keras makes more epochs than it has."""

    class Batches(keras.utils.PyDataset):  # type: ignore[misc]
        epoch = 0

        def __len__(self) -> int:
            return len(orders[0])

        def __getitem__(self, batch: int) -> tuple[FloatArray, FloatArray]:
            rows = orders[self.epoch % len(orders)][batch]
            return X[rows], y[rows]

        def turn_to(self, epoch: int, logs: object) -> None:
            self.epoch = epoch

    batches = Batches()
    # A data set has a hook for the end of an epoch, but Keras calls it once more, before the first.
    turning = keras.callbacks.LambdaCallback(on_epoch_begin=batches.turn_to)
    callbacks = [turning, *settings.pop("callbacks", ())]
    return model.fit(batches, shuffle=False, callbacks=callbacks, verbose=0, **settings)


# --- the notebook's model -----------------------------------------------------------------------------------------


def _rows(
    X_train: ArrayLike, y_train: ArrayLike, X_test: ArrayLike, y_test: ArrayLike
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """float32, which Keras makes of everything, and targets as a column."""
    X, y = [np.asarray(part, np.float32) for part in (X_train, X_test)], [np.asarray(y_train), np.asarray(y_test)]
    return X[0], y[0].reshape(-1, 1).astype(np.float32), X[1], y[1].reshape(-1, 1).astype(np.float32)


def _notebook_model(keras: Any, X: FloatArray, learning_rate: float, **settings: Any) -> tuple[Any, Any]:
    normalise = keras.layers.Normalization(axis=1)
    normalise.adapt(X)
    model = keras.Sequential(
        [
            keras.layers.Dense(units=2, activation="relu"),
            keras.layers.Dense(units=1, activation="linear"),
        ]
    )
    model.compile(
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        optimizer=keras.optimizers.Adam(learning_rate=learning_rate),
        metrics=["accuracy"],
        **settings,
    )
    return normalise, model


def _scored(name: str, normalise: Any, model: Any, X: FloatArray, y: FloatArray, seconds: float) -> PeerResult:
    X = np.asarray(normalise(X))
    logits = model.predict(X, batch_size=len(X), verbose=0).astype(np.float64)
    own_accuracy = model.evaluate(X, y, batch_size=len(X), verbose=0)[1]
    note = (
        f"Keras's own accuracy counts class 1 where the logit is above 0.5, that is p > {1 / (1 + math.exp(-0.5)):.3f}"
    )
    probabilities = function(LINKS["sigmoid"].value, ("o",))(logits)
    return scored(name, y, probabilities, seconds, own_accuracy, note)


# --- our network in Keras's words ---------------------------------------------------------------------------------


def _orders(n: int, epochs: int, batch_size: int | None, random_state: int) -> Orders:
    """The rows of every batch of every epoch, as `gn.train` takes them."""
    if batch_size is None or batch_size >= n:
        return [[slice(None)]]
    orders = []
    for epoch in range(1, epochs + 1):
        order = Stream(random_state, Purpose.SHUFFLE, epoch=epoch).permutation(n)
        orders.append([order[start : start + batch_size] for start in range(0, n, batch_size)])
    return orders


def _activation(keras: Any, name: str) -> Any:
    if name == "leaky_relu":
        return partial(keras.activations.leaky_relu, negative_slope=0.01)  # Keras's own slope is 0.2
    return _NAMES_IN_KERAS[name]


def _loss(keras: Any, network: Network) -> Any:
    row, losses = network.loss_row, keras.losses
    match row.name:
        case "binary_cross_entropy":
            return losses.BinaryCrossentropy(from_logits=True)
        case "cross_entropy":
            return losses.CategoricalCrossentropy(from_logits=True)
        case "mean_squared_error":
            return losses.MeanSquaredError()
        case "mean_absolute_error":
            return losses.MeanAbsoluteError()
        case "huber":
            return losses.Huber(delta=row.parameter)
    raise UsageError(
        "Keras has the losses binary_cross_entropy, cross_entropy, mean_squared_error, mean_absolute_error and huber "
        f"in common with glassnet; {network.loss} it has not, or not from logits."
    )


def _optimizer(keras: Any, optimizer: Optimizer) -> Any:
    if type(optimizer) not in (SGD, Adam):  # AdamW is an Adam too, with a decay that Keras applies to biases as well
        raise UsageError(f"With Keras SGD and Adam are compared; got {optimizer!r}.")
    rate = optimizer.learning_rate
    if isinstance(rate, Schedule):
        raise UsageError(f"With Keras a fixed learning rate is compared; got {rate!r}.")
    if isinstance(optimizer, SGD):
        return keras.optimizers.SGD(rate, momentum=optimizer.momentum, nesterov=optimizer.nesterov)
    return keras.optimizers.Adam(rate, **optimizer.settings)
