"""Candidates made of layers: objects with forward and backward, in a list, with a loss at the end."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from glassnet.checking.agreement import Observed
from glassnet.checking.calling import called, signature
from glassnet.checking.cases import Case
from glassnet.checking.computation import Quantity
from glassnet.checking.functions import changed_arguments
from glassnet.checking.layout import Layout, biases_given, inputs_given, layouts, taken, targets_given, weights_given
from glassnet.checking.names import argument, listed, plain, words
from glassnet.checking.problems import FailedError, Problem, not_numbers
from glassnet.checking.protocol import Declared

BUILDERS = words("build buildnetwork buildmodel makelayers makenetwork buildlayers createnetwork makemodel")
LOSS_GRADIENTS = words(
    "lossgradient lossgrad lossderivative lossprime dloss gradloss lossbackward costgradient costderivative"
)


class LayersCandidate:
    """A list of layers, or what makes one."""

    form = "layers"

    def __init__(self, namespace: Mapping[str, Any], declared: Declared) -> None:
        self.declared, self.namespace = declared, namespace
        self.build = next((v for name, v in namespace.items() if plain(name) in BUILDERS and callable(v)), None)
        self.layers = next((v for name, v in namespace.items() if plain(name) == "layers" and not callable(v)), None)
        self.loss, self.loss_gradient = _loss_in(namespace)
        self.described = (
            "build" if self.build else f"layers: {', '.join(type(one).__name__ for one in self.layers or ())}"
        )

    def own_sizes(self) -> tuple[int, ...] | None:
        """Those of a list of layers; what builds them is asked for others."""
        if self.build is not None:
            return None
        Ws = [np.shape(W) for W in (_attribute(one, "W") for one in self.layers or ()) if W is not None]
        bs = [np.size(b) for b in (_attribute(one, "b") for one in self.layers or ()) if b is not None]
        if not Ws or any(len(shape) != 2 for shape in Ws):
            return None
        straight = [shape[1] for shape in Ws] == bs
        return (Ws[0][0], *(W[1] for W in Ws)) if straight else (Ws[0][1], *(W[0] for W in Ws))

    def layouts(self) -> Iterator[Layout]:
        """The shapes of the layers' own arrays decide the rest; of square ones the orientation is tried."""
        for layout in layouts(self.declared):
            if layout.bias == ("column" if layout.columns else "flat"):
                yield layout

    def made(self, case: Case) -> tuple[list[Any], Any]:
        """Layers of their own for one case, and the loss."""
        if self.build is None:
            return called("copying the layers", copy.deepcopy, list(self.layers or ())), copy.deepcopy(self.loss)
        more = len(signature(self.build))
        built = called(
            "build", self.build, *(case.sizes if more == len(case.sizes) > 1 else (list(case.sizes),)), case=case
        )
        loss = self.loss
        if isinstance(built, tuple) and len(built) == 2 and isinstance(built[0], Sequence):
            built, loss = built
        elif hasattr(built, "layers"):
            loss = getattr(built, "loss", loss)
            built = built.layers
        return list(built), called("loss", loss) if inspect.isclass(loss) else loss

    def again(self, case: Case, layout: Layout, times: int) -> Observed:
        """The last of so many passes of the same layers."""
        return self.run(case, layout, times)

    def run(self, case: Case, layout: Layout, times: int = 1) -> Observed:
        """Forward through all layers, the loss, backward through all layers; raises `FailedError`."""
        layers, loss = self.made(case)
        for _ in range(times - 1):
            self._pass(layers, loss, case, layout)
            for one in layers:
                if callable(zero := getattr(one, "zero_grad", None)):
                    called("zero_grad", zero)
        return self._pass(layers, loss, case, layout)

    def _pass(self, layers: list[Any], loss: Any, case: Case, layout: Layout) -> Observed:
        weighted = [one for one in layers if _attribute(one, "W") is not None]
        layout = self._placed(weighted, case, layout)
        numbers: dict[Quantity, Any] = {}
        single = False

        def keep(quantity: Quantity, value: Any, what: str) -> None:
            nonlocal single
            problem = not_numbers(f"{quantity}, which {what} gives,", value)
            if problem is not None:
                raise FailedError(problem)
            single |= getattr(value, "dtype", None) in (np.dtype("float32"), np.dtype("float16"))
            numbers[quantity] = np.array(taken(quantity, value, case, layout))  # a layer may change what it is given

        x, at, L = inputs_given(case, layout), 0, len(weighted)
        given: dict[int, tuple[Any, Any]] = {}  # what every layer with weights is given, and a copy
        changed = None
        for index, one in enumerate(layers):
            if one in weighted:
                given[at + 1] = x, np.array(x)
            x = called(f"{type(one).__name__}.forward", one.forward, x, case=case)
            at += one in weighted
            if one in weighted:
                keep(Quantity("z", at), x, "forward")
            if index == len(layers) - 1:
                keep(Quantity("p"), x, "forward")
            elif at < L and layers[index + 1] in weighted:
                keep(Quantity("a", at), x, "forward")
        changed = _changed("forward", given)
        y = targets_given(case, layout)
        value, gradient = self._loss(loss, x, y, case)
        if value is not None:
            keep(Quantity("loss"), value, "the loss")
        at = L
        before = [np.array(_attribute(one, "W")) for one in weighted]
        for one in reversed(layers):
            if one in weighted:
                keep(Quantity("delta", at), gradient, "backward")
                at -= 1
            gradient = self._backward(one, gradient, case)
        changed = changed or _changed("backward", given)
        moved = any(not np.array_equal(old, _attribute(one, "W")) for old, one in zip(before, weighted, strict=True))
        for at, one in enumerate(weighted, start=1):
            for kind in ("W", "b"):
                if moved:
                    keep(Quantity(kind, at), _attribute(one, kind), "backward")
                if (found := _attribute(one, f"d{kind}")) is not None:
                    keep(Quantity(f"d{kind}", at), found, "backward")
        if moved:
            case = replace(case, learning_rate=_own_rate(case, numbers))
        if not moved and Quantity("dW", 1) not in numbers:
            raise FailedError(
                Problem(
                    "nothing",
                    "After backward a layer with weights has their gradients: dW and db, or grad_W and grad_b.",
                )
            )
        if changed is None:
            return Observed(case, numbers, single, layout)
        inputs = {at: np.array(now.T if layout.columns else now) for at, (now, _) in given.items()}
        return Observed(case, numbers, single, layout, (changed, inputs, case.y))

    def _backward(self, one: Any, gradient: Any, case: Case) -> Any:
        named = [each.name for each in signature(one.backward)]
        more = {name: case.learning_rate for name in named[1:] if argument(name) == "learning_rate"}
        return called(f"{type(one).__name__}.backward", one.backward, gradient, case=case, **more)

    def _loss(self, loss: Any, p: Any, y: Any, case: Case) -> tuple[Any, Any]:
        if loss is not None and hasattr(loss, "backward"):
            value = called("the loss", getattr(loss, "forward", loss), p, y, case=case)
            many = len(signature(loss.backward))
            return value, called("the loss's backward", loss.backward, *((p, y) if many == 2 else ()), case=case)
        if self.loss_gradient is None:
            needed = (
                "an object `loss` with forward(p, y) and backward(), or functions loss(p, y) and loss_gradient(p, y)"
            )
            raise FailedError(Problem("nothing", f"Layers need a loss: {needed}."))
        value = called("loss", loss, p, y, case=case) if callable(loss) else None
        return value, called("loss_gradient", self.loss_gradient, p, y, case=case)

    def _placed(self, weighted: list[Any], case: Case, layout: Layout) -> Layout:
        shapes = [np.shape(_attribute(one, "W")) for one in weighted]
        if len(weighted) != len(case.weights) or any(
            shape not in (W.shape, W.T.shape) for shape, W in zip(shapes, case.weights, strict=True)
        ):
            raise FailedError(
                Problem("shape", f"The layers have weights of shapes {shapes}; not those of sizes {case.sizes}.")
            )
        square = all(shape[0] == shape[1] for shape in shapes)
        out_in = layout.out_in if square else any(s != W.shape for s, W in zip(shapes, case.weights, strict=True))
        first = np.shape(_attribute(weighted[0], "b"))
        bias = "flat" if len(first) < 2 else "row" if first == (1, case.sizes[1]) else "column"
        found = Layout(out_in, layout.columns, bias, layout.targets)
        for one, W, b in zip(weighted, weights_given(case, found), biases_given(case, found), strict=True):
            _attribute(one, "W", W)
            _attribute(one, "b", b)
        return found


