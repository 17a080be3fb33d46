"""A training that goes on a few epochs at a time: what has come of each is there before the next begin.

The kernels are those of `compiled`; between two calls parameters, optimiser state and buffers stay where they are, so
that a call costs some microseconds. What a network learns does not depend on how its epochs are divided into calls.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from glassnet.kernels import compiled, places
from glassnet.kernels.engines import Engine, shuffles
from glassnet.kernels.jobs import Job, Ways
from glassnet.kernels.threads import all_threads
from glassnet.network import FloatArray, Network
from glassnet.optimizers import Optimizer, State
from glassnet.runs import Data, Spec

_MOST_NUMBERS = 1 << 20
"""Numbers that the orders, the parameters or the records of the epochs of one call take at most, about."""

Rates = Callable[[int, int], NDArray[np.float64]]
"""The learning rates of updates `first` to `last`, counted from 1."""


@dataclass(frozen=True)
class Stretch:
    """What some epochs left: `objectives` (epochs,), NaN for one that was not finite, which is then the last; `records`
    of updates, where wanted; `snapshots` makes `vectors`, for so many epochs, of what lies in the course's memory.
    `interrupted`: a KeyboardInterrupt ended it, within the epoch after these."""

    objectives: NDArray[np.float64]
    records: NDArray[np.float64] | None
    first_nonfinite: int
    interrupted: bool
    snapshots: Callable[[int], FloatArray]

    @cached_property
    def vectors(self) -> FloatArray:
        """The parameters after each epoch (epochs, n_parameters); to be asked for before the next call."""
        return self.snapshots(len(self.objectives))


class Course:
    """One network, from `vector` (n_parameters,) on, trained by as many epochs as `go_on` is asked for.

    `rates` gives the learning rate of every update, which `slow_down` divides. An update's objective is
    `loss_scale` times the loss, plus the penalty; with `penalty_per_weight` its l1 and l2 are divided by the sum of the
    batch's row weights. An epoch's objective is the mean of its updates', weighed by their numbers of rows.

    `shuffled`: the `numpy.random.RandomState` that shuffles the rows of every epoch, each time anew on top of the
    last, as scikit-learn does; None takes them as they stand. `state` is the optimiser's, of `steps_before` updates.
    `seed` and `number` are for dropout alone. `epochs`: the most that will ever be made.
    """

    def __init__(
        self,
        network: Network,
        optimizer: Optimizer,
        data: Data,
        vector: FloatArray,
        *,
        rates: Rates,
        epochs: int,
        batch_size: int | None = None,
        shuffled: np.random.RandomState | None = None,
        l1: float = 0.0,
        l2: float = 0.0,
        penalty_per_weight: bool = False,
        loss_scale: float = 1.0,
        dropout: float | tuple[float, ...] = 0.0,
        seed: int = 0,
        number: int = 0,
        state: State | None = None,
        steps_before: int = 0,
        recorded: bool = False,
        threads: int | None = None,
    ) -> None:
        n = len(data.X)
        if batch_size is not None and batch_size >= n:
            batch_size = None
        self.n_batches = 1 if batch_size is None else -(-n // batch_size)
        self.epochs, self.made = epochs, 0  # made: updates
        self._spec = Spec(optimizer, epochs, batch_size, seed, number, None, l1, l2, dropout)
        self._network, self._data, self._rates, self._recorded = network, data, rates, recorded
        self._shuffled = shuffled if self.n_batches > 1 else None
        self._threads = threads or all_threads()
        per_epoch = max(network.n_parameters, n if self._shuffled else 1, self.n_batches * 8)
        self.most_together = max(1, min(epochs, 64, _MOST_NUMBERS // per_epoch))
        self._ways = Ways(
            places.GIVEN_ORDERS if self._shuffled else places.AS_THEY_STAND, self.most_together, penalty_per_weight,
            loss_scale, steps_before,
        )  # fmt: skip
        self._engine = Engine.of(
            network, data.dtype, optimizer, penalised=bool(l1 or l2), dropout=self._spec.has_dropout
        )
        self._slower = 1.0
        self._n_shuffled = 0
        self._orders = np.empty((self.most_together + 1 if self._shuffled else 0, n), np.int64)
        if self._shuffled:
            self._orders[0] = np.arange(n)
        self._begin(vector, state)

    def _begin(self, vector: FloatArray, state: State | None) -> None:
        """A job of some of the epochs that there may be: as many as can be planned for at little cost."""
        first = self.made
        self._first = first
        n_epochs = max(self.most_together, _MOST_NUMBERS // 128 // self.n_batches)
        self._last = min(first + n_epochs * self.n_batches, self.epochs * self.n_batches)
        # One epoch more than there will be: none is the last, after which a training looks back.
        spec = replace(self._spec, epochs=self._last // self.n_batches + 1)
        work = compiled.work(self._network, spec, len(self._data.X)) / spec.epochs * self.most_together
        self._job = Job(
            self._engine, spec, self._data, vector[np.newaxis], self._spec.alone,
            state=None if state is None else {name: value[np.newaxis] for name, value in state.items()},
            first_step=first, last_step=self._last, recorded=self._recorded,
            threads=self._threads if work >= compiled.A_SHARE else 1, ways=self._ways, orders=self._orders[1:],
        )  # fmt: skip
        self._job.quick = work < compiled.A_MOMENT
        self._job.schedule()[:] = self._rates(first + 1, self._last)
        self._job.result("rates")[:] = self._slower

    @property
    def vector(self) -> FloatArray:
        """The parameters as they are now (n_parameters,)."""
        return self._engine.layout.copied(self._job.vectors[0])

    @property
    def state(self) -> State:
        """The optimiser's state as it is now, each (n_parameters,)."""
        copied, states = self._engine.layout.copied, self._job.states[0]
        return {name: copied(states[k]) for k, name in enumerate(self._engine.state_names)}

    def slow_down(self, divisor: float) -> None:
        """Divide all learning rates from now on."""
        self._slower /= divisor
        self._job.result("rates")[:] = self._slower

    def go_on(self, epochs: int) -> Stretch:
        """Train for so many epochs, or for fewer: for as many as there is room for, or until one is not finite.

        A KeyboardInterrupt ends it with the update under way.
        """
        if self.made == self._last:
            self._begin(self.vector, self.state)
        left = (self._last - self.made) // self.n_batches
        epochs = min(epochs, self.most_together, left)
        if self._shuffled:
            self._shuffle(epochs)
        job, skipped, before = self._job, self.made - self._first, self.made
        finished = job.go_on(before, before + epochs * self.n_batches, skipped)
        self.made = int(job.counts[0, places.STEPS])
        if not finished:
            epochs = (self.made - before) // self.n_batches
        first_nonfinite = int(job.counts[0, places.FIRST_NONFINITE])
        if first_nonfinite:
            epochs = int((job.counts[0, places.DIVERGED_AT] - 1) // self.n_batches) - before // self.n_batches + 1
        objectives = job.result("objectives")[:epochs].copy()
        if first_nonfinite:
            objectives[-1] = np.nan
        records = None
        if self._recorded:
            last = int(job.counts[0, places.DIVERGED_AT]) if first_nonfinite else self.made
            records = job.result("records")[skipped : last - self._first].copy()
        return Stretch(objectives, records, first_nonfinite, not finished, job.snapshots)

    def _shuffle(self, epochs: int) -> None:
        """The orders of the next epochs, on top of the last."""
        assert self._shuffled is not None
        interface = self._shuffled._bit_generator.ctypes
        word_at = ctypes.cast(interface.next_uint32, ctypes.c_void_p).value
        if self.made:
            self._orders[0] = self._orders[self._n_shuffled]
        shuffles()(len(self._data.X), epochs, word_at, interface.state_address, self._orders.ctypes.data)
        self._n_shuffled = epochs
