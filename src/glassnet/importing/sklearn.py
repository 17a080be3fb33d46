"""scikit-learn's `MLPClassifier` and `MLPRegressor`, with the pipeline in front of them, as a `Model`.

What a pipeline makes of a table's columns is followed feature by feature, as one of two things: a number of a column,
shifted and scaled, or a sum of tests of cells (is it this text? is it missing?). At the end a column's numbers become a
`NumberColumn` and its tests a `CategoryColumn`; where the estimator's features are other than these columns', as
with an ordinal code, the first layer's weights take the difference in.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from glassnet.cells import Kind, boolean_text, listed, number_text, shown
from glassnet.columns import AnyColumn, CategoryColumn, NumberColumn
from glassnet.errors import UsageError
from glassnet.importing import Chain, Floats, input_names, model_of
from glassnet.model import Model

_KINDS = (
    "MLPClassifier and MLPRegressor, alone, in a Pipeline or a TransformedTargetRegressor; StandardScaler, "
    "MinMaxScaler, MaxAbsScaler, RobustScaler, SimpleImputer, OneHotEncoder, OrdinalEncoder, gn.Encoder, "
    "ColumnTransformer"
)
_OURS = {"identity": "identity", "logistic": "sigmoid", "tanh": "tanh", "relu": "relu", "softmax": "softmax"}
_OURS["exp"] = "exponential"

# Of a cell: ("is", text), ("missing", "") or ("other", ""); of a record of gn.Encoder's, ("feature", its number).
_Test = tuple[str, str]


@dataclass(frozen=True)
class _Cell:
    """(cell - center) / scale, of the column of that number; `fill` stands in for a missing cell."""

    column: int
    center: float = 0.0
    scale: float = 1.0
    fill: float | str | None = None

    @property
    def raw(self) -> bool:
        return (self.center, self.scale) == (0.0, 1.0)


@dataclass(frozen=True)
class _Tests:
    """constant + the sum of coefficient * test, where a test of the column's cell is 1 or 0."""

    column: int
    constant: float
    coefficients: dict[_Test, float]


_Feature = _Cell | _Tests


@dataclass
class _Inputs:
    """What is known of the table's columns: their names, of texts the levels and the kind of the cells, records."""

    chain: Chain
    names: list[str]
    levels: dict[int, tuple[list[str], Kind]] = field(default_factory=dict)
    ours: dict[int, AnyColumn] = field(default_factory=dict)  # as a gn.Encoder has them
    texts: set[str] = field(default_factory=set)  # every category that an encoder knows, rare ones too


def from_sklearn(estimator: Any, *, features: Sequence[str] | None = None, target: str = "y") -> Model:
    """The `Model` of a fitted scikit-learn network, alone or at the end of a pipeline; its predictions are the same.

    `estimator`: `MLPClassifier` or `MLPRegressor`, scikit-learn's or ours, with one output or one per class, alone, in
    a `Pipeline` or in a `TransformedTargetRegressor`, behind `StandardScaler`, `MinMaxScaler`, `MaxAbsScaler`,
    `RobustScaler`, `SimpleImputer`, `OneHotEncoder`, `OrdinalEncoder`, `gn.Encoder`, or a `ColumnTransformer` of these.
    `features` names the inputs; where left out they are the estimator's `feature_names_in_`, else x1, x2, ....
    `target` names what is predicted.

    Both compute from the same numbers, but add them up in another order: logits differ by a few roundings of 64 bits.
    `model.provenance["notices"]` says where features that are not a column's own, as ordinal codes, went into the first
    layer's weights. The loss is binary_cross_entropy, cross_entropy, poisson or mean_squared_error, which is twice
    scikit-learn's squared_error. Where scikit-learn refuses a cell at prediction, a missing one or a text that it has
    not seen, the model takes its column's center, or 0 in every feature, and `model.encoder.remarks` says so.

    Raises `UsageError` where something cannot be imported: it names the step and says why.

    >>> from sklearn.neural_network import MLPRegressor
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [1.0, 3.0, 5.0, 7.0]
    >>> mlp = MLPRegressor(hidden_layer_sizes=(2,), solver="lbfgs", random_state=1)
    >>> pipeline = make_pipeline(StandardScaler(), mlp).fit(X, y)
    >>> model = from_sklearn(pipeline, features=["dose"], target="effect")
    >>> print(model.encode_equations.text().splitlines()[1])
      x1 = (dose - 1.5) / 1.118033988749895
    >>> bool(abs(model.predict({"dose": [1.5]}) - pipeline.predict([[1.5]])).max() < 1e-12)
    True
    """
    steps, final, where, scaling = _unrolled(Chain(_KINDS), estimator)
    if not _is_network(final):
        best = " Give its best_estimator_." if hasattr(final, "best_estimator_") else ""
        raise Chain(_KINDS).refuse(where, f"it is no MLPClassifier or MLPRegressor.{best}".rstrip("."))
    _require_fitted(final, where)
    layers = [(final.coefs_, final.intercepts_)]
    if getattr(final, "combine", "best") == "average" and hasattr(final, "starts_"):
        layers = [(start.coefs, start.intercepts) for start in final.starts_]
    names = _names([*(step for _, step in steps), final], features)
    models = [
        _imported(steps, final, where, scaling, coefs, intercepts, names, target, type(estimator).__name__)
        for coefs, intercepts in layers
    ]
    return replace(models[0], members=tuple(member for model in models for member in model.members))


