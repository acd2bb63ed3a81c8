"""A user's own pass: a function from an onnx_ir.Model to an onnx_ir.Model; knows nothing of what it does."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.base.user_code import load_function, user_frames
from onnxbuild.recipe.types import Function


def apply(model: ir.Model, function: Function, file: Path) -> ir.Model:
    """Return what the function `function.name` in `file` makes of `model`.

    Raises StageFailure (`user-code`) when it raises or returns anything but a model.
    """
    call = load_function(file, function.name)
    with user_frames(f"{function.file}:{function.name}"):
        result = call(model, **function.args)
    if not isinstance(result, ir.Model):
        raise StageFailure(
            "user-code",
            f"{function.file}:{function.name} returned {type(result).__name__}, not an onnx_ir.Model",
            hint="return the model, also when it was changed in place",
        )
    return result
