"""Many networks of one shape at once: random starts, folds, settings. A result is a distribution."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glassnet import metrics
from glassnet.checkpoints import Checkpoint, keeping
from glassnet.dispatch import chosen_engine, train_in_pieces, train_members, updates_per_epoch
from glassnet.errors import UsageError
from glassnet.kernels import stacked
from glassnet.kernels.threads import number_of_threads
from glassnet.network import FloatArray, Network, Parameters, initialize
from glassnet.optimizers import Adam
from glassnet.randomness import Purpose, Stream
from glassnet.runs import AnyOptimizer, Data, Members, Outcome, Spec, is_whole
from glassnet.sparse import checked_rows
from glassnet.training import HeldOut, History, held_out_data

# Numbers (networks x rows x units) in one array of a stack: enough that NumPy's overhead per call is small beside the
# work, few enough that a pass stays in cache.
_STACK_ELEMENTS = 131_072


@dataclass(frozen=True)
class Population:
    """What came of `size` networks. Arrays have one entry per network on axis 0.

    `parameters` (size, n_parameters) and `initial` likewise; `losses` (size, epochs + 1) as in `training.History`, NaN
    after a divergence or an early end; `held_out_losses` likewise, where rows were held out; `n_epochs` (size,) were
    made, and with patience those at `best_epochs` are kept; `objectives` (size,) loss plus penalty over all its rows at
    the end;
    `diverged_at` the step, `dead_since` and `stuck_since` the epoch from which on, to the end, a hidden unit was 0 on
    every training row, and one class came out for every row: -1 where it did not happen; `n_dead_units` at the end.
    `seconds`: how long the training took, by the clock. `interrupted`: whether Ctrl-C ended it; there are then only the
    networks, from the first on, that were trained to their end.
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
    n_epochs: NDArray[np.intp]
    best_epochs: NDArray[np.intp]
    engine_used: str
    seconds: float
    data: Data = field(repr=False)
    held_out_losses: FloatArray | None = None
    interrupted: bool = False

    def __len__(self) -> int:
        return len(self.objectives)

    @property
    def kept(self) -> int:
        """The best start by `judged_by`, of those that did not diverge; no test row has a say in it."""
        values = np.where(np.isfinite(self.judged_by), self.judged_by, np.inf)
        steady = np.where(self.diverged_at < 0, values, np.inf)
        return int(np.argmin(steady if np.isfinite(steady).any() else values))

    @property
    def judged_by(self) -> FloatArray:
        """What the kept start has the lowest of (size,): training objectives, or with patience held-out losses."""
        if self.held_out_losses is None or self.spec.patience is None:
            return self.objectives
        of_best: FloatArray = self.held_out_losses[np.arange(len(self)), self.best_epochs]
        return of_best

    def history(self, number: int) -> History:
        """What the epochs of one network left.

        >>> many = train_population(Network((1, 1)), [[0.0], [1.0]], [0, 1], size=3, epochs=2)
        >>> many.history(1).loss.shape
        (3,)
        """
        end, held = int(self.n_epochs[number]) + 1, self.held_out_losses
        return History(self.losses[number, :end], None if held is None else held[number, :end])

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
        rows = checked_rows(self.network, X)
        parts = [stacked.forward(self.network, part, rows).probabilities for part in _parts(self.parameters, len(rows))]
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
    random_state: int | ArrayLike = 0,
    parameters: Parameters | None = None,
    initializer: str | None = None,
    row_weights: ArrayLike | None = None,
    l1: float | ArrayLike = 0.0,
    l2: float | ArrayLike = 0.0,
    dropout: float | tuple[float, ...] = 0.0,
    learning_rates: ArrayLike | None = None,
    rows: Sequence[ArrayLike] | None = None,
    held_out: HeldOut | None = None,
    patience: int | None = None,
    min_improvement: float = 0.0,
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    engine: str | None = None,
) -> Population:
    """Train `size` networks of one shape on the same table; arguments as `train`.

    Network k begins at `initialize(network, random_state, initializer, start=k)`, or at row k of `parameters`
    (size, n_parameters), and shuffles its rows by its own numbers: it is `train(..., start=k)`.
    Where `random_state` is an array (size,), network k is start 0 of its own seed: `train(..., random_state=seed)`.
    `l1`, `l2`: numbers for all, or arrays (size,).  `learning_rates` (size,): in place of the optimiser's.
    `rows`: for each network the numbers of the rows that it is trained on (folds, say); else it is all of them.
    `held_out`, `patience`, `min_improvement`: as in `train`; with patience each network ends when it has to, and the
    one with the lowest held-out loss is `kept`.
    `threads`: as many as the process may use processors where left out; the result does not depend on it, nor do a
    network's numbers depend on the others. `progress` is called with the number of networks that are done.
    `checkpoint`: a file that keeps the networks that are trained to their end, written about once a second, when the
    training is interrupted or terminated, and at the end; with `resume` they are taken from there and the others are
    trained, to the same bits. Of a single network it keeps the epochs, as that of `train`.

    >>> net = Network((2, 2, 1))
    >>> many = train_population(net, [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0], size=5, epochs=3)
    >>> many.losses.shape
    (5, 4)
    """
    if not is_whole(size) or size < 1:
        raise UsageError(f"size is the number of networks, 1 or more; got {size!r}.")
    threads = number_of_threads(threads)
    dtype = parameters.vector.dtype if isinstance(parameters, Parameters) else np.float64
    data = Data.checked(network, X, y, row_weights, dtype, threads)
    given = {"l1": l1, "l2": l2, "learning_rates": learning_rates, "random_state": random_state}
    own = {name: _one_each(name, value, size) for name, value in given.items()}
    for seed in np.unique(own["random_state"]):
        Stream(seed, Purpose.INITIALIZE).uniform(0)  # an error where it is no seed
    one_seed = np.ndim(random_state) == 0
    spec = Spec(
        optimizer or Adam(), epochs, batch_size, random_state if one_seed else 0, 0, initializer,  # type: ignore[arg-type]
        l1 if np.ndim(l1) == 0 else 0.0, l2 if np.ndim(l2) == 0 else 0.0, dropout,  # type: ignore[arg-type]
        patience, min_improvement,
    )  # fmt: skip
    spec.rates(network)
    watched = held_out_data(network, held_out, data, patience)
    subsets = None
    if rows is not None:
        subsets = [np.asarray(numbers) for numbers in rows]
        if len(subsets) != size:
            raise UsageError(f"rows has the row numbers of each of the {size} networks; got {len(subsets)}.")
        for number, numbers in enumerate(subsets):
            if numbers.ndim != 1 or (numbers.size and not np.issubdtype(numbers.dtype, np.integer)):
                raise UsageError(
                    f"rows has a flat array of row numbers for each network; network {number} has one of shape "
                    f"{numbers.shape} and type {numbers.dtype}. np.flatnonzero makes numbers of a mask."
                )
        subsets = [numbers.astype(np.intp) for numbers in subsets]
    members = Members(
        numbers=np.arange(size) if one_seed else np.zeros(size, np.int64),
        seeds=own["random_state"].astype(np.uint64),
        l1=own["l1"],
        l2=own["l2"],
        learning_rates=None if learning_rates is None else own["learning_rates"],
        rows=subsets,
    )
    members.refuse_unfit(spec, len(data.X))
    for number, numbers in enumerate(subsets or ()):
        if not data.row_weights[numbers].any():
            raise UsageError(f"Some of a network's rows weigh something; all those of network {number} weigh 0.")
    vectors = _starts(network, data, members, spec, parameters)
    begun = time.perf_counter()
    n_rows = len(data.X) if subsets is None else max(map(len, subsets))
    used = chosen_engine(engine, network, spec, n_rows, size)
    if checkpoint is None:
        if resume:
            raise UsageError("resume is about a checkpoint; give checkpoint=PATH, or leave it out.")
        outcome = train_members(
            network, spec, data, vectors, members, engine=used, held_out=watched, threads=threads, progress=progress
        )
    else:
        per_epoch = updates_per_epoch(spec, data, members)
        with keeping(
            checkpoint, network, spec, data, vectors, members, engine=used, held_out=watched, per_epoch=per_epoch,
            resume=resume,
        ) as kept:  # fmt: skip
            job = (network, spec, data, vectors, members, kept, used, threads, watched)
            outcome = train_in_pieces(*job) if size == 1 else _train_in_parts(*job, progress)
    n = outcome.n_finished
    trained = Parameters(network, outcome.vectors[:n])
    penalties = np.zeros(n, vectors.dtype)
    for k in np.flatnonzero(members.l1[:n] + members.l2[:n]):  # each by itself: NumPy may add up otherwise in a stack
        alone = Parameters(network, trained.vector[k : k + 1])
        penalties[k] = stacked.penalties(alone, float(members.l1[k]), float(members.l2[k]))[0]
    return Population(
        network=network,
        spec=spec,
        parameters=trained,
        initial=Parameters(network, vectors[:n]),
        losses=outcome.losses[:n],
        objectives=outcome.final_losses[:n] + penalties,
        n_dead_units=outcome.n_dead_units[:n],
        dead_since=outcome.dead_since[:n],
        stuck_since=outcome.stuck_since[:n],
        diverged_at=outcome.diverged_at[:n],
        n_epochs=outcome.n_epochs[:n],
        best_epochs=outcome.best_epochs[:n],
        engine_used=used,
        seconds=time.perf_counter() - begun,
        data=data,
        held_out_losses=None if watched is None else outcome.held_out_losses[:n],
        interrupted=n < size,
    )


