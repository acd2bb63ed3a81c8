"""Gates: names, limits, what is measured, margins, verdicts, and the line that says what was missed."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from onnxbuild.proof.compare import measure
from onnxbuild.proof.gates import (
    GateResult,
    Verdict,
    describe_miss,
    judge_metric,
    judge_outputs,
    judge_size,
    required_within,
    worst_verdict,
)
from onnxbuild.proof.measures import OutputMeasures
from onnxbuild.recipe.types import Bound, OutputTolerance

PASSED, FAILED, UNVERIFIED = Verdict.PASSED, Verdict.FAILED, Verdict.UNVERIFIED
REFERENCE = np.array([[1.0, -2.0], [4.0, 0.0]])
MODEL = np.array([[1.25, -2.0], [4.5, 0.125]])


def measures(tolerance: OutputTolerance, reference: Any = REFERENCE, model: Any = MODEL) -> OutputMeasures:
    return measure("y", [(np.asarray(reference), np.asarray(model))], required_within(tolerance))


def judge(reference: Any = REFERENCE, model: Any = MODEL, random_data: bool = False, **limits: Any) -> GateResult:
    tolerance = OutputTolerance(**limits)
    (gate,) = judge_outputs({"y": tolerance}, [measures(tolerance, reference, model)], "cpu", random_data)
    return gate


@pytest.mark.parametrize(
    ("limits", "gate", "limit", "measured", "margin", "verdict"),
    [
        ({"atol": 0.5}, "atol", "atol 0.5", 0.5, 0.0, PASSED),
        ({"atol": 0.25}, "atol", "atol 0.25", 0.5, -0.25, FAILED),
        ({"atol": 0.125, "rtol": 0.125}, "atol", "atol 0.125, rtol 0.125", 0.125, 0.0, PASSED),
        ({"atol": 0.0625, "rtol": 0.125}, "atol", "atol 0.0625, rtol 0.125", 0.125, -0.0625, FAILED),
        ({"rtol": 0.5}, "rtol", "rtol 0.5", "inf", None, FAILED),
        ({"max_abs": 0.5}, "max_abs", "at most 0.5", 0.5, 0.0, PASSED),
        ({"max_abs": 0.4}, "max_abs", "at most 0.4", 0.5, -0.1, FAILED),
        ({"mean_abs": 0.21875}, "mean_abs", "at most 0.21875", 0.21875, 0.0, PASSED),
        ({"cosine": 0.99}, "cosine", "at least 0.99", 0.995495, 0.005495, PASSED),
        ({"cosine": 0.9999}, "cosine", "at least 0.9999", 0.995495, -0.004405, FAILED),
        ({"sqnr_db": 18}, "sqnr_db", "at least 18 dB", 18.0618, 0.0618, PASSED),
        ({"sqnr_db": 18.1}, "sqnr_db", "at least 18.1 dB", 18.0618, -0.0382, FAILED),
        ({"argmax_agreement": 1}, "argmax_agreement", "at least 1", 1.0, 0.0, PASSED),
        ({"atol": 0.25, "share": 0.75}, "atol", "atol 0.25 for 75% of elements", 0.75, 0.0, PASSED),
        ({"atol": 0.25, "share": 0.8}, "atol", "atol 0.25 for 80% of elements", 0.75, -0.05, FAILED),
        ({"max_abs": 0.25, "share": 0.75}, "max_abs", "at most 0.25 for 75% of elements", 0.75, 0.0, PASSED),
        ({"rtol": 0.25, "share": 0.75}, "rtol", "rtol 0.25 for 75% of elements", 0.75, 0.0, PASSED),
    ],
)
def test_output_gates(
    limits: dict[str, Any], gate: str, limit: str, measured: Any, margin: float | None, verdict: Verdict
) -> None:
    result = judge(**limits)
    assert (result.gate, result.provider, result.limit) == (f"tolerance.y.{gate}", "cpu", limit)
    assert result.verdict is verdict
    assert result.measured == (measured if isinstance(measured, str) else pytest.approx(measured, abs=6e-5))
    assert result.margin == (None if margin is None else pytest.approx(margin, abs=6e-5))


def test_rtol_alone_measures_the_rtol_that_would_pass() -> None:
    result = judge([1.0, 4.0], [1.25, 4.5], rtol=0.2)
    assert (result.gate, result.measured, result.verdict) == ("tolerance.y.rtol", 0.25, FAILED)


def test_every_written_measure_is_a_gate_in_order_of_outputs() -> None:
    a, b = OutputTolerance(atol=1.0, rtol=1.0, cosine=0.5), OutputTolerance(max_abs=1.0, mean_abs=1.0)
    found = [measure(name, [(REFERENCE, MODEL)]) for name in ("a", "b", "c")]
    names = [gate.gate for gate in judge_outputs({"b": b, "a": a}, found, "cpu")]
    assert names == ["tolerance.b.max_abs", "tolerance.b.mean_abs", "tolerance.a.atol", "tolerance.a.cosine"]


def test_an_unmeasured_output_is_our_bug() -> None:
    with pytest.raises(KeyError):
        judge_outputs({"z": OutputTolerance(atol=1.0)}, [], "cpu")


@pytest.mark.parametrize("limit", ["atol", "rtol", "max_abs", "mean_abs", "cosine", "sqnr_db"])
def test_nan_on_one_side_fails_every_measure(limit: str) -> None:
    limits: dict[str, Any] = {limit: 1e9 if limit not in ("cosine", "sqnr_db") else -1.0}
    result = judge([1.0, 2.0], [np.nan, 2.0], **limits)
    assert (result.measured, result.verdict, result.margin) == ("nan", FAILED, None)


def test_nan_is_an_element_out_of_a_share() -> None:
    assert judge([1.0, 2.0], [np.nan, 2.0], atol=1.0, share=0.5).verdict is PASSED
    assert judge([1.0, 2.0], [np.nan, 2.0], atol=1.0, share=0.6).verdict is FAILED


@pytest.mark.parametrize("limit", ["atol", "rtol", "max_abs", "mean_abs"])
def test_infinity_on_one_side_fails(limit: str) -> None:
    limits: dict[str, Any] = {limit: 1e300}
    result = judge([np.inf, 2.0], [1.0, 2.0], **limits)
    assert (result.measured, result.verdict) == ("inf", FAILED)


def test_equal_outputs_pass_a_limit_of_zero() -> None:
    assert judge(REFERENCE, REFERENCE, atol=0.0).verdict is PASSED
    assert judge(REFERENCE, REFERENCE, rtol=0.0).measured == 0
    assert judge(REFERENCE, REFERENCE, sqnr_db=200.0).measured == "inf"


def test_integers_and_strings_are_one_gate_of_equality() -> None:
    result = judge([1, 2, 3], [1, 2, 4], atol=5.0, rtol=1.0, cosine=0.1)
    assert (result.gate, result.limit, result.measured, result.verdict) == (
        "tolerance.y.atol", "every element equal", 1.0, FAILED,
    )  # fmt: skip
    words = np.array(["a", "b"], object)
    assert judge(words, words, max_abs=0.1).verdict is PASSED
    loose = judge([1, 2, 3, 4], [1, 2, 3, 5], atol=0.0, share=0.7)
    assert (loose.limit, loose.measured, loose.verdict) == ("70% of elements equal", 0.75, PASSED)


def test_the_agreement_of_an_output_of_indices_is_the_share_of_equal_ones() -> None:
    reference, found = np.arange(100), np.arange(100)
    found[:7] += 1
    result = judge(reference, found, argmax_agreement=0.93)
    assert (result.gate, result.limit, result.measured, result.verdict) == (
        "tolerance.y.argmax_agreement", "93% of elements equal", 0.93, PASSED,
    )  # fmt: skip
    assert judge(reference, found, argmax_agreement=0.94).verdict is FAILED
    measures = measure("y", [(reference, found)])
    both = judge_outputs({"y": OutputTolerance(atol=0.0, argmax_agreement=0.93)}, [measures], "cpu")
    assert [(gate.gate, gate.verdict) for gate in both] == [
        ("tolerance.y.atol", FAILED),
        ("tolerance.y.argmax_agreement", PASSED),
    ]


def test_nothing_to_compare_is_unverified() -> None:
    result = judge(np.zeros((0, 3)), np.zeros((0, 3)), atol=1.0)
    assert (result.measured, result.verdict) == (None, UNVERIFIED)
    assert "no elements" in (result.reason or "")


def test_argmax_without_classes_fails() -> None:
    assert judge([[1.0]], [[1.0]], argmax_agreement=0.5).verdict is FAILED


def test_random_data_never_passes() -> None:
    result = judge(random_data=True, atol=1.0)
    assert (result.measured, result.margin, result.verdict) == (None, None, UNVERIFIED)
    assert "measured 0.5" in (result.reason or "")
    failed = judge(random_data=True, atol=0.1)
    assert (failed.measured, failed.verdict) == (0.5, FAILED)


def metric(
    kind: str, value: float, model: float | None, source: float | None, of: str | None = None, higher: bool = True
) -> GateResult:
    return judge_metric(Bound(kind=kind, value=value, of=of), model, source, higher, "cpu")


@pytest.mark.parametrize(
    ("gate", "limit", "margin", "verdict"),
    [
        (metric("at_least", 0.97, 0.97, 0.99), "at least 0.97", 0.0, PASSED),
        (metric("at_least", 0.97, 0.9699, None), "at least 0.97", -0.0001, FAILED),
        (metric("at_least", 0.99, 0.8918, 0.9, "source"), "at least 99% of source", 0.0008, PASSED),
        (metric("at_least", 0.99, 0.891, 0.9, "source"), "at least 99% of source", 0.0, PASSED),
        (metric("at_least", 0.99, 0.8909, 0.9, "source"), "at least 99% of source", -0.0001, FAILED),
        (metric("at_most", 1.01, 0.202, 0.2, "source", False), "at most 101% of source", 0.0, PASSED),
        (metric("at_most", 1.01, 0.203, 0.2, "source", False), "at most 101% of source", -0.001, FAILED),
        (metric("max_drop", 0.005, 0.965, 0.97), "a drop of at most 0.005", 0.0, PASSED),
        (metric("max_drop", 0.005, 0.9649, 0.97), "a drop of at most 0.005", -0.0001, FAILED),
        (metric("max_drop", 0.005, 0.98, 0.97), "a drop of at most 0.005", 0.015, PASSED),
        (metric("max_drop", 0.05, 0.25, 0.2, None, False), "a drop of at most 0.05", 0.0, PASSED),
        (metric("max_drop", 0.05, 0.26, 0.2, None, False), "a drop of at most 0.05", -0.01, FAILED),
    ],
)
def test_metric_gates(gate: GateResult, limit: str, margin: float, verdict: Verdict) -> None:
    assert (gate.gate, gate.limit, gate.verdict) == ("tolerance.metric", limit, verdict)
    assert gate.margin == pytest.approx(margin, abs=1e-12)


def test_a_metric_that_is_nan_fails() -> None:
    gate = metric("at_least", 0.5, None, 0.9)
    assert (gate.measured, gate.verdict, gate.source) == ("nan", FAILED, 0.9)
    gate = metric("at_least", 0.5, 0.9, None, "source")
    assert (gate.measured, gate.verdict) == (0.9, FAILED)


def test_the_recipes_own_words_are_the_limit() -> None:
    bound = Bound(kind="at_least", value=0.99, of="source", text="at least 99 % of source")
    assert judge_metric(bound, 1.0, 1.0, True, "cpu").limit == "at least 99 % of source"


def test_metric_on_random_data_is_unverified() -> None:
    gate = judge_metric(Bound(kind="at_least", value=0.5), 0.9, 0.9, True, "cpu", random_data=True)
    assert (gate.measured, gate.verdict) == (None, UNVERIFIED)


def test_size_gates() -> None:
    absolute = Bound(kind="at_most", value=2_000_000)
    assert judge_size(absolute, 2_000_000).verdict is PASSED
    failed = judge_size(absolute, 2_000_001)
    assert (failed.gate, failed.provider, failed.measured, failed.margin) == ("size", None, 2_000_001, -1)
    ratio = Bound(kind="at_most", value=0.3, of="fp32", text="at most 30% of fp32")
    assert judge_size(ratio, 30, 100).measured == 0.3
    assert judge_size(ratio, 30, 100).verdict is PASSED
    assert judge_size(ratio, 31, 100).verdict is FAILED
    unknown = judge_size(ratio, 31, None)
    assert (unknown.verdict, unknown.measured) == (UNVERIFIED, None)
    assert "fp32" in (unknown.reason or "")


@pytest.mark.parametrize(
    ("gate", "line"),
    [
        (judge(atol=0.25), "tolerance.y.atol on cpu: required atol 0.25, measured 0.5, missed by 0.25"),
        (
            metric("at_least", 0.99, 0.95, 0.98, "source"),
            "tolerance.metric on cpu: required at least 99% of source, measured 0.95, source 0.98, missed by 0.0202",
        ),
        (
            judge_size(Bound(kind="at_most", value=2e6, text="at most 2 MB"), 2_345_678),
            "size: required at most 2 MB, measured 2.35 MB, missed by 346 kB",
        ),
        (
            judge_size(Bound(kind="at_most", value=0.3, of="fp32"), 34, 100),
            "size: required at most 30% of fp32, measured 34.0000%, missed by 4.0000%",
        ),
        (
            judge(random_data=True, atol=1.0),
            "tolerance.y.atol on cpu: required atol 1, unverified: "
            "random data proves nothing: name real data under `evaluation` (measured 0.5)",
        ),
        (
            judge([1.0], [np.nan], atol=1.0),
            "tolerance.y.atol on cpu: required atol 1, measured nan, 1 elements are NaN on one side only",
        ),
    ],
)
def test_the_line_says_required_measured_and_missed(gate: GateResult, line: str) -> None:
    assert describe_miss(gate) == line


def test_worst_verdict() -> None:
    assert worst_verdict([PASSED, FAILED, UNVERIFIED]) is FAILED
    assert worst_verdict([PASSED, UNVERIFIED]) is UNVERIFIED
    assert worst_verdict([PASSED]) is PASSED
    assert worst_verdict([]) is UNVERIFIED


def test_a_missing_share_is_our_bug() -> None:
    tolerance = OutputTolerance(atol=0.1, share=0.9)
    with pytest.raises(KeyError, match="was not counted"):
        judge_outputs({"y": tolerance}, [measure("y", [(REFERENCE, MODEL)])], "cpu")


@pytest.mark.parametrize("module", ["onnxbuild.proof.gates", "onnxbuild.stages.data", "onnxbuild.stages.validate"])
def test_what_a_no_op_needs_imports_no_numpy(module: str) -> None:
    code = f"import sys, {module}; sys.exit(bool({{'numpy', 'onnx', 'onnxruntime', 'yaml'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
