"""exp, log, tanh, erf and their kin, of `Lanes`: what kernels are compiled with.

Neither Numba nor LLVM brings these as vector code, so they are here, of additions, products and the exponent's bits,
and are written into the kernel that uses them. They are a digit less careful than `arithmetic`, which settles the bits
of predictions, and several times faster.

The largest errors, in units in the last place of the result, over the whole range (float32: of every number), as
`tests/soak/test_soak_mathematics.py` measures them and `tests/test_mathematics.py` holds them:

    ========  =======  =======  ==================================================================================
    function  float64  float32  where it ends
    ========  =======  =======  ==================================================================================
    exp       1.1      1.1      4e-308 below -707.7 (float32: 2e-38 below -86.6), infinite above 709.78 (88.72)
    expm1     2.3      1.7      infinite as exp
    log       0.9      0.9      of subnormal numbers that of the smallest normal one; -inf at 0; nan below
    log1p     1.3      1.5      -inf at -1; nan below
    tanh      2.5      2.5      exact 1 and -1 beyond 20 (10)
    sigmoid   2.3      2.5      4e-308 below -707.7 (2e-38 below -86.6)
    softplus  1.7      1.8      as sigmoid below
    erf       2.8      4.3      exact 1 and -1 beyond 6 (4)
    erfc      520      67       the error grows as x**2 does, whose last place exp(-x**2) feels; near 0 beyond 26.5 (9.2)
    ========  =======  =======  ==================================================================================

A zero comes back as 0.0, whichever its sign, but from erf.

Sources: reduction by ln 2 in two parts, Cody and Waite, "Software Manual for the Elementary Functions" (1980); the
polynomials were fitted at Chebyshev's points of the reduced range.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from glassnet.expressions import ERF_COEFFICIENTS
from glassnet.kernels.lanes import absolute, exponent, in_float64, maximum, minimum, rint, select, two_to

_ERF_P, _ERF_Q, _ERFC_P, _ERFC_Q, _TAIL_P, _TAIL_Q = ERF_COEFFICIENTS

_inlined = njit(forceinline=True, error_model="numpy")


@_inlined
def _reduced(x: Any) -> Any:
    """k and r of x = k ln 2 + r, |r| <= ln(2) / 2; for |x| under 746."""
    k = rint(x * 1.4426950408889634)
    if in_float64(x):
        r = (x - k * 0.6931471803691238) - k * 1.9082149292705877e-10
    else:
        r = (x - k * 0.693359375) - k * -2.12194440e-4
    return k, r


@_inlined
def _exp_less_1(r: Any) -> Any:
    """exp(r) - 1 for |r| <= ln(2) / 2; pairs of terms first, for a shorter wait than one after the other."""
    q = r * r
    if in_float64(r):
        p01, p23 = r * 0.16666666666666669 + 0.5000000000000001, r * 0.008333333333330062 + 0.04166666666662413
        p45, p67 = (
            r * 0.00019841269863053618 + 0.0013888888917213717,
            r * 2.7557268459997064e-06 + 2.4801521295954376e-05,
        )
        p89 = r * 2.510038549551032e-08 + 2.7620088445409746e-07
        q2 = q * q
        p = (p89 * q2 + (p67 * q + p45)) * q2 + (p23 * q + p01)
    else:
        p = (r * 0.0013926183587713494 + 0.008363179052722578) * q
        p = (p + (r * 0.041666554617204574 + 0.16666576989698775)) * r + 0.5
    return q * p + r


@_inlined
def _in_range(x: Any) -> Any:
    """x where exp(x) is a normal number, else the end of that range or a step beyond, where exp is infinite."""
    if in_float64(x):
        return minimum(maximum(x, -707.7), 710)
    return minimum(maximum(x, -86.6), 89)


@_inlined
def exp(x: Any) -> Any:
    """2**k exp(r)."""
    k, r = _reduced(_in_range(x))
    # Twice the half: 2**k itself is no number for the largest k.
    return (_exp_less_1(r) * 2 + 2) * two_to(k - 1)


_INFINITY = float("inf")
_NAN = float("nan")


@_inlined
def expm1(x: Any) -> Any:
    """2**k (exp(r) - 1) + (2**k - 1), which loses nothing near 0."""
    k, r = _reduced(_in_range(x))
    half = two_to(k - 1)
    return (_exp_less_1(r) * half + (half - 0.5)) * 2


@_inlined
def _log_of_product(e: Any, f: Any) -> Any:
    """e ln 2 + log(1 + f), with log(1 + f) = 2 artanh(s), s = f / (2 + f)."""
    s = f / (f + 2)
    q = s * s
    if in_float64(f):
        q2 = q * q
        p01, p23 = q * 0.39999999999899444 + 0.666666666666667, q * 0.22222211130259878 + 0.2857142862600327
        p45 = q * 0.15331710618210773 + 0.18182889455674947
        p = (q2 * 0.14616585424888623 + p45) * q2 + p23
        p = p * q2 + p01
        ln_2, rest = 0.6931471803691238, 1.9082149292705877e-10
    else:
        p = (q * 0.2958005304318844 + 0.39988778282162807) * q + 0.6666668504515603
        ln_2, rest = 0.693359375, -2.12194440e-4
    # 2 s = f - f**2 / 2 + s f**2 / 2: the leading term is f, which is exact.
    half = f * f * 0.5
    return e * ln_2 + (f - (half - (s * (half + q * p) + e * rest)))


@_inlined
def _least_normal(x: Any) -> Any:
    return 2.2250738585072014e-308 if in_float64(x) else 1.1754943508222875e-38


@_inlined
def log(x: Any) -> Any:
    """e ln 2 + log(1 + f) of x = 2**e (1 + f)."""
    e, f, _ = exponent(maximum(x, _least_normal(x)))
    y = _log_of_product(e, f - 1)
    return select(x > 0, select(x == _INFINITY, x, y), select(x == 0, -_INFINITY, _NAN))


@_inlined
def log1p(x: Any) -> Any:
    """e ln 2 + log(1 + f) of 1 + x = 2**e (1 + f); what u = 1 + x loses, x - (u - 1), is put back into f."""
    u = x + 1
    e, f, power = exponent(maximum(u, _least_normal(x)))
    y = _log_of_product(e, (x - (u - 1)) * power + (f - 1))
    return select(u > 0, select(x == _INFINITY, x, y), select(u == 0, -_INFINITY, _NAN))


@_inlined
def tanh(x: Any) -> Any:
    """t / (t + 2) with t = exp(2 |x|) - 1, and the sign of x."""
    k, r = _reduced(minimum(absolute(x) * 2, 40))
    power = two_to(k)
    t = _exp_less_1(r) * power + (power - 1)
    y = t / (t + 2)
    return select(x < 0, -y, y)


@_inlined
def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)); exp is only ever taken of what is at most 0."""
    e = exp(-absolute(x))
    return select(x >= 0, 1, e) / (e + 1)


