"""Gates on a provider for whose device a simulator stands: what it says of the device; knows no particular one."""

from __future__ import annotations

import msgspec

from onnxbuild.proof.gates import GateResult, Verdict, shown
from onnxbuild.proof.placement import GATE

TIMED = ("speed", "latency", "memory")


def judge_simulated(gate: GateResult, simulator: str, required: bool) -> GateResult:
    """Return a gate as a simulator can decide it: what it misses is missed, what it meets is unverified.

    What left a gate unverified before anything was measured is still told. Its times and its memory are no device's.
    A provider that the recipe requires is one with a device.
    """
    if gate.gate == GATE and required:
        reason = f"the recipe requires it, and only {simulator} is here"
        return msgspec.structs.replace(gate, measured=None, margin=None, verdict=Verdict.FAILED, reason=reason)
    timed = gate.gate.partition(".")[0] in TIMED
    if gate.verdict is Verdict.FAILED and not timed:
        return msgspec.structs.replace(gate, reason="; ".join(filter(None, (gate.reason, f"on {simulator}"))))
    measured = "" if gate.measured is None or timed else f" (measured {shown(gate, gate.measured)})"
    reason = f"{simulator} proves nothing of a device{measured}"
    if gate.verdict is Verdict.UNVERIFIED and gate.reason is not None and gate.interval is None:
        reason = f"{gate.reason}; {reason}"
    nothing = {"measured": None, "margin": None, "interval": None, "warning": None}
    return msgspec.structs.replace(gate, **nothing, verdict=Verdict.UNVERIFIED, reason=reason)
