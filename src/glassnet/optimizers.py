"""The optimisers: pure init and update pairs, written as equations, the schedules of their learning rates; L-BFGS.

An optimiser's `equations` are lines `target <- expression` that are carried out in order, for every parameter at
once: `w` is the parameter, `g` its gradient, `t` the number of the update (from 1), the others are the optimiser's
state and settings. `update` evaluates these very lines, and the derivation prints them.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from glassnet.errors import UsageError
from glassnet.expressions import function, parse, symbols

FloatArray = NDArray[np.floating[Any]]
State = dict[str, FloatArray]
Objective = Callable[[FloatArray], tuple[float, FloatArray]]
"""From a vector (P,) to the value there and its gradient (P,)."""


def _checked(owner: object, **ranges: tuple[float, float]) -> None:
    """Refuse a setting outside its half-open range [low, high)."""
    for name, (low, high) in ranges.items():
        value = getattr(owner, name)
        if not isinstance(value, Real) or isinstance(value, bool) or not low <= float(value) < high:
            raise UsageError(f"{type(owner).__name__} takes {name} from {low:g} to less than {high:g}; got {value!r}.")
        # A NumPy number would force its own type on the arrays that it meets.
        object.__setattr__(owner, name, int(value) if isinstance(value, Integral) else float(value))


# --- schedules ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Schedule:
    """A learning rate that changes with the update: `equation` in t, `n_updates` and the schedule's own fields.

    t counts updates from 1; `n_updates` is how many the training will make in all.
    """

    equation: ClassVar[str]

    def rate(self, t: int, n_updates: int) -> float:
        """The learning rate of update t of n_updates.

        >>> Cosine(0.1).rate(1, 100), round(Cosine(0.1).rate(51, 100), 12)
        (0.1, 0.05)
        """
        return float(self.rates(t, t, n_updates)[0])

    def rates(self, first: int, last: int, n_updates: int) -> FloatArray:
        """The learning rates of updates `first` through `last`.

        >>> Cosine(0.1).rates(1, 51, 100)[[0, -1]].round(12).tolist()
        [0.1, 0.05]
        """
        t = np.arange(first, last + 1.0)
        values: dict[str, Any] = {"t": t, "n_updates": n_updates, "pi": np.pi} | vars(self)
        rates = function(parse(self.equation), tuple(values), "library")(*map(np.asarray, values.values()))
        return np.broadcast_to(rates, t.shape)


@dataclass(frozen=True)
class Constant(Schedule):
    """The same rate throughout.

    >>> Constant(0.1).rate(7, 10)
    0.1
    """

    initial: float
    equation: ClassVar[str] = "initial"

    def __post_init__(self) -> None:
        _checked(self, initial=(0, np.inf))


@dataclass(frozen=True)
class Exponential(Schedule):
    """Multiplied by `decay` in the course of every `every` updates.

    >>> Exponential(0.1, decay=0.5, every=10).rate(11, 100)
    0.05
    """

    initial: float
    decay: float = 0.96
    every: int = 100
    equation: ClassVar[str] = "initial * decay**((t - 1) / every)"

    def __post_init__(self) -> None:
        _checked(self, initial=(0, np.inf), decay=(1e-300, np.inf), every=(1, np.inf))


@dataclass(frozen=True)
class InverseScaling(Schedule):
    """Divided by a power of the update's number (Robbins and Monro 1951); scikit-learn's `invscaling`.

    >>> InverseScaling(0.1).rate(4, 100)
    0.05
    """

    initial: float
    power: float = 0.5
    equation: ClassVar[str] = "initial / t**power"

    def __post_init__(self) -> None:
        _checked(self, initial=(0, np.inf), power=(0, np.inf))


@dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine from `initial` down to `final` (Loshchilov and Hutter 2016, one cycle).

    >>> Cosine(0.1, final=0.01).rate(101, 100)
    0.01
    """

    initial: float
    final: float = 0.0
    equation: ClassVar[str] = "final + (initial - final) * (1 + cos(pi * (t - 1) / n_updates)) / 2"

    def __post_init__(self) -> None:
        _checked(self, initial=(0, np.inf), final=(0, np.inf))


