"""`TableClassifier` and `TableRegressor`: what `glassnet train` does, as scikit-learn's conventions want it."""

from __future__ import annotations

import inspect
import io
import warnings
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pyarrow as pa
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

import glassnet as gn
from glassnet.cli import main
from glassnet.errors import DataError, UsageError
from glassnet.estimators.tables import RECIPES
from glassnet.model import fit_prepared

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")

TUMORS = gn.datasets.tumors().table
TWO = ["texture_mean", "radius_mean"]
QUICK: dict[str, Any] = {"starts": 3, "epochs": 9}  # a job for NumPy, which compiles nothing


def tumors() -> Any:
    columns = {name: TUMORS.texts(name) if name == "diagnosis" else TUMORS.numbers(name) for name in TUMORS.names}
    return pd.DataFrame(columns)


FRAME = tumors()[["diagnosis", *TWO]]
X, Y = FRAME[TWO], FRAME["diagnosis"]
COSTS = X.assign(cost=3 * X["radius_mean"] - X["texture_mean"] + np.random.default_rng(0).normal(size=len(X)))


def mixed(n: int = 120, seed: int = 0) -> Any:
    """Rows of every kind of column, some with missing cells; `ill` follows from them."""
    rng = np.random.default_rng(seed)
    count = np.arange(n)
    size, color = rng.normal(10, 3, n), rng.choice(["red", "blue", "green"], n)
    return pd.DataFrame(
        {
            "ill": np.where((size > 11) | (color == "red"), "yes", "no"),
            "size": np.where(count % 5 == 2, np.nan, size),
            "color": color,
            "ok": rng.random(n) < 0.5,
            "day": pd.Timestamp("1969-12-01") + pd.to_timedelta(rng.integers(0, 2000, n), unit="h"),
            "note": [None if j % 7 == 3 else "ab"[j % 2] for j in count],
        },
        index=count + 100,
    )


# The checks' data are not made for these columns: some are constant, some give the target away.
@pytest.mark.filterwarnings("default")
@parametrize_with_checks(
    [
        gn.TableClassifier(starts=2, epochs=30, optimizer=gn.Adam(0.05)),
        gn.TableClassifier(starts=2, epochs=30, patience=9, optimizer=gn.AdamW(0.05), activation="tanh", hidden=(3, 2)),
        gn.TableRegressor(starts=2, epochs=30, optimizer=gn.Adam(0.05)),
        gn.TableRegressor(starts=2, hidden=(), optimizer=gn.LBFGS(), batch_size=None, patience=5),
    ]
)
def test_scikit_learns_own_checks(estimator: Any, check: Any) -> None:
    if check.func.__name__ == "check_sample_weight_equivalence_on_dense_data":
        # A repeated row counts twice in how columns are scaled, and makes other batches; a weight is of the loss alone.
        with pytest.raises(AssertionError, match="not equivalent to fitting with removed or repeated"):
            check(estimator)
    else:
        check(estimator)


# Recipe "plain" is what `glassnet train` does


def train(path: Path, *options: str) -> Path:
    """The file that `glassnet train` makes of a CSV file."""
    out = path.with_suffix(".safetensors")
    with pytest.raises(SystemExit) as ended:
        main(["train", str(path), "--test-size", "0", "-o", str(out), *options])
    assert ended.value.code == 0
    return out


