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
from onnxbuild.recipe.types import Axis, Input
from onnxbuild.sources.example import example_array, example_sizes
from onnxbuild.sources.quiet import quiet
from onnxbuild.sources.source import ExportedModel, SourceRequest
from onnxbuild.sources.torch_model import check_forward, flat_outputs, load_module, load_program

if TYPE_CHECKING:
    import onnx_ir as ir
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

    packages: tuple[str, ...] = ("torch", "onnxscript", "onnx-ir", "onnx", "numpy", "protobuf", "safetensors")
    preload: tuple[str, ...] = ("torch", "torch.onnx._internal.exporter._core", "onnxscript")
    extra: str = "torch"

    def export(self, request: SourceRequest, opset: int | None, folder: Path) -> ExportedModel:
        """Export with torch.export under the declared ranges; raises StageFailure."""
        _check_dtypes(request.inputs)
        wanted = max(LOWEST_OPSET, opset or LOWEST_OPSET)
        if "path" in request.files:
            program = _converted(request, load_program(request), (), None, wanted)
        else:
            program = self._export_module(request, wanted)
        _check_ranges(program.exported_program, request)
        _fold_scaffolding(program.model)
        path = folder / "exported.onnx"
        program.save(path, external_data=True)
        return ExportedModel(path)

    def _export_module(self, request: SourceRequest, opset: int) -> Any:
        import torch

        module = load_module(request)
        check_forward(module, len(request.inputs))
        sizes = example_sizes(request.axes, request.inputs)
        tensors = tuple(_tensor(example_array(value, sizes)) for value in request.inputs)
        with torch.no_grad():
            with user_frames(f"forward with inputs of shape {', '.join(str(list(t.shape)) for t in tensors)}"):
                value = module(*tensors)
            flat_outputs(value, len(request.outputs))
            return _converted(request, module, tensors, _dynamic_shapes(request), opset)

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


def _dynamic_shapes(request: SourceRequest) -> tuple[dict[int, Any], ...]:
    """Return the declared axes as torch's named dims with their ranges, one mapping for each input.

    One object stands for an axis wherever it occurs, so torch also holds it equal.
    """
    from torch.export import Dim

    dims: dict[str, Any] = {}
    for position, (name, axis) in enumerate(request.axes.items()):
        step = axis.multiple_of
        low, high = -(-axis.min // step), axis.max // step
        if low == high:
            continue  # one size only: a fixed dim
        root = Dim(f"axis{position}", min=low, max=high)  # an axis may have a name that is no identifier
        dims[name] = root if step == 1 else step * root
    return tuple(
        {i: dims[dim] for i, dim in enumerate(v.shape) if isinstance(dim, str) and dim in dims} for v in request.inputs
    )


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


def _check_ranges(program: torch.export.ExportedProgram, request: SourceRequest) -> None:
    """Check that the program holds over every declared range; torch narrows ranges without an error.

    Raises StageFailure (`axis-range`).
    """
    placeholders = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    for value, name in zip(request.inputs, program.graph_signature.user_inputs, strict=True):
        delivered = placeholders[str(name)].meta["val"].shape
        if len(delivered) != len(value.shape):
            raise StageFailure(
                "source-inputs",
                f"input {value.name} has {len(delivered)} dims in the program, {len(value.shape)} in the recipe",
            )
        for axis_name, size in zip(value.shape, delivered, strict=True):
            if isinstance(axis_name, str):
                _check_axis(value.name, axis_name, request.axes[axis_name], _bounds(size, program))


def _check_axis(value: str, name: str, axis: Axis, bounds: tuple[float, float]) -> None:
    step = axis.multiple_of
    low, high = -(-axis.min // step) * step, axis.max // step * step
    if bounds[0] <= low and high <= bounds[1]:
        return
    holds = f"exactly {bounds[0]:.0f}" if bounds[0] == bounds[1] else f"{bounds[0]:.0f} to {bounds[1]:.0f}"
    raise StageFailure(
        "axis-range",
        f"axis {name} of input {value} is declared {axis.min} to {axis.max}, but the exported model holds for {holds}: "
        "a branch or shape in forward depends on the size",
        hint=f"declare `{name}` within that range, or make forward independent of the size",
        tool="torch.onnx",
    )


def _bounds(size: Any, program: torch.export.ExportedProgram) -> tuple[float, float]:
    if isinstance(size, int):
        return float(size), float(size)
    from torch.utils._sympy.value_ranges import bound_sympy

    expression, known = size.node.expr, program.range_constraints
    bounds = bound_sympy(expression, known)
    low, high = _number(bounds.lower), _number(bounds.upper)
    if expression in known:  # a multiple: torch never lets the counted root below 2, and means no limit by it
        roots = [_number(known[symbol].lower) for symbol in expression.free_symbols if symbol in known]
        if all(root <= 2 for root in roots):
            low = _number(known[expression].lower)
    return low, high


def _number(bound: Any) -> float:
    return float("inf") if not bound.is_finite else float(int(bound))


def _fold_scaffolding(model: ir.Model) -> None:
    """Fold what the exporter computes from constants alone, transposed weights above all, and nothing else.

    The exporter's own optimizer also fuses (batch norm into convolution), which a recipe asks for as a pass.
    """
    from onnx_ir.passes import common
    from onnxscript.optimizer import fold_constants

    moves = ("Transpose", "Reshape", "Unsqueeze", "Squeeze", "Slice", "Concat", "Cast", "Identity")
    weights = sum(
        value.const_value.size for value in model.graph.initializers.values() if value.const_value is not None
    )

    def moves_a_weight(node: ir.Node) -> bool | None:
        constant = all(value is None or value.const_value is not None for value in node.inputs)
        return True if node.op_type in moves and constant else None

    for _ in range(2):
        fold_constants(model, output_size_limit=max(weights, 1 << 18), should_fold=moves_a_weight)
    common.IdentityEliminationPass()(model)
    common.RemoveUnusedNodesPass()(model)
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    common.CommonSubexpressionEliminationPass()(model)
    common.RemoveUnusedNodesPass()(model)


KIND = TorchSource()
