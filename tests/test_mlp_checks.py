"""scikit-learn's checks of estimators over our MLPs: what its own class passes, set in the same way, ours passes."""

from __future__ import annotations

from typing import Any

import pytest
import sklearn.neural_network as theirs
from sklearn.utils.estimator_checks import parametrize_with_checks

import glassnet as gn

# The checks' data are made for none of these settings: not every training gets to its end, and some have one class.
pytestmark = pytest.mark.filterwarnings("default")

SETTINGS: list[dict[str, Any]] = [
    {},
    {"solver": "lbfgs", "hidden_layer_sizes": (5,)},
    {"solver": "sgd", "learning_rate": "adaptive", "hidden_layer_sizes": 6, "activation": "tanh"},
    {
        "solver": "sgd",
        "learning_rate": "invscaling",
        "hidden_layer_sizes": (),
        "batch_size": 7,
        "learning_rate_init": 1.0,
    },
    {"early_stopping": True, "validation_fraction": 0.3, "activation": "logistic", "hidden_layer_sizes": (8, 4)},
]
ESTIMATORS = [
    *(gn.MLPClassifier(**settings) for settings in SETTINGS),
    *(gn.MLPRegressor(**settings) for settings in SETTINGS),
    gn.MLPRegressor(loss="poisson", hidden_layer_sizes=(5,)),
]
THEIR_FAILURES = 0.1
"""The share of checks, at most, that neither passes: where it were larger these settings would prove little."""


def passes(check: Any, estimator: Any) -> bool:
    """Whether it does; a check that is skipped, for want of a library or a method, passes neither."""
    try:
        check(estimator)
    except Exception:
        return False
    return True


def their_own(estimator: Any) -> Any:
    """scikit-learn's class, set in the same way."""
    kind = getattr(theirs, type(estimator).__name__)
    names = set(kind().get_params())
    return kind(**{name: value for name, value in estimator.get_params().items() if name in names})


@parametrize_with_checks(ESTIMATORS)
def test_whatever_theirs_passes_ours_passes(estimator: Any, check: Any) -> None:
    try:
        check(estimator)
    except Exception as problem:
        if passes(check, their_own(estimator)):
            raise
        _neither.append((type(estimator).__name__, check.func.__name__, problem))


_neither: list[Any] = []


def test_few_checks_are_passed_by_neither() -> None:
    from sklearn.utils.estimator_checks import estimator_checks_generator

    n_checks = sum(1 for estimator in ESTIMATORS for _ in estimator_checks_generator(estimator))
    assert n_checks > 600
    assert len(_neither) < THEIR_FAILURES * n_checks


def test_a_failure_of_ours_alone_is_seen() -> None:
    class Worse(gn.MLPClassifier):
        def predict(self, X: Any) -> Any:
            return super().predict(X)[::-1]

    Worse.__name__ = "MLPClassifier"
    from sklearn.utils.estimator_checks import check_methods_sample_order_invariance

    class Check:
        func = check_methods_sample_order_invariance

        def __call__(self, estimator: Any) -> None:
            check_methods_sample_order_invariance("MLPClassifier", estimator)

    assert passes(Check(), their_own(Worse(max_iter=5)))
    with pytest.raises(AssertionError):
        test_whatever_theirs_passes_ours_passes(Worse(max_iter=5), Check())
