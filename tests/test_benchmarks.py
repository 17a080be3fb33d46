"""The race's own arithmetic, and that all who race take the same steps; nothing here is timed."""

from __future__ import annotations

import ctypes
import runpy
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import glassnet as gn
from glassnet.kernels import engines
from glassnet.network import initialize
from glassnet.randomness import Purpose, permutation

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def race(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The benchmarks' package: not installed, so found by path."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    import race
    import race.contenders
    import race.figures
    import race.jobs
    import race.report

    return race


@pytest.mark.parametrize("script", sorted(BENCHMARKS.glob("*.py")), ids=lambda script: script.stem)
def test_every_benchmark_finds_what_it_imports(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    try:
        runpy.run_path(str(script), run_name="looked_at")
    except ModuleNotFoundError as missing:
        if str(missing.name).split(".")[0] in ("glassnet", *(found.stem for found in BENCHMARKS.iterdir())):
            raise
        pytest.skip(f"{missing.name} is not installed")


def test_a_ratio_is_taken_within_rounds(race: Any) -> None:
    # The machine is ten times slower in the second round, for both: theirs took three times as long all the same.
    found = race.figures.ratio([3.0, 30.0, 3.0], [1.0, 10.0, 1.0])
    assert (found.median, found.low, found.high) == (3.0, 3.0, 3.0)


def test_the_interval_covers_the_median_as_often_as_it_says(race: Any) -> None:
    rng = np.random.default_rng(0)
    n = 200
    hits = 0
    for _ in range(n):
        found = race.figures.ratio(np.exp(rng.normal(np.log(5), 0.2, 25)), np.ones(25))
        hits += found.low <= 5 <= found.high
    # 95 %, with a standard deviation of sqrt(0.05 * 0.95 / 200) = 1.5 %; the bootstrap of a median is about that good.
    assert 0.90 <= hits / n <= 1


def test_few_rounds_give_a_wide_interval(race: Any) -> None:
    rng = np.random.default_rng(0)
    few, many = (race.figures.ratio(rng.uniform(1, 3, n), np.ones(n)) for n in (5, 500))
    assert few.high - few.low > 3 * (many.high - many.low)


@pytest.mark.parametrize(
    ("values", "most"), [([5, 4, 3], 1.0), ([2, 2, 3], 1.5), ([4, 1, 2, 1], 2.0), ([1, 4, 2, 5], 5.0)]
)
def test_growth_is_the_largest_rise(race: Any, values: list[float], most: float) -> None:
    assert race.figures.growth(values) == most


def counted(sizes: tuple[int, ...], n: int) -> int:
    """Operations of a pass forward and backward, by going through it: a sum, a product, a maximum is one each."""
    operations = 0
    for layer, (n_in, n_out) in enumerate(pairwise(sizes)):
        last = layer == len(sizes) - 2
        for _unit in range(n_out):
            operations += 2 * n_in  # z: a product and an addition each, on top of the bias
            operations += 3 if last else 2  # 1 / (1 + exp), p - y; or relu, times relu'
            operations += 2 * n_in + 1  # gradients: of each weight, of the bias
        operations += 2 * n_in * n_out if layer else 0  # deltas of the layer before
    return operations * n


@pytest.mark.parametrize("sizes", [(2, 2, 1), (30, 16, 1), (7, 5, 4, 3)])
def test_the_work_is_counted_from_the_sizes(race: Any, sizes: tuple[int, ...]) -> None:
    n, epochs = 11, 3
    n_parameters = gn.Network(sizes, loss="binary_cross_entropy").n_parameters
    work = race.figures.work(sizes, n, 4, epochs, "adam")
    assert work.flops == epochs * counted(sizes, n) + 3 * epochs * 14 * n_parameters
    assert work.transcendentals == epochs * n * sizes[-1]


def test_losses_are_work_too(race: Any) -> None:
    alone, of_updates, once_more, twice_more = (
        race.figures.work((2, 2, 1), 100, None, 10, "sgd", more_passes) for more_passes in (None, 0, 1, 2)
    )
    # A logarithm per row and loss, and one exp per row of each pass more.
    assert of_updates.transcendentals == alone.transcendentals + 100 * 10
    assert once_more.transcendentals == alone.transcendentals + 100 * 11 + 100
    assert twice_more.transcendentals == alone.transcendentals + 100 * 12 + 2 * 100
    assert alone.flops < of_updates.flops < once_more.flops < twice_more.flops


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("batch_size", [None, 5])
def test_what_glassnet_passes_over_is_what_is_counted(
    race: Any, batch_size: int | None, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A roofline of more passes than are made would flatter. A kernel of Python's counts rows of passes forward."""
    job = small_job(race, batch_size, "sgd")
    network, seen = gn.Network(job.sizes), []
    given = engines._GRADIENT.split("(")[1].rstrip(")").split(", ")

    @ctypes.CFUNCTYPE(ctypes.c_double, *(ctypes.c_int64 if kind == "int64" else ctypes.c_void_p for kind in given))
    def counts(*arguments: Any) -> float:
        n_real, _stride, _alike, derivatives = arguments[7:11]
        if not derivatives:
            seen.append(n_real)
        return 1.0

    engine = engines.Engine.of(network, np.float64, gn.SGD(), penalised=False, dropout=False)
    other = replace(engine, gradient=ctypes.cast(counts, ctypes.c_void_p).value)
    monkeypatch.setattr(engines.Engine, "of", lambda *given, **more: other)
    settings = {"optimizer": gn.SGD(), "epochs": job.epochs, "batch_size": batch_size, "engine": "compiled"}
    if size == 1:
        gn.train(network, job.X, job.y, **settings, threads=1)
    else:
        gn.train_population(network, job.X, job.y, size=size, **settings, threads=1)
    many = replace(job, starts=np.repeat(job.starts, size, axis=0))
    assert sum(seen) == size * race.contenders.Glassnet.more_passes(many) * len(job.X)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])  # roundings of five epochs
def test_both_classifiers_take_the_same_steps(race: Any, dtype: str, tolerance: float) -> None:
    job = small_job(race, 5, "adam", dtype)
    classes = (job.X.sum(axis=1) > 0).astype(int) + (job.X[:, 0] > 0.5)
    job = replace(job, y=np.eye(3, dtype=dtype)[classes], loss="cross_entropy", sizes=(2, 2, 3))
    ours, theirs = (race.contenders.CONTENDERS[name](job, 1) for name in ("glassnet-fit", "scikit-learn-fit"))
    np.testing.assert_allclose(ours.curve(), theirs.curve(), rtol=0, atol=tolerance)
    np.testing.assert_allclose(ours.train(), theirs.train(), rtol=0, atol=100 * tolerance)


def test_a_roofline_adds_both_kinds_of_work(race: Any) -> None:
    assert race.figures.Work(flops=6e9, transcendentals=1e9).seconds(3e9, 2e9) == 2.5


def test_the_judge_of_losses_is_the_reference(race: Any) -> None:
    network = gn.Network((3, 4, 2, 1), activations="relu")
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, 3)), rng.integers(0, 2, (20, 1)).astype(float)
    vectors = np.stack([initialize(network, 0, start=k).vector for k in range(3)])
    wanted = [gn.backward(network, gn.Parameters(network, vector), X, y).loss for vector in vectors]
    found = race.figures.losses(vectors, network.sizes, X, y)
    # Twenty sums of rounded terms: a few units in the last place.
    np.testing.assert_allclose(found, wanted, rtol=1e-14)


