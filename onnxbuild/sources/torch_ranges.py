"""Declared axes as torch's dims, and what the exported program delivers of them; knows nothing of ONNX."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.recipe.types import Axis
from onnxbuild.sources.source import SourceRequest

if TYPE_CHECKING:
    import torch


def dynamic_shapes(request: SourceRequest) -> tuple[dict[int, Any], ...]:
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


def forget_computed_ranges(program: torch.export.ExportedProgram) -> None:
    """Leave symbols alone in the table of ranges that a loaded program's sizes share.

    There torch also enters computed sizes (such as twice a symbol), and its exporter trips over them. The program's
    own constraints stay as they are.
    """
    for node in program.graph.nodes:
        if node.op == "placeholder":
            for size in getattr(node.meta.get("val"), "shape", ()):
                if not isinstance(size, int):
                    ranges = size.node.shape_env.var_to_range
                    for computed in [known for known in ranges if not known.is_Symbol]:
                        del ranges[computed]


def check_ranges(program: torch.export.ExportedProgram, request: SourceRequest) -> None:
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
