"""The way from PyTorch to opsets that torch's exporter and the converters miss: TorchScript's older exporter."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.ir.model import read_model_file
from onnxbuild.ir.opset import convert_opset
from onnxbuild.sources.quiet import quiet
from onnxbuild.sources.source import SourceRequest

if TYPE_CHECKING:
    import torch

LOWEST, HIGHEST = 7, 20
"""The opsets that the older exporter writes."""


def can_be_converted(path: Path, opset: int) -> bool:
    """Tell whether the converters take an exported file to `opset`."""
    try:
        convert_opset(read_model_file(path), opset)
    except StageFailure:
        return False
    return True


def export_traced(
    module: torch.nn.Module, tensors: tuple[torch.Tensor, ...], request: SourceRequest, opset: int, path: Path
) -> bool:
    """Trace `module` and write it at `opset`; False where that exporter cannot either.

    A trace forgets branches; so it comes only after torch.export has proved the declared ranges.
    """
    import torch

    axes = {
        f"{position}:{value.name}": {i: _identifier(dim) for i, dim in enumerate(value.shape) if isinstance(dim, str)}
        for position, value in enumerate(request.inputs)
    }
    try:
        with quiet("torch.onnx", ("torch",), lambda code, message: None), torch.no_grad():
            torch.onnx.export(
                module,
                tensors,
                str(path),
                dynamo=False,
                opset_version=opset,
                input_names=list(axes),
                output_names=[f"{position}:{output.name}" for position, output in enumerate(request.outputs)],
                dynamic_axes=axes,
            )
    except Exception:  # whatever it raises, the first way's reason is the one to tell
        return False
    return True


def _identifier(axis: str) -> str:
    return re.sub(r"\W", "_", axis)
