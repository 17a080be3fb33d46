"""`gn.Encoder` as scikit-learn's conventions want it."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import joblib
import numpy as np
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import glassnet as gn
from glassnet.errors import UsageError
from glassnet.tables import as_table

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")

RECIPES = ["plain", "accurate", gn.Recipe(pieces=4)]


def mixed(n: int = 60, seed: int = 0) -> Any:
    """Rows of every kind of column, some with missing cells, under an index that does not count from 0."""
    rng = np.random.default_rng(seed)
    count = np.arange(n)
    columns = {
        "size": np.where(count % 5 == 2, np.nan, rng.normal(10, 3, n)),
        "color": rng.choice(["red", "blue", "green"], n),
        "ok": rng.random(n) < 0.5,
        "day": pd.Timestamp("1969-12-01") + pd.to_timedelta(rng.integers(0, 2000, n), unit="h"),
        "note": [None if j % 7 == 3 else "ab"[j % 2] for j in count],
        "maybe": pd.array([None if j % 6 == 1 else j % 4 == 0 for j in count], dtype="boolean"),
    }
    return pd.DataFrame(columns, index=count + 100)


NAMES = [
    "size", "size missing", "color = blue", "color = green", "color = red", "ok", "day",
    "note = a", "note = b", "note missing", "maybe", "maybe missing",
]  # fmt: skip


@parametrize_with_checks([gn.Encoder(), gn.Encoder("accurate"), gn.Encoder(gn.Recipe(pieces=4))])
def test_scikit_learns_own_checks(estimator: Any, check: Any) -> None:
    check(estimator)


# Within scikit-learn's own machinery


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize(
    "is_positive",
    [
        lambda rows: rows["size"].isna(),
        lambda rows: rows["size"] > 10,
        lambda rows: rows["color"] == "red",
        lambda rows: rows["ok"],
        lambda rows: rows["day"] > pd.Timestamp("1970-01-12"),
        lambda rows: rows["note"].isna(),
        lambda rows: rows["maybe"].fillna(False),
    ],
    ids=["size missing", "size", "color", "ok", "day", "note missing", "maybe"],
)
def test_a_pipeline_learns_from_columns_of_every_kind(is_positive: Callable[[Any], Any], recipe: Any) -> None:
    train, held_out = mixed(300), mixed(90, seed=1)
    y, truth = (is_positive(rows).astype(int).to_numpy() for rows in (train, held_out))
    # hardly any penalty: each of these truths is a weighted sum of the features
    pipeline = make_pipeline(gn.Encoder(recipe), LogisticRegression(C=1e4, max_iter=5000)).fit(train, y)
    assert max(y.mean(), 1 - y.mean()) < 0.9 < pipeline.score(held_out, truth)

    # the encoding is that of the training rows, and goes through a file as any estimator does
    features = gn.Encoder(recipe).fit(train).transform(held_out)
    expected = pipeline[-1].predict_proba(features)
    np.testing.assert_array_equal(pipeline.predict_proba(held_out), expected)
    joblib.dump(pipeline, file := io.BytesIO())
    file.seek(0)
    np.testing.assert_array_equal(joblib.load(file).predict_proba(held_out), expected)


def test_a_grid_search_goes_over_recipes() -> None:
    rows = mixed()
    y = (rows["color"] == "red").to_numpy()
    pipeline = make_pipeline(gn.Encoder(strict=True), LogisticRegression())
    search = GridSearchCV(pipeline, {"encoder__recipe": RECIPES}, cv=2, error_score="raise").fit(rows, y)
    assert [tried["encoder__recipe"] for tried in search.cv_results_["params"]] == RECIPES
    assert search.best_estimator_[0].strict


def test_within_a_column_transformer() -> None:
    rows, new = mixed(), mixed(seed=1)
    parts = [
        ("robust", gn.Encoder("accurate"), ["day", "size"]),
        ("plain", gn.Encoder(), ["note", "ok"]),
        ("as is", "passthrough", ["ok"]),
    ]
    transformer = ColumnTransformer(parts).fit(rows)
    names = ["day", "size", "size missing"], ["note = a", "note = b", "note missing", "ok"], ["ok"]
    expected_names = [f"{part}__{name}" for (part, *_), of_part in zip(parts, names, strict=True) for name in of_part]
    assert transformer.get_feature_names_out().tolist() == expected_names
    blocks = [encoder.fit(rows[chosen]).transform(new[chosen]) for _, encoder, chosen in parts[:2]]
    expected = np.hstack([*blocks, new[["ok"]]])
    np.testing.assert_array_equal(transformer.transform(new), expected)
    framed = clone(transformer).set_output(transform="pandas").fit(rows).transform(new)
    assert framed.columns.tolist() == expected_names
    np.testing.assert_array_equal(framed.to_numpy(dtype=float), expected)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_frame_of_features_has_their_names(library: str, recipe: Any) -> None:
    rows = mixed()
    default = gn.Encoder(recipe).fit(rows)
    framed = gn.Encoder(recipe).set_output(transform=library).fit_transform(rows)
    assert isinstance(framed, {"pandas": pd, "polars": pl}[library].DataFrame)
    assert list(framed.columns) == default.get_feature_names_out().tolist()
    np.testing.assert_array_equal(framed.to_numpy(), default.transform(rows))
    if library == "pandas":
        assert framed.index.equals(rows.index)
    np.testing.assert_array_equal(default.inverse_transform(framed), default.inverse_transform(framed.to_numpy()))


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_clone_is_its_equal(recipe: Any) -> None:
    rows = mixed()
    fitted = gn.Encoder(recipe, strict=True).fit(rows)
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params() == {"recipe": recipe, "strict": True}
    with pytest.raises(NotFittedError):
        copy.get_feature_names_out()
    assert copy.fit(rows).encoding_ == fitted.encoding_
    np.testing.assert_array_equal(copy.transform(rows), fitted.transform(rows))


# What it gives


def test_plain_is_scikit_learns_scaler_and_one_hot() -> None:
    rng = np.random.default_rng(5)
    # numbers and texts by turns, so that features in another order would be found out
    frame = pd.DataFrame(
        {
            "size": rng.normal(200, 30, 80),
            "color": rng.choice(["red", "blue", "Green", "10", "9"], 80),
            "count": rng.integers(0, 50, 80),
            "shape": rng.choice(["round", "square"], 80),
        }
    )
    new = frame.iloc[60:].replace({"color": {"red": "never seen"}})
    oracle = ColumnTransformer(
        [
            ("size", StandardScaler(), ["size"]),
            ("color", OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["color"]),
            ("count", StandardScaler(), ["count"]),
            ("shape", OneHotEncoder(sparse_output=False), ["shape"]),
        ],
        verbose_feature_names_out=False,
    ).fit(frame.iloc[:60])
    encoder = gn.Encoder("plain").fit(frame.iloc[:60])
    of_sklearn = [name.replace("_", " = ") for name in oracle.get_feature_names_out()]
    assert encoder.get_feature_names_out().tolist() == of_sklearn
    # the same formula; the sums may run in another order
    np.testing.assert_allclose(encoder.transform(new), oracle.transform(new), rtol=1e-12, atol=1e-13)
    assert (new["color"] == "never seen").any()


def test_frames_of_any_library_give_the_same() -> None:
    rows = mixed()
    frames = [
        rows,
        rows.astype({"color": "category", "note": "string"}),
        pl.from_pandas(rows),
        pa.Table.from_pandas(rows, preserve_index=False),
    ]
    fitted = [gn.Encoder().fit(frame) for frame in frames]
    expected = fitted[0].transform(rows)
    for encoder in fitted:
        assert encoder.encoding_ == fitted[0].encoding_
        assert encoder.feature_names_in_.tolist() == rows.columns.tolist()
        for frame in frames:
            np.testing.assert_array_equal(encoder.transform(frame), expected)


@pytest.mark.parametrize("recipe", RECIPES)
def test_what_was_encoded_comes_back(recipe: Any) -> None:
    rows = mixed()
    encoder = gn.Encoder(recipe).fit(rows)
    back = encoder.inverse_transform(encoder.transform(rows))
    assert back.shape == rows.shape
    came_back = dict(zip(rows.columns, back.T.tolist(), strict=True))
    numbers = np.array(came_back.pop("size"), dtype=float)  # None is NaN
    np.testing.assert_allclose(numbers, rows["size"], rtol=1e-9)
    # a time of midnight is not written
    days = [str(moment).replace(" ", "T").removesuffix("T00:00:00") for moment in rows["day"]]
    assert came_back.pop("day") == days
    assert came_back == {
        name: [None if pd.isna(cell) else cell for cell in rows[name]] for name in ("color", "ok", "note", "maybe")
    }


def test_unseen_texts_are_in_no_level() -> None:
    rows = mixed()
    new = rows[:3].assign(color=["purple", None, " red "])
    encoder = gn.Encoder().fit(rows)
    features = encoder.transform(new)
    color = [name.startswith("color") for name in NAMES]
    assert features[:, color].tolist() == [[0, 0, 0], [0, 0, 0], [0, 0, 1]]
    np.testing.assert_array_equal(features[:, ~np.array(color)], encoder.transform(rows[:3])[:, ~np.array(color)])
    assert encoder.inverse_transform(features)[:, 1].tolist() == ["other", "other", "red"]

    # where rare texts share a feature, an unseen one is there
    sharing = gn.Encoder(gn.Recipe(max_levels=2)).fit(rows)
    color = [name.startswith("color") for name in sharing.get_feature_names_out()]
    assert sharing.transform(new)[0, color].tolist() == [0, 0, 1]


def test_features_are_named_after_columns() -> None:
    rows = mixed()
    encoder = gn.Encoder().fit(rows)
    assert encoder.get_feature_names_out().tolist() == NAMES
    assert encoder.get_feature_names_out(rows.columns).tolist() == NAMES
    with pytest.raises(ValueError, match="input_features is equal to feature_names_in_"):
        encoder.get_feature_names_out(rows.columns[::-1])


def test_what_can_tell_nothing_is_warned_of_or_refused() -> None:
    rows = mixed()[["size", "ok"]].assign(same=1, ok=True)
    with pytest.warns(UserWarning, match="left out") as said:
        encoder = gn.Encoder().fit(rows)
    assert [str(warning.message) for warning in said] == [
        "column 'ok' left out: it is true in every training row",
        "column 'same' left out: it is 1 in every training row",
    ]
    assert list(encoder.left_out_) == ["ok", "same"]
    assert encoder.inverse_transform(encoder.transform(rows)).shape == (len(rows), 1)
    with pytest.raises(ValueError, match="column 'ok' cannot be used"):
        gn.Encoder(strict=True).fit(rows)


def test_columns_go_by_their_place_where_arrays_and_frames_meet() -> None:
    frame = pd.DataFrame({"size": [1.0, 2.0, 6.0], "weight": [3.0, 1.0, 2.0]})
    wanted = gn.Encoder().fit(frame).transform(frame)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        assert np.array_equal(gn.Encoder().fit(frame).transform(frame.to_numpy()), wanted)
    with pytest.warns(UserWarning, match="has feature names"):
        assert np.array_equal(gn.Encoder().fit(frame.to_numpy()).transform(frame), wanted)
    numbered = frame.set_axis([7, 8], axis=1)
    assert np.array_equal(gn.Encoder().fit(numbered).transform(numbered), wanted)


def test_an_array_takes_names_from_the_step_before() -> None:
    cells = np.array([[1.0, "red", 2.0], [2.0, "blue", 5.0], [6.0, "red", 3.0]], dtype=object)
    chosen = ColumnTransformer([("e", gn.Encoder(), [1, 2])]).fit(cells)
    assert chosen.get_feature_names_out().tolist() == ["e__x1 = blue", "e__x1 = red", "e__x2"]
    frame = pd.DataFrame({"size": [1.0, 2.0, 6.0], "weight": [3.0, 1.0, 2.0]})
    assert make_pipeline(StandardScaler(), gn.Encoder()).fit(frame).get_feature_names_out().tolist() == list(frame)
    with pytest.raises(UsageError, match="length equal to number of features"):
        gn.Encoder().fit(frame.to_numpy()).get_feature_names_out(["size"])


def test_a_gap_of_pandas_is_a_gap() -> None:
    cells = np.array([[1.5, "red"], [pd.NA, pd.NA], [2.5, "blue"]], dtype=object)
    assert np.array_equal(as_table(cells).columns["x1"].missing, [False, True, False])
    assert np.array_equal(as_table(cells).columns["x2"].missing, [False, True, False])
