"""What a quantity depends on: the lines of a derivation that one name needs, found by following what is read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain as chained
from itertools import islice, product

from glassnet.derivations.chains import Chain, MatrixProduct, forms
from glassnet.equations import Contract, Equation, Map, Reduce, Symbol
from glassnet.errors import UsageError, did_you_mean
from glassnet.expressions import symbols

_CANDIDATES = 20_000
"""Names among which the nearest to a mistyped one is looked for."""

_At = tuple[int, tuple[int, ...]]
"""A line: its equation's place, and the values of its indices."""


class Search:
    """Finds lines by the name or the symbol of their target, and all that they are computed from.

    >>> from glassnet.equations import equations
    >>> from glassnet.network import Network
    >>> network = Network((1, 2, 1))
    >>> Search(Chain(network), equations(network).items).everything_for("a1_2")
    {1: {(2,)}, 0: {(2,)}}
    """

    def __init__(self, chain: Chain, items: Sequence[Equation]) -> None:
        self.items, self.network, self.chain = items, chain.network, chain
        self.whose: dict[Symbol, list[int]] = {}
        for place, equation in enumerate(self.items):
            self.whose.setdefault(_without_indices(equation.target), []).append(place)
        self.read: set[tuple[int, int, Symbol]] = set()
        self.inputs = {
            equation.target: place for place, equation in enumerate(self.items) if equation.stage == "encode"
        }

    def everything_for(self, name: str) -> dict[int, set[tuple[int, ...]]]:
        """The lines of the quantity of that name, and of all that it depends on."""
        waiting = self._of_name(name)
        found: dict[int, set[tuple[int, ...]]] = {}
        asked: set[Symbol] = set()
        while waiting:
            place, values = waiting.pop()
            if values in found.setdefault(place, set()):
                continue
            found[place].add(values)
            for key in self._read_at(place, values):
                if key not in asked:
                    asked.add(key)
                    waiting += self._of_symbol(key)
        return found

    def _read_at(self, place: int, values: tuple[int, ...]) -> Iterator[Symbol]:
        """What one line is computed from, and the factors of the chain rule that lead to it."""
        equation = self.items[place]
        index = dict(zip(axes_of(equation), values, strict=True))
        derived = (form.equation.body for form in forms(self.chain, equation, None) if form.what == "chain")
        for number, body in enumerate(chained((equation.body,), derived)):
            over: tuple[str, ...] = ()
            if isinstance(body, Contract):
                over = (body.over,)
            elif isinstance(body, Reduce):
                over = body.over
            keys = [key for key in keys_of(body) if (place, number, key) not in self.read]
            # What all units of a layer read alike is followed once, not once for each of them.
            self.read.update((place, number, key) for key in keys if not set(key.open_axes) & set(index))
            keys = [key for key in keys if not _is_parameter(key)]
            sizes = {"j": self.network.n_outputs} | dict(equation.ranges)
            for more in product(*(range(1, sizes[axis] + 1) for axis in over if axis != "row")):
                bound = index | dict(zip(over, more, strict=False))
                yield from (key.bound(bound) for key in keys)

    def _of_symbol(self, key: Symbol) -> list[_At]:
        """The lines that compute a quantity; none for what is given: parameters, columns, targets."""
        if key in self.inputs:
            return [(self.inputs[key], ())]
        if key.kind == "x" and key.open_axes:
            return [(place, ()) for target, place in self.inputs.items() if target.kind == "x"]
        by = key.by
        if key.kind == "loss" and by is not None and by.kind in "zahwb":
            # Backpropagation has names of its own for these.
            kind, of = ("delta", "") if by.kind == "z" else ("dloss", by.kind)
            key = Symbol(kind, by.layer, by.axes, of)
        elif key.kind == "d" and key.layer is not None:
            key = Symbol("d")  # L-BFGS has one direction for all parameters
        elif key == Symbol("g"):
            penalised = {(e.target.layer, e.target.of) for e in self.items if e.target.kind == "dJ"}
            return [
                at
                for place, equation in enumerate(self.items)
                if equation.target.kind == "dJ"
                or (equation.target.kind == "dL" and (equation.target.layer, equation.target.of) not in penalised)
                for at in self._all_of(place)
            ]
        return [
            at
            for place in self.whose.get(_without_indices(key), [])
            if (index := _fitted(self.items[place].target, key)) is not None
            for at in self._all_of(place, index)
        ]

    def _all_of(self, place: int, index: Mapping[str, int] | None = None) -> Iterator[_At]:
        """Every line of an equation, or those with the values that `index` gives to some of the indices."""
        equation, fixed = self.items[place], index or {}
        sizes = dict(equation.ranges)
        ranges = [(fixed[axis],) if axis in fixed else range(1, sizes[axis] + 1) for axis in axes_of(equation)]
        for values in product(*ranges):
            yield place, values

    def _of_name(self, name: str) -> list[_At]:
        """The lines that a name means: a parameter its update, or its gradient where it has none."""
        gradients = (f"dJ/d{name}", f"dL/d{name}") if name[:1] in ("w", "b", "W", "B") else ()
        for one in (name, *gradients):
            if found := self._one_number(re.sub("^dloss/dz(?=[0-9])", "delta", one)) or self._all_units(one):
                return found
        reader = next((line for line in self._names_read() if line[0] == name), None)
        if reader is not None:
            raise UsageError(
                f"{name} is given, not computed, so it depends on nothing; {reader[1]} is computed from it."
            )
        near = did_you_mean(name, islice(self._names(), _CANDIDATES))
        raise UsageError(
            f"A quantity has the name that the equations print, z1_2 or dL/dw1_1_2 say; there is no {name!r}.{near}"
        )

    def _one_number(self, name: str) -> list[_At]:
        """The line with a target of that name; an error where such a line has other indices."""
        beyond = ""
        for place, equation in enumerate(self.items):
            index = _indices_in(name, equation.target)
            if index is None:
                continue
            sizes = dict(equation.ranges)
            outside = [axis for axis in axes_of(equation) if not 1 <= index[axis] <= sizes[axis]]
            if not outside:
                return [(place, tuple(index[axis] for axis in axes_of(equation)))]
            beyond = f"{outside[0]} of {equation.target} runs from 1 to {sizes[outside[0]]}; got {name!r}."
        if beyond:
            raise UsageError(beyond)
        return []

    def _all_units(self, name: str) -> list[_At]:
        """The lines of the first equation of that name: `z1`, `z1_j` or `Z1`."""
        for place, equation in enumerate(self.items):
            if name in (name_of_all(equation), str(equation.target), equation.target.matrix()):
                return list(self._all_of(place))
        return []

    def _names(self) -> Iterator[str]:
        """The name of every line's target, a few of each equation first."""
        for place, equation in enumerate(self.items):
            axes = axes_of(equation)
            for _, values in self._all_of(place):
                yield str(equation.target.bound(dict(zip(axes, values, strict=True))))

    def _names_read(self) -> Iterator[tuple[str, str]]:
        """What equations read, and the name of what they compute."""
        for place, equation in enumerate(self.items):
            for at in islice(self._all_of(place), 1000):
                computed = str(equation.target.bound(dict(zip(axes_of(equation), at[1], strict=True))))
                for key in islice(self._read_at(*at), 1000):
                    yield str(key), computed


