"""Worked calculations on paper: text, LaTeX that compiles, a page that is escaped, worksheets; large networks."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import glassnet as gn
from glassnet.activations import ACTIVATIONS
from glassnet.derivations.sheets import MOST_IN_A_NOTEBOOK
from glassnet.derivations.worked_lines import LATEX, TEXT, lines
from glassnet.errors import UsageError
from glassnet.losses import LOSSES
from glassnet.network import Network

RNG = np.random.default_rng(3)
HOSTILE = {
    "<script>alert(1)</script> $_{&%": [None, *RNG.normal(1, 2, 39).tolist()],
    "größe 年 = x": RNG.normal(50, 3, 40).tolist(),
    r"\input{secret} #1~^": [f"20{i % 20 + 10}-0{i % 9 + 1}-11" for i in range(40)],
    "kind": [("red & hot", "<i>blue</i>", "g_reen\n\x07")[i % 3] for i in range(40)],
    "price = <b>": RNG.normal(100, 9, 40).tolist(),
}


@pytest.fixture(scope="module")
def model() -> gn.Model:
    how: dict[str, Any] = {"hidden": (3,), "activation": "tanh", "l2": 0.01, "epochs": 4, "starts": 2}
    return gn.fit(HOSTILE, "price = <b>", test_size=None, **how).model


@pytest.fixture(scope="module")
def worked(model: gn.Model) -> Any:
    return gn.explain(model, HOSTILE, 0, step=2)


def sheet_and_results(text: str, between: str) -> tuple[str, str]:
    sheet, results = text.split(between)
    return sheet, results


def test_a_worksheet_leaves_results_out_and_has_them_behind(worked: Any) -> None:
    sheet, results = sheet_and_results(worked.text(10**6, blank=True), "\f")
    full = worked.text(10**6)
    body = [line for line in sheet.splitlines() if line.startswith("  ") and not line.startswith("  others")]
    assert len(body) == len(worked.lines) == sum(line.startswith("  ") for line in results.splitlines())
    assert all(line.partition("   [")[0].endswith(("= ______", "<- ______")) for line in body)
    for line in worked.lines:
        shown = gn.expressions.significant(line.value)
        assert f"  {line.symbol} = {shown}\n" in f"{results}\n"
        assert shown in full
    assert "prediction" not in sheet
    assert "difference quotient" not in sheet


def test_what_one_line_of_a_worksheet_asks_for_no_other_tells() -> None:
    run = gn.train(Network((2, 3, 1), "tanh"), RNG.normal(size=(9, 2)), [0, 1, 1] * 3, epochs=3, l2=0.1)
    worked = gn.explain(run, 4, step=3, digits=12)
    sheet, _ = sheet_and_results(worked.text(10**6, blank=True), "\f")
    computed = {gn.expressions.significant(line.value, 12).lstrip("-") for line in worked.lines} - {"3"}
    numbers = set(re.findall(r"(?<![\w.])\d[\d.]*(?:e-\d+)?", sheet))
    assert len(computed) > 80
    assert len(numbers) > 40
    assert not computed & numbers


def test_a_worksheet_gives_what_is_needed(worked: Any) -> None:
    sheet, _ = sheet_and_results(worked.text(10**6, blank=True), "\f")
    full = {line.symbol: line for line in worked.lines}
    first = full["z1_1"].numbers.split(" + ")[0]  # the bias
    assert f"  z1_1 = {full['z1_1'].formula} = {first} + " in sheet
    assert "* ______ + " in sheet
    assert re.search(r"  m\[w1_1_1\] <- .* = 0.9 \* -?\S+ \+ \(1 - 0.9\) \* ______ = ______", sheet)


def test_every_form_has_every_line(worked: Any) -> None:
    n = len(worked.lines)
    assert n == len(list(worked.lines))
    for blank, times in ((False, 1), (True, 2)):
        assert worked.html(blank=blank).count('<div class="line">') == n * times
        assert len(re.findall(r"(?m)^(?:\\hangindent=2em )?\$", worked.latex(blank=blank))) == n * times
    assert len(worked.to_json()["lines"]) == n


class Tags(HTMLParser):
    """The tags of a page, and those that are open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("blank", [False, True])
def test_the_page_is_one_file_and_escaped(worked: Any, blank: bool) -> None:
    page, tags = worked.html(blank=blank), Tags()
    tags.feed(page)
    assert tags.open == []
    known = {"html", "head", "meta", "title", "style", "body", "main", "div", "section", "h1", "h2", "p", "b", "i"}
    assert tags.seen <= known
    assert tags.attributes <= {"lang", "charset", "name", "content", "class"}
    assert "url(" not in page
    assert "@import" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert page.count("<b>") == page.count("</b>")


def test_a_notebook_shows_the_page_and_of_a_large_network_the_beginning(worked: Any) -> None:
    shown = worked._repr_html_()
    assert shown.count('<div class="line">') == len(worked.lines)
    assert "&lt;script&gt;" in shown
    run = gn.train(Network((30, 20, 1)), RNG.normal(size=(3, 30)), [0, 1, 0], epochs=0)
    many = gn.explain(run)
    assert len(many.lines) > MOST_IN_A_NOTEBOOK
    assert many._repr_html_().count('<div class="line">') == MOST_IN_A_NOTEBOOK
    assert f"The first {MOST_IN_A_NOTEBOOK} lines" in many._repr_html_()


