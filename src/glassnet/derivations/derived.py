"""Every equation of a network or a model, derived: what `gn.derive` gives, and how it is written out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain as chained
from itertools import islice, product
from typing import Any

from glassnet.derivations import latex, mathml
from glassnet.derivations.chains import (
    SHARE,
    Chain,
    Form,
    MatrixProduct,
    forms,
    link_equations,
    matrix_forms,
    sum_equations,
    unit_equations,
)
from glassnet.derivations.dependencies import Search, axes_of, keys_of, name_of_all
from glassnet.derivations.lines import Line, Place
from glassnet.derivations.text import text_of
from glassnet.equations import STAGES, Equation, Map, Reduce, Symbol, equations
from glassnet.errors import UsageError, did_you_mean
from glassnet.expressions import Expression, call, const, parse, substitute, symbol, symbols
from glassnet.model import BecomesModel, Model, as_model
from glassnet.network import Network, checked_dropout
from glassnet.optimizers import LBFGS, Optimizer, Schedule, optimizer_of
from glassnet.training import Run

FORMS = ("scalar", "indexed", "matrix")
AnyOptimizer = Optimizer | LBFGS
Chosen = Mapping[int, tuple[tuple[int, ...], ...]]

_SHOWN = 300
"""Lines that a notebook or an interactive session shows; text and html have them all."""


@dataclass(frozen=True, repr=False)
class Derivation:
    """Every equation of a network in order of computation, and how each follows from the chain rule.

    `items`: the equations, indexed (`z1_j`). `chosen`: which of their lines are meant, an equation's place with the
    values of its indices; all where it is None. `optimizer`: whose updates are among them; `l1`, `l2`: of the penalty;
    `dropout`: whether the masks are.

    `text`, `latex`, `latex_document`, `mathml`, `html` and `to_json` write it out; a notebook shows it by itself.
    `form` is `scalar`, a line for every number; `indexed`, one for all units of a layer; `matrix`, all units and rows
    at once.

    >>> print(derive(Network((1, 1))).only("w1_1_1").stage("backward"))
    backward
      dloss/dp = (p - y) / (p * (1 - p))     derivative of binary_cross_entropy by p
      dp/do = p * (1 - p)                    derivative of sigmoid
      dloss/do = dp/do * dloss/dp
               = p * (1 - p) * ((p - y) / (p * (1 - p)))
               = p - y                       derivative of binary_cross_entropy
      do/dz1_1 = 1                           derivative of identity
      delta1_1 = dloss/dz1_1
               = do/dz1_1 * dloss/do
               = p - y                       derivative of binary_cross_entropy
      dz1_j/dw1_i_j = x_i
      dloss/dw1_1_1 = dz1_1/dw1_1_1 * dloss/dz1_1
                    = x1 * delta1_1          cached delta
                    = dz1_1/dw1_1_1 * do/dz1_1 * dp/do * dloss/dp  over its one path
                    = x1 * (p - y)
      dL/dw1_1_1 = sum over rows of share * dloss/dw1_1_1
                 = sum over rows of share * x1 * delta1_1
    """

    network: Network
    items: tuple[Equation, ...]
    optimizer: AnyOptimizer | None = None
    l1: float = 0.0
    l2: float = 0.0
    dropout: bool = False
    chosen: Chosen | None = None

    def __iter__(self) -> Iterator[Equation]:
        return (equation for place, equation in enumerate(self.items) if self.chosen is None or place in self.chosen)

    def __getitem__(self, name: str) -> Equation:
        """The equation of `z1`, `delta2`, `dL/dw1`, `loss`: a target's name without its indices."""
        for equation in self:
            if name_of_all(equation) == name:
                return equation
        raise UsageError(f"There is no equation for {name!r}.{did_you_mean(name, self.names())}")

    def names(self) -> list[str]:
        """What `[]` takes."""
        return [name_of_all(equation) for equation in self]

    def stage(self, name: str) -> Derivation:
        """The equations of one of `STAGES`."""
        if name not in STAGES:
            raise UsageError(f"A stage is one of {', '.join(STAGES)}; got {name!r}.{did_you_mean(name, STAGES)}")
        places = [place for place, equation in enumerate(self.items) if equation.stage == name]
        if self.chosen is not None:
            return replace(self, chosen={place: self.chosen[place] for place in places if place in self.chosen})
        return replace(self, items=tuple(self.items[place] for place in places))

    def only(self, name: str) -> Derivation:
        """One quantity and all that it is computed from, and nothing else.

        `name` is that of a single number, as it is printed: a unit's `z1_2` or `delta1_2`, a gradient `dL/dw1_1_2`,
        `p`, `loss`; a parameter, `w1_1_2`, means its update, or its gradient where there is no optimiser. Without
        indices, `z1`, or as a matrix, `Z1`, it means all units of the layer.

        Raises UsageError, with the nearest name, where there is no such quantity.

        >>> derive(Network((2, 2, 1))).only("a1_2").text().splitlines()
        ['forward', '  z1_2 = b1_2 + w1_1_2 * x1 + w1_2_2 * x2', '  a1_2 = max(z1_2, 0)                    relu']
        """
        found = Search(Chain(self.network, self.dropout), self.items).everything_for(name)
        order = sorted(found)
        return replace(self, chosen={place: tuple(sorted(found[place])) for place in order})

    # --- written out --------------------------------------------------------------------------------------------------

    def lines(self, form: str = "scalar", notation: str = "text") -> Iterator[Line]:
        """Every line, written in `text`, `latex` or `mathml`; made one by one, so that any number of units is no load.

        >>> [line.target for line in derive(Network((1, 1))).stage("forward").lines()]
        ['z1_1', 'o', 'p']
        """
        if form not in FORMS:
            raise UsageError(f"A form is one of {', '.join(FORMS)}; got {form!r}.{did_you_mean(form, FORMS)}")
        chain = Chain(self.network, self.dropout)
        write = _writer(notation, form == "matrix")
        for place, equation in enumerate(self.items):
            if self.chosen is not None and place not in self.chosen:
                continue
            if form == "matrix":
                if not _of_single_rows(equation):
                    yield write(equation, list(matrix_forms(chain, equation)))
            elif form == "indexed":
                yield write(equation, list(forms(chain, equation, None)))
            else:
                yield from self._scalars(chain, write, place, equation)

    def _scalars(self, chain: Chain, write: _Writer, place: int, equation: Equation) -> Iterator[Line]:
        axes = axes_of(equation)
        sizes = dict(equation.ranges)
        every: Iterable[tuple[int, ...]] = product(*(range(1, sizes[axis] + 1) for axis in axes))
        if self.chosen is not None:
            every = self.chosen[place]
        if chain.over_classes and equation.target.kind == "loss" and equation.target.by is not None:
            # Here the class's own term differs from the others, so no line is another with other indices.
            for values in every:
                yield write(equation, list(forms(chain, equation, dict(zip(axes, values, strict=True)))))
            return
        places = {axis: Place(axis, number) for number, axis in enumerate(axes)}
        line = write(equation, list(forms(chain, equation, places)))
        for values in every:
            yield line.filled(dict(zip(axes, values, strict=True)))

    def text(self, form: str = "scalar", width: int = 120) -> str:
        """Every line as text under its stage's name, none wider than `width` columns."""
        return "\n".join(self.text_lines(form, width))

    def text_lines(self, form: str = "scalar", width: int = 120) -> Iterator[str]:
        """`text`, line by line."""
        return text_of(self.lines(form), width)

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return "\n".join(text_of(self._first_lines(), 120)) + self._rest()

    def latex(self, form: str = "scalar") -> str:
        """An `aligned` block for mathematics mode, to be put into a paper."""
        return latex.aligned(self.lines(form, "latex"))

    def latex_document(self, form: str = "scalar") -> Iterator[str]:
        r"""A whole document for pdflatex, piece by piece; long lines are broken by TeX.

        A letter that TeX's own fonts lack is written by its number, U+5E74.

        >>> "".join(derive(Network((2, 1))).latex_document()).splitlines()[0]
        '\\documentclass{article}'
        """
        return latex.document(self.title, self.lines(form, "latex"))

    def mathml(self, form: str = "scalar") -> str:
        """A `<div>` for any page: the equations as MathML, with their style, no script."""
        return "".join(mathml.fragment(self.lines(form, "mathml")))

    def html(self, form: str = "scalar") -> Iterator[str]:
        """A page of its own, piece by piece: no script, nothing fetched from anywhere."""
        return mathml.page(self.title, self.lines(form, "mathml"))

    def to_json(self, form: str = "scalar") -> dict[str, Any]:
        """The same as plain data: `network`, `optimizer`, `l1`, `l2`, `dropout`, `form`, and `equations`.

        Each equation: `stage`; `target` and `target_latex`; `forms`, each with `what` it is (textbook, chain, cached,
        paths, product, recursion, or definition, the one that is computed), `text`, `latex` and a `note`; and `reads`,
        the names of the quantities from which the target is computed.

        >>> derive(Network((1, 1))).to_json()["equations"][0]["reads"]
        ['b1_1', 'w1_1_1', 'x1']
        """
        parts = json.loads("".join(self.json_pieces(form)))
        assert isinstance(parts, dict)
        return parts

    def json_pieces(self, form: str = "scalar") -> Iterator[str]:
        """The text of `to_json`, piece by piece."""
        network = self.network
        head = {
            "network": {
    "sizes": list(network.sizes), "activations": list(network.activations), "loss": network.loss},
            "optimizer": None if self.optimizer is None else repr(self.optimizer),
            "l1": self.l1, "l2": self.l2, "dropout": self.dropout, "form": form,
        }  # fmt: skip
        yield json.dumps(head, ensure_ascii=False, indent=2).removesuffix("\n}") + ',\n  "equations": ['
        between = "\n"
        for line, in_latex in zip(self.lines(form), self.lines(form, "latex"), strict=True):
            every = zip(line.whats, line.rights, in_latex.rights, line.notes, strict=True)
            item = {
                "stage": line.stage,
                "target": line.target,
                "target_latex": in_latex.target,
                "forms": [dict(zip(("what", "text", "latex", "note"), one, strict=True)) for one in every],
                "reads": list(line.reads),
            }
            yield f"{between}    {json.dumps(item, ensure_ascii=False)}"
            between = ",\n"
        yield "\n  ]\n}\n"

    @property
    def title(self) -> str:
        """What network this is, in a line."""
        sizes, network = "-".join(map(str, self.network.sizes)), self.network
        hidden = f"{', '.join(dict.fromkeys(network.activations[:-1]))}, " if network.n_layers > 1 else ""
        return f"The equations of the network {sizes} ({hidden}{network.loss})"

    def _first_lines(self, notation: str = "text") -> Iterator[Line]:
        return islice(self.lines(notation=notation), _SHOWN)

    def _rest(self) -> str:
        left = self.n_lines - _SHOWN
        return (
            f"\n... and {left:,} more lines; text() has them all, only(name) the one you look for" if left > 0 else ""
        )

    @property
    def n_lines(self) -> int:
        """Lines of the scalar form."""
        if self.chosen is not None:
            return sum(map(len, self.chosen.values()))
        total = 0
        for equation in self.items:
            sizes, n = dict(equation.ranges), 1
            for axis in axes_of(equation):
                n *= sizes[axis]
            total += n
        return total

    def _repr_html_(self) -> str:
        """How a notebook shows it."""
        rest = f"<p>{self._rest()}</p>" if self._rest() else ""
        return "".join(mathml.fragment(self._first_lines("mathml"))) + rest

    def _repr_latex_(self) -> str:
        """How a notebook that becomes a LaTeX document shows it."""
        return f"$${latex.aligned(self._first_lines('latex'))}$$"


