"""A candidate's file: read, parsed, run as a module; what is wrong with it is said, not raised."""

from __future__ import annotations

import ast
import importlib.machinery
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from glassnet.checking.calling import called
from glassnet.checking.problems import FailedError, Problem
from glassnet.errors import NoInputError
from glassnet.expressions import readable


class _WithoutBytecode(importlib.machinery.SourceFileLoader):
    """Writes nothing beside the file."""

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        """Keep nothing."""


def module_of(path: str | Path) -> ModuleType:
    """The file as a module, run in this process; `FailedError` says why not, `NoInputError` that it is not there."""
    path = Path(path)
    try:
        raw = path.read_bytes()
    except OSError as problem:
        raise NoInputError(f"A file is to be checked; {path} cannot be read: {problem.strerror}.") from problem
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise FailedError(
            Problem("not-python", f"{path.name} is not a Python file: byte {problem.start} is no UTF-8 text.")
        ) from problem
    if "\0" in text:
        raise FailedError(Problem("not-python", f"{path.name} is not a Python file: it holds NUL bytes."))
    if text.lstrip().startswith("{") and '"cells"' in text:
        raise FailedError(
            Problem(
                "not-python",
                f"{path.name} is a notebook, not a Python file. Save it as .py: File, Save as, in Jupyter.",
            )
        )
    try:
        ast.parse(text)
    except SyntaxError as problem:
        line = problem.lineno or 1
        shown = (text.splitlines() or [""])[min(line, len(text.splitlines()) or 1) - 1].strip()
        raise FailedError(
            Problem(
                "syntax",
                f"Python cannot read line {line}: {problem.msg}. Look for a missing bracket, colon or quote there, or "
                "on "
                "the line above.",
                line,
                readable(shown, most=100),
            )
        ) from problem
    except (RecursionError, MemoryError, ValueError) as problem:
        raise FailedError(Problem("not-python", f"Python cannot read {path.name}: {problem}.")) from problem
    loader = _WithoutBytecode("candidate", str(path))
    specification = importlib.util.spec_from_loader("candidate", loader)
    assert specification is not None
    module = importlib.util.module_from_spec(specification)
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    try:
        called("the file", loader.exec_module, module)
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
    return module
