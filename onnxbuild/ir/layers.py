"""The layers of a graph, as the source's modules: which nodes belong together; knows no quantiser and no search."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import onnx_ir as ir

from onnxbuild.ir.walk import nodes

_MOVES = frozenset(
    (
        *("Cast", "Concat", "Constant", "Expand", "Flatten", "Gather", "Identity", "MaxPool", "Pad", "Reshape"),
        *("Shape", "Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"),
    )
)
"""Operators that pass values on as they are: kept in float alone they change little, but they carry what feeds a layer
on one scale.
"""


def layers(model: ir.Model, op_types: Collection[str] | None, *, weighted: bool = False) -> dict[str, tuple[str, ...]]:
    """Return the names of the nodes of each layer, by layer, in the graph's order; `op_types` None means any.

    With `weighted` only nodes that have weights count.

    A layer is the nodes of one module path of the source, as canonical names tell it (`fc2` of `fc2/Gemm`); where one
    module holds several operators with weights, or a name tells none, it is the node. What only moves values around is
    no layer, but part of each layer that it feeds: a Concat puts features of unlike range on one scale.
    """
    named = [node for node in nodes(model) if node.name and (op_types is None or node.op_type in op_types)]
    if weighted:
        named = [node for node in named if _has_weights(node)]
    several = Counter(module_of(node.name or "") for node in named if _has_weights(node))
    found: dict[str, list[ir.Node]] = {}
    for node in named:
        module = module_of(node.name or "")
        found.setdefault(module if module and several[module] <= 1 else node.name or "", []).append(node)
    movers = {node for node in named if node.op_type in _MOVES}
    return {
        layer: tuple(dict.fromkeys(n.name or "" for node in own for n in (*_feeding(node, movers), node)))
        for layer, own in found.items()
        if not movers.issuperset(own)
    }


def _feeding(node: ir.Node, movers: Collection[ir.Node]) -> list[ir.Node]:
    """Return the movers between a node and what computes its inputs, first the first."""
    found: list[ir.Node] = []
    for value in node.inputs:
        producer = value.producer() if value is not None else None
        if producer is not None and producer in movers:
            found += [*_feeding(producer, movers), producer]
    return found


def module_of(name: str) -> str:
    """Return the module path in a canonical node name, "" where it tells none."""
    return name.rpartition("/")[0]


def _has_weights(node: ir.Node) -> bool:
    constants = [value.const_value for value in node.inputs if value is not None]
    return any(tensor is not None and tensor.size > 1 and tensor.dtype.is_floating_point() for tensor in constants)
