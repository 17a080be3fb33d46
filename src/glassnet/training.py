"""Training: `train` runs to the end and returns a `Run`, `steps` yields a record of every update."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glassnet import dispatch, reference
from glassnet.checkpoints import keeping
from glassnet.dispatch import chosen_engine, job_size, train_in_pieces, train_members, updates_per_epoch
from glassnet.errors import DataError, UsageError
from glassnet.kernels import stacked, stacked_training
from glassnet.kernels.threads import number_of_threads
from glassnet.network import FloatArray, Network, Parameters, dropout_masks, initialize
from glassnet.optimizers import LBFGS, Adam, Optimizer, Schedule, State
from glassnet.runs import NONFINITE, AnyOptimizer, Counts, Data, Members, Outcome, Spec, ones_for
from glassnet.sparse import SparseTable

HeldOut = tuple[ArrayLike, ArrayLike] | tuple[ArrayLike, ArrayLike, ArrayLike]
"""Rows that are watched and not trained on: X, y and, where they do not all weigh the same, their weights."""

_ADAM = Adam()


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
    own names, of L-BFGS those of `LBFGSStep.state`. `recorded` is the `history` as the training left it, with NaN for a
    loss before any update that it had no use for. `stop_reason` is "epochs" (all were
    made), "converged", "held-out loss" (patience was at its end), "interrupted" or "diverged at step n": the parameters
    are then the last with a finite loss, and `first_nonfinite` names what was not finite first.
    """

    network: Network
    spec: Spec
    initial: Parameters
    parameters: Parameters
    optimizer_state: State
    counters: dict[str, int]
    recorded: History = field(repr=False)
    stop_reason: str
    engine_used: str
    data: Data = field(repr=False)
    first_nonfinite: str | None = None

    @cached_property
    def history(self) -> History:
        """The losses of its epochs. [0] of a compiled training in batches takes a pass over all rows, once asked: over
        the rows as they are then."""
        loss = self.recorded.loss
        if self.engine_used == "numpy" or self.n_batches == 1 or not np.isnan(loss[0]):
            return self.recorded
        spec, vectors = replace(self.spec, epochs=1, patience=None), self.initial.vector[np.newaxis]
        begun = train_members(
            self.network, spec, self.data, vectors, spec.alone, engine=self.engine_used, last_epoch=0
        )  # fmt: skip
        if not begun.n_finished:
            raise KeyboardInterrupt
        return replace(self.recorded, loss=np.concatenate([begun.losses[0, :1], loss[1:]]))

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
        return float(losses[0]) + float(stacked.penalties(trained, self.spec.l1, self.spec.l2)[0])

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
            outcome, _ = compiled.train(
                network, replayed, data, vectors, members, last_step=before, whole_losses=False
            )  # fmt: skip
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
    `engine`: "compiled" or "numpy"; where left out, `dispatch.chosen_engine` chooses.
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
    threads = number_of_threads(threads)
    data = Data.checked(network, X, y, row_weights, _dtype_of(parameters, resume), threads)
    spec = Spec.of(
        optimizer or _ADAM, epochs, batch_size, random_state, start, initializer, l1, l2, dropout, patience,
        min_improvement,
    )  # fmt: skip
    spec.rates(network)  # an error where the dropout does not fit
    watched = held_out_data(network, held_out, data, patience)
    used = chosen_engine(engine, network, spec, len(data.X), 1)
    initial = _initial(network, spec, data, parameters)
    begun, members = None, spec.alone
    resumed = resume if isinstance(resume, Run) else None
    if resumed is not None:
        _refuse_other(resumed, network, spec, data, used)
        initial, begun = resumed.initial, _begun(resumed, spec)
    vectors = initial.vector[np.newaxis]
    if checkpoint is None:
        if every is not None or resume is True:
            raise UsageError("every and resume=True are about a checkpoint; give checkpoint=PATH, or leave them out.")
        outcome = train_members(
            network, spec, data, vectors, members, engine=used, held_out=watched, begun=begun, whole_losses=False,
            threads=threads,
        )  # fmt: skip
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
            outcome = train_in_pieces(
                network, spec, data, vectors, members, kept, used, threads, watched, whole_losses=False
            )  # fmt: skip
    return _run(network, spec, data, initial, outcome, used, watched is not None, resumed)


def _begun(run: Run, spec: Spec) -> Outcome:
    """What had come of a run, to be gone on with."""
    begun = Outcome.begun(run.parameters.vector[np.newaxis], spec.epochs)
    begun.optimizer_state = {name: value[np.newaxis] for name, value in run.optimizer_state.items()}
    begun.best_losses[:], begun.best_vectors = np.inf, begun.vectors  # only with patience does it matter
    begun.n_epochs[:], begun.n_steps[:] = run.counters["epochs"], run.counters["steps"]
    begun.losses[0, : len(run.recorded.loss)] = run.recorded.loss
    if run.recorded.held_out_loss is not None:
        begun.held_out_losses[0, : len(run.recorded.held_out_loss)] = run.recorded.held_out_loss
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
    counts = Counts._make(outcome.counts[0].tolist())
    first = NONFINITE[counts.first_nonfinite]
    if first is not None:
        reason = f"diverged at step {counts.diverged_at}"
    elif counts.converged:
        reason = "converged"
    elif counts.stopped_early:
        reason = "held-out loss"
    else:
        reason = "epochs" if outcome.n_finished else "interrupted"
    made = counts.n_epochs
    counters = {"epochs": made, "steps": counts.n_steps}
    if spec.patience is not None:
        counters["best_epoch"] = counts.best_epochs
    curves = [outcome.losses[0, : made + 1], outcome.held_out_losses[0, : made + 1] if watched else None]
    if resumed is not None:
        before = (resumed.recorded.loss, resumed.recorded.held_out_loss)
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
        recorded=History(*curves),  # type: ignore[arg-type]
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
    data = Data.checked(network, X, y, row_weights, _dtype_of(parameters, None))
    spec = Spec(optimizer or Adam(), epochs, batch_size, random_state, start, initializer, l1, l2, dropout)
    spec.rates(network)
    if isinstance(spec.optimizer, LBFGS):
        raise UsageError("An iteration of L-BFGS is no single step; use train, or another optimiser.")
    watched = held_out_data(network, held_out, data)
    initial = _initial(network, spec, data, parameters)
    used = chosen_engine(engine, network, spec, len(data.X), 1)
    records = _compiled_records if used == "compiled" else _records
    return records(network, spec, data, initial.vector[np.newaxis], watched)


def _dtype_of(parameters: Parameters | None, resume: Run | bool | None) -> Any:
    """The dtype of the parameters that are given, if any are, else float64."""
    given = resume.parameters if isinstance(resume, Run) else parameters
    return given.vector.dtype if isinstance(given, Parameters) else np.float64


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
    members, state, at = spec.alone, None, 0
    together = max(1, int(dispatch.SMALL_JOB * n_updates / max(job_size(network, spec, len(data.X), 1), 1.0)))
    while at < n_updates:
        end = min(at + together, n_updates)
        outcome, records = compiled.train(
            network, spec, data, vectors, members, held_out=watched, state=state, first_step=at, last_step=end,
            recorded=True, whole_losses=False,
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
