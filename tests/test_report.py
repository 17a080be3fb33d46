"""The page: everything in it is escaped but pictures, and nothing is fetched."""

from __future__ import annotations

import re

from glassnet.report import Grid, Listing, Picture, Section, Text, page

HOSTILE = '<script>alert(1)</script> & "quoted"'


def test_everything_but_a_picture_is_escaped() -> None:
    blocks = [Text(HOSTILE), Listing(HOSTILE), Grid([HOSTILE], [[HOSTILE]]), Picture("<svg><g/></svg>", HOSTILE)]
    html = page(HOSTILE, HOSTILE, [Section(HOSTILE, blocks)])
    assert "<script" not in html
    assert html.count("&lt;script&gt;") == 9
    assert "<svg><g/></svg>" in html


def test_nothing_is_fetched_and_all_is_closed() -> None:
    html = page("t", "l", [Section("s", [Text("x"), Grid(["a", "b"], [["1", "2"], ["3", "4"]])])])
    assert not re.search(r"\b(src|href)=|url\(|@import", html)
    for tag in ("html", "head", "body", "main", "section", "table", "tr", "td", "th", "p", "style"):
        assert html.count(f"<{tag}>") + html.count(f"<{tag} ") == html.count(f"</{tag}>"), tag
    assert html.count("<tr>") == 3


def test_a_picture_loses_its_prolog_and_may_have_colours_of_its_own() -> None:
    html = page("t", "l", [Section("s", [Picture('<?xml version="1.0"?><svg></svg>', "c", own_colours=True)])])
    assert "<?xml" not in html
    assert "<figure>" in html
