"""The pieces that kernels are made of, one by one, against NumPy: lanes, tiles in registers, products of any size.

Memory around what a piece may write is filled with guards, which have to stay.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from glassnet.kernels import engines, machine, places, source
from glassnet.kernels.tiled import mark_size
from glassnet.network import Network
from glassnet.sparse import SparseTable

NUMBERS = ("float64", "float32")
GUARD = -77.25
BINARY = {"a + b": np.add, "a - b": np.subtract, "a * b": np.multiply, "a / b": np.divide}
TRUTHS = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
    "!=": np.not_equal,
}
MIXED = {"a + 1.5": lambda a: a + 1.5, "3 - a": lambda a: 3 - a, "a * 2": lambda a: a * 2, "1 / a": lambda a: 1 / a}
MIXED |= {"maximum(a, 0)": lambda a: np.where(a < 0, 0, a), "minimum(a, 1)": lambda a: np.where(a > 1, 1, a)}
UNARY = {
    "-a": np.negative,
    "absolute(a)": np.abs,
    "sqrt(a)": np.sqrt,
    "sign(a)": np.sign,
}


def lines_of(name: str, expression: str, arguments: str = "x, y, out, n") -> str:
    return f"""
def {name}({arguments}):
    for i in range(0, n, lane_count(x)):
        a, b = load(x, i), load(y, i)
        store(out, i, {expression})
    return 0.0
"""


EXPRESSIONS = [*BINARY, *MIXED, *UNARY, "maximum(a, b)", "minimum(a, b)", "a * b + a", "a - b * a"]
EXPRESSIONS += [f"select(a {sign} b, 1, 0)" for sign in TRUTHS]
EXPRESSIONS += [f"select(a {sign} 1, a, b)" for sign in TRUTHS]
EXPRESSIONS += ["select((a < b) | (a == 1), 1, 0)", "filled(x, 0.1)"]
TRACED = ["power_of_two", "exponent_of", "fraction_of", "inverse_power_of"]
EXPRESSIONS += [f"{name}(a)" for name in TRACED]
SOURCE = (
    """
from glassnet.kernels.lanes import (
    absolute, call, exponent, filled, filled_like, keep_larger, keep_largest, lane_count, largest as largest_of, load,
    load_some, maximum, minimum, put_total, select, shifted, sign, sqrt, store, store_some, times_two_to, total,
    totals as totals_of,
)

def power_of_two(k):
    # A whole number added to 1.5 * 2**52 (float32: 2**23) stands in the last bits.
    return times_two_to(filled_like(k, 1), k + 1.5 * 2.0 ** (52 if k.is_double else 23))

def exponent_of(x):
    return exponent(x)[0]

def fraction_of(x):
    return exponent(x)[1]

def inverse_power_of(x):
    return exponent(x)[2]
"""
    + "".join(lines_of(f"e{number}", expression) for number, expression in enumerate(EXPRESSIONS))
    + """
