"""`glassnet check`: a learner's file, or a folder of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from glassnet.cli.options import JSON, number
from glassnet.cli.output import WRONG, json_text, progress, say, width
from glassnet.errors import NoInputError, UsageError, did_you_mean

if TYPE_CHECKING:
    from glassnet.checking.examination import Limits


@click.command()
@click.argument("path", required=False, metavar="FILE|FOLDER")
@click.option(
    "--hint", default="full", metavar="HOW", show_default=True, help="How much is said: none, where, name or full."
)
@click.option("--conventions", metavar="LINE", help="What is not detected: layout=columns, output=softmax, ...")
@number("--seed", 0, "Of the generated networks and data.")
@click.option("--template", is_flag=True, help="Print a file to fill in.")
@click.option("--example", metavar="FORM", help="Print one of: functions, function, object, notebook, layers.")
@click.option(
    "--html", is_flag=True, help="Of a file: the report as a page, with the network, what is wrong in it lit."
)
@click.option("-o", "--output", metavar="MARKS.csv", help="Of a folder: a row for every file.")
@click.option("--pages", metavar="FOLDER", help="Of a folder: a page for every file, and an index.")
@number("--timeout", 20, "Seconds that a file may take.", metavar="SECONDS", kind=float, least=1)
@number("--memory", 1024, "Memory that a file may take.", metavar="MEGABYTES", least=256)
@JSON
def check(
    path: str | None,
    hint: str,
    conventions: str | None,
    seed: int,
    template: bool,
    example: str | None,
    html: bool,
    output: str | None,
    pages: str | None,
    timeout: float,
    memory: int,
    as_json: bool,
) -> None:
    """Is your own backpropagation right, and if not, what is wrong? Exit status 1 where it is not.

    \b
    glassnet check --template > mine.py
    glassnet check mine.py
    glassnet check mine.py --hint where
    glassnet check mine.py --conventions "layout=columns, output=softmax"
    glassnet check mine.py --html > report.html
    glassnet check submissions -o marks.csv --pages marks

    FILE holds functions forward, loss, backward, update; or one function gradients; or a class with such methods, the
    notebook's among them; or layers. --example FORM prints ten lines of each. Conventions, a sum or a mean,
    (n_in, n_out) or (n_out, n_in), rows or columns, are detected. FOLDER: every .py file in it and in its folders.
    Each file runs in a process of its own with limits of time and memory; it may write in a scratch folder only, and
    the network and other programs are refused. That stops accidents, not malice: check a stranger's where it can do
    no harm.
    """
    if template or example is not None:
        click.echo(_candidate_text(example), nl=False)
        return
    if path is None:
        raise UsageError(
            "check takes a FILE of Python or a FOLDER of them; got none. --template prints one to fill in."
        )
    from glassnet.checking.examination import Limits, examine
    from glassnet.checking.protocol import declared
    from glassnet.checking.records import HINTS

    if hint not in HINTS:
        raise UsageError(f"--hint is one of {', '.join(HINTS)}; got {hint!r}.{did_you_mean(hint, HINTS)}")
    if conventions is not None:
        declared(conventions)
    limits = Limits(timeout, memory)
    if os.path.isdir(path):
        if html:
            raise UsageError("--html is the page of one file; --pages FOLDER writes those of a folder.")
        ok = _mark(path, hint, conventions, seed, limits, output, pages, as_json)
    else:
        if output is not None or pages is not None:
            raise UsageError(
                "-o and --pages are for the marks of a FOLDER; --html and --json print the report of a file."
            )
        if html and as_json:
            raise UsageError("A report is printed in one form; got --json and --html. Leave one of them out.")
        if not os.path.exists(path):
            raise NoInputError(f"There is no file {path}. Name a file of Python, or a folder of them.")
        (found,) = examine([path], hint=hint, conventions=conventions, seed=seed, limits=limits, width=width())
        click.echo(json_text(found.to_json()) if as_json else found.html if html else found.text, nl=not html)
        ok = found.verdict == "right"
    if not ok:
        click.get_current_context().exit(WRONG)


def _candidate_text(form: str | None) -> str:
    from glassnet.checking.examples import EXAMPLES
    from glassnet.checking.template import template

    if form is None:
        return template()
    if form not in EXAMPLES:
        raise UsageError(f"--example is one of {', '.join(EXAMPLES)}; got {form!r}.{did_you_mean(form, EXAMPLES)}")
    return EXAMPLES[form].lstrip()


def _mark(
    path: str,
    hint: str,
    conventions: str | None,
    seed: int,
    limits: Limits,
    output: str | None,
    pages: str | None,
    as_json: bool,
) -> bool:
    from glassnet.checking.marks import make_folder, mark, submissions
    from glassnet.persistence import check_writable, write_atomically

    if output is not None:
        if output.lower().endswith(".py"):
            raise UsageError(f"-o is the file of the marks, MARKS.csv say; {output} looks like one that is checked.")
        check_writable(output)
    if pages is not None:
        make_folder(pages)
    with progress(len(submissions(path)[0]), "files") as advance:
        marks = mark(path, hint=hint, conventions=conventions, seed=seed, limits=limits, progress=advance)
    if marks.left_out:
        from glassnet.cells import listed

        say(f"left out, for they do not end in .py: {listed(marks.left_out)}")
    if output is not None:
        write_atomically(output, marks.csv().encode())
    if pages is not None:
        marks.write_pages(pages)
    click.echo(json_text(marks.to_json()) if as_json else marks.text())
    return marks.ok
