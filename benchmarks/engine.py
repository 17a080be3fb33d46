"""Is glassnet faster than every framework on small networks? A race on the same rows, starts, batches and dtype.

Every contender has a process of its own, with its number of threads set before it imports anything. They are called in
turn, A B C A B C, so that what slows the machine for a while slows them all; a ratio is the median over the rounds of
the ratio within a round, its interval a bootstrap's. What a call includes is said in race/contenders.py. Before that,
fresh processes make the first call, cold (nothing in the cache folder) and warm (with the cache of the one before).

The loss over all rows before the first and after every epoch is taken of each, and held against glassnet's own; of
`MLPClassifier.fit` what it says itself, the means of batches.

Writes engine.md, engine.json and engine.png. What is required, in engine.toml, is reported as met or missed; the exit
status is 0 either way.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from glassnet.errors import NoInputError
from race import figures, machine, report
from race.contenders import CONTENDERS
from race.jobs import made

HERE = Path(__file__).parent
PAUSE = 0.3  # seconds before each sample: threads of another library wait busily for work for a while


def environment(threads: int, dtype: str, cache: Path) -> dict[str, str]:
    """What libraries read while they are imported."""
    counted = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")  # NPROC: XLA
    return {
        **os.environ,
        **dict.fromkeys(counted, str(threads)),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH")))),
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "JAX_ENABLE_X64": "1" if dtype == "float64" else "0",
        # Where anything compiled is kept. jax keeps it only when told, and by itself not what took under a second.
        "XDG_CACHE_HOME": str(cache),
        "GLASSNET_CACHE": str(cache / "glassnet"),
        "JAX_COMPILATION_CACHE_DIR": str(cache / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


@contextmanager
def cache_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


class Racer:
    """The process of one contender. Its first answer, unasked, is about its imports and its first call."""

    def __init__(self, name: str, threads: int, job_file: Path, dtype: str, cache: Path) -> None:
        self.said = tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace")  # noqa: SIM115  # __exit__
        self.process = subprocess.Popen(
            [sys.executable, "-m", "race.worker", name, str(job_file), str(threads)],
            env=environment(threads, dtype, cache),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.said,
            text=True,
            encoding="utf-8",
        )
        self.name = name

    def ask(self, line: str) -> None:
        assert self.process.stdin
        print(line, file=self.process.stdin, flush=True)

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            self.said.seek(0)
            raise RuntimeError(f"{self.name} ended without an answer:\n{self.said.read()}")
        return json.loads(line)

    def __enter__(self) -> Racer:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()
        self.said.close()


@dataclass
class Line:
    """A contender's line in a job's table; times in seconds. What was not measured is None."""

    name: str
    peer: str
    title: str
    threads: int
    missing: bool = False
    cold: float | None = None
    cold_with_imports: float | None = None
    warm: float | None = None
    warm_with_imports: float | None = None
    steady: float | None = None
    ratio: figures.Interval | None = None
    floor: float | None = None
    met: bool | None = None
    difference: float | None = None
    usual_difference: float | None = None
    samples: list[float] = field(default_factory=list)


def installed(name: str) -> bool:
    return all(importlib.util.find_spec(module.partition(".")[0]) for module in CONTENDERS[name].modules)


def first_calls(line: Line, job_file: Path, dtype: str, times: int) -> None:
    """Medians over fresh processes: each time one with an empty cache folder, then one with what that left."""
    found: dict[str, list[float]] = {}
    for _ in range(times):
        with cache_folder() as cache:
            for state in ("cold", "warm"):
                with Racer(line.name, line.threads, job_file, dtype, cache) as racer:
                    hello = racer.answer()
                found.setdefault(state, []).append(hello["first"])
                found.setdefault(f"{state}_with_imports", []).append(hello["imports"] + hello["first"])
    for name, seconds in found.items():
        setattr(line, name, statistics.median(seconds))


def raced(settings: dict[str, Any], dtype: str, pace: dict[str, Any], peaks: dict[str, Any]) -> dict[str, Any]:
    """One job in one dtype: everyone's first calls, then all of them in turn."""
    job = made(settings, dtype)
    floors = settings["floors"] if dtype in settings["floors_for"] else {}
    lines = []
    for name, threads in settings["contenders"]:
        kind = CONTENDERS[name]
        title = kind.title_of_many if len(job.starts) > 1 and kind.title_of_many else kind.title
        lines.append(Line(name, kind.peer, title, threads, missing=not installed(name)))
        if len(lines) > 1:  # the first is whom the others are held against
            lines[-1].floor = floors.get(kind.peer)
    racing = [line for line in lines if not line.missing]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        job_file = folder / "job.npz"
        job.write(job_file)
        if settings.get("first_calls") and dtype == settings["dtypes"][0]:
            seen = set()
            for line in racing:
                if line.peer not in seen:
                    first_calls(line, job_file, dtype, pace["first_calls"])
                seen.add(line.peer)
        racers: list[Racer] = []
        curves: list[np.ndarray | None] = []
        for line in racing:  # one after the other: threads that wait busily make many at once much slower
            racer = stack.enter_context(Racer(line.name, line.threads, job_file, dtype, folder / "cache"))
            racer.answer()
            racers.append(racer)
            curves.append(None)
            if job.optimizer in CONTENDERS[line.name].optimizers:
                racer.ask(f"curve {folder / 'curve.npy'}")
                racer.answer()
                curves[-1] = np.load(folder / "curve.npy")
        limits = [] if "memory" not in settings else [memory(settings["memory"], job_file, racing[0].threads, folder)]
        least, most = pace["rounds"]
        least = min(least, settings.get("rounds", least))
        begun = time.perf_counter()
        while len(racing[0].samples) < most:
            if len(racing[0].samples) >= least and time.perf_counter() - begun > pace["seconds"]:
                break
            for line, racer in zip(racing, racers, strict=True):
                time.sleep(PAUSE)
                racer.ask("time")
                line.samples.append(racer.answer()["seconds"])
    ours = racing[0]
    for line, curve in zip(racing, curves, strict=True):
        line.steady = statistics.median(line.samples)
        if line is not ours:
            line.ratio = figures.ratio(line.samples, ours.samples)
            line.met = None if line.floor is None else line.ratio.median >= line.floor
        if line is not ours and curve is not None:
            of_networks = np.abs(curve - curves[0]).max(axis=1)
            line.difference, line.usual_difference = float(of_networks.max()), float(np.quantile(of_networks, 0.99))
    return {
        "title": settings["title"],
        "dtype": dtype,
        "networks": len(job.starts),
        "rounds": len(ours.samples),
        "final_loss": float(np.median(curves[0][:, -1])),
        "lines": [asdict(line) for line in lines],
        "roofline": roofline(settings, job, dtype, ours, peaks[dtype], floors.get("roofline")),
        "required": limits,
    }