def _is_network(estimator: Any) -> bool:
    """Whether it is one of scikit-learn's two classes, or of ours, which this room, above theirs, knows by a method."""
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    return type(estimator) in (MLPClassifier, MLPRegressor) or hasattr(estimator, "to_model")


def _imported(
    steps: list[tuple[str, Any]],
    final: Any,
    where: str,
    scaling: tuple[float, float],
    coefs: list[Floats],
    intercepts: list[Floats],
    names: list[str],
    target: str,
    kind: str,
) -> Model:
    """The model of one network behind its steps."""
    import sklearn

    chain = Chain(_KINDS)
    inputs = _Inputs(chain, names)
    made: list[_Feature] = [_Cell(column) for column in range(len(inputs.names))]
    for place, step in steps:
        made = _transformed(inputs, made, step, place)
    columns = _take_in(inputs, made, where, coefs[0], intercepts[0])
    ours = getattr(final, "network_", None)
    activations = [_OURS[final.activation]] * (len(coefs) - 1) if ours is None else ours.activations
    for layer, (W, b) in enumerate(zip(coefs[1:], intercepts[1:], strict=True), start=1):
        chain.activation(where, activations[layer - 1])
        chain.dense(f"{where}, coefs_[{layer}]", W, b)
    chain.activation(where, _OURS[final.out_activation_])
    classes = getattr(final, "classes_", None)
    if classes is not None and final.n_outputs_ == 1 and len(classes) < 2:
        raise chain.refuse(where, f"it knows one class only, {classes[0]!r}")
    loss = None
    if final.out_activation_ == "identity":
        loss = "mean_squared_error" if ours is None else ours.loss
    several = final.n_outputs_ > 1 and final.out_activation_ != "softmax"
    return model_of(
        chain, columns, target=target, classes=None if several else classes, loss=loss, scaling=scaling,
        texts=inputs.texts - {""},
        source=f"scikit-learn {sklearn.__version__}, {kind}" if ours is None else f"glassnet's {kind}",
    )  # fmt: skip


# --- the steps in front of the network ----------------------------------------------------------------------------


def _unrolled(chain: Chain, estimator: Any) -> tuple[list[tuple[str, Any]], Any, str, tuple[float, float]]:
    """The transformers in order, each with its place; the network, its place, and the target's center and scale."""
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.pipeline import Pipeline

    steps: list[tuple[str, Any]] = []
    scaling, place = (0.0, 1.0), ""
    while True:
        where = _inside(place, type(estimator).__name__)
        if type(estimator) is Pipeline:
            *before, (name, last) = estimator.steps
            steps += _placed(place, before)
            place, estimator = _inside(place, f"steps[{len(before)}] {name!r}"), last
        elif type(estimator) is TransformedTargetRegressor:
            _require_fitted(estimator, where)
            scaling = _target_scaling(chain, estimator.transformer_, f"{where}, transformer_")
            place, estimator = _inside(place, "regressor_"), estimator.regressor_
        else:
            return steps, estimator, where, scaling


