"""One training step, forward, backward and update, each equation a step of its own that a mistake may change.

Without mistakes its numbers are those of `glassnet.reference`, to rounding and in the candidate's convention; tests
hold
the two together. With mistakes they are what a candidate gives that makes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from glassnet.activations import activation_row
from glassnet.checking.cases import Case
from glassnet.expressions import function
from glassnet.network import FloatArray


class Quantity(NamedTuple):
    """What is compared: kind z, a, p, loss, delta, dW, db, W or b (after the update), and the layer, 0 where it has
    none."""

    kind: str
    layer: int = 0

    def __str__(self) -> str:
        if self.kind in ("W", "b"):
            return f"updated {self.kind}{self.layer}"
        return f"{self.kind}{self.layer or ''}"


@dataclass(frozen=True)
class Numbers:
    """The conventions that change numbers. `logits`: what forward gives is the output before its activation.

    `ascent`: gradients are those of minus the loss, and the update adds them. l2: "none", "half" (l2/2 sum W^2),
    "whole" (l2 sum W^2) or "half_over_n" (l2/(2n) sum W^2).
    """

    hidden: str = "relu"
    output: str = "sigmoid"
    loss: str = "binary_cross_entropy"
    loss_rows: str = "mean"
    gradient_rows: str = "mean"
    half: bool = False
    outputs: str = "sum"
    l2: str = "none"
    logits: bool = False
    ascent: bool = False


Step = Callable[["Computation", int], Any]
Change = Callable[[Step], Step]


@lru_cache(maxsize=64)
def activation(name: str) -> Callable[[FloatArray], FloatArray]:
    """f of the table's row, of z."""
    return function(activation_row(name).value, ("z",), "library")


@lru_cache(maxsize=64)
def activation_derivative(name: str) -> Callable[[FloatArray, FloatArray], FloatArray]:
    """f' of the table's row, of z and a = f(z); an array of z's shape."""
    computed = function(activation_row(name).derivative, ("z", "a"), "library")
    return lambda z, a: computed(z, a) * np.ones_like(z)


def softmax(z: FloatArray, axis: int = 1) -> Any:
    """exp(z) / sum of exp(z), along an axis."""
    raised = np.exp(z - z.max(axis=axis, keepdims=True))
    return raised / raised.sum(axis=axis, keepdims=True)


@lru_cache(maxsize=256)
def sum_of_squares(case: Case) -> float:
    """Of all weights."""
    return sum(float(np.sum(W**2)) for W in case.weights)


