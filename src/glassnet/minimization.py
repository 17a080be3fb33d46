"""L-BFGS on every network of a training: an iteration is an epoch, and either engine makes the passes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.kernels import stacked, stacked_training
from glassnet.network import FloatArray, Network, Parameters
from glassnet.optimizers import LBFGS, State
from glassnet.runs import Data, Members, Outcome, Spec
from glassnet.waiting import result_of


class _StackedPasses:
    """Losses and gradients over fixed rows by NumPy; `compiled.Passes` does the same."""

    def __init__(self, network: Network, data: Data) -> None:
        self.network, self.data = network, data.as_floats()

    def loss(self, vector: FloatArray, *, derivatives: bool = False) -> float:
        parameters = Parameters(self.network, vector[np.newaxis])
        losses, self._done = stacked_training.losses_and_pass(self.network, parameters, self.data)
        if derivatives:
            with np.errstate(all="ignore"):
                share = self.data.share()
                self.gradient = stacked.backward(self.network, parameters, self._done, self.data.y, share, 0.0, 0.0)[0]
        return float(losses[0])

    def health(self) -> tuple[int, bool]:
        found = stacked.health(self.network, self._done)
        return int(found.n_dead_units[0]), bool(found.one_class[0])


def minimized(
    network: Network,
    spec: Spec,
    data: Data,
    vectors: FloatArray,
    members: Members,
    engine: str,
    held_out: Data | None,
    threads: int | None,
    progress: Callable[[int], None] | None,
    begun: Outcome | None,
    last_epoch: int | None,
    stop: NDArray[np.int64] | None,
) -> Outcome:
    """L-BFGS on every network; an epoch is one iteration."""
    stopped = np.zeros(1, np.int64) if stop is None else stop

    def one(s: int) -> Outcome:
        result = Outcome.begun(vectors[s : s + 1], spec.epochs)
        if not stopped[0]:
            state = _minimize(
                network, members.spec(spec, s), members.data(data, s), result, engine, held_out, stopped, begun,
                last_epoch,
            )  # fmt: skip
            if len(vectors) == 1:  # those of many differ in size, and nobody goes on from them
                result.optimizer_state = {name: value[np.newaxis] for name, value in state.items()}
        else:
            result.n_finished = 0
        return result

    every: list[Outcome] = []
    with ThreadPoolExecutor(threads or 1) as pool:
        futures = [pool.submit(one, s) for s in range(len(members))]
        try:
            for future in futures:
                every.append(result_of(future))
                if progress is not None:
                    progress(len(every))
        except KeyboardInterrupt:
            stopped[0] = 1
            every += [future.result() for future in futures[len(every) :]]
    outcome = Outcome.joined(every)
    if stopped[0]:
        unfinished = [s for s, part in enumerate(every) if not part.n_finished]
        outcome.n_finished = unfinished[0] if unfinished else 0 if len(every) == 1 else len(every)
    return outcome


def _minimize(
    network: Network,
    spec: Spec,
    data: Data,
    result: Outcome,
    engine: str,
    held_out: Data | None,
    stopped: NDArray[np.int64],
    begun: Outcome | None,
    last_epoch: int | None,
) -> State:
    """One network, to the end or to `last_epoch`, into `result`; returns the optimiser's state."""
    optimizer = spec.optimizer
    assert isinstance(optimizer, LBFGS)
    kind: Any = _StackedPasses
    if engine == "compiled":
        from glassnet.kernels import compiled

        kind = compiled.Passes
    passes, watched = kind(network, data), None if held_out is None else kind(network, held_out)
    only = np.array([0])

    def penalty(vector: FloatArray) -> tuple[float, FloatArray]:
        parameters = Parameters(network, vector[np.newaxis])
        slope = Parameters(network, np.zeros_like(vector))
        for W, dW in zip(parameters.weights, slope.weights, strict=True):
            dW += spec.l1 * np.sign(W[0]) + spec.l2 * W[0]
        return float(stacked.penalties(parameters, spec.l1, spec.l2)[0]), slope.vector

    def objective(vector: FloatArray) -> tuple[float, FloatArray]:
        loss = passes.loss(vector, derivatives=True)
        with np.errstate(all="ignore"):
            of_weights, slope = penalty(vector)
            return loss + of_weights, passes.gradient + slope

    best, kept, first, state, ended = np.inf, result.vectors[0].copy(), 0, None, False
    last = spec.epochs if last_epoch is None else last_epoch
    if begun is not None:
        first, state = int(begun.n_epochs[0]), {name: value[0] for name, value in begun.optimizer_state.items()}
        result.vectors[:], result.n_epochs[:], result.n_steps[:] = begun.vectors, begun.n_epochs, begun.n_steps
        result.final_losses[:], result.n_dead_units[:] = begun.final_losses, begun.n_dead_units
        result.dead_since[:], result.stuck_since[:] = begun.dead_since, begun.stuck_since
        if watched is not None:
            best, kept = float(begun.best_losses[0]), begun.best_vectors[0]
            result.best_epochs[:] = begun.best_epochs
    for epoch, step in enumerate(optimizer.iterations(objective, result.vectors[0], state), start=first):
        if begun is not None and epoch == first:
            continue  # it has been told of
        result.vectors[0] = step.vector
        result.n_epochs[0] = result.n_steps[0] = epoch
        loss = passes.loss(step.vector)
        if not np.isfinite(step.value):
            # There is no way from here.
            result.diverged_at[0], result.first_nonfinite[0] = 0, 1
            result.final_losses[0] = loss
            break
        result.losses[0, epoch] = result.final_losses[0] = loss
        n_dead, one_class = passes.health()
        result.since(only, epoch, np.array([n_dead]), np.array([one_class]))
        if watched is not None:
            result.held_out_losses[0, epoch] = held = watched.loss(step.vector)
            if held < best - (spec.min_improvement if epoch else 0):
                best, kept = held, step.vector
                result.best_epochs[0] = epoch
            elif spec.patience is not None and epoch - result.best_epochs[0] >= spec.patience:
                result.stopped_early[0] = True
        if step.message is not None:
            result.converged[0] = True
            # It stays where it is: so do its curves.
            result.losses[0, epoch:] = result.losses[0, epoch]
            result.held_out_losses[0, epoch:] = result.held_out_losses[0, epoch]
        ended = bool(stopped[0])
        if ended:
            result.n_finished = 0
        if epoch == last or ended or result.stopped_early[0]:
            break
    if watched is not None:
        result.best_losses[0], result.best_vectors = best, kept[np.newaxis]
        is_over = last == spec.epochs or result.converged[0] or result.stopped_early[0] or ended
        if spec.patience is not None and is_over and result.diverged_at[0] < 0:
            result.vectors[0] = kept
            result.final_losses[0] = passes.loss(kept)
    return step.state
