"""Models that other libraries trained, made ours: a peer's chain of layers becomes a `Model` with the same predictions.

`importing.sklearn`, `importing.keras` and `importing.torch` read what the peer has into a `Chain`, and refuse what is
not a dense network of our activations; this file makes the `Model` of it. No peer is imported that is not there
already, and nothing of a peer is kept: what comes out is arrays, names and equations.

A scaling between two layers has no equation of its own here. (a - center) / scale in front of a dense layer, and
m * z + k behind one, are again dense layers, so they are multiplied into its weights, in 64 bits.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glassnet.activations import ACTIVATIONS
from glassnet.cells import MISSING_WORDS, listed, shown
from glassnet.columns import AnyColumn, NumberColumn
from glassnet.encoding import Encoding, Target
from glassnet.errors import UsageError
from glassnet.losses import LINKS, loss_row
from glassnet.model import Model
from glassnet.network import Network, Parameters
from glassnet.tables import as_table, check_names

Floats = NDArray[np.float64]

# What a peer may put behind its last dense layer: the loss that brings it, and that loss's link.
_LAST = {
    "sigmoid": ("binary_cross_entropy", "sigmoid"),
    "softmax": ("cross_entropy", "softmax"),
    "log_softmax": ("cross_entropy", "softmax"),
    "exponential": ("poisson", "exp"),
}


@dataclass
class _Dense:
    weights: Floats  # (n_in, n_out)
    biases: Floats  # (n_out,)
    where: str
    activation: str = ""  # none yet


@dataclass
class Chain:
    """A peer's layers, taken in one by one from the inputs on; `where` names a layer in messages and `notices`.

    `kinds` is what the peer's refusals list as importable.

    >>> chain = Chain("Dense layers")
    >>> chain.scale("model[0]", [2.0], [0.5])
    >>> chain.dense("model[1]", [[3.0]], [1.0])
    >>> chain.layers[0].weights.tolist(), chain.layers[0].biases.tolist(), chain.notices
    ([[6.0]], [2.5], ['model[0] is multiplied into model[1]'])
    """

    kinds: str
    layers: list[_Dense] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    inputs: tuple[Floats, Floats] | None = None  # center and scale of every input
    _waiting: tuple[str, Floats, Floats] | None = None  # m and k of a scaling that the next dense layer takes in

    def refuse(self, where: str, why: str) -> UsageError:
        """The error for a layer that cannot be imported."""
        return UsageError(
            f"An imported model is a chain of dense layers, glassnet's activations and scalings; {where}: {why}. "
            f"What can be imported: {self.kinds}."
        )

    def numbers(self, where: str, values: ArrayLike) -> Floats:
        """A layer's numbers in 64 bits; refused where they are no float32 or float64, or not finite."""
        array = np.asarray(values)
        if array.dtype not in (np.float32, np.float64):
            raise self.refuse(where, f"its numbers are {array.dtype}, where float32 or float64 is needed")
        if not np.isfinite(array).all():
            at = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
            raise self.refuse(where, f"its numbers are not all finite; the one at {list(at)} is {array[at]}")
        return array.astype(np.float64)

    def dense(self, where: str, weights: ArrayLike, biases: ArrayLike | None) -> None:
        """Take in z = b + x W: weights (n_in, n_out), biases (n_out,) or None."""
        W = self.numbers(where, weights)
        b = np.zeros(W.shape[1]) if biases is None else self.numbers(where, biases)
        if self._waiting:
            scaling, m, k = self._waiting
            if len(m) != len(W):
                raise self.refuse(where, f"it takes {len(W)} inputs, and {scaling} gives {len(m)}")
            b, W = b + k @ W, m[:, np.newaxis] * W
            self.notices.append(f"{scaling} is multiplied into {where}")
            self._waiting = None
        if self.layers:
            self.layers[-1].activation = self.layers[-1].activation or "identity"
            n_out = len(self.layers[-1].biases)
            if n_out != len(W):
                raise self.refuse(where, f"it takes {len(W)} inputs, and the layer before it gives {n_out}")
        self.layers.append(_Dense(W, b, where))

    def scale(self, where: str, multiplier: ArrayLike, constant: ArrayLike) -> None:
        """Take in a -> multiplier * a + constant, both (n,)."""
        m, k = self.numbers(where, multiplier), self.numbers(where, constant)
        given = len(self._waiting[1]) if self._waiting else len(self.layers[-1].biases) if self.layers else len(m)
        if len(m) != given:
            raise self.refuse(where, f"it takes {len(m)} inputs, and the layer before it gives {given}")
        if self._waiting:
            before, m_before, k_before = self._waiting
            self._waiting = f"{before} and {where}", m * m_before, m * k_before + k
        elif self.layers and not self.layers[-1].activation:
            layer = self.layers[-1]
            layer.weights, layer.biases = layer.weights * m, layer.biases * m + k
            self.notices.append(f"{where} is multiplied into {layer.where}")
        else:
            self._waiting = where, m, k

    def normalise(self, where: str, center: ArrayLike, scale: ArrayLike) -> None:
        """Take in a -> (a - center) / scale, both (n,): of the inputs it is how their columns are encoded."""
        c, s = self.numbers(where, center), self.numbers(where, scale)
        if self.layers or self._waiting or (s < 0).any():
            self.scale(where, 1 / s, -c / s)
        elif self.inputs is None:
            self.inputs = c, s
        else:
            c_before, s_before = self.inputs
            self.inputs = c_before + s_before * c, s_before * s

    def activation(self, where: str, name: str) -> None:
        """Take in an activation by our name of it, or softmax, log_softmax, exponential, which only the last may be."""
        if name == "identity":
            return
        if not self.layers or self._waiting:
            raise self.refuse(where, f"{name} stands behind no dense layer")
        if self.layers[-1].activation:
            raise self.refuse(where, f"{name} stands behind another activation, {self.layers[-1].activation}")
        self.layers[-1].activation = name

    def finished(self, loss: str | None) -> tuple[Network, Parameters]:
        """The network, with the loss that follows from its last activation or is asked for, and its parameters."""
        if not self.layers:
            raise UsageError(f"A network has a dense layer; there is none here. What can be imported: {self.kinds}.")
        if self._waiting:
            raise self.refuse(self._waiting[0], "a scaling stands behind the last activation")
        for layer in self.layers[:-1]:
            if layer.activation not in ACTIVATIONS:
                raise self.refuse(layer.where, f"{layer.activation} can only be the last layer's")
        last = self.layers[-1]
        output, loss = _output_and_loss(last.activation or "identity", loss, last.where)
        n_outputs, link = len(last.biases), loss_row(loss).link
        if link == "softmax" and n_outputs == 1:
            raise self.refuse(last.where, "softmax over one output is always 1")
        if link != "softmax" and n_outputs > 1:
            what = "several labels at once" if link == "sigmoid" else "several targets"
            raise self.refuse(
                last.where,
                f"it has {n_outputs} outputs, which with {loss} is {what}, and a model predicts one column. gn.Network "
                "and gn.Parameters.from_layers take such weights, and gn.forward computes their outputs",
            )
        sizes = (len(self.layers[0].weights), *(len(layer.biases) for layer in self.layers))
        network = Network(sizes, (*(layer.activation for layer in self.layers[:-1]), output), loss)
        parameters = Parameters.from_layers(
            network, [layer.weights for layer in self.layers], [layer.biases for layer in self.layers]
        )
        if not np.isfinite(parameters.vector).all():
            raise UsageError(
                "Parameters are finite in 64 bits; with the scalings multiplied into them, these are not. "
                "Train on columns of a smaller range."
            )
        return network, parameters


