"""The float dtypes a graph holds and computes in; knows no limits."""

from __future__ import annotations

import onnx_ir as ir

from onnxbuild.ir.dtypes import dtype_name
from onnxbuild.ir.walk import bodies, tensor_slots


def float_dtypes(model: ir.Model) -> set[str]:
    """Return numpy's names of the float dtypes of all values and tensors that say theirs."""
    values = (value for body in bodies(model) for node in body for value in (*node.inputs, *node.outputs))
    found = {value.dtype for value in values if value is not None} | {s.tensor.dtype for s in tensor_slots(model)}
    return {dtype_name(dtype) for dtype in found if dtype is not None and dtype.is_floating_point()}
