"""What comes out of a command: data on stdout, messages and progress on stderr, files, an exit status."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import click

from glassnet.errors import CannotWriteError, UsageError

WRONG = 1  # the exit status where something was checked and found wrong


def say(message: str) -> None:
    """A message, on stderr."""
    click.echo(f"glassnet: {message}", err=True)


def width() -> int:
    """Of the terminal, in columns; 100 where there is none."""
    import shutil

    return max(40, shutil.get_terminal_size((100, 24)).columns)


def print_lines(lines: Iterator[str]) -> None:
    """Line after line, some thousands at a time: a large network has a million."""
    while some := list(itertools.islice(lines, 4096)):
        click.echo("\n".join(some))


def json_text(value: Any) -> str:
    """JSON that every reader takes: an undefined metric is null."""
    import json

    from glassnet.model import plain

    return json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False)


def figure(value: float) -> str:
    """Four digits, but no exponent for the sums of money that regressions are often about."""
    if value != value:
        return "undefined"
    return f"{value:.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"


@contextlib.contextmanager
def progress(total: int, what: str) -> Iterator[Callable[[int], None] | None]:
    """A bar on stderr, on a terminal only, for what takes more than a second."""
    if not sys.stderr.isatty():
        yield None
        return
    import time

    from rich.console import Console
    from rich.progress import Progress

    begun = time.monotonic()
    with Progress(console=Console(stderr=True), transient=True, disable=False, auto_refresh=False) as bar:
        task = bar.add_task(what, total=total, visible=False)

        def advance(done: int) -> None:
            bar.update(task, completed=done, visible=time.monotonic() - begun > 1, refresh=True)

        yield advance


def check_output(path: str, data: str, what: str, read: str = "data") -> None:
    """Refuse an output that cannot be written, or is what is read, before the work is done, not after it."""
    from glassnet.persistence import check_writable

    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise CannotWriteError(f"{path} cannot be written: there is no folder {folder}. Make it first.")
    if os.path.realpath(path) == os.path.realpath(data):
        raise UsageError(f"The {what} must not take the place of the {read}; {path} is both. Name another file.")
    check_writable(path)
