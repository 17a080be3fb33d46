"""Those who race. Each trains the same networks on the same rows, from the same starts, in the same order of rows.

What is timed is `train` alone: from arrays that the library holds already to the trained parameters as a NumPy array.
Building a model, putting the start in, an optimiser's zeros and the orders of rows are made ready before, untimed,
except for glassnet, scikit-learn and the first of the two kinds of Keras. `gn.train` and `fit` are timed whole, with
their checks. glassnet also draws its orders of rows, and takes the loss over all rows: after every epoch where a batch
is all rows, else of populations alone, before the first epoch and after the last. Of the others only the notebook's
class takes one, after every epoch, and prints it (into nothing here); `fit` takes none, and its curve is its own
`loss_curve_`.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import pkgutil
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from race.figures import layers, losses
from race.jobs import Job

Watch = Callable[[np.ndarray], None]


def flat(parts: Any) -> np.ndarray:
    """One vector of W1, b1, W2, b2, ..."""
    return np.concatenate([np.ravel(part) for part in parts])


class Contender:
    """One library and one job. `train` trains once from the start, to vectors (networks, n_parameters)."""

    peer: str
    title: str
    title_of_many = ""
    modules: tuple[str, ...] = ()
    optimizers: tuple[str, ...] = ("sgd", "adam", "adamw")  # in whose steps it goes: there its losses are compared

    @classmethod
    def load(cls) -> None:
        """Import everything that `train` will need."""
        for name in cls.modules:
            importlib.import_module(name)

    def __init__(self, job: Job, threads: int) -> None:
        self.job, self.threads = job, threads
        self.watch: Watch | None = None

    @staticmethod
    def more_passes(job: Job) -> int:
        """Passes over all rows for their loss, besides those of the updates."""
        return 0

    def reset(self) -> None:
        """Back to the start, where a library keeps what it trained."""

    def train(self) -> np.ndarray:
        raise NotImplementedError

    def curve(self) -> np.ndarray:
        """Losses over all rows (networks, epochs + 1): of the parameters that an untimed training had on its way."""
        job = self.job
        path = [job.starts]
        self.watch = lambda vectors: path.append(np.array(vectors).reshape(job.starts.shape))
        self.reset()
        self.train()
        self.watch = None
        judged = [losses(vectors, job.sizes, job.X, job.y, job.activation, job.loss) for vectors in path]
        return np.stack(judged, axis=1)


class Glassnet(Contender):
    peer, title = "glassnet", "glassnet"
    modules = ("glassnet", "glassnet.training", "glassnet.populations")

    @classmethod
    def load(cls) -> None:
        super().load()
        # What an engine imports when it is first used belongs to the imports, as with everyone else.
        kernels = importlib.import_module("glassnet.kernels")
        for found in pkgutil.iter_modules(kernels.__path__, "glassnet.kernels."):
            importlib.import_module(found.name)

    def __init__(self, job: Job, threads: int) -> None:
        super().__init__(job, threads)
        import glassnet as gn

        self.network = gn.Network(job.sizes, job.activation, job.loss)
        rule = {"sgd": gn.SGD, "adam": gn.Adam, "adamw": partial(gn.AdamW, weight_decay=job.weight_decay)}
        self.settings: dict[str, Any] = {
            "optimizer": rule[job.optimizer](learning_rate=job.learning_rate),
            "epochs": job.epochs,
            "batch_size": job.batch_size,
            "random_state": job.random_state,
        }
        many = len(job.starts) > 1
        if many:
            self.settings["size"] = len(job.starts)
        self.settings["parameters"] = gn.Parameters(self.network, job.starts if many else job.starts[0])
        self.call = with_engine(gn.train_population if many else gn.train, threads)

    @staticmethod
    def more_passes(job: Job) -> int:
        if len(job.starts) > 1 and job.batch_size is not None:
            return 2
        return 0 if job.batch_size is not None and job.loss.endswith("cross_entropy") else 1

    def run(self) -> Any:
        return self.call(self.network, self.job.X, self.job.y, **self.settings)

    def train(self) -> np.ndarray:
        return self.run().parameters.vector.reshape(self.job.starts.shape)

    def curve(self) -> np.ndarray:
        """What glassnet itself says: the others are judged by `figures.losses`, and the two are compared.

        With batches its history has the means of theirs, so the rows are held out as well, and network for network.
        """
        import glassnet as gn

        X, y, settings = self.job.X, self.job.y, dict(self.settings)
        if self.job.batch_size is None:
            run = self.run()
            return np.asarray(run.losses if "size" in settings else run.history.loss[np.newaxis])
        for name in ("size", "parameters"):
            settings.pop(name, None)
        train = with_engine(gn.train, self.threads)
        runs = [
            train(
                self.network, X, y, parameters=gn.Parameters(self.network, vector), start=k, held_out=(X, y), **settings
            )
            for k, vector in enumerate(self.job.starts)
        ]
        return np.stack([np.asarray(run.history.held_out_loss) for run in runs])


def with_engine(call: Callable[..., Any], threads: int = 1) -> Callable[..., Any]:
    """The one place that names the engine which races, and its threads, where there is a choice."""
    chosen = {"engine": "compiled", "threads": threads}
    known = inspect.signature(call).parameters
    return partial(call, **{name: value for name, value in chosen.items() if name in known})


class Notebook(Contender):
    """The notebook's way: NumPy's scalars one by one, a dict per row; cost and accuracy printed every epoch."""

    peer, title = "notebook", "the notebook's class"

    def reset(self) -> None:
        numbers = self.job.starts[0]  # NumPy's scalars, as np.random.randn gives them
        self.w11, self.w13, self.w12, self.w14, self.b11, self.b12, self.w21, self.w22, self.b2 = numbers

    def forward(self, x1: Any, x2: Any) -> dict[str, Any]:
        values = {}
        values["z11"] = self.w11 * x1 + self.w12 * x2 + self.b11
        values["z12"] = self.w13 * x1 + self.w14 * x2 + self.b12
        values["a11"] = np.maximum(values["z11"], 0)
        values["a12"] = np.maximum(values["z12"], 0)
        values["z2"] = self.w21 * values["a11"] + self.w22 * values["a12"] + self.b2
        values["a2"] = 1 / (1 + np.exp(-values["z2"]))
        return values

    def backward(self, x1: Any, x2: Any, y: Any, values: dict[str, Any]) -> dict[str, Any]:
        gradients = {}
        error = values["a2"] - y
        gradients["w21"] = values["a11"] * error
        gradients["w22"] = values["a12"] * error
        gradients["b2"] = error
        delta11 = (1 if values["z11"] > 0 else 0) * self.w21 * error
        delta12 = (1 if values["z12"] > 0 else 0) * self.w22 * error
        gradients["w11"] = x1 * delta11
        gradients["w12"] = x2 * delta11
        gradients["b11"] = delta11
        gradients["w13"] = x1 * delta12
        gradients["w14"] = x2 * delta12
        gradients["b12"] = delta12
        return gradients

    def accuracy_and_cost(self, X: np.ndarray, y: np.ndarray) -> tuple[float, float]:
        right, cost = 0, 0
        for row in range(len(X)):
            x1, x2 = X[row]
            p = self.forward(x1, x2)["a2"]
            if (1 if p > 0.5 else 0) == y[row][0]:
                right += 1
            cost += -(y[row][0] * np.log(p) + (1 - y[row][0]) * np.log(1 - p))
        return right / len(X), cost

    def train(self) -> np.ndarray:
        X, y, n = self.job.X, self.job.y, len(self.job.X)
        names = ("w11", "w13", "w12", "w14", "b11", "b12", "w21", "w22", "b2")
        with contextlib.redirect_stdout(io.StringIO()):
            for epoch in range(1, self.job.epochs + 1):
                w11 = w12 = b11 = w13 = w14 = b12 = w21 = w22 = b2 = 0
                for row in range(n):
                    x1, x2 = X[row]
                    values = self.forward(x1, x2)
                    gradients = self.backward(x1, x2, y[row][0], values)
                    w21 += gradients["w21"]
                    w22 += gradients["w22"]
                    b2 += gradients["b2"]
                    w11 += gradients["w11"]
                    w12 += gradients["w12"]
                    b11 += gradients["b11"]
                    w13 += gradients["w13"]
                    w14 += gradients["w14"]
                    b12 += gradients["b12"]
                rate = self.job.learning_rate * (1 / n)
                self.w21 -= rate * w21
                self.w22 -= rate * w22
                self.b2 -= rate * b2
                self.w11 -= rate * w11
                self.w12 -= rate * w12
                self.b11 -= rate * b11
                self.w13 -= rate * w13
                self.w14 -= rate * w14
                self.b12 -= rate * b12
                accuracy, cost = self.accuracy_and_cost(X, y)
                print(f"epoch: {epoch}, cost: {cost:.2f}, accuracy: {accuracy * 100:.2f}%")
                if self.watch:
                    self.watch(np.array([getattr(self, name) for name in names]))
        return np.array([[getattr(self, name) for name in names]])


class ScikitLearn(Contender):
    """One call of `MLPClassifier.fit`. Its start and its orders of rows are handed in from below.

    Its Adam folds both corrections into the rate and adds epsilon to the root of v as it is: at step t its epsilon
    counts as epsilon / sqrt(1 - beta_2^t), 32 times ours at the first. It has no AdamW, and races with Adam there.
    """

    peer, title = "scikit-learn", "scikit-learn"
    modules = ("sklearn.neural_network",)
    optimizers = ("sgd", "adam")

    def __init__(self, job: Job, threads: int) -> None:
        super().__init__(job, threads)
        from sklearn.neural_network import MLPClassifier

        here = self

        class FromOurStart(MLPClassifier):
            def _initialize(self, y: Any, layer_units: Any, dtype: Any) -> None:
                super()._initialize(y, layer_units, dtype)
                parts = layers(job.starts[0].copy(), job.sizes)
                self.coefs_, self.intercepts_ = [list(part) for part in zip(*parts, strict=True)]

        class InOurOrder(np.random.RandomState):
            """Asked for an order once an epoch; what it is handed is the one before, shuffled further."""

            def shuffle(self, indices: np.ndarray) -> None:
                here.turn()
                indices[:] = here.shuffles[here.epoch]
                here.epoch += 1

        self.new_model = lambda: FromOurStart(
            job.sizes[1:-1],
            activation=job.activation,
            solver="sgd" if job.optimizer == "sgd" else "adam",
            alpha=0,
            batch_size=job.batch_size or len(job.X),
            learning_rate_init=job.learning_rate,
            max_iter=job.epochs,
            shuffle=job.orders is not None or here.watch is not None,
            random_state=InOurOrder(0),
            tol=0,
            momentum=0,
            nesterovs_momentum=False,
            n_iter_no_change=job.epochs + 1,
        )
        in_turn = np.arange(len(job.X))
        if job.orders is None:
            self.shuffles = [in_turn] * job.epochs
        else:
            # Orders that, applied one to the other, come to ours.
            before = [in_turn, *job.orders[0][:-1]]
            self.shuffles = [np.argsort(a)[b] for a, b in zip(before, job.orders[0], strict=True)]
        self.targets = job.y.argmax(axis=1) if job.loss == "cross_entropy" else job.y[:, 0]

    def reset(self) -> None:
        self.epoch, self.model = 0, self.new_model()

    def turn(self) -> None:
        if self.watch and self.epoch:
            self.watch(self.vector())

    def vector(self) -> np.ndarray:
        pairs = zip(self.model.coefs_, self.model.intercepts_, strict=True)
        return flat(part for pair in pairs for part in pair)

    def train(self) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has not converged, it says
            self.model.fit(self.job.X, self.targets)
        if self.watch:
            self.watch(self.vector())
        return self.vector()[np.newaxis]


class Fit(Contender):
    """`MLPClassifier(...).fit` of several classes, as anyone calls it. Its random_state gives both libraries' the same
    start and orders; penalties and all that is not said are its defaults."""

    source = ""

    def __init__(self, job: Job, threads: int) -> None:
        super().__init__(job, threads)
        self.kind = importlib.import_module(self.source).MLPClassifier
        self.labels = job.y.argmax(axis=1)
        self.settings = {
            "hidden_layer_sizes": job.sizes[1:-1],
            "activation": job.activation,
            "solver": job.optimizer,
            "batch_size": job.batch_size,
            "learning_rate_init": job.learning_rate,
            "max_iter": job.epochs,
            "random_state": job.random_state,
        }

    def fit(self) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has not converged, it says
            return self.kind(**self.settings).fit(self.job.X, self.labels)

    def train(self) -> np.ndarray:
        model = self.fit()
        pairs = zip(model.coefs_, model.intercepts_, strict=True)
        return flat(part for pair in pairs for part in pair)[np.newaxis]

    def curve(self) -> np.ndarray:
        """The means of the losses of each epoch's batches, as the class itself has them."""
        return np.array([self.fit().loss_curve_])


