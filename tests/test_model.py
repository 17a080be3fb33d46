"""From a table to a model, to a file, and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import glassnet as gn
from glassnet.errors import CannotWriteError, DataError, UsageError
from glassnet.model import plain
from glassnet.persistence import write_model_file

TUMORS = gn.datasets.tumors().table
TWO: dict[str, Any] = {"features": ["texture_mean", "radius_mean"], "starts": 3, "epochs": 15}


@pytest.fixture(scope="module")
def fitted() -> gn.model.Fitted:
    return gn.fit(TUMORS, "diagnosis", **TWO)


def test_what_fit_says_is_so(fitted: Any) -> None:
    model = fitted.model
    assert (model.task, model.classes) == ("classification", ("B", "M"))
    assert sorted([*fitted.train_rows, *fitted.test_rows]) == list(range(569))
    for rows, said in ((fitted.train_rows, fitted.train), (fitted.test_rows, fitted.test)):
        assert model.evaluate(TUMORS.select(rows)) == said
    kept = fitted.population.kept
    for name, values in fitted.start_scores.items():
        # All starts are scored by the fast arithmetic, the kept one also by the canonical.
        assert values[kept] == pytest.approx(fitted.test[name], rel=1e-9)


def test_scaling_is_learned_on_training_rows_alone(fitted: Any) -> None:
    radius = TUMORS.numbers("radius_mean")
    column = fitted.model.encoder.columns[1]
    assert column.center == pytest.approx(radius[fitted.train_rows].mean(), rel=1e-14)
    assert column.center != pytest.approx(radius.mean(), rel=1e-6)


def test_the_split_is_stratified_and_seeded() -> None:
    share = np.mean([label == "M" for label in TUMORS.texts("diagnosis")])
    found = [gn.fit(TUMORS, "diagnosis", random_state=seed, **{**TWO, "epochs": 1}) for seed in (0, 0, 1)]
    for one in found:
        of_test = np.mean([TUMORS.texts("diagnosis")[row] == "M" for row in one.test_rows])
        assert abs(of_test - share) < 1 / len(one.test_rows)
    assert (found[0].test_rows == found[1].test_rows).all()
    assert (found[0].test_rows != found[2].test_rows).any()


def test_positive_turns_the_probabilities_round(fitted: Any) -> None:
    other = gn.fit(TUMORS, "diagnosis", positive="B", **TWO).model
    assert other.classes == ("M", "B")
    assert other.predict_proba(TUMORS).sum(axis=1) == pytest.approx(1)


def test_columns_are_found_by_name(fitted: Any) -> None:
    turned = {"other": [1.0], "radius_mean": [17.99], "texture_mean": [10.38]}
    straight = {"texture_mean": [10.38], "radius_mean": [17.99]}
    assert (fitted.model.predict_proba(turned) == fitted.model.predict_proba(straight)).all()


def test_one_row_has_the_bits_it_has_among_all(fitted: Any) -> None:
    every = fitted.model.predict_proba(TUMORS)
    for row in (0, 17, 568):
        assert (fitted.model.predict_proba(TUMORS.select([row]))[0] == every[row]).all()


def test_several_members_are_averaged(fitted: Any) -> None:
    members = tuple(fitted.population.start(k) for k in range(3))
    together = gn.Model(fitted.model.network, members, fitted.model.encoder)
    each = [gn.Model(fitted.model.network, (m,), fitted.model.encoder).predict_proba(TUMORS) for m in members]
    np.testing.assert_allclose(together.predict_proba(TUMORS), np.mean(each, axis=0), rtol=1e-14)


@pytest.mark.parametrize("target", ["diagnosis", "area_mean", "ring"])
def test_a_saved_model_is_the_model(target: str, tmp_path: Path) -> None:
    radius = TUMORS.numbers("radius_mean")
    ring = [("small", "middle", "large")[int(r > 12) + int(r > 15)] for r in radius]
    columns = {name: TUMORS.texts(name) if name == "diagnosis" else TUMORS.numbers(name) for name in TUMORS.names}
    model = gn.fit(
        {**columns, "ring": ring}, target, features=["texture_mean", "radius_mean"], starts=2, epochs=3
    ).model
    gn.save(model, tmp_path / "m.safetensors")
    loaded = gn.load(tmp_path / "m.safetensors")
    assert (loaded.network, loaded.encoder, loaded.provenance) == (model.network, model.encoder, model.provenance)
    assert loaded.members[0].vector.tobytes() == model.members[0].vector.tobytes()
    assert list(loaded.predict(TUMORS)) == list(model.predict(TUMORS))
    first = (tmp_path / "m.safetensors").read_bytes()
    gn.save(loaded, tmp_path / "m.safetensors")
    assert (tmp_path / "m.safetensors").read_bytes() == first


def test_provenance_says_where_it_came_from(fitted: Any) -> None:
    found = fitted.model.provenance
    assert found["data_sha256"] == fitted.population.data.hash
    assert found["rows"] == {"train": 455, "test": 114}
    assert found["metrics"]["test"] == fitted.test
    assert set(found["versions"]) == {"glassnet", "numpy", "python"}
    json.dumps(found, allow_nan=False)


def described() -> dict[str, Any]:
    model = gn.fit(TUMORS, "diagnosis", **{**TWO, "epochs": 1}).model
    return {
        "network": {"sizes": [2, 2, 1], "activations": ["relu", "identity"], "loss": "binary_cross_entropy"},
        "encoder": model.encoder.to_json(),
        "members": 1,
        "provenance": {},
    }


@pytest.mark.parametrize(
    "broken",
    [
        {"network": {"sizes": [3, 2, 1], "activations": ["relu", "identity"], "loss": "binary_cross_entropy"}},
        {"network": {"sizes": [2, 2, 1], "activations": ["relu", "identity"], "loss": "huber"}},
        {"network": {"sizes": [2, 2, 1], "activations": ["rule", "identity"], "loss": "binary_cross_entropy"}},
        {"network": {"sizes": "221", "activations": [], "loss": 3}},
        {"network": 7},
        {"members": 2},
        {"members": 0},
        {"encoder": {}},
        {"provenance": 5},
    ],
)
def test_a_whole_file_that_describes_no_model(broken: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    write_model_file(path, described(), {"member_0": np.zeros(9)})
    gn.load(path)
    write_model_file(path, {**described(), **broken}, {"member_0": np.zeros(9)})
    with pytest.raises(DataError, match=r"m\.safetensors"):
        gn.load(path)


def test_a_cell_that_cannot_be_used_is_found_before_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    train, test = gn.split(40, stratify=["a", "b"] * 20)
    for row in (train[0], test[0]):
        x = [float(i) for i in range(40)]
        table = {"x": [*x[:row], "oops", *x[row + 1 :]], "kind": ["a", "b"] * 20}
        monkeypatch.setattr(gn.model, "train_population", lambda *a, **k: pytest.fail("it was trained"))
        with pytest.raises(DataError, match=f"row {row}"):
            gn.fit(table, "kind", features=["x"])


def test_saving_where_nothing_can_be_written(fitted: Any, tmp_path: Path) -> None:
    with pytest.raises(CannotWriteError):
        gn.save(fitted.model, tmp_path / "no" / "m.safetensors")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"features": ["radius_mean", "diagnosis"]}, "never a feature"),
        ({"loss": "mean_squared_error"}, "binary_cross_entropy"),
        ({"task": "guess"}, "task"),
        ({"test_size": 0.0}, "between 0 and 1"),
        ({"hidden": 3}, "units of every hidden layer"),
        ({"patience": 2, "validation_fraction": 1.0}, "validation_fraction is the share"),
        ({"most_parameters": 8}, r"hidden=\(1,\) fits"),
    ],
)
def test_settings_that_cannot_be_meant(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        gn.fit(TUMORS, "diagnosis", **{**TWO, **settings})


def test_patience_watches_rows_by_their_weights() -> None:
    settings = {**TWO, "epochs": 300, "patience": 3, "validation_fraction": 0.2}
    found = gn.fit(TUMORS, "diagnosis", weights="area_mean", **settings)
    model, kept = found.model, found.population.kept
    run, trained_on = model.retrained(TUMORS)
    assert run.parameters.vector.tobytes() == model.members[0].vector.tobytes()
    apart = TUMORS.select(np.setdiff1d(found.train_rows, trained_on))
    trace = gn.forward(
        model.network, model.members[0], model.encoder.encode(apart), model.encoder.encode_target(apart),
        apart.numbers("area_mean"),
    )  # fmt: skip
    np.testing.assert_allclose(trace.loss, found.population.judged_by[kept], rtol=1e-11)


def test_patience_watches_whole_groups_of_training_rows() -> None:
    patients = [f"p{row // 4}" for row in range(TUMORS.n_rows)]
    columns = {name: TUMORS.texts(name) if name == "diagnosis" else TUMORS.numbers(name) for name in TUMORS.names}
    table = {**columns, "patient": patients}
    found = gn.fit(table, "diagnosis", group="patient", **TWO, patience=3, validation_fraction=0.2)
    run, trained_on = found.model.retrained(table)
    assert run.parameters.vector.tobytes() == found.model.members[0].vector.tobytes()
    apart = np.setdiff1d(found.train_rows, trained_on)
    kept = found.model.provenance
    assert (len(trained_on), len(apart)) == (kept["rows"]["train"], kept["validation"]["rows"])
    assert abs(len(apart) - 0.2 * len(found.train_rows)) <= 4
    assert not {patients[row] for row in apart} & {patients[row] for row in trained_on}
    assert found.population.held_out_losses is not None
    assert found.population.kept == int(np.argmin(found.population.judged_by))


def test_a_file_that_forgets_which_rows_were_watched_is_not_trained_again() -> None:
    model = gn.fit(TUMORS, "diagnosis", **TWO, patience=3).model
    forgetful = gn.Model(model.network, model.members, model.encoder, {**model.provenance, "validation": {}})
    with pytest.raises(UsageError, match="does not say 'fraction'"):
        forgetful.retrained(TUMORS)


def test_poisson_is_refused_where_targets_are_scaled() -> None:
    with pytest.raises(UsageError, match="counts"):
        gn.fit(TUMORS, "area_mean", loss="poisson", **TWO)


def test_a_regression_has_no_probabilities() -> None:
    model = gn.fit(TUMORS, "area_mean", **TWO).model
    with pytest.raises(UsageError, match="Use predict"):
        model.predict_proba(TUMORS)


def test_plain_data_has_no_nan() -> None:
    assert plain({"a": float("nan"), "b": np.float64(2), "c": {"d": np.int64(3)}, 4: "x"}) == {
        "a": None, "b": 2.0, "c": {"d": 3}, "4": "x",
    }  # fmt: skip