def totals(x, out, n):
    for i in range(0, n, lane_count(x)):
        out[i // lane_count(x)] = total(load(x, i))
    return 0.0

def larger(x, out):
    keep_larger(out, 1, load(x, 0))
    return 0.0

def largest(x, out):
    keep_largest(out, 1, load(x, 0))
    return 0.0

def totalled(x, out):
    put_total(out, 1, out[0], load(x, 0))
    return 0.0

def of_three(x, out):
    lanes = lane_count(x)
    a, b, c = load(x, 0), load(x, lanes), load(x, 2 * lanes)
    store(out, 0, totals_of(a, b, c))
    store(out, lanes, largest_of(a, b, c))
    return 0.0

def some(x, out, at, to, count):
    store_some(out, to, load_some(x, at, count), count)
    return 0.0

def some_loaded(x, out, at, count):
    store(out, 0, load_some(shifted(x, at), 0, count))
    return 0.0

def unaligned(x, out, at, to):
    store(shifted(out, to), 0, load(shifted(x, at), 0))
    return 0.0

def facts(x):
    return lane_count(x) + 0.0

def add(x, n):
    return x[0] + n

def called(address, x, n):
    return call(address, (x, n)) + 0.5
"""
)
SIGNATURES = {f"e{number}": "float64({0}*, {0}*, {0}*, int64)" for number in range(len(EXPRESSIONS))} | {
    "totals": "float64({0}*, {0}*, int64)",
    "larger": "float64({0}*, {0}*)",
    "largest": "float64({0}*, {0}*)",
    "totalled": "float64({0}*, {0}*)",
    "of_three": "float64({0}*, {0}*)",
    "some": "float64({0}*, {0}*, int64, int64, int64)",
    "some_loaded": "float64({0}*, {0}*, int64, int64)",
    "unaligned": "float64({0}*, {0}*, int64, int64)",
    "facts": "float64({0}*)",
    "add": "float64({0}*, int64)",
    "called": "float64(int64, {0}*, int64)",
}


@cache
def addresses(number: str) -> dict[str, int]:
    return machine.code(SOURCE, {name: text.format(number) for name, text in SIGNATURES.items()})


def run(address: int, *given: Any) -> float:
    """Call compiled code with arrays and whole numbers."""
    kinds = [ctypes.c_void_p if isinstance(part, np.ndarray) else ctypes.c_int64 for part in given]
    values = [part.ctypes.data if isinstance(part, np.ndarray) else int(part) for part in given]
    return float(ctypes.CFUNCTYPE(ctypes.c_double, *kinds)(address)(*values))


def lanes_of(number: str) -> int:
    return machine.BITS // (8 * np.dtype(number).itemsize)


def evaluated(expression: str, number: str, a: Any, b: Any | None = None) -> np.ndarray:
    """An expression of lanes for arrays; beyond their end nothing is written."""
    lanes = lanes_of(number)
    n = -(-len(a) // lanes) * lanes
    x, y, out = np.ones(n, number), np.ones(n, number), np.full(n + 2 * lanes, GUARD, number)
    x[: len(a)] = a
    y[: len(a)] = a if b is None else b
    run(addresses(number)[f"e{EXPRESSIONS.index(expression)}"], x, y, out[lanes:], n)
    assert (out[:lanes] == GUARD).all()
    assert (out[n + lanes :] == GUARD).all()
    return out[lanes : lanes + len(a)]


def pairs(number: str) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of some numbers that are special, and random ones."""
    few = [0.0, -0.0, 1.0, -1.0, 2.0, 0.1, -0.3, 1e30, -1e30, 1e-30, np.inf, -np.inf, np.nan]
    special = np.array(list(product(few, few)))
    drawn = np.random.default_rng(3).normal(0, 2, (300, 2)).round(1)
    a, b = np.concatenate([special, drawn]).astype(number).T
    return a, b


@pytest.mark.parametrize("number", NUMBERS)
@np.errstate(all="ignore")
def test_operators_and_functions_are_numpys(number: str) -> None:
    a, b = pairs(number)
    for expression, numpys in BINARY.items():
        np.testing.assert_array_equal(evaluated(expression, number, a, b), numpys(a, b), expression)
    for expression, of in (MIXED | UNARY).items():
        found, expected = evaluated(expression, number, a), np.asarray(of(a), number)
        np.testing.assert_array_equal(found, expected, expression)
    for name, truth in TRUTHS.items():
        np.testing.assert_array_equal(evaluated(f"select(a {name} b, 1, 0)", number, a, b), truth(a, b), name)
        np.testing.assert_array_equal(evaluated(f"select(a {name} 1, a, b)", number, a, b), np.where(truth(a, 1), a, b))
    either = evaluated("select((a < b) | (a == 1), 1, 0)", number, a, b)
    np.testing.assert_array_equal(either, (a < b) | (a == 1))
    np.testing.assert_array_equal(evaluated("filled(x, 0.1)", number, a), np.full(len(a), 0.1, number))


@pytest.mark.parametrize("number", NUMBERS)
def test_the_larger_and_the_smaller_keep_a_nan_on_the_left(number: str) -> None:
    a, b = pairs(number)
    np.testing.assert_array_equal(evaluated("maximum(a, b)", number, a, b), np.where(b > a, b, a))
    np.testing.assert_array_equal(evaluated("minimum(a, b)", number, a, b), np.where(b < a, b, a))


@pytest.mark.parametrize("number", NUMBERS)
def test_a_product_and_a_sum_are_rounded_once_or_twice(number: str) -> None:
    a, b = np.random.default_rng(4).normal(size=(2, 999)).astype(number)
    for expression, sign in (("a * b + a", 1), ("a - b * a", -1)):
        found = evaluated(expression, number, a, b)
        twice = a + sign * (a * b)
        # Of two float32 a double holds the product, and the sum to far beyond a float32.
        wide = np.longdouble if number == "float64" else np.float64
        once = (a.astype(wide) + sign * (a.astype(wide) * b.astype(wide))).astype(number)
        near = np.abs(found - once) <= np.spacing(np.abs(once)) * (number == "float64")
        assert ((found == twice) | (found == once) | near).all()


@pytest.mark.parametrize("number", NUMBERS)
def test_powers_of_two_and_back(number: str) -> None:
    least, most = (-1022, 1023) if number == "float64" else (-126, 127)
    k = np.arange(least, most + 1).astype(number)
    np.testing.assert_array_equal(evaluated("power_of_two(a)", number, k), 2.0 ** k.astype(np.float64))
    drawn = np.random.default_rng(5).uniform(1, 2, len(k)).astype(number)
    root = np.sqrt(np.array(0.5, number))
    around = [np.nextafter(root, np.array(0, number)), root, np.nextafter(root, np.array(1, number)), 1, 1.25]
    x = np.concatenate([drawn * 2.0**k, np.outer(around, 2.0 ** k[2:-2]).ravel()]).astype(number)
    x = np.append(x, np.finfo(number).max)
    e, f, power = (evaluated(f"{name}(a)", number, x) for name in TRACED[1:])
    np.testing.assert_array_equal(np.ldexp(f, e.astype(int)), x)
    # The border is a number of its own, within rounding of sqrt(1/2).
    assert (f >= root * (1 - np.finfo(number).eps)).all()
    assert (f < 2 * root * (1 + np.finfo(number).eps)).all()
    with np.errstate(under="ignore"):
        np.testing.assert_array_equal(power, np.where(-e >= least, 2.0 ** -e.astype(np.float64), 0))
    assert power.min() == 0


@pytest.mark.parametrize("number", NUMBERS)
def test_a_quotient_with_a_root_is_within_a_unit_in_the_last_place(number: str) -> None:
    """Of numbers of every size, 0 among them; where a number is no float any more, as NumPy has it."""
    source = """
from glassnet.kernels.lanes import lane_count, load, over_root, store

def quotient(x, v, epsilon, out, n):
    for i in range(0, n, lane_count(x)):
        store(out, i, over_root(load(x, i), load(v, i), epsilon[0]))
    return 0.0
"""
    signature = f"float64({number}*, {number}*, {number}*, {number}*, int64)"
    compute = machine.code(source, {"quotient": signature})["quotient"]
    rng, info, n = np.random.default_rng(3), np.finfo(number), 1 << 12
    highest, lowest = np.log10(float(info.max)), np.log10(float(info.tiny))
    for epsilon in (1e-8, 1e-3, 1.0, float(info.tiny) * 10, float(info.max) / 10):
        for extent in (0.03, 0.3, 0.99):
            x = (rng.normal(size=n) * 10 ** (rng.uniform(lowest, highest, n) * extent / 2)).astype(number)
            v = (10 ** (rng.uniform(lowest, highest, n) * extent)).astype(number)
            v[rng.integers(0, n, 100)] = 0
            given, out = np.array([epsilon], number), np.empty(n, number)
            run(compute, x, v, given, out, n)
            wide = np.longdouble
            expected = x.astype(wide) / (np.sqrt(v.astype(wide)) + wide(given[0]))
            fits = np.abs(expected) < wide(info.max) / 2
            # the root, the sum and the quotient are each rounded
            allowed = 2.6 * np.spacing(np.abs(expected[fits]).astype(number)).astype(wide)
            assert (np.abs(out[fits] - expected[fits]) <= allowed).all(), (epsilon, extent)
            assert fits.mean() > 0.3
    x, v = np.ones(16, number), np.zeros(16, number)
    x[:3], v[3:7] = [np.inf, -np.inf, np.nan], [np.inf, np.nan, -1.0, info.max]
    given, out = np.array([1e-8], number), np.empty(16, number)
    run(compute, x, v, given, out, 16)
    with np.errstate(all="ignore"):
        expected = x / (np.sqrt(v) + given)
    np.testing.assert_array_equal(np.isfinite(out), np.isfinite(expected))
    np.testing.assert_allclose(out[3:], expected[3:], rtol=4 * info.eps)


@pytest.mark.parametrize("number", NUMBERS)
def test_totals_add_halves(number: str) -> None:
    lanes = lanes_of(number)
    x = np.random.default_rng(6).normal(size=(50, lanes)).astype(number)
    out = np.full(52, GUARD, number)
    run(addresses(number)["totals"], x, out[1:], x.size)
    halves = x
    while halves.shape[1] > 1:
        middle = halves.shape[1] // 2
        halves = halves[:, :middle] + halves[:, middle:]
    np.testing.assert_array_equal(out[1:-1], halves[:, 0])
    assert out[0] == out[-1] == GUARD
    out = np.full(3, GUARD, number)
    out[0] = 0.7
    run(addresses(number)["totalled"], x[0], out)
    assert (out == np.array([0.7, np.array(0.7, number) + halves[0, 0], GUARD], number)).all()


@pytest.mark.parametrize("number", NUMBERS)
def test_lanes_of_some_vectors_are_joined_together(number: str) -> None:
    lanes = lanes_of(number)
    x = np.random.default_rng(9).normal(size=(3, lanes)).astype(number)
    out = np.full(2 * lanes + 1, GUARD, number)
    run(addresses(number)["of_three"], x, out)
    sums, most, (guard,) = out[:lanes], out[lanes:-1], out[-1:]
    # neighbours, then neighbours of these
    halves = x
    while halves.shape[1] > 1:
        halves = halves[:, ::2] + halves[:, 1::2]
    np.testing.assert_array_equal(sums, [*halves[:, 0], *[0] * (lanes - 3)])
    np.testing.assert_array_equal(most, [*x.max(axis=1), *[-np.inf] * (lanes - 3)])
    assert guard == GUARD


@pytest.mark.parametrize("number", NUMBERS)
def test_the_largest_is_kept(number: str) -> None:
    lanes = lanes_of(number)
    rng = np.random.default_rng(7)
    for _ in range(20):
        x, old = rng.normal(size=(2, lanes)).astype(number)
        x[rng.integers(lanes)] = rng.choice([np.nan, np.inf, 0.0])
        out = np.full(lanes + 2, GUARD, number)
        out[1:-1] = old
        run(addresses(number)["larger"], x, out)
        np.testing.assert_array_equal(out, [GUARD, *np.where(x > old, x, old), GUARD])
        out = np.array([GUARD, old[0], GUARD], number)
        finite = np.where(np.isnan(x), 0, x)
        run(addresses(number)["largest"], finite, out)
        np.testing.assert_array_equal(out, [GUARD, max(finite.max(), old[0]), GUARD])


@pytest.mark.parametrize("number", NUMBERS)
def test_some_lanes_are_read_and_written_and_no_others(number: str) -> None:
    lanes = lanes_of(number)
    x = np.random.default_rng(8).normal(size=4 * lanes).astype(number)
    for count, at, to in product(range(lanes + 1), (0, 1, lanes - 1), (0, 3)):
        out = np.full(3 * lanes, GUARD, number)
        run(addresses(number)["some"], x, out, at, to, count)
        expected = np.full(3 * lanes, GUARD, number)
        expected[to : to + count] = x[at : at + count]
        np.testing.assert_array_equal(out, expected)
        run(addresses(number)["some_loaded"], x, out, at, count)
        np.testing.assert_array_equal(out[:lanes], [*x[at : at + count], *[0] * (lanes - count)])
        out[:] = GUARD
        run(addresses(number)["unaligned"], x, out, at, to)
        np.testing.assert_array_equal(out, [*[GUARD] * to, *x[at : at + lanes], *[GUARD] * (2 * lanes - to)])


def test_what_is_not_asked_for_is_not_read() -> None:
    """The last page of memory that may be read ends where the lanes that are asked for do."""
    mmap = pytest.importorskip("mmap")
    if not hasattr(mmap, "PROT_READ"):
        pytest.skip("memory that must not be read can be had on POSIX alone")
    page = mmap.PAGESIZE
    memory = mmap.mmap(-1, 2 * page)
    begin = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(begin + page), page, 0) == 0
    try:
        for number in NUMBERS:
            lanes, size = lanes_of(number), np.dtype(number).itemsize
            for count in range(1, lanes):
                inside = np.frombuffer(
                    (ctypes.c_char * (count * size)).from_address(begin + page - count * size), number
                )
                inside[:] = np.arange(count)
                out = np.full(lanes, GUARD, number)
                run(addresses(number)["some_loaded"], inside, out, 0, count)
                np.testing.assert_array_equal(out, [*range(count), *[0] * (lanes - count)])
                run(addresses(number)["some"], np.arange(9.0, 9 + lanes).astype(number), inside, 0, 0, count)
                np.testing.assert_array_equal(inside, np.arange(9, 9 + count))
    finally:
        ctypes.CDLL(None).mprotect(ctypes.c_void_p(begin + page), page, 3)


