"""Training: `train` runs to the end and returns a `Run`, `steps` yields a record of every update."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glassnet import reference
from glassnet.errors import UsageError
from glassnet.kernels import stacked
from glassnet.network import FloatArray, Network, Parameters, initialize, weight_mask
from glassnet.optimizers import LBFGS, Adam, Optimizer, State
from glassnet.randomness import Purpose, Stream

AnyOptimizer = Optimizer | LBFGS
ENGINE = "numpy"


@dataclass(frozen=True)
class Spec:
    """How a network is trained; with the data and the initial parameters it settles every number of the run."""

    optimizer: AnyOptimizer = field(default_factory=Adam)
    epochs: int = 100
    batch_size: int | None = None
    random_state: int = 0
    initializer: str | None = None
    l1: float = 0.0
    l2: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.optimizer, Optimizer | LBFGS):
            raise UsageError(f"optimizer is one of gn.SGD, Adam, AdamW, RMSprop, LBFGS; got {self.optimizer!r}.")
        if not is_whole(self.epochs) or self.epochs < 0:
            raise UsageError(f"epochs is a whole number, 0 or more; got {self.epochs!r}.")
        if self.batch_size is not None and (not is_whole(self.batch_size) or self.batch_size < 1):
            raise UsageError(
                f"batch_size is a whole number, 1 or more, or None for all rows at once; got {self.batch_size!r}."
            )
        for name in ("l1", "l2"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 <= value < np.inf:
                raise UsageError(f"{name} is a number, 0 or more; got {value!r}.")
        if isinstance(self.optimizer, LBFGS) and self.batch_size is not None:
            raise UsageError("L-BFGS looks at all rows at once; leave batch_size out.")


def is_whole(value: object) -> bool:
    """Whether it is an integer, Python's or NumPy's; True is none.

    >>> is_whole(3), is_whole(3.0), is_whole(True)
    (True, False, False)
    """
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


@dataclass(frozen=True)
class Data:
    """The training rows, checked: X (n, n_features), y (n, n_outputs), row_weights (n,)."""

    X: FloatArray
    y: FloatArray
    row_weights: FloatArray

    @classmethod
    def checked(cls, network: Network, X: ArrayLike, y: ArrayLike, row_weights: ArrayLike | None) -> Data:
        """Arrays that fit the network, or the error that says why not."""
        X = reference.checked_table(network, X)
        y = reference.checked_targets(network, y, len(X), X.dtype)
        return cls(X, y, reference.checked_row_weights(row_weights, len(X), X.dtype))

    @property
    def hash(self) -> str:
        """SHA-256 over shapes, types and numbers: two trainings on the same data have the same."""
        digest = hashlib.sha256()
        for array in (self.X, self.y, self.row_weights):
            digest.update(f"{array.shape}{array.dtype}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Step:
    """One update: which (epoch and step count from 1), and what its batch said before it was made.

    `held_out_loss` is that of the held-out rows after the epoch, at an epoch's last update; `first_nonfinite` names
    what was infinite or NaN, where something was: that update is not made and is the last.
    """

    epoch: int
    step: int
    loss: float
    held_out_loss: float | None
    penalty: float
    gradient_norm: float
    first_nonfinite: str | None


@dataclass(frozen=True)
class History:
    """What a run's epochs left: `loss` and `held_out_loss` (epochs + 1,), [0] before any update, over all rows."""

    loss: FloatArray
    held_out_loss: FloatArray | None = None


