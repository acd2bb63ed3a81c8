"""PyTorch as a source: export through torch.export, outputs in eval mode; knows no canonical form."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.base.user_code import user_frames
from onnxbuild.recipe.types import Framework, Input
from onnxbuild.sources import torch_traced
from onnxbuild.sources.description import SourceFacts
from onnxbuild.sources.example import example_array, example_sizes
from onnxbuild.sources.needs import NEEDS
from onnxbuild.sources.quiet import quiet
from onnxbuild.sources.source import ExportedModel, SourceRequest
from onnxbuild.sources.torch_archive import describe_archive
from onnxbuild.sources.torch_graph import fold_scaffolding, free_output_dims, name_by_position
from onnxbuild.sources.torch_model import check_forward, flat_outputs, load_module, load_program
from onnxbuild.sources.torch_ranges import check_ranges, dynamic_shapes, forget_computed_ranges

if TYPE_CHECKING:
    import torch

    from onnxbuild.ort.session import Call

LOWEST_OPSET = 18
"""The exporter's own operators need at least this opset; lower ones are reached by converting afterwards."""
DTYPES = (
    "float16",
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "bool",
)
LOGGERS = ("torch", "onnxscript", "onnx_ir")
DROP = (
    "torchvision is not installed",
    "register_buffer",
    "shares the same shape constraints",
    "Unable to find user code",
)
"""Remarks that a user can do nothing about: an absent library, torch's own recurrent layers, equal axes."""


@dataclass(frozen=True)
class TorchSource:
    """PyTorch: a factory with its weights, or an exported program (.pt2)."""

    packages: tuple[str, ...] = NEEDS[Framework.TORCH].packages
    preload: tuple[str, ...] = NEEDS[Framework.TORCH].preload
    extra: str = NEEDS[Framework.TORCH].extra

    def export(self, request: SourceRequest, opset: int | None, folder: Path) -> ExportedModel:
        """Export with torch.export under the declared ranges; raises StageFailure.

        Where no converter goes from there to a lower opset that is wanted, TorchScript's older exporter may.
        """
        _check_dtypes(request.inputs)
        wanted = max(LOWEST_OPSET, opset or LOWEST_OPSET)
        if "path" in request.files:
            saved = load_program(request)
            forget_computed_ranges(saved)
            program = _converted(request, saved, (), None, wanted)
        else:
            program = self._export_module(request, wanted)
        check_ranges(program.exported_program, request)
        fold_scaffolding(program.model)
        name_by_position(program.model, request)
        path = folder / "exported.onnx"
        program.save(path, external_data=True)
        if opset is not None and opset < LOWEST_OPSET and "path" not in request.files:
            return _at_lower_opset(request, opset, path)
        return ExportedModel(path)

    def _export_module(self, request: SourceRequest, opset: int) -> Any:
        module = load_module(request)
        check_forward(module, len(request.inputs))
        sizes = example_sizes(request.axes, request.inputs)
        other = example_sizes(request.axes, request.inputs, avoid=sizes.values())
        tensors = _examples(request, sizes)
        first = _shapes_at(module, tensors, len(request.outputs))
        second = _shapes_at(module, _examples(request, other), len(request.outputs))
        program = _converted(request, module, tensors, dynamic_shapes(request), opset)
        free_output_dims(program.model, first, second)
        return program

    def describe(self, request: SourceRequest) -> SourceFacts:
        """Describe an exported program from its JSON; nothing of it is loaded. Raises StageFailure."""
        return describe_archive(request.files["path"])

    def reference(self, request: SourceRequest, calls: Iterable[Call]) -> Iterator[dict[str, np.ndarray]]:
        """Yield the outputs of each call in eval mode, without gradients; raises StageFailure."""
        import torch

        _check_dtypes(request.inputs)
        module = load_program(request).module() if "path" in request.files else load_module(request)
        if "path" not in request.files:
            check_forward(module, len(request.inputs))
        names = [output.name for output in request.outputs]
        for index, call in enumerate(calls):
            tensors = [_tensor(call[value.name]) for value in request.inputs]
            with torch.no_grad(), user_frames(f"forward with call {index}"):
                value = module(*tensors)
            tensors_out = flat_outputs(value, len(names))
            yield {name: t.detach().cpu().contiguous().numpy() for name, t in zip(names, tensors_out, strict=True)}


