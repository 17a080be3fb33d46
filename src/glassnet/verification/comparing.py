"""One network on some rows, computed in several ways, every two of which are held against each other."""

from __future__ import annotations

import importlib.util
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations, groupby
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from glassnet import reference
from glassnet.cells import counted
from glassnet.equations import Equation, Symbol, equations
from glassnet.expressions import significant
from glassnet.kernels import compiled
from glassnet.network import FloatArray, Network, Parameters
from glassnet.runs import Data
from glassnet.verification.by_differences import differences
from glassnet.verification.by_jax import jax_gradients
from glassnet.verification.by_sympy import MOST_TERMS, n_terms, sympy_gradients
from glassnet.verification.quantities import (
    Numbers,
    name_of,
    numbers_of,
    numbers_of_gradients,
    order_of,
    rows_at_a_kink,
    sizes_of,
)
from glassnet.verification.worked import MOST_LINES, worked_numbers

ROUNDINGS = 64
"""How many roundings of its size a number may be off. In a thousand generated models it was at most 9."""

_OF_DERIVATIVES = ("delta", "dloss/", "dL/")


@dataclass(frozen=True)
class Computed:
    """What one way of computing a network says: its `numbers`, and how far each may be off (`allowed`, alike)."""

    name: str
    numbers: Numbers
    allowed: Numbers


@dataclass(frozen=True)
class Comparison:
    """Two ways held against each other.

    `compared` numbers were judged and `not_judged` were not (at a kink, or where no difference could be had). The
    `largest_error`, |u - v| / max(1, |u|, |v|), is that of quantity `at` in row `row`, or of all rows together where
    that is None; `allowed` is how large it may be there. `wrong`: how many are further apart than they may be.
    """

    first: str
    second: str
    compared: int
    not_judged: int
    largest_error: float
    at: str
    row: int | None
    allowed: float
    wrong: int


@dataclass(frozen=True)
class Wrong:
    """The first quantity, in order of computation, on which two ways do not agree: what each of them says of it."""

    quantity: str
    row: int | None
    equation: str
    note: str
    values: dict[str, float]


