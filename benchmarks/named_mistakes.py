"""Does `glassnet check` name the mistake, and does it ever accuse a right implementation?

Files as students write them, in seven styles (folder `planted`): every mistake alone in every style that makes it, in
several draws of shape, activation, loss and convention; pairs; mistakes that no table has; and right ones of many
conventions. They were planted without a look at how the detector finds them. Prints a table in Markdown; ends with
status 1 if less than 95 % are named right, more than 2 % wrongly, or if one right implementation is accused.

named right    every planted mistake is named, and no other
among equals   a name is given whose numbers are the very same, and the planted one is listed beside it
half           of two mistakes one is named, the other is not, and no wrong name is given
wrong name     a name is given that is neither planted nor its equal
unknown        said to be wrong, with the evidence, but without a name
error          said to raise, or to give wrong shapes, without a name
crash          the detector itself raises, or computes for more than 20 s
passed         said to be right
no change      said to be right, and every number that the file gives is the one that it gave before the mistake was
               planted: there is nothing to find. Counted apart, in no share.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from planted import extras
from planted.candidates import STYLES, UNKNOWN, Candidate, places, planted, right, unknown
from planted.mistakes import GROUPS, PLANTED, Planted

OUTCOMES = ("named right", "among equals", "half", "wrong name", "unknown", "error", "crash", "passed", "no change")
LEAST_RIGHT, MOST_WRONG, MOST_SECONDS = 0.95, 0.02, 20.0


@dataclass(frozen=True)
class Found:
    """What the detector said of one file."""

    candidate: Candidate
    group: str
    outcome: str
    said: str
    seconds: float


def outcome(
    mistakes: Sequence[str], verdict: str, named: Sequence[str], equals: Iterable[str], problem: str | None
) -> str:
    """One of OUTCOMES, or "accused" of a right file.

    named: the keys of the report's mistakes; equals: of those that predict the very same numbers.
    """
    if not mistakes:
        return "passed" if verdict == "right" else "accused"
    if verdict == "right":
        return "passed"
    wanted = [PLANTED[mistake] for mistake in mistakes if mistake in PLANTED]
    keys = {key for one in wanted for key in one.keys}
    found = [bool(one.keys & set(named)) or problem in one.problem for one in wanted]
    strange = [key for key in named if key not in keys]
    if not strange and found and all(found):
        return "named right"
    if strange and wanted and any(_are_all(set(equal.split("+")), wanted) for equal in equals):
        return "among equals"
    if strange:
        return "wrong name"
    if any(found):
        return "half"
    return "error" if verdict == "error" else "unknown"


def _are_all(named: set[str], wanted: Sequence[Planted]) -> bool:
    """Whether these are all that was planted, and nothing else."""
    return all(one.keys & named for one in wanted) and named <= {key for one in wanted for key in one.keys}


def changes_nothing(text: str, correct: str) -> bool:
    """Whether every number that a file gives is, to rounding, the one that another gives, and in a second call too."""
    edited, before = ({}, {})
    for source, numbers in ((text, edited), (correct, before)):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "backpropagation.py")
            path.write_text(source, encoding="utf-8")
            numbers.update(_all_numbers(path))
    return edited.keys() == before.keys() and all(
        edited[key].shape == before[key].shape
        and np.allclose(edited[key], before[key], rtol=1e-9, atol=1e-12, equal_nan=True)
        for key in before
    )


def _all_numbers(path: Path) -> Iterator[tuple[Any, Any]]:
    from glassnet.checking.cases import SHAPES, generated
    from glassnet.checking.check import form_of
    from glassnet.checking.loading import module_of
    from glassnet.checking.problems import FailedError
    from glassnet.checking.protocol import declared

    module = module_of(path)
    said = declared(getattr(module, "CONVENTIONS", None))
    candidate = form_of(module, said)
    own = said.sizes or candidate.own_sizes()
    cases = [generated(sizes, seed, l2=0.1) for seed in (0, 1) for sizes in ([own] if own else SHAPES)]
    for at, layout in enumerate(candidate.layouts()):
        for case in cases:
            calls = [lambda: candidate.run(case, layout)]  # noqa: B023  # called at once
            if hasattr(candidate, "again"):
                calls.append(lambda: candidate.again(case, layout, 2))  # noqa: B023
            for call, run in enumerate(calls):
                try:
                    observed = run()
                except FailedError:
                    continue
                for quantity, value in observed.numbers.items():
                    yield (at, case.sizes, call, quantity), np.asarray(value, float)


class TooLongError(BaseException):
    """Not an `Exception`, which a checker takes for the candidate's."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Stop what computes longer, where the system has such signals; a processor that others use too counts for none."""

    def stop(*_: object) -> None:
        raise TooLongError

    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGVTALRM, stop)
        signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def checked(job: tuple[str, Candidate]) -> Found:
    """Write the file, check it, compare."""
    from glassnet.checking.check import check_file

    group, candidate = job
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "backpropagation.py")
        path.write_text(candidate.text, encoding="utf-8")
        begun = time.process_time()
        try:
            with at_most(MOST_SECONDS):
                report = check_file(path)
        except (Exception, TooLongError):  # of the detector itself: counted against it
            said = traceback.format_exc(limit=-3)
            counted = "crash" if candidate.mistakes else "accused"
            return Found(candidate, group, counted, said, time.process_time() - begun)
        seconds = time.process_time() - begun
    named = [mistake.key for mistake in report.mistakes]
    problem = report.problem.kind if report.problem else None
    said = " + ".join(named) or (f"{report.verdict}: {report.problem.message}" if report.problem else report.verdict)
    if report.first and not named:
        said += f", first off: {report.first.quantity}"
    counted = outcome(candidate.mistakes, report.verdict, named, report.alternatives, problem)
    beside = any(mistake in extras.MISTAKES for mistake in candidate.mistakes)  # numbers of its own, not looked at here
    if counted == "passed" and candidate.mistakes and not beside and changes_nothing(candidate.text, candidate.correct):
        counted = "no change"
    return Found(candidate, group, counted, said, seconds)