def _placed(place: str, steps: Sequence[tuple[str, Any]]) -> list[tuple[str, Any]]:
    return [(_inside(place, f"steps[{k}] {name!r}"), step) for k, (name, step) in enumerate(steps)]


def _inside(place: str, part: str) -> str:
    return f"{place}, {part}" if place else part


def _require_fitted(estimator: Any, where: str) -> None:
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(estimator)
    except (NotFittedError, TypeError) as problem:
        raise UsageError(f"What is imported has been fitted; {where} has not. Call fit first.") from problem


def _names(parts: Sequence[Any], features: Sequence[str] | None) -> list[str]:
    """The names of the columns that the first part which looks at them was fitted on."""
    for part in parts:
        if hasattr(part, "n_features_in_"):
            found = getattr(part, "feature_names_in_", None)
            return input_names(found if features is None else features, part.n_features_in_)
    raise AssertionError("a fitted network knows how many inputs it has")


def _transformed(inputs: _Inputs, features: list[_Feature], step: Any, place: str) -> list[_Feature]:
    """What a fitted transformer makes of these features."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder

    from glassnet.encoder import Encoder

    if step is None or step == "passthrough":
        return features
    where, kind = f"{place}, {type(step).__name__}", type(step)
    if kind is FunctionTransformer:
        if step.func is not None:
            raise inputs.chain.refuse(where, "what a function of one's own does has no equation")
        return features
    if kind is Pipeline:
        for inner, part in _placed(place, step.steps):
            features = _transformed(inputs, features, part, inner)
        return features
    _require_fitted(step, where)
    if kind is ColumnTransformer:
        if step.transformer_weights is not None:
            raise inputs.chain.refuse(where, "it weighs its transformers by transformer_weights")
        joined: list[_Feature] = []
        for name, part, columns in step.transformers_:
            chosen = _chosen(step, columns)
            if chosen and part != "drop":
                joined += _transformed(inputs, [features[j] for j in chosen], part, f"{place}, transformer {name!r}")
        return joined
    if kind is SimpleImputer:
        return _imputed(inputs, features, step, where)
    if kind is OneHotEncoder:
        return _one_hot(inputs, features, step, where)
    if kind is Encoder:
        return _encoded(inputs, features, step, where)
    if kind is OrdinalEncoder:
        return _ordinal(inputs, features, step, where)
    centers, scales = _center_and_scale(inputs.chain, step, where)
    return [
        _scaled(feature, float(center), float(scale))
        for feature, center, scale in zip(features, centers, scales, strict=True)
    ]


def _chosen(transformer: Any, columns: Any) -> list[int]:
    """The numbers of the columns that a ColumnTransformer's entry names, in any of the ways in which it may."""
    n = transformer.n_features_in_
    names = list(getattr(transformer, "feature_names_in_", ()))
    if isinstance(columns, slice):
        start, stop = columns.start, columns.stop
        if isinstance(start, str) or isinstance(stop, str):  # of names the last is one of them, as in pandas
            start = names.index(start) if isinstance(start, str) else start
            stop = names.index(stop) + 1 if isinstance(stop, str) else stop
        return list(range(n)[slice(start, stop, columns.step)])
    chosen = [columns] if isinstance(columns, str | int) else list(columns)
    if chosen and all(isinstance(item, bool | np.bool_) for item in chosen):
        return np.flatnonzero(chosen).tolist()
    return [names.index(item) if isinstance(item, str) else range(n)[item] for item in chosen]


def _scaled(feature: _Feature, center: float, scale: float) -> _Feature:
    """(feature - center) / scale."""
    if isinstance(feature, _Cell):
        return replace(feature, center=feature.center + feature.scale * center, scale=feature.scale * scale)
    coefficients = {test: value / scale for test, value in feature.coefficients.items()}
    return _Tests(feature.column, (feature.constant - center) / scale, coefficients)