def _output_and_loss(last: str, loss: str | None, where: str) -> tuple[str, str]:
    """The output layer's activation and the loss, for what stands behind the last dense layer."""
    if loss is None:
        if last not in _LAST:
            end = "with no activation" if last == "identity" else f"with {last}"
            raise UsageError(
                f"The loss follows from a last sigmoid, softmax or exponential; this network ends {end}, {where}, "
                "which may be a number or a logit. Say which: loss='mean_squared_error' (or another) for a number, "
                "'binary_cross_entropy' or 'cross_entropy' for the logits of classes, 'poisson' for the log of a count."
            )
        return "identity", _LAST[last][0]
    link = loss_row(loss).link
    if last == "identity" or (last in _LAST and _LAST[last][1] == link):
        return "identity", loss
    if link == "identity" and last in ACTIVATIONS:
        return last, loss
    if link == "identity":
        raise UsageError(
            f"{loss} takes the outputs as they are, and glassnet has {last}, {where}, only in "
            f"{_LAST[last][0]}. Leave loss out."
        )
    raise UsageError(
        f"{loss} puts {LINKS[link].name} behind the last dense layer; this network has {last} there, {where}. "
        f"{'Leave loss out' if last in _LAST else 'Name a loss of numbers, mean_squared_error say'}."
    )


