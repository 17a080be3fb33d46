"""Training: `train` runs to the end and returns a `Run`, `steps` yields a record of every update.

Two engines do the work. `compiled` runs kernels made from the network's equations (see `kernels`); the first of a shape
takes a second or two to compile, once. `numpy` begins at once and takes the jobs that are done before that: those of up
to `SMALL_JOB` (see `job_size`). Which one it is follows from the job alone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glassnet import reference
from glassnet.checkpoints import Checkpoint, keeping
from glassnet.errors import DataError, UsageError
from glassnet.kernels import stacked, stacked_training
from glassnet.network import FloatArray, Network, Parameters, dropout_masks, initialize
from glassnet.optimizers import LBFGS, Adam, Optimizer, Schedule, State
from glassnet.runs import NONFINITE, AnyOptimizer, Data, Members, Outcome, Spec, ones_for
from glassnet.sparse import SparseTable
from glassnet.waiting import result_of

ENGINES = ("compiled", "numpy")

HeldOut = tuple[ArrayLike, ArrayLike] | tuple[ArrayLike, ArrayLike, ArrayLike]
"""Rows that are watched and not trained on: X, y and, where they do not all weigh the same, their weights."""

SMALL_JOB = 2e7
"""Jobs up to this size run on NumPy: about a tenth of a second there."""


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
    """What a run's epochs left: `loss` and `held_out_loss`, [0] before any update and [e] after, or of, epoch e.

    `held_out_loss` is that after an epoch. So is `loss` where a batch holds all rows; with smaller ones it is the
    weighted mean of the losses of the epoch's batches, each before its own update.
    """

    loss: FloatArray
    held_out_loss: FloatArray | None = None


@dataclass(frozen=True)
class Run:
    """A finished training.

    `parameters` are the trained ones, `initial` those it began with; `counters` holds the epochs and steps that lie
    between them, and with patience the `best_epoch` whose parameters they are. `optimizer_state` has the optimiser's
    own names, of L-BFGS those of `LBFGSStep.state`. `stop_reason` is "epochs" (all were
    made), "converged", "held-out loss" (patience was at its end), "interrupted" or "diverged at step n": the parameters
    are then the last with a finite loss, and `first_nonfinite` names what was not finite first.
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
    first_nonfinite: str | None = None

    @property
    def data_hash(self) -> str:
        """The hash of the rows it was trained on."""
        return self.data.hash

    @property
    def objective(self) -> float:
        """Loss plus penalty over all training rows at the end."""
        trained = Parameters(self.network, self.parameters.vector[np.newaxis])
        data = self.data if isinstance(self.data.X, SparseTable) else self.data.as_floats()
        losses, _ = stacked_training.losses_and_pass(self.network, trained, data)
        return float(losses[0] + stacked.penalties(trained, self.spec.l1, self.spec.l2)[0])

    def trace(self, epoch: int, batch: int = 1) -> reference.Trace:
        """The full `Trace` of one step (epoch and batch count from 1), before its update.

        The training is replayed up to there, by the engine that ran it: nothing is stored.

        >>> net = Network((1, 1), loss="mean_squared_error")
        >>> run = train(net, [[1.0], [2.0]], [1.0, 2.0], epochs=3)
        >>> bool(run.trace(epoch=1).loss == run.history.loss[0])
        True
        """
        at, spec = self.replay(epoch, batch), self.spec
        part = self.data.at(at.rows).as_floats()
        return reference.backward(
            self.network, at.parameters, part.X, part.y, part.row_weights, spec.l1, spec.l2, at.masks
        )

    @property
    def n_batches(self) -> int:
        """The updates of an epoch."""
        return stacked_training.n_batches(len(self.data.X), self.spec)

    def batch_of(self, epoch: int, row: int) -> int:
        """The batch (from 1) that holds training row `row` (from 0) in an epoch.

        >>> net = Network((1, 1))
        >>> run = train(net, [[0.0], [1.0], [2.0]], [0, 1, 1], epochs=2, batch_size=1)
        >>> sorted(run.batch_of(2, row) for row in range(3))
        [1, 2, 3]
        """
        every = stacked_training.batches(len(self.data.X), self.spec, np.array([self.spec.start]), epoch)
        return next(batch for batch, rows in enumerate(every, start=1) if rows is None or row in rows[0])

    def replay(self, epoch: int, batch: int = 1) -> Replayed:
        """Where the training stood before one update (epoch and batch count from 1), by the engine that ran it.

        Raises `UsageError` for a step that was never trained, and for L-BFGS, whose steps are line searches.

        >>> net = Network((1, 1), loss="mean_squared_error")
        >>> at = train(net, [[1.0], [2.0]], [1.0, 2.0], epochs=3, batch_size=1).replay(epoch=2, batch=1)
        >>> at.t, len(at.rows), sorted(at.state)
        (3, 1, ['m', 'v'])
        """
        network, spec, data = self.network, self.spec, self.data
        if isinstance(spec.optimizer, LBFGS):
            raise UsageError("A step of L-BFGS is a line search of several passes; trace a run of another optimiser.")
        n, per_epoch = len(data.X), self.n_batches
        before = (epoch - 1) * per_epoch + batch - 1
        known = self.counters["steps"]
        if self.stop_reason.startswith("diverged"):
            known = int(self.stop_reason.split()[-1])  # the update that was not finite has a trace as well
        known = max(known, self.counters["epochs"] * per_epoch)
        if not (1 <= batch <= per_epoch and 0 <= before < known):
            raise UsageError(
                f"A step is an epoch from 1 to {-(-known // per_epoch)} and a batch from 1 to {per_epoch}, {known} "
                f"updates in all; epoch {epoch}, batch {batch} was never trained."
            )
        replayed = replace(spec, patience=None)
        numbers = np.array([spec.start])
        vectors = self.initial.vector[np.newaxis]
        state = spec.optimizer.init(vectors)
        if before and self.engine_used == "compiled":
            from glassnet.kernels import compiled

            members = Members.of(replayed, numbers)
            outcome, _ = compiled.train(network, replayed, data, vectors, members, last_step=before)
            if not outcome.n_finished:
                raise KeyboardInterrupt  # half a replay is no answer
            vectors, state = outcome.vectors, outcome.optimizer_state
        elif before:
            for update in stacked_training.updates(network, replayed, data.as_floats(), vectors, numbers):
                if update.t == before:
                    vectors, state = update.after, update.state
                    break
        rows = stacked_training.batches(n, spec, numbers, epoch)[batch - 1]
        chosen = np.arange(n) if rows is None else rows[0]
        masks = None
        if spec.has_dropout:
            every = dropout_masks(
                network, spec.rates(network), n, random_state=spec.random_state, start=spec.start, epoch=epoch
            )
            masks = tuple(mask[chosen] for mask in every)
        return Replayed(
            epoch=epoch,
            batch=batch,
            t=before + 1,
            rows=chosen,
            parameters=Parameters(network, vectors[0].copy()),
            state={name: value[0].copy() for name, value in state.items()},
            learning_rate=spec.optimizer.rate(before + 1, per_epoch * spec.epochs),
            masks=masks,
        )


