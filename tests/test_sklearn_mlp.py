"""scikit-learn's own tests of its MLP, the installed file, with our classes in place of theirs."""

from __future__ import annotations

import importlib.util
from types import ModuleType
from typing import Any

import pytest

# What their own run lets pass, warnings of convergence that a test does not expect, is let pass here.
pytestmark = pytest.mark.filterwarnings("default")

LEFT_OUT = {
    "test_gradient": "it calls the private _loss_grad_lbfgs; test_mlp.py holds our gradients against scikit-learn's",
}
THEIRS = "from sklearn.neural_network import MLPClassifier, MLPRegressor\n"
OURS = "from glassnet.estimators.mlp import MLPClassifier, MLPRegressor\n"


def with_ours() -> ModuleType:
    """Their module of tests, its one import of the classes replaced by ours."""
    found = importlib.util.find_spec("sklearn.neural_network.tests.test_mlp")
    assert found is not None
    assert found.origin is not None
    with open(found.origin, encoding="utf-8") as file:
        text = file.read()
    assert text.count(THEIRS) == 1
    module = ModuleType("sklearn_test_mlp")
    exec(compile(text.replace(THEIRS, OURS), found.origin, "exec"), vars(module))
    return module


_MODULE = with_ours()
_TESTS = {name: item for name, item in vars(_MODULE).items() if name.startswith("test_")}
globals().update({name: test for name, test in _TESTS.items() if name not in LEFT_OUT})


@pytest.fixture
def global_random_seed() -> int:
    """scikit-learn's fixture: the seed that its own runs use where none is asked for."""
    return 42


def test_it_is_ours_that_they_test() -> None:
    import glassnet as gn

    assert _MODULE.MLPClassifier is gn.MLPClassifier
    assert _MODULE.MLPRegressor is gn.MLPRegressor


def test_what_is_left_out_is_there_and_all_else_is_run() -> None:
    assert set(LEFT_OUT) <= set(_TESTS)
    assert len(_TESTS) - len(LEFT_OUT) >= 40
    here: dict[str, Any] = globals()
    assert all(here[name] is test for name, test in _TESTS.items() if name not in LEFT_OUT)
