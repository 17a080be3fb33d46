"""What a file computes and by which conventions, drawn at random; how it is written is the styles' business."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

HIDDEN: Mapping[str, tuple[str, str, str | None]] = {
    "relu": ("np.maximum(0, z)", "(z > 0) * 1.0", "(a > 0) * 1.0"),
    "tanh": ("np.tanh(z)", "1 - np.tanh(z) ** 2", "1 - a ** 2"),
    "sigmoid": ("1 / (1 + np.exp(-z))", "np.exp(-z) / (1 + np.exp(-z)) ** 2", "a * (1 - a)"),
    "leaky_relu": ("np.where(z > 0, z, 0.01 * z)", "np.where(z > 0, 1.0, 0.01)", None),
    "elu": ("np.where(z > 0, z, np.exp(z) - 1)", "np.where(z > 0, 1.0, np.exp(z))", None),
    "softplus": ("np.log(1 + np.exp(z))", "1 / (1 + np.exp(-z))", None),
    "softsign": ("z / (1 + np.abs(z))", "1 / (1 + np.abs(z)) ** 2", None),
}
"""Value of z, derivative of z, derivative of a = f(z) where students write it so."""

OFTEN = ("relu", "relu", "tanh", "tanh", "sigmoid", "sigmoid", "leaky_relu", "elu", "softplus", "softsign")
OUTPUTS = (
    ("sigmoid", "binary_cross_entropy"),
    ("sigmoid", "binary_cross_entropy"),
    ("softmax", "cross_entropy"),
    ("softmax", "cross_entropy"),
    ("identity", "squared_error"),
    ("sigmoid", "squared_error"),
    ("tanh", "squared_error"),
)


@dataclass(frozen=True)
class Draw:
    """One network and its conventions.

    sizes: None where the file takes any; declared in the file where it is about one network. derivative: whether f' is
    a function of z, of a, or written inline. scaled_at: whether the mean over rows is taken at the output's delta or at
    every gradient. guard: what keeps the logarithm from zero. fused: p - y, or dL/dp times the output's derivative.
    ascent: the error is y - p, and the step adds it.
    """

    layers: int
    sizes: tuple[int, ...] | None
    hidden: str
    output: str
    loss: str
    rows: str
    outputs: str
    half: bool
    l2: str
    guard: str
    derivative: str
    scaled_at: str
    fused: bool
    has_loss: bool
    has_update: bool
    in_out: bool
    ascent: bool

    @property
    def conventions(self) -> str:
        """The line that declares what the file is about, or nothing."""
        return f'CONVENTIONS = "sizes={"-".join(map(str, self.sizes))}"\n\n' if self.sizes else ""

    @property
    def slope(self) -> str:
        """The factor of a squared error's derivative: "" or "2 * "."""
        return "" if self.half else "2 * "


def drawn(rng: Random, **wants: Sequence[Any]) -> Draw:
    """A draw whose fields are among `wants`; `sizes` wanted: "any", "one", "square" or "equal_hidden"."""
    for _ in range(10_000):
        draw = _drawn(rng, wants.get("sizes", ()))
        if all(getattr(draw, field) in values for field, values in wants.items() if field != "sizes"):
            return draw
    raise ValueError(f"no draw has {wants}")


def _drawn(rng: Random, shapes: Sequence[str]) -> Draw:
    layers = rng.choice((2, 2, 3))
    output, loss = rng.choice(OUTPUTS)
    hidden = rng.choice(OFTEN)
    forms = ["z", "z", "inline"] + (["a", "a"] if HIDDEN[hidden][2] else [])
    l2 = rng.choice(("none",) * 7 + ("half", "whole", "half_over_n"))
    rows = "mean" if l2 == "half_over_n" else rng.choice(("mean", "mean", "sum"))
    squared = loss == "squared_error"
    return Draw(
        layers=layers,
        sizes=_sizes(rng, layers, rng.choice(tuple(shapes) or ("any", "any", "one")), output),
        hidden=hidden,
        output=output,
        loss=loss,
        rows=rows,
        outputs="mean" if rows == "mean" and output != "softmax" and l2 == "none" and rng.random() < 0.3 else "sum",
        half=squared and rng.random() < 0.6,
        l2=l2,
        guard="" if squared else rng.choice(("", "", "add", "clip")),
        derivative=rng.choice(forms),
        scaled_at=rng.choice(("delta", "gradient")),
        fused=rng.random() < 0.7,
        has_loss=rng.random() < 0.8,
        has_update=rng.random() < 0.6,
        in_out=rng.random() < 0.7,
        ascent=rng.random() < 0.1,
    )


def _sizes(rng: Random, layers: int, shape: str, output: str) -> tuple[int, ...] | None:
    least = 2 if output == "softmax" else 1
    if shape == "any":
        return None
    if shape == "square":
        return (rng.randint(2, 6),) * (layers + 1)
    if shape == "equal_hidden":
        return (rng.randint(2, 7), *[rng.randint(2, 6)] * (layers - 1), rng.randint(least, 4))
    return (*(rng.randint(2, 7) for _ in range(layers)), rng.randint(least, 5))
