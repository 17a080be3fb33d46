"""From a request to what the page shows: settings are trained by the compiled engine, a view is computed from them.

`Service` holds tables, `Page` what one page has been sent. `Page.answers` yields messages, each the fruit of a moment's
work, so that whoever drives it can drop it as soon as a newer request is there. Every number a page shows is computed
here; a page draws.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet import metrics
from glassnet.derivations.worked import explain
from glassnet.derivations.worked_mathml import marked_lines
from glassnet.dispatch import job_size
from glassnet.errors import DataError, GlassnetError, UsageError
from glassnet.kernels import stacked
from glassnet.kernels.threads import all_threads
from glassnet.model import Model
from glassnet.network import FloatArray, Network, Parameters
from glassnet.optimizers import LBFGS
from glassnet.reading import read_table
from glassnet.regions import boundary_of
from glassnet.web.course import Course, by_hand
from glassnet.web.edits import altered
from glassnet.web.frames import finite, plain
from glassnet.web.ground import GRID, LINE, Ground, Plane, Source, first_source
from glassnet.web.job import Job
from glassnet.web.slow import WINDOW, SlowStep
from glassnet.web.state import Asked, Edits, Settings, View
from glassnet.web.trained import Trained

MOST_ROWS = 100_000
"""Rows of a table that is sent to the server."""

MOST_TABLES = 8
"""Tables that the server keeps, beside the one it was started with; the oldest goes."""

MOST_SECONDS = 60.0
"""Time for all starts of one request."""

_FIRST = 0.002  # seconds of training before anything is shown
_AT_ONCE = 0.02  # seconds that are not worth another thread
_NUMBERS = ("learning_rate", "l1", "l2", "dropout")  # to change one of them, but from or to 0, changes no kernel
_FILL = 0.05  # seconds without a newer request, and the other starts are trained
_STEP = 0.040  # seconds of training between two looks for a newer request, then
_REST = 0.15  # seconds without a newer request, and what is read and not looked at is computed
_ALIKE = 1.5  # times as many starts, or as few, in the time: as many as the last time are shown, for they would flicker
_LONG = 0.1  # seconds of one start's training, from which on a newer request ends it
_SPEED = 2e10  # `dispatch.job_size` per second, until it was measured
_WEIGHT = 0.3  # of the last training in what is known of the speed
_UNIT_GRID = GRID // 2
_MOST_EXACT_UNITS = 16
_MOST_EXPLAINED = 40  # parameters of a network whose equations are all shown at once


class Service:
    """The tables that are played with, and what was prepared of them last."""

    def __init__(self, source: Source) -> None:
        self._sources: OrderedDict[str, Source] = OrderedDict({"": source})
        self._grounds: OrderedDict[Any, Ground] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, content: bytes, name: str) -> str:
        """Keep a table that was sent as a file's bytes; returns what requests call it. `name` is for people alone.

        Raises DataError: what the bytes hold is no table, or has too many rows.
        """
        handle, path = tempfile.mkstemp(prefix="glassnet-play-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            table = read_table(path)
        except GlassnetError as problem:
            raise DataError(str(problem).replace(path, "the file")) from problem
        finally:
            os.unlink(path)
        if table.n_rows > MOST_ROWS:
            raise DataError(
                f"A table sent to the page has at most {MOST_ROWS:,} rows; this one has {table.n_rows:,}. "
                "glassnet train takes any number."
            )
        number = hashlib.sha256(content).hexdigest()[:16]
        source = first_source(table, name)
        with self._lock:
            self._sources[number] = source
            self._sources.move_to_end(number)
            while len(self._sources) > MOST_TABLES + 1:
                self._sources.pop(next(key for key in self._sources if key))
        return number

    def holds_ground(self, settings: Settings) -> bool:
        """Whether the prepared table of some settings is one of those that are kept."""
        with self._lock:
            source = self._sources.get(settings.table)
            return source is not None and _of_ground(source, settings) in self._grounds

    def ground(self, settings: Settings) -> Ground:
        """The prepared table of some settings; some are kept."""
        with self._lock:
            source = self._sources.get(settings.table)
        if source is None:
            raise UsageError(
                "The server does not hold this table: a link never carries the data. Send the file again, "
                "or go back to the first table."
            )
        key = _of_ground(source, settings)
        with self._lock:
            found = self._grounds.get(key)
        if found is None or found.source is not source:
            found = Ground.of(source, settings)
            with self._lock:
                self._grounds[key] = found
                while len(self._grounds) > MOST_TABLES:
                    self._grounds.popitem(last=False)
        return found


def _of_ground(source: Source, settings: Settings) -> Any:
    """What a prepared table follows from."""
    return id(source), settings.target, settings.features, settings.seed, settings.test


class Page:
    """One page: what it has been sent, and the last training, from which its views are computed."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._settings: Settings | None = None
        self._trained: Trained | None = None
        self._plane: tuple[Any, Plane | None] = (None, None)
        self._altered: tuple[Any, Ground | None] = (None, None)
        self._course: tuple[Any, Course | None] = (None, None)
        self._at: tuple[Any, Any] = (None, None)  # parameters after an epoch of a course, and what they are of
        self._slow: tuple[Any, SlowStep | None] = (None, None)
        self._sent: dict[str, Any] = {}
        self._speeds: dict[int, float] = {}  # of so many threads; 0: of L-BFGS
        self._shown = 0  # starts that were trained before anything was shown, the last time
        self._last: Any = None  # what the last request was of, but for some numbers
        self._took = np.inf  # seconds until its first message, if all was trained for it that is shown, and to the end
        self._overtaken = False
        self._stop = np.zeros(1, np.int64)  # of a training that takes long

    def at_once(self, asked: Asked) -> bool:
        """Whether the first message takes some milliseconds alone: the last one did, for the same but other numbers."""
        same = self._took < _AT_ONCE and self._last == _but_numbers(asked)
        return same and self._service.holds_ground(asked.settings)

    def overtaken(self) -> None:
        """There is a newer request, says another thread: a training that takes long is not waited for."""
        self._overtaken = True
        self._stop[0] = 1

    def answers(self, asked: Asked) -> Iterator[dict[str, Any] | float]:
        """The messages that answer a request, `last` in the last of them: what has changed since the last messages.

        A number comes before what can wait until nobody has moved anything for so many seconds. Every message is to be
        sent, for none comes twice. A user's mistake is a message with its `problem`. There may be no `last` where the
        request was overtaken.
        """
        self._overtaken = False  # here and now, not when the first message is wanted: by then it may be
        return self._said(asked)

    def _said(self, asked: Asked) -> Iterator[dict[str, Any] | float]:
        try:
            yield from self._answers(asked)
        except GlassnetError as problem:
            self._sent.clear()
            yield {"id": asked.id, "problem": str(problem), "last": True}

    def _answers(self, asked: Asked) -> Iterator[dict[str, Any] | float]:
        view, begun = asked.view, time.perf_counter()
        self._last, self._took = _but_numbers(asked), np.inf
        trained = self._trained_for(asked)
        ground = trained.job.ground
        first, filling = 0, False
        # Passes of a line search are as many as the numbers make them: how long they took says nothing.
        anew = trained.done == 0 and asked.settings.optimizer != "lbfgs"
        if self._sent.get("starts", [None])[0] is trained:
            first = self._sent["starts"][1]  # it has those already
        while True:
            message: dict[str, Any] = {"id": asked.id, "last": False}
            stopped = trained.done > 0 and time.perf_counter() - begun > MOST_SECONDS
            trained.given_up = stopped
            if trained.done < trained.size and not stopped and not self._extend(trained, filling):
                return  # it was overtaken
            if filling and self._overtaken:
                return
            if first < trained.done or stopped:
                message["starts"] = trained.message(first)
                first = trained.done
            self._sent["starts"] = (trained, first)
            if self._changed("ground", ground):
                message["ground"] = ground.described()
                self._sent.pop("points", None)
            message |= self._looked_at(trained, view)
            if anew and not filling and (trained.ails[trained.order[: trained.done], 2] < 0).all():
                self._took = time.perf_counter() - begun
            if trained.done < trained.size and not stopped:
                yield message
                if not filling:
                    yield _FILL
                filling = True
                continue
            if trained.done < trained.size:
                message["problem"] = (
                    f"Stopped after {MOST_SECONDS:.0f} s: {trained.done} of {trained.size} starts are trained. "
                    "Fewer epochs, units or starts take less."
                )
            later = self._later(trained, view)
            yield {**message, "last": not later}
            for left, (name, key, made) in enumerate(later, start=1 - len(later)):
                yield _REST
                part = made()
                self._sent[name] = key
                yield {"id": asked.id, name.partition(" ")[0]: part, "last": left == 0}
            return

    def _later(self, trained: Trained, view: View) -> list[tuple[str, Any, Callable[[], Any]]]:
        """What can wait: the messages' parts, what each is of, and how it is made; without those that the page has."""
        start, epoch, vector = self._parameters(trained, view)
        looked_at = (trained, start, epoch, view.legs, view.hand)
        parts: list[tuple[str, Any, Callable[[], Any]]] = []
        step = (looked_at, max(view.row, 0)) if view.slow >= 0 and not view.hand else None
        for name in [name for name, key in self._sent.items() if name.startswith("slow") and key != step]:
            del self._sent[name]  # or else every window would keep a training in memory
        if step is not None:
            # The window that the line is in, what stands before it, and the next one in time.
            line = max(view.slow - 1, 0)
            for window in sorted({max(line - WINDOW, 0) // WINDOW, line // WINDOW, (line + WINDOW // 2) // WINDOW}):
                parts.append((f"slow {window}", step, partial(self._gone_through, trained, view, step, window)))
        elif view.row >= 0:
            key = (looked_at, view.row, view.only)
            parts.append(("equations", key, lambda: self._equations(trained, view)))
        parts.append(("ailing", looked_at, lambda: self._course_of(trained, view, start).ailing(epoch, vector)))
        return [part for part in parts if self._sent.get(part[0]) != part[1]]

    def _gone_through(self, trained: Trained, view: View, step: Any, number: int) -> dict[str, Any]:
        """A window of the lines of one row's step, and all their names and values where the page has not got them."""
        if self._slow[0] != step:
            self._slow = (step, None)
            start, epoch, vector = self._parameters(trained, view)
            run = self._course_of(trained, view, start).run
            try:
                self._slow = (step, SlowStep.of(trained.job.ground, run, vector, max(view.row, 0), epoch))
            except UsageError as problem:  # a network that is too large, say
                return {"problem": str(problem)}
        slow = self._slow[1]
        if slow is None:
            return {}
        found = slow.window(number)
        if self._changed("slow", step):
            found |= slow.plan()
        return found

    def _trained_for(self, asked: Asked) -> Trained:
        """The starts of these settings, as far as they are trained: those of the last request, or none yet."""
        settings = asked.settings
        ground = self._ground(settings, asked.edits)
        if self._trained is None or self._settings != settings or self._trained.job.ground is not ground:
            # The start that is looked at comes first; or the one that was best, which often is so again.
            wanted = asked.view.start
            first = wanted if wanted >= 0 or self._trained is None else self._trained.kept
            self._trained, self._settings = Trained(Job.of(ground, settings), settings.starts, first), settings
        return self._trained

    def _ground(self, settings: Settings, edits: Edits) -> Ground:
        """The prepared table, with what was done to its rows by hand and by noise."""
        ground = self._service.ground(settings)
        if not edits and not settings.noise:
            return ground
        key = (ground, edits, settings.noise)
        if self._altered[0] != key or self._altered[1] is None:
            self._altered = (key, altered(ground, edits, settings.noise, settings.seed))
        assert self._altered[1] is not None
        return self._altered[1]

    def _extend(self, trained: Trained, filling: bool) -> bool:
        """Train further starts, as many as take about `_FIRST`, or `_STEP` in `filling` up; whether any was.

        All of them where nearly all would be. The first ones by one thread less than there are cores: meanwhile the
        browser draws what came before. Those that fill up end as soon as a newer request is there.

        How fast it went settles how much is trained at a time and by how many threads, never what comes of it.
        """
        job, before = trained.job, trained.done
        of_one = job_size(job.network, job.spec, len(job.data.X), 1)
        by_lines = isinstance(job.spec.optimizer, LBFGS)  # passes of a line search, from Python: one thread
        if by_lines:
            of_one *= 50
        threads = 0 if by_lines else all_threads() if filling else max(1, all_threads() - 1)
        speed = self._speeds.get(threads, _SPEED)
        left, count = trained.size - before, max(1, int((_STEP if filling else _FIRST) * speed / of_one))
        if not filling:
            if self._shown / _ALIKE < count < self._shown * _ALIKE:
                count = self._shown
            self._shown = count
        stop = None
        if filling or of_one / speed > _LONG:
            self._stop = stop = np.zeros(1, np.int64)
            if self._overtaken:  # before there was something to stop
                stop[0] = 1
        begun = time.perf_counter()
        trained.extended(left if count >= 0.8 * left else count, stop, threads or None)
        if trained.done == before:
            return False
        now = of_one * (trained.done - before) / (time.perf_counter() - begun)
        known = self._speeds.get(threads, now)
        # The first of all may have had kernels to compile: what is by far quicker counts at once.
        self._speeds[threads] = now if now > 4 * known else known + _WEIGHT * (now - known)
        return True

    def _changed(self, what: str, key: Any) -> bool:
        if what in self._sent and self._sent[what] == key:
            return False
        self._sent[what] = key
        return True

    def _looked_at(self, trained: Trained, view: View) -> dict[str, Any]:
        """What is shown of the start and the epoch that a view is of."""
        ground, job = trained.job.ground, trained.job
        start, epoch, vector = self._parameters(trained, view)
        key = (ground, view.x, view.y, view.held)
        if self._plane[0] != key:
            self._plane = (key, ground.plane(view))
        plane = self._plane[1]
        found: dict[str, Any] = {}
        if plane is not None and self._changed("points", (ground, plane.x, plane.y)):
            found["points"] = ground.points(plane)
        if self._changed("view", (trained, start, epoch, key, view.hand, view.legs)):
            losses, ails = trained.losses[start], trained.ails[start]
            if view.legs:
                course = self._course_of(trained, view, start)
                losses, ails = course.losses, course.ails
            found["view"] = self._view(job, vector, plane) | {
                "start": start,
                "epoch": epoch,
                "loss": plain(losses[epoch]),
                "sizes": list(job.network.sizes),
                "activations": list(job.network.activations),
                "ails": ails,
                "updates": job.updates_per_epoch,
            }
            if view.legs:
                found["view"]["curve"] = finite(losses[trained.curve_epochs])
        return found

    def _parameters(self, trained: Trained, view: View) -> tuple[int, int, FloatArray]:
        """The start and the epoch that are looked at, and the parameters there (n_parameters,)."""
        start = view.start if trained.has(view.start) else trained.kept
        epochs = trained.job.spec.epochs
        epoch = view.epoch if 0 <= view.epoch < epochs else epochs
        if epoch == epochs and not view.legs and not view.hand:
            return start, epoch, trained.vectors[start]
        course = self._course_of(trained, view, start)
        if self._at[0] != (course, epoch):
            self._at = ((course, epoch), course.at(epoch))
        return start, epoch, by_hand(trained.job.network, self._at[1], view.hand)

    def _course_of(self, trained: Trained, view: View, start: int) -> Course:
        """The training of a start, gone on with from what was set by hand."""
        key = (trained, start, view.legs)
        if self._course[0] != key or self._course[1] is None:
            job = trained.job
            course = Course(job, start, trained.vectors[start], trained.losses[start], trained.ails[start])
            for epoch, hand in view.legs:
                at = course.at(epoch if 0 <= epoch < job.spec.epochs else job.spec.epochs)
                course = Course.trained(job, start, by_hand(job.network, at, hand))
            self._course = (key, course)
        assert self._course[1] is not None
        return self._course[1]

    def _view(self, job: Job, vector: FloatArray, plane: Plane | None) -> dict[str, Any]:
        network, ground = job.network, job.ground
        stack = Parameters(network, vector[np.newaxis])
        n_train = len(ground.prepared.train_rows)
        with np.errstate(all="ignore"):  # a start that diverged may answer beyond all measure
            passed = stacked.forward(network, stack, ground.X)
        p = passed.probabilities[0].T
        answers = p[ground.some]
        found: dict[str, Any] = {
            "vector": vector,
            "dead": _dead(passed, n_train),
            "answers": finite(self._in_units(ground, answers)),
            "train": _scores(ground, ground.y[:n_train], p[:n_train]),
        }
        if len(p) > n_train:
            found["test"] = _scores(ground, ground.y[n_train:], p[n_train:])
        if ground.target.kind != "number":
            wrong = ground.classes_of(answers) != ground.classes_of(ground.y[ground.some])
            found["wrong"] = wrong.astype(np.uint8)
        if plane is None:
            return found
        with np.errstate(all="ignore"):
            done = stacked.forward(network, stack, plane.X)
        shape = (-1, GRID, GRID) if plane.y else (-1, LINE)
        found["outputs"] = finite(self._in_units(ground, done.probabilities[0].T).T).reshape(shape)
        exact = self._exact_boundary(job, vector, plane) if plane.y else None
        if exact is not None:
            found["boundary"] = exact
        else:
            found["logits"] = finite(done.logits[0]).reshape(shape)
        layers = [*done.activations[1:-1], done.probabilities]
        every = np.concatenate([layer[0] for layer in layers]).reshape(shape)
        if not plane.y:
            found["units"] = np.repeat(finite(every[:, np.newaxis, :: LINE // _UNIT_GRID]), _UNIT_GRID, axis=1)
            return found
        found["units"] = finite(every[:, ::2, ::2])
        return found

    @staticmethod
    def _in_units(ground: Ground, outputs: FloatArray) -> FloatArray:
        """Predictions (n, n_outputs) in the target's unit, probabilities as they are."""
        if ground.target.kind == "number":
            return ground.target.center + ground.target.scale * outputs
        return outputs

    @staticmethod
    def _exact_boundary(job: Job, vector: FloatArray, plane: Plane) -> FloatArray | None:
        """Segments (n, 2, 2) on which the decision changes, of piecewise-linear networks of the two columns alone."""
        ground, network = job.ground, job.network
        if ground.target.kind == "number" or sum(network.sizes[1:-1]) > _MOST_EXACT_UNITS or network.n_outputs > 4:
            return None
        columns = ground.encoding.columns
        if {c.source for c in columns} != {plane.x, plane.y}:
            return None
        turned = columns[0].source != plane.x
        low, high = (part[::-1] if turned else part for part in (plane.low, plane.high))
        try:
            with np.errstate(all="ignore"):
                found = boundary_of(network, Parameters(network, vector), ground.encoding, low.tolist(), high.tolist())
        except UsageError:  # dates, say, or a smooth activation
            return None
        segments = np.array(found).reshape(-1, 2, 2)
        segments = segments[np.isfinite(segments).all(axis=(1, 2))]
        return (segments[..., ::-1] if turned else segments).astype(np.float32)

    def _equations(self, trained: Trained, view: View) -> dict[str, Any]:
        """The worked calculation of a row, as `explain` has it: of a unit, a weight, a bias or a small network."""
        job, ground = trained.job, trained.job.ground
        said = ground.row_said(view.row)
        _, _, vector = self._parameters(trained, view)
        model = Model(job.network, (Parameters(job.network, vector.copy()),), ground.encoding)
        names = _quantities(job.network, view.only)
        if not names and job.network.n_parameters > _MOST_EXPLAINED:
            return {
                "said": said,
                "lines": [],
                "answer": "Choose a unit or a weight of the network to see its equation.",
            }
        table = ground.source.table.select([view.row])
        lines, answer = [], ""
        for name in names or (None,):
            try:
                worked = explain(model, table, 0, only=name)
            except UsageError as problem:  # a link to a unit that this network has not got
                return {"said": said, "lines": [], "answer": str(problem)}
            answer = worked.answer
            for equation in worked.work:
                lines += [
                    {"name": line.symbol, "stage": line.stage, "pieces": line.pieces, "note": line.note}
                    for line in marked_lines(equation)
                ]
        return {"said": said, "lines": lines, "answer": answer}


def _but_numbers(asked: Asked) -> Any:
    """What a request is of, with nothing left of some numbers but whether they are 0."""
    settings = asked.settings
    whether: Any = {name: bool(getattr(settings, name)) for name in _NUMBERS}
    return replace(settings, **whether), asked.view, asked.edits


def _quantities(network: Network, only: str) -> tuple[str, ...]:
    """The quantities that tell of a unit, `z1_2`, a weight or a bias of a network; none for all of them."""
    if not only:
        return ()
    if only.startswith("z"):
        layer, _, unit = only[1:].partition("_")
        if layer == str(network.n_layers):
            k = "" if network.n_outputs == 1 else unit
            return (only, f"p{k}", "loss", f"delta{layer}_{unit}")
        return (only, f"a{layer}_{unit}", f"dloss/da{layer}_{unit}", f"delta{layer}_{unit}")
    if only[:1] in ("w", "b"):
        layer, *indices = only[1:].split("_")
        return (f"z{layer}_{indices[-1] if indices else ''}", f"dloss/d{only}")
    return (only,)


def _scores(ground: Ground, y: FloatArray, outputs: FloatArray) -> dict[str, float | None]:
    """What the page says of a start on some rows; an undefined score is None, for JSON knows no NaN."""
    if ground.target.kind == "number":
        found = {"rmse": metrics.rmse(y, outputs) * ground.target.scale, "r2": metrics.r2(y, outputs)}
    else:
        truth, p = ground.classes_of(y), outputs[:, 0] if ground.target.kind == "binary" else outputs
        found = {
            "accuracy": metrics.accuracy(truth, ground.classes_of(outputs)),
            "log_loss": metrics.log_loss(truth, p),
        }
    return {name: plain(value) for name, value in found.items()}


def _dead(passed: stacked.Pass, n: int) -> NDArray[np.uint8]:
    """For every unit behind the inputs whether it is 0 on the first n rows of a pass; outputs never are dead."""
    hidden = [~layer[0, :, :n].any(axis=1) for layer in passed.unmasked[:-1]]
    return np.concatenate([*hidden, np.zeros(passed.logits.shape[1], bool)]).astype(np.uint8)
