"""The demonstration: the notebook's whole story on the real tumor data, better at each step."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from glassnet import by_hand, drawing, report
from glassnet.checks import check_gradients
from glassnet.datasets import TUMORS_CITATION, tumors
from glassnet.derivations.worked import derive
from glassnet.errors import CannotWriteError, MissingExtraError
from glassnet.expressions import significant
from glassnet.model import Fitted, fit, plain, save
from glassnet.network import FloatArray, Parameters
from glassnet.optimizers import SGD
from glassnet.peers import PeerResult, scored
from glassnet.persistence import write_atomically

TARGET, FEATURES = "diagnosis", ("texture_mean", "radius_mean")
LEARNING_RATE, EPOCHS = 0.1, 100
NOTEBOOK_ACCURACY = 0.912  # of its one run by hand, on its own split
_BARS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Told:
    """The story: as text for a terminal, and as plain data, whose `files` lie in the output folder."""

    text: str
    result: dict[str, Any]


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

    data = tumors(FEATURES)
    begun = time.perf_counter()
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
    seconds = time.perf_counter() - begun
    model, population = fitted.model, fitted.population
    X, y = population.data.X, population.data.y
    testing = data.table.select(fitted.test_rows)
    X_test, y_test = model.encoder.encode(testing), model.encoder.encode_target(testing)

    begun = time.perf_counter()
    hand = by_hand.NeuralNetwork().fit(
        X, y, LEARNING_RATE, EPOCHS, parameters=Parameters(model.network, population.initial.vector[0]), verbose=False
    )
    hand_seconds = time.perf_counter() - begun
    hand_test_accuracy, hand_test_cost = hand.get_accuracy_cost(X_test, y_test)
    hand_p = np.array([hand.get_prob_class(float(x1), float(x2))[0] for x1, x2 in X_test])
    hand_result = scored("by hand", y_test, hand_p, hand_seconds)

    kept = scored("glassnet, kept start", y_test, model.outputs(X_test)[:, 0], seconds / starts)
    keras_results, keras_missing = _keras(data.X, data.y, fitted, seed)
    from glassnet.peers.sklearn import logistic_regression

    logistic = logistic_regression(
        data.X[fitted.train_rows], data.y[fitted.train_rows], data.X[fitted.test_rows], data.y[fitted.test_rows]
    )
    race = [hand_result, kept, *keras_results, logistic]

    row = 17
    worked = model.explain(data.table, row)
    check = check_gradients(model.network, model.members[0], X, y)
    rank = 1 + int((fitted.start_scores["accuracy"] > fitted.test["accuracy"]).sum())
    noise = 1.96 * float(np.sqrt(kept.accuracy * (1 - kept.accuracy) / len(y_test)))
    ails = {
        "stuck": int((population.stuck_since >= 0).sum()),
        "dead": int((population.dead_since >= 0).sum()),
        "diverged": int((population.diverged_at >= 0).sum()),
    }
    lines = [hand.training_line(1), hand.training_line(EPOCHS)]

    files = _write(folder, fitted, data.X, data.y, hand.costs, race, worked.text(), str(check), noise, keras_missing)
    keras_json: dict[str, Any] = {
        peer.name: {**_figures(peer), "own_accuracy": peer.own_accuracy, "note": peer.note} for peer in keras_results
    }
    if keras_missing:
        keras_json["missing"] = keras_missing
    result = {
        "data": {
            "rows": data.table.n_rows,
            "malignant": int(data.y.sum()),
            "benign": int((1 - data.y).sum()),
            "features": list(FEATURES),
            "train": len(X),
            "test": len(X_test),
            "scaling": {c.source: {"center": c.center, "scale": c.scale} for c in model.encoder.columns},
            "seed": seed,
        },
        "by_hand": {
            "seconds": hand_seconds,
            "lines": lines,
            "test_cost": hand_test_cost,
            **_figures(hand_result),
        },
        "keras": keras_json,
        "logistic_regression": _figures(logistic),
        "network": {
            **_figures(kept),
            "sizes": list(model.network.sizes),
            "n_parameters": model.network.n_parameters,
            "row": worked.to_json(),
            "gradient_error": check.largest_error,
            "seconds": kept.seconds,
        },
        "starts": {
            "size": starts,
            "seconds": seconds,
            "kept": population.kept,
            "kept_test_rank": rank,
            **ails,
            **fitted.starts,
        },
        "files": files,
    }
    text = _text(result, fitted, race, worked, check, lines, noise, keras_missing, folder, hand_test_accuracy)
    return Told(text, plain(result))


def _keras(X: FloatArray, y: FloatArray, fitted: Fitted, seed: int) -> tuple[list[PeerResult], str]:
    """Keras's two results, or none and the sentence that says how to have them."""
    from glassnet.peers import keras

    train, test = fitted.train_rows, fitted.test_rows
    parts = (X[train], y[train], X[test], y[test])
    try:
        return [
            keras.as_in_the_notebook(*parts, random_state=seed),
            keras.to_convergence(*parts, random_state=seed),
        ], ""
    except MissingExtraError as problem:
        return [], str(problem)


