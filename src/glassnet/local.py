"""The local equation: the linear function that a network is around one row, in the columns' own names and units.

Where every activation is piecewise linear the equation is exact within the row's region, and so are its ends and the
nearest flip of the decision. Where one is smooth it is the gradient's, an approximation, and how far it holds is
measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet import flips, reference
from glassnet.columns import AnyColumn, BooleanColumn, CategoryColumn, NumberColumn
from glassnet.encoding import Encoding
from glassnet.errors import UsageError
from glassnet.expressions import function, readable
from glassnet.local_equation import SCAN_STEP, SCANNED, TOLERANCE, LocalEquation, NearestFlip, Range, Switch, Term
from glassnet.losses import LINKS
from glassnet.network import Network, Parameters
from glassnet.piecewise import (
    LINEAR,
    Affine,
    Floats,
    Layer,
    Layers,
    Pattern,
    affine_of,
    first_crossings,
    first_positive,
    layers_of,
    pattern_at,
)
from glassnet.tables import Table


def local_equation(
    network: Network,
    members: Sequence[Parameters],
    encoding: Encoding,
    table: Table,
    row: int = 0,
    *,
    digits: int = 4,
    parts: int | None = None,
) -> LocalEquation:
    """The local equation of one row; `Model.local` says more.

    Raises `UsageError`: no such row, several members. Raises `DataError`: columns missing, or cells that cannot be
    used.

    >>> import numpy as np
    >>> table = Table.from_columns({"size": [1.0, 3.0, 5.0], "kind": ["B", "M", "M"]})
    >>> encoding, _, _ = Encoding.fit(table, ["size"], "kind")
    >>> network = Network((1, 1))
    >>> found = local_equation(network, [Parameters(network, np.array([2.0, 0.5]))], encoding, table, 2)
    >>> [round(c, 4) for c in (*found.intercepts, *found.terms[0].coefficients)]
    [-3.1742, 1.2247]
    >>> found.ranges[0].flips_below.__round__(4)
    2.5918
    """
    if not 0 <= row < table.n_rows:
        raise UsageError(f"A row is a number from 0 to {table.n_rows - 1}; got {row}.")
    if len(members) > 1:
        raise UsageError(
            f"A local equation is of one network; this model averages {len(members)}. "
            "Take a model of one of its members."
        )
    return _Local(network, members[0], encoding, table.select([row]), parts).equation(f"Row {row}", digits)


# --- columns as inputs that move ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mover:
    """A column of numbers that is not missing in this row, as one coordinate v.

    v is (number - center) / scale; where the column is bent (`clip`), v is the bent feature, between -3 and 3.
    """

    column: NumberColumn
    at: int  # its first feature
    start: float  # v at the row

    def undo(self, v: float) -> float:
        """The number, in the column's unit, for a v."""
        if self.column.clip:
            if abs(v) >= 3:
                return math.copysign(math.inf, v)
            v = v / math.sqrt(1 - (v / 3) ** 2)
        return self.column.center + self.column.scale * v

    @property
    def ends(self) -> tuple[float, float]:
        """What v lies between: a bent one nowhere beyond the bend of what is farthest."""
        if not self.column.clip:
            return -math.inf, math.inf
        most = max(flips.FARTHEST / math.sqrt(1 + (flips.FARTHEST / 3) ** 2), abs(self.start))
        return -most, most


def placed(encoding: Encoding) -> Iterator[tuple[AnyColumn, int, list[str]]]:
    """Every column with the place of its first feature and its features' names."""
    at = 0
    for column in encoding.columns:
        names = [step.target for step in column.steps() if isinstance(step.target, str)]
        yield column, at, names
        at += len(names)


def encoding_layer(encoding: Encoding, movers: Sequence[Mover], features: Floats) -> Layer:
    """From the movers' v (n,) to all features: linear, but for a column in pieces; what does not move is held."""
    W, b = np.zeros((len(movers), len(features))), features.copy()
    pieces = [LINEAR] * len(features)
    for j, mover in enumerate(movers):
        column = mover.column
        if not column.edges:
            W[j, mover.at], b[mover.at] = 1.0, 0.0
            continue
        last = len(column.edges) - 2
        for i, (low, high) in enumerate(zip(column.edges[:-1], column.edges[1:], strict=True)):
            k = mover.at + i
            W[j, k], b[k] = column.scale / (high - low), (column.center - low) / (high - low)
            bends = [z for z, there in ((0.0, i > 0), (1.0, i < last)) if there]
            slopes = [*([0.0] if i > 0 else []), 1.0, *([0.0] if i < last else [])]
            intercepts = [*([0.0] if i > 0 else []), 0.0, *([1.0] if i < last else [])]
            pieces[k] = replace(LINEAR, kinks=tuple(bends), slopes=tuple(slopes), intercepts=tuple(intercepts))
    most = max(len(p.kinks) for p in pieces)

    def padded(values: Sequence[tuple[float, ...]], n: int, fill: float) -> Floats:
        return np.array([[*row, *[fill] * (n - len(row))] for row in values]).reshape(len(pieces), n)

    return Layer(
        W,
        b,
        padded([p.kinks for p in pieces], most, np.inf),
        padded([p.slopes for p in pieces], most + 1, 0.0),
        padded([p.intercepts for p in pieces], most + 1, 0.0),
    )


