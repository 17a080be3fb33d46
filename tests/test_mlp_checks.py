"""scikit-learn's checks of estimators over our MLPs: what its own class passes, set in the same way, ours passes."""

from __future__ import annotations

from typing import Any

import pytest
import sklearn.neural_network as theirs
from sklearn.utils.estimator_checks import check_methods_sample_order_invariance, parametrize_with_checks

import glassnet as gn

# The checks' data are made for none of these settings: not every training gets to its end, and some have one class.
pytestmark = pytest.mark.filterwarnings("default")

SETTINGS: list[dict[str, Any]] = [
    {},
    {"solver": "lbfgs", "hidden_layer_sizes": (5,)},
    {"solver": "sgd", "learning_rate": "adaptive", "hidden_layer_sizes": 6, "activation": "tanh"},
    {"solver": "sgd", "learning_rate": "invscaling", "hidden_layer_sizes": (), "batch_size": 16},
    {"early_stopping": True, "validation_fraction": 0.3, "activation": "logistic", "hidden_layer_sizes": (8, 4)},
]
ESTIMATORS = [
    *(gn.MLPClassifier(**settings) for settings in SETTINGS),
    *(gn.MLPRegressor(**settings) for settings in SETTINGS),
    gn.MLPRegressor(loss="poisson", hidden_layer_sizes=(5,)),
]

# What scikit-learn's class does not pass either, in some of these settings; the test below holds that it does not.
NEITHER = {
    "check_array_api_input": "skipped: it is for arrays of other libraries",
    "check_classifiers_multilabel_output_format_decision_function": "skipped: there is no decision_function",
    "check_sample_weight_equivalence_on_dense_data": "repeated rows make other batches, and other validation rows",
    "check_sample_weight_equivalence_on_sparse_data": "likewise",
    "check_fit_score_takes_y": "partial_fit and early stopping are refused together",
    "check_n_features_in_after_fitting": "likewise",
    "check_estimators_partial_fit_n_features": "likewise",
    "check_classifiers_train": "the training is too short for the score that is wanted",
    "check_regressors_train": "likewise",
    "check_class_weight_classifiers": "scikit-learn's has no class_weight; ours is stopped too early here",
}


def their_own(estimator: Any) -> Any:
    """scikit-learn's class, set in the same way."""
    kind = getattr(theirs, type(estimator).__name__)
    names = set(kind().get_params())
    return kind(**{name: value for name, value in estimator.get_params().items() if name in names})


@parametrize_with_checks(ESTIMATORS)
def test_whatever_theirs_passes_ours_passes(estimator: Any, check: Any) -> None:
    try:
        check(estimator)
    except Exception:
        if check.func.__name__ not in NEITHER or theirs_passes(check, estimator):
            raise


_theirs: dict[tuple[str, str], bool] = {}


def theirs_passes(check: Any, estimator: Any) -> bool:
    """Whether scikit-learn's class does; a check that comes in several variants is tried in its first."""
    about = check.func.__name__, repr(estimator)
    if about not in _theirs:
        try:
            check(their_own(estimator))
        except Exception:
            _theirs[about] = False
        else:
            _theirs[about] = True
    return _theirs[about]


class Worse(gn.MLPClassifier):
    """Its answers are those of other rows."""

    def predict(self, X: Any) -> Any:
        return super().predict(X)[::-1]


class Check:
    """One of their checks, as it is handed to a test."""

    def __init__(self, name: str) -> None:
        self.func = type("named", (), {"__name__": name})

    def __call__(self, estimator: Any) -> None:
        check_methods_sample_order_invariance("MLPClassifier", estimator)


@pytest.mark.parametrize("name", ["check_methods_sample_order_invariance", *list(NEITHER)[:1]])
def test_a_failure_of_ours_alone_is_seen(name: str) -> None:
    Worse.__name__ = "MLPClassifier"
    Check(name)(their_own(Worse(max_iter=5)))  # which passes
    with pytest.raises(AssertionError):
        test_whatever_theirs_passes_ours_passes(Worse(max_iter=5), Check(name))
