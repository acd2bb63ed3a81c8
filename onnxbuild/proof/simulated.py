"""Gates on a provider for whose device a simulator stands: what it says of the device; knows no particular one."""

from __future__ import annotations

import msgspec

from onnxbuild.proof.gates import GateResult, Verdict
from onnxbuild.proof.placement import GATE

TIMED = ("speed", "latency", "memory")


def judge_simulated(gate: GateResult, simulator: str, required: bool) -> GateResult:
    """Return a gate as a simulator can decide it: what it misses is missed, what it meets is unverified.

    Its times and its memory are no device's. A provider that the recipe requires is one with a device.
    """
    if gate.gate == GATE and required:
        reason = f"the recipe requires the provider, and only {simulator} is here"
        return msgspec.structs.replace(gate, measured=None, margin=None, verdict=Verdict.FAILED, reason=reason)
    why = f"measured on {simulator}, for want of a device"
    timed = gate.gate.partition(".")[0] in TIMED
    said = "; ".join(filter(None, (gate.reason, why)))
    if gate.verdict is Verdict.FAILED and not timed:
        return msgspec.structs.replace(gate, reason=said)
    found = f"{gate.measured:.4g}, " if isinstance(gate.measured, float) and not (timed or gate.reason) else ""
    return msgspec.structs.replace(
        gate,
        measured=None,
        margin=None,
        interval=None,
        warning=None,
        verdict=Verdict.UNVERIFIED,
        reason=why if timed else f"{found}{said}",
    )