def _center_and_scale(chain: Chain, scaler: Any, where: str) -> tuple[Floats, Floats]:
    """What a scaler takes off every feature, and what it divides by: (n,) each."""
    from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

    n, kind = getattr(scaler, "n_features_in_", 0), type(scaler)
    if kind in (MaxAbsScaler, MinMaxScaler) and getattr(scaler, "clip", False):
        raise chain.refuse(where, "it clips what is out of the training rows' range (clip=True)")
    centers: ArrayLike | None = None
    scales: ArrayLike | None = None
    if kind is StandardScaler:
        centers, scales = scaler.mean_ if scaler.with_mean else None, scaler.scale_
    elif kind is RobustScaler:
        centers, scales = scaler.center_, scaler.scale_
    elif kind is MaxAbsScaler:
        scales = scaler.scale_
    elif kind is MinMaxScaler:
        low, high = scaler.feature_range
        with np.errstate(divide="ignore"):
            # A column of one value is divided by 1 in its range's stead.
            width = np.where((high - low) / scaler.data_range_ == scaler.scale_, scaler.data_range_, 1.0)
        scales = width / (high - low)
        centers = scaler.data_min_ - low * scales
    else:
        raise chain.refuse(where, "what it does to a column of numbers is not known here")
    centers = chain.numbers(where, np.zeros(n) if centers is None else centers)
    return centers, chain.numbers(where, np.ones(n) if scales is None else scales)


def _target_scaling(chain: Chain, transformer: Any, where: str) -> tuple[float, float]:
    from sklearn.preprocessing import FunctionTransformer

    if type(transformer) is FunctionTransformer:
        if transformer.func is not None or transformer.inverse_func is not None:
            raise chain.refuse(where, "what a function of one's own does has no equation")
        return 0.0, 1.0
    centers, scales = _center_and_scale(chain, transformer, f"{where} {type(transformer).__name__}")
    return (0.0, 1.0) if len(centers) > 1 else (float(centers[0]), float(scales[0]))  # several targets are refused


def _imputed(inputs: _Inputs, features: list[_Feature], imputer: Any, where: str) -> list[_Feature]:
    if not _is_missing(imputer.missing_values):
        raise inputs.chain.refuse(
            where, f"it fills cells that are {imputer.missing_values!r}, and glassnet those without a value"
        )
    made: list[_Feature] = []
    for feature, fill in zip(features, imputer.statistics_.tolist(), strict=True):
        if _is_missing(fill):
            continue  # a column without any value, which the imputer leaves out
        if isinstance(feature, _Cell) and feature.fill is None:
            number = isinstance(fill, int | float) and not isinstance(fill, bool)
            made.append(replace(feature, fill=feature.center + feature.scale * fill if number else _text(fill)))
        else:
            made.append(feature)
    if imputer.add_indicator:
        for j in imputer.indicator_.features_:
            marked = features[j]
            tests = {("missing", ""): 1.0} if isinstance(marked, _Cell) and marked.fill is None else {}
            made.append(_Tests(marked.column, 0.0, tests))
    return made


def _encoded(inputs: _Inputs, features: list[_Feature], encoder: Any, where: str) -> list[_Feature]:
    """What our own `gn.Encoder` makes of columns: its records are the model's."""
    names = list(getattr(encoder, "feature_names_in_", [f"x{j}" for j in range(encoder.n_features_in_)]))
    made: list[_Feature] = []
    for record in encoder.encoding_.columns:
        feature = features[names.index(record.source)]
        if (
            not isinstance(feature, _Cell)
            or not feature.raw
            or feature.fill is not None
            or feature.column in inputs.ours
        ):
            raise inputs.chain.refuse(where, f"{shown(record.source)} is scaled, filled or encoded already")
        inputs.ours[feature.column] = replace(record, source=inputs.names[feature.column])
        for k in range(_width(record)):
            made.append(_Tests(feature.column, 0.0, {("feature", str(k)): 1.0}))
    return made


def _width(record: AnyColumn) -> int:
    return sum(isinstance(step.target, str) for step in record.steps())


# --- categories ---------------------------------------------------------------------------------------------------