@pytest.mark.parametrize("number", NUMBERS)
def test_facts_and_calls(number: str) -> None:
    x = np.full(lanes_of(number), 2.25, number)
    assert run(addresses(number)["facts"], x) == lanes_of(number)
    assert run(addresses(number)["called"], addresses(number)["add"], x, 4) == 6.75


# --- tiles in registers ---------------------------------------------------------------------------------------------

TILES = ((8, 3), (8, 2), (8, 1), (1, 1), (3, 2))
OUTER = ((12, 2), (16, 1), (8, 1), (2, 3), (1, 1))
REGISTERS = (
    "from glassnet.kernels.registers import outer_tile, product_tile\n"
    + "".join(
        f"""
def product_{rows}_{vectors}(source, index, row_size, step, n, weights, weights_size, bias, with_bias, goal, size):
    product_tile(
        {rows}, {vectors}, source, index, row_size, step, n, weights, weights_size, bias, with_bias, goal, size
    )
    return 0.0
"""
        for rows, vectors in TILES
    )
    + "".join(
        f"""
def outer_{inputs}_{vectors}(source, index, row_size, n_inputs, deltas, deltas_size, goal, size, n_rows, kept):
    if n_inputs >= {inputs}:
        outer_tile(
            {inputs}, {vectors}, 1, source, index, row_size, n_inputs, deltas, deltas_size, goal, size, goal, size,
            n_rows, kept
        )
    else:
        outer_tile(
            {inputs}, {vectors}, 0, source, index, row_size, n_inputs, deltas, deltas_size, goal, size, goal, size,
            n_rows, kept
        )
    return 0.0
"""
        for inputs, vectors in OUTER
    )
)
_PRODUCT = "float64({0}*, int64*, int64, int64, int64, {0}*, int64, {0}*, int64, {0}*, int64)"
_OUTER = "float64({0}*, int64*, int64, int64, {0}*, int64, {0}*, int64, int64, int64)"


