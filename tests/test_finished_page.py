"""The page of a finished model in a real browser, opened from the disk."""

from __future__ import annotations

import html
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.browsing import CHROMIUM_IS_MISSING, chromium
from tests.finished_models import generated, printed, rows

import glassnet as gn
from glassnet.errors import DataError

pytestmark = pytest.mark.skipif(chromium() is None, reason=CHROMIUM_IS_MISSING)


class Opened:
    """A page that was opened from the disk, and everything that went wrong on it."""

    def __init__(self, browser: Any, folder: Path, **how: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **how})
        self.page = self.context.new_page()
        self.folder = folder
        self.wrong: list[str] = []
        self.asked: list[str] = []
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("console", lambda said: self.wrong.append(said.text) if said.type == "error" else None)
        self.page.on("dialog", lambda dialog: self.wrong.append(f"a dialog: {dialog.message}"))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def show(self, page: str, address: str = "") -> None:
        """Open a page's text, and wait until it has answered."""
        path = self.folder / "page.html"
        path.write_text(page, encoding="utf-8")
        self.asked.clear()
        self.page.goto("about:blank")
        self.page.goto(path.as_uri() + address)
        self.rest()
        assert [url.partition("#")[0] for url in self.asked] == [path.as_uri()]

    def rest(self) -> None:
        """Wait until all that is asked is shown."""
        self.page.locator('html[data-rested="yes"]').wait_for(state="attached")

    def put(self, row: list[str | None]) -> None:
        """Every input as a user would set it; a missing cell is an empty field, or its choice."""
        self.page.evaluate(
            """(row) => row.forEach((text, n) => {
              const field = document.getElementById(`cell-${n}`);
              if (field.tagName === "INPUT") field.value = text ?? "";
              else {
                const values = [...field.options].map(({ value }) => value);
                field.value = text === null ? "missing" : values.includes(`=${text}`) ? `=${text}` : "other";
              }
              field.dispatchEvent(new Event(field.tagName === "INPUT" ? "input" : "change", { bubbles: true }));
            })""",
            row,
        )

    @property
    def answer(self) -> list[str]:
        """What stands in the answer: itself, and the number of every class, or of every output."""
        found = self.page.evaluate(
            """[document.getElementById("says").textContent,
                ...Array.from(document.querySelectorAll("#chances .digits"), ({ textContent }) => textContent)]"""
        )
        return list(found)

    def text(self, selector: str) -> str:
        return str(self.page.locator(selector).inner_text())

    def close(self) -> None:
        self.context.close()
        assert self.wrong == []


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Opened]:
    one = Opened(browser, tmp_path)
    yield one
    one.close()


@pytest.fixture(scope="module")
def tumor() -> gn.Model:
    table = gn.datasets.tumors().table
    features = ["texture_mean", "radius_mean"]
    return gn.fit(table, "diagnosis", features=features, starts=5, epochs=50, positive="M").model


@pytest.fixture(scope="module")
def mixed() -> gn.Model:
    rng = np.random.default_rng(0)
    n = 60
    table = {
        "size": [None if k % 9 == 0 else float(v) for k, v in enumerate(rng.normal(20, 4, n).round(1))],
        "colour": rng.choice(["red", "blue"], n).tolist(),
        "known": rng.choice([True, False], n).tolist(),
        "day": (np.datetime64("2020-01-01") + rng.integers(0, 500, n)).astype(str).tolist(),
        "kind": [("aster", "broom", "clover")[k % 3] for k in range(n)],
    }
    return gn.fit(table, "kind", hidden=(3, 2), activation="tanh", starts=2, epochs=30).model


def test_the_digits_of_predict(opened: Opened) -> None:
    """Models of every kind, with rows of every kind: what the page prints is what `predict` prints."""
    for number in range(10):
        model = generated(number)
        opened.show(gn.play(model).html)
        for row in rows(model, number, 4):
            given = zip(model.encoder.columns, row, strict=True)
            if any(
                cell is None and column.kind in ("text", "boolean") and not column.missing for column, cell in given
            ):
                continue  # there is nothing to choose
            opened.put(row)
            wanted = printed(model, row)
            assert opened.answer == wanted, (number, row)
        opened.rest()
        assert opened.page.locator("#equations .line").count() > 0


