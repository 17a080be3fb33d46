r"""A derivation as a LaTeX document that pdflatex compiles with the packages of any installation.

Equations are set in paragraphs of their own: TeX breaks them where it breaks a formula in running text, at a sign of
addition or multiplication, so that a sum of hundreds of terms fits the page.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator

from glassnet.derivations.lines import Line
from glassnet.equations import latex_escaped

_PREAMBLE = r"""\documentclass{article}
\usepackage[a4paper, margin=2cm]{geometry}
\usepackage{amsmath}
\setlength{\parindent}{0pt}
\setlength{\parskip}{0.6ex}
\raggedright
\raggedbottom
\binoppenalty=0
\relpenalty=0
\allowdisplaybreaks
% One equation; a further form of it; what a form is.
\newcommand{\equationline}[1]{\par\vspace{1.4ex plus .4ex}\hangindent=3em\hangafter=1\relax$\displaystyle #1$}
\newcommand{\equationform}[1]{\par\hangindent=5em\hangafter=1\relax\hspace*{3em}$\displaystyle #1$}
\newcommand{\formnote}[1]{\quad{\footnotesize\itshape #1}}
"""


def document(title: str, lines: Iterable[Line]) -> Iterator[str]:
    """The document, piece by piece: a section for each stage."""
    yield _PREAMBLE
    yield f"\\begin{{document}}\n\\section*{{{printable(latex_escaped(title))}}}\n"
    stage = ""
    for line in lines:
        if line.stage != stage:
            stage = line.stage
            yield f"\\subsection*{{{stage.capitalize()}}}\n"
        yield from _written(line)
    yield "\\end{document}\n"


def _written(line: Line) -> Iterator[str]:
    arrow = r"\leftarrow" if line.arrow == "<-" else "="
    for number, (right, note) in enumerate(zip(line.rights, line.notes, strict=True)):
        said = rf"\formnote{{{printable(latex_escaped(note))}}}" if note else ""
        if number:
            yield rf"\equationform{{{{}}= {printable(right)}}}{said}" + "\n"
        else:
            yield rf"\equationline{{{printable(line.target)} {arrow} {printable(right)}}}{said}" + "\n"


def aligned(lines: Iterable[Line]) -> str:
    """An `aligned` block for mathematics mode, in a paper or a notebook."""
    written = []
    for line in lines:
        arrow = r"\leftarrow" if line.arrow == "<-" else "="
        written.append(rf"{line.target} &{arrow} {line.rights[0]}")
        written += [f"&= {right}" for right in line.rights[1:]]
    return "\\begin{aligned}\n" + " \\\\\n".join(written) + "\n\\end{aligned}"


# What TeX's own fonts can put above or below a letter.
_ACCENTS = {
    "\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u", "\u0307": ".",
    "\u0308": '"', "\u030a": "r", "\u030b": "H", "\u030c": "v", "\u0327": "c",
}  # fmt: skip
_LETTERS = {"ß": r"{\ss}", "æ": r"{\ae}", "Æ": r"{\AE}", "œ": r"{\oe}", "Œ": r"{\OE}", "ø": r"{\o}", "Ø": r"{\O}"}


def printable(latex: str) -> str:
    r"""The same in ASCII, which every TeX reads: accents as TeX writes them, other letters by their number.

    >>> print(printable(r"\text{größe 年}"))
    \text{gr\"{o}{\ss}e \texttt{U+5E74}}
    """
    return latex if latex.isascii() else "".join(map(_in_ascii, unicodedata.normalize("NFC", latex)))


def _in_ascii(letter: str) -> str:
    if letter.isascii():
        return letter
    if letter in _LETTERS:
        return _LETTERS[letter]
    parts = unicodedata.normalize("NFD", letter)
    if len(parts) == 2 and parts[0].isascii() and parts[1] in _ACCENTS:
        base = {"i": r"\i", "j": r"\j"}.get(parts[0], parts[0])
        return rf"\{_ACCENTS[parts[1]]}{{{base}}}"
    return rf"\texttt{{U+{ord(letter):04X}}}"
