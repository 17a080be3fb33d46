"""From a candidate's numbers to its conventions, and to the mistakes that explain what is off."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from glassnet.checking.agreement import Observed, agrees, first_off, n_agreeing
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


def _up_to_loss(quantity: Quantity) -> bool:
    return quantity.kind in ("z", "a", "p", "loss")


def _after_loss(quantity: Quantity) -> bool:
    return quantity.kind not in ("z", "a", "p", "loss")


STAGES: tuple[tuple[str, Callable[[Quantity], bool]], ...] = (
    ("loss", _up_to_loss),
    ("backward", _after_loss),
)

MOST_HYPOTHESES_FOR_PAIRS = {"forward": 4, "loss": 16, "backward": 4}
"""Where the conventions are not known better than that, a pair of mistakes could explain almost anything."""

MOST_HYPOTHESES, COMMON = 60, ("relu", "tanh", "sigmoid")
COMMON_OUTPUTS = ("sigmoid", "softmax", "identity")
"""Without a forward pass to tell them by, only common activations are tried together with mistakes."""

State = tuple[Numbers, tuple[Variant, ...]]


def diagnose(cases: Sequence[Observed], declared: Declared, free_rows: bool = False, pairs: bool = True) -> Diagnosis:
    """Fit conventions first, then mistakes: stage by stage in order of computation, one, or two where `pairs`.

    `free_rows`: the loss is only shown, so that it may be a sum where the gradient is a mean.
    """
    hypotheses = list(_hypotheses(cases, declared, free_rows))
    seen_forward = any(_is_forward(quantity) for observed in cases for quantity in observed.numbers)
    if len(hypotheses) > MOST_HYPOTHESES and not seen_forward:
        hypotheses = [
            numbers for numbers in hypotheses if numbers.hidden in COMMON and numbers.output in COMMON_OUTPUTS
        ]
    of_forward = {_forward_part(numbers): numbers for numbers in reversed(hypotheses)}
    found = _explained(
        cases, [(n, ()) for n in reversed(of_forward.values())], "forward", _is_forward, 2 if pairs else 1
    )
    states: list[State] = [
        (numbers, mistakes)
        for start, mistakes in [*_activation_missing(cases, found, declared), *found]
        for numbers in (
            replace(one, hidden=start.hidden) for one in hypotheses if mistakes or one.hidden == start.hidden
        )
        if _forward_part(numbers) == _forward_part(start)
    ]
    states = list(dict.fromkeys(states))
    for stage, among in STAGES:
        states = _explained(cases, states, stage, among, 2 if pairs else 1)
        if not states:
            break
    if states:
        fewest = min(len(mistakes) for _, mistakes in states)
        fitting = [state for state in states if len(state[1]) == fewest]
        numbers, mistakes = fitting[0]
        named = "+".join(sorted({variant.mistake.key for variant in mistakes}))
        others = ("+".join(sorted({variant.mistake.key for variant in other})) for _, other in fitting[1:])
        return Diagnosis(numbers, mistakes, True, tuple(dict.fromkeys(other for other in others if other != named)))
    return Diagnosis(hypotheses[0], (), False)


def _forward_part(numbers: Numbers) -> tuple[str, str, bool]:
    """All that the forward pass depends on."""
    return numbers.hidden, numbers.output, numbers.logits


def unexplained(cases: Sequence[Observed], declared: Declared, free_rows: bool = False) -> Diagnosis:
    """Where no mistakes explain it: the conventions that fit best."""
    return Diagnosis(best_fitting(cases, list(_hypotheses(cases, declared, free_rows))), (), False)


def loss_agrees(cases: Sequence[Observed], declared: Declared, free_rows: bool = False) -> bool:
    """Whether there are conventions under which everything up to the loss agrees."""
    return bool(_agreeing(cases, list(_hypotheses(cases, declared, free_rows))[:1], _up_to_loss))


def fitted(cases: Sequence[Observed], declared: Declared, free_rows: bool = False) -> Diagnosis | None:
    """The conventions under which every number agrees, without a mistake; None where there are none such."""
    for numbers in _hypotheses(cases, declared, free_rows):
        if all(agrees(observed, numbers) for observed in cases):
            return Diagnosis(numbers, (), True)
    return None


def _activation_missing(cases: Sequence[Observed], found: Sequence[State], declared: Declared) -> Iterator[State]:
    """A linear hidden layer may be one whose activation was left out: of each, what would be seen is the same
    forward."""
    for numbers, mistakes in found:
        if numbers.hidden == "identity" and not mistakes and len(_deepest(cases)) > 2:
            for hidden in KEYS["hidden"]:
                meant = replace(numbers, hidden=hidden)
                if hidden != "identity" and declared.allows("hidden", hidden):
                    missing = (v for v in variants(_deepest(cases), meant, "forward"))
                    yield from (
                        (meant, (v,)) for v in missing if v.mistake.key == "activation-missing" and 1 in v.layers
                    )


def _hypotheses(cases: Sequence[Observed], declared: Declared, free_rows: bool) -> Iterator[Numbers]:
    """Every set of conventions that could be meant; those under which a whole stage agrees, where there are such."""
    sizes = max((observed.case.sizes for observed in cases), key=lambda sizes: (sizes[-1], len(sizes)))
    given = {quantity.kind for observed in cases for quantity in observed.numbers}
    l2 = any(observed.case.l2 for observed in cases)
    forward = list(forward_hypotheses(declared, sizes, "loss" in given))
    if given & {"z", "a", "p"}:
        forward = _agreeing(cases, forward, _is_forward) or forward
    elif "loss" not in given and declared.hidden is None:
        forward = [numbers for numbers in forward if not numbers.logits]
    losses = [numbers for start in forward for numbers in loss_hypotheses(start, declared, sizes, l2)]
    if "loss" in given:
        losses = _agreeing(cases, losses, _up_to_loss) or losses
    if "loss" not in given:
        losses = [numbers for numbers in losses if numbers.loss_rows == "mean" or declared.loss_rows]
    for numbers in losses:
        yield numbers
        if (free_rows or "loss" not in given) and declared.gradient_rows is None:
            yield replace(numbers, gradient_rows="mean" if numbers.gradient_rows == "sum" else "sum")
    if given & {"W", "b"} and given & {"dW", "db", "delta"}:
        yield from (replace(numbers, ascent=True) for numbers in losses)


def _agreeing(
    cases: Sequence[Observed], hypotheses: Iterable[Numbers], among: Callable[[Quantity], bool]
) -> list[Numbers]:
    return [numbers for numbers in hypotheses if all(agrees(observed, numbers, (), among) for observed in cases)]


def _explained(
    cases: Sequence[Observed], states: list[State], stage: str, among: Callable[[Quantity], bool], most: int
) -> list[State]:
    """The states under which this stage agrees too: as they are, else with one mistake more, else with two."""
    kept = [state for state in states if _fits(cases, state, among)]
    if kept:
        return kept
    found = [state for start in states if len(start[1]) < most for state in _with_one(cases, start, stage, among)]
    if (
        found
        or most < 2
        or len({numbers for numbers, _ in states if not numbers.ascent}) > MOST_HYPOTHESES_FOR_PAIRS[stage]
    ):
        return found
    return [state for start in states if not start[1] for state in islice(_with_two(cases, start, stage, among), 4)]


def _with_one(
    cases: Sequence[Observed], start: State, stage: str, among: Callable[[Quantity], bool]
) -> Iterator[State]:
    numbers, mistakes = start
    reaches = _reaching(cases, start, stage)
    for variant in filter(reaches, variants(_deepest(cases), numbers, stage)):
        state = numbers, (*mistakes, variant)
        if _fits(cases, state, among):
            yield state


def _with_two(
    cases: Sequence[Observed], start: State, stage: str, among: Callable[[Quantity], bool]
) -> Iterator[State]:
    numbers, _ = start
    if numbers.ascent:
        return
    small = all(max(observed.case.sizes) <= 2 for observed in cases)  # else there would be thousands of pasted units
    known = [v for v in variants(_deepest(cases), numbers, stage) if v.units is None or small]
    reaches = _reaching(cases, start, stage)
    for at, first in enumerate(known):
        for second in known[at + 1 :]:
            if first.mistake.key == second.mistake.key and not (first.units and second.units):
                continue
            if not (reaches(first) or reaches(second)):
                continue
            # The outer one may hide the inner one where both change the same step.
            orders = ((first, second), (second, first)) if _overlap(first, second) else ((first, second),)
            for pair in orders:
                if _fits(cases, (numbers, pair), among):
                    yield numbers, pair
                    break


def _overlap(first: Variant, second: Variant) -> bool:
    return bool(set(first.mistake.step.split()) & set(second.mistake.step.split()))


def _reaching(cases: Sequence[Observed], start: State, stage: str) -> Callable[[Variant], bool]:
    """Whether a mistake can change the first number that is off: most of a search is spared by it."""
    numbers, mistakes = start
    changes = [variant.changes for variant in mistakes]
    for observed in cases:
        off = first_off(observed, numbers, changes)
        if off is not None:
            L = len(observed.case.weights)
            return lambda variant: stage != "backward" or variant.top(L) >= off.layer
    return lambda variant: True


def _deepest(cases: Sequence[Observed]) -> tuple[int, ...]:
    return max((observed.case.sizes for observed in cases), key=len)


def _fits(cases: Sequence[Observed], state: State, among: Callable[[Quantity], bool]) -> bool:
    numbers, mistakes = state
    changes = [variant.changes for variant in mistakes]
    return all(agrees(observed, numbers, changes, among) for observed in cases)


def best_fitting(cases: Sequence[Observed], hypotheses: Sequence[Numbers]) -> Numbers:
    """Where none agrees: the conventions under which most agrees, and then under which the rest is closest."""

    def misfit(numbers: Numbers) -> tuple[int, float]:
        count, distance = 0, 0.0
        for observed in cases:
            count += n_agreeing(observed, numbers)
            right = Computation(observed.case, numbers).all()
            for quantity, seen in observed.numbers.items():
                if quantity in right and np.shape(seen) == np.shape(right[quantity]):
                    scale = np.max(np.abs(right[quantity])) + 1e-3
                    distance += float(
                        np.minimum(np.nan_to_num(np.abs(seen - right[quantity]) / scale, nan=9), 9).mean()
                    )
        return -count, distance

    return min(hypotheses, key=misfit)
