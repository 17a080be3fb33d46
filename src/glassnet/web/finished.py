"""A finished model as one page in one file: its inputs as sliders, the network at work, its equations; no server.

The page computes by itself, in JavaScript, and gives the same bits as `Model.predict`: the same formulas in the same
order of operations, each rounded, with the same exp and log. What the page is told of a model is plain data; no text of
a user's becomes code or markup.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from glassnet import __version__
from glassnet.cells import counted, shown
from glassnet.columns import AnyColumn, BooleanColumn, CategoryColumn, NumberColumn, Step, level_symbol, missing_symbol
from glassnet.derivations.templates import template
from glassnet.encoding import Encoding
from glassnet.equations import Symbol, equations, raw_symbol
from glassnet.errors import UsageError
from glassnet.export.javascript import javascript_function
from glassnet.expressions import Expression, parse, significant
from glassnet.losses import LINKS
from glassnet.model import BecomesModel, Model, as_model
from glassnet.network import FloatArray, Network
from glassnet.persistence import write_atomically
from glassnet.tables import as_table
from glassnet.training import Run
from glassnet.web.one_script import one_script

MOST_PARAMETERS = 10_000
"""Parameters, of all members together, up to which a page is made: it draws and computes them all at every move."""

MOST_COLUMNS = 200
"""Columns up to which a page is made: each is a slider or a choice."""

_REACH = 3  # how many scales around its center a column's slider goes
_MOST_DIGITS = 17


@dataclass(frozen=True)
class FinishedPage:
    """A page in one file. `title`: what is predicted; ``html``: the whole file. A notebook shows it in a frame.

    The frame holds the page itself, so that it needs no server, and works where a notebook is only shown; it may run
    its script, and reach nothing around it.
    """

    title: str
    html: str
    height: int = 720

    def _repr_html_(self) -> str:
        return (
            f'<iframe title="{escape(self.title)}" sandbox="allow-scripts" width="100%" height="{self.height}" '
            f'style="border: 1px solid #8888; border-radius: 6px" srcdoc="{escape(self.html)}"></iframe>'
        )

    def __repr__(self) -> str:
        return f"FinishedPage({self.title!r}, {len(self.html.encode()) / 1000:.0f} kB)"

    def save(self, path: str | os.PathLike[str]) -> int:
        """Write the page to a file, atomically; returns its size in bytes. Raises `CannotWriteError`."""
        content = self.html.encode()
        write_atomically(path, content)
        return len(content)


def play(what: Model | Run | BecomesModel, *, height: int = 720) -> FinishedPage:
    """A finished model to play with: sliders for its inputs, the network at work, its equations with the numbers.

    `what`: a model, a fitted estimator, which is taken by its `to_model`, or a run, whose inputs are x1, x2, ... In a
    notebook the page stands in a frame of so many pixels `height`; nothing is served, and nothing goes on running.
    Its ``html`` is the page, ``save(path)`` writes it: `glassnet export MODEL --to html` writes the same.

    Raises `UsageError`: a model too large to be drawn, numbers that are not finite, what is no model.

    >>> import glassnet as gn
    >>> table = {"dose": [0.0, 1.0, 2.0, 3.0], "ill": ["no", "no", "yes", "yes"]}
    >>> page = gn.play(gn.fit(table, "ill", hidden=(2,), epochs=5, starts=1, test_size=None).model)
    >>> page.title, page.html.startswith("<!doctype html>")
    ('ill', True)
    """
    told = described(what)
    title = told["target"]["name"] or told["network"]
    title = title.encode("utf-8", "replace").decode()  # half a character, which JSON can hold, has no bytes
    return FinishedPage(title, _page(title, told), height)


# --- what the page is told ------------------------------------------------------------------------------------------


def described(what: Model | Run | BecomesModel) -> dict[str, Any]:
    """All that the page needs to know of a model, as plain data; as `functions` the module that it computes with.

    >>> import glassnet as gn
    >>> table = {"dose": [0.0, 1.0, 2.0, 3.0], "ill": ["no", "no", "yes", "yes"]}
    >>> described(gn.fit(table, "ill", hidden=(), epochs=5, starts=1, test_size=None).model)["features"]
    ['dose']
    """
    what = as_model(what)
    if isinstance(what, Model):
        return _of_model(what)
    if isinstance(what, Run):
        return _of_run(what)
    raise UsageError(
        f"play shows a trained model, a fitted estimator or a run; got {type(what).__name__}. gn.fit makes a model of "
        "a table, gn.load reads one; glassnet play DATA --target COLUMN trains before your eyes."
    )


def _of_model(model: Model) -> dict[str, Any]:
    target = model.target
    told: dict[str, Any] = {"name": target.source, "kind": target.kind, "classes": list(target.classes)}
    told |= {"center": target.center, "scale": target.scale}
    members = [member.vector.astype(np.float64) for member in model.members]  # as `predict` computes
    decode = list(model.decode_equations)
    return {
        **_all_told(model.network, members, model.encoder, told, np.dtype(np.float64)),
        "missing": sorted({word.strip().casefold() for word in ("", *model.missing_words)}),
        "decode": [template(e, lambda key: "answer" if key.kind == "raw" else _slot(key), 6) for e in decode],
        "history": _history(model.provenance),
    }


def _of_run(run: Run) -> dict[str, Any]:
    X = run.data.as_floats().X
    columns = []
    for j in range(X.shape[1]):
        low, high = float(X[:, j].min()), float(X[:, j].max())
        scale = (high - low) / (2 * _REACH) or 1.0
        columns.append((NumberColumn(f"x{j + 1}", 0.0, 1.0, float(np.mean(X[:, j], dtype=np.float64))), low, scale))
    ends = {c.source: (low, low + 2 * _REACH * scale) for c, low, scale in columns}
    target = {"name": "", "kind": "outputs", "classes": [], "center": 0.0, "scale": 1.0}
    encoding = Encoding(tuple(column for column, _, _ in columns), None)
    told = _all_told(run.network, [run.parameters.vector], encoding, target, run.data.dtype, ends)
    history = f"A run of gn.train; what ended it: {run.stop_reason}."
    return {**told, "missing": [""], "encode": [], "decode": [], "history": history}


def _all_told(
    network: Network,
    members: Sequence[FloatArray],
    encoding: Encoding,
    target: dict[str, Any],
    dtype: np.dtype[Any],
    ends: Mapping[str, tuple[float, float]] | None = None,
) -> dict[str, Any]:
    _check_size(network, members, encoding)
    ids: dict[Symbol, int] = {}

    def numbered(key: Symbol) -> int:
        return ids.setdefault(key, len(ids))

    def slot(key: Symbol) -> str:
        return f"@{numbered(key)}{'r' if key.kind == 'raw' else ''}"  # a cell stands as the user has it

    formulas: dict[tuple[str, tuple[str, ...]], int] = {}
    steps: list[Any] = []
    encode: list[Any] = []
    columns: list[dict[str, Any]] = []
    n = 0
    for column in encoding.columns:
        told = _column(column, numbered, (ends or {}).get(column.source))
        features = []
        for step in column.steps():
            to = step.target
            if isinstance(to, str):
                n += 1
                to = Symbol("x", None, ("row", n))
                features.append(numbered(to))
            formula = formulas.setdefault((step.formula, tuple(step.named)), len(formulas))
            given = [[numbered(v)] if isinstance(v, Symbol) else float(v) + 0.0 for v in step.named.values()]
            steps.append([formula, given, numbered(to)])
            line = template(step.equation(to), slot, _digits(step))
            encode.append({**line, "column": len(columns), "feature": n if to.kind == "x" else n + 1})
        columns.append({**told, "features": features})
    loss_row, single = network.loss_row, bool(dtype == np.float32)
    of_network = (equation for equation in equations(network) if equation.stage == "forward")
    return {
        "made": f"glassnet {__version__}",
        "network": "-".join(map(str, network.sizes)),
        "said": _said(network, len(members), single),
        "sizes": list(network.sizes),
        "members": [member.tolist() for member in members],
        "overClasses": LINKS[loss_row.link].over_classes,
        "single": single,
        "target": target,
        "features": list(encoding.feature_names),
        "columns": columns,
        "steps": steps,
        "values": len(ids),
        "encode": encode,
        "forward": [template(equation, _slot) for equation in of_network],
        "functions": _functions(network, list(formulas), single),
    }


def _slot(key: Symbol) -> str:
    return str(key)


def _check_size(network: Network, members: Sequence[FloatArray], encoding: Encoding) -> None:
    n = network.n_parameters * len(members)
    way_out = (
        "glassnet predict and glassnet explain take it as it is; fewer --hidden units or --features make it smaller."
    )
    if n > MOST_PARAMETERS:
        raise UsageError(
            f"A page shows models of at most {MOST_PARAMETERS:,} parameters; this one has {n:,}. {way_out}"
        )
    if len(encoding.columns) > MOST_COLUMNS:
        n = len(encoding.columns)
        raise UsageError(f"A page has sliders for at most {MOST_COLUMNS} columns; this model has {n:,}. {way_out}")
    if not all(np.isfinite(member).all() for member in members):
        raise UsageError(
            "A page shows finite numbers; parameters of this model are infinite or NaN. Train it again, with a smaller "
            "learning rate."
        )


def _said(network: Network, n_members: int, single: bool) -> str:
    hidden = list(dict.fromkeys(network.activations[:-1]))
    parts = ["-".join(map(str, network.sizes)), *([" and ".join(hidden)] if hidden else []), network.loss]
    parts.append(counted(network.n_parameters, "parameter"))
    if n_members > 1:
        parts.append(f"the mean of {n_members} networks")
    return ", ".join([*parts, *(["computed in float32"] if single else [])])


def _column(column: AnyColumn, numbered: Any, ends: tuple[float, float] | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": column.source,
        "called": shown(column.source),
        "kind": column.kind,
        "marks": column.missing,
        "absent": numbered(missing_symbol(column.source)),
        "remarks": {"missing": _remark(column, None)},
    }
    if isinstance(column, CategoryColumn):
        other = "another text"
        while other in column.levels:
            other = f"yet {other}"
        found["remarks"]["other"] = _remark(column, other)
        tests = [numbered(level_symbol(column.source, level)) for level in column.levels]
        return {**found, "levels": list(column.levels), "other": other, "tests": tests}
    found |= {"fill": column.fill, "raw": numbered(raw_symbol(column.source))}
    if isinstance(column, BooleanColumn):
        return found
    if ends is None:
        reach = _REACH * column.scale
        ends = (column.edges[0], column.edges[-1]) if column.edges else (column.center - reach, column.center + reach)
    low, high = ends
    if not math.isfinite(high - low):  # beyond all numbers
        low, high = -1e300, 1e300
    return {**found, "low": low, "high": high}


def _remark(column: AnyColumn, cell: str | None) -> str:
    """What `predict` says of such a cell; "" where it says nothing."""
    kind = column.cells if isinstance(column, CategoryColumn) else column.kind
    kinds = {column.source: "text" if cell is not None else kind}
    return column.remark(as_table({column.source: [cell]}, kinds=kinds, missing=()))


def _digits(step: Step) -> int:
    """So many digits that a column's numbers, as they are printed, are its own to a thousandth of its scale."""
    named = {name: float(value) for name, value in step.named.items() if not isinstance(value, Symbol)}
    scale = named["high"] - named["low"] if "high" in named else named.get("scale", 1.0)
    for digits in range(4, _MOST_DIGITS):
        if all(abs(float(significant(value, digits)) - value) <= 1e-3 * scale for value in named.values()):
            return digits
    return _MOST_DIGITS


