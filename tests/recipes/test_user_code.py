"""The Python that the examples name does what it says: the custom pass, the metric and the loader."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

RECIPES = Path(__file__).resolve().parents[2] / "recipes"


def function(file: str, name: str) -> Callable[..., Any]:
    spec = importlib.util.spec_from_file_location(f"example_{Path(file).stem}", RECIPES / file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)  # type: ignore[no-any-return]


def scaled_matmul(gain: np.ndarray, extra_output: bool = False, constants: bool = False) -> onnx.ModelProto:
    generator = np.random.default_rng(3)
    arrays = {
        "mean": generator.normal(size=5).astype(np.float32),
        "gain": gain.astype(np.float32),
        "weights": generator.normal(size=(5, 3)).astype(np.float32),
        "bias": generator.normal(size=3).astype(np.float32),
    }
    tensors = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    nodes = [
        helper.make_node("Sub", ["x", "mean"], ["shifted"]),
        helper.make_node("Mul", ["shifted", "gain"], ["scaled"]),
        helper.make_node("MatMul", ["scaled", "weights"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["y"]),
    ]
    if constants:
        nodes = [helper.make_node("Constant", [], [t.name], value=t) for t in tensors] + nodes
        tensors = []
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])]
    if extra_output:
        outputs.append(helper.make_tensor_value_info("scaled", TensorProto.FLOAT, ["batch", 5]))
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 5])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def outputs_of(model: onnx.ModelProto, x: np.ndarray) -> list[np.ndarray]:
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})  # type: ignore[no-any-return]


@pytest.mark.parametrize("constants", [False, True])
@pytest.mark.parametrize("gain", [np.asarray(4.0), np.arange(1.0, 6.0), np.arange(1.0, 6.0)[None]])
def test_scaling_moves_into_the_weights(gain: np.ndarray, constants: bool) -> None:
    before = scaled_matmul(gain, constants=constants)
    after = ir.to_proto(function("passes/fold_input_scaling.py", "run")(ir.from_proto(before)))
    assert {node.op_type for node in after.graph.node} - {"Constant"} == {"MatMul", "Add"}
    assert len(after.graph.initializer) + sum(node.op_type == "Constant" for node in after.graph.node) == 2
    x = np.random.default_rng(4).normal(size=(7, 5)).astype(np.float32)
    np.testing.assert_allclose(outputs_of(after, x)[0], outputs_of(before, x)[0], rtol=1e-5, atol=1e-5)


def test_scaling_that_is_an_output_too_stays() -> None:
    model = ir.from_proto(scaled_matmul(np.asarray(2.0), extra_output=True))
    run = function("passes/fold_input_scaling.py", "run")
    with pytest.raises(ValueError, match="found 0 scaled inputs"):
        run(model)
    kept = ir.to_proto(run(model, minimum=0))
    assert [node.op_type for node in kept.graph.node] == ["Sub", "Mul", "MatMul", "Add"]


def test_worst_class_recall_is_the_smallest() -> None:
    recall = function("metrics/worst_class.py", "recall")
    logits = np.eye(3)[[0, 0, 1, 2, 2, 0]]
    labels = np.asarray([0, 0, 1, 2, 2, 2])
    assert recall({"logits": logits}, labels, {}) == pytest.approx(2 / 3)


def test_loader_gives_channels_last() -> None:
    arrays = function("data/digits.py", "channels_last")("test")
    with np.load(RECIPES / "data/digits_test.npz") as file:
        assert arrays["image"].shape == (len(file["image"]), 8, 8, 1)
        np.testing.assert_array_equal(arrays["image"][:, :, :, 0], file["image"][:, 0])
        np.testing.assert_array_equal(arrays["labels"], file["labels"])
    assert "labels" not in function("data/digits.py", "channels_last")("calibration")