@dataclass(frozen=True)
class WarmUp(Schedule):
    """Rises in equal steps to `peak` within the first `updates`, and stays (Goyal et al. 2017).

    >>> [WarmUp(0.1, updates=4).rate(t, 100) for t in (1, 2, 4, 50)]
    [0.025, 0.05, 0.1, 0.1]
    """

    peak: float
    updates: int = 100
    equation: ClassVar[str] = "peak * min(t / updates, 1)"

    def __post_init__(self) -> None:
        _checked(self, peak=(0, np.inf), updates=(1, np.inf))


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Half a cosine up to `peak` in the first `rise` of the training, half a cosine down to nearly 0 in the rest.

    Smith and Topin 2017: it starts at peak / `start_divisor` and ends at peak / `end_divisor`.

    >>> cycle = OneCycle(0.1)
    >>> round(cycle.rate(1, 100), 12), cycle.rate(31, 100)
    (0.004, 0.1)
    """

    peak: float
    rise: float = 0.3
    start_divisor: float = 25.0
    end_divisor: float = 1e4
    equation: ClassVar[str] = (
        "select((t - 1) / n_updates < rise,"
        " peak + (peak / start_divisor - peak) * (1 + cos(pi * ((t - 1) / n_updates) / rise)) / 2,"
        " peak / end_divisor + (peak - peak / end_divisor)"
        " * (1 + cos(pi * ((t - 1) / n_updates - rise) / (1 - rise))) / 2)"
    )

    def __post_init__(self) -> None:
        _checked(self, peak=(0, np.inf), rise=(1e-9, 1), start_divisor=(1, np.inf), end_divisor=(1, np.inf))


# --- optimisers ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Optimizer:
    """What the first-order optimisers share: `init` and `update`, both pure, both made from `equations`."""

    learning_rate: float | Schedule = 0.01

    def __post_init__(self) -> None:
        if not isinstance(self.learning_rate, Schedule):
            _checked(self, learning_rate=(0, np.inf))

    @property
    def equations(self) -> tuple[tuple[str, str], ...]:
        """Lines (target, expression), carried out in order; what is no setting and not w or g is state."""
        raise NotImplementedError

    @property
    def settings(self) -> dict[str, float]:
        """The numbers that appear in `equations`, without the learning rate."""
        return {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name != "learning_rate" and not isinstance(getattr(self, field.name), bool)
        }

    @property
    def state_names(self) -> tuple[str, ...]:
        """What is carried from one update to the next: targets that some line reads before they are set."""
        carried: list[str] = []
        targets = [target for target, _ in self.equations if target != "w"]
        done: set[str] = set()
        for target, text in self.equations:
            reads = set(map(str, symbols(parse(text))))
            carried += [name for name in targets if name in reads and name not in done and name not in carried]
            done.add(target)
        return tuple(carried)

    def rate(self, t: int, n_updates: int) -> float:
        """The learning rate of update t (from 1) of n_updates.

        >>> SGD(0.5).rate(1, 10)
        0.5
        """
        if isinstance(self.learning_rate, Schedule):
            return self.learning_rate.rate(t, n_updates)
        return self.learning_rate

    def init(self, vector: FloatArray) -> State:
        """The state before the first update: zeros in the shape of `vector` (..., n_parameters).

        >>> Adam().init(np.ones(2))
        {'m': array([0., 0.]), 'v': array([0., 0.])}
        """
        return {name: np.zeros_like(vector) for name in self.state_names}

    def update(
        self,
        vector: FloatArray,
        gradient: FloatArray,
        state: Mapping[str, FloatArray],
        *,
        t: int,
        learning_rate: float,
        is_weight: FloatArray | None = None,
    ) -> tuple[FloatArray, State]:
        """The parameters and the state after update t (from 1); nothing handed in is changed.

        `vector`, `gradient` and the state are (..., n_parameters), of one dtype, which stays; `is_weight`
        (n_parameters,) is 1 for weights and 0 for biases, which `weight_decay` leaves alone; left out, all are weights.

        >>> SGD(0.5).update(np.array([1.0]), np.array([0.2]), {}, t=1, learning_rate=0.5)
        (array([0.9]), {})
        """
        mask = np.ones(vector.shape[-1:]) if is_weight is None else is_weight
        values: dict[str, Any] = {"w": vector, "g": gradient, "is_weight": np.asarray(mask, vector.dtype)}
        values |= {"t": float(t), "learning_rate": float(learning_rate), **self.settings, **state}
        for target, text in self.equations:
            expression = parse(text)
            names = tuple(map(str, symbols(expression)))
            line = function(expression, names, "library")(*(values[name] for name in names))
            # A power of two settings, beta_1**t, comes in float64, as it should: 1 - beta_1**t is small.
            values[target] = line.astype(vector.dtype, copy=False)
        return values["w"], {name: values[name] for name in self.state_names}


@dataclass(frozen=True)
class SGD(Optimizer):
    """Gradient descent, with momentum (Polyak 1964) or Nesterov's (1983), as Sutskever et al. 2013 write them.

    v <- momentum v - learning_rate g,   w <- w + v   (nesterov: w <- w + momentum v - learning_rate g).
    The velocity carries the learning rate, as in scikit-learn and Keras; in torch it does not, which differs when the
    rate changes.

    >>> SGD(0.1, momentum=0.9).equations
    (('v', 'momentum * v - learning_rate * g'), ('w', 'w + v'))
    """

    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        _checked(self, momentum=(0, 1))
        if self.nesterov and not self.momentum:
            raise UsageError("nesterov is a form of momentum, which is 0. Give a momentum, 0.9 say.")

    @property
    def equations(self) -> tuple[tuple[str, str], ...]:
        """Without momentum the one line of gradient descent."""
        if not self.momentum:
            return (("w", "w - learning_rate * g"),)
        velocity = ("v", "momentum * v - learning_rate * g")
        return (velocity, ("w", "w + momentum * v - learning_rate * g" if self.nesterov else "w + v"))


@dataclass(frozen=True)
class SGDW(SGD):
    """SGD with decoupled weight decay (Loshchilov and Hutter 2017): weights, not biases, shrink by rate x decay.

    Beside the step, so that the decay is no part of the momentum, as that of a penalty is.

    >>> SGDW(0.1, momentum=0.9).equations[-1]
    ('w', 'w + v - learning_rate * weight_decay * is_weight * w')
    """

    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        _checked(self, weight_decay=(0, np.inf))

    @property
    def equations(self) -> tuple[tuple[str, str], ...]:
        """SGD's lines, the decay beside its step."""
        *before, (_, step) = super().equations
        return (*before, ("w", f"{step} - learning_rate * weight_decay * is_weight * w"))


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam (Kingma and Ba 2014, algorithm 1): epsilon outside the root, on the corrected second moment.

    scikit-learn and Keras fold the bias corrections into the rate, so their epsilon is effectively larger in the first
    updates.

    >>> Adam(0.001).settings
    {'beta_1': 0.9, 'beta_2': 0.999, 'epsilon': 1e-08}
    """

    learning_rate: float | Schedule = 0.001
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        _checked(self, beta_1=(0, 1), beta_2=(0, 1), epsilon=(0, np.inf))

    @property
    def equations(self) -> tuple[tuple[str, str], ...]:
        """First and second moment, both corrected for their start at zero, then the step."""
        return (
            ("m", "beta_1 * m + (1 - beta_1) * g"),
            ("v", "beta_2 * v + (1 - beta_2) * g**2"),
            ("m_hat", "m / (1 - beta_1**t)"),
            ("v_hat", "v / (1 - beta_2**t)"),
            ("w", "w - learning_rate * m_hat / (sqrt(v_hat) + epsilon)"),
        )


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2017): weights, not biases, shrink by rate x decay.

    >>> AdamW(0.001).equations[-1]
    ('w', 'w - learning_rate * (m_hat / (sqrt(v_hat) + epsilon) + weight_decay * is_weight * w)')
    """

    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        _checked(self, weight_decay=(0, np.inf))

    @property
    def equations(self) -> tuple[tuple[str, str], ...]:
        """Adam's lines, the decay beside its step."""
        step = "w - learning_rate * (m_hat / (sqrt(v_hat) + epsilon) + weight_decay * is_weight * w)"
        return (*super().equations[:-1], ("w", step))


