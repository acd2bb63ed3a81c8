"""In what entries of locks differ: each part apart, and numbers with whether they leave the recorded noise."""

from __future__ import annotations

import msgspec
import pytest

from onnxbuild.recipe.changes import Change, TargetChanges, compare_entries, compare_locks
from onnxbuild.recipe.lock import LockedEstimate, LockedMetric, LockedPlacement, LockedTarget
from onnxbuild.recipe.types import Choice, TunedSession
from onnxbuild.report.change_text import told_of

A, B = "a" * 64, "b" * 64
METRIC = LockedMetric(name="accuracy", model=0.9, source=0.95, interval=(0.88, 0.92))
ENTRY = LockedTarget(
    verdict="passed",
    sources={"m.onnx": A},
    output={"model.onnx": A},
    opset={"": 20},
    ir_version=10,
    operators={"Gemm": 2},
    structure=A,
    metrics={"cpu": METRIC},
    placement={"cpu": LockedPlacement(nodes=3, of=3)},
    measured={"tolerance.y.atol@cpu": 1e-6, "tolerance.metric@cpu": 0.9},
    limits={"tolerance.y.atol@cpu": "atol 0.1", "size": "at most 2 MB"},
    hardware="A CPU",
    versions={"onnx": "1.0"},
)


def changed(**values: object) -> TargetChanges:
    return compare_entries("v", ENTRY, msgspec.structs.replace(ENTRY, **values))


@pytest.mark.parametrize(
    ("values", "part", "change"),
    [
        ({"verdict": "failed"}, "verdict", ("verdict", "passed", "failed")),
        ({"sources": {"m.onnx": B}}, "inputs", ("m.onnx", A, B)),
        ({"sources": {}}, "inputs", ("m.onnx", A, None)),
        ({"versions": {"onnx": "1.1"}}, "versions", ("onnx", "1.0", "1.1")),
        ({"opset": {"": 21}}, "graph", ("opset ai.onnx", "20", "21")),
        ({"ir_version": 11}, "graph", ("IR version", "10", "11")),
        ({"axes": {"batch": "1 to 4"}}, "graph", ("axis batch", None, "1 to 4")),
        ({"operators": {"Gemm": 3}, "structure": B}, "graph", ("Gemm nodes", "2", "3")),
        ({"structure": B}, "graph", ("names, attributes, edges or shapes", A, B)),
        ({"output": {"model.onnx": B}}, "output", ("model.onnx", A, B)),
        ({"choice": Choice(keep=("a", "b"))}, "choices", ("layers kept in float", None, "a, b")),
        ({"reverted": ("fuse of x",)}, "choices", ("passes left out", None, "fuse of x")),
        ({"placement": {"cpu": LockedPlacement(nodes=2, of=3)}}, "placement", ("cpu", "3 of 3 nodes", "2 of 3 nodes")),
        ({"placement": {"cpu": LockedPlacement(absent="no")}}, "placement", ("cpu", "3 of 3 nodes", "absent: no")),
        ({"hardware": "B CPU"}, "hardware", ("hardware", "A CPU", "B CPU")),
        (
            {"limits": {"tolerance.y.atol@cpu": "atol 0.1", "size": "at most 3 MB"}},
            "limits",
            ("size", "at most 2 MB", "at most 3 MB"),
        ),
        ({"limits": {"size": "at most 2 MB"}}, "limits", ("y.atol on cpu", "atol 0.1", None)),
        (
            {
                "sessions": {
                    "A CPU; 2 cores": TunedSession(objective="latency", provider="cpu", batch=1, cpu_arena=False)
                }
            },
            "choices",
            ("session on A CPU; 2 cores", None, "cpu arena false"),
        ),
        ({"waivers": {"size": "room"}}, "waivers", ("size", None, "room")),
    ],
)
def test_each_part_of_an_entry_has_its_place(
    values: dict[str, object], part: str, change: tuple[str, str | None, str | None]
) -> None:
    found = changed(**values)
    told = getattr(found, part)
    (one,) = told if isinstance(told, tuple) else (told,)
    assert isinstance(one, Change)
    assert (one.what, one.old, one.new) == change
    others = {name: getattr(found, name) for name in found.__struct_fields__ if name not in ("variant", "kind", part)}
    assert {name: value for name, value in others.items() if value} == {}