def small_job(race: Any, batch_size: int | None, optimizer: str, dtype: str = "float64") -> Any:
    """23 rows: the last batch is shorter than the others."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(23, 2)).astype(dtype)
    orders = None
    if batch_size:
        orders = np.array([[permutation(23, seed=4, purpose=Purpose.SHUFFLE, epoch=epoch) for epoch in range(1, 6)]])
    return race.jobs.Job(
        sizes=(2, 2, 1),
        optimizer=optimizer,
        learning_rate=0.05,
        batch_size=batch_size,
        epochs=5,
        random_state=4,
        X=X,
        y=(X.sum(axis=1, keepdims=True) > 0).astype(dtype),
        starts=initialize(gn.Network((2, 2, 1)), 4, start=np.array([0]), dtype=dtype).vector,
        orders=orders,
    )


# scikit-learn's Adam has its epsilon elsewhere, which is 3e-6 of a first step of 0.05 where a gradient is 0.1. jax has
# float32 here, in which 1 - 0.999^t has four digits at the first steps.
@pytest.mark.parametrize(
    ("name", "batch_size", "optimizer", "dtype", "tolerance"),
    [
        ("notebook", None, "sgd", "float64", 1e-14),
        ("scikit-learn", None, "sgd", "float64", 1e-14),
        ("scikit-learn", 5, "adam", "float64", 1e-6),
        ("jax", None, "sgd", "float32", 1e-6),
        ("jax", 5, "adam", "float32", 1e-5),
    ],
)
def test_all_take_the_same_steps(
    race: Any, name: str, batch_size: int | None, optimizer: str, dtype: str, tolerance: float
) -> None:
    job = small_job(race, batch_size, optimizer, dtype)
    ours = race.contenders.CONTENDERS["glassnet"](job, 1)
    theirs = race.contenders.CONTENDERS[name](job, 1)
    theirs.load()
    curve = theirs.curve()
    np.testing.assert_allclose(curve, ours.curve(), rtol=0, atol=tolerance)
    assert abs(curve[0, 0] - curve[0, -1]) > 1000 * tolerance  # it moved, so there was something to compare
    # The timed training is the one whose losses were looked at.
    theirs.reset()
    trained = race.figures.losses(theirs.train(), job.sizes, job.X, job.y)
    np.testing.assert_allclose(trained, curve[:, -1], rtol=0, atol=tolerance)


def test_another_order_of_rows_is_noticed(race: Any) -> None:
    job = small_job(race, 5, "adam")
    ours = race.contenders.CONTENDERS["glassnet"](job, 1).curve()
    job.orders[:] = job.orders[:, ::-1]
    theirs = race.contenders.CONTENDERS["scikit-learn"](job, 1).curve()
    assert np.abs(theirs - ours).max() > 1e-5  # ten times what passes above


def test_the_engine_is_named_where_there_is_a_choice(race: Any) -> None:
    with_choice = race.contenders.with_engine(lambda x, *, epochs, engine="numpy": (x, epochs, engine))
    without = race.contenders.with_engine(lambda x, *, epochs: (x, epochs))
    assert with_choice(1, epochs=2) == (1, 2, "compiled")
    assert without(1, epochs=2) == (1, 2)


def test_a_job_comes_back_from_its_file(race: Any, tmp_path: Path) -> None:
    job = small_job(race, 5, "adam", "float32")
    job.write(tmp_path / "job.npz")
    again = race.jobs.Job.read(tmp_path / "job.npz")
    for name, value in vars(job).items():
        np.testing.assert_array_equal(getattr(again, name), value)
    assert again.X.dtype == np.float32


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (1.5, "1.5 s"), (0.99999, "1 s"), (0.0123456, "12.3 ms"), (8.2e-5, "82 µs"), (1.8e-9, "1.8 ns")],
)
def test_durations_are_read_easily(race: Any, seconds: float | None, text: str) -> None:
    assert race.report.duration(seconds) == text


def a_result(ratios: dict[str, float]) -> dict[str, Any]:
    """What engine.json holds of a race whose lines have these ratios, each with a floor of 5."""
    lines = [
        {"title": title, "peer": "torch", "threads": 1, "missing": False, "floor": 5, "met": ratio >= 5}
        | {"ratio": {"median": ratio, "low": ratio, "high": ratio}}
        for title, ratio in ratios.items()
    ]
    ours = {"floor": None, "missing": False, "cold": 3.0, "warm": 0.1}
    race = {"dtype": "float32", "lines": [ours, *lines], "roofline": {"floor": 2, "times": 1.7, "met": True}}
    return {"jobs": {"W1": {"races": [race]}}, "first_fit": {"cold": 2.5, "warm": 0.2}}


def test_a_peer_counts_by_its_quickest_line(race: Any) -> None:
    wanted = race.report.requirements(a_result({"eager": 9.0, "fused": 4.0}))
    assert [(what, met) for what, _, _, met in wanted] == [
        ("W1, float32: fused, 1 thread", False),
        ("W1, float32: the roofline", True),
        ("W1, float32: first fit, cold", False),
        ("W1, float32: first fit, warm", True),
    ]
    assert race.report.requirements(a_result({"eager": 9.0, "fused": 6.0}))[0][-1]
