"""Every graph, node and tensor of a model, however deep; knows nothing of why they are visited."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import onnx_ir as ir

Tensor = ir.TensorProtocol
Body = ir.Graph | ir.Function
"""What holds nodes: a graph (the main one or a subgraph) or a model-local function."""


@dataclass(frozen=True)
class TensorSlot:
    """A place that holds a constant tensor: an initializer, or an attribute of a node.

    `name` is the initializer's, or the name of the value that a Constant node makes; `node` is the node that
    holds an attribute. `put` replaces the tensor.
    """

    name: str
    tensor: Tensor
    put: Callable[[Tensor], None]
    node: ir.Node | None = None


def subgraphs(node: ir.Node) -> Iterator[tuple[str, ir.Graph]]:
    """Yield the subgraphs that a node holds directly, with their attribute's name (`_2` for the second of a list)."""
    for name in sorted(node.attributes):
        attribute = node.attributes[name]
        if attribute.is_ref():
            continue
        if attribute.type == ir.AttributeType.GRAPH:
            yield name, attribute.as_graph()
        elif attribute.type == ir.AttributeType.GRAPHS:
            for number, graph in enumerate(attribute.as_graphs(), 1):
                yield (name if number == 1 else f"{name}_{number}"), graph


def nested(body: Body) -> Iterator[Body]:
    """Yield `body` and every subgraph below it, outermost first."""
    waiting = [body]
    while waiting:
        current = waiting.pop()
        yield current
        waiting.extend(graph for node in current for _, graph in subgraphs(node))


def replace_reads(body: Body, old: ir.Value, new: ir.Value) -> None:
    """Let the nodes of `body` and of every subgraph below it read `new` for `old`; outputs stay what they are."""
    for graph in nested(body):
        for node in graph:
            for index, value in enumerate(node.inputs):
                if value is old:
                    node.replace_input_with(index, new)


def roots(model: ir.Model) -> list[Body]:
    """Return the main graph and the functions: each is a namespace of its own."""
    return [model.graph, *model.functions.values()]


def bodies(model: ir.Model) -> Iterator[Body]:
    """Yield the main graph, its subgraphs, and the functions with theirs."""
    for root in roots(model):
        yield from nested(root)


def nodes(model: ir.Model) -> Iterator[ir.Node]:
    """Yield every node of the model, those of subgraphs and functions included."""
    for body in bodies(model):
        yield from body


def tensor_slots(model: ir.Model) -> Iterator[TensorSlot]:
    """Yield every constant tensor of the model: initializers and tensor attributes of all graphs and functions."""
    for body in bodies(model):
        if isinstance(body, ir.Graph):
            for value in body.initializers.values():
                if value.const_value is not None:
                    yield TensorSlot(value.name or "", value.const_value, _put_initializer(value))
        for node in body:
            yield from _attribute_slots(node)


def _attribute_slots(node: ir.Node) -> Iterator[TensorSlot]:
    made = (node.outputs[0].name if node.outputs else None) or node.name or ""
    for name, attribute in list(node.attributes.items()):
        if attribute.is_ref():
            continue
        label = made if node.op_type == "Constant" else f"{node.name or made}.{name}"
        if attribute.type == ir.AttributeType.TENSOR:
            yield TensorSlot(label, attribute.as_tensor(), _put_attribute(node, name), node)
        elif attribute.type == ir.AttributeType.TENSORS:
            for index, tensor in enumerate(attribute.as_tensors()):
                yield TensorSlot(f"{label}[{index}]", tensor, _put_listed(node, name, index), node)


def _put_initializer(value: ir.Value) -> Callable[[Tensor], None]:
    def put(tensor: Tensor) -> None:
        value.const_value = tensor

    return put


def _put_attribute(node: ir.Node, name: str) -> Callable[[Tensor], None]:
    def put(tensor: Tensor) -> None:
        node.attributes[name] = ir.AttrTensor(name, tensor)

    return put


def _put_listed(node: ir.Node, name: str, index: int) -> Callable[[Tensor], None]:
    def put(tensor: Tensor) -> None:
        tensors = list(node.attributes[name].as_tensors())
        tensors[index] = tensor
        node.attributes[name] = ir.Attr(name, ir.AttributeType.TENSORS, tensors)

    return put
