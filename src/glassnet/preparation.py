"""From a table to arrays that can be trained on: which column has which role, which rows are for testing.

Everything that is decided for the user here is said, as sentences, before a network is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.cells import listed, number_text, shown
from glassnet.columns import Floats, Recipe
from glassnet.encoding import Encoding, Task, task_of
from glassnet.errors import DataError, UsageError
from glassnet.splits import giveaways, marked, repeated, split
from glassnet.tables import Table, as_table

_FEW_ROWS = 20


@dataclass(frozen=True, eq=False)
class Prepared:
    """A table made ready for training.

    X, y and row_weights (None where every row counts the same) are of `train_rows`, X_test, y_test and test_weights of
    `test_rows`. `roles` says what each column is: target, feature, weights, group, split, ignored or left out, and
    `left_out` why. `split` says how rows were chosen: `test_size`, `stratify`, `random_state`. `notices` are sentences
    on what was decided, `warnings` on what may be wrong with the data.
    """

    table: Table
    encoding: Encoding
    task: Task
    train_rows: NDArray[np.intp]
    test_rows: NDArray[np.intp]
    X: Floats
    y: Floats
    X_test: Floats
    y_test: Floats
    row_weights: Floats | None
    test_weights: Floats | None
    roles: dict[str, str]
    left_out: dict[str, str]
    split: dict[str, Any]
    notices: tuple[str, ...]
    warnings: tuple[str, ...]

    def column(self, role: str) -> str | None:
        """The column of this role, of which there is at most one; None where there is none."""
        return next((name for name, its in self.roles.items() if its == role), None)


def prepare(
    data: Any,
    target: str,
    *,
    features: Sequence[str] | None = None,
    ignore: Sequence[str] = (),
    weights: str | None = None,
    group: str | None = None,
    split_column: str | None = None,
    task: str | None = None,
    positive: object = None,
    recipe: str | Recipe = "plain",
    strict: bool = False,
    test_size: float | None = 0.2,
    stratify: bool = True,
    random_state: int = 0,
) -> Prepared:
    """Choose columns, split rows, and learn the encoding on the training rows alone.

    `features` None takes every column that has no other role and is no identifier (all texts, or all of 20 whole
    numbers and more, different). `weights` names a column of row weights, 0 or more. Rows with the same text in column
    `group` stay on one side of the split. `split_column` holds the user's own marks, train or test, and overrules
    `test_size`, the share of rows held back, by class where `stratify`; None holds back none.
    `strict` makes columns that can tell nothing an error.

    Raises UsageError: a column with two roles, no feature. Raises DataError: no such column, cells that cannot be used.

    >>> table = {"size": [1.5, 2.0, 3.5, 4.0], "kind": ["B", "M", "M", "B"]}
    >>> prepare(table, "kind", test_size=0.5).roles
    {'size': 'feature', 'kind': 'target'}
    """
    table = as_table(data)
    named = {"target": target, "weights": weights, "group": group, "split": split_column}
    roles = _roles(table, named, features, ignore)
    told = task_of(table, target, task)
    table.refuse_missing(target)
    left_out: dict[str, str] = {}
    if features is None:
        candidates = [name for name in table.names if name not in roles]
        left_out = {
            name: "every value in it is different, as in an identifier; name it among the features to use it"
            for name in candidates
            if _is_identifier(table, name)
        }
        features = [name for name in candidates if name not in left_out]
    train_rows, test_rows = split_rows(
        table, target, told, group=group, split_column=split_column, test_size=test_size, stratify=stratify,
        random_state=random_state,
    )  # fmt: skip
    training, testing = table.select(train_rows), table.select(test_rows)
    encoding, useless, notices = Encoding.fit(
        training, features, target, task=told, positive=positive, recipe=recipe, strict=strict
    )
    left_out |= useless
    every_weight = None if weights is None else row_weights(table, weights)
    used = [*(column.source for column in encoding.columns), target]
    roles |= dict.fromkeys(used[:-1], "feature") | dict.fromkeys(left_out, "left out")
    return Prepared(
        table=table,
        encoding=encoding,
        task=told,
        train_rows=train_rows,
        test_rows=test_rows,
        X=encoding.encode(training),
        y=encoding.encode_target(training),
        # encoded now, so that a cell that cannot be used is found before the training and not after it
        X_test=encoding.encode(testing),
        y_test=encoding.encode_target(testing),
        row_weights=None if every_weight is None else every_weight[train_rows],
        test_weights=None if every_weight is None else every_weight[test_rows],
        roles={name: roles.get(name, "ignored") for name in table.names},
        left_out=left_out,
        split={"test_size": test_size, "stratify": stratify, "random_state": random_state},
        notices=(*(f"column {shown(n)} left out: {reason}" for n, reason in left_out.items()), *notices),
        warnings=(*encoding.remarks(testing), *_warnings(table, used, target, told, train_rows, test_rows)),
    )


def _roles(
    table: Table, named: dict[str, str | None], features: Sequence[str] | None, ignore: Sequence[str]
) -> dict[str, str]:
    """The role of each column that was named for one, features aside."""
    roles: dict[str, str] = {}
    pairs = [(role, name) for role, name in named.items() if name is not None]
    pairs += [("ignored", name) for name in ignore]
    table.require([name for _, name in pairs])
    for role, name in pairs:
        if name in roles and roles[name] != role:
            raise UsageError(
                f"a column has one role; {shown(name)} is {roles[name]} and {role}. Leave out one of them."
            )
        roles[name] = role
    for name in features or ():
        if name == named["target"]:
            raise UsageError(
                f"the target is what is predicted, never a feature; {shown(name)} is both. Take it out of the features."
            )
        if name in roles:
            raise UsageError(
                f"a column has one role; {shown(name)} is {roles[name]} and feature. Leave out one of them."
            )
    return roles


def _is_identifier(table: Table, name: str) -> bool:
    column = table.columns[name]
    if column.kind not in ("text", "number") or column.missing.any():
        return False
    if column.kind == "number" and (table.n_rows < _FEW_ROWS or bool((column.values != np.rint(column.values)).any())):
        return False
    return table.n_rows > 1 and len(np.unique(column.values)) == table.n_rows


def split_rows(
    table: Table,
    target: str,
    task: str,
    *,
    group: str | None = None,
    split_column: str | None = None,
    test_size: float | None = 0.2,
    stratify: bool = True,
    random_state: int = 0,
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The numbers of the rows for training and of those for testing; arguments as `prepare`.

    >>> [rows.tolist() for rows in split_rows(as_table({"kind": ["B", "M"] * 3}), "kind", "classification")]
    [[0, 2, 3, 5], [1, 4]]
    """
    if split_column is not None:
        train_rows, test_rows = marked(table, split_column)
        if group is not None:
            sides = np.asarray(table.labels(group))
            both = sorted(set(sides[train_rows].tolist()) & set(sides[test_rows].tolist()))
            if both:
                raise DataError(
                    f"rows of one group stay on one side of the split; by column {shown(split_column)} {listed(both)} "
                    f"of column {shown(group)} is on both. Mark all rows of a group alike."
                )
        return train_rows, test_rows
    if test_size is None:
        return np.arange(table.n_rows), np.arange(0)
    labels = table.labels(target) if stratify and task == "classification" else None
    groups = None if group is None else table.labels(group)
    return split(table.n_rows, test_size=test_size, seed=random_state, stratify=labels, groups=groups)


