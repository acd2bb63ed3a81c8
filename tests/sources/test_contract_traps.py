"""What raw tools get wrong about sizes, opsets and IR versions, each shown first, with ours beside it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.ir.opset import convert_opset, delivered_opset, set_ir_version
from onnxbuild.recipe.types import Axis, Framework, Function, Input, Source

NETS = """
import torch
from torch import nn

class Grows(nn.Module):
    def forward(self, x):
        return x + 1 if x.shape[0] > 3 else x * 2

def grows():
    return Grows()

def modern():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 3))
"""
X = Input(name="x", dtype="float32", shape=("batch", 4))


def source(recipe: Any, factory: str) -> Source:
    (recipe.folder / "net.py").write_text(NETS)
    return Source(framework=Framework.TORCH, factory=Function("net.py", factory))


def load(factory: str) -> Any:
    names: dict[str, Any] = {}
    exec(NETS, names)
    return names[factory]().eval()


def raw_export(module: Any, example: Any, **options: Any) -> Any:
    """Export as torch's own documentation says."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.onnx.export(module, (example,), dynamo=True, verbose=False, **options)


@pytest.mark.torch
def test_raw_torch_verifies_an_export_that_is_wrong_at_small_batches_and_ours_names_the_range(recipe: Any) -> None:
    torch, ort = pytest.importorskip("torch"), pytest.importorskip("onnxruntime")
    module, path = load("grows"), recipe.folder / "raw.onnx"
    raw = raw_export(module, torch.ones(7, 4), dynamic_shapes={"x": {0: torch.export.Dim.DYNAMIC}}, verify=True)
    raw.save(path)
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape[0] not in range(100), "the batch is dynamic, says the file"
    for batch in range(1, 6):
        x = np.full((batch, 4), 5, np.float32)
        (found,) = session.run(None, {session.get_inputs()[0].name: x})
        right = np.array_equal(found, module(torch.from_numpy(x)).numpy())
        assert right == (batch > 3)  # verified, and wrong at 1 to 3
    with pytest.raises(StageFailure) as failure:
        recipe.export(source(recipe, "grows"), [X], ["y"], {"batch": Axis(16)})
    assert failure.value.code == "axis-range"
    assert (
        "axis batch of input x is declared 1 to 16, but the exported model holds for 4 to 16" in failure.value.message
    )


@pytest.mark.torch
def test_raw_torch_delivers_another_opset_than_asked_and_ours_the_one_asked(recipe: Any) -> None:
    torch = pytest.importorskip("torch")
    raw = raw_export(load("modern"), torch.ones(2, 4), opset_version=13)
    assert raw.model.opset_imports[""] != 13  # a line in a log is all it says
    proved = recipe.prove(source(recipe, "modern"), [X], ["y"], {"batch": Axis(16)}, opset=13)
    assert proved.facts.opsets == {"": 13}
    assert {o.domain: o.version for o in onnx.load(proved.model).opset_import} == {"": 13}
    proved.assert_close()
    assert any("older exporter" in warning for warning in proved.warnings)


def doubling(opset: int) -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def test_raw_onnx_stamps_an_ir_version_and_an_opset_that_the_runtime_refuses_and_ours_do_not() -> None:
    ort = pytest.importorskip("onnxruntime")
    raw = doubling(onnx.defs.onnx_opset_version())
    assert raw.ir_version > 13
    assert raw.opset_import[0].version > 26
    with pytest.raises(Exception, match="IR version"):
        ort.InferenceSession(raw.SerializeToString(), providers=["CPUExecutionProvider"])
    model = ir.from_proto(doubling(26))
    assert model.ir_version == raw.ir_version
    set_ir_version(model, None)
    ort.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    assert model.ir_version == 10
    with pytest.raises(StageFailure, match="up to 26"):
        convert_opset(ir.from_proto(doubling(26)), onnx.defs.onnx_opset_version())


def test_raw_onnxscript_stamps_a_number_from_below_18_and_ours_converts() -> None:
    """Upsample ended with opset 9 (Resize took its place): stamped as 18 it is no model that any runtime loads."""
    from onnxscript import version_converter

    ort = pytest.importorskip("onnxruntime")
    text = """<ir_version: 8, opset_import: ["" : 9]>
    g (float[1, 1, 2, 2] x) => (float[1, 1, 4, 4] y) <float[4] s = {1.0, 1.0, 2.0, 2.0}> { y = Upsample(x, s) }"""
    raw = ir.from_proto(onnx.parser.parse_model(text))
    version_converter.convert_version(raw, 18, fallback=False)
    assert raw.opset_imports == {"": 18}
    assert [node.op_type for node in raw.graph] == ["Upsample"]  # unconverted, whatever number it now carries
    ours = convert_opset(ir.from_proto(onnx.parser.parse_model(text)), 18)
    assert delivered_opset(ours) == 18
    assert "Resize" in [node.op_type for node in ours.graph]
    session = ort.InferenceSession(ir.to_proto(ours).SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": np.array([[[[1, 2], [3, 4]]]], np.float32)})
    np.testing.assert_array_equal(found[0, 0, 0], [1, 1, 2, 2])


def test_ours_joins_two_converters_where_neither_arrives_alone() -> None:
    """onnx's converter has no way for Gelu past 19; onnxscript's ends at 25."""
    text = """<ir_version: 8, opset_import: ["" : 20]> g (float[n, 4] x) => (float[n, 4] y) { y = Gelu(x) }"""
    proto = onnx.parser.parse_model(text)
    model = ir.from_proto(proto)
    assert delivered_opset(convert_opset(model, 26)) == 26
