"""The rule about skipped tests, held against small test folders of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SKIPPING = """
import pytest

def test_runs():
    pass

@pytest.mark.parametrize("case", [1, 2])
def test_skips(case):
    pytest.skip("for no good reason")
"""
SKIPPED_AS_A_WHOLE = 'import pytest\npytest.importorskip("no_module_of_this_name")\n'


def run(folder: Path, allowed: str, *, ci: bool, workers: int, module: str = SKIPPING) -> tuple[int, str]:
    shutil.copy(Path(__file__).with_name("conftest.py"), folder)
    (folder / "allowed_skips.txt").write_text(allowed)
    (folder / "test_them.py").write_text(module)
    (folder / "test_other.py").write_text("def test_other():\n    pass\n")
    (folder / "pytest.ini").write_text("[pytest]\n")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    kept["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # only for speed
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "xdist.plugin", "-n", str(workers), "."],
        cwd=folder,
        env=kept | {"CI": "true" if ci else ""},
        capture_output=True,
        text=True,
        check=False,
    )
    return result.returncode, result.stdout + result.stderr


@pytest.mark.parametrize("workers", [0, 1])
def test_ci_fails_on_a_skip_that_is_not_listed(tmp_path, workers):
    status, output = run(tmp_path, "test_them.py::test_skips[2] # x\n", ci=True, workers=workers)
    assert status == 1
    assert "not in tests/allowed_skips.txt: test_them.py::test_skips[1] was skipped" in output
    assert "test_skips[2] was skipped" not in output
    assert "2 passed, 2 skipped" in output


def test_a_module_skipped_as_a_whole_counts(tmp_path):
    status, output = run(tmp_path, "", ci=True, workers=1, module=SKIPPED_AS_A_WHOLE)
    assert (status, "test_them.py was skipped" in output) == (1, True)


def test_listed_skips_pass(tmp_path):
    status, output = run(tmp_path, "# why\n\ntest_them.py::test_skips[*] # needs a purpose\n", ci=True, workers=1)
    assert (status, "was skipped" in output) == (0, False)


def test_elsewhere_they_are_only_named(tmp_path):
    status, output = run(tmp_path, "", ci=False, workers=0)
    assert (status, "test_skips[2] was skipped" in output) == (0, True)


def test_a_line_without_a_reason_is_refused(tmp_path):
    status, output = run(tmp_path, "test_them.py::*\n", ci=True, workers=0)
    assert status != 0
    assert "line 1: write 'node id # reason'" in output
