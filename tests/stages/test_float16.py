"""Float16 overflow: the raw converter's wrong result beside ours, which holds in float32 what float16 cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper
from onnxruntime.transformers.float16 import convert_float_to_float16

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.ort.ranges import measure_peaks
from onnxbuild.ort.session import UNOPTIMIZED, open_session
from onnxbuild.recipe.types import Quantization
from onnxbuild.stages.quantize import QUANTIZE, QuantizeFacts, QuantizeParams
from onnxbuild.stages.stage import Workspace
from tests.stages.models import FLOAT, delivered, floats, model, node, outputs_of, value, weight, workspace

ROWS = floats("x", (2, 8), (5, 8))


def squares(*, last: str = "y") -> onnx.ModelProto:
    """Large squares go through Reshape and Transpose before they are scaled down again, and on another way too."""
    nodes = [
        node("MatMul", ["x", "w"], ["h"], name="fc/MatMul"),
        node("Mul", ["h", "h"], ["s"], name="square/Mul"),
        node("Reshape", ["s", "split"], ["r"], name="heads/Reshape"),
        node("Transpose", ["r"], ["t"], name="heads/Transpose", perm=[0, 2, 1]),
        node("Reshape", ["t", "join"], ["u"], name="join/Reshape"),
        node("Mul", ["u", "small"], ["v"], name="scale/Mul"),
        node("MatMul", ["v", "w2"], ["y"], name="out/MatMul"),
        node("Add", ["s", "s"], ["q"], name="double/Add"),
        node("Mul", ["q", "small"], ["z"], name="rescale/Mul"),
    ]
    shapes = {"split": np.array([-1, 4, 4]), "join": np.array([-1, 16])}
    return model(
        nodes,
        [
            weight("w", 8, 16, scale=300.0),
            weight("w2", 16, 16),
            numpy_helper.from_array(np.float32(1e-6), "small"),
            *(numpy_helper.from_array(array, name) for name, array in shapes.items()),
        ],
        inputs=[value("x", "batch", 8)],
        outputs=[value(last, "batch", 16), value("z", "batch", 16)],
    )


def halve(tmp_path: Path, proto: onnx.ModelProto, **options: bool) -> tuple[QuantizeFacts, Workspace]:
    ws = workspace(tmp_path, proto, ROWS)
    return QUANTIZE.run(QuantizeParams(quantization=Quantization(mode="float16", **options)), ws), ws  # type: ignore[arg-type]


def raw(proto: onnx.ModelProto, block: list[str]) -> list[np.ndarray]:
    """Return the outputs of the converter's own model."""
    copy = onnx.ModelProto.FromString(proto.SerializeToString())
    converted = convert_float_to_float16(copy, keep_io_types=True, node_block_list=block)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(converted.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, ROWS[0]))


def test_the_raw_converter_overflows_behind_a_reshape_and_cannot_block_two_uses() -> None:
    assert not np.isfinite(raw(squares(), [])[0]).all()
    with pytest.raises(Exception, match="two nodes with same node name"):
        raw(squares(), ["square/Mul", "double/Add"])


def test_the_raw_converter_cuts_off_what_blocked_nodes_hand_on(tmp_path: Path) -> None:
    block = ["heads/Reshape", "heads/Transpose", "join/Reshape", "scale/Mul"]
    copy = onnx.ModelProto.FromString(squares().SerializeToString())
    converted = convert_float_to_float16(copy, keep_io_types=True, node_block_list=block)
    onnx.save(converted, tmp_path / "raw.onnx")
    assert not measure_peaks(tmp_path / "raw.onnx", ROWS)["r"].is_finite


def test_what_float16_cannot_hold_stays_in_float32_from_node_to_node(tmp_path: Path) -> None:
    facts, ws = halve(tmp_path, squares())
    held = {"square/Mul", "heads/Reshape", "heads/Transpose", "join/Reshape", "scale/Mul", "double/Add", "rescale/Mul"}
    assert set(facts.held) == held
    assert facts.quantized["MatMul"] == 2
    (warning,) = [w for w in ws.warnings if w.code == "float16-overflow"]
    assert "square/Mul" in warning.message
    peaks = measure_peaks(ws.out / "model" / "model.onnx", ROWS)
    assert all(peak.is_finite for peak in peaks.values())
    for call in ROWS:
        wanted, got = outputs_of(ws.inputs["model"], call), outputs_of(ws.out / "model", call)
        for name, array in wanted.items():
            np.testing.assert_allclose(got[name], array, rtol=2e-2, atol=1e-2)
    casts = [n for n in delivered(ws).graph if n.op_type == "Cast"]
    assert len(casts) <= 6, "no cast there and back between nodes that both stay in float32"