@dataclass(frozen=True)
class Verification:
    """Every pair of ways, and what is wrong, if anything is; `title` says of what, `remarks` what was and was not done."""

    title: str
    comparisons: tuple[Comparison, ...]
    first_wrong: Wrong | None
    remarks: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether all agree."""
        return self.first_wrong is None

    def __str__(self) -> str:
        return self.text()

    __repr__ = __str__

    def text(self, width: int = 100) -> str:
        """A table of the pairs, what was done, and the verdict."""
        lines = [*textwrap.wrap(self.title, width), ""]
        pairs = [f"{pair.first} - {pair.second}" for pair in self.comparisons]
        wide = max(map(len, [*pairs, "held against each other"]))
        lines.append(f"{'held against each other':<{wide}}{'numbers':>11}{'largest error':>15}  where")
        for name, pair in zip(pairs, self.comparisons, strict=True):
            row = "" if pair.row is None else f", row {pair.row}"
            where = f"{pair.at}{row}" if pair.largest_error else ("nowhere" if pair.compared else "nothing to compare")
            wrong = f"   WRONG: {pair.wrong:,}" if pair.wrong else ""
            lines.append(f"{name:<{wide}}{pair.compared:>11,}{significant(pair.largest_error, 2):>15}  {where}{wrong}")
        for remark in self.remarks:
            lines += ["", *textwrap.wrap(remark, width)]
        return "\n".join([*lines, "", *self._verdict(width)])

    def _verdict(self, width: int) -> Iterator[str]:
        wrong = self.first_wrong
        if wrong is None:
            yield from textwrap.wrap("All agree, as closely as rounding and the differences' own errors let them.", width)
            return
        of_row = "" if wrong.row is None else f" of row {wrong.row}"
        yield from textwrap.wrap(f"WRONG. The first in order of computation: {wrong.quantity}{of_row}.", width)
        if wrong.equation:
            yield from textwrap.wrap(wrong.equation, width, initial_indent="  ", subsequent_indent="      ")
        if wrong.note:
            yield f"  [{wrong.note}]"
        wide = max(map(len, wrong.values))
        yield from (f"  {name:<{wide}}  {significant(value, 17)}" for name, value in wrong.values.items())

    def to_json(self) -> dict[str, Any]:
        """The same as plain data: `ok`, `title`, `comparisons`, `first_wrong` (or None), `remarks`."""
        return {
            "ok": self.ok,
            "title": self.title,
            "comparisons": [asdict(pair) for pair in self.comparisons],
            "first_wrong": None if self.first_wrong is None else asdict(self.first_wrong),
            "remarks": list(self.remarks),
        }


def verify_network(
    network: Network,
    parameters: Parameters,
    X: ArrayLike,
    y: ArrayLike,
    row_weights: ArrayLike | None = None,
    *,
    before: Sequence[Equation] = (),
    after: Sequence[Equation] = (),
    raw: dict[Symbol, FloatArray] | None = None,
    predicted: tuple[FloatArray, FloatArray] | None = None,
    row_numbers: Sequence[int] | None = None,
    title: str = "",
    progress: Callable[[int], None] | None = None,
) -> Verification:
    """Every number of a network on rows X (n, n_features), y (n, n_outputs) or (n,), computed in every way there is.

    worked calculation: the equations with numbers put in. reference: `gn.backward`. compiled engine: the kernels that
    train it, in the dtype of its parameters. differences: of the loss, for a sample of the parameters where all would
    take long. jax and SymPy: where installed; SymPy for networks that are small enough for a formula.

    Where the rows come from a table, `before` and `after` are the equations that encode and decode them, `raw` the columns'
    own values, `predicted` what the model predicts, (n,), and the size of the terms that makes it of, (n,); (n,) what users call the rows.

    >>> net = Network((2, 2, 1), "tanh")
    >>> parameters = Parameters(net, np.linspace(-1, 1, 9))
    >>> verify_network(net, parameters, [[0.5, -1.0], [2.0, 1.0]], [1, 0]).ok
    True
    """
    say = progress or (lambda done: None)
    dtype = parameters.vector.dtype
    table = reference.checked_table(network, X).astype(np.float64)
    parameters = reference.checked_parameters(network, parameters, np.float64)
    trace = reference.backward(network, parameters, table, y, row_weights)
    assert trace.y is not None
    sizes, n = sizes_of(trace), len(trace.X)
    truth = numbers_of(trace)
    if predicted is not None:
        truth["predicted"], sizes["predicted"] = predicted
    say(5)
    named = [*before, *equations(network), *after]
    put_in = worked_numbers(network, parameters, trace.X, trace.y, trace.row_weights, named, raw)
    if "y" in put_in:
        truth["y"] = trace.y
    say(20)
    exact = _roundings(trace, sizes, np.float64)
    every = [
        Computed("worked calculation", put_in, exact),
        Computed("reference", truth, exact),
        Computed("compiled engine", _by_engine(trace, dtype, say), _roundings(trace, sizes, dtype)),
    ]
    say(45)
    remarks = _of_lines(network)
    quotients = differences(trace, sizes)
    errors = numbers_of_gradients(network, None, quotients.errors)
    every.append(Computed("differences", numbers_of_gradients(network, None, quotients.gradients), errors))
    remarks += _of_differences(network, quotients.of, quotients.kinks, row_numbers)
    say(65)
    others, said = _by_others(trace, say)
    every += [Computed(name, numbers, exact) for name, numbers in others.items()]
    remarks += [*said, *_of_kinks(rows_at_a_kink(trace, sizes, ROUNDINGS * _unit(np.float64)), row_numbers)]
    order = order_of(network)
    found = [_compared(network, order, one, other, row_numbers) for one, other in combinations(every, 2)]
    wrong = _first_wrong(network, order, every, named, row_numbers)
    say(100)
    of_what = title or f"{counted(network.n_parameters, 'parameter')} on {counted(n, 'row')}"
    return Verification(of_what, tuple(found), wrong, tuple(remarks))


# --- ways ---------------------------------------------------------------------------------------------------------


def _by_engine(trace: reference.Trace, dtype: Any, say: Callable[[int], None]) -> Numbers:
    """What the compiled kernel says of every row by itself, and of all together."""
    network, vector = trace.network, trace.parameters.vector.astype(dtype)
    n, n_parameters = len(trace.X), network.n_parameters
    data = Data(*(part.astype(dtype) for part in (trace.X, trace.y, trace.row_weights) if part is not None))
    losses, gradients = np.empty(n), np.empty((n, n_parameters))
    with np.errstate(all="ignore"):
        for row in range(n):
            one = compiled.Passes(network, replace(data.at([row]), row_weights=np.ones(1, dtype)))
            losses[row] = one.loss(vector, derivatives=True)
            gradients[row] = one.gradient
            say(20 + 20 * (row + 1) // n)
        together = compiled.Passes(network, data)
        loss = together.loss(vector, derivatives=True)
        found = numbers_of_gradients(network, losses, gradients, together.gradient.astype(np.float64))
    return {**found, "L": np.array(loss)}


def _by_others(trace: reference.Trace, say: Callable[[int], None]) -> tuple[dict[str, Numbers], list[str]]:
    """jax and SymPy, where they are and can; else why not."""
    network, found, said = trace.network, {}, []
    assert trace.y is not None
    for name, module, compute, at in (("jax", "jax", jax_gradients, 80), ("SymPy", "sympy", sympy_gradients, 95)):
        if importlib.util.find_spec(module) is None:
            said.append(f"{name} is not installed, and so not compared.")
            continue
        if name == "SymPy" and n_terms(network) > MOST_TERMS:
            said.append(
                f"SymPy is asked where all derivatives, written out, have at most {MOST_TERMS:,} terms; here they have "
                f"about {n_terms(network):,}."
            )
            continue
        try:
            losses, gradients = compute(network, trace.parameters, trace.X, trace.y)
        except LookupError as problem:
            said.append(f"{name} has no {problem}, and so is not compared.")
            continue
        share = trace.row_weights / trace.row_weights.sum()
        found[name] = numbers_of_gradients(network, losses, gradients, share @ gradients)
        say(at)
    return found, said


# --- judgement ----------------------------------------------------------------------------------------------------


def _unit(dtype: Any) -> float:
    return float(np.finfo(dtype).eps)


def _roundings(trace: reference.Trace, sizes: Numbers, dtype: Any) -> Numbers:
    """How far off each number may be that was computed in this dtype; infinite for derivatives at a kink."""
    unit = ROUNDINGS * _unit(dtype)
    allowed = {kind: unit * size for kind, size in sizes.items()}
    rows = sorted({row for row, _ in rows_at_a_kink(trace, sizes, unit)})
    for kind in allowed:
        if rows and kind.startswith(_OF_DERIVATIVES):
            allowed[kind] = np.array(allowed[kind])
            allowed[kind][... if kind.startswith("dL/") else rows] = np.inf
    return allowed


@dataclass(frozen=True)
class _Held:
    """Two ways' numbers of one kind: errors, what they may be, which are judged and which of these are wrong."""

    errors: FloatArray
    allowed: FloatArray
    judged: FloatArray
    wrong: FloatArray


