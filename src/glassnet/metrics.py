"""How good predictions are: what choosing among networks and reporting on them need; the rest is scikit-learn's.

Classes are whole numbers from 0 to n_classes - 1. Probabilities are (n,) for two classes, each the probability of class
1, or (n, n_classes). Every metric gives one float, scikit-learn's to rounding; where `auc` or `r2` is not defined it is
nan, while scikit-learn refuses, warns or, for `r2` of a constant target, gives 0 or 1. `row_weights` (n,) say how much
each row counts, as scikit-learn's `sample_weight`: a whole number is as good as the row so many times.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glassnet import arithmetic
from glassnet.errors import UsageError

Classes = NDArray[np.intp]
Floats = NDArray[np.float64]


def accuracy(y_true: ArrayLike, y_pred: ArrayLike, row_weights: ArrayLike | None = None) -> float:
    """The share of rows whose class is predicted right: (number of rows with y_pred = y_true) / n.

    Args:
        y_true: (n,) class numbers.
        y_pred: (n,) class numbers.

    Raises:
        UsageError: the lengths differ or are 0, or a class is not a whole number from 0 on.

    >>> accuracy([0, 1, 1, 0], [0, 1, 0, 0])
    0.75
    """
    truth, predicted = _classes("y_true", y_true), _classes("y_pred", y_pred)
    _check_same_shape(truth, predicted)
    return float(np.average(truth == predicted, weights=_weights(row_weights, len(truth))))


def f1(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    *,
    n_classes: int | None = None,
    row_weights: ArrayLike | None = None,
) -> float:
    """The harmonic mean of precision and recall: F1 = 2 TP / (2 TP + FP + FN).

    TP are the rows of a class that are predicted as it, FP the others that are, FN those of it that are not. With two
    classes it is the F1 of class 1. With more it is the mean over the classes that occur in `y_true` or `y_pred`
    ("macro"). 0 where class 1 occurs in neither, as scikit-learn with `zero_division=0`.

    Args:
        y_true: (n,) class numbers.
        y_pred: (n,) class numbers.
        n_classes: where it is left out, the largest class number that occurs and one.

    Raises:
        UsageError: as for `accuracy`, or a class number is not below `n_classes`.

    Source: van Rijsbergen, "Information Retrieval" (1979), chapter 7, with equal weights.

    >>> f1([0, 1, 1, 0], [0, 1, 0, 0])
    0.6666666666666666
    """
    truth, predicted = _classes("y_true", y_true), _classes("y_pred", y_pred)
    _check_same_shape(truth, predicted)
    largest = int(max(truth.max(), predicted.max()))
    if n_classes is None:
        n_classes = max(largest + 1, 2)
    if largest >= n_classes:
        raise UsageError(f"A class number is below n_classes, here {n_classes}; {largest} is not. Leave n_classes out.")
    weights = _weights(row_weights, len(truth))

    def counted(classes: Classes, of: NDArray[np.bool_] | slice) -> NDArray[Any]:
        return np.bincount(classes[of], None if weights is None else weights[of], minlength=n_classes)

    hits = counted(truth, truth == predicted)
    # TP + FN rows are of a class and TP + FP are predicted as it: together the denominator.
    rows = counted(truth, slice(None)) + counted(predicted, slice(None))
    scores = 2 * hits / np.where(rows > 0, rows, 1)
    return float(scores[1] if n_classes == 2 else scores[rows > 0].mean())


def auc(y_true: ArrayLike, probabilities: ArrayLike, row_weights: ArrayLike | None = None) -> float:
    """The area under the ROC curve: how often a row of the class gets a higher probability than a row of another.

    With R the sum of the ranks of the n1 rows of the class among all n1 + n0, ties sharing their mean rank,

        AUC = (R - n1 (n1 + 1) / 2) / (n1 n0).

    With more than two classes it is the mean over the classes of each one against the rest ("macro, one versus rest").

    Args:
        y_true: (n,) class numbers.
        probabilities: (n,) or (n, n_classes); any scores will do, only their order counts.

    Returns:
        From 0 to 1; 0.5 is chance. nan where it is not defined: a class has no row or all of them (so with one class
        present), or a probability is nan.

    Raises:
        UsageError: the lengths differ or are 0, or `y_true` has a class for which there is no column.

    Source: Mann & Whitney (1947); Hanley & McNeil, "The meaning and use of the area under a receiver operating
    characteristic (ROC) curve" (1982).

    >>> auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    truth, scores = _classes_and_probabilities(y_true, probabilities)
    weights = _weights(row_weights, len(truth))
    if scores.ndim == 1:
        return _auc_of_class(truth == 1, scores, weights)
    if scores.shape[1] == 2:
        return _auc_of_class(truth == 1, scores[:, 1], weights)
    return float(np.mean([_auc_of_class(truth == k, scores[:, k], weights) for k in range(scores.shape[1])]))


