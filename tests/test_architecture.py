"""The order of the house, read from the source: who imports whom, and what may not be imported at all."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import glassnet

SOURCE = Path(__file__).parents[1] / "src"
VERSION = "glassnet.__version__"  # the one thing that stands in the front door itself

# A room imports only from rooms above it. A room that is a folder keeps its own order inside, without a cycle.
ROOMS = (
    "errors",
    "arithmetic",
    "randomness",
    "expressions",
    "activations",
    "losses",
    "initializers",
    "optimizers",
    "network",
    "equations",
    "reference",
    "sparse",
    "piecewise",
    "flips",
    "checks",
    "metrics",
    "persistence",
    "waiting",
    "runs",
    "kernels",
    "checkpoints",
    "minimization",
    "dispatch",
    "training",
    "courses",
    "populations",
    "cells",
    "tables",
    "reading",
    "splits",
    "columns",
    "encoding",
    "preparation",
    "survey",
    "local_equation",
    "local",
    "regions",
    "model",
    "datasets",
    "by_hand",
    "derivations",
    "verification",
    "export",
    "svg",
    "drawing",
    "checking",
    "encoder",
    "importing",
    "estimators",
    "evaluation",
    "report",
    "peers",
    "distributed",
    "web",
    "demo",
    "cli",
    "__main__",
)

# What glassnet can do without, and a user waits for; nothing of it may load before it is used.
HEAVY = (
    "jax", "keras", "llvmlite", "matplotlib", "numpy", "pandas", "pyarrow", "rich", "scipy", "sklearn", "starlette",
    "uvicorn", "websockets",
)  # fmt: skip

# Reading any of these formats runs what is in it.
UNSAFE_MODULES = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}
RUNS_TEXT = {"compile", "eval", "exec", "__import__"}
MAY_RUN_TEXT = {
    "glassnet.expressions": "runs the NumPy source that it wrote itself from a parsed expression",
    "glassnet.kernels.machine": "runs the kernel source that the package wrote itself, before it is compiled",
}


def modules_in(source: Path) -> dict[str, Path]:
    """Dotted name -> file, of every module; a folder's __init__ has the folder's name."""
    found = {}
    for path in sorted(source.glob("glassnet/**/*.py")):
        parts = path.relative_to(source).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(name: str, path: Path, modules: dict[str, Path]) -> Iterator[tuple[int, str]]:
    """Line and module of every import in a file, those inside functions included; relative ones made absolute."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
            anchor = package[: len(package) + 1 - node.level] if node.level else []
            origin = ".".join([*anchor, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{origin}.{alias.name}"
                yield node.lineno, inner if inner in modules or inner == VERSION else origin


def room_of(module: str) -> str:
    """`glassnet.peers.keras` lives in `peers`."""
    return module.split(".")[1]


def violations(source: Path) -> list[str]:
    """Everything under `source` that breaks the order of the house, one line each."""
    modules = modules_in(source)
    found = []
    graph: dict[str, set[str]] = {}
    for name, path in modules.items():
        if name == "glassnet":
            continue  # the front door shows what is in every room; that it loads none is tested below
        if room_of(name) not in ROOMS:
            found.append(f"{name}: there is no room {room_of(name)!r}; the rooms are ROOMS")
            continue
        graph[name] = set()
        for line, imported in dict.fromkeys(imports_of(name, path, modules)):
            if imported.split(".")[0] != "glassnet" or imported == VERSION:
                continue
            if imported == "glassnet":
                found.append(f"{name}:{line}: imports through the front door; import from the room itself")
            elif imported not in modules:
                found.append(f"{name}:{line}: imports {imported}, which is not there")
            elif room_of(imported) == room_of(name):
                graph[name].add(imported)
            elif room_of(imported) in ROOMS and ROOMS.index(room_of(imported)) > ROOMS.index(room_of(name)):
                found.append(f"{name}:{line}: imports {imported}, from a room below")
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found.append(f"a cycle: {' <- '.join(error.args[1])}")
    return found


def unsafe(source: Path) -> list[str]:
    """Every import of a format that runs code, and every call that runs text, one line each."""
    modules = modules_in(source)
    found = []
    for name, path in modules.items():
        for line, imported in imports_of(name, path, modules):
            if imported.split(".")[0] in UNSAFE_MODULES:
                found.append(f"{name}:{line}: imports {imported}")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id=called)) if called in RUNS_TEXT and name not in MAY_RUN_TEXT:
                    found.append(f"{name}:{node.lineno}: calls {called}")
    return found


