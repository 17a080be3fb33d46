"""Training by compiled kernels: what Python does around the one call that trains.

`Engine` is what a network, an optimiser and a dtype need, compiled or loaded; `Job` is one training of some networks on
some rows, with room for all that comes of it, and is run by as many threads as are given.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.activations import ActivationRow
from glassnet.expressions import function
from glassnet.kernels import machine, places, source
from glassnet.kernels.tiled import may_skip_zeros
from glassnet.losses import LossRow
from glassnet.network import FloatArray, Network, weight_mask
from glassnet.optimizers import SGD, Optimizer, Schedule, State
from glassnet.runs import Data, Members, Outcome, Spec
from glassnet.sparse import SparseTable

CHUNK_ROWS = 4096
"""Rows that a kernel's buffers hold at a time: a whole batch up to that size stays there from pass to pass."""

_FEWEST_TOGETHER = 512  # rows that a buffer has room for at least, where there are so many

_MOST_BUFFERED = 1 << 22
"""Numbers of a sparse table that are in a buffer at a time, but those of so many rows as go through together."""

PART_WORK = 3e6
"""Flops, about, that make a part of a pass: a share for one of the threads that train a network together."""

MOST_KEPT_GRADIENTS = 1_000_000
"""Numbers that the gradients of all parts may take together, where there are more than two."""

# The types of what compiled functions are told, in the order of their arguments; {0} is the dtype's name.
_GRADIENT = "float64({0}*, {0}*, {0}*, {0}*, {0}*, int64*, int64, int64, int64, int64, {0}*, {0}*, {0}*, int64*)"
_UPDATE = (
    "float64({0}*, {0}*, {0}*, {0}*, {0}*, float64*, float64, float64, float64, float64, int64, int64, int64, {0}*)"
)
_TILES = {
    "product": "float64({0}*, int64*, int64, int64, int64, {0}*, int64, {0}*, int64, int64, {0}*, int64, int64)",
    "outer": "float64({0}*, int64*, int64, int64, {0}*, int64, int64, {0}*, int64, {0}*, {0}*, int64)",
    "dots": "float64({0}*, int64*, int64, int64, {0}*, int64, {0}*, int64, {0}*, int64, int64)",
    "narrow_outer": "float64({0}*, int64*, int64, int64, {0}*, int64, int64, {0}*, {0}*, int64, {0}*)",
    "turn": "float64({0}*, int64, int64, {0}*, int64)",
}
_ZEROS = {
    "product": "float64({0}*, int64*, int64, int64, {0}*, {0}*, int64, {0}*, int64, int64, {0}*)",
    "outer": "float64({0}*, int64*, int64, int64, {0}*, int64, int64, {0}*, int64, {0}*, {0}*)",
}
_SHUFFLE = "float64(int64, int64, int64, int64, int64*, int64*, int64*, int64*)"
_SHUFFLES = "float64(int64, int64, int64, int64, int64*)"
_MASK = "float64(int64, float64*, int64*, int64, int64, int64, int64*, int64, int64, int64, int64, {0}*, int64)"
_HEALTH = "float64(int64*, int64*, int64, {0}*, int64*)"
_PASS = (
    "float64(int64, int64*, int64*, {0}*, {0}*, {0}*, int64*, int64*, int64, int64, int64, float64, int64*, {0}*, "
    "{0}*, {0}*, {0}*, int64, float64*, int64*, int64, int64, int64, {0}*, int64, int64, {0}*, {0}*, {0}*, float64*, "
    "float64*, int64, int64*, int64, int64)"
)
_MEET = "float64(int64*, int64, int64)"
_TRAIN = (
    "float64(int64, int64, int64, int64*, int64*, {0}*, {0}*, {0}*, {0}*, {0}*, {0}*, int64*, int64*, int64*, {0}*, "
    "{0}*, {0}*, {0}*, int64*, int64*, float64*, float64*, float64*, float64*, float64*, float64*, int64*, float64, "
    "float64, int64*, float64*, {0}*, float64*, float64*, float64*, int64*, float64*, int64*, {0}*, int64*, float64*, "
    "{0}*, float64*, int64*, int64, int64, int64, int64)"
)


def _text(name: str) -> str:
    return Path(__file__).with_name(f"{name}.py").read_text("utf-8")


@cache
def _tools(
    number: str, *, tiles: bool, zeros: bool, shuffle: bool, mask: bool, lists: bool = False
) -> NDArray[np.int64]:
    """The addresses of what a training calls, as `calls` and `loop` find them, and behind them 0, 1, 2, ...

    With `lists` what reads the table reads those of a sparse one: what passes over zeros, else sums of a few units.
    """
    tools = np.arange(-places.N_TOOLS, places.BLOCK_ROWS_AT_ONCE)
    tools[places.MOSTLY_ZEROS] = zeros
    tools[places.HEALTH_AT], tools[places.MEET_AT] = _loop(number)["note_health"], _loop(number)["meet"]
    tools[places.YIELD_AT] = _yield_at()
    if tiles:
        addresses = machine.code(_text("tiles"), {name: text.format(number) for name, text in _TILES.items()})
        tools[: len(_TILES)] = [addresses[name] for name in _TILES]
    if zeros:
        source = "sparse" if lists else "zeros"
        addresses = machine.code(_text(source), {name: text.format(number) for name, text in _ZEROS.items()})
        tools[places.PRODUCT_AT : places.PRODUCT_AT + len(_ZEROS)] = [addresses[name] for name in _ZEROS]
    elif lists:
        narrow = {name: _TILES[name].format(number) for name in ("dots", "narrow_outer")}
        addresses = machine.code(_text("sparse"), narrow)
        for name in narrow:
            tools[list(_TILES).index(name)] = addresses[name]
    if shuffle:
        tools[places.SHUFFLE_AT] = machine.code(_text("chance"), {"shuffle": _SHUFFLE})["shuffle"]
    if mask:
        tools[places.MASK_AT] = machine.code(_text("chance"), {"mask": _MASK.format(number)})["mask"]
    return tools


