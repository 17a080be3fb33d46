"""Where a network's parameters lie in the memory of kernels: as in `Parameters.vector`, but for some gaps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np

from glassnet.network import FloatArray, Network


@dataclass(frozen=True)
class Layout:
    """Layer by layer where weights and biases begin, and how many numbers the weights of an input take, and the biases.

    These `units` are as many as the layer has or, where that is little more, whole vectors, which begin where vectors
    do: of 100 units none then lies across two cache lines. In the gaps stand zeros, and they remain zeros.
    """

    network: Network
    weights: tuple[int, ...]
    biases: tuple[int, ...]
    units: tuple[int, ...]

    @classmethod
    @lru_cache(maxsize=512)
    def of(cls, network: Network, lanes: int) -> Layout:
        """For vectors of so many lanes.

        >>> Layout.of(Network((784, 100, 10)), 16).units, Layout.of(Network((784, 100, 10)), 1).units
        ((112, 10), (100, 10))
        """
        weights, biases, units, at = [], [], [], 0
        for n_in, n_out in pairwise(network.sizes):
            whole = -(-n_out // lanes) * lanes
            if 8 * n_out >= 7 * whole:  # updates go through the gaps too
                units.append(whole)
                at = -(-at // lanes) * lanes
            else:
                units.append(n_out)
            weights.append(at)
            biases.append(at + n_in * units[-1])
            at = biases[-1] + units[-1]
        return cls(network, tuple(weights), tuple(biases), tuple(units))

    @cached_property
    def size(self) -> int:
        """Numbers in all."""
        return self.biases[-1] + self.units[-1]

    @cached_property
    def is_flat(self) -> bool:
        """Whether there are no gaps."""
        return self.size == self.network.n_parameters

    def flat(self, memory: FloatArray) -> FloatArray:
        """Parameters (..., n_parameters) from memory (..., `size` or more): a view where there are no gaps.

        >>> layout = Layout.of(Network((1, 7, 1)), 8)
        >>> layout.flat(np.arange(layout.size))[5:9].tolist()
        [5, 6, 8, 9]
        """
        if self.is_flat:
            return memory[..., : self.size]
        flat = np.empty((*memory.shape[:-1], self.network.n_parameters), memory.dtype)
        for here, there in self._parts(flat, memory):
            here[:] = there
        return flat

    def copied(self, memory: FloatArray) -> FloatArray:
        """Parameters (..., n_parameters) from memory (..., `size` or more), never a view."""
        flat = self.flat(memory)
        return flat.copy() if self.is_flat else flat

    def put(self, memory: FloatArray, flat: FloatArray) -> None:
        """Write parameters (..., n_parameters) to memory (..., `size` or more)."""
        if self.is_flat:
            memory[..., : self.size] = flat
            return
        for here, there in self._parts(flat, memory):
            there[:] = here

    def _parts(self, flat: FloatArray, memory: FloatArray) -> Iterator[tuple[FloatArray, FloatArray]]:
        """Layer by layer what belongs together: weights and biases (..., n_in + 1, n_out)."""
        at, shape = 0, flat.shape[:-1]
        for (n_in, n_out), begin, units in zip(pairwise(self.network.sizes), self.weights, self.units, strict=True):
            n, size = (n_in + 1) * n_out, (n_in + 1) * units
            here = flat[..., at : at + n].reshape(*shape, n_in + 1, n_out)
            there = memory[..., begin : begin + size].reshape(*shape, n_in + 1, units)
            yield here, there[..., :n_out]
            at += n
