"""The page in a real browser: load, drag, scrub, click, links, keyboard, two tabs, a restart, broken tables."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from tests.browsing import CHROMIUM_IS_MISSING, Play, Visit, chromium, iris_like

pytestmark = pytest.mark.skipif(chromium() is None, reason=CHROMIUM_IS_MISSING)


@pytest.fixture(scope="module")
def play() -> Iterator[Play]:
    one = Play()
    yield one
    assert one.stop() == ""  # nothing went wrong in the server


@pytest.fixture
def context(browser: Any) -> Iterator[Any]:
    one = browser.new_context(viewport={"width": 1280, "height": 900})
    yield one
    one.close()


@pytest.fixture
def visit(context: Any, play: Play) -> Iterator[Visit]:
    one = Visit(context, play)
    yield one
    assert (one.wrong, one.outside) == ([], [])


def drawn(visit: Visit, selector: str) -> int:
    """How many colours a canvas has: 1 where nothing is drawn on it."""
    return int(
        visit.page.locator(f"{selector} canvas").evaluate(
            """(canvas) => {
              const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
              return new Set(new Uint32Array(data.buffer)).size;
            }"""
        )
    )


def test_the_first_frame_is_whole(visit):
    assert "tumors: 569 rows, 455 to train and 114 to test" in visit.text("#table")
    assert visit.text("#status").startswith("100 starts trained in ")
    assert visit.page.locator("#network svg [data-name]").count() == 11  # 2 inputs, 3 units, 6 weights
    for picture in ("#network", "#plane", "#curves", "#distribution"):
        assert drawn(visit, picture) > 10, picture
    assert "kept for its lowest training loss" in visit.text("#distribution output")
    assert visit.page.locator("#equations math").count() > 30
    assert "token" not in visit.url


def test_a_canvas_on_which_nothing_is_drawn_is_seen(visit):
    visit.page.locator("#plane canvas").evaluate("(canvas) => { canvas.width += 1; }")
    assert drawn(visit, "#plane") == 1


def test_a_dragged_slider_trains_anew_and_the_last_position_is_shown(visit):
    before = visit.text("#scores")
    visit.move("learning_rate", 0.1)
    visit.rest()
    value = float(visit.page.get_by_label("Learning rate, as a number").input_value())
    assert value < 0.01
    assert visit.text("#scores") != before
    assert visit.data()["starts"] == "100 of 100"
    visit.until(lambda: f"learning_rate={value:g}" in visit.url)
    visit.move("epochs", 0.5)
    visit.rest()
    epochs = int(visit.page.get_by_label("Epochs, as a number").input_value())
    assert f"after epoch {epochs} of {epochs}" in visit.text("#epoch")


def test_a_position_that_was_foreseen_is_not_asked_for_again(visit):
    before = int(visit.data()["asked"])
    visit.move("learning_rate", 0.8)  # a press and eight moves
    visit.rest()
    assert 1 <= int(visit.data()["asked"]) - before <= 9


def test_scrubbing_shows_the_weights_as_they_were(visit):
    weights = visit.weights
    visit.page.locator("#scrubber").fill("0")
    visit.rest()
    assert "after epoch 0 of 100" in visit.text("#epoch")
    first = visit.weights
    assert first != weights
    visit.page.locator("#scrubber").fill("100")
    visit.rest()
    assert visit.weights == weights
    # In the page itself: from here the pause may come after the end.
    said = visit.page.evaluate(
        """async () => {
          const [button, epoch] = ["watch", "epoch"].map((id) => document.getElementById(id));
          const before = epoch.textContent;
          button.click();
          const playing = button.textContent;
          while (epoch.textContent === before) await new Promise(requestAnimationFrame);
          button.click();
          return [playing, button.textContent];
        }"""
    )
    assert said == ["Pause", "Watch it learn"]
    visit.rest()
    visit.until(lambda: "epoch=" in visit.url)


def test_a_click_on_a_dot_looks_at_that_start(visit):
    kept = re.match(r"Start (\d+)", visit.text("#scores"))[1]
    box = visit.page.locator("#distribution canvas").bounding_box()
    for across in range(10, int(box["width"]), 4):  # dots lie on the ground, in some column
        visit.page.mouse.click(box["x"] + across, box["y"] + box["height"] - 32)
        visit.rest()
        chosen = re.match(r"Start (\d+)", visit.text("#scores"))[1]
        if chosen != kept:
            break
    assert chosen != kept
    visit.until(lambda: f"start={chosen}" in visit.url)
    visit.page.get_by_role("button", name="Back to the kept start").click()
    visit.rest()
    assert re.match(r"Start (\d+)", visit.text("#scores"))[1] == kept


def test_a_click_on_a_weight_shows_its_equation_and_hovering_links_both_ways(visit):
    weight = visit.page.locator('#network svg [data-name="w1_2_1"]')
    weight.dispatch_event("click")
    visit.rest()
    lines = visit.page.locator("#equations .line")
    assert lines.count() == 2  # the unit that it leads to, and its gradient
    number = weight.locator(".number").text_content()
    assert f"weight from radius_mean to unit 1 of layer 1 {number}" in visit.text("#network-readout").lower()
    visit.page.locator('#equations [data-name="b1_1"]').first.hover()
    assert "lit" in visit.page.locator('#network svg [data-name="z1_1"]').get_attribute("class")
    visit.page.locator('#network svg [data-name="z2_1"]').hover()
    weight.dispatch_event("pointerenter")
    lit = visit.page.locator("#equations .lit")
    assert lit.count() > 0
    assert {one.get_attribute("data-name") for one in lit.all()} == {"w1_2_1"}
    value = visit.page.locator('#equations [title][data-name="w1_2_1"]').first
    short = value.text_content()
    value.click()
    assert len(value.text_content()) > len(short) + 8  # every digit of it
    value.click()
    assert value.text_content() == short
    visit.page.get_by_role("button", name="All equations").click()
    visit.rest()
    assert lines.count() > 20


def test_a_click_on_a_row_works_it_out(visit):
    visit.page.locator("#plane canvas").focus()
    for _ in range(6):
        visit.page.keyboard.press("ArrowRight")
    said = visit.text("#plane output")
    row = re.match(r"Row (\d+) \((training|test)\)", said)[1]
    assert row != "0"
    visit.page.keyboard.press("Enter")
    visit.rest()
    assert visit.text("#equations .said").startswith(f"Row {row}, diagnosis ")
    visit.until(lambda: f"row={row}" in visit.url)


def test_a_view_is_a_link(context, play):
    state = (
        "#hidden=4,3&activation=tanh&learning_rate=0.3&epochs=40&starts=20&seed=3&optimizer=adam&batch=64&l2=0.001"
        "&features=texture_mean,radius_mean,area_mean&test=0.3&start=7&epoch=20&x=area_mean&y=radius_mean"
        "&held=texture_mean%3D21.5&row=17&only=z1_2"
    )
    one, other = Visit(context, play, state), Visit(context, play)
    other.turn_to(one.url)
    for visit in (one, other):
        assert visit.url.partition("#")[2]
        assert visit.text("#scores").startswith("Start 7, after epoch 20: ")
        assert visit.page.get_by_label("Across").input_value() == "area_mean"
        assert "Row 17" in visit.text("#equations .said")
    for selector in ("#scores", "#network-readout", "#equations", "#distribution output", "#table"):
        assert one.text(selector) == other.text(selector), selector
    everything = one.page.locator("main").inner_text()
    one.page.reload()
    one.rest()
    assert one.page.locator("main").inner_text() == everything
    assert one.wrong == other.wrong == []


def test_an_address_that_means_nothing_is_said(context, play):
    visit = Visit(context, play, "#epochs=-5&nothing=1")
    assert "epochs is a whole number from 1 to 2,000; got -5." in visit.text("#problem")
    visit.turn_to(f"{play.origin}/#epochs=7")
    assert visit.page.locator("#problem").is_hidden()
    assert "of 7" in visit.text("#epoch")
    visit.page.goto(f"{play.origin}/#held=%E0%A4&hidden=a")
    visit.until(lambda: visit.page.locator("#problem").is_visible())
    assert visit.wrong == []


def test_handles_can_be_hidden_for_a_lesson(context, play):
    visit = Visit(context, play, "#hide=l1,l2,dropout")
    assert visit.page.locator("#handle-l1").count() == 0
    assert visit.page.locator("#handle-epochs").count() == 1
    visit.move("epochs", 0.7)
    visit.rest()
    visit.until(lambda: "hide=l1,l2,dropout" in visit.url and "epochs=" in visit.url)


def test_the_keyboard_reaches_everything(visit):
    page = visit.page
    page.locator("body").click(position={"x": 2, "y": 2})
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                """(() => {
                  const e = document.activeElement;
                  const name = e.id || e.getAttribute("aria-label") || e.textContent.trim();
                  return `${e.closest("section")?.id} ${name}`;
                })()"""
            )
        )
    names = " | ".join(sorted(reached))
    wanted = (
        "handles handle-learning_rate", "handles handle-activation", "Units of hidden layer 1", "Add a layer",
        "network ", "plane Across", "plane The rows in the plane", "curves watch", "curves scrubber",
        "Start, by its score", "handle-table", "Features: 2",
    )  # fmt: skip
    assert [name for name in wanted if name not in names] == []
    page.locator("#handle-learning_rate").focus()
    before = page.get_by_label("Learning rate, as a number").input_value()
    page.keyboard.press("ArrowLeft")
    visit.rest()
    assert page.get_by_label("Learning rate, as a number").input_value() != before
    page.locator('#network svg [tabindex="0"]').focus()
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    name = page.evaluate("document.activeElement.dataset.name")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')")
    page.keyboard.press("Enter")
    visit.rest()
    visit.until(lambda: f"only={name}" in visit.url)
    page.locator("#distribution canvas").focus()
    start = visit.text("#scores").split(",")[0]
    page.keyboard.press("ArrowLeft")
    visit.rest()
    assert visit.text("#scores").split(",")[0] != start


def test_a_screen_reader_hears_what_is_there(visit):
    for element in visit.page.locator("input, select, button, canvas[tabindex], svg [role=button]").all():
        if element.is_visible():
            said = element.evaluate(
                "(e) => e.getAttribute('aria-label') || [...(e.labels ?? [])].map((l) => l.textContent).join('')"
                " || e.textContent"
            )
            assert said.strip(), element.evaluate("(e) => e.outerHTML")
    assert visit.page.locator("#handle-batch").get_attribute("aria-valuetext") == "all rows"
    tree = visit.page.locator("main").aria_snapshot()
    for heading in ("Settings", "Network", "What it answers", "Every number of one row"):
        assert f'heading "{heading}"' in tree


def test_layers_are_added_and_removed(visit):
    visit.page.get_by_role("button", name="Add a layer").click()
    visit.rest()
    assert visit.page.locator("#network svg .unit").count() == 5
    visit.page.get_by_label("Units of hidden layer 2").fill("4")
    visit.rest()
    assert visit.page.locator("#network svg .unit").count() == 7
    for layer in (2, 1):
        visit.page.get_by_role("button", name=f"Remove hidden layer {layer}").click()
        visit.rest()
    assert visit.page.locator("#network svg .unit").count() == 1
    assert visit.page.locator("#handle-dropout").is_disabled()


def test_features_are_chosen_and_held(visit):
    visit.page.get_by_text("Features: 2 of 30 columns").click()
    visit.page.get_by_label("area_mean", exact=True).check()
    visit.rest()
    assert "1 other feature held" in visit.text("#axes")
    visit.page.get_by_text("1 other feature held").click()
    before = visit.page.locator("#plane canvas").evaluate("(canvas) => canvas.toDataURL()")
    visit.page.locator("#axes .held input").fill("2000")
    visit.rest()
    assert visit.page.locator("#plane canvas").evaluate("(canvas) => canvas.toDataURL()") != before
    visit.until(lambda: "held=area_mean" in visit.url)
    visit.page.get_by_label("Across").select_option("area_mean")
    visit.rest()
    assert "area_mean" in visit.text("#plane output")


def test_what_ails_a_start_is_said(context, play):
    visit = Visit(context, play, "#learning_rate=1000000&activation=identity&epochs=60&start=0")
    assert re.search(r"This start diverged at step \d+", visit.text("#ails"))
    assert visit.wrong == []


def test_two_tabs_do_not_disturb_one_another(context, play):
    one, other = Visit(context, play, "#epochs=30"), Visit(context, play, "#epochs=60&hidden=3")
    one.move("learning_rate", 0.3)
    other.move("learning_rate", 0.6)
    one.rest()
    other.rest()
    assert "of 30" in one.text("#epoch")
    assert "of 60" in other.text("#epoch")
    assert one.page.locator("#network svg .unit").count() == 3
    assert other.page.locator("#network svg .unit").count() == 4
    assert one.wrong == other.wrong == []


def test_a_table_of_ones_own(visit, tmp_path):
    visit.page.locator("#handle-table").set_input_files(iris_like(tmp_path / "flowers <b>.csv"))
    visit.until(lambda: "flowers <b>.csv: 120 rows" in visit.text("#table"))
    visit.rest()
    assert visit.page.locator("#network svg .output").count() == 3
    assert "P(aster)" in visit.page.locator("#network svg").text_content()
    visit.page.locator("#handle-target").select_option("height")
    visit.rest()
    assert "RMSE" in visit.text("#scores")
    assert "error (RMSE)" in visit.text("#distribution h2")
    visit.page.get_by_role("button", name="Back to the first table").click()
    visit.rest()
    assert "tumors: 569 rows" in visit.text("#table")


@pytest.mark.parametrize(
    ("content", "said"), [(b"a,b\n1,2\n3\n", "line 3"), (b"", "empty"), (b"PK\x03\x04", "zip archive")]
)
def test_a_broken_table_is_said_and_nothing_is_lost(context, play, tmp_path, content, said):
    visit = Visit(context, play)
    before = visit.text("#table")
    broken = tmp_path / "broken.csv"
    broken.write_bytes(content)
    visit.page.locator("#handle-table").set_input_files(broken)
    visit.until(lambda: said in visit.text("#form .problem"))
    assert visit.text("#table") == before
    visit.move("epochs", 0.4)
    visit.rest()
    assert all("422" in one for one in visit.wrong)  # the browser's own word on the answer


def test_names_from_a_table_are_text(context, tmp_path):
    table = tmp_path / "names.csv"
    rows = "\n".join(f"{n % 7},{n % 5},{'<i>yes' if n % 3 else '<i>no'}" for n in range(60))
    table.write_text(f'<img src=x onerror=alert(1)>,"=cmd()\'""",<script>alert(1)</script>\n{rows}\n')
    own = Play(str(table), "--target", "<script>alert(1)</script>")
    try:
        visit = Visit(context, own)
        visit.page.locator('#network svg [data-name="z1_1"]').dispatch_event("click")
        visit.rest()
        assert visit.page.locator("main img, main script, main i").count() == 0
        assert "<img src=x onerror=alert(1)>" in visit.text("#table")
        assert (visit.wrong, visit.outside) == ([], [])
    finally:
        own.stop()


