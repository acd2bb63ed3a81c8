"""Quantising one float model with one choice of settings and of nodes kept in float; knows no recipe and no search."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec
import onnx_ir as ir

from onnxbuild.base.diagnostics import Remark, StageFailure
from onnxbuild.base.patterns import is_any_match, require_matches
from onnxbuild.data.calls import Calls
from onnxbuild.ir.model import MODEL, read_model, write_model
from onnxbuild.ir.passes.onnxoptimizer import weight_bytes
from onnxbuild.ir.preparation import has_foreign_operators, prepare, set_types, split_gemms
from onnxbuild.ir.quantized import count_float16, count_integer, find_quantized, overflowing
from onnxbuild.ir.walk import nodes
from onnxbuild.ort import float16, int4, quantizer
from onnxbuild.ort.inference import infer_types
from onnxbuild.recipe.types import Quantization
from onnxbuild.stages.delivery import write_changed

LARGE = 1_000_000_000
"""Bytes of weights from which tools are told to write them to a file of their own."""

TOOLS = {
    "dynamic": quantizer.DYNAMIC,
    "static": quantizer.STATIC,
    "float16": float16.TOOL,
    "int4": int4.TOOL,
}


class Quantized(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a model: its folder (the source's own when nothing changed) and what was quantised.

    `quantized` and `kept` count nodes by operator type; `excluded` are the nodes that were to stay in float.
    """

    folder: Path
    quantized: dict[str, int] = {}
    kept: dict[str, int] = {}
    excluded: tuple[str, ...] = ()
    warnings: tuple[Remark, ...] = ()


class _Made(msgspec.Struct, frozen=True):
    """What a mode made: the model and its nodes, quantised and kept, counted by operator type."""

    model: ir.Model
    quantized: dict[str, int]
    kept: dict[str, int]
    warnings: tuple[Remark, ...] = ()


def quantize_model(
    source: Path, quantization: Quantization, keep: Iterable[str], calls: Calls | None, scratch: Path
) -> Quantized:
    """Quantise the model in `source` into a folder below `scratch`, which is made and must not be there yet.

    The nodes that `keep` names stay in float, besides those of `quantization.exclude`. `calls` calibrate static
    quantisation. A model in which nothing could be quantised is no failure: it comes with the warning `no-effect`.
    """
    scratch.mkdir(parents=True)
    model = read_model(source)
    _require_quantizable(model, quantization)
    model = prepare(model)
    excluded = sorted({*_excluded(model, quantization.exclude), *keep})
    made = _quantize(model, quantization, excluded, calls, scratch)
    if not made.quantized:
        warnings = (*made.warnings, Remark("no-effect", _why_nothing(quantization, made.kept)))
        return Quantized(folder=source, kept=made.kept, excluded=tuple(excluded), warnings=warnings)
    check_io = quantization.mode != "float16" or quantization.keep_io
    folder = scratch / "candidate"
    write_changed(made.model, source, folder, TOOLS[quantization.mode], keep_dtypes=check_io)
    return Quantized(
        folder=folder,
        quantized=made.quantized,
        kept=made.kept,
        excluded=tuple(excluded),
        warnings=made.warnings,
    )


def _quantize(
    model: ir.Model, quantization: Quantization, excluded: list[str], calls: Calls | None, scratch: Path
) -> _Made:
    match quantization.mode:
        case "dynamic":
            return _dynamic(model, quantization, excluded, scratch)
        case "static":
            return _static(model, quantization, excluded, calls, scratch)
        case "float16":
            return _float16(model, quantization, excluded, scratch)
        case "int4":
            return _int4(model, quantization, excluded, scratch)
        case other:
            raise AssertionError(f"unknown quantisation mode {other}")


def _dynamic(model: ir.Model, quantization: Quantization, excluded: list[str], scratch: Path) -> _Made:
    quantizer.require_op_types(quantization.op_types, quantizer.dynamic_op_types(), "dynamic")
    op_types, left_out = _gemm_as_matmul(model, quantization.op_types, excluded, split_excluded=True)
    file = _lay_out(model, scratch)
    out = scratch / "quantized" / "model.onnx"
    out.parent.mkdir()
    quantizer.quantize_dynamic(file, out, quantization, op_types, left_out, large=_is_large(model))
    return _counted(out, op_types)


def _static(
    model: ir.Model, quantization: Quantization, excluded: list[str], calls: Calls | None, scratch: Path
) -> _Made:
    quantizer.require_op_types(quantization.op_types, quantizer.static_op_types(quantization.format), "static")
    if not calls:
        raise StageFailure("no-calibration-data", "the calibration data has no calls")
    inputs = [value.name or "" for value in model.graph.inputs]
    file = _lay_out(model, scratch)
    out = scratch / "quantized" / "model.onnx"
    out.parent.mkdir()
    quantizer.quantize_static(file, out, quantization, excluded, calls, inputs, large=_is_large(model))
    return _counted(out, quantization.op_types)


