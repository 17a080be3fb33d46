"""`check` and `check_file`: a candidate in, a `Report` out."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from glassnet.checking.agreement import FORWARD_KINDS, Observed, meanings, tells_nothing
from glassnet.checking.cases import ONE_LAYER, SHAPES, Case, generated
from glassnet.checking.companions import companions
from glassnet.checking.computation import Quantity
from glassnet.checking.diagnosis import Diagnosis, agrees_upto, diagnose, fitted, unexplained
from glassnet.checking.functions import FunctionCandidate, ObjectCandidate, nothing_found, roles
from glassnet.checking.layers import LayersCandidate, are_layers, is_layer
from glassnet.checking.layout import Layout
from glassnet.checking.loading import module_of
from glassnet.checking.notebook import NotebookCandidate, is_notebook
from glassnet.checking.problems import FailedError, Problem
from glassnet.checking.protocol import Declared, declared
from glassnet.checking.report import Named, Report
from glassnet.checking.row_by_row import RowByRow
from glassnet.checking.sequences import OwnDifferences, accumulated, log_of_zero, own_differences, updates_follow
from glassnet.checking.verdict import compared, conventions_said, first_wrong, named, shapes_said, trace_of

L2 = 0.1


Runs = Sequence[tuple[Any, list[Observed]]]
"""What each layout under which a candidate runs gave, case by case."""


class Candidate(Protocol):
    """What every form is made into."""

    form: str

    @property
    def described(self) -> str:
        """For the title."""

    def own_sizes(self) -> tuple[int, ...] | None:
        """The only sizes that it can have, where it has its own."""

    def layouts(self) -> Any:
        """The ways in which its arrays may lie, common ones first."""

    def run(self, case: Case, layout: Any) -> Observed:
        """Hand a case over; raises `FailedError`."""


def check(candidate: Any, *, conventions: str | None = None, seed: int = 0) -> Report:
    """Is this backpropagation right, and if not, what is wrong?

    `candidate`: a module, a dict or an object with functions forward, backward ..., a class like the notebook's, one
    function
    that gives the gradients, or a list of layers; all forms are in `glassnet.checking.protocol`. `conventions`: a line
    such as "layout=columns, output=softmax", for what is not detected. `seed`: of the generated networks and data.

    Raises `UsageError` only for `conventions` that there are not; what is wrong with the candidate is in the report.

    >>> def gradients(W1, b1, W2, b2, X, y):
    ...     a1 = np.tanh(X @ W1 + b1)
    ...     p = 1 / (1 + np.exp(-(a1 @ W2 + b2)))
    ...     d2 = (p - y) / len(X)
    ...     d1 = d2 @ W2.T * a1  # where 1 - a1**2 belongs
    ...     return X.T @ d1, d1.sum(axis=0), a1.T @ d2, d2.sum(axis=0)
    >>> report = check(gradients)
    >>> report.ok, report.mistakes[0].key
    (False, 'activation-instead-of-derivative')
    """
    said = declared(conventions if conventions is not None else _own_line(candidate))
    return _with_companions(candidate, said, seed, "", _title(candidate))


def check_file(path: str | Path, *, conventions: str | None = None, seed: int = 0) -> Report:
    """`check` for a file of Python, which is run in this process: only check a stranger's in one that is limited.

    Raises `NoInputError` where there is no such file, and `UsageError` as `check` does.
    """
    name = Path(path).name
    if conventions is not None:
        declared(conventions)
    try:
        module = module_of(path)
    except FailedError as failed:
        return Report(name, "error", problem=failed.problem)
    line = conventions if conventions is not None else _own_line(module)
    return _with_companions(module, declared(line), seed, name, name)


def _with_companions(candidate: Any, said: Declared, seed: int, name: str, title: str) -> Report:
    """The report on the backpropagation, and on the optimiser's step, the shuffling and the scaling beside it."""
    namespace = (
        vars(candidate) if isinstance(candidate, ModuleType) else candidate if isinstance(candidate, dict) else {}
    )
    beside = list(companions(namespace))
    wrong = [(function, mistakes) for function, mistakes in beside if mistakes]
    try:
        found = _report(form_of(candidate, said), said, seed, name)
    except FailedError as failed:
        found = Report(title, "error", problem=failed.problem)
        if beside and failed.problem.kind == "nothing":
            told = ", ".join(function for function, _ in beside)
            found = Report(f"{title}: {told}", "right", "functions", remarks=(f"Only {told} was there to be checked.",))
    if not wrong:
        return found
    shown = tuple(f"What {function} gives is not what it should give." for function, _ in wrong)
    return replace(
        found,
        verdict="wrong" if found.ok else found.verdict,
        mistakes=(*found.mistakes, *(mistake for _, mistakes in wrong for mistake in mistakes)),
        evidence=(*found.evidence, *shown),
    )


