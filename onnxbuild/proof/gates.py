"""Limits against measurements: what was required, what was measured, by how much it missed, and the verdict."""

from __future__ import annotations

import enum

import msgspec


class Verdict(enum.Enum):
    """What a gate or a target is; ordered from worst to best by `worst_verdict`."""

    FAILED = "failed"
    UNVERIFIED = "unverified"
    PASSED = "passed"


class GateResult(msgspec.Struct, frozen=True, kw_only=True):
    """One gate, judged. `limit` is as people read it; `measured` in the measure's own unit, "nan", or None if unverified.

    `margin` is the distance to the limit in the same unit, negative when missed; `source` is the source's own
    metric; `reason` says why a gate is failed or unverified, or carries a remark.
    """

    gate: str
    provider: str | None
    limit: str
    measured: float | str | None
    verdict: Verdict
    margin: float | None = None
    source: float | None = None
    reason: str | None = None
