"""Quantize: every mode and option on real graphs, asserted on the nodes and tensors of the file delivered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.recipe.types import Quantization, TransformersPass
from onnxbuild.stages.optimize import OPTIMIZE, OptimizeParams
from onnxbuild.stages.quantize import QUANTIZE, QuantizeFacts, QuantizeParams
from onnxbuild.stages.stage import Workspace
from tests.stages.models import (
    FLOAT,
    cnn,
    constant,
    delivered,
    floats,
    gelu_block,
    mlp,
    model,
    node,
    operators,
    outputs_of,
    printed_by_two_processes,
    tensor,
    value,
    weight,
    workspace,
)

IMAGES = floats("image", (1, 1, 8, 8), (3, 1, 8, 8), (3, 1, 8, 8))
ROWS = floats("x", (1, 8), (5, 8))


def quantize(
    tmp_path: Path, proto: onnx.ModelProto, calls: list[dict[str, np.ndarray]], **options: Any
) -> tuple[QuantizeFacts, Workspace]:
    ws = workspace(tmp_path, proto, calls)
    return QUANTIZE.run(QuantizeParams(quantization=Quantization(**options)), ws), ws


def sqnr(ws: Workspace, call: dict[str, np.ndarray]) -> float:
    """Return how far the delivered model's first output is from the input model's, in dB."""
    (before,), (after,) = (list(outputs_of(f, call).values())[:1] for f in (ws.inputs["model"], ws.out / "model"))
    noise = float(((after - before) ** 2).sum())
    return float("inf") if noise == 0 else 10 * float(np.log10((before**2).sum() / noise))


def interface(graph: ir.Model) -> list[tuple[str | None, str, str]]:
    return [(v.name, str(v.dtype), str(v.shape)) for v in (*graph.graph.inputs, *graph.graph.outputs)]


def named(graph: ir.Model, name: str) -> ir.Node:
    return next(n for n in ir.traversal.RecursiveGraphIterator(graph.graph) if n.name == name)


def dtypes(graph: ir.Model) -> set[str]:
    return {v.const_value.dtype.name for v in graph.graph.initializers.values() if v.const_value is not None}


@pytest.mark.parametrize("weights", ["int8", "uint8"])
def test_dynamic_computes_with_integers(tmp_path: Path, weights: str) -> None:
    facts, ws = quantize(tmp_path, mlp(), ROWS, mode="dynamic", weights=weights)
    graph = delivered(ws)
    assert operators(graph).count("MatMulInteger") == 2
    assert facts.changed
    assert facts.quantized == {"MatMul": 2}
    assert facts.kept == {}
    assert weights.upper() in dtypes(graph)
    assert sqnr(ws, ROWS[1]) > 25
    assert interface(graph) == [("x", "FLOAT", "[batch,8]"), ("y", "FLOAT", "[batch,4]")]
    assert graph.opset_imports[""] == 20
    assert ws.warnings == []


def test_dynamic_quantizes_convolutions(tmp_path: Path) -> None:
    facts, ws = quantize(tmp_path, cnn(), IMAGES, mode="dynamic")
    assert facts.quantized == {"Conv": 2, "MatMul": 1}
    assert operators(delivered(ws)).count("ConvInteger") == 2
    assert delivered(ws).metadata_props == {"team": "kiosk"}


def test_dynamic_of_chosen_operator_types(tmp_path: Path) -> None:
    facts, ws = quantize(tmp_path, cnn(), IMAGES, mode="dynamic", op_types=("MatMul",))
    assert facts.quantized == {"MatMul": 1}
    assert facts.kept == {"Conv": 2}
    assert "ConvInteger" not in operators(delivered(ws))


def test_dynamic_gemm_alone_leaves_matmul(tmp_path: Path) -> None:
    proto = model(
        [
            node("MatMul", ["x", "w"], ["h"], name="a/MatMul"),
            node("Gemm", ["h", "v", "c"], ["y"], name="b/Gemm"),
        ],
        [weight("w", 8, 8), weight("v", 8, 4), weight("c", 4)],
        inputs=[value("x", "batch", 8)],
        outputs=[value("y", "batch", 4)],
    )
    facts, ws = quantize(tmp_path, proto, ROWS, mode="dynamic", op_types=("Gemm",))
    assert facts.quantized == {"MatMul": 1}
    assert named(delivered(ws), "a/MatMul").op_type == "MatMul"


@pytest.mark.parametrize("mode", ["dynamic", "static", "int4"])
def test_excluded_layers_stay_in_float(tmp_path: Path, mode: str) -> None:
    facts, ws = quantize(tmp_path, mlp(), ROWS, mode=mode, exclude=("fc2",), block_size=16)
    graph = delivered(ws)
    assert facts.excluded == ("fc2/Gemm",)
    assert sum(facts.quantized.get(name, 0) for name in ("Gemm", "MatMul")) == 1
    kept = named(graph, "fc2/Gemm")
    assert kept.op_type in ("Gemm", "MatMul")
    operand = kept.inputs[1]
    assert operand is not None
    assert operand.const_value is not None
    assert operand.const_value.dtype == ir.DataType.FLOAT


@pytest.mark.parametrize("pattern", ["conv1", "conv1/Conv", "*v1"])
def test_exclude_by_module_path_or_node_name(tmp_path: Path, pattern: str) -> None:
    ws = workspace(tmp_path, cnn(), IMAGES)
    facts = QUANTIZE.run(QuantizeParams(quantization=Quantization(mode="static", exclude=(pattern,))), ws)
    assert facts.excluded == ("conv1/Conv",)
    assert facts.kept == {"Conv": 1}


def test_a_pattern_that_matches_nothing_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(StageFailure, match="'fc9' matches none") as caught:
        quantize(tmp_path, mlp(), ROWS, mode="dynamic", exclude=("fc9",))
    assert caught.value.code == "pattern-matches-nothing"
    assert caught.value.hint is not None


def test_an_unknown_operator_type_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(StageFailure, match="'Convolution'") as caught:
        quantize(tmp_path, cnn(), IMAGES, mode="static", op_types=("Convolution",))
    assert caught.value.code == "unknown-op-type"


@pytest.mark.parametrize("calibrate", ["minmax", "entropy", "percentile", "distribution"])
def test_static_qdq_with_every_calibration(tmp_path: Path, calibrate: str) -> None:
    facts, ws = quantize(tmp_path, cnn(), IMAGES, mode="static", calibrate=calibrate)
    graph = delivered(ws)
    for name in ("conv1/Conv", "conv2/Conv", "fc/MatMul"):
        for operand in named(graph, name).inputs[:2]:
            assert operand is not None
            producer = operand.producer()
            assert producer is not None
            assert producer.op_type == "DequantizeLinear"
    assert {"INT8", "UINT8", "INT32"} <= dtypes(graph)
    assert facts.quantized["Conv"] == 2
    assert facts.quantized["MatMul"] == 1
    assert "Conv" not in facts.kept
    assert sqnr(ws, IMAGES[1]) > 12
    assert interface(graph) == [("image", "FLOAT", "[batch,1,8,8]"), ("logits", "FLOAT", "[batch,10]")]


def test_static_qoperator(tmp_path: Path) -> None:
    facts, ws = quantize(tmp_path, cnn(), IMAGES, mode="static", format="qoperator")
    assert operators(delivered(ws)).count("QLinearConv") == 2
    assert operators(delivered(ws)).count("QLinearMatMul") == 1
    assert facts.quantized["Conv"] == 2
    assert sqnr(ws, IMAGES[1]) > 12


def test_static_activations_int8(tmp_path: Path) -> None:
    _, ws = quantize(tmp_path, cnn(), IMAGES, mode="static", activations="int8")
    assert "UINT8" not in dtypes(delivered(ws))
    with pytest.raises(StageFailure) as caught:
        quantize(tmp_path / "x", cnn(), IMAGES, mode="static", activations="int8", weights="uint8")
    assert caught.value.code == "types-not-supported"


def test_static_per_channel_has_a_scale_for_every_channel(tmp_path: Path) -> None:
    _, ws = quantize(tmp_path / "a", cnn(), IMAGES, mode="static", per_channel=True, op_types=("Conv",))
    assert tensor(delivered(ws), "conv2.weight_scale").shape == (16,)
    _, ws = quantize(tmp_path / "b", cnn(), IMAGES, mode="static", op_types=("Conv",))
    assert tensor(delivered(ws), "conv2.weight_scale").shape == ()


def test_per_channel_needs_opset_13(tmp_path: Path) -> None:
    with pytest.raises(StageFailure, match="needs opset 13; the model has 12") as caught:
        quantize(tmp_path / "a", mlp(opset=12), ROWS, mode="static", per_channel=True)
    assert caught.value.code == "opset-too-low"
    facts, _ = quantize(tmp_path / "b", mlp(opset=12), ROWS, mode="static")
    assert facts.model.opsets[""] == 12
    with pytest.raises(StageFailure, match="needs opset 11"):
        quantize(tmp_path / "c", mlp(opset=10), ROWS, mode="dynamic")


def test_the_calibration_data_decides(tmp_path: Path) -> None:
    _, ws = quantize(tmp_path / "a", mlp(), ROWS, mode="static")
    wide = [{"x": call["x"] * 100} for call in ROWS]
    _, other = quantize(tmp_path / "b", mlp(), wide, mode="static")
    ratio = tensor(delivered(other), "x_scale") / tensor(delivered(ws), "x_scale")
    np.testing.assert_allclose(ratio, 100, rtol=1e-4)


def test_all_calls_count_however_they_are_grouped(tmp_path: Path) -> None:
    calls = [{"x": np.full((1 + i % 2, 8), float(i), np.float32)} for i in range(1, 100)]
    _, ws = quantize(tmp_path, mlp(), calls, mode="static")
    np.testing.assert_allclose(tensor(delivered(ws), "x_scale"), 99 / 255, rtol=1e-5)


def test_histograms_of_tensors_whose_shape_depends_on_the_data(tmp_path: Path) -> None:
    proto = model(
        [
            node("NonZero", ["x"], ["at"], name="nz"),
            node("Transpose", ["at"], ["rows"], name="t", perm=[1, 0]),
            node("GatherND", ["x", "rows"], ["picked"], name="pick"),
            node("Unsqueeze", ["picked", "axis"], ["column"], name="column"),
            node("MatMul", ["column", "w"], ["y"], name="fc/MatMul"),
        ],
        [numpy_helper.from_array(np.array([1]), "axis"), weight("w", 1, 4)],
        inputs=[value("x", "batch", 8)],
        outputs=[value("y", "n", 4)],
    )
    calls = [{"x": np.maximum(call["x"], 0)} for call in floats("x", (2, 8), (2, 8), (2, 8))]
    facts, _ = quantize(tmp_path, proto, calls, mode="static", calibrate="percentile")
    assert facts.quantized["MatMul"] == 1


def test_float16_keeps_the_interface(tmp_path: Path) -> None:
    facts, ws = quantize(tmp_path, cnn(), IMAGES, mode="float16")
    graph = delivered(ws)
    assert dtypes(graph) == {"FLOAT16"}
    assert facts.quantized["Conv"] == 2
    assert operators(graph).count("Cast") == 2
    assert interface(graph) == [("image", "FLOAT", "[batch,1,8,8]"), ("logits", "FLOAT", "[batch,10]")]
    assert 40 < sqnr(ws, IMAGES[1]) < 90


def test_float16_may_change_the_interface(tmp_path: Path) -> None:
    _, ws = quantize(tmp_path, cnn(), IMAGES, mode="float16", keep_io=False, exclude=("conv2",))
    graph = delivered(ws)
    assert [v.dtype for v in (*graph.graph.inputs, *graph.graph.outputs)] == [ir.DataType.FLOAT16] * 2
    assert dtypes(graph) == {"FLOAT16", "FLOAT"}
    assert tensor(graph, "conv2.weight").dtype == np.float32


def test_float16_warns_of_weights_beyond_its_range(tmp_path: Path) -> None:
    proto = mlp()
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.full(16, 1e6, np.float32), "fc1.bias"))
    facts, ws = quantize(tmp_path, proto, ROWS, mode="float16")
    assert [(w.code, "fc1.bias" in w.message) for w in ws.warnings] == [
        ("float16-overflow", True),
        ("no-effect", False),
    ]
    assert not facts.changed, "everything behind the bias is as large"


@pytest.mark.parametrize("symmetric", [True, False])
def test_int4_packs_weights_in_blocks(tmp_path: Path, symmetric: bool) -> None:
    proto = model(
        [
            node("MatMul", ["x", "w"], ["h"], name="a/MatMul"),
            node("Gemm", ["h", "v", "c"], ["y"], name="b/Gemm", transB=1),
        ],
        [weight("w", 64, 32), weight("v", 8, 32), weight("c", 8)],
        inputs=[value("x", "batch", 64)],
        outputs=[value("y", "batch", 8)],
    )
    calls = floats("x", (4, 64))
    facts, ws = quantize(tmp_path, proto, calls, mode="int4", block_size=32, symmetric=symmetric)
    graph = delivered(ws)
    nodes = [n for n in graph.graph if n.op_type == "MatMulNBits"]
    assert [(n.domain, n.attributes["bits"].as_int(), n.attributes["block_size"].as_int()) for n in nodes] == [
        ("com.microsoft", 4, 32)
    ] * 2
    assert [len(n.inputs) for n in nodes] == [3 if symmetric else 4] * 2
    packed = nodes[0].inputs[1]
    assert packed is not None
    assert packed.const_value is not None
    assert packed.const_value.nbytes == 64 * 32 // 2
    assert facts.quantized == {"MatMul": 2}
    assert graph.opset_imports == {"": 20, "com.microsoft": 1}
    assert sqnr(ws, calls[0]) > 12


def test_int4_refuses_a_block_size_that_no_kernel_takes(tmp_path: Path) -> None:
    with pytest.raises(StageFailure) as caught:
        quantize(tmp_path, mlp(), ROWS, mode="int4", block_size=24)
    assert caught.value.code == "block-size"


def branches() -> onnx.ModelProto:
    """An If whose branches hold a MatMul each, one with its weight in a Constant node, one with the outer scope's."""
    then = helper.make_graph(
        [constant("wt", 8, 4), node("MatMul", ["x", "wt"], ["t"], name="then/MatMul")],
        "then",
        [],
        [helper.make_tensor_value_info("t", FLOAT, None)],
    )
    other = helper.make_graph(
        [node("MatMul", ["x", "we"], ["e"], name="else/MatMul")],
        "else",
        [],
        [helper.make_tensor_value_info("e", FLOAT, None)],
    )
    return model(
        [node("If", ["flag"], ["y"], name="if", then_branch=then, else_branch=other)],
        [weight("we", 8, 4)],
        inputs=[value("x", "batch", 8), value("flag", dtype=onnx.TensorProto.BOOL)],
        outputs=[value("y", "batch", 4)],
    )


