"""Networks of scikit-learn, Keras and torch as a `Model`: the same predictions, kept and explained; or one message.

The tolerance. Both sides compute the same formula from the same numbers, in another order. A sum of n terms that is
rounded at every step is off by less than n eps times the sum of the terms' magnitudes; a layer hands that on times its
weights, and no activation here is steeper than 1.76. So a pass over magnitudes alone, `room`, bounds every logit's
error: some eps for each of the terms on the way, times what the terms could add up to. eps is that of the coarser
side: 2^-53 for scikit-learn, 2^-24 for what a peer computes in float32. A link is no steeper than 1, but for exp.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import glassnet as gn
from glassnet import cli
from glassnet.columns import NumberColumn
from glassnet.errors import MissingExtraError, UsageError
from glassnet.peers import keras as keras_peer

FLOAT64, FLOAT32 = 2.0**-53, 2.0**-24
STEEPEST = 1.76  # selu's slope; no activation is larger than that times |z|, plus 1
NAMES = ("dose", "x2", "<b>年</b>", "a = b")
few = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def keras() -> Any:
    return keras_peer._keras()


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch", reason="torch is in the extra race alone")


@pytest.fixture(autouse=True)
def _unfinished() -> Iterator[None]:
    """Networks here are hardly trained, and say so."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*iterations.*")
        warnings.filterwarnings("ignore", message=".*[Uu]nknown categories.*")
        yield


def room(model: gn.Model, data: Any, eps: float) -> np.ndarray:
    """How far each row's logits (n, n_outputs) may be off by rounding; see the top."""
    size = np.abs(model.encoder.encode(model.table(data)))
    for j, name in enumerate(model.encoder.feature_names):
        for column in model.encoder.columns:
            if column.source == name and isinstance(column, NumberColumn):
                size[:, j] += 2 * abs(column.center) / column.scale  # (x - center) / scale: x and center are rounded
    (parameters,) = model.members
    for W, b in zip(parameters.weights, parameters.biases, strict=True):
        size = STEEPEST * (size @ np.abs(W) + np.abs(b)) + 1
    return 8 * sum(model.network.sizes) * eps * size


def assert_same(model: gn.Model, data: Any, theirs: Any, eps: float) -> None:
    """The model's outputs for `data` are `theirs`: probabilities (n, n_classes), or numbers (n,), within `room`."""
    allowed = room(model, data, eps)
    if model.task == "classification":
        ours, allowed = model.predict_proba(data), allowed.max(axis=1, keepdims=True)
    else:
        ours, allowed = np.asarray(model.predict(data)), allowed[:, 0]
        if model.network.loss_row.link == "exp":
            outputs = np.abs(ours - model.target.center) / model.target.scale
            allowed = np.expm1(allowed) * outputs
        allowed = allowed * model.target.scale + 4 * eps * (np.abs(ours) + abs(model.target.center))
    theirs = np.asarray(theirs, np.float64)
    assert ours.shape == theirs.shape
    worst = np.max(np.abs(ours - theirs) - allowed)
    assert worst <= 0, f"{np.max(np.abs(ours - theirs))} apart, {worst} more than rounding may leave"


