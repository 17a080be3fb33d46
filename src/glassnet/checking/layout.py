"""How a candidate holds its arrays: which way round, in which container; handing over and taking back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from glassnet.checking.cases import Case
from glassnet.checking.computation import Quantity
from glassnet.checking.names import listed, numbered
from glassnet.checking.protocol import Declared


@dataclass(frozen=True)
class Layout:
    """`out_in`: weights are (n_out, n_in). `columns`: X is (n_features, n). `bias`: flat, row or column.

    `targets`: table (n, k), flat (n,) or labels (class numbers). `container`: how `parameters` holds the arrays: named,
    flat (a list W1, b1, ...), pairs or lists (of weights, of biases). `base`: the number of the first layer.
    `row`: vector, where one row is given without its axis of rows.
    """

    out_in: bool = False
    columns: bool = False
    bias: str = "flat"
    targets: str = "table"
    container: str = "named"
    base: int = 1
    row: str = ""


def layouts(declared: Declared, containers: Iterable[str] = ("named",)) -> Iterator[Layout]:
    """Every way that may be meant, common ones first."""
    for container in containers:
        for targets in ("table", "flat", "labels"):
            for columns, out_in, bias in (
                (False, False, "flat"),
                (False, False, "row"),
                (True, True, "column"),
                (False, True, "flat"),
                (False, True, "row"),
                (True, False, "column"),
            ):
                if declared.allows("layout", "columns" if columns else "rows") and declared.allows(
                    "orientation", "out_in" if out_in else "in_out"
                ):
                    yield Layout(out_in, columns, bias, targets, container)


def weights_given(case: Case, layout: Layout) -> list[Any]:
    """Copies of the weight matrices, the candidate's way round."""
    return [np.array(W.T if layout.out_in else W, order="C") for W in case.weights]


def biases_given(case: Case, layout: Layout) -> list[Any]:
    """Copies of the biases, in the candidate's shape."""
    shape = {"flat": (-1,), "row": (1, -1), "column": (-1, 1)}[layout.bias]
    return [np.array(b).reshape(shape) for b in case.biases]


def inputs_given(case: Case, layout: Layout) -> Any:
    """A copy of X."""
    if layout.row == "vector":
        return np.array(case.X[0])
    return np.array(case.X.T if layout.columns else case.X, order="C")


def targets_given(case: Case, layout: Layout) -> Any:
    """A copy of y."""
    if layout.row == "vector":
        return np.array(case.y[0])
    if layout.targets == "labels":
        return case.y.argmax(axis=1) if case.sizes[-1] > 1 else case.y[:, 0].astype(int)
    if layout.targets == "flat":
        return np.array(case.y[:, 0]) if case.sizes[-1] == 1 else case.y.argmax(axis=1)
    return np.array(case.y.T if layout.columns else case.y, order="C")


class Named(dict[str, Any]):
    """Parameters by name, W1, b1, ..., found under whatever spelling they are asked for; `zero_based` tells of a W0."""

    def __init__(self, numbers: Mapping[str, Any], layout: Layout, L: int) -> None:
        super().__init__(numbers)
        self.L, self.base, self.zero_based = L, layout.base, False

    def __missing__(self, key: Any) -> Any:
        kind = listed(str(key))
        if kind in ("W", "b"):
            return [dict.__getitem__(self, f"{kind}{layer + self.base - 1}") for layer in range(1, self.L + 1)]
        found = numbered(str(key), self.L, self.base)
        if found is None or found.kind not in ("W", "b"):
            self.zero_based |= self.base == 1 and numbered(str(key), self.L, 0) is not None
            raise KeyError(key)
        return dict.__getitem__(self, f"{found.kind}{found.layer + self.base - 1}")

    def get(self, key: Any, default: Any = None) -> Any:
        """As indexing does, spelling aside."""
        try:
            return self[key]
        except KeyError:
            return default


def parameters_given(case: Case, layout: Layout) -> Any:
    """The parameters in the candidate's container."""
    Ws, bs = weights_given(case, layout), biases_given(case, layout)
    if layout.container == "flat":
        return [part for pair in zip(Ws, bs, strict=True) for part in pair]
    if layout.container == "pairs":
        return list(zip(Ws, bs, strict=True))
    if layout.container == "lists":
        return [Ws, bs]
    named: dict[str, Any] = {}
    for at, (W, b) in enumerate(zip(Ws, bs, strict=True), start=layout.base):
        named |= {f"W{at}": W, f"b{at}": b}
    return Named(named, layout, len(Ws))


