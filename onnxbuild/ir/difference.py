"""Where two model artifacts first differ, in words that name a node or an initializer; knows nothing of why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import onnx
import onnx_ir as ir

from onnxbuild.ir.model import MODEL, read_model, tensor_blocks
from onnxbuild.ir.walk import tensor_slots


def first_difference(one: Path, other: Path) -> str | None:
    """Say in what the models of two artifact folders differ first: a node, an initializer, or something around them.

    Nodes come first, in graph order, because a renamed or moved node makes all that follows look different too; None
    when nothing differs but perhaps the files' layout.
    """
    graphs = [onnx.load(folder / MODEL, load_external_data=False) for folder in (one, other)]
    return (
        _nodes(graphs[0].graph.node, graphs[1].graph.node)
        or _tensors(_content(one), _content(other))
        or _around(graphs[0], graphs[1])
    )


@dataclass(frozen=True)
class Counts:
    """How many nodes and initializers the newer of two models has, and how many are not as in the older one."""

    initializers: int
    changed_initializers: int
    removed_initializers: int
    nodes: int
    changed_nodes: int
    added_nodes: int
    removed_nodes: int


def count_differences(old: Path, new: Path) -> Counts:
    """Count what differs between the models of two artifact folders, by the names of nodes and initializers.

    Nodes of subgraphs count with the node that holds them.
    """
    tensors = [_content(folder) for folder in (old, new)]
    graphs = [onnx.load(folder / MODEL, load_external_data=False).graph for folder in (old, new)]
    nodes = [{n.name or n.output[0]: n.SerializeToString(deterministic=True) for n in graph.node} for graph in graphs]
    return Counts(
        initializers=len(tensors[1]),
        changed_initializers=sum(tensors[0].get(name) != tensor for name, tensor in tensors[1].items()),
        removed_initializers=len(tensors[0].keys() - tensors[1].keys()),
        nodes=len(nodes[1]),
        changed_nodes=sum(name in nodes[0] and nodes[0][name] != node for name, node in nodes[1].items()),
        added_nodes=len(nodes[1].keys() - nodes[0].keys()),
        removed_nodes=len(nodes[0].keys() - nodes[1].keys()),
    )


def _nodes(one: Iterable[onnx.NodeProto], other: Iterable[onnx.NodeProto]) -> str | None:
    for number, (a, b) in enumerate(zip_longest(one, other)):
        if a is None or b is None:
            return f"node {number} ({_called(a or b)}) is in one of them only"
        if a.op_type != b.op_type or a.name != b.name:
            return f"node {number} is {_called(a)} in one and {_called(b)} in the other"
        if a.SerializeToString(deterministic=True) != b.SerializeToString(deterministic=True):
            return f"node {number} ({_called(a)}) differs in its {_part(a, b)}"
    return None


def _called(node: onnx.NodeProto) -> str:
    return f"{node.op_type} '{node.name}'"


def _part(a: onnx.NodeProto, b: onnx.NodeProto) -> str:
    if list(a.input) != list(b.input):
        return "inputs"
    if list(a.output) != list(b.output):
        return "outputs"
    attributes = [{x.name: x.SerializeToString(deterministic=True) for x in node.attribute} for node in (a, b)]
    names = [n for n in dict.fromkeys([*attributes[0], *attributes[1]]) if attributes[0].get(n) != attributes[1].get(n)]
    return f"attribute '{names[0]}'" if names else "metadata"


def _content(folder: Path) -> dict[str, tuple[ir.DataType, tuple[int | str | None, ...], bytes]]:
    """Return dtype, dims and bytes of each tensor by name, those in attributes included."""
    return {
        slot.name: (slot.tensor.dtype, tuple(slot.tensor.shape.numpy()), _bytes(slot.tensor))
        for slot in tensor_slots(read_model(folder))
    }


def _bytes(tensor: ir.TensorProtocol) -> bytes:
    if tensor.dtype == ir.DataType.STRING:
        return repr(tensor.numpy().tolist()).encode()
    return b"".join(bytes(block) for block in tensor_blocks(tensor))


def _tensors(one: Mapping[str, tuple[object, ...]], other: Mapping[str, tuple[object, ...]]) -> str | None:
    for name in dict.fromkeys([*one, *other]):
        if name not in one or name not in other:
            return f"initializer '{name}' is in one of them only"
        for what, a, b in zip(("dtype", "shape", "values"), one[name], other[name], strict=True):
            if a != b:
                return f"initializer '{name}' differs in its {what}"
    return None


def _around(a: onnx.ModelProto, b: onnx.ModelProto) -> str | None:
    for name in ("input", "output", "initializer", "value_info", "metadata_props"):
        if _texts(getattr(a.graph, name)) != _texts(getattr(b.graph, name)):
            return f"the graph's {name} differ"
    for name in ("opset_import", "metadata_props", "functions"):
        if _texts(getattr(a, name)) != _texts(getattr(b, name)):
            return f"the model's {name} differ"
    return None


def _texts(messages: Iterable[onnx.ValueInfoProto]) -> list[bytes]:
    return [message.SerializeToString(deterministic=True) for message in messages]
