"""Waiting for another thread so that Ctrl-C is not lost."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TypeVar

Result = TypeVar("Result")


def result_of(future: Future[Result]) -> Result:
    """What `future.result()` returns or raises; a KeyboardInterrupt in the main thread ends the waiting at once.

    A signal that arrives while the main thread goes to sleep, or in another thread, does not wake it: Python would call
    its handler after the other thread's end, which may be hours away. So it wakes ten times a second.
    """
    while True:
        try:
            return future.result(timeout=0.1)
        except TimeoutError:
            if future.done():  # it may be the other thread's own
                return future.result()