class GlassnetFit(Fit):
    peer, title, source = "glassnet", "glassnet's MLPClassifier", "glassnet"
    modules = ("glassnet", "glassnet.estimators")


class ScikitLearnFit(Fit):
    peer, title, source = "scikit-learn", "scikit-learn's MLPClassifier", "sklearn.neural_network"
    modules = ("sklearn.neural_network",)


class Torch(Contender):
    """Eager: a loop over epochs and batches. The rows are put in order once an epoch, which is quickest."""

    peer, title = "torch", "torch, eager"
    modules = ("torch",)
    fused = False

    def __init__(self, job: Job, threads: int) -> None:
        super().__init__(job, threads)
        import torch

        torch.set_num_threads(threads)
        self.torch = torch
        self.X, self.y = torch.from_numpy(job.X), torch.from_numpy(job.y)
        if job.loss == "cross_entropy":
            self.y = self.y.argmax(1)  # labels, which is quicker than one-hot
        self.orders = None if job.orders is None else torch.from_numpy(job.orders[0].astype(np.int64))

    def reset(self) -> None:
        torch, job = self.torch, self.job
        modules: list[Any] = []
        for W, b in layers(job.starts[0], job.sizes):
            linear = torch.nn.Linear(*W.shape, dtype=self.X.dtype)
            with torch.no_grad():
                linear.weight.copy_(torch.from_numpy(W.T.copy()))
                linear.bias.copy_(torch.from_numpy(b.copy()))
            modules += [linear, {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh}[job.activation]()]
        self.model = torch.nn.Sequential(*modules[:-1])
        rule = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[job.optimizer]
        groups: Any = self.model.parameters()
        if job.optimizer == "adamw":
            parts = list(groups)
            groups = [
                {"params": [part for part in parts if part.ndim == ndim], "weight_decay": decay}
                for ndim, decay in ((2, job.weight_decay), (1, 0.0))
            ]
        self.optimizer = rule(groups, lr=job.learning_rate, fused=self.fused)

    def vector(self) -> np.ndarray:
        return flat(part.detach().numpy().T for part in self.model.parameters())

    def train(self) -> np.ndarray:
        model, optimizer, X, y = self.model, self.optimizer, self.X, self.y
        functional = self.torch.nn.functional
        loss = {
            "binary_cross_entropy": functional.binary_cross_entropy_with_logits,
            "cross_entropy": functional.cross_entropy,
            "mean_squared_error": functional.mse_loss,
        }[self.job.loss]
        batches = [(X, y)]
        for epoch in range(self.job.epochs):
            if self.orders is not None:
                order = self.orders[epoch]
                batches = zip(X[order].split(self.job.batch_size), y[order].split(self.job.batch_size), strict=True)
            for rows, targets in batches:
                optimizer.zero_grad()
                loss(model(rows), targets).backward()
                optimizer.step()
            if self.watch:
                self.watch(self.vector())
        return self.vector()[np.newaxis]