def _history(provenance: Mapping[str, Any]) -> str:
    """Where the model comes from, in a sentence, as far as its file says so."""
    rows, metrics = provenance.get("rows"), provenance.get("metrics")
    if not isinstance(rows, dict) or not isinstance(rows.get("train"), int):
        return ""
    text = f"Trained on {counted(rows['train'], 'row')}"
    tested = metrics.get("test") if isinstance(metrics, dict) else None
    if isinstance(tested, dict) and tested and isinstance(rows.get("test"), int):
        found = [f"{name} {significant(v)}" for name, v in sorted(tested.items()) if isinstance(v, int | float)]
        text += f"; on {counted(rows['test'], 'row')} that were held back {', '.join(found)}"
    return f"{text}."


def _functions(network: Network, formulas: list[tuple[str, tuple[str, ...]]], single: bool) -> str:
    """The module of what the page computes with: formulas of columns, activations by layer, the link."""
    link = LINKS[network.loss_row.link]

    def source(expression: Expression, *names: str) -> str:
        return javascript_function(expression, names, single=single)

    def listed(name: str, functions: list[str]) -> str:
        return "\n".join([f"export const {name} = [", *(f"{one}," for one in functions), "];"])

    layers = [network.activation_row(layer).value for layer in range(1, network.n_layers + 1)]
    which = list(dict.fromkeys(layers))
    names = "expSingle, logSingle" if single else "exp, log"
    given = "const [exp, log] = [expSingle, logSingle];" if single else ""
    return "\n".join([
        f'import {{ {names} }} from "./arithmetic.js";', given,
        listed("formulas", [javascript_function(parse(text), names) for text, names in formulas]),
        listed("functions", [source(value, "z") for value in which]),
        f"export const activations = [{', '.join(f'functions[{which.index(value)}]' for value in layers)}];",
        f"export const exponential = {source(parse('exp(o - m)'), 'o', 'm')};",
        f"export const probability = {source(link.value, 'o', 'm', 's')};",
    ])  # fmt: skip