@cache
def _loop(number: str) -> dict[str, int]:
    """The addresses of the functions of `loop`."""
    signatures = {"meet": _MEET, "run_pass": _PASS, "note_health": _HEALTH, "train": _TRAIN}
    return machine.code(_text("loop"), {name: signature.format(number) for name, signature in signatures.items()})


def _yield_at() -> int:
    """The address of what the system has to let other threads run."""
    function = ctypes.CDLL("kernel32").SwitchToThread if sys.platform == "win32" else ctypes.CDLL(None).sched_yield
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def _callable(address: int, signature: str) -> Any:
    """A compiled function as one of Python's, which lets go of Python's lock while it runs."""
    kinds: dict[str, Any] = {"int64": ctypes.c_int64, "float64": ctypes.c_double}
    given = signature.split("(")[1].rstrip(")").split(", ")
    return ctypes.CFUNCTYPE(ctypes.c_double, *(kinds.get(kind, ctypes.c_void_p) for kind in given))(address)


@cache
def _pass(number: str) -> Any:
    return _callable(_loop(number)["run_pass"], _PASS)


@cache
def _train(number: str) -> Any:
    return _callable(_loop(number)["train"], _TRAIN)


@cache
def shuffles() -> Any:
    """`chance.shuffles`, compiled."""
    return _callable(machine.code(_text("chance"), {"shuffles": _SHUFFLES})["shuffles"], _SHUFFLES)


