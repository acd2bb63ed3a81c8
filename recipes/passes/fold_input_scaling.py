"""A custom pass: the scaling in front of the first MatMul moves into its weights and bias."""

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass


def run(model: ir.Model, minimum: int = 1) -> ir.Model:
    """Rewrite `((x - mean) * gain) @ weights + bias` as `x @ (gain * weights) + (bias - mean * gain @ weights)`.

    Raises ValueError when fewer than `minimum` places were rewritten, so that a changed source is noticed.
    """
    folded = sum(fold(model.graph, node) for node in list(model.graph) if node.op_type == "MatMul")
    if folded < minimum:
        raise ValueError(f"found {folded} scaled inputs of a MatMul, expected at least {minimum}")
    RemoveUnusedNodesPass()(model)  # the weights and constants that nothing reads any more
    return model


def fold(graph: ir.Graph, matmul: ir.Node) -> bool:
    scale, add = matmul.inputs[0].producer(), only_user(matmul)
    if scale is None or scale.op_type != "Mul" or add is None or add.op_type != "Add":
        return False
    shift = scale.inputs[0].producer()
    if shift is None or shift.op_type != "Sub" or only_user(shift) is not scale or only_user(scale) is not matmul:
        return False
    values = (matmul.inputs[1], add.inputs[1], scale.inputs[1], shift.inputs[1])
    weights, bias, gain, mean = (constant(value) for value in values)
    if weights is None or bias is None or gain is None or mean is None or weights.ndim != 2:
        return False
    rows = len(weights)
    if gain.size not in (1, rows) or mean.size not in (1, rows):
        return False
    scaled = (np.broadcast_to(gain.reshape(-1), rows)[:, None] * weights).astype(weights.dtype)
    moved = (bias - np.broadcast_to(mean.reshape(-1), rows) @ scaled).astype(bias.dtype)
    matmul.replace_input_with(0, shift.inputs[0])
    matmul.replace_input_with(1, initializer(graph, f"{matmul.inputs[1].name}.scaled", scaled))
    add.replace_input_with(1, initializer(graph, f"{add.inputs[1].name}.moved", moved))
    graph.remove([scale, shift], safe=True)
    return True


def only_user(node: ir.Node) -> ir.Node | None:
    users = list(node.outputs[0].uses())
    return users[0].node if len(users) == 1 and not node.outputs[0].is_graph_output() else None


def constant(value: ir.Value | None) -> np.ndarray | None:
    """Return the array of an initializer or of a Constant node's output, else None."""
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    return None if tensor is None else tensor.numpy()


def initializer(graph: ir.Graph, name: str, array: np.ndarray) -> ir.Value:
    value = ir.Value(name=name, const_value=ir.tensor(array, name=name))
    value.shape, value.type = ir.Shape(array.shape), ir.TensorType(ir.DataType.from_numpy(array.dtype))
    graph.register_initializer(value)
    return value