class TorchFused(Torch):
    title = "torch, fused Adam"
    fused = True


class Jax(Contender):
    """The whole run in one jitted call: a scan over epochs, in it one over batches; several networks by vmap.

    A batch's rows are fetched when its turn comes, which is quicker here than to put all in order once an epoch.
    """

    peer, title, title_of_many = "jax", "jax, whole run jitted", "jax, jitted, vmap"
    modules = ("jax", "jax.numpy")

    def __init__(self, job: Job, threads: int) -> None:
        super().__init__(job, threads)
        import jax
        import jax.numpy as jnp

        self.jax = jax
        many = len(job.starts) > 1
        X, y = jnp.asarray(job.X), jnp.asarray(job.y)
        n, size, rate = len(job.X), job.batch_size, job.learning_rate
        zip_with = jax.tree.map
        activation = {"relu": jax.nn.relu, "tanh": jnp.tanh}[job.activation]
        # The mean's derivative by each logit, times their number.
        derivative = {
            "binary_cross_entropy": lambda o, y: jax.nn.sigmoid(o) - y,
            "cross_entropy": lambda o, y: (jax.nn.softmax(o) - y) * job.sizes[-1],
            "mean_squared_error": lambda o, y: 2 * (o - y),
        }[job.loss]

        def surrogate(parameters: Any, rows: Any, targets: Any) -> Any:
            for layer, (W, b) in enumerate(parameters):
                rows = (activation(rows) if layer else rows) @ W + b
            # Not the loss, but its gradient is; 30 % quicker than to derive jax.nn.softplus. The usual form of the
            # cross-entropy with |o| is as quick, but jax derives it wrongly at o = 0, where a network of dead units
            # begins.
            return jnp.mean(jax.lax.stop_gradient(derivative(rows, targets)) * rows)

        def updated(state: Any, rows: Any, targets: Any) -> Any:
            parameters, m, v, t = state
            gradients = jax.grad(surrogate)(parameters, rows, targets)
            if job.optimizer == "sgd":
                return zip_with(lambda w, g: w - rate * g, parameters, gradients), m, v, t
            t = t + 1
            m = zip_with(lambda m, g: 0.9 * m + 0.1 * g, m, gradients)
            v = zip_with(lambda v, g: 0.999 * v + 0.001 * g * g, v, gradients)
            m_by, v_by = 1 / (1 - 0.9**t), 1 / (1 - 0.999**t)
            step = zip_with(lambda m, v: rate * (m * m_by) / (jnp.sqrt(v * v_by) + 1e-8), m, v)
            if job.optimizer == "adamw":
                step = zip_with(lambda s, w: s + rate * job.weight_decay * w if w.ndim == 2 else s, step, parameters)
            return zip_with(jnp.subtract, parameters, step), m, v, t

        def run(parameters: Any, orders: Any, watched: bool) -> Any:
            def epoch(state: Any, order: Any) -> Any:
                if order is None:
                    state = updated(state, X, y)
                else:
                    whole = n // size * size
                    batches = order[:whole].reshape(-1, size)
                    state, _ = jax.lax.scan(
                        lambda state, rows: (updated(state, X[rows], y[rows]), None), state, batches
                    )
                    if whole < n:
                        state = updated(state, X[order[whole:]], y[order[whole:]])
                return state, state[0] if watched else None

            zeros = zip_with(jnp.zeros_like, parameters)
            state = (parameters, zeros, zeros, jnp.zeros((), X.dtype))
            state, path = jax.lax.scan(epoch, state, orders, length=job.epochs)
            return state[0], path

        parameters = zip_with(jnp.asarray, layers(job.starts if many else job.starts[0], job.sizes))
        orders = None if job.orders is None else jnp.asarray(job.orders if many else job.orders[0])

        def compiled(watched: bool) -> Any:
            alone = lambda parameters, orders: run(parameters, orders, watched)  # noqa: E731
            return jax.jit(jax.vmap(alone, in_axes=(0, None if orders is None else 0)) if many else alone)

        self.arguments = parameters, orders
        self.timed, self.watched = compiled(False), compiled(True)

    def vectors(self, parameters: Any) -> np.ndarray:
        """Layers with any leading axes to flat vectors with the same."""
        parts = [np.asarray(part) for pair in parameters for part in pair]
        lead = parts[1].ndim - 1
        return np.concatenate([part.reshape(*part.shape[:lead], -1) for part in parts], axis=-1)

    def train(self) -> np.ndarray:
        if self.watch:
            parameters, path = self.jax.block_until_ready(self.watched(*self.arguments))
            epochs = self.vectors(path)  # (networks,) epochs, n_parameters
            for epoch in range(self.job.epochs):
                self.watch(epochs[..., epoch, :])
        else:
            parameters, _ = self.jax.block_until_ready(self.timed(*self.arguments))
        return self.vectors(parameters).reshape(self.job.starts.shape)