def assert_kept_and_explained(model: gn.Model, data: Any, folder: Path) -> None:
    """Saved and loaded it is the same to the bit; derived it has equations; a row's last line is the prediction."""
    gn.save(model, folder / "imported.safetensors")
    again = gn.load(folder / "imported.safetensors")
    assert (again.network, again.encoder, again.provenance) == (model.network, model.encoder, model.provenance)
    assert (again.outputs(again.encoder.encode(again.table(data))) == outputs_of(model, data)).all()
    assert list(again.predict(data)) == list(model.predict(data))
    equations = gn.derive(again)
    assert len(list(equations.stage("encode"))) >= len(model.encoder.columns)
    assert "predicted " in equations.text()
    assert equations.latex("matrix")
    rows = again.table(data).n_rows
    for row in {0, rows // 2, rows - 1}:
        worked = gn.explain(again, data, row)
        last, predicted = worked.lines[-1].value, model.predict(model.table(data).select([row]))[0]
        if model.task == "classification":
            last = model.classes[int(last) - (model.target.kind == "classes")]
        assert last == predicted
        shown = [line.value for line in worked.lines if line.symbol in ("p", *(f"p{k}" for k in range(1, 9)))]
        assert shown == outputs_of(model, data)[row].tolist()


def outputs_of(model: gn.Model, data: Any) -> np.ndarray:
    return model.outputs(model.encoder.encode(model.table(data)))


def table_of(draw: np.random.Generator, n: int, d: int) -> np.ndarray:
    """(n, d) numbers, every column with a middle and a spread of its own."""
    return draw.normal(size=(n, d)) * draw.uniform(0.1, 30, size=d) + draw.normal(size=d) * 20


# --- the helpers see what they are there to see -------------------------------------------------------------------


def fitted_classifier() -> tuple[Any, np.ndarray]:
    from sklearn.neural_network import MLPClassifier

    X = table_of(np.random.default_rng(0), 40, 3) / 10
    return MLPClassifier((4,), activation="tanh", max_iter=2, random_state=0).fit(X, X[:, 0] > 0), X


@pytest.mark.parametrize("eps", [FLOAT64, FLOAT32])
def test_what_is_not_the_same_is_seen(eps: float) -> None:
    mlp, X = fitted_classifier()
    model, theirs = gn.from_sklearn(mlp), mlp.predict_proba(X)
    assert_same(model, X, theirs, eps)
    mlp.coefs_[0][1, 2] *= 1 + 2**16 * eps
    assert_same(gn.from_sklearn(mlp), X, mlp.predict_proba(X), eps)
    with pytest.raises(AssertionError, match="more than rounding may leave"):
        assert_same(gn.from_sklearn(mlp), X, theirs, eps)
    with pytest.raises(AssertionError):
        assert_same(model, X, theirs[:, ::-1], eps)


def test_a_wrong_last_line_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlp, X = fitted_classifier()
    model = gn.from_sklearn(mlp)
    assert_kept_and_explained(model, X, tmp_path)
    monkeypatch.setattr(gn.Model, "predict", lambda self, data: ["false"] * len(self.table(data).row_numbers))
    with pytest.raises(AssertionError):
        assert_kept_and_explained(model, X, tmp_path)


# --- scikit-learn -------------------------------------------------------------------------------------------------


@st.composite
def scalers(draw: st.DrawFn) -> list[Any]:
    from sklearn import preprocessing as sk

    every = [
        st.builds(sk.StandardScaler, with_mean=st.booleans(), with_std=st.booleans()),
        st.builds(sk.MinMaxScaler, feature_range=st.sampled_from([(0, 1), (-1, 1), (-0.3, 2.5)])),
        st.builds(sk.MaxAbsScaler),
        st.builds(
            sk.RobustScaler, with_centering=st.booleans(), with_scaling=st.booleans(), unit_variance=st.booleans()
        ),
        st.builds(sk.FunctionTransformer),
        st.just("passthrough"),
    ]
    return draw(st.lists(st.one_of(every), max_size=2))


@few
@given(
    seed=st.integers(0, 2**20),
    d=st.integers(1, 4),
    hidden=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    activation=st.sampled_from(["identity", "logistic", "tanh", "relu"]),
    kind=st.sampled_from(["two", "three", "number", "count"]),
    before=scalers(),
    around=st.none() | scalers(),
    framed=st.booleans(),
    dtype=st.sampled_from([np.float64, np.float32]),
)
def test_scikit_learns_networks(
    seed: int, d: int, hidden: list[int], activation: str, kind: str, before: list[Any], around: list[Any] | None,
    framed: bool, dtype: Any, tmp_path: Path,
) -> None:  # fmt: skip
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline

    draw = np.random.default_rng(seed)
    X = table_of(draw, 30, d).astype(dtype)
    data = pd.DataFrame(X, columns=list(NAMES[:d])) if framed else X
    of_all: dict[str, Any] = {"hidden_layer_sizes": hidden, "activation": activation, "max_iter": 2}
    if kind in ("two", "three"):
        y = np.array(["well", "ill", "1"])[np.arange(30) % (2 if kind == "two" else 3)]
        network: Any = MLPClassifier(**of_all, random_state=seed)
    else:
        y = np.abs(table_of(draw, 30, 1)[:, 0]).round()
        network = MLPRegressor("squared_error" if kind == "number" else "poisson", **of_all, random_state=seed)
    if around is not None and kind == "number":
        last = next((scaler for scaler in around if scaler != "passthrough"), None)
        network = TransformedTargetRegressor(make_pipeline(*before, network), transformer=last)
        whole = network.fit(data, y)
    else:
        whole = make_pipeline(*before, network).fit(data, y)
    model = gn.from_sklearn(whole, target="grade of illness")
    assert [column.source for column in model.encoder.columns] == (
        list(NAMES[:d]) if framed else [f"x{j}" for j in range(1, d + 1)]
    )
    theirs = whole.predict_proba(data) if kind in ("two", "three") else whole.predict(data)
    assert_same(model, data, theirs, FLOAT64 if dtype is np.float64 else FLOAT32)
    if kind in ("two", "three"):
        sure = np.abs(np.sort(theirs, axis=1)[:, -1] - np.sort(theirs, axis=1)[:, -2]) > 1e-5
        assert (np.array(model.predict(data))[sure] == whole.predict(data)[sure]).all()
    assert_kept_and_explained(model, data, tmp_path)


@st.composite
def column_transformers(draw: st.DrawFn) -> Any:
    from sklearn import preprocessing as sk
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline

    def maybe(value: Any) -> list[Any]:
        return [value] if draw(st.booleans()) else []

    marked = draw(st.booleans())
    numbers = make_pipeline(
        *maybe(sk.StandardScaler()),
        SimpleImputer(
            strategy=draw(st.sampled_from(["mean", "median", "constant"])), fill_value=-2.5, add_indicator=marked
        ),
        *maybe(sk.RobustScaler()),
    )
    rare = draw(st.sampled_from([{}, {"min_frequency": 5}, {"max_categories": 3}]))
    one_hot = sk.OneHotEncoder(
        drop=draw(st.sampled_from([None, "first", "if_binary"])),
        handle_unknown=draw(st.sampled_from(["ignore", "infrequent_if_exist"])),
        sparse_output=False,
        **rare,
    )
    texts = make_pipeline(*maybe(SimpleImputer(strategy="most_frequent")), one_hot, *maybe(sk.StandardScaler()))
    chosen, remainder = draw(
        st.sampled_from([(["town"], "drop"), ([2], "drop"), (["town", "sex"], "passthrough"), ([2, -5], "passthrough")])
    )
    ordinal = sk.OrdinalEncoder(
        **draw(st.sampled_from([{}, {"handle_unknown": "use_encoded_value", "unknown_value": -1}])),
        **draw(st.sampled_from([{}, {"max_categories": 2}])),
    )
    parts = [
        ("numbers", numbers, draw(st.sampled_from([["age", "bmi"], slice("age", "bmi"), [0, 1], slice(0, 2)]))),
        ("texts", texts, chosen),
        ("order", make_pipeline(ordinal, *maybe(sk.MinMaxScaler((-1, 1)))), ["grade", "ward"]),
    ]
    return ColumnTransformer(draw(st.permutations(parts)), remainder=remainder)


def patients(draw: np.random.Generator, n: int) -> pd.DataFrame:
    """Columns of every kind, some cells of them missing; the columns that stay behind are numbers and booleans."""
    frame = pd.DataFrame({
        "age": draw.normal(50, 10, n),
        "bmi": draw.normal(25, 3, n),
        "town": draw.choice(np.array(["Aix", "Bonn", "NA", "1.0"], object), n, p=[0.5, 0.3, 0.15, 0.05]),
        "sex": draw.choice(np.array(["f", "m"], object), n),
        "grade": draw.choice(np.array(["low", "mid", "high"], object), n),
        "ward": draw.choice([3, 12, 7], n),
        "smokes": draw.random(n) < 0.4,
        "visits": draw.integers(0, 9, n),
    })  # fmt: skip
    frame.loc[draw.integers(0, n, 3), "bmi"] = np.nan
    frame.loc[[n - 1, *draw.integers(0, n, 2)], "town"] = None
    return frame


@few
@given(seed=st.integers(0, 2**20), transformer=column_transformers())
def test_columns_of_every_kind(seed: int, transformer: Any, tmp_path: Path) -> None:
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline

    draw = np.random.default_rng(seed)
    frame = patients(draw, 40)
    network = MLPClassifier((4, 3), activation="tanh", max_iter=2, random_state=seed)
    whole = make_pipeline(transformer, network).fit(frame, np.arange(40) % 2 == 0)
    model = gn.from_sklearn(whole, target="ill")
    assert model.classes == ("false", "true")
    new = patients(draw, 40)
    if transformer.named_transformers_["texts"][0].__class__.__name__ != "SimpleImputer":
        new.loc[5, "town"] = "Chur"  # which nobody has seen
    for data in (frame, new):
        assert_same(model, data, whole.predict_proba(data), FLOAT64)
    assert_kept_and_explained(model, new, tmp_path)


def test_a_pipelines_numbers_are_kept_to_the_bit() -> None:
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    data = gn.datasets.tumors()
    frame = pd.DataFrame({"texture": data.X[:, 0], "radius": data.X[:, 1]})
    whole = make_pipeline(StandardScaler(), MLPClassifier((2,), max_iter=2, random_state=0)).fit(frame, data.y[:, 0])
    model = gn.from_sklearn(whole, target="malignant")
    assert [(c.source, c.center, c.scale, c.fill) for c in model.encoder.columns] == [
        (name, center, scale, center)
        for name, center, scale in zip(frame.columns, whole[0].mean_, whole[0].scale_, strict=True)
    ]
    for ours, theirs in zip(model.members[0].weights, whole[1].coefs_, strict=True):
        assert (ours == theirs).all()
    assert model.classes == ("0", "1")
    assert model.provenance["notices"] == []
    assert model.provenance["imported_from"].startswith("scikit-learn ")


def test_our_own_encoder_is_kept(tmp_path: Path) -> None:
    from sklearn.neural_network import MLPRegressor
    from sklearn.pipeline import make_pipeline

    frame = patients(np.random.default_rng(3), 60)
    for recipe in ("plain", "accurate"):
        network = MLPRegressor(hidden_layer_sizes=(3,), max_iter=2, random_state=0)
        whole = make_pipeline(gn.Encoder(recipe), network).fit(frame, frame["age"] / 10)
        model = gn.from_sklearn(whole, target="decades")
        assert model.encoder.columns == whole[0].encoding_.columns
        assert_same(model, frame, whole.predict(frame), FLOAT64)
        assert_kept_and_explained(model, frame, tmp_path)


def sklearn_refusals() -> dict[str, tuple[Any, str]]:
    """What cannot be imported, and how the message begins or what it holds."""
    from sklearn import preprocessing as sk
    from sklearn.base import BaseEstimator
    from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
    from sklearn.decomposition import PCA
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline

    X = table_of(np.random.default_rng(0), 20, 3)
    y, words = np.arange(20) % 2, np.array([["a", "b "][i % 2] for i in range(20)], object)[:, np.newaxis]

    class Mine(MLPClassifier):
        pass

    def mlp() -> Any:
        return MLPClassifier((2,), max_iter=2, random_state=0)

    def of_numbers() -> Any:
        return MLPRegressor(hidden_layer_sizes=(2,), max_iter=2, random_state=0)

    spoiled = mlp().fit(X, y)
    spoiled.coefs_[1][0, 0] = np.nan
    both = ColumnTransformer([("a", sk.OneHotEncoder(), [0]), ("b", "passthrough", [0])])
    weighed = ColumnTransformer([("a", "passthrough", [0])], transformer_weights={"a": 2.0})
    few = np.arange(20.0).reshape(-1, 1) % 3
    twice = make_pipeline(sk.OrdinalEncoder(), sk.OneHotEncoder())
    deep = make_pipeline(sk.StandardScaler(), make_pipeline(PCA(2), mlp()))
    return {
        "unfitted": (mlp(), "MLPClassifier has not. Call fit first"),
        "unfitted step": (make_pipeline(sk.StandardScaler(), mlp().fit(X, y)), "StandardScaler has not. Call fit"),
        "other model": (LogisticRegression().fit(X, y), "LogisticRegression: it is no MLPClassifier or MLPRegressor"),
        "search": (GridSearchCV(mlp(), {}, cv=2).fit(X, y), "GridSearchCV.*Give its best_estimator_"),
        "own class": (Mine((2,), max_iter=2).fit(X, y), "Mine: it is no MLPClassifier"),
        "no estimator": ({"a": 1}, "dict: it is no MLPClassifier"),
        "pca": (make_pipeline(PCA(2), mlp()).fit(X, y), r"steps\[0\] 'pca', PCA: what it does"),
        "deep": (deep.fit(X, y), r"steps\[1\] 'pipeline', steps\[0\] 'pca', PCA: what it does"),
        "clip": (make_pipeline(sk.MinMaxScaler(clip=True), mlp()).fit(X, y), "MinMaxScaler: it clips"),
        "function": (make_pipeline(sk.FunctionTransformer(np.abs), mlp()).fit(X, y), "FunctionTransformer: what a"),
        "several labels": (mlp().fit(X, np.c_[y, 1 - y, y]), "coefs_.1.: it has 3 outputs.*several labels"),
        "several targets": (of_numbers().fit(X, X), "it has 3 outputs.*several targets.*gn.forward"),
        "one class": (mlp().fit(X, np.ones(20)), "it knows one class only, np.float64.1.0."),
        "nan": (spoiled, r"coefs_\[1\]: its numbers are not all finite; the one at \[0, 0\] is nan"),
        "target function": (
            TransformedTargetRegressor(of_numbers(), func=np.sqrt, inverse_func=np.square).fit(X, y),
            "TransformedTargetRegressor, transformer_: what a function",
        ),
        "filled marks": (make_pipeline(SimpleImputer(missing_values=-1), mlp()).fit(X, y), "SimpleImputer: .* are -1"),
        "weighed": (make_pipeline(weighed, mlp()).fit(X, y), "transformer_weights"),
        "blanks": (make_pipeline(sk.OneHotEncoder(), mlp()).fit(words, y), "'b ' of 'x1' is empty or has blanks"),
        "both": (make_pipeline(both, mlp()).fit(few, y), "A column is one thing.*'x1' is used as both"),
        "encoded twice": (make_pipeline(twice, mlp()).fit(few, y), "OneHotEncoder: it encodes 'x1', which is sc"),
        "target is a feature": (mlp().fit(pd.DataFrame(X, columns=["a", "y", "b"]), y), "'y' is one of them"),
        "base": (BaseEstimator(), "BaseEstimator: it is no"),
    }  # fmt: skip


@pytest.mark.parametrize("case", [
    "unfitted", "unfitted step", "other model", "search", "own class", "no estimator", "pca", "deep", "clip",
    "function", "several labels", "several targets", "one class", "nan", "target function", "filled marks", "weighed",
    "blanks", "both", "encoded twice", "target is a feature", "base",
])  # fmt: skip
def test_what_scikit_learn_has_and_a_model_has_not(case: str) -> None:
    estimator, message = sklearn_refusals()[case]
    with pytest.raises(UsageError, match=message):
        gn.from_sklearn(estimator)


def test_an_ordinal_code_that_is_no_number_is_refused() -> None:
    from sklearn.impute import SimpleImputer
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder

    words = np.array([["a"], [None], ["b"]] * 5, object)
    network = MLPClassifier((2,), max_iter=2)
    whole = make_pipeline(OrdinalEncoder(), SimpleImputer(), network).fit(words, np.arange(15) % 2)
    with pytest.raises(UsageError, match="OrdinalEncoder: it has NaN for a category"):
        gn.from_sklearn(whole)


def test_features_are_named_in_order() -> None:
    mlp, X = fitted_classifier()
    model = gn.from_sklearn(mlp, features=["a", "b", "c"])
    named = {"c": X[:, 2], "a": X[:, 0], "b": X[:, 1]}
    assert (model.predict_proba(named) == gn.from_sklearn(mlp).predict_proba(X)).all()
    for wrong in (["a", "b"], "abc", ["a", "b", "c", "d"]):
        with pytest.raises(UsageError, match="features names every input, 3 here"):
            gn.from_sklearn(mlp, features=wrong)


# --- on the command line, and drawn -------------------------------------------------------------------------------


def test_an_imported_model_is_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    tumors = pd.read_csv(Path(gn.__file__).with_name("bdiag.csv"))
    X, y = tumors[["texture_mean", "radius_mean"]], tumors["diagnosis"]
    whole = make_pipeline(StandardScaler(), MLPClassifier((2,), max_iter=200, random_state=0)).fit(X, y)
    model = gn.from_sklearn(whole, target="diagnosis")
    gn.save(model, tmp_path / "m.safetensors")
    tumors.to_csv(tmp_path / "t.csv", index=False)

    def said(*arguments: str) -> str:
        with pytest.raises(SystemExit) as ended:
            cli.main([*arguments])
        assert ended.value.code == 0
        return capsys.readouterr().out

    path, table = str(tmp_path / "m.safetensors"), str(tmp_path / "t.csv")
    predicted = said("predict", path, table).splitlines()
    assert predicted[0] == "diagnosis,probability_B,probability_M"
    assert [line.split(",")[0] for line in predicted[1:]] == whole.predict(X).tolist()
    assert f"accuracy  {whole.score(X, y):.4g}" in said("evaluate", path, table)
    assert "x1 = (texture_mean - 19.2" in said("derive", path)
    worked = said("explain", path, table, "--row", "17")
    assert "difference quotient" in worked
    assert f"prediction: diagnosis = {whole.predict(X)[17]}" in worked
    drawn = gn.drawing.network_svg(model.network, model.members[0], feature_names=model.encoder.feature_names)
    assert "texture_mean" in drawn


# --- Keras --------------------------------------------------------------------------------------------------------

OF_KERAS = ("relu", "elu", "selu", "gelu", "silu", "softplus", "softsign", "tanh", "sigmoid", "linear")


def keras_layer(keras: Any, draw: np.random.Generator, d: int) -> list[Any]:
    """A dense layer of Keras's with what may stand around it."""
    layers, units = keras.layers, int(draw.integers(1, 6))
    name = OF_KERAS[draw.integers(len(OF_KERAS))]
    found: list[Any] = [layers.BatchNormalization(scale=bool(draw.integers(2)))] if draw.random() < 0.4 else []
    way = draw.integers(5)
    if way == 0:
        found += [layers.Dense(units, use_bias=bool(draw.integers(2))), layers.Activation(name)]
    elif way == 1:
        leaky = layers.LeakyReLU(negative_slope=0.01) if draw.integers(2) else layers.ReLU()
        found += [layers.Dense(units), layers.BatchNormalization(center=bool(draw.integers(2))), leaky]
    elif way == 2:
        found += [layers.Dense(units), layers.Rescaling(-0.5, offset=2.0), layers.ELU(), layers.Dropout(0.5)]
    else:
        found += [layers.Dense(units, activation=name), layers.GaussianNoise(1.0)]
    return found


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**20),
    d=st.integers(1, 4),
    depth=st.integers(0, 3),
    first=st.sampled_from(["nothing", "normalization", "rescaling", "both", "inverted"]),
    end=st.sampled_from(["sigmoid", "softmax", "two softmax", "log_softmax", "exponential", "logit", "number", "tanh"]),
    functional=st.booleans(),
)
def test_keras_networks(
    seed: int, d: int, depth: int, first: str, end: str, functional: bool, keras: Any, tmp_path: Path
) -> None:
    draw, layers = np.random.default_rng(seed), keras.layers
    X = table_of(draw, 12, d).astype(np.float32)
    normalization = layers.Normalization(invert=first == "inverted")
    normalization.adapt(X)
    stack = {
        "nothing": [], "normalization": [normalization], "rescaling": [layers.Rescaling(1 / 7, offset=-1.5)],
        "both": [layers.Rescaling(0.5), layers.Normalization(mean=3.0, variance=4.0)],
        "inverted": [layers.Rescaling(0.01), normalization],
    }[first]  # fmt: skip
    for _ in range(depth):
        stack += keras_layer(keras, draw, d)
    stack += {
        "sigmoid": [layers.Dense(1, "sigmoid")],
        "softmax": [layers.Dense(3), layers.Softmax()],
        "two softmax": [layers.Dense(2, "softmax")],
        "log_softmax": [layers.Dense(4, "log_softmax")],
        "exponential": [layers.Dense(1), layers.Rescaling(0.01), layers.Activation("exponential")],
        "logit": [layers.Dense(1)],
        "number": [layers.Dense(1), layers.BatchNormalization()],
        "tanh": [layers.Dense(1, "tanh")],
    }[end]
    if functional:
        tensor = entry = keras.Input((d,))
        for layer in stack:
            tensor = layer(tensor)
        net = keras.Model(entry, tensor)
    else:
        inner = [keras.Sequential(stack[:-1])] if len(stack) > 1 else []
        net = keras.Sequential([keras.Input((d,)), *inner, stack[-1]])
    for variable in net.variables:
        if "seed" not in variable.path and not variable.path.startswith("normalization"):
            variable.assign(draw.uniform(0.5, 1.5, variable.shape) * draw.choice([-1, 1], variable.shape)
                            if "variance" not in variable.path else draw.uniform(0.5, 2, variable.shape))  # fmt: skip
    theirs = np.asarray(keras.ops.convert_to_numpy(net(X, training=False)), np.float64)
    asked = {"logit": "binary_cross_entropy", "number": "huber(2)", "tanh": "mean_squared_error"}
    model = gn.from_keras(net, loss=asked.get(end), features=NAMES[:d])
    assert ("multiplied" in " ".join(model.provenance["notices"])) == bool(model.provenance["notices"])
    if end in ("sigmoid", "logit"):
        theirs = 1 / (1 + np.exp(-theirs)) if end == "logit" else theirs
        theirs = np.hstack([1 - theirs, theirs])
    elif end == "log_softmax":
        theirs = np.exp(theirs)
    elif end in asked or end == "exponential":
        theirs = theirs[:, 0]
    data = {name: X[:, j] for j, name in enumerate(NAMES[:d])}
    assert_same(model, data, theirs, FLOAT32)
    assert_kept_and_explained(model, data, tmp_path)