@pytest.mark.parametrize(
    ("estimator", "frame", "target", "options"),
    [
        (gn.TableClassifier(starts=20, epochs=10), tumors(), "diagnosis", ["--starts", "20", "--epochs", "10"]),
        (gn.TableClassifier(**QUICK, hidden=(3, 2), activation="tanh", random_state=5), FRAME, "diagnosis",
         ["--starts", "3", "--epochs", "9", "--hidden", "3x2", "--activation", "tanh", "--seed", "5"]),
        (gn.TableClassifier(**QUICK, features=["color", "ok", "note", "size"], optimizer=gn.SGD(0.1), l2=0.01), mixed(),
         "ill", ["--starts", "3", "--epochs", "9", "--features", "color,ok,note,size", "--optimizer", "sgd",
                 "--learning-rate", "0.1", "--l2", "0.01"]),
        (gn.TableRegressor(starts=2, optimizer=gn.LBFGS(), batch_size=None), COSTS, "cost",
         ["--starts", "2", "--optimizer", "lbfgs"]),
    ],
)  # fmt: skip
def test_an_estimator_is_glassnet_train_to_the_bit(
    estimator: Any, frame: Any, target: str, options: list[str], tmp_path: Path
) -> None:
    frame.to_csv(tmp_path / "table.csv", index=False)
    by_command = train(tmp_path / "table.csv", "--target", target, *options)
    fitted = clone(estimator).fit(frame, target)
    assert fitted.model_.members[0].vector.tobytes() == gn.load(by_command).members[0].vector.tobytes()
    gn.save(fitted, tmp_path / "estimator.safetensors")
    assert (tmp_path / "estimator.safetensors").read_bytes() == by_command.read_bytes()
    expected = gn.load(by_command).predict(gn.read_table(str(tmp_path / "table.csv")))
    assert list(fitted.predict(frame)) == list(expected)


def test_another_seed_is_seen() -> None:
    """What holds the bits against one another above can fail."""
    one, other = (gn.TableClassifier(**QUICK, random_state=seed).fit(X, Y).model_ for seed in (0, 1))
    assert one.members[0].vector.tobytes() != other.members[0].vector.tobytes()


def test_parameters_are_those_of_fit_with_its_defaults() -> None:
    known = inspect.signature(gn.fit).parameters | inspect.signature(fit_prepared).parameters
    for estimator in (gn.TableClassifier(), gn.TableRegressor()):
        given = estimator.get_params()
        assert {name: known[name].default for name in given} == given


def test_the_recipe_is_kept_to() -> None:
    assert RECIPES["plain"].most_parameters == 200
    wide = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 199)))
    labels = np.arange(40) % 2
    assert gn.TableClassifier(hidden=(), **QUICK).fit(wide, labels).model_.network.n_parameters == 200
    for frame, y, hidden, way_out in (
        (wide.assign(more=wide[0] ** 2).set_axis(range(200), axis=1), labels, (), "Name fewer features"),
        (tumors(), "diagnosis", (10,), r"hidden=\(6,\) fits"),
        (tumors(), "diagnosis", (64, 64), r"30 features, hidden=\(64, 64\) and 1 output make 6,209"),
    ):
        with pytest.raises(UsageError, match=way_out):
            gn.TableClassifier(hidden=hidden, **QUICK).fit(frame, y)
    assert gn.TableClassifier(hidden=(6,), **QUICK).fit(tumors(), "diagnosis").model_.network.n_parameters <= 200
    assert gn.fit(tumors(), "diagnosis", hidden=(10,), **QUICK).model.network.n_parameters == 321
    with pytest.raises(UsageError, match="'accurate' is not there yet"):
        gn.TableClassifier("accurate").fit(X, Y)
    with pytest.raises(UsageError, match="Did you mean 'plain'"):
        gn.TableClassifier("plane").fit(X, Y)


# Tables of any kind


def test_frames_arrays_and_column_names_give_the_same() -> None:
    rows = mixed()
    expected = gn.TableClassifier(**QUICK).fit(rows, "ill")
    assert expected.feature_names_in_.tolist() == rows.columns[1:].tolist()
    vector, chances = expected.model_.members[0].vector.tobytes(), expected.predict_proba(rows)
    for frame in (rows, pl.from_pandas(rows), pa.Table.from_pandas(rows, preserve_index=False)):
        whole = gn.TableClassifier(**QUICK).fit(frame, "ill")
        features = frame.drop(columns="ill") if frame is rows else frame.drop(["ill"])
        apart = gn.TableClassifier(**QUICK).fit(features, frame["ill"])
        for estimator in (whole, apart):
            assert estimator.model_.members[0].vector.tobytes() == vector
            assert (estimator.predict_proba(features) == chances).all()
            assert estimator.score(features, frame["ill"]) == expected.score(rows, "ill")
        assert (whole.predict_proba(frame) == chances).all()  # the target's column is no hindrance
    assert expected.model_.target.source == "ill"

    array = gn.TableClassifier(**QUICK).fit(X.to_numpy(), Y.to_numpy())
    framed = gn.TableClassifier(**QUICK).fit(X, Y)
    assert (array.predict_proba(X.to_numpy()) == framed.predict_proba(X)).all()
    assert array.model_.target.source == "y"
    assert list(array.model_.predict(X.to_numpy())) == array.predict(X.to_numpy()).tolist()


