"""What is trained for a request: a network, how, and on which rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from glassnet.dispatch import job_size, train_members, updates_per_epoch
from glassnet.errors import UsageError
from glassnet.model import network_for
from glassnet.network import FloatArray, Network, initialize
from glassnet.optimizers import LBFGS, SGD, Adam, AdamW, RMSprop
from glassnet.runs import AnyOptimizer, Data, Members, Outcome, Spec
from glassnet.web.ground import Ground
from glassnet.web.state import Settings

MOST_WORK = 4e10
"""Size of one start's training, as `dispatch.job_size` has it: some seconds."""

MOST_NUMBERS = 4e6
"""Parameters, and points of curves, of all starts together."""

CURVE_POINTS = 201
"""Epochs of a curve that are drawn, at most."""

_OPTIMIZERS: dict[str, AnyOptimizer] = {
    "sgd": SGD(1.0), "adam": Adam(1.0), "adamw": AdamW(1.0), "rmsprop": RMSprop(1.0), "lbfgs": LBFGS(),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Job:
    """A training of settings on a ground: everything that the numbers follow from."""

    ground: Ground
    network: Network
    spec: Spec
    learning_rate: float | None
    data: Data

    @classmethod
    def of(cls, ground: Ground, settings: Settings) -> Job:
        """The network and its training. Raises UsageError: settings that do not go together, or too much work."""
        prepared = ground.prepared
        network = network_for(ground.encoding, settings.hidden, settings.activation, settings.loss or None)
        # The rate is the members', so that the kernel of one rate is that of all.
        optimizer = _OPTIMIZERS[settings.optimizer]
        rate = None if isinstance(optimizer, LBFGS) else settings.learning_rate
        spec = Spec(
            optimizer, settings.epochs, settings.batch or None, settings.seed, l1=settings.l1, l2=settings.l2,
            dropout=settings.dropout,
        )  # fmt: skip
        of_one = job_size(network, spec, len(prepared.X), 1)
        if of_one > MOST_WORK:
            raise UsageError(
                f"A start is trained in some seconds here; this one would take {of_one / MOST_WORK:.2g} times as long. "
                "Fewer epochs, fewer units or larger batches take less; glassnet train takes any."
            )
        numbers = settings.starts * max(network.n_parameters, min(settings.epochs + 1, CURVE_POINTS))
        if numbers > MOST_NUMBERS:
            raise UsageError(
                f"All starts together have at most {MOST_NUMBERS:,.0f} numbers here; these have {numbers:,}. "
                "Fewer starts or fewer units have less."
            )
        return cls(ground, network, spec, rate, Data.checked(network, prepared.X, prepared.y, prepared.row_weights))

    def initial(self, numbers: NDArray[np.intp]) -> FloatArray:
        """Where starts of these numbers begin (S, n_parameters), to be read only."""
        return _initial(self.network, self.spec.random_state, tuple(numbers.tolist()))

    def train(
        self,
        numbers: NDArray[np.intp],
        epochs: int | None = None,
        initial: FloatArray | None = None,
        begun: Outcome | None = None,
        last_epoch: int | None = None,
        stop: NDArray[np.int64] | None = None,
        threads: int | None = None,
    ) -> Outcome:
        """Starts of these numbers trained, to the end or for some epochs.

        They begin at `initial` (S, n_parameters) where it is given. One of them may go on from what had `begun`, and be
        left as it stands after `last_epoch`. `stop` and `threads` are those of `train_members`.
        """
        spec = self.spec if epochs is None else replace(self.spec, epochs=epochs)
        members = Members.of(spec, numbers)
        if self.learning_rate is not None:
            members = replace(members, learning_rates=np.full(len(numbers), self.learning_rate))
        vectors = self.initial(numbers) if initial is None else initial
        return train_members(
            self.network, spec, self.data, vectors, members, engine="compiled", begun=begun, last_epoch=last_epoch,
            stop=stop, threads=threads,
        )  # fmt: skip

    @property
    def updates_per_epoch(self) -> int:
        """How many updates an epoch has."""
        return updates_per_epoch(self.spec, self.data, Members.of(self.spec, np.array([0])))


@lru_cache(maxsize=16)
def _initial(network: Network, seed: int, numbers: tuple[int, ...]) -> FloatArray:
    # While a slider is dragged they are the same again and again.
    vector = initialize(network, seed, start=np.array(numbers)).vector
    vector.flags.writeable = False
    return vector
