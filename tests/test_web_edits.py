"""Rows added, moved and deleted on the page, and noise on the training rows."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tests.test_web_service import flowers, together, tumor_source, unpacked

from glassnet.errors import UsageError
from glassnet.network import Parameters
from glassnet.randomness import Purpose, normal
from glassnet.reference import forward
from glassnet.tables import Table
from glassnet.web.frames import pack
from glassnet.web.ground import first_source
from glassnet.web.service import Page, Service
from glassnet.web.state import MOST_EDITS, parse

SMALL = {"starts": 4, "epochs": 10}


def asked(page, edits, number=1, view=None, **settings):
    text = json.dumps({"id": number, "settings": SMALL | settings, "view": view or {}, "edits": edits})
    return together(
        [unpacked(pack(message)) for message in page.answers(parse(text)) if not isinstance(message, float)]
    )


@pytest.fixture(scope="module")
def tumor_service() -> Service:
    return Service(tumor_source())


def grounds(page):
    ground = page._trained.job.ground
    return ground.origin, ground


def test_a_row_that_is_added_is_a_training_row_and_nothing_else_moves(tumor_service):
    page = Page(tumor_service)
    where = {"radius_mean": 25.5, "texture_mean": 12.25}
    got = asked(page, {"added": [[where, "B"], [{"radius_mean": 7.0}, "M"]]}, view={"row": 569})
    before, after = grounds(page)
    assert got["ground"]["train"] == len(before.prepared.X) + 2
    np.testing.assert_array_equal(after.prepared.X[:-2], before.prepared.X)
    np.testing.assert_array_equal(after.prepared.X_test, before.prepared.X_test)
    assert after.encoding is before.encoding
    row = Table.from_columns({name: [value] for name, value in where.items()} | {"diagnosis": ["B"]})
    np.testing.assert_array_equal(after.prepared.X[-2], before.encoding.encode(row)[0])
    np.testing.assert_array_equal(after.prepared.y[-2:], [[0.0], [1.0]])
    middle = before.middle("texture_mean")
    assert after.source.table.column("texture_mean").values[570] == middle
    points = got["points"]
    at = points["row"].tolist().index(569)
    assert (points["tested"][at], points["by_hand"][at], points["by_hand"].sum()) == (0, 1, 2)
    assert (points["x"][at], points["y"][at], points["value"][at]) == (12.25, 25.5, 0)
    assert got["equations"]["said"] == "row 569, diagnosis B (added by hand)"
    assert {axis["name"]: (axis["low"], axis["high"]) for axis in points["axes"]} == {
        axis["name"]: (axis["low"], axis["high"]) for axis in asked(Page(tumor_service), {})["points"]["axes"]
    }


def test_training_follows_a_row_that_is_moved_and_one_that_is_deleted(tumor_service):
    page = Page(tumor_service)
    plain = asked(page, {})
    before = page._trained.job.ground
    train, test = int(before.prepared.train_rows[3]), int(before.prepared.test_rows[5])
    moved = [[train, {"radius_mean": 28.0}], [test, {"radius_mean": 28.0, "texture_mean": 39.0}]]
    got = asked(page, {"moved": moved}, view={"row": train})
    _, after = grounds(page)
    assert not (got["view"]["vector"] == plain["view"]["vector"]).all()
    for row, X, rows in ((train, after.prepared.X, after.prepared.train_rows),
                         (test, after.prepared.X_test, after.prepared.test_rows)):  # fmt: skip
        np.testing.assert_array_equal(
            X[list(rows).index(row)], before.encoding.encode(after.source.table.select([row]))[0]
        )
    assert (after.prepared.X != before.prepared.X).sum() == 1
    assert got["equations"]["said"].endswith("(moved by hand)")
    gone = asked(page, {"deleted": [train, test]}, view={"row": train})
    _, after = grounds(page)
    assert (gone["ground"]["train"], gone["ground"]["test"]) == (
        len(before.prepared.X) - 1, len(before.prepared.X_test) - 1,
    )  # fmt: skip
    assert not {train, test} & set(gone["points"]["row"].tolist())
    np.testing.assert_array_equal(after.prepared.X, np.delete(before.prepared.X, 3, axis=0))
    assert gone["equations"]["said"].endswith("(deleted by hand)")
    back = asked(page, {})
    np.testing.assert_array_equal(back["view"]["vector"], plain["view"]["vector"])


def test_every_kind_of_column_can_be_edited():
    page = Page(Service(first_source(flowers(), "flowers", "height")))
    got = asked(page, {"added": [[{"soil": "loam", "kind": "broom", "length": 2.0}, 77.5]],
                       "moved": [[4, {"width": 3.0, "soil": "sand"}]]})  # fmt: skip
    _, ground = grounds(page)
    table = ground.source.table
    assert [table.select([90]).texts(name)[0] for name in ("soil", "kind", "length", "height")] == [
        "loam", "broom", "2", "77.5",
    ]  # fmt: skip
    assert [table.select([4]).texts(name)[0] for name in ("soil", "width")] == ["sand", "3"]
    assert got["points"]["value"][got["points"]["row"].tolist().index(90)] == 77.5
    whole = Page(Service(first_source(Table.from_columns({"x": [1.0, 2.0, 3.0, 4.0] * 5, "k": [0, 1] * 10}), "t", "k")))
    got = asked(whole, {"added": [[{"x": 9.0}, "1"]]}, test=0.0)
    assert got["points"]["value"].tolist()[-1] == 1


def test_the_tables_own_cells_stay_as_they_are(tumor_service):
    table = tumor_service.ground(parse('{"id": 1, "settings": {}, "view": {}}').settings).source.table
    before = table.column("radius_mean").values.copy()
    asked(Page(tumor_service), {"moved": [[0, {"radius_mean": 1.0}]]}, noise=1.0)
    np.testing.assert_array_equal(table.column("radius_mean").values, before)


@pytest.mark.parametrize(
    ("edits", "said"),
    [
        ({"deleted": [569]}, "from 0 to 568; got 569"),
        ({"moved": [[1000, {"radius_mean": 1.0}]]}, "from 0 to 568; got 1000"),
        ({"moved": [[0, {"area_mean": 1.0}]]}, "along the features"),
        ({"moved": [[0, {"radius_mean": "big"}]]}, "'radius_mean' is a number; got 'big'"),
        ({"moved": [[0, {"radius_mean": 1e300}]]}, "at most 1000 standard deviations from the mean; got 1e+300"),
        ({"added": [[{"radius_mean": 1.0}, "X"]]}, "'diagnosis' is one of"),
        ({"added": [[{"radius_mean": 1.0}, 3.0]]}, "'diagnosis' is one of"),
    ],
)
def test_what_cannot_be_done_to_a_row_is_said(tumor_service, edits, said):
    page = Page(tumor_service)
    assert said in asked(page, edits)["problem"]
    assert "view" in asked(page, {}, 2)


def test_one_row_at_least_is_left():
    table = Table.from_columns({"x": [1.0, 2.0, 3.0, 4.0], "k": ["a", "b", "a", "b"]})
    page = Page(Service(first_source(table, "t", "k")))
    assert "one row at least" in asked(page, {"deleted": [0, 1, 2, 3]}, test=0.0)["problem"]
    assert asked(page, {"deleted": [0, 1, 2]}, test=0.0)["ground"]["train"] == 1


@pytest.mark.parametrize(
    "edits",
    [
        [], None, {"more": []}, {"added": {}}, {"added": [[{}]]}, {"added": [[{}, None]]}, {"added": [[[], "B"]]},
        {"added": [[{}, True]]}, {"moved": [[0]]}, {"moved": [[-1, {}]]}, {"moved": [["0", {}]]},
        {"moved": [[0, {"x": None}]]},
        {"moved": [[0, {}], [0, {}]]}, {"deleted": [1.5]}, {"deleted": [True]}, {"deleted": [1, 1]}, {"deleted": 3},
        {"deleted": list(range(MOST_EDITS + 1))}, {"moved": [[0, {"x": 1e301}]]}, {"added": [[{"x" * 2000: 1}, "B"]]},
    ],
)  # fmt: skip
def test_edits_are_read_strictly(edits):
    with pytest.raises(UsageError) as refused:
        parse(json.dumps({"id": 1, "settings": {}, "view": {}, "edits": edits}))
    assert len(str(refused.value)) < 600


def test_noise_is_of_the_seed_and_of_training_rows_alone(tumor_service):
    page = Page(tumor_service)
    plain = asked(page, {}, seed=3)
    got = asked(page, {}, seed=3, noise=0.5)
    before, after = grounds(page)
    drawn = np.stack([normal(569, seed=3, purpose=Purpose.NOISE, network=k) for k in range(2)], axis=1)
    np.testing.assert_allclose(
        after.prepared.X, before.prepared.X + 0.5 * drawn[before.prepared.train_rows], atol=1e-12
    )  # inputs are in standard deviations
    np.testing.assert_array_equal(after.prepared.X_test, before.prepared.X_test)
    np.testing.assert_array_equal(after.y, before.y)
    assert not (got["view"]["vector"] == plain["view"]["vector"]).all()
    assert got["equations"]["said"].endswith("(with noise)")
    # What is drawn is where the rows lie now, and it is what the network answers for them there.
    network = page._trained.job.network
    p = forward(network, Parameters(network, got["view"]["vector"]), after.X).probabilities
    np.testing.assert_allclose(got["view"]["answers"], p[after.some], rtol=1e-6)
    at = list(after.drawn).index(after.prepared.train_rows[0])
    x = before.encoding.columns[0]
    assert got["points"]["x"][at] == pytest.approx(x.center + x.scale * after.prepared.X[0, 0], rel=1e-6)
    # Deleting one row leaves the noise of all others as it was.
    asked(page, {"deleted": [int(before.prepared.train_rows[0])]}, seed=3, noise=0.5)
    np.testing.assert_array_equal(grounds(page)[1].prepared.X, after.prepared.X[1:])


def test_noise_leaves_texts_and_missing_cells_alone():
    page = Page(Service(first_source(flowers(), "flowers", "kind")))
    asked(page, {}, noise=2.0)
    before, after = grounds(page)
    names = list(before.encoding.feature_names)
    for n, name in enumerate(names):
        same = after.prepared.X[:, n] == before.prepared.X[:, n]
        if name in ("length", "height"):
            assert not same.any(), name
        elif name == "width":
            assert np.flatnonzero(same).tolist() == np.flatnonzero(before.prepared.train_rows == 4).tolist()
        else:
            assert same.all(), name
