"""Other libraries on the same rows: what they say, held beside what glassnet says. None of them is ever needed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from glassnet import metrics
from glassnet.network import FloatArray, Parameters


@dataclass(frozen=True)
class PeerResult:
    """What a peer's classifier of two classes is worth on rows that it was not trained on.

    `accuracy` and `f1` are taken at p > 0.5, `auc` and `log_loss` from p. `own_accuracy` is what the peer itself
    reports as accuracy on the same rows, and `note` says how that differs. `seconds`: building and training, without
    importing the peer or predicting.
    """

    name: str
    accuracy: float
    f1: float
    auc: float
    log_loss: float
    seconds: float
    own_accuracy: float | None = None
    note: str = ""


@dataclass(frozen=True)
class PeerRun:
    """A peer's training that began where ours does.

    `losses` (epochs + 1,) over all rows, [0] before any update, as `History.loss`; `parameters`: those at the end.
    """

    losses: FloatArray
    parameters: Parameters


def scored(
    name: str,
    y: ArrayLike,
    probabilities: ArrayLike,
    seconds: float,
    own_accuracy: float | None = None,
    note: str = "",
) -> PeerResult:
    """The result of a peer that gave `probabilities` (n,) or (n, 1) of class 1 for targets `y` of the same size.

    >>> scored("a coin", [0, 1], [0.5, 0.5], seconds=0.0).accuracy
    0.5
    """
    truth, p = np.ravel(y).astype(np.intp), np.ravel(probabilities)
    predicted = (p > 0.5).astype(np.intp)
    return PeerResult(
        name,
        accuracy=metrics.accuracy(truth, predicted),
        f1=metrics.f1(truth, predicted),
        auc=metrics.auc(truth, p),
        log_loss=metrics.log_loss(truth, p),
        seconds=seconds,
        own_accuracy=own_accuracy,
        note=note,
    )
