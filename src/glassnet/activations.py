"""The activations: one row each, value and derivative written once and read by everything.

Altering a row alters the numbers, the printed equations and the worked calculations alike. None is larger than
2 |z| + 2, which `kernels.loop` takes for granted where a loss cannot be infinite.
"""

from __future__ import annotations

from dataclasses import dataclass

from glassnet.errors import UsageError, did_you_mean
from glassnet.expressions import Expression, parse


@dataclass(frozen=True)
class ActivationRow:
    """An activation a = f(z).

    `value` and `derivative` are the forms that are computed, stable for any z (the derivative may use a = f(z));
    `textbook` is the form a book gives. At a kink the derivative is the one that `derivative` states. `source` says
    where the function comes from.

    >>> str(ACTIVATIONS["tanh"].derivative)
    '1 - a * a'
    """

    name: str
    value: Expression  # in z
    derivative: Expression  # da/dz, in z and a
    textbook: Expression  # in z
    source: str
    kinks: tuple[float, ...] = ()

    def __hash__(self) -> int:
        return hash(self.name)  # part of a key that every training looks up


def _row(
    name: str, value: str, derivative: str, textbook: str, source: str, kinks: tuple[float, ...] = ()
) -> ActivationRow:
    return ActivationRow(name, parse(value), parse(derivative), parse(textbook), source, kinks)


_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772
_NORMAL_CDF = "erfc(-z * 0.7071067811865476) / 2"

ACTIVATIONS: dict[str, ActivationRow] = {
    row.name: row
    for row in (
        _row("identity", "z", "1", "z", "a layer without an activation"),
        _row(
            "relu",
            "max(z, 0)",
            "select(z > 0, 1, 0)",
            "max(z, 0)",
            "Fukushima 1969; Nair and Hinton 2010",
            (0.0,),
        ),
        _row(
            "leaky_relu",
            "select(z > 0, z, 0.01 * z)",
            "select(z > 0, 1, 0.01)",
            "select(z > 0, z, 0.01 * z)",
            "Maas, Hannun and Ng 2013",
            (0.0,),
        ),
        _row(
            "elu",
            "select(z > 0, z, expm1(min(z, 0)))",
            "select(z > 0, 1, exp(min(z, 0)))",
            "select(z > 0, z, exp(z) - 1)",
            "Clevert, Unterthiner and Hochreiter 2015, alpha = 1",
        ),
        _row(
            "selu",
            f"{_SELU_SCALE} * select(z > 0, z, {_SELU_ALPHA} * expm1(min(z, 0)))",
            f"{_SELU_SCALE} * select(z > 0, 1, {_SELU_ALPHA} * exp(min(z, 0)))",
            f"{_SELU_SCALE} * select(z > 0, z, {_SELU_ALPHA} * (exp(z) - 1))",
            "Klambauer et al. 2017",
            (0.0,),
        ),
        _row(
            "gelu",
            f"z * ({_NORMAL_CDF})",
            f"{_NORMAL_CDF} + z * (exp(-(z * z) / 2) * 0.3989422804014327)",
            "z * (1 + erf(z / sqrt(2))) / 2",
            "Hendrycks and Gimpel 2016, the exact form",
        ),
        _row(
            "silu",
            "z * sigmoid(z)",
            "sigmoid(z) + a * sigmoid(-z)",
            "z / (1 + exp(-z))",
            "Elfwing, Uchibe and Doya 2017",
        ),
        _row("softplus", "softplus(z)", "sigmoid(z)", "log(1 + exp(z))", "Dugas et al. 2001"),
        _row(
            "softsign",
            "z / (1 + abs(z))",
            "1 / (1 + abs(z))**2",
            "z / (1 + abs(z))",
            "Bergstra et al. 2009",
        ),
        _row("tanh", "tanh(z)", "1 - a * a", "(exp(z) - exp(-z)) / (exp(z) + exp(-z))", "LeCun et al. 1998"),
        _row("sigmoid", "sigmoid(z)", "a * (1 - a)", "1 / (1 + exp(-z))", "Verhulst 1838"),
    )
}


def activation_row(name: str) -> ActivationRow:
    """The row of that name; `logistic` is another word for `sigmoid`.

    Raises `UsageError`, with the nearest name, where there is none.

    >>> activation_row("logistic").name
    'sigmoid'
    """
    row = ACTIVATIONS.get("sigmoid" if name == "logistic" else name)
    if row is None:
        raise UsageError(
            f"An activation is one of {', '.join(ACTIVATIONS)}; {name!r} is not.{did_you_mean(name, ACTIVATIONS)}"
        )
    return row
