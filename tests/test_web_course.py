"""The page's slow speed, weights set by hand, and units that are dead or saturated."""

from __future__ import annotations

import numpy as np
import pytest
from tests.test_web_service import asked, flowers, together, tumor_source

from glassnet.derivations.worked import explain
from glassnet.derivations.worked_mathml import marked_lines
from glassnet.network import Network, Parameters, initialize
from glassnet.optimizers import SGD, Adam
from glassnet.reference import backward, forward
from glassnet.training import train
from glassnet.web import course, slow
from glassnet.web.course import by_hand
from glassnet.web.ground import first_source
from glassnet.web.service import Page, Service


@pytest.fixture(scope="module")
def tumor_service() -> Service:
    return Service(tumor_source())


def gone_through(page, settings, **view):
    """A step's plan, and the formulas of all its lines."""
    got = together(asked(page, 1, {"slow": 0, **view}, **settings))["slow"]
    plan, lines = got, {}
    for at in range(0, len(plan["names"]) + 1, slow.WINDOW):
        for message in asked(page, 1, {"slow": at, **view}, **settings):
            found = message.get("slow", {})
            lines |= {found["first"] + n: line for n, line in enumerate(found["lines"])} if found else {}
    lines |= {got["first"] + n: line for n, line in enumerate(got["lines"])}
    return plan, [lines[n] for n in range(len(plan["names"]))]


@pytest.mark.parametrize(("name", "optimizer", "batch"), [("sgd", SGD(0.5), 0), ("adam", Adam(0.5), 64)])
def test_slowly_gone_through_is_what_explain_says_of_the_same_training(tumor_service, name, optimizer, batch):
    settings = {"optimizer": name, "learning_rate": 0.5, "batch": batch, "starts": 5, "epochs": 9, "seed": 2}
    page = Page(tumor_service)
    row = int(tumor_service.ground(page_settings(settings)).prepared.train_rows[7])
    plan, lines = gone_through(page, settings, start=3, epoch=4, row=row)
    ground = page._trained.job.ground
    run = train(
        page._trained.job.network, ground.prepared.X, ground.prepared.y, optimizer=optimizer, epochs=9,
        batch_size=batch or None, random_state=2, start=3, engine="compiled",
    )  # fmt: skip
    step = 5, run.batch_of(5, 7)
    worked = explain(run, 7, step=step)
    encoded = plan["names"][: -len(worked.lines)]
    assert encoded == ["x1", "x2", "y"]
    assert plan["names"][3:] == [line.symbol for line in worked.lines]
    assert plan["values"].tolist()[3:] == [line.value for line in worked.lines]  # bit for bit
    assert [line["name"] for line in lines] == plan["names"]
    assert [line["pieces"] for line in lines][3:] == [
        list(line.pieces) for one in worked.work for line in marked_lines(one)
    ]
    assert [stage for stage, _ in plan["stages"]] == ["encode", "forward", "loss", "backward", "update"]
    np.testing.assert_array_equal(plan["before"], run.replay(*step).parameters.vector)
    # What comes after is where the training itself went.
    following = (5, step[1] + 1) if step[1] < run.n_batches else (6, 1)
    np.testing.assert_allclose(plan["after"], run.replay(*following).parameters.vector, rtol=1e-12)
    assert not (plan["after"] == plan["before"]).all()


def page_settings(settings):
    from glassnet.web.state import Settings

    return Settings(**settings)


def test_a_test_row_moves_no_weight(tumor_service):
    page = Page(tumor_service)
    settings = {"starts": 2, "epochs": 4}
    row = int(tumor_service.ground(page_settings(settings)).prepared.test_rows[0])
    plan, _ = gone_through(page, settings, row=row)
    assert "in no batch" in plan["said"]
    assert [stage for stage, _ in plan["stages"]] == ["encode", "forward", "loss", "backward", "decode"]
    np.testing.assert_array_equal(plan["after"], plan["before"])


def test_slowly_through_what_has_no_such_step(tumor_service):
    page = Page(tumor_service)
    plan, _ = gone_through(page, {"optimizer": "lbfgs", "starts": 2, "epochs": 4})
    assert "L-BFGS" in plan["said"]
    plan, _ = gone_through(page, {"starts": 2, "epochs": 4, "dropout": 0.5, "hidden": [3]}, epoch=3)
    assert any(name.startswith("h1_") for name in plan["names"])
    got = together(asked(page, 1, {"slow": 3, "row": 99999}, starts=2, epochs=4))
    assert "from 0 to 568" in got["slow"]["problem"]
    far = together(asked(page, 1, {"slow": 10**6}, starts=2, epochs=4))["slow"]
    assert far["lines"] == []
    diverged = {"learning_rate": 1e6, "activation": "identity", "starts": 2, "epochs": 60}
    assert "slow" in together(asked(page, 1, {"slow": 0, "epoch": 50}, **diverged))


