"""A table's columns made a network's inputs, and its outputs the target's values; and back.

`Encoding` is a list of records (`columns`), one a column, and the target. `encode` evaluates the very lines that
`equations` prints; what is done is undone by `undo` and `decode`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from glassnet.cells import Kind, date_text, is_number, listed, number_text, shown
from glassnet.columns import (
    AnyColumn,
    BooleanColumn,
    CategoryColumn,
    Floats,
    NumberColumn,
    Recipe,
    Step,
    center_and_scale,
    decided,
    fit_column,
    recipe_of,
    scaling_formula,
    without_use,
)
from glassnet.equations import Equation, Equations, Symbol, raw_symbol
from glassnet.errors import DataError, UsageError, did_you_mean
from glassnet.tables import Table

Task = Literal["classification", "regression"]

_MAX_CLASSES = 1000
_MAX_CLASSIFIED_INTEGERS = 10


@dataclass(frozen=True)
class Target:
    """The column to be predicted, and how its values and the network's outputs stand for each other.

    kind `binary`: one output, the probability of `classes[1]`, the positive class. kind `classes`: one output
    per class, in the order of `classes`. kind `number`: value = center + scale * output, in the column's unit.
    """

    source: str
    kind: Literal["binary", "classes", "number"]
    classes: tuple[str, ...] = ()
    center: float = 0.0
    scale: float = 1.0

    @property
    def scaling(self) -> tuple[str, float, float]:
        """Its column, center and scale."""
        return self.source, self.center, self.scale


@dataclass(frozen=True)
class Encoding:
    """How a table's columns become a network's inputs, and its outputs the target's values.

    `target` is None where there is nothing to predict.

    >>> table = Table.from_columns({"size": [1.0, 3.0, 5.0], "kind": ["B", "M", "M"]})
    >>> encoding, left_out, notices = Encoding.fit(table, ["size"], "kind")
    >>> encoding.encode(table).round(3).tolist(), encoding.encode_target(table).tolist()
    ([[-1.225], [0.0], [1.225]], [[0.0], [1.0], [1.0]])
    >>> encoding.decode([[0.2], [0.9]])
    ['B', 'M']
    """

    columns: tuple[AnyColumn, ...]
    target: Target | None

    @classmethod
    def fit(
        cls,
        table: Table,
        features: Sequence[str],
        target: str | None,
        *,
        task: Task | None = None,
        positive: object = None,
        recipe: str | Recipe = "plain",
        strict: bool = False,
    ) -> tuple[Encoding, dict[str, str], tuple[str, ...]]:
        """Learn the encoding of columns `features` from the rows of `table`, which are to be training rows alone.

        A column without a value, or with one only, is left out; where `strict`, it is an error. `task` None is told
        by `task_of`. `positive` is the class of two whose probability is predicted, else the last in sorted order.

        Returns the encoding, the columns left out with the reason, and sentences about what else was decided.

        Raises UsageError: a feature twice, none left, no such class as `positive`, no such recipe. Raises
        DataError: no such column, a cell that is not what its column holds, one class or value only.
        """
        chosen = recipe_of(recipe)
        twice = sorted({name for name in features if features.count(name) > 1})
        if twice:
            raise UsageError(f"a feature is named once; {listed(twice)} is named twice.")
        table.require([*features, *([target] if target is not None else [])])
        encoded = None if target is None else _fit_target(table, target, task_of(table, target, task), positive)
        columns: list[AnyColumn] = []
        left_out: dict[str, str] = {}
        notices: list[str] = []
        for name in features:
            column = table.column(name)
            reason = without_use(column)
            if reason:
                if strict:
                    raise DataError(f"column {shown(name)} cannot be used: {reason}. Leave it out, or be less strict.")
                left_out[name] = reason
                continue
            columns.append(fit_column(name, column, chosen))
            notices += decided(columns[-1], column)
        if not columns:
            said = "; ".join(f"column {shown(name)} left out: {reason}" for name, reason in left_out.items())
            raise UsageError(f"a network needs at least one feature; none is left. {said}".strip())
        return cls(tuple(columns), encoded), left_out, tuple(notices)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The features' names, in the order of `encode`'s columns."""
        return tuple(step.target for column in self.columns for step in column.steps() if isinstance(step.target, str))

    @property
    def n_features(self) -> int:
        """How many features `encode` gives."""
        return len(self.feature_names)

    @property
    def kinds(self) -> dict[str, Kind]:
        """What each column, and the target, is to be read as."""
        kinds: dict[str, Kind] = {
            column.source: column.cells if isinstance(column, CategoryColumn) else column.kind
            for column in self.columns
        }
        if self.target is not None:
            of_classes: Kind = "boolean" if self.target.classes in _BOOLEAN_CLASSES else "text"
            kinds[self.target.source] = "number" if self.target.kind == "number" else of_classes
        return kinds

    @property
    def equations(self) -> Equations:
        """Every line from the columns to x1, x2, ..., and a number to be predicted to y."""
        every: list[Equation] = []
        j = 0
        for column in self.columns:
            for step in column.steps():
                target = step.target
                if isinstance(target, str):
                    j += 1
                    target = Symbol("x", None, ("row", j))
                every.append(step.equation(target))
        if self.target is not None and self.target.kind == "number":
            y, (source, center, scale) = Symbol("y", None, ("row",)), self.target.scaling
            named = {"raw": raw_symbol(source), "center": center, "scale": scale}
            every.append(Step(y, scaling_formula(center, scale), named).equation(y))
        return Equations(tuple(every))

    def values(self, table: Table) -> dict[Symbol, Floats]:
        """What the equations start from: every symbol of a column with its (n_rows,) values."""
        return {key: value for column in self.columns for key, value in column.values(table).items()}

    def encode(self, table: Table) -> Floats:
        """The features of `table`, (n_rows, n_features): what the equations give.

        Columns are found by name; their order and further columns do not matter.

        Raises DataError: columns missing (all are named), a cell that cannot be used.
        """
        table.require([column.source for column in self.columns])
        X = np.empty((table.n_rows, self.n_features))
        j = 0
        for column in self.columns:
            begun = j
            if isinstance(column, CategoryColumn):
                block = column.one_hot(table)
                X[:, j : j + block.shape[1]] = block
                j += block.shape[1]
                continue
            values = column.values(table)
            for step in column.steps():
                computed = step.evaluate(values)
                if isinstance(step.target, str):
                    X[:, j] = computed
                    j += 1
                else:
                    values[step.target] = computed
            if not np.isfinite(X[:, begun:j]).all():
                row = int(np.flatnonzero(~np.isfinite(X[:, begun:j]).all(axis=1))[0])
                value = table.select([row]).texts(column.source)[0]
                raise DataError(
                    f"{table.cell(row, column.source)}: {shown(value)} is too far from the training rows' values to be "
                    "scaled in 64 bits. Correct the cell."
                )
        return X

    def remarks(self, table: Table) -> tuple[str, ...]:
        """What a user should know before trusting the features of `table`: unknown texts, unforeseen gaps."""
        return tuple(remark for column in self.columns if (remark := column.remark(table)))

    def undo(self, X: ArrayLike) -> dict[str, list[Any]]:
        """The columns, in the user's units, that features X (n, n_features) were made of; None where missing.

        >>> table = Table.from_columns({"day": ["2020-01-31", "2020-02-03"], "kind": ["B", "M"]})
        >>> encoding, _, _ = Encoding.fit(table, ["day", "kind"], None)
        >>> encoding.undo(encoding.encode(table))
        {'day': ['2020-01-31', '2020-02-03'], 'kind': ['B', 'M']}
        """
        features = np.asarray(X, dtype=np.float64)
        if features.ndim != 2 or features.shape[1] != self.n_features:
            raise UsageError(f"features have shape (n, {self.n_features}); got {features.shape}.")
        undone: dict[str, list[Any]] = {}
        j = 0
        for column in self.columns:
            width = sum(isinstance(step.target, str) for step in column.steps())
            found = column.undo(features[:, j : j + width])
            j += width
            if isinstance(found, list):
                undone[column.source] = found
            else:
                writers: dict[str, Callable[[float], Any]] = {"number": float, "boolean": bool, "date": date_text}
                write = writers[column.kind]
                undone[column.source] = [None if value != value else write(value) for value in found.tolist()]
        return undone

    def encode_target(self, table: Table) -> Floats:
        """The target of `table` as the network is to give it.

        binary: (n_rows, 1), 1 for the positive class; classes: (n_rows, n_classes), 1 in the class's column;
        number: (n_rows, 1), in units of the target's scale.

        Raises DataError: no such column, a missing cell, a class that was not learned.
        """
        target = self._target
        if target.kind == "number":
            scaled: Floats = (table.numbers(target.source)[:, None] - target.center) / target.scale
            return scaled
        labels = table.labels(target.source)
        index = {label: j for j, label in enumerate(target.classes)}
        unseen = list(dict.fromkeys(label for label in labels if label not in index))
        if unseen:
            raise DataError(
                f"{table.cell(labels.index(unseen[0]), target.source)}: a class must be one that was learned; this "
                f"target holds {listed(unseen)}, and the model knows {listed(target.classes)}. "
                "Correct these rows, or train with such rows."
            )
        numbers = np.array([index[label] for label in labels])
        one_hot: Floats = (numbers[:, None] == np.arange(len(index))).astype(np.float64)
        return one_hot[:, 1:] if target.kind == "binary" else one_hot

    def decode(self, outputs: ArrayLike) -> list[str] | Floats:
        """What a network's outputs say of each row, in the user's words and units.

        binary, (n, 1) probabilities: the positive class above .5, as the notebook has it; classes,
        (n, n_classes): the most probable one, the first of equals; number, (n, 1): (n,) center + scale * output.
        """
        values = np.asarray(outputs, dtype=np.float64)
        target = self._target
        if target.kind == "number":
            return target.center + target.scale * values[:, 0]
        chosen = values[:, 0] > 0.5 if target.kind == "binary" else values.argmax(axis=1)
        return [target.classes[int(j)] for j in chosen]

    @property
    def _target(self) -> Target:
        if self.target is None:
            raise UsageError("this encoding has no target: it was learned for features alone.")
        return self.target

    def to_json(self) -> dict[str, Any]:
        """The encoding as a plain dictionary, which `from_json` turns back into its equal."""
        return {
            "columns": [_plain(_NAME_OF[type(column)], column) for column in self.columns],
            "target": None if self.target is None else _plain(None, self.target),
        }

    @classmethod
    def from_json(cls, value: object) -> Encoding:
        """The encoding that `to_json` wrote. Raises DataError: anything missing, unknown, or of another type."""
        record = _checked(value, "an encoder", {"columns": list, "target": object})
        columns = []
        for item in record["columns"]:
            kind = item.get("kind") if isinstance(item, dict) else None
            if type(kind) is not str or kind not in _CLASS_OF:
                raise DataError(f"an encoder's column is of kind {listed(_CLASS_OF)}; this one is of another.")
            columns.append(_from_plain(_CLASS_OF[kind], {k: v for k, v in item.items() if k != "kind"}))
        target = None if record["target"] is None else _from_plain(Target, record["target"])
        if target is not None:
            n_classes = len(set(target.classes))
            counts = {"binary": n_classes == 2, "classes": n_classes >= 2, "number": n_classes == 0}
            if not counts.get(target.kind, False) or n_classes != len(target.classes):
                raise DataError(f"an encoder's target of kind {shown(target.kind)} cannot have these classes.")
        sources = [column.source for column in columns] + ([target.source] if target else [])
        if not columns or len(set(sources)) != len(sources):
            raise DataError("an encoder needs columns, each of its own name, and the target apart from them.")
        return cls(tuple(columns), target)


