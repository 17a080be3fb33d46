"""Sparse tables: the bits of the same tables made dense, in the memory of what is not 0."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.neural_network as theirs
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.model_selection import GridSearchCV

import glassnet as gn
from glassnet import reference
from glassnet.errors import DataError, UsageError
from glassnet.kernels import compiled, engines
from glassnet.network import Network, Parameters
from glassnet.optimizers import LBFGS
from glassnet.sparse import SparseTable

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:batch_size is at most:UserWarning"),
]

NETWORKS = {
    "unrolled": Network((3, 4, 1), "tanh", "mean_squared_error"),
    "few columns": Network((20, 33, 9, 1), ("gelu", "elu"), "mean_squared_error"),
    "a narrow end": Network((75, 19, 1), "tanh", "mean_squared_error"),
    "many outputs": Network((40, 21, 12), "relu", "mean_squared_error"),
    "few columns, one layer": Network((20, 13), (), "mean_squared_error"),
    "one layer": Network((130, 11), (), "mean_squared_error"),
    "one layer, one output": Network((200, 1), (), "mean_squared_error"),
}
FORMATS = ("csr_array", "csr_matrix", "csc_array", "coo_array", "lil_matrix")


@cache
def table_of(kind: str, density: float, number: str, n: int = 150) -> tuple[np.ndarray, np.ndarray]:
    """A dense table with rows and columns of zeros, and targets for the network of that kind."""
    network, rng = NETWORKS[kind], np.random.default_rng(7)
    X = np.where(rng.random((n, network.n_features)) < density, rng.normal(size=(n, network.n_features)), 0)
    X[[0, n // 2, n - 1]] = 0
    X[:, 1] = 0
    return X.astype(number), rng.normal(size=(n, network.n_outputs))


def shuffled_lists(X: np.ndarray, index: type) -> Any:
    """X as nobody should write it down: columns in any order, some listed in two halves, and zeros among them."""
    rng, lists = np.random.default_rng(3), []
    for row in X:
        columns = np.concatenate([np.flatnonzero(row), np.flatnonzero(row)[::2], rng.integers(0, len(row), 2)])
        values = row[columns]
        values[len(columns) - 2 :] = 0
        twice = np.isin(columns, columns[len(np.flatnonzero(row)) : len(columns) - 2])
        order = rng.permutation(len(columns))
        lists.append((columns[order], np.where(twice, values / 2, values)[order]))
    begins = np.cumsum([0, *(len(columns) for columns, _ in lists)])
    columns, values = (np.concatenate(parts) for parts in zip(*lists, strict=True))
    found = sparse.csr_array((values.astype(X.dtype), columns, begins), shape=X.shape)
    found.indices, found.indptr = found.indices.astype(index), found.indptr.astype(index)
    return found


def assert_same_run(run: gn.Run, dense: gn.Run, *, exactly: bool = True) -> None:
    compare: Any = np.testing.assert_array_equal
    if not exactly:
        rtol = 1e-12 if dense.data.dtype == np.float64 else 1e-4

        def compare(one: Any, other: Any) -> None:
            np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol)

    compare(run.parameters.vector, dense.parameters.vector)
    compare(run.history.loss, dense.history.loss)
    for name, state in dense.optimizer_state.items():
        compare(run.optimizer_state[name], state)
    if dense.history.held_out_loss is not None:
        compare(run.history.held_out_loss, dense.history.held_out_loss)
    assert run.parameters.vector.dtype == dense.parameters.vector.dtype
    np.testing.assert_allclose(run.objective, dense.objective, rtol=1e-12 if dense.data.dtype == np.float64 else 1e-4)


@given(
    kind=st.sampled_from(sorted(NETWORKS)),
    density=st.sampled_from([0.0, 0.01, 0.1, 0.3, 0.6, 1.0]),
    number=st.sampled_from(["float64", "float32"]),
    index=st.sampled_from([np.int32, np.int64]),
    batch_size=st.sampled_from([None, 1, 7, 64, 100, 149]),
    given=st.sampled_from(["nothing", "held out", "dropout", "weights", "all"]),
    threads=st.sampled_from([1, 2]),
)
@settings(max_examples=40, deadline=None)
def test_it_learns_with_the_bits_of_the_dense_table(
    kind: str, density: float, number: str, index: type, batch_size: int | None, given: str, threads: int
) -> None:
    network = NETWORKS[kind]
    X, y = table_of(kind, density, number)
    rows: Any = shuffled_lists(X, index)
    before = [part.copy() for part in (rows.data, rows.indices, rows.indptr)]
    asked: dict[str, Any] = {"epochs": 2, "batch_size": batch_size, "engine": "compiled", "threads": threads}
    asked |= {"l2": 0.01} if given == "all" else {}
    if given in ("weights", "all"):
        asked["row_weights"] = np.random.default_rng(5).uniform(0, 2, len(X))
    if given in ("dropout", "all") and network.n_layers > 1:
        asked["dropout"] = 0.3
    held = given in ("held out", "all")
    run = gn.train(network, rows, y, **asked, held_out=(rows[:50], y[:50]) if held else None)
    dense = gn.train(network, X, y, **asked, held_out=(X[:50], y[:50]) if held else None)
    assert_same_run(run, dense, exactly=kind != "one layer, one output")
    for part, was in zip((rows.data, rows.indices, rows.indptr), before, strict=True):
        np.testing.assert_array_equal(part, was)  # it is not ours to put in order


def test_the_comparison_can_fail() -> None:
    X, y = table_of("a narrow end", 0.1, "float64")
    dense = gn.train(NETWORKS["a narrow end"], X, y, epochs=2, engine="compiled")
    off = X.copy()
    off[3, 5] += 1e-9
    run = gn.train(NETWORKS["a narrow end"], sparse.csr_array(off), y, epochs=2, engine="compiled")
    with pytest.raises(AssertionError):
        assert_same_run(run, dense)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_share_a_sparse_table(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "A_SHARE", 1e3)
    network = Network((300, 90, 3), "relu", "mean_squared_error")
    rng = np.random.default_rng(2)
    X = np.where(rng.random((500, 300)) < 0.03, rng.normal(size=(500, 300)), 0)
    y = rng.normal(size=(500, 3))
    asked: dict[str, Any] = {"epochs": 3, "batch_size": 400, "engine": "compiled", "threads": threads}
    held = (X[:200], y[:200])
    run = gn.train(network, sparse.csr_array(X), y, held_out=(sparse.csr_array(held[0]), held[1]), patience=2, **asked)
    dense = gn.train(network, X, y, held_out=held, patience=2, **asked | {"threads": 1})
    assert_same_run(run, dense)
    many = gn.train_population(network, sparse.csr_array(X), y, size=3, **asked)
    densely = gn.train_population(network, X, y, size=3, **asked)
    np.testing.assert_array_equal(many.parameters.vector, densely.parameters.vector)
    np.testing.assert_allclose(many.probabilities(sparse.csr_array(X)), many.probabilities(X), rtol=1e-9, atol=1e-12)
    folds = [np.arange(0, 500, 2), np.arange(1, 500, 2), np.arange(77)]
    many, densely = (
        gn.train_population(network, rows, y, size=3, rows=folds, optimizer=optimizer, epochs=2, engine="compiled")
        for optimizer in (gn.Adam(),)
        for rows in (sparse.csr_array(X), X)
    )
    np.testing.assert_array_equal(many.parameters.vector, densely.parameters.vector)


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("engine", ["compiled", "numpy"])
def test_lbfgs_and_the_numpy_engine(kind: str, engine: str) -> None:
    network = NETWORKS[kind]
    X, y = table_of(kind, 0.1, "float64")
    for optimizer in (LBFGS(), gn.SGD(0.01)):
        asked: dict[str, Any] = {"optimizer": optimizer, "epochs": 4, "engine": engine, "l2": 0.01}
        run, dense = (
            gn.train(network, rows, y, held_out=(rows[:9], y[:9]), **asked) for rows in (sparse.csc_array(X).tocsr(), X)
        )
        assert_same_run(run, dense, exactly=engine == "numpy" or kind != "one layer, one output")


def test_wide_rows_are_put_into_buffers_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    network, rng = Network((90, 20, 1), "tanh", "mean_squared_error"), np.random.default_rng(1)
    X, y = rng.normal(size=(300, 90)), rng.normal(size=(300, 1))
    dense = gn.train(network, X, y, epochs=3, engine="compiled")
    monkeypatch.setattr(engines, "_MOST_BUFFERED", 64 * 90)
    run = gn.train(network, sparse.csr_array(X), y, epochs=3, engine="compiled")
    np.testing.assert_array_equal(run.parameters.vector, dense.parameters.vector)
    np.testing.assert_allclose(run.history.loss, dense.history.loss, rtol=1e-14)
    minimised = [
        gn.train(network, rows, y, epochs=3, engine="compiled", optimizer=LBFGS()) for rows in (sparse.csr_array(X), X)
    ]
    np.testing.assert_allclose(*(run.parameters.vector for run in minimised), rtol=1e-9)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("number", ["float64", "float32", "int64", "bool", "uint8"])
def test_any_format_and_type(form: str, number: str) -> None:
    X, y = table_of("a narrow end", 0.1, "float64")
    X = (X != 0) * 3 if number in ("int64", "uint8") else X
    X = X.astype(number)
    dense = X.astype(np.float64) if number == "uint8" else X
    run = gn.train(NETWORKS["a narrow end"], getattr(sparse, form)(X), y, epochs=2, batch_size=9, engine="compiled")
    assert_same_run(run, gn.train(NETWORKS["a narrow end"], dense, y, epochs=2, batch_size=9, engine="compiled"))


def test_what_can_be_asked_of_a_run(tmp_path: Path) -> None:
    network = NETWORKS["many outputs"]
    X, y = table_of("many outputs", 0.1, "float64")
    rows = sparse.csr_array(X)
    for engine in ("compiled", "numpy"):
        asked: dict[str, Any] = {"batch_size": 40, "engine": engine, "dropout": 0.2}
        run, dense = (gn.train(network, table, y, epochs=4, **asked) for table in (rows, X))
        for epoch, batch in ((1, 1), (2, 3), (4, 4)):
            trace = run.trace(epoch, batch)
            np.testing.assert_array_equal(trace.X, X[run.replay(epoch, batch).rows])
            np.testing.assert_allclose(trace.gradient, dense.trace(epoch, batch).gradient, rtol=1e-9, atol=1e-12)
        half = gn.train(network, rows, y, epochs=2, **asked)
        assert_same_run(gn.train(network, rows, y, epochs=4, resume=half, **asked), dense)
        kept = tmp_path / f"{engine}.checkpoint"
        gn.train(network, rows, y, epochs=4, checkpoint=kept, **asked)
        assert_same_run(gn.train(network, rows, y, epochs=4, checkpoint=kept, resume=True, **asked), dense)
        records = list(gn.steps(network, rows, y, epochs=2, **asked))
        assert records == list(gn.steps(network, X, y, epochs=2, **asked))
        assert run.batch_of(2, 5) == dense.batch_of(2, 5)
        other = rows.copy()
        other.data[7] += 1
        with pytest.raises(UsageError, match="the same rows"):
            gn.train(network, other, y, epochs=4, resume=half, **asked)
        with pytest.raises(UsageError):
            gn.train(network, other, y, epochs=4, checkpoint=kept, resume=True, **asked)
    hashes = {
        gn.train(network, table, y, epochs=0).data_hash for table in (rows, shuffled_lists(X, np.int64), rows.T.T)
    }
    assert len(hashes) == 2  # a listed zero is listed
    assert run.data.at(np.array([3, 1])).X.csr.toarray().tolist() == X[[3, 1]].tolist()
    np.testing.assert_array_equal(run.data.X[5], X[5])
    assert str(gn.explain(run, 5)) == str(gn.explain(dense, 5))
    for other in (pickle.loads(pickle.dumps(run)), copy.deepcopy(run)):
        assert (other.data.X.places != run.data.X.places).all()  # it lies elsewhere, and its rows with it
        assert other.data_hash == run.data_hash


@pytest.mark.parametrize("sides", ["sparse and dense", "dense and sparse"])
def test_held_out_rows_may_be_of_the_other_kind(sides: str) -> None:
    X, y = table_of("a narrow end", 0.1, "float64")
    rows = [sparse.csr_array(X), X]
    rows = rows if sides == "sparse and dense" else rows[::-1]
    for engine in ("compiled", "numpy"):
        asked: dict[str, Any] = {"epochs": 3, "engine": engine, "batch_size": 30}
        run = gn.train(NETWORKS["a narrow end"], rows[0], y, held_out=(rows[1][:40], y[:40]), **asked)
        assert_same_run(run, gn.train(NETWORKS["a narrow end"], X, y, held_out=(X[:40], y[:40]), **asked))


# --- estimators -----------------------------------------------------------------------------------------------------

WORDS = sparse.random_array((240, 120), density=0.05, format="csr", rng=np.random.default_rng(4))
LABELS = np.asarray(WORDS[:, :40].sum(axis=1) > WORDS[:, 40:80].sum(axis=1)).astype(int) + (
    WORDS[:, [3]].toarray().ravel() > 0
)


@pytest.mark.parametrize("number", ["float64", "float32"])
@pytest.mark.parametrize(
    "asked",
    [
        {"hidden_layer_sizes": (30,)},
        {"hidden_layer_sizes": (30, 5), "batch_size": 16, "early_stopping": True},
        {"hidden_layer_sizes": (12,), "solver": "lbfgs"},
        {"hidden_layer_sizes": (30,), "solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.1},
        {"hidden_layer_sizes": ()},
    ],
)
def test_estimators_have_the_numbers_of_theirs(asked: dict[str, Any], number: str) -> None:
    X, rtol = WORDS.astype(number), 1e-8 if number == "float64" else 3e-3
    for y in (LABELS, LABELS > 0):
        ours, other = (module.MLPClassifier(**asked, max_iter=6, random_state=3).fit(X, y) for module in (gn, theirs))
        assert ours.n_iter_ == other.n_iter_
        for mine, wanted in zip((*ours.coefs_, *ours.intercepts_), (*other.coefs_, *other.intercepts_), strict=True):
            np.testing.assert_allclose(mine, wanted, rtol=rtol, atol=rtol)
        if asked.get("solver") != "lbfgs":
            np.testing.assert_allclose(ours.loss_curve_, other.loss_curve_, rtol=rtol)
        if asked.get("early_stopping"):
            np.testing.assert_allclose(ours.validation_scores_, other.validation_scores_, rtol=1e-12)
        np.testing.assert_allclose(ours.predict_proba(X), other.predict_proba(X), rtol=rtol, atol=rtol)
        np.testing.assert_allclose(ours.predict_proba(X), ours.predict_proba(X.toarray()), rtol=rtol, atol=rtol)
        assert ours.predict_proba(X).dtype == number


def test_estimators_do_on_sparse_rows_what_they_do_on_dense_ones() -> None:
    """All that is asked for besides, with the very bits."""
    seen: list[Any] = []
    weights = np.random.default_rng(1).uniform(0, 2, len(LABELS))
    several: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "weights": ({"class_weight": "balanced"}, {"sample_weight": weights}),
        "dropout": ({"dropout": 0.2, "callbacks": [seen.append]}, {}),
        "starts": ({"n_starts": 3, "combine": "average", "penalty_scale": "samples"}, {}),
        "smoothing": ({"label_smoothing": 0.1, "l1": 0.001, "solver": gn.RMSprop(0.01)}, {}),
    }
    for settings_, given_ in several.values():
        fitted = [
            gn.MLPClassifier((25,), max_iter=4, batch_size=50, random_state=0, **settings_).fit(
                rows, LABELS, X_val=held, y_val=LABELS[:60], **given_
            )
            for rows, held in ((WORDS, WORDS[:60].tocsc()), (WORDS.toarray(), WORDS[:60].toarray()))
        ]
        for mine, wanted in zip(*(model.coefs_ for model in fitted), strict=True):
            np.testing.assert_array_equal(mine, wanted)
        for name in ("validation_scores_", "validation_loss_curve_"):
            np.testing.assert_allclose(*(getattr(model, name) for model in fitted), rtol=1e-12)
    assert len(seen) == 2 * 4 * 5
    both = []
    for rows in (WORDS, WORDS.toarray()):
        model = gn.MLPRegressor("huber", (25,), random_state=0, warm_start=True, max_iter=2)
        model.partial_fit(rows[:100], LABELS[:100]).partial_fit(rows[100:], LABELS[100:])
        both.append(model.fit(rows, LABELS).fit(rows, LABELS))
    for mine, wanted in zip(*(model.coefs_ for model in both), strict=True):
        np.testing.assert_array_equal(mine, wanted)
    search = GridSearchCV(
        gn.MLPClassifier((25,), max_iter=3, random_state=0), {"alpha": [0.1, 10.0]}, cv=3, n_jobs=1
    ).fit(WORDS, LABELS)
    assert search.predict(WORDS).shape == LABELS.shape
    assert len(search.cv_results_["mean_test_score"]) == 2


MEASURED = """
import resource, sys, warnings
import numpy as np
from scipy import sparse
import glassnet as gn
from glassnet.network import Network
from glassnet.optimizers import LBFGS
warnings.simplefilter("ignore")
X = sparse.random_array((50_000, 4_000), density=0.004, format="csr", rng=np.random.default_rng(0))
y = np.random.default_rng(0).integers(0, 2, X.shape[0])
def work(X, y):
    model = gn.MLPClassifier((16,), max_iter=2, early_stopping=True, random_state=0).fit(X, y)
    model.predict(X)
    network = Network((X.shape[1], 16, 1))
    run = gn.train(network, X, y, epochs=1, batch_size=256, held_out=(X[:9_000], y[:9_000]), engine="compiled")
    run.objective
    gn.train(network, X, y, epochs=2, optimizer=LBFGS(), engine="compiled")
    return network.n_parameters
