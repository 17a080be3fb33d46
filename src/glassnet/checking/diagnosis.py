"""From a candidate's numbers to its conventions, and to the mistakes that explain what is off."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby, islice
from typing import Any

import numpy as np

from glassnet.checking.agreement import (
    NOT_POSSIBLE,
    NOTHING_OFF,
    Observed,
    Place,
    agreeing_upto,
    agrees,
    n_agreeing,
    place,
    predicted,
    same,
    tells_nothing,
)
from glassnet.checking.computation import Computation, Numbers, Quantity
from glassnet.checking.mistakes import Variant, variants
from glassnet.checking.protocol import KEYS, Declared


@dataclass(frozen=True)
class Diagnosis:
    """The conventions under which the candidate fits best, and the mistakes with which it fits entirely.

    `explained`: whether it does; with no mistakes then, it is right. `alternatives`: keys of others that predict the
    same.
    """

    numbers: Numbers
    mistakes: tuple[Variant, ...]
    explained: bool
    alternatives: tuple[str, ...] = ()

    @property
    def right(self) -> bool:
        """Whether every number agrees, without any mistake."""
        return self.explained and not self.mistakes


def forward_hypotheses(declared: Declared, sizes: tuple[int, ...], loss_given: bool) -> Iterator[Numbers]:
    """Conventions of the forward pass: common activations first."""
    for hidden in KEYS["hidden"] if len(sizes) > 2 else ("identity",):
        for output in KEYS["output"]:
            if not (declared.allows("hidden", hidden) or len(sizes) == 2) or not declared.allows("output", output):
                continue
            if output == "softmax" and sizes[-1] == 1:
                continue
            for logits in (False, True):
                if not (logits and output not in ("sigmoid", "softmax")):
                    yield Numbers(hidden, output, logits=logits)


def loss_hypotheses(forward: Numbers, declared: Declared, sizes: tuple[int, ...], l2: bool) -> Iterator[Numbers]:
    """Conventions of the loss that go with those of the forward pass."""
    fitting = {"sigmoid": ("binary_cross_entropy", "squared_error"), "softmax": ("cross_entropy", "squared_error")}
    for loss in fitting.get(forward.output, ("squared_error",)):
        if not declared.allows("loss", loss):
            continue
        for half in (False, True) if loss == "squared_error" else (False,):
            for outputs in ("sum",) if loss == "cross_entropy" or sizes[-1] == 1 else ("sum", "mean"):
                for rows in ("mean", "sum"):
                    for penalty in ("half", "half_over_n", "whole") if l2 else ("none",):
                        found = replace(forward, loss=loss, half=half, outputs=outputs, l2=penalty)
                        found = replace(found, loss_rows=rows, gradient_rows=declared.gradient_rows or rows)
                        if _declared(found, declared):
                            yield found


def _declared(numbers: Numbers, declared: Declared) -> bool:
    return (
        declared.allows("half", "yes" if numbers.half else "no")
        and declared.allows("outputs", numbers.outputs)
        and declared.allows("loss_rows", numbers.loss_rows)
        and declared.allows("l2", numbers.l2)
    )


def _is_forward(quantity: Quantity) -> bool:
    return quantity.kind in ("z", "a", "p")


def _is_loss(quantity: Quantity) -> bool:
    return quantity.kind == "loss"


def _seen(cases: Sequence[Observed], among: Callable[[Quantity], bool]) -> bool:
    return any(among(quantity) for observed in cases for quantity in observed.numbers)


def _up_to_loss(quantity: Quantity) -> bool:
    return quantity.kind in ("z", "a", "p", "loss")


UP_TO: Mapping[str, Callable[[Quantity], bool]] = {
    "forward": _is_forward,
    "loss": _up_to_loss,
    "backward": lambda quantity: True,
}
LINEAR_IN_THE_LOSS = frozenset(("pre_activation", "activation", "activation derivative", "output"))
BIASES_OF_THE_OUTPUT: Place = (3, 0, 2)
LOSS = place(Quantity("loss"), 1)
MOST_STATES, MOST_STATES_FOR_BOTH, MOST_TRIED = 200, 6, 12_000
"""Where the conventions are not known better than that, two mistakes could explain almost anything; and how many pairs
are tried at a stage before the search is given up."""

MOST_HYPOTHESES, COMMON = 60, ("relu", "tanh", "sigmoid")
COMMON_OUTPUTS = ("sigmoid", "softmax", "identity")
"""Without a forward pass to tell them by, only common activations are tried together with mistakes."""

State = tuple[Numbers, tuple[Variant, ...]]


def diagnose(cases: Sequence[Observed], declared: Declared, free_rows: bool = False, pairs: bool = True) -> Diagnosis:
    """Fit conventions first, then mistakes: stage by stage in order of computation, one, or two where `pairs`.

    `free_rows`: the loss is only shown, so that it may be a sum where the gradient is a mean.
    """
    states = _states(cases, declared, free_rows, 2 if pairs else 1)
    loss_alone = _seen(cases, _is_loss) and not _seen(cases, _is_forward)
    if pairs and not states and loss_alone and not agrees_upto("loss", cases, declared, free_rows):
        states = _with_the_loss_apart(cases, declared, free_rows)
    if states:
        fewest = min(len(mistakes) for _, mistakes in states)
        fitting = [state for state in states if len(state[1]) == fewest]
        numbers, mistakes = fitting[0]
        named = "+".join(sorted({variant.mistake.key for variant in mistakes}))
        others = ("+".join(sorted({variant.mistake.key for variant in other})) for _, other in fitting[1:])
        return Diagnosis(numbers, mistakes, True, tuple(dict.fromkeys(other for other in others if other != named)))
    return Diagnosis(_hypotheses(cases, declared, free_rows)[0], (), False)


def _states(cases: Sequence[Observed], declared: Declared, free_rows: bool, most: int) -> list[State]:
    """Conventions and at most so many mistakes under which every number agrees; none where there are none such."""
    hypotheses = list(_hypotheses(cases, declared, free_rows))
    seen_forward, seen_loss = _seen(cases, _is_forward), _seen(cases, _is_loss)
    if len(hypotheses) > MOST_HYPOTHESES and not seen_forward and not seen_loss:
        hypotheses = [
            numbers for numbers in hypotheses if numbers.hidden in COMMON and numbers.output in COMMON_OUTPUTS
        ]
    of_forward = {_forward_part(numbers): numbers for numbers in reversed(hypotheses)}
    found = _explained(cases, [(n, ()) for n in reversed(of_forward.values())], "forward", most)
    # Where neither a forward pass nor a loss says that they are linear, the search of the loss tries it.
    known = seen_forward or _agreeing(cases, hypotheses[:1], _up_to_loss)
    left_out = _activation_missing(cases, found, declared, most) if known else ()
    states: list[State] = [
        (numbers, mistakes)
        for start, mistakes in [*left_out, *found]
        for numbers in (
            replace(one, hidden=start.hidden) for one in hypotheses if mistakes or one.hidden == start.hidden
        )
        if _forward_part(numbers) == _forward_part(start)
    ]
    states = list(dict.fromkeys(states))
    for stage in ("loss", "backward"):
        states = _explained(cases, states, stage, most)
        if not states:
            break
    return states


def _with_the_loss_apart(cases: Sequence[Observed], declared: Declared, free_rows: bool) -> list[State]:
    """Where two mistakes change the loss, and no forward pass is shown: that of the gradients first, without the loss,
    then the one that the loss needs besides."""
    others = [replace(one, numbers={q: v for q, v in one.numbers.items() if q.kind != "loss"}) for one in cases]
    states = [
        (replace(numbers, loss_rows=rows), mistakes)
        for numbers, mistakes in _states(others, declared, free_rows, 1)
        for rows in (("mean", "sum") if free_rows or declared.gradient_rows else (numbers.gradient_rows,))
        if mistakes and declared.allows("loss_rows", rows)
    ]
    loss, backward = _Search(cases, "loss"), _Search(cases, "backward")
    found, _ = loss.one_more((state, loss.off(state)) for state in dict.fromkeys(states))
    return [state for state in found if backward.off(state) == NOTHING_OFF]


def _forward_part(numbers: Numbers) -> tuple[str, str, bool]:
    """All that the forward pass depends on."""
    return numbers.hidden, numbers.output, numbers.logits


def unexplained(cases: Sequence[Observed], declared: Declared, free_rows: bool = False) -> Diagnosis:
    """Where no mistakes explain it: the conventions that fit best."""
    return Diagnosis(best_fitting(cases, _hypotheses(cases, declared, free_rows)), (), False)


def agrees_upto(stage: str, cases: Sequence[Observed], declared: Declared, free_rows: bool = False) -> bool:
    """Whether there are conventions under which everything up to the end of a stage agrees."""
    return bool(_agreeing(cases, _hypotheses(cases, declared, free_rows)[:1], UP_TO[stage]))


def fitted(cases: Sequence[Observed], declared: Declared, free_rows: bool = False) -> Diagnosis | None:
    """The conventions under which every number agrees, without a mistake; None where there are none such."""
    for numbers in _hypotheses(cases, declared, free_rows):
        if all(agrees(observed, numbers) for observed in cases):
            return Diagnosis(numbers, (), True)
    return None


def _activation_missing(
    cases: Sequence[Observed], found: Sequence[State], declared: Declared, most: int
) -> Iterator[State]:
    """A linear hidden layer may be one whose activation was left out: of each, what would be seen is the same
    forward."""
    for numbers, mistakes in found:
        if numbers.hidden == "identity" and len(mistakes) < most and len(_deepest(cases)) > 2:
            for hidden in KEYS["hidden"]:
                meant = replace(numbers, hidden=hidden)
                if hidden != "identity" and declared.allows("hidden", hidden):
                    missing = (v for v in variants(_deepest(cases), meant, "forward"))
                    yield from (
                        (meant, (v, *mistakes))
                        for v in missing
                        if v.mistake.key == "activation-missing" and 1 in v.layers and v.unit is None
                    )


def _hypotheses(cases: Sequence[Observed], declared: Declared, free_rows: bool) -> tuple[Numbers, ...]:
    """Every set of conventions that could be meant; those under which a whole stage agrees, where there are such."""
    return _found_hypotheses(tuple(cases), declared, free_rows)


@lru_cache(maxsize=64)
def _found_hypotheses(cases: tuple[Observed, ...], declared: Declared, free_rows: bool) -> tuple[Numbers, ...]:
    return tuple(_made_hypotheses(cases, declared, free_rows))


def _made_hypotheses(cases: Sequence[Observed], declared: Declared, free_rows: bool) -> Iterator[Numbers]:
    sizes = max((observed.case.sizes for observed in cases), key=lambda sizes: (sizes[-1], len(sizes)))
    given = {quantity.kind for observed in cases for quantity in observed.numbers}
    l2 = any(observed.case.l2 for observed in cases)
    forward = list(forward_hypotheses(declared, sizes, "loss" in given))
    if given & {"z", "a", "p"}:
        forward = _agreeing(cases, forward, _is_forward) or forward
    else:
        forward = [numbers for numbers in forward if not numbers.logits]
    losses = [numbers for start in forward for numbers in loss_hypotheses(start, declared, sizes, l2)]
    if "loss" in given:
        losses = _agreeing(cases, losses, _up_to_loss) or losses
    if "loss" not in given:
        losses = [numbers for numbers in losses if numbers.loss_rows == "mean" or declared.loss_rows]
    free = (free_rows or "loss" not in given) and declared.gradient_rows is None
    for ascent in (False, True) if given & {"W", "b"} and given & {"dW", "db", "delta"} else (False,):
        for numbers in losses:
            yield replace(numbers, ascent=ascent)
            if free:
                other = "mean" if numbers.gradient_rows == "sum" else "sum"
                yield replace(numbers, gradient_rows=other, ascent=ascent)


def _agreeing(
    cases: Sequence[Observed], hypotheses: Iterable[Numbers], among: Callable[[Quantity], bool]
) -> list[Numbers]:
    return [numbers for numbers in hypotheses if all(agrees(observed, numbers, (), among) for observed in cases)]


def _explained(cases: Sequence[Observed], states: list[State], stage: str, most: int) -> list[State]:
    """The states under which all up to this stage agrees: as they are, else with one mistake more, else with two.

    A mistake belongs to the search when the first number that is off agrees with it; then the next number that is off
    is looked for, with the mistake carried along. Two that only together explain the first are tried last.
    """
    search = _Search(cases, stage)
    places = [(state, search.off(state)) for state in states]
    if kept := [state for state, off in places if off == NOTHING_OFF]:
        return kept
    places = _of_the_output(places)
    found, further = search.one_more([(state, off) for state, off in places if len(state[1]) < most])
    if found or most < 2:
        return found
    further = [(state, off) for state, off in further if len(state[1]) < most]
    if len(further) <= MOST_STATES:
        found, _ = search.one_more(further)
    alone = [(state, off) for state, off in places if not state[1] and not state[0].ascent]
    if not found and len(alone) <= MOST_STATES_FOR_BOTH:
        found = [state for one in alone for state in islice(search.both_at_once(*one), 4)]
    return found


def _of_the_output(places: Sequence[tuple[State, Place]]) -> list[tuple[State, Place]]:
    """Of conventions under which the gradient of the output's weights agrees, those that agree furthest: it does not
    agree by chance."""
    kept: list[tuple[State, Place]] = []
    for ascent in (False, True):
        some = [one for one in places if one[0][0].ascent == ascent]
        furthest = max((off for _, off in some), default=NOT_POSSIBLE)
        kept += [one for one in some if furthest < BIASES_OF_THE_OUTPUT or one[1] == furthest]
        if furthest >= BIASES_OF_THE_OUTPUT:
            break  # it goes down the loss
    return kept


class _Search:
    """The numbers of a candidate up to a stage, and which mistakes bring them closer."""

    def __init__(self, cases: Sequence[Observed], stage: str) -> None:
        self.cases, self.among, self.stage = cases, UP_TO[stage], stage
        given = {quantity.kind for observed in cases for quantity in observed.numbers}
        self.stages: tuple[str, ...] = (stage,)
        if stage == "loss" and not given & {"z", "a", "p"}:
            self.stages = ("forward", "loss")
        elif stage == "backward" and not given & {"z", "a", "p", "loss"}:
            self.stages = ("forward", "backward")
        self.left = MOST_TRIED
        self._scales: dict[Numbers, tuple[Numbers, Any, Any]] = {}
        self._losses: dict[tuple[Numbers, tuple[Variant, ...]], Any] = {}
        self.sizes = _deepest(cases)
        self.floor = min(
            place(quantity, len(observed.case.weights)) for observed in cases for quantity in observed.numbers
        )
        self.widest = max(cases, key=lambda observed: observed.case.sizes[-1])
        self.small = all(max(observed.case.sizes) <= 2 for observed in cases)

    def off(self, state: State, least: Place = NOT_POSSIBLE) -> Place:
        """The first place, over all cases, that is off; not looked for further once it is at or before `least`."""
        numbers, mistakes = state
        changes = [variant.changes for variant in mistakes]
        first = NOTHING_OFF
        for observed in self.cases:
            first = min(first, agreeing_upto(observed, numbers, changes, self.among))
            if first <= max(least, self.floor):
                break
        return first

    def variants(self, numbers: Numbers, off: Place) -> Iterator[Variant]:
        """Every mistake that could change what is off."""
        for stage in self.stages:
            for variant in variants(self.sizes, numbers, stage):
                if stage != "backward" or self._reaches(variant, off):
                    yield variant
        if self.stages == ("loss",) and numbers.logits:  # what becomes of the logits is only seen in the loss
            yield from (one for one in variants(self.sizes, numbers, "forward") if one.mistake.step == "output")

    def _reaches(self, variant: Variant, off: Place) -> bool:
        return off[0] < 3 or any(variant.top(L := len(observed.case.weights)) >= L - off[1] for observed in self.cases)

    def _may_give_the_loss(self, numbers: Numbers, mistakes: tuple[Variant, ...], more: Variant) -> bool:
        """Spares most of the search where the forward pass is not shown: a loss in another convention is a multiple."""
        if self.stage != "loss" or mistakes or more.mistake.step not in LINEAR_IN_THE_LOSS:
            return True
        plain, scale, penalty = self._scale(numbers)
        found = self._loss(plain, more)
        if found is None or scale is None:
            return found is not None
        return same(self.widest.numbers[Quantity("loss")], found * scale + penalty, Quantity("loss"), self.widest)

    def _scale(self, numbers: Numbers) -> tuple[Numbers, Any, Any]:
        """A convention of which the loss in this one is a multiple, the factor, and the penalty that is added."""
        if numbers not in self._scales:
            alone = replace(numbers, l2="none")
            plain = replace(alone, loss_rows="mean", gradient_rows="mean", half=False, outputs="sum")
            one, other = self._loss(alone), self._loss(plain)
            self._scales[numbers] = plain, one / other if other else None, self._loss(numbers) - one
        return self._scales[numbers]

    def _loss(self, numbers: Numbers, *mistakes: Variant) -> Any:
        """The loss of one case, of several outputs where there is such; None where it cannot be computed."""
        if (numbers, mistakes) not in self._losses:
            changes = [variant.changes for variant in mistakes]
            self._losses[numbers, mistakes] = predicted(self.widest, numbers, changes, LOSS)[0]
        return self._losses[numbers, mistakes]

    def one_more(self, states: Iterable[tuple[State, Place]]) -> tuple[list[State], list[tuple[State, Place]]]:
        """The states that explain all with one mistake more; and those with which the first that is off agrees.

        Those that agree furthest come first, of those that do not go up the loss: where a mistake is found for them,
        the others are not looked at.
        """
        found: list[State] = []
        further: list[tuple[State, Place]] = []

        def merit(one: tuple[State, Place]) -> tuple[bool, Place]:
            return not one[0][0].ascent, one[1]

        for (_, off), some in groupby(sorted(states, key=merit, reverse=True), key=merit):
            for (numbers, mistakes), _ in some:
                for variant in self.variants(numbers, off):
                    if not self._may_give_the_loss(numbers, mistakes, variant):
                        continue
                    if mistakes and self.left < 0:
                        return found, further
                    self.left -= bool(mistakes)
                    for more in _orders(mistakes, variant):
                        next_off = self.off((numbers, more), off)
                        if next_off == NOTHING_OFF:
                            found.append((numbers, more))
                            break
                        if next_off > off:
                            further.append(((numbers, more), next_off))
                            break
            if found:
                break
        return found, further

    def both_at_once(self, state: State, off: Place) -> Iterator[State]:
        """Two mistakes that both change the first number that is off."""
        numbers, _ = state
        observed = next(one for one in self.cases if agreeing_upto(one, numbers, (), self.among) == off)
        right, _ = predicted(observed, numbers, (), off)
        touching = []
        for variant in self.variants(numbers, off):
            if variant.units is not None and not self.small:  # there would be thousands of pasted units
                continue
            changed, before = predicted(observed, numbers, [variant.changes], off)
            if before and not (np.shape(changed) == np.shape(right) and np.allclose(changed, right, equal_nan=True)):
                touching.append(variant)
        for at, first in enumerate(touching):
            for second in touching[at + 1 :]:
                if first.mistake.key != second.mistake.key or (first.units and second.units):
                    self.left -= 1
                    if self.left < 0:
                        return
                    for pair in _orders((first,), second):
                        if self.off((numbers, pair), off) == NOTHING_OFF:
                            yield numbers, pair
                            break


def _orders(mistakes: tuple[Variant, ...], more: Variant) -> tuple[tuple[Variant, ...], ...]:
    """In the order in which they change a step; the outer one may hide the inner one where both change the same."""
    steps = set(more.mistake.step.split())
    if any(steps & set(variant.mistake.step.split()) for variant in mistakes):
        return (*mistakes, more), (more, *mistakes)
    return ((*mistakes, more),)


def _deepest(cases: Sequence[Observed]) -> tuple[int, ...]:
    return max((observed.case.sizes for observed in cases), key=len)


def best_fitting(cases: Sequence[Observed], hypotheses: Sequence[Numbers]) -> Numbers:
    """Where none agrees: the conventions under which most agrees, and then under which the rest is closest."""

    counted = [(sum(n_agreeing(observed, numbers) for observed in cases), numbers) for numbers in hypotheses]
    most = max(count for count, _ in counted)

    def misfit(numbers: Numbers) -> float:
        distance = 0.0
        for observed in cases:
            if tells_nothing(observed, numbers):
                continue
            right = Computation(observed.case, numbers).all()
            for quantity, seen in observed.numbers.items():
                if quantity in right and np.shape(seen) == np.shape(right[quantity]):
                    scale = np.max(np.abs(right[quantity])) + 1e-3
                    distance += float(
                        np.minimum(np.nan_to_num(np.abs(seen - right[quantity]) / scale, nan=9), 9).mean()
                    )
        return distance

    return min((numbers for count, numbers in counted if count == most), key=misfit)