def test_an_output_beyond_the_range_stays_whole_with_keep_io_and_is_refused_without(tmp_path: Path) -> None:
    proto = squares(last="u")
    _, ws = halve(tmp_path / "kept", proto)
    wanted, got = outputs_of(ws.inputs["model"], ROWS[1]), outputs_of(ws.out / "model", ROWS[1])
    assert wanted["u"].max() > 65504
    np.testing.assert_allclose(got["u"], wanted["u"], rtol=1e-2, atol=1e3)
    with pytest.raises(StageFailure) as caught:
        halve(tmp_path / "half", proto, keep_io=False)
    assert caught.value.code == "float16-overflow"
    assert caught.value.hint == "write `keep_io: true`"


def test_an_input_beyond_the_range_is_read_in_float32(tmp_path: Path) -> None:
    proto = model(
        [node("Mul", ["x", "small"], ["h"], name="scale/Mul"), node("MatMul", ["h", "w"], ["y"], name="fc/MatMul")],
        [numpy_helper.from_array(np.float32(1e-6), "small"), weight("w", 8, 4)],
        inputs=[value("x", "batch", 8)],
        outputs=[value("y", "batch", 4)],
    )
    ws = workspace(tmp_path, proto, [{"x": np.full((2, 8), 1e7, np.float32)}])
    facts = QUANTIZE.run(QuantizeParams(quantization=Quantization(mode="float16")), ws)
    assert facts.held == ("scale/Mul",)
    got = outputs_of(ws.out / "model", {"x": np.full((2, 8), 1e7, np.float32)})["y"]
    assert np.isfinite(got).all()


def test_values_that_are_infinite_on_purpose_stay_so(tmp_path: Path) -> None:
    mask = numpy_helper.from_array(np.array([[0, -np.inf, 0, 0]], np.float32), "mask")
    proto = model(
        [
            node("MatMul", ["x", "w"], ["h"], name="fc/MatMul"),
            node("Add", ["h", "mask"], ["m"], name="mask/Add"),
            node("Softmax", ["m"], ["y"], name="soft/Softmax"),
        ],
        [weight("w", 8, 4), mask],
        inputs=[value("x", "batch", 8)],
        outputs=[value("y", "batch", 4)],
    )
    facts, ws = halve(tmp_path, proto)
    assert facts.held == ()
    assert (outputs_of(ws.out / "model", ROWS[0])["y"][:, 1] == 0).all()


def test_what_overflows_into_a_branch_is_refused_by_name(tmp_path: Path) -> None:
    branch = helper.make_graph(
        [node("Mul", ["s", "small"], ["inner"], name="then/Mul")], "then", [], [value("inner", "batch", 8)]
    )
    other = helper.make_graph([node("Identity", ["x"], ["o"], name="else/Id")], "else", [], [value("o", "batch", 8)])
    proto = model(
        [
            node("Mul", ["x", "big"], ["s"], name="grow/Mul"),
            node("If", ["flag"], ["y"], name="choose/If", then_branch=branch, else_branch=other),
        ],
        [
            numpy_helper.from_array(np.float32(1e6), "big"),
            numpy_helper.from_array(np.float32(1e-6), "small"),
            numpy_helper.from_array(np.array(True), "flag"),
        ],
        inputs=[value("x", "batch", 8)],
        outputs=[value("y", "batch", 8, dtype=FLOAT)],
    )
    with pytest.raises(StageFailure) as caught:
        halve(tmp_path, proto)
    assert (caught.value.code, caught.value.node) == ("float16-overflow", "choose/If")


def test_the_delivered_model_loads(tmp_path: Path) -> None:
    _, ws = halve(tmp_path, squares())
    open_session(ws.out / "model" / "model.onnx", UNOPTIMIZED)