def jobs(draws: int, pairs: int, correct: int, first: int) -> Iterator[tuple[str, Candidate]]:
    """All files, by group; of every kind so many seeds, from the first."""
    seeds = range(first, first + draws)
    for mistake, style in places():
        for seed in seeds:
            candidate = planted(style, seed, mistake)
            if candidate is not None:
                yield "alone", candidate
    yield from (("pair", candidate) for candidate in islice(_pairs(first), pairs))
    for style, mistakes in UNKNOWN.items():
        for mistake in mistakes:
            for seed in seeds:
                candidate = unknown(style, seed, mistake)
                if candidate is not None:
                    yield "unknown", candidate
    yield from (("right", right(seed)) for seed in range(first, first + correct))


def _pairs(first: int) -> Iterator[Candidate]:
    rng = Random(f"pairs {first}")
    by_style: dict[str, list[str]] = defaultdict(list)
    for mistake, style in places():
        by_style[style].append(mistake)
    seed = first
    while True:
        seed += 1
        style = rng.choice(tuple(STYLES))
        mistakes = rng.sample(by_style[style], 2)
        if any(set(mistakes) <= set(group) for group in GROUPS):
            continue
        candidate = planted(style, seed, *mistakes)
        if candidate is not None:
            yield candidate


def table(found: Sequence[Found]) -> str:
    """Markdown: a line per planted mistake, then the sums."""
    head = ["mistake", "styles", "files", *OUTCOMES]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * 2 + " ---: |" * (len(head) - 2)]

    def line(title: str, part: Sequence[Found]) -> str:
        counted = Counter(one.outcome for one in part)
        styles = len({one.candidate.style for one in part})
        cells = [title, str(styles), str(len(part)), *(str(counted[name] or "") for name in OUTCOMES)]
        return "| " + " | ".join(cells) + " |"

    alone = [one for one in found if one.group == "alone"]
    for mistake in PLANTED:
        part = [one for one in alone if one.candidate.mistakes == (mistake,)]
        if part:
            lines.append(line(mistake, part))
    for group in ("alone", "pair", "unknown"):
        lines.append(line(f"**all: {group}**", [one for one in found if one.group == group]))
    return "\n".join(lines)


def verdict(found: Sequence[Found]) -> bool:
    """Print the sums against what is required; returns whether it is met."""
    met = True
    for group in ("alone", "pair"):
        part = [one for one in found if one.group == group and one.outcome != "no change"]
        if not part:
            continue
        named = sum(one.outcome in ("named right", "among equals") for one in part) / len(part)
        wrong = sum(one.outcome == "wrong name" for one in part) / len(part)
        met &= named >= LEAST_RIGHT and wrong <= MOST_WRONG
        print(f"{group}: {named:.1%} named right, {wrong:.1%} wrongly, of {len(part)}")
        same = sum(one.outcome == "no change" for one in found if one.group == group)
        if same:
            print(f"  and {same} beside them in which the mistake changes no number, which pass")
    strange = [one for one in found if one.group == "unknown"]
    print(f"unknown mistakes: {sum(one.outcome == 'unknown' for one in strange)} of {len(strange)} called unknown")
    correct = [one for one in found if one.group == "right"]
    accused = [one for one in correct if one.outcome == "accused"]
    print(f"right implementations: {len(accused)} of {len(correct)} accused")
    met &= not accused
    print(
        f"required: at least {LEAST_RIGHT:.0%} named right, at most {MOST_WRONG:.0%} wrongly, none accused: "
        f"{'met' if met else 'NOT met'}"
    )
    return met


def written(found: Iterable[Found], folder: Path) -> None:
    """Every file that was not named right, with what was planted and what was said above it."""
    folder.mkdir(parents=True, exist_ok=True)
    for one in found:
        good = {"alone": "named right", "pair": "named right", "unknown": "unknown", "right": "passed"}[one.group]
        if one.outcome != good:
            c = one.candidate
            name = f"{one.outcome}--{' AND '.join(c.mistakes) or 'right'}--{c.style}-{c.seed}.py".replace(" ", "_")
            head = f"# planted: {', '.join(c.mistakes) or 'nothing'}\n"
            head += f"# outcome: {one.outcome}; said: {' '.join(one.said.split())}\n"
            (folder / name.replace("/", "_")).write_text(head + c.text, encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer draws, pairs and right files")
    parser.add_argument("--seed", type=int, default=0, help="the first of the seeds: other files of the same kinds")
    parser.add_argument("--only", default="", help="a word of the planted mistakes or groups to try alone")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--failures", type=Path, help="a folder for the files that were not named right")
    options = parser.parse_args()
    draws, pairs, correct = (1, 60, 150) if options.quick else (4, 400, 1000)
    every = jobs(draws, pairs, correct, options.seed)
    work = [job for job in every if options.only in f"{job[0]}: {', '.join(job[1].mistakes)}"]
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # for the processes below: as many as there are cores
    begun = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        found = list(pool.imap(checked, work, chunksize=4))
    print(table(found) + "\n")
    met = verdict(found)
    seconds = sorted(one.seconds for one in found)
    print(
        f"{len(found)} files in {time.perf_counter() - begun:.0f} s with {options.processes} processes; a file took "
        f"{seconds[len(seconds) // 2]:.2f} s in the median, {seconds[-1]:.2f} s at most"
    )
    if options.failures:
        written(found, options.failures)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