def model_of(
    chain: Chain,
    columns: Sequence[AnyColumn],
    *,
    target: str,
    classes: Sequence[Any] | None,
    loss: str | None,
    scaling: tuple[float, float] = (0.0, 1.0),
    texts: Iterable[str] = (),
    source: str,
) -> Model:
    """The model of a chain behind these columns; `classes` None are "0", "1", ...; `source` says where it is from.

    `scaling` is a number's center and scale: it is center + scale * output. `texts` are cells that have a meaning, so
    that none of them is taken for a missing one, as NA is.

    >>> chain = Chain("Dense layers")
    >>> chain.dense("model[0]", [[3.0]], [1.0])
    >>> model = model_of(
    ...     chain, number_columns(chain, None), target="y", classes=None, loss="mean_squared_error", source="a friend"
    ... )
    >>> model.predict({"x1": [2.0]}).tolist()
    [7.0]
    """
    network, parameters = chain.finished(loss)
    link, n_classes = network.loss_row.link, max(2, network.n_outputs)
    if link in ("sigmoid", "softmax"):
        labels = labels_of([str(k) for k in range(n_classes)] if classes is None else classes)
        if len(labels) != n_classes:
            raise UsageError(
                f"classes has one name per class, in the order of the outputs, {n_classes} here; got {len(labels)}: "
                f"{listed(labels)}."
            )
        what = Target(target, "binary" if link == "sigmoid" else "classes", labels)
    else:
        if classes is not None:
            raise UsageError(
                f"classes belong to a network that tells classes apart; with {network.loss} this one predicts a "
                "number. Leave classes out, or say loss='binary_cross_entropy' or 'cross_entropy'."
            )
        what = Target(target, "number", (), *scaling)
    if any(column.source == target for column in columns):
        raise UsageError(
            f"The target is a column apart from the features; {shown(target)} is one of them. Name another as target."
        )
    provenance = {
        "imported_from": source,
        "notices": chain.notices,
        "missing_words": [word for word in MISSING_WORDS if word not in {*texts, *what.classes}],
        "versions": {
            "glassnet": version("glassnet"),
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }
    # As a model's file is checked: what could not be read back is refused now.
    encoder = Encoding.from_json(Encoding(tuple(columns), what).to_json())
    return Model(network, (parameters,), encoder, provenance)


def number_columns(chain: Chain, names: Sequence[Any] | None) -> list[NumberColumn]:
    """A column of numbers for each of a chain's inputs, scaled as the chain's own are.

    >>> chain = Chain("Dense layers")
    >>> chain.normalise("model[0]", [5.0], [2.0])
    >>> chain.dense("model[1]", [[3.0]], [1.0])
    >>> number_columns(chain, ["age"])[0].described()
    '5 +- 2'
    """
    n = len(chain.layers[0].weights) if chain.layers else 0
    center, scale = chain.inputs or (np.zeros(n), np.ones(n))
    named = zip(input_names(names, n), center.tolist(), scale.tolist(), strict=True)
    return [NumberColumn(name, middle, spread, middle) for name, middle, spread in named]


def input_names(names: Sequence[Any] | None, n: int) -> list[str]:
    """The names of n inputs: those given, or x1, x2, ...

    >>> input_names(None, 2)
    ['x1', 'x2']
    """
    if names is None:
        return [f"x{j}" for j in range(1, n + 1)]
    given = [str(name) for name in names]
    if isinstance(names, str) or len(given) != n:
        raise UsageError(f"features names every input, {n} here, in order; got {len(given)}: {listed(given)}.")
    check_names(given)
    return given


def labels_of(classes: Sequence[Any]) -> tuple[str, ...]:
    """Classes as a table's cells name them: `1` for 1.0, `true` for True.

    >>> labels_of([0.0, 1.0]), labels_of([False, True])
    (('0', '1'), ('false', 'true'))
    """
    labels = tuple(as_table({"classes": np.asarray(list(classes))}, missing=("",)).labels("classes"))
    if len(set(labels)) < len(labels):
        raise UsageError(f"every class needs a name of its own; got {listed(labels)}.")
    return labels
