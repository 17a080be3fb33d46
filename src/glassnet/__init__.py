"""Neural networks you can see through: small dense networks for tables, every number accountable.

Everything a user meets is here, `import glassnet as gn`; a module is loaded when a name of its is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from glassnet import by_hand as by_hand
    from glassnet import datasets as datasets
    from glassnet import drawing as drawing
    from glassnet import metrics as metrics
    from glassnet import peers as peers
    from glassnet import training as training
    from glassnet.activations import ACTIVATIONS
    from glassnet.checking.check import check
    from glassnet.checks import check_gradients
    from glassnet.columns import Recipe
    from glassnet.derivations.derived import derive
    from glassnet.derivations.worked import explain
    from glassnet.encoder import Encoder
    from glassnet.errors import GlassnetError
    from glassnet.estimators.mlp import MLPClassifier, MLPRegressor
    from glassnet.estimators.tables import TableClassifier, TableRegressor
    from glassnet.importing.keras import from_keras
    from glassnet.importing.sklearn import from_sklearn
    from glassnet.importing.torch import from_torch
    from glassnet.initializers import INITIALIZERS
    from glassnet.kernels.source import kernel_source
    from glassnet.losses import LOSSES
    from glassnet.model import Model, fit, load, save
    from glassnet.network import Network, Parameters, initialize
    from glassnet.optimizers import (
        LBFGS,
        SGD,
        SGDW,
        Adam,
        AdamW,
        Constant,
        Cosine,
        Exponential,
        InverseScaling,
        OneCycle,
        RMSprop,
        WarmUp,
    )
    from glassnet.populations import train_population
    from glassnet.reading import read_table
    from glassnet.reference import Trace, backward, forward
    from glassnet.splits import split
    from glassnet.training import Run, Step, steps, train
    from glassnet.verification.verify import verify
    from glassnet.web.finished import play

_HOME = {
    "activations": ("ACTIVATIONS",),
    "checking.check": ("check",),
    "checks": ("check_gradients",),
    "columns": ("Recipe",),
    "derivations.derived": ("derive",),
    "derivations.worked": ("explain",),
    "encoder": ("Encoder",),
    "errors": ("GlassnetError",),
    "estimators.mlp": ("MLPClassifier", "MLPRegressor"),
    "estimators.tables": ("TableClassifier", "TableRegressor"),
    "importing.keras": ("from_keras",),
    "importing.sklearn": ("from_sklearn",),
    "importing.torch": ("from_torch",),
    "initializers": ("INITIALIZERS",),
    "kernels.source": ("kernel_source",),
    "losses": ("LOSSES",),
    "model": ("Model", "fit", "load", "save"),
    "network": ("Network", "Parameters", "initialize"),
    "optimizers": (
        "SGD", "SGDW", "Adam", "AdamW", "RMSprop", "LBFGS",
        "Constant", "Exponential", "InverseScaling", "Cosine", "WarmUp", "OneCycle",
    ),
    "populations": ("train_population",),
    "reading": ("read_table",),
    "reference": ("Trace", "backward", "forward"),
    "splits": ("split",),
    "training": ("Run", "Step", "steps", "train"),
    "verification.verify": ("verify",),
    "web.finished": ("play",),
}  # fmt: skip
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}
_MODULES = ("by_hand", "datasets", "drawing", "metrics", "peers", "training")

__all__ = [*_MODULE_OF, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        value = getattr(import_module(f"glassnet.{_MODULE_OF[name]}"), name)
    elif name in _MODULES:
        value = import_module(f"glassnet.{name}")
    else:
        raise AttributeError(f"module 'glassnet' has no attribute {name!r}")
    globals()[name] = value  # found at once from now on
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
