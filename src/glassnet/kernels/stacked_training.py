"""The training loop in NumPy, for a stack of networks at once: what runs jobs that are too small to compile for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.kernels import stacked
from glassnet.network import FloatArray, Network, Parameters, dropout_masks, weight_mask
from glassnet.optimizers import LBFGS, Optimizer, State
from glassnet.randomness import Purpose, Stream
from glassnet.runs import NONFINITE, Data, Outcome, Spec


@dataclass(frozen=True)
class Update:
    """One update of a stack: what it saw and made. Arrays have one entry per network on axis 0."""

    epoch: int
    batch: int
    t: int
    last_of_epoch: bool
    rows: NDArray[np.intp] | None
    done: stacked.Pass
    losses: FloatArray
    weights: FloatArray
    penalties: FloatArray
    gradients: FloatArray
    before: FloatArray
    after: FloatArray
    state: State
    first_nonfinite: NDArray[np.intp]


def n_batches(n: int, spec: Spec) -> int:
    """The updates of an epoch."""
    return 1 if spec.batch_size is None else -(-n // spec.batch_size)


def batches(n: int, spec: Spec, networks: NDArray[np.intp], epoch: int) -> list[NDArray[np.intp] | None]:
    """The row numbers (S, batch) of every batch of an epoch; None where all rows are taken as they are."""
    if spec.batch_size is None or spec.batch_size >= n:
        return [None]
    order = Stream(spec.random_state, Purpose.SHUFFLE, network=networks, epoch=epoch).permutation(n)
    return [order[:, start : start + spec.batch_size] for start in range(0, n, spec.batch_size)]


def masks_of(
    network: Network, spec: Spec, n: int, networks: Any, epoch: int, rows: Any, dtype: Any
) -> list[FloatArray] | None:
    """Dropout masks of a batch's rows, one array for each hidden layer; None without dropout."""
    if not spec.has_dropout:
        return None
    every = dropout_masks(
        network, spec.rates(network), n, random_state=spec.random_state, start=networks, epoch=epoch, dtype=dtype
    )
    if rows is None:
        return list(every)
    return [np.take_along_axis(mask, rows[..., np.newaxis], axis=-2) for mask in every]


def updates(
    network: Network,
    spec: Spec,
    data: Data,
    vectors: FloatArray,
    networks: NDArray[np.intp],
    state: State | None = None,
    first_step: int = 0,
) -> Iterator[Update]:
    """Gradient steps of a stack of networks, vectors (S, n_parameters); `networks` (S,) are their numbers.

    A network whose loss, penalty, gradient or next parameters are not finite goes back to the last parameters whose
    loss and penalty were, and takes no further part.
    """
    optimizer = spec.optimizer
    assert isinstance(optimizer, Optimizer)
    is_weight = weight_mask(network).astype(vectors.dtype)
    state = optimizer.init(vectors) if state is None else state
    last_good = vectors
    active = np.ones(len(vectors), dtype=bool)
    n, per_epoch = len(data.X), n_batches(len(data.X), spec)
    n_updates = per_epoch * spec.epochs
    for t in range(first_step + 1, n_updates + 1):
        if not active.any():
            return
        epoch, batch = (t - 1) // per_epoch + 1, (t - 1) % per_epoch + 1
        if batch == 1 or t == first_step + 1:
            every = batches(n, spec, networks, epoch)
        rows = every[batch - 1]
        take: Any = slice(None) if rows is None else rows
        X, y, weights = data.X[take], data.y[take], data.row_weights[take]
        with np.errstate(all="ignore"):  # what overflows is found below, and said
            parameters = Parameters(network, vectors)
            masks = masks_of(network, spec, n, networks, epoch, rows, vectors.dtype)
            done = stacked.forward(network, parameters, X, masks)
            total = weights.sum(axis=-1, keepdims=True)
            # A batch whose rows all weigh nothing has nothing to say: no loss, no gradient.
            share = weights / np.where(total > 0, total, 1)
            losses = (stacked.row_losses(network, done, y) * share).sum(axis=-1)
            penalties = stacked.penalties(parameters, spec.l1, spec.l2)
            gradients = stacked.backward(network, parameters, done, y, share, spec.l1, spec.l2)
            after, new_state = optimizer.update(
                vectors, gradients, state, t=t, learning_rate=optimizer.rate(t, n_updates), is_weight=is_weight
            )
            finite = (
                np.isfinite(losses),
                np.isfinite(penalties),
                np.isfinite(gradients).all(axis=-1),
                np.isfinite(after).all(axis=-1),
            )
        bad = np.zeros(len(vectors), dtype=np.intp)
        for number, good in enumerate(finite, start=1):
            bad[active & ~good & (bad == 0)] = number
        sound = active & finite[0] & finite[1]
        last_good = np.where(sound[:, np.newaxis], vectors, last_good)
        active = active & (bad == 0)
        after = np.where(active[:, np.newaxis], after, last_good)
        yield Update(
            epoch, batch, t, batch == per_epoch, rows, done, losses, np.broadcast_to(total[..., 0], losses.shape),
            penalties, gradients, vectors, after, new_state, bad,
        )  # fmt: skip
        vectors, state = after, new_state


