"""exp, log, tanh, erf and their kin, of `Lanes`: what kernels are compiled with.

LLVM does not bring these as vector code, so they are here, of additions, products and the exponent's bits;
they are written into the kernel that uses them. They are a digit less careful than `arithmetic`, which settles the bits
of predictions, and several times faster.

The largest errors, in units in the last place of the result, over the whole range (float32: of every number), as
`tests/soak/test_soak_mathematics.py` measures them and `tests/test_mathematics.py` holds them:

    ========  =======  =======  ==================================================================================
    function  float64  float32  where it ends
    ========  =======  =======  ==================================================================================
    exp       1.3      1.2      4e-308 below -707.7 (float32: 2e-38 below -86.6), infinite above 709.78 (88.72)
    expm1     2.3      1.7      infinite as exp
    log       0.9      0.9      of subnormal numbers that of the smallest normal one; -inf at 0; nan below
    log1p     1.3      1.5      -inf at -1; nan below
    tanh      2.5      2.5      exact 1 and -1 beyond 20 (10)
    sigmoid   2.9      3.1      4e-308 below -707.7 (2e-38 below -86.6)
    softplus  2.3      2.4      as sigmoid below
    erf       2.8      4.3      exact 1 and -1 beyond 6 (4)
    erfc      520      67       the error grows as x**2 does, which exp(-x**2) feels; near 0 beyond 26.5 (9.2)
    ========  =======  =======  ==================================================================================

exp is made in two ways, with AVX-512 and without it, of which the larger error is stated. `exp_of_size` is exp of -|x|.
A zero comes back as 0.0, whichever its sign, but from erf.

Sources: reduction by ln 2 in two parts, Cody and Waite, "Software Manual for the Elementary Functions" (1980); the
polynomials were fitted at Chebyshev's points of the reduced range.
"""

from __future__ import annotations

from glassnet.expressions import ERF_COEFFICIENTS
from glassnet.kernels.lanes import (
    absolute,
    exponent,
    filled_like,
    maximum,
    minimum,
    select,
    times_two_to,
    two_to_sixteenths,
)
from glassnet.kernels.language import Value
from glassnet.kernels.machine import BITS

_ERF_P, _ERF_Q, _ERFC_P, _ERFC_Q, _TAIL_P, _TAIL_Q = ERF_COEFFICIENTS


def _reduced(x: Value) -> tuple[Value, Value]:
    """t and r of x = k ln 2 + r, |r| <= ln(2) / 2, where t has the whole number k in its last bits; for |x| under 746.

    Added to 1.5 * 2**52 (in float32: 2**23), a number is rounded to a whole one, which stands in the last bits.
    """
    if x.is_double:
        t = x * 1.4426950408889634 + 6755399441055744.0
        k = t - 6755399441055744.0
        r = (x - k * 0.6931471803691238) - k * 1.9082149292705877e-10
    else:
        t = x * 1.4426950408889634 + 12582912.0
        k = t - 12582912.0
        r = (x - k * 0.693359375) - k * -2.12194440e-4
    return t, r


def _exp_less_1(r: Value) -> Value:
    """exp(r) - 1 for |r| <= ln(2) / 2.

    Terms by pairs, and pairs of pairs: one after the other, as Horner has them, each waits for the one before. r, the
    largest, comes last and as it is.
    """
    q = r * r
    if r.is_double:
        q2 = q * q
        p01, p23 = r * 0.16666666666666669 + 0.5000000000000001, r * 0.008333333333330062 + 0.04166666666662413
        p45 = r * 0.00019841269863053618 + 0.0013888888917213717
        p67 = r * 2.7557268459997064e-06 + 2.4801521295954376e-05
        p89 = r * 2.510038549551032e-08 + 2.7620088445409746e-07
        p = (p89 * q2 + (p67 * q + p45)) * q2 + (p23 * q + p01)
    else:
        p01, p23 = r * 0.16666576989698775 + 0.5, r * 0.008363179052722578 + 0.041666554617204574
        p = (q * 0.0013926183587713494 + p23) * q + p01
    return p * q + r


def _by_sixteenths(x: Value, halvings: int = 0) -> Value:
    """exp(x) / 2**halvings = s exp(r) of x = k ln(2) / 16 + r, |r| <= ln(2) / 32, and s = 2**(k / 16 - halvings).

    With a sixteenth of the range five terms less are needed, which is a sixth of a sigmoid.
    """
    if x.is_double:
        t = x * (16 * 1.4426950408889634) + 6755399441055744.0
        k = t - 6755399441055744.0
        r = (x - k * (0.6931471803691238 / 16)) - k * (1.9082149292705877e-10 / 16)
        q = r * r
        p01, p23 = r * 0.16666666665301685 + 0.5, r * 0.008333449701475412 + 0.041666666664960446
        p = (q * 0.0013889034348876907 + p23) * q + p01
    else:
        t = x * (16 * 1.4426950408889634) + 12582912.0
        k = t - 12582912.0
        r = (x - k * (0.693359375 / 16)) - k * (-2.12194440e-4 / 16)
        q = r * r
        p = r * 0.1666686216496336 + 0.5000097749366744
    s = two_to_sixteenths(t - 16 * halvings if halvings else t)
    return (p * q + r) * s + s


