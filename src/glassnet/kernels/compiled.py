"""Training by compiled kernels, and passes over fixed rows by them: what other rooms ask for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from glassnet.kernels import places
from glassnet.kernels.engines import Engine, is_one_weight, pass_function
from glassnet.kernels.jobs import Job, arrays_of
from glassnet.kernels.memory import address, aligned
from glassnet.kernels.threads import all_threads
from glassnet.network import FloatArray, Network
from glassnet.optimizers import SGD, Optimizer, State
from glassnet.runs import Data, Members, Outcome, Spec, never


def work(network: Network, spec: Spec, n_rows: float, n_held: int = 0) -> float:
    """About the flops that would take as long as a training does.

    Its own, forward passes over held-out rows, and what an update (3000) and a unit's mask (150) take by themselves.
    """
    n_batches = 1.0 if spec.batch_size is None else max(1.0, n_rows / spec.batch_size)
    masks = n_rows * sum(network.sizes[1:-1]) if spec.has_dropout else 0.0
    return spec.epochs * (6.0 * network.n_parameters * (n_rows + n_held / 3) + 3e3 * n_batches + 150 * masks)


def train(
    network: Network,
    spec: Spec,
    data: Data,
    vectors: FloatArray,
    members: Members,
    *,
    held_out: Data | None = None,
    state: State | None = None,
    first_step: int = 0,
    last_step: int | None = None,
    recorded: bool = False,
    whole_losses: bool = True,
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
    begun: Outcome | None = None,
    stop: NDArray[np.int64] | None = None,
) -> tuple[Outcome, FloatArray]:
    """Train networks, vectors (S, n_parameters), by compiled kernels; also the records of every update, if wanted.

    `first_step` and `last_step` are updates made before and after, where not all are; `state` is the optimiser's then,
    and `begun` what had come of them, where their health and their best parameters are to be told from the beginning.
    `whole_losses` and `stop`, as `dispatch.train_members` has them.
    """
    optimizer = spec.optimizer
    assert isinstance(optimizer, Optimizer)
    engine = Engine.of(network, data.dtype, optimizer, penalised=members.are_penalised, dropout=spec.has_dropout)
    n_rows = len(data.X) if members.rows is None else float(np.mean([len(rows) for rows in members.rows]))
    of_one = work(network, spec, n_rows, 0 if held_out is None else len(held_out.X))
    threads = threads or all_threads()
    job = Job(
        engine, spec, data, vectors, members, held=held_out, state=state, first_step=first_step, last_step=last_step,
        recorded=recorded, whole_losses=whole_losses, threads=threads if of_one >= A_SHARE else 1, begun=begun,
        stop=stop,
    )  # fmt: skip
    if job.team > 1:
        n_finished = job.run_together()
        if progress is not None and n_finished:
            progress(n_finished)
    elif of_one * len(vectors) < (A_MOMENT if len(vectors) == 1 or threads == 1 else A_SHARE):
        n_finished = job.run_here()
        if progress is not None:
            progress(n_finished)
    else:
        chunk = max(1, min(int(A_SHARE / of_one), -(-len(vectors) // threads)))
        n_finished = job.run(threads, chunk, progress)
    vectors, states, losses, counts, finals, held_losses, best, records = job.left()
    flat = engine.layout.flat
    outcome = Outcome(
        vectors=flat(vectors),
        optimizer_state={name: flat(states[:, k]) for k, name in enumerate(engine.state_names)},
        losses=losses,
        held_out_losses=never((len(vectors), spec.epochs + 1)) if held_out is None else held_losses,
        counts=counts,
        finals=finals,
        best_vectors=vectors[:, :0] if held_out is None else flat(best),
        n_finished=n_finished,
    )
    return outcome, records


# Work in flops, an update's overhead counted: what takes a tenth of a second at most, so that nobody can want to stop
# it, and what is worth a thread's while.
A_MOMENT, A_SHARE = 1e9, 2.5e7


class Passes:
    """Losses and gradients of a network over fixed rows, by its compiled kernel: the objective of L-BFGS."""

    def __init__(self, network: Network, data: Data) -> None:
        self.engine = engine = Engine.of(network, data.dtype, SGD(), penalised=False, dropout=False)
        dtype, room = engine.dtype, engine.room
        one = is_one_weight(data)
        self._data, self._kept = arrays_of(data, one_weight=one), data
        self._n = len(data.X)
        self._alike = int((data.row_weights == data.row_weights[0]).all())
        reading = engine.reading(data.X)
        self._tools_at = engine.tools_at(reading, shuffle=False)
        self._sizes = engine.sizes.copy()
        self._sizes[places.ONE_WEIGHT] = one
        self._sizes[places.FLOAT_FLAGS] = engine.flags_for(data)
        self._sizes[places.BUFFERED] = is_buffered = engine.reads_buffers(reading)
        self._sizes[places.PART_ROWS] = self._n + places.BLOCK_ROWS_AT_ONCE  # one part, one gradient
        self._stride = stride = engine.block_rows(self._n, reading.most_rows)
        self._vector = aligned(engine.n_padded + engine.lanes, dtype)
        self._gradient = aligned(engine.n_padded + engine.lanes, dtype)
        self._rows = np.empty(stride + places.ROWS_AHEAD, np.int64)
        self._targets = np.empty(stride * network.n_outputs, dtype)
        self._weights = np.empty(stride, dtype)
        self._table = aligned(stride * network.n_features if is_buffered else 1, dtype)
        self._work = aligned(room.work + engine.lanes, dtype)
        self.seen = np.empty(room.seen + engine.lanes, dtype)
        self._sums, self._total = np.zeros(2 * places.MOST_PARTS), np.zeros(1)
        self._taken = -1.0
        a, none = address, np.empty(0, np.int64)
        rows = engine.gradient, self._tools_at, a(self._sizes), *map(a, self._data), a(none), a(none), 0, 0, self._n
        buffers = map(a, (self._rows, self._targets, self._weights, self._table))
        given = *buffers, 0, self._stride, 0, 0, 0, 0, 0, a(self._vector), self._alike
        goals = map(a, (self._gradient, self._work, self.seen, self._sums, self._total))
        self._arguments = rows, given, (*goals, self._n, 0, 0, 1)
        self._none = none

    def loss(self, vector: FloatArray, *, derivatives: bool = False) -> float:
        """The weighted mean loss, without penalty; afterwards `gradient` where wanted, and what was `seen`."""
        engine = self.engine
        engine.layout.put(self._vector, vector)
        self.seen[:] = 0
        self.seen[engine.room.outputs :] = -np.inf
        rows, given, goals = self._arguments
        total = pass_function(engine.number)(*rows, self._taken, *given, int(derivatives), *goals)
        if self._n <= self._stride:
            self._taken = float(self._total[0])
        return float(total / self._total[0])

    @property
    def gradient(self) -> FloatArray:
        """The derivatives of the last `loss`, in a vector of their own."""
        sums = self.engine.layout.flat(self._gradient)
        return sums / sums.dtype.type(self._total[0])

    def health(self) -> tuple[int, bool]:
        """How many hidden units the last pass saw at 0 on every row, and whether all rows got one class."""
        engine, room = self.engine, self.engine.room
        n_dead = int((self.seen[np.add(room.begins, room.units).astype(np.intp)] == 0).sum()) if room.begins else 0
        outputs = self.seen[room.outputs :]
        if engine.classes == places.ONE_OUTPUT:
            return n_dead, bool(outputs[0] <= 0 or outputs[1] < 0)
        return n_dead, engine.classes == places.SOFTMAX and bool((outputs[: engine.network.n_outputs] == 0).any())
