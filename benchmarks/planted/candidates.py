"""Files of candidates, deterministic from a seed: right ones, one mistake, two of them, unknown ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from types import ModuleType
from typing import Any

from planted import dicts, extras, layers, lecture, lists, loops, notebook, objects
from planted.draws import Draw, drawn
from planted.edits import Edit, lines_changed
from planted.mistakes import PLANTED, UNKNOWN

STYLES: Mapping[str, ModuleType] = {
    "dicts": dicts,
    "lecture": lecture,
    "lists": lists,
    "loops": loops,
    "layers": layers,
    "objects": objects,
    "notebook": notebook,
}
WITH_EXTRAS = ("dicts", "lists", "objects")
"""Which style has which way of writing what stands beside backpropagation."""
TRIES = 400


@dataclass(frozen=True)
class Candidate:
    """One file. mistakes: our names of what is planted, none in a right one. correct: the file before the edits."""

    style: str
    seed: int
    draw: Draw
    text: str
    correct: str
    mistakes: tuple[str, ...] = ()


def right(seed: int, style: str | None = None, **wants: tuple[Any, ...]) -> Candidate:
    """A right implementation in one of the styles."""
    rng = Random(f"right {seed}")
    style = style or rng.choice(tuple(STYLES))
    draw, text = _written(style, rng, wants)
    for texts in extras.TEXTS.values():
        if style != "notebook" and rng.random() < 0.15:
            text += "\n" + rng.choice(texts)
    return Candidate(style, seed, draw, text, text)


def planted(style: str, seed: int, *mistakes: str) -> Candidate | None:
    """One or two mistakes in one file; None where the style has no place for them in any draw."""
    edits: list[Edit | None] = []
    beside: list[str] = []
    for mistake in mistakes:
        kind, edit = extras.MISTAKES.get(mistake, ("", STYLES[style].MISTAKES.get(mistake)))
        if edit is None or (kind and style not in WITH_EXTRAS):
            return None
        edits.append(edit)
        beside += [kind] if kind else []
    wants: dict[str, tuple[Any, ...]] = {"ascent": (False,)}
    for mistake in mistakes:
        for key, values in PLANTED[mistake].wants.items():
            wants[key] = tuple(value for value in wants.get(key, values) if value in values)
            if not wants[key]:
                return None
    return _edited(style, seed, mistakes, edits, wants, beside)


def unknown(style: str, seed: int, mistake: str) -> Candidate | None:
    """A mistake that no table has."""
    return _edited(style, seed, (mistake,), [UNKNOWN[style][mistake]], {"has_loss": (True,), "ascent": (False,)}, ())


def places() -> Iterator[tuple[str, str]]:
    """Every mistake with every style that can make it."""
    for mistake in PLANTED:
        for style in STYLES:
            if planted(style, 0, mistake) is not None:
                yield mistake, style


def _edited(
    style: str,
    seed: int,
    mistakes: tuple[str, ...],
    edits: Sequence[Edit | None],
    wants: Mapping[str, tuple[Any, ...]],
    beside: Iterable[str],
) -> Candidate | None:
    rng = Random(f"{style} {seed} {mistakes}")
    for _ in range(TRIES):
        try:
            draw, correct = _written(style, rng, wants)
        except ValueError:
            return None
        for kind in dict.fromkeys(beside):
            correct += "\n" + extras.TEXTS[kind][WITH_EXTRAS.index(style)]
        text: str | None = correct
        touched: set[str] = set()
        for edit in edits:
            before = text
            assert before is not None
            assert edit is not None
            text = edit(before, rng)
            if text is None:
                break
            lines = lines_changed(before, text)
            if not lines <= set(correct.splitlines()) or lines & touched:  # the second edits what the first has written
                text = None
                break
            touched |= lines
        if text is not None:
            return Candidate(style, seed, draw, text, correct, mistakes)
    return None


def _written(style: str, rng: Random, wants: Mapping[str, tuple[Any, ...]]) -> tuple[Draw, str]:
    module = STYLES[style]
    merged: dict[str, Any] = dict(module.wants(rng))
    for key, values in wants.items():
        if key == "sizes" and style in ("objects", "notebook"):
            if style == "notebook" and set(values) & {"equal_hidden"}:
                raise ValueError("a notebook has one hidden layer")
            if style == "objects":
                merged[key] = values
            continue
        merged[key] = tuple(value for value in merged.get(key, values) if value in values)
    draw = drawn(rng, **merged)
    return draw, module.source(draw, rng)
