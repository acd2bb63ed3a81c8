"""What graph tools are known to lose, refuse or do in silence: the raw tool's way beside ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.ir.opset import convert_opset
from onnxbuild.recipe.types import (
    OnnxoptimizerPass,
    OnnxruntimePass,
    OnnxscriptPass,
    OnnxslimPass,
    Pass,
    TransformersPass,
)
from onnxbuild.stages.optimize import OPTIMIZE, OptimizeParams
from onnxbuild.stages.stage import Workspace
from tests.stages.models import FLOAT, delivered, floats, mlp, model, node, outputs_of, value, weight, workspace
from tests.stages.test_optimize import codes, optimize

EXTERNAL = onnx.TensorProto.EXTERNAL
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


WIDE = 23_500
"""A weight of this many rows and columns takes 2.2 GB."""
RAW_ABOVE_2_GB = f"""
import onnx, onnxoptimizer
from onnx import helper
x, y = (helper.make_tensor_value_info(name, 1, ["batch", {WIDE}]) for name in "xy")
nodes = [helper.make_node("Identity", ["x"], ["i"]), helper.make_node("MatMul", ["i", "w"], ["y"])]
proto = helper.make_model(helper.make_graph(nodes, "g", [x], [y]), opset_imports=[helper.make_opsetid("", 17)])
proto.ir_version = 8
weight = proto.graph.initializer.add()
weight.name, weight.data_type, weight.raw_data = "w", 1, bytes(4 * {WIDE} ** 2)
weight.dims.extend([{WIDE}, {WIDE}])
result = onnxoptimizer.optimize(proto, ["eliminate_identity"])
print(len(result.graph.node), len(result.graph.initializer), result.ByteSize())
"""


def above_2_gb(folder: Path) -> Workspace:
    """Return a workspace with a model whose weights are a file with a hole of 2.2 GB in it."""
    tiny = model(
        [node("Identity", ["x"], ["i"], name="same"), node("MatMul", ["i", "w"], ["y"], name="fc/MatMul")],
        [weight("w", 1, 1)],
        inputs=[value("x", "batch", WIDE)],
        outputs=[value("y", "batch", WIDE)],
    )
    ws = workspace(folder, tiny)
    proto = onnx.load(ws.inputs["model"] / "model.onnx")
    (stored,) = proto.graph.initializer
    stored.CopyFrom(onnx.TensorProto(name="w", data_type=FLOAT, dims=[WIDE, WIDE], data_location=EXTERNAL))
    for key, text in (("location", "model.onnx.data"), ("offset", "0"), ("length", str(4 * WIDE**2))):
        stored.external_data.add(key=key, value=text)
    (ws.inputs["model"] / "model.onnx").write_bytes(proto.SerializeToString())
    with (ws.inputs["model"] / "model.onnx.data").open("wb") as file:
        file.truncate(4 * WIDE**2)
    return ws


def test_a_model_above_2_gb_is_refused_where_the_optimizer_would_return_nothing(tmp_path: Path) -> None:
    with pytest.raises(StageFailure, match="2 GB") as caught:
        OPTIMIZE.run(
            OptimizeParams(step=OnnxoptimizerPass(), opset=None, ir_version=None, limits={}), above_2_gb(tmp_path)
        )
    assert caught.value.code == "model-too-large"
    assert not (tmp_path / "out/model").exists()


@pytest.mark.soak  # 6.5 GB of memory
def test_the_optimizer_itself_returns_nothing_of_a_model_above_2_gb() -> None:
    done = subprocess.run([sys.executable, "-c", RAW_ABOVE_2_GB], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "0 0 0\n"), "an empty model, and no exception"
