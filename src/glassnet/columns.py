"""What becomes of a table's column: small records, learned from training rows, whose every line is an equation.

A record's `steps` are lines in the language of `expressions`, from the cell to the features. They are printed, exported
and evaluated; `undo` goes back from the features to the user's units.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from glassnet.cells import DATE_ORIGIN, Kind, date_text, listed, number_text, shown
from glassnet.equations import Equation, Map, Symbol, raw_symbol
from glassnet.errors import DataError, UsageError, did_you_mean
from glassnet.expressions import const, function, parse, substitute, symbol
from glassnet.tables import Column, Table, column_of_texts

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Recipe:
    """What is done to columns: an entry of `RECIPES`, or one's own.

    `scaling` of numbers and dates: `standard` is (x - mean) / standard deviation, `robust` (x - median) / (third
    quartile - first quartile). `clip` bends what is far out, u / sqrt(1 + (u / 3)^2), so that it stays within ±3.
    `pieces`, where 2 or more, gives a number so many features instead, each rising from 0 to 1 between two of its
    quantiles. `missing` numbers are filled with the `mean` or the `median`. A text that fewer than `rare` of the
    training rows have, or that is not among the `max_levels` most frequent, shares a feature with all such.

    Sources: smooth clipping, Holzmüller et al., "Better by default" (2024); pieces, Gorishniy et al., "On embeddings
    for numerical features" (2022).

    >>> Recipe(scaling="robust", pieces=4).pieces
    4
    """

    scaling: Literal["standard", "robust"] = "standard"
    clip: bool = False
    pieces: int = 0
    missing: Literal["mean", "median"] = "mean"
    rare: float = 0.0
    max_levels: int = 100

    def __post_init__(self) -> None:
        for name, known in (("scaling", ("standard", "robust")), ("missing", ("mean", "median"))):
            value = getattr(self, name)
            if value not in known:
                raise UsageError(f"a recipe's {name} is one of {listed(known)}; got {value!r}.")
        if self.pieces < 0 or self.pieces == 1 or not 0 <= self.rare < 1 or self.max_levels < 1:
            raise UsageError(f"a recipe has 0 pieces or 2 and more, 0 <= rare < 1, max_levels from 1; got {self}.")
        if self.pieces and self.clip:
            raise UsageError("pieces stand in the place of scaling, so nothing is left to clip; leave out one of them.")


RECIPES = {
    "plain": Recipe(),
    "accurate": Recipe(scaling="robust", clip=True, missing="median", rare=0.005),
}
"""`plain` scales and one-hot encodes, no more, and can be written out by hand; `accurate` scores better."""


def recipe_of(recipe: str | Recipe) -> Recipe:
    """The recipe of that name, or the recipe itself.

    >>> recipe_of("plain").scaling
    'standard'
    """
    if isinstance(recipe, Recipe):
        return recipe
    if recipe not in RECIPES:
        raise UsageError(f"a recipe is one of {listed(RECIPES)}; got {recipe!r}.{did_you_mean(str(recipe), RECIPES)}")
    return RECIPES[recipe]


@dataclass(frozen=True)
class Step:
    """One line of a column's transformation: `target` = the formula with constants and symbols put in.

    `target` is the feature's name, or the symbol of an intermediate result.
    """

    target: str | Symbol
    formula: str
    named: Mapping[str, Any]  # a number or a Symbol
    note: str = ""

    def equation(self, target: Symbol) -> Equation:
        """The same line as an `Equation`."""
        put_in = {
            name: symbol(value) if isinstance(value, Symbol) else const(value) for name, value in self.named.items()
        }
        return Equation(target, Map(substitute(parse(self.formula), put_in)), "encode", note=self.note)

    def evaluate(self, values: Mapping[Symbol, Floats]) -> Floats:
        """The line's value for every row, in the canonical arithmetic."""
        operands = [
            values[value] if isinstance(value, Symbol) else np.float64(value) + 0.0 for value in self.named.values()
        ]
        computed = function(parse(self.formula), tuple(self.named))
        return np.asarray(computed(*operands), dtype=np.float64)


