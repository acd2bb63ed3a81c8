"""What a recorded benchmark decides, and what is read from the runtime's profile; no time is measured here."""

from __future__ import annotations

import json
import threading
import weakref
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
import pytest

from onnxbuild.data.calls import read_calls, write_calls
from onnxbuild.data.edges import call_of_rows
from onnxbuild.data.fit import Declared
from onnxbuild.ir.model import MODEL
from onnxbuild.ort.arena import read_arena
from onnxbuild.proof.timing import Estimate, Latency, Memory, Surroundings, TimeLimit, Versus
from onnxbuild.recipe.types import Axis, Input, Session
from onnxbuild.stages import fresh, measuring
from onnxbuild.stages.benchmark import BENCHMARK, BenchmarkFacts, BenchmarkParams, estimate_of
from onnxbuild.stages.fresh import Footprint, FreshJob, measure_fresh
from tests.stages.models import floats, mlp, random, workspace

STEADY = Estimate(2.0, 1.9, 2.1)
LATENCY = Latency(
    batch=8, runs=300, p50=STEADY, p90=STEADY, p95=Estimate(3.0, 2.5, 3.5), p99=Estimate(4.0, 3.0, None),
    mean=2.0, std=0.1, min=1.0, max=9.0, throughput=4000.0, curve=(1.0, 2.0, 9.0),
)  # fmt: skip
FACTS = BenchmarkFacts(
    surroundings=Surroundings(cpu="x", cores=1, threads=1, load_before=None, load_after=None, governor=None),
    latencies=(LATENCY,),
    versus=Versus(batch=8, rounds=9, ratio=Estimate(1.1, 1.05, 1.15), own=LATENCY, other=LATENCY),
    memory=Memory(batch=8, base=1, peak=Estimate(2e6, 1e6, 3e6), arena=None, in_use=None),
)


def params(*limits: TimeLimit) -> BenchmarkParams:
    return BenchmarkParams(
        provider="cpu", session=Session(), inputs=(), axes={}, batches=(8,), min_seconds=0.5, memory=True, limits=limits
    )


@pytest.mark.parametrize(
    ("measure", "value", "holds"),
    [
        ("p95", 5.0, True),
        ("p95", 1.0, True),
        ("p95", 3.0, False),
        ("p99", 5.0, False),
        ("p99", 2.0, True),
        ("speed", 1.2, True),
        ("speed", 1.1, False),
        ("memory", 4e6, True),
        ("memory", 2e6, False),
    ],
)
def test_a_trace_holds_where_it_decides_the_limits_of_today(measure: str, value: float, holds: bool) -> None:
    limited = params(TimeLimit(measure=measure, batch=8, value=value))
    assert BENCHMARK.holds(limited, FACTS) is holds
    assert BENCHMARK.holds(limited, msgspec.structs.replace(FACTS, exhausted=True)), "there is never more to measure"
    assert BENCHMARK.holds(params(), FACTS)


def test_what_was_not_measured_is_no_estimate() -> None:
    assert estimate_of(FACTS, "p95", 8) == LATENCY.p95
    assert estimate_of(FACTS, "p95", 1) is None
    bare = msgspec.structs.replace(FACTS, memory=None, versus=None)
    assert (estimate_of(bare, "memory", 0), estimate_of(bare, "speed", 8)) == (None, None)


def test_limits_are_in_no_key_and_nothing_runs_beside() -> None:
    assert BENCHMARK.unkeyed == ("limits",)
    assert BENCHMARK.alone


def test_arena_is_the_most_that_any_node_saw(tmp_path: Path) -> None:
    profile = tmp_path / "profile.json"
    nodes = [{"mem_arena_held": "100", "mem_in_use_peak": "70"}, {"mem_arena_held": "300", "mem_in_use_peak": "90"}]
    profile.write_text(json.dumps([{"name": "load"}, *({"args": node} for node in nodes)]))
    assert read_arena(profile) == (300, 90)
    profile.write_text(json.dumps([{"name": "load"}, {"args": {"mem_arena_held": "0", "mem_in_use_peak": "9"}}]))
    assert read_arena(profile) is None
    profile.write_text("[]")
    assert read_arena(profile) is None