@dataclass(frozen=True)
class Replayed:
    """Where a training stood before update `t`: batch `batch` of epoch `epoch`, all counted from 1.

    `rows` (n_batch,): the numbers of the batch's rows in the training table; `masks` (n_batch, units) of the hidden
    layers where there is dropout. `parameters` and the optimiser's `state`, each (n_parameters,), are those before.
    """

    epoch: int
    batch: int
    t: int
    rows: NDArray[np.intp]
    parameters: Parameters
    state: State
    learning_rate: float
    masks: tuple[FloatArray, ...] | None = None


def train(
    network: Network,
    X: ArrayLike,
    y: ArrayLike,
    *,
    optimizer: AnyOptimizer | None = None,
    epochs: int = 100,
    batch_size: int | None = None,
    random_state: int = 0,
    start: int = 0,
    parameters: Parameters | None = None,
    initializer: str | None = None,
    row_weights: ArrayLike | None = None,
    l1: float = 0.0,
    l2: float = 0.0,
    dropout: float | tuple[float, ...] = 0.0,
    held_out: HeldOut | None = None,
    patience: int | None = None,
    min_improvement: float = 0.0,
    checkpoint: str | os.PathLike[str] | None = None,
    every: int | None = None,
    resume: Run | bool | None = None,
    engine: str | None = None,
    threads: int | None = None,
) -> Run:
    """Train `network` on X (n, n_features), y (n, n_outputs) or (n,). X may be a sparse matrix of SciPy's.

    `optimizer`: Adam() where left out.  `epochs`: passes over all rows; with L-BFGS, iterations.
    `batch_size`: rows an update looks at, in an order shuffled anew every epoch; None takes all at once.
    `parameters`: where to begin; else `initialize(network, random_state, initializer, start=start)`.
    `row_weights` (n,), `l1`, `l2`: objective = sum(w loss) / sum(w) + l1 sum|W| + l2 / 2 sum W^2, over weights W only.
    `dropout`: the share of hidden units that sit an update out, for all hidden layers or one number for each.
    `held_out`: (X, y), or (X, y, row_weights), whose loss is recorded after every epoch. It does not influence the
    training, unless there is `patience`: so many epochs without a loss lower by more than `min_improvement` end it, and
    the parameters with the lowest one are kept.
    `checkpoint`: a file that keeps where the training stands, so that it survives its process: written after `every`
    so many epochs, about once a second where left out; when it is interrupted or terminated; and at the end.
    `resume`: a run of the same network, data and settings, whose epochs are continued as if it had not ended; or True,
    to go on from the checkpoint, where there is one. The bits are those of a training that was never ended.
    `engine`: "compiled" or "numpy"; where left out, see the head of this module.
    `threads`: as many as the process may use processors where left out; the result does not depend on it.

    A KeyboardInterrupt ends a compiled training with the batch under way and returns the run as it is then; with a
    checkpoint, as it is there.

    Raises `UsageError` for settings that cannot be meant and for a checkpoint of another training, `DataError` for data
    that cannot be meant and for a damaged checkpoint, `CannotWriteError` where one cannot be written. A training that
    diverges stops, and keeps the last parameters with a finite loss.

    >>> net = Network((1, 1), loss="mean_squared_error")
    >>> run = train(net, [[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0], optimizer=LBFGS())
    >>> run.parameters.vector.round(4).tolist(), run.stop_reason
    ([2.0, 1.0], 'converged')
    """
    data = Data.checked(network, X, y, row_weights, *_dtype_of(parameters, resume))
    spec = Spec(
        optimizer or Adam(), epochs, batch_size, random_state, start, initializer, l1, l2, dropout, patience,
        min_improvement,
    )  # fmt: skip
    spec.rates(network)  # an error where the dropout does not fit
    watched = held_out_data(network, held_out, data, patience)
    used = chosen_engine(engine, network, spec, len(data.X), 1)
    initial = _initial(network, spec, data, parameters)
    begun, members = None, Members.of(spec, np.array([start]))
    resumed = resume if isinstance(resume, Run) else None
    if resumed is not None:
        _refuse_other(resumed, network, spec, data, used)
        initial, begun = resumed.initial, _begun(resumed, spec)
    vectors = initial.vector[np.newaxis]
    if checkpoint is None:
        if every is not None or resume is True:
            raise UsageError("every and resume=True are about a checkpoint; give checkpoint=PATH, or leave them out.")
        outcome = train_members(
            network, spec, data, vectors, members, engine=used, held_out=watched, begun=begun, threads=threads
        )
    else:
        per_epoch = updates_per_epoch(spec, data, members)
        if resumed is not None and resumed.counters["steps"] % per_epoch:
            raise UsageError(
                "A checkpoint is kept between epochs; this run ended within one, after step "
                f"{resumed.counters['steps']}. Resume it without a checkpoint, or train from the beginning."
            )
        with keeping(
            checkpoint, network, spec, data, vectors, members, engine=used, held_out=watched, every=every,
            resume=resume is True, begun=begun, per_epoch=per_epoch,
        ) as kept:  # fmt: skip
            outcome = train_in_pieces(network, spec, data, vectors, members, kept, used, threads, watched)
    return _run(network, spec, data, initial, outcome, used, watched is not None, resumed)


