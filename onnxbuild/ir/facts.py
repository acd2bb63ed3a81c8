"""What a model is, as values that a report can show without reading the model; knows nothing of how they were found."""

from __future__ import annotations

import msgspec


class ValueFacts(msgspec.Struct, frozen=True):
    """A graph input or output. `dtype` is numpy's name or "string"; a dim is a size, a symbol, or None when unknown.

    `shape` None means that the model declares no rank.
    """

    name: str
    dtype: str
    shape: tuple[int | str | None, ...] | None


class InitializerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One weight tensor: `zeros` is the number of elements that are exactly zero (None: not counted)."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int
    zeros: int | None = None


class ListFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A long list in a node's attribute, as trees have them; `bytes` is what it takes in the graph file."""

    node: str
    attribute: str
    dtype: str
    length: int
    bytes: int


class NodeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One box of a picture of a graph.

    `kind` is node, input, output; `reads` are the numbers of the boxes it reads, `text` its attributes in short,
    `weights` the constants it holds ("int8 32×16×3×3"), `dtype` what it delivers, where that is known, `nested` how
    many nodes its subgraphs hold. `change` says against the model before: "", new, changed (other operator, attributes,
    weights), moved (other inputs). `cut` counts edges to boxes that are not shown.
    """

    name: str
    op: str
    kind: str = "node"
    reads: tuple[int, ...] = ()
    text: str = ""
    weights: tuple[str, ...] = ()
    dtype: str = ""
    nested: int = 0
    change: str = ""
    cut: int = 0


class PartFacts(msgspec.Struct, frozen=True):
    """A connected part of a graph; `times` is how many parts of the graph look the same."""

    nodes: tuple[NodeFacts, ...]
    times: int = 1


class PictureFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What can be drawn of a graph: the whole of a small one, of a large one what differs from the model before.

    `nodes` is what the main graph holds, `shown` how many of them are in the parts (or look the same as one that is),
    `folded` how many are drawn as constants of their readers. `changed` counts nodes that are not as in the model
    before, `removed` those that are gone; None where there was none to compare with.
    """

    whole: bool
    parts: tuple[PartFacts, ...]
    nodes: int
    shown: int
    folded: int = 0
    changed: int | None = None
    removed: int | None = None


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A model in numbers.

    `opsets` maps a domain ("" is ONNX's own) to its version; `operators` an operator ("Conv",
    "com.microsoft.FusedConv") to its count, subgraphs and functions included; `bytes` is the graph file and its
    external data; `weights` the largest tensors first (Constant nodes included), at most 50 of `weight_tensors`;
    `lists` are the largest of `list_count` long lists in attributes, which take `list_bytes` of the graph file;
    `structure` is the digest of the graph without the values of its weights.
    """

    inputs: tuple[ValueFacts, ...]
    outputs: tuple[ValueFacts, ...]
    opsets: dict[str, int]
    ir_version: int
    nodes: int
    operators: dict[str, int]
    bytes: int
    weight_bytes: int
    weight_tensors: int
    weight_bytes_by_dtype: dict[str, int]
    weights: tuple[InitializerFacts, ...]
    lists: tuple[ListFacts, ...] = ()
    list_count: int = 0
    list_bytes: int = 0
    metadata: dict[str, str] = {}
    picture: PictureFacts | None = None
    structure: str = ""


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where a node came from in the source: module path, and the file (as the source names it) and line if known."""

    module: str
    file: str | None = None
    line: int | None = None


class NodeDifference(msgspec.Struct, frozen=True, kw_only=True):
    """A node that differs: `kind` is added, removed, retyped, changed (attributes, outputs) or moved (only its inputs).

    `name` has the names of the nodes and attributes around it before it, for one in a subgraph; `details` say what
    differs, "axis: 1 → 2".
    """

    kind: str
    name: str
    op: str
    old_op: str | None = None
    details: tuple[str, ...] = ()


class TensorDifference(msgspec.Struct, frozen=True, kw_only=True):
    """A constant tensor that differs, an initializer or in an attribute; `old` and `new` are type and shape or None.

    For numbers of the same shape: `elements` that differ, `largest` difference, and `relative` is the norm of the
    difference over the norm of the old tensor; None where that is not a number.
    """

    name: str
    old: str | None
    new: str | None
    old_bytes: int = 0
    new_bytes: int = 0
    elements: int | None = None
    largest: float | None = None
    relative: float | None = None


class Field(msgspec.Struct, frozen=True):
    """Something about the whole model that differs: opset, IR version, an input, metadata; None is absent."""

    name: str
    old: str | None
    new: str | None


class ComparisonFacts(msgspec.Struct, frozen=True, kw_only=True):
    """In what two models differ. `node_counts` and `tensor_counts` count by kind; the lists may be cut.

    `nodes_before` and the like are what there is in all; `operators` are those whose counts differ, before and after;
    `picture` shows the newer graph against the older one.
    """

    fields: tuple[Field, ...]
    interface: tuple[Field, ...]
    nodes: tuple[NodeDifference, ...]
    node_counts: dict[str, int]
    nodes_before: int
    nodes_after: int
    tensors: tuple[TensorDifference, ...]
    tensor_counts: dict[str, int]
    tensors_before: int
    tensors_after: int
    operators: dict[str, tuple[int, int]]
    picture: PictureFacts

    @property
    def is_same(self) -> bool:
        """Whether nothing at all was found to differ."""
        return not (self.fields or self.interface or self.node_counts or self.tensor_counts)
