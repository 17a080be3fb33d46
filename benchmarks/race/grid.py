"""One grid search, in a process of its own: `python -m race.grid glassnet|scikit-learn SETTINGS`."""

from __future__ import annotations

import json
import sys
import time
import warnings
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier

import glassnet as gn
from race.contenders import with_engine


class Classifier(ClassifierMixin, BaseEstimator):
    """`gn.train` as scikit-learn calls things."""

    def __init__(self, hidden_layer_sizes: Any = (8,), batch_size: int = 64, max_iter: int = 20) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.batch_size = batch_size
        self.max_iter = max_iter

    def fit(self, X: np.ndarray, y: np.ndarray) -> Classifier:
        self.classes_, numbers = np.unique(y, return_inverse=True)
        self.network_ = gn.Network((X.shape[1], *self.hidden_layer_sizes, len(self.classes_)), loss="cross_entropy")
        targets = np.eye(len(self.classes_))[numbers]
        train = with_engine(gn.train)
        run = train(self.network_, X, targets, optimizer=gn.Adam(), epochs=self.max_iter, batch_size=self.batch_size)
        self.parameters_ = run.parameters
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        return self.classes_[gn.forward(self.network_, self.parameters_, X).logits.argmax(axis=1)]


def main(name: str, settings_text: str) -> None:
    settings = json.loads(settings_text)
    X, y = load_digits(return_X_y=True)
    common = {"batch_size": settings["batch_size"], "max_iter": settings["epochs"]}
    model = Classifier(**common) if name == "glassnet" else MLPClassifier(random_state=0, **common)
    shapes = {"hidden_layer_sizes": [tuple(shape) for shape in settings["shapes"]]}
    search = GridSearchCV(model, shapes, cv=settings["folds"], n_jobs=2, refit=False)
    warnings.simplefilter("ignore")  # that they have not converged
    begun = time.perf_counter()
    search.fit(X / 16, y)
    seconds = time.perf_counter() - begun
    print(json.dumps({"seconds": seconds, "accuracy": float(np.median(search.cv_results_["mean_test_score"]))}))


if __name__ == "__main__":
    # As a part of the race, so that the workers find the class where it is written.
    from race import grid

    grid.main(*sys.argv[1:])
