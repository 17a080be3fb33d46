"""A training of some networks on some rows: its memory, with room for all that comes of it, and its threads."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from glassnet.kernels import places
from glassnet.kernels.engines import Engine, Reading, is_one_weight, loop_addresses, train_function
from glassnet.kernels.memory import Arrays, address, aligned, copy_of
from glassnet.kernels.threads import in_threads, with_help
from glassnet.network import FloatArray
from glassnet.optimizers import Optimizer, Schedule, State
from glassnet.runs import Data, Members, Outcome, Spec
from glassnet.sparse import SparseTable

_FEWEST_TOGETHER = 512  # rows that a buffer has room for at least, where there are so many

# A plan keeps the memory that a call has worked in, up to so many numbers, and that of a job, up to so many bytes: it
# is in the processor's cache still.
_KEPT_ROOM, _KEPT_BYTES = 100_000, 1 << 16


class Ways(NamedTuple):
    """In what a training is other than those of `train`, see `course`.

    `shuffles` as in `places`; `followed`: the most epochs of one call, each of which leaves its objective and its
    parameters; the loss is multiplied by `loss_scale`; `steps_before` count for the optimiser only.
    """

    shuffles: int = places.OWN_SHUFFLES
    followed: int = 0
    penalty_per_weight: bool = False
    loss_scale: float = 1.0
    steps_before: int = 0


_TRAIN = Ways()


class _Shape(NamedTuple):
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
    least_gain: float
    dropout: tuple[float, ...]
    first_step: int
    last_step: int | None
    recorded: bool
    whole_losses: bool
    one_weight: bool
    reading: Reading
    team: int
    float_flags: int
    ways: Ways


class _Plan:
    """Where the arrays of a job lie, and templates of them with what is known before there are rows."""

    def __init__(self, shape: _Shape) -> None:
        engine, size, epochs = shape.engine, shape.size, shape.epochs
        P, lanes, room = engine.n_padded, engine.lanes, engine.room
        hidden = engine.network.sizes[1:-1]
        batch = shape.n_rows if shape.batch_size is None else min(shape.batch_size, shape.n_rows)
        n_updates = epochs * -(-shape.n_rows // batch)
        last_step = n_updates if shape.last_step is None else shape.last_step
        made = last_step - shape.first_step
        n_held = size if shape.n_held else 0
        with_members = shape.n_members > 0
        floats, wholes, own = np.float64, np.int64, engine.dtype
        self.arrays = arrays = Arrays(
            losses=(floats, (size, epochs + 1)),
            held_losses=(floats, (n_held, epochs + 1)),
            finals=(floats, (size, places.N_FINALS)),
            records=(floats, (made if shape.recorded else 0, places.N_RECORDED)),
            objectives=(floats, (shape.ways.followed,)),
            rates=(floats, (size,)),
            l1=(floats, (size,)),
            l2=(floats, (size,)),
            schedule=(floats, (made,)),
            reals=(floats, (3,)),
            dropout=(floats, (sum(hidden) if engine.dropout else 0,)),
            counts=(wholes, (size, places.N_COUNTS)),
            stop=(wholes, (1,)),
            sizes=(wholes, (places.N_SIZES,)),
            numbers=(wholes, (size,)),
            seeds=(wholes, (size,)),
            begins=(wholes, (size + 1 if with_members else 2,)),
            subsets=(wholes, (size,)),
            members=(wholes, (shape.n_members,)),
            # What a team has in common, which may be large.
            vectors=(own, (size, P)),
            states=(own, (size, len(engine.state_names), P)),
            best=(own, (n_held, P)),
            snapshots=(own, (shape.ways.followed, P)),
        )
        # What follows begins as zeros, which a job of some size has from the system, as it touches them.
        self.template = np.zeros(arrays.size if arrays.size <= _KEPT_BYTES else arrays.offsets["vectors"], np.uint8)
        for name in ("losses", "held_losses", "finals", "records", "objectives"):
            self.cut(name)[:] = np.nan
        rate = shape.optimizer.learning_rate
        self.cut("rates")[:] = 1 if isinstance(rate, Schedule) else rate
        self._schedule(shape, last_step, n_updates)
        # What all parameters of an update share: the same for every job, which need not copy it.
        self.scalars = _scalars_of(shape, last_step)
        self.cut("reals")[:] = shape.least_gain, shape.ways.loss_scale, np.inf
        if engine.dropout:
            self.cut("dropout")[:] = np.repeat(shape.dropout, hidden)

        rows_together = max(batch, _FEWEST_TOGETHER)
        stride, held_stride = (
            engine.block_rows(min(n, rows_together), shape.reading.most_rows) for n in (shape.n_rows, shape.n_held)
        )
        n_order = shape.n_rows if batch < shape.n_rows else 0
        self.draws = engine.dropout or n_order > 0  # random numbers
        self.cut("counts")[:, [places.DIVERGED_AT, places.DEAD_SINCE, places.STUCK_SINCE]] = -1
        self.cut("begins")[-1] = shape.n_rows
        sizes = self.cut("sizes")
        sizes[:] = engine.sizes
        sizes[places.N_HELD] = shape.n_held
        sizes[places.FLOAT_FLAGS] = shape.float_flags
        sizes[places.WITH_MEMBERS] = with_members
        sizes[places.BATCH_SIZE] = batch if shape.batch_size is None else shape.batch_size
        sizes[places.FIRST_STEP], sizes[places.LAST_STEP] = shape.first_step, last_step
        sizes[places.N_EPOCHS] = epochs
        sizes[places.PATIENCE] = shape.patience
        sizes[places.BLOCK_ROWS], sizes[places.HELD_BLOCK_ROWS] = stride, held_stride
        sizes[places.WITH_RECORDS], sizes[places.WITH_WHOLE_LOSSES] = shape.recorded, shape.whole_losses
        sizes[places.N_ORDER] = n_order
        sizes[places.ONE_WEIGHT] = shape.one_weight
        sizes[places.BUFFERED] = is_buffered = engine.reads_buffers(shape.reading)
        sizes[places.SHUFFLES] = shape.ways.shuffles
        sizes[places.FOLLOWED] = shape.ways.followed > 0
        sizes[places.PENALTY_PER_WEIGHT] = shape.ways.penalty_per_weight
        tools_at = engine.tools_at(shape.reading, shuffle=n_order > 0)
        elsewhere = {
            "run_pass": loop_addresses(engine.number)["run_pass"], "kernel": engine.gradient, "update": engine.update,
            "tools": tools_at, "scalars": address(self.scalars), "kinds": engine.kinds_at, "hidden": engine.hidden_at,
        }  # fmt: skip
        # Of each of `_TOLD` its address, or its place in a job's memory.
        self._told = np.array([elsewhere.get(name) or arrays.offsets.get(name, 0) for name in _TOLD], np.int64)
        self.inside = np.array([name in arrays.offsets for name in _TOLD], np.int64)
        self.rooms: list[tuple[tuple[Any, ...], int]] = []  # and where their addresses lie
        self.memories: list[_Memory] = []
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

    def cut(self, name: str) -> NDArray[Any]:
        """One of the arrays of the template."""
        return self.arrays.cut(self.template, name)

    def told(self, at: int) -> NDArray[np.int64]:
        """What `loop.train` is told where a job's memory lies there, but for its rows and their orders."""
        return self._told + self.inside * at

    def memory(self) -> _Memory:
        """For a job: one that was given back, or another."""
        try:
            memory = self.memories.pop()
        except IndexError:
            return _Memory(self)
        memory.all[: self.template.size] = self.template
        return memory

    def _schedule(self, shape: _Shape, last_step: int, n_updates: int) -> None:
        """Write what multiplies the learning rate in each update."""
        schedule = self.cut("schedule")
        schedule[:] = 1
        if isinstance(shape.optimizer.learning_rate, Schedule):
            schedule[:] = shape.optimizer.learning_rate.rates(shape.first_step + 1, last_step, n_updates)


