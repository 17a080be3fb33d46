"""Checkpoints: what is killed, ended or refused, and gone on with, ends in the bits of what nobody disturbed."""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import glassnet as gn
from glassnet import checkpoints, cli, dispatch, persistence, populations
from glassnet.errors import CannotWriteError, DataError, UsageError
from glassnet.persistence import CHECKPOINT, file_bytes, read_file

KILLED = Path(__file__).with_name("killed.py")
_spec = importlib.util.spec_from_file_location("killed", KILLED)
assert _spec is not None
assert _spec.loader is not None
killed = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(killed)
trained, digest_of, JOBS = killed.trained, killed.digest_of, killed.JOBS

on_posix = pytest.mark.skipif(os.name != "posix", reason="a process is killed alone on POSIX")
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.checkpoint"


@pytest.fixture
def cut_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """An epoch, or two networks, at a time, and a checkpoint after each."""
    monkeypatch.setattr(dispatch, "_A_PIECE", -1.0)
    monkeypatch.setattr(populations, "_A_PART", -1.0)
    monkeypatch.setattr(checkpoints, "EVERY_SECONDS", -1.0)
    monkeypatch.setattr(checkpoints, "_LARGEST_SHARE", 1e9)


@pytest.fixture
def every_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[Path]]:
    """Copies of all checkpoints, in the order in which they are written."""
    written: list[Path] = []
    write = checkpoints.Checkpoint.write

    def copying(self: checkpoints.Checkpoint, outcome: Any, *, finished: bool) -> None:
        write(self, outcome, finished=finished)
        written.append(Path(shutil.copy(self.path, tmp_path / f"state-{len(written)}")))

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.Checkpoint, "write", copying)
        yield written


def test_the_comparison_can_fail() -> None:
    run = trained("numpy", epochs=2)
    assert digest_of(run) == digest_of(trained("numpy", epochs=2))
    for other in ({"start": 1}, {"epochs": 3}, {"engine": "compiled"}):
        assert digest_of(run) != digest_of(trained("numpy", **({"epochs": 2} | other)))
    many = trained("population", epochs=2)
    assert digest_of(many) == digest_of(trained("population", epochs=2))
    assert digest_of(many) != digest_of(trained("population", epochs=2, size=23))
    assert digest_of(many) != digest_of(trained("population", epochs=2, random_state=1))


# Jobs beside those of `killed`: other ends, other numbers, a first step that is not 0.
SETTINGS: dict[str, dict[str, Any]] = {name: {"job": name, "epochs": 20} for name in JOBS} | {
    "stopped early": {"job": "patience", "epochs": 60, "patience": 2},
    "stopped early by numpy": {"job": "numpy", "epochs": 60, "patience": 2, "optimizer": gn.Adam(0.2)},
    "float32": {"job": "patience", "epochs": 12, "float32": True},
    "lbfgs in float32": {"job": "lbfgs", "epochs": 12, "float32": True, "patience": 5},
    "lbfgs by numpy": {"job": "lbfgs", "epochs": 12, "engine": "numpy"},
    "lbfgs to its end": {"job": "lbfgs", "epochs": 2000, "l2": 0.1},
    "held-out rows without patience": {"job": "all rows", "epochs": 9, "held_out": killed.HELD_OUT},
    "no epoch": {"job": "batches", "epochs": 0},
    "one network": {"job": "population", "epochs": 12, "size": 1},
    "networks of L-BFGS": {"job": "population", "epochs": 12, "optimizer": gn.LBFGS(), "batch_size": None},
    "networks by numpy": {"job": "population", "epochs": 12, "engine": "numpy"},
    "networks of all kinds": {
        "job": "population", "epochs": 6, "size": 7, "l2": np.array([0, 0.1, 0, 0, 0.2, 0, 0]),
        "random_state": np.arange(7), "learning_rates": np.linspace(0.01, 0.02, 7),
        "rows": [np.arange(20 + k) for k in range(7)],
    },
    "one network of some rows": {"job": "population", "epochs": 6, "size": 1, "rows": [np.arange(70)]},
    "diverged": {"job": "all rows", "optimizer": gn.SGD(1e200), "epochs": 30, "loss": "mean_squared_error"},
    "diverged in batches": {
        "job": "batches", "optimizer": gn.SGD(1e5), "epochs": 40, "loss": "mean_squared_error", "l2": 1e-4,
    },
    "diverged with patience": {
        "job": "numpy", "optimizer": gn.SGD(40.0), "epochs": 60, "loss": "mean_squared_error", "patience": 60,
    },
    "networks that diverge": {"job": "population", "optimizer": gn.SGD(1e4), "epochs": 9, "l2": 0.1},
}  # fmt: skip