def derive(
    what: Network | Model | Run | BecomesModel,
    optimizer: AnyOptimizer | None = None,
    *,
    l1: float | None = None,
    l2: float | None = None,
    dropout: float | Sequence[float] | None = None,
) -> Derivation:
    """Every equation of a network, a model or a run: encode, forward, loss, backward, penalty, update, decode.

    A fitted estimator is taken by its `to_model`. A model's or a run's updates, penalty and masks are those it was
    trained with; what is given here takes their place. A network alone has an update only where an `optimizer` is
    given. `dropout`: as `checked_dropout` takes it.

    Every weight's derivative is written four times: its chain rule, dz/dw dloss/dz; with the cached delta; with every
    factor up to the loss by name, summed over all paths; and with what those factors are. Beyond
    `chains.PATHS_SPELLED_OUT` paths the recursion from layer to layer takes the place of the last two.

    >>> print(derive(Network((1, 1), loss="mean_squared_error")).stage("forward").text())
    forward
      z1_1 = b1_1 + w1_1_1 * x1
      o = z1_1                               identity
      p = o                                  identity
    """
    encode: Iterable[Equation] = ()
    decode: Iterable[Equation] = ()
    n_updates = None
    what = as_model(what)
    assert isinstance(what, Network | Model | Run)
    if isinstance(what, Run):
        spec = what.spec
        optimizer = optimizer or spec.optimizer
        l1, l2 = spec.l1 if l1 is None else l1, spec.l2 if l2 is None else l2
        dropout = spec.dropout if dropout is None else dropout
    elif isinstance(what, Model):
        trained = _Training.of(what)
        encode, decode = what.encode_equations, what.decode_equations
        if optimizer is None:
            optimizer, n_updates = trained.optimizer, trained.n_updates
        l1, l2 = trained.l1 if l1 is None else l1, trained.l2 if l2 is None else l2
    network = what if isinstance(what, Network) else what.network
    l1, l2 = l1 or 0.0, l2 or 0.0
    masked = any(checked_dropout(network, dropout)) if dropout is not None else False
    chain = Chain(network, masked)
    first_order = optimizer if isinstance(optimizer, Optimizer) else None
    middle = _with_factors(chain, equations(network, first_order, l1=l1, l2=l2, dropout=masked), first_order, n_updates)
    update = _lbfgs_equations(network, optimizer) if isinstance(optimizer, LBFGS) else ()
    items = tuple(chained(encode, middle, update, decode))
    if isinstance(what, Model) and (n := len(what.members)) > 1:
        said = f"{{}}; of each of {n} networks, whose p are averaged"
        items = tuple(
            replace(e, note=said.format(e.note)) if e.target.kind == "p" and not e.target.by else e for e in items
        )
    return Derivation(network, items, optimizer, float(l1), float(l2), masked)