def _own_line(candidate: Any) -> str | None:
    line = candidate.get("CONVENTIONS") if isinstance(candidate, dict) else getattr(candidate, "CONVENTIONS", None)
    return line if isinstance(line, str) else None


def _title(candidate: Any) -> str:
    return str(getattr(candidate, "__name__", type(candidate).__name__))


def form_of(candidate: Any, said: Declared) -> Candidate:
    """A candidate in the form that it has, or that is declared; `FailedError` where there is nothing to check."""
    if isinstance(candidate, list | tuple) and candidate and all(map(is_layer, candidate)):
        return LayersCandidate({"layers": list(candidate)}, said)
    if isinstance(candidate, ModuleType | dict):
        return _form_of_namespace(dict(candidate) if isinstance(candidate, dict) else vars(candidate), said)
    if inspect.isroutine(candidate):
        return FunctionCandidate({"gradients": candidate}, said, "function")
    if is_notebook(candidate) and said.form in (None, "notebook"):
        return NotebookCandidate(candidate, said)
    attributes = {name: getattr(candidate, name, None) for name in dir(candidate) if not name.startswith("__")}
    if are_layers(attributes) and said.form in (None, "layers"):
        return LayersCandidate(attributes, said)
    if not inspect.isclass(candidate) and not _has_arrays(candidate) and {"backward"} <= roles(attributes).keys():
        return FunctionCandidate(attributes, said)
    return ObjectCandidate(candidate, said)


def _form_of_namespace(namespace: Mapping[str, Any], said: Declared) -> Candidate:
    if said.form in (None, "layers") and are_layers(namespace):
        return LayersCandidate(namespace, said)
    if said.form in (None, "functions", "function") and "backward" in roles(namespace):
        return FunctionCandidate(namespace, said, said.form or "functions")
    home = namespace.get("__name__")
    classes = [one for one in namespace.values() if inspect.isclass(one) and getattr(one, "__module__", None) == home]
    for one in reversed(classes):
        if said.form in (None, "notebook") and is_notebook(one):
            return NotebookCandidate(one, said)
    for one in reversed(classes):
        methods = roles({name: getattr(one, name) for name in dir(one) if not name.startswith("__")})
        if "train" in methods or {"forward", "backward"} <= methods.keys():
            return ObjectCandidate(one, said)
    names = [name for name, one in namespace.items() if inspect.isfunction(one) or one in classes]
    raise FailedError(Problem("nothing", nothing_found(names)))


def _has_arrays(candidate: Any) -> bool:
    values = list(vars(candidate).values()) if hasattr(candidate, "__dict__") else []
    return any(isinstance(value, np.ndarray | list | dict) for value in values)


def _report(candidate: Candidate, said: Declared, seed: int, name: str = "") -> Report:
    """That of whole batches; one row at a time where it is declared, or where several rows are not taken."""
    if said.one_row and not isinstance(candidate, NotebookCandidate):
        return _report_of(RowByRow(candidate), said, seed, name)
    found = _report_of(candidate, said, seed, name)
    if isinstance(candidate, NotebookCandidate | LayersCandidate):
        return found
    if found.verdict == "error" and not (found.problem and found.problem.kind == "changed-arguments"):
        rows = _report_of(RowByRow(candidate), said, seed, name)
        return rows if rows.ok or rows.mistakes else found
    if found.conventions.get("gradient_rows") == "sum" and BIAS_NOT_SUMMED in {one.key for one in found.mistakes}:
        return replace(found, remarks=(*found.remarks, MEANT_FOR_ONE_ROW))
    return found


