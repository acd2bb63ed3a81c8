"""What the outputs' dims are, inferred by onnx from the inputs'; knows no recipe."""

from __future__ import annotations

from collections.abc import Set

import onnx
import onnx_ir as ir

from onnxbuild.ir.describe import value_shape
from onnxbuild.ir.model import PROTOBUF_LIMIT

_SMALL = 1024


def infer_output_dims(model: ir.Model, symbols: Set[str]) -> None:
    """Write what shape inference finds into the graph's outputs: sizes, and dims named in `symbols`.

    What a file declares stays where inference finds nothing, and gives way where ranks differ: files are wrong
    about it. Large weights stand aside, so that a model of any size fits.
    """
    declared = {value: value_shape(value) for value in model.graph.outputs}
    inferred = _inferred(model)
    for value, have in declared.items():
        found = inferred.get(value.name or "")
        if found is None:
            continue
        if have is None or len(have) != len(found):
            have = (None,) * len(found)
        dims: list[int | str | None] = []
        for old, new in zip(have, found, strict=True):
            known = new if isinstance(new, int) or new in symbols else None
            dims.append(old if known is None else known)
        value.shape = ir.Shape(dims)


def _inferred(model: ir.Model) -> dict[str, tuple[int | str | None, ...] | None]:
    copy = model.clone()
    for value in copy.graph.outputs:
        value.shape = None
    for value in list(copy.graph.initializers.values()):
        tensor = value.const_value
        if tensor is None or tensor.nbytes <= _SMALL:
            continue
        value.type, value.shape = ir.TensorType(tensor.dtype), ir.Shape(tensor.shape.numpy())
        del copy.graph.initializers[value.name or ""]
        if value not in copy.graph.inputs:
            copy.graph.inputs.append(value)
    proto = ir.to_proto(copy)
    if proto.ByteSize() > PROTOBUF_LIMIT:
        return {}
    del copy
    try:
        result = onnx.shape_inference.infer_shapes(proto, data_prop=True)
        outputs = [ir.serde.deserialize_value_info_proto(value, None) for value in result.graph.output]
    except Exception:  # a model that cannot be inferred keeps what it declares
        return {}
    return {value.name or "": value_shape(value) for value in outputs}
