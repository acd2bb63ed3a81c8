"""A model artifact on disk: a folder with `model.onnx` and, above a size, one external weights file; knows no tools."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir

from onnxbuild.base.atomic import link_or_copy
from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.ir.walk import Tensor, TensorSlot, tensor_slots

MODEL = "model.onnx"
WEIGHTS = "model.onnx.data"
INLINE_LIMIT = 1_000_000
"""Bytes of tensors above which they go to a file of their own."""
SMALL_TENSOR = 1024
"""Bytes below which a tensor stays in the graph file even then."""
LARGE = 10_000_000
"""Bytes of a graph file above which models that are done with leave memory first: trees take fifteen times that."""
BLOCK = 4 << 20
PROTOBUF_LIMIT = 2**31 - 1
_PAGE = 4096
_LINE = 64
_PACKED = {np.dtype(t) for t in (ml_dtypes.int4, ml_dtypes.uint4, ml_dtypes.int2, ml_dtypes.uint2)} | {
    np.dtype(ml_dtypes.float4_e2m1fn)
}


def read_model(folder: Path) -> ir.Model:
    """Return the model of an artifact folder, its external weights memory-mapped."""
    return read_model_file(folder / MODEL)


def read_model_file(path: Path) -> ir.Model:
    """Return the model in an ONNX file, its external weights memory-mapped.

    Raises StageFailure (`bad-onnx-file`) when the file is not a model.
    """
    if path.exists() and path.stat().st_size > LARGE:
        gc.collect()  # of models read before: onnx_ir's are rings of references, which Python frees late
    try:
        model = ir.from_proto(onnx.load(path, format="protobuf", load_external_data=False))
    except Exception as error:  # protobuf, onnx and onnx_ir raise unrelated types
        raise StageFailure("bad-onnx-file", f"{path.name} is not an ONNX model: {_first_line(error)}") from None
    for slot in tensor_slots(model):
        if isinstance(slot.tensor, ir.ExternalTensor):
            slot.tensor.base_dir = path.parent
    return model


def write_model(model: ir.Model, folder: Path, *, like: Path | None = None) -> None:
    """Write `model` as an artifact: the same model gives the same bytes, and the same weights the same weights file.

    Tensors lie in the weights file in the order of their content's digest, equal ones once, so that neither names
    nor the order of nodes change it. The model in memory stays as it is. Where its weights are those of the artifact
    in the folder `like`, and read from there, the weights file is a hard link to that artifact's: then none is read.
    Raises StageFailure (`bad-tensor`, `model-too-large`).
    """
    folder.mkdir(parents=True, exist_ok=True)
    slots = list(tensor_slots(model))
    numeric = [slot for slot in slots if slot.tensor.dtype != ir.DataType.STRING]
    large: list[TensorSlot] = []
    if sum(slot.tensor.nbytes for slot in numeric) > INLINE_LIMIT:
        large = [slot for slot in numeric if slot.tensor.nbytes >= SMALL_TENSOR]
    weights = folder / (WEIGHTS + ".part")
    places = (like and _places_in(like / WEIGHTS, large)) or {}
    if like is not None and places:
        (folder / WEIGHTS).unlink(missing_ok=True)  # of two names of one file, renaming one to the other does nothing
        link_or_copy(like / WEIGHTS, weights)
    elif large:
        places = _write_weights(large, weights)
    replaced = {id(slot): _external(slot.tensor, places[id(slot)]) for slot in large}
    with _swapped([(slot, replaced.get(id(slot)) or _inline(slot)) for slot in slots]):
        data = serialize(model)
    _write_whole(folder / MODEL, data)
    if large:
        weights.replace(folder / WEIGHTS)
    else:
        (folder / WEIGHTS).unlink(missing_ok=True)


def serialize(model: ir.Model) -> bytes:
    """Return the bytes of the graph file; external tensors stay where they are."""
    proto = ir.to_proto(model)
    _drop_info_of_initializers(proto.graph)
    if proto.ByteSize() > PROTOBUF_LIMIT:
        raise StageFailure(
            "model-too-large",
            f"the graph without its external weights takes {proto.ByteSize()} bytes; an ONNX file holds 2 GB",
            hint="large attributes (trees, strings) cannot lie outside the file; make the model smaller",
        )
    data: bytes = proto.SerializeToString(deterministic=True)
    return data


def _drop_info_of_initializers(graph: onnx.GraphProto) -> None:
    """Remove what onnx_ir writes a second time: a tool that transposes a weight would leave the old dims behind."""
    names = {tensor.name for tensor in graph.initializer}
    kept = [info for info in graph.value_info if info.name not in names]
    if len(kept) < len(graph.value_info):
        del graph.value_info[:]
        graph.value_info.extend(kept)
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs) if attribute.HasField("g") else attribute.graphs:
                _drop_info_of_initializers(inner)


def tensor_blocks(tensor: Tensor) -> Iterator[memoryview]:
    """Yield a tensor's little-endian bytes as ONNX lays them out, in blocks of a multiple of eight.

    External data is read, not mapped: mapped pages count as memory of the process until it ends. Raises EOFError
    when the file is too short, OSError when it is not there.
    """
    if not isinstance(tensor, ir.ExternalTensor):
        yield _inline_bytes(tensor)
        return
    left = tensor.nbytes
    with Path(tensor.path).open("rb", buffering=0) as file:
        file.seek(tensor.offset or 0)
        while left:
            block = file.read(min(BLOCK, left))
            while len(block) < min(BLOCK, left):
                more = file.read(min(BLOCK, left) - len(block))
                if not more:
                    raise EOFError(f"{Path(tensor.path).name} ends {left - len(block)} bytes too early")
                block += more
            left -= len(block)
            yield memoryview(block)


def _inline_bytes(tensor: Tensor) -> memoryview:
    array = tensor.numpy()
    if array.dtype in _PACKED or array.dtype.byteorder == ">" or array.size == 0:
        return memoryview(tensor.tobytes())
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def weight_file_bytes(model: ir.Model) -> int:
    """Return the bytes of the files that the model's external tensors lie in, each file counted once."""
    files = {Path(slot.tensor.path) for slot in tensor_slots(model) if isinstance(slot.tensor, ir.ExternalTensor)}
    return sum(file.stat().st_size for file in files)


