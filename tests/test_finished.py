"""The page of a finished model, its arithmetic run by node: the same digits as `predict`, and what cannot be shown."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.finished_models import NODE, ODD, generated, printed, rows

import glassnet as gn
from glassnet import arithmetic
from glassnet.cells import MISSING_WORDS, dates_of, numbers_of
from glassnet.cli import main
from glassnet.errors import CannotWriteError, UsageError
from glassnet.web import finished
from glassnet.web.one_script import one_script

needs_node = pytest.mark.skipif(NODE is None, reason="node is missing")

# What the page does with texts that are typed, without a page.
ANSWERED = """
const [model, rows] = asked;
const { beyond, decoded, encoded, forward, outputs, printed } = $computation;
const members = model.members.map((vector) => Float64Array.from(vector));
const cellOf = (column, text) => {
  if (text === null) return { cell: null };
  if (column.tests) return { cell: column.levels.indexOf(text) };
  if (column.kind === "boolean") return { cell: Number(text === "true") };
  return $cells.read(column, text, model.missing);
};
say(rows.map((row) => {
  const values = encoded(model, row.map((text, n) => cellOf(model.columns[n], text).cell));
  if (beyond(model, values) >= 0) return ["beyond"];
  const { said, value, chances } = decoded(model, outputs(members.map((vector) => forward(model, vector, values))));
  return [...(value === undefined ? [said] : [printed(value)]), ...chances.map(printed)];
}));
"""


def in_node(functions: str, modules: str, body: str, asked: Any) -> Any:
    """What `body` says, run by node behind the page's own `modules`; it finds `asked` under that name."""
    assert NODE is not None
    sources = finished.modules({"functions": functions})
    sources["all"] = "\n".join(f'import {{ {name} }} from "./{module}.js";' for module, name in pairs_of(modules))
    script = 'import fs from "fs";\nconst asked = JSON.parse(fs.readFileSync(0));\n' + one_script("all", sources)
    script += "\nconst say = (found) => console.log(JSON.stringify(found));\n" + body
    done = subprocess.run(
        [NODE, "--input-type=module", "-e", script],
        input=json.dumps(asked), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def pairs_of(modules: str) -> list[tuple[str, str]]:
    """`cells.read computation.forward` in pairs."""
    return [(module, name) for module, name in (word.split(".") for word in modules.split())]


def told(model: Any) -> tuple[str, dict[str, Any]]:
    """The functions of a model's page, and the rest of what it is told."""
    every = finished.described(model)
    return every.pop("functions"), every


@needs_node
@pytest.mark.parametrize("number", range(33))
def test_the_same_digits_as_predict(number: int) -> None:
    model = generated(number)
    asked = rows(model, number)
    functions, data = told(model)
    found = in_node(functions, "cells.read computation.forward", ANSWERED, [data, asked])
    assert found == [printed(model, row) for row in asked]


@needs_node
def test_the_digits_that_the_command_prints(tmp_path, capsys):
    """Through files, as a user would: train, export, and the same rows through `glassnet predict` and the page."""
    table, model, data = (str(tmp_path / name) for name in ("t.csv", "m.safetensors", "new.csv"))
    kinds = ("aster", "broom", "clover")
    lines = [f"{k % 17 / 8},{['clay', 'sand', ''][k % 7 % 3]},{kinds[k % 3]}" for k in range(60)]
    Path(table).write_text("\n".join(["width,soil,kind", *lines]) + "\n")
    assert run(capsys, "train", table, "--target", "kind", "--starts", "2", "--epochs", "9", "-o", model)[0] == 0
    asked = [["0.1", "clay"], ["1e3", "sand"], ["-7.25", None], ["0.30000000000000004", "loam"]]
    Path(data).write_text("\n".join(["width,soil", *(f"{width},{soil or ''}" for width, soil in asked)]) + "\n")
    _, out, said = run(capsys, "predict", model, data)
    functions, told_of = told(gn.load(model))
    found = in_node(functions, "cells.read computation.forward", ANSWERED, [told_of, asked])
    assert [",".join(row) for row in found] == out.splitlines()[1:]
    (soil,) = (column for column in told_of["columns"] if column["name"] == "soil")
    assert soil["remarks"]["other"].replace("another text", "loam") in said


@needs_node
def test_other_digits_would_be_seen() -> None:
    """The last bit of every parameter, and the digits are others."""
    model = generated(5)
    functions, data = told(model)
    asked = rows(model, 5)
    members = [np.nextafter(vector, np.inf).tolist() for vector in data["members"]]
    found = in_node(functions, "cells.read computation.forward", ANSWERED, [{**data, "members": members}, asked])
    assert found != [printed(model, row) for row in asked]


@needs_node
def test_exp_and_log_to_the_bit() -> None:
    rng = np.random.default_rng(5)
    edges = [
        0.0,
        -0.0,
        1.0,
        709.782712893384,
        709.79,
        -708.4,
        -745.13,
        -745.2,
        1e308,
        -1e308,
        5e-324,
        0.34657359027997264,
    ]
    of_exp = np.concatenate(
        [rng.normal(size=2000) * 50, rng.uniform(-750, 720, 2000), rng.normal(size=500) * 1e-3, edges]
    )
    of_log = np.concatenate([np.exp(rng.uniform(-745, 709, 3000)), rng.uniform(0, 3, 2000), [5e-324, 1e-310, 1e308]])
    body = """
    const { exp, expSingle, log, logSingle } = $arithmetic;
    const bits = (numbers) => Buffer.from(Float64Array.from(numbers).buffer).toString("hex");
    say([exp, expSingle, log, logSingle].map((one, n) => bits(asked[n].map((x) => one(x)))));
    """
    with np.errstate(all="ignore"):
        single = [np.clip(values, -3e38, 3e38).astype(np.float32) for values in (of_exp, of_log)]
    asked = [of_exp, single[0], of_log, single[1]]
    wanted = [
        function(values) for function, values in zip([arithmetic.exp] * 2 + [arithmetic.log] * 2, asked, strict=True)
    ]
    found = in_node("", "arithmetic.exp", body, [values.astype(np.float64).tolist() for values in asked])
    # JSON has no infinity, so it is bits that are compared; a NaN would not be told from another, and there is none
    assert [bytes.fromhex(text) for text in found] == [values.astype("<f8").tobytes() for values in wanted]


@needs_node
def test_a_run_of_float32_gives_the_bits_of_forward() -> None:
    rng = np.random.default_rng(3)
    X = rng.normal(size=(50, 3)).astype(np.float32)
    y = np.stack([X[:, 0] * X[:, 1], np.abs(X[:, 2])], axis=1)
    asked = rng.normal(size=(20, 3)).astype(np.float32)
    for activation in gn.ACTIVATIONS:
        network = gn.Network((3, 5, 2), activation, "mean_squared_error")
        run = gn.train(network, X, y, epochs=3)
        functions, data = told(run)
        assert data["single"]
        found = in_node(
            functions, "cells.read computation.forward", ANSWERED, [data, [[repr(float(v)) for v in x] for x in asked]]
        )
        p = gn.forward(network, run.parameters, asked).probabilities
        assert [row[1:] for row in found] == [list(map(repr, row)) for row in p.astype(np.float64).tolist()]


NUMBERS = st.one_of(
    st.floats(allow_nan=False).map(repr),
    st.integers(-(10**20), 10**20).map(str),
    st.from_regex(r"\A[+-]?[0-9]{0,3}\.?[0-9]{0,3}(e[+-]?[0-9]{1,3})?\Z"),
    st.text(st.characters(categories=["L", "N", "P", "S", "Zs"], exclude_characters="\\"), max_size=8),
)
DATES = st.one_of(
    st.dates().map(str),
    st.datetimes().map(lambda moment: moment.isoformat()),
    st.from_regex(r"\A(19|20)[0-9]{2}-[01][0-9]-[0-3][0-9](T[012][0-9]:[0-6][0-9](Z|[+-][0-2][0-9]:[0-5]0)?)?\Z"),
)


@needs_node
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=[Phase.generate])
@given(st.lists(NUMBERS, min_size=20, max_size=60), st.lists(DATES, min_size=20, max_size=60))
def test_cells_are_read_as_predict_reads_them(numbers: list[str], dates: list[str]) -> None:
    import pyarrow

    body = """
    const column = (kind) => ({ kind, called: "" });
    const shown = ({ cell, problem }) => (problem ? [problem.slice(9)] : cell === null ? null : `${cell}`);
    const [missing, cells] = asked;
    say(cells.map(([kind, text]) => shown($cells.read(column(kind), text, missing))));
    """
    missing = [word.casefold() for word in MISSING_WORDS]
    asked = [("number", text) for text in [*numbers, "; ", " 1e999", " 12 "]]
    asked += [("date", text) for text in [*dates, " 2020-13-01", " 2020-01-31 "]]
    found = in_node("", "cells.read", body, [missing, asked])
    for (kind, text), answer in zip(asked, found, strict=True):
        if text.strip().casefold() in missing:
            assert answer is None
            continue
        values, fault = (numbers_of if kind == "number" else dates_of)(pyarrow.array([text], pyarrow.string()))
        if fault is not None:
            assert isinstance(answer, list), (text, fault.problem, answer)
            assert answer[0].rstrip(".") == fault.problem or not text.isascii() or "\\" in text
        else:
            assert isinstance(answer, str), (text, values, answer)
            assert float(answer) == values[0], text