def test_a_table_is_learned_from() -> None:
    estimator = gn.TableClassifier(starts=10, hidden=(4,)).fit(mixed(400), "ill")
    held_out = mixed(200, seed=1)
    share = max((held_out["ill"] == label).mean() for label in ("yes", "no"))
    assert share < 0.9 < estimator.score(held_out, "ill")
    assert (estimator.predict(held_out) == held_out["ill"]).mean() == estimator.score(held_out, "ill")


@pytest.mark.parametrize(
    "classes",
    [
        ["10", "9"], [10, 9], [2.0, 1.0], [True, False], ["true", "false"], ["b ", "a"], ["No", "Yes", "Later"],
        [3, 1, 2],
    ],
)  # fmt: skip
def test_classes_are_those_of_y(classes: list[Any]) -> None:
    y = np.array([classes[j % len(classes)] for j in range(len(X))])
    shifted = X + 10 * np.arange(len(X))[:, None] % (10 * len(classes))
    estimator = gn.TableClassifier(starts=3, epochs=60).fit(shifted, y)
    assert estimator.classes_.tolist() == sorted(classes)
    chances = estimator.predict_proba(shifted)
    np.testing.assert_array_equal(estimator.predict(shifted), estimator.classes_[chances.argmax(axis=1)])
    assert estimator.score(shifted, y) > 0.7  # by chance it were a half, or a third
    # a logarithm rounded in its last place, here of 1e-30 at the least, is so many times as much of the probability
    kept = chances > 1e-30
    np.testing.assert_allclose(np.exp(estimator.predict_log_proba(shifted))[kept], chances[kept], rtol=70 * 2e-16)


def test_identifiers_are_left_out_of_frames_and_said() -> None:
    rows = X.assign(patient=np.arange(len(X)) + 1000)
    with pytest.warns(UserWarning, match="'patient' left out: every value in it is different"):
        estimator = gn.TableClassifier(**QUICK).fit(rows, Y)
    assert [column.source for column in estimator.model_.encoder.columns] == TWO
    named = gn.TableClassifier(**QUICK, features=[*TWO, "patient"]).fit(rows, Y)
    assert len(named.model_.encoder.columns) == 3
    assert len(gn.TableClassifier(**QUICK).fit(rows.to_numpy(), Y).model_.encoder.columns) == 3


def test_a_column_that_is_the_target_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="gives the target away"):
        gn.TableClassifier(**QUICK).fit(X.assign(told=np.where(Y == "M", "one", "two")), Y)


def test_a_target_may_be_called_as_a_column_is() -> None:
    estimator = gn.TableClassifier(**QUICK).fit(X.set_axis(["y", "y_"], axis=1), Y.to_numpy())
    assert estimator.model_.target.source == "y__"


# Starts, and when they end


def test_without_patience_the_lowest_training_objective_is_kept() -> None:
    estimator = gn.TableClassifier(**QUICK, l2=0.01).fit(X, Y)
    assert estimator.kept_start_ == int(np.argmin(estimator.starts_["objective"]))
    assert {len(values) for values in estimator.starts_.values()} == {3}
    assert estimator.starts_["accuracy"][estimator.kept_start_] == estimator.score(X, Y)
    assert estimator.starts_["n_epochs"].tolist() == [9] * 3
    assert len(estimator.history_.loss) == 10
    assert estimator.history_.held_out_loss is None