def memory(most: dict[str, float], job_file: Path, threads: int, cache: Path) -> dict[str, Any]:
    """Of a training in a fresh process, in megabytes: above what was held before there were data."""
    found = told("growth", ["job", str(job_file), str(threads)], threads, cache / "cache")
    limit = most["data"] * found["data"] + most["parameters"] * found["parameters"]
    what = f"memory, {most['data']} x the data and {most['parameters']} x the parameters"
    return required(what, found["most"] / 1e6, limit / 1e6, " MB")


def roofline(settings: dict, job: Any, dtype: str, ours: Line, peak: dict, most: float | None) -> dict[str, Any]:
    """What the job would take at the peak of as many cores as glassnet's first line has threads."""
    found: dict[str, Any] = {}
    more = CONTENDERS[ours.name].more_passes(job)
    for name, more_passes in (("with losses", more), ("updates alone", None)):
        amount = figures.work(
            job.sizes, len(job.X), job.batch_size, job.epochs, job.optimizer, more_passes, job.activation, job.loss
        )
        at_once = len(job.starts) / ours.threads
        seconds = amount.seconds(peak["flops"], peak["transcendentals"]) * at_once
        flops_share = amount.flops / peak["flops"] * at_once / ours.steady
        found[name] = asdict(amount) | {"seconds": seconds, "share": seconds / ours.steady, "flops_share": flops_share}
    times = ours.steady / found["with losses"]["seconds"]
    return {**found, "times": times, "floor": most, "met": None if most is None else times <= most}