def _begun(run: Run, spec: Spec) -> Outcome:
    """What had come of a run, to be gone on with."""
    begun = Outcome.begun(run.parameters.vector[np.newaxis], spec.epochs)
    begun.optimizer_state = {name: value[np.newaxis] for name, value in run.optimizer_state.items()}
    begun.best_losses[:], begun.best_vectors = np.inf, begun.vectors  # only with patience does it matter
    begun.n_epochs[:], begun.n_steps[:] = run.counters["epochs"], run.counters["steps"]
    begun.losses[0, : len(run.history.loss)] = run.history.loss
    if run.history.held_out_loss is not None:
        begun.held_out_losses[0, : len(run.history.held_out_loss)] = run.history.held_out_loss
    return begun


def _run(
    network: Network,
    spec: Spec,
    data: Data,
    initial: Parameters,
    outcome: Outcome,
    used: str,
    watched: bool,
    resumed: Run | None,
) -> Run:
    first = NONFINITE[outcome.first_nonfinite[0]]
    if first is not None:
        reason = f"diverged at step {outcome.diverged_at[0]}"
    elif outcome.converged[0]:
        reason = "converged"
    elif outcome.stopped_early[0]:
        reason = "held-out loss"
    else:
        reason = "epochs" if outcome.n_finished else "interrupted"
    made = int(outcome.n_epochs[0])
    counters = {"epochs": made, "steps": int(outcome.n_steps[0])}
    if spec.patience is not None:
        counters["best_epoch"] = int(outcome.best_epochs[0])
    curves = [outcome.losses[0, : made + 1], outcome.held_out_losses[0, : made + 1] if watched else None]
    if resumed is not None:
        before = (resumed.history.loss, resumed.history.held_out_loss)
        for curve, old in zip(curves, before, strict=True):
            if curve is not None and old is not None:
                # What the first part knew stands; only the loss after its last epoch may be known twice.
                curve[: len(old)] = old
    return Run(
        network=network,
        spec=spec,
        initial=initial,
        parameters=Parameters(network, outcome.vectors[0].copy()),
        optimizer_state={name: value[0].copy() for name, value in outcome.optimizer_state.items()},
        counters=counters,
        history=History(*curves),  # type: ignore[arg-type]
        stop_reason=reason,
        engine_used=used,
        data=data,
        first_nonfinite=first,
    )