class Computation:
    """All numbers of one step: lists over layers, from 1; a[0] is X, a[L] is p.

    `steps`: the equation of every step; `changes` replace some, in the order given, each around what was there before.
    """

    def __init__(self, case: Case, numbers: Numbers, changes: Iterable[Mapping[str, Change]] = ()) -> None:
        self.case, self.numbers = case, numbers
        self.L, self.n, self.k = len(case.weights), case.n, case.sizes[-1]
        self.W: list[Any] = [None, *case.weights]
        self.b: list[Any] = [None, *case.biases]
        self.y = case.y
        self.a: list[Any] = [None] * (self.L + 1)
        self.z, self.delta, self.upstream = list(self.a), list(self.a), list(self.a)
        self.dW, self.db, self.new_W, self.new_b = list(self.a), list(self.a), list(self.a), list(self.a)
        self.steps: dict[str, Step] = dict(STEPS)
        of_forward: list[tuple[str, Change]] = []
        for change in changes:
            for step, changed in change.items():
                self.steps[step] = changed(self.steps[step])
                if step in FORWARD_STEPS:
                    of_forward.append((step, changed))
        self.forward_changes = tuple(of_forward)

    def do(self, step: str, layer: int = 0) -> Any:
        """The numbers of one step of one layer."""
        return self.steps[step](self, layer)

    def quantities(self, with_loss: bool = True) -> Iterator[tuple[Quantity, Any]]:
        """Every number, in order of computation; the loss, which nothing depends on, only where it is wanted."""
        with np.errstate(all="ignore"):
            yield from self._forward()
            if with_loss:
                self.row_losses = self.do("row_losses")
                yield Quantity("loss"), self.do("loss") + self.do("penalty")
            for layer in range(self.L, 0, -1):
                if layer == self.L:
                    self.delta[layer] = self.do("output_delta", layer)
                else:
                    self.upstream[layer] = self.do("upstream", layer)
                    self.delta[layer] = self.do("delta", layer)
                yield Quantity("delta", layer), self.delta[layer]
                self.dW[layer] = self.do("weight_gradient", layer) + self.do("penalty_gradient", layer)
                self.db[layer] = self.do("bias_gradient", layer) + self.do("bias_penalty_gradient", layer)
                yield Quantity("dW", layer), self.dW[layer]
                yield Quantity("db", layer), self.db[layer]
            for layer in range(self.L, 0, -1):
                self.new_W[layer] = self.do("updated_weights", layer)
                self.new_b[layer] = self.do("updated_biases", layer)
                yield Quantity("W", layer), self.new_W[layer]
                yield Quantity("b", layer), self.new_b[layer]

    def _forward(self) -> Iterator[tuple[Quantity, Any]]:
        z, a = forward_numbers(self.case, self.numbers.hidden, self.numbers.output, self.forward_changes)
        self.z, self.a = list(z), list(a)
        for layer in range(1, self.L):
            yield Quantity("z", layer), z[layer]
            yield Quantity("a", layer), a[layer]
        yield Quantity("z", self.L), z[self.L]
        yield Quantity("p"), z[self.L] if self.numbers.logits else a[self.L]
        for layer, changed in self.case.inputs_backward.items():
            if "a" in self.case.held:
                self.a[layer - 1] = changed
            if "z" in self.case.held and activation_row(self.numbers.hidden).kinks:  # z and a lie on the same side
                self.z[layer - 1] = changed

    def compute_forward(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """z and a of all layers, from 1, a[0] X."""
        self.a[0] = self.case.X
        with np.errstate(all="ignore"):
            for layer in range(1, self.L + 1):
                below = self.a[layer - 1]
                self.a[layer - 1] = self.case.inputs.get(layer, below)
                self.z[layer] = self.do("pre_activation", layer)
                self.a[layer - 1] = below
                self.a[layer] = self.do("output" if layer == self.L else "activation", layer)
        return tuple(self.z), tuple(self.a)

    def all(self) -> dict[Quantity, Any]:
        """Every number by name."""
        return dict(self.quantities())

    # What several steps and several mistakes are made of.

    @property
    def p(self) -> FloatArray:
        """The outputs (n, k)."""
        answer: FloatArray = self.a[self.L]
        return answer

    @property
    def outputs_factor(self) -> float:
        """1/k where the loss of a row is the mean over its outputs."""
        return 1 / self.k if self.numbers.outputs == "mean" else 1.0

    def hidden_derivative(self, z: FloatArray, a: FloatArray, name: str | None = None) -> FloatArray:
        """f'(z) of the hidden activation, or of another."""
        return activation_derivative(name or self.numbers.hidden)(z, a)

    def output_derivative(self, z: FloatArray, p: FloatArray) -> FloatArray:
        """dp/dz of the output, for softmax without its cross terms."""
        name = self.numbers.output
        return p * (1 - p) if name == "softmax" else activation_derivative(name)(z, p)

    def by_probability(self) -> FloatArray:
        """d row loss / dp."""
        p, y, loss = self.p, self.y, self.numbers.loss
        slope: FloatArray
        if loss == "binary_cross_entropy":
            slope = (p - y) / (p * (1 - p))
        elif loss == "cross_entropy":
            slope = -y / p
        else:
            slope = (p - y) * (1 if self.numbers.half else 2)
        return slope * self.outputs_factor

    @property
    def over_rows(self) -> float:
        """1/n where gradients are means over rows."""
        return 1 / self.n if self.numbers.gradient_rows == "mean" else 1.0

    @property
    def l2_factor(self) -> float:
        """What W is multiplied by in the penalty's gradient."""
        l2 = self.case.l2
        return {"none": 0.0, "half": l2, "whole": 2 * l2, "half_over_n": l2 / self.n}[self.numbers.l2]


def _pre_activation(c: Computation, layer: int) -> Any:
    return c.a[layer - 1] @ c.W[layer] + c.b[layer]


def _activation(c: Computation, layer: int) -> Any:
    return activation(c.numbers.hidden)(c.z[layer])


def _output(c: Computation, layer: int) -> Any:
    z = c.z[layer]
    return softmax(z) if c.numbers.output == "softmax" else activation(c.numbers.output)(z)


def _row_losses(c: Computation, layer: int) -> Any:
    p, y, loss = c.p, c.y, c.numbers.loss
    terms: FloatArray
    if loss == "binary_cross_entropy":
        terms = -(y * np.log(p) + (1 - y) * np.log(1 - p))
    elif loss == "cross_entropy":
        terms = -(y * np.log(p))
    else:
        terms = (p - y) ** 2 * (0.5 if c.numbers.half else 1)
    return terms.sum(axis=1) * c.outputs_factor


def _loss(c: Computation, layer: int) -> Any:
    return c.row_losses.mean() if c.numbers.loss_rows == "mean" else c.row_losses.sum()


def _penalty(c: Computation, layer: int) -> Any:
    factor = c.l2_factor
    return factor / 2 * sum_of_squares(c.case) if factor else 0.0


def _output_delta(c: Computation, layer: int) -> Any:
    numbers, p, y = c.numbers, c.p, c.y
    if (numbers.output, numbers.loss) in FUSED:
        return (p - y) * c.outputs_factor
    slope = c.by_probability()
    if numbers.output == "softmax":
        return p * (slope - (slope * p).sum(axis=1, keepdims=True))
    return slope * c.output_derivative(c.z[layer], p)


FUSED = {("sigmoid", "binary_cross_entropy"), ("softmax", "cross_entropy")}
"""Where the derivative of the output's activation cancels and p - y is left."""


def _upstream(c: Computation, layer: int) -> Any:
    return c.delta[layer + 1] @ c.do("upstream_weights", layer + 1).T


def _upstream_weights(c: Computation, layer: int) -> Any:
    return c.W[layer]


def _derivative(c: Computation, layer: int) -> Any:
    return c.hidden_derivative(c.z[layer], c.a[layer])


def _delta(c: Computation, layer: int) -> Any:
    return c.upstream[layer] * c.do("derivative", layer)


def _over_rows(c: Computation, layer: int) -> Any:
    return -c.over_rows if c.numbers.ascent else c.over_rows


def _weight_gradient(c: Computation, layer: int) -> Any:
    inputs, delta = c.do("gradient_inputs", layer), c.do("weight_delta", layer)
    return c.do("over_rows", layer) * (inputs.T @ delta)


def _gradient_inputs(c: Computation, layer: int) -> Any:
    return c.case.inputs_backward.get(layer, c.a[layer - 1])


def _own_delta(c: Computation, layer: int) -> Any:
    return c.do("counted_delta", layer)


def _counted_delta(c: Computation, layer: int) -> Any:
    return c.delta[layer]


def _bias_gradient(c: Computation, layer: int) -> Any:
    return c.do("bias_over_rows", layer) * c.do("bias_delta", layer).sum(axis=0)


def _bias_over_rows(c: Computation, layer: int) -> Any:
    return c.do("over_rows", layer)


def _penalty_gradient(c: Computation, layer: int) -> Any:
    factor = c.l2_factor
    return factor * c.W[layer] if factor else 0.0


def _nothing(c: Computation, layer: int) -> Any:
    return 0.0


def _updated_weights(c: Computation, layer: int) -> Any:
    return c.W[layer] + c.do("step_factor", layer) * c.dW[layer]


def _updated_biases(c: Computation, layer: int) -> Any:
    return c.b[layer] + c.do("step_factor", layer) * c.db[layer]


def _step_factor(c: Computation, layer: int) -> Any:
    return c.case.learning_rate if c.numbers.ascent else -c.case.learning_rate


STEPS: Mapping[str, Step] = {
    "pre_activation": _pre_activation,
    "activation": _activation,
    "output": _output,
    "row_losses": _row_losses,
    "loss": _loss,
    "penalty": _penalty,
    "output_delta": _output_delta,
    "upstream": _upstream,
    "upstream_weights": _upstream_weights,
    "derivative": _derivative,
    "delta": _delta,
    "over_rows": _over_rows,
    "gradient_inputs": _gradient_inputs,
    "counted_delta": _counted_delta,
    "weight_delta": _own_delta,
    "weight_gradient": _weight_gradient,
    "bias_over_rows": _bias_over_rows,
    "bias_delta": _own_delta,
    "bias_gradient": _bias_gradient,
    "penalty_gradient": _penalty_gradient,
    "bias_penalty_gradient": _nothing,
    "step_factor": _step_factor,
    "updated_weights": _updated_weights,
    "updated_biases": _updated_biases,
}
FORWARD_STEPS = frozenset(("pre_activation", "activation", "output"))
LOSS_STEPS = frozenset(("row_losses", "loss", "penalty"))


@lru_cache(maxsize=4096)
def forward_numbers(
    case: Case, hidden: str, output: str, changes: tuple[tuple[str, Change], ...]
) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """z and a of all layers: what most of the computations that are tried have in common."""
    return Computation(case, Numbers(hidden, output), [{step: change} for step, change in changes]).compute_forward()
