"""The ladder: each raw tool's crash or invalid graph asserted beside what is delivered with `repair: true`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_dynamic, quantize_static

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.recipe.types import Quantization
from onnxbuild.stages.mending import find_culprits
from onnxbuild.stages.quantize import QUANTIZE, QuantizeFacts, QuantizeParams
from onnxbuild.stages.stage import Workspace
from tests.stages.models import (
    cnn,
    floats,
    mlp,
    model,
    node,
    outputs_of,
    value,
    weight,
    workspace,
)

ROWS = floats("x", (1, 8), (5, 8))
IMAGES = floats("image", (1, 1, 8, 8), (3, 1, 8, 8))


class Reader(CalibrationDataReader):
    def __init__(self, calls: list[dict[str, np.ndarray]]) -> None:
        self.left = iter(calls)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.left, None)


def mend(
    tmp_path: Path, proto: onnx.ModelProto, calls: list[dict[str, np.ndarray]], *, free: bool = False, **options: object
) -> tuple[QuantizeFacts, Workspace]:
    ws = workspace(tmp_path, proto, calls)
    wanted = Quantization(**options)  # type: ignore[arg-type]
    return QUANTIZE.run(QuantizeParams(quantization=wanted, mends=True, is_opset_free=free), ws), ws


def refused(
    tmp_path: Path, proto: onnx.ModelProto, calls: list[dict[str, np.ndarray]], **options: object
) -> StageFailure:
    ws = workspace(tmp_path, proto, calls)
    with pytest.raises(StageFailure) as caught:
        QUANTIZE.run(QuantizeParams(quantization=Quantization(**options)), ws)  # type: ignore[arg-type]
    return caught.value


def raw_static(tmp_path: Path, proto: onnx.ModelProto, calls: list[dict[str, np.ndarray]], **options: object) -> Path:
    onnx.save(proto, tmp_path / "raw.onnx")
    quantize_static(tmp_path / "raw.onnx", tmp_path / "raw-int8.onnx", Reader(calls), **options)
    return tmp_path / "raw-int8.onnx"


def narrow_bias() -> onnx.ModelProto:
    """A Gemm whose bias is one number for all channels."""
    return model(
        [node("Gemm", ["x", "w", "b"], ["h"], name="fc/Gemm"), node("MatMul", ["h", "w2"], ["y"], name="out/MatMul")],
        [weight("w", 8, 6), weight("b", 1), weight("w2", 6, 4)],
        inputs=[value("x", "batch", 8)],
        outputs=[value("y", "batch", 4)],
    )


def test_per_channel_that_crashes_gives_way_to_per_tensor(tmp_path: Path) -> None:
    with pytest.raises(IndexError):
        raw_static(tmp_path, narrow_bias(), ROWS, per_channel=True)
    failure = refused(tmp_path / "plain", narrow_bias(), ROWS, mode="static", per_channel=True)
    assert (failure.code, "IndexError" in failure.message) == ("tool-failed", True)
    facts, ws = mend(tmp_path / "mended", narrow_bias(), ROWS, mode="static", per_channel=True)
    assert [rung.kind for rung in facts.tried] == ["per_channel"]
    assert facts.quantized == {"Gemm": 1, "MatMul": 1}
    (warning,) = ws.warnings
    assert warning.code == "mended"
    assert "IndexError" in warning.message


def test_per_channel_below_opset_13_upgrades_what_nobody_pinned(tmp_path: Path) -> None:
    path = raw_static(tmp_path, mlp(opset=12), ROWS, per_channel=True, quant_format=QuantFormat.QDQ)
    with pytest.raises(Exception, match="axis"):
        ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert refused(tmp_path / "plain", mlp(opset=12), ROWS, mode="static", per_channel=True).code == "opset-too-low"
    facts, ws = mend(tmp_path / "free", mlp(opset=12), ROWS, free=True, mode="static", per_channel=True)
    assert [rung.kind for rung in facts.tried] == ["opset"]
    assert facts.model.opsets[""] == 13
    assert facts.quantized == {"Gemm": 2}
    wanted, got = outputs_of(ws.inputs["model"], ROWS[1]), outputs_of(ws.out / "model", ROWS[1])
    np.testing.assert_allclose(got["y"], wanted["y"], atol=0.2)


def test_an_opset_that_was_asked_for_is_never_changed(tmp_path: Path) -> None:
    facts, _ = mend(tmp_path, mlp(opset=12), ROWS, mode="static", per_channel=True)
    assert [rung.kind for rung in facts.tried] == ["per_channel"]
    assert facts.model.opsets[""] == 12


def test_dynamic_at_a_pinned_opset_10_is_refused_as_without_repair(tmp_path: Path) -> None:
    ws = workspace(tmp_path, mlp(opset=10), ROWS)
    with pytest.raises(StageFailure) as caught:
        QUANTIZE.run(QuantizeParams(quantization=Quantization(mode="dynamic"), mends=True), ws)
    assert caught.value.code == "opset-too-low"
    assert caught.value.hint == "set `opset: 11` or above"


def half_quantized(tmp_path: Path) -> onnx.ModelProto:
    """A CNN whose first convolution was quantised before."""
    proto = cnn()
    path = raw_static(tmp_path, proto, IMAGES, nodes_to_quantize=["conv1/Conv"], op_types_to_quantize=["Conv"])
    return onnx.load(path)


@pytest.mark.parametrize("mode", ["dynamic", "static"])
def test_an_already_quantized_input_keeps_what_it_has_and_the_rest_is_quantized(tmp_path: Path, mode: str) -> None:
    proto = half_quantized(tmp_path)
    onnx.save(proto, tmp_path / "half.onnx")
    with pytest.raises(ValueError, match="to be an initializer"):
        quantize_dynamic(tmp_path / "half.onnx", tmp_path / "half-int8.onnx")
    with pytest.raises(AttributeError):
        raw_static(tmp_path, proto, IMAGES, quant_format=QuantFormat.QOperator)
    assert refused(tmp_path / "plain", proto, IMAGES, mode=mode).code == "already-quantized"
    facts, ws = mend(tmp_path / "mended", proto, IMAGES, mode=mode, format="qoperator")
    assert [rung.kind for rung in facts.tried] == ["quantized"]
    assert facts.quantized["Conv"] == 2
    assert facts.quantized["MatMul"] == 1
    wanted, got = outputs_of(ws.inputs["model"], IMAGES[1]), outputs_of(ws.out / "model", IMAGES[1])
    np.testing.assert_allclose(got["logits"], wanted["logits"], atol=0.5)


def broken_layer() -> onnx.ModelProto:
    """Five MatMuls of which one has weights that are NaN, on a branch that is thrown away; tools fail on it alone."""
    names = [f"l{i}" for i in range(5)]
    nodes = [
        node("MatMul", ["x" if i == 0 else f"h{i - 1}", f"{name}.w"], [f"h{i}"], name=f"{name}/MatMul")
        for i, name in enumerate(names)
    ]
    nodes.append(node("MatMul", ["h2", "odd.w"], ["side"], name="odd/MatMul"))
    nodes.append(node("Identity", ["h4"], ["y"], name="y/Identity"))
    odd = numpy_helper.from_array(np.full((8, 8), np.nan, np.float32), "odd.w")
    return model(
        nodes,
        [*(weight(f"{name}.w", 8, 8) for name in names), odd],
        inputs=[value("x", "batch", 8)],
        outputs=[value("y", "batch", 8), value("side", "batch", 8)],
    )


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_node_that_a_tool_crashes_on_is_found_and_left_in_float(tmp_path: Path) -> None:
    onnx.save(broken_layer(), tmp_path / "raw.onnx")
    with pytest.raises(AssertionError, match="scale issue"):
        quantize_dynamic(tmp_path / "raw.onnx", tmp_path / "raw-int8.onnx")
    assert refused(tmp_path / "plain", broken_layer(), ROWS, mode="dynamic").code == "tool-failed"
    facts, ws = mend(tmp_path / "mended", broken_layer(), ROWS, mode="dynamic")
    assert [rung.kind for rung in facts.tried] == ["nodes"]
    assert facts.excluded == ("odd/MatMul",)
    assert facts.quantized["MatMul"] == 5
    assert "odd/MatMul" in ws.warnings[0].message


def computed_bias() -> onnx.ModelProto:
    """Two convolutions, the second with a bias that the graph computes."""
    return model(
        [
            node("Conv", ["image", "w1"], ["h"], name="one/Conv"),
            node("ReduceMean", ["h", "axes"], ["bias"], name="mean/ReduceMean", keepdims=0),
            node("Conv", ["h", "w2", "bias"], ["y"], name="two/Conv"),
        ],
        [weight("w1", 4, 1, 3, 3), weight("w2", 4, 4, 3, 3), numpy_helper.from_array(np.array([0, 2, 3]), "axes")],
        inputs=[value("image", "batch", 1, 8, 8)],
        outputs=[value("y", "batch", 4, 4, 4)],
    )


def test_an_operator_that_static_quantisation_crashes_on_stays_in_float(tmp_path: Path) -> None:
    with pytest.raises(AttributeError):
        raw_static(tmp_path, computed_bias(), IMAGES, quant_format=QuantFormat.QOperator)
    facts, _ = mend(tmp_path / "mended", computed_bias(), IMAGES, mode="static", format="qoperator", per_channel=True)
    assert [rung.kind for rung in facts.tried] == ["nodes"], "per channel has nothing to do with it"
    assert facts.excluded == ("two/Conv",)
    assert facts.quantized == {"Conv": 1}


def test_what_fails_whatever_is_left_out_stays_a_failure(tmp_path: Path) -> None:
    proto = model(
        [node("Gather", ["table", "ids"], ["y"], name="emb/Gather")],
        [weight("table", 4, 8)],
        inputs=[value("ids", "batch", dtype=onnx.TensorProto.INT64)],
        outputs=[value("y", "batch", 8)],
    )
    ws = workspace(tmp_path, proto, [{"ids": np.array([9], np.int64)}])
    with pytest.raises(StageFailure) as caught:
        QUANTIZE.run(QuantizeParams(quantization=Quantization(mode="static"), mends=True), ws)
    assert caught.value.code == "tool-failed"
    assert caught.value.node == "emb/Gather"


def test_a_model_that_needs_no_mending_is_the_same_with_repair(tmp_path: Path) -> None:
    facts, ws = mend(tmp_path / "a", mlp(), ROWS, mode="static")
    plain = workspace(tmp_path / "b", mlp(), ROWS)
    QUANTIZE.run(QuantizeParams(quantization=Quantization(mode="static")), plain)
    assert facts.tried == ()
    assert (ws.out / "model/model.onnx").read_bytes() == (plain.out / "model/model.onnx").read_bytes()


def test_a_mended_result_does_not_stand_for_a_recipe_without_repair(tmp_path: Path) -> None:
    facts, _ = mend(tmp_path, mlp(opset=12), ROWS, free=True, mode="static", per_channel=True)
    wanted = Quantization(mode="static", per_channel=True)
    assert QUANTIZE.holds(QuantizeParams(quantization=wanted, mends=True, is_opset_free=True), facts)
    assert not QUANTIZE.holds(QuantizeParams(quantization=wanted, mends=True), facts)
    assert not QUANTIZE.holds(QuantizeParams(quantization=wanted), facts)


@pytest.mark.parametrize("bad", [set(), {"c"}, {"a", "h"}, {"b", "c", "d"}])
def test_culprits_are_found_by_halving(bad: set[str]) -> None:
    calls: list[frozenset[str]] = []

    def works(some: frozenset[str]) -> bool:
        calls.append(some)
        return not (some & bad)

    assert set(find_culprits("abcdefgh", works, 64)) == bad
    assert len(calls) <= 2 * 8


def test_what_fails_only_together_and_what_is_not_told_apart_in_time_is_all_returned() -> None:
    assert find_culprits("abcd", lambda some: not {"a", "d"} <= some, 64) == list("abcd")
    assert find_culprits("abcdefgh", lambda some: "c" not in some, 3) == list("cdefgh")
