"""Generated models of every kind, with rows as a user types them, for tests of the page that computes by itself."""

from __future__ import annotations

import contextlib
import shutil
from typing import Any

import numpy as np

from glassnet.activations import ACTIVATIONS
from glassnet.columns import Recipe
from glassnet.encoding import Encoding
from glassnet.model import Model
from glassnet.network import Network, Parameters
from glassnet.tables import Table


def _node() -> str | None:
    """The path of a node: the system's, or the one that Playwright brings with it."""
    found = shutil.which("node")
    if found is None:
        with contextlib.suppress(ImportError):
            from playwright._impl._driver import compute_driver_executable

            found = str(compute_driver_executable()[0])
    return found


NODE = _node()

RECIPES = ("plain", "accurate", Recipe(pieces=4), Recipe(rare=0.2), Recipe(scaling="robust", missing="median"))
LOSSES = {
    "binary": ("binary_cross_entropy",),
    "classes": ("cross_entropy",),
    "number": ("mean_squared_error", "huber(2)", "quantile(0.9)", "poisson"),
}
ODD = (
    "x1",
    "</script><b>",
    "a'b\"c",
    "=cmd()",
    "温度 🌡",
    "שלום",
    "two\nlines",
    "constructor",
    "&amp;",
    "\ue000\x01{{model}}",
)
"""Names that a careless page would run, swallow or mistake."""


def generated(number: int) -> Model:
    """The model of this number: its activations, target, columns and recipe are drawn with it as seed."""
    rng = np.random.default_rng(number)
    names = [str(name) for name in rng.permutation(ODD)]
    n = 40
    gaps = number % 2 == 0
    columns: dict[str, Any] = {
        names[0]: rng.normal(rng.choice([0, 1e-3, 2e4]), rng.choice([1e-6, 1, 300]), n).tolist(),
        names[1]: rng.choice(["red", "blue </script>", 'a"b', "зелёный"], n).tolist(),
        names[2]: rng.choice([True, False], n).tolist(),
        names[3]: (np.datetime64("2019-05-01") + rng.integers(0, 900, n)).astype(str).tolist(),
        names[4]: rng.integers(-5, 90, n).astype(float).tolist(),
    }
    if gaps:
        for values in columns.values():
            for at in rng.integers(0, n, 4):
                values[at] = None
    features = [str(name) for name in rng.permutation(names[:5])[: rng.integers(1, 6)]]
    kind = ("binary", "classes", "number")[number % 3]
    target = names[5]
    of_target = {
        "binary": ["B", "M"] * (n // 2),
        "classes": [("x", "</script>", "é", "-z")[k % 4] for k in range(n)],
        "number": (1e3 + 50 * rng.normal(size=n)).tolist(),
    }
    table = Table.from_columns({name: columns[name] for name in features} | {target: of_target[kind]})
    encoding, _, _ = Encoding.fit(table, features, target, recipe=RECIPES[number % len(RECIPES)])
    loss = LOSSES[kind][number // 3 % len(LOSSES[kind])]
    activations = list(ACTIVATIONS)
    hidden = tuple(int(units) for units in rng.integers(1, 5, number % 3))
    chosen = [activations[(number + k) % len(activations)] for k in range(len(hidden))]
    if kind == "number" and loss != "poisson":
        chosen.append(activations[number // 2 % len(activations)])  # of the output layer
    n_outputs = len(encoding.target.classes) if encoding.target and kind == "classes" else 1
    network = Network((encoding.n_features, *hidden, n_outputs), chosen, loss)
    size = float(rng.choice([0.5, 2, 40]))
    dtype = np.float32 if number % 7 == 0 else np.float64
    members = tuple(
        Parameters(network, rng.normal(scale=size, size=network.n_parameters).astype(dtype))
        for _ in range(1 + 2 * (number % 5 == 0))
    )
    return Model(network, members, encoding)


def rows(model: Model, number: int, n: int = 6) -> list[list[str | None]]:
    """Rows of texts that `predict` takes, None where a cell is missing; by columns in the model's order."""
    rng = np.random.default_rng(number + 10**6)
    found: list[list[str | None]] = []
    for _ in range(n):
        row: list[str | None] = []
        for column in model.encoder.columns:
            if rng.random() < 0.15:
                row.append(None)
            elif column.kind == "boolean":
                row.append(str(rng.choice(["true", "false"])))
            elif column.kind == "date":
                day = str(np.datetime64("2018-01-01") + int(rng.integers(0, 2000)))
                row.append(str(rng.choice([day, f"{day}T07:30", f"{day} 23:59:59.123456"])))
            elif column.kind == "number":
                value = column.center + column.scale * rng.normal() * rng.choice([1, 5])
                row.append(str(rng.choice([repr(float(value)), f"{value:.3g}", f"{value:.0f}", f"{value:.6e}"])))
            else:
                row.append(str(rng.choice([*column.levels, "another text"])))
        found.append(row)
    return found


def printed(model: Model, row: list[str | None]) -> list[str]:
    """What `glassnet predict` prints of a row: the answer, and the probability of every class."""
    data = {column.source: [cell] for column, cell in zip(model.encoder.columns, row, strict=True)}
    (answer,) = model.predict(data)
    if model.task == "regression":
        return [repr(float(answer))]
    return [str(answer), *map(repr, model.predict_proba(data)[0].tolist())]