work(X[:300], y[:300])
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
before = peak()
n = work(X, y)
print(peak() - before, X.data.nbytes + X.indices.nbytes + X.indptr.nbytes, 8 * n, 8 * X.shape[0] * X.shape[1])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="resource is not there")
def test_memory_is_that_of_what_is_not_zero() -> None:
    """A table of 1.5 GiB were it dense, in a process of its own that has compiled already."""
    done = subprocess.run([sys.executable, "-c", MEASURED], capture_output=True, text=True, check=True, timeout=120)
    grown, listed, parameters, dense = map(int, done.stdout.split())
    # Set apart, rows are copied; the rest is targets, orders and activations, which dense rows have as well.
    assert grown < 4 * listed + 16 * parameters < dense / 25


# --- what cannot be meant -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused_with_their_place(value: float) -> None:
    network = NETWORKS["a narrow end"]
    X, y = table_of("a narrow end", 0.1, "float64")
    X = X.copy()
    X[7, 60] = value
    said = []
    for rows in (X, sparse.csr_array(X), sparse.csc_array(X)):
        with pytest.raises(DataError) as problem:
            gn.train(network, rows, y)
        said.append(str(problem.value))
    assert said[0] == said[1] == said[2] == f"X holds finite numbers; row 7, column 60 is {value}."
    with pytest.raises(DataError, match="finite"):
        gn.train(network, X[:5], y[:5], held_out=(sparse.csr_array(X), y))
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        gn.MLPRegressor().fit(sparse.csr_array(X), y)


