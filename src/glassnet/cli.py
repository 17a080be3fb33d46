"""The command line: parse, call, print. Data go to stdout, messages to stderr; a user's mistake is one message."""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import json
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

import click

from glassnet import __version__
from glassnet.errors import CannotWriteError, GlassnetError, NoInputError, UsageError, did_you_mean

if TYPE_CHECKING:
    from glassnet.checking.examination import Limits
    from glassnet.model import Fitted, Model
    from glassnet.optimizers import LBFGS, Optimizer
    from glassnet.tables import Table

WRONG = 1
INTERRUPTED = 130
TERMINATED = 143


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its status.

    0 done, 1 checked and found wrong, 2 usage, 65 bad data, 66 no input, 73 cannot write, 130 interrupted, 143
    terminated by SIGTERM, which ends things as Ctrl-C does.
    """
    terminated: list[int] = []

    def note(number: int, frame: object) -> NoReturn:
        terminated.append(number)
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        before = signal.signal(signal.SIGTERM, note)
        try:
            status = _status(arguments)
        finally:
            signal.signal(signal.SIGTERM, before)
    else:
        status = _status(arguments)
    sys.exit(TERMINATED if terminated and status == INTERRUPTED else status)


def _status(arguments: list[str] | None) -> int:
    """Run the command line; the exit status."""
    if sys.stdout is None:  # closed by whoever called
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  for as long as the process lives
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # What is read is UTF-8, so what is written is, whatever the platform's habit for pipes.
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        status = commands.main(arguments, prog_name="glassnet", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as shown:
        click.echo(shown.format_message())
        status = 2
    except click.UsageError as problem:
        where = problem.ctx.command_path if problem.ctx else "glassnet"
        _say(f"{problem.format_message().rstrip('.')}. See {where} --help.")
        status = 2
    except GlassnetError as problem:
        _say(str(problem))
        status = problem.exit_status
    except (KeyboardInterrupt, click.Abort):
        _say("interrupted; no file was left half-written")
        status = INTERRUPTED
    except SystemExit:
        status = 0  # click's answer to a pipe whose reader has seen enough and left
    except MemoryError:
        _say("this takes more memory than there is. Fewer --hidden units, --starts, --epochs or rows take less.")
        status = UsageError.exit_status
    except OSError as problem:
        # Only standard output is left. Python's own flush at exit must not complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
        if not isinstance(problem, BrokenPipeError):
            _say(f"standard output cannot be written: {problem.strerror}.")
            status = CannotWriteError.exit_status
    return status or 0


def _say(message: str) -> None:
    click.echo(f"glassnet: {message}", err=True)


class _Commands(click.Group):
    """A group that names the nearest command where one is mistyped."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            known = self.list_commands(ctx)
            raise UsageError(f"A command is one of {', '.join(known)}; got {args[0]!r}.{did_you_mean(args[0], known)}")
        return super().resolve_command(ctx, args)


def _number(
    name: str,
    default: float | None,
    help: str,
    *,
    metavar: str = "N",
    kind: type[int] | type[float] = int,
    least: int = 0,
    most: float = math.inf,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """An option that is a number in a range; its refusal names the option, the rule and the value."""

    def checked(ctx: click.Context, param: click.Parameter, text: str | None) -> float | None:
        if text is None:
            return None
        with contextlib.suppress(ValueError):
            if least <= (number := kind(text)) <= most:
                return number
        what = "a whole number" if kind is int else "a number"
        span = f", {least} or more" if most == math.inf else f" from {least} to {most}"
        raise UsageError(f"{name} is {what}{span}; got {text!r}.")

    shown = default is not None
    return click.option(
        name, type=str, default=default, callback=checked, metavar=metavar, show_default=shown, help=help
    )


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="glassnet")
def commands() -> None:
    """Neural networks you can see through: small dense networks for tables.

    \b
    glassnet demo
    glassnet train DATA.csv --target COLUMN -o MODEL.safetensors
    glassnet predict MODEL.safetensors NEW.csv
    glassnet explain MODEL.safetensors DATA.csv --row 17
    glassnet export MODEL.safetensors --to html -o PAGE.html
    glassnet play

    Every command has --help with examples. Exit status: 0 done, 1 checked and found wrong, 2 usage, 65 bad data,
    66 no such input, 73 cannot write, 130 interrupted, 143 terminated.
    """


# Written out, for the tables themselves would load NumPy; a test holds them together.
_ACTIVATIONS = (
    "Of the hidden layers: identity, relu, leaky_relu, elu, selu, gelu, silu, softplus, softsign, tanh or sigmoid."
)
_LOSSES = (
    "Follows from the task where left out: binary_cross_entropy, cross_entropy, mean_squared_error; "
    "also mean_absolute_error, huber, quantile(0.9)."
)


