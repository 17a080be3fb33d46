from __future__ import annotations

import errno
import hashlib
import json
import os
import pickle
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassnet import persistence
from glassnet.errors import CannotWriteError, DataError, NoInputError
from glassnet.persistence import read_model_file, write_atomically, write_model_file

METADATA = {"sizes": [2, 2, 1], "columns": ["texture_mean", '"sha256":"', "半径"], "loss": "binary_cross_entropy"}
TENSORS = {"parameters": np.linspace(-1, 1, 9), "center": np.array([[1.5, 2.5]], dtype=np.float32)}


@pytest.fixture(scope="module")
def model_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    write_model_file(path, METADATA, TENSORS)
    return path.read_bytes()


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch") / "model.safetensors"


def sealed(header: dict[str, Any] | bytes, data: bytes = b"", **strings: Any) -> bytes:
    """A file with a checksum that is right, whatever else is wrong with it."""
    if isinstance(header, dict):
        usual = {"format": "glassnet", "format_version": "1", "model": "{}", "sha256": "0" * 64}
        header = json.dumps({"__metadata__": {**usual, **strings}, **header}, separators=(",", ":")).encode()
    blank = len(header).to_bytes(8, "little") + header + data
    digits = blank.index(b'"sha256":"') + 10
    return blank[:digits] + hashlib.sha256(blank).hexdigest().encode() + blank[digits + 64 :]


