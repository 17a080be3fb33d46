"""The model file, the checkpoint's file, the atomic write, and the lock of whoever writes.

Both are safetensors files (https://github.com/huggingface/safetensors#format): eight bytes with the
length of a JSON header, the header, then the raw numbers. Nothing in them can be executed. The metadata hold
four strings:

- `format`: `glassnet`, or of a checkpoint `glassnet-checkpoint`;
- `format_version`: `1`; a reader refuses what it does not know;
- `model`, or `checkpoint`: everything that is not an array, as JSON;
- `sha256`: the checksum of the whole file, taken with these 64 digits as zeros, so that no bit of the file
  can change unseen. It guards against damage, not against someone who recomputes it.

The page "The model file" of the documentation has it byte for byte.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import secrets
import stat
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, NoReturn

import numpy as np
from numpy.typing import NDArray

from glassnet.errors import CannotWriteError, DataError, NoInputError

Path = str | os.PathLike[str]


@dataclass(frozen=True)
class FileKind:
    """One of the two kinds of file: what its metadata call it, where the JSON stands, and what a user is told.

    `finite`: whether NaN and infinity are refused among the numbers.
    """

    format: str
    part: str
    name: str
    way_out: str
    finite: bool = True

    def refuse(self, path: Path, why: str) -> NoReturn:
        """The error of a file that is none of this kind."""
        raise DataError(f"{path}: not a glassnet {self.name}: {why}. {self.way_out}")


MODEL = FileKind("glassnet", "model", "model file", "Models are written by `glassnet train`.")
CHECKPOINT = FileKind(
    "glassnet-checkpoint",
    "checkpoint",
    "checkpoint",
    "Checkpoints are written by `glassnet train --checkpoint`.",
    finite=False,  # the losses of epochs that are not made are NaN
)
FORMAT_VERSION = "1"

_MAX_HEADER_BYTES = 16 * 2**20
_MAX_FILE_BYTES = 2 * 2**30
_MAX_DIMENSIONS = 8
_DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8")}
_CHECKSUM_LABEL = b'"sha256":"'
_NO_CHECKSUM = "0" * 64

# What people keep under a model's name, by its first bytes.
_OTHER_FILES = {
    b"PK\x03\x04": "a zip archive (a .keras file, or a pickle inside a .pt file)",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUM": "a NumPy array file",
    b"\x1f\x8b": "a gzip file",
    b"PAR1": "a Parquet file",
}


def write_atomically(path: Path, data: bytes, *, previous: Path | None = None, is_locked: bool = False) -> None:
    """Write `data` to `path` so that, whatever happens, either the old or the new file stands there whole.

    The bytes go to a temporary file in the same folder, are flushed to the disk, and take the name by one
    rename, the only step that POSIX and Windows make indivisible. A symbolic link is followed. The file gets
    the rights that the umask gives any new file. What stood there before is kept as `previous`, in the same folder,
    where that is given: for a moment it alone is there, and whoever reads looks for it too.

    Where the caller holds the lock of `path` (`is_locked`, see `locked`) the temporary file has one name, so that what
    killed processes leave does not pile up.

    Raises CannotWriteError: the folder does not exist or is read-only, the disk is full, `path` is a folder
    or a device. What stood there before is untouched, and no temporary file stays behind.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atomically(pathlib.Path(folder) / "a.txt", b"whole")
    ...     (pathlib.Path(folder) / "a.txt").read_bytes()
    b'whole'
    """
    with _temporary_beside(path, is_locked=is_locked) as (target, temporary, descriptor):
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if previous is None or not os.path.lexists(target):
            os.replace(temporary, target)
        else:
            os.replace(target, previous)
            try:
                os.replace(temporary, target)
            except BaseException:
                os.replace(previous, target)
                raise
    _sync_folder(os.path.dirname(target))


def check_writable(path: Path, *, is_locked: bool = False) -> None:
    """Raise what `write_atomically` would raise for this place: to be asked before long work, not after it.

    Only trying tells: the check makes the temporary file beside `path`, and removes it.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     check_writable(pathlib.Path(folder) / "a.txt")
    ...     list(pathlib.Path(folder).iterdir())
    []
    """
    with _temporary_beside(path, is_locked=is_locked) as (_, _, descriptor):
        os.close(descriptor)


@contextlib.contextmanager
def _temporary_beside(path: Path, *, is_locked: bool = False) -> Iterator[tuple[str, str, int]]:
    """The real path, a new temporary file in its folder, and its descriptor; whatever is left of it is removed."""
    try:
        target = os.path.realpath(path)
        if not os.fspath(path):
            raise CannotWriteError("an output needs a name; got an empty one. Name a file.")
        # Renaming onto a device or a pipe (`-o /dev/null`) would replace it by a file.
        if os.path.lexists(target) and not os.path.isfile(target):
            kind = "a folder" if os.path.isdir(target) else "not a regular file"
            raise CannotWriteError(f"{path}: cannot be written: it is {kind}. Name a file.")
        folder, name = os.path.split(target)
        temporary = os.path.join(folder, f".{name}.tmp" if is_locked else f".glassnet-{secrets.token_hex(8)}.tmp")
        if is_locked:
            with contextlib.suppress(FileNotFoundError):  # what a killed process left
                os.unlink(temporary)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        descriptor = os.open(temporary, flags, 0o666)
        try:
            yield target, temporary, descriptor
        finally:
            with contextlib.suppress(OSError):  # once it is renamed there is none
                os.unlink(temporary)
    except CannotWriteError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise CannotWriteError(
            f"{path}: cannot be written: {reason}. What stood there before is untouched; "
            "name a file in a folder that exists and may be written."
        ) from error


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold what tells other processes that `path` is being written; it ends with the process, however that ends.

    It is a lock of the operating system on a file beside it, `.NAME.lock`. Where the process was killed that file
    stays, and locks nobody out.

    Raises CannotWriteError: another process, or another thread, holds it; the folder cannot be written.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder, locked(pathlib.Path(folder, "a.txt")):
    ...     [path.name for path in pathlib.Path(folder).iterdir()]
    ['.a.txt.lock']
    """
    while True:
        try:
            folder, name = os.path.split(os.path.realpath(path))
            beside = os.path.join(folder, f".{name}.lock")
            descriptor = os.open(beside, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise CannotWriteError(
                f"{path}: cannot be written: {reason}. Name a file in a folder that exists and may be written."
            ) from error
        try:
            free = _taken_for_oneself(descriptor)
            # Whoever had it may have removed the file between the two lines above: then it is nobody's lock.
            current = free and _is_still_there(descriptor, beside)
        except BaseException:
            os.close(descriptor)
            raise
        if current:
            break
        os.close(descriptor)
        if not free:
            raise CannotWriteError(
                f"{path}: one training at a time writes a file; another is writing this one. Wait until it has ended, "
                "or name another file."
            )
    try:
        yield
    finally:
        if sys.platform != "win32":  # removed while it is held, so that nobody takes what is about to go
            with contextlib.suppress(OSError):
                os.unlink(beside)
        os.close(descriptor)
        if sys.platform == "win32":  # which removes no open file
            with contextlib.suppress(OSError):
                os.unlink(beside)


def _taken_for_oneself(descriptor: int) -> bool:
    """Lock an open file; False where somebody has. A file system that knows no locks keeps nobody out."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
    return True


def _is_still_there(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _sync_folder(folder: str) -> None:
    # After the rename the new file is in place and whole; this only makes the rename itself survive a power
    # failure. Windows cannot open a folder, and some file systems refuse to flush one: no reason to report
    # a failed write, for it has not failed.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_model_file(path: Path, metadata: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> None:
    """Write a model file, atomically; the same input gives the same bytes.

    `metadata` is anything JSON can say (finite numbers, text, lists, dictionaries keyed by text). `tensors`
    are float32 or float64 arrays of any shape, every value finite.

    Raises DataError: what is given could not be read back (another dtype, NaN or infinity, a header over
    16 MiB). Raises CannotWriteError as `write_atomically`.

    >>> import numpy as np, os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "model.safetensors")
    ...     write_model_file(path, {"sizes": [2, 1]}, {"parameters": np.array([0.5, -1.0, 2.0])})
    ...     read_model_file(path)
    ({'sizes': [2, 1]}, {'parameters': array([ 0.5, -1. ,  2. ])})
    """
    write_atomically(path, file_bytes(MODEL, metadata, tensors))


def file_bytes(kind: FileKind, metadata: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """The bytes of a file of this kind; arguments and errors as `write_model_file`.

    >>> file_bytes(MODEL, {}, {})[8:30]
    b'{"__metadata__":{"form'
    """
    # Written by hand rather than by the safetensors package: its order of the metadata is not ours to fix.
    names = {dtype: name for name, dtype in _DTYPES.items()}
    try:
        model = json.dumps(metadata, sort_keys=True, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"a {kind.part}'s metadata must be plain JSON: {error}") from error
    strings = {"format": kind.format, "format_version": FORMAT_VERSION, kind.part: model, "sha256": _NO_CHECKSUM}
    header: dict[str, Any] = {"__metadata__": strings}
    blocks: list[bytes] = []
    offset = 0
    # float64 first, as safetensors does it, so that every array starts at a multiple of its item size
    for name, array in sorted(tensors.items(), key=lambda item: (-item[1].dtype.itemsize, item[0])):
        dtype = array.dtype.newbyteorder("<")
        if dtype not in names:
            raise DataError(f"a {kind.name} holds float32 and float64 arrays; {name!r} is {array.dtype}.")
        if kind.finite and not np.isfinite(array).all():
            raise DataError(f"a {kind.name} holds finite numbers only; {name!r} has NaN or infinity.")
        block = array.astype(dtype).tobytes()
        end = offset + len(block)
        header[name] = {"dtype": names[dtype], "shape": list(array.shape), "data_offsets": [offset, end]}
        blocks.append(block)
        offset = end
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 8)
    if len(text) > _MAX_HEADER_BYTES:
        raise DataError(
            f"a {kind.name}'s header is at most 16 MiB; this one has {len(text):,} bytes. Use fewer columns."
        )
    if 8 + len(text) + offset > _MAX_FILE_BYTES:
        raise DataError(
            f"a {kind.name} has at most {_MAX_FILE_BYTES:,} bytes; this one would have {8 + len(text) + offset:,}. "
            "Use fewer units or fewer networks."
        )
    data = b"".join([len(text).to_bytes(8, "little"), text, *blocks])
    digits = _digits_at(data, 8 + len(text))
    assert digits is not None  # the label is in the header just written, and JSON escapes every other one
    checksum = hashlib.sha256(data).hexdigest().encode("ascii")
    return data[:digits] + checksum + data[digits + 64 :]


def read_model_file(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read a model file: the metadata and the arrays that `write_model_file` was given; see `read_file`."""
    return read_file(path, MODEL)