_BOOLEAN_CLASSES = (("false", "true"), ("true", "false"))
_NAME_OF: dict[type, str] = {NumberColumn: "number", BooleanColumn: "boolean", CategoryColumn: "category"}
_CLASS_OF: dict[str, type] = {name: kind for kind, name in _NAME_OF.items()}


def _plain(kind: str | None, record: Any) -> dict[str, Any]:
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(record).items()}
    return plain if kind is None else {"kind": kind, **plain}


_FIELD_TYPES = {"str": str, "float": float, "bool": bool}


def _from_plain(kind: type, value: Any) -> Any:
    """The record of this class that `_plain` wrote, every field of its declared type and within its bounds."""
    types: dict[str, type] = {}
    for item in fields(kind):
        types[item.name] = _FIELD_TYPES.get(str(item.type), list if str(item.type).startswith("tuple") else str)
    record = _checked(value, f"an encoder's {kind.__name__}", types)
    for item in fields(kind):
        found = record[item.name]
        if type(found) is list:
            wanted = float if "float" in str(item.type) else str
            if any(type(part) is not wanted for part in found):
                raise DataError(f"an encoder's {item.name} are all of one type; these are not.")
            if wanted is float and not all(map(math.isfinite, found)):
                raise DataError(f"an encoder's {item.name} are finite numbers; these are not.")
            ordered = found if item.name == "classes" else sorted(set(found))
            if found != ordered or (len(found) == 1 and item.name == "edges"):
                raise DataError(f"an encoder's {item.name} are in order, each once; these are not.")
            record[item.name] = tuple(found)
    if kind is CategoryColumn and not record["levels"]:
        raise DataError("an encoder's category has levels; this one has none.")
    if kind is CategoryColumn and record["cells"] not in get_args(Kind):
        raise DataError(f"an encoder's cells are of kind {listed(get_args(Kind))}; these are of another.")
    if kind is NumberColumn and record["clip"] and record["edges"]:
        raise DataError("an encoder's number is clipped or in pieces; this one is both.")
    return kind(**record)


