"""`glassnet derive` as a stranger uses it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import glassnet as gn
from glassnet.derivations.derived import derive

TABLE = {"dose µ": [0.0, 1.0, 2.0, 3.0], "ill": ["no", "no", "yes", "yes"]}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("derive") / "ill.safetensors"
    gn.save(gn.fit(TABLE, "ill", hidden=(2,), epochs=3, starts=1, test_size=None, optimizer=gn.SGD(0.3)).model, path)
    return path


def said(*arguments: object, columns: int = 100) -> subprocess.CompletedProcess[str]:
    """One call of the command line, on a terminal of that width."""
    command = [sys.executable, "-m", "glassnet", "derive", *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": str(columns)}
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=environment, timeout=60)


def test_what_is_printed_is_what_the_library_gives(model: Path) -> None:
    derivation = derive(gn.load(model))
    one = derivation.only("w1_1_2")
    assert said(model).stdout == derivation.text(width=100) + "\n"
    assert said(model, "--matrix", columns=60).stdout == derivation.text("matrix", 60) + "\n"
    assert said(model, "--only", "w1_1_2").stdout == one.text(width=100) + "\n"
    assert said(model, "--latex", "--matrix").stdout == "".join(derivation.latex_document("matrix"))
    assert said(model, "--mathml", "--only", "w1_1_2").stdout == "".join(one.html())
    assert json.loads(said(model, "--json", "--only", "w1_1_2").stdout) == one.to_json()
    assert "learning_rate <- 0.3" in said(model).stdout


def test_a_narrow_terminal(model: Path) -> None:
    lines = said(model, columns=20).stdout.splitlines()
    assert max(map(len, lines)) <= 40  # the narrowest that lines are broken for


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--latex", "--json"], ["one way at a time", "--latex and --json"]),
        (["--mathml", "--kernel"], ["one way at a time", "--mathml and --kernel"]),
        (["--kernel", "--only", "p"], ["--kernel is the code of a whole training"]),
        (["--only", "w1_1_9"], ["j of w1_i_j runs from 1 to 2", "w1_1_9"]),
        (["--only", "delt1_1"], ["'delt1_1'", "Did you mean 'delta1_1'"]),
        (["--only", "dose µ"], ["dose µ is given, not computed", "x1 is computed from it"]),
    ],
)
def test_a_mistake_is_one_message(model: Path, arguments: list[str], parts: list[str]) -> None:
    done = said(model, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("glassnet: ")
    assert done.stderr.count("\n") == 1
    assert all(part in done.stderr for part in parts)


def test_help_teaches_with_examples() -> None:
    done = said("--help", columns=80)
    assert done.stdout.index("glassnet derive tumor.safetensors --only w1_1_2") < done.stdout.index("Options:")
    assert max(map(len, done.stdout.splitlines())) <= 82


def test_a_reader_that_leaves_early_is_no_error(model: Path) -> None:
    command = f"{sys.executable} -m glassnet derive {model} | head -1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("encode\n", "")