@pytest.mark.parametrize(
    ("was", "now", "exceeds"),
    [
        (METRIC, 0.89, False),
        (METRIC, 0.87, True),
        (METRIC, 0.93, True),
        (LockedMetric(name="accuracy", model=0.9), 0.87, None),
        (METRIC, None, True),
    ],
)
def test_a_metric_says_whether_it_left_the_noise(was: LockedMetric, now: float | None, exceeds: bool | None) -> None:
    old = msgspec.structs.replace(ENTRY, metrics={"cpu": was})
    new = msgspec.structs.replace(ENTRY, metrics={"cpu": msgspec.structs.replace(was, model=now)})
    (metric,) = compare_entries("v", old, new).metrics
    assert metric.exceeds is exceeds
    assert metric.delta == (None if now is None else pytest.approx(now - 0.9))


def test_other_metrics_and_gates_are_told_without_a_difference() -> None:
    (metric,) = changed(metrics={"cpu": LockedMetric(name="f1", model=0.5)}).metrics
    assert (metric.what, metric.old, metric.new, metric.delta) == ("f1", None, 0.5, None)
    (gate,) = changed(measured={"tolerance.y.atol@cpu": "nan", "tolerance.metric@cpu": 0.1}).gates
    assert (gate.what, gate.provider, gate.old, gate.new, gate.delta) == ("tolerance.y.atol", "cpu", 1e-6, "nan", None)


@pytest.mark.parametrize(
    ("now", "exceeds"),
    [
        (LockedEstimate(value=1.1, low=1.0, high=1.2), False),
        (LockedEstimate(value=1.4, low=1.3, high=1.5), True),
        (LockedEstimate(value=0.7, low=0.6, high=0.8), True),
        (LockedEstimate(value=0.7, low=0.6), False),
    ],
)
def test_a_latency_left_the_noise_where_the_intervals_do_not_meet(now: LockedEstimate, exceeds: bool) -> None:
    old = {"p50, batch 1@cpu": LockedEstimate(value=1.0, low=0.9, high=1.05)}
    before = msgspec.structs.replace(ENTRY, latencies=old)
    after = msgspec.structs.replace(ENTRY, latencies={"p50, batch 1@cpu": now})
    (timing,) = compare_entries("v", before, after).timings
    assert (timing.what, timing.provider, timing.unit, timing.exceeds) == ("p50, batch 1", "cpu", "ms", exceeds)


def test_targets_come_and_go() -> None:
    found = compare_locks({"a": ENTRY, "b": ENTRY}, {"b": ENTRY, "c": ENTRY})
    assert [(one.variant, one.kind) for one in found] == [("b", "same"), ("c", "added"), ("a", "removed")]


def test_an_entry_without_limits_says_nothing_of_them() -> None:
    older = msgspec.structs.replace(ENTRY, limits={})
    assert compare_entries("v", older, msgspec.structs.replace(ENTRY, ir_version=11)).limits == ()


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({}, "accepted for the first time"),
        (
            {"verdict": "failed", "waivers": {"tolerance.y.atol": "known", "size": "paid for"}},
            "accepted for the first time; failed; size waived: paid for; y.atol waived: known",
        ),
        ({"verdict": "unverified"}, "accepted for the first time; unverified"),
    ],
)
def test_what_is_accepted_for_the_first_time_is_told_with_what_it_lacks(values: dict[str, object], told: str) -> None:
    (found,) = compare_locks({}, {"v": msgspec.structs.replace(ENTRY, **values)})
    assert told_of(found) == told