def test_a_network_of_too_many_lines_is_not_gone_through(tumor_service, monkeypatch):
    monkeypatch.setattr(slow, "MOST_LINES", 10)
    got = together(asked(Page(tumor_service), 1, {"slow": 0}, starts=2, epochs=4))
    assert "at most 10 lines; this one has" in got["slow"]["problem"]
    assert got["last"] is True


def test_a_window_of_lines_is_sent_once(tumor_service):
    page = Page(tumor_service)
    settings = {"starts": 2, "epochs": 4}
    first = together(asked(page, 1, {"slow": 0, "epoch": 0}, **settings))["slow"]
    assert (first["first"], len(first["lines"])) == (0, slow.WINDOW)
    assert set(together(asked(page, 2, {"slow": 5, "epoch": 0}, **settings))) == {"id", "last"}
    second = together(asked(page, 3, {"slow": slow.WINDOW - 5, "epoch": 0}, **settings))["slow"]
    assert second["first"] == slow.WINDOW
    assert "names" not in second
    # Elsewhere nothing of it is kept; back there, all is sent again.
    assert "slow" not in together(asked(page, 4, **settings))
    assert not [name for name in page._sent if name.startswith("slow")]
    assert "names" in together(asked(page, 5, {"slow": 0, "epoch": 0}, **settings))["slow"]


# --- by hand ------------------------------------------------------------------------------------------------------


def test_a_weight_set_by_hand_is_in_everything_that_is_shown(tumor_service):
    page = Page(tumor_service)
    settings = {"starts": 6, "epochs": 30}
    before = together(asked(page, 1, **settings))
    got = together(asked(page, 2, {"hand": {"w1_2_1": 2.5, "b2_1": -1.0}}, **settings))
    assert set(got) == {"id", "last", "view", "equations", "ailing"}  # nothing is trained anew
    network, ground = page._trained.job.network, page._trained.job.ground
    expected = Parameters(network, before["view"]["vector"].copy())
    expected.weights[0][1, 0], expected.biases[1][0] = 2.5, -1.0
    np.testing.assert_array_equal(got["view"]["vector"], expected.vector)
    p = forward(network, expected, ground.X).probabilities[:, 0]
    np.testing.assert_allclose(got["view"]["answers"][:, 0], p[ground.some], rtol=1e-6)
    assert got["view"]["train"]["accuracy"] == pytest.approx(
        np.mean((p > 0.5) == ground.y[:, 0], where=np.arange(len(p)) < len(ground.prepared.X))
    )
    numbers = "".join(piece for line in got["equations"]["lines"] for piece in line["pieces"])
    assert 'title="2.5"' in numbers
    back = together(asked(page, 3, **settings))
    np.testing.assert_array_equal(back["view"]["vector"], before["view"]["vector"])


def test_training_goes_on_from_weights_set_by_hand(tumor_service):
    page = Page(tumor_service)
    settings = {"starts": 4, "epochs": 12, "learning_rate": 0.5, "batch": 50}
    legs = [[5, {"w1_1_1": 1.5}], [-1, {"b1_2": 0.25}]]
    got = together(asked(page, 1, {"start": 2, "legs": legs}, **settings))["view"]
    network, ground = page._trained.job.network, page._trained.job.ground

    def trained(parameters):
        return train(
            network, ground.prepared.X, ground.prepared.y, optimizer=SGD(0.5), epochs=12, batch_size=50,
            parameters=parameters, start=2, random_state=0, engine="compiled",
        )  # fmt: skip

    begun = initialize(network, 0, start=2)
    first = trained(begun).replay(6).parameters
    first.weights[0][0, 0] = 1.5
    second = trained(first).parameters
    second.biases[0][1] = 0.25
    third = trained(second)
    np.testing.assert_array_equal(got["vector"], third.parameters.vector)
    np.testing.assert_allclose(got["curve"], third.history.loss, rtol=1e-6)
    scrubbed = together(asked(page, 2, {"start": 2, "legs": legs, "epoch": 0}, **settings))["view"]
    np.testing.assert_array_equal(scrubbed["vector"], second.vector)
    plan, _ = gone_through(page, settings, start=2, legs=legs, epoch=3)
    np.testing.assert_array_equal(plan["before"], third.replay(4, plan["batch"]).parameters.vector)