@dataclass(frozen=True)
class Run:
    """A finished training.

    `parameters` are the trained ones, `initial` those it began with; `counters` holds the epochs and steps that lie
    between them; `stop_reason` is "epochs" (all were made), "converged" or "diverged at step n" (the parameters are
    then the last with a finite loss).
    """

    network: Network
    spec: Spec
    initial: Parameters
    parameters: Parameters
    optimizer_state: State
    counters: dict[str, int]
    history: History
    stop_reason: str
    engine_used: str
    data: Data = field(repr=False)

    @property
    def data_hash(self) -> str:
        """The hash of the rows it was trained on."""
        return self.data.hash

    @property
    def objective(self) -> float:
        """Loss plus penalty over all training rows at the end."""
        trained = Parameters(self.network, self.parameters.vector[np.newaxis])
        return float(_objectives(self.network, self.spec, self.data, trained)[0])

    def trace(self, epoch: int, batch: int = 1) -> reference.Trace:
        """The full `Trace` of one step (epoch and batch count from 1), before its update.

        The training is replayed up to there: nothing is stored.

        >>> net = Network((1, 1), loss="mean_squared_error")
        >>> run = train(net, [[1.0], [2.0]], [1.0, 2.0], epochs=3)
        >>> bool(run.trace(epoch=1).loss == run.history.loss[0])
        True
        """
        if isinstance(self.spec.optimizer, LBFGS):
            raise UsageError("A step of L-BFGS is a line search of several passes; trace a run of another optimiser.")
        for update in _updates(self.network, self.spec, self.data, self.initial.vector[np.newaxis], np.array([0])):
            if (update.epoch, update.batch) == (epoch, batch):
                rows = slice(None) if update.rows is None else update.rows[0]
                X, y, weights = (part[rows] for part in (self.data.X, self.data.y, self.data.row_weights))
                parameters = Parameters(self.network, update.before[0])
                return reference.backward(self.network, parameters, X, y, weights, self.spec.l1, self.spec.l2)
        raise UsageError(
            f"The run has {self.counters['epochs']} epochs; epoch {epoch}, batch {batch} was never trained."
        )


def train(
    network: Network,
    X: ArrayLike,
    y: ArrayLike,
    *,
    optimizer: AnyOptimizer | None = None,
    epochs: int = 100,
    batch_size: int | None = None,
    random_state: int = 0,
    parameters: Parameters | None = None,
    initializer: str | None = None,
    row_weights: ArrayLike | None = None,
    l1: float = 0.0,
    l2: float = 0.0,
    held_out: tuple[ArrayLike, ArrayLike] | None = None,
) -> Run:
    """Train `network` on X (n, n_features), y (n, n_outputs) or (n,).

    `optimizer`: Adam() where left out.  `epochs`: passes over all rows; with L-BFGS, iterations.
    `batch_size`: rows an update looks at, in an order shuffled anew every epoch; None takes all at once.
    `parameters`: where to begin; else `initialize(network, random_state, initializer)`.
    `row_weights` (n,), `l1`, `l2`: objective = sum(w loss) / sum(w) + l1 sum|W| + l2 / 2 sum W^2, over weights W only.
    `held_out`: (X, y) whose loss is recorded after every epoch; it does not influence the training.

    Raises `UsageError` for settings and `DataError` for data that cannot be meant. A training that diverges stops,
    and keeps the last parameters with a finite loss.

    >>> net = Network((1, 1), loss="mean_squared_error")
    >>> run = train(net, [[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0], optimizer=LBFGS())
    >>> run.parameters.vector.round(4).tolist(), run.stop_reason
    ([2.0, 1.0], 'converged')
    """
    data = Data.checked(network, X, y, row_weights)
    spec = Spec(optimizer or Adam(), epochs, batch_size, random_state, initializer, l1, l2)
    watched = None if held_out is None else Data.checked(network, held_out[0], held_out[1], None)
    initial = _initial(network, spec, data, parameters)
    result = train_stack(network, spec, data, initial.vector[np.newaxis], np.array([0]), held_out=watched)
    if result.diverged_at[0] >= 0:
        reason = f"diverged at step {result.diverged_at[0]}"
    else:
        reason = "converged" if result.converged[0] else "epochs"
    made = int(result.n_epochs[0])
    return Run(
        network=network,
        spec=spec,
        initial=initial,
        parameters=Parameters(network, result.vectors[0]),
        optimizer_state={name: value[0] for name, value in result.optimizer_state.items()},
        counters={"epochs": made, "steps": int(result.n_steps[0])},
        history=History(
            result.losses[0, : made + 1], None if watched is None else result.held_out_losses[0, : made + 1]
        ),
        stop_reason=reason,
        engine_used=ENGINE,
        data=data,
    )


def steps(
    network: Network,
    X: ArrayLike,
    y: ArrayLike,
    *,
    optimizer: Optimizer | None = None,
    epochs: int = 100,
    batch_size: int | None = None,
    random_state: int = 0,
    parameters: Parameters | None = None,
    initializer: str | None = None,
    row_weights: ArrayLike | None = None,
    l1: float = 0.0,
    l2: float = 0.0,
    held_out: tuple[ArrayLike, ArrayLike] | None = None,
) -> Iterator[Step]:
    """The training of `train`, one `Step` per update, as it goes; arguments as there, without L-BFGS.

    >>> net = Network((1, 1), loss="mean_squared_error")
    >>> [step.epoch for step in steps(net, [[1.0], [2.0]], [1.0, 2.0], epochs=2, batch_size=1)]
    [1, 1, 2, 2]
    """
    data = Data.checked(network, X, y, row_weights)
    spec = Spec(optimizer or Adam(), epochs, batch_size, random_state, initializer, l1, l2)
    if isinstance(spec.optimizer, LBFGS):
        raise UsageError("An iteration of L-BFGS is no single step; use train, or another optimiser.")
    watched = None if held_out is None else Data.checked(network, held_out[0], held_out[1], None)
    initial = _initial(network, spec, data, parameters)
    return _records(network, spec, data, initial.vector[np.newaxis], watched)


