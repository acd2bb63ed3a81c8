"""Weights of MatMul as 4-bit blocks, with ONNX Runtime's quantiser; knows no patterns and no model artifacts.

The result computes with com.microsoft.MatMulNBits: it needs no opset above the recipe's (int4 DequantizeLinear begins
at 21), and the runtime has kernels for it on CPU, CUDA and WebGPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.base.foreign import foreign_tool

TOOL = "onnxruntime MatMulNBitsQuantizer"
OP_TYPES = ("Gemm", "MatMul")
"""What can be quantised; Gemm is rewritten to MatMul and Add."""


def quantize(file: Path, block_size: int, symmetric: bool, exclude: Sequence[str], scratch: Path) -> onnx.ModelProto:
    """Return the model in `file` with the constant right operands of MatMul quantised in blocks along their rows.

    Raises StageFailure (`block-size`) for a block size that the runtime's kernel does not take.
    """
    if block_size < 16 or block_size & (block_size - 1):
        raise StageFailure(
            "block-size", f"int4 blocks must be a power of two of at least 16 elements, not {block_size}", tool=TOOL
        )
    with foreign_tool(TOOL, scratch):
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

        quantizer = MatMulNBitsQuantizer(
            str(file), bits=4, block_size=block_size, is_symmetric=symmetric, nodes_to_exclude=list(exclude)
        )
        quantizer.process()
        return quantizer.model.model  # type: ignore[no-any-return]  # onnxruntime is untyped
