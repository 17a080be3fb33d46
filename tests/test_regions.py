"""The map of two columns: it fills its rectangle, its equations are predict's, its boundary is the decision's."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import glassnet as gn
from glassnet import reference
from glassnet.columns import BooleanColumn, NumberColumn
from glassnet.encoding import Encoding, Target
from glassnet.errors import UsageError
from glassnet.model import Model
from glassnet.network import Network, Parameters
from glassnet.regions import Regions, boundary_of
from glassnet.tables import Table

SVG = "{http://www.w3.org/2000/svg}"
TARGETS = {
    "binary_cross_entropy": Target("y", "binary", ("no", "yes")),
    "cross_entropy": Target("y", "classes", ("a", "b", "c", "d")),
    "mean_squared_error": Target("y", "number", (), 40.0, 12.5),
}


@st.composite
def models(draw: st.DrawFn, losses: tuple[str, ...] = tuple(TARGETS)) -> Model:
    """Two columns, one perhaps in pieces, and a network with random parameters."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    loss = draw(st.sampled_from(losses))
    edges = draw(st.sampled_from([(), (5.0, 9.0, 11.0)]))
    columns = (NumberColumn("a", 8.0, 3.0, 8.0, edges=edges), NumberColumn("b", -1.0, 0.1, -1.0, missing=True))
    encoding = Encoding(columns, TARGETS[loss])
    hidden = draw(st.lists(st.integers(1, 6), max_size=2))
    sizes = (encoding.n_features, *hidden, max(1, len(TARGETS[loss].classes) * (loss == "cross_entropy")))
    network = Network(sizes, draw(st.sampled_from(["relu", "leaky_relu"])), loss)
    return Model(network, (Parameters(network, rng.normal(size=network.n_parameters)),), encoding)


def table_of(points: Any) -> dict[str, list[float]]:
    return {"a": points[:, 0].tolist(), "b": points[:, 1].tolist()}


def logits(model: Model, points: Any) -> Any:
    X = model.encoder.encode(model.table(table_of(points)))
    found = reference.forward(model.network, model.members[0], X).logits
    return model.target.center + model.target.scale * found if model.task == "regression" else found


def within(corners: Any, n: int = 5, seed: int = 0) -> Any:
    return np.random.default_rng(seed).dirichlet(np.ones(len(corners)), n) @ corners


def area(corners: Any) -> float:
    x, y = (corners - corners[0]).T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def assert_is_the_model(found: Regions, model: Model) -> None:
    """The equations are predict's at points of every region, the sides its decisions, and both fill the rectangle."""
    whole = float(np.prod(found.high - found.low))
    assert sum(region.area for region in found.regions) == pytest.approx(whole, rel=1e-8)
    for region in found.regions:
        points = within(region.corners)
        np.testing.assert_allclose(region.outputs(points), logits(model, points), rtol=1e-6, atol=1e-6)
    if model.task == "regression":
        assert (found.sides, found.boundary) == ((), ())
        return
    assert sum(area(corners) for corners, _ in found.sides) == pytest.approx(whole, rel=1e-8)
    for corners, k in found.sides:
        assert set(model.predict(table_of(within(corners)))) == {model.classes[k]}


@given(models())
@settings(max_examples=40)
def test_the_map_is_the_model(model: Model) -> None:
    assert_is_the_model(model.regions(), model)


@given(models(("binary_cross_entropy", "cross_entropy")))
@settings(max_examples=40)
def test_the_boundary_is_where_decisions_change(model: Model) -> None:
    """On each segment the two leading classes are equal; a step off its middle to both sides are two decisions."""
    found = model.regions()
    size = found.high - found.low
    for segment in found.boundary:
        middle = segment.mean(axis=0)
        p = np.sort(model.predict_proba(table_of(middle[np.newaxis]))[0])
        assert p[-1] == pytest.approx(p[-2], abs=1e-8)
        along = (segment[1] - segment[0]) / size
        if np.linalg.norm(along) < 1e-4:
            continue
        across = np.array([-along[1], along[0]]) * size / np.linalg.norm(along)
        sides = model.predict(table_of(middle + np.outer([-1e-6, 1e-6], across)))
        assert sides[0] != sides[1]


