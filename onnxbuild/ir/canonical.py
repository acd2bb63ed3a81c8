"""One form for one model: order, names and contents that depend on the graph alone, and where its nodes came from.

Knows no files. See DESIGN.md, "Early cut-off": a model that two fresh processes build from the same source is the
same bytes, whatever counters, hash seeds, folders and comments the exporter saw.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir

from onnxbuild.ir.facts import Origin
from onnxbuild.ir.frameworks import exporter_rules, origins
from onnxbuild.ir.naming import Names, assign_names, given_names
from onnxbuild.ir.order import sort_and_prune
from onnxbuild.ir.walk import Body, bodies, nested, nodes, roots, tensor_slots
from onnxbuild.recipe.types import Framework

PRODUCER = "onnxbuild"
"""Stands for the exporter's name and version; names of a model that carries it were made here and stay."""
_COUNTED_DIM = re.compile(r".*__\d+|s\d+|Unknown\w*")
_TOOL_KEYS = ("onnx.infer", "onnx.quant.pre_process", "onnx_opt_version")
_CONSTANTS = {
    "value_float": ir.DataType.FLOAT,
    "value_floats": ir.DataType.FLOAT,
    "value_int": ir.DataType.INT64,
    "value_ints": ir.DataType.INT64,
}


def names_of(model: ir.Model) -> Names:
    """Return all names of a model, to tell afterwards which ones a tool made."""
    return Names(
        frozenset(node.name for node in nodes(model) if node.name),
        frozenset(value.name for body in bodies(model) for value in _values(body) if value.name),
    )


def canonicalize(
    model: ir.Model,
    *,
    source: Framework | None = None,
    before: Names | None = None,
    modules: Sequence[str] = (),
    root: Path | None = None,
) -> dict[str, Origin]:
    """Bring `model` into its canonical form, in place, and return where its nodes came from, by node name.

    `source` says which exporter made the model just now, and so which of its names are made up; without it names
    stay, but for empty, numeric and tool-numbered ones, and with `before` (`names_of` the model that a tool was
    given) but for those that the tool made up. `modules` are the layer names of the source, where known; `root` the
    folder that files of origins are named from. Canonical form:

    - nodes depth-first from the outputs; what no output needs is gone, unused functions and opset imports too;
    - Constant nodes of the main graph are initializers, and initializers are no graph inputs;
    - no doc strings, value info, metadata of graphs, nodes and values, or producer; model metadata of an ONNX
      source stays, sorted;
    - attributes sorted by name; functions too.

    Raises StageFailure (`cyclic-graph`).
    """
    fresh = source not in (None, Framework.ONNX) and model.producer_name != PRODUCER
    _free_initializers(model)
    _lift_constants(model.graph)
    sort_and_prune(model)
    found = origins(model, root)
    rules = exporter_rules(model, source, modules, root) if fresh and source is not None else given_names(before)
    _clear(model)
    for body in roots(model):
        assign_names(body, rules)
    _trim_opsets(model)
    _clean_tensors(model)
    if fresh:
        _forget_counted_dims(model.graph)
        model.graph.name, model.domain, model.model_version = "main", None, None
        model.metadata_props.clear()
    _set_metadata(model)
    model.producer_name, model.producer_version = PRODUCER, None
    return {node.name: found[node] for node in nodes(model) if node in found and node.name}


def _free_initializers(model: ir.Model) -> None:
    """Make initializers constants: those that old files list among the inputs as well are no inputs of ours."""
    for graph in nested(model.graph):
        if not isinstance(graph, ir.Graph):
            continue
        for value in [v for v in graph.inputs if v.is_initializer()]:
            graph.inputs.remove(value)
    model.ir_version = max(model.ir_version, 4)


