"""One network on some rows, computed in several ways, every two of which are held against each other."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, groupby
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glassnet import reference
from glassnet.cells import counted
from glassnet.equations import Equation, Symbol, equations
from glassnet.kernels import compiled
from glassnet.network import FloatArray, Network, Parameters
from glassnet.runs import Data
from glassnet.verification.by_differences import differences
from glassnet.verification.by_jax import jax_numbers
from glassnet.verification.by_sympy import MOST_TERMS, n_terms, sympy_numbers
from glassnet.verification.quantities import (
    Numbers,
    kind_of,
    name_of,
    numbers_of,
    numbers_of_gradients,
    order_of,
    rows_at_a_kink,
    sizes_of,
)
from glassnet.verification.verdict import Comparison, Verification, Wrong
from glassnet.verification.worked import MOST_LINES, worked_numbers

ROUNDINGS = 64
"""How many roundings of its size a number may be off. Two ways differ by 4 at most in a thousand generated models, and
by some 20 in 784-512-512-10."""

LOOSEST = 1e-2
"""An error that may be larger than this is not judged: it would say nothing."""

_OF_DERIVATIVES = ("delta", "dloss/", "dL/")


@dataclass(frozen=True)
class Computed:
    """What one way of computing a network says: its `numbers`, and how far each may be off (`allowed`, alike).

    Two that are `canonical` have to give the same bits on the way forward: see the two arithmetics in the architecture.
    """

    name: str
    numbers: Numbers
    allowed: Numbers
    canonical: bool = False


@dataclass(frozen=True)
class OfTable:
    """What is known of rows that come from a table.

    `encode` and `decode`: the equations before and behind the network's. `raw`: the columns' own values, each (n,),
    with which they begin. `predicted` (n,): the model's predictions, and `predicted_size` (n,) that of the terms
    that they are sums of. `rows` (n,): what users call the rows.
    """

    encode: tuple[Equation, ...]
    decode: tuple[Equation, ...]
    raw: Mapping[Symbol, FloatArray]
    predicted: FloatArray
    predicted_size: FloatArray
    rows: tuple[int, ...]


def verify_network(
    network: Network,
    parameters: Parameters,
    X: ArrayLike,
    y: ArrayLike,
    row_weights: ArrayLike | None = None,
    *,
    of_table: OfTable | None = None,
    title: str = "",
    others: Sequence[str] = ("jax", "SymPy"),
    progress: Callable[[int], None] | None = None,
) -> Verification:
    """Every number of a network on rows X (n, n_features), y (n, n_outputs) or (n,), computed in every way there is.

    worked calculation: the equations with numbers put in. reference: `gn.backward`. compiled engine: the kernels that
    train it, in the dtype of its parameters. differences: of the loss, for a sample of the parameters where all would
    take long. jax and SymPy: where installed; SymPy for networks that are small enough for a formula.

    Rows that come from a table are worked out from its columns to the prediction. `others`: who is asked, if installed.

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
    truth["y"] = trace.y
    rows = range(n) if of_table is None else of_table.rows
    named = list(equations(network))
    if of_table is not None:
        truth["predicted"], sizes["predicted"] = of_table.predicted, of_table.predicted_size
        named = [*of_table.encode, *named, *of_table.decode]
    say(5)
    raw = None if of_table is None else of_table.raw
    put_in = worked_numbers(network, parameters, trace.X, trace.y, trace.row_weights, named, raw)
    say(20)
    exact = _roundings(trace, sizes, np.float64)
    every = [
        Computed("worked calculation", put_in, exact, canonical=True),
        Computed("reference", truth, exact, canonical=True),
        Computed("compiled engine", _by_engine(trace, dtype, say), _roundings(trace, sizes, dtype)),
    ]
    say(45)
    remarks = _of_lines(network)
    quotients = differences(trace, sizes)
    errors = numbers_of_gradients(network, None, quotients.errors)
    every.append(Computed("differences", numbers_of_gradients(network, None, quotients.gradients), errors))
    remarks += _of_differences(network, len(quotients.of), quotients.kinks, rows)
    say(65)
    asked, said = _by_others(trace, others, say)
    every += [Computed(name, numbers, exact) for name, numbers in asked.items()]
    remarks += [*said, *_of_kinks(rows_at_a_kink(trace, sizes, ROUNDINGS * _unit(np.float64)), rows)]
    order = order_of(network)
    found = [_compared(network, order, one, other, rows) for one, other in combinations(every, 2)]
    remarks += _of_not_judged(found)
    wrong = _first_wrong(network, order, every, named, rows)
    say(100)
    of_what = title or f"{counted(network.n_parameters, 'parameter')} on {counted(n, 'row')}"
    return Verification(of_what, tuple(found), wrong, tuple(remarks))