def row_weights(table: Table, name: str) -> Floats:
    """Column `name` as the weights of rows, (n_rows,). Raises DataError: a cell that is no number of 0 or more.

    >>> row_weights(as_table({"w": [1, 2.5]}), "w").tolist()
    [1.0, 2.5]
    """
    values = table.numbers(name)
    negative = np.flatnonzero(values < 0)
    if negative.size:
        row = int(negative[0])
        raise DataError(f"{table.cell(row, name)}: a row's weight is 0 or more; got {number_text(values[row])}.")
    if not values.any():
        raise DataError(
            f"{table.cell(0, name)}: some row must weigh more than 0; all weights are 0. Name another column."
        )
    return values


def _warnings(
    table: Table,
    used: Sequence[str],
    target: str,
    task: Task,
    train_rows: NDArray[np.intp],
    test_rows: NDArray[np.intp],
) -> list[str]:
    said = [
        f"column {shown(found.column)} gives the target away, nearly: alone it reaches "
        f"{found.measure} {found.value:.4f}. If it is known only with the answer, leave it out with --ignore"
        for found in giveaways(table, used[:-1], target, task, train_rows)
    ]
    n = repeated(table, used, train_rows, test_rows)
    if n:
        rows = "1 test row equals training rows" if n == 1 else f"{n:,} test rows equal training rows"
        said.append(f"{rows} in every column used: on such rows a test measures memory")
    return said
