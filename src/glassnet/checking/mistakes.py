"""The known mistakes: one row each, a change of the right computation that predicts what a candidate with it gives.

A mistake is named where its prediction is the candidate's own numbers, all of them. So a row needs no more than the
step it
changes, the sentence that explains it, and the equation that it breaks. Rows stand from common to rare: of two that
predict the same numbers the first is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import permutations

import numpy as np

from glassnet.checking.computation import (
    FORWARD_STEPS,
    FUSED,
    LOSS_STEPS,
    Change,
    Computation,
    Numbers,
    Step,
    activation,
    softmax,
)

Wrap = Callable[[Step], Step]


@dataclass(frozen=True)
class Mistake:
    """One mistake: the `change` of a `step`, or of several, between spaces; `places` says which variants there are.

    places: "" one; "hidden", "later", "every": these layers together, and each alone, and in the smallest networks each
    unit alone; "units", "hidden units", "inputs": one unit's or input's formula in another's place, in each layer;
    "entries": one weight. `only`: under which conventions it can be made at all. Where the steps are not changed alike,
    `change` gives a change for each by name.
    """

    key: str
    name: str
    sentence: str
    equation: str
    wrong_equation: str
    step: str
    change: Callable[..., Wrap | Mapping[str, Wrap]]
    places: str = ""
    only: Callable[[Numbers], bool] = lambda numbers: True

    @property
    def stage(self) -> str:
        """Where in the order of computation: forward, loss or backward."""
        first = self.step.split()[0]
        return "forward" if first in FORWARD_STEPS else "loss" if first in LOSS_STEPS else "backward"


@dataclass(frozen=True)
class Variant:
    """A mistake at a place: the `layers` in which it is made; `units` (of, instead of): whose formula is in whose
    place; `unit`: the only one in which it is made.

    `layer`: the one layer, or 0 where it is made in all where it can be.
    """

    mistake: Mistake
    layers: tuple[int, ...] = ()
    units: tuple[int, int] | None = None
    unit: int | None = None

    @property
    def layer(self) -> int:
        """The one layer, or 0."""
        return self.layers[0] if len(self.layers) == 1 else 0

    @cached_property
    def changes(self) -> Mapping[str, Change]:
        """What `Computation` takes."""
        made = self.mistake.change(*self.units) if self.units else self.mistake.change()
        wraps: Mapping[str, Wrap] = (
            made if isinstance(made, Mapping) else dict.fromkeys(self.mistake.step.split(), made)
        )
        if self.unit is not None:
            wraps = {step: _only_unit(self.unit, step, wrap) for step, wrap in wraps.items()}
        if not self.layers:
            return wraps
        hidden = self.mistake.places in ("hidden", "hidden units")
        return {step: _only_in(self.layers, hidden, wrap) for step, wrap in wraps.items()}

    def top(self, L: int) -> int:
        """The highest layer whose gradient it can change, in a network of L layers."""
        if not self.layers:
            return L
        hidden = self.mistake.places in ("hidden", "hidden units")
        return min(max(self.layers) - (self.mistake.step == "upstream_weights"), L - hidden)


def _only_in(layers: tuple[int, ...], hidden: bool, wrap: Wrap) -> Wrap:
    """In these layers; where it is of hidden ones, not in the last of a network that has fewer."""

    def change(inner: Step) -> Step:
        changed = wrap(inner)
        return lambda c, at: changed(c, at) if at in layers and not (hidden and at == c.L) else inner(c, at)

    return change


def _only_unit(unit: int, step: str, wrap: Wrap) -> Wrap:
    """In the numbers of this unit of the layer; of weights on the way back, in those of the unit below."""

    def change(inner: Step) -> Step:
        changed = wrap(inner)

        def one(c: Computation, layer: int) -> object:
            numbers, other = np.array(inner(c, layer), float), np.asarray(changed(c, layer))
            at = (unit,) if step == "upstream_weights" else (..., unit)
            numbers[at] = other[at]
            return numbers

        return one

    return change


BY_UNIT = frozenset(
    ("pre_activation", "activation", "derivative", "upstream", "upstream_weights", "weight_delta", "gradient_inputs",
     "weight_gradient", "bias_gradient", "updated_weights", "updated_biases")
)  # fmt: skip
"""Steps whose numbers are a unit's, or an input's, in the last axis."""
OF_BELOW = ("upstream_weights", "gradient_inputs")
"""Steps whose numbers are those of the units of the layer below."""


@lru_cache(maxsize=1024)
def variants(sizes: tuple[int, ...], numbers: Numbers, stage: str) -> tuple[Variant, ...]:
    """Every mistake that can be made in such a network, at every place; all layers together before one alone."""
    found = list(_variants(sizes, numbers, stage))
    if max(sizes) > 2:  # else there would be thousands
        return tuple(found)
    for one in tuple(found):
        if len(one.layers) == 1 and one.units is None and BY_UNIT.issuperset(one.mistake.step.split()):
            width = sizes[one.layers[0] - (one.mistake.step in OF_BELOW)]
            found += [Variant(one.mistake, one.layers, unit=unit) for unit in range(width) if width > 1]
    return tuple(found)


def _variants(sizes: tuple[int, ...], numbers: Numbers, stage: str) -> Iterator[Variant]:
    L = len(sizes) - 1
    ranges = {"hidden": range(1, L), "later": range(2, L + 1), "every": range(1, L + 1)}
    for mistake in MISTAKES:
        if mistake.stage != stage or not mistake.only(numbers):
            continue
        if mistake.places == "":
            yield Variant(mistake)
        elif mistake.places in ("units", "hidden units", "inputs"):
            where = tuple(range(1, L if mistake.places == "hidden units" else L + 1))
            widths = [sizes[layer - (mistake.places == "inputs")] for layer in where]
            if len(where) > 1:
                yield from (Variant(mistake, where, units) for units in _two_of(min(widths), -1))
            for layer, width in zip(where, widths, strict=True):
                yield from (Variant(mistake, (layer,), units) for units in _two_of(width, width - 1))
        elif mistake.places == "entries":
            if max(sizes) <= 2:
                for layer in range(1, L + 1):
                    entries = np.ndindex(sizes[layer - 1], sizes[layer])
                    yield from (Variant(mistake, (layer,), (at[0], at[1])) for at in entries)
        elif layers := tuple(ranges[mistake.places]):
            yield Variant(mistake, layers)
            if len(layers) > 1:
                yield from (Variant(mistake, (layer,)) for layer in layers)


def _two_of(width: int, last: int) -> list[tuple[int, int]]:
    """Whose formula may stand in whose place: among the first three, and the first and the last."""
    near = list(permutations(range(min(width, 3)), 2))
    return [*near, (last, 0), (0, last)] if width > 3 or last < 0 else near


def _to(value: Step) -> Callable[[], Wrap]:
    """The step is something else altogether."""
    return lambda: lambda inner: value


def _times(factor: Callable[[Computation], float]) -> Callable[[], Wrap]:
    """The step's numbers, times something."""
    return lambda: lambda inner: lambda c, layer: factor(c) * inner(c, layer)


def _of(change: Callable[[Computation, int, np.ndarray], object]) -> Callable[[], Wrap]:
    """Something made of the step's right numbers."""
    return lambda: lambda inner: lambda c, layer: change(c, layer, inner(c, layer))


def _column_from(of: int, instead: int) -> Wrap:
    """The last axis: unit `of` gets what belongs to unit `instead`."""

    def change(inner: Step) -> Step:
        def step(c: Computation, layer: int) -> object:
            numbers = np.array(inner(c, layer))
            numbers[..., of] = numbers[..., instead]
            return numbers

        return step

    return change


def _one_entry(step_of: Callable[[Computation, int, int, int], float]) -> Callable[[int, int], Wrap]:
    """After the update one weight is not what it should be; the others are."""

    def change(i: int, j: int) -> Wrap:
        def wrap(inner: Step) -> Step:
            def step(c: Computation, layer: int) -> object:
                W = np.array(inner(c, layer))
                W[i, j] = c.W[layer][i, j] + c.do("step_factor", layer) * step_of(c, layer, i, j)
                return W

            return step

        return wrap

    return change


def _fused(n: Numbers) -> bool:
    return (n.output, n.loss) in FUSED


def _squared(n: Numbers) -> bool:
    return n.loss == "squared_error"


def _has_slope(n: Numbers) -> bool:
    return n.output in ("sigmoid", "tanh", "softmax")


def _curved(*names: str) -> Callable[[Numbers], bool]:
    return lambda n: n.hidden in names


def _rolled(c: Computation, layer: int, numbers: np.ndarray) -> object:
    return np.roll(numbers, 1, axis=-1)


def _neighbour_derivative(by: int) -> Callable[[], Wrap]:
    def change(inner: Step) -> Step:
        def step(c: Computation, layer: int) -> object:
            other = layer + by
            if other < 1:
                return c.hidden_derivative(c.a[0], c.a[0])
            if other == c.L:
                return c.output_derivative(c.z[other], c.p)
            return c.hidden_derivative(c.z[other], c.a[other])

        return step

    return lambda: change


def _derivative_of_z(inner: Step) -> Step:
    """f' at z, whatever a is."""
    return lambda c, layer: c.hidden_derivative(c.z[layer], activation(c.numbers.hidden)(c.z[layer]))


