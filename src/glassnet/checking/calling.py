"""Calling what a candidate has: arguments found by their names, output kept quiet, exceptions turned into problems."""

from __future__ import annotations

import contextlib
import inspect
import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from glassnet.checking.cases import Case
from glassnet.checking.layout import (
    Layout,
    biases_given,
    inputs_given,
    parameters_given,
    targets_given,
    weights_given,
)
from glassnet.checking.names import argument, numbered, plain
from glassnet.checking.problems import FailedError, Problem, raised, source_of

_MISSING = object()


class _Sink(io.StringIO):
    """Takes what is printed and keeps none of it."""

    def write(self, text: str) -> int:
        return len(text)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No output and no warnings while a candidate runs; NumPy's error state is put back."""
    with (
        contextlib.redirect_stdout(_Sink()),
        contextlib.redirect_stderr(_Sink()),
        warnings.catch_warnings(),
        np.errstate(all="ignore"),
    ):
        warnings.simplefilter("ignore")
        yield


def called(what: str, function: Callable[..., Any], *given: Any, case: Case | None = None, **named: Any) -> Any:
    """The function's answer, or `FailedError`."""
    try:
        with quiet():
            return function(*given, **named)
    except FailedError:
        raise
    except (Exception, SystemExit) as error:
        raise FailedError(raised(what, error, case)) from error


def signature(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The arguments that a function can be given; none where Python cannot tell."""
    try:
        found = _parameters(function)
    except (TypeError, ValueError):  # Python cannot tell, or it has no hash
        return []
    return [one for one in found if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]


@lru_cache(maxsize=64)
def _parameters(function: Callable[..., Any]) -> tuple[inspect.Parameter, ...]:
    return tuple(inspect.signature(function).parameters.values())


class Arguments:
    """What a function may ask for, for one case in one layout; answers of earlier functions are added as they come.

    `given`: the arrays that were handed over, by role, so that a change of them is seen.
    """

    def __init__(self, case: Case, layout: Layout, activations: tuple[str, str] = ("relu", "sigmoid")) -> None:
        self.case, self.layout = case, layout
        self.L = len(case.weights)
        self.parameters = parameters_given(case, layout)
        self.weights, self.biases = weights_given(case, layout), biases_given(case, layout)
        self.values: dict[str, Any] = {
            "parameters": self.parameters,
            "weights": self.weights,
            "biases": self.biases,
            "X": inputs_given(case, layout),
            "y": targets_given(case, layout),
            "learning_rate": case.learning_rate,
            "l2": case.l2,
            "hidden": activations[0],
            "output_name": activations[1],
            "epochs": 1,
            "n": case.n,
            "sizes": list(case.sizes),
        }
        self.numbers: dict[Any, Any] = {}
        self.asked: set[str] = set()

    def value(self, name: str) -> Any:
        """What an argument of that name is to be given, or `_MISSING`."""
        role = argument(name)
        numbered_as = numbered(name, self.L, self.layout.base)
        if numbered_as is not None:
            if numbered_as.kind == "W":
                return self.weights[numbered_as.layer - 1]
            if numbered_as.kind == "b":
                return self.biases[numbered_as.layer - 1]
            if numbered_as in self.numbers:
                return self.numbers[numbered_as]
            if plain(name) != "p":
                return _MISSING
        if role == "parameters" and plain(name) == "p" and "p" in self.values:
            return self.values["p"]
        if plain(name) in ("z", "logits", "zl") and "p" in self.values:
            return self.values["p"]  # a forward pass may end before the output's activation
        if role is not None and role in self.values:
            self.asked.add(role)
            return self.values[role]
        return _MISSING

    def of(self, what: str, function: Callable[..., Any], positions: tuple[str, ...]) -> Mapping[str, list[Any]]:
        """Positional and keyword arguments for a function; `positions`: roles where no name is known at all."""
        found = signature(function)
        values = [self.value(one.name) for one in found]
        needed = [
            one for one, value in zip(found, values, strict=True) if value is _MISSING and one.default is one.empty
        ]
        if needed and all(value is _MISSING for value in values) and len(found) == len(positions):
            self.asked.update(positions)
            return {"given": [self.values[role] for role in positions], "named": []}
        if needed:
            names = ", ".join(one.name for one in found)
            raise FailedError(
                Problem(
                    "argument",
                    f"{what}({names}) asks for {needed[0].name!r}, which means nothing to the checker, or which no "
                    "function before it gave. Rename it to a name that glassnet check --help has: X, y, parameters, "
                    "W1, b1, weights, biases, cache, a1, z1, p, gradients, learning_rate.",
                    *_line_of(function),
                )
            )
        pairs = zip(found, values, strict=True)
        known = [(one, value) for one, value in pairs if value is not _MISSING and self._wanted(one)]
        return {
            "given": [value for one, value in known if one.kind is one.POSITIONAL_ONLY],
            "named": [(one.name, value) for one, value in known if one.kind is not one.POSITIONAL_ONLY],
        }

    def _wanted(self, one: inspect.Parameter) -> bool:
        """A default is left alone, but for what the case itself decides."""
        return one.default is one.empty or argument(one.name) in ("l2", "learning_rate", "epochs", "y", "cache", "X")

    def call(self, what: str, function: Callable[..., Any], positions: tuple[str, ...] = ()) -> Any:
        """The function's answer to this case."""
        found = self.of(what, function, positions)
        return called(what, function, *found["given"], case=self.case, **dict(found["named"]))


def _line_of(function: Callable[..., Any]) -> tuple[int | None, str | None]:
    code = getattr(inspect.unwrap(getattr(function, "__func__", function)), "__code__", None)
    return (code.co_firstlineno, source_of(code.co_filename, code.co_firstlineno)) if code else (None, None)