def compiled(latex: str, folder: Path) -> str:
    """What pdflatex says of a document, which it has to take without an error."""
    (folder / "sheet.tex").write_text(latex, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "sheet.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=300)
    said = done.stdout.decode("latin-1")
    assert done.returncode == 0, said[-3000:]
    return said


needs_latex = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")


@needs_latex
@pytest.mark.parametrize("blank", [False, True])
def test_pdflatex_compiles_a_step_with_hostile_names(worked: Any, blank: bool, tmp_path: Path) -> None:
    said = compiled(worked.latex(blank=blank), tmp_path)
    assert "Missing character" not in said
    assert "Overfull" not in said


@needs_latex
def test_pdflatex_compiles_every_activation_and_loss(tmp_path: Path) -> None:
    documents = []
    for activation, loss in itertools.zip_longest(ACTIVATIONS, LOSSES, fillvalue="mean_squared_error"):
        network = Network((2, 2, 3), activation, loss)
        y = np.eye(3)[[0]]
        documents.append(gn.explain(gn.train(network, [[1e-7, -3.0]], y, epochs=1), 0, step=1).latex())
    head, end = documents[0].split(r"\section*")[0], r"\end{document}"
    bodies = [document.partition(r"\begin{document}")[2].replace(end, "") for document in documents]
    compiled(head + "\n".join(bodies) + end, tmp_path)


@needs_latex
def test_what_is_no_latex_does_not_compile(worked: Any, tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        compiled(worked.latex().replace(r"\$\_\{\&\%", "$_{&%"), tmp_path)


# --- one quantity, and thousands ------------------------------------------------------------------------------------


def test_one_quantity(model: gn.Model) -> None:
    full = {line.symbol: line for line in gn.explain(model, HOSTILE, 5).lines}
    for name in ("x1", "z1_2", "delta1_3", "loss", "p", "dloss/da1_1", "predicted price = <b>"):
        (line,) = gn.explain(model, HOSTILE, 5, only=name).lines
        assert line == full[name]
    (line,) = gn.explain(model, HOSTILE, 5, only="w1_2_3").lines
    assert line == full["dloss/dw1_2_3"]
    step = gn.explain(model, HOSTILE, 5, step=2, only="w1_2_3")
    names = ["dloss/dw1_2_3", "dL/dw1_2_3", "dJ/dw1_2_3", *(f"{k}[w1_2_3]" for k in ("m", "v", "m_hat", "v_hat"))]
    assert [line.symbol for line in step.lines] == [*names, "w1_2_3"]
    assert len(step.lines) == len(list(step.lines)) == 8
    assert step.text().count("difference quotient") == 1
    assert step.latex(blank=True).count(r"\blank") > 8


def test_a_quantity_that_is_not_there(model: gn.Model) -> None:
    for name in ("delta1_4", "delta1_0", "z9_1", "w1_1", "z1_j", "", "x", "delta1_" + "9" * 30):
        with pytest.raises(UsageError, match="A quantity is one of 'filled"):
            gn.explain(model, HOSTILE, 5, only=name)
    with pytest.raises(UsageError, match="Did you mean 'delta1_j'"):
        gn.explain(model, HOSTILE, 5, only="delt1_2")
    for digits in (0, 18, 2.5):
        with pytest.raises(UsageError, match="from 1 to 17"):
            gn.explain(model, HOSTILE, 5, digits=digits)  # type: ignore[arg-type]


def test_a_network_of_mnists_size_is_streamed() -> None:
    network = Network((784, 128, 10), "relu", "cross_entropy")
    X = RNG.uniform(size=(3, 784))
    run = gn.train(network, X, np.eye(10)[:3], epochs=1, engine="numpy")
    (delta,) = gn.explain(run, 1, only="delta1_5").lines
    (gradient,) = gn.explain(run, 1, only="w1_700_5").lines
    assert gradient.difference_quotient == pytest.approx(gradient.value, rel=1e-5, abs=1e-9)
    whole = gn.explain(run, 1)
    assert "left out for more than 10,000 parameters" in whole.text()[:1000]
    found = {line.symbol: line for line in whole.lines}
    assert len(found) == len(whole.lines) == network.n_parameters + 128 * 4 + 10 * 4 + 3
    assert found["delta1_5"] == delta
    assert found["z1_5"].numbers.count(" * ") == 784
    assert max(map(len, whole.written(80))) <= 80
    first = list(itertools.islice(gn.explain(run, 1, step=1).lines, 5))
    assert [line.symbol for line in first] == [f"z1_{n}" for n in range(1, 6)]


def test_a_sum_over_all_weights_is_not_written_out() -> None:
    network = Network((100, 101, 1), "relu")
    run = gn.train(network, RNG.normal(size=(2, 100)), [0, 1], epochs=1, l2=0.5)
    work = {str(one.equation.target): one for one in gn.explain(run, 1, step=1).work}
    for style in (TEXT, LATEX):
        (line,) = lines(work["penalty1"], style)
        assert line.note == "10,100 terms, not written out"
        assert len(line.formula) < 100
        (short,) = lines(work["penalty2"], style)
        assert short.formula.count("+") == 100


def test_thousands_of_units() -> None:
    network = Network((3000, 2, 2000), "tanh", "cross_entropy")
    run = gn.train(network, RNG.normal(size=(2, 3000)), np.eye(2000)[:2], epochs=0)
    for name in ("z1_2", "s", "p1999", "loss", "dloss/da1_2", "delta1_1"):
        (line,) = gn.explain(run, 1, only=name).lines
        assert np.isfinite(line.value)
        assert line.formula
    (m,) = gn.explain(run, 1, only="m").lines
    assert m.numbers.count(",") == 1999