def test_the_first_look(opened: Opened, tumor: gn.Model) -> None:
    opened.show(gn.play(tumor).html)
    assert opened.page.title() == "diagnosis"
    assert opened.text("#said").startswith("2-2-1, relu, binary_cross_entropy, 9 parameters")
    assert "Trained on 455 rows; on 114 rows that were held back accuracy" in opened.text("#history")
    assert opened.page.locator("#network svg .unit").count() == 3
    begun = [opened.page.locator(f"#cell-{n}").input_value() for n in range(2)]
    assert begun == ["19.2", "14"]  # about the means
    assert opened.answer == printed(tumor, begun)


def test_the_lines_are_those_of_explain(opened: Opened, tumor: gn.Model, mixed: gn.Model) -> None:
    mixed_row = ["17.5", "blue", "true", "2020-05-17"]
    for model, row in ((tumor, ["12.34", "21.5"]), (mixed, mixed_row)):
        data = {column.source: [cell] for column, cell in zip(model.encoder.columns, row, strict=True)}
        opened.show(gn.play(model).html)
        opened.put(list(row))
        opened.rest()
        found: dict[str, str] = {}
        parts = (
            [None]
            if model is tumor
            else [f"z{layer}_{j}" for layer, n in ((1, 3), (2, 2), (3, 3)) for j in range(1, n + 1)]
        )
        parts += [] if model is tumor else [f"x{j}" for j in range(1, model.encoder.n_features + 1)]
        for part in parts:
            if part is not None:
                opened.page.locator(f'#network [data-name="{part}"]').dispatch_event("click")
            found |= dict(
                opened.page.evaluate(
                    """Array.from(document.querySelectorAll("#equations .line"), (line) => {
                      const named = line.querySelectorAll("[data-name]");
                      return [named[0].dataset.name, named[named.length - 1].getAttribute("title")];
                    })"""
                )
            )
        lines = gn.explain(model, data, 0).lines
        wanted_values = {line.symbol: line.value for line in lines if line.stage != "decode"}
        assert {name: float(text) for name, text in found.items() if name in wanted_values} == wanted_values


def test_sliders_fields_and_gaps(opened: Opened, mixed: gn.Model) -> None:
    page = opened.page
    opened.show(gn.play(mixed).html)
    slider = page.locator("#form input[type=range]").first
    slider.focus()
    before = opened.answer
    page.keyboard.press("ArrowRight")
    assert opened.answer != before
    text = page.locator("#cell-0").input_value()
    assert slider.get_attribute("aria-valuetext") == text
    others = ["=red", "=true"]
    assert [page.locator(f"#cell-{n}").input_value() for n in (1, 2)] != []
    page.locator("#cell-1").select_option(others[0])
    page.locator("#cell-2").select_option(others[1])
    day = page.locator("#cell-3").input_value()
    assert opened.answer == printed(mixed, [text, "red", "true", day])
    page.get_by_role("checkbox", name="missing").check()
    assert page.locator("#cell-0").input_value() == ""
    assert opened.answer == printed(mixed, [None, "red", "true", day])
    page.get_by_role("checkbox", name="missing").uncheck()
    assert opened.answer == printed(mixed, [text, "red", "true", day])
    page.locator("#cell-1").select_option("other")
    assert opened.answer == printed(mixed, [text, "another text", "true", day])
    data = {"size": [text], "colour": ["another text"], "known": ["true"], "day": [day]}
    assert opened.text("#remarks").split("\n") == list(mixed.encoder.remarks(mixed.table(data)))
    page.get_by_role("button", name="Back to the beginning").click()
    assert opened.answer == before


@pytest.mark.parametrize("cell", ["4O", "1e400", "inf", "12345678901234567891", "1e-400", "1e300", "0x10"])
def test_what_predict_refuses_is_refused_in_its_words(opened: Opened, mixed: gn.Model, cell: str) -> None:
    opened.show(gn.play(mixed).html)
    opened.page.locator("#cell-0").fill(cell)
    data = {"size": [cell], "colour": ["red"], "known": ["true"], "day": ["2020-01-01"]}
    if cell == "1e300":
        mixed_again = gn.Model(mixed.network, mixed.members, mixed.encoder)
        assert mixed_again.predict(data)  # far, but a number
        assert opened.answer[0] == mixed_again.predict(data)[0]
        return
    with pytest.raises(DataError) as refused:
        mixed.predict(data)
    shown = opened.text(".handle >> nth=0 >> .problem")
    assert shown.split(": ", 1)[0] == "column 'size'"
    assert shown.rstrip(".") in str(refused.value)
    assert opened.answer == [f"No answer: {shown}"]
    assert opened.page.locator("#network").is_hidden()
    opened.page.locator("#cell-0").fill("20")
    assert len(opened.answer) == 4