@_inlined
def softplus(x: Any) -> Any:
    """max(x, 0) + log(1 + exp(-|x|))."""
    return maximum(x, 0) + log1p(exp(-absolute(x)))


@_inlined
def _polynomial(x: Any, coefficients: Any) -> Any:
    """The highest power's coefficient comes first; there are two or more."""
    p = x * coefficients[0] + coefficients[1]
    for coefficient in coefficients[2:]:
        p = p * x + coefficient
    return p


@_inlined
def _erf_near_0(x: Any) -> Any:
    q = x * x
    return x * _polynomial(q, _ERF_P) / _polynomial(q, _ERF_Q)


@_inlined
def _erfc_of_size(a: Any) -> Any:
    """erfc(a) of a > 0.46: a ratio up to 4, another in 1 / a**2 beyond."""
    near, far = minimum(a, 4), maximum(a, 4)
    q = 1 / (far * far)
    beyond = (0.5641895835477563 - q * _polynomial(q, _TAIL_P) / _polynomial(q, _TAIL_Q)) / far
    return exp(-(a * a)) * select(a <= 4, _polynomial(near, _ERFC_P) / _polynomial(near, _ERFC_Q), beyond)


@_inlined
def erf(x: Any) -> Any:
    """Near 0 a ratio of its own, else 1 - erfc(|x|) with the sign of x."""
    a = absolute(x)
    far = 1 - _erfc_of_size(a)
    return select(a <= 0.46875, _erf_near_0(minimum(maximum(x, -1), 1)), select(x < 0, -far, far))


@_inlined
def erfc(x: Any) -> Any:
    """1 - erf(x) near 0, else from erfc(|x|)."""
    a = absolute(x)
    far = _erfc_of_size(a)
    return select(a <= 0.46875, 1 - _erf_near_0(minimum(maximum(x, -1), 1)), select(x < 0, 2 - far, far))
