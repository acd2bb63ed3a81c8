"""How much a model computes for inputs of given sizes, estimated from shapes alone; runs nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import onnx

Dims = Sequence[int]


def estimate(model: onnx.ModelProto, shapes: Mapping[str, Dims]) -> tuple[int, int]:
    """Return the multiply-adds of one call whose inputs have `shapes`, and the elements of all tensors it writes.

    Where shapes cannot be inferred, a node takes as much as its weights have elements, for each row of the first
    input; subgraphs are passed over. Weights need not be loaded.
    """
    sized = onnx.ModelProto()
    sized.CopyFrom(model)
    for value in sized.graph.input:
        if value.name in shapes:
            dims = value.type.tensor_type.shape.dim
            for dim, size in zip(dims, shapes[value.name], strict=False):
                dim.dim_value = size
    del sized.graph.value_info[:]
    for value in sized.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        inferred = onnx.shape_inference.infer_shapes(sized, data_prop=True).graph
    except Exception:  # of a model that it does not understand: then only the inputs' are known
        inferred = sized.graph
    weights = {tensor.name: tuple(tensor.dims) for tensor in inferred.initializer}
    known: dict[str, Dims] = dict(weights)
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        dims = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(dim.HasField("dim_value") for dim in dims):
            known[value.name] = tuple(dim.dim_value for dim in dims)
    rows = max((shape[0] for shape in shapes.values() if shape), default=1)
    work = written = 0
    for node in inferred.node:
        if all(name in known for name in node.output if name):
            work += _multiply_adds(node, known)
            written += sum(math.prod(known[name]) for name in node.output if name)
        else:
            work += rows * sum(math.prod(weights.get(name, (0,))) for name in node.input)
    return work, written


def _multiply_adds(node: onnx.NodeProto, known: Mapping[str, Dims]) -> int:
    """Return the elements a node writes times the products that are summed for each."""
    written = math.prod(known.get(node.output[0], (0,))) if node.output else 0
    if len(node.input) < 2 or node.input[1] not in known:
        return written
    weights = known[node.input[1]]
    match node.op_type:
        case "Conv" | "ConvInteger":
            return written * math.prod(weights[1:])
        case "ConvTranspose":
            return math.prod(known.get(node.input[0], (0,))) * math.prod(weights[1:])
        case "MatMul" | "MatMulInteger" | "Gemm" if len(known.get(node.input[0], ())) > 1:
            transposed = any(a.name == "transA" and a.i for a in node.attribute)
            return written * known[node.input[0]][-2 if transposed else -1]
        case "LSTM" | "GRU" | "RNN":
            return math.prod(known.get(node.input[0], (0,))[:2]) * math.prod(weights)
        case _:
            return written
