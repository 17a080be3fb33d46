"""Files of others, each checked in a limited process of its own; several at once."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import IO, Any

from glassnet.checking.confined import of_problem
from glassnet.checking.problems import Problem
from glassnet.expressions import readable

MOST_PRINTED = 20_000
"""Bytes that are kept of what a process prints; the rest is read and dropped."""

MOST_TOLD = 64 * 2**20
"""Bytes that are kept of a result; a report has far fewer."""

_PASSED_ON = ("PATH", "PYTHONHOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG", "LC_ALL", "SYSTEMROOT")
_PATIENCE = 10.0  # seconds beyond a file's own: to start Python, and to tell where the file stood


@dataclass(frozen=True)
class Limits:
    """What one file may use: seconds, megabytes of memory."""

    seconds: float = 20.0
    megabytes: int = 1024


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class Examined:
    """What came of one file: `report` as `Report.to_json` has it, the same as text and as a page.

    `seconds`: of the whole process, Python's start included.
    """

    path: str
    report: dict[str, Any]
    text: str
    html: str
    seconds: float

    @property
    def verdict(self) -> str:
        """right, wrong or error."""
        verdict: str = self.report["verdict"]
        return verdict

    def to_json(self) -> dict[str, Any]:
        """The report's keys, and `seconds`."""
        return {**self.report, "seconds": self.seconds}