def _reads_a_table(command: Callable[..., None]) -> Callable[..., None]:
    """The options that overrule what a file's reading decides, handed to `command` as one `reading`."""

    @functools.wraps(command)
    def with_reading(
        *,
        delimiter: str | None,
        encoding: str | None,
        decimal: str | None,
        text: tuple[str, ...],
        number: tuple[str, ...],
        missing: str | None,
        **others: Any,
    ) -> None:
        if decimal not in (None, ".", ","):
            raise UsageError(f"--decimal is a point or a comma; got {decimal!r}.")
        words = None if missing is None else _between_commas(missing)
        reading = {"delimiter": delimiter, "encoding": encoding, "decimal": decimal, "missing": words}
        command(reading={**reading, "text": text, "number": number}, **others)

    options = [
        click.option("--delimiter", metavar="SIGN", help="Between columns: , ; | tab ...; told where left out."),
        click.option(
            "--encoding", metavar="NAME", help="Of the text: utf-8, cp1252, utf-16, ...; told where left out."
        ),
        click.option("--decimal", metavar="SIGN", help="Before decimals: a point or a comma; told where left out."),
        click.option("--text", multiple=True, metavar="COLUMN", help="Read this column as text; may be given again."),
        click.option(
            "--number", multiple=True, metavar="COLUMN", help="Read this column as numbers; may be given again."
        ),
        click.option(
            "--missing", metavar="WORDS", help="Cells without a value, beside blanks, in place of NA,N/A,?,..."
        ),
    ]
    for option in reversed(options):
        with_reading = option(with_reading)
    return with_reading


_JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
_THREADS = _number("--threads", None, "Threads; all cores where left out.", least=1)


@commands.command()
@click.option("-o", "--output", default="glassnet-demo", metavar="FOLDER", show_default=True, help="Where files go.")
@_number("--starts", 1000, "Random starts.", least=1)
@_number("--seed", 0, "Seed of everything random.")
@_THREADS
@_JSON
def demo(output: str, starts: int, seed: int, threads: int | None, as_json: bool) -> None:
    """Is this tumor malignant? The notebook's story on real data.

    \b
    glassnet demo
    glassnet demo --starts 100 -o /tmp/demo

    Better at each step: trains the notebook's 2-2-1 network by hand, shows every number of one row, trains the same
    network from many random starts, and races it against Keras (where installed) and logistic regression.
    FOLDER/index.html shows pictures and equations; the model lies beside it. Offline; takes a few seconds.
    """
    from glassnet import demo as story

    with _progress(starts, "random starts") as advance:
        told = story.tell(output, starts=starts, seed=seed, threads=threads, progress=advance)
    click.echo(_json(told.result) if as_json else told.text)