def refusal(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_model_file(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


# The model file


def test_a_model_comes_back_as_it_went_in(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_model_file(path, METADATA, TENSORS)
    metadata, tensors = read_model_file(path)
    assert metadata == METADATA
    assert tensors.keys() == TENSORS.keys()
    for name, array in TENSORS.items():
        assert tensors[name].dtype == array.dtype
        np.testing.assert_array_equal(tensors[name], array)


def test_the_file_is_safetensors_to_others(model_bytes: bytes) -> None:
    from safetensors.numpy import load

    np.testing.assert_array_equal(load(model_bytes)["parameters"], TENSORS["parameters"])


def test_same_input_same_bytes(tmp_path: Path, model_bytes: bytes) -> None:
    path = tmp_path / "again.safetensors"
    write_model_file(path, dict(reversed(METADATA.items())), dict(reversed(TENSORS.items())))
    assert path.read_bytes() == model_bytes


@given(
    shape=st.lists(st.integers(0, 4), max_size=4),
    dtype=st.sampled_from(["<f4", "<f8", ">f4", ">f8"]),
    metadata=st.dictionaries(
        st.text(), st.recursive(st.none() | st.integers() | st.text() | st.booleans(), st.lists, max_leaves=5)
    ),
)
def test_any_metadata_and_shapes_come_back(
    scratch: Path, shape: list[int], dtype: str, metadata: dict[str, Any]
) -> None:
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    write_model_file(scratch, metadata, {"a": array, "b": array.T})
    back, tensors = read_model_file(scratch)
    assert back == metadata
    np.testing.assert_array_equal(tensors["a"], array)
    np.testing.assert_array_equal(tensors["b"], array.T)


@pytest.mark.parametrize(
    ("metadata", "tensors", "what"),
    [
        ({}, {"w": np.array([np.nan])}, "finite"),
        ({}, {"w": np.array([np.inf])}, "finite"),
        ({}, {"w": np.array([1])}, "int64"),
        ({"loss": float("nan")}, {}, "JSON"),
        ({"loss": object()}, {}, "JSON"),
        ({"columns": "x" * 2**24}, {}, "16 MiB"),
    ],
)
def test_what_could_not_be_read_back_is_not_written(
    tmp_path: Path, metadata: dict[str, Any], tensors: dict[str, Any], what: str
) -> None:
    with pytest.raises(DataError, match=what):
        write_model_file(tmp_path / "model.safetensors", metadata, tensors)
    assert list(tmp_path.iterdir()) == []


# Damage


@given(st.data())
@settings(max_examples=300)
def test_every_truncation_is_refused(model_bytes: bytes, scratch: Path, data: st.DataObject) -> None:
    refusal(scratch, model_bytes[: data.draw(st.integers(0, len(model_bytes) - 1))])


def test_every_flipped_bit_is_refused(model_bytes: bytes, scratch: Path) -> None:
    # 900 bytes: every bit of the file, rather than a sample
    for position in range(len(model_bytes)):
        for bit in range(8):
            flipped = bytearray(model_bytes)
            flipped[position] ^= 1 << bit
            refusal(scratch, bytes(flipped))


def test_the_refusal_helper_can_fail(model_bytes: bytes, scratch: Path) -> None:
    with pytest.raises(pytest.fail.Exception):
        refusal(scratch, model_bytes)


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(scratch: Path, content: bytes) -> None:
    refusal(scratch, content)


@given(st.binary(min_size=1, max_size=20))
def test_appended_bytes_are_refused(model_bytes: bytes, scratch: Path, more: bytes) -> None:
    refusal(scratch, model_bytes + more)


# Lies with a right checksum

ONE = {"w": {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]}}
EIGHT = struct.pack("<d", 0.5)


def test_the_sealed_helper_makes_files_that_are_read(scratch: Path) -> None:
    scratch.write_bytes(sealed(ONE, EIGHT, model='{"a":1}'))
    assert read_model_file(scratch)[0] == {"a": 1}


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (sealed(ONE, EIGHT, format_version="2"), "version '2'.*Install"),
        (sealed(ONE, EIGHT, format="pt"), "'pt'"),
        (sealed(ONE, EIGHT, format=1), "strings"),
        (sealed(ONE, EIGHT, model="[]"), "not a JSON object"),
        (sealed(ONE, EIGHT, model='{"a":NaN}'), "NaN is not JSON"),
        (sealed(ONE, EIGHT, model='{"a":1,"a":2}'), "twice"),
        (sealed(ONE, EIGHT, model="[" * 100_000), "nested too deep"),
        (sealed(ONE, EIGHT, model='{"a":' * 100_000 + "1" + "}" * 100_000), "nested too deep"),
        (sealed(ONE, EIGHT, model="1" * 10_000), "not JSON"),
        (sealed(b'{"__metadata__":{"sha256":"' + b"0" * 64 + b'"},"w":' + b"[" * 100_000), "nested too deep"),
        (sealed(b'{"__metadata__":{"sha256":"' + b"0" * 64 + b'"}'), "not JSON"),
        (sealed(ONE, struct.pack("<d", np.nan)), "holds nan at"),
        (sealed(ONE, struct.pack("<d", -np.inf)), "holds -inf at"),
        (sealed({"w": {**ONE["w"], "shape": [10**9, 10**9]}}, EIGHT), "cannot lie"),
        (sealed({"w": {**ONE["w"], "shape": [10**9], "data_offsets": [0, 8 * 10**9]}}, EIGHT), "claim 8,000,000,000"),
        (sealed({"w": {**ONE["w"], "shape": [1] * 40}}, EIGHT), "has shape"),
        (sealed({"w": {**ONE["w"], "shape": [-1]}}, EIGHT), "has shape"),
        (sealed({"w": {**ONE["w"], "shape": [True]}}, EIGHT), "has shape"),
        (sealed({"w": {**ONE["w"], "shape": "1"}}, EIGHT), "has shape"),
        (sealed({"w": {**ONE["w"], "data_offsets": [8, 0]}}, EIGHT), "cannot lie"),
        (sealed({"w": {**ONE["w"], "data_offsets": [0, 8, 9]}}, EIGHT), "data_offsets"),
        (sealed({"w": {**ONE["w"], "data_offsets": [8, 16]}}, EIGHT + EIGHT), "gap"),
        (sealed({"v": ONE["w"], "w": ONE["w"]}, EIGHT), "overlap"),
        (sealed(ONE, EIGHT + EIGHT), "claim 8 bytes where 16 are"),
        (sealed({"w": {**ONE["w"], "dtype": "I64"}}, EIGHT), "neither F32 nor F64"),
        (sealed({"w": {**ONE["w"], "dtype": ["F64"]}}, EIGHT), "neither F32 nor F64"),
        (sealed({"w": {"dtype": "F64"}}, EIGHT), "needs dtype"),
        (sealed({"w": 5}, EIGHT), "needs dtype"),
        ((2**63).to_bytes(8, "little") + b"{}", "truncated, or something else"),
        ((17 * 2**20).to_bytes(8, "little") + bytes(18 * 2**20), "truncated, or something else"),
        ((2).to_bytes(8, "little") + b"{}", "no checksum"),
        (b"", "empty"),
        (b"glass", "5 bytes"),
        (b"PK\x03\x04" + bytes(range(100, 200)), "zip"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
        (b"diagnosis,radius_mean\nM,17.99\n", "something else"),
    ],
)
def test_lies_are_refused(scratch: Path, content: bytes, what: str) -> None:
    path = scratch
    path.write_bytes(content)
    with pytest.raises(DataError, match=what) as caught:
        read_model_file(path)
    assert len(str(caught.value)) < 600


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, int]]:
        return os.mkdir, (str(self.path), 0o777)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_named_and_never_executed(tmp_path: Path, protocol: int) -> None:
    fired = tmp_path / "fired"
    content = pickle.dumps(Bomb(fired), protocol=protocol)
    assert "pickle" in refusal(tmp_path / "model.safetensors", content)
    assert not fired.exists()
    pickle.loads(content)
    assert fired.exists()  # the bomb works: it was not a dud that passed the test


