"""The optimisers against loops written by hand, the schedules at their ends, L-BFGS against SciPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

from glassnet.errors import UsageError
from glassnet.network import Network, Parameters
from glassnet.optimizers import (
    LBFGS,
    SGD,
    SGDW,
    Adam,
    AdamW,
    Constant,
    Cosine,
    Exponential,
    FoldedAdam,
    InverseScaling,
    LBFGSStep,
    OneCycle,
    Optimizer,
    RMSprop,
    Schedule,
    WarmUp,
)
from glassnet.reference import backward

FIRST_ORDER = [
    SGD(0.1),
    SGD(0.1, momentum=0.9),
    SGD(0.1, momentum=0.8, nesterov=True),
    SGDW(0.1, weight_decay=0.3),
    SGDW(0.1, momentum=0.9),
    SGDW(0.1, momentum=0.8, nesterov=True, weight_decay=0.3),
    Adam(0.05),
    AdamW(0.05),
    AdamW(0.02, beta_1=0.7, weight_decay=0.3),
    FoldedAdam(0.05),
    FoldedAdam(0.02, epsilon=1e-2, weight_decay=0.3),
    RMSprop(0.01),
    RMSprop(0.02, rho=0.5, epsilon=1e-3),
]
EACH = pytest.mark.parametrize("optimizer", FIRST_ORDER, ids=repr)


def _gradients(n_updates: int, *shape: int, dtype: Any = np.float64) -> np.ndarray:
    rng = np.random.default_rng(4)
    return (rng.normal(size=(n_updates, *shape)) * 10 ** rng.uniform(-3, 2, shape)).astype(dtype)


def _followed(optimizer: Optimizer, start: np.ndarray, gradients: np.ndarray, mask: Any = None) -> np.ndarray:
    vector, state, path = start, optimizer.init(start), []
    for t, gradient in enumerate(gradients, start=1):
        vector, state = optimizer.update(
            vector, gradient, state, t=t, learning_rate=optimizer.rate(t, len(gradients)), is_weight=mask
        )
        path.append(vector)
    return np.array(path)


# --- each by hand: one parameter at a time, plain Python floats -----------------------------------------------------


def _sgd_by_hand(o: Any, w: float, gradients: list[float], is_weight: bool) -> float:
    velocity = 0.0
    for g in gradients:
        velocity = o.momentum * velocity - o.learning_rate * g
        if isinstance(o, SGDW) and is_weight:
            w -= o.learning_rate * o.weight_decay * w
        w += o.momentum * velocity - o.learning_rate * g if o.nesterov else velocity
    return w


def _adam_by_hand(o: Any, w: float, gradients: list[float], is_weight: bool) -> float:
    m = v = 0.0
    for t, g in enumerate(gradients, start=1):
        m = o.beta_1 * m + (1 - o.beta_1) * g
        v = o.beta_2 * v + (1 - o.beta_2) * g * g
        step = m / (1 - o.beta_1**t) / (math.sqrt(v / (1 - o.beta_2**t)) + o.epsilon)
        if isinstance(o, FoldedAdam):
            step = math.sqrt(1 - o.beta_2**t) / (1 - o.beta_1**t) * m / (math.sqrt(v) + o.epsilon)
        if isinstance(o, AdamW) and is_weight:
            w -= o.learning_rate * o.weight_decay * w  # decoupled: of the weight before the step
        w -= o.learning_rate * step
    return w


def _rmsprop_by_hand(o: Any, w: float, gradients: list[float], is_weight: bool) -> float:
    v = 0.0
    for g in gradients:
        v = o.rho * v + (1 - o.rho) * g * g
        w -= o.learning_rate * g / (math.sqrt(v) + o.epsilon)
    return w


BY_HAND: dict[type, Callable[..., float]] = {
    SGD: _sgd_by_hand, SGDW: _sgd_by_hand, Adam: _adam_by_hand, AdamW: _adam_by_hand, FoldedAdam: _adam_by_hand,
    RMSprop: _rmsprop_by_hand,
}  # fmt: skip


@EACH
def test_against_a_loop_by_hand(optimizer: Any) -> None:
    start, gradients = np.array([1.0, -2.0, 0.5, 3.0]), _gradients(60, 4)
    mask = np.array([True, True, False, False])
    end = _followed(optimizer, start, gradients, mask)[-1]
    by_hand = [
        BY_HAND[type(optimizer)](optimizer, w, g.tolist(), is_weight)
        for w, g, is_weight in zip(start.tolist(), gradients.T, mask.tolist(), strict=True)
    ]
    # Sixty updates whose roundings differ in order; parameters of up to a few hundred with plain descent.
    np.testing.assert_allclose(end, by_hand, rtol=1e-12)


def test_the_loop_by_hand_can_fail() -> None:
    start, gradients = np.array([1.0]), _gradients(5, 1)
    end = _followed(Adam(0.05), start, gradients)[-1]
    assert abs(end[0] - _adam_by_hand(Adam(0.05, epsilon=1e-5), 1.0, gradients[:, 0].tolist(), True)) > 1e-9


# --- published semantics -------------------------------------------------------------------------------------------


def test_plain_descent_is_one_line() -> None:
    assert SGD(0.5).equations == (("w", "w - learning_rate * g"),)
    assert SGD(0.5).state_names == ()
    assert _followed(SGD(0.5), np.array([2.0]), np.array([[1.0], [1.0]])).ravel().tolist() == [1.5, 1.0]


def test_momentum_reaches_the_published_terminal_velocity() -> None:
    """Under a constant gradient the velocity tends to learning_rate / (1 - momentum) (Goodfellow et al., 8.3.2)."""
    for nesterov in (False, True):
        path = _followed(SGD(0.01, momentum=0.9, nesterov=nesterov), np.zeros(1), np.ones((400, 1)))
        assert path[-2, 0] - path[-1, 0] == pytest.approx(0.01 / (1 - 0.9), rel=1e-9)


def test_nesterov_is_the_gradient_taken_ahead() -> None:
    """Sutskever et al. 2013, equations 3 and 4: the gradient at theta + momentum v; ours follows theta + momentum v."""
    momentum, rate = 0.9, 0.05
    theta, velocity = 3.0, 0.0
    optimizer = SGD(rate, momentum=momentum, nesterov=True)
    ahead, state = np.array([theta]), optimizer.init(np.array([theta]))
    for t in range(1, 30):
        velocity = momentum * velocity - rate * 2 * (theta + momentum * velocity)
        theta += velocity
        ahead, state = optimizer.update(ahead, 2 * ahead, state, t=t, learning_rate=rate)
        assert ahead[0] == pytest.approx(theta + momentum * velocity, rel=1e-12)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
def test_adam_s_first_step_is_the_rate_whatever_the_gradient_s_size(scale: float) -> None:
    """Kingma and Ba 2014, section 2.1: |step| is about the learning rate; here exactly g / (|g| + epsilon) of it."""
    g = np.array([-3.0, 5.0]) * scale
    path = _followed(Adam(0.01), np.zeros(2), g[np.newaxis])
    np.testing.assert_allclose(path[0], -0.01 * g / (np.abs(g) + 1e-8), rtol=1e-12)


def test_adam_under_a_constant_gradient_walks_in_equal_steps() -> None:
    """With both corrections m_hat = g and v_hat = g^2 at every t: what the bias correction is for."""
    path = _followed(Adam(0.01, epsilon=0.0), np.zeros(1), np.full((50, 1), 7.0))
    np.testing.assert_allclose(path[:, 0], -0.01 * np.arange(1, 51), rtol=1e-12)


def test_adamw_without_a_gradient_shrinks_weights_alone() -> None:
    """Loshchilov and Hutter 2017, algorithm 2: w <- (1 - rate x decay) w, untouched by the second moment."""
    start = np.array([2.0, 2.0])
    path = _followed(AdamW(0.1, weight_decay=0.5), start, np.zeros((3, 2)), np.array([True, False]))
    np.testing.assert_allclose(path[:, 0], 2 * 0.95 ** np.arange(1, 4), rtol=1e-14)
    assert (path[:, 1] == 2).all()
    np.testing.assert_array_equal(
        _followed(AdamW(0.1, weight_decay=0.0), start, _gradients(9, 2)), _followed(Adam(0.1), start, _gradients(9, 2))
    )


def test_rmsprop_forgets_the_scale_of_the_gradient() -> None:
    gradients = _gradients(40, 3)
    paths = [_followed(RMSprop(0.01, epsilon=0.0), np.zeros(3), gradients * scale)[-1] for scale in (1, 2**20)]
    np.testing.assert_array_equal(*paths)


# --- purity, stacks, dtypes ----------------------------------------------------------------------------------------


@EACH
def test_nothing_handed_in_is_changed(optimizer: Optimizer) -> None:
    vector, gradient = np.linspace(-1, 1, 5), np.linspace(2, 3, 5)
    state = {name: np.full(5, 0.5) for name in optimizer.state_names}
    mask = np.array([1, 1, 1, 0, 0], bool)
    for array in (vector, gradient, mask, *state.values()):
        array.flags.writeable = False
    new, new_state = optimizer.update(vector, gradient, state, t=3, learning_rate=0.1, is_weight=mask)
    assert new.flags.writeable
    assert not np.shares_memory(new, vector)
    for name, values in new_state.items():
        assert not np.shares_memory(values, state[name])
        assert (state[name] == 0.5).all()


@EACH
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_stack_gives_the_same_bits_as_one_by_one(optimizer: Optimizer, dtype: Any) -> None:
    start = np.random.default_rng(1).normal(size=(7, 13)).astype(dtype)
    gradients, mask = _gradients(11, 7, 13, dtype=dtype), np.arange(13) % 3 > 0
    together = _followed(optimizer, start, gradients, mask)
    assert together.dtype == dtype
    for i in range(7):
        alone = _followed(optimizer, start[i], gradients[:, i], mask)
        assert alone.tobytes() == np.ascontiguousarray(together[:, i]).tobytes()


@EACH
def test_float32_stays_and_follows_float64(optimizer: Optimizer) -> None:
    start, gradients = np.linspace(-1, 1, 6), _gradients(30, 6)
    state = optimizer.init(start.astype(np.float32))
    assert all(values.dtype == np.float32 for values in state.values())
    for mask in (None, np.ones(6), np.ones(6, bool)):  # a float64 mask, and rates from NumPy, change nothing
        new, state = optimizer.update(
            start.astype(np.float32), gradients[0].astype(np.float32), state, t=1, learning_rate=np.float64(0.1),
            is_weight=mask,
        )  # fmt: skip
        assert {new.dtype, *(values.dtype for values in state.values())} == {np.dtype(np.float32)}
    single = _followed(optimizer, start.astype(np.float32), gradients.astype(np.float32))[-1]
    # Thirty steps, each rounded to 6e-8 of numbers of up to some hundred; 1 - beta_2 is 4e-5 off in float32.
    exact = _followed(optimizer, start, gradients)[-1]
    np.testing.assert_allclose(single, exact, rtol=1e-4, atol=1e-5 * np.abs(exact).max())


def test_settings_from_numpy_are_plain_numbers_afterwards() -> None:
    optimizer = Adam(np.float64(0.1), beta_1=np.float32(0.5))
    assert type(optimizer.learning_rate) is float
    assert type(optimizer.settings["beta_1"]) is float
    assert type(LBFGS(history=np.int64(5)).history) is int
    assert optimizer == Adam(0.1, beta_1=0.5)


@EACH
def test_the_state_is_what_the_equations_carry(optimizer: Optimizer) -> None:
    of_sgd = ("v",) if getattr(optimizer, "momentum", 0) else ()
    expected = {SGD: of_sgd, SGDW: of_sgd, RMSprop: ("v",)}
    assert optimizer.state_names == expected.get(type(optimizer), ("m", "v"))
    assert set(optimizer.init(np.zeros(2))) == set(optimizer.state_names)


@pytest.mark.parametrize(
    ("make", "fragment"),
    [
        (lambda: SGD(-1), "SGD takes learning_rate from 0 to less than inf; got -1"),
        (lambda: SGD(math.inf), "got inf"),
        (lambda: SGD(math.nan), "got nan"),
        (lambda: SGD("0.1"), "got '0.1'"),
        (lambda: SGD(True), "got True"),
        (lambda: SGD(np.array([0.1])), "learning_rate"),
        (lambda: SGD(0.1, momentum=1), "momentum from 0 to less than 1; got 1"),
        (lambda: SGD(0.1, nesterov=True), "Give a momentum, 0.9 say."),
        (lambda: Adam(beta_1=1.0), "beta_1 from 0 to less than 1"),
        (lambda: Adam(beta_2=-0.1), "beta_2"),
        (lambda: Adam(epsilon=-1e-8), "epsilon"),
        (lambda: AdamW(weight_decay=-1), "AdamW takes weight_decay"),
        (lambda: SGDW(weight_decay=-1), "SGDW takes weight_decay"),
        (lambda: RMSprop(rho=2), "rho"),
        (lambda: LBFGS(history=0), "LBFGS takes history from 1"),
        (lambda: LBFGS(history=2.5), "LBFGS takes a whole number as history; got 2.5"),
        (lambda: LBFGS(max_line_search=0), "max_line_search"),
        (lambda: LBFGS(gradient_tolerance=-1), "gradient_tolerance"),
        (lambda: LBFGS(change_tolerance=math.nan), "change_tolerance"),
        (lambda: Exponential(0.1, decay=0), "decay"),
        (lambda: Exponential(0.1, every=0), "every"),
        (lambda: WarmUp(0.1, updates=0), "updates"),
        (lambda: OneCycle(0.1, rise=1), "rise"),
        (lambda: OneCycle(0.1, start_divisor=0.5), "start_divisor"),
        (lambda: Cosine(-0.1), "initial"),
    ],
)
def test_settings_out_of_range_are_refused(make: Callable[[], object], fragment: str) -> None:
    with pytest.raises(UsageError) as caught:
        make()
    assert fragment in str(caught.value)


def test_optimisers_are_frozen_and_hashable() -> None:
    for optimizer in (*FIRST_ORDER, LBFGS()):
        assert len({optimizer, optimizer}) == 1
        with pytest.raises(FrozenInstanceError):
            setattr(optimizer, fields(optimizer)[0].name, 1)
    assert not isinstance(LBFGS(), Optimizer)


# --- schedules -----------------------------------------------------------------------------------------------------

N = 100


@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        (Constant(0.1), {1: 0.1, 51: 0.1, 100: 0.1}),
        (Exponential(0.1, decay=0.5, every=10), {1: 0.1, 11: 0.05, 51: 0.1 / 32, 100: 0.1 * 0.5**9.9}),
        (InverseScaling(0.1), {1: 0.1, 4: 0.05, 49: 0.1 / 7, 100: 0.01}),
        (InverseScaling(0.1, power=0), {1: 0.1, 100: 0.1}),
        (Cosine(0.1, final=0.02), {1: 0.1, 26: 0.06 + 0.04 * math.sqrt(0.5), 51: 0.06, 101: 0.02}),
        (WarmUp(0.1, updates=20), {1: 0.005, 10: 0.05, 20: 0.1, 21: 0.1, 100: 0.1}),
        (OneCycle(0.1), {1: 0.004, 16: 0.052, 31: 0.1, 66: (0.1 + 1e-5) / 2, 101: 1e-5}),
        (OneCycle(0.1, rise=0.5, start_divisor=10, end_divisor=100), {1: 0.01, 51: 0.1, 76: 0.0505, 101: 0.001}),
    ],
    ids=repr,
)
def test_schedules_at_their_start_middle_and_end(schedule: Schedule, values: dict[int, float]) -> None:
    for t, expected in values.items():
        assert schedule.rate(t, N) == pytest.approx(expected, rel=1e-12)
        assert type(schedule.rate(t, N)) is float
        assert SGD(schedule).rate(t, N) == schedule.rate(t, N)


RATES = st.floats(1e-6, 10)


@settings(deadline=None, max_examples=60)
@given(RATES, st.integers(1, 300), st.floats(0.1, 0.9), st.data())
def test_schedules_rise_and_fall_as_said(rate: float, n: int, share: float, data: st.DataObject) -> None:
    def rates(schedule: Schedule) -> np.ndarray:
        return np.array([schedule.rate(t, n) for t in range(1, n + 1)])

    falling = [Exponential(rate, share, 7), InverseScaling(rate, share), Cosine(rate, rate * share), Constant(rate)]
    for schedule in falling:
        values = rates(schedule)
        assert (np.diff(values) <= 0).all()
        assert values[0] == pytest.approx(rate, rel=1e-12)
        assert ((values > 0) & (values <= rate * (1 + 1e-12))).all()
    rising = rates(WarmUp(rate, data.draw(st.integers(1, 400))))
    assert (np.diff(rising) >= 0).all()
    assert rising.max() <= rate
    cycle = rates(OneCycle(rate, rise=share))
    peak = int(np.ceil(share * n - 1e-9))
    assert (np.diff(cycle[:peak]) >= 0).all()
    assert (np.diff(cycle[peak:]) <= rate * 1e-12).all()
    assert ((cycle > 0) & (cycle <= rate * (1 + 1e-12))).all()


# --- L-BFGS --------------------------------------------------------------------------------------------------------

Objective = Callable[[np.ndarray], tuple[float, np.ndarray]]


def _last(optimizer: LBFGS, objective: Objective, start: np.ndarray, most: int = 20_000) -> LBFGSStep:
    for iteration, step in enumerate(optimizer.iterations(objective, start)):
        assert iteration <= most
        assert np.isfinite(step.value)
        last = step
    assert last.message is not None
    return last


def _scipy(objective: Objective, start: np.ndarray, optimizer: LBFGS) -> Any:
    options = {"maxcor": optimizer.history, "gtol": optimizer.gradient_tolerance, "ftol": optimizer.change_tolerance,
               "maxiter": 20_000, "maxfun": 100_000}  # fmt: skip
    return scipy.optimize.minimize(objective, start, jac=True, method="L-BFGS-B", options=options)


def _rosenbrock(w: np.ndarray) -> tuple[float, np.ndarray]:
    return float(scipy.optimize.rosen(w)), scipy.optimize.rosen_der(w)


def _bowl(largest: float) -> Objective:
    curvatures = np.geomspace(1, largest, 10)
    return lambda w: (float(w @ (curvatures * w)) / 2, curvatures * w)


def _network_objective(net: Network, n: int, dtype: Any = np.float64, l2: float = 1e-2) -> Objective:
    rng = np.random.default_rng(7)
    X = rng.normal(size=(n, net.n_features))
    told = X @ rng.normal(size=(net.n_features, net.n_outputs)) + 0.5 * rng.normal(size=(n, net.n_outputs))
    y = {"unit": told > 0, "classes": np.eye(net.n_outputs)[told.argmax(axis=1)]}.get(net.loss_row.targets, told)

    def objective(w: np.ndarray) -> tuple[float, np.ndarray]:
        trace = backward(net, Parameters(net, w), X.astype(dtype), y, l2=l2)
        return trace.objective, trace.gradient

    return objective


CONVEX: dict[str, tuple[Objective, np.ndarray]] = {
    "rosenbrock, 2": (_rosenbrock, np.array([-1.2, 1.0])),
    "rosenbrock, 20": (_rosenbrock, np.linspace(0.5, 1.5, 20)),
    "bowl, 1e2": (_bowl(1e2), np.ones(10)),
    "bowl, 1e4": (_bowl(1e4), np.ones(10)),
    "bowl, 1e6": (_bowl(1e6), np.ones(10)),
    "logistic regression": (_network_objective(Network((4, 1)), 80), np.zeros(5)),
    "softmax regression": (_network_objective(Network((4, 3), loss="cross_entropy"), 80), np.zeros(15)),
    "linear regression": (_network_objective(Network((4, 2), loss="mean_squared_error"), 80), np.zeros(10)),
    "huber regression": (_network_objective(Network((4, 1), loss="huber(0.5)"), 80), np.zeros(5)),
}


@pytest.mark.parametrize("name", CONVEX)
def test_the_same_minimum_as_scipy_in_as_many_evaluations(name: str) -> None:
    objective, start = CONVEX[name]
    optimizer = LBFGS(gradient_tolerance=1e-6, change_tolerance=1e-12)
    mine, theirs = _last(optimizer, objective, start), _scipy(objective, start, optimizer)
    # Both end where a step lowers the value by 1e-12, which leaves up to some 1e-8 to go where the valley is narrow.
    assert mine.value == pytest.approx(theirs.fun, abs=1e-8, rel=1e-8)
    assert mine.n_evaluations <= 1.5 * theirs.nfev + 10  # measured: 0.7 to 1.1 of SciPy's


@pytest.mark.parametrize("net", [Network((3, 4, 1), "tanh"), Network((2, 3, 2), "silu", "huber")], ids=repr)
def test_small_networks_end_as_low_as_with_scipy(net: Network) -> None:
    """Several valleys, so which one is a matter of rounding: the medians over starts are compared."""
    optimizer, objective = LBFGS(change_tolerance=1e-8), _network_objective(net, 40, l2=0.05)
    rng = np.random.default_rng(3)
    ends, evaluations = [], []
    for _ in range(7):
        start = rng.normal(size=net.n_parameters)
        mine, theirs = _last(optimizer, objective, start), _scipy(objective, start, optimizer)
        ends.append((mine.value, theirs.fun))
        evaluations.append((mine.n_evaluations, theirs.nfev))
        assert np.abs(mine.gradient).max() < 1e-3
    mine_end, their_end = np.median(ends, axis=0)
    assert mine_end == pytest.approx(their_end, rel=0.02)
    assert np.sum(evaluations, axis=0)[0] < 1.5 * np.sum(evaluations, axis=0)[1]


def test_every_step_meets_the_wolfe_conditions_and_counts_its_evaluations() -> None:
    calls = 0

    def counted(w: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal calls
        calls += 1
        return _rosenbrock(w)

    start = np.linspace(-1.5, 2, 6)
    steps = []
    for step in LBFGS().iterations(counted, start):
        assert step.n_evaluations == calls
        steps.append(step)
    np.testing.assert_array_equal(steps[0].vector, start)
    assert [step.message for step in steps[:-1]] == [None] * (len(steps) - 1)
    for before, after in pairwise(steps):
        taken = after.vector - before.vector
        slope = before.gradient @ taken
        assert slope < 0
        assert after.value <= before.value + 1e-4 * slope
        assert abs(after.gradient @ taken) <= 0.9 * abs(slope)
        value, gradient = _rosenbrock(after.vector)
        assert after.value == value
        np.testing.assert_array_equal(after.gradient, gradient)


def test_the_direction_is_that_of_the_full_matrix() -> None:
    """With room for every pair the two-loop recursion is BFGS with its matrix written out (ibid., 6.17)."""
    steps = list(LBFGS(history=100).iterations(_rosenbrock, np.array([-1.2, 1.0, 0.5])))
    for last in range(2, 12):
        pairs = [(b.vector - a.vector, b.gradient - a.gradient) for a, b in pairwise(steps[: last + 1])]
        s, y = pairs[-1]
        H = np.eye(3) * (s @ y) / (y @ y)
        for s, y in pairs:
            V = np.eye(3) - np.outer(y, s) / (s @ y)
            H = V.T @ H @ V + np.outer(s, s) / (s @ y)
        direction = -H @ steps[last].gradient
        taken = steps[last + 1].vector - steps[last].vector
        cosine = taken @ direction / np.linalg.norm(taken) / np.linalg.norm(direction)
        assert cosine == pytest.approx(1, abs=1e-9)


def test_why_it_stops() -> None:
    bowl = _bowl(10)
    assert "gradient is small" in str(_last(LBFGS(change_tolerance=0), bowl, np.ones(10)).message)
    assert "no more decrease" in str(_last(LBFGS(gradient_tolerance=0), bowl, np.ones(10)).message)
    already = list(LBFGS().iterations(bowl, np.zeros(10)))
    assert len(already) == 1
    assert already[0].n_evaluations == 1
    assert "gradient is small" in str(already[0].message)
    wrong_sign = list(LBFGS().iterations(lambda w: (bowl(w)[0], -bowl(w)[1]), np.ones(10)))
    assert wrong_sign[-1].message == "the line search found no lower value"
    np.testing.assert_array_equal(wrong_sign[-1].vector, np.ones(10))
    bottomless = list(LBFGS().iterations(lambda w: (float(w[0]), np.ones(1)), np.zeros(1)))
    values = [step.value for step in bottomless]
    assert values == sorted(values, reverse=True)
    assert values[-1] < -1e15  # where rounding ends it


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["value", "gradient"])
def test_what_is_not_finite_is_too_long_a_step(bad: float, where: str) -> None:
    """A wall at w = 4, past which nothing is finite; the minimum, at 3, lies near it."""

    def walled(w: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = float((w[0] - 3) ** 4 + w[1] ** 2), np.array([4 * (w[0] - 3) ** 3, 2 * w[1]])
        if w[0] >= 4:
            value, gradient = (bad, gradient) if where == "value" else (value, np.full(2, bad))
        return value, gradient

    steps = list(LBFGS(gradient_tolerance=1e-9, change_tolerance=0).iterations(walled, np.array([-20.0, 5.0])))
    assert all(np.isfinite(step.value) and np.isfinite(step.gradient).all() for step in steps)
    assert all(step.vector[0] < 4 for step in steps)
    np.testing.assert_allclose(steps[-1].vector, [3, 0], atol=2e-3)


def test_a_start_that_is_not_finite_is_said() -> None:
    steps = list(LBFGS().iterations(lambda w: (np.nan, w), np.ones(2)))
    assert len(steps) == 1
    assert steps[0].message == "the objective is not finite at the starting point"


def test_huge_numbers_give_no_warning() -> None:
    steps = list(LBFGS().iterations(lambda w: (float(w @ w), 2 * w), np.full(3, 1e150)))
    assert steps[-1].message is not None
    steps = list(LBFGS().iterations(lambda w: (1e300, np.full(3, 1e200)), np.ones(3)))
    assert steps[-1].message == "the line search found no lower value"


def test_a_concave_stretch_does_not_spoil_the_direction() -> None:
    """-cos has negative curvature away from its minimum: pairs with s^T y <= 0 must be left out."""
    last = _last(LBFGS(), lambda w: (float(-np.cos(w).sum()), np.sin(w)), np.array([2.8, -3.0, 0.1]))
    assert last.value == pytest.approx(-3, abs=1e-8)


def test_a_kink_ends_it_close_by() -> None:
    last = _last(LBFGS(), lambda w: (float(np.abs(w).sum()), np.sign(w)), np.array([3.0, -0.7]))
    assert last.value < 1.0


@pytest.mark.parametrize("most", [1, 5, 200])
@pytest.mark.parametrize("history", [1, 3])
def test_few_pairs_and_few_trials_still_descend(history: int, most: int) -> None:
    steps = list(LBFGS(history=history, max_line_search=most).iterations(_rosenbrock, np.array([-1.2, 1.0])))
    assert (np.diff([step.value for step in steps]) <= 0).all()
    assert steps[-1].message is not None
    if most > 1:
        assert steps[-1].value < 1e-6


def test_the_objective_can_neither_spoil_nor_be_spoiled() -> None:
    shared = np.zeros(2)

    def rude(w: np.ndarray) -> tuple[float, np.ndarray]:
        value, shared[:] = _rosenbrock(w)  # one array for every gradient
        w[:] = np.nan  # and writes into what it was given
        return value, shared

    start = np.array([-1.2, 1.0])
    start.flags.writeable = False
    rude_steps, steps = (list(LBFGS().iterations(f, start)) for f in (rude, _rosenbrock))
    assert len(rude_steps) == len(steps)
    np.testing.assert_array_equal([s.vector for s in rude_steps], [s.vector for s in steps])
    np.testing.assert_array_equal([s.gradient for s in rude_steps], [s.gradient for s in steps])


def test_lbfgs_keeps_float32_and_stops_in_its_noise() -> None:
    net = Network((3, 4, 1), "tanh")
    start = np.random.default_rng(2).normal(size=net.n_parameters)
    single = _last(LBFGS(), _network_objective(net, 50, np.float32), start.astype(np.float32), most=2000)
    double = _last(LBFGS(), _network_objective(net, 50), start)
    assert single.vector.dtype == single.gradient.dtype == np.float32
    assert single.value == pytest.approx(double.value, rel=1e-2)


def test_lbfgs_of_gradients_whose_squares_are_0() -> None:
    """2e-180 squared is less than any number of 64 bits; there are no pairs then, and no division by 0."""
    optimizer = LBFGS(gradient_tolerance=0, change_tolerance=0)
    steps = list(optimizer.iterations(lambda w: (1e-180 * float(w @ w), 2e-180 * w), np.array([3.0, 4.0])))
    assert steps[-1].message is not None
    assert not any(step.pairs for step in steps)


def test_lbfgs_goes_on_from_any_step_to_the_same_bits() -> None:
    def valley(w: Any) -> tuple[float, Any]:
        a, b = w
        slope = np.array([-400 * a * (b - a * a) - 2 * (1 - a), 200 * (b - a * a)])
        return float(100 * (b - a * a) ** 2 + (1 - a) ** 2), slope

    def said(steps: list[Any]) -> list[Any]:
        return [(s.vector.tobytes(), s.value, s.gradient.tobytes(), len(s.pairs), s.message) for s in steps]

    optimizer = LBFGS(history=4)
    whole = list(optimizer.iterations(valley, np.array([-1.2, 1.0])))
    assert len(whole) > 20
    for k in (0, 1, 3, 10, len(whole) - 2):
        onwards = list(optimizer.iterations(valley, whole[k].vector, whole[k].state))
        assert said(onwards) == said(whole[k:])
