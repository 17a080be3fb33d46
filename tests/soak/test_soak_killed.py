"""A thousand trainings killed with SIGKILL at random moments: those that end have the bits of undisturbed ones."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(os.name != "posix", reason="a process is killed alone on POSIX"),
]

KILLED = Path(__file__).parents[1] / "killed.py"
JOBS = ("all rows", "batches", "patience", "numpy", "lbfgs", "population")
PARTS = 6  # of each job, so that workers share the whole evenly
KILLS = 28  # in each part: 1,008 in all


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("job", JOBS)
def test_a_thousand_kills(job: str, part: int, tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-W", "error", str(KILLED), job, str(tmp_path), str(KILLS), str(part)],
        capture_output=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, text=True,
    )  # fmt: skip
    assert (found.returncode, found.stderr) == (0, "")
    n_killed, n_trained = map(int, found.stdout.split())
    assert n_killed >= KILLS
    assert n_trained > 1
