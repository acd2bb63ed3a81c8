"""onnxslim with its defaults: folding, fusions and clean-up of shape arithmetic; reads external weights of any size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx_ir as ir

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.base.foreign import foreign_tool

TOOL = "onnxslim"


OPTIMIZATIONS = ("constant_folding", "dead_node_elimination", "subexpression_elimination", "weight_tying")


def parts() -> tuple[str, ...]:
    """Return what onnxslim is made of: its optimisations, the fusion patterns one by one."""
    import onnxslim  # noqa: F401  # registers the patterns
    from onnxslim.core.pattern.registry import DEFAULT_FUSION_PATTERNS

    return (OPTIMIZATIONS[0], *DEFAULT_FUSION_PATTERNS, *OPTIMIZATIONS[1:])


def slim(file: Path, scratch: Path, only: Sequence[str] | None = None) -> ir.Model:
    """Return what onnxslim makes of the model in `file`; `only` names the parts that run, None is all."""
    skipped = [] if only is None else [part for part in parts() if part not in only]
    with foreign_tool(TOOL, scratch):
        import onnxslim

        result = onnxslim.slim(
            str(file),
            skip_optimizations=[part for part in skipped if part in OPTIMIZATIONS],
            skip_fusion_patterns=[part for part in skipped if part not in OPTIMIZATIONS],
        )
    if result is None or not result.graph.output:
        raise StageFailure("empty-result", "onnxslim returns an empty model", tool=TOOL)
    return ir.from_proto(result)  # type: ignore[no-any-return]  # onnxslim is untyped
