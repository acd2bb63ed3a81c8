"""What differs from an accepted entry, line by line and in one sentence, as people read it; compares nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from onnxbuild.proof.gates import GateResult, Verdict
from onnxbuild.recipe.changes import RECIPE, Change, NumberChange, TargetChanges
from onnxbuild.report import numbers
from onnxbuild.report.gate_text import gate_name, gate_unit, measured_text

ABSENT = "absent"
_DIGEST = 12


@dataclass(frozen=True)
class ChangeLine:
    """One thing that differs: the part of the entry it is in, both values, their difference, and what noise says.

    `exact_old` and `exact_new` are the whole of what `old` and `new` shorten, "" where they do not.
    """

    part: str
    what: str
    old: str
    new: str
    change: str = ""
    noise: str = ""
    exact_old: str = ""
    exact_new: str = ""


def change_lines(changes: TargetChanges) -> Iterator[ChangeLine]:
    """Yield everything that differs, in the order a reviewer asks."""
    if changes.verdict is not None:
        yield from _texts("Verdict", (changes.verdict,))
    yield from _texts("Inputs", changes.inputs)
    yield from _texts("Limits", changes.limits)
    yield from _texts("Graph", changes.graph)
    yield from map(_metric, changes.metrics)
    yield from map(_gate, changes.gates)
    if changes.bytes is not None:
        yield _size(*changes.bytes)
    yield from map(_timing, changes.timings)
    yield from _texts("Choices", changes.choices)
    yield from _texts("Placement", changes.placement)
    yield from _texts("Delivered files", changes.output)
    yield from _texts("Tool versions", changes.versions)
    if changes.hardware is not None:
        yield from _texts("Hardware", (changes.hardware,))
    yield from _texts("Waivers", changes.waivers)


def change_sentence(changes: TargetChanges, *, figures: bool = True) -> str:
    """Return in one sentence how a target differs, such as "accuracy −0.12 points, within noise; 2 other inputs".

    Without `figures` metric, size and times are left out, which stand elsewhere then.
    """
    match changes.kind:
        case "same":
            return "as accepted"
        case "added":
            return "never accepted"
        case "removed":
            return "no longer accepted"
    if is_recipe_alone(changes):
        return "as accepted, but for lines of the recipe"
    if not figures:
        changes = msgspec.structs.replace(changes, metrics=(), bytes=None, timings=())
    return "; ".join(_parts(changes)) or "nothing but figures"


def is_recipe_alone(changes: TargetChanges) -> bool:
    """Tell whether nothing differs but the recipe's text: what it came to is as accepted."""
    return changes.kind == "changed" and {line.what for line in change_lines(changes)} == {RECIPE}


def told_of(changes: TargetChanges) -> str:
    """Return how a target's entry differs between two locks, where it may be missing in either."""
    if changes.kind != "added":
        return change_sentence(changes)
    verdict = changes.verdict.new if changes.verdict is not None else None
    waived = [f"{gate_name(waiver.what)} waived: {waiver.new}" for waiver in changes.waivers]
    said = [*([verdict] if verdict and verdict != Verdict.PASSED.value else []), *waived]
    return "; ".join(("accepted for the first time", *said))


def _parts(changes: TargetChanges) -> list[str]:
    said = [_metric_sentence(metric) for metric in changes.metrics]
    if changes.bytes is not None:
        said.append(f"size {_size(*changes.bytes).change or 'another'}")
    said += _timing_sentence(changes.timings)
    counted = (
        (tuple(change for change in changes.inputs if change.what != RECIPE), "other input"),
        (changes.limits, "other limit"),
        (changes.choices, "other choice"),
        (changes.placement, "other placement"),
        (changes.versions, "other tool version"),
        (changes.waivers, "waiver"),
    )
    said += ["another graph"] if changes.graph else ["other weights"] if changes.output else []
    said += [numbers.plural(len(found), word) for found, word in counted if found]
    said += ["other lines in the recipe"] if any(change.what == RECIPE for change in changes.inputs) else []
    if not said:
        said = ["measured otherwise"] if changes.gates else ["another machine"] if changes.hardware else []
        said += ["times within noise"] if changes.timings else []
    return said


def short(text: str | None, kind: str = "") -> str:
    """Return a value as a line shows it: a digest cut, what is not there in a word."""
    if text is None:
        return ABSENT
    return f"{text[:_DIGEST]}…" if kind == "digest" and len(text) > _DIGEST else text


