"""A torch.nn.Sequential that is a chain of dense layers as a `Model`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from glassnet.errors import MissingExtraError, UsageError
from glassnet.importing import Chain, Floats, model_of, number_columns
from glassnet.model import Model

_KINDS = (
    "torch.nn.Sequential of Linear, BatchNorm1d after eval(), ReLU, LeakyReLU(0.01), ELU, SELU, GELU, SiLU, Softplus, "
    "Softsign, Tanh, Sigmoid, Softmax(1), LogSoftmax(1), Dropout, Flatten, Identity"
)
_ACTIVATIONS = {
    "ReLU": "relu", "LeakyReLU": "leaky_relu", "ELU": "elu", "SELU": "selu", "GELU": "gelu", "SiLU": "silu",
    "Softplus": "softplus", "Softsign": "softsign", "Tanh": "tanh", "Sigmoid": "sigmoid", "Softmax": "softmax",
    "LogSoftmax": "log_softmax",
}  # fmt: skip
# The settings with which an activation is glassnet's; any other is refused.
_SETTINGS: dict[str, dict[str, tuple[Any, ...]]] = {
    "LeakyReLU": {"negative_slope": (0.01,)},
    "ELU": {"alpha": (1.0,)},
    "GELU": {"approximate": ("none",)},
    "Softplus": {"beta": (1.0,), "threshold": (20.0,)},
    "Softmax": {"dim": (1, -1)},
    "LogSoftmax": {"dim": (1, -1)},
    "Flatten": {"start_dim": (1,), "end_dim": (-1,)},
}
_IDLE = ("Identity", "Dropout", "AlphaDropout")


def from_torch(
    model: Any,
    *,
    features: Sequence[str] | None = None,
    target: str = "y",
    classes: Sequence[Any] | None = None,
    loss: str | None = None,
) -> Model:
    """The `Model` of a `torch.nn.Sequential` of dense layers; its predictions are those of `model.eval()`.

    `model`: on the CPU, of float32 or float64; a Sequential may hold others. `features` names the inputs, else x1,
    x2, ..., `target` what is predicted, `classes` what the outputs stand for, in order (of one sigmoid: the class at
    0, then the class at 1), else "0", "1", .... `loss` follows from a last Sigmoid (binary_cross_entropy) or Softmax or
    LogSoftmax (cross_entropy), and has to be said for any other last layer: as trained with `BCEWithLogitsLoss` the
    network ends in a bare logit, loss="binary_cross_entropy"; with `CrossEntropyLoss`, loss="cross_entropy".

    `BatchNorm1d` as it is after eval() is multiplied into the dense layer beside it; `model.provenance["notices"]` says
    so. torch computes in the type of its weights, glassnet in float64 from the same numbers: with float32 what
    differs is torch's rounding. (torch's Softplus is z itself above z = 20, which is 2e-9 less than ours.) The how-to
    page has an example.

    Raises `UsageError` where something cannot be imported: it names the layer and says why.
    """
    torch = sys.modules.get("torch")
    if torch is None and find_spec("torch") is None:
        raise MissingExtraError(
            "Importing a torch model needs torch; it is not installed. Install it with: pip install 'glassnet[race]'"
        )
    chain = Chain(_KINDS)
    if torch is None or not isinstance(model, torch.nn.Module):
        raise UsageError(
            f"from_torch takes a torch.nn.Sequential; got {type(model).__module__}.{type(model).__name__}. A file of "
            "weights alone says nothing of activations: build the Sequential and call its load_state_dict first."
        )
    seen: set[int] = set()
    for where, module in _modules(chain, torch, model, "model"):
        for parameter in module.parameters():
            if id(parameter) in seen:
                raise chain.refuse(where, "it shares its weights with a layer before it")
        seen.update(map(id, module.parameters()))
        _take_in(chain, torch, module, where)
    return model_of(
        chain, number_columns(chain, features), target=target, classes=classes, loss=loss,
        source=f"torch {torch.__version__}",
    )  # fmt: skip


def _modules(chain: Chain, torch: Any, model: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Every module in order, Sequentials inside Sequentials unfolded, each with its place."""
    where = f"{place}, {type(model).__name__}"
    if model._forward_hooks or model._forward_pre_hooks:
        raise chain.refuse(where, "a hook may compute anything. Remove it, with torch.nn.utils.prune.remove say")
    if type(model) is torch.nn.Sequential:
        for index, (name, module) in enumerate(model._modules.items()):
            named = "" if name == str(index) else f" {name!r}"
            yield from _modules(chain, torch, module, f"{place}[{index}]{named}")
    elif place == "model":
        raise chain.refuse(
            where, "only a Sequential says in what order its layers follow. Put the layers into a torch.nn.Sequential"
        )
    else:
        yield where, model


def _take_in(chain: Chain, torch: Any, module: Any, where: str) -> None:
    name, nn = type(module).__name__, torch.nn
    if getattr(nn, name, None) is not type(module):
        raise chain.refuse(where, "a module of one's own may compute anything in forward")
    for setting, allowed in _SETTINGS.get(name, {}).items():
        value = getattr(module, setting)
        if value not in allowed:
            raise chain.refuse(where, f"its {setting} is {value!r}; what can be imported has {allowed[0]!r}")
    if name in _IDLE or name == "Flatten":
        return
    if name in _ACTIVATIONS:
        chain.activation(where, _ACTIVATIONS[name])
    elif name == "Linear":
        weights = _numbers(chain, where, module.weight)
        chain.dense(where, np.transpose(weights), None if module.bias is None else _numbers(chain, where, module.bias))
    elif name == "BatchNorm1d":
        if module.running_mean is None:
            raise chain.refuse(where, "it has no running statistics, and predicts by those of the batch")
        if module.training:
            raise chain.refuse(where, "in training it goes by the batch that it sees. Call model.eval() first")
        mean, variance = (_numbers(chain, where, v) for v in (module.running_mean, module.running_var))
        gain = 1 / np.sqrt(variance + module.eps)
        shift = np.zeros_like(mean)
        if module.affine:
            gain, shift = gain * _numbers(chain, where, module.weight), _numbers(chain, where, module.bias)
        chain.scale(where, gain, shift - mean * gain)
    else:
        raise chain.refuse(where, "a layer of this kind is no part of a dense network, or not of glassnet's")


def _numbers(chain: Chain, where: str, tensor: Any) -> Floats:
    if tensor.device.type != "cpu":
        raise chain.refuse(where, f"its numbers lie on {tensor.device}. Bring the model to the CPU with model.cpu()")
    if str(tensor.dtype) not in ("torch.float32", "torch.float64"):
        raise chain.refuse(where, f"its numbers are {tensor.dtype}, where float32 or float64 is needed")
    return chain.numbers(where, tensor.detach().numpy())