BIAS_NOT_SUMMED = "bias-gradient-not-summed"
MEANT_FOR_ONE_ROW = (
    "Several rows were given in one call. Where it is only meant for one row at a time, with nothing to be summed, "
    'declare it: CONVENTIONS = "layout=one_row".'
)


def _report_of(candidate: Candidate, said: Declared, seed: int, name: str) -> Report:
    title = f"{name}: {candidate.described}" if name else candidate.described
    own = said.sizes or candidate.own_sizes()
    penalised = L2 if isinstance(candidate, FunctionCandidate) and candidate.takes_l2 else 0.0
    if own is None:
        shapes = ONE_LAYER if getattr(candidate, "depth", None) == 1 else SHAPES
        cases = [generated(sizes, seed, l2=penalised) for sizes in shapes]
    else:
        cases = [generated(own, seed + more, l2=penalised) for more in range(3)]
    runs, failures = _runs(candidate, cases)
    if not runs:
        return Report(title, "error", candidate.form, problem=_first(failures))
    free = candidate.form == "notebook"
    if (apart := _apart(candidate, runs, said, free, title)) is not None:
        return apart
    layout, observed, diagnosis = _best(runs, said, free)
    observed = [one for one in observed if not tells_nothing(one, diagnosis.numbers)] or observed
    layout = observed[0].layout or layout
    remarks: list[str] = []
    evidence = OwnDifferences() if diagnosis.right else own_differences(candidate, _telling(observed), layout)
    failed = next((one.failed for one in observed if one.failed), None)
    followed = failed is None and updates_follow(observed) and _forward_right(observed, diagnosis)
    if not diagnosis.right and evidence.consistent and followed:
        remarks.append(
            "The loss is none that the checker knows, but the gradient is the derivative of this loss, as "
            "differences of it show."
        )
        return Report(
            title, "right", candidate.form, conventions_said(diagnosis.numbers, layout, loss_known=False),
            compared(observed, diagnosis.numbers, loss_known=False), remarks=tuple(remarks),
        )  # fmt: skip
    ran = {one.case.sizes for one in observed}
    remarks += _limits(ran, [case.sizes for case in cases], failures)
    if ran == {sizes for sizes in ran if sizes[-1] == 1} and any(one.case.sizes[-1] > 1 for one in runs[0][1]):
        remarks.append("It was judged with one output; how it averages over several is its own convention.")
    table = compared(observed, diagnosis.numbers)
    raises = _raises_unless_square(ran, failures)
    if diagnosis.right and own is None and raises is not None:
        return Report(
            title, "wrong", candidate.form, conventions_said(diagnosis.numbers, layout), table, problem=raises
        )
    if diagnosis.right and failed is not None:
        return Report(title, "error", candidate.form, problem=failed)
    if failed is not None:
        remarks.append(f"It could not be looked at whether the update is right: {failed.message}")
    if diagnosis.right:
        if (unsure := log_of_zero(candidate, observed[0], layout)) is not None:
            remarks.append(unsure)
        if diagnosis.numbers.hidden == "identity" and any(len(sizes) > 2 for sizes in ran):
            remarks.append("Its hidden layers have no activation: such a network is no more than one layer.")
        return Report(
            title, "right", candidate.form, conventions_said(diagnosis.numbers, layout), table, remarks=tuple(remarks)
        )
    first, at = first_wrong(observed, diagnosis.numbers)
    if first is not None and not np.isfinite(first.candidate) and not diagnosis.explained:
        problem = Problem(
            "nan", f"{first.name} is {first.candidate}: a division by zero, a logarithm of zero or an overflow."
        )
        return Report(
            title, "wrong", candidate.form, conventions_said(diagnosis.numbers, layout), table, first, problem=problem,
            trace=trace_of(at, diagnosis.numbers),
        )  # fmt: skip
    if not diagnosis.explained:
        remarks = [*shapes_said(observed, diagnosis.numbers), *remarks]
    return Report(
        title, "wrong", candidate.form, conventions_said(diagnosis.numbers, layout), table, first,
        tuple(named(variant, first) for variant in diagnosis.mistakes), diagnosis.alternatives, evidence.sentences,
        tuple(remarks), trace=trace_of(at, diagnosis.numbers),
    )  # fmt: skip