class _Memory:
    """The memory of a job: all of it, and its arrays by name."""

    def __init__(self, plan: _Plan) -> None:  # the plan is not kept, for it keeps memories
        self.all = aligned(plan.arrays.size, np.dtype(np.uint8))
        self.all[: plan.template.size] = plan.template
        self.at = address(self.all)
        self.told = plan.told(self.at)
        self.told_at = address(self.told)
        self.arrays = {name: plan.arrays.cut(self.all, name) for name in plan.arrays.offsets}


def _scalars_of(shape: _Shape, last_step: int) -> NDArray[np.float64]:
    """What all parameters share (updates, scalars), one row for each update."""
    t = np.arange(shape.first_step + 1.0, last_step + 1) + shape.ways.steps_before
    values = [t, *shape.optimizer.settings.values()]
    scalars = np.empty((len(t), len(shape.engine.scalars)))
    for k, scalar in enumerate(shape.engine.scalars):
        scalars[:, k] = scalar(*values)
    return scalars


_kept_plan = lru_cache(maxsize=64)(_Plan)

# What `loop.train` is told as addresses, in its order. The rows and their orders are a job's own.
_TOLD = (
    "run_pass", "kernel", "update", "tools", "sizes", "X", "y", "u", "held_X", "held_y", "held_u", "members", "begins",
    "subsets", "vectors", "states", "best", "kinds", "numbers", "seeds", "rates", "l1", "l2", "schedule", "scalars",
    "dropout", "hidden", "orders", "objectives", "snapshots", "losses", "held_losses", "finals", "counts", "records",
    "stop",
)  # fmt: skip
_ROWS, _ROWS_FROM = struct.Struct("6q"), 8 * _TOLD.index("X")  # X, y, u and held_X, held_y, held_u
_ORDERS, _STOP = _TOLD.index("orders"), _TOLD.index("stop")
# Of all threads of a team the same.
_SHARED = [_TOLD.index(name) for name in ("vectors", "states", "best", "snapshots", "stop")]


