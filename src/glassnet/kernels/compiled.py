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
from glassnet.optimizers import Optimizer, Schedule

CHUNK_ROWS = 4096
"""Rows that a kernel's buffers hold at a time: a whole batch up to that size stays there from one pass to the next."""

_GRADIENT = (
    "float64({0}*, {0}*, {0}*, {0}*, {0}*, int64*, int64, int64, int64, {0}*, {0}*, {0}*, int64*)"  # see GRADIENT_ARGUMENTS
)
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
def _loop(number: str) -> tuple[int, Any]:
    """The address of `loop.run_pass`, and `loop.train` as a function that lets go of Python's lock."""
    signatures = {"run_pass": _PASS.format(number), "train": _TRAIN.format(number)}
    addresses = machine.code(_text("loop"), signatures)
    kinds = {"int64": ctypes.c_int64, "float64": ctypes.c_double}
    given = signatures["train"].split("(")[1].rstrip(")").split(", ")
    prototype = ctypes.CFUNCTYPE(ctypes.c_double, *(kinds.get(kind, ctypes.c_void_p) for kind in given))
    return addresses["run_pass"], prototype(addresses["train"])


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


@dataclass
class Rows:
    """A table, its targets and row weights, as one C-contiguous array each, in one dtype."""

    X: FloatArray
    y: FloatArray
    u: FloatArray