@pytest.mark.parametrize(
    ("mode", "operator"), [("dynamic", "MatMulInteger"), ("int4", "MatMulNBits"), ("static", "MatMul")]
)
def test_weights_in_branches_are_quantized(tmp_path: Path, mode: str, operator: str) -> None:
    calls = [{**call, "flag": np.array(flag)} for call in floats("x", (3, 8)) for flag in (True, False)]
    facts, ws = quantize(tmp_path, branches(), calls, mode=mode, block_size=16)
    assert operators(delivered(ws)).count(operator) == 2
    assert facts.quantized == {"MatMul": 2}
    assert min(sqnr(ws, call) for call in calls) > 10


def recurrent(kind: str) -> onnx.ModelProto:
    """A recurrent layer and a MatMul behind it."""
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind]
    return model(
        [
            node(kind, ["x", "w", "r"], ["h"], name="rnn/Cell", hidden_size=6),
            node("MatMul", ["h", "out"], ["y"], name="out/MatMul"),
        ],
        [weight("w", 1, gates * 6, 8), weight("r", 1, gates * 6, 6), weight("out", 6, 4)],
        inputs=[value("x", 5, "batch", 8)],
        outputs=[value("y", 5, 1, "batch", 4)],
    )


@pytest.mark.parametrize(
    ("kind", "mode"), [("GRU", "dynamic"), ("GRU", "static"), ("RNN", "int4"), ("LSTM", "static"), ("LSTM", "int4")]
)
def test_recurrent_weights_that_a_tool_leaves_are_counted_and_said(tmp_path: Path, kind: str, mode: str) -> None:
    calls = floats("x", (5, 3, 8))
    facts, ws = quantize(tmp_path, recurrent(kind), calls, mode=mode, block_size=16)
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind]
    assert facts.quantized == {"MatMul": 1}
    assert [(left.op_type, left.nodes, left.bytes) for left in facts.left] == [(kind, 1, gates * 6 * (8 + 6) * 4)]
    assert facts.left[0].reason == f"{mode} quantisation has no {kind}"
    assert [w.code for w in ws.warnings] == ["left-in-float"]