def read_file(path: Path, kind: FileKind) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read a file of this kind: the metadata and the arrays that `file_bytes` was given.

    Nothing is executed, no more than 2 GiB are read, and memory is taken for what is there, whatever the header
    claims: the file's length a few times, and some dozens of times that of its JSON.

    Raises NoInputError: no such file, a folder, or not allowed to read it. Raises DataError: truncated or
    altered (by its checksum), a pickle or something else, a newer format, a header that does not match the
    bytes, NaN or infinity among the numbers.
    """
    data = _read_bounded(path, kind)
    header_end = 8 + int.from_bytes(data[:8], "little")
    _verify_checksum(path, data, header_end, kind)
    header = _parse_json(path, data[8:header_end], "header", kind)
    strings = header.pop("__metadata__", None)
    if not (isinstance(strings, dict) and all(isinstance(value, str) for value in strings.values())):
        kind.refuse(path, "its metadata is not a set of strings")
    if strings.get("format") != kind.format:
        kind.refuse(path, f"its metadata says format {_shown(strings.get('format'))}, not {kind.format!r}")
    version = strings.get("format_version")
    if version != FORMAT_VERSION:
        raise DataError(
            f"{path}: a {kind.name} of format version {_shown(version)}; this glassnet reads version "
            f"{FORMAT_VERSION}. Install the glassnet that wrote it, or a newer one."
        )
    if strings.keys() != {"format", "format_version", kind.part, "sha256"}:
        kind.refuse(path, f"its metadata has the strings {_shown(sorted(strings))}")
    _check_layout(path, header, len(data) - header_end, kind)
    model = _parse_json(path, strings[kind.part], "metadata", kind)

    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors: dict[str, NDArray[Any]] = load(data)
    except SafetensorError as error:
        kind.refuse(path, f"safetensors says: {error}")
    for name, array in tensors.items() if kind.finite else ():
        if not np.isfinite(array).all():
            place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
            raise DataError(
                f"{path}: a model's numbers must be finite; {_shown(name)} holds {array[place]} at {place}. "
                "Train it again."
            )
    return model, tensors


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _read_bounded(path: Path, kind: FileKind) -> bytes:
    """The whole file, once its size and its first bytes promise one of this kind."""
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise NoInputError(f"{path}: a folder. Name the {kind.name} in it.")
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for a writer for ever
            raise NoInputError(f"{path}: not a regular file. Name a {kind.name}.")
        with open(path, "rb") as file:
            return _read_checked(path, file, os.fstat(file.fileno()).st_size, kind)
    except (NoInputError, DataError):
        raise
    except FileNotFoundError as error:
        raise NoInputError(f"{path}: no such file. {kind.way_out}") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise NoInputError(f"{path}: cannot be read: {reason}.") from error


def _read_checked(path: Path, file: BinaryIO, size: int, kind: FileKind) -> bytes:
    start = file.read(8)
    if len(start) < 8:
        kind.refuse(path, f"it has {len(start)} bytes" if start else "it is empty")
    header_length = int.from_bytes(start, "little")
    if header_length > _MAX_HEADER_BYTES or header_length > size - 8:
        kind.refuse(path, _what_it_is(start, header_length, file) or "it is truncated, or something else entirely")
    if size > _MAX_FILE_BYTES:
        kind.refuse(path, f"it has {size:,} bytes, and a {kind.name} at most {_MAX_FILE_BYTES:,}")
    data = start + file.read(header_length)
    # A file that grows while it is read must not get past the limit.
    return data + file.read(size - len(data))


def _what_it_is(start: bytes, header_length: int, file: BinaryIO) -> str | None:
    """What a file that cannot be a model file is, where its first bytes tell."""
    for magic, kind in _OTHER_FILES.items():
        if start.startswith(magic):
            return f"it is {kind}"
    if header_length <= _MAX_HEADER_BYTES and file.read(1) == b"{":
        return "it is truncated"
    # Protocols 2 and up begin with 0x80 and their number; 0 and 1 with one of a few opcodes, and all end with
    # a full stop. Naming it is all that is ever done with it.
    file.seek(-1, os.SEEK_END)
    if (start[0] == 0x80 and 2 <= start[1] <= 5) or (start[:1] in b"(c]})lINFVSKMJUXGL" and file.read(1) == b"."):
        return "it is a pickle, which can run code when it is loaded; it was not loaded"
    return None


def _digits_at(data: bytes, header_end: int) -> int | None:
    """Where the checksum's 64 digits begin, or None where not exactly one place can hold them."""
    at = data.find(_CHECKSUM_LABEL, 8, header_end)
    if at < 0 or data.find(_CHECKSUM_LABEL, at + 1, header_end) >= 0:
        return None
    digits = at + len(_CHECKSUM_LABEL)
    return digits if data[digits + 64 : min(digits + 65, header_end)] == b'"' else None