# --- the file -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model() -> gn.Model:
    return gn.fit(gn.datasets.tumors().table, "diagnosis", starts=3, epochs=20, positive="M").model


@pytest.fixture
def kept(model: gn.Model, tmp_path: Path) -> str:
    path = str(tmp_path / "tumor.safetensors")
    gn.save(model, path)
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


def test_export_writes_the_page_that_play_shows(kept, model, tmp_path, capsys):
    path = tmp_path / "tumor.html"
    status, out, said = run(capsys, "export", kept, "--to", "html", "-o", str(path))
    assert (status, out) == (0, "")
    assert path.read_text(encoding="utf-8") == gn.play(model).html
    assert f"{path.stat().st_size / 1000:.0f} kB" in said
    status, out, _ = run(capsys, "export", kept, "--to", "html", "-o", str(path), "--json")
    assert json.loads(out) == {"model": kept, "to": "html", "output": str(path), "bytes": path.stat().st_size}
    for arguments in ((), ("-o", "-")):
        assert run(capsys, "export", kept, "--to", "html", *arguments)[1] == gn.play(model).html


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("{model}", "--to", "htm"), 2, "Did you mean 'html'?"),
        (("{model}",), 2, "--to"),
        (("{model}", "--to", "html", "--json"), 2, "-o FILE"),
        (("{model}", "--to", "html", "-o", "{model}"), 2, "must not take the place of the model"),
        (("{model}", "--to", "html", "-o", "{folder}/none/a.html"), 73, "there is no folder"),
        (("{folder}/none.safetensors", "--to", "html"), 66, "none.safetensors"),
    ],
)
def test_export_refuses(kept, tmp_path, capsys, arguments, status, said):
    filled = [text.format(model=kept, folder=tmp_path) for text in arguments]
    before = Path(kept).read_bytes()
    found = run(capsys, *(["export", *filled]))
    assert (found[0], found[1]) == (status, "")
    assert said in found[2]
    assert Path(kept).read_bytes() == before


