"""Every metric against scikit-learn's over generated rows; what is undefined, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from glassnet import metrics
from glassnet.errors import UsageError

# Sums of at most 60 terms in another order than scikit-learn's: some tens of roundings of 1.1e-16.
CLOSE = {"rel": 1e-12, "abs": 1e-14}


def close(value: float) -> Any:
    return pytest.approx(value, **CLOSE)


def test_close_tells_numbers_apart() -> None:
    assert close(0.7) == 0.7 + 1e-15
    assert close(0.7) != 0.7 + 1e-11
    assert close(0.7) != math.nan


@st.composite
def labels(draw: st.DrawFn, most_classes: int = 5) -> tuple[int, np.ndarray, np.ndarray]:
    """A number of classes, true classes and predicted ones; not every class need occur."""
    n_classes = draw(st.integers(2, most_classes))
    n = draw(st.integers(1, 60))
    classes = st.lists(st.integers(0, n_classes - 1), min_size=n, max_size=n)
    return n_classes, np.array(draw(classes)), np.array(draw(classes))


@st.composite
def probabilities(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """True classes, all present, and probabilities that often tie and are sometimes 0 or 1; float32 or float64."""
    n_classes = draw(st.integers(2, 4))
    n = draw(st.integers(n_classes, 60))
    rest = draw(st.lists(st.integers(0, n_classes - 1), min_size=n - n_classes, max_size=n - n_classes))
    truth = np.array([*range(n_classes), *rest])
    parts = st.lists(st.integers(0, 3), min_size=n_classes, max_size=n_classes)
    weights = np.array(draw(st.lists(parts, min_size=n, max_size=n)), np.float64)
    weights[weights.sum(axis=1) == 0] = 1
    shares = weights / weights.sum(axis=1, keepdims=True)
    return truth, shares.astype(draw(st.sampled_from([np.float64, np.float32])))


@given(labels())
@settings(max_examples=60, deadline=None)
def test_accuracy(case: tuple[int, np.ndarray, np.ndarray]) -> None:
    _, truth, predicted = case
    assert metrics.accuracy(truth, predicted) == close(oracle.accuracy_score(truth, predicted))


@given(labels())
@settings(max_examples=60, deadline=None)
def test_f1(case: tuple[int, np.ndarray, np.ndarray]) -> None:
    n_classes, truth, predicted = case
    macro = oracle.f1_score(truth, predicted, average="macro", zero_division=0)
    binary = oracle.f1_score(truth, predicted, labels=[1], average="macro", zero_division=0)
    assert metrics.f1(truth, predicted, n_classes=n_classes) == close(binary if n_classes == 2 else macro)
    two_at_most = max(truth.max(), predicted.max()) <= 1
    assert metrics.f1(truth, predicted) == close(binary if two_at_most else macro)


@given(probabilities())
@settings(max_examples=60, deadline=None)
def test_auc(case: tuple[np.ndarray, np.ndarray]) -> None:
    truth, p = case
    if p.shape[1] == 2:
        assert metrics.auc(truth, p[:, 1]) == close(oracle.roc_auc_score(truth, p[:, 1]))
        assert metrics.auc(truth, p) == metrics.auc(truth, p[:, 1])
    else:
        p = p.astype(np.float64)  # scikit-learn wants rows that add up to 1 within 1e-8
        expected = oracle.roc_auc_score(truth, p, multi_class="ovr", average="macro")
        assert metrics.auc(truth, p) == close(expected)


@given(labels(most_classes=2), st.sampled_from([np.exp, np.cbrt, np.tanh]))
@settings(max_examples=60, deadline=None)
def test_auc_is_the_share_of_pairs_in_order(case: tuple[int, np.ndarray, np.ndarray], increasing: Any) -> None:
    _, truth, ranks = case
    assume(0 < truth.sum() < len(truth))
    higher, lower = ranks[truth == 1][:, None], ranks[truth == 0][None, :]
    share = np.mean((higher > lower) + 0.5 * (higher == lower))
    assert metrics.auc(truth, ranks) == close(share)
    assert metrics.auc(truth, increasing(ranks)) == metrics.auc(truth, ranks)


@given(probabilities())
@settings(max_examples=60, deadline=None)
def test_log_loss(case: tuple[np.ndarray, np.ndarray]) -> None:
    truth, p = case
    # In float32 scikit-learn takes the logarithm and adds up in float32: about 60 roundings of 6e-8.
    expected = oracle.log_loss(truth, p)
    tolerance = 1e-12 if p.dtype == np.float64 else 1e-5
    assert metrics.log_loss(truth, p) == pytest.approx(expected, rel=tolerance, abs=tolerance)
    if p.shape[1] == 2:
        assert metrics.log_loss(truth, p[:, 1]) == pytest.approx(
            oracle.log_loss(truth, p[:, 1]), rel=tolerance, abs=tolerance
        )


@st.composite
def regressions(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Targets that vary, and predictions: (n,) or (n, n_outputs)."""
    shape = draw(st.sampled_from([(2,), (7,), (40,), (2, 1), (5, 2), (30, 3)]))
    # Whole and half numbers: differences are exact, so that r2 does not hang on cancellation.
    values = st.lists(st.integers(-20_000, 20_000), min_size=math.prod(shape), max_size=math.prod(shape))
    truth, predicted = (np.array(draw(values)).reshape(shape) / 2 for _ in range(2))
    assume(not (truth == truth[0]).all(axis=0).any())
    return truth, predicted