# --- ways ---------------------------------------------------------------------------------------------------------


def _by_engine(trace: reference.Trace, dtype: Any, say: Callable[[int], None]) -> Numbers:
    """What the compiled kernel says of every row by itself, and of all together."""
    network, vector = trace.network, trace.parameters.vector.astype(dtype)
    n, n_parameters = len(trace.X), network.n_parameters
    assert trace.y is not None
    data = Data(trace.X.astype(dtype), trace.y.astype(dtype), trace.row_weights.astype(dtype))
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


def _by_others(
    trace: reference.Trace, names: Sequence[str], say: Callable[[int], None]
) -> tuple[dict[str, Numbers], list[str]]:
    """jax and SymPy, where they are and can; else why not."""
    network, found, said = trace.network, {}, []
    assert trace.y is not None
    for name, module, compute, install, at in (
        ("jax", "jax", jax_numbers, "'glassnet[peers]'", 80),
        ("SymPy", "sympy", sympy_numbers, "sympy", 95),
    ):
        if name not in names:
            continue
        if importlib.util.find_spec(module) is None:
            said.append(f"{name} is not installed, and so not compared; pip install {install} does that.")
            continue
        if name == "SymPy" and n_terms(network) > MOST_TERMS:
            said.append(
                f"SymPy is asked where all derivatives, written out, have at most {MOST_TERMS:,} terms; here they have "
                f"about {n_terms(network):,}."
            )
            continue
        try:
            share = trace.row_weights / trace.row_weights.sum()
            found[name] = compute(network, trace.parameters, trace.X, trace.y, share)
        except LookupError as problem:
            said.append(f"{name} has no {problem}, and so is not compared.")
            continue
        say(at)
    return found, said


# --- judgement ----------------------------------------------------------------------------------------------------


def _unit(dtype: Any) -> float:
    return float(np.finfo(dtype).eps)


def _roundings(trace: reference.Trace, sizes: Numbers, dtype: Any) -> Numbers:
    """How far off each number may be that was computed in this dtype; infinite for derivatives at a kink."""
    unit = ROUNDINGS * _unit(dtype)
    # Numbers below the smallest normal one are rounded to multiples of that times the unit.
    least = float(np.finfo(dtype).tiny) / _unit(dtype)
    allowed = {kind: unit * (size + least) for kind, size in sizes.items()}
    at_kink = sorted({row for row, _ in rows_at_a_kink(trace, sizes, unit)})
    for kind in allowed:
        if at_kink and kind.startswith(_OF_DERIVATIVES):
            allowed[kind] = np.array(allowed[kind])
            allowed[kind][... if kind.startswith("dL/") else at_kink] = np.inf
    return allowed


@dataclass(frozen=True)
class _Held:
    """Two ways' numbers of one kind: errors, what they may be, which are judged and which of these are wrong."""

    errors: FloatArray
    allowed: FloatArray
    judged: NDArray[np.bool_]
    wrong: NDArray[np.bool_]


def _held(kind: str, one: Computed, other: Computed) -> _Held | None:
    if kind not in one.numbers or kind not in other.numbers:
        return None
    u, v = one.numbers[kind], other.numbers[kind]
    with np.errstate(all="ignore"):
        scale = np.maximum(1, np.maximum(np.abs(u), np.abs(v)))
        same = (u == v) | (np.isnan(u) & np.isnan(v))
        errors = np.where(same, 0.0, np.abs(u - v) / scale)
        allowed = np.broadcast_to((one.allowed[kind] + other.allowed[kind]) / scale, errors.shape)
        if one.canonical and other.canonical and not (kind == "L" or kind.startswith(_OF_DERIVATIVES)):
            allowed = np.zeros_like(errors)
        judged = allowed <= LOOSEST
        return _Held(errors, allowed, judged, judged & ~(errors <= allowed))


