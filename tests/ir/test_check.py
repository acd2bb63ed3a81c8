"""onnx's checker, asked by path, with the node named."""

from __future__ import annotations

import pytest
from onnx import parser

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.ir.check import check_model_file

GOOD = """<ir_version: 10, opset_import: ["" : 20]> g (float[2] x) => (float[2] y) { y = Relu(x) }"""


def write(text: str, folder, name: str = "the node"):
    model = parser.parse_model(text)
    model.graph.node[0].name = name
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_a_valid_model_passes_by_file_and_by_folder(tmp_path):
    path = write(GOOD, tmp_path)
    check_model_file(path)
    check_model_file(tmp_path, infer_shapes=True)


def test_the_node_and_the_tool_are_named(tmp_path):
    path = write(GOOD.replace("Relu(x)", "Relu(x, x)"), tmp_path)
    with pytest.raises(StageFailure) as caught:
        check_model_file(path, tool="onnxslim")
    assert (caught.value.code, caught.value.tool, caught.value.node) == ("invalid-model", "onnxslim", "the node")
    assert "onnxslim wrote a model that is not valid ONNX at node 'the node' (Relu)" in caught.value.message


def test_shapes_that_do_not_fit_are_found_when_asked(tmp_path):
    path = write(GOOD.replace("Relu(x)", "Transpose<perm = [1, 0]>(x)"), tmp_path)
    check_model_file(path)
    with pytest.raises(StageFailure):
        check_model_file(path, infer_shapes=True)