def _write_weights(slots: list[TensorSlot], path: Path) -> dict[int, int]:
    by_digest: dict[bytes, list[TensorSlot]] = {}
    for slot in slots:
        by_digest.setdefault(_digest(slot), []).append(slot)
    places: dict[int, int] = {}
    with path.open("wb") as file:
        for _, same in sorted(by_digest.items()):
            offset = _aligned(file.tell(), same[0].tensor.nbytes)
            file.write(bytes(offset - file.tell()))
            for block in tensor_blocks(same[0].tensor):
                file.write(block)
            places.update((id(slot), offset) for slot in same)
    return places


def _places_in(weights: Path, slots: list[TensorSlot]) -> dict[int, int]:
    """Return where the tensors lie in another artifact's weights file, when they are just all that is in it, else {}.

    That file was written by content too: with the same tensors another would be the same.
    """
    places: dict[int, int] = {}
    regions: set[tuple[int, int]] = set()
    for slot in slots:
        tensor = slot.tensor
        if not isinstance(tensor, ir.ExternalTensor) or Path(tensor.path) != weights:
            return {}
        places[id(slot)] = tensor.offset or 0
        regions.add((tensor.offset or 0, tensor.nbytes))
    end = 0
    for offset, size in sorted(regions):
        if offset != _aligned(end, size):
            return {}
        end = offset + size
    return places if slots and end == weights.stat().st_size else {}


def _aligned(end: int, size: int) -> int:
    """Return where a tensor of `size` bytes begins that follows one that ends at `end`."""
    grain = _PAGE if size >= 16 * _PAGE else _LINE
    return -(-end // grain) * grain


def _digest(slot: TensorSlot) -> bytes:
    hasher, size = hashlib.sha256(), 0
    try:
        for block in tensor_blocks(slot.tensor):
            hasher.update(block)
            size += len(block)
    except Exception as error:  # numpy, onnx_ir and the system raise unrelated types
        raise _bad_tensor(slot, error) from None
    if size != slot.tensor.nbytes:
        raise _bad_tensor(slot, f"it holds {size} bytes where its shape needs {slot.tensor.nbytes}")
    return hasher.digest()


def _bad_tensor(slot: TensorSlot, reason: object) -> StageFailure:
    return StageFailure("bad-tensor", f"tensor '{slot.name}' cannot be read: {_first_line(reason)}")


def _external(tensor: Tensor, offset: int) -> ir.ExternalTensor:
    return ir.ExternalTensor(
        WEIGHTS, offset, tensor.nbytes, tensor.dtype, shape=_static_shape(tensor), name=tensor.name or ""
    )


def _inline(slot: TensorSlot) -> Tensor:
    """Return the tensor with its content as raw bytes: the typed fields of TensorProto are a second spelling."""
    tensor = slot.tensor
    try:
        if tensor.dtype == ir.DataType.STRING:
            texts = [v.encode() if isinstance(v, str) else bytes(v) for v in tensor.numpy().reshape(-1).tolist()]
            return ir.StringTensor(texts, shape=_static_shape(tensor), name=tensor.name)
        return ir.Tensor(tensor.numpy(), dtype=tensor.dtype, shape=_static_shape(tensor), name=tensor.name)
    except Exception as error:  # as above
        raise _bad_tensor(slot, error) from None


def _static_shape(tensor: Tensor) -> ir.Shape:
    return ir.Shape(tensor.shape.numpy())


@contextmanager
def _swapped(pairs: list[tuple[TensorSlot, Tensor]]) -> Iterator[None]:
    try:
        for slot, tensor in pairs:
            slot.put(tensor)
        yield
    finally:
        for slot, _ in pairs:
            slot.put(slot.tensor)


def _write_whole(path: Path, data: bytes) -> None:
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    part.replace(path)


def _first_line(error: object) -> str:
    while isinstance(error, BaseException) and error.__cause__ is not None:  # onnx_ir wraps what went wrong
        error = error.__cause__
    return str(error).strip().split("\n", 1)[0] or type(error).__name__


def add_metadata(folder: Path, metadata: Mapping[str, str]) -> None:
    """Add entries to the model's metadata in an artifact's graph file; the weights file stays untouched."""
    model = read_model(folder)
    merged = {**model.metadata_props, **metadata}
    model.metadata_props.clear()
    model.metadata_props.update(sorted(merged.items()))
    _write_whole(folder / MODEL, serialize(model))
