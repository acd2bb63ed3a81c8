"""What a picture of a graph shows: all of a small one, of a large one what is new in it; knows nothing of drawing.

Weights count by type and shape alone: their values are not read.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import onnx
import onnx_ir as ir

from onnxbuild.ir.dtypes import dtype_name
from onnxbuild.ir.facts import NodeFacts, PartFacts, PictureFacts
from onnxbuild.ir.lists import LONG
from onnxbuild.ir.walk import nested, subgraphs

MOST = 60
"""Nodes that a person can still follow in one drawing."""
_HUB = 6
"""Changed readers up to which a node's edges make one part of them; what feeds more has a part of its own."""
_EDGES = 24
"""Inputs and outputs of the graph that get a box of their own."""
_NAME, _TEXT = 120, 90
"""Characters of a name, and of a node's attributes."""
_CONSTANTS = frozenset(("Constant", "DequantizeLinear", "Identity"))
"""What is drawn as a constant of its readers where it reads nothing but constants."""
_ABSENT = object()
_PLAIN = frozenset((
    ir.AttributeType.INT, ir.AttributeType.FLOAT, ir.AttributeType.STRING,
    ir.AttributeType.INTS, ir.AttributeType.FLOATS, ir.AttributeType.STRINGS,
))  # fmt: skip
_LISTS = frozenset((ir.AttributeType.INTS, ir.AttributeType.FLOATS, ir.AttributeType.STRINGS))
_QUANTIZERS = frozenset(("QuantizeLinear", "DequantizeLinear"))

Signature = tuple[object, ...]
T = TypeVar("T")


def picture(model: ir.Model, before: ir.Model | None) -> PictureFacts:
    """Return the main graph as boxes, with what differs from `before` marked where there is a model before."""
    graph = _Graph(model)
    changes: dict[ir.Node, str] = {}
    removed = None
    if before is not None:
        old = _Graph(before)
        changes, removed = _changes(graph, old), len({*map(_key, old.drawn)} - {*map(_key, graph.drawn)})
    parts, shown = _parts(graph, changes, before is not None)
    return PictureFacts(
        whole=len(graph.drawn) <= MOST,
        parts=tuple(parts),
        nodes=graph.nodes,
        shown=shown,
        folded=len(graph.folded),
        changed=len(changes) if before is not None else None,
        removed=removed,
    )


class _Graph:
    """The nodes of the main graph that get a box, and who reads what."""

    def __init__(self, model: ir.Model) -> None:
        self.model = model
        every = list(model.graph)
        self.nodes = len(every)
        self.folded = {node for node in every if _is_constant(node)}
        self.drawn = [node for node in every if node not in self.folded]
        self.number = {node: number for number, node in enumerate(self.drawn)}
        self._inputs = {value for value in model.graph.inputs if not value.is_initializer()}
        self.reads = {node: list(dict.fromkeys(self._read(node))) for node in self.drawn}
        self.readers: dict[ir.Node, list[ir.Node]] = {node: [] for node in self.drawn}
        for node, values in self.reads.items():
            for value in values:
                if (producer := value.producer()) is not None:
                    self.readers[producer].append(node)

    def producers(self, node: ir.Node) -> list[ir.Node]:
        """Return the nodes with boxes that a node reads."""
        return [producer for value in self.reads[node] if (producer := value.producer()) is not None]

    def _read(self, node: ir.Node) -> Iterator[ir.Value]:
        """Yield the values that edges lead from: made in or given to this graph, read by the node or its subgraphs."""
        inner = (reader for _, graph in subgraphs(node) for body in nested(graph) for reader in body)
        for reader in (node, *inner):
            for value in reader.inputs:
                if value is None or value.is_initializer():
                    continue
                producer = value.producer()
                if (producer in self.number) if producer is not None else (value in self._inputs):
                    yield value


def _is_constant(node: ir.Node) -> bool:
    if node.op_type not in _CONSTANTS or any(output.is_graph_output() for output in node.outputs):
        return False
    return all(value is None or value.is_initializer() for value in node.inputs)


def _key(node: ir.Node) -> str:
    return node.name or (node.outputs[0].name if node.outputs else None) or ""


def _changes(graph: _Graph, old: _Graph) -> dict[ir.Node, str]:
    """Return how nodes differ from those of the same name in `old`: new, changed, or moved to other inputs.

    A node that reads something new has not moved: it is the new one that stepped between.
    """
    known = {_key(node): node for node in old.drawn}
    changes: dict[ir.Node, str] = {}
    for node in graph.drawn:
        was = known.get(_key(node))
        if was is None:
            changes[node] = "new"
        elif _content(was) != _content(node):
            changes[node] = "changed"
        elif [v.name for v in old.reads[was]] != [v.name for v in graph.reads[node]] and not any(
            changes.get(producer) == "new" for producer in graph.producers(node)
        ):
            changes[node] = "moved"
    return changes


