"""How much faster is `fit` than scikit-learn's, at equal settings? Whole calls of both classes, checks included.

Both get the same arrays, settings and `random_state`, so they begin at the same weights, shuffle rows in the same
orders and stop after the same epoch; the loss that each ends with is compared. Calls take turns; a ratio is the median
over the rounds of the ratio within a round, of one call of theirs and the median of three of ours, which take a moment.
A first fit of ours, which may compile, is not among them: its time stands in a column of its own. Both use one thread,
and every figure is of processor time: what else the machine does counts little.

Prints a markdown table. Ends with status 1 where a figure that is required is missed, or a loss differs.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

ARGUMENTS = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ARGUMENTS.add_argument("--rounds", type=int, default=5)
ARGUMENTS.add_argument("--jobs", default="", help="those whose name contains this")

SMALL = {"hidden_layer_sizes": (2,)}
W2 = {"hidden_layer_sizes": (16,), "batch_size": 32, "max_iter": 100}
DIGITS = {"hidden_layer_sizes": (32,), "batch_size": 32, "max_iter": 50}
EXACT, SINGLE = 1e-9, 1e-4  # how far two losses may be apart, relatively: roundings of so many epochs

# Data, settings besides the defaults, dtype, and the ratio that is required, where one is.
JOBS: dict[str, tuple[str, dict[str, Any], str, float | None]] = {
    "tumors, 30-16-1, batches of 32, 100 epochs": ("tumors 30", W2, "float64", 60),
    "the same, float32": ("tumors 30", W2, "float32", 60),
    "tumors, 2-2-1, batches of 32": ("tumors 2", SMALL | {"batch_size": 32}, "float64", 60),
    "tumors, 2-2-1, all else default": ("tumors 2", SMALL, "float64", 60),
    "tumors, 2-2-1, sgd": ("tumors 2", SMALL | {"solver": "sgd", "learning_rate_init": 0.1}, "float64", None),
    "tumors, 30-16-1, early stopping": ("tumors 30", W2 | {"early_stopping": True}, "float64", None),
    "tumors, 30-16-1, lbfgs": ("tumors 30", {"hidden_layer_sizes": (16,), "solver": "lbfgs"}, "float64", None),
    "tumors, 30-100-1, all default": ("tumors 30", {}, "float64", None),
    "digits, 64-32-10, batches of 32, 50 epochs": ("digits", DIGITS, "float64", 12),
    "the same, in float32": ("digits", DIGITS, "float32", 12),
    "digits, 64-100-10, all default": ("digits", {}, "float64", None),
    "sparse, 4000-100-1, 1 % filled, 3 epochs": ("sparse", {"max_iter": 3}, "float64", 2),
    "the same sparse rows, float32": ("sparse", {"max_iter": 3}, "float32", 2),
    "words, 50000-100-20, 1 epoch": ("words", {"max_iter": 1}, "float64", 2),
}


def rows_of(name: str) -> tuple[Any, Any]:
    import numpy as np
    from sklearn.datasets import load_breast_cancer, load_digits

    import glassnet as gn

    if name in ("sparse", "words"):
        return listed_rows(name)
    if name == "digits":
        X, y = load_digits(return_X_y=True)
        return X / 16, y
    if name == "tumors 2":
        data = gn.datasets.tumors()
        X, y = data.X, data.y.ravel().astype(int)
    else:
        X, y = load_breast_cancer(return_X_y=True)
    return (X - X.mean(axis=0)) / X.std(axis=0), np.asarray(y)


def listed_rows(name: str) -> tuple[Any, Any]:
    """Generated: 10,000 rows of 4,000 columns, any of them filled; or the words of 11,314 texts, as 20 newsgroups has.

    A text has about a hundred different words of 50,000, drawn by Zipf's law; a number is 1 + log(count), and a row has
    the length 1.
    """
    import numpy as np
    from scipy.sparse import csr_array, random_array

    rng = np.random.default_rng(0)
    if name == "sparse":
        return random_array((10_000, 4_000), density=0.01, format="csr", rng=rng), rng.integers(0, 2, 10_000)
    n, n_words = 11_314, 50_000
    lengths = np.clip(rng.lognormal(np.log(110), 0.75, n).astype(int), 1, n_words // 4)
    often = np.cumsum(1 / np.arange(1, n_words + 1))
    words = rng.permutation(n_words)[np.searchsorted(often, rng.uniform(0, often[-1], lengths.sum()))]
    counts = csr_array((np.ones(len(words)), (np.repeat(np.arange(n), lengths), words)), shape=(n, n_words))
    counts.data = 1 + np.log(counts.data)
    counts.data /= np.repeat(np.sqrt(np.add.reduceat(counts.data**2, counts.indptr[:-1])), np.diff(counts.indptr))
    return counts, rng.integers(0, 20, n)


def seconds(fit: Callable[[], Any]) -> tuple[float, Any]:
    begun = time.process_time()
    model = fit()
    return time.process_time() - begun, model


def main() -> int:
    given = ARGUMENTS.parse_args()
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # before NumPy is there
    import numpy as np
    from sklearn.neural_network import MLPClassifier

    import glassnet as gn

    warnings.simplefilter("ignore")  # both say that they have not converged
    print("| job | scikit-learn | glassnet | ratio | first fit | epochs | loss | differs by |")
    print("|---|---|---|---|---|---|---|---|")
    missed = []
    for job, (data, settings, dtype, required) in JOBS.items():
        if given.jobs not in job:
            continue
        X, y = rows_of(data)
        X = X.astype(dtype)
        ours, theirs = (
            lambda kind=kind, X=X, y=y, settings=settings: kind(random_state=0, **settings).fit(X, y)
            for kind in (gn.MLPClassifier, MLPClassifier)
        )
        first, _ = seconds(ours)
        pairs = []
        for _ in range(given.rounds):
            slow, of_theirs = seconds(theirs)
            quick, of_ours = sorted((seconds(ours) for _ in range(3)), key=lambda found: found[0])[1]
            pairs.append((slow, quick))
        slow, quick = np.median(pairs, axis=0)
        ratio = float(np.median([a / b for a, b in pairs]))
        off = abs(of_ours.loss_ - of_theirs.loss_)
        print(
            f"| {job} | {slow * 1e3:.0f} ms | {quick * 1e3:.2f} ms | {ratio:.0f} x | {first:.2f} s | "
            f"{of_ours.n_iter_} | {of_ours.loss_:.6f} | {off:.0e} |",
            flush=True,
        )
        if required and ratio < required:
            missed.append(f"{job}: {ratio:.1f} x, and {required:g} x is required")
        same = EXACT if dtype == "float64" else SINGLE
        if off > same * max(1.0, of_theirs.loss_) or of_ours.n_iter_ != of_theirs.n_iter_:
            ends = [f"{model.loss_} after {model.n_iter_} epochs" for model in (of_ours, of_theirs)]
            missed.append(f"{job}: a loss of {ends[0]}, theirs {ends[1]}")
    print("", *missed, sep="\n")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