def scaling_formula(center: float, scale: float) -> str:
    """The formula (raw - center) / scale, without the parts that leave every bit as it is.

    >>> scaling_formula(1.5, 2.0), scaling_formula(0.0, 255.0), scaling_formula(0.0, 1.0)
    ('(raw - center) / scale', 'raw / scale', 'raw')
    """
    shifted = "raw" if center == 0 else "raw - center"
    return shifted if scale == 1 else f"({shifted}) / scale" if center else f"{shifted} / scale"


def missing_symbol(source: str) -> Symbol:
    """1 where the column's cell is missing, else 0: printed [source missing]."""
    return Symbol("missing", None, ("row",), of=source)


def level_symbol(source: str, level: str) -> Symbol:
    """1 where the column's cell is this text, else 0: printed [source = level]."""
    return Symbol("is", None, ("row",), of=source, level=level)


@dataclass(frozen=True)
class NumberColumn:
    """A column of numbers, or of dates as days since 1970-01-01, and what becomes of it.

    feature = (number - center) / scale, in the column's unit, bent by u / sqrt(1 + (u / 3)^2) where `clip`; or, where
    there are `edges`, one feature a piece between two edges. `fill` stands in for a missing cell; where cells were
    `missing` in training, a further feature says which.
    """

    source: str
    center: float
    scale: float
    fill: float
    missing: bool = False
    clip: bool = False
    edges: tuple[float, ...] = ()
    date: bool = False

    @property
    def kind(self) -> Kind:
        """What the column holds."""
        return "date" if self.date else "number"

    @classmethod
    def fit(cls, name: str, column: Column, recipe: Recipe) -> NumberColumn:
        """Learn from the training rows' column, which has two different values or more."""
        missing = column.missing
        values = column.values[~missing]
        center, scale = center_and_scale(name, values, recipe.scaling)
        fill = float(np.median(values)) if recipe.missing == "median" else mean_of(values)
        edges: tuple[float, ...] = ()
        if recipe.pieces:
            cuts = np.unique(np.quantile(values, np.linspace(0, 1, recipe.pieces + 1)))
            edges = tuple(cuts.tolist())
        return cls(name, center, scale, fill, bool(missing.any()), recipe.clip, edges, column.kind == "date")

    def steps(self) -> Iterator[Step]:
        """The lines from the cell to its features."""
        value = raw_symbol(self.source)
        note = f"days since {DATE_ORIGIN}" if self.date else ""
        if self.missing:
            filled = Symbol("filled", None, ("row",), of=self.source)
            named = {"missing": missing_symbol(self.source), "fill": self.fill, "raw": value}
            yield Step(filled, "select(missing == 1, fill, raw)", named, note)
            value, note = filled, ""
        if self.edges:
            written = [self._text(edge) for edge in self.edges]
            if len(set(written)) < len(written):  # they differ in digits that are left off as a rule
                written = [number_text(edge) for edge in self.edges]
            ends = list(zip(self.edges, written, strict=True))
            for (low, of_low), (high, of_high) in pairwise(ends):
                rising = "(raw - low) / (high - low)"
                rising = rising if high == self.edges[-1] else f"min(1, {rising})"
                rising = rising if low == self.edges[0] else f"max(0, {rising})"
                name = f"{self.source} {of_low} to {of_high}"
                yield Step(name, rising, {"raw": value, "low": low, "high": high}, note)
        else:
            named = {"raw": value, "center": self.center, "scale": self.scale}
            scaled = Symbol("scaled", None, ("row",), of=self.source)
            yield Step(scaled if self.clip else self.source, scaling_formula(self.center, self.scale), named, note)
            if self.clip:
                yield Step(self.source, "u / sqrt(1 + (u / 3)**2)", {"u": scaled})
        if self.missing:
            yield Step(f"{self.source} missing", "missing", {"missing": missing_symbol(self.source)})

    def values(self, table: Table) -> dict[Symbol, Floats]:
        """What the lines start from, for every row; where a cell is missing, its own number is the fill."""
        column = _numeric(table, self.source)
        missing = column.missing
        return {
            raw_symbol(self.source): np.where(missing, self.fill, column.values),
            missing_symbol(self.source): missing.astype(np.float64),
        }

    def undo(self, features: Floats) -> Floats:
        """The numbers (n,) that these features (n, d) were made of; NaN where a cell was missing."""
        if self.edges:
            widths = np.diff(self.edges)
            numbers = self.edges[0] + features[:, : len(widths)] @ widths
        else:
            u = features[:, 0]
            if self.clip:
                with np.errstate(divide="ignore", invalid="ignore"):
                    u = u / np.sqrt(1 - (u / 3) ** 2)
            numbers = self.center + self.scale * u
        return np.where(features[:, -1] > 0.5, np.nan, numbers) if self.missing else numbers

    def remark(self, table: Table) -> str:
        """What a user should know of these rows: missing cells where there were none in training."""
        return "" if self.missing else _unforeseen(_numeric(table, self.source), self.source, self._text(self.fill))

    def described(self) -> str:
        """The encoding in a few words."""
        if self.edges:
            text = f"{len(self.edges) - 1} pieces"
        else:
            text = f"{self._text(self.center)} +- {self.scale:.3g}" + (" days" if self.date else "")
            text += ", clipped" if self.clip else ""
        return text + (", missing marked" if self.missing else "")

    def _text(self, value: float) -> str:
        return date_text(round(value)) if self.date else f"{value:.4g}"