@pytest.mark.parametrize(("estimator", "target"), [(gn.TableClassifier, "diagnosis"), (gn.TableRegressor, "area_mean")])
def test_with_patience_the_lowest_loss_on_rows_apart_is_kept(estimator: Any, target: str) -> None:
    settings: dict[str, Any] = {"starts": 12, "hidden": (6,), "epochs": 300, "optimizer": gn.Adam(0.05)}
    rows = tumors()[[target, *TWO, "smoothness_mean"]][:120]
    fitted = estimator(**settings, patience=8, validation_fraction=0.25).fit(rows, target)
    losses, ends = fitted.starts_["validation_loss"], fitted.starts_["n_epochs"]
    assert fitted.kept_start_ == int(np.argmin(losses))
    assert (ends < 300).all()
    held_out = fitted.history_.held_out_loss
    assert len(held_out) == len(fitted.history_.loss) == ends[fitted.kept_start_] + 1
    assert held_out.min() == losses.min()
    assert held_out.argmin() == len(held_out) - 1 - 8

    # the rows apart, told by the split that has their seed: the kept parameters have the kept loss on them
    model = fitted.model_
    table = model.table(rows)
    stratify = rows[target].tolist() if target == "diagnosis" else None
    trained_on, apart = gn.split(len(rows), test_size=0.25, stratify=stratify)
    assert model.provenance["validation"]["rows"] == len(apart) == 30
    part = table.select(apart)
    trace = gn.forward(model.network, model.members[0], model.encoder.encode(part), model.encoder.encode_target(part))
    np.testing.assert_allclose(trace.loss, losses.min(), rtol=1e-11)  # sums in another order, from kernels' exp

    # and gone through again they end at the same bits, which the worked calculation of a step needs
    run, rows_trained_on = model.retrained(rows)
    assert rows_trained_on.tolist() == trained_on.tolist()
    assert run.parameters.vector.tobytes() == model.members[0].vector.tobytes()
    assert gn.explain(fitted, rows, row=int(trained_on[0]), step=2).lines
    changed = rows.copy()
    changed.loc[int(apart[0]), "texture_mean"] += 1
    with pytest.raises(DataError, match="holds others"):
        model.retrained(changed)


# Weights of rows

WEIGHTS = np.arange(len(X)) % 3 + 0.0


def test_rows_that_weigh_nothing_have_no_say() -> None:
    """But in how columns are scaled; so here they keep their columns, and lose their class."""
    wrong = np.where(WEIGHTS == 0, Y.to_numpy()[::-1], Y)
    right = gn.TableClassifier(**QUICK).fit(X, Y, WEIGHTS)
    fitted = gn.TableClassifier(**QUICK).fit(X, wrong, sample_weight=WEIGHTS)
    assert fitted.model_.members[0].vector.tobytes() == right.model_.members[0].vector.tobytes()
    assert fitted.score(X, wrong, WEIGHTS) == right.score(X, Y, WEIGHTS) != fitted.score(X, wrong)
    without = gn.TableClassifier(**QUICK).fit(X, Y)
    assert without.model_.members[0].vector.tobytes() != right.model_.members[0].vector.tobytes()
    assert right.starts_["accuracy"][right.kept_start_] == right.score(X, Y, WEIGHTS)