def examine(
    paths: Sequence[str],
    *,
    names: Sequence[str] | None = None,
    hint: str = "full",
    conventions: str | None = None,
    seed: int = 0,
    limits: Limits = DEFAULT_LIMITS,
    width: int = 100,
    progress: Callable[[int], None] | None = None,
) -> list[Examined]:
    """Every file checked, in the order given, as many side by side as there are cores.

    `names`: what the files are called in their reports, their own names where left out. Whatever a file does, the
    others are checked. Interrupted, all processes are ended.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    job = {"hint": hint, "conventions": conventions, "seed": seed, "width": width}
    running: set[subprocess.Popen[bytes]] = set()
    with ThreadPoolExecutor(cores) as pool:
        called = [os.path.basename(path) for path in paths] if names is None else names
        waiting = [
            pool.submit(_examined, path, {**job, "name": name}, limits, running)
            for path, name in zip(paths, called, strict=True)
        ]
        try:
            for done, _ in enumerate(as_completed(waiting), start=1):
                if progress is not None:
                    progress(done)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(running):
                _end(process)
            raise
    return [future.result() for future in waiting]  # in the order of `paths`


def _examined(path: str, job: dict[str, Any], limits: Limits, running: set[subprocess.Popen[bytes]]) -> Examined:
    told = {**job, "path": os.path.abspath(path), "seconds": limits.seconds, "megabytes": limits.megabytes}
    begun = time.monotonic()
    if os.path.isfile(path):
        result, printed, status = _run(told, running)
        answer = _answer(result, printed, told, limits, status)
    else:
        said = "This is no file that can be read: a link that leads nowhere, or something that is not a file."
        answer = _of_problem(told, Problem("nothing", said))
    return Examined(
        path=path,
        seconds=time.monotonic() - begun,
        report=answer["report"],
        text=answer["text"],
        html=answer["html"],
    )


def _run(told: dict[str, Any], running: set[subprocess.Popen[bytes]]) -> tuple[str, str, int | None]:
    """One process: its result, what it printed, and its status, None where it had to be ended."""
    with tempfile.TemporaryDirectory(prefix="glassnet-check-", ignore_cleanup_errors=True) as scratch:
        _lend_fonts(scratch)
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "glassnet.checking.confined", json.dumps(told)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=scratch,
            env=_environment(scratch),
            start_new_session=True,
        )
        running.add(process)
        try:
            result, printed = _Kept(process.stdout, MOST_TOLD), _Kept(process.stderr, MOST_PRINTED)
            status = process.wait(told["seconds"] + _PATIENCE)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            _end(process)  # and whatever it started
            running.discard(process)
        return result.close(), printed.close(), status


def _environment(scratch: str) -> dict[str, str]:
    """Nothing secret that stands in ours; homes and temporary folders are the scratch folder; one thread each."""
    import site

    passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    if os.environ.get("PYTHONPATH"):  # seen from the scratch folder, a relative one would be another
        passed["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, os.environ["PYTHONPATH"].split(os.pathsep)))
    homes = dict.fromkeys(("HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP", "MPLCONFIGDIR"), scratch)
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    own = {"PYTHONUSERBASE": site.getuserbase(), "PYTHONIOENCODING": "utf-8", "PYTHONHASHSEED": "0"}
    own |= {"PYTHONUNBUFFERED": "1", "MPLBACKEND": "agg"}
    return {**passed, **homes, **threads, **own}


def _lend_fonts(scratch: str) -> None:
    """What matplotlib knows of this machine's fonts: to find them anew can take longer than a file may."""
    for folder in ("~/.cache/matplotlib", "~/.matplotlib"):
        for known in glob.glob(os.path.join(os.path.expanduser(folder), "fontlist-*.json")):
            with contextlib.suppress(OSError):
                shutil.copy(known, scratch)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and all of its group, and wait for it."""
    try:
        os.killpg(process.pid, signal.SIGKILL)  # its group outlives it while anything that it started lives
    except (AttributeError, OSError):  # Windows has no groups; or there is nothing left to kill
        process.kill()
    process.wait()


class _Kept:
    """A thread that reads a stream to its end, so that nobody has to wait, and keeps the first bytes."""

    def __init__(self, stream: IO[bytes] | None, most: int) -> None:
        assert stream is not None
        self._stream, self._most = stream, most
        self._bytes = bytearray()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while chunk := os.read(self._stream.fileno(), 65536):
            self._bytes += chunk[: self._most - len(self._bytes)]

    def close(self) -> str:
        """What was kept, after the end; which is not waited for for ever, should something that escaped hold on."""
        self._thread.join(2)
        if not self._thread.is_alive():
            self._stream.close()
        return bytes(self._bytes).decode("utf-8", "replace")


# --- where there is no report ---------------------------------------------------------------------------------------


def _answer(result: str, printed: str, told: dict[str, Any], limits: Limits, status: int | None) -> dict[str, Any]:
    """What the process told; where it did not come to that, a report of what became of it."""
    with contextlib.suppress(ValueError):
        answer: dict[str, Any] = json.loads(result)
        return answer
    line = _stood_at(result, told["path"])
    hangs = status is None or result.startswith("Timeout") or status == -getattr(signal, "SIGXCPU", 0)
    said = _what_became(status or 0, hangs, printed, limits, "" if line is None else f" It stood at line {line}.")
    source = _source_line(told["path"], line)
    return _of_problem(told, Problem("hangs" if hangs else "crashes", said, line, source))


def _of_problem(told: dict[str, Any], problem: Problem) -> dict[str, Any]:
    report, hint = of_problem(told["name"], problem), told["hint"]
    return {"report": report.to_json(hint), "text": report.text(hint, told["width"]), "html": report.html(hint)}


def _what_became(status: int, hangs: bool, printed: str, limits: Limits, at: str) -> str:
    named = signal.Signals(-status).name if -status in set(signal.Signals) else ""
    if hangs and not at:
        return f"The check did not come to an end within {limits.seconds:g} seconds. --timeout gives it more."
    if hangs:
        return (
            f"The file did not come to an end within {limits.seconds:g} seconds.{at} A loop that never ends? "
            "Training, plots and input() belong under if __name__ == '__main__':, where the check does not run them."
        )
    if named == "SIGKILL":
        return f"The system ended the process, most likely because it took too much memory.{at}"
    if named:
        return (
            f"Python itself crashed ({named}).{at} Plain Python and NumPy cannot do that: look at ctypes, "
            "compiled extensions, or a function that calls itself without end."
        )
    if status == 1 and printed.lstrip().startswith("Traceback"):
        return f"The check itself failed: {readable(printed.rstrip().splitlines()[-1], 200)}. Please report it."
    return (
        f"The file ended Python before it was checked (status {status}).{at} "
        "Leave exit(), quit() and os._exit() out of it."
    )


def _stood_at(traceback: str, path: str) -> int | None:
    """The innermost line of the file in a traceback of `faulthandler`, which writes names in ASCII."""
    escaped = "".join(c if " " <= c <= "~" else _escape(ord(c)) for c in path)
    found = re.search(rf'File "{re.escape(escaped)}", line (\d+)', traceback)
    return int(found[1]) if found else None


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _source_line(path: str, line: int | None) -> str | None:
    if line is None:
        return None
    import linecache

    return linecache.getline(path, line).strip() or None
