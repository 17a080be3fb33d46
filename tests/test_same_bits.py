"""One machine, one seed: the same bits for any number of threads, alone or in company, interrupted or not, and while
other processes are busy or not."""

from __future__ import annotations

import gc
import hashlib
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any

import numpy as np
import pytest

import glassnet as gn
from glassnet.errors import DataError, GlassnetError, UsageError
from glassnet.kernels import compiled, engines, jobs
from glassnet.kernels.threads import move_to_processor
from glassnet.network import Network
from glassnet.optimizers import LBFGS
from glassnet.runs import Data, Members, Outcome, Spec

RNG = np.random.default_rng(12)
X = RNG.normal(size=(60, 3))
Y = (X[:, :1] * X[:, 1:2] + 0.3 * RNG.normal(size=(60, 1)) > 0).astype(float)
WEIGHTS = RNG.uniform(0.5, 2, 60)
NETWORKS = {"unrolled": Network((3, 4, 1), "tanh"), "tiled": Network((3, 17, 9, 1), ("gelu", "elu"))}
SETTINGS: dict[str, dict[str, Any]] = {
    "all rows": {"optimizer": gn.SGD(0.1, momentum=0.9), "l2": 0.01},
    "batches": {"optimizer": gn.Adam(0.01), "batch_size": 7, "l1": 0.001},
    "dropout": {"optimizer": gn.AdamW(gn.WarmUp(0.01, updates=9)), "batch_size": 16, "dropout": 0.3},
    "a schedule": {"optimizer": gn.RMSprop(gn.Cosine(0.01)), "batch_size": 25},
}
CASES = list(product(NETWORKS, SETTINGS))


def digest(*parts: Any) -> str:
    """A hash of all bits of arrays, of what type they are and in which shape."""
    total = hashlib.sha256()
    for part in parts:
        array = np.ascontiguousarray(part)
        total.update(f"{array.shape}{array.dtype}".encode() + array.tobytes())
    return total.hexdigest()


def digest_of(run: gn.Run) -> str:
    state = [run.optimizer_state[name] for name in sorted(run.optimizer_state)]
    return digest(run.parameters.vector, run.history.loss, run.objective, *state)


def test_the_comparison_can_fail() -> None:
    one = np.array([1.0, -2.0])
    assert digest(one) == digest(one.copy())
    off = one.copy()
    off[1] = np.nextafter(-2.0, 0)
    for other in (off, one.astype(np.float32), one[np.newaxis], np.array([1.0, -2.0, 0.0])):
        assert digest(other) != digest(one)
    run = gn.train(NETWORKS["unrolled"], X, Y, epochs=2, engine="compiled")
    assert digest_of(run) != digest_of(gn.train(NETWORKS["unrolled"], X, Y, epochs=2, engine="compiled", start=1))