def _float16(model: ir.Model, quantization: Quantization, excluded: list[str], scratch: Path) -> _Made:
    warnings = tuple(
        Remark("float16-overflow", f"tensor '{name}' has values beyond float16's 65504; the converter cuts them off")
        for name in overflowing(model)[:3]
    )
    had, _ = count_float16(model)
    converted = ir.from_proto(float16.convert(_lay_out(model, scratch), quantization.keep_io, excluded, scratch))
    quantized, kept = count_float16(converted)
    return _Made(converted, quantized if quantized != had else {}, kept, warnings)


def _int4(model: ir.Model, quantization: Quantization, excluded: list[str], scratch: Path) -> _Made:
    quantizer.require_op_types(quantization.op_types, int4.OP_TYPES, "int4")
    _, left_out = _gemm_as_matmul(model, quantization.op_types, excluded, split_excluded=False)
    proto = int4.quantize(_lay_out(model, scratch), quantization.block_size, quantization.symmetric, left_out, scratch)
    model = ir.from_proto(proto)
    return _Made(model, *count_integer(model, int4.OP_TYPES))


def _gemm_as_matmul(
    model: ir.Model, op_types: tuple[str, ...] | None, excluded: list[str], *, split_excluded: bool
) -> tuple[tuple[str, ...] | None, list[str]]:
    """Rewrite Gemm nodes as MatMul and Add; return the tool's operator types and the nodes it must leave out.

    Dynamic and int4 quantisation know MatMul only: `MatMul` means Gemm too, `Gemm` alone means only those. The
    dynamic quantiser rewrites every Gemm, and under another name, which lets an excluded one slip through: for it
    all of them are rewritten here (`split_excluded`), where they keep their names.
    """
    known = op_types is None or "Gemm" in op_types or "MatMul" in op_types
    out = set(excluded)
    split = set(split_gemms(model, lambda node: split_excluded or (known and node.name not in out)))
    matmuls = {node.name for node in nodes(model) if node.op_type == "MatMul" and node.name}
    if op_types is not None and "MatMul" not in op_types:
        out |= matmuls - split
    if op_types is not None and not known:
        out |= split
    if op_types is not None:
        op_types = tuple(sorted({"MatMul" if name == "Gemm" else name for name in op_types}))
    return op_types, sorted(out)


def _counted(out: Path, op_types: tuple[str, ...] | None) -> _Made:
    model = ir.load(out)
    return _Made(model, *count_integer(model, op_types or ()))


def _lay_out(model: ir.Model, scratch: Path) -> Path:
    """Write the prepared model where the tools can write beside it, and return its file.

    The tools pass over tensors whose type they do not know, or raise; of fused operators only the runtime knows it.
    """
    folder = scratch / "prepared"
    write_model(model, folder)
    if has_foreign_operators(model):
        set_types(model, infer_types(folder / MODEL))
        write_model(model, folder)
    return folder / MODEL


def _is_large(model: ir.Model) -> bool:
    return weight_bytes(model) > LARGE


def _require_quantizable(model: ir.Model, quantization: Quantization) -> None:
    node = find_quantized(model)
    if node is not None:
        raise StageFailure(
            "already-quantized",
            f"the model is already quantised: it has {node.op_type} ('{node.name}')",
            hint="leave `quantization` out, or start from the model in float",
            node=node.name,
        )
    if quantization.mode not in ("dynamic", "static"):
        return
    opset = model.opset_imports.get("", 0)
    per_channel = quantization.mode == "static" and quantization.per_channel
    needed = 13 if per_channel else 11
    if opset < needed:
        what = "per-channel static" if per_channel else quantization.mode
        raise StageFailure(
            "opset-too-low",
            f"{what} quantisation needs opset {needed}; the model has {opset}",
            hint=f"set `opset: {needed}` or above" + (", or `per_channel: false`" if per_channel else ""),
            tool=TOOLS[quantization.mode],
        )


def _excluded(model: ir.Model, patterns: tuple[str, ...]) -> list[str]:
    """Return the names of the nodes that `patterns` mean, by node name or by module path of the source."""
    if not patterns:
        return []
    names = {n.name: [n.name, *filter(None, [_module(n.name)])] for n in nodes(model) if n.name}
    require_matches(patterns, [name for both in names.values() for name in both], "nodes and module paths")
    return sorted(name for name, both in names.items() if is_any_match(patterns, both))


def _module(node: str) -> str:
    """Return the module path in a canonical node name, with the dots that frameworks write."""
    return node.rpartition("/")[0].replace("/", ".")


def _why_nothing(quantization: Quantization, kept: dict[str, int]) -> str:
    text = f"{quantization.mode} quantisation changed nothing"
    if not kept:
        return f"{text}: the model has no operator that it knows (tree ensembles and the like have none)"
    left = ", ".join(f"{count} {name}" for name, count in kept.items())
    return f"{text}: {left} stay in float (excluded, not of the operator types asked for, or without constant weights)"