def _figures(peer: PeerResult) -> dict[str, float]:
    return {
        "accuracy": peer.accuracy,
        "f1": peer.f1,
        "auc": peer.auc,
        "log_loss": peer.log_loss,
        "seconds": peer.seconds,
    }


# --- the terminal -------------------------------------------------------------------------------------------------


def _bars(values: FloatArray, low: float, high: float, bins: int = 24) -> str:
    """A histogram in one line of text; a bin with anything in it is never blank."""
    counts, _ = np.histogram(values[np.isfinite(values)], bins=bins, range=(low, high))
    top = max(int(counts.max()), 1)
    return "".join(_BARS[0 if not n else max(1, round(8 * n / top))] for n in counts.tolist())


def _short(value: float) -> str:
    """A share with three digits and no leading zero, as tables of results have it."""
    return "undef" if value != value else f"{value:.3f}".removeprefix("0")


def _time(seconds: float) -> str:
    if seconds < 0.0995:
        return f"{seconds * 1000:.2g} ms"
    return f"{seconds:.2f} s" if seconds < 9.95 else f"{seconds:.0f} s"


def _race_rows(race: list[PeerResult]) -> list[list[str]]:
    return [[p.name, *map(_short, (p.accuracy, p.f1, p.auc, p.log_loss)), _time(p.seconds)] for p in race]


def _noise_sentence(n: int, noise: float) -> str:
    return f"On {n} rows, differences in accuracy under {_short(noise)} are noise."


def _text(
    result: dict[str, Any],
    fitted: Fitted,
    race: list[PeerResult],
    worked: Any,
    check: Any,
    lines: list[str],
    noise: float,
    keras_missing: str,
    folder: Path,
    hand_accuracy: float,
) -> str:
    data, starts = result["data"], result["starts"]
    scaling = ", ".join(
        f"{name} {significant(s['center'], 3)} +- {significant(s['scale'], 3)}" for name, s in data["scaling"].items()
    )
    shown = {line.symbol: line for line in worked.lines}
    every = []
    for name in ("z1_1", "p", "loss", "dloss/dw1_1_1"):
        line = shown[name]
        every.append(f"     {name} = {line.formula}")
        every.append(f"       = {line.numbers} = {significant(line.value)}")
    quotient = shown["dloss/dw1_1_1"].difference_quotient
    scores = fitted.start_scores["accuracy"]
    low, high = float(np.nanmin(scores)), float(np.nanmax(scores))
    spread = starts["accuracy"]
    since = fitted.population.dead_since[fitted.population.dead_since >= 0]
    first_dead = f" (the first at epoch {int(since.min())})" if len(since) else ""
    out = [
        "glassnet demo: is this tumor malignant?",
        "",
        (
            f"Data     {data['rows']} rows: {data['malignant']} malignant (1), {data['benign']} benign (0); "
            f"{', '.join(data['features'])}"
        ),
        (
            f"         train ({data['train']}, 2) ({data['train']}, 1)   test ({data['test']}, 2) ({data['test']}, 1)   "
            f"stratified, seed {data['seed']}"
        ),
        f"         scaled on train rows: {scaling}",
        "Network  texture -+- relu -+- sigmoid -- P(malignant)        9 parameters",
        "         radius  -+- relu -+",
        "",
        f"1  By hand: the notebook's class, glassnet/by_hand.py{_time(result['by_hand']['seconds']):>12}",
        *(f"     {line}" for line in lines),
        (
            f"     test accuracy {_short(hand_accuracy)}, cost {significant(result['by_hand']['test_cost'])} (sum) = "
            f"{_short(result['by_hand']['log_loss'])} per row"
        ),
        "",
        f"2  One row, every number ({worked.title[0].lower() + worked.title[1:]}; the kept start of 3)",
        *every,
        (
            f"     difference quotient {significant(quotient or 0.0)}; all {len(check.names)} gradients over the train rows "
            f"agree to {check.largest_error:.0e}"
        ),
        "",
        (
            f"3  The same network from {starts['size']:,} random starts{_time(starts['seconds']):>14} "
            f"(by hand: {result['by_hand']['seconds'] * starts['size'] / 60:.1f} min)"
        ),
        (
            f"     test accuracy  {_short(low)} [{_bars(scores, low, high)}] {_short(high)}    5 % {_short(spread['p5'])}   "
            f"median {_short(spread['median'])}   95 % {_short(spread['p95'])}"
        ),
        (
            f"     {starts['stuck']} stuck on one class; {starts['dead']} have a dead unit{first_dead}; "
            f"{starts['diverged']} diverged"
        ),
        (
            f"     kept: start {starts['kept']}, the lowest training loss; its test accuracy ranks {starts['kept_test_rank']} "
            f"of {starts['size']:,}"
        ),
        "",
        f"4  {'Same rows':<28}{'accuracy':>9}{'F1':>7}{'AUC':>7}{'log-loss':>10}{'time':>9}",
    ]
    for name, accuracy, f1, auc, log_loss, seconds in _race_rows(race):
        out.append(f"     {name:<26}{accuracy:>9}{f1:>7}{auc:>7}{log_loss:>10}{seconds:>9}")
    out.append(f"     {_noise_sentence(data['test'], noise)}")
    out += [f"     {peer.note}" for peer in race if peer.note][:1]
    if keras_missing:
        out.append(f"     {keras_missing}")
    where = os.path.join(str(folder), "index.html")
    model = os.path.join(str(folder), "model.safetensors")
    table = os.path.join(str(folder), "tumors.csv")
    out += [
        "",
        f"Open     {where}    network, boundary, {starts['size']:,} learning curves",
        f"Next     glassnet explain {model} {table} --row 17",
        "         glassnet train YOUR.csv --target COLUMN",
    ]
    return "\n".join(out)