def _held(kind: str, one: Computed, other: Computed) -> _Held | None:
    if kind not in one.numbers or kind not in other.numbers:
        return None
    u, v = one.numbers[kind], other.numbers[kind]
    with np.errstate(all="ignore"):
        scale = np.maximum(1, np.maximum(np.abs(u), np.abs(v)))
        same = (u == v) | (np.isnan(u) & np.isnan(v))
        errors = np.where(same, 0.0, np.abs(u - v) / scale)
        allowed = np.broadcast_to((one.allowed[kind] + other.allowed[kind]) / scale, errors.shape)
        judged = np.isfinite(allowed) | same & np.isfinite(u)
        return _Held(errors, allowed, judged, judged & ~(errors <= allowed))


def _compared(
    network: Network, order: Sequence[str], one: Computed, other: Computed, row_numbers: Sequence[int] | None
) -> Comparison:
    compared = not_judged = wrong = 0
    largest: tuple[float, str, int | None, float] = (0.0, "", None, 0.0)
    for kind in order:
        held = _held(kind, one, other)
        if held is None:
            continue
        judged = int(held.judged.sum())
        compared, not_judged, wrong = compared + judged, not_judged + held.judged.size - judged, wrong + held.wrong.sum()
        if not judged:
            continue
        errors = np.where(held.judged, np.where(np.isnan(held.errors), np.inf, held.errors), -1.0)
        at = np.unravel_index(int(errors.argmax()), errors.shape)
        if errors[at] > largest[0]:
            name, row = _place(network, kind, at, row_numbers)
            largest = (float(errors[at]), name, row, float(held.allowed[at]))
    return Comparison(one.name, other.name, compared, not_judged, *largest, int(wrong))


