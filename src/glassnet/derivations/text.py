"""A derivation as text: forms beneath one another, broken at the width of a terminal."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from glassnet.derivations.lines import Line

# Letters that are written from right to left; a mark behind them keeps signs and numbers that follow where they belong.
_RIGHT_TO_LEFT = re.compile("([\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefe\U00010800-\U00010fff\U0001e800-\U0001efff]+)")
_MARK = "\u200e"
_NOTES_AT = 41
"""The column where notes begin, where the line is no longer than that."""
# A sum is broken before its signs, a product only where a term alone is too long, a name only where nothing else helps.
_BREAKS = (re.compile(r" (?=[+-] )"), re.compile(r" (?=[*/@<>=] )"), re.compile(" "))


def columns(text: str) -> int:
    """How many columns of a terminal a text takes: a Chinese letter or an emoji takes two, an accent above none.

    >>> columns("age"), columns("年龄")
    (3, 4)
    """
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return len(text) + wide - sum(unicodedata.combining(letter) > 0 or letter == _MARK for letter in text)


def text_of(lines: Iterable[Line], width: int) -> Iterator[str]:
    """The lines of text, each stage under its name, none wider than `width` columns."""
    stage = ""
    for line in lines:
        if line.stage != stage:
            stage = line.stage
            yield stage
        for written in _written(line, width):
            yield written if written.isascii() else _RIGHT_TO_LEFT.sub(rf"\1{_MARK}", written)


def _written(line: Line, width: int) -> Iterator[str]:
    lead = f"  {line.target} {line.arrow} "
    indent = " " * (columns(lead) - 2)
    if len(line.rights) + (columns(lead) > width // 2) > 1 and columns(lead) > width // 3:
        # A long name before every sign would leave no room for what stands behind it.
        *above, last = broken(lead.rstrip(), "", "    ", width)
        yield from above
        lead, indent = last + " ", "    "
        if columns(lead) > width // 2:
            yield last
            lead = "      "
    for number, (right, note) in enumerate(zip(line.rights, line.notes, strict=True)):
        start = f"{indent}= " if number else lead
        whole = f"{start}{right}"
        fits = columns(whole) <= width
        written = [whole] if fits else list(broken(right, start, f"{indent}  ", width))
        if note:
            with_note = f"{written[-1]}{' ' * max(2, _NOTES_AT - columns(written[-1]))}{note}"
            if columns(with_note) <= width:
                written[-1] = with_note
            else:
                written += broken(f"[{note}]", f"{indent}  ", f"{indent}   ", width)
        yield from written


def broken(text: str, first: str, later: str, width: int, level: int = 0) -> Iterator[str]:
    """The text behind `first`, and on further lines behind `later`, broken before an operator, else at a blank.

    >>> list(broken("b1 + w1_1 * x1 + w2_1 * x2", "  z = ", "      ", 22))
    ['  z = b1 + w1_1 * x1', '      + w2_1 * x2']
    """
    line, empty = first, True
    room = width - columns(later)
    for part in _BREAKS[level].split(text):
        joined = f"{line}{part}" if empty else f"{line} {part}"
        if columns(joined) <= width:
            line, empty = joined, False
            continue
        if not empty and columns(part) <= room:
            yield line
            line = f"{later}{part}"
            continue
        if level + 1 < len(_BREAKS):
            *done, line = broken(part, line if empty else f"{line} ", later, width, level + 1)
            yield from done
        else:
            if not empty:
                yield line
                line = later
            *done, line = _cut(part, line, later, width)
            yield from done
        empty = False
    yield line


def _cut(word: str, line: str, later: str, width: int) -> Iterator[str]:
    """A word that is longer than a line, cut wherever the line ends."""
    for letter in word:
        if columns(line) + columns(letter) > width and line != later:
            yield line
            line = later
        line += letter
    yield line
