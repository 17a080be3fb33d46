"""Philox against its authors' known answers; each number the same however it is asked for; the distributions."""

from __future__ import annotations

import itertools
import math
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from glassnet import randomness
from glassnet.errors import UsageError
from glassnet.randomness import Purpose, Stream, normal, permutation, philox, uniform

ONES = 0xFFFFFFFF
# The known-answer vectors for philox4x32-10 of Random123, the authors' own library (kat_vectors).
KNOWN_ANSWERS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ONES, ONES, ONES, ONES), (ONES, ONES), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]

coordinates = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**64 - 1),
        "purpose": st.sampled_from(Purpose),
        "network": st.integers(0, 2**32 - 1),
        "epoch": st.integers(0, 2**32 - 1),
    }
)


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_known_answers(counter: tuple[int, ...], key: tuple[int, int], answer: tuple[int, ...]) -> None:
    assert tuple(philox(counter, key).tolist()) == answer


def philox_in_plain_integers(counter: list[int], key: list[int]) -> list[int]:
    """The definition once more, word by word."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & ONES, (p0 >> 32) ^ c3 ^ k1, p0 & ONES
        k0, k1 = (k0 + 0x9E3779B9) & ONES, (k1 + 0xBB67AE85) & ONES
    return [c0, c1, c2, c3]


words = st.integers(0, ONES)


@given(st.lists(st.lists(words, min_size=4, max_size=4), max_size=6), st.lists(words, min_size=2, max_size=2))
@settings(deadline=None)
def test_philox_is_its_definition(counters: list[list[int]], key: list[int]) -> None:
    shaped = np.array(counters, np.uint32).reshape(-1, 1, 4)
    scrambled = philox(shaped, key)
    assert scrambled.shape == shaped.shape
    assert scrambled[:, 0].tolist() == [philox_in_plain_integers(counter, key) for counter in counters]


def test_many_counters_are_scrambled_as_one() -> None:
    counters = np.arange(4 * 10_001, dtype=np.uint32).reshape(-1, 4)  # more than the two blocks worked on at a time
    scrambled = philox(counters, (1, 2))
    for row in (0, 4095, 4096, 8192, 10_000):
        np.testing.assert_array_equal(scrambled[row], philox(counters[row], (1, 2)))


def test_what_is_in_key_and_counter() -> None:
    """The layout that kernels and other languages have to follow, and that no version may change."""
    seed, network, epoch = 0x0123456789ABCDEF, 7, 11
    key = [seed & ONES, seed >> 32]
    block = philox([2, epoch, network, 3], key).tolist()  # elements 4 and 5
    expected = [((block[0] << 32 | block[1]) >> 11) / 2**53, ((block[2] << 32 | block[3]) >> 11) / 2**53]
    assert uniform(6, seed=seed, purpose=Purpose.SPLIT, network=network, epoch=epoch)[4:].tolist() == expected


@given(coordinates, st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
@settings(deadline=None)
def test_value_i_depends_on_nothing_but_i(where: dict[str, Any], n: int, more: int, first: int) -> None:
    for draw in (uniform, normal):
        np.testing.assert_array_equal(draw(n + more, **where)[:n], draw(n, **where))
        np.testing.assert_array_equal(draw(first + n, **where)[first:], draw(n, first=first, **where))


@given(coordinates, st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=5), st.integers(0, 20))
@settings(deadline=None)
def test_a_network_has_the_same_numbers_alone_and_among_others(
    where: dict[str, Any], networks: list[int], n: int
) -> None:
    for draw in (uniform, normal, permutation):
        together = draw(n, **{**where, "network": np.array(networks)})
        assert together.shape == (len(networks), n)
        for row, network in zip(together, networks, strict=True):
            np.testing.assert_array_equal(row, draw(n, **{**where, "network": network}))


@given(coordinates, coordinates)
@settings(deadline=None)
def test_any_difference_gives_other_numbers(where: dict[str, Any], elsewhere: dict[str, Any]) -> None:
    # 8 numbers of 53 bits are equal by chance once in 2**424 times.
    equal = bool(np.all(uniform(8, **where) == uniform(8, **elsewhere)))
    assert equal == (where == elsewhere)


@given(coordinates, st.integers(0, 300))
@settings(deadline=None)
def test_a_permutation_has_every_number_once(where: dict[str, Any], n: int) -> None:
    np.testing.assert_array_equal(np.sort(permutation(n, **where)), np.arange(n))


def test_every_order_is_equally_likely() -> None:
    orders = permutation(4, seed=5, purpose=Purpose.SHUFFLE, network=np.arange(24_000))
    counts = [int((orders == order).all(axis=1).sum()) for order in itertools.permutations(range(4))]
    assert sum(counts) == 24_000
    assert stats.chisquare(counts).pvalue > 0.01  # a fixed seed: the same answer every time


def test_uniform_and_normal_have_their_distributions() -> None:
    numbers = {"seed": 2, "purpose": Purpose.CHECK}
    n = 200_000
    assert stats.kstest(uniform(n, **numbers), "uniform").pvalue > 0.01
    assert stats.kstest(normal(n, **numbers), "norm").pvalue > 0.01
    # Neighbouring elements, networks and epochs: |correlation| stays within 4 / sqrt(n), four standard deviations.
    x = normal(n, **numbers)
    for other in (
        normal(n, first=1, **numbers),
        normal(n, network=1, **numbers),
        normal(n, epoch=1, **numbers),
        normal(n, seed=3, purpose=Purpose.CHECK),
        normal(n, seed=2, purpose=Purpose.SPLIT),
    ):
        assert abs(np.corrcoef(x, other)[0, 1]) < 4 / math.sqrt(n)


def test_normal_is_the_inverse_of_the_normal_distribution() -> None:
    # AS 241 states about 16 digits; the largest relative error seen is 9.9e-16, and near x = 0 the absolute one counts.
    u = np.concatenate([np.linspace(0.01, 0.99, 99), 2.0 ** -np.arange(1, 54), 1 - 2.0 ** -np.arange(2, 53)])
    with mpmath.workdps(50):
        exact = [float(mpmath.sqrt(2) * mpmath.erfinv(2 * mpmath.mpf(float(p)) - 1)) for p in u]
    np.testing.assert_allclose(randomness._inverse_normal(u), exact, rtol=2e-15, atol=1e-17)


def test_the_ends_of_uniform_and_normal(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the smallest and the largest 64 random bits: below 1, finite, and the same distance from 0 either way."""
    extremes = np.array([0, 2**64 - 1], np.uint64)
    monkeypatch.setattr(randomness, "_words", lambda *_: extremes)
    lowest, highest = uniform(2, seed=0, purpose=Purpose.CHECK)
    assert lowest == 0
    assert highest == 1 - 2.0**-53
    lowest, highest = normal(2, seed=0, purpose=Purpose.CHECK)
    assert lowest == -highest
    assert 8.2 < highest < 8.21


