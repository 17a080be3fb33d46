"""Which rows are for training and which for testing, and what leaks from one to the other."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glassnet.cells import shown
from glassnet.errors import DataError, UsageError
from glassnet.metrics import auc
from glassnet.randomness import Purpose, permutation
from glassnet.tables import Column, Table

Rows = NDArray[np.intp]
Floats = NDArray[np.float64]

_LOOKED_AT = 20_000
_FEW_ROWS, _FEW_OF_A_CLASS, _ROWS_A_BIN, _MOST_BINS = 50, 10, 10, 256
_TELLING_AUC, _TELLING_R2 = 0.995, 0.999
_MIX = np.uint64(0x9E3779B97F4A7C15)  # odd, with its ones spread: the golden ratio's first 64 bits


def split(
    n: int,
    *,
    test_size: float = 0.2,
    seed: int = 0,
    stratify: Sequence[Any] | None = None,
    groups: Sequence[Any] | None = None,
) -> tuple[Rows, Rows]:
    """Choose test rows at random: (train_rows, test_rows), numbers from 0 in ascending order.

    ceil(test_size * n) rows are for testing. `stratify`, the (n,) class labels, gives each class its share of
    them by largest remainder, and leaves every class a training row. `groups`, (n,) labels, keeps rows of one group
    together: the groups, in random order, go to the test rows as long as that brings them nearer to what is wanted.
    The same seed gives the same rows.

    Raises UsageError: `test_size` is not between 0 and 1. Raises DataError: too few rows, or groups, to split.

    >>> train_rows, test_rows = split(10, stratify=["M", "B", "B", "B", "B", "M", "M", "M", "B", "B"])
    >>> len(train_rows), len(test_rows)
    (8, 2)
    >>> split(6, test_size=0.3, groups=["a", "a", "b", "b", "c", "c"])[1].tolist()
    [2, 3]
    """
    if not 0 < test_size < 1:
        raise UsageError(f"the test rows are a part of all rows, between 0 and 1; got test_size {test_size}.")
    for name, labels in (("stratify", stratify), ("groups", groups)):
        if labels is not None and len(labels) != n:
            raise UsageError(f"{name} needs one label per row: {n}; got {len(labels)}.")
    # exactly the fraction that is written: 0.2 as a float is a little more than a fifth
    wanted = math.ceil(Fraction(repr(float(test_size))) * n)
    labels = ["all"] * n if stratify is None else [str(label) for label in stratify]
    names, codes = np.unique(np.array(labels, dtype=object), return_inverse=True)
    if groups is not None:
        test = _test_groups(codes, len(names), groups, wanted, seed)
        return np.flatnonzero(~test), np.flatnonzero(test)
    counts = Counter(labels)
    shares = {label: wanted * count // n for label, count in counts.items()}
    by_remainder = sorted(counts, key=lambda label: (-(wanted * counts[label] % n), -counts[label], label))
    for label in by_remainder[: wanted - sum(shares.values())]:
        shares[label] += 1
    # a class keeps a training row, and what it cannot give others give as far as they can
    shares = {label: min(share, counts[label] - 1) for label, share in shares.items()}
    for label in by_remainder:
        spare = wanted - sum(shares.values())
        shares[label] += min(spare, counts[label] - 1 - shares[label])
    if not any(shares.values()):
        raise DataError(
            f"a split needs a class with two rows or more; there are {n} rows in {len(counts)} classes. Give more "
            "rows, or another target if this one is an identifier."
        )
    # of every class the first rows in random order, as many as its share
    order = permutation(n, seed=seed, purpose=Purpose.SPLIT)
    by_class = order[np.argsort(codes[order], kind="stable")]
    begins = np.concatenate([[0], np.cumsum(np.bincount(codes, minlength=len(names)))])
    test = np.zeros(n, dtype=bool)
    for j, name in enumerate(names):
        test[by_class[begins[j] : begins[j] + shares[name]]] = True
    return np.flatnonzero(~test), np.flatnonzero(test)


def _test_groups(codes: Rows, n_classes: int, groups: Sequence[Any], wanted: int, seed: int) -> NDArray[np.bool_]:
    """Which rows are of the groups for testing."""
    _, group_of_row = np.unique(np.array([str(group) for group in groups], dtype=object), return_inverse=True)
    n_groups = int(group_of_row.max(initial=-1)) + 1
    if n_groups < 2:
        raise DataError(f"a split by group needs two groups or more; there is {n_groups}. Give more, or no groups.")
    # how many rows of each class every group has, (n_groups, n_classes)
    held = np.bincount(group_of_row * n_classes + codes, minlength=n_groups * n_classes).reshape(n_groups, n_classes)
    total = held.sum(axis=0)
    lacking = total * (wanted / len(codes))
    left = total.copy()
    chosen = np.zeros(n_groups, dtype=bool)
    for group in permutation(n_groups, seed=seed, purpose=Purpose.SPLIT):
        nearer = np.abs(lacking - held[group]).sum() < np.abs(lacking).sum()
        if nearer and ((left > held[group]) | (held[group] == 0)).all():
            chosen[group] = True
            lacking = lacking - held[group]
            left -= held[group]
    if not chosen.any():
        # every group is larger than what is wanted: the smallest is the nearest
        chosen[int(np.argmin(held.sum(axis=1)))] = True
    return chosen[group_of_row]


def marked(table: Table, name: str) -> tuple[Rows, Rows]:
    """The rows that column `name` marks as train and as test, (train_rows, test_rows).

    Raises DataError: a cell that says neither, or no row of one of them.

    >>> train_rows, test_rows = marked(Table.from_columns({"part": ["train", "Test", "train"]}), "part")
    >>> train_rows.tolist(), test_rows.tolist()
    ([0, 2], [1])
    """
    marks = np.array([text.strip().casefold() for text in table.texts(name)])
    wrong = np.flatnonzero((marks != "train") & (marks != "test"))
    if wrong.size:
        row = int(wrong[0])
        value = shown(table.select([row]).texts(name)[0])
        raise DataError(
            f"{table.cell(row, name)}: a mark is train or test; got {value}. Mark every row with one of them."
        )
    train_rows, test_rows = np.flatnonzero(marks == "train"), np.flatnonzero(marks == "test")
    for rows, mark in ((train_rows, "train"), (test_rows, "test")):
        if not rows.size:
            raise DataError(f"column {shown(name)} marks rows for training and for testing; none is marked {mark}.")
    return train_rows, test_rows


def repeated(table: Table, names: Sequence[str], train_rows: Rows, test_rows: Rows) -> int:
    """How many test rows have a training row that equals them in every one of the columns `names`.

    Two missing cells are equal.

    >>> table = Table.from_columns({"x": [1, 2, 1, None, None]})
    >>> repeated(table, ["x"], np.array([0, 1, 3]), np.array([2, 4]))
    2
    """
    if not (len(train_rows) and len(test_rows)):
        return 0
    columns = [_exact(table.column(name)) for name in names]
    mixed = np.zeros(table.n_rows, dtype=np.uint64)
    for column in columns:
        # a hash that only has to make few rows candidates: what decides is the comparison below
        mixed = (mixed ^ column) * _MIX
        mixed ^= mixed >> np.uint64(29)
    train_rows = train_rows[np.argsort(mixed[train_rows], kind="stable")]
    sorted_hashes = mixed[train_rows]
    at = np.searchsorted(sorted_hashes, mixed[test_rows])
    found = np.zeros(len(test_rows), dtype=bool)
    open_ = np.arange(len(test_rows))
    while open_.size:  # once for nearly all; again where different rows share a hash
        open_ = open_[at[open_] < len(train_rows)]
        open_ = open_[sorted_hashes[at[open_]] == mixed[test_rows[open_]]]
        equal = np.ones(len(open_), dtype=bool)
        for column in columns:
            equal &= column[train_rows[at[open_]]] == column[test_rows[open_]]
        found[open_[equal]] = True
        open_ = open_[~equal]
        at[open_] += 1
    return int(found.sum())


def _exact(column: Column) -> NDArray[np.uint64]:
    """Numbers that are equal where cells are: NaN equals NaN, 0 equals -0."""
    if column.kind == "text":
        return column.values.astype(np.int64).view(np.uint64)
    return np.where(np.isnan(column.values), np.nan, column.values + 0.0).view(np.uint64)


@dataclass(frozen=True)
class Giveaway:
    """A column that alone all but tells the target: `value` of `measure`, AUC or R2."""

    column: str
    measure: str
    value: float


def giveaways(table: Table, names: Sequence[str], target: str, task: str, rows: Rows) -> list[Giveaway]:
    """The columns that give the target away, nearly, over `rows`: AUC of .995 and more, or R2 of .999 and more.

    Of a text, and of a number in up to 256 parts of 10 rows and more, each row is judged by the other rows with the
    same text or in the same part; a number also by its order alone. Under 50 rows nothing is said, nor of classes
    with under 10 rows; at most 20,000 rows are looked at.

    >>> n = np.arange(100)
    >>> table = Table.from_columns({"code": n % 2 + 7, "size": (n * 37) % 41, "ill": np.where(n % 2, "yes", "no")})
    >>> giveaways(table, ["code", "size"], "ill", "classification", n)
    [Giveaway(column='code', measure='AUC', value=1.0)]
    """
    rows = rows[:: -(-len(rows) // _LOOKED_AT)] if len(rows) else rows
    if len(rows) < _FEW_ROWS:
        return []
    some = table.select(rows)
    found = []
    if task == "classification":
        _, classes = np.unique(np.array(some.labels(target), dtype=object), return_inverse=True)
        counts = np.bincount(classes)
        common = np.flatnonzero(counts >= _FEW_OF_A_CLASS)
        if len(common) < 2:
            return []
        for name in names:
            value = _class_told(some.column(name), classes, common)
            if value >= _TELLING_AUC:
                found.append(Giveaway(name, "AUC", value))
        return found
    y = some.numbers(target)
    for name in names:
        value = _number_told(some.column(name), y)
        if value >= _TELLING_R2:
            found.append(Giveaway(name, "R2", value))
    return found


def _class_told(column: Column, classes: Rows, common: Rows) -> float:
    """The AUC with which the column tells the class that it tells worst."""
    levels = _levels(column)
    worst = 1.0
    for one in common:
        of_class = (classes == one).astype(np.float64)
        worst = min(worst, auc(of_class, _by_others(of_class, levels)))
        if worst < _TELLING_AUC:
            break
    if len(common) == 2 and column.kind != "text" and not column.missing.any():
        plain = auc((classes == common[1]).astype(int), column.values)
        worst = max(worst, plain, 1 - plain)
    return worst


def _number_told(column: Column, y: Floats) -> float:
    """The share of the target's variance that the column explains alone."""
    if column.kind == "text":
        others = _by_others(y, _levels(column))
        return 1 - float(((y - others) ** 2).sum() / ((y - y.mean()) ** 2).sum())
    present = ~column.missing
    x, y = column.values[present], y[present]
    if len(x) < _FEW_ROWS or x.min() == x.max() or y.min() == y.max():
        return 0.0
    return max(_squared_correlation(x, y), _squared_correlation(_ranks(x), _ranks(y)))


