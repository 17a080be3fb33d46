"""A row in one step of a training: what its batch's other rows add, and the update that follows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from glassnet import reference
from glassnet.cells import counted
from glassnet.derivations.calculation import Numbers
from glassnet.equations import Equation, Map, Symbol, equations
from glassnet.errors import UsageError
from glassnet.expressions import Expression, call, const, parse, substitute, symbol
from glassnet.network import FloatArray, Network, Parameters
from glassnet.optimizers import Optimizer, Schedule
from glassnet.runs import is_whole
from glassnet.training import Replayed, Run


@dataclass(frozen=True)
class RowInStep:
    """A row in one step of a training: `number` is its number among the training rows, None where it was held back.

    `others`: the sums over the batch's other rows of what this row adds its share to: the loss, every gradient.
    """

    run: Run
    at: Replayed
    masks: tuple[FloatArray, ...] | None
    weight: float
    other_weight: float
    other_loss: float
    other_gradient: Parameters
    remarks: tuple[str, ...]

    @property
    def said(self) -> str:
        """Which step it is, for a title."""
        return f"in epoch {self.at.epoch}, batch {self.at.batch} of {self.run.n_batches}, update {self.at.t}"

    def put(self, numbers: Numbers) -> None:
        """What the step knew before the update."""
        network = self.run.network
        numbers.put(Symbol("u"), self.weight)
        numbers.put(Symbol("others", of="u"), self.other_weight)
        numbers.put(Symbol("others", of="loss"), self.other_loss)
        numbers.put_by_parameter(self.other_gradient, "others")
        numbers.put(Symbol("learning_rate"), self.at.learning_rate)
        for name, vector in self.at.state.items():
            numbers.put_by_parameter(Parameters(network, vector.astype(np.float64)), name)

    def equations(self, network: Network) -> list[Equation]:
        """The network's equations, the sums over rows as this row's part and that of the others."""
        spec = self.run.spec
        optimizer = spec.optimizer
        assert isinstance(optimizer, Optimizer), "L-BFGS is refused by the replay"
        every = []
        for equation in equations(network, optimizer, l1=spec.l1, l2=spec.l2, dropout=self.masks is not None):
            target = equation.target
            if target.kind == "L":
                every.append(self._share())
            if target.kind in ("L", "dL"):
                equation = replace(equation, body=Map(_of_all_rows(target)), note="")
            if equation.stage == "update" and "t" not in {e.target.kind for e in every}:
                every += self._rate(optimizer)
            every.append(equation)
        return every

    def _share(self) -> Equation:
        u, others = symbol(Symbol("u")), symbol(Symbol("others", of="u"))
        if not self.weight and not self.other_weight:
            body, note = const(0), "no row of the batch weighs anything"
        else:
            body, note = call("div", u, call("add", u, others)), "of this row in the batch"
        return Equation(Symbol("share", None, ("row",)), Map(body), "loss", note=note)

    def _rate(self, optimizer: Optimizer) -> Iterator[Equation]:
        """The update's number, and the learning rate where a schedule sets it."""
        per_epoch = self.run.n_batches
        text = parse("(epoch - 1) * per_epoch + batch")
        counted = {"epoch": self.at.epoch, "per_epoch": per_epoch, "batch": self.at.batch}
        t = Symbol("t")
        yield Equation(t, Map(substitute(text, {k: const(v) for k, v in counted.items()})), "update", note="updates")
        rate = optimizer.learning_rate
        if isinstance(rate, Schedule):
            settings = {"n_updates": per_epoch * self.run.spec.epochs, "pi": np.pi, **vars(rate)}
            put_in = {name: const(value) for name, value in settings.items()} | {"t": symbol(t)}
            body = Map(substitute(parse(rate.equation), put_in))
            yield Equation(Symbol("learning_rate"), body, "update", note=type(rate).__name__)