# --- the file -------------------------------------------------------------------------------------------------------


def modules(told: Mapping[str, Any]) -> dict[str, str]:
    """The text of every module of the page by its name, `functions` among them."""
    sources = {name.removesuffix(".js"): text for name, text in _files().items() if name.endswith(".js")}
    return {**sources, "functions": told["functions"]}


def _files() -> dict[str, str]:
    folder = importlib.resources.files("glassnet.web") / "static"
    return {item.name: item.read_text(encoding="utf-8") for item in folder.iterdir()}


def _page(title: str, told: dict[str, Any]) -> str:
    files = _files()
    script = one_script("finished", modules(told))
    style = files["style.css"] + files["finished.css"]
    data = {name: value for name, value in told.items() if name != "functions"}
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; base-uri 'none'; form-action 'none'"
    )
    put_in = {
        "policy": policy, "title": escape(title), "made": escape(told["made"]), "style": style, "script": script,
        # In a script element nothing but "<" has a meaning of its own.
        "model": json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"),
    }  # fmt: skip
    before, *rest = files["finished.html"].split("{{")
    return before + "".join(put_in[name] + text for name, _, text in (part.partition("}}") for part in rest))


def _hash(text: str) -> str:
    digest = hashlib.sha256(f"\n{text}\n".encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