def _apart(candidate: Candidate, runs: Runs, said: Declared, free: bool, title: str) -> Report | None:
    """What shows in other ways than in numbers that are off: arguments changed in place, gradients that grow from call
    to call, a loss that is not finite. What else is wrong is looked for with that put right; None where nothing is."""
    changed = next((one.changed for _, some in runs for one in some if one.changed), None)
    kept = None
    if changed is None or isinstance(candidate, FunctionCandidate):  # an object would be given the changed ones again
        runs, kept = _without_accumulation(candidate, runs)
    if changed is not None:
        each = [[(layout, found) for found in meanings(some)] for layout, some in runs]
        meant = list(zip(*each, strict=False))
        report: Report | None = _with_problem(candidate, meant, said, free, title, changed[0], "error")
    else:
        report = _not_finite(candidate, runs, said, free, title)
    if kept is None:
        return report
    if report is None:
        layout, observed, found = _best(runs, said, free)
        first = first_wrong(observed, found.numbers)[0] if found.explained else None
        report = Report(
            title, "wrong", candidate.form, conventions_said(found.numbers, layout) if found.explained else {},
            mistakes=tuple(named(variant, first) for variant in found.mistakes), alternatives=found.alternatives,
        )  # fmt: skip
    called_twice = "The same function, called twice with the same arguments, gives different numbers."
    return replace(report, mistakes=(kept, *report.mistakes), evidence=(called_twice,))


def _not_finite(candidate: Candidate, runs: Runs, said: Declared, free: bool, title: str) -> Report | None:
    losses = [one.numbers[LOSS] for one in runs[0][1] if LOSS in one.numbers]
    if all(np.isfinite(loss) for loss in losses):
        return None
    if not any(map(np.isnan, losses)) and _explained(runs, said, free, pairs=False) is not None:
        return None
    which = next(loss for loss in losses if not np.isfinite(loss))
    problem = Problem("nan", f"The loss is {float(which)}: a logarithm of zero, an overflow or a division by zero.")
    others = [
        (layout, [replace(o, numbers={q: v for q, v in o.numbers.items() if q != LOSS}) for o in some])
        for layout, some in runs
    ]
    return _with_problem(candidate, [others], said, free, title, problem, "wrong")


def _without_accumulation(candidate: Candidate, runs: Runs) -> tuple[Runs, Named | None]:
    """The first layout's numbers without what earlier calls have added to them, and the mistake; None where nothing
    has."""
    layout, observed = runs[0]
    first = accumulated(candidate, observed[0], layout)
    if first is None:
        return runs, None
    again = [first, *(accumulated(candidate, one, layout) for one in observed[1:])]
    return [(layout, [one[0] for one in again if one is not None])], first[1]


LOSS = Quantity("loss")


def _with_problem(
    candidate: Candidate,
    meant: Sequence[Runs],
    said: Declared,
    free: bool,
    title: str,
    problem: Problem,
    verdict: str,
) -> Report:
    """The report of a problem, with the mistake beside it that explains the numbers, in one of the ways in which these
    may be meant."""
    agreeing: list[Runs] = []
    for upto in ("loss", "forward"):
        agreeing = agreeing or [runs for runs in meant if any(agrees_upto(upto, some, said, free) for _, some in runs)]
    seen = any(quantity.kind in FORWARD_KINDS for _, some in meant[0] for one in some for quantity in one.numbers)
    tried = agreeing or (meant if seen else ())
    fits = ((layout, some, fitted(some, said, free)) for runs in tried for layout, some in runs)
    if any(found is not None for *_, found in fits):  # nothing else is wrong
        return Report(title, verdict, candidate.form, problem=problem)
    each = (_explained(runs, said, free, pairs=False) for runs in tried)  # two besides would be three in one file
    explained = next((one for one in each if one is not None), None)
    if explained is None:
        return Report(title, verdict, candidate.form, problem=problem)
    layout, observed, found = explained
    first, _ = first_wrong(observed, found.numbers)
    return Report(
        title, verdict, candidate.form, conventions_said(found.numbers, observed[0].layout or layout),
        mistakes=tuple(named(variant, first) for variant in found.mistakes), alternatives=found.alternatives,
        problem=problem,
    )  # fmt: skip