def loaded_by(code: str) -> set[str]:
    """Which of `HEAVY` a fresh interpreter has loaded after `code`."""
    program = f"import atexit, sys\natexit.register(lambda: print(*sys.modules, file=sys.stderr))\n{code}"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(HEAVY) & set(result.stderr.splitlines()[-1].split())


def test_each_room_imports_only_from_rooms_above():
    assert violations(SOURCE) == []


def test_nothing_runs_what_it_reads():
    assert unsafe(SOURCE) == []


def test_import_loads_nothing_heavy():
    assert loaded_by("import glassnet; glassnet.__version__") == set()


def test_help_loads_nothing_heavy():
    code = "sys.argv = ['glassnet', '--help']\nfrom glassnet.cli import main\nsys.exit(main())"
    assert loaded_by(code) == set()


def test_the_front_door_opens_to_every_name():
    """What `__getattr__` hands out is what type checkers are told of."""
    door = modules_in(SOURCE)["glassnet"]
    told = [
        alias.asname or alias.name
        for node in ast.walk(ast.parse(door.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "glassnet"
        for alias in node.names
    ]
    assert sorted(told) == sorted(glassnet.__all__)
    for name in glassnet.__all__:
        assert getattr(glassnet, name) is not None


# The checkers themselves, on houses with one fault each.

SOUND = {
    "__init__.py": "",
    "errors.py": "",
    "losses.py": "from glassnet import __version__\nfrom glassnet.errors import UsageError",
    "kernels/__init__.py": "from . import loops\nfrom .. import errors",
    "kernels/loops.py": "def late():\n    from glassnet.losses import LOSSES\n    import numpy.pickle_of_mine",
}


def plant(folder: Path, **files: str) -> Path:
    for name, text in {**SOUND, **files}.items():
        path = folder / "glassnet" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_the_checkers_accept_a_sound_house(tmp_path):
    source = plant(tmp_path)
    assert (violations(source), unsafe(source)) == ([], [])


@pytest.mark.parametrize(
    ("file", "text", "complaint"),
    [
        ("errors.py", "import glassnet.losses", "errors:1: imports glassnet.losses, from a room below"),
        (
            "errors.py",
            "def f():\n  from glassnet import losses",
            "errors:2: imports glassnet.losses, from a room below",
        ),
        ("errors.py", "from .kernels.loops import f", "errors:1: imports glassnet.kernels.loops, from a room below"),
        ("errors.py", "if 0:\n  from . import losses", "errors:2: imports glassnet.losses, from a room below"),
        ("losses.py", "from glassnet import Network", "losses:1: imports through the front door"),
        ("losses.py", "import glassnet.losse", "losses:1: imports glassnet.losse, which is not there"),
        ("kernels/loops.py", "from glassnet import kernels", "a cycle: glassnet.kernels"),
        ("utils.py", "", "glassnet.utils: there is no room 'utils'"),
        ("helpers/utils.py", "", "glassnet.helpers.utils: there is no room 'helpers'"),
    ],
)
def test_a_planted_violation_is_found(tmp_path, file, text, complaint):
    (found,) = violations(plant(tmp_path, **{file: text}))
    assert complaint in found


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("from pickle import loads", "losses:1: imports pickle"),
        ("def f():\n  import joblib", "losses:2: imports joblib"),
        ("f = eval('1')", "losses:1: calls eval"),
        ("exec(open('x').read())", "losses:1: calls exec"),
    ],
)
def test_planted_unsafe_code_is_found(tmp_path, text, complaint):
    (found,) = unsafe(plant(tmp_path, **{"losses.py": text}))
    assert complaint in found


def test_a_heavy_import_is_seen():
    assert "numpy" in loaded_by("import numpy")
    assert "numpy" in loaded_by("import numpy; sys.exit()")