def _verify_checksum(path: Path, data: bytes, header_end: int, kind: FileKind) -> None:
    digits = _digits_at(data, header_end)
    if digits is None:
        kind.refuse(path, "its header holds no checksum")
    hashed = hashlib.sha256(data[:digits])
    hashed.update(_NO_CHECKSUM.encode("ascii"))
    hashed.update(memoryview(data)[digits + 64 :])
    if data[digits : digits + 64] != hashed.hexdigest().encode("ascii"):
        raise DataError(
            f"{path}: a {kind.name} must match its checksum; this one does not: it is truncated or altered. "
            "Copy it again from where it is whole, or train it again."
        )


def _parse_json(path: Path, text: str | bytes, part: str, kind: FileKind) -> dict[str, Any]:
    def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) < len(pairs):
            raise ValueError("a key occurs twice")
        return result

    def no_constant(name: str) -> NoReturn:
        raise ValueError(f"{name} is not JSON")

    def finite(text: str) -> float:
        if not math.isfinite(value := float(text)):
            raise ValueError(f"{text[:40]} is too large")
        return value

    try:
        value = json.loads(text, object_pairs_hook=no_duplicates, parse_constant=no_constant, parse_float=finite)
    except RecursionError:
        kind.refuse(path, f"its {part} is nested too deep")
    except ValueError as error:
        kind.refuse(path, f"its {part} is not JSON ({error})")
    if not isinstance(value, dict):
        kind.refuse(path, f"its {part} is not a JSON object")
    return value