def _refuse_other(resume: Run, network: Network, spec: Spec, data: Data, used: str) -> None:
    """The error of a run that cannot be continued like this."""
    if isinstance(spec.optimizer, LBFGS) or spec.patience is not None:
        raise UsageError("resume continues gradient descent without patience; train L-BFGS, or with patience, at once.")
    if replace(resume.spec, epochs=spec.epochs) != spec or resume.network != network or resume.engine_used != used:
        raise UsageError(
            "resume continues a run of the same network, settings (epochs apart) and engine; "
            f"got {resume.network}, {resume.spec} on {resume.engine_used} to go on as {network}, {spec} on {used}."
        )
    if resume.data_hash != data.hash:
        raise UsageError("resume continues a run on the same rows; X, y or row_weights are others.")
    if spec.epochs * stacked_training.n_batches(len(data.X), spec) < resume.counters["steps"]:
        raise UsageError(f"resume goes on to `epochs` in all; got {spec.epochs}, and {resume.counters} are made.")
    schedule = spec.optimizer.learning_rate
    if isinstance(schedule, Schedule) and spec.epochs != resume.spec.epochs and "n_updates" in schedule.equation:
        raise UsageError(
            f"resume to another number of epochs needs rates that do not depend on it; those of {schedule} do, and "
            f"the epochs behind were of {resume.spec.epochs}. Train at once, or resume to epochs={resume.spec.epochs}."
        )
    if resume.stop_reason not in ("epochs", "interrupted"):
        raise UsageError(f"resume continues a run that went well; this one ended: {resume.stop_reason}.")


def steps(
    network: Network,
    X: ArrayLike,
    y: ArrayLike,
    *,
    optimizer: Optimizer | None = None,
    epochs: int = 100,
    batch_size: int | None = None,
    random_state: int = 0,
    start: int = 0,
    parameters: Parameters | None = None,
    initializer: str | None = None,
    row_weights: ArrayLike | None = None,
    l1: float = 0.0,
    l2: float = 0.0,
    dropout: float | tuple[float, ...] = 0.0,
    held_out: HeldOut | None = None,
    engine: str | None = None,
) -> Iterator[Step]:
    """The training of `train`, one `Step` per update, as it goes; arguments as there, without L-BFGS and patience.

    >>> net = Network((1, 1), loss="mean_squared_error")
    >>> [step.epoch for step in steps(net, [[1.0], [2.0]], [1.0, 2.0], epochs=2, batch_size=1)]
    [1, 1, 2, 2]
    """
    data = Data.checked(network, X, y, row_weights, *_dtype_of(parameters, None))
    spec = Spec(optimizer or Adam(), epochs, batch_size, random_state, start, initializer, l1, l2, dropout)
    spec.rates(network)
    if isinstance(spec.optimizer, LBFGS):
        raise UsageError("An iteration of L-BFGS is no single step; use train, or another optimiser.")
    watched = held_out_data(network, held_out, data)
    initial = _initial(network, spec, data, parameters)
    used = chosen_engine(engine, network, spec, len(data.X), 1)
    records = _compiled_records if used == "compiled" else _records
    return records(network, spec, data, initial.vector[np.newaxis], watched)


def _dtype_of(parameters: Parameters | None, resume: Run | bool | None) -> tuple[Any, ...]:
    """The dtype of the parameters that are given, if any are."""
    given = resume.parameters if isinstance(resume, Run) else parameters
    return (given.vector.dtype,) if isinstance(given, Parameters) else ()


