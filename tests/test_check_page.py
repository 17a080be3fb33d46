"""The page of a report, and the picture in it: what is lit, and that nothing of a candidate passes unescaped."""

from __future__ import annotations

import re

import pytest

from glassnet.checking.check import check_file
from glassnet.checking.page import fragment, lit, page, picture
from glassnet.checking.records import Wrong
from glassnet.drawing import network_svg
from glassnet.errors import UsageError
from glassnet.network import Network

RIGHT = """
import numpy as np

def forward(parameters, X):
    z1 = X @ parameters["W1"] + parameters["b1"]
    a1 = np.maximum(z1, 0)
    p = 1 / (1 + np.exp(-(a1 @ parameters["W2"] + parameters["b2"])))
    return p, (z1, a1)

def backward(parameters, X, y):
    p, (z1, a1) = forward(parameters, X)
    delta2 = (p - y) / len(X)
    delta1 = (delta2 @ parameters["W2"].T) * (z1 > 0)
    return {"W1": X.T @ delta1, "b1": delta1.sum(axis=0), "W2": a1.T @ delta2, "b2": delta2.sum(axis=0)}
"""
WRONG = RIGHT.replace(" * (z1 > 0)", "")


def report_of(folder, text, name="gradients.py"):
    path = folder / name
    path.write_text(text)
    return check_file(str(path))


def first(quantity, layer, unit=None, source=None):
    return Wrong(quantity, quantity, layer, unit, source, None, 1.0, 2.0, "", "", (3, 4, 2))


@pytest.mark.parametrize(
    ("wrong", "symbols"),
    [
        (first("dW1", 1, 2, 3), ["w1_3_2"]),
        (first("updated W2", 2, 1, 4), ["w2_4_1"]),
        (first("db1", 1, 2), ["z1_2", "b1_2"]),
        (first("updated b2", 2, 2), ["z2_2", "b2_2"]),
        (first("delta1", 1, 4), ["z1_4"]),
        (first("z1", 1), ["z1_1", "z1_2", "z1_3", "z1_4"]),
        (first("p", 2, 1), ["z2_1"]),
        (first("loss", None), ["z2_1", "z2_2"]),
        (first("dW2", 2), [f"w2_{source}_{unit}" for source in (1, 2, 3, 4) for unit in (1, 2)]),
    ],
)
def test_what_is_lit(wrong, symbols):
    assert sorted(lit(wrong, (3, 4, 2))) == sorted(symbols)
    svg = network_svg(Network((3, 4, 2)), lit=symbols)
    drawn = re.findall(r'class="gn-lit" data-symbol="([^"]+)"', svg)
    assert drawn == [symbol for symbol in symbols if symbol.startswith("w")]
    assert svg.count('class="gn-unit gn-lit"') == sum(symbol.startswith("z") for symbol in symbols)


def test_an_unlit_picture_is_as_it_was():
    assert "gn-lit" not in network_svg(Network((3, 4, 2)))


@pytest.mark.parametrize("symbol", ["w3_1_1", "z0_1", "b1_9", "p"])
def test_a_symbol_that_is_not_there_is_refused(symbol):
    with pytest.raises(UsageError, match=re.escape(repr(symbol))):
        network_svg(Network((3, 4, 2)), lit=[symbol])


def test_the_picture_says_what_is_lit(tmp_path):
    report = report_of(tmp_path, WRONG)
    (title,) = set(re.findall(r"<title>(Network [^<]+)</title>", picture(report)))
    assert title.endswith("lit")
    assert picture(report) in page(report)
    assert picture(report) in fragment(report)
    assert "<html" not in fragment(report)


def test_nothing_is_lit_where_nothing_is_wrong(tmp_path):
    assert picture(report_of(tmp_path, RIGHT)) == ""


def test_what_each_hint_shows(tmp_path):
    report = report_of(tmp_path, WRONG)
    mistake, wrong = report.mistakes[0], report.first
    shown = {hint: page(report, hint).replace("&#x27;", "'") for hint in ("none", "where", "name", "full")}
    assert [wrong.name in html for html in shown.values()] == [False, True, True, True]
    assert [mistake.name[1:] in html for html in shown.values()] == [False, False, True, True]
    assert [mistake.sentence in html for html in shown.values()] == [False, False, False, True]


def test_everything_is_escaped(tmp_path):
    report = report_of(tmp_path, "raise ValueError('<script>x</script>')", name="<i>.py")
    html = page(report)
    assert "<script>" not in html
    assert "<i>" not in html