@commands.command()
@click.argument("data")
@click.option("--target", required=True, metavar="COLUMN", help="The column to predict.")
@click.option("--features", metavar="A,B,...", help="Columns to predict it from; all others where left out.")
@click.option("--ignore", metavar="A,B,...", help="Columns to leave out.")
@click.option("--weights", metavar="COLUMN", help="How much each row counts, 0 or more.")
@click.option("--group", metavar="COLUMN", help="Rows alike in it, of one patient say, stay on one side of the split.")
@click.option("--split", "split_column", metavar="COLUMN", help="Your own marks, train or test.")
@click.option("--task", metavar="TASK", help="classification or regression; told from the target where left out.")
@click.option("--positive", metavar="CLASS", help="Of two classes the one whose probability counts.")
@click.option(
    "--recipe",
    default="plain",
    show_default=True,
    metavar="NAME",
    help="How columns become features: plain can be written out by hand, accurate bends what is far out.",
)
@click.option("--strict", is_flag=True, help="Columns that can tell nothing are an error.")
@click.option(
    "--hidden", default="2", show_default=True, metavar="UNITS", help="Hidden units; 6x3 is two layers; 0 none."
)
@click.option("--activation", default="relu", show_default=True, metavar="NAME", help=_ACTIVATIONS)
@click.option("--loss", metavar="NAME", help=_LOSSES)
@click.option(
    "--optimizer", default="adam", show_default=True, metavar="NAME", help="sgd, adam, adamw, rmsprop, lbfgs."
)
@_number("--learning-rate", None, "0.01 where left out; lbfgs finds its own.", metavar="RATE", kind=float)
@_number("--epochs", 100, "Passes over the training rows.")
@click.option("--batch-size", metavar="N|full", help="Rows per update; 32 where left out.")
@_number("--l2", 0, "Penalty l2 / 2 x sum of w^2.", metavar="L2", kind=float)
@_number("--starts", 100, "Random starts; one is kept.", least=1)
@_number("--test-size", 0.2, "Share of rows held back; 0 for none.", metavar="SHARE", kind=float)
@_number("--seed", 0, "Seed of split, starts, shuffles.")
@_THREADS
@_reads_a_table
@click.option("--dry-run", is_flag=True, help="Show every column, and what would be done with it; train nothing.")
@click.option("-o", "--output", metavar="MODEL", help="The file to keep the model in.")
@click.option("--checkpoint", metavar="FILE", help="Keep there what is trained, about once a second.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint, where there is one.")
@_JSON
def train(
    data: str,
    target: str,
    features: str | None,
    ignore: str | None,
    weights: str | None,
    group: str | None,
    split_column: str | None,
    task: str | None,
    positive: str | None,
    recipe: str,
    strict: bool,
    hidden: str,
    activation: str,
    loss: str | None,
    optimizer: str,
    learning_rate: float | None,
    epochs: int,
    batch_size: str | None,
    l2: float,
    starts: int,
    test_size: float,
    seed: int,
    threads: int | None,
    reading: dict[str, Any],
    dry_run: bool,
    output: str | None,
    checkpoint: str | None,
    resume: bool,
    as_json: bool,
) -> None:
    """Train a network on a table, and keep the best of many starts.

    \b
    glassnet train tumors.csv --target diagnosis --positive M -o tumor.safetensors
    glassnet train houses.csv --target price --features rooms,age --hidden 6x3
    glassnet train visits.csv --target ill --group patient --ignore name --dry-run
    glassnet train tumors.csv --target diagnosis --optimizer lbfgs --l2 0.001 --json
    glassnet train large.csv --target y -o y.safetensors --checkpoint y.cp --resume

    DATA is a CSV file with a header, plain or .gz, a Parquet or Arrow file, or - for a pipe. Rows are split into
    training and test rows, columns are encoded as the training rows have them, and the start with the lowest training
    objective is kept; test rows have no say in it. --dry-run shows what that means for every column.
    """
    from glassnet.checkpoints import standing
    from glassnet.model import fit_prepared, save
    from glassnet.persistence import locked
    from glassnet.preparation import prepare

    # What was typed is judged before the file is read: a mistake is one message, at once.
    layers = _layers(hidden)
    chosen, batch = _optimizer(optimizer, learning_rate, batch_size)
    for path, what in ((output, "model"), (checkpoint, "checkpoint")):
        if path is not None:
            _check_output(path, data, what)
    if checkpoint is None and resume:
        raise UsageError("--resume goes on from a checkpoint; name it with --checkpoint FILE.")
    if checkpoint is not None and output is not None and os.path.realpath(checkpoint) == os.path.realpath(output):
        raise UsageError(f"The model must not take the place of the checkpoint; {output} is both. Name another file.")
    if output is not None:
        click.get_current_context().with_resource(locked(output))
    if resume and checkpoint is not None:
        try:
            _say(standing(checkpoint))
        except NoInputError:
            _say(f"{checkpoint} is not there yet: the training begins at its beginning")
    table = _read(data, reading)
    prepared = prepare(
        table,
        target,
        features=None if features is None else _names(features, table),
        ignore=() if ignore is None else _names(ignore, table),
        weights=weights,
        group=group,
        split_column=split_column,
        task=task,
        positive=positive,
        recipe=recipe,
        strict=strict,
        test_size=test_size or None,
        random_state=seed,
    )
    for notice in (*prepared.notices, *(f"warning: {warning}" for warning in prepared.warnings)):
        _say(notice)
    if dry_run:
        from glassnet.survey import survey

        seen = survey(prepared)
        click.echo(_json(seen.to_json()) if as_json else seen.text(_width()))
        return
    with _progress(starts, "random starts") as advance, _said_where_it_stands(checkpoint):
        fitted = fit_prepared(
            prepared,
            hidden=layers,
            activation=activation,
            loss=loss,
            optimizer=chosen,
            epochs=epochs,
            batch_size=batch,
            l2=l2,
            starts=starts,
            random_state=seed,
            threads=threads,
            progress=advance,
            checkpoint=checkpoint,
            resume=resume,
        )
    _say_divergence(fitted)
    if output is not None:
        save(fitted.model, output)
    if as_json:
        click.echo(_json(_trained(fitted, output)))
    else:
        _print_trained(fitted, output, data, reading)