def term_values(encoding: Encoding, table: Table) -> Floats:
    """What the terms of a local equation are for every row of a table: (n_rows, n_terms).

    Numbers as they are, dates as days, a missing one as what fills it; bent columns bent; 1 or 0 for the rest.

    >>> table = Table.from_columns({"size": [1.0, 3.0], "kind": ["B", "M"]})
    >>> encoding, _, _ = Encoding.fit(table, ["size", "kind"], None)
    >>> term_values(encoding, table).tolist()
    [[1.0, 1.0, 0.0], [3.0, 0.0, 1.0]]
    """
    X, found = encoding.encode(table), []
    for column, at, names in placed(encoding):
        if isinstance(column, NumberColumn) and not column.clip:
            found.append(next(iter(column.values(table).values())))
            names, at = names[-1:] if column.missing else [], at + len(names) - 1
        found += [X[:, at + i] for i in range(len(names))]
    return np.stack(found, axis=1)


def _terms(encoding: Encoding, features: Affine, X: Floats, values: Floats) -> tuple[list[Term], Floats]:
    """The terms in the user's units, and the intercepts, of a function of the features X (n_features,)."""
    terms: list[Term] = []
    intercepts = features.constants.copy()
    at_row = iter(values.tolist())

    def add(name: str, kind: str, column: str, coefficients: Floats) -> None:
        terms.append(Term(name, kind, column, next(at_row), tuple((coefficients + 0.0).tolist())))

    for column, at, names in placed(encoding):
        A = features.coefficients
        if isinstance(column, NumberColumn) and not column.clip:
            name = f"days of {column.source}" if column.date else column.source
            if column.edges:
                total = np.zeros(A.shape[1])
                last = len(column.edges) - 2
                for i, (low, high) in enumerate(zip(column.edges[:-1], column.edges[1:], strict=True)):
                    rising = (i == 0 or X[at + i] > 0) and (i == last or X[at + i] < 1)
                    if rising:
                        total += A[at + i] / (high - low)
                        intercepts -= A[at + i] * low / (high - low)
                    else:
                        intercepts += A[at + i] * X[at + i]
                add(name, "number", column.source, total)
            else:
                add(name, "number", column.source, A[at] / column.scale)
                intercepts -= A[at] * (column.center / column.scale)
            if column.missing:
                add(f"[{names[-1]}]", "switch", column.source, A[at + len(names) - 1])
            continue
        for i, name in enumerate(names):
            bent = isinstance(column, NumberColumn) and i == 0
            written, kind = (f"bent({name})", "bent") if bent else (f"[{name}]", "switch")
            add(written, kind, column.source, A[at + i])
    return terms, intercepts


# --- the calculation ----------------------------------------------------------------------------------------------


_MOST_NAMED = 16  # units of a layer whose sides are named; of a wider one they are counted


