"""A hundred thousand damaged model files, and checkpoints: none crashes, hangs, or is loaded as what it does not say.

Half of the damage is blind: flipped bits, pieces cut out, doubled or taken from another file. Half is knowing: JSON
altered, offsets swapped, numbers written over, and the checksum computed anew. What loads after that must be the very
model that a reader of the documentation's page finds in the file, and be written again to what it says.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import re
import struct
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import glassnet as gn
from glassnet import checkpoints
from glassnet.errors import DataError, GlassnetError

pytestmark = pytest.mark.soak

HERE = Path(__file__).parents[1]
N = 100_000
PARTS = 20
N_CHECKPOINTS = 10_000

HOSTILE: list[Any] = [
    None, True, False, 0, 1, -1, 2, 3, 10**9, 2**31, 2**53, 2**63, 10**400, 0.0, -0.0, 0.5, 1e308, 5e-324, "", "relu",
    "F64", "1", "2", "__proto__", "\0", "\ud800", "grün", "x" * 5000, [], {}, [[]], [1, 2, 1], [0], [-1, 8], [10**9],
    {"kind": "number"}, {"a": {}}, ["tanh"] * 50, "number", "category", "boolean", "text", "date", "binary", "classes",
    "cross_entropy", "quantile(0.5)", "huber( 1 )", "logistic", [0.0, 1.0], [1.0, 0.0], ["a", "b"], ["b", "a", "a"],
]  # fmt: skip
TEXTS = [
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "[" * 3000,
    '{"a":' * 900,
    "[" * 900 + "]" * 900,
    "1" * 5000,
    "01",
    "'a'",
    '"a" "b"',
    "nul",
    "\x00",
]


def compact(value: Any) -> str:
    """JSON without a blank, as the reader looks for it."""
    return json.dumps(value, separators=(",", ":"))


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where there is anything in a description."""
    found = [path] if path else []
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        found += places(item, (*path, key))
    return found


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def altered(described: Any, rng: np.random.Generator) -> str:
    """A description with one or two things changed, as text."""
    described = copy.deepcopy(described)
    mark = None
    for _ in range(rng.integers(1, 3)):
        every = places(described)
        if not every:
            break
        path = every[rng.integers(0, len(every))]
        parent, key = at(described, path[:-1]), path[-1]
        match rng.integers(0, 8):
            case 0 | 1:
                parent[key] = copy.deepcopy(HOSTILE[rng.integers(0, len(HOSTILE))])
            case 2:
                del parent[key]
            case 3 if isinstance(parent, dict):
                parent["more" if rng.integers(0, 2) else " " + str(key)] = copy.deepcopy(parent[key])
            case 3:
                parent.insert(key, copy.deepcopy(parent[key]))
            case 4:
                other = every[rng.integers(0, len(every))]
                if other[: len(path)] != path and path[: len(other)] != other:
                    there = at(described, other[:-1])
                    parent[key], there[other[-1]] = copy.deepcopy(there[other[-1]]), copy.deepcopy(parent[key])
            case 5:
                now = parent[key]
                if isinstance(now, bool) or not isinstance(now, int | float) or abs(now) > 1e300:
                    parent[key] = [now]
                else:
                    others = [now + 1, now - 1, -now, now * 1e-5, math.nextafter(now, 1e300)]
                    parent[key] = others[rng.integers(0, len(others))]
            case 6:
                now = parent[key]
                parent[key] = str(now) if not isinstance(now, str) else now[::-1]
            case _:
                mark = TEXTS[rng.integers(0, len(TEXTS))]
                parent[key] = "@mark@"
    text = compact(described)
    if mark is not None:
        text = text.replace('"@mark@"', mark)
    if rng.integers(0, 30) == 0:  # a key twice
        text = text.replace('":', '":1,"' + "network" + '":', 1) if rng.integers(0, 2) else text[:-1] + ',"members":1}'
    return text


def sealed(header: str, data: bytes) -> bytes:
    """With a right checksum, where the header has room for one."""
    text = header.encode("utf-8", "surrogatepass")
    blank = len(text).to_bytes(8, "little") + text + data
    found = blank.find(b'"sha256":"')
    if found < 0:
        return blank
    blank = blank[: found + 10] + b"0" * 64 + blank[found + 74 :]
    return blank[: found + 10] + hashlib.sha256(blank).hexdigest().encode() + blank[found + 74 :]