def test_lstm_weights_are_quantized_dynamically(tmp_path: Path) -> None:
    calls = floats("x", (5, 3, 8))
    facts, ws = quantize(tmp_path, recurrent("LSTM"), calls, mode="dynamic")
    assert operators(delivered(ws)).count("DynamicQuantizeLSTM") == 1
    assert (facts.quantized, facts.left) == ({"LSTM": 1, "MatMul": 1}, ())
    assert sqnr(ws, calls[0]) > 20


def test_what_the_recipe_keeps_in_float_is_counted_without_a_warning(tmp_path: Path) -> None:
    facts, ws = quantize(tmp_path, cnn(), IMAGES, mode="static", exclude=("conv2",))
    assert [(left.op_type, left.bytes, left.reason) for left in facts.left] == [("Conv", 16 * 8 * 9 * 4, "excluded")]
    assert ws.warnings == []


@pytest.mark.parametrize("mode", ["dynamic", "static", "int4", "float16"])
def test_weights_of_functions_are_quantized(tmp_path: Path, mode: str) -> None:
    function = helper.make_function(
        "local",
        "Linear",
        ["a", "w"],
        ["b"],
        [node("MatMul", ["a", "w"], ["b"], name="MatMul")],
        [helper.make_opsetid("", 20)],
    )
    proto = model(
        [
            node("Linear", ["x", "w1"], ["h"], domain="local", name="fc1"),
            node("Linear", ["h", "w2"], ["y"], domain="local", name="fc2"),
        ],
        [weight("w1", 8, 16), weight("w2", 16, 4)],
        inputs=[value("x", "batch", 8)],
        outputs=[value("y", "batch", 4)],
        functions=[function],
        domains=["local"],
    )
    facts, ws = quantize(tmp_path, proto, ROWS, mode=mode, block_size=16)
    assert facts.quantized["MatMul"] == 2
    assert sqnr(ws, ROWS[1]) > 12