@pytest.fixture
def in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small jobs as large ones: in threads, a few networks at a time."""
    monkeypatch.setattr(compiled, "A_MOMENT", 1e3)


@pytest.mark.usefixtures("in_pieces")
@pytest.mark.parametrize("number", ["float64", "float32"])
@pytest.mark.parametrize(("kind", "settings"), CASES)
def test_threads_and_company_and_being_alone(kind: str, settings: str, number: str) -> None:
    network, table = NETWORKS[kind], X.astype(number)
    given: dict[str, Any] = SETTINGS[settings] | {"epochs": 8, "row_weights": WEIGHTS, "random_state": 5}
    found = set()
    for threads in (1, 2, 4, None):
        many = gn.train_population(network, table, Y, size=9, engine="compiled", threads=threads, **given)
        found.add(digest(many.parameters.vector, many.losses, many.objectives, many.dead_since, many.stuck_since))
    assert len(found) == 1
    assert many.engine_used == "compiled"
    fewer = gn.train_population(network, table, Y, size=3, engine="compiled", **given)
    assert digest(fewer.parameters.vector, fewer.losses) == digest(many.parameters.vector[:3], many.losses[:3])
    for k in (0, 1, 8):
        alone = gn.train(network, table, Y, start=k, engine="compiled", **given)
        assert digest(alone.parameters.vector) == digest(many.parameters.vector[k])
        assert digest(alone.history.loss) == digest(many.losses[k])
        assert alone.objective == pytest.approx(many.objectives[k], rel=1e-6)


@pytest.fixture
def lent(monkeypatch: pytest.MonkeyPatch) -> list[jobs._Memory]:
    """The memories that jobs were given, of plans made from now on."""
    given: list[jobs._Memory] = []
    memory = jobs._Plan.memory
    monkeypatch.setattr(jobs._Plan, "memory", lambda plan: given.append(memory(plan)) or given[-1])
    jobs._kept_plan.cache_clear()
    return given


def outcome_of(seed: int, size: int, *, stop: bool = False, held: bool = False) -> Outcome:
    """A training from start number `seed`, some of which diverge; stopped before its first update, perhaps."""
    network = Network((3, 4, 1), "relu", "mean_squared_error")
    spec = Spec(ADAM if seed % 2 else SGD, epochs=30, random_state=seed)
    data, members = Data.checked(network, 1e3 * X if seed == 4 else X, Y, None), Members.of(spec, np.arange(size))
    vectors = np.stack([gn.initialize(network, seed, start=k).vector for k in range(size)])
    return compiled.train(
        network,
        spec,
        data,
        vectors,
        members,
        held_out=data if held else None,
        stop=np.ones(1, np.int64) if stop else None,
    )[0]


SGD, ADAM = gn.SGD(0.1), gn.Adam(0.05)


def digest_of_outcome(outcome: Outcome) -> str:
    parts = [value for value in vars(outcome).values() if isinstance(value, np.ndarray)]
    return digest(*parts, *outcome.optimizer_state.values(), outcome.n_finished)


@pytest.mark.parametrize("size", [1, 4])
def test_memory_that_goes_from_job_to_job_takes_nothing_along(size: int, lent: list[jobs._Memory]) -> None:
    """Trainings one after the other and at once, that diverge, that are stopped, with held-out rows and without: each
    leaves what it leaves by itself, whatever comes after it."""
    asked: list[dict[str, Any]] = [
        {"seed": 0}, {"seed": 1}, {"seed": 4}, {"seed": 0, "stop": True}, {"seed": 2}, {"seed": 1, "held": True},
        {"seed": 3}, {"seed": 3, "held": True},
    ]  # fmt: skip
    alone = []
    for one in asked:
        jobs._kept_plan.cache_clear()
        alone.append(digest_of_outcome(outcome_of(size=size, **one)))
    assert len(set(alone)) == len(asked)
    lent.clear()
    jobs._kept_plan.cache_clear()
    kept = [outcome_of(size=size, **one) for one in asked * 2]
    assert len(set(map(id, lent))) < len(lent) / 2
    with ThreadPoolExecutor(8) as pool:
        kept += pool.map(lambda one: outcome_of(size=size, **one), asked * 10)
    assert [*map(digest_of_outcome, kept)] == alone * 12
    assert kept[2].diverged_at.max() > 0
    assert kept[3].n_finished == 0


def test_a_plan_that_is_not_kept_is_gone(lent: list[jobs._Memory]) -> None:
    outcome_of(0, 1)
    lent.clear()
    (plan,) = [plan for plan in gc.get_objects() if isinstance(plan, jobs._Plan)]
    gone = weakref.ref(plan)
    gc.disable()
    try:
        del plan
        jobs._kept_plan.cache_clear()
        assert gone() is None
    finally:
        gc.enable()


ROWS = [np.arange(60), np.arange(0, 60, 2), np.arange(59, 3, -1), np.array([7]), np.r_[3:40, 3:40], np.arange(50, 60)]


@pytest.mark.usefixtures("in_pieces")
@pytest.mark.parametrize("number", ["float64", "float32"])
@pytest.mark.parametrize(("kind", "settings"), CASES)
def test_networks_that_differ_in_everything_are_each_as_if_alone(kind: str, settings: str, number: str) -> None:
    """Rows, learning rates, l1, l2 and seeds of their own, in one call."""
    network, table = NETWORKS[kind], X.astype(number)
    given: dict[str, Any] = SETTINGS[settings] | {"epochs": 6}
    own: dict[str, Any] = {
        "l1": np.array([0.0, 0.01, 0.0, 0.1, 0.02, 0.0]),
        "l2": np.array([0.1, 0.0, 0.0, 0.2, 0.0, 0.0]),
        "random_state": np.array([1, 5, 5, 2**63 + 9, 0, 3], np.uint64),
    }
    rates = None
    if not isinstance(given["optimizer"].learning_rate, gn.optimizers.Schedule):
        rates = own["learning_rates"] = np.array([0.1, 0.01, 0.0, 0.3, 0.02, 0.05])
    many = gn.train_population(
        network, table, Y, size=6, rows=ROWS, row_weights=WEIGHTS, engine="compiled", threads=3, **(given | own)
    )
    for k, rows in enumerate(ROWS):
        optimizer = given["optimizer"]
        if rates is not None:
            optimizer = type(optimizer)(**(vars(optimizer) | {"learning_rate": float(rates[k])}))
        mine = {"optimizer": optimizer, "random_state": int(own["random_state"][k])}
        mine |= {name: float(own[name][k]) for name in ("l1", "l2")}
        alone = gn.train(
            network, table[rows], Y[rows], row_weights=WEIGHTS[rows], engine="compiled", **(given | mine)
        )  # fmt: skip
        assert digest(alone.parameters.vector) == digest(many.parameters.vector[k]), k
        assert digest(alone.history.loss) == digest(many.losses[k]), k
        assert alone.objective == pytest.approx(many.objectives[k], rel=1e-6)


@pytest.mark.parametrize(("kind", "settings"), CASES)
def test_folds_are_what_the_numpy_engine_makes_of_them(kind: str, settings: str) -> None:
    network, given = NETWORKS[kind], SETTINGS[settings] | {"epochs": 6, "rows": ROWS, "size": 6}
    by_numpy = gn.train_population(network, X, Y, engine="numpy", **given)
    many = gn.train_population(network, X, Y, engine="compiled", **given)
    np.testing.assert_allclose(many.parameters.vector, by_numpy.parameters.vector, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(many.losses, by_numpy.losses, rtol=1e-9)


@pytest.mark.parametrize("settings", ["all rows", "batches", "dropout"])
@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("engine", ["compiled", "numpy"])
def test_resumed_half_way_or_not(engine: str, kind: str, settings: str) -> None:
    network = NETWORKS[kind]
    given: dict[str, Any] = SETTINGS[settings] | {"row_weights": WEIGHTS, "engine": engine, "held_out": (X[:9], Y[:9])}
    whole = gn.train(network, X, Y, epochs=30, **given)
    run = gn.train(network, X, Y, epochs=0, **given)
    for epochs in (1, 1, 13, 30):
        run = gn.train(network, X, Y, epochs=epochs, resume=run, **given)
        assert run.counters["epochs"] == epochs
    assert digest_of(run) == digest_of(whole)
    assert run.history.held_out_loss is not None
    assert whole.history.held_out_loss is not None
    assert digest(run.history.held_out_loss) == digest(whole.history.held_out_loss)
    assert digest(run.initial.vector) == digest(whole.initial.vector)
    assert digest(run.trace(20).parameters.vector) == digest(whole.trace(20).parameters.vector)
    assert run.trace(20).loss == pytest.approx(whole.trace(20).loss)


@pytest.mark.parametrize("engine", ["compiled", "numpy"])
def test_resuming_what_is_another_training_is_refused(engine: str) -> None:
    network, given = NETWORKS["unrolled"], {"engine": engine}
    run = gn.train(network, X, Y, epochs=5, **given)
    for other, rule in (
        ({"l2": 0.1}, "same network, settings"),
        ({"optimizer": gn.Adam(0.002)}, "same network, settings"),
        ({"random_state": 1}, "same network, settings"),
        ({"row_weights": WEIGHTS}, "same rows"),
        ({"epochs": 4}, "epochs"),
        ({"patience": 3, "held_out": (X, Y)}, "patience"),
        ({"engine": "numpy" if engine == "compiled" else "compiled"}, "engine"),
    ):
        with pytest.raises(UsageError, match=rule):
            gn.train(network, X, Y, resume=run, **({"epochs": 9} | given | other))
    same = gn.train(network, X, Y, epochs=5, resume=run, **given)
    assert digest_of(same) == digest_of(run)


@pytest.mark.parametrize("engine", ["compiled", "numpy"])
@pytest.mark.parametrize("schedule", [gn.Cosine(0.1), gn.OneCycle(0.1)])
def test_rates_that_depend_on_all_epochs_are_not_resumed_to_others(schedule: Any, engine: str) -> None:
    """The half that is made would have been another half."""
    given: dict[str, Any] = {"optimizer": gn.SGD(schedule), "engine": engine}
    run = gn.train(NETWORKS["unrolled"], X, Y, epochs=5, **given)
    with pytest.raises(UsageError, match="another number of epochs"):
        gn.train(NETWORKS["unrolled"], X, Y, epochs=10, resume=run, **given)
    constant = gn.train(NETWORKS["unrolled"], X, Y, epochs=5, optimizer=gn.SGD(gn.InverseScaling(0.1)), engine=engine)
    gn.train(
        NETWORKS["unrolled"], X, Y, epochs=10, optimizer=gn.SGD(gn.InverseScaling(0.1)), engine=engine, resume=constant
    )


@pytest.mark.parametrize(("kind", "settings"), CASES)
def test_stopped_after_any_step_or_not(kind: str, settings: str) -> None:
    """In the middle of an epoch, too."""
    network, given = NETWORKS[kind], SETTINGS[settings]
    spec = Spec(epochs=3, **given)
    data = Data.checked(network, X, Y, WEIGHTS)
    members = Members.of(spec, np.array([4]))
    begin = gn.initialize(network, 0, start=4).vector[np.newaxis]
    whole, _ = compiled.train(network, spec, data, begin, members)
    n_updates = 3 * (1 if spec.batch_size is None else -(-60 // spec.batch_size))
    for cut in range(1, n_updates):
        first, _ = compiled.train(network, spec, data, begin, members, last_step=cut)
        second, _ = compiled.train(
            network, spec, data, first.vectors, members, state=first.optimizer_state, first_step=cut
        )
        assert digest(second.vectors, *second.optimizer_state.values()) == digest(
            whole.vectors, *whole.optimizer_state.values()
        )
        assert (first.n_steps[0], second.n_steps[0], second.n_epochs[0]) == (cut, n_updates, 3)


def test_steps_go_where_train_does() -> None:
    """`steps` trains in pieces; the last one's records are those of the end."""
    network = NETWORKS["tiled"]
    given: dict[str, Any] = SETTINGS["batches"] | {"epochs": 4, "engine": "compiled"}
    run = gn.train(network, X, Y, **given)
    records = list(gn.steps(network, X, Y, **given))
    assert len(records) == run.counters["steps"]
    by_epochs = np.array([record.loss for record in records]).reshape(4, -1)
    batches = np.array([7] * 8 + [4]) / 60
    np.testing.assert_allclose(by_epochs @ batches, run.history.loss[1:], rtol=1e-12)


