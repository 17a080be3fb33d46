"""Is every number accounted for? A thousand generated models, each computed in every way there is.

A model is a network with an encoder that was fitted to a table of its own (numbers, dates, categories, booleans, cells
missing; every recipe), random activations, a random loss and random or trained parameters in float64 or float32. Each
is verified as `glassnet verify` does it: worked calculation, reference, compiled engine and differences, on made-up
rows or on rows of the table. jax takes part in every tenth; SymPy where the formula has at most 2,000 terms.

Prints a markdown table of the worst difference of every kind from the reference, |u - v| / max(1, |u|, |v|), and how
much of what it may be it is. Ends with status 1 if any two ways disagree.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import glassnet as gn
from glassnet.activations import ACTIVATIONS
from glassnet.columns import Recipe
from glassnet.encoding import Encoding
from glassnet.errors import DataError
from glassnet.losses import loss_row
from glassnet.tables import Table
from glassnet.verification.by_sympy import n_terms
from glassnet.verification.comparing import verify_network
from glassnet.verification.verdict import Comparison, Verification
from glassnet.verification.verify import rows_of_model

ROWS = 60
MOST_TERMS = 2_000
LOSSES = ("binary_cross_entropy", "cross_entropy", "mean_squared_error", "mean_absolute_error", "huber(0.7)", "poisson",
          "quantile(0.9)")  # fmt: skip
RECIPES = ("plain", "accurate", Recipe(pieces=3), Recipe(scaling="robust"))


@dataclass(frozen=True)
class Found:
    """Of one model: what it is, its comparisons with the reference, and the whole text where something is wrong."""

    described: str
    float32: bool
    pairs: tuple[Comparison, ...]
    n_kinks: int
    wrong: str


def table_of(rng: np.random.Generator, n_columns: int, n_classes: int) -> dict[str, list[Any]]:
    """Columns of random kinds, some cells missing, and a target of so many classes, or numbers where that is 0."""
    columns: dict[str, list[Any]] = {}
    for number in range(n_columns):
        kind = rng.choice(["number", "number", "category", "boolean", "date"])
        if kind == "number":
            cells = (rng.normal(size=ROWS) * 10.0 ** rng.integers(-2, 4) + rng.integers(-3, 300)).tolist()
        elif kind == "category":
            cells = [f"level {level}" for level in rng.integers(rng.integers(2, 6), size=ROWS)]
        elif kind == "boolean":
            cells = [bool(value) for value in rng.integers(2, size=ROWS)]
        else:
            cells = [str(np.datetime64("2020-01-01") + int(day)) for day in rng.integers(2000, size=ROWS)]
        if rng.random() < 0.3:
            for row in rng.choice(ROWS, 5, replace=False):
                cells[row] = None
        columns[f"{kind} {number}"] = cells
    if n_classes:
        columns["target"] = [f"class {number % n_classes}" for number in rng.permutation(ROWS)]
    else:
        columns["target"] = (rng.gamma(2.0, size=ROWS) * 50).tolist()
    return columns


def model_of(number: int) -> tuple[gn.Model, dict[str, list[Any]]]:
    """Model `number` of the thousand, and the table that its encoder was fitted to."""
    rng = np.random.default_rng([2024, number])
    loss = str(rng.choice(LOSSES))
    n_classes = {"binary_cross_entropy": 2, "cross_entropy": int(rng.integers(3, 6))}.get(loss, 0)
    table = table_of(rng, int(rng.integers(1, 4)), n_classes)
    features = [name for name in table if name != "target"]
    recipe = RECIPES[rng.integers(len(RECIPES))]
    encoding, _, _ = Encoding.fit(Table.from_columns(table), features, "target", recipe=recipe)
    hidden = tuple(int(units) for units in rng.integers(1, 9, size=rng.integers(0, 4)))
    if rng.random() < 0.1:
        hidden = (int(rng.integers(16, 65)), *hidden[:1])
    activations = [str(name) for name in rng.choice(list(ACTIVATIONS), len(hidden))]
    if loss_row(loss).link == "identity" and rng.random() < 0.2:
        activations.append(str(rng.choice(["tanh", "softplus", "sigmoid", "leaky_relu"])))
    network = gn.Network((encoding.n_features, *hidden, max(1, n_classes if n_classes > 2 else 1)), activations, loss)
    parameters = gn.initialize(network, number)
    parameters.vector[:] *= rng.uniform(0.3, 2)
    for bias in parameters.biases:
        bias[:] = rng.normal(0, 0.3, len(bias))
    if rng.random() < 0.5 and loss != "poisson":
        data = Table.from_columns(table)
        X, y = encoding.encode(data), encoding.encode_target(data)
        run = gn.train(network, X, y, optimizer=gn.Adam(0.02), epochs=60, parameters=parameters, engine="numpy")
        parameters = run.parameters
    if number % 2:
        parameters = gn.Parameters(network, parameters.vector.astype(np.float32))
    return gn.Model(network, (parameters,), encoding), table


def verified(model: gn.Model, table: dict[str, list[Any]] | None, number: int) -> Verification:
    found = rows_of_model(model, table)
    others = ["jax"] if number % 10 == 0 else []
    if n_terms(model.network) <= MOST_TERMS:
        others.append("SymPy")
    return verify_network(
        model.network, model.members[0], found.X, found.y, of_table=found.of_table, title=found.title, others=others
    )


def judged(number: int) -> Found:
    model, table = model_of(number)
    try:
        result = verified(model, table if number % 3 else None, number)
    except DataError:  # poisson's targets: a number below the mean is negative, once it is scaled
        result = verified(model, {name: cells for name, cells in table.items() if name != "target"}, number)
    network = model.network
    described = f"{'-'.join(map(str, network.sizes))}, {', '.join(network.activations)}, {network.loss}"
    kinks = [remark for remark in result.remarks if "stepped over a kink" in remark]
    n_kinks = sum(int(remark.split()[0].replace(",", "")) for remark in kinks)
    pairs = tuple(pair for pair in result.comparisons if "reference" in (pair.first, pair.second))
    return Found(described, bool(number % 2), pairs, n_kinks, "" if result.ok else f"{number}: {described}\n{result}")


def lines(every: list[Found]) -> Iterator[str]:
    """The table, in markdown."""
    kinds: dict[str, list[tuple[Found, Comparison]]] = {}
    for found in every:
        for pair in found.pairs:
            name = pair.second if pair.first == "reference" else pair.first
            if name == "compiled engine":
                name += ", float32" if found.float32 else ", float64"
            kinds.setdefault(name, []).append((found, pair))
    yield "| held against the reference | models | numbers | not judged | worst error | of what it may be | in |"
    yield "|---|---:|---:|---:|---:|---:|---|"
    for name in ("worked calculation", "compiled engine, float64", "compiled engine, float32", "differences", "jax",
                 "SymPy"):  # fmt: skip
        of_kind = kinds.get(name, [])
        if not of_kind:
            continue
        worst, pair = max(of_kind, key=lambda one: one[1].largest_error)
        share = max(pair.largest_share for _, pair in of_kind)
        numbers, left_out = (sum(getattr(p, key) for _, p in of_kind) for key in ("compared", "not_judged"))
        yield (
            f"| {name} | {len(of_kind):,} | {numbers:,} | {left_out:,} | {pair.largest_error:.1e} | {share:.0%} | "
            f"{worst.described}: {pair.at} |"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    asked = parser.parse_args()
    begun = time.monotonic()
    # A process keeps every kernel that it loads, so a new one takes over now and then: after five times ten models.
    with multiprocessing.get_context("spawn").Pool(asked.processes, maxtasksperchild=5) as pool:
        every = []
        for found in pool.imap(judged, range(asked.models), chunksize=10):
            every.append(found)
            if sys.stderr.isatty():
                print(f"\r{len(every):,} of {asked.models:,}", end="", file=sys.stderr)
    wrong = [found for found in every if found.wrong]
    print("\n".join(lines(every)))
    kinks, met = sum(found.n_kinks for found in every), sum(found.n_kinks > 0 for found in every)
    print(
        f"\n{len(every):,} models in {time.monotonic() - begun:.0f} s; {len(wrong)} wrong. {kinks:,} difference "
        f"quotients, of {met} models, would have stepped over a kink or a bend and were taken otherwise."
    )
    for found in wrong[:5]:
        print(f"\n{found.wrong}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
