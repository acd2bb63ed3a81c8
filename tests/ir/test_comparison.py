"""In what two models differ, by what was done to one of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from onnxbuild.ir.comparison import compare
from onnxbuild.ir.facts import ComparisonFacts, Field
from tests.ir.graphs import branches, transformer

Edit = Callable[[onnx.ModelProto], None]
Make = Callable[[], onnx.ModelProto]


def compared(
    tmp_path: Path, edit: Edit, make: Callable[[], onnx.ModelProto] = lambda: transformer(1)
) -> ComparisonFacts:
    old, new = make(), make()
    edit(new)
    onnx.save(old, tmp_path / "old.onnx")
    onnx.save(new, tmp_path / "new.onnx")
    return compare(tmp_path / "old.onnx", tmp_path / "new.onnx")


def tensor(model: onnx.ModelProto, name: str) -> onnx.TensorProto:
    return next(t for t in model.graph.initializer if t.name == name)


def node(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    return next(n for n in model.graph.node if n.name == name)


def test_equal_models_do_not_differ(tmp_path: Path) -> None:
    found = compared(tmp_path, lambda _: None)
    assert found.is_same
    assert (found.nodes_before, found.nodes_after) == (34, 34)


def test_a_changed_weight_has_the_size_and_norm_of_its_change(tmp_path: Path) -> None:
    def edit(model: onnx.ModelProto) -> None:
        weight = tensor(model, "layers.0/mlp/fc1.weight")
        array = numpy_helper.to_array(weight).copy()
        old = np.linalg.norm(array)
        array[3, 4] += np.float32(old * 0.5)
        weight.CopyFrom(numpy_helper.from_array(array, weight.name))

    found = compared(tmp_path, edit)
    (changed,) = found.tensors
    assert (changed.name, changed.elements, changed.old, changed.new) == (
        "layers.0/mlp/fc1.weight", 1, "float32 32×128", "float32 32×128",
    )  # fmt: skip
    assert changed.relative == pytest.approx(0.5, rel=1e-4)
    assert found.tensor_counts == {"values": 1}
    assert found.node_counts == {}


def test_a_tensor_of_another_type_shape_or_name(tmp_path: Path) -> None:
    def edit(model: onnx.ModelProto) -> None:
        half = tensor(model, "layers.0/attn/query.weight")
        half.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(half).astype(np.float16), half.name))
        flat = tensor(model, "layers.0/attn/key.weight")
        flat.CopyFrom(numpy_helper.from_array(np.zeros((32, 2), np.float32), flat.name))
        tensor(model, "one").name = "two"

    by_name = {t.name: t for t in compared(tmp_path, edit).tensors}
    assert (by_name["layers.0/attn/query.weight"].new_bytes, by_name["layers.0/attn/query.weight"].old_bytes) == (
        2048,
        4096,
    )
    assert 0 < (by_name["layers.0/attn/query.weight"].relative or 0) < 1e-3
    assert by_name["layers.0/attn/key.weight"].relative is None
    assert (by_name["one"].new, by_name["two"].old) == (None, None)


def test_nodes_added_removed_retyped_changed_and_moved(tmp_path: Path) -> None:
    def edit(model: onnx.ModelProto) -> None:
        node(model, "layers.0/mlp/gelu/Erf").op_type = "Tanh"
        node(model, "layers.0/attn/Softmax").attribute[0].i = 2
        node(model, "end").input[0] = "layers.0/Add:0"
        model.graph.node.remove(node(model, "layers.0/Add_2"))
        model.graph.node.append(helper.make_node("Relu", ["x"], ["unused"], "fresh"))

    found = compared(tmp_path, edit)
    assert {n.name: n.kind for n in found.nodes} == {
        "layers.0/mlp/gelu/Erf": "retyped",
        "layers.0/attn/Softmax": "changed",
        "end": "moved",
        "layers.0/Add_2": "removed",
        "fresh": "added",
    }
    details = {n.name: n.details for n in found.nodes}
    assert details["layers.0/attn/Softmax"] == ("axis: -1 → 2",)
    assert details["end"] == ("inputs: layers.0/Add_2:0 → layers.0/Add:0",)
    assert next(n for n in found.nodes if n.kind == "retyped").old_op == "Erf"
    assert found.operators == {"Tanh": (0, 1), "Erf": (1, 0), "Relu": (0, 1), "Add": (9, 8)}
    assert found.picture.changed == 4


def test_a_node_in_a_subgraph_is_named_with_what_is_around_it(tmp_path: Path) -> None:
    def edit(model: onnx.ModelProto) -> None:
        body = next(a for a in model.graph.node[1].attribute if a.name == "then_branch").g
        body.node[1].op_type = "Neg"

    found = compared(tmp_path, edit, lambda: branches(3))
    assert [(n.kind, n.name) for n in found.nodes] == [("retyped", "if_1/then_branch/t1/Relu_1")]


def test_the_model_around_the_graph(tmp_path: Path) -> None:
    def edit(model: onnx.ModelProto) -> None:
        model.ir_version = 9
        model.opset_import[0].version = 19
        model.metadata_props.add(key="team", value="kiosk")
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "n"

    found = compared(tmp_path, edit)
    assert Field("IR version", "10", "9") in found.fields
    assert Field("opset ai.onnx", "20", "19") in found.fields
    assert Field("metadata team", None, "kiosk") in found.fields
    assert found.interface == (Field("input x", "float32 [batch, 8, 32]", "float32 [n, 8, 32]"),)


def test_long_attributes_are_counted_not_printed(tmp_path: Path) -> None:
    def make() -> onnx.ModelProto:
        model = transformer(1)
        node(model, "end").attribute.append(helper.make_attribute("thresholds", [0.5] * 5000))
        return model

    def edit(model: onnx.ModelProto) -> None:
        node(model, "end").attribute[0].floats[0] = 0.25

    (changed,) = compared(tmp_path, edit, make).nodes
    assert changed.details == ("thresholds: 1 of 5,000 values differ, by at most 0.25",)


def test_not_a_number_and_infinity_are_no_norm(tmp_path: Path) -> None:
    def edit(model: onnx.ModelProto) -> None:
        weight = tensor(model, "layers.0/attn/out.bias")
        array = np.full(32, np.nan, np.float32)
        weight.CopyFrom(numpy_helper.from_array(array, weight.name))

    (changed,) = compared(tmp_path, edit).tensors
    assert (changed.elements, changed.largest, changed.relative) == (32, None, None)
