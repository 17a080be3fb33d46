"""`Line`: one equation with all its forms, written in one notation; what text, LaTeX and MathML are laid out from.

A layer of a thousand units has a million weights, whose lines differ in nothing but their indices. So a line is written
once with places in it, and filled in for each of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_BETWEEN = "\x1f"


class Place(int):
    """A number of an equation's index that is not known yet: it prints as a place that `Line.filled` fills.

    It counts as a number, and as one that no index has.

    >>> str(Place("i", 0)).encode(), int(Place("i", 0))
    (b'\\x00i\\x00', -1)
    """

    letter: str

    def __new__(cls, letter: str, number: int) -> Place:
        """The place of the index `letter`, the `number`-th of its equation."""
        place = super().__new__(cls, -1 - number)
        place.letter = letter
        return place

    def __str__(self) -> str:
        return f"\0{self.letter}\0"


@dataclass(frozen=True, slots=True)
class Line:
    """`target` `arrow` first form = second form = ...; `whats` and `notes` say of each form what it is.

    `reads`: the names of the quantities from which it is computed.
    """

    stage: str
    target: str
    arrow: str
    rights: tuple[str, ...]
    whats: tuple[str, ...]
    notes: tuple[str, ...]
    reads: tuple[str, ...] = ()

    def filled(self, index: Mapping[str, int]) -> Line:
        """The line with numbers in its places.

        >>> line = Line("forward", f"z{Place('j', 0)}", "=", (f"b{Place('j', 0)} + 1",), ("definition",), ("",))
        >>> filled = line.filled({"j": 12})
        >>> filled.target, filled.rights
        ('z12', ('b12 + 1',))
        """
        together = _BETWEEN.join((self.target, *self.rights, *self.reads))
        for letter, number in index.items():
            together = together.replace(f"\0{letter}\0", str(number))
        target, *others = together.split(_BETWEEN)
        n = len(self.rights)
        return Line(self.stage, target, self.arrow, tuple(others[:n]), self.whats, self.notes, tuple(others[n:]))