def knowingly(source: bytes, part: str, rng: np.random.Generator) -> bytes:
    """Altered by somebody who knows the format."""
    begin = 8 + int.from_bytes(source[:8], "little")
    header, data = json.loads(source[8:begin]), source[begin:]
    strings = header["__metadata__"]
    match rng.integers(0, 10):
        case 0 | 1 | 2 | 3 | 4:
            strings[part] = altered(json.loads(strings[part]), rng)
        case 5:
            return sealed(altered(header, rng), data)
        case 6:
            arrays = {name: entry for name, entry in header.items() if name != "__metadata__"}
            return sealed(compact({"__metadata__": strings, **altered_arrays(arrays, rng)}), data)
        case 7:
            number = [math.nan, math.inf, -math.inf, 0.0, 1e308, 5e-324, -1.0][rng.integers(0, 7)]
            place = 8 * int(rng.integers(0, len(data) // 8))
            data = data[:place] + struct.pack("<d", number) + data[place + 8 :]
        case 8:
            data = data[: rng.integers(0, len(data))] if rng.integers(0, 2) else data + bytes(int(rng.integers(1, 99)))
        case _:
            key = list(strings)[rng.integers(0, len(strings))]
            strings[key] = ["2", "0", "", "1.0", "pt", strings[part]][rng.integers(0, 6)]
    return sealed(compact(header), data)


def altered_arrays(arrays: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """Offsets swapped, shapes and types changed, names exchanged, and the rest as it was."""
    arrays = copy.deepcopy(arrays)
    names = list(arrays)
    entry = arrays[names[rng.integers(0, len(names))]]
    begin, end = entry["data_offsets"]
    match rng.integers(0, 6):
        case 0:
            entry["data_offsets"] = [end, begin]
        case 1:
            moved = int(rng.integers(-16, 17))
            entry["data_offsets"] = [begin + moved, end + moved]
        case 2:
            entry["dtype"] = ["F32", "F16", "I64", "U8", "BOOL", "f64"][rng.integers(0, 6)]
        case 3:
            entry["shape"] = [[1, *entry["shape"]], entry["shape"][::-1], [0], [], [-1], [2**61, 8]][rng.integers(0, 6)]
        case 4:
            arrays["member_9"] = copy.deepcopy(entry)
        case _:
            other = names[rng.integers(0, len(names))]
            arrays[other], arrays[names[0]] = arrays[names[0]], arrays[other]
    return arrays


def blindly(source: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Damaged without a thought."""
    data = bytearray(source)
    for _ in range(rng.integers(1, 4)):
        place = int(rng.integers(0, len(data) + 1))
        match rng.integers(0, 6):
            case 0 | 1 if data:
                data[place % len(data)] ^= 1 << int(rng.integers(0, 8))
            case 2:
                del data[place : place + int(rng.integers(1, 200))]
            case 3:
                data[place:place] = data[place : place + int(rng.integers(1, 200))]
            case 4:
                begin = int(rng.integers(0, len(other)))
                data[place : place + 50] = other[begin : begin + int(rng.integers(1, 200))]
            case _:
                del data[place:]
    return bytes(data)


@pytest.fixture(scope="module")
def read() -> Callable[[Path], tuple[Any, dict[str, list[float]]]]:
    """The reader that the documentation shows."""
    page = (HERE.parent / "docs" / "model-file.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    namespace: dict[str, Any] = {}
    exec(compile(block, "model-file.md", "exec"), namespace)
    reader: Callable[[Path], tuple[Any, dict[str, list[float]]]] = namespace["read"]
    return reader


def hexadecimal(numbers: Any) -> list[str]:
    return [float(number).hex() for number in numbers]


@pytest.mark.parametrize("part", range(PARTS))
def test_damaged_models_are_refused_or_are_what_they_say(
    part: int, tmp_path: Path, read: Callable[[Path], tuple[Any, dict[str, list[float]]]]
) -> None:
    rng = np.random.default_rng([part, 8])
    sources = [path.read_bytes() for path in sorted((HERE / "golden").glob("*.safetensors"))]
    path, again = tmp_path / "model", tmp_path / "again"
    outcomes: Counter[str] = Counter()
    for number in range(N // PARTS):
        source, other = (sources[k] for k in rng.integers(0, len(sources), 2))
        blind = number % 2 == 0
        content = blindly(source, other, rng) if blind else knowingly(source, "model", rng)
        path.write_bytes(content)
        begun = time.process_time()
        try:
            model = gn.load(path)
        except DataError as error:
            message = str(error)
            assert "\n" not in message, (part, number, message)
            assert len(message) < 700, (part, number, message)
            outcomes["blind, refused" if blind else "knowing, refused"] += 1
        else:
            # blind damage goes unseen only where it has done nothing
            assert not blind or content in sources, (part, number)
            described, arrays = read(path)
            assert len(arrays) == len(model.members) == described["members"], (part, number)
            for k, member in enumerate(model.members):
                assert hexadecimal(member.vector) == hexadecimal(arrays[f"member_{k}"]), (part, number)
            gn.save(model, again)
            said, of = read(again)
            assert json.dumps(said, sort_keys=True) == json.dumps(described, sort_keys=True), (part, number)
            assert {name: hexadecimal(array) for name, array in of.items()} == {
                name: hexadecimal(array) for name, array in arrays.items()
            }, (part, number)
            with np.errstate(all="ignore"):  # parameters may be anything finite now
                model.outputs(np.zeros((2, model.network.n_features)))
            outcomes["as it was" if content in sources else "another model"] += 1
        # a load of these sizes takes a millisecond of processor time: what takes a second has lost its way
        assert time.process_time() - begun < 1, (part, number, content[:200])
    assert outcomes["blind, refused"] > 0.45 * N / PARTS
    assert min(outcomes["knowing, refused"], outcomes["another model"]) > 0.02 * N / PARTS  # neither harmless nor fatal


X = np.random.default_rng(0).normal(size=(30, 2))
NETWORK = gn.Network((2, 3, 1), "tanh")


def trained(path: Path, kind: str, *, resume: bool) -> Any:
    given: dict[str, Any] = {"checkpoint": path, "resume": resume, "epochs": 6, "engine": "numpy", "random_state": 3}
    if kind == "population":
        return gn.train_population(NETWORK, X, X[:, 0] > 0, size=3, **given)
    optimizer = gn.LBFGS() if kind == "lbfgs" else gn.Adam(0.01)
    held_out = (X[:5], X[:5, 1] > 0)
    return gn.train(NETWORK, X, X[:, 0] > 0, optimizer=optimizer, held_out=held_out, patience=5, every=5, **given)


@pytest.mark.parametrize("kind", ["run", "lbfgs", "population"])
def test_damaged_checkpoints_are_refused_or_gone_on_from(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is read is trained on, to finite parameters and without an error that is none of ours."""
    rng = np.random.default_rng([len(kind), 8])
    path = tmp_path / "checkpoint"
    trained(path, kind, resume=False)
    previous = Path(checkpoints.previous_of(str(path)))
    sources = [place.read_bytes() for place in (path, previous) if place.exists()]
    monkeypatch.setattr(checkpoints.Checkpoint, "write", lambda self, outcome, finished: None)  # no disk is waited for
    outcomes: Counter[str] = Counter()
    for number in range(N_CHECKPOINTS // 3):
        previous.unlink(missing_ok=True)
        source = sources[rng.integers(0, len(sources))]
        blind = number % 5 == 0
        content = blindly(source, source, rng) if blind else knowingly(source, "checkpoint", rng)
        path.write_bytes(content)
        begun = time.process_time()
        try:
            result = trained(path, kind, resume=True)
        except GlassnetError as error:
            message = str(error)
            assert "\n" not in message, (number, message)
            assert len(message) < 700, (number, message)
            outcomes["refused"] += 1
        else:
            assert not blind or content in sources, number
            assert np.isfinite(result.parameters.vector).all(), number
            outcomes["gone on from"] += 1
        assert time.process_time() - begun < 1, (number, content[:200])
    assert min(outcomes.values()) > 0.02 * N_CHECKPOINTS / 3
