"""Gates on speed, latency and memory: decided by a whole interval, never by one value; measures nothing."""

from __future__ import annotations

import msgspec

from onnxbuild.base.units import format_size
from onnxbuild.proof.gates import GateResult, Verdict
from onnxbuild.proof.timing import Estimate
from onnxbuild.recipe.types import Bound, LatencyGate, MemoryGate, SpeedGate


def judge_speed(gate: SpeedGate, measured: Estimate | None, missing: str = "") -> GateResult:
    """Judge the ratio of medians; None for `measured` leaves it unverified, and `missing` says why."""
    return _judge("speed", gate.provider, gate.bound, measured, missing)


def judge_latency(gate: LatencyGate, measured: Estimate | None, missing: str = "") -> GateResult:
    """Judge a percentile, in milliseconds."""
    return _judge("latency", gate.provider, gate.bound, measured, missing)


def judge_memory(gate: MemoryGate, measured: Estimate | None, missing: str = "") -> GateResult:
    """Judge the peak of a fresh process, in bytes."""
    return _judge("memory", gate.provider, gate.bound, measured, missing)


def _judge(name: str, provider: str, bound: Bound, measured: Estimate | None, missing: str) -> GateResult:
    """Pass or fail where the whole interval does; what straddles the limit is undecided, which is unverified."""
    result = GateResult(
        gate=name,
        provider=provider,
        limit=bound.text,
        measured=None,
        verdict=Verdict.UNVERIFIED,
        reason=missing or None,
    )
    if measured is None:
        return result
    limit, at_least = bound.value, bound.kind == "at_least"
    interval = (measured.low, measured.high)
    holds = measured.low >= limit if at_least else measured.high is not None and measured.high <= limit
    misses = (measured.high is not None and measured.high < limit) if at_least else measured.low > limit
    if not holds and not misses:
        reason = f"undecided: {_text(name, measured.value)}, {_between(name, measured)}"
        return msgspec.structs.replace(result, interval=interval, reason=reason)
    margin = measured.value - limit if at_least else limit - measured.value
    verdict = Verdict.PASSED if holds else Verdict.FAILED
    return msgspec.structs.replace(
        result,
        measured=measured.value,
        margin=margin,
        interval=interval,
        verdict=verdict,
        reason=_between(name, measured),
    )


def _between(name: str, measured: Estimate) -> str:
    if measured.high is None:
        return f"from {_text(name, measured.low)} up, with too few samples to say up to where"
    return f"between {_text(name, measured.low)} and {_text(name, measured.high)}"


def _text(name: str, value: float) -> str:
    if name == "memory":
        return format_size(value)
    return f"{value:.3f}x" if name == "speed" else f"{value:.4g} ms"