def _runs(
    candidate: Candidate, cases: Sequence[Case]
) -> tuple[list[tuple[Any, list[Observed]]], dict[tuple[int, ...], list[Reached]]]:
    """What each layout under which anything runs gave, most runs first, and why the others did not."""
    failures: dict[tuple[int, ...], list[Reached]] = {case.sizes: [] for case in cases}
    runs: list[tuple[Any, list[Observed]]] = []
    for layout in candidate.layouts():
        observed: list[Observed] = []
        for case in cases:
            try:
                one = candidate.run(case, layout)
            except FailedError as failed:
                failures[case.sizes].append((failed.reached, failed.problem))
                continue
            if _whole(one):
                observed.append(one)
        several = [one for one in observed if one.case.sizes[-1] > 1]
        if several and all(_is_softmax(one) for one in several):
            observed = several  # a softmax of one output is always 1
        if observed and not any(_same_numbers(observed, before) for _, before in runs):
            runs.append((layout, observed))
    runs.sort(key=lambda run: -len(run[1]))
    return [run for run in runs if not any(one.failed for one in run[1])] or runs, failures


def _same_numbers(some: Sequence[Observed], others: Sequence[Observed]) -> bool:
    """Whether two layouts are one and the same to the candidate."""
    return len(some) == len(others) and all(
        one.numbers.keys() == other.numbers.keys()
        and all(np.array_equal(number, other.numbers[q], equal_nan=True) for q, number in one.numbers.items())
        for one, other in zip(some, others, strict=True)
    )


def _is_softmax(one: Observed) -> bool:
    """Whether the outputs of every row sum to 1."""
    p = one.numbers.get(Quantity("p"))
    return p is not None and bool(np.allclose(p.sum(axis=1), 1))


def _whole(one: Observed) -> bool:
    """Whether there is something of every layer's weights: else the candidate is of another depth."""
    layers = range(1, len(one.case.weights) + 1)
    return any(all(Quantity(kind, layer) in one.numbers for layer in layers) for kind in ("dW", "W"))


def _first(failures: Mapping[tuple[int, ...], list[Reached]]) -> Problem:
    """The problem of the layout that got furthest, and of those the commonest."""
    every = [one for some in failures.values() for one in some]
    if not every:
        return Problem("nothing", "The candidate gives no gradients: backward returns None, and nothing has changed.")
    furthest = max(reached for reached, _ in every)
    kept = [problem for reached, problem in every if reached == furthest]
    counted = [problem for problem in kept if problem.kind not in ("argument", "nothing")] or kept
    return next((p for p in counted if not any(word in p.message for word in _OF_CONTAINERS)), counted[0])


_OF_CONTAINERS = ("TypeError", "KeyError", "matmul", "IndexError")
"""What a candidate says to a list where it wants a dict, or to X turned round: another layout tells more."""

Reached = tuple[int, Problem]
"""How far a call got, and what stopped it."""


Judged = tuple[Any, list[Observed], Diagnosis]
"""A layout, the cases that count, and what they say."""


def _best(runs: Runs, said: Declared, free: bool) -> Judged:
    """The layout under which all agrees; else the one under which the fewest mistakes explain all; else the first."""
    if (found := _explained(runs, said, free)) is not None:
        return found
    layout, some = _promising(runs, said, free)[0]
    return layout, some, unexplained(some, said, free)


