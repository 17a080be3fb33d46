"""The machine: what it is, what is installed, and the most that one of its cores does in a second."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import platform
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

PEERS = ("numpy", "scikit-learn", "torch", "keras", "jax")


def description() -> dict[str, Any]:
    """Processor, cores that this process may use, system and versions; a library that is not there has None."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for name in ("glassnet", *PEERS):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"processor": processor(), "cores": cores, "system": platform.system(), "versions": versions}


def processor() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def best_rate(work: Callable[[], object], amount: float, repeats: int = 20) -> float:
    """`amount` per second in the quickest of some calls: nothing else was in the way then."""
    quickest = float("inf")
    for _ in range(repeats):
        begun = time.perf_counter()
        work()
        quickest = min(quickest, time.perf_counter() - begun)
    return amount / quickest


_CHAINS = """from glassnet.kernels.lanes import lane_count, load, store

def chains(x, out, n, repeats):
    for _ in range(repeats):
        for r in range(0, n, lane_count(x)):
            v = load(x, r)
            a, b, c, d = v, v + v, v + v + v, v + v + v + v  # no chain may become another's, one step on
            for _ in range(16):
                a, b, c, d = a * v + v, b * v + v, c * v + v, d * v + v
            store(out, r, a + b + c + d)
    return 0.0
"""


def flops_per_second(dtype: str) -> float:
    """One core's peak: fused multiply-adds in four independent chains, on as many rows as its vectors hold."""
    from glassnet.kernels import machine

    address = machine.code(_CHAINS, {"chains": f"float64({dtype}*, {dtype}*, int64, int64)"})["chains"]
    pointer, whole = ctypes.c_void_p, ctypes.c_int64
    chains = ctypes.CFUNCTYPE(ctypes.c_double, pointer, pointer, whole, whole)(address)
    x = np.full(1024, 0.5, dtype)
    out = np.empty_like(x)
    return best_rate(lambda: chains(x.ctypes.data, out.ctypes.data, len(x), 500), 500 * len(x) * 4 * 16 * 2)


# An exp is a polynomial of degree 11 or 6, four more operations to bring the number near 0 and one to scale the result.
# A fused one counts as two, as above.
_FLOPS_OF_EXP = {"float64": 32, "float32": 22}


def transcendentals_per_second(dtype: str, peak: float) -> float:
    """One core's rate of exp, which stands for log too: its polynomial's at `peak`, or NumPy's if higher."""
    x = np.linspace(-8, 8, 2048).astype(dtype)
    out = np.empty_like(x)

    def fifty() -> None:
        for _ in range(50):
            np.exp(x, out=out)

    return max(best_rate(fifty, 50 * len(x)), peak / _FLOPS_OF_EXP[dtype])