def _fitted_to(delta: np.ndarray, units: int) -> np.ndarray:
    """The deltas of the layer above in the place of those of so many units: one for all, or the first."""
    return _for_all(delta, units)[:, :units]


def _for_all(delta: np.ndarray, units: int) -> np.ndarray:
    """One unit's delta for every unit; several as they are."""
    return np.repeat(delta, units, axis=1) if delta.shape[1] == 1 else delta


def _shifted(z: np.ndarray) -> np.ndarray:
    raised: np.ndarray = np.exp(z - z.max(axis=1, keepdims=True))
    return raised


def _entry(dW: np.ndarray, of: tuple[int, int], instead: tuple[int, int]) -> np.ndarray:
    """One number in another's place; of two rows or columns the other one."""
    pasted = np.array(dW)
    if instead[0] < dW.shape[0] and instead[1] < dW.shape[1]:
        pasted[of] = dW[instead]
    return pasted


def _updated_first(c: Computation, layer: int, W: np.ndarray) -> object:
    return W + c.do("step_factor", layer) * c.dW[layer]


def _rate_twice(c: Computation) -> float:
    return c.case.learning_rate


def _first_class(p: np.ndarray) -> np.ndarray:
    return (p > 0.5).astype(float) if p.shape[1] == 1 else (p == p.max(axis=1, keepdims=True)).astype(float)


def _everywhere(a_of: Step, z_of: Step) -> Callable[[], Wrap]:
    """The one derivative function that all layers share is given other numbers."""

    def step(c: Computation, layer: int) -> object:
        slope = c.hidden_derivative(z_of(c, layer), a_of(c, layer))
        return c.by_probability() * slope if layer == c.L else slope

    return _to(step)


def _same_curve(n: Numbers) -> bool:
    return n.hidden == n.output and n.hidden in ("sigmoid", "tanh")


