"""Long lists in attributes, where trees and their like keep their numbers: what they hold, and take in the file.

Knows no operators.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from onnxbuild.ir.facts import ListFacts
from onnxbuild.ir.walk import nodes

LONG = 1000
"""Values from which a list counts as long."""
_KINDS = {
    ir.AttributeType.INTS: "int64",
    ir.AttributeType.FLOATS: "float32",
    ir.AttributeType.STRINGS: "string",
}


def long_lists(model: ir.Model) -> list[ListFacts]:
    """Return the long lists in the attributes of a model's nodes, the largest first."""
    found = [facts for node in nodes(model) for facts in _of_node(node)]
    return sorted(found, key=lambda facts: (-facts.bytes, facts.node, facts.attribute))


def _of_node(node: ir.Node) -> Iterator[ListFacts]:
    for name, attribute in node.attributes.items():
        if attribute.is_ref() or attribute.type not in _KINDS or len(attribute.value) < LONG:
            continue
        yield ListFacts(
            node=node.name or node.op_type,
            attribute=name,
            dtype=_KINDS[attribute.type],
            length=len(attribute.value),
            bytes=_written(attribute),
        )


def _written(attribute: ir.Attr) -> int:
    """Return the bytes of the list as protobuf writes it: a tag of one byte before each value."""
    if attribute.type == ir.AttributeType.FLOATS:
        return 5 * len(attribute.value)
    if attribute.type == ir.AttributeType.STRINGS:
        lengths = ((len(text.encode()), count) for text, count in Counter(attribute.as_strings()).items())
        return sum((1 + _varint(length) + length) * count for length, count in lengths)
    numbers = np.asarray(attribute.value, np.int64).view(np.uint64)
    longer = sum(int(np.count_nonzero(numbers >> np.uint64(7 * more))) for more in range(1, 10))
    return 2 * len(numbers) + longer


def _varint(number: int) -> int:
    return max(1, -(-number.bit_length() // 7))
