"""Candidates with functions or methods of known names: a module, a dict, an object whose arrays are attributes."""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property, partial
from itertools import pairwise
from typing import Any

import numpy as np

from glassnet.checking.agreement import Observed
from glassnet.checking.calling import Arguments, called, signature
from glassnet.checking.cases import Case
from glassnet.checking.computation import Quantity
from glassnet.checking.layout import (
    Layout,
    Named,
    biases_given,
    by_name,
    in_order,
    is_number,
    layouts,
    leaves,
    parts_of,
    taken,
    weights_given,
)
from glassnet.checking.names import FUNCTIONS, argument, numbered, plain, starts_at_zero
from glassnet.checking.problems import FailedError, Problem, not_numbers
from glassnet.checking.protocol import Declared
from glassnet.network import FloatArray

POSITIONS = {
    "forward": ("parameters", "X"),
    "backward": ("parameters", "X", "y"),
    "loss": ("p", "y"),
    "update": ("parameters", "gradients", "learning_rate"),
    "train": ("X", "y"),
}


def roles(namespace: Mapping[str, Any]) -> dict[str, Callable[..., Any]]:
    """Which function of a namespace is forward, backward, loss, update, train.

    >>> sorted(roles({"forward": len, "back_prop": len, "helper": len}))
    ['backward', 'forward']
    """
    found: dict[str, Callable[..., Any]] = {}
    for role, words in FUNCTIONS.items():
        for name, value in namespace.items():
            if plain(name) in words and callable(value) and not inspect.isclass(value):
                found.setdefault(role, value)
    return found


