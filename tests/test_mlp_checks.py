"""scikit-learn's checks of estimators over our MLPs, in several configurations of each."""

from __future__ import annotations

from typing import Any

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

import glassnet as gn

# The checks' data are not made for any of these settings: not every training gets to an end.
pytestmark = pytest.mark.filterwarnings("default")

SETTINGS: list[dict[str, Any]] = [
    {},
    {"solver": "lbfgs", "hidden_layer_sizes": (5,)},
    {"solver": "sgd", "learning_rate": "adaptive", "hidden_layer_sizes": 6, "activation": "tanh"},
    {"solver": "sgd", "learning_rate": "invscaling", "shuffle": False, "hidden_layer_sizes": (), "batch_size": 7},
    {"early_stopping": True, "n_iter_no_change": 5, "activation": "logistic", "hidden_layer_sizes": (8, 4)},
    {"warm_start": True, "max_iter": 30, "batch_size": 10, "hidden_layer_sizes": (7,)},
]


@parametrize_with_checks(
    [gn.MLPClassifier(**settings) for settings in SETTINGS]
    + [gn.MLPRegressor(**settings) for settings in SETTINGS]
    + [gn.MLPRegressor(loss="poisson", hidden_layer_sizes=(5,))]
)
def test_scikit_learns_own_checks(estimator: Any, check: Any) -> None:
    check(estimator)
