"""Model files that lie: each is refused with one message, before memory is taken for what it claims."""

from __future__ import annotations

import hashlib
import json
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import glassnet as gn
from glassnet.errors import DataError, GlassnetError

PLAIN = Path(__file__).with_name("golden") / "plain.safetensors"

MEMORY = 3e6
"""Bytes beside those of the file: what Python takes for messages, the header's JSON and the first call of a function.
A good file of 3 kB takes a tenth of it; a hundredth of the smallest claim would be more."""


class File:
    """A model file taken apart: what the header says, the description, and the bytes of the arrays."""

    def __init__(self, path: Path = PLAIN) -> None:
        data = path.read_bytes()
        begin = 8 + int.from_bytes(data[:8], "little")
        self.header = json.loads(data[8:begin])
        self.strings = self.header.pop("__metadata__")
        self.model = json.loads(self.strings.pop("model"))
        self.data = data[begin:]

    def bytes(self, *, model: str | None = None, header: str | None = None) -> bytes:
        """Put together again, with a right checksum; `model` and `header` in place of what is described."""
        strings = {**self.strings, "model": json.dumps(self.model) if model is None else model, "sha256": "0" * 64}
        text = json.dumps({"__metadata__": strings, **self.header}, separators=(",", ":")) if header is None else header
        blank = len(text).to_bytes(8, "little") + text.encode() + self.data
        at = blank.index(b'"sha256":"') + 10
        return blank[:at] + hashlib.sha256(blank).hexdigest().encode() + blank[at + 64 :]


def changed(change: Callable[[File], Any], **texts: str) -> bytes:
    file = File()
    change(file)
    return file.bytes(**texts)


def with_more_behind_the_checksum() -> bytes:
    """In the string of the checksum, the rest of which is right."""
    content = File().bytes()
    end = content.index(b'"sha256":"') + 74
    begin = int.from_bytes(content[:8], "little") + 8
    blank = begin.to_bytes(8, "little") + content[8 : end - 64] + b"0" * 64 + b" & more." + content[end:]
    return blank[: end - 64] + hashlib.sha256(blank).hexdigest().encode() + blank[end:]


def refusal(path: Path, content: bytes) -> str:
    """The message of a refusal that took no memory to speak of."""
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(GlassnetError) as caught:
            gn.load(path)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(caught.value, DataError)
    # JSON of nothing but empty lists takes Python 64 bytes for 3, and the text in a text is there a few times
    assert most < MEMORY + 30 * len(content)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < 700
    return message


def test_the_file_is_read_when_nothing_is_changed(tmp_path: Path) -> None:
    gn.load(PLAIN)
    path = tmp_path / "model"
    path.write_bytes(changed(lambda file: None))
    assert gn.load(path).members[0].vector.tolist() == gn.load(PLAIN).members[0].vector.tolist()
    with pytest.raises(pytest.fail.Exception):
        refusal(path, path.read_bytes())


def test_the_measure_of_memory_can_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(path: Path) -> None:
        room = np.ones(10**6)
        raise DataError(f"{path}: {len(room)}")

    monkeypatch.setattr(gn, "load", greedy)
    with pytest.raises(AssertionError):
        refusal(tmp_path / "model", b"")


def member(file: File) -> dict[str, Any]:
    found: dict[str, Any] = file.header["member_0"]
    return found


N = len(File().data)
DEEP = 10**5
VALUE = struct.Struct("<d")