def made(name: str, monkeypatch: pytest.MonkeyPatch, **more: Any) -> Any:
    """The result of one of SETTINGS."""
    given = SETTINGS[name] | more
    job = given.pop("job")
    if given.pop("float32", False):
        monkeypatch.setattr(killed, "X", killed.X.astype(np.float32))
    if "loss" in given:
        network = JOBS[job]["network"]
        given["network"] = gn.Network(network.sizes, network.activations, given.pop("loss"))
    return trained(job, **given)


@pytest.mark.usefixtures("cut_small")
@pytest.mark.parametrize("name", SETTINGS)
def test_from_every_checkpoint_to_the_same_bits(
    name: str, path: Path, every_state: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = made(name, monkeypatch)
    assert not name.startswith("diverged") or expected.stop_reason.startswith("diverged at step")
    assert "early" not in name or expected.stop_reason == "held-out loss"
    assert "to its end" not in name or expected.stop_reason == "converged"
    cut = made(name, monkeypatch, checkpoint=path)
    assert digest_of(cut) == digest_of(expected)
    states = list(every_state)
    n_epochs = expected.counters["epochs"] if isinstance(expected, gn.Run) else 0
    few = {"no epoch", "networks by numpy", "diverged"}
    assert name in few or len(states) >= min(3, n_epochs)
    for state in [*states[:: max(1, len(states) // 4)], *states[-2:]]:
        path.unlink()
        shutil.copy(state, path)
        again = made(name, monkeypatch, checkpoint=path, resume=True)
        assert digest_of(again) == digest_of(expected), state


@pytest.mark.parametrize("name", ["all rows", "batches", "patience", "numpy", "lbfgs"])
@pytest.mark.parametrize("every", [None, 7, 1000])
def test_every_so_many_epochs(
    name: str, every: int | None, path: Path, every_state: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = JOBS[name] | {"checkpoint": path, "every": every, "threads": 1}
    given = {"engine": "compiled"} | {key: value for key, value in job.items() if key != "network"}
    run = gn.train(job["network"], killed.X, killed.Y, **given)
    assert digest_of(run) == digest_of(trained(name))
    epochs = [int(read_file(state, CHECKPOINT)[1]["n_epochs"][0]) for state in every_state]
    last = run.counters["epochs"]
    if every is not None:
        assert epochs == [*range(every, last, every), last]
    assert epochs[-1] == last


def test_a_finished_training_is_not_trained_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = {name: made(name, monkeypatch, checkpoint=path.with_name(name)) for name in ("stopped early", "population")}
    kept = {name: path.with_name(name).read_bytes() for name in first}

    def none(*given: Any, **more: Any) -> None:
        pytest.fail("it trains")

    monkeypatch.setattr(dispatch, "train_members", none)
    monkeypatch.setattr(populations, "train_members", none)
    for name, result in first.items():
        again = made(name, monkeypatch, checkpoint=path.with_name(name), resume=True)
        assert digest_of(again) == digest_of(result)
        assert path.with_name(name).read_bytes() == kept[name]


def test_resume_begins_at_the_beginning_where_there_is_none(path: Path) -> None:
    assert digest_of(trained("all rows", checkpoint=path, resume=True)) == digest_of(trained("all rows"))


def test_a_run_is_gone_on_with_under_a_checkpoint(path: Path) -> None:
    half = trained("batches", epochs=7, optimizer=gn.Adam(0.01))
    whole = trained("batches", epochs=20, optimizer=gn.Adam(0.01))
    given = {"epochs": 20, "optimizer": gn.Adam(0.01), "checkpoint": path}
    assert digest_of(trained("batches", resume=half, **given)) == digest_of(whole)
    assert digest_of(trained("batches", resume=True, **given)) == digest_of(whole)


# Killed, interrupted, terminated


@on_posix
@pytest.mark.parametrize("job", JOBS)
def test_killed_at_random_moments(job: str, tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-W", "error", str(KILLED), job, str(tmp_path), "4", "1"],
        capture_output=True, env=ENVIRONMENT, text=True, timeout=600,
    )  # fmt: skip
    assert (found.returncode, found.stderr) == (0, "")
    n_killed, n_trained = map(int, found.stdout.split())
    assert n_killed >= 4  # 24 in all; 1,008 in the soak
    assert n_trained >= 1


PROGRAM = """
import sys
import numpy as np
import glassnet as gn
rng = np.random.default_rng(0)
X = rng.normal(size=(200, 3))
y = (X[:, :1] * X[:, 1:2] > 0) * 1.0
network = gn.Network((3, 4, 1), "tanh")
gn.train(network, X, y, epochs=1, engine="compiled")
print("ready", flush=True)
run = gn.train(network, X, y, epochs=2_000_000, engine="compiled", checkpoint=sys.argv[1])
print(run.stop_reason, run.counters["epochs"] > 0, run.counters["steps"] == run.counters["epochs"])
"""


def signalled(program: str, path: Path, number: int) -> tuple[int, str, str]:
    """Exit status, output and messages of a program that is sent a signal a while after it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program, str(path)], env=ENVIRONMENT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.7)
        process.send_signal(number)
        output, messages = process.communicate(timeout=90)
    finally:
        process.kill()
        process.wait()
    return process.returncode, output, messages


@on_posix
def test_ctrl_c_returns_what_is_kept(path: Path) -> None:
    status, output, messages = signalled(PROGRAM, path, signal.SIGINT)
    assert (status, output.split(), messages) == (0, ["interrupted", "True", "True"], "")
    assert [place.name for place in path.parent.iterdir()] == [path.name]


@on_posix
def test_sigterm_writes_a_checkpoint_and_ends_the_process(path: Path) -> None:
    status, output, messages = signalled(PROGRAM, path, signal.SIGTERM)
    assert (status, output, messages) == (-signal.SIGTERM, "", "")
    assert "of 2,000,000 epochs" in checkpoints.standing(path)
    assert [place.name for place in path.parent.iterdir()] == [path.name]
    for now in (signal.getsignal(signal.SIGTERM),):  # of this process nothing is changed
        trained("numpy", epochs=2, checkpoint=path.with_name("other"))
        assert signal.getsignal(signal.SIGTERM) == now


# Another training


OTHER_TRAININGS: dict[str, tuple[dict[str, Any], str]] = {
    "network": ({"network": killed.SMALL}, "network"),
    "epochs": ({"epochs": 6}, "it has epochs 5, this one has 6"),
    "optimizer": ({"optimizer": gn.AdamW(0.02)}, r"optimizer AdamW\(learning_rate=0.01.*this one has AdamW\(learning"),
    "batch size": ({"batch_size": 31}, "batch size 32, this one has 31"),
    "seed": ({"random_state": 1}, "random state 0, this one has 1"),
    "start": ({"start": 1}, "start 0, this one has 1"),
    "penalty": ({"l2": 0.1}, "l2 0.0, this one has 0.1"),
    "patience": ({"patience": 9}, "patience 25, this one has 9"),
    "engine": ({"engine": "numpy"}, "engine compiled, this one has numpy"),
    "held-out rows": ({"held_out": (killed.OTHER[:9], killed.HELD_OUT[1][:9])}, "held-out rows are others"),
    "row weights": ({"row_weights": np.linspace(1, 2, 120)}, "training rows are others"),
    "parameters": ({"parameters": gn.initialize(killed.TILED, 7)}, "parameters began elsewhere"),
}


@pytest.mark.parametrize("what", OTHER_TRAININGS)
def test_another_training_is_refused(what: str, path: Path) -> None:
    trained("patience", epochs=5, checkpoint=path)
    before = path.read_bytes()
    other, rule = OTHER_TRAININGS[what]
    with pytest.raises(UsageError, match=rule) as caught:
        trained("patience", **({"epochs": 5, "checkpoint": path, "resume": True} | other))
    assert str(path) in str(caught.value)
    assert path.read_bytes() == before
    with pytest.raises(UsageError, match="not overwritten"):
        trained("patience", epochs=5, checkpoint=path)
    trained("patience", epochs=5, checkpoint=path, resume=True)


def test_other_networks_of_a_population_are_refused(path: Path) -> None:
    given = {"epochs": 3, "checkpoint": path}
    trained("population", l2=np.linspace(0, 1, 24), **given)
    for other in (np.linspace(0, 2, 24), 0.0):
        with pytest.raises(UsageError, match="other seeds, learning rates, penalties or rows"):
            trained("population", l2=other, resume=True, **given)
    with pytest.raises(UsageError, match="networks 24, this one has 23"):
        trained("population", size=23, l2=np.linspace(0, 1, 23), resume=True, **given)


def test_what_cannot_be_meant(path: Path) -> None:
    for mistake in ({"every": 5}, {"resume": True}):
        with pytest.raises(UsageError, match="checkpoint=PATH"):
            gn.train(killed.SMALL, killed.X, killed.Y, **mistake)
    for every in (0, -1, 1.5, True):
        with pytest.raises(UsageError, match="every is a number of epochs"):
            gn.train(killed.SMALL, killed.X, killed.Y, checkpoint=path, every=every)
    with pytest.raises(UsageError, match="checkpoint=PATH"):
        gn.train_population(killed.SMALL, killed.X, killed.Y, size=2, resume=True)
    assert list(path.parent.iterdir()) == []


# Damage


def test_the_one_before_takes_the_place_of_a_damaged_one(path: Path) -> None:
    expected = trained("batches", epochs=9, checkpoint=path)
    damaged = path.read_bytes()[:-3]
    path.write_bytes(damaged)
    assert "made 8 of 9 epochs" in checkpoints.standing(path)
    assert digest_of(trained("batches", epochs=9, checkpoint=path, resume=True)) == digest_of(expected)
    assert checkpoints.standing(checkpoints.previous_of(str(path)))  # a damaged one has not taken its place
    path.unlink()  # as a process leaves it that is killed between two renames
    assert digest_of(trained("batches", epochs=9, checkpoint=path, resume=True)) == digest_of(expected)
    for place in (path, Path(checkpoints.previous_of(str(path)))):
        place.write_bytes(damaged)
    with pytest.raises(DataError, match="truncated or altered"):
        trained("batches", epochs=9, checkpoint=path, resume=True)


def lie(path: Path, changed: Callable[[dict[str, Any], dict[str, Any]], None]) -> None:
    """Change what a checkpoint says, with a right checksum."""
    metadata, tensors = read_file(path, CHECKPOINT)
    changed(metadata, tensors)
    path.write_bytes(file_bytes(CHECKPOINT, metadata, tensors))


LIES: dict[str, Callable[[dict[str, Any], dict[str, Any]], Any]] = {
    "no field": lambda m, t: m.pop("finished"),
    "one field more": lambda m, t: m.update(more=1),
    "networks": lambda m, t: m.update(networks=2),
    "networks as a text": lambda m, t: m.update(networks="1"),
    "a billion networks": lambda m, t: (m.update(networks=10**9), m["about"].update(networks=10**9)),
    "true epochs": lambda m, t: m["about"].update(epochs=True),
    "finished": lambda m, t: m.update(finished=1),
    "about": lambda m, t: m.update(about=[]),
    "an array less": lambda m, t: t.pop("losses"),
    "an array more": lambda m, t: t.update(more=np.ones(1)),
    "no epochs": lambda m, t: t.pop("n_epochs"),
    "shapes": lambda m, t: t.update(vectors=t["vectors"][:, 1:]),
    "dtype": lambda m, t: t.update(vectors=t["vectors"].astype(np.float32)),
    "NaN parameters": lambda m, t: t["vectors"].fill(np.nan),
    "NaN state": lambda m, t: t["state_m"].fill(np.nan),
    "state of another optimiser": lambda m, t: t.update(state_value=t.pop("state_m")),
    "half a step": lambda m, t: t["n_steps"].fill(0.5),
    "steps within an epoch": lambda m, t: t["n_steps"].fill(9),
    "epochs that are not there": lambda m, t: (t["n_epochs"].fill(99), t["n_steps"].fill(99 * 8)),
    "epochs below 0": lambda m, t: t["n_epochs"].fill(-1),
    "the best epoch": lambda m, t: t["best_epochs"].fill(-1),
    "a first that is not there": lambda m, t: t["first_nonfinite"].fill(5),
    "neither true nor false": lambda m, t: t["converged"].fill(2),
}


@pytest.mark.parametrize("name", LIES)
def test_lies_with_a_right_checksum_are_refused(name: str, path: Path) -> None:
    trained("batches", epochs=9, checkpoint=path)
    Path(checkpoints.previous_of(str(path))).replace(path)
    lie(path, lambda metadata, tensors: None)
    assert "made 8 of 9 epochs" in checkpoints.standing(path)
    lie(path, LIES[name])
    with pytest.raises((DataError, UsageError)) as caught:
        trained("batches", epochs=9, checkpoint=path, resume=True)
    assert len(str(caught.value)) < 600


def test_a_value_that_is_not_finite_is_refused_of_lbfgs(path: Path) -> None:
    trained("lbfgs", epochs=9, checkpoint=path)
    Path(checkpoints.previous_of(str(path))).replace(path)
    lie(path, lambda metadata, tensors: tensors["state_value"].fill(np.inf))
    with pytest.raises(DataError, match="state_value are finite numbers of type float64"):
        trained("lbfgs", epochs=9, checkpoint=path, resume=True)


def test_a_model_is_no_checkpoint_and_the_reverse(path: Path, tmp_path: Path) -> None:
    persistence.write_model_file(path, {}, {"w": np.ones(1)})
    with pytest.raises(DataError, match="says format 'glassnet', not 'glassnet-checkpoint'"):
        checkpoints.standing(path)
    trained("numpy", epochs=1, checkpoint=tmp_path / "other")
    with pytest.raises(DataError, match="says format 'glassnet-checkpoint', not 'glassnet'"):
        gn.load(tmp_path / "other")


# What cannot be written


@pytest.mark.parametrize(
    ("name", "code"), [("fsync", errno.ENOSPC), ("replace", errno.EIO), ("open", errno.EROFS), ("fsync", errno.EIO)]
)
@pytest.mark.usefixtures("cut_small")
def test_a_failing_disk_leaves_the_old_checkpoint(
    path: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: int
) -> None:
    """After some checkpoints; the last of them is whole, and gone on from."""
    expected = trained("batches", epochs=9)
    real, states = getattr(os, name), []

    def fails_in_the_end(*given: Any, **more: Any) -> Any:
        if path.exists():
            states.append(checkpoints.standing(path))
            if "made 5 of 9" in states[-1]:
                raise OSError(code, os.strerror(code))
        return real(*given, **more)

    with monkeypatch.context() as patch:
        patch.setattr(persistence.os, name, fails_in_the_end)
        with pytest.raises(CannotWriteError, match=os.strerror(code)) as caught:
            trained("batches", epochs=9, checkpoint=path)
    assert caught.value.exit_status == 73
    assert "made 5 of 9 epochs" in checkpoints.standing(path)
    assert {place.name for place in path.parent.iterdir()} <= {path.name, f"{path.name}.previous"}
    assert digest_of(trained("batches", epochs=9, checkpoint=path, resume=True)) == digest_of(expected)


def test_an_error_of_the_second_rename_puts_the_old_one_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(b"old")
    real, calls = os.replace, []

    def second_fails(source: Any, target: Any) -> None:
        calls.append(target)
        if len(calls) == 2:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(source, target)

    monkeypatch.setattr(persistence.os, "replace", second_fails)
    with pytest.raises(CannotWriteError):
        persistence.write_atomically(path, b"new", previous=f"{path}.previous")
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


@on_posix
def test_a_file_that_may_not_grow(path: Path) -> None:
    """A limit of the operating system on the size of files, which a write in the middle of the training meets."""
    program = PROGRAM.replace(
        'print("ready", flush=True)',
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); print('ready', flush=True)",
    )
    status, output, messages = signalled(program, path, signal.SIGCONT)
    assert (status, output) == (1, "")
    assert "CannotWriteError" in messages
    assert "File too large" in messages
    assert list(path.parent.iterdir()) == []


READ_ONLY = """
import os, sys
import glassnet as gn
from glassnet.errors import CannotWriteError
def train(**more):
    return gn.train(gn.Network((1, 1)), [[0.0], [1.0]], [0, 1], epochs=3, engine="numpy", **more)
train(checkpoint=sys.argv[1])
os.chmod(os.path.dirname(sys.argv[1]), 0o555)
if os.getuid() == 0:
    os.setuid(65534)  # root may write anywhere
try:
    train(checkpoint=sys.argv[1] + ".other")
except CannotWriteError as error:
    print(error.exit_status, "Permission denied" in str(error))
"""


@on_posix
def test_a_folder_that_may_not_be_written(path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-W", "error", "-c", READ_ONLY, str(path)], capture_output=True, env=ENVIRONMENT, text=True
    )
    path.parent.chmod(0o755)
    assert (found.stdout, found.stderr) == ("73 True\n", "")
    assert "finished" in checkpoints.standing(path)
    assert list(path.parent.iterdir()) == [path]


def test_places_that_cannot_be_written_are_refused_before_the_training(path: Path) -> None:
    for place in (path.parent / "absent" / "run", path.parent, "nul\0byte"):
        with pytest.raises(CannotWriteError):
            trained("numpy", checkpoint=place)


# The lock

HOLDER = """
import sys
from glassnet.persistence import locked
with locked(sys.argv[1]):
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], env=ENVIRONMENT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def test_a_second_training_on_one_checkpoint_is_refused(path: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(CannotWriteError, match="another is writing this one") as caught:
        trained("numpy", checkpoint=path)
    assert caught.value.exit_status == 73
    assert not path.exists()
    holder.kill()
    holder.wait()
    assert path.with_name(f".{path.name}.lock").exists()  # it stays, and locks nobody out
    trained("numpy", checkpoint=path)
    assert {place.name for place in path.parent.iterdir()} == {path.name, f"{path.name}.previous"}


def test_a_second_thread_is_refused_as_well(path: Path) -> None:
    found: list[BaseException] = []

    def second() -> None:
        try:
            trained("numpy", epochs=1, checkpoint=path)
        except CannotWriteError as error:
            found.append(error)

    with persistence.locked(path):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert len(found) == 1


def test_one_at_a_time_of_many(path: Path) -> None:
    """Threads that take the lock and remove its file, over and over: never two at once."""
    inside, most, failed = [0], [0], [0]
    guard = threading.Lock()

    def work() -> None:
        for _ in range(300):
            try:
                with persistence.locked(path):
                    with guard:
                        inside[0] += 1
                        most[0] = max(most[0], inside[0])
                    time.sleep(0)
                    with guard:
                        inside[0] -= 1
            except CannotWriteError:
                failed[0] += 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == 1
    assert list(path.parent.iterdir()) == []


# The command line

TRAIN = [
    "train", str(Path(gn.__file__).with_name("bdiag.csv")), "--target", "diagnosis",
    "--features", "texture_mean,radius_mean", "--hidden", "6x3",
]  # fmt: skip


def glassnet(*arguments: object, **more: Any) -> subprocess.CompletedProcess[str]:
    """What a command does, in a process of its own."""
    command = [sys.executable, "-m", "glassnet", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=600, **more)


def started(*arguments: object, until: Path) -> subprocess.Popen[str]:
    """A command that has written a checkpoint."""

    def now() -> tuple[int, ...]:
        return (until.stat().st_ino, until.stat().st_mtime_ns) if until.exists() else ()

    before = now()
    process = subprocess.Popen(
        [sys.executable, "-m", "glassnet", *map(str, arguments)], text=True, env=ENVIRONMENT,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    while now() == before and process.poll() is None:
        time.sleep(0.05)
    return process


# Some seconds of work each: many networks; one.
LONG = {"many starts": ["--starts", 30, "--epochs", 3000], "one start": ["--starts", 1, "--epochs", 50_000]}


@on_posix
@pytest.mark.parametrize("how", LONG)
def test_a_killed_command_is_gone_on_with(how: str, path: Path, tmp_path: Path) -> None:
    job, kept = [*TRAIN, *LONG[how], "--json"], ["--checkpoint", path]
    expected = glassnet(*job, "-o", tmp_path / "expected")
    assert expected.returncode == 0, expected.stderr

    second = (signal.SIGTERM, 143) if how == "many starts" else (signal.SIGINT, 130)
    for number, status in ((signal.SIGKILL, -9), second):
        process = started(*job, *kept, "--resume", "-o", tmp_path / "model", until=path)
        before = checkpoints.standing(path)
        time.sleep(0.3)
        process.send_signal(number)
        output, messages = process.communicate(timeout=90)
        if output:
            break  # it was too fast; then what follows is a training that is finished
        assert (process.returncode, output) == (status, "")
        if number != signal.SIGKILL:
            assert "--resume goes on from there" in messages
            assert "interrupted" in messages
        assert before.split(":")[0] == str(path)
        assert not (tmp_path / "model").exists()
    again = glassnet(*job, *kept, "--resume", "-o", tmp_path / "model")
    assert again.returncode == 0, again.stderr
    assert " in it " in again.stderr
    assert json.loads(again.stdout) | {"model": ""} == json.loads(expected.stdout) | {"model": ""}
    assert (tmp_path / "model").read_bytes() == (tmp_path / "expected").read_bytes()
    assert not [place for place in tmp_path.iterdir() if place.name.startswith(".")]


@on_posix
def test_a_command_whose_checkpoint_may_not_grow_ends_with_73(path: Path, tmp_path: Path) -> None:
    quick = [*TRAIN, "--starts", "2", "--epochs", "2", "--checkpoint", str(path), "-o", str(tmp_path / "model")]
    program = (
        "import resource, sys; from glassnet.cli import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); main(sys.argv[1:])"
    )
    command = [sys.executable, "-c", program, *quick]
    found = subprocess.run(command, capture_output=True, env=ENVIRONMENT, text=True)
    assert (found.returncode, found.stdout) == (73, "")
    assert "File too large" in found.stderr
    assert "Traceback" not in found.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("holder")
def test_the_command_refuses_in_one_message(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quick = [*TRAIN, "--starts", 2, "--epochs", 2]
    model = tmp_path / "model"
    other = tmp_path / "other"

    def run(*arguments: object) -> tuple[int, str, list[str]]:
        with pytest.raises(SystemExit) as ended:
            cli.main([*map(str, arguments)])
        out, messages = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, out, [line for line in messages.splitlines() if " in it " not in line]

    assert run(*quick, "--checkpoint", other)[0] == 0
    for arguments, status, rule in (
        (["--checkpoint", path], 73, "another is writing this one"),
        (["-o", path], 73, "another is writing this one"),
        (["--resume"], 2, "name it with --checkpoint"),
        (["--checkpoint", model, "-o", model], 2, "place of the checkpoint"),
        (["--checkpoint", TRAIN[1]], 2, "place of the data"),
        (["--checkpoint", tmp_path / "absent" / "file"], 73, "no folder"),
        (["--checkpoint", other], 2, "not overwritten"),
        (["--checkpoint", other, "--resume", "--seed", 1], 2, "random state 0, this one has 1"),
        (["--checkpoint", other, "--resume", "--hidden", 3], 2, "network"),
        (["--checkpoint", other, "--resume", "--features", "area_mean,radius_mean"], 2, "training rows are others"),
    ):
        found, out, said = run(*quick, *arguments)
        assert (found, out, len(said)) == (status, "", 1), said
        assert rule in said[0]
        assert not model.exists()


@pytest.mark.parametrize("engine", ["compiled", "numpy"])
@pytest.mark.parametrize("job", ["patience", "groups", "own rows", "lbfgs"])
def test_networks_that_are_watched_by_held_out_rows(job: str, engine: str, tmp_path: Path) -> None:
    """Kept and gone on with, many networks have the bits, and the held-out losses, of those that are not kept."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3))
    y = (X[:, 0] + X[:, 1] ** 2 > 0.5).astype(float)
    settings: dict[str, dict[str, Any]] = {
        "patience": {"optimizer": gn.Adam(0.02), "patience": 5},
        "groups": {"optimizer": gn.Adam(0.02), "patience": 5, "l1": np.array([0, 0.001, 0, 0.001])},
        "own rows": {"optimizer": gn.Adam(0.02), "rows": [np.arange(n) for n in (100, 200, 100, 200)]},
        "lbfgs": {"optimizer": gn.LBFGS()},
    }
    network = gn.Network((3, 5, 1), "tanh")
    alike = {"size": 4, "epochs": 40, "held_out": (X[:80], y[:80]), "engine": engine, "random_state": 1}
    alone = gn.train_population(network, X, y, **alike, **settings[job])
    for resume in (False, True):
        kept = gn.train_population(network, X, y, checkpoint=tmp_path / "kept", resume=resume, **alike, **settings[job])
        assert np.array_equal(kept.parameters.vector, alone.parameters.vector)
        assert np.array_equal(kept.held_out_losses, alone.held_out_losses, equal_nan=True)