def test_tables_that_do_not_fit_are_refused() -> None:
    network = NETWORKS["a narrow end"]
    X, y = table_of("a narrow end", 0.1, "float64")
    with pytest.raises(DataError, match=r"\(n, 75\) with n of 1 or more; got shape \(150, 74\)"):
        gn.train(network, sparse.csr_array(X[:, 1:]), y)
    with pytest.raises(DataError, match=r"got shape \(0, 75\)"):
        gn.train(network, sparse.csr_array((0, 75)), y[:0])
    with pytest.raises(DataError, match="complex128"):
        gn.train(network, sparse.csr_array(X * 1j), y)
    with pytest.raises(DataError, match=r"got shape \(75,\)"):
        gn.train(network, sparse.coo_array(X[0]), y)
    with pytest.raises(DataError, match="one row per row of X"):
        gn.train(network, sparse.csr_array(X), y[1:])
    many = gn.train_population(network, sparse.csr_array(X), y, size=2, epochs=1)
    with pytest.raises(DataError, match="74"):
        many.probabilities(sparse.csr_array(X[:, 1:]))


@pytest.mark.parametrize("damage", ["beyond", "below", "backwards", "beyond the end", "not from 0"])
def test_lists_that_are_damaged_are_refused(damage: str) -> None:
    """Compiled code would write where nothing of ours is."""
    X, y = table_of("a narrow end", 0.1, "float64")
    rows = sparse.csr_array(X)
    if damage == "beyond":
        rows.indices[4] = 75
    elif damage == "below":
        rows.indices[4] = -1
    elif damage == "backwards":
        rows.indptr[9] = rows.indptr[12] + 1
    elif damage == "beyond the end":
        rows.indptr[-1] += 1
    else:
        rows.indptr[0] = 1
    with pytest.raises(DataError, match="lists columns from 0 to 74"):
        gn.train(NETWORKS["a narrow end"], rows, y, engine="compiled")


