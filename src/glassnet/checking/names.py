"""What a name that a candidate uses means: of a function, of an argument, of a number."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from glassnet.checking.computation import Quantity

remembered = lru_cache(maxsize=4096)
"""The same few names are asked for in every layout and every case."""


@remembered
def plain(name: str) -> str:
    """Case and underscores do not matter.

    >>> plain("Backward_Pass")
    'backwardpass'
    """
    return re.sub(r"[\W_]", "", str(name)).lower()


def words(text: str) -> frozenset[str]:
    """The words of a line."""
    return frozenset(text.split())


FUNCTIONS: dict[str, frozenset[str]] = {
    "forward": words(
        "forward forwardpass forwardprop forwardpropagation forwardpropagate feedforward lmodelforward "
        "modelforward forwardpropagationn fwd predictproba"
    ),
    "backward": words(
        "backward backwardpass backwardprop backwardpropagation backprop backpropagation backpropagate "
        "gradient gradients grad grads computegradient computegradients computegrads getgradients "
        "calculategradients lmodelbackward modelbackward lossandgradient lossandgradients lossandgrads "
        "valueandgrad costandgradients bwd"
    ),
    "loss": words(
        "loss cost lossfunction costfunction computeloss computecost getloss getcost objective "
        "calculateloss calculatecost lossfn costfn binarycrossentropy crossentropy mse meansquarederror "
        "bceloss mseloss binarycrossentropyloss crossentropyloss meansquarederrorloss squarederror bce"
    ),
    "update": words(
        "update updateparameters updateparams updateweights gradientdescent gradientdescentstep sgd "
        "sgdstep step applygradients optimize"
    ),
    "train": words("fit train trainstep trainonbatch partialfit learn trainbatch"),
}

ARGUMENTS: dict[str, frozenset[str]] = {
    "parameters": words("parameters params param p theta thetas weightsandbiases model net network"),
    "weights": words("weights ws w weightmatrices"),
    "biases": words("biases bs b bias biasvectors"),
    "X": words("x xs inputs input data features xtrain xbatch a0 inp batchx xb"),
    "y": words("y ys target targets label labels ytrue ytrain t batchy ybatch truth yb"),
    "cache": words("cache caches memory saved store forwardcache ctx context trace state forwardresult"),
    "gradients": words("gradients grads grad gradient gs derivatives"),
    "learning_rate": words("learningrate lr alpha eta rate stepsize"),
    "l2": words("l2 lambda lambd lam reg regularization weightdecay l2reg regstrength"),
    "hidden": words("activation hiddenactivation act activationname hidden"),
    "output_name": words("outputactivation finalactivation"),
    "epochs": words("epochs epoch nepochs iterations niter numiterations steps nsteps maxiter numepochs"),
    "n": words("n m nsamples batchsize numsamples nrows"),
    "sizes": words("sizes layers layersizes layerdims dims shape shapes architecture layerssizes"),
    "n_in": words("nin inputsize nfeatures ninputs nx inputdim numinputs din indim infeatures dinput"),
    "n_hidden": words("nhidden hiddensize nh hiddendim numhidden hiddenunits dhidden hiddenlayersize"),
    "n_out": words("nout outputsize noutputs ny outputdim numoutputs nclasses dout outdim outfeatures doutput"),
}
OUTPUTS = words(
    "p yhat ypred ypredicted prob probs probability probabilities prediction predictions al out "
    "output outputs pred yh o preds score scores afinal aout"
)
_GRADIENT = r"(?:gradients?|grads?|dlossd|dcostd|dld|djd|dcd|ded|dl|dj|nabla|d|g)"
_WEIGHT, _BIAS = r"(?:w|weights?|kernel|theta)", r"(?:b|bias|biases)"


@remembered
def argument(name: str) -> str | None:
    """The role of an argument, or None where its name is not known.

    >>> argument("X_train"), argument("lambd"), argument("foo")
    ('X', 'l2', None)
    """
    word = plain(name)
    return next((role for role, words in ARGUMENTS.items() if word in words), None)


@remembered
def numbered(name: str, L: int, base: int = 1) -> Quantity | None:
    """The quantity that a name with a layer's number means; the output is p. `base`: the number of the first layer.

    >>> numbered("dW_1", 2), numbered("dloss_db2", 2), str(numbered("A2", 2)), numbered("W0", 2, base=0)
    (Quantity(kind='dW', layer=1), Quantity(kind='db', layer=2), 'p', Quantity(kind='W', layer=1))
    """
    word = plain(name)
    if word in OUTPUTS:
        return Quantity("p")
    found = re.fullmatch(r"(\D+?)(\d+)(gradients?|grads?)?", word)
    if found is None:
        return None
    stem, layer = found[1] + (found[3] or ""), int(found[2]) + 1 - base
    patterns = (
        ("dW", rf"{_GRADIENT}{_WEIGHT}|{_WEIGHT}(?:gradients?|grads?)"),
        ("db", rf"{_GRADIENT}{_BIAS}|{_BIAS}(?:gradients?|grads?)"),
        ("delta", rf"deltas?|{_GRADIENT}z|deltaz"),
        ("W", _WEIGHT),
        ("b", _BIAS),
        ("z", r"z|preactivations?|zs"),
        ("a", r"a|h|activations?|hidden"),
    )
    kind = next((kind for kind, pattern in patterns if re.fullmatch(pattern, stem)), None)
    if kind is None or not (1 <= layer <= L):
        return None
    return Quantity("p") if kind == "a" and layer == L else Quantity(kind, layer)


def starts_at_zero(names: Iterable[str]) -> bool:
    """Whether layers are numbered from 0: there is a W0 or a b0.

    >>> starts_at_zero(["W0", "b0", "W1"]), starts_at_zero(["a0", "W1"])
    (True, False)
    """
    return any(map(_is_at_zero, names))


@remembered
def _is_at_zero(name: str) -> bool:
    return re.fullmatch(rf"(?:{_GRADIENT})?(?:{_WEIGHT}|{_BIAS})0", plain(name)) is not None


@remembered
def listed(name: str) -> str | None:
    """The kind of a list over layers, dW of `grad_weights` say, or None.

    >>> listed("weights"), listed("dbs"), listed("deltas")
    ('W', 'db', 'delta')
    """
    word = plain(name)
    words = {
        "W": ("weights", "ws", "w", "weightmatrices"),
        "b": ("biases", "bs", "b", "bias"),
        "z": ("zs", "z", "preactivations"),
        "a": ("activations", "a", "as"),
        "delta": ("deltas", "delta", "dzs", "dz"),
        "dW": ("dws", "dw", "gradw", "gradws", "gradweights", "weightgradients", "weightsgradients", "nablaw", "gw",
               "dweights", "weightgrads", "gradsw", "weightgrad"),
        "db": ("dbs", "db", "gradb", "gradbs", "gradbiases", "biasgradients", "biasesgradients", "nablab", "gb",
               "dbiases", "biasgrads", "gradsb", "dbias", "biasgrad"),
    }  # fmt: skip
    return next((kind for kind, known in words.items() if word in known), None)