M = Mistake
MISTAKES: tuple[Mistake, ...] = (
    # The backward pass, at the output.
    M(
        "sigmoid-derivative-on-cross-entropy",
        "the output's derivative on top of cross-entropy",
        "With cross-entropy the derivative of the output's activation cancels: p - y is already dloss/dz. Here it is "
        "multiplied by p (1 - p) once more.",
        "delta = p - y",
        "delta = (p - y) p (1 - p)",
        "output_delta",
        _of(lambda c, layer, delta: delta * c.output_derivative(c.z[layer], c.p)),
        only=_fused,
    ),
    M(
        "output-derivative-missing",
        "the derivative of the output's activation is missing",
        "dloss/dp is passed on as if it were dloss/dz. Between the two stands the derivative of the output's "
        "activation.",
        "delta = dloss/dp g'(z)",
        "delta = dloss/dp",
        "output_delta",
        _to(lambda c, layer: c.by_probability()),
        only=_has_slope,
    ),
    M(
        "error-sign",
        "the sign of the error is turned round",
        "The error is y - p where dloss/dz has p - y: every gradient points up the loss, and an update that "
        "subtracts it "
        "makes the loss larger.",
        "delta = p - y",
        "delta = y - p",
        "output_delta",
        _times(lambda c: -1.0),
    ),
    M(
        "factor-two-missing",
        "the factor 2 of the square is missing",
        "The derivative of (p - y)^2 is 2 (p - y). The 2 may only be left out where the loss has the factor 1/2.",
        "delta = 2 (p - y) g'(z)",
        "delta = (p - y) g'(z)",
        "output_delta",
        _times(lambda c: 0.5),
        only=lambda n: _squared(n) and not n.half,
    ),
    M(
        "factor-two-extra",
        "a factor 2 too many",
        "The loss has the factor 1/2, which the 2 of the square cancels; here the 2 is still there.",
        "delta = (p - y) g'(z)",
        "delta = 2 (p - y) g'(z)",
        "output_delta",
        _times(lambda c: 2.0),
        only=lambda n: _squared(n) and n.half,
    ),
    M(
        "softmax-without-cross-terms",
        "softmax without its cross terms",
        "Every probability of a softmax depends on every z. Here only dp_k/dz_k = p_k (1 - p_k) is used, and "
        "-p_k p_j, what "
        "z_j does to the other classes, is left out.",
        "delta_j = sum over k of dloss/dp_k p_k ((k = j) - p_j)",
        "delta_j = dloss/dp_j p_j (1 - p_j)",
        "output_delta",
        _to(lambda c, layer: c.by_probability() * c.p * (1 - c.p)),
        only=lambda n: n.output == "softmax",
    ),
    M(
        "output-derivative-at-a",
        "the output's derivative taken at p instead of z",
        "g'(z) is wanted. The function for the derivative is written for z, and was given p = g(z): g'(g(z)).",
        "delta = dloss/dp g'(z)",
        "delta = dloss/dp g'(p)",
        "output_delta",
        _to(lambda c, layer: c.by_probability() * c.output_derivative(c.p, activation(c.numbers.output)(c.p))),
        only=lambda n: n.output in ("sigmoid", "tanh"),
    ),
    M(
        "output-derivative-at-z",
        "the output's derivative, written for p, taken at z",
        "p (1 - p), or 1 - p^2, is the derivative when p is put in. Here z was put in its place.",
        "delta = dloss/dp p (1 - p)",
        "delta = dloss/dp z (1 - z)",
        "output_delta",
        _to(lambda c, layer: c.by_probability() * c.output_derivative(c.z[layer], c.z[layer])),
        only=lambda n: n.output in ("sigmoid", "tanh"),
    ),
    M(
        "output-derivative-doubled",
        "the output's derivative is there twice",
        "g'(z) belongs into the product once; here it is a factor twice.",
        "delta = dloss/dp g'(z)",
        "delta = dloss/dp g'(z) g'(z)",
        "output_delta",
        _of(lambda c, layer, delta: delta * c.output_derivative(c.z[layer], c.p)),
        only=lambda n: _has_slope(n) and not _fused(n),
    ),
    M(
        "gradient-of-squared-error",
        "loss and gradient are of different objectives",
        "The loss is a cross-entropy, the gradient that of the squared error (p - y)^2.",
        "delta = p - y",
        "delta = 2 (p - y) g'(z)",
        "output_delta",
        _to(lambda c, layer: 2 * (c.p - c.y) * c.outputs_factor * c.output_derivative(c.z[layer], c.p)),
        only=lambda n: n.loss != "squared_error",
    ),
    M(
        "gradient-of-cross-entropy",
        "loss and gradient are of different objectives",
        "The loss is the squared error, the gradient that of a cross-entropy, p - y.",
        "delta = 2 (p - y) g'(z)",
        "delta = p - y",
        "output_delta",
        _to(lambda c, layer: (c.p - c.y) * c.outputs_factor),
        only=lambda n: _squared(n) and not n.half and n.output in ("sigmoid", "softmax"),
    ),
    M(
        "error-from-class",
        "the error is taken from the class, not the probability",
        "p was rounded to 0 or 1 before y was subtracted; the loss is a function of p itself.",
        "delta = p - y",
        "delta = (p > 0.5) - y",
        "output_delta",
        _to(lambda c, layer: (_first_class(c.p) - c.y) * c.outputs_factor),
        only=_fused,
    ),
    M(
        "gradient-of-absolute-error",
        "loss and gradient are of different objectives",
        "The loss is the squared error, the gradient that of the absolute error: only the sign of p - y is left.",
        "delta = 2 (p - y) g'(z)",
        "delta = sign(p - y) g'(z)",
        "output_delta",
        _to(lambda c, layer: np.sign(c.p - c.y) * c.outputs_factor * c.output_derivative(c.z[layer], c.p)),
        only=lambda n: _squared(n) and n.output != "softmax",
    ),
    M(
        "target-missing",
        "the target is not subtracted",
        "p is passed on as the error. The derivative of the loss is p - y.",
        "delta = p - y",
        "delta = p",
        "output_delta",
        _to(lambda c, layer: c.p * c.outputs_factor),
    ),
    # The backward pass, in hidden layers.
    M(
        "activation-derivative-missing",
        "the derivative of the activation is missing",
        "What comes back from the layer above is passed on as it is. A change of z changes a only by f'(z) "
        "as much, so the "
        "error is multiplied by f'(z).",
        "delta_l = (delta_(l+1) W_(l+1)^T) * f'(z_l)",
        "delta_l = delta_(l+1) W_(l+1)^T",
        "derivative",
        _to(lambda c, layer: np.ones_like(c.z[layer])),
        "hidden",
    ),
    M(
        "activation-derivative-at-a",
        "the activation's derivative is taken at a instead of z",
        "f' is written for z, and was given a = f(z): f'(f(z)).",
        "delta_l = (delta_(l+1) W_(l+1)^T) * f'(z_l)",
        "delta_l = (delta_(l+1) W_(l+1)^T) * f'(a_l)",
        "derivative",
        _to(lambda c, layer: c.hidden_derivative(c.a[layer], activation(c.numbers.hidden)(c.a[layer]))),
        "hidden",
    ),
    M(
        "activation-derivative-at-z",
        "the activation's derivative, written for a, is taken at z",
        "a (1 - a), or 1 - a^2, is f' when a is put in. Here z was put in its place.",
        "delta_l = (delta_(l+1) W_(l+1)^T) * a_l (1 - a_l)",
        "delta_l = (delta_(l+1) W_(l+1)^T) * z_l (1 - z_l)",
        "derivative",
        _to(lambda c, layer: c.hidden_derivative(c.z[layer], c.z[layer])),
        "hidden",
        only=_curved("sigmoid", "tanh"),
    ),
    M(
        "activation-derivative-doubled",
        "the activation's derivative is there twice",
        "f'(z) belongs into the product once; here it is a factor twice.",
        "delta_l = (delta_(l+1) W_(l+1)^T) * f'(z_l)",
        "delta_l = (delta_(l+1) W_(l+1)^T) * f'(z_l) f'(z_l)",
        "derivative",
        _of(lambda c, layer, slope: slope * slope),
        "hidden",
    ),
    M(
        "activation-derivative-wrong-layer",
        "the activation's derivative is that of the layer above",
        "The error of a layer is multiplied by the derivative at its own z; here at the z of the layer above.",
        "delta_l = (delta_(l+1) W_(l+1)^T) * f'(z_l)",
        "delta_l = (delta_(l+1) W_(l+1)^T) * f'(z_(l+1))",
        "derivative",
        _neighbour_derivative(1),
        "hidden",
    ),
    M(
        "activation-derivative-wrong-layer",
        "the activation's derivative is taken at a of the layer above",
        "The error of a layer is multiplied by the derivative at its own numbers; here at the a of the layer above.",
        "delta_l = (delta_(l+1) W_(l+1)^T) * f'(z_l)",
        "delta_l = (delta_(l+1) W_(l+1)^T) * f'(z_(l+1))",
        "derivative",
        _to(lambda c, layer: c.hidden_derivative(c.a[layer + 1], c.a[layer + 1])),
        "hidden",
    ),
    M(
        "activation-derivative-wrong-layer",
        "the activation's derivative is taken at z of the layer above",
        "The error of a layer is multiplied by the derivative at its own z; here at the z of the layer above.",
        "delta_l = (delta_(l+1) W_(l+1)^T) * f'(z_l)",
        "delta_l = (delta_(l+1) W_(l+1)^T) * f'(z_(l+1))",
        "derivative",
        _to(lambda c, layer: c.hidden_derivative(c.z[layer + 1], activation(c.numbers.hidden)(c.z[layer + 1]))),
        "hidden",
    ),
    M(
        "activation-derivative-at-a",
        "the activation's derivative is taken at a instead of z, in every layer",
        "The function for the derivative is written for z, and is given a = f(z) everywhere, the output's p too.",
        "delta_l = ... f'(z_l)",
        "delta_l = ... f'(a_l)",
        "output_delta derivative",
        _everywhere(lambda c, layer: activation(c.numbers.hidden)(c.a[layer]), lambda c, layer: c.a[layer]),
        only=_same_curve,
    ),
    M(
        "activation-derivative-at-z",
        "the activation's derivative, written for a, is taken at z, in every layer",
        "a (1 - a), or 1 - a^2, is the derivative when a is put in. Here z is put in everywhere, at the output too.",
        "delta_l = ... a_l (1 - a_l)",
        "delta_l = ... z_l (1 - z_l)",
        "output_delta derivative",
        _everywhere(lambda c, layer: c.z[layer], lambda c, layer: c.z[layer]),
        only=_same_curve,
    ),
    M(
        "activation-derivative-layer-below",
        "the activation's derivative is that of the layer below",
        "The error of a layer is multiplied by the derivative at its own z; here at the numbers of the layer below.",
        "delta_l = (delta_(l+1) W_(l+1)^T) * f'(z_l)",
        "delta_l = (delta_(l+1) W_(l+1)^T) * f'(z_(l-1))",
        "derivative",
        _neighbour_derivative(-1),
        "hidden",
    ),
    M(
        "derivative-of-sigmoid",
        "the derivative is that of another activation, sigmoid",
        "The layer's activation is not sigmoid, but a (1 - a) is.",
        "delta_l = (delta_(l+1) W_(l+1)^T) * f'(z_l)",
        "delta_l = (delta_(l+1) W_(l+1)^T) * a_l (1 - a_l)",
        "derivative",
        _to(lambda c, layer: c.a[layer] * (1 - c.a[layer])),
        "hidden",
        only=lambda n: n.hidden != "sigmoid",
    ),
    M(
        "derivative-of-sigmoid-at-z",
        "the derivative is that of another activation, sigmoid",
        "The layer's activation is not sigmoid, but sigmoid(z) (1 - sigmoid(z)) is the derivative of sigmoid.",
        "delta_l = (delta_(l+1) W_(l+1)^T) * f'(z_l)",
        "delta_l = (delta_(l+1) W_(l+1)^T) * sigmoid(z_l) (1 - sigmoid(z_l))",
        "derivative",
        _to(lambda c, layer: activation("sigmoid")(c.z[layer]) * (1 - activation("sigmoid")(c.z[layer]))),
        "hidden",
        only=lambda n: n.hidden != "sigmoid",
    ),
    M(
        "derivative-of-tanh",
        "the derivative is that of another activation, tanh",
        "The layer's activation is not tanh, but 1 - a^2 is the derivative of tanh.",
        "delta_l = (delta_(l+1) W_(l+1)^T) * f'(z_l)",
        "delta_l = (delta_(l+1) W_(l+1)^T) * (1 - a_l^2)",
        "derivative",
        _to(lambda c, layer: 1 - c.a[layer] ** 2),
        "hidden",
        only=lambda n: n.hidden != "tanh",
    ),
    M(
        "derivative-of-relu",
        "the derivative is that of another activation, relu",
        "The layer's activation is not relu, but 1 where z > 0 and else 0 is the derivative of relu.",
        "delta_l = (delta_(l+1) W_(l+1)^T) * f'(z_l)",
        "delta_l = (delta_(l+1) W_(l+1)^T) * (z_l > 0)",
        "derivative",
        _to(lambda c, layer: (c.z[layer] > 0) * 1.0),
        "hidden",
        only=lambda n: n.hidden != "relu",
    ),
    M(
        "activation-instead-of-derivative",
        "the activation itself stands where its derivative belongs",
        "The error is multiplied by a = f(z); it is f'(z) by which a change of z reaches a.",
        "delta_l = (delta_(l+1) W_(l+1)^T) * f'(z_l)",
        "delta_l = (delta_(l+1) W_(l+1)^T) * f(z_l)",
        "derivative",
        _to(lambda c, layer: c.a[layer]),
        "hidden",
    ),
    M(
        "relu-derivative-reversed",
        "relu's derivative is turned round",
        "relu lets through where z > 0, so its derivative is 1 there; here it is 1 where z < 0.",
        "relu'(z) = 1 where z > 0, else 0",
        "relu'(z) = 1 where z < 0, else 0",
        "derivative",
        _to(lambda c, layer: (c.z[layer] < 0) * 1.0),
        "hidden",
        only=_curved("relu"),
    ),
    M(
        "updated-weights-used",
        "the already updated weights are used",
        "The error goes back through the weights that the forward pass used. Here the layer above has been "
        "updated before; a "
        "well-known worked example in print makes this very mistake.",
        "delta_l = (delta_(l+1) W_(l+1)^T) * f'(z_l)",
        "delta_l = (delta_(l+1) (W_(l+1) - rate dW_(l+1))^T) * f'(z_l)",
        "upstream_weights",
        _of(_updated_first),
        "later",
    ),
    M(
        "weights-transposed",
        "the weights are transposed on the way back",
        "Unit i of a layer reaches unit j above it through w_i_j, and the error comes back the same way. Here it comes "
        "back through w_j_i.",
        "delta_l = (delta_(l+1) W_(l+1)^T) * f'(z_l)",
        "delta_l = (delta_(l+1) W_(l+1)) * f'(z_l)",
        "upstream_weights",
        _of(lambda c, layer, W: W.T),
        "later",
    ),
    M(
        "weights-of-wrong-layer",
        "the error goes back through another layer's weights",
        "The error of a layer comes back through the weights between it and the layer above; here through "
        "the layer's own.",
        "delta_l = (delta_(l+1) W_(l+1)^T) * f'(z_l)",
        "delta_l = (delta_(l+1) W_l^T) * f'(z_l)",
        "upstream_weights",
        _to(lambda c, layer: c.W[layer - 1]),
        "later",
    ),
    M(
        "weights-missing",
        "the weights are missing on the way back",
        "The error of the layer above is handed to every unit alike. Each unit has its part in it through "
        "its own weight.",
        "delta_l = (delta_(l+1) W_(l+1)^T) * f'(z_l)",
        "delta_l = (sum of delta_(l+1)) * f'(z_l)",
        "upstream_weights",
        _of(lambda c, layer, W: np.ones_like(W)),
        "later",
    ),
    M(
        "weights-missing",
        "the weights are missing on the way back",
        "The error of the layer above is handed on as it is, unit by unit. Each unit has its part in every error "
        "above, through its own weights.",
        "delta_l = (delta_(l+1) W_(l+1)^T) * f'(z_l)",
        "delta_l = delta_(l+1) * f'(z_l)",
        "upstream",
        _to(lambda c, layer: _fitted_to(c.delta[layer + 1], c.case.sizes[layer])),
        "hidden",
    ),
    M(
        "gradient-instead-of-weights",
        "the error goes back through the gradient instead of the weights",
        "The error comes back through W; here dW stands in its place.",
        "delta_l = (delta_(l+1) W_(l+1)^T) * f'(z_l)",
        "delta_l = (delta_(l+1) dW_(l+1)^T) * f'(z_l)",
        "upstream_weights",
        _to(lambda c, layer: c.dW[layer]),
        "later",
    ),
    M(
        "upstream-sign",
        "a sign is turned round on the way back",
        "The error that comes back from the layer above has the wrong sign.",
        "delta_l = (delta_(l+1) W_(l+1)^T) * f'(z_l)",
        "delta_l = -(delta_(l+1) W_(l+1)^T) * f'(z_l)",
        "upstream",
        _times(lambda c: -1.0),
        "hidden",
    ),
    M(
        "first-output-only",
        "the error comes back from the first unit above only",
        "A unit reaches the loss through every unit of the layer above, so their errors are added. Here only "
        "the first counts.",
        "delta_l_i = f'(z_l_i) sum over j of w_i_j delta_(l+1)_j",
        "delta_l_i = f'(z_l_i) w_i_1 delta_(l+1)_1",
        "upstream",
        _to(lambda c, layer: c.delta[layer + 1][:, :1] @ c.do("upstream_weights", layer + 1)[:, :1].T),
        "hidden",
    ),
    M(
        "last-output-only",
        "the error comes back from the last unit above only",
        "A unit reaches the loss through every unit of the layer above, so their errors are added. Here the last has "
        "overwritten the others: = where += belongs.",
        "delta_l_i = f'(z_l_i) sum over j of w_i_j delta_(l+1)_j",
        "delta_l_i = f'(z_l_i) w_i_J delta_(l+1)_J, J the last",
        "upstream",
        _to(lambda c, layer: c.delta[layer + 1][:, -1:] @ c.do("upstream_weights", layer + 1)[:, -1:].T),
        "hidden",
    ),
    M(
        "upstream-averaged",
        "the errors from above are averaged instead of added",
        "A unit reaches the loss through every unit of the layer above, so their errors are added, not averaged.",
        "delta_l_i = f'(z_l_i) sum over j of w_i_j delta_(l+1)_j",
        "delta_l_i = f'(z_l_i) mean over j of w_i_j delta_(l+1)_j",
        "upstream",
        lambda: lambda inner: lambda c, layer: inner(c, layer) / c.case.sizes[layer + 1],
        "hidden",
    ),
    # From deltas to gradients.
    M(
        "gradient-not-averaged",
        "summed over the rows instead of averaged",
        "The loss is a mean over the rows, so its gradient is one too; here the rows' gradients are only "
        "added up, and the "
        "gradient is n times too large.",
        "dW = 1/n sum over rows of a delta",
        "dW = sum over rows of a delta",
        "over_rows",
        _times(lambda c: float(c.n)),
        "every",
        only=lambda n: n.gradient_rows == "mean",
    ),
    M(
        "gradient-averaged",
        "averaged over the rows instead of summed",
        "The loss is a sum over the rows, so its gradient is one too; here it is divided by n.",
        "dW = sum over rows of a delta",
        "dW = 1/n sum over rows of a delta",
        "over_rows",
        _times(lambda c: 1 / c.n),
        "every",
        only=lambda n: n.gradient_rows == "sum",
    ),
    M(
        "gradient-averaged-twice",
        "averaged over the rows twice",
        "The division by n is there twice: once in the error, and once more in the gradient.",
        "dW = 1/n sum over rows of a delta",
        "dW = 1/n^2 sum over rows of a delta",
        "over_rows",
        _times(lambda c: 1 / c.n),
        "every",
        only=lambda n: n.gradient_rows == "mean",
    ),
    M(
        "divided-by-features",
        "divided by the number of features instead of rows",
        "The mean over rows divides by the number of rows; here the other length of X was taken.",
        "dW = 1/n sum over rows of a delta",
        "dW = 1/n_features sum over rows of a delta",
        "over_rows",
        _times(lambda c: c.n / c.case.sizes[0]),
        "every",
        only=lambda n: n.gradient_rows == "mean",
    ),
    M(
        "divided-by-features",
        "divided by the number of a layer's inputs instead of rows",
        "The mean over rows divides by the number of rows; here the other length of the layer's inputs was taken.",
        "dW = 1/n sum over rows of a delta",
        "dW = 1/n_in sum over rows of a delta",
        "over_rows",
        lambda: lambda inner: lambda c, layer: c.n / c.case.sizes[layer - 1] * inner(c, layer),
        only=lambda n: n.gradient_rows == "mean",
    ),
    M(
        "gradient-averaged-twice",
        "averaged over the rows twice",
        "The division by n is there twice in the error.",
        "delta = 1/n (p - y)",
        "delta = 1/n^2 (p - y)",
        "output_delta",
        _times(lambda c: 1 / c.n),
        only=lambda n: n.gradient_rows == "mean",
    ),
    M(
        "gradient-averaged-twice",
        "only the target is divided by the rows: brackets are missing",
        "In p - y / n only y is divided by n, and the gradient is divided by n once more. Write (p - y) / n, once.",
        "delta = p - y",
        "delta = p - y / n",
        "output_delta",
        _to(lambda c, layer: (c.p - c.y / c.n) * c.outputs_factor),
        only=_fused,
    ),
    M(
        "brackets-missing",
        "only the target is divided by the rows: brackets are missing",
        "In p - y / n only y is divided by n. Write (p - y) / n.",
        "delta = (p - y) / n",
        "delta = p - y / n",
        "output_delta",
        _to(lambda c, layer: (c.n * c.p - c.y) * c.outputs_factor),
        only=lambda n: _fused(n) and n.gradient_rows == "mean",
    ),
    M(
        "gradient-averaged",
        "averaged over the rows instead of summed",
        "The loss is a sum over the rows, so its gradient is one too; here the error is divided by n.",
        "delta = p - y",
        "delta = 1/n (p - y)",
        "output_delta",
        _times(lambda c: 1 / c.n),
        only=lambda n: n.gradient_rows == "sum",
    ),
    M(
        "divided-by-outputs",
        "divided by rows and outputs",
        "np.mean over a table divides by rows times outputs; here the loss of a row adds its outputs up.",
        "dW = 1/n sum over rows of a delta",
        "dW = 1/(n n_outputs) sum over rows of a delta",
        "output_delta",
        _times(lambda c: 1 / c.k),
        only=lambda n: n.outputs == "sum",
    ),
    M(
        "not-divided-by-outputs",
        "not divided by the number of outputs",
        "The loss of a row is the mean over its outputs, so the error is divided by their number; here it is not.",
        "delta = 1/n_outputs dloss/dp g'(z)",
        "delta = dloss/dp g'(z)",
        "output_delta",
        _times(lambda c: float(c.k)),
        only=lambda n: n.outputs == "mean",
    ),
    M(
        "weight-gradient-not-averaged",
        "the weights' gradients are summed, the biases' averaged",
        "Both are means over the rows; the weights' gradients are not divided by n.",
        "dW = 1/n sum over rows of a delta",
        "dW = sum over rows of a delta",
        "weight_gradient",
        _times(lambda c: float(c.n)),
        "every",
        only=lambda n: n.gradient_rows == "mean",
    ),
    M(
        "bias-gradient-not-averaged",
        "the biases' gradients are summed, the weights' averaged",
        "Both are means over the rows; the biases' gradients are not divided by n.",
        "db = 1/n sum over rows of delta",
        "db = sum over rows of delta",
        "bias_over_rows",
        _times(lambda c: float(c.n)),
        "every",
        only=lambda n: n.gradient_rows == "mean",
    ),
    M(
        "bias-gradient-not-averaged",
        "the biases' gradients are summed, the weights' averaged",
        "Both are means over rows and outputs; the biases' gradients are not divided by their number.",
        "db = 1/(n n_outputs) sum over rows of delta",
        "db = sum over rows of delta",
        "bias_over_rows",
        _times(lambda c: float(c.n * c.k)),
        "every",
        only=lambda n: n.gradient_rows == "mean" and n.outputs == "mean",
    ),
    M(
        "weight-gradient-not-averaged",
        "the weights' gradients are summed, the biases' averaged",
        "Both are means over rows and outputs; the weights' gradients are not divided by their number.",
        "dW = 1/(n n_outputs) sum over rows of a delta",
        "dW = sum over rows of a delta",
        "weight_gradient",
        _times(lambda c: float(c.n * c.k)),
        "every",
        only=lambda n: n.gradient_rows == "mean" and n.outputs == "mean",
    ),
    M(
        "gradient-not-averaged",
        "summed over rows and outputs instead of averaged",
        "The loss is a mean over rows and outputs, so its gradient is one too; here all are only added up.",
        "dW = 1/(n n_outputs) sum over rows of a delta",
        "dW = sum over rows of a delta",
        "over_rows",
        _times(lambda c: float(c.n * c.k)),
        "every",
        only=lambda n: n.gradient_rows == "mean" and n.outputs == "mean",
    ),
    M(
        "bias-gradient-averaged",
        "the biases' gradients are averaged too often",
        "The biases' gradients are divided by n once more than the weights'.",
        "db = sum over rows of delta",
        "db = 1/n sum over rows of delta",
        "bias_over_rows",
        _times(lambda c: 1 / c.n),
        "every",
    ),
    M(
        "weight-gradient-averaged",
        "the weights' gradients are averaged too often",
        "The weights' gradients are divided by n once more than the biases'.",
        "dW = sum over rows of a delta",
        "dW = 1/n sum over rows of a delta",
        "weight_gradient",
        _times(lambda c: 1 / c.n),
        "every",
    ),
    M(
        "bias-gradient-zero",
        "the bias gradient is missing",
        "The gradient of the biases is 0: they are never learned.",
        "db = 1/n sum over rows of delta",
        "db = 0",
        "bias_gradient",
        _of(lambda c, layer, db: np.zeros_like(db)),
        "every",
    ),
    M(
        "bias-gradient-not-summed",
        "the bias gradient is not summed over the rows",
        "A bias is in every row's z, so the rows' deltas are added. Here there is still one number a row.",
        "db = 1/n sum over rows of delta",
        "db = delta, one a row",
        "bias_gradient",
        _to(lambda c, layer: c.do("bias_over_rows", layer) * c.do("bias_delta", layer)),
        "every",
    ),
    M(
        "bias-gradient-not-summed",
        "the bias gradient is not summed over the rows",
        "A bias is in every row's z, so the rows' deltas are added. Here there is still one number a row.",
        "db = 1/n sum over rows of delta",
        "db = delta, one a row",
        "bias_gradient",
        _to(lambda c, layer: c.do("bias_delta", layer)),
        "every",
        only=lambda n: n.gradient_rows == "mean",
    ),
    M(
        "bias-gradient-of-last-row",
        "the bias gradient is that of one row",
        "A bias is in every row's z, so the rows' deltas are added; here the last row's has overwritten the others.",
        "db = 1/n sum over rows of delta",
        "db = 1/n delta of the last row",
        "bias_gradient",
        _to(lambda c, layer: c.do("bias_over_rows", layer) * c.do("bias_delta", layer)[-1]),
        "every",
    ),
    M(
        "bias-gradient-of-first-row",
        "the bias gradient is that of one row",
        "A bias is in every row's z, so the rows' deltas are added; here only the first row's is taken.",
        "db = 1/n sum over rows of delta",
        "db = 1/n delta of the first row",
        "bias_gradient",
        _to(lambda c, layer: c.do("bias_over_rows", layer) * c.do("bias_delta", layer)[0]),
        "every",
    ),
    M(
        "bias-gradient-summed-over-units",
        "the bias gradient is summed over units and rows alike",
        "Every unit has a bias of its own; np.sum without an axis adds the deltas of all units into one number.",
        "db_j = 1/n sum over rows of delta_j",
        "db_j = 1/n sum over rows and units of delta",
        "bias_gradient",
        _of(lambda c, layer, db: np.full_like(db, db.sum())),
        "every",
    ),
    M(
        "bias-gradient-over-wrong-axis",
        "the bias gradient is summed over the wrong axis",
        "The deltas are added over the rows; here over the units, and one number a row is left.",
        "db_j = 1/n sum over rows of delta_j",
        "db_row = 1/n sum over units of delta",
        "bias_gradient",
        _to(lambda c, layer: c.do("bias_over_rows", layer) * c.do("bias_delta", layer).sum(axis=1)),
        "every",
    ),
    M(
        "bias-gradient-of-another-unit",
        "the bias gradient is that of another unit",
        "A bias takes the delta of its own unit; here the units are shifted by one.",
        "db_j = 1/n sum over rows of delta_j",
        "db_j = 1/n sum over rows of delta_(j-1)",
        "bias_gradient",
        _of(_rolled),
        "every",
    ),
    M(
        "bias-gradient-pasted",
        "one unit's bias gradient in another's place",
        "The line of one unit was copied for another, and still says the first one's delta.",
        "db_j = 1/n sum over rows of delta_j",
        "db_j = 1/n sum over rows of delta_i",
        "bias_gradient",
        _column_from,
        "units",
    ),
    M(
        "bias-gradient-of-another-unit",
        "the bias gradient is that of another unit",
        "A bias takes the delta of its own unit; here their order is turned round.",
        "db_j = 1/n sum over rows of delta_j",
        "db_j = 1/n sum over rows of delta_(J+1-j), J the last",
        "bias_gradient",
        _of(lambda c, layer, db: np.flip(db)),
        "every",
    ),
    M(
        "bias-gradient-pasted",
        "one unit's bias gradient in the place of all others",
        "A bias takes the delta of its own unit; here every unit takes the first one's.",
        "db_j = 1/n sum over rows of delta_j",
        "db_j = 1/n sum over rows of delta_1",
        "bias_gradient",
        _of(lambda c, layer, db: np.full_like(db, db[0])),
        "every",
    ),
    M(
        "bias-gradient-of-another-layer",
        "the bias gradient is that of another layer",
        "A bias takes the delta of its own layer; here that of the layer above.",
        "db_l = 1/n sum over rows of delta_l",
        "db_l = 1/n sum over rows of delta_(l+1)",
        "bias_delta",
        _to(lambda c, layer: _for_all(c.delta[layer + 1], c.case.sizes[layer])),
        "hidden",
    ),
    M(
        "bias-gradient-of-another-layer",
        "the bias gradient is that of the output layer",
        "A bias takes the delta of its own layer; here every layer takes the output's.",
        "db_l = 1/n sum over rows of delta_l",
        "db_l = 1/n sum over rows of delta_L",
        "bias_delta",
        _to(lambda c, layer: _for_all(c.delta[c.L], c.case.sizes[layer])),
        "hidden",
    ),
    M(
        "bias-gradient-without-derivative",
        "the bias gradient leaves the activation's derivative out",
        "The gradient of a bias is the sum of delta, and f'(z) is in delta; here the error from above is taken.",
        "db_l = 1/n sum over rows of delta_l",
        "db_l = 1/n sum over rows of delta_(l+1) W_(l+1)^T",
        "bias_delta",
        _to(lambda c, layer: c.upstream[layer]),
        "hidden",
    ),
    M(
        "weight-gradient-without-derivative",
        "the weight gradient leaves the activation's derivative out",
        "The gradient of a weight takes delta, and f'(z) is in delta; here the error from above is taken.",
        "dW_l = 1/n a_(l-1)^T delta_l",
        "dW_l = 1/n a_(l-1)^T (delta_(l+1) W_(l+1)^T)",
        "weight_delta",
        _to(lambda c, layer: c.upstream[layer]),
        "hidden",
    ),
    M(
        "bias-gradient-sign",
        "the sign of the bias gradient is turned round",
        "z = a W + b grows with b as it does with a W: no sign changes.",
        "db = 1/n sum over rows of delta",
        "db = -1/n sum over rows of delta",
        "bias_gradient",
        _times(lambda c: -1.0),
        "every",
    ),
    M(
        "weight-gradient-sign",
        "the sign of the weight gradient is turned round",
        "The gradient of the weights has the opposite sign of what the chain rule gives.",
        "dW = 1/n a^T delta",
        "dW = -1/n a^T delta",
        "weight_gradient",
        _times(lambda c: -1.0),
        "every",
    ),
    M(
        "weight-gradient-from-z",
        "the weight gradient takes z of the layer below instead of a",
        "What a weight multiplies is a of the layer below, so its gradient has a; here z, before the activation.",
        "dW_l = 1/n a_(l-1)^T delta_l",
        "dW_l = 1/n z_(l-1)^T delta_l",
        "gradient_inputs",
        _to(lambda c, layer: c.z[layer - 1] if layer > 1 else c.a[0]),
        "later",
    ),
    M(
        "weight-gradient-from-own-layer",
        "the weight gradient takes a of its own layer",
        "What a weight multiplies is a of the layer below; here a of the layer itself is taken.",
        "dW_l = 1/n a_(l-1)^T delta_l",
        "dW_l = 1/n a_l^T delta_l",
        "gradient_inputs",
        _to(lambda c, layer: c.a[layer]),
        "every",
    ),
    M(
        "weight-gradient-from-inputs",
        "the weight gradient takes the network's inputs",
        "What a weight of a later layer multiplies is a of the layer below; here X is taken.",
        "dW_l = 1/n a_(l-1)^T delta_l",
        "dW_l = 1/n X^T delta_l",
        "gradient_inputs",
        _to(lambda c, layer: c.a[0]),
        "later",
    ),
    M(
        "weight-gradient-without-inputs",
        "the weight gradient leaves out what the weight multiplies",
        "z grows by a for every unit of w, so the gradient has the factor a; here it is delta alone.",
        "dW_l = 1/n a_(l-1)^T delta_l",
        "dW_l = 1/n sum over rows of delta_l",
        "gradient_inputs",
        _of(lambda c, layer, a: np.ones_like(a)),
        "every",
    ),
    M(
        "weight-gradient-transposed",
        "the weight gradient is transposed",
        "The gradient has the shape of the weights, and the number at a place is that of the weight at this place.",
        "dW_l = 1/n a_(l-1)^T delta_l",
        "dW_l = 1/n delta_l^T a_(l-1)",
        "weight_gradient",
        _of(lambda c, layer, dW: dW.T),
        "every",
    ),
    M(
        "gradient-of-last-row",
        "only the last row counts",
        "The rows' gradients are added; here each overwrites the one before: = where += belongs.",
        "dW = 1/n sum over rows of a delta",
        "dW = 1/n a delta of the last row",
        "counted_delta",
        _of(lambda c, layer, delta: delta * (np.arange(c.n) == c.n - 1)[:, np.newaxis]),
    ),
    M(
        "gradient-of-last-row",
        "only the last row counts",
        "The rows' gradients are added; here each overwrites the one before: = where += belongs.",
        "dW = 1/n sum over rows of a delta",
        "dW = a delta of the last row",
        "counted_delta",
        _of(lambda c, layer, delta: c.n * delta * (np.arange(c.n) == c.n - 1)[:, np.newaxis]),
        only=lambda n: n.gradient_rows == "mean",
    ),
    M(
        "gradient-of-last-row",
        "only the last row counts in the weight gradient",
        "The rows' gradients are added; here each overwrites the one before: = where += belongs.",
        "dW = 1/n sum over rows of a delta",
        "dW = 1/n a delta of the last row",
        "weight_delta",
        _of(lambda c, layer, delta: delta * (np.arange(c.n) == c.n - 1)[:, np.newaxis]),
        "every",
    ),
    M(
        "gradient-of-first-row",
        "only the first row counts",
        "The rows' gradients are added; here the first row's is all there is: a return inside the loop does that.",
        "dW = 1/n sum over rows of a delta",
        "dW = a delta of the first row",
        "counted_delta",
        _of(lambda c, layer, delta: (c.n * c.over_rows) * delta * (np.arange(c.n) == 0)[:, np.newaxis]),
    ),
    M(
        "weight-gradient-zero",
        "the weight gradient is zero, that of the penalty too",
        "The gradient of the weights is 0: they are never learned, and not made smaller by the penalty either.",
        "dW = 1/n a^T delta + l2 W",
        "dW = 0",
        "weight_gradient penalty_gradient",
        lambda: lambda inner: lambda c, layer: np.zeros_like(c.W[layer]),
        "every",
        only=lambda n: n.l2 != "none",
    ),
    M(
        "integer-division",
        "every gradient is zero, as it is by an integer division",
        "In Python 1 // n is 0, and so is everything that is multiplied by it: // divides and rounds down to a whole "
        "number. Use /.",
        "dW = 1/n sum over rows of a delta",
        "dW = (1 // n) sum over rows of a delta = 0",
        "over_rows",
        _times(lambda c: 0.0),
        only=lambda n: n.gradient_rows == "mean",
    ),
    M(
        "weight-gradient-zero",
        "a layer's gradients are zero",
        "The gradients of all weights and biases of a layer are 0: it is never trained. A loop over the layers that "
        "ends too early does that.",
        "dW = 1/n a^T delta, db = 1/n sum over rows of delta",
        "dW = 0, db = 0",
        "weight_gradient bias_gradient",
        _of(lambda c, layer, gradient: np.zeros_like(gradient)),
        "every",
    ),
    M(
        "integer-division",
        "integer division",
        "// divides and rounds down to a whole number: use /.",
        "delta = (p - y) / n",
        "delta = (p - y) // n",
        "output_delta",
        _of(lambda c, layer, delta: c.n * np.floor(delta / c.n)),
        only=lambda n: n.gradient_rows == "mean",
    ),
    M(
        "weight-gradient-zero",
        "the weight gradient is zero",
        "The gradient of the weights is 0: they are never learned. In Python 1 // n is 0, and so is an int "
        "array's 0.3.",
        "dW = 1/n a^T delta",
        "dW = 0",
        "weight_gradient",
        _of(lambda c, layer, dW: np.zeros_like(dW)),
        "every",
    ),
    M(
        "means-multiplied",
        "the mean of a times the mean of delta",
        "The mean of a product is not the product of the means: each row's a goes with its own delta.",
        "dW = 1/n sum over rows of a delta",
        "dW = mean of a times mean of delta",
        "weight_gradient",
        lambda: (
            lambda inner: (
                lambda c, layer: (
                    c.do("over_rows", layer)
                    * c.n
                    * np.outer(c.do("gradient_inputs", layer).mean(axis=0), c.do("weight_delta", layer).mean(axis=0))
                )
            )
        ),
        "every",
    ),
    M(
        "integer-division",
        "integer division",
        "// divides and rounds down to a whole number: use /.",
        "dW = (sum over rows of a delta) / n",
        "dW = (sum over rows of a delta) // n",
        "weight_gradient bias_gradient",
        _of(lambda c, layer, gradient: np.floor(gradient)),
        only=lambda n: n.gradient_rows == "mean",
    ),
    M(
        "weight-gradient-pasted",
        "one unit's weight gradients in another's place",
        "The lines of one unit were copied for another, and still say the first one's delta.",
        "dw_i_j = 1/n sum over rows of a_i delta_j",
        "dw_i_j = 1/n sum over rows of a_i delta_k",
        "weight_delta",
        _column_from,
        "units",
    ),
    M(
        "input-pasted",
        "one input in another's place",
        "The gradient of the weight from one input was copied for another, and still says the first one's value.",
        "dw_i_j = 1/n sum over rows of a_i delta_j",
        "dw_i_j = 1/n sum over rows of a_k delta_j",
        "gradient_inputs",
        _column_from,
        "inputs",
    ),
    M(
        "input-pasted",
        "one input in another's place, in the gradient of one weight",
        "The gradient of one weight was copied from another's, and still says that one's input.",
        "dw_i_j = 1/n sum over rows of a_i delta_j",
        "dw_i_j = 1/n sum over rows of a_k delta_j",
        "weight_gradient",
        lambda i, j: _of(lambda c, layer, dW: _entry(dW, (i, j), (1 - i, j)))(),
        "entries",
    ),
    M(
        "weight-gradient-pasted",
        "one unit's delta in another's place, in the gradient of one weight",
        "The gradient of one weight was copied from another's, and still says that one's delta.",
        "dw_i_j = 1/n sum over rows of a_i delta_j",
        "dw_i_j = 1/n sum over rows of a_i delta_k",
        "weight_gradient",
        lambda i, j: _of(lambda c, layer, dW: _entry(dW, (i, j), (i, 1 - j)))(),
        "entries",
    ),
    M(
        "derivative-pasted",
        "the derivative is that of another unit",
        "The line of one unit was copied for another, and still has the first one's z in f'(z).",
        "delta_j = f'(z_j) sum over k of w_j_k delta_k",
        "delta_j = f'(z_i) sum over k of w_j_k delta_k",
        "derivative",
        _column_from,
        "hidden units",
    ),
    M(
        "derivative-pasted",
        "the derivative of every unit is that of the first",
        "Each unit's error is multiplied by f' at its own z; here at the first one's.",
        "delta_j = f'(z_j) sum over k of w_j_k delta_k",
        "delta_j = f'(z_1) sum over k of w_j_k delta_k",
        "derivative",
        _of(lambda c, layer, slope: np.repeat(slope[:, :1], slope.shape[1], axis=1)),
        "hidden",
    ),
    M(
        "upstream-pasted",
        "the error of the first unit above is taken for all of them",
        "Every weight on the way back goes with the error of its own unit above; here all go with the first one's.",
        "delta_j = f'(z_j) sum over k of w_j_k delta_k",
        "delta_j = f'(z_j) sum over k of w_j_k delta_1",
        "upstream",
        _to(
            lambda c, layer: (
                np.repeat(c.delta[layer + 1][:, :1], c.case.sizes[layer + 1], axis=1)
                @ c.do("upstream_weights", layer + 1).T
            )
        ),
        "hidden",
    ),
    M(
        "upstream-pasted",
        "the weight on the way back is that of another unit",
        "The line of one unit was copied for another, and still has the first one's weight to the layer above.",
        "delta_j = f'(z_j) sum over k of w_j_k delta_k",
        "delta_j = f'(z_j) sum over k of w_i_k delta_k",
        "upstream",
        _column_from,
        "hidden units",
    ),
    M(
        "unit-pasted",
        "one unit's delta in another's place",
        "The formula of one unit was copied for another, and nothing in it was changed.",
        "delta_j = f'(z_j) sum over k of w_j_k delta_k",
        "delta_j = f'(z_i) sum over k of w_i_k delta_k",
        "delta",
        _column_from,
        "hidden units",
    ),
    M(
        "gradient-halved",
        "the gradient is halved",
        "Every gradient is half of what it should be; a factor 1/2 stands in the gradient that does not "
        "stand in the loss.",
        "delta = p - y",
        "delta = (p - y) / 2",
        "output_delta",
        _times(lambda c: 0.5),
    ),
    M(
        "gradient-doubled",
        "the gradient is doubled",
        "Every gradient is twice what it should be.",
        "delta = p - y",
        "delta = 2 (p - y)",
        "output_delta",
        _times(lambda c: 2.0),
    ),
    # The penalty.
    M(
        "penalty-missing-in-gradient",
        "the penalty is missing from the gradient",
        "The loss has the penalty, and the gradient does not.",
        "dW = 1/n a^T delta + l2 W",
        "dW = 1/n a^T delta",
        "penalty_gradient",
        _to(lambda c, layer: 0.0),
        "every",
        only=lambda n: n.l2 != "none",
    ),
    M(
        "penalty-doubled",
        "the penalty's gradient is doubled",
        "The derivative of l2/2 W^2 is l2 W; here the 2 is still there.",
        "dW = 1/n a^T delta + l2 W",
        "dW = 1/n a^T delta + 2 l2 W",
        "penalty_gradient",
        _times(lambda c: 2.0),
        "every",
        only=lambda n: n.l2 != "none",
    ),
    M(
        "penalty-halved",
        "the penalty's gradient is halved",
        "The derivative of l2 W^2 is 2 l2 W; here the 2 is missing.",
        "dW = 1/n a^T delta + 2 l2 W",
        "dW = 1/n a^T delta + l2 W",
        "penalty_gradient",
        _times(lambda c: 0.5),
        "every",
        only=lambda n: n.l2 != "none",
    ),
    M(
        "penalty-sign",
        "the penalty's gradient has the wrong sign",
        "The penalty makes weights smaller: its gradient l2 W is added, here it is subtracted.",
        "dW = 1/n a^T delta + l2 W",
        "dW = 1/n a^T delta - l2 W",
        "penalty_gradient",
        _times(lambda c: -1.0),
        "every",
        only=lambda n: n.l2 != "none",
    ),
    M(
        "penalty-on-biases",
        "the penalty is on the biases too",
        "The penalty of the loss is on weights only; here the gradient of the biases has one as well.",
        "db = 1/n sum over rows of delta",
        "db = 1/n sum over rows of delta + l2 b",
        "bias_penalty_gradient",
        _to(lambda c, layer: c.l2_factor * c.b[layer]),
        "every",
        only=lambda n: n.l2 != "none",
    ),
    M(
        "penalty-not-divided",
        "the penalty's gradient is not divided by n",
        "The penalty of the loss is divided by n, its gradient is not.",
        "dW = 1/n (a^T delta + l2 W)",
        "dW = 1/n a^T delta + l2 W",
        "penalty_gradient",
        _times(lambda c: float(c.n)),
        only=lambda n: n.l2 != "none",
    ),
    M(
        "penalty-divided",
        "the penalty's gradient is divided by n",
        "The penalty of the loss is not divided by n, its gradient is.",
        "dW = 1/n a^T delta + l2 W",
        "dW = 1/n (a^T delta + l2 W)",
        "penalty_gradient",
        _times(lambda c: 1 / c.n),
        only=lambda n: n.l2 != "none",
    ),
    # The update.
    M(
        "update-sign",
        "the update goes up the loss",
        "The gradient points where the loss grows, so a step is taken against it: minus. Here it is added.",
        "W <- W - rate dW",
        "W <- W + rate dW",
        "step_factor",
        _times(lambda c: -1.0),
        only=lambda n: not n.ascent,
    ),
    M(
        "update-sign",
        "the update goes up the loss",
        "The gradient points where the loss grows, so a step is taken against it: minus. Here the weights add it.",
        "W <- W - rate dW",
        "W <- W + rate dW",
        "updated_weights",
        _of(lambda c, layer, W: 2 * c.W[layer] - W),
        "every",
        only=lambda n: not n.ascent,
    ),
    M(
        "update-sign",
        "the update goes up the loss",
        "The gradient points where the loss grows, so a step is taken against it: minus. Here the biases add it.",
        "b <- b - rate db",
        "b <- b + rate db",
        "updated_biases",
        _of(lambda c, layer, b: 2 * c.b[layer] - b),
        "every",
        only=lambda n: not n.ascent,
    ),
    M(
        "learning-rate-missing",
        "the learning rate is missing",
        "The whole gradient is subtracted from the weights, not the learning rate times it.",
        "W <- W - rate dW",
        "W <- W - dW",
        "updated_weights",
        _of(lambda c, layer, W: c.W[layer] + (W - c.W[layer]) / c.case.learning_rate),
        "every",
    ),
    M(
        "learning-rate-missing",
        "the learning rate is missing",
        "The whole gradient is subtracted from the biases, not the learning rate times it.",
        "b <- b - rate db",
        "b <- b - db",
        "updated_biases",
        _of(lambda c, layer, b: c.b[layer] + (b - c.b[layer]) / c.case.learning_rate),
        "every",
    ),
    M(
        "learning-rate-missing",
        "the learning rate is missing",
        "The whole gradient is subtracted, not the learning rate times it.",
        "W <- W - rate dW",
        "W <- W - dW",
        "step_factor",
        _times(lambda c: 1 / c.case.learning_rate),
    ),
    M(
        "gradient-not-averaged",
        "the update sums over the rows instead of averaging",
        "The step is taken along the mean of the rows' gradients; here along their sum, which is n times as large.",
        "W <- W - rate 1/n sum over rows of dW",
        "W <- W - rate sum over rows of dW",
        "step_factor",
        _times(lambda c: float(c.n)),
        only=lambda n: n.gradient_rows == "mean",
    ),
    M(
        "gradient-averaged-twice",
        "the update divides by the rows twice",
        "The gradients are means over the rows already; the update divides by n once more.",
        "W <- W - rate dW",
        "W <- W - rate 1/n dW",
        "step_factor",
        _times(lambda c: 1 / c.n),
        only=lambda n: n.gradient_rows == "mean",
    ),
    M(
        "divided-by-features",
        "the update divides by the number of features instead of rows",
        "The mean over rows divides by the number of rows; here the other length of X was taken.",
        "W <- W - rate 1/n sum over rows of dW",
        "W <- W - rate 1/n_features sum over rows of dW",
        "step_factor",
        _times(lambda c: c.n / c.case.sizes[0]),
        only=lambda n: n.gradient_rows == "mean",
    ),
    M(
        "learning-rate-twice",
        "the learning rate is there twice",
        "The learning rate is a factor twice.",
        "W <- W - rate dW",
        "W <- W - rate^2 dW",
        "step_factor",
        _times(_rate_twice),
    ),
    M(
        "biases-not-updated",
        "the biases are not updated",
        "The biases are after the step what they were before it.",
        "b <- b - rate db",
        "b <- b",
        "updated_biases",
        _to(lambda c, layer: c.b[layer]),
        "every",
    ),
    M(
        "weights-not-updated",
        "the weights are not updated",
        "The weights are after the step what they were before it.",
        "W <- W - rate dW",
        "W <- W",
        "updated_weights",
        _to(lambda c, layer: c.W[layer]),
        "every",
    ),
    M(
        "gradient-of-last-row",
        "of one weight only the last row's gradient counts",
        "The rows' gradients are added; here each overwrites the one before: = where += belongs, in one weight's line.",
        "dw_i_j = 1/n sum over rows of a_i delta_j",
        "dw_i_j = 1/n a_i delta_j of the last row",
        "updated_weights",
        _one_entry(lambda c, layer, i, j: c.over_rows * float(c.a[layer - 1][-1, i] * c.delta[layer][-1, j])),
        "entries",
    ),
    M(
        "weight-not-updated",
        "one weight is not updated",
        "One of the weights is after the step what it was before it; its line is missing.",
        "w_i_j <- w_i_j - rate dw_i_j",
        "w_i_j <- w_i_j",
        "updated_weights",
        _one_entry(lambda c, layer, i, j: 0.0),
        "entries",
    ),
    M(
        "update-sign",
        "the update of one weight goes up the loss",
        "The gradient points where the loss grows, so a step is taken against it: minus. Here one weight adds it.",
        "w_i_j <- w_i_j - rate dw_i_j",
        "w_i_j <- w_i_j + rate dw_i_j",
        "updated_weights",
        _one_entry(lambda c, layer, i, j: -float(c.dW[layer][i, j])),
        "entries",
    ),
    M(
        "gradient-not-averaged",
        "the gradient of one weight is summed instead of averaged",
        "The loss is a mean over the rows, so its gradient is one too; one weight's is not divided by n.",
        "dw_i_j = 1/n sum over rows of a_i delta_j",
        "dw_i_j = sum over rows of a_i delta_j",
        "updated_weights",
        _one_entry(lambda c, layer, i, j: c.n * float(c.dW[layer][i, j])),
        "entries",
        only=lambda n: n.gradient_rows == "mean",
    ),
    M(
        "gradient-replaces-weights",
        "the weights are replaced by the step",
        "The step is subtracted from the weights; here it takes their place: = where -= belongs.",
        "W <- W - rate dW",
        "W <- -rate dW",
        "updated_weights",
        _of(lambda c, layer, W: W - c.W[layer]),
        "every",
    ),
    # The forward pass.
    M(
        "bias-missing",
        "the bias is missing",
        "z = a W + b; here b is not added.",
        "z = a W + b",
        "z = a W",
        "pre_activation",
        _of(lambda c, layer, z: z - c.b[layer]),
        "every",
    ),
    M(
        "bias-subtracted",
        "the bias is subtracted",
        "z = a W + b; here b has the wrong sign.",
        "z = a W + b",
        "z = a W - b",
        "pre_activation",
        _of(lambda c, layer, z: z - 2 * c.b[layer]),
        "every",
    ),
    M(
        "forward-weights-transposed",
        "the weights are transposed in the forward pass",
        "w_i_j runs from input i to unit j. Here unit j takes the weights w_j_i.",
        "z_j = b_j + sum over i of a_i w_i_j",
        "z_j = b_j + sum over i of a_i w_j_i",
        "pre_activation",
        _to(lambda c, layer: c.a[layer - 1] @ c.W[layer].T + c.b[layer]),
        "every",
    ),
    M(
        "activation-missing",
        "the activation of a hidden layer is missing",
        "a = f(z); here z is passed on as it is.",
        "a = f(z)",
        "a = z",
        "activation derivative",
        lambda: {"activation": lambda inner: lambda c, layer: c.z[layer], "derivative": _derivative_of_z},
        "hidden",
        only=lambda n: n.hidden != "identity",
    ),
    M(
        "activation-missing",
        "the activation of a hidden layer is missing",
        "a = f(z); here z is passed on as it is, and the derivative, which is written for a, gets it too.",
        "a = f(z)",
        "a = z",
        "activation",
        _to(lambda c, layer: c.z[layer]),
        "hidden",
        only=_curved("sigmoid", "tanh"),
    ),
    M(
        "activation-twice",
        "the activation is applied twice",
        "a = f(z); here f is applied to a once more.",
        "a = f(z)",
        "a = f(f(z))",
        "activation",
        _of(lambda c, layer, a: activation(c.numbers.hidden)(a)),
        "hidden",
        only=lambda n: n.hidden not in ("identity", "relu"),
    ),
    M(
        "sigmoid-sign",
        "the sign in sigmoid's exponent",
        "sigmoid(z) = 1 / (1 + exp(-z)); without the minus it falls where it should rise.",
        "sigmoid(z) = 1 / (1 + exp(-z))",
        "sigmoid(z) = 1 / (1 + exp(z))",
        "output",
        _of(lambda c, layer, p: 1 - p),
        only=lambda n: n.output == "sigmoid",
    ),
    M(
        "hidden-sigmoid-sign",
        "the sign in the hidden sigmoid's exponent",
        "sigmoid(z) = 1 / (1 + exp(-z)); without the minus it falls where it should rise.",
        "sigmoid(z) = 1 / (1 + exp(-z))",
        "sigmoid(z) = 1 / (1 + exp(z))",
        "activation",
        _of(lambda c, layer, a: 1 - a),
        "hidden",
        only=lambda n: n.hidden == "sigmoid",
    ),
    M(
        "softmax-over-rows",
        "softmax over the rows instead of the classes",
        "The probabilities of one row sum to 1; here those of one class do, over all rows: the wrong axis.",
        "p_k = exp(z_k) / sum over classes of exp(z)",
        "p_k = exp(z_k) / sum over rows of exp(z_k)",
        "output",
        _to(lambda c, layer: softmax(c.z[layer], axis=0)),
        only=lambda n: n.output == "softmax",
    ),
    M(
        "softmax-over-everything",
        "softmax over rows and classes at once",
        "The probabilities of one row sum to 1; here all numbers of the table together do: np.sum without an axis.",
        "p_k = exp(z_k) / sum over classes of exp(z)",
        "p_k = exp(z_k) / sum over rows and classes of exp(z)",
        "output",
        _to(lambda c, layer: np.exp(c.z[layer]) / np.exp(c.z[layer]).sum()),
        only=lambda n: n.output == "softmax",
    ),
    M(
        "softmax-over-rows",
        "softmax over the rows instead of the classes",
        "The probabilities of one row sum to 1; here those of one class do, over all rows: the wrong axis in the sum, "
        "where the largest z is still taken of each row.",
        "p_k = exp(z_k) / sum over classes of exp(z)",
        "p_k = exp(z_k - max of the row) / sum over rows of it",
        "output",
        _to(lambda c, layer: _shifted(c.z[layer]) / _shifted(c.z[layer]).sum(axis=0)),
        only=lambda n: n.output == "softmax",
    ),
    M(
        "softmax-over-everything",
        "softmax over rows and classes at once",
        "The probabilities of one row sum to 1; here all numbers of the table together do: np.sum without an axis.",
        "p_k = exp(z_k) / sum over classes of exp(z)",
        "p_k = exp(z_k - max of the row) / sum over rows and classes of it",
        "output",
        _to(lambda c, layer: _shifted(c.z[layer]) / _shifted(c.z[layer]).sum()),
        only=lambda n: n.output == "softmax",
    ),
    M(
        "softmax-not-normalised",
        "softmax is not divided by its sum",
        "The exponentials are not yet probabilities: they are divided by their sum over the classes.",
        "p_k = exp(z_k) / sum over classes of exp(z)",
        "p_k = exp(z_k)",
        "output",
        _to(lambda c, layer: np.exp(c.z[layer])),
        only=lambda n: n.output == "softmax",
    ),
    # The loss.
    M(
        "loss-sign",
        "the loss has the wrong sign",
        "The logarithm of a probability is negative, so a loss begins with a minus; here it is missing.",
        "loss = -(y log p + (1 - y) log(1 - p))",
        "loss = y log p + (1 - y) log(1 - p)",
        "row_losses",
        _times(lambda c: -1.0),
    ),
    M(
        "loss-half-missing",
        "half of the binary cross-entropy is missing",
        "A row with y = 0 has the loss -log(1 - p); here such rows cost nothing.",
        "loss = -(y log p + (1 - y) log(1 - p))",
        "loss = -y log p",
        "row_losses",
        _to(lambda c, layer: -(c.y * np.log(c.p)).sum(axis=1) * c.outputs_factor),
        only=lambda n: n.loss == "binary_cross_entropy",
    ),
    M(
        "loss-swapped",
        "p and y are exchanged in the loss",
        "The logarithm is that of p, weighted by y. Here the two are exchanged, and log 0 of a target is infinite.",
        "loss = -(y log p + (1 - y) log(1 - p))",
        "loss = -(p log y + (1 - p) log(1 - y))",
        "row_losses",
        _to(lambda c, layer: -(c.p * np.log(c.y) + (1 - c.p) * np.log(1 - c.y)).sum(axis=1)),
        only=lambda n: n.loss == "binary_cross_entropy",
    ),
    M(
        "log-base-ten",
        "the logarithm is not the natural one",
        "log10 in place of log makes the loss 2.303 times smaller than the one whose gradient is p - y.",
        "loss = -log p",
        "loss = -log10 p",
        "row_losses",
        _times(lambda c: 1 / float(np.log(10))),
        only=lambda n: n.loss != "squared_error",
    ),
    M(
        "log-base-two",
        "the logarithm is not the natural one",
        "log2 in place of log makes the loss 1.443 times larger than the one whose gradient is p - y.",
        "loss = -log p",
        "loss = -log2 p",
        "row_losses",
        _times(lambda c: 1 / float(np.log(2))),
        only=lambda n: n.loss != "squared_error",
    ),
    M(
        "loss-not-squared",
        "the error is not squared",
        "Without the square, errors above and below cancel.",
        "loss = (p - y)^2",
        "loss = p - y",
        "row_losses",
        _to(lambda c, layer: (c.p - c.y).sum(axis=1) * c.outputs_factor),
        only=_squared,
    ),
    M(
        "loss-averaged-twice",
        "the loss is divided by n twice",
        "The mean over the rows divides by n once.",
        "loss = 1/n sum over rows of row loss",
        "loss = 1/n^2 sum over rows of row loss",
        "loss",
        _times(lambda c: 1 / c.n),
        only=lambda n: n.loss_rows == "mean",
    ),
    M(
        "loss-of-last-row",
        "the loss is that of one row",
        "The rows' losses are added; here the last has overwritten the others.",
        "loss = 1/n sum over rows of row loss",
        "loss = row loss of the last row",
        "loss",
        _to(lambda c, layer: c.row_losses[-1]),
    ),
    M(
        "loss-root",
        "the root of the loss",
        "The root of the mean square has another derivative than the mean square.",
        "loss = 1/n sum (p - y)^2",
        "loss = root of 1/n sum (p - y)^2",
        "loss",
        _of(lambda c, layer, loss: np.sqrt(loss)),
        only=_squared,
    ),
    M(
        "penalty-missing-in-loss",
        "the penalty is missing from the loss",
        "The gradient has the penalty, and the loss does not.",
        "loss = mean of row losses + l2/2 sum W^2",
        "loss = mean of row losses",
        "penalty",
        _to(lambda c, layer: 0.0),
        only=lambda n: n.l2 != "none",
    ),
    M(
        "penalty-on-biases-in-loss",
        "the penalty of the loss is on the biases too",
        "Only weights are penalised in the gradient; the loss adds the squares of the biases as well.",
        "penalty = l2/2 sum W^2",
        "penalty = l2/2 (sum W^2 + sum b^2)",
        "penalty",
        _of(lambda c, layer, penalty: penalty + c.l2_factor / 2 * sum(float(np.sum(b**2)) for b in c.b[1:])),
        only=lambda n: n.l2 != "none",
    ),
)
