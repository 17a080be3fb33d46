"""Where a table's bytes come from: a file or a pipe, packed or not, in any encoding; handed on in pieces of UTF-8."""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import sys
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from glassnet.errors import DataError, NoInputError, UsageError

PIECE_BYTES = 2**21
_LOOK_BYTES = 2**14  # a longer line has to be cut
MAX_UNPACKING = 100
"""How many times its own size a packed file may grow to, once it is larger than `FREE_UNPACKING` bytes."""
FREE_UNPACKING = 2**26

GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
_UTF32 = (b"\xff\xfe\0\0", b"\0\0\xfe\xff")  # looked for first: one begins as UTF-16 does
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
# Files that are no table, by their first bytes.
_OTHER_FILES = {
    b"PK\x03\x04": "a zip archive or a spreadsheet",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet",
    b"%PDF": "a PDF file",
    b"\x89HDF": "an HDF5 file",
    b"SQLite format 3": "an SQLite database",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
    b"\x28\xb5\x2f\xfd": "a zstd file",
    b"<!DOCTYPE": "an HTML page",
    b"<html": "an HTML page",
    b"<?xml": "an XML file",
}


@contextlib.contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """The file, or standard input for "-", for reading bytes; afterwards the file has to be what it was before.

    Raises NoInputError: no such file, a folder, no right to read. Raises DataError: the file changed meanwhile.
    """
    if path == "-":
        yield sys.stdin.buffer
        return
    try:
        file = open(path, "rb")  # noqa: SIM115  closed below
    except FileNotFoundError as error:
        raise NoInputError(f"{path}: no such file. Name a file, or - for standard input.") from error
    except IsADirectoryError as error:
        raise NoInputError(f"{path}: a folder. Name a file in it.") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise NoInputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    with file:
        before = os.fstat(file.fileno())
        yield file
        after = os.fstat(file.fileno())
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise DataError(f"{path}: the file changed while it was read. Read it again when nobody writes to it.")


def pieces_of(source: str, file: BinaryIO, first: bytes) -> Iterator[bytes]:
    """The file's bytes in pieces, `first` being what was read already.

    Raises NoInputError: the system refuses to read on.
    """
    if first:
        yield first
    while True:
        try:
            piece = file.read(_to_a_line_end(file))
        except OSError as error:
            raise NoInputError(f"{source}: cannot be read: {error.strerror or error}.") from error
        if not piece:
            return
        yield piece


def _to_a_line_end(file: BinaryIO) -> int:
    """How many bytes to read so that the piece ends with a line, if that can be known: then nobody has to cut it."""
    if not file.seekable():
        return PIECE_BYTES
    here = file.tell()
    file.seek(here + PIECE_BYTES)
    rest_of_line = file.read(_LOOK_BYTES).find(b"\n") + 1
    file.seek(here)
    return PIECE_BYTES + rest_of_line


def unpacked(source: str, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """What a gzip file holds, in pieces.

    Raises DataError: damaged, cut off, or made to fill the memory.
    """
    packed = unfolded = 0
    stream, inside, rest = zlib.decompressobj(wbits=31), False, b""

    def unfold(part: bytes) -> bytes:
        nonlocal unfolded
        unfolded += len(part)
        if unfolded > FREE_UNPACKING and unfolded > MAX_UNPACKING * packed:
            raise DataError(
                f"{source}: a packed file may hold {MAX_UNPACKING} times its own size; this one holds more. "
                "If you trust it, unpack it and read what comes out."
            )
        return part

    try:
        for piece in pieces:
            packed += len(piece)
            rest += piece
            while rest:
                inside = True
                if part := unfold(stream.decompress(rest, PIECE_BYTES)):
                    yield part
                rest = stream.unconsumed_tail
                if stream.eof:  # another member may follow, or zeros that fill a block
                    rest = stream.unused_data.lstrip(b"\0")
                    stream, inside = zlib.decompressobj(wbits=31), False
        if inside and (part := unfold(stream.flush())):
            yield part
    except zlib.error as error:
        raise DataError(f"{source}: damaged gzip data: {error}. Get the file again.") from error
    if inside and not stream.eof:
        raise DataError(f"{source}: the gzip data are cut off. Get the file again.")


def decoded(
    source: str, pieces: Iterator[bytes], first: bytes, encoding: str | None, notices: list[str]
) -> Iterator[bytes]:
    """The pieces as UTF-8; what the encoding was, where it is not plain, goes to `notices`.

    `first` is the first piece, which `pieces` still has. What is taken for UTF-8 is checked by who reads it.
    Raises UsageError: no such encoding. Raises DataError: bytes that are none in it.
    """
    name = encoding
    if name is None and first.startswith(_UTF32):
        name = "utf-32"
        notices.append("read as UTF-32, as its byte order mark says")
    elif name is None and first.startswith(_UTF16):
        name = "utf-16"
        notices.append("read as UTF-16, as its byte order mark says")
    elif name is None and (told := _utf16_without_mark(first)):
        name = told
        notices.append(f"read as {told.upper()}: every other byte at its beginning is 0")
    if name is None or _codec(name) == "utf-8":
        yield from pieces
        return
    decoder = codecs.getincrementaldecoder(_codec(name))()
    done = 0
    for piece in pieces:
        if part := _decoded(source, decoder, piece, name, done, False):
            yield part
        done += len(piece)
    yield _decoded(source, decoder, b"", name, done, True)


def _decoded(source: str, decoder: codecs.IncrementalDecoder, piece: bytes, name: str, done: int, final: bool) -> bytes:
    pending = decoder.getstate()[0]
    try:
        return decoder.decode(piece, final).encode("utf-8")
    except UnicodeError as error:
        at = done - len(pending) + getattr(error, "start", 0)
        raise DataError(
            f"{source}: byte {at} is not {name.upper()}: {getattr(error, 'reason', error)}. "
            "Name the file's encoding with --encoding."
        ) from error


def _utf16_without_mark(first: bytes) -> str | None:
    """Western text of two bytes a letter has a 0 in nearly every pair, and always on the same side."""
    head = first[:200]
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if max(even, odd) < 0.8 * (len(head) // 2) or len(head) < 4 or min(even, odd):
        return None
    return "utf-16-be" if even > odd else "utf-16-le"


def _codec(name: str) -> str:
    """The canonical name of a text encoding. Raises UsageError: there is none of that name."""
    try:
        found = codecs.lookup(name)
        if not found._is_text_encoding or found.incrementaldecoder is None:
            raise LookupError
    except (LookupError, ValueError) as error:  # ValueError: a NUL in the name
        raise UsageError(f"an encoding is one that Python knows, such as utf-8 or cp1252; got {name!r}.") from error
    return found.name


def check_encoding(name: str | None) -> None:
    """Raise UsageError unless the encoding, where one is named, exists."""
    if name is not None:
        _codec(name)


def refuse_other_files(source: str, first: bytes) -> None:
    """Raise DataError if these first bytes are those of a file that is no table."""
    head = first.removeprefix(_BOM)
    for magic, kind in _OTHER_FILES.items():
        if head.startswith(magic):
            raise DataError(f"{source}: a table is a CSV, Parquet or Arrow file; this is {kind}. Save it as CSV.")
    if re.match(rb'\s*(\{\s*"|\[\s*[\[{])', head):
        raise DataError(f"{source}: a table is a CSV, Parquet or Arrow file; this looks like JSON. Save it as CSV.")