def test_what_is_not_there_or_no_file(tmp_path: Path) -> None:
    for path in (tmp_path / "absent", tmp_path, "nul\0byte", tmp_path / ("x" * 300)):
        with pytest.raises(NoInputError):
            read_model_file(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this platform has no named pipes")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(NoInputError, match="regular"):
        read_model_file(pipe)
    with pytest.raises(CannotWriteError, match="regular"):
        write_atomically(pipe, b"")
    assert pipe.is_fifo()


def test_a_file_over_the_limit_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    with open(path, "wb") as file:
        file.write((100).to_bytes(8, "little"))
        file.truncate(3 * 2**30)  # sparse: takes no room
    with pytest.raises(DataError, match="at most"):
        read_model_file(path)


# Writing


def failing(code: int) -> Callable[..., Any]:
    def fail(*args: Any, **options: Any) -> None:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize(
    ("name", "code"), [("fsync", errno.ENOSPC), ("replace", errno.EACCES), ("open", errno.EROFS), ("fsync", errno.EIO)]
)
def test_a_failing_disk_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: int
) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"old")
    with monkeypatch.context() as patch:
        patch.setattr(persistence.os, name, failing(code))
        with pytest.raises(CannotWriteError, match=os.strerror(code)) as caught:
            write_atomically(path, b"new")
    assert caught.value.exit_status == 73
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupt_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(descriptor: int) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "model"
    path.write_bytes(b"old")
    monkeypatch.setattr(persistence.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_flushed_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync, calls = os.fsync, []

    def flush_files_only(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > 1:
            raise OSError(errno.EINVAL, "folders cannot be flushed")
        fsync(descriptor)

    monkeypatch.setattr(persistence.os, "fsync", flush_files_only)
    write_atomically(tmp_path / "model", b"new")
    assert (tmp_path / "model").read_bytes() == b"new"
    assert len(calls) == 2 or sys.platform == "win32"  # Windows opens no folder


def test_a_killed_writer_leaves_the_old_or_the_new_file(tmp_path: Path) -> None:
    path = tmp_path / "model"
    whole = {b"a" * 2**20, b"b" * 2**20}
    write_atomically(path, b"a" * 2**20)
    writer = (
        "import sys\nfrom glassnet.persistence import write_atomically\nprint(flush=True)\n"
        "while True:\n    for letter in (b'b', b'a'):\n        write_atomically(sys.argv[1], letter * 2**20)"
    )
    for milliseconds in (5, 17, 29, 41, 53):  # instants that fall into different steps of the loop
        with subprocess.Popen([sys.executable, "-c", writer, str(path)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(milliseconds / 1000)
            process.kill()
        assert path.read_bytes() in whole


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"old")
    places = [tmp_path / "absent" / "model", tmp_path / "folder", tmp_path / "file" / "model", "nul\0byte"]
    for place in places:
        with pytest.raises(CannotWriteError):
            write_atomically(place, b"new")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]
    assert (tmp_path / "file").read_bytes() == b"old"


@pytest.mark.skipif(not os.path.exists("/dev/null"), reason="this platform has no /dev/null")
def test_a_device_is_not_replaced() -> None:
    with pytest.raises(CannotWriteError, match="regular"):
        write_atomically("/dev/null", b"new")


def test_a_symbolic_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    try:
        (tmp_path / "link").symlink_to(tmp_path / "real")
    except OSError:
        pytest.skip("this platform lets no ordinary user make symbolic links")
    write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no umask")
def test_the_umask_decides_about_rights(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "model", b"new")
    finally:
        os.umask(before)
    assert (tmp_path / "model").stat().st_mode & 0o777 == 0o640


def test_a_path_in_this_folder_without_a_folder_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_atomically("model", b"new")
    assert (tmp_path / "model").read_bytes() == b"new"
