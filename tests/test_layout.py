"""Where parameters lie in kernels' memory: there and back, and what training makes of the gaps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import glassnet as gn
from glassnet.kernels import engines, places
from glassnet.kernels.jobs import Job
from glassnet.kernels.layout import Layout
from glassnet.runs import Data, Members, Spec


@given(
    sizes=st.lists(st.integers(1, 40), min_size=2, max_size=5),
    lanes=st.sampled_from([1, 2, 4, 8, 16]),
    shape=st.sampled_from([(), (3,), (2, 0)]),
)
def test_parameters_come_back_from_memory_as_they_were_put(
    sizes: list[int], lanes: int, shape: tuple[int, ...]
) -> None:
    layout = Layout.of(gn.Network(tuple(sizes)), lanes)
    flat = np.random.default_rng(0).normal(size=(*shape, layout.network.n_parameters))
    memory = np.zeros((*shape, layout.size + 3))
    layout.put(memory, flat)
    np.testing.assert_array_equal(layout.flat(memory), flat)
    assert (memory != 0).sum() == flat.size  # nothing else was written
    for begin, biases, units, n_in in zip(layout.weights, layout.biases, layout.units, sizes[:-1], strict=True):
        assert biases - begin == n_in * units
        assert units % lanes or begin % lanes == 0  # whole vectors begin where vectors do


@pytest.mark.parametrize(
    ("n_units", "lanes", "units"), [(100, 16, 112), (64, 16, 64), (50, 16, 50), (7, 8, 8), (1, 8, 1)]
)
def test_gaps_are_few(n_units: int, lanes: int, units: int) -> None:
    layout = Layout.of(gn.Network((3, n_units, 1)), lanes)
    assert layout.units[0] == units
    assert layout.size <= 8 / 7 * layout.network.n_parameters


@pytest.mark.parametrize("optimizer", [gn.Adam(epsilon=0.0), gn.AdamW(weight_decay=0.1), gn.RMSprop(), gn.SGD()])
@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "softplus"])  # of 0 they are not all 0
def test_gaps_stay_empty(optimizer: gn.Adam, activation: str) -> None:
    """A gap is as a unit whose weights are 0: nothing comes of it, and nothing is added to it."""
    network, rng = gn.Network((9, 15, 31, 3), activation, "cross_entropy"), np.random.default_rng(0)
    engine = engines.Engine.of(network, np.float32, optimizer, penalised=True, dropout=True)
    assert not engine.layout.is_flat
    gaps = engine.kinds < 0
    assert gaps.sum() == engine.n_padded - network.n_parameters
    X, y = rng.normal(size=(70, 9)).astype("f"), np.eye(3)[rng.integers(0, 3, 70)]
    spec = Spec(optimizer, 3, 32, l2=0.1, dropout=0.3)
    start = gn.initialize(network, 0, dtype="float32").vector[np.newaxis]
    job = Job(engine, spec, Data.checked(network, X, y, None), start, Members.of(spec, np.array([0])))
    states = job.states  # a gap whose gradient is not 0 would have a first moment
    assert job.run_here() == 1
    assert job.counts[0, places.STEPS] == 9
    assert job.counts[0, places.DIVERGED_AT] == -1
    assert (job.vectors[0, gaps] == 0).all()
    assert (states[0][:, gaps] == 0).all()
    assert (states[0][:, ~gaps] != 0).any() or not engine.state_names


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_records_do_not_count_gaps(dtype: str) -> None:
    network, rng = gn.Network((9, 15, 31, 3), "tanh", "cross_entropy"), np.random.default_rng(0)
    X, y = rng.normal(size=(40, 9)).astype(dtype), np.eye(3)[rng.integers(0, 3, 40)]
    settings = {"epochs": 2, "batch_size": 16, "l2": 0.1, "optimizer": gn.Adam()}
    found, wanted = (list(gn.steps(network, X, y, **settings, engine=engine)) for engine in ("compiled", "numpy"))
    tolerance = 1e-12 if dtype == "float64" else 1e-5  # a step's roundings
    for name in ("loss", "penalty", "gradient_norm"):
        values = ([getattr(step, name) for step in steps] for steps in (found, wanted))
        np.testing.assert_allclose(*values, rtol=tolerance)
