"""Trainings that are watched as they go: ended by what their epochs show, and put back to the best of them.

`training.train` makes as many epochs as it is told, or waits for held-out loss. Here an epoch's loss, or what held-out
rows say after it, decides whether another is made, as scikit-learn's networks have it. Epochs are made in few calls of
the kernels: in so many at a time as there have to be before the training could end.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from glassnet.kernels import places
from glassnet.kernels.course import Course, Stretch
from glassnet.network import FloatArray, Network, weight_mask
from glassnet.runs import NONFINITE, Data
from glassnet.training import Step

Judge = Callable[[FloatArray], tuple[list[float], list[float]]]
"""From several networks' parameters (S, n_parameters) to the loss and the score of each on held-out rows."""

WATCHED = ("loss", "held-out loss", "score")


@dataclass
class Patience:
    """How long to wait for a value to fall; a score is waited for with its sign turned.

    After every epoch, count <- count + 1 where value > best - tolerance, else 0; then best <- min(best, value). It is
    over once count > epochs. Unlike `training.train`'s patience, falls below the tolerance lower the best as well.

    >>> patience = Patience(tolerance=0.1, epochs=1)
    >>> [patience.takes(value) for value in (3.0, 2.95, 2.9)], patience.count, patience.is_over
    ([True, True, True], 2, True)
    """

    tolerance: float
    epochs: float
    best: float = math.inf
    count: int = 0

    def takes(self, value: float) -> bool:
        """Look at an epoch's value; whether it is the lowest so far."""
        self.count = self.count + 1 if value > self.best - self.tolerance else 0
        lower = value < self.best
        if lower:
            self.best = value
        return lower

    @property
    def is_over(self) -> bool:
        """Whether to stop."""
        return self.count > self.epochs

    @property
    def left(self) -> float:
        """The epochs before whose last it cannot be over."""
        return max(1, self.epochs - self.count + 1)


@dataclass
class Followed:
    """What came of a training that was watched: values of every epoch, the parameters at its end and, where there is a
    judge, at its best.

    `ended`: "epochs" (all were made), "no improvement", "diverged" (`first_nonfinite` says what was not finite first;
    the last values are NaN), "interrupted", or, of L-BFGS, "converged" or "not converged", for the reason in `message`.
    `rate`: the learning rate at the end, where it adapted.
    """

    vector: FloatArray
    best_vector: FloatArray
    rate: float | None = None
    losses: list[float] = field(default_factory=list)
    held_out_losses: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    ended: str = "epochs"
    first_nonfinite: str | None = None
    message: str = ""

    @property
    def n_epochs(self) -> int:
        """How many were made."""
        return len(self.losses)


@dataclass(frozen=True)
class Epoch:
    """One epoch as it is told: its number, from 1, and its values; `steps` where they are wanted.

    `new_rate`: the learning rate from now on, where patience was over and divided it.
    """

    number: int
    loss: float
    held_out_loss: float | None
    score: float | None
    steps: tuple[Step, ...] = ()
    new_rate: float | None = None


def follow(
    course: Course,
    patience: Patience,
    *,
    epochs: int,
    judge: Judge | None = None,
    watched: str = "loss",
    adaptive_rate: float | None = None,
    told: Callable[[Epoch], None] | None = None,
    halted: Callable[[], bool] = lambda: False,
) -> Followed:
    """Train until `patience` is over with what is `watched`, one of `WATCHED`, or `epochs` are made.

    `judge` looks at the parameters after every epoch. `told` is called after every epoch, with its steps if the
    course is recorded; then epochs are made one at a time. With `adaptive_rate`, the learning rate that the course
    begins with, the end of patience divides it by 5 and patience begins anew, while the rate is above 1e-6.
    """
    # The parameters may be large: where nobody judges them, the last are the best.
    begun = np.empty(0) if judge is None else course.vector
    result = Followed(begun, begun)
    try:  # `halted` says whether an interrupt has reached another thread
        while result.n_epochs < epochs and result.ended == "epochs":
            if halted():
                raise KeyboardInterrupt
            together = 1 if told is not None else min(epochs - result.n_epochs, patience.left)
            made = course.made
            stretch = course.go_on(int(min(together, course.most_together)))
            losses = stretch.objectives.tolist()
            if judge is None and told is None and adaptive_rate is None:
                # Nothing is to be done after a single epoch, and no epoch but the last can be one too many.
                result.losses += losses
                for loss in losses:
                    patience.takes(loss)
                if patience.is_over:
                    result.ended = "no improvement"
                losses = []
            judged = _judged(judge, losses, stretch)
            for k, loss in enumerate(losses):
                held_out_loss = score = None
                if judge is not None:
                    held_out_loss, score = judged[k]
                    result.held_out_losses.append(held_out_loss)
                    result.scores.append(score)
                result.losses.append(loss)
                values = (loss, held_out_loss, None if score is None else -score)
                value = values[WATCHED.index(watched)]
                assert value is not None, f"nobody judges the {watched}"
                if patience.takes(value) and judge is not None:
                    result.best_vector = stretch.vectors[k].copy()
                is_over = patience.is_over
                if is_over and adaptive_rate is not None and adaptive_rate > 1e-6:
                    adaptive_rate /= 5
                    course.slow_down(5)
                    patience.count = 0
                elif is_over:
                    result.ended = "no improvement"
                if told is not None:
                    steps = _steps(stretch.records, made, course.n_batches, held_out_loss)
                    slowed = is_over and result.ended == "epochs"
                    told(Epoch(result.n_epochs, loss, held_out_loss, score, steps, adaptive_rate if slowed else None))
            if stretch.interrupted:
                result.ended = "interrupted"
            elif stretch.first_nonfinite:
                result.ended, result.first_nonfinite = "diverged", NONFINITE[stretch.first_nonfinite]
    except KeyboardInterrupt:
        result.ended = "interrupted"
    result.vector, result.rate = course.vector, adaptive_rate
    if judge is None:
        result.best_vector = result.vector
    return result