def losses_and_pass(network: Network, parameters: Parameters, data: Data) -> tuple[FloatArray, stacked.Pass]:
    """The loss over all rows of every network of a stack (S,), and the pass it came from."""
    with np.errstate(all="ignore"):
        done = stacked.forward(network, parameters, data.X)
        return (stacked.row_losses(network, done, data.y) * data.share()).sum(axis=-1), done


@dataclass
class _Seen:
    """What the passes of an epoch have shown of a stack of networks."""

    dead: list[NDArray[np.bool_]]
    lowest: FloatArray
    highest: FloatArray

    @classmethod
    def of(cls, done: stacked.Pass) -> _Seen:
        """One pass."""
        dead: list[NDArray[np.bool_]] = [np.asarray(~h.any(axis=-1)) for h in done.unmasked[:-1]]
        below = done.logits if done.logits.shape[1] == 1 else done.logits.max(axis=1, keepdims=True) - done.logits
        return cls(dead, below.min(axis=-1), below.max(axis=-1))

    def and_of(self, other: _Seen) -> _Seen:
        """Both."""
        return _Seen(
            [a & b for a, b in zip(self.dead, other.dead, strict=True)],
            np.minimum(self.lowest, other.lowest),
            np.maximum(self.highest, other.highest),
        )

    def health(self, network: Network) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """How many hidden units were 0 on every row (S,), and whether all rows got one class (S,)."""
        n_dead = np.zeros(len(self.lowest), dtype=np.intp)
        for dead in self.dead:
            n_dead += dead.sum(axis=-1)
        link = network.loss_row.link
        if link == "sigmoid" and network.n_outputs == 1:
            return n_dead, (self.highest[:, 0] <= 0) | (self.lowest[:, 0] > 0)
        if link == "softmax":
            return n_dead, (self.highest == 0).any(axis=-1)
        return n_dead, np.zeros(len(self.lowest), dtype=bool)


