"""The kernels' own exp, log, tanh and the rest: their errors over the whole range, and what is special about its ends.

The largest errors that are allowed are read from the table at the head of `kernels.mathematics`, so that what is
stated is what is tested. `soak/test_soak_mathematics.py` looks at every number of float32.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import mpmath
import numpy as np
import pytest
from scipy import special

from glassnet.kernels import machine, mathematics

Function = Callable[[np.ndarray], np.ndarray]
FUNCTIONS = ("exp", "expm1", "log", "log1p", "tanh", "sigmoid", "softplus", "erf", "erfc")
SOURCE = (
    "from glassnet.kernels import mathematics\nfrom glassnet.kernels.lanes import lane_count, load, store\n"
    + "".join(
        f"""
def all_{name}(x, y, n):
    for i in range(0, n, lane_count(x)):
        store(y, i, mathematics.{name}(load(x, i)))
    return 0.0
"""
        for name in FUNCTIONS
    )
)
# Where a function is measured: the smallest and the largest x whose value is neither subnormal nor beyond the range.
TINY, HUGE = {"float64": 2.3e-308, "float32": 1.2e-38}, {"float64": 1.79e308, "float32": 3.4e38}
EXP = {"float64": (-707.7, 709.78), "float32": (-86.6, 88.72)}
ERFC_END = {"float64": 26.5, "float32": 9.2}


def domain(name: str, number: str) -> tuple[float, float]:
    low, high = EXP[number]
    return {
        "exp": (low, high),
        "expm1": (-HUGE[number], high),
        "log": (TINY[number], HUGE[number]),
        "log1p": (-1 + np.finfo(number).epsneg, HUGE[number]),
        "sigmoid": (low, HUGE[number]),
        "softplus": (low, HUGE[number]),
        "erfc": (-HUGE[number], ERFC_END[number]),
    }.get(name, (-HUGE[number], HUGE[number]))


@cache
def compiled(number: str) -> dict[str, Function]:
    """The functions for arrays of any length."""
    signature = f"float64({number}*, {number}*, int64)"
    addresses = machine.code(SOURCE, {f"all_{name}": signature for name in FUNCTIONS})

    def of_arrays(name: str) -> Function:
        prototype = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
        function = prototype(addresses[f"all_{name}"])

        def evaluated(x: np.ndarray) -> np.ndarray:
            n = -(-len(x) // 16) * 16
            given, found = np.ones(n, number), np.empty(n, number)
            given[: len(x)] = x
            function(given.ctypes.data, found.ctypes.data, n)
            return found[: len(x)]

        return evaluated

    return {name: of_arrays(name) for name in FUNCTIONS}


def stated() -> dict[tuple[str, str], float]:
    """The largest errors, in units in the last place, as the module's docstring has them."""
    rows = re.findall(r"^ +(\w+) +([\d.]+) +([\d.]+) +\S", mathematics.__doc__ or "", re.MULTILINE)
    return {
        (name, number): float(error)
        for name, *errors in rows
        for number, error in zip(("float64", "float32"), errors, strict=True)
    }


# --- oracles: x to the value, more precisely than the type of x has it ----------------------------------------------


def _precise_sigmoid(x: Any) -> Any:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def _precise_softplus(x: Any) -> Any:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


PRECISE: dict[str, Any] = {
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "tanh": np.tanh,
    "sigmoid": _precise_sigmoid,
    "softplus": _precise_softplus,
    "erf": special.erf,
    "erfc": special.erfc,
}
BY_MPMATH: dict[str, Any] = {
    "exp": mpmath.exp,
    "expm1": mpmath.expm1,
    "log": mpmath.log,
    "log1p": mpmath.log1p,
    "tanh": mpmath.tanh,
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "softplus": lambda x: mpmath.log1p(mpmath.exp(x)) if x < 0 else x + mpmath.log1p(mpmath.exp(-x)),
    "erf": mpmath.erf,
    "erfc": mpmath.erfc,
}
# With 64 bits, long doubles are two thousand times finer than doubles; where they are no finer, mpmath has to do.
FINE = np.finfo(np.longdouble).nmant >= 63


def precisely(name: str, x: np.ndarray) -> np.ndarray:
    """The values, in long double for float64 and in float64 for float32."""
    if x.dtype == np.float32:
        return np.asarray(PRECISE[name](x.astype(np.float64)))
    if FINE and not name.startswith("erf"):
        return np.asarray(PRECISE[name](x.astype(np.longdouble)))
    return by_mpmath(name, x)