def test_pixels_of_a_keras_model(keras: Any) -> None:
    layers = keras.layers
    net = keras.Sequential(
        [keras.Input((5, 4, 1)), layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(3, "softmax")]
    )
    images = np.random.default_rng(0).integers(0, 256, (6, 5, 4, 1)).astype(np.float32)
    model = gn.from_keras(net, classes=["cat", "dog", "bee"])
    assert_same(model, images.reshape(6, 20), net(images), FLOAT32)
    assert str(next(iter(model.encode_equations))) == "x1 = 'x1' / 255"
    assert set(model.predict(images.reshape(6, 20))) <= {"cat", "dog", "bee"}


def keras_refusals(keras: Any) -> dict[str, tuple[Any, dict[str, Any], str]]:
    layers = keras.layers

    def net(*stack: Any, shape: tuple[Any, ...] = (4,)) -> Any:
        return keras.Sequential([keras.Input(shape), *stack])

    entry, shared = keras.Input((4,), name="entry"), layers.Dense(4, "relu", name="shared")
    hidden = shared(entry)
    second = keras.Input((4,), name="second")
    spoiled = net(layers.Dense(2, name="spoiled"), layers.Dense(1, "sigmoid"))
    spoiled.layers[0].set_weights([np.full((4, 2), np.inf), np.zeros(2)])

    class Mine(keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.inner = layers.Dense(1)

        def call(self, x: Any) -> Any:
            return self.inner(x)

    mine = Mine()
    mine(np.ones((1, 4), np.float32))

    class MyDense(layers.Dense):  # type: ignore[misc]
        pass

    end = layers.Dense(1, "sigmoid")
    leaky = net(layers.Dense(2, keras.activations.leaky_relu), layers.Dense(1, "sigmoid"))
    ask: dict[str, Any] = {"loss": "mean_squared_error"}
    return {
        "not keras": ([1], {}, "from_keras takes a keras.Model of Keras 3; got builtins.list"),
        "a path": ("net.keras", {}, "keras.saving.load_model"),
        "unbuilt": (keras.Sequential([layers.Dense(1)]), {}, "is not built. Begin it with keras.Input"),
        "own model": (mine, {}, "model, Mine: a class of one's own.*keras.Sequential"),
        "own layer": (net(MyDense(1)), ask, r"model.layers\[0\], MyDense 'my_dense.*no part of a dense network"),
        "conv": (net(layers.Conv1D(2, 2, name="c"), shape=(4, 2)), ask, r"model.layers\[0\], Conv1D 'c'"),
        "no flatten": (net(layers.Dense(1), shape=(4, 2)), ask, r"a row is of shape \(4, 2\) there, where a Flatten"),
        "open shape": (net(layers.Dense(1), shape=(None, 4)), ask, "its inputs are .*one row of a known size"),
        "branch": (
            keras.Model(entry, layers.Dense(1)(layers.Add(name="add")([hidden, layers.Dense(4)(entry)]))),
            ask, "it takes entry, where a chain has shared alone",
        ),
        "used twice": (
            keras.Model(entry, layers.Dense(1)(shared(hidden))), ask, "Dense 'shared': it is used 2 times",
        ),
        "two inputs": (keras.Model([entry, second], layers.Add()([entry, second])), ask, "'second': it is a second"),
        "two outputs": (keras.Model(entry, [hidden, layers.Dense(1)(hidden)]), ask, "it has 2 outputs"),
        "operation": (keras.Model(entry, layers.Dense(1)(hidden * 2)), ask, "Multiply .*it is an operation"),
        "always dropped": (
            keras.Model(entry, layers.Dense(1)(layers.Dropout(0.5, name="drop")(hidden, training=True))),
            ask, "Dropout 'drop': it is called with training",
        ),
        "nan": (spoiled, {}, r"Dense 'spoiled': its numbers are not all finite; the one at \[0, 0\] is inf"),
        "half": (net(layers.Dense(1, dtype="float16")), ask, "it computes in float16, where float32"),
        "mixed": (net(layers.Dense(1, dtype="mixed_bfloat16")), ask, "it computes in bfloat16"),
        "leaky": (leaky, {}, "its slope below 0 is 0.2, and glassnet's leaky_relu has 0.01"),
        "relu6": (net(layers.Dense(2, "relu6"), end), {}, "its activation is relu6, and glassnet's are elu, "),
        "capped": (net(layers.Dense(1), layers.ReLU(max_value=6)), ask, "max_value=6"),
        "elu": (net(layers.Dense(1), layers.ELU(alpha=0.5)), ask, "its alpha is 0.5"),
        "two activations": (net(layers.Dense(1, "tanh"), layers.ReLU()), ask, "relu stands behind another .*, tanh"),
        "activation first": (net(layers.ReLU(), layers.Dense(1)), ask, "relu stands behind no dense layer"),
        "scaling last": (net(layers.Dense(1, "tanh"), layers.Rescaling(2.0)), ask, "scaling stands behind the last"),
        "softmax inside": (net(layers.Dense(2, "softmax"), layers.Dense(1)), ask, "softmax can only be the last"),
        "one softmax": (net(layers.Dense(1, "softmax")), {}, "softmax over one output is always 1"),
        "labels": (net(layers.Dense(3, "sigmoid")), {}, "it has 3 outputs, which .*several labels at once"),
        "bare": (net(layers.Dense(1)), {}, "ends with no activation.*binary_cross_entropy.*for the logits of classes"),
        "relu last": (net(layers.Dense(1, "relu")), {}, "ends with relu"),
        "nothing": (net(layers.Dropout(0.5)), {}, "A network has a dense layer; there is none here"),
        "wrong loss": (net(layers.Dense(1, "sigmoid")), {"loss": "poisson"}, "poisson puts exp .*has sigmoid"),
        "no such loss": (net(layers.Dense(1)), {"loss": "mse"}, "A loss is one of"),
        "softmax as number": (net(layers.Dense(3, "softmax")), ask, "mean_squared_error takes the outputs as they are"),
        "tanh as logit": (net(layers.Dense(1, "tanh")), {"loss": "cross_entropy"}, "cross_entropy puts softmax"),
        "classes of a number": (net(layers.Dense(1)), {**ask, "classes": ["a"]}, "classes belong to a network"),
        "too many classes": (net(layers.Dense(1, "sigmoid")), {"classes": "abc"}, "2 here; got 3: 'a', 'b', 'c'"),
        "equal classes": (net(layers.Dense(1, "sigmoid")), {"classes": [1, 1.0]}, "every class needs a name of its"),
        "zero": (net(layers.Rescaling(0.0), layers.Dense(1)), ask, "it scales by 0.0"),
    }  # fmt: skip


def test_what_keras_has_and_a_model_has_not(keras: Any) -> None:
    for case, (net, settings_of, message) in keras_refusals(keras).items():
        with pytest.raises(UsageError, match=message):
            pytest.fail(f"{case}: {gn.from_keras(net, **settings_of)}")


# --- torch --------------------------------------------------------------------------------------------------------


@few
@given(
    seed=st.integers(0, 2**20),
    d=st.integers(1, 4),
    depth=st.integers(0, 3),
    end=st.sampled_from(["Sigmoid", "Softmax", "LogSoftmax", "logit", "logits", "number"]),
    double=st.booleans(),
)
def test_torch_networks(seed: int, d: int, depth: int, end: str, double: bool, torch: Any, tmp_path: Path) -> None:
    nn, draw = torch.nn, np.random.default_rng(seed)
    torch.manual_seed(seed)
    X = table_of(draw, 12, d)
    # Softplus is left out where 64 bits are held against 64: torch's is z itself above 20.
    kinds = ["ReLU", "LeakyReLU", "ELU", "SELU", "GELU", "SiLU", "Softsign", "Tanh", "Sigmoid", "Identity"]
    kinds += [] if double else ["Softplus"]
    stack, width = [nn.Flatten()] if draw.integers(2) else [], d
    for _ in range(depth):
        units = int(draw.integers(1, 6))
        stack += [nn.BatchNorm1d(width, affine=bool(draw.integers(2)))] if draw.random() < 0.3 else []
        stack.append(nn.Linear(width, units, bias=bool(draw.integers(2))))
        stack += [nn.BatchNorm1d(units)] if draw.random() < 0.3 else []
        stack += [getattr(nn, kinds[draw.integers(len(kinds))])(), nn.Dropout(0.5)]
        width = units
    n_outputs = 3 if end in ("Softmax", "LogSoftmax", "logits") else 1
    tail = [nn.Linear(width, n_outputs)]
    tail += [getattr(nn, end)(*([1] if n_outputs > 1 else []))] if hasattr(nn, end) else []
    net = nn.Sequential(nn.Sequential(*stack), *tail)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.copy_(torch.tensor(draw.normal(size=module.num_features)))
            module.running_var.copy_(torch.tensor(draw.uniform(0.5, 2, module.num_features)))
    net = (net.double() if double else net.float()).eval()
    data = X if double else X.astype(np.float32)
    with torch.no_grad():
        theirs = net(torch.tensor(data)).double()
        theirs = theirs.exp() if end == "LogSoftmax" else theirs
        theirs = theirs.softmax(1) if end == "logits" else theirs
        theirs = (theirs.sigmoid() if end == "logit" else theirs).numpy()
    asked = {"logit": "binary_cross_entropy", "logits": "cross_entropy", "number": "mean_absolute_error"}
    model = gn.from_torch(net, loss=asked.get(end))
    if end in ("Sigmoid", "logit"):
        theirs = np.hstack([1 - theirs, theirs])
    assert_same(model, data, theirs[:, 0] if end == "number" else theirs, FLOAT64 if double else FLOAT32)
    assert_kept_and_explained(model, data, tmp_path)


def torch_refusals(torch: Any) -> dict[str, tuple[Any, str]]:
    nn = torch.nn

    class Mine(nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            return x

    class MyLinear(nn.Linear):  # type: ignore[misc]
        pass

    shared, first, second = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 1)
    tied = nn.Linear(4, 4)
    tied.weight = first.weight
    pruned, hooked = nn.Linear(4, 1), nn.Sequential(nn.Linear(4, 1))
    torch.nn.utils.prune.l1_unstructured(pruned, "weight", 0.5)
    hooked.register_forward_hook(lambda *call: None)
    spoiled = nn.Linear(4, 1)
    with torch.no_grad():
        spoiled.weight[0, 2] = float("nan")

    def net(*modules: Any) -> Any:
        return nn.Sequential(*modules)

    return {
        "no module": ({"a": 1}, "from_torch takes a torch.nn.Sequential; got builtins.dict"),
        "state": (net(nn.Linear(1, 1)).state_dict(), "load_state_dict first"),
        "own module": (Mine(), "model, Mine: only a Sequential says"),
        "bare linear": (nn.Linear(4, 1), "model, Linear: only a Sequential says"),
        "own inside": (net(nn.Linear(4, 1), Mine()), r"model\[1\], Mine: a module of one's own"),
        "own linear": (net(MyLinear(4, 1)), r"model\[0\], MyLinear: a module of one's own"),
        "conv": (net(nn.Conv1d(1, 1, 1)), r"model\[0\], Conv1d: a layer of this kind"),
        "named": (nn.Sequential(__import__("collections").OrderedDict(c=nn.PReLU())), r"model\[0\] 'c', PReLU"),
        "shared": (net(shared, nn.ReLU(), shared), r"model\[2\], Linear: it shares its weights"),
        "tied": (net(first, nn.ReLU(), tied), r"model\[2\], Linear: it shares its weights"),
        "pruned": (net(pruned), "a hook may compute anything.*prune.remove"),
        "hooked": (hooked, "model, Sequential: a hook"),
        "meta": (net(nn.Linear(4, 1, device="meta")), "its numbers lie on meta.*model.cpu()"),
        "half": (net(nn.Linear(4, 1)).half(), "its numbers are torch.float16, where float32"),
        "bfloat": (net(nn.Linear(4, 1)).bfloat16(), "its numbers are torch.bfloat16"),
        "nan": (net(spoiled), r"not all finite; the one at \[0, 2\] is nan"),
        "training": (net(nn.Linear(4, 2), nn.BatchNorm1d(2), second), "BatchNorm1d: in training.*model.eval"),
        "no statistics": (net(nn.BatchNorm1d(4, track_running_stats=False)), "no running statistics"),
        "leaky": (net(nn.Linear(4, 1), nn.LeakyReLU(0.2)), "its negative_slope is 0.2; .* has 0.01"),
        "gelu": (net(nn.Linear(4, 1), nn.GELU("tanh")), "its approximate is 'tanh'"),
        "softplus": (net(nn.Linear(4, 1), nn.Softplus(2.0)), "its beta is 2.0"),
        "softmax": (net(nn.Linear(4, 2), nn.Softmax(0)), "its dim is 0"),
        "flatten": (net(nn.Flatten(0)), "its start_dim is 0"),
        "sizes": (net(nn.Linear(4, 3), nn.Linear(4, 1)), "it takes 4 inputs, and the layer before it gives 3"),
        "sizes of a scaling": (
            net(nn.Linear(4, 3), nn.BatchNorm1d(4).eval()), "it takes 4 inputs, and the layer before it gives 3"),
        "bare": (net(nn.Linear(4, 1)), r"ends with no activation, model\[0\], Linear"),
        "labels": (net(nn.Linear(4, 3), nn.Sigmoid()), "it has 3 outputs"),
        "nothing": (net(), "there is none here"),
    }  # fmt: skip


def test_what_torch_has_and_a_model_has_not(torch: Any) -> None:
    import torch.nn.utils.prune

    for case, (net, message) in torch_refusals(torch).items():
        with pytest.raises(UsageError, match=message):
            pytest.fail(f"{case}: {gn.from_torch(net)}")


def test_the_how_to_pages_block_of_torch_runs(torch: Any, capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[1] / "docs" / "how-to.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```\{code-block\} python\n(import torch\n.*?)^```$", page, re.MULTILINE | re.DOTALL)
    exec(block, {"gn": gn, "X": pd.DataFrame(table_of(np.random.default_rng(0), 20, 2), columns=["a", "b"])})
    assert capsys.readouterr().out == "['model[1], BatchNorm1d is multiplied into model[0], Linear']\n"


# --- where a peer is not there ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "read", "extra"), [("keras", gn.from_keras, "peers"), ("torch", gn.from_torch, "race")]
)
def test_a_missing_peer_names_the_command(name: str, read: Any, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        MissingExtraError, match=rf"needs {name}; it is not installed.*pip install 'glassnet\[{extra}\]'"
    ):
        read(object())


def test_importing_the_rooms_imports_no_peer() -> None:
    import subprocess

    program = "import glassnet as gn, sys; gn.from_sklearn, gn.from_keras, gn.from_torch; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "glassnet.importing.torch" in loaded
    assert not {"keras", "jax", "sklearn", "torch"} & set(loaded)
