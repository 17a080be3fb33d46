"""A worked calculation on paper: text, a LaTeX document, an HTML page; as a worksheet, with the results behind."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import islice

from glassnet.derivations.latex import printable
from glassnet.derivations.worked_lines import Line, Style
from glassnet.equations import latex_escaped
from glassnet.expressions import significant

MOST_IN_A_NOTEBOOK = 500
"""Lines that a notebook shows: more would be a burden to the browser, and to nobody's use."""


@dataclass(frozen=True)
class Sheet:
    """What is written: a title, remarks, the lines, and what comes out. Where `blank`, results stand behind."""

    title: str
    answer: str
    remarks: Sequence[str]
    lines: Iterable[Line]
    style: Style
    digits: int
    blank: bool

    def number(self, value: float) -> str:
        """A number as it is shown."""
        return self.style.number(significant(value, self.digits))

    def parts(self, line: Line) -> list[str]:
        """What stands behind the symbol, from = to =; nothing twice."""
        value = self.number(line.value)
        parts = [line.formula] if self.blank or line.formula != value else []
        parts += [line.numbers] if line.numbers != value else []
        if len(parts) == 2 and (parts[0] == parts[1] or (self.blank and parts[1] == self.style.blank)):
            parts.pop()
        return [*parts, self.style.blank if self.blank else value]

    def beside(self, line: Line) -> str:
        """What stands beside the result: the difference quotient, or a note."""
        if line.difference_quotient is not None and not self.blank:
            return f"difference quotient {significant(line.difference_quotient, self.digits)}"
        return f"[{line.note}]" if line.note else ""

    def stages(self) -> Iterator[tuple[str, Iterator[Line]]]:
        """The lines by stage, in their order, one after the other."""
        every = iter(self.lines)
        ahead = next(every, None)

        def of_stage(first: Line) -> Iterator[Line]:
            nonlocal ahead
            line: Line | None = first
            while line is not None and line.stage == first.stage:
                yield line
                line = ahead = next(every, None)

        while ahead is not None:
            yield ahead.stage, of_stage(ahead)


def _arrow(line: Line) -> str:
    return "<-" if line.stage == "update" else "="


# --- text ---------------------------------------------------------------------------------------------------------


def text(sheet: Sheet, width: int = 100) -> Iterator[str]:
    """Lines of text, broken before `=` where they are longer than `width`."""
    yield sheet.title
    for remark in sheet.remarks:
        yield from textwrap.wrap(remark, width, initial_indent="  ", subsequent_indent="    ")
    for stage, lines in sheet.stages():
        yield ""
        yield stage
        for line in lines:
            yield from _written(sheet, line, width)
    if sheet.blank:
        yield "\f"  # a printer takes a new page here
        yield f"{sheet.title}: results"
        for stage, lines in replace(sheet, blank=False).stages():
            yield ""
            yield stage
            yield from (f"  {line.symbol} = {sheet.number(line.value)}" for line in lines)
    yield ""
    yield from textwrap.wrap(sheet.answer, width, subsequent_indent="  ")


def _written(sheet: Sheet, line: Line, width: int) -> Iterator[str]:
    parts, after = sheet.parts(line), sheet.beside(line)
    parts[-1] += f"   {after}" if after else ""
    whole = f"  {line.symbol} {_arrow(line)} " + " = ".join(parts)
    if len(whole) <= width:
        yield whole
        return
    for number, part in enumerate(parts):
        lead = f"  {line.symbol} {_arrow(line)} " if number == 0 else " " * (len(line.symbol) + 3) + "= "
        yield from _wrapped(part, width, lead)


def _wrapped(part: str, width: int, lead: str) -> Iterator[str]:
    """`textwrap.wrap`, where sums of thousands of terms take a moment only."""
    if len(lead) + len(part) <= width:
        yield lead + part
        return
    hanging = " " * (len(lead) + 2)
    if len(part) < 1000:
        yield from textwrap.wrap(part, width, initial_indent=lead, subsequent_indent=hanging)
        return
    taken: list[str] = [lead.rstrip()]
    length = len(taken[0])
    for word in part.split(" "):
        if length + 1 + len(word) > width and taken:
            yield " ".join(taken)
            taken, length = [hanging[:-1]], len(hanging) - 1
        taken.append(word)
        length += 1 + len(word)
    yield " ".join(taken)


# --- LaTeX --------------------------------------------------------------------------------------------------------

_PREAMBLE = r"""\documentclass[a4paper]{article}
\usepackage{amsmath}
\usepackage[margin=20mm]{geometry}
\newcommand{\blank}{\underline{\hspace{3em}}}
\setlength{\parindent}{0pt}
\setlength{\parskip}{4pt plus 1pt}
\raggedright
\everymath{\displaystyle}
\binoppenalty=0
\relpenalty=0
\begin{document}"""


