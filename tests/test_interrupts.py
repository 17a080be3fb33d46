"""Ctrl-C: what is done comes back, at once and whole. No times are asserted; what does not answer is ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import glassnet as gn
from glassnet import dispatch, minimization, populations
from glassnet.kernels import compiled, jobs
from glassnet.kernels.threads import in_threads
from glassnet.network import Network, Parameters
from glassnet.waiting import result_of

pytestmark = pytest.mark.skipif(os.name != "posix", reason="a process is sent Ctrl-C alone on POSIX")

BEGIN = '''
import numpy as np
import glassnet as gn
from glassnet.kernels import compiled, jobs
rng = np.random.default_rng(0)
X = rng.normal(size=(200, 3))
y = (X[:, :1] * X[:, 1:2] > 0) * 1.0
network = gn.Network((3, 4, 1), "tanh")
for optimizer in (None, gn.SGD(0.01), gn.SGD(0.01, momentum=0.5)):  # so that nothing is left to compile
    for dropout in (0.0, 0.5):
        gn.train(network, X, y, epochs=1, engine="compiled", optimizer=optimizer, dropout=dropout)
def ready():
    print("ready", flush=True)
def ready_when_it_trains():
    """Once the threads that train are about to begin."""
    run = jobs.Job.run
    def begun(self, *given):
        jobs.Job.run = run
        ready()
        return run(self, *given)
    jobs.Job.run = begun
'''
ONE = """
print(run.stop_reason, run.engine_used, len(run.history.loss) == run.counters["epochs"] + 1)
print(run.counters["epochs"] > 0, np.isfinite(run.history.loss).all(), np.isfinite(run.parameters.vector).all())
"""
MANY = """
print(many.interrupted, 3 <= len(many) < 5000, len(many) == len(many.losses) == len(many.initial.vector))
again = gn.train_population(network, X, y, size=3, **settings)
print(np.isfinite(many.losses).all(), (again.parameters.vector == many.parameters.vector[:3]).all())
last = gn.train(network, X, y, start=len(many) - 1, **settings)
print((last.parameters.vector == many.parameters.vector[-1]).all(), (last.history.loss == many.losses[-1]).all())
"""


def interrupted(program: str, *, times: int = 1) -> list[str]:
    """The words a program prints after "ready" and a Ctrl-C, or several."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", BEGIN + program], env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        if first != "ready\n":
            pytest.fail(first + "".join(process.communicate(timeout=120)))
        for _ in range(times):
            time.sleep(0.7)  # from the word to the work
            process.send_signal(signal.SIGINT)
        output, messages = process.communicate(timeout=90)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, messages) == (0, "")
    return output.removeprefix("ready\n").split()


TRAININGS = {
    "all rows": "epochs=5_000_000",
    "batches": "epochs=1_000_000, batch_size=16",
    "dropout": "epochs=1_000_000, dropout=0.5",
    "held-out rows, and hardly any others": "epochs=20_000, held_out=(np.tile(X, (1000, 1)), np.tile(y, (1000, 1)))",
    "patience": "epochs=5_000_000, held_out=(X, y), patience=9_000_000",
}


@pytest.mark.parametrize("settings", TRAININGS.values(), ids=TRAININGS)
def test_a_training_comes_back_as_it_is_then(settings: str) -> None:
    words = interrupted(f"""
ready_when_it_trains()
few = slice(2) if "held_out" in {settings!r} else slice(None)
run = gn.train(network, X[few], y[few], engine="compiled", optimizer=gn.SGD(0.01), {settings})
{ONE}""")
    assert words == ["interrupted", "compiled", "True", "True", "True", "True"]


def test_it_can_be_resumed_in_the_middle_of_an_epoch() -> None:
    """An epoch of 50,000 batches: it is in its middle, and the updates made are those of an undisturbed training."""
    words = interrupted("""
X, y = np.tile(X, (1000, 1)), np.tile(y, (1000, 1))
settings = dict(batch_size=4, engine="compiled", optimizer=gn.SGD(0.01, momentum=0.5), epochs=300)
ready_when_it_trains()
run = gn.train(network, X, y, **settings)
from glassnet.runs import Data, Members, Spec
spec = Spec(gn.SGD(0.01, momentum=0.5), 300, 4)
def continued(vectors, first, last, state=None):
    data, members = Data.checked(network, X, y, None), Members.of(spec, np.array([0]))
    return compiled.train(network, spec, data, vectors, members, first_step=first, last_step=last, state=state)[0]
made = run.counters["steps"]
same = continued(run.initial.vector[np.newaxis], 0, made)
print(run.stop_reason, made % 50_000 > 0, (same.vectors[0] == run.parameters.vector).all())
state = {name: value[np.newaxis] for name, value in run.optimizer_state.items()}
onwards = continued(run.parameters.vector[np.newaxis], made, made + 99, state)
straight = continued(run.initial.vector[np.newaxis], 0, made + 99)
print((onwards.vectors == straight.vectors).all(), np.isfinite(run.objective))
""")
    assert words == ["interrupted", "True", "True", "True", "True"]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "settings", ["epochs=5_000", "epochs=2_000, batch_size=16, dropout=0.5, optimizer=gn.SGD(0.1)"]
)
def test_a_population_comes_back_with_the_networks_that_are_whole(settings: str, threads: int) -> None:
    words = interrupted(f"""
settings = dict(engine="compiled", {settings})
said = []
def progress(n):
    if n >= 3 and not said:
        said.append(n)
        ready()
many = gn.train_population(network, X, y, size=5000, threads={threads}, progress=progress, **settings)
{MANY}""")
    assert words == ["True"] * 7


