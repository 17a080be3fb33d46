"""`TableClassifier` and `TableRegressor`: what `glassnet train` does to a table, under scikit-learn's conventions."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import narwhals
import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_consistent_length, check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from glassnet.cells import listed, shown
from glassnet.columns import RECIPES as COLUMN_RECIPES
from glassnet.drawing import network_svg
from glassnet.encoder import column_names, table_of
from glassnet.encoding import Task
from glassnet.errors import UsageError, did_you_mean
from glassnet.estimators.multilayer import allowed_threads
from glassnet.model import Model, fit_prepared
from glassnet.network import FloatArray
from glassnet.preparation import prepare
from glassnet.runs import AnyOptimizer, is_whole
from glassnet.tables import Table, as_table, require
from glassnet.training import History


@dataclass(frozen=True)
class Recipe:
    """What the name of a recipe stands for.

    `columns`: the entry of `glassnet.columns.RECIPES` by which columns become features. `most_parameters`: of a network
    that can be written out by hand.
    """

    columns: str
    most_parameters: int


RECIPES = {"plain": Recipe(columns="plain", most_parameters=200)}
"""`plain`: one network of at most 200 parameters over columns that are scaled and one-hot encoded, no more."""


def recipe_of(name: object) -> Recipe:
    """The recipe of that name. Raises UsageError where there is none, or none yet.

    >>> recipe_of("plain").most_parameters
    200
    """
    if isinstance(name, str) and name in RECIPES:
        return RECIPES[name]
    if isinstance(name, str) and name in COLUMN_RECIPES:
        raise UsageError(
            f"a table estimator's recipe is one of {listed(RECIPES)}; {name!r} is not there yet, but its columns are: "
            f"gn.Encoder({name!r}) in front of gn.MLPClassifier or gn.MLPRegressor, or gn.fit(recipe={name!r})."
        )
    raise UsageError(
        f"a table estimator's recipe is one of {listed(RECIPES)}; got {name!r}.{did_you_mean(str(name), RECIPES)}"
    )


class _OfTables:
    """What the two have in common."""

    model_: Model
    history_: History
    starts_: dict[str, NDArray[Any]]
    kept_start_: int
    notices_: tuple[str, ...]
    n_features_in_: int

    def __init__(
        self,
        recipe: str = "plain",
        *,
        features: Sequence[str] | None = None,
        hidden: Sequence[int] = (2,),
        activation: str = "relu",
        loss: str | None = None,
        optimizer: AnyOptimizer | None = None,
        epochs: int = 100,
        batch_size: int | None = 32,
        initializer: str | None = None,
        l1: float = 0.0,
        l2: float = 0.0,
        starts: int = 100,
        validation_fraction: float = 0.1,
        patience: int | None = None,
        random_state: Any = 0,
    ) -> None:
        self.recipe = recipe
        self.features = features
        self.hidden = hidden
        self.activation = activation
        self.loss = loss
        self.optimizer = optimizer
        self.epochs = epochs
        self.batch_size = batch_size
        self.initializer = initializer
        self.l1 = l1
        self.l2 = l2
        self.starts = starts
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.random_state = random_state

    def _fit(self, X: Any, target: Table, task: Task, sample_weight: Any) -> None:
        """Train on a table of X and of the target, which is a table of one column."""
        recipe = recipe_of(self.recipe)
        table = table_of(self, X, reset=True, first=1)
        (name,), (column,) = target.names, target.columns.values()
        check_consistent_length(np.empty(table.n_rows), column.values)
        if table.n_rows < 2:
            raise UsageError("an encoding is learned from 2 rows or more; got 1 sample.")
        while name in table.columns:
            name += "_"
        columns, weights = {**table.columns, name: column}, None
        if sample_weight is not None:
            weights = "sample_weight"
            while weights in columns:
                weights += "_"
            given = _check_sample_weight(sample_weight, np.empty((table.n_rows, 1)), dtype=np.float64)
            columns[weights] = as_table({weights: given}).columns[weights]
        features = self.features
        if features is None and not hasattr(self, "feature_names_in_"):
            features = table.names  # without names there are no identifiers among them
        seed = self.random_state
        prepared = prepare(
            replace(table, columns=columns), name, features=features, weights=weights, task=task,
            recipe=recipe.columns, test_size=None,
            random_state=seed if is_whole(seed) else int(check_random_state(seed).randint(2**31 - 1)),
        )  # fmt: skip
        left_out = [f"column {shown(name)} left out: {reason}" for name, reason in prepared.left_out.items()]
        for said in (*left_out, *prepared.warnings):
            warnings.warn(said, UserWarning, stacklevel=3)
        fitted = fit_prepared(
            prepared, hidden=self.hidden, activation=self.activation, loss=self.loss, optimizer=self.optimizer,
            epochs=self.epochs, batch_size=self.batch_size, initializer=self.initializer, l1=self.l1, l2=self.l2,
            starts=self.starts, validation_fraction=self.validation_fraction, patience=self.patience,
            most_parameters=recipe.most_parameters, random_state=prepared.split["random_state"],
            threads=allowed_threads(),
        )  # fmt: skip
        many = fitted.population
        self.model_, self.notices_, self.kept_start_ = fitted.model, fitted.notices, many.kept
        self.history_ = many.history(many.kept)
        self.starts_ = {
            "objective": many.objectives,
            "n_epochs": many.n_epochs,
            "n_dead_units": many.n_dead_units,
            "diverged_at": many.diverged_at,
            **fitted.start_scores,
        }
        if self.patience is not None:
            self.starts_["validation_loss"] = many.judged_by
        if (many.diverged_at >= 0).all():
            warnings.warn(
                "every start diverged: what is kept is finite, but not a usable model. Lower the optimizer's "
                "learning_rate.",
                ConvergenceWarning,
                stacklevel=3,
            )

    def _taken_apart(self, X: Any, y: Any) -> tuple[Any, Any]:
        """X without its target column, and that column, where y is its name."""
        if y is None:
            raise UsageError("fit requires y to be passed, but the target y is None: its values, or its column's name.")
        if not isinstance(y, str):
            return X, y
        frame = _frame(X)
        if frame is None:
            raise UsageError(
                f"y is the name of a column where X is a data frame; got {y!r}, and X is of type {type(X).__name__}. "
                "Give the target's values as y; gn.fit takes tables and mappings."
            )
        require([y], [str(name) for name in frame.columns])
        return frame.drop(y).to_native(), frame.get_column(y)

    def to_model(self) -> Model:
        """The `Model` that was fitted: what `gn.derive`, `gn.explain`, `gn.verify` and `gn.save` take."""
        check_is_fitted(self)
        return self.model_

    def _table(self, X: Any) -> Table:
        """The columns that the model knows; the target's is left out where it still is among those of X."""
        check_is_fitted(self)
        target = self.model_.target.source
        frame = _frame(X)
        if frame is not None and target in frame.columns and target not in column_names(self, 1):
            X = frame.drop(target).to_native()
        return table_of(self, X, reset=False, kinds=self.model_.encoder.kinds, first=1)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy, or R², on X and y, the target's values or its column's name."""
        X, y = self._taken_apart(X, y)
        found: float = super().score(X, np.asarray(y), sample_weight)  # type: ignore[misc]
        return found

    def _html_repr(self) -> str:
        """In a notebook: its parameters as scikit-learn shows them and, once it is fitted, the network."""
        shown: str = super()._html_repr()  # type: ignore[misc]
        if not hasattr(self, "model_"):
            return shown
        model, network = self.model_, self.model_.network
        names = [f"P({name})" for name in model.classes][-network.n_outputs :] or [model.target.source]
        svg = network_svg(network, model.members[0], feature_names=model.encoder.feature_names, output_names=names)
        return f"<div>{shown}{svg}</div>"

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.target_tags.required = True
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        return tags


def _frame(X: Any) -> Any:
    """X as narwhals has it, None where it is no data frame."""
    frame = narwhals.from_native(X, eager_only=True, pass_through=True)
    return frame if isinstance(frame, narwhals.DataFrame) else None


def _called(y: Any, values: Any) -> str:
    """What the target is called: as the column was, or the series; y where it has no name."""
    name = y if isinstance(y, str) else getattr(values, "name", None)
    return name if isinstance(name, str) and name.strip() else "y"


class TableClassifier(_OfTables, ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A table in, its classes out: what `glassnet train` does, as a scikit-learn classifier.

    `recipe`: "plain" scales and one-hot encodes columns and trains one network of at most 200 parameters, so that all
    that it does can be written out by hand. `features`: the names of the columns to use; where left out, all that are
    no identifiers, and of an array all. Every other parameter means what it means in `gn.fit`: `hidden`, `activation`,
    `loss`, `optimizer`, `epochs`, `batch_size`, `initializer`, `l1`, `l2`, `starts`; with `patience`, so many epochs
    without a lower loss on a share `validation_fraction` of the rows, drawn by class and not trained on, end a start,
    and the start with the lowest such loss is kept, else the one with the lowest training objective. `random_state`: a
    seed, a RandomState or None.

    After `fit`: `model_`, the `Model`, which `gn.derive`, `gn.explain`, `gn.verify` and `gn.save` take, as they take
    the estimator itself; `classes_`; `starts_`, arrays (starts,) of what each start came to; `kept_start_`, which of
    them is kept; `history_`, its losses by epochs; `notices_`, what was decided of the columns; `n_features_in_`,
    `feature_names_in_`.

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"dose": [0.0, 1.0, 2.0, 3.0], "ill": ["no", "no", "yes", "yes"]})
    >>> estimator = TableClassifier(hidden=(), epochs=300, starts=2).fit(frame, "ill")
    >>> estimator.predict(pd.DataFrame({"dose": [-4.0, 9.0]})).tolist()
    ['no', 'yes']
    >>> print(estimator.model_.encode_equations)
    encode
      x1 = (dose - 1.5) / 1.118033988749895
    """

    classes_: NDArray[Any]

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> TableClassifier:
        """Train on X, a data frame or an array (n_samples, n_features), and y (n_samples,) or a column's name.

        `sample_weight` (n_samples,), 0 or more: what a row counts in the loss, with `patience` in that of the rows that
        are not trained on as well. How columns are scaled does not depend on it.

        Raises UsageError and DataError, both ValueErrors, for what cannot be meant, and for a network of more
        parameters than the recipe allows.
        """
        X, labels = self._taken_apart(X, y)
        values = column_or_1d(labels, warn=True)
        textual = values.dtype.kind in "OUS"
        if not textual:
            check_classification_targets(values)
        name = _called(y, labels)
        # a model calls classes by texts, and texts stand as they are, were they to look like numbers or dates
        target = as_table({name: values}, kinds={name: "text"} if textual else {})
        texts = target.labels(name)
        check_classification_targets(values)
        classes, first = np.unique(values, return_index=True)
        own = [texts[row] for row in first]
        if len(set(own)) < len(own):
            twice = [str(label) for label, text in zip(classes, own, strict=True) if own.count(text) > 1]
            raise UsageError(f"classes differ in their text without blanks around it; {listed(twice)} do not. Rename.")
        self._fit(X, target, "classification", sample_weight)
        self.classes_ = classes
        self._class_of = {text: code for code, text in enumerate(own)}
        return self

    def predict(self, X: Any) -> NDArray[Any]:
        """The class of every row (n_samples,)."""
        table = self._table(X)
        codes = [self._class_of[text] for text in self.model_.predict(table)]
        found: NDArray[Any] = self.classes_[codes]
        return found

    def predict_proba(self, X: Any) -> FloatArray:
        """The probability of every class (n_samples, n_classes), in the order of `classes_`."""
        table = self._table(X)
        found = self.model_.predict_proba(table)
        order = np.argsort([self._class_of[text] for text in self.model_.classes])
        return found[:, order]

    def predict_log_proba(self, X: Any) -> FloatArray:
        """The logarithm of `predict_proba`."""
        probabilities = self.predict_proba(X)
        with np.errstate(divide="ignore"):
            logarithms: FloatArray = np.log(probabilities)
        return logarithms


