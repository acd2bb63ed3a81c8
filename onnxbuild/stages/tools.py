"""Each entry of `passes` as a tool with parts that can be left out one by one; compares nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from onnxbuild.recipe.types import (
    CustomPass,
    OnnxoptimizerPass,
    OnnxruntimePass,
    OnnxscriptPass,
    OnnxslimPass,
    Pass,
    TransformersPass,
)

if TYPE_CHECKING:
    import onnx_ir as ir


def tool_name(step: Pass) -> str:
    """Return what messages call an entry, such as "onnxruntime basic"."""
    match step:
        case OnnxscriptPass():
            return "onnxscript optimize"
        case OnnxoptimizerPass(names=None):
            return "onnxoptimizer default"
        case OnnxoptimizerPass(names=names):
            return f"onnxoptimizer {', '.join(names or ())}"
        case OnnxslimPass():
            return "onnxslim"
        case OnnxruntimePass(level=level):
            return f"onnxruntime {level}"
        case TransformersPass(model_type=model_type):
            return f"onnxruntime transformers {model_type}"
        case CustomPass(function=function):
            return f"{function.file}:{function.name}"


def package_of(step: Pass) -> str | None:
    """Return the distribution whose code an entry runs; None for the user's own."""
    match step:
        case OnnxscriptPass():
            return "onnxscript"
        case OnnxoptimizerPass():
            return "onnxoptimizer"
        case OnnxslimPass():
            return "onnxslim"
        case OnnxruntimePass() | TransformersPass():
            return "onnxruntime"
        case CustomPass():
            return None


def parts_of(step: Pass) -> tuple[str, ...]:
    """Return the single passes that an entry is made of, in the order in which they run; none for a custom pass."""
    from onnxbuild.ir import passes
    from onnxbuild.ort import optimizer, transformers

    match step:
        case OnnxscriptPass():
            return passes.onnxscript.parts()
        case OnnxoptimizerPass(names=names):
            return passes.onnxoptimizer.parts(names)
        case OnnxslimPass():
            return passes.onnxslim.parts()
        case OnnxruntimePass(level=level):
            return optimizer.PARTS[level]
        case TransformersPass(model_type=model_type):
            return transformers.parts(model_type)
        case CustomPass():
            return ()


def apply(step: Pass, source: Path, only: Sequence[str] | None, scratch: Path, custom: Path | None) -> ir.Model:
    """Return what an entry makes of the artifact in `source`; `only` names the parts that run, None is all.

    `custom` is the file of a custom pass. Raises StageFailure.
    """
    import onnx_ir as ir

    from onnxbuild.ir import passes
    from onnxbuild.ir.model import MODEL, read_model
    from onnxbuild.ort import optimizer, transformers

    file = source / MODEL
    match step:
        case OnnxscriptPass():
            return passes.onnxscript.optimize(read_model(source), scratch, only)
        case OnnxoptimizerPass(names=names):
            return passes.onnxoptimizer.optimize(read_model(source), names if only is None else only, scratch)
        case OnnxslimPass():
            return passes.onnxslim.slim(file, scratch, only)
        case OnnxruntimePass(level=level):
            return ir.load(optimizer.optimize(file, level, scratch, only))
        case TransformersPass():
            return ir.from_proto(transformers.optimize(file, step, scratch, only))
        case CustomPass(function=function):
            assert custom is not None
            return passes.custom.apply(read_model(source), function, custom)
