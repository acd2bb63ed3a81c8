"""One model with its calls, timed in this process and in fresh ones; knows no gate, only whether a limit is decided."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

import msgspec
import numpy as np
import onnxruntime as ort
import psutil

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.data.calls import Call, read_calls, write_calls
from onnxbuild.data.edges import call_of_rows
from onnxbuild.data.fit import Declared
from onnxbuild.ir.model import MODEL
from onnxbuild.ir.trivial import write_trivial_model
from onnxbuild.ort.arena import measure_arena
from onnxbuild.ort.facts import simulator_of
from onnxbuild.ort.providers import Absent, open_on
from onnxbuild.ort.session import feed_of, run_call
from onnxbuild.proof.estimates import latency_of, middle_of, versus_of
from onnxbuild.proof.sampling import alternate, collect, warm_up
from onnxbuild.proof.timing import Estimate, Latency, Loading, Memory, Setting, TimeLimit, Versus
from onnxbuild.recipe.types import Axis, Input, Session
from onnxbuild.stages.fresh import Footprint, FreshJob, measure_fresh, measure_peaks
from onnxbuild.stages.stage import Workspace
from onnxbuild.stamp import cores

MOST_ROUNDS = 8
"""How many times `min_seconds` are measured at most where a limit is not decided."""
OPENINGS, MOST_OPENING, SETTLING = 8, 4, 0.002
"""How often what is measured is opened, how many times as long that may take as measuring, and for how many seconds a
session runs before it is measured."""
PROCESSES = 3
"""Fresh processes whose memory is looked at: from least to most, which more of them would only widen."""
SETTINGS = ((True, True), (True, False), (False, True), (False, False))
"""Arena and memory pattern, on or off."""
QUICK = 0.4
"""Seconds for a process; where it takes longer, one is timed, and one is looked at of each other setting."""
TOGETHER = 4_000_000_000
"""Bytes that processes of which only the memory is looked at may come to, so as to run at once."""


class AbsentError(Exception):
    """There is no such provider here, and why."""


class Bench:
    """Measures the model among a workspace's inputs; `samples` are the times taken, by their name in samples.npz."""

    def __init__(
        self,
        work: Workspace,
        provider: tuple[str, Mapping[str, str]],
        session: Session,
        inputs: tuple[Input, ...],
        axes: Mapping[str, Axis],
        seconds: float,
        limits: Sequence[TimeLimit],
        *,
        simulated: bool = True,
    ) -> None:
        """`simulated` false: a simulator of the provider's device is as good as none."""
        self.samples: dict[str, np.ndarray] = {}
        self._provider, self._options = provider
        self._simulated = simulated
        self._work, self._session, self._seconds, self._limits = work, session, seconds, limits
        self._data, self._declared = read_calls(work.inputs["calls"]), Declared(inputs, axes)
        if not len(self._data):
            raise StageFailure("no-calls", "the evaluation data holds no call to measure with")

    def latency(self, batch: int) -> Latency:
        """Measure calls of `batch` rows; the model is opened anew several times, unless that takes much longer."""
        limits = [limit for limit in self._limits if limit.batch == batch and limit.measure.startswith("p")]
        began = time.perf_counter()
        run = self._runner("model", self._session, batch)
        collect(run, time.perf_counter_ns, 0)
        count = self._openings(time.perf_counter() - began, self._seconds)
        warm_up(run, time.perf_counter_ns, self._seconds)
        samples, openings = list[int](), list[int]()
        for number in range(MOST_ROUNDS * count):
            if number and count > 1:
                del run  # which holds a session
                run = self._runner("model", self._session, batch)
                collect(run, time.perf_counter_ns, SETTLING, least=2)
            new = collect(run, time.perf_counter_ns, self._seconds / count)
            openings.append(len(new))
            samples += new
            if len(openings) % count:
                continue
            found = latency_of(samples, batch, openings if count > 1 else ())
            if all(found.percentile(limit.measure).decides(limit.value) for limit in limits):
                break
        self.samples[f"batch_{batch}"] = np.array(samples, np.int64)
        return found

    def turns(self, session: Session, label: str, other: Session, batch: int) -> Versus:
        """Measure calls of `batch` rows in turns with those of the model `label` in a session of its own.

        Both are opened anew several times, each first in its turn, unless that takes much longer than to measure.
        """
        models = (("model", session), (label, other))
        limits = [limit.value for limit in self._limits if limit.measure == "speed"]
        began = time.perf_counter()
        pair = self._pair(models, batch, 0)
        for run in pair:
            collect(run, time.perf_counter_ns, 0)
        count = self._openings(time.perf_counter() - began, 2 * self._seconds)
        for run in pair:
            warm_up(run, time.perf_counter_ns, self._seconds)
        taken: tuple[list[int], list[int]] = [], []
        openings: list[int] = []
        for number in range(MOST_ROUNDS * count):
            if number and count > 1:
                del pair, run  # each holds a session
                pair = self._pair(models, batch, number)
                for run in pair:
                    collect(run, time.perf_counter_ns, SETTLING, least=2)
            new = alternate(*pair, time.perf_counter_ns, 2 * self._seconds / count)
            openings.append(len(new[0]))
            for samples, more in zip(taken, new, strict=True):
                samples += more
            if len(openings) % count:
                continue
            found = versus_of(*taken, batch, openings if count > 1 else ())
            if all(found.ratio.decides(limit) for limit in limits):
                break
        self.samples |= {"own": np.array(taken[0], np.int64), "other": np.array(taken[1], np.int64)}
        return found

    def _openings(self, taken: float, seconds: float) -> int:
        """Return how often to open what takes `taken` seconds to open and start, to measure it for `seconds`."""
        return OPENINGS if (OPENINGS - 1) * taken <= MOST_OPENING * seconds else 1

    def frugality(self, session: Session, other: Session, batch: int) -> Estimate:
        """Return how many times as much memory the model needs at its peak in `other` as in `session`."""
        peaks: tuple[list[int], list[int]] = [], []
        for _ in range(PROCESSES):
            for each, found in zip((session, other), peaks, strict=True):
                found.append(measure_fresh(self._job(each, batch), self._work.scratch).peak)
        own, against = peaks
        return Estimate(median(against) / median(own), min(against) / max(own), max(against) / min(own))

    def fresh(self, batch: int, memory: bool) -> tuple[Loading, Memory | None]:
        """Measure in fresh processes what opening the model takes, and its memory with a call of `batch` rows."""
        scratch = self._work.scratch
        model = self._job(self._session, batch)
        if not memory:
            return _loading([measure_fresh(model, scratch)]), None
        write_calls(scratch / "trivial-call", [write_trivial_model(scratch / "trivial")])
        trivial = msgspec.structs.replace(
            model, model=str(scratch / "trivial" / MODEL), calls=str(scratch / "trivial-call")
        )
        prints = self._timed(model)
        quick = len(prints) == PROCESSES
        own = (self._session.cpu_arena is not False, self._session.memory_pattern is not False)
        jobs = {setting: [self._job(self._set(*setting), batch)] * (PROCESSES if quick else 1) for setting in SETTINGS}
        jobs[own] = [model] * (PROCESSES - len(prints))
        waiting = [trivial] * PROCESSES + [job for each in jobs.values() for job in each]
        found = iter(measure_peaks(waiting, scratch, self._at_once(prints)))
        bases = [next(found) for _ in range(PROCESSES)]
        peaks = {setting: [next(found) for _ in each] for setting, each in jobs.items()}
        peaks[own] += [each.peak for each in prints]
        held = self._arena(batch) if own[0] else None
        return _loading(prints), Memory(
            batch=batch,
            base=round(median(bases)),
            peak=_above(peaks[own], bases),
            settings=tuple(
                Setting(arena=setting[0], pattern=setting[1], own=setting == own, peak=_above(peaks[setting], bases))
                for setting in SETTINGS
            ),
            arena=held[0] if held is not None else None,
            in_use=held[1] if held is not None else None,
        )

    def _set(self, arena: bool, pattern: bool) -> Session:
        return msgspec.structs.replace(self._session, cpu_arena=arena, memory_pattern=pattern)

    def _at_once(self, prints: Sequence[Footprint]) -> int:
        """Return how many processes may run together, on a device too, whose memory is taken to be the model's."""
        weights = sum(file.stat().st_size for file in self._work.inputs["model"].iterdir())
        return max(1, min(cores(), _room() // (max(each.peak for each in prints) + weights)))

    def opening(self, label: str, batch: int) -> Loading:
        """Measure in fresh processes what opening the model `label` takes."""
        return _loading(self._timed(self._job(self._session, batch, label)))

    def _timed(self, job: FreshJob) -> list[Footprint]:
        """Return what fresh processes measure one after the other: one of them where it takes long."""
        began = time.perf_counter()
        first = measure_fresh(job, self._work.scratch)
        more = PROCESSES - 1 if time.perf_counter() - began <= QUICK else 0
        return [first, *(measure_fresh(job, self._work.scratch) for _ in range(more))]

    def _job(self, session: Session, batch: int, label: str = "model") -> FreshJob:
        calls = self._work.scratch / f"call-{batch}"
        if not calls.exists():
            write_calls(calls, [self._call(batch)])
        return FreshJob(
            model=str(self._work.inputs[label] / MODEL),
            calls=str(calls),
            session=session,
            provider=self._provider,
            options=dict(self._options),
        )

    def _arena(self, batch: int) -> tuple[int, int] | None:
        call = self._call(batch)
        return measure_arena(
            lambda prefix: self._open("model", self._session, prefix),
            lambda session: run_call(session, call),
            self._work.scratch,
        )

    def _open(self, label: str, session: Session, profile: Path | None = None) -> ort.InferenceSession:
        model = self._work.inputs[label] / MODEL
        opened = open_on(model, self._provider, self._options, session, profile=profile)
        if isinstance(opened, Absent):
            raise AbsentError(opened.why)
        if not self._simulated and (simulator := simulator_of(opened.devices)) is not None:
            raise AbsentError(f"there is only {simulator}")
        return opened.session

    def _call(self, batch: int) -> Call:
        return call_of_rows(self._data, self._declared, batch)

    def _pair(
        self, models: Sequence[tuple[str, Session]], batch: int, number: int
    ) -> tuple[Callable[[], object], Callable[[], object]]:
        """Return what is timed of two models, opened in turns one or the other first."""
        if number % 2:
            other = self._runner(*models[1], batch)
            return self._runner(*models[0], batch), other
        return self._runner(*models[0], batch), self._runner(*models[1], batch)

    def _runner(self, label: str, session: Session, batch: int) -> Callable[[], object]:
        """Return what is timed: ONNX Runtime's own `run` with arrays in memory, for all outputs."""
        opened = self._open(label, session)
        call = self._call(batch)
        run_call(opened, call)  # says what is wrong, once
        names = [value.name for value in opened.get_outputs()]
        feeds = {name: np.array(array) for name, array in feed_of(opened, call).items()}
        return lambda: opened.run(names, feeds)


def _room() -> int:
    """Return the bytes that processes may come to together: the limit of an action is of all that it runs."""
    limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
    return TOGETHER if limit == resource.RLIM_INFINITY else min(TOGETHER, limit - psutil.Process().memory_info().rss)


def _above(peaks: Sequence[int], bases: Sequence[int]) -> Estimate:
    """Return how far peaks lie above those of the processes measured beside them."""
    return middle_of([max(peak - base, 0) for peak, base in zip(peaks, bases, strict=False)])


def _loading(prints: Sequence[Footprint]) -> Loading:
    def middle(times: Sequence[int]) -> float:
        return float(f"{median(times) / 1e6:.6g}")

    return Loading(
        cold=middle([each.cold for each in prints]),
        warm=middle([each.warm for each in prints]),
        first=middle([each.first for each in prints]),
        first_warm=middle([each.first_warm for each in prints]),
    )