@pytest.mark.parametrize("mode", ["dynamic", "static", "float16", "int4"])
def test_fused_operators_of_the_runtime_do_not_stand_in_the_way(tmp_path: Path, mode: str) -> None:
    calls = floats("x", (1, 3, 8), (2, 5, 8))
    fused = workspace(tmp_path / "fused", gelu_block(), calls)
    step = TransformersPass(model_type="bert", expect={"BiasGelu": 1})
    OPTIMIZE.run(OptimizeParams(step=step, opset=None, ir_version=None, limits={}), fused)
    ws = workspace(tmp_path / "quantized", onnx.load(fused.out / "model/model.onnx"), calls)
    facts = QUANTIZE.run(QuantizeParams(quantization=Quantization(mode=mode, block_size=16)), ws)
    assert facts.quantized["MatMul"] == 2
    assert sqnr(ws, calls[1]) > 12


@pytest.mark.parametrize("mode", ["dynamic", "int4"])
def test_a_model_without_weights_is_delivered_as_it_is(tmp_path: Path, mode: str) -> None:
    proto = model([node("Relu", ["x"], ["y"], name="r")], inputs=[value("x", 3)], outputs=[value("y", 3)])
    facts, ws = quantize(tmp_path, proto, floats("x", (3,)), mode=mode)
    assert not facts.changed
    assert [w.code for w in ws.warnings] == ["no-effect"]
    assert (ws.out / "model/model.onnx").read_bytes() == (ws.inputs["model"] / "model.onnx").read_bytes()


