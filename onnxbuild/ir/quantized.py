"""Which nodes of a graph compute in fewer bits, and which of their kind do not; knows nothing of how they came to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
import onnx_ir as ir

from onnxbuild.ir.walk import nodes

_INTEGER = {
    "ConvInteger": "Conv",
    "MatMulInteger": "MatMul",
    "MatMulIntegerToFloat": "MatMul",
    "DynamicQuantizeMatMul": "MatMul",
    "MatMulNBits": "MatMul",
    "QGemm": "Gemm",
    "DynamicQuantizeLSTM": "LSTM",
    "QAttention": "Attention",
    "QEmbedLayerNormalization": "EmbedLayerNormalization",
    "GatherBlockQuantized": "Gather",
}
_BOUNDARY = frozenset(("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"))
WEIGHTED = frozenset(("Conv", "ConvTranspose", "MatMul", "Gemm", "LSTM", "GRU", "RNN", "Attention"))
"""Operator types that usually hold weights: those left in float are always worth counting."""
_HALF, _SINGLE = ir.DataType.FLOAT16, ir.DataType.FLOAT


def original_op_type(op_type: str) -> str | None:
    """Return the float operator that an integer operator stands for ("QLinearConv": "Conv"), or None."""
    if op_type in _INTEGER:
        return _INTEGER[op_type]
    return op_type.removeprefix("QLinear") if op_type.startswith("QLinear") else None


def find_quantized(model: ir.Model) -> ir.Node | None:
    """Return the first node that belongs to an already quantised model, or None."""
    return next((n for n in nodes(model) if n.op_type in _BOUNDARY or original_op_type(n.op_type) is not None), None)


def beside_quantized(model: ir.Model) -> set[str]:
    """Return the names of the nodes that belong to what is quantised already, or read or write its values."""
    found: set[str] = set()
    for node in nodes(model):
        if node.op_type in _BOUNDARY or original_op_type(node.op_type) is not None:
            users = (user for value in node.outputs for user, _ in value.uses())
            makers = (value.producer() for value in node.inputs if value is not None)
            found.update(near.name for near in (node, *users, *makers) if near is not None and near.name)
    return found


def count_integer(model: ir.Model, op_types: Iterable[str]) -> tuple[dict[str, int], dict[str, int]]:
    """Return the nodes that compute with integers and those of `op_types` that do not, counted by operator type.

    A node between DequantizeLinear and QuantizeLinear counts as quantised: a runtime computes it with integers.
    One with weights needs dequantised weights, any other nothing but dequantised inputs and quantised outputs.
    """
    quantized: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    wanted = {*op_types, *WEIGHTED}
    for node in nodes(model):
        stands_for = original_op_type(node.op_type)
        if stands_for is not None:
            quantized[stands_for] += 1
        elif node.op_type not in _BOUNDARY and _is_between(node):
            quantized[node.op_type] += 1
        elif node.op_type in wanted and _is_float(node):
            kept[node.op_type] += 1
    return dict(sorted(quantized.items())), dict(sorted(kept.items()))


def count_float16(model: ir.Model) -> tuple[dict[str, int], dict[str, int]]:
    """Return the nodes that compute in float16 and those that compute in float32, counted by operator type."""
    quantized: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    for node in nodes(model):
        types = {value.dtype for value in (*node.inputs, *node.outputs) if value is not None}
        if node.op_type == "Cast":
            continue
        if _HALF in types:
            quantized[node.op_type] += 1
        elif _SINGLE in types:
            kept[node.op_type] += 1
    return dict(sorted(quantized.items())), dict(sorted(kept.items()))


def overflowing(graph: ir.Graph) -> list[str]:
    """Return the names of float32 initializers of a graph with finite elements beyond float16's range."""
    found = []
    for value in graph.initializers.values():
        if value.const_value is not None and value.const_value.dtype == _SINGLE:
            array = np.abs(value.const_value.numpy())
            if np.any(np.isfinite(array) & (array > 65504)):
                found.append(value.name or "")
    return found


def _is_between(node: ir.Node) -> bool:
    inputs = [value for value in node.inputs if value is not None]
    dequantized = [_producer_type(value) == "DequantizeLinear" for value in inputs]
    if node.op_type in ("Conv", "ConvTranspose", "MatMul", "Gemm"):
        return len(dequantized) > 1 and dequantized[0] and dequantized[1]
    varying = [yes for value, yes in zip(inputs, dequantized, strict=True) if value.const_value is None]
    quantizes = any(user.op_type == "QuantizeLinear" for value in node.outputs for user, _ in value.uses())
    return bool(varying) and all(varying) and quantizes


def _producer_type(value: ir.Value) -> str | None:
    producer = value.producer()
    return None if producer is None else producer.op_type


def _is_float(node: ir.Node) -> bool:
    """Say whether a node may compute in float: its inputs' types are not known to be integers only."""
    types = [value.dtype for value in node.inputs if value is not None]
    return any(dtype is None or dtype.is_floating_point() for dtype in types)