@pytest.mark.parametrize("rows", [1, 5, 64])
def test_a_call_has_the_rows_asked_for_and_other_axes_as_the_first(tmp_path: Path, rows: int) -> None:
    inputs = (
        Input(name="x", dtype="float32", shape=("batch", "length", 2)),
        Input(name="mask", dtype="float32", shape=("batch", "length")),
    )
    declared = Declared(inputs, {"batch": Axis(max=64), "length": Axis(max=9)})
    calls = [
        {"x": random(n).random((3, n, 2), np.float32), "mask": random(n).random((3, n), np.float32)} for n in (4, 7, 4)
    ]
    write_calls(tmp_path / "calls", calls)
    call = call_of_rows(read_calls(tmp_path / "calls"), declared, rows)
    assert (call["x"].shape, call["mask"].shape) == ((rows, 4, 2), (rows, 4))
    assert (call["x"][0] == calls[0]["x"][0]).all()


def bench_of(folder: Path, session: Session = Session(), limits: tuple[TimeLimit, ...] = ()) -> measuring.Bench:
    """Return a bench for a small model, also as `other`, with a hundredth of a second for each side."""
    ws = workspace(folder, mlp(), floats("x", (4, 8)))
    ws.inputs.update(calls=ws.inputs["probe"], other=ws.inputs["model"])
    x = Input(name="x", dtype="float32", shape=("batch", 8))
    return measuring.Bench(ws, ("cpu", {}), session, (x,), {"batch": Axis(max=4)}, 0.01, limits)


@pytest.mark.parametrize(("most", "opened"), [(float("inf"), measuring.OPENINGS), (0, 1)])
def test_turns_open_both_models_anew_unless_that_takes_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: float, opened: int
) -> None:
    """Each is opened first as often as the other."""
    monkeypatch.setattr(measuring, "MOST_OPENING", most)
    monkeypatch.setattr(measuring, "MOST_ROUNDS", 1)
    bench = bench_of(tmp_path)
    labels: list[str] = []
    alive: weakref.WeakSet[object] = weakref.WeakSet()
    beside: list[int] = []
    runner = bench._runner

    def opens(label: str, *rest: Any) -> Callable[[], object]:
        beside.append(len(alive))
        labels.append(label)
        opened = runner(label, *rest)
        alive.add(opened)
        return opened

    monkeypatch.setattr(bench, "_runner", opens)
    found = bench.turns(Session(), "other", Session(cpu_arena=False), 4)
    assert labels == (["model", "other", "other", "model"] * opened)[: 2 * opened]
    assert beside == [0, 1] * opened, "what was open before is closed before anything is opened anew"
    assert found.rounds == len(bench.samples["own"]) == len(bench.samples["other"]) >= 5 * opened
    assert found.ratio.low <= found.ratio.value <= (found.ratio.high or 0)


@pytest.mark.parametrize(("most", "opened"), [(float("inf"), measuring.OPENINGS), (0, 1)])
def test_latency_is_of_several_sessions_one_after_the_other_unless_that_takes_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: float, opened: int
) -> None:
    monkeypatch.setattr(measuring, "MOST_OPENING", most)
    monkeypatch.setattr(measuring, "MOST_ROUNDS", 2)
    bench = bench_of(tmp_path, limits=(TimeLimit(measure="p50", batch=4, value=0.0),))
    alive: weakref.WeakSet[object] = weakref.WeakSet()
    beside: list[int] = []
    runner = bench._runner

    def opens(*asked: Any) -> Callable[[], object]:
        beside.append(len(alive))
        run = runner(*asked)
        alive.add(run)
        return run

    told: list[tuple[int, ...]] = []

    def latency_of(samples: list[int], batch: int, openings: tuple[int, ...]) -> Latency:
        told.append(tuple(openings))
        return LATENCY if len(told) > 1 else msgspec.structs.replace(LATENCY, p50=Estimate(1.0, -1.0, 2.0))

    monkeypatch.setattr(bench, "_runner", opens)
    monkeypatch.setattr(measuring, "latency_of", latency_of)
    assert bench.latency(4) == LATENCY
    rounds = opened * 2 if opened > 1 else 1
    assert beside == [0] * rounds, "what was open before is closed before it is opened anew"
    assert [len(openings) for openings in told] == ([opened, 2 * opened] if opened > 1 else [0, 0])
    assert sum(told[-1]) in (0, len(bench.samples["batch_4"]))


