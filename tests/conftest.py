"""What all tests share: the data beside the checkout, a kernel cache, and the rule about skipped tests.

Kernels are kept in a folder of the test session's own, which its processes share: no test depends on, or leaves
anything in, the cache of whoever runs it.

A skipped test proves nothing. Where `CI` is `true` a run fails for every skip that `allowed_skips.txt` does not
name with its reason; elsewhere it only says so.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# No test is timed: the first example of a test pays for imports, and machines are shared.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# A shell's background process, and all that it starts, ignores Ctrl-C: tests of it would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

HERE = Path(__file__).parent
_unlisted = pytest.StashKey[list[str]]()
_kernels = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Give the session a kernel cache; the workers of pytest-xdist inherit the controller's."""
    if not hasattr(config, "workerinput"):
        config.stash[_kernels] = os.environ["GLASSNET_CACHE"] = tempfile.mkdtemp(prefix="glassnet-tests-")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the kernel cache."""
    if _kernels in config.stash:
        shutil.rmtree(config.stash[_kernels], ignore_errors=True)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of the larger data files, which the package does not ship; without it the test is skipped."""
    folder = HERE.parents[1] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the larger data files are not beside this checkout (../shared/data)")
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, for the tests of one file."""
    from playwright.sync_api import sync_playwright
    from tests.browsing import launched

    with sync_playwright() as playwright:
        one = launched(playwright)
        yield one
        one.close()


def allowed_skips(text: str) -> list[re.Pattern[str]]:
    """The node-id patterns of `allowed_skips.txt`; `*` stands for anything, and every line has a reason."""
    patterns = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        pattern, separator, reason = line.partition(" # ")
        if not separator or not reason.strip():
            raise pytest.UsageError(f"allowed_skips.txt, line {number}: write 'node id # reason'; got {line!r}.")
        patterns.append(re.compile(re.escape(pattern.strip()).replace(r"\*", ".*")))
    return patterns


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Collect the skips that are not on the list, and in CI end with a failure for them.

    With pytest-xdist this runs in the workers too, which report to nobody; the controller has every report.
    """
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or hasattr(session.config, "workerinput"):
        return
    allowed = allowed_skips((HERE / "allowed_skips.txt").read_text(encoding="utf-8"))
    skipped = [report.nodeid for report in reporter.stats.get("skipped", ())]
    unlisted = [nodeid for nodeid in skipped if not any(pattern.fullmatch(nodeid) for pattern in allowed)]
    session.config.stash[_unlisted] = unlisted
    if unlisted and os.environ.get("CI") == "true" and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name the skips that are not on the list."""
    for nodeid in config.stash.get(_unlisted, []):
        terminalreporter.write_line(f"not in tests/allowed_skips.txt: {nodeid} was skipped", yellow=True)