def _checked(value: Any, what: str, types: Mapping[str, type]) -> dict[str, Any]:
    """`value`, known to be a dictionary of exactly these fields and types; floats finite, a scale above zero."""
    if not isinstance(value, dict) or value.keys() != types.keys():
        raise DataError(f"{what} has the fields {listed(types)}, and no others.")
    for name, kind in types.items():
        item = value[name]
        right = kind is object or type(item) is kind
        if right and kind is float:
            right = math.isfinite(item) and (name != "scale" or item > 0)
        if not right:
            raise DataError(f"{what} has a {name} that cannot be: {shown(str(item))}.")
    return dict(value)


def task_of(table: Table, target: str, task: str | None = None) -> Task:
    """Whether `target` is to be classified or predicted as a number; `task`, where given, overrules.

    Texts, booleans and at most ten different integers are classes; all else is a number. To be told from the
    whole table: a part of its rows may hold fewer integers.

    Raises UsageError: no such task. Raises DataError: no such column, or cells of a number that are none.

    >>> task_of(Table.from_columns({"kind": ["M", "B"], "price": [1.5, 2.0]}), "price")
    'regression'
    """
    tasks: tuple[Task, ...] = get_args(Task)
    if task is not None:
        if task not in tasks:
            raise UsageError(f"a task is 'classification' or 'regression'; got {task!r}.{did_you_mean(task, tasks)}")
        return tasks[tasks.index(task)]
    column = table.column(target)
    if column.kind in ("text", "boolean"):
        return "classification"
    values = np.unique(table.numbers(target))
    whole = len(values) <= _MAX_CLASSIFIED_INTEGERS and bool(np.all(values == np.rint(values)))
    return "classification" if whole and column.kind == "number" else "regression"