@cache
def register_addresses(number: str) -> dict[str, int]:
    signatures = {f"product_{r}_{v}": _PRODUCT.format(number) for r, v in TILES}
    signatures |= {f"outer_{t}_{v}": _OUTER.format(number) for t, v in OUTER}
    return machine.code(REGISTERS, signatures)


def assert_near(found: np.ndarray, expected: np.ndarray, n_terms: int) -> None:
    """Equal but for the rounding of sums of `n_terms` products of numbers about 1."""
    assert found.shape == expected.shape
    assert np.abs(found - expected).max(initial=0) <= 4 * (n_terms + 1) * np.finfo(found.dtype).eps


def test_the_comparison_can_fail() -> None:
    right = np.ones(3, np.float32)
    assert_near(right + np.float32(4e-7), right, 1)
    for wrong in (right + np.float32(2e-6), right[:2], right * np.nan):
        with pytest.raises(AssertionError):
            assert_near(wrong, right, 1)


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize(("rows", "vectors"), TILES)
def test_a_product_in_registers(rows: int, vectors: int, number: str) -> None:
    lanes, rng = lanes_of(number), np.random.default_rng(9)
    units = vectors * lanes
    for n_inputs, step, with_bias in product((0, 1, 2, 5, 17), (1, 3), (0, 1)):
        row_size, weights_size, size = n_inputs * step + 2, units + 3, units + 5
        table = rng.uniform(-1, 1, (30, row_size)).astype(number)
        index = rng.integers(0, 30, rows)
        weights = rng.uniform(-1, 1, (n_inputs + 1, weights_size)).astype(number)
        bias = rng.uniform(-1, 1, units).astype(number)
        goal = np.full((rows + 1, size), GUARD, number)
        address = register_addresses(number)[f"product_{rows}_{vectors}"]
        run(
            address, table, index, row_size, step, n_inputs, weights, weights_size, bias, with_bias, goal, size
        )  # fmt: skip
        inputs = table[index, : n_inputs * step : step].astype(float)
        expected = inputs @ weights[:n_inputs, :units] + (bias if with_bias else 0)
        assert_near(goal[:rows, :units], expected, n_inputs)
        assert (goal[:, units:] == GUARD).all()
        assert (goal[rows] == GUARD).all()


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize(("most", "vectors"), OUTER)
def test_an_outer_product_in_registers_with_every_remainder(most: int, vectors: int, number: str) -> None:
    lanes, rng = lanes_of(number), np.random.default_rng(10)
    for n_inputs, kept in product(range(1, most + 1), range(1, lanes + 1)):
        if most > 2 and n_inputs not in (1, most - 1, most) and kept not in (1, lanes):
            continue
        n_rows, units = int(rng.integers(0, 20)), (vectors - 1) * lanes + kept
        row_size, deltas_size, size = most + 1, vectors * lanes + 2, units + 1
        table = rng.uniform(-1, 1, (30, row_size)).astype(number)
        index = rng.integers(0, 30, max(n_rows, 1))
        deltas = rng.uniform(-1, 1, (n_rows + 1, deltas_size)).astype(number)
        goal = np.full(n_inputs * size + 2 * lanes, GUARD, number)
        before = goal.copy()
        run(
            register_addresses(number)[f"outer_{most}_{vectors}"],
            table, index, row_size, n_inputs, deltas, deltas_size, goal, size, n_rows, kept,
        )  # fmt: skip
        expected = table[index[:n_rows], :n_inputs].T.astype(float) @ deltas[:n_rows, :units]
        change = (goal - before)[: n_inputs * size].reshape(n_inputs, size)
        # Beside GUARD a sum is rounded to its last place.
        assert np.abs(change[:, :units] - expected).max() <= 4 * (n_rows + 80) * np.finfo(number).eps
        assert (change[:, units:] == 0).all()
        assert (goal[n_inputs * size :] == GUARD).all()