def _content(node: ir.Node) -> Signature:
    plain = {a.name: a.value for a in node.attributes.values() if a.is_ref() or a.type in _PLAIN}
    return node.domain, node.op_type, plain, tuple(_weights(node)), _nested(node)


def _parts(graph: _Graph, changes: Mapping[ir.Node, str], compared: bool) -> tuple[list[PartFacts], int]:
    """Return what is drawn, and how many nodes that shows: one part for all that look the same."""
    if len(graph.drawn) <= MOST or not compared:
        group = graph.drawn[:MOST]
        return [PartFacts(_boxes(graph, group, changes, whole=len(group) == len(graph.drawn)))], len(group)
    alike: dict[Signature, list[tuple[list[ir.Node], list[ir.Node]]]] = {}
    for seeds in _components(graph, changes):
        around = {n for seed in seeds for n in (*graph.producers(seed), *_first(graph.readers[seed]))}
        group = sorted({*seeds, *around}, key=graph.number.__getitem__)
        alike.setdefault(_look(graph, group, changes), []).append((seeds, group))
    parts: list[PartFacts] = []
    left, shown = MOST, set[ir.Node]()
    for groups in sorted(alike.values(), key=lambda groups: -len(groups) * len(groups[0][0])):
        group = groups[0][1]
        if len(group) > left and parts:
            continue
        drawn = group[:left]
        times = len(groups) if len(drawn) == len(group) else 1
        parts.append(PartFacts(_boxes(graph, drawn, changes, whole=False), times))
        left -= len(drawn)
        for _, same in groups[:times]:
            shown.update(same[: len(drawn)])
    return parts, len(shown)


def _first(readers: Sequence[ir.Node]) -> list[ir.Node]:
    return list(dict.fromkeys(readers))[:_HUB]


def _components(graph: _Graph, changes: Mapping[ir.Node, str]) -> list[list[ir.Node]]:
    """Return the changed nodes, grouped by the edges between them, in graph order.

    A node that feeds many joins none of them: what a shape or a mask feeds would be one part, too large to read.
    """
    group = {node: [node] for node in graph.drawn if node in changes}
    hubs = {node for node in group if len(set(graph.readers[node]) & changes.keys()) > _HUB}
    for node in list(group):
        for producer in graph.producers(node):
            if producer in changes and producer not in hubs and (other := group[producer]) is not group[node]:
                small, large = sorted((group[node], other), key=len)
                large.extend(small)
                for member in small:
                    group[member] = large
    unique = {id(members): members for members in group.values()}
    return [sorted(members, key=graph.number.__getitem__) for members in unique.values()]


def _look(graph: _Graph, group: Sequence[ir.Node], changes: Mapping[ir.Node, str]) -> Signature:
    place = {node: number for number, node in enumerate(group)}
    return tuple(
        (
            _operator(node),
            changes.get(node, ""),
            tuple(_weights(node)),
            tuple(place[producer] for producer in graph.producers(node) if producer in place),
        )
        for node in group
    )


@dataclass
class _Boxes:
    made: list[NodeFacts]
    of_value: dict[ir.Value, int]
    of_node: dict[ir.Node, int]


def _boxes(
    graph: _Graph, group: Sequence[ir.Node], changes: Mapping[ir.Node, str], *, whole: bool
) -> tuple[NodeFacts, ...]:
    """Return the group's boxes in graph order, between those of the graph's inputs and outputs that it touches."""
    boxes = _Boxes([], {}, {})
    inside, read = set(group), {value for node in group for value in graph.reads[node]}
    for value in [v for v in graph.model.graph.inputs if v in read or (whole and not v.is_initializer())][:_EDGES]:
        boxes.of_value[value] = len(boxes.made)
        boxes.made.append(_edge_box(value, "input", ()))
    for node in group:
        reads = []
        cut = sum(reader not in inside for reader in graph.readers[node])
        for value in graph.reads[node]:
            producer = value.producer()
            box = boxes.of_value.get(value) if producer is None else boxes.of_node.get(producer)
            if box is None:
                cut += 1
            else:
                reads.append(box)
        boxes.of_node[node] = len(boxes.made)
        boxes.made.append(
            NodeFacts(
                name=_cut(_key(node), _NAME),
                op=_cut(_operator(node), _NAME),
                reads=tuple(dict.fromkeys(reads)),
                text=_attributes(node, _TEXT),
                weights=tuple(_weights(node)),
                dtype=_delivered(node.outputs) or _quantized(node),
                nested=_nested(node),
                change=changes.get(node, ""),
                cut=cut,
            )
        )
    ends = [(v, boxes.of_node[p]) for v in graph.model.graph.outputs if (p := v.producer()) in boxes.of_node and p]
    for value, box in ends[:_EDGES]:
        boxes.made.append(_edge_box(value, "output", (box,)))
    return tuple(boxes.made)


