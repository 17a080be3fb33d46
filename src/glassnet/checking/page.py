"""A report as one self-contained HTML page, or as a notebook shows it: the network, its first wrong quantity lit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from html import escape

from glassnet.checking.problems import Problem
from glassnet.checking.records import HINTS, Found, Named, Wrong
from glassnet.drawing import network_svg
from glassnet.expressions import significant

VERDICTS = {"right": "Right", "wrong": "Wrong", "error": "Not checked"}

_STYLE = """
.check { --paper: #fff; --ink: #1b1f24; --muted: #5d6670; --card: #f6f7f9; --line: #dfe3e8;
  --right: #006b45; --wrong: #b5004f;
  color: var(--ink); background: var(--paper); font: 16px/1.55 system-ui, sans-serif; overflow-wrap: break-word; }
@media (prefers-color-scheme: dark) { .check { --paper: #14171b; --ink: #e6e9ed; --muted: #9aa4af; --card: #1d2126;
  --line: #343a42; --right: #5fd3a2; --wrong: #ff7eb0; } }
.check h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; color: var(--ink); }
.check h2 { font-size: 1.15rem; margin: 2rem 0 .4rem; color: var(--ink); }
.check p { max-width: 44rem; margin: .4rem 0 .8rem; }
.check .right { color: var(--right); } .check .wrong, .check .error { color: var(--wrong); }
.check .muted, .check figcaption, .check dt { color: var(--muted); }
.check figure { margin: .8rem 0; } .check figcaption { font-size: .9rem; margin-top: .4rem; }
.check figure svg { display: block; max-width: 100%; height: auto; }
.check pre, .check code { font: .9em/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
.check pre { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: .6rem .8rem; max-height: 24rem; color: var(--ink); }
.check .scroll { overflow-x: auto; }
.check table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
.check th, .check td { padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; color: var(--ink); background: none; }
.check td.number, .check th.number { text-align: right; }
.check td .right, .check td .wrong, .check td .error { white-space: nowrap; }
.check tr.first td { color: var(--wrong); font-weight: 600; }
.check dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: .4rem 0; }
.check dd { margin: 0; }
.check a { color: inherit; }
"""
_PAGE_STYLE = """
:root { color-scheme: light dark; }
body { margin: 0; background: #fff; }
main { max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
@media (prefers-color-scheme: dark) { body { background: #14171b; } }
"""


def page(report: Found, hint: str = "full") -> str:
    """The whole page; nothing is fetched from anywhere, and everything that came from a file is escaped."""
    return whole_page(f"{VERDICTS[report.verdict]}: {report.title}", "".join(_parts(report, hint)))


def fragment(report: Found, hint: str = "full") -> str:
    """What a notebook shows: the page's body with its own rules."""
    body = "".join(_parts(report, hint))
    return f'<style>{_STYLE}</style>\n<div class="check" style="padding: .5rem 1rem">\n{body}</div>'


def picture(report: Found) -> str:
    """The network of the case in which the first wrong quantity lies, as SVG, with that quantity lit; or nothing."""
    if report.trace is None or report.first is None:
        return ""
    return network_svg(report.trace.network, report.trace.parameters, lit=lit(report.first, report.trace.network.sizes))


def lit(first: Wrong, sizes: Sequence[int]) -> list[str]:
    """The symbols that stand for a quantity in the picture: of a gradient its weight or bias, of all else its units.

    A quantity without a place, the loss say, is that of all units of its layer, or of the outputs.
    """
    layer = first.layer or len(sizes) - 1
    units = range(1, sizes[layer] + 1) if first.unit is None else (first.unit,)
    if re.fullmatch(r"(d|updated )W\d+", first.quantity):
        sources = range(1, sizes[layer - 1] + 1) if first.source is None else (first.source,)
        return [f"w{layer}_{source}_{unit}" for source in sources for unit in units]
    lit = [f"z{layer}_{unit}" for unit in units]
    if re.fullmatch(r"(d|updated )b\d+", first.quantity):
        lit += [f"b{layer}_{unit}" for unit in units]
    return lit


def _parts(report: Found, hint: str) -> Iterator[str]:
    told = HINTS.index(hint)
    yield f'<h1 class="{report.verdict}">{VERDICTS[report.verdict]}</h1>\n<p class="muted">{escape(report.title)}</p>\n'
    if report.problem is not None:
        yield _problem(report.problem)
    if report.first is not None and told >= HINTS.index("where"):
        yield _first(report, report.first)
    if told >= HINTS.index("name"):
        for mistake in report.mistakes:
            yield _mistake(mistake, report.first, whole=hint == "full")
        if report.verdict == "wrong" and not report.mistakes and report.problem is None:
            yield "<h2>The mistake is none that is known by name</h2>\n"
    if hint == "full":
        if report.evidence:
            yield f"<h2>What shows it</h2>\n{_listed(report.evidence)}"
        if report.quantities:
            yield _quantities(report)
    if report.conventions and told >= HINTS.index("where"):
        pairs = "".join(f"<dt>{escape(key)}</dt><dd>{escape(str(of))}</dd>" for key, of in report.conventions.items())
        yield f"<h2>Read as</h2>\n<dl>{pairs}</dl>\n"
    if report.remarks:
        yield f"<h2>Worth knowing</h2>\n{_listed(report.remarks)}"


def _problem(problem: Problem) -> str:
    line = "" if problem.line is None else f"line {problem.line}: "
    source = "" if problem.source_line is None else _pre(f"{line}{problem.source_line.strip()}")
    return f"<p>{escape(problem.message)}</p>\n{source}"


def _first(report: Found, first: Wrong) -> str:
    row = "" if first.row is None else f" in row {first.row}"
    note = f" {first.note[:1].upper()}{first.note[1:]}." if first.note else ""
    said = (
        f"<p>The first that is off, in order of computation, is <b>{escape(first.name)}</b>{row}.{escape(note)}</p>\n"
    )
    if not first.note:
        said += _two(first.candidate, first.expected)
    if first.equation:
        said += f"<p><code>{escape(first.equation)}</code></p>\n"
    if drawn := picture(report):
        what = "weight" if "W" in first.quantity else "bias" if "b" in first.quantity else "unit"
        one = what if first.unit is not None else f"{what}s" if what != "bias" else "biases"
        sizes = "-".join(map(str, first.case))
        caption = f"The network in which it shows, {sizes}; lit: the {one} of {first.name}."
        said += f"<figure>\n{drawn}<figcaption>{escape(caption)}</figcaption>\n</figure>\n"
    return said


def _two(yours: float, right: float) -> str:
    cells = "".join(
        f'<tr><td>{of}</td><td class="number">{escape(significant(number, 10))}</td></tr>\n'
        for of, number in (("yours", yours), ("should be", right))
    )
    return f"<table>\n{cells}</table>\n"


def _mistake(mistake: Named, first: Wrong | None, *, whole: bool) -> str:
    place = f" ({mistake.place})" if mistake.place else ""
    heading = f"<h2>{escape(mistake.name[:1].upper() + mistake.name[1:] + place)}</h2>\n"
    if not whole:
        return heading
    rows = [("right", mistake.equation), ("yours", mistake.wrong_equation)]
    equations = "".join(f"<dt>{of}</dt><dd><code>{escape(text)}</code></dd>" for of, text in rows if text)
    numbers = ""
    if mistake.numbers is not None and (first is None or mistake.numbers != (first.candidate, first.expected)):
        shown = f"<p>{escape(mistake.shown)}</p>\n" if mistake.shown else ""
        numbers = shown + _two(*mistake.numbers)
    return f"{heading}<p>{escape(mistake.sentence)}</p>\n<dl>{equations}</dl>\n{numbers}"


def _quantities(report: Found) -> str:
    first = None if report.first is None else report.first.quantity
    lines = "".join(
        f"<tr{' class=first' if of.name == first else ''}><td>{escape(of.name)}</td>"
        f'<td class="number">{of.compared:,}</td><td class="number">{of.wrong:,}</td>'
        f'<td class="number">{"another shape" if of.misshapen else significant(of.largest_error, 2)}</td></tr>\n'
        for of in report.quantities
    )
    head = '<tr><th>quantity</th><th class="number">numbers</th><th class="number">off</th>'
    head += '<th class="number">largest error</th></tr>'
    return (
        f'<h2>Every quantity, in order of computation</h2>\n<div class="scroll"><table>{head}\n{lines}</table></div>\n'
    )


def _listed(sentences: Iterable[str]) -> str:
    return "".join(f"<p>{escape(sentence)}</p>\n" for sentence in sentences)


def _pre(text: str) -> str:
    return f'<pre tabindex="0">{escape(text)}</pre>\n'


def whole_page(title: str, body: str) -> str:
    """A document around `body`, which is HTML already; the title is not."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}{_PAGE_STYLE}</style>\n</head>\n<body>\n"
        f'<main class="check">\n{body}'
        "</main>\n</body>\n</html>\n"
    )
