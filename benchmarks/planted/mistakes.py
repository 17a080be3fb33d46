"""The planted mistakes: what a checker may rightly call each, and the draws in which it is one.

Names are ours, written before the checker's were known; `keys` maps them by meaning. Several keys stand where two names
say the same of the file at hand: a squared error whose output derivative is missing has the gradient of cross-entropy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from planted.edits import Edit, every

SMOOTH = ("tanh", "sigmoid", "elu", "softplus", "softsign")


@dataclass(frozen=True)
class Planted:
    """keys: the right names. wants: fields of a draw. problem: a kind of `Report.problem` that is right as well."""

    keys: frozenset[str]
    wants: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    problem: frozenset[str] = frozenset()


def _of(*keys: str, problem: str = "", **wants: Any) -> Planted:
    return Planted(
        frozenset(keys), {k: v if isinstance(v, tuple) else (v,) for k, v in wants.items()}, frozenset(problem.split())
    )


PLANTED: Mapping[str, Planted] = {
    # Where another mistake stands in the biases' line, it is the weights' gradients alone that are summed, or averaged.
    "gradient summed": _of(
        "gradient-not-averaged", "weight-gradient-not-averaged", rows="mean", outputs="sum", has_loss=True
    ),
    "gradient averaged": _of("gradient-averaged", "weight-gradient-averaged", rows="sum", has_loss=True, l2="none"),
    "averaged twice": _of("gradient-averaged-twice", rows="mean", outputs="sum", has_loss=True, l2="none"),
    "averaged over the wrong axis": _of(
        "divided-by-features", rows="mean", outputs="sum", has_loss=True, l2="none", scaled_at="gradient"
    ),
    "bias not averaged": _of("bias-gradient-not-averaged", rows="mean", scaled_at="gradient"),
    "sign of the error": _of("error-sign", has_loss=True, l2="none"),
    "sign of the update": _of("update-sign", "adam-sign", "momentum-sign", has_update=True),  # every update in the file
    "derivative missing": _of("activation-derivative-missing"),
    "derivative doubled": _of("activation-derivative-doubled", hidden=SMOOTH),
    "derivative of z at a": _of("activation-derivative-at-a", hidden=SMOOTH, derivative="z"),
    "derivative of a at z": _of("activation-derivative-at-z", hidden=("tanh", "sigmoid"), derivative="a"),
    "derivative at the wrong layer": _of(
        "activation-derivative-wrong-layer", "activation-derivative-layer-below", sizes="square"
    ),
    "weights transposed": _of("weights-transposed", sizes="square"),
    "updated weights used": _of("updated-weights-used", "parameters-changed", has_loss=True),
    "bias gradient of one row": _of("bias-gradient-of-first-row", "bias-gradient-of-last-row"),
    "bias gradient not summed": _of("bias-gradient-not-summed"),
    "bias gradient summed over units": _of("bias-gradient-summed-over-units"),
    "bias gradient of another layer": _of("bias-gradient-of-another-layer", sizes="square"),
    "bias gradient of another unit": _of("bias-gradient-of-another-unit", "bias-gradient-pasted"),
    "sigmoid derivative on cross-entropy": _of(
        "sigmoid-derivative-on-cross-entropy",
        "gradient-of-squared-error",
        output="sigmoid",
        loss="binary_cross_entropy",
        fused=True,
        has_loss=True,
    ),
    "output derivative missing": _of(
        "output-derivative-missing",
        "gradient-of-cross-entropy",
        output=("sigmoid", "tanh"),
        loss="squared_error",
        has_loss=True,
    ),
    "softmax without cross terms": _of("softmax-without-cross-terms", output="softmax"),
    "accumulates between calls": _of("gradients-accumulate", sizes="one"),
    "factor of the square in the gradient": _of(
        "factor-two-missing",
        "factor-two-extra",
        "gradient-halved",
        "gradient-doubled",
        loss="squared_error",
        has_loss=True,
        l2="none",
    ),
    "gradient of another loss": _of(
        "gradient-of-cross-entropy",
        "output-derivative-missing",
        output="sigmoid",
        loss="binary_cross_entropy",
        fused=True,
        has_loss=True,
        l2="none",
    ),
    "log of a rounded probability": _of(
        "log-of-zero", problem="nan", output="sigmoid", loss="binary_cross_entropy", guard="", has_loss=True
    ),
    "penalty on biases": _of("penalty-on-biases", l2=("half",), has_loss=True),
    "penalty missing": _of("penalty-missing-in-gradient", l2=("half", "whole", "half_over_n"), has_loss=True),
    "penalty doubled": _of("penalty-doubled", l2=("half", "half_over_n"), has_loss=True),
    "penalty halved": _of("penalty-halved", l2="whole", has_loss=True),
    "penalty subtracted": _of("penalty-sign", l2=("half", "whole", "half_over_n"), has_loss=True),
    "integer division": _of("integer-division", rows="mean", scaled_at="gradient"),
    "input changed in place": _of("input-changed", problem="changed-arguments"),
    "bias forgotten": _of("bias-missing"),
    "activation forgotten": _of("activation-missing", hidden=SMOOTH, derivative="z"),
    "weight gradient with z": _of("weight-gradient-from-z"),
    "inputs of another layer": _of("weight-gradient-from-inputs", sizes="square", layers=2),
    "weights left out of the chain": _of("weights-missing", sizes="square"),
    "gradient instead of weights": _of("gradient-instead-of-weights"),
    "weights of another layer": _of("weights-of-wrong-layer", layers=3, sizes="square"),
    "derivative of another activation": _of(
        "derivative-of-sigmoid", "derivative-of-sigmoid-at-z", "derivative-of-tanh", "derivative-of-relu"
    ),
    "loss without the rows of class 0": _of(
        "loss-half-missing", output="sigmoid", loss="binary_cross_entropy", has_loss=True
    ),
    "loss with the wrong sign": _of(
        "loss-sign", loss=("binary_cross_entropy", "cross_entropy"), has_loss=True, l2="none"
    ),
    "softmax over the wrong axis": _of("softmax-over-rows", output="softmax", fused=True),
    "update without learning rate": _of("learning-rate-missing", has_update=True),
    "biases not updated": _of("biases-not-updated", has_update=True),
    "first layer not trained": _of("weight-gradient-zero", "bias-gradient-zero"),
    "scaling learned on test rows": _of("scaled-on-test-rows"),
    "X shuffled without y": _of("rows-shuffled-without-targets"),
    "momentum's sign": _of("momentum-sign", "momentum-gradient-sign"),
    "momentum without its memory": _of("momentum-not-kept", "momentum-without-beta"),
    "Adam without bias correction": _of("adam-no-bias-correction"),
    "Adam's epsilon inside the root": _of("adam-epsilon-inside-root"),
    "Adam's state shared": _of("adam-shared-state", "adam-v-from-m", "state-kept"),
    "Adam's square forgotten": _of("adam-not-squared"),
    "one unit's formula for another": _of(
        "unit-pasted",
        "derivative-pasted",
        "upstream-pasted",
        "weight-gradient-pasted",
        "input-pasted",
        "first-output-only",
    ),
}

GROUPS: tuple[tuple[str, ...], ...] = (
    (  # the loss, and its derivative
        "sign of the error",
        "sigmoid derivative on cross-entropy",
        "output derivative missing",
        "softmax without cross terms",
        "softmax over the wrong axis",
        "factor of the square in the gradient",
        "gradient of another loss",
        "log of a rounded probability",
        "loss without the rows of class 0",
        "loss with the wrong sign",
    ),
    (  # factors of the gradients
        "gradient summed",
        "gradient averaged",
        "averaged twice",
        "averaged over the wrong axis",
        "bias not averaged",
        "integer division",
    ),
    (  # the way back through a hidden layer
        "derivative missing",
        "derivative doubled",
        "derivative of z at a",
        "derivative of a at z",
        "derivative at the wrong layer",
        "derivative of another activation",
        "square forgotten in tanh derivative",
        "weights transposed",
        "weights left out of the chain",
        "gradient instead of weights",
        "weights of another layer",
        "activation forgotten",
        "one unit's formula for another",
        "first layer not trained",
    ),
    ("weight gradient with z", "inputs of another layer", "activation forgotten", "first layer not trained"),
    ("sign of the update", "update without learning rate", "biases not updated", "updated weights used"),
)
"""Mistakes of one group change the same numbers: two of them may be a third, or one alone, so they are no pair."""

UNKNOWN: Mapping[str, Mapping[str, Edit]] = {
    "dicts": {
        "gradient clipped": every(
            r"^(    )((\w+) = \{.*'d?W1': dW1.*\})$",
            r"\1\2\n    \3 = {key: np.clip(g, -0.01, 0.01) for key, g in \3.items()}",
        ),
        "gradient normalised": every(r"^(    dW(\d) = .*)$", r"\1\n    dW\2 = dW\2 / np.linalg.norm(dW\2)"),
        "absolute value": every(r"^(    dA1 = )(.*)$", r"\1np.abs(\2)"),
        "a constant in the derivative": every(r"^(    dZ1 = dA1 \* .*)$", r"\1 * 1.7"),
        "cosine for the derivative": every(r"^(    dZ1 = dA1 \* ).*$", r"\1np.cos(Z1)"),
        "weights squared on the way back": every(r"^(    dA1 = .*)(\w+)\['W2'\]\.T", r"\1\2['W2'].T ** 2"),
    },
    "lists": {
        "gradient clipped": every(r"^(    return loss, )", r"    dW = [np.clip(g, -0.01, 0.01) for g in dW]\n\1"),
        "noise": every(r"^(            (?:err|delta) = .*)$", r"\1 + 0.05 * X[0, 0]"),
        "rows weighted by themselves": every(r"^    (err|delta) = (.*y.*)$", r"    \1 = (\2) * (1 + 0.3 * X[:, :1])"),
        "cube of a": every(r"^(        dW\.insert\(0, .*)activations\[k\]", r"\1(activations[k] ** 3)"),
        "delta centred": every(r"^(            )(err|delta) = (.*)$", r"\1\2 = \3\n\1\2 = \2 - \2.mean(axis=0)"),
    },
    "objects": {
        "dropout left on": every(r"^(        delta1 = .*)$", r"\1\n        delta1[::2] = 0"),
        "a power in the error": every(r"^(        delta2 = .*)$", r"\1\n        delta2 = delta2 ** 3"),
        "sign of the gradient": every(r"^(        delta1 = .*)$", r"\1\n        delta1 = np.sign(delta1)"),
        "weights mixed": every(r"self\.W2\.T\)", "(self.W2 + 0.5).T)"),
    },
}
"""By style: mistakes that no table has."""