def _by_others(y: Floats, levels: Rows) -> Floats:
    """For every row the mean of y over the other rows of its level; a row alone in its level knows the whole mean."""
    size = np.bincount(levels)[levels]
    others = (np.bincount(levels, y)[levels] - y) / np.maximum(size - 1, 1)
    return np.where(size > 1, others, y.mean())


def _squared_correlation(x: Floats, y: Floats) -> float:
    with np.errstate(all="ignore"):
        x, y = x - x.mean(), y - y.mean()
        value = float((x @ y) ** 2 / ((x @ x) * (y @ y)))
    return value if math.isfinite(value) else 0.0


def _ranks(x: Floats) -> Floats:
    """Ranks, equal numbers sharing their mean rank."""
    _, place, count = np.unique(x, return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(count) - (count - 1) / 2)[place]
    return ranks


def _levels(column: Column) -> Rows:
    """A number from 0 for every cell: of its text, or of the part of all rows that its number lies in."""
    if column.kind == "text":
        return column.values.astype(np.intp) + 1
    values: ArrayLike = column.values
    n = len(column.values)
    bins = max(1, min(_MOST_BINS, n // _ROWS_A_BIN))
    # by rank, so that equal numbers share a part; NaN ranks behind all numbers and is a part of its own
    part = np.floor((_ranks(np.where(column.missing, np.inf, values)) - 1) * bins / n).astype(np.intp)
    return np.where(column.missing, bins, part)