def test_a_server_that_is_restarted_under_the_page(context):
    first = Play()
    visit = Visit(context, first, "#epochs=30")
    scores = visit.text("#scores")
    first.stop()
    visit.until(lambda: "does not answer" in visit.text("#connection"))
    assert visit.text("#scores") == scores  # what came last is still there
    second = Play(port=first.port)
    try:
        visit.until(lambda: "has a new key" in visit.text("#connection"))
        other = Visit(context, second)  # the browser has the new key from now on
        visit.until(lambda: visit.page.locator("#connection").is_hidden())
        visit.move("learning_rate", 0.3)
        visit.rest()
        assert "of 30" in visit.text("#epoch")
        assert visit.text("#scores") != scores
        assert other.wrong == []
    finally:
        second.stop()


@pytest.mark.parametrize("width", [360, 768, 1280, 3840])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_off(browser, play, width, scheme):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    visit = Visit(context, play)
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
    for card in ("network", "plane", "curves", "distribution", "equations", "handles"):
        box = visit.page.locator(f"#{card}").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert box["width"] > 200
    paper, ink = visit.page.evaluate(
        "['--paper', '--ink'].map((name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim())"
    )
    light = [sum(bytes.fromhex(colour[1:])) for colour in (paper, ink)]
    assert (light[0] > light[1]) is (scheme == "light")
    assert visit.wrong == []
    context.close()


