"""Kernels as machine code: compiled once, kept on disk, loaded from then on.

Every source lies in the user's own cache folder as a file that can be read, beside the object code that it became, both
named by a hash of all that they depend on: the source, what it imports, the version of LLVM, the processor.
Neither is used unless it is, byte for byte, what it was when it was written, and the folder belongs to the user alone.
Loading takes LLVM's linker a few milliseconds.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import stat
import sys
import tempfile
import threading
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from itertools import accumulate
from pathlib import Path
from types import ModuleType
from typing import Any

import llvmlite.binding as llvm

from glassnet.expressions import ERF_COEFFICIENTS

BITS = 512 if llvm.get_host_cpu_features().get("avx512f") else 256
"""The width of a vector. A processor that has narrower ones takes several for one; the lanes stay as many."""

PROCESSOR: str = llvm.get_host_cpu_name()
"""What LLVM calls it, "znver4" say."""

ON_X86: bool = llvm.get_default_triple().startswith(("x86", "i686", "amd64"))
"""Whether it has that family's control of floats."""

_LOCK = threading.RLock()
# What compiled code may leave to the process that it is loaded into: all these are in every C library.
_OUTSIDE = {"memcpy", "memset", "memmove"}


class KernelCacheWarning(UserWarning):
    """The kernel cache cannot be used, so kernels are compiled anew in every process."""


def cache_folder() -> Path:
    """Where kernels are kept: `GLASSNET_CACHE` where that is set, else in the user's own cache folder.

    >>> cache_folder().name
    'kernels'
    """
    own = os.environ.get("GLASSNET_CACHE")
    if own:
        return Path(own) / "kernels"
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "glassnet" / "kernels"


def code(source: str, signatures: Mapping[str, str], *, seldom: bool = False) -> dict[str, int]:
    """The addresses of functions in `source`, whose signatures are texts such as "float64(int64, float64*)".

    A first call compiles, a later one in this process looks up, one in another process loads what was kept. Whose loops
    are `seldom` gone through is compiled in half the time: they are neither unrolled nor made vectors of.

    >>> address = code("def twice(x):\\n    return 2 * x\\n", {"twice": "float64(float64)"})["twice"]
    >>> import ctypes
    >>> ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(address)(21.0)
    42.0
    """
    key = hashlib.sha256(json.dumps([_beneath(), source, dict(signatures), seldom]).encode()).hexdigest()[:40]
    with _LOCK:
        if key not in _loaded:
            _loaded[key] = _addresses(_kept(key, source) or _made(key, source, signatures, seldom))
        return _loaded[key]


_loaded: dict[str, dict[str, int]] = {}


@cache
def _beneath() -> list[str]:
    """What every kernel depends on besides its own source."""
    here = Path(__file__).parent
    texts = [
        (here / f"{name}.py").read_text("utf-8")
        for name in ("machine", "language", "lanes", "mathematics", "registers", "calls", "places")
    ]
    constants = repr(ERF_COEFFICIENTS)  # what these texts import from elsewhere
    return [version("llvmlite"), PROCESSOR, _features(), constants, *texts]


def _features() -> str:
    return str(llvm.get_host_cpu_features().flatten())


# --- on disk ------------------------------------------------------------------------------------------------------


def _kept(key: str, source: str) -> list[_Function] | None:
    """Functions from the cache, where they are there and sound."""
    try:
        where = _own_folder()
        about = json.loads((where / f"{key}.json").read_text("utf-8"))
        code = (where / f"{key}.o").read_bytes()
        text = (where / f"{key}.py").read_text("utf-8")
        functions: list[list[Any]] = [
            [str(name), str(symbol), int(begin), int(end)] for name, symbol, begin, end in about["functions"]
        ]
        if text == source and _checksum(code, functions) == about["sha256"]:
            return [_Function(name, symbol, code[begin:end]) for name, symbol, begin, end in functions]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass  # not there, not readable or not ours: it is made anew
    return None


def _checksum(code: bytes, functions: list[list[Any]]) -> str:
    """Of the object code and of where its functions are: a call by a wrong name would end the process."""
    return hashlib.sha256(json.dumps(functions).encode() + code).hexdigest()


