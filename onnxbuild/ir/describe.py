"""A model in numbers, read from its file with the weights memory-mapped; judges nothing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx_ir as ir

from onnxbuild.ir.dtypes import dtype_name
from onnxbuild.ir.facts import InitializerFacts, ModelFacts, ValueFacts
from onnxbuild.ir.lists import long_lists
from onnxbuild.ir.model import MODEL, read_model_file, tensor_blocks, weight_file_bytes
from onnxbuild.ir.picture import MOST, picture
from onnxbuild.ir.structure import digest_structure
from onnxbuild.ir.walk import Tensor, TensorSlot, nodes, tensor_slots

LARGEST = 50
"""How many tensors `ModelFacts.weights` lists, and how many lists in attributes `ModelFacts.lists`."""
COUNTED_BYTES = 1 << 30
"""Zeros are counted in the largest tensors until so many bytes were read."""


def describe(path: Path, before: Path | None = None) -> ModelFacts:
    """Return the facts of a model artifact's folder or of an ONNX file; `before` is the model it was made from.

    That one is read for the picture of a large graph; a small one is drawn whole.
    Raises StageFailure (`bad-onnx-file`).
    """
    file = path / MODEL if path.is_dir() else path
    model = read_model_file(file)
    old = read_model_file(before / MODEL) if before is not None and len(model.graph) > MOST else None
    return describe_model(model, file.stat().st_size + weight_file_bytes(model), old)


def describe_model(model: ir.Model, size: int, before: ir.Model | None = None) -> ModelFacts:
    """Return the facts of a model in memory; `size` is the bytes of its files."""
    slots = _distinct(model)
    by_dtype: Counter[str] = Counter()
    for slot in slots:
        by_dtype[dtype_name(slot.tensor.dtype)] += _bytes_of(slot.tensor)
    largest = sorted(slots, key=lambda slot: (-_bytes_of(slot.tensor), slot.name))[:LARGEST]
    operators = Counter(_operator(node) for node in nodes(model))
    lists = long_lists(model)
    return ModelFacts(
        inputs=tuple(_value(value) for value in model.graph.inputs if not value.is_initializer()),
        outputs=tuple(_value(value) for value in model.graph.outputs),
        opsets=dict(model.opset_imports),
        ir_version=model.ir_version,
        nodes=operators.total(),
        operators=dict(sorted(operators.items(), key=lambda item: (-item[1], item[0]))),
        bytes=size,
        weight_bytes=by_dtype.total(),
        weight_tensors=len(slots),
        weight_bytes_by_dtype=dict(sorted(by_dtype.items(), key=lambda item: (-item[1], item[0]))),
        weights=_initializers(largest),
        lists=tuple(lists[:LARGEST]),
        list_count=len(lists),
        list_bytes=sum(one.bytes for one in lists),
        metadata=dict(sorted(model.metadata_props.items())),
        picture=picture(model, before),
        structure=digest_structure(model),
    )


def value_shape(value: ir.Value) -> tuple[int | str | None, ...] | None:
    """Return a value's dims: sizes, symbols, None where unknown (negative sizes too); None when no rank is declared."""
    if value.shape is None:
        return None
    dims = (dim if isinstance(dim, int) else dim.value for dim in value.shape)
    return tuple(None if dim == "" or (isinstance(dim, int) and dim < 0) else dim for dim in dims)


def _value(value: ir.Value) -> ValueFacts:
    dtype = dtype_name(value.dtype)
    if isinstance(value.type, ir.SequenceType):
        dtype = f"sequence({dtype})"
    elif isinstance(value.type, ir.OptionalType):
        dtype = f"optional({dtype})"
    return ValueFacts(value.name or "", dtype, value_shape(value))


def _distinct(model: ir.Model) -> list[TensorSlot]:
    return list(tensor_slots(model))


def _operator(node: ir.Node) -> str:
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"


def _bytes_of(tensor: Tensor) -> int:
    if tensor.dtype != ir.DataType.STRING:
        return tensor.nbytes
    return sum(len(text) for text in tensor.numpy().reshape(-1).tolist())


def _initializers(slots: list[TensorSlot]) -> tuple[InitializerFacts, ...]:
    facts: list[InitializerFacts] = []
    left = COUNTED_BYTES
    for slot in slots:
        size = _bytes_of(slot.tensor)
        zeros = _zeros(slot.tensor) if size <= left else None
        left -= size if zeros is not None else 0
        facts.append(
            InitializerFacts(
                name=slot.name,
                dtype=dtype_name(slot.tensor.dtype),
                shape=tuple(int(dim) for dim in slot.tensor.shape.numpy()),
                bytes=size,
                zeros=zeros,
            )
        )
    return tuple(facts)


def _zeros(tensor: Tensor) -> int | None:
    """Return how many elements of a float tensor are zero; None for other types and for content that is missing."""
    if not tensor.dtype.is_floating_point() or tensor.dtype.bitwidth < 16:
        return None
    kind = np.dtype(f"<u{tensor.dtype.bitwidth // 8}")
    signless = kind.type((1 << (tensor.dtype.bitwidth - 1)) - 1)  # minus zero is zero too
    zeros = 0
    try:
        for block in tensor_blocks(tensor):
            words = np.frombuffer(block, kind)
            zeros += words.size - int(np.count_nonzero(words & signless))
    except (OSError, EOFError, ValueError, TypeError):
        return None
    return zeros
