"""The functions beside a backpropagation in which learners slip: momentum, Adam, shuffling, scaling.

Each is found by its name, called in the order in which a training would, and held against what it should give.

    momentum(w, g, v, learning_rate, beta)                    -> w, v
    adam(w, g, m, v, t, learning_rate, beta1, beta2, epsilon) -> w, m, v
    shuffle(X, y)                                             -> X, y
    scale(X_train, X_test)                                    -> X_train, X_test

w and g may be arrays, or dicts by name (W1, b1, ...; the gradients dW1 too); arguments are known by their names,
`state` in the place of m and v too. Momentum and Adam may also be classes, Adam(learning_rate, beta1, beta2, epsilon),
that keep m, v and t themselves and have a method update(w, g) or step(w, g).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations, product
from typing import Any

import numpy as np

from glassnet.checking.calling import called, signature
from glassnet.checking.names import plain, words
from glassnet.checking.problems import FailedError, Problem
from glassnet.checking.report import Named
from glassnet.network import FloatArray

KINDS: dict[str, frozenset[str]] = {
    "adam": words("adam adamupdate adamstep updateadam updateparameterswithadam updatewithadam adamoptimizer"),
    "momentum": words(
        "momentum momentumupdate momentumstep updatemomentum sgdmomentum updateparameterswithmomentum "
        "updatewithmomentum sgdwithmomentum momentumoptimizer"
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

METHODS = words("update step apply updateparameters updateparams call")

Update = Callable[[FloatArray, dict[str, Any], int], Any]
Trajectory = list[FloatArray]


def companions(namespace: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Named, ...]]]:
    """The name of every companion that there is, and its mistakes; what cannot be called is left alone."""
    for name, value in namespace.items():
        kind = next((kind for kind, words in KINDS.items() if plain(name) in words), None)
        if kind is None or not (inspect.isfunction(value) or (inspect.isclass(value) and kind in ("adam", "momentum"))):
            continue
        try:
            yield name, {"adam": _adam, "momentum": _momentum, "shuffle": _shuffle, "scale": _scale}[kind](value)
        except (FailedError, TypeError, ValueError, IndexError):  # of another form than the checker knows
            continue


class _Named(dict[str, Any]):
    """Arrays by the name of their parameter; dW1 is what belongs to W1."""

    def __missing__(self, key: Any) -> Any:
        if isinstance(key, str) and key.startswith("d") and key[1:] in self:
            return self[key[1:]]
        raise KeyError(key)


NAMED = ("W1", "b1", "W2", "b2")
"""The parameters of a dict. All have one shape, so that none raises where another's numbers are taken for it."""


def _start(named: bool) -> FloatArray:
    start = np.array([0.5, -1.0, 2.0, 0.25])
    return np.add.outer(np.arange(len(NAMED)) * 0.7, start) if named else start


def _gradients(named: bool, other: int | None = None) -> list[FloatArray]:
    """Those of every step; of one parameter they may be others."""
    rng = np.random.Generator(np.random.Philox(key=7))
    found: list[FloatArray] = [rng.normal(0, 1, np.shape(_start(named))) for _ in range(STEPS)]
    if other is not None:
        for g in found:
            g[other] *= -3
    return found


def _handed(array: FloatArray, named: bool) -> Any:
    return _Named(zip(NAMED, array.copy(), strict=True)) if named else array.copy()


def _taken(value: Any, named: bool) -> FloatArray:
    return np.array([value[name] for name in NAMED], float) if named else np.array(value, float)


def _trajectory(
    stepper: Callable[..., Any], first_t: int, moments: tuple[str, ...], named: bool = False, other: int | None = None
) -> Trajectory:
    """The parameters after every step, the state handed from call to call; raises `FailedError`."""
    found, names = [], [one.name for one in signature(stepper)]
    roles = {name: next((r for r, words in _ARGUMENTS.items() if plain(name) in words.split()), None) for name in names}
    w = _handed(_start(named), named)
    state: dict[str, Any] = {
        name: _handed(np.zeros_like(_start(named)), named) for name in names if roles[name] in moments
    }
    state |= {name: {} for name in names if roles[name] == "state"}
    for at, g in enumerate(_gradients(named, other)):
        known = {"w": w, "g": _handed(g, named), "t": first_t + at, **_SETTINGS}
        given = {name: state.get(name, known.get(roles[name] or "")) for name in names if roles[name] or name in state}
        answer = called(getattr(stepper, "__name__", "the step"), stepper, **given)
        parts = list(answer) if isinstance(answer, tuple | list) else [answer]
        if parts[0] is not None:
            w = parts[0]
        for name, part in zip(state, parts[1:], strict=False):
            state[name] = part
        try:
            found.append(_taken(w, named))
            w = _handed(found[-1], named)
        except (KeyError, ValueError, TypeError) as error:
            raise FailedError(Problem("shape", "The step gives no parameters.")) from error
        if found[-1].shape != np.shape(_start(named)):
            raise FailedError(Problem("shape", "The step gives parameters of another shape."))
    return found


