"""The optimisers against loops written by hand and against SciPy; the schedules at their ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize, rosen, rosen_der

from glassnet.errors import UsageError
from glassnet.optimizers import (
    LBFGS,
    SGD,
    Adam,
    AdamW,
    Constant,
    Cosine,
    Exponential,
    InverseScaling,
    OneCycle,
    Optimizer,
    RMSprop,
    WarmUp,
)

RNG = np.random.default_rng(5)
START = RNG.normal(size=6)
GRADIENTS = RNG.normal(size=(25, 6))
MASK = np.array([1.0, 1, 1, 1, 0, 0])


def sgd(w: Any, g: Any, memory: dict, t: int, rate: float) -> Any:
    return w - rate * g


def momentum(w: Any, g: Any, memory: dict, t: int, rate: float) -> Any:
    memory["v"] = 0.9 * memory.get("v", 0) - rate * g
    return w + memory["v"]


def nesterov(w: Any, g: Any, memory: dict, t: int, rate: float) -> Any:
    memory["v"] = 0.9 * memory.get("v", 0) - rate * g
    return w + 0.9 * memory["v"] - rate * g


def adam(w: Any, g: Any, memory: dict, t: int, rate: float, decay: float = 0.0) -> Any:
    memory["m"] = 0.9 * memory.get("m", 0) + 0.1 * g
    memory["v"] = 0.999 * memory.get("v", 0) + 0.001 * g * g
    corrected = memory["m"] / (1 - 0.9**t), memory["v"] / (1 - 0.999**t)
    return w - rate * corrected[0] / (np.sqrt(corrected[1]) + 1e-8) - rate * decay * MASK * w


def adamw(w: Any, g: Any, memory: dict, t: int, rate: float) -> Any:
    return adam(w, g, memory, t, rate, decay=0.1)


def rmsprop(w: Any, g: Any, memory: dict, t: int, rate: float) -> Any:
    memory["v"] = 0.9 * memory.get("v", 0) + 0.1 * g * g
    return w - rate * g / (np.sqrt(memory["v"]) + 1e-8)


CASES: list[tuple[Optimizer, Any]] = [
    (SGD(0.1), sgd),
    (SGD(0.1, momentum=0.9), momentum),
    (SGD(0.1, momentum=0.9, nesterov=True), nesterov),
    (Adam(0.01), adam),
    (AdamW(0.01, weight_decay=0.1), adamw),
    (RMSprop(0.01), rmsprop),
]
BY_NAME = pytest.mark.parametrize(("optimizer", "by_hand"), CASES, ids=[case[1].__name__ for case in CASES])


def run(optimizer: Optimizer, start: Any, gradients: Any) -> Any:
    vector, state = start, optimizer.init(start)
    for t, gradient in enumerate(gradients, start=1):
        rate = optimizer.rate(t, len(gradients))
        vector, state = optimizer.update(vector, gradient, state, t=t, learning_rate=rate, is_weight=MASK)
    return vector


@BY_NAME
def test_as_written_by_hand(optimizer: Optimizer, by_hand: Any) -> None:
    vector, memory = START, {}
    for t, gradient in enumerate(GRADIENTS, start=1):
        vector = by_hand(vector, gradient, memory, t, optimizer.rate(t, 25))
    np.testing.assert_allclose(run(optimizer, START, GRADIENTS), vector, rtol=1e-13)
    assert np.abs(run(optimizer, START, GRADIENTS * 1.01) - vector).max() > 1e-9 or isinstance(
        optimizer, RMSprop | Adam
    )


@BY_NAME
def test_nothing_handed_in_is_changed_and_a_stack_is_its_rows(optimizer: Optimizer, by_hand: Any) -> None:
    start, gradients = START.copy(), GRADIENTS.copy()
    run(optimizer, start, gradients)
    assert (start == START).all()
    assert (gradients == GRADIENTS).all()
    stack = np.stack([START, -START, 2 * START])
    together = run(optimizer, stack, np.stack([GRADIENTS] * 3, axis=1))
    for row, alone in zip(together, stack, strict=True):
        assert row.tobytes() == run(optimizer, alone, GRADIENTS).tobytes()


@BY_NAME
def test_float32_stays(optimizer: Optimizer, by_hand: Any) -> None:
    state = optimizer.init(START.astype(np.float32))
    vector, state = optimizer.update(
        START.astype(np.float32), GRADIENTS[0].astype(np.float32), state, t=1, learning_rate=0.1
    )
    assert vector.dtype == np.float32
    assert all(value.dtype == np.float32 for value in state.values())


def test_state_is_what_is_carried() -> None:
    assert SGD().state_names == ()
    assert SGD(momentum=0.5).state_names == ("v",)
    assert Adam().state_names == AdamW().state_names == ("m", "v")


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        (Constant(0.1), {1: 0.1, 100: 0.1}),
        (Exponential(0.1, decay=0.5, every=10), {1: 0.1, 11: 0.05, 21: 0.025}),
        (InverseScaling(0.1, power=0.5), {1: 0.1, 4: 0.05, 100: 0.01}),
        (Cosine(0.1, final=0.02), {1: 0.1, 51: 0.06, 101: 0.02}),
        (WarmUp(0.1, updates=10), {1: 0.01, 5: 0.05, 10: 0.1, 100: 0.1}),
        (OneCycle(0.1), {1: 0.004, 31: 0.1, 101: 1e-5}),
    ],
)
def test_schedules_at_their_corners(schedule: Any, rates: dict[int, float]) -> None:
    for t, rate in rates.items():
        assert schedule.rate(t, 100) == pytest.approx(rate, rel=1e-12)
    every = [schedule.rate(t, 100) for t in range(1, 101)]
    assert min(every) > 0
    assert SGD(schedule).rate(7, 100) == schedule.rate(7, 100)


def test_one_cycle_rises_then_falls() -> None:
    every = np.array([OneCycle(0.1).rate(t, 100) for t in range(1, 101)])
    assert (np.diff(every[:31]) > 0).all()
    assert (np.diff(every[30:]) < 0).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda: SGD(-0.1),
        lambda: SGD("0.1"),  # type: ignore[arg-type]
        lambda: SGD(0.1, momentum=1.0),
        lambda: SGD(0.1, nesterov=True),
        lambda: Adam(beta_1=1.0),
        lambda: Adam(epsilon=-1),
        lambda: AdamW(weight_decay=float("nan")),
        lambda: RMSprop(rho=2),
        lambda: Exponential(0.1, every=0),
        lambda: OneCycle(0.1, rise=1),
        lambda: Cosine(float("inf")),
        lambda: LBFGS(history=0),
        lambda: LBFGS(history=2.5),  # type: ignore[arg-type]
    ],
)
def test_settings_out_of_range(make: Any) -> None:
    with pytest.raises(UsageError, match=r"takes|momentum|learning_rate"):
        make()


# --- L-BFGS -------------------------------------------------------------------------------------------------------


def rosenbrock(w: Any) -> tuple[float, Any]:
    return float(rosen(w)), rosen_der(w)


def ill_conditioned(w: Any) -> tuple[float, Any]:
    scale = np.geomspace(1, 1e4, len(w))
    return float(scale @ (w - 1) ** 2 / 2), scale * (w - 1)


@pytest.mark.parametrize("objective", [rosenbrock, ill_conditioned])
@pytest.mark.parametrize("n", [2, 10])
def test_lbfgs_finds_scipys_minimum(objective: Any, n: int) -> None:
    start = np.linspace(-1.2, 1.0, n)
    mine = list(LBFGS(gradient_tolerance=1e-8, change_tolerance=0.0).iterations(objective, start))
    options = {"gtol": 1e-8, "ftol": 0.0, "maxiter": 10_000, "maxfun": 100_000}
    theirs = minimize(objective, start, jac=True, method="L-BFGS-B", options=options)
    # Both stop where no slope is above 1e-8; the flattest direction of either bends by about 1, so within 1e-7.
    np.testing.assert_allclose(mine[-1].vector, theirs.x, atol=1e-7)
    assert mine[-1].value <= theirs.fun + 1e-12
    assert mine[-1].n_evaluations <= 2 * theirs.nfev + 10
    assert mine[-1].message is not None
    assert all(step.message is None for step in mine[:-1])
    assert (np.diff([step.value for step in mine]) <= 0).all()
    assert (start == np.linspace(-1.2, 1.0, n)).all()


def test_lbfgs_treats_what_is_not_finite_as_too_far() -> None:
    def walled(w: Any) -> tuple[float, Any]:
        with np.errstate(all="ignore"):
            return float(-np.log(w[0]) + w[0]), 1 - 1 / w  # NaN left of 0

    steps = list(LBFGS().iterations(walled, np.array([0.01])))
    assert all(np.isfinite(step.value) and np.isfinite(step.gradient).all() for step in steps)
    assert steps[-1].vector[0] == pytest.approx(1.0, abs=1e-4)


def test_lbfgs_says_when_there_is_nothing_to_do() -> None:
    (only,) = LBFGS().iterations(ill_conditioned, np.ones(3))
    assert only.message is not None
    assert only.n_evaluations == 1


def test_lbfgs_says_when_a_gradient_is_wrong() -> None:
    steps = list(LBFGS().iterations(lambda w: (float(w @ w), -2 * w), np.array([1.0, 2.0])))
    assert "line search" in (steps[-1].message or "") or "lower" in (steps[-1].message or "")
