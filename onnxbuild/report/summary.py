"""One target in a sentence and a row: verdict, size against its baseline, metric against its source; draws nothing."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from onnxbuild.proof.gates import GateResult, Verdict
from onnxbuild.recipe.changes import NumberChange
from onnxbuild.recipe.lock import LockedEstimate
from onnxbuild.recipe.types import Bound
from onnxbuild.report import numbers
from onnxbuild.report.budget import limited, metric_sentence, used
from onnxbuild.report.change_text import change_sentence
from onnxbuild.report.facts import (
    IndexFacts,
    IndexLatency,
    IndexRow,
    ProviderAccuracy,
    ReportFacts,
    StepFacts,
    TargetFacts,
)
from onnxbuild.report.gate_text import gate_name, gate_sentence
from onnxbuild.stages.validate import MetricMeasure

N = TypeVar("N", int, float)
EXPORTED = "the exported model"
NEVER = "never accepted"
_ORDER = (Verdict.FAILED, Verdict.UNVERIFIED, Verdict.PASSED)


def baseline_of(target: TargetFacts, targets: Sequence[TargetFacts]) -> tuple[str, int] | None:
    """Return the name and size in bytes of what `target` is compared with.

    That is the first other variant that is neither pruned nor quantised, else the target's own exported model.
    """
    for other in targets:
        if other.name == target.name:
            break
        if other.bytes is not None and not any(step.prune or step.quantize for step in other.steps):
            return other.variant, other.bytes
    first = target.steps[0].model if target.steps else None
    return None if first is None else (EXPORTED, first.bytes)


def is_built(target: TargetFacts) -> bool:
    """Return whether the target's model was made and judged."""
    return target.verdict is not None and target.failed_action is None


def final_accuracy(target: TargetFacts) -> tuple[StepFacts, tuple[ProviderAccuracy, ...]] | None:
    """Return the last step whose model was validated, and what was measured, by provider, on simulators last."""
    for step in reversed(target.steps):
        if step.accuracy:
            return step, tuple(sorted(step.accuracy, key=lambda each: target.simulator(each.provider) is not None))
    return None


def final_metric(target: TargetFacts) -> tuple[MetricMeasure, Bound | None] | None:
    """Return the metric of the delivered model and its limit; None before it is built.

    It is that on the first provider, of those that no simulator stands for if there is one.
    """
    found = final_accuracy(target)
    if found is None or not is_built(target):
        return None
    accuracy = found[1][0]
    tolerance = target.declared.tolerances.get(accuracy.provider)
    metric = accuracy.facts.metric
    return None if metric is None else (metric, None if tolerance is None else tolerance.metric)


def size_sentence(target: TargetFacts, targets: Sequence[TargetFacts]) -> str | None:
    """Return the size against the baseline, such as "3.6x smaller than fp32"."""
    base = baseline_of(target, targets)
    if base is None or not target.bytes or not base[1]:
        return None if target.bytes is None else numbers.size(target.bytes)
    smaller, share = base[1] / target.bytes, target.bytes / base[1]
    if abs(share - 1) < 0.005:
        return f"{numbers.size(target.bytes)}, as exported" if base[0] == EXPORTED else f"as large as {base[0]}"
    if 1 / 1.05 < smaller < 1.05:  # which "1.0x" would call as large
        return f"{numbers.percent(abs(share - 1), 0)} {'smaller' if share < 1 else 'larger'} than {base[0]}"
    if smaller > 1:
        return f"{numbers.ratio(smaller)} smaller than {base[0]}"
    return f"{numbers.ratio(1 / smaller)} larger than {base[0]}"


def speed_sentence(target: TargetFacts) -> str | None:
    """Return the speed against another variant, such as "1.9x as fast as fp32 on cpu"; None where no device has any."""
    if target.versus is None or target.simulator(target.versus.provider) is not None:
        return None
    ratio, where = target.versus.versus.ratio, f"{target.versus.other} on {target.versus.provider}"
    if not ratio.decides(1.0):
        return f"not significantly faster or slower than {where}"
    if 1 / 1.05 < ratio.value < 1.05:  # which "1.0x" would call as fast
        return f"slightly {'faster' if ratio.value > 1 else 'slower'} than {where}"
    return (
        f"{ratio.value:.1f}x as fast as {where}" if ratio.value >= 1 else f"{1 / ratio.value:.1f}x slower than {where}"
    )


def error_sentence(target: TargetFacts) -> str | None:
    """Return how much of the output tolerance is used, for targets without a metric."""
    found = final_accuracy(target)
    if found is None:
        return None
    shares = []
    for accuracy in found[1]:
        tolerance = target.declared.tolerances.get(accuracy.provider)
        for measures in accuracy.facts.outputs:
            limits = None if tolerance is None else tolerance.outputs.get(measures.name)
            shares += [] if limits is None else [used(limits, m, measures) for m in limited(limits)]
    known = [share for share in shares if share is not None]
    if not known:
        return None
    worst = max(known)
    return f"outputs use {numbers.percent(worst)} of their tolerance" if worst <= 1 else "outputs are beyond tolerance"


def sentence(target: TargetFacts, targets: Sequence[TargetFacts]) -> str:
    """Return the verdict in words that need no knowledge of ONNX, without the verdict's own word."""
    parts = [size_sentence(target, targets), speed_sentence(target)]
    metric = final_metric(target)
    parts.append(error_sentence(target) if metric is None else metric_sentence(*metric))
    said = "; ".join(part for part in parts if part)
    text = f"{target.variant} is {said}" if parts[0] else f"{target.variant}: {said}"
    return text if said else f"{target.variant} was judged without measurements"