@dataclass(frozen=True)
class FoldedAdam(AdamW):
    """Adam with both corrections folded into the rate (Kingma and Ba 2014, end of section 2), as scikit-learn has it.

    Its epsilon stands beside the root of the uncorrected second moment, so it counts for more in the first updates.
    Without decay unless `weight_decay` is given.

    >>> FoldedAdam().equations[-1]
    ('w', 'w - learning_rate * (sqrt(1 - beta_2**t) / (1 - beta_1**t)) * m / (sqrt(v) + epsilon)')
    """

    weight_decay: float = 0.0

    @property
    def equations(self) -> tuple[tuple[str, str], ...]:
        """First and second moment, then the step, the decay beside it."""
        step = "learning_rate * (sqrt(1 - beta_2**t) / (1 - beta_1**t)) * m / (sqrt(v) + epsilon)"
        decay = " - learning_rate * weight_decay * is_weight * w" if self.weight_decay else ""
        return (*super().equations[:2], ("w", f"w - {step}{decay}"))


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """RMSprop (Tieleman and Hinton 2012, lecture 6.5): the gradient over the root of its running mean square.

    >>> RMSprop().equations[-1]
    ('w', 'w - learning_rate * g / (sqrt(v) + epsilon)')
    """

    learning_rate: float | Schedule = 0.001
    rho: float = 0.9
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        _checked(self, rho=(0, 1), epsilon=(0, np.inf))

    @property
    def equations(self) -> tuple[tuple[str, str], ...]:
        """The running mean square, then the step."""
        return (("v", "rho * v + (1 - rho) * g**2"), ("w", "w - learning_rate * g / (sqrt(v) + epsilon)"))


