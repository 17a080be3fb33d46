"""Random numbers within a training: shuffles and dropout masks, the very ones that `randomness` gives.

Compiled once, and only where a training has batches, or dropout.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from glassnet.kernels.lanes import copy, random_word, shifted
from glassnet.kernels.places import DROPOUT, SHUFFLE, SHUFFLED

_MULTIPLIER_0, _MULTIPLIER_1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_STEP_0, _STEP_1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW, _32, _11 = np.uint64(0xFFFFFFFF), np.uint64(32), np.uint64(11)
_EVERY_BIT = np.uint64(2**64 - 1)


def _philox(block: Any, epoch: Any, network: Any, purpose: Any, seed: Any) -> Any:
    """Two random numbers of 64 bits: `randomness.philox` for one counter."""
    c0, c1, c2, c3 = np.uint64(block), np.uint64(epoch), np.uint64(network), np.uint64(purpose)
    k0, k1 = np.uint64(seed) & _LOW, np.uint64(seed) >> _32
    for _ in range(10):
        product_0, product_1 = c0 * _MULTIPLIER_0, c2 * _MULTIPLIER_1
        c0, c1 = (product_1 >> _32) ^ c1 ^ k0, product_1 & _LOW
        c2, c3 = (product_0 >> _32) ^ c3 ^ k1, product_0 & _LOW
        k0, k1 = (k0 + _STEP_0) & _LOW, (k1 + _STEP_1) & _LOW
    return (c0 << _32) | c1, (c2 << _32) | c3


def shuffle(n: Any, seed: Any, network: Any, epoch: Any, order: Any, keys: Any, found: Any, counts: Any) -> Any:
    """`randomness.permutation` into `order` (n,): the order of n random keys.

    `keys` has room for n + 1 numbers, `found` for n, `counts` for the first power of two that is no less than n.
    """
    for block in range((n + 1) // 2):
        keys[2 * block], keys[2 * block + 1] = _philox(block, epoch, network, SHUFFLE, seed)
    in_order(n, order, keys, found, counts)
    return 0.0


def in_order(n: Any, order: Any, keys: Any, found: Any, counts: Any) -> None:
    """The order (n,) of keys that are evenly spread over 64 bits; of equal ones, the first comes first.

    They are nearly sorted once each is put where its leading bits say; what is left is done by exchanges of neighbours.
    A key's last bits, which hardly ever decide, are its row's number meanwhile, so that one number is moved, not two.
    """
    bits = 1
    while (1 << bits) < n:
        bits += 1
    shift = np.uint64(64 - bits)
    last_bits = np.uint64((1 << bits) - 1)
    first_bits = last_bits ^ _EVERY_BIT
    for bucket in range(1 << bits):
        counts[bucket] = 0
    for i in range(n):
        counts[np.int64(np.uint64(keys[i]) >> shift)] += 1
    before = 0
    for bucket in range(1 << bits):
        before, counts[bucket] = before + counts[bucket], before
    for i in range(n):
        key = np.uint64(keys[i])
        leading = np.int64(key >> shift)
        place = counts[leading]
        counts[leading] = place + 1
        found[place] = np.int64((key & first_bits) | np.uint64(i))
    # Up to three that begin alike are sorted by three rounds, of many pairs at once and without a branch to be guessed.
    for turn in range(3):
        for i in range(turn % 2, n - 1, 2):
            here, there = np.uint64(found[i]), np.uint64(found[i + 1])
            found[i], found[i + 1] = np.int64(min(here, there)), np.int64(max(here, there))
    for i in range(1, n):
        key = np.uint64(found[i])
        if np.uint64(found[i - 1]) > key:
            place = np.int64(i)
            while place > 0 and np.uint64(found[place - 1]) > key:
                found[place] = found[place - 1]
                place = place - 1
            found[place] = np.int64(key)
    alike = 0
    for i in range(n):
        order[i] = np.int64(np.uint64(found[i]) & last_bits)
    for i in range(1, n):
        if np.uint64(found[i] ^ found[i - 1]) <= last_bits:
            alike = 1
    if alike > 0:
        for i in range(1, n):
            row, place = order[i], np.int64(i)
            while place > 0 and np.uint64(keys[order[place - 1]]) > np.uint64(keys[row]):
                order[place] = order[place - 1]
                place = place - 1
            order[place] = row


def mask(
    n_hidden: Any, dropout: Any, hidden: Any, seed: Any, network: Any, epoch: Any, order: Any, which: Any, first: Any,
    n: Any, padded: Any, masks: Any, stride: Any,
) -> Any:  # fmt: skip
    """Dropout masks of rows `first` to `first + n`: 0, or 1 / (1 - rate). Every row and unit has a number of its own.

    A network's own rows are numbered from 0 on, as if there were no others.
    """
    for r in range(padded):
        row = first + min(r, n - 1)
        if which == SHUFFLED:
            row = order[row]
        for h in range(n_hidden):
            element = row * n_hidden + h
            pair = _philox(element // 2, epoch, network, DROPOUT, seed)
            word = pair[0] if element % 2 == 0 else pair[1]
            place = stride * hidden[h] + r * hidden[n_hidden + h] + hidden[2 * n_hidden + h]
            masks[place] = 1 / (1 - dropout[h]) if (word >> _11) * 1.1102230246251565e-16 >= dropout[h] else 0
    return 0.0


def shuffles(n: Any, times: Any, word_at: Any, state_at: Any, orders: Any) -> Any:
    """`times` shuffles one after the other, as scikit-learn draws them from a `numpy.random.RandomState`.

    Row e of `orders` (times + 1, n) is row e - 1 shuffled; row 0 is given. The random bits are NumPy's, from where its
    generator's function and state lie.

    A shuffle is Fisher and Yates's, from the last place down: an entry changes places with one before it, or stays.
    That one's number is had by drawing as many bits as the place's number has, until they are no more than it; where
    they are more the entry stays, and its place comes once more: there is no branch that a processor would have to
    guess.
    """
    for epoch in range(times):
        order = shifted(orders, (epoch + 1) * n)
        copy(order, shifted(orders, epoch * n), n)
        mask = np.uint64(1)
        while mask < np.uint64(n):
            mask = mask * 2 + 1
        place = n - 1
        while place > 0:
            while (mask >> np.uint64(1)) >= np.uint64(place):
                mask = mask >> np.uint64(1)
            drawn = np.int64(random_word(word_at, state_at) & mask)
            other = min(drawn, place)
            order[place], order[other] = order[other], order[place]
            place = place - np.int64(drawn <= place)
    return 0.0