@commands.command()
@click.argument("model")
@click.argument("data")
@click.option("--weights", metavar="COLUMN", help="How much each row counts, 0 or more.")
@_reads_a_table
@_JSON
def evaluate(model: str, data: str, weights: str | None, reading: dict[str, Any], as_json: bool) -> None:
    """How good a model is on a table that has the target.

    \b
    glassnet evaluate tumor.safetensors new-tumors.csv
    glassnet evaluate tumor.safetensors - --json < new-tumors.csv
    """
    from glassnet.cells import counted
    from glassnet.expressions import readable
    from glassnet.preparation import row_weights

    loaded = _load(model)
    table = _read(data, reading, loaded)
    found = loaded.evaluate(table, None if weights is None else row_weights(table, weights))
    if as_json:
        click.echo(_json({"model": model, "task": loaded.task, "rows": table.n_rows, **found}))
        return
    click.echo(f"{counted(table.n_rows, 'row')}, {loaded.task} of {readable(loaded.target.source)}")
    for name, value in found.items():
        click.echo(f"  {name:<9} {_figure(value)}")


@commands.command()
@click.argument("model")
@click.argument("data")
@_reads_a_table
@_JSON
def predict(model: str, data: str, reading: dict[str, Any], as_json: bool) -> None:
    """Predict every row of a table: CSV on stdout, in row order.

    \b
    glassnet predict tumor.safetensors new-tumors.csv > predictions.csv
    cat new-tumors.csv | glassnet predict tumor.safetensors -

    The first column is the prediction; for classes, one probability column per class follows. A text that a
    spreadsheet would run as a formula stands behind an apostrophe; --json has it as it is.
    """
    import csv

    from glassnet.cells import not_a_formula

    loaded = _load(model)
    table = _read(data, reading, loaded)
    names = [loaded.target.source]
    columns: list[list[Any]] = [list(loaded.predict(table))]
    if loaded.task == "classification":
        names += [f"probability_{label}" for label in loaded.classes]
        columns += loaded.predict_proba(table).T.tolist()
    rows = zip(*columns, strict=True)
    if as_json:
        click.echo(_json([dict(zip(names, row, strict=True)) for row in rows]))
        return
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(map(not_a_formula, names))
    for label, *chances in rows:
        said = not_a_formula(label) if isinstance(label, str) else repr(float(label))
        writer.writerow([said, *map(repr, chances)])


@commands.command()
@click.argument("model")
@click.argument("data")
@_number("--row", 0, "Which row, counted from 0.")
@click.option("--step", metavar="EPOCH[:BATCH]", help="A step of the training, counted from 1, and its update.")
@click.option("--only", metavar="NAME", help="One quantity, delta1_5, or all that is by one parameter, w1_2_1.")
@_number("--digits", 4, "Significant digits shown; --json has all.", least=1, most=17)
@click.option("--local", is_flag=True, help="The linear equation that the network is at this row.")
@click.option("--latex", is_flag=True, help="As a LaTeX document.")
@click.option("--html", is_flag=True, help="As a page in one file.")
@click.option("--blank", is_flag=True, help="As a worksheet: results left out, and on a page of their own behind.")
@_reads_a_table
@_JSON
def explain(
    model: str,
    data: str,
    row: int,
    step: str | None,
    only: str | None,
    digits: int,
    local: bool,
    latex: bool,
    html: bool,
    blank: bool,
    reading: dict[str, Any],
    as_json: bool,
) -> None:
    """The worked calculation of one row: every number, with its equation.

    \b
    glassnet explain tumor.safetensors tumors.csv --row 17
    glassnet explain tumor.safetensors tumors.csv --row 17 --digits 17
    glassnet explain tumor.safetensors tumors.csv --row 0 --step 3:2
    glassnet explain tumor.safetensors tumors.csv --row 17 --only w1_2_1
    glassnet explain tumor.safetensors tumors.csv --row 17 --local
    glassnet explain tumor.safetensors tumors.csv --blank --html > worksheet.html

    Forward from the columns' own values to the answer; where the table has the target, also the loss and every
    gradient, each beside its difference quotient. Rows are counted from 0, as pandas shows them.
    --step 3:2 is epoch 3, batch 2: the training is replayed up to there, with the table that the model was trained
    on, and the batch's gradient and the update of every parameter follow. --step 3 is the batch that had the row.
    --local shows the equation around the row, how far each column may move alone before it changes, and the nearest
    change that flips the decision.
    """
    from glassnet.derivations.worked import explain as work

    forms = [name for name, asked in (("--json", as_json), ("--latex", latex), ("--html", html)) if asked]
    if len(forms) > 1:
        raise UsageError(f"A calculation is printed in one form; got {' and '.join(forms)}. Leave one of them out.")
    if blank and as_json:
        raise UsageError("--json holds every number, and --blank leaves them out; leave one of the two out.")
    at = _step(step)
    loaded = _load(model)
    table = _read(data, reading, loaded, remarks=False)
    if local:
        if at is not None or only or latex or html or blank:
            raise UsageError("--local is a calculation of its own, as text or --json; leave the other options out.")
        found = loaded.local(table, row, digits=digits)
        click.echo(_json(found.to_json()) if as_json else found.text(_width()))
        return
    worked = work(loaded, table, row, step=at, only=only, digits=17 if as_json else digits)
    if as_json:
        click.echo(_json(worked.to_json()))
    elif latex or html:
        click.echo(worked.latex(blank=blank) if latex else worked.html(blank=blank))
    else:
        _print_lines(worked.written(_width(), blank=blank))