@dataclass(frozen=True)
class BooleanColumn:
    """A column of true and false: 1 and 0. `fill`, the share of true, stands in for a missing cell."""

    source: str
    fill: float
    missing: bool = False
    kind: ClassVar[Kind] = "boolean"

    @classmethod
    def fit(cls, name: str, column: Column) -> BooleanColumn:
        """Learn from the training rows' column."""
        missing = column.missing
        return cls(name, mean_of(column.values[~missing]), bool(missing.any()))

    def steps(self) -> Iterator[Step]:
        """The lines from the cell to its features."""
        raw, missing = raw_symbol(self.source), missing_symbol(self.source)
        if self.missing:
            named = {"missing": missing, "fill": self.fill, "raw": raw}
            yield Step(self.source, "select(missing == 1, fill, raw)", named, "true is 1")
            yield Step(f"{self.source} missing", "missing", {"missing": missing})
        else:
            yield Step(self.source, "raw", {"raw": raw}, "true is 1")

    def values(self, table: Table) -> dict[Symbol, Floats]:
        """What the lines start from, for every row; where a cell is missing, its own number is the fill."""
        column = _numeric(table, self.source)
        missing = column.missing
        odd = np.flatnonzero(~missing & (column.values != 0) & (column.values != 1))
        if odd.size:
            value = number_text(column.values[odd[0]])
            raise DataError(f"{table.cell(int(odd[0]), self.source)}: {shown(value)} is neither true nor false.")
        return {
            raw_symbol(self.source): np.where(missing, self.fill, column.values),
            missing_symbol(self.source): missing.astype(np.float64),
        }

    def undo(self, features: Floats) -> Floats:
        """1, 0 or, where a cell was missing, NaN."""
        numbers = (features[:, 0] > 0.5).astype(np.float64)
        return np.where(features[:, -1] > 0.5, np.nan, numbers) if self.missing else numbers

    def remark(self, table: Table) -> str:
        """What a user should know of these rows: missing cells where there were none in training."""
        said = f"{self.fill:.4g}, the share of true"
        return "" if self.missing else _unforeseen(_numeric(table, self.source), self.source, said)

    def described(self) -> str:
        """The encoding in a few words."""
        return "1 for true" + (", missing marked" if self.missing else "")