def exp(x: Value) -> Value:
    """2**k exp(r)."""
    if x.is_double:
        low, high = -707.7, 709.782712893384
    else:
        low, high = -86.6, 88.72283
    within = minimum(maximum(x, low), high)
    if BITS == 512:
        y = _by_sixteenths(within, halvings=1) * 2  # for s itself is no number for the largest k
    else:
        t, r = _reduced(within)
        y = times_two_to(_exp_less_1(r) + 1, t)
    return select(x > high, _INFINITY, y)


def exp_of_size(x: Value) -> Value:
    """exp(-|x|), which never overflows."""
    within = maximum(-absolute(x), -707.7 if x.is_double else -86.6)
    if BITS == 512:
        return _by_sixteenths(within)
    t, r = _reduced(within)
    return times_two_to(_exp_less_1(r) + 1, t)


_INFINITY = float("inf")
_NAN = float("nan")


def expm1(x: Value) -> Value:
    """2**k (exp(r) - 1) + (2**k - 1), which loses nothing near 0."""
    if x.is_double:
        low, high = -707.7, 709.782712893384
    else:
        low, high = -86.6, 88.72283
    t, r = _reduced(minimum(maximum(x, low), high))
    # Half of 2**k, for 2**k itself is no number for the largest k.
    half = times_two_to(filled_like(x, 0.5), t)
    y = (_exp_less_1(r) * half + (half - 0.5)) * 2
    return select(x > high, _INFINITY, y)


def _log_of_product(e: Value, f: Value) -> Value:
    """e ln 2 + log(1 + f), with log(1 + f) = 2 artanh(s), s = f / (2 + f)."""
    s = f / (f + 2)
    q = s * s
    if f.is_double:
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


def _least_normal(x: Value) -> float:
    return 2.2250738585072014e-308 if x.is_double else 1.1754943508222875e-38


def log(x: Value) -> Value:
    """e ln 2 + log(1 + f) of x = 2**e (1 + f)."""
    e, f, _ = exponent(maximum(x, _least_normal(x)))
    y = _log_of_product(e, f - 1)
    return select(x > 0, select(x == _INFINITY, x, y), select(x == 0, filled_like(x, -_INFINITY), _NAN))


def log1p(x: Value) -> Value:
    """e ln 2 + log(1 + f) of 1 + x = 2**e (1 + f); what u = 1 + x loses, x - (u - 1), is put back into f."""
    u = x + 1
    e, f, power = exponent(maximum(u, _least_normal(x)))
    y = _log_of_product(e, (x - (u - 1)) * power + (f - 1))
    return select(u > 0, select(x == _INFINITY, x, y), select(u == 0, filled_like(u, -_INFINITY), _NAN))


def tanh(x: Value) -> Value:
    """t / (t + 2) with t = exp(2 |x|) - 1, and the sign of x."""
    k, r = _reduced(minimum(absolute(x) * 2, 40))
    power = times_two_to(filled_like(x, 1), k)
    t = _exp_less_1(r) * power + (power - 1)
    y = t / (t + 2)
    return select(x < 0, -y, y)


def sigmoid(x: Value) -> Value:
    """1 / (1 + exp(-x)); exp is only ever taken of what is at most 0."""
    e = exp_of_size(x)
    return select(x >= 0, 1, e) / (e + 1)


def softplus(x: Value) -> Value:
    """max(x, 0) + log(1 + exp(-|x|))."""
    return maximum(x, 0) + log1p(exp_of_size(x))


def _polynomial(x: Value, coefficients: tuple[float, ...]) -> Value:
    """The highest power's coefficient comes first; there are two or more."""
    p = x * coefficients[0] + coefficients[1]
    for coefficient in coefficients[2:]:
        p = p * x + coefficient
    return p


def _erf_near_0(x: Value) -> Value:
    q = x * x
    return x * _polynomial(q, _ERF_P) / _polynomial(q, _ERF_Q)


def _erfc_of_size(a: Value) -> Value:
    """erfc(a) of a > 0.46: a ratio up to 4, another in 1 / a**2 beyond."""
    near, far = minimum(a, 4), maximum(a, 4)
    q = 1 / (far * far)
    beyond = (0.5641895835477563 - q * _polynomial(q, _TAIL_P) / _polynomial(q, _TAIL_Q)) / far
    return exp(-(a * a)) * select(a <= 4, _polynomial(near, _ERFC_P) / _polynomial(near, _ERFC_Q), beyond)


def erf(x: Value) -> Value:
    """Near 0 a ratio of its own, else 1 - erfc(|x|) with the sign of x."""
    a = absolute(x)
    far = 1 - _erfc_of_size(a)
    return select(a <= 0.46875, _erf_near_0(minimum(maximum(x, -1), 1)), select(x < 0, -far, far))


def erfc(x: Value) -> Value:
    """1 - erf(x) near 0, else from erfc(|x|)."""
    a = absolute(x)
    far = _erfc_of_size(a)
    return select(a <= 0.46875, 1 - _erf_near_0(minimum(maximum(x, -1), 1)), select(x < 0, 2 - far, far))
