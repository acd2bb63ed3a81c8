"""Graphs of the kinds that are hard to draw, made quickly: a deep transformer, many subgraphs, a wide fan."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

WIDTH, HEADS, LENGTH = 32, 4, 8


def model(nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray], output: str = "y") -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", LENGTH, WIDTH])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def transformer(layers: int) -> onnx.ModelProto:
    """A transformer of 30 nodes a layer, with names as exporters write them."""
    rng = np.random.default_rng(0)
    weights: dict[str, np.ndarray] = {
        "heads": np.array([0, LENGTH, HEADS, WIDTH // HEADS]),
        "whole": np.array([0, LENGTH, WIDTH]),
        "scale": np.array((WIDTH / HEADS) ** -0.5, np.float32),
        "root": np.array(2**0.5, np.float32),
        "one": np.array(1, np.float32),
        "half": np.array(0.5, np.float32),
    }
    nodes: list[onnx.NodeProto] = []
    layer = ""

    def weight(name: str, *shape: int) -> str:
        weights[layer + name] = (rng.normal(size=shape) * 0.1).astype(np.float32)
        return layer + name

    def node(op: str, name: str, *inputs: str, **attributes: object) -> str:
        nodes.append(helper.make_node(op, list(inputs), [f"{layer}{name}:0"], layer + name, **attributes))
        return f"{layer}{name}:0"

    def linear(name: str, value: str, wide: int = WIDTH, out: int = WIDTH) -> str:
        product = node("MatMul", f"{name}/MatMul", value, weight(f"{name}.weight", wide, out))
        return node("Add", f"{name}/Add", product, weight(f"{name}.bias", out))

    def norm(name: str, value: str) -> str:
        scale, bias = weight(f"{name}.weight", WIDTH), weight(f"{name}.bias", WIDTH)
        return node("LayerNormalization", f"{name}/LayerNormalization", value, scale, bias, axis=-1)

    value = "x"
    for number in range(layers):
        layer = f"layers.{number}/"
        normed = norm("norm1", value)
        parts = []
        for name in ("query", "key", "value"):
            split = node("Reshape", f"attn/{name}/Reshape", linear(f"attn/{name}", normed), "heads")
            order = (0, 2, 3, 1) if name == "key" else (0, 2, 1, 3)
            parts.append(node("Transpose", f"attn/{name}/Transpose", split, perm=order))
        scores = node("Mul", "attn/Mul", node("MatMul", "attn/MatMul", parts[0], parts[1]), "scale")
        mixed = node("MatMul", "attn/MatMul_2", node("Softmax", "attn/Softmax", scores, axis=-1), parts[2])
        joined = node("Reshape", "attn/Reshape", node("Transpose", "attn/Transpose", mixed, perm=(0, 2, 1, 3)), "whole")
        value = node("Add", "Add", value, linear("attn/out", joined))
        wide = linear("mlp/fc1", norm("norm2", value), WIDTH, 4 * WIDTH)
        erf = node("Add", "mlp/gelu/Add", node("Erf", "mlp/gelu/Erf", node("Div", "mlp/gelu/Div", wide, "root")), "one")
        gelu = node("Mul", "mlp/gelu/Mul_2", node("Mul", "mlp/gelu/Mul", wide, erf), "half")
        value = node("Add", "Add_2", value, linear("mlp/fc2", gelu, 4 * WIDTH, WIDTH))
    return model([*nodes, helper.make_node("Identity", [value], ["y"], "end")], weights)


def branches(count: int, nodes: int = 3) -> onnx.ModelProto:
    """A chain of If nodes, each with two bodies that read the outer graph's value."""

    def body(name: str, value: str, op: str) -> onnx.GraphProto:
        steps, at = [], value
        for number in range(nodes):
            steps.append(helper.make_node(op, [at], [f"{name}{number}"], f"{name}/{op}_{number}"))
            at = f"{name}{number}"
        return helper.make_graph(steps, name, [], [helper.make_tensor_value_info(at, TensorProto.FLOAT, None)])

    chain, at = [], "x"
    for number in range(count):
        ends = {"then_branch": body(f"t{number}", at, "Relu"), "else_branch": body(f"e{number}", at, "Abs")}
        chain.append(helper.make_node("If", ["flag"], [f"v{number}"], f"if_{number}", **ends))
        at = f"v{number}"
    return model([*chain, helper.make_node("Identity", [at], ["y"], "end")], {"flag": np.array(True)})


def read(proto: onnx.ModelProto) -> ir.Model:
    return ir.from_proto(proto)
