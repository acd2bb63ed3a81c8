"""Constants that a Loop or Scan only hands on from one iteration to the next, read from around it instead.

TensorFlow's loops take their weights that way: as state, where neither a quantiser nor pruning sees a weight. Knows
neither.
"""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import NameFixPass

from onnxbuild.ir.bodies import FIRST_SCAN
from onnxbuild.ir.walk import nested, replace_reads


def free_invariants(model: ir.Model) -> int:
    """Take constants out of the state of each Loop and Scan whose body leaves them as they are; return how many."""
    freed = 0
    loops = ("Loop", "Scan") if model.opset_imports.get("", FIRST_SCAN) >= FIRST_SCAN else ("Loop",)
    for body in list(nested(model.graph)):  # outermost first: what is freed around a loop is a constant inside it
        for node in [node for node in body if node.op_type in loops and node.domain in ("", "ai.onnx")]:
            freed += _free(node)
    if freed:
        NameFixPass()(model)  # a name inside may be that of a constant which is now read there
    return freed


def _free(node: ir.Node) -> int:
    inner = node.attributes["body"].as_graph()
    leading = 2 if node.op_type == "Loop" else 0  # a Loop's body is given its number and condition first
    scanned = node.attributes["num_scan_inputs"].as_int() if node.op_type == "Scan" else 0
    states = len(inner.inputs) - leading - scanned
    first_out = 1 if node.op_type == "Loop" else 0  # and returns a condition first
    found = [
        number
        for number in range(states)
        if _is_constant(node.inputs[leading + number])
        and _handed_on(inner.outputs[first_out + number]) is inner.inputs[leading + number]
        and not _is_output_elsewhere(inner, leading + number, first_out + number)
        and not node.outputs[number].is_graph_output()
    ]
    if not found or len(found) == len(node.outputs):  # a loop must return something
        return 0
    _take_out(node, inner, found, leading, first_out)
    return len(found)


def _take_out(node: ir.Node, inner: ir.Graph, numbers: list[int], leading: int, first_out: int) -> None:
    assert node.graph is not None
    constants = [node.inputs[leading + number] for number in numbers]
    for number, constant in zip(numbers, constants, strict=True):
        assert constant is not None
        replace_reads(inner, inner.inputs[leading + number], constant)
        node.outputs[number].replace_all_uses_with(constant)
    for number in reversed(numbers):
        del inner.outputs[first_out + number]
        del inner.inputs[leading + number]
    gone = {*numbers}
    kept = [value for number, value in enumerate(node.outputs) if number not in gone]
    inputs = [value for number, value in enumerate(node.inputs) if number - leading not in gone]
    attributes = list(node.attributes.values())
    node.attributes.clear()
    new = ir.Node(node.domain, node.op_type, inputs, attributes, num_outputs=len(kept), name=node.name)
    ir.convenience.replace_nodes_and_values(node.graph, node, [node], [new], kept, new.outputs)


def _is_constant(value: ir.Value | None) -> bool:
    return value is not None and value.is_initializer() and not value.is_graph_input()


def _handed_on(value: ir.Value) -> ir.Value | None:
    """Return the value that this one is without being computed."""
    producer = value.producer()
    while producer is not None and producer.op_type == "Identity" and producer.inputs[0] is not None:
        value = producer.inputs[0]
        producer = value.producer()
    return value


def _is_output_elsewhere(inner: ir.Graph, number: int, own: int) -> bool:
    """Say whether a body returns the input of this number as it is in another place than its own."""
    return any(value is inner.inputs[number] for at, value in enumerate(inner.outputs) if at != own)