class Pass:
    """One case handed to a candidate in one layout: every number that it gives, as it gives it and turned our way."""

    def __init__(
        self, case: Case, layout: Layout, functions: Mapping[str, Callable[..., Any]], learned: dict[int, int]
    ) -> None:
        self.case, self.layout, self.functions = case, layout, functions
        self.learned = learned  # of so many things that forward gives, which is p: told where layers differ in size
        self.arguments = Arguments(case, layout)
        self.numbers: dict[Quantity, Any] = {}
        self.single = False
        self.gradients: Any = None
        self.given = copy.deepcopy((self.arguments.values["X"], self.arguments.values["y"]))
        self.changed: Problem | None = None
        self.failed: Problem | None = None

    def unchanged(self, what: str) -> None:
        """Take notice where `what` has changed X or y in place; the first that does is told of."""
        for name, old in zip("Xy", self.given, strict=True):
            if self.changed is None and not np.array_equal(old, self.arguments.values[name]):
                self.changed = changed_arguments(what, name)

    def keep(self, found: Mapping[Quantity, Any], what: str, among: tuple[str, ...]) -> None:
        """Numbers of these kinds; what was had before stays."""
        for quantity, value in found.items():
            if quantity.kind not in among or quantity in self.numbers or value is None:
                continue
            problem = not_numbers(f"{quantity}, which {what} gives,", value)
            if problem is not None:
                raise FailedError(problem)
            if among[0] == "dW" and isinstance(value, np.ndarray) and value.ndim and value.dtype.kind in "iu":
                raise FailedError(
                    Problem(
                        "integers",
                        f"{quantity}, which {what} gives, is an array of whole numbers, which cannot hold a gradient: "
                        "np.zeros_like of an array of integers is one, and so is astype(int).",
                    )
                )
            self.single |= getattr(value, "dtype", None) in (np.dtype("float32"), np.dtype("float16"))
            self.numbers[quantity] = taken(quantity, value, self.case, self.layout)
            self.arguments.numbers.setdefault(quantity, value)

    def forward(self, answer: Any) -> None:
        """What a forward pass gave: p alone, (p, cache), or numbers by name."""
        L, base = len(self.case.weights), self.layout.base
        found: dict[Quantity, Any] = {}
        parts = list(answer) if isinstance(answer, tuple | list) else [answer]
        dicts = [part for part in parts if isinstance(part, dict)]
        for part in dicts:
            found |= by_name(part, L, base)
        arrays = [part for part in parts if isinstance(part, np.ndarray) or is_number(part)]
        if len(parts) == 2 * L and len(arrays) == len(parts) and self._are_pairs(parts):
            for layer in range(1, L + 1):
                found[Quantity("z", layer)] = parts[2 * layer - 2]
                found[Quantity("p") if layer == L else Quantity("a", layer)] = parts[2 * layer - 1]
        elif (p := self._output(answer, parts)) is not None:
            found.setdefault(Quantity("p"), p)
        if answer is not None:
            two = isinstance(answer, tuple | list) and len(answer) == 2 and self._place_of_p(parts) == 0
            self.arguments.values["cache"] = answer[1] if two else answer
        self.keep(found, "forward", ("z", "a", "p"))
        if Quantity("p") in self.arguments.numbers:
            self.arguments.values["p"] = self.arguments.numbers[Quantity("p")]

    def _output(self, answer: Any, parts: list[Any]) -> Any:
        if isinstance(answer, list) and len(answer) == self.case.n and all(is_number(leaf) for leaf in leaves(answer)):
            return np.asarray(answer)
        if isinstance(answer, tuple | list):
            flat = [part for part in leaves(parts) if isinstance(part, np.ndarray)]
            if (place := self._place_of_p(parts)) is not None:
                return parts[place]
            return next((part for part in reversed(flat) if self._is_output(part)), None)
        return None if isinstance(answer, dict) or answer is None else answer

    def _place_of_p(self, parts: list[Any]) -> int | None:
        """Which of several is p: the only one of its shape, first or last; where there are more, as it was before."""
        ends = [at for at in dict.fromkeys((0, len(parts) - 1)) if parts and self._is_output(parts[at])]
        if len(ends) == 1:
            self.learned[len(parts)] = ends[0]
        return self.learned.get(len(parts), ends[-1]) if ends else None

    def _is_output(self, value: Any) -> bool:
        n, k = self.case.n, self.case.sizes[-1]
        wanted = [(k, n) if self.layout.columns else (n, k)] + ([(n,)] if k == 1 else [])
        wanted += [(k,)] if self.layout.row == "vector" else []
        return isinstance(value, np.ndarray) and value.shape in wanted

    def _are_pairs(self, parts: list[Any]) -> bool:
        pairs = [(np.shape(parts[at]), np.shape(parts[at + 1])) for at in range(0, len(parts), 2)]
        sizes = self.case.sizes[1:]
        return all(
            z == a == ((k, self.case.n) if self.layout.columns else (self.case.n, k))
            for (z, a), k in zip(pairs, sizes, strict=True)
        )

    def backward(self, answer: Any) -> None:
        """What a backward pass gave: gradients by name or in order, perhaps with the loss."""
        L, base = len(self.case.weights), self.layout.base
        self.gradients = answer
        found: dict[Quantity, Any] = {}
        parts = list(answer) if isinstance(answer, tuple | list) else [answer]
        for part in parts:
            if isinstance(part, dict):
                named = by_name(part, L, base if not starts_at_zero(part) else 0)
                found |= {_as_gradient(quantity): value for quantity, value in named.items()}
                self.gradients = part
        flat = parts_of(answer, L)
        loss = None
        if not found and len(flat) == 2 * L + 1 and (is_number(flat[0]) or is_number(flat[-1])):
            loss = flat.pop(0) if is_number(flat[0]) else flat.pop()
            self.gradients = parts[1] if is_number(parts[0]) and len(parts) == 2 else answer
        elif found and len(parts) > 1:
            loss = next((part for part in parts if is_number(part)), None)
        if loss is not None:
            self.keep({Quantity("loss"): loss}, "backward", ("loss",))
        if not found:
            found = in_order(flat, self.case, self.layout, ("dW", "db"))
            if not found and flat:
                raise FailedError(
                    Problem(
                        "shape",
                        f"backward gives {len(flat)} arrays; a network of {L} layers has {2 * L} gradients, one of "
                        "every weight matrix and one of every bias vector.",
                    )
                )
        self.keep(found, "backward", ("dW", "db", "delta", "loss"))
        if self.gradients is not None:
            self.arguments.values["gradients"] = self.gradients
        for quantity, value in found.items():
            self.arguments.numbers.setdefault(quantity, value)

    def updating(self) -> contextlib.AbstractContextManager[None]:
        """Where an update fails, the gradients before it are still looked at: what is wrong is often in them."""
        layers = range(1, len(self.case.weights) + 1)
        complete = all(Quantity(kind, layer) in self.numbers for kind in ("dW", "db") for layer in layers)
        return self._remembering() if complete else contextlib.nullcontext()

    @contextlib.contextmanager
    def _remembering(self) -> Iterator[None]:
        try:
            yield
        except FailedError as failed:
            self.failed = failed.problem

    def updated(self, answer: Any) -> None:
        """The parameters after a step: returned, or changed where they were."""
        L, base = len(self.case.weights), self.layout.base
        found: dict[Quantity, Any] = {}
        if answer is None:
            answer = self.arguments.parameters if "parameters" in self.arguments.asked else None
            if answer is None:
                Ws, bs = self.arguments.weights, self.arguments.biases
                answer = [part for pair in zip(Ws, bs, strict=True) for part in pair]
        for part in [answer] if isinstance(answer, dict) else answer if isinstance(answer, tuple | list) else []:
            if isinstance(part, dict):
                found |= by_name(part, L, base)
        if not found:
            found = in_order(parts_of(answer, L), self.case, self.layout, ("W", "b"))
        self.keep(found, "update", ("W", "b"))

    def observed(self) -> Observed:
        """All of it."""
        changed = None
        if self.changed is not None:
            X, y = (self._in_rows(name) for name in "Xy")
            changed = self.changed, {1: X}, y
        return Observed(self.case, self.numbers, self.single, self.layout, changed, self.failed)

    def _in_rows(self, name: str) -> FloatArray:
        """X or y as it is now, as a table of rows; a y of class numbers is taken as it was."""
        now, case = np.asarray(self.arguments.values[name], float), getattr(self.case, name)
        turned = now.T if self.layout.columns and now.ndim == 2 else now
        found: FloatArray = turned.reshape(case.shape) if turned.size == case.size else case
        return found


