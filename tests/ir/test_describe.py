"""Facts of a model: operators and weights wherever they are, zeros, bytes; and their text."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from onnxbuild.base.codec import decode, encode
from onnxbuild.ir import describe as describing
from onnxbuild.ir.describe import describe
from onnxbuild.ir.facts import InitializerFacts, ModelFacts, ValueFacts
from onnxbuild.ir.inspect import describe_text
from onnxbuild.ir.model import MODEL, write_model

TEXT = """
<ir_version: 10, opset_import: ["" : 20, "my" : 1]>
g (bool b, float[n, 2] x) => (float[n, 2] y) <float[2, 2] w = {1, 0, 0, -0.0}>
{
  k = Constant<value = float[2] {3, 0}>()
  h = MatMul(x, w)
  a = Add(h, k)
  i = If (b) < then_branch = t () => (r) { q = Constant<value = int64[1] {3}>() r = Unsqueeze(a, q) },
               else_branch = e () => (r) { r = Neg(a) } >
  y = my.f(a)
}
<domain: "my", opset_import: ["" : 20]>
f (p) => (o) { c = Constant<value = float[1] {2}>() o = Mul(p, c) }
"""


def write(text: str, folder) -> None:
    write_model(ir.from_proto(parser.parse_model(text)), folder)


def test_everything_is_counted_however_deep(tmp_path):
    write(TEXT, tmp_path)
    facts = describe(tmp_path)
    assert facts.inputs == (ValueFacts("b", "bool", ()), ValueFacts("x", "float32", ("n", 2)))
    assert facts.outputs == (ValueFacts("y", "float32", ("n", 2)),)
    assert facts.opsets == {"": 20, "my": 1}
    assert facts.operators == {
        "Constant": 3, "Add": 1, "If": 1, "MatMul": 1, "Mul": 1, "Neg": 1, "Unsqueeze": 1, "my.f": 1,
    }  # fmt: skip
    assert facts.nodes == 10
    assert facts.bytes == (tmp_path / MODEL).stat().st_size
    assert facts.weight_bytes_by_dtype == {"float32": 28, "int64": 8}
    assert (facts.weight_bytes, facts.weight_tensors) == (36, 4)
    assert facts.weights[0] == InitializerFacts(name="w", dtype="float32", shape=(2, 2), bytes=16, zeros=3)
    assert {w.name: w.zeros for w in facts.weights} == {"w": 3, "k": 1, "q": None, "c": 0}


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_zeros_of_other_floats_and_of_external_weights(tmp_path, dtype):
    values = np.ones(600_000, dtype)
    values[::3] = 0
    tensor = numpy_helper.from_array(values, "w")
    output = helper.make_tensor_value_info("y", tensor.data_type, [600_000])
    graph = helper.make_graph([helper.make_node("Identity", ["w"], ["y"])], "g", [], [output], [tensor])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    write_model(ir.from_proto(proto), tmp_path)
    facts = describe(tmp_path)
    assert facts.weights[0].zeros == 200_000
    assert facts.bytes == sum(p.stat().st_size for p in tmp_path.iterdir()) > values.nbytes


def test_counting_zeros_is_bounded(tmp_path, monkeypatch):
    write(TEXT, tmp_path)
    monkeypatch.setattr(describing, "COUNTED_BYTES", 16)
    assert [w.zeros for w in describe(tmp_path).weights] == [3, None, None, None]


def test_at_most_fifty_weights_are_listed(tmp_path):
    weights = [numpy_helper.from_array(np.ones(n + 1, np.float32), f"w{n:02}") for n in range(60)]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    node = helper.make_node("Concat", [w.name for w in weights], ["y"], axis=0)
    graph = helper.make_graph([node], "g", [], [output], weights)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    write_model(ir.from_proto(proto), tmp_path)
    facts = describe(tmp_path)
    assert facts.weight_tensors == 60
    assert [w.name for w in facts.weights] == [f"w{n:02}" for n in range(59, 9, -1)]
    assert "and 10 smaller ones" in describe_text(describe(tmp_path))


def test_text_and_json(tmp_path):
    write(TEXT, tmp_path)
    lines = describe_text(describe(tmp_path / MODEL)).splitlines()
    assert lines[:3] == [
        "inputs     b  bool     []",
        "           x  float32  [n, 2]",
        "outputs    y  float32  [n, 2]",
    ]
    assert "opset      ai.onnx 20, my 1" in lines
    assert "IR         10" in lines
    assert "weights    4 tensors, 36 B (float32 28 B, int64 8 B)" in lines
    assert "operators  Constant   3" in lines
    assert "largest    w  float32  [2, 2]  16 B  75.0% zeros" in lines
    assert decode(encode(describe(tmp_path)), ModelFacts) == describe(tmp_path)