def by_mpmath(name: str, x: np.ndarray) -> np.ndarray:
    """The values to 40 digits, in long double: a value and what it leaves of it."""
    with mpmath.workdps(40):
        values = [BY_MPMATH[name](mpmath.mpf(float(number))) for number in x]
        head = np.array([float(value) for value in values])
        rest = np.array([float(value - mpmath.mpf(h)) for value, h in zip(values, head.tolist(), strict=True)])
    return head.astype(np.longdouble) + rest


def errors_in_ulps(found: np.ndarray, precise: np.ndarray) -> np.ndarray:
    """How far each is from the precise value, in units in the last place of its type."""
    unit = np.spacing(np.abs(precise).astype(found.dtype))
    return np.asarray(np.abs(found.astype(precise.dtype) - precise) / unit, float)


def test_the_comparison_can_fail() -> None:
    x = np.linspace(-3, 3, 101)
    right = np.exp(x)
    assert errors_in_ulps(right, precisely("exp", x)).max() < 1
    off = right.copy()
    off[17] = np.nextafter(np.nextafter(np.nextafter(off[17], 9), 9), 9)
    assert 2 < errors_in_ulps(off, precisely("exp", x)).max() < 4
    assert np.isnan(errors_in_ulps(np.where(x == 0, np.nan, right), precisely("exp", x)).max())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_oracle_is_right(name: str) -> None:
    low, high = domain(name, "float64")
    x = np.random.default_rng(1).uniform(max(low, -30), min(high, 26), 100)
    # A hundredth of a unit: what is measured to a tenth is not the oracle's error.
    assert np.max(np.abs(precisely(name, x) / by_mpmath(name, x) - 1)) < 0.01 * 2**-52
    of_float32 = x.astype(np.float32)
    assert np.max(np.abs(precisely(name, of_float32) / by_mpmath(name, of_float32) - 1)) < 0.01 * 2**-23


# --- points -------------------------------------------------------------------------------------------------------


def points(name: str, number: str, n: int) -> np.ndarray:
    """Random and structured numbers all over the domain: of every size, evenly spread, and about every seam."""
    low, high = domain(name, number)
    rng = np.random.default_rng([len(name), len(number), ord(name[0])])
    exponents = np.arange(np.log2(TINY[number]), np.log2(HUGE[number]) - 0.01)
    seams = np.concatenate(
        [
            2.0**exponents,
            np.sqrt(0.5) * 2.0**exponents,  # where log turns to the next power of two
            np.arange(1, 2050) * (np.log(2) / 2),  # where exp does
            np.arange(1, 2050) * (np.log(2) / 32),  # and with AVX-512
            np.arange(1, 200) * (np.log(2) / 4),  # where tanh does
            np.array([0.46875, 4, 20, 10, 1, 707.7, 86.6]),
        ]
    )
    spread = np.concatenate(
        [
            rng.uniform(-30, 30, n),
            rng.uniform(max(low, -800), min(high, 800), n),
            2.0 ** rng.uniform(exponents[0], exponents[-1] + 0.9, n) * rng.choice([-1, 1], n),
            rng.uniform(0.5, 2, n) * rng.choice([-1, 1], n),
        ]
    )
    x = np.concatenate(
        [spread, *(seams * sign * (1 + k * np.finfo(number).eps) for sign in (1, -1) for k in range(-4, 5))]
    )
    x = x.astype(number)
    return np.unique(x[(x >= low) & (x <= high)])