class _Local:
    """One row of one network: everything that the equation is made of."""

    def __init__(
        self, network: Network, parameters: Parameters, encoding: Encoding, one: Table, parts: int | None
    ) -> None:
        assert encoding.target is not None, "a model predicts something"
        self.network, self.encoding, self.one, self.parts = network, encoding, one, parts
        self.target = encoding.target
        self.parameters = Parameters(network, parameters.vector.astype(np.float64))
        self.X = encoding.encode(one)[0]
        self.trace = reference.forward(network, self.parameters, self.X[np.newaxis])
        self.layers = layers_of(network, self.parameters)
        self.movers = list(self._movers())
        self.start = np.array([mover.start for mover in self.movers])

    def _movers(self) -> Iterator[Mover]:
        for column, at, _ in placed(self.encoding):
            if isinstance(column, NumberColumn) and not self.one.column(column.source).missing[0]:
                raw = float(self.one.column(column.source).values[0])
                yield Mover(column, at, (raw - column.center) / column.scale if column.edges else float(self.X[at]))

    @property
    def unit(self) -> tuple[float, float]:
        """What the outputs are multiplied by and what is added: a number comes in its own unit."""
        number = self.target.kind == "number" and self.network.loss_row.link == "identity"
        return (self.target.scale, self.target.center) if number else (1.0, 0.0)

    def equation(self, title: str, digits: int) -> LocalEquation:
        logits, (scale, center) = self.trace.logits[0], self.unit
        remarks = list(self.encoding.remarks(self.one))
        if self.layers is not None:
            pattern = tuple(
                layer.pieces(z[0]) for layer, z in zip(self.layers, self.trace.pre_activations, strict=True)
            )
            features = affine_of(self.layers, pattern)[1]
            region = self._region(pattern)
            remarks += self._on_kinks()
            ranges, flip, said = self._exact(self.layers, pattern)
        else:
            pattern, region = (), ()
            features = self._gradient()
            ranges, flip = self._measured(features), None
            said = "not searched: it is exact for piecewise-linear activations alone."
        if self.target.kind == "number":
            flip, said = None, "a regression makes no decision, so nothing flips."
        # to the unit of what is predicted
        features = Affine(features.coefficients * scale, features.constants * scale + center)
        values = term_values(self.encoding, self.one)[0]
        terms, intercepts = _terms(self.encoding, features, self.X, values)
        outputs = np.array([center + scale * o for o in logits]) if scale != 1 or center else logits
        known = self.target.source in self.one.names and not self.one.column(self.target.source).missing[0]
        if known:
            title += f", {readable(self.target.source)} {readable(self.one.texts(self.target.source)[0])}"
        found = LocalEquation(
            title=title,
            exact=self.layers is not None,
            output_names=self._output_names(),
            intercepts=tuple(intercepts.tolist()),
            terms=tuple(terms),
            logits=tuple(outputs.tolist()),
            error=0.0,
            error_bound=self._error_bound(terms, intercepts, abs(scale)),
            probabilities=self._probabilities(self.trace.probabilities[0]),
            classes=self.target.classes,
            prediction=self._decides(self.trace.probabilities)[0],
            link=self.network.loss_row.link,
            region=region,
            pattern=tuple(tuple(pieces.tolist()) for pieces in pattern),
            ranges=tuple(ranges),
            switches=tuple(self._switches(pattern)),
            flip=flip,
            flip_said=said,
            remarks=tuple(remarks),
            digits=digits,
        )
        return replace(found, error=float(np.abs(found.evaluate(values) - outputs).max()))

    def _output_names(self) -> tuple[str, ...]:
        if self.target.kind == "binary":
            return (f"log-odds of {self.target.classes[1]}",)
        if self.target.kind == "classes":
            return tuple(f"logit of {label}" for label in self.target.classes)
        return (self.target.source if self.unit != (1.0, 0.0) or self.network.loss_row.link == "identity" else "logit",)

    def _probabilities(self, outputs: Floats) -> tuple[float, ...]:
        if self.target.kind == "number":
            return ()
        p = outputs.tolist()
        return (1 - p[0], p[0]) if self.target.kind == "binary" else tuple(p)

    def _decides(self, outputs: Any) -> list[str | float]:
        decoded = self.encoding.decode(outputs)
        return [value if isinstance(value, str) else float(value) for value in decoded]

    def _error_bound(self, terms: Sequence[Term], intercepts: Floats, scale: float) -> float:
        """What rounding can make of the difference: so many operations, each half a unit of the largest sum of sizes.

        The sizes: of the equation's own terms, and of what the network adds up on its way.
        """
        own = np.abs(intercepts) + sum(np.abs(term.value * np.array(term.coefficients)) for term in terms)
        sizes, operations = np.abs(self.X), len(terms) + 4
        centers = np.zeros(len(self.X))
        for column, at, _ in placed(self.encoding):
            if isinstance(column, NumberColumn) and not column.edges:
                centers[at] = abs(column.center / column.scale)
        sizes = sizes + centers
        for layer in range(self.network.n_layers):
            W, b = self.parameters.weights[layer], self.parameters.biases[layer]
            sizes = sizes @ np.abs(W) + np.abs(b)  # no activation of ours that is piecewise linear enlarges
            operations += len(W) + 3
        largest = max(float(own.max()), float(sizes.max()) * scale)
        return 2 * operations * float(np.finfo(np.float64).eps) * largest

    # exactly

    def _exact(self, layers: Layers, of_network: Pattern) -> tuple[list[Range], NearestFlip | None, str]:
        first = encoding_layer(self.encoding, self.movers, self.X)
        every = (first, *layers)
        pattern = (pattern_at([first], self.start)[0], *of_network)
        n = len(self.movers)
        if n == 0:
            return [], None, "no column is a number that could move; see what a switch does."
        axes = np.vstack([-np.eye(n), np.eye(n)])
        reach = first_crossings(every, self.start, pattern, axes)
        alone = np.full(2 * n, np.nan)
        flip: NearestFlip | None = None
        said = ""
        if self.target.kind != "number":
            margins = self._margins()
            towards = (*every, margins)
            level = flips.rounding_level(towards, self.start)
            inside = (*pattern, np.zeros(margins.units, dtype=np.intp))
            far = np.minimum(self._room(axes), flips.FARTHEST)
            alone = first_positive(towards, self.start, inside, axes, far, level)
            flip = self._nearest(towards)
        return [self._range(j, reach, alone) for j in range(n)], flip, said

    def _room(self, axes: Floats) -> Floats:
        """How far along each axis (d,) inputs exist: bent ones end."""
        low, high = np.array([mover.ends for mover in self.movers]).T
        with np.errstate(all="ignore"):
            ends = np.where(axes > 0, (high - self.start) / axes, (low - self.start) / axes)
        return np.asarray(np.where(axes == 0, np.inf, ends).min(axis=1))

    def _range(self, j: int, reach: Floats, alone: Floats) -> Range:
        mover, n = self.movers[j], len(self.movers)

        def at(t: float) -> float:
            return math.copysign(math.inf, t) if math.isinf(t) else mover.undo(mover.start + t)

        def flips_at(t: float) -> float | None:
            return None if not math.isfinite(t) else mover.undo(mover.start + t)

        return Range(
            column=mover.column.source,
            kind=mover.column.kind,
            value=float(self.one.column(mover.column.source).values[0]),
            scale=mover.column.scale,
            falls_to=at(-float(reach[j])),
            rises_to=at(float(reach[n + j])),
            flips_below=flips_at(-float(alone[j])),
            flips_above=flips_at(float(alone[n + j])),
            flips_known=not (math.isnan(alone[j]) or math.isnan(alone[n + j])),
        )

    def _margins(self) -> Layer:
        """How far every other class is ahead of the chosen one: a last layer, above 0 where the decision is another."""
        if self.target.kind == "binary":
            sign = -1.0 if self.trace.probabilities[0, 0] > 0.5 else 1.0
            return Layer.alike([[sign]], [0.0], LINEAR)
        m, chosen = self.network.n_outputs, int(self.trace.probabilities[0].argmax())
        ahead = np.delete(np.eye(m), chosen, axis=1)
        ahead[chosen] = -1.0
        return Layer.alike(ahead, np.zeros(m - 1), LINEAR)

    def _nearest(self, towards: Layers) -> NearestFlip:
        low, high = np.array([mover.ends for mover in self.movers]).T
        found = flips.nearest_flip(towards, self.start, low, high, self.parts)
        if found.point is None:
            return NearestFlip(found.lower, found.upper, False, {}, None, found.parts)
        values = {
            mover.column.source: mover.undo(v)
            for mover, v in zip(self.movers, found.point.tolist(), strict=True)
            if v != mover.start
        }
        features = encoding_layer(self.encoding, self.movers, self.X).value(found.point)
        outputs = reference.forward(self.network, self.parameters, features[np.newaxis]).probabilities
        return NearestFlip(found.lower, found.upper, found.exact, values, str(self._decides(outputs)[0]), found.parts)

    def _region(self, pattern: Pattern) -> tuple[str, ...]:
        """A line for every layer that has kinks: which units are on which side."""
        assert self.layers is not None
        lines = []
        for number, (layer, pieces) in enumerate(zip(self.layers, pattern, strict=True), start=1):
            kinks = layer.kinks[0].tolist()
            if not kinks:
                continue
            texts = []
            for piece in range(len(kinks), -1, -1):
                units = (np.flatnonzero(pieces == piece) + 1).tolist()
                above = f"z > {kinks[piece - 1]:g}" if piece else f"z <= {kinks[0]:g}"
                side = above if piece in (0, len(kinks)) else f"{kinks[piece - 1]:g} < z <= {kinks[piece]:g}"
                if layer.units > _MOST_NAMED:
                    texts.append(f"{side} in {len(units)} of {layer.units} units")
                elif units:
                    texts.append(f"{side} in unit {', '.join(map(str, units))}")
            lines.append(f"layer {number}, {self.network.activations[number - 1]}: {'; '.join(texts)}")
        return tuple(lines)

    def _on_kinks(self) -> Iterator[str]:
        assert self.layers is not None
        for number, (layer, z) in enumerate(zip(self.layers, self.trace.pre_activations, strict=True), start=1):
            units = np.flatnonzero((layer.kinks == z[0][:, np.newaxis]).any(axis=1)) + 1
            if len(units):
                yield (
                    f"layer {number}: unit {', '.join(map(str, units[:10]))} is exactly at its kink, where two "
                    "equations meet; the one from below is shown"
                )

    # switches

    def _switches(self, pattern: Pattern) -> Iterator[Switch]:
        options: list[tuple[str, str, str]] = []
        rows: list[Floats] = []
        for column, at, names in placed(self.encoding):
            if isinstance(column, NumberColumn):
                continue
            now = self.X[at : at + len(names)]
            for text, features in _choices(column, len(names)):
                if not (features == now).all():
                    moved = self.X.copy()
                    moved[at : at + len(names)] = features
                    rows.append(moved)
                    options.append((column.source, self._cell(column), text))
        if not rows:
            return
        trace = reference.forward(self.network, self.parameters, np.array(rows))
        scale, center = self.unit
        before = self._decides(self.trace.probabilities)[0]
        decided = self._decides(trace.probabilities)
        for i, (source, now_text, text) in enumerate(options):
            same = self.layers is not None and all(
                bool((layer.pieces(z[i]) == pieces).all())
                for layer, z, pieces in zip(self.layers, trace.pre_activations, pattern, strict=True)
            )
            outputs = tuple(center + scale * float(o) for o in trace.logits[i])
            flips_it = self.target.kind != "number" and decided[i] != before
            yield Switch(source, now_text, text, outputs, decided[i], flips_it, same)

    def _cell(self, column: AnyColumn) -> str:
        return "missing" if self.one.column(column.source).missing[0] else self.one.texts(column.source)[0].strip()

    # approximately

    def _gradient(self) -> Affine:
        """The tangent at the row: d output / d feature, (n_features, n_outputs), and what is left."""
        A = np.eye(len(self.X))
        for layer in range(self.network.n_layers):
            derivative = function(self.network.activation_row(layer + 1).derivative, ("z", "a"))
            z, a = self.trace.pre_activations[layer][0], self.trace.activations[layer + 1][0]
            A = (A @ self.parameters.weights[layer]) * derivative(z, a)
        return Affine(A, self.trace.logits[0] - self.X @ A)

    def _measured(self, features: Affine) -> list[Range]:
        """How far each column may move alone until the tangent errs by more than `TOLERANCE`: steps, then bisection."""
        n = len(self.movers)
        if n == 0:
            return []
        first = encoding_layer(self.encoding, self.movers, self.X)
        axes = np.vstack([-np.eye(n), np.eye(n)])
        room = np.minimum(self._room(axes), SCANNED)

        def good(t: Floats) -> NDArray[np.bool_]:
            moved = first.value(self.start + t[:, np.newaxis] * axes)
            trace = reference.forward(self.network, self.parameters, moved)
            near = self._linked(features.at(moved))
            return np.asarray(np.abs(near - trace.probabilities).max(axis=1) <= TOLERANCE)

        low, high = np.zeros(2 * n), np.full(2 * n, np.inf)
        for step in np.arange(1, round(SCANNED / SCAN_STEP) + 1) * SCAN_STEP:
            t = np.minimum(step, room * (1 - 1e-9))
            holds, open_ = good(t), np.isinf(high)
            low, high = np.where(open_ & holds, t, low), np.where(open_ & ~holds, t, high)
            if np.isfinite(high).all():
                break
        ended = np.isfinite(high)
        for _ in range(50):
            middle = np.where(ended, (low + np.where(ended, high, 0)) / 2, low)
            holds = good(middle)
            low, high = np.where(ended & holds, middle, low), np.where(ended & ~holds, middle, high)
        return [self._range(j, np.where(ended, low, np.inf), np.full(2 * n, np.nan)) for j in range(n)]

    def _linked(self, logits: Floats) -> Floats:
        m = logits.max(axis=1, keepdims=True)
        s = np.exp(logits - m).sum(axis=1, keepdims=True)
        return np.asarray(function(LINKS[self.network.loss_row.link].value, ("o", "m", "s"))(logits, m, s))


def _choices(column: BooleanColumn | CategoryColumn, width: int) -> Iterator[tuple[str, Floats]]:
    """What a cell of the column could say instead, with its features."""
    if isinstance(column, BooleanColumn):
        for text, number in (("false", 0.0), ("true", 1.0)):
            yield text, np.array([number, *[0.0] * (width - 1)])
        return
    for i, text in enumerate([*column.levels, *(["any other text"] if column.other else [])]):
        yield text, np.eye(width)[i]