# --- tiles ----------------------------------------------------------------------------------------------------------


@cache
def tiles(number: str) -> dict[str, Callable[..., float]]:
    """The functions of `kernels.tiles`, as kernels get them."""
    tools = engines._tools(number, tiles=True, zeros=False, shuffle=False, mask=False)
    return {name: _bound(int(address)) for name, address in zip(engines._TILES, tools, strict=False)}


def _bound(address: int) -> Callable[..., float]:
    return lambda *given: run(address, *given)


def sizes(number: str) -> list[int]:
    """Every remainder modulo the lanes, and all the ways in which whole vectors are taken together."""
    lanes = lanes_of(number)
    return [
        *range(1, 2 * lanes + 2),
        3 * lanes,
        3 * lanes + 1,
        4 * lanes - 1,
        4 * lanes,
        5 * lanes,
        5 * lanes + 3,
        7 * lanes,
    ]


def up(n: int, to: int) -> int:
    return -(-n // to) * to


@pytest.mark.parametrize("number", NUMBERS)
def test_product(number: str) -> None:
    lanes, rng = lanes_of(number), np.random.default_rng(11)
    for case, n_units in enumerate(sizes(number)):
        n_rows, n_inputs, step, with_bias = 8 * (1 + case % 3), 1 + 7 * case % 23, 1 + case % 2, case % 2
        row_size, size = n_inputs * step + case % 3, up(n_units, lanes)
        table = rng.uniform(-1, 1, (40, row_size)).astype(number)
        index = rng.integers(0, 40, n_rows)
        weights, bias = rng.uniform(-1, 1, n_inputs * n_units + lanes), rng.uniform(-1, 1, n_units + lanes)
        weights, bias = weights.astype(number), bias.astype(number)
        goal = np.full((n_rows + 1) * size, GUARD, number)
        tiles(number)["product"](
            table, index, row_size, step, n_inputs, weights, n_units, bias, with_bias, n_units, goal, size, n_rows
        )
        inputs = table[index, : n_inputs * step : step].astype(float)
        expected = inputs @ weights[: n_inputs * n_units].reshape(n_inputs, n_units) + (
            bias[:n_units] if with_bias else 0
        )
        assert_near(goal[: n_rows * size].reshape(n_rows, size)[:, :n_units], expected, n_inputs)
        assert (goal[n_rows * size :] == GUARD).all()


@pytest.mark.parametrize("number", NUMBERS)
def test_outer(number: str) -> None:
    lanes, rng = lanes_of(number), np.random.default_rng(12)
    for case, n_units in enumerate(sizes(number)):
        for n_inputs in {1 + case, 8, 9, 12, 13, 16, 17, 25} if case % 4 == 0 else {1 + case}:
            n_rows, row_size, size = 8 * (1 + case % 4), n_inputs + case % 3, up(n_units, lanes)
            table = rng.uniform(-1, 1, (40, row_size)).astype(number)
            index = rng.integers(0, 40, n_rows)
            deltas = rng.uniform(-1, 1, (n_rows, size)).astype(number)
            begun = rng.uniform(-1, 1, n_inputs * n_units).astype(number)
            bias_begun = rng.uniform(-1, 1, n_units).astype(number)
            goal = np.concatenate([begun, np.full(2 * lanes, GUARD, number)])
            bias_goal = np.concatenate([bias_begun, np.full(2 * lanes, GUARD, number)])
            start, start_size = goal, n_units
            if case % 2:  # one start for all inputs
                goal, start, start_size = np.full_like(goal, GUARD), goal, 0
                begun = np.tile(begun[:n_units], n_inputs)
            tiles(number)["outer"](
                table, index, row_size, n_inputs, deltas, size, n_units, start, start_size, goal, bias_goal, n_rows
            )  # fmt: skip
            inputs, wide = table[index, :n_inputs].astype(float), deltas[:, :n_units].astype(float)
            assert_near(goal[: n_inputs * n_units], begun + (inputs.T @ wide).ravel(), n_rows)
            assert_near(bias_goal[:n_units], bias_begun + wide.sum(axis=0), n_rows)
            assert (goal[n_inputs * n_units :] == GUARD).all()
            assert (bias_goal[n_units:] == GUARD).all()


@pytest.mark.parametrize("number", NUMBERS)
def test_dots_and_narrow_outer_and_turn(number: str) -> None:
    lanes, rng = lanes_of(number), np.random.default_rng(13)
    for case, n_inputs in enumerate(sizes(number)):
        n_units, n_rows = 1 + case % (lanes // 4 + 2), lanes * (1 + case % 3)
        row_size, turned_size, size = n_inputs + case % 3, up(n_inputs, lanes), n_rows + lanes
        table = rng.uniform(-1, 1, (40, row_size)).astype(number)
        index = rng.integers(0, 40, n_rows)
        weights = rng.uniform(-1, 1, (n_inputs, n_units)).astype(number)
        bias = rng.uniform(-1, 1, n_units).astype(number)
        turned = np.full((n_units + 1, turned_size), GUARD, number)
        tiles(number)["turn"](weights, n_inputs, n_units, turned, turned_size)
        np.testing.assert_array_equal(turned[:n_units, :n_inputs], weights.T)
        assert (turned[:n_units, n_inputs:] == GUARD).all()
        assert (turned[n_units] == GUARD).all()

        goal = np.full((n_units + 1, size), GUARD, number)
        tiles(number)["dots"](
            table, index, row_size, n_inputs, turned, turned_size, bias, n_units, goal, size, n_rows
        )  # fmt: skip
        inputs = table[index, :n_inputs].astype(float)
        assert_near(goal[:n_units, :n_rows], (inputs @ weights + bias).T, n_inputs)
        assert (goal[:n_units, n_rows:] == GUARD).all()
        assert (goal[n_units] == GUARD).all()

        deltas = rng.uniform(-1, 1, (n_units, size)).astype(number)
        begun, bias_begun = rng.uniform(-1, 1, n_inputs * n_units).astype(number), bias.copy()
        sums = np.concatenate([begun, np.full(2 * lanes, GUARD, number)])
        bias_sums = np.concatenate([bias, np.full(2 * lanes, GUARD, number)])
        tiles(number)["narrow_outer"](
            table, index, row_size, n_inputs, deltas, size, n_units, sums, bias_sums, n_rows, np.empty(lanes, number)
        )
        wide = deltas[:, :n_rows].astype(float)
        assert_near(sums[: n_inputs * n_units], begun + (inputs.T @ wide.T).ravel(), n_rows)
        assert_near(bias_sums[:n_units], bias_begun + wide.sum(axis=1), n_rows)
        assert (sums[n_inputs * n_units :] == GUARD).all()
        assert (bias_sums[n_units:] == GUARD).all()


@cache
def zeros(number: str) -> dict[str, Callable[..., float]]:
    """The functions of `kernels.zeros`, as kernels get them."""
    tools = engines._tools(number, tiles=True, zeros=True, shuffle=False, mask=False)
    return {name: _bound(int(tools[places.PRODUCT_AT + k])) for k, name in enumerate(engines._ZEROS)}


@pytest.mark.parametrize("number", NUMBERS)
def test_sums_that_pass_over_zeros_have_the_bits_of_those_that_do_not(number: str) -> None:
    lanes, rng = lanes_of(number), np.random.default_rng(14)
    for case, n_units in enumerate([*sizes(number), 8 * lanes, 11 * lanes + 1, 17 * lanes - 1]):
        n_rows, n_inputs = (8, 16, 24, 64)[case % 4], 1 + 13 * case % 70
        row_size, size = n_inputs + case % 3, up(n_units, lanes)
        table = rng.uniform(-1, 1, (40, row_size)).astype(number)
        table[rng.random(table.shape) < (0, 0.5, 0.9, 1)[case % 4 if case % 5 else 2]] = 0
        index, n_real = rng.integers(0, 40, 2 * n_rows), n_rows - case % 3 * 3
        index[n_real:n_rows] = index[n_real - 1]  # as buffers are filled up
        weights, bias = rng.uniform(-1, 1, n_inputs * n_units + lanes), rng.uniform(-1, 1, n_units + lanes)
        weights, bias = weights.astype(number), bias.astype(number)
        deltas = rng.uniform(-1, 1, (n_rows, size)).astype(number)
        deltas[n_real:] = 0
        begun = rng.uniform(-1, 1, n_inputs * n_units).astype(number)
        room = mark_size(n_inputs)
        marks = np.full(room + lanes, GUARD, number)

        goal, dense = (np.full((n_rows + 1) * size, GUARD, number) for _ in range(2))
        zeros(number)["product"](
            table, index, row_size, n_inputs, weights, bias, n_units, goal, size, n_rows, n_real, marks
        )
        tiles(number)["product"](
            table, index, row_size, 1, n_inputs, weights, n_units, bias, 1, n_units, dense, size, n_rows
        )
        np.testing.assert_array_equal(goal, dense)

        for start_size in (n_units, 0):
            goal, dense = (np.concatenate([begun, np.full(2 * lanes, GUARD, number)]) for _ in range(2))
            starts = (goal, dense) if start_size else (begun, begun)
            zeros(number)["outer"](
                table, index, row_size, n_inputs, deltas, size, n_units, starts[0], start_size, goal, marks
            )
            assert (marks[room:] == GUARD).all()
            tiles(number)["outer"](
                table, index, row_size, n_inputs, deltas, size, n_units, starts[1], start_size, dense,
                np.zeros(n_units, number), n_rows,
            )  # fmt: skip
            np.testing.assert_array_equal(goal, dense)


@cache
def lists(number: str, *, wide: bool) -> dict[str, Callable[..., float]]:
    """The functions of `kernels.sparse`, as kernels get them."""
    tools = engines._tools(number, tiles=True, zeros=wide, shuffle=False, mask=False, lists=True)
    if wide:
        return {name: _bound(int(tools[places.PRODUCT_AT + k])) for k, name in enumerate(engines._ZEROS)}
    names = list(engines._TILES)
    return {name: _bound(int(tools[names.index(name)])) for name in ("dots", "narrow_outer")}


@pytest.mark.parametrize("number", NUMBERS)
def test_sums_along_lists_are_those_of_the_dense_table(number: str) -> None:
    lanes, rng = lanes_of(number), np.random.default_rng(15)
    for case, n_units in enumerate([*sizes(number), 8 * lanes, 11 * lanes + 1, 17 * lanes - 1]):
        n_rows, n_inputs = (8, 16, 24, 64)[case % 4], 32 + 13 * case % 70
        size = up(n_units, lanes)
        table = rng.uniform(-1, 1, (40, n_inputs)).astype(number)
        table[rng.random(table.shape) < (0, 0.5, 0.9, 1)[case % 4 if case % 5 else 2]] = 0
        held = SparseTable.of(csr_array(table))
        at = held.places
        index, n_real = rng.integers(0, 40, n_rows + places.ROWS_AHEAD), n_rows - case % 3 * 3
        index[n_real:n_rows] = index[n_real - 1]
        weights, bias = rng.uniform(-1, 1, n_inputs * n_units + lanes), rng.uniform(-1, 1, n_units + lanes)
        weights, bias = weights.astype(number), bias.astype(number)
        deltas = rng.uniform(-1, 1, (n_rows, size)).astype(number)
        deltas[n_real:] = 0
        begun = rng.uniform(-1, 1, n_inputs * n_units).astype(number)
        room = mark_size(n_inputs)
        marks = np.full(room + lanes, GUARD, number)
        along, dense_way = lists(number, wide=True), tiles(number)

        goal, dense = (np.full((n_rows + 1) * size, GUARD, number) for _ in range(2))
        along["product"](at, index, 0, n_inputs, weights, bias, n_units, goal, size, n_rows, n_real, marks)
        dense_way["product"](
            table, index, n_inputs, 1, n_inputs, weights, n_units, bias, 1, n_units, dense, size, n_rows
        )
        np.testing.assert_array_equal(goal, dense)
        for start_size in (n_units, 0):
            goal, dense = (np.concatenate([begun, np.full(2 * lanes, GUARD, number)]) for _ in range(2))
            nothing = np.zeros(size, number)
            starts = (goal, dense) if start_size else (nothing, nothing)
            along["outer"](at, index, 0, n_inputs, deltas, size, n_units, starts[0], start_size, goal, marks)
            assert (marks[room:] == GUARD).all()
            dense_way["outer"](
                table, index, n_inputs, n_inputs, deltas, size, n_units, starts[1], start_size, dense,
                np.zeros(n_units, number), n_rows,
            )  # fmt: skip
            np.testing.assert_array_equal(goal, dense)

        n_rows = up(n_rows, lanes)
        narrow, few = lists(number, wide=False), min(n_units, 3)
        turned = rng.uniform(-1, 1, few * up(n_inputs, lanes)).astype(number)
        goal, dense = (np.full((few + 1) * n_rows, GUARD, number) for _ in range(2))
        for way, rows, put in ((narrow, at, goal), (dense_way, table, dense)):
            way["dots"](rows, index, n_inputs, n_inputs, turned, up(n_inputs, lanes), bias, few, put, n_rows, n_rows)
        tolerance = 1e-13 if number == "float64" else 1e-5
        np.testing.assert_allclose(goal, dense, rtol=tolerance, atol=tolerance)
        turned_deltas = rng.uniform(-1, 1, few * n_rows).astype(number)
        found = []
        for way, rows in ((narrow, at), (dense_way, table)):
            goal = np.concatenate([begun[: n_inputs * few], np.full(lanes, GUARD, number)])
            bias_goal = bias[:few].copy()
            way["narrow_outer"](
                rows, index, n_inputs, n_inputs, turned_deltas, n_rows, few, goal, bias_goal, n_rows,
                np.empty(64 * lanes, number),
            )  # fmt: skip
            found.append(np.concatenate([goal, bias_goal]))
        np.testing.assert_allclose(*found, rtol=tolerance, atol=tolerance)


def test_lanes_are_those_that_sources_are_written_for() -> None:
    """A kernel's step over rows is the number of lanes."""
    for number in NUMBERS:
        text = source.gradient_source(Network((1, 1)), lanes_of(number))
        assert f"range(first, last, {lanes_of(number)})" in text
