"""`glassnet demo`, `play` and `export`: the commands that end in a page."""

from __future__ import annotations

import os
from typing import Any

import click

from glassnet.cli.options import JSON, THREADS, number
from glassnet.cli.output import check_output, json_text, progress, say
from glassnet.cli.tables import names_in, read, reads_a_table
from glassnet.errors import UsageError, did_you_mean


@click.command()
@click.option("-o", "--output", default="glassnet-demo", metavar="FOLDER", show_default=True, help="Where files go.")
@number("--starts", 1000, "Random starts.", least=1)
@number("--seed", 0, "Seed of everything random.")
@THREADS
@JSON
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

    with progress(starts, "random starts") as advance:
        told = story.tell(output, starts=starts, seed=seed, threads=threads, progress=advance)
    click.echo(json_text(told.result) if as_json else told.text)


@click.command()
@click.argument("data", required=False)
@click.option("--target", metavar="COLUMN", help="The column to predict; DATA needs one.")
@click.option("--features", metavar="A,B,...", help="Columns to predict it from; all others where left out.")
@number("--port", 0, "The page's port on this machine; a free one where it is 0.", most=65535)
@click.option("--no-browser", is_flag=True, help="Print the page's address, and open no browser.")
@reads_a_table
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
        table = read(data, reading)
        source = first_source(table, os.path.basename(data), target, names_in(features, table) if features else ())
    serve(source, port, browser=not no_browser, say=click.echo)


_FORMS = ("html",)


@click.command()
@click.argument("model")
@click.option(
    "--to", "form", required=True, metavar="FORM", help="html: a page in one file, with a slider for each input."
)
@click.option("-o", "--output", metavar="FILE", help="The file to write; standard output where left out, or -.")
@JSON
def export(model: str, form: str, output: str | None, as_json: bool) -> None:
    """A model as a file that needs no glassnet.

    \b
    glassnet export tumor.safetensors --to html -o tumor.html
    glassnet export tumor.safetensors --to html > tumor.html

    html: sliders and choices for the model's columns, in their own units, the network at work on them, and every
    equation with its numbers. One file without a server that opens from a disk, asks nothing of the network, and gives
    the digits that predict prints. Models of up to 10,000 parameters and 200 columns.
    """
    from glassnet.model import load
    from glassnet.web.finished import play as page_of

    if form not in _FORMS:
        raise UsageError(f"--to is one of {', '.join(_FORMS)}; got {form!r}.{did_you_mean(form, _FORMS)}")
    to_file = output not in (None, "-")
    if as_json and not to_file:
        raise UsageError("--json reports on the file that was written; name it with -o FILE.")
    if output is not None and to_file:
        check_output(output, model, "page", "model")
    page = page_of(load(model))
    if output is None or not to_file:
        click.echo(page.html, nl=False)
        return
    size = page.save(output)
    if as_json:
        click.echo(json_text({"model": model, "to": form, "output": output, "bytes": size}))
    else:
        say(f"{output}, {size / 1000:.0f} kB: open it in a browser")