def _own_folder() -> Path:
    """The cache folder, made where it is missing; an error where it is not the user's alone."""
    where = cache_folder()
    where.mkdir(parents=True, exist_ok=True, mode=0o700)
    if hasattr(os, "getuid"):
        status = where.stat()
        if status.st_uid != os.getuid():
            raise PermissionError(f"it belongs to another user, {status.st_uid}")
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError("others may write to it")
    return where


def _write(file: Path, content: bytes) -> None:
    """All or nothing, whoever else is writing the same file."""
    handle, temporary = tempfile.mkstemp(dir=file.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        os.replace(temporary, file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _made(key: str, source: str, signatures: Mapping[str, str], seldom: bool) -> list[_Function]:
    """Functions compiled now and put into the cache."""
    try:
        folder = _own_folder()
        _write(folder / f"{key}.py", source.encode())
    except OSError as problem:
        warnings.warn(
            f"Kernels are compiled anew in every process, for {cache_folder()} cannot be used: {problem}. "
            "Set GLASSNET_CACHE to a folder of your own.",
            KernelCacheWarning,
            stacklevel=6,
        )
        with tempfile.TemporaryDirectory(prefix="glassnet-") as scratch:
            file = Path(scratch) / f"{key}.py"
            file.write_bytes(source.encode())
            return _compiled(file, source, signatures, seldom)
    functions = _compiled(folder / f"{key}.py", source, signatures, seldom)
    ends = list(accumulate(len(function.code) for function in functions))
    where = zip(functions, [0, *ends], ends, strict=False)
    listed: list[list[Any]] = [[function.name, function.symbol, begin, end] for function, begin, end in where]
    code = b"".join(function.code for function in functions)
    about = {"sha256": _checksum(code, listed), "functions": listed}
    try:
        _write(folder / f"{key}.o", code)
        _write(folder / f"{key}.json", json.dumps(about).encode())
    except OSError:
        pass  # the disk is full, say: this process has its kernel, the next one makes its own
    return functions


# --- compiling and loading ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Function:
    """A compiled function: its name, the symbol that it has in its object code, and that."""

    name: str
    symbol: str
    code: bytes


def _compiled(file: Path, source: str, signatures: Mapping[str, str], seldom: bool) -> list[_Function]:
    """The functions of a source that have signatures."""
    from glassnet.kernels.language import translated

    # Not imported: no bytecode from an earlier day stands in for the source, and none is left.
    module = ModuleType(f"glassnet_kernel_{file.stem}")
    module.__file__ = str(file)
    tree = ast.parse(source, str(file))
    exec(compile(tree, str(file), "exec"), module.__dict__)
    return [
        _one_compiled(translated(tree, vars(module), name, signature, f"{name}_{file.stem}"), name, seldom)
        for name, signature in signatures.items()
    ]


def _optimised(text: str, seldom: bool = False) -> Any:
    """A module of LLVM's, for this processor."""
    code = llvm.parse_assembly(text)
    code.verify()
    machine = _machine()
    code.triple, code.data_layout = machine.triple, str(machine.target_data)
    options = llvm.create_pipeline_tuning_options(speed_level=1 if seldom else 3)
    if seldom:
        options.loop_unrolling = options.loop_vectorization = options.slp_vectorization = False
    passes = llvm.create_pass_builder(machine, options)
    passes.getModulePassManager().run(code, passes)
    return code


def _one_compiled(text: str, name: str, seldom: bool) -> _Function:
    code = _optimised(text, seldom)
    (symbol,) = (f.name for f in code.functions if not f.is_declaration)
    outside = {f.name for f in code.functions if f.is_declaration and not f.name.startswith("llvm.")} - _OUTSIDE
    # Loading code that calls what is not there would end the process.
    assert not outside, f"{name} leaves {sorted(outside)} open"
    return _Function(name, symbol, _machine().emit_object(code))


@cache
def _machine() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=PROCESSOR, features=_features(), opt=3, codemodel="jitdefault", jit=True
    )


@cache
def _linker() -> Any:
    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine())


def _addresses(functions: list[_Function]) -> dict[str, int]:
    linker = _linker()
    for function in functions:
        linker.add_object_file(llvm.ObjectFileRef.from_data(function.code))
    linker.finalize_object()
    return {function.name: int(linker.get_function_address(function.symbol)) for function in functions}
