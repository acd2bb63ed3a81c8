"""ONNX Runtime's int8 quantisers, dynamic and static, from file to file; knows no patterns and no model artifacts."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
from onnxruntime import quantization as ort_quantization
from onnxruntime.quantization.calibrate import TensorsData, create_calibrator
from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.quant_utils import QuantizationMode, load_model_with_shape_infer
from onnxruntime.quantization.quantize import check_static_quant_arguments
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


class StaticQuantizer:
    """The static quantiser for one model file: calibrated once for a method, then quantised as often as is wanted.

    `calls` of the model's `inputs` calibrate; `large` keeps weights in a file beside the result. The tool writes beside
    `file` too. The tool's own calibration cache is never used: it does not look at the data.
    """

    def __init__(self, file: Path, calls: Sequence[Call], inputs: Sequence[str], large: bool) -> None:
        self._file, self._calls, self._inputs, self._large = file, calls, inputs, large
        self._ranges: dict[tuple[str, tuple[str, ...]], TensorsData] = {}
        self._model: onnx.ModelProto | None = None

    def quantize(self, quantization: Quantization, exclude: Sequence[str], out: Path) -> None:
        """Write the quantised model to `out`; `exclude` are node names that stay in float."""
        if quantization.activations == "int8" and quantization.weights == "uint8":
            raise StageFailure(
                "types-not-supported",
                "ONNX Runtime has no static quantisation with int8 activations and uint8 weights",
                hint="use `weights: int8`, or `activations: uint8`",
                tool=STATIC,
            )
        ranges = self._ranges_for(quantization)
        with foreign_tool(STATIC, self._file.parent), one_thread():
            check_static_quant_arguments(
                _FORMATS[quantization.format], _TYPES[quantization.activations], _TYPES[quantization.weights]
            )
            model = self._load()
            tool = _static_tool(model, quantization, [*exclude, *_wronged(model.graph, quantization.format)], ranges)
            tool.quantize_model()
            tool.model.save_model_to_file(str(out), self._large)

    def _ranges_for(self, quantization: Quantization) -> TensorsData:
        """Return the tensors' ranges in a container of their own, because the quantisers replace entries."""
        wanted = _static_types(quantization)
        known = (
            ranges
            for (method, types), ranges in self._ranges.items()
            if method == quantization.calibrate and set(wanted) <= {*types}
        )
        found = next(known, None)
        if found is None:
            found = self._ranges[quantization.calibrate, tuple(wanted)] = self._calibrate(quantization, wanted)
        return TensorsData(found.calibration_method, dict(found.data))

    def _calibrate(self, quantization: Quantization, types: Sequence[str]) -> TensorsData:
        try:
            return self._collect(quantization, types, CallReader(self._calls, self._inputs))
        except StageFailure as failure:
            if "Histogram has not been collected" in failure.message:
                return TensorsData(_METHODS[quantization.calibrate], {})  # no operator of these types is there
            if "inhomogeneous" not in failure.message:
                raise
            # Histograms stack a group's tensors, and here their shapes depend on the data.
            return self._collect(quantization, types, CallReader(self._calls, self._inputs, single=True))

    def _collect(self, quantization: Quantization, types: Sequence[str], reader: CallReader) -> TensorsData:
        with (
            foreign_tool(STATIC, self._file.parent),
            one_thread(),
            tempfile.TemporaryDirectory(prefix="ort.quant.") as scratch,
        ):
            calibrator = create_calibrator(
                self._file,
                list(types),
                augmented_model_path=str(Path(scratch, "augmented_model.onnx")),
                calibrate_method=_METHODS[quantization.calibrate],
                use_external_data_format=self._large,
            )
            for start in range(0, len(reader), reader.stride):
                reader.set_range(start, start + reader.stride)
                calibrator.collect_data(reader)
            return calibrator.compute_data()

    def _load(self) -> onnx.ModelProto:
        """Return the model with shapes inferred, to be changed at will; one that is not large is read once."""
        if self._large:
            return load_model_with_shape_infer(self._file)  # type: ignore[no-any-return]  # onnxruntime is untyped
        if self._model is None:
            self._model = load_model_with_shape_infer(self._file)
        copy = onnx.ModelProto()
        copy.CopyFrom(self._model)
        return copy


def _static_types(quantization: Quantization) -> tuple[str, ...]:
    return tuple(quantization.op_types or static_op_types(quantization.format))


def _wronged(graph: onnx.GraphProto, quant_format: str) -> list[str]:
    """Return the Relu and Clip nodes that the tool does wrong by, to be left in float.

    It gives what one of them reads the range of what it writes, and takes the node away: wrong where what it reads
    is an output. In the format qoperator it takes it away without that where other nodes read the same.
    """
    readers = Counter(name for node in graph.node for name in node.input)
    outputs = {value.name for value in graph.output}
    several = 1 if quant_format == "qoperator" else len(graph.node)
    found = (node for node in graph.node if node.op_type in ("Relu", "Clip"))
    return [node.name for node in found if node.input[0] in outputs or readers[node.input[0]] > several]


def _static_tool(
    model: onnx.ModelProto, quantization: Quantization, exclude: Sequence[str], ranges: TensorsData
) -> Any:
    """Return the quantiser of the format asked for, as onnxruntime's own quantize_static makes it."""
    types = list(_static_types(quantization))
    activations, weights = _TYPES[quantization.activations], _TYPES[quantization.weights]
    # This method's histograms hold magnitudes: as a plain range they would cut off what is negative.
    options = {"ActivationSymmetric": quantization.calibrate == "distribution"}
    common: tuple[Any, ...] = (weights, activations, ranges, [], list(exclude), types, options)
    if quantization.format == "qoperator":
        return ONNXQuantizer(model, quantization.per_channel, False, QuantizationMode.QLinearOps, True, *common)
    return QDQQuantizer(model, quantization.per_channel, False, *common)
