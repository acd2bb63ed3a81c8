"""Counting what an ONNX file holds from its protobuf wire format, before anything parses it; knows no operators.

A parser turns two bytes of an empty node into hundreds; this reads tags and lengths only, and skips weights.
Field numbers are those of onnx.proto.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

# The messages to look into: kind -> field number -> kind of the field's message. Fields that are not listed count as
# one element each.
_INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_NODE_SIZE = "node"
_ROW = 64
"""Numbers of one field in a row from which the rest of the row is counted at once: trees have millions."""
_FIRST, _BLOCK = 1 << 8, 1 << 20
"""Bytes of a row that are looked at first, and at most at a time: many short rows cost no more than they hold."""
_LONGEST_VARINT = 10


class WireError(Exception):
    """The file is not a protobuf message, or holds more than the limits allow."""


@dataclass
class Counts:
    """How many nodes, protobuf fields and, apart from these, numbers a file holds; how deep its graphs nest.

    `sparse` counts sparse tensors.
    """

    nodes: int = 0
    fields: int = 0
    numbers: int = 0
    depth: int = 0
    sparse: int = 0


def count(path: Path, *, max_nodes: int, max_fields: int, max_numbers: int, max_depth: int) -> Counts:
    """Return the counts of the model in `path`; raises WireError as soon as one limit is passed.

    Numbers have a limit of their own, because a parsed one takes a few bytes and an empty message hundreds.
    """
    counts = Counts()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        stack: list[tuple[int, int, str, int]] = [(0, len(data), "model", 0)]
        while stack:
            start, end, kind, depth = stack.pop()
            if kind == "graph":
                depth += 1
                counts.depth = max(counts.depth, depth)
                if depth > max_depth:
                    raise WireError(f"graphs nest more than {max_depth} deep")
            elif kind == "sparse":
                counts.sparse += 1
            children = _children(data, start, end, kind, counts, max_fields, max_numbers)
            stack.extend((a, b, child, depth) for a, b, child in children)
            if counts.nodes > max_nodes:
                raise WireError(f"it has more than {max_nodes} nodes")
    return counts


def _children(
    data: mmap.mmap, position: int, end: int, kind: str, counts: Counts, max_fields: int, max_numbers: int
) -> list[tuple[int, int, str]]:
    """Return the spans of the messages inside one message, and count its fields."""
    inside = _INSIDE[kind]
    found: list[tuple[int, int, str]] = []
    last, row = -1, 0
    while position < end:
        tag, position = _varint(data, position, end)
        wire = tag & 7
        row = row + 1 if tag == last else 1
        last = tag
        if wire == _BYTES:
            counts.fields += 1
            if counts.fields > max_fields:
                raise WireError(f"it has more than {max_fields:,} fields")
            length, position = _varint(data, position, end)
            if length > end - position:
                raise WireError("a field is longer than the file; the file is cut off or damaged")
            child = inside.get(tag >> 3)
            if child is not None:
                if child == _NODE_SIZE:
                    counts.nodes += 1
                if length:
                    found.append((position, position + length, child))
            position += length
        elif wire == _VARINT:
            _, position = _varint(data, position, end)
        elif wire == _FIXED64:
            position += 8
        elif wire == _FIXED32:
            position += 4
        else:
            raise WireError("it is not a protobuf file")
        if position > end:
            raise WireError("a field is longer than the file; the file is cut off or damaged")
        if wire != _BYTES:
            more = 0
            if row >= _ROW:
                more, position = _skip_row(data, position, end, tag)
                row = 0  # what follows is no plain part of it
            counts.numbers += 1 + more
            if counts.numbers > max_numbers:
                raise WireError(f"it has more than {max_numbers:,} numbers")
    return found


def _skip_row(data: mmap.mmap, position: int, end: int, tag: int) -> tuple[int, int]:
    """Return how many more numbers of the field `tag` follow without anything between them, and where they end.

    What is not plainly such a row is left to the caller.
    """
    skipped, size = 0, min(_FIRST, _BLOCK)
    while tag < 0x80 and position < end:
        block = np.frombuffer(data, np.uint8, min(end - position, size), position)
        found, length = _row_of_varints(block, tag) if tag & 7 == _VARINT else _row_of_fixed(block, tag)
        skipped += found
        position += length
        if not found or len(block) - length > _LONGEST_VARINT:
            break
        size = min(8 * size, _BLOCK)
    return skipped, position


def _row_of_varints(block: np.ndarray, tag: int) -> tuple[int, int]:
    ends = np.flatnonzero(block < 0x80)  # a varint ends with the first byte without its high bit
    pairs = len(ends) // 2
    tags, values = ends[: 2 * pairs : 2], ends[1 : 2 * pairs : 2]
    begins = np.concatenate(([0], values[:-1] + 1)) if pairs else tags
    plain = (tags == begins) & (block[tags] == tag) & (values - tags <= _LONGEST_VARINT)
    kept = pairs if plain.all() else int(np.argmin(plain))
    return kept, int(values[kept - 1]) + 1 if kept else 0


def _row_of_fixed(block: np.ndarray, tag: int) -> tuple[int, int]:
    stride = 9 if tag & 7 == _FIXED64 else 5
    whole = len(block) // stride
    plain = block[: whole * stride : stride] == tag
    kept = whole if plain.all() else int(np.argmin(plain))
    return kept, kept * stride


def _varint(data: mmap.mmap, position: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while position < end and shift < 70:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise WireError("a number runs past the end; the file is cut off or damaged")