def held_out_data(network: Network, held_out: HeldOut | None, data: Data, patience: int | None = None) -> Data | None:
    """The held-out rows, (X, y) or (X, y, row_weights), in the type of the training rows `data`.

    Raises `UsageError` where there is `patience` and nothing to wait for, or where there are neither two nor three.

    >>> net = Network((1, 1), loss="mean_squared_error")
    >>> data = Data.checked(net, [[0.0], [1.0]], [1.0, 3.0], None)
    >>> held_out_data(net, ([[2]], [5]), data).X.dtype
    dtype('float64')
    """
    if held_out is None:
        if patience is not None:
            raise UsageError("patience waits for the loss of held-out rows; give held_out=(X, y), or leave it out.")
        return None
    if len(held_out) not in (2, 3):
        raise UsageError(f"held_out is (X, y), or (X, y, row_weights); got {len(held_out)} of them.")
    X, y, row_weights = (*held_out, None)[:3]
    given = Data.checked(network, X, y, row_weights, data.dtype)
    if isinstance(given.X, SparseTable) and not isinstance(data.X, SparseTable):
        given = given.as_floats()
    elif isinstance(data.X, SparseTable) and not isinstance(given.X, SparseTable):
        from scipy.sparse import csr_array

        given = replace(given, X=SparseTable(csr_array(given.as_floats().X)))
    if data.X.dtype == np.uint8 != given.X.dtype:
        raise DataError(f"held_out has rows of the type of X, which is uint8; got {given.X.dtype}.")
    weights = ones_for(len(given.X), data.dtype) if row_weights is None else given.row_weights
    return Data(
        given.X.astype(data.X.dtype, copy=False), given.y.astype(data.dtype, copy=False),
        weights.astype(data.dtype, copy=False),
    )  # fmt: skip


def _initial(network: Network, spec: Spec, data: Data, given: Parameters | None) -> Parameters:
    """Where a training begins, in a vector of its own."""
    if given is None:
        return initialize(network, spec.random_state, spec.initializer, start=spec.start, dtype=data.dtype)
    return Parameters(network, reference.checked_parameters(network, given, data.dtype).vector.copy())


def _records(network: Network, spec: Spec, data: Data, vectors: FloatArray, watched: Data | None) -> Iterator[Step]:
    watched = None if watched is None else watched.as_floats()
    for update in stacked_training.updates(network, spec, data.as_floats(), vectors, np.array([spec.start])):
        held_out_loss = None
        if watched is not None and update.last_of_epoch:
            after = Parameters(network, update.after)
            held_out_loss = float(stacked_training.losses_and_pass(network, after, watched)[0][0])
        with np.errstate(all="ignore"):
            norm = float(np.linalg.norm(update.gradients[0]))
        yield Step(
            update.epoch,
            update.t,
            float(update.losses[0]),
            held_out_loss,
            float(update.penalties[0]),
            norm,
            NONFINITE[update.first_nonfinite[0]],
        )


def _compiled_records(
    network: Network, spec: Spec, data: Data, vectors: FloatArray, watched: Data | None
) -> Iterator[Step]:
    """By so many updates at a time that each is a moment's work."""
    from glassnet.kernels import compiled, places

    per_epoch = stacked_training.n_batches(len(data.X), spec)
    n_updates = per_epoch * spec.epochs
    members, state, at = Members.of(spec, np.array([spec.start])), None, 0
    together = max(1, int(SMALL_JOB * n_updates / max(job_size(network, spec, len(data.X), 1), 1.0)))
    while at < n_updates:
        end = min(at + together, n_updates)
        outcome, records = compiled.train(
            network, spec, data, vectors, members, held_out=watched, state=state, first_step=at, last_step=end,
            recorded=True,
        )  # fmt: skip
        if not outcome.n_finished:
            raise KeyboardInterrupt  # it has no records of what was not made
        for t, record in enumerate(records, start=at + 1):
            first = NONFINITE[0 if np.isnan(record[places.RECORD_NONFINITE]) else int(record[places.RECORD_NONFINITE])]
            last_of_epoch = t % per_epoch == 0
            yield Step(
                (t - 1) // per_epoch + 1,
                t,
                float(record[places.RECORD_LOSS]),
                float(record[places.RECORD_HELD_LOSS]) if watched is not None and last_of_epoch else None,
                float(record[places.RECORD_PENALTY]),
                float(np.sqrt(record[places.RECORD_SQUARED_NORM])),
                first,
            )
            if first is not None:
                return
        vectors, state, at = outcome.vectors, outcome.optimizer_state, end


# --- engines ------------------------------------------------------------------------------------------------------