def optimizer_of(text: str) -> Optimizer | LBFGS:
    """The optimiser that `repr` printed, as a model's provenance has it; the text is read, never run.

    Raises `UsageError` for any other text.

    >>> optimizer_of("SGD(learning_rate=Cosine(initial=0.1, final=0.0), momentum=0.9, nesterov=False)").rate(51, 100)
    0.05
    """
    known: tuple[type, ...] = (
        SGD, SGDW, Adam, AdamW, FoldedAdam, RMSprop, LBFGS,
        Constant, Exponential, InverseScaling, Cosine, WarmUp, OneCycle,
    )  # fmt: skip
    kinds = {kind.__name__: kind for kind in known}

    def made(node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=bool() | int() | float() as value):
                return value
            case ast.Call(func=ast.Name(id=name), args=[], keywords=keywords) if name in kinds:
                return kinds[name](**{str(keyword.arg): made(keyword.value) for keyword in keywords})
        raise UsageError(f"{ast.unparse(node)!r} is neither a number nor one of {', '.join(kinds)}")

    try:
        found = made(ast.parse(text, mode="eval").body)
        if isinstance(found, Optimizer | LBFGS):
            return found
        problem = f"{found!r} is none"
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as refused:
        problem = str(refused)
    raise UsageError(f"An optimiser is written like Adam(learning_rate=0.01); got {text[:200]!r}: {problem}.")


# --- L-BFGS -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LBFGSStep:
    """One accepted iteration: the new `vector` (P,), the objective's `value` and `gradient` (P,) there.

    `n_evaluations` counts calls of the objective so far; `message` is None until the last step, which says why it is.
    `pairs`: the last steps s and changes y of the gradient, each (P,), the oldest first.
    """

    vector: FloatArray
    value: float
    gradient: FloatArray
    n_evaluations: int
    message: str | None = None
    pairs: tuple[tuple[FloatArray, FloatArray], ...] = ()

    @property
    def state(self) -> State:
        """What `iterations` goes on from: `value` (1,), `gradient` (P,), and `s`, `y` (pairs, P)."""
        s, y = (
            np.array([pair[k] for pair in self.pairs], self.vector.dtype).reshape(-1, len(self.vector)) for k in (0, 1)
        )
        return {"value": np.array([self.value]), "gradient": self.gradient, "s": s, "y": y}


