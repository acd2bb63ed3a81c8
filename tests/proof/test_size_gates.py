"""Tolerances at the edges of dynamic axes: which measures must hold at each size, and what the gate then says."""

from __future__ import annotations

import numpy as np
import pytest

from onnxbuild.data.edge import Edge
from onnxbuild.proof.compare import measure
from onnxbuild.proof.gates import GateResult, Verdict, describe_miss, judge_outputs
from onnxbuild.proof.measures import OutputMeasures
from onnxbuild.proof.size_gates import judge_exact_sizes, judge_sizes, unverified_sizes
from onnxbuild.proof.sizes import SizedOutput, SizeMeasures, is_of_memory
from onnxbuild.recipe.types import OutputTolerance

REFERENCE = np.array([[1.0, 2.0, 3.0]], np.float32)


def measures(*off: float, dtype: type = np.float32) -> OutputMeasures:
    reference = REFERENCE.astype(dtype)
    return measure("y", [(reference, reference + np.array(off or (0, 0, 0), dtype))])


def at(batch: int, found: OutputMeasures | None = None, **fields: object) -> SizeMeasures:
    shape = (1, 3) if found is not None else (3,)
    output = SizedOutput(name="y", shape=shape, expected=(1, 3), measures=found, **fields)  # type: ignore[arg-type]
    return SizeMeasures(edge=Edge(sizes={"batch": batch}), outputs=(output,))


def judged(limits: OutputTolerance, *sizes: SizeMeasures, data: OutputMeasures | None = None) -> list[GateResult]:
    tolerance = {"y": limits}
    return judge_sizes(judge_outputs(tolerance, [data or measures()], "cpu"), tolerance, sizes, "cpu")


@pytest.mark.parametrize(
    ("limits", "gate", "off"),
    [
        (OutputTolerance(atol=0.25), "atol", 0.5),
        (OutputTolerance(rtol=0.25), "rtol", 0.5),
        (OutputTolerance(max_abs=0.25), "max_abs", 0.5),
    ],
)
def test_elementwise_limits_must_hold_at_every_size(limits: OutputTolerance, gate: str, off: float) -> None:
    good = judged(limits, at(1, measures(0, 0, 0.125)), at(64, measures()))
    assert [(g.gate, g.verdict, g.measured) for g in good] == [(f"tolerance.y.{gate}", Verdict.PASSED, 0.0)]
    (bad,) = judged(limits, at(1, measures(off, 0, 0)), at(64, measures()))
    assert (bad.gate, bad.verdict, bad.measured, bad.reason) == (
        f"tolerance.y.{gate}",
        Verdict.FAILED,
        0.5,
        "at batch 1",
    )
    assert bad.margin == -0.25
    assert describe_miss(bad).endswith("measured 0.5, missed by 0.25, at batch 1")


def test_the_worst_size_is_measured_and_all_bad_ones_are_named() -> None:
    (gate,) = judged(
        OutputTolerance(atol=0.25), at(1, measures(0.5, 0, 0)), at(9, measures(1, 0, 0)), at(64, measures())
    )
    assert (gate.measured, gate.reason) == (1.0, "at batch 1 and at batch 9")


def test_a_gate_that_failed_on_the_data_keeps_its_measure_and_adds_the_size() -> None:
    (gate,) = judged(OutputTolerance(atol=0.25), at(1, measures(0.5, 0, 0)), data=measures(0.75, 0, 0))
    assert (gate.measured, gate.reason) == (0.75, "at batch 1")


@pytest.mark.parametrize(
    "limits", [OutputTolerance(cosine=0.999), OutputTolerance(mean_abs=0.1), OutputTolerance(atol=0.25, share=0.9)]
)
def test_statistical_limits_fail_a_size_only_on_what_is_beyond_doubt(limits: OutputTolerance) -> None:
    data = measure("y", [(REFERENCE, REFERENCE)], within=[(0.25, 0.0)])
    assert [g.verdict for g in judged(limits, at(1, measures(-1, -2, -3)), data=data)] == [Verdict.PASSED]
    for size, said in (
        (at(1, measures(np.inf, 0, 0), nonfinite=1), "at batch 1: 1 elements are NaN or infinite"),
        (at(1), "at batch 1: shape [3] where the source gives [1, 3]"),
        (
            at(1, measures(), misdeclared="axis 0 is declared to be 4 and is 1"),
            "at batch 1: axis 0 is declared to be 4",
        ),
        (
            SizeMeasures(edge=Edge(sizes={"batch": 1}), failure="bad dims"),
            "at batch 1: the model does not run: bad dims",
        ),
    ):
        (gate,) = judged(limits, size, data=data)
        assert gate.verdict is Verdict.FAILED
        assert gate.reason is not None
        assert gate.reason.startswith(said)