@commands.command()
@click.argument("model")
@click.argument("data", required=False)
@_reads_a_table
@_JSON
def verify(model: str, data: str | None, reading: dict[str, Any], as_json: bool) -> None:
    """Is every number of a model right? Exit status 1 where one is not.

    \b
    glassnet verify tumor.safetensors
    glassnet verify tumor.safetensors tumors.csv
    glassnet verify tumor.safetensors tumors.csv --json

    The worked calculation, the reference, the compiled engine, differences of the loss, and jax and SymPy where they
    are installed, compute every number and every derivative. Each two are held against each other: the largest error,
    and where it is. DATA: rows of your own, of which 16 are taken; where left out, rows are made up.
    """
    from glassnet.verification.verify import verify as held

    loaded = _load(model)
    table = None if data is None else _read(data, reading, loaded, remarks=False)
    with _progress(100, "verified") as advance:
        found = held(loaded, table, progress=advance)
    click.echo(_json(found.to_json()) if as_json else found.text(_width()))
    if not found.ok:
        click.get_current_context().exit(WRONG)


@commands.command()
@click.argument("path", required=False, metavar="FILE|FOLDER")
@click.option(
    "--hint", default="full", metavar="HOW", show_default=True, help="How much is said: none, where, name or full."
)
@click.option("--conventions", metavar="LINE", help="What is not detected: layout=columns, output=softmax, ...")
@_number("--seed", 0, "Of the generated networks and data.")
@click.option("--template", is_flag=True, help="Print a file to fill in.")
@click.option("--example", metavar="FORM", help="Print one of: functions, function, object, notebook, layers.")
@click.option(
    "--html", is_flag=True, help="Of a file: the report as a page, with the network, what is wrong in it lit."
)
@click.option("-o", "--output", metavar="MARKS.csv", help="Of a folder: a row for every file.")
@click.option("--pages", metavar="FOLDER", help="Of a folder: a page for every file, and an index.")
@_number("--timeout", 20, "Seconds that a file may take.", metavar="SECONDS", kind=float, least=1)
@_number("--memory", 1024, "Memory that a file may take.", metavar="MEGABYTES", least=256)
@_JSON
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
        (found,) = examine([path], hint=hint, conventions=conventions, seed=seed, limits=limits, width=_width())
        click.echo(_json(found.to_json()) if as_json else found.html if html else found.text, nl=not html)
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


@commands.command()
@click.argument("model")
@click.option(
    "--only", metavar="NAME", help="One quantity and all that it depends on: w1_1_2, delta1_2, dL/dw1_1_2, p."
)
@click.option("--matrix", is_flag=True, help="Whole layers at once instead of every scalar.")
@click.option("--latex", is_flag=True, help="As a LaTeX document, which pdflatex compiles.")
@click.option("--mathml", is_flag=True, help="As a page with MathML, which a browser shows.")
@click.option("--kernel", is_flag=True, help="As the code that trains such a network, before it is compiled.")
@_JSON
def derive(model: str, only: str | None, matrix: bool, latex: bool, mathml: bool, kernel: bool, as_json: bool) -> None:
    """Every equation of a model, from the table's columns to its answer, and how each gradient follows.

    \b
    glassnet derive tumor.safetensors
    glassnet derive tumor.safetensors --only w1_1_2
    glassnet derive tumor.safetensors --only delta1_2 --mathml > delta.html
    glassnet derive tumor.safetensors --matrix --latex > equations.tex
    glassnet derive tumor.safetensors --kernel

    The chain rule of every weight: each factor by name, the cached delta, and the product over all paths to the loss;
    over more than 12 paths the recursion from layer to layer in its place. The updates are those of the optimiser that
    trained the model. The kernel's lines are these equations too, for several rows at a time.
    """
    written = {"--latex": latex, "--mathml": mathml, "--json": as_json, "--kernel": kernel}
    if len(given := [option for option, is_given in written.items() if is_given]) > 1:
        raise UsageError(
            f"Equations are written in one way at a time; got {' and '.join(given)}. Leave all but one out."
        )
    if kernel and (matrix or only is not None):
        raise UsageError("--kernel is the code of a whole training; leave --matrix and --only out.")
    loaded = _load(model)
    if kernel:
        from glassnet.kernels.source import kernel_source

        click.echo(kernel_source(loaded.network), nl=False)
        return
    from glassnet.derivations.derived import derive as derived

    every, form = derived(loaded), "matrix" if matrix else "scalar"
    if only is not None:
        every = every.only(only)
    if latex:
        pieces = every.latex_document(form)
    elif mathml:
        pieces = every.html(form)
    elif as_json:
        pieces = every.json_pieces(form)
    else:
        pieces = (f"{line}\n" for line in every.text_lines(form, _width()))
    sys.stdout.writelines(pieces)  # one after another: a large network's do not fit into memory