def test_other_processes_busy_or_not() -> None:
    network = NETWORKS["tiled"]
    given: dict[str, Any] = SETTINGS["batches"] | {"epochs": 300, "size": 8, "engine": "compiled", "threads": 2}

    def trained() -> str:
        return digest(gn.train_population(network, X, Y, **given).parameters.vector)

    quiet = trained()
    busy = [subprocess.Popen([sys.executable, "-c", "while True: sum(range(10**5))"]) for _ in range(3)]
    try:
        assert all(process.poll() is None for process in busy)
        assert {trained() for _ in range(3)} == {quiet}
    finally:
        for process in busy:
            process.kill()
            process.wait()


def test_trainings_in_several_threads_of_one_process() -> None:
    """Also where each has a kernel of its own to compile first."""
    networks = [Network((3, units, 1), "softsign") for units in (1, 2, 3, 1, 2, 3)]

    def trained(network: Network) -> str:
        return digest_of(gn.train(network, X, Y, engine="compiled", epochs=40, batch_size=9))

    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(trained, networks))
    assert together == [trained(network) for network in networks]
    assert len(set(together)) == 3


def test_another_process_has_the_same_bits() -> None:
    program = """
import numpy as np
import glassnet as gn
rng = np.random.default_rng(3)
X = rng.normal(size=(50, 3))
run = gn.train(gn.Network((3, 17, 9, 1), ("gelu", "elu")), X, X[:, 0] > 0, epochs=20, batch_size=9, engine="compiled")
print(run.parameters.vector.tobytes().hex())
"""
    found = set()
    for seed in ("0", "1"):  # of Python's own hashes, which nothing may depend on
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": seed}
        found.add(
            subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True).stdout
        )
    assert len(found) == 1
    assert len(found.pop()) > 100