def _lift_constants(graph: ir.Graph) -> None:
    """Turn Constant nodes into initializers, where quantisers and pruning look; graph outputs stay nodes."""
    for node in list(graph):
        if node.op_type != "Constant" or node.domain not in ("", "ai.onnx") or len(node.outputs) != 1:
            continue
        old = node.outputs[0]
        tensor = _constant(node)
        if tensor is None or not old.name or old.is_graph_output() or old.name in graph.initializers:
            continue
        new = ir.Value(name=old.name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(tensor.shape.numpy()))
        new.const_value = tensor
        new.metadata_props.update(old.metadata_props)
        old.replace_all_uses_with(new)
        graph.remove(node, safe=True)
        old.name = None
        tensor.name = new.name
        graph.initializers.add(new)


def _constant(node: ir.Node) -> ir.TensorProtocol | None:
    for name, attribute in node.attributes.items():
        if attribute.is_ref():
            return None
        if name == "value" and attribute.type == ir.AttributeType.TENSOR:
            return attribute.as_tensor()
        if name in _CONSTANTS:
            dtype = _CONSTANTS[name]
            return ir.Tensor(np.array(attribute.value, dtype=dtype.numpy()), dtype=dtype)
    return None


def _values(body: Body) -> list[ir.Value]:
    own = list(body.initializers.values()) if isinstance(body, ir.Graph) else []
    return [*body.inputs, *own, *(value for node in body for value in node.outputs)]


def _clear(model: ir.Model) -> None:
    """Drop what says nothing about the function that the model computes."""
    model.doc_string = None
    for body in bodies(model):
        body.doc_string = None
        body.metadata_props.clear()
        interface = {*body.inputs, *body.outputs}
        for value in _values(body):
            value.doc_string = None
            value.metadata_props.clear()
            if value not in interface and not value.is_initializer():
                value.type = value.shape = None
        for node in body:
            node.doc_string = None
            node.metadata_props.clear()
            for name in sorted(node.attributes):
                attribute = node.attributes.pop(name)
                attribute.doc_string = None
                node.attributes[name] = attribute


def _forget_counted_dims(graph: ir.Graph) -> None:
    """Make dims unknown whose symbol is only a counter of the exporter's process (`unk__36`, `s77`)."""
    for value in (*graph.inputs, *graph.outputs):
        if value.shape is None or value.shape.frozen:
            continue
        for axis, dim in enumerate(value.shape):
            if isinstance(dim, ir.SymbolicDim) and dim.value and _COUNTED_DIM.fullmatch(dim.value):
                value.shape[axis] = None


def _clean_tensors(model: ir.Model) -> None:
    for slot in tensor_slots(model):
        slot.tensor.metadata_props.clear()
        slot.tensor.name = "" if slot.node is not None else slot.name


def _trim_opsets(model: ir.Model) -> None:
    """Keep the imports that are used, ONNX's own first and always; a function's domains count for the model."""
    scopes: list[tuple[dict[str, int], Body]] = [(f.opset_imports, f) for f in model.functions.values()]
    for imports, function in scopes:
        _keep(imports, {node.domain for inner in nested(function) for node in inner}, main=False)
    used = {node.domain for inner in nested(model.graph) for node in inner}
    for function in model.functions.values():
        used |= set(function.opset_imports)
        for domain, version in function.opset_imports.items():
            model.opset_imports.setdefault(domain, version)
    _keep(model.opset_imports, used, main=True)


def _keep(imports: dict[str, int], used: set[str], *, main: bool) -> None:
    versions = dict(imports)
    if "ai.onnx" in versions:
        versions[""] = max(versions.pop("ai.onnx"), versions.get("", 0))
    wanted = {"" if domain == "ai.onnx" else domain for domain in used} | ({""} if main else set())
    imports.clear()
    for domain in sorted(wanted & set(versions)):
        imports[domain] = versions[domain]


def _set_metadata(model: ir.Model) -> None:
    kept = {k: v for k, v in sorted(model.metadata_props.items()) if k not in _TOOL_KEYS}
    model.metadata_props.clear()
    model.metadata_props.update(kept)
