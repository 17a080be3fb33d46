"""Trains a job in child processes that are killed at random moments until one of them comes to its end, over and over.

    python killed.py JOB FOLDER KILLS SEED

Every training that comes to its end must have the bits of one that nobody disturbed, and after every kill the
checkpoint must be whole. Prints the number of kills and of trainings, or the first that is wrong. POSIX alone: children
are forked, so that a kill takes milliseconds, not the second that imports take.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import glassnet as gn
from glassnet import checkpoints
from glassnet.errors import NoInputError

RNG = np.random.default_rng(3)
X = RNG.normal(size=(120, 3))
Y = (X[:, :1] * X[:, 1:2] + 0.3 * RNG.normal(size=(120, 1)) > 0) * 1.0
OTHER = RNG.normal(size=(50, 3))
HELD_OUT = (OTHER, (OTHER[:, :1] * OTHER[:, 1:2] > 0) * 1.0)
SMALL, TILED = gn.Network((3, 4, 1), "tanh"), gn.Network((3, 17, 9, 1), ("gelu", "elu"))

JOBS: dict[str, dict[str, Any]] = {
    "all rows": {"network": SMALL, "optimizer": gn.Adam(0.01), "epochs": 40},
    "batches": {
        "network": TILED, "optimizer": gn.Adam(gn.Cosine(0.01)), "epochs": 40, "batch_size": 16, "dropout": 0.3,
    },
    "patience": {
        "network": TILED, "optimizer": gn.AdamW(0.01), "epochs": 50, "batch_size": 32, "held_out": HELD_OUT,
        "patience": 25,
    },
    "numpy": {
        "network": SMALL, "optimizer": gn.SGD(0.1, momentum=0.9), "epochs": 40, "batch_size": 60, "engine": "numpy",
        "held_out": HELD_OUT, "patience": 30, "l2": 0.001,
    },
    "lbfgs": {"network": TILED, "optimizer": gn.LBFGS(), "epochs": 40, "l2": 0.001, "held_out": HELD_OUT},
    "population": {"network": SMALL, "optimizer": gn.Adam(0.01), "epochs": 3000, "size": 24, "batch_size": 30},
}  # fmt: skip


def digest(*parts: Any) -> str:
    """A hash of all bits of arrays, and of all else as it is printed."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            array = np.ascontiguousarray(part)
            total.update(f"{array.shape}{array.dtype}".encode() + array.tobytes())
        else:
            total.update(repr(part).encode())
    return total.hexdigest()


def digest_of(result: Any) -> str:
    """Of all that a `Run` or a `Population` says of its training, but how long it took."""
    if isinstance(result, gn.Run):
        state = [result.optimizer_state[name] for name in sorted(result.optimizer_state)]
        curves = result.history.loss, result.history.held_out_loss
        said = result.counters, result.stop_reason, result.engine_used, result.first_nonfinite
        return digest(result.parameters.vector, result.initial.vector, *curves, *state, *said)
    health = result.n_dead_units, result.dead_since, result.stuck_since, result.diverged_at
    numbers = result.parameters.vector, result.initial.vector, result.losses, result.objectives
    return digest(*numbers, *health, result.engine_used)


def trained(job: str, **more: Any) -> Any:
    """The result of a job."""
    given = {"engine": "compiled", "threads": 2, **JOBS[job], **more}
    network = given.pop("network")
    if "size" in given:
        return gn.train_population(network, X, Y, **given)
    if "checkpoint" in given:
        given["every"] = 1
    return gn.train(network, X, Y, **given)


def in_a_child(job: str, path: Path | None, killed_after: float | None) -> str | None:
    """The digest of a job that is trained in a process of its own, or None where it was killed."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            more = {} if path is None else {"checkpoint": path, "resume": True}
            os.write(writer, digest_of(trained(job, **more)).encode())
            os._exit(0)
        except BaseException as problem:
            os.write(writer, f"{type(problem).__name__}: {problem}".encode())
            os._exit(1)
    os.close(writer)
    if killed_after is not None:
        time.sleep(killed_after)
        os.kill(child, signal.SIGKILL)
    with os.fdopen(reader) as answer:
        said = answer.read()
    _, status = os.waitpid(child, 0)
    return None if os.WIFSIGNALED(status) else said


def main(job: str, folder: Path, kills: int, seed: int) -> None:
    """Kill, so many times in all."""
    rng = random.Random(seed)
    checkpoints.EVERY_SECONDS, checkpoints._LARGEST_SHARE = 0.0, 1e9  # a checkpoint after every part
    trained(job, epochs=1)  # compiles the kernels
    expected = in_a_child(job, None, None)
    begun = time.monotonic()
    in_a_child(job, folder / "timed", None)
    whole = time.monotonic() - begun
    n_killed = n_trained = 0
    while n_killed < kills:
        path, found = folder / f"{n_trained}.checkpoint", None
        while found is None:
            found = in_a_child(job, path, rng.uniform(0, 1.2 * whole) if n_killed < kills else None)
            if found is None:
                n_killed += 1
                with contextlib.suppress(NoInputError):  # there was none yet
                    checkpoints.standing(path)
        n_trained += 1
        if found != expected:
            sys.exit(f"{job}: training {n_trained} ended with {found}, not {expected}")
        left = sorted(place.name for place in folder.iterdir() if place.name.startswith("."))
        if left:
            sys.exit(f"{job}: {left} were left behind")
        for place in folder.glob(f"{path.name}*"):
            place.unlink()
    print(n_killed, n_trained)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
