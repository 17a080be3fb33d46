"""`gn.Encoder` as scikit-learn's conventions want it."""

from __future__ import annotations

from typing import Any

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

import glassnet as gn

pd = pytest.importorskip("pandas")


@parametrize_with_checks([gn.Encoder(), gn.Encoder("accurate"), gn.Encoder(gn.Recipe(pieces=4))])
def test_scikit_learns_own_checks(estimator: Any, check: Any) -> None:
    check(estimator)