@pytest.mark.parametrize("mode", ["dynamic", "static", "float16", "int4"])
def test_an_already_quantized_model_is_refused(tmp_path: Path, mode: str) -> None:
    _, ws = quantize(tmp_path / "a", mlp(), ROWS, mode="static")
    again = onnx.load(ws.out / "model/model.onnx")
    with pytest.raises(StageFailure, match="already quantised") as caught:
        quantize(tmp_path / "b", again, ROWS, mode=mode)
    assert caught.value.code == "already-quantized"
    assert caught.value.node


def test_nothing_is_written_outside_the_scratch_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))
    for mode in ("dynamic", "static", "float16", "int4"):
        ws = workspace(tmp_path / mode, mlp(), ROWS)
        before = sorted(p.name for p in ws.inputs["model"].iterdir())
        QUANTIZE.run(QuantizeParams(quantization=Quantization(mode=mode, block_size=16)), ws)
        assert sorted(p.name for p in ws.inputs["model"].iterdir()) == before
        assert sorted(p.name for p in ws.out.rglob("*") if p.is_file()) == ["model.onnx"]
    assert list(elsewhere.iterdir()) == []


def test_external_weights(tmp_path: Path) -> None:
    proto = model(
        [node("MatMul", ["x", "w"], ["h"], name="a/MatMul"), node("MatMul", ["h", "v"], ["y"], name="b/MatMul")],
        [weight("w", 64, 4096, scale=0.05), weight("v", 4096, 64, scale=0.05)],
        inputs=[value("x", "batch", 64)],
        outputs=[value("y", "batch", 64)],
    )
    calls = floats("x", (2, 64))
    for mode, share in (("dynamic", 0.26), ("static", 0.26), ("float16", 0.51), ("int4", 0.16)):
        facts, ws = quantize(tmp_path / mode, proto, calls, mode=mode)
        assert sum(facts.quantized.values()) == 2
        sizes = [sum(p.stat().st_size for p in f.iterdir()) for f in (ws.inputs["model"], ws.out / "model")]
        assert sizes[1] < share * sizes[0]
        assert sqnr(ws, calls[0]) > 10


SCRIPT = """
import hashlib, sys, pathlib
from onnxbuild.recipe.types import Quantization, TransformersPass
from onnxbuild.stages.optimize import OPTIMIZE, OptimizeParams
from onnxbuild.stages.quantize import QUANTIZE, QuantizeParams
from tests.stages.models import cnn, floats, mlp, workspace
for mode in ("dynamic", "static", "float16", "int4"):
    model, calls = (mlp(), floats("x", (2, 8))) if mode == "int4" else (cnn(), floats("image", (2, 1, 8, 8)))
    ws = workspace(pathlib.Path(sys.argv[1]) / mode, model, calls)
    QUANTIZE.run(QuantizeParams(quantization=Quantization(mode=mode)), ws)
    print(hashlib.sha256((ws.out / "model/model.onnx").read_bytes()).hexdigest())
"""


@pytest.mark.slow
def test_two_processes_in_two_folders_write_the_same_bytes(tmp_path: Path) -> None:
    texts = printed_by_two_processes(SCRIPT, tmp_path)
    assert len(texts[0].split()) == 4
    assert texts[0] == texts[1]
