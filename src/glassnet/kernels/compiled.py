"""Training by compiled kernels: what Python does around the one call that trains.

`Engine` is what a network, an optimiser and a dtype need, compiled or loaded; `Job` is one training of some networks on
some rows, with room for all that comes of it, and is run by as many threads as are given.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.activations import ActivationRow
from glassnet.expressions import function
from glassnet.kernels import machine, places, source
from glassnet.losses import LossRow
from glassnet.network import FloatArray, Network, weight_mask
from glassnet.optimizers import SGD, Optimizer, Schedule, State
from glassnet.runs import Data, Members, Outcome, Spec

CHUNK_ROWS = 4096
"""Rows that a kernel's buffers hold at a time: a whole batch up to that size stays there from one pass to the next."""

_GRADIENT = "float64({0}*, {0}*, {0}*, {0}*, {0}*, int64*, int64, int64, int64, {0}*, {0}*, {0}*, int64*)"  # see GRADIENT_ARGUMENTS
_UPDATE = "float64({0}*, {0}*, {0}*, {0}*, {0}*, float64*, float64, float64, float64, float64, int64, {0}*)"
_TILES = {
    "product": "float64({0}*, int64*, int64, int64, int64, {0}*, int64, {0}*, int64, int64, {0}*, int64, int64)",
    "outer": "float64({0}*, int64*, int64, int64, {0}*, int64, int64, {0}*, {0}*, int64)",
    "dots": "float64({0}*, int64*, int64, int64, {0}*, int64, {0}*, int64, {0}*, int64, int64)",
    "narrow_outer": "float64({0}*, int64*, int64, int64, {0}*, int64, int64, {0}*, {0}*, int64, {0}*)",
    "turn": "float64({0}*, int64, int64, {0}*, int64)",
}
_PASS = (
    "float64(int64, int64*, int64*, {0}*, {0}*, {0}*, int64*, int64*, int64, int64, int64, float64, int64*, {0}*, {0}*, "
    "{0}*, {0}*, int64, float64*, int64*, int64, int64, int64, {0}*, int64, {0}*, {0}*, {0}*, float64*)"
)
_TRAIN = (
    "float64(int64, int64, int64, int64*, int64*, {0}*, {0}*, {0}*, {0}*, {0}*, {0}*, int64*, int64*, int64*, {0}*, {0}*, "
    "{0}*, {0}*, int64*, int64*, float64*, float64*, float64*, float64*, float64*, float64*, int64*, float64, float64*, "
    "float64*, float64*, int64*, float64*, int64*, {0}*, int64*, float64*, int64, int64)"
)


def _text(name: str) -> str:
    return Path(__file__).with_name(f"{name}.py").read_text("utf-8")


@cache
def _tools(number: str) -> NDArray[np.int64]:
    """The addresses of `tiles`, as `calls` finds them, and behind them 0, 1, 2, ..."""
    addresses = machine.code(_text("tiles"), {name: text.format(number) for name, text in _TILES.items()})
    tools = np.arange(-8, 512)
    tools[: len(_TILES)] = [addresses[name] for name in _TILES]
    return tools


@cache
def _loop(number: str) -> dict[str, int]:
    """The addresses of the functions of `loop`."""
    return machine.code(_text("loop"), {"run_pass": _PASS.format(number), "train": _TRAIN.format(number)})


def _callable(address: int, signature: str) -> Any:
    """A compiled function as one of Python's, which lets go of Python's lock while it runs."""
    kinds = {"int64": ctypes.c_int64, "float64": ctypes.c_double}
    given = signature.split("(")[1].rstrip(")").split(", ")
    return ctypes.CFUNCTYPE(ctypes.c_double, *(kinds.get(kind, ctypes.c_void_p) for kind in given))(address)


@cache
def _pass(number: str) -> Any:
    return _callable(_loop(number)["run_pass"], _PASS)


@cache
def _train(number: str) -> Any:
    return _callable(_loop(number)["train"], _TRAIN)