_FORMS = ("html",)


@commands.command()
@click.argument("model")
@click.option(
    "--to", "form", required=True, metavar="FORM", help="html: a page in one file, with a slider for each input."
)
@click.option("-o", "--output", metavar="FILE", help="The file to write; standard output where left out, or -.")
@_JSON
def export(model: str, form: str, output: str | None, as_json: bool) -> None:
    """A model as a file that needs no glassnet.

    \b
    glassnet export tumor.safetensors --to html -o tumor.html
    glassnet export tumor.safetensors --to html > tumor.html

    html: sliders and choices for the model's columns, in their own units, the network at work on them, and every
    equation with its numbers. One file without a server that opens from a disk, asks nothing of the network, and gives
    the digits that predict prints. Models of up to 10,000 parameters and 200 columns.
    """
    from glassnet.web.finished import play as page_of

    if form not in _FORMS:
        raise UsageError(f"--to is one of {', '.join(_FORMS)}; got {form!r}.{did_you_mean(form, _FORMS)}")
    to_file = output not in (None, "-")
    if as_json and not to_file:
        raise UsageError("--json reports on the file that was written; name it with -o FILE.")
    if output is not None and to_file:
        _check_output(output, model, "page", "model")
    page = page_of(_load(model))
    if output is None or not to_file:
        click.echo(page.html, nl=False)
        return
    size = page.save(output)
    if as_json:
        click.echo(_json({"model": model, "to": form, "output": output, "bytes": size}))
    else:
        _say(f"{output}, {size / 1000:.0f} kB: open it in a browser")


@commands.command()
@click.argument("data", required=False)
@click.option("--target", metavar="COLUMN", help="The column to predict; DATA needs one.")
@click.option("--features", metavar="A,B,...", help="Columns to predict it from; all others where left out.")
@_number("--port", 0, "The page's port on this machine; a free one where it is 0.", most=65535)
@click.option("--no-browser", is_flag=True, help="Print the page's address, and open no browser.")
@_reads_a_table
def play(
    data: str | None, target: str | None, features: str | None, port: int, no_browser: bool, reading: dict[str, Any]
) -> None:
    """A page on which the whole training runs anew while you drag a slider.

    \b
    glassnet play
    glassnet play houses.csv --target price
    glassnet play houses.csv --target price --features rooms,age --port 8000

    DATA as for train; the packaged tumors where left out. The network with its weights, what it answers, the curves and
    the scores of all random starts, every number of a row. The address of the page is the state: what stands behind #
    is a link to the view, never the data. The page is served to this machine alone, to whoever has the address that is
    printed, until Ctrl-C.
    """
    from glassnet.web.ground import first_source
    from glassnet.web.server import play as serve

    if data is None:
        if target is not None or features is not None:
            raise UsageError("--target and --features are of a table; name DATA, or leave them out for the tumors.")
        from glassnet.datasets import tumors

        example = tumors("all")
        source = first_source(example.table, "tumors", "diagnosis", ("texture_mean", "radius_mean"))
    else:
        if target is None:
            raise UsageError("play needs the column to predict, --target COLUMN; got DATA without one.")
        table = _read(data, reading)
        source = first_source(table, os.path.basename(data), target, _names(features, table) if features else ())
    serve(source, port, browser=not no_browser, say=click.echo)


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
    with _progress(len(submissions(path)[0]), "files") as advance:
        marks = mark(path, hint=hint, conventions=conventions, seed=seed, limits=limits, progress=advance)
    if marks.left_out:
        from glassnet.cells import listed

        _say(f"left out, for they do not end in .py: {listed(marks.left_out)}")
    if output is not None:
        write_atomically(output, marks.csv().encode())
    if pages is not None:
        marks.write_pages(pages)
    click.echo(_json(marks.to_json()) if as_json else marks.text())
    return marks.ok