# Taking back.


def is_number(value: Any) -> bool:
    """Whether a value is one number."""
    return isinstance(value, int | float | np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0)


def taken(quantity: Quantity, value: Any, case: Case, layout: Layout) -> Any:
    """A candidate's array in glassnet's orientation; of another shape where its own is not the expected one."""
    array = np.asarray(value)
    if array.dtype == object or array.dtype.kind not in "biufc":
        raise TypeError(f"{quantity} is not an array of numbers")
    array = array.astype(float) if array.dtype.kind in "biu" else array
    kind, layer = quantity
    if kind == "loss":
        return array.reshape(()) if array.size == 1 else array.mean()
    if kind in ("dW", "W"):
        return array.T if layout.out_in else array
    if kind in ("db", "b"):
        if array.size == case.sizes[layer] or (array.ndim == 2 and array.shape[not layout.columns] == array.size):
            return array.ravel()  # also where it is that of a layer of another size
        return array.T if layout.columns else array
    if array.ndim == 1:
        return array[np.newaxis] if layout.row == "vector" else array[:, np.newaxis]
    return array.T if layout.columns else array


def leaves(value: Any) -> list[Any]:
    """Arrays and numbers of nested lists and tuples, in order."""
    if isinstance(value, list | tuple):
        if value and all(is_number(item) for item in value) and isinstance(value, list):
            return [value]
        return [leaf for item in value for leaf in leaves(item)]
    return [] if value is None or isinstance(value, str | dict) else [value]


def parts_of(value: Any, L: int) -> list[Any]:
    """The arrays of all layers in order, also where each of them is made of lists of numbers.

    >>> len(parts_of(([[1.0, 2.0]], [0.0, 0.0]), L=1)), len(parts_of([[np.ones(2)], [np.ones(1)]], L=1))
    (2, 2)
    """
    flat = leaves(value)
    plain_lists = isinstance(value, list | tuple) and not any(isinstance(leaf, np.ndarray) for leaf in flat)
    if plain_lists and len(value) in (2 * L, 2 * L + 1):
        return list(value)
    # A list of numbers may be one of every layer.
    spread = [item for leaf in flat for item in (leaf if isinstance(leaf, list) and len(leaf) == L else [leaf])]
    with_loss = len(spread) == 2 * L + 1 and is_number(flat[0])
    return spread if with_loss or (len(spread) == 2 * L != len(flat)) else flat


def by_name(values: Mapping[str, Any], L: int, base: int) -> dict[Quantity, Any]:
    """Numbers under the names of a dict or of attributes; lists over layers too."""
    found: dict[Quantity, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= by_name(value, L, base)
            continue
        quantity = numbered(str(name), L, base)
        if quantity is not None:
            if not callable(value) and value is not None:
                found.setdefault(quantity, value)
        elif (kind := listed(str(name))) is not None and isinstance(value, list | tuple):
            items = list(value)
            if kind == "a" and len(items) == L + 1:
                items = items[1:]
            if len(items) in (L, L + 1) and all(item is None for item in items[: len(items) - L]):
                for layer, item in enumerate(items[len(items) - L :], start=1):
                    at = Quantity("p") if kind == "a" and layer == L else Quantity(kind, layer)
                    found.setdefault(at, item)
    return found


def in_order(values: Sequence[Any], case: Case, layout: Layout, kinds: tuple[str, str]) -> dict[Quantity, Any]:
    """Unnamed arrays of all layers, weights' and biases', in the order that their sizes fit best."""
    L = len(case.weights)
    one, two = kinds
    orders = []
    for some in (kinds, kinds[::-1]):
        for layers in (range(1, L + 1), range(L, 0, -1)):
            orders.append([Quantity(kind, layer) for layer in layers for kind in some])
            orders.append([Quantity(kind, layer) for kind in some for layer in layers])
    wanted: dict[Quantity, tuple[tuple[int, ...], int]] = {}
    for layer, (W, b) in enumerate(zip(weights_given(case, layout), biases_given(case, layout), strict=True), start=1):
        wanted |= {Quantity(one, layer): (W.shape, W.size), Quantity(two, layer): (b.shape, b.size)}

    def fit(order: list[Quantity]) -> int:
        score = 0
        for quantity, value in zip(order, values, strict=True):
            shape, size = wanted[quantity]
            score += 2 * (np.shape(value) == shape) + (np.size(value) == size)
        return score

    if len(values) != 2 * L:
        return {}
    best = max(orders, key=fit)
    return dict(zip(best, values, strict=True))
