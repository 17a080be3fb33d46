"""The kernel cache: used where it is sound, made anew where it is not, and done without where it cannot be had."""

from __future__ import annotations

import ast
import hashlib
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import glassnet as gn
from glassnet.kernels import buffers, chance, engines, loop, machine, source, sparse, tiles, zeros
from glassnet.kernels.language import translated

# A process that computes 3 x + 4 by a kernel, and says whether it had to be compiled.
SMALL = """
import ctypes, sys
from glassnet.kernels import machine
address = machine.code("def line(x):\\n    return 3 * x + 4\\n", {"line": "float64(float64)"})["line"]
print(ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(address)(5.0), "glassnet.kernels.language" in sys.modules)
"""
TRAINING = """
import sys
import numpy as np
import glassnet as gn
rows = np.random.default_rng(0).normal(size=(20, 2))
run = gn.train(gn.Network((2, 2, 1)), rows, (rows[:, :1] > 0) * 1.0, epochs=4, batch_size=8, engine="compiled")
print(run.engine_used, run.parameters.vector.tobytes().hex(), "glassnet.kernels.language" in sys.modules)
"""


def started(program: str, cache: Path, *options: str) -> subprocess.Popen[str]:
    environment = os.environ | {"GLASSNET_CACHE": str(cache), "PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return subprocess.Popen(
        [sys.executable, *options, "-c", program],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[list[str], str]:
    """The words that a process printed, and its messages; it has to end well."""
    output, messages = process.communicate(timeout=300)
    assert process.returncode == 0, messages
    return output.split(), messages


def run(program: str, cache: Path, *options: str) -> tuple[list[str], str]:
    return ended(started(program, cache, *options))


@pytest.fixture(scope="module")
def filled_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that holds the one small kernel."""
    cache = tmp_path_factory.mktemp("small")
    assert run(SMALL, cache, "-W", "error") == (["19.0", "True"], "")
    return cache


def copied(cache: Path, to: Path) -> Path:
    shutil.copytree(cache, to)
    (to / "kernels").chmod(0o700)
    return to


def contents(cache: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (cache / "kernels").iterdir() if file.is_file()}


def test_a_kernel_leaves_its_source_its_code_and_a_note(filled_cache: Path) -> None:
    files = contents(filled_cache)
    assert sorted(Path(name).suffix for name in files) == [".json", ".o", ".py"]
    assert len({Path(name).stem for name in files}) == 1
    (text,) = (content for name, content in files.items() if name.endswith(".py"))
    assert text == b"def line(x):\n    return 3 * x + 4\n"
    if hasattr(os, "getuid"):
        assert (filled_cache / "kernels").stat().st_mode & 0o77 == 0


def test_the_next_process_loads_it_without_compiling(filled_cache: Path) -> None:
    before = contents(filled_cache)
    assert run(SMALL, filled_cache, "-W", "error") == (["19.0", "False"], "")
    assert contents(filled_cache) == before


def test_a_training_in_the_next_process_compiles_nothing() -> None:
    here = Path(os.environ["GLASSNET_CACHE"])  # where other tests have compiled most of what it takes
    first, second = (run(TRAINING, here, "-W", "error")[0] for _ in range(2))
    assert first[:2] == second[:2]
    assert (second[0], second[2]) == ("compiled", "False")


# --- damage -------------------------------------------------------------------------------------------------------


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


DAMAGES = {
    "emptied": lambda content: b"",
    "truncated": lambda content: content[: len(content) // 2],
    "a byte short": lambda content: content[:-1],
    "a byte flipped": lambda content: flipped(content, len(content) // 3),
    "the last byte flipped": lambda content: flipped(content, -1),
    "no text": lambda content: b"\xff\xfe" + content,
    "another's": lambda content: b"[]",
}


def damaged_all(content: dict[str, bytes]) -> list[tuple[str, str, bytes]]:
    return [
        (name, what, damage(content[name])) for name in sorted(content) for what, damage in DAMAGES.items()
    ] + [(name, "gone", b"") for name in sorted(content)]  # fmt: skip


def test_whatever_is_damaged_is_made_anew(filled_cache: Path, tmp_path: Path) -> None:
    """One process meets all damages, each in a cache of its own. Loading is left out: the linker would not take a
    second kernel of the same names."""
    sound, cases = contents(filled_cache), []
    key = Path(next(iter(sound))).stem
    for number, (name, what, content) in enumerate(damaged_all(sound)):
        cache = copied(filled_cache, tmp_path / str(number))
        file = cache / "kernels" / name
        if what == "gone":
            file.unlink()
        else:
            file.write_bytes(content)
        cases.append(str(cache))
    program = f"""
import os
from glassnet.kernels import machine
made, every = machine._compiled, []
machine._compiled = lambda *given: every.append(made(*given)) or every[-1]
for cache in {cases!r}:
    os.environ["GLASSNET_CACHE"] = cache
    every.clear()
    source, signatures = "def line(x):\\n    return 3 * x + 4\\n", {{"line": "float64(float64)"}}
    before = machine._kept({key!r}, source)
    found = before or machine._made({key!r}, source, signatures, seldom=False)
    print(len(every), found == machine._kept({key!r}, source), [function.name for function in found] == ["line"])
"""
    words, messages = run(program, tmp_path / "none", "-W", "error")
    assert messages == ""
    outcomes = [tuple(words[at : at + 3]) for at in range(0, len(words), 3)]
    for (name, what, _), outcome in zip(damaged_all(sound), outcomes, strict=True):
        assert outcome == ("1", "True", "True"), (name, what, outcome)
    # What is made anew is what it was.
    for cache in cases:
        now = contents(Path(cache))
        assert sorted(now) == sorted(sound)
        assert [text for name, text in now.items() if name.endswith(".py")] == [
            text for name, text in sound.items() if name.endswith(".py")
        ]


@pytest.mark.parametrize("word", ["symbol", "name"])
def test_a_note_with_another_name_in_it_is_not_believed(filled_cache: Path, tmp_path: Path, word: str) -> None:
    """The note is what tells where in the code a function begins: with a false one a call would end the process."""
    cache = copied(filled_cache, tmp_path / "cache")
    (note,) = (cache / "kernels").glob("*.json")
    about = json.loads(note.read_text())
    ((name, symbol, *where),) = about["functions"]
    about["functions"] = [[name, symbol + "x", *where] if word == "symbol" else [name + "x", symbol, *where]]
    note.write_text(json.dumps(about))
    assert run(SMALL, cache, "-W", "error") == (["19.0", "True"], "")


def test_damage_by_itself_is_seen_in_the_whole_process(filled_cache: Path, tmp_path: Path) -> None:
    cache = copied(filled_cache, tmp_path / "cache")
    for file in (cache / "kernels").glob("*.o"):
        file.write_bytes(flipped(file.read_bytes(), 100))
    assert run(SMALL, cache, "-W", "error") == (["19.0", "True"], "")
    assert run(SMALL, cache, "-W", "error") == (["19.0", "False"], "")


def test_nothing_but_the_source_that_was_meant_is_compiled(filled_cache: Path, tmp_path: Path) -> None:
    """No bytecode of an earlier day, which nobody has looked at, stands in for it."""
    assert not list(filled_cache.rglob("*.pyc"))


# --- folders that cannot be used ------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_had_is_said_and_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("GLASSNET_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(machine, "_loaded", {})
    text = "def nowhere(x):\n    return 5 * x\n"
    with pytest.warns(machine.KernelCacheWarning, match=r"compiled anew in every process.*Set GLASSNET_CACHE") as said:
        found = machine.code(text, {"nowhere": "float64(float64)"})
    assert str(tmp_path / "file") in str(said[0].message)
    assert found["nowhere"]


def test_a_training_goes_on_without_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, rows = gn.Network((2, 1, 1), "softsign"), np.random.default_rng(0).normal(size=(20, 2))
    settings: dict[str, Any] = {"epochs": 4, "batch_size": 8}
    gn.train(gn.Network((2, 2, 1)), rows, rows[:, 0] > 0, engine="compiled", **settings)  # what all trainings share
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("GLASSNET_CACHE", str(tmp_path / "file"))
    with pytest.warns(machine.KernelCacheWarning):
        run = gn.train(network, rows, rows[:, 0] > 0, engine="compiled", **settings)
    assert run.engine_used == "compiled"
    by_numpy = gn.train(network, rows, rows[:, 0] > 0, engine="numpy", **settings)
    np.testing.assert_allclose(run.parameters.vector, by_numpy.parameters.vector, rtol=1e-12)
    assert (tmp_path / "file").read_text() == "no folder"


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="who may write to a folder is asked on POSIX alone")
@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_a_folder_that_others_may_write_to_is_not_trusted(filled_cache: Path, tmp_path: Path, mode: int) -> None:
    cache = copied(filled_cache, tmp_path / "cache")
    before = contents(cache)
    (cache / "kernels").chmod(mode)
    words, messages = run(SMALL, cache)
    assert words == ["19.0", "True"]
    assert "others may write to it" in messages
    assert contents(cache) == before


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="whose a folder is, is asked on POSIX alone")
def test_a_folder_of_another_user_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLASSNET_CACHE", str(tmp_path))
    monkeypatch.setattr(os, "getuid", lambda: 123456789)
    monkeypatch.setattr(machine, "_loaded", {})
    with pytest.warns(machine.KernelCacheWarning, match="belongs to another user"):
        machine.code("def other(x):\n    return 6 * x\n", {"other": "float64(float64)"})
    assert not list((tmp_path / "kernels").iterdir())


def test_a_full_disk_costs_the_next_process_time_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLASSNET_CACHE", str(tmp_path))
    monkeypatch.setattr(machine, "_loaded", {})
    write = machine._write

    def full(file: Path, content: bytes) -> None:
        if file.suffix != ".py":
            raise OSError(28, "No space left on device")
        write(file, content)

    monkeypatch.setattr(machine, "_write", full)
    assert machine.code("def full(x):\n    return 7 * x\n", {"full": "float64(float64)"})["full"]
    assert [file.suffix for file in (tmp_path / "kernels").iterdir() if file.is_file()] == [".py"]


def test_what_is_being_written_is_never_half_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "kernel.o"
    machine._write(file, b"old")

    def fails(*given: Any) -> None:
        raise OSError("the disk was pulled out")

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(OSError, match="pulled out"):
        machine._write(file, b"new")
    assert file.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["kernel.o"]


# --- processes ------------------------------------------------------------------------------------------------------


def test_two_processes_may_compile_the_same_kernel_at_once(tmp_path: Path) -> None:
    both = [started(SMALL, tmp_path, "-W", "error") for _ in range(3)]
    for process in both:
        assert ended(process) in ((["19.0", "True"], ""), (["19.0", "False"], ""))
    assert run(SMALL, tmp_path, "-W", "error") == (["19.0", "False"], "")
    assert sorted(Path(name).suffix for name in contents(tmp_path)) == [".json", ".o", ".py"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is POSIX's alone")
def test_a_child_that_is_forked_after_a_training_trains() -> None:
    """Also while threads of the parent wait in a pool that the training used."""
    program = """
import os, sys
import numpy as np
import glassnet as gn
rows = np.random.default_rng(0).normal(size=(300, 2))
def trained(starts):
    return gn.train_population(
        gn.Network((2, 2, 1)), rows, (rows[:, :1] > 0) * 1.0, size=starts, epochs=1000, engine="compiled", threads=2
    ).parameters.vector
before = trained(20)
child = os.fork()
if child == 0:
    same = (trained(20) == before).all() and (trained(3) == before[:3]).all()
    os._exit(0 if same else 1)
status = os.waitpid(child, 0)[1]
print(os.waitstatus_to_exitcode(status), (trained(20) == before).all())
"""
    assert run(program, Path(os.environ["GLASSNET_CACHE"]), "-W", "error") == (["0", "True"], "")


# --- names ----------------------------------------------------------------------------------------------------------


def compiled_key(text: str, signatures: dict[str, str], *, seldom: bool = False) -> set[str]:
    """The files that compiling adds."""
    folder = machine.cache_folder()
    before = set(folder.iterdir()) if folder.is_dir() else set()
    machine.code(text, signatures, seldom=seldom)
    return {file.stem for file in set(folder.iterdir()) - before if file.is_file()}


def test_another_content_is_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLASSNET_CACHE", str(tmp_path))
    monkeypatch.setattr(machine, "_loaded", {})
    text = "def named(x):\n    return 8 * x\n"
    found = [
        compiled_key(text, {"named": "float64(float64)"}),
        compiled_key(text.replace("8", "9"), {"named": "float64(float64)"}),
        compiled_key(text, {"named": "float64(int64)"}),
        compiled_key(text, {"named": "float64(float64)"}, seldom=True),
        compiled_key(text, {"named": "float64(float64)"}),
    ]
    assert [len(names) for names in found] == [1, 1, 1, 1, 0]
    assert len(set().union(*found)) == 4
    beneath = machine._beneath()
    monkeypatch.setattr(machine, "_beneath", lambda: [*beneath[:-1], "# what lies beneath has changed"])
    assert len(compiled_key(text, {"named": "float64(float64)"})) == 1


def test_all_that_a_kernel_imports_is_in_its_name() -> None:
    """Else a change of it would go unseen as long as the cache lives."""
    beneath = machine._beneath()
    network = gn.Network((40, 40, 3), loss="cross_entropy")
    waiting = [source.gradient_source(network, 8), source.update_source(gn.Adam(), 8, penalised=True)]
    waiting += [Path(module.__file__).read_text("utf-8") for module in (loop, tiles, buffers, chance, sparse, zeros)]
    seen: set[str] = set()
    while waiting:
        for found in ast.walk(ast.parse(waiting.pop())):
            if not isinstance(found, ast.ImportFrom) or not str(found.module).startswith("glassnet"):
                continue
            module = importlib.import_module(str(found.module))
            if module is machine:
                for name in found.names:
                    assert name.name in ("PROCESSOR", "BITS", "ON_X86")  # it is in the name, and they follow from it
            elif str(found.module).startswith("glassnet.kernels."):
                text = Path(str(module.__file__)).read_text("utf-8")
                assert text in beneath, f"{found.module} is imported, and not in the name"
                waiting += [text] if found.module not in seen else []
                seen.add(str(found.module))
            else:
                for name in found.names:
                    assert repr(getattr(module, name.name)) in beneath, f"{name.name} is imported, and not in the name"
    assert {"glassnet.kernels.mathematics", "glassnet.kernels.registers"} <= seen


def test_the_source_on_disk_is_the_kernels() -> None:
    network = gn.Network((3, 2, 1), "silu")
    rows = np.random.default_rng(0).normal(size=(9, 3))
    assert gn.train(network, rows, np.ones(9), epochs=1, engine="compiled").engine_used == "compiled"
    text = source.gradient_source(network, machine.BITS // 64)
    files = {file.read_text("utf-8"): file for file in machine.cache_folder().glob("*.py")}
    assert text in files
    about = json.loads(files[text].with_suffix(".json").read_text("utf-8"))
    assert [name for name, *_ in about["functions"]] == ["gradient"]
    assert hashlib.sha256(text.encode()).hexdigest() != files[text].stem  # the name knows more than the text


@pytest.mark.skipif(not machine.ON_X86, reason="reads the assembly of x86")
@pytest.mark.parametrize("number", ["float64", "float32"])
def test_vectors_on_the_stack_lie_in_one_cache_line(number: str) -> None:
    network = gn.Network((2, 4, 3, 1))  # its sums alone are more than there are registers
    text = source.gradient_source(network, machine.BITS // (64 if number == "float64" else 32))
    module = ModuleType("a_kernel")
    exec(compile(text, "a kernel", "exec"), module.__dict__)
    signature = engines._GRADIENT.format(number)
    written = translated(ast.parse(text), vars(module), "gradient", signature, "gradient_of_a_test")
    assembly = machine._machine().emit_assembly(machine._optimised(written))
    moves = re.findall(r"(vmov[au]p[sd])\s.*\(%rsp\)", assembly)
    assert len(moves) > 10
    assert not [move for move in moves if move.startswith("vmovu")]
