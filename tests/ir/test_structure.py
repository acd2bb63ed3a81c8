"""The digest of a graph without its weights: each part of the graph changes it, no value of a weight does."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx.helper as oh
import onnx.numpy_helper
import onnx_ir as ir
import pytest

from onnxbuild.ir.structure import digest_structure


def model() -> onnx.ModelProto:
    branch = oh.make_graph([oh.make_node("Neg", ["h"], ["b"], name="neg")], "branch", [], [_value("b")])
    nodes = [
        oh.make_node("Gemm", ["x", "w"], ["h"], name="gemm", alpha=2.0),
        oh.make_node("If", ["c"], ["y"], name="if", then_branch=branch, else_branch=branch),
    ]
    weights = onnx.numpy_helper.from_array(np.ones((2, 2), np.float32), "w")
    condition = onnx.numpy_helper.from_array(np.array(True), "c")
    graph = oh.make_graph(nodes, "main", [_value("x")], [_value("y")], [weights, condition])
    return oh.make_model(graph, opset_imports=[oh.make_opsetid("", 20)])


def _value(name: str) -> onnx.ValueInfoProto:
    return oh.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2, 2])


def structure(change: Callable[[onnx.ModelProto], object] = lambda _: None) -> str:
    made = model()
    change(made)
    return digest_structure(ir.serde.deserialize_model(made))


def set_weight(made: onnx.ModelProto, array: np.ndarray) -> None:
    made.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(array, "w"))


def test_values_of_weights_and_metadata_are_not_in_it() -> None:
    assert structure(lambda m: set_weight(m, np.zeros((2, 2), np.float32))) == structure()
    assert structure(lambda m: oh.set_model_props(m, {"team": "kiosk"})) == structure()


@pytest.mark.parametrize(
    "change",
    [
        lambda m: set_weight(m, np.ones((2, 2), np.float16)),
        lambda m: set_weight(m, np.ones((2, 3), np.float32)),
        lambda m: setattr(m.graph.node[0].attribute[0], "f", 3.0),
        lambda m: setattr(m.graph.node[0], "name", "other"),
        lambda m: m.graph.node[1].attribute[0].g.node[0].__setattr__("op_type", "Abs"),
        lambda m: m.graph.input[0].type.tensor_type.shape.dim[0].__setattr__("dim_param", "batch"),
    ],
    ids=["dtype", "shape", "attribute", "name", "operator in a subgraph", "dim of an input"],
)
def test_each_part_of_the_graph_is_in_it(change: Callable[[onnx.ModelProto], object]) -> None:
    assert structure(change) != structure()