def test_a_population_of_which_none_is_whole_is_empty() -> None:
    words = interrupted("""
ready_when_it_trains()
settings = dict(epochs=5_000_000, engine="compiled", optimizer=gn.SGD(0.01))
many = gn.train_population(network, X, y, size=3, threads=2, **settings)
print(many.interrupted, len(many), many.parameters.vector.shape, many.losses.shape[0])
""")
    assert words == ["True", "0", "(0,", "21)", "0"]


def test_networks_in_groups_come_back_up_to_the_first_that_is_not_whole() -> None:
    """With and without a penalty they are trained by two kernels, one group after the other."""
    words = interrupted("""
penalties = np.array([0.0, 0.0, 0.0, 0.1] * 1000)
said = []
def progress(n):
    if n >= 3 and not said:
        said.append(n)
        ready()
many = gn.train_population(network, X, y, size=4000, l2=penalties, epochs=5_000, engine="compiled", progress=progress)
again = gn.train_population(network, X, y, size=3, epochs=5_000, engine="compiled")
print(many.interrupted, len(many), (again.parameters.vector == many.parameters.vector).all())
""")
    assert words == ["True", "3", "True"]


def test_a_second_one_changes_nothing() -> None:
    words = interrupted(
        """
ready_when_it_trains()
import time
try:
    run = gn.train(network, X, y, epochs=5_000_000, engine="compiled", optimizer=gn.SGD(0.01))
    print(run.stop_reason)
    time.sleep(5)
except KeyboardInterrupt:
    print("and the program may be ended")
""",
        times=2,
    )
    assert words == ["interrupted", "and", "the", "program", "may", "be", "ended"]


@pytest.mark.parametrize("engine", ["compiled", "numpy"])
def test_lbfgs_comes_back(engine: str) -> None:
    times = 30 if engine == "numpy" else 1000  # an iteration takes a while: none comes to an end
    words = interrupted(f"""
slow = gn.LBFGS(gradient_tolerance=0.0, change_tolerance=0.0)
X, y = np.tile(X, ({times}, 1)), np.tile((rng.uniform(size=(200, 1)) > 0.5) * 1.0, ({times}, 1))
network = gn.Network((3, 40, 1), "tanh")
gn.train(network, X, y, epochs=1, optimizer=slow, engine="{engine}")
ready()
run = gn.train(network, X, y, epochs=10**6, optimizer=slow, engine="{engine}")
print(run.stop_reason, np.isfinite(run.objective))
""")
    assert words == ["interrupted", "True"]


@pytest.mark.parametrize("engine", ["compiled", "numpy"])
def test_networks_that_lbfgs_has_not_begun_are_not_whole(engine: str) -> None:
    """Ctrl-C comes just when one network is done."""
    rng = np.random.default_rng(0)
    X, network, begun = rng.normal(size=(30, 3)), Network((3, 4, 1), "tanh"), []

    def pressed(n: int) -> None:
        begun.append(n)
        if n == 2:
            raise KeyboardInterrupt

    settings: dict[str, Any] = {"optimizer": gn.LBFGS(), "epochs": 100, "engine": engine, "threads": 1}
    many = gn.train_population(network, X, X[:, 0] * X[:, 1] > 0, size=400, progress=pressed, **settings)
    assert many.interrupted
    assert 2 <= len(many) < 400
    for k in (0, len(many) - 1):
        alone = gn.train(
            network, X, X[:, 0] * X[:, 1] > 0, start=k, **{k: v for k, v in settings.items() if k != "threads"}
        )
        np.testing.assert_array_equal(many.start(k).vector, alone.parameters.vector)
    assert all(np.isfinite(many.losses[:, 1]))


