"""Random numbers that can be had again one by one, without replaying what came before.

A counter-based generator is a function, not a machine with a state: the number at (seed, purpose, network, epoch,
element) is a scrambling of those five numbers. So the start of network 731 is the same whether or not the 731 before it
were drawn, the shuffle of epoch 40 does not need the 39 before it, and value i does not depend on how many are drawn.

Source: J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011):
Philox4x32 with 10 rounds. The key is the 64-bit seed; the counter is (block of two elements, epoch, network, purpose).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glassnet import arithmetic
from glassnet.errors import UsageError

Floats = NDArray[np.float64]
Integers = NDArray[np.integer[Any]]

# The constants of Philox4x32, as the paper gives them.
_MULTIPLIERS = np.array([[0xD2511F53], [0xCD9E8D57]], np.uint64)
_KEY_STEPS = np.array([[0x9E3779B9], [0xBB67AE85]], np.uint64)
_ROUNDS = 10
_BLOCK = 4096  # counters worked on at a time: few enough to stay in the processor's cache
_LOW_32 = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)

# Michael J. Wichura, "Algorithm AS 241: The percentage points of the normal distribution", Applied Statistics 37 (1988)
# 477-484, PPND16: numerator and denominator, highest power first, for the centre, the flanks and the far tails.
_CENTRE = (
    (2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457,
     13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.387132872796366608),
    (5226.495278852854561, 28729.085735721942674, 39307.89580009271061, 21213.794301586595867,
     5394.1960214247511077, 687.1870074920579083, 42.313330701600911252, 1.0),
)  # fmt: skip
_FLANK = (
    (7.7454501427834140764e-4, 0.0227238449892691845833, 0.24178072517745061177, 1.27045825245236838258,
     3.64784832476320460504, 5.7694972214606914055, 4.6303378461565452959, 1.42343711074968357734),
    (1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966, 0.14810397642748007459,
     0.68976733498510000455, 1.6763848301838038494, 2.05319162663775882187, 1.0),
)  # fmt: skip
_TAIL = (
    (2.01033439929228813265e-7, 2.71155556874348757815e-5, 0.0012426609473880784386, 0.026532189526576123093,
     0.29656057182850489123, 1.7848265399172913358, 5.4637849111641143699, 6.6579046435011037772),
    (2.04426310338993978564e-15, 1.4215117583164458887e-7, 1.8463183175100546818e-5, 7.868691311456132591e-4,
     0.0148753612908506148525, 0.13692988092273580531, 0.59983220655588793769, 1.0),
)  # fmt: skip


class Purpose(IntEnum):
    """What random numbers are for; each purpose has numbers of its own under the same seed.

    >>> Purpose.SHUFFLE.value
    2
    """

    INITIALIZE = 1
    SHUFFLE = 2
    SPLIT = 3
    CHECK = 4
    DROPOUT = 5
    NOISE = 6


def philox(counter: ArrayLike, key: ArrayLike) -> NDArray[np.uint32]:
    """Philox4x32-10: scramble each counter, with one key for all.

    One round takes (c0, c1, c2, c3) to (high(m1 c2) ^ c1 ^ k0, low(m1 c2), high(m0 c0) ^ c3 ^ k1, low(m0 c0)), where
    high and low are the two halves of a 64-bit product; after each round the key is stepped.

    Args:
        counter: (..., 4) numbers of 32 bits.
        key: (2,) numbers of 32 bits.

    Returns:
        (..., 4) uint32, all 32 bits of each equally likely 0 or 1 and unrelated to those of any other counter.

    >>> [f"{word:08x}" for word in philox([0, 0, 0, 0], [0, 0])]
    ['6627e8d5', 'e169c58d', 'bc57ac4c', '9b00dbd8']
    """
    counters = np.asarray(counter, np.uint32)
    rows = counters.reshape(-1, 4)
    result = np.empty_like(rows)
    for start in range(0, len(rows), _BLOCK):
        _philox_block(rows[start : start + _BLOCK], np.asarray(key, np.uint32), result[start : start + _BLOCK])
    return result.reshape(counters.shape)


def _philox_block(counters: NDArray[np.uint32], key: NDArray[np.uint32], result: NDArray[np.uint32]) -> None:
    # 64 bits to hold a product, and the two products of a round side by side: (c0, c2) and (c1, c3), each (2, n).
    columns = counters.T.astype(np.uint64)
    multiplied, passed_on = columns[0::2], columns[1::2]
    round_key = key.astype(np.uint64).reshape(2, 1)
    for _ in range(_ROUNDS):
        product = (multiplied * _MULTIPLIERS)[::-1]
        multiplied = product >> _32
        multiplied ^= passed_on
        multiplied ^= round_key
        passed_on = product & _LOW_32
        round_key = (round_key + _KEY_STEPS) & _LOW_32
    result[:, 0::2] = multiplied.T
    result[:, 1::2] = passed_on.T


def uniform(
    n: int, *, seed: int, purpose: Purpose, network: int | Integers = 0, epoch: int = 0, first: int = 0
) -> Floats:
    """`n` numbers evenly spread over [0, 1): multiples of 2**-53, all equally likely.

    Args:
        n: how many; value i does not depend on it.
        seed: 0 <= seed < 2**64.
        purpose: what the numbers are for.
        network: the number of the network (the random start) in a population; or an array of such numbers, and then the
            result has a row for each of them, the same that it gets alone.
        epoch: the pass over the rows.
        first: the number of the element to begin with.

    Returns:
        (n,) float64, or (..., n) where `network` is an array of shape (...).

    Raises:
        UsageError: a number is out of its range.

    >>> uniform(3, seed=0, purpose=Purpose.INITIALIZE)
    array([0.17893147, 0.98817259, 0.91142821])
    >>> uniform(2, seed=0, purpose=Purpose.INITIALIZE, first=1)
    array([0.98817259, 0.91142821])
    """
    bits_53 = _words(n, seed, purpose, network, epoch, first) >> np.uint64(11)
    return bits_53 * np.float64(2.0**-53)


def normal(
    n: int, *, seed: int, purpose: Purpose, network: int | Integers = 0, epoch: int = 0, first: int = 0
) -> Floats:
    """`n` numbers from the standard normal distribution: mean 0, standard deviation 1.

    The inverse of the distribution function at (k + 1/2) / 2**52, where k from 0 to 2**52 - 1 is evenly spread: never
    at 0 or 1, so never infinite, and all within +-8.21. Source: Wichura, Algorithm AS 241 (1988), with the logarithm of
    `arithmetic`, so that the bits are the same everywhere.

    Args, Returns, Raises: as for `uniform`.

    >>> normal(3, seed=0, purpose=Purpose.INITIALIZE)
    array([-0.91944486,  2.26268965,  1.3496023 ])
    """
    bits_52 = _words(n, seed, purpose, network, epoch, first) >> np.uint64(12)
    return _inverse_normal((bits_52 + np.float64(0.5)) * np.float64(2.0**-52))


def permutation(
    n: int, *, seed: int, purpose: Purpose, network: int | Integers = 0, epoch: int = 0
) -> NDArray[np.intp]:
    """The numbers 0 to `n` - 1 in random order, every order equally likely: the order of `n` random 64-bit keys.

    Args, Raises: as for `uniform`.

    Returns:
        (n,) integers, or (..., n) where `network` is an array of shape (...).

    >>> permutation(5, seed=0, purpose=Purpose.SHUFFLE)
    array([4, 3, 2, 0, 1])
    """
    return np.argsort(_words(n, seed, purpose, network, epoch, first=0), axis=-1, kind="stable")


@dataclass(frozen=True)
class Stream:
    """The random numbers of one seed, purpose, network and epoch: what is handed around as `rng`.

    The fields are the arguments of `uniform`, which see.

    >>> rng = Stream(seed=0, purpose=Purpose.INITIALIZE, network=731)
    >>> rng.uniform(2)
    array([0.49430141, 0.48820951])
    """

    seed: int
    purpose: Purpose
    network: int | Integers = 0
    epoch: int = 0
    first: int = 0

    def uniform(self, n: int) -> Floats:
        """`n` numbers evenly spread over [0, 1), as `randomness.uniform` gives them."""
        return uniform(n, **vars(self))

    def normal(self, n: int) -> Floats:
        """`n` standard normal numbers, as `randomness.normal` gives them."""
        return normal(n, **vars(self))

    def permutation(self, n: int) -> NDArray[np.intp]:
        """The numbers 0 to `n` - 1 in random order, as `randomness.permutation` gives them; `first` has no part."""
        return permutation(n, seed=self.seed, purpose=self.purpose, network=self.network, epoch=self.epoch)


def _words(n: int, seed: int, purpose: Purpose, network: int | Integers, epoch: int, first: int) -> NDArray[np.uint64]:
    """Elements `first` to `first + n - 1`: (..., n) random numbers of 64 bits, two to a counter."""
    _check("The random seed", seed, 64)
    _check("The network's number", network, 32)
    _check("The epoch", epoch, 32)
    _check("The first element", first, 33)
    _check("The number of random numbers", n, 33)
    _check("The last element", first + n, 33)
    blocks = np.arange(first // 2, (first + n + 1) // 2)
    networks = np.asarray(network, np.uint32)
    counter = np.empty((*networks.shape, len(blocks), 4), np.uint32)
    counter[..., 0] = blocks
    counter[..., 1] = epoch
    counter[..., 2] = networks[..., np.newaxis]
    counter[..., 3] = purpose
    words = philox(counter, [int(seed) & 0xFFFFFFFF, int(seed) >> 32]).astype(np.uint64)
    pairs = (words[..., 0::2] << _32) | words[..., 1::2]
    skipped = first % 2
    return pairs.reshape(*networks.shape, 2 * len(blocks))[..., skipped : skipped + n]


def check_numbers(seed: int, network: int) -> None:
    """Raise `UsageError` where a seed is not one of 64 bits, or a network's number not one of 32.

    >>> check_numbers(7, 0)
    """
    _check("The random seed", seed, 64)
    _check("The network's number", network, 32)


def _check(what: str, value: int | Integers, bits: int) -> None:
    """Refuse what is not an integer, or an array of them, of `bits` bits."""
    if isinstance(value, np.ndarray) and np.issubdtype(value.dtype, np.integer):
        right = value.size == 0 or (value.min() >= 0 and value.max() < 2**bits)
    else:
        right = isinstance(value, int | np.integer) and 0 <= value < 2**bits
    if not right:
        raise UsageError(f"{what} is an integer from 0 to 2**{bits} - 1; {value!r} is not. Choose one, such as 0.")


def _inverse_normal(probability: Floats) -> Floats:
    """The x below which a standard normal number falls with `probability`, 0 < probability < 1, to about 1e-15."""
    from_centre = probability - 0.5
    tail = np.minimum(probability, 1 - probability)
    distance = np.sqrt(-arithmetic.log(tail))
    centre = from_centre * _ratio(_CENTRE, 0.180625 - from_centre * from_centre)
    outside = np.where(distance <= 5, _ratio(_FLANK, distance - 1.6), _ratio(_TAIL, distance - 5))
    return np.where(np.abs(from_centre) <= 0.425, centre, np.copysign(outside, from_centre))


def _ratio(coefficients: tuple[tuple[float, ...], tuple[float, ...]], x: Floats) -> Floats:
    """One polynomial in `x` over the other, each evaluated from its highest power down."""
    numerator, denominator = (np.zeros_like(x), np.zeros_like(x))
    for above, below in zip(*coefficients, strict=True):
        numerator = numerator * x + above
        denominator = denominator * x + below
    return numerator / denominator
