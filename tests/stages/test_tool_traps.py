"""What graph tools are known to lose, refuse or do in silence: the raw tool's way beside ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

from onnxbuild.ir.opset import convert_opset
from onnxbuild.recipe.types import (
    OnnxoptimizerPass,
    OnnxruntimePass,
    OnnxscriptPass,
    OnnxslimPass,
    Pass,
    TransformersPass,
)
from tests.stages.models import delivered, floats, mlp, model, node, outputs_of, value, weight
from tests.stages.test_optimize import codes, optimize

TOOLS = [
    OnnxscriptPass(),
    OnnxoptimizerPass(),
    OnnxslimPass(),
    OnnxruntimePass("basic"),
    TransformersPass(model_type="bert"),
]


def plain_session(model_or_path: bytes | str) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    return ort.InferenceSession(model_or_path, options, providers=["CPUExecutionProvider"])


def test_the_defaults_of_onnx_are_beyond_the_runtime_and_ours_are_not(tmp_path: Path) -> None:
    graph = mlp().graph
    with pytest.raises(Exception, match=r"Unsupported model IR version|opset"):
        plain_session(helper.make_model(graph).SerializeToString())
    facts, _ = optimize(tmp_path, OnnxscriptPass(), mlp(), calls=floats("x", (2, 8)))
    assert (facts.model.ir_version, facts.model.opsets) == (10, {"": 20})


def test_the_runtime_s_own_result_keeps_pointing_at_the_old_weights_and_ours_does_not(tmp_path: Path) -> None:
    proto = model(
        [node("MatMul", ["x", "w"], ["h"], name="a"), node("Identity", ["h"], ["y"], name="i")],
        [weight("w", 64, 4096)],
        inputs=[value("x", "batch", 64)],
        outputs=[value("y", "batch", 4096)],
    )
    (tmp_path / "source").mkdir()
    copy = onnx.load_from_string(proto.SerializeToString())
    onnx.save(copy, tmp_path / "source/model.onnx", save_as_external_data=True, location="weights.bin")
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(tmp_path / "source/raw.onnx")
    ort.InferenceSession(str(tmp_path / "source/model.onnx"), options, providers=["CPUExecutionProvider"])
    (tmp_path / "elsewhere").mkdir()
    moved = (tmp_path / "source/raw.onnx").rename(tmp_path / "elsewhere/raw.onnx")
    with pytest.raises(Exception, match=r"weights\.bin|external"):
        plain_session(str(moved))
    call = floats("x", (2, 64))[0]
    _, ws = optimize(tmp_path / "ours", OnnxruntimePass("basic"), proto, calls=[call])
    ours = (ws.out / "model").rename(tmp_path / "elsewhere/model")
    np.testing.assert_allclose(outputs_of(ours, call)["y"], call["x"] @ numpy_helper.to_array(weight("w", 64, 4096)),
                               rtol=1e-4, atol=1e-4)  # fmt: skip


def test_transformer_fusions_that_fuse_nothing_say_nothing_and_we_do(tmp_path: Path) -> None:
    from onnxruntime.transformers.optimizer import optimize_model

    raw = optimize_model(mlp(), "bert", 0, 0, None, 0)
    assert not any(raw.get_fused_operator_statistics().values())
    _, ws = optimize(tmp_path, TransformersPass(model_type="bert"), mlp(), calls=floats("x", (2, 8)))
    assert codes(ws) == ["no-effect"]


def test_onnx_s_version_converter_drops_what_ours_keeps() -> None:
    proto = mlp(opset=12)
    proto.graph.node[1].metadata_props.add(key="source", value="fc1")
    proto.graph.value_info.append(value("h", "batch", 16))
    raw = onnx.version_converter.convert_version(proto, 18)
    assert not any(n.metadata_props for n in raw.graph.node)
    ours = convert_opset(ir.from_proto(proto), 18)
    assert ours.opset_imports[""] == 18
    assert [dict(n.metadata_props) for n in ours.graph if n.metadata_props] == [{"source": "fc1"}]


def wild() -> onnx.ModelProto:
    """A model as they come: odd names, a weight that is also an input, metadata, a rank-0 input."""
    proto = model(
        [
            node("Gemm", ["in: 'x'", 'w "1"', "b/1"], ["h::1"], name="it's a:node"),
            node("Mul", ["h::1", "factor"], ["m"], name="mul"),
            node("Identity", ["m"], ["out y"], name="same"),
        ],
        [weight('w "1"', 4, 4), weight("b/1", 4)],
        inputs=[value("in: 'x'", "batch", 4), value("factor")],
        outputs=[value("out y", "batch", 4)],
        metadata={"licence": "MIT", "note": "a 'b' \"c\": d"},
    )
    proto.graph.input.append(value("b/1", 4))
    return proto


@pytest.mark.parametrize("step", TOOLS, ids=lambda step: type(step).__name__)
def test_models_in_the_wild_come_through_every_tool(tmp_path: Path, step: Pass) -> None:
    calls = [{"in: 'x'": rows["x"], "factor": np.array(2.0, np.float32)} for rows in floats("x", (1, 4), (3, 4))]
    facts, ws = optimize(tmp_path, step, wild(), calls=calls)
    assert facts.reverted == ()
    assert facts.changed or isinstance(step, TransformersPass)
    graph = delivered(ws)
    assert [v.name for v in graph.graph.inputs if not v.is_initializer()] == ["in: 'x'", "factor"]
    assert [v.name for v in graph.graph.outputs] == ["out y"]
    assert graph.metadata_props == {"licence": "MIT", "note": "a 'b' \"c\": d"}
    expected = plain_session(wild().SerializeToString()).run(None, calls[1])[0]
    np.testing.assert_allclose(outputs_of(ws.out / "model", calls[1])["out y"], expected, rtol=1e-5, atol=1e-5)
