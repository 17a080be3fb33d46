"""A report as a page, and as what a notebook shows."""

from __future__ import annotations

from html import escape
from typing import Any

Report = Any
"""A `glassnet.checking.report.Report`, which is above this module and shows itself by it."""

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem}"
    "pre{overflow-x:auto;padding:.6rem;border:1px solid #8888}"
)


def picture(report: Report) -> str:
    """The network with the first wrong quantity lit, as SVG; nothing where there is none."""
    return ""


def fragment(report: Report, hint: str) -> str:
    """The report without a page around it."""
    parts = [f"<h2>{escape(report.title)}</h2>"]
    for text in report.said(hint):
        parts.append(f"<pre>{escape(text)}</pre>" if text.startswith("  ") else f"<p>{escape(text)}</p>")
    if hint != "none":
        parts.insert(2, picture(report))
    return "\n".join(part for part in parts if part)


def page(report: Report, hint: str) -> str:
    """One self-contained page."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(report.title)}</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n{fragment(report, hint)}\n</body></html>\n"
    )
