"""Is the notebook's 2-2-1 network worth its hidden layer? 10 x 10 cross-validation against logistic regression.

Scaling is learned inside the folds, and the same folds serve both models. The figures of two folds are not
independent, for they share training rows: the standard error is Nadeau and Bengio's corrected one ("Inference for
the generalization error", Machine Learning 52, 2003), sqrt((1/J + n_test / n_train) s^2) over J folds. Ends with
status 1 if the network misses what cross_validation.toml requires.
"""

from __future__ import annotations

import sys
import time
import tomllib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import RepeatedStratifiedKFold

import glassnet as gn
from glassnet import datasets, metrics

METRICS = ("accuracy", "auc", "log_loss")
Floats = NDArray[np.float64]


def scores(y: Floats, probabilities: Floats) -> list[float]:
    truth = y.astype(int)
    predicted = (probabilities > 0.5).astype(int)
    return [
        metrics.accuracy(truth, predicted),
        metrics.auc(truth, probabilities),
        metrics.log_loss(truth, probabilities),
    ]


def by_network(settings: dict, X: Floats, y: Floats, X_test: Floats, fold: int) -> Floats:
    network = gn.Network((X.shape[1], settings["hidden"], 1), settings["activation"], "binary_cross_entropy")
    many = gn.train_population(
        network,
        X,
        y,
        size=settings["starts"],
        optimizer=gn.LBFGS(),
        epochs=settings["iterations"],
        initializer=settings["initializer"],
        l2=settings["l2"],
        random_state=fold,
    )
    return gn.forward(network, many.start(many.kept), X_test).probabilities[:, 0]


def by_logistic_regression(settings: dict, X: Floats, y: Floats, X_test: Floats, fold: int) -> Floats:
    return LogisticRegression(C=settings["C"]).fit(X, y).predict_proba(X_test)[:, 1]


MODELS = {"network": by_network, "logistic_regression": by_logistic_regression}


def cross_validated(settings: dict) -> tuple[dict[str, Floats], dict[str, float], float]:
    """Scores (folds, metrics) and seconds of every model, and the test rows' number over the training rows'."""
    data = datasets.tumors(settings["data"]["columns"])
    X, y = data.X, data.y[:, 0]
    plan = settings["cross_validation"]
    folds = RepeatedStratifiedKFold(n_splits=plan["folds"], n_repeats=plan["repetitions"], random_state=plan["seed"])
    found: dict[str, list[list[float]]] = {name: [] for name in MODELS}
    seconds = dict.fromkeys(MODELS, 0.0)
    for fold, (train, test) in enumerate(folds.split(X, y)):
        center, scale = X[train].mean(axis=0), X[train].std(axis=0)
        inside, outside = (X[train] - center) / scale, (X[test] - center) / scale
        for name, model in MODELS.items():
            begun = time.perf_counter()
            probabilities = model(settings[name], inside, y[train], outside, fold)
            seconds[name] += time.perf_counter() - begun
            found[name].append(scores(y[test], probabilities))
    return {name: np.array(rows) for name, rows in found.items()}, seconds, 1 / (plan["folds"] - 1)


def corrected_standard_error(values: Floats, test_over_train: float) -> Floats:
    """Of the mean over the folds, axis 0."""
    return np.sqrt((1 / len(values) + test_over_train) * values.var(axis=0, ddof=1))


def main() -> int:
    settings = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    found, seconds, test_over_train = cross_validated(settings)
    print(f"{len(found['network'])} folds; mean (corrected standard error)")
    rows = found | {"network minus the other": found["network"] - found["logistic_regression"]}
    for name, values in rows.items():
        errors = corrected_standard_error(values, test_over_train)
        cells = [
            f"{metric} {mean:.4f} ({error:.4f})"
            for metric, mean, error in zip(METRICS, values.mean(axis=0), errors, strict=True)
        ]
        took = f"   {seconds[name]:.1f} s" if name in seconds else ""
        print(f"{name.replace('_', ' '):24}", "   ".join(cells), took, sep="")
    _, auc, log_loss = found["network"].mean(axis=0)
    required = settings["required"]
    met = auc >= required["auc"] and log_loss <= required["log_loss"]
    print(
        f"required of the network: auc at least {required['auc']}, log_loss at most {required['log_loss']}: "
        f"{'met' if met else 'NOT met'}"
    )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