# --- what the commands share --------------------------------------------------------------------------------------


def _width() -> int:
    import shutil

    return max(40, shutil.get_terminal_size((100, 24)).columns)


def _print_lines(lines: Iterator[str]) -> None:
    """Line after line, some thousands at a time: a large network has a million."""
    while some := list(itertools.islice(lines, 4096)):
        click.echo("\n".join(some))


def _json(value: Any) -> str:
    """JSON that every reader takes: an undefined metric is null."""
    from glassnet.model import plain

    return json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False)


def _figure(value: float) -> str:
    """Four digits, but no exponent for the sums of money that regressions are often about."""
    if value != value:
        return "undefined"
    return f"{value:.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"


def _read(path: str, reading: dict[str, Any], model: Model | None = None, *, remarks: bool = True) -> Table:
    """The table, for a model read as the model knows its columns; what was decided is said."""
    from glassnet.reading import read_table

    if model is not None:
        words = model.missing_words if reading["missing"] is None else reading["missing"]
        reading = {**reading, "missing": words, "kinds": model.encoder.kinds}
    table = read_table(path, **reading)
    said = list(table.notices)
    if model is not None and remarks:
        said += model.encoder.remarks(table)
    for notice in said:
        _say(notice)
    return table


def _load(path: str) -> Model:
    from glassnet.model import load

    return load(path)


def _between_commas(text: str) -> list[str]:
    """The parts between commas; one that holds a comma stands in quotes."""
    import csv

    return next(csv.reader([text]), [])


def _names(text: str, table: Table) -> list[str]:
    """The names between commas. Blanks count where the table has them."""
    names = [text] if text in table.names else _between_commas(text)
    return [name if name in table.names else name.strip() for name in names if name.strip()]


def _layers(text: str) -> tuple[int, ...]:
    """`6x3` is (6, 3); `0` is no hidden layer."""
    parts = text.lower().split("x")
    if not all(part.isascii() and part.isdigit() for part in parts) or (parts != ["0"] and "0" in parts):
        raise UsageError(f"--hidden is units per hidden layer, 2 or 6x3, or 0 for none; got {text!r}.")
    return () if parts == ["0"] else tuple(map(int, parts))


def _step(text: str | None) -> int | tuple[int, int] | None:
    """`3:2` is epoch 3, batch 2; `3` is an epoch."""
    if text is None:
        return None
    epoch, colon, batch = text.partition(":")
    if not all(part.isascii() and part.isdigit() for part in ([epoch, batch] if colon else [epoch])):
        raise UsageError(f"--step is EPOCH or EPOCH:BATCH, whole numbers from 1, 3:2 say; got {text!r}.")
    return (int(epoch), int(batch)) if colon else int(epoch)


def _optimizer(name: str, rate: float | None, batch: str | None) -> tuple[Optimizer | LBFGS, int | None]:
    """The optimiser and the batch size that the options mean."""
    from glassnet.optimizers import LBFGS, SGD, Adam, AdamW, RMSprop

    known: dict[str, Callable[..., Any]] = {
        "sgd": SGD,
        "adam": Adam,
        "adamw": AdamW,
        "rmsprop": RMSprop,
        "lbfgs": LBFGS,
    }
    if name not in known:
        raise UsageError(f"--optimizer is one of {', '.join(known)}; got {name!r}.{did_you_mean(name, known)}")
    if batch is not None and batch != "full" and not (batch.isascii() and batch.isdigit() and int(batch) > 0):
        raise UsageError(f"--batch-size is a number of rows, 1 or more, or full; got {batch!r}.")
    if name == "lbfgs":
        if rate is not None:
            raise UsageError("lbfgs finds its own step lengths; leave --learning-rate out.")
        if batch not in (None, "full"):
            raise UsageError("lbfgs looks at all rows at once; leave --batch-size out.")
        return LBFGS(), None
    return known[name](0.01 if rate is None else rate), None if batch == "full" else int(batch or 32)


@contextlib.contextmanager
def _said_where_it_stands(checkpoint: str | None) -> Iterator[None]:
    """What an interrupted training has left in its checkpoint."""
    from glassnet.checkpoints import standing

    try:
        yield
    except KeyboardInterrupt:
        if checkpoint is not None:
            with contextlib.suppress(GlassnetError):  # it had not come so far
                _say(f"{standing(checkpoint)}; --resume goes on from there")
        raise