def _judged(judge: Judge | None, losses: list[float], stretch: Stretch) -> list[tuple[float, float]]:
    """What is said of every epoch's parameters; NaN of the last one's where it was not finite."""
    if judge is None or not losses:
        return []
    n_finite = len(losses) - math.isnan(losses[-1])
    found = list(zip(*judge(stretch.vectors[:n_finite]), strict=True)) if n_finite else []
    return [*found, (math.nan, math.nan)][: len(losses)]


def _steps(records: Any, before: int, n_batches: int, held_out_loss: float | None) -> tuple[Step, ...]:
    """The records of an epoch's updates as `Step`s; `before` were made before it."""
    if records is None:
        return ()
    return tuple(
        Step(
            epoch=(t - 1) // n_batches + 1,
            step=t,
            loss=float(record[places.RECORD_LOSS]),
            held_out_loss=held_out_loss if t % n_batches == 0 else None,
            penalty=float(record[places.RECORD_PENALTY]),
            gradient_norm=float(np.sqrt(record[places.RECORD_SQUARED_NORM])),
            first_nonfinite=NONFINITE[int(record[places.RECORD_NONFINITE])],
        )
        for t, record in enumerate(records, start=before + 1)
    )


def minimise(
    network: Network,
    data: Data,
    vector: FloatArray,
    *,
    l1: float = 0.0,
    l2: float = 0.0,
    loss_scale: float = 1.0,
    gradient_tolerance: float = 1e-4,
    iterations: int = 200,
    evaluations: int = 15_000,
    judge: Judge | None = None,
    patience: Patience | None = None,
    watched: str = "score",
    told: Callable[[Epoch], None] | None = None,
    halted: Callable[[], bool] = lambda: False,
) -> Followed:
    """SciPy's L-BFGS-B on loss_scale * loss + l1 sum|W| + l2 / 2 sum W^2, over all rows, by compiled kernels.

    It is scikit-learn's solver `lbfgs`; `optimizers.LBFGS` is our own. An epoch is an iteration. All is computed in
    float64, whatever the type of X: the line search tells small differences apart. With `patience`, held-out rows end
    it.

    >>> net = Network((1, 1), loss="mean_squared_error")
    >>> data = Data.checked(net, [[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0], None)
    >>> minimise(net, data, np.zeros(2)).vector.round(3).tolist()
    [2.0, 1.0]
    """
    from scipy.optimize import minimize

    from glassnet.kernels.compiled import Passes

    is_weight = weight_mask(network).astype(np.float64)
    wide = Data(data.X.astype(np.float64), data.y.astype(np.float64), data.row_weights.astype(np.float64))
    passes = Passes(network, wide)

    def objective(vector: FloatArray) -> tuple[float, FloatArray]:
        with np.errstate(all="ignore"):  # a step too long; the line search takes it back
            loss = passes.loss(vector, derivatives=True)
            W = vector * is_weight
            value = loss_scale * loss + l2 / 2 * float(W @ W)
            gradient = loss_scale * passes.gradient + l2 * W
            if l1:
                value += l1 * float(np.abs(W).sum())
                gradient += l1 * np.sign(W)
            return value, gradient

    result = Followed(vector.astype(np.float64), vector.astype(np.float64))

    def iterated(intermediate_result: Any) -> None:
        if halted():
            raise KeyboardInterrupt
        loss, now = float(intermediate_result.fun), intermediate_result.x
        result.vector = now.copy()
        result.losses.append(loss)
        held_out_loss = score = None
        if judge is not None:
            [held_out_loss], [score] = judge(now.astype(vector.dtype)[np.newaxis])
            result.held_out_losses.append(held_out_loss)
            result.scores.append(score)
        if told is not None:
            told(Epoch(result.n_epochs, loss, held_out_loss, score))
        if patience is not None:
            assert held_out_loss is not None
            assert score is not None
            if patience.takes(held_out_loss if watched == "held-out loss" else -score):
                result.best_vector = now.copy()
            if patience.is_over:
                result.ended = "no improvement"
                raise StopIteration

    try:
        found = minimize(
            objective, result.vector, method="L-BFGS-B", jac=True, callback=iterated,
            options={"maxfun": evaluations, "maxiter": iterations, "gtol": gradient_tolerance},
        )  # fmt: skip
    except KeyboardInterrupt:
        result.ended = "interrupted"
    else:
        result.vector = found.x
        if result.losses:
            result.losses[-1] = float(found.fun)
        else:
            result.losses.append(float(found.fun))
        if result.ended == "epochs":
            result.ended = "converged" if found.status == 0 else "not converged"
        result.message = str(found.message)
    result.vector = result.vector.astype(vector.dtype)
    result.best_vector = result.best_vector.astype(vector.dtype)
    return result