LIES: dict[str, tuple[bytes, str]] = {
    "an array of a billion": (
        changed(lambda f: member(f).update(shape=[10**9], data_offsets=[0, 8 * 10**9])), "claim 8,000,000,000 bytes",
    ),
    "a shape of a billion": (changed(lambda f: member(f).update(shape=[10**9])), "cannot lie at"),
    "a shape of 10^18": (changed(lambda f: member(f).update(shape=[10**9, 10**9])), "cannot lie at"),
    "a billion units": (changed(lambda f: f.model["network"].update(sizes=[2, 10**9, 1])), "holds 4000000001 floats"),
    "a billion inputs": (changed(lambda f: f.model["network"].update(sizes=[10**9, 2, 1])), "floats"),
    "units of 400 digits": (changed(lambda f: f.model["network"].update(sizes=[2, 10**400, 1])), "sizes (2, 1000"),
    "a million layers": (
        changed(lambda f: f.model["network"].update(sizes=[1] * 10**5, activations=["relu"] * 10**5)), "glassnet model",
    ),
    "many empty lists": (changed(lambda f: f.model.update(provenance=[[]] * 10**5)), "glassnet model"),
    "a billion members": (changed(lambda f: f.model.update(members=10**9)), "it has no 'member_1'"),
    "a billion layers of JSON": (b"\xff\xff\xff\xff\xff\xff\xff\x7f{", "truncated, or something else"),
    "NaN weights": (changed(lambda f: setattr(f, "data", VALUE.pack(np.nan) + f.data[8:])), r"holds nan at (0,)"),
    "an infinite bias": (changed(lambda f: setattr(f, "data", f.data[:-8] + VALUE.pack(-np.inf))), "holds -inf at"),
    "a NaN scale": (changed(lambda f: None, model=json.dumps(File().model).replace("3.", "NaN, 3.", 1)), "not JSON"),
    "nested arrays": (changed(lambda f: None, model="[" * DEEP + "]" * DEEP), "nested too deep"),
    "nested objects": (changed(lambda f: None, model='{"a":' * DEEP + "1" + "}" * DEEP), "nested too deep"),
    "a nested header": (
        changed(lambda f: None, header='{"__metadata__":{"sha256":"' + "0" * 64 + '"},"a":' + "[" * DEEP),
        "nested too deep",
    ),
    "a newer version": (changed(lambda f: f.strings.update(format_version="2")), "version '2'"),
    "version 1.0": (changed(lambda f: f.strings.update(format_version="1.0")), "version '1.0'"),
    "a gap": (
        changed(lambda f: (member(f).update(data_offsets=[8, N + 8]), setattr(f, "data", bytes(8) + f.data))), "a gap",
    ),
    "an overlap": (changed(lambda f: f.header.update(member_1=dict(member(f)))), "overlap at"),
    "bytes behind the arrays": (changed(lambda f: setattr(f, "data", f.data + bytes(8))), f"where {N + 8} are"),
    "a wrong checksum": (File().bytes()[:-1] + b"\0", "must match its checksum"),
    "more behind the checksum": (with_more_behind_the_checksum(), "holds no checksum"),
    "offsets the wrong way round": (changed(lambda f: member(f).update(data_offsets=[N, 0])), "cannot lie at"),
    "true members": (changed(lambda f: f.model.update(members=True)), "another type"),
    "a member in two axes": (changed(lambda f: member(f).update(shape=[1, N // 8])), "do not fit together"),
    "members that are not said": (changed(lambda f: f.model.update(members=0)), "do not fit together"),
    "a field too many": (changed(lambda f: f.model.update(run="rm -r")), "a field too many"),
    "a field of the network": (changed(lambda f: f.model["network"].update(more=1)), "a field too many"),
    "no field": (changed(lambda f: f.model.pop("provenance")), "it has no 'provenance'"),
    "another activation": (changed(lambda f: f.model["network"].update(activations=["step", "identity"])), "'step'"),
    "an activation by its other name": (
        changed(lambda f: f.model["network"].update(activations=["logistic", "identity"])), "another type",
    ),
    "an activation less": (changed(lambda f: f.model["network"].update(activations=["relu"])), "a field too many"),
    "whole numbers as floats": (changed(lambda f: f.model["network"].update(sizes=[2.0, 2, 1])), "sizes names"),
    "a number beyond 64 bits": (
        changed(lambda f: None, model=json.dumps(File().model).replace('"epochs": 40', '"epochs": 1e999')), "too large",
    ),
    "a loss of its own": (changed(lambda f: f.model["network"].update(loss="__import__('os')")), "A loss is one of"),
}  # fmt: skip


@pytest.mark.parametrize("name", LIES)
def test_lies_are_refused_before_memory_is_taken(name: str, tmp_path: Path) -> None:
    content, what = LIES[name]
    assert what in refusal(tmp_path / "model", content)


def test_a_claim_is_not_read_from_a_file_of_three_gigabytes(tmp_path: Path) -> None:
    path = tmp_path / "model"
    with open(path, "wb") as file:
        file.write(File().bytes())
        file.truncate(3 * 2**30)  # sparse: takes no room
    tracemalloc.start()
    with pytest.raises(DataError, match="a model file at most"):
        gn.load(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < MEMORY