def _auc_of_class(
    positive: NDArray[np.bool_], scores: NDArray[np.floating[Any]], weights: Floats | None = None
) -> float:
    if weights is not None:
        # Over the different scores: the weight of the class above each, and half of that at it, meets that of the rest.
        _, place = np.unique(scores, return_inverse=True)
        of_class = np.bincount(place, weights * positive)
        of_rest = np.bincount(place, weights * ~positive)
        total = of_class.sum() * of_rest.sum()
        if total == 0 or np.isnan(scores).any():
            return float("nan")
        return float((of_class * (np.cumsum(of_rest) - of_rest / 2)).sum() / total)
    n1 = int(positive.sum())
    n0 = len(positive) - n1
    if n1 == 0 or n0 == 0 or np.isnan(scores).any():
        return float("nan")
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    # Ranks from 1; c equal scores that end at rank e share the rank e - (c - 1) / 2.
    ranks = np.cumsum(count) - (count - 1) / 2
    rank_sum = ranks[place[positive]].sum()
    return float((rank_sum - n1 * (n1 + 1) / 2) / (n1 * n0))


def log_loss(y_true: ArrayLike, probabilities: ArrayLike, row_weights: ArrayLike | None = None) -> float:
    """The mean over the rows of -log(probability of the row's class), in nats.

    A probability is first kept within [eps, 1 - eps], eps the spacing of its dtype at 1 (2.2e-16 in float64, 1.2e-7 in
    float32), as scikit-learn does: so one row that was held impossible costs 36 (16) and not infinity.

    Args:
        y_true: (n,) class numbers.
        probabilities: (n,) or (n, n_classes).

    Returns:
        0 or more; nan where a probability is nan.

    Raises:
        UsageError: the lengths differ or are 0, a probability is outside [0, 1], or `y_true` has a class for which
            there is no column.

    >>> log_loss([0, 1], [0.5, 0.5])
    0.6931471805599453
    """
    truth, p = _classes_and_probabilities(y_true, probabilities)
    outside = (p < 0) | (p > 1)
    if outside.any():
        raise UsageError(
            f"A probability is from 0 to 1; {p[outside].ravel()[0]} is not. Give probabilities, not logits or labels."
        )
    of_class = np.where(truth == 1, p, 1 - p) if p.ndim == 1 else p[np.arange(len(p)), truth]
    eps = np.finfo(p.dtype).eps
    kept = np.clip(of_class, eps, 1 - eps)
    losses = -arithmetic.log(kept.astype(np.float64))
    return float(np.average(losses, weights=_weights(row_weights, len(truth))))


def rmse(y_true: ArrayLike, y_pred: ArrayLike, row_weights: ArrayLike | None = None) -> float:
    """The root of the mean squared error, in the target's units: sqrt(sum (y_true - y_pred)**2 / n).

    Args:
        y_true: (n,) or (n, n_outputs).
        y_pred: of the same shape. With several outputs the result is the mean of their errors.

    Raises:
        UsageError: the shapes differ, or there are no rows.

    >>> rmse([1.0, 2.0], [1.0, 4.0])
    1.4142135623730951
    """
    truth, predicted = _numbers(y_true, y_pred)
    with np.errstate(all="ignore"):  # predictions of a network that diverged may be infinite, and so is their error
        squares = np.average((truth - predicted) ** 2, axis=0, weights=_weights(row_weights, len(truth)))
        return float(np.mean(np.sqrt(squares)))