def _texts(part: str, changes: Iterable[Change]) -> Iterator[ChangeLine]:
    for change in changes:
        exact = [value or "" if change.kind == "digest" else "" for value in (change.old, change.new)]
        yield ChangeLine(
            part,
            change.what,
            short(change.old, change.kind),
            short(change.new, change.kind),
            _count_change(change),
            exact_old=exact[0],
            exact_new=exact[1],
        )


def _count_change(change: Change) -> str:
    """Return the difference of two counts; "" for what is none."""
    old, new = (value if value is not None else "0" for value in (change.old, change.new))
    if not (old.isdecimal() and new.isdecimal()):
        return ""
    return numbers.signed(numbers.count(abs(int(new) - int(old))), int(new) - int(old))


def _metric(metric: NumberChange) -> ChangeLine:
    change = "" if metric.delta is None else numbers.metric_change(metric.what, metric.delta)
    return ChangeLine(
        "Metrics",
        f"{metric.what.replace('_', ' ')} on {metric.provider}",
        _value(metric.what, metric.old),
        _value(metric.what, metric.new),
        change + numbers.metric_unit(metric.what) if change else "",
        _noise(metric),
    )


def _value(name: str, value: float | str | None) -> str:
    return ABSENT if value is None else numbers.metric_value(name, float(value))


def _noise(metric: NumberChange) -> str:
    if metric.interval is None:
        return "no noise recorded"
    low, high = (numbers.metric_value(metric.what, end) for end in metric.interval)
    return f"{'beyond' if metric.exceeds else 'within'} noise, {low} to {high}"


def _metric_sentence(metric: NumberChange) -> str:
    name = metric.what.replace("_", " ")
    if metric.delta is None:
        return f"{name} {_value(metric.what, metric.old)} → {_value(metric.what, metric.new)}"
    change = numbers.metric_change(metric.what, metric.delta) + numbers.metric_unit(metric.what)
    noise = {True: ", beyond noise", False: ", within noise", None: ""}[metric.exceeds]
    return f"{name} {change}{noise}"


def _gate(gate: NumberChange) -> ChangeLine:
    where = f" on {gate.provider}" if gate.provider else ""
    old, new = (_measured(gate, value, limit) for value, limit in zip((gate.old, gate.new), gate.limits, strict=True))
    return ChangeLine("Measured", gate_name(gate.what) + where, old, new, _shift(gate))


def _measured(gate: NumberChange, value: float | str | None, limit: str) -> str:
    return ABSENT if value is None else measured_text(_as_result(gate, value, limit))


def _as_result(gate: NumberChange, value: float | str | None, limit: str) -> GateResult:
    return GateResult(gate=gate.what, provider=gate.provider, limit=limit, measured=value, verdict=Verdict.PASSED)


def _shift(gate: NumberChange) -> str:
    old, new = (gate_unit(_as_result(gate, None, limit)) for limit in gate.limits)
    if gate.delta is None or old != new:
        return ""
    return numbers.signed(_measured(gate, abs(gate.delta), gate.limits[1]).replace("%", " points"), gate.delta)


def _timing(timing: NumberChange) -> ChangeLine:
    def text(value: float | str | None) -> str:
        if value is None:
            return ABSENT
        number = float(value)
        return numbers.size(round(number)) if timing.unit == "bytes" else numbers.milliseconds(number)

    change = noise = ""
    if timing.delta is not None:
        change = numbers.size_change(round(float(timing.old or 0) * 1000), round(float(timing.new or 0) * 1000))
        around = "" if timing.interval is None else f", {text(timing.interval[0])} to {text(timing.interval[1])}"
        noise = f"{'beyond' if timing.exceeds else 'within'} noise{around}"
    part = "Memory" if timing.unit == "bytes" else "Latency"
    return ChangeLine(part, f"{timing.what} on {timing.provider}", text(timing.old), text(timing.new), change, noise)


def _timing_sentence(timings: Sequence[NumberChange]) -> list[str]:
    """Return in words what left the noise; the median of the first batch stands for all latencies."""
    left = [timing for timing in timings if timing.exceeds]
    first = next((timing for timing in left if timing.what.startswith("p50")), None)
    said = [f"latency {_timing(first).change}, beyond noise"] if first is not None else []
    memory = next((timing for timing in left if timing.unit == "bytes"), None)
    return said + ([f"memory {_timing(memory).change}, beyond noise"] if memory is not None else [])


def _size(old: int | None, new: int | None) -> ChangeLine:
    exact = [numbers.exact_size(value) or "" for value in (old, new)]
    before, after = (ABSENT if value is None else numbers.size(value) for value in (old, new))
    change = numbers.size_change(old, new)
    return ChangeLine("Size", "model with its data", before, after, change, exact_old=exact[0], exact_new=exact[1])