def _explained(runs: Runs, said: Declared, free: bool, pairs: bool = True) -> Judged | None:
    """The layout under which all agrees; else the one under which the fewest mistakes explain all; None where none do.

    A candidate may be meant for one output: one that is right there is not wrong for how it averages over several.
    """
    for layout, observed in runs:
        for some in (observed, _of_one_output(observed)):
            found = fitted(some, said, free) if some else None
            if found is not None and (some is observed or _only_averages_otherwise(observed, said, free)):
                return layout, some, found
    each = _promising(runs, said, free)
    for layout, some in each if len(each) > 1 or not pairs else ():
        if (found := diagnose(some, said, free, pairs=False)).explained:
            return layout, some, found
    for layout, some in each[:2] if pairs else ():
        finite = all(np.isfinite(number).all() for one in some for number in one.numbers.values())
        if finite and (found := diagnose(some, said, free)).explained:
            return layout, some, found
    return None


def _promising(runs: Runs, said: Declared, free: bool) -> list[tuple[Any, list[Observed]]]:
    """The layouts under which most runs, and of these those under which all agrees up to the loss, or else up to the
    forward pass: a mistake is seldom before them."""
    most = [run for run in runs if len(run[1]) == len(runs[0][1])][:3]
    each = [(layout, some) for layout, observed in most for some in _judged(observed)]
    for upto in ("loss", "forward") if isinstance(most[0][0], Layout) else ():
        if agreeing := [one for one in each if agrees_upto(upto, one[1], said, free)]:
            return agreeing
    return each


def _telling(observed: Sequence[Observed]) -> Observed:
    """The case in which most can be wrong: of several outputs, and of most layers."""
    return max(observed, key=lambda one: (one.case.sizes[-1] > 1, len(one.case.sizes)))


def _judged(observed: list[Observed]) -> list[list[Observed]]:
    """All cases, and those of one output alone, where there are such beside others."""
    of_one = _of_one_output(observed)
    return [observed, of_one] if 0 < len(of_one) < len(observed) else [observed]


def _of_one_output(observed: Sequence[Observed]) -> list[Observed]:
    return [one for one in observed if one.case.sizes[-1] == 1]


def _only_averages_otherwise(observed: Sequence[Observed], said: Declared, free: bool) -> bool:
    several = [one for one in observed if one.case.sizes[-1] > 1]
    if said.outputs is not None:
        return False
    found = fitted(several, said, free) or diagnose(several, said, free, pairs=False)
    averages = {"divided-by-outputs", "not-divided-by-outputs", "gradient-halved", "gradient-doubled"}
    keys = {variant.mistake.key for variant in found.mistakes}
    return found.right or found.numbers.loss == "binary_cross_entropy" or (bool(keys) and keys <= averages)


def _forward_right(observed: Sequence[Observed], diagnosis: Diagnosis) -> bool:
    return all(one.ok for one in compared(observed, diagnosis.numbers) if one.name[0] in "zap")


def _limits(
    ran: set[tuple[int, ...]], tried: Sequence[tuple[int, ...]], failures: Mapping[tuple[int, ...], list[Reached]]
) -> list[str]:
    """In which networks it could be checked, where it could not in all."""
    if all(sizes in ran or not failures[sizes] for sizes in tried) or not ran:
        return []
    told = ", ".join("-".join(map(str, sizes)) for sizes in tried if sizes in ran)
    said = [f"It was checked in networks of sizes {told} only."]
    if (raises := _raises_unless_square(ran, failures)) is not None:
        line = f" (line {raises.line}: {raises.source_line})"
        said.append(f"Where layers differ in size: {raises.message}{line}")
    return said


def _raises_unless_square(
    ran: set[tuple[int, ...]], failures: Mapping[tuple[int, ...], list[Reached]]
) -> Problem | None:
    """What stops a candidate that only runs where all layers have the same size: two arrays that do not fit."""
    found = [problem for sizes, some in failures.items() if sizes not in ran for _, problem in some if problem.line]
    return found[0] if found and all(len(set(sizes)) == 1 for sizes in ran) else None
