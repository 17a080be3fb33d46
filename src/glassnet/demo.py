"""The demonstration: the notebook's whole story on the real tumor data, better at each step."""

from __future__ import annotations

import os
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from glassnet import by_hand, drawing, report
from glassnet.checks import GradientCheck, check_gradients
from glassnet.columns import NumberColumn
from glassnet.datasets import TUMORS_CITATION, Dataset, tumors
from glassnet.derivations.derived import derive
from glassnet.derivations.worked import WorkedCalculation, explain
from glassnet.derivations.worked_lines import Line
from glassnet.errors import CannotWriteError, MissingExtraError
from glassnet.expressions import significant
from glassnet.local_equation import LocalEquation
from glassnet.model import Fitted, fit, plain, save
from glassnet.network import FloatArray, Parameters
from glassnet.optimizers import SGD
from glassnet.peers import PeerResult, keras, scored
from glassnet.persistence import check_writable, write_atomically
from glassnet.survey import sparkline
from glassnet.verification.verdict import Verification
from glassnet.verification.verify import verify

TARGET, FEATURES = "diagnosis", ("texture_mean", "radius_mean")
LEARNING_RATE, EPOCHS = 0.1, 100
ROW = 17
NOTEBOOK_ACCURACY = 0.912  # of its one run by hand, on its own split


@dataclass(frozen=True)
class Told:
    """The story: as text for a terminal, and as plain data, whose `files` lie in the output folder."""

    text: str
    result: dict[str, Any]


@dataclass(frozen=True)
class _Story:
    """Everything that was computed, before anything is written."""

    seed: int
    data: Dataset
    fitted: Fitted
    hand: by_hand.NeuralNetwork
    hand_cost: float
    by_hand: PeerResult
    kept: PeerResult
    keras: list[PeerResult]
    keras_missing: str
    logistic: PeerResult
    worked: WorkedCalculation
    local: LocalEquation
    check: GradientCheck
    verified: Verification

    @property
    def race(self) -> list[PeerResult]:
        return [self.by_hand, self.kept, *self.keras, self.logistic]

    @property
    def test_accuracies(self) -> FloatArray:
        return self.fitted.start_scores["accuracy"]

    @property
    def scaling(self) -> list[tuple[str, float, float]]:
        """Column, center and scale of every feature."""
        columns = self.fitted.model.encoder.columns
        return [(c.source, c.center, c.scale) for c in columns if isinstance(c, NumberColumn)]

    @property
    def hand_lines(self) -> list[str]:
        return [self.hand.training_line(1), self.hand.training_line(EPOCHS)]

    @property
    def kept_rank(self) -> int:
        return 1 + int((self.test_accuracies > self.fitted.test["accuracy"]).sum())

    @property
    def noise(self) -> float:
        """How uncertain one accuracy is on this many rows, 1.96 standard errors: closer ones cannot be told apart."""
        p = self.kept.accuracy
        return float(1.96 * np.sqrt(p * (1 - p) / len(self.fitted.test_rows)))

    @property
    def remarks(self) -> list[str]:
        """What stands under the race."""
        said = [f"On {len(self.fitted.test_rows)} rows, differences in accuracy under {_share(self.noise)} are noise."]
        for peer in self.keras[:1]:
            own = _share(peer.own_accuracy if peer.own_accuracy is not None else float("nan"))
            said.append(
                f"Keras itself reports {own} for the notebook's model: it asks for a logit > .5, that is p > .622."
            )
        return [*said, *([self.keras_missing] if self.keras_missing else [])]