def test_a_network_of_one_column_has_a_curve(context, play):
    visit = Visit(context, play, "#features=radius_mean")
    assert visit.page.locator("#plane canvas:visible").count() == 1
    assert visit.page.get_by_label("Up", exact=True).is_hidden()
    assert "The curve is P(M)" in visit.text("#plane .scale")
    visit.page.locator("#plane canvas:visible").focus()
    visit.page.keyboard.press("ArrowRight")
    assert re.search(r"radius_mean [\d.]+; it is [MB], P\(M\)", visit.text("#plane output"))
    visit.page.get_by_text("Features: 1 of 30 columns").click()
    visit.page.get_by_label("area_mean", exact=True).check()
    visit.rest()
    assert "The curve" not in visit.text("#plane .scale")
    assert visit.page.get_by_label("Up", exact=True).is_visible()
    assert visit.wrong == []


def test_a_network_without_a_column_of_numbers_has_no_plane(context, tmp_path):
    own = Play(iris_like(tmp_path / "flowers.csv"), "--target", "kind", "--features", "soil")
    try:
        visit = Visit(context, own)
        assert "this network has none" in visit.text("#plane .nothing")
        assert visit.page.locator("#network svg .unit").count() == 5
        assert visit.page.get_by_role("radio", name="Add").is_hidden()
        assert visit.wrong == []
    finally:
        own.stop()


