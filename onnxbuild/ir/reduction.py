"""A part of a graph as a model of its own, fed with what the rest would have computed; knows not what it is for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import onnx

TypedShape = tuple[int, Sequence[int | str | None]]
"""An ONNX element type and dims."""


def cut(model: onnx.ModelProto, keep: Sequence[int], types: Mapping[str, TypedShape]) -> onnx.ModelProto | None:
    """Return the model of the nodes of the main graph with the numbers in `keep`, in their order.

    Its inputs are what they read and none of them writes; its outputs what the others or nobody reads, and the
    model's own. `types` tells of every tensor; None when one that is needed is missing there.
    """
    graph = model.graph
    chosen = set(keep)
    nodes = [graph.node[i] for i in sorted(chosen)]
    written = {name for node in nodes for name in node.output if name}
    read = dict.fromkeys(name for node in nodes for name in reads(node))
    elsewhere = {value.name for value in graph.output}
    for number, node in enumerate(graph.node):
        if number not in chosen:
            elsewhere.update(reads(node))
    weights = [tensor for tensor in graph.initializer if tensor.name in read]
    constants = {tensor.name for tensor in weights}
    inputs = [name for name in read if name not in written and name not in constants]
    outputs = [name for node in nodes for name in node.output if name and (name in elsewhere or name not in read)]
    declared = {value.name: value for value in (*graph.input, *graph.output, *graph.value_info)}
    reduced = onnx.ModelProto()
    reduced.CopyFrom(model)
    reduced.graph.Clear()
    reduced.graph.name = graph.name
    reduced.graph.node.extend(nodes)
    reduced.graph.initializer.extend(weights)
    for names, target in ((inputs, reduced.graph.input), (outputs, reduced.graph.output)):
        for name in names:
            value = declared.get(name) or _value(name, types)
            if value is None or not value.type.HasField("tensor_type"):
                return None
            target.append(value)
    inside = written - set(outputs)
    reduced.graph.value_info.extend(value for value in graph.value_info if value.name in inside)
    return reduced if outputs else None


def reads(node: onnx.NodeProto) -> Iterator[str]:
    """Yield the names that a node reads from its graph: its inputs, and what its subgraphs take from outside."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
            for inner in graph.node:
                yield from (name for name in reads(inner) if name not in own)
                own.update(inner.output)
            yield from (value.name for value in graph.output if value.name not in own)


def _value(name: str, types: Mapping[str, TypedShape]) -> onnx.ValueInfoProto | None:
    if name not in types:
        return None
    dtype, dims = types[name]
    return onnx.helper.make_tensor_value_info(name, dtype, list(dims))
