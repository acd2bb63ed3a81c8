"""Limits against measurements: what was required, what was measured, by how much it missed, and the verdict.

Knows values only; numpy stays out, since a build with nothing to do judges its gates again.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

import msgspec

from onnxbuild.base.units import format_size
from onnxbuild.proof.measures import MetricIntervals, OutputMeasures
from onnxbuild.recipe.types import Bound, OutputTolerance, Tolerance


class Verdict(enum.Enum):
    """What a gate or a target is; ordered from worst to best by `worst_verdict`."""

    FAILED = "failed"
    UNVERIFIED = "unverified"
    PASSED = "passed"


class GateResult(msgspec.Struct, frozen=True, kw_only=True):
    """One gate, judged.

    `limit` is as people read it; `measured` in the measure's own unit, "nan", "inf" or "-inf", or None if unverified.
    `margin` is the distance to the limit in the same unit, negative when missed; `source` is the source's own
    metric; `reason` says why a gate is failed or unverified, or carries a remark. `interval` is that of what the limit
    is on: of a metric 95 % (of the value, the drop, or the share of the source's), of times 99 %; its end None is not
    known. `warning` is the code of a doubt that changes no verdict: DOUBT where the interval lies on both sides of a
    metric's limit.
    """

    gate: str
    provider: str | None
    limit: str
    measured: float | str | None
    verdict: Verdict
    margin: float | None = None
    source: float | None = None
    reason: str | None = None
    interval: tuple[float, float | None] | None = None
    warning: str | None = None


DOUBT = "data-cannot-decide"
"""The warning where the data has too few samples to tell on which side of the limit a metric is."""


def worst_verdict(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the worst: failed, then unverified, then passed. Without any gate nothing was verified."""
    found = set(verdicts)
    return next((v for v in (Verdict.FAILED, Verdict.UNVERIFIED, Verdict.PASSED) if v in found), Verdict.UNVERIFIED)


def required_within(tolerance: OutputTolerance) -> tuple[tuple[float, float], ...]:
    """Return the (atol, rtol) pairs whose share of elements validate must count for this tolerance."""
    if tolerance.share >= 1:
        return ()
    pairs = []
    if tolerance.atol is not None or tolerance.rtol is not None:
        pairs.append((tolerance.atol or 0.0, tolerance.rtol or 0.0))
    if tolerance.max_abs is not None:
        pairs.append((tolerance.max_abs, 0.0))
    return tuple(pairs)


def judge_outputs(
    tolerance: Mapping[str, OutputTolerance],
    outputs: Sequence[OutputMeasures],
    provider: str | None,
    random_data: bool = False,
) -> list[GateResult]:
    """Judge every limit on every output named in `tolerance`, in its order.

    atol and rtol are one gate, `tolerance.<output>.atol` (`.rtol` where only rtol is given): its `measured` is the
    smallest atol (rtol) that would have passed. With a `share`, `measured` is the share of elements within.
    Integers and strings must be equal: one gate, named by the first limit written, `measured` the unequal elements.
    On random data what would have passed is unverified. Raises KeyError for an output that was not measured.
    """
    by_name = {measures.name: measures for measures in outputs}
    results = []
    for name, limits in tolerance.items():
        for gate in _judge_output(limits, by_name[name]):
            named = msgspec.structs.replace(gate, gate=f"tolerance.{name}.{gate.gate}", provider=provider)
            results.append(_unproven(named) if random_data else named)
    return results


def unmeasured(tolerance: Tolerance, provider: str, reason: str) -> list[GateResult]:
    """Return the gates of a tolerance as unverified, for there was nothing to measure on."""
    written = [
        (f"tolerance.{name}.{measure}", _limit_text(measure, limits))
        for name, limits in tolerance.outputs.items()
        for measure in _written(limits)
    ]
    if tolerance.metric is not None:
        written.append(("tolerance.metric", tolerance.metric.text or _words(tolerance.metric)))
    return [
        GateResult(gate=gate, provider=provider, limit=limit, measured=None, verdict=Verdict.UNVERIFIED, reason=reason)
        for gate, limit in written
    ]


def judge_metric(
    bound: Bound,
    model: float | None,
    source: float | None,
    higher_is_better: bool,
    provider: str | None,
    random_data: bool = False,
    intervals: MetricIntervals | None = None,
) -> GateResult:
    """Judge the task metric; None is a metric that could not be computed, which fails.

    Values are compared as the decimals that people read, unrounded: 0.97 less 0.005 is 0.965. The point value decides;
    an interval that lies on both sides of the limit is a warning.
    """
    relative = bound.of is not None or bound.kind == "max_drop"
    limit = bound.text or _words(bound)
    gate = GateResult(gate="tolerance.metric", provider=provider, limit=limit, measured="nan", verdict=Verdict.FAILED)
    if model is None or not math.isfinite(model):
        reason = "the model's metric is not a number"
        if source is None or not math.isfinite(source):
            reason += ", nor is the source's own: it is not defined on this data, as with one class only"
        return msgspec.structs.replace(gate, source=source, reason=reason)
    if relative and (source is None or not math.isfinite(source)):
        return msgspec.structs.replace(gate, measured=model, reason="the source's own metric is not a number")
    threshold, at_least = Fraction(0), bound.kind == "at_least"
    if bound.kind == "max_drop":
        at_least = higher_is_better
        drop = _exact(bound.value)
        threshold = _exact(source or 0.0) - drop if higher_is_better else _exact(source or 0.0) + drop
    else:
        threshold = _exact(bound.value) * (_exact(source or 0.0) if bound.of is not None else 1)
    judged = _judge_exactly(gate, _exact(model), threshold, at_least)
    judged = _with_interval(msgspec.structs.replace(judged, source=source), bound, intervals)
    return _unproven(judged) if random_data else judged


def _with_interval(gate: GateResult, bound: Bound, intervals: MetricIntervals | None) -> GateResult:
    """Return the gate with the interval of what its limit is on, which each kind of limit has its own of."""
    if intervals is None:
        return gate
    drop = bound.kind == "max_drop"
    interval = intervals.drop if drop else intervals.ratio if bound.of is not None else intervals.value
    if interval is None:
        return gate
    undecided = interval[0] < bound.value < interval[1]
    return msgspec.structs.replace(gate, interval=interval, warning=DOUBT if undecided else None)


def describe_doubt(result: GateResult) -> str:
    """Return the one line on a gate whose data cannot decide."""
    assert result.interval is not None
    where = f"{result.gate} on {result.provider}" if result.provider else result.gate
    low, high = result.interval
    return (
        f"{where}: the data cannot decide: over other samples like these the limit, {result.limit}, is met or missed "
        f"(95% interval {low:.6g} to {high:.6g}); more samples would tell"
    )


def judge_size(bound: Bound, size: int, other: int | None = None) -> GateResult:
    """Judge the bytes of a model and its external data; `other` is the variant that a ratio refers to.

    None for `other` says that the variant failed, which leaves a ratio unverified.
    """
    gate = GateResult(
        gate="size", provider=None, limit=bound.text or _words(bound), measured=None, verdict=Verdict.UNVERIFIED
    )
    at_least = bound.kind == "at_least"
    if bound.of is None:
        return _judge_exactly(gate, Fraction(size), _exact(bound.value), at_least)
    if not other:
        return msgspec.structs.replace(gate, reason=f"'{bound.of}' failed, so there is no size to compare with")
    return _judge_exactly(gate, Fraction(size, other), _exact(bound.value), at_least)


def describe_miss(result: GateResult) -> str:
    """Return the one line on a gate that is not passed: what was required, what was measured, what it missed by."""
    where = f"{result.gate} on {result.provider}" if result.provider else result.gate
    if result.verdict is Verdict.UNVERIFIED:
        return f"{where}: required {result.limit}, unverified: {result.reason or 'not measured'}"
    parts = [f"required {result.limit}"]
    if result.measured is not None:
        parts.append(f"measured {shown(result, result.measured)}")
    if result.source is not None:
        parts.append(f"source {result.source:.6g}")
    if result.margin is not None:
        parts.append(f"missed by {shown(result, abs(result.margin))}")
    if result.reason:
        parts.append(result.reason)
    return f"{where}: {', '.join(parts)}"


def shown(result: GateResult, value: float | str | None) -> str:
    """Return a measured value, or a distance, as people read it."""
    if not isinstance(value, int | float):
        return str(value)
    if result.gate == "placement":
        return f"{value:.0%}" if value in (0, 1) else f"{value:.1%}"
    if result.gate in ("size", "memory"):
        return f"{value:.4%}" if " of " in result.limit else format_size(value)
    if result.gate in ("speed", "latency"):
        return f"{value:.3f}x" if result.gate == "speed" else f"{value:.4g} ms"
    return f"{value:.6g}"


def _judge_output(limits: OutputTolerance, measures: OutputMeasures) -> list[GateResult]:
    names = _written(limits)
    if not names:
        return []
    if not measures.elements:
        reason = "the output has no elements on the evaluation data"
        return [_result(name, _limit_text(name, limits), None, Verdict.UNVERIFIED, reason=reason) for name in names]
    if measures.max_abs is None:
        return _judge_equal(names, limits, measures)
    judged = [_judge_one(name, limits, measures) for name in names]
    if measures.nonfinite < measures.elements:
        return judged
    reason = "the source's own output is NaN or infinite in every element, so there is nothing to be near to"
    return [
        _result(gate.gate, gate.limit, None, Verdict.UNVERIFIED, reason=reason)
        if gate.verdict is Verdict.PASSED
        else gate
        for gate in judged
    ]


def _written(limits: OutputTolerance) -> list[str]:
    elementwise = ["atol"] if limits.atol is not None else ["rtol"] if limits.rtol is not None else []
    others = ("max_abs", "mean_abs", "cosine", "sqnr_db", "argmax_agreement")
    return elementwise + [name for name in others if getattr(limits, name) is not None]


def _judge_equal(names: Sequence[str], limits: OutputTolerance, measures: OutputMeasures) -> list[GateResult]:
    """Judge integers and strings, which are equal or not; where they are indices, argmaxes agree as far as they are."""
    equal = (measures.elements - measures.unequal) / measures.elements
    others = [name for name in names if name != "argmax_agreement"]
    judged = []
    if others and limits.share < 1:
        judged = [_at_least(others[0], f"{_percent(limits.share)} of elements equal", equal, limits.share)]
    elif others:
        judged = [_at_most(others[0], "every element equal", float(measures.unequal), 0.0)]
    if (agreeing := limits.argmax_agreement) is not None:
        judged.append(_at_least("argmax_agreement", f"{_percent(agreeing)} of elements equal", equal, agreeing))
    return judged


def _judge_one(name: str, limits: OutputTolerance, measures: OutputMeasures) -> GateResult:
    text = _limit_text(name, limits)
    if name in ("atol", "rtol", "max_abs") and limits.share < 1:
        return _at_least(name, text, _share_within(name, limits, measures), limits.share)
    if name in ("atol", "rtol"):
        return _judge_elementwise(name, text, limits, measures)
    if name == "argmax_agreement" and measures.argmax_agreement is None:
        return _result(name, text, None, Verdict.FAILED, reason="the output has no axis of classes")
    limit, measured = getattr(limits, name), getattr(measures, name)
    if name in ("max_abs", "mean_abs"):
        return _at_most(name, text, measured, limit)
    return _at_least(name, text, measured, limit)


def _judge_elementwise(name: str, text: str, limits: OutputTolerance, measures: OutputMeasures) -> GateResult:
    atol, rtol = limits.atol or 0.0, limits.rtol or 0.0
    if isinstance(measures.max_abs, str):
        reason = f"{measures.nan_mismatches} elements are NaN on one side only" if measures.nan_mismatches else None
        return _result(name, text, measures.max_abs, Verdict.FAILED, reason=reason)
    holds = all(d <= atol + rtol * size for d, size in measures.frontier)
    if name == "atol":
        needed = max((d - rtol * size for d, size in measures.frontier), default=0.0)
    else:
        needed = max((d / size if size else math.inf for d, size in measures.frontier), default=0.0)
    needed = max(needed, 0.0)
    margin = (atol if name == "atol" else rtol) - needed
    # The frontier decides; the margin is a rounding away from it.
    margin = max(margin, 0.0) if holds else min(margin, 0.0)
    verdict = Verdict.PASSED if holds else Verdict.FAILED
    return _result(name, text, needed, verdict, margin=margin)


def _share_within(name: str, limits: OutputTolerance, measures: OutputMeasures) -> float:
    pair = (limits.max_abs, 0.0) if name == "max_abs" else (limits.atol or 0.0, limits.rtol or 0.0)
    for within in measures.within:
        if (within.atol, within.rtol) == pair:
            return within.share
    raise KeyError(f"the share of '{measures.name}' within {pair} was not counted")


def _at_most(name: str, text: str, measured: float | str, limit: float) -> GateResult:
    value = float(measured)
    verdict = Verdict.PASSED if value <= limit else Verdict.FAILED
    return _result(name, text, measured, verdict, margin=limit - value)


def _at_least(name: str, text: str, measured: float | str, limit: float) -> GateResult:
    value = float(measured)
    verdict = Verdict.PASSED if value >= limit else Verdict.FAILED
    return _result(name, text, measured, verdict, margin=value - limit)


def _result(
    name: str,
    text: str,
    measured: float | str | None,
    verdict: Verdict,
    *,
    margin: float | None = None,
    reason: str | None = None,
) -> GateResult:
    if isinstance(measured, float) and not math.isfinite(measured):
        measured = str(measured)
    if margin is not None and not math.isfinite(margin):
        margin = None
    return GateResult(
        gate=name, provider=None, limit=text, measured=measured, verdict=verdict, margin=margin, reason=reason
    )


def _judge_exactly(gate: GateResult, measured: Fraction, threshold: Fraction, at_least: bool) -> GateResult:
    margin = measured - threshold if at_least else threshold - measured
    verdict = Verdict.PASSED if margin >= 0 else Verdict.FAILED
    return msgspec.structs.replace(gate, measured=float(measured), margin=float(margin), verdict=verdict)


def _unproven(gate: GateResult) -> GateResult:
    """Return what random data can say: a failure stands, anything else is unverified."""
    if gate.verdict is not Verdict.PASSED:
        return gate
    reason = f"random data proves nothing (measured {shown(gate, gate.measured)})"
    return msgspec.structs.replace(gate, measured=None, margin=None, verdict=Verdict.UNVERIFIED, reason=reason)


def _exact(value: float) -> Fraction:
    """Return the decimal that people read for a float: 0.1 is a tenth."""
    return Fraction(repr(value))


def _limit_text(name: str, limits: OutputTolerance) -> str:
    loosened = f" for {_percent(limits.share)} of elements" if limits.share < 1 else ""
    if name in ("atol", "rtol"):
        written = [f"{n} {v:g}" for n, v in (("atol", limits.atol), ("rtol", limits.rtol)) if v is not None]
        return ", ".join(written) + loosened
    limit = f"{getattr(limits, name):g}"
    if name == "max_abs":
        return f"at most {limit}{loosened}"
    return f"at most {limit}" if name == "mean_abs" else f"at least {limit}{' dB' if name == 'sqnr_db' else ''}"


def _words(bound: Bound) -> str:
    kind = {"at_least": "at least", "at_most": "at most", "max_drop": "a drop of at most"}[bound.kind]
    return f"{kind} {_percent(bound.value)} of {bound.of}" if bound.of else f"{kind} {bound.value:g}"


def _percent(share: float) -> str:
    return f"{share * 100:.10g}%"
