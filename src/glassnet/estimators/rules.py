"""What the parameters of the MLPs may be."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import numpy as np

from glassnet.errors import UsageError
from glassnet.optimizers import Optimizer, Schedule

_SOLVERS = ("lbfgs", "sgd", "adam")
_RATES = ("constant", "invscaling", "adaptive")


def _number(low: float, high: float = math.inf, *, open_below: bool = False) -> Callable[[Any], bool]:
    def fits(value: Any) -> bool:
        if type(value) not in (float, int) and (not isinstance(value, Real) or isinstance(value, bool)):
            return False
        number = float(value)
        return (low < number if open_below else low <= number) and number < high

    return fits


def _whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1


def _one_of(*names: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and value in names


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _truth(value: Any) -> bool:
    return isinstance(value, bool | np.bool_)


_NOT_NEGATIVE = (_number(0), "a number, 0 or more")
_SHARE = (_number(0, 1), "a number from 0 to less than 1")
_COUNT = (_whole, "a whole number, 1 or more")
_FLAG = (_truth, "True or False")

_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "loss": (_text, "a name (hidden_layer_sizes is the parameter after it)"),
    "activation": (
        lambda value: _text(value) or (isinstance(value, list | tuple) and all(map(_text, value))),
        "a name, or one for each hidden layer",
    ),
    "solver": (
        lambda value: isinstance(value, Optimizer) or _one_of(*_SOLVERS)(value),
        f"one of {', '.join(_SOLVERS)}, or an optimiser such as gn.AdamW()",
    ),
    "alpha": _NOT_NEGATIVE,
    "batch_size": (
        lambda value: _one_of("auto")(value) or _whole(value),
        "'auto', or a whole number, 1 or more",
    ),
    "learning_rate": (
        lambda value: isinstance(value, Schedule) or _one_of(*_RATES)(value),
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
    "penalty_scale": (_one_of("batch", "samples", "none"), "one of batch, samples, none"),
    "monitor": (_one_of("score", "loss"), "score or loss"),
    "stratify": (lambda value: _one_of("auto")(value) or _truth(value), "'auto', True or False"),
    "callbacks": (
        lambda value: value is None or (isinstance(value, list | tuple) and all(map(callable, value))),
        "a list of functions, each of one Step",
    ),
    "n_starts": _COUNT,
    "combine": (_one_of("best", "average"), "best or average"),
    "one_class": (_one_of("warn", "refuse"), "warn or refuse"),
}  # fmt: skip


def check_parameters(estimator: Any) -> None:
    """Raise `UsageError` for a parameter that cannot be meant, or for two that do not go together."""
    given = vars(estimator)
    for name, (fits, rule) in _RULES.items():
        if name in given and not fits(given[name]):
            raise UsageError(f"{type(estimator).__name__} takes as {name} {rule}; got {given[name]!r}.")
    solver, with_dropout = estimator.solver, bool(np.any(estimator.dropout))
    if estimator.weight_decay and solver not in ("adam", "sgd"):
        raise UsageError(
            "weight_decay makes weights shrink beside the step of solver 'adam' or 'sgd'; got it with "
            f"{solver!r}. " + ("Penalise by alpha." if solver == "lbfgs" else "Give gn.AdamW or gn.SGDW their own.")
        )
    if solver == "lbfgs" and (with_dropout or estimator.callbacks):
        raise UsageError(
            "L-BFGS searches along lines through all rows, so it has no use for "
            f"{'dropout' if with_dropout else 'callbacks'}; got both. Take solver='adam' or 'sgd'."
        )
    if estimator.callbacks and estimator.n_starts > 1:
        raise UsageError(f"callbacks follow one training; n_starts={estimator.n_starts} makes several. Leave one out.")