def _at_lower_opset(request: SourceRequest, opset: int, exported: Path) -> ExportedModel:
    """Return the exported file where converters take it to `opset`, else what the older exporter writes, if it does."""
    older = exported.with_name("traced.onnx")
    if not torch_traced.LOWEST <= opset <= torch_traced.HIGHEST or torch_traced.can_be_converted(exported, opset):
        return ExportedModel(exported)
    tensors = _examples(request, example_sizes(request.axes, request.inputs))
    if not torch_traced.export_traced(load_module(request), tensors, request, opset, older):
        return ExportedModel(exported)
    note = f"torch.export's model cannot be converted to opset {opset}; TorchScript's older exporter wrote it"
    return ExportedModel(older, notes=(note,))


def _examples(request: SourceRequest, sizes: dict[str, int]) -> tuple[torch.Tensor, ...]:
    return tuple(_tensor(example_array(value, sizes)) for value in request.inputs)


def _shapes_at(module: torch.nn.Module, tensors: tuple[torch.Tensor, ...], count: int) -> list[tuple[int, ...]]:
    """Run forward as it is, so that what is wrong with it shows as the user's own traceback, not as the exporter's."""
    import torch

    shapes = ", ".join(str(list(tensor.shape)) for tensor in tensors)
    with torch.no_grad(), user_frames(f"forward with inputs of shape {shapes}"):
        value = module(*tensors)
    return [tuple(tensor.shape) for tensor in flat_outputs(value, count)]


def _check_dtypes(inputs: tuple[Input, ...]) -> None:
    for value in inputs:
        if value.dtype not in DTYPES:
            raise StageFailure(
                "source-inputs",
                f"input {value.name} is declared {value.dtype}; a PyTorch source takes {', '.join(DTYPES)}",
                hint="take a dtype from the list and convert inside forward",
            )


def _tensor(array: np.ndarray) -> torch.Tensor:
    import torch

    return torch.from_numpy(np.array(array, order="C"))  # a copy: mapped calls are read-only


def _converted(request: SourceRequest, model: Any, tensors: tuple[Any, ...], shapes: Any, opset: int) -> Any:
    import torch

    try:
        with quiet("torch.onnx", LOGGERS, request.warn, DROP), torch.no_grad():
            return torch.onnx.export(
                model, tensors, dynamo=True, dynamic_shapes=shapes, opset_version=opset, verbose=False, optimize=False
            )
    except Exception as error:  # the exporter wraps whatever tracing or translating raised
        raise _failure(error) from None


def _failure(error: Exception) -> StageFailure:
    deepest: BaseException = error
    while deepest.__cause__ is not None:
        deepest = deepest.__cause__
    name = type(deepest).__name__
    place = _user_place(error)
    where = f" at {place}" if place else ""
    reason = next((line.strip() for line in str(deepest).splitlines() if line.strip()), name)
    hint = None
    if "DataDependent" in name or "data-dependent" in reason:
        reason = f"the path through the model depends on the values of a tensor ({reason})"
        hint = "compute both branches and choose with torch.where, or use torch.cond"
    elif "Constraints violated" in str(deepest) or "Specializ" in str(deepest):
        reason = " ".join(str(deepest).split("Suggested fixes")[0].split("For more information")[0].split())
        hint = "narrow the axis in `dynamic_axes`, give it `multiple_of`, or declare the size as a number"
    elif "No ONNX function found" in str(deepest) or "No decompositions" in str(deepest):
        hint = "replace the operator by ones that ONNX has"
    return StageFailure(
        "export-failed", f"torch.export cannot export the model{where}: {reason}", hint=hint, tool="torch.onnx"
    )


def _user_place(error: BaseException | None) -> str | None:
    """Return file:line of the innermost frame that is neither a library's nor ours."""
    place = None
    while error is not None:
        for frame in traceback.extract_tb(error.__traceback__):
            if not any(part in frame.filename for part in ("site-packages", "dist-packages", "<", "onnxbuild/")):
                place = f"{Path(frame.filename).name}:{frame.lineno}"
        error = error.__cause__
    return place


KIND = TorchSource()
