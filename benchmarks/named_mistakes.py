"""Does `glassnet check` name the mistake, and does it ever accuse a right implementation?

Files as students write them, in seven styles (folder `planted`): every mistake alone in every style that can make it, in
several draws of shape, activation, loss and convention; pairs; mistakes that no table has; and right ones of many
conventions. The names were planted without a look at how the detector finds them. Prints a table in Markdown; ends with
status 1 if less than 95 % are named right, more than 2 % wrongly, or if one right implementation is accused.

named right    every planted mistake is named, and no other
among equals   a name is given whose numbers are the very same, and the planted one is listed beside it
half           of two mistakes one is named, the other is not, and no wrong name is given
wrong name     a name is given that is neither planted nor its equal
unknown        said to be wrong, with the evidence, but without a name
passed         said to be right
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parent))
for _threads in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")

from planted.candidates import STYLES, UNKNOWN, Candidate, places, planted, right, unknown
from planted.mistakes import PLANTED

OUTCOMES = ("named right", "among equals", "half", "wrong name", "unknown", "passed")
LEAST_RIGHT, MOST_WRONG = 0.95, 0.02


@dataclass(frozen=True)
class Found:
    """What the detector said of one file."""

    candidate: Candidate
    group: str
    outcome: str
    said: str
    seconds: float


def outcome(mistakes: Sequence[str], verdict: str, named: Sequence[str], equals: Iterable[str], problem: str | None) -> str:
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
    if strange and all(hit or one.keys & set(equals) for hit, one in zip(found, wanted, strict=True)) and wanted:
        return "among equals" if len(named) == len(wanted) else "wrong name"
    if strange:
        return "wrong name"
    return "half" if any(found) else "unknown"


def checked(job: tuple[str, Candidate]) -> Found:
    """Write the file, check it, compare."""
    from glassnet.checking.check import check_file

    group, candidate = job
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "backpropagation.py")
        path.write_text(candidate.text, encoding="utf-8")
        begun = time.perf_counter()
        report = check_file(path)
        seconds = time.perf_counter() - begun
    named = [mistake.key for mistake in report.mistakes]
    problem = report.problem.kind if report.problem else None
    said = " + ".join(named) or (f"{report.verdict}: {report.problem.message}" if report.problem else report.verdict)
    if report.first and not named:
        said += f", first off: {report.first.quantity}"
    return Found(candidate, group, outcome(candidate.mistakes, report.verdict, named, report.alternatives, problem), said, seconds)


def jobs(draws: int, pairs: int, correct: int) -> Iterator[tuple[str, Candidate]]:
    """All files, by group."""
    for mistake, style in places():
        for seed in range(draws):
            candidate = planted(style, seed, mistake)
            if candidate is not None:
                yield "alone", candidate
    yield from (("pair", candidate) for candidate in islice(_pairs(), pairs))
    for style, mistakes in UNKNOWN.items():
        for mistake in mistakes:
            for seed in range(draws):
                candidate = unknown(style, seed, mistake)
                if candidate is not None:
                    yield "unknown", candidate
    yield from (("right", right(seed)) for seed in range(correct))


def _pairs() -> Iterator[Candidate]:
    rng = Random("pairs")
    by_style: dict[str, list[str]] = defaultdict(list)
    for mistake, style in places():
        by_style[style].append(mistake)
    seed = 0
    while True:
        seed += 1
        style = rng.choice(tuple(STYLES))
        # The same line with two mistakes is another mistake; those that only a raised exception shows hide all else.
        candidate = planted(style, seed, *rng.sample(by_style[style], 2))
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
        part = [one for one in found if one.group == group]
        if not part:
            continue
        named = sum(one.outcome in ("named right", "among equals") for one in part) / len(part)
        wrong = sum(one.outcome == "wrong name" for one in part) / len(part)
        met &= named >= LEAST_RIGHT and wrong <= MOST_WRONG
        print(f"{group}: {named:.1%} named right, {wrong:.1%} wrongly, of {len(part)}")
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
            head = f"# planted: {', '.join(c.mistakes) or 'nothing'}\n# outcome: {one.outcome}; said: {' '.join(one.said.split())}\n"
            (folder / name.replace("/", "_")).write_text(head + c.text, encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer draws, pairs and right files")
    parser.add_argument("--only", default="", help="a word of the planted mistakes or groups to try alone")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--failures", type=Path, help="a folder for the files that were not named right")
    options = parser.parse_args()
    draws, pairs, correct = (1, 60, 150) if options.quick else (4, 400, 1000)
    work = [job for job in jobs(draws, pairs, correct) if options.only in f"{job[0]}: {', '.join(job[1].mistakes)}"]
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
