"""The encoder as a transformer of scikit-learn's: a thin adapter over `encoding`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from glassnet.cells import Kind, listed, shown
from glassnet.columns import Floats, Recipe
from glassnet.encoding import Encoding
from glassnet.errors import UsageError
from glassnet.tables import Table, as_table


def column_names(estimator: Any, first: int = 0) -> list[str]:
    """What the columns are called that an estimator was fitted on; those of an array x0, x1, ..., from `first` on."""
    names = getattr(estimator, "feature_names_in_", None)
    return [f"x{first + j}" for j in range(estimator.n_features_in_)] if names is None else list(names)


def table_of(estimator: Any, X: Any, *, reset: bool, kinds: Mapping[str, Kind] | None = None, first: int = 0) -> Table:
    """X under the names that `fit` gives its columns, whatever they are called in X: scikit-learn sees to that.

    `reset`: X is what the estimator is fitted on, and sets `n_features_in_` and `feature_names_in_`. `kinds`: what
    columns hold, by those names. `first`: see `column_names`.
    """
    if isinstance(X, Table) or type(X) is dict:
        raise UsageError(
            f"{type(estimator).__name__} takes a data frame or an array of rows; got {type(X).__name__}. gn.fit takes "
            "tables and mappings."
        )
    framed = hasattr(X, "columns") or hasattr(X, "column_names")
    if not framed:
        X = check_array(X, dtype=None, ensure_all_finite="allow-nan", estimator=estimator)
    validate_data(estimator, X, reset=reset, skip_check_array=True)
    names = column_names(estimator, first)
    if framed:
        own = [str(name) for name in getattr(X, "column_names", X.columns)]
    else:
        own, X = names, {name: X[:, j] for j, name in enumerate(names)}
    kinds = kinds or {}
    table = as_table(X, kinds={mine: kinds[name] for mine, name in zip(own, names, strict=True) if name in kinds})
    return replace(table, columns=dict(zip(names, table.columns.values(), strict=True)))


class Encoder(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Columns of any kind made numbers, for scikit-learn's pipelines: what `glassnet train` does to a table.

    `recipe`: a name in `glassnet.columns.RECIPES`, or a `Recipe`. Columns that can tell nothing, having one value or
    none, are left out with a warning, or refused where `strict`.

    `fit` takes a data frame (pandas, polars, pyarrow) or an array (n_samples, n_features) and sets `encoding_`, the
    records and equations; `left_out_`, a dictionary of columns and reasons; `notices_`, what else was decided.

    >>> import numpy as np
    >>> encoder = Encoder().fit(np.array([["red", 1.0], ["blue", 2.0], ["red", 6.0]], dtype=object))
    >>> encoder.get_feature_names_out().tolist()
    ['x0 = blue', 'x0 = red', 'x1']
    >>> encoder.transform(np.array([["red", 3.0], ["green", 3.0]], dtype=object)).tolist()
    [[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    >>> print(encoder.encoding_.equations)
    encode
      x1 = ['x0' = blue]
      x2 = ['x0' = red]
      x3 = ('x1' - 3) / 2.160246899469287
    """

    encoding_: Encoding
    left_out_: dict[str, str]
    notices_: tuple[str, ...]

    def __init__(self, recipe: str | Recipe = "plain", *, strict: bool = False) -> None:
        self.recipe = recipe
        self.strict = strict

    def fit(self, X: Any, y: Any = None) -> Encoder:
        """Learn the encoding of every column of X; `y` is ignored."""
        table = table_of(self, X, reset=True)
        if table.n_rows < 2:
            raise UsageError("an encoding is learned from 2 rows or more; got 1 sample.")
        found = Encoding.fit(table, table.names, None, recipe=self.recipe, strict=self.strict)
        self.encoding_, self.left_out_, self.notices_ = found
        for name, reason in self.left_out_.items():
            warnings.warn(f"column {shown(name)} left out: {reason}", UserWarning, stacklevel=2)
        return self

    def transform(self, X: Any) -> Floats:
        """The features of X, (n_samples, n_features_out), whose columns are those of `fit` in the same order."""
        check_is_fitted(self)
        return self.encoding_.encode(table_of(self, X, reset=False, kinds=self.encoding_.kinds))

    def inverse_transform(self, X: ArrayLike) -> NDArray[Any]:
        """The columns that features X were made of, (n_samples, columns used) objects in the user's units."""
        check_is_fitted(self)
        undone = self.encoding_.undo(X)
        columns = np.empty((len(np.asarray(X)), len(undone)), dtype=object)
        for j, values in enumerate(undone.values()):
            columns[:, j] = values
        return columns

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """The features' names: a column's own, `column = level`, `column other`, `column missing`.

        `input_features` are the columns' names, where `fit` saw an array.
        """
        check_is_fitted(self)
        names = column_names(self)
        given = names if input_features is None else [str(name) for name in input_features]
        if hasattr(self, "feature_names_in_") and given != names:
            raise UsageError(f"input_features is equal to feature_names_in_ or left out; got {listed(given)}.")
        if len(given) != len(names):
            raise UsageError(
                f"input_features should have length equal to number of features, {len(names)}; got {len(given)}."
            )
        new = dict(zip(names, given, strict=True))
        columns = tuple(replace(column, source=new[column.source]) for column in self.encoding_.columns)
        return np.asarray(replace(self.encoding_, columns=columns).feature_names, dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        return tags