@dataclass(frozen=True)
class _Training:
    """How a model was trained, as far as its provenance says."""

    optimizer: AnyOptimizer | None
    n_updates: int | None
    l1: float
    l2: float

    @classmethod
    def of(cls, model: Model) -> _Training:
        told = model.provenance
        text = told.get("optimizer")

        def number(name: str) -> float:
            value = told.get(name)
            return float(value) if isinstance(value, int | float) and value >= 0 else 0.0

        rows = told.get("rows")
        n, epochs, batch = (
            rows.get("train") if isinstance(rows, dict) else None,
            told.get("epochs"),
            told.get("batch_size"),
        )
        n_updates = None
        if isinstance(n, int) and isinstance(epochs, int) and (batch is None or (isinstance(batch, int) and batch > 0)):
            n_updates = epochs * -(-n // (batch or n or 1))
        return cls(optimizer_of(text) if isinstance(text, str) else None, n_updates, number("l1"), number("l2"))


# --- the equations beside the network's own ---------------------------------------------------------------------------


def _with_factors(
    chain: Chain, every: Iterable[Equation], optimizer: Optimizer | None, n_updates: int | None
) -> Iterator[Equation]:
    """A network's equations, each behind those of the factors that its derivation names."""
    seen: set[str] = set()
    for equation in every:
        target = equation.target
        if target.kind == "L":
            u, total = Symbol("u", None, ("row",)), Symbol("U")
            yield Equation(
                total, Reduce("sum", ("row",), symbol(u)), "loss", (), "row weights, each 1 where none are given"
            )
            yield Equation(SHARE, Map(call("div", symbol(u), symbol(total))), "loss", (), "a row's share of the batch")
        if equation.stage == "backward" and "backward" not in seen:
            yield from link_equations(chain)
        if target.kind == "delta":
            yield from unit_equations(chain, target.layer or 0, equation)
        if target.kind == "dloss" and target.of == "w":
            yield from sum_equations(chain, target.layer or 0)
        if equation.stage == "update" and "update" not in seen and optimizer is not None:
            yield from _counters(optimizer, n_updates)
        seen.add(equation.stage)
        carried = optimizer is not None and equation.stage == "update" and target.kind in optimizer.state_names
        yield replace(equation, note="starts at 0") if carried else equation


def _counters(optimizer: Optimizer, n_updates: int | None) -> Iterator[Equation]:
    """The number of the update, where any line reads it, and the learning rate."""
    rate = optimizer.learning_rate
    texts = [text for _, text in optimizer.equations] + ([rate.equation] if isinstance(rate, Schedule) else [])
    t = Symbol("t")
    if any("t" in symbols(parse(text)) for text in texts):
        yield Equation(t, Map(call("add", symbol(t), const(1))), "update", (), "number of the update, from 0")
    expression: Expression = const(rate) if not isinstance(rate, Schedule) else parse(rate.equation)
    named = {name: const(value) for name, value in (vars(rate) if isinstance(rate, Schedule) else {}).items()}
    named |= {name: symbol(Symbol(name)) for name in ("t", "pi")}
    named["n_updates"] = symbol(Symbol("n_updates")) if n_updates is None else const(n_updates)
    note = type(rate).__name__ if isinstance(rate, Schedule) else ""
    yield Equation(Symbol("learning_rate"), Map(substitute(expression, named)), "update", (), note)


def _lbfgs_equations(network: Network, optimizer: LBFGS) -> Iterator[Equation]:
    """One iteration of L-BFGS: the pairs, the inverse Hessian that they stand for, the step of every parameter."""
    step, change, rho, d, g, w = (Symbol(name) for name in ("step", "change", "rho", "d", "g", "w"))
    hessian, turned, one, alpha = Symbol("H"), Symbol("V"), Symbol("I"), Symbol("alpha")

    def times(*factors: tuple[Symbol, str]) -> Expression:
        return symbol(MatrixProduct(tuple((symbol(key), how) for key, how in factors)))

    def line(target: Symbol, body: Expression, note: str = "") -> Equation:
        return Equation(target, Map(body), "update", (), note)

    before = {key: symbol(Symbol(f"{key.kind}_before")) for key in (w, g)}
    yield line(step, call("sub", symbol(w), before[w]), "w: all parameters as one vector; the last step")
    yield line(change, call("sub", symbol(g), before[g]), "g: the gradient of the objective by w; how it changed")
    yield line(rho, call("div", const(1), times((change, "turned"), (step, ""))))
    yield line(turned, call("sub", symbol(one), call("mul", symbol(rho), times((change, ""), (step, "turned")))))
    yield line(
        hessian,
        call(
            "add",
            times((turned, "turned"), (hessian, ""), (turned, "")),
            call("mul", symbol(rho), times((step, ""), (step, "turned"))),
        ),
        f"for each of the last {optimizer.history} pairs in turn, from I * (change.T @ step) / (change.T @ change)",
    )
    yield line(
        d, call("neg", times((hessian, ""), (g, ""))), "the direction, by the two-loop recursion; H is never formed"
    )
    for layer, (n_in, n_out) in enumerate(zip(network.sizes, network.sizes[1:], strict=False), start=1):
        for of, axes in (("w", ("i", "j")), ("b", ("j",))):
            ranges = tuple((axis, {"i": n_in, "j": n_out}[axis]) for axis in axes)
            key = Symbol(of, layer, axes)
            moved = call("mul", symbol(alpha), symbol(Symbol("d", layer, axes, of=of)))
            note = "alpha: a step that meets the strong Wolfe conditions"
            yield Equation(key, Map(call("add", symbol(key), moved)), "update", ranges, note)


# --- what is written --------------------------------------------------------------------------------------------------

_Writer = Callable[[Equation, list[Form]], Line]


def _writer(notation: str, whole: bool) -> _Writer:
    """From an equation and its forms to a line in a notation; `whole` for the matrix form."""
    targets: dict[str, Callable[[Symbol], str]] = {
        "text": Symbol.matrix if whole else str,
        "latex": Symbol.matrix_latex if whole else Symbol.latex,
        "mathml": mathml.of_whole if whole else mathml.of_symbol,
    }
    if notation not in targets:
        raise UsageError(f"A notation is one of {', '.join(targets)}; got {notation!r}.")

    def right(form: Form) -> str:
        equation, computed = form.equation, form.what in ("definition", "cached")
        if notation == "text":
            return equation.right_matrix() if whole else equation.right()
        if notation == "latex":
            # Between the factors of a chain stands the sign that the notebook puts there.
            return (
                equation.right_matrix_latex() if whole else equation.right_latex(r" \, " if computed else r" \times ")
            )
        return mathml.of_right_whole(equation) if whole else mathml.of_right(equation, "⋅" if computed else "×")

    def write(equation: Equation, every: list[Form]) -> Line:
        computed = next(form.equation for form in every if form.what in ("definition", "cached"))
        read = keys_of(computed.body) if notation == "text" else ()
        named = dict.fromkeys(str(key.whole() if whole else key) for key in read)
        return Line(
            equation.stage,
            targets[notation](computed.target),
            "<-" if equation.stage == "update" else "=",
            tuple(right(form) for form in every),
            tuple(form.what for form in every),
            tuple(form.note for form in every),
            tuple(named),
        )

    return write


def _of_single_rows(equation: Equation) -> bool:
    """Whether a row's own derivative by a parameter, or one line for all units: neither is a matrix."""
    target = equation.target
    return (target.kind == "dloss" and target.of in ("w", "b")) or len(axes_of(equation)) < len(target.open_axes)
