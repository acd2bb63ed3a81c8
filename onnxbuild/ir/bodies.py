"""The bodies of If, Loop and Scan as models of their own, cut out and put back; knows no tools and runs nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxbuild.ir.quantized import WEIGHTED
from onnxbuild.ir.walk import nested, replace_reads, subgraphs

HOLDERS = ("If", "Loop", "Scan")
FIRST_SCAN = 9
"""The opset from which Scan is what it is now: before it had a batch axis of its own."""


@dataclass(frozen=True)
class Body:
    """The graph in an attribute of a node, as a model: its inputs are the graph's own and then what it captured.

    `formal` are the graph's own inputs, `captured` the values that it read from around it; both names.
    """

    holder: str
    attribute: str
    formal: tuple[str, ...]
    captured: tuple[str, ...]
    model: ir.Model

    @property
    def name(self) -> str:
        """Return what it is called: that of the node and of the attribute."""
        return f"{self.holder}/{self.attribute}"


def holders(graph: ir.Graph) -> list[ir.Node]:
    """Return the nodes of a graph, not of those in it, that hold bodies and say by their operator how they run."""
    return [node for node in graph if node.op_type in HOLDERS and node.domain in ("", "ai.onnx")]


def has_weights(model: ir.Model) -> bool:
    """Say whether any node, however deep, reads a constant that is a weight: of two dims or more, in float."""
    return any(
        tensor is not None and tensor.dtype.is_floating_point() and len(tensor.shape) > 1
        for graph in model.graphs()
        for node in graph
        if node.op_type in WEIGHTED
        for tensor in (value.const_value for value in node.inputs if value is not None)
    )


def localize(model: ir.Model) -> dict[str, str]:
    """Give each body constants of its own in place of those that it reads from around it.

    The tensors are shared in memory. What then reads a constant of the main graph is in the main graph. Return what
    the copies were called first, with the names of what they copy, for `restore_names`.
    """
    taken, names = {value.name or "" for graph in model.graphs() for value in _values(graph)}, {}
    for body in nested(model.graph):
        if not isinstance(body, ir.Graph) or body is model.graph:
            continue
        own: dict[ir.Value, ir.Value] = {}
        for node in body:
            for index, value in enumerate(node.inputs):
                if value is not None and value.is_initializer() and value.graph is not body:
                    if value not in own:
                        own[value] = _copy(value, body, taken)
                        names[own[value].name or ""] = value.name or ""
                    node.replace_input_with(index, own[value])
    _drop_unread(model)
    restore_names(model, names)
    return names


def restore_names(model: ir.Model, names: Mapping[str, str]) -> None:
    """Call constants what they were called before `localize` made copies, where nothing else is called so."""
    taken = {value.name or "" for graph in model.graphs() for value in _values(graph)}
    for graph in model.graphs():
        for name, value in list(graph.initializers.items()):
            if name in names and names[name] not in taken:
                value.name = names[name]
                taken.add(value.name)


def cut(model: ir.Model) -> list[Body]:
    """Return the bodies in the main graph of `model`, which stays as it is and must be `localize`d before."""
    return [
        _cut(node, attribute, graph, model) for node in holders(model.graph) for attribute, graph in subgraphs(node)
    ]


def captured(bodies: Iterable[Body], graph: ir.Graph) -> list[str]:
    """Return the names of the values that nodes of `graph` write and that bodies in it read, each once."""
    written = {value.name for node in graph for value in node.outputs}
    return [name for name in dict.fromkeys(name for body in bodies for name in body.captured) if name in written]


def expose(model: ir.Model, names: Collection[str]) -> list[str]:
    """Make values of the main graph outputs, those that are none yet, and return the names of these."""
    outputs = {*model.graph.outputs}
    written = (value for node in model.graph for value in node.outputs if value.name in names)
    found = [value for value in written if value not in outputs]
    model.graph.outputs.extend(found)
    return [value.name or "" for value in found]


def conceal(model: ir.Model, names: Collection[str]) -> None:
    """Take back what `expose` did."""
    for value in [value for value in model.graph.outputs if value.name in names]:
        model.graph.outputs.remove(value)


def set_input_types(model: ir.Model, calls: Iterable[Mapping[str, np.ndarray]], *, ranks: bool = True) -> None:
    """Give the inputs the types of the arrays that `calls` feed, and with `ranks` the rank that these agree in."""
    types: dict[str, ir.DataType] = {}
    found: dict[str, set[int]] = {}
    for call in calls:
        for name, array in call.items():
            types[name] = ir.DataType.STRING if array.dtype == object else ir.DataType.from_numpy(array.dtype)
            found.setdefault(name, set()).add(array.ndim)
    for value in model.graph.inputs:
        name = value.name or ""
        if name in types:
            value.type = ir.TensorType(types[name])
        own = found.get(name, set()) if ranks else set()
        value.shape = ir.Shape([None] * own.pop()) if len(own) == 1 else None


def put_back(model: ir.Model, body: Body, changed: ir.Model, instead: Mapping[str, ir.Value] | None = None) -> None:
    """Put the graph of `changed`, made from `body.model`, where it was cut out: into the node of that name.

    What it captured it reads from the values of those names, or from those that `instead` has for them.
    """
    graph, before = changed.graph, body.model.graph
    around = {**{value.name or "": value for value in _values(model.graph)}, **(instead or {})}
    for value in list(graph.inputs[len(body.formal) :]):
        _replace(graph, value, around[value.name or ""])
        graph.inputs.remove(value)
    for old, new in zip(
        (*before.inputs[: len(body.formal)], *before.outputs), (*graph.inputs, *graph.outputs), strict=True
    ):
        new.type, new.shape = old.type, old.shape.copy() if old.shape is not None else None
    node = next(node for node in model.graph if node.name == body.holder)
    _detach(node.attributes[body.attribute].as_graph())
    node.attributes[body.attribute] = ir.AttrGraph(body.attribute, graph)
    for domain, version in changed.opset_imports.items():
        model.opset_imports.setdefault(domain, version)


def share(model: ir.Model) -> None:
    """Let graphs read one tensor of the main graph where several of them hold equal ones, of two dims or more.

    What no node reads is gone before.
    """
    _drop_unread(model)
    found: dict[tuple[ir.DataType, tuple[int, ...], bytes], list[ir.Value]] = {}
    for graph in model.graphs():
        for value in graph.initializers.values():
            tensor = value.const_value
            if tensor is None or tensor.dtype == ir.DataType.STRING or value.is_graph_output():
                continue
            if len(tensor.shape) > 1:
                digest = hashlib.sha256(tensor.tobytes()).digest()
                found.setdefault((tensor.dtype, tuple(tensor.shape.numpy()), digest), []).append(value)
    for first, *others in found.values():
        if any(value.graph is not first.graph for value in others):
            for value in others:
                value.replace_all_uses_with(first)
                _unregister(value)
            if first.graph is not model.graph:
                _unregister(first)
                first.name = _free(first.name or "weight", {value.name or "" for value in _values(model.graph)})
                model.graph.register_initializer(first)


def _cut(node: ir.Node, attribute: str, graph: ir.Graph, model: ir.Model) -> Body:
    inner = graph.clone(allow_outer_scope_values=True)
    formal = tuple(value.name or "" for value in inner.inputs)
    own = {value for body in nested(inner) if isinstance(body, ir.Graph) for value in _values(body)}
    taken: dict[ir.Value, ir.Value] = {}
    for value in _read(inner):
        if value not in own and value not in taken:
            taken[value] = ir.Value(name=value.name)
    for number, value in enumerate(inner.outputs):
        if isinstance(value.type, ir.SequenceType | ir.OptionalType):  # of which older opsets have no Identity
            continue
        if value not in own or value.producer() is None:  # handed on: tools fail where what comes in goes out
            same = ir.Node("", "Identity", [value], num_outputs=1, name=f"{node.name}/{attribute}/output_{number}")
            same.outputs[0].name = same.name
            same.outputs[0].type, same.outputs[0].shape = value.type, value.shape.copy() if value.shape else None
            inner.append(same)
            inner.outputs[number] = same.outputs[0]
    for old, new in taken.items():
        _replace(inner, old, new)
    inner.inputs.extend(taken.values())
    inner.opset_imports.update(model.opset_imports)
    names = tuple(value.name or "" for value in taken)
    return Body(node.name or "", attribute, formal, names, ir.Model(inner, ir_version=model.ir_version))


def _read(graph: ir.Graph) -> Iterator[ir.Value]:
    for body in nested(graph):
        for node in body:
            yield from (value for value in node.inputs if value is not None)
        yield from body.outputs


def _replace(graph: ir.Graph, old: ir.Value, new: ir.Value) -> None:
    """Let `graph` and all graphs in it read `new` for `old`; others that read it still do."""
    replace_reads(graph, old, new)
    for body in nested(graph):
        for number, value in enumerate(body.outputs):
            if value is old:
                body.outputs[number] = new


def _detach(graph: ir.Graph) -> None:
    """Let a graph that is thrown away read nothing any more."""
    for body in nested(graph):
        for node in body:
            for index in range(len(node.inputs)):
                node.replace_input_with(index, None)


def _drop_unread(model: ir.Model) -> None:
    for graph in model.graphs():
        for name, value in list(graph.initializers.items()):
            if not value.uses() and not value.is_graph_output() and not value.is_graph_input():
                del graph.initializers[name]


def _values(graph: ir.Graph) -> Iterator[ir.Value]:
    yield from graph.inputs
    yield from graph.initializers.values()
    for node in graph:
        yield from node.outputs


def _copy(value: ir.Value, graph: ir.Graph, taken: set[str]) -> ir.Value:
    own = ir.Value(
        name=_free(value.name or "", taken), type=value.type, shape=value.shape, const_value=value.const_value
    )
    graph.register_initializer(own)
    return own


def _unregister(value: ir.Value) -> None:
    assert value.graph is not None
    del value.graph.initializers[value.name or ""]


def _free(name: str, taken: set[str]) -> str:
    """Return `name`, or with a number where it is taken, and take it."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    taken.add(free)
    return free
