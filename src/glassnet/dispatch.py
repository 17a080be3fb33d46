"""Networks handed to the engine that trains them: which one, in what groups, in what pieces.

Two engines do the work. `compiled` runs kernels made from the network's equations (see `kernels`); the first of a shape
takes about a tenth of a second to compile, once, the first of all a second or two. `numpy` begins at once and takes the
jobs that are done before that: those of up to `SMALL_JOB` (see `job_size`). Which one it is follows from the job alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from glassnet.checkpoints import Checkpoint
from glassnet.errors import UsageError
from glassnet.kernels import stacked_training
from glassnet.minimization import minimized
from glassnet.network import FloatArray, Network
from glassnet.optimizers import LBFGS, Optimizer
from glassnet.runs import Data, Members, Outcome, Spec

ENGINES = ("compiled", "numpy")

SMALL_JOB = 2e7
"""Jobs up to this size run on NumPy: about a tenth of a second there."""


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
    whole_losses: bool = True,
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
    stop: NDArray[np.int64] | None = None,
) -> Outcome:
    """Train networks that start at vectors (S, n_parameters) and differ by what `members` says.

    A single network may go on from what had `begun`, and be left as it stands after `last_epoch`.
    `whole_losses`: whether the losses over all rows before the first update and after the last are wanted; with batches
    each takes the compiled engine a pass of its own. Left out they are NaN, and health is that of the last epoch; the
    last is taken all the same where it could be infinite.
    `stop`: one number, which another thread may set to 1. A compiled training then ends with the update under way, as
    by Ctrl-C: the outcome's `n_finished` networks, from the first on, were trained to their end.
    """
    if isinstance(spec.optimizer, LBFGS):
        return minimized(
            network, spec, data, vectors, members, engine, held_out, threads, progress, begun, last_epoch, stop
        )
    first_step, state = 0, None
    if begun is not None:
        vectors, state, first_step = begun.vectors, begun.optimizer_state, int(begun.n_steps[0])
    if engine == "compiled":
        if len(members) > 1 and len(groups := members.together(spec, len(data.X))) > 1:
            return _in_groups(network, spec, data, vectors, members, groups, held_out, threads, progress, stop)
        last_step = None if last_epoch is None else last_epoch * updates_per_epoch(spec, data, members)
        return _compiled_train()(
            network, spec, data, vectors, members, held_out=held_out, state=state, first_step=first_step,
            last_step=last_step, begun=begun, whole_losses=whole_losses, threads=threads, progress=progress, stop=stop,
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


@cache
def _compiled_train() -> Callable[..., tuple[Outcome, FloatArray]]:
    """`compiled.train`, imported when it is wanted; to import it anew takes a microsecond each time."""
    from glassnet.kernels import compiled

    return compiled.train


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
    *,
    whole_losses: bool = True,
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
            last_epoch=last_epoch, whole_losses=whole_losses, threads=threads,
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
            part, _ = _compiled_train()(
                network, spec, data, vectors[of], members.at(of), held_out=held_out, threads=threads, progress=count,
                stop=stop,
            )  # fmt: skip
            finished[of[: part.n_finished]] = True
        parts.append(part)
    outcome = Outcome.joined(parts).at(np.argsort(np.concatenate(groups)))
    outcome.n_finished = len(members) if finished.all() else int(np.argmin(finished))
    return outcome