class Keras(Contender):
    """What a training costs in Keras: a model is built, compiled and fitted. A second model is traced anew.

    Its Adam differs as scikit-learn's does; its loss has seven digits in float64 too.
    """

    peer, title = "keras", "Keras, a new model"
    modules = ("jax", "keras")

    def __init__(self, job: Job, threads: int) -> None:
        super().__init__(job, threads)
        import keras

        self.keras = keras
        keras.config.set_floatx(job.X.dtype.name)
        keras.config.set_dtype_policy(job.X.dtype.name)
        epochs: list[list[Any]] = []
        for epoch in range(job.epochs):
            if job.orders is None:
                epochs.append([(job.X, job.y)])
            else:
                order, size = job.orders[0][epoch], job.batch_size
                epochs.append([(job.X[rows], job.y[rows]) for rows in np.split(order, range(size, len(order), size))])
        self.epochs = epochs

        class Batches(keras.utils.PyDataset):
            """The batches of the epochs from `epoch` on."""

            epoch = 0

            def __len__(self) -> int:
                return len(epochs[0])

            def __getitem__(self, number: int) -> Any:
                return epochs[self.epoch][number]

        self.new_batches = Batches

    def new_model(self) -> Any:
        keras, job = self.keras, self.job
        *hidden, outputs = job.sizes[1:]
        dense = keras.layers.Dense
        model = keras.Sequential(
            [keras.Input((job.sizes[0],)), *(dense(units, job.activation) for units in hidden), dense(outputs)]
        )
        if job.optimizer == "sgd":
            optimizer = keras.optimizers.SGD(job.learning_rate)
        elif job.optimizer == "adam":
            optimizer = keras.optimizers.Adam(job.learning_rate, epsilon=1e-8)  # the others'; Keras's own is 1e-7
        else:
            optimizer = keras.optimizers.AdamW(job.learning_rate, job.weight_decay, epsilon=1e-8)
            optimizer.exclude_from_weight_decay(var_names=["bias"])
        loss = {
            "binary_cross_entropy": partial(keras.losses.BinaryCrossentropy, from_logits=True),
            "cross_entropy": partial(keras.losses.CategoricalCrossentropy, from_logits=True),
            "mean_squared_error": keras.losses.MeanSquaredError,
        }[job.loss]()
        model.compile(loss=loss, optimizer=optimizer)
        model.set_weights([part for pair in layers(job.starts[0], job.sizes) for part in pair])
        return model

    def fit(self, model: Any) -> np.ndarray:
        batches = self.new_batches()

        def turn_to(epoch: int, logs: object) -> None:
            batches.epoch = epoch

        def show(epoch: int, logs: object) -> None:
            if self.watch:
                self.watch(flat(model.get_weights()))

        turning = self.keras.callbacks.LambdaCallback(on_epoch_begin=turn_to, on_epoch_end=show)
        model.fit(batches, epochs=self.job.epochs, shuffle=False, verbose=0, callbacks=[turning])
        return flat(model.get_weights())[np.newaxis]

    def train(self) -> np.ndarray:
        return self.fit(self.new_model())


