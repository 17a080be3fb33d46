"""What `MLPClassifier` and `MLPRegressor` have in common: from scikit-learn's parameters to a training and back.

With the same parameters and `random_state` they begin at the same weights, set aside the same rows, shuffle them in the
same orders and make the same updates as scikit-learn's; the numbers differ by rounding.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from numbers import Integral, Real
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from glassnet import courses
from glassnet.activations import activation_row
from glassnet.courses import Epoch, Followed, Judge, Patience
from glassnet.drawing import network_svg
from glassnet.errors import UsageError
from glassnet.estimators.rules import check_parameters
from glassnet.importing.sklearn import from_sklearn
from glassnet.kernels import stacked
from glassnet.kernels.course import Course, Rates
from glassnet.kernels.threads import all_threads
from glassnet.model import Model
from glassnet.network import FloatArray, Network, Parameters, checked_dropout
from glassnet.optimizers import SGD, SGDW, FoldedAdam, Optimizer, Schedule, State
from glassnet.reference import is_finite
from glassnet.runs import Data, ones_for
from glassnet.sparse import SparseTable, is_sparse
from glassnet.waiting import result_of

_OUT_ACTIVATIONS = {"identity": "identity", "exp": "exp", "sigmoid": "logistic", "softmax": "softmax"}
_BLOCK = 1 << 22
"""Numbers that a layer of a prediction takes at a time, about."""

Weights = NDArray[np.floating[Any]]


@dataclass
class _Progress:
    """Where an optimiser is between two calls of `partial_fit`."""

    learning_rate: float
    state: State
    steps: int


@dataclass(frozen=True)
class Start:
    """One of several random starts: its weights and biases by layers, its objective, its best score where rows were
    held out, and its epochs."""

    coefs: list[FloatArray]
    intercepts: list[FloatArray]
    loss: float
    validation_score: float | None
    n_iter: int


@dataclass(frozen=True)
class _Trained:
    """What came of one start: besides, where its optimiser is, how many rows it saw, and how patient it still was."""

    followed: Followed
    progress: _Progress | None = None
    n_seen: int = 0
    no_improvement: int = 0


@dataclass(frozen=True)
class Rows:
    """Rows to train on or to judge by: X (n, n_features), targets (n, n_outputs), their weights or None."""

    X: FloatArray | SparseTable
    targets: FloatArray
    weights: Weights | None

    def at(self, rows: Any) -> Rows:
        """Some of them."""
        return Rows(self.X[rows], self.targets[rows], None if self.weights is None else self.weights[rows])


class Multilayer(BaseEstimator):  # type: ignore[misc]
    """What the two have in common."""

    loss: str
    coefs_: list[FloatArray]
    intercepts_: list[FloatArray]

    # --- what is asked for ----------------------------------------------------------------------------------------

    @property
    def _with_dropout(self) -> bool:
        return bool(np.any(self.dropout))

    def _hidden_sizes(self) -> list[int]:
        given = self.hidden_layer_sizes
        sizes = list(given) if hasattr(given, "__iter__") else [given]
        if not all(isinstance(size, Integral) for size in sizes):
            raise UsageError(f"hidden_layer_sizes are whole numbers; got {given!r}.")
        if any(size <= 0 for size in sizes):
            raise UsageError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        return [int(size) for size in sizes]

    def _network_of(self, n_features: int, n_outputs: int) -> Network:
        hidden = self._hidden_sizes()
        activation = self.activation if isinstance(self.activation, str) else tuple(self.activation)
        if not isinstance(activation, str) and len(activation) != len(hidden):
            raise UsageError(
                f"activation has one name for each of the {len(hidden)} hidden layers; got {len(activation)}: "
                f"{activation}. One name alone is for all of them."
            )
        network = Network((n_features, *hidden, n_outputs), activation, self._loss_name(n_outputs))
        checked_dropout(network, self.dropout)
        return network

    def _loss_name(self, n_outputs: int) -> str:
        raise NotImplementedError

    def _loss_scale(self, network: Network) -> float:
        """What scikit-learn's loss is, in units of ours, which is the mean over outputs."""
        raise NotImplementedError

    def _offset(self, targets: FloatArray, weights: Weights | None) -> float:
        """What scikit-learn's loss has besides, which no parameter moves."""
        return 0.0

    # --- rows -----------------------------------------------------------------------------------------------------

    def _validated(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[FloatArray, FloatArray]:
        raise NotImplementedError

    def _takes_as_they_are(self, X: Any, y: Any, kinds: str) -> bool:
        """Whether scikit-learn's checks would hand back the very X and y of a first fit: plain arrays of finite floats
        and of one target a row, whose dtype is of one of the `kinds`. The checks take longer than some trainings."""
        if not (type(X) is type(y) is np.ndarray and X.ndim == 2 and y.ndim == 1 and len(X) == len(y)):
            return False
        if X.dtype not in (np.float64, np.float32) or not X.size or y.dtype.kind not in kinds:
            return False
        if not (is_finite(X, allowed_threads()) and (y.dtype.kind != "f" or is_finite(y))):
            return False
        self.n_features_in_ = X.shape[1]
        self.__dict__.pop("feature_names_in_", None)
        return True

    def _row_weights(self, sample_weight: Any, X: FloatArray, y: Any) -> Weights | None:
        return None if sample_weight is None else _check_sample_weight(sample_weight, X, dtype=X.dtype)

    def _smoothed(self, network: Network, targets: FloatArray) -> FloatArray:
        return targets

    def _scores_of(self, probabilities: FloatArray, rows: Rows) -> FloatArray:
        """The score of each of S networks, whose probabilities are (S, n, n_outputs)."""
        raise NotImplementedError

    def _strata(self, targets: FloatArray) -> NDArray[Any] | None:
        """What validation rows are stratified by: their class, where there is such a thing."""
        return None

    def _set_apart(self, rows: Rows, rng: np.random.RandomState) -> tuple[Rows, Rows]:
        """Rows to train on, and rows for validation, the very ones that scikit-learn takes."""
        strata = self._strata(rows.targets)
        divide = ShuffleSplit if strata is None else StratifiedShuffleSplit
        divided = divide(1, test_size=self.validation_fraction, random_state=rng)
        train, held = next(divided.split(rows.X, strata))
        if len(held) < 2:
            raise UsageError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset; "
                f"{self.validation_fraction:g} of {len(rows.X)} rows is {len(held)}."
            )
        return rows.at(train), rows.at(held)

    def _given_validation(self, given: tuple[Any, Any, Any], dtype: Any) -> Rows | None:
        X_val, y_val, sample_weight_val = given
        if X_val is None and y_val is None and sample_weight_val is None:
            return None
        if X_val is None or y_val is None:
            raise UsageError("Validation rows are given as X_val and y_val, both of them; got one alone.")
        X = validate_data(self, X_val, accept_sparse=("csr", "csc"), dtype=dtype, reset=False)
        X = _listed(X)
        targets = self._held_targets(y_val, dtype)
        if len(targets) != len(X):
            raise UsageError(f"X_val and y_val have a row each for every row; got {len(X)} and {len(targets)}.")
        weights = None if sample_weight_val is None else _check_sample_weight(sample_weight_val, X, dtype=dtype)
        return Rows(X, targets, weights)

    def _held_targets(self, y: Any, dtype: Any) -> FloatArray:
        raise NotImplementedError

    def _judge(self, network: Network, held: Rows, scale: float) -> Judge:
        """Loss and score on rows that are held out."""
        weights = np.ones(len(held.X)) if held.weights is None else held.weights.astype(np.float64)
        share = weights / weights.sum()
        offset = self._offset(held.targets, held.weights)

        together = max(1, _BLOCK // (len(held.X) * max(network.sizes)))

        def judged(vectors: FloatArray) -> tuple[list[float], list[float]]:
            losses: list[float] = []
            scores: list[float] = []
            for at in range(0, len(vectors), together):
                with np.errstate(all="ignore"):
                    done = stacked.forward(network, Parameters(network, vectors[at : at + together]), held.X)
                    loss = (stacked.row_losses(network, done, held.targets) * share).sum(axis=1)
                    probabilities = np.swapaxes(done.probabilities, 1, 2)
                    finite = np.isfinite(probabilities).all(axis=(1, 2))
                    scores += np.where(finite, self._scores_of(probabilities, held), np.nan).tolist()
                losses += (scale * loss + offset).tolist()
            return losses, scores

        return judged

    # --- training -------------------------------------------------------------------------------------------------

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Any:
        """Train on X (n_samples, n_features), dense or sparse, and y (n_samples,) or (n_samples, n_outputs).

        `sample_weight` (n_samples,).  `X_val`, `y_val`, `sample_weight_val`: rows that are judged after every epoch,
        `validation_scores_` and `validation_loss_curve_`; with `early_stopping` they stop the training, and no rows
        are set aside.

        Raises `UsageError`, a ValueError, for what cannot be meant, and ValueError where the weights became infinite.
        """
        return self._fit(X, y, sample_weight, incremental=False, validation=(X_val, y_val, sample_weight_val))

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        *,
        incremental: bool,
        validation: tuple[Any, Any, Any] = (None, None, None),
    ) -> Any:
        check_parameters(self)
        self._hidden_sizes()
        first_pass = not hasattr(self, "coefs_") or (not self.warm_start and not incremental)
        labels = y
        X, targets = self._validated(X, y, incremental, first_pass)
        X = _listed(X)
        weights = self._row_weights(sample_weight, X, labels)
        if weights is not None and not weights.sum() > 0:
            raise UsageError(f"The weights of the rows add up to more than 0; these to {weights.sum():g}.")
        held = self._given_validation(validation, X.dtype)
        self.n_outputs_ = targets.shape[1]
        network = self._network_of(X.shape[1], self.n_outputs_)
        rng = _seeded(self.random_state)
        if first_pass:
            self._begin(network)
        self.network_ = network
        if incremental and self.early_stopping:
            raise UsageError("partial_fit does not support early_stopping=True; an epoch at a time, you are to stop.")
        if incremental and self.n_starts > 1:
            raise UsageError(f"partial_fit goes on with one network; n_starts={self.n_starts}. Leave n_starts at 1.")
        rows = Rows(X, targets, weights)
        vectors, rngs = self._starts(network, X.dtype, rng, first_pass)
        if self.early_stopping and held is None and self.solver != "lbfgs":
            rows, held = self._set_apart(rows, rng)
        halt = Event()
        several = [
            partial(self._trained, network, vector, rows, held, own_rng, halt.is_set, incremental, k == 0)
            for k, (vector, own_rng) in enumerate(zip(vectors, rngs, strict=True))
        ]
        if len(several) == 1:
            trained = [several[0]()]
        else:
            with ThreadPoolExecutor(allowed_threads()) as pool:
                futures = [pool.submit(one) for one in several]
                try:
                    trained = [result_of(future) for future in futures]
                except KeyboardInterrupt:
                    halt.set()
                    trained = [future.result() for future in futures]
        self._take(network, trained, held, incremental)
        if isinstance(self.random_state, Integral):
            _SPARE.append(rng)
        return self

    def _begin(self, network: Network) -> None:
        """Fitted attributes before the first epoch."""
        self.n_iter_ = self.t_ = 0
        self.n_layers_ = len(network.sizes)
        self.out_activation_ = _OUT_ACTIVATIONS[network.loss_row.link]
        self.loss_curve_: list[float] = []
        self.best_loss_: float | None = math.inf
        self.validation_scores_: list[float] | None = None
        self.validation_loss_curve_: list[float] | None = None
        self.best_validation_score_: float | None = None
        self._no_improvement_count = 0
        for name in ("_optimizer", "starts_"):
            self.__dict__.pop(name, None)

    def _starts(
        self, network: Network, dtype: Any, rng: np.random.RandomState, first_pass: bool
    ) -> tuple[list[FloatArray], list[np.random.RandomState]]:
        """Where each start begins, and its random numbers; the first is scikit-learn's, with `rng` itself."""
        own = [rng]
        if self.n_starts > 1:
            words = rng.get_state(legacy=False)["state"]["key"][
                :8
            ]  # of the state, so that the first start's draws stay as they are
            own += [np.random.RandomState([*words, k]) for k in range(1, self.n_starts)]
        if not first_pass:
            before = Parameters.from_layers(network, self.coefs_, self.intercepts_, dtype).vector
            return [before, *(self._drawn(network, dtype, other) for other in own[1:])], own
        return [self._drawn(network, dtype, each) for each in own], own

    def _drawn(self, network: Network, dtype: Any, rng: np.random.RandomState) -> FloatArray:
        """Weights and biases as scikit-learn draws them: uniform, Glorot and Bengio 2010, narrower for sigmoids."""
        names = [activation_row(name).name for name in network.activations[:-1]]
        if isinstance(self.activation, str):
            names = [activation_row(self.activation).name]
        parts = []
        for layer, (n_in, n_out) in enumerate(pairwise(network.sizes)):
            name = names[min(layer, len(names) - 1)] if names else ""
            bound = math.sqrt((2.0 if name == "sigmoid" else 6.0) / (n_in + n_out))
            parts.append(rng.uniform(-bound, bound, (n_in, n_out)).ravel())
            parts.append(rng.uniform(-bound, bound, n_out))
        return np.concatenate(parts).astype(dtype, copy=False)

    def _penalties(self, rows: Rows) -> tuple[float, float, bool]:
        """l1 and l2 as the engine is told them, and whether it divides them by the weight of each batch."""
        if self.penalty_scale == "none":
            return float(self.l1), float(self.alpha), False
        if self.penalty_scale == "batch" and self.solver != "lbfgs":
            return float(self.l1), float(self.alpha), True
        total = float(len(rows.X) if rows.weights is None else rows.weights.sum())
        return self.l1 / total, self.alpha / total, False

    def _trained(
        self,
        network: Network,
        vector: FloatArray,
        rows: Rows,
        held: Rows | None,
        rng: np.random.RandomState,
        halted: Callable[[], bool],
        incremental: bool,
        first: bool,
    ) -> _Trained:
        """One start, trained; nothing of the estimator is changed, for others may be under way."""
        scale = self._loss_scale(network)
        judge = None if held is None else self._judge(network, held, scale)
        l1, l2, per_weight = self._penalties(rows)
        offset = self._offset(rows.targets, rows.weights)
        targets = self._smoothed(network, rows.targets)
        weights = rows.weights
        if weights is None:
            weights = ones_for(len(rows.X), rows.X.dtype)
        data = Data(rows.X, targets, weights)
        watched = "loss"
        if self.early_stopping and held is not None:
            watched = "score" if self.monitor == "score" else "held-out loss"
        told = self._teller(offset) if first and (self.verbose or self.callbacks) else None
        if self.solver == "lbfgs":
            patience = self._patience(watched, first) if watched != "loss" else None
            followed = courses.minimise(
                network, data, vector, l1=l1, l2=l2, loss_scale=scale, gradient_tolerance=self.tol,
                iterations=self.max_iter, evaluations=self.max_fun, judge=judge, patience=patience, watched=watched,
                told=told, halted=halted,
            )  # fmt: skip
            trained = _Trained(followed)
        else:
            objective = l1, l2, per_weight, scale
            trained = self._descended(
                network, vector, data, rng, objective, judge, watched, told, halted, incremental, first, offset
            )
        followed = trained.followed
        if watched != "loss":
            followed.vector = followed.best_vector
        followed.losses = [loss + offset for loss in followed.losses]
        return trained

    def _descended(
        self,
        network: Network,
        vector: FloatArray,
        data: Data,
        rng: np.random.RandomState,
        objective: tuple[float, float, bool, float],
        judge: Judge | None,
        watched: str,
        told: Callable[[Epoch], None] | None,
        halted: Callable[[], bool],
        incremental: bool,
        first: bool,
        offset: float,
    ) -> _Trained:
        """One start by gradient descent."""
        l1, l2, per_weight, scale = objective
        n = len(data.X)
        size = min(200, n) if self.batch_size == "auto" else self.batch_size
        if size > n:
            warnings.warn(
                f"batch_size is at most the number of rows, {n}; got {size}, which is taken to be that.", stacklevel=4
            )
        n_batches = -(-n // min(size, n))
        before = getattr(self, "_optimizer", None) if incremental else None
        optimizer, rates, rate = self._optimiser(before, n, n_batches)
        seed = int(rng.randint(2**31 - 1)) if self._with_dropout else 0
        dropout = float(self.dropout) if isinstance(self.dropout, Real) else tuple(self.dropout)
        course = Course(
            network, optimizer, data, vector, rates=rates, epochs=1 if incremental else int(self.max_iter),
            batch_size=int(size), shuffled=rng if self.shuffle else None, l1=l1, l2=l2, penalty_per_weight=per_weight,
            loss_scale=scale, dropout=dropout, seed=seed, number=0 if before is None else before.steps,
            state=None if before is None else before.state, steps_before=0 if before is None else before.steps,
            recorded=bool(self.callbacks), threads=allowed_threads(),
        )  # fmt: skip
        patience = self._patience(watched, first)
        if watched == "loss":
            patience.best -= offset
        adaptive = self.learning_rate == "adaptive" and self.solver == "sgd"
        followed = courses.follow(
            course, patience, epochs=course.epochs, judge=judge, watched=watched,
            adaptive_rate=rate if adaptive else None, told=told, halted=halted,
        )  # fmt: skip
        if first and self.shuffle and n_batches == 1 and not isinstance(self.random_state, Integral):
            for _ in range(followed.n_epochs):  # in one batch the order is all the same, but not what is drawn next
                rng.shuffle(np.arange(n))
        n_seen = n * followed.n_epochs
        if followed.rate is not None:
            rate = followed.rate
        elif self.learning_rate == "invscaling" and self.solver == "sgd":
            rate = float(self.learning_rate_init) / (self.t_ + n_seen + 1) ** self.power_t
        steps = course.made + (0 if before is None else before.steps)
        return _Trained(followed, _Progress(rate, course.state, steps), n_seen, patience.count)

    def _patience(self, watched: str, first: bool) -> Patience:
        patience = Patience(float(self.tol), float(self.n_iter_no_change))
        if first:
            patience.count = self._no_improvement_count
            if watched == "loss" and self.best_loss_ is not None:
                patience.best = self.best_loss_
            elif watched == "score" and self.best_validation_score_ is not None:
                patience.best = -self.best_validation_score_
            elif watched == "held-out loss" and self.validation_loss_curve_:
                patience.best = float(np.nanmin(self.validation_loss_curve_))
        return patience

    def _optimiser(self, before: _Progress | None, n: int, n_batches: int) -> tuple[Optimizer, Rates, float]:
        """The optimiser with a rate of 1, so that one kernel serves all rates; the rates; the first of them."""
        solver, steps = self.solver, 0 if before is None else before.steps
        schedule: Any = self.learning_rate if isinstance(self.learning_rate, Schedule) else None
        rate = float(self.learning_rate_init)
        if isinstance(solver, Optimizer):
            if isinstance(solver.learning_rate, Schedule):
                schedule = solver.learning_rate
            else:
                rate = float(solver.learning_rate)
            optimizer = replace(solver, learning_rate=1.0)
        elif solver == "sgd":
            nesterov = bool(self.nesterovs_momentum) and self.momentum > 0
            momentum: dict[str, Any] = {"momentum": self.momentum, "nesterov": nesterov}
            decay = self.weight_decay
            optimizer = SGDW(1.0, weight_decay=decay, **momentum) if decay else SGD(1.0, **momentum)
        else:
            optimizer = FoldedAdam(1.0, self.beta_1, self.beta_2, self.epsilon, weight_decay=self.weight_decay)
        if before is not None:
            rate = before.learning_rate

        def rates(first: int, last: int) -> NDArray[np.float64]:
            if schedule is not None:
                every: NDArray[np.float64] = schedule.rates(first + steps, last + steps, n_batches * self.max_iter)
                return every
            constant = np.full(last - first + 1, rate)
            if self.learning_rate == "invscaling" and solver == "sgd":
                epoch = (np.arange(first, last + 1) - 1) // n_batches
                scaled = float(self.learning_rate_init) / (self.t_ + epoch * n + 1.0) ** self.power_t
                return np.where(epoch == 0, constant, scaled)
            return constant

        return optimizer, rates, rate

    def _teller(self, offset: float) -> Callable[[Epoch], None]:
        """What is said and called after every epoch."""

        def told(epoch: Epoch) -> None:
            if self.verbose:
                print(f"Iteration {epoch.number}, loss = {epoch.loss + offset:.8f}")
                if epoch.score is not None:
                    print(f"Validation score: {epoch.score:f}")
                if epoch.new_rate is not None:
                    print(f"No improvement by more than tol={self.tol:f}: the learning rate is {epoch.new_rate:g} now.")
            for step in epoch.steps:
                for callback in self.callbacks or ():
                    callback(step)

        return told

    def _take(self, network: Network, trained: list[_Trained], held: Rows | None, incremental: bool) -> None:
        """Fitted attributes from what came of the starts."""
        every = [each.followed for each in trained]
        stops = self.early_stopping and held is not None
        starts = []
        for followed in every:
            if followed.ended == "diverged" and not stops:
                raise ValueError(
                    "Solver produced non-finite parameter weights. The input data may contain large values and need to "
                    f"be preprocessed. Not finite in epoch {followed.n_epochs}: {followed.first_nonfinite}; a smaller "
                    "learning_rate_init helps as well."
                )
            if not np.isfinite(followed.vector).all():
                raise ValueError(
                    "Solver produced non-finite parameter weights. The input data may contain large values and need to "
                    "be preprocessed."
                )
            found = Parameters(network, followed.vector)
            score = max((s for s in followed.scores if not math.isnan(s)), default=None)
            loss = followed.losses[-1] if followed.losses else math.nan  # interrupted within the first epoch
            starts.append(Start(list(found.weights), list(found.biases), loss, score, followed.n_epochs))
        kept = self._kept(every, held)
        followed = every[kept]
        if len(every) > 1:
            self.starts_ = starts
        self.coefs_, self.intercepts_ = starts[kept].coefs, starts[kept].intercepts
        self.n_iter_ = followed.n_epochs
        self.t_ += trained[kept].n_seen
        self._no_improvement_count = trained[kept].no_improvement
        if trained[kept].progress is not None:
            self._optimizer = trained[kept].progress
        self.loss_ = starts[kept].loss
        self.loss_curve_ += followed.losses
        if held is not None:
            self.validation_scores_ = (self.validation_scores_ or []) + followed.scores
            self.validation_loss_curve_ = (self.validation_loss_curve_ or []) + followed.held_out_losses
            best = -math.inf if self.best_validation_score_ is None else self.best_validation_score_
            self.best_validation_score_ = max([best, *(s for s in followed.scores if not math.isnan(s))])
        if stops:
            self.best_loss_ = None
        else:
            best = math.inf if self.best_loss_ is None else self.best_loss_
            self.best_loss_ = min([best, *(loss for loss in followed.losses if not math.isnan(loss))])
        self._say_how_it_ended(followed, incremental)

    def _kept(self, every: list[Followed], held: Rows | None) -> int:
        """The start with the lowest objective, or with early stopping the best of what is monitored."""
        if self.early_stopping and held is not None:
            by_score = self.monitor == "score"
            values = [
                -np.nanmax([-np.inf, *f.scores]) if by_score else np.nanmin([np.inf, *f.held_out_losses]) for f in every
            ]
        else:
            values = [f.losses[-1] if f.losses else math.inf for f in every]
        return int(np.argmin(values))

    def _say_how_it_ended(self, followed: Followed, incremental: bool) -> None:
        if followed.ended == "interrupted":
            warnings.warn("Training interrupted by user.", stacklevel=5)
        elif followed.ended == "not converged":
            warnings.warn(
                f"lbfgs has not converged after {followed.n_epochs} iterations: {followed.message}. Allow more by "
                "max_iter or max_fun, or scale the columns of X.",
                ConvergenceWarning,
                stacklevel=5,
            )
        elif followed.ended == "diverged":
            warnings.warn(
                f"The training diverged in epoch {followed.n_epochs}, {followed.first_nonfinite} being not finite "
                "first; the best weights before are kept. Lower learning_rate_init, or scale the columns of X.",
                ConvergenceWarning,
                stacklevel=5,
            )
        elif followed.ended == "epochs" and self.solver != "lbfgs" and not incremental:
            warnings.warn(
                f"The training made all {self.max_iter} epochs (max_iter) without having converged, which tol and "
                "n_iter_no_change define. Allow more by max_iter.",
                ConvergenceWarning,
                stacklevel=5,
            )
        elif self.verbose and followed.ended == "no improvement":
            what = "Validation" if self.early_stopping else "Training loss"
            print(f"{what} did not improve more than tol={self.tol:f} for {self.n_iter_no_change} epochs. Stopping.")

    def _has_partial_fit(self) -> bool:
        if self.solver == "lbfgs":
            raise AttributeError("partial_fit makes one epoch of gradient descent; lbfgs has none. Take adam or sgd.")
        return True

    # --- what has been learned ------------------------------------------------------------------------------------

    def _members(self) -> Iterator[Parameters]:
        """The networks whose outputs are averaged."""
        network = self._current_network()
        if self.combine == "average" and hasattr(self, "starts_"):
            for start in self.starts_:
                yield Parameters.from_layers(network, start.coefs, start.intercepts)
        else:
            yield Parameters.from_layers(network, self.coefs_, self.intercepts_)

    def _current_network(self) -> Network:
        """The network that the fitted attributes describe."""
        if hasattr(self, "network_"):
            return self.network_
        return self._network_of(self.coefs_[0].shape[0], self.coefs_[-1].shape[1])

    def _outputs(self, X: Any) -> FloatArray:
        """Probabilities, or predictions, (n_samples, n_outputs)."""
        check_is_fitted(self)
        X = _listed(validate_data(self, X, accept_sparse=("csr", "csc"), reset=False))
        network, members = self._current_network(), list(self._members())
        step = max(1, _BLOCK // max(network.sizes[isinstance(X, SparseTable) :]))
        parts = []
        with np.errstate(all="ignore"):
            for at in range(0, len(X), step):
                block = X[at : at + step]
                if block.dtype.kind != "f":
                    block = block.astype(np.float64)
                outputs = [
                    stacked.forward(network, Parameters(network, member.vector[np.newaxis]), block).probabilities[0].T
                    for member in members
                ]
                parts.append(outputs[0] if len(outputs) == 1 else np.mean(outputs, axis=0))
        found: FloatArray = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return found

    def to_model(self, *, features: Sequence[str] | None = None, target: str = "y") -> Model:
        """The `Model` that it is: what `gn.derive`, `gn.explain` and `gn.save` take; see `gn.from_sklearn`.

        `features` names the inputs, else they are `feature_names_in_`, or x1, x2, ...; `target` what is predicted.
        """
        return from_sklearn(self, features=features, target=target)

    def _html_repr(self) -> str:
        """In a notebook: its parameters as scikit-learn shows them and, once it is fitted, the network."""
        shown: str = super()._html_repr()
        if not hasattr(self, "coefs_"):
            return shown
        network = self._current_network()
        parameters = Parameters.from_layers(network, self.coefs_, self.intercepts_)
        names, classes = getattr(self, "feature_names_in_", None), getattr(self, "classes_", None)
        outputs = None if classes is None else [f"P({name})" for name in classes][-network.n_outputs :]
        svg = network_svg(
            network, parameters, feature_names=None if names is None else list(names), output_names=outputs
        )
        return f"<div>{shown}{svg}</div>"

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def keep(estimator: Any, given: dict[str, Any]) -> None:
    """Every argument of an `__init__` as an attribute, as scikit-learn wants it."""
    for name, value in given.items():
        if name != "self":
            setattr(estimator, name, value)


_SPARE: list[np.random.RandomState] = []
"""Generators that no fit uses now: a new one asks the system for chance first, which takes longer than many epochs."""


def _seeded(random_state: Any) -> np.random.RandomState:
    """`sklearn.utils.check_random_state`."""
    if isinstance(random_state, Integral) and _SPARE:
        with suppress(IndexError):  # another thread was quicker
            rng = _SPARE.pop()
            rng.seed(int(random_state))
            return rng
    found: np.random.RandomState = check_random_state(random_state)
    return found


def _listed(X: Any) -> Any:
    """X as it is, or of SciPy's sparse ones a `SparseTable`."""
    return SparseTable.of(X) if is_sparse(X) else X


def allowed_threads() -> int:
    """As many threads as there are processors, or as `OMP_NUM_THREADS` says, as joblib does within its workers."""
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    return min(all_threads(), int(allowed)) if allowed.isdigit() and int(allowed) else all_threads()