def _as_gradient(quantity: Quantity) -> Quantity:
    """In a dict of gradients W1 is the gradient of W1."""
    return Quantity({"W": "dW", "b": "db"}.get(quantity.kind, quantity.kind), quantity.layer)


class FunctionCandidate:
    """Plain functions by name."""

    def __init__(self, namespace: Mapping[str, Any], declared: Declared, form: str = "functions") -> None:
        self.functions = roles(namespace)
        self.form, self.declared, self.namespace = form, declared, namespace
        self.learned: dict[int, int] = {}
        if not {"backward", "train"} & self.functions.keys():
            raise FailedError(
                Problem("nothing", nothing_found([name for name, v in namespace.items() if inspect.isfunction(v)]))
            )

    @property
    def described(self) -> str:
        """For the title."""
        return ", ".join(getattr(function, "__name__", role) for role, function in self.functions.items())

    def layouts(self) -> Iterator[Layout]:
        """Containers are only tried where one is asked for."""
        asked = [argument(one.name) for function in self.functions.values() for one in signature(function)]
        known = [one.name for function in self.functions.values() for one in signature(function)]
        whole = "parameters" in asked or not any(asked)
        base = 0 if starts_at_zero(known) else 1
        for layout in layouts(self.declared, ("named", "flat", "pairs", "lists") if whole else ("named",)):
            yield replace(layout, base=base)

    def own_sizes(self) -> tuple[int, ...] | None:
        """Functions take any."""
        return None

    @cached_property
    def depth(self) -> int | None:
        """The only number of layers that it can have: that of its arguments W1, W2 ..."""
        names = [one.name for function in self.functions.values() for one in signature(function)]
        found = [numbered(name, 99, int(not starts_at_zero(names))) for name in names]
        return max((one.layer for one in found if one and one.kind == "W"), default=None)

    @property
    def takes_l2(self) -> bool:
        """Whether its gradients are asked for with a penalty."""
        function = self.functions.get("backward")
        return function is not None and any(argument(one.name) == "l2" for one in signature(function))

    def again(self, case: Case, layout: Layout, times: int) -> Observed:
        """The same call once more; what a module keeps, it keeps by itself."""
        return self.run(case, layout)

    def run(self, case: Case, layout: Layout) -> Observed:
        """Hand a case over; raises `FailedError`."""
        if self.depth not in (None, len(case.weights)):
            raise FailedError(Problem("argument", f"Its arguments are those of a network of {self.depth} layers."))
        one = Pass(case, layout, self.functions, self.learned)
        try:
            return self._run(one)
        except FailedError as failed:
            failed.reached = len(one.numbers)
            named = one.arguments.parameters
            if isinstance(named, Named) and named.zero_based and layout.base == 1:
                return self.run(case, replace(layout, base=0))
            raise

    def _run(self, one: Pass) -> Observed:
        functions, arguments = self.functions, one.arguments
        if "forward" in functions:
            one.forward(arguments.call(name_of(functions["forward"]), functions["forward"], POSITIONS["forward"]))
            one.unchanged("forward")
        if "loss" in functions:
            loss = arguments.call(name_of(functions["loss"]), functions["loss"], POSITIONS["loss"])
            one.keep({Quantity("loss"): loss}, "loss", ("loss",))
        if "backward" in functions:
            one.backward(arguments.call(name_of(functions["backward"]), functions["backward"], POSITIONS["backward"]))
            one.unchanged("backward")
        if "update" in functions and one.gradients is not None:
            with one.updating():
                one.updated(arguments.call(name_of(functions["update"]), functions["update"], POSITIONS["update"]))
        elif "train" in functions and "backward" not in functions:
            one.updated(arguments.call(name_of(functions["train"]), functions["train"], POSITIONS["train"]))
        return one.observed()