def latex(sheet: Sheet) -> Iterator[str]:
    """A document in which every line is a paragraph, so that a sum of any length finds its breaks."""
    yield _PREAMBLE
    yield rf"\section*{{{_plain(sheet.title)}}}"
    for remark in sheet.remarks:
        yield f"{_plain(remark)}\n"
    for stage, lines in sheet.stages():
        yield rf"\subsection*{{{stage}}}"
        for line in lines:
            arrow = r"\leftarrow" if line.stage == "update" else "="
            beside = sheet.beside(line)
            note = rf" \quad \textit{{\small {_plain(beside)}}}" if beside else ""
            parts = "$ $= ".join(sheet.parts(line))  # a place where the line may break
            yield rf"\hangindent=2em ${printable(f'{line.symbol} {arrow} {parts}')}${note}" + "\n"
    if sheet.blank:
        yield rf"\newpage\section*{{{_plain(sheet.title)}: results}}"
        for stage, lines in replace(sheet, blank=False).stages():
            yield rf"\subsection*{{{stage}}}"
            for line in lines:
                yield rf"${printable(line.symbol)} = {sheet.number(line.value)}$" + "\n"
    yield rf"\medskip {_plain(sheet.answer)}"
    yield r"\end{document}"


def _plain(words: str) -> str:
    return printable(latex_escaped(words))


# --- HTML ---------------------------------------------------------------------------------------------------------

_STYLE = """
.worked { font: 15px/1.5 system-ui, sans-serif; }
.worked h1 { font-size: 1.35em; line-height: 1.25; }
.worked h2 { font-size: 1.05em; margin: 1.6em 0 .3em; }
.worked .line { padding: .15em 0 .15em 2em; text-indent: -2em; overflow-wrap: anywhere;
  font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .92em; }
.worked .line b { font-weight: 600; }
.worked .line i, .worked .remark { color: #5d6670; }
.worked .line i { font-style: normal; margin-left: 1em; }
.worked .answer { margin-top: 1.6em; }
@media print { .worked .results { break-before: page; } }
"""
_PAGE_STYLE = """
:root { color-scheme: light dark; }
body { margin: 0; background: #fff; color: #1b1f24; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
.results { border-top: 1px solid #dfe3e8; margin-top: 3rem; }
@media (prefers-color-scheme: dark) {
  body { background: #14171b; color: #e6e9ed; }
  .worked .line i, .worked .remark { color: #9aa4af; }
}
"""


def html(sheet: Sheet) -> Iterator[str]:
    """A whole page, with nothing fetched from anywhere."""
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{escape(sheet.title)}</title>\n<style>{_STYLE}{_PAGE_STYLE}</style>\n</head>\n<body>\n<main>"
    yield from _body(sheet)
    yield "</main>\n</body>\n</html>"


def notebook(sheet: Sheet) -> str:
    """What a notebook shows: the page's body, of large networks the first lines."""
    n = sum(1 for _ in islice(iter(sheet.lines), MOST_IN_A_NOTEBOOK + 1))
    if n > MOST_IN_A_NOTEBOOK:
        first = list(islice(iter(sheet.lines), MOST_IN_A_NOTEBOOK))
        remark = f"The first {MOST_IN_A_NOTEBOOK} lines; `only` shows one quantity, print(...) all of them."
        sheet = replace(sheet, lines=first, remarks=(*sheet.remarks, remark))
    return f"<style>{_STYLE}</style>\n" + "\n".join(_body(sheet))


def _body(sheet: Sheet) -> Iterator[str]:
    yield f'<div class="worked">\n<h1>{escape(sheet.title)}</h1>'
    for remark in sheet.remarks:
        yield f'<p class="remark">{escape(remark)}</p>'
    for stage, lines in sheet.stages():
        yield f"<h2>{stage}</h2>"
        for line in lines:
            *before, result = sheet.parts(line)
            arrow = "&larr;" if line.stage == "update" else "="
            beside = f" <i>{escape(sheet.beside(line))}</i>" if sheet.beside(line) else ""
            steps = "".join(f" {'=' if n else arrow} {escape(part)}" for n, part in enumerate(before))
            last = "=" if before else arrow
            yield f'<div class="line"><b>{escape(line.symbol)}</b>{steps} {last} <b>{escape(result)}</b>{beside}</div>'
    if sheet.blank:
        yield f'<section class="results">\n<h1>{escape(sheet.title)}: results</h1>'
        for stage, lines in replace(sheet, blank=False).stages():
            yield f"<h2>{stage}</h2>"
            for line in lines:
                yield f'<div class="line">{escape(line.symbol)} = <b>{escape(sheet.number(line.value))}</b></div>'
        yield f'<p class="answer">{escape(sheet.answer)}</p>\n</section>'
    else:
        yield f'<p class="answer">{escape(sheet.answer)}</p>'
    yield "</div>"
