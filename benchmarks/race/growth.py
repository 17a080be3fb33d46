"""How time and memory grow, in a process of its own: `python -m race.growth rows|networks|memory SETTINGS SIZE...`.

`python -m race.growth job FILE THREADS` tells the memory of a job.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

import glassnet as gn
from race.contenders import Glassnet, with_engine
from race.jobs import Job


def table(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 2))
    return X, (X.sum(axis=1, keepdims=True) > 0.3).astype(float)


def held(what: str) -> int:
    """Bytes that the process holds (VmRSS) or has held at most (VmHWM); Linux tells."""
    found = re.search(rf"^{what}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"), re.MULTILINE)
    assert found
    return int(found[1]) * 1024


def most_held(train: Callable[[], object]) -> int:
    """The most bytes that the process holds meanwhile."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # what was held at most until now is forgotten
    train()
    return held("VmHWM")


def memory_of_job(path: Path, threads: int) -> dict[str, int]:
    """Bytes: the most that a training holds above what was held before there were data; of X and y; of parameters."""
    Glassnet.load()
    few = slice(1000)
    job = Job.read(path)
    part = replace(job, X=job.X[few].copy(), y=job.y[few].copy(), orders=None)
    del job
    Glassnet(part, threads).train()  # whatever is made once is made
    before = held("VmRSS")
    job = Job.read(path)
    contender = Glassnet(job, threads)
    most = most_held(contender.train)
    return {"most": most - before, "data": job.X.nbytes + job.y.nbytes, "parameters": job.starts.nbytes}


def main(what: str, settings_text: str, *sizes: str) -> None:
    if what == "job":
        print(json.dumps(memory_of_job(Path(settings_text), int(sizes[0]))))
        return
    settings = json.loads(settings_text)
    network = gn.Network(settings["sizes"])
    optimizer = gn.SGD(learning_rate=settings["learning_rate"])
    Glassnet.load()
    one, many = with_engine(gn.train), with_engine(gn.train_population)

    def train(X: np.ndarray, y: np.ndarray) -> object:
        return one(network, X, y, optimizer=optimizer, epochs=settings["row_epochs"])

    train(*table(1000))  # whatever is made once is made
    found = []
    if what == "memory":
        (n,) = map(int, sizes)
        before = held("VmRSS")
        X, y = table(n)
        found.append((most_held(lambda: train(X, y)) - before) / (X.nbytes + y.nbytes))
    elif what == "rows":
        for n in map(int, sizes):
            X, y = table(n)
            taken = []
            for _ in range(settings["repeats"]):
                begun = time.perf_counter()
                train(X, y)
                taken.append(time.perf_counter() - begun)
            found.append(statistics.median(taken) / n / settings["row_epochs"])
    else:
        X, y = table(settings["network_rows"])
        for size in map(int, sizes):
            taken = []
            for _ in range(settings["repeats"]):
                begun = time.perf_counter()
                many(network, X, y, size=size, optimizer=optimizer, epochs=settings["network_epochs"], threads=2)
                taken.append(time.perf_counter() - begun)
            found.append(statistics.median(taken) / size)
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
