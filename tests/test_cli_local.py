"""`glassnet explain --local` as a stranger uses it: what it prints, and one message per mistake."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import glassnet as gn
from glassnet import cli

TUMORS = Path(gn.__file__).with_name("bdiag.csv")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, captured.out, captured.err

    return call


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tumor.safetensors"
    two = ["texture_mean", "radius_mean"]
    fitted = gn.fit(gn.read_table(str(TUMORS)), "diagnosis", features=two, positive="M", starts=5, epochs=30)
    gn.save(fitted.model, path)
    return path


def test_it_prints_the_equation(run: Run, model: Path) -> None:
    status, out, err = run("explain", model, TUMORS, "--row", 17, "--local")
    assert (status, err) == (0, "")
    assert out.startswith("Row 17, diagnosis M\n")
    assert "log-odds of M = " in out
    assert "Nearest flip" in out
    assert "z1_1" not in out  # the worked calculation is the other one
    _, fine, _ = run("explain", model, TUMORS, "--row", 17, "--local", "--digits", 12)
    assert len(fine) > len(out)


def test_as_json_it_is_what_python_gives(run: Run, model: Path) -> None:
    status, out, _ = run("explain", model, TUMORS, "--row", 17, "--local", "--json")
    assert status == 0
    found = gn.load(model).local(gn.read_table(str(TUMORS)), 17).to_json()
    assert json.loads(out) == json.loads(json.dumps(found))
    assert {"outputs", "ranges", "nearest_flip", "region", "exact"} <= set(found)


def test_mistakes_are_one_message(run: Run, model: Path, tmp_path: Path) -> None:
    status, out, err = run("explain", model, TUMORS, "--row", 569, "--local")
    assert (status, out) == (2, "")
    assert err == "glassnet: A row is a number from 0 to 568; got 569.\n"
    lacking = tmp_path / "lacking.csv"
    lacking.write_text("texture_mean\n20.1\n")
    status, out, err = run("explain", model, lacking, "--local")
    assert (status, out) == (65, "")
    assert "radius_mean" in err
    gaps = tmp_path / "gaps.csv"
    gaps.write_text("texture_mean,radius_mean\n20.1,NA\n")
    status, out, err = run("explain", model, gaps, "--local")
    assert (status, err) == (0, "")
    assert "1 missing cell" in out