def _initial(network: Network, spec: Spec, data: Data, given: Parameters | None) -> Parameters:
    """Where a training begins, in a vector of its own."""
    if given is None:
        return initialize(network, spec.random_state, spec.initializer, dtype=data.X.dtype)
    return Parameters(network, reference.checked_parameters(network, given, data.X.dtype).vector.copy())


def _records(network: Network, spec: Spec, data: Data, vectors: FloatArray, watched: Data | None) -> Iterator[Step]:
    for update in _updates(network, spec, data, vectors, np.array([0])):
        held_out_loss = None
        if watched is not None and update.last_of_epoch:
            held_out_loss = float(losses_and_pass(network, Parameters(network, update.after), watched)[0][0])
        yield Step(
            update.epoch,
            update.t,
            float(update.losses[0]),
            held_out_loss,
            float(update.penalties[0]),
            _norm(update.gradients[0]),
            update.first_nonfinite[0],
        )


def _norm(vector: FloatArray) -> float:
    with np.errstate(all="ignore"):
        return float(np.linalg.norm(vector))


# --- the loop, for a stack of networks ----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Update:
    """One update of a stack: what it saw and made. Arrays have one entry per network on axis 0."""

    epoch: int
    batch: int
    t: int
    last_of_epoch: bool
    rows: NDArray[np.intp] | None
    done: stacked.Pass
    losses: FloatArray
    penalties: FloatArray
    gradients: FloatArray
    before: FloatArray
    after: FloatArray
    state: State
    first_nonfinite: list[str | None]


