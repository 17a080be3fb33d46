"""A process of its own for one who races: `python -m race.worker NAME JOB THREADS`.

It imports the library, makes the first call, says how long both took, and then does what its standard input asks,
line by line, until that ends.
"""

import time

BEGUN = time.perf_counter()

import json  # noqa: E402  # the clock runs from the beginning, before NumPy too
import os  # noqa: E402
import statistics  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402

from race.contenders import CONTENDERS, Contender  # noqa: E402
from race.jobs import Job  # noqa: E402

SAMPLE_SECONDS, SHORT_SECONDS = 0.02, 1.0


def seconds(contender: Contender) -> float:
    contender.reset()
    begun = time.perf_counter()
    contender.train()
    return time.perf_counter() - begun


class Samples:
    """Medians of as many calls as fit into a sample. Short ones are called once untimed: another process has just had
    the caches. In a long one that makes no difference."""

    def __init__(self, contender: Contender) -> None:
        self.contender, self.taken = contender, 0.0

    def next(self) -> float:
        if self.taken < SHORT_SECONDS:
            before = seconds(self.contender)
            self.taken = self.taken or before
        calls = max(1, int(SAMPLE_SECONDS / self.taken))
        return statistics.median(seconds(self.contender) for _ in range(calls))


def main(name: str, job_file: str, threads: str) -> None:
    # Nobody's chatter may get between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(**what: object) -> None:
        print(json.dumps(what), file=answers, flush=True)

    kind = CONTENDERS[name]
    kind.load()
    imports = time.perf_counter() - BEGUN
    contender = kind(Job.read(Path(job_file)), int(threads))
    answer(imports=imports, first=seconds(contender))
    samples = Samples(contender)
    for line in sys.stdin:
        asked = line.split()
        if asked[0] == "time":
            answer(seconds=samples.next())
        else:
            np.save(asked[1], contender.curve())
            answer(saved=asked[1])


if __name__ == "__main__":
    main(*sys.argv[1:])