def _place(
    network: Network, kind: str, at: tuple[Any, ...], row_numbers: Sequence[int] | None
) -> tuple[str, int | None]:
    """The name and the row of the number at an index of the array of its kind."""
    if kind == "L" or kind.startswith("dL/"):
        return name_of(network, kind, tuple(map(int, at))), None
    row = int(at[0])
    return name_of(network, kind, tuple(map(int, at[1:]))), row if row_numbers is None else int(row_numbers[row])


def _first_wrong(
    network: Network,
    order: Sequence[str],
    every: Sequence[Computed],
    named: Sequence[Equation],
    row_numbers: Sequence[int] | None,
) -> Wrong | None:
    for kind in order:
        wrong = [
            held.wrong * np.where(np.isnan(held.errors), np.inf, held.errors)
            for pair in combinations(every, 2)
            if (held := _held(kind, *pair)) is not None and held.wrong.any()
        ]
        if not wrong:
            continue
        errors = np.max(np.nan_to_num(wrong, posinf=np.finfo(float).max), axis=0)
        if kind != "L" and not kind.startswith("dL/"):
            # The first unit that is wrong in any row, and the row in which it is most so.
            flat = errors.reshape(len(errors), -1)
            unit = int(flat.any(axis=0).argmax())
            at = (int(flat[:, unit].argmax()), *np.unravel_index(unit, errors.shape[1:]))
        else:
            at = np.unravel_index(int((errors > 0).ravel().argmax()), errors.shape)
        quantity, row = _place(network, kind, at, row_numbers)
        line = next((line for line in _lines_of(named, kind) if str(line.target) == quantity), None)
        values = {way.name: float(way.numbers[kind][at]) for way in every if kind in way.numbers}
        said = {name: value for name, value in values.items() if value == value}
        return Wrong(quantity, row, str(line or ""), line.note if line else "", said)
    return None


def _lines_of(named: Sequence[Equation], kind: str) -> Iterator[Equation]:
    for equation in named:
        if str(replace(equation.target, axes=())) == kind:
            yield from equation.scalars()


# --- what is said -------------------------------------------------------------------------------------------------


def _of_lines(network: Network) -> list[str]:
    if network.n_parameters <= MOST_LINES:
        return []
    return [
        f"With more than {MOST_LINES:,} parameters the worked calculation goes by the indexed equations, a layer at a "
        "time, instead of by every printed line."
    ]


def _of_differences(
    network: Network, of: Sequence[int], kinks: Sequence[tuple[str, int, str, str]], row_numbers: Sequence[int] | None
) -> list[str]:
    said = []
    if len(of) < network.n_parameters:
        said.append(
            f"Differences are taken for {len(of):,} of the {network.n_parameters:,} parameters, some of every layer's "
            "weights and biases, drawn with seed 0; everything else is compared for all."
        )
    if kinks:
        named = [
            f"{name} in row {row if row_numbers is None else row_numbers[row]}, where {side} changes sides"
            for name, row, side, _ in kinks
        ]
        ways = sorted(kink[3] or "not judged" for kink in kinks)
        how = ", ".join(f"{len(list(group)):,} {way}" for way, group in groupby(ways))
        shown = "; ".join(named[:3]) + ("; ..." if len(named) > 3 else "")
        said.append(
            f"{counted(len(kinks), 'difference quotient')} would have stepped over a kink ({shown}). "
            f"Taken instead: {how}."
        )
    return said


def _of_kinks(found: Sequence[tuple[int, str]], row_numbers: Sequence[int] | None) -> list[str]:
    if not found:
        return []
    row, name = found[0]
    rows = len({row for row, _ in found})
    return [
        f"In {counted(rows, 'row')} a number lies on a kink as far as rounding can tell, the first {name} in row "
        f"{row if row_numbers is None else row_numbers[row]}: there the derivative is that of one side or the other, "
        "and ways that add in another order may take either. These derivatives are not judged."
    ]