class Job:
    """Networks of one shape to be trained, and what has come of it.

    `vectors` (S, n_parameters) are the starts. After a run: `vectors`, `states` (S, n_state, n_padded) as the engine's
    `layout` has them, `counts` as in `places`, and by `left` all else: losses and held_losses (S, epochs + 1), finals
    and, where wanted, records.
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
        whole_losses: bool = True,
        threads: int = 1,
        begun: Outcome | None = None,
        ways: Ways = _TRAIN,
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
            spec.min_improvement, spec.rates(engine.network) if engine.dropout else (), first_step, last_step, recorded,
            whole_losses,
            is_one_weight(data) and (held is None or is_one_weight(held)),
            engine.reading(data.X), self.team,
            engine.flags_for(data) if held is None else engine.flags_for(data, held),
            ways,
        )  # fmt: skip
        # A training that is repeated, with other rows perhaps, finds its plan made.
        self._plan = plan = (_kept_plan if self.size * spec.epochs <= 10_000 else _Plan)(shape)
        self._memory = plan.memory()
        memory = self._memory.arrays
        self.vectors = memory["vectors"]
        engine.layout.put(self.vectors, vectors)
        self.counts = memory["counts"]
        self.stop = memory["stop"] if stop is None else stop
        if state:
            for k, name in enumerate(engine.state_names):
                engine.layout.put(self.states[:, k], state[name])
        if begun is not None:
            self.counts[:, places.DEAD_SINCE], self.counts[:, places.STUCK_SINCE] = begun.dead_since, begun.stuck_since
            if held is not None:
                self.counts[:, places.BEST_EPOCH] = begun.best_epochs
                memory["finals"][:, places.BEST_HELD_LOSS] = begun.best_losses
                engine.layout.put(memory["best"], begun.best_vectors)
        if not whole_losses:
            memory["reals"][-1] = data.row_norm
        if engine.penalised:
            memory["l1"][:] = members.l1
            memory["l2"][:] = members.l2
        if members.learning_rates is not None:
            memory["rates"][:] = members.learning_rates
        if plan.draws:
            memory["numbers"][:] = members.numbers
            memory["seeds"][:] = members.seeds.view(np.int64)
        if subsets is not None:
            np.cumsum([0, *map(len, subsets)], out=memory["begins"])
            memory["subsets"][:] = np.arange(self.size)
            np.concatenate(subsets, out=memory["members"], casting="same_kind")
        one = shape.one_weight
        self._kept = data, held  # `arrays_of` a sparse table are where it lies
        self._rows = arrays_of(data, one_weight=one)
        rows_at = [*map(address, self._rows)]
        self._held = None if held is None else arrays_of(held, one_weight=one)
        self.quick = False
        self._loop_at = loop_addresses(engine.number)["train"]
        self._told, self._told_at = self._memory.told, self._memory.told_at
        self._reals_at = self._memory.at + plan.arrays.offsets["reals"]
        held_at = rows_at if self._held is None else map(address, self._held)
        _ROWS.pack_into(self._told, _ROWS_FROM, *rows_at, *held_at)  # type: ignore[arg-type]
        # Whether the memory goes back to the plan: not where it holds on to what is others'.
        self._is_lent = stop is None and orders is None and plan.arrays.size <= _KEPT_BYTES
        self.orders = orders
        if orders is not None:
            self._told[_ORDERS] = address(orders)
        if stop is not None:
            self._told[_STOP] = address(stop)

    def left(self) -> list[NDArray[Any]]:
        """What came of it: vectors, states, losses, counts, finals; held_losses and best; records. The job is over.

        Little memory is left to the next job of the plan, for which all that holds something is copied.
        """
        names = ("vectors", "states", "losses", "counts", "finals", "held_losses", "best", "records")
        left = [self._memory.arrays[name] for name in names]
        if self._is_lent:
            left = [array.copy() if array.size else array for array in left]
            self._plan.memories.append(self._memory)
        del self._memory, self.vectors, self.counts, self.stop
        return left

    def schedule(self) -> NDArray[np.float64]:
        """What multiplies the learning rate in each of the job's updates."""
        return self._memory.arrays["schedule"]

    def snapshots(self, epochs: int) -> FloatArray:
        """The parameters after each epoch of the last call of a course (epochs, n_parameters)."""
        return self.engine.layout.copied(self._memory.arrays["snapshots"][:epochs])

    @property
    def states(self) -> FloatArray:
        """The optimiser's states (S, n_state, n_padded)."""
        return self._memory.arrays["states"]

    def result(self, name: str) -> NDArray[np.float64]:
        """records, rates or objectives."""
        return self._memory.arrays[name]

    def run(self, threads: int, chunk: int, progress: Callable[[int], None] | None = None) -> int:
        """Train; returns how many networks, from the first on, were trained to their end.

        Each thread takes `chunk` networks at a time. A KeyboardInterrupt ends it with the batches under way. Of a lone
        network one that comes when all is made is told as well: there may be more pieces of it to come.
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
            in_threads([work] * n_threads, self.stop)
        else:
            with_help(work, n_threads - 1, self.stop)
        if size == 1 and self.stop[0]:
            return 0
        n_whole = done.index(False) if False in done else len(done)
        return min(n_whole * chunk, size)

    def go_on(self, first: int, last: int, skipped: int) -> bool:
        """Make updates `first` + 1 to `last` of a course, `skipped` being those of this job's before.

        What was left by the call before is where it begins. Returns whether nothing interrupted it: what comes when all
        is made is told as well, or the next call would go on.
        """
        sizes = self._memory.arrays["sizes"]
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
        together = self._meeting_place()
        kept: list[Any] = []  # what the threads work in

        def member(me: int) -> Callable[[], None]:
            told, rooms = self._told.copy(), (*self._room(), *together)
            if me:
                # What comes of it is the same in all threads; each writes its own, parameters and states apart.
                own = copy_of(self._memory.all[: self._plan.arrays.offsets["vectors"]])
                told += self._plan.inside * (address(own) - self._memory.at)
                told[_SHARED] = self._told[_SHARED]
                kept.append(own)
            at = np.array([*map(address, rooms)])
            kept.append((told, rooms, at))
            given = self._loop_at, address(told), self._reals_at, address(at), me, self.team, 0, 1
            return lambda: train_function(self.engine.number)(*given)

        in_threads([member(me) for me in range(self.team)], self.stop)
        return int(not self.stop[0])

    def run_here(self) -> int:
        """Train in the calling thread, for jobs of a moment: no KeyboardInterrupt ends it."""
        self._call(0, self.size)
        return 0 if self.stop[0] else self.size

    def _call(self, first: int, last: int) -> None:
        """Train some of the networks, each alone."""
        plan = self._plan
        try:
            rooms, rooms_at = plan.rooms.pop()
        except IndexError:
            parts = (*self._room(), *self._meeting_place())
            rooms = parts, np.array([*map(address, parts)])
            rooms_at = address(rooms[1])
        train_function(self.engine.number)(self._loop_at, self._told_at, self._reals_at, rooms_at, 0, 1, first, last)
        if plan.room + plan.common < _KEPT_ROOM:
            plan.rooms.append((rooms, rooms_at))

    def _room(self) -> tuple[NDArray[Any], ...]:
        """Memory that a thread works in."""
        plan = self._plan
        return aligned(plan.room, self.engine.dtype), np.empty(plan.whole_room, np.int64), np.empty(1)

    def _meeting_place(self) -> tuple[NDArray[Any], ...]:
        """Memory that the threads of a team share."""
        plan = self._plan
        return aligned(plan.common, self.engine.dtype), np.empty(6 * places.MOST_PARTS), np.zeros(2, np.int64)


def arrays_of(data: Data, *, one_weight: bool) -> tuple[NDArray[Any], FloatArray, FloatArray]:
    """X, y and row weights as kernels read them; where all rows weigh the same, their one weight."""
    u = data.row_weights[:1].copy() if one_weight else data.row_weights
    X = data.X.places if isinstance(data.X, SparseTable) else np.ascontiguousarray(data.X)
    return X, np.ascontiguousarray(data.y), np.ascontiguousarray(u)
