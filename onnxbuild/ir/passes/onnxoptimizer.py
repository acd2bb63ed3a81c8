"""onnxoptimizer's passes by name, kept from the models that it is known to break; compares nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx_ir as ir

from onnxbuild.base.diagnostics import StageFailure, did_you_mean
from onnxbuild.base.foreign import foreign_tool
from onnxbuild.ir.walk import tensor_slots

TOOL = "onnxoptimizer"
PROTOBUF_LIMIT = 2_000_000_000
"""Bytes of weights from which the tool's single protobuf message does not hold the model."""

RISKY = frozenset(
    (
        "adjust_add",
        "adjust_slice_and_matmul",
        "lift_lexical_references",
        "rename_input_output",
        "replace_einsum_with_matmul",
        "rewrite_input_dtype",
        "set_unique_name_for_nodes",
        "split_init",
        "split_predict",
    )
)
"""Passes that change a model's interface or meaning: applied only when named, and with a warning."""


def known_passes() -> tuple[str, ...]:
    """Return the names of all passes that the installed onnxoptimizer has."""
    import onnxoptimizer

    return tuple(sorted(onnxoptimizer.get_available_passes()))


def require_known(names: Sequence[str]) -> None:
    """Raise StageFailure (`unknown-pass`) for the first name that onnxoptimizer does not have."""
    known = known_passes()
    for name in names:
        if name not in known:
            raise StageFailure(
                "unknown-pass",
                f"onnxoptimizer has no pass '{name}'",
                hint=did_you_mean(name, known) or f"its passes are {', '.join(known)}",
                tool=TOOL,
            )


def parts(names: Sequence[str] | None) -> tuple[str, ...]:
    """Return the passes that run for `names`, in order; None is the tool's default list."""
    import onnxoptimizer

    return tuple(onnxoptimizer.get_fuse_and_elimination_passes() if names is None else names)


def optimize(model: ir.Model, names: Sequence[str] | None, scratch: Path) -> ir.Model:
    """Return the model after the passes `names` (None: the tool's default list); `model` itself is changed.

    Raises StageFailure for an unknown pass, a model above 2 GB, functions in the model (the tool drops them), or
    an empty result.
    """
    require_known(names or ())
    _require_fits(model)
    interface = [value.name for value in (*model.graph.inputs, *model.graph.outputs)]
    _rename_numeric(model)
    with foreign_tool(TOOL, scratch):
        import onnxoptimizer

        proto = ir.to_proto(ir.external_data.load_to_model(model))
        result = onnxoptimizer.optimize(proto) if names is None else onnxoptimizer.optimize(proto, list(names))
    if len(result.graph.output) != len(model.graph.outputs) or (not result.graph.node and len(model.graph)):
        raise StageFailure("empty-result", "onnxoptimizer returns an empty model", tool=TOOL)
    optimized: ir.Model = ir.from_proto(result)
    values = (*optimized.graph.inputs, *optimized.graph.outputs)
    if names is None or not RISKY.intersection(names):
        _restore_names(interface, values)
    return optimized


def _require_fits(model: ir.Model) -> None:
    if weight_bytes(model) >= PROTOBUF_LIMIT:
        raise StageFailure(
            "model-too-large",
            "onnxoptimizer holds a model in one protobuf message and cannot take one above 2 GB",
            hint="leave this pass out, or use onnxscript, onnxslim or onnxruntime: basic, which read external weights",
            tool=TOOL,
        )
    if model.functions:
        raise StageFailure(
            "functions-not-supported",
            "onnxoptimizer does not know model-local functions",
            hint="put `onnxscript: optimize` before it; it inlines functions",
            tool=TOOL,
        )


def weight_bytes(model: ir.Model) -> int:
    """Return the bytes of all tensors of a model: initializers and attributes, subgraphs and functions included."""
    return sum(slot.tensor.nbytes for slot in tensor_slots(model) if slot.tensor.dtype != ir.DataType.STRING)


def _rename_numeric(model: ir.Model) -> None:
    """Give values with purely numeric names others: the tool makes numbers up itself, and they would meet."""
    for graph in model.graphs():
        values = [*graph.inputs, *graph.initializers.values(), *(value for node in graph for value in node.outputs)]
        for value in values:
            if value.name and value.name.isdigit():
                value.name = f"value_{value.name}"


def _restore_names(names: Sequence[str | None], values: Sequence[ir.Value]) -> None:
    for name, value in zip(names, values, strict=True):
        if value.name != name:
            value.name = name