def _of_all_rows(target: Symbol) -> Expression:
    """This row's part and that of the others: share * loss + others[loss], and likewise for a derivative."""
    share = symbol(Symbol("share", None, ("row",)))
    if target.kind == "L":
        own, others = Symbol("loss", None, ("row",)), Symbol("others", of="loss")
    else:
        own, others = replace(target, kind="dloss"), replace(target, kind="others")
    return call("add", call("mul", share, symbol(own)), symbol(others))


def row_in_step(run: Run, number: int | None, step: int | tuple[int, int], what: str) -> RowInStep:
    """The step that is asked for, and what its batch's other rows add up to."""
    epoch, batch = step if isinstance(step, tuple | list) and len(step) == 2 else (step, None)
    if not is_whole(epoch) or not (batch is None or is_whole(batch)):
        raise UsageError(f"A step is an epoch, or (epoch, batch), both whole numbers from 1; got {step!r}.")
    if batch is None and run.n_batches > 1:
        run.replay(epoch, 1)  # an error where the epoch is none
        if number is None:
            raise UsageError(
                f"A row that was held back for testing was in no batch, and {what} is one; name the batch too, "
                f"({epoch}, 1) or {epoch}:1 say, to see it with the parameters of then."
            )
        batch = run.batch_of(epoch, number)
    at = run.replay(epoch, 1 if batch is None else int(batch))
    weights = run.data.row_weights[at.rows].astype(np.float64)
    place = np.flatnonzero(at.rows == number) if number is not None else np.zeros(0, np.intp)
    is_other = np.ones(len(at.rows), bool)
    is_other[place] = False
    total = float(weights.sum())
    share = weights / (total if total > 0 else 1.0)
    loss, gradient = _sums(run, at, is_other, share)
    n_others = int(is_other.sum())
    remarks = [
        f"others[...] is the sum over the other {counted(n_others, 'row')} of the batch of what this row adds: "
        "share * dloss/d..., share * loss, u."
        if n_others
        else "The batch is this row alone: others[...] are 0."
    ]
    if not len(place):
        where = "it was held back for testing" if number is None else f"batch {run.batch_of(epoch, number)} had it"
        remarks.insert(
            0,
            f"{what.capitalize()} was not in this batch ({where}): it is worked out with the parameters of "
            "then, and its share of the batch is 0.",
        )
    masks = None
    if at.masks is not None and len(place):
        masks = tuple(mask[place[0]] for mask in at.masks)
    elif at.masks is not None:
        masks = tuple(np.ones(mask.shape[1]) for mask in at.masks)
    weight = float(weights[place[0]]) if len(place) else 0.0
    return RowInStep(run, at, masks, weight, float(weights[is_other].sum()), loss, gradient, tuple(remarks))


_TOGETHER = 4096  # rows


def _sums(run: Run, at: Replayed, wanted: NDArray[np.bool_], share: FloatArray) -> tuple[float, Parameters]:
    """The sums over the wanted rows of a batch of share * loss and share * d loss / d parameter."""
    network = run.network
    parameters = Parameters(network, at.parameters.vector.astype(np.float64))
    total, sums = 0.0, Parameters(network, np.zeros(network.n_parameters))
    places = np.flatnonzero(wanted & (share > 0))
    with np.errstate(all="ignore"):
        for start in range(0, len(places), _TOGETHER):
            part = places[start : start + _TOGETHER]
            rows = run.data.at(at.rows[part])
            masks = None if at.masks is None else [mask[part].astype(np.float64) for mask in at.masks]
            X, y = rows.X.astype(np.float64), rows.y.astype(np.float64)
            trace = reference.backward(network, parameters, X, y, masks=masks)
            assert trace.row_losses is not None
            assert trace.deltas is not None
            total += float(np.sum(share[part] * trace.row_losses))
            for layer, delta in enumerate(trace.deltas):
                weighted = share[part, np.newaxis] * delta
                sums.weights[layer][...] += trace.activations[layer].T @ weighted
                sums.biases[layer][...] += weighted.sum(axis=0)
    return total, sums
