"""What a page may ask for: every setting, its bounds and its default, once; and requests read strictly.

`HANDLES` is the one list. Requests are checked by it, the page makes its controls from it, and its address is written
by it. A request is always the whole state, so that a server which knows nothing of a page can answer it at once.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from glassnet.activations import ACTIVATIONS
from glassnet.cells import shown
from glassnet.errors import UsageError, did_you_mean

MOST_LAYERS, MOST_UNITS = 6, 16
"""Hidden layers, and units in each, that the page has room to draw."""

MOST_NAMES, LONGEST_NAME = 500, 1000

MOST_BY_HAND, MOST_LEGS = 64, 4
"""Weights set by hand at a time, and how often a training may be gone on with from such weights."""

MOST_EDITS = 100
"""Rows added, moved and deleted by hand, all together."""

_MOST_ID = 2**53 - 1  # whole numbers that JavaScript holds exactly


@dataclass(frozen=True)
class Handle:
    """One setting of a training.

    kind `whole` or `number`: from `least` to `most`, its slider from `low` to `high`, in equal steps or (`log`) equal
    factors, with 0 at the end where 0 is allowed. `choice`: one of `choices`. `sizes`: units of hidden layers. `name`
    and `names`: of the table's columns, "" or none for those that are chosen where nobody chooses.
    """

    name: str
    label: str
    kind: Literal["whole", "number", "choice", "sizes", "name", "names"]
    default: Any
    least: float = 0
    most: float = 0
    low: float = 0
    high: float = 0
    log: bool = False
    choices: tuple[str, ...] = ()
    said: str = ""

    def checked(self, value: Any) -> Any:
        """The value, or the UsageError that says what it may be.

        >>> HANDLES["epochs"].checked(0)
        Traceback (most recent call last):
            ...
        glassnet.errors.UsageError: epochs is a whole number from 1 to 2,000; got 0.
        """
        match self.kind:
            case "whole" | "number":
                whole = self.kind == "whole"
                if (
                    isinstance(value, int if whole else int | float)
                    and not isinstance(value, bool)
                    and self.least <= value <= self.most
                ):
                    return value if whole else float(value)
                what = "a whole number" if whole else "a number"
                raise UsageError(
                    f"{self.name} is {what} from {_plain(self.least)} to {_plain(self.most)}; got {_shown(value)}."
                )
            case "choice":
                if isinstance(value, str) and value in self.choices:
                    return value
                known = ", ".join(choice or '""' for choice in self.choices)
                near = did_you_mean(value, self.choices) if isinstance(value, str) else ""
                raise UsageError(f"{self.name} is one of {known}; got {_shown(value)}.{near}")
            case "sizes":
                if (
                    isinstance(value, list)
                    and len(value) <= MOST_LAYERS
                    and all(type(units) is int and 1 <= units <= MOST_UNITS for units in value)
                ):
                    return tuple(value)
                raise UsageError(
                    f"{self.name} is a list of at most {MOST_LAYERS} layers of 1 to {MOST_UNITS} units, which is what "
                    f"the page can draw; got {_shown(value)}. glassnet train takes larger networks."
                )
            case "name":
                return _name(self.name, value)
            case "names":
                if isinstance(value, list) and len(value) <= MOST_NAMES and len(set(map(str, value))) == len(value):
                    return tuple(_name(self.name, item) for item in value)
                raise UsageError(
                    f"{self.name} is a list of at most {MOST_NAMES} names of columns, each once; got {_shown(value)}."
                )


def _name(what: str, value: Any) -> str:
    if isinstance(value, str) and len(value) <= LONGEST_NAME:
        return value
    raise UsageError(f"{what} is a column's name, of at most {LONGEST_NAME:,} characters; got {_shown(value)}.")


def _plain(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1 or value == 0 else f"{value:g}"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:60]}..."


LOSSES = (
    "", "binary_cross_entropy", "cross_entropy", "mean_squared_error", "mean_absolute_error", "huber",
)  # fmt: skip
OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop", "lbfgs")

HANDLES: dict[str, Handle] = {
    handle.name: handle
    for handle in (
        Handle("hidden", "Hidden layers", "sizes", (2,), said="Units of each hidden layer."),
        Handle("activation", "Activation", "choice", "relu", choices=tuple(ACTIVATIONS), said="Of the hidden layers."),
        Handle(
            "learning_rate", "Learning rate", "number", 1.0, 1e-6, 1e6, 0.001, 10, log=True,
            said="How far an update goes.",
        ),
        Handle("epochs", "Epochs", "whole", 100, 1, 2000, 1, 500, said="Passes over the training rows."),
        Handle("starts", "Random starts", "whole", 100, 1, 1000, 1, 300, said="The same network from so many starts."),
        Handle("seed", "Seed", "whole", 0, 0, 2**32 - 1, 0, 100, said="Of the split, the starts and the shuffles."),
        Handle("optimizer", "Optimiser", "choice", "sgd", choices=OPTIMIZERS, said="How an update is made."),
        Handle("batch", "Batch", "whole", 0, 0, 100_000, 0, 256, said="Rows per update; 0 is all rows at once."),
        Handle("l2", "L2", "number", 0.0, 0, 100, 1e-5, 1, log=True, said="Penalty l2 / 2 x sum of w squared."),
        Handle("l1", "L1", "number", 0.0, 0, 100, 1e-5, 1, log=True, said="Penalty l1 x sum of |w|."),
        Handle("dropout", "Dropout", "number", 0.0, 0, 0.9, 0, 0.9, said="Share of hidden units left out."),
        Handle("noise", "Noise", "number", 0.0, 0, 10, 0, 3, said="On the training rows, in standard deviations."),
        Handle("loss", "Loss", "choice", "", choices=LOSSES, said="Follows from the target where left open."),
        Handle("features", "Features", "names", (), said="The columns to predict it from."),
        Handle("test", "Test share", "number", 0.2, 0, 0.9, 0, 0.5, said="Share of the rows held back for testing."),
        Handle("target", "Target", "name", "", said="The column to predict."),
        Handle("table", "Table", "name", "", said="Which of the tables that the server holds; the first where empty."),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """What is trained. The fields are the rows of `HANDLES`."""

    hidden: tuple[int, ...] = (2,)
    activation: str = "relu"
    learning_rate: float = 1.0
    epochs: int = 100
    starts: int = 100
    seed: int = 0
    optimizer: str = "sgd"
    batch: int = 0
    l2: float = 0.0
    l1: float = 0.0
    dropout: float = 0.0
    noise: float = 0.0
    loss: str = ""
    features: tuple[str, ...] = ()
    test: float = 0.2
    target: str = ""
    table: str = ""

    def __post_init__(self) -> None:
        if self.optimizer == "lbfgs" and (self.batch or self.dropout):
            raise UsageError(
                "lbfgs looks at all rows and the whole network at once; it goes with batch 0 and dropout 0. "
                "Choose another optimiser, or set both to 0."
            )
        if self.dropout and not self.hidden:
            raise UsageError("dropout is of hidden units, and there are none. Set it to 0, or add a hidden layer.")


Hand = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class View:
    """What is looked at: one start (-1: the kept one) after an epoch (-1: the last), over columns `x` and `y`.

    `held`: (column, value) of features that are not on the axes, where they are not at their middle. `row`: the row
    that is worked out (-1: none); `only`: a unit, a weight or a bias whose equations are shown ("": all).
    `hand`: (weight or bias, value) set by hand on top of what was trained. `legs`: where the start was trained on from
    weights set by hand: the epoch, and what was set there. `slow`: how many lines of an update are gone through
    (-1: it is not looked at).
    """

    start: int = -1
    epoch: int = -1
    x: str = ""
    y: str = ""
    held: tuple[tuple[str, float | str], ...] = ()
    row: int = 0
    only: str = ""
    hand: Hand = ()
    legs: tuple[tuple[int, Hand], ...] = ()
    slow: int = -1


@dataclass(frozen=True)
class Edits:
    """What was done to the rows by hand; where a row lies is a value for each of some columns.

    `added`: where, each feature that is not named at its middle, and the target's value. `moved`: the number of a row
    of the table, and where it lies now. `deleted`: numbers of rows.
    """

    added: tuple[tuple[tuple[tuple[str, float | str], ...], float | str], ...] = ()
    moved: tuple[tuple[int, tuple[tuple[str, float | str], ...]], ...] = ()
    deleted: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.moved or self.deleted)


@dataclass(frozen=True)
class Asked:
    """One request: its number, and the whole state of a page. Edits are of its session alone: no address has them."""

    id: int
    settings: Settings
    view: View
    edits: Edits = Edits()


def parse(text: str) -> Asked:
    """A request from its JSON. Raises UsageError: anything unknown, missing, twice, of another type or out of bounds.

    >>> parse('{"id": 1, "settings": {"epochs": 5}, "view": {}}').settings.epochs
    5
    >>> parse('{"id": 1, "settings": {"epochs": NaN}, "view": {}}')
    Traceback (most recent call last):
        ...
    glassnet.errors.UsageError: JSON knows no NaN and no infinity; got NaN.
    """
    try:
        value = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_object, parse_float=_finite)
    except (json.JSONDecodeError, RecursionError) as problem:
        raise UsageError(f"A request is JSON; this one is not: {problem}.") from problem
    except ValueError as problem:
        if isinstance(problem, UsageError):
            raise
        raise UsageError(f"A request is JSON with numbers of some digits; got {problem}.") from problem
    asked = _with_keys("a request", value, ("id", "settings", "view", "edits"))
    if not set(asked) >= {"id", "settings", "view"}:
        raise UsageError(f"A request has id, settings and view; got {', '.join(asked) or 'none of them'}.")
    given = _with_keys("settings", asked["settings"], tuple(HANDLES))
    settings = Settings(**{name: HANDLES[name].checked(part) for name, part in given.items()})
    return Asked(_whole("id", asked["id"], 0, _MOST_ID), settings, _view(asked["view"]), _edits(asked.get("edits", {})))


def _view(value: Any) -> View:
    given = dict(_with_keys("view", value, tuple(field.name for field in fields(View))))
    for name, most in (("start", 10_000), ("epoch", 10_000), ("row", 10**9), ("slow", 10**6)):
        if name in given:
            _whole(name, given[name], -1, most)
    for name in ("x", "y", "only"):
        if name in given:
            _name(name, given[name])
    if "held" in given:
        given["held"] = _cells("held", given["held"])
    if "hand" in given:
        given["hand"] = _hand(given["hand"])
    if "legs" in given:
        legs = given["legs"]
        if not isinstance(legs, list) or len(legs) > MOST_LEGS:
            raise UsageError(f"legs is a list of at most {MOST_LEGS} pairs, an epoch and weights; got {_shown(legs)}.")
        pairs = [_pair("legs", leg, "an epoch, and weights") for leg in legs]
        given["legs"] = tuple((_whole("legs", epoch, -1, 10_000), _hand(hand)) for epoch, hand in pairs)
    return View(**given)


_BY_HAND = re.compile(r"w[1-9]\d?(_[1-9]\d{0,3}){2}|b[1-9]\d?_[1-9]\d{0,3}")


def _hand(value: Any) -> Hand:
    """Weights and biases by name, each with a number of at most a million."""
    if not isinstance(value, dict) or len(value) > MOST_BY_HAND:
        raise UsageError(
            f"hand has a number for each of at most {MOST_BY_HAND} weights or biases; got {_shown(value)}."
        )
    for name, number in value.items():
        if not _BY_HAND.fullmatch(name):
            raise UsageError(f"hand has names of weights and biases, w1_2_1 or b1_1 say; got {_shown(name)}.")
        if isinstance(number, bool) or not isinstance(number, int | float) or not abs(number) <= 1e6:
            raise UsageError(f"hand has a number from -1,000,000 to 1,000,000 for {name}; got {_shown(number)}.")
    return tuple((name, float(number)) for name, number in value.items())


def _cells(what: str, value: Any) -> tuple[tuple[str, float | str], ...]:
    """A number or a text for each of some columns."""
    if not isinstance(value, dict) or len(value) > MOST_NAMES:
        raise UsageError(f"{what} has a value for each of at most {MOST_NAMES} columns; got {_shown(value)}.")
    return tuple((_name(what, name), _cell(what, name, part)) for name, part in value.items())


def _cell(what: str, name: str, value: Any) -> float | str:
    if isinstance(value, bool) or not isinstance(value, int | float | str) or len(str(value)) > LONGEST_NAME:
        raise UsageError(f"{what} has a number or a text for column {shown(name)}; got {_shown(value)}.")
    if isinstance(value, str):
        return value
    if abs(value) > 1e300:
        raise UsageError(f"{what} has a number of at most 1e300; got {_shown(value)}.")
    return float(value)


def _pair(what: str, value: Any, of: str) -> list[Any]:
    if not isinstance(value, list) or len(value) != 2:
        raise UsageError(f"{what} has pairs: {of}; got {_shown(value)}.")
    return value


def _edits(value: Any) -> Edits:
    given = dict(_with_keys("edits", value, tuple(field.name for field in fields(Edits))))
    for name, edits in given.items():
        if not isinstance(edits, list):
            raise UsageError(f"edits has a list of what was {name}; got {_shown(edits)}.")
    if sum(map(len, given.values())) > MOST_EDITS:
        raise UsageError(f"At most {MOST_EDITS} rows are added, moved and deleted by hand; take some of it back.")
    added = [_pair("added", one, "the values of columns, and that of the target") for one in given.get("added", [])]
    moved = [_pair("moved", one, "a row's number, and the values of columns") for one in given.get("moved", [])]
    edits = Edits(
        tuple((_cells("added", cells), _cell("added", "the target", target)) for cells, target in added),
        tuple((_whole("moved", row, 0, 10**9), _cells("moved", cells)) for row, cells in moved),
        tuple(_whole("deleted", row, 0, 10**9) for row in given.get("deleted", [])),
    )
    if len({row for row, _ in edits.moved}) < len(edits.moved) or len(set(edits.deleted)) < len(edits.deleted):
        raise UsageError("moved and deleted name each row once.")
    return edits


def _whole(name: str, value: Any, least: int, most: int) -> int:
    if type(value) is int and least <= value <= most:
        return value
    raise UsageError(f"{name} is a whole number from {least} to {most:,}; got {_shown(value)}.")


def _with_keys(what: str, value: Any, known: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{what} is an object of JSON; got {_shown(value)}.")
    unknown = [key for key in value if key not in known]
    if unknown:
        raise UsageError(f"{what} has {', '.join(known)}; got {shown(unknown[0])}.{did_you_mean(unknown[0], known)}")
    return value


def _no_constant(text: str) -> Any:
    raise UsageError(f"JSON knows no NaN and no infinity; got {text}.")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise UsageError(f"A number fits into 64 bits; got {shown(text[:60])}.")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for n, (name, _) in enumerate(pairs) if name in dict(pairs[:n]))
        raise UsageError(f"an object of JSON has each name once; {shown(twice)} is there twice.")
    return found


def offered() -> dict[str, Any]:
    """`HANDLES` and the page's limits as plain data: the first message to a page."""
    limits = {
        "layers": MOST_LAYERS, "units": MOST_UNITS, "by_hand": MOST_BY_HAND, "legs": MOST_LEGS, "edits": MOST_EDITS,
    }  # fmt: skip
    return {"handles": [asdict(handle) for handle in HANDLES.values()], "limits": limits}
