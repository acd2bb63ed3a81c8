"""ONNX Runtime's int8 quantisers, dynamic and static, from file to file; knows no patterns and no model artifacts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from onnxruntime import quantization as ort_quantization
from onnxruntime.quantization.registry import IntegerOpsRegistry, QDQRegistry, QLinearOpsRegistry

from onnxbuild.base.diagnostics import StageFailure, did_you_mean
from onnxbuild.base.foreign import foreign_tool
from onnxbuild.ort.calibration import Call, CallReader
from onnxbuild.ort.session import one_thread
from onnxbuild.recipe.types import Quantization

DYNAMIC, STATIC = "onnxruntime quantize_dynamic", "onnxruntime quantize_static"
_TYPES = {"int8": ort_quantization.QuantType.QInt8, "uint8": ort_quantization.QuantType.QUInt8}
_FORMATS = {
    "qdq": ort_quantization.QuantFormat.QDQ,
    "qoperator": ort_quantization.QuantFormat.QOperator,
}
_METHODS = {
    "minmax": ort_quantization.CalibrationMethod.MinMax,
    "entropy": ort_quantization.CalibrationMethod.Entropy,
    "percentile": ort_quantization.CalibrationMethod.Percentile,
    "distribution": ort_quantization.CalibrationMethod.Distribution,
}


def dynamic_op_types() -> tuple[str, ...]:
    """Return the operator types that dynamic quantisation can quantise; Gemm is rewritten to MatMul and Add."""
    return tuple(sorted({*IntegerOpsRegistry, "Gemm"}))


def static_op_types(quant_format: str) -> tuple[str, ...]:
    """Return the operator types that static quantisation can quantise in a format (qdq or qoperator)."""
    if quant_format == "qoperator":
        return tuple(sorted(QLinearOpsRegistry))
    return tuple(sorted({*QLinearOpsRegistry, *QDQRegistry}))


def require_op_types(wanted: Sequence[str] | None, known: Sequence[str], mode: str) -> None:
    """Raise StageFailure (`unknown-op-type`) for the first of `wanted` that the tool cannot quantise."""
    for name in wanted or ():
        if name not in known:
            raise StageFailure(
                "unknown-op-type",
                f"{mode} quantisation cannot quantise '{name}'",
                hint=did_you_mean(name, known) or f"it can quantise {', '.join(known)}",
                tool="onnxruntime",
            )


def quantize_dynamic(
    file: Path,
    out: Path,
    quantization: Quantization,
    op_types: Sequence[str] | None,
    exclude: Sequence[str],
    large: bool,
) -> None:
    """Write the dynamically quantised model of `file` to `out`, subgraphs included.

    `exclude` are node names; `large` keeps the weights in a file beside `out`. The tool writes beside `file` too.
    """
    with foreign_tool(DYNAMIC, file.parent):
        ort_quantization.quantize_dynamic(
            str(file),
            str(out),
            op_types_to_quantize=list(op_types) if op_types is not None else None,
            per_channel=quantization.per_channel,
            weight_type=_TYPES[quantization.weights],
            nodes_to_exclude=list(exclude),
            use_external_data_format=large,
            extra_options={"EnableSubgraph": True},
        )


def quantize_static(
    file: Path,
    out: Path,
    quantization: Quantization,
    exclude: Sequence[str],
    calls: Sequence[Call],
    inputs: Sequence[str],
    large: bool,
) -> None:
    """Write the statically quantised model of `file` to `out`, its ranges taken from `calls` of the model's `inputs`.

    `exclude` are node names; `large` keeps the weights in a file beside `out`. The tool writes beside `file` too.
    The tool's own calibration cache is never used: it does not look at the data.
    """
    if quantization.activations == "int8" and quantization.weights == "uint8":
        raise StageFailure(
            "types-not-supported",
            "ONNX Runtime has no static quantisation with int8 activations and uint8 weights",
            hint="use `weights: int8`, or `activations: uint8`",
            tool=STATIC,
        )
    try:
        _quantize_static(file, out, quantization, exclude, CallReader(calls, inputs), large)
    except StageFailure as failure:
        if "inhomogeneous" not in failure.message:
            raise
        # Histograms stack a group's tensors, and here their shapes depend on the data.
        _quantize_static(file, out, quantization, exclude, CallReader(calls, inputs, single=True), large)


def _quantize_static(
    file: Path, out: Path, quantization: Quantization, exclude: Sequence[str], reader: CallReader, large: bool
) -> None:
    with foreign_tool(STATIC, file.parent), one_thread():
        ort_quantization.quantize_static(
            str(file),
            str(out),
            reader,
            quant_format=_FORMATS[quantization.format],
            op_types_to_quantize=list(quantization.op_types or static_op_types(quantization.format)),
            per_channel=quantization.per_channel,
            activation_type=_TYPES[quantization.activations],
            weight_type=_TYPES[quantization.weights],
            nodes_to_exclude=list(exclude),
            use_external_data_format=large,
            calibrate_method=_METHODS[quantization.calibrate],
            extra_options={
                "CalibStridedMinMax": reader.stride,  # its name aside, every method goes by it
                # This method's histograms hold magnitudes: as a plain range they would cut off what is negative.
                "ActivationSymmetric": quantization.calibrate == "distribution",
            },
        )