def test_too_far_to_be_scaled(opened: Opened) -> None:
    table = {"tiny": [1e-150, 2e-150, 3e-150, 5e-150], "y": [1.0, 2.0, 3.0, 4.0]}
    model = gn.fit(
        table, "y", hidden=(), starts=1, epochs=1, features=["tiny"], task="regression", test_size=None
    ).model
    opened.show(gn.play(model).html)
    opened.page.locator("#cell-0").fill("1e200")
    with pytest.raises(DataError, match="too far from the training rows' values"):
        model.predict({"tiny": ["1e200"]})
    assert "'1e200' is too far from the training rows' values to be scaled in 64 bits" in opened.answer[0]


def test_picture_and_equations_light_each_other(opened: Opened, tumor: gn.Model) -> None:
    page = opened.page
    opened.show(gn.play(tumor).html)
    every = page.locator("#equations .line").count()
    page.locator('#network [data-name="w1_2_1"]').dispatch_event("click")
    assert page.locator("#equations .line").count() == 1
    assert "flows on" in opened.text("#network-readout")
    page.get_by_role("button", name="All equations").click()
    assert page.locator("#equations .line").count() == every
    page.locator('#equations [data-name="a1_2"]').first.hover()
    assert page.locator("#network .lit").get_attribute("data-name") == "z1_2"
    number = page.locator('#equations .line [data-name="z1_1"][title]').first
    full = number.get_attribute("title")
    number.click()
    assert number.text_content().replace("−", "-") == full
    page.locator("#flows").select_option("weights")
    opened.rest()
    assert "Lines show weights" in opened.text("#network .scale")


def test_keyboard_alone(opened: Opened, tumor: gn.Model) -> None:
    page = opened.page
    opened.show(gn.play(tumor).html)
    reached: list[str] = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(
            str(
                page.evaluate(
                    "document.activeElement.id || document.activeElement.dataset.name || document.activeElement.type"
                )
            )
        )
    assert reached[:6] == ["cell-0", "range", "cell-1", "range", "again", "flows"]
    assert reached[6] == "w1_1_1"
    page.locator("#flows").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.locator("#equations .line").count() == 1
    labels = page.evaluate("""Array.from(document.querySelectorAll("#form input, #form select, #choices select"),
      (one) => one.labels?.length || one.getAttribute("aria-labelledby") ? "" : one.outerHTML)""")
    assert not any(labels)


def test_the_address_holds_what_was_moved(opened: Opened, mixed: gn.Model) -> None:
    page = opened.page
    opened.show(gn.play(mixed).html, "#size=12.5&colour=%3Dblue&of+nobody=1")
    assert opened.answer == printed(
        mixed, ["12.5", "blue", *(page.locator(f"#cell-{n}").input_value().lstrip("=") for n in (2, 3))]
    )
    page.locator("#cell-0").fill("14")
    for _ in range(100):
        if "size=14" in page.evaluate("location.hash"):
            break
        page.wait_for_timeout(20)
    address = page.evaluate("location.hash")
    before = opened.answer
    opened.show(gn.play(mixed).html, address)
    assert opened.answer == before


def test_names_of_all_kinds_are_shown_as_they_are(opened: Opened) -> None:
    """`opened` ends with an error where any of these did something."""
    for number in range(5):
        model = generated(number)
        opened.show(gn.play(model).html)
        labels = opened.page.locator("#form bdi").all_text_contents()
        assert labels == [column.source for column in model.encoder.columns]
        assert opened.page.locator("b").count() == 0
        assert opened.page.locator("script").count() == 2


def test_several_networks_one_of_them_drawn(opened: Opened) -> None:
    model = next(one for one in map(generated, range(0, 100, 5)) if len(one.members) == 3 and one.network.n_layers > 1)
    opened.show(gn.play(model).html)
    answer = opened.answer
    drawn = opened.page.locator("#network svg").text_content()
    opened.page.locator("#member").select_option("2")
    opened.rest()
    assert opened.page.locator("#network svg").text_content() != drawn
    assert opened.answer == answer