@dataclass(frozen=True)
class LBFGS:
    """L-BFGS (Nocedal 1980; Liu and Nocedal 1989): a quasi-Newton step from the last few steps, for whole batches.

    w <- w + alpha d,   d = -H g,   H <- V^T H V + rho s s^T,   V = I - rho y s^T,   rho = 1 / (y^T s),

    with s the step taken and y the change of the gradient. H is never formed: d comes from the last `history` pairs
    s, y by the two-loop recursion (Nocedal and Wright, "Numerical Optimization", 2nd edition, algorithm 7.4), started
    from H = (s^T y / y^T y) I. alpha meets the strong Wolfe conditions (algorithms 3.5 and 3.6, cubic interpolation):

    value(w + alpha d) <= value(w) + 1e-4 alpha g^T d,   |g(w + alpha d)^T d| <= 0.9 |g^T d|.

    It ends where no component of the gradient is above `gradient_tolerance`; where a step lowers the value by no more
    than `change_tolerance` times the larger of 1 and the value's size; or where `max_line_search` trials along d, and
    as many straight down the gradient, find no lower value. The first two are SciPy's `gtol` and `ftol`, with SciPy's
    defaults. How many iterations to take is the caller's choice: stop asking for more.

    >>> bowl = lambda w: (float(w @ w), 2 * w)
    >>> [round(step.value, 12) for step in LBFGS().iterations(bowl, np.array([3.0, 4.0]))]
    [25.0, 16.0, 0.0]
    """

    history: int = 10
    gradient_tolerance: float = 1e-5
    change_tolerance: float = 2.2e-9
    max_line_search: int = 20

    # What one iteration does with the whole vector, for the derivation; the line search chooses alpha.
    equations: ClassVar[tuple[tuple[str, str], ...]] = (("w", "w + alpha * d"),)

    def __post_init__(self) -> None:
        _checked(self, history=(1, np.inf), max_line_search=(1, np.inf))
        _checked(self, gradient_tolerance=(0, np.inf), change_tolerance=(0, np.inf))
        for name in ("history", "max_line_search"):
            if not isinstance(getattr(self, name), int):
                raise UsageError(f"LBFGS takes a whole number as {name}; got {getattr(self, name)!r}.")

    def iterations(
        self, objective: Objective, vector: FloatArray, state: Mapping[str, FloatArray] | None = None
    ) -> Iterator[LBFGSStep]:
        """The starting point, then every accepted iteration; the last has the message.

        `state` is that of an earlier step, whose vector is given: from there it goes on as if it had never ended.

        `vector` (P,) is left as it is, its dtype kept. `objective` is called with arrays of its own; a value or a
        gradient that is not finite counts as too long a step and is never returned. After a line search that failed
        the last point comes once more, with the message.

        >>> steep = lambda w: (float(np.exp(w[0]) - w[0]), np.exp(w) - 1)
        >>> *_, last = LBFGS(change_tolerance=0).iterations(steep, np.array([5.0]))
        >>> bool(abs(last.vector[0]) < 1e-4), last.message
        (True, 'the gradient is small: no component above 1e-05')
        """
        pairs: list[tuple[FloatArray, FloatArray]] = []
        if state is None:
            point = _Point.evaluated(objective, np.array(vector), 0.0, 0.0)
        else:
            point = _Point(np.array(vector), float(state["value"][0]), state["gradient"], 0.0, 0.0)
            pairs = list(zip(state["s"], state["y"], strict=True))
        n_evaluations = 1 if state is None else 0
        message = None if point.is_finite else "the objective is not finite at the starting point"
        while True:
            if message is None and np.max(np.abs(point.gradient)) <= self.gradient_tolerance:
                message = f"the gradient is small: no component above {self.gradient_tolerance:g}"
            yield LBFGSStep(point.vector, point.value, point.gradient, n_evaluations, message, tuple(pairs))
            if message is not None:
                return

            direction = _quasi_newton_direction(point.gradient, pairs)
            found, used = self._line_search(objective, point, direction, _first_trial(direction, pairs))
            n_evaluations += used
            if found is None and pairs:
                # The pairs no longer describe this place; without them the direction is straight down.
                pairs.clear()
                direction = -point.gradient
                found, used = self._line_search(objective, point, direction, _first_trial(direction, pairs))
                n_evaluations += used
            if found is None:
                message = "the line search found no lower value"
                continue
            s, y = found.vector - point.vector, found.gradient - point.gradient
            if _dot(s, y) > np.finfo(y.dtype).eps * _dot(y, y) > 0:  # else H would not stay positive definite
                pairs = [*pairs, (s, y)][-self.history :]
            if point.value - found.value <= self.change_tolerance * max(abs(point.value), abs(found.value), 1.0):
                message = f"no more decrease: the value fell by no more than {self.change_tolerance:g} of its size"
            point = found

    def _line_search(
        self, objective: Objective, start: _Point, direction: FloatArray, alpha: float
    ) -> tuple[_Point | None, int]:
        """A point along `direction` that meets the strong Wolfe conditions, and the evaluations it took.

        Where the evaluations run out, the best point with enough decrease; None where there is no such point.
        """
        slope = _dot(start.gradient, direction)
        if not -math.inf < slope < 0:
            return None, 0
        # Below the rounding of the value no decrease can be told; there a value not above the start's is enough.
        rounding = float(np.finfo(start.vector.dtype).eps) * abs(start.value)
        low, high = _Point(start.vector, start.value, start.gradient, 0.0, slope), None
        for used in range(1, self.max_line_search + 1):
            trial = _Point.evaluated(objective, start.vector, alpha, direction)
            enough = start.value + min(0.0, _DECREASE * alpha * slope + rounding)
            # `low` is the best point so far, [low, high] holds a point that meets the conditions (high: not yet found).
            if not trial.is_finite or trial.value > enough or (low.alpha > 0 and trial.value >= low.value):
                high = trial
            elif abs(trial.slope) <= -_CURVATURE * slope:
                return trial, used
            else:
                if trial.slope * (trial.alpha - low.alpha) >= 0:
                    high = low
                low, previous = trial, low
            if high is None:
                farthest = _cubic_minimum(previous, low)
                alpha = min(max(farthest, 2 * low.alpha), 10 * low.alpha) if farthest > 0 else 2 * low.alpha
            else:
                alpha, width = _cubic_minimum(low, high), high.alpha - low.alpha
                if not 0.1 * width * width <= (alpha - low.alpha) * width <= 0.9 * width * width:
                    alpha = low.alpha + 0.5 * width
        return (low if low.alpha > 0 else None), self.max_line_search