def job_size(network: Network, spec: Spec, n_rows: int, n_networks: int) -> float:
    """How large a training is: its flops, six for each parameter, row and epoch, and 20,000 for every update.

    >>> job_size(Network((2, 2, 1)), Spec(epochs=100), 455, 1)
    4457000.0
    """
    n_updates = stacked_training.n_batches(n_rows, spec) * spec.epochs
    return n_networks * (6.0 * network.n_parameters * n_rows * spec.epochs + 2e4 * n_updates)


def chosen_engine(engine: str | None, network: Network, spec: Spec, n_rows: int, n_networks: int) -> str:
    """The engine that is asked for, or the one that the size of the job calls for.

    >>> [chosen_engine(None, Network((2, 2, 1)), Spec(), 455, n_networks) for n_networks in (1, 50)]
    ['numpy', 'compiled']
    """
    if engine is None:
        return "numpy" if job_size(network, spec, n_rows, n_networks) <= SMALL_JOB else "compiled"
    if engine not in ENGINES:
        raise UsageError(f"engine is one of {', '.join(ENGINES)}, or None to choose by the job; got {engine!r}.")
    return engine


def train_members(
    network: Network,
    spec: Spec,
    data: Data,
    vectors: FloatArray,
    members: Members,
    *,
    engine: str,
    held_out: Data | None = None,
    begun: Outcome | None = None,
    last_epoch: int | None = None,
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
    stop: NDArray[np.int64] | None = None,
) -> Outcome:
    """Train networks that start at vectors (S, n_parameters) and differ by what `members` says.

    A single network may go on from what had `begun`, and be left as it stands after `last_epoch`.
    `stop`: one number, which another thread may set to 1. A compiled training then ends with the update under way, as
    by Ctrl-C: the outcome's `n_finished` networks, from the first on, were trained to their end.
    """
    if isinstance(spec.optimizer, LBFGS):
        return _minimised(
            network, spec, data, vectors, members, engine, held_out, threads, progress, begun, last_epoch, stop
        )
    first_step, state = 0, None
    if begun is not None:
        vectors, state, first_step = begun.vectors, begun.optimizer_state, int(begun.n_steps[0])
    if engine == "compiled":
        from glassnet.kernels import compiled

        groups = members.together(spec, len(data.X))
        if len(groups) > 1:
            return _in_groups(network, spec, data, vectors, members, groups, held_out, threads, progress, stop)
        last_step = None if last_epoch is None else last_epoch * updates_per_epoch(spec, data, members)
        return compiled.train(
            network, spec, data, vectors, members, held_out=held_out, state=state, first_step=first_step,
            last_step=last_step, begun=begun, threads=threads, progress=progress, stop=stop,
        )[0]  # fmt: skip
    data, held_out = data.as_floats(), None if held_out is None else held_out.as_floats()
    if members.are_alike and (held_out is None or len(members) == 1):
        alike = members.spec(spec, 0)
        outcome = stacked_training.train_stack(
            network, alike, data, vectors, members.numbers, held_out=held_out, state=state, first_step=first_step,
            begun=begun, last_epoch=last_epoch,
        )  # fmt: skip
        if progress is not None:
            progress(len(members))
        return outcome
    every = []
    for s in range(len(members)):
        own, rows = members.spec(spec, s), members.data(data, s)
        number = members.numbers[s : s + 1]
        every.append(
            stacked_training.train_stack(
                network, own, rows, vectors[s : s + 1], number, held_out=held_out, state=state, first_step=first_step,
                begun=begun, last_epoch=last_epoch,
            )
        )  # fmt: skip
        if progress is not None:
            progress(s + 1)
    return Outcome.joined(every)


def updates_per_epoch(spec: Spec, data: Data, members: Members) -> int:
    """The updates of an epoch of the first network, over its own rows."""
    return stacked_training.n_batches(len(data.X) if members.rows is None else len(members.rows[0]), spec)


