"""Every equation of a network or a model: what `gn.derive` gives."""

from __future__ import annotations

from glassnet.equations import Equations, equations
from glassnet.model import Model
from glassnet.network import Network
from glassnet.optimizers import Optimizer


def derive(what: Network | Model, optimizer: Optimizer | None = None, *, l1: float = 0.0, l2: float = 0.0) -> Equations:
    """Every equation of a network or a model; with an optimiser also the update's.

    >>> from glassnet import Network
    >>> print(derive(Network((1, 1), loss="mean_squared_error")).stage("forward").text())
    forward
      z1_1 = b1_1 + w1_1_1 * x1
      o = z1_1                               identity
      p = o                                  identity
    """
    if isinstance(what, Network):
        return equations(what, optimizer, l1=l1, l2=l2)
    middle = equations(what.network, optimizer, l1=l1, l2=l2)
    return Equations((*what.encode_equations, *middle, *what.decode_equations))