def train_stack(
    network: Network,
    spec: Spec,
    data: Data,
    vectors: FloatArray,
    networks: NDArray[np.intp],
    *,
    held_out: Data | None = None,
    state: State | None = None,
    first_step: int = 0,
    stopped: Callable[[], bool] = lambda: False,
    begun: Outcome | None = None,
    last_epoch: int | None = None,
) -> Outcome:
    """Train networks that differ in their number alone: vectors (S, n_parameters), `networks` (S,) their numbers.

    `stopped` is asked after every epoch; once it says so, the result is what has come so far. Where `spec` has
    patience the stack is of one network. `begun` is what had come of it at `first_step`, where its health and its best
    parameters are to be told from the beginning on; after `last_epoch` it is left as it stands, to be gone on with.
    """
    result = Outcome.begun(vectors, spec.epochs)
    everyone = np.arange(len(vectors))
    if isinstance(spec.optimizer, LBFGS):
        raise TypeError("L-BFGS is no stack's: see training")
    best = np.full(len(vectors), np.inf)
    kept = vectors
    if begun is not None:
        result.dead_since, result.stuck_since = begun.dead_since, begun.stuck_since
        if held_out is not None:
            result.best_epochs, best, kept = begun.best_epochs, begun.best_losses, begun.best_vectors

    def watch_held_out(epoch: int, vectors: FloatArray) -> bool:
        """Record the held-out loss; whether to go on."""
        nonlocal best, kept
        if held_out is None:
            return True
        losses = losses_and_pass(network, Parameters(network, vectors), held_out)[0]
        result.held_out_losses[:, epoch] = losses
        better = losses < best - (spec.min_improvement if epoch else 0)
        best = np.where(better, losses, best)
        kept = np.where(better[:, np.newaxis], vectors, kept)
        result.best_epochs[better] = epoch
        return spec.patience is None or epoch - int(result.best_epochs[0]) < spec.patience

    def fine(losses: FloatArray, penalties: FloatArray) -> NDArray[np.bool_]:
        return np.isfinite(losses) & np.isfinite(penalties)

    per_epoch = n_batches(len(data.X), spec)
    epoch_begun = vectors
    if first_step == 0:
        watch_held_out(0, vectors)
        if per_epoch > 1:
            result.losses[:, 0] = losses_and_pass(network, Parameters(network, vectors), data)[0]
    result.n_steps[:] = first_step
    result.optimizer_state = spec.optimizer.init(vectors) if state is None else state
    for update in updates(network, spec, data, vectors, networks, state, first_step):
        going = result.diverged_at < 0
        seen_now = _Seen.of(update.done)
        if update.batch == 1 or update.t == first_step + 1:
            epoch_begun, seen = np.where(going[:, np.newaxis], update.before, epoch_begun), seen_now
            sums = weights = np.zeros(len(vectors))
        else:
            seen = seen.and_of(seen_now)
        with np.errstate(all="ignore"):  # a loss may be the largest number there is
            sums, weights = sums + update.losses * update.weights, weights + update.weights
        if per_epoch == 1:
            # A full batch's pass before this update is the one over all rows after the epoch before.
            of = everyone[going & fine(update.losses, update.penalties)]
            result.losses[of, update.epoch - 1] = update.losses[of]
            n_dead, one_class = seen.health(network)
            result.since(of, update.epoch - 1, n_dead[of], one_class[of])
        result.vectors, result.optimizer_state = update.after, update.state
        result.n_steps[going] = update.t
        bad = update.first_nonfinite
        for number in np.flatnonzero(bad):
            result.diverged_at[number], result.first_nonfinite[number] = update.t, bad[number]
            # An infinite loss is the doing of the step before, which is taken back.
            back = 2 if NONFINITE[bad[number]] in ("loss", "penalty") else 1
            result.n_steps[number] = max(0, update.t - back)
        if update.last_of_epoch:
            if per_epoch > 1:
                of = everyone[result.diverged_at < 0]
                with np.errstate(all="ignore"):
                    result.losses[of, update.epoch] = (sums / np.where(weights > 0, weights, 1))[of]
                n_dead, one_class = seen.health(network)
                result.since(of, update.epoch, n_dead[of], one_class[of])
            if not watch_held_out(update.epoch, update.after):
                result.stopped_early[:] = result.diverged_at < 0
                break
            if stopped():
                result.n_finished = 0
                break
            if update.epoch == last_epoch:
                break
    result.n_epochs[:] = result.n_steps // per_epoch
    if held_out is not None:
        result.best_losses, result.best_vectors = best, kept
    if last_epoch is not None and last_epoch < spec.epochs:
        going = (result.diverged_at < 0) & (result.stopped_early == 0)
        if going.all():
            return result
    first_epoch = first_step // per_epoch
    ended_with, keeps_best = result.vectors, spec.patience is not None and held_out is not None
    if keeps_best:
        result.vectors = kept
    losses, done = losses_and_pass(network, Parameters(network, result.vectors), data)
    # Every update was finite; where what they came to over all rows is not, they are taken back: those of the last
    # epoch, or all.
    moved = result.n_steps > first_step
    for earlier, n_epochs in (
        (epoch_begun, (result.n_steps - 1) // per_epoch),
        (vectors, np.full(len(vectors), first_epoch)),
    ):
        trained = Parameters(network, result.vectors)
        lost = ~fine(losses, stacked.penalties(trained, spec.l1, spec.l2)) & moved
        if not lost.any():
            break
        late = lost & (result.diverged_at < 0)
        result.diverged_at[late], result.first_nonfinite[late] = result.n_steps[late], 1
        result.n_epochs[lost] = n_epochs[lost]
        result.n_steps[lost] = result.n_epochs[lost] * per_epoch
        result.vectors = np.where(lost[:, np.newaxis], earlier, result.vectors)
        losses, done = losses_and_pass(network, Parameters(network, result.vectors), data)
    result.final_losses = losses
    of = everyone[np.isfinite(losses)]
    n_dead, one_class = _Seen.of(done).health(network)
    result.since(of, result.n_epochs[of], n_dead[of], one_class[of])
    if per_epoch == 1:
        steady = result.diverged_at < 0
        if keeps_best:
            losses, _ = losses_and_pass(network, Parameters(network, ended_with), data)
        result.losses[steady, result.n_epochs[steady]] = losses[steady]
    return result