def _n_batches(n: int, spec: Spec) -> int:
    return 1 if spec.batch_size is None else -(-n // spec.batch_size)


def _batches(n: int, spec: Spec, networks: NDArray[np.intp], epoch: int) -> list[NDArray[np.intp] | None]:
    """The row numbers (S, batch) of every batch of an epoch; None where all rows are taken as they are."""
    if spec.batch_size is None or spec.batch_size >= n:
        return [None]
    order = Stream(spec.random_state, Purpose.SHUFFLE, network=networks, epoch=epoch).permutation(n)
    return [order[:, start : start + spec.batch_size] for start in range(0, n, spec.batch_size)]


def _updates(
    network: Network, spec: Spec, data: Data, vectors: FloatArray, networks: NDArray[np.intp]
) -> Iterator[_Update]:
    """Gradient steps of a stack of networks, vectors (S, n_parameters); `networks` (S,) are their numbers.

    A network whose loss, penalty, gradient or next parameters are not finite goes back to the last parameters whose
    loss and penalty were, and takes no further part.
    """
    optimizer = spec.optimizer
    assert isinstance(optimizer, Optimizer)
    is_weight = weight_mask(network).astype(vectors.dtype)
    state = optimizer.init(vectors)
    last_good = vectors
    active = np.ones(len(vectors), dtype=bool)
    n_updates = _n_batches(len(data.X), spec) * spec.epochs
    t = 0
    for epoch in range(1, spec.epochs + 1):
        batches = _batches(len(data.X), spec, networks, epoch)
        for number, rows in enumerate(batches, start=1):
            if not active.any():
                return
            t += 1
            take: Any = slice(None) if rows is None else rows
            X, y, weights = data.X[take], data.y[take], data.row_weights[take]
            with np.errstate(all="ignore"):  # what overflows is found below, and said
                parameters = Parameters(network, vectors)
                done = stacked.forward(network, parameters, X)
                total = weights.sum(axis=-1, keepdims=True)
                # A batch whose rows all weigh nothing has nothing to say: no loss, no gradient.
                share = weights / np.where(total > 0, total, 1)
                losses = (stacked.row_losses(network, done, y) * share).sum(axis=-1)
                penalties = stacked.penalties(parameters, spec.l1, spec.l2)
                gradients = stacked.backward(network, parameters, done, y, share, spec.l1, spec.l2)
                after, new_state = optimizer.update(
                    vectors,
                    gradients,
                    state,
                    t=t,
                    learning_rate=optimizer.rate(t, n_updates),
                    is_weight=is_weight,
                )
                finite = {
                    "loss": np.isfinite(losses),
                    "penalty": np.isfinite(penalties),
                    "gradient": np.isfinite(gradients).all(axis=-1),
                    "parameters": np.isfinite(after).all(axis=-1),
                }
            bad: list[str | None] = [None] * len(vectors)
            for name, good in finite.items():
                for s in np.flatnonzero(active & ~good):
                    bad[s] = bad[s] or name
            sound = active & finite["loss"] & finite["penalty"]
            last_good = np.where(sound[:, np.newaxis], vectors, last_good)
            active = active & np.array([name is None for name in bad])
            after = np.where(active[:, np.newaxis], after, last_good)
            yield _Update(
                epoch, number, t, number == len(batches), rows, done, losses, penalties, gradients, vectors, after,
                new_state, bad,
            )  # fmt: skip
            vectors, state = after, new_state


def losses_and_pass(network: Network, parameters: Parameters, data: Data) -> tuple[FloatArray, stacked.Pass]:
    """The loss over all rows of every network of a stack (S,), and the pass it came from."""
    with np.errstate(all="ignore"):
        done = stacked.forward(network, parameters, data.X)
        share = data.row_weights / data.row_weights.sum()
        return (stacked.row_losses(network, done, data.y) * share).sum(axis=-1), done


def _objectives(network: Network, spec: Spec, data: Data, parameters: Parameters) -> FloatArray:
    """Loss plus penalty over all rows of every network of a stack (S,)."""
    return losses_and_pass(network, parameters, data)[0] + stacked.penalties(parameters, spec.l1, spec.l2)


@dataclass
class StackResult:
    """What came of a stack of S networks: arrays with one entry per network on axis 0.

    `losses` (S, epochs + 1) over all training rows, NaN after a divergence; `dead_since`, `stuck_since`: the epoch
    from which on, to the end, a hidden unit was 0 on every row, and one class came out for every row; -1 where not so.
    """

    vectors: FloatArray
    optimizer_state: State
    losses: FloatArray
    held_out_losses: FloatArray
    n_epochs: NDArray[np.intp]
    n_steps: NDArray[np.intp]
    diverged_at: NDArray[np.intp]
    converged: NDArray[np.bool_]
    n_dead_units: NDArray[np.intp]
    dead_since: NDArray[np.intp]
    stuck_since: NDArray[np.intp]

    @classmethod
    def begun(cls, vectors: FloatArray, epochs: int) -> StackResult:
        """Nothing has happened yet."""
        size = len(vectors)
        never = np.full(size, -1, dtype=np.intp)
        return cls(
            vectors=vectors.copy(),
            optimizer_state={},
            losses=np.full((size, epochs + 1), np.nan),
            held_out_losses=np.full((size, epochs + 1), np.nan),
            n_epochs=np.zeros(size, dtype=np.intp),
            n_steps=np.zeros(size, dtype=np.intp),
            diverged_at=never.copy(),
            converged=np.zeros(size, dtype=bool),
            n_dead_units=np.zeros(size, dtype=np.intp),
            dead_since=never.copy(),
            stuck_since=never.copy(),
        )

    def watch(
        self,
        network: Network,
        epoch: int | NDArray[np.intp],
        done: stacked.Pass,
        numbers: NDArray[np.intp],
        which: NDArray[np.bool_],
    ) -> None:
        """Record the health that a pass of the networks `numbers` over all rows shows after `epoch`: of `which`."""
        found, of = stacked.health(network, done), numbers[which]
        epoch = np.broadcast_to(epoch, numbers.shape)[which]
        self.n_dead_units[of] = found.n_dead_units[which]
        for since, so in ((self.dead_since, found.n_dead_units > 0), (self.stuck_since, found.one_class)):
            since[of] = np.where(so[which], np.where(since[of] < 0, epoch, since[of]), -1)


def train_stack(
    network: Network,
    spec: Spec,
    data: Data,
    vectors: FloatArray,
    networks: NDArray[np.intp],
    *,
    held_out: Data | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> StackResult:
    """Train networks that differ in their start alone: vectors (S, n_parameters), `networks` (S,) their numbers.

    `stopped` is asked after every epoch; once it says so, the result is what has come so far.
    """
    result = StackResult.begun(vectors, spec.epochs)
    everyone = np.arange(len(vectors))

    def watch_held_out(epoch: int, vectors: FloatArray) -> None:
        if held_out is not None:
            result.held_out_losses[:, epoch] = losses_and_pass(network, Parameters(network, vectors), held_out)[0]

    if isinstance(spec.optimizer, LBFGS):
        for s in everyone:
            if not stopped():
                _minimise(network, spec.optimizer, spec, data, result, int(s), held_out)
        return result
    watch_held_out(0, vectors)
    n_batches = _n_batches(len(data.X), spec)
    sound, sound_epochs = vectors, np.zeros(len(vectors), dtype=np.intp)  # the last with a finite objective on all rows
    for update in _updates(network, spec, data, vectors, networks):
        going = result.diverged_at < 0
        if update.batch == 1:
            # A full batch's pass before this update is the one over all rows after the epoch before.
            losses, done = update.losses, update.done
            if update.rows is not None:
                losses, done = losses_and_pass(network, Parameters(network, update.before), data)
            fine = going & np.isfinite(losses) & np.isfinite(update.penalties)
            result.losses[fine, update.epoch - 1] = losses[fine]
            result.watch(network, update.epoch - 1, done, everyone, fine)
            sound = update.before if fine.all() else np.where(fine[:, np.newaxis], update.before, sound)
            sound_epochs[fine] = update.epoch - 1
        result.vectors, result.optimizer_state = update.after, update.state
        result.n_steps[going] = update.t
        for number, name in enumerate(update.first_nonfinite):
            if name is not None:
                result.diverged_at[number] = update.t
                # An infinite loss is the doing of the step before, which is taken back.
                result.n_steps[number] = max(0, update.t - (2 if name in ("loss", "penalty") else 1))
        if update.last_of_epoch:
            watch_held_out(update.epoch, update.after)
            if stopped():
                break
    trained = Parameters(network, result.vectors)
    losses, done = losses_and_pass(network, trained, data)
    # All updates were finite; where what came of them over all rows is not, they are taken back.
    lost = ~np.isfinite(losses + stacked.penalties(trained, spec.l1, spec.l2))
    if lost.any():
        late = lost & (result.diverged_at < 0)
        result.diverged_at[late] = result.n_steps[late]
        result.n_steps[lost] = sound_epochs[lost] * n_batches
        result.vectors = np.where(lost[:, np.newaxis], sound, result.vectors)
        losses, done = losses_and_pass(network, Parameters(network, result.vectors), data)
    result.n_epochs[:] = result.n_steps // n_batches
    result.watch(network, result.n_epochs, done, everyone, np.isfinite(losses))
    steady = result.diverged_at < 0
    result.losses[steady, result.n_epochs[steady]] = losses[steady]
    return result


def _minimise(
    network: Network, optimizer: LBFGS, spec: Spec, data: Data, result: StackResult, s: int, held_out: Data | None
) -> None:
    """L-BFGS on network s of a stack; an epoch is one iteration."""
    share = data.row_weights / data.row_weights.sum()

    def objective(vector: FloatArray) -> tuple[float, FloatArray]:
        parameters = Parameters(network, vector[np.newaxis])
        with np.errstate(all="ignore"):
            done = stacked.forward(network, parameters, data.X)
            loss = (stacked.row_losses(network, done, data.y) * share).sum(axis=-1)
            penalty = stacked.penalties(parameters, spec.l1, spec.l2)
            gradient = stacked.backward(network, parameters, done, data.y, share, spec.l1, spec.l2)
        return float(loss[0] + penalty[0]), gradient[0]

    for epoch, step in enumerate(optimizer.iterations(objective, result.vectors[s])):
        result.vectors[s] = step.vector
        result.n_epochs[s] = result.n_steps[s] = epoch
        one = Parameters(network, step.vector[np.newaxis])
        losses, done = losses_and_pass(network, one, data)
        if not np.isfinite(step.value):
            result.diverged_at[s] = 0  # there is no way from here
            return
        result.losses[s, epoch] = losses[0]
        result.watch(network, epoch, done, np.array([s]), np.array([True]))
        if held_out is not None:
            result.held_out_losses[s, epoch] = losses_and_pass(network, one, held_out)[0][0]
        if step.message is not None:
            result.converged[s] = True
            # It stays where it is: so do its curves.
            result.losses[s, epoch:] = result.losses[s, epoch]
            result.held_out_losses[s, epoch:] = result.held_out_losses[s, epoch]
        if epoch == spec.epochs:
            return