def _one_hot(inputs: _Inputs, features: list[_Feature], encoder: Any, where: str) -> list[_Feature]:
    rare = getattr(encoder, "infrequent_categories_", None) or [None] * len(features)
    dropped = [None] * len(features) if encoder.drop_idx_ is None else encoder.drop_idx_
    into_rare = encoder.handle_unknown in ("infrequent_if_exist", "warn")
    made: list[_Feature] = []
    for feature, categories, infrequent, drop in zip(features, encoder.categories_, rare, dropped, strict=True):
        every, together = categories.tolist(), [] if infrequent is None else infrequent.tolist()
        inputs.texts.update(map(_text, every))
        together_texts = {_text(category) for category in together}
        groups = [[category] for category in every if _text(category) not in together_texts]
        kept = [category for [category] in groups]
        if together:
            groups.append(together)
        if drop is not None:
            gone = _text(every[int(drop)])
            groups = [group for group in groups if all(_text(category) != gone for category in group)]
        # The column's other texts are all tested at once where the encoder takes what it does not know for rare.
        open_ended = bool(together) and into_rare and not all(map(_is_missing, kept))
        cell = _category(inputs, feature, kept if open_ended else every, where)
        for group in groups:
            tests = _tests_of(cell, together if open_ended and group is together else group)
            if open_ended and group is together:
                tests = {key: value for key, value in tests.items() if key[0] != "is"} | {("other", ""): 1.0}
            made.append(_Tests(cell.column, 0.0, tests))
    return made


def _ordinal(inputs: _Inputs, features: list[_Feature], encoder: Any, where: str) -> list[_Feature]:
    rare = getattr(encoder, "infrequent_categories_", None) or [None] * len(features)
    unknown = 0.0 if encoder.unknown_value is None else float(encoder.unknown_value)
    made: list[_Feature] = []
    for feature, categories, infrequent in zip(features, encoder.categories_, rare, strict=True):
        every = categories.tolist()
        inputs.texts.update(map(_text, every))
        cell = _category(inputs, feature, every, where)
        together = {_text(category) for category in ([] if infrequent is None else infrequent.tolist())}
        kept = [category for category in every if _text(category) not in together and not _is_missing(category)]
        codes: list[tuple[Any, float]] = [(category, float(code)) for code, category in enumerate(kept)]
        codes += [(category, float(len(kept))) for category in every if _text(category) in together]
        if any(map(_is_missing, every)):
            codes.append((None, float(encoder.encoded_missing_value)))
        if not all(math.isfinite(code) for code in [unknown, *(code for _, code in codes)]):
            raise inputs.chain.refuse(where, "it has NaN for a category, which no network takes")
        tests: dict[_Test, float] = {}
        for category, code in codes:
            for test in _tests_of(cell, [category]):
                tests[test] = code - unknown
        made.append(_Tests(cell.column, unknown, tests))
    return made


def _category(inputs: _Inputs, feature: _Feature, categories: Iterable[Any], where: str) -> _Cell:
    """The cell whose categories these are, entered among the inputs."""
    if not isinstance(feature, _Cell) or not feature.raw or feature.column in inputs.levels:
        raise inputs.chain.refuse(
            where, f"it encodes {shown(inputs.names[feature.column])}, which is scaled or encoded already"
        )
    there = [category for category in categories if not _is_missing(category)]
    texts = [_text(category) for category in there]
    kinds: set[Kind] = {
        "text" if isinstance(category, str) else "boolean" if isinstance(category, bool) else "number"
        for category in there
    }
    if len(kinds) > 1 or not all(isinstance(category, str | int | float) for category in there):
        raise inputs.chain.refuse(
            where, f"the categories of {shown(inputs.names[feature.column])} are not all texts, numbers or booleans"
        )
    odd = [text for text in texts if not text or text != text.strip()]
    if not texts:
        raise inputs.chain.refuse(where, f"{shown(inputs.names[feature.column])} has no category but missing cells")
    if odd:
        raise inputs.chain.refuse(
            where,
            f"{listed(odd)} of {shown(inputs.names[feature.column])} is empty or has blanks around it, and a table's "
            "texts are told apart without",
        )
    inputs.levels[feature.column] = (sorted(texts), kinds.pop())
    return feature


def _tests_of(cell: _Cell, categories: Iterable[Any]) -> dict[_Test, float]:
    """The tests of which one is 1 where the cell is one of these categories."""
    tests: dict[_Test, float] = {}
    for category in categories:
        tests[("missing", "") if _is_missing(category) else ("is", _text(category))] = 1.0
        if cell.fill is not None and _text(cell.fill) == _text(category):
            tests["missing", ""] = 1.0
    return tests


