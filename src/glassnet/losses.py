"""The losses: one row each, from the logits o, stable for logits of any size.

A row's loss is the mean over its outputs of `value`. Cross-entropy is the exception: its outputs are the classes of
one outcome, so their terms are summed. The probabilities (for regression: the predictions) p follow from the
logits by the loss's link.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from glassnet.errors import UsageError, did_you_mean
from glassnet.expressions import Expression, const, parse, substitute


@dataclass(frozen=True)
class LinkRow:
    """How logits become probabilities: p = `value`, in o and, for softmax, in the row's m and s.

    m is the largest logit of the row and s = sum over its outputs of exp(o - m), so exp never overflows.
    `derivative` is dp/do, in p. Where a link goes `over_classes`, every class's p depends on every logit: there it is
    in q too, the probability of the class whose logit it is, and in `same`, 1 where that class is p's own, else 0.

    >>> str(LINKS["softmax"].value)
    'exp(o - m) / s'
    """

    name: str
    value: Expression
    textbook: str
    derivative: Expression
    over_classes: bool = False


LINKS: dict[str, LinkRow] = {
    row.name: row
    for row in (
        LinkRow("identity", parse("o"), "o", parse("1")),
        LinkRow("sigmoid", parse("sigmoid(o)"), "1 / (1 + exp(-o))", parse("p * (1 - p)")),
        LinkRow(
            "softmax",
            parse("exp(o - m) / s"),
            "exp(o) / sum of exp over the classes",
            parse("p * (same - q)"),
            over_classes=True,
        ),
        LinkRow("exp", parse("exp(o)"), "exp(o)", parse("p")),
    )
}


@dataclass(frozen=True)
class LossRow:
    """The loss of one output, from its logit o and its target y.

    `value` is what is computed, `textbook` what a book gives (in p and y), `derivative` is d value / d o for
    the whole row (in o, y, p), `by_probability` is d textbook / d p (in p and y).
    `parameter` is the default of the symbol c, `targets` says which y are meant.

    >>> str(LOSSES["binary_cross_entropy"].derivative)
    'p - y'
    """

    name: str
    link: str
    value: Expression
    derivative: Expression
    textbook: Expression
    by_probability: Expression
    source: str
    kink_at_target: bool = False  # the derivative jumps where o = y
    targets: str = "any"  # "any", "unit" (0 to 1), "classes" (0 to 1, summing to 1), "nonnegative"
    parameter: float | None = None
    parameter_range: tuple[float, float] = (0.0, float("inf"))

    def __hash__(self) -> int:
        return hash(self.name)  # part of a key that every training looks up

    @property
    def sums_over_outputs(self) -> bool:
        """Whether the outputs are the classes of one outcome; else the row's loss is their mean."""
        return LINKS[self.link].over_classes


def _row(
    name: str, link: str, value: str, derivative: str, textbook: str, by_probability: str, source: str, **more: object
) -> LossRow:
    by_logit, by_p = parse(derivative), parse(by_probability)
    return LossRow(name, link, parse(value), by_logit, parse(textbook), by_p, source, **more)  # type: ignore[arg-type]


LOSSES: dict[str, LossRow] = {
    row.name: row
    for row in (
        _row(
            "binary_cross_entropy",
            "sigmoid",
            "max(o, 0) - y * o + log1p(exp(-abs(o)))",
            "p - y",
            "-(y * log(p) + (1 - y) * log(1 - p))",
            "(p - y) / (p * (1 - p))",
            "Good 1952; from the logit, log p and log(1 - p) never meet a zero",
            targets="unit",
        ),
        _row(
            "cross_entropy",
            "softmax",
            "y * (log(s) - (o - m))",
            "p - y",
            "-(y * log(p))",
            "-(y / p)",
            "Bridle 1990",
            targets="classes",
        ),
        _row(
            "mean_squared_error",
            "identity",
            "(o - y)**2",
            "2 * (o - y)",
            "(y - p)**2",
            "2 * (p - y)",
            "Legendre 1805",
        ),
        _row(
            "mean_absolute_error",
            "identity",
            "abs(o - y)",
            "sign(o - y)",
            "abs(y - p)",
            "sign(p - y)",
            "Boscovich 1757",
            kink_at_target=True,
        ),
        _row(
            "huber",
            "identity",
            "select(abs(o - y) <= c, (o - y)**2 / 2, c * (abs(o - y) - c / 2))",
            "max(min(o - y, c), -c)",
            "select(abs(y - p) <= c, (y - p)**2 / 2, c * (abs(y - p) - c / 2))",
            "max(min(p - y, c), -c)",
            "Huber 1964",
            parameter=1.0,
        ),
        _row(
            "poisson",
            "exp",
            "exp(o) - y * o",
            "p - y",
            "p - y * log(p)",
            "1 - y / p",
            "McCullagh and Nelder 1989, without log(y!), which no parameter moves. Past a logit of 709 the loss "
            "itself is larger than a float holds, and is infinite",
            targets="nonnegative",
        ),
        _row(
            "quantile",
            "identity",
            "max(c * (y - o), (c - 1) * (y - o))",
            "select(y > o, -c, select(y < o, 1 - c, 0))",
            "max(c * (y - p), (c - 1) * (y - p))",
            "select(y > p, -c, select(y < p, 1 - c, 0))",
            "Koenker and Bassett 1978",
            kink_at_target=True,
            parameter=0.5,
            parameter_range=(0.0, 1.0),
        ),
    )
}


def loss_row(name: str) -> LossRow:
    """The row of a loss's name, its parameter put in: `quantile(0.9)`, `huber(2)`.

    Raises `UsageError` for a name that does not exist or a parameter out of range.

    >>> str(loss_row("huber(2)").derivative)
    'max(min(o - y, 2), -2)'
    """
    plain = LOSSES.get(name)
    if plain is not None and plain.parameter is None:
        return plain
    shape = re.fullmatch(r"\s*(\w+)\s*(?:\(\s*([^()]*?)\s*\))?\s*", name)
    row = LOSSES.get(shape[1]) if shape else None
    if shape is None or row is None:
        raise UsageError(f"A loss is one of {', '.join(LOSSES)}; {name!r} is not.{did_you_mean(name, LOSSES)}")
    if row.parameter is None:
        if shape[2] is not None:
            raise UsageError(f"{row.name} takes no parameter; {name!r} gives one. Write {row.name!r}.")
        return row
    low, high = row.parameter_range
    try:
        value = row.parameter if shape[2] is None else float(shape[2])
    except ValueError:
        value = float("nan")
    if not low < value < high:
        raise UsageError(
            f"The parameter of {row.name} lies between {low:g} and {high:g}; {name!r} is not of that form."
        )
    put_in = {"c": const(value)}
    return replace(
        row,
        parameter=value,
        value=substitute(row.value, put_in),
        derivative=substitute(row.derivative, put_in),
        textbook=substitute(row.textbook, put_in),
        by_probability=substitute(row.by_probability, put_in),
    )