def test_a_stream_is_the_functions() -> None:
    rng = Stream(seed=9, purpose=Purpose.CHECK, network=3, epoch=4, first=5)
    where = {"seed": 9, "purpose": Purpose.CHECK, "network": 3, "epoch": 4}
    np.testing.assert_array_equal(rng.uniform(7), uniform(7, first=5, **where))
    np.testing.assert_array_equal(rng.normal(7), normal(7, first=5, **where))
    np.testing.assert_array_equal(rng.permutation(7), permutation(7, **where))


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, 1.0, "0", None, np.array([0.5])])
def test_a_seed_out_of_range_is_refused(seed: object) -> None:
    with pytest.raises(UsageError, match=r"random seed is an integer from 0 to 2\*\*64 - 1"):
        uniform(1, seed=seed, purpose=Purpose.CHECK)


@pytest.mark.parametrize(
    "wrong", [{"network": 2**32}, {"network": np.array([0, -1])}, {"epoch": -1}, {"first": -1}, {"n": -1}]
)
def test_other_numbers_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        uniform(**{"n": 1, "seed": 0, "purpose": Purpose.CHECK, **wrong})


def test_numpy_integers_are_integers() -> None:
    seed = 2**63 + 5
    np.testing.assert_array_equal(
        uniform(np.int64(3), seed=np.uint64(seed), purpose=Purpose.CHECK, network=np.int32(2), epoch=np.int64(1)),
        uniform(3, seed=seed, purpose=Purpose.CHECK, network=2, epoch=1),
    )
