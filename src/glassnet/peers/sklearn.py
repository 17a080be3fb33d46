"""The baseline: scikit-learn's logistic regression, a network without a hidden layer."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import ArrayLike

from glassnet.peers import PeerResult, scored


def logistic_regression(X_train: ArrayLike, y_train: ArrayLike, X_test: ArrayLike, y_test: ArrayLike) -> PeerResult:
    """Logistic regression as scikit-learn comes (l2 penalty, C = 1), scored on the test rows.

    X (n, n_features), y (n, 1) or (n,) of 0 and 1. The columns are scaled first, by the training rows' mean and
    standard deviation: the penalty treats all alike.

    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [[0], [0], [1], [1]]
    >>> logistic_regression(X, y, X, y).accuracy
    1.0
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    begun = time.perf_counter()
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(np.asarray(X_train), np.ravel(y_train))
    seconds = time.perf_counter() - begun
    probabilities = model.predict_proba(np.asarray(X_test))[:, 1]
    return scored("logistic regression", y_test, probabilities, seconds)
