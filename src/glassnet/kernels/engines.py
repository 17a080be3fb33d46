"""The compiled kernels of a network and an optimiser, and the compiled loop that they run in."""

from __future__ import annotations

import ctypes
import math
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from glassnet.activations import ActivationRow, activation_row
from glassnet.expressions import function
from glassnet.kernels import machine, places, source
from glassnet.kernels.layout import Layout
from glassnet.kernels.memory import address
from glassnet.kernels.tiled import FEWEST_INPUTS_TO_SKIP, may_skip_zeros
from glassnet.losses import LossRow
from glassnet.network import FloatArray, Network, weight_mask
from glassnet.optimizers import Optimizer
from glassnet.runs import Data
from glassnet.sparse import SparseTable

CHUNK_ROWS = 4096
"""Rows that a kernel's buffers hold at a time: a whole batch up to that size stays there from pass to pass."""

_MOST_BUFFERED = 1 << 22
"""Numbers of a sparse table that are in a buffer at a time, but those of so many rows as go through together."""

PART_WORK = 3e6
"""Flops, about, that make a part of a pass: a share for one of the threads that train a network together."""

MOST_KEPT_GRADIENTS = 1_000_000
"""Numbers that the gradients of all parts may take together, where there are more than two."""

_LOCK = threading.RLock()

# The types of what compiled functions are told, in the order of their arguments; {0} is the dtype's name.
_GRADIENT = "float64({0}*, {0}*, {0}*, {0}*, {0}*, int64*, int64, int64, int64, int64, int64, {0}*, {0}*, {0}*, int64*)"
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
    "product": "float64({0}*, int64*, int64, int64, {0}*, {0}*, int64, {0}*, int64, int64, int64, {0}*)",
    "outer": "float64({0}*, int64*, int64, int64, {0}*, int64, int64, {0}*, int64, {0}*, {0}*)",
}
_TAKE = "float64({0}*, int64*, {0}*, int64, int64, int64, int64)"
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
    "float64, float64, int64*, float64*, {0}*, float64*, float64*, float64*, int64*, float64*, int64*, {0}*, int64*, "
    "float64*, {0}*, float64*, int64*, int64, int64, int64, int64)"
)
_TRAIN_AS_GIVEN = "float64(int64, int64*, float64*, int64*, int64, int64, int64, int64)"


def _text(name: str) -> str:
    return Path(__file__).with_name(f"{name}.py").read_text("utf-8")


@cache
def _tools(
    number: str, *, tiles: bool, zeros: bool, shuffle: bool, mask: bool, lists: bool = False, taken: str = ""
) -> NDArray[np.int64]:
    """The addresses of what a training calls, as `calls` and `loop` find them, and behind them 0, 1, 2, ...

    With `lists` what reads the table reads those of a sparse one: what passes over zeros, else sums of a few units.
    `taken` names the one of `buffers` that takes rows, if any does.
    """
    tools = np.arange(-places.N_TOOLS, places.BLOCK_ROWS_AT_ONCE)
    tools[places.MOSTLY_ZEROS], tools[places.TAKE_AT] = zeros, 0
    loop = loop_addresses(number)
    tools[places.HEALTH_AT], tools[places.MEET_AT] = loop["note_health"], loop["meet"]
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
    if taken:
        tools[places.TAKE_AT] = machine.code(_text("buffers"), {taken: _TAKE.format(number)})[taken]
    return tools


@cache
def loop_addresses(number: str) -> dict[str, int]:
    """The addresses of the functions of `loop`."""
    text = _text("loop")
    around_passes = {"meet": _MEET, "note_health": _HEALTH, "train": _TRAIN, "train_as_given": _TRAIN_AS_GIVEN}
    seldom = {name: signature.format(number) for name, signature in around_passes.items()}
    return machine.code(text, {"run_pass": _PASS.format(number)}) | machine.code(text, seldom, seldom=True)


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
def pass_function(number: str) -> Any:
    """`loop.run_pass` for a dtype, as a function of Python\'s."""
    return _callable(loop_addresses(number)["run_pass"], _PASS)


@cache
def train_function(number: str) -> Any:
    """`loop.train_as_given` for a dtype, as a function of Python's."""
    return _callable(loop_addresses(number)["train_as_given"], _TRAIN_AS_GIVEN)


@cache
def shuffles() -> Any:
    """`chance.shuffles`, compiled."""
    return _callable(machine.code(_text("chance"), {"shuffles": _SHUFFLES})["shuffles"], _SHUFFLES)


class Reading(NamedTuple):
    """How kernels read a table: whether they pass over zeros, whether they go along the lists of a sparse one, by which
    function of `buffers` its rows become rows of floats (none where they are), and the most rows that they take at a
    time: fewer where those of a sparse table, made dense, are large."""

    skips_zeros: bool
    goes_along_lists: bool
    taken: str
    most_rows: int