class TableRegressor(_OfTables, RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A table in, a number out: what `glassnet train` does, as a scikit-learn regressor.

    Parameters and attributes as `TableClassifier`'s, without classes; predictions are in the target's own unit.

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"dose": [0.0, 1.0, 2.0, 3.0, 4.0], "cost": [1.0, 3.0, 5.0, 7.0, 9.0]})
    >>> from glassnet.optimizers import LBFGS
    >>> estimator = TableRegressor(hidden=(), optimizer=LBFGS(), batch_size=None, starts=1).fit(frame, "cost")
    >>> round(estimator.score(frame, "cost"), 3)
    1.0
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> TableRegressor:
        """Train on X, a data frame or an array (n_samples, n_features), and y (n_samples,) or a column's name.

        `sample_weight` as in `TableClassifier`.

        Raises UsageError and DataError, both ValueErrors, for what cannot be meant, and for a network of more
        parameters than the recipe allows.
        """
        X, numbers = self._taken_apart(X, y)
        values = column_or_1d(numbers, warn=True)
        if values.dtype.kind not in "OUS":
            values = check_array(values, ensure_2d=False, dtype="numeric", input_name="y")
        self._fit(X, as_table({_called(y, numbers): values}), "regression", sample_weight)
        return self

    def predict(self, X: Any) -> FloatArray:
        """The number of every row (n_samples,), in the target's unit."""
        table = self._table(X)
        return np.asarray(self.model_.predict(table), dtype=np.float64)