def _is_missing(value: Any) -> bool:
    """None, NaN, or pandas's NA, which cannot say whether it equals itself."""
    try:
        return value is None or bool(value != value)
    except TypeError:
        return True


def _text(value: Any) -> str:
    """A category as a table's cell would be written; "" of a missing one."""
    if _is_missing(value):
        return ""
    if isinstance(value, bool):
        return boolean_text(value)
    return number_text(value) if isinstance(value, int | float) else str(value)


# --- columns, and the first layer's weights for them --------------------------------------------------------------


def _take_in(
    inputs: _Inputs, features: list[_Feature], where: str, weights: ArrayLike, biases: ArrayLike
) -> list[AnyColumn]:
    """The columns that the features are made of; the chain takes in the first layer with weights for their features.

    With x the columns' features, the estimator's are c + x A, so b + (c + x A) W = (b + c W) + x (A W).
    """
    chain = inputs.chain
    columns: list[AnyColumn] = []
    rows: dict[tuple[int, _Test], int] = {}
    numbers: dict[int, NumberColumn] = {}
    for j in sorted({feature.column for feature in features}):
        cells = [feature for feature in features if isinstance(feature, _Cell) and feature.column == j]
        tests = {test for f in features if isinstance(f, _Tests) and f.column == j for test in f.coefficients}
        column = _column(inputs, j, cells, tests)
        columns.append(column)
        keys: list[_Test]
        if j in inputs.ours:
            keys = [("feature", str(k)) for k in range(_width(column))]
        else:
            if isinstance(column, CategoryColumn):
                keys = [("is", level) for level in column.levels] + ([("other", "")] if column.other else [])
            else:
                assert isinstance(column, NumberColumn)
                numbers[j] = column
                keys = [("number", "")]
            keys += [("missing", "")] if column.missing else []
        for key in keys:
            rows[j, key] = len(rows)
    A, c = np.zeros((len(rows), len(features))), np.zeros(len(features))
    for at, feature in enumerate(features):
        if isinstance(feature, _Cell):
            known = numbers[feature.column]
            c[at] = (known.center - feature.center) / feature.scale
            A[rows[feature.column, ("number", "")], at] = known.scale / feature.scale
            continue
        c[at] = feature.constant
        for test, coefficient in feature.coefficients.items():
            A[rows[feature.column, test], at] = coefficient
    W, b = chain.numbers(where, weights), chain.numbers(where, biases)
    if c.any() or not np.array_equal(A, np.eye(len(features))):
        W, b = A @ W, b + c @ W
        if A.shape[0] != A.shape[1] or c.any() or not np.isin(A, (0.0, 1.0)).all():
            chain.notices.append(
                f"the {len(features)} features of {where} are made of the {len(rows)} of these columns by the first "
                "layer's weights"
            )
    chain.dense(f"{where}, coefs_[0]", W, b)
    return columns


def _column(inputs: _Inputs, j: int, cells: list[_Cell], tests: set[_Test]) -> AnyColumn:
    name, missing = inputs.names[j], ("missing", "") in tests
    if bool(cells) + (j in inputs.levels) + (j in inputs.ours) > 1:
        raise UsageError(
            f"A column is one thing, a number or a category; {shown(name)} is used as both. Leave one of them out."
        )
    if j in inputs.ours:
        return inputs.ours[j]
    if j in inputs.levels:
        levels, kind = inputs.levels[j]
        return CategoryColumn(name, tuple(levels), ("other", "") in tests, missing, kind)
    if not cells:
        raise UsageError(
            f"A column is a number or a category; of {shown(name)} only whether it is missing is used. Leave it out."
        )
    first = cells[0]
    if any(cell.fill != first.fill for cell in cells) or isinstance(first.fill, str):
        raise UsageError(
            f"A missing cell is filled with one number; {shown(name)} has {listed([str(c.fill) for c in cells])}. "
            "Fill it once."
        )
    return NumberColumn(name, first.center, first.scale, first.center if first.fill is None else first.fill, missing)