def numbers_in_the_picture(visit: Visit) -> list[str]:
    return list(visit.page.locator("#network .worked text").all_text_contents())


def test_slowly_number_by_number(visit):
    page = visit.page
    page.get_by_role("button", name="Step by step").click()
    visit.rest()
    assert "after epoch 0 of 100" in visit.text("#epoch")
    lines = page.locator("#equations .lines .line")
    assert (lines.count(), numbers_in_the_picture(visit)) == (0, [])
    for _ in range(4):
        page.get_by_role("button", name="The next number").click()
    visit.rest()
    assert lines.count() == 4
    said = re.fullmatch(r"4 of \d+, forward: z1_1 = (−?[\d.]+)", visit.text("#equations output"))
    assert said, visit.text("#equations output")
    z = float(said[1].replace("−", "-"))
    title = lines.last.locator('[title][data-name="z1_1"]').last.get_attribute("title")
    assert float(title) == z  # every digit of it
    shown = [text for text in numbers_in_the_picture(visit) if text.startswith("z ")]
    assert len(shown) == 1
    assert abs(float(shown[0][2:].replace("−", "-")) - z) <= abs(z) * 0.005
    assert "fresh" in page.locator('#network svg [data-name="z1_1"]').get_attribute("class")
    assert "feeds" in page.locator('#network svg [data-name="w1_2_1"]').get_attribute("class")
    before = visit.weights
    page.get_by_role("button", name="Update", exact=True).click()
    page.locator("#equations input[type=range]").press("End")
    visit.rest()
    assert "The update is made" in visit.text("#equations output")
    after = visit.weights
    assert before != after
    page.get_by_role("button", name="On to the next").click()
    visit.rest()
    assert "after epoch 1 of 100" in visit.text("#epoch")
    assert visit.weights == after  # where one update ends the next begins
    visit.until(lambda: "slow=0" in visit.url and "epoch=1" in visit.url)
    page.get_by_role("button", name="All at once").click()
    visit.rest()
    assert page.locator("#equations > .equations .line").count() > 20
    assert numbers_in_the_picture(visit) == []


