"""Checkpoints: where a training stands, in a file, so that it survives its process.

What is kept is an `Outcome`: of one network all that its next update needs, of many networks those that are trained to
their end. Random numbers are functions of counters (see `randomness`), so no generator's state is among it. The file is
of the model file's family (see `persistence`): written whole or not at all, and it says which training it is of, data
included, so that no other goes on from it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from glassnet.errors import DataError, NoInputError, UsageError
from glassnet.network import FloatArray, Network
from glassnet.optimizers import LBFGS
from glassnet.persistence import CHECKPOINT, check_writable, file_bytes, locked, read_file, write_atomically
from glassnet.runs import COUNTS, FINALS, NONFINITE, Data, Members, Outcome, Spec, is_whole

EVERY_SECONDS = 1.0
"""How often a checkpoint is written where it is not said: at the first end of an epoch after so long."""

_LARGEST_SHARE = 0.05  # of the time, that writing may take where it is not said how often

# Numbers that a file has as F64, with the least and the most that they can be; epochs and steps have ends of their own.
_WHOLE: dict[str, tuple[int, int]] = {
    "n_epochs": (0, 2**53),
    "n_steps": (0, 2**53),
    "diverged_at": (-1, 2**53),
    "first_nonfinite": (0, len(NONFINITE) - 1),
    "best_epochs": (0, 2**53),
    "n_dead_units": (0, 2**53),
    "dead_since": (-1, 2**53),
    "stuck_since": (-1, 2**53),
    "converged": (0, 1),
    "stopped_early": (0, 1),
}
_OF_HELD_OUT = ("held_out_losses", "best_losses", "best_vectors")
_CURVES = ("losses", "held_out_losses")
_ARRAYS = ("vectors", "best_vectors", *_CURVES, *FINALS, *COUNTS)
_STATE = "state_"

# What is compared, and how a user is told of it where the number itself says nothing.
_OTHERS = {
    "rows": "its training rows are others",
    "held_out": "its held-out rows are others",
    "starts": "its parameters began elsewhere",
    "members": "its networks have other seeds, learning rates, penalties or rows",
}


@dataclass
class Checkpoint:
    """The checkpoint of a training that runs: what was `found` in the file, and whether that is `finished`.

    `is_damaged`: what was found is the one before, for the last is damaged, and shall not take its place.
    """

    path: str
    about: dict[str, Any]
    every: int | None
    found: Outcome | None = None
    finished: bool = False
    is_damaged: bool = False

    def __post_init__(self) -> None:
        self._written_at, self._seconds, self._epochs = time.monotonic(), 0.0, -1

    def next_epoch(self, made: int) -> int:
        """The epoch after which the next checkpoint is to be written, where `every` says so; else a far one."""
        return 2**62 if self.every is None else (made // self.every + 1) * self.every

    def is_due(self, made: int) -> bool:
        """Whether a checkpoint is to be written now, after so many epochs, or networks."""
        if self.every is not None:
            return made % self.every == 0
        return time.monotonic() - self._written_at > max(EVERY_SECONDS, self._seconds / _LARGEST_SHARE)

    def write(self, outcome: Outcome, *, finished: bool) -> None:
        """Put it into the file; the one before is kept beside it. Raises CannotWriteError: both are then whole."""
        begun = time.monotonic()
        metadata = {"about": self.about, "networks": len(outcome.vectors), "finished": finished}
        tensors: dict[str, NDArray[Any]] = {}
        for name in _ARRAYS:
            if name in _OF_HELD_OUT and self.about["held_out"] is None:
                continue
            value = getattr(outcome, name)
            if name in _CURVES:  # not the epochs that nobody has got to
                known = np.flatnonzero(~np.isnan(value).all(axis=0))
                value = value[:, : known[-1] + 1 if len(known) else 0]
            tensors[name] = value.astype(np.float64) if name in _WHOLE else value
        if self.about["networks"] == 1:
            tensors |= {_STATE + name: value for name, value in outcome.optimizer_state.items()}
        before = None if self.is_damaged else previous_of(self.path)
        write_atomically(self.path, file_bytes(CHECKPOINT, metadata, tensors), previous=before, is_locked=True)
        self.is_damaged = False
        self._written_at = time.monotonic()
        self._seconds = self._written_at - begun


def previous_of(path: str) -> str:
    """Where the checkpoint before the last is kept.

    >>> previous_of("run.checkpoint")
    'run.checkpoint.previous'
    """
    return f"{path}.previous"


@contextlib.contextmanager
def keeping(
    path: str | os.PathLike[str],
    network: Network,
    spec: Spec,
    data: Data,
    vectors: FloatArray,
    members: Members,
    *,
    engine: str,
    per_epoch: int,
    held_out: Data | None = None,
    every: int | None = None,
    resume: bool = False,
    begun: Outcome | None = None,
) -> Iterator[Checkpoint]:
    """The checkpoint of a training, at `path`, which is locked meanwhile; with `resume` what is there is read.

    SIGTERM, where nobody else sees to it, becomes a KeyboardInterrupt, so that a last checkpoint is written; then it
    ends the process as ever.

    Raises UsageError: there is a checkpoint and no `resume`; it is of another training. Raises DataError: it is
    damaged, and so is the one before it. Raises CannotWriteError: it cannot be written, or somebody else does.
    """
    if every is not None and (not is_whole(every) or every < 1):
        raise UsageError(f"every is a number of epochs, 1 or more, or None for about one a second; got {every!r}.")
    about = {
        "network": [list(network.sizes), list(network.activations), network.loss],
        "optimizer": repr(spec.optimizer),
        **{item.name: getattr(spec, item.name) for item in fields(spec) if item.name != "optimizer"},
        "networks": len(members),
        "engine": engine,
        "dtype": data.dtype.name,
        "rows": data.hash,
        "held_out": None if held_out is None else held_out.hash,
        "starts": _hash(vectors),
        "members": _hash(
            members.numbers, members.seeds, members.l1, members.l2,
            *([] if members.learning_rates is None else [members.learning_rates]), *(members.rows or ()),
        ),
    }  # fmt: skip
    with _terminated_as_interrupted(), locked(path):
        check_writable(path, is_locked=True)
        real = os.path.realpath(path)
        there = [place for place in (real, previous_of(real)) if os.path.lexists(place)]
        if there and not resume:
            raise UsageError(
                f"{path}: a checkpoint is not overwritten by another training; {there[0]} is there. Go on from it with "
                "resume (--resume), remove it, or name another file."
            )
        kept = Checkpoint(real, json.loads(json.dumps(about, default=float)), every, begun)
        if there:
            metadata, tensors, kept.is_damaged = _read(path)
            _refuse_another(path, metadata["about"], kept.about)
            kept.found = _outcome(path, metadata, tensors, network, spec, per_epoch)
            kept.finished = metadata["finished"]
        yield kept


def _hash(*arrays: NDArray[Any]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.shape}{array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    came: list[int] = []

    def note(number: int, frame: object) -> NoReturn:
        came.append(number)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if came:
            signal.raise_signal(signal.SIGTERM)


# --- reading ------------------------------------------------------------------------------------------------------


def standing(path: str | os.PathLike[str]) -> str:
    """How far the training in a checkpoint is, in a sentence.

    Raises NoInputError: there is none. Raises DataError: it is damaged, and so is the one before it.

    >>> import glassnet as gn, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "run.checkpoint")
    ...     run = gn.train(gn.Network((1, 1)), [[0.0], [1.0]], [0, 1], epochs=4, checkpoint=path)
    ...     standing(path).removeprefix(path)
    ': the training in it is finished'
    """
    metadata, tensors, _ = _read(path)
    about, n = metadata["about"], metadata["networks"]
    if metadata["finished"]:
        said = "the training in it is finished"
    elif about["networks"] > 1:
        said = f"{n:,} of {about['networks']:,} networks in it are trained"
    else:
        said = f"the training in it has made {int(tensors['n_epochs'][0]):,} of {about['epochs']:,} epochs"
    return f"{path}: {said}"


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, NDArray[Any]], bool]:
    """The checkpoint, or where it is damaged or not there the one before, and whether it is that."""
    try:
        return *_checked(path), False
    except (NoInputError, DataError):
        before = previous_of(os.path.realpath(path))
        if os.path.isfile(before):
            with contextlib.suppress(NoInputError, DataError):
                return *_checked(before), True
        raise


def _checked(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    metadata, tensors = read_file(path, CHECKPOINT)
    about, n = metadata.get("about"), metadata.get("networks")
    if metadata.keys() != {"about", "networks", "finished"} or not isinstance(about, dict):
        CHECKPOINT.refuse(path, "it does not say what it is of")
    if not all(type(about.get(name)) is int for name in ("networks", "epochs")):
        CHECKPOINT.refuse(path, "it does not say how much there is to do")
    if type(n) is not int or not 1 <= n <= about["networks"] or type(metadata["finished"]) is not bool:
        CHECKPOINT.refuse(path, "it does not say how much is done")
    if metadata["finished"] and n < about["networks"]:
        CHECKPOINT.refuse(path, f"it is finished, and has {n} of {about['networks']} networks")
    if tensors.get("n_epochs", np.zeros(0)).shape != (n,) or not (tensors["n_epochs"] >= 0).all():
        CHECKPOINT.refuse(path, "it does not say how many epochs are made")
    return metadata, tensors


def _refuse_another(path: str | os.PathLike[str], there: dict[str, Any], here: dict[str, Any]) -> None:
    for name, value in here.items():
        if name not in there or there[name] != value:
            both = f"it has {name.replace('_', ' ')} {str(there.get(name))[:200]}, this one has {value}"
            what = _OTHERS.get(name, both)
            raise UsageError(
                f"{path}: a checkpoint is gone on from by the training that it is of; {what}. Train as it was begun, "
                "or name another file."
            )


def _outcome(
    path: str | os.PathLike[str],
    metadata: dict[str, Any],
    tensors: dict[str, NDArray[Any]],
    network: Network,
    spec: Spec,
    per_epoch: int,
) -> Outcome:
    """The arrays as an `Outcome` of this very training, every shape and every count checked."""
    about, n, P = metadata["about"], metadata["networks"], network.n_parameters
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(_ARRAYS, (n,))
    shapes |= {"vectors": (n, P), "best_vectors": (n, P)}
    for name in _CURVES:
        known = tensors.get(name, np.zeros((0, 0))).shape[1:2]
        shapes[name] = (n, min(*known, spec.epochs + 1)) if known else (n, 0)
    if about["held_out"] is None:
        shapes = {name: shape for name, shape in shapes.items() if name not in _OF_HELD_OUT}
    numbers = ["vectors"] + (["best_vectors"] if about["held_out"] is not None else [])
    if about["networks"] == 1:
        if isinstance(spec.optimizer, LBFGS):
            pairs = tensors.get(_STATE + "s", np.zeros((1, 0, P))).shape[1:2]
            of_state = {"value": (1, 1), "gradient": (1, P), "s": (1, *pairs, P), "y": (1, *pairs, P)}
        else:
            of_state = dict.fromkeys(spec.optimizer.state_names, (1, P))
        shapes |= {_STATE + name: shape for name, shape in of_state.items()}
        numbers += [_STATE + name for name in of_state]
    if {name: array.shape for name, array in tensors.items()} != shapes:
        CHECKPOINT.refuse(path, "its arrays are not those of this training")
    for name in numbers:
        dtype = "float64" if name == _STATE + "value" else about["dtype"]
        may_be_infinite = name.startswith(_STATE) and metadata["finished"]  # after a divergence
        if tensors[name].dtype.name != dtype or not (may_be_infinite or np.isfinite(tensors[name]).all()):
            CHECKPOINT.refuse(path, f"{name} are finite numbers of type {dtype}; these are not")
    outcome = Outcome.begun(tensors["vectors"], spec.epochs)
    for name in _ARRAYS:
        if name not in tensors:
            continue
        value = tensors[name]
        if name in _WHOLE:
            low, high = _WHOLE[name]
            if not ((value == np.rint(value)) & (value >= low) & (value <= high)).all():
                CHECKPOINT.refuse(path, f"{name} are whole numbers from {low} to {high}; these are not")
        if name in _CURVES:
            whole = np.full((n, spec.epochs + 1), np.nan, value.dtype)
            whole[:, : value.shape[1]] = value
            value = whole
        setattr(outcome, name, value)
    outcome.optimizer_state = {
        name.removeprefix(_STATE): value for name, value in tensors.items() if name.startswith(_STATE)
    }
    epochs, steps, best = outcome.n_epochs, outcome.n_steps, outcome.best_epochs
    if (epochs > spec.epochs).any() or (best > spec.epochs).any():
        CHECKPOINT.refuse(path, f"it has more than the {spec.epochs} epochs of this training")
    if about["networks"] == 1 and not metadata["finished"] and steps[0] != epochs[0] * per_epoch:
        CHECKPOINT.refuse(path, "it does not stand at the end of an epoch")
    return outcome