@dataclass(frozen=True)
class Engine:
    """The compiled kernels of a network and an optimiser, for one dtype."""

    network: Network
    dtype: np.dtype[Any]
    lanes: int
    room: source.Room
    gradient: int
    update: int
    n_state: int
    scalars: tuple[Callable[..., Any], ...]
    penalised: bool
    dropout: bool

    @classmethod
    def of(cls, network: Network, dtype: Any, optimizer: Optimizer, *, penalised: bool, dropout: bool) -> Engine:
        """Compiled or loaded; the same again for the same network and table rows."""
        rows = tuple(network.activation_row(layer) for layer in range(1, network.n_layers + 1))
        return _engine(network, (*rows, network.loss_row), np.dtype(dtype), optimizer, penalised, dropout)

    @cached_property
    def n_padded(self) -> int:
        """Parameters, rounded up to whole vectors."""
        return -(-self.network.n_parameters // self.lanes) * self.lanes

    @cached_property
    def kinds(self) -> FloatArray:
        """1 for a weight, 0 for a bias, -1 beyond the last parameter."""
        kinds = np.full(self.n_padded, -1, self.dtype)
        kinds[: self.network.n_parameters] = weight_mask(self.network)
        return kinds

    @cached_property
    def hidden(self) -> NDArray[np.int64]:
        """Where what belongs to hidden units lies: see `source.Room`."""
        return np.array([self.room.begins, self.room.row_sizes, self.room.units], np.int64).ravel()

    @cached_property
    def classes(self) -> int:
        """How the loop tells that all rows get one class."""
        link = self.network.loss_row.link
        if link == "softmax":
            return places.SOFTMAX
        return places.ONE_OUTPUT if link == "sigmoid" and self.network.n_outputs == 1 else places.NO_CLASSES


@lru_cache(maxsize=512)
def _engine(
    network: Network,
    rows: tuple[ActivationRow | LossRow, ...],  # part of the key: with them altered it is another kernel
    dtype: np.dtype[Any],
    optimizer: Optimizer,
    penalised: bool,
    dropout: bool,
) -> Engine:
    lanes = machine.BITS // (8 * dtype.itemsize)
    gradient = source.gradient_source(network, lanes, dropout=dropout)
    update = source.update_source(optimizer, lanes, penalised=penalised)
    return Engine(
        network=network,
        dtype=dtype,
        lanes=lanes,
        room=source.room(network, lanes, dropout=dropout),
        gradient=machine.code(gradient, {"gradient": _GRADIENT.format(dtype.name)})["gradient"],
        update=machine.code(update, {"update": _UPDATE.format(dtype.name)})["update"],
        n_state=len(optimizer.state_names),
        scalars=tuple(
            function(scalar, ("t", *optimizer.settings), "library") for scalar in source.update_scalars(optimizer)
        ),
        penalised=penalised,
        dropout=dropout,
    )


class Job:
    """Networks of one shape to be trained, and what has come of it.

    `vectors` (S, n_parameters) are the starts. After a run: `vectors`, `states` (S, n_state, n_parameters), `losses` and
    `held_losses` (S, epochs + 1), `finals` and `counts` as in `places`, `records` of every update where wanted.
    """

    def __init__(
        self,
        engine: Engine,
        spec: Spec,
        data: Data,
        vectors: FloatArray,
        members: Members,
        *,
        held: Data | None = None,
        state: State | None = None,
        first_step: int = 0,
        last_step: int | None = None,
        recorded: bool = False,
    ) -> None:
        optimizer, subsets, epochs, batch_size = spec.optimizer, members.rows, spec.epochs, spec.batch_size
        assert isinstance(optimizer, Optimizer)
        self.engine = engine
        self._data, self._held = _arrays(data), _arrays(held or data)
        size, P, lanes, dtype = len(vectors), engine.n_padded, engine.lanes, engine.dtype
        n_rows = len(data.X)
        if subsets is None:
            self.members, begins, of = np.empty(0, np.int64), np.array([0, n_rows]), np.zeros(size, np.int64)
            most = n_rows
        else:
            self.members = np.concatenate(subsets).astype(np.int64)
            begins = np.cumsum([0, *map(len, subsets)])
            of, most = np.arange(size), max(map(len, subsets))
        n_held = 0 if held is None else len(held.X)
        batch = most if batch_size is None else min(batch_size, most)
        n_updates = epochs * -(-most // batch)
        last_step = n_updates if last_step is None else last_step
        made = last_step - first_step

        network = engine.network
        self.vectors = np.zeros((size, P), dtype)
        self.vectors[:, : network.n_parameters] = vectors
        self.states = np.zeros((size, engine.n_state, P), dtype)
        for k, name in enumerate(optimizer.state_names if state else ()):
            self.states[:, k, : network.n_parameters] = state[name]  # type: ignore[index]
        self.best = np.zeros((size, P) if n_held else (1, 1), dtype)
        self.losses = np.full((size, epochs + 1), np.nan)
        self.held_losses = np.full((size, epochs + 1) if n_held else (1, 1), np.nan)
        self.finals = np.full((size, places.N_FINALS), np.nan)
        self.counts = np.zeros((size, places.N_COUNTS), np.int64)
        self.counts[:, [places.DIVERGED_AT, places.DEAD_SINCE, places.STUCK_SINCE]] = -1
        self.records = np.full((made if recorded else 0, places.N_RECORDED), np.nan)
        self.stop = np.zeros(1, np.int64)
        schedule = np.ones(max(made, 1))
        if isinstance(optimizer.learning_rate, Schedule):
            # A constant one comes as one number, repeated without being there.
            schedule = np.ascontiguousarray(optimizer.learning_rate.rates(first_step + 1, last_step, n_updates))
            rates = np.ones(size)
        else:
            rates = np.full(size, float(optimizer.learning_rate))
        self._per_update = schedule, self._scalars(optimizer, first_step, made)
        self._per_network = (
            np.ascontiguousarray(members.numbers, np.int64),
            np.ascontiguousarray(members.seeds, np.uint64).view(np.int64),
            rates if members.learning_rates is None else np.ascontiguousarray(members.learning_rates, np.float64),
            np.ascontiguousarray(members.l1, np.float64),
            np.ascontiguousarray(members.l2, np.float64),
        )
        self._rows_of = begins.astype(np.int64), of.astype(np.int64)
        pad = max(lanes, 8)

        def padded(n: int) -> int:
            return -(-min(n, CHUNK_ROWS) // pad) * pad

        room = engine.room
        sizes = np.zeros(places.N_SIZES, np.int64)
        sizes[places.UNROLLED] = source.is_unrolled(network)
        sizes[places.LANES] = lanes
        sizes[places.N_PARAMETERS] = P
        sizes[places.STATE_SIZE] = engine.n_state * P
        sizes[places.N_FEATURES] = network.n_features
        sizes[places.N_OUTPUTS] = network.n_outputs
        sizes[places.N_HELD] = n_held
        sizes[places.WITH_MEMBERS] = subsets is not None
        sizes[places.BATCH_SIZE] = batch if batch_size is None else batch_size
        sizes[places.FIRST_STEP] = first_step
        sizes[places.LAST_STEP] = last_step
        sizes[places.N_EPOCHS] = epochs
        sizes[places.PATIENCE] = -1 if spec.patience is None else spec.patience
        sizes[places.N_HIDDEN] = len(room.begins)
        sizes[places.MASKS_PER_ROW] = room.masks_per_row
        sizes[places.SEEN_SIZE] = room.seen
        sizes[places.OUTPUTS_SEEN] = room.outputs
        sizes[places.CLASSES] = engine.classes
        sizes[places.WORK_SIZE] = room.work
        sizes[places.BLOCK_ROWS] = stride = padded(most)
        sizes[places.HELD_BLOCK_ROWS] = held_stride = padded(n_held)
        sizes[places.N_SCALARS] = len(engine.scalars)
        sizes[places.WITH_RECORDS] = recorded
        sizes[places.WITH_DROPOUT] = engine.dropout
        sizes[places.N_ORDER] = n_order = most if batch < most else 0
        self._sizes = sizes
        hidden = network.sizes[1:-1]
        self._dropout = np.repeat(spec.rates(network), hidden).astype(np.float64) if engine.dropout else np.empty(0)
        self._min_improvement = float(spec.min_improvement)
        per_row = network.n_outputs + 1 + (network.n_features if source.is_unrolled(network) else 0)
        per_row += room.masks_per_row if engine.dropout else 0
        self._room = (
            per_row * (stride + held_stride) + 6 * (P + lanes) + 2 * (room.seen + lanes) + room.work + 6 * lanes
        )
        self._whole_room = stride + held_stride + 3 * n_order + 1 + 2 * max(n_order, 2)

    def _scalars(self, optimizer: Optimizer, first_step: int, made: int) -> FloatArray:
        """The numbers that all parameters share, of every update to come."""
        if not self.engine.scalars:
            return np.empty((1, 1))
        values = [np.arange(first_step + 1.0, first_step + made + 1), *optimizer.settings.values()]
        return np.stack([np.broadcast_to(f(*values), (made,)) for f in self.engine.scalars], axis=1)

    def run(self, threads: int, chunk: int, progress: Callable[[int], None] | None = None) -> int:
        """Train; returns how many networks, from the first on, were trained to their end.

        Each thread takes `chunk` networks at a time. A KeyboardInterrupt ends it with the batches under way.
        """
        size = len(self.vectors)
        starts = range(0, size, chunk)
        done = [False] * len(starts)
        waiting = iter(enumerate(starts))
        lock = threading.Lock()
        failed: list[BaseException] = []
        n_done = 0

        def work(ended: threading.Event) -> None:
            nonlocal n_done
            try:
                while not self.stop[0]:
                    with lock:
                        number, start = next(waiting, (-1, -1))
                    if number < 0:
                        return
                    end = min(start + chunk, size)
                    self._call(start, end)
                    with lock:
                        done[number] = not self.stop[0]
                        n_done += end - start
                        if progress is not None and done[number]:
                            progress(n_done)
            except BaseException as problem:
                failed.append(problem)
                self.stop[0] = 1
            finally:
                ended.set()

        ends = [threading.Event() for _ in range(min(threads, len(starts)))]
        workers = [threading.Thread(target=work, args=(ended,), daemon=True) for ended in ends]
        try:
            for worker in workers:
                worker.start()
        except BaseException:
            self.stop[0] = 1
            raise
        waits = True
        while waits:
            try:
                # Not by join: interrupted, it takes a thread for ended that is not (Python's issue 90882). Without a
                # time to wait for, nothing interrupts it on Windows.
                for ended in ends:
                    while not ended.wait(0.1):
                        pass
                for worker in workers:
                    worker.join()
                waits = False
            except KeyboardInterrupt:
                self.stop[0] = 1
        if failed:
            raise failed[0]
        n_whole = done.index(False) if False in done else len(done)
        return min(n_whole * chunk, size)

    def run_here(self) -> int:
        """Train in the calling thread, for jobs of a moment: nothing can interrupt it."""
        self._call(0, len(self.vectors))
        return len(self.vectors)

    def _call(self, first: int, last: int) -> None:
        engine, dtype = self.engine, self.engine.dtype
        number = dtype.name
        room = _aligned(self._room, dtype)
        whole_room = np.empty(self._whole_room, np.int64)
        total = np.zeros(1)
        arrays = (
            _tools(number), self._sizes, *self._data, *self._held, self.members, *self._rows_of, self.vectors, self.states, self.best, engine.kinds, *self._per_network,
            *self._per_update, self._dropout, engine.hidden,
        )  # fmt: skip
        results = (
            self.losses, self.held_losses, self.finals, self.counts, self.records, self.stop, room, whole_room, total,
        )  # fmt: skip
        _train(number)(
            _loop(number)["run_pass"],
            engine.gradient,
            engine.update,
            *(_address(array) for array in arrays),
            self._min_improvement,
            *(_address(array) for array in results),
            first,
            last,
        )


def _arrays(data: Data) -> tuple[FloatArray, FloatArray, FloatArray]:
    X, y, u = (np.ascontiguousarray(part) for part in (data.X, data.y, data.row_weights))
    return X, y, u


def _address(array: NDArray[Any]) -> int:
    return array.__array_interface__["data"][0]  # type: ignore[no-any-return]


def _aligned(n: int, dtype: np.dtype[Any]) -> FloatArray:
    """Zeros that begin at the boundary of a cache line: no vector then lies across two."""
    line = 64 // dtype.itemsize
    array = np.zeros(n + line, dtype)
    skipped = -_address(array) % 64 // dtype.itemsize
    return array[skipped : skipped + n]


def all_threads() -> int:
    """As many threads as the process may use processors."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def flops(network: Network, n_rows: float, epochs: int) -> float:
    """Multiplications and additions of a training: forward, backward and gradient, two for each weight, row and pass."""
    return 6.0 * network.n_parameters * n_rows * epochs


def _work(network: Network, spec: Spec, n_rows: float, n_held: int) -> float:
    """About the flops that would take as long as a training does: its own, forward passes over held-out rows, and what
    an update (2000) and a unit's mask (150) take by themselves."""
    n_batches = 1.0 if spec.batch_size is None else max(1.0, n_rows / spec.batch_size)
    masks = n_rows * sum(network.sizes[1:-1]) if spec.has_dropout else 0.0
    return flops(network, n_rows + n_held / 3, spec.epochs) + spec.epochs * (2e3 * n_batches + 150 * masks)


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
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[Outcome, FloatArray]:
    """Train networks, vectors (S, n_parameters), by compiled kernels; also the records of every update, if wanted.

    `first_step` and `last_step` are updates made before and after, where not all are; `state` is the optimiser's then.
    """
    optimizer = spec.optimizer
    assert isinstance(optimizer, Optimizer)
    penalised = bool(members.l1.any() or members.l2.any())
    engine = Engine.of(network, data.X.dtype, optimizer, penalised=penalised, dropout=spec.has_dropout)
    job = Job(
        engine, spec, data, vectors, members, held=held_out, state=state, first_step=first_step, last_step=last_step,
        recorded=recorded,
    )  # fmt: skip
    n_rows = len(data.X) if members.rows is None else float(np.mean([len(rows) for rows in members.rows]))
    of_one = _work(network, spec, n_rows, 0 if held_out is None else len(held_out.X))
    threads = threads or all_threads()
    if of_one * len(vectors) < _A_MOMENT:
        n_finished = job.run_here()
        if progress is not None:
            progress(n_finished)
    else:
        chunk = max(1, min(int(_A_MOMENT / 4 / of_one), -(-len(vectors) // threads)))
        n_finished = job.run(threads, chunk, progress)
    P, counts = network.n_parameters, job.counts.astype(np.intp)
    outcome = Outcome(
        vectors=job.vectors[:, :P],
        optimizer_state={name: job.states[:, k, :P] for k, name in enumerate(optimizer.state_names)},
        losses=job.losses,
        held_out_losses=np.full_like(job.losses, np.nan) if held_out is None else job.held_losses,
        final_losses=job.finals[:, places.FINAL_LOSS],
        n_epochs=counts[:, places.EPOCHS],
        n_steps=counts[:, places.STEPS],
        diverged_at=counts[:, places.DIVERGED_AT],
        first_nonfinite=counts[:, places.FIRST_NONFINITE],
        converged=np.zeros(len(counts), bool),
        stopped_early=counts[:, places.STOPPED_EARLY] != 0,
        best_epochs=counts[:, places.BEST_EPOCH],
        n_dead_units=counts[:, places.N_DEAD],
        dead_since=counts[:, places.DEAD_SINCE],
        stuck_since=counts[:, places.STUCK_SINCE],
        n_finished=n_finished,
    )
    return outcome, job.records


_A_MOMENT = 1e8  # flops: what takes some hundredths of a second at most, and is not worth a thread


class Passes:
    """Losses and gradients of a network over fixed rows, by its compiled kernel: the objective of L-BFGS."""

    def __init__(self, network: Network, data: Data) -> None:
        self.engine = engine = Engine.of(network, data.X.dtype, SGD(), penalised=False, dropout=False)
        dtype, pad = engine.dtype, max(engine.lanes, 8)
        self._data = _arrays(data)
        n, room = len(data.X), engine.room
        self._stride = stride = -(-min(n, CHUNK_ROWS) // pad) * pad
        sizes = np.zeros(places.N_SIZES, np.int64)
        sizes[places.UNROLLED] = source.is_unrolled(network)
        sizes[places.LANES] = engine.lanes
        sizes[places.N_PARAMETERS] = engine.n_padded
        sizes[places.N_FEATURES], sizes[places.N_OUTPUTS] = network.n_features, network.n_outputs
        self._sizes, self._n = sizes, n
        self._vector = _aligned(engine.n_padded + engine.lanes, dtype)
        self._gradient = _aligned(engine.n_padded + engine.lanes, dtype)
        self._rows = np.empty(stride, np.int64)
        self._targets = np.empty(stride * network.n_outputs, dtype)
        self._weights = np.empty(stride, dtype)
        self._table = _aligned(stride * network.n_features if source.is_unrolled(network) else 1, dtype)
        self._work = _aligned(room.work + engine.lanes, dtype)
        self.seen = np.empty(room.seen + engine.lanes, dtype)
        self._total = np.zeros(1)
        self._taken = -1.0

    def loss(self, vector: FloatArray, *, derivatives: bool = False) -> float:
        """The weighted mean loss, without penalty; afterwards `gradient` where wanted, and what was `seen`."""
        engine, none = self.engine, np.empty(0, np.int64)
        self._vector[: len(vector)] = vector
        self.seen[:] = 0
        self.seen[engine.room.outputs :] = -np.inf
        a = _address
        total = _pass(engine.dtype.name)(
            engine.gradient, a(_tools(engine.dtype.name)), a(self._sizes), *map(a, self._data), a(none), a(none), 0, 0,
            self._n, self._taken, a(self._rows), a(self._targets), a(self._weights), a(self._table), 0, self._stride,
            0, 0, 0, 0, 0, a(self._vector), int(derivatives), a(self._gradient), a(self._work), a(self.seen),
            a(self._total),
        )  # fmt: skip
        if self._n <= self._stride:
            self._taken = float(self._total[0])
        return float(total / self._total[0])

    @property
    def gradient(self) -> FloatArray:
        """The derivatives of the last `loss`, in a vector of their own."""
        return self._gradient[: self.engine.network.n_parameters] / self._gradient.dtype.type(self._total[0])

    def health(self) -> tuple[int, bool]:
        """How many hidden units the last pass saw at 0 on every row, and whether all rows got one class."""
        engine, room = self.engine, self.engine.room
        n_dead = int((self.seen[np.add(room.begins, room.units).astype(np.intp)] == 0).sum()) if room.begins else 0
        outputs = self.seen[room.outputs :]
        if engine.classes == places.ONE_OUTPUT:
            return n_dead, bool(outputs[0] <= 0 or outputs[1] < 0)
        return n_dead, engine.classes == places.SOFTMAX and bool((outputs[: engine.network.n_outputs] == 0).any())
