"""What a graph is without the values of its weights, as one digest; knows nothing of who compares it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from onnxbuild.base.codec import encode
from onnxbuild.ir.walk import Body, roots, subgraphs

_LISTS = (ir.AttributeType.INTS, ir.AttributeType.FLOATS)


def digest_structure(model: ir.Model) -> str:
    """Return the SHA-256 of a model's nodes, names, attributes, types and shapes.

    Values of tensors and of float lists in attributes are weights: of those only type and shape, or length, count.
    Opset imports, IR version and metadata are not in it.
    """
    digest = hashlib.sha256()
    for root in roots(model):
        for line in _body(root):
            digest.update(line + b"\n")
    return digest.hexdigest()


def _body(body: Body) -> Iterator[bytes]:
    kind = "graph" if isinstance(body, ir.Graph) else f"function {body.domain} {body.name} {body.overload}"
    yield encode([kind, [_value(value) for value in body.inputs], [_value(value) for value in body.outputs]])
    if isinstance(body, ir.Graph):
        for name in sorted(body.initializers):
            tensor = body.initializers[name].const_value
            yield encode(["initializer", name, _tensor(tensor)])
    for node in body:
        inputs = [value.name if value is not None else None for value in node.inputs]
        outputs = [value.name for value in node.outputs]
        attributes = [[name, _attribute(node.attributes[name])] for name in sorted(node.attributes)]
        yield encode([node.domain, node.op_type, node.overload, node.name, inputs, outputs, attributes])
        for attribute, graph in subgraphs(node):
            yield encode(["in", attribute])
            yield from _body(graph)
            yield b"out"


def _value(value: ir.Value) -> list[object]:
    dims = None if value.shape is None else [d if isinstance(d, int) else d.value for d in value.shape]
    return [value.name, str(value.type), dims]


def _tensor(tensor: ir.TensorProtocol | None) -> list[object] | None:
    return None if tensor is None else [tensor.dtype.name, [int(dim) for dim in tensor.shape.numpy()]]


def _attribute(attribute: ir.Attr) -> object:
    if attribute.is_ref():
        return ["ref", attribute.ref_attr_name]
    kind = attribute.type
    if kind == ir.AttributeType.TENSOR:
        return [kind.name, _tensor(attribute.as_tensor())]
    if kind == ir.AttributeType.TENSORS:
        return [kind.name, [_tensor(tensor) for tensor in attribute.as_tensors()]]
    if kind in _LISTS:
        whole = np.asarray(attribute.value, np.int64).tobytes() if kind == ir.AttributeType.INTS else b""
        return [kind.name, len(attribute.value), hashlib.sha256(whole).hexdigest()]
    if kind in (ir.AttributeType.INT, ir.AttributeType.FLOAT):
        return [kind.name, repr(attribute.value)]
    if kind in (ir.AttributeType.STRING, ir.AttributeType.STRINGS):
        return [kind.name, repr(attribute.value)]
    return kind.name  # graphs follow their node
