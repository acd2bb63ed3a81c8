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


def raw(proto: onnx.ModelProto, block: list[str], *, plainly: bool = False) -> list[np.ndarray]:
    """Return the outputs of the converter's own model; `plainly` without the runtime's fusions, which hide overflow."""
    copy = onnx.ModelProto.FromString(proto.SerializeToString())
    converted = convert_float_to_float16(copy, keep_io_types=True, node_block_list=block)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    if plainly:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
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


def into_a_branch(*, flag: onnx.ValueInfoProto | None = None, op: str = "Mul") -> onnx.ModelProto:
    """What one branch scales down was scaled up before it, the other has a MatMul; without `flag` it is the first."""
    branch = helper.make_graph(
        [
            node("Transpose", ["s"], ["t"], name="then/Turn"),
            node(op, ["t", "small"], ["d"], name="then/Down"),
            node("Transpose", ["d"], ["inner"], name="then/Back"),
        ],
        "then",
        [],
        [value("inner", "batch", 8)],
    )
    other = helper.make_graph(
        [node("MatMul", ["x", "w"], ["o"], name="else/MatMul")], "else", [], [value("o", "batch", 8)]
    )
    return model(
        [
            node("Mul", ["x", "big"], ["s"], name="grow/Mul"),
            node("If", ["flag"], ["i"], name="choose/If", then_branch=branch, else_branch=other),
            node("MatMul", ["i", "w"], ["y"], name="fc/MatMul"),
        ],
        [
            numpy_helper.from_array(np.float32(1e6), "big"),
            numpy_helper.from_array(np.float32(1e-6), "small"),
            weight("w", 8, 8),
            *([] if flag else [numpy_helper.from_array(np.array(True), "flag")]),
        ],
        inputs=[value("x", "batch", 8), *([flag] if flag else [])],
        outputs=[value("y", "batch", 8, dtype=FLOAT)],
    )


FLAG = value("flag", dtype=onnx.TensorProto.BOOL)


def check_close(ws: Workspace, calls: list[dict[str, np.ndarray]]) -> None:
    for call in calls:
        wanted, got = outputs_of(ws.inputs["model"], call), outputs_of(ws.out / "model", call)
        for name, array in wanted.items():
            np.testing.assert_allclose(got[name], array, rtol=2e-2, atol=2e-2)


def test_the_raw_converter_overflows_into_a_branch_and_cannot_block_in_it() -> None:
    proto = into_a_branch()
    assert not np.isfinite(raw(proto, [], plainly=True)[0]).all()
    with pytest.raises(Exception, match="is not a graph input"):
        raw(proto, ["grow/Mul", "then/Turn", "then/Down"])


def test_what_overflows_into_a_branch_stays_in_float32_there(tmp_path: Path) -> None:
    calls = [{**call, "flag": np.array(flag)} for call in ROWS for flag in (True, False)]
    ws = workspace(tmp_path, into_a_branch(flag=FLAG), calls)
    facts = QUANTIZE.run(QuantizeParams(quantization=Quantization(mode="float16")), ws)
    assert set(facts.held) == {"grow/Mul", "then/Turn", "then/Down"}
    assert facts.quantized["MatMul"] == 2, "the other branch and what follows are converted"
    check_close(ws, calls)
    (warning,) = ws.warnings
    assert "tensor 's' reaches" in warning.message
    tensors = [v.const_value for g in delivered(ws).graphs() for v in g.initializers.values() if v.const_value]
    assert [t.dtype.name for t in tensors if len(t.shape) == 2] == ["FLOAT16"], "the weight is one tensor still"


def growing_loop(limit: float) -> onnx.ModelProto:
    """Three times h = down(up(h @ w)): only inside the body values are as large as `limit`."""
    body = helper.make_graph(
        [
            node("MatMul", ["state", "w"], ["p"], name="body/MatMul"),
            node("Mul", ["p", "big"], ["up"], name="body/Up"),
            node("Reshape", ["up", "split"], ["heads"], name="body/Split"),
            node("Transpose", ["heads"], ["turned"], name="body/Turn", perm=[0, 2, 1]),
            node("Reshape", ["turned", "join"], ["joined"], name="body/Join"),
            node("Mul", ["joined", "small"], ["next"], name="body/Down"),
            node("Identity", ["cond"], ["go"], name="body/Go"),
        ],
        "body",
        [value("n", dtype=onnx.TensorProto.INT64), value("cond", dtype=onnx.TensorProto.BOOL),
         helper.make_tensor_value_info("state", FLOAT, None)],
        [value("go", dtype=onnx.TensorProto.BOOL), helper.make_tensor_value_info("next", FLOAT, None)],
    )  # fmt: skip
    return model(
        [node("Loop", ["times", "", "x"], ["h"], name="loop/Loop", body=body),
         node("MatMul", ["h", "w"], ["y"], name="fc/MatMul")],
        [
            weight("w", 8, 8),
            numpy_helper.from_array(np.array(3), "times"),
            numpy_helper.from_array(np.array([-1, 4, 2]), "split"),
            numpy_helper.from_array(np.array([-1, 8]), "join"),
            numpy_helper.from_array(np.float32(limit), "big"),
            numpy_helper.from_array(np.float32(1 / limit), "small"),
        ],
        inputs=[value("x", "batch", 8)],
        outputs=[value("y", "batch", 8)],
    )  # fmt: skip


