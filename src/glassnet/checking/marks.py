"""A folder of files, all checked: marks as CSV, a page for every file, and an index with what the class got wrong."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from glassnet.cells import counted, listed, not_a_formula
from glassnet.checking.examination import DEFAULT_LIMITS, Examined, Limits, examine
from glassnet.checking.page import VERDICTS, whole_page
from glassnet.errors import CannotWriteError, NoInputError
from glassnet.expressions import readable
from glassnet.persistence import write_atomically

_COLUMNS = {
    "none": ("file", "verdict"),
    "where": ("first_wrong", "where"),
    "name": ("mistake", "name"),
    "full": ("sentence", "read_as"),
}
"""Columns that each hint adds to those before it; `problem`, `line` and `seconds` follow."""


@dataclass(frozen=True)
class Marks:
    """What came of every file of a folder, by name; `left_out`: names of files that are not Python's.

    A name is the path below the folder, in which what is not text is written as `\\udcff`.
    """

    folder: str
    hint: str
    results: dict[str, Examined]
    left_out: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether every file is right."""
        return all(result.verdict == "right" for result in self.results.values())

    @property
    def counts(self) -> dict[str, int]:
        """Files by verdict."""
        found = Counter(result.verdict for result in self.results.values())
        return {verdict: found[verdict] for verdict in VERDICTS}

    def rows(self) -> Iterator[dict[str, str]]:
        """The table of marks: a dict of texts, a line each, for every file; without what `hint` keeps back."""
        columns = [name for hint in _upto(self.hint) for name in _COLUMNS[hint]] + ["problem", "line", "seconds"]
        for name, result in self.results.items():
            first, problem = result.report.get("first") or {}, result.report.get("problem") or {}
            mistakes, conventions = result.report.get("mistakes") or (), result.report.get("conventions") or {}
            cells = {
                "file": name,
                "verdict": result.verdict,
                "first_wrong": first.get("quantity"),
                "where": _where(first),
                "mistake": "; ".join(mistake["key"] for mistake in mistakes) or ("unknown" if first else None),
                "name": "; ".join(mistake["name"] for mistake in mistakes),
                "sentence": " ".join(mistake.get("sentence", "") for mistake in mistakes),
                "read_as": ", ".join(f"{key} {value}" for key, value in conventions.items()),
                "problem": problem.get("message"),
                "line": problem.get("line"),
                "seconds": f"{result.seconds:.2f}",
            }
            yield {column: "" if (cell := cells[column]) is None else readable(str(cell), 10_000) for column in columns}

    def csv(self) -> str:
        """The table with a header. A text that a spreadsheet would run as a formula stands behind an apostrophe."""
        rows = list(self.rows())
        written = io.StringIO()
        writer = csv.writer(written, lineterminator="\n")
        writer.writerow(rows[0])
        writer.writerows([not_a_formula(cell) for cell in row.values()] for row in rows)
        return written.getvalue()

    def to_json(self) -> dict[str, Any]:
        """Plain data: `ok`, `folder`, `counts`, `left_out`, and `files` with the report of each."""
        files = [{"file": name, **result.to_json()} for name, result in self.results.items()]
        about = {"ok": self.ok, "folder": _as_text(self.folder), "counts": self.counts}
        return {**about, "left_out": list(self.left_out), "files": files}

    def text(self) -> str:
        """A line for every file that is not right, and the counts."""
        wide = max((len(readable(name)) for name in self.results), default=0)
        lines = []
        for row in self.rows():
            if row["verdict"] != "right":
                lines.append(
                    f"{readable(row['file']):<{wide}}  {row['verdict']:<5}  {readable(_what(row), 200)}".rstrip()
                )
        return "\n".join([*lines, *([""] if lines else []), self.summary()])

    def summary(self) -> str:
        """The counts in a sentence."""
        counts = ", ".join(
            f"{n} {'not checked' if verdict == 'error' else verdict}" for verdict, n in self.counts.items()
        )
        return f"{counted(len(self.results), 'file')}: {counts}"

    def write_pages(self, folder: str) -> None:
        """`index.html` and a page for every file, each written whole or not at all."""
        make_folder(folder)
        for name, result in self.results.items():
            write_atomically(os.path.join(folder, page_name(name)), _bytes(result.html))
        write_atomically(os.path.join(folder, "index.html"), _bytes(self.index()))

    def index(self) -> str:
        """The page with all files, and the mistakes of the class by how often they were made."""
        mistakes = Counter(
            mistake["name"] for result in self.results.values() for mistake in result.report.get("mistakes") or ()
        )
        parts = [f"<h1>{escape(self.summary())}</h1>\n"]
        if mistakes:
            parts.append("<h2>Mistakes, the most frequent first</h2>\n")
            parts.append(_table("", [(escape(name), f"{n:,}") for name, n in mistakes.most_common()]))
        parts.append("<h2>Files</h2>\n")
        head = "<tr><th>file</th><th>verdict</th><th>what</th></tr>"
        lines = []
        for name, row in zip(self.results, self.rows(), strict=True):
            link = f'<a href="{page_name(name)}">{escape(row["file"])}</a>'
            verdict = f'<span class="{row["verdict"]}">{VERDICTS[row["verdict"]]}</span>'
            lines.append((link, verdict, escape(_what(row))))
        parts.append(_table(head, lines))
        if self.left_out:
            parts.append(
                f'<p class="muted">Left out, for they do not end in .py: {escape(listed(self.left_out))}</p>\n'
            )
        return whole_page(f"Marks: {self.summary()}", "".join(parts))