def train_in_pieces(
    network: Network,
    spec: Spec,
    data: Data,
    vectors: FloatArray,
    members: Members,
    kept: Checkpoint,
    engine: str,
    threads: int | None,
    held_out: Data | None = None,
) -> Outcome:
    """Train one network some epochs at a time, and keep in between what has come of it.

    The bits do not depend on how it is cut up. Ctrl-C leaves it as it is kept.
    """
    outcome = kept.found
    if kept.finished:
        assert outcome is not None
        return outcome

    def trained(begun: Outcome | None, last_epoch: int | None) -> Outcome:
        piece = train_members(
            network, spec, data, vectors, members, engine=engine, held_out=held_out, begun=begun,
            last_epoch=last_epoch, threads=threads,
        )  # fmt: skip
        if not piece.n_finished:
            raise KeyboardInterrupt
        return piece

    pace, ended = 1, False
    try:
        while not ended:
            made = 0 if outcome is None else int(outcome.n_epochs[0])
            goal = min(made + pace, kept.next_epoch(made), spec.epochs)
            begun_at = time.monotonic()
            piece = trained(outcome, goal)
            if piece.diverged_at[0] >= 0 and outcome is not None:
                # How far a divergence is taken back may depend on what was before this piece: it is gone to at once.
                piece = trained(None, None)
            elif outcome is not None:
                piece = piece.after(outcome)
            taken = time.monotonic() - begun_at
            pace = 2 * pace if taken < _A_PIECE else max(1, pace // 2) if taken > 5 * _A_PIECE else pace
            outcome = piece
            over = (piece.diverged_at >= 0) | piece.converged | piece.stopped_early
            ended = goal == spec.epochs or bool(over[0])
            if ended or kept.is_due(goal):
                kept.write(outcome, finished=ended)
    except KeyboardInterrupt:
        if outcome is None:
            return replace(Outcome.begun(vectors, spec.epochs), n_finished=0)
        kept.write(outcome, finished=ended)
        return outcome if ended else replace(outcome, n_finished=0)
    assert outcome is not None
    return outcome


_A_PIECE = 0.1
"""Seconds: about what can be lost of a training that is interrupted, where an epoch does not take longer."""


def _in_groups(
    network: Network,
    spec: Spec,
    data: Data,
    vectors: FloatArray,
    members: Members,
    groups: list[NDArray[np.intp]],
    held_out: Data | None,
    threads: int | None,
    progress: Callable[[int], None] | None,
    stop: NDArray[np.int64] | None,
) -> Outcome:
    """By compiled kernels, one group of networks after the other."""
    from glassnet.kernels import compiled

    assert isinstance(spec.optimizer, Optimizer)
    parts: list[Outcome] = []
    finished = np.zeros(len(members), bool)
    for of in groups:
        done = int(finished.sum())
        if done < sum(len(part.vectors) for part in parts):
            part = Outcome.begun(vectors[of], spec.epochs)  # it was interrupted before these
            part.optimizer_state = spec.optimizer.init(vectors[of])
            if held_out is not None:
                part.best_vectors = part.vectors
        else:
            count = None if progress is None else lambda n, done=done: progress(done + n)
            part, _ = compiled.train(
                network, spec, data, vectors[of], members.at(of), held_out=held_out, threads=threads, progress=count,
                stop=stop,
            )  # fmt: skip
            finished[of[: part.n_finished]] = True
        parts.append(part)
    outcome = Outcome.joined(parts).at(np.argsort(np.concatenate(groups)))
    outcome.n_finished = len(members) if finished.all() else int(np.argmin(finished))
    return outcome


# --- L-BFGS -------------------------------------------------------------------------------------------------------


class _StackedPasses:
    """Losses and gradients over fixed rows by NumPy; `compiled.Passes` does the same."""

    def __init__(self, network: Network, data: Data) -> None:
        self.network, self.data = network, data.as_floats()

    def loss(self, vector: FloatArray, *, derivatives: bool = False) -> float:
        parameters = Parameters(self.network, vector[np.newaxis])
        losses, self._done = stacked_training.losses_and_pass(self.network, parameters, self.data)
        if derivatives:
            with np.errstate(all="ignore"):
                share = self.data.share()
                self.gradient = stacked.backward(self.network, parameters, self._done, self.data.y, share, 0.0, 0.0)[0]
        return float(losses[0])

    def health(self) -> tuple[int, bool]:
        found = stacked.health(self.network, self._done)
        return int(found.n_dead_units[0]), bool(found.one_class[0])


def _minimised(
    network: Network,
    spec: Spec,
    data: Data,
    vectors: FloatArray,
    members: Members,
    engine: str,
    held_out: Data | None,
    threads: int | None,
    progress: Callable[[int], None] | None,
    begun: Outcome | None,
    last_epoch: int | None,
    stop: NDArray[np.int64] | None,
) -> Outcome:
    """L-BFGS on every network; an epoch is one iteration."""
    stopped = np.zeros(1, np.int64) if stop is None else stop

    def one(s: int) -> Outcome:
        result = Outcome.begun(vectors[s : s + 1], spec.epochs)
        if not stopped[0]:
            state = _minimise(
                network, members.spec(spec, s), members.data(data, s), result, engine, held_out, stopped, begun,
                last_epoch,
            )  # fmt: skip
            if len(vectors) == 1:  # those of many differ in size, and nobody goes on from them
                result.optimizer_state = {name: value[np.newaxis] for name, value in state.items()}
        else:
            result.n_finished = 0
        return result

    every: list[Outcome] = []
    with ThreadPoolExecutor(threads or 1) as pool:
        futures = [pool.submit(one, s) for s in range(len(members))]
        try:
            for future in futures:
                every.append(result_of(future))
                if progress is not None:
                    progress(len(every))
        except KeyboardInterrupt:
            stopped[0] = 1
            every += [future.result() for future in futures[len(every) :]]
    outcome = Outcome.joined(every)
    if stopped[0]:
        unfinished = [s for s, part in enumerate(every) if not part.n_finished]
        outcome.n_finished = unfinished[0] if unfinished else 0 if len(every) == 1 else len(every)
    return outcome


def _minimise(
    network: Network,
    spec: Spec,
    data: Data,
    result: Outcome,
    engine: str,
    held_out: Data | None,
    stopped: NDArray[np.int64],
    begun: Outcome | None,
    last_epoch: int | None,
) -> State:
    """One network, to the end or to `last_epoch`, into `result`; returns the optimiser's state."""
    optimizer = spec.optimizer
    assert isinstance(optimizer, LBFGS)
    kind: Any = _StackedPasses
    if engine == "compiled":
        from glassnet.kernels import compiled

        kind = compiled.Passes
    passes, watched = kind(network, data), None if held_out is None else kind(network, held_out)
    only = np.array([0])

    def penalty(vector: FloatArray) -> tuple[float, FloatArray]:
        parameters = Parameters(network, vector[np.newaxis])
        slope = Parameters(network, np.zeros_like(vector))
        for W, dW in zip(parameters.weights, slope.weights, strict=True):
            dW += spec.l1 * np.sign(W[0]) + spec.l2 * W[0]
        return float(stacked.penalties(parameters, spec.l1, spec.l2)[0]), slope.vector

    def objective(vector: FloatArray) -> tuple[float, FloatArray]:
        loss = passes.loss(vector, derivatives=True)
        with np.errstate(all="ignore"):
            of_weights, slope = penalty(vector)
            return loss + of_weights, passes.gradient + slope

    best, kept, first, state, ended = np.inf, result.vectors[0].copy(), 0, None, False
    last = spec.epochs if last_epoch is None else last_epoch
    if begun is not None:
        first, state = int(begun.n_epochs[0]), {name: value[0] for name, value in begun.optimizer_state.items()}
        result.vectors[:], result.n_epochs[:], result.n_steps[:] = begun.vectors, begun.n_epochs, begun.n_steps
        result.final_losses[:], result.n_dead_units[:] = begun.final_losses, begun.n_dead_units
        result.dead_since[:], result.stuck_since[:] = begun.dead_since, begun.stuck_since
        if watched is not None:
            best, kept = float(begun.best_losses[0]), begun.best_vectors[0]
            result.best_epochs[:] = begun.best_epochs
    for epoch, step in enumerate(optimizer.iterations(objective, result.vectors[0], state), start=first):
        if begun is not None and epoch == first:
            continue  # it has been told of
        result.vectors[0] = step.vector
        result.n_epochs[0] = result.n_steps[0] = epoch
        loss = passes.loss(step.vector)
        if not np.isfinite(step.value):
            # There is no way from here.
            result.diverged_at[0], result.first_nonfinite[0] = 0, 1
            result.final_losses[0] = loss
            break
        result.losses[0, epoch] = result.final_losses[0] = loss
        n_dead, one_class = passes.health()
        result.since(only, epoch, np.array([n_dead]), np.array([one_class]))
        if watched is not None:
            result.held_out_losses[0, epoch] = held = watched.loss(step.vector)
            if held < best - (spec.min_improvement if epoch else 0):
                best, kept = held, step.vector
                result.best_epochs[0] = epoch
            elif spec.patience is not None and epoch - result.best_epochs[0] >= spec.patience:
                result.stopped_early[0] = True
        if step.message is not None:
            result.converged[0] = True
            # It stays where it is: so do its curves.
            result.losses[0, epoch:] = result.losses[0, epoch]
            result.held_out_losses[0, epoch:] = result.held_out_losses[0, epoch]
        ended = bool(stopped[0])
        if ended:
            result.n_finished = 0
        if epoch == last or ended or result.stopped_early[0]:
            break
    if watched is not None:
        result.best_losses[0], result.best_vectors = best, kept[np.newaxis]
        is_over = last == spec.epochs or result.converged[0] or result.stopped_early[0] or ended
        if spec.patience is not None and is_over and result.diverged_at[0] < 0:
            result.vectors[0] = kept
            result.final_losses[0] = passes.loss(kept)
    return step.state
