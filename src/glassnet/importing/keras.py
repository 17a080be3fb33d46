"""A Keras 3 model that is a chain of dense layers, on any backend, as a `Model`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from math import prod
from typing import Any

import numpy as np

from glassnet.errors import MissingExtraError, UsageError
from glassnet.importing import Chain, Floats, model_of, number_columns
from glassnet.model import Model

_KINDS = (
    "keras.Sequential, or a functional model that is one chain, of InputLayer, Normalization, Rescaling, Flatten, "
    "Dense, Activation, ReLU, LeakyReLU(0.01), ELU, Softmax, BatchNormalization, Dropout and other noise"
)
_ACTIVATIONS = ("relu", "elu", "selu", "gelu", "silu", "softplus", "softsign", "tanh", "sigmoid")
_AT_THE_END = ("softmax", "log_softmax", "exponential")
_ON_FLAT_ROWS = ("Dense", "BatchNormalization", "Activation", "ReLU", "LeakyReLU", "ELU", "Softmax")
# What does nothing but in training.
_IDLE = ("Dropout", "AlphaDropout", "GaussianDropout", "GaussianNoise", "ActivityRegularization")


def from_keras(
    model: Any,
    *,
    features: Sequence[str] | None = None,
    target: str = "y",
    classes: Sequence[Any] | None = None,
    loss: str | None = None,
) -> Model:
    """The `Model` of a Keras model that is a chain of dense layers; its predictions are the same.

    `model`: a built `keras.Sequential`, or a functional model without branches; either may hold others. `features`
    names the inputs, else x1, x2, ..., `target` what is predicted, `classes` what the outputs stand for, in order (of
    one sigmoid: the class at 0, then the class at 1), else "0", "1", .... `loss` follows from a last sigmoid
    (binary_cross_entropy), softmax (cross_entropy) or exponential (poisson), and has to be said for any other end.

    `Normalization` and `Rescaling` in front become the columns' encoding. Any other scaling, and `BatchNormalization`
    as it is at prediction, is multiplied into the dense layer beside it, which `model.provenance["notices"]` says.
    Keras computes in float32, glassnet in float64 from the same numbers: what differs is Keras's rounding. The how-to
    page has an example.

    Raises `UsageError` where something cannot be imported: it names the layer and says why.
    """
    keras = _keras(model)
    chain, seen = Chain(_KINDS), set[int]()
    layers = list(_layers(chain, keras, model, "model"))
    shape = _input_shape(chain, model)
    for where, layer in layers:
        if id(layer) in seen:
            raise chain.refuse(where, "it is used twice, and a network's layers have weights of their own")
        seen.add(id(layer))
        shape = _take_in(chain, keras, layer, where, shape)
    return model_of(
        chain, number_columns(chain, features), target=target, classes=classes, loss=loss,
        source=f"Keras {keras.__version__}, {model.name}",
    )  # fmt: skip


def _keras(model: Any) -> Any:
    """Keras, which is there already if `model` is Keras's."""
    keras = sys.modules.get("keras")
    if keras is None and find_spec("keras") is None:
        raise MissingExtraError(
            "Importing a Keras model needs keras; it is not installed. Install it with: pip install 'glassnet[peers]'"
        )
    if keras is None or not isinstance(model, keras.Model):
        raise UsageError(
            f"from_keras takes a keras.Model of Keras 3; got {type(model).__module__}.{type(model).__name__}. "
            "A file is read by keras.saving.load_model first."
        )
    return keras


def _input_shape(chain: Chain, model: Any) -> tuple[int, ...]:
    """The shape of one row."""
    if not model.built:
        raise UsageError(
            f"What is imported has weights; {model.name} is not built. Begin it with keras.Input((n_features,)), or "
            "call it on a row."
        )
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or any(not isinstance(n, int) for n in shape[1:]):
        raise chain.refuse("model", f"its inputs are {shape}, where one row of a known size is needed")
    return tuple(shape[1:])