def test_slowly_by_keys_and_by_itself(visit):
    page = visit.page
    page.get_by_role("button", name="Step by step").press("Enter")
    visit.rest()
    slider = page.locator("#equations input[type=range]")
    assert slider.evaluate("(e) => e === document.activeElement")
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
    visit.rest()
    assert visit.text("#equations output").startswith("1 of ")
    page.get_by_label("How quickly it plays").select_option(index=2)
    slider.focus()
    page.keyboard.press(" ")
    visit.until(lambda: int(slider.input_value()) >= 4)
    page.keyboard.press(" ")
    assert page.get_by_role("button", name="Play", exact=True).is_visible()
    page.get_by_label("Number of the row").fill("17")
    page.get_by_label("Number of the row").press("Enter")
    visit.rest()
    assert "moves no weight" in visit.text("#equations .step-said")  # a test row
    page.locator('#network svg [data-name="w2_1_1"]').dispatch_event("click")
    visit.rest()
    assert "dloss/dw2_1_1 = " in visit.text("#equations output")


def test_a_link_into_an_update_and_one_beyond_its_end(context, play):
    visit = Visit(context, play, "#slow=30&epoch=3&row=18&optimizer=adam&learning_rate=0.1")
    assert visit.text("#equations output").startswith("30 of ")
    assert visit.page.locator("#equations .line.now").count() == 1
    visit.turn_to(f"{play.origin}/#slow=9999")
    visit.until(lambda: re.match(r"(\d+) of \1,", visit.text("#equations output")))
    visit.turn_to(f"{play.origin}/#slow=5&hidden=16,16,16&features=" + "radius_mean,texture_mean")
    assert visit.text("#equations output").startswith("5 of ")
    assert visit.wrong == []