def _compared(
    network: Network, order: Sequence[str], one: Computed, other: Computed, rows: Sequence[int]
) -> Comparison:
    compared = not_judged = wrong = 0
    share = 0.0
    largest: tuple[float, str, int | None] = (0.0, "", None)
    for kind in order:
        held = _held(kind, one, other)
        if held is None:
            continue
        asked = np.isnan(one.numbers[kind]) == np.isnan(other.numbers[kind])  # else it is not in the sample
        compared, not_judged = compared + int(held.judged.sum()), not_judged + int((asked & ~held.judged).sum())
        wrong += int(held.wrong.sum())
        if not held.judged.any():
            continue
        errors = np.where(held.judged, np.where(np.isnan(held.errors), np.inf, held.errors), -1.0)
        at = np.unravel_index(int(errors.argmax()), errors.shape)
        if errors[at] > largest[0]:
            largest = (float(errors[at]), *_place(network, kind, at, rows))
        with np.errstate(all="ignore"):
            share = max(share, float(np.where(errors > 0, errors / held.allowed, 0.0).max()))
    return Comparison(one.name, other.name, compared, not_judged, *largest, share, wrong)


def _place(network: Network, kind: str, at: tuple[Any, ...], rows: Sequence[int]) -> tuple[str, int | None]:
    """The name and the row of the number at an index of the array of its kind."""
    if kind == "L" or kind.startswith("dL/"):
        return name_of(network, kind, tuple(map(int, at))), None
    row = int(at[0])
    return name_of(network, kind, tuple(map(int, at[1:]))), int(rows[row])


def _first_wrong(
    network: Network,
    order: Sequence[str],
    every: Sequence[Computed],
    named: Sequence[Equation],
    rows: Sequence[int],
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
            at = (int(flat[:, unit].argmax()), *map(int, np.unravel_index(unit, errors.shape[1:])))
        else:
            at = tuple(map(int, np.unravel_index(int((errors > 0).ravel().argmax()), errors.shape)))
        quantity, row = _place(network, kind, at, rows)
        line = next(_lines_of(named, kind, quantity), None)
        values = {way.name: float(way.numbers[kind][at]) for way in every if kind in way.numbers}
        said = {name: value for name, value in values.items() if value == value}
        return Wrong(quantity, row, str(line or ""), line.note if line else "", said)
    return None


def _lines_of(named: Sequence[Equation], kind: str, quantity: str) -> Iterator[Equation]:
    for equation in named:
        if kind == "predicted" and equation.stage == "decode":
            yield equation
        elif kind_of(equation.target) == kind:
            yield from (line for line in equation.scalars() if str(line.target) == quantity)


# --- what is said -------------------------------------------------------------------------------------------------


def _of_lines(network: Network) -> list[str]:
    if network.n_parameters <= MOST_LINES:
        return []
    said = (
        f"With more than {MOST_LINES:,} parameters the worked calculation goes by the indexed equations, a layer at a "
        "time, instead of by every printed line."
    )
    return [said]


def _of_differences(
    network: Network, n_taken: int, kinks: Sequence[tuple[str, int, str, str]], rows: Sequence[int]
) -> list[str]:
    said = []
    if n_taken < network.n_parameters:
        said.append(
            f"Differences are taken for {n_taken:,} of the {network.n_parameters:,} parameters, some of every layer's "
            "weights and biases, drawn with seed 0; everything else is compared for all."
        )
    if kinks:
        places: dict[str, list[str]] = {}
        for name, row, side, _ in kinks:
            places.setdefault(f"{side} in row {rows[row]}", []).append(name)
        named = [
            f"of {place} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})" for place, names in places.items()
        ]
        ways = sorted(kink[3] or "not judged" for kink in kinks)
        how = ", ".join(f"{len(list(group)):,} {way}" for way, group in groupby(ways))
        said.append(
            f"{counted(len(kinks), 'difference quotient')} would have stepped over a kink or a bend: "
            f"{'; '.join(named[:3])}{'; ...' if len(named) > 3 else ''}. Taken instead: {how}."
        )
    return said


def _of_not_judged(found: Sequence[Comparison]) -> list[str]:
    worst = max(found, key=lambda pair: pair.not_judged)
    if not worst.not_judged:
        return []
    said = (
        f"Not judged: up to {worst.not_judged:,} numbers of a pair ({worst.first} - {worst.second}): at a kink, "
        "infinite, or so large that two right ways need not agree in two digits."
    )
    return [said]


def _of_kinks(found: Sequence[tuple[int, str]], rows: Sequence[int]) -> list[str]:
    if not found:
        return []
    row, name = found[0]
    n_rows = len({row for row, _ in found})
    said = (
        f"In {counted(n_rows, 'row')} a number lies on a kink as far as rounding can tell, the first {name} in row "
        f"{rows[row]}: there the derivative is that of one side or the other, "
        "and ways that add in another order may take either. These derivatives are not judged."
    )
    return [said]
