"""What is wrong with a candidate before its numbers can be compared, in a beginner's terms, with the line."""

from __future__ import annotations

import linecache
import sysconfig
import traceback
from dataclasses import dataclass
from typing import Any

import numpy as np

from glassnet.checking.cases import Case
from glassnet.expressions import readable

KINDS = (
    "raises", "syntax", "not-python", "nothing", "argument", "shape", "nan", "integers", "list", "changed-arguments",
)  # fmt: skip


@dataclass(frozen=True)
class Problem:
    """`kind` of `KINDS`, what to say, and the line of the candidate's file where there is one."""

    kind: str
    message: str
    line: int | None = None
    source_line: str | None = None


class FailedError(Exception):
    """A candidate could not be run; `problem` says why, `reached` how many quantities there were before."""

    reached = 0

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


MEANINGS: dict[type[BaseException], str] = {
    NameError: "It uses a name that does not exist at this place.",
    KeyError: "It looks something up in a dict under a name that is not there.",
    IndexError: "It looks beyond the end of a list or an array.",
    ZeroDivisionError: "It divides by zero.",
    AttributeError: "It asks for a part that the value does not have.",
    RecursionError: "It calls itself without an end.",
    ImportError: "It imports what is not installed here.",
    NotImplementedError: "This part is not written yet.",
    FileNotFoundError: "It opens a file that is not here. Code that trains or reads data belongs under "
    "`if __name__ == '__main__':`.",
    MemoryError: "It takes more memory than a checked file may: glassnet check --memory gives it more.",
    SystemExit: "It ends the program.",
}
_IN_SHORT = 300
LIBRARIES = tuple({sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")})


def raised(what: str, error: BaseException, case: Case | None = None) -> Problem:
    """An exception out of `what` ("forward", "the file"), with the last line of the candidate's own that it passed."""
    frames = traceback.StackSummary.extract(traceback.walk_tb(error.__traceback__), lookup_lines=False)
    own = [frame for frame in frames if "glassnet" not in frame.filename.split("/")]
    own = [frame for frame in own if not frame.filename.startswith((*LIBRARIES, "<"))]
    own = [frame for frame in own if "site-packages" not in frame.filename]
    line = own[-1].lineno if own else None
    text = own[-1].line if own else None
    said = readable(str(error), most=_IN_SHORT)
    meaning = next((words for kind, words in MEANINGS.items() if isinstance(error, kind)), "")
    if isinstance(error, ValueError) and any(word in said for word in ("shape", "broadcast", "align", "dimension")):
        sizes = f" with sizes {'-'.join(map(str, case.sizes))} and {case.n} rows" if case else ""
        meaning = f"Two arrays do not fit together, here in a network{sizes}: print their shapes before this line."
    message = f"{what} raises {type(error).__name__}" + (f": {said}." if str(error) else ".")
    return Problem("raises", f"{message.replace('..', '.')} {meaning}".strip(), line, text)


def not_numbers(what: str, value: Any) -> Problem | None:
    """The problem of a value that is no array of finite numbers, or None."""
    try:
        array = np.asarray(value)
    except ValueError:
        return Problem("list", f"{what} is a list whose rows have different lengths; it should be an array.")
    if array.dtype == object or array.dtype.kind not in "biuf":
        return Problem("list", f"{what} should be an array of numbers; it is {_described(value)}.")
    return None


def _described(value: Any) -> str:
    return f"a {type(value).__name__}, {readable(repr(value), most=60)}"


def source_of(path: str, line: int | None) -> str | None:
    """A line of a file, without its indentation."""
    return linecache.getline(path, line).strip() or None if line else None
