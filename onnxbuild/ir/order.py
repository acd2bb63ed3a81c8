"""The one order of a graph's nodes, depth-first from its outputs, and what no output needs; knows no names."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.ir.walk import Body, nested, roots, subgraphs


def sort_and_prune(model: ir.Model) -> None:
    """Put the nodes of every graph and function in their one order; drop nodes, initializers and functions unused.

    The order is that of a depth-first walk from the outputs, inputs first to last, so it depends on the graph
    alone and not on the order in which a tool wrote it. Raises StageFailure (`cyclic-graph`).
    """
    _drop_unused_functions(model)
    for body in roots(model):
        for inner in reversed(list(nested(body))):
            _arrange(inner)
    for inner in nested(model.graph):
        if isinstance(inner, ir.Graph):
            _drop_unused_initializers(inner)
    for identifier in sorted(model.functions):
        model.functions[identifier] = model.functions.pop(identifier)


def depth_first(body: Body) -> list[ir.Node]:
    """Return the nodes that the outputs of `body` need, each after those it reads from; subgraphs are sorted before."""
    order: list[ir.Node] = []
    state: dict[ir.Node, bool] = {}  # False while its inputs are walked, True when placed
    for output in body.outputs:
        root = _producer(output, body)
        if root is None or root in state:
            continue
        state[root] = False
        stack = [(root, _reads(root, body))]
        while stack:
            node, rest = stack[-1]
            source = next(rest, None)
            if source is None:
                stack.pop()
                state[node] = True
                order.append(node)
            elif source not in state:
                state[source] = False
                stack.append((source, _reads(source, body)))
            elif not state[source]:
                raise StageFailure(
                    "cyclic-graph",
                    f"node '{source.name}' ({source.op_type}) reads what it makes itself, through '{node.name}'",
                    node=source.name,
                )
    return order


def _arrange(body: Body) -> None:
    order = depth_first(body)
    needed = set(order)
    dead = [node for node in body if node not in needed]
    for node in dead:  # detached by hand: `safe` removal refuses nodes that other dead nodes read
        for index in range(len(node.inputs)):
            node.replace_input_with(index, None)
        for _, graph in subgraphs(node):
            _detach(graph)
    body.remove(dead)
    body.extend(order)


def _detach(graph: ir.Graph) -> None:
    for inner in nested(graph):
        for node in inner:
            for index in range(len(node.inputs)):
                node.replace_input_with(index, None)


def _producer(value: ir.Value, body: Body) -> ir.Node | None:
    node = value.producer()
    return node if node is not None and node.graph is _graph(body) else None


def _graph(body: Body) -> ir.Graph:
    return body.graph if isinstance(body, ir.Function) else body


def _reads(node: ir.Node, body: Body) -> Iterator[ir.Node]:
    """Yield the nodes of `body` that `node` reads from, those that its subgraphs capture last."""
    for value in _read_values(node):
        source = _producer(value, body)
        if source is not None:
            yield source


def _read_values(node: ir.Node) -> Iterator[ir.Value]:
    for value in node.inputs:
        if value is not None:
            yield value
    for _, graph in subgraphs(node):
        for inner in graph:
            yield from _read_values(inner)
        yield from graph.outputs


def _drop_unused_initializers(graph: ir.Graph) -> None:
    captured = {id(v) for inner in nested(graph) for v in inner.outputs}
    for name, value in list(graph.initializers.items()):
        if not value.uses() and id(value) not in captured:
            del graph.initializers[name]


def _drop_unused_functions(model: ir.Model) -> None:
    needed: set[ir.OperatorIdentifier] = set()
    waiting: list[Body] = [model.graph]
    while waiting:
        for body in nested(waiting.pop()):
            for node in body:
                identifier = node.op_identifier()
                if identifier in model.functions and identifier not in needed:
                    needed.add(identifier)
                    waiting.append(model.functions[identifier])
    for identifier in list(model.functions):
        if identifier not in needed:
            del model.functions[identifier]
