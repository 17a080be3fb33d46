"""The functions beside a backpropagation in which learners slip: momentum, Adam, shuffling, scaling.

Each is found by its name, called in the order in which a training would, and held against what it should give.

    momentum(w, g, v, learning_rate, beta)                    -> w, v
    adam(w, g, m, v, t, learning_rate, beta1, beta2, epsilon) -> w, m, v
    shuffle(X, y)                                             -> X, y
    scale(X_train, X_test)                                    -> X_train, X_test

w and g may be arrays, or dicts by name; arguments are known by their names, `state` in the place of m and v too.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np

from glassnet.checking.calling import called, signature
from glassnet.checking.names import plain, words
from glassnet.checking.problems import FailedError
from glassnet.checking.report import Named
from glassnet.network import FloatArray

KINDS: dict[str, frozenset[str]] = {
    "adam": words("adam adamupdate adamstep updateadam updateparameterswithadam updatewithadam"),
    "momentum": words(
        "momentum momentumupdate momentumstep updatemomentum sgdmomentum updateparameterswithmomentum "
        "updatewithmomentum sgdwithmomentum"
    ),
    "shuffle": words("shuffle shuffledata shufflerows shuffledataset shufflexy"),
    "scale": words(
        "scale scaledata standardize standardise normalize normalise scalefeatures standardizedata normalizedata"
    ),
}
RATE, BETA_1, BETA_2, EPSILON = 0.1, 0.8, 0.9, 0.05
"""Rougher than those of a training, so that every slip shows in three steps."""
STEPS = 3

_ARGUMENTS = {
    "w": "w weights weight parameters params param theta p x", "g": "g grad grads gradient gradients dw dtheta",
    "m": "m v1 firstmoment mean mom", "v": "v velocity s v2 secondmoment vel vt",
    "state": "state cache memory optimizerstate", "t": "t step iteration i n timestep",
    "rate": "learningrate lr alpha eta", "beta_1": "beta1 b1 beta mu momentum gamma rho momentumcoefficient",
    "beta_2": "beta2 b2", "epsilon": "epsilon eps e",
}  # fmt: skip

Update = Callable[[FloatArray, dict[str, Any], int], Any]


def companions(namespace: Mapping[str, Any]) -> Iterator[tuple[str, Named | None]]:
    """The name of every companion function that there is, and its mistake, None where it is right or unknown to the
    checker: what cannot be called is left alone."""
    for name, value in namespace.items():
        kind = next((kind for kind, words in KINDS.items() if plain(name) in words), None)
        if kind is None or not inspect.isfunction(value):
            continue
        try:
            yield name, {"adam": _adam, "momentum": _momentum, "shuffle": _shuffle, "scale": _scale}[kind](value)
        except (FailedError, TypeError, ValueError, IndexError):  # of another form than the checker knows
            continue


def _gradients() -> list[FloatArray]:
    rng = np.random.Generator(np.random.Philox(key=7))
    return [rng.normal(0, 1, 4) for _ in range(STEPS)]


def _trajectory(function: Callable[..., Any], first_t: int, moments: tuple[str, ...]) -> list[FloatArray]:
    """The parameters after every step, the state handed from call to call."""
    start = np.array([0.5, -1.0, 2.0, 0.25])
    found, names = [], [one.name for one in signature(function)]
    roles = {name: next((r for r, words in _ARGUMENTS.items() if plain(name) in words.split()), None) for name in names}
    w: Any = start.copy()
    state: dict[str, Any] = {name: np.zeros(4) for name in names if roles[name] in moments}
    state |= {name: {} for name in names if roles[name] == "state"}
    for at, g in enumerate(_gradients()):
        known = {"w": w, "g": g.copy(), "t": first_t + at, "rate": RATE, "beta_1": BETA_1, "beta_2": BETA_2}
        known["epsilon"] = EPSILON
        given = {name: state.get(name, known.get(roles[name] or "")) for name in names if roles[name] or name in state}
        answer = called(function.__name__, function, **given)
        parts = list(answer) if isinstance(answer, tuple | list) else [answer]
        if parts[0] is not None:
            w = np.asarray(parts[0], float)
        for name, part in zip(state, parts[1:], strict=False):
            state[name] = part
        found.append(np.array(w, float))
    return found


def _computed(update: Update) -> list[FloatArray]:
    w: Any = np.array([0.5, -1.0, 2.0, 0.25])
    state: dict[str, Any] = {"m": np.zeros(4), "v": np.zeros(4)}
    found = []
    for at, g in enumerate(_gradients()):
        state["g"] = g
        w = w - update(g, state, at + 1)
        found.append(w)
    return found


def _agree(one: list[FloatArray], other: list[FloatArray]) -> bool:
    return all(a.shape == b.shape and np.allclose(a, b, rtol=1e-7, atol=1e-9) for a, b in zip(one, other, strict=True))


def adam_step(slip: str = "", hat: bool = False) -> Update:
    """What Adam subtracts, or what it does with a slip. `hat`: epsilon beside the root of the uncorrected v."""

    def step(g: FloatArray, state: dict[str, Any], t: int) -> Any:
        keep_1, keep_2 = (BETA_2, BETA_1) if slip == "adam-betas-exchanged" else (BETA_1, BETA_2)
        old_m = state["m"]
        state["m"] = keep_1 * state["m"] + (1 if slip == "adam-share-missing" else 1 - keep_1) * g
        square = np.abs(g) if slip == "adam-not-squared" else state["m"] ** 2 if slip == "adam-shared-state" else g * g
        old_v = old_m if slip == "adam-v-from-m" else state["v"]
        state["v"] = keep_2 * old_v + (1 if slip == "adam-share-missing" else 1 - keep_2) * square
        if slip == "adam-state-not-kept":
            state["m"], state["v"] = (1 - keep_1) * g, (1 - keep_2) * square
        at = 1 if slip == "adam-step-not-counted" else t
        m_hat, v_hat = state["m"] / (1 - keep_1**at), state["v"] / (1 - keep_2**at)
        if slip in ("adam-no-bias-correction", "adam-no-bias-correction-of-m"):
            m_hat = state["m"]
        if slip in ("adam-no-bias-correction", "adam-no-bias-correction-of-v"):
            v_hat = state["v"]
        if slip == "adam-epsilon-inside-root":
            return RATE * m_hat / np.sqrt(v_hat + EPSILON)
        if slip == "adam-root-missing":
            return RATE * m_hat / (v_hat + EPSILON)
        if hat:
            return RATE * np.sqrt(1 - keep_2**at) / (1 - keep_1**at) * state["m"] / (np.sqrt(state["v"]) + EPSILON)
        moved = RATE * m_hat / (np.sqrt(v_hat) + EPSILON)
        return -moved if slip == "adam-sign" else moved

    return step


def momentum_step(slip: str = "", averaged: bool = False) -> Update:
    """What momentum subtracts, or what it does with a slip. `averaged`: v = beta v + (1 - beta) g."""

    def step(g: FloatArray, state: dict[str, Any], t: int) -> Any:
        share = 1 - BETA_1 if averaged else 1.0
        keep = 0.0 if slip == "momentum-not-kept" else 1.0 if slip == "momentum-without-beta" else BETA_1
        state["v"] = keep * state["v"] + (-share if slip == "momentum-gradient-sign" else share) * g
        if slip == "momentum-rate-twice":
            return RATE * RATE * state["v"]
        moved = RATE * state["v"]
        return -moved if slip == "momentum-sign" else moved

    return step


_ADAM = "m <- b1 m + (1 - b1) g; v <- b2 v + (1 - b2) g^2; w <- w - rate m/(1 - b1^t) / (root of v/(1 - b2^t) + eps)"
_MOMENTUM = "v <- beta v + g; w <- w - rate v"

ADAM_SLIPS: dict[str, tuple[str, str, str]] = {
    "adam-no-bias-correction": (
        "Adam without its bias correction",
        "m and v begin at 0 and are too small at first; both are divided by 1 - beta^t.",
        "w <- w - rate m / (root of v + eps)",
    ),
    "adam-no-bias-correction-of-m": (
        "Adam without the bias correction of m",
        "m begins at 0 and is too small at first; it is divided by 1 - beta_1^t.",
        "w <- w - rate m / (root of v/(1 - b2^t) + eps)",
    ),
    "adam-no-bias-correction-of-v": (
        "Adam without the bias correction of v",
        "v begins at 0 and is too small at first; it is divided by 1 - beta_2^t.",
        "w <- w - rate m/(1 - b1^t) / (root of v + eps)",
    ),
    "adam-epsilon-inside-root": (
        "epsilon stands inside the root",
        "epsilon is added to the root of v, not to v under it.",
        "w <- w - rate m/(1 - b1^t) / root of (v/(1 - b2^t) + eps)",
    ),
    "adam-root-missing": (
        "the root is missing",
        "m is divided by the root of v, not by v.",
        "w <- w - rate m/(1 - b1^t) / (v/(1 - b2^t) + eps)",
    ),
    "adam-step-not-counted": (
        "the steps are not counted",
        "t grows by 1 each step; here the correction is always that of the first.",
        "m/(1 - b1^1) in every step",
    ),
    "adam-not-squared": (
        "the gradient is not squared",
        "v is a mean of squares.",
        "v <- b2 v + (1 - b2) |g|",
    ),
    "adam-shared-state": (
        "m and v share what they should each have",
        "v takes the square of the gradient g, not that of m.",
        "v <- b2 v + (1 - b2) m^2",
    ),
    "adam-v-from-m": (
        "v is made from m",
        "v is kept in itself: beta_2 v, not beta_2 m.",
        "v <- b2 m + (1 - b2) g^2",
    ),
    "adam-betas-exchanged": (
        "beta_1 and beta_2 are exchanged",
        "beta_1 belongs to m, beta_2 to v.",
        "m <- b2 m + (1 - b2) g",
    ),
    "adam-share-missing": (
        "the factor 1 - beta is missing",
        "m and v are means: the new gradient counts 1 - beta.",
        "m <- b1 m + g; v <- b2 v + g^2",
    ),
    "adam-state-not-kept": (
        "m and v are not kept",
        "m and v are handed from step to step.",
        "m <- (1 - b1) g; v <- (1 - b2) g^2",
    ),
    "adam-sign": ("the step goes up the loss", "The step is subtracted.", "w <- w + rate ..."),
}
MOMENTUM_SLIPS: dict[str, tuple[str, str, str]] = {
    "momentum-not-kept": (
        "the velocity is not kept",
        "The velocity of the step before is kept, times beta.",
        "v <- g",
    ),
    "momentum-without-beta": ("beta is missing", "The old velocity is multiplied by beta.", "v <- v + g"),
    "momentum-sign": ("the step goes up the loss", "The step is subtracted.", "w <- w + rate v"),
    "momentum-gradient-sign": (
        "the gradient is subtracted from the velocity",
        "The gradient is added to the velocity that is subtracted.",
        "v <- beta v - g; w <- w - rate v",
    ),
    "momentum-rate-twice": ("the learning rate is there twice", "It is a factor once.", "w <- w - rate^2 v"),
}


def _adam(function: Callable[..., Any]) -> Named | None:
    seen = [_trajectory(function, first_t, ("m", "v")) for first_t in (1, 0)]
    rights = [_computed(adam_step(hat=hat)) for hat in (False, True)]
    if any(_agree(one, right) for one, right in product(seen, rights)):
        return None
    for key, (name, sentence, wrong) in ADAM_SLIPS.items():
        if any(_agree(one, _computed(adam_step(key))) for one in seen):
            return Named(key, name, sentence, _ADAM, wrong)
    return Named("adam-unknown", "not Adam's step", "It is none of the slips that the checker knows.", _ADAM, "")


def _momentum(function: Callable[..., Any]) -> Named | None:
    seen = _trajectory(function, 1, ("m", "v"))
    for averaged in (False, True):
        if _agree(seen, _computed(momentum_step(averaged=averaged))):
            return None
    for averaged, (key, (name, sentence, wrong)) in product((False, True), MOMENTUM_SLIPS.items()):
        if _agree(seen, _computed(momentum_step(key, averaged))):
            return Named(key, name, sentence, _MOMENTUM, wrong)
    none = "It is none of the slips that the checker knows."
    return Named("momentum-unknown", "not momentum's step", none, _MOMENTUM, "")


def _shuffle(function: Callable[..., Any]) -> Named | None:
    X = np.arange(40.0).reshape(20, 2)
    y = X[:, :1] * 10
    answer = called(function.__name__, function, X, y)
    if answer is None:
        return None
    new_X, new_y = (np.asarray(part, float) for part in answer)
    if np.array_equal(np.ravel(new_y), new_X[:, 0] * 10):
        return None
    same_rows = sorted(map(tuple, new_X)) == sorted(map(tuple, np.arange(40.0).reshape(20, 2)))
    if not same_rows:
        return Named("rows-lost", "shuffling changes the rows", "Every row is there once, in another order.", "", "")
    return Named(
        "rows-shuffled-without-targets", "X is shuffled without y",
        "Every row of X keeps its target: X and y are reordered by the same permutation.",
        "X[order], y[order]", "X[order], y",
    )  # fmt: skip


_LEARNED = "What is learned from rows, a mean and a spread too, is learned from training rows; test rows only use it."


def _scale(function: Callable[..., Any]) -> Named | None:
    rng = np.random.Generator(np.random.Philox(key=9))
    train, test = rng.normal(3, 2, (30, 2)), rng.normal(5, 1, (10, 2))
    new_train, new_test = (np.asarray(p, float) for p in called(function.__name__, function, train.copy(), test.copy()))
    both = np.concatenate([train, test])
    for key, name, of_train, of_test in (
        ("", "", train, train),
        ("scaled-on-test-rows", "test rows are scaled by themselves", train, test),
        ("scaled-on-test-rows", "the scaling is learned on the test rows too", both, both),
        ("scaled-on-test-rows", "the scaling is learned on the test rows", test, test),
        ("test-rows-not-scaled", "the test rows are not scaled", train, None),
    ):
        for ddof, kind in product((0, 1), ("standard", "range")):
            right_train = _scaled(train, of_train, ddof, kind)
            right_test = test if of_test is None else _scaled(test, of_test, ddof, kind)
            if np.allclose(new_train, right_train) and np.allclose(new_test, right_test):
                return Named(key, name, _LEARNED, "(X_test - mean of train) / spread of train", "") if key else None
    return None


def _scaled(X: FloatArray, by: FloatArray, ddof: int, kind: str) -> Any:
    if kind == "range":
        return (X - by.min(axis=0)) / (by.max(axis=0) - by.min(axis=0))
    return (X - by.mean(axis=0)) / by.std(axis=0, ddof=ddof)
