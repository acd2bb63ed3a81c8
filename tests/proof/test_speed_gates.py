"""Gates on speed, latency and memory from recorded measurements: whole intervals decide, and nothing is measured."""

from __future__ import annotations

import pytest

from onnxbuild.proof.gates import GateResult, Verdict, describe_miss
from onnxbuild.proof.speed_gates import judge_latency, judge_memory, judge_speed
from onnxbuild.proof.timing import Estimate
from onnxbuild.recipe.bounds import latency_bound, memory_bound, speed_bound
from onnxbuild.recipe.types import LatencyGate, MemoryGate, SpeedGate

SPEED = SpeedGate(bound=speed_bound("1.1x of fp32"), provider="cpu", batch=1)
LATENCY = LatencyGate(percentile="p95", bound=latency_bound("p95", "5 ms"), provider="cpu", batch=8)
MEMORY = MemoryGate(bound=memory_bound("200 MB"), provider="cpu")


def test_ratio_is_decided_by_its_whole_interval() -> None:
    judged = [
        judge_speed(SPEED, Estimate(1.5, low, high)).verdict
        for low, high in [(1.2, 1.9), (1.1, 1.9), (1.09, 1.9), (0.9, 1.0999), (1.2, None), (0.9, None), (0.9, 1.1)]
    ]
    passed, failed, unverified = Verdict.PASSED, Verdict.FAILED, Verdict.UNVERIFIED
    assert judged == [passed, passed, unverified, failed, passed, unverified, unverified]


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (1.0, 4.9, Verdict.PASSED),
        (1.0, 5.0, Verdict.PASSED),
        (1.0, 5.1, Verdict.UNVERIFIED),
        (5.0, 6.0, Verdict.UNVERIFIED),
        (5.1, 6.0, Verdict.FAILED),
        (5.1, None, Verdict.FAILED),
        (1.0, None, Verdict.UNVERIFIED),
    ],
)
def test_latency_is_decided_by_its_whole_interval(low: float, high: float | None, verdict: Verdict) -> None:
    assert judge_latency(LATENCY, Estimate(low, low, high)).verdict is verdict


def test_a_decided_gate_tells_measured_margin_and_interval() -> None:
    assert judge_latency(LATENCY, Estimate(2.0, 1.9, 2.5)) == GateResult(
        gate="latency", provider="cpu", limit="p95 at most 5 ms", measured=2.0, margin=3.0, interval=(1.9, 2.5),
        verdict=Verdict.PASSED, reason="between 1.9 ms and 2.5 ms",
    )  # fmt: skip
    slow = judge_speed(SPEED, Estimate(0.5, 0.4, 0.6))
    assert (slow.measured, slow.margin, slow.verdict) == (0.5, pytest.approx(-0.6), Verdict.FAILED)
    assert describe_miss(slow) == (
        "speed on cpu: required at least 1.1x of fp32, measured 0.500x, missed by 0.600x, between 0.400x and 0.600x"
    )
    large = judge_memory(MEMORY, Estimate(3e8, 2.9e8, 3.1e8))
    assert describe_miss(large) == (
        "memory on cpu: required at most 200 MB, measured 300 MB, missed by 100 MB, between 290 MB and 310 MB"
    )


def test_an_undecided_gate_measures_nothing_and_says_what_it_saw() -> None:
    gate = judge_latency(LATENCY, Estimate(4.0, 3.0, None))
    assert (gate.measured, gate.margin, gate.interval) == (None, None, (3.0, None))
    assert describe_miss(gate) == (
        "latency on cpu: required p95 at most 5 ms, unverified: undecided: 4 ms, from 3 ms up, with too few samples to "
        "say up to where"
    )
    assert judge_memory(MEMORY, Estimate(2e8, 1.9e8, 2.1e8)).reason == "undecided: 200 MB, between 190 MB and 210 MB"


def test_what_was_not_measured_is_unverified() -> None:
    gate = judge_speed(SPEED, None, "'fp32' failed, so there is no speed to compare with")
    assert (gate.verdict, gate.measured, gate.interval) == (Verdict.UNVERIFIED, None, None)
    assert describe_miss(gate).endswith("unverified: 'fp32' failed, so there is no speed to compare with")