def _edge_box(value: ir.Value, kind: str, reads: tuple[int, ...]) -> NodeFacts:
    return NodeFacts(name=_cut(value.name or "", _NAME), op="", kind=kind, reads=reads, dtype=_delivered([value]))


def _delivered(values: Iterable[ir.Value]) -> str:
    name = next((dtype_name(value.dtype) for value in values), "unknown")
    return "" if name == "unknown" else name


def _quantized(node: ir.Node) -> str:
    """Return what a quantiser delivers: the type of its zero points, or of its scales where it goes back."""
    which = {"QuantizeLinear": 2, "DequantizeLinear": 1}.get(node.op_type)
    value = node.inputs[which] if which is not None and which < len(node.inputs) else None
    return _delivered([value]) if value is not None else ""


def _operator(node: ir.Node) -> str:
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"


def _nested(node: ir.Node) -> int:
    return sum(len(body) for _, graph in subgraphs(node) for body in nested(graph))


def _weights(node: ir.Node) -> Iterator[str]:
    """Yield type and shape of each constant that a node reads, scalars and the scales of quantisers left out."""
    found = []
    for value in () if node.op_type in _QUANTIZERS else node.inputs:
        constant = value
        while constant is not None and (producer := constant.producer()) is not None and _is_constant(producer):
            if producer.op_type == "Constant" or not producer.inputs:
                break
            constant = producer.inputs[0]
        if constant is not None and (text := _constant(constant)) is not None:
            found.append(text)
    yield from found[:4]
    if len(found) > 4:
        yield f"and {len(found) - 4} more"


def _constant(value: ir.Value) -> str | None:
    tensor = value.const_value
    producer = value.producer()
    if producer is not None and producer.op_type == "Constant":
        attribute = producer.attributes.get("value")
        tensor = attribute.as_tensor() if attribute is not None and not attribute.is_ref() else None
    if tensor is None or not (value.is_initializer() or producer is not None) or tensor.size <= 1:
        return None
    return f"{dtype_name(tensor.dtype)} {'×'.join(map(str, tensor.shape.numpy()))}"


def _attributes(node: ir.Node, limit: int) -> str:
    """Return the attributes that are numbers or words, such as "group 1, kernel_shape 3 3"; long lists are counted."""
    parts, long = [], 0
    for name, attribute in sorted(node.attributes.items()):
        if attribute.is_ref() or _is_default(node, attribute):
            continue
        if attribute.type in _LISTS and len(attribute.value) >= LONG:
            long += 1
            continue
        match attribute.type:
            case ir.AttributeType.INT:
                parts.append(f"{name} {attribute.as_int()}")
            case ir.AttributeType.FLOAT:
                parts.append(f"{name} {attribute.as_float():.4g}")
            case ir.AttributeType.STRING:
                parts.append(f"{name} {_cut(attribute.as_string(), 40)}")
            case ir.AttributeType.INTS:
                parts.append(f"{name} {_list(attribute.as_ints(), str)}")
            case ir.AttributeType.FLOATS:
                parts.append(f"{name} {_list(attribute.as_floats(), '{:.4g}'.format)}")
            case ir.AttributeType.STRINGS:
                parts.append(f"{name} {_list(attribute.as_strings(), str)}")
            case _:
                continue
    lists = [f"{long} long list" + "s" * (long > 1)] if long else []
    return _cut(", ".join((*parts, *lists)), limit)


def _is_default(node: ir.Node, attribute: ir.Attr) -> bool:
    version = node.graph.opset_imports.get(node.domain) if node.graph is not None else None
    return bool(attribute.value == _defaults(node.domain, node.op_type, version or 0).get(attribute.name, _ABSENT))


@functools.cache
def _defaults(domain: str, op_type: str, version: int) -> dict[str, object]:
    """Return the values that ONNX gives to an operator's attributes where they are not written."""
    try:
        schema = onnx.defs.get_schema(op_type, version, domain)
    except onnx.defs.SchemaError:
        return {}
    written = {name: known.default_value for name, known in schema.attributes.items() if known.default_value.name}
    return {name: ir.serde.deserialize_attribute(proto).value for name, proto in written.items()}


def _list(values: Sequence[T], shown: Callable[[T], str]) -> str:
    """Return the first of what may be hundreds."""
    more = f" and {len(values) - 8:,} more" if len(values) > 8 else ""
    return " ".join(map(shown, values[:8])) + more


def _cut(text: str, limit: int) -> str:
    """Return the text with its middle left out where it is longer."""
    if len(text) <= limit:
        return text
    keep = limit - 1
    return f"{text[: keep - keep // 3]}…{text[len(text) - keep // 3 :]}"
