"""A pass that leaves the weights alone shares its input's weights file; any other writes its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.ir.check import check_model_file
from onnxbuild.ir.model import MODEL, WEIGHTS, read_model, write_model
from onnxbuild.ort.session import open_session


@pytest.fixture
def source(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    arrays = {"a": rng.normal(size=(512, 512)), "b": rng.normal(size=(512, 300)), "c": rng.normal(size=(300, 70))}
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["ha"], "first"),
        helper.make_node("MatMul", ["ha", "b"], ["hb"], "second"),
        helper.make_node("Identity", ["hb"], ["hc"], "spare"),
        helper.make_node("MatMul", ["hc", "c"], ["y"], "third"),
    ]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", d]) for n, d in (("x", 512), ("y", 70))]
    weights = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], weights)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    write_model(ir.from_proto(proto), tmp_path / "source")
    return tmp_path / "source"


def drop_spare(model: ir.Model) -> ir.Model:
    node = next(node for node in model.graph if node.name == "spare")
    ir.convenience.replace_all_uses_with(node.outputs[0], node.inputs[0])
    model.graph.remove(node, safe=True)
    return model


def test_untouched_weights_are_shared_and_as_they_would_be_written(source: Path, tmp_path: Path) -> None:
    write_model(drop_spare(read_model(source)), tmp_path / "shared", like=source)
    write_model(drop_spare(read_model(source)), tmp_path / "written")
    assert (tmp_path / "shared" / WEIGHTS).samefile(source / WEIGHTS)
    assert not (tmp_path / "written" / WEIGHTS).samefile(source / WEIGHTS)
    for name in (MODEL, WEIGHTS):
        assert (tmp_path / "shared" / name).read_bytes() == (tmp_path / "written" / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "shared").iterdir()) == [MODEL, WEIGHTS]


def change_one(model: ir.Model) -> None:
    value = model.graph.initializers["b"]
    value.const_value = ir.tensor(value.const_value.numpy() * 2, name="b")


def drop_one(model: ir.Model) -> None:
    third = next(node for node in model.graph if node.name == "third")
    ir.convenience.replace_all_uses_with(third.outputs[0], third.inputs[0], replace_graph_outputs=True)
    model.graph.remove(third, safe=True)
    del model.graph.initializers["c"]


def add_one(model: ir.Model) -> None:
    value = ir.Value(name="d", const_value=ir.tensor(np.ones((400, 400), np.float32), name="d"))
    model.graph.register_initializer(value)


@pytest.mark.parametrize("change", [change_one, drop_one, add_one])
def test_other_weights_are_a_file_of_their_own(source: Path, tmp_path: Path, change: object) -> None:
    model = read_model(source)
    change(model)  # type: ignore[operator]
    write_model(model, tmp_path / "changed", like=source)
    assert (tmp_path / "changed" / WEIGHTS).read_bytes() != (source / WEIGHTS).read_bytes()


def test_shared_weights_pass_the_checker_and_load(source: Path, tmp_path: Path) -> None:
    write_model(drop_spare(read_model(source)), tmp_path / "shared", like=source)
    check_model_file(tmp_path / "shared")
    open_session(tmp_path / "shared" / MODEL)


def test_checker_still_sees_what_is_wrong_beside_shared_weights(source: Path, tmp_path: Path) -> None:
    model = drop_spare(read_model(source))
    next(iter(model.graph)).op_type = "NoSuchOperator"
    write_model(model, tmp_path / "shared", like=source)
    with pytest.raises(StageFailure, match="not valid ONNX"):
        check_model_file(tmp_path / "shared")
