"""One training of one network: where it stood after any epoch, gone on with from weights set by hand, what ailed it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.activations import activation_row
from glassnet.errors import UsageError
from glassnet.expressions import function
from glassnet.kernels import stacked
from glassnet.network import FloatArray, Network, Parameters
from glassnet.optimizers import LBFGS
from glassnet.runs import Outcome
from glassnet.training import History, Run
from glassnet.web.job import Job
from glassnet.web.state import Hand

SATURATED_SLOPE, SATURATED_SHARE = 0.01, 0.9
"""A unit is saturated where its slope is below this part of the steepest, on this share of the training rows."""

_MOST_LOOKS = 100  # at a training, to find since when something has been so
_MOST_LOOKED_AT = 2e7  # units x rows x looks
_UNBENT = ("identity", "relu", "leaky_relu")  # what does not saturate; relu's units die


@dataclass(frozen=True, eq=False)
class Course:
    """A training of start `number` to `vector` (n_parameters,); `losses` (epochs + 1,).

    `ails` (3,): dead since, stuck since, diverged at, as `Outcome` has them. `from_hand`: the weights that it began at,
    where these are not the start's own.
    """

    job: Job
    number: int
    vector: FloatArray
    losses: FloatArray
    ails: NDArray[np.int32]
    from_hand: FloatArray | None = None

    @cached_property
    def initial(self) -> FloatArray:
        """Where it began, (n_parameters,)."""
        if self.from_hand is not None:
            return self.from_hand
        vector: FloatArray = self.job.initial(np.array([self.number]))[0]
        return vector

    @classmethod
    def trained(cls, job: Job, number: int, initial: FloatArray) -> Course:
        """Train from these weights on, with the shuffles and masks of this start."""
        outcome = job.train(np.array([number]), initial=initial[np.newaxis])
        ails = np.array([outcome.dead_since[0], outcome.stuck_since[0], outcome.diverged_at[0]], np.int32)
        return cls(job, number, outcome.vectors[0], outcome.losses[0], ails, initial)

    def at(self, epoch: int) -> FloatArray:
        """The parameters after an epoch, (n_parameters,)."""
        if epoch >= self.job.spec.epochs:
            return self.vector
        if epoch == 0:
            return self.initial
        vector: FloatArray = self.job.train(np.array([self.number]), epoch, self.initial[np.newaxis]).vectors[0]
        return vector

    @cached_property
    def run(self) -> Run:
        """The same as what `train` returns, so that it can be explained."""
        job, network = self.job, self.job.network
        optimizer = job.spec.optimizer
        if not isinstance(optimizer, LBFGS):
            assert job.learning_rate is not None
            optimizer = replace(optimizer, learning_rate=job.learning_rate)
        spec = replace(job.spec, optimizer=optimizer, start=self.number)
        diverged = int(self.ails[2])
        stopped = f"diverged at step {diverged}" if diverged >= 0 else "epochs"
        epochs = spec.epochs if diverged < 0 else (diverged - 1) // job.updates_per_epoch
        counters = {"epochs": epochs, "steps": epochs * job.updates_per_epoch}
        return Run(
            network, spec, Parameters(network, self.initial), Parameters(network, self.vector), {}, counters,
            History(self.losses), stopped, "compiled", job.data,
        )  # fmt: skip

    def ailing(self, epoch: int, vector: FloatArray) -> list[dict[str, Any]]:
        """The hidden units that are dead or saturated at `vector`, the parameters after `epoch`, and since when.

        `since` is the epoch from which on it has been so up to here, `step` the update after which it was; `share` how
        many of the training rows it is so on. `since` is -1 where `vector` was set by hand, the training diverged, or
        it is too long to be looked at.
        """
        job, network = self.job, self.job.network
        what, share = _ailing(network, vector[np.newaxis], job.data.X)
        ill = np.flatnonzero(what[0])
        if not len(ill):
            return []
        since = np.full(len(ill), -1)
        if epoch > 0 and self.ails[2] < 0 and not isinstance(job.spec.optimizer, LBFGS):
            looks = self._looks(epoch)
            if looks is not None and (looks[epoch] == vector).all():
                since = self._since(looks, epoch, ill, what[0])
        names = [f"z{layer}_{k}" for layer in range(1, network.n_layers) for k in range(1, network.sizes[layer] + 1)]
        return [
            {
                "name": names[unit],
                "what": "dead" if what[0, unit] == _DEAD else "saturated",
                "share": float(share[0, unit]),
                "since": int(begun),
                "step": int(begun) * job.updates_per_epoch,
            }
            for unit, begun in zip(ill.tolist(), since.tolist(), strict=True)
        ]

    def _looks(self, epoch: int) -> dict[int, FloatArray] | None:
        """The parameters after some epochs up to this one, by epoch; None where that would take too long."""
        job = self.job
        of_one = len(job.data.X) * sum(job.network.sizes[1:])
        count = min(epoch, _MOST_LOOKS, int(_MOST_LOOKED_AT / of_one))
        if count < 1:
            return None
        found = {0: self.initial}
        self._go_through(found, np.unique(np.linspace(0, epoch, count + 1).astype(int))[1:].tolist())
        return found

    def _go_through(self, found: dict[int, FloatArray], epochs: list[int]) -> None:
        """Add the parameters after each of these epochs."""
        begun: Outcome | None = None
        for epoch in epochs:
            begun = self.job.train(np.array([self.number]), None, self.initial[np.newaxis], begun, epoch)
            found[epoch] = begun.vectors[0].copy()

    def _since(
        self, looks: dict[int, FloatArray], epoch: int, ill: NDArray[np.intp], what: NDArray[np.int8]
    ) -> NDArray[np.intp]:
        """The first epoch of the stretch up to `epoch` in which each of the units is what it is at its end."""
        job = self.job
        epochs = np.array(sorted(looks))
        begun = self._first(epochs, looks, ill, what)
        # Between two looks: epoch by epoch, from the last look at which it was not yet so.
        gaps = {int(e) for e in begun}
        between = sorted(
            {e for last in gaps if last > 0 for e in range(int(epochs[epochs < last].max()) + 1, last)} - set(looks)
        )
        if between and len(between) * len(job.data.X) * sum(job.network.sizes[1:]) <= _MOST_LOOKED_AT:
            self._go_through(looks, between)
            begun = self._first(np.array(sorted(looks)), looks, ill, what)
        return begun

    def _first(
        self, epochs: NDArray[np.intp], looks: dict[int, FloatArray], ill: NDArray[np.intp], what: NDArray[np.int8]
    ) -> NDArray[np.intp]:
        X = self.job.data.X
        vectors = np.stack([looks[int(e)] for e in epochs])
        so = np.concatenate([_ailing(self.job.network, one[np.newaxis], X)[0] for one in vectors])[:, ill] == what[ill]
        last_not = np.where(so.all(axis=0), -1, len(epochs) - 1 - (~so[::-1]).argmax(axis=0))
        first: NDArray[np.intp] = epochs[np.minimum(last_not + 1, len(epochs) - 1)]
        return first


_DEAD, _SATURATED = 1, 2


def _ailing(network: Network, vectors: FloatArray, X: FloatArray) -> tuple[NDArray[np.int8], FloatArray]:
    """For every network (S,) and hidden unit: 0, dead or saturated, and on which share of the rows it is."""
    passed = stacked.forward(network, Parameters(network, vectors), X)
    what, shares = [], []
    for layer, (z, a) in enumerate(zip(passed.pre_activations[:-1], passed.unmasked[:-1], strict=True)):
        name = network.activations[layer]
        if name in _UNBENT:
            dead = ~a.any(axis=2)
            what.append(np.where(dead, _DEAD, 0))
            shares.append(np.ones(dead.shape))
            continue
        slopes, steepest = _slope(name)
        with np.errstate(all="ignore"):
            share = (np.abs(slopes(z, a)) < SATURATED_SLOPE * steepest).mean(axis=2)
        what.append(np.where(share >= SATURATED_SHARE, _SATURATED, 0))
        shares.append(share)
    if not what:
        return np.zeros((len(vectors), 0), np.int8), np.zeros((len(vectors), 0))
    return np.concatenate(what, axis=1).astype(np.int8), np.concatenate(shares, axis=1)


@lru_cache(maxsize=32)
def _slope(name: str) -> tuple[Any, float]:
    """An activation's derivative as a function of z and a, and how steep it is at its steepest."""
    row = activation_row(name)
    slopes, values = function(row.derivative, ("z", "a"), "library"), function(row.value, ("z",), "library")
    z = np.linspace(-10, 10, 2001)
    return slopes, float(np.abs(slopes(z, values(z))).max())


def by_hand(network: Network, vector: FloatArray, hand: Hand) -> FloatArray:
    """The parameters (n_parameters,) with those of these names at these values.

    Raises UsageError: the network has no such weight or bias.

    >>> by_hand(Network((2, 1)), np.zeros(3), (("w1_2_1", 0.5),)).tolist()
    [0.0, 0.5, 0.0]
    """
    if not hand:
        return vector
    changed = Parameters(network, vector.copy())
    for name, value in hand:
        layer, *indices = (int(n) for n in name[1:].split("_"))
        try:
            of_layer = (changed.weights if name[0] == "w" else changed.biases)[layer - 1]
            of_layer[tuple(n - 1 for n in indices)] = value
        except IndexError:
            raise UsageError(f"This network has no {name}, which is set by hand. Take it back.") from None
    return changed.vector