@dataclass(frozen=True, eq=False)
class Engine:
    """The compiled kernels of a network and an optimiser, for one dtype."""

    network: Network
    dtype: np.dtype[Any]
    lanes: int
    room: source.Room
    gradient: int
    update: int
    state_names: tuple[str, ...]
    scalars: tuple[Callable[..., Any], ...]
    penalised: bool
    dropout: bool
    float_flags: int

    @classmethod
    def of(cls, network: Network, dtype: Any, optimizer: Optimizer, *, penalised: bool, dropout: bool) -> Engine:
        """Compiled or loaded; the same again for the same network and table rows."""
        rows = tuple(network.activation_row(layer) for layer in range(1, network.n_layers + 1))
        return _engine(network, (*rows, network.loss_row), np.dtype(dtype), optimizer, penalised, dropout)

    @cached_property
    def number(self) -> str:
        """The dtype's name."""
        return self.dtype.name

    @cached_property
    def n_parameters(self) -> int:
        """Parameters of a network."""
        return self.network.n_parameters

    @cached_property
    def n_padded(self) -> int:
        """The same, rounded up to whole vectors."""
        return -(-self.n_parameters // self.lanes) * self.lanes

    @cached_property
    def kinds(self) -> FloatArray:
        """1 for a weight, 0 for a bias, -1 beyond the last parameter."""
        kinds = np.full(self.n_padded, -1, self.dtype)
        kinds[: self.n_parameters] = weight_mask(self.network)
        return kinds

    @cached_property
    def hidden(self) -> NDArray[np.int64]:
        """Where what belongs to hidden units lies: see `source.Room`."""
        return np.array([self.room.begins, self.room.row_sizes, self.room.units], np.int64).ravel()

    def tools_at(self, *, zeros: bool, lists: bool, shuffle: bool) -> int:
        """Where the addresses of what a training calls lie in memory; `zeros`, `lists`: how its table is read."""
        tiles, mask = not self.is_unrolled, self.dropout
        return _address(_tools(self.number, tiles=tiles, zeros=zeros, shuffle=shuffle, mask=mask, lists=lists))

    def reads_lists(self, X: Any) -> bool:
        """Whether it pays to go along the lists of a sparse table; else its rows are put into buffers, dense."""
        if self.is_unrolled or not isinstance(X, SparseTable):
            return False
        if not may_skip_zeros(self.network, self.lanes):
            return self.network.n_layers == 1 and X.density < 0.25
        vectors = -(-self.network.sizes[1] // self.lanes)
        dense, _, found, added = _CYCLES
        return X.density * (found + added * vectors) < dense * vectors

    def skips_zeros(self, X: Any) -> bool:
        """Whether it pays to pass over the zeros of a table; the numbers that come of it are the same.

        Judged from some of the rows by what was measured; see `_CYCLES`.
        """
        if self.is_unrolled or not may_skip_zeros(self.network, self.lanes):
            return False
        if isinstance(X, SparseTable):
            return self.reads_lists(X)
        some = X[:: max(1, len(X) // 128)]
        vectors = -(-self.network.sizes[1] // self.lanes)
        dense, marking, found, added = _CYCLES
        return bool(np.count_nonzero(some != 0) * (found + added * vectors) < some.size * (dense * vectors - marking))

    @cached_property
    def kinds_at(self) -> int:
        """Where `kinds` lies in memory."""
        return _address(self.kinds)

    @cached_property
    def hidden_at(self) -> int:
        """Where `hidden` lies in memory."""
        return _address(self.hidden)

    @cached_property
    def is_unrolled(self) -> bool:
        """Whether the kernel is unrolled, else it is tiled."""
        return source.is_unrolled(self.network)

    @cached_property
    def part_rows(self) -> int:
        """The fewest rows that make a part of a pass; whole blocks of them."""
        rows = PART_WORK / (6 * self.network.n_parameters)
        return places.BLOCK_ROWS_AT_ONCE * math.ceil(rows / places.BLOCK_ROWS_AT_ONCE)

    @cached_property
    def most_gradients(self) -> int:
        """The most parts that a batch is divided into."""
        return max(2, min(places.MOST_PARTS, MOST_KEPT_GRADIENTS // self.n_padded))

    def n_parts(self, n: int) -> int:
        """How many parts a batch of n rows has, and so how many threads can share it: a power of two."""
        most = min(self.most_gradients, n // self.part_rows)
        return 1 << max(0, most.bit_length() - 1)

    def block_rows(self, n: int, most: int = CHUNK_ROWS) -> int:
        """How many of n rows are taken at a time, rounded up to whole vectors and tiles."""
        pad = max(self.lanes, 8)
        return -(-min(n, most) // pad) * pad

    def most_rows(self, X: Any) -> int:
        """The most rows that are taken at a time: fewer where those of a sparse table, made dense, are large."""
        if not isinstance(X, SparseTable) or self.reads_lists(X):
            return CHUNK_ROWS
        blocks = max(1, _MOST_BUFFERED // (places.BLOCK_ROWS_AT_ONCE * self.network.n_features))
        return min(CHUNK_ROWS, blocks * places.BLOCK_ROWS_AT_ONCE)

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """The measures, as in `places`, that are the same for all jobs."""
        sizes = np.zeros(places.N_SIZES, np.int64)
        sizes[places.UNROLLED] = self.is_unrolled
        sizes[places.LANES] = self.lanes
        sizes[places.N_PARAMETERS] = self.n_padded
        sizes[places.STATE_SIZE] = len(self.state_names) * self.n_padded
        sizes[places.N_FEATURES] = self.network.n_features
        sizes[places.N_OUTPUTS] = self.network.n_outputs
        sizes[places.N_HIDDEN] = len(self.room.begins)
        sizes[places.MASKS_PER_ROW] = self.room.masks_per_row
        sizes[places.SEEN_SIZE] = self.room.seen
        sizes[places.OUTPUTS_SEEN] = self.room.outputs
        sizes[places.CLASSES] = self.classes
        sizes[places.WORK_SIZE] = self.room.work
        sizes[places.N_SCALARS] = len(self.scalars)
        sizes[places.WITH_DROPOUT] = self.dropout
        sizes[places.PART_ROWS] = self.part_rows
        sizes[places.MOST_GRADIENTS] = self.most_gradients
        sizes[places.FLOAT_FLAGS] = self.float_flags
        sizes[places.N_PIECES] = -(-self.n_padded // places.PIECE)
        return sizes

    @cached_property
    def classes(self) -> int:
        """How the loop tells that all rows get one class."""
        link = self.network.loss_row.link
        if link == "softmax":
            return places.SOFTMAX
        return places.ONE_OUTPUT if link == "sigmoid" and self.network.n_outputs == 1 else places.NO_CLASSES


# Of a row, in its product and its outer product together: for every input and vector of units; to pass over zeros, for
# every input, for what is not 0, and for every vector of that. Zen 3; Zen 4, which takes two steps for 512 bits; a
# processor that takes one (Emerald Rapids).
if machine.BITS < 512:
    _CYCLES = (1.2, 1.9, 3.5, 1.1)
elif machine.PROCESSOR == "znver4":
    _CYCLES = (2.2, 0.9, 3.0, 2.3)
else:
    _CYCLES = (1.2, 0.5, 2.1, 2.0)


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
        state_names=optimizer.state_names,
        scalars=tuple(
            function(scalar, ("t", *optimizer.settings), "library") for scalar in source.update_scalars(optimizer)
        ),
        penalised=penalised,
        dropout=dropout,
        # Beside such an epsilon the root of a subnormal number is nothing, without it all that there is.
        float_flags=places.FLUSHED if optimizer.settings.get("epsilon", 1.0) >= 1e-10 else 0,
    )


@dataclass(frozen=True)
class Ways:
    """In what a training is other than those of `train`, see `course`.

    `shuffles` as in `places`; `followed`: the most epochs of one call, each of which leaves its objective and its
    parameters; the loss is multiplied by `loss_scale`; `steps_before` count for the optimiser only.
    """

    shuffles: int = places.OWN_SHUFFLES
    followed: int = 0
    penalty_per_weight: bool = False
    loss_scale: float = 1.0
    steps_before: int = 0


@dataclass(frozen=True)
class _Shape:
    """What settles the memory of a job, and all its numbers but those of the rows and of the single networks."""

    engine: Engine
    optimizer: Optimizer
    size: int
    n_rows: int  # the most that a network has
    n_members: int  # row numbers, where networks see some of the rows each
    n_held: int
    epochs: int
    batch_size: int | None
    patience: int
    dropout: tuple[float, ...]
    first_step: int
    last_step: int | None
    recorded: bool
    one_weight: bool
    skips_zeros: bool
    with_bytes: bool
    with_lists: bool
    reads_lists: bool
    most_rows: int
    team: int
    ways: Ways


class _Plan:
    """Where the arrays of a job lie, and templates of them with what is known before there are rows."""

    def __init__(self, shape: _Shape) -> None:
        engine, size, epochs = shape.engine, shape.size, shape.epochs
        self.ways = shape.ways
        P, lanes, room = engine.n_padded, engine.lanes, engine.room
        hidden = engine.network.sizes[1:-1]
        batch = shape.n_rows if shape.batch_size is None else min(shape.batch_size, shape.n_rows)
        n_updates = epochs * -(-shape.n_rows // batch)
        last_step = n_updates if shape.last_step is None else shape.last_step
        made = last_step - shape.first_step
        n_held = size if shape.n_held else 0
        with_members = shape.n_members > 0
        self.numbers = _Places(
            engine.dtype, vectors=(size, P), states=(size, len(engine.state_names), P), best=(n_held, P),
            snapshots=(shape.ways.followed, P),
        )  # fmt: skip
        self.floats = _Places(
            np.dtype(np.float64),
            losses=(size, epochs + 1),
            held_losses=(n_held, epochs + 1),
            finals=(size, places.N_FINALS),
            records=(made if shape.recorded else 0, places.N_RECORDED),
            rates=(size,),
            l1=(size,),
            l2=(size,),
            schedule=(made,),
            scalars=(made, len(engine.scalars)),
            dropout=(sum(hidden) if engine.dropout else 0,),
            objectives=(shape.ways.followed,),
        )
        self.wholes = _Places(
            np.dtype(np.int64),
            counts=(size, places.N_COUNTS),
            stop=(1,),
            sizes=(places.N_SIZES,),
            numbers=(size,),
            seeds=(size,),
            begins=(size + 1 if with_members else 2,),
            subsets=(size,),
            members=(shape.n_members,),
        )
        self.template = np.full(self.floats.size, np.nan)
        self._schedules(shape, last_step, n_updates)
        if engine.dropout:
            self.floats.cut(self.template, "dropout")[:] = np.repeat(shape.dropout, hidden)

        rows_together = max(batch, _FEWEST_TOGETHER)
        stride, held_stride = (
            engine.block_rows(min(n, rows_together), shape.most_rows) for n in (shape.n_rows, shape.n_held)
        )
        n_order = shape.n_rows if batch < shape.n_rows else 0
        self.whole_template = np.zeros(self.wholes.size, np.int64)
        counts = self.wholes.cut(self.whole_template, "counts")
        counts[:, [places.DIVERGED_AT, places.DEAD_SINCE, places.STUCK_SINCE]] = -1
        self.wholes.cut(self.whole_template, "begins")[-1] = shape.n_rows
        sizes = self.wholes.cut(self.whole_template, "sizes")
        sizes[:] = engine.sizes
        sizes[places.N_HELD] = shape.n_held
        sizes[places.WITH_MEMBERS] = with_members
        sizes[places.BATCH_SIZE] = batch if shape.batch_size is None else shape.batch_size
        sizes[places.FIRST_STEP], sizes[places.LAST_STEP] = shape.first_step, last_step
        sizes[places.N_EPOCHS] = epochs
        sizes[places.PATIENCE] = shape.patience
        sizes[places.BLOCK_ROWS], sizes[places.HELD_BLOCK_ROWS] = stride, held_stride
        sizes[places.WITH_RECORDS] = shape.recorded
        sizes[places.N_ORDER] = n_order
        sizes[places.ONE_WEIGHT] = shape.one_weight
        sizes[places.WITH_BYTES], sizes[places.WITH_LISTS] = shape.with_bytes, shape.with_lists
        is_buffered = engine.is_unrolled or shape.with_bytes or (shape.with_lists and not shape.reads_lists)
        sizes[places.BUFFERED] = is_buffered
        sizes[places.SHUFFLES] = shape.ways.shuffles
        sizes[places.FOLLOWED] = shape.ways.followed > 0
        sizes[places.PENALTY_PER_WEIGHT] = shape.ways.penalty_per_weight
        self.tools_at = engine.tools_at(zeros=shape.skips_zeros, lists=shape.reads_lists, shuffle=n_order > 0)
        self.rooms: list[tuple[tuple[NDArray[Any], ...], tuple[int, ...]]] = []  # and where they lie
        per_row = engine.network.n_outputs + 1
        per_row += engine.network.n_features if is_buffered else 0
        per_row += room.masks_per_row if engine.dropout else 0
        # As `loop.train` cuts them up.
        self.room = per_row * (stride + held_stride) + room.seen + room.work + 8 * lanes
        n_pieces, n_gradients = -(-P // places.PIECE), engine.n_parts(batch)
        self.common = (
            4 * (P + lanes) + n_pieces * lanes + shape.team * (room.seen + 2 * lanes) + n_gradients * P + lanes
        )
        self.whole_room = stride + held_stride + 2 * places.ROWS_AHEAD + 3 * n_order + 1 + 2 * max(n_order, 2)

    def _schedules(self, shape: _Shape, last_step: int, n_updates: int) -> None:
        """Write what is one number for each update: a schedule's rate, and what all parameters share."""
        schedule = self.floats.cut(self.template, "schedule")
        schedule[:] = 1
        if isinstance(shape.optimizer.learning_rate, Schedule):
            schedule[:] = shape.optimizer.learning_rate.rates(shape.first_step + 1, last_step, n_updates)
        if shape.engine.scalars:
            t = np.arange(shape.first_step + 1.0, last_step + 1) + shape.ways.steps_before
            values = [t, *shape.optimizer.settings.values()]
            scalars = self.floats.cut(self.template, "scalars")
            for k, scalar in enumerate(shape.engine.scalars):
                scalars[:, k] = scalar(*values)


_kept_plan = lru_cache(maxsize=64)(_Plan)


class _Places:
    """Arrays of one dtype by name, in one piece of memory; each begins at the boundary of a cache line."""

    def __init__(self, dtype: np.dtype[Any], **shapes: tuple[int, ...]) -> None:
        self.dtype = dtype
        self.size = 0
        self.offsets: dict[str, int] = {}  # in bytes
        self._cuts: dict[str, tuple[slice, tuple[int, ...]]] = {}
        line = 64 // dtype.itemsize
        for name, shape in shapes.items():
            n = math.prod(shape)
            self._cuts[name] = slice(self.size, self.size + n), shape
            self.offsets[name] = self.size * dtype.itemsize
            self.size += -(-n // line) * line

    def cut(self, memory: NDArray[Any], name: str) -> NDArray[Any]:
        """One of the arrays."""
        where, shape = self._cuts[name]
        return memory[where].reshape(shape)


_NO_ORDERS = np.empty(0, np.int64)


class Job:
    """Networks of one shape to be trained, and what has come of it.

    `vectors` (S, n_parameters) are the starts. After a run: `vectors`, `states` (S, n_state, n_parameters), `counts` as
    in `places`, and by `result` losses and held_losses (S, epochs + 1), finals and, where wanted, records of updates.
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
        threads: int = 1,
        begun: Outcome | None = None,
        ways: Ways = Ways(),
        orders: NDArray[np.int64] | None = None,
        stop: NDArray[np.int64] | None = None,
    ) -> None:
        optimizer, subsets = spec.optimizer, members.rows
        assert isinstance(optimizer, Optimizer)
        self.engine, self.size = engine, len(vectors)
        n_rows = len(data.X) if subsets is None else max(map(len, subsets))
        self.team = 1
        if self.size == 1 and threads > 1:
            n_parts = engine.n_parts(n_rows if spec.batch_size is None else min(spec.batch_size, n_rows))
            self.team = min(threads, n_parts)
        shape = _Shape(
            engine, optimizer, self.size, n_rows,
            0 if subsets is None else sum(map(len, subsets)),
            0 if held is None else len(held.X),
            spec.epochs, spec.batch_size, -1 if spec.patience is None else spec.patience,
            spec.rates(engine.network) if engine.dropout else (), first_step, last_step, recorded,
            _is_one_weight(data) and (held is None or _is_one_weight(held)),
            engine.skips_zeros(data.X), data.X.dtype == np.uint8, isinstance(data.X, SparseTable),
            engine.reads_lists(data.X), engine.most_rows(data.X), self.team, ways,
        )  # fmt: skip
        # A training that is repeated, with other rows perhaps, finds its plan made.
        self._plan = plan = (_kept_plan if self.size * spec.epochs <= 10_000 else _Plan)(shape)
        numbers = _aligned(plan.numbers.size, engine.dtype)
        floats, wholes = plan.template.copy(), plan.whole_template.copy()
        self._memory = numbers, floats, wholes
        self.vectors = plan.numbers.cut(numbers, "vectors")
        self.vectors[:, : engine.n_parameters] = vectors
        self.counts = plan.wholes.cut(wholes, "counts")
        self.stop = plan.wholes.cut(wholes, "stop") if stop is None else stop
        if state:
            for k, name in enumerate(engine.state_names):
                self.states[:, k, : engine.n_parameters] = state[name]
        if begun is not None:
            self.counts[:, places.DEAD_SINCE], self.counts[:, places.STUCK_SINCE] = begun.dead_since, begun.stuck_since
            if held is not None:
                self.counts[:, places.BEST_EPOCH] = begun.best_epochs
                plan.floats.cut(floats, "finals")[:, places.BEST_HELD_LOSS] = begun.best_losses
                plan.numbers.cut(numbers, "best")[:, : engine.n_parameters] = begun.best_vectors
        plan.floats.cut(floats, "l1")[:] = members.l1
        plan.floats.cut(floats, "l2")[:] = members.l2
        if isinstance(optimizer.learning_rate, Schedule):
            plan.floats.cut(floats, "rates")[:] = 1
        else:
            given = members.learning_rates
            plan.floats.cut(floats, "rates")[:] = optimizer.learning_rate if given is None else given
        plan.wholes.cut(wholes, "numbers")[:] = members.numbers
        plan.wholes.cut(wholes, "seeds")[:] = members.seeds.view(np.int64)
        if subsets is not None:
            np.cumsum([0, *map(len, subsets)], out=plan.wholes.cut(wholes, "begins"))
            plan.wholes.cut(wholes, "subsets")[:] = np.arange(self.size)
            np.concatenate(subsets, out=plan.wholes.cut(wholes, "members"), casting="same_kind")
        one = shape.one_weight
        self._kept = data, held  # `_arrays` of a sparse table are where it lies
        self._data = _arrays(data, one_weight=one)
        self._held = self._data if held is None else _arrays(held, one_weight=one)
        self._rows_at = tuple(map(_address, self._data))
        self._held_at = self._rows_at if held is None else tuple(map(_address, self._held))
        self._least_gain = float(spec.min_improvement)
        self.orders, self._orders_at = (_NO_ORDERS, 0) if orders is None else (orders, _address(orders))
        self.quick = False
        self._arguments = self._arguments_with(*self._memory)

    def _arguments_with(self, numbers: FloatArray, floats: NDArray[Any], wholes: NDArray[Any]) -> tuple[Any, ...]:
        """What `loop.train` is told, where a thread leaves in `numbers`, `floats` and `wholes` what comes of it."""
        engine, plan = self.engine, self._plan
        n, f, w = plan.numbers.offsets, plan.floats.offsets, plan.wholes.offsets
        at_n, at_f, at_w = _address(numbers), _address(floats), _address(wholes)
        return (
            _loop(engine.number)["run_pass"], engine.gradient, engine.update, plan.tools_at, at_w + w["sizes"],
            *self._rows_at, *self._held_at, at_w + w["members"], at_w + w["begins"], at_w + w["subsets"],
            at_n, _address(self._memory[0]) + n["states"], at_n + n["best"], engine.kinds_at, at_w + w["numbers"],
            at_w + w["seeds"], at_f + f["rates"], at_f + f["l1"], at_f + f["l2"], at_f + f["schedule"],
            at_f + f["scalars"], at_f + f["dropout"], engine.hidden_at,
            self._least_gain, plan.ways.loss_scale, self._orders_at, at_f + f["objectives"],
            at_n + n["snapshots"], at_f, at_f + f["held_losses"], at_f + f["finals"], at_w,
            at_f + f["records"], _address(self.stop),
        )  # fmt: skip

    def schedule(self) -> NDArray[np.float64]:
        """What multiplies the learning rate in each of the job's updates."""
        return self._plan.floats.cut(self._memory[1], "schedule")

    def snapshots(self) -> FloatArray:
        """The parameters after each epoch of the last call of a course (epochs, n_parameters)."""
        return self._plan.numbers.cut(self._memory[0], "snapshots")[:, : self.engine.n_parameters]

    @property
    def states(self) -> FloatArray:
        """The optimiser's states (S, n_state, n_parameters)."""
        return self._plan.numbers.cut(self._memory[0], "states")

    @property
    def best(self) -> FloatArray:
        """The parameters with the lowest held-out loss, padded; (S, 0) without held-out rows."""
        best = self._plan.numbers.cut(self._memory[0], "best")
        return best if len(best) == self.size else self.vectors[:, :0]

    def result(self, name: str) -> NDArray[np.float64]:
        """losses, held_losses, finals, records, rates or objectives."""
        return self._plan.floats.cut(self._memory[1], name)

    def run(self, threads: int, chunk: int, progress: Callable[[int], None] | None = None) -> int:
        """Train; returns how many networks, from the first on, were trained to their end.

        Each thread takes `chunk` networks at a time. A KeyboardInterrupt ends it with the batches under way.
        """
        size = self.size
        starts = range(0, size, chunk)
        done = [False] * len(starts)
        waiting = iter(enumerate(starts))
        lock = threading.Lock()
        n_done = 0

        def work() -> None:
            nonlocal n_done
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

        n_threads = min(threads, len(starts))
        if threading.current_thread() is threading.main_thread():
            _in_threads([work] * n_threads, self.stop)
        else:
            _with_help(work, n_threads - 1, self.stop)
        n_whole = done.index(False) if False in done else len(done)
        return min(n_whole * chunk, size)

    def go_on(self, first: int, last: int, skipped: int) -> bool:
        """Make updates `first` + 1 to `last` of a course, `skipped` being those of this job's before.

        What was left by the call before is where it begins. Returns whether nothing interrupted it: what comes when all
        is made is told as well, or the next call would go on.
        """
        sizes = self._plan.wholes.cut(self._memory[2], "sizes")
        sizes[places.FIRST_STEP], sizes[places.LAST_STEP], sizes[places.SKIPPED] = first, last, skipped
        self.stop[0] = 0
        if self.team > 1:
            return bool(self.run_together())
        if self.quick:
            return bool(self.run_here())
        self.run(1, 1)
        return not self.stop[0]

    def run_together(self) -> int:
        """Train the one network by the whole team; returns whether it was trained to its end."""
        floats, wholes = self._memory[1:]
        together = self._meeting_place()
        kept: list[Any] = []  # what the threads work in

        def member(me: int) -> Callable[[], None]:
            arguments, room = self._arguments, self._room()
            if me:
                # What comes of it is the same in all threads: the first one writes vectors, each its own numbers.
                own = floats.copy(), wholes.copy()
                arguments = self._arguments_with(self._memory[0], *own)
                kept.append(own)
            kept.append(room)
            given = (*arguments, *map(_address, (*room, *together)), me, self.team, 0, 1)
            return lambda: _train(self.engine.number)(*given)

        _in_threads([member(me) for me in range(self.team)], self.stop)
        return int(not self.stop[0])

    def run_here(self) -> int:
        """Train in the calling thread, for jobs of a moment: no KeyboardInterrupt ends it."""
        self._call(0, self.size)
        return 0 if self.stop[0] else self.size

    def _call(self, first: int, last: int) -> None:
        """Train some of the networks, each alone."""
        plan = self._plan
        try:
            rooms, at = plan.rooms.pop()
        except IndexError:
            rooms = (*self._room(), *self._meeting_place())
            at = tuple(map(_address, rooms))
        _train(self.engine.number)(*self._arguments, *at, 0, 1, first, last)
        if plan.room + plan.common < _KEPT_ROOM:
            plan.rooms.append((rooms, at))

    def _room(self) -> tuple[NDArray[Any], ...]:
        """Memory that a thread works in."""
        plan = self._plan
        return _aligned(plan.room, self.engine.dtype), np.empty(plan.whole_room, np.int64), np.empty(1)

    def _meeting_place(self) -> tuple[NDArray[Any], ...]:
        """Memory that the threads of a team share."""
        plan = self._plan
        return _aligned(plan.common, self.engine.dtype), np.empty(6 * places.MOST_PARTS), np.zeros(2, np.int64)


def _move_to_processor(number: int) -> None:
    """Begin on one of the processors, free to be moved on: woken together, threads may stay on one for a long while."""
    if hasattr(os, "sched_setaffinity"):
        allowed = os.sched_getaffinity(0)
        with contextlib.suppress(OSError):  # somebody else narrows down what is allowed
            os.sched_setaffinity(0, {sorted(allowed)[number % len(allowed)]})
            os.sched_setaffinity(0, allowed)


def _in_threads(works: list[Callable[[], None]], stop: NDArray[np.int64]) -> None:
    """Run each in a thread of its own, and wait for all; a KeyboardInterrupt meanwhile sets stop[0]."""
    failed: list[BaseException] = []
    gate = threading.Event()  # none begins before all can: the threads of a team wait for one another
    all_here = False

    def run(number: int, work: Callable[[], None], ended: threading.Event) -> None:
        try:
            gate.wait()
            if all_here:
                _move_to_processor(number)
                work()
        except BaseException as problem:
            failed.append(problem)
            stop[0] = 1
        finally:
            ended.set()

    ends = [threading.Event() for _ in works]
    numbered = zip(range(len(works)), works, ends, strict=True)
    workers = [threading.Thread(target=run, args=given, daemon=True) for given in numbered]
    try:
        for worker in workers:
            worker.start()
        all_here = True
    except BaseException:
        stop[0] = 1
        raise
    finally:
        gate.set()
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
            stop[0] = 1
    if failed:
        raise failed[0]


@cache
def _helpers() -> ThreadPoolExecutor:
    """Threads that stay: to start one takes as long as a training of a moment."""
    return ThreadPoolExecutor(all_threads(), "glassnet")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_helpers.cache_clear)  # threads are not copied


def _with_help(work: Callable[[], None], n_helpers: int, stop: NDArray[np.int64]) -> None:
    """Do it in this thread, which no Ctrl-C reaches, and in helpers beside it: as soon as they come, and if they do."""

    def help_with(number: int) -> None:
        _move_to_processor(number)
        work()

    helpers = [_helpers().submit(help_with, number) for number in range(1, n_helpers + 1)]
    try:
        if helpers:
            _move_to_processor(0)
        work()
    except BaseException:
        stop[0] = 1
        raise
    finally:
        for helper in helpers:
            if not helper.cancel():
                helper.result()


# A plan keeps the memory that its calls have worked in, up to so many numbers: it is in the processor's cache still.
_KEPT_ROOM = 100_000


def _arrays(data: Data, *, one_weight: bool) -> tuple[NDArray[Any], FloatArray, FloatArray]:
    """X, y and row weights as kernels read them; where all rows weigh the same, their one weight."""
    u = data.row_weights[:1].copy() if one_weight else data.row_weights
    X = data.X.places if isinstance(data.X, SparseTable) else np.ascontiguousarray(data.X)
    return X, np.ascontiguousarray(data.y), np.ascontiguousarray(u)


def _is_one_weight(data: Data) -> bool:
    return data.row_weights.strides[0] == 0


def _address(array: NDArray[Any]) -> int:
    """Where an array lies in memory."""
    try:
        # An eighth of the time of the way below.
        return ctypes.addressof(ctypes.c_char.from_buffer(array))  # type: ignore[arg-type]
    except (TypeError, ValueError, BufferError):  # read-only, or empty
        return int(array.__array_interface__["data"][0])


def _aligned(n: int, dtype: np.dtype[Any]) -> FloatArray:
    """Zeros that begin at the boundary of a cache line: no vector then lies across two."""
    line = 64 // dtype.itemsize
    array = np.zeros(n + line, dtype)
    skipped = -_address(array) % 64 // dtype.itemsize
    return array[skipped : skipped + n]


def all_threads() -> int:
    """As many threads as the process may use processors."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
    begun: Outcome | None = None,
    stop: NDArray[np.int64] | None = None,
) -> tuple[Outcome, FloatArray]:
    """Train networks, vectors (S, n_parameters), by compiled kernels; also the records of every update, if wanted.

    `first_step` and `last_step` are updates made before and after, where not all are; `state` is the optimiser's then,
    and `begun` what had come of them, where their health and their best parameters are to be told from the beginning.
    `stop`, as `training.train_members` has it.
    """
    optimizer = spec.optimizer
    assert isinstance(optimizer, Optimizer)
    penalised = bool(members.l1.any() or members.l2.any())
    engine = Engine.of(network, data.dtype, optimizer, penalised=penalised, dropout=spec.has_dropout)
    n_rows = len(data.X) if members.rows is None else float(np.mean([len(rows) for rows in members.rows]))
    of_one = work(network, spec, n_rows, 0 if held_out is None else len(held_out.X))
    threads = threads or all_threads()
    job = Job(
        engine, spec, data, vectors, members, held=held_out, state=state, first_step=first_step, last_step=last_step,
        recorded=recorded, threads=threads if of_one >= A_SHARE else 1, begun=begun, stop=stop,
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
    P, counts, states = engine.n_parameters, job.counts.astype(np.intp, copy=False), job.states
    outcome = Outcome(
        vectors=job.vectors[:, :P],
        optimizer_state={name: states[:, k, :P] for k, name in enumerate(engine.state_names)},
        losses=job.result("losses"),
        held_out_losses=np.full((len(vectors), spec.epochs + 1), np.nan)
        if held_out is None
        else job.result("held_losses"),
        final_losses=job.result("finals")[:, places.FINAL_LOSS],
        n_epochs=counts[:, places.EPOCHS],
        n_steps=counts[:, places.STEPS],
        diverged_at=counts[:, places.DIVERGED_AT],
        first_nonfinite=counts[:, places.FIRST_NONFINITE],
        converged=np.zeros(len(counts), bool),
        stopped_early=counts[:, places.STOPPED_EARLY] != 0,
        best_epochs=counts[:, places.BEST_EPOCH],
        best_losses=job.result("finals")[:, places.BEST_HELD_LOSS],
        best_vectors=job.best[:, :P],
        n_dead_units=counts[:, places.N_DEAD],
        dead_since=counts[:, places.DEAD_SINCE],
        stuck_since=counts[:, places.STUCK_SINCE],
        n_finished=n_finished,
    )
    return outcome, job.result("records")


# Work in flops, an update's overhead counted: what takes a tenth of a second at most, so that nobody can want to stop
# it, and what is worth a thread's while.
A_MOMENT, A_SHARE = 1e9, 2.5e7


class Passes:
    """Losses and gradients of a network over fixed rows, by its compiled kernel: the objective of L-BFGS."""

    def __init__(self, network: Network, data: Data) -> None:
        self.engine = engine = Engine.of(network, data.dtype, SGD(), penalised=False, dropout=False)
        dtype, room = engine.dtype, engine.room
        one = _is_one_weight(data)
        self._data, self._kept = _arrays(data, one_weight=one), data
        self._n = len(data.X)
        self._alike = int((data.row_weights == data.row_weights[0]).all())
        reads_lists = engine.reads_lists(data.X)
        self._tools_at = engine.tools_at(zeros=engine.skips_zeros(data.X), lists=reads_lists, shuffle=False)
        self._sizes = engine.sizes.copy()
        self._sizes[places.ONE_WEIGHT] = one
        with_bytes, with_lists = data.X.dtype == np.uint8, isinstance(data.X, SparseTable)
        is_buffered = engine.is_unrolled or with_bytes or (with_lists and not reads_lists)
        self._sizes[[places.WITH_BYTES, places.WITH_LISTS, places.BUFFERED]] = with_bytes, with_lists, is_buffered
        self._sizes[places.PART_ROWS] = self._n + places.BLOCK_ROWS_AT_ONCE  # one part, one gradient
        self._stride = stride = engine.block_rows(self._n, engine.most_rows(data.X))
        self._vector = _aligned(engine.n_padded + engine.lanes, dtype)
        self._gradient = _aligned(engine.n_padded + engine.lanes, dtype)
        self._rows = np.empty(stride + places.ROWS_AHEAD, np.int64)
        self._targets = np.empty(stride * network.n_outputs, dtype)
        self._weights = np.empty(stride, dtype)
        self._table = _aligned(stride * network.n_features if is_buffered else 1, dtype)
        self._work = _aligned(room.work + engine.lanes, dtype)
        self.seen = np.empty(room.seen + engine.lanes, dtype)
        self._sums, self._total = np.zeros(2 * places.MOST_PARTS), np.zeros(1)
        self._taken = -1.0
        a, none = _address, np.empty(0, np.int64)
        rows = engine.gradient, self._tools_at, a(self._sizes), *map(a, self._data), a(none), a(none), 0, 0, self._n
        buffers = map(a, (self._rows, self._targets, self._weights, self._table))
        given = *buffers, 0, self._stride, 0, 0, 0, 0, 0, a(self._vector), self._alike
        goals = map(a, (self._gradient, self._work, self.seen, self._sums, self._total))
        self._arguments = rows, given, (*goals, self._n, 0, 0, 1)
        self._none = none

    def loss(self, vector: FloatArray, *, derivatives: bool = False) -> float:
        """The weighted mean loss, without penalty; afterwards `gradient` where wanted, and what was `seen`."""
        engine = self.engine
        self._vector[: len(vector)] = vector
        self.seen[:] = 0
        self.seen[engine.room.outputs :] = -np.inf
        rows, given, goals = self._arguments
        total = _pass(engine.number)(*rows, self._taken, *given, int(derivatives), *goals)
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