def _is_parameter(key: Symbol) -> bool:
    return key.kind in ("w", "b") and key.layer is not None and key.by is None


def _without_indices(key: Symbol) -> Symbol:
    axes = len([axis for axis in key.axes if axis != "row"])
    return replace(key, axes=("",) * axes, by=key.by and _without_indices(key.by))


def _indices_in(name: str, target: Symbol) -> dict[str, int] | None:
    """The indices with which a target is printed as this name; None where there are none."""
    letters = [axis for axis in _every_axis(target) if isinstance(axis, str)]
    pattern = re.escape(str(target.bound(dict.fromkeys(letters, 0))))  # no index is 0
    if letters:
        pattern = re.sub("(?<![0-9])0(?![0-9])", "([0-9]{1,9})", pattern)
    shape = re.fullmatch(pattern, name)
    if shape is None:
        return None
    index: dict[str, int] = {}
    for letter, digits in zip(letters, shape.groups(), strict=True):
        if index.setdefault(letter, int(digits)) != int(digits):
            return None
    return index


def _fitted(target: Symbol, key: Symbol) -> dict[str, int] | None:
    """The indices with which an equation's target is the quantity `key`; None where it is another."""
    index: dict[str, int] = {}
    for pattern, value in zip(_every_axis(target), _every_axis(key), strict=True):
        if isinstance(pattern, int):
            if pattern != value:
                return None
        elif isinstance(value, int) and index.setdefault(pattern, value) != value:
            return None
    return index


def _every_axis(key: Symbol) -> list[str | int]:
    return [axis for axis in key.axes if axis != "row"] + (_every_axis(key.by) if key.by else [])


def axes_of(equation: Equation) -> list[str]:
    """The indices by which an equation has a line of its own."""
    sizes = dict(equation.ranges)
    return [axis for axis in equation.target.open_axes if axis in sizes]


def name_of_all(equation: Equation) -> str:
    """A target's name without its indices; each column of the table has an equation, and a name, of its own."""
    target = equation.target
    if target.by is not None:
        return str(replace(target, axes=(), by=replace(target.by, axes=())))
    return str(target if target.kind == "x" else replace(target, axes=()))


def keys_of(body: Map | Contract | Reduce) -> list[Symbol]:
    """The quantities in a formula, those in products of matrices included."""
    if isinstance(body, Contract):
        return [*([body.bias] if body.bias else []), *body.terms]
    found: list[Symbol] = []
    waiting = [body.expression]
    while waiting:
        for key in symbols(waiting.pop()):
            if isinstance(key, MatrixProduct):
                waiting += [factor for factor, _ in key.factors]
            elif isinstance(key, Symbol):
                found.append(key if key.kind != "slope" or key.by is None else key.by)
    return found
