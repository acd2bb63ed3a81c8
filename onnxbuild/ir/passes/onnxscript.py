"""onnxscript's optimizer: folding, inlining of functions, rewrite rules; works over mapped weights of any size."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from onnxbuild.base.foreign import foreign_tool

TOOL = "onnxscript"


def optimize(model: ir.Model, scratch: Path) -> ir.Model:
    """Return the optimised model; `model` itself may be changed."""
    with foreign_tool(TOOL, scratch):
        from onnxscript import optimizer

        return optimizer.optimize(model)  # type: ignore[no-any-return]  # onnxscript is untyped
