"""A gate's name, measurement and margin as people read them; knows the gates' units, judges nothing."""

from __future__ import annotations

import re

from onnxbuild.proof.gates import GateResult, Verdict
from onnxbuild.report import numbers

_MILLISECONDS = ("latency",)
_BYTES = ("size", "memory")
_SHARES = ("argmax_agreement", "share")


def gate_unit(gate: GateResult) -> str:
    """Return the unit of `measured`: bytes, percent, ratio, ms, dB, share, elements, or "" for a plain number."""
    kind = gate.gate.split(".", maxsplit=1)[0]
    last = gate.gate.rsplit(".", maxsplit=1)[-1]
    if kind == "placement" or last in _SHARES:
        return "share"
    if kind == "tolerance":
        if " of elements" in gate.limit:
            return "share"
        if gate.limit == "every element equal":
            return "elements"
        return "dB" if last == "sqnr_db" else ""
    if " of " in gate.limit:
        return "percent" if "%" in gate.limit else "ratio"
    if kind in _BYTES:
        return "bytes"
    return "ms" if kind in _MILLISECONDS else ""


def needs_limit(gate: GateResult) -> bool:
    """Tell whether it takes the limit to know the unit of `measured`: bytes or a share, a distance or a count."""
    return gate.gate == "size" or gate.gate.rpartition(".")[2] in ("atol", "rtol", "max_abs", "share")


def measured_text(gate: GateResult, metric: str = "") -> str:
    """Return what was measured, with its unit; `metric` is the name of the target's metric."""
    return _text(gate, gate.measured, metric)


def margin_text(gate: GateResult, metric: str = "") -> str:
    """Return the distance to the limit with its sign: plus is room left, minus is missed by."""
    if gate.margin is None:
        return numbers.NONE
    return numbers.signed(_difference(gate, metric), gate.margin)


def gate_sentence(gate: GateResult, metric: str = "") -> str:
    """Return a gate that is not passed in one clause: what was required, what was measured, by how much it missed."""
    where = f" on {gate.provider}" if gate.provider else ""
    name = gate_name(gate.gate)
    if gate.verdict is Verdict.UNVERIFIED:
        return f"{name} unverified{where}" + (f": {gate.reason}" if gate.reason else "")
    last = gate.gate.rsplit(".", maxsplit=1)[-1]
    why = f", {gate.reason}" if gate.reason else ""
    if last in ("atol", "rtol") and gate_unit(gate) == "":  # measured is the smallest that would have passed
        needs = f"needs {last} {measured_text(gate)}, allowed is {gate.limit}"
        return f"{name.removesuffix('.' + last)}{where} {needs}{why}"
    if gate.margin is None and gate.reason and gate.measured is not None:
        return f"{name}{where} failed {gate.reason}"
    missed = f", missed by {_difference(gate, metric)}" if gate.margin is not None and gate.margin < 0 else ""
    return f"{name}{where} is {measured_text(gate, metric)}, required {gate.limit}{missed}{why}"


def doubt_text(gate: GateResult, metric: str = "") -> str:
    """Return the interval of what a metric's limit is on, and whether the limit lies within; "" without one."""
    if gate.interval is None or gate.gate != "tolerance.metric":
        return ""  # of speed, latency and memory the remark has it
    ends = [end for end in gate.interval if end is not None]
    if "drop" in gate.limit:
        low, high = (numbers.metric_change(metric, end) + numbers.metric_unit(metric) for end in ends)
    elif " of " in gate.limit:
        low, high = (f"{numbers.percent(end, 2)} of source" for end in ends)
    else:
        low, high = (numbers.metric_value(metric, end) for end in ends)
    doubt = ": the data cannot decide" if gate.warning is not None else ""
    if low == high:
        return f"{high} in every resampling of the data"
    return f"95% interval {low.removesuffix(' of source')} to {high}{doubt}"


def gate_name(name: str) -> str:
    """Return a gate's name without the word that all of them share: "tolerance.logits.atol" is "logits.atol"."""
    return re.sub(r"^tolerance\.", "", name)


def _difference(gate: GateResult, metric: str) -> str:
    if gate.margin is not None and gate.gate == "tolerance.metric" and metric in numbers.SHARE_METRICS:
        return f"{abs(gate.margin) * 100:.2f} points"
    if gate.gate.endswith(".cosine"):
        return numbers.number(abs(gate.margin or 0.0))
    text = _text(gate, abs(gate.margin or 0.0), metric)
    return text.replace("%", " points") if gate_unit(gate) in ("share", "percent") else text


def _text(gate: GateResult, value: float | str | None, metric: str) -> str:
    unit = gate_unit(gate)
    if value is None:
        return "not measured"
    if isinstance(value, str):
        return numbers.number(value)
    if unit in ("share", "percent"):
        return numbers.percent(value, 2)
    if unit == "elements":
        return numbers.plural(round(value), "differs", "differ")
    if unit == "bytes":
        return numbers.size(round(value))
    if unit == "ms":
        return numbers.milliseconds(value)
    if unit == "ratio":
        return f"{value:.2f}x"
    if gate.gate == "tolerance.metric":
        return numbers.metric_value(metric, value)
    if gate.gate.endswith(".cosine"):
        return numbers.cosine(value)
    return numbers.number(value) + (f" {unit}" if unit else "")