@dataclass(frozen=True)
class CategoryColumn:
    """A column of texts: one feature a level, 1 where the cell is that text without blanks around it.

    `other`: a further feature for all texts that are not among `levels`, rare in training or unseen; without it an
    unseen text is 0 in every feature. `missing`: a feature for missing cells, where there were any in training.
    `cells`: the kind of the cells, for numbers, booleans and dates of one value, or none, are told apart as texts are.
    """

    source: str
    levels: tuple[str, ...]
    other: bool = False
    missing: bool = False
    cells: Kind = "text"
    kind: ClassVar[Kind] = "text"

    @classmethod
    def fit(cls, name: str, column: Column, recipe: Recipe) -> CategoryColumn:
        """Learn from the training rows' column."""
        counts = level_counts(column)
        least = recipe.rare * len(column.values)
        by_count = sorted(counts, key=lambda level: (-counts[level], level))
        # where all are rare the first of them is kept, for a single feature would be 1 in every row
        kept = [level for level in by_count if counts[level] >= least][: recipe.max_levels] or by_count[:1]
        return cls(name, tuple(sorted(kept)), len(kept) < len(counts), bool(column.missing.any()), column.kind)

    def steps(self) -> Iterator[Step]:
        """The lines from the cell to its features."""
        tests = [level_symbol(self.source, level) for level in self.levels]
        for level, test in zip(self.levels, tests, strict=True):
            yield Step(f"{self.source} = {level}", "test", {"test": test})
        missing = missing_symbol(self.source)
        if self.other:
            # all tests that are named, taken from 1: exactly one of them, or the rest, holds
            named = {f"test{j}": test for j, test in enumerate([*tests, missing])}
            yield Step(f"{self.source} other", " - ".join(["1", *named]), named, "any other text")
        if self.missing:
            yield Step(f"{self.source} missing", "missing", {"missing": missing})

    def codes(self, table: Table) -> NDArray[np.int64]:
        """For every row the number of its level; len(levels) for another text, and one more for a missing cell."""
        import pyarrow
        import pyarrow.compute as compute

        column = as_text(table.column(self.source))
        n = len(self.levels)
        words = compute.utf8_trim_whitespace(column.levels.cast(pyarrow.string()))
        found = compute.fill_null(compute.index_in(words, value_set=pyarrow.array(self.levels, pyarrow.string())), n)
        codes: NDArray[np.int64] = np.append(np.asarray(found, dtype=np.int64), n + 1)[column.values]
        return codes

    def values(self, table: Table) -> dict[Symbol, Floats]:
        """What the lines start from, for every row."""
        codes = self.codes(table)
        tests = {level_symbol(self.source, level): codes == j for j, level in enumerate(self.levels)}
        tests[missing_symbol(self.source)] = codes == len(self.levels) + 1
        return {key: test.astype(np.float64) for key, test in tests.items()}

    def one_hot(self, table: Table) -> Floats:
        """All features at once (n, d): what the lines give, for they hold 0 and 1 alone."""
        codes, n = self.codes(table), len(self.levels)
        wanted = [*range(n), *([n] if self.other else []), *([n + 1] if self.missing else [])]
        features: Floats = (codes[:, np.newaxis] == np.array(wanted)).astype(np.float64)
        return features

    def undo(self, features: Floats) -> list[str | None]:
        """The texts (n,) that these features (n, d) were made of: None where missing, "other" where another."""
        words: list[str | None] = [*self.levels, *(["other"] if self.other else []), *([None] if self.missing else [])]
        chosen = features.argmax(axis=1)
        known = features.max(axis=1) > 0.5
        return [words[j] if sure else "other" for j, sure in zip(chosen.tolist(), known.tolist(), strict=True)]

    def remark(self, table: Table) -> str:
        """What a user should know of these rows: texts, or missing cells, that training had not."""
        codes = self.codes(table)
        column = as_text(table.column(self.source))
        said = []
        n = int((codes == len(self.levels)).sum())
        if n and not self.other:
            words = column.levels.take(np.unique(column.values[codes == len(self.levels)])).to_pylist()
            what = f"{_counted(n, 'unknown')} in column {shown(self.source)} ({listed(words, 3)})"
            said.append(f"{what}: 0 in every feature")
        if not self.missing and (unforeseen := _unforeseen(column, self.source, "0 in every feature")):
            said.append(unforeseen)
        return "; ".join(said)

    def described(self) -> str:
        """The encoding in a few words."""
        more = [name for name, there in (("other", self.other), ("missing", self.missing)) if there]
        return f"one-hot, {len(self.levels)} levels" + "".join(f", {name}" for name in more)


AnyColumn = NumberColumn | BooleanColumn | CategoryColumn


def _unforeseen(column: Column, source: str, taken_as: str) -> str:
    """A sentence about missing cells of a column that has no feature for them, having had none in training."""
    n = int(column.missing.sum())
    lead = f"{_counted(n, 'missing')} in column {shown(source)}, which no feature marks"
    return f"{lead}: taken as {taken_as}" if n else ""


