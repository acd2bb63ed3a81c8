"""What element types are called: numpy's names for ONNX's, and which of them numpy has itself."""

from __future__ import annotations

import onnx_ir as ir


def dtype_name(dtype: ir.DataType | None) -> str:
    """Return numpy's (or ml_dtypes') name of an ONNX element type, "string", or "unknown"."""
    if dtype is None or dtype == ir.DataType.UNDEFINED:
        return "unknown"
    return "string" if dtype == ir.DataType.STRING else str(dtype.numpy().name)


def is_beyond_numpy(dtype: ir.DataType) -> bool:
    """Say whether numpy has no such elements of its own, as it has no bfloat16: no session hands them over."""
    return dtype != ir.DataType.STRING and dtype.numpy().type.__module__ != "numpy"
