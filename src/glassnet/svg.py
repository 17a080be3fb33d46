"""What the pictures are made of: the palette, text, lines, and the rules of light and dark.

A picture's rules stand below a class of its own, so that they touch nothing else on a page. Names come from files: they
may hold anything.
"""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from html import escape

BLUE = "#0072b2"  # above zero, or the positive class (Okabe and Ito's palette)
ORANGE = "#d55e00"  # below zero, or the negative class
INK = "#1b1f24"
MUTED = "#5d6670"


def significant(value: float, digits: int = 3) -> str:
    """A number to `digits` significant digits, for people: never a false zero, a true minus sign.

    >>> significant(0.00012345), significant(-1.5), significant(1538.06), significant(2.5e-9), significant(0)
    ('0.000123', '−1.50', '1538', '2.50e−9', '0')
    """
    value = float(value)
    if value == 0:
        return "0"
    text = f"{value:.{digits - 1}e}"
    if math.isfinite(value):
        mantissa, _, exponent = text.partition("e")
        power = int(exponent)
        text = f"{value:.{max(digits - 1 - power, 0)}f}" if -4 <= power < 6 else f"{mantissa}e{power}"
    return text.replace("-", "−")


def cleaned(name: object) -> str:
    """One line without the characters that XML 1.0 cannot hold."""
    text = " ".join(str(name).split())
    return re.sub("[^\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|\x7f", "�", text)


def shortened(name: str, longest: int = 24) -> str:
    """Head and tail of a long name: columns of one table often share either."""
    if len(name) <= longest:
        return name
    tail = longest // 3
    return f"{name[: longest - tail - 1]}…{name[-tail:]}"


def text_width(text: str, size: float) -> float:
    """The width in pixels, estimated from above: the viewer's fonts are unknown."""

    def ems(character: str) -> float:
        if unicodedata.east_asian_width(character) in "WF" or character in "MWmw%@":
            return 1.0
        return 0.76 if character.isupper() else 0.63

    return size * sum(map(ems, text))


def style(scope: str, *, lit: bool = False) -> str:
    """The rules, all below the picture's own class so that they touch nothing else on a page.

    `lit`: a picture in which some things stand out, of class gn-lit, before the others.
    """

    def rules(
        paper: str, ink: str, muted: str, line: str, fills: tuple[str, str], strokes: tuple[str, str], strong: str
    ) -> str:
        of_lit = (
            (".gn-unit", f"stroke:{muted}"),
            ("line.gn-lit", f"stroke:{strong}"),
            ("text.gn-lit", f"fill:{strong};font-weight:600"),
            (".gn-unit.gn-lit", f"stroke:{strong};fill:{strong};stroke-width:3px"),
            (".gn-unit.gn-lit+text", f"fill:{paper};stroke:none;font-weight:600"),
        )
        return "".join(
            f".{scope} {selector}{{{declaration}}}"
            for selector, declaration in (
                (".gn-paper", f"fill:{paper}"),
                (".gn-unit", f"fill:{paper};stroke:{ink}"),
                ("text", f"fill:{ink};stroke:{paper}"),
                (".gn-muted", f"fill:{muted}"),
                (".gn-neutral", f"stroke:{line}"),
                (".gn-scale", f"stroke:{muted}"),
                (".gn-positive", f"stroke:{strokes[0]}"),
                (".gn-negative", f"stroke:{strokes[1]}"),
                ("text.gn-above", f"fill:{fills[0]}"),
                ("text.gn-below", f"fill:{fills[1]}"),
                *(of_lit if lit else ()),
            )
        )

    return (
        f".{scope} text{{font-family:system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif;"
        "stroke-width:4px;stroke-linejoin:round;paint-order:stroke}"
        f".{scope} line{{stroke-linecap:butt}}"
        f".{scope} .gn-unit{{stroke-width:1.5px}}"
        + rules("#ffffff", INK, MUTED, "#9aa3ad", ("#005f96", "#a84a00"), (BLUE, ORANGE), "#b5004f")
        + "@media (prefers-color-scheme:dark){"
        + rules("#14181d", "#e8ebee", "#a3adb8", "#66707a", ("#7cc4f2", "#f5ad6a"), ("#56b4e9", "#f0954a"), "#ff7eb0")
        + "}"
    )


def text(
    x: float, y: float, content: str, *, size: float = 12, anchor: str = "middle", kind: str = "", title: str = ""
) -> str:
    """A line of text at (x, y), its own `kind` of the rules' classes; `title` is shown where one points at it."""
    tooltip = f"<title>{escape(title, quote=False)}</title>" if title else ""
    css = f' class="{kind}"' if kind else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" text-anchor="{anchor}"{css}>'
        f"{escape(content, quote=False)}{tooltip}</text>"
    )


def line(start: tuple[float, float], end: tuple[float, float], width: float, kind: str, more: str = "") -> str:
    """An unclosed line element, for `/>` or a title within; `more` are further attributes."""
    return (
        f'<line x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}" '
        f'stroke-width="{width:.2f}" class="{kind}"{more}'
    )


def scope_of(content: str) -> str:
    """A class of the picture's own."""
    return "gn-" + hashlib.sha256(content.encode()).hexdigest()[:10]
