"""Memory that compiled code reads and writes: where an array lies, and many arrays in one piece."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.network import FloatArray


def address(array: NDArray[Any]) -> int:
    """Where an array lies in memory."""
    try:
        # An eighth of the time of the way below.
        return ctypes.addressof(ctypes.c_char.from_buffer(array))  # type: ignore[arg-type]
    except (TypeError, ValueError, BufferError):  # read-only, or empty
        return int(array.__array_interface__["data"][0])


def aligned(n: int, dtype: np.dtype[Any]) -> FloatArray:
    """Zeros that begin at the boundary of a cache line: no vector then lies across two."""
    line = 64 // dtype.itemsize
    array = np.zeros(n + line, dtype)
    skipped = -address(array) % 64 // dtype.itemsize
    return array[skipped : skipped + n]


class Places:
    """Arrays of one dtype by name, in one piece of memory; each begins at the boundary of a cache line."""

    def __init__(self, dtype: np.dtype[Any], **shapes: tuple[int, ...]) -> None:
        self.dtype = dtype
        self.size = 0
        self.offsets: dict[str, int] = {}  # in bytes
        self._cuts: dict[str, tuple[slice, tuple[int, ...]]] = {}
        line = 64 // dtype.itemsize
        for name, shape in shapes.items():
            n = math.prod(shape)
            self._cuts[name] = slice(self.size, self.size + n), shape
            self.offsets[name] = self.size * dtype.itemsize
            self.size += -(-n // line) * line

    def cut(self, memory: NDArray[Any], name: str) -> NDArray[Any]:
        """One of the arrays."""
        where, shape = self._cuts[name]
        return memory[where].reshape(shape)
