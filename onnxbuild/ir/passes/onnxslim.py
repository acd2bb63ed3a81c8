"""onnxslim with its defaults: folding, fusions and clean-up of shape arithmetic; reads external weights of any size."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.base.foreign import foreign_tool

TOOL = "onnxslim"


def slim(file: Path, scratch: Path) -> ir.Model:
    """Return what onnxslim makes of the model in `file`."""
    with foreign_tool(TOOL, scratch):
        import onnxslim

        result = onnxslim.slim(str(file))
    if result is None or not result.graph.output:
        raise StageFailure("empty-result", "onnxslim returns an empty model", tool=TOOL)
    return ir.from_proto(result)  # type: ignore[no-any-return]  # onnxslim is untyped