def _train_in_parts(
    network: Network,
    spec: Spec,
    data: Data,
    vectors: FloatArray,
    members: Members,
    kept: Checkpoint,
    engine: str,
    threads: int,
    held_out: Data | None,
    progress: Callable[[int], None] | None,
) -> Outcome:
    """Train some networks at a time, and keep those that are done."""
    size = len(members)
    parts = [] if kept.found is None else [kept.found]
    done = 0 if kept.found is None else len(kept.found.vectors)
    stop = np.zeros(1, np.int64)
    together = size  # NumPy may add up otherwise in a smaller stack, and has jobs of a moment
    if engine == "compiled":
        together = threads
    try:
        while done < size:
            of, before = np.arange(done, min(done + together, size)), done
            count = None if progress is None else lambda n, before=before: progress(before + n)
            begun = time.monotonic()
            part = train_members(
                network, spec, data, vectors[of], members.at(of), engine=engine, held_out=held_out, threads=threads,
                progress=count, stop=stop,
            )  # fmt: skip
            if part.n_finished:
                part.optimizer_state = {}  # nobody goes on from it
                parts.append(part.at(np.arange(part.n_finished)))
                done += part.n_finished
            if part.n_finished < len(of) or (stop[0] and done < size):  # it may come when a part has just ended
                raise KeyboardInterrupt
            if time.monotonic() - begun < _A_PART:
                together *= 2
            if done < size and kept.is_due(done):
                kept.write(Outcome.joined(parts), finished=False)
    except KeyboardInterrupt:
        if not parts:
            return replace(Outcome.begun(vectors, spec.epochs), n_finished=0)
    outcome = Outcome.joined(parts)
    if not kept.finished:
        kept.write(outcome, finished=done == size)
    return outcome


