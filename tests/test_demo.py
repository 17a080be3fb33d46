"""The demonstration, with few starts: what it prints, what it writes, and that the one is the other."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import glassnet as gn
from glassnet import demo
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
        "index", "network", "boundary", "learning_curves", "test_accuracy", "equations", "model", "table",
    }  # fmt: skip
    for path in files.values():
        assert Path(path).parent == folder
        assert Path(path).stat().st_size > 0
    for name in ("network", "boundary", "learning_curves", "test_accuracy"):
        assert ElementTree.parse(files[name]).getroot().tag.endswith("svg")


def test_the_page_stands_alone(told: Any) -> None:
    _, folder = told
    html = (folder / "index.html").read_text(encoding="utf-8")
    assert html.count("<svg") == 4
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
    assert [demo._time(s) for s in (0.000123, 0.0234, 1.234, 12.3)] == ["0.12 ms", "23 ms", "1.23 s", "12 s"]
