"""What the page is told: held against the estimators, the populations and the worked calculations it stands for."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest

from glassnet.datasets import tumors
from glassnet.derivations.worked import explain
from glassnet.errors import DataError
from glassnet.model import fit_prepared
from glassnet.network import Network, Parameters
from glassnet.optimizers import LBFGS, SGD, Adam
from glassnet.preparation import prepare
from glassnet.reference import forward
from glassnet.tables import Table
from glassnet.training import train
from glassnet.web import service
from glassnet.web.frames import pack
from glassnet.web.ground import GRID, LINE, Source, first_source
from glassnet.web.service import Page, Service
from glassnet.web.state import Asked, parse

KINDS = {"f4": "<f4", "f8": "<f8", "i4": "<i4", "u1": "|u1"}


def unpacked(frame: bytes) -> dict[str, Any]:
    """What `frames.pack` packed, read by its description alone."""
    (length,) = struct.unpack_from("<I", frame)
    begin = -(-(4 + length) // 8) * 8

    def revived(value: dict[str, Any]) -> Any:
        if set(value) != {"$"}:
            return value
        kind, shape, offset = value["$"]
        return np.frombuffer(frame, KINDS[kind], int(np.prod(shape)), begin + offset).reshape(shape)

    return json.loads(frame[4 : 4 + length], object_hook=revived)


def test_a_frame_is_read_as_it_was_packed():
    sent = {
        "id": 3,
        "words": ["é", None, True],
        "one": np.arange(5, dtype=np.float32),
        "in": {"two": np.array([[1, -2]], np.int32), "three": np.array([7], np.uint8), "none": np.zeros((0, 2))},
    }
    got = unpacked(pack(sent))
    assert got["words"] == sent["words"]
    for name in ("two", "three", "none"):
        np.testing.assert_array_equal(got["in"][name], sent["in"][name])
        assert got["in"][name].dtype == sent["in"][name].dtype
    np.testing.assert_array_equal(got["one"], sent["one"])


def tumor_source() -> Source:
    return first_source(tumors("all").table, "tumors", "diagnosis", ("texture_mean", "radius_mean"))


def flowers() -> Table:
    """Three classes and a number, with a text and a missing cell among the features."""
    n = np.arange(90)
    return Table.from_columns(
        {
            "length": 1.0 + n % 30 / 10 + n // 30,
            "width": [None if k == 4 else 0.5 + k * 7 % 11 / 10 + k // 30 for k in n.tolist()],
            "soil": np.array(["clay", "sand", "loam"])[n * 5 % 3],
            "kind": np.array(["aster", "broom", "clover"])[n // 30],
            "height": 3.0 * n + 1,
        }
    )


def asked(page: Page, number: int = 1, view: dict[str, Any] | None = None, **settings: Any) -> list[dict[str, Any]]:
    request = parse(json.dumps({"id": number, "settings": settings, "view": view or {}}))
    return [unpacked(pack(message)) for message in page.answers(request) if not isinstance(message, float)]


def together(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """The parts of all messages, the last of each."""
    return {name: part for message in messages for name, part in message.items()}


@pytest.fixture(scope="module")
def tumor_service() -> Service:
    return Service(tumor_source())


@pytest.mark.parametrize(
    ("name", "optimizer"), [("sgd", SGD(0.5)), ("adam", Adam(0.5)), ("lbfgs", LBFGS())], ids=["sgd", "adam", "lbfgs"]
)
def test_what_is_shown_is_what_fit_comes_to(tumor_service, name, optimizer):
    settings = {"learning_rate": 0.5, "l2": 0.01, "starts": 12, "epochs": 30, "seed": 3, "hidden": [3]}
    got = asked(Page(tumor_service), optimizer=name, **settings)
    starts = [message["starts"] for message in got if "starts" in message]
    losses, scores = (np.concatenate([part[of] for part in starts]) for of in ("losses", "scores"))
    prepared = prepare(tumors("all").table, "diagnosis", features=["texture_mean", "radius_mean"], random_state=3)
    fitted = fit_prepared(
        prepared, hidden=(3,), optimizer=optimizer, epochs=30, batch_size=None, l2=0.01, starts=12, random_state=3
    )
    population = fitted.population
    assert starts[-1]["kept"] == population.kept
    # The engine that the page always takes is the compiled one; of a job this small fit takes NumPy's, whose sums come
    # in another order: 30 updates apart, and then as far as 32 bits.
    np.testing.assert_allclose(losses, population.losses, rtol=2e-6)
    np.testing.assert_allclose(scores, fitted.start_scores["accuracy"], atol=1e-12)
    view = together(got)["view"]
    assert view["start"] == population.kept
    for side, found in (("train", fitted.train), ("test", fitted.test)):
        assert view[side] == pytest.approx({name: found[name] for name in ("accuracy", "log_loss")}, rel=1e-6)


def test_every_start_is_the_training_alone_bit_for_bit(tumor_service):
    page = Page(tumor_service)
    for batch in (0, 64):
        for start, epoch in ((0, 0), (7, 13), (7, 40)):
            got = together(
                asked(page, 1, {"start": start, "epoch": epoch}, starts=9, epochs=40, batch=batch, hidden=[2])
            )
            ground = page._trained.job.ground.prepared
            run = train(
                Network((2, 2, 1)), ground.X, ground.y, optimizer=SGD(1.0), epochs=epoch, batch_size=batch or None,
                start=start, engine="compiled",
            )  # fmt: skip
            np.testing.assert_array_equal(got["view"]["vector"], run.parameters.vector)
            assert got["view"]["epoch"] == epoch


def test_the_plane_is_what_the_model_answers(tumor_service):
    page = Page(tumor_service)
    features = ["texture_mean", "radius_mean", "area_mean"]
    view = {"x": "radius_mean", "y": "area_mean", "held": {"texture_mean": 21.5}}
    got = together(asked(page, 1, view, features=features, starts=3, epochs=20, activation="tanh"))
    axes = got["points"]["axes"]
    assert [axis["name"] for axis in axes] == ["radius_mean", "area_mean"]
    steps = (np.arange(GRID) + 0.5) / GRID
    xs, ys = (axis["low"] + steps * (axis["high"] - axis["low"]) for axis in axes)
    job = page._trained.job
    table = Table.from_columns(
        {"texture_mean": np.full(GRID, 21.5), "radius_mean": xs, "area_mean": np.full(GRID, ys[6])}
    )
    done = forward(job.network, Parameters(job.network, got["view"]["vector"]), job.ground.encoding.encode(table))
    # 32 bits of what two arithmetics came to in 64
    np.testing.assert_allclose(got["view"]["outputs"][0, 6], done.probabilities[:, 0], rtol=1e-6)
    every = np.concatenate([done.activations[1], done.probabilities], axis=1)
    np.testing.assert_allclose(got["view"]["units"][:, 3], every.T[:, ::2], rtol=1e-5, atol=1e-6)


def test_the_exact_boundary_lies_where_the_logit_is_0(tumor_service):
    page = Page(tumor_service)
    for view in ({}, {"x": "radius_mean", "y": "texture_mean"}):
        got = together(asked(page, 1, view, starts=5, epochs=60))
        boundary = got["view"]["boundary"]
        assert boundary.shape[1:] == (2, 2)
        assert len(boundary)
        job, (x, y) = page._trained.job, [axis["name"] for axis in got["points"]["axes"]]
        points = Table.from_columns({x: boundary[..., 0].ravel(), y: boundary[..., 1].ravel()})
        logits = forward(
            job.network, Parameters(job.network, got["view"]["vector"]), job.ground.encoding.encode(points)
        ).logits
        # Ends are sent in 32 bits: 1e-7 of a column's values, some of its scales, and slopes of some units.
        assert np.abs(logits).max() < 1e-4


def test_dead_units_are_those_that_are_0_on_every_training_row(tumor_service):
    page = Page(tumor_service)
    asked(page, 1, starts=40, epochs=5, hidden=[4])
    trained = page._trained
    dead = np.flatnonzero(trained.ails[:, 0] >= 0)
    assert len(dead), "some of 40 starts have a dead unit"
    for start in (int(dead[0]), int(np.flatnonzero(trained.ails[:, 0] < 0)[0])):
        got = together(asked(page, 2, {"start": start}, starts=40, epochs=5, hidden=[4]))["view"]
        job = trained.job
        done = forward(job.network, Parameters(job.network, got["vector"]), job.data.X)
        assert got["dead"].tolist() == [*(~done.activations[1].any(axis=0)).astype(int), 0]
        assert got["dead"].any() == (start == dead[0])


@pytest.mark.parametrize(("target", "score"), [("kind", "accuracy"), ("height", "rmse")])
def test_several_classes_and_numbers(target, score):
    page = Page(Service(first_source(flowers(), "flowers", target)))
    got = together(asked(page, starts=6, epochs=80, hidden=[4], optimizer="adam", learning_rate=0.05))
    assert got["starts"]["score"] == score
    assert got["view"]["sizes"][-1] == (3 if target == "kind" else 1)
    assert got["view"]["outputs"].shape == (got["view"]["sizes"][-1], GRID, GRID)
    ground, answers = page._trained.job.ground, got["view"]["answers"]
    if target == "kind":
        np.testing.assert_allclose(answers.sum(axis=1), 1, rtol=1e-6)  # probabilities in 32 bits
        wrong = answers.argmax(axis=1) != got["points"]["value"]
        assert got["view"]["wrong"].tolist() == wrong.astype(int).tolist()
    else:
        tested = got["points"]["tested"] == 1
        error = answers[tested, 0] - flowers().numbers("height")[got["points"]["row"][tested]]
        # 32 bits of numbers up to 300, squared and averaged
        assert np.sqrt((error**2).mean()) == pytest.approx(got["starts"]["scores"][got["view"]["start"]], rel=1e-5)
    soil = next(feature for feature in got["ground"]["held"] if feature["name"] == "soil")
    assert soil["levels"] == ["clay", "loam", "sand"]
    other = together(asked(page, 2, {"held": {"soil": "loam" if soil["value"] != "loam" else "sand"}}, starts=6,
                           epochs=80, hidden=[4], optimizer="adam", learning_rate=0.05))  # fmt: skip
    assert not (other["view"]["outputs"] == got["view"]["outputs"]).all()
    assert ground is page._trained.job.ground


def test_one_column_of_numbers_has_a_line_in_the_place_of_a_plane():
    page = Page(Service(first_source(flowers(), "flowers", "kind")))
    got = together(asked(page, 1, {"held": {"soil": "sand"}}, features=["soil", "length"], starts=4, epochs=5))
    assert got["view"]["outputs"].shape == got["view"]["logits"].shape == (3, LINE)
    (axis,) = got["points"]["axes"]
    assert axis["name"] == "length"
    assert "y" not in got["points"]
    # A point of the line is what the network answers there, and the maps in the units say the same in every row.
    job = page._trained.job
    xs = axis["low"] + (np.arange(LINE) + 0.5) / LINE * (axis["high"] - axis["low"])
    rows = job.ground.encoding.encode(Table.from_columns({"soil": ["sand"] * LINE, "length": xs}))
    p = forward(job.network, Parameters(job.network, got["view"]["vector"]), rows).probabilities
    np.testing.assert_allclose(got["view"]["outputs"], p.T, rtol=1e-5)
    units = got["view"]["units"]
    assert units.shape == (5, GRID // 2, GRID // 2)
    assert (units == units[:, :1]).all()


def test_a_network_without_a_plane_still_has_everything_else():
    page = Page(Service(first_source(flowers(), "flowers", "kind")))
    got = together(asked(page, features=["soil"], starts=4, epochs=5))
    assert "points" not in got
    assert "outputs" not in got["view"]
    assert got["view"]["vector"].shape == (3 * 2 + 2 + 2 * 3 + 3,)


def test_equations_are_those_of_explain(tumor_service):
    page = Page(tumor_service)
    got = together(asked(page, 1, {"row": 17}, starts=5, epochs=20))
    model = service.Model(
        page._trained.job.network, (Parameters(page._trained.job.network, got["view"]["vector"]),),
        page._trained.job.ground.encoding,
    )  # fmt: skip
    worked = explain(model, tumors("all").table, 17)
    assert [line["name"] for line in got["equations"]["lines"]] == [line.symbol for line in worked.lines]
    assert got["equations"]["answer"] == worked.answer
    one = together(asked(page, 2, {"row": 17, "only": "w1_2_1"}, starts=5, epochs=20))["equations"]
    assert [line["name"] for line in one["lines"]] == ["z1_1", "dloss/dw1_2_1"]
    for only, names in (("z2_1", ["z2_1", "p", "loss", "delta2_1"]), ("x2", ["x2"]), ("b1_2", ["z1_2", "dloss/db1_2"])):
        one = together(asked(page, 3, {"row": 17, "only": only}, starts=5, epochs=20))["equations"]
        assert [line["name"] for line in one["lines"]] == names
    assert "got 'z9_1'" in together(asked(page, 4, {"only": "w9_1_1"}, starts=5, epochs=20))["equations"]["answer"]
    assert "569" not in together(asked(page, 5, {"row": 568}, starts=5, epochs=20))["equations"]["answer"]
    assert "from 0 to 568; got 569" in asked(page, 6, {"row": 569}, starts=5, epochs=20)[-1]["problem"]


def test_a_name_from_a_table_is_text_in_every_message():
    table = {
        "<script>alert(1)</script>": [1.0, 2.0, 3.0, 4.0],
        '"onload="x': [2.0, 1.0, 4.0, 3.0],
        "ill": ["<b>", "&", "<b>", "&"],
    }
    page = Page(Service(first_source(Table.from_columns(table), "x", "ill")))
    lines = together(asked(page, starts=2, epochs=2, test=0.0))["equations"]["lines"]
    markup = "".join(piece for line in lines for piece in line["pieces"])
    assert "<script" not in markup
    assert 'data-name="&quot;onload' in markup.replace("&#x27;", "") or "&quot;onload=&quot;" in markup


def test_only_what_changed_is_sent_again(tumor_service):
    page = Page(tumor_service)
    settings = {"starts": 4, "epochs": 10}
    assert {"starts", "ground", "points", "view", "equations", "ailing"} <= set(together(asked(page, 1, **settings)))
    assert set(together(asked(page, 2, **settings))) == {"id", "last"}
    of_the_view = {"id", "last", "view", "equations", "ailing"}
    assert set(together(asked(page, 3, {"epoch": 5}, **settings))) == of_the_view
    assert set(together(asked(page, 4, {"epoch": 5, "row": 3}, **settings))) == {"id", "last", "equations"}
    assert set(together(asked(page, 5, {"row": 3}, starts=4, epochs=11))) == of_the_view | {"starts"}


def one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_FIRST", "_STEP"):
        monkeypatch.setattr(service, name, 0.0)


def test_a_heavy_training_shows_its_first_start_at_once(tumor_service, monkeypatch):
    one_at_a_time(monkeypatch)
    got = asked(Page(tumor_service), starts=9, epochs=300)
    parts = [message["starts"] for message in got if "starts" in message]
    assert parts[0]["done"] == 1
    assert [part["first"] for part in parts[1:]] == [part["done"] for part in parts[:-1]]
    assert parts[-1]["done"] == 9
    assert {(part["kept"], part["settled"]) for part in parts[:-1]} == {(0, False)}  # one picture until all are there
    assert [message["last"] for message in got] == [False] * (len(got) - 1) + [True]
    monkeypatch.setattr(service, "_FIRST", 60.0)
    at_once = together(asked(Page(tumor_service), starts=9, epochs=300))["starts"]
    assert parts[-1]["kept"] == at_once["kept"]
    np.testing.assert_array_equal(np.concatenate([part["losses"] for part in parts]), at_once["losses"])


def test_the_start_that_is_looked_at_comes_first_and_then_the_one_that_was_best(tumor_service, monkeypatch):
    every = together(asked(Page(tumor_service), starts=9, epochs=30, learning_rate=0.3))["starts"]
    one_at_a_time(monkeypatch)
    page = Page(tumor_service)
    got = asked(page, 1, {"start": 7}, starts=9, epochs=30, learning_rate=0.3)
    assert [message["starts"]["numbers"].tolist() for message in got[:3]] == [[7], [0], [1]]
    assert {message["view"]["start"] for message in got if "view" in message} == {7}
    order = np.argsort(np.concatenate([message["starts"]["numbers"] for message in got if "starts" in message]))
    for name in ("losses", "scores", "ails"):
        parts = np.concatenate([message["starts"][name] for message in got if "starts" in message])
        np.testing.assert_array_equal(parts[order], every[name][np.argsort(every["numbers"])])
    kept = page._trained.kept
    assert kept == every["kept"] != 0
    (first, *_) = asked(page, 2, starts=9, epochs=31)
    assert first["starts"]["numbers"].tolist() == [kept]


def test_what_fills_up_waits_for_a_moment_of_rest_and_ends_where_it_is_overtaken(tumor_service, monkeypatch):
    monkeypatch.setattr(service, "_FIRST", 0.0)
    page = Page(tumor_service)
    settings = {"starts": 30, "epochs": 50}
    answers = page.answers(parse(json.dumps({"id": 1, "settings": settings, "view": {}})))
    first, rest = next(answers), next(answers)
    assert first["starts"]["done"] == 1
    assert rest == service._FILL
    page.overtaken()
    assert list(answers) == []
    parts = [first["starts"], *(message["starts"] for message in asked(page, 2, **settings) if "starts" in message)]
    assert sorted(np.concatenate([part["numbers"] for part in parts])) == list(range(30))  # each once


def test_what_takes_some_milliseconds_is_the_same_with_other_numbers(tumor_service, monkeypatch):
    monkeypatch.setattr(service, "_AT_ONCE", 60.0)
    page = Page(tumor_service)

    def request(view: dict[str, Any] | None = None, edits: dict[str, Any] | None = None, **settings: Any) -> Asked:
        settings = {"starts": 3, "epochs": 5, "hidden": [2], "l2": 0.1, **settings}
        return parse(json.dumps({"id": 1, "settings": settings, "view": view or {}, "edits": edits or {}}))

    assert not page.at_once(request())  # nothing is known
    list(page.answers(request()))
    assert page.at_once(request())
    assert page.at_once(request(learning_rate=0.3, l2=0.2))
    assert not page.at_once(request(l2=0))  # another kernel, which may have to be compiled
    assert not page.at_once(request(epochs=6))
    assert not page.at_once(request({"epoch": 2}))
    assert not page.at_once(request(edits={"deleted": [3]}))
    page.answers(request(learning_rate=0.3))  # not begun: it says nothing
    assert page.at_once(request())
    other = Page(tumor_service)
    for seed in range(service.MOST_TABLES):
        list(other.answers(request(seed=seed + 100)))
    assert not page.at_once(request())  # the table is to be prepared anew
    list(page.answers(request(learning_rate=0.3)))
    assert page.at_once(request())
    monkeypatch.setattr(service, "_AT_ONCE", 0.0)
    assert not page.at_once(request())  # too long


@pytest.mark.parametrize(
    ("settings", "views"),
    [
        ({}, [{}, {"row": 3}]),  # nothing was trained for the second
        ({"learning_rate": 1e6, "activation": "identity", "epochs": 60}, [{}]),  # it ended early
        ({"optimizer": "lbfgs"}, [{}]),
    ],
)
def test_what_was_not_trained_to_the_end_says_nothing_of_the_next(tumor_service, monkeypatch, settings, views):
    monkeypatch.setattr(service, "_AT_ONCE", 60.0)
    page = Page(tumor_service)

    def request(view: dict[str, Any], **changed: Any) -> Asked:
        return parse(json.dumps({"id": 1, "settings": {"starts": 3, "epochs": 9, **settings, **changed}, "view": view}))

    for view in views:
        list(page.answers(request(view)))
    if "learning_rate" in settings:
        assert (page._trained.ails[:, 2] >= 0).any()
    assert not page.at_once(request(views[-1], learning_rate=0.1))


def test_a_request_that_came_to_no_message_says_nothing_of_the_next(tumor_service, monkeypatch):
    monkeypatch.setattr(service, "_AT_ONCE", 60.0)
    page = Page(tumor_service)
    asked(page, 1, starts=2, epochs=5)
    assert "problem" in asked(page, 2, starts=2, epochs=5, loss="cross_entropy")[-1]
    for settings in ({"loss": "cross_entropy"}, {}):
        assert not page.at_once(
            parse(json.dumps({"id": 3, "settings": {"starts": 2, "epochs": 5, **settings}, "view": {}}))
        )


def test_only_some_prepared_tables_are_kept(tumor_service):
    def ground(seed: int) -> Any:
        text = json.dumps({"id": 1, "settings": {"seed": seed}, "view": {}})
        return tumor_service.ground(parse(text).settings)

    first = ground(0)
    assert ground(0) is first
    for seed in range(1, service.MOST_TABLES + 1):
        ground(seed)
    assert ground(0) is not first
    assert ground(service.MOST_TABLES) is ground(service.MOST_TABLES)


def test_a_request_that_is_dropped_and_asked_again_goes_on(tumor_service, monkeypatch):
    one_at_a_time(monkeypatch)
    page = Page(tumor_service)
    request = parse(json.dumps({"id": 1, "settings": {"starts": 30, "epochs": 50}, "view": {}}))
    first = next(page.answers(request))
    rest = asked(page, 2, starts=30, epochs=50)
    assert first["starts"]["done"] == rest[0]["starts"]["first"] == 1
    assert [message["starts"]["done"] for message in rest if "starts" in message][-1] == 30


@pytest.mark.parametrize("optimizer", ["sgd", "lbfgs"])
def test_a_long_training_ends_where_it_is_overtaken_and_leaves_no_trace(tumor_service, monkeypatch, optimizer):
    settings = {"starts": 3, "epochs": 30, "optimizer": optimizer}
    monkeypatch.setattr(service, "_FIRST", 60.0)
    at_once = together(asked(Page(tumor_service), **settings))["starts"]
    monkeypatch.setattr(service, "_LONG", 0.0)
    page = Page(tumor_service)
    answers = page.answers(parse(json.dumps({"id": 1, "settings": settings, "view": {}})))
    page.overtaken()  # before it has begun: it ends with the first update
    assert list(answers) == []
    again = together(asked(page, 2, **settings))["starts"]
    np.testing.assert_array_equal(again["losses"], at_once["losses"])


def test_what_takes_too_long_is_stopped_and_said(tumor_service, monkeypatch):
    one_at_a_time(monkeypatch)
    monkeypatch.setattr(service, "MOST_SECONDS", 0.0)
    page = Page(tumor_service)
    last = together(asked(page, 1, starts=30, epochs=50))
    assert "Stopped after 0 s: 1 of 30 starts are trained" in last["problem"]
    assert last["starts"]["settled"]
    assert last["starts"]["kept"] == last["view"]["start"] == 0


def test_a_problem_does_not_spoil_what_follows(tumor_service):
    page = Page(tumor_service)
    assert "problem" in asked(page, 1, features=["no such column"])[-1]
    assert "problem" in asked(page, 2, loss="cross_entropy")[-1]
    assert "problem" in asked(page, 3, {"held": {"texture_mean": "red"}, "x": "radius_mean", "y": "area_mean"},
                              features=["radius_mean", "area_mean", "texture_mean"])[-1]  # fmt: skip
    assert {"starts", "ground", "points", "view"} <= set(together(asked(page, 4, starts=2, epochs=2)))


def test_a_table_is_known_by_what_it_holds(tumor_service):
    one = tumor_service.add(b"a,b\n1,x\n2,y\n3,x\n", "one.csv")
    assert tumor_service.add(b"a,b\n1,x\n2,y\n3,x\n", "two.csv") == one
    with pytest.raises(DataError, match=r"^the file: "):
        tumor_service.add(b"a,b\n1\n", "three.csv")