def drag_weight(visit: Visit, name: str, up: float) -> None:
    """Press on a weight's line in the middle and drag it up by so many pixels."""
    x, y = visit.page.locator(f'#network svg [data-name="{name}"] .touch').evaluate(
        """(line) => {
          const at = (n) => Number(line.getAttribute(n));
          const point = new DOMPoint((at("x1") + at("x2")) / 2, (at("y1") + at("y2")) / 2);
          const { x, y } = point.matrixTransform(line.getScreenCTM());
          return [x, y];
        }"""
    )
    visit.page.mouse.move(x, y)
    visit.page.mouse.down()
    for step in range(1, 6):
        visit.page.mouse.move(x, y - up * step / 5)
    visit.page.mouse.up()
    visit.rest()


def test_a_weight_is_dragged_undone_and_trained_on(visit):
    page = visit.page
    before, scores, starts = visit.weights, visit.text("#scores"), visit.data()["starts"]
    drag_weight(visit, "w2_1_1", 100)
    dragged = visit.weights
    assert [one == other for one, other in zip(before, dragged, strict=True)].count(False) == 1
    assert "By hand, not trained: w2_1_1 = " in visit.text("#network .hand-bar")
    assert "weights set by hand" in visit.text("#scores")
    assert visit.text("#scores") != scores
    assert visit.data()["starts"] == starts
    assert page.locator("#equations .line").count() > 20  # the drag was no click
    visit.until(lambda: "hand=w2_1_1" in visit.url)
    page.get_by_role("button", name="Train on from here").click()
    visit.rest()
    assert "Trained on once from weights set by hand" in visit.text("#network .hand-bar")
    assert visit.weights != dragged
    page.get_by_role("button", name="Undo the last weight").click()
    visit.rest()
    assert visit.weights == dragged
    visit.until(lambda: "hand=" in visit.url and "legs" not in visit.url)
    page.reload()
    visit.rest()
    assert visit.weights == dragged
    page.get_by_role("button", name="Undo the last weight").click()
    visit.rest()
    assert visit.weights == before
    assert "Drag a weight" in visit.text("#network .hand-bar")


def test_a_weight_is_set_by_keys_and_as_a_number(visit):
    page = visit.page
    page.locator('#network svg [tabindex="0"]').focus()
    before = visit.weights
    page.keyboard.press("+")
    visit.rest()
    assert visit.weights != before
    name = page.evaluate("document.activeElement.dataset.name")
    assert f"{name} = " in visit.text("#network .hand-bar")
    page.locator('#network svg [data-name="z1_2"]').dispatch_event("click")
    visit.rest()
    field = page.get_by_label("This weight, by hand")
    field.fill("−1.25")
    field.press("Enter")
    visit.rest()
    assert "b1_2 = −1.250" in visit.text("#network .hand-bar")
    page.get_by_role("button", name="Undo all weights").click()
    visit.rest()
    assert visit.weights == before


