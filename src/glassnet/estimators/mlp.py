"""`MLPClassifier` and `MLPRegressor`: scikit-learn's, on the compiled engine, and what its users ask for besides.

With the same parameters and `random_state` they begin at the same weights, set aside the same rows, shuffle them in the
same orders and make the same updates as scikit-learn's; the numbers differ by rounding. Parameters that scikit-learn
does not have are off unless they are given.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import type_of_target, unique_labels
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from glassnet import courses
from glassnet.activations import activation_row
from glassnet.courses import Epoch, Followed, Judge, Patience
from glassnet.drawing import network_svg
from glassnet.errors import UsageError
from glassnet.importing.sklearn import from_sklearn
from glassnet.kernels import compiled, stacked
from glassnet.kernels.course import Course, Rates
from glassnet.losses import loss_row
from glassnet.model import Model
from glassnet.network import FloatArray, Network, Parameters, checked_dropout
from glassnet.optimizers import SGD, FoldedAdam, Optimizer, Schedule, State
from glassnet.reference import checked_targets
from glassnet.runs import Data

_SOLVERS = ("lbfgs", "sgd", "adam")
_RATES = ("constant", "invscaling", "adaptive")
_LOSSES = {"squared_error": "mean_squared_error", "absolute_error": "mean_absolute_error"}
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
class _Rows:
    """Rows to train on or to judge by: X (n, n_features), targets (n, n_outputs), their weights or None."""

    X: FloatArray
    targets: FloatArray
    weights: Weights | None

    def at(self, rows: Any) -> _Rows:
        return _Rows(self.X[rows], self.targets[rows], None if self.weights is None else self.weights[rows])


def _number(low: float, high: float = math.inf, *, open_below: bool = False, closed_above: bool = False) -> Any:
    def fits(value: Any) -> bool:
        if not isinstance(value, Real) or isinstance(value, bool):
            return False
        return (low < value if open_below else low <= value) and (value <= high if closed_above else value < high)

    return fits


def _whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and value >= 1


def _truth(value: Any) -> bool:
    return isinstance(value, bool | np.bool_)


_NOT_NEGATIVE = (_number(0), "a number, 0 or more")
_SHARE = (_number(0, 1), "a number from 0 to less than 1")
_COUNT = (_whole, "a whole number, 1 or more")
_FLAG = (_truth, "True or False")

_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "solver": (
        lambda value: isinstance(value, Optimizer) or (isinstance(value, str) and value in _SOLVERS),
        f"one of {', '.join(_SOLVERS)}, or an optimiser such as gn.AdamW()",
    ),
    "alpha": _NOT_NEGATIVE,
    "batch_size": (lambda value: (isinstance(value, str) and value == "auto") or _whole(value), "'auto', or a whole number, 1 or more"),
    "learning_rate": (
        lambda value: isinstance(value, Schedule) or (isinstance(value, str) and value in _RATES),
        f"one of {', '.join(_RATES)}, or a schedule such as gn.Cosine(0.01)",
    ),
    "learning_rate_init": (_number(0, open_below=True), "a number above 0"),
    "power_t": _NOT_NEGATIVE,
    "max_iter": _COUNT,
    "shuffle": _FLAG,
    "tol": _NOT_NEGATIVE,
    "warm_start": _FLAG,
    "momentum": _SHARE,
    "nesterovs_momentum": _FLAG,
    "early_stopping": _FLAG,
    "validation_fraction": _SHARE,
    "beta_1": _SHARE,
    "beta_2": _SHARE,
    "epsilon": (_number(0, open_below=True), "a number above 0"),
    "n_iter_no_change": (lambda value: _whole(value) or value == math.inf, "a whole number, 1 or more, or infinity"),
    "max_fun": _COUNT,
    "weight_decay": _NOT_NEGATIVE,
    "l1": _NOT_NEGATIVE,
    "label_smoothing": _SHARE,
    "penalty_scale": (lambda value: value in ("batch", "samples", "none"), "one of batch, samples, none"),
    "monitor": (lambda value: value in ("score", "loss"), "score or loss"),
    "stratify": (lambda value: value == "auto" or _truth(value), "'auto', True or False"),
    "n_starts": _COUNT,
    "combine": (lambda value: value in ("best", "average"), "best or average"),
    "one_class": (lambda value: value in ("warn", "refuse"), "warn or refuse"),
}  # fmt: skip


class _Multilayer(BaseEstimator):  # type: ignore[misc]
    """What the two have in common."""

    loss: str
    coefs_: list[FloatArray]
    intercepts_: list[FloatArray]

    # --- what is asked for ----------------------------------------------------------------------------------------

    def _check_parameters(self) -> None:
        """The error of a parameter that cannot be meant."""
        given = vars(self)
        for name, (fits, rule) in _RULES.items():
            if name in given and not fits(given[name]):
                raise UsageError(f"{type(self).__name__} takes as {name} {rule}; got {given[name]!r}.")
        if self.weight_decay and self.solver != "adam":
            raise UsageError(
                f"weight_decay is decoupled from the gradient in solver 'adam'; got it with {self.solver!r}. "
                "Penalise by alpha, or take solver='adam'."
            )
        if self.solver == "lbfgs" and (self._with_dropout or self.callbacks):
            what = "dropout" if self._with_dropout else "callbacks"
            raise UsageError(
                f"L-BFGS searches along lines through all rows, so it has no use for {what}; got both. "
                "Take solver='adam' or 'sgd'."
            )
        if self.callbacks and self.n_starts > 1:
            raise UsageError(f"callbacks follow one training; n_starts={self.n_starts} makes several. Leave one out.")

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
        activation = self.activation if isinstance(self.activation, str) else tuple(self.activation)
        network = Network((n_features, *self._hidden_sizes(), n_outputs), activation, self._loss_name(n_outputs))
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

    def _row_weights(self, sample_weight: Any, X: FloatArray, y: Any) -> Weights | None:
        return None if sample_weight is None else _check_sample_weight(sample_weight, X, dtype=X.dtype)

    def _smoothed(self, network: Network, targets: FloatArray) -> FloatArray:
        return targets

    def _score_of(self, probabilities: FloatArray, rows: _Rows) -> float:
        raise NotImplementedError

    def _strata(self, targets: FloatArray) -> NDArray[Any] | None:
        """What validation rows are stratified by: their class, where there is such a thing."""
        return None

    def _set_apart(self, rows: _Rows, rng: np.random.RandomState) -> tuple[_Rows, _Rows]:
        """Rows to train on, and rows for validation, the very ones that scikit-learn takes."""
        train, held = train_test_split(
            np.arange(len(rows.X)),
            random_state=rng,
            test_size=self.validation_fraction,
            stratify=self._strata(rows.targets),
        )
        if len(held) < 2:
            raise UsageError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset; "
                f"{self.validation_fraction:g} of {len(rows.X)} rows is {len(held)}."
            )
        return rows.at(train), rows.at(held)

    def _given_validation(self, X_val: Any, y_val: Any, sample_weight_val: Any, dtype: Any) -> _Rows | None:
        if X_val is None and y_val is None and sample_weight_val is None:
            return None
        if X_val is None or y_val is None:
            raise UsageError("Validation rows are given as X_val and y_val, both of them; got one alone.")
        X = validate_data(self, X_val, accept_sparse=("csr", "csc"), dtype=dtype, reset=False)
        X = _dense(X)
        targets = self._held_targets(y_val, dtype)
        if len(targets) != len(X):
            raise UsageError(f"X_val and y_val have a row each for every row; got {len(X)} and {len(targets)}.")
        weights = None if sample_weight_val is None else _check_sample_weight(sample_weight_val, X, dtype=dtype)
        return _Rows(X, targets, weights)

    def _held_targets(self, y: Any, dtype: Any) -> FloatArray:
        raise NotImplementedError

    def _judge(self, network: Network, held: _Rows, scale: float) -> Judge:
        """Loss and score on rows that are held out."""
        weights = np.ones(len(held.X)) if held.weights is None else held.weights.astype(np.float64)
        share = weights / weights.sum()
        offset = self._offset(held.targets, held.weights)

        def judged(vector: FloatArray) -> tuple[float, float]:
            with np.errstate(all="ignore"):
                done = stacked.forward(network, Parameters(network, vector[np.newaxis]), held.X)
                loss = float((stacked.row_losses(network, done, held.targets)[0] * share).sum())
                probabilities = done.probabilities[0].T
                finite = np.isfinite(probabilities).all()
                return scale * loss + offset, self._score_of(probabilities, held) if finite else math.nan

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
        self, X: Any, y: Any, sample_weight: Any, *, incremental: bool, validation: tuple[Any, ...] = (None,) * 3
    ) -> Any:
        self._check_parameters()
        self._hidden_sizes()
        first_pass = not hasattr(self, "coefs_") or (not self.warm_start and not incremental)
        labels = y
        X, targets = self._validated(X, y, incremental, first_pass)
        X = _dense(X)
        weights = self._row_weights(sample_weight, X, labels)
        held = self._given_validation(*validation, X.dtype)
        self.n_outputs_ = targets.shape[1]
        network = self._network_of(X.shape[1], self.n_outputs_)
        rng = check_random_state(self.random_state)
        if first_pass:
            self._begin(network)
        self.network_ = network
        if incremental and self.early_stopping:
            raise UsageError("partial_fit does not support early_stopping=True; an epoch at a time, you are to stop.")
        if incremental and self.n_starts > 1:
            raise UsageError(f"partial_fit goes on with one network; n_starts={self.n_starts}. Leave n_starts at 1.")
        rows = _Rows(X, targets, weights)
        vectors, rngs = self._starts(network, X.dtype, rng, first_pass)
        if self.early_stopping and held is None and self.solver != "lbfgs":
            rows, held = self._set_apart(rows, rng)
        several = [
            partial(self._trained, network, vector, rows, held, own_rng, incremental, k == 0)
            for k, (vector, own_rng) in enumerate(zip(vectors, rngs, strict=True))
        ]
        if len(several) == 1:
            followed = [several[0]()]
        else:
            with ThreadPoolExecutor(_threads()) as pool:
                followed = [future.result() for future in [pool.submit(one) for one in several]]
        self._take(network, followed, rows, held, incremental)
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
            words = rng.get_state(legacy=True)[1][:8]  # of the state, so that the first start's draws stay as they are
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

    def _penalties(self, rows: _Rows) -> tuple[float, float, bool]:
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
        rows: _Rows,
        held: _Rows | None,
        rng: np.random.RandomState,
        incremental: bool,
        first: bool,
    ) -> Followed:
        """One start, trained."""
        scale = self._loss_scale(network)
        judge = None if held is None else self._judge(network, held, scale)
        l1, l2, per_weight = self._penalties(rows)
        offset = self._offset(rows.targets, rows.weights)
        targets = self._smoothed(network, rows.targets)
        weights = rows.weights
        if weights is None:
            weights = np.ndarray(len(rows.X), rows.X.dtype, np.ones(1, rows.X.dtype), 0, (0,))
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
                told=told,
            )  # fmt: skip
            if patience is not None:
                followed.vector = followed.best_vector
            return _shifted(followed, offset)
        followed = self._descended(
            network, vector, data, rng, (l1, l2, per_weight, scale), judge, watched, told, incremental, first, offset
        )
        if watched != "loss":
            followed.vector = followed.best_vector
        return _shifted(followed, offset)

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
        incremental: bool,
        first: bool,
        offset: float,
    ) -> Followed:
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
        dropout = self.dropout if isinstance(self.dropout, Real) else tuple(self.dropout)
        course = Course(
            network, optimizer, data, vector, rates=rates, epochs=1 if incremental else int(self.max_iter),
            batch_size=int(size), shuffled=rng if self.shuffle else None, l1=l1, l2=l2, penalty_per_weight=per_weight,
            loss_scale=scale, dropout=dropout, seed=seed, number=0 if before is None else before.steps,
            state=None if before is None else before.state, steps_before=0 if before is None else before.steps,
            recorded=bool(self.callbacks), threads=_threads(),
        )  # fmt: skip
        patience = self._patience(watched, first)
        if watched == "loss":
            patience.best -= offset
        adaptive = self.learning_rate == "adaptive" and isinstance(optimizer, SGD)
        followed = courses.follow(
            course, patience, epochs=course.epochs, judge=judge, watched=watched,
            adaptive_rate=rate if adaptive else None, told=told,
        )  # fmt: skip
        if first:
            if self.shuffle and n_batches == 1 and not isinstance(self.random_state, Integral):
                for _ in range(followed.n_epochs):  # in one batch the order is all the same, but not what comes next
                    rng.shuffle(np.arange(n))
            self.t_ += n * followed.n_epochs
            if followed.rate is not None:
                rate = followed.rate
            elif self.learning_rate == "invscaling" and self.solver == "sgd":
                rate = float(self.learning_rate_init) / (self.t_ + 1) ** self.power_t
            state = {name: value.copy() for name, value in course.state.items()}
            steps = course.made + (0 if before is None else before.steps)
            self._optimizer = _Progress(rate, state, steps)
            self._no_improvement_count = patience.count
        return followed

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
            optimizer = SGD(1.0, momentum=self.momentum, nesterov=nesterov)
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

    def _take(
        self, network: Network, every: list[Followed], rows: _Rows, held: _Rows | None, incremental: bool
    ) -> None:
        """Fitted attributes from what came of the starts."""
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
            loss = followed.losses[-1]
            starts.append(Start(list(found.weights), list(found.biases), loss, score, followed.n_epochs))
        kept = self._kept(every, held)
        followed = every[kept]
        if len(every) > 1:
            self.starts_ = starts
        self.coefs_, self.intercepts_ = starts[kept].coefs, starts[kept].intercepts
        self.n_iter_ = followed.n_epochs
        self.loss_ = followed.losses[-1]
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

    def _kept(self, every: list[Followed], held: _Rows | None) -> int:
        """The start with the lowest objective, or with early stopping the best of what is monitored."""
        if self.early_stopping and held is not None:
            by_score = self.monitor == "score"
            values = [
                -np.nanmax([-np.inf, *f.scores]) if by_score else np.nanmin([np.inf, *f.held_out_losses]) for f in every
            ]
        else:
            values = [f.losses[-1] for f in every]
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
        X = validate_data(self, X, accept_sparse=("csr", "csc"), reset=False)
        if hasattr(X, "tocsr"):
            X = X.tocsr()
        network, members = self._current_network(), list(self._members())
        step = max(1, _BLOCK // max(network.sizes))
        parts = []
        with np.errstate(all="ignore"):
            for at in range(0, X.shape[0], step):
                block = _dense(X[at : at + step])
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
        names = getattr(self, "feature_names_in_", None)
        svg = network_svg(network, parameters, feature_names=None if names is None else list(names))
        return f"<div>{shown}{svg}</div>"

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _keep(estimator: Any, given: dict[str, Any]) -> None:
    """Every argument of an `__init__` as an attribute, as scikit-learn wants it."""
    for name, value in given.items():
        if name != "self":
            setattr(estimator, name, value)


def _dense(X: Any) -> FloatArray:
    dense: FloatArray = X.toarray() if hasattr(X, "toarray") else X
    return dense


def _shifted(followed: Followed, offset: float) -> Followed:
    """The losses as scikit-learn gives them."""
    if offset:
        followed.losses = [loss + offset for loss in followed.losses]
    return followed


def _threads() -> int:
    """As many threads as there are processors, or as `OMP_NUM_THREADS` says, as joblib does within its workers."""
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    return min(compiled.all_threads(), int(allowed)) if allowed.isdigit() and int(allowed) else compiled.all_threads()


class MLPClassifier(ClassifierMixin, _Multilayer):  # type: ignore[misc]
    """scikit-learn's `MLPClassifier`, on the compiled engine; every parameter, attribute and method means the same.

    From scikit-learn: `hidden_layer_sizes`, `activation` (identity, logistic, tanh, relu), `solver` (lbfgs, sgd, adam),
    `alpha`, `batch_size`, `learning_rate` (constant, invscaling, adaptive), `learning_rate_init`, `power_t`, `max_iter`,
    `shuffle`, `random_state`, `tol`, `verbose`, `warm_start`, `momentum`, `nesterovs_momentum`, `early_stopping`,
    `validation_fraction`, `beta_1`, `beta_2`, `epsilon`, `n_iter_no_change`, `max_fun`.

    Besides:

    - `activation`: any of `gn.ACTIVATIONS`, or one for each hidden layer;
    - `solver`: an optimiser such as `gn.AdamW(0.01)`, with its own rate; `learning_rate`: a schedule, `gn.Cosine(0.01)`;
    - `dropout`: the share of hidden units that sit an update out, or one for each hidden layer;
    - `class_weight`: "balanced", or a dictionary, as in scikit-learn's other classifiers;
    - `weight_decay`: weights shrink by rate x decay, beside adam's step (Loshchilov and Hutter 2017); `l1`: the
      objective has l1 sum|W| too, scaled as alpha is;
    - `label_smoothing` s: the target is 1 - s + s / K for its class and s / K for the others (Szegedy et al. 2015);
    - `penalty_scale`: "batch", scikit-learn's, divides alpha by the sum of the batch's weights; "samples" by that of all
      training rows, so that the objective does not depend on the batch size; "none" by nothing;
    - `monitor`: "score" or "loss", what early stopping watches; `stratify`: "auto" stratifies its rows for two
      classes, as scikit-learn does; True for any number of them, and False never;
    - `callbacks`: called with the `Step` of every update, after its epoch;
    - `n_starts`: so many trainings from starts of their own; `combine`: "best" keeps the one of lowest objective (with
      early stopping, of the best monitored value), "average" averages their probabilities;
    - `one_class`: "warn" or "refuse" where y has one class only.

    After `fit`: `classes_`, `coefs_`, `intercepts_`, `loss_`, `best_loss_`, `loss_curve_`, `validation_scores_`,
    `best_validation_score_`, `n_iter_`, `t_`, `n_layers_`, `n_outputs_`, `out_activation_`, `n_features_in_`,
    `feature_names_in_`; and `validation_loss_curve_`, `network_`, and with several starts `starts_`.

    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], ["no", "no", "yes", "yes"]
    >>> model = MLPClassifier(hidden_layer_sizes=(4,), solver="lbfgs", random_state=1).fit(X, y)
    >>> model.predict([[-1.0], [4.0]]).tolist()
    ['no', 'yes']
    """

    loss = "log_loss"
    label_smoothing: float
    classes_: NDArray[Any]

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: Any = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: Any = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        dropout: Any = 0.0,
        class_weight: Mapping[Any, float] | str | None = None,
        weight_decay: float = 0.0,
        l1: float = 0.0,
        label_smoothing: float = 0.0,
        penalty_scale: str = "batch",
        monitor: str = "score",
        stratify: Any = "auto",
        callbacks: Sequence[Callable[[Any], None]] | None = None,
        n_starts: int = 1,
        combine: str = "best",
        one_class: str = "warn",
    ) -> None:
        _keep(self, locals())

    # --- classes --------------------------------------------------------------------------------------------------

    def _validated(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[FloatArray, FloatArray]:
        X, y = validate_data(
            self, X, y, accept_sparse=("csr", "csc"), multi_output=True, dtype=(np.float64, np.float32), reset=reset
        )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if not hasattr(self, "classes_") or (not self.warm_start and not incremental):
            self._learn_classes(y)
        else:
            classes = unique_labels(y)
            if self.warm_start and set(classes) != set(self.classes_):
                raise UsageError(
                    "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                    f"Previously got {self.classes_}, `y` has {classes}. Fit anew with warm_start=False."
                )
            if new := sorted(set(classes) - set(self.classes_), key=str):
                raise UsageError(
                    f"`y` has classes not in `self.classes_`, which are {self.classes_}; got {new} as well. "
                    "Name all of them as classes in the first partial_fit."
                )
        return X, self._targets(y, X.dtype)

    def _learn_classes(self, y: Any) -> None:
        self._label_binarizer = None
        plain = isinstance(y, np.ndarray) and y.ndim == 1 and y.dtype.kind in "biuU"
        if plain or type_of_target(y, input_name="y") in ("binary", "multiclass"):
            self.classes_ = np.unique(y) if plain else unique_labels(y)
        else:  # several labels for a row, or the error of what is no class
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
        if len(self.classes_) == 1 and not self._multilabel:
            said = f"A classifier tells two classes apart or more; y has one class only, {self.classes_[0]!r}."
            if self.one_class == "refuse":
                raise UsageError(f"{said} Give rows of another class, or one_class='warn' to go on.")
            warnings.warn(f"{said} Every prediction will be that one.", RuntimeWarning, stacklevel=5)

    @property
    def _multilabel(self) -> bool:
        return getattr(self, "_label_binarizer", None) is not None

    def _targets(self, y: Any, dtype: Any) -> FloatArray:
        """1 where a row is of a class, (n, 1) for two classes, else (n, n_classes)."""
        if self._label_binarizer is not None:
            found: FloatArray = self._label_binarizer.transform(y).astype(dtype)
            return found
        codes = np.searchsorted(self.classes_, y)
        if len(self.classes_) <= 2:
            return (codes if len(self.classes_) == 2 else np.zeros(len(codes))).astype(dtype)[:, np.newaxis]
        targets = np.zeros((len(codes), len(self.classes_)), dtype)
        targets[np.arange(len(codes)), codes] = 1
        return targets

    def _held_targets(self, y: Any, dtype: Any) -> FloatArray:
        y = y if self._multilabel else column_or_1d(y)
        if unknown := sorted(set(unique_labels(y)) - set(self.classes_), key=str):
            raise UsageError(f"y_val has classes that y has, {self.classes_}; got {unknown} as well.")
        return self._targets(y, dtype)

    def _row_weights(self, sample_weight: Any, X: FloatArray, y: Any) -> Weights | None:
        weights = super()._row_weights(sample_weight, X, y)
        if self.class_weight is None:
            return weights
        of_class = compute_sample_weight(self.class_weight, y).astype(X.dtype)
        return of_class if weights is None else weights * of_class

    def _strata(self, targets: FloatArray) -> NDArray[Any] | None:
        if self.stratify is False or self._multilabel:
            return None
        if targets.shape[1] == 1:
            return targets.astype(bool)
        return targets.argmax(axis=1) if self.stratify is True else None

    # --- its loss -------------------------------------------------------------------------------------------------

    def _loss_name(self, n_outputs: int) -> str:
        return "binary_cross_entropy" if n_outputs == 1 or self._multilabel else "cross_entropy"

    def _loss_scale(self, network: Network) -> float:
        return float(network.n_outputs) if self._multilabel else 1.0

    def _smoothed(self, network: Network, targets: FloatArray) -> FloatArray:
        if not self.label_smoothing:
            return targets
        n_classes = network.n_outputs if network.loss_row.sums_over_outputs else 2
        smoothed = targets * (1 - self.label_smoothing) + self.label_smoothing / n_classes
        return smoothed.astype(targets.dtype, copy=False)

    def _score_of(self, probabilities: FloatArray, rows: _Rows) -> float:
        if self._multilabel:
            right = ((probabilities > 0.5) == rows.targets).all(axis=1)
        elif probabilities.shape[1] == 1:
            right = (probabilities[:, 0] > 0.5) == rows.targets[:, 0]
        else:
            right = probabilities.argmax(axis=1) == rows.targets.argmax(axis=1)
        return float(np.average(right, weights=rows.weights))

    # --- what its users call --------------------------------------------------------------------------------------

    @available_if(lambda self: self._has_partial_fit())  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> MLPClassifier:
        """One epoch over X (n_samples, n_features) and y; `classes`, all that there will be, in the first call.

        >>> model = MLPClassifier(hidden_layer_sizes=(2,), random_state=1)
        >>> model.partial_fit([[0.0], [1.0]], ["a", "b"], classes=["a", "b", "c"]).classes_.tolist()
        ['a', 'b', 'c']
        """
        if classes is None and not hasattr(self, "classes_"):
            raise UsageError("classes must be passed on the first call to partial_fit, all that there will ever be.")
        if classes is not None and not hasattr(self, "classes_"):
            self._learn_classes(y if type_of_target(y).startswith("multilabel") else unique_labels(classes))
        elif classes is not None and not np.array_equal(self.classes_, unique_labels(classes)):
            raise UsageError(f"classes are the same in every call; got {classes!r} after {self.classes_}.")
        if self.class_weight == "balanced":
            raise UsageError(
                "class_weight 'balanced' needs all rows at once, and partial_fit sees some of them. "
                "Give the weights as a dictionary."
            )
        self._fit(X, y, sample_weight, incremental=True)
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """The class of every row (n_samples,), or with several labels whether it has each (n_samples, n_classes)."""
        outputs = self._outputs(X)
        if self._label_binarizer is not None:
            labels: NDArray[Any] = self._label_binarizer.inverse_transform(outputs)
            return labels
        if len(self.classes_) > 2:
            codes = outputs.argmax(axis=1)
        else:
            codes = (
                (outputs[:, 0] > 0.5).astype(np.intp) if len(self.classes_) == 2 else np.zeros(len(outputs), np.intp)
            )
        found: NDArray[Any] = self.classes_[codes]
        return found

    def predict_proba(self, X: Any) -> FloatArray:
        """The probability of every class (n_samples, n_classes), in the order of `classes_`."""
        outputs = self._outputs(X)
        return np.hstack([1 - outputs, outputs]) if outputs.shape[1] == 1 else outputs

    def predict_log_proba(self, X: Any) -> FloatArray:
        """The logarithm of `predict_proba`."""
        probabilities = self.predict_proba(X)
        with np.errstate(divide="ignore"):
            logarithms: FloatArray = np.log(probabilities)
        return logarithms

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class MLPRegressor(RegressorMixin, _Multilayer):  # type: ignore[misc]
    """scikit-learn's `MLPRegressor`, on the compiled engine; every parameter, attribute and method means the same.

    `loss`: squared_error or poisson as in scikit-learn, absolute_error, or any of `gn.LOSSES`, `quantile(0.9)` say.
    The other parameters are those of `MLPClassifier`, without those that are about classes.

    With several outputs squared_error is the mean over them, as it is in scikit-learn, and the gradient is that of
    this mean; scikit-learn's is as many times as large as there are outputs.

    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [1.0, 3.0, 5.0, 7.0]
    >>> model = MLPRegressor(hidden_layer_sizes=(), solver="lbfgs", alpha=0, tol=1e-9, random_state=1).fit(X, y)
    >>> model.predict([[10.0]]).round(3).tolist()
    [21.0]
    """

    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: Any = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: Any = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        dropout: Any = 0.0,
        weight_decay: float = 0.0,
        l1: float = 0.0,
        penalty_scale: str = "batch",
        monitor: str = "score",
        callbacks: Sequence[Callable[[Any], None]] | None = None,
        n_starts: int = 1,
        combine: str = "best",
    ) -> None:
        _keep(self, locals())

    def _validated(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[FloatArray, FloatArray]:
        X, y = validate_data(
            self, X, y, accept_sparse=("csr", "csc"), multi_output=True, y_numeric=True,
            dtype=(np.float64, np.float32), reset=reset,
        )  # fmt: skip
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return X, self._held_targets(y, X.dtype)

    def _held_targets(self, y: Any, dtype: Any) -> FloatArray:
        targets = np.asarray(y, dtype)
        targets = targets[:, np.newaxis] if targets.ndim == 1 else targets
        row = loss_row(self._loss_name(targets.shape[1]))
        if row.name == "poisson" and (targets < 0).any():
            warnings.warn(
                f"poisson takes targets of 0 or more; one is {targets.min():g}. As scikit-learn does, this goes on.",
                RuntimeWarning,
                stacklevel=5,
            )
        elif row.targets != "any":
            checked_targets(Network((1, targets.shape[1]), loss=row.name), targets, len(targets), dtype)
        return targets

    def _loss_name(self, n_outputs: int) -> str:
        return _LOSSES.get(self.loss, self.loss)

    def _loss_scale(self, network: Network) -> float:
        return {"squared_error": 0.5, "poisson": float(network.n_outputs)}.get(self.loss, 1.0)

    def _offset(self, targets: FloatArray, weights: Weights | None) -> float:
        if self.loss != "poisson":
            return 0.0
        y = targets.astype(np.float64)
        terms = y * np.log(np.where(y > 0, y, 1.0)) - y
        return float(np.average(terms.sum(axis=1), weights=weights))

    def _score_of(self, probabilities: FloatArray, rows: _Rows) -> float:
        y, weights = rows.targets.astype(np.float64), rows.weights
        residual = np.average((y - probabilities) ** 2, axis=0, weights=weights)
        spread = np.average((y - np.average(y, axis=0, weights=weights)) ** 2, axis=0, weights=weights)
        # As scikit-learn has it: an output that is the same on every row is explained wholly or not at all.
        constant = np.where(residual == 0, 1.0, 0.0)
        return float(np.mean(np.where(spread > 0, 1 - residual / np.where(spread > 0, spread, 1.0), constant)))

    @available_if(lambda self: self._has_partial_fit())  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> MLPRegressor:
        """One epoch over X (n_samples, n_features) and y (n_samples,) or (n_samples, n_outputs).

        >>> MLPRegressor(hidden_layer_sizes=(2,), random_state=1).partial_fit([[0.0], [1.0]], [1.0, 2.0]).n_iter_
        1
        """
        self._fit(X, y, sample_weight, incremental=True)
        return self

    def predict(self, X: Any) -> FloatArray:
        """The prediction for every row (n_samples,), or (n_samples, n_outputs)."""
        outputs = self._outputs(X)
        return outputs.ravel() if outputs.shape[1] == 1 else outputs
