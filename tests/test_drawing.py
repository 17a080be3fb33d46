"""The pictures: what they draw is what was handed in, nothing overlaps, nothing breaks on any name or number."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from glassnet.drawing import (
    boundary_figure,
    distribution_figure,
    figure_svg,
    learning_curves_figure,
    network_svg,
)
from glassnet.drawing.figures import _bin_edges
from glassnet.errors import UsageError
from glassnet.network import Network, Parameters
from glassnet.svg import significant

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = [
    'id="x" url(#y)',
    "<script>alert('x')</script>",
    'a & b " c',
    "\x00\ud800\x1b]",
    "名前" * 40,
    "$x^{",
    "_hidden",
    "",
    "a\nb\tc",
]


def drawn(sizes, seed=0, scale=1.0, **names):
    network = Network(sizes, loss="cross_entropy" if sizes[-1] > 1 else "binary_cross_entropy")
    vector = scale * np.random.default_rng(seed).standard_normal(network.n_parameters)
    parameters = Parameters(network, vector)
    svg = network_svg(network, parameters, **names)
    return parameters, svg, ElementTree.fromstring(svg)


def edges(root):
    return {line.get("data-symbol"): line for line in root.iter(f"{SVG}line") if line.get("data-symbol")}


def texts(root):
    return ["".join(text.text or "") for text in root.iter(f"{SVG}text")]


def weight(parameters, symbol):
    layer, source, target = map(int, re.fullmatch(r"w(\d+)_(\d+)_(\d+)", symbol).groups())
    return parameters.weights[layer - 1][source - 1, target - 1]


# Numbers.


@given(st.floats(-1e300, 1e300), st.integers(1, 8))
def test_significant_digits_keep_value_and_sign(value, digits):
    text = significant(value, digits)
    read = float(text.replace("−", "-"))
    # Rounded to `digits` digits: half a unit of the last one at most, 5e-digits relative to the leading digit.
    assert read == pytest.approx(value, rel=5.01 * 10.0**-digits, abs=0)
    assert (read == 0) == (value == 0)
    assert "-" not in text


def test_significant_of_what_is_no_number():
    assert [significant(x) for x in (np.nan, np.inf, -np.inf, -0.0)] == ["nan", "inf", "−inf", "0"]


# The network.


@pytest.mark.parametrize(
    ("sizes", "n_drawn", "most_bytes"),
    [
        ((2, 2, 1), 6, 10_000),
        ((2, 6, 6, 6, 1), 90, 30_000),
        ((12, 12), 144, 40_000),
        ((13, 12), 11 * 12, 40_000),
        ((30, 16, 1), 11 * 11 + 11, 40_000),
        ((64, 32, 10), 11 * 11 + 11 * 10, 60_000),
        ((784, 300, 100, 10), 11 * 11 + 11 * 11 + 11 * 10, 100_000),
    ],
)
def test_every_shown_connection_is_an_edge_and_size_is_bounded(sizes, n_drawn, most_bytes):
    _, svg, root = drawn(sizes)
    assert len(edges(root)) == n_drawn
    assert len(svg.encode()) < most_bytes
    shown = [f"{size:,} units" for size in sizes[1:] if size > 1]
    assert all(any(part in text for text in texts(root)) for part in shown)
    assert sum(text == "⋮" for text in texts(root)) == sum(size > 12 for size in sizes)


@given(st.lists(st.integers(1, 14), min_size=2, max_size=5), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_hue_follows_sign_and_width_follows_magnitude(sizes, seed):
    parameters, _, root = drawn(tuple(sizes), seed)
    found = [(weight(parameters, symbol), line) for symbol, line in edges(root).items()]
    assert found
    for value, line in found:
        assert line.get("class") == ("gn-positive" if value > 0 else "gn-negative")
        assert str(value) in line.find(f"{SVG}title").text
    widths = [float(line.get("stroke-width")) for _, line in sorted(found, key=lambda pair: abs(pair[0]))]
    assert widths == sorted(widths)
    strongest, width = max(abs(value) for value, _ in found), widths[-1]
    for value, line in found:  # proportional, to the two printed decimals, down to the thinnest visible line
        assert float(line.get("stroke-width")) == pytest.approx(max(width * abs(value) / strongest, 0.35), abs=0.0051)


def test_legend_states_the_scale_of_the_edges():
    parameters, _, root = drawn((2, 3, 1))
    lines = [line for line in root.iter(f"{SVG}line") if line.get("class") == "gn-scale"]
    values = [float(text.removeprefix("|w| = ")) for text in texts(root) if text.startswith("|w| = ")]
    edge = edges(root)["w1_1_1"]
    per_unit = float(edge.get("stroke-width")) / abs(weight(parameters, "w1_1_1"))
    assert [float(line.get("stroke-width")) for line in lines] == pytest.approx(
        [per_unit * value for value in values],
        rel=0.05,  # widths have two decimals; the edge measured here is well above 0.1 wide
    )


def test_small_networks_print_every_weight_and_bias():
    parameters, _, root = drawn((2, 2, 1))
    found = texts(root)
    for weights in parameters.weights:
        assert all(significant(value) in found for value in weights.ravel())
    for biases in parameters.biases:
        assert all(f"b = {significant(value)}" in found for value in biases)
    assert {"inputs", "relu", "sigmoid"} <= set(found)


def boxes_of_labels(root):
    return [
        tuple(float(rect.get(key)) for key in ("x", "y", "width", "height"))
        for rect in root.iter(f"{SVG}rect")
        if rect.get("x")
    ]


def overlapping(boxes):
    return [
        (a, b)
        for a, b in combinations(boxes, 2)
        if abs(a[0] + a[2] / 2 - b[0] - b[2] / 2) < (a[2] + b[2]) / 2
        and abs(a[1] + a[3] / 2 - b[1] - b[3] / 2) < (a[3] + b[3]) / 2
    ]


SMALL = st.lists(st.integers(1, 12), min_size=2, max_size=5).filter(
    lambda sizes: sum(a * b for a, b in pairwise(sizes)) <= 30
)


@given(SMALL, st.integers(0, 99), st.sampled_from([1.0, 1e-3, 1e-9, 1e5]))
@settings(max_examples=30, deadline=None)
def test_printed_weights_never_overlap(sizes, seed, scale):
    parameters, _, root = drawn(tuple(sizes), seed, scale)
    boxes = boxes_of_labels(root)
    assert len(boxes) == sum(weights.size for weights in parameters.weights)
    assert not overlapping(boxes)
    circles = [tuple(float(circle.get(key)) for key in ("cx", "cy", "r")) for circle in root.iter(f"{SVG}circle")]
    squares = [(x - r, y - r, 2 * r, 2 * r) for x, y, r in circles]
    assert not [pair for pair in overlapping([*boxes, *squares]) if pair[0] in boxes and pair[1] in squares]


def test_overlap_is_seen_where_there_is_one():
    assert overlapping([(0, 0, 10, 10), (9, 9, 10, 10)])
    assert not overlapping([(0, 0, 10, 10), (11, 0, 10, 10)])


@pytest.mark.parametrize("sizes", [(2, 2, 1), (8, 30, 3)])
def test_without_parameters_no_number_is_drawn_that_was_not_given(sizes):
    network = Network(sizes, loss="mean_squared_error")
    root = ElementTree.fromstring(network_svg(network, feature_names=["a"] * sizes[0]))
    lines = edges(root).values()
    assert {(line.get("class"), line.get("stroke-width")) for line in lines} == {("gn-neutral", "1.00")}
    assert not any("b = " in text or "|w|" in text or re.search(r"\d[.]\d", text) for text in texts(root))


@pytest.mark.parametrize("name", HOSTILE)
def test_any_name_gives_well_formed_text(name):
    _, svg, root = drawn((2, 2, 1), feature_names=[name, "radius"], output_names=[name])
    assert not list(root.iter(f"{SVG}script"))
    assert "<script" not in svg
    svg.encode("utf-8")
    figure = boundary_figure(
        lambda table: np.full(len(table), 0.2),
        [[0.0, 1.0]],
        [0],
        [[1.0, 1.0]],
        [1],
        feature_names=[name, name],
        class_names=[name, name],
        title=name,
    )
    ElementTree.fromstring(figure_svg(figure).encode())
    curves = learning_curves_figure([[2.0, 1.0]], 0, baseline={name: [2.0, 1.5]}, labels=(name, name))
    ElementTree.fromstring(figure_svg(curves).encode())
    ElementTree.fromstring(figure_svg(distribution_figure([1.0, 2.0], label=name, marks={name: 1.5})).encode())


def test_long_names_are_shortened_and_kept_whole_as_tooltip():
    name = "a_column_whose_name_says_everything_about_it_and_more"
    _, svg, root = drawn((2, 2, 1), feature_names=[name, "radius"])
    text = next(text for text in root.iter(f"{SVG}text") if "…" in (text.text or ""))
    assert len(text.text) == 24
    assert text.find(f"{SVG}title").text == name
    assert f">{name}</text>" not in svg


def test_it_is_named_and_described_for_those_who_do_not_see_it():
    parameters, _, root = drawn((2, 2, 1), feature_names=["texture", "radius"], output_names=["P(malignant)"])
    assert root.get("role") == "img"
    assert root.get("aria-label") == root.find(f"{SVG}title").text == "Network 2-2-1"
    description = root.find(f"{SVG}desc").text
    assert "texture, radius" in description
    assert f"w1_2_1 = {significant(parameters.weights[0][1, 0])}" in description


def test_two_pictures_on_one_page_do_not_touch_each_other():
    first, second = drawn((2, 2, 1))[1], drawn((3, 2, 1))[1]
    scopes = []
    for svg in (first, second):
        root = ElementTree.fromstring(svg)
        assert not [element for element in root.iter() if element.get("id")]
        scope = root.get("class")
        rules = root.find(f"{SVG}style").text.replace("@media (prefers-color-scheme:dark){", "")
        selectors = [rule.split("{")[0] for rule in rules.split("}") if rule.strip()]
        assert selectors
        assert all(selector.startswith(f".{scope} ") for selector in selectors)
        scopes.append(scope)
    assert scopes[0] != scopes[1]


def test_same_picture_for_same_numbers():
    assert drawn((4, 3, 2))[1] == drawn((4, 3, 2))[1]
    assert drawn((4, 3, 2))[1] != drawn((4, 3, 2), seed=1)[1]


def test_weights_of_zero_and_not_finite_are_dashed():
    network = Network((3, 1), loss="mean_squared_error")
    svg = network_svg(network, Parameters(network, np.array([0.0, np.nan, np.inf, 1.0])))
    lines = edges(ElementTree.fromstring(svg))
    assert all(line.get("stroke-dasharray") for line in lines.values())
    assert "2 weights not finite" in svg
    ElementTree.fromstring(network_svg(network, Parameters(network, np.zeros(4))))


def test_float32_weights_are_shown_as_they_are():
    network = Network((1, 1), loss="mean_squared_error")
    svg = network_svg(network, Parameters(network, np.array([0.1, 0.2], dtype=np.float32)))
    assert "w1_1_1 = 0.1<" in svg


def test_mistakes_are_named():
    network = Network((2, 2, 1))
    other = Network((3, 2, 1))
    with pytest.raises(UsageError, match="2 here; got 1"):
        network_svg(network, feature_names=["a"])
    with pytest.raises(UsageError, match="got 'ab'"):
        network_svg(network, feature_names="ab")
    with pytest.raises(UsageError, match="same sizes"):
        network_svg(network, Parameters(other, np.zeros(other.n_parameters)))
    with pytest.raises(UsageError, match=r"stack of shape \(4,\)"):
        network_svg(network, Parameters(network, np.zeros((4, network.n_parameters))))


# The figures.


def rows(n, seed=0):
    X = np.random.default_rng(seed).normal((19, 14), (4, 3), (n, 2))
    return X, (X[:, 1] + np.sin(X[:, 0]) > 14).astype(int)


def sigmoid_of_radius(table):
    return 1 / (1 + np.exp(14 - table[:, 1]))


def boundary(probability=sigmoid_of_radius, n_train=455, n_test=114):
    names = {"feature_names": ["texture_mean", "radius_mean"], "class_names": ["benign", "malignant"]}
    return boundary_figure(probability, *rows(n_train), *rows(n_test, 1), **names)


def legend_of(figure):
    legend = figure.legends[0] if figure.legends else figure.axes[0].get_legend()
    return [text.get_text() for text in legend.get_texts()]


def test_boundary_lies_where_the_probability_is_one_half():
    figure = boundary()
    axes = figure.axes[0]
    line = next(c for c in axes.collections if list(getattr(c, "levels", ())) == [0.5])
    heights = np.concatenate([path.vertices[:, 1] for path in line.get_paths()])
    # Linear interpolation between mesh points 0.15 apart of a curve that is odd about 14.
    assert heights == pytest.approx(14, abs=0.01)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("texture_mean", "radius_mean")


def test_misclassified_test_rows_are_ringed():
    X, y = rows(114, 1)
    wrong = (sigmoid_of_radius(X) > 0.5) != y
    figure = boundary()
    label = f"test, misclassified: {wrong.sum()} of 114"
    assert label in legend_of(figure)
    drawn_points = {tuple(point) for point in X[wrong]}
    assert any({tuple(point) for point in line.get_xydata()} == drawn_points for line in figure.axes[0].lines)


def test_no_boundary_is_drawn_where_there_is_none():
    figure = boundary(lambda table: np.full(len(table), 0.9))
    assert "no boundary: malignant everywhere" in legend_of(figure)
    figure_svg(figure)
    figure_svg(boundary(lambda table: np.full(len(table), 0.5)))


def test_boundary_of_many_rows_stays_small():
    assert len(figure_svg(boundary(n_train=20_000, n_test=5_000))) < 900_000
    assert len(figure_svg(boundary())) < 400_000


def test_boundary_refuses_what_it_cannot_draw():
    with pytest.raises(UsageError, match="from 0 to 1"):
        boundary(lambda table: table[:, 0])
    with pytest.raises(UsageError, match="from 0 to 1"):
        boundary(lambda table: np.full(len(table), np.nan))
    X, y = rows(5)
    names = {"feature_names": ["a", "b"], "class_names": ["no", "yes"]}
    with pytest.raises(UsageError, match=r"targets are 0 or 1; got [23]"):
        boundary_figure(sigmoid_of_radius, X, y + 2, X, y, **names)
    with pytest.raises(UsageError, match="train rows"):
        boundary_figure(sigmoid_of_radius, X[:, :1], y, X, y, **names)
    with pytest.raises(UsageError, match="Two features"):
        boundary_figure(sigmoid_of_radius, X, y, X, y, feature_names=["a"], class_names=["no", "yes"])


def losses(n_starts=1000, n_epochs=100):
    rng = np.random.default_rng(0)
    speeds, ends = rng.uniform(3, 30, (n_starts, 1)), rng.uniform(0.2, 0.7, (n_starts, 1))
    return ends + rng.gamma(1.0, 0.5, (n_starts, 1)) * np.exp(-np.arange(n_epochs + 1) / speeds)


def test_a_thousand_learning_curves_stay_small():
    assert len(figure_svg(learning_curves_figure(losses(), 412))) < 400_000


def test_median_and_kept_start_are_what_they_say():
    curves = losses(51)
    figure = learning_curves_figure(curves, 7, baseline={"by hand": curves[0] * 1.1})
    lines = dict(zip(legend_of(figure)[1:], figure.axes[0].lines, strict=True))
    assert np.array_equal(lines["kept: start 7"].get_ydata(), curves[7])
    assert np.array_equal(lines["median"].get_ydata(), np.median(curves, axis=0))
    assert np.array_equal(lines["by hand"].get_ydata(), curves[0] * 1.1)


def test_diverged_curves_are_counted_and_left_out_of_the_median():
    curves = losses(5)
    curves[1, 40:] = np.nan
    curves[2, 0:] = np.inf
    figure = learning_curves_figure(curves, 0)
    assert figure.axes[0].get_title(loc="left") == "5 random starts; 2 diverged, drawn until then"
    assert figure.axes[0].lines[0].get_ydata()[50] == np.median(curves[[0, 3, 4], 50])
    figure_svg(figure)
    figure_svg(learning_curves_figure(np.full((3, 4), np.nan), 0))
    figure_svg(learning_curves_figure(np.full((3, 4), np.nan), 0, baseline={"by hand": [1.0, 0.5]}))


def test_scale_follows_the_span_of_the_curves():
    curves = losses(50)
    assert learning_curves_figure(curves, 0).axes[0].get_yscale() == "linear"
    many_decades = np.tile(10.0 ** -np.linspace(0, 4, 30), (5, 1))
    assert learning_curves_figure(many_decades, 0).axes[0].get_yscale() == "log"
    assert learning_curves_figure(many_decades - 1e-3, 0).axes[0].get_yscale() == "linear"


def test_curves_above_the_frame_are_counted():
    curves = losses(200)
    curves[3, 0] = 1e4
    figure = learning_curves_figure(curves, 0)
    assert figure.axes[0].get_ylim()[1] < 10
    assert int(re.search(r"(\d+) leave the frame", figure.axes[0].get_title(loc="left")).group(1)) >= 1


def test_learning_curves_refuse_other_shapes():
    with pytest.raises(UsageError, match=r"got \(3,\)"):
        learning_curves_figure([1.0, 2.0, 3.0], 0)
    with pytest.raises(UsageError, match="0 to 1; got 2"):
        learning_curves_figure([[1.0], [2.0]], 2)


MARKS = {"the notebook": 0.64, "Keras as in the notebook": 0.640, "by hand": 0.912, "kept start": 0.939}


def accuracies():
    rng = np.random.default_rng(0)
    return rng.binomial(114, rng.beta(30, 3, 1000)) / 114


def test_marks_stand_at_their_values_with_their_names():
    axes = distribution_figure(accuracies(), label="test accuracy", marks=MARKS).axes[0]
    at = {text.get_text(): text.xy[0] for text in axes.texts}
    for name, value in MARKS.items():
        assert at[f"{name} {significant(value)}"] == value
        assert any(list(line.get_xdata()) == [value, value] for line in axes.lines)
    median = np.median(accuracies())
    assert at[f"median {significant(median)}"] == median
    low, high = np.percentile(accuracies(), (5, 95))
    assert f"{significant(low)} to {significant(high)}" in axes.get_title(loc="left")


@example([0.6875, 0.71875, 0.375], 39)
@given(st.lists(st.floats(0.3, 1.0), min_size=1, max_size=8), st.integers(1, 60))
@settings(max_examples=6, deadline=None)
def test_labels_of_marks_never_overlap(values, length):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    marks = {f"{'n' * length}{i}": value for i, value in enumerate(values)}
    figure = distribution_figure(accuracies(), label="test accuracy", marks=marks)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    extents = [text.get_window_extent(canvas.get_renderer()) for text in figure.axes[0].texts]
    assert not overlapping([(box.x0, box.y0, box.width, box.height) for box in extents])
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.width and box.y1 <= figure.bbox.height for box in extents)


@given(
    st.lists(st.integers(0, 114), min_size=1, max_size=300).map(lambda hits: [hit / 114 for hit in hits])
    | st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50),
    st.sampled_from([1.0, 1e-15, 1e9]),
)
def test_every_value_falls_into_one_of_few_bins(values, scale):
    values = np.array(values) * scale
    edges = _bin_edges(values)
    assert (np.diff(edges) > 0).all()
    assert np.histogram(values, edges)[0].sum() == values.size
    assert len(edges) <= 60


def test_bins_of_scores_span_equally_many_scores():
    hits = np.repeat(np.arange(60, 115), 3)  # each score of 114 rows three times: a level histogram
    bars = distribution_figure(hits / 114, label="accuracy").axes[0].patches
    assert len({bar.get_height() for bar in bars[:-1]}) == 1  # the last bin may reach beyond the last score


def test_values_not_finite_are_left_out_and_counted():
    axes = distribution_figure([0.5, np.nan, np.inf, 0.6], label="loss").axes[0]
    assert "2 not finite, left out" in axes.get_title(loc="left")
    with pytest.raises(UsageError, match="none finite"):
        distribution_figure([np.nan], label="loss")
    with pytest.raises(UsageError, match="finite value"):
        distribution_figure([1.0], label="loss", marks={"none": np.nan})


def test_figures_are_the_same_text_each_time_and_share_no_ids():
    def ids(svg):
        return {element.get("id") for element in ElementTree.fromstring(svg).iter() if element.get("id")}

    first = figure_svg(distribution_figure(accuracies(), label="test accuracy", marks=MARKS))
    assert first == figure_svg(distribution_figure(accuracies(), label="test accuracy", marks=MARKS))
    second = figure_svg(learning_curves_figure(losses(20), 3))
    assert ids(first)
    assert not ids(first) & ids(second)
    for svg in (first, second):
        known = ids(svg)
        assert all(target in known for target in re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
        assert re.search(r"<style[^>]*>\s*\.gn-", svg)  # its rules start with its own class
        assert "<dc:date>" not in svg
    assert "test accuracy</text>" in first


def test_names_that_look_like_ids_stay_as_they_are():
    name = 'id="x" url(#y)'
    root = ElementTree.fromstring(figure_svg(distribution_figure([1.0, 2.0], label=name)))
    assert name in texts(root)


def test_pyplot_stays_out_and_matplotlib_comes_late():
    code = (
        "import sys, glassnet.drawing as d; assert 'matplotlib' not in sys.modules;"
        "d.figure_svg(d.distribution_figure([1, 2], label='a')); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