@pytest.mark.parametrize(("quick", "times"), [(float("inf"), measuring.PROCESSES), (0, 1)])
def test_memory_is_of_each_setting_of_arena_and_pattern(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: float, times: int
) -> None:
    """The session has no arena: that one is what the gate is on. The others are looked at once where it takes long."""
    monkeypatch.setattr(measuring, "QUICK", quick)
    asked: list[tuple[bool | None, bool | None]] = []

    def measure(job: FreshJob, scratch: Path) -> Footprint:
        if "trivial" in job.model:
            return Footprint(cold=1, first=1, warm=1, first_warm=1, peak=100)
        asked.append((job.session.cpu_arena, job.session.memory_pattern))
        peak = 1000 + 200 * (job.session.cpu_arena is not False) + 40 * (job.session.memory_pattern is not False)
        return Footprint(cold=1, first=1, warm=1, first_warm=1, peak=peak)

    monkeypatch.setattr(measuring, "measure_fresh", measure)
    monkeypatch.setattr(fresh, "measure_fresh", measure)
    _, memory = bench_of(tmp_path, Session(cpu_arena=False)).fresh(4, True)
    assert memory is not None
    peaks = {(one.arena, one.pattern): one.peak.value for one in memory.settings}
    assert peaks == {(True, True): 1140, (True, False): 1100, (False, True): 940, (False, False): 900}
    assert [(one.arena, one.pattern) for one in memory.settings if one.own] == [(False, True)]
    assert (memory.peak.value, memory.arena) == (940, None)
    assert Counter(asked) == {
        (False, None): measuring.PROCESSES, (True, True): times, (True, False): times, (False, False): times,
    }  # fmt: skip


@pytest.mark.parametrize(("together", "most"), [(1, 1), (10**12, 2)])
def test_processes_whose_memory_is_looked_at_run_at_once_where_they_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, together: int, most: int
) -> None:
    monkeypatch.setattr(measuring, "TOGETHER", together)
    monkeypatch.setattr(measuring, "cores", lambda: 2)
    timed: list[int] = []
    running, seen = [0], [0]
    both = threading.Barrier(2)

    def measure(job: FreshJob, scratch: Path) -> Footprint:
        running[0] += 1
        seen[0] = max(seen[0], running[0])
        if len(timed) < measuring.PROCESSES:
            timed.append(running[0])
        elif most == 2:
            both.wait(60)
        running[0] -= 1
        return Footprint(cold=1, first=1, warm=1, first_warm=1, peak=100)

    monkeypatch.setattr(measuring, "measure_fresh", measure)
    monkeypatch.setattr(fresh, "measure_fresh", measure)
    bench_of(tmp_path, Session(cpu_arena=False)).fresh(4, True)
    assert timed == [1] * measuring.PROCESSES, "what is timed runs alone"
    assert seen == [most]


@pytest.mark.parametrize(("quick", "times"), [(float("inf"), measuring.PROCESSES), (0, 1)])
def test_what_is_slow_to_open_is_opened_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: float, times: int
) -> None:
    monkeypatch.setattr(measuring, "QUICK", quick)
    asked: list[str] = []

    def measure(job: FreshJob, scratch: Path) -> Footprint:
        asked.append(job.model)
        return Footprint(cold=len(asked) * 1_000_000, first=1, warm=1, first_warm=1, peak=1)

    monkeypatch.setattr(measuring, "measure_fresh", measure)
    assert bench_of(tmp_path).opening("other", 4).cold == (times + 1) / 2
    assert len(asked) == times


def test_what_runs_at_once_fits_into_the_limit_of_its_action(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is of all that an action runs, and what it could run one by one is not to break it."""
    monkeypatch.setattr(measuring, "cores", lambda: 8)
    bench, own = bench_of(tmp_path), psutil.Process().memory_info().rss
    prints = [Footprint(cold=1, first=1, warm=1, first_warm=1, peak=400_000_000)]
    fitting = []
    for room in (0, 0.5, 1.5, 3.5, 99):
        limit = own + int(room * 500_000_000)
        monkeypatch.setattr(measuring.resource, "getrlimit", lambda _, limit=limit: (limit, limit))
        fitting.append(bench._at_once(prints))
    assert fitting == [1, 1, 1, 4, 8]


def test_what_a_library_prints_is_no_part_of_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(
        "import atexit, os\natexit.register(os.write, 1, b'bye')\n"
        "import importlib.abc, sys\n"
        "class Loud(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'onnxruntime': os.write(1, b'found no libcurand')\n"
        "sys.meta_path.insert(0, Loud())\n"
    )
    ws = workspace(tmp_path / "work", mlp(), floats("x", (4, 8)))
    job = FreshJob(model=str(ws.inputs["model"] / MODEL), calls=str(ws.inputs["probe"]), session=Session())
    monkeypatch.setattr(fresh, "PACKAGE", f"{fresh.PACKAGE}:{tmp_path / 'site'}")
    found = measure_fresh(job, tmp_path)
    assert min(found.cold, found.first, found.warm, found.first_warm, found.peak) > 0