_AS_IT_IS = Reading(False, False, "", CHUNK_ROWS)


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
        rows = *map(activation_row, network.activations), network.loss_row
        return _engine(network, rows, np.dtype(dtype), optimizer, penalised, dropout)

    def __post_init__(self) -> None:
        """Have the arrays whose addresses are handed out, before two threads could make them at once."""
        _ = self.kinds_at, self.hidden_at

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
        """Numbers that they take, in whole vectors."""
        return -(-self.layout.size // self.lanes) * self.lanes

    @cached_property
    def layout(self) -> Layout:
        """Where they lie."""
        return Layout.of(self.network, 1 if self.is_unrolled else self.lanes)

    @cached_property
    def kinds(self) -> FloatArray:
        """1 for a weight, 0 for a bias, -1 where there is no parameter."""
        kinds = np.full(self.n_padded, -1, self.dtype)
        self.layout.put(kinds, weight_mask(self.network).astype(self.dtype))
        return kinds

    @cached_property
    def hidden(self) -> NDArray[np.int64]:
        """Where what belongs to hidden units lies: see `source.Room`."""
        return np.array([self.room.begins, self.room.row_sizes, self.room.units], np.int64).ravel()

    def tools_at(self, reading: Reading, *, shuffle: bool) -> int:
        """Where the addresses of what a training calls lie."""
        tiles, mask, taken = not self.is_unrolled, self.dropout, reading.taken
        zeros, lists = reading.skips_zeros, reading.goes_along_lists
        with _LOCK:  # of two arrays made at once only one is kept, and an address alone keeps nothing
            tools = _tools(self.number, tiles=tiles, zeros=zeros, shuffle=shuffle, mask=mask, lists=lists, taken=taken)
        return address(tools)

    def reading(self, X: Any) -> Reading:
        """How a table is read."""
        if isinstance(X, SparseTable):
            if self.reads_lists(X):
                return Reading(may_skip_zeros(self.network, self.lanes), True, "", CHUNK_ROWS)
            blocks = max(1, _MOST_BUFFERED // (places.BLOCK_ROWS_AT_ONCE * self.network.n_features))
            return Reading(False, False, "take_lists", min(CHUNK_ROWS, blocks * places.BLOCK_ROWS_AT_ONCE))
        if X.dtype == np.uint8:
            return Reading(self.skips_zeros(X), False, "take_bytes", CHUNK_ROWS)
        return _AS_IT_IS if self.is_unrolled else Reading(self.skips_zeros(X), False, "", CHUNK_ROWS)

    def reads_buffers(self, reading: Reading) -> bool:
        """Whether kernels read rows that were put into buffers, and not those of the table."""
        return self.is_unrolled or reading.taken != ""

    def reads_lists(self, X: SparseTable) -> bool:
        """Whether it pays to go along the lists of a sparse table; else its rows are put into buffers, dense."""
        if self.is_unrolled or self.network.n_features < FEWEST_INPUTS_TO_SKIP:
            return False
        if not may_skip_zeros(self.network, self.lanes):
            return X.density < 0.25  # one layer with few outputs
        vectors = -(-self.network.sizes[1] // self.lanes)
        dense, _, found, added = _CYCLES
        return X.density * (found + added * vectors) < dense * vectors

    def skips_zeros(self, X: Any) -> bool:
        """Whether it pays to pass over the zeros of a dense table; the numbers that come of it are the same.

        Judged from some of the rows by what was measured; see `_CYCLES`.
        """
        if self.is_unrolled or not may_skip_zeros(self.network, self.lanes):
            return False
        some = X[:: max(1, len(X) // 128)]
        vectors = -(-self.network.sizes[1] // self.lanes)
        dense, marking, found, added = _CYCLES
        return bool(np.count_nonzero(some != 0) * (found + added * vectors) < some.size * (dense * vectors - marking))

    def flags_for(self, *data: Data) -> int:
        """How floats are treated where these are the rows.

        No number counts as 0 where row weights, or targets that are no probabilities, are so small that losses and
        deltas might be subnormal themselves: below 1e-12 in float32, 1e-138 in float64.
        """
        for rows in data:
            if (rows.row_weights[0] if is_one_weight(rows) else rows.row_weights.max()) < self._least:
                return 0
            if self.network.loss_row.targets not in ("unit", "classes") and np.abs(rows.y).max() < self._least:
                return 0
        return self.float_flags

    @cached_property
    def _least(self) -> float:
        """A number whose square has as many digits above the least normal number as any has."""
        limits = np.finfo(self.dtype)
        return math.sqrt(float(limits.tiny)) / float(limits.eps)

    @cached_property
    def kinds_at(self) -> int:
        """Where `kinds` lies in memory."""
        return address(self.kinds)

    @cached_property
    def hidden_at(self) -> int:
        """Where `hidden` lies in memory."""
        return address(self.hidden)

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

    def block_rows(self, n: int, most: int) -> int:
        """How many of n rows are taken at a time, rounded up to whole vectors and tiles."""
        pad = max(self.lanes, 8)
        return -(-min(n, most) // pad) * pad

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
        sizes[places.N_SCALARS] = len(self.scalars)
        sizes[places.WITH_DROPOUT] = self.dropout
        sizes[places.N_LAYERS] = self.network.n_layers
        sizes[places.PART_ROWS] = self.part_rows
        sizes[places.MOST_GRADIENTS] = self.most_gradients
        sizes[places.N_PIECES] = -(-self.n_padded // places.PIECE)
        sizes[places.FIRST_WEIGHTS], sizes[places.FIRST_UNITS] = self.layout.biases[0], self.layout.units[0]
        return sizes

    @cached_property
    def classes(self) -> int:
        """How the loop tells that all rows get one class."""
        link = self.network.loss_row.link
        if link == "softmax":
            return places.SOFTMAX
        return places.ONE_OUTPUT if link == "sigmoid" and self.network.n_outputs == 1 else places.NO_CLASSES


def is_one_weight(data: Data) -> bool:
    """Whether all rows weigh the same because there is one weight for them, as `runs.ones_for` has it."""
    return data.row_weights.strides[0] == 0


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
    gradient, room = source.gradient_kernel(network, lanes, dropout=dropout)
    update = source.update_source(optimizer, lanes, penalised=penalised)
    return Engine(
        network=network,
        dtype=dtype,
        lanes=lanes,
        room=room,
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