def _fit_target(table: Table, name: str, task: Task, positive: object) -> Target:
    if task == "regression":
        if positive is not None:
            raise UsageError(f"a positive class belongs to classification; target {shown(name)} is a number.")
        values = table.numbers(name, or_else=", or name another target")
        if values.min() == values.max():
            raise DataError(
                f"a target needs different values; {shown(name)} is {number_text(values[0])} in every row. "
                "Name another target."
            )
        return Target(name, "number", (), *center_and_scale(name, values))
    labels = set(table.labels(name))
    if len(labels) == 1:
        raise DataError(
            f"a target needs two classes; every training row of {shown(name)} is {listed(labels)}. "
            "Add rows of another class, or name another target."
        )
    if len(labels) > _MAX_CLASSES:
        raise DataError(
            f"a target has at most {_MAX_CLASSES:,} classes; {shown(name)} has {len(labels):,} different values. "
            "Name another target, or ask for regression."
        )
    classes = sorted_classes(labels)
    if positive is not None:
        chosen = str(positive).strip()
        if len(classes) > 2:
            raise UsageError(f"a positive class is one of two; target {shown(name)} has {len(classes)} classes.")
        if chosen not in labels:
            raise UsageError(
                f"the positive class is one of {listed(classes)}; got {shown(chosen)}.{did_you_mean(chosen, classes)}"
            )
        classes.sort(key=lambda label: label == chosen)
    return Target(name, "binary" if len(classes) == 2 else "classes", tuple(classes))


def sorted_classes(labels: Iterable[str]) -> list[str]:
    """Class labels in order: numbers by value, texts by letter.

    >>> sorted_classes(["10", "9"]), sorted_classes(["b", "a"])
    (['9', '10'], ['a', 'b'])
    """
    every = set(labels)
    numeric = all(is_number(label) for label in every)
    return sorted(every, key=lambda label: (float(label), label) if numeric else (0.0, label))