@pytest.mark.parametrize("engine", ["compiled", "numpy"])
def test_lbfgs_is_the_same_alone_and_in_company(engine: str) -> None:
    network = NETWORKS["unrolled"]
    given: dict[str, Any] = {"optimizer": LBFGS(), "epochs": 15, "l2": 0.01, "engine": engine}
    many = {
        threads: gn.train_population(network, X, Y, size=4, threads=threads, rows=ROWS[:3] + ROWS[4:5], **given)
        for threads in (1, 3)
    }
    assert digest(many[1].parameters.vector, many[1].losses) == digest(many[3].parameters.vector, many[3].losses)
    for k, rows in enumerate(ROWS[:3] + ROWS[4:5]):
        alone = gn.train(network, X[rows], Y[rows], start=k, **given)
        assert digest(alone.parameters.vector) == digest(many[1].parameters.vector[k])


@pytest.mark.parametrize("engine", ["compiled", "numpy"])
@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"rows": [np.arange(5), X[:, 0] > 0]}, "row numbers"),
        ({"rows": [np.arange(5), [0.5, 1.7]]}, "row numbers"),
        ({"rows": [np.arange(5), [[1, 2], [3, 4]]]}, "row numbers"),
        ({"rows": [np.arange(5), []]}, "row numbers"),
        ({"rows": [np.arange(5), [-1]]}, "row numbers"),
        ({"rows": [np.arange(5), [60]]}, "row numbers"),
        ({"rows": [np.arange(5)]}, "row numbers of each of the 2"),
        ({"rows": [np.arange(5), np.arange(9)], "row_weights": (np.arange(60) > 5) * 1.0}, "weigh"),
        ({"learning_rates": [0.1]}, "one for each of the 2"),
        ({"learning_rates": [0.1, -1]}, "0 or more"),
        ({"learning_rates": [0.1, np.nan]}, "finite"),
        ({"l2": [0.1, np.inf]}, "l2"),
        ({"random_state": [0, -1]}, "seed"),
        ({"random_state": [0.5, 1]}, "seed"),
        ({"size": -2}, "size"),
        ({"threads": 0}, "threads"),
        ({"threads": 1.5}, "threads"),
    ],
)
def test_populations_that_cannot_be_meant(settings: dict[str, Any], rule: str, engine: str) -> None:
    with pytest.raises(GlassnetError, match=rule):
        gn.train_population(NETWORKS["unrolled"], X, Y, **({"size": 2, "epochs": 1, "engine": engine} | settings))


