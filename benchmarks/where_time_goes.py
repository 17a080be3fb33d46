"""Where does the time of a training go? The jobs of engine.toml taken apart, on one thread.

A pass over all rows, forward alone and with derivatives, is timed by itself, and so are whole trainings of few and of
many epochs. What an epoch takes beyond its pass is batches, shuffle and updates; what a training takes beyond its
epochs is Python, the checks of the data among it, and one pass where a batch holds all rows. Every figure is of
processor time: the whole is the least of several, and shares are medians over rounds, for a machine may be slow for a
while. A pass's share of the peak counts what figures.work counts, zeros of a table like any number: where they are
passed over it may exceed 100 %.

Prints a table.
"""

from __future__ import annotations

import sys
import time
import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

import glassnet as gn
from glassnet.errors import NoInputError
from glassnet.kernels.compiled import Passes
from glassnet.kernels.engines import CHUNK_ROWS
from glassnet.runs import Data
from race import figures, machine
from race.contenders import Glassnet
from race.jobs import Job, made

JOBS = ("W1", "W2", "digits", "exponentials", "census", "mnist-fit", "W3")
NAMES = ("forward", "backward", "batches, shuffle, updates", "Python")


def timed(*calls: Callable[[], object]) -> np.ndarray:
    """Processor seconds (rounds, calls): 9 rounds at least and as many as fit into two seconds for each call.

    They take turns, for a machine that others use is now quick and now slow. Each is called twice and timed once: what
    the others did has had the caches.
    """
    rounds: list[list[float]] = []
    begun = time.perf_counter()
    while len(rounds) < 9 or time.perf_counter() - begun < 2 * len(calls):
        rounds.append([])
        for call in calls:
            call()
            before = time.process_time()
            call()
            rounds[-1].append(time.process_time() - before)
    return np.array(rounds)


def passes_over(network: gn.Network, job: Job, copies: int) -> list[Callable[[], object]]:
    """A pass over so many copies of all rows: forward alone, and with derivatives."""
    X, y = (np.tile(part, (copies, 1)) for part in (job.X, job.y))
    passes = Passes(network, Data.checked(network, X, y, None))
    return [partial(passes.loss, job.starts[0], derivatives=derivatives) for derivatives in (False, True)]


def training(job: Job, times: int) -> Callable[[], object]:
    """A training of so many times the job's epochs."""
    contender = Glassnet(job, threads=1)
    contender.settings["epochs"] = times * job.epochs
    return contender.train


def taken_apart(job: Job) -> tuple[float, dict[str, float], float]:
    """Seconds of a whole training, the shares of its pieces, and what the passes with derivatives reach of the peak."""
    network = gn.Network(job.sizes, job.activation, job.loss)
    copies = max(1, CHUNK_ROWS // len(job.X))
    calls = [training(job, 1), training(job, 3), *passes_over(network, job, 1)]
    if copies > 1:  # where rows are few, by what copies of them add, for a call takes time too
        calls += passes_over(network, job, copies)
    whole, longer, forward, both, *of_copies = timed(*calls).T
    if of_copies:
        forward, both = ((many - one) / (copies - 1) for many, one in zip(of_copies, (forward, both), strict=True))
    epoch = (longer - whole) / (2 * job.epochs)
    shares = [float(np.median(job.epochs * piece / whole)) for piece in (forward, both - forward, epoch - both)]
    kind = job.sizes, len(job.X), None, 1, "sgd", None, job.activation, job.loss
    dtype = job.X.dtype.name
    peak = machine.flops_per_second(dtype)
    limit = figures.work(*kind).seconds(peak, machine.transcendentals_per_second(dtype, peak))
    return float(whole.min()), dict(zip(NAMES, (*shares, 1 - sum(shares)), strict=True)), limit / float(np.median(both))


def main() -> int:
    settings = tomllib.loads(Path(__file__).with_name("engine.toml").read_text(encoding="utf-8"))["jobs"]
    print("| job | whole |", *(f"{name} |" for name in NAMES), "passes of the peak |")
    print("|" + " --- |" * (3 + len(NAMES)))
    for name in JOBS:
        dtype = settings[name]["dtypes"][0]
        try:
            job = made(settings[name], dtype)
        except NoInputError as error:  # the larger data files are not everywhere
            print(f"{name} was left out: {error}", file=sys.stderr)
            continue
        whole, shares, of_peak = taken_apart(job)
        parts = (f"{shares[piece]:.0%} |" for piece in NAMES)
        print(f"| {name}, {np.dtype(dtype).name} | {1e3 * whole:.3g} ms |", *parts, f"{of_peak:.0%} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