_DECREASE, _CURVATURE = 1e-4, 0.9  # c1 and c2 of the Wolfe conditions


@dataclass(frozen=True)
class _Point:
    """The objective at `alpha` along a direction, and its slope in that direction."""

    vector: FloatArray
    value: float
    gradient: FloatArray
    alpha: float
    slope: float

    @classmethod
    def evaluated(cls, objective: Objective, start: FloatArray, alpha: float, direction: FloatArray | float) -> _Point:
        with np.errstate(all="ignore"):
            vector = start + alpha * direction
        value, gradient = objective(vector.copy())
        gradient = np.array(gradient, vector.dtype)  # the objective may use its array again
        return cls(vector, float(value), gradient, alpha, _dot(gradient, np.broadcast_to(direction, gradient.shape)))

    @property
    def is_finite(self) -> bool:
        return bool(math.isfinite(self.value) and np.isfinite(self.gradient).all() and math.isfinite(self.slope))


def _dot(a: FloatArray, b: FloatArray) -> float:
    with np.errstate(all="ignore"):
        return float(np.dot(a, b))


def _quasi_newton_direction(gradient: FloatArray, pairs: list[tuple[FloatArray, FloatArray]]) -> FloatArray:
    """-H g by the two-loop recursion; -g without pairs."""
    with np.errstate(all="ignore"):
        direction = -gradient
        taken = []
        for s, y in reversed(pairs):
            taken.append(_dot(s, direction) / _dot(s, y))
            direction = direction - taken[-1] * y
        if pairs:
            s, y = pairs[-1]
            direction = direction * (_dot(s, y) / _dot(y, y))
        for (s, y), alpha in zip(pairs, reversed(taken), strict=True):
            direction = direction + (alpha - _dot(y, direction) / _dot(s, y)) * s
    return direction


def _first_trial(direction: FloatArray, pairs: list[tuple[FloatArray, FloatArray]]) -> float:
    """The whole step; before anything is known of the curvature, one no longer than 1."""
    squared = _dot(direction, direction)
    return 1.0 / math.sqrt(squared) if squared > 1.0 and not pairs else 1.0


def _cubic_minimum(a: _Point, b: _Point) -> float:
    """Where the cubic through two values and slopes is least (Nocedal and Wright, equation 3.59); nan where nowhere."""
    with np.errstate(all="ignore"):
        width = np.float64(b.alpha - a.alpha)
        d1 = a.slope + b.slope - 3 * (b.value - a.value) / width
        d2 = np.sign(width) * np.sqrt(d1 * d1 - a.slope * b.slope)
        return float(b.alpha - width * (b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2))