def _changed(what: str, given: Mapping[int, tuple[Any, Any]]) -> Problem | None:
    """That a layer changes what it was given: the lowest one that does."""
    for at, (now, before) in given.items():
        if not np.array_equal(now, before):
            return changed_arguments(what, "X" if at == 1 else f"the input of layer {at}")
    return None


def _own_rate(case: Case, numbers: Mapping[Quantity, Any]) -> float:
    """The rate of a step that layers take in `backward`, where all of it is one number times the gradients."""
    step, gradient = [], []
    for quantity, after in numbers.items():
        if quantity.kind in ("W", "b"):
            before = (case.weights if quantity.kind == "W" else case.biases)[quantity.layer - 1]
            step.append(np.ravel(before) - np.ravel(after))
            gradient.append(np.ravel(numbers.get(Quantity(f"d{quantity.kind}", quantity.layer), np.nan * before)))
    one, other = np.concatenate(step), np.concatenate(gradient)
    if one.shape != other.shape or not np.isfinite(other).all() or not other.any():
        return case.learning_rate
    rate = float(one @ other / (other @ other))
    return rate if rate > 0 and np.allclose(one, rate * other, rtol=1e-6, atol=1e-9) else case.learning_rate


def _attribute(one: Any, kind: str, value: Any = None) -> Any:
    """A layer's W, b, dW or db, under whatever name, in its attributes or in a dict among them; set where one is
    given."""
    words = {"W": ("weight",), "b": (), "dW": ("gradweight", "weightgradient"), "db": ("gradbias", "biasgradient")}[
        kind
    ]
    for holder in [vars(one), *(held for held in vars(one).values() if isinstance(held, dict))]:
        of_gradients = holder is not vars(one) and any(
            held is holder and plain(name).startswith(("grad", "d")) for name, held in vars(one).items()
        )
        for name in holder:
            known = listed(str(name)) or next((kind for _ in "1" if plain(name) in words), None)
            if of_gradients and known in ("W", "b"):
                known = f"d{known}"
            if known == kind and not callable(holder[name]) and holder[name] is not None:
                if value is not None:
                    holder[name] = value
                return holder[name]
    return None


def _loss_in(namespace: Mapping[str, Any]) -> tuple[Any, Callable[..., Any] | None]:
    loss = next((v for name, v in namespace.items() if plain(name) in ("loss", "criterion", "lossfn", "cost")), None)
    gradient = next((v for name, v in namespace.items() if plain(name) in LOSS_GRADIENTS and callable(v)), None)
    if loss is None:
        classes = [
            v
            for v in namespace.values()
            if inspect.isclass(v) and "loss" in v.__name__.lower() and hasattr(v, "backward")
        ]
        loss = classes[-1] if classes else None
    return (called("loss", loss) if inspect.isclass(loss) else loss), gradient


def is_layer(value: Any) -> bool:
    """Whether an object has forward and backward."""
    return callable(getattr(value, "forward", None)) and callable(getattr(value, "backward", None))


def are_layers(namespace: Mapping[str, Any]) -> bool:
    """Whether a namespace holds layers, or what builds them."""
    for name, value in namespace.items():
        if plain(name) == "layers" and isinstance(value, list | tuple) and value and all(map(is_layer, value)):
            return True
        if plain(name) in BUILDERS and callable(value):
            return True
    return False
