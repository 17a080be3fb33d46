"""Mistakes as edits of a text: each finds the lines that it is about, and says so where there are none."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

Edit = Callable[[str, Random], str | None]
"""The text with the mistake, or None where this text has no place for it."""


def one(pattern: str, replacement: str) -> Edit:
    """Replace one of the places, drawn at random."""

    def edit(text: str, rng: Random) -> str | None:
        found = list(re.finditer(pattern, text, re.MULTILINE))
        if not found:
            return None
        place = rng.choice(found)
        return _changed(text, text[: place.start()] + place.expand(replacement) + text[place.end() :])

    return edit


def every(pattern: str, replacement: str) -> Edit:
    """Replace all places."""
    return lambda text, rng: _changed(text, re.sub(pattern, replacement, text, flags=re.MULTILINE))


def both(*edits: Edit) -> Edit:
    """All of them, one after the other."""

    def edit(text: str, rng: Random) -> str | None:
        edited: str | None = text
        for part in edits:
            if edited is not None:
                edited = part(edited, rng)
        return edited

    return edit


def either(*edits: Edit) -> Edit:
    """One of those that find a place, drawn at random."""

    def edit(text: str, rng: Random) -> str | None:
        found = [edited for part in edits if (edited := part(text, rng)) is not None]
        return rng.choice(found) if found else None

    return edit


def _changed(text: str, edited: str) -> str | None:
    return edited if edited != text else None


def lines_changed(text: str, edited: str) -> set[str]:
    """The lines of `text` that are no longer there."""
    return set(text.splitlines()) - set(edited.splitlines())


def named(edit: Edit, **names: str) -> Edit:
    """Put for every word in capitals what its pattern finds in the text: names differ from file to file."""

    def filled(text: str, rng: Random) -> str | None:
        edited = edit(text, rng)
        for word, pattern in names.items():
            if edited is not None and re.search(rf"\b{word}\b", edited):
                found = re.search(pattern, text)
                edited = re.sub(rf"\b{word}\b", found[1], edited) if found else None
        return edited

    return filled