@pytest.mark.parametrize("number", ["float64", "float32"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_largest_error_is_the_stated_one(name: str, number: str) -> None:
    slow = number == "float64" and (not FINE or name.startswith("erf"))
    x = points(name, number, 400 if slow else 100_000)
    if slow:
        x = np.random.default_rng(0).permutation(x)[:4000]
    errors = errors_in_ulps(compiled(number)[name](x), precisely(name, x))
    worst = int(np.argmax(np.where(np.isnan(errors), np.inf, errors)))
    assert errors[worst] <= stated()[name, number], f"{name}({x[worst]!r}) is {errors[worst]:.2f} units off"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_all_numbers_of_a_binade(name: str) -> None:
    low, high = domain(name, "float32")
    for exponent in (-1,):  # where most functions turn
        x = np.arange(1 << 23, dtype=np.uint32) | np.uint32((127 + exponent) << 23)
        for sign in (1, -1):
            every = sign * x.view(np.float32)
            every = every[(every >= low) & (every <= high)]
            if len(every):
                errors = errors_in_ulps(compiled("float32")[name](every), precisely(name, every))
                assert errors.max() <= stated()[name, "float32"]


def test_every_function_of_the_module_is_in_the_table() -> None:
    own = {
        name
        for name, value in vars(mathematics).items()
        if getattr(value, "__module__", "") == mathematics.__name__ and not name.startswith("_")
    }
    assert own - {"exp_of_size"} == set(FUNCTIONS) == {name for name, _ in stated()}


# --- the ends -----------------------------------------------------------------------------------------------------


inf, nan = np.inf, np.nan
AT_THE_ENDS: dict[str, list[tuple[float, float]]] = {
    "exp": [(0.0, 1), (-0.0, 1), (inf, inf)],
    "expm1": [(0.0, 0), (-0.0, 0), (inf, inf), (-inf, -1)],
    "log": [(0.0, -inf), (-0.0, -inf), (1.0, 0), (inf, inf), (-inf, nan), (-1.0, nan), (-1e-30, nan)],
    "log1p": [(0.0, 0), (-0.0, 0), (-1.0, -inf), (inf, inf), (-inf, nan), (-1.5, nan)],
    "tanh": [(0.0, 0), (-0.0, 0), (inf, 1), (-inf, -1), (25.0, 1), (-25.0, -1)],
    "sigmoid": [(0.0, 0.5), (-0.0, 0.5), (inf, 1), (100.0, 1)],
    "softplus": [(inf, inf), (1e30, 1e30)],
    "erf": [(0.0, 0), (-0.0, 0), (inf, 1), (-inf, -1), (10.0, 1), (-10.0, -1)],
    "erfc": [(0.0, 1), (-0.0, 1), (inf, 0), (-inf, 2), (-10.0, 2)],
}


@pytest.mark.parametrize("number", ["float64", "float32"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_special_values(name: str, number: str) -> None:
    function = compiled(number)[name]
    x, values = np.array(AT_THE_ENDS[name], number).T
    np.testing.assert_array_equal(function(x), values)
    assert np.isnan(function(np.array([nan], number)))[0]


@pytest.mark.parametrize("number", ["float64", "float32"])
def test_the_ends_of_the_range(number: str) -> None:
    of, largest, least = compiled(number), np.finfo(number).max, np.finfo(number).smallest_normal
    low, high = EXP[number]
    below = np.array([low * 1.001, -largest, -inf], number)
    # The least value of exp, about the least normal number, stands for all that are less.
    for name in ("exp", "sigmoid", "softplus"):
        values = of[name](below)
        assert (values == of[name](np.array([low], number))).all()
        assert (values <= 3 * least).all()
        assert (values > 0).all()
    np.testing.assert_array_equal(of["expm1"](below), -1)
    above = np.array([high + 0.01, 1.01 * high, largest, inf], number)
    np.testing.assert_array_equal(of["exp"](above), inf)
    np.testing.assert_array_equal(of["expm1"](above), inf)
    np.testing.assert_allclose(of["log"](np.array([largest], number)), np.log(largest), rtol=1e-6)
    np.testing.assert_array_equal(of["softplus"](above), above)
    assert (of["erfc"](np.array([ERFC_END[number] * 1.1, 1e3, largest], number)) <= least).all()


@pytest.mark.parametrize("number", ["float64", "float32"])
def test_subnormal_numbers(number: str) -> None:
    of, least = compiled(number), np.finfo(number).smallest_normal
    x = np.concatenate([least * np.linspace(0.01, 0.99, 50), [np.finfo(number).smallest_subnormal]]).astype(number)
    x = np.concatenate([x, -x])
    for name in ("log1p", "tanh"):
        np.testing.assert_array_equal(of[name](x), x)
    # A product with 2**k, or with 2 / sqrt(pi), is rounded to the few bits there are.
    for name, slope in (("expm1", 1), ("erf", 2 / np.sqrt(np.pi))):
        assert (np.abs(of[name](x) - slope * x.astype(float)) <= 2 * np.finfo(number).smallest_subnormal).all()
    for name, value in (("exp", 1), ("sigmoid", 0.5), ("erfc", 1), ("softplus", np.log(2))):
        np.testing.assert_allclose(of[name](x), value, rtol=2 * np.finfo(number).eps)
    np.testing.assert_array_equal(of["log"](x[:51]), of["log"](np.array([least], number))[0])


@pytest.mark.parametrize("number", ["float64", "float32"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_number_has_the_same_bits_in_every_lane_and_company(name: str, number: str) -> None:
    x = np.random.default_rng(2).normal(0, 3, 67).astype(number)
    function = compiled(number)[name]
    alone = [function(x[i : i + 1])[0] for i in range(len(x))]
    np.testing.assert_array_equal(function(x), alone)
    np.testing.assert_array_equal(function(x[::-1].copy()), alone[::-1])