def test_what_overflows_only_inside_a_loop_is_seen_and_held_there(tmp_path: Path) -> None:
    assert not np.isfinite(raw(growing_loop(60_000.0), [], plainly=True)[0]).all()
    facts, ws = halve(tmp_path / "large", growing_loop(60_000.0))
    assert set(facts.held) == {"body/Up", "body/Split", "body/Turn", "body/Join", "body/Down"}
    assert facts.quantized["MatMul"] == 2
    check_close(ws, ROWS)
    facts, ws = halve(tmp_path / "small", growing_loop(2.0))
    assert facts.held == ()
    check_close(ws, ROWS)
    casts = [n for g in delivered(ws).graphs() if g is not delivered(ws).graph for n in g if n.op_type == "Cast"]
    assert len(casts) <= 2, "a body without such values is converted with the rest, its state stays float16"


def test_what_overflows_in_a_branch_of_a_loop_is_held_two_levels_deep(tmp_path: Path) -> None:
    proto = growing_loop(60_000.0)
    body = proto.graph.node[0].attribute[0].g
    inner = [n for n in body.node if n.name not in ("body/MatMul", "body/Go")]
    inner[-1].output[0] = "inner"
    then = helper.make_graph(inner, "then", [], [helper.make_tensor_value_info("inner", FLOAT, None)])
    other = helper.make_graph(
        [node("MatMul", ["p", "w"], ["o"], name="else/MatMul")],
        "else",
        [],
        [helper.make_tensor_value_info("o", FLOAT, None)],
    )
    kept = [n for n in body.node if n.name in ("body/MatMul", "body/Go")]
    choice = [
        node("Mod", ["n", "two"], ["rest"], name="body/Mod"),
        node("Cast", ["rest"], ["is_odd"], name="body/Cast", to=onnx.TensorProto.BOOL),
        node("If", ["is_odd"], ["next"], name="body/If", then_branch=then, else_branch=other),
    ]
    kept = [*map(onnx.NodeProto.FromString, [n.SerializeToString() for n in kept])]
    del body.node[:]
    body.node.extend([*kept, *choice])
    proto.graph.initializer.append(numpy_helper.from_array(np.array(2), "two"))
    assert not np.isfinite(raw(proto, [], plainly=True)[0]).all()
    facts, ws = halve(tmp_path, proto)
    assert set(facts.held) == {"body/Up", "body/Split", "body/Turn", "body/Join", "body/Down"}
    assert facts.quantized["MatMul"] == 3
    check_close(ws, ROWS)


def test_an_operator_that_must_be_cast_around_may_lie_in_a_branch(tmp_path: Path) -> None:
    proto = into_a_branch(op="Max")
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.float32(2), "big"))
    with pytest.raises(Exception, match="Node input 't' is not a graph input"):
        raw(proto, [])
    facts, ws = halve(tmp_path, proto)
    assert facts.held == ()
    check_close(ws, ROWS)


def test_a_branch_that_no_data_goes_through_is_said(tmp_path: Path) -> None:
    calls = [{**call, "flag": np.array(True)} for call in ROWS]
    ws = workspace(tmp_path, into_a_branch(flag=FLAG), calls)
    QUANTIZE.run(QuantizeParams(quantization=Quantization(mode="float16")), ws)
    (warning,) = [w for w in ws.warnings if w.code == "float16-unscanned"]
    assert "choose/If/else_branch" in warning.message


def test_a_branch_that_a_sequence_goes_into_is_converted_though_it_cannot_be_scanned(tmp_path: Path) -> None:
    then = helper.make_graph(
        [
            node("SequenceAt", ["seq", "zero"], ["a"], name="then/At"),
            node("MatMul", ["a", "w"], ["t"], name="then/MatMul"),
        ],
        "then",
        [],
        [value("t", "batch", 8)],
    )
    other = helper.make_graph(
        [node("MatMul", ["x", "w"], ["o"], name="else/MatMul")], "else", [], [value("o", "batch", 8)]
    )
    proto = model(
        [
            node("SequenceConstruct", ["x", "x"], ["seq"], name="seq"),
            node("If", ["flag"], ["y"], name="if", then_branch=then, else_branch=other),
        ],
        [weight("w", 8, 8), numpy_helper.from_array(np.array(0), "zero")],
        inputs=[value("x", "batch", 8), FLAG],
        outputs=[value("y", "batch", 8)],
    )
    calls = [{**call, "flag": np.array(flag)} for call in ROWS for flag in (True, False)]
    ws = workspace(tmp_path, proto, calls)
    facts = QUANTIZE.run(QuantizeParams(quantization=Quantization(mode="float16")), ws)
    assert facts.quantized["MatMul"] == 2
    check_close(ws, calls)
    assert [w.code for w in ws.warnings] == ["float16-unscanned"]


def test_the_delivered_model_loads(tmp_path: Path) -> None:
    _, ws = halve(tmp_path, squares())
    open_session(ws.out / "model" / "model.onnx", UNOPTIMIZED)