@pytest.mark.parametrize("name", ["w1_3_1", "w3_1_1", "b2_2", "w9_9_9"])
def test_a_weight_that_is_not_there_is_not_set(tumor_service, name):
    page = Page(tumor_service)
    got = together(asked(page, 1, {"hand": {name: 1.0}}, starts=2, epochs=2))
    assert f"has no {name}" in got["problem"]
    got = together(asked(page, 2, {"legs": [[0, {name: 1.0}]]}, starts=2, epochs=2))
    assert f"has no {name}" in got["problem"]
    assert "view" in together(asked(page, 3, starts=2, epochs=2))


def test_setting_nothing_by_hand_leaves_the_vector_itself():
    vector = np.arange(3.0)
    assert by_hand(Network((2, 1)), vector, ()) is vector
    assert (by_hand(Network((2, 1)), vector, (("b1_1", 9.0),)).tolist(), vector[2]) == ([0.0, 1.0, 9.0], 2.0)


# --- what ails a unit ---------------------------------------------------------------------------------------------


def ailing_by_going_through(page, start, epochs, is_ill):
    """For every unit of the hidden layer the first epoch since when it has been so, looked at one by one."""
    job = page._trained.job
    so = []
    for epoch in range(epochs + 1):
        vector = job.train(np.array([start]), epoch).vectors[0] if epoch else job.initial(np.array([start]))[0]
        trace = backward(job.network, Parameters(job.network, vector), job.data.X, job.data.y)
        so.append(is_ill(trace.activations[1]))
    so = np.array(so)
    return [None if not so[-1, k] else int(np.flatnonzero(~so[:, k])[-1] + 1 if (~so[:, k]).any() else 0)
            for k in range(so.shape[1])]  # fmt: skip


SATURATING = {
    "activation": "tanh", "hidden": [4], "learning_rate": 1.0, "optimizer": "adam", "starts": 12, "epochs": 150,
}  # fmt: skip


def test_a_saturated_unit_says_since_when(tumor_service):
    page = Page(tumor_service)
    found = 0
    for start in range(12):
        got = together(asked(page, start, {"start": start}, **SATURATING))["ailing"]
        expected = ailing_by_going_through(
            page, start, 150, lambda a: (np.abs(1 - a * a) < 0.01).mean(axis=0) >= 0.9
        ) if got else []  # fmt: skip
        for one in got:
            assert one["what"] == "saturated"
            assert one["since"] == expected[int(one["name"][3:]) - 1]
            assert one["step"] == one["since"]  # one batch of all rows
            assert one["share"] >= course.SATURATED_SHARE
            found += 1
    assert found > 0


def test_a_dead_unit_says_since_when_as_the_training_does(tumor_service):
    page = Page(tumor_service)
    settings = {"learning_rate": 5.0, "starts": 20, "epochs": 40, "hidden": [3]}
    seen = set()
    for start in range(20):
        got = together(asked(page, start, {"start": start}, **settings))
        ailing = got["ailing"]
        dead_since = int(page._trained.ails[start][0])
        if dead_since >= 0 and page._trained.ails[start][2] < 0:
            assert min(one["since"] for one in ailing) == dead_since
            seen.add(start)
        else:
            assert ailing == []
    assert seen
    of_batches = together(asked(page, 21, {"start": 4}, **settings | {"batch": 100}))["ailing"]
    assert [(one["what"], one["step"]) for one in of_batches] == [("dead", 5 * of_batches[0]["since"])]


def test_a_unit_that_a_hand_has_saturated_says_no_epoch(tumor_service):
    page = Page(tumor_service)
    settings = {"activation": "sigmoid", "starts": 2, "epochs": 5}
    (one,) = together(asked(page, 1, {"hand": {"b1_1": 500.0}}, **settings))["ailing"]
    assert (one["name"], one["what"], one["since"], one["share"]) == ("z1_1", "saturated", -1, 1.0)


def test_a_training_too_long_to_be_looked_at_leaves_the_epoch_out(tumor_service, monkeypatch):
    monkeypatch.setattr(course, "_MOST_LOOKED_AT", 1.0)
    page = Page(tumor_service)
    since = [
        one["since"]
        for start in range(12)
        for one in together(asked(page, start, {"start": start}, **SATURATING))["ailing"]
    ]
    assert set(since) == {-1}


def test_several_classes_are_gone_through():
    page = Page(Service(first_source(flowers(), "flowers", "kind")))
    plan, lines = gone_through(page, {"starts": 2, "epochs": 3, "optimizer": "adam"}, epoch=1)
    assert {"x1", "p3", "loss", "delta2_3", "w2_2_3"} <= set(plan["names"])
    assert len(lines) == len(plan["values"])