def r2(y_true: ArrayLike, y_pred: ArrayLike, row_weights: ArrayLike | None = None) -> float:
    """The share of the target's variance that is explained: 1 - sum (y_true - y_pred)**2 / sum (y_true - mean)**2.

    Args:
        y_true: (n,) or (n, n_outputs).
        y_pred: of the same shape. With several outputs the result is the mean of theirs.

    Returns:
        1 where all is right, 0 for always predicting the mean, negative for worse. nan where it is not defined: an
        output's `y_true` is the same in every row (so with one row).

    Raises:
        UsageError: as for `rmse`.

    >>> r2([1.0, 2.0, 3.0], [1.0, 2.0, 4.0])
    0.5
    """
    truth, predicted = _numbers(y_true, y_pred)
    weights = _weights(row_weights, len(truth))
    counting = truth if weights is None else truth[weights > 0]
    if (counting == counting[0]).all(axis=0).any():
        return float("nan")
    with np.errstate(all="ignore"):
        mean = np.average(truth, axis=0, weights=weights)
        w = 1.0 if weights is None else weights.reshape(-1, *[1] * (truth.ndim - 1))
        unexplained = np.sum(w * (truth - predicted) ** 2, axis=0)
        variance = np.sum(w * (truth - mean) ** 2, axis=0)
        return float(np.mean(1 - unexplained / variance))


def _weights(row_weights: ArrayLike | None, n: int) -> Floats | None:
    """(n,) weights of rows, or None where every row counts the same."""
    if row_weights is None:
        return None
    weights = np.asarray(row_weights, np.float64)
    if weights.shape != (n,) or not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        raise UsageError(
            f"row_weights are ({n},) finite numbers, 0 or more and not all 0; these, of shape {weights.shape}, are not."
        )
    return weights


def _classes(name: str, values: ArrayLike) -> Classes:
    """(n,) class numbers, however they were given."""
    array = np.asarray(values)
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "biuf":
        raise UsageError(
            f"{name} holds one class number for each row, (n,) with n > 0; it is {array.dtype} {array.shape}."
            " Number the classes from 0."
        )
    wrong = ~((array >= 0) & (array < 2**31) & (np.floor(array) == array))
    if wrong.any():
        raise UsageError(
            f"{name} holds whole class numbers from 0 on; {array[wrong][0]} is not one. Number the classes from 0."
        )
    return array.astype(np.intp)


def _classes_and_probabilities(
    y_true: ArrayLike, probabilities: ArrayLike
) -> tuple[Classes, NDArray[np.floating[Any]]]:
    """(n,) class numbers and (n,) or (n, n_classes) probabilities that belong together."""
    truth = _classes("y_true", y_true)
    p: NDArray[np.floating[Any]] = np.asarray(probabilities)
    if p.dtype not in (np.float32, np.float64):
        p = p.astype(np.float64)
    if p.ndim not in (1, 2) or len(p) != len(truth) or p.shape[1:] == (1,):
        raise UsageError(
            f"Probabilities are (n,) for two classes or (n, n_classes), n = {len(truth)} as in y_true; they are"
            f" {p.shape}. Give class 1's column alone for two classes."
        )
    n_classes = 2 if p.ndim == 1 else p.shape[1]
    if truth.max() >= n_classes:
        raise UsageError(
            f"Every class has its column of probabilities; class {truth.max()} has none of the {n_classes}."
            " Give probabilities of shape (n, n_classes)."
        )
    return truth, p


def _numbers(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[Floats, Floats]:
    """The targets and the predictions of a regression, of one shape."""
    truth, predicted = np.asarray(y_true, np.float64), np.asarray(y_pred, np.float64)
    _check_same_shape(truth, predicted)
    if truth.ndim not in (1, 2) or truth.size == 0:
        raise UsageError(f"y_true is (n,) or (n, n_outputs) with n > 0; it is {truth.shape}. Give one row or more.")
    return truth, predicted


def _check_same_shape(truth: NDArray[Any], predicted: NDArray[Any]) -> None:
    """Refuse what would broadcast: (n,) beside (n, 1) gives n * n differences and a wrong answer."""
    if truth.shape != predicted.shape:
        raise UsageError(
            f"y_true and y_pred have one shape; they have {truth.shape} and {predicted.shape}. Reshape one of them."
        )