@pytest.mark.parametrize("number", ["float64", "float32"])
@pytest.mark.parametrize(("sizes", "loss"), [((40, 9, 1), "binary_cross_entropy"), ((33, 70, 20, 3), "cross_entropy")])
def test_zeros_passed_over_or_not(
    sizes: tuple[int, ...], loss: str, number: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    table = np.where(rng.random((150, sizes[0])) < 0.03, rng.normal(size=(150, sizes[0])), 0).astype(number)
    table[:, 5] = 0
    classes = rng.integers(0, max(2, sizes[-1]), 150)
    targets = np.eye(sizes[-1])[classes] if sizes[-1] > 1 else classes[:, np.newaxis]
    found = set()
    asked: list[bool] = []
    for skips in (True, False):
        right = engines.Engine.skips_zeros
        monkeypatch.setattr(
            engines.Engine, "skips_zeros", lambda engine, X, s=skips, right=right: asked.append(right(engine, X)) or s
        )
        for optimizer, batch_size in ((gn.Adam(), 70), (LBFGS(), None)):
            run = gn.train(
                Network(sizes, "tanh", loss), table, targets, optimizer=optimizer, batch_size=batch_size, epochs=4,
                engine="compiled", held_out=(table[:50], targets[:50]),
            )  # fmt: skip
            found.add((skips, type(optimizer).__name__, digest_of(run), digest(run.history.held_out_loss)))
        monkeypatch.undo()
    assert all(asked)
    assert len({entry[1:] for entry in found}) == 2


TEAMS: dict[str, tuple[Network, str, dict[str, Any]]] = {
    "unrolled": (
        Network((3, 4, 1), "tanh"), "float64",
        {"optimizer": gn.Adam(0.01), "batch_size": 260, "dropout": 0.2, "l2": 0.01},
    ),
    "all rows": (Network((3, 17, 9, 1), ("gelu", "elu")), "float64", {"optimizer": gn.SGD(0.1), "row_weights": "own"}),
    "patience": (
        Network((3, 17, 1)), "float32", {"optimizer": gn.Adam(0.05), "batch_size": 260, "patience": 2, "l1": 0.001}
    ),
    "many parameters": (Network((3, 80, 60, 1)), "float32", {"optimizer": gn.AdamW(0.01), "batch_size": 260}),
    "diverges": (
        Network((3, 17, 1), loss="mean_squared_error"), "float64", {"optimizer": gn.SGD(1e3), "batch_size": 260}
    ),
    "diverges at once": (Network((3, 4, 1), loss="mean_squared_error"), "float64", {"optimizer": gn.SGD(1e200)}),
}  # fmt: skip


@pytest.fixture
def in_parts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Small jobs as large ones: in parts of 64 rows, which threads share."""
    engines._engine.cache_clear()  # an engine knows its parts
    monkeypatch.setattr(engines, "PART_WORK", 1)
    monkeypatch.setattr(compiled, "A_SHARE", 0)
    yield
    engines._engine.cache_clear()


def team_run(case: str, threads: int | None) -> gn.Run:
    network, number, settings = TEAMS[case]
    rng = np.random.default_rng(8)
    table = rng.normal(size=(330, 3)).astype(number)
    targets = (table[:, :1] * table[:, 1:2] > 0.2).astype(number)
    weights = rng.uniform(0.5, 2, 330) if settings.get("row_weights") else None
    held_out = (table[:150], targets[:150])
    given = settings | {"epochs": 12, "row_weights": weights, "held_out": held_out, "engine": "compiled"}
    return gn.train(network, table, targets, threads=threads, **given)


def digest_of_all(run: gn.Run) -> str:
    said = np.array([*run.counters.values(), len(run.stop_reason)])
    return digest(digest_of(run).encode(), run.history.held_out_loss, said)


@pytest.mark.usefixtures("in_parts")
@pytest.mark.parametrize("case", TEAMS)
def test_one_network_by_several_threads(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    teams = []
    together = jobs.Job.run_together
    monkeypatch.setattr(jobs.Job, "run_together", lambda job: teams.append(job.team) or together(job))
    assert len({digest_of_all(team_run(case, threads)) for threads in (1, 2, 3, 4, 2, 4)}) == 1
    assert max(teams) > 2
    assert ("diverged" in team_run(case, 2).stop_reason) == ("diverges" in case)


def test_parts_change_nothing_but_the_order_of_sums(request: pytest.FixtureRequest) -> None:
    whole = team_run("all rows", 1)
    request.getfixturevalue("in_parts")
    parts = team_run("all rows", 2)
    assert digest(parts.parameters.vector) != digest(whole.parameters.vector)
    # Twelve steps; each rounds some sums of 330 numbers otherwise.
    np.testing.assert_allclose(parts.parameters.vector, whole.parameters.vector, rtol=1e-10)
    np.testing.assert_allclose(parts.history.loss, whole.history.loss, rtol=1e-12)


@pytest.mark.usefixtures("in_parts")
def test_a_thread_that_cannot_start_ends_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    start = threading.Thread.start

    def one_only(thread: threading.Thread) -> None:
        if started:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", one_only)
    with pytest.raises(RuntimeError, match="can't start"):
        team_run("all rows", 2)
    started[0].join(10)
    assert not started[0].is_alive()


@pytest.mark.parametrize("number", ["float64", "float32"])
@pytest.mark.parametrize(
    "optimizer", [gn.Adam(), gn.SGD(0.001), LBFGS()], ids=lambda optimizer: type(optimizer).__name__
)
@pytest.mark.parametrize("sizes", [(4, 3, 1), (40, 20, 1)])
def test_bytes_are_read_as_the_numbers_that_they_are(sizes: tuple[int, ...], optimizer: Any, number: str) -> None:
    rng = np.random.default_rng(4)
    pixels = np.where(rng.random((150, sizes[0])) < 0.2, rng.integers(0, 256, (150, sizes[0])), 0).astype(np.uint8)
    targets = rng.integers(0, 2, 150)
    parameters = gn.initialize(Network(sizes), 3, dtype=number)
    for engine in ("compiled", "numpy"):
        found = set()
        for table in (pixels, pixels.astype(number)):
            run = gn.train(
                Network(sizes), table, targets, optimizer=optimizer, epochs=5, parameters=parameters, engine=engine,
                batch_size=70 if isinstance(optimizer, gn.Adam) else None, held_out=(table[:40], targets[:40]),
            )  # fmt: skip
            assert run.data.X is table
            assert run.parameters.vector.dtype == number
            found.add((digest_of(run), digest(run.history.held_out_loss)))
            if not isinstance(optimizer, LBFGS):
                found.add(digest(run.trace(2).gradient))
        assert len(found) == 1 + (not isinstance(optimizer, LBFGS))


def test_bytes_without_a_start_are_computed_in_float64() -> None:
    pixels = np.arange(40, dtype=np.uint8).reshape(10, 4)
    run = gn.train(Network((4, 1)), pixels, [0, 1] * 5, epochs=3)
    assert run.parameters.vector.dtype == np.float64
    assert digest_of(run) == digest_of(gn.train(Network((4, 1)), pixels.astype(float), [0, 1] * 5, epochs=3))
    assert [step.loss for step in gn.steps(Network((4, 1)), pixels, [0, 1] * 5, epochs=3)] == list(run.history.loss[:3])
    many = gn.train_population(Network((4, 1)), pixels, [0, 1] * 5, epochs=3, size=2)
    assert digest(many.parameters.vector[0]) == digest(run.parameters.vector)


def test_held_out_rows_are_no_bytes_where_the_others_are_none() -> None:
    pixels = np.arange(40, dtype=np.uint8).reshape(10, 4)
    with pytest.raises(DataError, match=r"held_out has rows of the type of X, which is uint8; got float64"):
        gn.train(Network((4, 1)), pixels, [0, 1] * 5, held_out=(pixels / 255, [0, 1] * 5))
    gn.train(Network((4, 1)), pixels / 255, [0, 1] * 5, held_out=(pixels, [0, 1] * 5))


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system does not say where threads run")
def test_threads_begin_apart_and_may_go_anywhere() -> None:
    allowed = os.sched_getaffinity(0)
    for number in range(5):
        move_to_processor(number)
        assert os.sched_getaffinity(0) == allowed