def mark(
    folder: str,
    *,
    hint: str = "full",
    conventions: str | None = None,
    seed: int = 0,
    limits: Limits = DEFAULT_LIMITS,
    progress: Callable[[int], None] | None = None,
) -> Marks:
    """Every `.py` file in a folder and the folders in it, checked. `progress` hears how many are done.

    Hidden folders and those named `__...` are left out, links to folders are not followed.
    Raises NoInputError: there is no such file.
    """
    python, others = submissions(folder)
    if not python:
        without = f"; there is {listed(map(_as_text, others), 3)}" if others else ""
        raise NoInputError(f"A folder to check holds .py files; {readable(folder)} has none{without}.")
    results = examine(
        [os.path.join(folder, name) for name in python],
        names=[readable(_as_text(name), 200) for name in python],
        hint=hint,
        conventions=conventions,
        seed=seed,
        limits=limits,
        progress=progress,
    )
    named = dict(zip(map(_as_text, python), results, strict=True))
    return Marks(folder, hint, named, tuple(map(_as_text, others)))


def submissions(folder: str) -> tuple[list[str], list[str]]:
    """The paths below a folder of its `.py` files, and of all others, each in order of their names."""
    python: list[str] = []
    others: list[str] = []
    for here, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "__"))]
        for name in files:
            if not name.startswith("."):
                path = os.path.relpath(os.path.join(here, name), folder)
                (python if name.lower().endswith(".py") else others).append(path)
    return sorted(python), sorted(others)


def make_folder(folder: str) -> None:
    """Make the folder of the pages, where there is none. Raises CannotWriteError: it cannot be made."""
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as problem:
        raise CannotWriteError(f"{folder}: cannot be made: {problem.strerror}. Name another folder.") from problem


def page_name(name: str) -> str:
    """The file name of a page: letters, digits and signs that mean nothing anywhere, and the same in every run.

    >>> page_name("anna/gradients.py"), page_name("=<b>.py")
    ('anna-gradients-py-b16c344b.html', 'b-py-fd41130b.html')
    """
    plain = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:60]
    return f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}.html"


def _upto(hint: str) -> Iterator[str]:
    for name in _COLUMNS:
        yield name
        if name == hint:
            return


def _where(first: dict[str, Any]) -> str | None:
    if not first:
        return None
    row = "" if first.get("row") is None else f", row {first['row']}"
    return f"{first['name']}{row}"


def _what(row: dict[str, str]) -> str:
    """What is wrong with a file, in one line, as far as the table has it."""
    if row["problem"]:
        return row["problem"]
    named = row.get("name") or ("no mistake that is known" if row.get("mistake") else "")
    return ": ".join(part for part in (row.get("where"), named) if part)


def _table(head: str, rows: Iterable[Sequence[str]]) -> str:
    lines = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>\n" for row in rows)
    return f'<div class="scroll"><table>{head}\n{lines}</table></div>\n'


def _as_text(path: str) -> str:
    """A path as text that can be written anywhere: bytes that are no text become `\\udcff`."""
    return path.encode("utf-8", "backslashreplace").decode()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
