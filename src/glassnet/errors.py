"""The few exceptions of glassnet.

A message states the rule, then the value that broke it, then the way out. Each class carries the exit status
with which the command line ends when it meets it, and derives from the built-in that Python code would expect.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class GlassnetError(Exception):
    """Base of every error that a user's input can cause.

    >>> issubclass(DataError, GlassnetError) and DataError.exit_status
    65
    """

    exit_status = 1


class UsageError(GlassnetError, ValueError):
    """An argument or option that cannot be meant: a name that does not exist, a value out of range."""

    exit_status = 2


class MissingExtraError(GlassnetError, ImportError):
    """An optional package is not installed; the message holds the command that installs it."""

    exit_status = 2


class DataError(GlassnetError, ValueError):
    """A table or a model file that does not mean what it should; the message names the place."""

    exit_status = 65


class NoInputError(GlassnetError, FileNotFoundError):
    """A file to be read does not exist or may not be read."""

    exit_status = 66


class CannotWriteError(GlassnetError, OSError):
    """An output could not be written; what stood there before is untouched."""

    exit_status = 73


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """A sentence with the nearest of `candidates`, or the first that holds the word; nothing where there is none.

    >>> did_you_mean("texture_men", ["texture_mean", "radius_mean"])
    " Did you mean 'texture_mean'?"
    >>> did_you_mean("income", ["age", "income-over-50k"])
    " Did you mean 'income-over-50k'?"
    >>> did_you_mean("zebra", ["texture_mean"])
    ''
    """
    folded = {candidate.casefold(): candidate for candidate in candidates}
    near = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=0.6)
    if not near and len(word) > 2:
        near = [name for name in folded if word.casefold() in name]
    return f" Did you mean {folded[near[0]]!r}?" if near else ""
