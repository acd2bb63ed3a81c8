"""Benchmarks through the real command: when they run, what they deliver, and gates that no machine can get wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from onnxbuild.store.locks import MachineLock
from onnxbuild.store.store import Store
from tests.e2e.running import Running, wait_for
from tests.project import MLP, Project, write_mlp

QUICK = "benchmark: {batch: [1, 4], min_seconds: 0.01, memory: %s}\n"
VARIANTS = """\
quantization: {mode: dynamic}
tolerance: {outputs: {y: {atol: 10}}}
gates: {latency: {p50: 10 s, p99: 1 us, batch: 4}, speed: {at_least: %s of fp32}}
variants:
  fp32: {quantization: null, gates: {latency: {p50: 10 s, p99: null}, speed: {at_least: 0.001x of int8}}%s}
  int8: {gates: {latency: {p99: null}}}
"""


@pytest.fixture
def variants(project: Project) -> Project:
    """Two variants, of which int8 must be at least a thousandth as fast as fp32."""
    write_mlp(project)
    project.recipe("mlp", MLP + QUICK % "false" + VARIANTS % ("0.001x", ""))
    return project


def test_nobody_asks_for_it_nothing_is_measured(mlp: Project) -> None:
    assert [e for e in mlp.make().events if e.get("stage") == "benchmark"] == []


def test_it_runs_once_is_delivered_is_measured_again_on_request_and_decides_other_limits(variants: Project) -> None:
    made = variants.make()
    assert made.code == 0, made.err
    benchmarks = [name for name in made.ran if "benchmark" in name]
    assert benchmarks == [f"mlp:{variant}/benchmark@cpu{turns}" for variant in ("fp32", "int8") for turns in ("", ".1")]
    speed = made.event("gate", gate="speed", target="mlp:int8")
    assert (speed["target"], speed["provider"], speed["limit"]) == ("mlp:int8", "cpu", "at least 0.001x of fp32")
    assert (speed["verdict"], speed["interval"][0] <= speed["measured"] <= speed["interval"][1]) == ("passed", True)
    latency = made.event("gate", gate="latency", target="mlp:int8")
    assert (latency["limit"], latency["verdict"]) == ("p50 at most 10 s", "passed")
    assert latency["margin"] == pytest.approx(10_000 - latency["measured"])
    manifest = json.loads((variants.root / "build/mlp/int8/manifest.json").read_text())
    assert {gate["gate"]: gate["interval"] for gate in manifest["gates"]}["speed"] == speed["interval"]

    assert variants.make().ran == []
    again = variants.make("--remeasure")
    assert (again.code, again.ran) == (0, benchmarks)
    measured = again.event("gate", gate="speed", target="mlp:int8")["interval"]
    delivered = json.loads((variants.root / "build/mlp/int8/manifest.json").read_text())
    assert [gate["interval"] for gate in delivered["gates"] if gate["gate"] == "speed"] == [measured]

    variants.recipe("mlp", MLP + QUICK % "false" + VARIANTS % ("1000x", ""))
    made = variants.make()
    assert (made.code, made.ran) == (1, []), "the limit is decided by what was measured"
    speed = made.event("gate", gate="speed", target="mlp:int8")
    assert (speed["verdict"], speed["interval"]) == ("failed", measured)
    assert speed["margin"] == pytest.approx(speed["measured"] - 1000)
    assert "required at least 1000x of fp32" in made.err + made.out


def test_a_ratio_to_a_variant_that_failed_is_unverified(variants: Project) -> None:
    variants.recipe("mlp", MLP + QUICK % "false" + VARIANTS % ("0.001x", ", tolerance: {metric: {at_least: 1.0}}"))
    data = variants.root / "recipes/data/test.npz"
    swap_labels(data)
    made = variants.make("-k", "mlp:int8")
    speed = made.event("gate", gate="speed", target="mlp:int8")
    assert (speed["verdict"], speed["measured"]) == ("unverified", None)
    assert "'fp32' failed, so there is no speed to compare with" in speed["reason"]
    assert made.event("verdict", target="mlp:int8")["verdict"] == "unverified"


def test_a_latency_that_nothing_reaches_fails(mlp: Project) -> None:
    mlp.recipe("mlp", MLP + QUICK % "false" + "gates: {latency: {p99: 1 us, batch: 4}}\n")
    made = mlp.make()
    assert made.code == 1
    gate = made.event("gate", gate="latency")
    assert (gate["limit"], gate["verdict"]) == ("p99 at most 1 us", "failed")
    assert gate["interval"][0] > 0.001


def test_memory_is_measured_in_fresh_processes(mlp: Project) -> None:
    mlp.recipe("mlp", MLP + QUICK % "true" + "gates: {memory: {peak: 4 GB}}\n")
    made = mlp.make()
    assert made.code == 0, made.err
    gate = made.event("gate", gate="memory")
    assert (gate["limit"], gate["verdict"]) == ("at most 4 GB", "passed")
    assert 0 <= gate["interval"][0] <= gate["measured"] <= gate["interval"][1] < 4e9
    facts = facts_of(mlp.root, "benchmark")
    assert facts["memory"]["base"] > 10_000_000
    assert facts["memory"]["arena"] >= facts["memory"]["in_use"] > 0
    settings = {(one["arena"], one["pattern"]): one for one in facts["memory"]["settings"]}
    assert set(settings) == {(True, True), (True, False), (False, True), (False, False)}
    assert [setting for setting, one in settings.items() if one["own"]] == [(True, True)]
    assert settings[True, True]["peak"] == facts["memory"]["peak"]
    assert all(facts["loading"][name] > 0 for name in ("cold", "warm", "first", "first_warm"))
    assert [latency["batch"] for latency in facts["latencies"]] == [1, 4]


def test_session_is_chosen_once_and_used_by_all_that_follow(mlp: Project) -> None:
    settled = "session: {auto: latency, graph_optimization: basic, intra_op_threads: 1}\n"
    mlp.recipe("mlp", MLP + settled + QUICK % "false")
    made = mlp.make()
    assert made.code == 0, made.err
    assert "mlp/tune@cpu" in made.ran
    assert mlp.make().ran == []
    facts = facts_of(mlp.root, "tune")
    chosen = facts["session"]
    assert (chosen["graph_optimization"], chosen["intra_op_threads"]) == ("basic", 1), "the recipe settles these"
    assert len(facts["tried"]) >= 2
    manifest = json.loads((mlp.root / "build/mlp/default/manifest.json").read_text())
    assert manifest["session"] == {name: value for name, value in chosen.items() if value is not None}
    assert "Configurations tried" in (mlp.root / "reports/mlp.html").read_text()


def test_it_waits_for_who_measures_on_the_machine(mlp: Project) -> None:
    mlp.recipe("mlp", MLP + QUICK % "false")
    lock = MachineLock()
    wait_for(lambda: lock.try_acquire("somebody"), "the lock, which other tests hold for a moment")
    try:
        running = Running(mlp, "waiting")
        wait_for(lambda: any(e["event"] == "notice" for e in running.events()), "the notice")
        wait_for(lambda: running.finished("mlp/validate@cpu"), "the other actions")
        assert not running.finished("mlp/benchmark@cpu")
    finally:
        lock.release()
    done = running.done()
    assert done.code == 0
    notices = [event for event in done.events if event["event"] == "notice"]
    assert {notice["code"] for notice in notices} == {"waiting"}
    assert notices[0]["message"] == "mlp/benchmark@cpu waits for somebody, which measures alone on this machine"


def facts_of(root: Path, stage: str) -> dict[str, Any]:
    """Return the facts of the one trace of a stage."""
    traces = [trace for _, trace in Store(root / ".onnxbuild").traces.every() if trace and trace.stage == stage]
    (facts,) = [json.loads(bytes(trace.facts)) for trace in traces]
    return facts  # type: ignore[no-any-return]


def swap_labels(data: Path) -> None:
    import numpy as np

    arrays = dict(np.load(data))
    arrays["labels"][0] = (arrays["labels"][0] + 1) % 4
    np.savez(data, **arrays)