@given(models(("binary_cross_entropy", "cross_entropy")))
@settings(max_examples=40)
def test_the_boundary_alone_is_that_of_the_map(model: Model) -> None:
    found = model.regions()
    alone = boundary_of(model.network, model.members[0], model.encoder, found.low.tolist(), found.high.tolist())
    assert len(alone) == len(found.boundary)
    for one, other in zip(alone, found.boundary, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_weights_beyond_all_measure_have_some_boundary_or_none() -> None:
    """What a start that diverged leaves: products overflow, and no line is where it says."""
    table = Table.from_columns({"a": [0.0, 2.0], "b": [0.0, 2.0], "kind": ["n", "y"]})
    encoding, _, _ = Encoding.fit(table, ["a", "b"], "kind")
    network = Network((2, 3, 3, 1))
    for seed in range(20):
        vector = 1e160 * np.random.default_rng(seed).normal(size=network.n_parameters)
        for segment in boundary_of(network, Parameters(network, vector), encoding, [-1, -1], [3, 3]):
            assert segment.shape == (2, 2)


@given(models(("binary_cross_entropy", "cross_entropy")))
@settings(max_examples=25)
def test_no_change_of_decision_is_off_the_boundary(model: Model) -> None:
    """Neighbours on a grid that are decided differently have a segment between them, or nearly so."""
    found = model.regions()
    grid = np.stack(np.meshgrid(np.linspace(0.001, 0.999, 40), np.linspace(0.001, 0.999, 40)), axis=-1)
    decided = np.array(model.predict(table_of((found.low + grid * (found.high - found.low)).reshape(-1, 2))))
    decided = decided.reshape(40, 40)
    segments = [(s - found.low) / (found.high - found.low) for s in found.boundary]
    for i, j in np.argwhere(decided[:, 1:] != decided[:, :-1]):
        middle = (grid[i, j] + grid[i, j + 1]) / 2
        assert segments
        assert min(distance(middle, segment) for segment in segments) < 0.6 / 39


def distance(point: Any, segment: Any) -> float:
    along = segment[1] - segment[0]
    t = np.clip((point - segment[0]) @ along / max(along @ along, 1e-300), 0, 1)
    return float(np.linalg.norm(point - segment[0] - t * along))


@given(models(("binary_cross_entropy",)), st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_the_nearest_flip_is_the_nearest_polygon(model: Model, seed: int) -> None:
    """Two ways to the same: branch and bound, and the distance to what is decided otherwise on the map."""
    columns = model.encoder.columns
    low, high = ([c.center + sign * 40 * c.scale for c in columns] for sign in (-1, 1))
    found = model.regions(low, high)
    centers, scales = (np.array([getattr(c, part) for c in columns]) for part in ("center", "scale"))
    point = np.random.default_rng(seed).normal(size=2)
    local = model.local(dict(zip("ab", (centers + scales * point).tolist(), strict=True)))
    nearest = np.inf
    for corners, k in found.sides:
        if model.classes[k] != local.prediction:
            scaled = (corners - centers) / scales
            edges = [np.array([scaled[i - 1], scaled[i]]) for i in range(len(scaled))]
            nearest = min(nearest, *(distance(point, edge) for edge in edges))
    assert local.flip is not None
    if min(nearest, local.flip.upper) < 30:
        assert local.flip.exact
        assert local.flip.upper == pytest.approx(nearest, rel=1e-6, abs=1e-7)


def test_the_comparison_can_fail() -> None:
    model = gn.fit(
        {"a": [0.0, 1.0, 2.0, 3.0], "b": [0.0, 3.0, 1.0, 2.0], "y": ["n", "n", "y", "y"]}, "y", starts=2, test_size=None
    ).model
    found = model.regions()
    assert_is_the_model(found, model)
    first = replace(found.regions[0], intercepts=found.regions[0].intercepts + 1e-4)
    with pytest.raises(AssertionError):
        assert_is_the_model(replace(found, regions=(first, *found.regions[1:])), model)
    with pytest.raises(AssertionError):
        assert_is_the_model(replace(found, regions=found.regions[1:]), model)
    with pytest.raises(AssertionError):
        assert_is_the_model(replace(found, sides=tuple((corners, 1 - k) for corners, k in found.sides)), model)


def model_of(columns: tuple[Any, ...], activation: str = "relu") -> Model:
    encoding = Encoding(columns, TARGETS["binary_cross_entropy"])
    network = Network((encoding.n_features, 2, 1), activation)
    return Model(network, (gn.initialize(network),), encoding)


PLAIN = NumberColumn("a", 0.0, 1.0, 0.0)


def test_what_has_no_map_is_refused() -> None:
    two = (PLAIN, NumberColumn("b", 0.0, 1.0, 0.0))
    for columns in (
        (PLAIN,),
        (*two, BooleanColumn("c", 0.5)),
        (PLAIN, BooleanColumn("c", 0.5)),
        (PLAIN, replace(PLAIN, source="b", clip=True)),
    ):
        with pytest.raises(UsageError, match="two columns of numbers"):
            model_of(columns).regions()
    with pytest.raises(UsageError, match="this one has 'tanh', 'identity'"):
        model_of(two, "tanh").regions()
    model = model_of(two)
    with pytest.raises(UsageError, match="this model averages 2"):
        replace(model, members=model.members * 2).regions()
    for low, high in (([0, 0], [0, 1]), ([0], [1]), ([0, 0], [1, np.inf])):
        with pytest.raises(UsageError, match="A rectangle is given by low and high"):
            model.regions(low, high)
    with pytest.raises(UsageError, match="finite numbers"):
        gn.drawing.regions_svg(model.regions(), points=[[1.0, np.nan]])


# The picture.


@given(models(), st.sampled_from(["<script>", 'id="x" url(#y)', "名前" * 30, "\x00\ud800\x1b]", "a & b"]))
@settings(max_examples=25)
def test_the_picture_holds_what_the_map_holds(model: Model, name: str) -> None:
    found = replace(model.regions(), columns=(name, "b"))
    svg = gn.drawing.regions_svg(found, points=[[8.0, -1.0], [1e9, 0.0]])
    root = ElementTree.fromstring(svg)
    assert len(root.findall(f".//{SVG}polygon")) == len(found.regions)
    assert len(root.findall(f".//{SVG}path")) == len(found.sides)
    assert len(root.findall(f".//{SVG}circle")) == 1  # the other lies outside
    boundary = [line for line in root.findall(f".//{SVG}line") if line.get("class") == "gn-boundary"]
    assert len(boundary) == len(found.boundary) + bool(found.boundary)  # and one in the legend
    assert root.find(f"{SVG}title") is not None
    assert root.find(f"{SVG}desc") is not None
    for element in root.iter():
        assert "id" not in element.attrib
    numbers = [float(n) for element in root.iter() for key in ("x", "y", "x1", "x2", "cx") if (n := element.get(key))]
    assert all(-1 <= n <= 5000 for n in numbers)
    assert "prefers-color-scheme:dark" in svg
    assert not re.search("[\x00\ud800\x1b]", svg)
