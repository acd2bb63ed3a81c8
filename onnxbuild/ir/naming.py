"""Which names of nodes and values stay, and how the others are made from scope and operator; knows no order.

A made node name is its scope and operator (`fc2/MatMul`, then `fc2/MatMul_2`); a value's is its node's and the output's
number (`fc2/MatMul:0`); an initializer's is its first reader's and ONNX's word for the place (`fc2/Conv/W`).
No name carries a number counted over the whole graph.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import onnx
import onnx_ir as ir

from onnxbuild.ir.walk import Body, nested, subgraphs

_ODD_NODE = re.compile(r"\d*|node_.*|n\d+|anonymous.*|.*(^|[/_])token_\d+.*")
_ODD_VALUE = re.compile(r"\d*|val_\d+|_v_\d+|onnx::\w+_\d+|anonymous.*|.*(^|[/_])token_\d+.*")


@dataclass(frozen=True)
class Names:
    """The node and value names of a model, as a tool found them."""

    nodes: frozenset[str]
    values: frozenset[str]


@dataclass(frozen=True)
class Rules:
    """What the names of one model mean: whether a node's, value's or initializer's name stays, and a node's scope.

    `scope` returns the module path of a node as far as the source tells ("" is the top module), else None.
    """

    keeps_node: Callable[[ir.Node], bool]
    keeps_value: Callable[[ir.Value], bool]
    keeps_initializer: Callable[[ir.Value], bool]
    scope: Callable[[ir.Node], str | None]
    preferred: dict[int, str] = field(default_factory=dict)
    """By the identity of an initializer: the name it should have if that is free."""


def given_names(before: Names | None) -> Rules:
    """Return the rules for a model whose names the source or an earlier step gave.

    Names stay but for empty, purely numeric and tool-numbered ones. With `before`, a new name stays only when it
    begins with a name that was there, as quantisers derive them (`fc2/MatMul_quant`).
    """

    def keeps_node(node: ir.Node) -> bool:
        name = node.name or ""
        odd = _ODD_NODE.fullmatch(name) is not None and (name[:5] != "node_" or name.startswith(f"node_{node.op_type}"))
        if before is None:
            return not odd
        return (name in before.nodes and not name.isdigit()) or (not odd and _derived(name, before.nodes) is not None)

    def keeps_value(value: ir.Value) -> bool:
        name = value.name or ""
        odd = _ODD_VALUE.fullmatch(name) is not None
        if before is None:
            return not odd
        known = name in before.values and not name.isdigit()
        return known or (not odd and _derived(name, before.values) is not None)

    def scope(node: ir.Node) -> str | None:
        if before is None or keeps_node(node):
            return None
        origin = _derived(node.name or "", before.nodes, r"[^A-Za-z0-9]")
        return _folder(origin) or None if origin is not None else None

    return Rules(keeps_node, keeps_value, keeps_value, scope)


def _derived(name: str, known: frozenset[str], suffix: str = "_[^/:]*$") -> str | None:
    """Return the longest known name that `name` extends by a suffix, or None."""
    ends = [end for end in range(len(name)) if re.match(suffix, name[end:])]
    return next((name[:end] for end in reversed(ends) if end and name[:end] in known), None)


def assign_names(body: Body, rules: Rules) -> None:
    """Name every node and value below `body` (a main graph or a function), which is in its one order."""
    naming = _Naming(body, rules)
    naming.name_nodes(body, "")
    naming.name_values()
    naming.apply()


class _Naming:
    """The names given out so far in one namespace: a graph with its subgraphs, or a function."""

    def __init__(self, body: Body, rules: Rules) -> None:
        self.rules = rules
        self.bodies = list(nested(body))
        self.scopes: dict[ir.Node, str] = {}
        self.node_names: set[str] = set()
        self.value_names: set[str] = set()
        self.values: dict[ir.Value, str] = {}
        self.kept_nodes: set[ir.Node] = set()
        self.owners: dict[Body, str] = {}
        self.index = {node: number for number, node in enumerate(node for inner in self.bodies for node in inner)}
        for inner in self.bodies:
            for node in inner:
                if node.name and rules.keeps_node(node) and node.name not in self.node_names:
                    self.node_names.add(node.name)
                    self.kept_nodes.add(node)
        self._keep_values(body)

    def _keep_values(self, outer: Body) -> None:
        interface = [*outer.inputs, *outer.outputs]
        for value in interface:
            if value not in self.values and value.name:
                self.values[value] = value.name
                self.value_names.add(value.name)
        for inner in self.bodies:
            for value in _defined(inner):
                keeps = self.rules.keeps_initializer if value.is_initializer() else self.rules.keeps_value
                if value in self.values or not value.name or not keeps(value) or value.name in self.value_names:
                    continue
                self.values[value] = value.name
                self.value_names.add(value.name)

    def name_nodes(self, body: Body, outer_scope: str) -> None:
        for node in body:
            scope = self.rules.scope(node)
            if node in self.kept_nodes:
                assert node.name is not None
                scope = scope if scope is not None else _folder(node.name)
            else:
                if scope is None:
                    scope = self._scope_around(node)
                if not scope:  # the top module of a subgraph is the node that holds it
                    scope = outer_scope
                node.name = _free(f"{scope}/{node.op_type}" if scope else node.op_type, self.node_names)
            self.scopes[node] = scope
            for attribute, graph in subgraphs(node):
                self.owners[graph] = f"{node.name}/{attribute}"
                self.name_nodes(graph, self.owners[graph])

    def _scope_around(self, node: ir.Node) -> str | None:
        """Return the scope of the nearest thing that has one: own name, weights, outputs, sources, readers."""
        for value in node.inputs:
            if value is not None and value.is_initializer() and self.rules.keeps_initializer(value):
                scope = _scope_of_weight(value.name or "")
                if scope:
                    return scope
        for value in node.outputs:
            if value in self.values and "/" in self.values[value]:
                return _folder(self.values[value])
        for value in node.inputs:
            source = value.producer() if value is not None else None
            if source is not None and self.scopes.get(source):
                return self.scopes[source]
        readers = {use.node for value in node.outputs for use in value.uses()}
        for reader in sorted(readers, key=self.index.__getitem__):  # uses come in no order of ours
            scope = self.rules.scope(reader) or (_folder(reader.name or "") if reader in self.kept_nodes else "")
            if scope:
                return scope
        return None

    def name_values(self) -> None:
        for body in self.bodies:
            owner = self.owners.get(body, "")
            for number, value in enumerate(body.inputs):
                self._name(value, f"{owner}/input_{number + 1}" if owner else f"input_{number + 1}")
            for node in body:
                for index, read in enumerate(node.inputs):
                    if read is not None and read.is_initializer() and read not in self.values:
                        made = f"{node.name}/{_place(node, index)}"
                        self._name(read, self.rules.preferred.get(id(read), made))
                for index, value in enumerate(node.outputs):
                    if value.name != "" or value.uses():
                        self._name(value, f"{node.name}:{index}")
            for value in _defined(body):  # an initializer that is only a subgraph's output
                if value.is_initializer():
                    self._name(value, f"{owner}/constant" if owner else "constant")

    def _name(self, value: ir.Value, name: str) -> None:
        if value not in self.values:
            self.values[value] = _free(name, self.value_names)

    def apply(self) -> None:
        renamed = {v.name: new for v, new in self.values.items() if v.name is not None}
        for body in self.bodies:
            initializers = list(body.initializers.values()) if isinstance(body, ir.Graph) else []
            if isinstance(body, ir.Graph):
                body.initializers.clear()
            named = [*initializers, *_defined(body)]
            for value in named:
                value.name = self.values.get(value, value.name)
                annotation = value.meta.get("quant_parameter_tensor_names")
                if annotation:
                    value.meta["quant_parameter_tensor_names"] = {k: renamed.get(v, v) for k, v in annotation.items()}
            if isinstance(body, ir.Graph):
                for value in _by_first_use(body, initializers):
                    assert value.name is not None
                    body.initializers[value.name] = value


def _defined(body: Body) -> Iterable[ir.Value]:
    """Yield the values that a graph defines itself: inputs, initializers, its nodes' outputs."""
    yield from body.inputs
    if isinstance(body, ir.Graph):
        yield from body.initializers.values()
    for node in body:
        yield from node.outputs


def _by_first_use(body: ir.Graph, initializers: list[ir.Value]) -> list[ir.Value]:
    wanted = set(initializers)
    order: dict[ir.Value, None] = {}
    for inner in nested(body):
        for node in inner:
            for value in node.inputs:
                if value is not None and value in wanted:
                    order[value] = None
    return [*order, *sorted((v for v in initializers if v not in order), key=lambda v: v.name or "")]


def _free(name: str, taken: set[str]) -> str:
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    taken.add(free)
    return free


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _scope_of_weight(name: str) -> str:
    if "/" in name:
        folder = _folder(name)
        return _folder(folder) if name.count("/") > 1 else folder
    return name.rpartition(".")[0].replace(".", "/")


def _place(node: ir.Node, index: int) -> str:
    """Return ONNX's word for an operator's input, such as "W" or "shape"."""
    domain = "" if node.domain == "ai.onnx" else node.domain
    if not onnx.defs.has(node.op_type, domain=domain):
        return f"input_{index + 1}"
    formal = onnx.defs.get_schema(node.op_type, domain=domain).inputs
    if index < len(formal) and formal[index].option != onnx.defs.OpSchema.FormalParameterOption.Variadic:
        return str(formal[index].name)
    return f"input_{index + 1}"
