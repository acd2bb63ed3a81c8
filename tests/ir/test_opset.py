"""Converting opsets and setting IR versions: exactly what was asked, or a failure that says what is possible."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.ir.opset import convert_opset, set_ir_version


def model(opset: int) -> ir.Model:
    """Return Softmax(x @ w) with Squeeze's axes as this opset writes them."""
    axes = "axes" if opset >= 13 else ""
    squeeze = f"Squeeze(s, {axes})" if axes else "Squeeze<axes = [1]>(s)"
    text = f"""<ir_version: 8, opset_import: ["" : {opset}]> g (float[n, 1, 4] x) => (float[n, 3] y)
    {{ s = Softmax<axis = 2>(x) q = {squeeze} y = MatMul(q, w) }}"""
    weight = numpy_helper.from_array(np.random.default_rng(0).standard_normal((4, 3), dtype=np.float32), "w")
    big = numpy_helper.from_array(np.array([1], np.int64), "axes")
    proto = parser.parse_model(text)
    proto.graph.initializer.extend([weight, big] if axes else [weight])
    for number, node in enumerate(proto.graph.node):
        node.name = f"node {number}"
    return ir.from_proto(proto)


def run(graph: ir.Model) -> np.ndarray:
    x = np.random.default_rng(1).standard_normal((2, 1, 4), dtype=np.float32)
    session = ort.InferenceSession(ir.to_proto(graph).SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize(("before", "after"), [(18, 22), (20, 20), (11, 18), (20, 13), (9, 21)])
def test_the_opset_asked_for_is_delivered_and_computes_the_same(before, after):
    source = model(before)
    expected = run(source)
    source.graph.metadata_props["kept"] = "yes"
    converted = convert_opset(source, after)
    set_ir_version(converted, None)
    assert converted.opset_imports[""] == after
    np.testing.assert_allclose(run(converted), expected, rtol=1e-6)
    assert converted.graph.metadata_props["kept"] == "yes"
    assert {"node 2"} <= {node.name for node in converted.graph}


def test_a_model_from_before_initializers_stood_alone_is_converted():
    source = model(8)
    source.ir_version = 3
    expected = run(model(8))
    converted = convert_opset(source, 21)
    set_ir_version(converted, None)
    np.testing.assert_allclose(run(converted), expected, rtol=1e-6)


def test_weights_stay_out_of_the_converter():
    source = model(11)
    weight = ir.tensor(np.ones((4, 1000), np.float32), name="w")
    source.graph.initializers["w"].const_value = weight
    source.graph.outputs[0].shape = None
    converted = convert_opset(source, 14)
    assert converted.graph.initializers["w"].const_value is weight
    assert [v.name for v in converted.graph.inputs] == ["x"]


@pytest.mark.parametrize("opset", [27, 99])
def test_an_opset_that_the_runtime_lacks_is_refused(opset):
    with pytest.raises(StageFailure, match="up to 26") as caught:
        convert_opset(model(18), opset)
    assert caught.value.code == "opset-not-delivered"


def test_a_conversion_that_no_converter_can_do_says_why():
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[n, 4] x) => (float[n, 4] y)
    { y = LayerNormalization(x, w) }"""
    proto = parser.parse_model(text)
    proto.graph.initializer.append(numpy_helper.from_array(np.ones(4, np.float32), "w"))
    with pytest.raises(StageFailure, match="cannot be converted to 12") as caught:
        convert_opset(ir.from_proto(proto), 12)
    assert caught.value.code == "opset-not-delivered"
    assert "17" in (caught.value.hint or "")


def test_ir_version_is_ten_or_what_element_types_need():
    plain = model(18)
    set_ir_version(plain, None)
    assert plain.ir_version == 10
    set_ir_version(plain, 8)
    assert plain.ir_version == 8
    tensor = helper.make_tensor("w4", TensorProto.FLOAT4E2M1, [2], b"\x11", raw=True)
    value = ir.Value(name="w4", const_value=ir.from_proto(tensor))
    plain.graph.register_initializer(value)
    set_ir_version(plain, None)
    assert plain.ir_version == 11


@pytest.mark.parametrize("version", [3, 14])
def test_an_ir_version_that_cannot_be_is_refused(version):
    with pytest.raises(StageFailure) as caught:
        set_ir_version(model(18), version)
    assert caught.value.code == "ir-version-not-possible"