# --- the folder ---------------------------------------------------------------------------------------------------


def _write(
    folder: Path,
    fitted: Fitted,
    X: FloatArray,
    y: FloatArray,
    hand_costs: list[float],
    race: list[PeerResult],
    worked: str,
    check: str,
    noise: float,
    keras_missing: str,
) -> dict[str, str]:
    """Pictures, page, model and table; returns their paths by what they are."""
    model, population = fitted.model, fitted.population
    names = [c.source for c in model.encoder.columns]
    n = len(population.data.X)

    def probability(raw: FloatArray) -> FloatArray:
        table = dict(zip(names, raw.T, strict=True))
        return model.predict_proba(table)[:, 1]

    train, test = fitted.train_rows, fitted.test_rows
    network = drawing.network_svg(model.network, model.members[0], feature_names=names, output_names=["P(malignant)"])
    boundary = drawing.figure_svg(
        drawing.boundary_figure(
            probability, X[train], y[train], X[test], y[test],
            feature_names=names, class_names=("benign", "malignant"),
        )
    )  # fmt: skip
    curves = drawing.figure_svg(
        drawing.learning_curves_figure(
            population.losses, population.kept,
            baseline={"by hand": np.concatenate([population.losses[0, :1], np.array(hand_costs) / n])},
        )
    )  # fmt: skip
    accuracy = drawing.figure_svg(
        drawing.distribution_figure(
            fitted.start_scores["accuracy"],
            label="test accuracy",
            marks={"the notebook's run": NOTEBOOK_ACCURACY, "kept start": fitted.test["accuracy"]},
        )
    )
    equations = derive(model)
    header = ("", "accuracy", "F1", "AUC", "log-loss", "time")
    text = report.page(
        "Is this tumor malignant?",
        f"A 2-2-1 network on {len(X)} tumors, two measurements each, from {len(population):,} random starts. "
        "Everything on this page was computed by glassnet demo.",
        [
            report.Section(
                "The network that was kept",
                [
                    report.Text(
                        f"Start {population.kept} of {len(population):,}: the one with the lowest training loss. No test "
                        "row had a say in it."
                    ),
                    report.Picture(network, "Hue is a weight's sign, width its size.", own_colours=True),
                ],
            ),
            report.Section(
                "Where it draws the line",
                [
                    report.Picture(
                        boundary, "Train and test rows in their own units; misclassified test rows are ringed."
                    )
                ],
            ),
            report.Section(
                f"{len(population):,} learning curves",
                [report.Picture(curves, "One curve per random start: the same network, the same rows.")],
            ),
            report.Section(
                "A result is a distribution",
                [
                    report.Picture(
                        accuracy, "Test accuracy of every start. The notebook had one start, on its own split."
                    ),
                    report.Grid(header, _race_rows(race)),
                    report.Text(_noise_sentence(len(test), noise) + (f" {keras_missing}" if keras_missing else "")),
                    *(report.Text(peer.note) for peer in [p for p in race if p.note][:1]),
                ],
            ),
            report.Section("One row, every number", [report.Text(check + "."), report.Listing(worked)]),
            report.Section(
                "All equations",
                [
                    report.Listing(equations.text()),
                    report.Text("The same as matrices:"),
                    report.Listing(equations.text("matrix")),
                ],
            ),
            report.Section("The data", [report.Text(TUMORS_CITATION)]),
        ],
    )
    written = {
        "index": ("index.html", text),
        "network": ("network.svg", network),
        "boundary": ("boundary.svg", boundary),
        "learning_curves": ("learning_curves.svg", curves),
        "test_accuracy": ("test_accuracy.svg", accuracy),
        "equations": ("equations.tex", equations.latex() + "\n"),
    }
    files = {}
    for kind, (name, content) in written.items():
        write_atomically(folder / name, content.encode())
        files[kind] = str(folder / name)
    save(model, folder / "model.safetensors")
    files["model"] = str(folder / "model.safetensors")
    write_atomically(folder / "tumors.csv", (Path(__file__).parent / "bdiag.csv").read_bytes())
    files["table"] = str(folder / "tumors.csv")
    return files
