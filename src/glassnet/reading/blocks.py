"""The bytes of delimited text cut into blocks of whole rows: where quotes open, lines end and rows begin."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

MAX_ROW_BYTES = 2**20
BLOCK_BYTES = 2**21
FIRST_BLOCK_BYTES = 2**18
_ROWS_A_BLOCK = 1000
_MAX_BLOCK_BYTES = 2**26
_LF, _CR, _QUOTE = 10, 13, 34

Places = NDArray[np.intp]


@dataclass(frozen=True)
class Block:
    """Whole rows: their bytes, and whether any cell is in quotes."""

    data: bytes
    delimiter: bytes
    quoted: bool


class MisreadError(Exception):
    """What is wrong with the file, so many lines, and bytes, behind the beginning of a block.

    The message has {line} and {byte} for who knows where the block begins.
    """

    def __init__(self, message: str, *, lines: int, byte: int = 0) -> None:
        super().__init__(message)
        self.lines, self.byte = lines, byte

    @classmethod
    def at(cls, message: str, data: bytes, byte: int) -> MisreadError:
        """Wrong at this byte of `data`."""
        return cls(message, lines=count_line_ends(data[:byte]), byte=byte)


def line_ends(data: bytes) -> Places:
    r"""Where lines end: at an LF, or at a CR that no LF follows.

    >>> line_ends(b"a\r\nb\n").tolist()
    [2, 4]
    """
    view = np.frombuffer(data, np.uint8)
    ends = view == _LF
    returns = view == _CR
    if returns.any():
        returns[:-1] &= ~ends[1:]
        ends |= returns
    return np.flatnonzero(ends)


def count_line_ends(data: bytes) -> int:
    """How many lines end here."""
    return len(line_ends(data)) if b"\r" in data else int((np.frombuffer(data, np.uint8) == _LF).sum())


def toggles(data: bytes, delimiter: bytes) -> Places:
    """Where quotes open and close, in turn; `data` begins with a row.

    A quote opens only at the beginning of a cell; elsewhere in a cell without quotes it is a letter like any other. In
    a quoted cell two quotes are one that is meant. Raises MisreadError: text behind a closing quote.

    >>> toggles(b'a,"b""c",5" pipe,d', b",").tolist()
    [2, 7]
    """
    if b'"' not in data:
        return np.empty(0, np.intp)
    view = np.frombuffer(data, np.uint8)
    quotes = np.flatnonzero(view == _QUOTE)
    at_end = np.zeros(256, dtype=bool)
    at_end[[delimiter[0], _LF, _CR]] = True
    paired = np.diff(quotes)[1::2] == 1  # of a second, fourth, ... quote and the one behind it
    begins = at_end[view[quotes[::2] - 1]]
    begins[0] |= quotes[0] == 0
    begins[1:] |= paired
    stops = at_end[view.take(quotes[1::2] + 1, mode="clip")]
    stops[len(paired) :] |= quotes[-1] == len(view) - 1
    stops[: len(paired)] |= paired
    if begins.all() and stops.all():
        return quotes  # as they stand, each opens, closes, or is one of two
    found: list[int] = []
    inside, j = False, 0
    while j < len(quotes):
        at = int(quotes[j])
        if not inside:
            if not at or at_end[view[at - 1]]:
                inside = True
                found.append(at)
        elif data[at + 1 : at + 2] == b'"':
            j += 1
        elif at + 1 == len(view) or at_end[view[at + 1]]:
            inside = False
            found.append(at)
        else:
            message = (
                "a quote opened in line {line} is closed within a cell, for text follows it. "
                "Write a quote within a quoted cell twice, or close the cell's quote."
            )
            raise MisreadError.at(message, data, found[-1])
        j += 1
    return np.array(found, dtype=np.intp)


def row_ends(data: bytes, marks: Places) -> Places:
    """Where rows end: at the line ends outside quotes, which open and close at `marks`."""
    ends = line_ends(data)
    return ends[np.searchsorted(marks, ends) % 2 == 0] if marks.size else ends


def cut(buffer: bytes, delimiter: bytes, final: bool, narrow: bool) -> tuple[Block | None, bytes]:
    """The whole rows at the beginning of the buffer, and what is left of it; blank lines at the end stay with the rest.

    `narrow`: the table has one column, of which a blank line is a missing cell, and a row wherever it is.

    Raises MisreadError: a row over 1 MiB, a quote that is never closed, text behind a closing quote.
    """
    marks = toggles(buffer, delimiter)
    if final and len(marks) % 2:
        message = "a quote opened in line {line} is never closed. Close it, or remove it."
        raise MisreadError.at(message, buffer, int(marks[-1]))
    last = buffer.rfind(b"\n")
    if final:
        size = len(buffer)
    elif marks.size and (last < 0 or np.searchsorted(marks, last) % 2):  # there is no LF, or the last is in quotes
        ends = row_ends(buffer[:-1], marks)  # a CR at the very end may be half of a line end
        size = int(ends[-1]) + 1 if ends.size else 0
        if buffer[size : size + 1] == b"\n" and buffer[size - 1 : size] == b"\r":
            size += 1
    else:
        size = last + 1 or buffer.rfind(b"\r", 0, len(buffer) - 1) + 1
    filled = size
    while filled and not narrow and buffer[filled - 1] in b"\r\n":
        filled -= 1
    if not filled:
        # nothing, or blank lines, which are blank rows only if a row follows them
        if len(buffer) > MAX_ROW_BYTES and not final:
            raise MisreadError(_TOO_LONG, lines=0)
        return None, b"" if final else buffer
    end = filled + (2 if buffer[filled : min(size, filled + 2)] == b"\r\n" else min(1, size - filled))
    data = buffer[:end]
    block = Block(data, delimiter, bool((marks < end).any()))
    if _may_hold_a_long_row(data):
        row_begins(block)
    return block, b"" if final else buffer[end:]


_TOO_LONG = (
    "line {line} begins a row of more than 1 MiB. Correct the row; a quote that is never closed is the usual cause."
)


def _may_hold_a_long_row(data: bytes) -> bool:
    """Whether half of the longest row that is allowed is somewhere without an LF."""
    half = MAX_ROW_BYTES // 2
    return any(data.find(b"\n", at, at + half) < 0 for at in range(0, len(data) - half, half))


def row_begins(block: Block) -> Places:
    """Where rows begin. Raises MisreadError: a row over 1 MiB."""
    data = block.data
    ends = row_ends(data, toggles(data, block.delimiter)) + 1
    begins = np.concatenate([[0], ends[ends < len(data)]])
    long = np.flatnonzero(np.diff(begins, append=len(data)) > MAX_ROW_BYTES)
    if long.size:
        raise MisreadError.at(_TOO_LONG, data, int(begins[long[0]]))
    return begins


def blocks(
    start: bytes, pieces: Iterator[bytes], delimiter: bytes, header_bytes: int, narrow: bool
) -> Iterator[Block | MisreadError]:
    """The rows behind the header, `start` being what was read of them already; where they break, the breach, no more.

    A header of many columns makes larger blocks. The first, which tells the kinds, goes alone: it is smaller, so that
    the others need not wait long.
    """
    block_bytes = min(max(BLOCK_BYTES, _ROWS_A_BLOCK * header_bytes), _MAX_BLOCK_BYTES)
    first_bytes = min(max(FIRST_BLOCK_BYTES, _ROWS_A_BLOCK * header_bytes), block_bytes)
    pieces = chain([start[:first_bytes], start[first_bytes:]], pieces)
    held: list[bytes] = []
    size, wanted, ended = 0, first_bytes, False
    try:
        while not ended:
            while size < wanted and not ended:
                piece = next(pieces, None)
                held.append(piece or b"")
                size, ended = size + len(held[-1]), piece is None
            # Cut at a line end at once, for a row ends there as a rule: then nothing is copied twice.
            last = held.pop()
            end = last.rfind(b"\n") + 1 or len(last)
            whole = last if end == len(last) and not held else b"".join([*held, memoryview(last)[:end]])
            block, rest = cut(whole, delimiter, ended, narrow)
            rest += last[end:]
            held = [rest] if rest else []
            size = len(rest)
            wanted = size + 1 if block is None else block_bytes
            if block is not None:
                yield block
    except MisreadError as error:
        yield error
