"""The demonstration, with few starts: what it prints, what it writes, and that the one is the other."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import glassnet as gn
from glassnet import cli, demo
from glassnet.peers import keras

STARTS = 40


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[demo.Told, Path]:
    folder = tmp_path_factory.mktemp("demo") / "below" / "glassnet-demo"
    return demo.tell(folder, starts=STARTS), folder


def test_the_keys_are_the_promised_ones(told: Any) -> None:
    result = told[0].result
    assert list(result) == ["data", "by_hand", "keras", "logistic_regression", "network", "starts", "files"]
    json.dumps(result, allow_nan=False)
    assert result["data"]["train"] + result["data"]["test"] == 569
    for part in (result["by_hand"], result["logistic_regression"], result["network"], *result["keras"].values()):
        assert {"accuracy", "f1", "auc", "log_loss", "seconds"} <= set(part)
    assert list(result["starts"]["accuracy"]) == ["median", "p5", "p95"]


def test_the_screen_shows_what_was_computed(told: Any) -> None:
    story, _ = told
    for part in (story.result["by_hand"], story.result["network"], *story.result["keras"].values()):
        figures = [f"{part[name]:.3f}".removeprefix("0") for name in ("accuracy", "f1", "auc", "log_loss")]
        assert any(all(figure in line.split() for figure in figures) for line in story.text.splitlines()), part
    for line in story.result["by_hand"]["lines"]:
        assert re.fullmatch(r"epoch: \d+, cost: \d+\.\d\d, accuracy: \d+\.\d\d%", line)
        assert line in story.text
    starts = story.result["starts"]
    assert f"{starts['stuck']} stuck on one class; {starts['dead']} have a dead unit" in story.text
    assert f"kept: start {starts['kept']}, the lowest training loss" in story.text


def leaves(value: Any) -> Iterator[float]:
    """Every number of plain data, those inside its texts too."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from leaves(item)
    elif isinstance(value, str):
        yield from (float(text) for text in NUMBER.findall(value))
    elif value is not None:
        yield float(value)


NUMBER = re.compile(r"(?<![\w./-])-?(?:\d[\d,]*)?\.?\d+(?:e[-+]?\d+)?(?![\w/])")


def unfounded(text: str, result: Any) -> list[str]:
    """Numbers of the text that are no figure of the result, rounded as they are printed."""
    known = [*leaves(result)]
    known += [1000 * value for value in known]  # milliseconds
    left = []
    for printed in NUMBER.findall(text):
        value, digits = float(printed.replace(",", "")), printed.partition("e")[0].partition(".")[2]
        half = 0.5000001 * 10.0 ** (int(printed.partition("e")[2] or 0) - len(digits))
        if not any(abs(value - figure) <= half for figure in known):
            left.append(printed)
    return left


def test_every_figure_on_the_screen_is_in_the_data(told: Any) -> None:
    story, _ = told
    text = re.sub(r"\(by hand: [^)]*\)", "", story.text)  # a product of two of them
    # Threshold .5 of a logit and of a probability, and where it comes to lie on the other's scale; ways to compute.
    assert set(unfounded(text, story.result)) <= {".5", ".622", "5", "6", "95"}
    assert unfounded("accuracy .123 4321 5.5e-07", {"a": 0.1244, "b": [4320], "c": "5.4e-07"}) == [
        ".123", "4321", "5.5e-07",
    ]  # fmt: skip
    assert unfounded(".123 4,321 2.0 ms", {"a": 0.12304, "b": ["x 4321"], "c": 0.00201}) == []


def test_the_commands_it_recommends_work(told: Any, capsys: pytest.CaptureFixture[str]) -> None:
    story, _ = told
    command = next(line for line in story.text.splitlines() if line.startswith("Next     glassnet explain "))
    with pytest.raises(SystemExit) as ended:
        cli.main(command.split()[2:])
    assert ended.value.code == 0
    assert story.result["network"]["row"]["answer"] in " ".join(capsys.readouterr().out.split())


def test_the_kept_model_is_in_the_file_and_scores_as_said(told: Any) -> None:
    story, folder = told
    model, table = gn.load(folder / "model.safetensors"), gn.read_table(folder / "tumors.csv")
    rows = gn.split(569, seed=0, stratify=table.labels("diagnosis"))[1]
    found = model.evaluate(table.select(rows))
    assert {name: story.result["network"][name] for name in found} == found
    p = next(line["value"] for line in story.result["network"]["row"]["lines"] if line["symbol"] == "p")
    assert p == model.predict_proba(table)[demo.ROW, 1]


def test_by_hand_is_the_first_start(told: Any) -> None:
    story, _ = told
    data = gn.datasets.tumors()
    train, _ = gn.split(569, seed=0, stratify=data.table.labels("diagnosis"))
    X = data.X[train]
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    run = gn.train(gn.Network((2, 2, 1)), X, data.y[train], optimizer=gn.SGD(0.1), initializer="standard_normal")
    cost = float(story.result["by_hand"]["lines"][-1].split()[3].rstrip(","))
    assert cost == pytest.approx(run.history.loss[-1] * 455, abs=0.005001)


def test_the_folder_holds_everything(told: Any) -> None:
    story, folder = told
    files = story.result["files"]
    assert set(files) == {
        "index", "network", "regions", "boundary", "learning_curves", "test_accuracy", "equations", "model", "table",
    }  # fmt: skip
    for path in files.values():
        assert Path(path).parent == folder
        assert Path(path).stat().st_size > 0
    for name in ("network", "regions", "boundary", "learning_curves", "test_accuracy"):
        assert ElementTree.parse(files[name]).getroot().tag.endswith("svg")


def test_the_page_stands_alone(told: Any) -> None:
    _, folder = told
    html = (folder / "index.html").read_text(encoding="utf-8")
    assert html.count("<svg") == 5
    assert not re.search(r'(src|href)="(?!#|data:)', html)
    assert "<script" not in html
    for heading in ("The network that was kept", "learning curves", "All equations", "One row, every number"):
        assert heading in html
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))


def test_without_keras_the_way_to_it_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "keras", None)
    told = demo.tell(tmp_path / "d", starts=2)
    assert "pip install 'glassnet[peers]'" in told.result["keras"]["missing"]
    assert "pip install 'glassnet[peers]'" in told.text
    assert "Keras, as in the notebook" not in told.text
    assert keras.__name__ == "glassnet.peers.keras"  # ours is loaded all the same


def test_bars_show_the_rarest_value() -> None:
    drawn = demo._bars(np.array([0.0] * 1000 + [1.0]), 0.0, 1.0, bins=3)
    assert drawn == "█ ▁"


def test_times_have_a_unit() -> None:
    assert [demo._time(s) for s in (0.000123, 0.0234, 1.234, 12.3, 360.0)] == [
        "0.12 ms",
        "23 ms",
        "1.23 s",
        "12 s",
        "6 min",
    ]
