"""`glassnet explain`, `derive` and `verify`: the numbers of a model, its equations, and whether they are right."""

from __future__ import annotations

import sys
from typing import Any

import click

from glassnet.cli.options import JSON, number
from glassnet.cli.output import WRONG, json_text, print_lines, progress, width
from glassnet.cli.tables import read, reads_a_table
from glassnet.errors import UsageError


@click.command()
@click.argument("model")
@click.argument("data")
@number("--row", 0, "Which row, counted from 0.")
@click.option("--step", metavar="EPOCH[:BATCH]", help="A step of the training, counted from 1, and its update.")
@click.option("--only", metavar="NAME", help="One quantity, delta1_5, or all that is by one parameter, w1_2_1.")
@number("--digits", 4, "Significant digits shown; --json has all.", least=1, most=17)
@click.option("--local", is_flag=True, help="The linear equation that the network is at this row.")
@click.option("--latex", is_flag=True, help="As a LaTeX document.")
@click.option("--html", is_flag=True, help="As a page in one file.")
@click.option("--blank", is_flag=True, help="As a worksheet: results left out, and on a page of their own behind.")
@reads_a_table
@JSON
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
    from glassnet.model import load

    forms = [name for name, asked in (("--json", as_json), ("--latex", latex), ("--html", html)) if asked]
    if len(forms) > 1:
        raise UsageError(f"A calculation is printed in one form; got {' and '.join(forms)}. Leave one of them out.")
    if blank and as_json:
        raise UsageError("--json holds every number, and --blank leaves them out; leave one of the two out.")
    at = _step(step)
    loaded = load(model)
    table = read(data, reading, loaded, remarks=False)
    if local:
        if at is not None or only or latex or html or blank:
            raise UsageError("--local is a calculation of its own, as text or --json; leave the other options out.")
        found = loaded.local(table, row, digits=digits)
        click.echo(json_text(found.to_json()) if as_json else found.text(width()))
        return
    worked = work(loaded, table, row, step=at, only=only, digits=17 if as_json else digits)
    if as_json:
        click.echo(json_text(worked.to_json()))
    elif latex or html:
        click.echo(worked.latex(blank=blank) if latex else worked.html(blank=blank))
    else:
        print_lines(worked.written(width(), blank=blank))


def _step(text: str | None) -> int | tuple[int, int] | None:
    """`3:2` is epoch 3, batch 2; `3` is an epoch."""
    if text is None:
        return None
    epoch, colon, batch = text.partition(":")
    if not all(part.isascii() and part.isdigit() for part in ([epoch, batch] if colon else [epoch])):
        raise UsageError(f"--step is EPOCH or EPOCH:BATCH, whole numbers from 1, 3:2 say; got {text!r}.")
    return (int(epoch), int(batch)) if colon else int(epoch)


@click.command()
@click.argument("model")
@click.option(
    "--only", metavar="NAME", help="One quantity and all that it depends on: w1_1_2, delta1_2, dL/dw1_1_2, p."
)
@click.option("--matrix", is_flag=True, help="Whole layers at once instead of every scalar.")
@click.option("--latex", is_flag=True, help="As a LaTeX document, which pdflatex compiles.")
@click.option("--mathml", is_flag=True, help="As a page with MathML, which a browser shows.")
@click.option("--kernel", is_flag=True, help="As the code that trains such a network, before it is compiled.")
@JSON
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
    from glassnet.model import load

    loaded = load(model)
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
        pieces = (f"{line}\n" for line in every.text_lines(form, width()))
    sys.stdout.writelines(pieces)  # one after another: a large network's do not fit into memory


@click.command()
@click.argument("model")
@click.argument("data", required=False)
@reads_a_table
@JSON
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
    from glassnet.model import load
    from glassnet.verification.verify import verify as held

    loaded = load(model)
    table = None if data is None else read(data, reading, loaded, remarks=False)
    with progress(100, "verified") as advance:
        found = held(loaded, table, progress=advance)
    click.echo(json_text(found.to_json()) if as_json else found.text(width()))
    if not found.ok:
        click.get_current_context().exit(WRONG)