_SETTINGS = {"rate": RATE, "beta_1": BETA_1, "beta_2": BETA_2, "epsilon": EPSILON}


def _stepper(candidate: Any) -> Callable[..., Any]:
    """A function itself; of a class the method that takes a step, of a new object."""
    if not inspect.isclass(candidate):
        function: Callable[..., Any] = candidate
        return function
    given: dict[str, Any] = {}
    for one in signature(candidate):
        role = next((role for role, words in _ARGUMENTS.items() if plain(one.name) in words.split()), None)
        if role in _SETTINGS:
            given[one.name] = _SETTINGS[role]
        elif one.default is one.empty:
            raise FailedError(Problem("argument", f"{candidate.__name__} asks for {one.name}."))
    made = called(candidate.__name__, candidate, **given)
    method = next((name for name in dir(candidate) if plain(name) in METHODS and callable(getattr(made, name))), None)
    if method is None:
        raise FailedError(Problem("nothing", f"{candidate.__name__} has no method that takes a step."))
    found: Callable[..., Any] = getattr(made, method)
    return found


def _seen(candidate: Any, first_t: int, moments: tuple[str, ...]) -> tuple[Trajectory, bool]:
    """The trajectory in the form that the candidate takes, and whether that is a dict; raises `FailedError`."""
    try:
        return _trajectory(_stepper(candidate), first_t, moments), False
    except FailedError:
        return _trajectory(_stepper(candidate), first_t, moments, named=True), True


def _shares(candidate: Any, seen: Trajectory, moments: tuple[str, ...], named: bool) -> str | None:
    """What is shared that should not be: between the parameters, or between two objects; None where nothing is."""
    for other in range(len(NAMED)) if named else ():
        found = _trajectory(_stepper(candidate), 1, moments, named, other)
        for one, two in zip(seen, found, strict=True):
            if not np.array_equal(np.delete(one, other, 0), np.delete(two, other, 0), equal_nan=True):
                return "parameters"
    if inspect.isclass(candidate):
        again = _trajectory(_stepper(candidate), 1, moments, named)
        if any(not np.array_equal(one, two, equal_nan=True) for one, two in zip(seen, again, strict=True)):
            return "objects"
    return None


def _computed(update: Update, named: bool = False) -> Trajectory:
    w: Any = _start(named)
    state: dict[str, Any] = {"m": np.zeros_like(w), "v": np.zeros_like(w)}
    found = []
    with np.errstate(all="ignore"):  # the root of a v that was not squared
        for at, g in enumerate(_gradients(named)):
            w = w - update(g, state, at + 1)
            found.append(w)
    return found


def _agree(one: Trajectory, other: Trajectory) -> bool:
    return all(
        a.shape == b.shape and np.allclose(a, b, rtol=1e-7, atol=1e-9, equal_nan=True)
        for a, b in zip(one, other, strict=True)
    )


def adam_step(slips: Collection[str] = (), hat: bool = False, other: bool = False) -> Update:
    """What Adam subtracts, or what it does with slips. `hat`: epsilon beside the root of the uncorrected v.

    `other`: the slip's other way: |g| in place of g^2, not g; v from the new m, not the old one.
    """

    def step(g: FloatArray, state: dict[str, Any], t: int) -> Any:
        keep_1, keep_2 = (BETA_2, BETA_1) if "adam-betas-exchanged" in slips else (BETA_1, BETA_2)
        share_1, share_2 = (1.0, 1.0) if "adam-share-missing" in slips else (1 - keep_1, 1 - keep_2)
        old_m, old_v = state["m"], state["v"]
        if "adam-state-not-kept" in slips:
            old_m, old_v = np.zeros_like(g), np.zeros_like(g)
        m = keep_1 * old_m + share_1 * g
        square = m**2 if "adam-shared-state" in slips else g * g
        if "adam-not-squared" in slips:
            square = np.abs(g) if other else g
        if "adam-v-from-m" in slips:
            old_v = m if other else old_m
        v = keep_2 * old_v + share_2 * square
        state["m"], state["v"] = m, v
        at = 1 if "adam-step-not-counted" in slips else t
        both = "adam-no-bias-correction" in slips
        of_m = 1.0 if both or "adam-no-bias-correction-of-m" in slips else 1 - keep_1**at
        of_v = 1.0 if both or "adam-no-bias-correction-of-v" in slips else 1 - keep_2**at
        if "adam-epsilon-inside-root" in slips:
            root = np.sqrt(v / of_v + EPSILON)
        elif "adam-root-missing" in slips:
            root = v / of_v + EPSILON
        else:
            root = (np.sqrt(v) + EPSILON) / np.sqrt(of_v) if hat else np.sqrt(v / of_v) + EPSILON
        moved = RATE * m / of_m / root
        return -moved if "adam-sign" in slips else moved

    return step