def test_a_wrong_shape_of_an_output_without_limits_has_a_gate_of_its_own() -> None:
    (gate,) = judge_sizes([], {}, [at(1)], "cpu")
    assert (gate.gate, gate.verdict, gate.limit) == ("tolerance.y.shape", Verdict.FAILED, "as the source at every size")


def test_a_size_that_memory_refused_is_no_failure() -> None:
    untried = SizeMeasures(edge=Edge(sizes={"batch": 64}), untried="bad_alloc")
    assert [g.verdict for g in judged(OutputTolerance(atol=0.25), untried)] == [Verdict.PASSED]
    assert is_of_memory("ONNX Runtime fails: std::bad_alloc")
    assert is_of_memory("Failed to allocate memory for requested buffer of size 4")
    assert not is_of_memory("ONNX Runtime fails: Got invalid dimensions for input")


def test_integers_must_be_equal_at_every_size() -> None:
    (gate,) = judged(
        OutputTolerance(atol=0.25), at(1, measures(1, 0, 0, dtype=np.int64)), data=measures(0, 0, 0, dtype=np.int64)
    )
    assert (gate.verdict, gate.measured, gate.reason) == (Verdict.FAILED, 1.0, "at batch 1")


def exact(
    limits: OutputTolerance, size: SizeMeasures, data: OutputMeasures, *, delivered: bool = False
) -> list[GateResult]:
    tolerance = {"y": limits}
    gates = judge_outputs(tolerance, [measures()], "cpu")
    return judge_exact_sizes(gates, tolerance, [data], [size], "cpu", delivered=delivered)


def test_the_exact_model_must_be_near_at_every_size_whatever_the_delivered_one_may_lose() -> None:
    (gate,) = exact(OutputTolerance(cosine=0.99), at(1, measures(0.25, 0, 0)), measures())
    assert gate.verdict is Verdict.FAILED
    assert gate.reason == (
        "before quantisation or pruning, at batch 1: atol 0.249 where atol 0.0001, rtol 0.001 is allowed"
    )
    (gate,) = exact(OutputTolerance(cosine=0.99), at(1, measures(1e-5, 0, 0)), measures())
    assert gate.verdict is Verdict.PASSED


def test_the_exact_model_is_not_held_to_more_than_it_keeps_on_the_data() -> None:
    (gate,) = exact(OutputTolerance(cosine=0.99), at(1, measures(0.25, 0, 0)), measures(0.125, 0, 0))
    assert gate.verdict is Verdict.PASSED
    (gate,) = exact(OutputTolerance(atol=0.5), at(1, measures(0.25, 0, 0)), measures())
    assert gate.verdict is Verdict.PASSED  # its own elementwise limit, not the default one


def test_without_any_size_tried_outputs_are_unverified() -> None:
    passed = GateResult(gate="tolerance.y.atol", provider="cpu", limit="", measured=0.0, verdict=Verdict.PASSED)
    (gate,) = unverified_sizes([passed], ["batch"])
    assert (gate.verdict, gate.measured) == (Verdict.UNVERIFIED, None)
    assert gate.reason == "no size of batch was tried but those of the data"


def test_a_delivered_model_that_nothing_made_inexact_must_be_near_too() -> None:
    (gate,) = exact(OutputTolerance(cosine=0.99), at(1, measures(0.25, 0, 0)), measures(), delivered=True)
    assert (gate.gate, gate.verdict) == ("tolerance.y.cosine", Verdict.FAILED)
    assert gate.reason == "at batch 1: atol 0.249 where atol 0.0001, rtol 0.001 is allowed"
    (gate,) = judge_exact_sizes([], {}, [measures()], [at(1, measures(0.25, 0, 0))], "cpu", delivered=True)
    assert (gate.gate, gate.verdict) == ("tolerance.y.shape", Verdict.FAILED)
    (gate,) = exact(OutputTolerance(max_abs=0.5), at(1, measures(0.25, 0, 0)), measures(), delivered=True)
    assert gate.verdict is Verdict.PASSED  # judged against its own limit already
