"""`glassnet train`: what was typed, judged; a table trained on; what came of it, printed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from glassnet.cli.options import JSON, THREADS, number
from glassnet.cli.output import check_output, figure, json_text, progress, say, width
from glassnet.cli.tables import names_in, read, reads_a_table
from glassnet.errors import GlassnetError, NoInputError, UsageError, did_you_mean

if TYPE_CHECKING:
    from glassnet.model import Fitted
    from glassnet.optimizers import LBFGS, Optimizer


# Written out, for the tables themselves would load NumPy; a test holds them together.
_ACTIVATIONS = (
    "Of the hidden layers: identity, relu, leaky_relu, elu, selu, gelu, silu, softplus, softsign, tanh or sigmoid."
)
_LOSSES = (
    "Follows from the task where left out: binary_cross_entropy, cross_entropy, mean_squared_error; "
    "also mean_absolute_error, huber, quantile(0.9)."
)


@click.command()
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
@number("--learning-rate", None, "0.01 where left out; lbfgs finds its own.", metavar="RATE", kind=float)
@number("--epochs", 100, "Passes over the training rows.")
@click.option("--batch-size", metavar="N|full", help="Rows per update; 32 where left out.")
@number("--l2", 0, "Penalty l2 / 2 x sum of w^2.", metavar="L2", kind=float)
@number("--starts", 100, "Random starts; one is kept.", least=1)
@number("--test-size", 0.2, "Share of rows held back; 0 for none.", metavar="SHARE", kind=float)
@number("--seed", 0, "Seed of split, starts, shuffles.")
@THREADS
@reads_a_table
@click.option("--dry-run", is_flag=True, help="Show every column, and what would be done with it; train nothing.")
@click.option("-o", "--output", metavar="MODEL", help="The file to keep the model in.")
@click.option("--checkpoint", metavar="FILE", help="Keep there what is trained, about once a second.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint, where there is one.")
@JSON
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
            check_output(path, data, what)
    if checkpoint is None and resume:
        raise UsageError("--resume goes on from a checkpoint; name it with --checkpoint FILE.")
    if checkpoint is not None and output is not None and os.path.realpath(checkpoint) == os.path.realpath(output):
        raise UsageError(f"The model must not take the place of the checkpoint; {output} is both. Name another file.")
    if output is not None:
        click.get_current_context().with_resource(locked(output))
    if resume and checkpoint is not None:
        try:
            say(standing(checkpoint))
        except NoInputError:
            say(f"{checkpoint} is not there yet: the training begins at its beginning")
    table = read(data, reading)
    prepared = prepare(
        table,
        target,
        features=None if features is None else names_in(features, table),
        ignore=() if ignore is None else names_in(ignore, table),
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
        say(notice)
    if dry_run:
        from glassnet.survey import survey

        seen = survey(prepared)
        click.echo(json_text(seen.to_json()) if as_json else seen.text(width()))
        return
    with progress(starts, "random starts") as advance, _said_where_it_stands(checkpoint):
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
        click.echo(json_text(_trained(fitted, output)))
    else:
        _print_trained(fitted, output, data, reading)


def _layers(text: str) -> tuple[int, ...]:
    """`6x3` is (6, 3); `0` is no hidden layer."""
    parts = text.lower().split("x")
    if not all(part.isascii() and part.isdigit() for part in parts) or (parts != ["0"] and "0" in parts):
        raise UsageError(f"--hidden is units per hidden layer, 2 or 6x3, or 0 for none; got {text!r}.")
    return () if parts == ["0"] else tuple(map(int, parts))


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
                say(f"{standing(checkpoint)}; --resume goes on from there")
        raise


def _say_divergence(fitted: Fitted) -> None:
    population = fitted.population
    diverged = population.diverged_at[population.diverged_at >= 0]
    if len(diverged):
        say(
            f"{len(diverged)} of {len(population)} starts diverged, the first at step {int(diverged.min())}: each was "
            "stopped there and keeps its last finite parameters. A smaller --learning-rate helps."
        )
    if len(diverged) == len(population):
        say("all starts diverged: what is kept is finite, but not a usable model")


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
        test = figure(fitted.test[name]) if fitted.test else "-"
        every = "".join(f"{figure(spread[key]):>11}" for key in ("p5", "median", "p95"))
        click.echo(f"{name:<9}{figure(value):>11}{test:>11}{'':16}{every}")
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
