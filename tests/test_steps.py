"""Steps of a training, replayed and worked out: the batch's gradient, a row's part in it, and the update."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import glassnet as gn
from glassnet.derivations.worked import WorkedCalculation
from glassnet.errors import DataError, UsageError
from glassnet.network import Network, Parameters
from glassnet.optimizers import optimizer_of

RNG = np.random.default_rng(5)
X = RNG.normal(size=(23, 3))
Y = (X[:, :1] > 0.2).astype(float)
NETWORK = Network((3, 4, 2, 1), ("tanh", "relu"))

OPTIMIZERS = [
    gn.SGD(0.1),
    gn.SGD(gn.Exponential(0.1, decay=0.5, every=4), momentum=0.9, nesterov=True),
    gn.Adam(0.01),
    gn.AdamW(gn.Cosine(0.02)),
    gn.RMSprop(gn.OneCycle(0.01)),
]


def by_symbol(worked: WorkedCalculation) -> dict[str, float]:
    """The last value of every symbol: after the update, where it is one that an update changes."""
    return {line.symbol: line.value for line in worked.lines}


def assert_is_the_step(run: gn.Run, worked: WorkedCalculation, epoch: int, batch: int) -> None:
    """The worked step against the trace of it, and against where the training itself went from there."""
    found, trace, at = by_symbol(worked), run.trace(epoch, batch), run.replay(epoch, batch)
    close = {"rel": 1e-9, "abs": 1e-13}
    assert found["L"] == pytest.approx(trace.loss, **close)
    last = at.t == run.counters["steps"]
    then = run if last else run.replay(*divmod_from_1(at.t, run.n_batches))
    state = run.optimizer_state if last else then.state
    for place, name in enumerate(run.network.parameter_names()):
        total = f"dJ/d{name}" if f"dJ/d{name}" in found else f"dL/d{name}"
        assert found[total] == pytest.approx(trace.gradient[place], **close)
        assert found[name] == pytest.approx(then.parameters.vector[place], **close)
        for kind, values in state.items():
            assert found[f"{kind}[{name}]"] == pytest.approx(values[place], **close)


def divmod_from_1(t: int, per_epoch: int) -> tuple[int, int]:
    """Epoch and batch, from 1, of the update behind the first t."""
    epoch, batch = divmod(t, per_epoch)
    return epoch + 1, batch + 1


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda optimizer: type(optimizer).__name__)
@pytest.mark.parametrize("batch_size", [None, 5])
@pytest.mark.parametrize("engine", ["numpy", "compiled"])
def test_a_step_is_the_trainings_own(optimizer: Any, batch_size: int | None, engine: str) -> None:
    more = {"l2": 0.01, "dropout": (0.5, 0.2)} if batch_size else {"row_weights": RNG.uniform(0, 2, 23), "l1": 0.01}
    run = gn.train(NETWORK, X, Y, optimizer=optimizer, epochs=3, batch_size=batch_size, engine=engine, **more)
    for epoch, batch in ((1, 1), (2, run.n_batches), (3, run.n_batches)):
        row = int(run.replay(epoch, batch).rows[-1])
        assert_is_the_step(run, gn.explain(run, row, step=(epoch, batch), digits=17), epoch, batch)


def test_the_comparison_can_fail() -> None:
    run = gn.train(NETWORK, X, Y, optimizer=gn.Adam(0.01), epochs=3)
    with pytest.raises(AssertionError):
        assert_is_the_step(run, gn.explain(run, 0, step=(2, 1)), 3, 1)


def test_the_rows_own_part_and_the_others() -> None:
    weights = RNG.uniform(0, 2, 23)
    run = gn.train(NETWORK, X, Y, batch_size=5, epochs=2, row_weights=weights)
    at = run.replay(2, 3)
    row, others = int(at.rows[1]), np.delete(at.rows, 1)
    lines = {line.symbol: line for line in gn.explain(run, row, step=(2, 3), digits=17).lines}
    share = lines["share"]
    assert share.numbers == f"{weights[row]:.17g} / ({weights[row]:.17g} + {weights[others].sum():.17g})"
    part = gn.backward(run.network, at.parameters, X[others], Y[others], weights[others])
    total = weights[at.rows].sum()
    for place, name in enumerate(run.network.parameter_names()):
        line = lines[f"dL/d{name}"]
        assert line.formula == f"share * dloss/d{name} + others[{name}]"
        of_others = float(line.numbers.rpartition(" + ")[2].strip("()"))
        assert of_others == pytest.approx(part.gradient[place] * weights[others].sum() / total, rel=1e-9, abs=1e-14)
    assert "the other 4 rows of the batch" in gn.explain(run, row, step=(2, 3)).text(200)


def test_a_batch_of_one_row_and_one_that_weighs_nothing() -> None:
    run = gn.train(NETWORK, X, Y, batch_size=1, epochs=1, row_weights=[1.0, *[0.0] * 22])
    first, second = run.batch_of(1, 0), run.batch_of(1, 1)
    alone = gn.explain(run, 0, step=(1, first))
    assert by_symbol(alone)["share"] == 1
    assert "this row alone" in alone.text()
    nothing = by_symbol(gn.explain(run, 1, step=(1, second)))
    assert nothing["share"] == nothing["L"] == nothing["dL/dw1_1_1"] == 0


def test_an_epoch_alone_is_the_batch_that_had_the_row() -> None:
    run = gn.train(NETWORK, X, Y, batch_size=5, epochs=2)
    for row in range(23):
        assert row in run.replay(2, run.batch_of(2, row)).rows
    batch = run.batch_of(2, 7)
    assert gn.explain(run, 7, step=2).title == f"Row 7, in epoch 2, batch {batch} of 5, update {5 + batch}"
    elsewhere = gn.explain(run, 7, step=(2, batch % 5 + 1))
    assert f"batch {batch} had it" in elsewhere.text(200)
    assert by_symbol(elsewhere)["share"] == 0
    assert_is_the_step(run, elsewhere, 2, batch % 5 + 1)


@pytest.mark.parametrize("step", [(0, 1), (3, 1), (1, 0), (1, 6), (-1, 1), 0, 3])
def test_a_step_never_trained(step: Any) -> None:
    run = gn.train(NETWORK, X, Y, batch_size=5, epochs=2)
    with pytest.raises(UsageError, match=r"epoch from 1 to 2 and a batch from 1 to 5, 10 updates in all; .*never"):
        gn.explain(run, 0, step=step)


def test_what_is_no_step() -> None:
    run = gn.train(NETWORK, X, Y, epochs=2)
    for step in ("3:2", 1.5, (1, 2, 3), True):
        with pytest.raises(UsageError, match="both whole numbers"):
            gn.explain(run, 0, step=step)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="line search"):
        gn.explain(gn.train(NETWORK, X, Y, optimizer=gn.LBFGS(), epochs=2), 0, step=1)
    with pytest.raises(UsageError, match=r"explain\(run, row\)"):
        gn.explain(run, {"a": [1]}, 0)
    with pytest.raises(UsageError, match="0 to 22"):
        gn.explain(run, 23)


def test_the_step_at_which_a_training_diverged() -> None:
    run = gn.train(NETWORK, X * 1e150, Y, optimizer=gn.SGD(1e200), epochs=5)
    t = int(run.stop_reason.removeprefix("diverged at step "))
    worked = gn.explain(run, 0, step=(t, 1))
    assert not np.isfinite([line.value for line in worked.lines]).all()
    assert worked.latex()
    assert "inf" in worked.text() or "nan" in worked.text()


def test_a_run_in_32_bits_says_that_it_is_worked_out_in_64() -> None:
    run = gn.train(NETWORK, X.astype(np.float32), Y, epochs=3, batch_size=5)
    worked = gn.explain(run, 3, step=2)
    assert "float32" in worked.text()
    found, then = by_symbol(worked), run.replay(*divmod_from_1(run.replay(2, run.batch_of(2, 3)).t, 5))
    assert found["w1_1_1"] == pytest.approx(then.parameters.vector[0], rel=1e-5)


# --- models ---------------------------------------------------------------------------------------------------------

TABLE = {
    "size": RNG.normal(50, 9, 60).round(3).tolist(),
    "kind": [f"k{i % 3}" for i in range(60)],
    "who": [f"p{i // 4}" for i in range(60)],
    "weight": RNG.uniform(0.5, 2, 60).round(3).tolist(),
    "side": ["test" if i % 5 == 0 else "train" for i in range(60)],
    "ill": ["no", "yes", "yes"] * 20,
    "grade": (np.arange(60) % 11).tolist(),
}


def test_an_optimizer_is_read_back_from_its_repr() -> None:
    for optimizer in (*OPTIMIZERS, gn.LBFGS(history=5), gn.Adam(gn.WarmUp(0.1)), gn.SGD(gn.InverseScaling(0.1))):
        assert optimizer_of(repr(optimizer)) == optimizer
    for text in ("Adam(0.1)", "open('x')", "Cosine(initial=0.1)", "Adam(rate=1)", "SGD(", "SGD().init", "1" * 10_000):
        with pytest.raises(UsageError, match="An optimiser is written like"):
            optimizer_of(text)


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"test_size": None, "batch_size": None},
        {"test_size": 0.35, "stratify": False, "random_state": 3},
        {"group": "who", "weights": "weight"},
        {"split_column": "side", "optimizer": gn.AdamW(gn.Cosine(0.01)), "initializer": "glorot_normal"},
        {"l1": 0.001, "l2": 0.01, "hidden": (4, 3), "activation": "tanh", "optimizer": gn.SGD(0.1, momentum=0.5)},
        {"target": "grade"},
        {"target": "grade", "task": "classification"},
    ],
    ids=str,
)
@pytest.mark.parametrize("starts", [1, 40])
def test_a_model_file_suffices_to_replay_its_training(tmp_path: Path, how: dict[str, Any], starts: int) -> None:
    how = {"target": "ill", "features": ["size", "kind"], "epochs": 6, **how}
    fitted = gn.fit(TABLE, starts=starts, **how)
    gn.save(fitted.model, tmp_path / "model.safetensors")
    model = gn.load(tmp_path / "model.safetensors")
    run, train_rows = model.retrained(TABLE)
    assert run.parameters.vector.tobytes() == model.members[0].vector.tobytes()
    assert train_rows.tolist() == fitted.train_rows.tolist()
    row = int(train_rows[-1])
    epoch, batch = 3, run.batch_of(3, len(train_rows) - 1)
    worked = gn.explain(model, TABLE, row, step=3, digits=17)
    assert f"in epoch 3, batch {batch} of {run.n_batches}" in worked.title
    assert not any("Gone through again" in remark for remark in worked.remarks)
    assert_is_the_step(run, worked, epoch, batch)
    assert next(iter(worked.lines)).stage == "encode"


def test_a_row_that_was_held_back() -> None:
    fitted = gn.fit(TABLE, "ill", features=["size"], starts=2, epochs=3)
    row = int(fitted.test_rows[0])
    with pytest.raises(UsageError, match=f"held back .* row {row} is one"):
        gn.explain(fitted.model, TABLE, row, step=2)
    worked = gn.explain(fitted.model, TABLE, row, step=(2, 1))
    assert "held back for testing" in worked.text(200)
    assert by_symbol(worked)["share"] == 0
    assert worked.answer.startswith("before this update, prediction: ill = ")


def test_other_data_is_refused() -> None:
    model = gn.fit(TABLE, "ill", features=["size"], starts=2, epochs=3).model
    altered = {**TABLE, "size": [50.0, *TABLE["size"][1:]]}
    shorter = {name: values[:50] for name, values in TABLE.items()}
    unlearned = {**TABLE, "ill": ["perhaps", *TABLE["ill"][1:]]}
    for table in (altered, shorter, unlearned):
        with pytest.raises(DataError, match="Give the table that the model was trained on"):
            gn.explain(model, table, 1, step=(1, 1))
    assert gn.explain(model, altered, 1).lines  # without a step any table will do
    with pytest.raises(DataError, match="no column 'ill'"):
        gn.explain(model, {"size": TABLE["size"]}, 1, step=(1, 1))
    silent = replace(model, provenance={})
    with pytest.raises(UsageError, match="does not say 'columns'"):
        gn.explain(silent, TABLE, 1, step=(1, 1))


def test_a_training_that_ends_elsewhere_is_said() -> None:
    model = gn.fit(TABLE, "ill", features=["size"], starts=2, epochs=3).model
    moved = Parameters(model.network, model.members[0].vector + 1e-9)
    worked = gn.explain(replace(model, members=(moved,)), TABLE, 1, step=(1, 1))
    assert re.search(r"ends up to 1\.\d+e-09 from the model's parameters", worked.text(300))


def test_no_other_rows_cells_are_shown() -> None:
    model = gn.fit(TABLE, "ill", features=["size", "kind"], starts=2, epochs=3, test_size=None).model
    worked = gn.explain(model, TABLE, 4, step=2)
    for text in (worked.text(), worked.latex(), worked.html(), str(worked.to_json()), worked.text(blank=True)):
        assert str(TABLE["size"][4]) in text or "lines" in text
        assert not [cell for i, cell in enumerate(TABLE["size"]) if i != 4 and str(cell) in text]


# --- Mazur ----------------------------------------------------------------------------------------------------------


def test_mazurs_example_digit_by_digit() -> None:
    """The published 2-2-2 network: all sigmoid, squared error over 2, rate 0.5."""
    network = Network((2, 2, 2), ("sigmoid", "sigmoid"), "mean_squared_error")  # over two outputs: half the sum
    start = Parameters(network, np.zeros(network.n_parameters))
    start.weights[0][...] = [[0.15, 0.25], [0.20, 0.30]]
    start.weights[1][...] = [[0.40, 0.50], [0.45, 0.55]]
    start.biases[0][...], start.biases[1][...] = 0.35, 0.60
    run = gn.train(network, [[0.05, 0.10]], [[0.01, 0.99]], optimizer=gn.SGD(0.5), epochs=1, parameters=start)
    worked = gn.explain(run, 0, step=(1, 1), digits=9)
    shown = {}
    for line in worked.written(300):
        if " = " in line:
            symbol = re.split(" = | <- ", line.strip())[0]
            shown[symbol] = re.split(r" = |   ", line.strip().partition("   ")[0])[-1]
    expected = {
        "z1_1": "0.3775", "a1_1": "0.593269992", "a1_2": "0.596884378", "z2_1": "1.10590597",
        "o1": "0.75136507", "o2": "0.772928465", "loss": "0.298371109",
        "dloss/dw2_1_1": "0.0821670406",
        "w1_1_1": "0.149780716", "w1_2_1": "0.199561432", "w1_1_2": "0.249751144", "w1_2_2": "0.299502287",
        "w2_1_1": "0.35891648", "w2_2_1": "0.408666186", "w2_1_2": "0.51130127", "w2_2_2": "0.561370121",
    }  # fmt: skip
    assert {symbol: shown[symbol] for symbol in expected} == expected
    assert "(0.75136507 - 0.01)**2 + (0.772928465 - 0.99)**2" in worked.text(300)
    assert f"{by_symbol(worked)['dloss/dw1_1_1']:.9f}" == "0.000438568"
    # the published biases stay where they are
    after = Parameters(network, run.parameters.vector.copy())
    after.biases[0][...], after.biases[1][...] = 0.35, 0.60
    held = gn.train(network, [[0.05, 0.10]], [[0.01, 0.99]], parameters=after, epochs=0)
    assert f"{by_symbol(gn.explain(held, 0))['loss']:.9f}" == "0.291027774"