def _check_output(path: str, data: str, what: str, read: str = "data") -> None:
    """Refuse an output that cannot be written, or is what is read, before the work is done, not after it."""
    from glassnet.persistence import check_writable

    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise CannotWriteError(f"{path} cannot be written: there is no folder {folder}. Make it first.")
    if os.path.realpath(path) == os.path.realpath(data):
        raise UsageError(f"The {what} must not take the place of the {read}; {path} is both. Name another file.")
    check_writable(path)


@contextlib.contextmanager
def _progress(total: int, what: str) -> Iterator[Callable[[int], None] | None]:
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


def _say_divergence(fitted: Fitted) -> None:
    population = fitted.population
    diverged = population.diverged_at[population.diverged_at >= 0]
    if len(diverged):
        _say(
            f"{len(diverged)} of {len(population)} starts diverged, the first at step {int(diverged.min())}: each was "
            "stopped there and keeps its last finite parameters. A smaller --learning-rate helps."
        )
    if len(diverged) == len(population):
        _say("all starts diverged: what is kept is finite, but not a usable model")


def _trained(fitted: Fitted, output: str | None) -> dict[str, Any]:
    kept = {"size": len(fitted.population), "kept": fitted.population.kept}
    return {
        "model": output,
        "task": fitted.model.task,
        "rows": {"train": len(fitted.train_rows), "test": len(fitted.test_rows)},
        "train": fitted.train,
        "test": fitted.test,
        "starts": {**kept, **fitted.population.ailing(), **fitted.starts},
        "notices": list(fitted.prepared.notices),
        "warnings": list(fitted.prepared.warnings),
    }


def _since(epoch: int | None) -> str:
    return "" if epoch is None else f" (the first from epoch {epoch} on)"


def _print_trained(fitted: Fitted, output: str | None, data: str, reading: dict[str, Any]) -> None:
    import shlex

    from glassnet.cells import counted
    from glassnet.expressions import readable

    model, target = fitted.model, fitted.model.target
    network = model.network
    said = f"{readable(target.source)}, {model.task}"
    if target.kind == "binary":
        said += f": P({readable(target.classes[1])}), against {readable(target.classes[0])}"
    elif target.kind == "classes":
        said += f": {len(target.classes)} classes"
    click.echo(f"Target   {said}")
    columns = model.encoder.columns
    shown = [f"{readable(c.source, 30)} ({c.described()})" for c in columns[:4]]
    more = f" and {len(columns) - 4} more" if len(columns) > 4 else ""
    source = "" if model.encoder.n_features == len(columns) else f" from {counted(len(columns), 'column')}"
    click.echo(f"Features {model.encoder.n_features}{source}: {', '.join(shown)}{more}")
    click.echo(f"Rows     {len(fitted.train_rows)} train, {len(fitted.test_rows)} test; encoded by training rows alone")
    click.echo(
        f"Network  {'-'.join(map(str, network.sizes))}, {network.activations[0]}, {network.loss}, "
        f"{network.n_parameters} parameters"
    )
    ails = fitted.population.ailing()
    stuck = (
        f"{ails['stuck']} stuck on one class{_since(ails['first_stuck_epoch'])}, " if target.kind != "number" else ""
    )
    dead = f"{ails['dead']} with a dead unit{_since(ails['first_dead_epoch'])}"
    click.echo(f"Starts   {len(fitted.population)}: {stuck}{dead}, {ails['diverged']} diverged")
    click.echo(f"Kept     start {fitted.population.kept}, the lowest training objective")
    over = "test" if fitted.test else "train"
    click.echo(f"\n{'':9}{'train':>11}{'test':>11}   {f'all starts, {over}:':<21}5 %     median       95 %")
    for name, value in fitted.train.items():
        spread = fitted.starts[name]
        test = _figure(fitted.test[name]) if fitted.test else "-"
        every = "".join(f"{_figure(spread[key]):>11}" for key in ("p5", "median", "p95"))
        click.echo(f"{name:<9}{_figure(value):>11}{test:>11}{'':16}{every}")
    if output is None:
        click.echo("\nNothing was kept; -o MODEL.safetensors keeps the model.")
    else:
        click.echo(f"\nModel    {output}")
        table = "DATA.csv" if data == "-" else shlex.quote(data)
        # the words for missing cells are in the model; how else a file is written, each command is told
        how = [(option, reading[option]) for option in ("delimiter", "encoding", "decimal") if reading[option]]
        how += [(kind, name) for kind in ("text", "number") for name in reading[kind]]
        options = "".join(f" --{option} {shlex.quote(value)}" for option, value in how)
        click.echo(f"Next     glassnet explain {shlex.quote(output)} {table} --row 0{options}")