def changed_arguments(what: str, name: str) -> Problem:
    """That a function changes what it was given."""
    return Problem(
        "changed-arguments",
        f"{what} changes {name}, which it was given: an array is not copied when a function gets it, and "
        f"{name} -= ... or {name}[...] = ... changes the caller's own. Write {name} = {name} - ..., or take a copy.",
    )


def name_of(function: Callable[..., Any]) -> str:
    """A function's name, for a message."""
    return str(getattr(function, "__name__", "the function"))


def nothing_found(names: list[str]) -> str:
    """That there is nothing to check, and what there would have to be."""
    there = f"; got {', '.join(names[:8])}" if names else "; got none"
    return (
        "A candidate has a function that gives the gradients, named backward, backprop, gradients or the like"
        f"{there}. glassnet check --template writes a file to fill in."
    )


class ObjectCandidate:
    """A class, or an instance, whose arrays are attributes."""

    form = "object"

    def __init__(self, candidate: Any, declared: Declared) -> None:
        self.candidate, self.declared = candidate, declared
        self.learned: dict[int, int] = {}
        names = {name: getattr(candidate, name, None) for name in dir(candidate) if not name.startswith("__")}
        if not {"backward", "train"} & roles(names).keys():
            methods = [name for name, value in names.items() if callable(value) and not name.startswith("_")]
            raise FailedError(Problem("nothing", nothing_found(methods)))
        self.named = roles(names)

    @property
    def described(self) -> str:
        """For the title."""
        kind = self.candidate if inspect.isclass(self.candidate) else type(self.candidate)
        return f"{kind.__name__}: {', '.join(name_of(function) for function in self.named.values())}"

    def own_sizes(self) -> tuple[int, ...] | None:
        """Those of its arrays, where nobody asks for sizes when it is made."""
        if inspect.isclass(self.candidate) and any(argument(one.name) in _SIZES for one in signature(self.candidate)):
            return None
        try:
            object_ = self.instance((3, 4, 1))
        except FailedError:
            return None
        for holder in _holders(object_):
            for L in (4, 3, 2, 1):
                found = by_name(
                    {k: v for k, v in holder.items() if not isinstance(v, dict)}, L, int("W0" not in holder)
                )
                Ws = [np.shape(found.get(Quantity("W", layer), 0)) for layer in range(1, L + 1)]
                if all(len(shape) == 2 for shape in Ws):
                    straight = all(one[1] == two[0] for one, two in pairwise(Ws)) and Ws[0][1] == np.size(
                        found.get(Quantity("b", 1), np.zeros(Ws[0][1]))
                    )
                    return (Ws[0][0], *(W[1] for W in Ws)) if straight else (Ws[0][1], *(W[0] for W in Ws))
        return None

    def instance(self, sizes: tuple[int, ...]) -> Any:
        """An object of these sizes of its own, or of the only ones it has."""
        if not inspect.isclass(self.candidate):
            return called("copying it", copy.deepcopy, self.candidate)
        wanted = [one for one in signature(self.candidate) if one.default is one.empty or argument(one.name) in _SIZES]
        hidden = sizes[1:-1]
        values = {
            "sizes": list(sizes), "n_in": sizes[0], "n_out": sizes[-1], "n_hidden": hidden[0] if hidden else None,
            "learning_rate": Case.learning_rate, "l2": 0.0, "hidden": "relu", "output_name": "sigmoid", "epochs": 1,
        }  # fmt: skip
        by_role = {one.name: argument(one.name) for one in wanted}
        if len(hidden) != 1 and "n_hidden" in by_role.values():
            raise FailedError(Problem("argument", f"{self.candidate.__name__} has one hidden layer."))
        if all(role in values for role in by_role.values()):
            given = {name: values[role] for name, role in by_role.items() if role is not None}
            return called(self.candidate.__name__, partial(self.candidate, **given))
        if len(wanted) == len(sizes):
            return called(self.candidate.__name__, self.candidate, *sizes)
        if len(wanted) == 1:
            return called(self.candidate.__name__, self.candidate, list(sizes))
        raise FailedError(
            Problem(
                "argument",
                f"{self.candidate.__name__}({', '.join(by_role)}) cannot be made: the checker knows Class(sizes), "
                "Class(n_in, n_hidden, n_out) and Class().",
            )
        )

    def layouts(self) -> Iterator[Layout]:
        """Only what the object's own arrays leave open is tried; base 0 where there is a W0."""
        for layout in layouts(self.declared):
            if (layout.columns, layout.out_in, layout.bias) in _OPEN:
                yield layout

    def again(self, case: Case, layout: Layout, times: int) -> Observed:
        """The last of so many backward passes of one object."""
        return self.run(case, layout, times)

    def run(self, case: Case, layout: Layout, times: int = 1) -> Observed:
        """Hand a case over; raises `FailedError`."""
        object_ = self.instance(case.sizes)
        layout = self._placed(object_, case, layout)
        functions = {role: getattr(object_, name_of(function), function) for role, function in self.named.items()}
        one = Pass(case, layout, functions, self.learned)
        for name in ("learning_rate", "lr", "alpha", "eta"):
            if hasattr(object_, name):
                setattr(object_, name, case.learning_rate)
        try:
            return self._run(one, object_, functions, times)
        except FailedError as failed:
            failed.reached = len(one.numbers)
            raise

    def _run(self, one: Pass, object_: Any, functions: Mapping[str, Callable[..., Any]], times: int) -> Observed:
        case, layout = one.case, one.layout
        start = {quantity: np.array(value) for quantity, value in _parameters(object_, layout, case).items()}
        if "forward" in functions:
            one.forward(one.arguments.call("forward", functions["forward"], ("X",)))
            one.unchanged("forward")
            self._read(one, object_, ("z", "a", "p"))
        if "loss" in functions:
            loss = one.arguments.call("loss", functions["loss"], POSITIONS["loss"])
            one.keep({Quantity("loss"): loss}, "loss", ("loss",))
            if "forward" in functions:  # a loss may leave other numbers in the object than forward did
                one.arguments.call("forward", functions["forward"], ("X",))
        if "backward" in functions:
            answer = one.arguments.call("backward", functions["backward"], ("X", "y"))
            for _ in range(times - 1):
                if self._moved(object_, start, one):
                    self._placed(object_, case, layout)
                if callable(zero := getattr(object_, "zero_grad", None)):
                    called("zero_grad", zero)
                if "forward" in functions:
                    one.arguments.call("forward", functions["forward"], ("X",))
                answer = one.arguments.call("backward", functions["backward"], ("X", "y"))
            one.backward(answer)
            one.unchanged("backward")
            self._read(one, object_, ("dW", "db", "delta"))
        if "update" in functions and not self._moved(object_, start, one):
            with one.updating():
                one.arguments.call("update", functions["update"], ("learning_rate",))
        elif "train" in functions and "backward" not in functions:
            for name in (
                "initialize",
                "initialise",
                "init_weights",
                "initialize_parameters",
                "init_parameters",
                "reset",
            ):
                if callable(getattr(object_, name, None)):
                    setattr(object_, name, lambda *given, **named: None)
            one.arguments.call("fit", functions["train"], ("X", "y"))
            one.unchanged("fit")
            self._read(one, object_, ("dW", "db", "delta", "z", "a", "p"))
        if one.failed is None and self._moved(object_, start, one):
            one.keep(_parameters(object_, layout, case), "update", ("W", "b"))
        return one.observed()

    def _moved(self, object_: Any, start: Mapping[Quantity, Any], one: Pass) -> bool:
        now = _parameters(object_, one.layout, one.case)
        return any(not np.array_equal(start[quantity], value) for quantity, value in now.items() if quantity in start)

    def _read(self, one: Pass, object_: Any, among: tuple[str, ...]) -> None:
        L, base = len(one.case.weights), one.layout.base
        named = {name: value for name, value in vars(object_).items() if not callable(value)}
        found = by_name(named, L, base)
        for name, value in named.items():
            if isinstance(value, dict) and argument(name) == "gradients":
                found |= {_as_gradient(quantity): number for quantity, number in by_name(value, L, base).items()}
        one.keep(found, "the object", among)

    def _placed(self, object_: Any, case: Case, layout: Layout) -> Layout:
        """Put the case's parameters where the object has its own, in their shapes; the layout that they have."""
        L = len(case.weights)
        base = 0 if starts_at_zero(vars(object_)) else 1
        own = _parameters(object_, Layout(base=base), case)
        wanted = {Quantity(kind, layer) for kind in "Wb" for layer in range(1, L + 1)}
        if own.keys() != wanted:
            raise FailedError(
                Problem(
                    "nothing",
                    f"An object's parameters are attributes W1, b1, ... W{L}, b{L}, or lists weights and biases; "
                    f"got {', '.join(sorted(vars(object_))[:9]) or 'none'}.",
                )
            )
        shapes = [np.shape(own[Quantity("W", layer)]) for layer in range(1, L + 1)]
        pairs = [(W.shape, W.T.shape) for W in case.weights]
        if any(shape not in both for shape, both in zip(shapes, pairs, strict=True)):
            raise FailedError(
                Problem("shape", f"Its weights have the shapes {shapes}; not those of sizes {case.sizes}.")
            )
        unsure = all(shape[0] == shape[1] for shape in shapes)
        out_in = (
            layout.out_in
            if unsure
            else any(shape == turned != straight for shape, (straight, turned) in zip(shapes, pairs, strict=True))
        )
        first = np.shape(own[Quantity("b", 1)])
        bias = "flat" if len(first) < 2 else "row" if first[0] == 1 and first[1] == case.sizes[1] else "column"
        found = replace(layout, out_in=out_in, bias=bias, base=base)
        parts: dict[Quantity, Any] = {}
        for layer, (W, b) in enumerate(
            zip(weights_given(case, found), biases_given(case, found), strict=True), start=1
        ):
            parts |= {Quantity("W", layer): W, Quantity("b", layer): b}
        _place(object_, parts, found, L)
        return found


