"""Weights that stay in float in a quantised model, counted in bytes, and where they are; knows nothing of tools."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import onnx_ir as ir

from onnxbuild.ir.quantized import WEIGHTED
from onnxbuild.ir.walk import nodes

_FLOATS = (ir.DataType.FLOAT, ir.DataType.DOUBLE)


@dataclass(frozen=True)
class Leftover:
    """Float weights of one operator type: how many nodes and bytes, and whether out of the tool's reach or excluded."""

    op_type: str
    is_unseen: bool
    is_excluded: bool
    nodes: int
    bytes: int


def float_weights(model: ir.Model, excluded: Collection[str], unseen: Collection[str]) -> list[Leftover]:
    """Return the float weights that nodes read directly, by operator type, largest first; each tensor counts once.

    A weight has two dims or more: biases and scales are no matter. `excluded` names nodes that are to stay in float,
    `unseen` those that no data went through.
    """
    found: dict[tuple[str, bool, bool], list[int]] = {}
    seen: set[int] = set()
    for node in nodes(model):
        if node.op_type in WEIGHTED and (size := sum(_sizes(node, seen))):
            key = (node.op_type, node.name in unseen, node.name in excluded)
            entry = found.setdefault(key, [0, 0])
            entry[0] += 1
            entry[1] += size
    left = [Leftover(*key, nodes=count, bytes=size) for key, (count, size) in found.items()]
    return sorted(left, key=lambda one: (-one.bytes, one.op_type, one.is_unseen, one.is_excluded))


def _sizes(node: ir.Node, seen: set[int]) -> Iterator[int]:
    for value in node.inputs:
        tensor = value.const_value if value is not None else None
        if tensor is not None and tensor.dtype in _FLOATS and len(tensor.shape) > 1 and id(tensor) not in seen:
            seen.add(id(tensor))
            yield tensor.nbytes
