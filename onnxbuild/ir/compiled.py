"""What a compiled (EP-context) model holds, and whether it takes and gives what the model does; runs neither."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import onnx

OPERATOR = "EPContext"
COMPATIBILITY = "ep_compatibility_info."
"""How the model's metadata begin in which a provider says for what it compiled."""


class CompiledParts(msgspec.Struct, frozen=True, kw_only=True):
    """`parts` are the pieces of the graph that a provider compiled, `left` how many of each operator it left.

    `sdk` are the versions that the pieces name, `compatibility` what the provider says of where they run.
    """

    parts: int
    left: dict[str, int] = {}
    sdk: tuple[str, ...] = ()
    compatibility: str = ""


def read_parts(file: Path) -> CompiledParts:
    """Return what the file of a compiled model holds."""
    model = onnx.load(file, load_external_data=False)
    nodes = [*_nodes(model.graph)]
    parts = [node for node in nodes if node.op_type == OPERATOR]
    left = Counter(_operator(node) for node in nodes if node.op_type != OPERATOR)
    versions = (a.s.decode(errors="replace") for node in parts for a in node.attribute if a.name == "ep_sdk_version")
    return CompiledParts(
        parts=len(parts),
        left=dict(sorted(left.items(), key=lambda item: (-item[1], item[0]))),
        sdk=tuple(dict.fromkeys(versions)),
        compatibility=next((p.value for p in model.metadata_props if p.key.startswith(COMPATIBILITY)), ""),
    )


def interface_of(file: Path) -> list[str]:
    """Return the inputs and outputs of a model file in words, each with type and size: equal for equal interfaces."""
    graph = onnx.load(file, load_external_data=False).graph
    initializers = {tensor.name for tensor in graph.initializer}
    fed = (value for value in graph.input if value.name not in initializers)
    return [*_told("input", fed), *_told("output", graph.output)]


def _told(kind: str, values: Iterable[onnx.ValueInfoProto]) -> Iterator[str]:
    for value in values:
        tensor = value.type.tensor_type
        dims = (str(dim.dim_value) if dim.HasField("dim_value") else "?" for dim in tensor.shape.dim)
        yield f"{kind} '{value.name}' {onnx.TensorProto.DataType.Name(tensor.elem_type).lower()}[{', '.join(dims)}]"


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for nested in (*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs):
                yield from _nodes(nested)


def _operator(node: onnx.NodeProto) -> str:
    return f"{node.domain}.{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type