def test_half_a_replay_and_half_a_piece_of_steps_are_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C comes out of `trace` and `steps`: they would have nothing right to say."""
    X, network = np.random.default_rng(0).normal(size=(30, 3)), Network((3, 4, 1), "tanh")
    settings: dict[str, Any] = {"epochs": 50, "batch_size": 7, "engine": "compiled"}
    run = gn.train(network, X, X[:, 0] > 0, **settings)
    trained, stopped = jobs.Job.run, []

    def pressed(self: Any, *given: Any) -> int:
        self.stop[0] = len(stopped) > 1  # as Ctrl-C does, in the third piece
        stopped.append(self)
        return trained(self, *given)

    monkeypatch.setattr(jobs.Job, "run", pressed)
    monkeypatch.setattr(compiled, "A_MOMENT", 1.0)
    monkeypatch.setattr(dispatch, "SMALL_JOB", 1e4)  # pieces of a few epochs
    losses: list[float] = []
    with pytest.raises(KeyboardInterrupt):
        losses.extend(step.loss for step in gn.steps(network, X, X[:, 0] > 0, **settings))
    assert 0 < len(losses) < 250  # what came before stays in the list
    assert np.isfinite(losses).all()
    with pytest.raises(KeyboardInterrupt):
        run.trace(40)


@pytest.mark.parametrize("optimizer", [gn.SGD(0.1), gn.LBFGS()])
@pytest.mark.parametrize("size", [1, 9])
def test_ctrl_c_when_a_piece_has_just_ended_ends_the_training(
    size: int, optimizer: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The main thread sleeps until a piece ends; a signal that another thread took finds it when it wakes."""
    network, pieces = Network((3, 4, 1), "tanh"), []
    X = np.random.default_rng(0).normal(size=(30, 3))
    settings: dict[str, Any] = {"optimizer": optimizer, "epochs": 60, "l2": 0.1, "engine": "compiled", "threads": 1}
    settings |= {"checkpoint": tmp_path / "kept"}

    def late(works: Any, stop: Any) -> None:
        in_threads(works, stop)
        pieces.append(stop)
        stop[0] = len(pieces) == 3

    def late_as_well(future: Any) -> Any:
        pieces.append(future.result())
        if len(pieces) == 3:
            raise KeyboardInterrupt
        return pieces[-1]

    monkeypatch.setattr(jobs, "in_threads", late)
    monkeypatch.setattr(minimization, "result_of", late_as_well)
    monkeypatch.setattr(compiled, "A_MOMENT", 0)
    monkeypatch.setattr(populations, "_A_PART", 0.0)
    if size == 1:
        run = gn.train(network, X, X[:, 0] > 0, **settings)
        assert run.stop_reason == "interrupted"
        assert 0 < run.counters["epochs"] < 60
        resumed = gn.train(network, X, X[:, 0] > 0, resume=True, **settings).parameters
    else:
        many = gn.train_population(network, X, X[:, 0] > 0, size=size, **settings)
        assert many.interrupted
        assert 0 < len(many) < size
        resumed = gn.train_population(network, X, X[:, 0] > 0, size=size, resume=True, **settings).parameters
    settings.pop("checkpoint")
    whole: Any = gn.train(network, X, X[:, 0] > 0, **settings)
    if size > 1:
        whole = gn.train_population(network, X, X[:, 0] > 0, size=size, **settings)
    np.testing.assert_array_equal(resumed.vector, whole.parameters.vector)


def test_an_error_of_progress_ends_it_all() -> None:
    network = Network((3, 4, 1), "tanh")
    X = np.random.default_rng(0).normal(size=(200, 3))

    def fails(n: int) -> None:
        raise RuntimeError("no more room on the screen")

    with pytest.raises(RuntimeError, match="no more room"):
        gn.train_population(
            network, X, X[:, 0] > 0, size=500, epochs=2000, progress=fails, engine="compiled", threads=2
        )  # fmt: skip
    assert Parameters(network, np.zeros(network.n_parameters)).vector.size  # and this process goes on


def test_a_signal_that_another_thread_takes_is_not_lost() -> None:
    """It wakes nobody: as one does that comes while the main thread goes to sleep."""
    never: Future[None] = Future()
    timer = threading.Timer(0.1, lambda: signal.pthread_kill(threading.get_ident(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        result_of(never)
    timer.join()


def test_a_result_that_is_waited_for_is_the_thread_s_own() -> None:
    future: Future[int] = Future()
    timer = threading.Timer(0.25, future.set_result, [3])  # more than one look
    timer.start()
    assert result_of(future) == 3
    timer.join()
    late: Future[int] = Future()
    late.set_exception(TimeoutError("its own"))
    with pytest.raises(TimeoutError, match="its own"):
        result_of(late)