def momentum_step(slips: Collection[str] = (), averaged: bool = False) -> Update:
    """What momentum subtracts, or what it does with slips. `averaged`: v = beta v + (1 - beta) g."""

    def step(g: FloatArray, state: dict[str, Any], t: int) -> Any:
        share = 1 - BETA_1 if averaged else 1.0
        keep = 0.0 if "momentum-not-kept" in slips else 1.0 if "momentum-without-beta" in slips else BETA_1
        state["v"] = keep * state["v"] + (-share if "momentum-gradient-sign" in slips else share) * g
        moved = (RATE * RATE if "momentum-rate-twice" in slips else RATE) * state["v"]
        return -moved if "momentum-sign" in slips else moved

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


def _shared(shared: str, of: str, equation: str) -> Named:
    if shared == "parameters":
        return Named(
            f"{of}-shared-state", "the parameters share one state",
            "Every parameter has its own running means, under its own name; here those of one go into another's step.",
            equation, "the same m, v for every parameter",
        )  # fmt: skip
    return Named(
        f"{of}-shared-state", "two optimisers share one state",
        "What is kept between steps belongs to the object, self.m = ... in __init__. Written in the class itself, it "
        "is that of all objects, and a second training goes on with the first one's.",
        equation, "the same m, v for every object",
    )  # fmt: skip


def _adam(candidate: Any) -> tuple[Named, ...]:
    first, named = _seen(candidate, 1, ("m", "v"))
    shared = _shares(candidate, first, ("m", "v"), named)
    seen = [first] if shared else [first, _trajectory(_stepper(candidate), 0, ("m", "v"), named)]
    ways = [partial(adam_step, hat=hat, other=other) for hat, other in product((False, True), repeat=2)]
    return _slips("adam", ADAM_SLIPS, _ADAM, ways, seen, named, shared)


def _momentum(candidate: Any) -> tuple[Named, ...]:
    seen, named = _seen(candidate, 1, ("m", "v"))
    shared = _shares(candidate, seen, ("m", "v"), named)
    ways = [partial(momentum_step, averaged=averaged) for averaged in (False, True)]
    return _slips("momentum", MOMENTUM_SLIPS, _MOMENTUM, ways, [seen], named, shared)


def _slips(
    of: str,
    known: Mapping[str, tuple[str, str, str]],
    right: str,
    ways: Sequence[Callable[[Collection[str]], Update]],
    seen: Sequence[Trajectory],
    named: bool,
    shared: str | None,
) -> tuple[Named, ...]:
    """None, one or two slips that give the steps that were seen, in one of the `ways` to write the optimiser.

    Of parameters that share their state only the first one's first step is free of the others.
    """
    beside = (_shared(shared, of, right),) if shared else ()
    kept = [[one[0][0]] for one in seen] if shared == "parameters" else seen
    for n in range(2 if shared else 3):
        for way, slips in product(ways, combinations(known, n)):
            steps = _computed(way(slips), named)
            if any(_agree(one, [steps[0][0]] if shared == "parameters" else steps) for one in kept):
                return (*beside, *(Named(slip, *known[slip][:2], right, known[slip][2]) for slip in slips))
    title = "Adam" if of == "adam" else of
    unknown = "It is none of the slips that the checker knows."
    return beside or (Named(f"{of}-unknown", f"not {title}'s step", unknown, right, ""),)


def _shuffle(function: Callable[..., Any]) -> tuple[Named, ...]:
    X = np.arange(40.0).reshape(20, 2)
    y = X[:, :1] * 10
    answer = called(function.__name__, function, X, y)
    if answer is None:
        return ()
    new_X, new_y = (np.asarray(part, float) for part in answer)
    if np.array_equal(np.ravel(new_y), new_X[:, 0] * 10):
        return ()
    same_rows = sorted(map(tuple, new_X)) == sorted(map(tuple, np.arange(40.0).reshape(20, 2)))
    if not same_rows:
        return (Named("rows-lost", "shuffling changes the rows", "Every row is there once, in another order.", "", ""),)
    return (
        Named(
            "rows-shuffled-without-targets",
            "X is shuffled without y",
            "Every row of X keeps its target: X and y are reordered by the same permutation.",
            "X[order], y[order]",
            "X[order], y",
        ),
    )


_LEARNED = "What is learned from rows, a mean and a spread too, is learned from training rows; test rows only use it."


def _scale(function: Callable[..., Any]) -> tuple[Named, ...]:
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
                wrong = Named(key, name, _LEARNED, "(X_test - mean of train) / spread of train", "")
                return (wrong,) if key else ()
    return ()


def _scaled(X: FloatArray, by: FloatArray, ddof: int, kind: str) -> Any:
    if kind == "range":
        return (X - by.min(axis=0)) / (by.max(axis=0) - by.min(axis=0))
    return (X - by.mean(axis=0)) / by.std(axis=0, ddof=ddof)
