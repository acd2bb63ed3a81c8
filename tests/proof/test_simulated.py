"""Gates on a simulator: misses count, nothing passes, times say nothing, and what is required is a device."""

from __future__ import annotations

import msgspec
import pytest

from onnxbuild.ort.facts import Device, simulator_of
from onnxbuild.proof.gates import GateResult, Verdict
from onnxbuild.proof.simulated import judge_simulated

DEVICE = Device(kind="NPU", vendor="Mine", name="my NPU")
SIMULATOR = Device(kind="CPU", vendor="Other", name="my simulator", simulated=True)


def gate(name: str, measured: float | None, verdict: Verdict) -> GateResult:
    return GateResult(gate=name, provider="mine", limit="a limit", measured=measured, verdict=verdict, margin=0.5)


@pytest.mark.parametrize("name", ["tolerance.y.atol", "tolerance.metric", "placement"])
def test_what_is_met_is_unverified_and_still_told(name: str):
    found = judge_simulated(gate(name, 0.25, Verdict.PASSED), "my simulator", required=False)
    assert (found.verdict, found.measured, found.margin) == (Verdict.UNVERIFIED, None, None)
    assert "my simulator" in (found.reason or "")
    assert "25" in (found.reason or "")


@pytest.mark.parametrize("name", ["tolerance.y.atol", "tolerance.metric", "placement"])
def test_what_is_missed_is_missed(name: str):
    found = judge_simulated(gate(name, 0.25, Verdict.FAILED), "my simulator", required=False)
    assert (found.verdict, found.measured) == (Verdict.FAILED, 0.25)
    assert "my simulator" in (found.reason or "")


@pytest.mark.parametrize("name", ["speed", "latency", "memory"])
@pytest.mark.parametrize("verdict", [Verdict.PASSED, Verdict.FAILED])
def test_times_say_nothing(name: str, verdict: Verdict):
    found = judge_simulated(gate(name, 7.5, verdict), "my simulator", required=False)
    assert (found.verdict, found.measured) == (Verdict.UNVERIFIED, None)
    assert "7.5" not in (found.reason or "")


def test_what_left_a_gate_unverified_before_is_still_told():
    for name, reason in (("speed", "'fp32' failed"), ("tolerance.y.atol", "random data proves nothing")):
        before = msgspec.structs.replace(gate(name, None, Verdict.UNVERIFIED), reason=reason)
        found = judge_simulated(before, "my simulator", required=False)
        assert reason in (found.reason or "")
        assert "my simulator" in (found.reason or "")
    undecided = msgspec.structs.replace(before, gate="latency", reason="undecided: 7.5 ms", interval=(7.0, 8.0))
    assert "7.5" not in (judge_simulated(undecided, "my simulator", required=False).reason or "")


def test_what_is_required_is_a_device():
    found = judge_simulated(gate("placement", 1.0, Verdict.PASSED), "my simulator", required=True)
    assert found.verdict is Verdict.FAILED
    found = judge_simulated(gate("tolerance.y.atol", 0.25, Verdict.PASSED), "my simulator", required=True)
    assert found.verdict is Verdict.UNVERIFIED


def test_a_device_beside_the_simulator_is_a_device():
    assert simulator_of((SIMULATOR,)) == "my simulator"
    assert simulator_of((SIMULATOR, DEVICE)) is None
    assert simulator_of((DEVICE,)) is None
    assert simulator_of(()) is None