def test_what_is_made_dense_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    network = NETWORKS["a narrow end"]
    X, y = table_of("a narrow end", 0.1, "float64")
    rows = sparse.csr_array(X)
    monkeypatch.setattr("glassnet.sparse.MOST_DENSE", 75 * 149)
    with pytest.raises(UsageError, match="150 rows of 75"):
        gn.train(network, rows, y, engine="numpy")
    run = gn.train(network, rows, y, epochs=2, engine="compiled", batch_size=100)
    assert run.trace(1, 1).X.shape == (100, 75)
    with pytest.raises(UsageError, match="smaller batches"):
        gn.train(network, rows, y, epochs=2, engine="compiled").trace(1)


def test_one_table_of_its_own() -> None:
    """A `SparseTable` is taken as it is, and a pass forward is the reference's."""
    network = NETWORKS["many outputs"]
    X, _ = table_of("many outputs", 0.1, "float64")
    table = SparseTable.of(sparse.csr_array(X))
    assert SparseTable.of(table.csr).csr is table.csr
    many = gn.train_population(network, table, np.zeros((len(X), 12)), size=2, epochs=1)
    expected = reference.forward(network, Parameters(network, many.parameters.vector[1]), X).probabilities
    np.testing.assert_allclose(many.probabilities(table)[1], expected, rtol=1e-9, atol=1e-12)
