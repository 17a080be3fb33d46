"""Model files of version 1 that were written once, and are read for ever: the same bits are predicted of the same rows.

`golden/NAME.safetensors` is the model, `NAME.csv` rows of a table, `NAME.json` what glassnet 0.1.0 said of them: the
features, outputs and predictions, numbers as hexadecimal text. Nothing here writes these files again.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import glassnet as gn

GOLDEN = Path(__file__).with_name("golden")
NAMES = ("accurate", "classes", "float32", "members", "plain", "regression")
PAGE = Path(__file__).parents[1] / "docs" / "model-file.md"


def hexadecimal(numbers: Any) -> list[list[str]]:
    return [[float(number).hex() for number in row] for row in numbers]


def said_of(name: str) -> dict[str, Any]:
    """What the model says today."""
    model = gn.load(GOLDEN / f"{name}.safetensors")
    table = gn.read_table(GOLDEN / f"{name}.csv", kinds=model.encoder.kinds, missing=model.missing_words)
    X = model.encoder.encode(table)
    predictions = [said if isinstance(said, str) else float(said).hex() for said in model.predict(table)]
    return {"features": hexadecimal(X), "outputs": hexadecimal(model.outputs(X)), "predictions": predictions}


def test_all_are_here() -> None:
    assert sorted(path.name for path in GOLDEN.iterdir()) == sorted(
        f"{name}.{kind}" for name in NAMES for kind in ("csv", "json", "safetensors")
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_same_bits_are_predicted(name: str) -> None:
    assert said_of(name) == json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", NAMES)
def test_a_row_alone_has_the_bits_that_it_has_among_others(name: str) -> None:
    model = gn.load(GOLDEN / f"{name}.safetensors")
    table = gn.read_table(GOLDEN / f"{name}.csv", kinds=model.encoder.kinds, missing=model.missing_words)
    X = model.encoder.encode(table)
    alone = [model.outputs(X[row : row + 1])[0] for row in range(len(X))]
    assert hexadecimal(alone) == said_of(name)["outputs"]


@pytest.mark.parametrize("name", NAMES)
def test_it_is_written_again_to_the_same_bytes(name: str, tmp_path: Path) -> None:
    gn.save(gn.load(GOLDEN / f"{name}.safetensors"), tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (GOLDEN / f"{name}.safetensors").read_bytes()


def test_one_bit_of_a_parameter_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """So the comparison can fail."""
    expected = said_of("plain")
    load = gn.load

    def off(path: Path) -> Any:
        model = load(path)
        vector = model.members[0].vector
        vector[-1] = np.nextafter(vector[-1], np.inf)
        return model

    monkeypatch.setattr(gn, "load", off)
    assert said_of("plain")["outputs"] != expected["outputs"]


# The reader that the documentation shows


@pytest.fixture(scope="module")
def shown() -> dict[str, Callable[..., Any]]:
    (block,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert len([line for line in block.splitlines() if line.strip()]) <= 30
    imported = set(re.findall(r"^(?:import|from) (\w+)", block, flags=re.MULTILINE))
    assert imported == {"hashlib", "json", "struct"}
    namespace: dict[str, Any] = {}
    exec(compile(block, str(PAGE), "exec"), namespace)
    return namespace


@pytest.mark.parametrize("name", NAMES)
def test_the_reader_in_plain_python_reads_the_same(name: str, shown: dict[str, Callable[..., Any]]) -> None:
    model = gn.load(GOLDEN / f"{name}.safetensors")
    described, arrays = shown["read"](GOLDEN / f"{name}.safetensors")
    assert described["network"]["sizes"] == list(model.network.sizes)
    assert described["network"]["activations"] == list(model.network.activations)
    assert described["encoder"] == model.encoder.to_json()
    assert described["provenance"] == model.provenance
    assert arrays.keys() == {f"member_{k}" for k in range(described["members"])}
    assert described["members"] == len(model.members)
    for k, member in enumerate(model.members):
        array = arrays[f"member_{k}"]
        assert hexadecimal([array]) == hexadecimal([member.vector])
        layers = list(shown["layers"](described["network"]["sizes"], array))
        assert [weights for weights, _ in layers] == [W.tolist() for W in member.weights]
        assert [biases for _, biases in layers] == [b.tolist() for b in member.biases]


def test_the_reader_in_plain_python_sees_damage(shown: dict[str, Callable[..., Any]], tmp_path: Path) -> None:
    data = bytearray((GOLDEN / "plain.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "damaged").write_bytes(data)
    with pytest.raises(ValueError, match="damaged"):
        shown["read"](tmp_path / "damaged")


@pytest.mark.parametrize("name", NAMES)
def test_the_bytes_are_as_the_page_has_them(name: str) -> None:
    data = (GOLDEN / f"{name}.safetensors").read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    assert size % 8 == 0
    text = data[8 : 8 + size].rstrip(b" ").decode("ascii")
    header = json.loads(text)
    assert text == json.dumps(header, sort_keys=True, separators=(",", ":"))
    strings = header.pop("__metadata__")
    assert sorted(strings) == ["format", "format_version", "model", "sha256"]
    described = json.loads(strings["model"])
    assert sorted(described) == ["encoder", "members", "network", "provenance"]
    end = 0
    for entry in sorted(header.values(), key=lambda entry: entry["data_offsets"]):
        assert entry["data_offsets"][0] == end
        end = entry["data_offsets"][1]
    assert 8 + size + end == len(data)