@pytest.mark.parametrize("patience", [None, 5])
@pytest.mark.parametrize(
    ("estimator", "rows", "target"), [(gn.TableClassifier, FRAME, "diagnosis"), (gn.TableRegressor, COSTS, "cost")]
)
def test_weights_are_a_column_of_the_table_that_a_model_is_trained_again_on(
    estimator: Any, rows: Any, target: str, patience: int | None
) -> None:
    fitted = estimator(**QUICK | {"epochs": 40}, patience=patience).fit(rows, target, WEIGHTS)
    model = fitted.model_
    run, trained_on = model.retrained(rows.assign(sample_weight=WEIGHTS))
    assert run.parameters.vector.tobytes() == model.members[0].vector.tobytes()
    np.testing.assert_array_equal(run.data.row_weights, WEIGHTS[trained_on])
    if patience:  # and those that are watched count by theirs
        apart = np.setdiff1d(np.arange(len(rows)), trained_on)
        table = model.table(rows).select(apart)
        part = model.encoder.encode(table), model.encoder.encode_target(table)
        loss = gn.forward(model.network, model.members[0], *part, WEIGHTS[apart]).loss
        np.testing.assert_allclose(loss, fitted.starts_["validation_loss"].min(), rtol=1e-11)
    with pytest.raises(DataError, match="holds others"):
        model.retrained(rows.assign(sample_weight=WEIGHTS + 1))


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ([1.0, 2.0], "shape"),
        (np.arange(len(X)) == 7, "of the 57 rows that patience watches"),
        (WEIGHTS - 1, "a row's weight is 0 or more"),
        (WEIGHTS * 0, "non-zero"),
    ],
)
def test_weights_that_cannot_be_meant(weights: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        gn.TableClassifier(**QUICK, patience=3).fit(X, Y, weights)


def test_weights_find_their_way_through_a_search_and_a_pipeline() -> None:
    with config_context(enable_metadata_routing=True):
        base = gn.TableClassifier(**QUICK).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        search = GridSearchCV(base, {"hidden": [(1,), (2,)]}, cv=2).fit(X, Y, sample_weight=WEIGHTS)
        piped = make_pipeline(FunctionTransformer(), base).fit(X, Y, sample_weight=WEIGHTS)
        without = GridSearchCV(base, {"hidden": [(1,), (2,)]}, cv=2).fit(X, Y)
    alone = gn.TableClassifier(**QUICK, hidden=search.best_params_["hidden"]).fit(X, Y, WEIGHTS)
    assert search.best_estimator_.model_.members[0].vector.tobytes() == alone.model_.members[0].vector.tobytes()
    assert search.cv_results_["mean_test_score"].tolist() != without.cv_results_["mean_test_score"].tolist()
    expected = gn.TableClassifier(**QUICK).fit(X, Y, WEIGHTS).predict_proba(X)
    np.testing.assert_array_equal(piped.predict_proba(X), expected)


def test_rows_apart_are_by_class() -> None:
    labels = np.where(np.arange(len(X)) % 20 == 0, "rare", "common")
    fitted = gn.TableClassifier(**QUICK, patience=5).fit(X, labels)
    _, apart = gn.split(len(X), test_size=0.1, stratify=labels)
    assert abs((labels[apart] == "rare").mean() - 0.05) < 1 / len(apart)
    assert fitted.model_.provenance["validation"]["rows"] == len(apart)


def test_all_starts_diverging_is_said() -> None:
    with pytest.warns(ConvergenceWarning, match="every start diverged"):
        gn.TableRegressor(**QUICK, optimizer=gn.SGD(1e200), hidden=()).fit(COSTS, "cost")


def test_random_states_of_every_kind() -> None:
    def vector(random_state: Any) -> bytes:
        fitted = gn.TableClassifier(**QUICK, random_state=random_state).fit(X, Y)
        return bytes(fitted.model_.members[0].vector.tobytes())

    assert vector(np.random.RandomState(3)) == vector(np.random.RandomState(3)) != vector(3)
    assert vector(None) != vector(None)
    assert vector(np.int64(3)) == vector(3)


# What a model can be asked, and scikit-learn's machinery


def test_what_takes_a_model_takes_a_fitted_estimator(tmp_path: Path) -> None:
    fitted = gn.TableClassifier(**QUICK).fit(FRAME, "diagnosis")
    model = fitted.model_
    assert gn.derive(fitted).text() == gn.derive(model).text()
    assert "encode" in gn.derive(fitted).text()
    explained = gn.explain(fitted, FRAME, row=17)
    assert explained.text() == gn.explain(model, FRAME, row=17).text()
    assert explained.answer == gn.explain(model, FRAME.iloc[[17]]).answer
    assert gn.verify(fitted, FRAME).ok
    assert model.local(FRAME, 17).prediction == fitted.predict(FRAME)[17]
    gn.save(fitted, tmp_path / "m.safetensors")
    assert (gn.load(tmp_path / "m.safetensors").predict_proba(FRAME) == fitted.predict_proba(FRAME)).all()


def test_a_notebook_shows_the_network() -> None:
    assert "data-symbol" not in gn.TableClassifier()._repr_html_()
    for fitted, names in (
        (gn.TableClassifier(**QUICK).fit(mixed(), "ill"), ["color = red", "P(yes)"]),
        (gn.TableRegressor(**QUICK).fit(COSTS, "cost"), ["texture_mean", "cost"]),
    ):
        html = fitted._repr_html_()
        n_in, n_hidden, n_out = fitted.model_.network.sizes
        assert html.count("data-symbol") == n_in * n_hidden + n_hidden * n_out
        assert all(name in html.split("<svg", 1)[1] for name in names)


def test_copies_predict_the_same() -> None:
    fitted = gn.TableClassifier(**QUICK, patience=4).fit(mixed(), "ill")
    joblib.dump(fitted, file := io.BytesIO())
    file.seek(0)
    assert (joblib.load(file).predict_proba(mixed()) == fitted.predict_proba(mixed())).all()
    again = clone(fitted)
    assert again.get_params() == fitted.get_params()
    with pytest.raises(NotFittedError):
        again.predict(mixed())


def test_within_a_grid_search_a_pipeline_and_cross_validation() -> None:
    rows = mixed(200)
    features, ill = rows.drop(columns="ill"), rows["ill"]
    pipeline = make_pipeline(
        FunctionTransformer(lambda frame: frame.assign(double=2 * frame["size"])), gn.TableClassifier(**QUICK)
    )
    grid = {"tableclassifier__hidden": [(), (3,)], "tableclassifier__optimizer": [gn.Adam(0.05), gn.SGD(0.01)]}
    search = GridSearchCV(pipeline, grid, cv=3, error_score="raise").fit(features, ill)
    assert len(search.cv_results_["mean_test_score"]) == 4
    assert search.best_estimator_[-1].hidden == search.best_params_["tableclassifier__hidden"]
    assert search.score(features, ill) == search.best_estimator_.score(features, ill)
    several = cross_val_score(gn.TableClassifier(**QUICK), features, ill, cv=4, n_jobs=2)
    alone = cross_val_score(gn.TableClassifier(**QUICK), features, ill, cv=4)
    assert several.tolist() == alone.tolist()
    r2 = cross_val_score(gn.TableRegressor(**QUICK, optimizer=gn.Adam(0.1)), X, COSTS["cost"], cv=3)
    assert (r2 > 0.8).all()


@pytest.mark.parametrize(
    ("settings", "table", "target", "said"),
    [
        ({}, FRAME, "diagnosys", "Did you mean 'diagnosis'"),
        ({}, X.to_numpy(), "diagnosis", "column where X is a data frame"),
        ({}, TUMORS, "diagnosis", "gn.fit takes tables"),
        ({}, TUMORS, Y, "takes a data frame or an array of rows; got Table"),
        ({}, {"a": [1.0, 2.0]}, [0, 1], "takes a data frame or an array of rows; got dict"),
        ({}, X, None, "requires y to be passed"),
        ({}, X, Y.where(Y.index > 3), "column 'diagnosis': 4 of 569 cells are missing"),
        ({}, X, np.where(Y.index < 9, "M ", Y), "'M', 'M ' do not"),
        ({}, X, np.arange(569) / 7, "continuous"),
        ({}, X, ["M"] * 569, "needs two classes"),
        ({}, X[:1], ["M"], "1 sample"),
        ({"hidden": 3}, X, Y, "units of every hidden layer"),
        ({"features": ["radius"]}, X, Y, "no column 'radius'"),
        ({"patience": 0}, X, Y, "patience is a whole number"),
        ({"patience": 2, "validation_fraction": 0.0}, X, Y, "validation_fraction is the share"),
        ({"optimizer": "adam"}, X, Y, "optimizer is one of"),
        ({"random_state": "x"}, X, Y, "cannot be used to seed"),
    ],
)
def test_what_cannot_be_meant_is_one_message(settings: dict[str, Any], table: Any, target: Any, said: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's own, of classes that look continuous
        with pytest.raises(ValueError, match=said):
            gn.TableClassifier(**{**QUICK, **settings}).fit(table, target)


def test_a_regressor_wants_numbers() -> None:
    with pytest.raises(DataError, match="column 'diagnosis' holds text, not numbers"):
        gn.TableRegressor(**QUICK).fit(FRAME, "diagnosis")
    with pytest.raises(ValueError, match="contains NaN"):
        gn.TableRegressor(**QUICK).fit(X, np.where(Y.index < 9, np.nan, 1.0))
