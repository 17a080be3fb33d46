"""Messages to a page as binary frames: JSON, and behind it the arrays as they lie in memory.

A frame is the length of its header (4 bytes, little end first), the header (JSON in UTF-8), zeros up to a multiple of
8, and the arrays, each filled up to a multiple of 8. In the header {"$": [dtype, shape, offset]} stands for an array,
its offset counted from the first of them. `static/connection.js` reads them.
"""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.network import FloatArray

_SENT = {"f4": "<f4", "f8": "<f8", "i4": "<i4", "u1": "|u1"}


def pack(message: dict[str, Any]) -> bytes:
    """The frame of a message whose values may be arrays of float32, float64, int32 or uint8, wherever they stand.

    >>> frame = pack({"id": 1, "scores": np.array([0.5])})
    >>> length = int.from_bytes(frame[:4], "little")
    >>> json.loads(frame[4 : 4 + length])
    {'id': 1, 'scores': {'$': ['f8', [1], 0]}}
    >>> np.frombuffer(frame[-8:])
    array([0.5])
    """
    parts: list[bytes] = []
    at = 0

    def placed(value: Any) -> Any:
        nonlocal at
        if isinstance(value, np.ndarray):
            kind = value.dtype.str[1:]
            content = np.ascontiguousarray(value, _SENT[kind]).tobytes()
            place = {"$": [kind, list(value.shape), at]}
            parts.append(content + bytes(-len(content) % 8))
            at += len(parts[-1])
            return place
        if isinstance(value, dict):
            return {key: placed(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [placed(item) for item in value]
        return value

    header = json.dumps(placed(message), ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
    return b"".join([struct.pack("<I", len(header)), header, bytes(-(4 + len(header)) % 8), *parts])


def finite(values: FloatArray) -> NDArray[np.float32]:
    """In 32 bits, the largest number there is in the place of a larger one; NaN stays NaN."""
    return np.clip(values, -3e38, 3e38).astype(np.float32)


def plain(value: float) -> float | None:
    """A number for JSON, which knows no NaN."""
    return float(value) if np.isfinite(value) else None
