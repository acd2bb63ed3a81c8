"""The inputs and outputs of a converted graph under the recipe's names and dims; knows onnx graphs, no framework."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.recipe.types import Input

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir


def unknown_operators(proto: onnx.ModelProto) -> dict[str, str]:
    """Return the operators that are neither ONNX's nor ONNX Runtime's own, each with the name of one node.

    Converters leave what they cannot convert in place, or write it into the domain of an extension library.
    """
    import onnx

    found: dict[str, str] = {}
    for node in _nodes(proto.graph):
        domain = "" if node.domain == "ai.onnx" else node.domain
        if domain != "com.microsoft" and not onnx.defs.has(node.op_type, domain=domain):
            found.setdefault(node.op_type, node.name)
    return found


def write_with_names(
    proto: onnx.ModelProto, inputs: Mapping[str, Input], outputs: Mapping[str, str], path: Path
) -> None:
    """Write `proto` with its inputs and outputs renamed and reordered, and inputs given the declared dims.

    `inputs` and `outputs` map the converter's names, in the order to deliver. Inputs that the graph does not use
    are declared all the same. Dims of other values that only have a converter's symbol become unknown.
    """
    import onnx_ir as ir

    model = ir.from_proto(proto)
    graph = model.graph
    _drop_symbols(graph)
    _free_names(graph, {item.name for item in inputs.values()} | set(outputs.values()))
    have_inputs = {value.name: value for value in graph.inputs}
    have_outputs = {value.name: value for value in graph.outputs}
    if absent := [name for name in outputs if name not in have_outputs or name in have_inputs]:
        raise StageFailure("conversion-failed", f"the converted graph lacks {', '.join(absent)}", tool="tf2onnx")
    graph.inputs.clear()
    graph.outputs.clear()
    for raw, item in inputs.items():
        value = have_inputs.get(raw)
        if value is None:
            value = ir.Value(name=item.name, type=ir.TensorType(_dtype(item.dtype)))
        value.name, value.shape = item.name, ir.Shape(item.shape)
        graph.inputs.append(value)
    for raw, name in outputs.items():
        have_outputs[raw].name = name
        graph.outputs.append(have_outputs[raw])
    path.parent.mkdir(parents=True, exist_ok=True)
    ir.save(model, path)


def _drop_symbols(graph: ir.Graph) -> None:
    """Make dims unknown that have only a symbol of the converter's, which it numbers."""
    import onnx_ir as ir

    for value in _values(graph):
        if value.shape is not None and any(not isinstance(dim, int) for dim in value.shape):
            value.shape = ir.Shape([dim if isinstance(dim, int) else None for dim in value.shape])


def _free_names(graph: ir.Graph, wanted: set[str]) -> None:
    """Rename the values that bear a name which an input or output is to get."""
    for value in _values(graph):
        if value.name in wanted:
            value.name = f"{value.name}__0"


def _values(graph: ir.Graph) -> list[ir.Value]:
    """Return every value of the graph and its subgraphs, each once, in the order of the file."""
    found: dict[ir.Value, None] = {}
    for part in (graph, *graph.subgraphs()):
        found.update(dict.fromkeys(part.inputs))
        found.update(dict.fromkeys(part.initializers.values()))
    for node in graph.all_nodes():
        found.update(dict.fromkeys(node.outputs))
    return list(found)


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for part in (attribute.g, *attribute.graphs):
                yield from _nodes(part)


def _dtype(name: str) -> ir.DataType:
    import numpy as np
    import onnx_ir as ir

    return ir.DataType.STRING if name == "string" else ir.DataType.from_numpy(np.dtype(name))