_A_PART = 0.2
"""Seconds: networks are trained by as many at a time as take about so long, and a checkpoint is written between."""


def _one_each(name: str, value: Any, size: int) -> NDArray[Any]:
    """A number for each network, from one for all or an array of them."""
    array = np.asarray(0.0 if value is None else value)
    if array.ndim == 0:
        return np.full(size, array)
    if array.shape != (size,):
        raise UsageError(f"{name} is one number, or one for each of the {size} networks; got shape {array.shape}.")
    return array


def _starts(network: Network, data: Data, members: Members, spec: Spec, parameters: Parameters | None) -> FloatArray:
    """Where each network begins (size, n_parameters)."""
    size, dtype = len(members), data.dtype
    if parameters is not None:
        vectors = np.array(parameters.vector, dtype=dtype)
        if vectors.shape != (size, network.n_parameters):
            raise UsageError(
                f"parameters hold one start a row, ({size}, {network.n_parameters}); got shape {vectors.shape}."
            )
        return vectors
    if (members.seeds == members.seeds[0]).all():
        seed = int(members.seeds[0])
        return initialize(network, seed, spec.initializer, start=members.numbers, dtype=dtype).vector
    every = zip(members.seeds, members.numbers, strict=True)
    return np.stack([initialize(network, int(s), spec.initializer, start=int(k), dtype=dtype).vector for s, k in every])