@given(regressions())
@settings(max_examples=60, deadline=None)
def test_rmse_and_r2(case: tuple[np.ndarray, np.ndarray]) -> None:
    truth, predicted = case
    assert metrics.rmse(truth, predicted) == close(oracle.root_mean_squared_error(truth, predicted))
    assert metrics.r2(truth, predicted) == close(oracle.r2_score(truth, predicted))
    assert metrics.rmse(truth, truth) == 0
    assert metrics.r2(truth, truth) == 1


def test_log_loss_of_the_impossible_is_finite() -> None:
    for dtype, cost in ((np.float64, 52 * math.log(2)), (np.float32, 23 * math.log(2))):
        p = np.array([0.0, 1.0], dtype)
        assert metrics.log_loss([1, 0], p) == pytest.approx(cost, rel=1e-7)
        assert metrics.log_loss([0, 1], p) == pytest.approx(float(np.finfo(dtype).eps), rel=1e-6)


def test_what_is_not_defined_is_nan() -> None:
    for one_class in ([0, 0], [1, 1]):
        assert math.isnan(metrics.auc(one_class, [0.2, 0.7]))
        assert math.isnan(metrics.auc(one_class, np.full((2, 3), 1 / 3)))
    assert math.isnan(metrics.auc([0, 1], [np.nan, 0.5]))
    assert math.isnan(metrics.log_loss([0, 1], [np.nan, 0.5]))
    assert math.isnan(metrics.r2([3.0], [2.0]))
    assert math.isnan(metrics.r2([0.1, 0.1, 0.1], [0.1, 0.2, 0.3]))  # whose mean, rounded, is not 0.1
    assert math.isnan(metrics.r2([[1, 2], [1, 3]], [[1, 2], [1, 3]]))


def test_predictions_that_diverged_give_an_infinite_error_without_a_warning() -> None:
    assert metrics.rmse([1.0, 2.0], [1e200, 0.0]) == math.inf
    assert metrics.r2([1.0, 2.0], [np.inf, 0.0]) == -math.inf
    assert math.isnan(metrics.rmse([1.0, 2.0], [np.nan, 0.0]))


def test_the_result_is_a_plain_float() -> None:
    y, p = np.array([0, 1, 1]), np.array([0.2, 0.4, 0.9], np.float32)
    for value in (
        metrics.accuracy(y, y),
        metrics.f1(y, y),
        metrics.auc(y, p),
        metrics.log_loss(y, p),
        metrics.rmse(y, p),
        metrics.r2(y, p),
    ):
        assert type(value) is float


def test_classes_may_come_as_any_kind_of_whole_number() -> None:
    for kind in (np.bool_, np.uint8, np.int64, np.float32):
        assert metrics.accuracy(np.array([0, 1, 1], kind), [0, 1, 0]) == 2 / 3


