"""Threads that train: those of one training, and those that stay to help."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
from numpy.typing import NDArray

from glassnet.errors import UsageError
from glassnet.runs import is_whole


def all_threads() -> int:
    """As many threads as the process may use processors."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def number_of_threads(asked: int | None) -> int:
    """As many as are asked for, `all_threads` for None; UsageError for what is no number of threads.

    >>> number_of_threads(3)
    3
    """
    if asked is None:
        return all_threads()
    if not is_whole(asked) or asked < 1:
        raise UsageError(f"threads is a whole number, 1 or more; got {asked!r}.")
    return int(asked)


def move_to_processor(number: int) -> None:
    """Begin on one of the processors, free to be moved on: woken together, threads may stay on one for a long while."""
    if hasattr(os, "sched_setaffinity"):
        allowed = os.sched_getaffinity(0)
        with contextlib.suppress(OSError):  # somebody else narrows down what is allowed
            os.sched_setaffinity(0, {sorted(allowed)[number % len(allowed)]})
            os.sched_setaffinity(0, allowed)


def in_threads(works: list[Callable[[], None]], stop: NDArray[np.int64]) -> None:
    """Run each in a thread of its own, and wait for all; a KeyboardInterrupt meanwhile sets stop[0]."""
    failed: list[BaseException] = []
    gate = threading.Event()  # none begins before all can: the threads of a team wait for one another
    all_here = False

    def run(number: int, work: Callable[[], None], ended: threading.Event) -> None:
        try:
            gate.wait()
            if all_here:
                move_to_processor(number)
                work()
        except BaseException as problem:
            failed.append(problem)
            stop[0] = 1
        finally:
            ended.set()

    ends = [threading.Event() for _ in works]
    numbered = zip(range(len(works)), works, ends, strict=True)
    workers = [threading.Thread(target=run, args=given, daemon=True) for given in numbered]
    try:
        for worker in workers:
            worker.start()
        all_here = True
    except BaseException:
        stop[0] = 1
        raise
    finally:
        gate.set()
    waits = True
    while waits:
        try:
            # Not by join: interrupted, it takes a thread for ended that is not (Python's issue 90882). Without a
            # time to wait for, nothing interrupts it on Windows.
            for ended in ends:
                while not ended.wait(0.1):
                    pass
            for worker in workers:
                worker.join()
            waits = False
        except KeyboardInterrupt:
            stop[0] = 1
    if failed:
        raise failed[0]


@cache
def _helpers() -> ThreadPoolExecutor:
    """Threads that stay: to start one takes as long as a training of a moment."""
    return ThreadPoolExecutor(all_threads(), "glassnet")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_helpers.cache_clear)  # threads are not copied


def with_help(work: Callable[[], None], n_helpers: int, stop: NDArray[np.int64]) -> None:
    """Do it in this thread, which no Ctrl-C reaches, and in helpers beside it: as soon as they come, and if they do."""

    def help_with(number: int) -> None:
        move_to_processor(number)
        work()

    helpers = [_helpers().submit(help_with, number) for number in range(1, n_helpers + 1)]
    try:
        if helpers:
            move_to_processor(0)
        work()
    except BaseException:
        stop[0] = 1
        raise
    finally:
        for helper in helpers:
            if not helper.cancel():
                helper.result()
