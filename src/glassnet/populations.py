"""Many random starts of one network at once: a result is a distribution."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glassnet import metrics
from glassnet.errors import UsageError
from glassnet.kernels import stacked
from glassnet.network import FloatArray, Network, Parameters, initialize
from glassnet.optimizers import Adam
from glassnet.reference import checked_table
from glassnet.training import ENGINE, AnyOptimizer, Data, Spec, StackResult, is_whole, losses_and_pass, train_stack

# Numbers (networks x rows x units) in one array of a stack: enough that NumPy's overhead per call is small beside the
# work, few enough that a pass stays in cache and two threads find work. Measured: 1,000 networks of 2-2-1 on 455 rows,
# 100 epochs, 2 threads: 5.9 s with a quarter of it, 2.9 s with this. It never depends on the number of threads, nor do
# the bits that come out.
_STACK_ELEMENTS = 131_072


@dataclass(frozen=True)
class Population:
    """What came of `size` random starts. Arrays have one entry per start on axis 0.

    `parameters` (size, n_parameters) and `initial` likewise; `losses` (size, epochs + 1) over all training rows, [:, 0]
    before any update, NaN after a divergence; `objectives` (size,) loss plus penalty at the end;
    `diverged_at` the step, `dead_since` and `stuck_since` the epoch from which on, to the end, a hidden unit was 0 on
    every training row, and one class came out for every row: -1 where it did not happen; `n_dead_units` at the end.
    `seconds`: how long the training took, by the clock.
    """

    network: Network
    spec: Spec
    parameters: Parameters
    initial: Parameters
    losses: FloatArray
    objectives: FloatArray
    n_dead_units: NDArray[np.intp]
    dead_since: NDArray[np.intp]
    stuck_since: NDArray[np.intp]
    diverged_at: NDArray[np.intp]
    engine_used: str
    seconds: float
    data: Data = field(repr=False)

    def __len__(self) -> int:
        return len(self.objectives)

    @property
    def kept(self) -> int:
        """The start with the lowest training objective, of those that did not diverge; no test row has a say in it."""
        objectives = np.where(np.isfinite(self.objectives), self.objectives, np.inf)
        steady = np.where(self.diverged_at < 0, objectives, np.inf)
        return int(np.argmin(steady if np.isfinite(steady).any() else objectives))

    def ailing(self) -> dict[str, int | None]:
        """How many starts are `stuck`, `dead` (have a dead unit), `diverged`; and the first epoch, or step, of each.

        >>> train_population(Network((1, 1)), [[0.0], [1.0]], [0, 1], size=3, epochs=1).ailing()["diverged"]
        0
        """
        found: dict[str, int | None] = {}
        for name, unit in (("stuck", "epoch"), ("dead", "epoch"), ("diverged", "step")):
            since = self.diverged_at if name == "diverged" else getattr(self, f"{name}_since")
            so = since[since >= 0]
            found |= {name: len(so), f"first_{name}_{unit}": int(so.min()) if len(so) else None}
        return found

    def start(self, number: int) -> Parameters:
        """The trained parameters of one start, on their own."""
        return Parameters(self.network, self.parameters.vector[number].copy())

    def probabilities(self, X: ArrayLike) -> FloatArray:
        """Probabilities (for regression: predictions) of every start, (size, n, n_outputs).

        >>> many = train_population(Network((1, 1)), [[0.0], [1.0]], [0, 1], size=3, epochs=1)
        >>> many.probabilities([[0.5]]).shape
        (3, 1, 1)
        """
        X = checked_table(self.network, X)
        parts = [stacked.forward(self.network, part, X).probabilities for part in _parts(self.parameters, len(X))]
        return np.swapaxes(np.concatenate(parts), 1, 2)

    def scores(self, X: ArrayLike, y: ArrayLike, row_weights: ArrayLike | None = None) -> dict[str, FloatArray]:
        """Metrics of every start on X, y: each a (size,) array.

        accuracy, f1, auc and log_loss for classes; rmse and r2 else.

        >>> many = train_population(Network((1, 1)), [[0.0], [1.0]], [0, 1], size=3, epochs=1)
        >>> sorted(many.scores([[0.0], [1.0]], [0, 1]))
        ['accuracy', 'auc', 'f1', 'log_loss']
        """
        targets = np.asarray(y)
        every = [score(self.network, targets, p, row_weights) for p in self.probabilities(X)]
        return {name: np.array([scores[name] for scores in every]) for name in every[0]}


def score(
    network: Network, y: ArrayLike, probabilities: FloatArray, row_weights: ArrayLike | None = None
) -> dict[str, float]:
    """The metrics that suit the network's loss, for targets (n, n_outputs) or (n,) and probabilities (n, n_outputs).

    >>> score(Network((1, 1)), [0, 1], np.array([[0.2], [0.9]]))["accuracy"]
    1.0
    """
    y = np.asarray(y)
    if network.loss_row.link == "sigmoid" and network.n_outputs == 1:
        truth, p = y.ravel().astype(np.intp), probabilities[:, 0]
        predicted = (p > 0.5).astype(np.intp)
    elif network.loss_row.link == "softmax":
        truth, p = y.argmax(axis=1), probabilities
        predicted = p.argmax(axis=1)
    else:
        y = y.reshape(probabilities.shape)
        return {
            "rmse": metrics.rmse(y, probabilities, row_weights),
            "r2": metrics.r2(y, probabilities, row_weights),
        }
    return {
        "accuracy": metrics.accuracy(truth, predicted, row_weights),
        "f1": metrics.f1(truth, predicted, n_classes=max(2, network.n_outputs), row_weights=row_weights),
        "auc": metrics.auc(truth, p, row_weights),
        "log_loss": metrics.log_loss(truth, p, row_weights),
    }


def spread(values: ArrayLike) -> dict[str, float]:
    """The median and the 5th and 95th percentile of what is finite.

    >>> spread([1.0, 2.0, 3.0])["median"]
    2.0
    """
    finite = np.asarray(values, dtype=float)
    finite = finite[np.isfinite(finite)]
    if not len(finite):
        return {"median": float("nan"), "p5": float("nan"), "p95": float("nan")}
    p5, median, p95 = np.percentile(finite, [5, 50, 95])
    return {"median": float(median), "p5": float(p5), "p95": float(p95)}


def _stack_size(network: Network, n: int) -> int:
    return max(1, _STACK_ELEMENTS // (n * max(network.sizes[1:])))


def _parts(parameters: Parameters, n: int) -> list[Parameters]:
    """A stack in pieces whose passes over n rows stay in cache."""
    size = _stack_size(parameters.network, n)
    every = parameters.vector
    return [Parameters(parameters.network, every[at : at + size]) for at in range(0, len(every), size)]


def train_population(
    network: Network,
    X: ArrayLike,
    y: ArrayLike,
    *,
    size: int,
    optimizer: AnyOptimizer | None = None,
    epochs: int = 100,
    batch_size: int | None = None,
    random_state: int = 0,
    parameters: Parameters | None = None,
    initializer: str | None = None,
    row_weights: ArrayLike | None = None,
    l1: float = 0.0,
    l2: float = 0.0,
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Population:
    """Train `size` random starts of one network on the same rows; arguments as `train`.

    Start k begins at `initialize(network, random_state, initializer, start=k)`, or at row k of `parameters`
    (size, n_parameters), and shuffles its rows by its own numbers. `threads`: as many as the machine has cores where
    left out; the result does not depend on it. `progress` is called with the number of starts that are done.

    >>> net = Network((2, 2, 1))
    >>> many = train_population(net, [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0], size=5, epochs=3)
    >>> many.losses.shape
    (5, 4)
    """
    if not is_whole(size) or size < 1:
        raise UsageError(f"size is the number of random starts, 1 or more; got {size!r}.")
    if threads is not None and (not is_whole(threads) or threads < 1):
        raise UsageError(f"threads is a whole number, 1 or more; got {threads!r}.")
    data = Data.checked(network, X, y, row_weights)
    spec = Spec(optimizer or Adam(), epochs, batch_size, random_state, initializer, l1, l2)
    if parameters is None:
        every = np.arange(size)
        vectors = initialize(network, random_state, initializer, start=every, dtype=data.X.dtype).vector
    else:
        vectors = np.array(parameters.vector, dtype=data.X.dtype)
        if vectors.shape != (size, network.n_parameters):
            raise UsageError(
                f"parameters hold one start a row, ({size}, {network.n_parameters}); got shape {vectors.shape}."
            )
    begun = time.perf_counter()
    rows = min(len(data.X), spec.batch_size or len(data.X))
    # Stacks of about as many starts, so that no thread is left with a crumb.
    n_stacks = -(-size // _stack_size(network, rows))
    stacks = np.array_split(np.arange(size), n_stacks)
    stop, lock, finished = threading.Event(), threading.Lock(), [0]

    def run(numbers: NDArray[np.intp]) -> StackResult:
        result = train_stack(network, spec, data, vectors[numbers], numbers, stopped=stop.is_set)
        if progress is not None:
            with lock:
                finished[0] += len(numbers)
                progress(finished[0])
        return result

    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        futures = [pool.submit(run, numbers) for numbers in stacks]
        try:
            results = [future.result() for future in futures]
        except BaseException:
            # Ctrl-C: the stacks under way end with their epoch, the others are not begun.
            stop.set()
            for future in futures:
                future.cancel()
            raise
    joined = {
        item.name: np.concatenate([getattr(result, item.name) for result in results])
        for item in fields(StackResult)
        if item.name != "optimizer_state"
    }
    trained = Parameters(network, joined["vectors"])
    final = np.concatenate([losses_and_pass(network, part, data)[0] for part in _parts(trained, len(data.X))])
    return Population(
        network=network,
        spec=spec,
        parameters=trained,
        initial=Parameters(network, vectors),
        losses=joined["losses"],
        objectives=final + stacked.penalties(trained, l1, l2),
        n_dead_units=joined["n_dead_units"],
        dead_since=joined["dead_since"],
        stuck_since=joined["stuck_since"],
        diverged_at=joined["diverged_at"],
        engine_used=ENGINE,
        seconds=time.perf_counter() - begun,
        data=data,
    )
