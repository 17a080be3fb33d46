"""Splits: everyone has the same chance, groups stay together, and what leaks is seen."""

from __future__ import annotations

import csv
import math
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import glassnet
from glassnet.errors import DataError, UsageError
from glassnet.randomness import Purpose, permutation
from glassnet.splits import giveaways, marked, repeated, split
from glassnet.tables import Table, as_table


@given(st.data())
@settings(max_examples=200)
def test_splits(data: st.DataObject) -> None:
    labels = data.draw(st.lists(st.sampled_from("abcd"), min_size=2, max_size=80))
    test_size = data.draw(st.floats(0.01, 0.99))
    seed = data.draw(st.integers(0, 2**64 - 1))
    n = len(labels)
    counts = Counter(labels)
    if max(counts.values()) == 1:
        with pytest.raises(DataError, match="two rows or more"):
            split(n, test_size=test_size, seed=seed, stratify=labels)
        return
    train, test = split(n, test_size=test_size, seed=seed, stratify=labels)
    assert sorted([*train, *test]) == list(range(n))
    assert (np.diff(train) > 0).all()
    assert (np.diff(test) > 0).all()
    in_train = Counter(labels[row] for row in train)
    assert in_train.keys() == counts.keys()
    wanted = math.ceil(Fraction(repr(test_size)) * n)
    assert len(test) == min(wanted, n - len(counts))
    if all(counts[label] - wanted * counts[label] / n >= 2 for label in counts):  # nobody had to be spared
        for label, count in counts.items():
            assert abs((count - in_train[label]) - wanted * count / n) < 1
    # The same rows as going through all rows in random order, one by one, as long as a class has a share left.
    shares = Counter(labels[row] for row in test)
    expected = []
    for row in permutation(n, seed=seed, purpose=Purpose.SPLIT):
        if shares[labels[row]] > 0:
            shares[labels[row]] -= 1
            expected.append(int(row))
    assert sorted(expected) == test.tolist()


def test_every_row_is_as_likely_in_the_test_part() -> None:
    counts = np.zeros(20)
    for seed in range(1000):
        counts[split(20, test_size=0.2, seed=seed)[1]] += 1
    # 1,000 draws of probability .2: 200 with standard deviation 12.6; five of them, for 20 rows and one fixed outcome
    assert np.abs(counts - 200).max() < 64


def test_a_fifth_is_a_fifth() -> None:
    assert [len(split(n, test_size=0.2)[1]) for n in (5, 10, 455, 569, 10_000)] == [1, 2, 91, 114, 2000]
    assert len(split(30, test_size=0.1)[1]) == 3  # 0.1 * 30 as floats is 3.0000000000000004 on some ways


def test_splits_that_cannot_be() -> None:
    for test_size in (0, 1, -0.1, 1.5, math.nan, 20):
        with pytest.raises(UsageError, match="between 0 and 1"):
            split(10, test_size=test_size)
    with pytest.raises(UsageError, match="one label per row"):
        split(10, stratify=["a"])
    with pytest.raises(UsageError, match="one label per row"):
        split(10, groups=["a"])
    with pytest.raises(UsageError):
        split(10, seed=-1)
    for n in (0, 1):
        with pytest.raises(DataError, match="two rows"):
            split(n)
    with pytest.raises(DataError, match="two groups or more; there is 1"):
        split(10, groups=["a"] * 10)


# Groups


@given(st.data())
@settings(max_examples=200)
def test_groups_stay_together(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 6), min_size=2, max_size=30))
    groups = [f"g{j}" for j, size in enumerate(sizes) for _ in range(size)]
    order = data.draw(st.permutations(range(len(groups))))
    groups = [groups[i] for i in order]
    n = len(groups)
    labels = data.draw(st.none() | st.lists(st.sampled_from("ab"), min_size=n, max_size=n))
    test_size = data.draw(st.floats(0.05, 0.6))
    seed = data.draw(st.integers(0, 1000))
    train, test = split(n, test_size=test_size, seed=seed, stratify=labels, groups=groups)
    assert sorted([*train, *test]) == list(range(n))
    assert not {groups[i] for i in train} & {groups[i] for i in test}
    assert len(train)
    assert len(test)
    again = split(n, test_size=test_size, seed=seed, stratify=labels, groups=groups)
    assert (again[0].tolist(), again[1].tolist()) == (train.tolist(), test.tolist())
    if labels is None:
        wanted = math.ceil(Fraction(repr(test_size)) * n)
        # a further group is only left out if it would overshoot by as much as is lacking
        assert len(test) <= wanted + max(sizes)
        assert wanted - len(test) <= max(sizes)


def test_groups_and_classes_together() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(200), 5)
    labels = rng.choice(["a", "b", "b", "b"], 200)[groups]
    for seed in range(5):
        _, test = split(1000, seed=seed, stratify=labels, groups=groups)
        assert abs(len(test) - 200) <= 10
        assert abs(np.mean(labels[test] == "a") - np.mean(labels == "a")) < 0.03


def test_a_class_of_one_group_stays_in_training() -> None:
    groups = ["p", "p", "q", "q", "r", "r", "s", "s"]
    labels = ["rare", "rare", *"aaaaaa"]
    for seed in range(20):
        train, _ = split(8, test_size=0.5, seed=seed, stratify=labels, groups=groups)
        assert 0 in train


# Marks


def test_marks() -> None:
    train, test = marked(Table.from_columns({"m": ["train", " TEST", "Train"]}), "m")
    assert (train.tolist(), test.tolist()) == ([0, 2], [1])


