"""The quantize stage: dynamic, static, float16 or int4, through ONNX Runtime's and its converters' own arithmetic."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from onnxbuild.base.diagnostics import StageFailure
from onnxbuild.base.patterns import is_any_match, require_matches
from onnxbuild.ir.facts import ModelFacts
from onnxbuild.recipe.types import Quantization
from onnxbuild.stages.packages import MODEL, ONNXRUNTIME, PRELOAD
from onnxbuild.stages.stage import Stage, Workspace

if TYPE_CHECKING:
    import onnx_ir as ir

LARGE = 1_000_000_000
"""Bytes of weights from which tools are told to write them to a file of their own."""


class QuantizeParams(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of quantize, with what the chosen mode does not use at its default.

    Inputs: `model`, and `calibration` (static).
    """

    quantization: Quantization


class QuantizeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was quantised. Output: `model`.

    `quantized` and `kept` count nodes by operator type; `excluded` lists node names.
    """

    model: ModelFacts
    changed: bool
    quantized: dict[str, int] = {}
    kept: dict[str, int] = {}
    excluded: tuple[str, ...] = ()


class _Result(msgspec.Struct, frozen=True):
    """What a mode made: the model and its nodes, quantised and kept, counted by operator type."""

    model: ir.Model
    quantized: dict[str, int]
    kept: dict[str, int]


def run(params: QuantizeParams, ws: Workspace) -> QuantizeFacts:
    """Quantise the model; one in which nothing could be quantised is delivered as it is, with a warning."""
    from onnxbuild.ir.model import read_model
    from onnxbuild.ir.preparation import prepare
    from onnxbuild.stages import delivery

    source, quantization = ws.inputs["model"], params.quantization
    model = read_model(source)
    _require_quantizable(model, quantization)
    model = prepare(model)
    excluded = _excluded(model, quantization.exclude, ws)
    result = _quantize(model, quantization, excluded, ws)
    if result.quantized:
        check_io = quantization.mode != "float16" or quantization.keep_io
        folder = delivery.write_candidate(result.model, source, ws, _tool(quantization.mode), keep_dtypes=check_io)
    else:
        ws.warn("no-effect", _why_nothing(quantization, result.kept))
        folder = source
    return QuantizeFacts(
        model=delivery.deliver(folder, ws),
        changed=bool(result.quantized),
        quantized=result.quantized,
        kept=result.kept,
        excluded=tuple(excluded),
    )


def _tool(mode: str) -> str:
    from onnxbuild.ort import float16, int4, quantizer

    return {
        "dynamic": quantizer.DYNAMIC,
        "static": quantizer.STATIC,
        "float16": float16.TOOL,
        "int4": int4.TOOL,
    }[mode]


def _quantize(model: ir.Model, quantization: Quantization, excluded: list[str], ws: Workspace) -> _Result:
    match quantization.mode:
        case "dynamic":
            return _dynamic(model, quantization, excluded, ws)
        case "static":
            return _static(model, quantization, excluded, ws)
        case "float16":
            return _float16(model, quantization, excluded, ws)
        case "int4":
            return _int4(model, quantization, excluded, ws)
        case other:
            raise AssertionError(f"unknown quantisation mode {other}")


def _dynamic(model: ir.Model, quantization: Quantization, excluded: list[str], ws: Workspace) -> _Result:
    from onnxbuild.ort import quantizer

    quantizer.require_op_types(quantization.op_types, quantizer.dynamic_op_types(), "dynamic")
    op_types, left_out = _gemm_as_matmul(model, quantization.op_types, excluded, split_excluded=True)
    file = _lay_out(model, ws)
    out = ws.scratch / "quantized" / "model.onnx"
    out.parent.mkdir()
    quantizer.quantize_dynamic(file, out, quantization, op_types, left_out, large=_is_large(model))
    return _counted(out, op_types)


def _static(model: ir.Model, quantization: Quantization, excluded: list[str], ws: Workspace) -> _Result:
    from onnxbuild.data.calls import read_calls
    from onnxbuild.ort import quantizer

    quantizer.require_op_types(quantization.op_types, quantizer.static_op_types(quantization.format), "static")
    calls = read_calls(ws.inputs["calibration"])
    if not len(calls):
        raise StageFailure("no-calibration-data", "the calibration data has no calls")
    inputs = [value.name or "" for value in model.graph.inputs]
    file = _lay_out(model, ws)
    out = ws.scratch / "quantized" / "model.onnx"
    out.parent.mkdir()
    quantizer.quantize_static(file, out, quantization, excluded, calls, inputs, large=_is_large(model))
    return _counted(out, quantization.op_types)


def _float16(model: ir.Model, quantization: Quantization, excluded: list[str], ws: Workspace) -> _Result:
    import onnx_ir as ir

    from onnxbuild.ir.quantized import count_float16, overflowing
    from onnxbuild.ort import float16

    for name in overflowing(model)[:3]:
        ws.warn("float16-overflow", f"tensor '{name}' has values beyond float16's 65504; the converter cuts them off")
    had, _ = count_float16(model)
    converted = ir.from_proto(float16.convert(_lay_out(model, ws), quantization.keep_io, excluded, ws.scratch))
    quantized, kept = count_float16(converted)
    return _Result(converted, quantized if quantized != had else {}, kept)


def _int4(model: ir.Model, quantization: Quantization, excluded: list[str], ws: Workspace) -> _Result:
    import onnx_ir as ir

    from onnxbuild.ir.quantized import count_integer
    from onnxbuild.ort import int4, quantizer

    quantizer.require_op_types(quantization.op_types, int4.OP_TYPES, "int4")
    _, left_out = _gemm_as_matmul(model, quantization.op_types, excluded, split_excluded=False)
    proto = int4.quantize(_lay_out(model, ws), quantization.block_size, quantization.symmetric, left_out, ws.scratch)
    model = ir.from_proto(proto)
    return _Result(model, *count_integer(model, int4.OP_TYPES))


def _gemm_as_matmul(
    model: ir.Model, op_types: tuple[str, ...] | None, excluded: list[str], *, split_excluded: bool
) -> tuple[tuple[str, ...] | None, list[str]]:
    """Rewrite Gemm nodes as MatMul and Add; return the tool's operator types and the nodes it must leave out.

    Dynamic and int4 quantisation know MatMul only: `MatMul` means Gemm too, `Gemm` alone means only those. The
    dynamic quantiser rewrites every Gemm, and under another name, which lets an excluded one slip through: for it
    all of them are rewritten here (`split_excluded`), where they keep their names.
    """
    from onnxbuild.ir.preparation import split_gemms
    from onnxbuild.ir.walk import nodes

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


def _counted(out: Path, op_types: tuple[str, ...] | None) -> _Result:
    import onnx_ir as ir

    from onnxbuild.ir.quantized import count_integer

    model = ir.load(out)
    return _Result(model, *count_integer(model, op_types or ()))


def _lay_out(model: ir.Model, ws: Workspace) -> Path:
    """Write the prepared model where the tools can write beside it, and return its file.

    The tools pass over tensors whose type they do not know, or raise; of fused operators only the runtime knows it.
    """
    from onnxbuild.ir.model import MODEL as FILE
    from onnxbuild.ir.model import write_model
    from onnxbuild.ir.preparation import has_foreign_operators, set_types
    from onnxbuild.ort.inference import infer_types

    folder = ws.scratch / "prepared"
    write_model(model, folder)
    if has_foreign_operators(model):
        set_types(model, infer_types(folder / FILE))
        write_model(model, folder)
    return folder / FILE


def _is_large(model: ir.Model) -> bool:
    from onnxbuild.ir.passes.onnxoptimizer import weight_bytes

    return weight_bytes(model) > LARGE


def _require_quantizable(model: ir.Model, quantization: Quantization) -> None:
    from onnxbuild.ir.quantized import find_quantized

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
            tool=_tool(quantization.mode),
        )


def _excluded(model: ir.Model, patterns: tuple[str, ...], ws: Workspace) -> list[str]:
    """Return the names of the nodes that `patterns` mean, by node name or by module path of the source."""
    from onnxbuild.ir.walk import nodes

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


QUANTIZE = Stage(
    name="quantize",
    version=1,
    params=QuantizeParams,
    facts=QuantizeFacts,
    run=run,
    packages=lambda _: (*MODEL, ONNXRUNTIME),
    preload=lambda _: PRELOAD,
    runs_user_code=lambda _: False,
    seconds=2.0,
)