def told(module: str, arguments: Sequence[str], threads: int, cache: Path) -> Any:
    """The answer of a module that runs once in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-m", f"race.{module}", *arguments],
        env=environment(threads, "float64", cache),
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"race.{module} {arguments[0]}:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def grown(settings: dict[str, Any], pace: dict[str, Any], cache: Path) -> dict[str, Any]:
    text = json.dumps(settings | {"repeats": pace["repeats"]})

    def measured(what: str, sizes: Sequence[int], threads: int) -> list[float]:
        return told("growth", [what, text, *map(str, sizes)], threads, cache)

    rows = measured("rows", settings["rows"], 1)
    networks = measured("networks", settings["networks"], 2)
    memory = []
    if Path("/proc/self/clear_refs").exists():
        memory = [measured("memory", [n], 1)[0] for n in settings["memory_rows"]]
    return {
        "title": settings["title"],
        "rows": dict(zip(map(str, settings["rows"]), rows, strict=True)),
        "networks": dict(zip(map(str, settings["networks"]), networks, strict=True)),
        "memory": dict(zip(map(str, settings["memory_rows"]), memory, strict=False)),
        "required": [
            required("time per row grows by", figures.growth(rows), settings["most_per_row"]),
            required("time per network grows by", figures.growth(networks), settings["most_per_network"]),
            *(required("memory over the data", value, settings["most_memory"]) for value in memory[-1:]),
        ],
    }


def required(what: str, value: float, most: float, unit: str = " x") -> dict[str, Any]:
    return {"what": what, "value": value, "most": most, "unit": unit, "met": value <= most}


def searched(settings: dict[str, Any], pace: dict[str, Any]) -> dict[str, Any]:
    """Grid searches in turn, each in a fresh process with an empty cache folder, imports apart."""
    samples: dict[str, list[float]] = {"glassnet": [], "scikit-learn": []}
    accuracy = {}
    for _ in range(pace["grids"]):
        for name, seconds in samples.items():
            with cache_folder() as cache:
                answer = told("grid", [name, json.dumps(settings)], 1, cache)
            seconds.append(answer["seconds"])
            accuracy[name] = answer["accuracy"]
    ratio = figures.ratio(samples["scikit-learn"], samples["glassnet"])
    return {"title": settings["title"], "samples": samples, "accuracy": accuracy, "ratio": asdict(ratio)}


def main() -> int:
    settings = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    every = [*settings["jobs"], "growth", "grid"]
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="few rounds and one dtype of each job: about 18 minutes")
    parser.add_argument("--jobs", default=",".join(every), help="some of them, by comma (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=HERE / "results", metavar="FOLDER", help="where to write")
    options = parser.parse_args()
    names = options.jobs.split(",")
    if unknown := set(names) - set(every):
        parser.error(f"jobs are {', '.join(every)}; got {', '.join(sorted(unknown))}.")
    pace = settings["quick" if options.quick else "full"]
    begun = time.perf_counter()
    peaks = {}
    for dtype in ("float32", "float64"):
        flops = machine.flops_per_second(dtype)
        peaks[dtype] = {"flops": flops, "transcendentals": machine.transcendentals_per_second(dtype, flops)}
    result: dict[str, Any] = {
        "machine": machine.description(),
        "pace": "quick" if options.quick else "full",
        "peaks": peaks,
        "first_fit": settings["first_fit"],
        "jobs": {},
        "left_out": {},
    }
    for name in names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        if name in settings["jobs"]:
            job = settings["jobs"][name]
            dtypes = job["dtypes"][:1] if pace.get("one_dtype") else job["dtypes"]
            try:
                result["jobs"][name] = {"races": [raced(job, dtype, pace, peaks) for dtype in dtypes]}
            except NoInputError as error:  # the larger data files are not everywhere
                result["left_out"][name] = str(error)
        elif name == "growth":
            with cache_folder() as cache:
                result["growth"] = grown(settings["growth"], pace, cache)
        else:
            result["grid"] = searched(settings["grid"], pace)
    result["seconds"] = time.perf_counter() - begun
    options.output.mkdir(parents=True, exist_ok=True)
    text = report.markdown(result)
    (options.output / "engine.md").write_text(text, encoding="utf-8")
    (options.output / "engine.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    report.plot(result).savefig(options.output / "engine.png", dpi=150)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
