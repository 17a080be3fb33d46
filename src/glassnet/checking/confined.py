"""The inside of a limited process: gives up what a candidate does not need, then checks one file.

`checking.examination` runs it, `python -P -m glassnet.checking.confined JOB`, in a scratch folder. The result goes, as
JSON, to what was standard output; what the candidate prints goes to standard error, whatever it makes of `sys.stdout`.
Where the process crashes or runs out of time, the lines at which it stood go to the result's place.

This is a fence against accidents and no jail against malice. The limits of time and memory are the system's. What
the file writes, reaches or starts is refused by Python, which tells of it before it is done (`sys.addaudithook`): code
that leaves Python behind (`ctypes`, a compiled extension) is not seen, and the file, in the same process as its
checker, could forge its own verdict. Reading is not limited.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import sys
from dataclasses import replace
from typing import Any

from glassnet.checking.problems import Problem
from glassnet.checking.report import Report
from glassnet.errors import GlassnetError

SCRATCH_BYTES = 64 * 2**20
"""No file that a candidate writes becomes larger."""

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

_PLACES = {
    **dict.fromkeys(("os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod", "os.chown", "os.utime"), 1),
    **dict.fromkeys(("os.setxattr", "os.removexattr", "shutil.rmtree", "sqlite3.connect"), 1),
    **dict.fromkeys(("os.rename", "os.link"), 2),
}
"""What changes places, and how many of its first arguments are the places."""

_PROCESSES = frozenset(
    (
        *("subprocess.Popen", "os.system", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.spawn"),
        *("os.startfile", "pty.spawn", "os.kill", "os.killpg", "resource.setrlimit", "resource.prlimit"),
    )
)
_HARMLESS = frozenset(("socket.gethostname",))


def confine(scratch: str) -> None:
    """Refuse from now on, with a `PermissionError`: writing outside `scratch`, the network, other processes.

    There is no way back: an audit hook stays for as long as the process lives.
    """
    scratch = os.path.realpath(scratch)

    def check_place(path: Any) -> None:
        if isinstance(path, int) or path == ":memory:":  # a file opened before; a database that is no file
            return
        place = os.path.realpath(os.fsdecode(path))
        if place not in (scratch, os.devnull) and not place.startswith(scratch + os.sep):
            raise PermissionError(
                f"a checked file may write only in its working folder, which is made for it and removed; got {place}"
            )

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if flags & _WRITES:
                check_place(path)
        elif event in _PLACES:
            for path in arguments[: _PLACES[event]]:
                check_place(path)
        elif event == "os.symlink":
            check_place(arguments[1])
        elif event in _PROCESSES:
            raise PermissionError(f"a checked file may not start or stop processes, nor change its limits ({event})")
        elif event.startswith("socket.") and event not in _HARMLESS:
            raise PermissionError(f"a checked file may not use the network ({event})")

    sys.addaudithook(hook)


def limit(seconds: float, megabytes: int) -> None:
    """Limits that the system keeps, where it has them: processor time, memory, the size of files; no core dumps."""
    try:
        import resource
    except ImportError:  # Windows: the wall clock, outside, is all there is
        return
    for kind, most in (
        ("RLIMIT_CPU", int(seconds) + 2),
        ("RLIMIT_DATA", megabytes * 2**20),
        ("RLIMIT_FSIZE", SCRATCH_BYTES),
        ("RLIMIT_CORE", 0),
    ):
        with contextlib.suppress(AttributeError, ValueError, OSError):  # not every system knows or grants every one
            resource.setrlimit(getattr(resource, kind), (most, most))


def of_problem(name: str, problem: Problem) -> Report:
    """The report of a file that could not be checked."""
    return Report(name, "error", problem=problem)


def main(job: dict[str, Any]) -> None:
    """Check `job["path"]`, write the result, and end at once, without what the candidate left for the end."""
    result = os.dup(1)
    os.dup2(2, 1)
    sys.argv = [job["path"]]
    sys.dont_write_bytecode = True
    from glassnet.checking import page  # noqa: F401  all that is needed later is loaded before anything is refused
    from glassnet.checking.check import check_file

    faulthandler.enable(result)
    faulthandler.dump_traceback_later(job["seconds"], exit=True, file=result)
    limit(job["seconds"], job["megabytes"])
    confine(os.getcwd())
    try:
        report = check_file(job["path"], conventions=job["conventions"], seed=job["seed"])
    except GlassnetError as problem:  # the file went away, or may not be read
        report = of_problem(job["name"], Problem("nothing", str(problem)))
    title = report.title.removeprefix(os.path.basename(job["path"]))
    report = replace(report, title=job["name"] + title)
    hint = job["hint"]
    answer = {"report": report.to_json(hint), "text": report.text(hint, job["width"]), "html": report.html(hint)}
    told = json.dumps(answer).encode()
    faulthandler.cancel_dump_traceback_later()
    while told:
        told = told[os.write(result, told) :]
    os._exit(0)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
