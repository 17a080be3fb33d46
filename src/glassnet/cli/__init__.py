"""The command line: parse, call, print. Data go to stdout, messages to stderr; a user's mistake is one message."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from typing import NoReturn

import click

from glassnet import __version__
from glassnet.cli.answers import evaluate, predict
from glassnet.cli.checking import check
from glassnet.cli.explanations import derive, explain, verify
from glassnet.cli.output import say
from glassnet.cli.pages import demo, export, play
from glassnet.cli.training import train
from glassnet.errors import CannotWriteError, GlassnetError, UsageError, did_you_mean

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
        say(f"{problem.format_message().rstrip('.')}. See {where} --help.")
        status = 2
    except GlassnetError as problem:
        say(str(problem))
        status = problem.exit_status
    except (KeyboardInterrupt, click.Abort):
        say("interrupted; no file was left half-written")
        status = INTERRUPTED
    except SystemExit:
        status = 0  # click's answer to a pipe whose reader has seen enough and left
    except MemoryError:
        say("this takes more memory than there is. Fewer --hidden units, --starts, --epochs or rows take less.")
        status = UsageError.exit_status
    except OSError as problem:
        # Only standard output is left. Python's own flush at exit must not complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
        if not isinstance(problem, BrokenPipeError):
            say(f"standard output cannot be written: {problem.strerror}.")
            status = CannotWriteError.exit_status
    return status or 0


class _Commands(click.Group):
    """A group that names the nearest command where one is mistyped."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            known = self.list_commands(ctx)
            raise UsageError(f"A command is one of {', '.join(known)}; got {args[0]!r}.{did_you_mean(args[0], known)}")
        return super().resolve_command(ctx, args)


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


for _command in (check, demo, derive, evaluate, explain, export, play, predict, train, verify):
    commands.add_command(_command)
