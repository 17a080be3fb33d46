"""Memory that compiled code reads and writes: where an array lies, and many arrays in one piece."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


def address(array: NDArray[Any]) -> int:
    """Where an array lies in memory."""
    try:
        # An eighth of the time of the way below.
        return ctypes.addressof(ctypes.c_char.from_buffer(array))  # type: ignore[arg-type]
    except (TypeError, ValueError, BufferError):  # read-only, or empty
        return int(array.__array_interface__["data"][0])


def aligned(n: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Zeros that begin at the boundary of a cache line: no vector then lies across two."""
    line = 64 // dtype.itemsize
    array = np.zeros(n + line, dtype)
    skipped = -address(array) % 64 // dtype.itemsize
    return array[skipped : skipped + n]


class Arrays:
    """Arrays by name, in one piece of memory; each begins at the boundary of a cache line."""

    def __init__(self, **arrays: tuple[Any, tuple[int, ...]]) -> None:
        """Of each its dtype and its shape."""
        self.size = 0  # in bytes
        self.offsets: dict[str, int] = {}
        self._arrays = arrays
        for name, (dtype, shape) in arrays.items():
            self.offsets[name] = self.size
            self.size += -(-math.prod(shape) * np.dtype(dtype).itemsize // 64) * 64

    def cut(self, memory: NDArray[np.uint8], name: str) -> NDArray[Any]:
        """One of the arrays."""
        dtype, shape = self._arrays[name]
        return np.ndarray(shape, dtype, memory, self.offsets[name])


def copy_of(memory: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same bytes, at the boundary of a cache line too."""
    array = np.empty(memory.size + 64, np.uint8)
    skipped = -address(array) % 64
    copy = array[skipped : skipped + memory.size]
    copy[:] = memory
    return copy