_OPEN = ((False, False, "flat"), (True, True, "column"), (False, True, "flat"), (True, False, "column"))
_SIZES = ("sizes", "n_in", "n_hidden", "n_out")


def _holders(object_: Any) -> list[dict[str, Any]]:
    """Where an object may have its arrays: its attributes, and dicts among them."""
    attributes = vars(object_)
    return [attributes, *(value for value in attributes.values() if isinstance(value, dict))]


def _parameters(object_: Any, layout: Layout, case: Case) -> dict[Quantity, Any]:
    L = len(case.weights)
    for holder in _holders(object_):
        found = by_name({k: v for k, v in holder.items() if not isinstance(v, dict)}, L, layout.base)
        found = {quantity: value for quantity, value in found.items() if quantity.kind in ("W", "b")}
        if len(found) == 2 * L and not any(
            (more := numbered(str(name), L + 1, layout.base)) and more.kind == "W" and more.layer > L for name in holder
        ):
            return found
    return {}


def _place(object_: Any, parts: Mapping[Quantity, Any], layout: Layout, L: int) -> None:
    for holder in _holders(object_):
        if (
            not by_name({k: v for k, v in holder.items() if not isinstance(v, dict)}, L, layout.base).keys()
            >= parts.keys()
        ):
            continue
        for name, value in list(holder.items()):
            quantity = numbered(name, L, layout.base)
            if quantity is not None and quantity in parts:
                holder[name] = parts[quantity]
            elif isinstance(value, list | tuple) and (found := by_name({name: value}, L, layout.base)):
                kinds = {one.kind for one in found}
                if kinds <= {"W", "b"}:
                    kept = [None] * (len(value) - L)
                    holder[name] = [*kept, *(parts[Quantity(next(iter(kinds)), layer)] for layer in range(1, L + 1))]
        return