def trouble(target: TargetFacts) -> str | None:
    """Return the first gate that is not passed, in words, and how many more there are."""
    open_gates = order_gates([gate for gate in target.gates if gate.verdict is not Verdict.PASSED])
    if not open_gates:
        return None
    more = len(open_gates) - 1
    found = final_metric(target)
    metric = found[0].name if found else ""
    return gate_sentence(open_gates[0], metric) + (f"; {numbers.plural(more, 'more gate')} not passed" if more else "")


def order_gates(gates: Sequence[GateResult]) -> list[GateResult]:
    """Return the gates worst verdict first, else in the given order."""
    return sorted(gates, key=lambda gate: _ORDER.index(gate.verdict))


def index_facts(reports: Sequence[ReportFacts]) -> IndexFacts:
    """Return the index over all targets of `reports`, in their order."""
    rows = [_row(report, target) for report in reports for target in report.targets]
    return IndexFacts(rows=tuple(rows), version=reports[0].version if reports else "")


def _row(report: ReportFacts, target: TargetFacts) -> IndexRow:
    built = is_built(target)
    base = baseline_of(target, report.targets) if built else None
    metric = final_metric(target)
    measure = None if metric is None else metric[0]
    name = None if measure is None else measure.name
    found = final_accuracy(target)
    on = found[1][0].provider if found is not None else ""
    accepted = target.accepted
    was = accepted.metrics.get(on) if accepted is not None else None
    return IndexRow(
        target=target.name,
        recipe=report.name,
        variant=target.variant,
        link=f"./{report.name}.html#{anchor(target)}",
        verdict=Verdict.FAILED if target.failed_action is not None else target.verdict,
        summary=target_summary(report, target),
        trouble=(trouble(target) or "") if built else target_summary(report, target) if target.failed_action else "",
        metric=None if measure is None else measure.name,
        metric_model=None if measure is None else measure.model,
        metric_source=None if measure is None else measure.source,
        metric_accepted=was.model if was is not None and was.name == name else None,
        metric_exceeds=next((m.exceeds for m in _changes(target) if (m.what, m.provider) == (name, on)), None),
        metric_trend=_trend(past.metrics.get(on) if past.names.get(on) == name else None for past in target.history),
        higher_is_better=measure is None or measure.higher_is_better,
        bytes=target.bytes,
        bytes_accepted=accepted.bytes if accepted is not None else None,
        bytes_trend=_trend(past.bytes for past in target.history),
        baseline=None if base is None else base[0],
        size_ratio=target.bytes / base[1] if base and base[1] and target.bytes else None,
        gates_passed=sum(gate.verdict is Verdict.PASSED for gate in target.gates),
        gates=len(target.gates),
        accepted=accepted_text(target, figures=False),
        accepted_on=target.accepted_on,
        waived=tuple(target.accepted.waivers) if target.accepted is not None else (),
        providers=tuple(target.declared.tolerances),
        latencies=tuple(_latencies(target)),
        unverified_providers=tuple(
            p.provider
            for p in target.placements
            if p.facts.absent is not None or target.simulator(p.provider) is not None
        ),
    )


def _changes(target: TargetFacts) -> tuple[NumberChange, ...]:
    return target.changes.metrics if target.changes is not None else ()


def _latencies(target: TargetFacts) -> Iterator[IndexLatency]:
    """Yield the median with the first batch on each provider that was measured."""
    for measured in target.benchmarks:
        first = next(iter(measured.facts.latencies), None)
        if first is None or target.simulator(measured.provider) is not None:
            continue
        key = f"p50, batch {first.batch}@{measured.provider}"
        was = target.accepted.latencies.get(key) if target.accepted is not None else None
        now = LockedEstimate(value=first.p50.value, low=first.p50.low, high=first.p50.high)
        yield IndexLatency(
            provider=measured.provider,
            batch=first.batch,
            median=first.p50.value,
            accepted=was.value if was is not None else None,
            exceeds=not was.overlaps(now) if was is not None else None,
            trend=_trend(past.latencies.get(key) for past in target.history),
        )


def _trend(values: Iterable[N | None]) -> tuple[N | None, ...]:
    """Return values from the first that is known; none where it is the only one."""
    known = tuple(itertools.dropwhile(lambda value: value is None, values))
    return known if len(known) > 1 else ()


def accepted_text(target: TargetFacts, *, figures: bool = True) -> str:
    """Return how a target stands to what was accepted of it; without `figures` but for metric, size and times."""
    if target.accepted is None:
        return NEVER
    return (
        change_sentence(target.changes, figures=figures)
        if target.changes is not None
        else "accepted, and not built from what is there now"
    )


def waived_text(waivers: Iterable[str]) -> str:
    """Return which gates were waived when a target was accepted; "" for none."""
    names = ", ".join(map(gate_name, waivers))
    return f"accepted with a waiver for {names}" if names else ""


def target_summary(report: ReportFacts, target: TargetFacts) -> str:
    """Return what became of a target in one sentence: built, stopped by a stage, or not built."""
    if target.failed_action is not None:
        failure = next((a.failure for a in report.actions if a.name == target.failed_action), None)
        return f"{target.failed_action} failed" + (f": {failure.message}" if failure else "")
    if target.verdict is None:
        return "not built"
    problem = trouble(target)
    return sentence(target, report.targets) + (f"; {problem}" if problem else "")


def anchor(target: TargetFacts) -> str:
    """Return the id of a target's section; variants' names are made of letters that an id may have."""
    return f"variant-{target.variant}"