def test_a_run_of_several_outputs(opened: Opened) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3))
    network = gn.Network((3, 4, 2), "softplus", "mean_squared_error")
    run = gn.train(network, X, np.stack([X[:, 0], X[:, 1] * X[:, 2]], axis=1), epochs=3)
    opened.show(gn.play(run).html)
    opened.put(["0.5", "-1.25", "3"])
    p = gn.forward(network, run.parameters, [[0.5, -1.25, 3.0]]).probabilities[0]
    assert opened.answer == ["", *map(repr, p.tolist())]
    assert opened.page.locator("#chances th").all_text_contents() == ["p1", "p2"]


def large() -> gn.Model:
    rng = np.random.default_rng(0)
    table = {f"pixel {j}": rng.normal(size=30).tolist() for j in range(64)} | {
        "digit": [str(k % 10) for k in range(30)]
    }
    return gn.fit(table, "digit", hidden=(32, 16), features=[f"pixel {j}" for j in range(64)], starts=1, epochs=1).model


@pytest.mark.parametrize(("width", "height"), [(360, 740), (1280, 800), (3840, 2160)])
@pytest.mark.parametrize("which", ["tumor", "mixed", "large"])
def test_every_size_of_screen(browser: Any, tmp_path: Path, request: Any, width: int, height: int, which: str) -> None:
    model = large() if which == "large" else request.getfixturevalue(which)
    opened = Opened(browser, tmp_path, viewport={"width": width, "height": height}, color_scheme="dark")
    opened.show(gn.play(model).html)
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    ground = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(17, 20, 24)"
    narrower = """[...document.querySelectorAll('#form input[type=range]')].filter((slider) =>
        slider.getBoundingClientRect().width < slider.closest('.handle').getBoundingClientRect().width - 1).length"""
    assert opened.page.evaluate(narrower) == 0
    opened.page.emulate_media(media="print", color_scheme="light")
    assert opened.page.locator("#form input[type=range]").first.is_hidden()
    assert opened.page.locator("#says").is_visible()
    opened.close()


def test_a_large_network_shows_a_unit_at_a_time(opened: Opened) -> None:
    opened.show(gn.play(large()).html)
    assert "choose a unit" in opened.text("#equations .said")
    opened.page.locator('#network [data-name="z2_3"]').dispatch_event("click")
    lines = opened.page.locator("#equations .line")
    assert [lines.nth(n).locator("[data-name]").first.get_attribute("data-name") for n in range(lines.count())] == [
        "z2_3",
        "a2_3",
    ]


def test_in_a_frame_of_a_notebook(opened: Opened, tumor: gn.Model) -> None:
    """Without a server, in the frame that a notebook shows, which can reach nothing around it."""
    around = f"<!doctype html><title>notebook</title>{gn.play(tumor)._repr_html_()}"
    path = opened.folder / "notebook.html"
    path.write_text(around, encoding="utf-8")
    opened.page.goto(path.as_uri())
    frame = opened.page.frame_locator("iframe")
    frame.locator("#cell-0").fill("25.5")
    radius = frame.locator("#cell-1").input_value()
    assert frame.locator("#says").inner_text() == printed(tumor, ["25.5", radius])[0]
    assert frame.locator("#chances .digits").all_text_contents() == printed(tumor, ["25.5", radius])[1:]
    opened.page.wait_for_timeout(400)  # the address, which a frame has not got, is not missed
    assert opened.page.title() == "notebook"
    assert html.unescape(around).count("<!doctype html>") == 2


def test_the_policy_forbids_every_request(opened: Opened, tumor: gn.Model) -> None:
    opened.show(gn.play(tumor).html)
    refused = opened.page.evaluate("fetch('data:,x').then(() => 'sent', () => 'refused')")
    assert refused == "refused"
    said = opened.wrong.copy()
    opened.wrong.clear()
    assert any("Content Security Policy" in text for text in said)


def test_paper_is_white_where_the_screen_is_dark(opened: Opened, tumor: gn.Model) -> None:
    opened.show(gn.play(tumor).html)
    corner = "[...document.querySelector('canvas').getContext('2d').getImageData(1, 1, 1, 1).data.slice(0, 3)]"
    opened.page.emulate_media(color_scheme="dark")
    opened.page.wait_for_function(f"() => {corner}[0] < 100")
    opened.page.emulate_media(media="print", color_scheme="dark")
    opened.page.wait_for_function(f"() => {corner}.every((part) => part === 255)")