def _check_layout(path: Path, header: Mapping[str, Any], n_bytes: int, kind: FileKind) -> None:
    """Refuse a header unless its arrays fill the bytes that are there exactly, without gap or overlap."""

    def counts(value: object) -> bool:
        return isinstance(value, list) and all(type(item) is int and 0 <= item < 2**53 for item in value)

    spans = []
    for name, record in header.items():
        if not isinstance(record, dict) or record.keys() != {"dtype", "shape", "data_offsets"}:
            kind.refuse(path, f"array {_shown(name)} needs dtype, shape and data_offsets")
        dtype, shape, offsets = record["dtype"], record["shape"], record["data_offsets"]
        if not isinstance(dtype, str) or dtype not in _DTYPES:
            kind.refuse(path, f"array {_shown(name)} has dtype {_shown(dtype)}, neither F32 nor F64")
        if not counts(shape) or len(shape) > _MAX_DIMENSIONS:
            kind.refuse(path, f"array {_shown(name)} has shape {_shown(shape)}")
        if not counts(offsets) or len(offsets) != 2:
            kind.refuse(path, f"array {_shown(name)} has data_offsets {_shown(offsets)}")
        if offsets[1] - offsets[0] != math.prod(shape) * _DTYPES[dtype].itemsize:
            kind.refuse(path, f"array {_shown(name)} of shape {_shown(shape)} cannot lie at {_shown(offsets)}")
        spans.append((offsets[0], offsets[1]))
    end = 0
    for start, stop in sorted(spans):
        if start != end:
            kind.refuse(path, f"its arrays leave a gap or overlap at byte {min(start, end)}")
        end = stop
    if end != n_bytes:
        kind.refuse(path, f"its arrays claim {end:,} bytes where {n_bytes:,} are")