def test_a_disk_that_is_full_leaves_the_old_page(model, tmp_path, monkeypatch):
    path = tmp_path / "tumor.html"
    path.write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CannotWriteError):
        gn.play(model).save(path)
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["tumor.html"]


def wide() -> Any:
    network = gn.Network((100, 100, 1), "relu", "mean_squared_error")
    return gn.train(network, np.random.default_rng(0).normal(size=(5, 100)), np.arange(5.0), epochs=1)


def many_columns() -> Any:
    network = gn.Network((300, 1), loss="mean_squared_error")
    return gn.train(network, np.random.default_rng(0).normal(size=(5, 300)), np.arange(5.0), epochs=1)


def without_end() -> Any:
    found = generated(1)
    found.members[0].vector[0] = np.inf
    return found


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (wide, "at most 10,000 parameters; this one has 10,201. glassnet predict"),
        (many_columns, "at most 200 columns; this model has 300"),
        (without_end, "infinite or NaN"),
        (lambda: {"a": [1]}, "got dict"),
        (lambda: "tumor.safetensors", "got str. .* gn.load reads one"),
    ],
)
def test_play_refuses(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        gn.play(make())


def test_estimators_are_taken_by_their_model():
    frame = {"size": np.arange(30.0) // 2, "kind": np.array(["a", "b", "c"] * 10)}
    import pandas as pd

    estimator = gn.TableClassifier(starts=2, epochs=5).fit(pd.DataFrame(frame), ["x", "y"] * 15)
    assert gn.play(estimator).html == gn.play(estimator.to_model()).html
    mlp = gn.MLPRegressor(hidden_layer_sizes=(2,), max_iter=9, random_state=0, tol=1e9, n_iter_no_change=1).fit(
        frame["size"][:, None], frame["size"]
    )
    assert gn.play(mlp).title == "y"


def test_names_are_data_alone():
    """What a user calls things is in the page as data and escaped title, never as markup or code."""
    for number in range(10):
        shown = generated(number)
        html = gn.play(shown).html
        data = html.partition('<script type="application/json" id="model">')[2].partition("</script>")[0]
        assert "<" not in data
        names = [column["name"] for column in json.loads(data)["columns"]]
        assert names == [column.source for column in shown.encoder.columns]
        assert html.count("</script>") == 2
        assert html.replace(data, "").count("<b>") == 0
        if shown.target.source.startswith("{{") or "{{model}}" in shown.target.source:
            assert "<title>\ue000\x01{{model}}</title>" in html
    assert len(ODD) > 5


def test_half_a_character_in_a_name(model, tmp_path):
    """A model file's JSON can hold it; no file can."""
    target = replace(model.target, source="half \ud83c")
    odd = replace(model, encoder=replace(model.encoder, target=target))
    gn.play(odd).save(tmp_path / "odd.html")
    assert "<title>half ?</title>" in (tmp_path / "odd.html").read_text(encoding="utf-8")


def test_a_page_is_the_same_each_time(model):
    assert gn.play(model).html == gn.play(model).html


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('import x from "./two.js";', "cannot be part"),
        ('import { two } from "./three.js";', "there is no module 'three'"),
        ('import { one } from "./one.js";', "import each other: one <- one"),
        ("export default 1;", "cannot be part"),
        ("export let one = 1;", "cannot be part"),
        ('const a = await import("./two.js");', "cannot be part"),
        ("const a = '</SCRIPT>';", "cannot be part"),
    ],
)
def test_modules_that_cannot_be_one_script(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        one_script("one", {"one": text, "two": "export const two = 2;"})


# --- a notebook ---------------------------------------------------------------------------------------------------


def test_a_notebook_shows_the_page_in_a_frame_without_a_server(tmp_path):
    import html
    import re

    import nbformat
    from nbclient import NotebookClient

    book = nbformat.v4.new_notebook()
    book.cells = [
        nbformat.v4.new_code_cell(
            "import glassnet as gn, threading\n"
            "table = {'dose': [0.0, 1.0, 2.0, 3.0], 'ill </iframe>': ['no', 'no', 'yes', 'yes']}\n"
            "model = gn.fit(table, 'ill </iframe>', hidden=(2,), epochs=5, starts=1, test_size=None).model\n"
            "before = threading.active_count()\n"
            "page = gn.play(model, height=500)\n"
            "begun = threading.active_count() - before, 'uvicorn' in __import__('sys').modules\n"
            "page"
        ),
        nbformat.v4.new_code_cell("begun"),
    ]
    NotebookClient(book, timeout=60, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown, threads = (cell.outputs[0]["data"] for cell in book.cells)
    assert threads["text/plain"] == "(0, False)"
    assert re.fullmatch(r"FinishedPage\('ill </iframe>', \d+ kB\)", shown["text/plain"])
    head, _, rest = shown["text/html"].partition(' srcdoc="')
    assert head.startswith('<iframe title="ill &lt;/iframe&gt;" sandbox="allow-scripts" width="100%" height="500"')
    frame = re.fullmatch(r'([^"]*)"></iframe>', rest)
    assert frame
    page = html.unescape(frame[1])
    assert page.startswith("<!doctype html>")
    assert "http" not in re.sub(r"http-equiv|http://www\.w3\.org/\w+(/\w+)*", "", page)
