"""What is shown to people runs: the notebook, and every block of the README, the tutorial and the how-to pages."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import nbformat
import numpy as np
import pytest

import glassnet as gn
from glassnet import cli

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "examples" / "neural_network_from_scratch.ipynb"
PAGES = [
    "README.md",
    "docs/tutorial.md",
    "docs/how-to.md",
    "docs/deriving.md",
    "docs/local-equation.md",
    "docs/marking.md",
    "docs/scikit-learn.md",
]


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """Language and text of every fenced block of a page."""
    for found in re.finditer(r"^```(\w+)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL):
        yield found[1], found[2]


def test_blocks_are_found() -> None:
    assert list(blocks("a\n```python\n1\n```\nb\n```console\nx\ny\n```\n")) == [
        ("python", "1\n"),
        ("console", "x\ny\n"),
    ]


def run(command: str) -> None:
    """A line that calls glassnet, in this process; what it prints goes into the file that stands behind >."""
    words = shlex.split(command)[1:]
    *words, _, file = words if ">" in words else [*words, ">", os.devnull]
    with (
        open(file, "w", encoding="utf-8") as output,
        contextlib.redirect_stdout(output),
        pytest.raises(SystemExit) as end,
    ):
        cli.main(words)
    assert end.value.code == 0, command


def test_a_command_that_fails_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run("glassnet check --template > 'a file.py'")
    assert (tmp_path / "a file.py").read_text(encoding="utf-8").startswith('"""')
    with pytest.raises(AssertionError, match="no-file"):
        run("glassnet predict no-model no-file")


@pytest.mark.parametrize("page", PAGES)
def test_a_page_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python blocks in one namespace, lines of console blocks that call glassnet in one folder, in their order."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "glassnet-demo").mkdir()  # as the demo leaves it
    for table in ("tumors.csv", "glassnet-demo/tumors.csv"):
        (tmp_path / table).write_bytes(Path(gn.__file__).with_name("bdiag.csv").read_bytes())
    namespace: dict[str, object] = {}
    ran = 0
    for language, text in blocks((ROOT / page).read_text(encoding="utf-8")):
        if language == "python":
            exec(compile(text, page, "exec"), namespace)
            ran += 1
        elif language == "console":
            for line in text.splitlines():
                command = line.split("  #")[0]
                if command.startswith("glassnet "):
                    run(command)
                    ran += 1
    assert ran


def test_the_notebook_is_committed_clean() -> None:
    book = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(book)
    for cell in book.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


def test_the_notebook_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from nbclient import NotebookClient

    monkeypatch.delenv("MNIST_FOLDER", raising=False)
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    monkeypatch.delenv("JUPYTER_PATH", raising=False)
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")  # before any kernel called python3 in someone's home
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    book = nbformat.read(NOTEBOOK, as_version=4)
    # The kernel that ipykernel has put beside this interpreter; it starts with this very interpreter.
    NotebookClient(book, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = {
        cell.id: "".join(output.get("text", "") for output in cell.outputs)
        for cell in book.cells
        if cell.cell_type == "code"
    }
    differences = [float(line.split()[-1]) for line in printed["same"].splitlines()[:2]]
    assert max(differences) < 1e-10
    assert "9 gradients agree" in printed["check-code"]
    accuracy = re.search(r"test accuracy (0\.\d+), macro F1", printed["digits"])
    assert accuracy is not None
    assert float(accuracy[1]) > 0.95
    assert "Left out: MNIST_FOLDER is not set." in printed["mnist-code"]


def test_mnist_over_95_per_cent_on_a_held_out_fifth(shared_data: Path) -> None:
    mnist = gn.datasets.mnist(shared_data)
    train, test = gn.split(len(mnist.y), seed=0, stratify=mnist.y.tolist())
    images, classes = mnist.X.astype(np.float32) / 255, np.eye(10, dtype=np.float32)[mnist.y]
    network = gn.Network((784, 300, 100, 10), "relu", "cross_entropy")
    # 6 epochs end at .953, a few images above the line, where rounding alone might decide; 8 end at .958.
    rate = gn.OneCycle(0.003)
    run = gn.train(network, images[train], classes[train], optimizer=gn.Adam(rate), epochs=8, batch_size=128, l2=1e-4)
    assert run.parameters.vector.dtype == np.float32
    found = gn.forward(network, run.parameters, images[test]).probabilities.argmax(axis=1)
    assert len(test) == 2000
    assert gn.metrics.accuracy(mnist.y[test], found) > 0.95