class Job:
    """Networks of one shape to be trained, and what has come of it.

    `vectors` (S, n_parameters) are the starts; `numbers`, `seeds`, `rates`, `l1`, `l2` (S,) belong to them; `subsets`
    are row numbers for each network (None: all rows). After `run`: `vectors`, `states` (S, n_state, n_parameters),
    `losses` and `held_losses` (S, epochs + 1), `finals` and `counts` as in `places`, `records` of every update.
    """

    def __init__(
        self,
        engine: Engine,
        optimizer: Optimizer,
        data: Rows,
        vectors: FloatArray,
        *,
        numbers: NDArray[Any],
        seeds: NDArray[Any],
        learning_rates: NDArray[Any] | None,
        l1: NDArray[Any],
        l2: NDArray[Any],
        subsets: list[NDArray[np.intp]] | None,
        held: Rows | None,
        batch_size: int | None,
        epochs: int,
        dropout: tuple[float, ...],
        patience: int,
        min_improvement: float,
        first_step: int = 0,
        last_step: int | None = None,
        n_records: int = 0,
    ) -> None:
        self.engine, self.data, self.held = engine, data, held
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
        self.n_updates = n_updates

        network = engine.network
        self.vectors = np.zeros((size, P), dtype)
        self.vectors[:, : network.n_parameters] = vectors
        self.states = np.zeros((size, engine.n_state, P), dtype)
        self.best = np.zeros((size, P) if n_held else (1, 1), dtype)
        self.losses = np.full((size, epochs + 1), np.nan)
        self.held_losses = np.full((size, epochs + 1) if n_held else (1, 1), np.nan)
        self.finals = np.full((size, places.N_FINALS), np.nan)
        self.counts = np.zeros((size, places.N_COUNTS), np.int64)
        self.counts[:, [places.DIVERGED_AT, places.DEAD_SINCE, places.STUCK_SINCE]] = -1
        self.records = np.full((n_records, places.N_RECORDED), np.nan)
        self.stop = np.zeros(1, np.int64)
        made = last_step - first_step
        schedule = np.ones(max(made, 1))
        if isinstance(optimizer.learning_rate, Schedule):
            schedule = optimizer.learning_rate.rates(first_step + 1, last_step, n_updates)
            rates = np.ones(size)
        else:
            rates = np.full(size, float(optimizer.learning_rate))
        self._per_update = schedule, self._scalars(optimizer, first_step, made)
        self._per_network = (
            np.ascontiguousarray(numbers, np.int64),
            np.ascontiguousarray(seeds, np.uint64).view(np.int64),
            rates if learning_rates is None else np.ascontiguousarray(learning_rates, np.float64),
            np.ascontiguousarray(l1, np.float64),
            np.ascontiguousarray(l2, np.float64),
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
        sizes[places.PATIENCE] = patience
        sizes[places.N_HIDDEN] = len(room.begins)
        sizes[places.MASKS_PER_ROW] = room.masks_per_row
        sizes[places.SEEN_SIZE] = room.seen
        sizes[places.OUTPUTS_SEEN] = room.outputs
        sizes[places.CLASSES] = engine.classes
        sizes[places.WORK_SIZE] = room.work
        sizes[places.BLOCK_ROWS] = stride = padded(most)
        sizes[places.HELD_BLOCK_ROWS] = held_stride = padded(n_held)
        sizes[places.N_SCALARS] = len(engine.scalars)
        sizes[places.WITH_RECORDS] = n_records > 0
        sizes[places.WITH_DROPOUT] = engine.dropout
        sizes[places.N_ORDER] = n_order = most if batch < most else 0
        self._sizes = sizes
        self._dropout = np.repeat(dropout, network.sizes[1:-1]).astype(np.float64) if engine.dropout else np.empty(0)
        self._min_improvement = min_improvement
        per_row = network.n_outputs + 1 + (network.n_features if source.is_unrolled(network) else 0)
        per_row += room.masks_per_row if engine.dropout else 0
        self._room = per_row * (stride + held_stride) + 6 * (P + lanes) + 2 * (room.seen + lanes) + room.work + 6 * lanes
        self._whole_room = stride + held_stride + 3 * n_order + 1 + 2 * max(n_order, 2)

    def _scalars(self, optimizer: Optimizer, first_step: int, made: int) -> FloatArray:
        """The numbers that all parameters share, of every update to come."""
        if not self.engine.scalars:
            return np.empty((1, 1))
        values = [np.arange(first_step + 1.0, first_step + made + 1), *optimizer.settings.values()]
        return np.stack([np.broadcast_to(f(*values), (made,)) for f in self.engine.scalars], axis=1)

    def run(self, threads: int = 1, progress: Callable[[int], None] | None = None, *, chunk: int | None = None) -> int:
        """Train; returns how many networks, from the first on, were trained to their end.

        With several threads each takes `chunk` networks at a time. A KeyboardInterrupt ends it with the batch under way.
        """
        size = len(self.vectors)
        chunk = chunk or size
        starts = list(range(0, size, chunk))
        done = [False] * len(starts)
        lock = threading.Lock()
        failed: list[BaseException] = []
        finished = threading.Event()
        waiting = iter(enumerate(starts))
        n_done = 0

        def work() -> None:
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
                        if progress is not None and not self.stop[0]:
                            progress(n_done)
            except BaseException as problem:
                failed.append(problem)
                self.stop[0] = 1

        workers = [threading.Thread(target=work, daemon=True) for _ in range(min(threads, len(starts)))]
        try:
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
        except KeyboardInterrupt:
            self.stop[0] = 1
            for worker in workers:
                worker.join()
        finished.set()
        if failed:
            raise failed[0]
        whole = 0
        for start, good in zip(starts, done, strict=True):
            if not good:
                break
            whole = min(start + chunk, size)
        return whole

    def run_here(self) -> None:
        """Train in the calling thread, for jobs of a moment: nothing can interrupt it."""
        self._call(0, len(self.vectors))

    def _call(self, first: int, last: int) -> None:
        engine, dtype = self.engine, self.engine.dtype
        pass_at, train = _loop(dtype.name)
        room = _aligned(self._room, dtype)
        whole_room = np.empty(self._whole_room, np.int64)
        total = np.zeros(1)
        held = self.held or self.data
        arrays = (
            _tools(dtype.name), self._sizes, self.data.X, self.data.y, self.data.u, held.X, held.y, held.u,
            self.members, *self._rows_of, self.vectors, self.states, self.best, engine.kinds, *self._per_network,
            *self._per_update, self._dropout, engine.hidden,
        )  # fmt: skip
        results = (
            self.losses, self.held_losses, self.finals, self.counts, self.records, self.stop, room, whole_room, total,
        )  # fmt: skip
        train(
            pass_at,
            engine.gradient,
            engine.update,
            *(_address(array) for array in arrays),
            self._min_improvement,
            *(_address(array) for array in results),
            first,
            last,
        )


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