class KerasKept(Keras):
    """`fit` alone, on a model that is compiled and traced already: its numbers are put back by hand, untimed."""

    title = "Keras, one model kept"

    def __init__(self, job: Job, threads: int) -> None:
        super().__init__(job, threads)
        self.model = self.new_model()
        self.model.optimizer.build(self.model.trainable_variables)
        variables = [*self.model.trainable_variables, *self.model.optimizer.variables]
        self.at_first = [(variable, np.array(variable)) for variable in variables]

    def reset(self) -> None:
        for variable, value in self.at_first:
            variable.assign(value)

    def train(self) -> np.ndarray:
        return self.fit(self.model)


class Products(Contender):
    """No training, but a measure of one: its products of matrices, forward and backward, by NumPy's BLAS into arrays
    that are there, the rows as they lie; no activation, no bias, no update.
    """

    peer, title = "products", "its matrix products alone, NumPy"
    optimizers = ()

    def __init__(self, job: Job, threads: int) -> None:
        super().__init__(job, threads)
        rng, dtype, rows = np.random.default_rng(0), job.X.dtype, job.batch_size or len(job.X)
        self.weights = [W for W, _ in layers(job.starts[0], job.sizes)]
        self.gradients = [np.empty_like(W) for W in self.weights]
        # Of every layer but the inputs: activations and deltas that are read, and one of the two that is written.
        self.read, self.written = ([rng.random((rows, n), dtype) for n in job.sizes[1:]] for _ in range(2))

    def train(self) -> np.ndarray:
        X, size = self.job.X, len(self.read[0])
        for begin in [*range(0, len(X), size)] * self.job.epochs:
            rows = X[begin : begin + size]
            read, written = ([array[: len(rows)] for array in arrays] for arrays in (self.read, self.written))
            inputs = [rows, *read[:-1]]
            for a, W, z in zip(inputs, self.weights, written, strict=True):
                np.matmul(a, W, out=z)
            for layer in reversed(range(len(read))):
                np.matmul(inputs[layer].T, read[layer], out=self.gradients[layer])
                if layer:
                    np.matmul(read[layer], self.weights[layer].T, out=written[layer - 1])
        return self.job.starts


CONTENDERS: dict[str, type[Contender]] = {
    "glassnet": Glassnet,
    "notebook": Notebook,
    "scikit-learn": ScikitLearn,
    "glassnet-fit": GlassnetFit,
    "scikit-learn-fit": ScikitLearnFit,
    "torch": Torch,
    "torch-fused": TorchFused,
    "keras": Keras,
    "keras-kept": KerasKept,
    "jax": Jax,
    "products": Products,
}
