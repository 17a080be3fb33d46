"""Options that several commands have."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable

import click

from glassnet.errors import UsageError


def number(
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


JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
THREADS = number("--threads", None, "Threads; all cores where left out.", least=1)
