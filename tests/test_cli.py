"""The command line as a stranger uses it: what it prints, what it keeps, and one message per mistake."""

from __future__ import annotations

import csv
import io
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import glassnet as gn
from glassnet import cli
from glassnet.activations import ACTIVATIONS
from glassnet.cells import not_a_formula
from glassnet.losses import LOSSES

TUMORS = Path(gn.__file__).with_name("bdiag.csv")
QUICK = ["--starts", "3", "--epochs", "20"]
TWO = ["--target", "diagnosis", "--features", "texture_mean,radius_mean"]


class Said:
    """What one call of the command line left."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    def call(*arguments: object) -> Said:
        with pytest.raises(SystemExit) as ended:
            cli.main([str(argument) for argument in arguments])
        status = ended.value.code
        assert isinstance(status, int)
        captured = capsys.readouterr()
        return Said(status, captured.out, captured.err)

    return call


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the two columns, made by the command line itself."""
    path = tmp_path_factory.mktemp("model") / "tumor.safetensors"
    command = [sys.executable, "-m", "glassnet", "train", str(TUMORS), *TWO, *QUICK, "--seed", "3", "-o", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Next     glassnet explain" in done.stdout
    return path


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


# --- what it does -------------------------------------------------------------------------------------------------


def test_train_as_json(run: Any, tmp_path: Path) -> None:
    said = run("train", TUMORS, *TWO, *QUICK, "--json", "-o", tmp_path / "m.safetensors")
    assert (said.status, said.err) == (0, "")
    told = json.loads(said.out)
    assert list(told) == ["model", "task", "rows", "train", "test", "starts", "notices", "warnings"]
    assert told["model"] == str(tmp_path / "m.safetensors")
    assert (told["task"], told["rows"]) == ("classification", {"train": 455, "test": 114})
    for part in ("train", "test"):
        assert list(told[part]) == ["accuracy", "f1", "auc", "log_loss"]
    assert list(told["starts"]["accuracy"]) == ["median", "p5", "p95"]
    assert told["starts"]["size"] == 3
    assert gn.load(tmp_path / "m.safetensors").provenance["metrics"]["test"] == told["test"]


def test_train_says_the_same_on_the_screen(run: Any) -> None:
    told = json.loads(run("train", TUMORS, *TWO, *QUICK, "--json").out)
    text = run("train", TUMORS, *TWO, *QUICK).out
    for name, value in told["test"].items():
        line = next(line for line in text.splitlines() if line.startswith(name))
        assert f"{value:.4g}" in line.split()
    assert "455 train, 114 test" in text
    assert "Nothing was kept" in text


@pytest.mark.parametrize(
    "changed",
    [
        ["--seed", "1"],
        ["--positive", "B"],
        ["--features", "area_mean"],
        ["--hidden", "6x3"],
        ["--hidden", "0"],
        ["--activation", "tanh"],
        ["--optimizer", "sgd"],
        ["--optimizer", "lbfgs"],
        ["--learning-rate", "0.1"],
        ["--epochs", "3"],
        ["--batch-size", "full"],
        ["--batch-size", "64"],
        ["--l2", "0.5"],
        ["--starts", "1"],
        ["--test-size", "0.5"],
    ],
)
def test_every_option_reaches_the_training(run: Any, changed: list[str]) -> None:
    plain = json.loads(run("train", TUMORS, *TWO, *QUICK, "--json").out)
    said = run("train", TUMORS, *TWO, *QUICK, *changed, "--json")
    assert said.status == 0, said.err
    assert json.loads(said.out)["train"]["log_loss"] != plain["train"]["log_loss"] or changed == ["--starts", "1"]


PATIENTS = """patient;age;sex;seen;score;mark;count;ill
p1;41,5;F;2020-01-31;1;train;1;yes
p1;41,9;F;2020-02-03;2;train;2;yes
p2;50,25;M;2020-02-05;?;test;1;no
p3;33,5;M;2020-03-01;4;train;0;no
p4;61,0;unknown;2020-03-08;5;test;1;yes
p5;38,75;F;2020-04-01;3;train;3;no
"""


def test_a_table_of_every_kind_from_training_to_prediction(run: Any, tmp_path: Path) -> None:
    """Semicolons, decimal commas, dates, categories, gaps, marks, weights; then new rows with what was never seen."""
    table, kept = write(tmp_path / "visits.csv", PATIENTS), tmp_path / "m.safetensors"
    roles = ["--target", "ill", "--weights", "count", "--split", "mark", "--ignore", "patient"]
    said = run("train", table, *roles, "--missing", "?,unknown", *QUICK, "-o", kept, "--json")
    assert said.status == 0
    told = json.loads(said.out)
    assert told["rows"] == {"train": 4, "test": 2}
    assert "columns are separated by semicolons" in said.err
    assert "comma" in said.err
    loaded = gn.load(kept)
    assert loaded.encoder.feature_names == ("age", "sex = F", "sex = M", "seen", "score")
    assert "which no feature marks" in " ".join(told["warnings"])
    assert loaded.provenance["columns"]["count"] == "weights"
    text = run("explain", kept, table, "--row", "2", "--missing", "?,unknown").out
    assert "x2 = [sex = F] = 0" in text
    assert "days since 1970-01-01" in text
    assert "1 missing cell in column 'score'" in text.replace("\n    ", " ")
    new = write(tmp_path / "new.csv", "sex,age,seen,score\nX,40,2021-01-01,2\n")
    said = run("predict", kept, new)
    assert said.status == 0
    assert said.out.count("\n") == 2
    assert "1 unknown cell in column 'sex' ('X')" in said.err
    found = json.loads(run("evaluate", kept, table, "--weights", "count", "--missing", "?,unknown", "--json").out)
    assert found["rows"] == 6
    unweighted = json.loads(run("evaluate", kept, table, "--missing", "?,unknown", "--json").out)
    assert found["log_loss"] != unweighted["log_loss"]


def test_a_dry_run_shows_every_column_and_trains_nothing(run: Any, tmp_path: Path) -> None:
    table = write(tmp_path / "visits.csv", PATIENTS)
    options = ["--target", "ill", "--group", "patient", "--ignore", "mark", "--dry-run"]
    said = run("train", table, *options, "-o", tmp_path / "m.safetensors")
    assert said.status == 0
    assert os.listdir(tmp_path) == ["visits.csv"]
    for name in ("age", "sex", "seen", "score", "group", "ignored", "one-hot", "33.5 | "):
        assert name in said.out
    told = json.loads(run("train", table, *options, "--json").out)
    assert [column["name"] for column in told["columns"]] == PATIENTS.splitlines()[0].split(";")
    assert told["columns"][0]["role"] == "group"
    assert sum(told["columns"][1]["histogram"]) == 6


def test_words_for_missing_cells_are_kept_and_other_options_repeated(run: Any, tmp_path: Path) -> None:
    rows = "".join(f"{-999 if j % 5 == 0 else j % 7};{'ab'[j % 7 > 3]}\n" for j in range(60))
    table, kept = write(tmp_path / "t.csv", "dose;kind\n" + rows), tmp_path / "m.safetensors"
    options = ["--target", "kind", "--missing=-999", "--delimiter", ";", *QUICK]
    said = run("train", table, *options, "-o", kept)
    assert f"Next     glassnet explain {kept} {table} --row 0 --delimiter ';'" in said.out
    assert "Features 2 from 1 column: dose (" in said.out
    assert run("evaluate", kept, write(tmp_path / "one.csv", "dose;kind\n3;a\n")).out.startswith("1 row, ")
    told, left_out = (run("predict", kept, table, *more).out for more in (["--missing=-999"], []))
    assert told == left_out
    assert run("predict", kept, table, "--missing", "NA").out != told
    assert gn.load(kept).predict({"dose": ["-999"]}) == gn.load(kept).predict({"dose": [None]})


def test_a_dry_run_refuses_weights_that_are_all_0(run: Any, tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", "a,w,kind\n" + "1,0,x\n2,0,y\n" * 20)
    assert_one_message(run("train", table, "--target", "kind", "--weights", "w", "--dry-run"), 65, "all weights are 0")


def test_predictions_are_no_formulas(run: Any, tmp_path: Path) -> None:
    table, kept = write(tmp_path / "t.csv", "a,=y\n" + "1,=1+1\n2,-3\n" * 20), tmp_path / "m.safetensors"
    run("train", table, "--target", "=y", *QUICK, "-o", kept)
    rows = list(csv.reader(io.StringIO(run("predict", kept, table).out)))
    assert rows[0] == ["'=y", "probability_-3", "probability_=1+1"]
    assert {row[0] for row in rows[1:]} == {"'=1+1", "-3"}
    assert [not_a_formula(name) for name in ("+", "-", "-low", "low")] == ["+", "-", "'-low", "low"]


def test_useless_columns_are_an_error_where_strict(run: Any, tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", "a,same,kind\n" + "1,7,x\n2,7,y\n" * 20)
    assert "column 'same' left out: it is 7" in run("train", table, "--target", "kind", *QUICK).err
    assert_one_message(run("train", table, "--target", "kind", *QUICK, "--strict"), 65, "'same' cannot be used")


@pytest.mark.parametrize(
    "name", ["<script>", "=cmd()", "$(rm)", "'; DROP", "🦆", "x" * 10_000, "\x1b[31m", "w1_1_1", "x1"]
)
def test_hostile_names_come_through(run: Any, tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(1)
    table, kept = tmp_path / "t.csv", tmp_path / "m.safetensors"
    with table.open("w", encoding="utf-8", newline="") as file:
        rows = [[repr(x), k] for x, k in zip(rng.normal(size=30).tolist(), ["a", "b"] * 15, strict=True)]
        csv.writer(file).writerows([[name, "kind"], *rows])
    said = run("train", table, "--target", "kind", *QUICK, "-o", kept)
    assert (said.status, said.err) == (0, "")
    for command in (["train", table, "--target", "kind", "--dry-run"], ["explain", kept, table, "--row", "3"]):
        said = run(*command)
        assert said.status == 0
        assert "\x1b" not in said.out + said.err
        assert max(map(len, said.out.splitlines())) < 200
    assert gn.load(kept).encoder.feature_names == (name,)


def test_layers(run: Any, tmp_path: Path) -> None:
    kept = tmp_path / "m.safetensors"
    assert run("train", TUMORS, *TWO, *QUICK, "--hidden", "6x3", "--activation", "logistic", "-o", kept).status == 0
    loaded = gn.load(kept).network
    assert (loaded.sizes, loaded.activations) == ((2, 6, 3, 1), ("sigmoid", "sigmoid", "identity"))


def test_threads_change_nothing(run: Any, tmp_path: Path) -> None:
    for threads in (1, 2):
        run("train", TUMORS, *TWO, *QUICK, "--threads", threads, "-o", tmp_path / f"{threads}.safetensors")
    assert (tmp_path / "1.safetensors").read_bytes() == (tmp_path / "2.safetensors").read_bytes()


def test_evaluate_predict_and_the_library_agree(run: Any, model: Path) -> None:
    loaded, table = gn.load(model), gn.read_table(TUMORS)
    found = json.loads(run("evaluate", model, TUMORS, "--json").out)
    assert found == {"model": str(model), "task": "classification", "rows": 569, **loaded.evaluate(table)}
    rows = list(csv.DictReader(io.StringIO(run("predict", model, TUMORS).out)))
    assert list(rows[0]) == ["diagnosis", "probability_B", "probability_M"]
    probabilities = np.array([[float(row["probability_B"]), float(row["probability_M"])] for row in rows])
    assert (probabilities == loaded.predict_proba(table)).all()
    assert [row["diagnosis"] for row in rows] == loaded.predict(table)
    assert np.mean([row["diagnosis"] == label for row, label in zip(rows, table.texts("diagnosis"), strict=True)]) == (
        pytest.approx(found["accuracy"])
    )
    as_json = json.loads(run("predict", model, TUMORS, "--json").out)
    assert as_json[17]["probability_M"] == probabilities[17, 1]


def test_a_row_alone_has_the_bits_it_has_among_all(run: Any, model: Path, tmp_path: Path) -> None:
    lines = TUMORS.read_text().splitlines()
    alone = write(tmp_path / "one.csv", f"{lines[0]}\n{lines[18]}\n")
    every = run("predict", model, TUMORS).out.splitlines()
    assert run("predict", model, alone).out.splitlines() == [every[0], every[18]]


def test_explain(run: Any, model: Path) -> None:
    text = run("explain", model, TUMORS, "--row", "17").out
    assert text.startswith("Row 17, diagnosis M\n")
    assert "x1 = (texture_mean - " in text
    assert text.count("difference quotient") == 9
    told = json.loads(run("explain", model, TUMORS, "--row", "17", "--json").out)
    p = next(line["value"] for line in told["lines"] if line["symbol"] == "p")
    assert p == gn.load(model).predict_proba(gn.read_table(TUMORS))[17, 1]
    assert "P(M) " in told["answer"]


def test_explain_a_step_of_the_training(run: Any, model: Path) -> None:
    text = run("explain", model, TUMORS, "--row", "0", "--step", "3:2").out
    assert text.startswith("Row 0, diagnosis M, in epoch 3, batch 2 of 15, update 32\n")
    assert "  m[w1_2_1] <- 0.9 * m[w1_2_1] + (1 - 0.9) * dL/dw1_2_1" in text
    assert "  w1_2_1 <- w1_2_1 - learning_rate * m_hat[w1_2_1]" in text
    one = run("explain", model, TUMORS, "--row", "0", "--step", "20", "--only", "b2_1", "--json")
    told = json.loads(one.out)["lines"]
    assert [line["symbol"] for line in told] == [
        "dloss/db2_1", "dL/db2_1", "m[b2_1]", "v[b2_1]", "m_hat[b2_1]", "v_hat[b2_1]", "b2_1",
    ]  # fmt: skip
    assert told[0]["difference_quotient"] == pytest.approx(told[0]["value"], rel=1e-6, abs=1e-9)


def test_explain_in_other_forms(run: Any, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    sheet = run("explain", model, TUMORS, "--blank").out
    assert "z1_1 = b1_1 + w1_1_1 * x1 + w1_2_1 * x2 = " in sheet
    assert sheet.index("______") < sheet.index("\f") < sheet.index("P(M) ")
    assert run("explain", model, TUMORS, "--latex").out.startswith("\\documentclass")
    assert run("explain", model, TUMORS, "--html", "--blank").out.startswith("<!doctype html>")


def test_explain_what_cannot_be(run: Any, model: Path, tmp_path: Path) -> None:
    def refused(*options: str, data: object = TUMORS) -> Said:
        return run("explain", model, data, *options)

    assert_one_message(refused("--step", "0:1"), 2, "1 to 20", "1 to 15", "never trained")
    assert_one_message(refused("--step", "21"), 2, "1 to 20", "never trained")
    assert_one_message(refused("--step", "3:16"), 2, "never trained")
    for text in ("3:", ":3", "x", "-1", "1:2:3", "", "١"):
        assert_one_message(refused("--step", text), 2, "EPOCH:BATCH", repr(text))
    assert_one_message(refused("--only", "delta1_5"), 2, "'delta1_j'", "'delta1_5'")
    assert_one_message(refused("--latex", "--html"), 2, "one form", "--latex and --html")
    assert_one_message(refused("--blank", "--json"), 2, "--blank")
    part = write(tmp_path / "part.csv", "\n".join(TUMORS.read_text().splitlines()[:100]) + "\n")
    assert_one_message(refused("--step", "3", data=part), 65, "455", "Give the table")


def test_explain_fits_a_narrow_terminal(run: Any, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert max(map(len, run("explain", model, TUMORS).out.splitlines())) <= 60


def test_a_pipe_is_read(model: Path) -> None:
    command = [sys.executable, "-m", "glassnet", "predict", str(model), "-"]
    done = subprocess.run(command, input=TUMORS.read_bytes(), capture_output=True, check=True)
    assert done.stdout.count(b"\n") == 570
    assert done.stderr == b""


def test_a_reader_that_leaves_early_is_no_error(model: Path) -> None:
    command = f"({sys.executable} -m glassnet predict {model} {TUMORS}; echo $? >&2) | head -1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("diagnosis,probability_B,probability_M\n", "0\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this platform has no disk that is always full")
def test_a_full_disk_under_standard_output(model: Path) -> None:
    for command in ("predict", "evaluate"):
        with open("/dev/full", "w") as full:
            arguments = [sys.executable, "-m", "glassnet", command, str(model), str(TUMORS)]
            done = subprocess.run(arguments, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        assert done.returncode == 73
        assert done.stderr == "glassnet: standard output cannot be written: No space left on device.\n"


def test_names_of_any_kind_come_through(run: Any, tmp_path: Path) -> None:
    """Commas, blanks, quotes, markup and letters of any script, whatever encoding the platform gives a pipe."""
    names = ["a,b", " c", "<i>", "größe", "类"]
    rows = [[str((i * k) % 7 + i / 100) for k in (1, 2, 3, 4)] + ["甲" if i % 2 else 'say "x"'] for i in range(20)]
    table, kept = tmp_path / "t.csv", tmp_path / "m.safetensors"
    with table.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([names, *rows])
    said = run("train", table, "--target", "类", "--features", '"a,b", c,<i>,größe', *QUICK, "-o", kept)
    assert (said.status, said.err) == (0, "")
    assert gn.load(kept).encoder.feature_names == tuple(names[:4])
    assert run("train", table, "--target", "类", "--features", "a,b", *QUICK).status == 0
    command = [sys.executable, "-m", "glassnet", "predict", str(kept), str(table)]
    piped = subprocess.run(command, capture_output=True, check=True, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    found = list(csv.DictReader(io.StringIO(piped.stdout.decode("utf-8"))))
    assert list(found[0]) == ["类", 'probability_say "x"', "probability_甲"]
    assert [row["类"] for row in found] == gn.load(kept).predict(gn.read_table(table))
    assert run("explain", kept, table, "--row", "1").out.startswith("Row 1, 类 甲\n")


def test_regression_in_the_targets_own_unit(run: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    size, price = rng.uniform(50, 200, 80), []
    price = 1000 * size + 5000 * rng.normal(size=80)
    rows = "\n".join(f"{a!r},{b!r}" for a, b in zip(size.tolist(), price.tolist(), strict=True))
    table, kept = write(tmp_path / "houses.csv", f"size,price\n{rows}\n"), tmp_path / "m.safetensors"
    said = run("train", table, "--target", "price", "--optimizer", "lbfgs", "--starts", "2", "--json", "-o", kept)
    told = json.loads(said.out)
    assert told["task"] == "regression"
    assert list(told["test"]) == ["rmse", "r2"]
    assert 2_000 < told["test"]["rmse"] < 10_000
    predicted = [float(row["price"]) for row in csv.DictReader(io.StringIO(run("predict", kept, table).out))]
    found = json.loads(run("evaluate", kept, table, "--json").out)["rmse"]
    assert found == pytest.approx(np.sqrt(np.mean((np.array(predicted) - price) ** 2)), rel=1e-12)
    text = run("explain", kept, table, "--row", "3", "--digits", "17").out
    assert f"price = {predicted[3]:.17g}" in text
    screen = run("train", table, "--target", "price", "--optimizer", "lbfgs", "--starts", "2").out
    assert "stuck" not in screen  # on one class: there are none
    row = next(line for line in screen.splitlines() if line.startswith("rmse"))
    assert row.split()[2] == f"{told['test']['rmse']:.4g}"
    assert len(row.split()) == 6  # large figures stand apart


def test_several_classes(run: Any, tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    digits = load_digits()
    header = ",".join([*(f"pixel {i}" for i in range(64)), "digit"])
    rows = "\n".join(",".join(map(str, [*x.astype(int), y])) for x, y in zip(digits.data, digits.target, strict=True))
    table, kept = write(tmp_path / "digits.csv", f"{header}\n{rows}\n"), tmp_path / "m.safetensors"
    options = ["--hidden", "16", "--epochs", "15", "--starts", "1"]
    said = run("train", table, "--target", "digit", *options, "--json", "-o", kept)
    assert json.loads(said.out)["test"]["accuracy"] > 0.9
    first = next(csv.DictReader(io.StringIO(run("predict", kept, table).out)))
    assert list(first) == ["digit", *(f"probability_{k}" for k in range(10))]
    assert sum(float(value) for name, value in first.items() if name != "digit") == pytest.approx(1, abs=1e-12)
    text = run("explain", kept, table, "--row", "0").out
    assert f"prediction: digit = {first['digit']}; P(0) " in text
    assert "[1, 2, ... are '0', '1', " in text


def test_help_teaches_with_examples(run: Any) -> None:
    for command in ([], ["demo"], ["train"], ["evaluate"], ["predict"], ["explain"], ["play"]):
        said = run(*command, "--help")
        assert said.status == 0
        assert f"glassnet {command[0] if command else 'train'} " in said.out
        assert max(map(len, said.out.splitlines())) <= 82  # as wide as a terminal, or nearly


def test_help_names_every_activation_and_every_loss_of_a_table(run: Any) -> None:
    told = " ".join(run("train", "--help").out.split())
    for name in [*ACTIVATIONS, *LOSSES]:
        assert name in told or name == "poisson", name  # counts, which a table's scaled target is not


def test_the_version(run: Any) -> None:
    assert run("--version").out == f"glassnet, version {gn.__version__}\n"


# --- mistakes -----------------------------------------------------------------------------------------------------


def assert_one_message(said: Said, status: int, *parts: str) -> None:
    """One message on stderr that has all `parts`, nothing on stdout, no traceback, that status."""
    assert said.status == status, said.err
    assert said.out == ""
    assert said.err.startswith("glassnet: ")
    assert "Traceback" not in said.err
    for part in parts:
        assert part in said.err, said.err


def test_the_check_of_messages_can_fail() -> None:
    for wrong in (
        Said(1, "", "glassnet: x"),
        Said(65, "o", "glassnet: x"),
        Said(65, "", "x"),
        Said(65, "", "glassnet: y"),
    ):
        with pytest.raises(AssertionError):
            assert_one_message(wrong, 65, "x")


TABLES: dict[str, tuple[str, int, tuple[str, ...]]] = {
    "an empty file": ("", 65, ("empty",)),
    "no rows": ("a,kind\n", 65, ("no rows",)),
    "a text among numbers": ("a,kind\n" + "1,x\n2,y\n" * 5 + "oops,x\n", 65, ("row 10 (line 12)", "'a'", "'oops'")),
    "a missing class": ("a,kind\n" + "1,x\n2,y\n" * 5 + "1,\n", 65, ("row 10 (line 12)", "1 of 11 cells is missing")),
    "an infinite cell": ("a,kind\n" + "1,x\n2,y\n" * 5 + "inf,x\n", 65, ("row 10 (line 12)", "inf")),
    "one class": ("a,kind\n" + "1,x\n2,x\n" * 5, 65, ("two classes", "'x'")),
    "a ragged row": ("a,kind\n1,x\n2\n", 65, ("line 3",)),
    "two columns of one name": ("a,a,kind\n1,2,x\n", 65, ("'a'",)),
    "either delimiter": ("a;b,kind\n1;2,x\n2;3,y\n", 65, ("--delimiter",)),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_broken_table(run: Any, tmp_path: Path, name: str) -> None:
    text, status, parts = TABLES[name]
    table = write(tmp_path / "t.csv", text)
    said = run("train", table, "--target", "kind", "--features", "a", *QUICK, "-o", tmp_path / "m.safetensors")
    assert_one_message(said, status, *parts)
    assert os.listdir(tmp_path) == ["t.csv"]


@pytest.mark.parametrize(
    ("arguments", "status", "parts"),
    [
        (["nowhere.csv", "--target", "a"], 66, ["nowhere.csv"]),
        ([TUMORS, "--target", "diagnosys"], 65, ["Did you mean 'diagnosis'"]),
        ([TUMORS, "--target", "diagnosis", "--features", "texture_men"], 65, ["Did you mean 'texture_mean'"]),
        ([TUMORS, "--target", "diagnosis", "--features", "diagnosis,area_mean"], 2, ["'diagnosis'", "never a feature"]),
        ([TUMORS, *TWO, "--positive", "m"], 2, ["'m'", "M"]),
        ([TUMORS, *TWO, "--hidden", "2y"], 2, ["--hidden", "2y"]),
        ([TUMORS, *TWO, "--hidden", "2x0"], 2, ["--hidden", "2x0"]),
        ([TUMORS, *TWO, "--activation", "rellu"], 2, ["Did you mean 'relu'"]),
        ([TUMORS, *TWO, "--loss", "poisson"], 2, ["binary_cross_entropy"]),
        ([TUMORS, *TWO, "--optimizer", "adm"], 2, ["Did you mean 'adam'"]),
        ([TUMORS, *TWO, "--optimizer", "lbfgs", "--learning-rate", "1"], 2, ["--learning-rate"]),
        ([TUMORS, *TWO, "--optimizer", "lbfgs", "--batch-size", "8"], 2, ["--batch-size"]),
        ([TUMORS, *TWO, "--learning-rate", "-1"], 2, ["--learning-rate is a number, 0 or more; got '-1'."]),
        ([TUMORS, *TWO, "--learning-rate", "nan"], 2, ["--learning-rate"]),
        ([TUMORS, *TWO, "--learning-rate", "inf"], 2, ["inf"]),
        ([TUMORS, *TWO, "--l2", "-1"], 2, ["--l2"]),
        ([TUMORS, *TWO, "--l2", "inf"], 2, ["l2", "inf"]),
        ([TUMORS, *TWO, "--epochs", "1.5"], 2, ["--epochs is a whole number, 0 or more; got '1.5'."]),
        ([TUMORS, *TWO, "--seed", "-1"], 2, ["--seed"]),
        ([TUMORS, *TWO, "--seed", 2**64], 2, ["2**64 - 1"]),
        ([TUMORS, *TWO, "--threads", "0"], 2, ["--threads"]),
        ([TUMORS, *TWO, "--hidden", "999999999"], 2, ["134,217,728", "fewer hidden units"]),
        ([TUMORS, *TWO, "--features", ","], 2, ["at least one feature"]),
        ([TUMORS, *TWO, "--features", "area_mean,area_mean"], 2, ["'area_mean'", "twice"]),
        ([TUMORS, "--target", "diagnosis", "--task", "regression"], 65, ["row 0 (line 2)", "'M'", "another target"]),
        ([TUMORS, "--target", "area_mean", "--positive", "1"], 2, ["positive"]),
        (
            [TUMORS, "--target", "area_mean", "--features", "radius_mean", "--loss", "cross_entropy"],
            2,
            ["cross_entropy"],
        ),
        ([TUMORS, *TWO, "--weights", "diagnosis"], 2, ["one role", "'diagnosis'"]),
        ([TUMORS, *TWO, "--weights", "texture_mean"], 2, ["one role", "'texture_mean'"]),
        ([TUMORS, *TWO, "--group", "patient"], 65, ["no column 'patient'"]),
        ([TUMORS, *TWO, "--split", "area_mean"], 65, ["'area_mean'", "train"]),
        ([TUMORS, *TWO, "--ignore", "area_men"], 65, ["Did you mean 'area_mean'"]),
        ([TUMORS, *TWO, "--recipe", "accurrate"], 2, ["Did you mean 'accurate'"]),
        ([TUMORS, *TWO, "--delimiter", "ab"], 2, ["delimiter", "'ab'"]),
        ([TUMORS, *TWO, "--encoding", "utf-9"], 2, ["encoding", "'utf-9'"]),
        ([TUMORS, *TWO, "--decimal", ";"], 2, ["--decimal", "';'"]),
        ([TUMORS, *TWO, "--text", "area_men"], 65, ["Did you mean 'area_mean'"]),
        ([TUMORS, *TWO, "--text", "area_mean", "--number", "area_mean"], 2, ["'area_mean'"]),
        ([TUMORS, *TWO, "--batch-size", "none"], 2, ["--batch-size"]),
        ([TUMORS, *TWO, "--test-size", "1.5"], 2, ["between 0 and 1"]),
        ([TUMORS, *TWO, "--starts", "0"], 2, ["--starts"]),
        ([TUMORS, *TWO, "--task", "clasification"], 2, ["Did you mean 'classification'"]),
        ([TUMORS, *TWO, "--eppochs", "2"], 2, ["--epochs", "See glassnet train --help."]),
        ([TUMORS, *TWO, "surplus"], 2, ["surplus"]),
        ([TUMORS], 2, ["--target", "See glassnet train --help."]),
        ([], 2, ["DATA"]),
    ],
)
def test_arguments_that_cannot_be_meant(run: Any, arguments: list[Any], status: int, parts: list[str]) -> None:
    assert_one_message(run("train", *arguments), status, *parts)


def test_an_unknown_command(run: Any) -> None:
    assert_one_message(run("trian"), 2, "Did you mean 'train'")


def test_a_model_file_that_is_none(run: Any, model: Path, tmp_path: Path) -> None:
    whole = model.read_bytes()
    flipped = bytearray(whole)
    flipped[-3] ^= 4
    bad = {
        "cut": whole[:-9],
        "cut in its header": whole[:300],
        "cut where it ends like a pickle": whole[: whole.index(b".") + 1],
        "flipped": bytes(flipped),
        "pickle": pickle.dumps(os.getcwd),
        "text": b"hello, world\n" * 9,
        "empty": b"",
    }
    for name, data in bad.items():
        path = tmp_path / name
        path.write_bytes(data)
        for command in ("evaluate", "predict", "explain"):
            assert_one_message(run(command, path, TUMORS), 65, name, *(["truncated"] if "cut" in name else []))
    assert_one_message(run("predict", tmp_path / "none", TUMORS), 66, "none")


def test_a_pickle_is_never_run(run: Any, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (open, (str(tmp_path / "sprung"), "w"))

    trap = tmp_path / "trap"
    trap.write_bytes(pickle.dumps(Trap()))
    assert_one_message(run("predict", trap, TUMORS), 65, "pickle")
    assert not (tmp_path / "sprung").exists()


def test_data_that_lack_the_models_columns(run: Any, model: Path, tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", "texture_mean,other\n1,2\n")
    for command in ("predict", "evaluate", "explain"):
        assert_one_message(run(command, model, table), 65, "radius_mean")
    unlabelled = write(tmp_path / "u.csv", "radius_mean,texture_mean\n14,20\n")
    assert run("predict", model, unlabelled).status == 0
    assert "loss" not in run("explain", model, unlabelled).out
    assert_one_message(run("evaluate", model, unlabelled), 65, "diagnosis")
    unseen = write(tmp_path / "v.csv", "radius_mean,texture_mean,diagnosis\n14,20,X\n")
    assert_one_message(run("evaluate", model, unseen), 65, "'X'")


def test_a_row_out_of_range(run: Any, model: Path) -> None:
    assert_one_message(run("explain", model, TUMORS, "--row", "569"), 2, "0 to 568", "569")


def test_an_output_that_cannot_be_written_is_refused_before_the_work(run: Any, tmp_path: Path) -> None:
    long = ["--starts", "100000", "--epochs", "100000"]  # would take hours
    assert_one_message(run("train", TUMORS, *TWO, *long, "-o", tmp_path / "no" / "m"), 73, "no folder")
    assert_one_message(run("train", TUMORS, *TWO, *long, "-o", tmp_path), 73, "folder")
    assert_one_message(run("train", TUMORS, *TWO, *long, "-o", ""), 73, "name")
    if os.path.exists("/dev/null"):
        assert_one_message(run("train", TUMORS, *TWO, *long, "-o", "/dev/null"), 73, "regular file")
    file = write(tmp_path / "file", "")
    assert_one_message(run("demo", "-o", file / "below"), 73, "cannot be made")
    assert os.listdir(tmp_path) == ["file"]


def test_the_data_are_never_overwritten_by_the_model(run: Any, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_bytes(TUMORS.read_bytes())
    for same in (table, tmp_path / "absent" / ".." / "t.csv"):
        assert_one_message(run("train", table, *TWO, *QUICK, "-o", same), 2, "take the place of the data")
    assert table.read_bytes() == TUMORS.read_bytes()


def test_more_memory_than_there_is(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_much(*arguments: Any, **settings: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("glassnet.model.train_population", too_much)
    assert_one_message(run("train", TUMORS, *TWO), 2, "memory", "--starts")


def test_an_earlier_model_survives_a_failed_training(run: Any, model: Path, tmp_path: Path) -> None:
    kept = tmp_path / "m.safetensors"
    kept.write_bytes(model.read_bytes())
    assert run("train", TUMORS, "--target", "nothing", "-o", kept).status == 65
    assert kept.read_bytes() == model.read_bytes()


def test_a_learning_rate_that_diverges(run: Any, tmp_path: Path) -> None:
    rows = "\n".join(f"{i % 7},{3 * i % 11}.5" for i in range(50))
    table, kept = write(tmp_path / "t.csv", f"a,b\n{rows}\n"), tmp_path / "m.safetensors"
    options = ["--target", "b", "--features", "a", "--optimizer", "sgd", "--learning-rate", "1e6", *QUICK]
    said = run("train", table, *options, "--activation", "identity", "--json", "-o", kept)
    assert said.status == 0
    assert "3 of 3 starts diverged, the first at step " in said.err
    assert json.loads(said.out)["starts"]["diverged"] == 3
    assert np.isfinite(gn.load(kept).members[0].vector).all()


@pytest.mark.skipif(os.name != "posix", reason="sends a signal as POSIX has it")
def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    kept = tmp_path / "m.safetensors"
    program = """
import sys
from glassnet import cli
from glassnet.kernels import jobs
def begun(self, *given, run=jobs.Job.run):
    print("ready", flush=True)
    jobs.Job.run = run
    return run(self, *given)
jobs.Job.run = begun
cli.main(sys.argv[1:])
"""
    command = [sys.executable, "-c", program, "train", str(TUMORS), *TWO, "--epochs", "100000", "-o", str(kept)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.5)  # into the training, which would take minutes
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err.strip() == "glassnet: interrupted; no file was left half-written"
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--target", "x"], 2, "--target and --features are of a table"),
        ([TUMORS], 2, "needs the column to predict, --target COLUMN"),
        ([TUMORS, "--target", "diagnosys"], 65, "Did you mean 'diagnosis'?"),
        ([TUMORS, "--target", "diagnosis", "--features", "radius"], 65, "no column 'radius'"),
        (["none.csv", "--target", "x"], 66, "no such file"),
        (["--port", "70000"], 2, "--port is a whole number from 0 to 65535; got '70000'."),
    ],
)
def test_a_page_that_cannot_be_is_refused_before_it_is_served(
    run: Any, arguments: list[str], status: int, said: str
) -> None:
    found = run("play", *arguments, "--no-browser")
    assert (found.status, found.out) == (status, "")
    assert said in found.err
    assert "Traceback" not in found.err