def tell(
    output: str | os.PathLike[str],
    *,
    starts: int = 1000,
    seed: int = 0,
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Told:
    """Run everything and write pictures, page and model into the folder `output`.

    Raises `CannotWriteError` where the folder cannot be made. Without Keras its part is left out, and the text says
    how to have it.
    """
    folder = Path(output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise CannotWriteError(f"{folder} cannot be made: {problem.strerror}. Name another with --output.") from problem
    check_writable(folder / "index.html")
    story = _computed(starts, seed, threads, progress)
    files = _written(story, folder)
    return Told(_text(story, folder), plain({**_result(story), "files": files}))


def _computed(starts: int, seed: int, threads: int | None, progress: Callable[[int], None] | None) -> _Story:
    data = tumors(FEATURES)
    fitted = fit(
        data.table,
        TARGET,
        features=FEATURES,
        positive="M",
        hidden=(2,),
        optimizer=SGD(LEARNING_RATE),
        epochs=EPOCHS,
        batch_size=None,
        initializer="standard_normal",
        starts=starts,
        random_state=seed,
        threads=threads,
        progress=progress,
    )
    model, population = fitted.model, fitted.population
    X, y = population.data.X, population.data.y
    X_test, y_test = fitted.prepared.X_test, fitted.prepared.y_test

    begun = time.perf_counter()
    start = Parameters(model.network, population.initial.vector[0])
    hand = by_hand.NeuralNetwork().fit(X, y, LEARNING_RATE, EPOCHS, parameters=start, verbose=False)
    hand_seconds = time.perf_counter() - begun
    hand_p = [hand.get_prob_class(float(x1), float(x2))[0] for x1, x2 in X_test]

    # The peers scale for themselves, as the notebook has it.
    raw = [part[rows] for rows in (fitted.train_rows, fitted.test_rows) for part in (data.X, data.y)]
    races, missing = [], ""
    try:
        races = [keras.as_in_the_notebook(*raw, random_state=seed), keras.to_convergence(*raw, random_state=seed)]
    except MissingExtraError as problem:
        missing = str(problem)
    from glassnet.peers.sklearn import logistic_regression

    return _Story(
        seed=seed,
        data=data,
        fitted=fitted,
        hand=hand,
        hand_cost=hand.get_accuracy_cost(X_test, y_test)[1],
        by_hand=scored("by hand", y_test, hand_p, hand_seconds),
        kept=scored("glassnet, kept start", y_test, model.outputs(X_test)[:, 0], population.seconds / starts),
        keras=races,
        keras_missing=missing,
        logistic=logistic_regression(*raw),
        worked=explain(model, data.table, ROW),
        local=model.local(data.table, ROW),
        check=check_gradients(model.network, model.members[0], X, y),
        verified=verify(model, data.table),
    )


def _result(story: _Story) -> dict[str, Any]:
    """The story as plain data."""
    fitted, population = story.fitted, story.fitted.population
    keras_part: dict[str, Any] = {
        peer.name: {**_figures(peer), "own_accuracy": peer.own_accuracy, "note": peer.note} for peer in story.keras
    }
    return {
        "data": {
            "rows": story.data.table.n_rows,
            "malignant": int(story.data.y.sum()),
            "benign": int((1 - story.data.y).sum()),
            "features": list(FEATURES),
            "train": len(fitted.train_rows),
            "test": len(fitted.test_rows),
            "scaling": {name: {"center": center, "scale": scale} for name, center, scale in story.scaling},
            "seed": story.seed,
        },
        "by_hand": {
            **_figures(story.by_hand),
            "lines": story.hand_lines,
            "test_cost": story.hand_cost,
            "notebook_accuracy": NOTEBOOK_ACCURACY,
        },
        "keras": {"missing": story.keras_missing} if story.keras_missing else keras_part,
        "logistic_regression": _figures(story.logistic),
        "network": {
            **_figures(story.kept),
            "sizes": list(fitted.model.network.sizes),
            "n_parameters": fitted.model.network.n_parameters,
            "row": story.worked.to_json(),
            "local": story.local.to_json(),
            "gradient_error": story.check.largest_error,
            "verified": story.verified.to_json(),
        },
        "starts": {
            "size": len(population),
            "seconds": population.seconds,
            "kept": population.kept,
            "kept_test_rank": story.kept_rank,
            **population.ailing(),
            "lowest_accuracy": float(np.nanmin(story.test_accuracies)),
            "highest_accuracy": float(np.nanmax(story.test_accuracies)),
            "accuracy_noise": story.noise,
            **fitted.starts,
        },
    }


def _figures(peer: PeerResult) -> dict[str, float]:
    return {name: getattr(peer, name) for name in ("accuracy", "f1", "auc", "log_loss", "seconds")}


# --- the terminal -------------------------------------------------------------------------------------------------


def _bars(values: FloatArray, low: float, high: float, bins: int = 24) -> str:
    """A histogram in one line of text."""
    return sparkline(np.histogram(values[np.isfinite(values)], bins=bins, range=(low, high))[0].tolist())


def _share(value: float) -> str:
    """A share with three digits and no leading zero, as tables of results have it."""
    return "undef" if value != value else f"{value:.3f}".removeprefix("0")


def _time(seconds: float) -> str:
    if seconds < 0.0995:
        return f"{seconds * 1000:.2g} ms"
    if seconds < 9.95:
        return f"{seconds:.2f} s"
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


_RACE_HEADER = ("", "accuracy", "F1", "AUC", "log-loss", "time")


def _race_rows(race: list[PeerResult]) -> list[list[str]]:
    return [[p.name, *map(_share, (p.accuracy, p.f1, p.auc, p.log_loss)), _time(p.seconds)] for p in race]


def _shown_lines(worked: WorkedCalculation) -> list[Line]:
    """Four lines of a worked calculation: one unit that is at work on this row, the answer, its loss, a gradient."""
    by_name = {line.symbol: line for line in worked.lines}
    gradients = [line for name, line in by_name.items() if name.startswith("dloss/dw1_")]
    gradient = max(gradients, key=lambda line: abs(line.value))
    unit = gradient.symbol.rpartition("_")[2]
    return [by_name[f"z1_{unit}"], by_name["p"], by_name["loss"], gradient]


def _local_lines(story: _Story) -> list[str]:
    """What the network is around the row, the nearest flip, and that all ways of computing it agree."""
    local, pairs = story.local, story.verified.comparisons
    equation = significant(local.intercepts[0], 3)
    for term in local.terms:
        c = term.coefficients[0]
        equation += f" {'-' if c < 0 else '+'} {significant(abs(c), 3)} {term.name}"
    said = [f"around it the network is a line, exactly: {local.output_names[0]} =", f"  {equation}"]
    if local.flip is not None and local.flip.values:
        at_row = {r.column: r.value for r in local.ranges}
        changes = (
            f"{name} {significant(at_row[name], 3)} -> {significant(new, 3)}" for name, new in local.flip.values.items()
        )
        said.append(f"nearest {local.flip.prediction}: {', '.join(changes)}")
    ways = dict.fromkeys(way for pair in pairs for way in (pair.first, pair.second))
    verdict = "agree" if story.verified.ok else "DO NOT AGREE"
    held = f"{len(ways)} ways of computing every number {verdict}: {', '.join(ways)}"
    return [*said, *textwrap.wrap(held, 74, subsequent_indent="  ")]


def _text(story: _Story, folder: Path) -> str:
    fitted, population = story.fitted, story.fitted.population
    network, starts, n_starts = fitted.model.network, fitted.starts["accuracy"], len(population)
    n_train, n_test = len(fitted.train_rows), len(fitted.test_rows)
    malignant = int(story.data.y.sum())
    scaling = ", ".join(
        f"{name} {significant(center, 3)} +- {significant(scale, 3)}" for name, center, scale in story.scaling
    )
    lines = _shown_lines(story.worked)
    quotient = lines[-1].difference_quotient
    assert quotient is not None, "row 17 of the packaged data has its diagnosis"
    scores = story.test_accuracies
    low, high = float(np.nanmin(scores)), float(np.nanmax(scores))
    ailing = population.ailing()
    since = "" if ailing["first_dead_epoch"] is None else f" (the first from epoch {ailing['first_dead_epoch']} on)"

    out = ["glassnet demo: is this tumor malignant?", ""]
    out.append(
        f"Data     {story.data.table.n_rows} rows: {malignant} malignant (1), {story.data.table.n_rows - malignant} "
        f"benign (0); {', '.join(FEATURES)}"
    )
    out.append(f"         train ({n_train}, 2) ({n_train}, 1)   test ({n_test}, 2) ({n_test}, 1)")
    out.append(f"         stratified, seed {story.seed}; scaled on train rows: {scaling}")
    out.append(f"Network  texture -+- relu -+- sigmoid -- P(malignant)        {network.n_parameters} parameters")
    out.append("         radius  -+- relu -+")

    out += [
        "",
        f"1  {'By hand: the notebook’s class, glassnet/by_hand.py, start 0':<60}{_time(story.by_hand.seconds):>9}",
    ]
    out += [f"     {line}" for line in story.hand_lines]
    out.append(
        f"     test accuracy {_share(story.by_hand.accuracy)}, cost {significant(story.hand_cost)} (sum) = "
        f"{_share(story.by_hand.log_loss)} per row"
    )

    out.append(
        f"     (the notebook's one run, from another start and split, came to {_share(NOTEBOOK_ACCURACY)}: see 3)"
    )

    out += ["", f"2  One row, every number (row {ROW}, malignant; the start kept in 3)"]
    for line in lines:
        lead = f"     {line.symbol} = "
        out.append(lead + line.formula)
        out.append(f"{'':{len(lead) - 2}}= {line.numbers} = {significant(line.value)}")
    out.append(
        f"     difference quotient {significant(quotient)}; over all train rows the {len(story.check.names)} gradients "
        f"agree to {story.check.largest_error:.0e}"
    )
    out += [f"     {line}" for line in _local_lines(story)]

    took = f"{_time(population.seconds):>9} (by hand: {_time(story.by_hand.seconds * n_starts)})"
    out += ["", f"3  {f'The same network from {n_starts:,} random starts':<60}{took}"]
    out.append(f"     test accuracy  {_share(low)} [{_bars(scores, low, high)}] {_share(high)}")
    out.append("     " + "   ".join(f"{k} {_share(starts[v])}" for k, v in _SPREAD.items()))
    out.append(
        f"     {ailing['stuck']} stuck on one class; {ailing['dead']} have a dead unit{since}; "
        f"{ailing['diverged']} diverged"
    )
    out.append(
        f"     kept: start {population.kept}, the lowest training loss; its test accuracy ranks {story.kept_rank} "
        f"of {n_starts:,}"
    )

    out += ["", f"4  {'Same rows':<27}" + "".join(f"{name:>10}" for name in _RACE_HEADER[1:])]
    out += [f"     {name:<25}" + "".join(f"{cell:>10}" for cell in cells) for name, *cells in _race_rows(story.race)]
    out += [f"     {remark}" for remark in story.remarks]

    where = {name: os.path.join(str(folder), name) for name in ("index.html", "model.safetensors", "tumors.csv")}
    out += ["", f"Open     {where['index.html']}    network, boundary, {n_starts:,} learning curves"]
    out.append(f"Next     glassnet explain {where['model.safetensors']} {where['tumors.csv']} --row {ROW}")
    out.append("         glassnet train YOUR.csv --target COLUMN")
    return "\n".join(out)


_SPREAD = {"5 %": "p5", "median": "median", "95 %": "p95"}


# --- the folder ---------------------------------------------------------------------------------------------------


def _pictures(story: _Story) -> dict[str, str]:
    """The five pictures as SVG, by the name of their file."""
    fitted, model, population = story.fitted, story.fitted.model, story.fitted.population
    train, test = fitted.train_rows, fitted.test_rows

    def probability(raw: FloatArray) -> FloatArray:
        return model.predict_proba(dict(zip(FEATURES, raw.T, strict=True)))[:, 1]

    by_hand_curve = np.append(population.losses[0, 0], np.array(story.hand.costs) / len(train))
    return {
        "network": drawing.network_svg(
            model.network, model.members[0], feature_names=FEATURES, output_names=["P(malignant)"]
        ),
        "regions": drawing.regions_svg(model.regions(), points=story.data.X[[ROW]]),
        "boundary": drawing.figure_svg(
            drawing.boundary_figure(
                probability,
                story.data.X[train],
                story.data.y[train],
                story.data.X[test],
                story.data.y[test],
                feature_names=FEATURES,
                class_names=story.data.target_names,
            )
        ),
        "learning_curves": drawing.figure_svg(
            drawing.learning_curves_figure(population.losses, population.kept, baseline={"by hand": by_hand_curve})
        ),
        "test_accuracy": drawing.figure_svg(
            drawing.distribution_figure(
                story.test_accuracies,
                label="test accuracy",
                marks={"the notebook's run": NOTEBOOK_ACCURACY, "kept start": fitted.test["accuracy"]},
            )
        ),
    }


def _page(story: _Story, pictures: dict[str, str]) -> str:
    n_starts, derived = len(story.fitted.population), derive(story.fitted.model)
    sections = [
        report.Section(
            "The network that was kept",
            [
                report.Text(
                    f"Start {story.fitted.population.kept} of {n_starts:,}: the one with the lowest training loss. "
                    "No test row had a say in it."
                ),
                report.Picture(pictures["network"], "Hue is a weight's sign, width its size.", own_colours=True),
            ],
        ),
        report.Section(
            "Where it draws the line",
            [report.Picture(pictures["boundary"], "All rows in their own units; misclassified test rows are ringed.")],
        ),
        report.Section(
            "What it is, exactly",
            [
                report.Text(
                    "In every region a relu network is a linear equation, and its boundary a straight line. Nothing "
                    "here is sampled."
                ),
                report.Picture(pictures["regions"], f"The dot is row {ROW}.", own_colours=True),
                report.Listing(story.local.text()),
            ],
        ),
        report.Section(
            f"{n_starts:,} learning curves",
            [
                report.Picture(
                    pictures["learning_curves"], "One curve per random start: the same network, the same rows."
                )
            ],
        ),
        report.Section(
            "A result is a distribution",
            [
                report.Picture(
                    pictures["test_accuracy"],
                    "Test accuracy of every start. The notebook had one start, on a split of its own.",
                ),
                report.Grid(_RACE_HEADER, _race_rows(story.race)),
                *map(report.Text, story.remarks),
            ],
        ),
        report.Section("One row, every number", [report.Text(f"{story.check}."), report.Listing(story.worked.text())]),
        report.Section("Every number, computed again", [report.Listing(story.verified.text())]),
        report.Section(
            "All equations",
            [
                report.Listing(derived.text()),
                report.Text("The same as matrices, all rows at once:"),
                report.Listing(derived.text("matrix")),
            ],
        ),
        report.Section("The data", [report.Text(TUMORS_CITATION)]),
    ]
    lead = (
        f"A 2-2-1 network on {story.data.table.n_rows} tumors, two measurements each, from {n_starts:,} random starts."
    )
    return report.page("Is this tumor malignant?", f"{lead} Every figure was computed by glassnet demo.", sections)


def _written(story: _Story, folder: Path) -> dict[str, str]:
    """Write pictures, page, equations, model and table; returns their paths by what they are."""
    pictures = _pictures(story)
    texts = {"index": ("index.html", _page(story, pictures))}
    texts |= {name: (f"{name}.svg", svg) for name, svg in pictures.items()}
    texts["equations"] = ("equations.tex", "".join(derive(story.fitted.model).latex_document()))
    files = {}
    for kind, (name, text) in texts.items():
        write_atomically(folder / name, text.encode())
        files[kind] = str(folder / name)
    save(story.fitted.model, folder / "model.safetensors")
    write_atomically(folder / "tumors.csv", Path(__file__).with_name("bdiag.csv").read_bytes())
    return {**files, "model": str(folder / "model.safetensors"), "table": str(folder / "tumors.csv")}
