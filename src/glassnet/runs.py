"""What a training is told and what comes of it: plain data, for every engine the same."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache, cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glassnet import reference
from glassnet.errors import UsageError
from glassnet.network import FloatArray, Network, checked_dropout
from glassnet.optimizers import LBFGS, Adam, Optimizer, Schedule, State
from glassnet.randomness import check_numbers
from glassnet.sparse import SparseTable, checked_rows, is_sparse

AnyOptimizer = Optimizer | LBFGS

NONFINITE = (None, "loss", "penalty", "gradient", "parameters")
"""What was infinite or NaN first, by its number in `Outcome.first_nonfinite`."""


def is_whole(value: object) -> bool:
    """Whether it is an integer, Python's or NumPy's; True is none.

    >>> is_whole(3), is_whole(3.0), is_whole(True)
    (True, False, False)
    """
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


@dataclass(frozen=True)
class Spec:
    """How a network is trained; with the data and the initial parameters it settles every number of the run.

    `patience`: epochs that held-out rows may go without a loss lower by more than `min_improvement`.
    """

    optimizer: AnyOptimizer = field(default_factory=Adam)
    epochs: int = 100
    batch_size: int | None = None
    random_state: int = 0
    start: int = 0
    initializer: str | None = None
    l1: float = 0.0
    l2: float = 0.0
    dropout: float | tuple[float, ...] = 0.0
    patience: int | None = None
    min_improvement: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.optimizer, Optimizer | LBFGS):
            raise UsageError(f"optimizer is one of gn.SGD, SGDW, Adam, AdamW, RMSprop, LBFGS; got {self.optimizer!r}.")
        if not is_whole(self.epochs) or self.epochs < 0:
            raise UsageError(f"epochs is a whole number, 0 or more; got {self.epochs!r}.")
        if self.batch_size is not None and (not is_whole(self.batch_size) or self.batch_size < 1):
            raise UsageError(
                f"batch_size is a whole number, 1 or more, or None for all rows at once; got {self.batch_size!r}."
            )
        if self.patience is not None and (not is_whole(self.patience) or self.patience < 1):
            raise UsageError(
                f"patience is a whole number of epochs, 1 or more, or None to train them all; got {self.patience!r}."
            )
        wholes = {name: getattr(self, name) for name in ("epochs", "batch_size", "random_state", "start", "patience")}
        for name, value in wholes.items():
            if isinstance(value, np.integer):
                object.__setattr__(self, name, int(value))
        for name, value in (("l1", self.l1), ("l2", self.l2), ("min_improvement", self.min_improvement)):
            if not isinstance(value, int | float) or not 0 <= value < np.inf:
                raise UsageError(f"{name} is a number, 0 or more; got {value!r}.")
        if isinstance(self.dropout, list):
            object.__setattr__(self, "dropout", tuple(self.dropout))
        check_numbers(self.random_state, self.start)
        if isinstance(self.optimizer, LBFGS) and self.batch_size is not None:
            raise UsageError("L-BFGS looks at all rows at once; leave batch_size out.")
        if isinstance(self.optimizer, LBFGS) and self.has_dropout:
            raise UsageError("L-BFGS compares losses of one and the same network; leave dropout out.")

    @classmethod
    def of(cls, optimizer: AnyOptimizer, *others: Any) -> Spec:
        """The same again for the same optimiser and settings: to check them takes as long as to train a tiny network.

        >>> adam = Adam()
        >>> Spec.of(adam, 10) is Spec.of(adam, 10)
        True
        """
        # By how they are written: 1 and 1.0 are equal, and so is True, but a checkpoint says which it was.
        key = id(optimizer), repr(others)
        found = _SETTLED.get(key)
        if found is None or found.optimizer is not optimizer:
            found = cls(optimizer, *others)
            if len(_SETTLED) >= 64:
                _SETTLED.clear()
            _SETTLED[key] = found
        return found

    @cached_property
    def has_dropout(self) -> bool:
        """Whether any unit is ever left out."""
        given = self.dropout
        return any(given) if isinstance(given, tuple | list) else bool(given)

    @cached_property
    def alone(self) -> Members:
        """Its network by itself, in arrays that are not written to."""
        members = Members.of(self, np.array([self.start]))
        for array in (members.numbers, members.seeds, members.l1, members.l2):
            array.flags.writeable = False
        return members

    def rates(self, network: Network) -> tuple[float, ...]:
        """The dropout rate of every hidden layer."""
        if self.dropout == 0:
            return (0.0,) * (network.n_layers - 1)
        return checked_dropout(network, self.dropout)


_SETTLED: dict[tuple[int, str], Spec] = {}


@lru_cache(maxsize=16)
def ones_for(n: int, dtype: Any) -> FloatArray:
    """Weights of rows that all weigh the same (n,), which take no memory: there may be ten million rows.

    >>> ones_for(2, np.float64)
    array([1., 1.])
    """
    return np.ndarray(n, dtype, _kept(1.0, dtype), 0, (0,))


@lru_cache(maxsize=16)
def never(shape: tuple[int, int]) -> FloatArray:
    """NaN for every network and epoch, which takes no memory and cannot be written to either.

    >>> never((1, 2))
    array([[nan, nan]])
    """
    return np.ndarray(shape, np.float64, _kept(np.nan, np.float64), 0, (0, 0))


@cache
def _kept(value: float, dtype: Any) -> FloatArray:
    one = np.full(1, value, dtype)
    one.flags.writeable = False
    return one


@dataclass(frozen=True)
class Data:
    """The training rows, checked: X (n, n_features), y (n, n_outputs), row_weights (n,).

    X may hold uint8, pixels say, which kernels read as they are; all that is computed has the dtype of y. Or it is a
    `SparseTable`. `row_norm`: but for roundings no row's Euclidean norm is larger; infinite where nothing is known.
    """

    X: Any
    y: FloatArray
    row_weights: FloatArray
    row_norm: float = np.inf

    @classmethod
    def checked(
        cls,
        network: Network,
        X: ArrayLike,
        y: ArrayLike,
        row_weights: ArrayLike | None,
        dtype: Any = np.float64,
        threads: int = 1,
    ) -> Data:
        """Arrays that fit the network, or the error that says why not. `dtype` is taken where X holds uint8; `threads`
        look at a large X together.

        >>> Data.checked(Network((2, 1)), np.zeros((3, 2), np.uint8), [0, 1, 1], None).X.dtype
        dtype('uint8')
        """
        if isinstance(X, np.ndarray) and X.dtype == np.uint8 and X.ndim == 2 and len(X):
            reference.checked_table(network, X[:1])  # its shape: no byte is infinite
            rows: Any = X
            norm = 255 * math.sqrt(network.n_features)
        elif is_sparse(X):
            rows = checked_rows(network, X)
            dtype, norm = rows.dtype, reference.euclidean_norm(rows.lists[0])
        else:
            rows, norm = reference.checked_table_and_norm(network, X, threads)
            dtype = rows.dtype
        y = reference.checked_targets(network, y, len(rows), dtype)
        if row_weights is None:
            return cls(rows, y, ones_for(len(rows), dtype), norm)
        return cls(rows, y, reference.checked_row_weights(row_weights, len(rows), dtype), norm)

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of all numbers that are computed."""
        return self.y.dtype

    def as_floats(self) -> Data:
        """X dense and in the dtype of all else, for what reads neither bytes nor a `SparseTable`."""
        if isinstance(self.X, SparseTable):
            return replace(self, X=self.X.toarray())
        return replace(self, X=self.X.astype(self.dtype, copy=False))

    @property
    def hash(self) -> str:
        """SHA-256 over shapes, types and numbers: two trainings on the same data have the same."""
        digest = hashlib.sha256()
        X = self.X.lists if isinstance(self.X, SparseTable) else (self.X,)
        for array in (*X, self.y, self.row_weights):
            digest.update(f"{array.shape}{array.dtype}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def at(self, rows: Any) -> Data:
        """Some of the rows."""
        return Data(self.X[rows], self.y[rows], self.row_weights[rows], self.row_norm)

    def share(self) -> FloatArray:
        """Row weights that sum to 1."""
        share: FloatArray = self.row_weights / self.row_weights.sum()
        return share


@dataclass(frozen=True)
class Members:
    """What the networks of one training have of their own, one entry each: numbers (S,), seeds (S,), l1, l2 (S,);
    learning rates (S,) and row numbers where they differ."""

    numbers: NDArray[np.int64]
    seeds: NDArray[np.uint64]
    l1: FloatArray
    l2: FloatArray
    learning_rates: FloatArray | None = None
    rows: Sequence[NDArray[np.intp]] | None = None

    @classmethod
    def of(cls, spec: Spec, numbers: NDArray[np.integer[Any]]) -> Members:
        """Networks that differ in their number alone."""
        size = len(numbers)
        return cls(
            numbers.astype(np.int64),
            np.array([spec.random_state] * size, np.uint64),
            np.array([float(spec.l1)] * size),
            np.array([float(spec.l2)] * size),
        )

    def __len__(self) -> int:
        return len(self.numbers)

    @cached_property
    def are_penalised(self) -> bool:
        """Whether any of them has a penalty."""
        return bool(self.l1.any() or self.l2.any())

    @property
    def are_alike(self) -> bool:
        """Whether they differ in their number alone."""
        same = all((part == part[0]).all() for part in (self.seeds, self.l1, self.l2))
        return same and self.learning_rates is None and self.rows is None

    def spec(self, spec: Spec, s: int) -> Spec:
        """The spec of member s by itself."""
        optimizer = spec.optimizer
        if self.learning_rates is not None and isinstance(optimizer, Optimizer):
            optimizer = replace(optimizer, learning_rate=float(self.learning_rates[s]))
        return replace(
            spec,
            optimizer=optimizer,
            random_state=int(self.seeds[s]),
            start=int(self.numbers[s]),
            l1=float(self.l1[s]),
            l2=float(self.l2[s]),
        )

    def data(self, data: Data, s: int) -> Data:
        """The rows of member s."""
        return data if self.rows is None else data.at(self.rows[s])

    def at(self, of: NDArray[np.intp]) -> Members:
        """Some of them."""
        rates, rows = self.learning_rates, self.rows
        return Members(
            self.numbers[of], self.seeds[of], self.l1[of], self.l2[of], None if rates is None else rates[of],
            None if rows is None else [rows[s] for s in of],
        )  # fmt: skip

    def together(self, spec: Spec, n: int) -> list[NDArray[np.intp]]:
        """Which of them one call of a kernel can train with the bits that each has alone: those with a penalty and
        those without, whose kernels round differently; those with as many updates, where the rates depend on that.

        >>> members = Members.of(Spec(), np.arange(3))
        >>> [of.tolist() for of in members.together(Spec(), 10)]
        [[0, 1, 2]]
        """
        penalised = (self.l1 != 0) | (self.l2 != 0)
        scheduled = isinstance(spec.optimizer, Optimizer) and isinstance(spec.optimizer.learning_rate, Schedule)
        if not scheduled and (penalised == penalised[0]).all():
            return [np.arange(len(self))]
        keys = np.stack([penalised, np.zeros(len(self), bool)]).astype(np.int64)
        if scheduled:
            lengths = np.full(len(self), n) if self.rows is None else np.array([len(rows) for rows in self.rows])
            keys[1] = 1 if spec.batch_size is None else -(-lengths // spec.batch_size)
        _, of = np.unique(keys, axis=1, return_inverse=True)
        return [np.flatnonzero(of.ravel() == group) for group in range(of.max() + 1)]

    def refuse_unfit(self, spec: Spec, n: int) -> None:
        """The error of settings that no training can have."""
        if self.learning_rates is not None:
            if isinstance(spec.optimizer, LBFGS) or isinstance(spec.optimizer.learning_rate, Schedule):
                raise UsageError(
                    "learning_rates give each network a constant rate of its own; "
                    f"{spec.optimizer!r} has none. Leave them out, or take an optimiser with a constant rate."
                )
            if not (np.isfinite(self.learning_rates) & (self.learning_rates >= 0)).all():
                raise UsageError(f"learning_rates are finite and 0 or more; got {self.learning_rates.min():g}.")
        for name in ("l1", "l2"):
            values = getattr(self, name)
            if not (np.isfinite(values) & (values >= 0)).all():
                raise UsageError(f"{name} is a number, 0 or more, or one for each network; got {values.min():g}.")
        for number, rows in enumerate(self.rows or ()):
            if not len(rows) or rows.min() < 0 or rows.max() >= n:
                raise UsageError(
                    f"rows are row numbers from 0 to {n - 1}, one or more for each network; network {number} has "
                    + (f"{rows.min()} to {rows.max()}." if len(rows) else "none.")
                )


class Counts(NamedTuple):
    """A network's row of `Outcome.counts`; `kernels.places` has the order, too.

    `dead_since`, `stuck_since`: the epoch from which on, to the end, a hidden unit was 0 on every row, and one class
    came out for every row; -1 where not so, as `diverged_at` is.
    """

    n_epochs: int
    n_steps: int
    diverged_at: int
    first_nonfinite: int
    stopped_early: int
    n_dead_units: int
    dead_since: int
    stuck_since: int
    best_epochs: int
    converged: int


COUNTS = Counts._fields

FINALS = ("final_losses", "best_losses")
"""The columns of `Outcome.finals`: over all training rows at the end, and the lowest of the held-out rows so far."""


def _column(name: str) -> property:
    """A column of an outcome's counts or finals, to be read and written by its name."""
    table, names = ("counts", COUNTS) if name in COUNTS else ("finals", FINALS)
    at = names.index(name)

    def read(outcome: Outcome) -> Any:
        return getattr(outcome, table)[:, at]

    def write(outcome: Outcome, values: ArrayLike) -> None:
        getattr(outcome, table)[:, at] = values

    return property(read, write)


@dataclass
class Outcome:
    """What came of S networks: arrays with one entry per network on axis 0.

    `losses` and `held_out_losses` (S, epochs + 1), NaN where a training did not get to. `counts` (S, len(COUNTS)) and
    `finals` (S, 2) are asked for by the names of their columns. `best_vectors`: the parameters with the lowest loss of
    the held-out rows; without such rows (S, 0). Networks 0 to `n_finished` - 1 were not interrupted.
    """

    vectors: FloatArray
    optimizer_state: State
    losses: FloatArray
    held_out_losses: FloatArray
    counts: NDArray[np.int64]
    finals: FloatArray
    best_vectors: FloatArray
    n_finished: int

    n_epochs = _column("n_epochs")
    n_steps = _column("n_steps")
    diverged_at = _column("diverged_at")
    first_nonfinite = _column("first_nonfinite")
    stopped_early = _column("stopped_early")
    n_dead_units = _column("n_dead_units")
    dead_since = _column("dead_since")
    stuck_since = _column("stuck_since")
    best_epochs = _column("best_epochs")
    converged = _column("converged")
    final_losses = _column("final_losses")
    best_losses = _column("best_losses")

    @classmethod
    def begun(cls, vectors: FloatArray, epochs: int) -> Outcome:
        """Nothing has happened yet."""
        size = len(vectors)
        outcome = cls(
            vectors=vectors.copy(),
            optimizer_state={},
            losses=np.full((size, epochs + 1), np.nan),
            held_out_losses=np.full((size, epochs + 1), np.nan),
            counts=np.zeros((size, len(COUNTS)), np.int64),
            finals=np.full((size, len(FINALS)), np.nan),
            best_vectors=np.zeros((size, 0), vectors.dtype),
            n_finished=size,
        )
        outcome.diverged_at = outcome.dead_since = outcome.stuck_since = -1
        return outcome

    @classmethod
    def joined(cls, parts: Sequence[Outcome]) -> Outcome:
        """Those of all parts, in their order."""
        together: dict[str, Any] = {
            item.name: np.concatenate([getattr(part, item.name) for part in parts])
            for item in fields(cls)
            if item.name not in ("optimizer_state", "n_finished")
        }
        together["optimizer_state"] = {
            name: np.concatenate([part.optimizer_state[name] for part in parts]) for name in parts[0].optimizer_state
        }
        together["n_finished"] = sum(part.n_finished for part in parts)
        return cls(**together)

    def at(self, of: NDArray[np.intp]) -> Outcome:
        """Some of the networks, all of them finished."""
        some: dict[str, Any] = {
            item.name: getattr(self, item.name)[of]
            for item in fields(self)
            if item.name not in ("optimizer_state", "n_finished")
        }
        some["optimizer_state"] = {name: value[of] for name, value in self.optimizer_state.items()}
        return Outcome(**some, n_finished=len(of))

    def after(self, begun: Outcome) -> Outcome:
        """The same, with the losses that were known when it was gone on with."""

        def with_known(new: FloatArray, known: FloatArray) -> FloatArray:
            return np.where(np.isnan(new), known, new)

        return replace(
            self,
            losses=with_known(self.losses, begun.losses),
            held_out_losses=with_known(self.held_out_losses, begun.held_out_losses),
        )

    def since(self, of: NDArray[np.intp], epoch: Any, n_dead: NDArray[np.intp], one_class: NDArray[np.bool_]) -> None:
        """Record the health that networks `of` showed after `epoch`."""
        self.n_dead_units[of] = n_dead
        for since, so in ((self.dead_since, n_dead > 0), (self.stuck_since, one_class)):
            since[of] = np.where(so, np.where(since[of] < 0, epoch, since[of]), -1)