def _counted(n: int, what: str) -> str:
    return f"1 {what} cell" if n == 1 else f"{n:,} {what} cells"


def as_text(column: Column) -> Column:
    """The same column as one of texts."""
    import pyarrow

    if column.kind == "text":
        return column
    texts = pyarrow.array([text or None for text in column.texts()], pyarrow.string())
    return column_of_texts(texts, kind="text")


def level_counts(column: Column) -> dict[str, int]:
    """How many cells have each text, blanks around it aside; missing cells are not counted.

    >>> level_counts(Table.from_columns({"x": ["a", "b ", "b", None]}).column("x"))
    {'a': 1, 'b': 2}
    """
    column = as_text(column)
    counts: dict[str, int] = {}
    every = np.bincount(column.values[column.values >= 0], minlength=len(column.levels))
    for text, count in zip(column.levels.to_pylist(), every.tolist(), strict=True):
        if count:
            counts[text.strip()] = counts.get(text.strip(), 0) + count
    return counts


def _numeric(table: Table, name: str) -> Column:
    column = table.column(name)
    if column.kind == "text":
        if bool(column.missing.all()):
            return Column("number", np.full(len(column.values), np.nan))
        table.numbers(name)  # says that it holds text, and where
    return column


def without_use(column: Column) -> str:
    """Why a column can tell a network nothing, or ""."""
    present = column.values[~column.missing]
    if not len(present):
        return "it has no value in any training row"
    if column.missing.any():
        return ""  # that it is missing may tell
    if column.kind == "text":
        counts = level_counts(column)
        return f"it is {shown(next(iter(counts)))} in every training row" if len(counts) == 1 else ""
    if present.min() == present.max():
        return f"it is {Column(column.kind, present[:1]).texts()[0]} in every training row"
    return ""


def fit_column(name: str, column: Column, recipe: Recipe) -> AnyColumn:
    """The record of a column of training rows."""
    present = column.values[~column.missing]
    if column.kind == "text" or present.min() == present.max():
        # a number that is one value or missing has two levels to tell apart, and no scale
        return CategoryColumn.fit(name, column, recipe)
    if column.kind == "boolean":
        return BooleanColumn.fit(name, column)
    return NumberColumn.fit(name, column, recipe)


def decided(encoded: AnyColumn, column: Column) -> Iterator[str]:
    """Sentences about what was decided for the user."""
    n, missing = len(column.values), int(column.missing.sum())
    if missing:
        done = "a feature of their own"
        if isinstance(encoded, NumberColumn):
            done = f"filled with {encoded._text(encoded.fill)} and marked in a feature of their own"
        elif isinstance(encoded, BooleanColumn):
            done = f"filled with {encoded.fill:.4g}, the share of true, and marked in a feature of their own"
        yield f"column {shown(encoded.source)}: {missing:,} of {n:,} training cells are missing: {done}"
    if isinstance(encoded, CategoryColumn) and encoded.other:
        counts = level_counts(column)
        yield (
            f"column {shown(encoded.source)}: {len(counts) - len(encoded.levels):,} of {len(counts):,} different texts "
            "are rare and share one feature"
        )


def mean_of(values: Floats) -> float:
    """The mean, as NumPy adds up."""
    with np.errstate(over="ignore", invalid="ignore"):
        return float(values.mean())


def center_and_scale(name: str, values: Floats, scaling: str = "standard") -> tuple[float, float]:
    """Mean and population standard deviation (divisor n); or, robust, median and distance of the quartiles.

    Where half of all values are equal, so that the quartiles coincide, half the whole range takes their place.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        if scaling == "robust":
            first, center, third = (float(v) for v in np.quantile(values, [0.25, 0.5, 0.75]))
            scale = third - first if third > first else (float(values.max()) - float(values.min())) / 2
        else:
            center, scale = float(values.mean()), float(values.std())
    if not (math.isfinite(center) and math.isfinite(scale) and scale > 0):
        raise DataError(
            f"column {shown(name)}: the spread of its values, {values.min():g} to {values.max():g}, cannot be "
            "computed in 64 bits. Give the column in another unit."
        )
    return center, scale
