"""One self-contained HTML page: text, tables and pictures, no script, nothing fetched from anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --muted: #5d6670; --paper: #f6f7f9; --card: #fff; --line: #dfe3e8; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ed; --muted: #9aa4af; --paper: #14171b; --card: #1d2126; --line: #343a42; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 2rem 1rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .4rem; }
p { max-width: 44rem; margin: .4rem 0 .8rem; }
.lead, figcaption, .note { color: var(--muted); }
figure { margin: .8rem 0; padding: .8rem; background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
figure svg { display: block; width: 100%; height: auto; }
figure.picture { background: #fff; }
figure.picture figcaption { color: #5d6670; }
figcaption { font-size: .9rem; margin-top: .5rem; }
pre { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: .8rem;
      font: 13px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; background: var(--card); }
th, td { padding: .35rem .9rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
"""


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Picture:
    """An SVG with a caption. `own_colours`: it adapts to a dark page by itself; else it stands on white."""

    svg: str
    caption: str
    own_colours: bool = False


@dataclass(frozen=True)
class Listing:
    """Text whose lines and spaces stay as they are."""

    text: str


@dataclass(frozen=True)
class Grid:
    """A table of texts; the first column names the row."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


Block = Text | Picture | Listing | Grid


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    heading: str
    blocks: Sequence[Block]


def page(title: str, lead: str, sections: Sequence[Section]) -> str:
    """The page as HTML text. Everything but a picture's SVG is escaped.

    >>> "&lt;script&gt;" in page("<script>", "", [Section("One", [Text("two")])])
    True
    """
    body = "\n".join(
        f"<section>\n<h2>{escape(section.heading)}</h2>\n{''.join(map(_block, section.blocks))}</section>"
        for section in sections
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f'<h1>{escape(title)}</h1>\n<p class="lead">{escape(lead)}</p>\n{body}\n</main>\n</body>\n</html>\n'
    )


def _block(block: Block) -> str:
    match block:
        case Text(text):
            return f"<p>{escape(text)}</p>\n"
        case Listing(text):
            return f"<pre>{escape(text)}</pre>\n"
        case Picture(svg, caption, own_colours):
            kind = "" if own_colours else ' class="picture"'
            inline = svg[svg.index("<svg") :]
            return f"<figure{kind}>\n{inline}\n<figcaption>{escape(caption)}</figcaption>\n</figure>\n"
        case Grid(header, rows):
            head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
            lines = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>\n" for row in rows)
            table = f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{lines}</tbody>\n</table>"
            return f'<div class="scroll">{table}</div>\n'
