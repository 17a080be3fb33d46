"""`MLPClassifier` and `MLPRegressor`: scikit-learn's, on the compiled engine, and what its users ask for besides.

Parameters that scikit-learn does not have are off unless they are given.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import column_or_1d
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import type_of_target, unique_labels
from sklearn.utils.validation import validate_data

from glassnet.errors import UsageError
from glassnet.estimators.multilayer import Multilayer, Rows, Weights, keep
from glassnet.losses import loss_row
from glassnet.network import FloatArray, Network
from glassnet.reference import checked_targets

_LOSSES = {"squared_error": "mean_squared_error", "absolute_error": "mean_absolute_error"}


class MLPClassifier(ClassifierMixin, Multilayer):  # type: ignore[misc]
    """scikit-learn's `MLPClassifier`, on the compiled engine; every parameter, attribute and method means the same.

    From scikit-learn: `hidden_layer_sizes`, `activation` (identity, logistic, tanh, relu), `solver` (lbfgs, sgd,
    adam), `alpha`, `batch_size`, `learning_rate` (constant, invscaling, adaptive), `learning_rate_init`, `power_t`,
    `max_iter`, `shuffle`, `random_state`, `tol`, `verbose`, `warm_start`, `momentum`, `nesterovs_momentum`,
    `early_stopping`, `validation_fraction`, `beta_1`, `beta_2`, `epsilon`, `n_iter_no_change`, `max_fun`.

    Besides:

    - `activation`: any of `gn.ACTIVATIONS`, or one for each hidden layer;
    - `solver`: an optimiser such as `gn.AdamW(0.01)`, with its own rate; `learning_rate`: a schedule such as
      `gn.Cosine(0.01)`;
    - `dropout`: the share of hidden units that sit an update out, or one for each hidden layer;
    - `class_weight`: "balanced", or a dictionary, as in scikit-learn's other classifiers;
    - `weight_decay`: weights shrink by rate x decay, beside the step of adam or sgd (Loshchilov and Hutter 2017);
    - `l1`: the objective has l1 sum|W| too, scaled as alpha is;
    - `label_smoothing` s: the target is 1 - s + s / K for its class and s / K for the others (Szegedy et al. 2015);
    - `penalty_scale`: "batch", scikit-learn's, divides alpha by the sum of the batch's weights; "samples" by that of
      all training rows, so that the objective does not depend on the batch size; "none" by nothing;
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
        keep(self, locals())

    # --- classes --------------------------------------------------------------------------------------------------

    def _validated(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[FloatArray, FloatArray]:
        if not reset or not self._takes_as_they_are(X, y, "biu"):
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
        of_class: Weights = compute_sample_weight(self.class_weight, y).astype(X.dtype)
        return of_class if weights is None else weights * of_class

    def _strata(self, targets: FloatArray) -> NDArray[Any] | None:
        if self.stratify is False or self._multilabel:
            return None
        if targets.shape[1] == 1:
            return targets[:, 0].astype(bool).astype(str)  # as scikit-learn's error names a class of one row
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

    def _scores_of(self, probabilities: FloatArray, rows: Rows) -> FloatArray:
        if self._multilabel or probabilities.shape[2] == 1:
            right = ((probabilities > 0.5) == rows.targets).all(axis=2)
        else:
            right = probabilities.argmax(axis=2) == rows.targets.argmax(axis=1)
        scores: FloatArray = np.average(right, axis=1, weights=rows.weights)
        return scores

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


class MLPRegressor(RegressorMixin, Multilayer):  # type: ignore[misc]
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
        keep(self, locals())

    def _validated(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[FloatArray, FloatArray]:
        if not reset or not self._takes_as_they_are(X, y, "biuf"):
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

    def _scores_of(self, probabilities: FloatArray, rows: Rows) -> FloatArray:
        y, weights = rows.targets.astype(np.float64), rows.weights
        residual = np.average((y - probabilities) ** 2, axis=1, weights=weights)
        spread = np.average((y - np.average(y, axis=0, weights=weights)) ** 2, axis=0, weights=weights)
        # As scikit-learn has it: an output that is the same on every row is explained wholly or not at all.
        constant = np.where(residual == 0, 1.0, 0.0)
        scores: FloatArray = np.where(spread > 0, 1 - residual / np.where(spread > 0, spread, 1.0), constant).mean(
            axis=1
        )
        return scores

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
