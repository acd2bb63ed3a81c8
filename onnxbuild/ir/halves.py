"""Which nodes float16 cannot hold, and casts to it and back that must not be; converts nothing itself."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import onnx_ir as ir

from onnxbuild.ir.walk import nodes, subgraphs

_TO_HALF = ("_cast_to_fp16_node",)
_TO_FLOAT = ("_cast_to_fp32_node",)
_AT_THE_EDGE = ("graph_input_cast", "graph_output_cast")
"""How the converter calls the casts that it adds."""


def nodes_around(model: ir.Model, tensors: Collection[str]) -> list[ir.Node]:
    """Return the nodes of the main graph that write or read any of these tensors, or whose branches do."""
    wanted = set(tensors)
    return [node for node in model.graph if not wanted.isdisjoint(_touched(node))]


def in_float(model: ir.Model, names: Collection[str]) -> dict[str, ir.Value]:
    """Return a float32 value for each of these of the main graph that were float32: themselves, or a cast of them."""
    found = {}
    casts = {node.name: node.outputs[0] for node in model.graph if _is_added(node, _TO_FLOAT)}
    around = {value.name or "": value for value in (*model.graph.inputs, *(v for n in model.graph for v in n.outputs))}
    for name in names:
        value = around[name]
        if value.dtype == ir.DataType.FLOAT:
            found[name] = value
            continue
        label = f"{name}{_TO_FLOAT[0]}"
        if label not in casts:
            node = ir.Node("", "Cast", [value], [ir.AttrInt64("to", ir.DataType.FLOAT)], num_outputs=1, name=label)
            node.outputs[0].name, node.outputs[0].type = f"{name}_cast_to_fp32", ir.TensorType(ir.DataType.FLOAT)
            model.graph.append(node)
            casts[label] = node.outputs[0]
        found[name] = casts[label]
    return found


def bypass_casts(model: ir.Model) -> int:
    """Let what computes in float32 read float32 where the converter cast to float16 and back; return how many.

    Such a pair cuts off what float16 cannot hold, between two nodes that were both to stay float32.
    """
    bypassed = 0
    outputs = {*model.graph.outputs}
    for back in [node for node in nodes(model) if _is_added(node, _TO_FLOAT)]:
        value = back.inputs[0]
        there = value.producer() if value is not None else None
        if there is None or not _is_added(there, _TO_HALF):
            continue
        source = there.inputs[0]
        if source is None or source.dtype != ir.DataType.FLOAT:
            continue
        bypassed += 1
        if back.outputs[0] in outputs:
            back.replace_input_with(0, source)
        else:
            ir.convenience.replace_all_uses_with(back.outputs[0], source)
            _remove(back)
        if not there.outputs[0].uses() and there.outputs[0] not in outputs:
            _remove(there)
    return bypassed


def _remove(node: ir.Node) -> None:
    assert node.graph is not None
    node.graph.remove(node, safe=True)


def _is_added(node: ir.Node, endings: tuple[str, ...]) -> bool:
    name = node.name or ""
    return node.op_type == "Cast" and (name.endswith(endings) or name.startswith(_AT_THE_EDGE))


def _touched(node: ir.Node) -> Iterator[str]:
    yield from (value.name or "" for value in (*node.inputs, *node.outputs) if value is not None)
    for _, graph in subgraphs(node):
        yield from (value.name or "" for value in graph.outputs)
        for inner in graph:
            yield from _touched(inner)