@pytest.mark.parametrize(
    ("marks", "message"),
    [
        (["train", "test", "valid"], "row 2, column 'm': a mark is train or test; got 'valid'"),
        (["train", "test", None], "row 2, column 'm': a mark is train or test; got ''"),
        (["train", "train"], "none is marked test"),
        (["test"], "none is marked train"),
        ([1, 0], "got '1'"),
    ],
)
def test_marks_that_cannot_be(marks: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        marked(Table.from_columns({"m": marks}), "m")


# Rows on both sides


@given(st.data())
@settings(max_examples=150)
def test_repeated_rows_are_counted_exactly(data: st.DataObject) -> None:
    n = data.draw(st.integers(2, 40))
    cells = {
        "x": st.sampled_from([0.0, -0.0, 1.0, math.nan]),
        "t": st.sampled_from(["a", "b", None]),
        "b": st.sampled_from([True, False, None]),
    }
    columns = {name: data.draw(st.lists(cell, min_size=n, max_size=n)) for name, cell in cells.items()}
    cut = data.draw(st.integers(0, n))
    order = np.array(data.draw(st.permutations(range(n))))
    train, test = np.sort(order[:cut]), np.sort(order[cut:])
    table = as_table(columns)
    texts = list(zip(*(table.texts(name) for name in columns), strict=True))
    expected = sum(texts[i] in {texts[k] for k in train} for i in test)
    assert repeated(table, list(columns), train, test) == expected


def test_rows_that_share_a_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glassnet.splits._MIX", np.uint64(0))  # all rows have one hash
    x = np.arange(40) % 7
    table = Table.from_columns({"x": x})
    rows = np.arange(40)
    assert repeated(table, ["x"], rows[:5], rows[5:]) == int(np.isin(x[5:], x[:5]).sum())


# Columns that give the target away

N = 300
RNG = np.random.default_rng(4)
Y = RNG.choice(["no", "yes"], N)
NUMBER = RNG.normal(size=N)


def named(columns: dict[str, Any], target: Any, task: str = "classification") -> list[str]:
    table = as_table({**columns, "y": target})
    return [found.column for found in giveaways(table, list(columns), "y", task, np.arange(table.n_rows))]


def test_what_gives_a_class_away_is_named() -> None:
    middle = RNG.uniform(0, 100, N)
    told: dict[str, Any] = {
        "copy": Y,
        "code": np.where(Y == "yes", 7, 3),
        "noisy": (Y == "yes") + RNG.normal(0, 0.1, N),
        "turned": -1.0 * (Y == "yes") + RNG.normal(0, 0.1, N),
        "gap": np.where(Y == "yes", np.nan, NUMBER),
        "text": np.where(Y == "yes", RNG.choice(["a", "b"], N), RNG.choice(["c", "d"], N)),
    }
    assert named(told, Y) == list(told)
    # an interval is no order, but its parts tell; those at its two ends are mixed
    assert named({"middle": np.sort(middle)}, np.where(abs(np.sort(middle) - 50) < 20, "in", "out")) == ["middle"]
    three = RNG.choice(["a", "b", "c"], N)
    codes = np.array([{"a": 2, "b": 0, "c": 1}[label] for label in three])
    assert named({"codes": codes, "number": NUMBER}, three) == ["codes"]


def test_what_gives_a_number_away_is_named() -> None:
    y = RNG.normal(50, 10, N)
    level = RNG.choice(list("abcd"), N)
    close = y + RNG.normal(0, 0.1, N)
    told: dict[str, Any] = {"copy": y, "scaled": 3 - 2 * y, "curved": np.exp(y / 10), "close": close}
    assert named({**told, "near": y + RNG.normal(0, 2, N), "level": level}, y, "regression") == list(told)
    of_level = np.array([{"a": 1.0, "b": 2.0, "c": 4.0, "d": 8.0}[one] for one in level]) + RNG.normal(0, 0.01, N)
    assert named({"level": level, "number": NUMBER}, of_level, "regression") == ["level"]


def test_what_tells_nothing_is_not_named() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(50, 400))
        columns: dict[str, Any] = {
            "number": rng.normal(size=n),
            "few": rng.integers(0, 5, n),
            "text": rng.choice(list("abcdefgh"), n),
            "identifier": np.arange(n),
            "name": [f"n{i}" for i in range(n)],
            "gaps": np.where(rng.random(n) < 0.5, np.nan, rng.normal(size=n)),
        }
        assert named(columns, rng.choice(["no", "yes"], n)) == []
        assert named(columns, rng.normal(size=n), "regression") == []


def test_few_rows_prove_nothing() -> None:
    assert named({"copy": Y[:49]}, Y[:49]) == []
    assert named({"copy": [1] * 95 + [0] * 5}, ["a"] * 95 + ["b"] * 5) == []


def test_the_tumors_columns_give_nothing_away() -> None:
    path = Path(glassnet.__file__).with_name("bdiag.csv")
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = {name: [row[name] if name == "diagnosis" else float(row[name]) for row in rows] for name in rows[0]}
    table = as_table(columns)
    names = [name for name in table.names if name != "diagnosis"]
    every = np.arange(table.n_rows)
    assert giveaways(table, names, "diagnosis", "classification", every) == []
    assert giveaways(table, ["radius_mean"], "perimeter_mean", "regression", every) == []
    others = [name for name in names if name != "fractal_dimension_mean"]
    assert giveaways(table, others, "fractal_dimension_mean", "regression", every) == []
