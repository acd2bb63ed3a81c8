"""Making a graph readable for quantisers: functions inlined, constants in reach, Gemm as MatMul; quantises nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import (
    InlinePass,
    LiftConstantsToInitializersPass,
    NameFixPass,
    RemoveInitializersFromInputsPass,
)

from onnxbuild.ir.invariants import free_invariants
from onnxbuild.ir.walk import nodes


def prepare(model: ir.Model) -> ir.Model:
    """Return the same computation without functions and with every constant tensor as an initializer.

    Quantisers look at initializers only, pass over functions, and some raise on weights in Constant nodes. An
    initializer that is also a graph input becomes an initializer only: it is a weight, not something to feed. So is
    what a loop hands on unchanged from one iteration to the next.
    """
    for transform in (
        *((InlinePass(),) if model.functions else ()),
        LiftConstantsToInitializersPass(size_limit=1),
        RemoveInitializersFromInputsPass(),
    ):
        model = transform(model).model
    free_invariants(model)
    return NameFixPass()(model).model


def has_foreign_operators(model: ir.Model) -> bool:
    """Say whether a model has operators outside ONNX's domains, whose outputs onnx's shape inference does not know."""
    return any(node.domain not in ("", "ai.onnx", "ai.onnx.ml") for node in nodes(model))


def set_types(model: ir.Model, types: Mapping[str, tuple[int, Sequence[int | str | None]]]) -> None:
    """Give the values of the main graph that have no type the ONNX element types and dims in `types`, by name.

    No dims give no shape: ONNX Runtime says so of a scalar, and of what has a rank that it does not know.
    """
    for node in model.graph:
        for value in node.outputs:
            if value.type is None and value.name is not None and value.name in types:
                dtype, dims = types[value.name]
                value.type, value.shape = ir.TensorType(ir.DataType(dtype)), ir.Shape(dims) if dims else None


def split_gemms(model: ir.Model, wanted: Callable[[ir.Node], bool]) -> list[str]:
    """Rewrite `wanted` Gemm nodes with constant weights to MatMul and Add, in place; return the names of the MatMuls.

    The MatMul keeps the Gemm's name, the Add is `<name>/bias`. Gemm nodes with transA, alpha or beta stay.
    """
    transposed: dict[int, ir.Value] = {}
    names = []
    for node in [n for graph in model.graphs() for n in graph if n.op_type == "Gemm" and n.domain in ("", "ai.onnx")]:
        if wanted(node) and _is_plain(node) and _weight(node) is not None:
            _split(node, transposed)
            names.append(node.name or "")
    return names


def _is_plain(node: ir.Node) -> bool:
    return (
        _number(node, "transA", 0) == 0
        and _number(node, "alpha", 1) == 1
        and (_number(node, "beta", 1) == 1 or not _has_bias(node))
    )


def _number(node: ir.Node, name: str, default: float) -> float:
    attribute = node.attributes.get(name)
    return default if attribute is None else float(attribute.value)


def _has_bias(node: ir.Node) -> bool:
    return len(node.inputs) > 2 and node.inputs[2] is not None


def _weight(node: ir.Node) -> ir.TensorProtocol | None:
    weight = node.inputs[1]
    return weight.const_value if weight is not None and weight.is_initializer() else None


def _split(node: ir.Node, transposed: dict[int, ir.Value]) -> None:
    operand, weight = node.inputs[0], node.inputs[1]
    assert weight is not None
    assert node.graph is not None
    if _number(node, "transB", 0):
        if id(weight) not in transposed:
            transposed[id(weight)] = _transpose(weight)
        weight = transposed[id(weight)]
    output, name = node.outputs[0], node.name or ""
    product = ir.Node("", "MatMul", [operand, weight], name=name, num_outputs=1)
    rewritten = [product]
    if _has_bias(node):
        product.outputs[0].name = f"{output.name}/product"
        rewritten.append(ir.Node("", "Add", [product.outputs[0], node.inputs[2]], name=f"{name}/bias", num_outputs=1))
    last = rewritten[-1].outputs[0]
    ir.convenience.replace_nodes_and_values(node.graph, node, [node], rewritten, [output], [last])


def _transpose(weight: ir.Value) -> ir.Value:
    tensor, graph = weight.const_value, weight.graph
    assert tensor is not None
    assert graph is not None
    shape = ir.Shape(tuple(reversed(tensor.shape.numpy())))
    name = f"{weight.name}/transposed"

    def compute() -> ir.TensorProtocol:
        return ir.Tensor(np.ascontiguousarray(tensor.numpy().T), dtype=tensor.dtype, name=name)

    lazy = ir.LazyTensor(compute, dtype=tensor.dtype, shape=shape, name=name)
    value = ir.Value(name=name, shape=shape, type=ir.TensorType(tensor.dtype), const_value=lazy)
    graph.register_initializer(value)
    return value