def _layers(chain: Chain, keras: Any, model: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Every layer in order, models inside models unfolded, each with its place."""
    functional = type(model).__name__ == "Functional" and type(model).__module__.startswith("keras.")
    if type(model) is not keras.Sequential and not functional:
        raise chain.refuse(
            f"{place}, {type(model).__name__}",
            "a class of one's own may compute anything in its call. Put its layers into a keras.Sequential",
        )
    if functional:
        _require_chain(chain, model, place)
    for index, layer in enumerate(model.layers):
        where = f"{place}.layers[{index}]"
        if isinstance(layer, keras.Model):
            yield from _layers(chain, keras, layer, where)
        else:
            yield f"{where}, {type(layer).__name__} {layer.name!r}", layer


def _require_chain(chain: Chain, model: Any, place: str) -> None:
    """Refuse a functional model in which a layer takes other than the output of the layer before, once and alone."""
    before, names = "", {layer.name for layer in model.layers}
    for index, layer in enumerate(model.get_config()["layers"]):
        where = f"{place}.layers[{index}], {layer['class_name']} {layer['name']!r}"
        calls = layer["inbound_nodes"]
        if layer["name"] not in names:
            raise chain.refuse(where, "it is an operation on what a layer gives, and no layer")
        if len(calls) > 1:
            raise chain.refuse(
                where, f"it is used {len(calls)} times, and a network's layers have weights of their own"
            )
        if not calls and before:
            raise chain.refuse(where, "it is a second input")
        sources = list(_sources(calls))
        if calls and sources != [before]:
            raise chain.refuse(where, f"it takes {' and '.join(sources)}, where a chain has {before} alone")
        said = {name: value for name, value in calls[0]["kwargs"].items() if value} if calls else {}
        if said:
            raise chain.refuse(where, f"it is called with {', '.join(said)}")
        before = layer["name"]
    if len(model.outputs) != 1:
        raise chain.refuse(place, f"it has {len(model.outputs)} outputs that are layers of their own")


def _sources(value: Any) -> Iterator[str]:
    """The layers whose outputs stand anywhere in the record of a call."""
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            yield value["config"]["keras_history"][0]
        else:
            yield from _sources(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _sources(item)


def _take_in(chain: Chain, keras: Any, layer: Any, where: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Let the chain take in one layer that gets rows of this shape; the shape of what it gives."""
    kinds, kind = keras.layers, type(layer)
    if kind in [getattr(kinds, name) for name in ("InputLayer", *_IDLE)]:
        return shape
    if layer.compute_dtype not in ("float32", "float64"):
        raise chain.refuse(where, f"it computes in {layer.compute_dtype}, where float32 or float64 is needed")
    if kind is kinds.Flatten:
        if len(shape) > 1 and layer.data_format == "channels_first":
            raise chain.refuse(where, "it brings channels_first data into another order")
        return (prod(shape),)
    if kind is kinds.Normalization:
        center, spread = _numbers(keras, chain, where, layer.mean), _numbers(keras, chain, where, layer.variance)
        scale = np.maximum(np.sqrt(spread), keras.config.epsilon())
        if layer.invert:
            chain.scale(where, _flat(scale, shape), _flat(center, shape))
        else:
            chain.normalise(where, _flat(center, shape), _flat(scale, shape))
        return shape
    if kind is kinds.Rescaling:
        factor, offset = np.asarray(layer.scale, np.float64), np.asarray(layer.offset, np.float64)
        if not (np.isfinite(factor).all() and np.isfinite(offset).all() and factor.all()):
            raise chain.refuse(where, f"it scales by {layer.scale} and adds {layer.offset}")
        with np.errstate(divide="ignore"):
            whole = np.rint(1 / factor)
            scale = np.where(1 / whole == factor, whole, 1 / factor)  # of 1/255, 255 exactly
        chain.normalise(where, _flat(0 - offset * scale, shape), _flat(scale, shape))
        return shape
    if kind not in [getattr(kinds, name) for name in _ON_FLAT_ROWS]:
        raise chain.refuse(where, "a layer of this kind is no part of a dense network, or not of glassnet's")
    if len(shape) != 1:
        raise chain.refuse(where, f"a row is of shape {shape} there, where a Flatten before it is needed")
    if kind is kinds.Dense:
        if layer.quantization_mode:
            raise chain.refuse(where, f"its weights are quantized, {layer.quantization_mode}")
        biases = _numbers(keras, chain, where, layer.bias) if layer.use_bias else None
        chain.dense(where, _numbers(keras, chain, where, layer.kernel), biases)
        chain.activation(where, _activation(keras, chain, where, layer.activation))
        return (layer.units,)
    if kind is kinds.BatchNormalization:
        mean, variance = (_numbers(keras, chain, where, v) for v in (layer.moving_mean, layer.moving_variance))
        gain = _numbers(keras, chain, where, layer.gamma) if layer.scale else np.ones(shape)
        shift = _numbers(keras, chain, where, layer.beta) if layer.center else np.zeros(shape)
        gain = gain / np.sqrt(variance + layer.epsilon)
        chain.scale(where, gain, shift - mean * gain)
    elif kind is kinds.Activation:
        chain.activation(where, _activation(keras, chain, where, layer.activation))
    elif kind is kinds.ReLU:
        if layer.max_value is not None or layer.threshold:
            raise chain.refuse(where, f"it has max_value={layer.max_value} and threshold={layer.threshold}")
        chain.activation(where, _leaky(chain, where, layer.negative_slope))
    elif kind is kinds.LeakyReLU:
        chain.activation(where, _leaky(chain, where, layer.negative_slope))
    elif kind is kinds.ELU:
        if layer.alpha != 1:
            raise chain.refuse(where, f"its alpha is {layer.alpha}, and glassnet's elu has 1")
        chain.activation(where, "elu")
    else:
        if layer.axis not in (-1, 1):
            raise chain.refuse(where, f"its axis is {layer.axis}, not the last")
        chain.activation(where, "softmax")
    return shape


def _numbers(keras: Any, chain: Chain, where: str, values: Any) -> Floats:
    tensor = getattr(values, "value", values)  # of a Keras variable; what is scaled by a constant has a tensor already
    return chain.numbers(where, np.asarray(keras.ops.convert_to_numpy(tensor)))


def _flat(values: Floats, shape: tuple[int, ...]) -> Floats:
    """Values that broadcast against rows of this shape, one per input in the order of a Flatten."""
    flat: Floats = np.broadcast_to(values, (1, *shape)).ravel()
    return flat


def _activation(keras: Any, chain: Chain, where: str, function: Any) -> str:
    """Our name of an activation of Keras's."""
    if isinstance(function, partial) and function.func is keras.activations.leaky_relu and not function.args:
        return _leaky(chain, where, function.keywords.get("negative_slope", 0.2))
    if function is keras.activations.leaky_relu:
        return _leaky(chain, where, 0.2)
    known = {getattr(keras.activations, name): name for name in (*_ACTIVATIONS, *_AT_THE_END)}
    known[keras.activations.linear] = "identity"
    if function not in known:
        name = getattr(function, "__name__", type(function).__name__)
        raise chain.refuse(where, f"its activation is {name}, and glassnet's are {', '.join(sorted(known.values()))}")
    return known[function]


def _leaky(chain: Chain, where: str, slope: float) -> str:
    if slope not in (0, 0.01):
        raise chain.refuse(where, f"its slope below 0 is {slope}, and glassnet's leaky_relu has 0.01")
    return "leaky_relu" if slope else "relu"