def test_rows_are_added_moved_and_deleted(visit):
    page = visit.page
    canvas = page.locator("#plane canvas:visible")
    scores = visit.text("#scores")
    page.get_by_role("radio", name="Add").check()
    page.get_by_label("Class of an added row").select_option("B")
    box = canvas.bounding_box()
    x, y = box["x"] + box["width"] * 0.95, box["y"] + 20  # where no row is
    page.mouse.click(x, y)
    visit.rest()
    assert "456 to train" in visit.text("#table")
    assert "By hand: 1 added; no link carries them." in visit.text("#plane .points")
    assert visit.text("#scores") != scores
    page.get_by_role("radio", name="Move").check()
    page.mouse.move(x, y)
    page.mouse.down()
    for step in range(1, 6):
        page.mouse.move(x - 20 * step, y + 8 * step)
    page.mouse.up()
    visit.rest()
    assert "By hand: 1 added; no link" in visit.text("#plane .points")  # it is where it was moved to
    page.get_by_role("radio", name="Look").check()
    page.mouse.click(x - 100, y + 40)
    visit.rest()
    assert visit.text("#equations .said").startswith("Row 569, diagnosis B (added by hand)")
    assert "row=569" not in scores
    page.get_by_role("radio", name="Delete").check()
    page.mouse.click(x - 100, y + 40)
    visit.rest()
    assert "455 to train" in visit.text("#table")
    for _ in range(2):
        page.get_by_role("button", name="Undo the last change of a row").click()
    visit.rest()
    assert "456 to train" in visit.text("#table")
    assert not re.search("added|radius_mean%3D", visit.url)
    page.get_by_role("button", name="Back to the table").click()
    visit.rest()
    assert visit.text("#scores") == scores


def test_rows_are_edited_by_keys(visit):
    page = visit.page
    canvas = page.locator("#plane canvas:visible")
    page.get_by_role("radio", name="Add").check()
    canvas.focus()
    for key in ("ArrowUp", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    visit.rest()
    assert "1 added" in visit.text("#plane .points")
    page.get_by_role("radio", name="Move").check()
    canvas.focus()
    page.keyboard.press("ArrowRight")
    row = re.match(r"Row (\d+) ", visit.text("#plane output"))[1]
    for _ in range(2):
        page.keyboard.press("Shift+ArrowUp")
        visit.rest()
    assert "1 added, 1 moved" in visit.text("#plane .points")
    assert visit.text("#plane output").startswith(f"Row {row} ")  # it is still the one that is pointed at
    page.get_by_role("radio", name="Delete").check()
    canvas.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Delete")
    visit.rest()
    assert "1 deleted" in visit.text("#plane .points")


def test_what_ails_units_is_said(context, play):
    visit = Visit(context, play, "#activation=tanh&hidden=4&learning_rate=1&optimizer=adam&epochs=150&start=4")
    other = Visit(context, play, "#learning_rate=5&hidden=3&epochs=40&starts=20&start=5")
    assert re.search(r"Unit 2 of layer 1 is dead since epoch \d+ \(step \d+\)", other.text("#ails"))
    assert other.page.locator("#network .unit.dead").count() == 1
    hand = Visit(context, play, "#activation=tanh&hand=b1_1%3D400")
    assert "Unit 1 of layer 1 is saturated: on every training row" in hand.text("#ails")
    assert hand.page.locator("#network .unit.saturated").count() == 1
    assert visit.wrong == other.wrong == hand.wrong == []


def test_a_lesson_without_slow_hands_and_rows(context, play):
    visit = Visit(context, play, "#hide=slow,hand,points")
    assert visit.page.get_by_role("button", name="Step by step").is_hidden()
    assert visit.page.get_by_role("radio", name="Add").is_hidden()
    before = visit.weights
    drag_weight(visit, "w2_1_1", 60)
    assert visit.weights == before
    assert visit.wrong == []


def test_the_page_asks_what_it_says(visit):
    """What the page sends is what the server reads: every part of a state, changed in the page, arrives."""
    sent: list[str] = []
    visit.page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(frame)))
    visit.page.reload()
    visit.rest()
    visit.move("l2", 0.8)
    visit.rest()
    first, last = json.loads(sent[0]), json.loads(sent[-1])
    assert first["settings"]["l2"] == 0
    assert last["settings"]["l2"] > 0
    assert set(first["settings"]) == set(last["settings"])
