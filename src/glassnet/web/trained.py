"""What is trained for a page: the starts of a job, as far as they are, and how each of them stands."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.kernels import stacked
from glassnet.network import FloatArray, Parameters
from glassnet.web.frames import finite
from glassnet.web.job import CURVE_POINTS, Job


class Trained:
    """The starts of a job, as far as they are trained: `first` before all others. Arrays have an entry for each."""

    def __init__(self, job: Job, size: int, first: int = 0) -> None:
        network, epochs = job.network, job.spec.epochs
        self.job, self.size, self.done = job, size, 0
        first = min(max(first, 0), size - 1)
        self.order = np.concatenate([[first], np.delete(np.arange(size), first)])  # in which they are trained
        self.seconds = 0.0
        self.vectors = np.empty((size, network.n_parameters))
        self.best = -1  # the start with the lowest training objective of those that did not diverge, so far
        self.given_up = False  # whether no more of them are trained, for it takes too long
        self.curve_epochs = _curve_epochs(epochs)
        self.losses = np.empty((size, epochs + 1))
        self.objectives = np.empty(size)
        self.scores = np.empty(size)
        self.ails = np.full((size, 3), -1, np.int32)  # dead since, stuck since: epochs; diverged at: a step

    @property
    def kept(self) -> int:
        """The start that is shown where none is chosen: the best, and until all are trained the first, if it is sound.

        With every move of a slider another start may be the best of a few, and each would be another picture.
        """
        first = int(self.order[0])
        sound = self.ails[first, 2] < 0 and np.isfinite(self.objectives[first])
        return self.best if self.settled or not sound else first

    @property
    def settled(self) -> bool:
        """Whether no more starts will be trained."""
        return self.done == self.size or self.given_up

    def has(self, start: int) -> bool:
        """Whether there is a start of this number, and it is trained."""
        return start in self.order[: self.done]

    def extended(self, count: int, stop: NDArray[np.int64] | None = None, threads: int | None = None) -> None:
        """Train the next `count` starts; fewer where `stop` is set."""
        job, first = self.job, self.done
        last = min(first + count, self.size)
        begun = time.perf_counter()
        outcome = job.train(self.order[first:last], stop=stop, threads=threads)
        self.seconds += time.perf_counter() - begun
        if outcome.n_finished < last - first:
            last = first + outcome.n_finished
            outcome = outcome.at(np.arange(outcome.n_finished))
            if last == first:
                return
        new = self.order[first:last]
        self.vectors[new] = outcome.vectors
        self.losses[new] = outcome.losses
        parameters = Parameters(job.network, outcome.vectors)
        self.objectives[new] = outcome.final_losses + stacked.penalties(parameters, job.spec.l1, job.spec.l2)
        self.scores[new] = test_scores(job, parameters)
        self.ails[new] = np.stack([outcome.dead_since, outcome.stuck_since, outcome.diverged_at], axis=1)
        self.done = last
        done = np.sort(self.order[:last])  # of equals the first is kept
        objectives = self.objectives[done]
        steady = np.where((self.ails[done, 2] < 0) & np.isfinite(objectives), objectives, np.inf)
        self.best = int(done[np.argmin(steady if np.isfinite(steady).any() else np.nan_to_num(objectives, nan=np.inf))])

    def message(self, first: int) -> dict[str, Any]:
        """For the page: the starts without the `first` ones, which it has, and how all of them stand."""
        new = self.order[first : self.done]
        return {
            "first": first,
            "numbers": new.astype(np.int32),
            "done": self.done,
            "size": self.size,
            "kept": self.kept,
            "settled": self.settled,
            "seconds": self.seconds,
            "epochs": self.curve_epochs,
            "losses": finite(self.losses[new[:, np.newaxis], self.curve_epochs]),
            "scores": self.scores[new],
            "ails": self.ails[new],
            "scored": "test" if len(self.job.ground.prepared.test_rows) else "train",
            "score": "rmse" if self.job.ground.target.kind == "number" else "accuracy",
        }


@lru_cache(maxsize=1)
def _curve_epochs(epochs: int) -> NDArray[np.int32]:
    return np.unique(np.linspace(0, epochs, min(epochs + 1, CURVE_POINTS)).astype(np.int32))


def test_scores(job: Job, parameters: Parameters) -> FloatArray:
    """Accuracy, or the root mean squared error in the target's unit, of stacked parameters (S, n): (S,).

    On test rows; on training rows where there are none.
    """
    ground, prepared = job.ground, job.ground.prepared
    X, y = (prepared.X_test, prepared.y_test) if len(prepared.test_rows) else (prepared.X, prepared.y)
    together = max(1, 2**18 // (len(X) * max(job.network.sizes)))
    scores = []
    for at in range(0, len(parameters.vector), together):
        some = Parameters(job.network, parameters.vector[at : at + together])
        with np.errstate(all="ignore"):
            outputs = np.swapaxes(stacked.forward(job.network, some, X).probabilities, 1, 2)
            if ground.target.kind == "number":
                scores.append(np.sqrt(((outputs - y) ** 2).mean(axis=(1, 2))) * ground.target.scale)
            else:
                scores.append((ground.classes_of(outputs) == ground.classes_of(y)).mean(axis=1))
    return np.concatenate(scores)