@pytest.mark.parametrize(
    ("metric", "arguments", "message"),
    [
        (metrics.accuracy, ([0, 1], [0]), "one shape"),
        (metrics.accuracy, ([], []), "n > 0"),
        (metrics.accuracy, ([[0], [1]], [0, 1]), "one class number for each row"),
        (metrics.accuracy, (["M", "B"], ["M", "B"]), "one class number for each row"),
        (metrics.accuracy, ([0.5, 1], [0, 1]), "0.5 is not one"),
        (metrics.accuracy, ([-1, 1], [0, 1]), "-1 is not one"),
        (metrics.accuracy, ([math.nan, 1], [0, 1]), "nan is not one"),
        (metrics.accuracy, ([math.inf, 1], [0, 1]), "inf is not one"),
        (metrics.auc, ([0, 1], [0.5]), "n = 2 as in y_true"),
        (metrics.auc, ([0, 1], [[0.5], [0.5]]), "class 1's column alone"),
        (metrics.auc, ([0, 2], [0.5, 0.5]), "class 2 has none of the 2"),
        (metrics.log_loss, ([0, 3], np.full((2, 3), 1 / 3)), "class 3 has none of the 3"),
        (metrics.log_loss, ([0, 1], [0.5, 1.5]), "1.5 is not"),
        (metrics.log_loss, ([0, 1], [-0.5, 1.0]), "-0.5 is not"),
        (metrics.rmse, ([1.0, 2.0], [[1.0], [2.0]]), "one shape"),
        (metrics.r2, ([], []), "n > 0"),
    ],
)
def test_refusals(metric: Any, arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        metric(*arguments)


def test_f1_refuses_a_class_beyond_n_classes() -> None:
    with pytest.raises(UsageError, match="below n_classes, here 2; 2 is not"):
        metrics.f1([0, 2], [0, 1], n_classes=2)


# Weights of rows


@st.composite
def weighted(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Classes and probabilities as `probabilities`, and weights of which some are 0, but not all of any class."""
    truth, p = draw(probabilities())
    cells = st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.0])
    weights = np.array(draw(st.lists(cells, min_size=len(truth), max_size=len(truth))))
    weights[: p.shape[1]] = np.maximum(weights[: p.shape[1]], 0.5)  # the first rows have a class each
    return truth, p, weights


@given(weighted())
@settings(max_examples=60, deadline=None)
def test_weights_are_scikit_learns(case: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    truth, p, w = case
    predicted, n_classes = p.argmax(axis=1), p.shape[1]
    assert metrics.accuracy(truth, predicted, w) == close(oracle.accuracy_score(truth, predicted, sample_weight=w))
    labels = [1] if n_classes == 2 else None
    f1 = oracle.f1_score(truth, predicted, labels=labels, average="macro", zero_division=0, sample_weight=w)
    assert metrics.f1(truth, predicted, n_classes=n_classes, row_weights=w) == close(f1)
    each = [oracle.roc_auc_score(truth == k, p[:, k], sample_weight=w) for k in range(n_classes)]
    assert metrics.auc(truth, p, w) == close(each[1] if n_classes == 2 else np.mean(each))
    if p.dtype == np.float64:  # in float32 the shares do not sum to 1 to scikit-learn's liking
        loss = oracle.log_loss(truth, p, sample_weight=w, labels=range(n_classes))
        assert metrics.log_loss(truth, p, w) == close(loss)
    y = p[:, 0].astype(np.float64)
    assert metrics.rmse(truth, y, w) == close(oracle.root_mean_squared_error(truth, y, sample_weight=w))
    assert metrics.r2(truth, y, w) == close(oracle.r2_score(truth, y, sample_weight=w))


@given(weighted())
@settings(max_examples=30, deadline=None)
def test_whole_weights_are_rows_so_many_times(case: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    truth, p, w = case
    w = np.ceil(w).astype(int)
    many_truth, many_p = np.repeat(truth, w), np.repeat(p, w, axis=0)
    for metric in (metrics.auc, metrics.log_loss):
        assert metric(truth, p, w) == close(metric(many_truth, many_p))
    predicted, many = p.argmax(axis=1), many_p.argmax(axis=1)
    assert metrics.f1(truth, predicted, row_weights=w) == close(metrics.f1(many_truth, many))
    assert metrics.accuracy(truth, predicted, w) == close(metrics.accuracy(many_truth, many))


def test_weights_that_cannot_be() -> None:
    for weights in ([1], [1, -1], [0, 0], [1, math.nan], [1, math.inf], [[1, 1]]):
        for metric in (metrics.accuracy, metrics.auc, metrics.log_loss, metrics.rmse):
            with pytest.raises(UsageError, match="row_weights"):
                metric([0, 1], [0, 1], row_weights=weights)
